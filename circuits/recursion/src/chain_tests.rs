//! Segments, merges and shrinks, end to end and with everything that must not be merged.

use std::sync::LazyLock;

use joule_protocol::{Digest, Hash, PublicValues};
use plonky2::field::types::Field as _;

use crate::aggregate::{Aggregation, Child, ChildKind};
use crate::cache::CacheError;
use crate::circuit::{Inner, Proof};
use crate::field::{F, to_plonky2};
use crate::fingerprint::Fingerprint;
use crate::profile::Profile;
use crate::program::Program;
use crate::segment::{SegmentCircuit, SegmentError};
use crate::shrink::Shrink;
use crate::statement::{from_elements, to_elements};
use crate::testing::{TestSystem, TestTable, small_parameters};

const CHAIN: u64 = 7;
const START: [u32; 8] = [1, 20, 300, 4000, 5, 6, 7, 8];

/// Two shapes with all circuits. Table proofs use test parameters; the plonky2 layers are those of the fast profile.
struct Chain {
    systems: [TestSystem; 2],
    program: Program,
    segments: Vec<SegmentCircuit>,
    aggregation: Aggregation,
    shrink: Shrink<Inner>,
}

static CHAIN_CIRCUITS: LazyLock<Chain> = LazyLock::new(|| {
    let systems =
        [TestSystem::named("small", small_parameters(), 5, 5), TestSystem::named("large", small_parameters(), 6, 5)];
    let program = program(&systems);
    let segments: Vec<_> = systems
        .iter()
        .enumerate()
        .map(|(index, system)| SegmentCircuit::build(Profile::Fast, &system.shape, index, systems.len()).unwrap())
        .collect();
    let keys: Vec<_> = segments.iter().map(|segment| segment.circuit.key()).collect();
    let aggregation = Aggregation::build(Profile::Fast, &keys).unwrap();
    let shrink = Shrink::build(Profile::Fast, &aggregation.merge.key());
    Chain { systems, program, segments, aggregation, shrink }
});

/// The first segment and its successor, both of shape 0, as several tests use them.
static FIRST: LazyLock<Proof<Inner>> = LazyLock::new(|| CHAIN_CIRCUITS.segment(0, CHAIN, START));
static FIRST_LIFTED: LazyLock<Child> = LazyLock::new(|| CHAIN_CIRCUITS.aggregation.lift(0, &FIRST).unwrap());
static NEXT_LIFTED: LazyLock<Child> =
    LazyLock::new(|| CHAIN_CIRCUITS.lifted(0, CHAIN, CHAIN_CIRCUITS.systems[0].last_state(START)));

fn program(systems: &[TestSystem]) -> Program {
    let cap = |system: &TestSystem| {
        system.common().preprocessed.as_ref().map(|global| global.commitment.roots().to_vec()).unwrap_or_default()
    };
    Program::new(systems.iter().map(cap).collect())
}

impl Chain {
    fn segment(&self, shape: usize, chain: u64, first: [u32; 8]) -> Proof<Inner> {
        let test = self.systems[shape].prove(chain, first);
        self.segments[shape].prove(&test.restored, &self.program).unwrap()
    }

    fn lifted(&self, shape: usize, chain: u64, first: [u32; 8]) -> Child {
        self.aggregation.lift(shape, &self.segment(shape, chain, first)).unwrap()
    }

    fn statement(&self, chain: u64, from: [u32; 8], to: [u32; 8]) -> PublicValues {
        let hash = |words: [u32; 8]| {
            let mut bytes = [0; 32];
            for (chunk, word) in bytes.chunks_exact_mut(4).zip(words) {
                chunk.copy_from_slice(&word.to_le_bytes());
            }
            Hash(bytes)
        };
        let elements = self.program.hash().map(|element| p3_field::PrimeField64::as_canonical_u64(&element));
        PublicValues { program: Digest::new(elements).unwrap(), chain_id: chain, from: hash(from), to: hash(to) }
    }
}

