//! Every way to fail, as JSON-RPC sees it.

use alloy::primitives::{B256, Bytes};
use joule_kernel::Abort;
use joule_protocol::{Fault, Native, Refusal, Rejection};
use joule_state::TreeError;
use joule_storage::StorageError;
use jsonrpsee::types::ErrorObjectOwned;
use serde_json::{Value, json};
use thiserror::Error;

use crate::{node::SubmitError, wire::hash_of};

/// The error codes, as EIP-1474 and the execution-apis number them.
pub mod code {
    /// The call would revert; `data` is the revert data.
    pub const REVERTED: i32 = 3;
    /// The transaction was sent and is not in a block yet (EIP-7966); `data` is its hash.
    pub const SYNC_TIMEOUT: i32 = 4;
    /// The code of a view came to no good end, without a revert: out of gas, an invalid opcode.
    pub const EXECUTION: i32 = -32000;
    /// The parameters cannot be meant.
    pub const INVALID_PARAMS: i32 = -32602;
    /// Our fault.
    pub const INTERNAL: i32 = -32603;
    /// What is asked for is not there, or not any more.
    pub const NOT_FOUND: i32 = -32001;
    /// The node cannot say now.
    pub const UNAVAILABLE: i32 = -32002;
    /// The transaction is refused.
    pub const TRANSACTION_REJECTED: i32 = -32003;
    /// More than a limit allows.
    pub const LIMIT_EXCEEDED: i32 = -32005;
}

/// Why a request got no result.
#[derive(Debug, Error)]
pub enum RpcError {
    /// The pool did not take a transaction.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// The kernel would do nothing, for this reason.
    #[error("execution reverted: {0}")]
    Rejected(Rejection),
    /// The code of a view reverted.
    #[error("execution reverted{}", .reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default())]
    Reverted {
        /// What its revert data says, if it is a sentence.
        reason: Option<String>,
        /// The revert data.
        data: Bytes,
    },
    /// The code of a view came to no good end, without a revert.
    #[error("{0}")]
    Halted(String),
    /// The transaction has not been included in the time the caller gave it.
    #[error("transaction {hash} is in the pool and was not included within {waited_ms} ms")]
    NotYetIncluded {
        /// Its hash.
        hash: B256,
        /// How long was waited.
        waited_ms: u64,
    },
    /// Parameters that have the right types and cannot be meant.
    #[error("invalid params: {0}")]
    InvalidParams(String),
    /// A block this node does not have.
    #[error("block {wanted} is not known; the last block is {head}")]
    UnknownBlock {
        /// Number, hash or tag.
        wanted: String,
        /// The last block.
        head: u64,
    },
    /// A state that is too old.
    #[error("the state of block {wanted} is not kept; this node has the states of blocks {first} to {head}")]
    StatePruned {
        /// Block asked for.
        wanted: u64,
        /// First block whose state is there.
        first: u64,
        /// The last block.
        head: u64,
    },
    /// Something named that does not exist.
    #[error("{what} not found")]
    NotFound {
        /// What.
        what: String,
    },
    /// A filter that was never made, was removed, or was not asked for too long.
    #[error("filter not found: it was removed or not polled for {idle_seconds_max} seconds")]
    FilterNotFound {
        /// How long a filter lives without being polled.
        idle_seconds_max: u64,
    },
    /// More than a limit allows.
    #[error("{what}: {got} exceeds the limit of {limit}{advice}")]
    LimitExceeded {
        /// What there is too much of.
        what: &'static str,
        /// How much.
        got: u64,
        /// How much there may be.
        limit: u64,
        /// What to do, as the end of the sentence.
        advice: &'static str,
    },
    /// This node does not do it.
    #[error("this node {0}")]
    Unavailable(&'static str),
    /// The state transition found the node's state broken.
    #[error("internal error: the kernel aborted: {0}")]
    Aborted(#[from] Abort),
    /// The database failed or holds what it should not.
    #[error("internal error: {0}")]
    Internal(String),
}

impl From<Refusal> for RpcError {
    fn from(refusal: Refusal) -> Self {
        Self::Submit(refusal.into())
    }
}

impl From<StorageError> for RpcError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::OutsideWindow { asked, floor, head } => {
                Self::StatePruned { wanted: asked, first: floor, head }
            }
            StorageError::TooMuch { what, got, limit } => {
                Self::LimitExceeded { what, got, limit, advice: "; narrow the question" }
            }
            other => Self::Internal(other.to_string()),
        }
    }
}

