// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { Bridge } from "../src/Bridge.sol";
import { DataCommittee } from "../src/DataCommittee.sol";
import { Escape } from "../src/Escape.sol";
import { Rollup } from "../src/Rollup.sol";
import { Batch, Checkpoint, PriorityRequest, Withdrawal } from "../src/Types.sol";
import { VerifierRouter } from "../src/VerifierRouter.sol";
import { Bn254, G1 } from "../src/libraries/Bn254.sol";
import { Certificates, EcdsaCertificate } from "../src/libraries/Certificates.sol";
import { Encodings } from "../src/libraries/Encodings.sol";
import { Account, Objects } from "../src/libraries/Objects.sol";
import { Opening, StateTree } from "../src/libraries/StateTree.sol";
import { BlsNetwork } from "./helpers/BlsNetwork.sol";
import { FrozenNetwork } from "./helpers/FrozenNetwork.sol";
import { G2Multiples } from "./helpers/G2Multiples.sol";
import { TestVerifier } from "./helpers/TestVerifier.sol";

/// @dev Claims again from inside its own payment.
contract Reenterer {
    Bridge private immutable _bridge;
    Withdrawal private _withdrawal;
    uint256 public refusals;

    constructor(Bridge bridge_) {
        _bridge = bridge_;
    }

    function arm(Withdrawal calldata withdrawal) external {
        _withdrawal = withdrawal;
    }

    receive() external payable {
        try _bridge.claim(1, _withdrawal, 0, new bytes32[](0)) { }
        catch {
            ++refusals;
        }
    }
}

