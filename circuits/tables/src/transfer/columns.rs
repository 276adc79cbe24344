//! One row moves up to two neighbouring words of memory for a precompile.

use crate::columns::columns;

columns! {
    /// A row of the transfer table.
    pub struct TransferColumns {
        /// Does the row take a token?
        is_real,
        /// Does it move a second word, at the next address?
        has_second,
        /// Must the new words be the low and high word of a canonical field element?
        is_canonical,
        /// When.
        timestamp,
        /// The first word's byte address.
        address,
        /// The words found.
        old: [2],
        /// The words left.
        new: [2],
        /// The low sixteen bits of the words left.
        new_low: [2],
        /// When the words found had been left there.
        previous_timestamp: [2],
        /// The low sixteen bits of how much earlier that was, less one.
        gap_low: [2],
        /// The inverse of 2^32 − 1 − `new[1]`, or 0 where that is 0.
        headroom_inverse,
    }
}
