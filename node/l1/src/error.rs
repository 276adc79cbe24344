//! What can go wrong between a node and L1.

use alloy::{
    contract::Error as ContractError,
    primitives::{Address, B256, Bytes},
    sol_types::{SolError, SolInterface},
    transports::{RpcError, TransportError, TransportErrorKind},
};
use joule_contracts::{DataCommittee, Rollup, VerifierRouter, WrongDigest};
use thiserror::Error;

/// Whose fault an error is, and so what helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nobody's: a reorg or a connection. Asking again helps.
    Nobody,
    /// The configuration names the wrong chain or contracts.
    Configuration,
    /// The L1 node answers what no Ethereum node may.
    Node,
}

/// Why L1 gave no usable answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum L1Error {
    /// The node could not be reached, or answered with an error.
    #[error("L1 could not be asked: {0}")]
    Transport(#[from] TransportError),
    /// A call to a contract gave no result.
    #[error("a contract on L1 could not be read: {0}")]
    Contract(#[from] ContractError),
    /// The node does not know a block that it named itself: a reorg, or several nodes behind one address.
    #[error("L1 no longer knows block {number}")]
    BlockGone {
        /// The block's number.
        number: u64,
    },
    /// A URL that is none.
    #[error("{url} is no URL: {reason}")]
    Url {
        /// As configured.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Another chain than the one configured.
    #[error("the L1 node is on chain {got}, the network settles on chain {expected}")]
    WrongChain {
        /// As configured.
        expected: u64,
        /// What the node says.
        got: u64,
    },
    /// No contract where the rollup should be.
    #[error("there is no contract at {address} on chain {chain_id}: is this the rollup's address, and the right L1?")]
    NoRollup {
        /// Where it should be.
        address: Address,
        /// The chain asked.
        chain_id: u64,
    },
    /// A log or field that the rollup never writes.
    #[error("the node sent {what} that the rollup never wrote, in transaction {transaction}")]
    Malformed {
        /// What.
        what: &'static str,
        /// Where it claims to be from.
        transaction: B256,
    },
    /// A state root that is no digest.
    #[error(transparent)]
    Digest(#[from] WrongDigest),
    /// More batches wait on L1 than the contract lets wait.
    #[error("L1 says that {got} batches wait, the contract allows {most}")]
    TooManyPending {
        /// The contract's bound.
        most: u64,
        /// What the node says.
        got: u64,
    },
}

impl L1Error {
    /// Who is to blame.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Transport(_) | Self::Contract(_) | Self::BlockGone { .. } => Fault::Nobody,
            Self::Url { .. } | Self::WrongChain { .. } | Self::NoRollup { .. } => Fault::Configuration,
            Self::Malformed { .. } | Self::Digest(_) | Self::TooManyPending { .. } => Fault::Node,
        }
    }
}

/// A contract's refusal of a transaction, found before it was sent or signed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct Refusal {
    /// What the contract returned.
    pub data: Bytes,
    /// The custom error with its values, or the node's words.
    pub reason: String,
}

impl Refusal {
    /// Reads a refusal from the node's error; `None` if the node failed rather than the call.
    pub fn from_transport(error: &TransportError) -> Option<Self> {
        let RpcError::ErrorResp(payload) = error else { return None };
        let data = payload.as_revert_data();
        if data.is_none() && !payload.message.contains("revert") {
            return None;
        }
        let data = data.unwrap_or_default();
        let reason = Self::words(&data).unwrap_or_else(|| payload.message.to_string());
        Some(Self { data, reason })
    }

    fn words(data: &[u8]) -> Option<String> {
        if let Ok(error) = Rollup::RollupErrors::abi_decode(data) {
            return Some(format!("{error:?}"));
        }
        if let Ok(error) = DataCommittee::DataCommitteeErrors::abi_decode(data) {
            return Some(format!("{error:?}"));
        }
        VerifierRouter::VerifierRouterErrors::abi_decode(data).ok().map(|error| format!("{error:?}"))
    }

    /// Whether it is the custom error `E`.
    pub fn is<E: SolError>(&self) -> bool {
        self.data.starts_with(&E::SELECTOR)
    }
}

/// What the node said, if it was reached and answered with an error.
pub(crate) fn message(error: &RpcError<TransportErrorKind>) -> Option<&str> {
    match error {
        RpcError::ErrorResp(payload) => Some(&payload.message),
        _ => None,
    }
}
