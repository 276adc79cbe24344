//! Filling the cpu table.

use joule_machine::{
    Image, Records,
    layout::{CLOCK_START, CLOCK_STRIDE, SLOT_FIRST, SLOT_SECOND, SLOT_THIRD},
    records::{Access, Cycle, RegisterWord},
};
use p3_field::{Field, PrimeCharacteristicRing, PrimeField64};
use p3_matrix::dense::RowMajorMatrix;

use super::columns::CpuColumns;
use crate::{
    Felt,
    check::Trace,
    image::{
        columns::InstructionColumns,
        decode::{REGISTERS, SINK, boot, decode},
    },
    operations::Question,
    trace::{TraceError, low_limb},
};

/// The registers at the end, with the two that the interpreter does not count accesses of: `x0` and the sink.
pub type Registers = [RegisterWord; REGISTERS as usize];

/// How many rows a run needs: the boot instruction's, one per cycle, and the padding that ends the table.
#[must_use]
pub fn rows(records: &Records) -> usize {
    records.cycles.len() + 2
}

/// One row for the boot instruction and one per cycle; also the registers at the end.
///
/// # Errors
///
/// [`TraceError::TooManyRows`], if there are more cycles than rows (less the boot row and the padding row that ends the table).
pub fn fill(image: &Image, records: &Records, height: usize) -> Result<(Trace, Registers), TraceError> {
    let rows = rows(records);
    if rows > height {
        return Err(TraceError::TooManyRows { table: "cpu", rows, height });
    }
    let mut values = vec![Felt::ZERO; height * CpuColumns::WIDTH];
    let mut cells = values.chunks_exact_mut(CpuColumns::WIDTH);
    let mut unseen = Unseen::default();

    let boot_cycle = Filled {
        instruction: boot(image.entry()),
        clock: CLOCK_START - CLOCK_STRIDE,
        first: Access::NONE,
        second: Access::NONE,
        third: Access::NONE,
        carry: false,
        word: 0,
        hint: Felt::ZERO,
    };
    let mut fill_row = |filled: Filled| filled.row(&mut unseen).write(cells.next().expect("rows were counted"));
    fill_row(boot_cycle);
    for (index, cycle) in records.cycles.iter().enumerate() {
        let instruction = decode(cycle.pc, &cycle.instruction).ok_or_else(|| TraceError::WrongRecords {
            what: format!("the instruction at {:#010x} cannot be executed", cycle.pc),
        })?;
        fill_row(Filled::of(cycle, instruction, Records::clock(index)));
    }
    // Padding keeps the clock going, and nothing else.
    let numbers = CpuColumns::numbers();
    for (index, cells) in cells.enumerate() {
        cells[numbers.clock] = Felt::from_u32(Records::clock(records.cycles.len() + index));
    }

    let mut registers = [RegisterWord::default(); REGISTERS as usize];
    registers[..32].copy_from_slice(&records.registers);
    registers[0].final_timestamp = unseen.zero_time;
    registers[SINK as usize] = RegisterWord { final_value: unseen.sink_value, final_timestamp: unseen.sink_time };
    Ok((RowMajorMatrix::new(values, CpuColumns::WIDTH), registers))
}

/// The accesses that the interpreter leaves out: reads of `x0`, and writes to the sink.
#[derive(Default)]
struct Unseen {
    zero_time: u32,
    sink_time: u32,
    sink_value: u32,
}

/// A cycle with what the cpu computes.
struct Filled {
    instruction: InstructionColumns<Felt>,
    clock: u32,
    first: Access,
    second: Access,
    third: Access,
    word: u32,
    carry: bool,
    hint: Felt,
}

impl Filled {
    fn of(cycle: &Cycle, instruction: InstructionColumns<Felt>, clock: u32) -> Self {
        let (first, second, mut third) = (cycle.first, cycle.second, cycle.third);
        let immediate = instruction.immediate.as_canonical_u64();
        let factored = if instruction.second_factor == Felt::ZERO {
            0
        } else if instruction.second_factor == Felt::ONE {
            i64::from(second.after)
        } else {
            -i64::from(second.after)
        };
        // At least 0 (a subtraction adds 2^32) and below 2^33.
        let sum = (i64::from(first.after) + factored) + immediate as i64;
        let (word, carry) = (sum as u32, sum >> 32 != 0);

        // Where the instruction has no destination, the sink takes what it would write.
        if cycle.instruction.rd == 0 && instruction.is_store == Felt::ZERO {
            third.after = if let Some(question) = Question::of(cycle) {
                question.answer()
            } else if instruction.writes_word == Felt::ONE {
                word
            } else if instruction.writes_less == Felt::ONE {
                u32::from(!carry)
            } else if instruction.writes_equal == Felt::ONE {
                u32::from(word == 0)
            } else if instruction.writes_link == Felt::ONE {
                cycle.pc.wrapping_add(4)
            } else {
                second.after
            };
        }
        let hint = if instruction.writes_equal == Felt::ONE {
            Felt::from_u32(word).try_inverse().unwrap_or(Felt::ZERO)
        } else if instruction.writes_link == Felt::ONE {
            Felt::from_u32(word & 1)
        } else if instruction.is_load + instruction.is_store == Felt::ONE {
            Felt::from_u32(word & 3)
        } else {
            Felt::ZERO
        };
        Self { instruction, clock, first, second, third, word, carry, hint }
    }

    fn row(mut self, unseen: &mut Unseen) -> CpuColumns<Felt> {
        let instruction = self.instruction;
        let time = |slot: u32| self.clock + slot;
        if instruction.first_register == Felt::ZERO {
            self.first.previous_timestamp = core::mem::replace(&mut unseen.zero_time, time(SLOT_FIRST));
        }
        if instruction.second_register == Felt::ZERO && instruction.is_load == Felt::ZERO {
            self.second.previous_timestamp = core::mem::replace(&mut unseen.zero_time, time(SLOT_SECOND));
        }
        if instruction.third_register == Felt::from_u32(SINK) {
            self.third.before = core::mem::replace(&mut unseen.sink_value, self.third.after);
            self.third.previous_timestamp = core::mem::replace(&mut unseen.sink_time, time(SLOT_THIRD));
        }
        let mut cells = [Felt::ZERO; InstructionColumns::WIDTH];
        instruction.write(&mut cells);
        let aligned = Felt::from_u32(self.word) - self.hint;
        let gap = |access: &Access, slot: u32| low_limb(time(slot) - access.previous_timestamp - 1);
        CpuColumns {
            is_real: Felt::ONE,
            clock: Felt::from_u32(self.clock),
            instruction: cells,
            first: Felt::from_u32(self.first.after),
            first_time: Felt::from_u32(self.first.previous_timestamp),
            first_gap: gap(&self.first, SLOT_FIRST),
            second_address: instruction.second_register + instruction.is_load * aligned,
            second: Felt::from_u32(self.second.after),
            second_time: Felt::from_u32(self.second.previous_timestamp),
            second_gap: gap(&self.second, SLOT_SECOND),
            third_address: instruction.third_register + instruction.is_store * aligned,
            third_before: Felt::from_u32(self.third.before),
            third: Felt::from_u32(self.third.after),
            third_time: Felt::from_u32(self.third.previous_timestamp),
            third_gap: gap(&self.third, SLOT_THIRD),
            word: Felt::from_u32(self.word),
            word_low: low_limb(self.word),
            carry: Felt::from_bool(self.carry),
            hint: self.hint,
        }
    }
}
