// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { TimelockController } from "@openzeppelin/contracts/governance/TimelockController.sol";
import { Governed } from "./Governed.sol";
import { Batch, Checkpoint, DataStatement, PriorityRequest, Withdrawal } from "./Types.sol";
import { IDataCommittee } from "./interfaces/IDataCommittee.sol";
import { IRollup } from "./interfaces/IRollup.sol";
import { IVerifierRouter } from "./interfaces/IVerifierRouter.sol";
import { DataLog } from "./libraries/DataLog.sol";
import { Encodings } from "./libraries/Encodings.sol";
import { LocalChains } from "./libraries/LocalChains.sol";
import { Poseidon2 } from "./libraries/Poseidon2.sol";
import { PriorityQueue } from "./libraries/PriorityQueue.sol";
import { WithdrawalTree } from "./libraries/WithdrawalTree.sol";

/// @title The chain as L1 sees it: requests in, batches committed, proven and executed, and the freeze that lets everyone leave.
///
/// @notice A checkpoint is executed only if a proof leads to it from the executed one before, its data was certified by the committee or
/// posted on L1, and the requests it consumed are the ones queued here, in order. The operator decides what is in a batch and when;
/// it can delay, and a request it ignores for longer than the queue's expiry freezes the chain.
///
/// Invariants, by the names of their tests: invariant_counters_ordered, invariant_counters_monotone, invariant_frozen_isFinal,
/// invariant_queue_consumedIsQueued, invariant_checkpoint_onlyProven.
contract Rollup is IRollup, Governed {
    using PriorityQueue for PriorityQueue.Queue;
    using DataLog for DataLog.Log;

    /// @notice Delays of the network, all in seconds.
    struct Delays {
        uint64 queueExpiry; // a request older than this lets anyone freeze the chain
        uint64 exitWindow; // time users keep to freeze the chain, however the operator delays it, before an upgrade can take effect
        uint64 lateAfter; // a request older than this makes the operator late
        uint64 proofDeadline; // a batch unproven for longer makes the operator late
        uint64 executionWindow; // a proven batch gets this long to be executed before it may be dropped; so long can it put off a freeze
        uint64 timestampSkew; // a batch's time may be this far ahead of L1's
    }

    /// @notice What requests cost, in wei, and how many a block may take.
    struct Fees {
        uint128 request; // each request
        uint128 forcedCall; // more for a forced call: the gas it uses on L2
        uint64 doubling; // this many pending requests double the fee
        uint32 perBlockMax; // requests in one L1 block
    }

    struct Config {
        uint64 l2ChainId;
        Checkpoint genesis;
        bytes32 program; // of the genesis checkpoint's protocol version
        TimelockController governance;
        address operator;
        address sequencer;
        address bridge;
        IDataCommittee committee;
        IVerifierRouter router;
        Delays delays;
        Fees fees;
    }

    struct CommittedBatch {
        bytes32 checkpoint;
        uint32 protocolVersion; // whose program must prove it
        uint64 committedAt;
        uint64 provenAt; // zero while it is not
    }

    /// @notice Batches that may wait between commit and execution.
    uint64 public constant PENDING_BATCHES_MAX = 256;
    /// @notice Shortest exit window where money is at stake.
    uint64 private constant EXIT_WINDOW_MIN = 7 days;
    /// @notice L2 chain ids are below this, the largest that wallets in a browser hold exactly.
    uint64 private constant CHAIN_ID_LIMIT = 1 << 53;

    uint64 public immutable l2ChainId;
    address public immutable bridge;
    IDataCommittee public immutable committee;
    IVerifierRouter public immutable router;
    uint64 public immutable queueExpiry;
    uint64 public immutable lateAfter;
    uint64 public immutable proofDeadline;
    uint64 public immutable executionWindow;
    uint64 public immutable timestampSkew;
    uint128 private immutable _requestFee;
    uint128 private immutable _forcedCallFee;
    uint64 private immutable _feeDoubling;
    uint32 private immutable _requestsPerBlockMax;

    /// @inheritdoc IRollup
    bytes32 public executedCheckpoint;
    /// @notice Accumulator over the withdrawals of all executed batches.
    bytes32 public executedMessageAcc;

    /// @notice Batches committed, proven and executed; executed ≤ proven ≤ committed.
    uint64 public committedCount;
    uint64 public provenCount;
    uint64 public executedCount;
    /// @notice Times that committed batches were dropped. Certificates are made out for one value of it.
    uint64 public revertCount;

    /// @notice The key that signs blocks and commits batches.
    address public sequencer;
    /// @inheritdoc IRollup
    uint64 public frozenAt;
    /// @notice The version new batches must have.
    uint32 public protocolVersion;

    /// @notice Names the sequencer and collects request fees.
    address public operator;
    /// @notice When batches were last dropped while the operator was late.
    uint64 public lateRevertAt;

    PriorityQueue.Queue private _queue;
    DataLog.Log private _data;

    /// @notice The program that proves each protocol version. Set once for each.
    mapping(uint32 version => bytes32) public programs;
    /// @notice Batches between commit and execution, by number.
    mapping(uint64 number => CommittedBatch) public batches;
    /// @inheritdoc IRollup
    mapping(uint64 number => bytes32) public withdrawalRoot;

    event RequestQueued(uint64 indexed index, bytes32 acc, PriorityRequest request);
    event DataPosted(bytes32 indexed start, bytes32 indexed from, bytes32 indexed to, uint64 dataBytes);
    event BatchCommitted(
        uint64 indexed number,
        bytes32 indexed checkpointHash,
        bytes32 parentCheckpoint,
        uint64 revertCount,
        uint64 dataBytes,
        uint8 dataScheme,
        Checkpoint checkpoint
    );
    event BatchProven(uint64 indexed number, bytes32 indexed checkpointHash, bytes32 program);
    event BatchExecuted(
        uint64 indexed number, bytes32 indexed checkpointHash, uint64 priorityCount, bytes32 withdrawalRoot
    );
    event BatchesReverted(uint64 indexed lastKept, uint64 committedBefore, uint64 revertCount, address by);
    event Frozen(bytes32 indexed checkpointHash, uint64 executedCount, uint64 oldestRequestAt);
    event SequencerChanged(address indexed sequencer);
    event OperatorChanged(address indexed operator);
    event ProgramSet(uint32 indexed version, bytes32 program);
    event FeesCollected(address indexed operator, uint256 amount);

    error Rollup_BadConfig(string what);
    error Rollup_IsFrozen(uint64 since);
    error Rollup_NotBridge(address expected, address actual);
    error Rollup_NotSequencer(address expected, address actual);
    error Rollup_NotOperator(address expected, address actual);
    error Rollup_NotLate(address caller);
    error Rollup_FeeTooLow(uint256 expected, uint256 actual);
    error Rollup_AmountIsZero();
    error Rollup_TransferFailed(address to, uint256 amount);
    error Rollup_WrongNumber(uint64 expected, uint64 actual);
    error Rollup_WrongParent(bytes32 expected, bytes32 actual);
    error Rollup_WrongVersion(uint32 expected, uint32 actual);
    error Rollup_WrongCheckpoint(bytes32 expected, bytes32 actual);
    error Rollup_FromTheFuture(uint256 timestampMax, uint64 actual);
    error Rollup_QueueGoesBack(uint64 executed, uint64 actual);
    error Rollup_QueueTooShort(uint64 total, uint64 actual);
    error Rollup_WrongRequests(bytes32 expected, bytes32 actual);
    error Rollup_WrongWithdrawals(bytes32 expected, bytes32 actual);
    error Rollup_WrongDataLength(uint64 expected, uint64 actual);
    error Rollup_NoData();
    error Rollup_TooManyPending(uint64 pendingMax);
    error Rollup_NothingToProve(uint64 number, uint64 provenCount, uint64 committedCount);
    error Rollup_NothingToExecute(uint64 number, uint64 executedCount, uint64 provenCount);
    error Rollup_BatchesWait(uint64 executedCount, uint64 waitingCount);
    error Rollup_OldestNotServed(uint64 priorityCountMin, uint64 actual);
    error Rollup_CannotKeep(uint64 keepMin, uint64 keepMax, uint64 actual);
    error Rollup_RevertedTooRecently(uint64 notBefore, uint256 timestamp);
    error Rollup_NotExpired(uint256 notBefore, uint256 timestamp);
    error Rollup_VersionNotNewer(uint32 current, uint32 actual);
    error Rollup_ProgramNotCanonical(bytes32 program);

    constructor(Config memory config) Governed(config.governance, _upgradeDelayMin(config.delays)) {
        Delays memory delays = config.delays;
        _require(config.l2ChainId != 0 && config.l2ChainId < CHAIN_ID_LIMIT, "chain id");
        _require(config.genesis.priorityCount == 0 && config.genesis.priorityAcc == 0, "genesis requests");
        _require(config.genesis.messageAcc == 0 && config.genesis.dataAcc == 0, "genesis accumulators");
        _require(Poseidon2.isCanonical(config.genesis.stateRoot), "genesis root");
        _require(config.operator != address(0) && config.sequencer != address(0), "operator");
        _require(config.bridge != address(0), "bridge");
        // One timelock, and nobody's faster than what users were promised.
        _requireSameGovernance(Governed(address(config.committee)));
        _requireSameGovernance(Governed(address(config.router)));
        _require(LocalChains.isLocal() || delays.exitWindow >= EXIT_WINDOW_MIN, "exit window");
        _require(config.fees.doubling != 0 && config.fees.perBlockMax != 0, "fees");
        // A late operator must be found late while others still have time to serve the queue.
        _require(delays.lateAfter < delays.queueExpiry && delays.proofDeadline < delays.queueExpiry, "delays");
        // Proven batches put off a freeze by the one, and L2's clock is ahead of L1's by the other: neither may make the other delays void.
        _require(
            delays.executionWindow <= delays.queueExpiry && delays.timestampSkew <= delays.lateAfter, "window or skew"
        );

        l2ChainId = config.l2ChainId;
        bridge = config.bridge;
        committee = config.committee;
        router = config.router;
        queueExpiry = delays.queueExpiry;
        lateAfter = delays.lateAfter;
        proofDeadline = delays.proofDeadline;
        executionWindow = delays.executionWindow;
        timestampSkew = delays.timestampSkew;
        _requestFee = config.fees.request;
        _forcedCallFee = config.fees.forcedCall;
        _feeDoubling = config.fees.doubling;
        _requestsPerBlockMax = config.fees.perBlockMax;

        bytes32 checkpointHash = Encodings.checkpointHash(config.genesis);
        executedCheckpoint = checkpointHash;
        _setProgram(config.genesis.protocolVersion, config.program);
        operator = config.operator;
        emit OperatorChanged(config.operator);
        sequencer = config.sequencer;
        emit SequencerChanged(config.sequencer);
        emit BatchExecuted(0, checkpointHash, 0, 0);
    }

    modifier whileLive() {
        if (frozenAt != 0) revert Rollup_IsFrozen(frozenAt);
        _;
    }

    // ------------------------------------------------------------------------------------------------ requests

    /// @inheritdoc IRollup
    function requestDeposit(address sender, address to, uint128 amount) external payable whileLive returns (uint64) {
        if (msg.sender != bridge) revert Rollup_NotBridge(bridge, msg.sender);
        if (amount == 0) revert Rollup_AmountIsZero();
        return _request(Encodings.DEPOSIT, sender, to, amount, "");
    }

    /// @notice Withdraws from the caller's L2 account whether the operator likes it or not.
    /// @param to Who may claim it on L1.
    function requestWithdrawal(address to, uint128 amount) external payable whileLive returns (uint64) {
        return _request(Encodings.FORCED_WITHDRAWAL, msg.sender, to, amount, "");
    }

    /// @notice Calls an L2 system contract as the caller. The fee covers the call's L2 gas.
    /// @param value Taken from the caller's L2 balance.
    function requestCall(address to, uint128 value, bytes calldata data) external payable whileLive returns (uint64) {
        return _request(Encodings.FORCED_CALL, msg.sender, to, value, data);
    }

    // ------------------------------------------------------------------------------------------------- batches

    /// @notice Puts chunks of batch data on L1, each preceded by its length as four big-endian bytes. Anyone may, in any number of
    /// transactions; a commit then names the stretch of the accumulator that was posted.
    /// @param start Accumulator at the beginning of the batch.
    /// @param from Accumulator that earlier posts from `start` have reached, or `start`.
    function postData(bytes32 start, bytes32 from, bytes calldata chunks) external whileLive returns (bytes32 to) {
        uint64 dataBytes;
        (to, dataBytes) = _data.post(start, from, chunks);
        emit DataPosted(start, from, to, dataBytes);
    }

    /// @notice Bytes posted between two accumulators; zero if not all of it was.
    function postedBytes(bytes32 start, bytes32 to) external view returns (uint64) {
        return _data.posted(start, to);
    }

    /// @notice Names the next batch and shows that its data is available.
    /// @param availability Scheme byte, then: 0 the parent checkpoint (its data is on L1), otherwise a certificate.
    function commitBatch(Batch calldata batch, bytes calldata availability) external whileLive {
        if (msg.sender != sequencer) revert Rollup_NotSequencer(sequencer, msg.sender);
        uint64 number = committedCount + 1;
        if (number - executedCount > PENDING_BATCHES_MAX) revert Rollup_TooManyPending(PENDING_BATCHES_MAX);
        bytes32 parent = number == executedCount + 1 ? executedCheckpoint : batches[committedCount].checkpoint;
        bytes32 checkpointHash = _checkBatch(batch, number, parent, availability);
        committedCount = number;
        batches[number] = CommittedBatch(checkpointHash, batch.checkpoint.protocolVersion, uint64(block.timestamp), 0);
    }

    /// @notice Shows by a proof that the next unproven batch follows from its parent.
    function proveBatch(uint64 number, bytes calldata proof) external whileLive {
        if (number != provenCount + 1 || number > committedCount) {
            revert Rollup_NothingToProve(number, provenCount, committedCount);
        }
        CommittedBatch storage batch = batches[number];
        bytes32 parent = provenCount == executedCount ? executedCheckpoint : batches[provenCount].checkpoint;
        provenCount = number;
        batch.provenAt = uint64(block.timestamp);
        _prove(number, batch.protocolVersion, parent, batch.checkpoint, proof);
    }

    /// @notice Makes the next proven batch final and opens its withdrawals.
    function executeBatch(uint64 number, Checkpoint calldata checkpoint, Withdrawal[] calldata withdrawals)
        external
        whileLive
    {
        if (number != executedCount + 1 || number > provenCount) {
            revert Rollup_NothingToExecute(number, executedCount, provenCount);
        }
        bytes32 expected = batches[number].checkpoint;
        bytes32 actual = Encodings.checkpointHash(checkpoint);
        if (actual != expected) revert Rollup_WrongCheckpoint(expected, actual);
        executedCount = number;
        _execute(number, actual, checkpoint, withdrawals);
    }

    /// @notice Commits, proves and executes a batch at once. The sequencer may when nothing waits; anyone may while the operator is late,
    /// and then batches that wait for a proof are dropped: parking garbage keeps nobody out. Who does it in the operator's place because a request
    /// was left waiting must consume that request: otherwise it could drop the operator's batches again and again and leave the queue to its expiry.
    function settleBatch(
        Batch calldata batch,
        bytes calldata availability,
        bytes calldata proof,
        Withdrawal[] calldata withdrawals
    ) external whileLive {
        uint64 executed = executedCount;
        if (provenCount != executed) revert Rollup_BatchesWait(executed, provenCount);
        bool late = isLate();
        if (!late) {
            if (msg.sender != sequencer) revert Rollup_NotLate(msg.sender);
            if (committedCount != executed) revert Rollup_BatchesWait(executed, committedCount);
        }
        if (msg.sender != sequencer && _isQueueLate() && batch.checkpoint.priorityCount <= _queue.executed) {
            revert Rollup_OldestNotServed(_queue.executed + 1, batch.checkpoint.priorityCount);
        }
        uint64 number = executed + 1;
        bytes32 parent = executedCheckpoint;
        bytes32 checkpointHash = _checkBatch(batch, number, parent, availability);
        // After the certificate was checked: it was made out for the count before.
        if (committedCount != executed) _revertTo(executed);
        (committedCount, provenCount, executedCount) = (number, number, number);
        _prove(number, batch.checkpoint.protocolVersion, parent, checkpointHash, proof);
        _execute(number, checkpointHash, batch.checkpoint, withdrawals);
    }

    /// @notice Drops the batches above `keep`. The sequencer may while it is not late; while it is, anyone may, once per
    /// `proofDeadline`: often enough to clear the way, too seldom to outrun a certificate that is being gathered.
    /// @dev While the operator is late the count rises even if nothing is dropped, because committee members sign once per count, and the
    /// operator may have spent their signatures on a batch it never commits.
    function revertBatches(uint64 keep) external whileLive {
        if (isLate()) {
            uint64 notBefore = lateRevertAt + proofDeadline;
            if (block.timestamp < notBefore) revert Rollup_RevertedTooRecently(notBefore, block.timestamp);
            lateRevertAt = uint64(block.timestamp);
        } else if (msg.sender != sequencer) {
            revert Rollup_NotLate(msg.sender);
        }
        uint64 keepMin = _keepMin();
        if (keep < keepMin || keep > committedCount) revert Rollup_CannotKeep(keepMin, committedCount, keep);
        _revertTo(keep);
    }

    /// @notice Stops the chain for good once a request is older than the queue's expiry. While a proven batch waits it takes
    /// `executionWindow` longer, so that anyone can execute it first; and no longer, so that a proven batch whose withdrawals are
    /// kept secret does not hold everybody. Both times are counted from the request: who proves a batch whenever another was executed, so that
    /// one waits at all times, gains one window and not one for each batch.
    function freeze() external whileLive {
        uint64 oldest = _queue.oldest();
        uint256 notBefore = uint256(oldest) + queueExpiry;
        if (provenCount != executedCount) notBefore += executionWindow;
        if (block.timestamp <= notBefore) revert Rollup_NotExpired(notBefore, block.timestamp);
        if (committedCount != executedCount) _revertTo(executedCount);
        frozenAt = uint64(block.timestamp);
        emit Frozen(executedCheckpoint, executedCount, oldest);
    }

    // -------------------------------------------------------------------------------------------- administration

    /// @notice Names the key that signs blocks and commits batches.
    function setSequencer(address sequencer_) external {
        if (msg.sender != operator) revert Rollup_NotOperator(operator, msg.sender);
        sequencer = sequencer_;
        emit SequencerChanged(sequencer_);
    }

    /// @notice Hands the operator's part to another address.
    function setOperator(address operator_) external onlyGovernance {
        operator = operator_;
        emit OperatorChanged(operator_);
    }

    /// @notice Makes a newer protocol version the one that new batches must have. What was committed under the version before is still
    /// proven by that version's program, or dropped and committed again.
    function setProgram(uint32 version, bytes32 program) external onlyGovernance whileLive {
        if (version <= protocolVersion) revert Rollup_VersionNotNewer(protocolVersion, version);
        _setProgram(version, program);
    }

    /// @notice Pays out the fees that requests brought in. This contract holds nothing else.
    function collectFees() external {
        if (msg.sender != operator) revert Rollup_NotOperator(operator, msg.sender);
        uint256 amount = address(this).balance;
        emit FeesCollected(msg.sender, amount);
        _send(msg.sender, amount);
    }

    // --------------------------------------------------------------------------------------------------- views

    /// @inheritdoc IRollup
    function requestFee(uint8 kind) public view returns (uint256) {
        uint256 fee = uint256(_requestFee) + (kind == Encodings.FORCED_CALL ? _forcedCallFee : 0);
        return fee + fee * _queue.pending() / _feeDoubling;
    }

    /// @notice Whether anyone may settle in the operator's place: it left a request waiting, or a batch unproven, for too long.
    function isLate() public view returns (bool) {
        if (_isQueueLate()) return true;
        return
            committedCount > provenCount
                && block.timestamp > uint256(batches[provenCount + 1].committedAt) + proofDeadline;
    }

    /// @notice The accumulator over the first `count` requests.
    function accAt(uint64 count) external view returns (bytes32) {
        return _queue.accAt[count];
    }

    /// @notice Requests ever made.
    function priorityCount() external view returns (uint64) {
        return _queue.total;
    }

    /// @inheritdoc IRollup
    function executedPriorityCount() external view returns (uint64) {
        return _queue.executed;
    }

    /// @notice Time of the oldest request that no executed batch consumed; the largest `uint64` if there is none.
    function oldestRequestAt() external view returns (uint64) {
        return _queue.oldest();
    }

    /// @inheritdoc IRollup
    function checkRequest(uint64 index, PriorityRequest calldata request) external view {
        _queue.check(index, request);
    }

    // ------------------------------------------------------------------------------------------------ internal

    function _request(uint8 kind, address sender, address to, uint128 amount, bytes memory data)
        private
        returns (uint64 index)
    {
        uint256 fee = requestFee(kind);
        if (msg.value < fee) revert Rollup_FeeTooLow(fee, msg.value);
        PriorityRequest memory request = PriorityRequest(kind, sender, to, amount, uint64(block.timestamp), data);
        bytes32 acc;
        (index, acc) = _queue.push(request, _requestsPerBlockMax);
        emit RequestQueued(index, acc, request);
        if (msg.value > fee) _send(msg.sender, msg.value - fee);
    }

    /// @dev Whether the oldest request that no executed batch consumed was left waiting for too long.
    function _isQueueLate() private view returns (bool) {
        return block.timestamp > uint256(_queue.oldest()) + lateAfter;
    }

    /// @dev All that can be known of a batch before its proof. Checking the requests here and not at execution is what makes sure
    /// that a batch which gets proven can be executed.
    function _checkBatch(Batch calldata batch, uint64 number, bytes32 parent, bytes calldata availability)
        private
        returns (bytes32 checkpointHash)
    {
        Checkpoint calldata checkpoint = batch.checkpoint;
        if (batch.number != number) revert Rollup_WrongNumber(number, batch.number);
        if (batch.parentCheckpoint != parent) revert Rollup_WrongParent(parent, batch.parentCheckpoint);
        if (checkpoint.protocolVersion != protocolVersion) {
            revert Rollup_WrongVersion(protocolVersion, checkpoint.protocolVersion);
        }
        if (checkpoint.timestamp > block.timestamp + timestampSkew) {
            revert Rollup_FromTheFuture(block.timestamp + timestampSkew, checkpoint.timestamp);
        }
        if (checkpoint.priorityCount < _queue.executed) {
            revert Rollup_QueueGoesBack(_queue.executed, checkpoint.priorityCount);
        }
        if (checkpoint.priorityCount > _queue.total) {
            revert Rollup_QueueTooShort(_queue.total, checkpoint.priorityCount);
        }
        bytes32 acc = _queue.accAt[checkpoint.priorityCount];
        if (checkpoint.priorityAcc != acc) revert Rollup_WrongRequests(acc, checkpoint.priorityAcc);

        checkpointHash = Encodings.checkpointHash(checkpoint);
        _checkAvailability(batch, checkpointHash, availability);
        emit BatchCommitted(
            number, checkpointHash, parent, revertCount, batch.dataBytes, uint8(availability[0]), checkpoint
        );
    }

    function _checkAvailability(Batch calldata batch, bytes32 checkpointHash, bytes calldata availability)
        private
        view
    {
        if (availability.length == 0) revert Rollup_NoData();
        if (availability[0] != 0) {
            committee.requireCertified(
                DataStatement(batch.number, batch.parentCheckpoint, checkpointHash, revertCount, batch.dataBytes),
                availability
            );
            return;
        }
        Checkpoint memory parent = abi.decode(availability[1:], (Checkpoint));
        bytes32 parentHash = Encodings.checkpointHash(parent);
        if (parentHash != batch.parentCheckpoint) revert Rollup_WrongParent(batch.parentCheckpoint, parentHash);
        uint64 posted = _data.posted(parent.dataAcc, batch.checkpoint.dataAcc);
        if (posted == 0) revert Rollup_NoData();
        if (posted != batch.dataBytes) revert Rollup_WrongDataLength(posted, batch.dataBytes);
    }

    function _prove(uint64 number, uint32 version, bytes32 from, bytes32 to, bytes calldata proof) private {
        bytes32 program = programs[version];
        router.requireValid(proof, Encodings.publicInput(program, l2ChainId, from, to));
        emit BatchProven(number, to, program);
    }

    function _execute(
        uint64 number,
        bytes32 checkpointHash,
        Checkpoint calldata checkpoint,
        Withdrawal[] calldata withdrawals
    ) private {
        (bytes32 acc, bytes32 root) = WithdrawalTree.accumulate(executedMessageAcc, withdrawals);
        if (acc != checkpoint.messageAcc) revert Rollup_WrongWithdrawals(checkpoint.messageAcc, acc);
        executedCheckpoint = checkpointHash;
        if (root != 0) {
            executedMessageAcc = acc;
            withdrawalRoot[number] = root;
        }
        _queue.executed = checkpoint.priorityCount;
        emit BatchExecuted(number, checkpointHash, checkpoint.priorityCount, root);
    }

    /// @dev Unproven batches may go. Proven ones too once the first of them has had its time to be executed: then nobody can, because
    /// its withdrawals are too many or unknown, and the chain would stand still.
    function _keepMin() private view returns (uint64) {
        if (provenCount == executedCount) return provenCount;
        uint256 waitsUntil = uint256(batches[executedCount + 1].provenAt) + executionWindow;
        return block.timestamp > waitsUntil ? executedCount : provenCount;
    }

    function _revertTo(uint64 keep) private {
        uint64 committedBefore = committedCount;
        committedCount = keep;
        if (provenCount > keep) provenCount = keep;
        uint64 count = ++revertCount;
        emit BatchesReverted(keep, committedBefore, count, msg.sender);
    }

    /// @dev What an upgrade must wait. Whoever asks to leave when it is proposed, and is ignored, can freeze the chain after `queueExpiry`, or after
    /// `executionWindow` more if the operator keeps a proven batch waiting. What is left from then on is the users': without the window counted in, an
    /// operator who governs could have its own verifier in force before anyone may freeze.
    function _upgradeDelayMin(Delays memory delays) private pure returns (uint64) {
        return delays.queueExpiry + delays.executionWindow + delays.exitWindow;
    }

    function _setProgram(uint32 version, bytes32 program) private {
        if (program == 0 || !Poseidon2.isCanonical(program)) revert Rollup_ProgramNotCanonical(program);
        programs[version] = program;
        protocolVersion = version;
        emit ProgramSet(version, program);
    }

    function _send(address to, uint256 amount) private {
        (bool sent,) = to.call{ value: amount }("");
        if (!sent) revert Rollup_TransferFailed(to, amount);
    }

    function _requireSameGovernance(Governed part) private view {
        bool isSame = address(part.governance()) == address(governance) && part.upgradeDelayMin() >= upgradeDelayMin;
        _require(isSame, "governance of a part");
    }

    function _require(bool holds, string memory what) private pure {
        if (!holds) revert Rollup_BadConfig(what);
    }
}
