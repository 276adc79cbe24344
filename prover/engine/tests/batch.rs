//! A batch of three segments of a tiny program, through tables, segment circuits, merges and the shrink.
//!
//! The program commits the first eighteen words of its private input, so that a test chooses what each segment says.

use std::{path::Path, sync::Mutex, time::Duration};

use joule_machine::Image;
use joule_protocol::{Hash, PublicValues};
use joule_prover_engine::{
    ArtefactStore, CacheFolder, CircuitVerifier, Engine, EngineError, Progress, Prover as _, SegmentInput, Silent,
    Step, Task, TaskKind, Verifier as _, WireError, encode_input,
};
use joule_recursion::{aggregate::PUBLIC_INPUTS, profile::Profile};
use joule_tables::shape::Shape;

/// `lui a0, 0x20000; li a7, 1; ecall; li a0, 0; li a7, 0; ecall`
const COMMITS_ITS_INPUT: [u32; 6] = [0x2000_0537, 0x0010_0893, 0x0000_0073, 0x0000_0513, 0x0000_0893, 0x0000_0073];

fn segment(chain_id: u32, from: u8, to: u8) -> SegmentInput {
    let mut input = vec![chain_id, 0];
    input.extend(Hash([from; 32]).to_words());
    input.extend(Hash([to; 32]).to_words());
    SegmentInput { input, siblings: Vec::new() }
}

/// Counts what was made and what was found.
#[derive(Default)]
struct Counts(Mutex<(usize, usize)>);

impl Progress for Counts {
    fn begin(&self, _: &Step) {}

    fn end(&self, task: &Step, took: Option<Duration>) {
        let mut counts = self.0.lock().expect("no holder panicked");
        match took {
            Some(took) => {
                println!("{task}: {took:?}");
                counts.0 += 1;
            }
            None => counts.1 += 1,
        }
    }
}

/// Remembers what was begun.
#[derive(Default)]
struct Begun(Mutex<Vec<String>>);

impl Begun {
    /// What was begun since the last question.
    fn steps(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().expect("no holder panicked"))
    }
}

impl Progress for Begun {
    fn begin(&self, step: &Step) {
        self.0.lock().expect("no holder panicked").push(step.to_string());
    }

    fn end(&self, _: &Step, _: Option<Duration>) {}
}

