//! The circuit accepts what Plonky3 accepts and refuses what it refuses, field by field.

use std::collections::BTreeMap;

use p3_field::PrimeCharacteristicRing as _;
use plonky2::field::types::Field as _;
use plonky2::iop::generator::generate_partial_witness;
use plonky2::iop::target::Target;
use plonky2::iop::witness::{PartialWitness, Witness, WitnessWrite};
use plonky2::plonk::circuit_builder::CircuitBuilder;
use plonky2::plonk::circuit_data::{CircuitConfig, CircuitData};
use plonky2::plonk::config::PoseidonGoldilocksConfig;

use crate::field::{Challenge, D, F, Val, limbs, to_plonky2};
use crate::parameters::StarkParameters;
use crate::proof::{Field, TableProof};
use crate::shape::{Shape, ShapeError};
use crate::testing::{TestProof, TestSystem, TestTable, small_parameters};
use crate::verifier::{ChallengeTargets, verify};

type C = PoseidonGoldilocksConfig;

struct Verifier {
    data: CircuitData<F, C, D>,
    proof: TableProof<Target>,
    challenges: ChallengeTargets,
}

impl Verifier {
    fn new(shape: &Shape) -> Self {
        let mut builder = CircuitBuilder::<F, D>::new(CircuitConfig::standard_recursion_config());
        let (proof, challenges) = verify(&mut builder, shape);
        builder.register_public_inputs(&proof.public_values.concat());
        Self { data: builder.build(), proof, challenges }
    }

    fn witness(&self, elements: &[Val]) -> PartialWitness<F> {
        let mut witness = PartialWitness::new();
        for (target, &value) in self.proof.elements().into_iter().zip(elements) {
            witness.set_target(target, to_plonky2(value)).unwrap();
        }
        witness
    }

    /// Whether a full assignment exists that satisfies every gate and every copy: what a proof would attest.
    fn accepts(&self, elements: &[Val]) -> bool {
        let witness = self.witness(elements);
        let Ok(assignment) = generate_partial_witness::<F, C, D>(witness, &self.data.prover_only, &self.data.common)
        else {
            return false;
        };
        // Copies are kept by the generators, which report any conflict; gates are checked here, row by row.
        crate::satisfaction::is_satisfied(&self.data, assignment)
    }
}

fn flat(test: &TestProof) -> Vec<Val> {
    test.restored.elements()
}

const FIRST: [u32; 8] = [1, 20, 300, 4000, 5, 6, 7, 8];

#[test]
fn elements_and_build_have_one_order() {
    let system = TestSystem::new(small_parameters(), 6, 5);
    let mut count = 0;
    let proof = TableProof::build(&system.shape, |_| {
        count += 1;
        count
    });
    assert_eq!(proof.elements(), (1..=count).collect::<Vec<_>>());
}

#[test]
fn an_honest_proof_is_accepted_and_every_challenge_is_plonky3s() {
    for (log_steps, log_wide) in [(11, 6), (5, 7)] {
        let system = TestSystem::new(small_parameters(), log_steps, log_wide);
        let test = system.prove(77, FIRST);
        let verifier = Verifier::new(&system.shape);
        let assignment = generate_partial_witness::<F, C, D>(
            verifier.witness(&flat(&test)),
            &verifier.data.prover_only,
            &verifier.data.common,
        )
        .unwrap();

        let expected = &test.challenges;
        let cubic = |targets: crate::cubic::CubicTarget| targets.0.map(|limb| assignment.get_target(limb));
        let same = |got: crate::cubic::CubicTarget, want: Challenge| {
            assert_eq!(cubic(got), limbs(want).map(to_plonky2));
        };
        let got = &verifier.challenges;
        same(got.lookup_alpha.unwrap(), expected.lookup_alpha.unwrap());
        same(got.lookup_beta.unwrap(), expected.lookup_beta.unwrap());
        same(got.constraint, expected.constraint);
        same(got.zeta, expected.zeta);
        same(got.batch, expected.batch);
        assert_eq!(got.folding.len(), expected.folding.len());
        for (&got, &want) in got.folding.iter().zip(&expected.folding) {
            same(got, want);
        }
        for (bits, &want) in got.indices.iter().zip(&expected.indices) {
            for (i, bit) in bits.iter().enumerate() {
                assert_eq!(assignment.get_target(bit.target), F::from_canonical_usize(want >> i & 1));
            }
        }

        let proof = verifier.data.prove(verifier.witness(&flat(&test))).unwrap();
        verifier.data.verify(proof).unwrap();
    }
}

