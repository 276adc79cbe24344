//! Reading words and bytes that somebody else wrote.

use thiserror::Error;

use crate::{Address, Hash};

/// Input ended before the field did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("input ends after {have} of the {need} units that the next field needs")]
pub struct Truncated {
    /// Units (bytes or words) the field needs.
    pub need: usize,
    /// Units left.
    pub have: usize,
}

/// A cursor over 32-bit words, most significant word of a value first.
pub(crate) struct WordReader<'a>(pub(crate) &'a [u32]);

impl WordReader<'_> {
    pub(crate) fn take<const N: usize>(&mut self) -> Result<[u32; N], Truncated> {
        let (head, tail) = self.0.split_first_chunk::<N>().ok_or(Truncated { need: N, have: self.0.len() })?;
        self.0 = tail;
        Ok(*head)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Truncated> {
        Ok(self.take::<1>()?[0])
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Truncated> {
        let [high, low] = self.take()?;
        Ok(u64::from(high) << 32 | u64::from(low))
    }

    pub(crate) fn u128(&mut self) -> Result<u128, Truncated> {
        let high = self.u64()?;
        let low = self.u64()?;
        Ok(u128::from(high) << 64 | u128::from(low))
    }

    pub(crate) fn address(&mut self) -> Result<Address, Truncated> {
        Ok(Address::from_integer_words(self.take()?))
    }

    pub(crate) fn hash(&mut self) -> Result<Hash, Truncated> {
        Ok(Hash::from_integer_words(self.take()?))
    }
}

/// A cursor over bytes.
pub(crate) struct ByteReader<'a>(pub(crate) &'a [u8]);

impl<'a> ByteReader<'a> {
    pub(crate) fn bytes(&mut self, length: usize) -> Result<&'a [u8], Truncated> {
        let (head, tail) = self.0.split_at_checked(length).ok_or(Truncated { need: length, have: self.0.len() })?;
        self.0 = tail;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Truncated> {
        Ok(self.bytes(N)?.try_into().expect("N bytes were taken"))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Truncated> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Truncated> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    pub(crate) fn u128(&mut self) -> Result<u128, Truncated> {
        Ok(u128::from_be_bytes(self.array()?))
    }
}