#[test]
fn a_batch_is_merged_resumed_and_not_mixed_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = CacheFolder::new(&folder.path().join("circuits"));
    let image = Image::from_instructions(&COMMITS_ITS_INPUT).expect("a program");
    let engine = Engine::new(&image, &[Shape::Tiny], Profile::Fast, &cache, &Silent).expect("circuits");
    println!("{:?}", engine.circuit_sizes());

    let segments = [segment(9, 1, 2), segment(9, 2, 3), segment(9, 3, 4)];
    let batch = folder.path().join("batch");
    let store = ArtefactStore::open(&batch, engine.context(&segments)).expect("a folder");
    let counts = Counts::default();
    let merged = engine.merge_batch(&segments, &store, &counts).expect("the batch is proved");
    let expected = PublicValues { program: engine.program_hash(), chain_id: 9, from: Hash([1; 32]), to: Hash([4; 32]) };
    assert_eq!(Engine::statement_of(&merged).expect("a statement"), expected);
    // Three table proofs, three segments, two merges below and one above.
    assert_eq!(*counts.0.lock().unwrap(), (9, 0));
    let last = engine.shrink(&merged).expect("a merge shrinks");
    engine.decode_last(&last.to_bytes()).expect("its bytes are read back");

    // A second run finds everything: three segments, whose tables it needs no more, and three merges.
    let counts = Counts::default();
    engine.merge_batch(&segments, &store, &counts).expect("the batch is there");
    assert_eq!(*counts.0.lock().unwrap(), (0, 6));

    // What was killed before the last merges goes on from there.
    for name in ["merge-1-1", "merge-2-0"] {
        std::fs::remove_file(batch.join(format!("{name}.artefact"))).expect("it was kept");
    }
    let counts = Counts::default();
    engine.merge_batch(&segments, &store, &counts).expect("the batch is finished");
    assert_eq!(*counts.0.lock().unwrap(), (2, 4));

    // A true proof under another's name is a proof of something else.
    let bytes = store.load("segment-2").expect("readable").expect("there");
    store.save("segment-1", &bytes).expect("written");
    let mixed = engine.merge_batch(&segments, &store, &Counts::default());
    assert!(matches!(mixed, Err(EngineError::NotNeighbours { position: 1 })), "{mixed:?}");

    // Bytes that are no proof are refused, and nothing panics.
    for at in (0..bytes.len()).step_by(bytes.len() / 40) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        assert!(engine.decode_child(&damaged).is_err(), "byte {at} of a proof changed");
        assert!(engine.decode_child(&bytes[..at]).is_err(), "a proof cut to {at} bytes");
    }

    // The circuit itself refuses what are no neighbours.
    let child = |name| engine.decode_child(&store.load(name).expect("readable").expect("there")).expect("a proof");
    let (first, third) = (child("segment-0"), child("segment-2"));
    assert!(engine.merge(&first, Some(&third)).is_err(), "a gap");
    assert!(engine.merge(&third, Some(&first)).is_err(), "the wrong order");

    // A run without a statement has no proof.
    let silent = Image::from_instructions(&COMMITS_ITS_INPUT[3..]).expect("a program");
    let silent = Engine::new(&silent, &[Shape::Tiny], Profile::Fast, &cache, &Silent).expect("kept circuits");
    assert_ne!(silent.program_hash(), engine.program_hash(), "another program, the same circuits");
    assert!(matches!(
        silent.prove_tables(&segments[0]),
        Err(EngineError::NoStatement { exit_code: 0, has_committed: false })
    ));
    tasks_are_done_and_their_results_told_apart(&engine, &silent, &segments, &store);

    kept_circuits_are_the_same_and_read_when_needed(
        &engine,
        &image,
        &cache,
        &segments[..1],
        &folder.path().join("one"),
    );
}

fn kept_circuits_are_the_same_and_read_when_needed(
    built: &Engine,
    image: &Image,
    cache: &CacheFolder,
    segments: &[SegmentInput],
    folder: &Path,
) {
    let begun = Begun::default();
    let kept = Engine::new(image, &[Shape::Tiny], Profile::Fast, cache, &begun).expect("kept circuits");
    assert_eq!(kept.verifier().to_bytes().expect("a file"), built.verifier().to_bytes().expect("a file"));
    assert_eq!(kept.circuit_sizes().expect("kept circuits"), built.circuit_sizes().expect("kept circuits"));
    assert_eq!(begun.steps(), ["circuit-aggregation"]);

    let store = ArtefactStore::open(folder, kept.context(segments)).expect("a folder");
    let merged = kept.merge_batch(segments, &store, &begun).expect("the batch is proved");
    assert_eq!(begun.steps(), ["tables-0", "circuit-segment-tiny", "segment-0", "merge-1-0"]);
    built.decode_child(&kept.encode_child(&merged)).expect("a proof by the same circuits");
    kept.load_segment(Shape::Tiny, &begun).expect("it is there");
    assert!(begun.steps().is_empty(), "read once");
    assert!(matches!(kept.load_segment(Shape::Small, &begun), Err(EngineError::Verify(_))), "no shape of this engine");
}

