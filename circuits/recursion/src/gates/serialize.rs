//! Reading and writing circuits that use our gates.

use plonky2::gadgets::arithmetic::EqualityGenerator;
use plonky2::gadgets::arithmetic_extension::QuotientGeneratorExtension;
use plonky2::gadgets::range_check::LowHighGenerator;
use plonky2::gadgets::split_base::BaseSumGenerator;
use plonky2::gadgets::split_join::{SplitGenerator, WireSplitGenerator};
use plonky2::gates::arithmetic_base::{ArithmeticBaseGenerator, ArithmeticGate};
use plonky2::gates::arithmetic_extension::{ArithmeticExtensionGate, ArithmeticExtensionGenerator};
use plonky2::gates::base_sum::{BaseSplitGenerator, BaseSumGate};
use plonky2::gates::constant::ConstantGate;
use plonky2::gates::coset_interpolation::{CosetInterpolationGate, InterpolationGenerator};
use plonky2::gates::exponentiation::{ExponentiationGate, ExponentiationGenerator};
use plonky2::gates::multiplication_extension::{MulExtensionGate, MulExtensionGenerator};
use plonky2::gates::noop::NoopGate;
use plonky2::gates::poseidon::{PoseidonGate, PoseidonGenerator};
use plonky2::gates::poseidon_mds::{PoseidonMdsGate, PoseidonMdsGenerator};
use plonky2::gates::public_input::PublicInputGate;
use plonky2::gates::random_access::{RandomAccessGate, RandomAccessGenerator};
use plonky2::gates::reducing::{ReducingGate, ReducingGenerator};
use plonky2::gates::reducing_extension::{ReducingExtensionGate, ReducingGenerator as ReducingExtensionGenerator};
use plonky2::iop::generator::{ConstantGenerator, CopyGenerator, NonzeroTestGenerator, RandomValueGenerator};
use plonky2::util::serialization::gate_serialization::log;
use plonky2::util::serialization::{GateSerializer as GateSerializerTrait, WitnessGeneratorSerializer};
use plonky2::{
    get_gate_tag_impl, get_generator_tag_impl, impl_gate_serializer, impl_generator_serializer, read_gate_impl,
    read_generator_impl,
};

use super::{CanonicalBits, CubicArithmetic, CubicReduce, CustomGate, FriFold, Generator, Poseidon2Permutation};
use crate::cubic::CubicQuotient;
use crate::field::{D, F};

/// Knows plonky2's gates and ours. The order of the list is part of the format of cached circuits.
#[derive(Clone, Copy, Debug, Default)]
pub struct GateSerializer;

impl GateSerializerTrait<F, D> for GateSerializer {
    impl_gate_serializer! {
        GateSerializer,
        ArithmeticGate,
        ArithmeticExtensionGate<D>,
        BaseSumGate<2>,
        ConstantGate,
        CosetInterpolationGate<F, D>,
        ExponentiationGate<F, D>,
        MulExtensionGate<D>,
        NoopGate,
        PoseidonMdsGate<F, D>,
        PoseidonGate<F, D>,
        PublicInputGate,
        RandomAccessGate<F, D>,
        ReducingExtensionGate<D>,
        ReducingGate<D>,
        CustomGate<Poseidon2Permutation>,
        CustomGate<CubicArithmetic>,
        CustomGate<CubicReduce>,
        CustomGate<FriFold>,
        CustomGate<CanonicalBits>
    }
}

/// Knows plonky2's witness generators and ours. The order of the list is part of the format of cached circuits.
#[derive(Clone, Copy, Debug, Default)]
pub struct GeneratorSerializer;

impl WitnessGeneratorSerializer<F, D> for GeneratorSerializer {
    impl_generator_serializer! {
        GeneratorSerializer,
        ArithmeticBaseGenerator<F, D>,
        ArithmeticExtensionGenerator<F, D>,
        BaseSplitGenerator<2>,
        BaseSumGenerator<2>,
        ConstantGenerator<F>,
        CopyGenerator,
        EqualityGenerator,
        ExponentiationGenerator<F, D>,
        InterpolationGenerator<F, D>,
        LowHighGenerator,
        MulExtensionGenerator<F, D>,
        NonzeroTestGenerator,
        PoseidonGenerator<F, D>,
        PoseidonMdsGenerator<D>,
        QuotientGeneratorExtension<D>,
        RandomAccessGenerator<F, D>,
        RandomValueGenerator,
        ReducingGenerator<D>,
        ReducingExtensionGenerator<D>,
        SplitGenerator,
        WireSplitGenerator,
        Generator<Poseidon2Permutation>,
        Generator<CubicArithmetic>,
        Generator<CubicReduce>,
        Generator<FriFold>,
        Generator<CanonicalBits>,
        CubicQuotient
    }
}