#[test]
fn a_batch_of_three_segments_shrinks_to_its_statement() {
    let chain = &*CHAIN_CIRCUITS;
    let second = chain.systems[0].last_state(START);
    let third = chain.systems[1].last_state(second);
    let end = chain.systems[0].last_state(third);

    let a = &*FIRST_LIFTED;
    let b = chain.lifted(1, CHAIN, second);
    let c = chain.lifted(0, CHAIN, third);
    let ab = chain.aggregation.merge(a, Some(&b)).unwrap();
    chain.aggregation.merge.verify(ab.proof.clone()).unwrap();
    assert_eq!(from_elements(&ab.proof.public_inputs), Ok(chain.statement(CHAIN, START, third)));
    // An odd segment has a path of its own, and merges of merges and of segments mix.
    let c = chain.aggregation.merge(&c, None).unwrap();
    let abc = chain.aggregation.merge(&ab, Some(&c)).unwrap();
    let proof = chain.shrink.prove(&abc).unwrap();
    chain.shrink.last.verify(proof.clone()).unwrap();
    let statement = chain.statement(CHAIN, START, end);
    assert_eq!(from_elements(&proof.public_inputs), Ok(statement));
    assert_eq!(proof.public_inputs, to_elements(&statement));

    // Nothing but the proved statement verifies.
    for index in 0..PublicValues::ELEMENTS {
        let mut forged = proof.clone();
        forged.public_inputs[index] += F::ONE;
        assert!(chain.shrink.last.verify(forged).is_err(), "public input {index} is free");
    }
}

#[test]
fn kept_circuits_prove_the_same_and_wrong_files_are_refused() {
    let chain = &*CHAIN_CIRCUITS;
    let keys: Vec<_> = chain.segments.iter().map(|segment| segment.circuit.key()).collect();
    let fingerprint = Fingerprint::aggregation(Profile::Fast, &keys);
    let bytes = chain.aggregation.to_bytes(fingerprint).unwrap();
    let kept = Aggregation::from_bytes(fingerprint, &bytes).unwrap();
    assert_eq!(kept.lifts.len(), chain.aggregation.lifts.len());
    assert_eq!(kept.merge_key_hash(), chain.aggregation.merge_key_hash());
    for (kept, built) in
        kept.lifts.iter().chain([&kept.merge]).zip(chain.aggregation.lifts.iter().chain([&chain.aggregation.merge]))
    {
        assert_eq!((&kept.data.verifier_only, &kept.data.common), (&built.data.verifier_only, &built.data.common));
        assert_eq!(kept.inputs, built.inputs);
    }
    let merged = kept.merge(&FIRST_LIFTED, Some(&NEXT_LIFTED)).unwrap();
    chain.aggregation.merge.verify(merged.proof.clone()).unwrap();

    let above = Fingerprint::shrink(Profile::Fast, &chain.aggregation.merge.key(), "poseidon");
    assert!(matches!(Aggregation::from_bytes(above, &bytes), Err(CacheError::Fingerprint { .. })));
    assert!(matches!(Aggregation::from_bytes(fingerprint, &bytes[..bytes.len() - 1]), Err(CacheError::Length { .. })));
    assert_eq!(Aggregation::from_bytes(fingerprint, &[]).unwrap_err(), CacheError::Magic);
    let mut damaged = bytes;
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    assert_eq!(Aggregation::from_bytes(fingerprint, &damaged).unwrap_err(), CacheError::Damaged);

    let bytes = chain.shrink.to_bytes(above).unwrap();
    let kept = Shrink::<Inner>::from_bytes(above, &bytes).unwrap();
    assert_eq!(kept.last.data.verifier_only, chain.shrink.last.data.verifier_only);
    let last = kept.prove(&merged).unwrap();
    chain.shrink.last.verify(last).unwrap();
    let refused = |bytes: &[u8]| Shrink::<Inner>::from_bytes(above, bytes).unwrap_err();
    assert_eq!(refused(&bytes[..7]), CacheError::Magic);
    assert!(matches!(refused(&bytes[..1_000]), CacheError::Length { .. }));
    assert!(matches!(refused(&bytes[..bytes.len() - 1]), CacheError::Length { .. }));
    // A length that would split the file elsewhere, and one that no file has.
    for length in [0, 1, u64::MAX] {
        let mut other = bytes.clone();
        other[..8].copy_from_slice(&length.to_le_bytes());
        refused(&other);
    }
}

