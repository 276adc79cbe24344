//! The constraints of the cpu table.

use joule_machine::layout::{CALL_HALT, CLOCK_START, CLOCK_STRIDE, SLOT_FIRST, SLOT_SECOND, SLOT_THIRD};
use p3_air::{Air, BaseAir, NamedAirBuilder, WindowAccess};
use p3_field::PrimeCharacteristicRing;

use super::columns::CpuColumns;
use crate::{
    Felt,
    builder::TableBuilder,
    buses::{ARITHMETIC, CALL, MemoryAccess, PROGRAM, access, check_word, space},
    image::{columns::InstructionColumns, decode::BOOT_PC},
};

/// The cycles of a run, from the boot instruction to the halt.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu;

impl BaseAir<Felt> for Cpu {
    fn width(&self) -> usize {
        CpuColumns::WIDTH
    }
}

impl<AB: TableBuilder> Air<AB> for Cpu {
    fn eval(&self, builder: &mut AB) {
        let main = builder.main();
        let row = CpuColumns::read(main.current_slice());
        let next = CpuColumns::read(main.next_slice());
        let instruction = InstructionColumns::read(&row.instruction);
        let next_instruction = InstructionColumns::read(&next.instruction);
        let one = AB::Expr::ONE;

        // The shape of a run. Real rows come first and the last row is padding, so there is a last real row with a next one; it must be a
        // halt. (Its exit code, and that it is the only halt, is the output table's business.)
        builder.assert_bool_named(row.is_real, "C1 real is a flag");
        builder.when_first_row().assert_one_named(row.is_real, "C2 the first row is real");
        builder.when_first_row().assert_eq_named(
            instruction.pc,
            AB::Expr::from_u64(BOOT_PC),
            "C3 the first row is the boot instruction",
        );
        builder.when_first_row().assert_eq_named(
            row.clock,
            AB::Expr::from_u32(CLOCK_START - CLOCK_STRIDE),
            "C4 the clock starts in the first row",
        );
        builder.when_transition().assert_eq_named(
            next.clock,
            row.clock + Felt::from_u32(CLOCK_STRIDE),
            "C5 the clock moves by its stride",
        );
        builder
            .when_transition()
            .assert_zero_named((one.clone() - row.is_real) * next.is_real, "C6 nothing follows padding");
        builder.when_last_row().assert_zero_named(row.is_real, "C7 the last row is padding");
        let is_last: AB::Expr = (one.clone() - next.is_real) * row.is_real;
        builder
            .when_transition()
            .assert_zero_named(is_last.clone() * (one.clone() - instruction.is_call), "C8 the run ends with a call");
        builder.when_transition().assert_zero_named(
            is_last * (row.first - Felt::from_u32(CALL_HALT)),
            "C9 the call that ends the run is halt",
        );

        // Fetch. What is fetched is preprocessed: flags are boolean, exactly one says where the third value comes from.
        PROGRAM.send(builder, row.instruction.map(Into::into), row.is_real);
        // Two flags are multiplicities of their own; without a fetch nothing else binds them.
        builder.when(one.clone() - row.is_real).assert_zero_named(instruction.asks, "C10 padding asks nothing");
        builder.when(one.clone() - row.is_real).assert_zero_named(instruction.is_call, "C11 padding calls nothing");

        // The word. All operands are words (the immediate at most 2^32), the sum lies in 0 .. 2^33, and the word is range-checked: the carry,
        // a bit, is the quotient.
        builder.assert_eq_named(
            row.word,
            instruction.second_factor * row.second + row.first + instruction.immediate
                - row.carry * Felt::from_u64(1 << 32),
            "C12 the word is the sum modulo 2^32",
        );
        builder.assert_bool_named(row.carry, "C13 the carry is a bit");
        check_word(builder, row.word, row.word_low, row.is_real);

        // The third value, from one of six places. It is a word in each: the word is, a bit is, an address behind an instruction is, the second
        // value is (it comes from memory), and answers are.
        builder.when(instruction.writes_word).assert_eq_named(row.third, row.word, "C14 the third value is the word");
        builder.when(instruction.writes_less).assert_eq_named(
            row.third,
            one.clone() - row.carry,
            "C15 the third value is the borrow",
        );
        builder
            .when(instruction.writes_equal)
            .assert_zero_named(row.third * row.word, "C16 equal only if the difference is zero");
        builder.when(instruction.writes_equal).assert_eq_named(
            row.third,
            one.clone() - row.word * row.hint,
            "C17 unequal only if the difference has an inverse",
        );
        builder.when(instruction.writes_link).assert_eq_named(
            row.third,
            instruction.pc + Felt::from_u32(4),
            "C18 the third value is the return address",
        );
        builder.when(instruction.copies_second).assert_eq_named(
            row.third,
            row.second,
            "C19 the third value is the second",
        );

        // Loads and stores. The aligned address is the word less the place of the bytes; nothing else in memory has an initial row, so the
        // place is the word's remainder modulo 4 if it is 0 to 3, which a copy makes sure of here and a question there.
        let aligned = row.word - row.hint;
        builder.assert_eq_named(
            row.second_address,
            aligned.clone() * instruction.is_load + instruction.second_register,
            "C20 loads read memory",
        );
        builder.assert_eq_named(
            row.third_address,
            aligned.clone() * instruction.is_store + instruction.third_register,
            "C21 stores write memory",
        );
        builder.when(instruction.copies_second).assert_zero_named(row.hint, "C22 whole words are aligned");

        // The next pc. It must be an instruction's, so `jalr` cannot choose which bit it drops: only one choice is a multiple of 4.
        builder.when(instruction.writes_link).assert_bool_named(row.hint, "C23 jalr drops one bit");
        let target = instruction.jump * row.third + instruction.next + aligned * instruction.writes_link;
        builder.when_transition().assert_zero_named((next_instruction.pc - target) * next.is_real, "C24 the next pc");

        // Questions: an operation on two operands; a narrow load, on the memory word; a narrow store, on the memory word before and the
        // second value.
        let is_narrow = instruction.is_load + instruction.is_store;
        let left = (row.second - row.first) * instruction.is_load
            + (row.third_before - row.first) * instruction.is_store
            + row.first;
        let right = (one.clone() - instruction.is_load) * row.second
            + (one.clone() - is_narrow.clone()) * instruction.immediate;
        ARITHMETIC.send(
            builder,
            [instruction.operation.into(), is_narrow * row.hint, left, right, row.third.into()],
            instruction.asks,
        );

        CALL.send(builder, [row.first.into(), row.second.into(), row.clock.into()], instruction.is_call);

        // Three accesses. The third value's being a word is argued above.
        let registers = AB::Expr::from_u32(space::REGISTERS);
        // `space::MEMORY` is 0 and `space::REGISTERS` 1: a load's second and a store's third access are to memory.
        let slots = [
            (SLOT_FIRST, registers, instruction.first_register, row.first, row.first, row.first_time, row.first_gap),
            (
                SLOT_SECOND,
                one.clone() - instruction.is_load,
                row.second_address,
                row.second,
                row.second,
                row.second_time,
                row.second_gap,
            ),
            (
                SLOT_THIRD,
                one - instruction.is_store,
                row.third_address,
                row.third_before,
                row.third,
                row.third_time,
                row.third_gap,
            ),
        ];
        for (slot, space, address, before, after, time, gap) in slots {
            access(
                builder,
                MemoryAccess {
                    space,
                    address: address.into(),
                    previous_value: before.into(),
                    value: after.into(),
                    previous_timestamp: time.into(),
                    timestamp: row.clock + Felt::from_u32(slot),
                    gap_low: gap.into(),
                },
                row.is_real,
            );
        }
    }
}
