//! Blocks as they are kept, and their views for JSON-RPC.

use crate::transaction::SignedTransaction;
use alloy::{
    consensus::{Header, ReceiptEnvelope, Sealed, Transaction as _, transaction::TransactionInfo},
    eips::eip4895::Withdrawals,
    primitives::{Address, B256, Log, U256},
    rpc::types as rpc,
};
use std::sync::Arc;

/// A transaction in a block, with what came of it.
#[derive(Debug, Clone)]
pub struct Included {
    /// The transaction.
    pub transaction: Arc<SignedTransaction>,
    /// Its consensus receipt.
    pub receipt: ReceiptEnvelope,
    /// Gas paid for, after refunds and the calldata floor.
    pub gas_used: u64,
    /// Wei per gas paid.
    pub effective_gas_price: u128,
    /// The contract it created, if it did.
    pub contract_address: Option<Address>,
    /// The index, within the block, of its first log.
    pub first_log_index: u64,
}

/// A block of the chain.
#[derive(Debug, Clone)]
pub struct Block {
    pub(crate) header: Sealed<Header>,
    pub(crate) included: Vec<Included>,
    pub(crate) size_bytes: usize,
}

impl Block {
    /// Its height.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.header.number
    }

    /// Its hash.
    #[must_use]
    pub fn hash(&self) -> B256 {
        self.header.hash()
    }

    /// Its timestamp, in seconds.
    #[must_use]
    pub fn timestamp_s(&self) -> u64 {
        self.header.timestamp
    }

    /// Its header.
    #[must_use]
    pub fn header(&self) -> &Header {
        self.header.inner()
    }

    /// Its transactions with their receipts, in order.
    #[must_use]
    pub fn included(&self) -> &[Included] {
        &self.included
    }

    pub(crate) fn base_fee(&self) -> u64 {
        self.header.base_fee_per_gas.unwrap_or_default()
    }

    /// The block as `eth_getBlockBy…` shows it, with whole transactions or their hashes.
    #[must_use]
    pub fn view(&self, full: bool) -> rpc::Block {
        let transactions = if full {
            let indices = 0..self.included.len();
            rpc::BlockTransactions::Full(indices.filter_map(|index| self.transaction_view(index)).collect())
        } else {
            rpc::BlockTransactions::Hashes(self.included.iter().map(|included| included.transaction.hash()).collect())
        };
        let header =
            rpc::Header::from_consensus(self.header.clone(), Some(U256::ZERO), Some(U256::from(self.size_bytes)));
        rpc::Block::new(header, transactions).with_withdrawals(Some(Withdrawals::default()))
    }

    /// The transaction at `index` as `eth_getTransactionByHash` shows it.
    #[must_use]
    pub fn transaction_view(&self, index: usize) -> Option<rpc::Transaction> {
        let included = self.included.get(index)?;
        Some(rpc::Transaction::from_transaction(
            included.transaction.recovered().clone(),
            TransactionInfo {
                hash: Some(included.transaction.hash()),
                index: Some(index as u64),
                block_hash: Some(self.hash()),
                block_number: Some(self.number()),
                base_fee: Some(self.base_fee()),
                block_timestamp: Some(self.timestamp_s()),
            },
        ))
    }

    /// The receipt at `index` as `eth_getTransactionReceipt` shows it.
    #[must_use]
    pub fn receipt_view(&self, index: usize) -> Option<rpc::TransactionReceipt> {
        let included = self.included.get(index)?;
        let mut logs = self.log_views(index, included, false);
        Some(rpc::TransactionReceipt {
            inner: included.receipt.clone().map_logs(|log| logs.next().unwrap_or_else(|| bare_log(log))),
            transaction_hash: included.transaction.hash(),
            transaction_index: Some(index as u64),
            block_hash: Some(self.hash()),
            block_number: Some(self.number()),
            gas_used: included.gas_used,
            effective_gas_price: included.effective_gas_price,
            blob_gas_used: None,
            blob_gas_price: None,
            from: included.transaction.sender(),
            to: included.transaction.envelope().to(),
            contract_address: included.contract_address,
        })
    }

    /// All receipts, as `eth_getBlockReceipts` shows them.
    #[must_use]
    pub fn receipt_views(&self) -> Vec<rpc::TransactionReceipt> {
        (0..self.included.len()).filter_map(|index| self.receipt_view(index)).collect()
    }

    /// The logs that match, in order. `removed` marks logs of a block that a reorg took away.
    pub(crate) fn matching_logs<'a>(
        &'a self,
        filter: &'a rpc::Filter,
        removed: bool,
    ) -> impl Iterator<Item = rpc::Log> + 'a {
        let possible = filter.matches_bloom(self.header.logs_bloom);
        let included = if possible { self.included.as_slice() } else { &[] };
        included
            .iter()
            .enumerate()
            .flat_map(move |(index, included)| self.log_views(index, included, removed))
            .filter(|log| filter.matches_address(log.address()) && filter.matches_topics(log.topics()))
    }

    fn log_views<'a>(
        &'a self,
        index: usize,
        included: &'a Included,
        removed: bool,
    ) -> impl Iterator<Item = rpc::Log> + 'a {
        included.receipt.logs().iter().zip(included.first_log_index..).map(move |(log, log_index)| rpc::Log {
            block_hash: Some(self.hash()),
            block_number: Some(self.number()),
            block_timestamp: Some(self.timestamp_s()),
            transaction_hash: Some(included.transaction.hash()),
            transaction_index: Some(index as u64),
            log_index: Some(log_index),
            removed,
            inner: log.clone(),
        })
    }
}

fn bare_log(log: Log) -> rpc::Log {
    rpc::Log { inner: log, ..rpc::Log::default() }
}
