// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.28;

/// @title Rejections: why a well-formed transaction or request did nothing.
/// @notice The revert data of `eth_call`, `eth_estimateGas` and of a transaction with status 0, for all system
/// contracts. The code is the outcome in the batch data.
/// @dev Written from `Rejection` in circuits/protocol, whose test `rejections` holds the two equal.
interface IRejections {
    /// @notice Code 1: no function of the system contract has the selector {selector}.
    /// @param selector First four bytes of the calldata, big-endian; zero if there are fewer.
    error UnknownSelector(uint32 selector);

    /// @notice Code 2: the calldata of {selector} is not the strict ABI encoding of its arguments.
    /// @param selector The function's selector.
    error MalformedCall(uint32 selector);

    /// @notice Code 3: {to} is no system contract.
    /// @param to What a forced call names.
    error UnknownContract(address to);

    /// @notice Code 4: {kind} is no kind of priority request.
    /// @param kind The kind L1 admitted.
    error UnknownRequest(uint8 kind);

    /// @notice Code 5: the caller has {have}, the action takes {need}.
    /// @param have The balance.
    /// @param need What the action takes.
    error InsufficientBalance(uint128 have, uint128 need);

    /// @notice Code 6: the call must carry a value of {expected}, not {got}.
    /// @param expected The value the call's arguments ask for.
    /// @param got The transaction's value.
    error WrongValue(uint128 expected, uint128 got);

    /// @notice Code 7: the amount must not be zero.
    error ZeroAmount();

    /// @notice Code 8: the address must not be zero.
    error ZeroAddress();

    /// @notice Code 9: the amount is not below 2^120.
    error AmountTooLarge();

    /// @notice Code 10: the signature in the calldata is malformed or recovers to no key.
    error BadSignature();

    /// @notice Code 11: the signature is by {got}, not by {expected}.
    /// @param expected Who must sign.
    /// @param got Who signed.
    error WrongSigner(address expected, address got);

    /// @notice Code 20: {client} has posted no job with nonce {nonce}.
    /// @param client The client named.
    /// @param nonce The nonce named.
    error JobNotFound(address client, uint64 nonce);

    /// @notice Code 21: the job is not open (status {status}).
    /// @param status The job's status.
    error JobNotOpen(uint8 status);

    /// @notice Code 22: the job is not claimed (status {status}).
    /// @param status The job's status.
    error JobNotClaimed(uint8 status);

    /// @notice Code 23: the job is already settled, cancelled or expired (status {status}).
    /// @param status The job's status.
    error JobFinished(uint8 status);

    /// @notice Code 24: the deadline {deadline} is not after the block's time {now}.
    /// @param deadline The job's deadline.
    /// @param now The block's time.
    error DeadlinePassed(uint64 deadline, uint64 now);

    /// @notice Code 25: the deadline {deadline} is more than 31622400 seconds after the block's time {now}.
    /// @param deadline The job's deadline.
    /// @param now The block's time.
    error DeadlineTooFar(uint64 deadline, uint64 now);

    /// @notice Code 26: attestation tier {tier} is not known to this kernel.
    /// @param tier The tier named.
    error TierUnsupported(uint8 tier);

    /// @notice Code 27: the job asks for attestation tier {need}, this is tier {have}.
    /// @param need The job's minimum.
    /// @param have The device's or receipt's tier.
    error TierTooLow(uint8 need, uint8 have);

    /// @notice Code 28: the job is for device {expected}, not {got}.
    /// @param expected The job's device.
    /// @param got The device named.
    error WrongDevice(address expected, address got);

    /// @notice Code 29: the job locks a bond of {need}, the device has {have} free.
    /// @param need The job's bond.
    /// @param have Stake that is not bonded.
    error StakeTooLow(uint128 need, uint128 have);

    /// @notice Code 30: the receipt is for another model than the job.
    error WrongModel();

    /// @notice Code 31: the receipt is for another input than the job.
    error WrongInput();

    /// @notice Code 32: the receipt names a unit price of {got}, the job {expected}.
    /// @param expected The job's price.
    /// @param got The receipt's price.
    error WrongUnitPrice(uint128 expected, uint128 got);

