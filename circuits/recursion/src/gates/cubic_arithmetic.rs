//! Six multiply-adds in the cubic extension per row: `output = c₀ · x · y + c₁ · z`.
//!
//! **Claim.** Every output is that value; `c₀` and `c₁` are base-field constants of the row.

use super::{Arithmetic, Constraints, ROUTED_WIRES, RowWriter, cubic_at, cubic_mul, native};
use crate::field::{CUBIC, F};

const OPERATION_WIRES: usize = 4 * CUBIC;

/// The gate; see the module.
#[derive(Clone, Debug, Default)]
pub struct CubicArithmetic;

impl CubicArithmetic {
    /// Operations of a row.
    pub const OPERATIONS: usize = ROUTED_WIRES / OPERATION_WIRES;

    /// First wire of the `part`-th value (`x`, `y`, `z`, output) of an operation.
    #[must_use]
    pub const fn wire(operation: usize, part: usize) -> usize {
        operation * OPERATION_WIRES + part * CUBIC
    }
}

impl Constraints for CubicArithmetic {
    fn wires(&self) -> usize {
        Self::OPERATIONS * OPERATION_WIRES
    }

    fn constants(&self) -> usize {
        2
    }

    fn constraints(&self) -> usize {
        Self::OPERATIONS * CUBIC
    }

    fn degree(&self) -> usize {
        3
    }

    fn operations(&self) -> usize {
        Self::OPERATIONS
    }

    fn constrain<A: Arithmetic>(
        &self,
        a: &mut A,
        constants: &[A::Value],
        wires: &[A::Value],
        emit: &mut impl FnMut(A::Value),
    ) {
        for operation in 0..Self::OPERATIONS {
            let [x, y, z, output] = core::array::from_fn(|part| cubic_at(wires, Self::wire(operation, part)));
            let product = cubic_mul(a, x, y);
            for limb in 0..CUBIC {
                let value = a.mul(constants[0], product[limb]);
                let value = a.mul_add(constants[1], z[limb], value);
                emit(a.sub(value, output[limb]));
            }
        }
    }

    fn inputs(&self, operation: usize) -> Vec<usize> {
        (Self::wire(operation, 0)..Self::wire(operation, 3)).collect()
    }

    fn fill(&self, operation: usize, constants: &[F], row: &mut RowWriter<'_>) {
        let [x, y, z] = core::array::from_fn(|part| row.get_cubic(Self::wire(operation, part)));
        let product = cubic_mul(&mut native(), x, y);
        let output = core::array::from_fn(|limb| constants[0] * product[limb] + constants[1] * z[limb]);
        row.set_cubic(Self::wire(operation, 3), output);
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
    use p3_field::BasedVectorSpace;
    use plonky2::field::types::Sample;

    use super::*;
    use crate::field::{Challenge, limbs, to_plonky2, to_plonky3};
    use crate::gates::testing::{check_gate, filled_row};

    #[test]
    fn is_a_sound_gate() {
        check_gate(&CubicArithmetic, |_| {});
    }

    #[test]
    fn agrees_with_plonky3() {
        let [c0, c1] = [F::rand(), F::rand()];
        let row = filled_row(&CubicArithmetic, &[c0, c1], |_| {});
        let value = |wire| {
            let limbs: Vec<_> = row[wire..wire + CUBIC].iter().map(|&limb| to_plonky3(limb)).collect();
            Challenge::from_basis_coefficients_slice(&limbs).unwrap()
        };
        for operation in 0..CubicArithmetic::OPERATIONS {
            let [x, y, z, output] = core::array::from_fn(|part| value(CubicArithmetic::wire(operation, part)));
            assert_eq!(output, x * y * to_plonky3(c0) + z * to_plonky3(c1));
            assert_eq!(limbs(output).map(to_plonky2)[0], row[CubicArithmetic::wire(operation, 3)]);
        }
    }
}
