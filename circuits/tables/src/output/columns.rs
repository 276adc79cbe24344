//! The columns of the output table.

use crate::columns::columns;

columns! {
    /// What is fixed about a row: the first 18 are the words of the commit, in order; the others are empty.
    pub struct OutputPreprocessed {
        /// Is there a word?
        is_word,
        /// How far the word is behind the pointer, in bytes.
        offset,
        /// Is it the first row?
        is_first,
        /// Is it the high word of the chain id?
        is_chain_high,
        /// One-hot: in which four of the sixteen words of hX and hY it is.
        bank: [4],
        /// One-hot: which of those four it is.
        slot: [4],
    }
}

columns! {
    /// One word of the commit. Every row repeats the clocks and the pointer.
    pub struct OutputColumns {
        /// The clock of the commit.
        clock,
        /// The pointer given to the commit.
        pointer,
        /// The clock of the halt.
        halt_clock,
        /// The word.
        value,
        /// When the word was last accessed before.
        previous_timestamp,
        /// The low limb of the time between.
        gap_low,
        /// In the row of the chain id's high word: the low limb of 2^11 times that word.
        chain_low,
    }
}
