//! The last plonky2 layer's hashing: Poseidon over the BN254 scalar field, so that a Groth16 circuit over BN254 can
//! repeat it with its own arithmetic.
//!
//! **What a hash costs in the wrap.** An S-box x⁵ is three R1CS constraints and linear layers are free, so a permutation
//! of width `t` costs `3·(8·t + R_P)`. Three Goldilocks elements fit one lane (192 of 254 bits). For the five leaves
//! that one query of a recursion circuit opens (86, 135, 30, 24 elements and two folded cosets of 32; 29, 45, 10, 8, 11,
//! 11 lanes), constraints for leaves per query and native products per leaf row (leaves only) are:
//!
//! | width | rate | R_P | constraints | per query | native products |
//! |---|---|---|---|---|---|
//! | 3 | 2 | 57 | 243 | 14 337 | 29 k |
//! | 5 | 4 | 60 | 300 | 9 300 | 25 k |
//! | 9 | 8 | 63 | 405 | 6 885 | 30 k |
//! | **12** | **11** | **60** | **468** | **5 616** | **30 k** |
//! | 17 | 16 | 68 | 612 | 5 508 | 36 k |
//!
//! Width 12 is within 2 % of the cheapest in constraints and a sixth cheaper to compute than that one, because 60 partial
//! rounds are few for its width and because a coset of 16 extension elements (32 elements, 11 lanes) is exactly one block. Two nodes are compressed with width 2 and a
//! feed-forward (216 constraints) and not by a sponge of width 3 (243): a query has some 60 nodes.
//!
//! **Sponge.** Lane 0 is capacity, lanes 1 to 11 are rate. A block of up to 33 Goldilocks elements is packed three to a
//! lane, `e₀ + e₁·2⁶⁴ + e₂·2¹²⁸` with canonical representatives, the block's length times 2¹⁹² is added to the first
//! lane, and the lanes are *added* to the state. The packing is injective: every lane has its own three digits below
//! 2⁶⁴, and the length tells absent elements from zeros. The capacity starts from a domain tag, for leaves with the
//! whole length in it, so no two leaf lengths and no transcript share a start.
//!
//! **Digest of a leaf**: lane 1 after the last block. **Two to one**: `P(l, r)₀ + l`, the truncated feed-forward mode
//! (as Poseidon2's paper uses for compression; collision resistant up to the birthday bound if P is ideal). Leaves and
//! nodes use different permutations, so neither can pass for the other.
//!
//! **Challenges.** After a block, the 33 outputs are the 64-bit limbs 0, 1, 2 of the canonical integer of each rate
//! lane, low limb first, reduced modulo p. plonky2 consumes them from the last to the first.
//!
//! *Bias.* A lane is uniform below r ≈ 2^253.6 in the random-oracle model; its low 192 bits are within 2^-61 of uniform.
//! A limb in [p, 2⁶⁴) wraps to [0, 2³² − 1): those values have probability 2·2⁻⁶⁴ and all others 2⁻⁶⁴. So a set of
//! bad values of size b is hit with probability at most 2b/2⁶⁴ (and only if it is made of values below 2³² − 1), where
//! the ideal is b/p: at most one bit per base-field challenge, two per extension challenge, and far less than that for
//! any set not crafted around small values. Grinding of g bits asks a limb to be below 2^(64−g) after reduction, which
//! holds with probability 2⁻ᵍ + 2⁻³². Query indices are low bits of the reduced limb: 2⁻³² from uniform.
//!
//! **Hashes in the transcript** become four Goldilocks elements: the digits of the canonical integer in base p (p⁴ > r,
//! so this is injective).
//!
//! **Public inputs** are hashed with plonky2's Goldilocks Poseidon (`InnerHasher`), because plonky2 hashes them inside
//! its own circuit too and needs a hash with a gate. The wrap repeats three permutations for 21 elements, about a tenth of its
//! constraints; every hash that is cheaper there would be new cryptography.

use ark_bn254::Fr;
use ark_ff::{BigInteger, PrimeField, Zero};
use plonky2::field::extension::quadratic::QuadraticExtension;
use plonky2::field::goldilocks_field::GoldilocksField;
use plonky2::field::types::{Field, Field64, PrimeField64};
use plonky2::hash::hashing::PlonkyPermutation;
use plonky2::hash::poseidon::PoseidonHash;
use plonky2::plonk::config::{GenericConfig, GenericHashOut, Hasher};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

