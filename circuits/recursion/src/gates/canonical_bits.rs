//! The 64 bits of the canonical representative of a field element.
//!
//! Query indices and proof-of-work checks look at bits of a challenge. Every `v < 2^32 − 1` has two 64-bit
//! representatives, `v` and `v + p`, with different low bits; if both passed, a prover could pick the query index that
//! suits it, or pass a proof of work that Plonky3 refuses. So the decomposition must be the canonical one.
//!
//! With `high` and `low` the two 32-bit halves, the value is below `p = 2^64 − 2^32 + 1` exactly if `high ≠ 2^32 − 1` or
//! `low = 0`. The constraint `low · (1 − (high − (2^32 − 1)) · inverse) = 0` says so: where `high` is `2^32 − 1` the
//! product with any `inverse` vanishes and `low` must be zero; elsewhere the prover gives the inverse.
//!
//! **Claim.** The bits are boolean and are those of the canonical representative.

use plonky2::field::types::{Field, PrimeField64};

use super::{Arithmetic, Constraints, RowWriter, inverse_or_zero};
use crate::field::F;

const BITS: usize = 64;
const VALUE: usize = 0;
const FIRST_BIT: usize = 1;
const INVERSE: usize = FIRST_BIT + BITS;
const HIGH_MAX: u64 = (1 << 32) - 1;

/// The gate; see the module.
#[derive(Clone, Debug, Default)]
pub struct CanonicalBits;

impl CanonicalBits {
    /// Wire of the element.
    #[must_use]
    pub const fn value() -> usize {
        VALUE
    }

    /// Wire of bit `i`.
    #[must_use]
    pub const fn bit(i: usize) -> usize {
        FIRST_BIT + i
    }

    fn half<A: Arithmetic>(a: &mut A, bits: &[A::Value]) -> A::Value {
        let mut sum = a.constant(F::ZERO);
        for &bit in bits.iter().rev() {
            sum = a.scale_add(F::TWO, sum, bit);
        }
        sum
    }
}

impl Constraints for CanonicalBits {
    fn wires(&self) -> usize {
        INVERSE + 1
    }

    fn constants(&self) -> usize {
        0
    }

    fn constraints(&self) -> usize {
        BITS + 2
    }

    fn degree(&self) -> usize {
        3
    }

    fn operations(&self) -> usize {
        1
    }

    fn constrain<A: Arithmetic>(
        &self,
        a: &mut A,
        _constants: &[A::Value],
        wires: &[A::Value],
        emit: &mut impl FnMut(A::Value),
    ) {
        let bits = &wires[FIRST_BIT..INVERSE];
        for &bit in bits {
            let square = a.mul(bit, bit);
            emit(a.sub(square, bit));
        }
        let low = Self::half(a, &bits[..32]);
        let high = Self::half(a, &bits[32..]);
        let sum = a.scale_add(F::from_canonical_u64(1 << 32), high, low);
        emit(a.sub(sum, wires[VALUE]));

        let below = a.shift(high, -F::from_canonical_u64(HIGH_MAX));
        let is_below = a.mul(below, wires[INVERSE]);
        let product = a.mul(low, is_below);
        emit(a.sub(low, product));
    }

    fn inputs(&self, _operation: usize) -> Vec<usize> {
        vec![VALUE]
    }

    fn fill(&self, _operation: usize, _constants: &[F], row: &mut RowWriter<'_>) {
        let value = row.get(VALUE).to_canonical_u64();
        for i in 0..BITS {
            row.set(FIRST_BIT + i, F::from_canonical_u64(value >> i & 1));
        }
        let below = F::from_canonical_u64(value >> 32) - F::from_canonical_u64(HIGH_MAX);
        row.set(INVERSE, inverse_or_zero(below));
    }

    fn parameters(&self) -> Vec<usize> {
        Vec::new()
    }

    fn from_parameters(parameters: &[usize]) -> Option<Self> {
        parameters.is_empty().then_some(Self)
    }
}

#[cfg(test)]
mod tests {
    use plonky2::field::types::Field64 as _;

    use super::*;
    use crate::gates::testing::{check_gate, check_row, filled_row};

    #[test]
    fn is_a_sound_gate() {
        check_gate(&CanonicalBits, |_| {});
    }

    #[test]
    fn edges_are_canonical() {
        for value in [0, 1, HIGH_MAX - 1, HIGH_MAX, HIGH_MAX + 1, HIGH_MAX << 32, F::ORDER - 2] {
            let row = filled_row(&CanonicalBits, &[], |row| row[VALUE] = F::from_canonical_u64(value));
            let read: u64 = (0..BITS).map(|i| row[FIRST_BIT + i].to_canonical_u64() << i).sum();
            assert_eq!(read, value);
        }
    }

    #[test]
    fn the_second_representative_is_refused() {
        // v and v + p for every kind of v below 2^32 − 1, with every inverse worth trying.
        for value in [0u64, 1, 2, 77, HIGH_MAX - 1] {
            let alias = u128::from(value) + u128::from(F::ORDER);
            for inverse in [F::ZERO, F::ONE, F::NEG_ONE] {
                let mut row = vec![F::ZERO; CanonicalBits.wires()];
                row[VALUE] = F::from_canonical_u64(value);
                for i in 0..BITS {
                    row[FIRST_BIT + i] = F::from_canonical_u64((alias >> i & 1) as u64);
                }
                row[INVERSE] = inverse;
                assert!(!check_row(&CanonicalBits, &[], &row), "{value} + p passed");
            }
        }
    }
}
