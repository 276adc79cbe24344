//! Reading and writing the node's own binary records: fixed-width big-endian integers, byte strings with a 32-bit length in front.
//!
//! One value has one encoding, and a reader takes nothing for granted: lengths are compared with the caller's limit before anything is allocated, and
//! what follows the end is an error.

use joule_protocol::{Address, Checkpoint, Digest, Hash, Key, NonCanonical, Object, ObjectError};
use thiserror::Error;

/// Bytes that are not the record they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WireError {
    /// Ends early.
    #[error("the record ends after {have} of the {need} bytes that `{field}` needs")]
    Truncated {
        /// The field.
        field: &'static str,
        /// Bytes it needs.
        need: usize,
        /// Bytes left.
        have: usize,
    },
    /// A list or byte string over its limit.
    #[error("`{field}` has {got} entries or bytes; the limit is {limit}")]
    TooLong {
        /// The field.
        field: &'static str,
        /// Entries or bytes named.
        got: usize,
        /// The limit.
        limit: usize,
    },
    /// A number that the field does not know.
    #[error("`{field}` cannot be {got}")]
    OutOfRange {
        /// The field.
        field: &'static str,
        /// The number found.
        got: u64,
    },
    /// Another format, or another version of this one.
    #[error("the record begins with {got:02x?}, not with {expected:02x?}")]
    UnknownFormat {
        /// This version's first bytes.
        expected: [u8; 4],
        /// What was found.
        got: [u8; 4],
    },
    /// A digest that is not canonical.
    #[error(transparent)]
    Digest(#[from] NonCanonical),
    /// Words that are no object.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// Bytes after the end.
    #[error("{got} bytes follow the record")]
    Trailing {
        /// Bytes left over.
        got: usize,
    },
}

/// Appends values to a record.
#[derive(Clone, Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// An empty record with room for `capacity_bytes`.
    pub fn with_capacity(capacity_bytes: usize) -> Self {
        Self(Vec::with_capacity(capacity_bytes))
    }

    /// The record.
    pub fn finish(self) -> Vec<u8> {
        self.0
    }

    /// Bytes as they are: the reader knows how many.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.raw(&[value])
    }

    /// Four bytes.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    /// Eight bytes.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    /// Sixteen bytes.
    pub fn u128(&mut self, value: u128) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    /// A byte string, its length first.
    ///
    /// # Panics
    /// If it has 2^32 bytes: every record is bounded far below.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.length(bytes.len()).raw(bytes)
    }

    /// The number of entries of a list, which follow.
    ///
    /// # Panics
    /// If it is 2^32 or more.
    pub fn length(&mut self, length: usize) -> &mut Self {
        self.u32(u32::try_from(length).expect("lists of records are bounded far below 2^32"))
    }

    /// A checkpoint.
    pub fn checkpoint(&mut self, checkpoint: &Checkpoint) -> &mut Self {
        self.raw(&checkpoint.encode())
    }

    /// An object: its kind, then its words.
    pub fn object(&mut self, object: &Object) -> &mut Self {
        self.u32(object.kind() as u32);
        object.with_words(|words| {
            for &word in words {
                self.u32(word);
            }
        });
        self
    }
}

/// Takes values off a record.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Begins at the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Bytes left.
    pub fn remaining(&self) -> usize {
        self.0.len()
    }

    /// Checks that nothing follows.
    pub fn end(self) -> Result<(), WireError> {
        if self.0.is_empty() { Ok(()) } else { Err(WireError::Trailing { got: self.0.len() }) }
    }

    /// `length` bytes.
    pub fn raw(&mut self, field: &'static str, length: usize) -> Result<&'a [u8], WireError> {
        let (head, tail) =
            self.0.split_at_checked(length).ok_or(WireError::Truncated { field, need: length, have: self.0.len() })?;
        self.0 = tail;
        Ok(head)
    }

    /// `N` bytes.
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], WireError> {
        Ok(self.raw(field, N)?.try_into().expect("N bytes were taken"))
    }

    /// The four bytes that name format and version.
    pub fn format(&mut self, expected: [u8; 4]) -> Result<(), WireError> {
        match self.array("format")? {
            got if got == expected => Ok(()),
            got => Err(WireError::UnknownFormat { expected, got }),
        }
    }

    /// One byte.
    pub fn u8(&mut self, field: &'static str) -> Result<u8, WireError> {
        Ok(self.array::<1>(field)?[0])
    }

    /// A byte that is 0 or 1.
    pub fn flag(&mut self, field: &'static str) -> Result<bool, WireError> {
        match self.u8(field)? {
            0 => Ok(false),
            1 => Ok(true),
            got => Err(WireError::OutOfRange { field, got: got.into() }),
        }
    }

    /// Four bytes.
    pub fn u32(&mut self, field: &'static str) -> Result<u32, WireError> {
        Ok(u32::from_be_bytes(self.array(field)?))
    }

    /// Eight bytes.
    pub fn u64(&mut self, field: &'static str) -> Result<u64, WireError> {
        Ok(u64::from_be_bytes(self.array(field)?))
    }

    /// Sixteen bytes.
    pub fn u128(&mut self, field: &'static str) -> Result<u128, WireError> {
        Ok(u128::from_be_bytes(self.array(field)?))
    }

    /// A byte string of at most `limit` bytes.
    pub fn bytes(&mut self, field: &'static str, limit: usize) -> Result<&'a [u8], WireError> {
        let length = self.length(field, limit)?;
        self.raw(field, length)
    }

    /// The number of entries of a list, at most `limit`.
    pub fn length(&mut self, field: &'static str, limit: usize) -> Result<usize, WireError> {
        match self.u32(field)? as usize {
            got if got > limit => Err(WireError::TooLong { field, got, limit }),
            got => Ok(got),
        }
    }

    /// A hash.
    pub fn hash(&mut self, field: &'static str) -> Result<Hash, WireError> {
        Ok(Hash(self.array(field)?))
    }

    /// A digest, which must be canonical.
    pub fn digest(&mut self, field: &'static str) -> Result<Digest, WireError> {
        Ok(Digest::from_hash(self.hash(field)?)?)
    }

    /// An address.
    pub fn address(&mut self, field: &'static str) -> Result<Address, WireError> {
        Ok(Address(self.array(field)?))
    }

    /// A key of the tree.
    pub fn key(&mut self, field: &'static str) -> Result<Key, WireError> {
        Ok(Key::from_bytes(self.array(field)?))
    }

    /// A checkpoint.
    pub fn checkpoint(&mut self, field: &'static str) -> Result<Checkpoint, WireError> {
        match Checkpoint::decode(&self.array(field)?) {
            Some(checkpoint) => Ok(checkpoint?),
            None => Err(WireError::OutOfRange { field, got: u64::MAX }),
        }
    }

    /// An object.
    pub fn object(&mut self, field: &'static str) -> Result<Object, WireError> {
        let kind = joule_protocol::Kind::from_u32(self.u32(field)?)?;
        let mut words = [0; Object::WORDS_MAX];
        let words = &mut words[..Object::words_of(kind)];
        for word in words.iter_mut() {
            *word = self.u32(field)?;
        }
        Ok(Object::from_words(kind, words)?)
    }
}
