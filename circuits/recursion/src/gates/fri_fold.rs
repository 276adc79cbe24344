//! Folds of FRI: the value at `β` of the polynomial that takes `2^a` given values on a coset of the `2^a`-th roots of
//! unity.
//!
//! One operation takes the row of a committed codeword, the folding challenge `β`, the point `y` at which the query
//! stands, the low bits of the query index and the value the query brings along, and gives the folded value and the
//! point `y^(2^a)` at which the query stands afterwards.
//!
//! Write `y = x · Π gⱼ₊₁^bⱼ` with `gⱼ` Plonky3's generator of order `2^j`: the coset is `x·H`, and entry `i` of the row
//! belongs to `x·ω^rev(i)`. The fold is `g(β/x)` where `g` has the row as values on `H`; the coefficients of `g` are a
//! fixed linear map of the row, so only `t = β/x` and one partial sum need wires.
//!
//! **Claim.** The entry of the row at the index given by the bits equals the value brought along, and the output is the
//! fold. **Why.** `x` is a product of roots of unity and never zero, so `t · x = β` determines `t`. **Leans on** the
//! bits being boolean, which [`super::CanonicalBits`] enforces where they are made, and `y` being the point of the
//! query, which the circuit computes from the same bits.

use p3_field::{Field as _, PrimeCharacteristicRing as _};
use plonky2::field::types::Field as _;

use super::{Arithmetic, Constraints, ROUTED_WIRES, RowWriter, cubic_at, cubic_mul, inverse_or_zero, native};
use crate::field::{CUBIC, F, Val, to_plonky2, two_adic_generator};

/// Largest supported `a`: rows of eight values.
pub const LOG_ARITY_MAX: usize = 3;

/// The gate; see the module.
#[derive(Clone, Debug)]
pub struct FriFold {
    log_arity: usize,
}

impl Default for FriFold {
    fn default() -> Self {
        Self { log_arity: LOG_ARITY_MAX }
    }
}

impl FriFold {
    /// The gate that folds `2^log_arity` values; `None` outside `1..=`[`LOG_ARITY_MAX`].
    #[must_use]
    pub fn new(log_arity: usize) -> Option<Self> {
        (1..=LOG_ARITY_MAX).contains(&log_arity).then_some(Self { log_arity })
    }

    const fn arity(&self) -> usize {
        1 << self.log_arity
    }

    /// Routed wires of an operation: row, bits, value, `β`, `y`, folded value, new point.
    const fn routed(&self) -> usize {
        CUBIC * self.arity() + self.log_arity + 3 * CUBIC + 2
    }

    /// Advice wires of an operation: `t`, and for eight values the upper half of `g(t)` and `y⁴`.
    const fn advice(&self) -> usize {
        if self.log_arity == LOG_ARITY_MAX { 2 * CUBIC + 1 } else { CUBIC }
    }

    /// Wire of limb 0 of entry `i` of the row.
    #[must_use]
    pub const fn entry(&self, operation: usize, i: usize) -> usize {
        operation * self.routed() + CUBIC * i
    }

    /// Wire of bit `i` of the position in the row.
    #[must_use]
    pub const fn bit(&self, operation: usize, i: usize) -> usize {
        self.entry(operation, self.arity()) + i
    }

    /// First wire of the value brought along.
    #[must_use]
    pub const fn value(&self, operation: usize) -> usize {
        self.bit(operation, self.log_arity)
    }

    /// First wire of `β`.
    #[must_use]
    pub const fn beta(&self, operation: usize) -> usize {
        self.value(operation) + CUBIC
    }

    /// Wire of the point.
    #[must_use]
    pub const fn point(&self, operation: usize) -> usize {
        self.beta(operation) + CUBIC
    }

    /// First wire of the folded value.
    #[must_use]
    pub const fn output(&self, operation: usize) -> usize {
        self.point(operation) + 1
    }

    /// Wire of the point after the fold.
    #[must_use]
    pub const fn next_point(&self, operation: usize) -> usize {
        self.output(operation) + CUBIC
    }

    const fn ratio(&self, operation: usize) -> usize {
        self.operations_per_row() * self.routed() + operation * self.advice()
    }

    const fn upper(&self, operation: usize) -> usize {
        self.ratio(operation) + CUBIC
    }

    const fn fourth(&self, operation: usize) -> usize {
        self.upper(operation) + CUBIC
    }

    const fn operations_per_row(&self) -> usize {
        ROUTED_WIRES / self.routed()
    }

    /// `x / y`: the product of the inverse generators picked by the bits.
    fn shift<A: Arithmetic>(&self, a: &mut A, bits: &[A::Value]) -> A::Value {
        let mut shift = a.constant(F::ONE);
        for (i, &bit) in bits.iter().enumerate() {
            let inverse = to_plonky2(two_adic_generator(i + 1).inverse());
            // shift · (1 + bit · (inverse − 1))
            let difference = a.scale(inverse - F::ONE, bit);
            shift = a.mul_add(shift, difference, shift);
        }
        shift
    }

