//! Errors as JSON-RPC shows them, with the codes of the specification, EIP-1474 and geth.

use crate::{
    chain::SubmitError,
    error::{CallError, ChainError, TransactionError},
    server::Poisoned,
};
use serde_json::{Map, Value};

const PARSE: i64 = -32_700;
const INVALID_REQUEST: i64 = -32_600;
const UNKNOWN_METHOD: i64 = -32_601;
const INVALID_PARAMS: i64 = -32_602;
const INTERNAL: i64 = -32_603;
const SERVER: i64 = -32_000;
const TRANSACTION_REJECTED: i64 = -32_003;
const LIMIT_EXCEEDED: i64 = -32_005;
/// What geth answers when a contract reverts; `data` holds what it returned.
const REVERTED: i64 = 3;

/// The `error` member of a response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} ({code})")]
pub(super) struct RpcError {
    code: i64,
    message: String,
    data: Option<Value>,
}

impl RpcError {
    fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    pub(super) fn parse(error: &serde_json::Error) -> Self {
        Self::new(PARSE, format!("parse error: {error}"))
    }

    pub(super) fn invalid_request(reason: &str) -> Self {
        Self::new(INVALID_REQUEST, reason)
    }

    pub(super) fn invalid_params(reason: impl Into<String>) -> Self {
        Self::new(INVALID_PARAMS, reason)
    }

    pub(super) fn unknown_method(method: &str) -> Self {
        // The name is a stranger's: enough of it to recognise, not enough to fill a log.
        let shown: String = method.chars().take(64).collect();
        Self::new(UNKNOWN_METHOD, format!("the method {shown} does not exist/is not available"))
    }

    pub(super) fn response_too_large() -> Self {
        Self::new(LIMIT_EXCEEDED, "response too large")
    }

    pub(super) fn into_value(self) -> Value {
        let mut error = Map::new();
        error.insert("code".into(), self.code.into());
        error.insert("message".into(), self.message.into());
        if let Some(data) = self.data {
            error.insert("data".into(), data);
        }
        Value::Object(error)
    }
}

impl From<ChainError> for RpcError {
    fn from(error: ChainError) -> Self {
        let code = match &error {
            ChainError::Configuration(_)
            | ChainError::TimestampInPast { .. }
            | ChainError::TimestampOverflow { .. }
            | ChainError::ReorgTooDeep { .. }
            | ChainError::InvalidBlockRange
            | ChainError::InvalidPercentiles => INVALID_PARAMS,
            ChainError::UnknownBlock
            | ChainError::ReplacementBlock { .. }
            | ChainError::PendingLogs
            | ChainError::UnknownFilter
            | ChainError::NotALogFilter { .. } => SERVER,
            ChainError::TooMany { .. } | ChainError::TooManyLogs { .. } => LIMIT_EXCEEDED,
            ChainError::Internal(_) => INTERNAL,
        };
        Self::new(code, error.to_string())
    }
}

impl From<TransactionError> for RpcError {
    fn from(error: TransactionError) -> Self {
        let code = match &error {
            TransactionError::Undecodable { .. } => INVALID_PARAMS,
            _ => TRANSACTION_REJECTED,
        };
        Self::new(code, error.to_string())
    }
}

impl From<SubmitError> for RpcError {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Transaction(error) => error.into(),
            SubmitError::Chain(error) => error.into(),
        }
    }
}

impl From<CallError> for RpcError {
    fn from(error: CallError) -> Self {
        let message = error.to_string();
        match error {
            CallError::Reverted { output } => {
                Self { data: Some(output.to_string().into()), ..Self::new(REVERTED, message) }
            }
            CallError::Halted { .. } | CallError::GasAllowance { .. } => Self::new(SERVER, message),
            CallError::Unsupported { .. } => Self::new(INVALID_PARAMS, message),
            CallError::Transaction(error) => error.into(),
            CallError::Chain(error) => error.into(),
        }
    }
}

impl From<Poisoned> for RpcError {
    fn from(error: Poisoned) -> Self {
        Self::new(INTERNAL, error.to_string())
    }
}
