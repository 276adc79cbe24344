//! Gate constraints, one evaluator per gate type of plonky2 that occurs in a recursive verifier.
//!
//! **Claim.** [`evaluate`] yields, for one gate at opened wires and constants, exactly the values of the gate's
//! `eval_unfiltered`, in its order. Tests hold each equal to plonky2's own evaluator on random wires.
//!
//! A gate's constraints come as a sum of *parts*, each a common factor times one value per constraint: the powers of α are
//! then summed over narrow values and the factor is applied to the sum, once, instead of to every constraint.

use plonky2::gates::arithmetic_base::ArithmeticGate;
use plonky2::gates::arithmetic_extension::ArithmeticExtensionGate;
use plonky2::gates::base_sum::BaseSumGate;
use plonky2::gates::constant::ConstantGate;
use plonky2::gates::coset_interpolation::CosetInterpolationGate;
use plonky2::gates::exponentiation::ExponentiationGate;
use plonky2::gates::gate::GateRef;
use plonky2::gates::multiplication_extension::MulExtensionGate;
use plonky2::gates::noop::NoopGate;
use plonky2::gates::poseidon::PoseidonGate;
use plonky2::gates::poseidon_mds::PoseidonMdsGate;
use plonky2::gates::public_input::PublicInputGate;
use plonky2::gates::random_access::RandomAccessGate;
use plonky2::gates::reducing::ReducingGate;
use plonky2::gates::reducing_extension::ReducingExtensionGate;

use crate::circuit::{Circuit, Integer, Synthesis};
use crate::error::WrapError;
use crate::goldilocks::{Algebra, Ext, F};

mod arithmetic;
mod bits;
mod interpolation;
pub(crate) mod poseidon;
#[cfg(test)]
mod tests;

/// What a gate sees: constants without the selectors, wires, and the hash of the public inputs.
pub(crate) struct Row<'a> {
    pub(crate) constants: &'a [Ext],
    pub(crate) wires: &'a [Ext],
    pub(crate) public_inputs_hash: &'a [Integer; 4],
}

impl Row<'_> {
    fn algebra(&self, first_wire: usize) -> Algebra {
        Algebra([self.wires[first_wire].clone(), self.wires[first_wire + 1].clone()])
    }
}

/// `factor · values[k]`, summed over parts, is constraint k. No factor means one; missing values are zero.
pub(crate) struct Part {
    pub(crate) factor: Option<Ext>,
    pub(crate) values: Vec<Ext>,
}

impl Part {
    fn plain(values: Vec<Ext>) -> Vec<Self> {
        vec![Self { factor: None, values }]
    }
}

/// The gates that the wrap knows, recognised by type and not by name.
#[derive(Clone, Debug)]
pub(crate) enum KnownGate {
    Arithmetic { operations: usize },
    ArithmeticExtension { operations: usize },
    MultiplicationExtension { operations: usize },
    BaseSum { limbs: usize, base: u64 },
    Constant { count: usize },
    Noop,
    PublicInput,
    Reducing { coefficients: usize },
    ReducingExtension { coefficients: usize },
    Exponentiation { bits: usize },
    RandomAccess { bits: usize, copies: usize, extra_constants: usize },
    CosetInterpolation { subgroup_bits: usize, degree: usize, weights: Vec<F> },
    Poseidon,
    PoseidonMds,
}

