//! The constraints of the bitwise table.

use p3_air::{Air, BaseAir, WindowAccess};
use p3_field::PrimeCharacteristicRing;

use super::columns::BitwiseColumns;
use crate::{
    Felt,
    builder::{TableBuilder, from_bytes},
    buses::{AND, ARITHMETIC},
    operations::Operation,
};

/// And, or and xor of words.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bitwise;

impl BaseAir<Felt> for Bitwise {
    fn width(&self) -> usize {
        BitwiseColumns::WIDTH
    }

    fn main_next_row_columns(&self) -> Vec<usize> {
        Vec::new()
    }
}

impl<AB: TableBuilder> Air<AB> for Bitwise {
    fn eval(&self, builder: &mut AB) {
        let main = builder.main();
        let row = BitwiseColumns::read(main.current_slice());

        // With boolean and exclusive flags, code and result belong to one and the same operation.
        builder.assert_bool_named(row.is_or, "B1 or is a flag");
        builder.assert_bool_named(row.is_xor, "B2 xor is a flag");
        builder.assert_zero_named(row.is_or * row.is_xor, "B3 or excludes xor");

        // Each pair must be of bytes, or a fact about words with other digits would be stated: 256·1 + 0 is also 256·0 + 256.
        for ((left, right), and) in row.left.into_iter().zip(row.right).zip(row.and) {
            AND.send(builder, [left.into(), right.into(), and.into()], AB::Expr::ONE);
        }

        let [left, right, and] = [row.left, row.right, row.and].map(from_bytes::<AB>);
        // Per bit: left or right = left + right − and; left xor right = left + right − 2·and. Sums of words of bits do not carry
        // here, because the right-hand sides are words of bits again.
        let sum = left.clone() + right.clone();
        let result = and.clone()
            + (sum.clone() - and.clone() * Felt::TWO) * row.is_or
            + (sum - and * Felt::from_u32(3)) * row.is_xor;
        let code = |operation: Operation| Felt::from_u32(operation.code());
        let operation = row.is_or * (code(Operation::Or) - code(Operation::And))
            + row.is_xor * (code(Operation::Xor) - code(Operation::And))
            + code(Operation::And);
        ARITHMETIC.provide(builder, [operation, AB::Expr::ZERO, left, right, result], row.multiplicity);
    }
}
