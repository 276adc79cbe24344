//! The server: one port for HTTP and WebSocket, and a limit on everything.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use alloy::primitives::U256;
use joule_storage::View;
use jsonrpsee::{
    RpcModule,
    core::{RegisterMethodError, traits::IdProvider},
    server::{BatchRequestConfig, PingConfig, ServerConfig, ServerHandle},
    types::SubscriptionId,
};
use thiserror::Error;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
};
use tower_http::cors::{Any, CorsLayer};

use crate::{
    Node, RpcError,
    eth::{EthServer, NetServer, Web3Server},
    filters::FilterTable,
    joule::JouleServer,
    subscriptions::{self, Hub},
};

/// What a server may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request. The longest useful one is a batch of transactions: 128 of 1,536 bytes in hexadecimal are 400 KB.
    pub request_bytes_max: u32,
    /// Bytes of an answer. 10,000 logs of the longest event are 10 MB.
    pub response_bytes_max: u32,
    /// Requests in a batch. ethers sends up to 100.
    pub batch_max: u32,
    /// Connections at a time.
    pub connections_max: u32,
    /// Subscriptions of one connection.
    pub subscriptions_max: u32,
    /// Polled filters of all clients together.
    pub filters_max: usize,
    /// Seconds that a filter lives without being polled.
    pub filter_idle_seconds_max: u64,
    /// Database reads at a time; further ones wait.
    pub reads_max: usize,
    /// Milliseconds that `eth_sendRawTransactionSync` waits at most.
    pub sync_wait_ms_max: u64,
    /// Views that run code at a time; further ones wait, for as long as one may take. By default half of the cores, so that strangers' code leaves the others to blocks.
    pub views_max: usize,
    /// Gas of a view.
    pub view_gas_max: u64,
    /// Milliseconds of a view. 30 million gas of plain instructions take a tenth of a second.
    pub view_ms_max: u64,
    /// Bytes of memory that the frames of a view hold together. One frame gets 4 MiB for 30 million gas.
    pub view_memory_bytes_max: usize,
    /// Bytes that a view returns or reverts with.
    pub view_output_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_bytes_max: 1 << 20,
            response_bytes_max: 16 << 20,
            batch_max: 128,
            connections_max: 1_024,
            subscriptions_max: 64,
            filters_max: 4_096,
            filter_idle_seconds_max: 300,
            reads_max: 32,
            sync_wait_ms_max: 30_000,
            views_max: std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2)),
            view_gas_max: 30_000_000,
            view_ms_max: 5_000,
            view_memory_bytes_max: 64 << 20,
            view_output_bytes_max: 2 << 20,
        }
    }
}

/// What every handler has.
#[derive(Debug)]
pub(crate) struct Context<N> {
    node: Arc<N>,
    pub(crate) limits: Limits,
    pub(crate) hub: Hub,
    filters: Mutex<FilterTable>,
    reads: Arc<Semaphore>,
    views: Arc<Semaphore>,
    started: Instant,
}

impl<N: Node> Context<N> {
    fn new(node: Arc<N>, limits: Limits) -> Self {
        let idle_max = Duration::from_secs(limits.filter_idle_seconds_max);
        Self {
            node,
            hub: Hub::new(),
            filters: Mutex::new(FilterTable::new(limits.filters_max, idle_max)),
            reads: Arc::new(Semaphore::new(limits.reads_max)),
            views: Arc::new(Semaphore::new(limits.views_max)),
            started: Instant::now(),
            limits,
        }
    }

    pub(crate) fn node(&self) -> &N {
        &self.node
    }

    /// The polled filters. The table holds no invariant that a panic could break half-way.
    pub(crate) fn filters(&self) -> MutexGuard<'_, FilterTable> {
        self.filters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Time since the server started, as the filters count it.
    pub(crate) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// A new name for a filter that nobody guesses. A number, because clients send it back as one.
    pub(crate) fn new_id(&self) -> U256 {
        U256::from(rand::random::<u128>())
    }

