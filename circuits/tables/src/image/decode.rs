//! The instructions of the machine as the cpu table sees them.
//!
//! The cpu knows few things: it forms a **word** = first + second_factor · second + immediate, modulo 2^32, and remembers the carry; it takes the
//! **third** value from one of six places (a flag each); and the **next pc** is next + jump · third, or the word for `jalr`. Everything an
//! instruction is, is said in these terms here. What is said here is preprocessed: it is part of the program hash, and the prover
//! cannot choose it.
//!
//! * Reading `x0` is an access like any other (it starts as 0 and nothing writes it): no flag says whether there is a second operand.
//! * What has no destination, or `x0` as its destination, writes to the **sink**, a register that no instruction reads.
//! * `lui`, `auipc` and `jal` add a constant to `x0`: pc and target are known here.
//! * Subtraction is first − second + 2^32 − 2^32 · carry: the carry is 1 exactly if there is no borrow, so it also compares.
//! * A branch writes its condition, 0 or 1, to the sink and jumps by it.

use joule_machine::{Image, Instruction, Op, layout::PROGRAM_START};
use p3_field::PrimeCharacteristicRing;

use super::columns::InstructionColumns;
use crate::{Felt, operations::Operation};

/// The register behind the machine's 32: it takes what nobody reads.
pub const SINK: u32 = 32;
/// How many registers have a row, the sink included.
pub const REGISTERS: u32 = 33;
/// Where the first row of the cpu is. The instruction there jumps to the image's entry point. No instruction can jump here: targets are
/// below 2^32.
pub const BOOT_PC: u64 = 1 << 32;

const WORD: u64 = 1 << 32;

/// The boot instruction: it jumps to the entry point.
#[must_use]
pub fn boot(entry: u32) -> InstructionColumns<Felt> {
    InstructionColumns {
        pc: Felt::from_u64(BOOT_PC),
        third_register: Felt::from_u32(SINK),
        next: Felt::from_u32(entry),
        writes_word: Felt::ONE,
        ..InstructionColumns::read(&[Felt::ZERO; InstructionColumns::WIDTH])
    }
}

