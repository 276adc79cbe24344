//! What an operator's machinery asks: metrics, health, readiness, drain.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    routing::{get, post},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{metrics::Metrics, node::SequencerNode};

#[derive(Clone, Debug)]
struct Operations {
    node: Arc<SequencerNode>,
    metrics: Metrics,
}

/// Serves `/metrics`, `/healthz`, `/readyz` and `POST /drain` on `listener` until `stop`.
///
/// `/healthz` says that the process should go on living; `/readyz` that it takes transactions. `/drain` ends the second, not the first: what waits goes into blocks and the batch is closed.
///
/// # Errors
/// The listener's.
pub(crate) async fn serve(
    listener: TcpListener,
    node: Arc<SequencerNode>,
    metrics: Metrics,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/metrics", get(render))
        .route("/healthz", get(health))
        .route("/readyz", get(readiness))
        .route("/drain", post(drain))
        .with_state(Operations { node, metrics });
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
}

/// Takes the address, so that a clash shows at the start.
///
/// # Errors
/// What the system says.
pub(crate) async fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

async fn render(State(operations): State<Operations>) -> String {
    operations.metrics.render()
}

async fn health(State(operations): State<Operations>) -> (StatusCode, &'static str) {
    match operations.node.is_alive() {
        true => (StatusCode::OK, "ok\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "the execution thread has ended\n"),
    }
}

async fn readiness(State(operations): State<Operations>) -> (StatusCode, &'static str) {
    match (operations.node.is_alive(), operations.node.is_draining()) {
        (true, false) => (StatusCode::OK, "ready\n"),
        (true, true) => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "the execution thread has ended\n"),
    }
}

async fn drain(State(operations): State<Operations>) -> (StatusCode, &'static str) {
    operations.node.drain();
    (StatusCode::ACCEPTED, "draining\n")
}
