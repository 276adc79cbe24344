//! Files that are no images, programs that go wrong, and limits: errors all of them, never a panic.

mod common;

use std::{fs, path::Path};

use common::{call, immediate, load_immediate, program, register, store};
use joule_machine::{
    Image, ImageError, Limits, Op, PAGE_BYTES, Reason, Witness,
    layout::{CALL_HALT, HEAP_END, HEAP_START, INPUT_START, INPUT_WORDS_MAX, PROGRAM_END, PROGRAM_START},
    profile, record, run,
};
use proptest::prelude::*;

const LIMITS: Limits = Limits { cycles: 10_000, pages: 64 };

fn aborts(image: &Image, limits: Limits) -> (u32, Reason) {
    let witness = Witness::default();
    let abort = run(image, &witness, limits).unwrap_err();
    assert_eq!(record(image, &witness, limits).unwrap_err(), abort);
    assert_eq!(profile(image, &witness, limits).unwrap_err(), abort);
    (abort.pc, abort.reason)
}

/// What a program of one load or store, to `address`, aborts with.
fn access(op: Op, address: u32) -> Reason {
    let word = if op.is_store() { store(op, 5, 6, 0) } else { immediate(op, 7, 5, 0) };
    let body = [&load_immediate(5, address)[..], &[word]].concat();
    let (pc, reason) = aborts(&program(&body), LIMITS);
    assert_eq!(pc, PROGRAM_START + 8);
    reason
}

#[test]
fn accesses_must_be_aligned_and_in_memory() {
    for op in [Op::Lw, Op::Sw] {
        for offset in 1..4 {
            let address = HEAP_START + offset;
            assert_eq!(access(op, address), Reason::MisalignedAccess { address, alignment: 4 });
        }
    }
    for op in [Op::Lh, Op::Lhu, Op::Sh] {
        let address = HEAP_START + 1;
        assert_eq!(access(op, address), Reason::MisalignedAccess { address, alignment: 2 });
    }
    for op in [Op::Lb, Op::Lbu, Op::Lh, Op::Lhu, Op::Lw, Op::Sb, Op::Sh, Op::Sw] {
        // Behind the image, the image's own page is no memory; the region in front of it is none either.
        for address in [0, PROGRAM_START - 4, PROGRAM_START + 4096, PROGRAM_END - 4, HEAP_END, 0x3000_0000, 0xffff_fffc]
        {
            assert_eq!(access(op, address), Reason::OutsideMemory { address });
        }
    }
}

#[test]
fn jumps_must_stay_in_the_text() {
    let (pc, reason) = aborts(&Image::from_instructions(&[0x13]).unwrap(), LIMITS);
    assert_eq!((pc, reason), (PROGRAM_START + 4, Reason::NoInstruction));
    let jump = |target| [&load_immediate(5, target)[..], &[immediate(Op::Jalr, 0, 5, 0)]].concat();
    for target in [0, PROGRAM_START - 4, HEAP_START, 0xffff_fffc] {
        assert_eq!(aborts(&program(&jump(target)), LIMITS), (target, Reason::NoInstruction));
    }
    // The jump itself is to blame for a target that is not aligned.
    let target = PROGRAM_START + 2;
    assert_eq!(aborts(&program(&jump(target)), LIMITS), (PROGRAM_START + 8, Reason::MisalignedJump { target }));
    let jal = immediate(Op::Jal, 0, 0, 6);
    assert_eq!(aborts(&program(&[jal]), LIMITS).1, Reason::MisalignedJump { target: PROGRAM_START + 6 });
    let taken = store(Op::Beq, 0, 0, 6);
    assert_eq!(aborts(&program(&[taken]), LIMITS).1, Reason::MisalignedJump { target: PROGRAM_START + 6 });
    let not_taken = store(Op::Bne, 0, 0, 6);
    run(&program(&[not_taken]), &Witness::default(), LIMITS).unwrap();
}

#[test]
fn illegal_instructions_abort() {
    for word in [0, u32::MAX, 0x0010_0073, 0x3000_1073] {
        assert_eq!(aborts(&program(&[word]), LIMITS), (PROGRAM_START, Reason::IllegalInstruction { word }));
    }
}

