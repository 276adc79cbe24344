//! Proving with a network of provers.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use alloy::primitives::{Bytes, U256};
use joule_contracts::proof_bytes;
use joule_machine::kernel_image;
use joule_prover_engine::{ArtefactStore, CircuitVerifier, CutError, SegmentInput, batch_context};
use joule_prover_network::{
    Admission, BatchError, ByEngine, CoordinatorHandle, Identity, KeyError, Multiaddr, NetworkProver, Prices, Rules,
    ServeError, ServeOptions, Terms, plan, serve,
};
use joule_settlement::{NotProven, ProofRequest, ProofSource};
use joule_storage::{BatchRecord, Database};
use joule_tables::shape::Shape;
use thiserror::Error;
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    SegmentsError,
    artefacts::{batch_folder, executed, over, remove},
    segments_of,
};

/// Notices that wait to be read.
const NOTICES_MAX: usize = 256;

/// How a network of provers is run.
#[derive(Clone, Debug)]
pub struct NetworkProofsConfig {
    /// Where provers reach the coordinator.
    pub listen: Vec<Multiaddr>,
    /// Where the coordinator's key and log, and the artefacts of batches are.
    pub folder: PathBuf,
    /// The version byte that L1's router knows the verifier by.
    pub version: u8,
    /// What tasks pay on L2.
    pub prices: Prices,
    /// How long after its last block a batch should be proven.
    pub within: Duration,
    /// The largest shape that batches are cut for. Segments of the largest shape are the fewest; of a smaller one there are more, which more and smaller machines prove side by
    /// side. A batch with a block that fits none but a larger shape is cut for that one.
    pub shape: Shape,
    /// What provers are held to.
    pub rules: Rules,
    /// Who may prove.
    pub admission: Admission,
}

