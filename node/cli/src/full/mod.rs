//! The full-node role: follows the chain, believes nobody, serves JSON-RPC.
//!
//! Blocks come from gossip and from peers that are asked; each carries the sequencer's signature and is executed. L1 says which batches are committed and executed; a batch whose blocks no peer
//! serves comes from the committee, so that a node with an empty disk gets to the head without the sequencer. Whatever it comes from, nothing is kept that does not execute to what was
//! signed, or to what L1 has. Where evidence says that one of those is wrong, the node halts: it goes no further, serves what it has, and says why.

mod begin;
mod certificates;
mod forward;
mod gossip;
mod history;
mod running;
mod settled;
mod source;

use std::sync::{
    Arc, Mutex, OnceLock, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use joule_follow::{Chain, ChainError, Change, l1::L1View};
use joule_protocol::{Address, Genesis, Hash};
use joule_rpc::{
    Node, NodeEvent, SubmitError,
    wire::{CommitteeStatus, L1Contracts, ProverStatus, SyncStatus},
};
use joule_storage::Database;
use tokio::sync::{Notify, broadcast, watch};

pub use begin::{BeginError, begin};
pub use running::{FullSetup, FullStartError, RunningFullNode};

use crate::{Metrics, node::next_timestamp, operations::Health, peers::PeerCount};
use forward::Forward;

/// The chain's disk behind a lock, and those who are told what happens to it. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Followed {
    chain: Arc<Mutex<Chain>>,
    events: broadcast::Sender<NodeEvent>,
    halted: Arc<Mutex<Option<String>>>,
    /// The highest number of a block that the sequencer signed, as far as L1 has not taken away what it was built on.
    highest: Arc<AtomicU64>,
    metrics: Metrics,
}

impl Followed {
    pub(crate) fn new(chain: Chain, events: broadcast::Sender<NodeEvent>, metrics: Metrics) -> Self {
        let highest = Arc::new(AtomicU64::new(chain.head()));
        Self { chain: Arc::new(Mutex::new(chain)), events, halted: Arc::default(), highest, metrics }
    }

    /// The sequencer has signed a block of this number.
    pub(crate) fn is_signed(&self, number: u64) {
        self.highest.fetch_max(number, Ordering::Relaxed);
    }

    /// The highest block known to be signed.
    pub(crate) fn highest(&self) -> u64 {
        self.highest.load(Ordering::Relaxed)
    }

    /// L1 has other requests from an index on. What was signed on those before is undone, here and at the sequencer, whether this node has it already or not.
    ///
    /// # Errors
    /// As [`Chain::requests_changed`].
    pub(crate) fn requests_changed(&self, first: u64) -> Result<(), ChainError> {
        self.with_here(|chain| {
            let changed = chain.requests_changed(first);
            // Blocks that are signed now raise it again.
            self.highest.store(chain.head(), Ordering::Relaxed);
            changed
        })
    }

