//! JSON-RPC 2.0: envelopes, batches, errors. The methods are in [`eth`] and [`control`].

mod control;
mod error;
mod eth;
mod params;

use crate::server::{ServerLimits, SharedChain};
use error::RpcError;
use params::Params;
use serde_json::{Map, Value};

/// Answers an HTTP body. `None` if it holds only notifications, which have no answer.
pub(crate) fn answer(chain: &SharedChain, limits: &ServerLimits, body: &[u8]) -> Option<String> {
    let response = match serde_json::from_slice(body) {
        Err(error) => failure(Value::Null, RpcError::parse(&error)),
        Ok(Value::Array(requests)) if requests.is_empty() => {
            failure(Value::Null, RpcError::invalid_request("empty batch"))
        }
        Ok(Value::Array(requests)) if requests.len() > limits.batch_max => {
            failure(Value::Null, RpcError::invalid_request("batch too large"))
        }
        Ok(Value::Array(requests)) => return answer_batch(chain, limits, requests),
        Ok(request) => answer_one(chain, request)?,
    };
    Some(response.to_string())
}

fn answer_batch(chain: &SharedChain, limits: &ServerLimits, requests: Vec<Value>) -> Option<String> {
    let mut responses = Vec::new();
    let mut bytes = 0_usize;
    for request in requests {
        let id = identifier(&request).unwrap_or_default();
        let response = if bytes > limits.response_bytes_max {
            // What follows is not even tried: the answer would not be sent.
            Some(failure(id, RpcError::response_too_large()))
        } else {
            answer_one(chain, request)
        };
        if let Some(response) = response {
            let response = response.to_string();
            bytes = bytes.saturating_add(response.len());
            responses.push(response);
        }
    }
    (!responses.is_empty()).then(|| format!("[{}]", responses.join(",")))
}

fn answer_one(chain: &SharedChain, request: Value) -> Option<Value> {
    let Value::Object(mut request) = request else {
        return Some(failure(Value::Null, RpcError::invalid_request("invalid request")));
    };
    let id = match request.remove("id") {
        // A notification is carried out, but not answered.
        None if is_call(&request) => None,
        Some(id @ (Value::Null | Value::Number(_) | Value::String(_))) => Some(id),
        None | Some(_) => return Some(failure(Value::Null, RpcError::invalid_request("invalid request"))),
    };
    if !is_call(&request) {
        return Some(failure(id.unwrap_or_default(), RpcError::invalid_request("invalid request")));
    }
    let method = request.remove("method");
    let method = method.as_ref().and_then(Value::as_str).unwrap_or_default();
    let result = Params::new(request.remove("params")).and_then(|params| dispatch(chain, method, &params));
    if let Err(error) = &result {
        tracing::debug!(method, %error, "request failed");
    }
    let id = id?;
    Some(match result {
        Ok(result) => envelope(id, "result", result),
        Err(error) => failure(id, error),
    })
}

fn is_call(request: &Map<String, Value>) -> bool {
    request.get("jsonrpc").is_some_and(|version| version == "2.0")
        && request.get("method").is_some_and(Value::is_string)
}

fn identifier(request: &Value) -> Option<Value> {
    request.get("id").filter(|id| id.is_number() || id.is_string()).cloned()
}

fn envelope(id: Value, key: &str, content: Value) -> Value {
    let mut response = Map::new();
    response.insert("jsonrpc".into(), "2.0".into());
    response.insert("id".into(), id);
    response.insert(key.into(), content);
    Value::Object(response)
}

fn failure(id: Value, error: RpcError) -> Value {
    envelope(id, "error", error.into_value())
}

fn dispatch(chain: &SharedChain, method: &str, params: &Params) -> Result<Value, RpcError> {
    match eth::dispatch(chain, method, params).or_else(|| control::dispatch(chain, method, params)) {
        Some(result) => result,
        None => Err(RpcError::unknown_method(method)),
    }
}
