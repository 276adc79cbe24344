//! The whole verifier on a tiny inner circuit: the honest proof is accepted, every mutated field is refused.

use std::sync::LazyLock;

use ark_bn254::Fr;
use ark_ff::One;
use ark_relations::gr1cs::{ConstraintSynthesizer, ConstraintSystem};
use joule_protocol::{Digest, Hash, PublicValues};
use joule_recursion::bn254::Bn254PoseidonConfig;
use plonky2::field::types::{Field, Field64};
use plonky2::fri::reduction_strategies::FriReductionStrategy;
use plonky2::hash::poseidon::PoseidonHash;
use plonky2::iop::witness::{PartialWitness, WitnessWrite};
use plonky2::plonk::circuit_builder::CircuitBuilder;
use plonky2::plonk::circuit_data::{CircuitConfig, CircuitData};

use crate::goldilocks::{F, FE};
use crate::statement::public_input;
use crate::values::ProofValues;
use crate::{InnerProof, VERSION, WrapCircuit, WrapError};

/// Few queries and a little of everything: two folding steps, two challenges, a cap, grinding.
fn tiny_config() -> CircuitConfig {
    let mut config = CircuitConfig::standard_recursion_config();
    config.security_bits = 1;
    config.num_challenges = 2;
    config.fri_config.num_query_rounds = 1;
    config.fri_config.proof_of_work_bits = 3;
    config.fri_config.cap_height = 1;
    config.fri_config.reduction_strategy = FriReductionStrategy::ConstantArityBits(2, 2);
    config
}

type Data = CircuitData<F, Bn254PoseidonConfig, 2>;

/// A circuit that passes its public inputs on and computes a little beside them.
fn tiny_circuit(config: CircuitConfig, inputs: &[u64]) -> (Data, InnerProof) {
    let mut builder = CircuitBuilder::<F, 2>::new(config);
    let targets = builder.add_virtual_targets(inputs.len());
    builder.register_public_inputs(&targets);
    let mut digest = builder.hash_n_to_hash_no_pad::<PoseidonHash>(targets.clone());
    for _ in 0..40 {
        digest = builder.hash_n_to_hash_no_pad::<PoseidonHash>(digest.elements.to_vec());
    }
    let low = builder.low_bits(digest.elements[0], 4, 64);
    let index = builder.le_sum(low.iter());
    builder.random_access(index, targets[..16].to_vec());
    let data = builder.build::<Bn254PoseidonConfig>();
    let mut witness = PartialWitness::new();
    for (target, input) in targets.into_iter().zip(inputs) {
        witness.set_target(target, F::from_noncanonical_u64(*input)).expect("each target is set once");
    }
    let proof = data.prove(witness).expect("the statement is true");
    (data, proof)
}

fn tiny_values() -> PublicValues {
    PublicValues {
        program: Digest::new([F::ORDER - 1, 0, 1, 0x0123_4567_89ab_cdef]).expect("canonical"),
        chain_id: 7_001,
        from: Hash(std::array::from_fn(|byte| byte as u8 ^ 0xa5)),
        to: Hash([0xff; 32]),
    }
}

struct Tiny {
    wrap: WrapCircuit,
    proof: InnerProof,
}

static TINY: LazyLock<Tiny> = LazyLock::new(|| {
    let (data, proof) = tiny_circuit(tiny_config(), &tiny_values().elements());
    let wrap = WrapCircuit::new(data.common, data.verifier_only).expect("known gates");
    Tiny { wrap, proof }
});

#[test]
fn an_honest_proof_satisfies_the_constraints() {
    let assignment = TINY.wrap.assignment(&TINY.proof).expect("the proof has the circuit's shape");
    assert_eq!(assignment.violated_parts().expect("synthesis"), Vec::<&str>::new());
    let system = ConstraintSystem::new_ref();
    assignment.generate_constraints(system.clone()).expect("synthesis");
    assert!(system.is_satisfied().expect("a witness exists"));

    let values = TINY.wrap.check(&TINY.proof).expect("plonky2 accepts");
    assert_eq!(values, tiny_values());
    assert_eq!(system.instance_assignment().expect("a witness exists"), [Fr::one(), public_input(&values)]);
    let report = TINY.wrap.report();
    assert_eq!(report.constraints, system.num_constraints(), "a blank system has the same constraints");
    assert_eq!(report.variables, system.num_witness_variables());
}

