//! Every instruction, by programs that check themselves. Their sources are beside their images in `tests/programs`.

mod common;

use std::{collections::BTreeSet, fs, path::Path};

use common::check_records;
use joule_machine::{Image, Limits, Op, Witness, record, run};

/// Runs one program with and without records, and returns the operations it executed.
fn passes(path: &Path) -> BTreeSet<Op> {
    let image = Image::from_elf(&fs::read(path).unwrap()).unwrap();
    let limits = Limits { cycles: 1 << 16, pages: 64 };
    let witness = Witness { input: vec![0xdead_beef], siblings: Vec::new() };
    let outcome = run(&image, &witness, limits).unwrap();
    assert_eq!(outcome.exit_code, 0, "{}: check {} failed", path.display(), outcome.exit_code);
    assert_eq!(outcome.committed, Some([0; 18]));
    let (recorded, records) = record(&image, &witness, limits).unwrap();
    assert_eq!(recorded, outcome);
    check_records(&image, &witness, &records);
    records.cycles.iter().map(|cycle| cycle.instruction.op).collect()
}

#[test]
fn every_instruction_does_what_the_manual_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs");
    let mut executed = BTreeSet::new();
    let mut programs = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("elf") => {
                assert!(path.with_extension("S").exists(), "{} has no source", path.display());
                executed.extend(passes(&path));
                programs += 1;
            }
            Some("S") => assert!(path.with_extension("elf").exists(), "{} is not assembled", path.display()),
            _ => {}
        }
    }
    assert_eq!(programs, 9);
    assert_eq!(executed, BTreeSet::from(Op::ALL));
}