#[test]
fn limits_are_exact() {
    let image = program(&[immediate(Op::Addi, 5, 0, 1); 100]);
    let cycles = run(&image, &Witness::default(), LIMITS).unwrap().cycles;
    run(&image, &Witness::default(), Limits { cycles, ..LIMITS }).unwrap();
    let limit = cycles - 1;
    assert_eq!(aborts(&image, Limits { cycles: limit, ..LIMITS }).1, Reason::CycleLimit { limit });

    let endless = program(&[immediate(Op::Jal, 0, 0, 0)]);
    assert_eq!(aborts(&endless, LIMITS).1, Reason::CycleLimit { limit: LIMITS.cycles });

    // Touches one page after the other.
    let mut body = [load_immediate(5, HEAP_START), load_immediate(6, PAGE_BYTES)].concat();
    body.extend([store(Op::Sw, 5, 5, 0), register(Op::Add, 5, 5, 6), immediate(Op::Jal, 0, 0, -8)]);
    assert_eq!(aborts(&program(&body), LIMITS).1, Reason::MemoryLimit { limit: LIMITS.pages });

    let witness = Witness { input: vec![0; INPUT_WORDS_MAX + 1], siblings: Vec::new() };
    let abort = run(&image, &witness, LIMITS).unwrap_err();
    assert_eq!(abort.reason, Reason::InputTooLong { words: INPUT_WORDS_MAX + 1, limit: INPUT_WORDS_MAX });
}

#[test]
fn an_abort_says_where_and_why() {
    let image = program(&[immediate(Op::Lw, 5, 0, 2)]);
    let abort = run(&image, &Witness::default(), LIMITS).unwrap_err();
    let expected =
        "aborted after 0 cycles at pc 0x00010000 (Lw): access to 0x00000002, which is not aligned to 4 bytes";
    assert_eq!(abort.to_string(), expected);
}

fn an_elf() -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/jump.elf")).unwrap()
}

/// The file with some bytes replaced.
fn changed(offset: usize, bytes: &[u8]) -> Result<Image, ImageError> {
    let mut file = an_elf();
    file[offset..offset + bytes.len()].copy_from_slice(bytes);
    Image::from_elf(&file)
}

