//! Cubic-extension values in a circuit.

use p3_field::BasedVectorSpace as _;
use p3_field::Field as _;
use plonky2::field::types::Field;
use plonky2::iop::generator::{GeneratedValues, SimpleGenerator};
use plonky2::iop::target::Target;
use plonky2::iop::witness::{PartitionWitness, Witness, WitnessWrite};
use plonky2::plonk::circuit_builder::CircuitBuilder;
use plonky2::plonk::circuit_data::CommonCircuitData;
use plonky2::util::serialization::{Buffer, IoResult, Read, Write};

use crate::field::{CUBIC, Challenge, D, F, Val, limbs, to_plonky2, to_plonky3};
use crate::gates::{CubicArithmetic, CubicReduce, CustomGate};

/// An element of the cubic extension, lowest power of `X` first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CubicTarget(pub [Target; CUBIC]);

/// The cubic extension as operations of a circuit builder.
pub trait CubicBuilder {
    /// The constant `value`.
    fn cubic_constant(&mut self, value: Challenge) -> CubicTarget;
    /// The base-field element `value` in the extension.
    fn cubic_from_base(&mut self, value: Target) -> CubicTarget;
    /// `c₀ · x · y + c₁ · z`: one of the six operations of a [`CubicArithmetic`] row.
    fn cubic_arithmetic(&mut self, c0: F, c1: F, x: CubicTarget, y: CubicTarget, z: CubicTarget) -> CubicTarget;
    /// `x · y`.
    fn cubic_mul(&mut self, x: CubicTarget, y: CubicTarget) -> CubicTarget;
    /// `x · y + z`.
    fn cubic_mul_add(&mut self, x: CubicTarget, y: CubicTarget, z: CubicTarget) -> CubicTarget;
    /// `x · y − z`.
    fn cubic_mul_sub(&mut self, x: CubicTarget, y: CubicTarget, z: CubicTarget) -> CubicTarget;
    /// `x + y`.
    fn cubic_add(&mut self, x: CubicTarget, y: CubicTarget) -> CubicTarget;
    /// `x − y`.
    fn cubic_sub(&mut self, x: CubicTarget, y: CubicTarget) -> CubicTarget;
    /// `x + y` for a base-field `y`.
    fn cubic_add_base(&mut self, x: CubicTarget, y: Target) -> CubicTarget;
    /// `x − y` for a base-field `y`.
    fn cubic_sub_base(&mut self, x: CubicTarget, y: Target) -> CubicTarget;
    /// `x · y` for a base-field `y`.
    fn cubic_scale(&mut self, x: CubicTarget, y: Target) -> CubicTarget;
    /// `x · y` for a constant `y`.
    fn cubic_scale_constant(&mut self, x: CubicTarget, y: Val) -> CubicTarget;
    /// `x^(2^log_power)`.
    fn cubic_power_of_two(&mut self, x: CubicTarget, log_power: usize) -> CubicTarget;
    /// `x^power`.
    fn cubic_power(&mut self, x: CubicTarget, power: u64) -> CubicTarget;
    /// A `q` with `q · y = x`. Determined only if `y ≠ 0`: every caller says why it is not zero.
    fn cubic_quotient(&mut self, x: CubicTarget, y: CubicTarget) -> CubicTarget;
    /// A `q` with `q · z = x − y`. Determined only if `z ≠ 0`: every caller says why it is not zero.
    fn cubic_difference_quotient(&mut self, x: CubicTarget, y: CubicTarget, z: CubicTarget) -> CubicTarget;
    /// `Σ cᵢ αⁱ` for base-field coefficients, lowest power first.
    fn cubic_reduce_base(&mut self, coefficients: &[Target], alpha: CubicTarget) -> CubicTarget;
    /// `Σ cᵢ αⁱ` for cubic coefficients, lowest power first.
    fn cubic_reduce(&mut self, coefficients: &[CubicTarget], alpha: CubicTarget) -> CubicTarget;
    /// Makes `x` and `y` equal.
    fn cubic_connect(&mut self, x: CubicTarget, y: CubicTarget);
}

impl CubicBuilder for CircuitBuilder<F, D> {
    fn cubic_constant(&mut self, value: Challenge) -> CubicTarget {
        CubicTarget(limbs(value).map(|limb| self.constant(to_plonky2(limb))))
    }

    fn cubic_from_base(&mut self, value: Target) -> CubicTarget {
        let zero = self.zero();
        CubicTarget([value, zero, zero])
    }

