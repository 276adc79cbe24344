// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { TimelockController } from "@openzeppelin/contracts/governance/TimelockController.sol";
import { FixedTimelock } from "../src/FixedTimelock.sol";
import { Governed } from "../src/Governed.sol";
import { Rollup } from "../src/Rollup.sol";
import { Batch, Checkpoint, PriorityRequest, Withdrawal } from "../src/Types.sol";
import { VerifierRouter } from "../src/VerifierRouter.sol";
import { DataLog } from "../src/libraries/DataLog.sol";
import { Encodings } from "../src/libraries/Encodings.sol";
import { PriorityQueue } from "../src/libraries/PriorityQueue.sol";
import { Network } from "./helpers/Network.sol";

contract RollupTest is Network {
    function setUp() external {
        _deploy();
    }

    // ------------------------------------------------------------------------------------------------- happy paths

    function test_settleBatch_bySequencer_movesTheCheckpoint() external {
        _deposit(ALICE, ALICE, 5 ether);
        Batch memory batch = _nextBatch();
        _settle(batch, _none(), SEQUENCER);
        assertEq(rollup.executedCheckpoint(), Encodings.checkpointHash(batch.checkpoint), "checkpoint");
        assertEq(rollup.executedPriorityCount(), 1, "requests");
        assertEq(rollup.executedCount(), 1, "count");
    }

    function test_executeBatch_afterCommitAndProof_opensWithdrawals() external {
        Withdrawal[] memory withdrawals = _withdrawals(3, 7);
        Batch memory batch = _nextBatch(tip.stateRoot, withdrawals);
        _run(batch, withdrawals);
        assertTrue(rollup.withdrawalRoot(1) != 0, "root");
        assertEq(rollup.executedMessageAcc(), batch.checkpoint.messageAcc, "message accumulator");
    }

    function test_pipeline_threeBatchesInFlight_executeInOrder() external {
        Batch[] memory batches = new Batch[](3);
        for (uint256 i = 0; i < 3; ++i) {
            batches[i] = _nextBatch();
            _commit(batches[i]);
        }
        for (uint256 i = 0; i < 3; ++i) {
            rollup.proveBatch(batches[i].number, _proof(batches[i]));
        }
        vm.expectRevert(abi.encodeWithSelector(Rollup.Rollup_NothingToExecute.selector, 2, 0, 3));
        rollup.executeBatch(2, batches[1].checkpoint, _none());
        for (uint256 i = 0; i < 3; ++i) {
            vm.prank(STRANGER);
            rollup.executeBatch(batches[i].number, batches[i].checkpoint, _none());
        }
        assertEq(rollup.executedCheckpoint(), Encodings.checkpointHash(batches[2].checkpoint), "checkpoint");
    }

    // ------------------------------------------------------------------------------------------------------ commit

    function test_commitBatch_byStranger_reverts() external {
        Batch memory batch = _nextBatch();
        bytes memory certificate = _certificate(batch, 5);
        vm.prank(STRANGER);
        vm.expectRevert(abi.encodeWithSelector(Rollup.Rollup_NotSequencer.selector, SEQUENCER, STRANGER));
        rollup.commitBatch(batch, certificate);
    }

    function test_commitBatch_wrongParent_reverts() external {
        Batch memory batch = _nextBatch();
        bytes32 expected = batch.parentCheckpoint;
        batch.parentCheckpoint = keccak256("other");
        bytes memory certificate = _certificate(batch, 5);
        vm.prank(SEQUENCER);
        vm.expectRevert(abi.encodeWithSelector(Rollup.Rollup_WrongParent.selector, expected, batch.parentCheckpoint));
        rollup.commitBatch(batch, certificate);
    }

    function test_commitBatch_wrongNumber_reverts() external {
        Batch memory batch = _nextBatch();
        batch.number = 2;
        bytes memory certificate = _certificate(batch, 5);
        vm.prank(SEQUENCER);
        vm.expectRevert(abi.encodeWithSelector(Rollup.Rollup_WrongNumber.selector, 1, 2));
        rollup.commitBatch(batch, certificate);
    }

    function test_commitBatch_fromTheFuture_reverts() external {
        Batch memory batch = _nextBatch();
        batch.checkpoint.timestamp = _now() + SKEW + 1;
        bytes memory certificate = _certificate(batch, 5);
        vm.prank(SEQUENCER);
        vm.expectRevert(
            abi.encodeWithSelector(Rollup.Rollup_FromTheFuture.selector, _now() + SKEW, batch.checkpoint.timestamp)
        );
        rollup.commitBatch(batch, certificate);
    }

    function test_commitBatch_afterLongOutage_succeeds() external {
        Batch memory batch = _nextBatch();
        _wait(300 days);
        _commit(batch);
        assertEq(rollup.committedCount(), 1, "committed");
    }

    function test_commitBatch_inventedRequests_reverts() external {
        _deposit(ALICE, ALICE, 1 ether);
        Batch memory batch = _nextBatch();
        batch.checkpoint.priorityAcc = keccak256("a deposit that nobody made");
        bytes memory certificate = _certificate(batch, 5);
        bytes32 expected = rollup.accAt(1);
        vm.prank(SEQUENCER);
        vm.expectRevert(
            abi.encodeWithSelector(Rollup.Rollup_WrongRequests.selector, expected, batch.checkpoint.priorityAcc)
        );
        rollup.commitBatch(batch, certificate);
    }

    function test_commitBatch_moreRequestsThanQueued_reverts() external {
        Batch memory batch = _nextBatch();
        batch.checkpoint.priorityCount = 1;
        bytes memory certificate = _certificate(batch, 5);
        vm.prank(SEQUENCER);
        vm.expectRevert(abi.encodeWithSelector(Rollup.Rollup_QueueTooShort.selector, 0, 1));
        rollup.commitBatch(batch, certificate);
    }

    function test_commitBatch_withoutData_reverts() external {
        Batch memory batch = _nextBatch();
        vm.prank(SEQUENCER);
        vm.expectRevert(abi.encodeWithSelector(Rollup.Rollup_NoData.selector));
        rollup.commitBatch(batch, "");
    }

    function test_commitBatch_tooManyPending_reverts() external {
        uint64 pendingMax = rollup.PENDING_BATCHES_MAX();
        for (uint64 i = 0; i < pendingMax; ++i) {
            _commit(_nextBatch());
        }
        Batch memory batch = _nextBatch();
        bytes memory certificate = _certificate(batch, 5);
        vm.prank(SEQUENCER);
        vm.expectRevert(abi.encodeWithSelector(Rollup.Rollup_TooManyPending.selector, pendingMax));
        rollup.commitBatch(batch, certificate);
    }

    // ------------------------------------------------------------------------------------------------- data on L1

    function test_commitBatch_dataOnL1InSeveralTransactions_succeeds() external {
        Batch memory batch = _nextBatch();
        bytes32 start = tip.dataAcc;
        bytes memory first = "first block";
        bytes memory second = "second block";
        bytes memory third = "third";
        vm.prank(ALICE, ALICE);
        bytes32 middle = rollup.postData(start, start, bytes.concat(_chunk(first), _chunk(second)));
        vm.prank(BOB, BOB);
        bytes32 end = rollup.postData(start, middle, _chunk(third));
        bytes32 expected = keccak256(bytes.concat(start, first));
        expected = keccak256(bytes.concat(expected, second));
        assertEq(middle, expected, "middle");
        assertEq(end, keccak256(bytes.concat(expected, third)), "end");

        batch.checkpoint.dataAcc = end;
        batch.dataBytes = uint64(first.length + second.length + third.length);
        vm.prank(SEQUENCER);
        rollup.commitBatch(batch, bytes.concat(bytes1(0), abi.encode(tip)));
        assertEq(rollup.committedCount(), 1, "committed");
    }

    function test_commitBatch_dataPartlyOnL1_reverts() external {
        Batch memory batch = _nextBatch();
        bytes32 start = tip.dataAcc;
        vm.prank(ALICE, ALICE);
        bytes32 middle = rollup.postData(start, start, _chunk("first"));
        batch.checkpoint.dataAcc = keccak256(bytes.concat(middle, bytes("second")));
        vm.prank(SEQUENCER);
        vm.expectRevert(abi.encodeWithSelector(Rollup.Rollup_NoData.selector));
        rollup.commitBatch(batch, bytes.concat(bytes1(0), abi.encode(tip)));
    }

    function test_postData_fromWhatNobodyPosted_reverts() external {
        vm.prank(ALICE, ALICE);
        vm.expectRevert(abi.encodeWithSelector(DataLog.DataLog_NotReached.selector, bytes32(0), bytes32(uint256(5))));
        rollup.postData(0, bytes32(uint256(5)), _chunk("data"));
    }

    function test_postData_truncatedChunk_reverts() external {
        vm.prank(ALICE, ALICE);
        vm.expectRevert(abi.encodeWithSelector(DataLog.DataLog_Truncated.selector, 9, 3));
        rollup.postData(0, 0, hex"00000009aabbcc");
    }

    function test_postData_byContract_reverts() external {
        vm.expectPartialRevert(DataLog.DataLog_NotDirect.selector);
        rollup.postData(0, 0, _chunk("data"));
    }

    function testFuzz_postData_splitAnywhere_reachesTheSameEnd(bytes[] calldata blocks, uint256 split) external {
        vm.assume(blocks.length > 1);
        bytes memory head;
        bytes memory tail;
        split = bound(split, 1, blocks.length - 1);
        for (uint256 i = 0; i < blocks.length; ++i) {
            vm.assume(blocks[i].length != 0);
            if (i < split) head = bytes.concat(head, _chunk(blocks[i]));
            else tail = bytes.concat(tail, _chunk(blocks[i]));
        }
        vm.prank(ALICE, ALICE);
        bytes32 once = rollup.postData(0, 0, bytes.concat(head, tail));
        vm.prank(ALICE, ALICE);
        bytes32 middle = rollup.postData(0, 0, head);
        vm.prank(ALICE, ALICE);
        assertEq(rollup.postData(0, middle, tail), once, "end");
    }

    // -------------------------------------------------------------------------------------------- prove, execute

    function test_proveBatch_nothingCommitted_reverts() external {
        vm.expectRevert(abi.encodeWithSelector(Rollup.Rollup_NothingToProve.selector, 1, 0, 0));
        rollup.proveBatch(1, "");
    }

    function test_executeBatch_otherWithdrawals_reverts() external {
        Withdrawal[] memory withdrawals = _withdrawals(2, 7);
        Batch memory batch = _nextBatch(tip.stateRoot, withdrawals);
        _commit(batch);
        rollup.proveBatch(1, _proof(batch));
        withdrawals[1].amount = 8;
        vm.expectPartialRevert(Rollup.Rollup_WrongWithdrawals.selector);
        rollup.executeBatch(1, batch.checkpoint, withdrawals);
        vm.expectPartialRevert(Rollup.Rollup_WrongWithdrawals.selector);
        rollup.executeBatch(1, batch.checkpoint, _none());
    }

    function test_executeBatch_otherCheckpoint_reverts() external {
        Batch memory batch = _nextBatch();
        _commit(batch);
        rollup.proveBatch(1, _proof(batch));
        batch.checkpoint.stateRoot = bytes32(uint256(9));
        vm.expectPartialRevert(Rollup.Rollup_WrongCheckpoint.selector);
        rollup.executeBatch(1, batch.checkpoint, _none());
    }

    // ------------------------------------------------------------------------------------------------ late, revert

    function test_isLate_requestOlderThanADay_true() external {
        assertTrue(!rollup.isLate(), "not late at first");
        _deposit(ALICE, ALICE, 1);
        _wait(LATE_AFTER);
        assertTrue(!rollup.isLate(), "not late on the day");
        _wait(1);
        assertTrue(rollup.isLate(), "late after it");
    }

    function test_settleBatch_byStrangerInTime_reverts() external {
        Batch memory batch = _nextBatch();
        bytes memory certificate = _certificate(batch, 5);
        bytes memory proof = _proof(batch);
        vm.prank(STRANGER);
        vm.expectRevert(abi.encodeWithSelector(Rollup.Rollup_NotLate.selector, STRANGER));
        rollup.settleBatch(batch, certificate, proof, _none());
    }

    function test_settleBatch_byStrangerWhenLate_dropsParkedGarbage() external {
        _deposit(ALICE, ALICE, 1);
        Checkpoint memory before = tip;
        Batch memory garbage = _nextBatch(bytes32(uint256(666)), _none());
        _commit(garbage);
        tip = before;
        _wait(LATE_AFTER + 1);
        Batch memory honest = _nextBatch();
        honest.number = 1;
        _settle(honest, _none(), STRANGER);
        assertEq(rollup.executedCount(), 1, "executed");
        assertEq(rollup.committedCount(), 1, "garbage is gone");
        assertEq(rollup.revertCount(), 1, "revert count");
    }

    function test_settleBatch_byStrangerWhenLate_servesTheOldestRequest() external {
        _deposit(ALICE, ALICE, 1);
        _wait(LATE_AFTER + 1);
        // A valid batch that leaves the queue as it is: the stranger's own transactions, and the operator's batches dropped.
        Batch memory selfish = _nextBatch();
        (selfish.checkpoint.priorityCount, selfish.checkpoint.priorityAcc) = (tip.priorityCount, tip.priorityAcc);
        bytes memory certificate = _certificate(selfish, 5);
        bytes memory proof = _proof(selfish);
        vm.prank(STRANGER);
        vm.expectRevert(abi.encodeWithSelector(Rollup.Rollup_OldestNotServed.selector, 1, 0));
        rollup.settleBatch(selfish, certificate, proof, _none());
        // The sequencer's own are its business: it stays late.
        _settle(selfish, _none(), SEQUENCER);
        assertTrue(rollup.isLate(), "still late");
        _settle(_nextBatch(), _none(), STRANGER);
        assertTrue(!rollup.isLate(), "served");
    }

    function test_settleBatch_byStrangerAfterTheProofDeadline_needsNoRequest() external {
        Checkpoint memory before = tip;
        _commit(_nextBatch(bytes32(uint256(666)), _none()));
        tip = before;
        _wait(PROOF_DEADLINE + 1);
        Batch memory honest = _nextBatch();
        honest.number = 1;
        _settle(honest, _none(), STRANGER);
        assertEq(rollup.executedCount(), 1, "executed");
    }

    function test_revertBatches_unprovenTooLong_byAnyone() external {
        _commit(_nextBatch());
        vm.prank(STRANGER);
        vm.expectRevert(abi.encodeWithSelector(Rollup.Rollup_NotLate.selector, STRANGER));
        rollup.revertBatches(0);
        _wait(PROOF_DEADLINE + 1);
        vm.prank(STRANGER);
        rollup.revertBatches(0);
        assertEq(rollup.committedCount(), 0, "committed");
        assertEq(rollup.revertCount(), 1, "revert count");
    }

    function test_revertBatches_whileLate_onlyOncePerDeadline() external {
        _deposit(ALICE, ALICE, 1);
        _wait(LATE_AFTER + 1);
        vm.prank(STRANGER);
        rollup.revertBatches(0);
        vm.prank(SEQUENCER);
        vm.expectPartialRevert(Rollup.Rollup_RevertedTooRecently.selector);
        rollup.revertBatches(0);
        _wait(PROOF_DEADLINE);
        vm.prank(STRANGER);
        rollup.revertBatches(0);
        assertEq(rollup.revertCount(), 2, "revert count");
    }

    function test_revertBatches_provenBatch_reverts() external {
        Batch memory batch = _nextBatch();
        _commit(batch);
        rollup.proveBatch(1, _proof(batch));
        vm.prank(SEQUENCER);
        vm.expectRevert(abi.encodeWithSelector(Rollup.Rollup_CannotKeep.selector, 1, 1, 0));
        rollup.revertBatches(0);
    }

    function test_revertBatches_provenBatchNobodyCanExecute_afterItsWindow() external {
        Withdrawal[] memory secret = _withdrawals(1, 7);
        Batch memory batch = _nextBatch(tip.stateRoot, secret);
        _commit(batch);
        rollup.proveBatch(1, _proof(batch));
        _wait(EXECUTION_WINDOW + 1);
        vm.prank(SEQUENCER);
        rollup.revertBatches(0);
        assertEq(rollup.provenCount(), 0, "proven");
    }

    function test_commitBatch_afterRevert_needsANewCertificate() external {
        Checkpoint memory before = tip;
        Batch memory batch = _nextBatch();
        bytes memory old = _certificate(batch, 5);
        _commit(batch);
        vm.prank(SEQUENCER);
        rollup.revertBatches(0);
        vm.prank(SEQUENCER);
        vm.expectRevert(); // the digest differs, so the signatures recover to strangers in no order
        rollup.commitBatch(batch, old);
        tip = before;
        _commit(batch);
        assertEq(rollup.committedCount(), 1, "committed again");
    }

    // ---------------------------------------------------------------------------------------------------- requests

    function test_requestFee_risesWithTheQueue() external {
        uint256 first = rollup.requestFee(Encodings.FORCED_WITHDRAWAL);
        assertEq(first, 1e12, "first");
        for (uint256 i = 0; i < 100; ++i) {
            _mine();
            _deposit(ALICE, ALICE, 1);
        }
        assertEq(rollup.requestFee(Encodings.FORCED_WITHDRAWAL), 2e12, "doubled by a hundred");
        assertEq(rollup.requestFee(Encodings.FORCED_CALL), 8e12, "a call prepays its gas");
    }

    function test_requestWithdrawal_feeTooLow_reverts() external {
        vm.deal(ALICE, 1 ether);
        vm.prank(ALICE);
        vm.expectRevert(abi.encodeWithSelector(Rollup.Rollup_FeeTooLow.selector, 1e12, 1e12 - 1));
        rollup.requestWithdrawal{ value: 1e12 - 1 }(ALICE, 1);
    }

    function test_requestWithdrawal_overpaid_returnsTheRest() external {
        vm.deal(ALICE, 1 ether);
        vm.prank(ALICE);
        rollup.requestWithdrawal{ value: 1 ether }(BOB, 5);
        assertEq(ALICE.balance, 1 ether - 1e12, "balance");
        PriorityRequest memory request = PriorityRequest(Encodings.FORCED_WITHDRAWAL, ALICE, BOB, 5, _now(), "");
        rollup.checkRequest(0, request);
        assertEq(
            rollup.accAt(1),
            keccak256(abi.encodePacked(bytes32(0), uint8(2), ALICE, BOB, uint128(5), _now())),
            "accumulator"
        );
    }

    function test_requestCall_tooLong_reverts() external {
        uint256 fee = rollup.requestFee(Encodings.FORCED_CALL);
        rollup.requestCall{ value: fee }(address(0x8001), 0, new bytes(1_024));
        fee = rollup.requestFee(Encodings.FORCED_CALL);
        vm.expectRevert(abi.encodeWithSelector(PriorityQueue.PriorityQueue_DataTooLong.selector, 1_024, 1_025));
        rollup.requestCall{ value: fee }(address(0x8001), 0, new bytes(1_025));
    }

    function test_requestWithdrawal_blockFull_reverts() external {
        for (uint256 i = 0; i < 8; ++i) {
            _deposit(ALICE, ALICE, 1);
        }
        uint256 fee = rollup.requestFee(Encodings.FORCED_WITHDRAWAL);
        vm.expectRevert(abi.encodeWithSelector(PriorityQueue.PriorityQueue_BlockFull.selector, 8, vm.getBlockNumber()));
        rollup.requestWithdrawal{ value: fee }(ALICE, 1);
        _mine();
        rollup.requestWithdrawal{ value: fee }(ALICE, 1);
    }

    function test_requestDeposit_notByTheBridge_reverts() external {
        vm.expectRevert(abi.encodeWithSelector(Rollup.Rollup_NotBridge.selector, address(bridge), address(this)));
        rollup.requestDeposit{ value: 1 ether }(ALICE, ALICE, 1 ether);
    }

    function testFuzz_oldestRequestAt_packedTimes_readBack(uint8 count, uint8 consumed) external {
        count = uint8(bound(count, 1, 20));
        consumed = uint8(bound(consumed, 0, count));
        uint64[] memory times = new uint64[](count);
        for (uint256 i = 0; i < count; ++i) {
            _wait(100 + i);
            _mine();
            times[i] = _now();
            _deposit(ALICE, ALICE, 1);
        }
        if (consumed > 0) {
            Batch memory batch = _nextBatch();
            batch.checkpoint.priorityCount = consumed;
            batch.checkpoint.priorityAcc = rollup.accAt(consumed);
            _settle(batch, _none(), SEQUENCER);
        }
        assertEq(rollup.oldestRequestAt(), consumed == count ? type(uint64).max : times[consumed], "oldest request");
    }

    function test_collectFees_byOperator_leavesNothing() external {
        _deposit(ALICE, ALICE, 1 ether);
        vm.expectRevert(abi.encodeWithSelector(Rollup.Rollup_NotOperator.selector, OPERATOR, address(this)));
        rollup.collectFees();
        vm.prank(OPERATOR);
        rollup.collectFees();
        assertEq(OPERATOR.balance, 1e12, "fees");
        assertEq(address(bridge).balance, 1 ether, "deposits are not fees");
    }

    // ------------------------------------------------------------------------------------------------------ freeze

    function test_freeze_requestExpired_stopsEverything() external {
        _commit(_nextBatch());
        _deposit(ALICE, ALICE, 1);
        uint256 notBefore = _now() + QUEUE_EXPIRY;
        vm.warp(notBefore);
        vm.expectRevert(abi.encodeWithSelector(Rollup.Rollup_NotExpired.selector, notBefore, notBefore));
        rollup.freeze();
        vm.warp(notBefore + 1);
        vm.prank(STRANGER);
        rollup.freeze();
        assertEq(rollup.committedCount(), 0, "the unproven batch is gone");

        bytes memory frozen = abi.encodeWithSelector(Rollup.Rollup_IsFrozen.selector, notBefore + 1);
        Batch memory batch = _nextBatch();
        vm.expectRevert(frozen);
        rollup.commitBatch(batch, "");
        vm.expectRevert(frozen);
        rollup.settleBatch(batch, "", "", _none());
        vm.expectRevert(frozen);
        rollup.proveBatch(1, "");
        vm.expectRevert(frozen);
        rollup.executeBatch(1, batch.checkpoint, _none());
        vm.expectRevert(frozen);
        rollup.revertBatches(0);
        vm.expectRevert(frozen);
        rollup.requestWithdrawal{ value: 1 ether }(ALICE, 1);
        vm.expectRevert(frozen);
        rollup.freeze();
        vm.expectRevert(frozen);
        rollup.postData(0, 0, _chunk("data"));
    }

    function test_setProgram_whenFrozen_reverts() external {
        _freeze();
        bytes memory call = abi.encodeCall(Rollup.setProgram, (2, bytes32(uint256(7))));
        timelock.schedule(address(rollup), 0, call, 0, 0, UPGRADE_DELAY);
        _wait(UPGRADE_DELAY);
        vm.expectPartialRevert(Rollup.Rollup_IsFrozen.selector);
        timelock.execute(address(rollup), 0, call, 0, 0);
    }

    function test_freeze_requestsConsumed_reverts() external {
        _deposit(ALICE, ALICE, 1);
        _settle(_nextBatch(), _none(), SEQUENCER);
        _wait(365 days);
        vm.expectPartialRevert(Rollup.Rollup_NotExpired.selector);
        rollup.freeze();
    }

    // -------------------------------------------------------------------------------------------------- governance

    function test_setProgram_newVersion_bindsNewBatches() external {
        bytes32 program = bytes32(uint256(0x5678));
        Batch memory old = _nextBatch();
        _govern(address(rollup), abi.encodeCall(Rollup.setProgram, (2, program)));
        bytes memory certificate = _certificate(old, 5);
        vm.prank(SEQUENCER);
        vm.expectRevert(abi.encodeWithSelector(Rollup.Rollup_WrongVersion.selector, 2, 1));
        rollup.commitBatch(old, certificate);

        Batch memory batch = _nextBatch();
        _commit(batch);
        bytes memory oldProof = _proof(batch);
        vm.expectPartialRevert(VerifierRouter.VerifierRouter_ProofRefused.selector);
        rollup.proveBatch(1, oldProof);
        rollup.proveBatch(1, _proof(program, batch.parentCheckpoint, Encodings.checkpointHash(batch.checkpoint)));
        assertEq(rollup.provenCount(), 1, "proven");
    }

    function test_setProgram_committedUnderTheOldVersion_isProvenByTheOldProgram() external {
        Batch memory batch = _nextBatch();
        _commit(batch);
        _govern(address(rollup), abi.encodeCall(Rollup.setProgram, (2, bytes32(uint256(0x5678)))));
        rollup.proveBatch(1, _proof(batch));
        rollup.executeBatch(1, batch.checkpoint, _none());
    }

    function test_setProgram_oldVersionAgain_reverts() external {
        bytes memory call = abi.encodeCall(Rollup.setProgram, (1, bytes32(uint256(7))));
        timelock.schedule(address(rollup), 0, call, 0, 0, UPGRADE_DELAY);
        _wait(UPGRADE_DELAY);
        vm.expectRevert(abi.encodeWithSelector(Rollup.Rollup_VersionNotNewer.selector, 1, 1));
        timelock.execute(address(rollup), 0, call, 0, 0);
    }

    function test_setProgram_notByGovernance_reverts() external {
        vm.expectRevert(
            abi.encodeWithSelector(Governed.Governed_NotGovernance.selector, address(timelock), address(this))
        );
        rollup.setProgram(2, bytes32(uint256(7)));
    }

    function test_governance_delay_isNeverChanged() external {
        uint256 delay = UPGRADE_DELAY;
        bytes memory call = abi.encodeCall(timelock.updateDelay, (0));
        timelock.schedule(address(timelock), 0, call, 0, 0, delay);
        _wait(delay);
        vm.expectRevert(abi.encodeWithSelector(FixedTimelock.FixedTimelock_DelayIsFixed.selector, delay));
        timelock.execute(address(timelock), 0, call, 0, 0);
    }

    /// @dev Why a deployment's timelock has a fixed delay: under one that has not, a proposal to lower the delay makes the next one sudden.
    function test_governance_delayLoweredAndRaised_onlyAFixedOneHelps() external {
        uint64 delay = UPGRADE_DELAY;
        address[] memory proposers = new address[](1);
        proposers[0] = address(this);
        timelock = new TimelockController(delay, proposers, proposers, address(0));
        router = new VerifierRouter(timelock, delay, 1, verifier);
        _govern(address(timelock), abi.encodeCall(timelock.updateDelay, (0)));
        bytes memory sudden = abi.encodeCall(router.retireVerifier, (1));
        timelock.schedule(address(router), 0, sudden, 0, 0, 0);
        vm.expectRevert(abi.encodeWithSelector(Governed.Governed_DelayTooShort.selector, delay, 0));
        timelock.execute(address(router), 0, sudden, 0, 0);
        bytes memory raise = abi.encodeCall(timelock.updateDelay, (delay));
        timelock.schedule(address(timelock), 0, raise, 0, 0, 0);
        timelock.execute(address(timelock), 0, raise, 0, 0);
        timelock.execute(address(router), 0, sudden, 0, 0);
        (,, bool isRetired) = router.verifiers(1);
        assertTrue(isRetired, "within one block");
    }

    function test_setSequencer_byOperator_handsOver() external {
        vm.expectRevert(abi.encodeWithSelector(Rollup.Rollup_NotOperator.selector, OPERATOR, address(this)));
        rollup.setSequencer(BOB);
        vm.prank(OPERATOR);
        rollup.setSequencer(BOB);
        assertEq(rollup.sequencer(), BOB, "sequencer");
        _govern(address(rollup), abi.encodeCall(Rollup.setOperator, (ALICE)));
        assertEq(rollup.operator(), ALICE, "operator");
    }

    // ------------------------------------------------------------------------------------------------- constructor

    function test_constructor_lateAfterExpiry_reverts() external {
        Rollup.Config memory config = _config(address(bridge));
        config.genesis.priorityCount = 0;
        config.delays.lateAfter = QUEUE_EXPIRY;
        vm.expectRevert(abi.encodeWithSelector(Rollup.Rollup_BadConfig.selector, "delays"));
        new Rollup(config);
    }

    function test_constructor_windowOrSkewTooLong_reverts() external {
        Rollup.Config memory config = _config(address(bridge));
        config.delays.executionWindow = QUEUE_EXPIRY + 1;
        config.delays.exitWindow = 0; // so that the timelock is slow enough
        vm.expectRevert(abi.encodeWithSelector(Rollup.Rollup_BadConfig.selector, "window or skew"));
        new Rollup(config);
        config.delays.executionWindow = EXECUTION_WINDOW;
        config.delays.timestampSkew = LATE_AFTER + 1;
        vm.expectRevert(abi.encodeWithSelector(Rollup.Rollup_BadConfig.selector, "window or skew"));
        new Rollup(config);
    }

    function test_constructor_timelockTooFast_reverts() external {
        Rollup.Config memory config = _config(address(bridge));
        new Rollup(config);
        bytes memory tooFast =
            abi.encodeWithSelector(Governed.Governed_DelayTooShort.selector, UPGRADE_DELAY + 1, UPGRADE_DELAY);
        config.delays.exitWindow = EXIT_WINDOW + 1;
        vm.expectRevert(tooFast);
        new Rollup(config);
        // Proven batches can put a freeze off by this; it is not taken from the users' time.
        config.delays.exitWindow = EXIT_WINDOW;
        config.delays.executionWindow = EXECUTION_WINDOW + 1;
        vm.expectRevert(tooFast);
        new Rollup(config);
    }

    function test_constructor_partOfAnotherGovernance_reverts() external {
        Rollup.Config memory config = _config(address(bridge));
        config.router = new VerifierRouter(timelock, QUEUE_EXPIRY, 1, verifier);
        vm.expectRevert(abi.encodeWithSelector(Rollup.Rollup_BadConfig.selector, "governance of a part"));
        new Rollup(config);
    }

    function test_constructor_shortExitWindowOnARealNetwork_reverts() external {
        Rollup.Config memory config = _config(address(bridge));
        config.delays.exitWindow = 7 days - 1;
        new Rollup(config);
        vm.chainId(1);
        vm.expectRevert(abi.encodeWithSelector(Rollup.Rollup_BadConfig.selector, "exit window"));
        new Rollup(config);
    }

    function test_constructor_chainIdTooLarge_reverts() external {
        Rollup.Config memory config = _config(address(bridge));
        config.l2ChainId = 1 << 53;
        vm.expectRevert(abi.encodeWithSelector(Rollup.Rollup_BadConfig.selector, "chain id"));
        new Rollup(config);
    }

    function test_constructor_rootNotCanonical_reverts() external {
        Rollup.Config memory config = _config(address(bridge));
        config.genesis.stateRoot = bytes32(uint256(0xffffffff00000001) << 64);
        vm.expectRevert(abi.encodeWithSelector(Rollup.Rollup_BadConfig.selector, "genesis root"));
        new Rollup(config);
    }

    function _chunk(bytes memory data) private pure returns (bytes memory) {
        return bytes.concat(bytes4(uint32(data.length)), data);
    }
}
