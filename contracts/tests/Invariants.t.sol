// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { Batch, Checkpoint, PriorityRequest, Withdrawal } from "../src/Types.sol";
import { Encodings } from "../src/libraries/Encodings.sol";
import { Opening } from "../src/libraries/StateTree.sol";
import { Base } from "./helpers/Base.sol";
import { FrozenNetwork } from "./helpers/FrozenNetwork.sol";
import { MerklePaths } from "./helpers/MerklePaths.sol";
import { Network } from "./helpers/Network.sol";

/// @title Does what users, operator and strangers may do, in any order, and keeps its own books.
contract ChainHandler is Network {
    uint256 public deposited;
    uint256 public claimed;
    uint64 public mostCommittedEver;
    uint64 public mostExecutedEver;
    uint64 public mostRevertsEver;
    uint64 public mostRequestsEver;
    bool public wentBack;
    bool public claimedTwice;
    bool public executedUnproven;
    bool public movedWhileFrozen;
    bytes32 private _frozenState;

    Batch[] private _open; // every batch that was committed or settled, and genesis
    mapping(bytes32 checkpoint => Withdrawal[]) private _withdrawalsOf;
    mapping(bytes32 checkpoint => bool) private _proven;
    mapping(uint64 number => bytes32) private _executedAs;
    uint64[] private _executedNumbers;

    constructor() {
        _deploy();
        _open.push(Batch(0, 0, tip, 0));
    }

    function deposit(uint128 amount) external {
        _mine();
        amount = uint128(bound(amount, 1, 1_000 ether));
        if (rollup.frozenAt() != 0) return;
        _deposit(ALICE, BOB, amount);
        deposited += amount;
        _watch();
    }

    function request(bool isCall, uint128 amount) external {
        _mine();
        vm.deal(ALICE, 1 ether);
        vm.prank(ALICE);
        if (isCall) {
            try rollup.requestCall{ value: 1 ether }(address(0x8001), amount, "call") { } catch { }
        } else {
            try rollup.requestWithdrawal{ value: 1 ether }(BOB, amount) { } catch { }
        }
        _watch();
    }

    /// @dev A batch that withdraws only what the books say is there, as a sound proof would have it.
    function commit(uint8 count) external {
        if (rollup.frozenAt() != 0) return;
        Withdrawal[] memory list = _affordable(count % 4);
        Batch memory batch = _nextBatch(tip.stateRoot, list);
        _remember(batch, list);
        _commit(batch);
        _open.push(batch);
        _watch();
    }

    function prove(bool honest) external {
        uint64 number = rollup.provenCount() + 1;
        if (_open.length == 0 || number > rollup.committedCount()) return;
        Batch memory batch = _find(number);
        bytes memory proof = honest ? _proof(batch) : _proof(bytes32(uint256(7)), 0, 0);
        try rollup.proveBatch(number, proof) {
            if (!honest) executedUnproven = true;
            _proven[Encodings.checkpointHash(batch.checkpoint)] = true;
        } catch { }
        _watch();
    }

    function execute() external {
        uint64 number = rollup.executedCount() + 1;
        if (number > rollup.provenCount()) return;
        Batch memory batch = _find(number);
        bytes32 checkpointHash = Encodings.checkpointHash(batch.checkpoint);
        rollup.executeBatch(number, batch.checkpoint, _withdrawalsOf[checkpointHash]);
        _executed(number, checkpointHash);
    }

    function settle(bool byStranger, uint8 count) external {
        if (rollup.frozenAt() != 0 || rollup.committedCount() != rollup.executedCount()) return;
        Withdrawal[] memory list = _affordable(count % 4);
        Batch memory batch = _nextBatch(tip.stateRoot, list);
        _remember(batch, list);
        bytes memory certificate = _certificate(batch, 5);
        bytes memory proof = _proof(batch);
        vm.prank(byStranger ? STRANGER : SEQUENCER);
        try rollup.settleBatch(batch, certificate, proof, list) {
            tip = batch.checkpoint;
            _open.push(batch);
            _proven[Encodings.checkpointHash(tip)] = true;
            _executed(batch.number, Encodings.checkpointHash(tip));
        } catch { }
        _watch();
    }

    function revertSome(bool byStranger, uint64 keep) external {
        vm.prank(byStranger ? STRANGER : SEQUENCER);
        try rollup.revertBatches(uint64(bound(keep, 0, rollup.committedCount()))) {
            _rewind();
        } catch { }
        _watch();
    }

    function claim(uint256 seed) external {
        if (_executedNumbers.length == 0) return;
        uint64 number = _executedNumbers[seed % _executedNumbers.length];
        Withdrawal[] memory list = _withdrawalsOf[_executedAs[number]];
        if (list.length == 0) return;
        uint256 position = seed % list.length;
        bool before = bridge.isClaimed(list[position].index);
        try bridge.claim(number, list[position], position, MerklePaths.siblings(list, position)) {
            if (before) claimedTwice = true;
            claimed += list[position].amount;
        } catch { }
        _watch();
    }

    function wait_(uint32 duration) external {
        _wait(bound(duration, 1, 3 days));
    }

    function freeze() external {
        try rollup.freeze() {
            _frozenState = _state();
        } catch { }
        _watch();
    }

    function isFrozenState() external view returns (bool) {
        return rollup.frozenAt() == 0 || _state() == _frozenState;
    }

    function parts() external view returns (uint256 balance, uint256 locked, bytes32 checkpoint, bool isProven) {
        checkpoint = rollup.executedCheckpoint();
        isProven = rollup.executedCount() == 0 || _proven[checkpoint];
        return (address(bridge).balance, bridge.locked(), checkpoint, isProven);
    }

    function counters() external view returns (uint64 executed, uint64 proven, uint64 committed) {
        return (rollup.executedCount(), rollup.provenCount(), rollup.committedCount());
    }

    function queue() external view returns (uint64 executed, uint64 total) {
        return (rollup.executedPriorityCount(), rollup.priorityCount());
    }

    function _state() private view returns (bytes32) {
        return keccak256(
            abi.encode(
                rollup.executedCheckpoint(),
                rollup.executedCount(),
                rollup.provenCount(),
                rollup.committedCount(),
                rollup.executedPriorityCount(),
                rollup.priorityCount(),
                rollup.revertCount()
            )
        );
    }

    function _watch() private {
        if (rollup.executedCount() < mostExecutedEver || rollup.revertCount() < mostRevertsEver) wentBack = true;
        if (rollup.priorityCount() < mostRequestsEver) wentBack = true;
        mostExecutedEver = rollup.executedCount();
        mostRevertsEver = rollup.revertCount();
        mostRequestsEver = rollup.priorityCount();
    }

    uint256 private _promised;

    function _affordable(uint256 count) private returns (Withdrawal[] memory) {
        uint256 free = deposited - _promised;
        if (free == 0) count = 0;
        uint128 each = count == 0 ? 0 : uint128(free / (2 * count));
        _promised += count * each;
        return _withdrawals(count, each);
    }

    function _remember(Batch memory batch, Withdrawal[] memory list) private {
        Withdrawal[] storage stored = _withdrawalsOf[Encodings.checkpointHash(batch.checkpoint)];
        if (stored.length != 0) return;
        for (uint256 i = 0; i < list.length; ++i) {
            stored.push(list[i]);
        }
    }

    function _find(uint64 number) private view returns (Batch memory) {
        (bytes32 wanted,,,) = rollup.batches(number);
        for (uint256 i = _open.length; i > 0; --i) {
            if (Encodings.checkpointHash(_open[i - 1].checkpoint) == wanted) return _open[i - 1];
        }
        revert("no such batch");
    }

    function _executed(uint64 number, bytes32 checkpointHash) private {
        _executedAs[number] = checkpointHash;
        _executedNumbers.push(number);
        _watch();
    }

    /// @dev After a revert the operator builds on what was kept. Withdrawals of dropped batches stay promised: their indices are spent.
    function _rewind() private {
        uint64 committed = rollup.committedCount();
        if (committed == rollup.executedCount()) {
            bytes32 wanted = rollup.executedCheckpoint();
            for (uint256 i = _open.length; i > 0; --i) {
                if (Encodings.checkpointHash(_open[i - 1].checkpoint) == wanted) {
                    tip = _open[i - 1].checkpoint;
                    return;
                }
            }
        }
        tip = _find(committed).checkpoint;
    }
}

