//! A long Horner sum in the cubic extension per row: `output = start · αⁿ + Σ cᵢ αⁿ⁻¹⁻ⁱ`.
//!
//! The coefficients are base-field elements (rows of a committed matrix) or cubic ones (openings, constraints). A
//! partial sum lies on a wire after every [`STRIDE`] coefficients, so a step multiplies by `α` at most four times and
//! has degree 5.
//!
//! **Claim.** The output is that sum. **Why.** Each partial sum is determined by the one before it.

use super::{Arithmetic, Constraints, ROUTED_WIRES, RowWriter, cubic_at, cubic_mul, native};
use crate::field::{CUBIC, F};

/// Coefficients between two partial sums.
const STRIDE: usize = 4;

const ALPHA: usize = 0;
const START: usize = CUBIC;
const OUTPUT: usize = 2 * CUBIC;
const COEFFICIENTS: usize = 3 * CUBIC;

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
    /// The sum of base-field coefficients.
    #[must_use]
    pub const fn base() -> Self {
        Self { coefficient_limbs: 1 }
    }

    /// The sum of cubic coefficients.
    #[must_use]
    pub const fn cubic() -> Self {
        Self { coefficient_limbs: CUBIC }
    }

    /// Coefficients of a row.
    #[must_use]
    pub const fn coefficients(&self) -> usize {
        (ROUTED_WIRES - COEFFICIENTS) / self.coefficient_limbs
    }

    /// First wire of `α`.
    #[must_use]
    pub const fn alpha() -> usize {
        ALPHA
    }

    /// First wire of the sum so far.
    #[must_use]
    pub const fn start() -> usize {
        START
    }

    /// First wire of the output.
    #[must_use]
    pub const fn output() -> usize {
        OUTPUT
    }

    /// First wire of coefficient `i`; coefficients come highest power first.
    #[must_use]
    pub const fn coefficient(&self, i: usize) -> usize {
        COEFFICIENTS + i * self.coefficient_limbs
    }

    const fn steps(&self) -> usize {
        self.coefficients().div_ceil(STRIDE)
    }

    /// Wire of the partial sum after step `step`; the last one is the output.
    const fn partial(&self, step: usize) -> usize {
        if step + 1 == self.steps() { OUTPUT } else { self.coefficient(self.coefficients()) + step * CUBIC }
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
        self.coefficient(self.coefficients()) + (self.steps() - 1) * CUBIC
    }

    fn constants(&self) -> usize {
        0
    }

    fn constraints(&self) -> usize {
        self.steps() * CUBIC
    }

    fn degree(&self) -> usize {
        STRIDE + 1
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
        let alpha = cubic_at(wires, ALPHA);
        let mut sum = cubic_at(wires, START);
        for step in 0..self.steps() {
            let computed = self.step(a, step, alpha, sum, |i, limb| wires[self.coefficient(i) + limb]);
            sum = cubic_at(wires, self.partial(step));
            for limb in 0..CUBIC {
                emit(a.sub(computed[limb], sum[limb]));
            }
        }
    }

    fn inputs(&self, _operation: usize) -> Vec<usize> {
        (ALPHA..OUTPUT).chain(COEFFICIENTS..self.coefficient(self.coefficients())).collect()
    }

    fn fill(&self, _operation: usize, _constants: &[F], row: &mut RowWriter<'_>) {
        let alpha = row.get_cubic(ALPHA);
        let mut sum = row.get_cubic(START);
        for step in 0..self.steps() {
            sum = self.step(&mut native(), step, alpha, sum, |i, limb| row.get(self.coefficient(i) + limb));
            row.set_cubic(self.partial(step), sum);
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
            let mut sum = value(START, CUBIC);
            for i in 0..gate.coefficients() {
                sum = sum * alpha + value(gate.coefficient(i), gate.coefficient_limbs);
            }
            assert_eq!(sum, value(OUTPUT, CUBIC));
        }
    }
}