    /// The coefficients of `g`: the inverse Fourier transform of the row, which lies in bit-reversed order.
    fn coefficients<A: Arithmetic>(&self, a: &mut A, row: &[[A::Value; CUBIC]]) -> Vec<[A::Value; CUBIC]> {
        let mut values = row.to_vec();
        for log_size in 1..=self.log_arity {
            let half = 1 << (log_size - 1);
            let root = two_adic_generator(log_size).inverse();
            for block in (0..values.len()).step_by(2 * half) {
                let mut twiddle = Val::ONE;
                for i in block..block + half {
                    let scale = to_plonky2(twiddle);
                    let (low, high) = (values[i], values[i + half]);
                    values[i] = core::array::from_fn(|limb| a.scale_add(scale, high[limb], low[limb]));
                    values[i + half] = core::array::from_fn(|limb| a.scale_add(-scale, high[limb], low[limb]));
                    twiddle *= root;
                }
            }
        }
        let scale = F::from_canonical_usize(self.arity()).inverse();
        values.into_iter().map(|value| value.map(|limb| a.scale(scale, limb))).collect()
    }

    /// `Σ cᵢ tⁱ + start · t^n`, highest power first.
    fn horner<A: Arithmetic>(
        a: &mut A,
        coefficients: &[[A::Value; CUBIC]],
        start: Option<[A::Value; CUBIC]>,
        t: [A::Value; CUBIC],
    ) -> [A::Value; CUBIC] {
        let mut rest = coefficients.iter().rev().copied();
        let Some(mut sum) = start.or_else(|| rest.next()) else { return t };
        for coefficient in rest {
            let product = cubic_mul(a, sum, t);
            sum = core::array::from_fn(|limb| a.add(product[limb], coefficient[limb]));
        }
        sum
    }
}

impl Constraints for FriFold {
    fn wires(&self) -> usize {
        self.ratio(self.operations_per_row())
    }

    fn constants(&self) -> usize {
        0
    }

    fn constraints(&self) -> usize {
        // value, ratio, output, point; for eight values also the upper half and the fourth power
        let operation = 3 * CUBIC + 1 + if self.log_arity == LOG_ARITY_MAX { CUBIC + 1 } else { 0 };
        self.operations_per_row() * operation
    }

    fn degree(&self) -> usize {
        5
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
        for operation in 0..self.operations_per_row() {
            let row: Vec<_> = (0..self.arity()).map(|i| cubic_at(wires, self.entry(operation, i))).collect();
            let bits = &wires[self.bit(operation, 0)..self.bit(operation, self.log_arity)];
            let t = cubic_at(wires, self.ratio(operation));
            let point = wires[self.point(operation)];

            // The value brought along is the entry the bits point at: halve the row bit by bit, lowest bit first.
            let mut layer = row.clone();
            for &bit in bits {
                layer = layer
                    .chunks_exact(2)
                    .map(|pair| {
                        core::array::from_fn(|limb| {
                            let difference = a.sub(pair[1][limb], pair[0][limb]);
                            a.mul_add(bit, difference, pair[0][limb])
                        })
                    })
                    .collect();
            }
            for limb in 0..CUBIC {
                emit(a.sub(layer[0][limb], wires[self.value(operation) + limb]));
            }

            // t · x = β
            let shift = self.shift(a, bits);
            let x = a.mul(point, shift);
            for limb in 0..CUBIC {
                let product = a.mul(t[limb], x);
                emit(a.sub(product, wires[self.beta(operation) + limb]));
            }

            let coefficients = self.coefficients(a, &row);
            let square = a.mul(point, point);
            let (folded, next_point) = if self.log_arity == LOG_ARITY_MAX {
                let (low, high) = coefficients.split_at(4);
                let upper = cubic_at(wires, self.upper(operation));
                let computed = Self::horner(a, high, None, t);
                for limb in 0..CUBIC {
                    emit(a.sub(computed[limb], upper[limb]));
                }
                let fourth = a.mul(square, square);
                emit(a.sub(fourth, wires[self.fourth(operation)]));
                let eighth = a.mul(wires[self.fourth(operation)], wires[self.fourth(operation)]);
                (Self::horner(a, low, Some(upper), t), eighth)
            } else {
                let power = if self.log_arity == 1 { square } else { a.mul(square, square) };
                (Self::horner(a, &coefficients, None, t), power)
            };
            for limb in 0..CUBIC {
                emit(a.sub(folded[limb], wires[self.output(operation) + limb]));
            }
            emit(a.sub(next_point, wires[self.next_point(operation)]));
        }
    }

