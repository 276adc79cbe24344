//! Horner sums in the cubic extension: `output = start · αⁿ + Σ cᵢ αⁿ⁻¹⁻ⁱ`.
//!
//! The coefficients are base-field elements (rows of committed matrices) or cubic ones (openings, constraints). A row
//! holds three sums of 19 base-field coefficients or one of 23 cubic ones, all with one `α`: most matrices are narrow,
//! and a sum for itself would leave most of a row empty; a wide one chains operations. A partial sum lies on a wire
//! after every [`STRIDE`] coefficients, so a step multiplies by `α` at most four times and has degree 5.
//!
//! **Claim.** Every output is that sum. **Why.** Each partial sum is determined by the one before it.

use super::{Arithmetic, Constraints, ROUTED_WIRES, RowWriter, cubic_at, cubic_mul, native};
use crate::field::{CUBIC, F};

/// Coefficients between two partial sums.
const STRIDE: usize = 4;

const ALPHA: usize = 0;

/// The gate; see the module.
#[derive(Clone, Debug)]
pub struct CubicReduce {
    /// Limbs of a coefficient: one or three.
    coefficient_limbs: usize,
}

impl Default for CubicReduce {
    fn default() -> Self {
        Self::base()
    }
}

impl CubicReduce {
    /// Sums of base-field coefficients.
    #[must_use]
    pub const fn base() -> Self {
        Self { coefficient_limbs: 1 }
    }

    /// Sums of cubic coefficients.
    #[must_use]
    pub const fn cubic() -> Self {
        Self { coefficient_limbs: CUBIC }
    }

    const fn operations_per_row(&self) -> usize {
        if self.coefficient_limbs == 1 { 3 } else { 1 }
    }

    /// Routed wires of an operation: start, output, coefficients.
    const fn routed(&self) -> usize {
        2 * CUBIC + self.coefficients() * self.coefficient_limbs
    }

    /// Coefficients of an operation.
    #[must_use]
    pub const fn coefficients(&self) -> usize {
        ((ROUTED_WIRES - CUBIC) / self.operations_per_row() - 2 * CUBIC) / self.coefficient_limbs
    }

    /// First wire of `α`.
    #[must_use]
    pub const fn alpha() -> usize {
        ALPHA
    }

    /// First wire of the sum so far.
    #[must_use]
    pub const fn start(&self, operation: usize) -> usize {
        CUBIC + operation * self.routed()
    }

    /// First wire of the output.
    #[must_use]
    pub const fn output(&self, operation: usize) -> usize {
        self.start(operation) + CUBIC
    }

    /// First wire of coefficient `i`; coefficients come highest power first.
    #[must_use]
    pub const fn coefficient(&self, operation: usize, i: usize) -> usize {
        self.output(operation) + CUBIC + i * self.coefficient_limbs
    }

    const fn steps(&self) -> usize {
        self.coefficients().div_ceil(STRIDE)
    }

    /// Wire of the partial sum after step `step`; the last one is the output.
    const fn partial(&self, operation: usize, step: usize) -> usize {
        if step + 1 == self.steps() {
            self.output(operation)
        } else {
            self.start(self.operations_per_row()) + (operation * (self.steps() - 1) + step) * CUBIC
        }
    }

    /// Adds the coefficients of one step to `sum`.
    fn step<A: Arithmetic>(
        &self,
        a: &mut A,
        step: usize,
        alpha: [A::Value; CUBIC],
        mut sum: [A::Value; CUBIC],
        coefficient_limb: impl Fn(usize, usize) -> A::Value,
    ) -> [A::Value; CUBIC] {
        for i in step * STRIDE..((step + 1) * STRIDE).min(self.coefficients()) {
            sum = cubic_mul(a, sum, alpha);
            for (limb, value) in sum.iter_mut().enumerate().take(self.coefficient_limbs) {
                *value = a.add(*value, coefficient_limb(i, limb));
            }
        }
        sum
    }
}

impl Constraints for CubicReduce {
    fn wires(&self) -> usize {
        self.start(self.operations_per_row()) + self.operations_per_row() * (self.steps() - 1) * CUBIC
    }

    fn constants(&self) -> usize {
        0
    }

    fn constraints(&self) -> usize {
        self.operations_per_row() * self.steps() * CUBIC
    }

    fn degree(&self) -> usize {
        STRIDE + 1
    }

    fn operations(&self) -> usize {
        self.operations_per_row()
    }

    fn constrain<A: Arithmetic>(
        &self,
        a: &mut A,
        _constants: &[A::Value],
        wires: &[A::Value],
        emit: &mut impl FnMut(A::Value),
    ) {
        let alpha = cubic_at(wires, ALPHA);
        for operation in 0..self.operations_per_row() {
            let mut sum = cubic_at(wires, self.start(operation));
            for step in 0..self.steps() {
                let computed = self.step(a, step, alpha, sum, |i, limb| wires[self.coefficient(operation, i) + limb]);
                sum = cubic_at(wires, self.partial(operation, step));
                for limb in 0..CUBIC {
                    emit(a.sub(computed[limb], sum[limb]));
                }
            }
        }
    }

    fn inputs(&self, operation: usize) -> Vec<usize> {
        let coefficients = self.coefficient(operation, 0)..self.coefficient(operation, self.coefficients());
        (ALPHA..CUBIC).chain(self.start(operation)..self.output(operation)).chain(coefficients).collect()
    }

    fn fill(&self, operation: usize, _constants: &[F], row: &mut RowWriter<'_>) {
        let alpha = row.get_cubic(ALPHA);
        let mut sum = row.get_cubic(self.start(operation));
        for step in 0..self.steps() {
            sum = self.step(&mut native(), step, alpha, sum, |i, limb| row.get(self.coefficient(operation, i) + limb));
            row.set_cubic(self.partial(operation, step), sum);
        }
    }

    fn parameters(&self) -> Vec<usize> {
        vec![self.coefficient_limbs]
    }

    fn from_parameters(parameters: &[usize]) -> Option<Self> {
        match parameters {
            [1] => Some(Self::base()),
            [CUBIC] => Some(Self::cubic()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use p3_field::{BasedVectorSpace, PrimeCharacteristicRing};

    use super::*;
    use crate::field::{Challenge, Val, to_plonky3};
    use crate::gates::testing::{check_gate, filled_row};

    #[test]
    fn is_a_sound_gate() {
        check_gate(&CubicReduce::base(), |_| {});
        check_gate(&CubicReduce::cubic(), |_| {});
    }

    #[test]
    fn agrees_with_plonky3() {
        for gate in [CubicReduce::base(), CubicReduce::cubic()] {
            let row = filled_row(&gate, &[], |_| {});
            let value = |wire: usize, count: usize| {
                let limbs: [Val; CUBIC] =
                    core::array::from_fn(|i| if i < count { to_plonky3(row[wire + i]) } else { Val::ZERO });
                Challenge::from_basis_coefficients_slice(&limbs).unwrap()
            };
            let alpha = value(ALPHA, CUBIC);
            for operation in 0..gate.operations() {
                let mut sum = value(gate.start(operation), CUBIC);
                for i in 0..gate.coefficients() {
                    sum = sum * alpha + value(gate.coefficient(operation, i), gate.coefficient_limbs);
                }
                assert_eq!(sum, value(gate.output(operation), CUBIC));
            }
        }
    }
}
