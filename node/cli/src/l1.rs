//! Following L1: priority requests, in order, into the database and to whoever executes.

use std::{fmt, sync::Arc, time::Duration};

use joule_contracts::Bridge;
use joule_l1::{BlockRef, Contracts, FollowConfig, Followed, Follower, L1Client, L1Error, L1Event};
use joule_protocol::Hash;
use joule_rpc::wire::L1Contracts;
use joule_storage::{Database, L1Cursor, StorageError};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// Longest pause between two attempts to ask an L1 node that fails.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// Where the contracts are, for clients.
///
/// # Errors
/// L1 could not be asked.
pub async fn contracts_of(client: &L1Client) -> Result<L1Contracts, L1Error> {
    let Contracts { rollup, bridge, committee, .. } = *client.contracts();
    let escape = Bridge::new(bridge, client.provider()).escape().call().await?;
    Ok(L1Contracts { rollup, bridge, escape, committee })
}

/// Why following ended.
#[derive(Debug, Error)]
pub enum FollowError {
    /// L1 cannot be asked, now.
    #[error(transparent)]
    L1(#[from] L1Error),
    /// The disk.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A thread for the disk did not end well.
    #[error("a write to the database did not end: {0}")]
    Thread(#[from] tokio::task::JoinError),
    /// L1 says that a request comes that does not follow those before.
    #[error("L1 names request {got}; the next one is {expected}")]
    OutOfOrder {
        /// Index named.
        got: u64,
        /// The next.
        expected: u64,
    },
}

/// Takes up following where the database stands, if L1 still has that very block. If it has another one in its place, L1 was reorganised while nobody looked: then everything is read again from
/// the deployment, and compared with what is here.
///
/// # Errors
/// The disk.
pub(crate) async fn resume(
    client: &L1Client,
    config: FollowConfig,
    database: &Database,
) -> Result<Follower, StorageError> {
    let known = match database.view()?.l1_cursor()? {
        // A node that cannot be asked now costs the reading again, and nothing else.
        Some(cursor) => {
            let found = client.block(cursor.number).await.ok().flatten();
            found.filter(|found| found.hash.0 == cursor.hash.0)
        }
        None => None,
    };
    Ok(Follower::new(client.clone(), config, known))
}

/// Follows L1 and keeps the database's requests equal to it.
pub struct RequestWatch {
    client: L1Client,
    follower: Follower,
    database: Database,
    changed: Arc<dyn Fn(Option<u64>) + Send + Sync>,
    metrics: Metrics,
    poll: Duration,
    /// Whether the database is known to hold no more requests than L1 has made. What comes from L1 is compared as it comes; that something does not come any more shows at the end alone.
    is_counted: bool,
}

impl fmt::Debug for RequestWatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RequestWatch").field("follower", &self.follower).finish_non_exhaustive()
    }
}

impl RequestWatch {
    /// Goes on where `follower` stands. `changed` is told, where blocking is allowed, that the database holds more requests, and from which index on they are others than before, if they are.
    pub fn new(
        client: L1Client,
        follower: Follower,
        database: Database,
        changed: impl Fn(Option<u64>) + Send + Sync + 'static,
        metrics: Metrics,
        poll: Duration,
    ) -> Self {
        Self { client, follower, database, changed: Arc::new(changed), metrics, poll, is_counted: false }
    }

    /// Follows until `stop`, through failures of the L1 node.
    ///
    /// # Errors
    /// What asking again does not mend: the disk, or requests out of order.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), FollowError> {
        let mut pause = self.poll;
        loop {
            match self.step().await {
                Ok(true) => {
                    pause = self.poll;
                    continue; // there may be more
                }
                Ok(false) => pause = self.poll,
                Err(FollowError::L1(error)) => {
                    self.metrics.l1_failures.inc();
                    tracing::warn!(%error, "L1 cannot be followed; trying again");
                    pause = (pause * 2).min(BACKOFF_MAX);
                }
                Err(error) => return Err(error),
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return Ok(()),
            }
        }
    }

    /// Looks once; true if something came.
    async fn step(&mut self) -> Result<bool, FollowError> {
        let followed = self.follower.poll().await?;
        let is_something = !followed.is_empty();
        if !is_something && !self.is_counted {
            self.count().await?;
        }
        let mut requests: Vec<(u64, Vec<u8>)> = Vec::new();
        for item in followed {
            match item {
                Followed::Event(located) => {
                    if let L1Event::PriorityRequest { index, request, .. } = located.event {
                        requests.push((index, request.encode()));
                    }
                }
                Followed::Reorg { kept } => self.rewind(kept).await?,
                Followed::Reached(block) => self.record(std::mem::take(&mut requests), block).await?,
            }
        }
        Ok(is_something)
    }

    /// Takes back requests that are here and that L1, read to its end, has not made.
    async fn count(&mut self) -> Result<(), FollowError> {
        let Some(tip) = self.follower.window().tip().copied() else { return Ok(()) };
        // The node may have changed its mind in the middle: then there is more to come.
        if tip.number < self.client.head().await?.number.saturating_sub(self.follower.confirmations()) {
            return Ok(());
        }
        self.rewind(Some(tip)).await?;
        self.is_counted = true;
        Ok(())
    }

    /// Takes back the requests that L1 has taken back.
    async fn rewind(&mut self, kept: Option<BlockRef>) -> Result<(), FollowError> {
        // Without a block that stays everything is read again from the deployment, and compared with what is here: see `record`, and `count` for what does not come again.
        let Some(kept) = kept else {
            self.is_counted = false;
            return Ok(());
        };
        let count = self.client.state(kept).await?.requests;
        let (database, changed_from) = (self.database.clone(), self.changed.clone());
        tokio::task::spawn_blocking(move || {
            if count < database.view()?.requests_count()? {
                database.follow_l1(&cursor(&kept), count, &[])?;
                changed_from(Some(count));
            }
            Ok(())
        })
        .await?
    }

    /// Writes what came up to `block`. Requests that are here already, byte for byte, are left alone: after a deep reorganisation most are.
    async fn record(&mut self, requests: Vec<(u64, Vec<u8>)>, block: BlockRef) -> Result<(), FollowError> {
        let (database, changed_from) = (self.database.clone(), self.changed.clone());
        tokio::task::spawn_blocking(move || {
            let view = database.view()?;
            let count = view.requests_count()?;
            let mut first_new: Option<u64> = None;
            let mut new = Vec::new();
            for (index, bytes) in requests {
                if first_new.is_none() && index < count && view.request(index)?.as_ref() == Some(&bytes) {
                    continue;
                }
                let first = *first_new.get_or_insert(index);
                let expected = first + new.len() as u64;
                if index != expected || first > count {
                    return Err(FollowError::OutOfOrder { got: index, expected: expected.min(count) });
                }
                new.push(bytes);
            }
            drop(view);
            database.follow_l1(&cursor(&block), first_new.unwrap_or(count), &new)?;
            if let Some(first) = first_new {
                tracing::info!(first, count = new.len(), l1_block = block.number, "priority requests");
                // Those that are new change nothing that was executed, also where a state was restored, or blocks came from elsewhere, that have consumed them already.
                changed_from(Some(first).filter(|&first| first < count));
            }
            Ok(())
        })
        .await??;
        self.metrics.l1_block_number.set(block.number as i64);
        Ok(())
    }
}

fn cursor(block: &BlockRef) -> L1Cursor {
    L1Cursor { number: block.number, hash: Hash(block.hash.0) }
}

#[cfg(test)]
mod tests;
