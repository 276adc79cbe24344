//! The columns of the bitwise table.

use crate::columns::columns;

columns! {
    /// One bitwise operation.
    pub struct BitwiseColumns {
        /// Is it an or? Neither this nor `is_xor`: it is an and.
        is_or,
        /// Is it an xor?
        is_xor,
        /// The left operand's bytes, least significant first.
        left: [4],
        /// The right operand's bytes.
        right: [4],
        /// The bitwise and of each pair.
        and: [4],
        /// How often the fact is looked up.
        multiplicity,
    }
}