/// Changes exactly when a change of code changes the constraints. Then raise [`VERSION`], by which the generated Solidity verifier is known to
/// be stale, and set the new value here.
#[test]
fn constraints_are_pinned() {
    assert_eq!((VERSION, TINY.wrap.digest_hex().as_str()), (1, PINNED));
}

const PINNED: &str = "92e903bf8d9df761a4e04432577ef9f680661b769ba7e6dd20a84b07081272ff";

#[test]
fn other_shapes_satisfy_the_constraints() {
    // No folding at all, a binary fold after a wide one, one challenge and three, caps from nothing to four.
    let shapes: [(usize, usize, FriReductionStrategy); 3] = [
        (1, 0, FriReductionStrategy::Fixed(vec![])),
        (3, 2, FriReductionStrategy::Fixed(vec![4, 1])),
        (1, 4, FriReductionStrategy::Fixed(vec![3])),
    ];
    for (challenges, cap_height, strategy) in shapes {
        let mut config = tiny_config();
        config.num_challenges = challenges;
        config.fri_config.cap_height = cap_height;
        config.fri_config.reduction_strategy = strategy;
        let (data, proof) = tiny_circuit(config, &tiny_values().elements());
        let wrap = WrapCircuit::new(data.common, data.verifier_only).expect("known gates");
        let assignment = wrap.assignment(&proof).expect("the proof has the circuit's shape");
        assert_eq!(assignment.violated_parts().expect("synthesis"), Vec::<&str>::new(), "{challenges} challenges");
    }
}

/// Applies a mutation and returns the parts that notice.
fn notice(mutate: impl FnOnce(&mut ProofValues)) -> Vec<&'static str> {
    let mut assignment = TINY.wrap.assignment(&TINY.proof).expect("the proof has the circuit's shape");
    mutate(&mut assignment.values);
    assignment.violated_parts().expect("synthesis")
}

type Mutation = (&'static str, fn(&mut ProofValues), &'static str);

/// Each field of a proof, a change of it, and the part that has to notice (others may, too: a changed message changes all
/// later challenges).
const MUTATIONS: &[Mutation] = &[
    ("program", |v| v.public_inputs[3] += 1, "vanishing: quotient"),
    ("a word of hY", |v| v.public_inputs[20] -= 1, "vanishing: quotient"),
    ("hX and hY swapped", swap_hashes, "vanishing: quotient"),
    ("wires cap", |v| v.wires_cap[1] += Fr::one(), "vanishing: quotient"),
    ("products cap", |v| v.products_cap[0] += Fr::one(), "vanishing: quotient"),
    ("quotients cap", |v| v.quotients_cap[0] += Fr::one(), "vanishing: quotient"),
    ("opened constant", |v| v.constants[1] += FE::ONE, "vanishing: quotient"),
    ("opened sigma", |v| v.sigmas[79] += FE::ONE, "vanishing: quotient"),
    ("opened wire", |v| v.wires[134] += FE::ONE, "vanishing: quotient"),
    ("opened Z", |v| v.zs[1] += FE::ONE, "vanishing: quotient"),
    ("opened next Z", |v| v.zs_next[0] += FE::ONE, "vanishing: quotient"),
    ("opened product", |v| v.partial_products[9] += FE::ONE, "vanishing: quotient"),
    ("opened quotient", |v| v.quotients[15] += FE::ONE, "vanishing: quotient"),
    ("last wire's opening, which no gate reads twice", |v| v.wires[133] += FE::ONE, "query: combination"),
    ("folding cap", |v| v.fold_caps[0][0] += Fr::one(), "query: folding"),
    ("last folding cap", |v| v.fold_caps[1][1] += Fr::one(), "query: final polynomial"),
    ("final polynomial", |v| v.final_polynomial[3] += FE::ONE, "query: final polynomial"),
    ("constants leaf", |v| v.queries[0].initial[0].leaf[0] ^= 1, "query: Merkle paths"),
    ("sigmas leaf", |v| v.queries[0].initial[0].leaf[80] ^= 1, "query: combination"),
    ("wires leaf", |v| v.queries[0].initial[1].leaf[134] ^= 1, "query: Merkle paths"),
    ("products leaf", |v| v.queries[0].initial[2].leaf[1] ^= 1, "query: combination"),
    ("quotients leaf", |v| v.queries[0].initial[3].leaf[7] ^= 1, "query: Merkle paths"),
    ("lowest sibling", |v| v.queries[0].initial[1].siblings[0] += Fr::one(), "query: Merkle paths"),
    ("highest sibling", |v| *last(&mut v.queries[0].initial[3].siblings) += Fr::one(), "query: Merkle paths"),
    ("first coset", |v| v.queries[0].steps[0].leaf.iter_mut().for_each(|e| *e ^= 1), "query: combination"),
    ("one value of the first coset", |v| v.queries[0].steps[0].leaf[3] ^= 1, "query: folding"),
    ("second coset", |v| v.queries[0].steps[1].leaf.iter_mut().for_each(|e| *e ^= 1), "query: folding"),
    ("one value of the second coset", |v| v.queries[0].steps[1].leaf[6] ^= 1, "query: final polynomial"),
    ("coset's sibling", |v| v.queries[0].steps[0].siblings[1] += Fr::one(), "query: Merkle paths"),
];

