//! The running sequencer as the RPC server sees it.

use std::{
    sync::{
        Arc, OnceLock,
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

use crate::{
    engine::{EngineHandle, Shared},
    operations::Health,
    peers::PeerCount,
    settling::SettlingStatus,
};

/// Name and version of this program.
pub(crate) fn client_version() -> String {
    format!("joule-node/v{}/{}-{}/rust", env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH)
}

/// The time that a block sealed now would have: this machine's, and never before the last block's.
pub(crate) fn next_timestamp(database: &Database) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    now.max(database.view().map_or(0, |view| view.head().timestamp))
}

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
    settling: OnceLock<Arc<SettlingStatus>>,
    peers: OnceLock<PeerCount>,
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
        Self {
            database,
            engine,
            shared,
            base_fee,
            l1_contracts,
            is_draining: AtomicBool::new(false),
            has_failed,
            settling: OnceLock::new(),
            peers: OnceLock::new(),
        }
    }

    /// Shows settling's status from now on. Once: a second one is not taken.
    pub fn settles(&self, status: Arc<SettlingStatus>) {
        let _ = self.settling.set(status);
    }

    /// Shows these peers from now on. Once.
    pub(crate) fn gossips(&self, peers: PeerCount) {
        let _ = self.peers.set(peers);
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
        client_version()
    }

    fn base_fee(&self) -> u64 {
        self.base_fee
    }

    fn next_timestamp(&self) -> u64 {
        next_timestamp(&self.database)
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
        self.peers.get().map_or(0, PeerCount::get)
    }

    fn committee_status(&self) -> Option<CommitteeStatus> {
        self.settling.get().map(|status| status.committee())
    }

    fn prover_status(&self) -> Option<ProverStatus> {
        self.settling.get().map(|status| status.provers())
    }
}

impl Health for SequencerNode {
    fn failure(&self) -> Option<String> {
        if !self.is_alive() {
            return Some("the execution thread has ended".to_owned());
        }
        let reason = self.settling.get()?.failure()?;
        Some(format!("settlement has ended: {reason}"))
    }

    fn not_ready(&self) -> Option<String> {
        self.is_draining().then(|| "draining".to_owned())
    }

    fn line(&self) -> String {
        self.settling.get().map_or_else(|| "sequences only: nothing is settled".to_owned(), |status| status.line())
    }

    fn drain(&self) {
        Self::drain(self);
    }
}
