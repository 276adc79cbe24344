//! What the rows of the sponge table must satisfy.

use joule_machine::layout::{
    CALL_ARGUMENT_REGISTER, CALL_POSEIDON2_HASH, HASH_WORDS_MAX, SLOT_PRECOMPILE, SLOT_PRECOMPILE_OUTPUT,
};
use p3_air::{Air, BaseAir, NamedAirBuilder, WindowAccess};
use p3_field::PrimeCharacteristicRing;

use super::columns::SpongeColumns;
use crate::{
    Felt,
    builder::TableBuilder,
    buses::{self, MemoryAccess, PERMUTATION, TRANSFER, space},
};

/// The sponge table.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sponge;

impl BaseAir<Felt> for Sponge {
    fn width(&self) -> usize {
        SpongeColumns::<()>::WIDTH
    }
}

impl<AB: TableBuilder> Air<AB> for Sponge {
    fn eval(&self, builder: &mut AB) {
        let main = builder.main();
        let row = SpongeColumns::read(main.current_slice());
        let next = SpongeColumns::read(main.next_slice());
        let one = AB::Expr::ONE;
        let is_absorb: AB::Expr = row.is_absorb.into();
        let is_last: AB::Expr = row.is_last.into();
        let store: [AB::Expr; 4] = row.is_store.map(Into::into);
        let is_store = store.iter().cloned().sum::<AB::Expr>();
        // Absorbs and is not done: the next row absorbs the next block.
        let goes_on = is_absorb.clone() - row.is_last;
        let word_count = row.has.iter().map(|&has| has.into()).sum::<AB::Expr>();

        // What kind of row this is.
        for flag in [row.is_absorb, row.is_first, row.is_last].into_iter().chain(row.is_store).chain(row.has) {
            builder.assert_bool_named(flag, "S1 flags are bits");
        }
        builder.assert_bool_named(is_absorb.clone() + is_store.clone(), "S2 a row is of one kind");
        for flag in [row.is_first, row.is_last, row.has[0]] {
            builder.assert_zero_named(
                flag * (one.clone() - is_absorb.clone()),
                "S3 only a block is first, last or has words",
            );
        }

        // The order of rows. A hash cannot start in the middle, nor end before its digest is stored.
        builder.when_first_row().assert_zero_named(
            is_absorb.clone() - row.is_first + is_store.clone(),
            "S4 the trace starts between hashes",
        );
        builder.when_last_row().assert_zero_named(
            is_absorb.clone() + is_store.clone() - row.is_store[3],
            "S5 the trace ends between hashes",
        );
        builder.when_transition().assert_zero_named(
            next.is_absorb - next.is_first - goes_on.clone(),
            "S6 blocks follow each other up to the last",
        );
        builder
            .when_transition()
            .assert_zero_named(next.is_store[0] - is_last.clone(), "S7 the last block is followed by its digest");
        for index in 0..3 {
            builder
                .when_transition()
                .assert_zero_named(next.is_store[index + 1] - row.is_store[index], "S7 the digest is stored in order");
        }
        // No transition selector: where the hash goes on there is a next row, by S5.
        let in_hash = is_absorb.clone() + is_store.clone() - row.is_store[3];
        for (this, that) in [
            (row.clock, next.clock),
            (row.input_address, next.input_address),
            (row.output_address, next.output_address),
            (row.length, next.length),
            (row.tag, next.tag),
        ] {
            builder.assert_zero_named(in_hash.clone() * (that - this), "S8 the call stays the same through a hash");
        }

        // Absorbing.
        builder.assert_zero_named(row.is_first * row.done, "S9 nothing is absorbed at first");
        let initial: [AB::Expr; 4] = [row.tag.into(), row.length.into(), AB::Expr::ZERO, AB::Expr::ZERO];
        for (capacity, initial) in row.capacity.into_iter().zip(initial) {
            builder.assert_zero_named(row.is_first * (capacity - initial), "S10 the capacity starts as tag and length");
        }
        builder.assert_zero_named(
            goes_on.clone() * (next.done - row.done - AB::Expr::from_u32(4)),
            "S11 four words are absorbed before the next block",
        );
        for index in 0..4 {
            builder.assert_zero_named(
                goes_on.clone() * (next.capacity[index] - row.output[index]),
                "S12 the capacity is handed on",
            );
        }
        for index in 0..3 {
            builder.assert_zero_named(
                row.has[index + 1] * (one.clone() - row.has[index]),
                "S13 a block is filled from its start",
            );
        }
        builder.assert_zero_named(goes_on * (one.clone() - row.has[3]), "S14 only the last block may have room");
        // An empty block behind a full one would be a second hash of the same words.
        builder.assert_zero_named(
            (is_absorb.clone() - row.is_first) * (one.clone() - row.has[0]),
            "S15 only the first block may be empty",
        );
        builder.assert_zero_named(
            is_last.clone() * (row.length - row.done - word_count),
            "S16 all words are absorbed, and no more",
        );
        for (word, has) in row.words.into_iter().zip(row.has) {
            builder.assert_zero_named(is_absorb.clone() * (one.clone() - has) * word, "S17 room is filled with zeros");
        }

        // Storing.
        for index in 0..4 {
            builder.assert_zero_named(
                is_last.clone() * (next.output[index] - row.output[index]),
                "S18 the digest is the last rate",
            );
        }
        let element = row.words[2] + row.words[3] * AB::F::from_u64(1 << 32);
        builder.assert_zero_named(
            is_store.clone() * (element - row.output[0]),
            "S19 the words stored are the next element's",
        );
        for index in 0..3 {
            builder.assert_zero_named(
                (is_store.clone() - row.is_store[3]) * (next.output[index] - row.output[index + 1]),
                "S20 an element stored makes room for the next",
            );
        }
        let [first, second, third, fourth] = store.clone();
        let limit = AB::Expr::from_u32(HASH_WORDS_MAX) - row.length;
        let argument = first.clone() * row.length
            + second.clone() * row.output_address
            + third.clone() * row.tag
            + fourth.clone() * limit;
        builder.assert_zero_named(argument - row.argument, "S21 one argument is read in each of three rows");

        // The length came from a register, so it is below 2^32: with 4,096 − length below 2^16 it is at most 4,096.
        buses::check_limb(builder, row.argument, fourth);
        buses::take_call(builder, CALL_POSEIDON2_HASH, row.input_address, row.clock, row.is_first);
        let timestamp = row.clock + AB::F::from_u32(SLOT_PRECOMPILE);
        let index = store[1].clone() + store[2].double();
        let argument_access = MemoryAccess {
            space: AB::Expr::from_u32(space::REGISTERS),
            address: index.clone() + AB::F::from_u32(u32::from(CALL_ARGUMENT_REGISTER) + 1),
            previous_value: row.argument.into(),
            value: row.argument.into(),
            previous_timestamp: row.previous_timestamp.into(),
            timestamp: timestamp.clone(),
            gap_low: row.gap_low.into(),
        };
        buses::access(builder, argument_access, is_store.clone() - row.is_store[3]);

        let block_address = row.input_address + row.done * AB::F::from_u32(4);
        for half in 0..2 {
            let words: [AB::Expr; 2] = [row.words[2 * half].into(), row.words[2 * half + 1].into()];
            let [low, high] = words.clone();
            let [old_low, old_high] = words;
            let address = block_address.clone() + AB::F::from_usize(8 * half);
            let message = [
                timestamp.clone(),
                address,
                row.has[2 * half + 1].into(),
                AB::Expr::ZERO,
                old_low,
                old_high,
                low,
                high,
            ];
            TRANSFER.send(builder, message, row.has[2 * half]);
        }
        let store_index = index + store[3].clone() * AB::F::from_u32(3);
        TRANSFER.send(
            builder,
            [
                row.clock + AB::F::from_u32(SLOT_PRECOMPILE_OUTPUT),
                row.output_address + store_index * AB::F::from_u32(8),
                one.clone(),
                one.clone(),
                row.words[0].into(),
                row.words[1].into(),
                row.words[2].into(),
                row.words[3].into(),
            ],
            is_store,
        );
        // Of a block before the last only the capacity is of interest: the next block overwrites the rate.
        let input = row.words.into_iter().chain(row.capacity).map(Into::into);
        let message = input.chain([one - is_last]).chain(row.output.map(Into::into));
        PERMUTATION.send(builder, message, is_absorb);
    }
}
