//! The constraints of the quotient table.

use p3_air::{Air, BaseAir, NamedAirBuilder, WindowAccess};
use p3_field::PrimeCharacteristicRing;

use super::columns::QuotientColumns;
use crate::{
    Felt,
    builder::{TableBuilder, sum},
    buses::{ARITHMETIC, RANGE, SIGN, check_word, high_limb},
    operations::Operation,
};

/// Quotients and remainders of words, signed and unsigned.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quotient;

impl BaseAir<Felt> for Quotient {
    fn width(&self) -> usize {
        QuotientColumns::WIDTH
    }

    fn main_next_row_columns(&self) -> Vec<usize> {
        Vec::new()
    }
}

impl<AB: TableBuilder> Air<AB> for Quotient {
    fn eval(&self, builder: &mut AB) {
        let main = builder.main();
        let row = QuotientColumns::read(main.current_slice());
        let word = Felt::from_u64(1 << 32);
        let flags = [row.is_divide, row.is_divide_unsigned, row.is_remainder];
        for flag in flags {
            builder.assert_bool_named(flag, "Q1 flags are boolean");
        }
        let is_remainder_unsigned = AB::Expr::ONE - sum::<AB, 3>(flags);
        builder.assert_bool_named(is_remainder_unsigned.clone(), "Q2 one operation");

        // Operands are words, with their top bits; signed operations take absolute values. |−2^31| = 2^31 is a word too.
        let is_signed = row.is_divide + row.is_remainder;
        let sides = [
            (row.left, row.left_low, row.left_sign, row.left_negative, row.left_size),
            (row.right, row.right_low, row.right_sign, row.right_negative, row.right_size),
        ];
        for (operand, low, sign, negative, size) in sides {
            RANGE.send(builder, [low.into()], AB::Expr::ONE);
            SIGN.send(builder, [high_limb::<AB>(operand.into(), low.into()), sign.into()], AB::Expr::ONE);
            builder.assert_eq_named(negative, is_signed.clone() * sign, "Q3 signed operations see the sign");
            builder.assert_eq_named(
                size,
                (AB::Expr::from(word) - operand - operand) * negative + operand,
                "Q4 sizes are absolute values",
            );
        }
        // A divisor of zero cannot be taken as another: no remainder is below it (Q8).
        builder.assert_zero_named(row.right * row.is_by_zero, "Q5 a divisor taken as zero is zero");
        builder.assert_bool_named(row.is_by_zero, "Q6 the divisor is zero or not");

        // quotient · right_size + remainder ≤ (2^32 − 1)^2 + 2^32 − 1 = p − 1: an equation of integers.
        check_word(builder, row.quotient, row.quotient_low, AB::Expr::ONE);
        check_word(builder, row.remainder, row.remainder_low, AB::Expr::ONE);
        builder.assert_eq_named(
            row.left_size,
            row.quotient * row.right_size + row.remainder,
            "Q7 quotient times divisor plus remainder",
        );
        builder.assert_eq_named(
            row.slack,
            (row.right_size - row.remainder - Felt::ONE) * (AB::Expr::ONE - row.is_by_zero),
            "Q8 the remainder is below the divisor",
        );
        check_word(builder, row.slack, row.slack_low, AB::Expr::ONE);
        // By zero, Q7 makes the remainder the dividend, and nothing would bind the quotient: the manual says all ones.
        builder.when(row.is_by_zero).assert_eq_named(
            row.quotient,
            AB::Expr::from_u32(u32::MAX),
            "Q9 the quotient by zero is all ones",
        );

        builder.assert_eq_named(
            row.part,
            (row.is_divide + row.is_divide_unsigned) * (row.quotient - row.remainder) + row.remainder,
            "Q10 the part asked for",
        );
        // The quotient is negative when the signs differ; all ones (by zero) is meant as it is. The remainder has the dividend's sign.
        builder.assert_eq_named(
            row.signs_differ,
            row.left_negative + row.right_negative - row.left_negative * row.right_negative * Felt::TWO,
            "Q11 the signs differ or not",
        );
        builder.when(row.is_divide).assert_eq_named(
            row.negates,
            (AB::Expr::ONE - row.is_by_zero) * row.signs_differ,
            "Q12 the sign of the quotient",
        );
        builder.when(row.is_remainder).assert_eq_named(row.negates, row.left_negative, "Q13 the sign of the remainder");
        builder
            .when(is_remainder_unsigned.clone() + row.is_divide_unsigned)
            .assert_zero_named(row.negates, "Q14 unsigned parts stay as they are");

        // Negated, the result is 2^32 · borrow − part. It is a word, so a part of 0 cannot borrow and any other part must.
        builder.assert_bool_named(row.borrow, "Q15 the borrow is a bit");
        builder.when(AB::Expr::ONE - row.negates).assert_zero_named(row.borrow, "Q16 only negation borrows");
        builder.assert_eq_named(
            row.result,
            (row.borrow * word - row.part - row.part) * row.negates + row.part,
            "Q17 the result is the part or its negation",
        );
        check_word(builder, row.result, row.result_low, AB::Expr::ONE);

        let code = |operation: Operation| Felt::from_u32(operation.code());
        let operation = row.is_divide * code(Operation::Divide)
            + row.is_divide_unsigned * code(Operation::DivideUnsigned)
            + row.is_remainder * code(Operation::Remainder)
            + is_remainder_unsigned * code(Operation::RemainderUnsigned);
        ARITHMETIC.provide(
            builder,
            [operation, AB::Expr::ZERO, row.left.into(), row.right.into(), row.result.into()],
            row.multiplicity,
        );
    }
}
