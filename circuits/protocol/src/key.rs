//! Keys of the state tree: structured, not hashed, so that a leaf says in clear what it is.

use core::fmt;

use crate::{Address, Hash, ObjectError};

/// What kind of object a key names. The numbers are part of the encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum Kind {
    /// A wallet's nonce and balance.
    Account = 1,
    /// A worker's registered signing key.
    Device = 2,
    /// A job and its escrow.
    Job = 3,
    /// A payment channel.
    Channel = 4,
    /// The chain's own numbers.
    Chain = 5,
}

impl Kind {
    /// Reads a kind's number.
    pub fn from_u32(number: u32) -> Result<Self, ObjectError> {
        Ok(match number {
            1 => Self::Account,
            2 => Self::Device,
            3 => Self::Job,
            4 => Self::Channel,
            5 => Self::Chain,
            got => return Err(ObjectError::UnknownKind { got }),
        })
    }
}

/// kind `u32` ‖ address ‖ nonce `u64`, as eight 32-bit words, most significant first: comparing the arrays compares the integers.
#[derive(Clone, Copy, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::derived_hash_with_manual_eq, reason = "the comparison is the derived one without a call of `memcmp`")]
pub struct Key([u32; 8]);

impl PartialEq for Key {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        (0..8).all(|i| self.0[i] == other.0[i])
    }
}

impl Key {
    /// The sentinel's key: below every object's.
    pub const FIRST: Self = Self([0; 8]);
    /// What the last leaf names as its next key: above every object's.
    pub const LAST: Self = Self([u32::MAX; 8]);
    /// The chain object's key.
    pub const CHAIN: Self = Self([Kind::Chain as u32, 0, 0, 0, 0, 0, 0, 0]);

    fn new(kind: Kind, address: &Address, nonce: u64) -> Self {
        let [a, b, c, d, e] = address.integer_words();
        Self([kind as u32, a, b, c, d, e, (nonce >> 32) as u32, nonce as u32])
    }

    /// The account at `address`.
    pub fn account(address: &Address) -> Self {
        Self::new(Kind::Account, address, 0)
    }

    /// The device that signs with the key of `address`.
    pub fn device(address: &Address) -> Self {
        Self::new(Kind::Device, address, 0)
    }

    /// The job that `client` posted with its transaction number `nonce`.
    pub fn job(client: &Address, nonce: u64) -> Self {
        Self::new(Kind::Job, client, nonce)
    }

    /// The channel that `client` opened with its transaction number `nonce`.
    pub fn channel(client: &Address, nonce: u64) -> Self {
        Self::new(Kind::Channel, client, nonce)
    }

    /// A key from its words; any eight words are a key, whether or not an object can live there.
    pub const fn from_words(words: [u32; 8]) -> Self {
        Self(words)
    }

    /// The eight words, most significant first.
    pub const fn words(&self) -> &[u32; 8] {
        &self.0
    }

    /// The kind the key names.
    pub fn kind(&self) -> Result<Kind, ObjectError> {
        Kind::from_u32(self.0[0])
    }

    /// The address part.
    pub fn address(&self) -> Address {
        let [_, a, b, c, d, e, ..] = self.0;
        Address::from_integer_words([a, b, c, d, e])
    }

    /// The nonce part.
    pub fn nonce(&self) -> u64 {
        u64::from(self.0[6]) << 32 | u64::from(self.0[7])
    }

    /// The key as 32 big-endian bytes.
    pub fn to_bytes(self) -> [u8; 32] {
        Hash::from_integer_words(self.0).0
    }

    /// The inverse of [`Key::to_bytes`].
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Hash(bytes).integer_words())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind() {
            Ok(kind) => write!(formatter, "{kind:?}({}, {})", self.address(), self.nonce()),
            Err(_) => write!(formatter, "Key({:08x?})", self.0),
        }
    }
}
