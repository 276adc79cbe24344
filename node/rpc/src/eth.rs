//! `eth_`, `net_` and `web3_`.

use std::sync::Arc;

use alloy::{
    primitives::{Address, B256, Bytes, U64, U256, keccak256},
    rpc::types::{
        Block, BlockId, BlockNumberOrTag, BlockOverrides, FeeHistory, Filter, FilterChanges, Index, Log, SyncInfo,
        SyncStatus as EthSyncStatus, Transaction, TransactionRequest,
        pubsub::{Params, SubscriptionKind},
        state::StateOverride,
    },
};
use joule_protocol::{Checkpoint, limits::BLOCK_GAS_MAX};
use joule_storage::View;
use jsonrpsee::{PendingSubscriptionSink, core::SubscriptionResult, core::async_trait, proc_macros::rpc};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::error::RecvError;

use crate::{
    Limits, Node, RpcError,
    call::{Call, Surroundings},
    evm::{self, Overrides, Snapshot, ViewBlock},
    filters,
    lookup::{self, Found},
    server::Context,
    subscriptions::{self, Notice},
    views::{self, BlockView, ReceiptView},
    wire::{address_of, hash_of, protocol_address, protocol_hash},
};

/// Blocks of one `eth_feeHistory`.
const FEE_HISTORY_BLOCKS_MAX: u64 = 256;

/// Percentiles of one `eth_feeHistory`.
const PERCENTILES_MAX: usize = 100;

/// A number that clients send as `0x` quantity or as a JSON number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quantity(u64);

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Number(u64),
            Hex(U64),
        }
        Ok(Self(match Either::deserialize(deserializer)? {
            Either::Number(number) => number,
            Either::Hex(number) => number.to(),
        }))
    }
}

impl Serialize for Quantity {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        U64::from(self.0).serialize(serializer)
    }
}

/// Ethereum's methods, as the execution-apis describe them.
#[rpc(server, namespace = "eth")]
pub(crate) trait Eth {
    #[method(name = "chainId")]
    fn chain_id(&self) -> Result<U64, RpcError>;

    #[method(name = "blockNumber")]
    async fn block_number(&self) -> Result<U64, RpcError>;

    #[method(name = "syncing")]
    fn syncing(&self) -> Result<EthSyncStatus, RpcError>;

    #[method(name = "accounts")]
    fn accounts(&self) -> Result<Vec<Address>, RpcError>;

    #[method(name = "gasPrice")]
    fn gas_price(&self) -> Result<U256, RpcError>;

    #[method(name = "maxPriorityFeePerGas")]
    fn max_priority_fee_per_gas(&self) -> Result<U256, RpcError>;

    #[method(name = "feeHistory")]
    async fn fee_history(
        &self,
        block_count: Quantity,
        newest: BlockNumberOrTag,
        percentiles: Option<Vec<f64>>,
    ) -> Result<FeeHistory, RpcError>;

    #[method(name = "getBalance")]
    async fn get_balance(&self, address: Address, block: Option<BlockId>) -> Result<U256, RpcError>;

    #[method(name = "getTransactionCount")]
    async fn get_transaction_count(&self, address: Address, block: Option<BlockId>) -> Result<U64, RpcError>;

    #[method(name = "getCode")]
    async fn get_code(&self, address: Address, block: Option<BlockId>) -> Result<Bytes, RpcError>;

    #[method(name = "getStorageAt")]
    async fn get_storage_at(&self, address: Address, slot: U256, block: Option<BlockId>) -> Result<B256, RpcError>;

    #[method(name = "sendRawTransaction")]
    async fn send_raw_transaction(&self, bytes: Bytes) -> Result<B256, RpcError>;

    #[method(name = "sendRawTransactionSync")]
    async fn send_raw_transaction_sync(
        &self,
        bytes: Bytes,
        timeout_ms: Option<Quantity>,
    ) -> Result<ReceiptView, RpcError>;

    #[method(name = "call")]
    async fn call(
        &self,
        request: TransactionRequest,
        block: Option<BlockId>,
        state_overrides: Option<StateOverride>,
        block_overrides: Option<Box<BlockOverrides>>,
    ) -> Result<Bytes, RpcError>;

