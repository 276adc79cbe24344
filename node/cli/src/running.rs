//! Starting and stopping a node in this process.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use joule_l1::{FollowConfig, L1Client};
use joule_p2p::{Keypair, Multiaddr, NetworkError};
use joule_protocol::Native;
use joule_rpc::{Limits, ServeError, Server, wire::L1Contracts};
use joule_sequencer::SequencerConfig;
use joule_storage::{Database, StorageError};
use thiserror::Error;
use tokio::{
    sync::broadcast,
    task::{JoinHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;

use crate::{
    BlockKey, Engine, EngineError, EngineHandle, Metrics, PeerPlan, Pending, RequestWatch, SequencerNode, Shared,
    l1::resume,
    operations,
    peers::{self, PeerCount},
    pruning,
};

/// Blocks and pool events that a slow listener may fall behind.
const EVENTS_MAX: usize = 8_192;

/// L1, as a node follows it.
#[derive(Clone, Debug)]
pub struct L1Setup {
    /// The connection.
    pub client: L1Client,
    /// How it is followed.
    pub follow: FollowConfig,
    /// Pause between two looks.
    pub poll: Duration,
    /// Where the contracts are, for clients.
    pub contracts: Option<L1Contracts>,
}

/// What a node is started with.
#[derive(Debug)]
pub struct Setup {
    /// Its disk.
    pub database: Database,
    /// Blocks, mempool, batches.
    pub sequencer: SequencerConfig,
    /// The key that signs blocks.
    pub key: BlockKey,
    /// Where JSON-RPC listens.
    pub rpc: SocketAddr,
    /// What JSON-RPC may be asked for.
    pub limits: Limits,
    /// Where metrics and health are served.
    pub operations: SocketAddr,
    /// L1. Without it nothing comes in and nothing is settled: for benches and tests.
    pub l1: Option<L1Setup>,
    /// Gossip, with the node's identity. Without it blocks are had through JSON-RPC alone.
    pub peers: Option<(PeerPlan, Keypair)>,
}

/// Why a node did not start, or ended.
#[derive(Debug, Error)]
pub enum StartError {
    /// The execution thread.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The disk.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// JSON-RPC.
    #[error(transparent)]
    Rpc(#[from] ServeError),
    /// The port of metrics and health.
    #[error("metrics and health cannot be served on {address}: {error}; choose another operations.address")]
    Operations {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        error: std::io::Error,
    },
    /// Gossip.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// A task of ours panicked.
    #[error("a part of the node ended: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// Tells the execution thread to end when the node goes, however it goes: a runtime that ends waits for it.
#[derive(Debug)]
struct EndsEngine(EngineHandle);

impl Drop for EndsEngine {
    fn drop(&mut self) {
        self.0.stop_soon();
    }
}

/// A node that runs. [`RunningNode::stop`] ends it in order; dropping it ends it as a kill would, which loses nothing that was acknowledged.
#[derive(Debug)]
pub struct RunningNode {
    node: Arc<SequencerNode>,
    metrics: Metrics,
    rpc: Server,
    operations: SocketAddr,
    listening: Vec<Multiaddr>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    thread: JoinHandle<Result<(), EngineError>>,
    _ends_engine: EndsEngine,
}

impl RunningNode {
    /// Starts everything.
    ///
    /// # Errors
    /// [`StartError`]: a port that is taken, a disk that does not open.
    pub async fn start(setup: Setup) -> Result<Self, StartError> {
        let metrics = Metrics::default();
        let shared = Shared {
            pending: Arc::new(Pending::default()),
            events: broadcast::Sender::new(EVENTS_MAX),
            batches: broadcast::Sender::new(EVENTS_MAX),
            metrics: metrics.clone(),
        };
        let (database, config, key, of_engine) = (setup.database.clone(), setup.sequencer, setup.key, shared.clone());
        let engine = tokio::task::spawn_blocking(move || Engine::start(database, config, key, of_engine)).await??;
        let handle = engine.handle().clone();
        let ends_engine = EndsEngine(handle.clone());
        let (has_failed, stop) = (Arc::new(AtomicBool::new(false)), CancellationToken::new());
        let contracts = setup.l1.as_ref().and_then(|l1| l1.contracts);
        let node = Arc::new(SequencerNode::new(
            setup.database.clone(),
            handle.clone(),
            shared,
            config.base_fee,
            contracts,
            has_failed.clone(),
        ));

        let thread = tokio::task::spawn_blocking(move || {
            let result = engine.join();
            has_failed.store(true, Ordering::Relaxed);
            result
        });
        let failed = |error| StartError::Operations { address: setup.operations, error };
        let listener = operations::listen(setup.operations).await.map_err(failed)?;
        let operations = listener.local_addr().map_err(failed)?;
        let mut tasks = JoinSet::new();
        tasks.spawn({
            let (node, metrics, stop) = (node.clone(), metrics.clone(), stop.clone());
            async move {
                if let Err(error) = operations::serve(listener, node, metrics, stop).await {
                    tracing::error!(%error, "metrics and health are no longer served");
                }
            }
        });
        tasks.spawn(pruning::run(setup.database.clone(), metrics.clone(), stop.clone()));
        let mut listening = Vec::new();
        if let Some((plan, keys)) = setup.peers {
            let is_listening = !plan.listen.is_empty();
            // The network's own task ends with the last handle of it.
            let (network, events, _) = peers::start(plan, keys, setup.database.genesis().id::<Native>())?;
            if is_listening {
                listening = peers::listening(&network).await;
            }
            node.gossips(PeerCount::of(&network));
            tasks.spawn(peers::count(network.clone(), metrics.clone(), stop.clone()));
            tasks.spawn(peers::sequence(node.clone(), network, events, stop.clone()));
        }
        if let Some(l1) = setup.l1 {
            let follower = resume(&l1.client, l1.follow, &setup.database).await?;
            let changed = move |others_from| handle.requests_changed(others_from);
            let watch = RequestWatch::new(l1.client, follower, setup.database, changed, metrics.clone(), l1.poll);
            let stop = stop.clone();
            tasks.spawn(async move {
                if let Err(error) = watch.run(stop).await {
                    tracing::error!(%error, "L1 is no longer followed; restart the node when the cause is gone");
                }
            });
        }
        let rpc = joule_rpc::serve(node.clone(), setup.rpc, setup.limits).await?;
        tracing::info!(rpc = %rpc.address(), %operations, "the node is ready");
        Ok(Self { node, metrics, rpc, operations, listening, stop, tasks, thread, _ends_engine: ends_engine })
    }

    /// The node, as the RPC server sees it.
    pub fn node(&self) -> &Arc<SequencerNode> {
        &self.node
    }

    /// Its numbers.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Where JSON-RPC listens.
    pub fn rpc(&self) -> SocketAddr {
        self.rpc.address()
    }

    /// Where metrics and health are served.
    pub fn operations(&self) -> SocketAddr {
        self.operations
    }

    /// Where it listens for peers.
    pub fn listening(&self) -> &[Multiaddr] {
        &self.listening
    }

    /// Waits until the execution thread ends by itself, which it does only if it cannot go on.
    ///
    /// # Errors
    /// Why it ended.
    pub async fn failed(&mut self) -> Result<(), StartError> {
        Ok((&mut self.thread).await??)
    }

    /// Stops in order: no new requests, then those under way, then the execution thread after what is in its queue.
    ///
    /// # Errors
    /// Why the execution thread ended, if not because it was told to.
    pub async fn stop(mut self) -> Result<(), StartError> {
        self.rpc.stop().await;
        self.stop.cancel();
        let engine = self.node.engine().clone();
        // The queue may be full, and then this waits for the thread.
        tokio::task::spawn_blocking(move || engine.stop()).await?;
        while let Some(ended) = self.tasks.join_next().await {
            ended?;
        }
        Ok(self.thread.await??)
    }
}
