//! The columns of the cpu table.

use crate::{columns::columns, image::columns::InstructionColumns};

columns! {
    /// One cycle.
    pub struct CpuColumns {
        /// Is it an executed instruction? If not: padding.
        is_real,
        /// The time of the cycle's first slot.
        clock,
        /// The instruction, in the order of [`InstructionColumns`].
        instruction: [InstructionColumns::WIDTH],
        /// The word that the first access reads.
        first,
        /// When it was left there.
        first_time,
        /// Low limb of the time between.
        first_gap,
        /// The address of the second access.
        second_address,
        /// The word that the second access reads.
        second,
        /// When it was left there.
        second_time,
        /// Low limb of the time between.
        second_gap,
        /// The address of the third access.
        third_address,
        /// The word that the third access finds.
        third_before,
        /// The word that the third access leaves.
        third,
        /// When the word before was left there.
        third_time,
        /// Low limb of the time between.
        third_gap,
        /// first + second_factor · second + immediate, modulo 2^32.
        word,
        /// Its low limb.
        word_low,
        /// What was divided out: 1 if the sum reached 2^32.
        carry,
        /// Loads and stores: the place of the bytes in their memory word. `jalr`: the lowest bit of the target. Comparisons for equality: the
        /// inverse of a word that is not zero.
        hint,
    }
}
