//! Durable records whose owners give them meaning.

use crate::StorageError;

/// Whose records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Space {
    /// What a committee member has promised (`joule_committee::Entry`).
    SigningLog = 1,
    /// Certificates by batch number.
    Certificates = 2,
    /// Proofs by batch number.
    Proofs = 3,
    /// L1 transactions by nonce: written before they are sent.
    Outbox = 4,
    /// What settlement must remember beside the batches.
    Settlement = 5,
    /// What a committee member must remember beside its promises.
    Member = 6,
    /// What the running node must remember.
    Node = 7,
}

/// A record of a space: its key and its value.
pub type JournalRecord = (Vec<u8>, Vec<u8>);

/// One change of a space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalEdit {
    /// Writes a record, over the one that is there.
    Put {
        /// The space.
        space: Space,
        /// The record's key, at most [`JournalEdit::KEY_BYTES_MAX`] bytes.
        key: Vec<u8>,
        /// Its value, at most [`JournalEdit::VALUE_BYTES_MAX`] bytes.
        value: Vec<u8>,
    },
    /// Removes a record, if it is there.
    Delete {
        /// The space.
        space: Space,
        /// The record's key.
        key: Vec<u8>,
    },
}

impl JournalEdit {
    /// Bytes of a key.
    pub const KEY_BYTES_MAX: usize = 128;
    /// Bytes of a value: a batch's data posted on L1 is sent in parts far smaller than this.
    pub const VALUE_BYTES_MAX: usize = 16 << 20;
    /// Records that one scan returns.
    pub const SCAN_MAX: usize = 65_536;

    pub(crate) fn check(&self) -> Result<(), StorageError> {
        let (key, value) = match self {
            Self::Put { key, value, .. } => (key.len(), value.len()),
            Self::Delete { key, .. } => (key.len(), 0),
        };
        let within = |what, got: usize, limit: usize| match got <= limit {
            true => Ok(()),
            false => Err(StorageError::TooMuch { what, got: got as u64, limit: limit as u64 }),
        };
        within("bytes of a journal key", key, Self::KEY_BYTES_MAX)?;
        within("bytes of a journal record", value, Self::VALUE_BYTES_MAX)
    }
}

/// A record's key below its space.
pub(crate) fn journal_key(space: Space, key: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + key.len());
    bytes.push(space as u8);
    bytes.extend_from_slice(key);
    bytes
}