contract ChainInvariants is Base {
    ChainHandler private _handler;

    function setUp() external {
        _handler = new ChainHandler();
        _target(address(_handler));
    }

    function invariant_bridge_solvent() external view {
        (uint256 balance, uint256 locked,,) = _handler.parts();
        assertTrue(balance >= locked, "the bridge holds what it owes");
        assertEq(locked, _handler.deposited() - _handler.claimed(), "its count is what came in less what went out");
    }

    function invariant_bridge_neverMoreOutThanIn() external view {
        assertTrue(_handler.claimed() <= _handler.deposited(), "out <= in");
    }

    function invariant_withdrawal_claimedOnce() external view {
        assertTrue(!_handler.claimedTwice(), "claimed once");
    }

    function invariant_counters_ordered() external view {
        (uint64 executed, uint64 proven, uint64 committed) = _handler.counters();
        assertTrue(executed <= proven && proven <= committed, "executed <= proven <= committed");
    }

    function invariant_counters_monotone() external view {
        assertTrue(!_handler.wentBack(), "executed, reverted and requested only rise");
    }

    function invariant_queue_consumedIsQueued() external view {
        (uint64 executed, uint64 total) = _handler.queue();
        assertTrue(executed <= total, "consumed <= queued");
    }

    function invariant_checkpoint_onlyProven() external view {
        (,,, bool isProven) = _handler.parts();
        assertTrue(isProven && !_handler.executedUnproven(), "every executed checkpoint was proven");
    }

    function invariant_frozen_isFinal() external view {
        assertTrue(_handler.isFrozenState(), "nothing moves after the freeze");
    }
}

