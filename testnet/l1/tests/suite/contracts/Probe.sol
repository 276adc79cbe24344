// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// A contract whose every function shows one thing that a client must be able to see.
contract Probe {
    event Stored(address indexed sender, uint256 indexed key, uint256 value);

    error Refused(uint256 expected, uint256 actual);

    uint256 public stored;
    mapping(uint256 => uint256) public slots;

    constructor(uint256 initial) payable {
        stored = initial;
    }

    function store(uint256 value) external {
        stored = value;
        emit Stored(msg.sender, value % 10, value);
    }

    /// Writes many slots and clears them again: the gas needed is more than the gas paid, because of refunds.
    function churn(uint256 count) external {
        for (uint256 i = 1; i <= count; i++) slots[i] = i;
        for (uint256 i = 1; i <= count; i++) delete slots[i];
    }

    /// Logs, then reverts: the log must not be seen.
    function logAndRevert() external {
        emit Stored(msg.sender, 0, 0);
        revert Refused(1, 2);
    }

    function refuse(uint256 actual) external pure {
        revert Refused(7, actual);
    }

    function refuseWithReason() external pure {
        revert("not today");
    }

    function refuseWithPanic(uint256 divisor) external pure returns (uint256) {
        return 1 / divisor;
    }

    function refuseSilently() external pure {
        assembly {
            revert(0, 0)
        }
    }

    function halt() external pure {
        assembly {
            invalid()
        }
    }

    /// Burns all gas it is given.
    function burn() external pure {
        while (true) {}
    }

    /// Only succeeds when the inner call, which gets 63/64 of the gas, has enough of it.
    function nested(uint256 depth) external returns (uint256) {
        if (depth == 0) {
            stored += 1;
            return gasleft();
        }
        return this.nested(depth - 1);
    }

    function timestamp() external view returns (uint256) {
        return block.timestamp;
    }

    function baseFee() external view returns (uint256) {
        return block.basefee;
    }

    function ancestor(uint256 number) external view returns (bytes32) {
        return blockhash(number);
    }

    function create(uint256 initial) external returns (address) {
        return address(new Child(initial));
    }
}

contract Child {
    uint256 public immutable value;

    constructor(uint256 initial) {
        value = initial;
    }
}
