// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { ECDSA } from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import { Checkpoint, PriorityRequest } from "./Types.sol";
import { IRollup } from "./interfaces/IRollup.sol";
import { IVault } from "./interfaces/IVault.sol";
import { Encodings } from "./libraries/Encodings.sol";
import { Account, Channel, Device, Job, Objects } from "./libraries/Objects.sol";
import { Opening, StateTree } from "./libraries/StateTree.sol";
import { ComputeReceipt, Statements, Voucher } from "./libraries/Statements.sol";

/// @title The way out of a frozen chain, for every kind of leaf, with nothing but a Merkle path.
/// @notice Anyone may bring anyone's leaf; money goes only where the leaf says. Accounts and stakes leave at once. For claimed jobs and open
/// channels holders of receipts and vouchers first get `presentationWindow` to show them; then the worker or payee is
/// credited and the rest goes to the client. Trusts the rollup for the frozen checkpoint, which a proof led to.
///
/// What it does not do: a bond is not taken from a worker whose job nobody can settle any more; a claimed job whose grace had run out on L2 and
/// which nobody had expired there can still be shown a receipt; and of a receipt above tier 0 only the signature and the tier on the
/// device's own leaf are checked, not its evidence.
///
/// Invariants, by the names of their tests: invariant_escape_onceByKey, invariant_bridge_solvent.
contract Escape {
    using StateTree for StateTree.Tree;

    /// @notice What a receipt or voucher claims of a job or channel.
    struct Claim {
        address payee;
        uint128 amount; // of the escrow; of a channel the cumulative total
    }

    IRollup public immutable rollup;
    IVault public immutable bridge;
    /// @notice Seconds in which receipts and vouchers may be presented.
    uint64 public immutable presentationWindow;
    bytes32 private immutable _jobsDomain;
    bytes32 private immutable _channelsDomain;

    /// @notice When presentation ends, unix seconds; zero before the escape is opened.
    uint64 public presentationEnd;
    StateTree.Tree private _tree;
    /// @notice Objects that left, by key.
    mapping(bytes32 key => bool) public hasLeft;
    /// @notice The best claim presented on a job or channel, by key.
    mapping(bytes32 key => Claim) public claims;
    /// @notice Deposits refunded, by index in the queue.
    mapping(uint64 index => bool) public isRefunded;
    /// @notice What jobs and channels left for somebody to collect.
    mapping(address owner => uint128) public credits;

    event EscapeOpened(bytes32 stateRoot, uint64 presentationEnd);
    event Left(bytes32 indexed key);
    event AccountEscaped(address indexed owner, uint128 amount);
    event StakeEscaped(address indexed device, address indexed owner, uint128 amount);
    event ReceiptPresented(bytes32 indexed key, address indexed payout, uint128 amount);
    event VoucherPresented(bytes32 indexed key, address indexed payee, uint128 cumulative);
    event JobEscaped(bytes32 indexed key, address payout, uint128 paid, address indexed client, uint128 returned);
    event ChannelEscaped(bytes32 indexed key, address payee, uint128 paid, address indexed client, uint128 returned);
    event DepositRefunded(uint64 indexed index, address indexed sender, uint128 amount);
    event Collected(address indexed owner, uint128 amount);

    error Escape_PartMissing(address rollup, address bridge);
    error Escape_WindowIsZero();
    error Escape_NotFrozen();
    error Escape_NotOpened();
    error Escape_AlreadyOpened(uint64 presentationEnd);
    error Escape_WrongCheckpoint(bytes32 expected, bytes32 actual);
    error Escape_AlreadyLeft(bytes32 key);
    error Escape_NothingToPay(bytes32 key);
    error Escape_PresentationOver(uint64 end, uint256 timestamp);
    error Escape_PresentationRuns(uint64 end, uint256 timestamp);
    error Escape_WrongStatus(uint32 status);
    error Escape_NotForThisJob(bytes32 field);
    error Escape_TooManyUnits(uint64 unitLimit, uint64 actual);
    error Escape_OverEscrow(uint128 escrow, uint256 actual);
    error Escape_WrongTime(uint64 startedAt, uint64 finishedAt, uint64 latest);
    error Escape_TierTooLow(uint8 expected, uint8 actual);
    error Escape_WrongSigner(address expected, address actual);
    error Escape_WrongPayee(address expected, address actual);
    error Escape_NotBetter(uint128 known, uint128 actual);
    error Escape_OverDeposit(uint128 deposit, uint128 actual);
    error Escape_NotADeposit(uint8 kind);
    error Escape_Consumed(uint64 executedCount, uint64 index);
    error Escape_AlreadyRefunded(uint64 index);
    error Escape_NoCredit(address owner);

    /// @param genesisId Hash of the chain's genesis configuration, the salt of its EIP-712 domains.
    constructor(IRollup rollup_, IVault bridge_, uint64 l2ChainId, bytes32 genesisId, uint64 presentationWindow_) {
        if (address(rollup_) == address(0) || address(bridge_) == address(0)) {
            revert Escape_PartMissing(address(rollup_), address(bridge_));
        }
        if (presentationWindow_ == 0) revert Escape_WindowIsZero();
        rollup = rollup_;
        bridge = bridge_;
        presentationWindow = presentationWindow_;
        _jobsDomain = Statements.domainSeparator(l2ChainId, Statements.JOBS, genesisId);
        _channelsDomain = Statements.domainSeparator(l2ChainId, Statements.CHANNELS, genesisId);
    }

    modifier whenOpened() {
        if (presentationEnd == 0) revert Escape_NotOpened();
        _;
    }

    modifier whilePresenting() {
        if (presentationEnd == 0) revert Escape_NotOpened();
        if (block.timestamp > presentationEnd) revert Escape_PresentationOver(presentationEnd, block.timestamp);
        _;
    }

    // ------------------------------------------------------------------------------------------ opening, caching

    /// @notice Takes the frozen state root from the last executed checkpoint. Anyone may, once.
    function openEscape(Checkpoint calldata checkpoint) external {
        if (rollup.frozenAt() == 0) revert Escape_NotFrozen();
        if (presentationEnd != 0) revert Escape_AlreadyOpened(presentationEnd);
        bytes32 expected = rollup.executedCheckpoint();
        bytes32 actual = Encodings.checkpointHash(checkpoint);
        if (actual != expected) revert Escape_WrongCheckpoint(expected, actual);
        presentationEnd = uint64(block.timestamp) + presentationWindow;
        emit EscapeOpened(checkpoint.stateRoot, presentationEnd);
        _tree.setRoot(checkpoint.stateRoot);
    }

    /// @notice Remembers an inner node, so that paths below it can end there.
    /// @param level Height above the leaves.
    /// @param index Which node of that level, from the left.
    /// @param siblings From this node up to one already known.
    function proveNode(uint256 level, uint256 index, bytes32 digest, bytes32[] calldata siblings) external whenOpened {
        _tree.proveNode(level, index, digest, siblings);
    }

    /// @notice A proven node by its heap number (root 1, children of n at 2n and 2n + 1); zero if it is not known.
    function knownNode(uint256 node) external view returns (bytes32) {
        return _tree.known[node];
    }

    // --------------------------------------------------------------------------------------- accounts and stakes

    /// @notice Pays an account's balance to its address.
    function escapeAccount(address owner, Account calldata account, Opening calldata opening) external whenOpened {
        bytes32 key = Objects.key(Objects.KIND_ACCOUNT, owner, 0);
        _leave(key, account.balance);
        _tree.requireLeaf(key, Objects.words(account), opening);
        emit AccountEscaped(owner, account.balance);
        bridge.release(owner, account.balance);
    }

    /// @notice Pays a device's stake, bonds included, to its owner.
    function escapeDevice(address deviceKey, Device calldata device, Opening calldata opening) external whenOpened {
        bytes32 key = Objects.key(Objects.KIND_DEVICE, deviceKey, 0);
        _leave(key, device.stake);
        _tree.requireLeaf(key, Objects.words(device), opening);
        emit StakeEscaped(deviceKey, device.owner, device.stake);
        bridge.release(device.owner, device.stake);
    }

    /// @notice Gives a deposit that no executed batch consumed back to who made it.
    function refundDeposit(uint64 index, PriorityRequest calldata request) external whenOpened {
        uint64 executedCount = rollup.executedPriorityCount();
        if (index < executedCount) revert Escape_Consumed(executedCount, index);
        if (request.kind != Encodings.DEPOSIT) revert Escape_NotADeposit(request.kind);
        if (isRefunded[index]) revert Escape_AlreadyRefunded(index);
        rollup.checkRequest(index, request);
        isRefunded[index] = true;
        emit DepositRefunded(index, request.sender, request.amount);
        bridge.release(request.sender, request.amount);
    }

    // ------------------------------------------------------------------------------------------------------ jobs

    /// @notice Shows the receipt of a claimed job. Of several the one that pays most stands, because a worker's later receipt covers its
    /// earlier ones.
    function presentReceipt(
        Job calldata job,
        Opening calldata jobOpening,
        Device calldata device,
        Opening calldata deviceOpening,
        ComputeReceipt calldata receipt,
        bytes calldata signature
    ) external whilePresenting {
        bytes32 key = Objects.key(Objects.KIND_JOB, receipt.client, receipt.clientNonce);
        _checkReceipt(job, device, receipt, signature);
        uint256 earned = uint256(receipt.units) * receipt.unitPrice;
        if (earned > job.escrow) revert Escape_OverEscrow(job.escrow, earned);
        uint128 amount = uint128(earned);
        if (amount <= claims[key].amount) revert Escape_NotBetter(claims[key].amount, amount);
        _tree.proveLeaf(key, Objects.words(job), jobOpening);
        _tree.proveLeaf(Objects.key(Objects.KIND_DEVICE, job.device, 0), Objects.words(device), deviceOpening);
        claims[key] = Claim(device.payout, amount);
        emit ReceiptPresented(key, device.payout, amount);
    }

    /// @notice Divides a job's escrow: what the receipt earned to the worker, the rest to the client. An unclaimed job need not wait for the
    /// window's end, because no receipt can be for it.
    function escapeJob(address client, uint64 clientNonce, Job calldata job, Opening calldata opening)
        external
        whenOpened
    {
        bytes32 key = Objects.key(Objects.KIND_JOB, client, clientNonce);
        if (job.status != Objects.JOB_OPEN) _requirePresentationOver();
        _leave(key, job.escrow);
        _tree.requireLeaf(key, Objects.words(job), opening);
        Claim memory claim = claims[key];
        uint128 returned = job.escrow - claim.amount;
        _credit(claim.payee, claim.amount);
        _credit(client, returned);
        emit JobEscaped(key, claim.payee, claim.amount, client, returned);
    }

    // -------------------------------------------------------------------------------------------------- channels

    /// @notice Shows a voucher on a channel that is not closed. Of several the largest stands.
    function presentVoucher(
        Channel calldata channel,
        Opening calldata opening,
        Voucher calldata voucher,
        bytes calldata signature
    ) external whilePresenting {
        bytes32 key = Objects.key(Objects.KIND_CHANNEL, voucher.client, voucher.clientNonce);
        if (channel.status == Objects.CHANNEL_CLOSED) revert Escape_WrongStatus(channel.status);
        if (voucher.payee != channel.payee) revert Escape_WrongPayee(channel.payee, voucher.payee);
        uint128 known = claims[key].amount > channel.paid ? claims[key].amount : channel.paid;
        if (voucher.cumulative <= known) revert Escape_NotBetter(known, voucher.cumulative);
        if (voucher.cumulative > channel.deposit) revert Escape_OverDeposit(channel.deposit, voucher.cumulative);
        address signer = ECDSA.recover(Statements.digest(voucher, _channelsDomain), signature);
        if (signer != voucher.client) revert Escape_WrongSigner(voucher.client, signer);
        _tree.proveLeaf(key, Objects.words(channel), opening);
        claims[key] = Claim(channel.payee, voucher.cumulative);
        emit VoucherPresented(key, channel.payee, voucher.cumulative);
    }

    /// @notice Divides a channel: what the largest voucher promised to the payee, the rest to the client.
    function escapeChannel(address client, uint64 clientNonce, Channel calldata channel, Opening calldata opening)
        external
        whenOpened
    {
        bytes32 key = Objects.key(Objects.KIND_CHANNEL, client, clientNonce);
        _requirePresentationOver();
        if (channel.status == Objects.CHANNEL_CLOSED) revert Escape_WrongStatus(channel.status);
        _leave(key, channel.deposit - channel.paid);
        _tree.requireLeaf(key, Objects.words(channel), opening);
        uint128 promised = claims[key].amount;
        uint128 paid = promised > channel.paid ? promised - channel.paid : 0;
        uint128 returned = channel.deposit - channel.paid - paid;
        _credit(channel.payee, paid);
        _credit(client, returned);
        emit ChannelEscaped(key, channel.payee, paid, client, returned);
    }

    /// @notice Pays out what jobs and channels left for `owner`. They are credited and not paid at once, so that one party that cannot take
    /// ETH does not hold up the other.
    function collect(address owner) external {
        uint128 amount = credits[owner];
        if (amount == 0) revert Escape_NoCredit(owner);
        credits[owner] = 0;
        emit Collected(owner, amount);
        bridge.release(owner, amount);
    }

    // -------------------------------------------------------------------------------------------------- internal

    /// @dev What the kernel asks of a receipt, with L1's clock in the place of the block's.
    function _checkReceipt(
        Job calldata job,
        Device calldata device,
        ComputeReceipt calldata receipt,
        bytes calldata signature
    ) private view {
        if (job.status != Objects.JOB_CLAIMED) revert Escape_WrongStatus(job.status);
        if (receipt.device != job.device) revert Escape_NotForThisJob("device");
        if (receipt.model != job.model) revert Escape_NotForThisJob("model");
        if (receipt.inputHash != job.inputHash) revert Escape_NotForThisJob("inputHash");
        if (receipt.unitPrice != job.unitPrice) revert Escape_NotForThisJob("unitPrice");
        if (receipt.units > job.unitLimit) revert Escape_TooManyUnits(job.unitLimit, receipt.units);
        uint64 latest = job.deadline < block.timestamp ? job.deadline : uint64(block.timestamp);
        if (receipt.startedAt > receipt.finishedAt || receipt.finishedAt > latest) {
            revert Escape_WrongTime(receipt.startedAt, receipt.finishedAt, latest);
        }
        if (receipt.tier < job.minimumTier) revert Escape_TierTooLow(job.minimumTier, receipt.tier);
        if (receipt.tier == 0) {
            if (receipt.evidence != 0) revert Escape_NotForThisJob("evidence");
        } else if (device.tier < receipt.tier || device.tierExpiry < receipt.finishedAt) {
            revert Escape_TierTooLow(receipt.tier, device.tier);
        }
        address signer = ECDSA.recover(Statements.digest(receipt, _jobsDomain), signature);
        if (signer != receipt.device) revert Escape_WrongSigner(receipt.device, signer);
    }

    function _requirePresentationOver() private view {
        if (block.timestamp <= presentationEnd) revert Escape_PresentationRuns(presentationEnd, block.timestamp);
    }

    /// @dev Once by key, whatever the path: a leaf has one key and the tree one leaf for it.
    function _leave(bytes32 key, uint128 amount) private {
        if (hasLeft[key]) revert Escape_AlreadyLeft(key);
        if (amount == 0) revert Escape_NothingToPay(key);
        hasLeft[key] = true;
        emit Left(key);
    }

    function _credit(address owner, uint128 amount) private {
        if (amount != 0) credits[owner] += amount;
    }
}
