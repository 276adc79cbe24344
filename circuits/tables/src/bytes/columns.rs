//! The columns of the bytes table.

use crate::columns::columns;

columns! {
    /// What is fixed about a row: it belongs to the value `low + 256 · high`, and every 16-bit value has one row.
    pub struct BytesPreprocessed {
        /// The value's low byte.
        low,
        /// The value's high byte.
        high,
        /// Bitwise and of the two bytes.
        and,
        /// Bit 15 of the value.
        top_bit,
        /// Two to the power of the value modulo 32.
        power,
    }
}

columns! {
    /// How often each fact of the row is looked up.
    pub struct BytesColumns {
        /// On RANGE.
        range_count,
        /// On SIGN.
        sign_count,
        /// On POWER.
        power_count,
        /// On AND.
        and_count,
    }
}