/// @title Everyone who leaves a frozen chain, in any order, again and again.
contract EscapeHandler is FrozenNetwork {
    uint256 public leaves;
    mapping(bytes32 key => uint256) public timesLeft;
    bytes32[] public keysSeen;

    constructor() {
        _deployFrozen();
        escape.openEscape(tip);
    }

    function account(bool isAlice, uint128 more) external {
        Opening memory opening = _opening(isAlice ? AT_ALICE : AT_BOB);
        aliceAccount.balance += more % 2;
        try escape.escapeAccount(isAlice ? alice : BOB, isAlice ? aliceAccount : bobAccount, opening) {
            _left(isAlice ? bytes32("alice") : bytes32("bob"));
        } catch { }
        aliceAccount.balance = 10 ether;
    }

    function stake() external {
        try escape.escapeDevice(deviceAddress, device, _opening(AT_DEVICE)) {
            _left("device");
        } catch { }
    }

    function refund() external {
        try escape.refundDeposit(1, waiting) {
            _left("deposit");
        } catch { }
    }

    function receipt(uint8 units) external {
        if (_now() > escape.presentationEnd() || units > 100) return;
        (, uint128 known) = escape.claims(bytes32(abi.encodePacked(uint32(3), alice, uint64(1))));
        if (uint256(units) * job.unitPrice > known) _present(_receipt(units));
    }

    function voucher(uint128 cumulative) external {
        cumulative = uint128(bound(cumulative, 1 ether + 1, 6 ether));
        if (_now() > escape.presentationEnd()) return;
        (, uint128 known) = escape.claims(bytes32(abi.encodePacked(uint32(4), alice, uint64(2))));
        if (cumulative > known) _present(cumulative);
    }

    function leaveJob(bool isOpen) external {
        try escape.escapeJob(alice, isOpen ? 3 : 1, isOpen ? openJob : job, _opening(isOpen ? AT_OPEN_JOB : AT_JOB)) {
            _left(isOpen ? bytes32("open job") : bytes32("job"));
        } catch { }
    }

    function leaveChannel() external {
        try escape.escapeChannel(alice, 2, channel, _opening(AT_CHANNEL)) {
            _left("channel");
        } catch { }
    }

    function collect(uint8 who) external {
        try escape.collect(who % 3 == 0 ? alice : who % 3 == 1 ? BOB : PAYOUT) { } catch { }
    }

    function wait_(uint32 duration) external {
        _wait(bound(duration, 1, 4 days));
    }

    function moreThanOnce() external view returns (bool) {
        for (uint256 i = 0; i < keysSeen.length; ++i) {
            if (timesLeft[keysSeen[i]] > 1) return true;
        }
        return false;
    }

    function paidOut() external view returns (uint256 paid, uint256 owed, uint256 locked, uint256 balance) {
        paid = alice.balance + BOB.balance + PAYOUT.balance;
        owed = escape.credits(alice) + escape.credits(BOB) + escape.credits(PAYOUT);
        return (paid, owed, bridge.locked(), address(bridge).balance);
    }

    function _left(bytes32 key) private {
        if (timesLeft[key]++ == 0) keysSeen.push(key);
    }
}

contract EscapeInvariants is Base {
    EscapeHandler private _handler;

    function setUp() external {
        _handler = new EscapeHandler();
        _target(address(_handler));
    }

    function invariant_escape_onceByKey() external view {
        assertTrue(!_handler.moreThanOnce(), "each leaf leaves once");
    }

    function invariant_bridge_solvent() external view {
        (uint256 paid, uint256 owed, uint256 locked, uint256 balance) = _handler.paidOut();
        assertEq(paid + locked, 44 ether, "what is not paid is still there");
        assertTrue(owed <= locked && locked <= balance, "what is owed is there");
    }
}