/// An instruction at `pc`; `None` if it is not an instruction of the machine, so that nothing can be fetched there.
#[must_use]
pub fn decode(pc: u32, instruction: &Instruction) -> Option<InstructionColumns<Felt>> {
    let Instruction { op, rd, rs1, rs2, immediate } = *instruction;
    let behind = pc.wrapping_add(4);
    let target = pc.wrapping_add(immediate);
    let mut row = InstructionColumns {
        pc: Felt::from_u32(pc),
        first_register: Felt::from_u8(rs1),
        second_register: Felt::from_u8(rs2),
        third_register: if rd == 0 { Felt::from_u32(SINK) } else { Felt::from_u8(rd) },
        next: Felt::from_u32(behind),
        ..InstructionColumns::read(&[Felt::ZERO; InstructionColumns::WIDTH])
    };
    match op {
        Op::Lui => constant(&mut row, immediate),
        Op::Auipc => constant(&mut row, target),
        Op::Jal => {
            constant(&mut row, behind);
            row.next = Felt::from_u32(target);
        }
        Op::Jalr => {
            row.immediate = Felt::from_u32(immediate);
            row.writes_link = Felt::ONE;
            row.next = Felt::ZERO;
        }
        Op::Beq | Op::Bne => {
            subtract(&mut row);
            row.writes_equal = Felt::ONE;
            branch(&mut row, behind, target, op == Op::Beq);
        }
        Op::Bltu | Op::Bgeu => {
            subtract(&mut row);
            row.writes_less = Felt::ONE;
            branch(&mut row, behind, target, op == Op::Bltu);
        }
        Op::Blt | Op::Bge => {
            ask(&mut row, op);
            branch(&mut row, behind, target, op == Op::Blt);
        }
        Op::Lw => {
            row.immediate = Felt::from_u32(immediate);
            row.is_load = Felt::ONE;
            row.copies_second = Felt::ONE;
        }
        Op::Lb | Op::Lbu | Op::Lh | Op::Lhu => {
            row.immediate = Felt::from_u32(immediate);
            row.is_load = Felt::ONE;
            ask(&mut row, op);
        }
        Op::Sw => {
            row.immediate = Felt::from_u32(immediate);
            row.third_register = Felt::ZERO;
            row.is_store = Felt::ONE;
            row.copies_second = Felt::ONE;
        }
        Op::Sb | Op::Sh => {
            row.immediate = Felt::from_u32(immediate);
            row.third_register = Felt::ZERO;
            row.is_store = Felt::ONE;
            ask(&mut row, op);
        }
        Op::Addi => {
            row.immediate = Felt::from_u32(immediate);
            row.writes_word = Felt::ONE;
        }
        Op::Sltiu => {
            // The second register is x0, so the immediate is taken away here.
            row.immediate = Felt::from_u64(WORD - u64::from(immediate));
            row.writes_less = Felt::ONE;
        }
        Op::Add => {
            row.second_factor = Felt::ONE;
            row.writes_word = Felt::ONE;
        }
        Op::Sub => {
            subtract(&mut row);
            row.writes_word = Felt::ONE;
        }
        Op::Sltu => {
            subtract(&mut row);
            row.writes_less = Felt::ONE;
        }
        Op::Slti | Op::Xori | Op::Ori | Op::Andi | Op::Slli | Op::Srli | Op::Srai => {
            row.immediate = Felt::from_u32(immediate);
            ask(&mut row, op);
        }
        Op::Sll
        | Op::Slt
        | Op::Xor
        | Op::Srl
        | Op::Sra
        | Op::Or
        | Op::And
        | Op::Mul
        | Op::Mulh
        | Op::Mulhsu
        | Op::Mulhu
        | Op::Div
        | Op::Divu
        | Op::Rem
        | Op::Remu => ask(&mut row, op),
        Op::Fence => constant(&mut row, 0),
        Op::Ecall => {
            // The word is a7; it goes to the sink.
            row.writes_word = Felt::ONE;
            row.is_call = Felt::ONE;
        }
        Op::Illegal => return None,
    }
    Some(row)
}

/// The third value is a constant: `x0` plus it.
fn constant(row: &mut InstructionColumns<Felt>, value: u32) {
    row.immediate = Felt::from_u32(value);
    row.writes_word = Felt::ONE;
}

fn subtract(row: &mut InstructionColumns<Felt>) {
    row.second_factor = Felt::NEG_ONE;
    row.immediate = Felt::from_u64(WORD);
}

fn ask(row: &mut InstructionColumns<Felt>, op: Op) {
    let operation = Operation::of(op).expect("called for operations that are asked for");
    row.operation = Felt::from_u32(operation.code());
    row.asks = Felt::ONE;
}

/// Jumps to the target if the condition (which is in the third value) is what is wanted.
fn branch(row: &mut InstructionColumns<Felt>, behind: u32, target: u32, wanted: bool) {
    let (no, yes) = if wanted { (behind, target) } else { (target, behind) };
    row.next = Felt::from_u32(no);
    row.jump = Felt::from_u32(yes) - Felt::from_u32(no);
}

/// How many rows an image needs: one per register, one per word of its memory.
#[must_use]
pub fn rows(image: &Image) -> usize {
    REGISTERS as usize + image.memory().len()
}

/// The row of the instruction at `pc` in the image table, if the image's memory can hold one there.
#[must_use]
pub fn fetch_row(image: &Image, pc: u32) -> Option<usize> {
    let word = pc.checked_sub(image.memory_start())? / 4;
    (pc.is_multiple_of(4) && pc >= PROGRAM_START && (word as usize) < image.memory().len())
        .then_some(REGISTERS as usize + word as usize)
}
