//! Groth16 proofs of the wrap: making, encoding and verifying them.
//!
//! **Malleability.** A Groth16 proof (A, B, C) can be turned by anybody into others of the same statement: (−A, −B, C), or
//! (A/r, r·B + r·s·δ, C + s·A). So a proof says that its statement is true and nothing about who made it or whether it is the
//! first; nothing may use a proof's bytes as an identifier or to prevent repetition. The statement names both checkpoints,
//! and the rollup contract accepts each transition once.
//!
//! **Randomness.** Zero knowledge is not claimed, so the blinding is zero: the same inner proof and key give the same bytes,
//! and one multi-scalar multiplication is saved.

use ark_bn254::{Bn254, Fq, Fq2, Fr, G1Affine, G2Affine};
use ark_ec::AffineRepr;
use ark_ff::{BigInteger, PrimeField, Zero};
use ark_groth16::{Groth16, Proof, prepare_verifying_key};
use joule_protocol::PublicValues;

use crate::error::WrapError;
use crate::keys::{VerifyingKey, WrapKeys};
use crate::statement::public_input;
use crate::values::InnerProof;
use crate::wrap::WrapCircuit;

/// A wrap proof as the contracts take it: eight big-endian words A (x, y), B (x imaginary, x real, y imaginary, y real), C (x, y).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrapProof {
    /// The words, big-endian.
    pub words: [[u8; 32]; 8],
}

impl WrapKeys {
    /// Proves that an inner proof verifies. Checks the inner proof before and the wrap proof after.
    pub fn prove(&self, wrap: &WrapCircuit, inner: &InnerProof) -> Result<(WrapProof, PublicValues), WrapError> {
        self.header.expect_circuit(wrap)?;
        let values = wrap.check(inner)?;
        let assignment = wrap.assignment(inner)?;
        let proof = Groth16::<Bn254>::create_proof_with_reduction_no_zk(assignment, &self.proving)?;
        let encoded = WrapProof::encode(&proof);
        match verify(&self.verifying_key(), &encoded, &values) {
            Err(WrapError::InvalidProof) => Err(WrapError::Unsatisfied),
            result => result.map(|()| (encoded, values)),
        }
    }
}

/// Verifies a wrap proof of a statement.
pub fn verify(key: &VerifyingKey, proof: &WrapProof, values: &PublicValues) -> Result<(), WrapError> {
    verify_input(key, proof, public_input(values))
}

pub(crate) fn verify_input(key: &VerifyingKey, proof: &WrapProof, input: Fr) -> Result<(), WrapError> {
    let proof = proof.decode()?;
    let prepared = prepare_verifying_key(&key.key);
    if Groth16::<Bn254>::verify_proof(&prepared, &proof, &[input])? { Ok(()) } else { Err(WrapError::InvalidProof) }
}

impl WrapProof {
    pub(crate) fn encode(proof: &Proof<Bn254>) -> Self {
        let (a, b, c) = (g1_words(&proof.a), g2_words(&proof.b), g1_words(&proof.c));
        Self { words: [a[0], a[1], b[0], b[1], b[2], b[3], c[0], c[1]] }
    }

    /// Refuses coordinates that are not reduced and points off the curve or outside the subgroup, as the precompiles do; zeros
    /// are the point at infinity there, and here.
    pub(crate) fn decode(&self) -> Result<Proof<Bn254>, WrapError> {
        let word = |index: usize| {
            let limbs = std::array::from_fn(|limb| {
                let start = 32 - 8 * (limb + 1);
                u64::from_be_bytes(self.words[index][start..start + 8].try_into().expect("eight bytes"))
            });
            Fq::from_bigint(ark_ff::BigInt(limbs))
                .ok_or(WrapError::ProofEncoding { word: index, reason: "a coordinate is not reduced" })
        };
        let g1 = |index: usize| {
            let (x, y) = (word(index)?, word(index + 1)?);
            if x.is_zero() && y.is_zero() {
                return Ok(G1Affine::zero());
            }
            let point = G1Affine::new_unchecked(x, y);
            if point.is_on_curve() {
                Ok(point)
            } else {
                Err(WrapError::ProofEncoding { word: index, reason: "the point is not on the curve" })
            }
        };
        let g2 = |index: usize| {
            let x = Fq2::new(word(index + 1)?, word(index)?);
            let y = Fq2::new(word(index + 3)?, word(index + 2)?);
            if x.is_zero() && y.is_zero() {
                return Ok(G2Affine::zero());
            }
            let point = G2Affine::new_unchecked(x, y);
            if !point.is_on_curve() {
                Err(WrapError::ProofEncoding { word: index, reason: "the point is not on the curve" })
            } else if !point.is_in_correct_subgroup_assuming_on_curve() {
                Err(WrapError::ProofEncoding { word: index, reason: "the point is not in the subgroup" })
            } else {
                Ok(point)
            }
        };
        Ok(Proof { a: g1(0)?, b: g2(2)?, c: g1(6)? })
    }
}

fn word(coordinate: &Fq) -> [u8; 32] {
    coordinate.into_bigint().to_bytes_be().try_into().expect("four limbs are 32 bytes")
}

/// (x, y), or zeros for the point at infinity.
pub(crate) fn g1_words(point: &G1Affine) -> [[u8; 32]; 2] {
    let (x, y) = point.xy().unwrap_or_default();
    [word(&x), word(&y)]
}

/// (x imaginary, x real, y imaginary, y real), or zeros for the point at infinity.
pub(crate) fn g2_words(point: &G2Affine) -> [[u8; 32]; 4] {
    let (x, y) = point.xy().unwrap_or_default();
    [word(&x.c1), word(&x.c0), word(&y.c1), word(&y.c0)]
}
