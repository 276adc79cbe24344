//! The gadgets against plain arithmetic, at random and at the edges, and against a prover who changes a witness.

use ark_bn254::Fr;
use ark_ff::{One, PrimeField, Zero};
use ark_relations::gr1cs::predicate::polynomial_constraint::R1CS_PREDICATE_LABEL;
use ark_relations::gr1cs::{ConstraintSystem, ConstraintSystemRef};
use joule_recursion::bn254::{Bn254Digest, Bn254Poseidon};
use plonky2::field::types::{Field, Field64, PrimeField64, Sample};
use plonky2::hash::merkle_tree::MerkleTree;
use plonky2::iop::challenger::Challenger;
use plonky2::plonk::config::Hasher;
use proptest::prelude::*;

use crate::circuit::{Circuit, Integer, Linear, from_bits};
use crate::goldilocks::{
    Algebra, Ext, F, FE, canonical_low_bits, enforce_canonical, enforce_leading_zeros, enforce_zero, reduce,
    residue_witness,
};
use crate::hash::{Transcript, digest_digits, enforce_merkle_path, hash_leaf, two_to_one};

fn start() -> (ConstraintSystemRef<Fr>, Circuit) {
    let system = ConstraintSystem::new_ref();
    (system.clone(), Circuit::new(system))
}

fn is_satisfied(system: &ConstraintSystemRef<Fr>) -> bool {
    system.is_satisfied().expect("a witness exists")
}

fn integer(x: &Linear) -> u64 {
    let limbs = x.value().into_bigint().0;
    assert_eq!(limbs[1..], [0; 3]);
    limbs[0]
}

/// Changes each witness variable alone; the constraints have to notice.
fn every_witness_matters(system: &ConstraintSystemRef<Fr>) {
    assert!(is_satisfied(system));
    // The system keeps the values of linear combinations, so changed values are checked against the matrices.
    system.finalize();
    let matrices = system.to_matrices().expect("matrices are kept").remove(R1CS_PREDICATE_LABEL).expect("R1CS");
    let mut values = system.instance_assignment().expect("a witness exists");
    values.extend(system.witness_assignment().expect("a witness exists"));
    let holds = |values: &[Fr]| {
        let evaluate = |row: &[(Fr, usize)]| row.iter().map(|(factor, index)| values[*index] * factor).sum::<Fr>();
        let mut rows = matrices[0].iter().zip(&matrices[1]).zip(&matrices[2]);
        rows.all(|((a, b), c)| evaluate(a) * evaluate(b) == evaluate(c))
    };
    assert!(holds(&values));
    for position in system.num_instance_variables()..values.len() {
        for change in [Fr::one(), -Fr::one(), Fr::from(F::ORDER)] {
            values[position] += change;
            assert!(!holds(&values), "variable {position} can be changed by {change}");
            values[position] -= change;
        }
    }
}

fn edges() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0),
        Just(1),
        Just(F::ORDER - 1),
        Just(F::ORDER),
        Just(F::ORDER + 1),
        Just(u64::MAX),
        Just(u64::MAX << 32),
        Just(u64::from(u32::MAX)),
        any::<u64>()
    ]
}

