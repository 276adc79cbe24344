//! How an empty disk becomes a member's: from genesis, from a peer's snapshot, or from the data of every batch.

use std::{
    collections::BTreeMap,
    fs,
    io::BufReader,
    path::{Path, PathBuf},
    time::Duration,
};

use alloy_primitives::B256;
use joule_committee_client::{Committee, checkpoint_hash};
use joule_follow::{beside, executed_batches, from_data};
use joule_l1::{History, L1Client};
use joule_protocol::{Genesis, Hash};
use joule_storage::{Database, StorageError};
use thiserror::Error;

use crate::{
    journal::{self, JournalError},
    snapshot::{self, SnapshotError},
};

/// Batches that may wait between commit and execution; the contract has the same number.
const PENDING_BATCHES_MAX: u64 = 256;

/// Why a member could not join.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The disk.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The data of all batches.
    #[error(transparent)]
    Rebuild(#[from] joule_follow::RebuildError),
    /// A file.
    #[error("{path}: {error}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
}

/// Where a member's state came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nothing had been executed.
    Genesis,
    /// A peer's snapshot of this batch's checkpoint.
    Snapshot {
        /// The batch.
        number: u64,
    },
    /// The data of all batches up to this one.
    Data {
        /// The batch.
        number: u64,
    },
}

/// Whether keys have signed before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeysHistory {
    /// They were made for this disk, or never signed for this rollup.
    Unused,
    /// They may have signed. What they signed is not on this disk, so nothing is signed that they could have signed before: no batch up to the
    /// furthest that L1 lets wait today.
    MayHaveSigned,
}

/// Makes a member's database at `path`, which must be empty or absent, at the last executed checkpoint or a little before it. What came since is fetched batch by
/// batch when the member runs.
///
/// # Errors
/// Neither a snapshot nor the data could be had, or the disk failed.
pub async fn join(
    path: &Path,
    genesis: &Genesis,
    client: &L1Client,
    history: &History,
    peers: &Committee,
    keys: KeysHistory,
    limit: Duration,
) -> Result<(Database, Origin), JoinError> {
    let executed = history.executed().map_or(0, |batch| batch.number);
    let (database, origin) = if executed == 0 {
        (Database::open(path, genesis)?, Origin::Genesis)
    } else if let Some((database, number)) = from_snapshot(path, genesis, history, peers, limit).await? {
        (database, Origin::Snapshot { number })
    } else {
        (from_data(path, genesis, client, history, peers, limit).await?, Origin::Data { number: executed })
    };
    match origin {
        Origin::Genesis => {}
        Origin::Snapshot { number } | Origin::Data { number } => journal::keep_base(&database, number)?,
    }
    if keys == KeysHistory::MayHaveSigned {
        journal::forget_promises(&database, executed + PENDING_BATCHES_MAX + 1)?;
    }
    Ok((database, origin))
}

fn io(path: &Path) -> impl Fn(std::io::Error) -> JoinError + '_ {
    move |error| JoinError::Io { path: path.to_owned(), error }
}

/// The first snapshot of a peer's that restores to a checkpoint which L1 has executed.
async fn from_snapshot(
    path: &Path,
    genesis: &Genesis,
    history: &History,
    peers: &Committee,
    limit: Duration,
) -> Result<Option<(Database, u64)>, JoinError> {
    let checkpoints: BTreeMap<B256, u64> =
        executed_batches(history).map(|batch| (checkpoint_hash(&batch.checkpoint), batch.number)).collect();
    let incoming = beside(path).map_err(io(path))?;
    for peer in peers.members() {
        let result = try_snapshot(path, genesis, &checkpoints, peers, peer, &incoming, limit).await;
        fs::remove_file(&incoming).or_else(ignore_missing).map_err(io(&incoming))?;
        match result {
            Ok(found) => return Ok(Some(found)),
            Err(error) => {
                tracing::warn!(peer = %peer.account, %error, "no snapshot from this peer");
                // What a failed restore left is of no use.
                fs::remove_dir_all(path).or_else(ignore_missing).map_err(io(path))?;
            }
        }
    }
    Ok(None)
}

fn ignore_missing(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

async fn try_snapshot(
    path: &Path,
    genesis: &Genesis,
    checkpoints: &BTreeMap<B256, u64>,
    peers: &Committee,
    peer: &joule_committee_client::Endpoint,
    incoming: &Path,
    limit: Duration,
) -> Result<(Database, u64), SnapshotError> {
    snapshot::fetch(peers, peer, incoming, limit).await?;
    let checkpoint = snapshot::checkpoint_of(incoming)?;
    let hash = checkpoint_hash(&checkpoint);
    let Some(number) = checkpoints.get(&hash).copied() else {
        return Err(SnapshotError::NotExecuted { checkpoint: hash });
    };
    let mut input = BufReader::new(snapshot::open(incoming)?);
    let database = Database::restore(path, genesis, &Hash(hash.0), &mut input)?;
    Ok((database, number))
}