    #[method(name = "estimateGas")]
    async fn estimate_gas(
        &self,
        request: TransactionRequest,
        block: Option<BlockId>,
        overrides: Option<serde_json::Value>,
    ) -> Result<U256, RpcError>;

    #[method(name = "getBlockByNumber")]
    async fn get_block_by_number(
        &self,
        number: BlockNumberOrTag,
        is_full: Option<bool>,
    ) -> Result<Option<Block>, RpcError>;

    #[method(name = "getBlockByHash")]
    async fn get_block_by_hash(&self, hash: B256, is_full: Option<bool>) -> Result<Option<Block>, RpcError>;

    #[method(name = "getBlockReceipts")]
    async fn get_block_receipts(&self, block: BlockId) -> Result<Option<Vec<ReceiptView>>, RpcError>;

    #[method(name = "getBlockTransactionCountByNumber")]
    async fn get_block_transaction_count_by_number(&self, number: BlockNumberOrTag) -> Result<Option<U64>, RpcError>;

    #[method(name = "getBlockTransactionCountByHash")]
    async fn get_block_transaction_count_by_hash(&self, hash: B256) -> Result<Option<U64>, RpcError>;

    #[method(name = "getUncleCountByBlockNumber")]
    async fn get_uncle_count_by_block_number(&self, number: BlockNumberOrTag) -> Result<Option<U64>, RpcError>;

    #[method(name = "getUncleCountByBlockHash")]
    async fn get_uncle_count_by_block_hash(&self, hash: B256) -> Result<Option<U64>, RpcError>;

    #[method(name = "getTransactionByHash")]
    async fn get_transaction_by_hash(&self, hash: B256) -> Result<Option<Transaction>, RpcError>;

    #[method(name = "getRawTransactionByHash")]
    async fn get_raw_transaction_by_hash(&self, hash: B256) -> Result<Option<Bytes>, RpcError>;

    #[method(name = "getTransactionByBlockNumberAndIndex")]
    async fn get_transaction_by_block_number_and_index(
        &self,
        number: BlockNumberOrTag,
        index: Index,
    ) -> Result<Option<Transaction>, RpcError>;

    #[method(name = "getTransactionByBlockHashAndIndex")]
    async fn get_transaction_by_block_hash_and_index(
        &self,
        hash: B256,
        index: Index,
    ) -> Result<Option<Transaction>, RpcError>;

    #[method(name = "getTransactionReceipt")]
    async fn get_transaction_receipt(&self, hash: B256) -> Result<Option<ReceiptView>, RpcError>;

    #[method(name = "getLogs")]
    async fn get_logs(&self, filter: Filter) -> Result<Vec<Log>, RpcError>;

    #[method(name = "newFilter")]
    async fn new_filter(&self, filter: Filter) -> Result<U256, RpcError>;

    #[method(name = "newBlockFilter")]
    async fn new_block_filter(&self) -> Result<U256, RpcError>;

    #[method(name = "newPendingTransactionFilter")]
    fn new_pending_transaction_filter(&self) -> Result<U256, RpcError>;

    #[method(name = "uninstallFilter")]
    fn uninstall_filter(&self, id: U256) -> Result<bool, RpcError>;

    #[method(name = "getFilterChanges")]
    async fn get_filter_changes(&self, id: U256) -> Result<FilterChanges, RpcError>;

    #[method(name = "getFilterLogs")]
    async fn get_filter_logs(&self, id: U256) -> Result<Vec<Log>, RpcError>;

    #[subscription(name = "subscribe" => "subscription", unsubscribe = "unsubscribe", item = serde_json::Value)]
    async fn subscribe(&self, kind: SubscriptionKind, params: Option<Params>) -> SubscriptionResult;
}

/// What remains of Ethereum's network methods.
#[rpc(server, namespace = "net")]
pub(crate) trait Net {
    #[method(name = "version")]
    fn version(&self) -> Result<String, RpcError>;

    #[method(name = "listening")]
    fn listening(&self) -> Result<bool, RpcError>;

    #[method(name = "peerCount")]
    fn peer_count(&self) -> Result<U64, RpcError>;
}

