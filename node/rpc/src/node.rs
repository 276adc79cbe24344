//! What the server needs of a running node.

use std::future::Future;

use joule_protocol::{Address, Genesis, Hash, Refusal};
use joule_storage::Database;
use thiserror::Error;
use tokio::sync::broadcast;

use crate::wire::{CommitteeStatus, L1Contracts, ProverStatus, SyncStatus};

/// Why the node did not take a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SubmitError {
    /// The kernel would refuse it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The pool or a block holds it already.
    #[error("already known: transaction {hash}")]
    AlreadyKnown {
        /// Its hash.
        hash: Hash,
    },
    /// The pool holds another transaction with this nonce, and this one does not pay enough more to take its place.
    #[error("replacement transaction underpriced: maxFeePerGas is {got}, replacing takes at least {need}")]
    Underpriced {
        /// Its highest fee.
        got: u128,
        /// The least that replaces.
        need: u128,
    },
    /// The nonce is too far ahead of the account to be kept waiting.
    #[error("nonce too high: the transaction has {got}, the account is at {expected}, and at most {limit} may wait")]
    NonceTooFar {
        /// Nonce in the transaction.
        got: u64,
        /// The account's nonce.
        expected: u64,
        /// How far ahead one may be.
        limit: u64,
    },
    /// The sender has too many transactions waiting.
    #[error("the sender has {limit} transactions waiting, which is the limit; wait for a block")]
    SenderFull {
        /// The limit.
        limit: usize,
    },
    /// Together with what waits before it, the sender cannot pay for it.
    #[error("insufficient funds: with the sender's waiting transactions this one takes {need}, the account has {have}")]
    Unaffordable {
        /// The balance.
        have: u128,
        /// What all of them take.
        need: u128,
    },
    /// The pool is full of transactions that pay as much.
    #[error("txpool is full: it holds {limit} transactions; try again after the next block")]
    PoolFull {
        /// The limit.
        limit: usize,
    },
    /// The sequencer, to which this node passed it on, did not take it.
    #[error("{message}")]
    Upstream {
        /// Its error's code.
        code: i32,
        /// Its sentence.
        message: String,
    },
    /// The node takes no transactions now: it drains, stops, follows, or has lost its disk.
    #[error("the node takes no transactions now: {reason}")]
    Unavailable {
        /// Why.
        reason: String,
    },
}

/// Something happened that subscribers may want to hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeEvent {
    /// A block is durable: a view taken now holds it.
    Block {
        /// Its number.
        number: u64,
    },
    /// The blocks behind this one were undone; others will come in their place.
    Reverted {
        /// The last block that is left.
        to: u64,
    },
    /// The pool took a transaction.
    Pending {
        /// Its hash.
        hash: Hash,
    },
}

/// A running node as the server sees it. No method blocks for longer than a lock takes, but for [`Node::submit`], which waits for the disk.
pub trait Node: Send + Sync + 'static {
    /// The node's database; the server takes one view of it per request.
    fn database(&self) -> &Database;

    /// The chain's genesis.
    fn genesis(&self) -> &Genesis;

    /// Where the contracts are on L1; `None` for a chain that is not settled.
    fn l1_contracts(&self) -> Option<L1Contracts>;

    /// Name and version, for `web3_clientVersion`.
    fn client_version(&self) -> String;

    /// The base fee of the next block.
    fn base_fee(&self) -> u64;

    /// The timestamp that a block sealed now would have, unix seconds; what dry runs on the latest state take for the time.
    fn next_timestamp(&self) -> u64;

    /// Takes a signed transaction and returns its hash once it is durable.
    fn submit(&self, bytes: Vec<u8>) -> impl Future<Output = Result<Hash, SubmitError>> + Send;

    /// The bytes of a transaction that waits in the pool.
    fn pending_transaction(&self, hash: &Hash) -> Option<Vec<u8>>;

    /// The nonce after the sender's last transaction that waits without a gap; `None` if none waits.
    fn pending_nonce(&self, sender: &Address) -> Option<u64>;

    /// Blocks and pool events from now on. A receiver that falls behind is told so and loses events.
    fn subscribe(&self) -> broadcast::Receiver<NodeEvent>;

    /// Progress of catching up; `None` when the node is at the head.
    fn sync_status(&self) -> Option<SyncStatus>;

    /// Peers connected.
    fn peer_count(&self) -> u32;

    /// The committee as this node last saw it; `None` if it gathers no certificates.
    fn committee_status(&self) -> Option<CommitteeStatus>;

    /// The prover network as this node last saw it; `None` if it hands out no tasks.
    fn prover_status(&self) -> Option<ProverStatus>;
}
