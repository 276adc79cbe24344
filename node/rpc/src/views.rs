//! Blocks, transactions, receipts and logs as Ethereum clients expect them.
//!
//! A block shows its priority requests first and its transactions after them. A request is no Ethereum transaction; it is shown as a legacy one with the
//! L1 caller as sender, no price, and a signature of zeros, because that is what every client can read.

use alloy::{
    consensus::{
        Eip658Value, Header as ConsensusHeader, Receipt, ReceiptEnvelope, ReceiptWithBloom, Signed, TxEnvelope,
        TxLegacy, constants::EMPTY_OMMER_ROOT_HASH, transaction::Recovered,
    },
    eips::eip2718::Decodable2718,
    primitives::{Address, B256, Bloom, Bytes, Log as PrimitiveLog, LogData, Signature, U256},
    rpc::types::{Block, BlockTransactions, Header, Log, Transaction, TransactionReceipt},
};
use joule_kernel::{Log as KernelLog, recover_address};
use joule_protocol::{
    Call, CallKind, Checkpoint, Envelope, Native, PriorityKind, PriorityRequest, SystemContract, gas_of,
    limits::BLOCK_GAS_MAX,
};
use joule_storage::{BlockRecord, LogEntry, LogSource, OutcomeRecord};
use serde::Serialize;

use crate::{
    RpcError,
    wire::{address_of, hash_of},
};

/// The first 24 bytes of a request's name among transaction hashes; its index in L1's queue follows. No transaction has such a hash, short of a preimage of it.
const REQUEST_HASH_PREFIX: &[u8; 24] = b"Joule priority request 1";

/// Requests are shown with nonces from here on, which no wallet reaches: clients that look for a transaction's replacement by sender and nonce must not find
/// a request. Small enough for clients that hold nonces in floating point.
const REQUEST_NONCE_FIRST: u64 = 1 << 52;

/// The name of priority request `index` among transaction hashes.
pub(crate) fn request_hash(index: u64) -> B256 {
    let mut bytes = [0; 32];
    bytes[..24].copy_from_slice(REQUEST_HASH_PREFIX);
    bytes[24..].copy_from_slice(&index.to_be_bytes());
    B256::new(bytes)
}

/// The inverse of [`request_hash`].
pub(crate) fn request_index(hash: &B256) -> Option<u64> {
    let index = hash.0.strip_prefix(REQUEST_HASH_PREFIX)?;
    Some(u64::from_be_bytes(index.try_into().ok()?))
}

/// A transaction's receipt, and why it did nothing, if it did nothing.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReceiptView {
    #[serde(flatten)]
    pub(crate) receipt: TransactionReceipt,
    /// The custom error, ABI-encoded, as `eth_call` would have shown it.
    #[serde(skip_serializing_if = "Option::is_none")]
    revert_reason: Option<Bytes>,
    /// The same as a sentence with its numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    revert_message: Option<String>,
}

/// What a priority request does, as a transaction would say it.
struct RequestAction {
    from: joule_protocol::Address,
    to: joule_protocol::Address,
    value: u128,
    data: Vec<u8>,
    gas: u64,
}

impl RequestAction {
    fn decode(bytes: &[u8]) -> Result<Self, RpcError> {
        let request = PriorityRequest::decode(bytes)
            .map_err(|error| RpcError::Internal(format!("a priority request in a block is malformed: {error}")))?;
        let PriorityRequest { kind, sender: from, to, amount: value, data, .. } = request;
        let gas_of_call = |data: &[u8]| SystemContract::at(&to).map_or(CallKind::Transfer, |at| CallKind::of(at, data));
        Ok(if kind == PriorityKind::ForcedWithdrawal as u8 {
            // Shown as the call of the bridge that it amounts to.
            let (bridge, data) = Call::Withdraw { l1_recipient: to, amount: value }.encode();
            Self { from, to: bridge, value, data, gas: gas_of(CallKind::Transfer) }
        } else if kind == PriorityKind::ForcedCall as u8 {
            let gas = gas_of(gas_of_call(&data));
            Self { from, to, value, data, gas }
        } else {
            Self { from, to, value, data, gas: gas_of(CallKind::Transfer) }
        })
    }
}

