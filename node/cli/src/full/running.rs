//! Starting and stopping a full node in this process.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, OnceLock, atomic::AtomicBool},
    time::Duration,
};

use joule_committee_client::{Committee, ConnectError};
use joule_follow::{Chain, genesis_checkpoint, l1::Watcher};
use joule_p2p::{Keypair, Multiaddr, NetworkError};
use joule_protocol::Native;
use joule_rpc::{Limits, ServeError, Server};
use joule_storage::{Database, StorageError};
use thiserror::Error;
use tokio::{
    sync::{Notify, broadcast, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::{Followed, FullNode, Wanted, forward::Forward, gossip, history, note, settled::Settled, source::Source};
use crate::{
    FullPlan, L1Setup, Metrics, PeerPlan, RequestWatch,
    l1::resume,
    operations,
    peers::{self, PeerCount},
};

/// Blocks that a slow listener may fall behind.
const EVENTS_MAX: usize = 8_192;
/// Between two questions to peers where their chain stands, while nothing else says that there is more.
const ASK_EVERY: Duration = Duration::from_secs(2);

/// What a full node is started with.
#[derive(Debug)]
pub struct FullSetup {
    /// Its disk; see [`begin`](crate::begin).
    pub database: Database,
    /// Where missing blocks come from, and where transactions go.
    pub plan: FullPlan,
    /// Where JSON-RPC listens.
    pub rpc: SocketAddr,
    /// What JSON-RPC may be asked for.
    pub limits: Limits,
    /// Where metrics and health are served.
    pub operations: SocketAddr,
    /// L1.
    pub l1: L1Setup,
    /// Gossip, with the node's identity. Without it batches come from the committee, once L1 has them.
    pub peers: Option<(PeerPlan, Keypair)>,
    /// The price of gas that is shown before there is a block.
    pub base_fee: u64,
}

/// Why a full node did not start.
#[derive(Debug, Error)]
pub enum FullStartError {
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
    /// The committee's addresses.
    #[error(transparent)]
    Committee(#[from] ConnectError),
    /// The sequencer's URL.
    #[error("`full.sequencer_rpc`: {0}")]
    Forward(#[from] jsonrpsee::core::client::Error),
    /// A task of ours panicked.
    #[error("a part of the node ended: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// A full node that runs. Dropping it ends it as a kill would, which loses nothing.
#[derive(Debug)]
pub struct RunningFullNode {
    node: Arc<FullNode>,
    metrics: Metrics,
    rpc: Server,
    operations: SocketAddr,
    listening: Vec<Multiaddr>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl RunningFullNode {
    /// Starts everything.
    ///
    /// # Errors
    /// [`FullStartError`]: a port that is taken, a disk that does not open.
    pub async fn start(setup: FullSetup) -> Result<Self, FullStartError> {
        let FullSetup { database, plan, rpc, limits, operations: address, l1, peers, base_fee } = setup;
        let (metrics, events, stop) =
            (Metrics::default(), broadcast::Sender::new(EVENTS_MAX), CancellationToken::new());
        let opening = database.clone();
        let chain = tokio::task::spawn_blocking(move || Chain::open(opening)).await??;
        let began = chain.head();
        let followed = Followed::new(chain, events.clone(), metrics.clone());
        let wanted: Wanted = Arc::new(Notify::new());
        let (stuck, failed) = (Arc::new(Mutex::new(None)), Arc::new(OnceLock::new()));
        let (l1_views, l1_view) = watch::channel(None);
        let (sequencers, known_sequencers) = watch::channel(None);

        let mut tasks = JoinSet::new();
        let (mut network, mut from_peers, mut listening) = (None, None, Vec::new());
        if let Some((plan, keys)) = peers {
            let is_listening = !plan.listen.is_empty();
            // The network's own task ends with the last handle of it.
            let (handle, receiver, _) = peers::start(plan, keys, database.genesis().id::<Native>())?;
            if is_listening {
                listening = peers::listening(&handle).await;
            }
            tasks.spawn(peers::count(handle.clone(), metrics.clone(), stop.clone()));
            (network, from_peers) = (Some(handle), Some(receiver));
        }
        let forward = Forward::new(plan.sequencer_rpc.as_deref(), network.clone(), events.clone(), plan.gossip_wait)?;
        let committee = Arc::new(Committee::new(plan.members)?);
        let source = Source::new(network.clone(), committee, l1.client.clone(), plan.serve_limit, known_sequencers);
        let node = Arc::new(FullNode {
            database: database.clone(),
            followed: followed.clone(),
            forward,
            l1_contracts: l1.contracts,
            l1: l1_view.clone(),
            peers: network.as_ref().map(PeerCount::of),
            base_fee,
            began,
            stuck: stuck.clone(),
            failed: failed.clone(),
            is_draining: AtomicBool::new(false),
        });

        let failed_to_listen = |error| FullStartError::Operations { address, error };
        let listener = operations::listen(address).await.map_err(failed_to_listen)?;
        let operations = listener.local_addr().map_err(failed_to_listen)?;
        tasks.spawn({
            let (node, metrics, stop) = (node.clone(), metrics.clone(), stop.clone());
            async move {
                if let Err(error) = operations::serve(listener, node, metrics, stop).await {
                    tracing::error!(%error, "metrics and health are no longer served");
                }
            }
        });

        let changed = {
            let (followed, wanted) = (followed.clone(), wanted.clone());
            move |others_from: Option<u64>| {
                if let Some(first) = others_from
                    && let Err(error) = followed.requests_changed(first)
                {
                    note(&error);
                }
                // Blocks may have waited for these requests.
                wanted.notify_one();
            }
        };
        let follower = resume(&l1.client, l1.follow, &database).await?;
        let requests =
            RequestWatch::new(l1.client.clone(), follower, database.clone(), changed, metrics.clone(), l1.poll);
        tasks.spawn({
            let (stop, failed) = (stop.clone(), failed.clone());
            async move {
                if let Err(error) = requests.run(stop).await {
                    tracing::error!(%error, "L1 is no longer followed; restart the node when the cause is gone");
                    let _ = failed.set(format!("L1 is no longer followed: {error}"));
                }
            }
        });
        let settled = Settled {
            watcher: Watcher::new(l1.client, genesis_checkpoint(database.genesis()), l1.follow.confirmations),
            followed: followed.clone(),
            source: source.clone(),
            l1: l1_views,
            sequencers,
            stuck,
            wanted: wanted.clone(),
            poll: l1.poll,
            metrics: metrics.clone(),
        };
        tasks.spawn(settled.run(stop.clone()));
        tasks.spawn(history::run(database.clone(), source.clone(), l1_view, stop.clone()));
        if let Some(receiver) = from_peers {
            tasks.spawn(ask(followed.clone(), source.clone(), wanted.clone(), stop.clone()));
            tasks.spawn(gossip::run(database, followed, source, wanted, receiver, stop.clone()));
        }
        let rpc = joule_rpc::serve(node.clone(), rpc, limits).await?;
        tracing::info!(rpc = %rpc.address(), %operations, "the full node follows");
        Ok(Self { node, metrics, rpc, operations, listening, stop, tasks })
    }

    /// The node, as the RPC server sees it.
    pub fn node(&self) -> &Arc<FullNode> {
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

    /// Stops in order: no new requests, then what follows.
    ///
    /// # Errors
    /// A part that panicked.
    pub async fn stop(mut self) -> Result<(), FullStartError> {
        self.rpc.stop().await;
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended?;
        }
        Ok(())
    }
}

/// Asks peers for blocks whenever some are known to be missing, and from time to time.
async fn ask(followed: Followed, source: Source, wanted: Wanted, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = wanted.notified() => {}
            () = tokio::time::sleep(ASK_EVERY) => {}
            () = stop.cancelled() => return,
        }
        if followed.halted().is_none() {
            tokio::select! {
                _ = source.sync(&followed, u64::MAX) => {}
                () = stop.cancelled() => return,
            }
        }
    }
}
