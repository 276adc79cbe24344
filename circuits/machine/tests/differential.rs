//! Random instruction sequences: the interpreter against a second evaluation, written for plainness.

mod common;

use std::collections::HashMap;

use common::{check_records, load_immediate, program};
use joule_machine::{Instruction, Limits, Op, Witness, layout::HEAP_START, record, run};
use proptest::prelude::*;

/// Where loads and stores go: `x31` points to its middle.
const WINDOW: u32 = HEAP_START + 0x1000;

/// The state of the second evaluation: bytes, and arithmetic in integers wide enough never to wrap.
struct Reference {
    registers: [u32; 32],
    bytes: HashMap<u32, u8>,
}

impl Reference {
    fn load(&self, address: u32, count: u32) -> u32 {
        (0..count).map(|i| u32::from(*self.bytes.get(&(address + i)).unwrap_or(&0)) << (8 * i)).sum()
    }

    fn execute(&mut self, instruction: Instruction) {
        let Instruction { op, rd, rs1, rs2, immediate } = instruction;
        let (first, second) = (self.registers[rs1 as usize], self.registers[rs2 as usize]);
        let second = if op.takes_immediate_operand() { immediate } else { second };
        let (a, b) = (i128::from(first), i128::from(second));
        let (sa, sb) = (i128::from(first as i32), i128::from(second as i32));
        let shift = b % 32;
        let address = first.wrapping_add(immediate);
        let value: i128 = match op.register_form() {
            Op::Lui => i128::from(immediate),
            Op::Add => a + b,
            Op::Sub => a - b,
            Op::Sll => a << shift,
            Op::Srl => a >> shift,
            Op::Sra => sa >> shift,
            Op::Slt => (sa < sb).into(),
            Op::Sltu => (a < b).into(),
            Op::Xor => a ^ b,
            Op::Or => a | b,
            Op::And => a & b,
            Op::Mul => a * b,
            Op::Mulh => (sa * sb) >> 32,
            Op::Mulhsu => (sa * b) >> 32,
            Op::Mulhu => (a * b) >> 32,
            Op::Div | Op::Divu if b == 0 => -1,
            Op::Rem | Op::Remu if b == 0 => a,
            Op::Div => sa / sb,
            Op::Divu => a / b,
            Op::Rem => sa % sb,
            Op::Remu => a % b,
            Op::Lb => (self.load(address, 1) as i8).into(),
            Op::Lbu => self.load(address, 1).into(),
            Op::Lh => (self.load(address, 2) as i16).into(),
            Op::Lhu => self.load(address, 2).into(),
            Op::Lw => self.load(address, 4).into(),
            Op::Sb | Op::Sh | Op::Sw => {
                let count = match op {
                    Op::Sb => 1,
                    Op::Sh => 2,
                    _ => 4,
                };
                for i in 0..count {
                    self.bytes.insert(address + i, (second >> (8 * i)) as u8);
                }
                return;
            }
            Op::Fence => return,
            other => panic!("{other:?} is not generated"),
        };
        if rd != 0 {
            self.registers[rd as usize] = value as u32;
        }
    }
}

/// Anything that goes on to the next instruction. Addresses are `x31` and an aligned offset; nothing writes `x31`.
fn an_instruction() -> impl Strategy<Value = Instruction> {
    let ops: Vec<Op> = Op::ALL
        .into_iter()
        .filter(|op| !op.is_branch() && !matches!(op, Op::Jal | Op::Jalr | Op::Auipc | Op::Ecall))
        .collect();
    // Few registers, so that results are used; x0 among them.
    (prop::sample::select(ops), 0_u8..8, 0_u8..8, 0_u8..8, any::<u32>()).prop_map(|(op, rd, rs1, rs2, immediate)| {
        let alignment = match op {
            Op::Lw | Op::Sw => 4,
            Op::Lh | Op::Lhu | Op::Sh => 2,
            _ => 1,
        };
        let is_memory = op.is_load() || op.is_store();
        let immediate = if is_memory { (immediate as i32 % 32 / alignment * alignment) as u32 } else { immediate };
        let rs1 = if is_memory { 31 } else { rs1 };
        // What the encoding cannot hold is cut off, and what the operation does not use is dropped.
        Instruction::decode(Instruction { op, rd, rs1, rs2, immediate }.encode())
    })
}

fn a_word() -> impl Strategy<Value = u32> {
    prop_oneof![
        any::<u32>(),
        prop::sample::select(vec![0, 1, 2, 31, 32, 0x7fff_ffff, 0x8000_0000, 0x8000_0001, 0xffff_fffe, u32::MAX]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn sequences_give_the_same_registers_and_memory(
        start in prop::array::uniform7(a_word()),
        instructions in prop::collection::vec(an_instruction(), 1..100),
    ) {
        let mut reference = Reference { registers: [0; 32], bytes: HashMap::new() };
        let mut body = load_immediate(31, WINDOW).to_vec();
        reference.registers[31] = WINDOW;
        for (register, value) in (1..).zip(start) {
            body.extend(load_immediate(register, value));
            reference.registers[register as usize] = value;
        }
        for instruction in instructions {
            body.push(instruction.encode());
            reference.execute(instruction);
        }
        let image = program(&body);
        let (witness, limits) = (Witness::default(), Limits { cycles: 1000, pages: 8 });
        let (outcome, records) = record(&image, &witness, limits).unwrap();
        prop_assert_eq!(run(&image, &witness, limits).unwrap(), outcome);
        check_records(&image, &witness, &records);
        for register in (1..8).chain([31]) {
            prop_assert_eq!(records.registers[register].final_value, reference.registers[register]);
        }
        for word in &records.memory {
            prop_assert_eq!(word.final_value, reference.load(word.address, 4));
        }
    }
}
