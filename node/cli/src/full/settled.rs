//! Following what L1 says of batches.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use joule_follow::{
    ChainError, Need,
    l1::{L1Source as _, L1View, Watcher},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    Followed, Wanted, certificates, note,
    source::{MissingError, Sequencers, Source},
};
use crate::Metrics;

/// Batches taken in one look at L1; then L1 is looked at again.
const STEP: usize = 64;

/// Keeps batches in step with L1 until `stop`.
pub(crate) struct Settled {
    pub(crate) watcher: Watcher,
    pub(crate) followed: Followed,
    pub(crate) source: Source,
    pub(crate) l1: watch::Sender<Option<Arc<L1View>>>,
    pub(crate) sequencers: watch::Sender<Option<Sequencers>>,
    pub(crate) stuck: Arc<Mutex<Option<String>>>,
    pub(crate) wanted: Wanted,
    pub(crate) poll: Duration,
    pub(crate) metrics: Metrics,
}

impl Settled {
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut checked = 0;
        loop {
            tokio::select! {
                () = self.look(&mut checked) => {}
                // Whatever is under way is found again at the next start.
                () = stop.cancelled() => return,
            }
            tokio::select! {
                () = tokio::time::sleep(self.poll) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn look(&mut self, checked: &mut u64) {
        let view = match self.watcher.look().await {
            Ok(Some(view)) => Arc::new(view),
            Ok(None) => return,
            Err(error) => {
                self.metrics.l1_failures.inc();
                tracing::warn!(%error, "L1 cannot be read");
                return;
            }
        };
        let latest = match self.source.client.rollup().sequencer().call().await {
            Ok(latest) => latest,
            Err(error) => {
                tracing::debug!(%error, "the latest sequencer is not known");
                view.sequencer
            }
        };
        let sequencers = Sequencers { confirmed: view.sequencer, latest };
        if self.sequencers.send_replace(Some(sequencers)).is_none() {
            self.wanted.notify_one();
        }
        self.metrics.batches_committed.set(view.committed() as i64);
        self.metrics.batches_executed.set(view.executed() as i64);
        self.l1.send_replace(Some(view.clone()));
        let stuck = match self.take(&view).await {
            Ok(()) => None,
            Err(MissingError::Chain(error)) => {
                note(&error);
                matches!(error, ChainError::Storage(_)).then(|| error.to_string())
            }
            Err(error) => {
                tracing::warn!(%error, "behind L1");
                Some(error.to_string())
            }
        };
        *self.stuck.lock().unwrap_or_else(PoisonError::into_inner) = stuck;
        if let Err(error) = certificates::check(&self.followed, &self.source.client, &view, checked).await {
            self.metrics.l1_failures.inc();
            tracing::warn!(%error, "certificates on L1 cannot be read");
        }
    }

    /// Notes what is here of L1's batches, and gets what is not.
    async fn take(&self, l1: &Arc<L1View>) -> Result<(), MissingError> {
        for _ in 0..STEP {
            let view = l1.clone();
            match self.followed.with(move |chain| chain.follow(&view)).await? {
                Need::Nothing => return Ok(()),
                Need::Blocks { number } => self.source.blocks(&self.followed, l1, number).await?,
                Need::Contradiction { number } => self.source.compare(&self.followed, l1, number).await?,
            }
        }
        Ok(())
    }
}
