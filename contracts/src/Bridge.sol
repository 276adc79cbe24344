// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import { IERC20 } from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import { SafeERC20 } from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import { ReentrancyGuardTransient } from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import { BitMaps } from "@openzeppelin/contracts/utils/structs/BitMaps.sol";
import { Withdrawal } from "./Types.sol";
import { IRollup } from "./interfaces/IRollup.sol";
import { IVault } from "./interfaces/IVault.sol";
import { Encodings } from "./libraries/Encodings.sol";
import { WithdrawalTree } from "./libraries/WithdrawalTree.sol";

/// @title Holds the base token: ETH, or one ERC-20.
/// @notice Takes deposits in, pays withdrawals of executed batches out, and lets the escape pay when the chain is frozen. It answers to
/// nobody: no owner, no pause, no upgrade. Trusts the rollup for withdrawal roots and the escape for what it releases, and neither of them
/// with more than came in. The token must move exactly what a transfer says or less (fees on transfer are credited as received); a
/// token whose balances change by themselves must not be chosen.
///
/// Invariants, by the names of their tests: invariant_bridge_solvent, invariant_bridge_neverMoreOutThanIn, invariant_withdrawal_claimedOnce.
contract Bridge is IVault, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;
    using BitMaps for BitMaps.BitMap;

    /// @notice All that ever comes in stays below this, whatever went out again. The kernel counts what was ever deposited and has no proof for a
    /// sum that reaches it: were only what is held bounded, money sent round and round would end in a deposit that no batch can consume.
    uint256 public constant DEPOSITS_LIMIT = 1 << 120;

    /// @notice The base token; zero for ETH.
    IERC20 public immutable token;
    IRollup public immutable rollup;
    address public immutable escape;

    /// @notice What ever came in, by this contract's own count.
    uint128 public deposited;
    uint128 private _locked;
    BitMaps.BitMap private _claimed;

    event Deposited(uint64 indexed requestIndex, address indexed sender, address indexed to, uint128 amount);
    event WithdrawalClaimed(
        uint64 indexed index, uint64 indexed batchNumber, address indexed recipient, uint128 amount
    );
    event Released(address indexed to, uint128 amount);

    error Bridge_PartMissing(address rollup, address escape);
    error Bridge_ValueTooLow(uint256 expected, uint256 actual);
    error Bridge_NothingReceived();
    error Bridge_LimitReached(uint256 limit, uint256 actual);
    error Bridge_NotEscape(address expected, address actual);
    error Bridge_AlreadyClaimed(uint64 index);
    error Bridge_NotInBatch(bytes32 expected, bytes32 actual);
    error Bridge_NoWithdrawals(uint64 batchNumber);
    error Bridge_TransferFailed(address to, uint256 amount);

    /// @param token_ The base token; zero for ETH.
    constructor(IERC20 token_, IRollup rollup_, address escape_) {
        if (address(rollup_) == address(0) || escape_ == address(0)) {
            revert Bridge_PartMissing(address(rollup_), escape_);
        }
        token = token_;
        rollup = rollup_;
        escape = escape_;
    }

    /// @notice Deposits for an L2 account. Send the request fee along, and with ETH as base token the amount; what is too much comes back.
    function deposit(address to, uint128 amount) external payable nonReentrant returns (uint64 requestIndex) {
        uint256 fee = rollup.requestFee(Encodings.DEPOSIT);
        bool isEther = address(token) == address(0);
        uint256 expected = isEther ? fee + amount : fee;
        if (msg.value < expected) revert Bridge_ValueTooLow(expected, msg.value);

        uint256 received = isEther ? amount : _pull(amount);
        if (received == 0) revert Bridge_NothingReceived();
        uint256 depositedAfter = deposited + received;
        if (depositedAfter >= DEPOSITS_LIMIT) revert Bridge_LimitReached(DEPOSITS_LIMIT, depositedAfter);
        // Both fit: what is locked is a part of what came in.
        (deposited, _locked) = (uint128(depositedAfter), _locked + uint128(received));
        requestIndex = rollup.requestDeposit{ value: fee }(msg.sender, to, uint128(received));
        emit Deposited(requestIndex, msg.sender, to, uint128(received));
        if (msg.value > expected) _sendEther(msg.sender, msg.value - expected);
    }

    /// @notice Pays a withdrawal of an executed batch to its recipient. Anyone may call.
    /// @param position Where it is among the batch's withdrawals.
    function claim(uint64 batchNumber, Withdrawal calldata withdrawal, uint256 position, bytes32[] calldata siblings)
        external
        nonReentrant
    {
        if (_claimed.get(withdrawal.index)) revert Bridge_AlreadyClaimed(withdrawal.index);
        bytes32 expected = rollup.withdrawalRoot(batchNumber);
        if (expected == 0) revert Bridge_NoWithdrawals(batchNumber);
        bytes32 actual = WithdrawalTree.climb(Encodings.withdrawalLeaf(withdrawal), position, siblings);
        if (actual != expected) revert Bridge_NotInBatch(expected, actual);

        _claimed.set(withdrawal.index);
        emit WithdrawalClaimed(withdrawal.index, batchNumber, withdrawal.recipient, withdrawal.amount);
        _pay(withdrawal.recipient, withdrawal.amount);
    }

    /// @inheritdoc IVault
    function release(address to, uint128 amount) external nonReentrant {
        if (msg.sender != escape) revert Bridge_NotEscape(escape, msg.sender);
        emit Released(to, amount);
        _pay(to, amount);
    }

    /// @notice What came in and has not gone out, by this contract's own count.
    function locked() external view returns (uint256) {
        return _locked;
    }

    /// @notice Whether the withdrawal with this index was paid.
    function isClaimed(uint64 index) external view returns (bool) {
        return _claimed.get(index);
    }

    /// @dev The only way out. The subtraction is checked: more than came in cannot leave.
    function _pay(address to, uint128 amount) private {
        _locked -= amount;
        if (address(token) == address(0)) _sendEther(to, amount);
        else token.safeTransfer(to, amount);
    }

    /// @return What arrived, whatever the token says.
    function _pull(uint128 amount) private returns (uint256) {
        uint256 before = token.balanceOf(address(this));
        token.safeTransferFrom(msg.sender, address(this), amount);
        uint256 received = token.balanceOf(address(this)) - before;
        // A token that adds balances by itself must not be credited with more than was asked.
        return received < amount ? received : amount;
    }

    function _sendEther(address to, uint256 amount) private {
        (bool sent,) = to.call{ value: amount }("");
        if (!sent) revert Bridge_TransferFailed(to, amount);
    }
}
