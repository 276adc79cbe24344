//! The columns of the memory table.

use crate::columns::columns;

columns! {
    /// One word of the heap or of the private input. Neither flag: padding.
    pub struct MemoryColumns {
        /// Is the word in the heap and stack region?
        is_heap,
        /// Is the word in the private input's region?
        is_input,
        /// The word's address, divided by four.
        index,
        /// How many words lie between this one and the next of its region, or the region's end.
        gap,
        /// Its low limb.
        gap_low,
        /// What the word holds at the start.
        initial_value,
        /// Its low limb.
        initial_low,
        /// What the word holds at the end.
        final_value,
        /// When it was last accessed; 0 if never.
        final_timestamp,
    }
}
