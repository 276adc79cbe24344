//! Whole runs through all tables.

use std::path::Path;

use joule_machine::{
    Image, Instruction, Limits, Op, Records, Witness as MachineWitness,
    layout::{
        CALL_COMMIT, CALL_ECRECOVER, CALL_HALT, CALL_KECCAK_F, CALL_POSEIDON2_HASH, CALL_TREE_UPDATE, COMMIT_WORDS,
        ECRECOVER_WORDS, HEAP_START, INPUT_START, KECCAK_WORDS, TREE_DEPTH,
    },
    poseidon2, record,
    records::DigestElements,
};

use joule_protocol::{Hash, PublicValues};
use proptest::prelude::*;

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

/// The README's table of rules speaks of forgeries and tests that are there.
#[test]
fn rules_have_the_forgeries_that_the_readme_names() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let (_, table) = readme.split_once("## Rules that a forger tries first").expect("the README has the chapter");
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    assert!(rows.len() > 40, "{} rows", rows.len());
    for row in rows {
        let [_, place, name] = row[..] else { panic!("{row:?} is no row of three") };
        let place = root.join("src").join(place);
        let files: Vec<_> = if place.is_file() {
            vec![place]
        } else {
            ["tests.rs", "forgeries.rs"]
                .into_iter()
                .map(|file| place.join(file))
                .filter(|file| file.is_file())
                .collect()
        };
        let sources: String = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
        let is_there = match name.strip_prefix('`') {
            Some(test) => sources.contains(&format!("fn {}()", test.trim_end_matches('`'))),
            None => sources.contains(&format!("\"{name}\"")),
        };
        assert!(is_there, "{files:?} has no \"{name}\"");
    }
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
pub(crate) fn statement(program: &Program, records: &Records) -> PublicValues {
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

fn op(op: Op, rd: u8, rs1: u8, rs2: u8, immediate: u32) -> u32 {
    Instruction { op, rd, rs1, rs2, immediate }.encode()
}

/// `li rd, value`.
fn load_immediate(rd: u8, value: u32) -> [u32; 2] {
    let low = (value << 20) as i32 >> 20;
    [op(Op::Lui, rd, 0, 0, value.wrapping_sub(low as u32)), op(Op::Addi, rd, rd, 0, low as u32)]
}

/// An environment call with its arguments, from `a0` on.
fn call(words: &mut Vec<u32>, number: u32, arguments: &[u32]) {
    for (register, &argument) in (10..).zip(arguments) {
        words.extend(load_immediate(register, argument));
    }
    words.extend(load_immediate(17, number));
    words.push(op(Op::Ecall, 0, 0, 0, 0));
}

fn assert_satisfies(image: &Image, records: &Records) {
    let tables = Shape::Tiny.tables(image).unwrap();
    let witness = Witness::new(Shape::Tiny, &tables, image, records).unwrap();
    let faults = witness.check(&tables, 10);
    assert!(faults.is_empty(), "{} cycles: {faults:#?}", records.cycles.len());
}

/// Every precompile once, with words from the private input; then a commit that is not zero.
pub(crate) fn every_call() -> (Image, Records) {
    let keccak: Vec<u32> = (0..KECCAK_WORDS as u32).map(|index| index.wrapping_mul(0x9e37_79b9)).collect();
    let siblings: [DigestElements; TREE_DEPTH] =
        core::array::from_fn(|level| core::array::from_fn(|index| (7 * level + index) as u64));
    let (old, new, position) = ([1, 2, 3, 4], [5, 6, 7, 8], 0x8000_0005);
    let mut tree = [old, new, poseidon2::root(old, position, &siblings)]
        .iter()
        .flat_map(poseidon2::to_words)
        .collect::<Vec<u32>>();
    tree.extend([position, 0]);
    let mut recover: Vec<u32> = vec![11; 24];
    recover.resize(ECRECOVER_WORDS, 0);
    let commit: Vec<u32> = (1..=COMMIT_WORDS as u32).collect();

    let mut input = Vec::new();
    let mut place = |words: &[u32]| {
        let address = INPUT_START + 4 * input.len() as u32;
        input.extend_from_slice(words);
        address
    };
    let [keccak, tree, recover, commit] = [place(&keccak), place(&tree), place(&recover), place(&commit)];
    let mut words = Vec::new();
    call(&mut words, CALL_KECCAK_F, &[keccak]);
    call(&mut words, CALL_POSEIDON2_HASH, &[keccak, 7, HEAP_START + 0x100, 1]);
    // The digest goes over its own input.
    call(&mut words, CALL_POSEIDON2_HASH, &[HEAP_START + 0x100, 8, HEAP_START + 0x100, 2]);
    call(&mut words, CALL_TREE_UPDATE, &[tree]);
    call(&mut words, CALL_ECRECOVER, &[recover]);
    call(&mut words, CALL_COMMIT, &[commit]);
    call(&mut words, CALL_HALT, &[0]);
    let image = Image::from_instructions(&words).unwrap();
    let witness = MachineWitness { input, siblings: vec![siblings] };
    let (_, records) = record(&image, &witness, Limits::default()).unwrap();
    (image, records)
}

#[test]
fn every_call_is_proven() {
    let (image, records) = every_call();
    assert_satisfies(&image, &records);
    let setup = Setup::new(Shape::Tiny, &image).unwrap();
    let program = Program::new(vec![setup.verifying_key()]);
    let bytes = setup.prove(Profile::Fast, &records).unwrap().encode();
    let statement = statement(&program, &records);
    assert_eq!((statement.chain_id, statement.from.0[0]), (1 + (2 << 32), 3));
    program.verify(Profile::Fast, &statement, &bytes).unwrap();
}

/// A program of instructions at random: every operation, on registers at random, with loads and stores around the heap's start, and branches and
/// jumps that skip at most one instruction.
fn random_program(seed: u64, length: usize) -> Image {
    let mut state = seed | 1;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 20) as u32
    };
    let mut words = Vec::new();
    for register in 1..16 {
        let edges = [0, 1, u32::MAX, 0x8000_0000, 0x7fff_ffff];
        let value = if random() % 2 == 0 { edges[random() as usize % edges.len()] } else { random() << 12 ^ random() };
        words.extend(load_immediate(register, value));
    }
    // x20 stays the heap's address.
    words.extend(load_immediate(20, HEAP_START + 0x400));
    for _ in 0..length {
        let [rd, rs1, rs2] = [random() % 16, random() % 16, random() % 16].map(|register| register as u8);
        let immediate = (random() << 20) as i32 >> 20;
        let place = (random() % 64) as i32 * 4 - 128;
        let choice = Op::ALL[random() as usize % Op::ALL.len()];
        let word = match choice {
            Op::Ecall => op(Op::Fence, 0, 0, 0, 0),
            Op::Jal => op(choice, rd, 0, 0, 4 + random() % 2 * 4),
            Op::Jalr => {
                // To the instruction behind, with or without the lowest bit. What jumps over an instruction jumps over the first.
                words.extend([op(Op::Fence, 0, 0, 0, 0), op(Op::Auipc, 21, 0, 0, 0)]);
                op(choice, rd, 21, 0, 8 + random() % 2)
            }
            _ if choice.is_branch() => op(choice, 0, rs1, rs2, 4 + random() % 2 * 4),
            Op::Lw => op(choice, rd, 20, 0, place as u32),
            Op::Sw => op(choice, 0, 20, rs2, place as u32),
            Op::Lh | Op::Lhu => op(choice, rd, 20, 0, (place + 2 * (random() % 2) as i32) as u32),
            Op::Sh => op(choice, 0, 20, rs2, (place + 2 * (random() % 2) as i32) as u32),
            Op::Lb | Op::Lbu => op(choice, rd, 20, 0, (place + (random() % 4) as i32) as u32),
            Op::Sb => op(choice, 0, 20, rs2, (place + (random() % 4) as i32) as u32),
            Op::Lui | Op::Auipc => op(choice, rd, 0, 0, random() << 12),
            Op::Slli | Op::Srli | Op::Srai => op(choice, rd, rs1, 0, random() % 32),
            _ if choice.takes_immediate_operand() => op(choice, rd, rs1, 0, immediate as u32),
            _ => op(choice, rd, rs1, rs2, 0),
        };
        words.push(word);
    }
    // A jump may skip one instruction; it must not be the first of the call.
    words.push(op(Op::Fence, 0, 0, 0, 0));
    call(&mut words, CALL_COMMIT, &[HEAP_START]);
    call(&mut words, CALL_HALT, &[0]);
    Image::from_instructions(&words).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn random_programs_satisfy_all_tables(seed: u64) {
        let image = random_program(seed, 400);
        assert_satisfies(&image, &run(&image));
    }
}