/// Why a network of provers cannot be run.
#[derive(Debug, Error)]
pub enum NetworkProofsError {
    /// The coordinator.
    #[error(transparent)]
    Coordinator(#[from] ServeError),
    /// Its key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// What verifies results.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The disk.
    #[error("{}: {source}", .path.display())]
    Access {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A task of ours panicked.
    #[error("the coordinator ended: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// Proves batches with whoever joins the coordinator. Cheap to clone.
///
/// What a batch's tasks were offered for and what was accepted is on the disk: a node that was killed asks nobody for what it has. Artefacts of batches that are executed are
/// removed, and those of a batch that was sealed again under its number.
#[derive(Clone, Debug)]
pub struct NetworkProofs(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    database: Database,
    prover: NetworkProver,
    version: u8,
    folder: PathBuf,
    prices: Prices,
    within: Duration,
    shape: Shape,
}

/// The coordinator that runs, for whoever ends it. Dropping it ends it as a kill would.
#[derive(Debug)]
pub struct RunningCoordinator {
    handle: CoordinatorHandle,
    running: JoinHandle<Result<(), ServeError>>,
}

impl RunningCoordinator {
    /// Ends it in order. Its log has everything.
    ///
    /// # Errors
    /// Why it had ended before.
    pub async fn stop(mut self) -> Result<(), NetworkProofsError> {
        self.handle.stop().await;
        Ok((&mut self.running).await??)
    }

    /// Waits until it ends by itself, which it does when its disk fails.
    ///
    /// # Errors
    /// Why it ended.
    pub async fn ended(&mut self) -> Result<(), NetworkProofsError> {
        Ok((&mut self.running).await??)
    }
}

impl Drop for RunningCoordinator {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl NetworkProofs {
    /// Starts a coordinator for what is in `database`, whose results `verifier` accepts. The verifier is what `joule-prover setup` leaves, or an engine's, with the key of wraps.
    ///
    /// # Errors
    /// [`NetworkProofsError`].
    pub async fn start(
        database: Database,
        verifier: CircuitVerifier,
        config: NetworkProofsConfig,
    ) -> Result<(Self, RunningCoordinator), NetworkProofsError> {
        let NetworkProofsConfig { listen, folder, version, prices, within, shape, rules, admission } = config;
        fs::create_dir_all(&folder).map_err(|source| NetworkProofsError::Access { path: folder.clone(), source })?;
        let identity = Identity::of_file(&folder.join("coordinator.key"))?;
        let options = ServeOptions { identity, listen, folder: folder.join("coordinator"), rules, admission };
        let (notices, received) = mpsc::channel(NOTICES_MAX);
        let (handle, running) = serve(options, Arc::new(ByEngine(verifier.clone())), notices).await?;
        let prover = NetworkProver::new(handle.clone(), verifier, received)?;
        let inner = Inner { database, prover, version, folder: folder.join("batches"), prices, within, shape };
        Ok((Self(Arc::new(inner)), RunningCoordinator { handle, running }))
    }

    /// The coordinator: what is open and owed, and payouts.
    #[must_use]
    pub fn coordinator(&self) -> &CoordinatorHandle {
        self.0.prover.coordinator()
    }
}

impl Inner {
    /// The batch's segments, for the shape that was chosen if every block fits it.
    fn segments(&self, batch: &BatchRecord) -> Result<Vec<SegmentInput>, SegmentsError> {
        let up_to = Shape::ALL.iter().position(|shape| *shape == self.shape).map_or(Shape::ALL.len(), |last| last + 1);
        let segments = match segments_of(&self.database, batch, &Shape::ALL[..up_to]) {
            Err(SegmentsError::Cut { source: CutError::BlockTooLarge { .. }, .. }) if up_to < Shape::ALL.len() => {
                segments_of(&self.database, batch, &Shape::ALL)?
            }
            segments => segments?,
        };
        Ok(segments.into_iter().map(|segment| segment.input).collect())
    }

    async fn make(self: &Arc<Self>, batch: BatchRecord) -> Result<Bytes, String> {
        self.forget_executed().await?;
        let this = self.clone();
        let ready = tokio::task::spawn_blocking(move || {
            let inputs = this.segments(&batch).map_err(|error| error.to_string())?;
            let verifier = this.prover.verifier();
            let context = batch_context(&verifier.program(), verifier.profile(), &inputs);
            let segments = plan(kernel_image(), verifier.program(), &Shape::ALL, &inputs);
            Ok::<_, String>((segments.map_err(|error| error.to_string())?, context))
        });
        let (segments, context) = ready.await.map_err(|error| error.to_string())??;
        tracing::info!(batch = batch.number, segments = segments.len(), "offered to provers");
        let folder = batch_folder(&self.folder, batch.number, &context);
        self.forget(|path, number| number == batch.number && path != folder).await?;
        let store = ArtefactStore::open(&folder, context).map_err(|error| error.to_string())?;
        let terms = Terms {
            deadline_ms: batch
                .checkpoint
                .timestamp
                .saturating_mul(1_000)
                .saturating_add(self.within.as_millis() as u64),
            prices: self.prices,
        };
        let proved = self.prover.prove_batch(segments, &store, &terms).await.map_err(|error| error.to_string())?;
        tracing::info!(batch = batch.number, "proven by the network");
        Ok(proof_bytes(self.version, &proved.proof.words.map(U256::from_be_bytes)))
    }

    async fn forget_executed(&self) -> Result<(), String> {
        let executed = executed(&self.database).map_err(|error| error.to_string())?;
        self.forget(|_, number| number < executed).await
    }

    /// Gives up and removes batches.
    async fn forget(&self, is_over: impl Fn(&Path, u64) -> bool) -> Result<(), String> {
        for folder in over(&self.folder, is_over).map_err(|error| error.to_string())? {
            self.prover.give_up(&folder).await.map_err(|error| error.to_string())?;
            remove(&folder).map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

impl ProofSource for NetworkProofs {
    async fn prove(&self, request: ProofRequest) -> Result<Bytes, NotProven> {
        self.0.make(request.batch).await.map_err(|reason| NotProven { reason })
    }
}
