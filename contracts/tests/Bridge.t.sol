// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { IERC20 } from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import { ERC20 } from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import { Bridge } from "../src/Bridge.sol";
import { Batch, PriorityRequest, Withdrawal } from "../src/Types.sol";
import { Encodings } from "../src/libraries/Encodings.sol";
import { WithdrawalTree } from "../src/libraries/WithdrawalTree.sol";
import { MerklePaths } from "./helpers/MerklePaths.sol";
import { Network } from "./helpers/Network.sol";

contract BridgeTest is Network {
    function setUp() external {
        _deploy();
    }

    function test_deposit_ether_queuesARequest() external {
        uint64 index = _deposit(ALICE, BOB, 2 ether);
        assertEq(index, 0, "index");
        assertEq(bridge.locked(), 2 ether, "locked");
        assertEq(address(bridge).balance, 2 ether, "balance");
        rollup.checkRequest(0, PriorityRequest(Encodings.DEPOSIT, ALICE, BOB, 2 ether, _now(), ""));
    }

    function test_deposit_overpaid_returnsTheRest() external {
        vm.deal(ALICE, 10 ether);
        vm.prank(ALICE);
        bridge.deposit{ value: 10 ether }(BOB, 2 ether);
        assertEq(ALICE.balance, 8 ether - 1e12, "balance");
    }

    function test_deposit_valueTooLow_reverts() external {
        vm.deal(ALICE, 10 ether);
        vm.prank(ALICE);
        vm.expectRevert(abi.encodeWithSelector(Bridge.Bridge_ValueTooLow.selector, 2 ether + 1e12, 2 ether));
        bridge.deposit{ value: 2 ether }(BOB, 2 ether);
    }

    function test_deposit_nothing_reverts() external {
        vm.expectRevert(abi.encodeWithSelector(Bridge.Bridge_NothingReceived.selector));
        bridge.deposit{ value: 1 ether }(BOB, 0);
    }

    function test_deposit_totalAtTheLimit_reverts() external {
        uint128 most = uint128(bridge.DEPOSITS_LIMIT() - 1);
        _deposit(ALICE, BOB, most - 5);
        _deposit(ALICE, BOB, 5);
        vm.deal(ALICE, 1 ether);
        vm.prank(ALICE);
        vm.expectRevert(abi.encodeWithSelector(Bridge.Bridge_LimitReached.selector, 1 << 120, 1 << 120));
        bridge.deposit{ value: 1 ether }(BOB, 1);
    }

    function test_deposit_moneySentRoundAndRound_reachesTheLimitOnce() external {
        // The kernel counts all deposits ever and has no proof for a sum of 2^120: what went out again makes no room.
        uint128 half = 1 << 119;
        _deposit(ALICE, BOB, half);
        Withdrawal[] memory list = _withdrawals(1, half);
        _settle(_nextBatch(tip.stateRoot, list), list, SEQUENCER);
        bridge.claim(1, list[0], 0, new bytes32[](0));
        assertEq(bridge.locked(), 0, "all is out");
        assertEq(bridge.deposited(), half, "and was in");
        uint256 fee = rollup.requestFee(Encodings.DEPOSIT);
        vm.deal(ALICE, fee + half);
        vm.prank(ALICE);
        vm.expectRevert(abi.encodeWithSelector(Bridge.Bridge_LimitReached.selector, 1 << 120, 1 << 120));
        bridge.deposit{ value: fee + half }(BOB, half);
        _deposit(ALICE, BOB, half - 1);
    }

    function testFuzz_claim_everyWithdrawal_isPaidOnce(uint8 count) external {
        count = uint8(bound(count, 1, 33));
        _deposit(ALICE, ALICE, uint128(count) * 1 ether);
        Withdrawal[] memory list = _withdrawals(count, 1 ether);
        _settle(_nextBatch(tip.stateRoot, list), list, SEQUENCER);
        for (uint256 i = 0; i < count; ++i) {
            bytes32[] memory siblings = MerklePaths.siblings(list, i);
            bridge.claim(1, list[i], i, siblings);
            assertEq(list[i].recipient.balance, 1 ether, "paid");
            vm.expectRevert(abi.encodeWithSelector(Bridge.Bridge_AlreadyClaimed.selector, list[i].index));
            bridge.claim(1, list[i], i, siblings);
        }
        assertEq(address(bridge).balance, 0, "all is out");
    }

    function test_claim_othersAmountOrRecipient_reverts() external {
        Withdrawal[] memory list = _executed(3);
        bytes32[] memory siblings = MerklePaths.siblings(list, 1);
        list[1].amount += 1;
        vm.expectPartialRevert(Bridge.Bridge_NotInBatch.selector);
        bridge.claim(1, list[1], 1, siblings);
        list[1].amount -= 1;
        list[1].recipient = STRANGER;
        vm.expectPartialRevert(Bridge.Bridge_NotInBatch.selector);
        bridge.claim(1, list[1], 1, siblings);
    }

    function test_claim_otherPosition_reverts() external {
        Withdrawal[] memory list = _executed(3);
        bytes32[] memory siblings = MerklePaths.siblings(list, 1);
        vm.expectPartialRevert(Bridge.Bridge_NotInBatch.selector);
        bridge.claim(1, list[1], 0, siblings);
        vm.expectRevert(abi.encodeWithSelector(WithdrawalTree.WithdrawalTree_PositionOutOfRange.selector, 3, 5));
        bridge.claim(1, list[1], 5, siblings);
    }

    function test_claim_unexecutedBatch_reverts() external {
        Withdrawal[] memory list = _withdrawals(1, 1 ether);
        _commit(_nextBatch(tip.stateRoot, list));
        vm.expectRevert(abi.encodeWithSelector(Bridge.Bridge_NoWithdrawals.selector, 1));
        bridge.claim(1, list[0], 0, new bytes32[](0));
    }

    function test_claim_innerNodeAsLeaf_reverts() external {
        Withdrawal[] memory list = _executed(4);
        // The path of a leaf's parent, offered for the leaf's own position one level up.
        bytes32[] memory siblings = new bytes32[](1);
        siblings[0] = MerklePaths.siblings(list, 0)[1];
        vm.expectPartialRevert(Bridge.Bridge_NotInBatch.selector);
        bridge.claim(1, list[0], 0, siblings);
    }

    function test_claim_whenFrozen_staysOpen() external {
        Withdrawal[] memory list = _executed(1);
        _freeze();
        bridge.claim(1, list[0], 0, new bytes32[](0));
        assertEq(list[0].recipient.balance, 1 ether, "paid");
    }

    function test_claim_moreThanCameIn_reverts() external {
        // What a broken kernel would do: a proven withdrawal of money that was never deposited.
        _deposit(ALICE, ALICE, 1 ether);
        Withdrawal[] memory list = _withdrawals(1, 2 ether);
        _settle(_nextBatch(tip.stateRoot, list), list, SEQUENCER);
        vm.deal(address(bridge), 100 ether);
        vm.expectRevert();
        bridge.claim(1, list[0], 0, new bytes32[](0));
    }

    function test_release_notByTheEscape_reverts() external {
        vm.expectRevert(abi.encodeWithSelector(Bridge.Bridge_NotEscape.selector, address(escape), address(this)));
        bridge.release(ALICE, 1);
    }

    function _executed(uint256 count) private returns (Withdrawal[] memory list) {
        _deposit(ALICE, ALICE, uint128(count) * 1 ether);
        list = _withdrawals(count, 1 ether);
        _settle(_nextBatch(tip.stateRoot, list), list, SEQUENCER);
    }
}

