//! What a call costs: a fixed number, proportional to what it costs to prove.

use crate::{CallKind, limits::BLOCK_GAS_MAX};

/// The gas table below. A changed table is a new version and a new kernel.
pub const GAS_TABLE_VERSION: u32 = 1;

/// Gas of one call, whatever comes of it.
///
/// A plain transfer is 21,000, as wallets assume. The other numbers follow what a call costs at its worst, when it shares no object with any other call of its block and every
/// account that it pays is new: the table was fitted at 0.36 cycles of the machine for a unit of gas, rounded up, and no less than their share of the other tables. The
/// kernel has become cheaper since, and a unit is at most 0.27 cycles: all kinds by about as much, so that the table still says which call costs more.
/// `joule-prover trace --extremes` prints what each costs, and a test of the prover's engine holds full blocks of each to the largest shape.
pub const fn gas_of(kind: CallKind) -> u64 {
    match kind {
        CallKind::Transfer => 21_000,
        CallKind::PostJob => 33_000,
        CallKind::ClaimJob => 47_000,
        CallKind::ReleaseJob => 47_000,
        CallKind::SettleJob => 76_000,
        CallKind::CancelJob => 36_000,
        CallKind::ExpireJob => 52_000,
        CallKind::RegisterDevice => 48_000,
        CallKind::AddStake | CallKind::RetireDevice | CallKind::WithdrawStake => 30_000,
        CallKind::OpenChannel => 26_000,
        CallKind::TopUpChannel => 26_000,
        CallKind::RedeemVoucher => 48_000,
        CallKind::CloseChannel => 26_000,
        CallKind::CloseChannelTogether => 46_000,
        CallKind::FinaliseChannel => 30_000,
        CallKind::Withdraw => 26_000,
        CallKind::Unknown => 23_000,
    }
}

/// Signatures that are recovered for one call: its sender's, and for some a second one in its calldata. A priority request has no sender's, and is counted as if it had.
pub const fn signatures_of(kind: CallKind) -> usize {
    match kind {
        CallKind::SettleJob | CallKind::RegisterDevice | CallKind::RedeemVoucher | CallKind::CloseChannelTogether => 2,
        _ => 1,
    }
}

// Bytes of an object written to the batch data: kind (4), address (20), for jobs and channels a nonce (8), and four for each word.
const ACCOUNT_BYTES: u64 = 24 + 4 * 6;
const DEVICE_BYTES: u64 = 24 + 4 * 27;
const JOB_BYTES: u64 = 32 + 4 * 50;
const CHANNEL_BYTES: u64 = 32 + 4 * 16;
const CHAIN_BYTES: u64 = 24 + 4 * 32;
const WITHDRAWAL_BYTES: u64 = 20 + 16;

/// Bytes of a chunk that no call answers for: head (44), the chain object, the fee recipient's account, state root (32).
pub(crate) const CHUNK_FIXED_BYTES: usize = (44 + CHAIN_BYTES + ACCOUNT_BYTES + 32) as usize;

/// The most bytes that one call adds to its block's batch data, whatever comes of it.
///
/// Its own entry (signing hash 32, sender 20, outcome 4), its sender's account, and the objects that it can change. A priority request adds less: it has no
/// entry but its outcome. Calls that change the same objects share their bytes, so a block usually has far less than the sum.
pub const fn chunk_bytes_of(kind: CallKind) -> u64 {
    let effects = match kind {
        CallKind::Transfer => ACCOUNT_BYTES,
        CallKind::PostJob | CallKind::CancelJob => JOB_BYTES,
        CallKind::ClaimJob | CallKind::ReleaseJob => JOB_BYTES + DEVICE_BYTES,
        // Paid: the payout account and the client.
        CallKind::SettleJob => JOB_BYTES + DEVICE_BYTES + 2 * ACCOUNT_BYTES,
        CallKind::ExpireJob => JOB_BYTES + DEVICE_BYTES + ACCOUNT_BYTES,
        CallKind::RegisterDevice | CallKind::AddStake | CallKind::RetireDevice | CallKind::WithdrawStake => {
            DEVICE_BYTES
        }
        CallKind::OpenChannel | CallKind::TopUpChannel | CallKind::CloseChannel | CallKind::CloseChannelTogether => {
            CHANNEL_BYTES
        }
        // Whoever sends it: the payee or the client is credited.
        CallKind::RedeemVoucher | CallKind::FinaliseChannel => CHANNEL_BYTES + ACCOUNT_BYTES,
        CallKind::Withdraw => WITHDRAWAL_BYTES,
        CallKind::Unknown => 0,
    };
    32 + 20 + 4 + ACCOUNT_BYTES + effects
}

/// The most bytes that a block's gas lets calls add to its batch data: as if all of it went to the kind with the most bytes for its gas.
pub(crate) const fn calls_bytes_max() -> u64 {
    let mut most = 0;
    let mut position = 0;
    while position < CallKind::ALL.len() {
        let kind = CallKind::ALL[position];
        // Rounded up: a mix of kinds has no more bytes for its gas than the worst of them.
        let bytes = (BLOCK_GAS_MAX * chunk_bytes_of(kind)).div_ceil(gas_of(kind));
        if bytes > most {
            most = bytes;
        }
        position += 1;
    }
    most
}