/// A block with what clients ask of it. Positions count requests first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockView<'a> {
    record: &'a BlockRecord,
}

impl<'a> BlockView<'a> {
    pub(crate) fn new(record: &'a BlockRecord) -> Self {
        Self { record }
    }

    fn request_count(&self) -> usize {
        self.record.requests.len()
    }

    /// Requests and transactions together.
    pub(crate) fn len(&self) -> usize {
        self.request_count() + self.record.transactions.len()
    }

    /// The place of a transaction, given its place among the block's transactions.
    pub(crate) fn position_of_transaction(&self, index: u32) -> usize {
        self.request_count() + index as usize
    }

    /// The index in L1's queue of the block's first request.
    pub(crate) fn first_request(&self) -> u64 {
        self.record.checkpoint.priority_count.saturating_sub(self.request_count() as u64)
    }

    fn hash(&self) -> B256 {
        hash_of(self.record.hash())
    }

    fn number(&self) -> u64 {
        self.record.header.number
    }

    /// The hash of what is at a position.
    pub(crate) fn hash_at(&self, position: usize) -> Option<B256> {
        match position.checked_sub(self.request_count()) {
            None => Some(request_hash(self.first_request() + position as u64)),
            Some(index) => self.record.transactions.get(index).map(|transaction| hash_of(transaction.hash)),
        }
    }

    fn hashes(&self) -> Vec<B256> {
        (0..self.len()).filter_map(|position| self.hash_at(position)).collect()
    }

    fn gas_at(&self, position: usize) -> Result<u64, RpcError> {
        match position.checked_sub(self.request_count()) {
            None => Ok(RequestAction::decode(&self.record.items.requests[position])?.gas),
            Some(index) => Ok(self.record.transactions[index].gas),
        }
    }

