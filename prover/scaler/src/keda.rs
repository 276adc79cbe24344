//! The coordinator as an external scaler of KEDA: a cluster starts provers with demand, and this tells it how much there is.
//!
//! A trigger of type `external` names one kind of task in its metadata:
//!
//! | key | values | |
//! |---|---|---|
//! | `taskKind` | `segment`, `merge`, `wrap` | which tasks count; required |
//! | `count` | `open` (default), `queued` | all tasks that are not done, or only those that nobody works on. A ScaledJob that subtracts its running jobs wants the first |
//! | `tasksPerReplica` | 1 to 1,000 (default 1) | tasks that are one replica's share |
//!
//! Whoever reaches the port can ask, so it belongs inside the cluster; it gives numbers away and nothing else, and everything that it takes is bounded: connections, streams, bytes,
//! and time. It speaks HTTP/2 without TLS, as KEDA does unless told otherwise.

mod messages;

use std::{convert::Infallible, future::Future, io, pin::pin, sync::Arc, time::Duration};

use futures::{Stream, StreamExt as _, stream};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use joule_prover_network::{Status as Snapshot, TaskKind};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, body::Body, server::Grpc};
use tonic_prost::ProstCodec;

pub use messages::{
    GetMetricSpecResponse, GetMetricsRequest, GetMetricsResponse, IsActiveResponse, MetricSpec, MetricValue,
    ScaledObjectRef,
};

/// The service's name in paths.
pub const SERVICE: &str = "externalscaler.ExternalScaler";

/// Bytes of a question: names and a trigger's metadata.
pub const MESSAGE_BYTES_MAX: usize = 16 << 10;
/// Bytes of a request's headers.
const HEADER_BYTES_MAX: u32 = 8 << 10;
/// Connections at once: KEDA's operator and its metrics server keep one each for every trigger.
pub const CONNECTIONS_MAX: usize = 64;
/// Questions that one connection may have open.
pub const STREAMS_MAX: u32 = 32;
/// Streams of `StreamIsActive` at once, of all connections.
pub const WATCHERS_MAX: usize = 128;
/// How long a question may take to arrive.
const QUESTION_WITHIN: Duration = Duration::from_secs(10);
/// A connection that says nothing is asked whether it lives…
const PING_EVERY: Duration = Duration::from_secs(30);
/// … and closed if it does not answer.
const PONG_WITHIN: Duration = Duration::from_secs(15);
/// How long open questions may take when the server ends.
const END_WITHIN: Duration = Duration::from_secs(5);
/// Pause after the system refuses to accept a connection, for want of file descriptors as a rule.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Which tasks a trigger counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Count {
    Open,
    Queued,
}

/// What a trigger asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Trigger {
    kind: TaskKind,
    count: Count,
    tasks_per_replica: u16,
}

/// Tasks of one replica, at most.
const TASKS_PER_REPLICA_MAX: u16 = 1_000;

impl Trigger {
    /// Reads a trigger's metadata. Keys that are not ours are KEDA's own, and passed over.
    fn read(asked: &ScaledObjectRef) -> Result<Self, Status> {
        let of = |key: &str| asked.scaler_metadata.get(key).map(String::as_str);
        let wrong = |key: &str, got: &str, wanted: &str| {
            let got: String = got.chars().take(64).collect();
            Status::invalid_argument(format!("the trigger's metadata has {key} {got:?}: set it to {wanted}"))
        };
        let kinds = "segment, merge or wrap";
        let kind = match of("taskKind") {
            None => {
                return Err(Status::invalid_argument(format!(
                    "the trigger's metadata has no taskKind: set it to {kinds}"
                )));
            }
            Some(name) => TaskKind::ALL.into_iter().find(|kind| kind.as_str() == name),
        };
        let kind = kind.ok_or_else(|| wrong("taskKind", of("taskKind").unwrap_or_default(), kinds))?;
        let count = match of("count") {
            None | Some("open") => Count::Open,
            Some("queued") => Count::Queued,
            Some(other) => return Err(wrong("count", other, "open or queued")),
        };
        let tasks_per_replica = match of("tasksPerReplica") {
            None => 1,
            Some(text) => match text.parse() {
                Ok(tasks @ 1..=TASKS_PER_REPLICA_MAX) => tasks,
                _ => return Err(wrong("tasksPerReplica", text, "a whole number from 1 to 1000")),
            },
        };
        Ok(Self { kind, count, tasks_per_replica })
    }