fn last(list: &mut [Fr]) -> &mut Fr {
    list.last_mut().expect("the path is not empty")
}

fn swap_hashes(values: &mut ProofValues) {
    let (left, right) = values.public_inputs.split_at_mut(13);
    left[5..].swap_with_slice(right);
}

#[test]
fn every_mutated_field_is_refused() {
    for (field, mutate, part) in MUTATIONS {
        let parts = notice(*mutate);
        assert!(parts.contains(part), "{field}: noticed by {parts:?}, expected {part}");
    }
}

/// Another grinding witness leads to other queries, whose paths are not in the proof. In a circuit this small it leads to the same
/// ones once in some hundred tries, and is then as good a witness as the first.
#[test]
fn other_grinding_witnesses_are_refused() {
    let refused = |change: &u64| notice(|v| v.grinding_witness ^= change).contains(&"query: Merkle paths");
    assert!((1..=4).filter(refused).count() >= 2);
}

#[test]
fn unreduced_public_inputs_are_refused() {
    // The same residues in other representatives: the statement's bytes would differ, the inner proof would not.
    for index in [1usize, 2, 4] {
        let parts = notice(|values| values.public_inputs[index] += F::ORDER);
        assert!(parts.contains(&"statement"), "element {index}: noticed by {parts:?}");
    }
    let parts = notice(|values| values.public_inputs[5] += 1 << 32);
    assert!(parts.contains(&"statement"), "a wide word: noticed by {parts:?}");
}

#[test]
fn a_proof_of_another_shape_is_refused() {
    let mut proof = TINY.proof.clone();
    proof.proof.openings.wires.pop();
    assert!(matches!(
        TINY.wrap.assignment(&proof),
        Err(WrapError::ProofShape { field: "opened wires", expected: 135, got: 134 })
    ));
    let mut proof = TINY.proof.clone();
    proof.proof.opening_proof.query_round_proofs.clear();
    assert!(matches!(TINY.wrap.assignment(&proof), Err(WrapError::ProofShape { field: "queries", .. })));
}

#[test]
fn an_invalid_inner_proof_and_a_wide_word_are_named() {
    let mut proof = TINY.proof.clone();
    proof.public_inputs[4] += F::ONE;
    assert!(matches!(TINY.wrap.check(&proof), Err(WrapError::InnerProof { .. })));
    proof.public_inputs[7] = F::from_canonical_u64(1 << 32);
    assert!(matches!(TINY.wrap.check(&proof), Err(WrapError::PublicInputRange { index: 7, .. })));
}