mod parameters;
mod permutation;

pub use parameters::{Parameters, SparseRounds};
pub use permutation::{NODE_PARAMETERS, NODE_WIDTH, SPONGE_PARAMETERS, SPONGE_WIDTH, permute};

/// Goldilocks elements packed into one lane.
pub const ELEMENTS_PER_LANE: usize = 3;
/// Goldilocks elements absorbed, and squeezed, per permutation.
pub const SPONGE_RATE: usize = (SPONGE_WIDTH - 1) * ELEMENTS_PER_LANE;
/// Capacity's start for the hash of a leaf; the number of elements is added to it.
pub const DOMAIN_LEAF: u128 = 1 << 64;
/// Capacity's start for a transcript.
pub const DOMAIN_TRANSCRIPT: u128 = 2 << 64;

/// The plonky2 configuration of the last layer before the wrap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bn254PoseidonConfig;

impl GenericConfig<2> for Bn254PoseidonConfig {
    type F = GoldilocksField;
    type FE = QuadraticExtension<GoldilocksField>;
    type Hasher = Bn254Poseidon;
    type InnerHasher = PoseidonHash;
}

/// A digest: one element of the BN254 scalar field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Bn254Digest(pub Fr);

impl Bn254Digest {
    /// The canonical integer's four digits in base p, least significant first.
    pub fn digits(&self) -> [u64; 4] {
        let mut limbs = self.0.into_bigint().0;
        std::array::from_fn(|_| {
            let mut remainder = 0u128;
            for limb in limbs.iter_mut().rev() {
                let dividend = remainder << 64 | u128::from(*limb);
                // The remainder stays below p < 2^64, so the quotient digit fits a limb.
                *limb = (dividend / u128::from(GoldilocksField::ORDER)) as u64;
                remainder = dividend % u128::from(GoldilocksField::ORDER);
            }
            remainder as u64
        })
    }
}

impl GenericHashOut<GoldilocksField> for Bn254Digest {
    /// Little-endian canonical bytes.
    fn to_bytes(&self) -> Vec<u8> {
        self.0.into_bigint().to_bytes_le()
    }

    /// Reduces what is not canonical: the trait leaves no way to refuse, and a panic on foreign bytes would be worse.
    fn from_bytes(bytes: &[u8]) -> Self {
        Self(Fr::from_le_bytes_mod_order(bytes))
    }

    fn to_vec(&self) -> Vec<GoldilocksField> {
        self.digits().map(GoldilocksField::from_canonical_u64).to_vec()
    }
}

impl Serialize for Bn254Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.into_bigint().0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Bn254Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let limbs = <[u64; 4]>::deserialize(deserializer)?;
        Fr::from_bigint(ark_ff::BigInt(limbs))
            .map(Self)
            .ok_or_else(|| serde::de::Error::custom("a digest is not below the BN254 scalar field's modulus"))
    }
}

/// Packs at most [`SPONGE_RATE`] elements into rate lanes, with the block's length in the first.
pub fn pack(block: &[GoldilocksField]) -> [Fr; SPONGE_WIDTH - 1] {
    debug_assert!(block.len() <= SPONGE_RATE);
    let mut lanes = [Fr::zero(); SPONGE_WIDTH - 1];
    for (lane, elements) in lanes.iter_mut().zip(block.chunks(ELEMENTS_PER_LANE)) {
        let mut limbs = [0u64; 4];
        for (limb, element) in limbs.iter_mut().zip(elements) {
            *limb = element.to_canonical_u64();
        }
        *lane = Fr::from(ark_ff::BigInt(limbs));
    }
    lanes[0] += Fr::from(ark_ff::BigInt([0, 0, 0, block.len() as u64]));
    lanes
}

fn absorb(state: &mut [Fr; SPONGE_WIDTH], block: &[GoldilocksField]) {
    for (lane, packed) in state[1..].iter_mut().zip(pack(block)) {
        *lane += packed;
    }
    permute(&SPONGE_PARAMETERS, state);
}

fn starting_state(capacity: u128) -> [Fr; SPONGE_WIDTH] {
    let mut state = [Fr::zero(); SPONGE_WIDTH];
    state[0] = Fr::from(capacity);
    state
}

