//! The kernel's cryptography by precompiles.

use core::mem::MaybeUninit;

use joule_kernel::{Crypto, TreeUpdates};
use joule_protocol::{Digest, Hash, Hashing, Signature, Tag};

use crate::calls;

/// Bytes of a block of keccak-256.
const RATE_BYTES: usize = 136;
/// Words of a Keccak state.
const WORDS: usize = 50;

/// The machine's precompiles.
pub struct Precompiles;

/// Adds `block`, at most a block, to the state.
fn absorb(state: &mut [u32; WORDS], block: &[u8]) {
    let whole_words = block.len() / 4;
    if block.as_ptr().addr() % 4 == 0 {
        // SAFETY: aligned, and within the block.
        let words = unsafe { core::slice::from_raw_parts(block.as_ptr().cast::<u32>(), whole_words) };
        let (state, _) = state.split_at_mut(whole_words);
        // Eight at a time: a word then costs two loads, an addition and a store, and its share of the loop is small.
        let (slots, last_slots) = state.as_chunks_mut::<8>();
        let (words, last_words) = words.as_chunks::<8>();
        for (slots, words) in slots.iter_mut().zip(words) {
            for (slot, word) in slots.iter_mut().zip(words) {
                *slot ^= word;
            }
        }
        for (slot, word) in last_slots.iter_mut().zip(last_words) {
            *slot ^= word;
        }
    } else {
        for (slot, word) in state.iter_mut().zip(block.chunks_exact(4)) {
            *slot ^= u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        }
    }
    for (index, &byte) in block.iter().enumerate().skip(4 * whole_words) {
        add_byte(state, index, byte);
    }
}

/// Adds `byte` to byte `index` of the state: the bytes of a state are its words in memory order, which is little-endian.
#[inline(always)]
fn add_byte(state: &mut [u32; WORDS], index: usize, byte: u8) {
    state[index / 4] ^= u32::from(byte) << (8 * (index % 4));
}

impl Hashing for Precompiles {
    fn keccak256(bytes: &[u8]) -> Hash {
        let mut state = MaybeUninit::<[u32; WORDS]>::uninit();
        // The first block meets zeros, so it is copied; later ones are added to what is there.
        let first = bytes.len().min(RATE_BYTES);
        let words = state.as_mut_ptr().cast::<u32>();
        // SAFETY: the zeros begin with the word that holds the last byte and reach to the end; the bytes fill what is in front.
        let state = unsafe {
            words.add(first / 4).write_bytes(0, WORDS - first / 4);
            words.cast::<u8>().copy_from_nonoverlapping(bytes.as_ptr(), first);
            state.assume_init_mut()
        };
        let mut rest = bytes;
        if rest.len() >= RATE_BYTES {
            loop {
                calls::keccak_f(state);
                rest = &rest[RATE_BYTES..];
                if rest.len() < RATE_BYTES {
                    break;
                }
                absorb(state, &rest[..RATE_BYTES]);
            }
            absorb(state, rest);
        }
        add_byte(state, rest.len(), 0x01);
        add_byte(state, RATE_BYTES - 1, 0x80);
        calls::keccak_f(state);
        // SAFETY: the first eight words are 32 bytes, aligned as a hash wants them.
        unsafe { (&raw const *state).cast::<Hash>().read() }
    }

    fn hash_words(tag: Tag, words: &[u32]) -> Digest {
        digest(&calls::poseidon2_hash(tag as u32, words))
    }
}

impl Crypto for Precompiles {
    fn recover(message: &Hash, signature: &Signature) -> Option<[u8; 64]> {
        let mut words = MaybeUninit::<[u32; 42]>::uninit();
        let slots = words.as_mut_ptr().cast::<u32>();
        // SAFETY: writes the 25 words of input; the machine writes the others before they are read.
        let words = unsafe {
            put_integer(slots, message);
            put_integer(slots.add(8), signature.r());
            put_integer(slots.add(16), signature.s());
            slots.add(24).write(signature.is_odd().into());
            calls::ecrecover(words.as_mut_ptr());
            words.assume_init()
        };
        if words[25] == 0 {
            return None;
        }
        let mut key = [0; 64];
        for (bytes, word) in key.chunks_exact_mut(4).zip(words[26..34].iter().rev().chain(words[34..].iter().rev())) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        Some(key)
    }
}

impl TreeUpdates for Precompiles {
    fn update(&mut self, root: Digest, position: u32, old: Digest, new: Digest) -> Option<Digest> {
        let mut words = [0; 26];
        words[..8].copy_from_slice(&old.to_words());
        words[8..16].copy_from_slice(&new.to_words());
        words[16..24].copy_from_slice(&root.to_words());
        words[24] = position;
        // The machine looks for siblings in its advice, and ends the run if they do not lead from the old leaf to the root.
        calls::tree_update(&mut words);
        let mut root = [0; 8];
        root.copy_from_slice(&words[16..24]);
        Some(digest(&root))
    }
}

/// A digest that the machine wrote: its tables give canonical words only, and the check costs little.
fn digest(words: &[u32; 8]) -> Digest {
    Digest::from_words(*words).unwrap_or_else(|_| calls::halt(1))
}

/// Writes a big-endian integer as eight words, least significant first.
///
/// # Safety
/// There is room for eight words.
#[inline(always)]
unsafe fn put_integer(slots: *mut u32, bytes: &Hash) {
    let words = (&raw const bytes.0).cast::<u32>();
    for i in 0..8 {
        // SAFETY: a hash is eight aligned words, and the caller has room for them.
        unsafe { slots.add(i).write(words.add(7 - i).read().swap_bytes()) };
    }
}