/// Two oddities that clients ask for.
#[rpc(server, namespace = "web3")]
pub(crate) trait Web3 {
    #[method(name = "clientVersion")]
    fn client_version(&self) -> Result<String, RpcError>;

    #[method(name = "sha3")]
    fn sha3(&self, data: Bytes) -> Result<B256, RpcError>;
}

/// A call, where it is asked, and what the node adds.
#[derive(Debug)]
struct Question {
    call: Call,
    block: Option<BlockId>,
    chain_id: u64,
    /// When a block made now would be.
    next_timestamp: u64,
    base_fee: u64,
}

impl Question {
    fn new(node: &impl Node, request: TransactionRequest, block: Option<BlockId>) -> Result<Self, RpcError> {
        let chain_id = node.genesis().chain_id;
        Ok(Self {
            call: Call::new(request, chain_id)?,
            block,
            chain_id,
            next_timestamp: node.next_timestamp(),
            base_fee: node.base_fee(),
        })
    }

    /// A call that the kernel knows, or a view of a system contract.
    fn ask(self, view: &View<'_>, overrides: &Overrides) -> Result<Bytes, RpcError> {
        let Some(contract) = self.call.view() else {
            // No function that changes something returns anything.
            return self.dry_run(view, overrides).map(|_| Bytes::new());
        };
        let number = lookup::require(view, self.block)?;
        self.call.ask(contract, &Snapshot::at(view, number)?).map(Bytes::from)
    }

    /// The gas of what a transaction would do.
    fn dry_run(self, view: &View<'_>, overrides: &Overrides) -> Result<u64, RpcError> {
        let number = lookup::require(view, self.block)?;
        let state = lookup::state_at(view, number)?;
        let parent = checkpoint(view, number)?;
        let timestamp = if number == view.head().block_number { self.next_timestamp } else { parent.timestamp };
        let timestamp = overrides.time.unwrap_or(timestamp);
        if timestamp < parent.timestamp {
            let earliest = parent.timestamp;
            return Err(RpcError::InvalidParams(format!("time {timestamp} is before {earliest}, that of the block")));
        }
        let base_fee = overrides.base_fee.unwrap_or(self.base_fee);
        let surroundings = Surroundings { chain_id: self.chain_id, parent, timestamp, base_fee };
        self.call.run(&state, &surroundings, &overrides.dry_accounts()?)
    }

    /// A call of code. It sees the block that it is asked at, as Ethereum has it, and not the next one.
    fn run_code(self, view: &View<'_>, overrides: &Overrides, limits: &Limits) -> Result<Bytes, RpcError> {
        let number = lookup::require(view, self.block)?;
        let chain = Snapshot::at(view, number)?;
        let (timestamp, base_fee) = match number == view.head().block_number {
            // The fee that a transaction sent now would pay: there is no record to read for it.
            true => (view.head().timestamp, self.base_fee),
            false => match lookup::block(view, number)? {
                Some(Found::Block(record)) => (record.header.timestamp, record.header.base_fee),
                Some(Found::Genesis(checkpoint)) => (checkpoint.timestamp, 0),
                None => (checkpoint(view, number)?.timestamp, self.base_fee),
            },
        };
        let block = ViewBlock {
            chain_id: self.chain_id,
            number,
            timestamp,
            base_fee,
            fee_recipient: address_of(view.genesis().fee_recipient),
            gas_limit: BLOCK_GAS_MAX,
        };
        let message = self.call.message(&chain, overrides, overrides.base_fee.unwrap_or(base_fee))?;
        evm::run(&chain, &block, overrides, message, limits)
    }
}

/// The checkpoint of a block whose state is there.
fn checkpoint(view: &View<'_>, number: u64) -> Result<Checkpoint, RpcError> {
    if number == view.head().block_number {
        return Ok(*view.head());
    }
    view.checkpoint(number)?.ok_or_else(|| RpcError::Internal(format!("block {number} has no checkpoint")))
}

pub(crate) struct Eth<N>(pub(crate) Arc<Context<N>>);

