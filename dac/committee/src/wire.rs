//! Reading bytes that strangers sent.

use alloy_primitives::{Address, B256, U256};
use thiserror::Error;

/// Why bytes are not an encoding. Whoever sent them is to blame; on one's own disk, the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WireError {
    /// The bytes end too early.
    #[error("{needed} more bytes needed and {left} left")]
    Truncated {
        /// Bytes the next field takes.
        needed: usize,
        /// Bytes there are.
        left: usize,
    },
    /// Bytes follow the encoding.
    #[error("{bytes} bytes follow the end")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// Another version of the encoding, or something else altogether.
    #[error("version {expected} expected, {got} found")]
    UnknownVersion {
        /// The version this code reads.
        expected: u8,
        /// The version found.
        got: u8,
    },
    /// No such signature scheme.
    #[error("no signature scheme has number {got}")]
    UnknownScheme {
        /// The number found.
        got: u8,
    },
    /// A count out of its bounds.
    #[error("{got} {what}, where {least} to {most} are possible")]
    CountOutOfRange {
        /// Of what.
        what: &'static str,
        /// The smallest count.
        least: usize,
        /// The largest count.
        most: usize,
        /// The count found.
        got: usize,
    },
    /// Signer bits beyond the keyset.
    #[error("the bitmap {bitmap:#x} has bits beyond its {members} members")]
    UnknownBits {
        /// Members in the keyset.
        members: usize,
        /// The bitmap.
        bitmap: U256,
    },
    /// Entries out of order or repeated, so that the encoding would not be the only one.
    #[error("entry {index} does not come after the one before")]
    OutOfOrder {
        /// Index of the entry, from 0.
        index: usize,
    },
    /// The checksum is not that of the content.
    #[error("checksum {expected} expected, {got} found")]
    WrongChecksum {
        /// Of the content.
        expected: B256,
        /// As stored.
        got: B256,
    },
}

/// What is left to read of bytes that a stranger sent. Nothing is allocated before the bytes for it are there.
///
/// Every method fails with [`WireError::Truncated`] where the bytes end too early.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Begins at the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { left: bytes }
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (head, tail) =
            self.left.split_first_chunk().ok_or(WireError::Truncated { needed: N, left: self.left.len() })?;
        self.left = tail;
        Ok(*head)
    }

    /// The next `length` bytes, as they lie there.
    pub fn bytes(&mut self, length: usize) -> Result<&'a [u8], WireError> {
        let (head, tail) =
            self.left.split_at_checked(length).ok_or(WireError::Truncated { needed: length, left: self.left.len() })?;
        self.left = tail;
        Ok(head)
    }

    /// Bytes that are left.
    pub fn left(&self) -> usize {
        self.left.len()
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, WireError> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// A big-endian `u32`.
    pub fn u32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_be_bytes)
    }

    /// A big-endian `u64`.
    pub fn u64(&mut self) -> Result<u64, WireError> {
        self.array().map(u64::from_be_bytes)
    }

    /// An address.
    pub fn address(&mut self) -> Result<Address, WireError> {
        self.array().map(Address::new)
    }

    /// 32 bytes.
    pub fn b256(&mut self) -> Result<B256, WireError> {
        self.array().map(B256::new)
    }

    /// A big-endian 256-bit integer.
    pub fn u256(&mut self) -> Result<U256, WireError> {
        self.array::<32>().map(U256::from_be_bytes)
    }

    /// The version byte, which must be `expected`.
    pub fn version(&mut self, expected: u8) -> Result<(), WireError> {
        match self.u8()? {
            got if got == expected => Ok(()),
            got => Err(WireError::UnknownVersion { expected, got }),
        }
    }

    /// Nothing may follow.
    pub fn end(self) -> Result<(), WireError> {
        if self.left.is_empty() { Ok(()) } else { Err(WireError::Trailing { bytes: self.left.len() }) }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use std::fmt::Debug;

    use super::WireError;

    /// Every shorter and longer string than an encoding is refused, and one that decodes is its value's only encoding.
    pub(crate) fn is_strict<T: PartialEq + Debug>(
        bytes: &[u8],
        decode: impl Fn(&[u8]) -> Result<T, WireError>,
        encode: impl Fn(&T) -> Vec<u8>,
    ) {
        assert_eq!(encode(&decode(bytes).expect("decodes")), bytes);
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "cut to {length} bytes");
        }
        let mut longer = bytes.to_vec();
        longer.push(0);
        assert_eq!(decode(&longer), Err(WireError::Trailing { bytes: 1 }));
    }
}
