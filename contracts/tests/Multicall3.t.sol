// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { Multicall3 } from "../src/views/Multicall3.sol";
import { Base } from "./helpers/Base.sol";

/// @dev Answers what it is sent, or does not.
contract Echo {
    error Echo_Refused(uint256 value);

    function echo(uint256 number) external payable returns (uint256 again, uint256 value) {
        return (number, msg.value);
    }

    function refuse() external payable {
        revert Echo_Refused(msg.value);
    }
}

contract Multicall3Test is Base {
    Multicall3 internal multicall;
    Echo internal target;

    function setUp() external {
        multicall = new Multicall3();
        target = new Echo();
        vm.deal(address(this), 100 ether);
    }

    function _echo(uint256 number) internal view returns (Multicall3.Call memory) {
        return Multicall3.Call(address(target), abi.encodeCall(Echo.echo, (number)));
    }

    /// @dev The second of three fails.
    function _calls() internal view returns (Multicall3.Call[] memory calls) {
        calls = new Multicall3.Call[](3);
        (calls[0], calls[2]) = (_echo(1), _echo(3));
        calls[1] = Multicall3.Call(address(target), abi.encodeCall(Echo.refuse, ()));
    }

    function _assertEchoed(bytes memory data, uint256 number, uint256 value) internal pure {
        (uint256 again, uint256 sent) = abi.decode(data, (uint256, uint256));
        assertEq(again, number, "the number");
        assertEq(sent, value, "the value");
    }

    function _refusal(uint256 value) internal pure returns (bytes memory) {
        return abi.encodeWithSelector(Echo.Echo_Refused.selector, value);
    }

    function _failure(uint256 index, uint256 value) internal pure returns (bytes memory) {
        return abi.encodeWithSelector(Multicall3.Multicall3_CallFailed.selector, index, _refusal(value));
    }

    function _assertOneFailed(Multicall3.Result[] memory results) internal pure {
        assertTrue(results[0].success && !results[1].success && results[2].success, "only the second fails");
        _assertEchoed(results[0].returnData, 1, 0);
        assertEq(keccak256(results[1].returnData), keccak256(_refusal(0)), "the reason");
        _assertEchoed(results[2].returnData, 3, 0);
    }

    function test_aggregate_allWell_returnsInOrder() external {
        Multicall3.Call[] memory calls = new Multicall3.Call[](2);
        (calls[0], calls[1]) = (_echo(7), _echo(8));
        (uint256 number, bytes[] memory data) = multicall.aggregate(calls);
        assertEq(number, block.number, "the block");
        _assertEchoed(data[0], 7, 0);
        _assertEchoed(data[1], 8, 0);
        (, bytes32 hash, Multicall3.Result[] memory results) = multicall.blockAndAggregate(calls);
        assertEq(hash, bytes32(0), "no hash of the block at hand");
        _assertEchoed(results[1].returnData, 8, 0);
    }

    function test_aggregate_oneFails_reverts() external {
        vm.expectRevert(_failure(1, 0));
        multicall.aggregate(_calls());
        vm.expectRevert(_failure(1, 0));
        multicall.blockAndAggregate(_calls());
        vm.expectRevert(_failure(1, 0));
        multicall.tryAggregate(true, _calls());
    }

    function test_tryAggregate_oneFails_saysWhich() external {
        _assertOneFailed(multicall.tryAggregate(false, _calls()));
        (,, Multicall3.Result[] memory results) = multicall.tryBlockAndAggregate(false, _calls());
        _assertOneFailed(results);
    }

    function test_aggregate3_eachSaysForItself() external {
        Multicall3.Call[] memory plain = _calls();
        Multicall3.Call3[] memory calls = new Multicall3.Call3[](3);
        for (uint256 i = 0; i < 3; ++i) {
            calls[i] = Multicall3.Call3(plain[i].target, i == 1, plain[i].callData);
        }
        _assertOneFailed(multicall.aggregate3(calls));
        calls[1].allowFailure = false;
        vm.expectRevert(_failure(1, 0));
        multicall.aggregate3(calls);
    }

    function testFuzz_aggregate3Value_valuesMustBeWhatIsSent(uint96 first, uint96 second, uint96 sent) external {
        Multicall3.Call3Value[] memory calls = new Multicall3.Call3Value[](2);
        calls[0] = Multicall3.Call3Value(address(target), false, first, _echo(1).callData);
        calls[1] = Multicall3.Call3Value(address(target), false, second, _echo(2).callData);
        uint256 total = uint256(first) + second;
        vm.deal(address(this), total + sent);
        Multicall3.Result[] memory results = multicall.aggregate3Value{ value: total }(calls);
        _assertEchoed(results[0].returnData, 1, first);
        _assertEchoed(results[1].returnData, 2, second);
        vm.assume(sent != total);
        // With less the last call fails, with more the sum does.
        vm.expectRevert();
        multicall.aggregate3Value{ value: sent }(calls);
    }

    function test_aggregate3Value_failedCall_keepsItsValueOut() external {
        Multicall3.Call3Value[] memory calls = new Multicall3.Call3Value[](1);
        calls[0] = Multicall3.Call3Value(address(target), true, 5, abi.encodeCall(Echo.refuse, ()));
        Multicall3.Result[] memory results = multicall.aggregate3Value{ value: 5 }(calls);
        assertTrue(!results[0].success, "it fails");
        assertEq(keccak256(results[0].returnData), keccak256(_refusal(5)), "with its value");
        vm.expectRevert(abi.encodeWithSelector(Multicall3.Multicall3_WrongValue.selector, 5, 6));
        multicall.aggregate3Value{ value: 6 }(calls);
    }

    function test_getters_sayWhatTheEvmSays() external {
        _mine();
        assertEq(multicall.getBlockNumber(), vm.getBlockNumber(), "number");
        assertEq(multicall.getCurrentBlockTimestamp(), _now(), "time");
        assertEq(multicall.getCurrentBlockCoinbase(), block.coinbase, "coinbase");
        assertEq(multicall.getCurrentBlockGasLimit(), block.gaslimit, "gas limit");
        assertEq(multicall.getCurrentBlockDifficulty(), block.prevrandao, "randomness");
        assertEq(multicall.getBasefee(), block.basefee, "base fee");
        assertEq(multicall.getChainId(), block.chainid, "chain id");
        assertEq(multicall.getEthBalance(address(this)), address(this).balance, "balance");
        uint256 before = vm.getBlockNumber() - 1;
        assertEq(multicall.getLastBlockHash(), multicall.getBlockHash(before), "hash before");
    }
}
