//! The statement of the wrap: which numbers the inner proof's public inputs are, and the one public input made of them.
//!
//! The layout is `joule_protocol::PublicValues`'; a test holds the circuit's public input equal to its.

use ark_bn254::Fr;
use ark_ff::PrimeField;
use joule_protocol::{Digest, Hash, PublicValues};
use plonky2::field::types::{Field64, PrimeField64};

use crate::circuit::{Circuit, Integer, Linear, Synthesis, from_bits};
use crate::error::WrapError;
use crate::goldilocks::{F, below_power, enforce_canonical};
use crate::sha256::sha256;

/// The first elements, each a canonical 64-bit number; the others are 32-bit words.
const WIDE_INPUTS: usize = 5;

/// Reads the inner proof's 21 public inputs, or says which is out of range.
pub(crate) fn public_values(inputs: &[F]) -> Result<PublicValues, WrapError> {
    if inputs.len() != PublicValues::ELEMENTS {
        let expected = PublicValues::ELEMENTS;
        return Err(WrapError::ProofShape { field: "public inputs", expected, got: inputs.len() });
    }
    let values: Vec<u64> = inputs.iter().map(PrimeField64::to_canonical_u64).collect();
    for (index, value) in values.iter().enumerate().skip(WIDE_INPUTS) {
        if *value > u64::from(u32::MAX) {
            return Err(WrapError::PublicInputRange { index, got: *value, limit: u64::from(u32::MAX) });
        }
    }
    let hash = |words: &[u64]| Hash::from_words(std::array::from_fn(|index| words[index] as u32));
    let program = Digest::new(std::array::from_fn(|index| values[index]))
        .map_err(|error| WrapError::PublicInputRange { index: error.position, got: error.got, limit: F::ORDER - 1 })?;
    Ok(PublicValues { program, chain_id: values[4], from: hash(&values[5..13]), to: hash(&values[13..21]) })
}

/// The wrap's public input as a field element; it has 253 bits and needs no reduction.
pub(crate) fn public_input(values: &PublicValues) -> Fr {
    Fr::from_be_bytes_mod_order(&values.public_input().0)
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
        let mut elements = Vec::with_capacity(PublicValues::ELEMENTS);
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