impl<N: Node> Eth<N> {
    async fn block_view(&self, id: BlockId, is_full: bool) -> Result<Option<Block>, RpcError> {
        let answer = self.0.read(move |view| {
            let Some(number) = lookup::resolve(view, id)? else { return Ok(None) };
            let fee_recipient = address_of(view.genesis().fee_recipient);
            match lookup::block(view, number)? {
                None => Ok(None),
                Some(Found::Genesis(checkpoint)) => Ok(Some(views::genesis_block(&checkpoint, fee_recipient, is_full))),
                Some(Found::Block(record)) => BlockView::new(&record).block(fee_recipient, is_full).map(Some),
            }
        });
        answer.await
    }

    /// Asks a block something; the genesis answers what an empty block would.
    async fn ask_block<T: Send + 'static>(
        &self,
        id: BlockId,
        empty: impl FnOnce() -> Option<T> + Send + 'static,
        ask: impl FnOnce(&BlockView<'_>) -> Result<Option<T>, RpcError> + Send + 'static,
    ) -> Result<Option<T>, RpcError> {
        let answer = self.0.read(move |view| {
            let Some(number) = lookup::resolve(view, id)? else { return Ok(None) };
            match lookup::block(view, number)? {
                None => Ok(None),
                Some(Found::Genesis(_)) => Ok(empty()),
                Some(Found::Block(record)) => ask(&BlockView::new(&record)),
            }
        });
        answer.await
    }

    async fn receipt(&self, hash: B256) -> Result<Option<ReceiptView>, RpcError> {
        let answer = self.0.read(move |view| match lookup::transaction(view, &hash)? {
            None => Ok(None),
            Some((record, position)) => BlockView::new(&record).receipt(position),
        });
        answer.await
    }
}

#[async_trait]
impl<N: Node> EthServer for Eth<N> {
    fn chain_id(&self) -> Result<U64, RpcError> {
        Ok(U64::from(self.0.node().genesis().chain_id))
    }

    async fn block_number(&self) -> Result<U64, RpcError> {
        self.0.read(|view| Ok(U64::from(view.head().block_number))).await
    }

    fn syncing(&self) -> Result<EthSyncStatus, RpcError> {
        Ok(match self.0.node().sync_status() {
            None => EthSyncStatus::None,
            Some(status) => EthSyncStatus::Info(Box::new(SyncInfo {
                starting_block: U256::from(status.starting_block),
                current_block: U256::from(status.current_block),
                highest_block: U256::from(status.highest_block),
                ..SyncInfo::default()
            })),
        })
    }

    fn accounts(&self) -> Result<Vec<Address>, RpcError> {
        Ok(Vec::new())
    }

    fn gas_price(&self) -> Result<U256, RpcError> {
        Ok(U256::from(self.0.node().base_fee()))
    }

    fn max_priority_fee_per_gas(&self) -> Result<U256, RpcError> {
        Ok(U256::ZERO)
    }

    async fn fee_history(
        &self,
        block_count: Quantity,
        newest: BlockNumberOrTag,
        percentiles: Option<Vec<f64>>,
    ) -> Result<FeeHistory, RpcError> {
        let percentiles = percentiles.unwrap_or_default();
        check_percentiles(&percentiles)?;
        let next_base_fee = self.0.node().base_fee();
        self.0.read(move |view| fee_history(view, block_count.0, newest, percentiles.len(), next_base_fee)).await
    }

    async fn get_balance(&self, address: Address, block: Option<BlockId>) -> Result<U256, RpcError> {
        let answer = self.0.read(move |view| {
            let number = lookup::require(view, block)?;
            Ok(U256::from(lookup::account_at(view, number, &protocol_address(address))?.balance))
        });
        answer.await
    }

    async fn get_transaction_count(&self, address: Address, block: Option<BlockId>) -> Result<U64, RpcError> {
        let address = protocol_address(address);
        let nonce = self.0.read(move |view| {
            let number = lookup::require(view, block)?;
            Ok(lookup::account_at(view, number, &address)?.nonce)
        });
        let nonce = nonce.await?;
        let is_pending = block == Some(BlockId::Number(BlockNumberOrTag::Pending));
        let pending = if is_pending { self.0.node().pending_nonce(&address) } else { None };
        Ok(U64::from(pending.map_or(nonce, |pending| pending.max(nonce))))
    }

