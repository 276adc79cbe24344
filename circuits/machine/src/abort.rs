//! Why a run has no proof.

use thiserror::Error;

use crate::instruction::Op;

/// A run that ended without `halt`.
///
/// There is no proof of such a run, so an abort is never an answer to a user's mistake (that is a rejection, which the kernel proves).
/// Its cause is a broken image, a witness that does not fit, or a limit.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("aborted after {cycles} cycles at pc {pc:#010x}{}{}: {reason}", within(.routine), executing(.op))]
pub struct Abort {
    /// Instructions that were completed before.
    pub cycles: u32,
    /// The instruction that was not completed.
    pub pc: u32,
    /// What that instruction is, where there is one.
    pub op: Option<Op>,
    /// The routine that holds it, where the image has symbols.
    pub routine: Option<String>,
    /// What is wrong.
    pub reason: Reason,
}

fn within(routine: &Option<String>) -> String {
    routine.as_ref().map_or_else(String::new, |name| format!(" in {name}"))
}

fn executing(op: &Option<Op>) -> String {
    op.map_or_else(String::new, |op| format!(" ({op:?})"))
}

/// The cause of an [`Abort`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Reason {
    /// The pc left the image's text.
    #[error("there is no instruction here")]
    NoInstruction,
    /// The word is no instruction of RV32IM, or is `ebreak`.
    #[error("illegal instruction {word:#010x}")]
    IllegalInstruction {
        /// The word.
        word: u32,
    },
    /// A jump or taken branch to an address that is not a multiple of 4.
    #[error("jump to {target:#010x}, which is not aligned")]
    MisalignedJump {
        /// The target.
        target: u32,
    },
    /// A load or store that is not aligned to its size, or a pointer to a precompile that is not aligned to a word.
    #[error("access to {address:#010x}, which is not aligned to {alignment} bytes")]
    MisalignedAccess {
        /// The address.
        address: u32,
        /// What it should be a multiple of.
        alignment: u32,
    },
    /// An access outside of memory.
    #[error("access to {address:#010x}, which is not in memory")]
    OutsideMemory {
        /// The address.
        address: u32,
    },
    /// An `ecall` with a number that is no environment call.
    #[error("there is no environment call {number}")]
    UnknownCall {
        /// The number in `a7`.
        number: u32,
    },
    /// A second `commit`.
    #[error("a second commit")]
    CommittedTwice,
    /// A `commit` with a chain id of 2^53 or more.
    #[error("chain id {chain_id} is not below 2^53")]
    ChainIdTooLarge {
        /// The chain id.
        chain_id: u64,
    },
    /// A `poseidon2_hash` of too many words.
    #[error("hash of {words} words, limit {limit}")]
    HashTooLong {
        /// The number of words asked for.
        words: u32,
        /// The most words one call takes.
        limit: u32,
    },
    /// A `tree_update` beyond the witness's siblings.
    #[error("the witness has siblings for {available} tree updates only")]
    NoSiblings {
        /// The number of openings in the witness.
        available: usize,
    },
    /// A `tree_update` whose siblings do not lead from the old leaf to the root.
    #[error("the siblings of tree update {index} do not lead from the leaf at {position} to the root")]
    WrongSiblings {
        /// Which `tree_update` it is, from 0.
        index: usize,
        /// The position of the leaf.
        position: u32,
    },
    /// A sibling in the witness that is not a canonical digest.
    #[error("sibling {level} of tree update {index} is not canonical")]
    SiblingNotCanonical {
        /// Which `tree_update` it is, from 0.
        index: usize,
        /// Which sibling, from the leaf upwards.
        level: usize,
    },
    /// A `tree_update` whose reserved word is not zero.
    #[error("the reserved word of a tree update is {got}, not 0")]
    ReservedWord {
        /// The word.
        got: u32,
    },
    /// An `ecrecover` with r, s or the parity out of range.
    #[error("ecrecover of a signature whose {what} is out of range")]
    SignatureOutOfRange {
        /// Which part: "r", "s" or "parity".
        what: &'static str,
    },
    /// The run is longer than its limit.
    #[error("no halt within the limit of {limit} cycles")]
    CycleLimit {
        /// The limit.
        limit: u32,
    },
    /// The run touches more memory than its limit.
    #[error("more than {limit} pages of memory in use")]
    MemoryLimit {
        /// The limit, in pages of [`crate::PAGE_BYTES`].
        limit: u32,
    },
    /// The private input is larger than its region.
    #[error("private input of {words} words, limit {limit}")]
    InputTooLong {
        /// Its words.
        words: usize,
        /// The region's words.
        limit: usize,
    },
}
