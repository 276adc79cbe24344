// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title The cheat codes of forge that these tests use.
interface Vm {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    function warp(uint256 timestamp) external;
    function roll(uint256 blockNumber) external;
    function getBlockTimestamp() external view returns (uint256);
    function getBlockNumber() external view returns (uint256);
    function chainId(uint256 id) external;
    function deal(address to, uint256 balance) external;
    function prank(address sender) external;
    function prank(address sender, address origin) external;
    function startPrank(address sender) external;
    function stopPrank() external;
    function expectRevert(bytes calldata reason) external;
    function expectPartialRevert(bytes4 selector) external;
    function expectRevert() external;
    function sign(uint256 key, bytes32 digest) external pure returns (uint8 v, bytes32 r, bytes32 s);
    function signCompact(uint256 key, bytes32 digest) external pure returns (bytes32 r, bytes32 vs);
    function addr(uint256 key) external pure returns (address);
    function assume(bool condition) external pure;
    function computeCreateAddress(address deployer, uint256 nonce) external pure returns (address);
    function getNonce(address account) external view returns (uint64);

    struct Gas {
        uint64 gasLimit;
        uint64 gasTotalUsed;
        uint64 gasMemoryUsed;
        int64 gasRefunded;
        uint64 gasRemaining;
    }

    function lastCallGas() external view returns (Gas memory);
    function cool(address target) external;
    function snapshotGasLastCall(string calldata group, string calldata name) external returns (uint256);
    function snapshotValue(string calldata group, string calldata name, uint256 value) external;
    function toString(uint256 value) external pure returns (string memory);
}

/// @title Assertions, and the hooks by which forge finds what to fuzz. Small on purpose: nothing here needs a library.
abstract contract Base {
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    // forge asks for this to know a test contract.
    // solhint-disable-next-line var-name-mixedcase
    bool public IS_TEST = true;
    address[] private _targets;
    Vm.FuzzSelector[] private _selectors;

    error Base_Unequal(string what, bytes32 left, bytes32 right);
    error Base_False(string what);

    function assertEq(uint256 left, uint256 right, string memory what) internal pure {
        if (left != right) revert Base_Unequal(what, bytes32(left), bytes32(right));
    }

    function assertEq(bytes32 left, bytes32 right, string memory what) internal pure {
        if (left != right) revert Base_Unequal(what, left, right);
    }

    function assertEq(address left, address right, string memory what) internal pure {
        if (left != right) {
            revert Base_Unequal(what, bytes32(uint256(uint160(left))), bytes32(uint256(uint160(right))));
        }
    }

    function assertTrue(bool holds, string memory what) internal pure {
        if (!holds) revert Base_False(what);
    }

    function bound(uint256 value, uint256 low, uint256 high) internal pure returns (uint256) {
        return low + value % (high - low + 1);
    }

    /// @dev Asked of forge each time: the optimiser takes `block.timestamp` for a constant of the transaction.
    function _now() internal view returns (uint64) {
        return uint64(vm.getBlockTimestamp());
    }

    function _wait(uint256 duration) internal {
        vm.warp(vm.getBlockTimestamp() + duration);
    }

    function _mine() internal {
        vm.roll(vm.getBlockNumber() + 1);
    }

    function _target(address target) internal {
        _targets.push(target);
    }

    function targetContracts() external view returns (address[] memory) {
        return _targets;
    }
}
