//! The columns of the quotient table.

use crate::columns::columns;

columns! {
    /// One division. None of the three flags: it gives the unsigned remainder.
    pub struct QuotientColumns {
        /// `div`.
        is_divide,
        /// `divu`.
        is_divide_unsigned,
        /// `rem`.
        is_remainder,
        /// The dividend.
        left,
        /// Its low limb.
        left_low,
        /// Its top bit.
        left_sign,
        /// Is it taken as a negative number?
        left_negative,
        /// Its absolute value.
        left_size,
        /// The divisor.
        right,
        /// Its low limb.
        right_low,
        /// Its top bit.
        right_sign,
        /// Is it taken as a negative number?
        right_negative,
        /// Its absolute value.
        right_size,
        /// Is the divisor zero?
        is_by_zero,
        /// The quotient of the absolute values.
        quotient,
        /// Its low limb.
        quotient_low,
        /// The remainder of the absolute values.
        remainder,
        /// Its low limb.
        remainder_low,
        /// How far the remainder is below the divisor, less one; 0 where the divisor is zero.
        slack,
        /// Its low limb.
        slack_low,
        /// Do the signs of dividend and divisor differ?
        signs_differ,
        /// Quotient or remainder, as asked for.
        part,
        /// Is it negated?
        negates,
        /// 1 where the negated part is not zero, so that 2^32 − part is a word.
        borrow,
        /// The result.
        result,
        /// Its low limb.
        result_low,
        /// How often the fact is looked up.
        multiplicity,
    }
}