/// Any 64-bit representative of the coordinates.
fn ext(circuit: &mut Circuit, coordinates: (u64, u64)) -> (Ext, FE) {
    let low = residue_witness(circuit, coordinates.0).expect("synthesis");
    let high = residue_witness(circuit, coordinates.1).expect("synthesis");
    let value = [coordinates.0, coordinates.1].map(F::from_noncanonical_u64);
    use plonky2::field::extension::FieldExtension;
    (Ext([low, high]), FE::from_basefield_array(value))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn extension_arithmetic_equals_plonky2s(a in (edges(), edges()), b in (edges(), edges()), c in (edges(), edges()), base in edges()) {
        let (system, mut circuit) = start();
        let (a, a_value) = ext(&mut circuit, a);
        let (b, b_value) = ext(&mut circuit, b);
        let (c, c_value) = ext(&mut circuit, c);
        let factor = residue_witness(&mut circuit, base).unwrap();
        let factor_value = F::from_noncanonical_u64(base);
        // a·b·c − a, times a base element, minus b: wide, and of either sign.
        let product = a.multiply(&mut circuit, &b).unwrap().multiply(&mut circuit, &c).unwrap();
        let difference = product.sub(&a).multiply_base(&mut circuit, &factor).unwrap().sub(&b);
        let expected = (a_value * b_value * c_value - a_value) * FE::from(factor_value) - b_value;
        prop_assert_eq!(difference.value(), expected);
        let reduced = difference.reduce(&mut circuit).unwrap();
        prop_assert_eq!(reduced.value(), expected);
        prop_assert!(reduced.width() <= 64);
        reduced.sub(&difference).enforce_zero(&mut circuit).unwrap();
        prop_assert!(is_satisfied(&system));
        reduced.sub(&difference).add(&Ext::one()).enforce_zero(&mut circuit).unwrap();
        prop_assert!(!is_satisfied(&system));
    }

    #[test]
    fn algebra_multiplies_like_its_definition(values in proptest::collection::vec((edges(), edges()), 4)) {
        let (system, mut circuit) = start();
        let (elements, natives): (Vec<_>, Vec<_>) = values.into_iter().map(|value| ext(&mut circuit, value)).unzip();
        let left = Algebra([elements[0].clone(), elements[1].clone()]);
        let right = Algebra([elements[2].clone(), elements[3].clone()]);
        let product = left.multiply(&mut circuit, &right).unwrap();
        let seven = FE::from(F::from_canonical_u64(7));
        prop_assert_eq!(product.0[0].value(), natives[0] * natives[2] + seven * natives[1] * natives[3]);
        prop_assert_eq!(product.0[1].value(), natives[0] * natives[3] + natives[1] * natives[2]);
        prop_assert!(is_satisfied(&system));
    }

    #[test]
    fn canonical_bits_are_those_of_the_residue(value in edges(), zeros in 0usize..32) {
        let residue = F::from_noncanonical_u64(value).to_canonical_u64();
        let (system, mut circuit) = start();
        let number = circuit.witness(Fr::from(value)).unwrap();
        let bits = circuit.decompose(&number, 64).unwrap();
        let low = canonical_low_bits(&mut circuit, &bits, 20).unwrap();
        prop_assert_eq!(integer(&from_bits(&low)), residue & 0xfffff);
        prop_assert!(is_satisfied(&system));

        let (system, mut circuit) = start();
        let number = circuit.witness(Fr::from(value)).unwrap();
        let bits = circuit.decompose(&number, 64).unwrap();
        enforce_leading_zeros(&mut circuit, &bits, zeros).unwrap();
        prop_assert_eq!(is_satisfied(&system), residue.leading_zeros() as usize >= zeros);

        let (system, mut circuit) = start();
        let number = circuit.witness(Fr::from(value)).unwrap();
        let bits = circuit.decompose(&number, 64).unwrap();
        enforce_canonical(&mut circuit, &bits).unwrap();
        prop_assert_eq!(is_satisfied(&system), value < F::ORDER);
    }
}

#[test]
fn hashes_equal_those_outside_the_circuit() {
    for length in [1usize, 3, 4, 32, 33, 34, 86] {
        let elements = F::rand_vec(length);
        let (system, mut circuit) = start();
        let witnesses: Vec<Integer> = elements
            .iter()
            .map(|element| residue_witness(&mut circuit, element.to_canonical_u64()).expect("synthesis"))
            .collect();
        let digest = hash_leaf(&mut circuit, &witnesses).expect("synthesis");
        let expected = Bn254Poseidon::hash_no_pad(&elements);
        assert_eq!(digest.value(), expected.0, "{length} elements");
        let node = two_to_one(&mut circuit, &digest, &Linear::constant(Fr::from(5u8))).expect("synthesis");
        assert_eq!(node.value(), Bn254Poseidon::two_to_one(expected, Bn254Digest(Fr::from(5u8))).0);
        assert!(is_satisfied(&system));
    }
}

#[test]
fn challenges_equal_plonky2s() {
    let (system, mut circuit) = start();
    let mut native = Challenger::<F, Bn254Poseidon>::new();
    let mut transcript = Transcript::new();
    // Observations and challenges interleaved, past a block's end and past a squeeze's.
    for (observed, drawn) in [(0usize, 2usize), (1, 1), (33, 0), (0, 3), (34, 1), (66, 2), (5, 35), (0, 1)] {
        for element in F::rand_vec(observed) {
            native.observe_element(element);
            let witness = residue_witness(&mut circuit, element.to_canonical_u64()).expect("synthesis");
            transcript.observe(&mut circuit, &witness).expect("synthesis");
        }
        for _ in 0..drawn {
            let challenge = transcript.challenge(&mut circuit).expect("synthesis");
            assert_eq!(integer(challenge.residue.linear()) % F::ORDER, native.get_challenge().to_canonical_u64());
        }
        let digest = Bn254Poseidon::hash_no_pad(&[F::from_canonical_usize(observed)]);
        native.observe_hash::<Bn254Poseidon>(digest);
        let witness = circuit.witness(digest.0).expect("synthesis");
        transcript.observe_digest(&mut circuit, &witness).expect("synthesis");
        let expected = native.get_challenge();
        let got = transcript.base_challenge(&mut circuit).expect("synthesis");
        assert_eq!(integer(got.linear()) % F::ORDER, expected.to_canonical_u64());
    }
    assert!(is_satisfied(&system));
}

