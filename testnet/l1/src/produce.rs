//! How a block is made: headers, contents, roots.

use crate::{
    block::{Block, Included},
    chain::Chain,
    config::ChainConfig,
    error::{ChainError, TransactionError},
    evm::{self, Changes, ExecutionError, Overlay},
    pool::Ready,
    transaction::SignedTransaction,
};
use alloy::{
    consensus::{
        BlockBody, EMPTY_ROOT_HASH, Eip658Value, Header, Receipt, ReceiptEnvelope, Transaction as _, TxReceipt as _,
        proofs,
    },
    eips::{
        eip1559::{BaseFeeParams, calc_next_block_base_fee},
        eip4895::Withdrawals,
        eip7685::EMPTY_REQUESTS_HASH,
    },
    primitives::{B256, Bloom, U256, keccak256},
};
use revm::context::{BlockEnv, result::ExecutionResult};
use std::sync::Arc;

/// What goes into a block.
#[derive(Debug)]
pub(crate) enum Contents {
    /// Whatever of the pool can run and fits.
    Pool,
    /// These, in this order.
    Exactly(Vec<Arc<SignedTransaction>>),
}

/// A block before it is appended: everything but its state root, which needs the changes applied.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) header: Header,
    pub(crate) included: Vec<Included>,
    pub(crate) changes: Changes,
    /// Transactions that can never run, with the reason.
    pub(crate) refused: Vec<(B256, TransactionError)>,
}

/// What all headers of a chain share.
pub(crate) fn header_template(config: &ChainConfig) -> Header {
    Header {
        beneficiary: config.coinbase,
        gas_limit: config.block_gas_max,
        withdrawals_root: Some(EMPTY_ROOT_HASH),
        blob_gas_used: Some(0),
        excess_blob_gas: Some(0),
        // There is no beacon chain to name.
        parent_beacon_block_root: Some(B256::ZERO),
        requests_hash: Some(EMPTY_REQUESTS_HASH),
        ..Header::default()
    }
}

/// Hashes a finished header and puts the block together.
pub(crate) fn seal(header: Header, included: Vec<Included>) -> Block {
    let transactions = included.iter().map(|included| included.transaction.envelope().clone()).collect();
    let body = BlockBody { transactions, ommers: Vec::new(), withdrawals: Some(Withdrawals::default()) };
    let size_bytes = alloy::rlp::Encodable::length(&alloy::consensus::Block::new(header.clone(), body));
    let hash = header.hash_slow();
    Block { header: header.seal(hash), included, size_bytes }
}

/// The environment in which a block's transactions run.
pub(crate) fn environment(header: &Header) -> BlockEnv {
    BlockEnv {
        number: U256::from(header.number),
        beneficiary: header.beneficiary,
        timestamp: U256::from(header.timestamp),
        gas_limit: header.gas_limit,
        basefee: header.base_fee_per_gas.unwrap_or_default(),
        prevrandao: Some(header.mix_hash),
        ..BlockEnv::default()
    }
}

impl Chain {
    /// The base fee of the next block, in wei per gas.
    #[must_use]
    pub fn next_base_fee(&self) -> u64 {
        self.base_fee_promised.unwrap_or_else(|| base_fee_after(self.latest()))
    }

    /// The header of a block made at `now_s`, before it has contents.
    fn next_header(&self, now_s: u64) -> Header {
        let parent = self.latest();
        let randomness = [parent.hash().as_slice(), &self.forks.to_be_bytes()].concat();
        Header {
            parent_hash: parent.hash(),
            number: parent.number() + 1,
            timestamp: self.clock.timestamp(now_s, parent.timestamp_s()),
            base_fee_per_gas: Some(self.next_base_fee()),
            mix_hash: keccak256(randomness),
            ..header_template(&self.config)
        }
    }

