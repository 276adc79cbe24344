use std::collections::HashMap;

use joule_machine::{Image, Instruction, Limits, Op, Records, Witness, layout::PROGRAM_START, record};
use p3_air::BaseAir;
use p3_field::{PrimeCharacteristicRing, PrimeField64};
use p3_matrix::Matrix;

use super::{Cpu, columns::CpuColumns, trace::fill};
use crate::{
    Felt,
    buses::inverse_of_power_of_two,
    check::Trace,
    forge::{By, Entangled, Free, Honest, catches_but, every_cell_counts, forgery},
    image::{
        columns::{ImagePreprocessed, InstructionColumns},
        decode::decode,
    },
    trace::{TraceError, low_limb},
};

const HEIGHT: usize = 64;
/// Addresses in the heap: three neighbouring words. The first holds −1, the others 77.
const MINUS_ONE_AT: u32 = 0x40_00fc;
const LEFT_AT: u32 = 0x40_0100;
const RIGHT_AT: u32 = 0x40_0104;

/// A program that has something for every forgery, and the places where it is.
struct Program {
    words: Vec<u32>,
    marks: HashMap<&'static str, usize>,
}

impl Program {
    fn mark(&mut self, mark: &'static str) -> &mut Self {
        self.marks.insert(mark, self.words.len());
        self
    }

    fn op(&mut self, op: Op, rd: u8, rs1: u8, rs2: u8, immediate: i32) -> &mut Self {
        self.words.push(Instruction { op, rd, rs1, rs2, immediate: immediate as u32 }.encode());
        self
    }

    fn pc(&self, mark: &str) -> u32 {
        PROGRAM_START + 4 * self.marks[mark] as u32
    }

    /// Registers: x5 the heap, x6 = 77, x7 = −1, x9 the target of the `jalr`.
    fn new() -> Self {
        let mut p = Self { words: Vec::new(), marks: HashMap::new() };
        p.mark("start").op(Op::Fence, 0, 0, 0, 0);
        p.op(Op::Lui, 5, 0, 0, 0x40_0000).op(Op::Addi, 6, 0, 0, 77).op(Op::Addi, 7, 0, 0, -1);
        p.op(Op::Sw, 0, 5, 6, 0x100).op(Op::Sw, 0, 5, 6, 0x104).op(Op::Sw, 0, 5, 7, 0xfc);
        p.mark("load").op(Op::Lw, 0, 5, 0, 0x100);
        p.op(Op::Lw, 8, 5, 0, 0x100).op(Op::Lw, 8, 5, 0, 0x104).op(Op::Lw, 8, 5, 0, 0xfc);
        p.mark("store").op(Op::Sw, 0, 5, 7, 0x100);
        p.op(Op::Sw, 0, 5, 6, 0x100).op(Op::Sw, 0, 5, 6, 0x104);
        p.mark("multiply").op(Op::Mul, 0, 6, 7, 0);
        p.mark("less").op(Op::Sltu, 0, 6, 7, 0);
        p.mark("unequal").op(Op::Beq, 0, 6, 7, 4);
        p.mark("equal").op(Op::Beq, 0, 6, 6, 4);
        // To `here`, with the lowest bit set: `jalr` drops it.
        p.op(Op::Auipc, 9, 0, 0, 0);
        p.mark("jump").op(Op::Jalr, 0, 9, 0, 9);
        p.mark("here").op(Op::Fence, 0, 0, 0, 0).op(Op::Jal, 0, 0, 0, 12);
        p.mark("there").op(Op::Fence, 0, 0, 0, 0).op(Op::Jal, 0, 0, 0, 4);
        p.mark("add").op(Op::Add, 0, 7, 7, 0);
        p.op(Op::Sb, 0, 5, 6, 0x109).op(Op::Lb, 8, 5, 0, 0x109).op(Op::Lhu, 8, 5, 0, 0x10a).op(Op::Sh, 0, 5, 7, 0x10a);
        p.op(Op::Sub, 8, 6, 7, 0).op(Op::Sltiu, 8, 6, 0, 78).op(Op::Slti, 8, 7, 0, 0).op(Op::Xori, 8, 7, 0, 0x55);
        p.op(Op::Blt, 0, 7, 6, 8).op(Op::Fence, 0, 0, 0, 0);
        p.op(Op::Bgeu, 0, 6, 7, 8).op(Op::Bne, 0, 6, 7, 8).op(Op::Fence, 0, 0, 0, 0);
        p.op(Op::Div, 8, 7, 6, 0).op(Op::Jal, 1, 0, 0, 4);
        p.op(Op::Add, 10, 5, 0, 0).op(Op::Addi, 17, 0, 0, 1);
        p.mark("commit").op(Op::Ecall, 0, 0, 0, 0);
        p.mark("after").op(Op::Fence, 0, 0, 0, 0);
        p.op(Op::Addi, 10, 0, 0, 0).op(Op::Addi, 17, 0, 0, 0);
        // So many that the table has one row of padding.
        while p.words.len() < 80 {
            p.op(Op::Fence, 0, 0, 0, 0);
        }
        p.mark("halt").op(Op::Ecall, 0, 0, 0, 0);
        let back = -4 * (p.words.len() as i32);
        p.mark("back").op(Op::Jal, 0, 0, 0, back);
        p
    }
}

