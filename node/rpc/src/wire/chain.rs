//! The chain as a whole: genesis, batches, and where a node, the committee and provers stand.

use alloy::primitives::{Address, B256, Bytes};
use joule_protocol as protocol;
use serde::{Deserialize, Serialize};

use super::{Checkpoint, address_of, hash_of};

/// How far a batch has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BatchStage {
    /// Closed here, not on L1.
    Sealed,
    /// Its data is certified or on L1, its commit is not.
    Published,
    /// Committed on L1.
    Committed,
    /// Proven on L1.
    Proven,
    /// Executed on L1: final.
    Executed,
}

/// A batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Batch {
    /// From 1.
    #[serde(with = "alloy::serde::quantity")]
    pub number: u64,
    /// How far it has come.
    pub stage: BatchStage,
    /// First block.
    #[serde(with = "alloy::serde::quantity")]
    pub first_block: u64,
    /// Last block.
    #[serde(with = "alloy::serde::quantity")]
    pub last_block: u64,
    /// Bytes of its data over all blocks.
    #[serde(with = "alloy::serde::quantity")]
    pub data_bytes: u64,
    /// Hash of the checkpoint it starts from.
    pub parent_checkpoint: B256,
    /// Where it leads.
    pub checkpoint: Checkpoint,
    /// Hash of that.
    pub checkpoint_hash: B256,
    /// The L1 transaction that brought it to its stage; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub l1_transaction: Option<B256>,
}

/// Where the contracts are on L1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct L1Contracts {
    /// `Rollup`.
    pub rollup: Address,
    /// `Bridge`.
    pub bridge: Address,
    /// `Escape`.
    pub escape: Address,
    /// `DataCommittee`.
    pub committee: Address,
}

/// What is fixed when the chain starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Genesis {
    /// Hash of the configuration, the salt of every EIP-712 domain.
    pub id: B256,
    /// The L2 chain id.
    #[serde(with = "alloy::serde::quantity")]
    pub chain_id: u64,
    /// The L1 that settles it.
    #[serde(with = "alloy::serde::quantity")]
    pub l1_chain_id: u64,
    /// The base token on L1; zero for ETH.
    pub base_token: Address,
    /// Who gets the fees.
    pub fee_recipient: Address,
    /// Highest base fee a block may name.
    #[serde(with = "alloy::serde::quantity")]
    pub base_fee_max: u64,
    /// Seconds after a job's deadline before it may expire.
    #[serde(with = "alloy::serde::quantity")]
    pub grace_seconds: u64,
    /// Seconds between closing and finalising a channel.
    #[serde(with = "alloy::serde::quantity")]
    pub channel_close_seconds: u64,
    /// Unix seconds.
    #[serde(with = "alloy::serde::quantity")]
    pub timestamp: u64,
    /// What makes it differ from another chain with the same numbers.
    pub salt: B256,
    /// Where the contracts are; absent for a chain that is not settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contracts: Option<L1Contracts>,
}

impl Genesis {
    /// From the configuration and where the contracts are.
    pub fn new(genesis: &protocol::Genesis, contracts: Option<L1Contracts>) -> Self {
        Self {
            id: hash_of(genesis.id::<protocol::Native>()),
            chain_id: genesis.chain_id,
            l1_chain_id: genesis.l1_chain_id,
            base_token: address_of(genesis.base_token),
            fee_recipient: address_of(genesis.fee_recipient),
            base_fee_max: genesis.base_fee_max,
            grace_seconds: genesis.grace_seconds,
            channel_close_seconds: genesis.channel_close_seconds,
            timestamp: genesis.timestamp,
            salt: hash_of(genesis.salt),
            contracts,
        }
    }
}

/// Progress of catching up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SyncStatus {
    /// Where this run began.
    #[serde(with = "alloy::serde::quantity")]
    pub starting_block: u64,
    /// Where it is.
    #[serde(with = "alloy::serde::quantity")]
    pub current_block: u64,
    /// Where it goes.
    #[serde(with = "alloy::serde::quantity")]
    pub highest_block: u64,
}

/// How data reaches L1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DataMode {
    /// The committee certifies it.
    Certified,
    /// It goes on L1 itself.
    OnL1,
}

/// A member of the committee as this node last saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommitteeMember {
    /// The key it signs with, as the contract names it.
    pub key: Bytes,
    /// Whether its last answer came in time and verified.
    pub is_healthy: bool,
    /// The last batch it signed; absent if none.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "alloy::serde::quantity::opt")]
    pub last_signed_batch: Option<u64>,
}

/// The committee as this node last saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommitteeStatus {
    /// Hash of the keyset in force.
    pub keyset_hash: B256,
    /// Signatures a certificate needs.
    pub quorum: u32,
    /// How data reaches L1 now.
    pub mode: DataMode,
    /// The members, in the keyset's order.
    pub members: Vec<CommitteeMember>,
}

/// The prover network as this node last saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProverStatus {
    /// Provers connected.
    pub provers: u32,
    /// Tasks that wait for a prover.
    pub tasks_waiting: u32,
    /// Tasks that a prover works on.
    pub tasks_leased: u32,
    /// The last batch with a whole proof; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "alloy::serde::quantity::opt")]
    pub last_proven_batch: Option<u64>,
}
