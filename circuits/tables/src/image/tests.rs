use joule_machine::{Image as MachineImage, Instruction, Limits, Op, Witness, record};
use p3_air::BaseAir;
use p3_field::PrimeCharacteristicRing;
use p3_matrix::Matrix;

use super::{
    Image, ImageTooLarge,
    columns::{ImageColumns, ImagePreprocessed, InstructionColumns},
    decode::{BOOT_PC, REGISTERS, SINK, decode, rows},
    trace::fill,
};
use crate::{
    Felt, cpu,
    forge::{By, Free, Honest, catches, every_cell_counts, forgery},
    operations::Operation,
};

const HEIGHT: usize = 64;

fn machine_image() -> MachineImage {
    let add = |rd, rs1, immediate| Instruction { op: Op::Addi, rd, rs1, rs2: 0, immediate }.encode();
    // The last word is no instruction.
    MachineImage::from_instructions(&[add(10, 0, 0), add(17, 0, 0), 0x73, 0xffff_ffff]).unwrap()
}

fn honest() -> Honest<Image> {
    let image = machine_image();
    let (_, records) = record(&image, &Witness::default(), Limits::default()).unwrap();
    let (_, registers) = cpu::trace::fill(&image, &records, HEIGHT).unwrap();
    let trace = fill(&image, &records, &registers, HEIGHT).unwrap();
    Honest::new(Image::new(&image, HEIGHT).unwrap(), trace)
}

#[test]
fn forgeries_are_caught() {
    catches(
        &honest(),
        [
            forgery(
                "ends with another value in a register",
                |t| ImageColumns::edit(t, 10, |row| row.final_value += Felt::ONE),
                By::Bus("MEMORY"),
            ),
            forgery(
                "ends with a word that was accessed later",
                |t| ImageColumns::edit(t, REGISTERS as usize, |row| row.final_timestamp += Felt::ONE),
                By::Bus("MEMORY"),
            ),
        ],
    );
}

#[test]
fn every_cell_is_bound() {
    const REASON: &str = "the row has no word";
    // In a row without a word, all is zero; in the others only words of zero at time 0 are like that.
    let free = ["final_value", "final_timestamp"].map(|column| Free {
        column,
        when: |row| row.iter().all(|&cell| cell == Felt::ZERO),
        reason: REASON,
    });
    every_cell_counts(&honest(), &ImageColumns::names(), &free);
}

#[test]
fn words_are_distinct_and_what_cannot_run_is_not_there() {
    let image = machine_image();
    let trace = Image::new(&image, HEIGHT).unwrap().preprocessed_trace().unwrap();
    assert_eq!(trace.height(), HEIGHT);
    let rows: Vec<_> = trace.values.chunks(ImagePreprocessed::WIDTH).map(ImagePreprocessed::read).collect();
    let mut places: Vec<_> = rows
        .iter()
        .filter(|row| row.is_word == Felt::ONE)
        .map(|row| (row.space.to_string(), row.address.to_string()))
        .collect();
    assert_eq!(places.len(), super::decode::rows(&image));
    places.sort();
    places.dedup();
    assert_eq!(places.len(), super::decode::rows(&image));

    let instructions: Vec<_> = rows.iter().map(|row| InstructionColumns::read(&row.instruction)).collect();
    let boot = Felt::from_u64(BOOT_PC);
    assert_eq!(instructions.iter().filter(|row| row.pc != boot).count(), 3);
    assert!(instructions.iter().all(|row| row.pc != boot || row.next == Felt::from_u32(image.entry())));
}

#[test]
fn an_image_that_does_not_fit_is_refused() {
    let image = machine_image();
    let rows = rows(&image);
    let error = Image::new(&image, 32).unwrap_err();
    assert_eq!(error, ImageTooLarge { rows, height: 32 });
}

/// What the cpu relies on when it takes flags from here.
#[test]
fn every_instruction_has_one_source_and_legal_registers() {
    for op in Op::ALL {
        for (rd, rs1, rs2) in [(0, 0, 0), (1, 2, 3), (31, 30, 29)] {
            // The decoder zeroes the registers that an instruction does not have.
            let word = Instruction { op, rd, rs1, rs2, immediate: 8 }.encode();
            let instruction = Instruction::decode(word);
            assert_eq!(instruction.op, op);
            let row = decode(0x1_0000, &instruction).unwrap();
            let sources =
                [row.writes_word, row.writes_less, row.writes_equal, row.writes_link, row.copies_second, row.asks];
            assert_eq!(sources.into_iter().sum::<Felt>(), Felt::ONE, "{op:?}");
            assert!(sources.iter().all(|&flag| flag == Felt::ZERO || flag == Felt::ONE));
            assert_eq!(row.asks == Felt::ONE, Operation::of(op).is_some());
            assert_eq!(row.is_load == Felt::ONE, op.is_load());
            assert_eq!(row.is_store == Felt::ONE, op.is_store());
            // x0 is never written, and only the sink is beyond the machine's registers.
            if op.is_store() {
                assert_eq!(row.third_register, Felt::ZERO);
            } else if instruction.rd == 0 {
                assert_eq!(row.third_register, Felt::from_u32(SINK));
            } else {
                assert_eq!(row.third_register, Felt::from_u8(instruction.rd));
            }
        }
    }
}