/// @title The list of attacks that the design names, each tried as its attacker would.
contract AttacksTest is BlsNetwork {
    function setUp() external {
        _deploy();
    }

    function test_attack_replayedCertificate_reverts() external {
        // The certificate of batch 1 for a batch 2 that claims the same data.
        Batch memory first = _nextBatch();
        bytes memory certificate = _certificate(first, 5);
        _commit(first);
        Batch memory second = _nextBatch();
        _commitRefused(second, certificate);
        // And for batch 1 itself, after it was dropped.
        vm.prank(SEQUENCER);
        rollup.revertBatches(0);
        _commitRefused(first, certificate);
    }

    function test_attack_certificateOfAnotherChain_reverts() external {
        Batch memory batch = _nextBatch();
        vm.chainId(1337);
        bytes memory certificate = _certificate(batch, 5);
        vm.chainId(31337);
        _commitRefused(batch, certificate);
    }

    function test_attack_certificateOfAnotherRollup_reverts() external {
        Batch memory batch = _nextBatch();
        _commitRefused(batch, _encode(_signed(batch, STRANGER, 5, _now() + 14 days)));
    }

    function test_attack_certificateOfAnotherBatch_reverts() external {
        Batch memory batch = _nextBatch();
        bytes memory certificate = _certificate(_nextBatch(bytes32(uint256(4)), _none()), 5);
        _commitRefused(batch, certificate);
    }

    function test_attack_duplicatedSigner_reverts() external {
        Batch memory batch = _nextBatch();
        EcdsaCertificate memory certificate = _signed(batch, address(rollup), 4, _now() + 14 days);
        certificate.signatures[0] = certificate.signatures[1];
        _commitRefused(batch, _encode(certificate));
    }

    function test_attack_expiredCertificate_reverts() external {
        Batch memory batch = _nextBatch();
        EcdsaCertificate memory certificate = _signed(batch, address(rollup), 5, _now() + REMAINING_MIN);
        _wait(1);
        bytes memory encoded = _encode(certificate);
        vm.prank(SEQUENCER);
        vm.expectPartialRevert(DataCommittee.DataCommittee_ExpiresTooSoon.selector);
        rollup.commitBatch(batch, encoded);
        // A later expiry is not what was signed.
        certificate.expiry += 1 days;
        _commitRefused(batch, _encode(certificate));
    }

    function test_attack_rogueKey_reverts() external {
        // The victim's key is 1·g. The attacker knows 3 and announces 3·g − victim, to sign for both with 3 alone.
        _registerBls(committee, vm.addr(keys[0]), 1);
        address attacker = vm.addr(keys[1]);
        G1 memory rogue = Bn254.multiply(Bn254.generator1(), 3 - 1);
        bytes32 digest = committee.blsPossessionDigest(attacker, rogue);
        G1 memory possession = Bn254.multiply(Bn254.hashToG1(POSSESSION_TAG, digest), 3);
        vm.prank(attacker);
        vm.expectPartialRevert(Certificates.Certificates_SignatureRefused.selector);
        committee.registerBlsKey(rogue, G2Multiples.multiple(2), possession);
        // Nor with a key in G2 that fits the signature and not the key in G1.
        vm.prank(attacker);
        vm.expectPartialRevert(Certificates.Certificates_SignatureRefused.selector);
        committee.registerBlsKey(rogue, G2Multiples.multiple(3), possession);
    }

    function test_attack_dataSwappedAfterSigning_reverts() external {
        Batch memory batch = _nextBatch();
        bytes memory certificate = _certificate(batch, 5);
        batch.dataBytes += 1;
        _commitRefused(batch, certificate);
        batch.dataBytes -= 1;
        batch.checkpoint.dataAcc = keccak256("other data");
        _commitRefused(batch, certificate);
    }

    function test_attack_proofForAnotherProgram_reverts() external {
        Batch memory batch = _nextBatch();
        _commit(batch);
        bytes32 to = Encodings.checkpointHash(batch.checkpoint);
        bytes memory proof = _proof(bytes32(uint256(0xbad)), batch.parentCheckpoint, to);
        vm.expectPartialRevert(VerifierRouter.VerifierRouter_ProofRefused.selector);
        rollup.proveBatch(1, proof);
    }

    function test_attack_reentrancyOnClaim_paysOnce() external {
        Reenterer reenterer = new Reenterer(bridge);
        _deposit(ALICE, ALICE, 10 ether);
        Withdrawal[] memory list = new Withdrawal[](1);
        list[0] = Withdrawal(0, address(reenterer), 1 ether);
        reenterer.arm(list[0]);
        _settle(_nextBatch(tip.stateRoot, list), list, SEQUENCER);
        bridge.claim(1, list[0], 0, new bytes32[](0));
        assertEq(address(reenterer).balance, 1 ether, "paid once");
        assertEq(reenterer.refusals(), 1, "the second claim was refused");
    }

    function test_attack_proofAcrossTwoCommitsWithForgedMiddle_reverts() external {
        // Commits X -> forged and forged -> Y, and a true proof of X -> Y.
        bytes32 start = Encodings.checkpointHash(tip);
        Batch memory forged = _nextBatch(bytes32(uint256(666)), _none());
        _commit(forged);
        Batch memory last = _nextBatch();
        _commit(last);
        bytes memory spanning = _proof(PROGRAM, start, Encodings.checkpointHash(last.checkpoint));
        vm.expectPartialRevert(VerifierRouter.VerifierRouter_ProofRefused.selector);
        rollup.proveBatch(1, spanning);
        vm.expectPartialRevert(Rollup.Rollup_NothingToProve.selector);
        rollup.proveBatch(2, spanning);
    }

    function test_attack_garbageCommittedByAStranger_reverts() external {
        // Even while the operator is late a stranger settles with a proof or not at all.
        _deposit(ALICE, ALICE, 1);
        _wait(LATE_AFTER + 1);
        Batch memory garbage = _nextBatch(bytes32(uint256(666)), _none());
        bytes memory certificate = _certificate(garbage, 5);
        vm.prank(STRANGER);
        vm.expectPartialRevert(Rollup.Rollup_NotSequencer.selector);
        rollup.commitBatch(garbage, certificate);
        bytes memory forged = _proof(PROGRAM, keccak256("elsewhere"), garbage.parentCheckpoint);
        vm.prank(STRANGER);
        vm.expectPartialRevert(VerifierRouter.VerifierRouter_ProofRefused.selector);
        rollup.settleBatch(garbage, certificate, forged, _none());
    }

    function test_attack_freezeWhileAProvenBatchWaits_reverts() external {
        _deposit(ALICE, ALICE, 1);
        Batch memory batch = _nextBatch();
        _commit(batch);
        rollup.proveBatch(1, _proof(batch));
        _wait(QUEUE_EXPIRY + 1);
        vm.expectPartialRevert(Rollup.Rollup_NotExpired.selector);
        rollup.freeze();
        vm.prank(STRANGER);
        rollup.executeBatch(1, batch.checkpoint, _none());
        vm.expectPartialRevert(Rollup.Rollup_NotExpired.selector);
        rollup.freeze();
    }

    function test_attack_provenBatchNobodyCanExecute_doesNotHoldTheFreeze() external {
        _deposit(ALICE, ALICE, 1);
        Withdrawal[] memory secret = _withdrawals(1, 1);
        Batch memory batch = _nextBatch(tip.stateRoot, secret);
        bytes32 executed = rollup.executedCheckpoint();
        _commit(batch);
        rollup.proveBatch(1, _proof(batch));
        _wait(QUEUE_EXPIRY + EXECUTION_WINDOW + 1);
        rollup.freeze();
        assertEq(rollup.executedCheckpoint(), executed, "the state before stands");
        assertEq(rollup.provenCount(), 0, "the batch is gone");
    }

    function test_attack_signaturesSpentOnABatchNeverCommitted_isCleared() external {
        // Members sign once per revert count. A late operator hoards a certificate; anyone raises the count.
        _deposit(ALICE, ALICE, 1);
        _wait(LATE_AFTER + 1);
        Batch memory hoarded = _nextBatch(bytes32(uint256(5)), _none());
        bytes memory old = _certificate(hoarded, 5);
        vm.prank(STRANGER);
        rollup.revertBatches(0);
        _commitRefused(hoarded, old);
        _settle(_nextBatch(), _none(), STRANGER);
        assertEq(rollup.executedCount(), 1, "executed");
    }

    function test_attack_registeringAnothersKey_reverts() external {
        uint256 victim = 0x71c7;
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(victim, committee.possessionDigest(ALICE));
        bytes memory possession = abi.encodePacked(r, s, v);
        // Seen in the mempool and tried by another.
        vm.prank(BOB);
        vm.expectPartialRevert(DataCommittee.DataCommittee_NotTheKey.selector);
        committee.register(vm.addr(victim), possession);
        vm.prank(ALICE);
        committee.register(vm.addr(victim), possession);
    }

    function _commitRefused(Batch memory batch, bytes memory certificate) private {
        uint64 before = rollup.committedCount();
        vm.prank(SEQUENCER);
        (bool done, bytes memory reason) =
            address(rollup).call(abi.encodeCall(Rollup.commitBatch, (batch, certificate)));
        assertTrue(!done, "must be refused");
        bytes4 selector = bytes4(reason);
        // Another digest recovers to addresses that are no members or in no order.
        assertTrue(
            selector == Certificates.Certificates_NotAMember.selector
                || selector == Certificates.Certificates_OutOfOrder.selector
                || selector == Rollup.Rollup_WrongNumber.selector || selector == bytes4(0xf645eedf), // ECDSAInvalidSignature
            "refused for its signatures"
        );
        assertEq(rollup.committedCount(), before, "nothing committed");
    }
}

