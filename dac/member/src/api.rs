//! The member's HTTP interface. Handlers parse and pass on; [`joule_committee_client::route`] has the paths, [`crate::answers`] the answers.

use std::{fmt::Display, future::Future, io, sync::Arc, time::Duration};

use alloy_primitives::{Address, B256};
use axum::{
    Json, Router,
    body::{Body, Bytes, to_bytes},
    extract::{Path, Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures::stream;
use joule_committee_client::{OFFER_BYTES_MAX, Question, Refusal, RefusalCode, route};
use serde::Deserialize;
use tokio::{net::TcpListener, time::timeout};

use crate::{
    answers::{Answer, answer},
    http::{self, HttpLimits},
    member::Member,
};

type Shared = State<Arc<Member>>;

/// Longest time for an offer's bytes: 16 MiB at less than 1 MiB a second.
const UPLOAD_MAX: Duration = Duration::from_secs(20);
/// An answer leaves in pieces of this length, so that its room is taken until nearly all of it has left.
const PIECE_BYTES: usize = 64 << 10;

struct Refused(Refusal);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(self.0)).into_response()
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self(refusal)
    }
}

fn malformed(what: &str, error: &dyn Display) -> Refused {
    Refused(Refusal { code: RefusalCode::Malformed, message: format!("{what}: {error}") })
}

/// All routes.
pub fn router(member: Arc<Member>) -> Router {
    Router::new()
        .route(route::OFFERS, post(offer))
        .route(route::BATCH, get(batch))
        .route(route::BATCH_DATA, get(batch_data))
        .route(route::DATA, get(data))
        .route(route::CHUNK, get(chunk))
        .route(route::STATE, get(state))
        .route(route::ACCOUNT, get(account))
        .route(route::SNAPSHOT, get(snapshot_page))
        .route(route::STATUS, get(status))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(member)
}

/// Serves within the usual limits until `stop` resolves, then finishes what is under way.
///
/// # Errors
/// The listener failed.
pub async fn serve(
    listener: TcpListener,
    member: Arc<Member>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    http::serve(listener, router(member), HttpLimits::default(), stop).await
}

async fn offer(State(member): Shared, body: Body) -> Result<Response, Refused> {
    let upload = member.upload()?;
    let bytes = match timeout(UPLOAD_MAX, to_bytes(body, OFFER_BYTES_MAX)).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(error)) => return Err(malformed("the offer cannot be read", &error)),
        Err(elapsed) => return Err(malformed("the offer was not sent in time", &elapsed)),
    };
    let share = member.offer(bytes.to_vec()).await?;
    drop(upload);
    Ok(share.encode().into_response())
}

async fn respond(member: &Arc<Member>, question: Question) -> Result<Response, Refused> {
    let Answer { bytes, is_json, room } = answer(member, question).await?;
    let kind = if is_json { "application/json" } else { "application/octet-stream" };
    let length = bytes.len();
    let pieces = stream::unfold((Bytes::from(bytes), room), async |(mut left, room)| {
        let piece = left.split_to(left.len().min(PIECE_BYTES));
        (!piece.is_empty()).then_some((Ok::<_, io::Error>(piece), (left, room)))
    });
    let headers = [(header::CONTENT_TYPE, kind.to_owned()), (header::CONTENT_LENGTH, length.to_string())];
    Ok((headers, Body::from_stream(pieces)).into_response())
}

async fn batch(State(member): Shared, Path(number): Path<u64>) -> Result<Response, Refused> {
    respond(&member, Question::Batch(number)).await
}

async fn batch_data(State(member): Shared, Path(number): Path<u64>) -> Result<Response, Refused> {
    respond(&member, Question::BatchData(number)).await
}

async fn data(State(member): Shared, Path(checkpoint): Path<String>) -> Result<Response, Refused> {
    respond(&member, Question::Data(parse("a checkpoint's hash", &checkpoint)?)).await
}

async fn chunk(State(member): Shared, Path((checkpoint, index)): Path<(String, u32)>) -> Result<Response, Refused> {
    respond(&member, Question::Chunk(parse("a checkpoint's hash", &checkpoint)?, index)).await
}

fn parse<T: std::str::FromStr<Err: Display>>(what: &str, text: &str) -> Result<T, Refused> {
    text.parse().map_err(|error: T::Err| malformed(&format!("{text:?} is not {what}"), &error))
}

async fn state(State(member): Shared, Path(key): Path<String>) -> Result<Response, Refused> {
    respond(&member, Question::State(parse::<B256>("a key of 32 bytes", &key)?)).await
}

async fn account(State(member): Shared, Path(address): Path<String>) -> Result<Response, Refused> {
    respond(&member, Question::Account(parse::<Address>("an address", &address)?)).await
}

#[derive(Debug, Deserialize)]
struct Page {
    /// First byte of the page.
    #[serde(default)]
    from: u64,
    /// The block that the first page named; another page of another snapshot is worth nothing.
    block: Option<u64>,
}

async fn snapshot_page(State(member): Shared, Query(page): Query<Page>) -> Result<Response, Refused> {
    respond(&member, Question::Snapshot { from: page.from, block: page.block }).await
}

async fn status(State(member): Shared) -> Result<Response, Refused> {
    respond(&member, Question::Status).await
}

async fn ready(State(member): Shared) -> Response {
    match member.status().await {
        Ok(status) => match status.not_ready {
            None => "ready\n".into_response(),
            Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
        },
        Err(refusal) => Refused(refusal).into_response(),
    }
}

async fn metrics(State(member): Shared) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], member.metrics().text()).into_response()
}
