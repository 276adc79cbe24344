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
    Followed, Wanted,
    certificates::{Certificates, Certified},
    note,
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
        let mut certificates = Certificates::default();
        loop {
            let has_more = tokio::select! {
                has_more = self.look(&mut certificates) => has_more,
                // Whatever is under way is found again at the next start.
                () = stop.cancelled() => return,
            };
            if has_more {
                continue;
            }
            tokio::select! {
                () = tokio::time::sleep(self.poll) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Looks at L1 once, and says whether to look again at once.
    async fn look(&mut self, certificates: &mut Certificates) -> bool {
        let view = match self.watcher.look().await {
            Ok(Some(view)) => view,
            Ok(None) => return false,
            Err(error) => {
                self.metrics.l1_failures.inc();
                tracing::warn!(%error, "L1 cannot be read");
                return false;
            }
        };
        let latest = match self.source.client.rollup().sequencer().call().await {
            Ok(latest) => latest,
            Err(error) => {
                tracing::debug!(%error, "the latest sequencer is not known");
                view.sequencer
            }
        };
        let committed = view.batches.last().map_or(0, |batch| batch.checkpoint.block_number);
        let sequencers = Sequencers { confirmed: view.sequencer, latest, committed };
        if self.sequencers.send_replace(Some(sequencers)).is_none() {
            self.wanted.notify_one();
        }
        self.metrics.batches_committed.set(view.committed() as i64);
        self.metrics.batches_executed.set(view.executed() as i64);
        let view = Arc::new(view);
        self.l1.send_replace(Some(view.clone()));
        // Nothing of a batch counts here before its certificate does.
        let has_more = match certificates.check(&self.followed, &self.source.client, &view).await {
            Ok(Certified { hold, has_more, .. }) => {
                let goes_on = hold.is_none();
                let was_held = self.followed.with(|chain| {
                    let was_held = chain.held().is_some();
                    chain.hold(hold);
                    was_held
                });
                if was_held.await && goes_on {
                    self.wanted.notify_one();
                }
                has_more
            }
            Err(error) => {
                self.metrics.l1_failures.inc();
                tracing::warn!(%error, "certificates on L1 cannot be checked");
                false
            }
        };
        let stuck = match self.take(&view, certificates.up_to()).await {
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
        has_more
    }

    /// Notes what is here of L1's certified batches, and gets what is not.
    async fn take(&self, l1: &Arc<L1View>, certified: u64) -> Result<(), MissingError> {
        for _ in 0..STEP {
            let view = l1.clone();
            match self.followed.with(move |chain| chain.follow(&view, certified)).await? {
                Need::Nothing => return Ok(()),
                Need::Blocks { number } => self.source.blocks(&self.followed, l1, number).await?,
                Need::Contradiction { number } => self.source.compare(&self.followed, l1, number).await?,
            }
        }
        Ok(())
    }
}