    async fn get_code(&self, address: Address, block: Option<BlockId>) -> Result<Bytes, RpcError> {
        self.0.read(move |view| lookup::require(view, block)).await?;
        Ok(evm::code_at(&address))
    }

    async fn get_storage_at(&self, _: Address, _: U256, block: Option<BlockId>) -> Result<B256, RpcError> {
        // Accounts have no storage: objects are asked for through joule_.
        self.0.read(move |view| lookup::require(view, block)).await?;
        Ok(B256::ZERO)
    }

    async fn send_raw_transaction(&self, bytes: Bytes) -> Result<B256, RpcError> {
        Ok(hash_of(self.0.node().submit(bytes.to_vec()).await?))
    }

    async fn send_raw_transaction_sync(
        &self,
        bytes: Bytes,
        timeout_ms: Option<Quantity>,
    ) -> Result<ReceiptView, RpcError> {
        let limit = self.0.limits.sync_wait_ms_max;
        let waited_ms = timeout_ms.map_or(limit, |Quantity(wanted)| wanted.clamp(1, limit));
        // From before the submission: the block may come before the answer.
        let mut notices = self.0.hub.subscribe();
        let hash = hash_of(self.0.node().submit(bytes.to_vec()).await?);
        let included = async {
            loop {
                if let Some(receipt) = self.receipt(hash).await? {
                    return Ok(receipt);
                }
                loop {
                    match notices.recv().await {
                        Ok(Notice::Block(_)) | Err(RecvError::Lagged(_)) => break,
                        Ok(Notice::Undone(_) | Notice::Pending(_)) => {}
                        Err(RecvError::Closed) => return Err(RpcError::Unavailable("is stopping")),
                    }
                }
            }
        };
        let deadline = std::time::Duration::from_millis(waited_ms);
        tokio::time::timeout(deadline, included).await.unwrap_or(Err(RpcError::NotYetIncluded { hash, waited_ms }))
    }

    async fn call(
        &self,
        request: TransactionRequest,
        block: Option<BlockId>,
        state_overrides: Option<StateOverride>,
        block_overrides: Option<Box<BlockOverrides>>,
    ) -> Result<Bytes, RpcError> {
        let overrides = Overrides::new(state_overrides, block_overrides.map(|overrides| *overrides))?;
        let question = Question::new(self.0.node(), request, block)?;
        if !question.call.is_code(&overrides) {
            return self.0.read(move |view| question.ask(view, &overrides)).await;
        }
        let limits = self.0.limits;
        self.0.run_view(move |view| question.run_code(view, &overrides, &limits)).await
    }

    async fn estimate_gas(
        &self,
        request: TransactionRequest,
        block: Option<BlockId>,
        overrides: Option<serde_json::Value>,
    ) -> Result<U256, RpcError> {
        if overrides.is_some_and(|overrides| !overrides.is_null()) {
            return Err(RpcError::InvalidParams("eth_estimateGas takes no overrides; eth_call does".into()));
        }
        let question = Question::new(self.0.node(), request, block)?;
        self.0.read(move |view| question.dry_run(view, &Overrides::default())).await.map(U256::from)
    }

    async fn get_block_by_number(
        &self,
        number: BlockNumberOrTag,
        is_full: Option<bool>,
    ) -> Result<Option<Block>, RpcError> {
        self.block_view(number.into(), is_full.unwrap_or(false)).await
    }

    async fn get_block_by_hash(&self, hash: B256, is_full: Option<bool>) -> Result<Option<Block>, RpcError> {
        self.block_view(hash.into(), is_full.unwrap_or(false)).await
    }

    async fn get_block_receipts(&self, block: BlockId) -> Result<Option<Vec<ReceiptView>>, RpcError> {
        self.ask_block(block, || Some(Vec::new()), |block| block.receipts().map(Some)).await
    }

    async fn get_block_transaction_count_by_number(&self, number: BlockNumberOrTag) -> Result<Option<U64>, RpcError> {
        self.ask_block(number.into(), || Some(U64::ZERO), |block| Ok(Some(U64::from(block.len())))).await
    }

