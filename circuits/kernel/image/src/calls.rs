//! The machine's environment calls, as the book's chapter on the machine has them.

use core::arch::asm;

const HALT: u32 = 0;
const COMMIT: u32 = 1;
const KECCAK_F: u32 = 2;
const POSEIDON2_HASH: u32 = 3;
const TREE_UPDATE: u32 = 4;
const ECRECOVER: u32 = 5;

const INPUT_START: usize = 0x2000_0000;
const INPUT_WORDS: usize = 0x1000_0000 / 4;

/// The private input: all of its region, zeros behind what the prover gave.
pub fn input() -> &'static [u32] {
    // SAFETY: the machine maps the whole region, and nothing in this program writes it.
    unsafe { core::slice::from_raw_parts(INPUT_START as *const u32, INPUT_WORDS) }
}

/// Ends the run.
pub fn halt(code: u32) -> ! {
    // SAFETY: the machine does not come back from this call.
    unsafe { asm!("ecall", in("a7") HALT, in("a0") code, options(noreturn, nostack)) }
}

/// Makes the public values.
pub fn commit(chain_id: u64, from: &[u8; 32], to: &[u8; 32]) {
    let mut words = [0_u32; 18];
    words[0] = chain_id as u32;
    words[1] = (chain_id >> 32) as u32;
    for (word, bytes) in words[2..].iter_mut().zip(from.chunks_exact(4).chain(to.chunks_exact(4))) {
        *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    // SAFETY: reads the eighteen words only.
    unsafe { asm!("ecall", in("a7") COMMIT, in("a0") words.as_ptr(), options(readonly, nostack)) }
}

/// Keccak-f[1600] in place.
#[inline(always)]
pub fn keccak_f(state: &mut [u32; 50]) {
    // SAFETY: changes the fifty words only.
    unsafe { asm!("ecall", in("a7") KECCAK_F, in("a0") state.as_mut_ptr(), options(nostack)) }
}

/// The sponge over `words`. The machine takes at most 4,096 of them and ends the run if there are more.
#[inline(always)]
pub fn poseidon2_hash(tag: u32, words: &[u32]) -> [u32; 8] {
    let mut digest = core::mem::MaybeUninit::<[u32; 8]>::uninit();
    // SAFETY: reads `words`, and writes the eight words of the digest.
    unsafe {
        asm!(
            "ecall",
            in("a7") POSEIDON2_HASH,
            in("a0") words.as_ptr(),
            in("a1") words.len(),
            in("a2") digest.as_mut_ptr(),
            in("a3") tag,
            options(nostack)
        );
        digest.assume_init()
    }
}

/// Replaces a leaf of the state tree. Words: old leaf (8), new leaf (8), root (8; replaced), position, zero.
#[inline(always)]
pub fn tree_update(words: &mut [u32; 26]) {
    // SAFETY: changes the twenty-six words only.
    unsafe { asm!("ecall", in("a7") TREE_UPDATE, in("a0") words.as_mut_ptr(), options(nostack)) }
}

/// Recovers a key. Words: message hash (8), r (8), s (8), parity; written: status, x (8), y (8).
///
/// # Safety
/// The first 25 words are initialised. The others are afterwards.
#[inline(always)]
pub unsafe fn ecrecover(words: *mut [u32; 42]) {
    // SAFETY: reads the first 25 words and writes the 17 behind them.
    unsafe { asm!("ecall", in("a7") ECRECOVER, in("a0") words, options(nostack)) }
}
