//! A transaction as the outbox writes it down.

use alloy::primitives::{Address, B256, Bytes, keccak256};
use joule_protocol::limits::L1_TRANSACTION_BYTES_MAX;
use thiserror::Error;

use crate::Fees;

/// Bytes of a tag.
pub const TAG_BYTES_MAX: usize = 256;
/// Attempts kept: with each 15 % above the last, the last of them pays 28 times the first.
pub(crate) const ATTEMPTS_MAX: usize = 24;
/// Bytes of a signed transaction.
pub(crate) const RAW_BYTES_MAX: usize = L1_TRANSACTION_BYTES_MAX;
const VERSION: u8 = 1;

/// One signed version of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// What it offers.
    pub fees: Fees,
    /// Hash of the signed transaction.
    pub hash: B256,
    /// L1's head when it was signed.
    pub block: u64,
}

/// A transaction under way: its nonce, what it is for, what it does and every version signed. Only the last version's bytes are kept;
/// the earlier ones matter by their hashes, because any of them may be the one in a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its nonce.
    pub nonce: u64,
    /// What it is for, in the caller's words.
    pub tag: Vec<u8>,
    /// Whom it calls.
    pub to: Address,
    /// With what.
    pub input: Bytes,
    /// Gas it may use.
    pub gas: u64,
    /// Versions signed, the last one last. Never empty.
    pub attempts: Vec<Attempt>,
    /// The last version's bytes.
    pub raw: Bytes,
}

/// Bytes that are no entry: the store is damaged, or another program's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EntryError {
    /// Another version of the encoding.
    #[error("outbox entry of version {got}; this program reads {VERSION}")]
    UnknownVersion {
        /// The version found.
        got: u8,
    },
    /// The bytes end early.
    #[error("an outbox entry ends early: {needed} more bytes needed and {left} left")]
    Truncated {
        /// Bytes the next field takes.
        needed: usize,
        /// Bytes there are.
        left: usize,
    },
    /// Bytes after the end.
    #[error("{got} bytes follow an outbox entry")]
    Trailing {
        /// How many.
        got: usize,
    },
    /// A length out of bounds.
    #[error("an outbox entry has {got} {what}; 1 to {most} are possible")]
    OutOfRange {
        /// Of what.
        what: &'static str,
        /// The bound.
        most: usize,
        /// The number found.
        got: usize,
    },
    /// The last attempt's hash is not that of the bytes kept.
    #[error("an outbox entry's bytes hash to {got}, its last attempt to {expected}")]
    WrongHash {
        /// As the attempt says.
        expected: B256,
        /// Of the bytes.
        got: B256,
    },
}

impl Entry {
    /// The version that was signed last.
    pub fn last(&self) -> &Attempt {
        &self.attempts[self.attempts.len() - 1]
    }