    fn cubic_arithmetic(&mut self, c0: F, c1: F, x: CubicTarget, y: CubicTarget, z: CubicTarget) -> CubicTarget {
        let constants = [c0, c1];
        let (row, operation) = self.find_slot(CustomGate(CubicArithmetic), &constants, &constants);
        let at = |part, limb| Target::wire(row, CubicArithmetic::wire(operation, part) + limb);
        for (part, value) in [x, y, z].into_iter().enumerate() {
            for limb in 0..CUBIC {
                self.connect(value.0[limb], at(part, limb));
            }
        }
        CubicTarget(core::array::from_fn(|limb| at(3, limb)))
    }

    fn cubic_mul(&mut self, x: CubicTarget, y: CubicTarget) -> CubicTarget {
        let zero = self.zero();
        self.cubic_arithmetic(F::ONE, F::ONE, x, y, CubicTarget([zero; CUBIC]))
    }

    fn cubic_mul_add(&mut self, x: CubicTarget, y: CubicTarget, z: CubicTarget) -> CubicTarget {
        self.cubic_arithmetic(F::ONE, F::ONE, x, y, z)
    }

    fn cubic_mul_sub(&mut self, x: CubicTarget, y: CubicTarget, z: CubicTarget) -> CubicTarget {
        self.cubic_arithmetic(F::ONE, F::NEG_ONE, x, y, z)
    }

    fn cubic_add(&mut self, x: CubicTarget, y: CubicTarget) -> CubicTarget {
        CubicTarget(core::array::from_fn(|limb| self.add(x.0[limb], y.0[limb])))
    }

    fn cubic_sub(&mut self, x: CubicTarget, y: CubicTarget) -> CubicTarget {
        CubicTarget(core::array::from_fn(|limb| self.sub(x.0[limb], y.0[limb])))
    }

    fn cubic_add_base(&mut self, x: CubicTarget, y: Target) -> CubicTarget {
        CubicTarget([self.add(x.0[0], y), x.0[1], x.0[2]])
    }

    fn cubic_sub_base(&mut self, x: CubicTarget, y: Target) -> CubicTarget {
        CubicTarget([self.sub(x.0[0], y), x.0[1], x.0[2]])
    }

    fn cubic_scale(&mut self, x: CubicTarget, y: Target) -> CubicTarget {
        CubicTarget(x.0.map(|limb| self.mul(limb, y)))
    }

    fn cubic_scale_constant(&mut self, x: CubicTarget, y: Val) -> CubicTarget {
        CubicTarget(x.0.map(|limb| self.mul_const(to_plonky2(y), limb)))
    }

    fn cubic_power_of_two(&mut self, x: CubicTarget, log_power: usize) -> CubicTarget {
        (0..log_power).fold(x, |x, _| self.cubic_mul(x, x))
    }

    fn cubic_power(&mut self, x: CubicTarget, power: u64) -> CubicTarget {
        let one = self.one();
        let mut result = self.cubic_from_base(one);
        for bit in (0..u64::BITS - power.leading_zeros()).rev() {
            result = self.cubic_mul(result, result);
            if power >> bit & 1 == 1 {
                result = self.cubic_mul(result, x);
            }
        }
        result
    }

    fn cubic_quotient(&mut self, x: CubicTarget, y: CubicTarget) -> CubicTarget {
        let zero = self.zero();
        self.cubic_difference_quotient(x, CubicTarget([zero; CUBIC]), y)
    }

    fn cubic_difference_quotient(&mut self, x: CubicTarget, y: CubicTarget, z: CubicTarget) -> CubicTarget {
        let quotient = CubicTarget(core::array::from_fn(|_| self.add_virtual_target()));
        self.add_simple_generator(CubicQuotient { minuend: x, subtrahend: y, denominator: z, quotient });
        let sum = self.cubic_mul_add(quotient, z, y);
        self.cubic_connect(sum, x);
        quotient
    }

    fn cubic_reduce_base(&mut self, coefficients: &[Target], alpha: CubicTarget) -> CubicTarget {
        let coefficients: Vec<_> = coefficients.iter().map(|&coefficient| [coefficient]).collect();
        reduce(self, &CubicReduce::base(), &coefficients, alpha)
    }

    fn cubic_reduce(&mut self, coefficients: &[CubicTarget], alpha: CubicTarget) -> CubicTarget {
        let coefficients: Vec<_> = coefficients.iter().map(|coefficient| coefficient.0).collect();
        reduce(self, &CubicReduce::cubic(), &coefficients, alpha)
    }

