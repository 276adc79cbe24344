//! What the rows of the tree table must satisfy.

use joule_machine::layout::{CALL_TREE_UPDATE, SLOT_PRECOMPILE, TREE_DEPTH};
use p3_air::{Air, BaseAir, NamedAirBuilder, WindowAccess};
use p3_field::PrimeCharacteristicRing;

use super::columns::TreeColumns;
use crate::{
    Felt,
    builder::TableBuilder,
    buses::{self, PERMUTATION, TRANSFER},
};

/// Bytes of a digest in memory.
const DIGEST_BYTES: u32 = 32;

/// The tree table.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tree;

impl BaseAir<Felt> for Tree {
    fn width(&self) -> usize {
        TreeColumns::<()>::WIDTH
    }
}

impl<AB: TableBuilder> Air<AB> for Tree {
    fn eval(&self, builder: &mut AB) {
        let main = builder.main();
        let row = TreeColumns::read(main.current_slice());
        let next = TreeColumns::read(main.next_slice());
        let one = AB::Expr::ONE;
        let is_real = row.is_load + row.is_level + row.is_store;
        let goes_on = one.clone() - row.is_end;

        // What kind of row this is.
        for flag in [row.is_load, row.is_level, row.is_store, row.is_end, row.is_right] {
            builder.assert_bool_named(flag, "R1 flags are bits");
        }
        builder.assert_bool_named(is_real.clone(), "R2 a row is of one kind");
        builder.assert_zero_named(row.is_end * (one.clone() - is_real.clone()), "R3 padding ends nothing");
        let last = row.is_load * AB::F::from_u32(3)
            + row.is_level * AB::F::from_usize(TREE_DEPTH - 1)
            + row.is_store * AB::F::from_u32(3);
        builder.assert_zero_named(row.is_end * (last - row.index), "R4 each kind ends at its last row");

        // The order of rows: the index counts up until it is that of a last row, which alone lets the next kind begin.
        builder.when_first_row().assert_zero_named(row.is_level + row.is_store, "R5 the trace starts between updates");
        builder.when_first_row().assert_zero_named(row.index, "R5 counting starts at zero");
        builder.when_last_row().assert_zero_named(
            row.is_load + row.is_level + row.is_store * goes_on.clone(),
            "R6 the trace ends between updates",
        );
        builder.when_transition().assert_zero_named(
            next.index - (row.index + one.clone()) * (is_real.clone() - row.is_end),
            "R7 rows of a kind are counted",
        );
        builder.when_transition().assert_zero_named(
            next.is_level - row.is_level * goes_on.clone() - row.is_load * row.is_end,
            "R8 levels follow the leaves",
        );
        builder.when_transition().assert_zero_named(
            next.is_store - row.is_store * goes_on.clone() - row.is_level * row.is_end,
            "R9 the root follows the levels",
        );
        builder
            .assert_zero_named(row.is_load * goes_on.clone() * (one - next.is_load), "R10 loading goes on to its end");
        // No transition selector from here on: where an update goes on there is a next row, by R6.
        let in_update = is_real - row.is_store * row.is_end;
        for (this, that) in [(row.clock, next.clock), (row.address, next.address)] {
            builder
                .assert_zero_named(in_update.clone() * (that - this), "R11 the call stays the same through an update");
        }

        // Two words are an element modulo p, which is how the machine reads a digest.
        let word_base = AB::F::from_u64(1 << 32);
        let elements = [row.words[0] + row.words[1] * word_base, row.words[2] + row.words[3] * word_base];
        let paths = [(row.old, next.old), (row.new, next.new)];
        for ((this, that), element) in paths.into_iter().zip(elements) {
            for index in 0..3 {
                builder
                    .assert_zero_named(row.is_load * (that[index] - this[index + 1]), "R12 loaded elements make room");
                builder.assert_zero_named(
                    row.is_store * goes_on.clone() * (that[index] - this[index + 1]),
                    "R13 stored elements make room",
                );
            }
            builder.assert_zero_named(
                row.is_load * (that[3] - element.clone()),
                "R14 an element is loaded from its words",
            );
            builder.assert_zero_named(row.is_store * (this[0] - element), "R15 an element is stored as its words");
        }

        // The position's bits, least significant first, with nothing left above the last level. Read from there backwards, each position
        // is twice the one above it plus a bit: an integer below 2^32, so the word has no second decomposition.
        builder.assert_zero_named(
            row.is_load * row.is_end * (next.position - row.position),
            "R16 climbing starts from the position",
        );
        builder.assert_zero_named(
            row.is_level * (row.position - row.is_right - next.position.into().double()),
            "R17 each level takes a bit of the position",
        );
        builder.assert_zero_named(
            row.is_level * row.is_end * next.position,
            "R18 the position has no more bits than the tree levels",
        );

        // Both paths meet the same sibling on the same side, and the next row has what they become.
        for (this, that) in paths {
            let to_right: [AB::Expr; 4] =
                core::array::from_fn(|index| (row.sibling[index] - this[index]) * row.is_right);
            let left: [AB::Expr; 4] = core::array::from_fn(|index| to_right[index].clone() + this[index]);
            let right = core::array::from_fn::<AB::Expr, 4, _>(|index| row.sibling[index] - to_right[index].clone());
            let output = core::array::from_fn::<AB::Expr, 4, _>(|index| that[index] - left[index].clone());
            let message = left.into_iter().chain(right).chain([AB::Expr::ZERO]).chain(output);
            PERMUTATION.send(builder, message, row.is_level);
        }

        let timestamp = row.clock + AB::F::from_u32(SLOT_PRECOMPILE);
        let digest_address =
            |digest: u32| row.address + row.index * AB::F::from_u32(8) + AB::F::from_u32(digest * DIGEST_BYTES);
        let words: [AB::Expr; 4] = row.words.map(Into::into);
        for leaf in 0..2 {
            let (low, high) = (&words[2 * leaf], &words[2 * leaf + 1]);
            let message = [
                timestamp.clone(),
                digest_address(leaf as u32),
                AB::Expr::ONE,
                AB::Expr::ZERO,
                low.clone(),
                high.clone(),
                low.clone(),
                high.clone(),
            ];
            TRANSFER.send(builder, message, row.is_load);
        }
        let root = [timestamp.clone(), digest_address(2), AB::Expr::ONE, AB::Expr::ONE];
        TRANSFER.send(builder, root.into_iter().chain(words), row.is_store);
        let is_loaded = row.is_load * row.is_end;
        let position = [
            timestamp,
            row.address + AB::F::from_u32(3 * DIGEST_BYTES),
            AB::Expr::ONE,
            AB::Expr::ZERO,
            row.position.into(),
            AB::Expr::ZERO,
            row.position.into(),
            AB::Expr::ZERO,
        ];
        TRANSFER.send(builder, position, is_loaded.clone());
        buses::take_call(builder, CALL_TREE_UPDATE, row.address, row.clock, is_loaded);
    }
}