    fn tasks(self, snapshot: &Snapshot) -> usize {
        let counts = snapshot.of(self.kind);
        match self.count {
            Count::Open => counts.open(),
            Count::Queued => counts.queued,
        }
    }

    fn metric_name(self) -> String {
        let count = match self.count {
            Count::Open => "open",
            Count::Queued => "queued",
        };
        format!("joule-{}-tasks-{count}", self.kind)
    }
}

/// Answers questions from the latest snapshot.
#[derive(Clone, Debug)]
struct Scaler {
    snapshots: watch::Receiver<Option<Snapshot>>,
    watchers: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Scaler {
    fn now(&self) -> Result<Snapshot, Status> {
        // An error says that nobody updates the numbers any more: old ones must not keep a cluster up, or down.
        if self.snapshots.has_changed().is_err() {
            return Err(Status::unavailable("the coordinator has ended"));
        }
        (*self.snapshots.borrow()).ok_or_else(|| Status::unavailable("the coordinator is starting"))
    }

    fn is_active(&self, asked: &ScaledObjectRef) -> Result<IsActiveResponse, Status> {
        let trigger = Trigger::read(asked)?;
        Ok(IsActiveResponse { result: trigger.tasks(&self.now()?) > 0 })
    }

    fn metric_spec(asked: &ScaledObjectRef) -> Result<GetMetricSpecResponse, Status> {
        let trigger = Trigger::read(asked)?;
        let spec = MetricSpec {
            metric_name: trigger.metric_name(),
            target_size: trigger.tasks_per_replica.into(),
            target_size_float: trigger.tasks_per_replica.into(),
        };
        Ok(GetMetricSpecResponse { metric_specs: vec![spec] })
    }

    fn metrics(&self, asked: &GetMetricsRequest) -> Result<GetMetricsResponse, Status> {
        let object = asked.scaled_object_ref.as_ref();
        let object = object.ok_or_else(|| Status::invalid_argument("the question names no scaled object"))?;
        let trigger = Trigger::read(object)?;
        let metric_name = trigger.metric_name();
        if asked.metric_name != metric_name {
            let got: String = asked.metric_name.chars().take(64).collect();
            return Err(Status::not_found(format!("this trigger's metric is {metric_name}, and not {got:?}")));
        }
        let tasks = trigger.tasks(&self.now()?);
        let value = MetricValue { metric_name, metric_value: tasks as i64, metric_value_float: tasks as f64 };
        Ok(GetMetricsResponse { metric_values: vec![value] })
    }

    /// Says whether there is work, at once and whenever that changes.
    fn watch(
        self,
        asked: &ScaledObjectRef,
    ) -> Result<impl Stream<Item = Result<IsActiveResponse, Status>> + Send + use<>, Status> {
        let trigger = Trigger::read(asked)?;
        let place = self.watchers.clone().try_acquire_owned().map_err(|_| {
            Status::resource_exhausted(format!("{WATCHERS_MAX} streams are open, and no more are taken; poll instead"))
        })?;
        struct Watching {
            snapshots: watch::Receiver<Option<Snapshot>>,
            stop: CancellationToken,
            said: Option<bool>,
            has_ended: bool,
            _place: OwnedSemaphorePermit,
        }
        let first =
            Watching { snapshots: self.snapshots, stop: self.stop, said: None, has_ended: false, _place: place };
        Ok(stream::unfold(first, move |mut watching| async move {
            loop {
                if watching.has_ended {
                    return None;
                }
                let snapshot = *watching.snapshots.borrow_and_update();
                let result = snapshot.map(|snapshot| trigger.tasks(&snapshot) > 0);
                if let Some(result) = result.filter(|result| watching.said != Some(*result)) {
                    watching.said = Some(result);
                    return Some((Ok(IsActiveResponse { result }), watching));
                }
                let has_changed = tokio::select! {
                    changed = watching.snapshots.changed() => changed.is_ok(),
                    () = watching.stop.cancelled() => false,
                };
                if !has_changed {
                    // An error, and not "no work", which would end every prover.
                    watching.has_ended = true;
                    return Some((Err(Status::unavailable("the coordinator has ended")), watching));
                }
            }
        }))
    }

    async fn answer(self, request: hyper::Request<Incoming>) -> hyper::Response<Body> {
        let path = request.uri().path().to_owned();
        match path.strip_prefix('/').and_then(|path| path.split_once('/')) {
            Some((SERVICE, "IsActive")) => unary(request, move |asked: ScaledObjectRef| self.is_active(&asked)).await,
            Some((SERVICE, "GetMetricSpec")) => {
                unary(request, move |asked: ScaledObjectRef| Self::metric_spec(&asked)).await
            }
            Some((SERVICE, "GetMetrics")) => unary(request, move |asked: GetMetricsRequest| self.metrics(&asked)).await,
            Some((SERVICE, "StreamIsActive")) => {
                let watch = tower::service_fn(move |asked: Request<ScaledObjectRef>| {
                    let scaler = self.clone();
                    async move { scaler.watch(asked.get_ref()).map(|answers| Response::new(answers.boxed())) }
                });
                let mut grpc = Grpc::new(ProstCodec::<IsActiveResponse, ScaledObjectRef>::default())
                    .max_decoding_message_size(MESSAGE_BYTES_MAX);
                within(grpc.server_streaming(watch, request)).await
            }
            _ => Status::unimplemented("this is KEDA's externalscaler.ExternalScaler and nothing else").into_http(),
        }
    }
}

async fn unary<Q, A>(
    request: hyper::Request<Incoming>,
    answer: impl Fn(Q) -> Result<A, Status>,
) -> hyper::Response<Body>
where
    Q: prost::Message + Default + Send + 'static,
    A: prost::Message + Send + 'static,
{
    let service = tower::service_fn(|asked: Request<Q>| {
        let answer = answer(asked.into_inner()).map(Response::new);
        async move { answer }
    });
    let mut grpc = Grpc::new(ProstCodec::<A, Q>::default()).max_decoding_message_size(MESSAGE_BYTES_MAX);
    within(grpc.unary(service, request)).await
}

/// A question that does not arrive in time is answered all the same.
async fn within(answer: impl Future<Output = hyper::Response<Body>>) -> hyper::Response<Body> {
    let late = |_| Status::deadline_exceeded("the question did not arrive in time").into_http();
    timeout(QUESTION_WITHIN, answer).await.unwrap_or_else(late)
}

/// Serves KEDA on `listener` from the latest of `snapshots` until `stop`. Once nobody sends snapshots any more, every question is answered with "unavailable", which KEDA
/// meets with the fallback that its objects define.
///
/// # Errors
/// The listener's.
pub async fn serve(
    listener: TcpListener,
    snapshots: watch::Receiver<Option<Snapshot>>,
    stop: CancellationToken,
) -> io::Result<()> {
    let watchers = Arc::new(Semaphore::new(WATCHERS_MAX));
    let scaler = Scaler { snapshots, watchers, stop: stop.clone() };
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            // Others wait in the system's queue, which is bounded, too.
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((connection, _)) => {
                    connections.spawn(converse(connection, scaler.clone(), stop.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    if timeout(END_WITHIN, async { while connections.join_next().await.is_some() {} }).await.is_err() {
        connections.shutdown().await;
    }
    Ok(())
}

async fn converse(connection: TcpStream, scaler: Scaler, stop: CancellationToken) {
    let service = service_fn(move |request| {
        let scaler = scaler.clone();
        async move { Ok::<_, Infallible>(scaler.answer(request).await) }
    });
    let serving = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .initial_stream_window_size(MESSAGE_BYTES_MAX as u32)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PONG_WITHIN)
        .serve_connection(TokioIo::new(connection), service);
    let mut serving = pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection of KEDA's ended");
    }
}

#[cfg(test)]
mod tests;