    /// Asks a view of the database, away from the threads that answer.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&View<'_>) -> Result<T, RpcError> + Send + 'static,
    ) -> Result<T, RpcError> {
        let permit = self.reads.clone().acquire_owned().await;
        self.ask(permit.map_err(|_| RpcError::Unavailable("is stopping"))?, question).await
    }

    /// As [`Context::read`], for questions that run code. They have places of their own, so that nobody's long views keep others from reading.
    pub(crate) async fn run_view<T: Send + 'static>(
        &self,
        question: impl FnOnce(&View<'_>) -> Result<T, RpcError> + Send + 'static,
    ) -> Result<T, RpcError> {
        let patience = Duration::from_millis(self.limits.view_ms_max);
        let limit = self.limits.views_max as u64;
        let permit = tokio::time::timeout(patience, self.views.clone().acquire_owned()).await.map_err(|_| {
            RpcError::LimitExceeded { what: "views at a time", got: limit + 1, limit, advice: "; try again" }
        })?;
        self.ask(permit.map_err(|_| RpcError::Unavailable("is stopping"))?, question).await
    }

    /// The permit goes with the work and not with who waits for it: a client that hangs up does not make room for another while its question still runs.
    async fn ask<T: Send + 'static>(
        &self,
        permit: OwnedSemaphorePermit,
        question: impl FnOnce(&View<'_>) -> Result<T, RpcError> + Send + 'static,
    ) -> Result<T, RpcError> {
        let database = self.node.database().clone();
        let answer = tokio::task::spawn_blocking(move || {
            let answer = question(&database.view()?);
            drop(permit);
            answer
        });
        answer.await.map_err(|error| RpcError::Internal(format!("a database read did not end: {error}")))?
    }
}

/// Subscription ids as Ethereum's clients expect them: quantities in hexadecimal.
#[derive(Debug)]
struct HexIds;

impl IdProvider for HexIds {
    fn next_id(&self) -> SubscriptionId<'static> {
        // An odd number has no leading zero to lose, and is not zero.
        SubscriptionId::Str(format!("{:#x}", rand::random::<u128>() | 1).into())
    }
}

/// Why a server did not start.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The port.
    #[error("the RPC server cannot listen on {address}: {error}; choose another address or stop what listens there")]
    Listen {
        /// Where it should listen.
        address: SocketAddr,
        /// What the system says.
        error: std::io::Error,
    },
    /// Two handlers for one method.
    #[error(transparent)]
    Methods(#[from] RegisterMethodError),
}

/// A running server. Dropping it stops it.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    handle: ServerHandle,
    follower: JoinHandle<()>,
}

impl Server {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no new requests, and ends when those under way are answered.
    pub async fn stop(self) {
        // An error says that it has stopped already.
        let _ = self.handle.stop();
        self.handle.clone().stopped().await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.handle.stop();
        self.follower.abort();
    }
}

/// Starts the server of a node.
///
/// # Errors
/// `Listen` if the address cannot be had.
pub async fn serve<N: Node>(node: Arc<N>, address: SocketAddr, limits: Limits) -> Result<Server, ServeError> {
    let events = node.subscribe();
    let context = Arc::new(Context::new(node, limits));
    let mut methods = RpcModule::new(());
    methods.merge(EthServer::into_rpc(crate::eth::Eth(context.clone())))?;
    methods.merge(NetServer::into_rpc(crate::eth::Eth(context.clone())))?;
    methods.merge(Web3Server::into_rpc(crate::eth::Eth(context.clone())))?;
    methods.merge(JouleServer::into_rpc(crate::joule::Joule(context.clone())))?;

    let config = ServerConfig::builder()
        .max_request_body_size(limits.request_bytes_max)
        .max_response_body_size(limits.response_bytes_max)
        .max_connections(limits.connections_max)
        .max_subscriptions_per_connection(limits.subscriptions_max)
        .set_batch_request_config(BatchRequestConfig::Limit(limits.batch_max))
        .enable_ws_ping(PingConfig::default())
        .set_id_provider(HexIds)
        .build();
    // Wallets in browsers ask from pages of any origin; there are no cookies and nothing else that an origin could abuse.
    let cors = CorsLayer::new().allow_origin(Any).allow_methods(Any).allow_headers(Any);
    let server = jsonrpsee::server::Server::builder()
        .set_config(config)
        .set_http_middleware(tower::ServiceBuilder::new().layer(cors))
        .build(address)
        .await
        .map_err(|error| ServeError::Listen { address, error })?;
    let address = server.local_addr().map_err(|error| ServeError::Listen { address, error })?;
    let follower = tokio::spawn(subscriptions::follow(context, events));
    Ok(Server { address, handle: server.start(methods), follower })
}