    fn logs_at(&self, position: usize) -> &'a [KernelLog] {
        match position.checked_sub(self.request_count()) {
            None => &self.record.requests[position].logs,
            Some(index) => &self.record.transactions[index].logs,
        }
    }

    /// Gas of everything in the block.
    pub(crate) fn gas_used(&self) -> Result<u64, RpcError> {
        (0..self.len()).map(|position| self.gas_at(position)).sum()
    }

    /// The transaction at a position; `None` behind the last.
    pub(crate) fn transaction(&self, position: usize) -> Result<Option<Transaction>, RpcError> {
        let Some(hash) = self.hash_at(position) else { return Ok(None) };
        let (inner, price) = match position.checked_sub(self.request_count()) {
            None => (
                request_envelope(&self.record.items.requests[position], hash, self.first_request() + position as u64)?,
                0,
            ),
            Some(index) => {
                let sender = address_of(self.record.transactions[index].sender);
                let envelope = decode_envelope(&self.record.items.transactions[index])?;
                (Recovered::new_unchecked(envelope, sender), self.record.header.base_fee.into())
            }
        };
        Ok(Some(Transaction {
            inner,
            block_hash: Some(self.hash()),
            block_number: Some(self.number()),
            transaction_index: Some(position as u64),
            effective_gas_price: Some(price),
            block_timestamp: Some(self.record.header.timestamp),
        }))
    }

    /// The receipt at a position; `None` behind the last.
    pub(crate) fn receipt(&self, position: usize) -> Result<Option<ReceiptView>, RpcError> {
        let Some(hash) = self.hash_at(position) else { return Ok(None) };
        let (outcome, from, to, price, is_legacy) = match position.checked_sub(self.request_count()) {
            None => {
                let action = RequestAction::decode(&self.record.items.requests[position])?;
                (&self.record.requests[position].outcome, action.from, action.to, 0, true)
            }
            Some(index) => {
                let bytes = &self.record.items.transactions[index];
                let envelope = Envelope::decode(bytes).map_err(|refusal| {
                    RpcError::Internal(format!("a block holds a malformed transaction: {refusal}"))
                })?;
                let done = &self.record.transactions[index];
                // The first byte of a legacy transaction is that of an RLP list.
                (&done.outcome, done.sender, envelope.to, self.record.header.base_fee.into(), bytes[0] >= 0xc0)
            }
        };
        let gas_before: u64 = (0..position).map(|before| self.gas_at(before)).sum::<Result<_, _>>()?;
        let gas_used = self.gas_at(position)?;
        let first_log: usize = (0..position).map(|before| self.logs_at(before).len()).sum();
        let logs: Vec<Log> = (first_log as u64..)
            .zip(self.logs_at(position))
            .map(|(index, log)| self.log(log, hash, position as u64, index))
            .collect();
        let logs_bloom = bloom(self.logs_at(position));
        let receipt = ReceiptWithBloom {
            receipt: Receipt {
                status: Eip658Value::Eip658(outcome.is_applied()),
                cumulative_gas_used: gas_before + gas_used,
                logs,
            },
            logs_bloom,
        };
        let (revert_reason, revert_message) = match outcome {
            OutcomeRecord::Applied => (None, None),
            OutcomeRecord::Rejected { revert_data, sentence, .. } => {
                (Some(Bytes::copy_from_slice(revert_data)), Some(sentence.clone()))
            }
        };
        let receipt = TransactionReceipt {
            inner: if is_legacy { ReceiptEnvelope::Legacy(receipt) } else { ReceiptEnvelope::Eip1559(receipt) },
            transaction_hash: hash,
            transaction_index: Some(position as u64),
            block_hash: Some(self.hash()),
            block_number: Some(self.number()),
            gas_used,
            effective_gas_price: price,
            blob_gas_used: None,
            blob_gas_price: None,
            from: address_of(from),
            to: Some(address_of(to)),
            contract_address: None,
        };
        Ok(Some(ReceiptView { receipt, revert_reason, revert_message }))
    }

    /// All receipts.
    pub(crate) fn receipts(&self) -> Result<Vec<ReceiptView>, RpcError> {
        (0..self.len()).filter_map(|position| self.receipt(position).transpose()).collect()
    }

    fn log(&self, log: &KernelLog, transaction_hash: B256, transaction_index: u64, log_index: u64) -> Log {
        Log {
            inner: primitive_log(log),
            block_hash: Some(self.hash()),
            block_number: Some(self.number()),
            block_timestamp: Some(self.record.header.timestamp),
            transaction_hash: Some(transaction_hash),
            transaction_index: Some(transaction_index),
            log_index: Some(log_index),
            removed: false,
        }
    }

    /// All logs, in order.
    pub(crate) fn logs(&self) -> Vec<Log> {
        let mut logs = Vec::new();
        for (position, hash) in self.hashes().into_iter().enumerate() {
            for log in self.logs_at(position) {
                logs.push(self.log(log, hash, position as u64, logs.len() as u64));
            }
        }
        logs
    }

    /// A log that storage found in this block.
    pub(crate) fn log_entry(&self, entry: &LogEntry) -> Log {
        let position = match entry.source {
            LogSource::Request { index } => index as usize,
            LogSource::Transaction { index, .. } => self.position_of_transaction(index),
        };
        let hash = self.hash_at(position).unwrap_or_default();
        self.log(&entry.log, hash, position as u64, entry.index.into())
    }

    /// The header.
    pub(crate) fn header(&self, fee_recipient: Address) -> Result<Header, RpcError> {
        let header = &self.record.header;
        let logs = (0..self.len()).flat_map(|position| self.logs_at(position));
        let inner = ConsensusHeader {
            parent_hash: hash_of(header.parent),
            beneficiary: fee_recipient,
            state_root: hash_of(header.state_root.to_hash()),
            transactions_root: hash_of(header.transactions_root),
            receipts_root: hash_of(header.receipts_root),
            logs_bloom: bloom(logs),
            number: header.number,
            gas_used: self.gas_used()?,
            timestamp: header.timestamp,
            ..base_header(header.base_fee)
        };
        Ok(rpc_header(inner, self.hash(), self.record.chunk.len()))
    }

    /// The block, with whole transactions or their hashes.
    pub(crate) fn block(&self, fee_recipient: Address, is_full: bool) -> Result<Block, RpcError> {
        let transactions = if is_full {
            let all = (0..self.len()).filter_map(|position| self.transaction(position).transpose());
            BlockTransactions::Full(all.collect::<Result<_, _>>()?)
        } else {
            BlockTransactions::Hashes(self.hashes())
        };
        Ok(Block::new(self.header(fee_recipient)?, transactions))
    }
}