    fn cubic_connect(&mut self, x: CubicTarget, y: CubicTarget) {
        for limb in 0..CUBIC {
            self.connect(x.0[limb], y.0[limb]);
        }
    }
}

/// Chains [`CubicReduce`] operations, highest power first; the first one is filled up with leading zeros.
fn reduce<const LIMBS: usize>(
    builder: &mut CircuitBuilder<F, D>,
    gate: &CubicReduce,
    coefficients: &[[Target; LIMBS]],
    alpha: CubicTarget,
) -> CubicTarget {
    let zero = builder.zero();
    let mut sum = CubicTarget([zero; CUBIC]);
    let capacity = gate.coefficients();
    let padding = coefficients.len().next_multiple_of(capacity) - coefficients.len();
    let descending: Vec<[Target; LIMBS]> =
        core::iter::repeat_n([zero; LIMBS], padding).chain(coefficients.iter().rev().copied()).collect();
    // The operations of a row share its α, so rows are shared between sums with the same α.
    let row_of: Vec<F> = alpha.0.into_iter().flat_map(target_name).collect();
    for chunk in descending.chunks_exact(capacity) {
        let (row, operation) = builder.find_slot(CustomGate(gate.clone()), &row_of, &[]);
        let mut connect = |wire: usize, values: &[Target]| {
            for (offset, &value) in values.iter().enumerate() {
                builder.connect(value, Target::wire(row, wire + offset));
            }
        };
        connect(CubicReduce::alpha(), &alpha.0);
        connect(gate.start(operation), &sum.0);
        for (i, coefficient) in chunk.iter().enumerate() {
            connect(gate.coefficient(operation, i), coefficient);
        }
        let output = gate.output(operation);
        sum = CubicTarget(core::array::from_fn(|limb| Target::wire(row, output + limb)));
    }
    sum
}

/// Numbers that name a target and no other.
fn target_name(target: Target) -> [F; 3] {
    let (kind, first, second) = match target {
        Target::Wire(wire) => (0, wire.row, wire.column),
        Target::VirtualTarget { index } => (1, index, 0),
    };
    [kind, first, second].map(F::from_canonical_usize)
}

/// Computes a quotient natively; the product constraint beside it is what binds the result.
#[derive(Clone, Debug)]
pub struct CubicQuotient {
    minuend: CubicTarget,
    subtrahend: CubicTarget,
    denominator: CubicTarget,
    quotient: CubicTarget,
}

impl Default for CubicQuotient {
    fn default() -> Self {
        // plonky2 needs a default to learn the generator's name; this one is never run.
        let nowhere = CubicTarget([Target::VirtualTarget { index: 0 }; CUBIC]);
        Self { minuend: nowhere, subtrahend: nowhere, denominator: nowhere, quotient: nowhere }
    }
}

impl SimpleGenerator<F, D> for CubicQuotient {
    fn id(&self) -> String {
        "joule CubicQuotient".to_string()
    }

    fn dependencies(&self) -> Vec<Target> {
        [self.minuend, self.subtrahend, self.denominator].into_iter().flat_map(|value| value.0).collect()
    }

    fn run_once(&self, witness: &PartitionWitness<F>, out: &mut GeneratedValues<F>) -> anyhow::Result<()> {
        let read = |target: CubicTarget| {
            let limbs = target.0.map(|limb| to_plonky3(witness.get_target(limb)));
            Challenge::from_basis_coefficients_fn(|i| limbs[i])
        };
        // With a zero denominator any quotient will do or none will: the product constraint decides.
        let inverse = read(self.denominator).try_inverse().unwrap_or_default();
        let quotient = limbs((read(self.minuend) - read(self.subtrahend)) * inverse);
        for (target, value) in self.quotient.0.into_iter().zip(quotient) {
            out.set_target(target, to_plonky2(value))?;
        }
        Ok(())
    }

    fn serialize(&self, dst: &mut Vec<u8>, _common: &CommonCircuitData<F, D>) -> IoResult<()> {
        for target in [self.minuend, self.subtrahend, self.denominator, self.quotient] {
            for limb in target.0 {
                dst.write_target(limb)?;
            }
        }
        Ok(())
    }

    fn deserialize(src: &mut Buffer, _common: &CommonCircuitData<F, D>) -> IoResult<Self> {
        let mut read = || -> IoResult<CubicTarget> {
            Ok(CubicTarget([src.read_target()?, src.read_target()?, src.read_target()?]))
        };
        Ok(Self { minuend: read()?, subtrahend: read()?, denominator: read()?, quotient: read()? })
    }
}
