//! The chain behind an HTTP server.

use crate::{
    chain::Chain,
    config::{ChainConfig, Mining},
    error::ChainError,
    rpc,
};
use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, RwLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    net::TcpListener,
    sync::{Notify, Semaphore, watch},
    task::JoinHandle,
};

/// Tells the time of the outside world, in seconds since the Unix epoch.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// How the chain is served.
#[derive(Clone)]
pub struct ServerConfig {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The time that blocks are dated from; the system's unless a test gives another.
    pub clock: Clock,
    /// Bounds on what strangers may send.
    pub limits: ServerLimits,
}

/// Bounds on requests and answers.
#[derive(Debug, Clone)]
pub struct ServerLimits {
    /// Bytes in one HTTP body.
    pub body_bytes_max: usize,
    /// Requests in one batch.
    pub batch_max: usize,
    /// Bytes of all results of one batch together.
    pub response_bytes_max: usize,
    /// HTTP requests worked on at once; more wait.
    pub concurrent_max: usize,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self { body_bytes_max: 5 << 20, batch_max: 1000, response_bytes_max: 25 << 20, concurrent_max: 64 }
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            // A system clock before 1970 reads as 1970: chain time is a test's business, not a reason to fail.
            clock: Arc::new(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())),
            limits: ServerLimits::default(),
        }
    }
}

impl std::fmt::Debug for ServerConfig {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("ServerConfig")
            .field("listen", &self.listen)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// A panic interrupted a change of the chain, which can no longer be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the chain was left half changed by a panic")]
pub struct Poisoned;

/// A chain that the server and the rest of the process share.
#[derive(Clone)]
pub struct SharedChain {
    chain: Arc<RwLock<Chain>>,
    clock: Clock,
    mining_changed: Arc<Notify>,
}

impl SharedChain {
    fn new(chain: Chain, clock: Clock) -> Self {
        Self { chain: Arc::new(RwLock::new(chain)), clock, mining_changed: Arc::new(Notify::new()) }
    }

    /// The time of the outside world, in seconds.
    #[must_use]
    pub fn now_s(&self) -> u64 {
        (self.clock)()
    }

    /// Reads the chain, which no one changes meanwhile. The second argument is the time.
    ///
    /// # Errors
    /// [`Poisoned`] after a panic.
    pub fn read<T>(&self, read: impl FnOnce(&Chain, u64) -> T) -> Result<T, Poisoned> {
        let chain = self.chain.read().map_err(|_| Poisoned)?;
        Ok(read(&chain, self.now_s()))
    }

    /// Changes the chain. The second argument is the time.
    ///
    /// # Errors
    /// [`Poisoned`] after a panic.
    pub fn write<T>(&self, write: impl FnOnce(&mut Chain, u64) -> T) -> Result<T, Poisoned> {
        let mut chain = self.chain.write().map_err(|_| Poisoned)?;
        let before = chain.mining();
        let now_s = self.now_s();
        let result = write(&mut chain, now_s);
        if chain.mining() != before {
            self.mining_changed.notify_one();
        }
        Ok(result)
    }
}

impl std::fmt::Debug for SharedChain {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("SharedChain").finish_non_exhaustive()
    }
}

/// Why the server did not start, or stopped badly.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The chain's configuration is not usable.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A task of the server panicked.
    #[error("a task of the server failed: {0}")]
    Task(#[from] tokio::task::JoinError),
    /// Serving ended with an error.
    #[error("serving failed: {0}")]
    Serve(#[from] std::io::Error),
}

/// A running L1. Dropping it stops it.
#[derive(Debug)]
pub struct L1 {
    chain: SharedChain,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    server: JoinHandle<std::io::Result<()>>,
    miner: JoinHandle<()>,
}

impl L1 {
    /// Makes a chain and serves it over HTTP.
    ///
    /// # Errors
    /// An unusable configuration, or an address that cannot be listened on.
    pub async fn start(config: ChainConfig, server: ServerConfig) -> Result<Self, ServerError> {
        let chain = Chain::new(config, (server.clock)())?;
        let chain = SharedChain::new(chain, server.clock);
        let listen_failed = |source| ServerError::Listen { address: server.listen, source };
        let listener = TcpListener::bind(server.listen).await.map_err(listen_failed)?;
        let address = listener.local_addr().map_err(listen_failed)?;

        let (stop, stopped) = watch::channel(false);
        let service = Service {
            chain: chain.clone(),
            permits: Arc::new(Semaphore::new(server.limits.concurrent_max)),
            limits: Arc::new(server.limits.clone()),
        };
        let router = Router::new()
            .route("/", post(answer))
            .layer(DefaultBodyLimit::max(server.limits.body_bytes_max))
            .with_state(service);
        let mut server_stopped = stopped.clone();
        let server = tokio::spawn(async move {
            axum::serve(listener, router)
                .with_graceful_shutdown(async move {
                    ended(&mut server_stopped).await;
                })
                .await
        });
        let miner = tokio::spawn(mine_on_interval(chain.clone(), stopped));
        tracing::info!(%address, "L1 is listening");
        Ok(Self { chain, address, stop, server, miner })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its JSON-RPC URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The chain itself, for tests and for the rest of the process.
    #[must_use]
    pub fn chain(&self) -> &SharedChain {
        &self.chain
    }

    /// Stops after the requests in progress.
    ///
    /// # Errors
    /// A task that panicked, or an error of the listener.
    pub async fn stop(self) -> Result<(), ServerError> {
        let Self { stop, server, miner, .. } = self;
        // A send fails only if both tasks have ended already.
        let _ = stop.send(true);
        miner.await?;
        server.await??;
        Ok(())
    }
}

/// Waits until the handle says stop, or is gone, which stops its tasks just as well.
async fn ended(stopped: &mut watch::Receiver<bool>) {
    drop(stopped.wait_for(|stop| *stop).await);
}

/// Makes blocks while mining is on an interval, and sleeps otherwise.
async fn mine_on_interval(chain: SharedChain, mut stopped: watch::Receiver<bool>) {
    loop {
        let Ok(mining) = chain.read(|chain, _| chain.mining()) else { return };
        let beat = async {
            match mining {
                Mining::Interval { seconds } => tokio::time::sleep(Duration::from_secs(seconds)).await,
                Mining::Automatic | Mining::Manual => std::future::pending().await,
            }
        };
        tokio::select! {
            () = beat => {
                let mining = chain.clone();
                let mined = tokio::task::spawn_blocking(move || mining.write(|chain, now_s| chain.mine(now_s)));
                match mined.await {
                    Ok(Ok(Ok(_))) => {}
                    Ok(Ok(Err(error))) => tracing::error!(%error, "no block on the interval"),
                    Ok(Err(Poisoned)) | Err(_) => return,
                }
            }
            () = chain.mining_changed.notified() => {}
            () = ended(&mut stopped) => return,
        }
    }
}

#[derive(Clone)]
struct Service {
    chain: SharedChain,
    permits: Arc<Semaphore>,
    limits: Arc<ServerLimits>,
}

async fn answer(State(service): State<Service>, body: Bytes) -> Response {
    let Service { chain, permits, limits } = service;
    let Ok(permit) = permits.acquire_owned().await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    // The EVM may run for a while: not on the threads that serve the network. The permit goes along, because a
    // client that hangs up does not stop the work.
    let work = move || {
        let _permit = permit;
        rpc::answer(&chain, &limits, &body)
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(Some(json)) => {
            ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], json).into_response()
        }
        // Nothing but notifications.
        Ok(None) => StatusCode::NO_CONTENT.into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