#[test]
fn a_table_alone_without_lookups_or_preprocessing_has_a_circuit() {
    // Nothing optional: no preprocessed columns, no buses, no grinding but the query's.
    let parameters = StarkParameters {
        lookup_grinding_bits: 0,
        out_of_domain_grinding_bits: 0,
        batch_grinding_bits: 0,
        commit_grinding_bits: 0,
        ..small_parameters()
    };
    let system = crate::testing::lonely(parameters, 6);
    let verifier = Verifier::new(&system.shape);
    let (elements, _) = crate::testing::prove_lonely(&system);
    assert!(verifier.accepts(&elements));
    let mut forged = elements;
    let last = forged.len() - 1;
    forged[last] += Val::ONE;
    assert!(!verifier.accepts(&forged));
}

#[test]
fn every_kind_of_field_is_checked() {
    let system = TestSystem::new(small_parameters(), 9, 5);
    let test = system.prove(77, FIRST);
    let verifier = Verifier::new(&system.shape);
    let honest = flat(&test);
    assert!(verifier.accepts(&honest));

    let mut fields = Vec::new();
    TableProof::build(&system.shape, |field| fields.push(field));
    let mut positions: BTreeMap<Field, Vec<usize>> = BTreeMap::new();
    for (position, &field) in fields.iter().enumerate() {
        positions.entry(field).or_default().push(position);
    }
    // Main, quotient, preprocessed and permutation openings and rows; every grinding site; everything else.
    assert_eq!(positions.len(), 5 + 1 + 4 + 5 + 2 + 8 + 2);
    for (field, positions) in positions {
        // The first, the last and one in the middle of each kind.
        for &position in [positions[0], positions[positions.len() / 2], positions[positions.len() - 1]].iter() {
            for change in [Val::ONE, Val::NEG_ONE, Val::from_u64(1 << 40)] {
                let mut forged = honest.clone();
                forged[position] += change;
                assert!(!verifier.accepts(&forged), "{field:?} at {position} may change by {change}");
            }
        }
    }
}

#[test]
fn a_proof_does_not_verify_for_another_statement_or_shape() {
    let system = TestSystem::new(small_parameters(), 9, 5);
    let verifier = Verifier::new(&system.shape);
    let one = system.prove(77, FIRST);
    let other = system.prove(78, FIRST);
    // The public values of one proof with the rest of another.
    let mut mixed = flat(&one);
    let statement: Vec<Val> = other.public_values.concat();
    mixed[..statement.len()].copy_from_slice(&statement);
    assert!(!verifier.accepts(&mixed));
}

#[test]
fn shapes_outside_the_limits_are_refused() {
    let tables = vec![TestTable::Steps, TestTable::Bytes];
    let with = |parameters: StarkParameters, log_heights: &[usize]| {
        let system = TestSystem::with_tables("test", small_parameters(), tables.clone(), vec![6, 8]);
        Shape::new("test", parameters, &tables, log_heights, system.common()).map(|_| ())
    };
    let parameters = small_parameters();
    assert_eq!(with(parameters, &[6, 8]), Ok(()));
    assert!(matches!(with(parameters, &[4, 8]), Err(ShapeError::TooShort { table: 0, .. })));
    assert!(matches!(with(parameters, &[31, 8]), Err(ShapeError::TooTall { table: 0, .. })));
    assert!(matches!(with(parameters, &[6]), Err(ShapeError::TableCount { .. })));
    assert!(matches!(with(parameters, &[6, 9]), Err(ShapeError::Preprocessed { table: 1, .. })));
    for wrong in [
        StarkParameters { log_arity_max: 4, ..parameters },
        StarkParameters { log_arity_max: 0, ..parameters },
        StarkParameters { queries: 0, ..parameters },
        StarkParameters { log_blowup: 0, ..parameters },
        StarkParameters { query_grinding_bits: 64, ..parameters },
        StarkParameters { cap_height: 7, ..parameters },
    ] {
        assert!(matches!(with(wrong, &[6, 8]), Err(ShapeError::Parameter { .. })));
    }
}
