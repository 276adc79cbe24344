//! Keeping up: L1 is watched, missing batches come from peers, old data goes.

use std::{sync::Arc, time::Duration};

use joule_committee_client::{Committee, FetchError, checkpoint_hash};
use thiserror::Error;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    l1::L1Source,
    member::{Member, finished},
    rules::{self, AcceptedOffer, OfferRefused},
    snapshot::{self, SnapshotError},
    worker::WorkError,
};

/// How a member keeps up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncConfig {
    /// Between two looks at L1.
    pub poll: Duration,
    /// For one answer of a peer.
    pub peer_limit: Duration,
    /// Between two snapshots, each of which may be followed by pruning; none are made if zero.
    pub snapshot_every: Duration,
    /// Data stays this long after its batch even if nobody was promised it, seconds.
    pub retention_s: u64,
}

/// Why a member is still behind.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SyncError {
    /// No peer has it.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// What a peer served is not the chain's.
    #[error(transparent)]
    Refused(#[from] OfferRefused),
    /// What a peer served does not execute, or the disk failed.
    #[error(transparent)]
    Work(#[from] WorkError),
}

/// Watches L1 and catches up until `stop`.
pub async fn run(
    member: Arc<Member>,
    mut l1: impl L1Source,
    peers: Arc<Committee>,
    config: SyncConfig,
    stop: CancellationToken,
) {
    let mut snapshot_at = Instant::now() + config.snapshot_every;
    loop {
        match l1.look().await {
            Ok(Some(view)) => {
                if let Err(error) = member.update(view).await {
                    tracing::error!(%error, "the disk cannot follow L1");
                }
            }
            Ok(None) => {}
            Err(error) => {
                member.metrics().l1_failures.inc();
                tracing::warn!(%error, "L1 cannot be read");
            }
        }
        if let Err(error) = catch_up(&member, &peers, config.peer_limit).await {
            member.metrics().peer_failures.inc();
            tracing::warn!(%error, "still behind");
        }
        if !config.snapshot_every.is_zero() && Instant::now() >= snapshot_at {
            snapshot_at = Instant::now() + config.snapshot_every;
            if let Err(error) = snapshot_and_prune(&member, config.retention_s).await {
                tracing::error!(%error, "no snapshot was made, nothing is pruned");
            }
        }
        tokio::select! {
            () = sleep(config.poll) => {}
            () = member.is_behind() => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Takes every batch that L1 has committed, and those below what was offered, from peers. Returns how many it took.
///
/// # Errors
/// No peer has the next one, or what all of them serve is not the chain's.
pub async fn catch_up(member: &Arc<Member>, peers: &Committee, limit: Duration) -> Result<u64, SyncError> {
    let mut taken = 0;
    loop {
        let Some(l1) = member.l1() else { return Ok(taken) };
        let number = member.last_number()? + 1;
        // A peer that serves blocks which do not execute is noticed only by executing them: then the next one has its turn.
        let mut tries = peers.members().len().max(1);
        loop {
            tries -= 1;
            let accepted = if let Some(batch) = l1.batch(number) {
                let offer = peers.offer(number, checkpoint_hash(&batch.checkpoint), limit).await?;
                AcceptedOffer::committed(offer, &l1)?
            } else if number < member.wanted() {
                let accept = |offer: &_| {
                    AcceptedOffer::to_hold(Clone::clone(offer), &l1).map(drop).map_err(|error| error.to_string())
                };
                let offer = peers.offers(number, limit, accept).await?;
                AcceptedOffer::to_hold(offer, &l1)?
            } else {
                return Ok(taken);
            };
            match member.take(accepted, l1.clone()).await {
                Ok(()) => break,
                Err(error) if tries == 0 => return Err(error.into()),
                Err(error) => tracing::warn!(number, %error, "a peer's batch was not what it must be"),
            }
        }
        taken += 1;
    }
}

/// Writes and checks a snapshot of the last executed state, and drops data that nobody was promised any more.
///
/// # Errors
/// No snapshot; then nothing is dropped.
pub async fn snapshot_and_prune(member: &Arc<Member>, retention_s: u64) -> Result<Option<u64>, SnapshotError> {
    let Some(l1) = member.l1() else { return Ok(None) };
    // Reading takes long and needs no lock: it sees one moment of the disk.
    let database = member.database().clone();
    let write = tokio::task::spawn_blocking(move || snapshot::write(&database));
    let written = finished(write.await)?;
    let pruned = member
        .with_worker(move |worker| {
            let block = crate::journal::snapshot_block(&worker.database().view()?)?;
            let Some(last) = rules::prunable(&worker.kept()?, block, l1.time_s, retention_s) else {
                return Ok::<_, SnapshotError>(None);
            };
            worker.prune(&last)?;
            Ok(Some(last.number))
        })
        .await?;
    if let Some(number) = pruned {
        tracing::info!(number, "data of executed batches up to this one was dropped");
    }
    Ok(written)
}
