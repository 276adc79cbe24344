//! Addresses, hashes, amounts, and the hashing that the node and the proven image do differently.

use core::fmt;

use crate::{Digest, Tag};

/// An amount of the base token in its smallest unit; below [`limits::AMOUNT_MAX`](crate::limits::AMOUNT_MAX) wherever it is stored.
pub type Amount = u128;

/// An Ethereum address. Word-aligned, so that the machine moves it a word at a time.
#[derive(Clone, Copy, Default, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::derived_hash_with_manual_eq, reason = "words are equal where bytes are")]
#[repr(C, align(4))]
pub struct Address(pub [u8; 20]);

/// A 32-byte hash (keccak-256 unless a field says otherwise). Word-aligned like [`Address`].
#[derive(Clone, Copy, Default, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::derived_hash_with_manual_eq, reason = "words are equal where bytes are")]
#[repr(C, align(4))]
pub struct Hash(pub [u8; 32]);

/// Word by word: the derived comparison is a call of `memcmp`, which costs the machine twice as much.
impl PartialEq for Address {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        let (left, right) = (self.memory_words(), other.memory_words());
        (0..5).all(|i| left[i] == right[i])
    }
}

/// Word by word, as of an [`Address`].
impl PartialEq for Hash {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        let (left, right) = (self.memory_words(), other.memory_words());
        (0..8).all(|i| left[i] == right[i])
    }
}

impl Address {
    /// Twenty zero bytes: "nobody".
    pub const ZERO: Self = Self([0; 20]);

    /// An address whose last two bytes are `low`, the form of the system contracts.
    pub const fn from_low_u16(low: u16) -> Self {
        let mut bytes = [0; 20];
        bytes[18] = (low >> 8) as u8;
        bytes[19] = low as u8;
        Self(bytes)
    }

    /// The bytes as words of memory, for copies and comparisons: what numbers they are depends on the machine.
    #[inline]
    pub(crate) fn memory_words(&self) -> [u32; 5] {
        bytemuck::cast(self.0)
    }

    /// The address as an integer, most significant word first.
    #[inline]
    pub fn integer_words(&self) -> [u32; 5] {
        self.memory_words().map(u32::from_be)
    }

    /// The inverse of [`Address::integer_words`].
    #[inline]
    pub fn from_integer_words(words: [u32; 5]) -> Self {
        Self(bytemuck::cast(words.map(u32::to_be)))
    }

    /// Whether this is [`Address::ZERO`].
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }
}

impl Hash {
    /// Thirty-two zero bytes: the start of every accumulator, and "none" where a hash is optional.
    pub const ZERO: Self = Self([0; 32]);

    /// The bytes as words of memory, for copies and comparisons.
    #[inline]
    pub(crate) fn memory_words(&self) -> [u32; 8] {
        bytemuck::cast(self.0)
    }

    /// The hash as an integer, most significant word first.
    #[inline]
    pub fn integer_words(&self) -> [u32; 8] {
        self.memory_words().map(u32::from_be)
    }

    /// The inverse of [`Hash::integer_words`].
    #[inline]
    pub fn from_integer_words(words: [u32; 8]) -> Self {
        Self(bytemuck::cast(words.map(u32::to_be)))
    }

    /// The hash as the machine and the public values hold it: word i is the little-endian reading of bytes 4i … 4i+3.
    pub fn to_words(self) -> [u32; 8] {
        self.memory_words().map(u32::from_le)
    }

    /// The inverse of [`Hash::to_words`].
    pub fn from_words(words: [u32; 8]) -> Self {
        Self(bytemuck::cast(words.map(u32::to_le)))
    }
}

fn write_hex(formatter: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    formatter.write_str("0x")?;
    bytes.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(formatter, &self.0)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(formatter, &self.0)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(formatter, &self.0)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(formatter, &self.0)
    }
}

/// The two hashes of the protocol.
///
/// The node's implementation is [`Native`](crate::Native); the proven image implements it with precompiles. A test
/// holds the two equal, and the proof binds the image's to the tables.
pub trait Hashing {
    /// keccak-256 of `bytes`.
    fn keccak256(bytes: &[u8]) -> Hash;

    /// The Poseidon2 sponge over 32-bit words, as the book's *Encodings* defines it.
    fn hash_words(tag: Tag, words: &[u32]) -> Digest;
}
