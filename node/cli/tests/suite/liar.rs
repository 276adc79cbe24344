//! An L1 node that lies about the transactions of commits.

use std::sync::{Arc, Mutex, PoisonError};

use alloy::{
    primitives::{Bytes, hex},
    sol_types::SolCall,
};
use axum::{Router, body::to_bytes, extract::Request, http::header, response::IntoResponse};
use joule_contracts::Rollup;
use serde_json::Value;
use tokio::net::TcpListener;

/// What it makes of the certificate of a batch, by its number; `None` hides the transaction.
type Lie = Box<dyn Fn(u64, &[u8]) -> Option<Bytes> + Send + Sync>;

/// Passes questions on to an L1 node, and lies about what it was asked for. Ends with the test's runtime.
#[derive(Clone)]
pub(crate) struct Liar {
    pub(crate) url: String,
    lie: Arc<Mutex<Option<Lie>>>,
}

impl Liar {
    pub(crate) async fn before(l1: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let this = Self { url, lie: Arc::default() };
        let (lie, l1, http) = (this.lie.clone(), l1.to_owned(), reqwest::Client::new());
        let answer = move |request: Request| {
            let (lie, l1, http) = (lie.clone(), l1.clone(), http.clone());
            async move {
                let body = to_bytes(request.into_body(), 8 << 20).await.expect("a question");
                let question: Value = serde_json::from_slice(&body).expect("JSON");
                let asked = http.post(l1).header(header::CONTENT_TYPE, "application/json").body(body).send().await;
                let mut answer: Value = asked.expect("an answer").json().await.expect("JSON");
                if question["method"] == "eth_getTransactionByHash"
                    && let Some(lie) = &*lie.lock().unwrap_or_else(PoisonError::into_inner)
                {
                    tell(lie, &mut answer["result"]);
                }
                ([(header::CONTENT_TYPE, "application/json")], answer.to_string()).into_response()
            }
        };
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
        this
    }

    pub(crate) fn lies(&self, lie: impl Fn(u64, &[u8]) -> Option<Bytes> + Send + Sync + 'static) {
        *self.lie.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(lie));
    }

    pub(crate) fn is_mended(&self) {
        *self.lie.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn tell(lie: &Lie, transaction: &mut Value) {
    let Some(input) = transaction["input"].as_str().and_then(|input| hex::decode(input).ok()) else { return };
    let told = if let Ok(mut call) = Rollup::commitBatchCall::abi_decode(&input) {
        lie(call.batch.number, &call.availability).map(|availability| {
            call.availability = availability;
            call.abi_encode()
        })
    } else if let Ok(mut call) = Rollup::settleBatchCall::abi_decode(&input) {
        lie(call.batch.number, &call.availability).map(|availability| {
            call.availability = availability;
            call.abi_encode()
        })
    } else {
        return;
    };
    match told {
        Some(input) => transaction["input"] = hex::encode_prefixed(input).into(),
        None => *transaction = Value::Null,
    }
}