#[test]
fn the_digest_tells_circuits_apart() {
    let again = WrapCircuit::new(TINY.wrap.common().clone(), TINY.wrap.verifier().clone()).expect("known gates");
    assert_eq!(again.digest(), TINY.wrap.digest());
    let mut verifier = TINY.wrap.verifier().clone();
    verifier.constants_sigmas_cap.0[0].0 += Fr::one();
    let other = WrapCircuit::new(TINY.wrap.common().clone(), verifier).expect("known gates");
    assert_ne!(other.digest(), TINY.wrap.digest());
}

#[test]
fn a_circuit_with_other_public_inputs_is_refused() {
    let (data, _) = tiny_circuit(tiny_config(), &[1; 20]);
    assert!(matches!(
        WrapCircuit::new(data.common, data.verifier_only),
        Err(WrapError::Parameter { parameter: "number of public inputs", got: 20, .. })
    ));
}

mod keys {
    use ark_relations::gr1cs::{ConstraintSystemRef, LinearCombination, SynthesisError, Variable};

    use super::*;
    use crate::groth16::{WrapProof, verify_input};
    use crate::keys::{KeyHeader, KeyOrigin, VerifyingKey, WrapKeys};
    use crate::solidity_verifier;
    use ark_bn254::Bn254;
    use ark_groth16::Groth16;
    use joule_recursion::profile::Profile;

    /// `x⁴ = y` for a public y.
    #[derive(Clone, Copy)]
    struct FourthPower(u64);

    impl ConstraintSynthesizer<Fr> for FourthPower {
        fn generate_constraints(self, system: ConstraintSystemRef<Fr>) -> Result<(), SynthesisError> {
            let x = Fr::from(self.0);
            let output = system.new_input_variable(|| Ok(x * x * x * x))?;
            let root = system.new_witness_variable(|| Ok(x))?;
            let square = system.new_witness_variable(|| Ok(x * x))?;
            let linear = |variable: Variable| LinearCombination(vec![(Fr::one(), variable)]);
            system.enforce_r1cs_constraint(|| linear(root), || linear(root), || linear(square))?;
            system.enforce_r1cs_constraint(|| linear(square), || linear(square), || linear(output))
        }
    }

    fn keys_and_proof() -> (WrapKeys, WrapProof) {
        let keys = WrapKeys::generate("00".repeat(32), FourthPower(0)).expect("a key");
        let proof = Groth16::<Bn254>::create_proof_with_reduction_no_zk(FourthPower(3), &keys.proving);
        let proof = WrapProof::encode(&proof.expect("a proof"));
        (keys, proof)
    }

    #[test]
    fn a_proof_verifies_for_its_input_alone() {
        let (keys, proof) = keys_and_proof();
        let key = keys.verifying_key();
        verify_input(&key, &proof, Fr::from(81u8)).expect("an honest proof");
        assert!(matches!(verify_input(&key, &proof, Fr::from(82u8)), Err(WrapError::InvalidProof)));
    }

    #[test]
    fn a_malformed_proof_is_refused() {
        let (keys, proof) = keys_and_proof();
        let key = keys.verifying_key();
        for word in 0..8 {
            let mut off = proof;
            off.words[word][31] ^= 1;
            assert!(verify_input(&key, &off, Fr::from(81u8)).is_err(), "word {word} changed");
            let mut unreduced = proof;
            unreduced.words[word] = [0xff; 32];
            assert!(matches!(
                verify_input(&key, &unreduced, Fr::from(81u8)),
                Err(WrapError::ProofEncoding { reason: "a coordinate is not reduced", .. })
            ));
        }
        let zeros = WrapProof { words: [[0; 32]; 8] };
        assert!(matches!(verify_input(&key, &zeros, Fr::from(81u8)), Err(WrapError::InvalidProof)));
    }

    #[test]
    fn keys_are_reproducible_and_survive_a_file() {
        let (keys, proof) = keys_and_proof();
        let (again, same_proof) = keys_and_proof();
        assert_eq!(keys.proving, again.proving);
        assert_eq!(proof, same_proof);
        let mut file = Vec::new();
        keys.write(&mut file).expect("writing to memory");
        let read = WrapKeys::read(file.as_slice()).expect("what was written");
        assert_eq!((read.header, read.proving), (keys.header, keys.proving));
    }

