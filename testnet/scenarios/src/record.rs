//! Recorders between the parts: what the sequencer sent to L1, and what members signed.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use alloy::{
    consensus::{Transaction as _, TxEnvelope},
    eips::Decodable2718 as _,
    primitives::{B256, Bytes},
    sol_types::SolCall,
};
use anyhow::{Context as _, ensure};
use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use joule_committee::{Share, Slot, Subject};
use joule_committee_client::route;
use joule_contracts::Rollup;
use joule_l1::L1Client;
use joule_protocol::{Checkpoint, Native};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Bytes of a request to L1 that the line passes on; a batch's data in one transaction is far below it.
const REQUEST_BYTES_MAX: usize = 4 << 20;
/// Bytes of a member's answer to an offer: a share, or a refusal.
const SHARE_BYTES_MAX: usize = 64 << 10;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The line from the sequencer to L1. Passes everything on, and keeps every transaction that was sent.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) url: String,
    sent: Arc<Mutex<Vec<Bytes>>>,
    stop: CancellationToken,
}

#[derive(Clone)]
struct LineState {
    l1: String,
    http: reqwest::Client,
    sent: Arc<Mutex<Vec<Bytes>>>,
}

impl Line {
    pub(crate) async fn to(l1: &str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let sent = Arc::new(Mutex::new(Vec::new()));
        let state = LineState { l1: l1.to_owned(), http: reqwest::Client::new(), sent: sent.clone() };
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let router = Router::new().fallback(pass_on).with_state(state);
        tokio::spawn(async move { axum::serve(listener, router).with_graceful_shutdown(stopped).await });
        Ok(Self { url, sent, stop })
    }

    /// Checkpoints of the batches that were sent to the rollup, by number, each with the block hash of L1 it does not depend on: what was sent is
    /// what counts, whatever became of it.
    pub(crate) async fn batches_sent(&self, l1: &L1Client) -> anyhow::Result<BTreeMap<u64, Vec<B256>>> {
        let rollup = l1.contracts().rollup;
        let sent = lock(&self.sent).clone();
        let mut batches: BTreeMap<u64, Vec<B256>> = BTreeMap::new();
        for raw in sent {
            let transaction = TxEnvelope::decode_2718(&mut &raw[..]).context("the sequencer sent no transaction")?;
            if transaction.to() != Some(rollup) {
                continue;
            }
            let input = transaction.input();
            let batch = if let Ok(call) = Rollup::commitBatchCall::abi_decode(input) {
                call.batch
            } else if let Ok(call) = Rollup::settleBatchCall::abi_decode(input) {
                call.batch
            } else {
                continue;
            };
            let checkpoint = Checkpoint::try_from(&batch.checkpoint).context("a batch leads to no checkpoint")?;
            let hash = B256::new(checkpoint.hash::<Native>().0);
            let hashes = batches.entry(batch.number).or_default();
            if !hashes.contains(&hash) {
                hashes.push(hash);
            }
        }
        Ok(batches)
    }

    /// That nothing was sent twice: each nonce stands for one call, whatever it offered for gas, and each call was sent under one nonce.
    ///
    /// # Errors
    /// One was.
    pub(crate) fn check_once(&self) -> anyhow::Result<usize> {
        let (mut by_nonce, mut by_call) = (BTreeMap::new(), BTreeMap::new());
        for raw in lock(&self.sent).iter() {
            let transaction = TxEnvelope::decode_2718(&mut &raw[..]).context("the sequencer sent no transaction")?;
            let (nonce, call) = (transaction.nonce(), (transaction.to(), transaction.input().clone()));
            let first = by_nonce.entry(nonce).or_insert_with(|| call.clone());
            ensure!(*first == call, "under nonce {nonce} the sequencer sent {first:?} and {call:?}");
            let first = *by_call.entry(call.clone()).or_insert(nonce);
            ensure!(first == nonce, "the sequencer sent {call:?} under the nonces {first} and {nonce}");
        }
        Ok(by_nonce.len())
    }

