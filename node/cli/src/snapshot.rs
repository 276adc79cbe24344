//! Snapshots as files: the whole state after a batch that L1 has executed.
//!
//! Whoever restores one trusts its source with nothing: L1 must have executed its checkpoint, and the tree that is built from its leaves must have that checkpoint's root.

use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter},
    path::{Path, PathBuf},
};

use joule_follow::genesis_checkpoint;
use joule_l1::{History, HistoryError, L1Error, StageOnL1};
use joule_protocol::{Genesis, Hash, Native};
use joule_storage::{Database, StorageError, snapshot_checkpoint};
use serde::Serialize;
use thiserror::Error;

use crate::L1Setup;

/// Why there is no snapshot, or no database from it.
#[derive(Debug, Error)]
pub enum SnapshotError {
    /// The disk, or a snapshot that is none.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// L1.
    #[error(transparent)]
    L1(#[from] L1Error),
    /// L1's history.
    #[error(transparent)]
    History(Box<HistoryError>),
    /// The file.
    #[error("{path}: {error}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// There is no state that L1 vouches for.
    #[error("this node knows no batch that L1 has executed; let it follow L1 first")]
    NothingExecuted,
    /// L1 does not vouch for it.
    #[error(
        "L1 has not executed the snapshot's checkpoint {checkpoint} (block {block_number}), as far as it is confirmed"
    )]
    NotExecuted {
        /// The snapshot's.
        checkpoint: Hash,
        /// Its block.
        block_number: u64,
    },
    /// L1 has no block that deep yet.
    #[error("L1 has no confirmed block with the rollup on it yet")]
    NoBlock,
    /// A task of ours panicked.
    #[error("the snapshot was not finished: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl From<HistoryError> for SnapshotError {
    fn from(error: HistoryError) -> Self {
        Self::History(Box::new(error))
    }
}

/// What was written or restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The batch whose checkpoint it is.
    pub batch_number: u64,
    /// The batch's last block.
    pub block_number: u64,
    /// Leaves of the state tree.
    pub leaves: u64,
    /// Hash of the checkpoint, as L1 has it.
    #[serde(serialize_with = "as_text")]
    pub checkpoint: Hash,
}

fn as_text<S: serde::Serializer>(hash: &Hash, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(hash)
}

fn io(path: &Path) -> impl Fn(io::Error) -> SnapshotError + '_ {
    move |error| SnapshotError::Io { path: path.to_owned(), error }
}

/// Writes the state after the last executed batch into a new file. The file appears whole or not at all.
///
/// # Errors
/// [`SnapshotError`], a file that is there among it.
pub fn export(database: &Database, path: &Path) -> Result<Report, SnapshotError> {
    let view = database.view()?;
    let batch = view.executed_batch()?.ok_or(SnapshotError::NothingExecuted)?;
    if path.exists() {
        return Err(io(path)(io::ErrorKind::AlreadyExists.into()));
    }
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let mut out = BufWriter::new(File::create(&partial).map_err(io(&partial))?);
    let leaves = view.snapshot(batch.last_block, &mut out)?;
    let out = out.into_inner().map_err(|error| io(&partial)(error.into_error()))?;
    out.sync_all().map_err(io(&partial))?;
    fs::rename(&partial, path).map_err(io(path))?;
    let (batch_number, block_number, checkpoint) = (batch.number, batch.last_block, batch.checkpoint.hash::<Native>());
    Ok(Report { batch_number, block_number, leaves, checkpoint })
}

/// Makes the database at `data_folder`, which must be empty or absent, from a snapshot whose checkpoint L1 has executed.
///
/// # Errors
/// [`SnapshotError`]. What a failed restore leaves is refused by everything else.
pub async fn restore(
    data_folder: &Path,
    genesis: &Genesis,
    l1: &L1Setup,
    path: &Path,
) -> Result<Report, SnapshotError> {
    let checkpoint = {
        let mut input = BufReader::new(File::open(path).map_err(io(path))?);
        snapshot_checkpoint(&mut input)?
    };
    let confirmed = l1.client.head().await?.number.saturating_sub(l1.follow.confirmations);
    let end = l1.client.block(confirmed).await?.filter(|end| end.number >= l1.client.contracts().deployed_at);
    let history = History::read(&l1.client, genesis_checkpoint(genesis), end.ok_or(SnapshotError::NoBlock)?).await?;
    let is_it = |batch: &&joule_l1::BatchOnL1| batch.stage == StageOnL1::Executed && batch.checkpoint == checkpoint;
    let hash = checkpoint.hash::<Native>();
    let Some(batch) = history.batches().iter().find(is_it) else {
        return Err(SnapshotError::NotExecuted { checkpoint: hash, block_number: checkpoint.block_number });
    };
    let (data_folder, genesis, path) = (data_folder.to_owned(), *genesis, path.to_owned());
    let leaves = tokio::task::spawn_blocking(move || {
        let mut input = BufReader::new(File::open(&path).map_err(io(&path))?);
        let database = Database::restore(&data_folder, &genesis, &hash, &mut input)?;
        let view = database.view()?;
        Ok::<_, SnapshotError>(view.tree()?.leaf_count())
    });
    let leaves = leaves.await??;
    Ok(Report { batch_number: batch.number, block_number: checkpoint.block_number, leaves, checkpoint: hash })
}
