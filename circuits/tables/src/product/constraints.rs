//! The constraints of the product table.

use p3_air::{Air, BaseAir, NamedAirBuilder, WindowAccess};
use p3_field::PrimeCharacteristicRing;

use super::columns::ProductColumns;
use crate::{
    Felt,
    builder::{TableBuilder, from_limbs, sum},
    buses::{ARITHMETIC, POWER, RANGE, SIGN, check_word, high_limb},
    operations::Operation,
};

/// Products, shifts (which are products with powers of two) and signed comparisons of words.
#[derive(Clone, Copy, Debug, Default)]
pub struct Product;

impl BaseAir<Felt> for Product {
    fn width(&self) -> usize {
        ProductColumns::WIDTH
    }

    fn main_next_row_columns(&self) -> Vec<usize> {
        Vec::new()
    }
}

impl<AB: TableBuilder> Air<AB> for Product {
    fn eval(&self, builder: &mut AB) {
        let main = builder.main();
        let row = ProductColumns::read(main.current_slice());
        let word = Felt::from_u64(1 << 32);
        let flags = [
            row.is_multiply,
            row.is_multiply_high,
            row.is_multiply_high_signed_unsigned,
            row.is_multiply_high_unsigned,
            row.is_shift_left,
            row.is_shift_right,
            row.is_shift_right_arithmetic,
        ];
        for flag in flags {
            builder.assert_bool_named(flag, "P1 flags are boolean");
        }
        let is_less = AB::Expr::ONE - sum::<AB, 7>(flags);
        builder.assert_bool_named(is_less.clone(), "P2 one operation");

        // Operands are words, with their top bits. The low limb of the right one is checked by looking its power up.
        RANGE.send(builder, [row.left_low.into()], AB::Expr::ONE);
        let left_high = high_limb::<AB>(row.left.into(), row.left_low.into());
        SIGN.send(builder, [left_high, row.left_sign.into()], AB::Expr::ONE);
        POWER.send(builder, [row.right_low.into(), row.power.into()], AB::Expr::ONE);
        let right_high = high_limb::<AB>(row.right.into(), row.right_low.into());
        SIGN.send(builder, [right_high, row.right_sign.into()], AB::Expr::ONE);

        let is_product = sum::<AB, 4>([
            row.is_multiply,
            row.is_multiply_high,
            row.is_multiply_high_signed_unsigned,
            row.is_multiply_high_unsigned,
        ]);
        builder.when(is_product).assert_eq_named(row.factor, row.right, "P3 products multiply with the operand");
        builder.when(row.is_shift_left).assert_eq_named(row.factor, row.power, "P4 left shifts multiply with 2^s");
        // A right shift by s is the high word of the product with 2^(32 − s), which is at most 2^32.
        builder.when(row.is_shift_right + row.is_shift_right_arithmetic).assert_eq_named(
            row.factor * row.power,
            AB::Expr::from(word),
            "P5 right shifts multiply with 2^(32 − s)",
        );

        // left · factor ≤ (2^32 − 1) · 2^32 = p − 1, so the left side is the integer product. The right side is below 2^64, which is
        // less than 2p, so it is the product or the product plus p; the latter would need a high word of 2^32 − 1 with a low word
        // that is not zero (p = (2^32 − 1) · 2^32 + 1), and P7 rules that out.
        for limb in row.low.into_iter().chain(row.high) {
            RANGE.send(builder, [limb.into()], AB::Expr::ONE);
        }
        let (low, high) = (from_limbs::<AB>(row.low), from_limbs::<AB>(row.high));
        builder.when(AB::Expr::ONE - is_less.clone()).assert_eq_named(
            row.left * row.factor,
            high.clone() * word + low.clone(),
            "P6 the product is high and low word",
        );
        let high_max = Felt::from_u32(u32::MAX);
        builder.assert_zero_named(
            low.clone() * (AB::Expr::ONE - (AB::Expr::from(high_max) - high.clone()) * row.alias_inverse),
            "P7 the product is not taken plus p",
        );

        // The result is a word, so that signed products, which are known modulo 2^32 only, have one.
        check_word(builder, row.result, row.result_low, AB::Expr::ONE);
        builder.when(row.is_multiply + row.is_shift_left).assert_eq_named(
            row.result,
            low.clone(),
            "P8 mul and sll give the low word",
        );
        builder.when(row.is_multiply_high_unsigned + row.is_shift_right).assert_eq_named(
            row.result,
            high.clone(),
            "P9 mulhu and srl give the high word",
        );
        // The high word is below 2^(32 − s) = factor, and the sign fills the s bits above: 2^32 − 2^(32 − s).
        builder.when(row.is_shift_right_arithmetic).assert_eq_named(
            row.result,
            high.clone() + row.left_sign * (AB::Expr::from(word) - row.factor),
            "P10 sra fills with the sign",
        );
        // A negative operand stands for itself minus 2^32, which takes the other operand away from the high word. What is left is above
        // −2^33, so at most twice 2^32 brings it back; three values of the correction cannot give two words.
        let brought_back = row.correction * word;
        builder.when(row.is_multiply_high).assert_eq_named(
            row.result,
            high.clone() - row.left_sign * row.right - row.right_sign * row.left + brought_back.clone(),
            "P11 mulh is signed on both sides",
        );
        builder.when(row.is_multiply_high_signed_unsigned).assert_eq_named(
            row.result,
            high - row.left_sign * row.right + brought_back,
            "P12 mulhsu is signed on the left",
        );
        builder.assert_zero_named(
            (row.correction - Felt::ONE) * (row.correction - Felt::TWO) * row.correction,
            "P13 the correction is 0, 1 or 2",
        );

        // Flipping the top bits turns a signed comparison into one of words; the low word then holds left − right, plus 2^32 exactly if left
        // is less.
        builder.when(is_less.clone()).assert_eq_named(
            low,
            row.left - row.right - (row.left_sign - row.right_sign - row.result) * word,
            "P14 the difference of a comparison is a word",
        );
        builder.when(is_less.clone()).assert_bool_named(row.result, "P15 a comparison gives 0 or 1");

        let code = |operation: Operation| Felt::from_u32(operation.code());
        let operation = row.is_multiply * code(Operation::Multiply)
            + row.is_multiply_high * code(Operation::MultiplyHigh)
            + row.is_multiply_high_signed_unsigned * code(Operation::MultiplyHighSignedUnsigned)
            + row.is_multiply_high_unsigned * code(Operation::MultiplyHighUnsigned)
            + row.is_shift_left * code(Operation::ShiftLeft)
            + row.is_shift_right * code(Operation::ShiftRight)
            + row.is_shift_right_arithmetic * code(Operation::ShiftRightArithmetic)
            + is_less * code(Operation::LessSigned);
        ARITHMETIC.provide(
            builder,
            [operation, AB::Expr::ZERO, row.left.into(), row.right.into(), row.result.into()],
            row.multiplicity,
        );
    }
}