    /// Works on the chain on a thread that may block, and tells what happened to it.
    pub(crate) async fn with<T: Send + 'static>(&self, work: impl FnOnce(&mut Chain) -> T + Send + 'static) -> T {
        let followed = self.clone();
        match tokio::task::spawn_blocking(move || followed.with_here(work)).await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(error) => unreachable!("work on the chain is never cancelled: {error}"),
            },
        }
    }

    /// As [`Followed::with`], on this thread.
    pub(crate) fn with_here<T>(&self, work: impl FnOnce(&mut Chain) -> T) -> T {
        // What is on the disk is whole after every write; a panic in between shows at the next comparison of parents.
        let mut chain = self.chain.lock().unwrap_or_else(PoisonError::into_inner);
        let result = work(&mut chain);
        for change in chain.take_changes() {
            // Nobody may be listening.
            let _ = self.events.send(match change {
                Change::Block(number) => NodeEvent::Block { number },
                Change::Reverted(to) => {
                    self.highest.store(to, Ordering::Relaxed);
                    NodeEvent::Reverted { to }
                }
            });
        }
        self.metrics.block_number.set(chain.head() as i64);
        let reason = chain.halted().map(ToString::to_string).or_else(|| chain.held().map(ToString::to_string));
        self.metrics.halted.set(i64::from(reason.is_some()));
        *self.halted.lock().unwrap_or_else(PoisonError::into_inner) = reason;
        result
    }

    pub(crate) fn halted(&self) -> Option<String> {
        self.halted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A full node that runs in this process, as the RPC server sees it.
#[derive(Debug)]
pub struct FullNode {
    database: Database,
    followed: Followed,
    forward: Forward,
    l1_contracts: Option<L1Contracts>,
    l1: watch::Receiver<Option<Arc<L1View>>>,
    peers: Option<PeerCount>,
    base_fee: u64,
    began: u64,
    /// Why it is behind, if it cannot help it.
    stuck: Arc<Mutex<Option<String>>>,
    failed: Arc<OnceLock<String>>,
    is_draining: AtomicBool,
}

impl FullNode {
    /// Why it goes no further, if it has halted, for good or until something has come right.
    pub fn halted(&self) -> Option<String> {
        self.followed.halted()
    }

    /// Why it is behind L1 and cannot help it now: nobody serves what it lacks.
    pub fn stuck(&self) -> Option<String> {
        self.stuck.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// L1 as last seen, and a way to wait for more.
    pub fn l1(&self) -> watch::Receiver<Option<Arc<L1View>>> {
        self.l1.clone()
    }

    fn target(&self) -> u64 {
        let committed =
            self.l1.borrow().as_ref().and_then(|l1| l1.batches.last().map(|batch| batch.checkpoint.block_number));
        self.followed.highest().max(committed.unwrap_or(0))
    }
}

impl Node for FullNode {
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
        crate::node::client_version()
    }

    fn base_fee(&self) -> u64 {
        let last = self.database.view().and_then(|view| view.block(view.head().block_number));
        last.ok().flatten().map_or(self.base_fee, |block| block.header.base_fee)
    }

    fn next_timestamp(&self) -> u64 {
        next_timestamp(&self.database)
    }

    async fn submit(&self, bytes: Vec<u8>) -> Result<Hash, SubmitError> {
        let unavailable = |reason: String| Err(SubmitError::Unavailable { reason });
        if self.is_draining.load(Ordering::Relaxed) {
            return unavailable("it is draining before a stop".to_owned());
        }
        if let Some(reason) = self.halted() {
            return unavailable(format!("it has halted: {reason}"));
        }
        self.forward.submit(&self.database, bytes).await
    }

    fn pending_transaction(&self, _: &Hash) -> Option<Vec<u8>> {
        None
    }

    fn pending_nonce(&self, _: &Address) -> Option<u64> {
        None
    }

    fn subscribe(&self) -> broadcast::Receiver<NodeEvent> {
        self.followed.events.subscribe()
    }

    fn sync_status(&self) -> Option<SyncStatus> {
        let current_block = self.database.view().map_or(0, |view| view.head().block_number);
        let highest_block = self.target();
        (current_block < highest_block).then_some(SyncStatus {
            starting_block: self.began,
            current_block,
            highest_block,
        })
    }

    fn peer_count(&self) -> u32 {
        self.peers.as_ref().map_or(0, PeerCount::get)
    }

    fn committee_status(&self) -> Option<CommitteeStatus> {
        None
    }

    fn prover_status(&self) -> Option<ProverStatus> {
        None
    }
}

impl Health for FullNode {
    fn failure(&self) -> Option<String> {
        self.failed.get().cloned()
    }

    fn not_ready(&self) -> Option<String> {
        if let Some(reason) = self.halted() {
            return Some(format!("HALTED: {reason}"));
        }
        if self.is_draining.load(Ordering::Relaxed) {
            return Some("draining".to_owned());
        }
        if self.l1.borrow().is_none() {
            return Some("L1 has not been read yet".to_owned());
        }
        self.sync_status().map(|status| {
            let stuck = self.stuck().map(|reason| format!(": {reason}")).unwrap_or_default();
            format!("at block {} of {}{stuck}", status.current_block, status.highest_block)
        })
    }

    fn line(&self) -> String {
        let l1 = self.l1.borrow().as_ref().map(|l1| (l1.committed(), l1.executed()));
        let head = self.database.view().map_or(0, |view| view.head().block_number);
        match l1 {
            Some((committed, executed)) => {
                format!("full node at block {head}; L1 has committed {committed} batches and executed {executed}")
            }
            None => format!("full node at block {head}; L1 has not been read yet"),
        }
    }

    fn drain(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
    }
}

/// Rung when blocks are missing.
pub(crate) type Wanted = Arc<Notify>;

/// The disk failed, or the chain halted: nothing more is done in either case, and the reason has been told.
pub(crate) fn note(error: &ChainError) {
    match error {
        ChainError::Halted(_) | ChainError::Held(_) => {}
        error => tracing::error!(%error, "the chain cannot be followed"),
    }
}

#[cfg(test)]
mod tests;
