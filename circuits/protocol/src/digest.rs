//! Digests of the state tree: four Goldilocks elements, always canonical.

use core::fmt;

use thiserror::Error;

use crate::Hash;

/// The Goldilocks prime, 2^64 − 2^32 + 1.
pub const GOLDILOCKS: u64 = 0xffff_ffff_0000_0001;

/// Four Goldilocks elements, each its canonical integer (below [`GOLDILOCKS`]).
///
/// The field is private so that no decoder can build a digest with a word ≥ p: `v` and `v + p` are the same field
/// element and would let one tree have two encodings of its root.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u64; 4]);

/// What a Poseidon2 sponge hashes; part of its initial state, so that no value is mistaken for a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Tag {
    /// The words of an object.
    Value = 1,
    /// Key, next key and value digest of a leaf.
    Leaf = 2,
}

/// A digest word that is not a canonical field element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("digest word {position} is {got:#018x}, which is not below the Goldilocks prime")]
pub struct NonCanonical {
    /// Which of the four words.
    pub position: usize,
    /// The word.
    pub got: u64,
}

impl Digest {
    /// The digest of an empty slot of the tree, and of a run of empty slots' values.
    pub const EMPTY: Self = Self([0; 4]);

    /// Takes four words, refusing any that is ≥ p.
    #[inline]
    pub fn new(words: [u64; 4]) -> Result<Self, NonCanonical> {
        // A word of at least p has all ones above, which nearly none has: the image then compares one half of each.
        let is_suspect = |word: u64| (word >> 32) as u32 == u32::MAX;
        if words.into_iter().any(is_suspect) {
            Self::check(words)?;
        }
        Ok(Self(words))
    }

    #[cold]
    fn check(words: [u64; 4]) -> Result<(), NonCanonical> {
        match words.iter().position(|&word| word >= GOLDILOCKS) {
            Some(position) => Err(NonCanonical { position, got: words[position] }),
            None => Ok(()),
        }
    }

    /// The four canonical words.
    pub const fn elements(self) -> [u64; 4] {
        self.0
    }

    /// As L1 holds it: each element big-endian, element 0 first.
    pub fn to_hash(self) -> Hash {
        let mut bytes = [0; 32];
        for (chunk, element) in bytes.chunks_exact_mut(8).zip(self.0) {
            chunk.copy_from_slice(&element.to_be_bytes());
        }
        Hash(bytes)
    }

    /// The inverse of [`Digest::to_hash`]; refuses a word ≥ p.
    pub fn from_hash(hash: Hash) -> Result<Self, NonCanonical> {
        Self::new(core::array::from_fn(|i| {
            u64::from_be_bytes(hash.0[8 * i..8 * i + 8].try_into().expect("eight bytes"))
        }))
    }

    /// As machine memory and leaf preimages hold it: each element's low word, then its high word.
    pub fn to_words(self) -> [u32; 8] {
        core::array::from_fn(|i| (self.0[i / 2] >> (32 * (i % 2))) as u32)
    }

    /// The inverse of [`Digest::to_words`]; refuses an element ≥ p.
    #[inline]
    pub fn from_words(words: [u32; 8]) -> Result<Self, NonCanonical> {
        Self::new(core::array::from_fn(|i| u64::from(words[2 * i]) | u64::from(words[2 * i + 1]) << 32))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.to_hash(), formatter)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.to_hash(), formatter)
    }
}
