//! The member's HTTP interface. Handlers parse, take one snapshot, read, and answer; [`joule_committee_client::route`] has the paths.

use std::{fmt::Display, future::Future, io, sync::Arc, time::Duration};

use alloy_primitives::{Address, B256, hex};
use axum::{
    Json, Router,
    body::{Body, to_bytes},
    extract::{Path, Query, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use joule_committee_client::{OFFER_BYTES_MAX, Refusal, RefusalCode, checkpoint_hash, route};
use joule_protocol::Key;
use joule_state::AbsenceOrLeaf;
use joule_storage::StorageError;
use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, time::timeout};

use crate::{
    journal,
    member::Member,
    snapshot,
    worker::{self, WorkError},
};

type Shared = State<Arc<Member>>;

/// Longest time for an offer's bytes: 16 MiB at less than 1 MiB a second.
const UPLOAD_MAX: Duration = Duration::from_secs(20);

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

fn binary(member: &Member, bytes: Vec<u8>) -> Response {
    member.metrics().served_bytes.inc_by(bytes.len() as u64);
    ([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response()
}

/// What a key of the executed state holds, with everything that L1's `Escape` asks for to prove it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StateProof {
    /// The executed batch.
    pub batch_number: u64,
    /// The hash of its checkpoint, as L1 has it.
    pub checkpoint_hash: B256,
    /// The checkpoint's encoding (the argument of `openEscape`).
    pub checkpoint: String,
    /// The key asked for.
    pub key: B256,
    /// Whether it holds an object. If it does not, the leaf is the one before, whose next key is greater.
    pub is_present: bool,
    /// The leaf's own key.
    pub leaf_key: B256,
    /// The leaf's next key.
    pub next_key: B256,
    /// The leaf's position.
    pub position: u32,
    /// The object's words, big-endian, as the batch data has them; empty for the sentinel.
    pub object: String,
    /// Siblings from the bottom, 32 of them.
    pub siblings: Vec<B256>,
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

/// Serves until `stop` resolves, then finishes what is under way.
///
/// # Errors
/// The listener failed.
pub async fn serve(
    listener: TcpListener,
    member: Arc<Member>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    axum::serve(listener, router(member)).with_graceful_shutdown(stop).await
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

async fn batch(State(member): Shared, Path(number): Path<u64>) -> Result<Response, Refused> {
    let bytes = member.read(move |view| Ok(worker::stored_offer(view, number)?.map(|offer| offer.encode()))).await?;
    Ok(binary(&member, bytes))
}

async fn batch_data(State(member): Shared, Path(number): Path<u64>) -> Result<Response, Refused> {
    let bytes = member.read(move |view| Ok(worker::stored_data(view, number)?.map(|data| data.encode()))).await?;
    Ok(binary(&member, bytes))
}

async fn data(State(member): Shared, Path(checkpoint): Path<String>) -> Result<Response, Refused> {
    let checkpoint = parse::<B256>("a checkpoint's hash", &checkpoint)?;
    let read = move |view: &joule_storage::View<'_>| Ok(data_of(view, checkpoint)?.map(|data| data.encode()));
    let bytes = member.read(read).await?;
    Ok(binary(&member, bytes))
}

async fn chunk(State(member): Shared, Path((checkpoint, index)): Path<(String, usize)>) -> Result<Response, Refused> {
    let checkpoint = parse::<B256>("a checkpoint's hash", &checkpoint)?;
    let read = move |view: &joule_storage::View<'_>| {
        Ok(data_of(view, checkpoint)?.and_then(|data| data.prove_chunk(index)).map(|proof| proof.encode()))
    };
    let bytes = member.read(read).await?;
    Ok(binary(&member, bytes))
}

fn data_of(
    view: &joule_storage::View<'_>,
    checkpoint: B256,
) -> Result<Option<joule_committee_client::BatchData>, WorkError> {
    let Some(number) = journal::batch_of_checkpoint(view, checkpoint)? else { return Ok(None) };
    // Another batch may have taken the number since.
    let data = worker::stored_data(view, number)?;
    Ok(data.filter(|data| checkpoint_hash(data.checkpoint()) == checkpoint))
}

fn parse<T: std::str::FromStr<Err: Display>>(what: &str, text: &str) -> Result<T, Refused> {
    text.parse().map_err(|error: T::Err| malformed(&format!("{text:?} is not {what}"), &error))
}

async fn state(State(member): Shared, Path(key): Path<String>) -> Result<Json<StateProof>, Refused> {
    let key = parse::<B256>("a key of 32 bytes", &key)?;
    prove(&member, Key::from_bytes(key.0)).await
}

async fn account(State(member): Shared, Path(address): Path<String>) -> Result<Json<StateProof>, Refused> {
    let address = parse::<Address>("an address", &address)?;
    prove(&member, Key::account(&joule_protocol::Address(address.into_array()))).await
}

async fn prove(member: &Arc<Member>, key: Key) -> Result<Json<StateProof>, Refused> {
    let read = move |view: &joule_storage::View<'_>| {
        let (batch_number, checkpoint) = worker::executed(view)?;
        let tree = view.tree_at(checkpoint.block_number)?;
        let proof = tree.prove(&key).map_err(StorageError::from)?;
        let object = proof.leaf.object.as_ref().map_or(Vec::new(), |object| {
            object.with_words(|words| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>())
        });
        Ok(Some(StateProof {
            batch_number,
            checkpoint_hash: checkpoint_hash(&checkpoint),
            checkpoint: hex::encode_prefixed(checkpoint.encode()),
            key: B256::new(key.to_bytes()),
            is_present: proof.kind == AbsenceOrLeaf::Leaf,
            leaf_key: B256::new(proof.key.to_bytes()),
            next_key: B256::new(proof.leaf.next.to_bytes()),
            position: proof.leaf.position,
            object: hex::encode_prefixed(object),
            siblings: proof.siblings.iter().map(|sibling| B256::new(sibling.to_hash().0)).collect(),
        }))
    };
    Ok(Json(member.read(read).await?))
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
    let folder = snapshot::folder(member.database());
    let read = move |view: &joule_storage::View<'_>| {
        let block = journal::snapshot_block(view)?;
        if block == 0 || page.block.is_some_and(|asked| asked != block) {
            return Ok(None);
        }
        Ok(Some(snapshot::read_page(&folder, block, page.from).map_err(StorageError::from)?))
    };
    let bytes = member.read(read).await?;
    Ok(binary(&member, bytes))
}

async fn status(State(member): Shared) -> Result<Response, Refused> {
    Ok(Json(member.status().await?).into_response())
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