/// The genesis as a block: without transactions, under the genesis id as its hash.
pub(crate) fn genesis_block(checkpoint: &Checkpoint, fee_recipient: Address, is_full: bool) -> Block {
    let inner = ConsensusHeader {
        beneficiary: fee_recipient,
        state_root: hash_of(checkpoint.state_root.to_hash()),
        timestamp: checkpoint.timestamp,
        ..base_header(0)
    };
    let transactions =
        if is_full { BlockTransactions::Full(Vec::new()) } else { BlockTransactions::Hashes(Vec::new()) };
    Block::new(rpc_header(inner, hash_of(checkpoint.block_hash), 0), transactions)
}

/// What all headers share: no uncles, no difficulty, no seal.
fn base_header(base_fee: u64) -> ConsensusHeader {
    ConsensusHeader {
        ommers_hash: EMPTY_OMMER_ROOT_HASH,
        transactions_root: B256::ZERO,
        receipts_root: B256::ZERO,
        gas_limit: BLOCK_GAS_MAX,
        base_fee_per_gas: Some(base_fee),
        ..ConsensusHeader::default()
    }
}

fn rpc_header(inner: ConsensusHeader, hash: B256, size_bytes: usize) -> Header {
    Header { hash, inner, total_difficulty: Some(U256::ZERO), size: Some(U256::from(size_bytes)) }
}

fn primitive_log(log: &KernelLog) -> PrimitiveLog {
    let topics = log.topics.iter().map(|&topic| hash_of(topic)).collect();
    PrimitiveLog { address: address_of(log.address), data: LogData::new_unchecked(topics, log.data.clone().into()) }
}

fn bloom<'a>(logs: impl IntoIterator<Item = &'a KernelLog>) -> Bloom {
    Bloom::new(joule_storage::Bloom::of(logs).0)
}

fn decode_envelope(bytes: &[u8]) -> Result<TxEnvelope, RpcError> {
    TxEnvelope::decode_2718(&mut &bytes[..])
        .map_err(|error| RpcError::Internal(format!("a transaction that the kernel took does not decode: {error}")))
}

fn request_envelope(bytes: &[u8], hash: B256, index: u64) -> Result<Recovered<TxEnvelope>, RpcError> {
    let action = RequestAction::decode(bytes)?;
    let transaction = TxLegacy {
        chain_id: None,
        nonce: REQUEST_NONCE_FIRST.saturating_add(index),
        gas_price: 0,
        gas_limit: action.gas,
        to: address_of(action.to).into(),
        value: U256::from(action.value),
        input: action.data.into(),
    };
    let signature = Signature::new(U256::ZERO, U256::ZERO, false);
    let envelope = TxEnvelope::Legacy(Signed::new_unchecked(transaction, signature, hash));
    Ok(Recovered::new_unchecked(envelope, address_of(action.from)))
}

/// A transaction that waits in the pool.
pub(crate) fn pending_transaction(bytes: &[u8]) -> Result<Transaction, RpcError> {
    let malformed = || RpcError::Internal("the pool holds a transaction that does not decode".into());
    let envelope = Envelope::decode(bytes).map_err(|_| malformed())?;
    let sender = recover_address::<Native>(&envelope.signing_hash::<Native>(), &envelope.signature);
    Ok(Transaction {
        inner: Recovered::new_unchecked(decode_envelope(bytes)?, address_of(sender.ok_or_else(malformed)?)),
        block_hash: None,
        block_number: None,
        transaction_index: None,
        effective_gas_price: None,
        block_timestamp: None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn request_hashes_round_trip(index in any::<u64>()) {
            prop_assert_eq!(request_index(&request_hash(index)), Some(index));
        }

        #[test]
        fn other_hashes_name_no_request(bytes in any::<[u8; 32]>()) {
            prop_assert_eq!(request_index(&B256::new(bytes)), None);
        }

        #[test]
        fn any_request_bytes_are_shown_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let is_request = PriorityRequest::decode(&bytes).is_ok();
            prop_assert_eq!(request_envelope(&bytes, B256::ZERO, 0).is_ok(), is_request);
        }

        #[test]
        fn no_pool_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(pending_transaction(&bytes).is_err());
        }
    }
}
