//! The kernel's cryptography by precompiles.

use core::mem::MaybeUninit;

use joule_kernel::{Crypto, TreeUpdates};
use joule_protocol::{Address, Digest, Hash, Hashing, Signature, Tag};

use crate::calls;

/// Bytes of a block of keccak-256.
const RATE_BYTES: usize = 136;
/// Words of a Keccak state.
const WORDS: usize = 50;

/// The machine's precompiles.
pub struct Precompiles;

unsafe extern "C" {
    /// Adds `count` words to others, bit by bit; see `memory.rs`.
    ///
    /// # Safety
    /// Both ranges are valid, and there are at most 34 words.
    fn add_words(to: *mut u32, from: *const u32, count: usize);
}

/// Adds `block`, at most a block, to the state.
fn absorb(state: &mut [u32; WORDS], block: &[u8]) {
    assert!(block.len() <= RATE_BYTES, "a block is absorbed at a time");
    let whole_words = block.len() / 4;
    if block.as_ptr().addr() % 4 == 0 {
        // SAFETY: aligned, and at most a block, which a state has room for.
        unsafe { add_words(state.as_mut_ptr(), block.as_ptr().cast(), whole_words) };
    } else {
        for (slot, word) in state.iter_mut().zip(block.chunks_exact(4)) {
            *slot ^= u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        }
    }
    for index in 4 * whole_words..block.len() {
        add_byte(state, index, block[index]);
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
    fn recover(message: &Hash, signature: &Signature) -> Option<Address> {
        let mut words = MaybeUninit::<[u32; 42]>::uninit();
        let slots = words.as_mut_ptr().cast::<u32>();
        let [r, s] = signature.words();
        // SAFETY: writes the 25 words of input; the machine writes the others before they are read.
        let words = unsafe {
            put_big_endian(slots, &message.to_words());
            slots.add(8).cast::<[u32; 8]>().write(*r);
            slots.add(16).cast::<[u32; 8]>().write(*s);
            slots.add(24).write(signature.is_odd().into());
            calls::ecrecover(words.as_mut_ptr());
            words.assume_init_ref()
        };
        let (_, key) = words.split_at(25);
        if key[0] == 0 {
            return None;
        }
        // The address is the end of the key's hash, and the key is less than a block: it is written into a state at once.
        let mut state = MaybeUninit::<[u32; WORDS]>::uninit();
        let slots = state.as_mut_ptr().cast::<u32>();
        let (x, y) = (&key[1..9], &key[9..17]);
        // SAFETY: sixteen words of the key, and zeros for the rest.
        let state = unsafe {
            put_big_endian(slots, x.try_into().expect("eight words"));
            put_big_endian(slots.add(8), y.try_into().expect("eight words"));
            slots.add(16).write_bytes(0, WORDS - 16);
            state.assume_init_mut()
        };
        add_byte(state, 64, 0x01);
        add_byte(state, RATE_BYTES - 1, 0x80);
        calls::keccak_f(state);
        // SAFETY: words 3 to 7 are the last twenty bytes of the hash, aligned as an address wants them.
        Some(unsafe { (&raw const state[3]).cast::<Address>().read() })
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

/// Writes an integer of eight words the other way round: words least significant first become the bytes of a big-endian integer, and those become words.
///
/// # Safety
/// There is room for eight words.
#[inline(always)]
unsafe fn put_big_endian(slots: *mut u32, words: &[u32; 8]) {
    for (i, word) in words.iter().rev().enumerate() {
        // SAFETY: the caller has room for eight words.
        unsafe { slots.add(i).write(word.swap_bytes()) };
    }
}