/// The same engine as a prover for others, and what a coordinator without circuits makes of its results.
fn tasks_are_done_and_their_results_told_apart(
    engine: &Engine,
    other: &Engine,
    segments: &[SegmentInput],
    store: &ArtefactStore,
) {
    // What a coordinator keeps comes from a file.
    let bytes = engine.verifier().to_bytes().expect("a file");
    println!("a verifier file has {} bytes", bytes.len());
    let verifier = CircuitVerifier::from_bytes(&bytes).expect("what was written");
    assert_eq!((verifier.circuits(), verifier.program()), (engine.circuits(), engine.program_hash()));
    for at in (0..bytes.len()).step_by(bytes.len() / 60) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        assert!(CircuitVerifier::from_bytes(&damaged).is_err(), "byte {at} changed");
        assert!(CircuitVerifier::from_bytes(&bytes[..at]).is_err(), "cut to {at} bytes");
    }

    let prove = |task: Task<'_>| engine.prove(task);
    // What a step kept is the result of a task too.
    let first = store.load("segment-0").expect("readable").expect("there");
    let second = prove(Task::Segment { input: &encode_input(&segments[1]) }).expect("a segment");
    let said = verifier.verify_segment(&first).expect("a true result");
    assert_eq!((said.from, said.to), (Hash([1; 32]), Hash([2; 32])));
    let merged = prove(Task::Merge { left: &first, right: Some(&second) }).expect("neighbours");
    let said = verifier.verify(TaskKind::Merge, &merged).expect("a true result");
    assert_eq!((said.from, said.to), (Hash([1; 32]), Hash([3; 32])));
    let passed_on = prove(Task::Merge { left: &second, right: None }).expect("one alone");
    assert_eq!(verifier.verify_merge(&passed_on).expect("a true result").from, Hash([2; 32]));

    // The wrong kind, another program's, or in the wrong order.
    assert!(matches!(verifier.verify_merge(&first), Err(WireError::Kind { expected: TaskKind::Merge, .. })));
    assert!(matches!(verifier.verify_segment(&merged), Err(WireError::Kind { expected: TaskKind::Segment, .. })));
    assert!(matches!(verifier.verify_wrap(&merged), Err(WireError::NoWrapKey)));
    assert_eq!(other.circuits(), engine.circuits());
    assert!(matches!(other.verifier().verify_segment(&first), Err(WireError::Program { .. })));
    let refused = prove(Task::Merge { left: &second, right: Some(&first) });
    assert!(refused.is_err_and(|error| error.is_input()), "the wrong order");
    let refused = prove(Task::Wrap { merged: &first });
    assert!(refused.is_err_and(|error| error.is_input()), "no merge");
    let refused = prove(Task::Wrap { merged: &merged });
    assert!(refused.is_err_and(|error| !error.is_input()), "this machine has no keys");
    let refused = other.prove(Task::Segment { input: &encode_input(&segments[0]) });
    assert!(refused.is_err_and(|error| error.is_input()), "a run that makes no statement");
    let refused = prove(Task::Segment { input: &encode_input(&segments[0])[..40] });
    assert!(refused.is_err_and(|error| error.is_input()), "an input that is cut off");

    // Every byte of a result counts: changed, cut, or with something behind it, it is none.
    for at in (0..merged.len()).step_by(merged.len() / 100) {
        let mut changed = merged.clone();
        changed[at] ^= 0x80;
        assert!(verifier.verify_merge(&changed).is_err(), "byte {at} changed");
        assert!(verifier.verify_merge(&merged[..at]).is_err(), "cut to {at} bytes");
    }
    assert!(verifier.verify_merge(&[&merged[..], &[0]].concat()).is_err(), "a byte more");
    // The same proof with one number written as itself plus the field's prime.
    let at = merged.len() - (PUBLIC_INPUTS - 4) * 8;
    let number = u64::from_le_bytes(merged[at..at + 8].try_into().expect("eight bytes"));
    assert_eq!(number, 9, "the chain id");
    let mut twin = merged.clone();
    twin[at..at + 8].copy_from_slice(&(number + joule_protocol::GOLDILOCKS).to_le_bytes());
    assert_eq!(verifier.verify_merge(&twin), Err(WireError::NotCanonical));
}
