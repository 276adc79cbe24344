//! The two libraries meet here: Plonky3 writes the table proof, plonky2 checks it, and both work over Goldilocks.
//!
//! Each library has its own type for the same field. Values cross through their canonical 64-bit form only, so an
//! unreduced representative inside one library can never mean something else in the other. The two libraries also fix
//! *different* generators of the two-adic subgroups; every domain constant of a table proof therefore comes from
//! Plonky3 ([`two_adic_generator`]) and none from plonky2.

use p3_challenger::DuplexChallenger;
use p3_commit::ExtensionMmcs;
use p3_dft::Radix2DitParallel;
use p3_field::extension::CubicTrinomialExtensionField;
use p3_field::{BasedVectorSpace, Field as _, PrimeCharacteristicRing, PrimeField64 as _, TwoAdicField as _};
use p3_fri::TwoAdicFriPcs;
use p3_goldilocks::{Goldilocks, Poseidon2Goldilocks};
use p3_merkle_tree::MerkleTreeMmcs;
use p3_symmetric::{PaddingFreeSponge, TruncatedPermutation};
use p3_uni_stark::StarkConfig;
use plonky2::field::goldilocks_field::GoldilocksField;
use plonky2::field::types::{Field as _, PrimeField64 as _};

/// The field as plonky2 knows it.
pub type F = GoldilocksField;
/// Degree of plonky2's own extension, from which plonky2 draws its challenges.
pub const D: usize = 2;

/// The field as Plonky3 knows it.
pub type Val = Goldilocks;
/// The cubic extension `Goldilocks[X] / (X³ − X − 1)` from which Plonky3 draws its challenges.
pub type Challenge = CubicTrinomialExtensionField<Val>;
/// Number of base-field limbs of a [`Challenge`].
pub const CUBIC: usize = 3;

/// Width of the Poseidon2 state.
pub const WIDTH: usize = 12;
/// Elements absorbed or squeezed per permutation.
pub const RATE: usize = 8;
/// Elements of a digest.
pub const DIGEST: usize = 4;

/// Poseidon2 of width 12 with Plonky3's default constants.
pub type Permutation = Poseidon2Goldilocks<WIDTH>;
/// Hash of Merkle leaves: the sponge that overwrites its rate and does not pad.
pub type LeafHash = PaddingFreeSponge<Permutation, WIDTH, RATE, DIGEST>;
/// Compression of two digests: one permutation of `left ‖ right ‖ 0`, truncated.
pub type Compression = TruncatedPermutation<Permutation, 2, DIGEST, WIDTH>;
/// Merkle commitments to base-field matrices of mixed heights.
pub type ValMmcs = MerkleTreeMmcs<
    <Val as p3_field::Field>::Packing,
    <Val as p3_field::Field>::Packing,
    LeafHash,
    Compression,
    2,
    DIGEST,
>;
/// Merkle commitments to the codewords of FRI.
pub type ChallengeMmcs = ExtensionMmcs<Val, Challenge, ValMmcs>;
/// The Fiat–Shamir transcript of a table proof.
pub type Challenger = DuplexChallenger<Val, Permutation, WIDTH, RATE>;
/// The polynomial commitment scheme of a table proof.
pub type TablePcs = TwoAdicFriPcs<Val, Radix2DitParallel<Val>, ValMmcs, ChallengeMmcs>;
/// The complete configuration of a table proof.
pub type TableConfig = StarkConfig<TablePcs, Challenge, Challenger>;

/// Plonky3's element as plonky2's.
#[must_use]
pub fn to_plonky2(value: Val) -> F {
    F::from_canonical_u64(value.as_canonical_u64())
}

/// plonky2's element as Plonky3's.
pub fn to_plonky3(value: F) -> Val {
    Val::from_u64(value.to_canonical_u64())
}

/// The limbs of a challenge, lowest power of `X` first.
pub fn limbs(value: Challenge) -> [Val; CUBIC] {
    let slice = <Challenge as BasedVectorSpace<Val>>::as_basis_coefficients_slice(&value);
    [slice[0], slice[1], slice[2]]
}

/// Plonky3's generator of the subgroup of order `2^bits`.
pub fn two_adic_generator(bits: usize) -> Val {
    Val::two_adic_generator(bits)
}

/// The shift of the coset on which Plonky3 commits to trace polynomials.
pub fn coset_shift() -> Val {
    Val::GENERATOR
}

#[cfg(test)]
mod tests {
    use plonky2::field::types::Field64 as _;

    use super::*;

    #[test]
    fn values_cross_both_ways() {
        for value in [0, 1, 7, (1 << 32) - 1, 1 << 32, F::ORDER - 1] {
            let there = to_plonky2(Val::from_u64(value));
            assert_eq!(there.to_canonical_u64(), value);
            assert_eq!(to_plonky3(there).as_canonical_u64(), value);
        }
    }

    #[test]
    fn the_extension_is_what_the_gates_assume() {
        // X³ = X + 1.
        let x = Challenge::from_basis_coefficients_slice(&[Val::ZERO, Val::ONE, Val::ZERO]).unwrap();
        assert_eq!(limbs(x * x * x), [Val::ONE, Val::ONE, Val::ZERO]);
    }
}