    async fn get_block_transaction_count_by_hash(&self, hash: B256) -> Result<Option<U64>, RpcError> {
        self.ask_block(hash.into(), || Some(U64::ZERO), |block| Ok(Some(U64::from(block.len())))).await
    }

    async fn get_uncle_count_by_block_number(&self, number: BlockNumberOrTag) -> Result<Option<U64>, RpcError> {
        self.ask_block(number.into(), || Some(U64::ZERO), |_| Ok(Some(U64::ZERO))).await
    }

    async fn get_uncle_count_by_block_hash(&self, hash: B256) -> Result<Option<U64>, RpcError> {
        self.ask_block(hash.into(), || Some(U64::ZERO), |_| Ok(Some(U64::ZERO))).await
    }

    async fn get_transaction_by_hash(&self, hash: B256) -> Result<Option<Transaction>, RpcError> {
        // The pool first: what leaves it between the two questions is then in a block.
        let pending = self.0.node().pending_transaction(&protocol_hash(hash));
        let included = self.0.read(move |view| match lookup::transaction(view, &hash)? {
            None => Ok(None),
            Some((record, position)) => BlockView::new(&record).transaction(position),
        });
        match included.await? {
            Some(transaction) => Ok(Some(transaction)),
            None => pending.map(|bytes| views::pending_transaction(&bytes)).transpose(),
        }
    }

    async fn get_raw_transaction_by_hash(&self, hash: B256) -> Result<Option<Bytes>, RpcError> {
        let pending = self.0.node().pending_transaction(&protocol_hash(hash));
        let included = self.0.read(move |view| {
            let Some(place) = view.transaction_place(&protocol_hash(hash))? else { return Ok(None) };
            let record = view.block(place.block_number)?;
            Ok(record.and_then(|mut record| {
                let index = place.index as usize;
                (index < record.items.transactions.len()).then(|| record.items.transactions.swap_remove(index))
            }))
        });
        Ok(included.await?.or(pending).map(Bytes::from))
    }

    async fn get_transaction_by_block_number_and_index(
        &self,
        number: BlockNumberOrTag,
        index: Index,
    ) -> Result<Option<Transaction>, RpcError> {
        self.ask_block(number.into(), || None, move |block| block.transaction(index.into())).await
    }

    async fn get_transaction_by_block_hash_and_index(
        &self,
        hash: B256,
        index: Index,
    ) -> Result<Option<Transaction>, RpcError> {
        self.ask_block(hash.into(), || None, move |block| block.transaction(index.into())).await
    }

    async fn get_transaction_receipt(&self, hash: B256) -> Result<Option<ReceiptView>, RpcError> {
        self.receipt(hash).await
    }

    async fn get_logs(&self, filter: Filter) -> Result<Vec<Log>, RpcError> {
        self.0.read(move |view| filters::logs(view, &filter)).await
    }

    async fn new_filter(&self, filter: Filter) -> Result<U256, RpcError> {
        let head = self.0.read(|view| Ok(view.head().block_number)).await?;
        let (id, now) = (self.0.new_id(), self.0.now());
        self.0.filters().add_logs(id, filter, head, now).map(|()| id)
    }

    async fn new_block_filter(&self) -> Result<U256, RpcError> {
        let head = self.0.read(|view| Ok(view.head().block_number)).await?;
        let (id, now) = (self.0.new_id(), self.0.now());
        self.0.filters().add_blocks(id, head, now).map(|()| id)
    }

    fn new_pending_transaction_filter(&self) -> Result<U256, RpcError> {
        let (id, now) = (self.0.new_id(), self.0.now());
        self.0.filters().add_pending(id, now).map(|()| id)
    }

    fn uninstall_filter(&self, id: U256) -> Result<bool, RpcError> {
        Ok(self.0.filters().remove(&id))
    }

    async fn get_filter_changes(&self, id: U256) -> Result<FilterChanges, RpcError> {
        let head = self.0.read(|view| Ok(view.head().block_number)).await?;
        let now = self.0.now();
        let poll = self.0.filters().poll(&id, head, now)?;
        self.0.read(move |view| poll.answer(view)).await
    }

