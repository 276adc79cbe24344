//! The constraints of the memory table.

use joule_machine::layout::{HEAP_END, HEAP_START, INPUT_END, INPUT_START};
use p3_air::{Air, BaseAir, NamedAirBuilder, WindowAccess};
use p3_field::PrimeCharacteristicRing;

use super::columns::MemoryColumns;
use crate::{
    Felt,
    builder::TableBuilder,
    buses::{MEMORY, check_word, space},
};

/// The words of the heap and of the private input that a run touches, at its start and at its end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory;

impl BaseAir<Felt> for Memory {
    fn width(&self) -> usize {
        MemoryColumns::WIDTH
    }
}

impl<AB: TableBuilder> Air<AB> for Memory {
    fn eval(&self, builder: &mut AB) {
        let main = builder.main();
        let row = MemoryColumns::read(main.current_slice());
        let next = MemoryColumns::read(main.next_slice());
        let index_of = |address: u32| AB::Expr::from_u32(address / 4);

        builder.assert_bool_named(row.is_heap, "M1 heap is a flag");
        builder.assert_bool_named(row.is_input, "M2 input is a flag");
        builder.assert_zero_named(row.is_heap * row.is_input, "M3 a word is in one region");
        let is_real: AB::Expr = row.is_heap + row.is_input;

        // Heap, then input, then padding. Each region's rows begin at its first word, so that all its addresses are at or above it.
        builder.when_first_row().assert_one_named(row.is_heap, "M4 the heap comes first");
        builder.when_first_row().assert_eq_named(row.index, index_of(HEAP_START), "M5 the heap begins at its start");
        builder
            .when_transition()
            .assert_zero_named((AB::Expr::ONE - row.is_heap) * next.is_heap, "M6 heap rows stay together");
        builder
            .when_transition()
            .assert_zero_named((AB::Expr::ONE - is_real.clone()) * next.is_input, "M7 nothing follows padding");
        builder.when_transition().assert_zero_named(
            row.is_heap * next.is_input * (next.index - index_of(INPUT_START)),
            "M8 the input begins at its start",
        );
        // The last row has no next one to be below, so it must not be a word.
        builder.when_last_row().assert_zero_named(is_real.clone(), "M9 the last row is padding");

        // Addresses grow strictly and stay below their region's end: both gaps are words. A region's first address is an integer, and each
        // next one is at most 2^32 larger; a table's height times 2^32 is far below p, so no sum wraps around.
        let limit = |is_next: AB::Var, end: u32| -> AB::Expr {
            is_next * next.index + (AB::Expr::ONE - is_next) * index_of(end)
        };
        builder.when_transition().assert_eq_named(
            row.gap,
            limit(next.is_heap, HEAP_END) * row.is_heap + limit(next.is_input, INPUT_END) * row.is_input
                - is_real.clone() * (row.index + Felt::ONE),
            "M10 addresses grow strictly within their region",
        );
        check_word(builder, row.gap, row.gap_low, is_real.clone());

        // The heap starts as zeros; the private input is the prover's choice, as long as it is words.
        builder.when(row.is_heap).assert_zero_named(row.initial_value, "M11 the heap starts as zeros");
        check_word(builder, row.initial_value, row.initial_low, is_real.clone());

        let address: AB::Expr = row.index * Felt::from_u32(4);
        let space = AB::Expr::from_u32(space::MEMORY);
        MEMORY.send(
            builder,
            [space.clone(), address.clone(), row.initial_value.into(), AB::Expr::ZERO],
            is_real.clone(),
        );
        MEMORY.receive(builder, [space, address, row.final_value.into(), row.final_timestamp.into()], is_real);
    }
}