contract AttacksOnTheFrozenTest is FrozenNetwork {
    function setUp() external {
        _deployFrozen();
    }

    function test_attack_withdrawalClaimedAndEscaped_paysEachCoinOnce() external {
        // A fresh chain on which Alice withdrew 4 of her 10: the executed root holds the other 6.
        delete keys;
        delete tip;
        _deploy();
        vm.deal(alice, 0);
        _deposit(alice, alice, 10 ether);
        Withdrawal[] memory list = new Withdrawal[](1);
        list[0] = Withdrawal(0, alice, 4 ether);
        tree.set(
            AT_ALICE,
            bytes32(abi.encodePacked(uint32(1), alice, uint64(0))),
            abi.encodePacked(uint64(6), uint128(6 ether))
        );
        _settle(_nextBatch(tree.root(), list), list, SEQUENCER);
        _freeze();
        escape.openEscape(tip);
        bridge.claim(1, list[0], 0, new bytes32[](0));
        vm.expectPartialRevert(Bridge.Bridge_AlreadyClaimed.selector);
        bridge.claim(1, list[0], 0, new bytes32[](0));
        Opening memory opening = _opening(AT_ALICE);
        vm.expectPartialRevert(StateTree.StateTree_WrongNode.selector);
        escape.escapeAccount(alice, Account(5, 10 ether), opening);
        escape.escapeAccount(alice, Account(6, 6 ether), opening);
        assertEq(alice.balance, 10 ether, "all of it and no more");
    }

    function test_attack_depositConsumedByADroppedBatch_isRefundedOnce() external {
        // A proven batch credits the deposit on L2, the freeze drops the batch, and the deposit comes back: never both.
        delete keys;
        delete tip;
        _deploy();
        vm.deal(alice, 0);
        Checkpoint memory frozen = tip;
        PriorityRequest memory request = PriorityRequest(Encodings.DEPOSIT, alice, BOB, 2 ether, _now(), "");
        _deposit(alice, BOB, 2 ether);
        Batch memory batch = _nextBatch();
        _commit(batch);
        rollup.proveBatch(1, _proof(batch));
        _wait(QUEUE_EXPIRY + EXECUTION_WINDOW + 1);
        rollup.freeze();
        vm.expectPartialRevert(Rollup.Rollup_IsFrozen.selector);
        rollup.executeBatch(1, batch.checkpoint, _none());
        vm.expectPartialRevert(Escape.Escape_WrongCheckpoint.selector);
        escape.openEscape(batch.checkpoint);
        escape.openEscape(frozen);
        escape.refundDeposit(0, request);
        vm.expectRevert(abi.encodeWithSelector(Escape.Escape_AlreadyRefunded.selector, 0));
        escape.refundDeposit(0, request);
        assertEq(alice.balance, 2 ether, "once");
        assertEq(bridge.locked(), 0, "nothing is left");
    }

    /// @dev A hostile verifier is proposed, a request made at that moment is ignored, and the operator has a proven batch waiting at all times: it proves
    /// one whenever another is executed. The freeze is put off by one window, and the users' time begins after it.
    function test_attack_hostileProposalAndProvenBatchesWithoutEnd_leaveTheExitWindow() external {
        delete keys;
        delete tip;
        _deploy();
        vm.deal(alice, 0);
        _deposit(alice, alice, 10 ether);
        tree.set(AT_ALICE, Objects.key(Objects.KIND_ACCOUNT, alice, 0), Objects.words(Account(6, 10 ether)));
        _settle(_nextBatch(tree.root(), _none()), _none(), SEQUENCER);

        assertEq(timelock.getMinDelay(), rollup.upgradeDelayMin(), "the shortest that the rollup takes");
        bytes memory hostile = abi.encodeCall(VerifierRouter.addVerifier, (2, new TestVerifier()));
        timelock.schedule(address(router), 0, hostile, 0, 0, rollup.upgradeDelayMin());
        uint256 inForceAt = timelock.getTimestamp(timelock.hashOperation(address(router), 0, hostile, 0, 0));
        uint256 notBefore = _now() + QUEUE_EXPIRY + EXECUTION_WINDOW;
        uint256 fee = rollup.requestFee(Encodings.FORCED_WITHDRAWAL);
        vm.deal(alice, fee);
        vm.prank(alice);
        rollup.requestWithdrawal{ value: fee }(alice, 10 ether);

        vm.warp(notBefore - EXECUTION_WINDOW);
        Batch memory batch = _proveIgnoringRequests();
        Checkpoint memory executed;
        for (uint256 i = 0; i < 4; ++i) {
            _wait(EXECUTION_WINDOW / 4);
            rollup.executeBatch(batch.number, batch.checkpoint, _none());
            executed = batch.checkpoint;
            batch = _proveIgnoringRequests();
            vm.expectRevert(abi.encodeWithSelector(Rollup.Rollup_NotExpired.selector, notBefore, _now()));
            rollup.freeze();
        }
        assertEq(_now(), notBefore, "put off by one window, not by one for each batch");
        assertEq(inForceAt, notBefore + EXIT_WINDOW, "and the users' time is all there");
        _wait(1);
        rollup.freeze();

        // Alice leaves; what was proposed takes effect on a chain that takes no proof any more.
        escape.openEscape(executed);
        escape.escapeAccount(alice, Account(6, 10 ether), _opening(AT_ALICE));
        assertEq(alice.balance, 10 ether, "all of it");
        vm.warp(inForceAt);
        timelock.execute(address(router), 0, hostile, 0, 0);
        tip = executed;
        batch = _nextBatch(bytes32(uint256(666)), _none());
        bytes memory certificate = _certificate(batch, 5);
        bytes memory forged = _proof(batch);
        forged[0] = 0x02;
        vm.prank(SEQUENCER);
        vm.expectPartialRevert(Rollup.Rollup_IsFrozen.selector);
        rollup.settleBatch(batch, certificate, forged, _none());
    }

    /// @dev Commits and proves a batch that consumes no request.
    function _proveIgnoringRequests() private returns (Batch memory batch) {
        batch = _nextBatch();
        batch.checkpoint.priorityCount = rollup.executedPriorityCount();
        batch.checkpoint.priorityAcc = rollup.accAt(batch.checkpoint.priorityCount);
        _commit(batch);
        rollup.proveBatch(batch.number, _proof(batch));
    }

    function test_attack_leafWithALimbNotBelowP_reverts() external {
        escape.openEscape(tip);
        // The same field elements written with v + p where v is small: one digest, two encodings, the second refused.
        bytes32[] memory siblings = tree.siblings(3, 0, 32);
        for (uint256 lane = 0; lane < 4; ++lane) {
            bytes32 bad = bytes32(uint256(0xffffffff00000001) << (64 * lane));
            bytes32 kept = siblings[0];
            siblings[0] = bad;
            bytes32 digest = tree.node(3, 0);
            vm.expectRevert(abi.encodeWithSelector(StateTree.StateTree_NotCanonical.selector, bad));
            escape.proveNode(3, 0, digest, siblings);
            siblings[0] = kept;
            vm.expectRevert(abi.encodeWithSelector(StateTree.StateTree_NotCanonical.selector, bad));
            escape.proveNode(3, 0, bad, siblings);
        }
    }
}
