//! The kernel's cryptography by precompiles.

use joule_kernel::{Crypto, TreeUpdates};
use joule_protocol::{Digest, Hash, Hashing, Signature, Tag};

use crate::calls;

/// Bytes of a block of keccak-256, and its words.
const RATE_BYTES: usize = 136;

/// The machine's precompiles.
pub struct Precompiles;

/// A Keccak state, as bytes and as the words of the precompile: on a little-endian machine they are the same memory.
#[repr(C, align(4))]
struct State([u32; 50]);

impl State {
    fn bytes_mut(&mut self) -> &mut [u8; 200] {
        // SAFETY: the same memory, with less alignment.
        unsafe { &mut *(&raw mut self.0).cast() }
    }

    fn permute(&mut self) {
        calls::keccak_f(&mut self.0);
    }

    fn absorb(&mut self, block: &[u8]) {
        let whole_words = block.len() / 4;
        if block.as_ptr().addr() % 4 == 0 {
            // SAFETY: aligned, and within the block.
            let words = unsafe { core::slice::from_raw_parts(block.as_ptr().cast::<u32>(), whole_words) };
            for (slot, word) in self.0.iter_mut().zip(words) {
                *slot ^= word;
            }
        } else {
            for (slot, word) in self.0.iter_mut().zip(block.chunks_exact(4)) {
                *slot ^= u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
            }
        }
        for (slot, byte) in self.bytes_mut()[4 * whole_words..].iter_mut().zip(&block[4 * whole_words..]) {
            *slot ^= byte;
        }
    }
}

impl Hashing for Precompiles {
    fn keccak256(bytes: &[u8]) -> Hash {
        let mut state = State([0; 50]);
        let mut rest = bytes;
        // The first block meets zeros, so it is copied; later ones are added to what is there.
        if rest.len() >= RATE_BYTES {
            let (block, behind) = rest.split_at(RATE_BYTES);
            state.bytes_mut()[..RATE_BYTES].copy_from_slice(block);
            state.permute();
            rest = behind;
            while rest.len() >= RATE_BYTES {
                let (block, behind) = rest.split_at(RATE_BYTES);
                state.absorb(block);
                state.permute();
                rest = behind;
            }
            state.absorb(rest);
        } else {
            state.bytes_mut()[..rest.len()].copy_from_slice(rest);
        }
        let padded = state.bytes_mut();
        padded[rest.len()] ^= 0x01;
        padded[RATE_BYTES - 1] ^= 0x80;
        state.permute();
        let mut hash = Hash([0; 32]);
        hash.0.copy_from_slice(&state.bytes_mut()[..32]);
        hash
    }

    fn hash_words(tag: Tag, words: &[u32]) -> Digest {
        digest(&calls::poseidon2_hash(tag as u32, words))
    }
}

impl Crypto for Precompiles {
    fn recover(message: &Hash, signature: &Signature) -> Option<[u8; 64]> {
        let mut words = [0; 42];
        put_integer(&mut words[..8], &message.0);
        let bytes = signature.to_bytes();
        put_integer(&mut words[8..16], &bytes[..32]);
        put_integer(&mut words[16..24], &bytes[32..64]);
        words[24] = signature.is_odd().into();
        calls::ecrecover(&mut words);
        if words[25] == 0 {
            return None;
        }
        let mut key = [0; 64];
        take_integer(&words[26..34], &mut key[..32]);
        take_integer(&words[34..42], &mut key[32..]);
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

/// Big-endian bytes to words, least significant word first.
fn put_integer(words: &mut [u32], bytes: &[u8]) {
    for (word, chunk) in words.iter_mut().zip(bytes.rchunks_exact(4)) {
        *word = u32::from_be_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
    }
}

fn take_integer(words: &[u32], bytes: &mut [u8]) {
    for (chunk, word) in bytes.rchunks_exact_mut(4).zip(words) {
        chunk.copy_from_slice(&word.to_be_bytes());
    }
}