/// The program, its image, its records, cut to fill the table up to one row.
fn run() -> (Program, Image, Records) {
    let mut program = Program::new();
    loop {
        let image = Image::from_instructions(&program.words).unwrap();
        let (_, records) = record(&image, &Witness::default(), Limits::default()).unwrap();
        if records.cycles.len() + 2 == HEIGHT {
            return (program, image, records);
        }
        assert!(records.cycles.len() + 2 > HEIGHT, "give the program more fences");
        // Take one fence away from in front of the halt, and let the last jump go one word less far.
        let halt = program.marks["halt"];
        program.words.remove(halt - 1);
        program.marks.insert("halt", halt - 1);
        program.marks.insert("back", halt);
        program.words.truncate(halt);
        program.op(Op::Jal, 0, 0, 0, -4 * halt as i32);
    }
}

fn honest() -> (Honest<Cpu>, Program, Image) {
    let (program, image, records) = run();
    let (trace, _) = fill(&image, &records, HEIGHT).unwrap();
    let preprocessed = crate::image::Image::new(&image, 256).unwrap().preprocessed_trace().unwrap();
    let known: Vec<Vec<Felt>> = preprocessed
        .values
        .chunks(ImagePreprocessed::WIDTH)
        .map(|row| ImagePreprocessed::read(row).instruction.to_vec())
        .collect();
    let honest = Honest::new(Cpu, trace).with_facts(move |bus, fields| {
        assert_eq!(bus.name, "PROGRAM");
        known.iter().any(|row| row == fields)
    });
    (honest, program, image)
}

/// Edits the instruction of a row along with its other columns.
fn edit(trace: &mut Trace, row: usize, change: impl FnOnce(&mut CpuColumns<Felt>, &mut InstructionColumns<Felt>)) {
    CpuColumns::edit(trace, row, |row| {
        let mut instruction = InstructionColumns::read(&row.instruction);
        change(row, &mut instruction);
        instruction.write(&mut row.instruction);
    });
}

fn set_word(row: &mut CpuColumns<Felt>, word: u32) {
    (row.word, row.word_low) = (Felt::from_u32(word), low_limb(word));
}

/// The row of the cycle that executes a place of the program.
fn row_at(trace: &Trace, pc: u32) -> usize {
    let numbers = CpuColumns::numbers();
    let pc = Felt::from_u32(pc);
    trace
        .values
        .chunks(CpuColumns::WIDTH)
        .position(|row| row[numbers.is_real] == Felt::ONE && row[numbers.instruction[0]] == pc)
        .expect("is executed")
}