    #[test]
    fn damaged_key_files_are_refused() {
        let (mut keys, _) = keys_and_proof();
        let mut file = Vec::new();
        keys.write(&mut file).expect("writing to memory");
        let refused = |file: &[u8]| matches!(WrapKeys::read(file), Err(WrapError::KeyFile { .. }));
        for length in (0..file.len()).step_by(97) {
            assert!(refused(&file[..length]), "cut to {length} bytes");
        }
        for position in (0..file.len()).step_by(61) {
            let mut damaged = file.clone();
            damaged[position] ^= 0x10;
            assert!(refused(&damaged), "byte {position} damaged");
        }
        file.push(0);
        assert!(refused(&file), "a trailing byte");

        keys.header.origin = KeyOrigin::Ceremony { powers_of_tau: String::new(), contributions: Vec::new() };
        let mut file = Vec::new();
        keys.write(&mut file).expect("writing to memory");
        let unchecked = WrapKeys::read(file.as_slice());
        assert!(matches!(unchecked, Err(WrapError::UncheckedCeremony { contributions: 0 })), "nobody checked it");
        assert!(!KeyHeader::peek(file.as_slice()).expect("a header").is_development(), "but it can be looked at");
    }

    #[test]
    fn a_verifying_key_travels_alone() {
        let (mut keys, proof) = keys_and_proof();
        let key = keys.verifying_key();
        let bytes = key.to_bytes().expect("writing to memory");
        let read = VerifyingKey::from_bytes(&bytes).expect("what was written");
        assert_eq!(read.header, key.header);
        assert_eq!(read.digest().expect("bytes"), key.digest().expect("bytes"));
        verify_input(&read, &proof, Fr::from(81u8)).expect("an honest proof");
        for length in 0..bytes.len() {
            assert!(VerifyingKey::from_bytes(&bytes[..length]).is_err(), "cut to {length} bytes");
        }
        assert!(VerifyingKey::from_bytes(&[&bytes[..], &[0]].concat()).is_err(), "a trailing byte");
        // A changed byte is no key, or another one; in no case does anything panic or pass for the same.
        for position in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[position] ^= 1;
            let same =
                VerifyingKey::from_bytes(&changed).is_ok_and(|other| other.to_bytes().is_ok_and(|same| same == bytes));
            assert!(!same, "byte {position} changed");
        }
        keys.header.origin = KeyOrigin::Ceremony { powers_of_tau: String::new(), contributions: Vec::new() };
        let ceremony = keys.verifying_key().to_bytes().expect("writing to memory");
        assert!(matches!(VerifyingKey::from_bytes(&ceremony), Err(WrapError::UncheckedCeremony { .. })));
    }

    #[test]
    fn the_solidity_verifier_says_what_its_key_is() {
        let (keys, _) = keys_and_proof();
        let mut key = keys.verifying_key();
        let source = |key: &VerifyingKey, profile| solidity_verifier(key, profile, &[0xab; 32]).expect("one input");
        let development = source(&key, Profile::Proven);
        assert!(development.contains(&format!("@custom:description 0x{}", "ab".repeat(32))));
        assert!(development.contains("INSECURE DEVELOPMENT KEY"));
        assert!(development.contains("IS_DEVELOPMENT_KEY = true"));
        assert!(!development.contains("{constants}"));
        // Nobody's secret makes up for queries that were not asked.
        key.header.origin = KeyOrigin::Ceremony { powers_of_tau: String::new(), contributions: Vec::new() };
        assert!(source(&key, Profile::Fast).contains("IS_DEVELOPMENT_KEY = true"));
        assert!(source(&key, Profile::Fast).contains("INSECURE, FOR DEVELOPMENT"));
        let proven = source(&key, Profile::Proven);
        assert!(proven.contains("IS_DEVELOPMENT_KEY = false") && !proven.contains("INSECURE"));
    }
}
