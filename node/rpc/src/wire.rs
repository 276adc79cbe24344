//! The types of `joule_`, as JSON: field names as in the Solidity interfaces, integers of 64 and 128 bits as `0x` quantities and smaller ones as numbers,
//! hashes and addresses as `0x` bytes.

use alloy::primitives::{Address, B256};
use joule_protocol as protocol;
use thiserror::Error;

mod chain;
mod listing;
mod objects;
mod proofs;
mod receipts;

pub use chain::{
    Batch, BatchStage, CommitteeMember, CommitteeStatus, DataMode, Genesis, L1Contracts, ProverStatus, SyncStatus,
};
pub use listing::{Cursor, Listed, Listing, Page};
pub use objects::{
    Account, Chain, Channel, ChannelStatus, Device, DeviceStatus, Job, JobStatus, Object, ObjectId, ObjectKind,
};
pub use proofs::{Checkpoint, Opening, StateProof};
pub use receipts::{ComputeReceipt, ReceiptBundle, ReceiptId, WithdrawalProof};

/// JSON that has the right shape and no meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WireError {
    /// A hash that must be a digest and is none.
    #[error("{field}: {source}")]
    Digest {
        /// The field.
        field: &'static str,
        /// Which word.
        source: protocol::NonCanonical,
    },
    /// An amount of 2^120 or more.
    #[error("{field} is {got}, which is not below 2^120")]
    Amount {
        /// The field.
        field: &'static str,
        /// The amount.
        got: u128,
    },
    /// A list of another length than the tree's depth.
    #[error("the path has {got} siblings, the state tree has {expected} levels")]
    PathLength {
        /// Siblings.
        got: usize,
        /// Levels.
        expected: usize,
    },
    /// A part larger than its whole.
    #[error("{field} is {part}, more than {whole}")]
    PartExceedsWhole {
        /// The part.
        field: &'static str,
        /// Its amount.
        part: u128,
        /// The whole's amount.
        whole: u128,
    },
    /// 65 bytes that are no signature in range.
    #[error("the signature must be r, s and v of 27 or 28, with s in the lower half")]
    Signature,
}

fn amount(field: &'static str, got: u128) -> Result<u128, WireError> {
    if got < protocol::limits::AMOUNT_MAX { Ok(got) } else { Err(WireError::Amount { field, got }) }
}

fn digest(field: &'static str, hash: B256) -> Result<protocol::Digest, WireError> {
    protocol::Digest::from_hash(protocol::Hash(hash.0)).map_err(|source| WireError::Digest { field, source })
}

/// An address of this project as alloy has it.
pub fn address_of(address: protocol::Address) -> Address {
    Address::new(address.0)
}

/// A hash of this project as alloy has it.
pub fn hash_of(hash: protocol::Hash) -> B256 {
    B256::new(hash.0)
}

/// An address of alloy as this project has it.
pub fn protocol_address(address: Address) -> protocol::Address {
    protocol::Address(address.into_array())
}

/// A hash of alloy as this project has it.
pub fn protocol_hash(hash: B256) -> protocol::Hash {
    protocol::Hash(hash.0)
}