/// The transcript's sponge, in the shape that plonky2's challenger drives: elements are set, then permuted, then read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TranscriptSponge {
    state: [Fr; SPONGE_WIDTH],
    pending: [GoldilocksField; SPONGE_RATE],
    pending_length: usize,
    outputs: [GoldilocksField; SPONGE_RATE],
}

impl Default for TranscriptSponge {
    fn default() -> Self {
        Self {
            state: starting_state(DOMAIN_TRANSCRIPT),
            pending: [GoldilocksField::ZERO; SPONGE_RATE],
            pending_length: 0,
            outputs: [GoldilocksField::ZERO; SPONGE_RATE],
        }
    }
}

/// The outputs of the last permutation.
impl AsRef<[GoldilocksField]> for TranscriptSponge {
    fn as_ref(&self) -> &[GoldilocksField] {
        &self.outputs
    }
}

impl PlonkyPermutation<GoldilocksField> for TranscriptSponge {
    const RATE: usize = SPONGE_RATE;
    const WIDTH: usize = SPONGE_RATE;

    /// plonky2 starts every sponge from zeros, which here means with nothing pending; any other start is a first block.
    fn new<I: IntoIterator<Item = GoldilocksField>>(iter: I) -> Self {
        let mut sponge = Self::default();
        sponge.set_from_iter(iter, 0);
        if sponge.pending.iter().all(Field::is_zero) {
            sponge.pending_length = 0;
        }
        sponge
    }

    fn set_elt(&mut self, elt: GoldilocksField, idx: usize) {
        self.pending[idx] = elt;
        self.pending_length = self.pending_length.max(idx + 1);
    }

    fn set_from_iter<I: IntoIterator<Item = GoldilocksField>>(&mut self, elts: I, start_idx: usize) {
        for (offset, element) in elts.into_iter().take(SPONGE_RATE - start_idx).enumerate() {
            self.set_elt(element, start_idx + offset);
        }
    }

    fn set_from_slice(&mut self, elts: &[GoldilocksField], start_idx: usize) {
        self.set_from_iter(elts.iter().copied(), start_idx);
    }

    fn permute(&mut self) {
        if self.pending_length > 0 {
            absorb(&mut self.state, &self.pending[..self.pending_length]);
        } else {
            permute(&SPONGE_PARAMETERS, &mut self.state);
        }
        self.pending = [GoldilocksField::ZERO; SPONGE_RATE];
        self.pending_length = 0;
        for (outputs, lane) in self.outputs.chunks_mut(ELEMENTS_PER_LANE).zip(&self.state[1..]) {
            let limbs = lane.into_bigint().0;
            for (output, limb) in outputs.iter_mut().zip(limbs) {
                // Canonical from here on, so that equality and hashing never see two faces of one element.
                *output = GoldilocksField::from_canonical_u64(limb % GoldilocksField::ORDER);
            }
        }
    }

    fn squeeze(&self) -> &[GoldilocksField] {
        &self.outputs
    }
}

/// The hasher of the last layer's Merkle trees and transcript.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bn254Poseidon;

impl Hasher<GoldilocksField> for Bn254Poseidon {
    const HASH_SIZE: usize = 32;
    type Hash = Bn254Digest;
    type Permutation = TranscriptSponge;

    fn hash_no_pad(input: &[GoldilocksField]) -> Bn254Digest {
        let mut state = starting_state(DOMAIN_LEAF + input.len() as u128);
        for block in input.chunks(SPONGE_RATE) {
            absorb(&mut state, block);
        }
        Bn254Digest(state[1])
    }

    /// Short leaves are hashed like all others: copying their bytes would not be injective in a 254-bit field.
    fn hash_or_noop(inputs: &[GoldilocksField]) -> Bn254Digest {
        Self::hash_no_pad(inputs)
    }