/// @dev Takes a hundredth of each transfer, or answers a transfer with a second deposit.
contract OddToken is ERC20("Odd", "ODD") {
    enum Mode {
        Plain,
        Fee,
        Generous
    }

    Mode public mode;

    function mint(address to, uint256 amount, Mode mode_) external {
        _mint(to, amount);
        mode = mode_;
    }

    function _update(address from, address to, uint256 amount) internal override {
        super._update(from, to, amount);
        if (from == address(0)) return;
        if (mode == Mode.Fee) super._update(to, address(0xfee), amount / 100);
        if (mode == Mode.Generous) super._update(address(0), to, amount);
    }
}

contract BridgeTokenTest is Network {
    OddToken private odd;

    function setUp() external {
        odd = new OddToken();
        token = IERC20(address(odd));
        _deploy();
        vm.deal(ALICE, 1 ether);
    }

    function test_deposit_plainToken_creditsTheAmount() external {
        assertEq(_depositToken(100 ether, OddToken.Mode.Plain), 100 ether, "credited");
        assertEq(ALICE.balance, 1 ether - 1e12, "the fee is in ether");
    }

    function test_deposit_tokenWithFee_creditsWhatArrived() external {
        assertEq(_depositToken(100 ether, OddToken.Mode.Fee), 99 ether, "credited");
        assertEq(odd.balanceOf(address(bridge)), 99 ether, "balance");
    }

    function test_deposit_tokenThatAdds_creditsNoMoreThanAsked() external {
        assertEq(_depositToken(100 ether, OddToken.Mode.Generous), 100 ether, "credited");
    }

    function test_claim_token_paysTheToken() external {
        _depositToken(100 ether, OddToken.Mode.Plain);
        Withdrawal[] memory list = _withdrawals(1, 40 ether);
        _settle(_nextBatch(tip.stateRoot, list), list, SEQUENCER);
        bridge.claim(1, list[0], 0, new bytes32[](0));
        assertEq(odd.balanceOf(list[0].recipient), 40 ether, "paid");
        assertEq(bridge.locked(), 60 ether, "locked");
    }

    function _depositToken(uint128 amount, OddToken.Mode mode) private returns (uint256) {
        odd.mint(ALICE, amount, mode);
        vm.startPrank(ALICE);
        odd.approve(address(bridge), amount);
        bridge.deposit{ value: 1 ether }(BOB, amount);
        vm.stopPrank();
        return bridge.locked();
    }
}