#[test]
fn each_check_of_the_header_is_made() {
    let header = |offset, bytes: &[u8]| match changed(offset, bytes) {
        Err(ImageError::Header { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    assert_eq!(header(0, b"\0"), "the magic number");
    assert_eq!(header(4, &[2]), "the class");
    assert_eq!(header(5, &[2]), "the byte order");
    assert_eq!(header(16, &[3]), "the file type");
    assert_eq!(header(18, &[62]), "the instruction set");
    assert_eq!(header(42, &[0]), "the size of a program header");
    assert!(matches!(changed(36, &[1]), Err(ImageError::Flags { flags: 1 })));
    assert!(matches!(changed(36, &[4]), Err(ImageError::Flags { flags: 4 })));
    for entry in [0_u32, PROGRAM_START + 2, HEAP_START] {
        assert_eq!(changed(24, &entry.to_le_bytes()), Err(ImageError::Entry { entry }));
    }
    assert!(matches!(changed(44, &[0, 0]), Err(ImageError::TextSegments { got: 0 })));
    assert!(matches!(changed(44, &[0xff, 0xff]), Err(ImageError::Truncated { what: "the program headers", .. })));
    assert!(matches!(changed(28, &[0xff; 4]), Err(ImageError::Truncated { what: "the program headers", .. })));
}

#[test]
fn each_check_of_a_segment_is_made() {
    // The text is the first program header, at byte 52; the data the second.
    const TEXT: usize = 52;
    const DATA: usize = 84;
    for kind in [2, 3, 7] {
        assert_eq!(changed(DATA, &[kind]), Err(ImageError::DynamicSegment { index: 1, kind: kind.into() }));
    }
    assert!(matches!(changed(TEXT + 4, &[0xff; 4]), Err(ImageError::Truncated { what: "a segment", .. })));
    assert!(matches!(changed(TEXT + 16, &[0xff; 4]), Err(ImageError::MalformedSegment { index: 0, .. })));
    assert!(matches!(changed(TEXT + 8, &[2]), Err(ImageError::MalformedSegment { index: 0, .. })));
    assert!(matches!(changed(TEXT + 20, &[0xff; 4]), Err(ImageError::OutsideRegion { index: 0, .. })));
    assert!(matches!(changed(TEXT + 20, &[0, 0, 0x40]), Err(ImageError::OutsideRegion { index: 0, .. })));
    assert!(matches!(changed(TEXT + 8, &[0; 4]), Err(ImageError::OutsideRegion { index: 0, .. })));
    assert!(matches!(changed(DATA + 8, &HEAP_START.to_le_bytes()), Err(ImageError::OutsideRegion { index: 1, .. })));
    assert!(matches!(changed(DATA + 8, &PROGRAM_START.to_le_bytes()), Err(ImageError::SegmentsOverlap { .. })));
    assert!(matches!(changed(DATA + 24, &[7]), Err(ImageError::TextSegments { got: 2 })));
    assert!(matches!(changed(TEXT + 24, &[6]), Err(ImageError::TextSegments { got: 0 })));
    // A segment without content may lie in the heap: it says that the memory there is used, and is zero as all of it.
    let mut file = an_elf();
    file[DATA + 8..DATA + 12].copy_from_slice(&HEAP_START.to_le_bytes());
    file[DATA + 16..DATA + 20].copy_from_slice(&[0; 4]);
    let image = Image::from_elf(&file).unwrap();
    assert_eq!(image.memory().len(), image.instructions().len());
}

proptest! {
    #[test]
    fn no_file_makes_the_loader_panic(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        prop_assert!(Image::from_elf(&bytes).is_err());
        let mut image = program(&[]);
        image.name_routines(&bytes);
        prop_assert!(image.symbols().is_empty());
    }

    #[test]
    fn no_change_of_a_file_makes_the_machine_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        length in any::<prop::sample::Index>(),
        cut in prop::bool::weighted(0.2),
    ) {
        let mut file = an_elf();
        for (index, byte) in changes {
            let index = index.index(file.len());
            file[index] = byte;
        }
        if cut {
            file.truncate(length.index(file.len()));
        }
        if let Ok(image) = Image::from_elf(&file) {
            prop_assert!(image.memory().len() <= (PROGRAM_END - PROGRAM_START) as usize / 4);
            let plain = run(&image, &Witness::default(), LIMITS);
            prop_assert_eq!(record(&image, &Witness::default(), LIMITS).map(|(outcome, _)| outcome), plain);
        }
    }

    #[test]
    fn no_words_make_the_machine_panic(words in prop::collection::vec(any::<u32>(), 1..64)) {
        let image = Image::from_instructions(&words).unwrap();
        let plain = run(&image, &Witness::default(), LIMITS);
        let profiled = profile(&image, &Witness::default(), LIMITS).map(|(outcome, _)| outcome);
        prop_assert_eq!(&profiled, &plain);
        prop_assert_eq!(record(&image, &Witness::default(), LIMITS).map(|(outcome, _)| outcome), plain);
    }

    #[test]
    fn no_input_makes_a_call_panic(
        number in 0_u32..8,
        place in prop::sample::select(vec![HEAP_START, INPUT_START, HEAP_END - 64, PROGRAM_START, 0]),
        offset in 0_u32..64,
        arguments in prop::array::uniform3(any::<u32>()),
        small in any::<bool>(),
        input in prop::collection::vec(any::<u32>(), 0..64),
        siblings in prop::collection::vec(prop::array::uniform32(prop::array::uniform4(any::<u64>())), 0..2),
    ) {
        let words = if small { arguments[0] % 5000 } else { arguments[0] };
        let arguments = [place + offset, words, arguments[1], arguments[2]];
        let image = program(&call(number, &arguments));
        let witness = Witness { input, siblings };
        let plain = run(&image, &witness, LIMITS);
        prop_assert_eq!(record(&image, &witness, LIMITS).map(|(outcome, _)| outcome), plain);
    }
}

#[test]
fn an_image_needs_instructions_and_must_fit() {
    assert_eq!(Image::from_instructions(&[]), Err(ImageError::Entry { entry: PROGRAM_START }));
    let words = vec![0x13; (PROGRAM_END - PROGRAM_START) as usize / 4 + 1];
    assert!(matches!(Image::from_instructions(&words), Err(ImageError::OutsideRegion { .. })));
    let full = [&words[..words.len() - 6], &call(CALL_HALT, &[0])].concat();
    run(&Image::from_instructions(&full).unwrap(), &Witness::default(), Limits::default()).unwrap();
}
