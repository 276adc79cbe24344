//! Compute receipts and withdrawals, with what shows them to others.

use alloy::primitives::{Address, B256, Bytes};
use joule_protocol as protocol;
use serde::{Deserialize, Serialize};

use super::{StateProof, address_of, hash_of, protocol_address, protocol_hash};

/// A worker's signed statement of what it ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ComputeReceipt {
    /// Who posted the job.
    pub client: Address,
    /// The nonce of the posting transaction.
    #[serde(with = "alloy::serde::quantity")]
    pub client_nonce: u64,
    /// The key that signs.
    pub device: Address,
    /// Commitment to weights and architecture.
    pub model: B256,
    /// Container or kernel build that ran it.
    pub runtime: B256,
    /// Hash of the input.
    pub input_hash: B256,
    /// Hash of the output.
    pub output_hash: B256,
    /// What is metered.
    #[serde(with = "alloy::serde::quantity")]
    pub units: u64,
    /// Price of one unit.
    #[serde(with = "alloy::serde::quantity")]
    pub unit_price: u128,
    /// Unix seconds.
    #[serde(with = "alloy::serde::quantity")]
    pub started_at: u64,
    /// Unix seconds.
    #[serde(with = "alloy::serde::quantity")]
    pub finished_at: u64,
    /// How the work is attested.
    pub tier: u8,
    /// Commitment to the evidence.
    pub evidence: B256,
}

impl From<&protocol::ComputeReceipt> for ComputeReceipt {
    fn from(receipt: &protocol::ComputeReceipt) -> Self {
        Self {
            client: address_of(receipt.client),
            client_nonce: receipt.client_nonce,
            device: address_of(receipt.device),
            model: hash_of(receipt.model),
            runtime: hash_of(receipt.runtime),
            input_hash: hash_of(receipt.input_hash),
            output_hash: hash_of(receipt.output_hash),
            units: receipt.units,
            unit_price: receipt.unit_price,
            started_at: receipt.started_at,
            finished_at: receipt.finished_at,
            tier: receipt.tier,
            evidence: hash_of(receipt.evidence),
        }
    }
}

impl From<&ComputeReceipt> for protocol::ComputeReceipt {
    fn from(receipt: &ComputeReceipt) -> Self {
        Self {
            client: protocol_address(receipt.client),
            client_nonce: receipt.client_nonce,
            device: protocol_address(receipt.device),
            model: protocol_hash(receipt.model),
            runtime: protocol_hash(receipt.runtime),
            input_hash: protocol_hash(receipt.input_hash),
            output_hash: protocol_hash(receipt.output_hash),
            units: receipt.units,
            unit_price: receipt.unit_price,
            started_at: receipt.started_at,
            finished_at: receipt.finished_at,
            tier: receipt.tier,
            evidence: protocol_hash(receipt.evidence),
        }
    }
}

/// Names the compute receipt that is asked for: by its job, or by the transaction that settled it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum ReceiptId {
    /// The settling transaction.
    Transaction {
        /// Its hash.
        #[serde(rename = "transactionHash")]
        transaction_hash: B256,
    },
    /// The job.
    Job {
        /// Who posted it.
        client: Address,
        /// With which nonce.
        #[serde(rename = "clientNonce", with = "alloy::serde::quantity")]
        client_nonce: u64,
    },
}

/// A compute receipt with everything that shows that it was paid: signature, job leaf, path, checkpoint. It verifies with nothing else but the
/// checkpoint hash that L1 stores.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReceiptBundle {
    /// The L2 chain id.
    #[serde(with = "alloy::serde::quantity")]
    pub chain_id: u64,
    /// Hash of the genesis configuration, the salt of the signature's domain.
    pub genesis_id: B256,
    /// The receipt.
    pub receipt: ComputeReceipt,
    /// The device's signature, r ‖ s ‖ v.
    pub signature: Bytes,
    /// The transaction that settled it.
    pub transaction_hash: B256,
    /// The block it is in.
    #[serde(with = "alloy::serde::quantity")]
    pub block_number: u64,
    /// Proof of the job, which stores the receipt's digest.
    pub job: StateProof,
    /// Whether `job.checkpoint` is executed on L1, as this node sees it.
    pub is_executed: bool,
}

/// A withdrawal with what `Bridge.claim` takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WithdrawalProof {
    /// The batch whose withdrawals it is among.
    #[serde(with = "alloy::serde::quantity")]
    pub batch_number: u64,
    /// Counts withdrawals from 0.
    #[serde(with = "alloy::serde::quantity")]
    pub index: u64,
    /// Who is paid on L1.
    pub recipient: Address,
    /// How much.
    #[serde(with = "alloy::serde::quantity")]
    pub amount: u128,
    /// Where it is among the batch's withdrawals.
    #[serde(with = "alloy::serde::quantity")]
    pub position: u64,
    /// Siblings from the bottom.
    pub siblings: Vec<B256>,
    /// Root that L1 stores when the batch is executed.
    pub root: B256,
    /// Whether it can be claimed: the batch is executed.
    pub is_claimable: bool,
}
