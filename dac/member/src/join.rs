//! How an empty disk becomes a member's: from genesis, from a peer's snapshot, or from the data of every batch.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufReader, BufWriter},
    path::{Path, PathBuf},
    time::Duration,
};

use alloy_primitives::B256;
use joule_committee_client::{Committee, DataError, FetchError, checkpoint_hash};
use joule_l1::{AvailableAt, BatchOnL1, History, HistoryError, L1Client, StageOnL1};
use joule_protocol::{Accumulator, Checkpoint, Chunk, ChunkError, Genesis, Hash, Native};
use joule_state::{MemoryStore, RebuildError, StateTree};
use joule_storage::{Database, StorageError, write_snapshot};
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
    /// L1.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// Nobody has the data.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A file.
    #[error("{path}: {error}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// Data of which L1 has the hash and which is not the chain's: L1 itself would have to be wrong.
    #[error("the data of batch {number} does not continue the state: {reason}")]
    DoesNotFollow {
        /// The batch.
        number: u64,
        /// What is wrong.
        reason: String,
    },
    /// The data leads elsewhere.
    #[error("the data of batch {number} leads to checkpoint {got}, L1 executed {expected}")]
    OtherCheckpoint {
        /// The batch.
        number: u64,
        /// L1's.
        expected: B256,
        /// Reached.
        got: B256,
    },
}

impl JoinError {
    fn does_not_follow(number: u64) -> impl Fn(String) -> Self {
        move |reason| Self::DoesNotFollow { number, reason }
    }
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

fn executed_batches(history: &History) -> impl Iterator<Item = &BatchOnL1> {
    history.batches().iter().take_while(|batch| batch.stage == StageOnL1::Executed)
}

/// A path beside the database for what is on its way into it.
fn beside(path: &Path) -> Result<PathBuf, JoinError> {
    let beside = path.with_extension("incoming");
    if let Some(parent) = beside.parent() {
        fs::create_dir_all(parent).map_err(|error| JoinError::Io { path: parent.to_owned(), error })?;
    }
    Ok(beside)
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
    let incoming = beside(path)?;
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

/// Rebuilds the state from the data of every executed batch: L1's where it is there, any member's otherwise. One honest member, or none where all data is on
/// L1, is enough, because every chunk is checked against what L1 executed. The state is held in memory on the way.
///
/// # Errors
/// Data that nobody has.
pub async fn from_data(
    path: &Path,
    genesis: &Genesis,
    client: &L1Client,
    history: &History,
    peers: &Committee,
    limit: Duration,
) -> Result<Database, JoinError> {
    let (tree, checkpoint) = rebuild(genesis, client, history, peers, limit).await?;
    let incoming = beside(path)?;
    let mut out = BufWriter::new(File::create(&incoming).map_err(io(&incoming))?);
    let leaves = tree.store().leaves().map(|(key, leaf)| (*key, *leaf));
    write_snapshot(genesis, &checkpoint, tree.leaf_count(), leaves, &mut out)?;
    drop(out.into_inner().map_err(|error| io(&incoming)(error.into_error()))?);
    let mut input = BufReader::new(File::open(&incoming).map_err(io(&incoming))?);
    let database = Database::restore(path, genesis, &checkpoint.hash::<Native>(), &mut input)?;
    fs::remove_file(&incoming).map_err(io(&incoming))?;
    Ok(database)
}

/// The state after the last executed batch, from data alone.
///
/// # Errors
/// Data that nobody has.
pub async fn rebuild(
    genesis: &Genesis,
    client: &L1Client,
    history: &History,
    peers: &Committee,
    limit: Duration,
) -> Result<(StateTree<MemoryStore>, Checkpoint), JoinError> {
    let mut tree = match StateTree::genesis(MemoryStore::default(), genesis) {
        Ok(tree) => tree,
        Err(error) => unreachable!("a tree in memory takes its genesis: {error}"),
    };
    let mut checkpoint = genesis.checkpoint::<Native>(tree.root());
    let mut accs = vec![Accumulator::default()];
    for request in history.requests() {
        let mut next = accs[accs.len() - 1];
        next.absorb::<Native>(&request.encode());
        accs.push(next);
    }
    for batch in executed_batches(history) {
        let number = batch.number;
        let bad = JoinError::does_not_follow(number);
        let chunks = chunks_of(batch, client, history, peers, limit).await?;
        for bytes in chunks {
            let chunk = Chunk::decode::<Native>(&bytes).map_err(|error: ChunkError| bad(error.to_string()))?;
            let count = checkpoint.priority_count + chunk.request_outcomes.len() as u64;
            let acc = usize::try_from(count).ok().and_then(|count| accs.get(count)).copied();
            let acc = acc.ok_or_else(|| bad(format!("it consumes {count} requests, L1 has {}", accs.len() - 1)))?;
            let applied = joule_state::apply_chunk(&mut tree, &checkpoint, &bytes, acc);
            checkpoint = applied.map_err(|error: RebuildError<_>| bad(error.to_string()))?;
        }
        if checkpoint != batch.checkpoint {
            let (expected, got) = (checkpoint_hash(&batch.checkpoint), checkpoint_hash(&checkpoint));
            return Err(JoinError::OtherCheckpoint { number, expected, got });
        }
    }
    Ok((tree, checkpoint))
}

async fn chunks_of(
    batch: &BatchOnL1,
    client: &L1Client,
    history: &History,
    peers: &Committee,
    limit: Duration,
) -> Result<Vec<Vec<u8>>, JoinError> {
    match batch.available_at {
        AvailableAt::L1 => {
            let chunks = history.posted_chunks(client, batch.number).await?;
            Ok(chunks.into_iter().map(|chunk| chunk.to_vec()).collect())
        }
        AvailableAt::Committee { .. } => {
            let data = peers.data(batch.parent, checkpoint_hash(&batch.checkpoint), limit).await?;
            let data_bytes = data.data_bytes();
            if data_bytes != batch.data_bytes {
                let reason = DataError::TooLong { most: batch.data_bytes as usize, got: data_bytes as usize };
                return Err(JoinError::DoesNotFollow { number: batch.number, reason: reason.to_string() });
            }
            Ok(data.chunks().to_vec())
        }
    }
}
