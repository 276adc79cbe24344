//! The custom gates, each written once.
//!
//! plonky2 wants every gate three times: over packed base-field values for the prover, over the extension for the
//! native verifier, and as a circuit for the recursive verifier. Three copies can disagree, and a disagreement is a
//! soundness bug. Here a gate is one generic function over [`Arithmetic`]; [`CustomGate`] derives the three forms.

mod canonical_bits;
mod cubic_arithmetic;
mod cubic_reduce;
mod fri_fold;
mod poseidon2;
mod serialize;
#[cfg(test)]
pub(crate) mod testing;

use core::any::type_name;
use core::fmt::Debug;
use core::marker::PhantomData;

use plonky2::field::extension::{Extendable, FieldExtension};
use plonky2::field::packed::PackedField;
use plonky2::field::types::Field;
use plonky2::gates::gate::Gate;
use plonky2::gates::packed_util::PackedEvaluableBase;
use plonky2::gates::util::StridedConstraintConsumer;
use plonky2::iop::ext_target::ExtensionTarget;
use plonky2::iop::generator::{GeneratedValues, SimpleGenerator, WitnessGeneratorRef};
use plonky2::iop::target::Target;
use plonky2::iop::witness::{PartitionWitness, Witness, WitnessWrite};
use plonky2::plonk::circuit_builder::CircuitBuilder;
use plonky2::plonk::circuit_data::CommonCircuitData;
use plonky2::plonk::vars::{
    EvaluationTargets, EvaluationVars, EvaluationVarsBase, EvaluationVarsBaseBatch, EvaluationVarsBasePacked,
};
use plonky2::util::serialization::{Buffer, IoResult, Read, Write};

pub use self::canonical_bits::CanonicalBits;
pub use self::cubic_arithmetic::CubicArithmetic;
pub use self::cubic_reduce::CubicReduce;
pub use self::fri_fold::{FriFold, LOG_ARITY_MAX};
pub use self::poseidon2::Poseidon2Permutation;
pub use self::serialize::{GateSerializer, GeneratorSerializer};
use crate::field::{CUBIC, D, F};

type Extension = <F as Extendable<D>>::Extension;

/// Wires of the widest row; the stack buffer of packed evaluation is this long.
const WIRES_MAX: usize = 135;

/// Routed wires a row may have.
pub(crate) const ROUTED_WIRES: usize = 80;

/// What a gate may do with the values on its wires. Values are polynomials of the wires, so there is no division and
/// no branching on a value: whatever can be written with this trait is a constraint.
pub trait Arithmetic {
    /// A value: a packed base-field element, an extension element or a target.
    type Value: Copy;

    /// The constant `value`.
    fn constant(&mut self, value: F) -> Self::Value;
    /// `x + y`.
    fn add(&mut self, x: Self::Value, y: Self::Value) -> Self::Value;
    /// `x − y`.
    fn sub(&mut self, x: Self::Value, y: Self::Value) -> Self::Value;
    /// `x · y`.
    fn mul(&mut self, x: Self::Value, y: Self::Value) -> Self::Value;
    /// `x · y + z`.
    fn mul_add(&mut self, x: Self::Value, y: Self::Value, z: Self::Value) -> Self::Value;
    /// `scale · x + y`.
    fn scale_add(&mut self, scale: F, x: Self::Value, y: Self::Value) -> Self::Value;
    /// `scale · x`.
    fn scale(&mut self, scale: F, x: Self::Value) -> Self::Value;
    /// `x + shift`.
    fn shift(&mut self, x: Self::Value, shift: F) -> Self::Value;
}

/// Base-field values, one or several at a time.
struct PackedArithmetic<P>(PhantomData<P>);

impl<P: PackedField<Scalar = F>> Arithmetic for PackedArithmetic<P> {
    type Value = P;

    fn constant(&mut self, value: F) -> P {
        P::from(value)
    }
    fn add(&mut self, x: P, y: P) -> P {
        x + y
    }
    fn sub(&mut self, x: P, y: P) -> P {
        x - y
    }
    fn mul(&mut self, x: P, y: P) -> P {
        x * y
    }
    fn mul_add(&mut self, x: P, y: P, z: P) -> P {
        x * y + z
    }
    fn scale_add(&mut self, scale: F, x: P, y: P) -> P {
        x * scale + y
    }
    fn scale(&mut self, scale: F, x: P) -> P {
        x * scale
    }
    fn shift(&mut self, x: P, shift: F) -> P {
        x + shift
    }
}

