//! Reading and writing bytes that travel or are kept: one encoding for each value, every length bounded before it is believed.

use joule_protocol::{Address, Hash};
use thiserror::Error;

/// Bytes that are not what they should be. Whoever sent them is at fault; a log that holds them is damaged.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WireError {
    /// Input ended before the field did.
    #[error("the {what} ends {missing} bytes early")]
    Truncated {
        /// What was read.
        what: &'static str,
        /// Bytes that are missing.
        missing: usize,
    },
    /// Bytes after the end.
    #[error("{got} bytes follow the {what}")]
    Trailing {
        /// What was read.
        what: &'static str,
        /// Bytes left over.
        got: usize,
    },
    /// A number that names nothing.
    #[error("{got} is no {what}")]
    Unknown {
        /// What it should name.
        what: &'static str,
        /// The number.
        got: u8,
    },
    /// More of something than is taken.
    #[error("{got} {what}, and at most {limit} are taken")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How much.
        got: usize,
        /// How much is taken.
        limit: usize,
    },
    /// A value outside its range.
    #[error("the {what} is out of range: {got}")]
    OutOfRange {
        /// The field.
        what: &'static str,
        /// The value.
        got: u64,
    },
    /// Parts that do not belong together.
    #[error("the {what} do not belong together")]
    Inconsistent {
        /// The parts.
        what: &'static str,
    },
    /// Text that is not text.
    #[error("the {what} is not UTF-8")]
    NotText {
        /// The field.
        what: &'static str,
    },
}

/// A value with one encoding.
pub trait Wire: Sized {
    /// What it is called in errors.
    const WHAT: &'static str;

    /// Appends the encoding.
    fn write(&self, out: &mut Vec<u8>);

    /// Reads one value off the front.
    ///
    /// # Errors
    /// [`WireError`].
    fn read(input: &mut Reader<'_>) -> Result<Self, WireError>;

    /// The encoding.
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    /// The value that these bytes are, exactly.
    ///
    /// # Errors
    /// [`WireError`].
    fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        read_with(Self::WHAT, bytes, Self::read)
    }
}

/// Reads a value that these bytes are, exactly.
pub(crate) fn read_with<T>(
    what: &'static str,
    bytes: &[u8],
    read: impl FnOnce(&mut Reader<'_>) -> Result<T, WireError>,
) -> Result<T, WireError> {
    let mut input = Reader { bytes, what };
    let value = read(&mut input)?;
    match input.bytes.len() {
        0 => Ok(value),
        got => Err(WireError::Trailing { what, got }),
    }
}

/// A cursor over bytes that somebody else wrote.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// The next `count` bytes.
    ///
    /// # Errors
    /// [`WireError::Truncated`].
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], WireError> {
        let missing = count.saturating_sub(self.bytes.len());
        let (head, rest) =
            self.bytes.split_at_checked(count).ok_or(WireError::Truncated { what: self.what, missing })?;
        self.bytes = rest;
        Ok(head)
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// [`WireError::Truncated`].
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        Ok(self.take(N)?.try_into().expect("N bytes were taken"))
    }

    /// A byte.
    ///
    /// # Errors
    /// [`WireError::Truncated`].
    pub fn u8(&mut self) -> Result<u8, WireError> {
        Ok(self.array::<1>()?[0])
    }

    /// A big-endian integer.
    ///
    /// # Errors
    /// [`WireError::Truncated`].
    pub fn u32(&mut self) -> Result<u32, WireError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// A big-endian integer.
    ///
    /// # Errors
    /// [`WireError::Truncated`].
    pub fn u64(&mut self) -> Result<u64, WireError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// A big-endian integer.
    ///
    /// # Errors
    /// [`WireError::Truncated`].
    pub fn u128(&mut self) -> Result<u128, WireError> {
        Ok(u128::from_be_bytes(self.array()?))
    }

    /// A flag: 0 or 1.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn flag(&mut self) -> Result<bool, WireError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            got => Err(WireError::Unknown { what: "flag", got }),
        }
    }

    /// An address.
    ///
    /// # Errors
    /// [`WireError::Truncated`].
    pub fn address(&mut self) -> Result<Address, WireError> {
        self.array().map(Address)
    }

    /// A hash.
    ///
    /// # Errors
    /// [`WireError::Truncated`].
    pub fn hash(&mut self) -> Result<Hash, WireError> {
        self.array().map(Hash)
    }

    /// A count that is bounded before anything is made of it.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn count(&mut self, what: &'static str, limit: usize) -> Result<usize, WireError> {
        let got = self.u32()? as usize;
        if got > limit { Err(WireError::TooMany { what, got, limit }) } else { Ok(got) }
    }

    /// Bytes behind their length.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn bytes(&mut self, what: &'static str, limit: usize) -> Result<&'a [u8], WireError> {
        let count = self.count(what, limit)?;
        self.take(count)
    }

    /// Text behind its length.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn text(&mut self, what: &'static str, limit: usize) -> Result<String, WireError> {
        let bytes = self.bytes(what, limit)?;
        core::str::from_utf8(bytes).map(str::to_owned).map_err(|_| WireError::NotText { what })
    }

    /// A value behind a flag that says whether there is one.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn option<T: Wire>(&mut self) -> Result<Option<T>, WireError> {
        if self.flag()? { T::read(self).map(Some) } else { Ok(None) }
    }

    /// So many values behind their number.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn list<T: Wire>(&mut self, what: &'static str, limit: usize) -> Result<Vec<T>, WireError> {
        let count = self.count(what, limit)?;
        (0..count).map(|_| T::read(self)).collect()
    }
}

/// Appends bytes behind their length.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Appends values behind their number.
pub(crate) fn put_list<'a, T: Wire + 'a>(
    out: &mut Vec<u8>,
    values: impl IntoIterator<Item = &'a T, IntoIter: ExactSizeIterator>,
) {
    let values = values.into_iter();
    out.extend_from_slice(&(values.len() as u32).to_be_bytes());
    values.for_each(|value| value.write(out));
}

/// Appends a flag, and the value if there is one.
pub(crate) fn put_option<T: Wire>(out: &mut Vec<u8>, value: Option<&T>) {
    out.push(value.is_some().into());
    if let Some(value) = value {
        value.write(out);
    }
}

impl Wire for u64 {
    const WHAT: &'static str = "number";

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_be_bytes());
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, WireError> {
        input.u64()
    }
}
