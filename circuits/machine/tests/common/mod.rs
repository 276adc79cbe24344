//! What several tests share: a small assembler, and the check that records are what the tables rely on.
#![allow(dead_code, reason = "every test uses its own part")]

use std::collections::BTreeMap;

use joule_machine::{
    Image, Instruction, Op, Records, Witness,
    layout::{
        CALL_HALT, INPUT_START, PROGRAM_END, SLOT_FIRST, SLOT_PRECOMPILE, SLOT_PRECOMPILE_OUTPUT, SLOT_SECOND,
        SLOT_THIRD,
    },
    records::Access,
};

/// `op rd, rs1, rs2`.
pub(crate) fn register(op: Op, rd: u8, rs1: u8, rs2: u8) -> u32 {
    Instruction { op, rd, rs1, rs2, immediate: 0 }.encode()
}

/// `op rd, rs1, immediate`; also loads and `jalr`.
pub(crate) fn immediate(op: Op, rd: u8, rs1: u8, immediate: i32) -> u32 {
    Instruction { op, rd, rs1, rs2: 0, immediate: immediate as u32 }.encode()
}

/// `op rs2, immediate(rs1)`; also branches.
pub(crate) fn store(op: Op, rs1: u8, rs2: u8, immediate: i32) -> u32 {
    Instruction { op, rd: 0, rs1, rs2, immediate: immediate as u32 }.encode()
}

/// `li rd, value`, always in two instructions.
pub(crate) fn load_immediate(rd: u8, value: u32) -> [u32; 2] {
    let low = (value << 20) as i32 >> 20;
    let high = value.wrapping_sub(low as u32);
    [immediate(Op::Lui, rd, 0, high as i32), immediate(Op::Addi, rd, rd, low)]
}

/// An environment call with its arguments, from `a0` on.
pub(crate) fn call(number: u32, arguments: &[u32]) -> Vec<u32> {
    let mut words = Vec::new();
    for (register, &argument) in (10..).zip(arguments) {
        words.extend(load_immediate(register, argument));
    }
    words.extend(load_immediate(17, number));
    words.push(0x73);
    words
}

/// A program that is `body` and then halts with 0.
pub(crate) fn program(body: &[u32]) -> Image {
    let mut words = body.to_vec();
    words.extend(call(CALL_HALT, &[0]));
    Image::from_instructions(&words).unwrap()
}

/// Replays the records against the rules that the tables enforce.
///
/// Written from the book, not from the interpreter: every access takes what the one before left, time grows along each address, each cycle
/// is the instruction that the image has there, and nothing was touched that is not in the final memory.
pub(crate) fn check_records(image: &Image, witness: &Witness, records: &Records) {
    let mut accesses: Vec<(u32, bool, Access)> = Vec::new();
    let mut pc = image.entry();
    for (index, cycle) in records.cycles.iter().enumerate() {
        let clock = Records::clock(index);
        assert_eq!(cycle.pc, pc);
        assert_eq!(Some(&cycle.instruction), image.instruction(pc));
        let op = cycle.instruction.op;
        let mut slot = |slot: u32, is_memory: bool, register: Option<u8>, access: Access| {
            if is_memory {
                assert_eq!(access.address, cycle.byte_address() & !3);
            } else {
                let Some(register) = register else {
                    assert_eq!(access, Access::NONE);
                    return;
                };
                assert_eq!(access.address, u32::from(register));
                assert!((1..32).contains(&register));
            }
            accesses.push((clock + slot, is_memory, access));
        };
        slot(SLOT_FIRST, false, cycle.instruction.first_register(), cycle.first);
        slot(SLOT_SECOND, op.is_load(), cycle.instruction.second_register(), cycle.second);
        slot(SLOT_THIRD, op.is_store(), cycle.instruction.third_register(), cycle.third);
        assert_eq!(cycle.first.before, cycle.first.after);
        assert_eq!(cycle.second.before, cycle.second.after);
        pc = cycle.next_pc;
    }
    let last = records.cycles.last().unwrap();
    assert_eq!((last.instruction.op, last.first_operand()), (Op::Ecall, CALL_HALT));
    assert_eq!(last.second_operand(), records.exit_code);

    let mut memory = |clock: u32, slot: u32, address: u32, range: &[Access]| {
        for (access, address) in range.iter().zip((address..).step_by(4)) {
            assert_eq!(access.address, address);
            accesses.push((clock + slot, true, *access));
        }
    };
    for event in &records.keccaks {
        memory(event.clock, SLOT_PRECOMPILE, event.address, &event.state[..]);
    }
    for event in &records.tree_updates {
        memory(event.clock, SLOT_PRECOMPILE, event.address, &event.words[..]);
    }
    for event in &records.recoveries {
        memory(event.clock, SLOT_PRECOMPILE, event.address, &event.words[..]);
    }
    if let Some(event) = &records.commit {
        memory(event.clock, SLOT_PRECOMPILE, event.address, &event.words[..]);
    }
    for event in &records.hashes {
        memory(event.clock, SLOT_PRECOMPILE, event.input_address, &event.input);
        memory(event.clock, SLOT_PRECOMPILE_OUTPUT, event.output_address, &event.output);
    }
    for event in &records.hashes {
        for (access, register) in event.arguments.iter().zip(11..) {
            assert_eq!(access.address, register);
            accesses.push((event.clock + SLOT_PRECOMPILE, false, *access));
        }
    }

    accesses.sort_by_key(|&(timestamp, ..)| timestamp);
    let mut state: BTreeMap<(bool, u32), (u32, u32)> = BTreeMap::new();
    for (timestamp, is_memory, access) in accesses {
        let initial = if is_memory { initial_value(image, witness, access.address) } else { 0 };
        let place = state.entry((is_memory, access.address)).or_insert((initial, 0));
        assert_eq!((access.before, access.previous_timestamp), *place);
        assert!(timestamp > access.previous_timestamp);
        *place = (access.after, timestamp);
    }
    let mut finals: BTreeMap<(bool, u32), (u32, u32)> = BTreeMap::new();
    for word in &records.memory {
        assert_eq!(word.initial_value, initial_value(image, witness, word.address));
        finals.insert((true, word.address), (word.final_value, word.final_timestamp));
    }
    assert!(records.memory.is_sorted_by(|left, right| left.address < right.address));
    for (number, register) in (0..).zip(&records.registers) {
        if register.final_timestamp != 0 {
            finals.insert((false, number), (register.final_value, register.final_timestamp));
        } else {
            assert_eq!(register.final_value, 0);
        }
    }
    assert_eq!(finals, state);
}

fn initial_value(image: &Image, witness: &Witness, address: u32) -> u32 {
    match address {
        0..PROGRAM_END => image.word(address).unwrap(),
        INPUT_START.. => witness.input.get((address - INPUT_START) as usize / 4).copied().unwrap_or(0),
        _ => 0,
    }
}
