//! What proving a block takes, estimated before anything is run.

use core::ops::AddAssign;

use crate::CallKind;

/// Work for the machine and its precompiles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProvingCost {
    /// Instructions.
    pub cycles: u64,
    /// Keccak-f permutations.
    pub keccaks: u64,
    /// Poseidon2 permutations of the sponge.
    pub permutations: u64,
    /// Updates of the state tree, of 64 compressions each.
    pub tree_updates: u64,
    /// Signatures recovered.
    pub signatures: u64,
}

impl AddAssign for ProvingCost {
    fn add_assign(&mut self, other: Self) {
        self.cycles += other.cycles;
        self.keccaks += other.keccaks;
        self.permutations += other.permutations;
        self.tree_updates += other.tree_updates;
        self.signatures += other.signatures;
    }
}

impl ProvingCost {
    const fn new(cycles: u64, keccaks: u64, permutations: u64, tree_updates: u64, signatures: u64) -> Self {
        Self { cycles, keccaks, permutations, tree_updates, signatures }
    }
}

/// What a segment of one block costs beside its calls; each further block costs a little less.
pub const BLOCK_COST: ProvingCost = ProvingCost::new(11_000, 15, 60, 4, 0);

/// What a call adds to its block at most: at its worst, when it shares no object with another call and every account that it pays is new. Calls on the same objects cost a third
/// less.
///
/// An estimate, measured on full blocks of each kind, to which a test of the machine holds it; whoever seals a batch adds these up to know what proving will take. What keeps a block
/// within a segment is its limits. A rejected call is taken to have as much calldata as fits; a forced call of no contract may hash more than a transfer.
pub const fn proving_cost_of(kind: CallKind) -> ProvingCost {
    match kind {
        CallKind::Transfer => ProvingCost::new(5_000, 4, 32, 3, 1),
        CallKind::PostJob => ProvingCost::new(8_200, 7, 35, 2, 1),
        CallKind::ClaimJob => ProvingCost::new(11_100, 7, 80, 3, 1),
        CallKind::ReleaseJob => ProvingCost::new(12_400, 6, 80, 3, 1),
        CallKind::SettleJob => ProvingCost::new(19_300, 17, 108, 6, 2),
        CallKind::CancelJob => ProvingCost::new(8_300, 5, 54, 2, 1),
        CallKind::ExpireJob => ProvingCost::new(12_800, 7, 96, 4, 1),
        CallKind::RegisterDevice => ProvingCost::new(8_200, 10, 30, 2, 2),
        CallKind::AddStake | CallKind::RetireDevice | CallKind::WithdrawStake => ProvingCost::new(6_800, 5, 42, 2, 1),
        CallKind::OpenChannel => ProvingCost::new(5_600, 4, 26, 2, 1),
        CallKind::TopUpChannel => ProvingCost::new(6_300, 4, 36, 2, 1),
        // Cycles, permutations and tree updates of a forced one, which has no signature; keccaks and the signature of a signed one, which is rejected.
        CallKind::CloseChannel => ProvingCost::new(5_500, 4, 36, 2, 1),
        CallKind::RedeemVoucher => ProvingCost::new(10_100, 11, 50, 4, 2),
        CallKind::CloseChannelTogether => ProvingCost::new(8_600, 9, 36, 2, 2),
        CallKind::FinaliseChannel => ProvingCost::new(7_600, 5, 52, 3, 1),
        CallKind::Withdraw => ProvingCost::new(4_800, 6, 16, 1, 1),
        CallKind::Unknown => ProvingCost::new(6_000, 13, 16, 1, 1),
    }
}
