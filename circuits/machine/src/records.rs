//! What a run leaves behind for the tables.
//!
//! # Accesses and the clock
//!
//! Registers and memory are two address spaces under one offline check: an access takes the word that the access before it left
//! at its address, together with the timestamp it was left at, and leaves a word with a later timestamp. An [`Access`] therefore holds
//! the word before, the word after and the timestamp before; the timestamp after is that of its slot.
//!
//! No RV32IM instruction makes more than three accesses: arithmetic reads two registers and writes one, a load reads a register and a
//! memory word and writes a register, a store reads two registers and changes a memory word. So each cycle has three
//! slots, and the memory word of a load or store takes the slot of the register that the instruction does not have:
//!
//! | slot | arithmetic, jumps, branches | load | store | `ecall` |
//! |---|---|---|---|---|
//! | 0 first | reads `rs1` | reads `rs1` | reads `rs1` | reads `a7`, the call's number |
//! | 1 second | reads `rs2` | reads the memory word | reads `rs2` | reads `a0` |
//! | 2 third | writes `rd` | writes `rd` | writes the memory word | the precompile's registers and memory |
//! | 3 | | | | `poseidon2_hash`: its digest |
//!
//! A fourth cpu slot would cost a timestamp and its range check in every row, for nothing. The clock of cycle `i` is
//! `4 · (i + 2)` and an access of slot `j` has timestamp `clock + j`; timestamp 0 is left to initial memory and the
//! initial registers. The clock is a function of the row alone, so it is no witness that a prover could choose.
//!
//! * **`x0` is never accessed.** Reading it gives 0, writing it does nothing; whether an instruction names it is known from
//!   the program, so the program table can switch the access off. [`Instruction::first_register`] and its siblings say which accesses exist;
//!   a missing access is [`Access::NONE`].
//! * **Memory is words.** `lb`, `lbu`, `lh`, `lhu`, `sb` and `sh` access the aligned word around their bytes; a narrow store is one
//!   access whose word after differs from the word before in those bytes only.
//! * **A precompile changes memory in place, in slot 2,** one access per word. Only `poseidon2_hash` has two ranges: it reads
//!   its words in slot 2 and writes its digest in slot 3, so the digest may even overwrite its input: every access keeps its
//!   place in time.
//! * **Bounds and alignment of pointers** need no check of their own: initial memory has one row per legal word, so an access
//!   anywhere else has nothing to take.

use crate::{
    instruction::Instruction,
    layout::{
        CLOCK_START, CLOCK_STRIDE, COMMIT_WORDS, DIGEST_WORDS, ECRECOVER_WORDS, KECCAK_WORDS, TREE_DEPTH,
        TREE_UPDATE_WORDS,
    },
};

/// Four Goldilocks elements as canonical integers.
pub type DigestElements = [u64; 4];

/// One access to one word of memory or one register.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// The byte address of the (aligned) word, or the number of the register.
    pub address: u32,
    /// The word the access found.
    pub before: u32,
    /// The word the access left. Equal to `before` when it only read.
    pub after: u32,
    /// When the word it found had been left there; 0 if nothing touched the address before.
    pub previous_timestamp: u32,
}

impl Access {
    /// The access of a slot that the instruction does not use.
    pub const NONE: Self = Self { address: 0, before: 0, after: 0, previous_timestamp: 0 };
}

/// One executed instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cycle {
    /// Where the instruction is.
    pub pc: u32,
    /// Where the next one is. For the last cycle, which is a `halt`, it is `pc + 4`.
    pub next_pc: u32,
    /// The instruction, decoded.
    pub instruction: Instruction,
    /// Slot 0.
    pub first: Access,
    /// Slot 1.
    pub second: Access,
    /// Slot 2, when it belongs to the cpu.
    pub third: Access,
}

impl Cycle {
    /// The value of `rs1` (0 where the instruction has none); the number of the call for an `ecall`.
    #[must_use]
    pub const fn first_operand(&self) -> u32 {
        self.first.after
    }

    /// The second operand of an arithmetic instruction, branch or store: the immediate where the instruction has one in place of `rs2`,
    /// and the value of `rs2` otherwise. For an `ecall`, the value of `a0`.
    #[must_use]
    pub fn second_operand(&self) -> u32 {
        if self.instruction.op.takes_immediate_operand() { self.instruction.immediate } else { self.second.after }
    }

