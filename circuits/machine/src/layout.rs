//! Where things are: memory regions, environment calls, the clock and the limits.
//!
//! The interpreter, the tables and the kernel's image read these numbers from here; the book's chapter on the machine states them
//! for everybody else.

/// First byte of the program region, which holds the image.
pub const PROGRAM_START: u32 = 0x0001_0000;
/// First byte behind the program region; the heap and stack region starts here.
pub const PROGRAM_END: u32 = 0x0040_0000;
/// First byte of the heap and stack region, which starts as zeros.
pub const HEAP_START: u32 = PROGRAM_END;
/// First byte behind the heap and stack region.
pub const HEAP_END: u32 = 0x1000_0000;
/// First byte of the private input.
pub const INPUT_START: u32 = 0x2000_0000;
/// First byte behind the private input.
pub const INPUT_END: u32 = 0x3000_0000;

/// The most words a private input can have: the size of its region.
pub const INPUT_WORDS_MAX: usize = ((INPUT_END - INPUT_START) / 4) as usize;

/// How far the clock moves in one cycle. See [`crate::records`] for the use of the four slots.
pub const CLOCK_STRIDE: u32 = 4;
/// The clock of the first cycle. Zero is the timestamp of initial memory and of the initial registers, and the first stride
/// belongs to the boot row of the cpu table, which jumps to the entry point.
pub const CLOCK_START: u32 = 2 * CLOCK_STRIDE;
/// The most cycles a run can have: every timestamp, `CLOCK_START + CLOCK_STRIDE · cycle + 3`, stays below 2^32.
pub const CYCLES_MAX: u32 = (1 << 30) - 2;

/// Slot of the first access of an instruction: register `rs1`.
pub const SLOT_FIRST: u32 = 0;
/// Slot of the second access: register `rs2`, or the memory word of a load.
pub const SLOT_SECOND: u32 = 1;
/// Slot of the third access: register `rd`, or the memory word of a store.
pub const SLOT_THIRD: u32 = 2;
/// Slot in which a precompile reads registers and memory, and in which it changes memory in place.
pub const SLOT_PRECOMPILE: u32 = 2;
/// Slot in which `poseidon2_hash` writes its digest, after all of its reads.
pub const SLOT_PRECOMPILE_OUTPUT: u32 = 3;

/// The register that holds the number of an environment call: `a7`.
pub const CALL_NUMBER_REGISTER: u8 = 17;
/// The register of an environment call's first argument: `a0`. The following arguments are in the following registers.
pub const CALL_ARGUMENT_REGISTER: u8 = 10;

/// `halt`: ends the run with the exit code in `a0`.
pub const CALL_HALT: u32 = 0;
/// `commit`: makes [`COMMIT_WORDS`] words at `a0` the public values.
pub const CALL_COMMIT: u32 = 1;
/// `keccak_f`: permutes the [`KECCAK_WORDS`] words at `a0` in place.
pub const CALL_KECCAK_F: u32 = 2;
/// `poseidon2_hash`: hashes `a1` words at `a0` under tag `a3` into the eight words at `a2`.
pub const CALL_POSEIDON2_HASH: u32 = 3;
/// `tree_update`: replaces a leaf of the state tree; [`TREE_UPDATE_WORDS`] words at `a0`.
pub const CALL_TREE_UPDATE: u32 = 4;
/// `ecrecover`: recovers a secp256k1 key; [`ECRECOVER_WORDS`] words at `a0`.
pub const CALL_ECRECOVER: u32 = 5;

/// Words of a `commit`: chain id (2), hX (8), hY (8).
pub const COMMIT_WORDS: usize = 18;
/// Words of a Keccak state: 25 lanes, low word first.
pub const KECCAK_WORDS: usize = 50;
/// Words of a digest in memory: four field elements, low word first.
pub const DIGEST_WORDS: usize = 8;
/// Words of a `tree_update`: old leaf (8), new leaf (8), root (8), position, reserved.
pub const TREE_UPDATE_WORDS: usize = 26;
/// Words of an `ecrecover`: hash (8), r (8), s (8), parity, status, x (8), y (8).
pub const ECRECOVER_WORDS: usize = 42;
/// The most words one `poseidon2_hash` takes.
pub const HASH_WORDS_MAX: u32 = 4096;
/// Levels of the state tree: the siblings of one opening.
pub const TREE_DEPTH: usize = 32;
/// A chain id is below this bound, so that every wallet and every field element can hold it.
pub const CHAIN_ID_END: u64 = 1 << 53;