    fn two_to_one(left: Bn254Digest, right: Bn254Digest) -> Bn254Digest {
        let mut state = [left.0, right.0];
        permute(&NODE_PARAMETERS, &mut state);
        Bn254Digest(state[0] + left.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plonky2::field::types::Sample;
    use plonky2::iop::challenger::Challenger;
    use plonky2::iop::witness::{PartialWitness, WitnessWrite};
    use plonky2::plonk::circuit_builder::CircuitBuilder;
    use plonky2::plonk::circuit_data::CircuitConfig;

    type F = GoldilocksField;

    #[test]
    fn digits_rebuild_the_digest() {
        for value in [Fr::zero(), -Fr::from(1u64), Bn254Poseidon::hash_no_pad(&[F::ONE]).0] {
            let base = Fr::from(F::ORDER);
            let digits = Bn254Digest(value).digits();
            assert!(digits.iter().all(|digit| *digit < F::ORDER));
            assert_eq!(digits.iter().rev().fold(Fr::zero(), |sum, digit| sum * base + Fr::from(*digit)), value);
        }
    }

    /// Values of a second implementation of this module's text, in another language and without the sparse rounds. A
    /// change of any of them changes every key of the wrap.
    #[test]
    fn hashes_and_challenges_are_pinned() {
        let elements: Vec<F> = (0..40).map(F::from_canonical_u64).collect();
        let leaf = Bn254Poseidon::hash_no_pad(&elements);
        assert_eq!(leaf.0.to_string(), "6901451962821140220974538242792637270322555333651649731311428487134021813676");
        assert_eq!(
            Bn254Poseidon::two_to_one(leaf, Bn254Digest(Fr::from(5u64))).0.to_string(),
            "2197354784976237151032523891943860855248655065859122009104877744562617272815"
        );
        let mut challenger = Challenger::<F, Bn254Poseidon>::new();
        challenger.observe_elements(&elements);
        let challenges = challenger.get_n_challenges(2).iter().map(PrimeField64::to_canonical_u64).collect::<Vec<_>>();
        assert_eq!(challenges, [4_743_718_567_092_376_627, 11_238_995_398_966_928_796]);
    }

    #[test]
    fn bytes_round_trip_and_foreign_bytes_do_not_panic() {
        let digest = Bn254Poseidon::hash_no_pad(&F::rand_vec(50));
        assert_eq!(Bn254Digest::from_bytes(&digest.to_bytes()), digest);
        Bn254Digest::from_bytes(&[255; 32]);
        Bn254Digest::from_bytes(&[]);
    }

    #[test]
    fn leaves_of_different_lengths_differ() {
        let digests: Vec<_> =
            [0, 1, 2, 3, 32, 33, 34, 66].map(|length| Bn254Poseidon::hash_no_pad(&vec![F::ZERO; length])).to_vec();
        for (index, digest) in digests.iter().enumerate() {
            assert!(!digests[..index].contains(digest));
        }
    }

    #[test]
    fn transcript_depends_on_every_element_and_on_block_boundaries() {
        let challenge = |blocks: &[&[F]]| {
            let mut challenger = Challenger::<F, Bn254Poseidon>::new();
            let mut last = F::ZERO;
            for block in blocks {
                challenger.observe_elements(block);
                last = challenger.get_challenge();
            }
            last
        };
        let zero = F::ZERO;
        assert_ne!(challenge(&[&[zero]]), challenge(&[&[zero, zero]]));
        assert_ne!(challenge(&[&[zero], &[zero]]), challenge(&[&[zero, zero]]));
        assert_ne!(challenge(&[&[F::ONE, zero]]), challenge(&[&[zero, F::ONE]]));
    }

    #[test]
    fn a_plonky2_proof_verifies_under_this_configuration() {
        let mut config = CircuitConfig::standard_recursion_config();
        config.fri_config.num_query_rounds = 2;
        config.fri_config.proof_of_work_bits = 3;
        config.fri_config.cap_height = 1;
        config.security_bits = 1;
        let mut builder = CircuitBuilder::<F, 2>::new(config);
        let x = builder.add_virtual_target();
        let square = builder.square(x);
        builder.register_public_inputs(&[x, square]);
        let data = builder.build::<Bn254PoseidonConfig>();
        let mut witness = PartialWitness::new();
        witness.set_target(x, F::from_canonical_u64(11)).expect("the target is set once");
        let proof = data.prove(witness).expect("the statement is true");
        data.verify(proof.clone()).expect("an honest proof verifies");
        let mut forged = proof;
        forged.public_inputs[1] += F::ONE;
        assert!(data.verify(forged).is_err());
    }
}
