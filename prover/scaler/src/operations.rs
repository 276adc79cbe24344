//! What an operator's machinery asks a coordinator: metrics, health, readiness.

use std::{io, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use joule_prover_network::{CoordinatorHandle, Status};
use tokio::{
    net::TcpListener,
    sync::watch,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use crate::Metrics;

/// How often the coordinator is asked how things stand. KEDA polls every few seconds, Prometheus every fifteen.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Takes a snapshot of the coordinator every second, for everybody who asks: however many ask, the coordinator is asked once. The snapshots end with the coordinator.
#[must_use]
pub fn snapshots(coordinator: CoordinatorHandle) -> (watch::Receiver<Option<Status>>, JoinHandle<()>) {
    let (sender, receiver) = watch::channel(None);
    let looking = tokio::spawn(async move {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = looks.tick() => {}
                () = sender.closed() => return,
            }
            let Ok(status) = coordinator.status().await else { return };
            sender.send_if_modified(|latest| {
                let has_changed = *latest != Some(status);
                *latest = Some(status);
                has_changed
            });
        }
    });
    (receiver, looking)
}

#[derive(Clone, Debug)]
struct Operations {
    snapshots: watch::Receiver<Option<Status>>,
    metrics: Metrics,
}

/// Serves `/metrics`, `/healthz` and `/readyz` on `listener` until `stop`.
///
/// `/healthz` says that the process should go on living; `/readyz` that the coordinator answers.
///
/// # Errors
/// The listener's.
pub async fn serve(
    listener: TcpListener,
    snapshots: watch::Receiver<Option<Status>>,
    metrics: Metrics,
    stop: CancellationToken,
) -> io::Result<()> {
    let router = Router::new()
        .route("/metrics", get(render))
        .route("/healthz", get(health))
        .route("/readyz", get(readiness))
        .with_state(Operations { snapshots, metrics });
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
}

/// In the format that was asked for: Prometheus prefers OpenMetrics, others may not know it.
async fn render(State(operations): State<Operations>, headers: HeaderMap) -> Response {
    let accepted = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let (kind, text) = match accepted.contains("application/openmetrics-text") {
        true => ("application/openmetrics-text; version=1.0.0; charset=utf-8", operations.metrics.open_metrics()),
        false => ("text/plain; version=0.0.4; charset=utf-8", operations.metrics.text()),
    };
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

impl Operations {
    /// Nobody takes snapshots any more once the coordinator has ended.
    fn is_alive(&self) -> bool {
        self.snapshots.has_changed().is_ok()
    }
}

async fn health(State(operations): State<Operations>) -> (StatusCode, &'static str) {
    match operations.is_alive() {
        true => (StatusCode::OK, "ok\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "the coordinator has ended\n"),
    }
}

async fn readiness(State(operations): State<Operations>) -> (StatusCode, &'static str) {
    match (operations.is_alive(), operations.snapshots.borrow().is_some()) {
        (true, true) => (StatusCode::OK, "ready\n"),
        (true, false) => (StatusCode::SERVICE_UNAVAILABLE, "the coordinator has not answered yet\n"),
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "the coordinator has ended\n"),
    }
}
