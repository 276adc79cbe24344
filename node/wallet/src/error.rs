//! What can go wrong, and how to put it right.

use std::path::PathBuf;

use alloy::{
    contract::Error as ContractError,
    primitives::{Address, B256},
    providers::PendingTransactionError,
    signers::local::LocalSignerError,
    transports::{RpcError, TransportErrorKind},
};
use joule_protocol::Fault;
use joule_rpc::{bundle::BundleError, wire::WireError};
use serde_json::{Value, json};
use thiserror::Error;

/// Why a command did not do what it was asked.
#[derive(Debug, Error)]
pub enum WalletError {
    /// No key.
    #[error("this command signs: name a key with --key FILE or --keystore FILE (`joule key new` makes one)")]
    NoKey,
    /// A key file that others can read.
    #[error("the key file {path} can be read by others (mode {mode:o}); run `chmod 600 {path}`")]
    KeyExposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A key file without a key.
    #[error("{path} holds no secret key: 32 bytes in hexadecimal are expected")]
    MalformedKey {
        /// The file.
        path: PathBuf,
    },
    /// A keystore that does not open.
    #[error("the keystore does not open: {0}; check the password in --password-file")]
    Keystore(#[from] LocalSignerError),
    /// A keystore without its password.
    #[error("the keystore needs its password: name a file with --password-file")]
    NoPassword,
    /// A file that cannot be read or written.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// A file that is not what it should be.
    #[error("{path} is no {what}: {error}")]
    MalformedFile {
        /// The file.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
        /// Where it is not.
        error: serde_json::Error,
    },
    /// A file that exists and would be overwritten.
    #[error("{path} exists already; name another file")]
    FileExists {
        /// The file.
        path: PathBuf,
    },
    /// An amount that is none.
    #[error("{text} is no amount: write 1.5 (tokens), 20gwei or 100wei")]
    MalformedAmount {
        /// What was written.
        text: String,
    },
    /// A deadline in the past, or one that cannot be.
    #[error("the clock of this machine cannot be read")]
    Clock,
    /// A node or L1 that answers with an error.
    #[error("{0}")]
    Refused(String),
    /// The connection.
    #[error("{url} cannot be asked: {error}; is the address right (--rpc, --l1-rpc) and does the node run?")]
    Unreachable {
        /// Where.
        url: String,
        /// What happened.
        error: String,
    },
    /// An address that is no URL.
    #[error("{text} is no URL")]
    MalformedUrl {
        /// What was written.
        text: String,
    },
    /// L1 commands without an L1.
    #[error("this command talks to L1: name a node of it with --l1-rpc URL")]
    NoL1,
    /// A transfer that is to be forced.
    #[error(
        "a transfer cannot be forced: L1 forwards calls of system contracts and withdrawals; force a withdrawal instead"
    )]
    NotForcible,
    /// A chain without contracts on L1.
    #[error("the node's chain has no contracts on L1")]
    NotSettled,
    /// A node of another network.
    #[error("the node's {field} is {got}, the network file says {expected}; this is another network")]
    OtherNetwork {
        /// What differs.
        field: &'static str,
        /// As the node says.
        got: String,
        /// As the file says.
        expected: String,
    },
    /// An L1 of another network.
    #[error("the L1 node is of chain {got}, this network settles on chain {expected}; check --l1-rpc")]
    OtherL1 {
        /// Its chain id.
        got: u64,
        /// The chain id expected.
        expected: u64,
    },
    /// A transaction that was included and did nothing.
    #[error("transaction {hash} was included and did nothing: {reason}")]
    Rejected {
        /// The transaction.
        hash: B256,
        /// Why.
        reason: String,
    },
    /// A transaction of L1 that reverted.
    #[error("L1 transaction {hash} reverted")]
    Reverted {
        /// The transaction.
        hash: B256,
    },
    /// Something that does not exist.
    #[error("{0}")]
    NotFound(String),
    /// A channel that cannot be closed once more.
    #[error("your channel {nonce} is closing or closed already")]
    NotOpen {
        /// The nonce it was opened with.
        nonce: u64,
    },
    /// A withdrawal that cannot be claimed yet.
    #[error("the withdrawal is in batch {batch}, which L1 has not executed; try again later")]
    NotClaimable {
        /// The batch.
        batch: u64,
    },
    /// A proof that does not hold.
    #[error("the node's proof does not hold: {0}")]
    Proof(#[from] BundleError),
    /// A proof of another state than the one that L1 has.
    #[error("the node proves checkpoint {got}, L1 has executed {expected}; ask a node that is up to date")]
    StaleProof {
        /// In the proof.
        got: B256,
        /// On L1.
        expected: B256,
    },
    /// A statement by somebody else.
    #[error("the statement must be signed by {expected}, the key is {got}")]
    WrongSigner {
        /// Who must sign.
        expected: Address,
        /// Whose key this is.
        got: Address,
    },
    /// A contract on L1 that refuses.
    #[error("L1 refuses: {0}")]
    Contract(#[from] ContractError),
    /// A transaction on L1 that was not seen in a block.
    #[error("L1 did not include the transaction: {0}")]
    Pending(#[from] PendingTransactionError),
}

impl WalletError {
    /// Who has to act.
    pub fn fault(&self) -> Fault {
        match self {
            Self::NotClaimable { .. } | Self::Unreachable { .. } | Self::StaleProof { .. } | Self::Pending(_) => {
                Fault::Nobody
            }
            Self::Proof(_) => Fault::Us,
            Self::NoKey
            | Self::KeyExposed { .. }
            | Self::MalformedKey { .. }
            | Self::Keystore(_)
            | Self::NoPassword
            | Self::File { .. }
            | Self::MalformedFile { .. }
            | Self::FileExists { .. }
            | Self::MalformedAmount { .. }
            | Self::Clock
            | Self::Refused(_)
            | Self::MalformedUrl { .. }
            | Self::NoL1
            | Self::NotForcible
            | Self::NotSettled
            | Self::OtherNetwork { .. }
            | Self::OtherL1 { .. }
            | Self::Rejected { .. }
            | Self::Reverted { .. }
            | Self::NotFound(_)
            | Self::NotOpen { .. }
            | Self::WrongSigner { .. }
            | Self::Contract(_) => Fault::Sender,
        }
    }

    /// The error for a machine.
    pub fn json(&self) -> Value {
        json!({ "error": { "message": self.to_string(), "fault": format!("{:?}", self.fault()) } })
    }

    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |error| Self::File { path, error }
    }

    /// An answer of a node: its own words if it has some, or why there was none.
    pub(crate) fn rpc(url: &str, error: RpcError<TransportErrorKind>) -> Self {
        match error.as_error_resp() {
            Some(payload) => Self::Refused(payload.message.to_string()),
            None => Self::Unreachable { url: url.to_owned(), error: error.to_string() },
        }
    }
}

impl From<WireError> for WalletError {
    fn from(error: WireError) -> Self {
        Self::Proof(error.into())
    }
}
