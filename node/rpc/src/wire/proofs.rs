//! Checkpoints, and what is shown against them.

use alloy::primitives::B256;
use joule_protocol as protocol;
use serde::{Deserialize, Serialize};

use super::{Object, WireError, digest, hash_of, protocol_hash};

/// A point of the chain's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Checkpoint {
    /// Version of the rules that led here.
    pub protocol_version: u32,
    /// Root of the state tree.
    pub state_root: B256,
    /// Number of the last block.
    #[serde(with = "alloy::serde::quantity")]
    pub block_number: u64,
    /// Its hash.
    pub block_hash: B256,
    /// Its time, unix seconds.
    #[serde(with = "alloy::serde::quantity")]
    pub timestamp: u64,
    /// Priority requests consumed.
    #[serde(with = "alloy::serde::quantity")]
    pub priority_count: u64,
    /// Accumulator over them.
    pub priority_acc: B256,
    /// Accumulator over withdrawals.
    pub message_acc: B256,
    /// Accumulator over batch data.
    pub data_acc: B256,
}

impl From<&protocol::Checkpoint> for Checkpoint {
    fn from(checkpoint: &protocol::Checkpoint) -> Self {
        Self {
            protocol_version: checkpoint.protocol_version,
            state_root: hash_of(checkpoint.state_root.to_hash()),
            block_number: checkpoint.block_number,
            block_hash: hash_of(checkpoint.block_hash),
            timestamp: checkpoint.timestamp,
            priority_count: checkpoint.priority_count,
            priority_acc: hash_of(checkpoint.priority_acc.0),
            message_acc: hash_of(checkpoint.message_acc.0),
            data_acc: hash_of(checkpoint.data_acc.0),
        }
    }
}

impl TryFrom<&Checkpoint> for protocol::Checkpoint {
    type Error = WireError;

    fn try_from(checkpoint: &Checkpoint) -> Result<Self, WireError> {
        Ok(Self {
            protocol_version: checkpoint.protocol_version,
            state_root: digest("stateRoot", checkpoint.state_root)?,
            block_number: checkpoint.block_number,
            block_hash: protocol_hash(checkpoint.block_hash),
            timestamp: checkpoint.timestamp,
            priority_count: checkpoint.priority_count,
            priority_acc: protocol::Accumulator(protocol_hash(checkpoint.priority_acc)),
            message_acc: protocol::Accumulator(protocol_hash(checkpoint.message_acc)),
            data_acc: protocol::Accumulator(protocol_hash(checkpoint.data_acc)),
        })
    }
}

/// A leaf's place in the tree, as the escape contract takes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Opening {
    /// Position of the leaf.
    pub position: u32,
    /// Its next key in the sorted list.
    pub next_key: B256,
    /// Siblings from the bottom to the root.
    pub siblings: Vec<B256>,
}

impl Opening {
    /// The siblings as digests.
    ///
    /// # Errors
    /// `PathLength`, and `Digest` for a sibling that is none.
    pub fn digests(&self) -> Result<[protocol::Digest; protocol::limits::TREE_DEPTH], WireError> {
        let digests = self.siblings.iter().map(|&sibling| digest("sibling", sibling)).collect::<Result<Vec<_>, _>>()?;
        digests
            .try_into()
            .map_err(|list: Vec<_>| WireError::PathLength { got: list.len(), expected: protocol::limits::TREE_DEPTH })
    }
}

/// What an object is, or that there is none, with the path that shows it. Of an object that exists, `object` and `opening` are what the escape
/// contract takes once L1 has frozen at `checkpoint`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StateProof {
    /// The key asked for.
    pub key: B256,
    /// The key of the proven leaf: the same, or of an absent object the greatest below it.
    pub leaf_key: B256,
    /// What the leaf holds; `null` for the sentinel.
    pub object: Option<Object>,
    /// Where it is.
    pub opening: Opening,
    /// The checkpoint whose state root the path ends in.
    pub checkpoint: Checkpoint,
    /// Its hash, as L1 stores it.
    pub checkpoint_hash: B256,
}
