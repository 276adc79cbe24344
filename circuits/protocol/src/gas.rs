//! What a call costs: a fixed number, proportional to what it costs to prove.

use crate::CallKind;

/// The gas table below. A changed table is a new version and a new kernel.
pub const GAS_TABLE_VERSION: u32 = 1;

/// Gas of one call, whatever comes of it.
///
/// A plain transfer is 21,000, as wallets assume: one signature, two objects. A call that checks a second signature costs about as much again; each further
/// object and 136 bytes of calldata add to it. The numbers follow the committed cells per kind of call, rounded up.
pub const fn gas_of(kind: CallKind) -> u64 {
    match kind {
        CallKind::Transfer => 21_000,
        CallKind::PostJob => 32_000,
        CallKind::ClaimJob => 30_000,
        CallKind::ReleaseJob => 28_000,
        CallKind::SettleJob => 60_000,
        CallKind::CancelJob => 26_000,
        CallKind::ExpireJob => 32_000,
        CallKind::RegisterDevice => 48_000,
        CallKind::AddStake | CallKind::RetireDevice | CallKind::WithdrawStake => 26_000,
        CallKind::OpenChannel => 26_000,
        CallKind::TopUpChannel => 26_000,
        CallKind::RedeemVoucher => 48_000,
        CallKind::CloseChannel => 24_000,
        CallKind::CloseChannelTogether => 46_000,
        CallKind::FinaliseChannel => 26_000,
        CallKind::Withdraw => 24_000,
        CallKind::Unknown => 23_000,
    }
}