/// Values of plonky2's extension, where its verifier evaluates the gates.
struct ExtensionArithmetic;

impl Arithmetic for ExtensionArithmetic {
    type Value = Extension;

    fn constant(&mut self, value: F) -> Extension {
        Extension::from(value)
    }
    fn add(&mut self, x: Extension, y: Extension) -> Extension {
        x + y
    }
    fn sub(&mut self, x: Extension, y: Extension) -> Extension {
        x - y
    }
    fn mul(&mut self, x: Extension, y: Extension) -> Extension {
        x * y
    }
    fn mul_add(&mut self, x: Extension, y: Extension, z: Extension) -> Extension {
        x * y + z
    }
    fn scale_add(&mut self, scale: F, x: Extension, y: Extension) -> Extension {
        FieldExtension::<D>::scalar_mul(&x, scale) + y
    }
    fn scale(&mut self, scale: F, x: Extension) -> Extension {
        FieldExtension::<D>::scalar_mul(&x, scale)
    }
    fn shift(&mut self, x: Extension, shift: F) -> Extension {
        x + Extension::from(shift)
    }
}

/// Targets of a circuit that evaluates the gates itself.
struct CircuitArithmetic<'a>(&'a mut CircuitBuilder<F, D>);

impl Arithmetic for CircuitArithmetic<'_> {
    type Value = ExtensionTarget<D>;

    fn constant(&mut self, value: F) -> Self::Value {
        self.0.constant_extension(Extension::from(value))
    }
    fn add(&mut self, x: Self::Value, y: Self::Value) -> Self::Value {
        self.0.add_extension(x, y)
    }
    fn sub(&mut self, x: Self::Value, y: Self::Value) -> Self::Value {
        self.0.sub_extension(x, y)
    }
    fn mul(&mut self, x: Self::Value, y: Self::Value) -> Self::Value {
        self.0.mul_extension(x, y)
    }
    fn mul_add(&mut self, x: Self::Value, y: Self::Value, z: Self::Value) -> Self::Value {
        self.0.mul_add_extension(x, y, z)
    }
    fn scale_add(&mut self, scale: F, x: Self::Value, y: Self::Value) -> Self::Value {
        self.0.mul_const_add_extension(scale, x, y)
    }
    fn scale(&mut self, scale: F, x: Self::Value) -> Self::Value {
        self.0.mul_const_extension(scale, x)
    }
    fn shift(&mut self, x: Self::Value, shift: F) -> Self::Value {
        self.0.add_const_extension(x, shift)
    }
}

/// The product in `Goldilocks[X] / (X³ − X − 1)`.
///
/// With `X³ = X + 1` and `X⁴ = X² + X` the coefficients of the plain product at `X³` and `X⁴` are added once at the
/// two powers below each.
pub(crate) fn cubic_mul<A: Arithmetic>(a: &mut A, x: [A::Value; CUBIC], y: [A::Value; CUBIC]) -> [A::Value; CUBIC] {
    let y0_y2 = a.add(y[0], y[2]);
    let y1_y2 = a.add(y[1], y[2]);
    let rows = [[y[0], y[2], y[1]], [y[1], y0_y2, y1_y2], [y[2], y[1], y0_y2]];
    rows.map(|[r0, r1, r2]| {
        let sum = a.mul(x[0], r0);
        let sum = a.mul_add(x[1], r1, sum);
        a.mul_add(x[2], r2, sum)
    })
}

/// Three consecutive wires as one cubic value.
pub(crate) fn cubic_at<V: Copy>(wires: &[V], start: usize) -> [V; CUBIC] {
    [wires[start], wires[start + 1], wires[start + 2]]
}