/// Gives every access the value and the time that the one before left, as an honest prover would: a forger who changes an access changes what
/// follows from it.
fn settle(trace: &mut Trace) {
    let mut left: HashMap<(u64, u64), (Felt, Felt)> = HashMap::new();
    for row in 0..trace.height() {
        edit(trace, row, |row, instruction| {
            if row.is_real == Felt::ZERO {
                return;
            }
            let mut access = |space: Felt, address: Felt, slot: u32, after: Felt| {
                let time = row.clock + Felt::from_u32(slot);
                let key = (space.as_canonical_u64(), address.as_canonical_u64());
                let (before, previous) = left.insert(key, (after, time)).unwrap_or_default();
                let gap = (time - previous - Felt::ONE).as_canonical_u64();
                (before, previous, Felt::from_u64(gap % (1 << 16)))
            };
            let one = Felt::ONE;
            (_, row.first_time, row.first_gap) = access(one, instruction.first_register, 0, row.first);
            (_, row.second_time, row.second_gap) = access(one - instruction.is_load, row.second_address, 1, row.second);
            (row.third_before, row.third_time, row.third_gap) =
                access(one - instruction.is_store, row.third_address, 2, row.third);
        });
    }
}

/// Executes `there` in place of `here`.
fn go_there(trace: &mut Trace, here: u32, there: u32, image: &Image) {
    let row = row_at(trace, here);
    for index in 0..2 {
        let pc = there + 4 * index as u32;
        edit(trace, row + index, |row, instruction| {
            *instruction = decode(pc, image.instruction(pc).unwrap()).unwrap();
            row.word = instruction.immediate;
            row.word_low = Felt::from_u64(row.word.as_canonical_u64() % (1 << 16));
            row.third = row.word;
        });
    }
    settle(trace);
}

