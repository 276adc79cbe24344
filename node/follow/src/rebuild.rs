//! The state after the last executed batch, from data alone: what L1 has itself, and what the committee's members serve of the rest.

use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter},
    path::{Path, PathBuf},
    time::Duration,
};

use alloy_primitives::B256;
use joule_committee_client::{Committee, DataError, FetchError, checkpoint_hash};
use joule_l1::{AvailableAt, BatchOnL1, History, HistoryError, L1Client, StageOnL1};
use joule_protocol::{Accumulator, Checkpoint, Chunk, ChunkError, Genesis, Native};
use joule_state::{MemoryStore, StateTree};
use joule_storage::{Database, StorageError, write_snapshot};
use thiserror::Error;

/// Why the state could not be rebuilt.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RebuildError {
    /// The disk.
    #[error(transparent)]
    Storage(#[from] StorageError),
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
        error: io::Error,
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

impl RebuildError {
    fn does_not_follow(number: u64) -> impl Fn(String) -> Self {
        move |reason| Self::DoesNotFollow { number, reason }
    }
}

/// Where a chain starts.
pub fn genesis_checkpoint(genesis: &Genesis) -> Checkpoint {
    genesis.checkpoint::<Native>(genesis_tree(genesis).root())
}

fn genesis_tree(genesis: &Genesis) -> StateTree<MemoryStore> {
    match StateTree::genesis(MemoryStore::default(), genesis) {
        Ok(tree) => tree,
        Err(error) => unreachable!("a tree in memory takes its genesis: {error}"),
    }
}

/// The batches that L1 has executed.
pub fn executed_batches(history: &History) -> impl Iterator<Item = &BatchOnL1> {
    history.batches().iter().take_while(|batch| batch.stage == StageOnL1::Executed)
}

/// A path beside the database for what is on its way into it; its folder is made.
///
/// # Errors
/// The disk.
pub fn beside(path: &Path) -> io::Result<PathBuf> {
    let beside = path.with_extension("incoming");
    if let Some(parent) = beside.parent() {
        fs::create_dir_all(parent)?;
    }
    Ok(beside)
}

fn io(path: &Path) -> impl Fn(io::Error) -> RebuildError + '_ {
    move |error| RebuildError::Io { path: path.to_owned(), error }
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
) -> Result<Database, RebuildError> {
    let (tree, checkpoint) = rebuild(genesis, client, history, peers, limit).await?;
    let incoming = beside(path).map_err(io(path))?;
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
) -> Result<(StateTree<MemoryStore>, Checkpoint), RebuildError> {
    let mut tree = genesis_tree(genesis);
    let mut checkpoint = genesis.checkpoint::<Native>(tree.root());
    let mut accs = vec![Accumulator::default()];
    for request in history.requests() {
        let mut next = accs[accs.len() - 1];
        next.absorb::<Native>(&request.encode());
        accs.push(next);
    }
    for batch in executed_batches(history) {
        let number = batch.number;
        let bad = RebuildError::does_not_follow(number);
        let chunks = chunks_of(batch, client, history, peers, limit).await?;
        for bytes in chunks {
            let chunk = Chunk::decode::<Native>(&bytes).map_err(|error: ChunkError| bad(error.to_string()))?;
            let count = checkpoint.priority_count + chunk.request_outcomes.len() as u64;
            let acc = usize::try_from(count).ok().and_then(|count| accs.get(count)).copied();
            let acc = acc.ok_or_else(|| bad(format!("it consumes {count} requests, L1 has {}", accs.len() - 1)))?;
            let applied = joule_state::apply_chunk(&mut tree, &checkpoint, &bytes, acc);
            checkpoint = applied.map_err(|error: joule_state::RebuildError<_>| bad(error.to_string()))?;
        }
        if checkpoint != batch.checkpoint {
            let (expected, got) = (checkpoint_hash(&batch.checkpoint), checkpoint_hash(&checkpoint));
            return Err(RebuildError::OtherCheckpoint { number, expected, got });
        }
    }
    Ok((tree, checkpoint))
}

/// A batch's data, checked against its checkpoints: L1's if it is there, the committee's otherwise.
///
/// # Errors
/// Nobody has it, or L1 could not be asked.
pub async fn chunks_of(
    batch: &BatchOnL1,
    client: &L1Client,
    history: &History,
    peers: &Committee,
    limit: Duration,
) -> Result<Vec<Vec<u8>>, RebuildError> {
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
                return Err(RebuildError::DoesNotFollow { number: batch.number, reason: reason.to_string() });
            }
            Ok(data.chunks().to_vec())
        }
    }
}
