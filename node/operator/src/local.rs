//! Proving in this process.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use alloy::primitives::{Bytes, U256};
use joule_contracts::proof_bytes;
use joule_prover_engine::{ArtefactStore, Engine, Progress, SegmentInput, Step};
use joule_settlement::{NotProven, ProofRequest, ProofSource};
use joule_storage::{BatchRecord, Database};
use joule_tables::shape::Shape;
use tokio::sync::Mutex;

use crate::{
    artefacts::{batch_folder, executed, over, remove},
    segments_of,
};

/// Proves batches one at a time with an engine of this process, all cores busy. For one machine; a network of provers takes tasks instead. Results of batches that are
/// executed are removed when the next one is proven.
#[derive(Debug)]
pub struct LocalProofs<P>(Arc<Inner<P>>);

#[derive(Debug)]
struct Inner<P> {
    database: Database,
    engine: Arc<Engine>,
    /// The version byte that L1's router knows the verifier by.
    version: u8,
    folder: PathBuf,
    progress: P,
    /// Two proofs at once would take twice the memory and be done no sooner.
    turn: Arc<Mutex<()>>,
}

impl<P: Progress + Send + 'static> LocalProofs<P> {
    /// Proves what is in `database`, with results of steps in `folder`.
    pub fn new(database: Database, engine: Arc<Engine>, version: u8, folder: &Path, progress: P) -> Self {
        Self(Arc::new(Inner { database, engine, version, folder: folder.to_owned(), progress, turn: Arc::default() }))
    }
}

impl<P: Progress> Inner<P> {
    fn make(&self, batch: &BatchRecord) -> Result<Bytes, String> {
        let segments = segments_of(&self.database, batch, &Shape::ALL).map_err(|error| error.to_string())?;
        let inputs: Vec<SegmentInput> = segments.into_iter().map(|segment| segment.input).collect();
        tracing::info!(batch = batch.number, segments = inputs.len(), "proving");
        let context = self.engine.context(&inputs);
        let folder = batch_folder(&self.folder, batch.number, &context);
        let executed = executed(&self.database).map_err(|error| error.to_string())?;
        let is_over = |path: &Path, number| number < executed || (number == batch.number && path != folder);
        for path in over(&self.folder, is_over).map_err(|error| error.to_string())? {
            remove(&path).map_err(|error| error.to_string())?;
        }
        let store = ArtefactStore::open(&folder, context).map_err(|error| error.to_string())?;
        let logged = Logged { batch: batch.number, progress: &self.progress };
        let proved = self.engine.prove_batch(&inputs, &store, &logged).map_err(|error| error.to_string())?;
        Ok(proof_bytes(self.version, &proved.proof.words.map(U256::from_be_bytes)))
    }
}

impl<P: Progress + Send + Sync + 'static> ProofSource for LocalProofs<P> {
    async fn prove(&self, request: ProofRequest) -> Result<Bytes, NotProven> {
        let turn = self.0.turn.clone().lock_owned().await;
        let proofs = self.0.clone();
        // The turn ends with the work, also if whoever asked has gone.
        let work = move || (proofs.make(&request.batch), turn).0;
        let made = tokio::task::spawn_blocking(work).await.map_err(|error| NotProven { reason: error.to_string() })?;
        made.map_err(|reason| NotProven { reason })
    }
}

struct Logged<'a, P> {
    batch: u64,
    progress: &'a P,
}

impl<P: Progress> Progress for Logged<'_, P> {
    fn begin(&self, step: &Step) {
        self.progress.begin(step);
    }

    fn end(&self, step: &Step, took: Option<Duration>) {
        let seconds = took.map(|took| took.as_secs_f64());
        tracing::info!(batch = self.batch, %step, seconds, "proven");
        self.progress.end(step, took);
    }
}