/// A gate, stated once.
pub trait Constraints: Clone + Debug + Default + Send + Sync + 'static {
    /// Wires of a row, routed ones first.
    fn wires(&self) -> usize;
    /// Constants of a row.
    fn constants(&self) -> usize;
    /// Number of constraints.
    fn constraints(&self) -> usize;
    /// Largest degree of a constraint in the wires and constants.
    fn degree(&self) -> usize;
    /// Independent operations of a row, each with its own slot.
    fn operations(&self) -> usize;

    /// Emits every constraint; each must be zero.
    fn constrain<A: Arithmetic>(
        &self,
        a: &mut A,
        constants: &[A::Value],
        wires: &[A::Value],
        emit: &mut impl FnMut(A::Value),
    );

    /// The wires from which operation `operation` is computed.
    fn inputs(&self, operation: usize) -> Vec<usize>;
    /// Computes the remaining wires of operation `operation`, in a row whose inputs are known.
    fn fill(&self, operation: usize, constants: &[F], row: &mut RowWriter<'_>);

    /// The numbers that tell this gate from others of its type, at most four.
    fn parameters(&self) -> Vec<usize>;
    /// The gate with these parameters; `None` if they are not a gate of ours.
    fn from_parameters(parameters: &[usize]) -> Option<Self>;
}

/// A row being filled: inputs are read, everything else is written.
pub struct RowWriter<'a> {
    read: &'a dyn Fn(usize) -> F,
    written: Vec<(usize, F)>,
}

impl RowWriter<'_> {
    /// The value of an input wire.
    #[must_use]
    pub fn get(&self, wire: usize) -> F {
        (self.read)(wire)
    }

    /// The value of three consecutive input wires.
    #[must_use]
    pub fn get_cubic(&self, wire: usize) -> [F; CUBIC] {
        [self.get(wire), self.get(wire + 1), self.get(wire + 2)]
    }

    /// Writes a wire.
    pub fn set(&mut self, wire: usize, value: F) {
        self.written.push((wire, value));
    }

    /// Writes three consecutive wires.
    pub fn set_cubic(&mut self, wire: usize, value: [F; CUBIC]) {
        for (offset, limb) in value.into_iter().enumerate() {
            self.set(wire + offset, limb);
        }
    }
}

/// [`Constraints`] as a plonky2 gate.
#[derive(Clone, Debug, Default)]
pub struct CustomGate<T>(pub T);

impl<T: Constraints> Gate<F, D> for CustomGate<T> {
    fn id(&self) -> String {
        // The name carries every parameter, so two different gates never share an identity.
        format!("joule {:?}", self.0)
    }

    fn serialize(&self, dst: &mut Vec<u8>, _common: &CommonCircuitData<F, D>) -> IoResult<()> {
        write_parameters(dst, &self.0.parameters())
    }

    fn deserialize(src: &mut Buffer, _common: &CommonCircuitData<F, D>) -> IoResult<Self> {
        read_gate::<T>(src).map(Self)
    }

    fn eval_unfiltered(&self, vars: EvaluationVars<F, D>) -> Vec<Extension> {
        let mut values = Vec::with_capacity(self.0.constraints());
        self.0.constrain(&mut ExtensionArithmetic, vars.local_constants, vars.local_wires, &mut |value| {
            values.push(value);
        });
        values
    }

    fn eval_unfiltered_base_one(&self, vars: EvaluationVarsBase<F>, mut yield_constr: StridedConstraintConsumer<F>) {
        let wires: Vec<F> = (0..self.0.wires()).map(|index| vars.local_wires[index]).collect();
        let constants: Vec<F> = (0..self.0.constants()).map(|index| vars.local_constants[index]).collect();
        self.0.constrain(&mut PackedArithmetic::<F>(PhantomData), &constants, &wires, &mut |value| {
            yield_constr.one(value);
        });
    }

    fn eval_unfiltered_base_batch(&self, vars: EvaluationVarsBaseBatch<F>) -> Vec<F> {
        self.eval_unfiltered_base_batch_packed(vars)
    }

    fn eval_unfiltered_circuit(
        &self,
        builder: &mut CircuitBuilder<F, D>,
        vars: EvaluationTargets<D>,
    ) -> Vec<ExtensionTarget<D>> {
        let mut values = Vec::with_capacity(self.0.constraints());
        let mut arithmetic = CircuitArithmetic(builder);
        self.0.constrain(&mut arithmetic, vars.local_constants, vars.local_wires, &mut |value| values.push(value));
        values
    }

    fn generators(&self, row: usize, local_constants: &[F]) -> Vec<WitnessGeneratorRef<F, D>> {
        (0..self.0.operations())
            .map(|operation| {
                let generator = Generator {
                    gate: self.0.clone(),
                    row,
                    operation,
                    constants: local_constants[..self.0.constants()].to_vec(),
                };
                WitnessGeneratorRef::new(generator.adapter())
            })
            .collect()
    }

    fn num_wires(&self) -> usize {
        self.0.wires()
    }