impl From<TreeError<StorageError>> for RpcError {
    fn from(error: TreeError<StorageError>) -> Self {
        StorageError::from(error).into()
    }
}

impl RpcError {
    /// The code.
    pub fn code(&self) -> i32 {
        match self {
            Self::Submit(SubmitError::Upstream { code, .. }) => *code,
            Self::Submit(SubmitError::Unavailable { .. }) | Self::Unavailable(_) => code::UNAVAILABLE,
            Self::Submit(SubmitError::PoolFull { .. } | SubmitError::SenderFull { .. })
            | Self::LimitExceeded { .. } => code::LIMIT_EXCEEDED,
            Self::Submit(
                SubmitError::Refused(_)
                | SubmitError::AlreadyKnown { .. }
                | SubmitError::Underpriced { .. }
                | SubmitError::NonceTooFar { .. }
                | SubmitError::Unaffordable { .. },
            ) => code::TRANSACTION_REJECTED,
            Self::Rejected(_) | Self::Reverted { .. } => code::REVERTED,
            Self::Halted(_) => code::EXECUTION,
            Self::NotYetIncluded { .. } => code::SYNC_TIMEOUT,
            Self::InvalidParams(_) => code::INVALID_PARAMS,
            Self::UnknownBlock { .. }
            | Self::StatePruned { .. }
            | Self::NotFound { .. }
            | Self::FilterNotFound { .. } => code::NOT_FOUND,
            Self::Aborted(_) | Self::Internal(_) => code::INTERNAL,
        }
    }

    /// Who has to act.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Submit(SubmitError::Refused(refusal)) => refusal.fault(),
            Self::Submit(
                SubmitError::AlreadyKnown { .. }
                | SubmitError::Underpriced { .. }
                | SubmitError::NonceTooFar { .. }
                | SubmitError::Upstream { .. },
            )
            | Self::InvalidParams(_)
            | Self::Reverted { .. }
            | Self::Halted(_)
            | Self::LimitExceeded { .. }
            | Self::FilterNotFound { .. } => Fault::Sender,
            Self::Submit(
                SubmitError::SenderFull { .. } | SubmitError::Unaffordable { .. } | SubmitError::PoolFull { .. },
            )
            | Self::NotYetIncluded { .. }
            | Self::UnknownBlock { .. }
            | Self::StatePruned { .. }
            | Self::NotFound { .. } => Fault::Nobody,
            Self::Rejected(rejection) => rejection.fault(),
            Self::Submit(SubmitError::Unavailable { .. })
            | Self::Unavailable(_)
            | Self::Aborted(_)
            | Self::Internal(_) => Fault::Us,
        }
    }

    /// The sentence. Where wallets look for a phrase of Ethereum's nodes to tell errors apart, it comes first.
    pub fn message(&self) -> String {
        let phrase = match self {
            Self::Submit(SubmitError::Refused(refusal)) => match refusal {
                Refusal::GasLimitTooLow { .. } => "intrinsic gas too low: ",
                Refusal::FeeBelowBase { .. } => "max fee per gas less than block base fee: ",
                Refusal::TipAboveMaximum { .. } => "max priority fee per gas higher than max fee per gas: ",
                Refusal::UnsupportedType { .. } => "transaction type not supported: ",
                Refusal::SignerNotRecovered | Refusal::BadSignature { .. } => "invalid sender: ",
                Refusal::MissingReplayProtection => "only replay-protected (EIP-155) transactions allowed over RPC: ",
                Refusal::WrongChain { .. } => "invalid chain id for signer: ",
                Refusal::TransactionTooLong { .. } => "oversized data: ",
                Refusal::MalformedEnvelope { .. }
                | Refusal::AccessListNotEmpty
                | Refusal::ContractCreation
                | Refusal::ValueTooLarge { .. }
                | Refusal::NonceTooLow { .. }
                | Refusal::NonceTooHigh { .. }
                | Refusal::NonceExhausted
                | Refusal::InsufficientFunds { .. }
                | Refusal::UnknownContract { .. } => "",
            },
            _ => "",
        };
        format!("{phrase}{self}")
    }

    /// What a program may want to know beside the code.
    fn data(&self) -> Option<Value> {
        match self {
            Self::Rejected(rejection) => Some(json!(Bytes::from(rejection.revert_data::<Native>()))),
            Self::Reverted { data, .. } => Some(json!(data)),
            Self::Submit(SubmitError::Refused(refusal)) => {
                Some(json!({ "refusal": name_of(&format!("{refusal:?}")), "refusalCode": refusal.code() }))
            }
            Self::Submit(SubmitError::AlreadyKnown { hash }) => Some(json!({ "hash": hash_of(*hash) })),
            Self::NotYetIncluded { hash, .. } => Some(json!(hash)),
            Self::UnknownBlock { head, .. } => Some(json!({ "head": hex_quantity(*head) })),
            Self::StatePruned { first, head, .. } => {
                Some(json!({ "first": hex_quantity(*first), "head": hex_quantity(*head) }))
            }
            Self::LimitExceeded { limit, .. } => Some(json!({ "limit": hex_quantity(*limit) })),
            Self::Submit(_)
            | Self::InvalidParams(_)
            | Self::Halted(_)
            | Self::NotFound { .. }
            | Self::FilterNotFound { .. }
            | Self::Unavailable(_)
            | Self::Aborted(_)
            | Self::Internal(_) => None,
        }
    }
}