#[test]
fn forgeries_are_caught() {
    let (honest, program, image) = honest();
    let mut settled = honest.trace.clone();
    settle(&mut settled);
    assert_eq!(settled.values, honest.trace.values);

    let at = |mark: &str| row_at(&honest.trace, program.pc(mark));
    let (load, store, multiply, less, unequal, equal) =
        (at("load"), at("store"), at("multiply"), at("less"), at("unequal"), at("equal"));
    let (jump, add, commit, after, halt, start) =
        (at("jump"), at("add"), at("commit"), at("after"), at("halt"), at("start"));
    let (here, there, back, after_pc) =
        (program.pc("here"), program.pc("there"), program.pc("back"), program.pc("after"));
    let start_pc = program.pc("start");
    let back_instruction = decode(back, image.instruction(back).unwrap()).unwrap();
    let (image_1, image_2) = (image.clone(), image);
    assert_eq!(halt, HEIGHT - 2);

    let skip = move |t: &mut Trace, at: usize, next: u32| {
        edit(t, at, |row, instruction| {
            let clock = row.clock;
            *row = CpuColumns::read(&[Felt::ZERO; CpuColumns::WIDTH]);
            row.clock = clock;
            *instruction = InstructionColumns::read(&row.instruction);
            instruction.next = Felt::from_u32(next);
        });
        settle(t);
    };

    catches_but(
        &honest,
        [
            forgery(
                "executes an instruction minus one times",
                move |t| {
                    edit(t, halt + 1, |row, instruction| {
                        row.is_real = Felt::NEG_ONE;
                        instruction.is_call = Felt::ONE;
                        instruction.pc = Felt::from_u32(back);
                        // Each access takes what it leaves.
                        row.first_time = row.clock;
                        row.second_time = row.clock + Felt::ONE;
                        row.third_time = row.clock + Felt::TWO;
                    });
                },
                By::These(&["C1", "C7", "C11", "CALL"]),
            ),
            forgery(
                "runs nothing",
                |t| {
                    (0..HEIGHT).for_each(|row| {
                        edit(t, row, |row, instruction| {
                            row.is_real = Felt::ZERO;
                            (instruction.asks, instruction.is_call) = (Felt::ZERO, Felt::ZERO);
                        });
                    });
                },
                By::These(&["C2", "CALL", "MEMORY"]),
            ),
            forgery(
                "starts at another instruction",
                move |t| {
                    edit(t, 0, |row, instruction| {
                        *instruction = back_instruction;
                        set_word(row, back + 4);
                        row.third = row.word;
                    });
                    settle(t);
                },
                By::Constraint("C3"),
            ),
            forgery(
                "starts later",
                |t| {
                    (0..HEIGHT).for_each(|row| edit(t, row, |row, _| row.clock += Felt::from_u32(4)));
                    settle(t);
                },
                By::Granted(&["CALL", "MEMORY"], "C4"),
            ),
            forgery(
                "stops the clock",
                |t| edit(t, HEIGHT - 1, |row, _| row.clock -= Felt::from_u32(4)),
                By::Constraint("C5"),
            ),
            forgery(
                "skips an instruction, behind padding that jumps anywhere",
                move |t| skip(t, start, start_pc + 4),
                By::These(&["C6", "C8"]),
            ),
            forgery(
                "skips an instruction behind a call",
                move |t| skip(t, after, after_pc + 4),
                By::These(&["C6", "C9"]),
            ),
            forgery(
                "goes on in the last row, which no next row follows",
                move |t| {
                    edit(t, HEIGHT - 1, |row, instruction| {
                        row.is_real = Felt::ONE;
                        *instruction = back_instruction;
                        set_word(row, back + 4);
                        (row.third, row.third_address) = (row.word, instruction.third_register);
                    });
                    settle(t);
                },
                By::Granted(&["MEMORY"], "C7"),
            ),
            forgery(
                "asks a question in padding",
                |t| {
                    edit(t, HEIGHT - 1, |_, instruction| {
                        (instruction.asks, instruction.operation) = (Felt::ONE, Felt::ONE);
                    });
                },
                By::Constraint("C10"),
            ),
            forgery(
                "makes a call in padding",
                |t| edit(t, HEIGHT - 1, |_, instruction| instruction.is_call = Felt::ONE),
                By::These(&["C11", "CALL"]),
            ),
            forgery(
                "forms another word",
                move |t| edit(t, multiply, |row, _| set_word(row, 78)),
                By::Constraint("C12"),
            ),
            forgery(
                "carries whatever makes the word 5",
                move |t| {
                    edit(t, multiply, |row, _| {
                        row.carry = (row.word - Felt::from_u32(5)) * inverse_of_power_of_two(32);
                        set_word(row, 5);
                    });
                },
                By::Constraint("C13"),
            ),
            forgery(
                "writes something else than the word",
                move |t| {
                    edit(t, start, |row, _| row.third = Felt::TWO);
                    settle(t);
                },
                By::Constraint("C14"),
            ),
            forgery(
                "denies that 77 is less than 2^32 − 1",
                move |t| {
                    edit(t, less, |row, _| row.third = Felt::ZERO);
                    settle(t);
                },
                By::Constraint("C15"),
            ),
            forgery(
                "takes unequal words for equal",
                move |t| {
                    edit(t, unequal, |row, _| (row.third, row.hint) = (Felt::ONE, Felt::ZERO));
                    settle(t);
                },
                By::Constraint("C16"),
            ),
            forgery(
                "takes equal words for unequal",
                move |t| {
                    edit(t, equal, |row, _| row.third = Felt::ZERO);
                    settle(t);
                },
                By::Constraint("C17"),
            ),
            forgery(
                "returns to another address",
                move |t| {
                    edit(t, jump, |row, _| row.third += Felt::from_u32(4));
                    settle(t);
                },
                By::Constraint("C18"),
            ),
            forgery(
                "loads something else than memory has",
                move |t| {
                    edit(t, load, |row, _| row.third += Felt::ONE);
                    settle(t);
                },
                By::Constraint("C19"),
            ),
            forgery(
                "loads from another address",
                move |t| {
                    edit(t, load, |row, _| {
                        assert_eq!(row.second_address, Felt::from_u32(LEFT_AT));
                        row.second_address = Felt::from_u32(RIGHT_AT);
                    });
                    settle(t);
                },
                By::Constraint("C20"),
            ),
            forgery(
                "stores to another address",
                move |t| {
                    edit(t, store, |row, _| row.third_address = Felt::from_u32(RIGHT_AT));
                    settle(t);
                },
                By::Constraint("C21"),
            ),
            forgery(
                "loads the word before, as the fourth byte of it",
                move |t| {
                    edit(t, load, |row, _| {
                        row.hint = Felt::from_u32(4);
                        row.second_address = Felt::from_u32(MINUS_ONE_AT);
                        (row.second, row.third) = (Felt::from_u32(u32::MAX), Felt::from_u32(u32::MAX));
                    });
                    settle(t);
                },
                By::Constraint("C22"),
            ),
            forgery(
                "drops more than a bit of a jump's target",
                move |t| {
                    edit(t, jump, |row, _| row.hint = row.word - Felt::from_u32(there));
                    go_there(t, here, there, &image_1);
                },
                By::Constraint("C23"),
            ),
            forgery("jumps to another place", move |t| go_there(t, here, there, &image_2), By::Constraint("C24")),
            forgery(
                "executes an instruction that the program does not have",
                move |t| {
                    edit(t, start, |row, instruction| {
                        instruction.immediate = Felt::TWO;
                        set_word(row, 2);
                        row.third = Felt::TWO;
                    });
                    settle(t);
                },
                By::Bus("PROGRAM"),
            ),
            forgery(
                "takes an answer for true that is not",
                move |t| {
                    edit(t, multiply, |row, _| row.third += Felt::ONE);
                    settle(t);
                },
                By::Bus("ARITHMETIC"),
            ),
            forgery(
                "adds without a carry",
                move |t| {
                    edit(t, add, |row, _| {
                        row.word += row.carry * Felt::from_u64(1 << 32);
                        (row.carry, row.third) = (Felt::ZERO, row.word);
                    });
                    settle(t);
                },
                By::Bus("RANGE"),
            ),
            forgery(
                "loads a stale word",
                move |t| edit(t, load, |row, _| (row.second, row.third) = (Felt::TWO, Felt::TWO)),
                By::Bus("MEMORY"),
            ),
            forgery(
                "commits what another pointer points at",
                move |t| edit(t, commit, |row, _| row.second += Felt::from_u32(4)),
                By::Granted(&["MEMORY"], "CALL"),
            ),
        ],
        &[
            Entangled {
                names: &["C2", "C6", "C8", "C9"],
                reason: "the output table takes one commit and one halt: a run that does not begin, ends otherwise, or goes on behind its end \
                    has none of these calls or one too many, and what C6 forbids needs a second end",
            },
            Entangled {
                names: &["C1", "C11"],
                reason: "a row that is real neither once nor not at all is the last one of the run or behind it, and is_call in padding counts a \
                    token: either way there is a call that no table takes",
            },
        ],
    );
}

