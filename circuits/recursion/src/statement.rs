//! The statement a proof of the chain makes: P, C, hX, hY.

use joule_protocol::{Digest, Hash, PublicValues};
use plonky2::field::types::{Field as _, PrimeField64 as _};
use plonky2::iop::target::Target;
use plonky2::plonk::circuit_builder::CircuitBuilder;

use crate::field::{D, DIGEST, F};

/// 32-bit words of a checkpoint hash.
pub(crate) const WORDS: usize = 8;
/// Public values of the table that holds the statement: C, hX, hY.
pub const TABLE_STATEMENT: usize = 1 + 2 * WORDS;

const WORD_BITS: usize = 32;
/// A chain id is below 2^53, so that no reader of JSON loses bits of it.
const CHAIN_BITS: usize = 53;

/// The statement in the circuit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StatementTarget {
    pub(crate) program: [Target; DIGEST],
    pub(crate) chain_id: Target,
    pub(crate) from: [Target; WORDS],
    pub(crate) to: [Target; WORDS],
}

impl StatementTarget {
    /// The statement among the first public inputs of a proof.
    pub(crate) fn read(elements: &[Target]) -> Self {
        Self {
            program: core::array::from_fn(|i| elements[i]),
            chain_id: elements[DIGEST],
            from: core::array::from_fn(|i| elements[DIGEST + 1 + i]),
            to: core::array::from_fn(|i| elements[DIGEST + 1 + WORDS + i]),
        }
    }

    /// The statement with program hash `program` and the public values of the table that holds the rest.
    pub(crate) fn from_table(program: [Target; DIGEST], values: &[Target]) -> Self {
        let elements: Vec<Target> = program.into_iter().chain(values.iter().copied()).collect();
        Self::read(&elements)
    }

    pub(crate) fn elements(&self) -> Vec<Target> {
        self.program.into_iter().chain([self.chain_id]).chain(self.from).chain(self.to).collect()
    }

    /// Refuses words of more than 32 bits and chain ids of more than 53. The tables have words there already; this
    /// makes every later layer independent of that.
    pub(crate) fn check_ranges(&self, builder: &mut CircuitBuilder<F, D>) {
        builder.range_check(self.chain_id, CHAIN_BITS);
        for word in self.from.into_iter().chain(self.to) {
            builder.range_check(word, WORD_BITS);
        }
    }
}

/// Why public inputs are not a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// There are too few elements.
    #[error("a statement has {expected} elements, got {got}")]
    Length {
        /// Elements of a statement.
        expected: usize,
        /// Elements there are.
        got: usize,
    },
    /// An element is out of its range.
    #[error("element {index} of the statement is {got}, which is too large")]
    Range {
        /// Position of the element.
        index: usize,
        /// Its value.
        got: u64,
    },
}

/// The statement as the elements of a proof's public inputs.
#[must_use]
pub fn to_elements(values: &PublicValues) -> [F; PublicValues::ELEMENTS] {
    values.elements().map(F::from_canonical_u64)
}

/// The statement among the first public inputs of a proof.
///
/// # Errors
/// If there are too few elements or one is out of range.
pub fn from_elements(elements: &[F]) -> Result<PublicValues, StatementError> {
    let expected = PublicValues::ELEMENTS;
    let Some(elements) = elements.get(..expected) else {
        return Err(StatementError::Length { expected, got: elements.len() });
    };
    let values: Vec<u64> = elements.iter().map(|element| element.to_canonical_u64()).collect();
    let out_of_range = |index: usize| StatementError::Range { index, got: values[index] };
    let program = Digest::new(core::array::from_fn(|i| values[i])).map_err(|_| out_of_range(0))?;
    if values[DIGEST] >> CHAIN_BITS != 0 {
        return Err(out_of_range(DIGEST));
    }
    let hash = |start: usize| -> Result<Hash, StatementError> {
        let mut bytes = [0; 32];
        for (word, chunk) in bytes.chunks_exact_mut(4).enumerate() {
            let value = u32::try_from(values[start + word]).map_err(|_| out_of_range(start + word))?;
            chunk.copy_from_slice(&value.to_le_bytes());
        }
        Ok(Hash(bytes))
    };
    Ok(PublicValues { program, chain_id: values[DIGEST], from: hash(DIGEST + 1)?, to: hash(DIGEST + 1 + WORDS)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_the_protocols() {
        let values = PublicValues {
            program: Digest::new([1, 2, 3, 4]).unwrap(),
            chain_id: (1 << 53) - 1,
            from: Hash(core::array::from_fn(|i| i as u8)),
            to: Hash(core::array::from_fn(|i| 255 - i as u8)),
        };
        assert_eq!(from_elements(&to_elements(&values)), Ok(values));
    }

    #[test]
    fn malformed_elements_are_refused() {
        let mut elements = [F::ZERO; PublicValues::ELEMENTS];
        assert!(from_elements(&elements).is_ok());
        assert_eq!(from_elements(&elements[1..]), Err(StatementError::Length { expected: 21, got: 20 }));
        elements[4] = F::from_canonical_u64(1 << 53);
        assert_eq!(from_elements(&elements), Err(StatementError::Range { index: 4, got: 1 << 53 }));
        elements[4] = F::ZERO;
        elements[20] = F::from_canonical_u64(1 << 32);
        assert_eq!(from_elements(&elements), Err(StatementError::Range { index: 20, got: 1 << 32 }));
    }
}