    fn inputs(&self, operation: usize) -> Vec<usize> {
        // The value brought along is checked, not read: the row already contains it.
        (self.entry(operation, 0)..self.value(operation)).chain(self.beta(operation)..self.output(operation)).collect()
    }

    fn fill(&self, operation: usize, _constants: &[F], row: &mut RowWriter<'_>) {
        let a = &mut native();
        let entries: Vec<_> = (0..self.arity()).map(|i| row.get_cubic(self.entry(operation, i))).collect();
        let bits: Vec<_> = (0..self.log_arity).map(|i| row.get(self.bit(operation, i))).collect();
        let point = row.get(self.point(operation));
        let x_inverse = inverse_or_zero(point * self.shift(a, &bits));
        let t = row.get_cubic(self.beta(operation)).map(|limb| limb * x_inverse);
        row.set_cubic(self.ratio(operation), t);

        let coefficients = self.coefficients(a, &entries);
        let folded = Self::horner(a, &coefficients, None, t);
        if self.log_arity == LOG_ARITY_MAX {
            row.set_cubic(self.upper(operation), Self::horner(a, &coefficients[4..], None, t));
            row.set(self.fourth(operation), point.exp_power_of_2(2));
        }
        row.set_cubic(self.output(operation), folded);
        row.set(self.next_point(operation), point.exp_power_of_2(self.log_arity));
    }

    fn parameters(&self) -> Vec<usize> {
        vec![self.log_arity]
    }

    fn from_parameters(parameters: &[usize]) -> Option<Self> {
        match parameters {
            [log_arity] => Self::new(*log_arity),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use core::marker::PhantomData;

    use p3_field::BasedVectorSpace;
    use p3_fri::{FriFoldingStrategy, TwoAdicFriFolding};
    use plonky2::field::types::Sample;

    use super::*;
    use crate::field::{Challenge, limbs, to_plonky3};
    use crate::gates::testing::{check_gate, filled_row};

    fn set_consistent(gate: &FriFold, row: &mut [F]) {
        for operation in 0..gate.operations_per_row() {
            let mut position = 0;
            for i in 0..gate.log_arity {
                let bit = (operation + i) % 2;
                row[gate.bit(operation, i)] = F::from_canonical_usize(bit);
                position |= bit << i;
            }
            for limb in 0..CUBIC {
                row[gate.value(operation) + limb] = row[gate.entry(operation, position) + limb];
            }
        }
    }

    #[test]
    fn is_a_sound_gate() {
        for log_arity in 1..=LOG_ARITY_MAX {
            let gate = FriFold::new(log_arity).unwrap();
            check_gate(&gate, |row| set_consistent(&gate, row));
        }
    }

    #[test]
    fn rejects_other_arities() {
        assert!(FriFold::new(0).is_none());
        assert!(FriFold::new(4).is_none());
    }

    #[test]
    fn agrees_with_plonky3() {
        let folding = TwoAdicFriFolding::<(), ()>(PhantomData);
        for log_arity in 1..=LOG_ARITY_MAX {
            let gate = FriFold::new(log_arity).unwrap();
            let log_folded_height = 5;
            for index in [0usize, 1, 6, 37, 31 << log_arity] {
                let reversed = p3_util::reverse_bits_len(index, log_folded_height + log_arity);
                let point = two_adic_generator(log_folded_height + log_arity).exp_u64(reversed as u64);
                let entries: Vec<[F; CUBIC]> = (0..gate.arity()).map(|_| core::array::from_fn(|_| F::rand())).collect();
                let beta: [F; CUBIC] = core::array::from_fn(|_| F::rand());
                let row = filled_row(&gate, &[], |row| {
                    for (i, entry) in entries.iter().enumerate() {
                        row[gate.entry(0, i)..][..CUBIC].copy_from_slice(entry);
                    }
                    for i in 0..log_arity {
                        row[gate.bit(0, i)] = F::from_canonical_usize(index >> i & 1);
                    }
                    row[gate.beta(0)..][..CUBIC].copy_from_slice(&beta);
                    row[gate.point(0)] = to_plonky2(point);
                });
                let cubic =
                    |value: [F; CUBIC]| Challenge::from_basis_coefficients_slice(&value.map(to_plonky3)).unwrap();
                let folded: Challenge = FriFoldingStrategy::<Val, Challenge>::fold_row(
                    &folding,
                    index >> log_arity,
                    log_folded_height,
                    log_arity,
                    cubic(beta),
                    entries.iter().map(|&entry| cubic(entry)),
                );
                assert_eq!(row[gate.output(0)..][..CUBIC], limbs(folded).map(to_plonky2));
                let next = p3_util::reverse_bits_len(index >> log_arity, log_folded_height);
                let next_point = two_adic_generator(log_folded_height).exp_u64(next as u64);
                assert_eq!(to_plonky3(row[gate.next_point(0)]), next_point);
            }
        }
    }
}