    /// @notice Code 33: the receipt claims {units} units, the job allows {limit}.
    /// @param units Units in the receipt.
    /// @param limit The job's limit.
    error UnitsOverLimit(uint64 units, uint64 limit);

    /// @notice Code 34: the receipt starts at {started} and finishes at {finished}.
    /// @param started startedAt.
    /// @param finished finishedAt.
    error StartedAfterFinished(uint64 started, uint64 finished);

    /// @notice Code 35: the receipt finishes at {finished}, after the block's time {now}.
    /// @param finished finishedAt.
    /// @param now The block's time.
    error FinishedInFuture(uint64 finished, uint64 now);

    /// @notice Code 36: the receipt finishes at {finished}, after the job's deadline {deadline}.
    /// @param finished finishedAt.
    /// @param deadline The job's deadline.
    error FinishedAfterDeadline(uint64 finished, uint64 deadline);

    /// @notice Code 37: the job could be settled until {until}; the block's time is {now}.
    /// @param until Deadline plus grace.
    /// @param now The block's time.
    error SettlementTooLate(uint64 until, uint64 now);

    /// @notice Code 38: a tier 0 receipt carries no evidence: the field must be zero.
    error EvidenceNotEmpty();

    /// @notice Code 39: the job expires after {from}; the block's time is {now}.
    /// @param from Deadline plus grace.
    /// @param now The block's time.
    error ExpiryTooEarly(uint64 from, uint64 now);

    /// @notice Code 40: no device {device} is registered.
    /// @param device The device named.
    error DeviceNotFound(address device);

    /// @notice Code 41: device {device} is already registered.
    /// @param device The device named.
    error DeviceExists(address device);

    /// @notice Code 42: {caller} does not own the device.
    /// @param caller Who called.
    error NotDeviceOwner(address caller);

    /// @notice Code 43: {caller} is neither owner nor payout account of the device.
    /// @param caller Who called.
    error NotDeviceOperator(address caller);

    /// @notice Code 44: the device is retired.
    error DeviceRetired();

    /// @notice Code 45: the device must be retired first.
    error DeviceNotRetired();

    /// @notice Code 46: {bonded} of the device's stake is bonded to claimed jobs.
    /// @param bonded The bonded part.
    error StakeBonded(uint128 bonded);

    /// @notice Code 60: {client} has opened no channel with nonce {nonce}.
    /// @param client The client named.
    /// @param nonce The nonce named.
    error ChannelNotFound(address client, uint64 nonce);

    /// @notice Code 61: the channel is closing or closed (status {status}).
    /// @param status The channel's status.
    error ChannelNotOpen(uint8 status);

    /// @notice Code 62: the channel is closed.
    error ChannelClosed();

    /// @notice Code 63: the voucher pays {got}, the channel {expected}.
    /// @param expected The channel's payee.
    /// @param got The voucher's payee.
    error WrongPayee(address expected, address got);

    /// @notice Code 64: the voucher's total {cumulative} is not above the {paid} already paid.
    /// @param cumulative The voucher's total.
    /// @param paid Paid so far.
    error VoucherNotIncreasing(uint128 cumulative, uint128 paid);

    /// @notice Code 65: the voucher's total {cumulative} exceeds the deposit {deposit}.
    /// @param cumulative The voucher's total.
    /// @param deposit The channel's deposit.
    error VoucherOverDeposit(uint128 cumulative, uint128 deposit);

    /// @notice Code 66: the channel is not closing (status {status}).
    /// @param status The channel's status.
    error ChannelNotClosing(uint8 status);

    /// @notice Code 67: the channel may be finalised from {from}; the block's time is {now}.
    /// @param from Its closing time.
    /// @param now The block's time.
    error FinaliseTooEarly(uint64 from, uint64 now);

    /// @notice Code 68: a channel is closed without its payee's consent only by a forced call through L1.
    error CloseNotForced();

    /// @notice Code 69: the payee's consent was good until {deadline}; the block's time is {now}.
    /// @param deadline The consent's deadline.
    /// @param now The block's time.
    error ConsentExpired(uint64 deadline, uint64 now);
}
