//! A batch of three segments of a tiny program, through tables, segment circuits, merges and the shrink.
//!
//! The program commits the first eighteen words of its private input, so that a test chooses what each segment says.

use std::{sync::Mutex, time::Duration};

use joule_machine::Image;
use joule_protocol::{Hash, PublicValues};
use joule_prover_engine::{ArtefactStore, Engine, EngineError, Progress, SegmentInput, Task};
use joule_recursion::profile::Profile;
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
    fn begin(&self, _: &Task) {}

    fn end(&self, task: &Task, took: Option<Duration>) {
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

#[test]
fn a_batch_is_merged_resumed_and_not_mixed_up() {
    let cache = tempfile::tempdir().expect("a folder");
    let image = Image::from_instructions(&COMMITS_ITS_INPUT).expect("a program");
    let engine = Engine::new(&image, &[Shape::Tiny], Profile::Fast, &cache.path().join("circuits")).expect("circuits");
    println!("{:?}", engine.circuit_sizes());

    let segments = [segment(9, 1, 2), segment(9, 2, 3), segment(9, 3, 4)];
    let folder = cache.path().join("batch");
    let store = ArtefactStore::open(&folder, engine.context(&segments)).expect("a folder");
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
        std::fs::remove_file(folder.join(format!("{name}.artefact"))).expect("it was kept");
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
    let silent =
        Engine::new(&silent, &[Shape::Tiny], Profile::Fast, &cache.path().join("circuits")).expect("kept circuits");
    assert_ne!(silent.program_hash(), engine.program_hash(), "another program, the same circuits");
    assert!(matches!(
        silent.prove_tables(&segments[0]),
        Err(EngineError::NoStatement { exit_code: 0, has_committed: false })
    ));
}
