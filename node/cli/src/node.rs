//! The running sequencer as the RPC server sees it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use joule_protocol::{Address, Genesis, Hash};
use joule_rpc::{
    Node, NodeEvent, SubmitError,
    wire::{CommitteeStatus, L1Contracts, ProverStatus, SyncStatus},
};
use joule_storage::Database;
use tokio::sync::broadcast;

use crate::engine::{EngineHandle, Shared};

/// A sequencer that runs in this process.
#[derive(Debug)]
pub struct SequencerNode {
    database: Database,
    engine: EngineHandle,
    shared: Shared,
    base_fee: u64,
    l1_contracts: Option<L1Contracts>,
    is_draining: AtomicBool,
    has_failed: Arc<AtomicBool>,
}

impl SequencerNode {
    pub(crate) fn new(
        database: Database,
        engine: EngineHandle,
        shared: Shared,
        base_fee: u64,
        l1_contracts: Option<L1Contracts>,
        has_failed: Arc<AtomicBool>,
    ) -> Self {
        Self { database, engine, shared, base_fee, l1_contracts, is_draining: AtomicBool::new(false), has_failed }
    }

    /// Takes no more transactions, puts what waits into blocks, and closes the batch.
    pub fn drain(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
        self.engine.drain();
    }

    /// Whether it has been told to drain.
    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    /// Whether the execution thread runs.
    pub fn is_alive(&self) -> bool {
        !self.has_failed.load(Ordering::Relaxed)
    }

    /// Numbers of batches that are sealed from now on.
    pub fn subscribe_batches(&self) -> broadcast::Receiver<u64> {
        self.shared.batches.subscribe()
    }

    /// The execution thread's queue.
    pub fn engine(&self) -> &EngineHandle {
        &self.engine
    }
}

impl Node for SequencerNode {
    fn database(&self) -> &Database {
        &self.database
    }

    fn genesis(&self) -> &Genesis {
        self.database.genesis()
    }

    fn l1_contracts(&self) -> Option<L1Contracts> {
        self.l1_contracts
    }

    fn client_version(&self) -> String {
        format!("joule-node/v{}/{}-{}/rust", env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH)
    }

    fn base_fee(&self) -> u64 {
        self.base_fee
    }

    fn next_timestamp(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let head = self.database.view().map_or(0, |view| view.head().timestamp);
        now.max(head)
    }

    async fn submit(&self, bytes: Vec<u8>) -> Result<Hash, SubmitError> {
        self.engine.submit(&bytes).await
    }

    fn pending_transaction(&self, hash: &Hash) -> Option<Vec<u8>> {
        self.shared.pending.transaction(hash).map(|bytes| bytes.to_vec())
    }

    fn pending_nonce(&self, sender: &Address) -> Option<u64> {
        self.shared.pending.nonce(sender)
    }

    fn subscribe(&self) -> broadcast::Receiver<NodeEvent> {
        self.shared.events.subscribe()
    }

    fn sync_status(&self) -> Option<SyncStatus> {
        None
    }

    fn peer_count(&self) -> u32 {
        0
    }

    fn committee_status(&self) -> Option<CommitteeStatus> {
        None
    }

    fn prover_status(&self) -> Option<ProverStatus> {
        None
    }
}