#[test]
fn what_is_not_a_neighbour_does_not_merge() {
    let chain = &*CHAIN_CIRCUITS;
    let second = chain.systems[0].last_state(START);
    let (a, b) = (&*FIRST_LIFTED, &*NEXT_LIFTED);
    assert!(chain.aggregation.merge(a, Some(b)).is_ok());

    assert!(chain.aggregation.merge(b, Some(a)).is_err(), "swapped children");
    let mut later = second;
    later[7] += 1;
    let gap = chain.lifted(0, CHAIN, later);
    assert!(chain.aggregation.merge(a, Some(&gap)).is_err(), "a gap");
    let foreign = chain.lifted(0, CHAIN + 1, second);
    assert!(chain.aggregation.merge(a, Some(&foreign)).is_err(), "another chain");

    // A child passed off as another kind is verified with the wrong key.
    for kind in [ChildKind::Segment(1), ChildKind::Merge] {
        let disguised = Child { kind, ..a.clone() };
        assert!(chain.aggregation.merge(&disguised, Some(b)).is_err(), "disguised as {kind:?}");
    }
    assert!(chain.aggregation.merge(&Child { kind: ChildKind::Segment(2), ..a.clone() }, None).is_err());
    assert!(chain.aggregation.lift(2, &FIRST).is_err());
    // A segment of one shape is not lifted as another.
    assert!(chain.aggregation.lift(1, &FIRST).is_err());
    // A changed public input breaks the child's proof.
    let mut forged = a.clone();
    forged.proof.public_inputs[5] += F::ONE;
    assert!(chain.aggregation.merge(&forged, Some(b)).is_err());
    // Only a merge is shrunk, also when a segment claims to be one.
    assert!(chain.shrink.prove(a).is_err());
    assert!(chain.shrink.prove(&Child { kind: ChildKind::Merge, ..a.clone() }).is_err());
}

#[test]
fn another_program_does_not_merge_or_prove() {
    let chain = &*CHAIN_CIRCUITS;
    let test = chain.systems[0].prove(CHAIN, START);
    // The other shape's entry changes: another program, still consistent with this segment's own entry.
    let mut caps = vec![
        chain.systems[0].common().preprocessed.as_ref().unwrap().commitment.roots().to_vec(),
        chain.systems[1].common().preprocessed.as_ref().unwrap().commitment.roots().to_vec(),
    ];
    caps[1][0][0] += <crate::field::Val as p3_field::PrimeCharacteristicRing>::ONE;
    let other = Program::new(caps.clone());
    let segment = chain.segments[0].prove(&test.restored, &other).unwrap();
    assert_eq!(segment.public_inputs[..4], other.hash().map(to_plonky2));
    assert_ne!(other.hash(), chain.program.hash());
    let other = chain.aggregation.lift(0, &segment).unwrap();
    assert!(chain.aggregation.merge(&other, Some(&NEXT_LIFTED)).is_err());

    // The segment's own entry must be the commitment its proof was made with.
    caps[0][0][0] += <crate::field::Val as p3_field::PrimeCharacteristicRing>::ONE;
    assert!(chain.segments[0].prove(&test.restored, &Program::new(caps)).is_err());
    // A program with another number of shapes is another program.
    assert!(chain.segments[0].prove(&test.restored, &Program::new(Vec::new())).is_err());
}

#[test]
fn a_forged_merge_key_is_refused() {
    // A lift may name any merge, but a merge refuses children that name another than itself, and the shrink refuses
    // merges that are not the real one.
    let chain = &*CHAIN_CIRCUITS;
    let mut values = crate::circuit::proof_elements(&FIRST);
    let mut named = chain.aggregation.merge_key_hash();
    named[0] += F::ONE;
    values.extend(named);
    let proof = chain.aggregation.lifts[0].prove(&values).unwrap();
    chain.aggregation.lifts[0].verify(proof.clone()).unwrap();
    let child = Child { kind: ChildKind::Segment(0), proof };
    assert!(chain.aggregation.merge(&child, None).is_err());
}

#[test]
fn segments_without_one_statement_or_program_are_refused() {
    let parameters = small_parameters();
    let system = TestSystem::new(parameters, 5, 5);
    let build = |shape, index, shapes| SegmentCircuit::describe(Profile::Fast, shape, index, shapes).map(|_| ());
    assert!(matches!(build(&system.shape, 2, 2), Err(SegmentError::Index { index: 2, shapes: 2 })));
    let lonely = crate::testing::lonely(parameters, 6);
    assert!(matches!(build(&lonely.shape, 0, 1), Err(SegmentError::NoProgram { .. })));
    let twice = TestSystem::with_tables(
        "twice",
        parameters,
        vec![TestTable::Steps, TestTable::Steps, TestTable::Bytes],
        vec![5, 5, 8],
    );
    assert!(matches!(build(&twice.shape, 0, 1), Err(SegmentError::PublicValues { .. })));
}
