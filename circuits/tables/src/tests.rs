//! Whole runs through all tables.

use std::path::Path;

use joule_machine::{Image, Limits, Records, Witness as MachineWitness, record};

use crate::{shape::Shape, witness::Witness};

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
