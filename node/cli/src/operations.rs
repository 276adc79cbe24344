//! What an operator's machinery asks: metrics, health, readiness, drain.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::{get, post},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// What a node says of its health.
pub(crate) trait Health: Send + Sync + 'static {
    /// Why the process should be restarted, if it should.
    fn failure(&self) -> Option<String>;

    /// Why it takes no transactions now, if it takes none.
    fn not_ready(&self) -> Option<String>;

    /// Where it stands, in a line.
    fn line(&self) -> String;

    /// Takes no more transactions and closes what is open.
    fn drain(&self);
}

#[derive(Clone)]
struct Operations {
    node: Arc<dyn Health>,
    metrics: Metrics,
}

/// Serves `/metrics`, `/healthz`, `/readyz` and `POST /drain` on `listener` until `stop`.
///
/// `/healthz` says that the process should go on living; `/readyz` that it takes transactions, and where it stands. `/drain` ends the second, not the first: what waits goes into blocks and
/// the batch is closed; settling goes on.
///
/// # Errors
/// The listener's.
pub(crate) async fn serve(
    listener: TcpListener,
    node: Arc<dyn Health>,
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

async fn render(State(operations): State<Operations>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], operations.metrics.render())
}

async fn health(State(operations): State<Operations>) -> (StatusCode, String) {
    match operations.node.failure() {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

async fn readiness(State(operations): State<Operations>) -> (StatusCode, String) {
    let node = &operations.node;
    match node.failure().or_else(|| node.not_ready()) {
        None => (StatusCode::OK, format!("ready\n{}\n", node.line())),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n{}\n", node.line())),
    }
}

async fn drain(State(operations): State<Operations>) -> (StatusCode, &'static str) {
    operations.node.drain();
    (StatusCode::ACCEPTED, "draining\n")
}