    async fn get_filter_logs(&self, id: U256) -> Result<Vec<Log>, RpcError> {
        let now = self.0.now();
        let filter = self.0.filters().logs_of(&id, now)?;
        self.0.read(move |view| filters::logs(view, &filter)).await
    }

    async fn subscribe(
        &self,
        pending: PendingSubscriptionSink,
        kind: SubscriptionKind,
        params: Option<Params>,
    ) -> SubscriptionResult {
        subscriptions::serve(self.0.clone(), pending, kind, params).await
    }
}

impl<N: Node> NetServer for Eth<N> {
    fn version(&self) -> Result<String, RpcError> {
        Ok(self.0.node().genesis().chain_id.to_string())
    }

    fn listening(&self) -> Result<bool, RpcError> {
        Ok(true)
    }

    fn peer_count(&self) -> Result<U64, RpcError> {
        Ok(U64::from(self.0.node().peer_count()))
    }
}

impl<N: Node> Web3Server for Eth<N> {
    fn client_version(&self) -> Result<String, RpcError> {
        Ok(self.0.node().client_version())
    }

    fn sha3(&self, data: Bytes) -> Result<B256, RpcError> {
        Ok(keccak256(data))
    }
}

fn check_percentiles(percentiles: &[f64]) -> Result<(), RpcError> {
    if percentiles.len() > PERCENTILES_MAX {
        let (got, limit) = (percentiles.len() as u64, PERCENTILES_MAX as u64);
        return Err(RpcError::LimitExceeded { what: "percentiles", got, limit, advice: "" });
    }
    let is_good = percentiles.iter().all(|percentile| (0.0..=100.0).contains(percentile));
    if is_good && percentiles.is_sorted() {
        return Ok(());
    }
    Err(RpcError::InvalidParams("percentiles must rise, from 0 to 100".into()))
}

/// Base fees and fullness of blocks. Nobody pays tips here, so every percentile of them is zero.
fn fee_history(
    view: &View<'_>,
    block_count: u64,
    newest: BlockNumberOrTag,
    percentile_count: usize,
    next_base_fee: u64,
) -> Result<FeeHistory, RpcError> {
    let last = lookup::require(view, Some(newest.into()))?;
    // As other nodes do, more blocks than there may be are fewer, and not an error.
    let count = block_count.min(FEE_HISTORY_BLOCKS_MAX).min(last + 1);
    if count == 0 {
        return Ok(FeeHistory::default());
    }
    let first = last + 1 - count;
    let mut history = FeeHistory { oldest_block: first, ..FeeHistory::default() };
    for number in first..=last {
        let (base_fee, gas_used) = match lookup::block(view, number)? {
            Some(Found::Block(record)) => (record.header.base_fee, BlockView::new(&record).gas_used()?),
            Some(Found::Genesis(_)) => (0, 0),
            None => {
                let (first, head) = (view.first_block()?, view.head().block_number);
                return Err(RpcError::StatePruned { wanted: number, first, head });
            }
        };
        history.base_fee_per_gas.push(base_fee.into());
        history.gas_used_ratio.push(gas_used as f64 / BLOCK_GAS_MAX as f64);
    }
    let after = match view.block(last + 1)? {
        Some(record) => record.header.base_fee,
        None => next_base_fee,
    };
    history.base_fee_per_gas.push(after.into());
    if percentile_count > 0 {
        history.reward = Some(vec![vec![0; percentile_count]; count as usize]);
    }
    Ok(history)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_come_in_two_forms() {
        let parse = |json: &str| serde_json::from_str::<Quantity>(json);
        assert_eq!(parse("\"0x10\"").expect("hexadecimal"), Quantity(16));
        assert_eq!(parse("16").expect("a number"), Quantity(16));
        for wrong in ["-1", "1.5", "\"0x10000000000000000\"", "\"many\"", "null", "[]"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn percentiles_are_checked() {
        assert!(check_percentiles(&[]).is_ok());
        assert!(check_percentiles(&[0.0, 50.0, 50.0, 100.0]).is_ok());
        for wrong in [vec![50.0, 10.0], vec![-1.0], vec![100.5], vec![f64::NAN], vec![1.0; 101]] {
            assert!(check_percentiles(&wrong).is_err(), "{wrong:?}");
        }
    }
}