impl KnownGate {
    /// Recognises a gate, or says which one is unknown.
    pub(crate) fn recognise(gate: &GateRef<F, 2>) -> Result<Self, WrapError> {
        let any = gate.0.as_any();
        Ok(if let Some(gate) = any.downcast_ref::<ArithmeticGate>() {
            Self::Arithmetic { operations: gate.num_ops }
        } else if let Some(gate) = any.downcast_ref::<ArithmeticExtensionGate<2>>() {
            Self::ArithmeticExtension { operations: gate.num_ops }
        } else if let Some(gate) = any.downcast_ref::<MulExtensionGate<2>>() {
            Self::MultiplicationExtension { operations: gate.num_ops }
        } else if let Some(gate) = any.downcast_ref::<BaseSumGate<2>>() {
            Self::BaseSum { limbs: gate.num_limbs, base: 2 }
        } else if let Some(gate) = any.downcast_ref::<BaseSumGate<4>>() {
            Self::BaseSum { limbs: gate.num_limbs, base: 4 }
        } else if any.is::<ConstantGate>() {
            Self::Constant { count: gate.0.num_constraints() }
        } else if any.is::<NoopGate>() {
            Self::Noop
        } else if any.is::<PublicInputGate>() {
            Self::PublicInput
        } else if let Some(gate) = any.downcast_ref::<ReducingGate<2>>() {
            Self::Reducing { coefficients: gate.num_coeffs }
        } else if let Some(gate) = any.downcast_ref::<ReducingExtensionGate<2>>() {
            Self::ReducingExtension { coefficients: gate.num_coeffs }
        } else if let Some(gate) = any.downcast_ref::<ExponentiationGate<F, 2>>() {
            Self::Exponentiation { bits: gate.num_power_bits }
        } else if let Some(gate) = any.downcast_ref::<RandomAccessGate<F, 2>>() {
            Self::RandomAccess { bits: gate.bits, copies: gate.num_copies, extra_constants: gate.num_extra_constants }
        } else if let Some(gate) = any.downcast_ref::<CosetInterpolationGate<F, 2>>() {
            Self::CosetInterpolation {
                subgroup_bits: gate.subgroup_bits,
                degree: gate.degree,
                weights: gate.barycentric_weights.clone(),
            }
        } else if any.is::<PoseidonGate<F, 2>>() {
            Self::Poseidon
        } else if any.is::<PoseidonMdsGate<F, 2>>() {
            Self::PoseidonMds
        } else {
            return Err(WrapError::UnknownGate { gate: gate.0.id() });
        })
    }

    /// The part of the constraint count that this gate's evaluation is booked under.
    pub(crate) fn part_name(&self) -> &'static str {
        match self {
            Self::Poseidon => "gates: poseidon",
            Self::CosetInterpolation { .. } => "gates: coset interpolation",
            Self::Exponentiation { .. } => "gates: exponentiation",
            Self::RandomAccess { .. } => "gates: random access",
            _ => "gates: others",
        }
    }
}

/// The constraints of one gate, unfiltered.
pub(crate) fn evaluate(circuit: &mut Circuit, gate: &KnownGate, row: &Row<'_>) -> Synthesis<Vec<Part>> {
    match gate {
        KnownGate::Arithmetic { operations } => arithmetic::arithmetic(circuit, *operations, row),
        KnownGate::ArithmeticExtension { operations } => arithmetic::arithmetic_extension(circuit, *operations, row),
        KnownGate::MultiplicationExtension { operations } => {
            arithmetic::multiplication_extension(circuit, *operations, row)
        }
        KnownGate::BaseSum { limbs, base } => bits::base_sum(circuit, *limbs, *base, row),
        KnownGate::Constant { count } => Ok(arithmetic::constant(*count, row)),
        KnownGate::Noop => Ok(Vec::new()),
        KnownGate::PublicInput => Ok(arithmetic::public_input(row)),
        KnownGate::Reducing { coefficients } => arithmetic::reducing(circuit, *coefficients, row),
        KnownGate::ReducingExtension { coefficients } => arithmetic::reducing_extension(circuit, *coefficients, row),
        KnownGate::Exponentiation { bits } => bits::exponentiation(circuit, *bits, row),
        KnownGate::RandomAccess { bits, copies, extra_constants } => {
            bits::random_access(circuit, *bits, *copies, *extra_constants, row)
        }
        KnownGate::CosetInterpolation { subgroup_bits, degree, weights } => {
            interpolation::coset_interpolation(circuit, *subgroup_bits, *degree, weights, row)
        }
        KnownGate::Poseidon => poseidon::gate(circuit, row),
        KnownGate::PoseidonMds => Ok(poseidon::mds_gate(row)),
    }
}
