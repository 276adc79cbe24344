//! Every gate against plonky2's own evaluator, on random wires.

use ark_relations::gr1cs::ConstraintSystem;
use plonky2::field::types::{Field, Sample};
use plonky2::gates::gate::{Gate, GateRef};
use plonky2::hash::hash_types::HashOut;
use plonky2::hash::poseidon::PoseidonHash;
use plonky2::plonk::circuit_data::CircuitConfig;
use plonky2::plonk::config::Hasher;
use plonky2::plonk::vars::EvaluationVars;

use super::*;
use crate::goldilocks::{FE, residue_witness};
use plonky2::field::types::PrimeField64;

fn agrees(gate: impl Gate<F, 2>) {
    let reference = GateRef::new(gate);
    let known = KnownGate::recognise(&reference).expect("a known gate");
    let system = ConstraintSystem::new_ref();
    let mut circuit = Circuit::new(system.clone());
    let constants = FE::rand_vec(reference.0.num_constants());
    let wires = FE::rand_vec(reference.0.num_wires());
    let hash = HashOut::<F>::rand();
    let vars = EvaluationVars { local_constants: &constants, local_wires: &wires, public_inputs_hash: &hash };
    let expected = reference.0.eval_unfiltered(vars);

    let witnesses = |circuit: &mut Circuit, values: &[FE]| -> Vec<Ext> {
        values.iter().map(|value| Ext::witness(circuit, *value).expect("synthesis")).collect()
    };
    let constants = witnesses(&mut circuit, &constants);
    let wires = witnesses(&mut circuit, &wires);
    let hash =
        hash.elements.map(|element| residue_witness(&mut circuit, element.to_canonical_u64()).expect("synthesis"));
    let row = Row { constants: &constants, wires: &wires, public_inputs_hash: &hash };
    let parts = evaluate(&mut circuit, &known, &row).expect("synthesis");
    let mut got = vec![FE::ZERO; expected.len()];
    for part in parts {
        let factor = part.factor.map_or(FE::ONE, |factor| factor.value());
        assert!(part.values.len() <= got.len());
        for (sum, value) in got.iter_mut().zip(&part.values) {
            *sum += factor * value.value();
        }
    }
    assert_eq!(got, expected, "{}", reference.0.id());
    assert!(system.is_satisfied().expect("a witness exists"), "{}", reference.0.id());
}

#[test]
fn arithmetic_gates_equal_plonky2s() {
    let config = CircuitConfig::standard_recursion_config();
    agrees(ArithmeticGate::new_from_config(&config));
    agrees(ArithmeticExtensionGate::<2>::new_from_config(&config));
    agrees(MulExtensionGate::<2>::new_from_config(&config));
    agrees(ConstantGate::new(2));
    agrees(PublicInputGate);
    agrees(NoopGate);
}

#[test]
fn folding_gates_equal_plonky2s() {
    agrees(ReducingGate::<2>::new(43));
    agrees(ReducingExtensionGate::<2>::new(32));
}

#[test]
fn bit_gates_equal_plonky2s() {
    let config = CircuitConfig::standard_recursion_config();
    agrees(BaseSumGate::<2>::new(63));
    agrees(BaseSumGate::<4>::new(20));
    agrees(ExponentiationGate::<F, 2>::new_from_config(&config));
    for bits in 1..=5 {
        agrees(RandomAccessGate::<F, 2>::new_from_config(&config, bits));
    }
}

#[test]
fn interpolation_gates_equal_plonky2s() {
    for bits in 1..=4 {
        agrees(CosetInterpolationGate::<F, 2>::new(bits));
    }
    // What plonky2 uses within a degree bound of 8: the fields are public, the constructor is not.
    let mut bounded = CosetInterpolationGate::<F, 2>::new(4);
    bounded.degree = 6;
    agrees(bounded);
}

#[test]
fn poseidon_gates_equal_plonky2s() {
    agrees(PoseidonGate::<F, 2>::new());
    agrees(PoseidonMdsGate::<F, 2>::new());
}

#[test]
fn the_public_inputs_hash_equals_plonky2s() {
    for length in [0usize, 1, 8, 21] {
        let system = ConstraintSystem::new_ref();
        let mut circuit = Circuit::new(system.clone());
        let inputs = F::rand_vec(length);
        let elements: Vec<Integer> = inputs
            .iter()
            .map(|input| residue_witness(&mut circuit, input.to_canonical_u64()).expect("synthesis"))
            .collect();
        let hash = poseidon::hash_no_pad(&mut circuit, &elements).expect("synthesis");
        let expected = PoseidonHash::hash_no_pad(&inputs).elements;
        let got = hash.map(|element| Ext::from_base(element).value());
        assert_eq!(got, expected.map(FE::from), "{length} elements");
        assert!(system.is_satisfied().expect("a witness exists"));
    }
}

#[test]
fn an_unknown_gate_is_named() {
    let gate = GateRef::<F, 2>::new(BaseSumGate::<3>::new(5));
    match KnownGate::recognise(&gate) {
        Err(WrapError::UnknownGate { gate }) => assert!(gate.contains("BaseSumGate")),
        other => panic!("expected an unknown gate, got {other:?}"),
    }
}