    /// version ‖ nonce u64 ‖ to ‖ gas u64 ‖ tag, input, raw (each u32 length ‖ bytes) ‖ attempts u32 ‖ per attempt cap u128, tip u128, hash,
    /// block u64.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.tag.len() + self.input.len() + self.raw.len());
        out.push(VERSION);
        out.extend_from_slice(&self.nonce.to_be_bytes());
        out.extend_from_slice(self.to.as_slice());
        out.extend_from_slice(&self.gas.to_be_bytes());
        for bytes in [&self.tag[..], &self.input, &self.raw] {
            out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
            out.extend_from_slice(bytes);
        }
        out.extend_from_slice(&(self.attempts.len() as u32).to_be_bytes());
        for attempt in &self.attempts {
            out.extend_from_slice(&attempt.fees.cap.to_be_bytes());
            out.extend_from_slice(&attempt.fees.tip.to_be_bytes());
            out.extend_from_slice(attempt.hash.as_slice());
            out.extend_from_slice(&attempt.block.to_be_bytes());
        }
        out
    }

    /// The inverse of [`Entry::encode`].
    ///
    /// # Errors
    /// Anything but the bytes of one entry.
    pub fn decode(bytes: &[u8]) -> Result<Self, EntryError> {
        let mut reader = Reader(bytes);
        let [got] = reader.array()?;
        if got != VERSION {
            return Err(EntryError::UnknownVersion { got });
        }
        let nonce = u64::from_be_bytes(reader.array()?);
        let to = Address::from(reader.array::<20>()?);
        let gas = u64::from_be_bytes(reader.array()?);
        let tag = reader.bytes("bytes of tag", TAG_BYTES_MAX)?.to_vec();
        let input = Bytes::copy_from_slice(reader.bytes("bytes of input", RAW_BYTES_MAX)?);
        let raw = Bytes::copy_from_slice(reader.bytes("bytes of transaction", RAW_BYTES_MAX)?);
        let got = u32::from_be_bytes(reader.array()?) as usize;
        if got == 0 || got > ATTEMPTS_MAX {
            return Err(EntryError::OutOfRange { what: "attempts", most: ATTEMPTS_MAX, got });
        }
        let mut attempts = Vec::with_capacity(got);
        for _ in 0..got {
            let fees = Fees { cap: u128::from_be_bytes(reader.array()?), tip: u128::from_be_bytes(reader.array()?) };
            let hash = B256::from(reader.array::<32>()?);
            attempts.push(Attempt { fees, hash, block: u64::from_be_bytes(reader.array()?) });
        }
        if !reader.0.is_empty() {
            return Err(EntryError::Trailing { got: reader.0.len() });
        }
        let entry = Self { nonce, tag, to, input, gas, attempts, raw };
        let (expected, got) = (entry.last().hash, keccak256(&entry.raw));
        if expected != got {
            return Err(EntryError::WrongHash { expected, got });
        }
        Ok(entry)
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, needed: usize) -> Result<&'a [u8], EntryError> {
        let (head, tail) =
            self.0.split_at_checked(needed).ok_or(EntryError::Truncated { needed, left: self.0.len() })?;
        self.0 = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], EntryError> {
        let left = self.0.len();
        self.take(N)?.try_into().map_err(|_| EntryError::Truncated { needed: N, left })
    }

    fn bytes(&mut self, what: &'static str, most: usize) -> Result<&'a [u8], EntryError> {
        let got = u32::from_be_bytes(self.array()?) as usize;
        if got > most {
            return Err(EntryError::OutOfRange { what, most, got });
        }
        self.take(got)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An entry with its nonce for content.
    pub(crate) fn entry(nonce: u64, block: u64) -> Entry {
        let raw = Bytes::from(nonce.to_be_bytes().to_vec());
        Entry {
            nonce,
            tag: vec![nonce as u8],
            to: Address::repeat_byte(7),
            input: Bytes::from_static(b"call"),
            gas: 100_000,
            attempts: vec![Attempt { fees: Fees { cap: 10, tip: 1 }, hash: keccak256(&raw), block }],
            raw,
        }
    }

    #[test]
    fn every_other_byte_string_is_refused() {
        let bytes = entry(3, 9).encode();
        for length in 0..bytes.len() {
            assert!(Entry::decode(&bytes[..length]).is_err(), "cut to {length} bytes");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert_eq!(Entry::decode(&longer), Err(EntryError::Trailing { got: 1 }));
        let mut newer = bytes;
        newer[0] = 2;
        assert_eq!(Entry::decode(&newer), Err(EntryError::UnknownVersion { got: 2 }));
    }

    proptest! {
        #[test]
        fn entries_survive_storage(
            nonce: u64, gas: u64, tag in prop::collection::vec(any::<u8>(), 0..TAG_BYTES_MAX),
            input in prop::collection::vec(any::<u8>(), 0..300), raw in prop::collection::vec(any::<u8>(), 0..300),
            fees in prop::collection::vec((any::<u128>(), any::<u128>(), any::<u64>()), 1..ATTEMPTS_MAX),
        ) {
            let mut entry = Entry { nonce, gas, tag, input: input.into(), raw: raw.into(), ..entry(0, 0) };
            entry.attempts = fees
                .into_iter()
                .map(|(cap, tip, block)| Attempt { fees: Fees { cap, tip }, hash: keccak256(&entry.raw), block })
                .collect();
            prop_assert_eq!(Entry::decode(&entry.encode()), Ok(entry));
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut versioned = vec![VERSION];
            versioned.extend_from_slice(&bytes);
            for bytes in [&bytes, &versioned] {
                if let Ok(entry) = Entry::decode(bytes) {
                    prop_assert_eq!(&entry.encode(), bytes);
                }
            }
        }
    }
}
