//! The statement of the wrap: which numbers the inner proof's public inputs are, and the one public input made of them.

use ark_bn254::Fr;
use ark_ff::PrimeField;
use plonky2::field::types::{Field64, PrimeField64};
use sha2::{Digest, Sha256};

use crate::circuit::{Circuit, Integer, Linear, Synthesis, from_bits};
use crate::error::WrapError;
use crate::goldilocks::{F, below_power, enforce_canonical};
use crate::sha256::sha256;

/// Public inputs of the inner proof: the program hash's four elements, the chain id, and two hashes of eight words each.
pub const PUBLIC_INPUTS: usize = 21;
/// The first elements, each a canonical 64-bit number; the others are 32-bit words.
const WIDE_INPUTS: usize = 5;

/// What a wrap proof says: program P took the chain from the checkpoint that hashes to hX to the one that hashes to hY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statement {
    /// P, four canonical Goldilocks elements.
    pub program: [u64; 4],
    /// C, below the Goldilocks modulus.
    pub chain_id: u64,
    /// hX.
    pub from: [u8; 32],
    /// hY.
    pub to: [u8; 32],
}

impl Statement {
    /// Reads the inner proof's 21 public inputs, or says which is out of range.
    pub fn from_public_inputs(inputs: &[F]) -> Result<Self, WrapError> {
        if inputs.len() != PUBLIC_INPUTS {
            return Err(WrapError::ProofShape { field: "public inputs", expected: PUBLIC_INPUTS, got: inputs.len() });
        }
        let values: Vec<u64> = inputs.iter().map(PrimeField64::to_canonical_u64).collect();
        for (index, value) in values.iter().enumerate() {
            let limit = if index < WIDE_INPUTS { F::ORDER - 1 } else { u64::from(u32::MAX) };
            if *value > limit {
                return Err(WrapError::PublicInputRange { index, got: *value, limit });
            }
        }
        let hash = |words: &[u64]| {
            let mut bytes = [0; 32];
            for (bytes, word) in bytes.chunks_exact_mut(4).zip(words) {
                bytes.copy_from_slice(&(*word as u32).to_le_bytes());
            }
            bytes
        };
        Ok(Self {
            program: [values[0], values[1], values[2], values[3]],
            chain_id: values[4],
            from: hash(&values[5..13]),
            to: hash(&values[13..21]),
        })
    }

    /// P ‖ C as big-endian 64-bit numbers, hX, hY: 104 bytes.
    pub fn to_bytes(&self) -> [u8; 104] {
        let mut bytes = [0; 104];
        for (bytes, number) in bytes.chunks_exact_mut(8).zip(self.program.iter().chain([&self.chain_id])) {
            bytes.copy_from_slice(&number.to_be_bytes());
        }
        bytes[40..72].copy_from_slice(&self.from);
        bytes[72..104].copy_from_slice(&self.to);
        bytes
    }

    /// SHA-256 of the bytes with its top three bits cleared, as a number: 253 bits, below BN254's scalar modulus.
    pub fn public_input(&self) -> Fr {
        let mut digest: [u8; 32] = Sha256::digest(self.to_bytes()).into();
        digest[0] &= 0x1f;
        Fr::from_be_bytes_mod_order(&digest)
    }
}

/// The public inputs as witnesses, range-checked, and their bits as SHA-256 hashes them.
pub(crate) struct StatementWitness {
    pub(crate) elements: Vec<Integer>,
    message: Vec<Linear>,
}

impl StatementWitness {
    /// The first five are below p, the others below 2³². So the message is determined by the elements modulo p, and the
    /// elements by the message: the inner proof and the public input speak of the same statement.
    pub(crate) fn new(circuit: &mut Circuit, values: &[u64]) -> Synthesis<Self> {
        let mut elements = Vec::with_capacity(PUBLIC_INPUTS);
        let mut message = Vec::with_capacity(104 * 8);
        for (index, value) in values.iter().enumerate() {
            let linear = circuit.witness(Fr::from(*value))?;
            let width = if index < WIDE_INPUTS { 64 } else { 32 };
            let bits = circuit.decompose_to_variables(&linear, width)?;
            elements.push(below_power(linear, width as u32));
            if index < WIDE_INPUTS {
                enforce_canonical(circuit, &bits)?;
                message.extend(bits.into_iter().rev());
            } else {
                // A word's low byte comes first, each byte from its highest bit.
                for byte in bits.chunks(8) {
                    message.extend(byte.iter().rev().cloned());
                }
            }
        }
        Ok(Self { elements, message })
    }

    /// The public input: the digest without its three highest bits, as a number.
    pub(crate) fn public_input(&self, circuit: &mut Circuit) -> Synthesis<Linear> {
        let mut digest = sha256(circuit, &self.message)?.split_off(3);
        digest.reverse();
        Ok(from_bits(&digest))
    }
}