/// The variant's name in a derived `Debug` text.
fn name_of(debug: &str) -> &str {
    debug.split([' ', '(', '{']).next().unwrap_or(debug)
}

fn hex_quantity(number: u64) -> String {
    format!("{number:#x}")
}

impl From<RpcError> for ErrorObjectOwned {
    fn from(error: RpcError) -> Self {
        if error.fault() == Fault::Us {
            tracing::error!(%error, "request failed");
        }
        ErrorObjectOwned::owned(error.code(), error.message(), error.data())
    }
}

#[cfg(test)]
mod tests {
    use joule_protocol::Address;

    use super::*;

    #[test]
    fn wallets_find_the_phrases_they_look_for() {
        // The patterns are those of viem, ethers and web3.py.
        let message = |refusal: Refusal| RpcError::from(refusal).message();
        assert!(message(Refusal::NonceTooLow { got: 1, expected: 2 }).starts_with("nonce too low"));
        assert!(message(Refusal::NonceTooHigh { got: 3, expected: 2 }).starts_with("nonce too high"));
        assert!(message(Refusal::InsufficientFunds { have: 1, need: 2 }).starts_with("insufficient funds"));
        assert!(message(Refusal::GasLimitTooLow { got: 1, need: 2 }).starts_with("intrinsic gas too low"));
        assert!(message(Refusal::FeeBelowBase { got: 1, base_fee: 2 }).contains("less than block base fee"));
        let known = RpcError::from(SubmitError::AlreadyKnown { hash: joule_protocol::Hash::ZERO });
        assert!(known.message().starts_with("already known"));
        let underpriced = RpcError::from(SubmitError::Underpriced { got: 1, need: 2 });
        assert!(underpriced.message().contains("replacement transaction underpriced"));
    }

    #[test]
    fn a_rejection_is_revert_data() {
        let error = RpcError::Rejected(Rejection::JobNotFound { client: Address([1; 20]), nonce: 7 });
        let object = ErrorObjectOwned::from(error);
        assert_eq!(object.code(), code::REVERTED);
        assert!(object.message().starts_with("execution reverted: "));
        let data: Bytes = serde_json::from_str(object.data().expect("revert data").get()).expect("a hex string");
        assert_eq!(data.len(), 4 + 2 * 32);
    }

    #[test]
    fn a_refusal_names_itself() {
        let object = ErrorObjectOwned::from(RpcError::from(Refusal::WrongChain { got: 1, expected: 2 }));
        assert_eq!(object.code(), code::TRANSACTION_REJECTED);
        let data: Value = serde_json::from_str(object.data().expect("data").get()).expect("an object");
        assert_eq!(data, json!({ "refusal": "WrongChain", "refusalCode": 11 }));
    }
}