    fn num_constants(&self) -> usize {
        self.0.constants()
    }

    fn degree(&self) -> usize {
        self.0.degree()
    }

    fn num_constraints(&self) -> usize {
        self.0.constraints()
    }
}

impl<T: Constraints> PackedEvaluableBase<F, D> for CustomGate<T> {
    fn eval_unfiltered_base_packed<P: PackedField<Scalar = F>>(
        &self,
        vars: EvaluationVarsBasePacked<P>,
        mut yield_constr: StridedConstraintConsumer<P>,
    ) {
        // Gathered once: the columns of a packed batch are strided, and every wire is read several times.
        let mut wires = [P::ZEROS; WIRES_MAX];
        for (index, wire) in wires.iter_mut().enumerate().take(self.0.wires()) {
            *wire = vars.local_wires[index];
        }
        let mut constants = [P::ZEROS; 2];
        for (index, constant) in constants.iter_mut().enumerate().take(self.0.constants()) {
            *constant = vars.local_constants[index];
        }
        self.0.constrain(&mut PackedArithmetic::<P>(PhantomData), &constants, &wires, &mut |value| {
            yield_constr.one(value);
        });
    }
}

/// Fills one operation of a custom gate's row.
#[derive(Clone, Debug, Default)]
pub struct Generator<T> {
    gate: T,
    row: usize,
    operation: usize,
    constants: Vec<F>,
}

impl<T: Constraints> SimpleGenerator<F, D> for Generator<T> {
    fn id(&self) -> String {
        // plonky2 finds the deserialiser by this name alone: it must depend on the type and not on the parameters.
        format!("joule {}", type_name::<T>())
    }

    fn dependencies(&self) -> Vec<Target> {
        self.gate.inputs(self.operation).into_iter().map(|wire| Target::wire(self.row, wire)).collect()
    }

    fn run_once(&self, witness: &PartitionWitness<F>, out: &mut GeneratedValues<F>) -> anyhow::Result<()> {
        let read = |wire| witness.get_target(Target::wire(self.row, wire));
        let mut row = RowWriter { read: &read, written: Vec::new() };
        self.gate.fill(self.operation, &self.constants, &mut row);
        for (wire, value) in row.written {
            out.set_target(Target::wire(self.row, wire), value)?;
        }
        Ok(())
    }

    fn serialize(&self, dst: &mut Vec<u8>, _common: &CommonCircuitData<F, D>) -> IoResult<()> {
        write_parameters(dst, &self.gate.parameters())?;
        dst.write_usize(self.row)?;
        dst.write_usize(self.operation)?;
        dst.write_usize(self.constants.len())?;
        dst.write_field_vec(&self.constants)
    }

    fn deserialize(src: &mut Buffer, _common: &CommonCircuitData<F, D>) -> IoResult<Self> {
        let gate = read_gate::<T>(src)?;
        let row = src.read_usize()?;
        let operation = src.read_usize()?;
        let constants_length = src.read_usize()?;
        if operation >= gate.operations() || constants_length != gate.constants() {
            return Err(plonky2::util::serialization::IoError);
        }
        let constants = src.read_field_vec(constants_length)?;
        Ok(Self { gate, row, operation, constants })
    }
}

fn write_parameters(dst: &mut Vec<u8>, parameters: &[usize]) -> IoResult<()> {
    dst.write_usize(parameters.len())?;
    parameters.iter().try_for_each(|&parameter| dst.write_usize(parameter))
}

fn read_gate<T: Constraints>(src: &mut Buffer) -> IoResult<T> {
    /// More parameters than any gate has.
    const PARAMETERS_MAX: usize = 4;
    let length = src.read_usize()?;
    if length > PARAMETERS_MAX {
        return Err(plonky2::util::serialization::IoError);
    }
    let parameters = (0..length).map(|_| src.read_usize()).collect::<IoResult<Vec<_>>>()?;
    T::from_parameters(&parameters).ok_or(plonky2::util::serialization::IoError)
}

/// Native base-field arithmetic, for filling rows with the same functions that constrain them.
pub(crate) fn native() -> impl Arithmetic<Value = F> {
    PackedArithmetic::<F>(PhantomData)
}

/// The inverse, or zero for zero.
pub(crate) fn inverse_or_zero(value: F) -> F {
    value.try_inverse().unwrap_or(F::ZERO)
}
