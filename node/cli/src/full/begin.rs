//! A full node's disk at its first start.

use std::path::Path;

use joule_committee_client::{Committee, ConnectError};
use joule_follow::{RebuildError, from_data, genesis_checkpoint};
use joule_l1::{History, HistoryError, L1Error};
use joule_protocol::Genesis;
use joule_storage::{Database, StorageError};
use thiserror::Error;

use crate::{FullPlan, L1Setup, Start};

/// Why there is no disk to follow on.
#[derive(Debug, Error)]
pub enum BeginError {
    /// The disk.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// L1.
    #[error(transparent)]
    L1(#[from] L1Error),
    /// L1's history.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The committee's addresses.
    #[error(transparent)]
    Committee(#[from] ConnectError),
    /// The data of all batches.
    #[error("the state could not be rebuilt from data: {0}")]
    Rebuild(#[from] RebuildError),
}

/// Opens the disk at `path`. An empty one begins as the plan says: at genesis, or at the state after the last batch that L1 has executed, rebuilt from the data of all batches: L1's where it is there, the
/// committee's otherwise, and neither the sequencer's nor any peer's.
///
/// # Errors
/// [`BeginError`].
pub async fn begin(path: &Path, genesis: &Genesis, plan: &FullPlan, l1: &L1Setup) -> Result<Database, BeginError> {
    let is_new = !path.exists() || path.read_dir().map_err(StorageError::from)?.next().is_none();
    if is_new && plan.start == Start::Data {
        let confirmed = l1.client.head().await?.number.saturating_sub(l1.follow.confirmations);
        if let Some(end) = l1.client.block(confirmed.max(l1.client.contracts().deployed_at)).await? {
            let history = History::read(&l1.client, genesis_checkpoint(genesis), end).await?;
            if let Some(batch) = history.executed() {
                tracing::info!(batch = batch.number, "rebuilding the state from batch data");
                let committee = Committee::new(plan.members.clone())?;
                return Ok(from_data(path, genesis, &l1.client, &history, &committee, plan.serve_limit).await?);
            }
        }
    }
    let (path, genesis) = (path.to_owned(), *genesis);
    match tokio::task::spawn_blocking(move || Database::open(path, &genesis)).await {
        Ok(database) => Ok(database?),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
