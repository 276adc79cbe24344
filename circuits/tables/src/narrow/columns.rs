//! The columns of the table of narrow loads and stores.

use crate::columns::columns;

columns! {
    /// One narrow load or store. None of the five flags: it stores a half word.
    pub struct NarrowColumns {
        /// `lb`.
        is_load_byte,
        /// `lbu`.
        is_load_byte_unsigned,
        /// `lh`.
        is_load_half,
        /// `lhu`.
        is_load_half_unsigned,
        /// `sb`.
        is_store_byte,
        /// Are the bytes in the high half of the word?
        is_high_half,
        /// Is the byte the high byte of its half?
        is_high_byte,
        /// The low byte of the half in question.
        low_byte,
        /// The high byte of the half in question.
        high_byte,
        /// Bitwise and of those two; only there to be looked up with them.
        bytes_and,
        /// The other half of the word.
        other_half,
        /// The byte in question.
        byte,
        /// The top bit of the byte, or for half words of the half.
        sign,
        /// The low half of the right operand, as bytes.
        right_bytes: [2],
        /// Bitwise and of those two; only there to be looked up with them.
        right_and,
        /// The right operand: what is stored.
        right,
        /// Two to the power of eight times the offset.
        place,
        /// The value loaded, or the word after the store.
        result,
        /// How often the fact is looked up.
        multiplicity,
    }
}
