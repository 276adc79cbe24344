//! The constraints of the output table.

use joule_machine::layout::{CALL_COMMIT, CALL_HALT, COMMIT_WORDS, SLOT_PRECOMPILE};
use p3_air::{Air, BaseAir, NamedAirBuilder, WindowAccess};
use p3_field::PrimeCharacteristicRing;
use p3_matrix::dense::RowMajorMatrix;

use super::columns::{OutputColumns, OutputPreprocessed};
use crate::{
    Felt,
    builder::TableBuilder,
    buses::{MemoryAccess, access, check_word, space, take_call},
    check::Trace,
};

/// The public values: the chain id, then hX and hY as eight words each.
pub const PUBLIC_VALUES: usize = 17;

/// The one commit, the one halt, and the public values.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// The table's height; at least 32.
    pub height: usize,
}

impl BaseAir<Felt> for Output {
    fn width(&self) -> usize {
        OutputColumns::WIDTH
    }

    fn num_public_values(&self) -> usize {
        PUBLIC_VALUES
    }

    fn preprocessed_width(&self) -> usize {
        OutputPreprocessed::WIDTH
    }

    fn preprocessed_trace(&self) -> Option<Trace> {
        let mut trace =
            RowMajorMatrix::new(vec![Felt::ZERO; self.height * OutputPreprocessed::WIDTH], OutputPreprocessed::WIDTH);
        for (index, cells) in trace.values.chunks_exact_mut(OutputPreprocessed::WIDTH).enumerate().take(COMMIT_WORDS) {
            let hash_word = index.checked_sub(2);
            OutputPreprocessed {
                is_word: Felt::ONE,
                offset: Felt::from_usize(4 * index),
                is_first: Felt::from_bool(index == 0),
                is_chain_high: Felt::from_bool(index == 1),
                bank: core::array::from_fn(|bank| Felt::from_bool(hash_word.is_some_and(|word| word / 4 == bank))),
                slot: core::array::from_fn(|slot| Felt::from_bool(hash_word.is_some_and(|word| word % 4 == slot))),
            }
            .write(cells);
        }
        Some(trace)
    }

    fn preprocessed_next_row_columns(&self) -> Vec<usize> {
        Vec::new()
    }
}

impl<AB: TableBuilder> Air<AB> for Output {
    fn eval(&self, builder: &mut AB) {
        let (main, preprocessed) = (builder.main(), builder.preprocessed().clone());
        let row = OutputColumns::read(main.current_slice());
        let next = OutputColumns::read(main.next_slice());
        let fixed = OutputPreprocessed::read(preprocessed.current_slice());
        let public: Vec<AB::Expr> = builder.public_values().iter().map(|&value| value.into()).collect();

        builder.when_transition().assert_eq_named(next.clock, row.clock, "O1 one commit");
        builder.when_transition().assert_eq_named(next.pointer, row.pointer, "O2 one pointer");
        builder.when_transition().assert_eq_named(next.halt_clock, row.halt_clock, "O3 one halt");

        // Exactly one commit and one halt(0): this table takes them once, no other takes them at all, and the cpu sends one per `ecall`.
        take_call(builder, CALL_COMMIT, row.pointer, row.clock, fixed.is_first);
        crate::buses::CALL.receive(
            builder,
            [AB::Expr::from_u32(CALL_HALT), AB::Expr::ZERO, row.halt_clock.into()],
            fixed.is_first,
        );

        access(
            builder,
            MemoryAccess {
                space: AB::Expr::from_u32(space::MEMORY),
                address: row.pointer + fixed.offset,
                previous_value: row.value.into(),
                value: row.value.into(),
                previous_timestamp: row.previous_timestamp.into(),
                timestamp: row.clock + AB::Expr::from_u32(SLOT_PRECOMPILE),
                gap_low: row.gap_low.into(),
            },
            fixed.is_word,
        );

        // The chain id is below 2^53, so that as a field element it is one number only: 2^11 times its high word is a word. (The high
        // word is itself a word, so the product is an integer below 2^43.)
        builder.when(fixed.is_first).assert_eq_named(
            row.value + next.value * Felt::from_u64(1 << 32),
            public[0].clone(),
            "O4 the chain id is the first two words",
        );
        check_word(builder, row.value * Felt::from_u32(1 << 11), row.chain_low, fixed.is_chain_high);

        // Bank and slot are both one-hot or both empty, so one product is 1 in a row of hX or hY and none is elsewhere.
        let mut difference = AB::Expr::ZERO;
        for (bank, &is_bank) in fixed.bank.iter().enumerate() {
            for (slot, &is_slot) in fixed.slot.iter().enumerate() {
                difference += (row.value - public[1 + 4 * bank + slot].clone()) * (is_bank * is_slot);
            }
        }
        builder.assert_zero_named(difference, "O5 the hashes are the following words");
    }
}