    pub(crate) fn ready(&self, base_fee: u64) -> Ready<'_> {
        self.pool.ready(base_fee, |sender| self.next_nonce(sender))
    }

    /// Runs the contents on the latest state, without touching the chain.
    pub(crate) fn draft(&self, now_s: u64, contents: Contents) -> Result<Draft, ChainError> {
        let mut header = self.next_header(now_s);
        let overlay = Overlay::new(&self.state, self.state.version(), &self.blocks);
        let mut run = Run {
            rules: evm::rules(self.config.chain_id),
            environment: environment(&header),
            overlay,
            included: Vec::new(),
            gas_used: 0,
            logs: 0,
        };
        let mut refused = Vec::new();
        match contents {
            Contents::Pool => {
                let mut ready = self.ready(run.environment.basefee);
                while let Some(transaction) = ready.pop() {
                    if transaction.gas_limit() > run.gas_left() {
                        continue; // It waits for the next block, and so do its sender's later ones.
                    }
                    match run.include(&transaction)? {
                        Ok(()) => ready.accept(&transaction),
                        Err(reason) => refused.push((transaction.hash(), reason)),
                    }
                }
            }
            Contents::Exactly(transactions) => {
                for transaction in transactions {
                    if transaction.gas_limit() > run.gas_left() {
                        let reason =
                            TransactionError::GasAboveBlock { gas: transaction.gas_limit(), gas_max: run.gas_left() };
                        refused.push((transaction.hash(), reason));
                    } else if let Err(reason) = run.include(&transaction)? {
                        refused.push((transaction.hash(), reason));
                    }
                }
            }
        }
        let Run { overlay, included, gas_used, .. } = run;
        let transactions: Vec<_> = included.iter().map(|included| included.transaction.envelope()).collect();
        let receipts: Vec<_> = included.iter().map(|included| &included.receipt).collect();
        header.gas_used = gas_used;
        header.transactions_root = proofs::calculate_transaction_root(&transactions);
        header.receipts_root = proofs::calculate_receipt_root(&receipts);
        header.logs_bloom = receipts.iter().fold(Bloom::ZERO, |bloom, receipt| bloom | receipt.bloom());
        header.state_root = B256::ZERO;
        Ok(Draft { header, included, changes: overlay.changes, refused })
    }
}

/// The base fee that EIP-1559 gives to a block's child, in wei per gas.
pub(crate) fn base_fee_after(parent: &Block) -> u64 {
    let header = parent.header();
    calc_next_block_base_fee(header.gas_used, header.gas_limit, parent.base_fee(), BaseFeeParams::ethereum())
}

/// A block's transactions, run one after the other.
struct Run<'a> {
    rules: revm::context::CfgEnv,
    environment: BlockEnv,
    overlay: Overlay<'a>,
    included: Vec<Included>,
    gas_used: u64,
    logs: u64,
}

impl Run<'_> {
    fn gas_left(&self) -> u64 {
        self.environment.gas_limit - self.gas_used
    }

    /// Runs one transaction at the end of the block. The inner error is the transaction's, the outer the chain's.
    fn include(&mut self, transaction: &Arc<SignedTransaction>) -> Result<Result<(), TransactionError>, ChainError> {
        let outcome = evm::execute(&mut self.overlay, &self.rules, &self.environment, transaction.environment());
        let result = match outcome {
            Ok(result) => result,
            Err(ExecutionError::Chain(error)) => return Err(error),
            Err(ExecutionError::Invalid(invalid)) => {
                let about = transaction.about(self.environment.basefee, self.environment.gas_limit);
                return Ok(Err(TransactionError::from_revm(invalid, &about)));
            }
        };
        let gas_used = result.tx_gas_used();
        self.gas_used += gas_used;
        let (success, logs) = match result {
            ExecutionResult::Success { logs, .. } => (true, logs),
            // What a failed transaction logged is undone with its state.
            ExecutionResult::Revert { .. } | ExecutionResult::Halt { .. } => (false, Vec::new()),
        };
        let envelope = transaction.envelope();
        let first_log_index = self.logs;
        self.logs += logs.len() as u64;
        let receipt =
            Receipt { status: Eip658Value::Eip658(success), cumulative_gas_used: self.gas_used, logs }.with_bloom();
        self.included.push(Included {
            receipt: ReceiptEnvelope::from_typed(envelope.tx_type(), receipt),
            gas_used,
            effective_gas_price: envelope.effective_gas_price(Some(self.environment.basefee)),
            contract_address: envelope.is_create().then(|| transaction.sender().create(transaction.nonce())),
            first_log_index,
            transaction: transaction.clone(),
        });
        Ok(Ok(()))
    }
}