    /// The byte address of a load or store, before it is aligned down to its word.
    #[must_use]
    pub const fn byte_address(&self) -> u32 {
        self.first.after.wrapping_add(self.instruction.immediate)
    }
}

/// One `keccak_f`: fifty accesses in slot 2, at consecutive words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeccakEvent {
    /// The clock of its `ecall`.
    pub clock: u32,
    /// `a0`: where the state is.
    pub address: u32,
    /// The state's words, low word of each lane first.
    pub state: Box<[Access; KECCAK_WORDS]>,
}

/// One `poseidon2_hash`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashEvent {
    /// The clock of its `ecall`.
    pub clock: u32,
    /// `a0`: where the input is.
    pub input_address: u32,
    /// `a2`: where the digest goes.
    pub output_address: u32,
    /// `a3`: the tag.
    pub tag: u32,
    /// The reads of `a1` (the number of words), `a2` and `a3`, in slot 2.
    pub arguments: [Access; 3],
    /// The reads of the input, in slot 2.
    pub input: Vec<Access>,
    /// The writes of the digest, in slot 3: canonical, low word of each element first.
    pub output: [Access; DIGEST_WORDS],
}

/// One `tree_update`: twenty-six accesses in slot 2, of which the eight of the root write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeEvent {
    /// The clock of its `ecall`.
    pub clock: u32,
    /// `a0`: where the words are.
    pub address: u32,
    /// Old leaf (8), new leaf (8), root (8; before: the old root, after: the new one), position, reserved (zero).
    pub words: Box<[Access; TREE_UPDATE_WORDS]>,
    /// The advice: the siblings of the path from the leaf upwards.
    pub siblings: Box<[DigestElements; TREE_DEPTH]>,
}

/// One `ecrecover`: forty-two accesses in slot 2, of which the last seventeen write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoverEvent {
    /// The clock of its `ecall`.
    pub clock: u32,
    /// `a0`: where the words are.
    pub address: u32,
    /// Message hash (8), r (8), s (8), parity, and written: status, x (8), y (8). Integers have their least significant word first.
    pub words: Box<[Access; ECRECOVER_WORDS]>,
}

/// The one `commit`: eighteen reads in slot 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitEvent {
    /// The clock of its `ecall`.
    pub clock: u32,
    /// `a0`: where the words are.
    pub address: u32,
    /// Chain id (low word, high word), hX (8), hY (8).
    pub words: Box<[Access; COMMIT_WORDS]>,
}

/// One word of memory that the run touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryWord {
    /// Its byte address, a multiple of 4. The region ([`crate::layout`]) says who fixed its initial value: the image, nobody (zero),
    /// or the prover.
    pub address: u32,
    /// What it held when the run started, at timestamp 0.
    pub initial_value: u32,
    /// What it held when the run ended.
    pub final_value: u32,
    /// When it was last accessed; never 0.
    pub final_timestamp: u32,
}

/// What a register held when the run ended. Every register starts as 0 at timestamp 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegisterWord {
    /// The value.
    pub final_value: u32,
    /// When it was last accessed; 0 if never (so always for `x0`).
    pub final_timestamp: u32,
}

/// Everything the tables need of one run that halted.
///
/// All lists are in order of time, except memory, which is in order of address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// Every executed instruction. The last one is the `ecall` that halts.
    pub cycles: Vec<Cycle>,
    /// Every `keccak_f`.
    pub keccaks: Vec<KeccakEvent>,
    /// Every `poseidon2_hash`.
    pub hashes: Vec<HashEvent>,
    /// Every `tree_update`.
    pub tree_updates: Vec<TreeEvent>,
    /// Every `ecrecover`.
    pub recoveries: Vec<RecoverEvent>,
    /// The `commit`, if the run made one. (A second one traps.)
    pub commit: Option<CommitEvent>,
    /// The words of memory that were touched, strictly increasing in address. Private input that was never touched is not in here, and
    /// needs no row.
    pub memory: Vec<MemoryWord>,
    /// The registers at the end.
    pub registers: [RegisterWord; 32],
    /// The exit code given to `halt`. Only 0, after exactly one commit, can be proven.
    pub exit_code: u32,
}

impl Records {
    /// The clock of cycle `index`. An access in slot `j` of that cycle has timestamp `clock + j`.
    #[must_use]
    pub const fn clock(index: usize) -> u32 {
        // Cycles are bounded by `CYCLES_MAX`, so nothing is lost here.
        CLOCK_START + CLOCK_STRIDE * index as u32
    }
}
