//! The constraints of the table of narrow loads and stores.

use p3_air::{Air, BaseAir, NamedAirBuilder, WindowAccess};
use p3_field::PrimeCharacteristicRing;

use super::columns::NarrowColumns;
use crate::{
    Felt,
    builder::{TableBuilder, sum},
    buses::{AND, ARITHMETIC, RANGE, SIGN, high_limb},
    operations::Operation,
};

/// Loads and stores of bytes and half words, given the memory word around them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Narrow;

impl BaseAir<Felt> for Narrow {
    fn width(&self) -> usize {
        NarrowColumns::WIDTH
    }

    fn main_next_row_columns(&self) -> Vec<usize> {
        Vec::new()
    }
}

impl<AB: TableBuilder> Air<AB> for Narrow {
    fn eval(&self, builder: &mut AB) {
        let main = builder.main();
        let row = NarrowColumns::read(main.current_slice());
        let flags = [
            row.is_load_byte,
            row.is_load_byte_unsigned,
            row.is_load_half,
            row.is_load_half_unsigned,
            row.is_store_byte,
        ];
        for flag in flags {
            builder.assert_bool_named(flag, "N1 flags are boolean");
        }
        let is_store_half = AB::Expr::ONE - sum::<AB, 5>(flags);
        builder.assert_bool_named(is_store_half.clone(), "N2 one operation");
        builder.assert_bool_named(row.is_high_half, "N3 the half is one of two");
        builder.assert_bool_named(row.is_high_byte, "N4 the byte is one of two");
        let is_byte = sum::<AB, 3>([row.is_load_byte, row.is_load_byte_unsigned, row.is_store_byte]);
        // The machine traps on misaligned half words, so no fact may exist for them.
        builder.when(row.is_high_byte).assert_zero_named(AB::Expr::ONE - is_byte.clone(), "N5 half words are aligned");

        // The word is the half in question and the other; the half is two bytes. All parts are in range, so the parts are the word's.
        AND.send(builder, [row.low_byte.into(), row.high_byte.into(), row.bytes_and.into()], AB::Expr::ONE);
        RANGE.send(builder, [row.other_half.into()], AB::Expr::ONE);
        let half: AB::Expr = row.high_byte * Felt::from_u32(256) + row.low_byte;
        let shift = Felt::from_u32((1 << 16) - 1);
        let left = half.clone()
            + row.other_half * Felt::from_u32(1 << 16)
            + (half.clone() - row.other_half) * (row.is_high_half * shift);
        builder.assert_eq_named(
            row.byte,
            (row.high_byte - row.low_byte) * row.is_high_byte + row.low_byte,
            "N6 the byte is at its place",
        );
        builder.assert_eq_named(
            row.place,
            (row.is_high_byte * Felt::from_u32(255) + Felt::ONE) * (row.is_high_half * shift + Felt::ONE),
            "N7 the place is a power of two",
        );

        // A byte times 256 has the byte's top bit as bit 15.
        let top = half.clone() + (row.byte * Felt::from_u32(256) - half.clone()) * is_byte.clone();
        SIGN.send(builder, [top, row.sign.into()], AB::Expr::ONE);

        let fill_byte = row.sign * Felt::from_u32(0xffff_ff00);
        let fill_half = row.sign * Felt::from_u32(0xffff_0000);
        builder.when(row.is_load_byte).assert_eq_named(row.result, fill_byte + row.byte, "N8 lb extends the sign");
        builder.when(row.is_load_byte_unsigned).assert_eq_named(row.result, row.byte, "N9 lbu");
        builder.when(row.is_load_half).assert_eq_named(row.result, fill_half + half.clone(), "N10 lh extends the sign");
        builder.when(row.is_load_half_unsigned).assert_eq_named(row.result, half.clone(), "N11 lhu");

        // The right operand's low bytes are its own: the rest is a limb, so that no other split gives the same word.
        let right_half: AB::Expr = row.right_bytes[1] * Felt::from_u32(256) + row.right_bytes[0];
        AND.send(builder, [row.right_bytes[0].into(), row.right_bytes[1].into(), row.right_and.into()], AB::Expr::ONE);
        RANGE.send(builder, [high_limb::<AB>(row.right.into(), right_half.clone())], AB::Expr::ONE);
        // Taking the old bytes out leaves zeros at their place, so the new ones fit without a carry.
        builder.when(row.is_store_byte).assert_eq_named(
            row.result,
            left.clone() + (row.right_bytes[0] - row.byte) * row.place,
            "N12 sb replaces one byte",
        );
        builder.when(is_store_half.clone()).assert_eq_named(
            row.result,
            left.clone() + (right_half - half) * row.place,
            "N13 sh replaces two bytes",
        );

        let code = |operation: Operation| Felt::from_u32(operation.code());
        let operation = row.is_load_byte * code(Operation::LoadByte)
            + row.is_load_byte_unsigned * code(Operation::LoadByteUnsigned)
            + row.is_load_half * code(Operation::LoadHalf)
            + row.is_load_half_unsigned * code(Operation::LoadHalfUnsigned)
            + row.is_store_byte * code(Operation::StoreByte)
            + is_store_half * code(Operation::StoreHalf);
        let offset = row.is_high_half * Felt::TWO + row.is_high_byte;
        ARITHMETIC.provide(builder, [operation, offset, left, row.right.into(), row.result.into()], row.multiplicity);
    }
}
