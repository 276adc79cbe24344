//! Whole runs through all tables.

use std::path::Path;

use joule_machine::{Image, Limits, Records, Witness as MachineWitness, record};

use joule_protocol::{Hash, PublicValues};

use crate::{config::Profile, program::Program, prove::Setup, shape::Shape, witness::Witness};

/// The test programs of the machine: every instruction, in the manner of the public riscv-tests.
pub(crate) fn programs() -> Vec<(String, Image)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../machine/tests/programs");
    let mut programs: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "elf"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, Image::from_elf(&std::fs::read(&path).unwrap()).unwrap())
        })
        .collect();
    programs.sort_by(|(left, _), (right, _)| left.cmp(right));
    programs
}

pub(crate) fn run(image: &Image) -> Records {
    record(image, &MachineWitness::default(), Limits::default()).unwrap().1
}

#[test]
fn test_programs_satisfy_all_tables() {
    let programs = programs();
    assert!(programs.len() >= 9);
    for (name, image) in programs {
        let records = run(&image);
        let tables = Shape::Tiny.tables(&image).unwrap();
        let witness = Witness::new(Shape::Tiny, &tables, &image, &records).unwrap();
        let faults = witness.check(&tables, 10);
        assert!(faults.is_empty(), "{name}, {} cycles: {faults:#?}", records.cycles.len());
    }
}

/// What a run of a test program states.
fn statement(program: &Program, records: &Records) -> PublicValues {
    let words = records.commit.as_ref().unwrap().words.map(|access| access.after);
    let hash = |words: &[u32]| {
        let mut bytes = [0; 32];
        bytes.chunks_exact_mut(4).zip(words).for_each(|(bytes, word)| bytes.copy_from_slice(&word.to_le_bytes()));
        Hash(bytes)
    };
    PublicValues {
        program: program.hash(),
        chain_id: u64::from(words[0]) + (u64::from(words[1]) << 32),
        from: hash(&words[2..10]),
        to: hash(&words[10..18]),
    }
}

#[test]
fn a_run_is_proven_and_verified_in_both_profiles() {
    let (_, image) = programs().into_iter().find(|(name, _)| name == "memory").unwrap();
    let records = run(&image);
    let setup = Setup::new(Shape::Tiny, &image).unwrap();
    let program = Program::new(vec![setup.verifying_key()]);
    let statement = statement(&program, &records);
    for profile in Profile::ALL {
        let start = std::time::Instant::now();
        let bytes = setup.prove(profile, &records).unwrap().encode();
        let proved = start.elapsed();
        program.verify(profile, &statement, &bytes).unwrap();
        println!("{profile}: {} bytes, proved in {proved:?}, verified in {:?}", bytes.len(), start.elapsed() - proved);
    }
}
