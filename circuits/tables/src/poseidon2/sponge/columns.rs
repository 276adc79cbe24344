//! A hash is one row per block, then four rows that store the digest.

use crate::columns::columns;

columns! {
    /// A row of the sponge table.
    pub struct SpongeColumns {
        /// Does the row absorb a block?
        is_absorb,
        /// Is it the first block of its hash?
        is_first,
        /// Is it the last block of its hash?
        is_last,
        /// Does the row store element i of the digest?
        is_store: [4],
        /// The clock of the call.
        clock,
        /// Where the words are.
        input_address,
        /// Where the digest goes.
        output_address,
        /// How many words are hashed.
        length,
        /// The tag.
        tag,
        /// How many words earlier blocks have absorbed.
        done,
        /// Does the block have a word i?
        has: [4],
        /// Absorb: the block, padded with zeros. Store: the words found (2) and left (2).
        words: [4],
        /// Absorb: the capacity before the permutation.
        capacity: [4],
        /// Absorb: the capacity behind the permutation, or behind the last one the rate, which is the digest. Store: what is left
        /// of the digest, the next element first.
        output: [4],
        /// Store 0, 1, 2: the argument in register a1, a2, a3. Store 3: 4,096 − length.
        argument,
        /// When that register was last accessed.
        previous_timestamp,
        /// The low sixteen bits of how much earlier that was, less one.
        gap_low,
    }
}
