//! The columns of the product table.

use crate::columns::columns;

columns! {
    /// One product, shift or signed comparison. None of the seven flags: it compares.
    pub struct ProductColumns {
        /// `mul`.
        is_multiply,
        /// `mulh`.
        is_multiply_high,
        /// `mulhsu`.
        is_multiply_high_signed_unsigned,
        /// `mulhu`.
        is_multiply_high_unsigned,
        /// `sll`.
        is_shift_left,
        /// `srl`.
        is_shift_right,
        /// `sra`.
        is_shift_right_arithmetic,
        /// The left operand.
        left,
        /// Its low limb.
        left_low,
        /// Its top bit.
        left_sign,
        /// The right operand.
        right,
        /// Its low limb.
        right_low,
        /// Its top bit.
        right_sign,
        /// Two to the power of the right operand modulo 32.
        power,
        /// What the left operand is multiplied with.
        factor,
        /// The limbs of the low word of the product; of the difference, where it compares.
        low: [2],
        /// The limbs of the high word of the product.
        high: [2],
        /// Inverse of 2^32 − 1 − high, where the low word is not zero: the high word is then not 2^32 − 1.
        alias_inverse,
        /// How many times 2^32 must be added to a signed product's high word.
        correction,
        /// The result.
        result,
        /// Its low limb.
        result_low,
        /// How often the fact is looked up.
        multiplicity,
    }
}