#[test]
fn merkle_paths_hold_for_their_leaf_and_index_alone() {
    let leaves: Vec<Vec<F>> = (0..16).map(|_| F::rand_vec(5)).collect();
    let tree = MerkleTree::<F, Bn254Poseidon>::new(leaves.clone(), 1);
    let accepted = |index: usize, claimed: usize, leaf: &[F]| {
        let (system, mut circuit) = start();
        let bits: Vec<Linear> =
            (0..4).map(|bit| circuit.boolean(claimed >> bit & 1 == 1).expect("synthesis")).collect();
        let leaf: Vec<Integer> = leaf
            .iter()
            .map(|element| residue_witness(&mut circuit, element.to_canonical_u64()).expect("synthesis"))
            .collect();
        let siblings: Vec<Linear> =
            tree.prove(index).siblings.iter().map(|digest| circuit.witness(digest.0).expect("synthesis")).collect();
        let cap: Vec<Linear> = tree.cap.0.iter().map(|digest| Linear::constant(digest.0)).collect();
        let flags = circuit.one_hot(&bits[3..]).expect("synthesis");
        let digest = hash_leaf(&mut circuit, &leaf).expect("synthesis");
        enforce_merkle_path(&mut circuit, digest, &bits, &siblings, &cap, &flags).expect("synthesis");
        is_satisfied(&system)
    };
    for index in 0..16 {
        assert!(accepted(index, index, &leaves[index]));
        assert!(!accepted(index, index ^ 1, &leaves[index]));
        assert!(!accepted(index, index ^ 8, &leaves[index]));
        assert!(!accepted(index, index, &leaves[index ^ 1]));
    }
}

#[test]
fn no_witness_of_a_reduction_is_free() {
    let (system, mut circuit) = start();
    let a = Integer::constant(u64::MAX - 5);
    let variable = circuit.witness(Fr::from(12_345_678_901u64)).expect("synthesis");
    // Pin the argument, so that what is left to choose is the reduction's own.
    circuit.enforce_equal(&variable, &Linear::constant(Fr::from(12_345_678_901u64))).expect("synthesis");
    let b = crate::goldilocks::below_power(variable, 64);
    let product = circuit.multiply_integers(&b, &b).expect("synthesis");
    let wide = product.sub(&a);
    reduce(&mut circuit, &wide).expect("synthesis");
    let multiple = b.scale(3).sub(&b).sub(&b.scale(2));
    enforce_zero(&mut circuit, &multiple).expect("synthesis");
    every_witness_matters(&system);
}

#[test]
fn no_witness_of_digits_selectors_and_flags_is_free() {
    let (system, mut circuit) = start();
    let digest = Linear::constant(Fr::from(3u8)).add(&circuit.boolean(true).expect("synthesis"));
    // A digest of a single variable: the boolean above is pinned by what follows.
    circuit.enforce_equal(&digest, &Linear::constant(Fr::from(4u8))).expect("synthesis");
    digest_digits(&mut circuit, &digest).expect("synthesis");
    let bits: Vec<Linear> = digest_bits(&mut circuit, &digest);
    let flags = circuit.one_hot(&bits).expect("synthesis");
    let entries: Vec<Linear> = (0..8).map(|entry| Linear::constant(Fr::from(entry * entry))).collect();
    let entry = circuit.look_up(&flags, &entries).expect("synthesis");
    assert_eq!(entry.value(), Fr::from(16u8));
    let zero = circuit.is_zero(&entry).expect("synthesis");
    assert!(zero.value().is_zero());
    every_witness_matters(&system);
}

fn digest_bits(circuit: &mut Circuit, digest: &Linear) -> Vec<Linear> {
    circuit.decompose_to_variables(digest, 3).expect("synthesis")
}
