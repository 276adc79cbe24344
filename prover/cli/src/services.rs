//! What a coordinator serves besides tasks: metrics and health for its operator, and demand for KEDA.

use std::net::SocketAddr;

use anyhow::Context;
use joule_prover_network::CoordinatorHandle;
use joule_prover_scaler::{Metrics, keda, operations};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

/// Where.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ServicesOption {
    /// Serve KEDA's external scaler here (gRPC without TLS: for addresses inside a cluster).
    #[arg(long, value_name = "ADDRESS:PORT")]
    keda: Option<SocketAddr>,
    /// Serve /metrics, /healthz and /readyz here.
    #[arg(long, value_name = "ADDRESS:PORT")]
    operations: Option<SocketAddr>,
}

/// Services that run.
pub(crate) struct Services {
    stop: CancellationToken,
    running: JoinSet<std::io::Result<()>>,
}

impl Services {
    pub(crate) async fn start(coordinator: &CoordinatorHandle, options: &ServicesOption) -> anyhow::Result<Self> {
        let stop = CancellationToken::new();
        let mut running = JoinSet::new();
        if options.keda.is_none() && options.operations.is_none() {
            return Ok(Self { stop, running });
        }
        let (snapshots, _) = operations::snapshots(coordinator.clone());
        if let Some(address) = options.keda {
            let listener = listen(address, "--keda").await?;
            tracing::info!(address = %listener.local_addr()?, "KEDA asks here");
            running.spawn(keda::serve(listener, snapshots.clone(), stop.clone()));
        }
        if let Some(address) = options.operations {
            let listener = listen(address, "--operations").await?;
            tracing::info!(address = %listener.local_addr()?, "metrics and health are here");
            let metrics = Metrics::new(snapshots.clone());
            let (counting, happenings) = (metrics.clone(), coordinator.watch());
            running.spawn(async move {
                counting.follow(happenings).await;
                Ok(())
            });
            running.spawn(operations::serve(listener, snapshots, metrics, stop.clone()));
        }
        Ok(Self { stop, running })
    }

    /// Ends them. Call it when the coordinator has ended, which is what the counting waits for.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.stop.cancel();
        while let Some(ended) = self.running.join_next().await {
            ended??;
        }
        Ok(())
    }
}

async fn listen(address: SocketAddr, option: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("listening on {address}: choose another {option}"))
}