#[test]
fn every_cell_is_bound() {
    let (honest, ..) = honest();
    let names = CpuColumns::names();
    let is_padding = |row: &[Felt]| row[0] == Felt::ZERO;
    let mut free: Vec<Free> = PADDING_FREE
        .iter()
        .map(|column| Free { column, when: is_padding, reason: "padding speaks on no bus" })
        .collect();
    free.push(Free {
        column: "hint",
        when: |row| {
            let row = CpuColumns::read(row);
            let instruction = InstructionColumns::read(&row.instruction);
            let compares = instruction.writes_equal == Felt::ONE && row.word != Felt::ZERO;
            let addresses = instruction.is_load + instruction.is_store + instruction.writes_link == Felt::ONE;
            !compares && !addresses
        },
        reason: "nothing else reads it",
    });
    every_cell_counts(&honest, &names, &free);
}

/// What padding may hold: no constraint and no bus reads it there.
const PADDING_FREE: [&str; 20] = [
    "instruction[0]",
    "instruction[1]",
    "instruction[5]",
    "instruction[6]",
    "instruction[7]",
    "instruction[8]",
    "instruction[9]",
    "instruction[13]",
    "instruction[15]",
    "instruction[16]",
    "first_time",
    "first_gap",
    "second",
    "second_time",
    "second_gap",
    "third_before",
    "third",
    "third_time",
    "third_gap",
    "word_low",
];

#[test]
fn a_run_that_is_too_long_is_refused() {
    let (_, image, records) = run();
    let error = fill(&image, &records, HEIGHT / 2).unwrap_err();
    assert_eq!(error, TraceError::TooManyRows { table: "cpu", rows: HEIGHT, height: HEIGHT / 2 });
}
