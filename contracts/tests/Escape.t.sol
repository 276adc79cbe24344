// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { ECDSA } from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import { Escape } from "../src/Escape.sol";
import { Checkpoint, PriorityRequest } from "../src/Types.sol";
import { Encodings } from "../src/libraries/Encodings.sol";
import { Account, Channel, Device, Job, Objects } from "../src/libraries/Objects.sol";
import { PriorityQueue } from "../src/libraries/PriorityQueue.sol";
import { Opening, StateTree } from "../src/libraries/StateTree.sol";
import { ComputeReceipt, Voucher } from "../src/libraries/Statements.sol";
import { FrozenNetwork } from "./helpers/FrozenNetwork.sol";

contract EscapeTest is FrozenNetwork {
    bytes32 private constant BAD_LIMB = bytes32(uint256(0xffffffff00000001) << 128);

    function setUp() external {
        _deployFrozen();
        escape.openEscape(tip);
    }

    // --------------------------------------------------------------------------------------------------- opening

    function test_openEscape_notFrozen_reverts() external {
        Escape early = new Escape(_live(), bridge, L2_CHAIN_ID, GENESIS_ID, 1);
        vm.expectRevert(abi.encodeWithSelector(Escape.Escape_NotFrozen.selector));
        early.openEscape(tip);
    }

    function test_openEscape_otherCheckpoint_reverts() external {
        Escape fresh = new Escape(rollup, bridge, L2_CHAIN_ID, GENESIS_ID, 1);
        Checkpoint memory other = tip;
        other.stateRoot = bytes32(uint256(3));
        vm.expectPartialRevert(Escape.Escape_WrongCheckpoint.selector);
        fresh.openEscape(other);
        Opening memory opening = _opening(AT_ALICE);
        vm.expectRevert(abi.encodeWithSelector(Escape.Escape_NotOpened.selector));
        fresh.escapeAccount(alice, aliceAccount, opening);
    }

    function test_openEscape_twice_reverts() external {
        uint64 end = escape.presentationEnd();
        vm.expectRevert(abi.encodeWithSelector(Escape.Escape_AlreadyOpened.selector, end));
        escape.openEscape(tip);
    }

    // ---------------------------------------------------------------------------------------- accounts and stakes

    function test_escapeAccount_withPath_paysTheBalance() external {
        Opening memory opening = _opening(AT_ALICE);
        vm.prank(STRANGER);
        escape.escapeAccount(alice, aliceAccount, opening);
        assertEq(alice.balance, 10 ether, "paid");
        assertTrue(escape.hasLeft(Objects.key(Objects.KIND_ACCOUNT, alice, 0)), "left");
    }

    function test_escapeAccount_twice_reverts() external {
        Opening memory opening = _opening(AT_ALICE);
        escape.escapeAccount(alice, aliceAccount, opening);
        vm.expectPartialRevert(Escape.Escape_AlreadyLeft.selector);
        escape.escapeAccount(alice, aliceAccount, opening);
    }

    function test_escapeAccount_moreThanTheLeafSays_reverts() external {
        Opening memory opening = _opening(AT_ALICE);
        Account memory more = aliceAccount;
        more.balance += 1;
        vm.expectPartialRevert(StateTree.StateTree_WrongNode.selector);
        escape.escapeAccount(alice, more, opening);
    }

    function test_escapeAccount_othersAddress_reverts() external {
        Opening memory opening = _opening(AT_ALICE);
        vm.expectPartialRevert(StateTree.StateTree_WrongNode.selector);
        escape.escapeAccount(STRANGER, aliceAccount, opening);
    }

    function test_escapeAccount_limbNotBelowP_reverts() external {
        Opening memory opening = _opening(AT_ALICE);
        opening.siblings[4] = BAD_LIMB;
        vm.expectRevert(abi.encodeWithSelector(StateTree.StateTree_NotCanonical.selector, BAD_LIMB));
        escape.escapeAccount(alice, aliceAccount, opening);
    }

    function test_escapeAccount_pathTooLong_reverts() external {
        Opening memory opening = _opening(AT_ALICE);
        bytes32[] memory longer = new bytes32[](33);
        for (uint256 i = 0; i < 32; ++i) {
            longer[i] = opening.siblings[i];
        }
        opening.siblings = longer;
        vm.expectRevert(abi.encodeWithSelector(StateTree.StateTree_PathTooLong.selector, 32, 33));
        escape.escapeAccount(alice, aliceAccount, opening);
    }

    function test_escapeAccount_pathToAnUnknownNode_reverts() external {
        Opening memory opening = _opening(AT_ALICE, 10);
        vm.expectRevert(abi.encodeWithSelector(StateTree.StateTree_NodeUnknown.selector, 1 << 22));
        escape.escapeAccount(alice, aliceAccount, opening);
    }

    function test_escapeAccount_empty_reverts() external {
        Opening memory opening = _opening(AT_ALICE);
        vm.expectPartialRevert(Escape.Escape_NothingToPay.selector);
        escape.escapeAccount(alice, Account(0, 0), opening);
    }

    function testFuzz_escapeAccount_anyOtherLeaf_reverts(uint32 position, uint64 nonce, uint128 balance, uint8 bit)
        external
    {
        Opening memory opening = _opening(AT_ALICE);
        vm.assume(balance != 0);
        if (nonce == aliceAccount.nonce && balance == aliceAccount.balance && position == AT_ALICE) balance += 1;
        opening.position = position;
        uint256 flipped = uint256(opening.siblings[bit % 32]) ^ (1 << bit);
        if (bit % 2 == 0) opening.siblings[bit % 32] = bytes32(flipped);
        vm.expectRevert();
        escape.escapeAccount(alice, Account(nonce, balance), opening);
    }

    function test_escapeDevice_withPath_paysTheStakeToItsOwner() external {
        Opening memory opening = _opening(AT_DEVICE);
        escape.escapeDevice(deviceAddress, device, opening);
        assertEq(BOB.balance, 4 ether, "paid");
        vm.expectPartialRevert(Escape.Escape_AlreadyLeft.selector);
        escape.escapeDevice(deviceAddress, device, opening);
    }

    // ------------------------------------------------------------------------------------------------ cached nodes

    function test_proveNode_thenShortPath_escapes() external {
        bytes32 digest = tree.node(3, 0);
        bytes32[] memory siblings = tree.siblings(3, 0, 32);
        escape.proveNode(3, 0, digest, siblings);
        assertEq(escape.knownNode(1 << 29), digest, "known");
        Opening memory opening = _opening(AT_ALICE, 3);
        escape.escapeAccount(alice, aliceAccount, opening);
        assertEq(alice.balance, 10 ether, "paid");
    }

    function test_proveNode_throughAnotherCachedNode_works() external {
        bytes32 upper = tree.node(16, 0);
        bytes32[] memory siblings = tree.siblings(16, 0, 32);
        escape.proveNode(16, 0, upper, siblings);
        bytes32 lower = tree.node(2, 1);
        siblings = tree.siblings(2, 1, 16);
        escape.proveNode(2, 1, lower, siblings);
        assertEq(escape.knownNode((1 << 30) | 1), lower, "known");
    }

    function test_proveNode_wrongDigest_reverts() external {
        bytes32[] memory siblings = tree.siblings(3, 0, 32);
        vm.expectPartialRevert(StateTree.StateTree_WrongNode.selector);
        escape.proveNode(3, 0, bytes32(uint256(1)), siblings);
        vm.expectRevert(abi.encodeWithSelector(StateTree.StateTree_NotCanonical.selector, BAD_LIMB));
        escape.proveNode(3, 0, BAD_LIMB, siblings);
        vm.expectRevert(abi.encodeWithSelector(StateTree.StateTree_LevelOutOfRange.selector, 32, 33));
        escape.proveNode(33, 0, 0, siblings);
        vm.expectRevert(abi.encodeWithSelector(StateTree.StateTree_PositionOutOfRange.selector, 1, 2));
        escape.proveNode(31, 2, 0, siblings);
    }

    // ----------------------------------------------------------------------------------------------------- refunds

    function test_refundDeposit_unconsumed_paysTheSender() external {
        escape.refundDeposit(1, waiting);
        assertEq(alice.balance, WAITING, "paid");
        vm.expectRevert(abi.encodeWithSelector(Escape.Escape_AlreadyRefunded.selector, 1));
        escape.refundDeposit(1, waiting);
    }

    function test_refundDeposit_consumed_reverts() external {
        vm.expectRevert(abi.encodeWithSelector(Escape.Escape_Consumed.selector, 1, 0));
        escape.refundDeposit(0, waiting);
    }

    function test_refundDeposit_otherRequest_reverts() external {
        PriorityRequest memory request = waiting;
        request.amount += 1;
        vm.expectPartialRevert(PriorityQueue.PriorityQueue_NotTheRequest.selector);
        escape.refundDeposit(1, request);
        vm.expectRevert(abi.encodeWithSelector(PriorityQueue.PriorityQueue_NoSuchRequest.selector, 2, 2));
        escape.refundDeposit(2, request);
        request.kind = Encodings.FORCED_WITHDRAWAL;
        vm.expectRevert(abi.encodeWithSelector(Escape.Escape_NotADeposit.selector, 2));
        escape.refundDeposit(1, request);
    }

    // -------------------------------------------------------------------------------------------------------- jobs

    function test_escapeJob_withReceipt_paysWorkerAndClient() external {
        _present(_receipt(30));
        Opening memory opening = _opening(AT_JOB, 0);
        _wait(PRESENTATION_WINDOW + 1);
        escape.escapeJob(alice, 1, job, opening);
        assertEq(escape.credits(PAYOUT), 0.3 ether, "worker");
        assertEq(escape.credits(alice), 0.7 ether, "client");
        escape.collect(PAYOUT);
        escape.collect(alice);
        assertEq(PAYOUT.balance, 0.3 ether, "worker paid");
        assertEq(alice.balance, 0.7 ether, "client paid");
        vm.expectRevert(abi.encodeWithSelector(Escape.Escape_NoCredit.selector, alice));
        escape.collect(alice);
    }

    function test_escapeJob_withoutReceipt_returnsTheEscrow() external {
        Opening memory opening = _opening(AT_JOB);
        _wait(PRESENTATION_WINDOW + 1);
        escape.escapeJob(alice, 1, job, opening);
        assertEq(escape.credits(alice), 1 ether, "client");
        vm.expectPartialRevert(Escape.Escape_AlreadyLeft.selector);
        escape.escapeJob(alice, 1, job, opening);
    }

    function test_escapeJob_claimedDuringTheWindow_reverts() external {
        Opening memory opening = _opening(AT_JOB);
        _wait(PRESENTATION_WINDOW);
        vm.expectPartialRevert(Escape.Escape_PresentationRuns.selector);
        escape.escapeJob(alice, 1, job, opening);
    }

    function test_escapeJob_unclaimed_leavesAtOnce() external {
        Opening memory opening = _opening(AT_OPEN_JOB);
        escape.escapeJob(alice, 3, openJob, opening);
        assertEq(escape.credits(alice), 1 ether, "client");
    }

    function test_escapeJob_claimedShownAsOpen_reverts() external {
        Opening memory opening = _opening(AT_JOB);
        Job memory lie = job;
        lie.status = Objects.JOB_OPEN;
        vm.expectPartialRevert(StateTree.StateTree_WrongNode.selector);
        escape.escapeJob(alice, 1, lie, opening);
    }

    function test_presentReceipt_higherLater_stands() external {
        _present(_receipt(30));
        _present(_receipt(80));
        ComputeReceipt memory lower = _receipt(30);
        bytes memory signature = _sign(lower, DEVICE_KEY);
        Opening memory jobOpening = _opening(AT_JOB, 0);
        Opening memory deviceOpening = _opening(AT_DEVICE, 0);
        vm.expectRevert(abi.encodeWithSelector(Escape.Escape_NotBetter.selector, 0.8 ether, 0.3 ether));
        escape.presentReceipt(job, jobOpening, device, deviceOpening, lower, signature);
    }

    function test_presentReceipt_badReceipts_revert() external {
        ComputeReceipt memory receipt = _receipt(30);
        _refused(receipt, 0xbad, Escape.Escape_WrongSigner.selector);
        receipt.units = 101;
        _refused(receipt, DEVICE_KEY, Escape.Escape_TooManyUnits.selector);
        receipt = _receipt(30);
        receipt.model = keccak256("another");
        _refused(receipt, DEVICE_KEY, Escape.Escape_NotForThisJob.selector);
        receipt = _receipt(30);
        receipt.inputHash = keccak256("another");
        _refused(receipt, DEVICE_KEY, Escape.Escape_NotForThisJob.selector);
        receipt = _receipt(30);
        receipt.unitPrice += 1;
        _refused(receipt, DEVICE_KEY, Escape.Escape_NotForThisJob.selector);
        receipt = _receipt(30);
        receipt.device = vm.addr(0xbad);
        _refused(receipt, 0xbad, Escape.Escape_NotForThisJob.selector);
        receipt = _receipt(30);
        receipt.finishedAt = _now() + 1;
        _refused(receipt, DEVICE_KEY, Escape.Escape_WrongTime.selector);
        receipt = _receipt(30);
        receipt.startedAt = receipt.finishedAt + 1;
        _refused(receipt, DEVICE_KEY, Escape.Escape_WrongTime.selector);
        receipt = _receipt(30);
        receipt.tier = 1;
        _refused(receipt, DEVICE_KEY, Escape.Escape_TierTooLow.selector);
        receipt = _receipt(30);
        receipt.evidence = keccak256("evidence");
        _refused(receipt, DEVICE_KEY, Escape.Escape_NotForThisJob.selector);
        receipt = _receipt(30);
        receipt.clientNonce = 3; // another job's key under this job's leaf
        _refused(receipt, DEVICE_KEY, StateTree.StateTree_WrongNode.selector);
    }

    function test_presentReceipt_otherPayoutAccount_reverts() external {
        Device memory lie = device;
        lie.payout = STRANGER;
        ComputeReceipt memory receipt = _receipt(30);
        bytes memory signature = _sign(receipt, DEVICE_KEY);
        Opening memory jobOpening = _opening(AT_JOB);
        Opening memory deviceOpening = _opening(AT_DEVICE);
        vm.expectPartialRevert(StateTree.StateTree_WrongNode.selector);
        escape.presentReceipt(job, jobOpening, lie, deviceOpening, receipt, signature);
    }

    function test_presentReceipt_afterTheWindow_reverts() external {
        ComputeReceipt memory receipt = _receipt(30);
        bytes memory signature = _sign(receipt, DEVICE_KEY);
        Opening memory jobOpening = _opening(AT_JOB);
        Opening memory deviceOpening = _opening(AT_DEVICE);
        _wait(PRESENTATION_WINDOW + 1);
        vm.expectPartialRevert(Escape.Escape_PresentationOver.selector);
        escape.presentReceipt(job, jobOpening, device, deviceOpening, receipt, signature);
    }

    // ---------------------------------------------------------------------------------------------------- channels

    function test_escapeChannel_withVoucher_paysPayeeAndClient() external {
        _present(2 ether);
        _present(4.5 ether);
        Opening memory opening = _opening(AT_CHANNEL, 0);
        _wait(PRESENTATION_WINDOW + 1);
        escape.escapeChannel(alice, 2, channel, opening);
        assertEq(escape.credits(BOB), 3.5 ether, "payee: the promise less what was paid");
        assertEq(escape.credits(alice), 1.5 ether, "client");
        vm.expectPartialRevert(Escape.Escape_AlreadyLeft.selector);
        escape.escapeChannel(alice, 2, channel, opening);
    }

    function test_escapeChannel_withoutVoucher_returnsTheRest() external {
        Opening memory opening = _opening(AT_CHANNEL);
        vm.expectPartialRevert(Escape.Escape_PresentationRuns.selector);
        escape.escapeChannel(alice, 2, channel, opening);
        _wait(PRESENTATION_WINDOW + 1);
        escape.escapeChannel(alice, 2, channel, opening);
        assertEq(escape.credits(alice), 5 ether, "client");
        assertEq(escape.credits(BOB), 0, "payee");
    }

    function test_presentVoucher_badVouchers_revert() external {
        _voucherRefused(Voucher(alice, 2, BOB, 2 ether), 0xbad, Escape.Escape_WrongSigner.selector);
        _voucherRefused(Voucher(alice, 2, STRANGER, 2 ether), ALICE_KEY, Escape.Escape_WrongPayee.selector);
        _voucherRefused(Voucher(alice, 2, BOB, 1 ether), ALICE_KEY, Escape.Escape_NotBetter.selector);
        _voucherRefused(Voucher(alice, 2, BOB, 6 ether + 1), ALICE_KEY, Escape.Escape_OverDeposit.selector);
        _voucherRefused(Voucher(alice, 9, BOB, 2 ether), ALICE_KEY, StateTree.StateTree_WrongNode.selector);
    }

    function test_everything_leaves_bridgeIsEmpty() external {
        _present(_receipt(30));
        _present(4.5 ether);
        Opening memory opening = _opening(AT_ALICE);
        escape.escapeAccount(alice, aliceAccount, opening);
        opening = _opening(AT_BOB);
        escape.escapeAccount(BOB, bobAccount, opening);
        opening = _opening(AT_DEVICE);
        escape.escapeDevice(deviceAddress, device, opening);
        opening = _opening(AT_OPEN_JOB);
        escape.escapeJob(alice, 3, openJob, opening);
        escape.refundDeposit(1, waiting);
        _wait(PRESENTATION_WINDOW + 1);
        opening = _opening(AT_JOB);
        escape.escapeJob(alice, 1, job, opening);
        opening = _opening(AT_CHANNEL);
        escape.escapeChannel(alice, 2, channel, opening);
        escape.collect(alice);
        escape.collect(BOB);
        escape.collect(PAYOUT);
        assertEq(bridge.locked(), 0, "locked");
        assertEq(address(bridge).balance, 0, "balance");
    }

    function _refused(ComputeReceipt memory receipt, uint256 key, bytes4 reason) private {
        bytes memory signature = _sign(receipt, key);
        Opening memory jobOpening = _opening(AT_JOB);
        Opening memory deviceOpening = _opening(AT_DEVICE);
        vm.expectPartialRevert(reason);
        escape.presentReceipt(job, jobOpening, device, deviceOpening, receipt, signature);
    }

    function _voucherRefused(Voucher memory voucher, uint256 key, bytes4 reason) private {
        bytes memory signature = _sign(voucher, key);
        Opening memory opening = _opening(AT_CHANNEL);
        vm.expectPartialRevert(reason);
        escape.presentVoucher(channel, opening, voucher, signature);
    }

    function _live() private returns (Live) {
        return new Live();
    }
}

import { IRollup } from "../src/interfaces/IRollup.sol";

/// @dev A rollup that is not frozen.
contract Live is IRollup {
    uint64 public constant frozenAt = 0;
    bytes32 public constant executedCheckpoint = 0;
    uint64 public constant executedPriorityCount = 0;

    function requestFee(uint8) external pure returns (uint256) { }
    function requestDeposit(address, address, uint128) external payable returns (uint64) { }
    function withdrawalRoot(uint64) external pure returns (bytes32) { }
    function checkRequest(uint64, PriorityRequest calldata) external pure { }
}
