//! What can go wrong with a disk and what is on it.

use std::path::PathBuf;

use joule_protocol::{Digest, Fault, Hash};
use joule_state::wire::WireError;
use thiserror::Error;

/// Why the database did not do what it was asked.
#[derive(Debug, Error)]
pub enum StorageError {
    /// RocksDB, or the disk below it.
    #[error("the database failed: {0}")]
    Rocks(#[from] rocksdb::Error),
    /// A snapshot's file.
    #[error("the snapshot cannot be read or written: {0}")]
    Io(#[from] std::io::Error),
    /// A record that this software did not write like this: a damaged disk.
    #[error("the {what} in the database is damaged: {error}")]
    Malformed {
        /// Which record.
        what: &'static str,
        /// What is wrong with it.
        error: WireError,
    },
    /// A record that another one says must be there.
    #[error("the database has no {what} {number}, which it must have")]
    Missing {
        /// Which record.
        what: &'static str,
        /// Its number.
        number: u64,
    },
    /// Written by another version of this software.
    #[error(
        "the database at {path} has schema {got}, this version reads schema {expected}; restore a snapshot or sync again"
    )]
    UnknownSchema {
        /// Where.
        path: PathBuf,
        /// Schema found.
        got: u32,
        /// Schema of this version.
        expected: u32,
    },
    /// Made for another chain.
    #[error("the database at {path} is of the chain with genesis {got}, not of {expected}; use another folder")]
    OtherGenesis {
        /// Where.
        path: PathBuf,
        /// Genesis id found.
        got: Hash,
        /// Genesis id expected.
        expected: Hash,
    },
    /// A restore that did not end.
    #[error(
        "the database at {path} holds a snapshot that was only restored in part; delete the folder and restore again"
    )]
    RestoreUnfinished {
        /// Where.
        path: PathBuf,
    },
    /// A restore into a folder that is not empty.
    #[error("a snapshot is restored into an empty folder, and {path} is not")]
    NotEmpty {
        /// Where.
        path: PathBuf,
    },
    /// A block that does not follow the head.
    #[error("block {got} with parent {parent} does not follow the head, block {head} with hash {head_hash}")]
    NotNext {
        /// Number of the block.
        got: u64,
        /// The parent it names.
        parent: Hash,
        /// Number of the head.
        head: u64,
        /// Hash of the head.
        head_hash: Hash,
    },
    /// Changes that are not the block's.
    #[error("the changes lead to the root {got}, the block to {expected}")]
    WrongRoot {
        /// Root of the changes or of the restored tree.
        got: Digest,
        /// Root of the block or checkpoint.
        expected: Digest,
    },
    /// State is written with the block that changes it, never alone.
    #[error("state is written with its block; use Database::commit_block")]
    StateWithoutBlock,
    /// A block outside the undo window.
    #[error("block {asked} is outside the window from {floor} to {head} in which earlier states are kept")]
    OutsideWindow {
        /// The block asked for.
        asked: u64,
        /// The first block whose state can be had.
        floor: u64,
        /// The head.
        head: u64,
    },
    /// Undo data that L1 could still ask for.
    #[error("undo data up to block {asked} is needed: L1 has executed only up to block {executed}")]
    NotExecuted {
        /// The block asked for.
        asked: u64,
        /// The last executed block.
        executed: u64,
    },
    /// A batch that does not follow the ones before.
    #[error("batch {number} cannot be stored: {reason}")]
    BatchOutOfPlace {
        /// Its number.
        number: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// Requests that do not follow the ones before.
    #[error("priority request {got} does not follow; the next one is {expected}")]
    RequestOutOfPlace {
        /// Index of the request.
        got: u64,
        /// The next index.
        expected: u64,
    },
    /// A question over its limit.
    #[error("{what}: {got} asked for, the limit is {limit}")]
    TooMuch {
        /// What was asked for.
        what: &'static str,
        /// How much.
        got: u64,
        /// The limit.
        limit: u64,
    },
    /// A snapshot of another state than was promised.
    #[error("the snapshot is of checkpoint {got}, expected {expected}")]
    OtherCheckpoint {
        /// Hash of the snapshot's checkpoint.
        got: Hash,
        /// Hash of the checkpoint that L1 executed.
        expected: Hash,
    },
    /// A snapshot that is none.
    #[error("the snapshot is malformed: {reason} (leaf {leaf})")]
    BadSnapshot {
        /// What is wrong.
        reason: &'static str,
        /// At which leaf.
        leaf: u64,
    },
    /// The tree found no place for what was asked.
    #[error("the state tree: {reason}")]
    Tree {
        /// What it says.
        reason: String,
    },
}

impl StorageError {
    /// Who has to act.
    pub fn fault(&self) -> Fault {
        match self {
            Self::OutsideWindow { .. } | Self::TooMuch { .. } => Fault::Sender,
            Self::NotExecuted { .. } => Fault::Nobody,
            Self::Rocks(_)
            | Self::Io(_)
            | Self::Malformed { .. }
            | Self::Missing { .. }
            | Self::UnknownSchema { .. }
            | Self::OtherGenesis { .. }
            | Self::RestoreUnfinished { .. }
            | Self::NotEmpty { .. }
            | Self::NotNext { .. }
            | Self::WrongRoot { .. }
            | Self::StateWithoutBlock
            | Self::BatchOutOfPlace { .. }
            | Self::RequestOutOfPlace { .. }
            | Self::OtherCheckpoint { .. }
            | Self::BadSnapshot { .. }
            | Self::Tree { .. } => Fault::Us,
        }
    }

    pub(crate) fn malformed(what: &'static str) -> impl FnOnce(WireError) -> Self {
        move |error| Self::Malformed { what, error }
    }
}

impl From<joule_state::TreeError<StorageError>> for StorageError {
    fn from(error: joule_state::TreeError<StorageError>) -> Self {
        match error {
            joule_state::TreeError::Store(error) => error,
            other => Self::Tree { reason: other.to_string() },
        }
    }
}