    /// Transactions sent.
    pub(crate) fn count(&self) -> usize {
        lock(&self.sent).len()
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn pass_on(State(state): State<LineState>, request: Request) -> Response {
    let failed = |error: &dyn std::fmt::Display| (StatusCode::BAD_GATEWAY, error.to_string()).into_response();
    let body = match to_bytes(request.into_body(), REQUEST_BYTES_MAX).await {
        Ok(body) => body,
        Err(error) => return failed(&error),
    };
    // Before it is passed on: what L1 may have is in the record, whatever happens on the way.
    if let Ok(calls) = serde_json::from_slice::<Value>(&body) {
        let one = [calls.clone()];
        for call in calls.as_array().map_or(&one[..], |calls| calls) {
            if call["method"] == "eth_sendRawTransaction"
                && let Some(Ok(raw)) = call["params"][0].as_str().map(str::parse)
            {
                lock(&state.sent).push(raw);
            }
        }
    }
    let asked = state.http.post(&state.l1).header(header::CONTENT_TYPE, "application/json").body(body).send().await;
    match asked {
        Ok(answer) => match answer.bytes().await {
            Ok(bytes) => ([(header::CONTENT_TYPE, "application/json")], bytes).into_response(),
            Err(error) => failed(&error),
        },
        Err(error) => failed(&error),
    }
}

/// Routes that pass everything on to a server elsewhere: what stands in front of a member that is a process of its own.
pub(crate) fn passing_on_to(url: String) -> Router {
    let state = Elsewhere { url, http: reqwest::Client::new() };
    Router::new().fallback(pass_on_as_it_is).with_state(state)
}

#[derive(Clone)]
struct Elsewhere {
    url: String,
    http: reqwest::Client,
}

async fn pass_on_as_it_is(State(state): State<Elsewhere>, request: Request) -> Response {
    let failed = |error: &dyn std::fmt::Display| (StatusCode::BAD_GATEWAY, error.to_string()).into_response();
    let (head, body) = request.into_parts();
    let body = match to_bytes(body, REQUEST_BYTES_MAX).await {
        Ok(body) => body,
        Err(error) => return failed(&error),
    };
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut passed = state.http.request(head.method, format!("{}{path}", state.url)).body(body);
    if let Some(kind) = head.headers.get(header::CONTENT_TYPE) {
        passed = passed.header(header::CONTENT_TYPE, kind);
    }
    let answer = match passed.send().await {
        Ok(answer) => answer,
        Err(error) => return failed(&error),
    };
    let (status, kind) = (answer.status(), answer.headers().get(header::CONTENT_TYPE).cloned());
    match answer.bytes().await {
        Ok(bytes) => {
            let mut response = (status, bytes).into_response();
            if let Some(kind) = kind {
                response.headers_mut().insert(header::CONTENT_TYPE, kind);
            }
            response
        }
        Err(error) => failed(&error),
    }
}

/// Every share that left a member.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shares(Arc<Mutex<Vec<Share>>>);

impl Shares {
    /// Adds the recorder in front of a member's routes.
    pub(crate) fn before(&self, router: Router) -> Router {
        router.layer(axum::middleware::from_fn_with_state(self.clone(), keep))
    }

    /// How many shares left members, for how many places.
    ///
    /// # Errors
    /// Some member signed two statements for one place.
    pub(crate) fn check(&self) -> anyhow::Result<(usize, usize)> {
        let shares = lock(&self.0);
        let mut said: BTreeMap<(alloy::primitives::Address, Slot), Subject> = BTreeMap::new();
        for share in shares.iter() {
            let (account, slot, subject) = (share.account, share.statement.slot(), share.statement.subject());
            let first = *said.entry((account, slot)).or_insert(subject);
            ensure!(first == subject, "{account} signed {first:?} and {subject:?} for {slot:?}");
        }
        Ok((shares.len(), said.len()))
    }
}

async fn keep(State(shares): State<Shares>, request: Request, next: Next) -> Response {
    let is_offer = request.uri().path() == route::OFFERS;
    let response = next.run(request).await;
    if !is_offer || !response.status().is_success() {
        return response;
    }
    let (head, body) = response.into_parts();
    match to_bytes(body, SHARE_BYTES_MAX).await {
        Ok(bytes) => {
            if let Ok(share) = Share::decode(&bytes) {
                lock(&shares.0).push(share);
            }
            Response::from_parts(head, Body::from(bytes))
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
