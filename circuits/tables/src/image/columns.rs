//! The columns of the image table.

use crate::columns::columns;

columns! {
    /// An instruction as the cpu sees it. See [`super::decode`] for how each instruction of the machine fills them.
    pub struct InstructionColumns {
        /// Where it is.
        pc,
        /// The register of the first access.
        first_register,
        /// The register of the second access; 0 for loads, whose second access is to memory.
        second_register,
        /// The register of the third access; 0 for stores, whose third access is to memory.
        third_register,
        /// What is added to form the word.
        immediate,
        /// What the second operand is multiplied with to form the word: 1, 0 or −1.
        second_factor,
        /// The next pc, before the jump is added.
        next,
        /// What the third value is multiplied with and added to the next pc: branches write their condition.
        jump,
        /// The code of the operation that is asked for; 0 if none.
        operation,
        /// Is the third value the word?
        writes_word,
        /// Is the third value 1 exactly if the word took a borrow?
        writes_less,
        /// Is the third value 1 exactly if the word is zero?
        writes_equal,
        /// Is the third value the address behind the instruction, and the next pc the word less its lowest bit?
        writes_link,
        /// Is the third value the second value?
        copies_second,
        /// Is the third value asked for on ARITHMETIC?
        asks,
        /// Is the second access to memory?
        is_load,
        /// Is the third access to memory?
        is_store,
        /// Is it an `ecall`?
        is_call,
    }
}

columns! {
    /// What is fixed about a row: a word of initial memory (or a register), and an instruction.
    pub struct ImagePreprocessed {
        /// Does the row have a word? If not, its instruction is a copy of another row's.
        is_word,
        /// The word's address space.
        space,
        /// The word's address.
        address,
        /// What the word holds at the start.
        value,
        /// The instruction, in the order of [`InstructionColumns`].
        instruction: [InstructionColumns::WIDTH],
    }
}

columns! {
    /// What a run makes of the row.
    pub struct ImageColumns {
        /// How often the instruction is fetched.
        fetches,
        /// What the word holds at the end.
        final_value,
        /// When it was last accessed; 0 if never.
        final_timestamp,
    }
}
