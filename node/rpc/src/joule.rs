//! `joule_`: jobs, channels, devices, compute receipts, batches, proofs.

use std::sync::Arc;

use alloy::{
    primitives::{Address, B256, Bytes, U64},
    rpc::types::BlockId,
};
use joule_protocol::{
    Call, CallKind, Checkpoint, Envelope, Hashing, Key, Kind, MessageTree, Native, Object, SystemContract,
    withdrawal_leaf,
};
use joule_state::Store;
use joule_storage::{BatchRecord, BlockRecord, LOG_BLOCKS_MAX, LogFilter, Stage, View};
use jsonrpsee::{core::async_trait, proc_macros::rpc};

use crate::{
    Node, RpcError, lookup,
    server::Context,
    wire::{
        self, BatchStage, CommitteeStatus, Cursor, Genesis, Listed, Listing, ObjectId, Opening, Page, ProverStatus,
        ReceiptBundle, ReceiptId, StateProof, WithdrawalProof, address_of, hash_of, protocol_address,
    },
};

/// Objects in one page.
const PAGE_MAX: u32 = 256;

/// Leaves that one page may look at, wanted or not.
const SCAN_MAX: usize = 4_096;

/// Searches, of [`LOG_BLOCKS_MAX`] blocks each, for the transaction that settled a job.
const SETTLEMENT_SEARCHES_MAX: u64 = 20;

/// What is Joule's own.
#[rpc(server, namespace = "joule")]
pub(crate) trait Joule {
    /// What was fixed when the chain started, and where the contracts are on L1.
    #[method(name = "genesis")]
    fn genesis(&self) -> Result<Genesis, RpcError>;

    /// The chain object.
    #[method(name = "getChain")]
    async fn get_chain(&self, block: Option<BlockId>) -> Result<wire::Chain, RpcError>;

    /// A job by client and nonce; `null` if there is none.
    #[method(name = "getJob")]
    async fn get_job(&self, client: Address, nonce: U64, block: Option<BlockId>)
    -> Result<Option<wire::Job>, RpcError>;

    /// A device by its key's address; `null` if there is none.
    #[method(name = "getDevice")]
    async fn get_device(&self, device: Address, block: Option<BlockId>) -> Result<Option<wire::Device>, RpcError>;

    /// A channel by client and nonce; `null` if there is none.
    #[method(name = "getChannel")]
    async fn get_channel(
        &self,
        client: Address,
        nonce: U64,
        block: Option<BlockId>,
    ) -> Result<Option<wire::Channel>, RpcError>;

    /// Jobs by client and nonce, a page at a time.
    #[method(name = "listJobs")]
    async fn list_jobs(&self, listing: Option<Listing>) -> Result<Page<wire::Job>, RpcError>;

    /// Devices by address, a page at a time.
    #[method(name = "listDevices")]
    async fn list_devices(&self, listing: Option<Listing>) -> Result<Page<wire::Device>, RpcError>;

    /// Channels by client and nonce, a page at a time.
    #[method(name = "listChannels")]
    async fn list_channels(&self, listing: Option<Listing>) -> Result<Page<wire::Channel>, RpcError>;

    /// The compute receipt that settled a job, as a bundle that verifies offline. Its proof ends in the last executed state, or, if the job was settled since,
    /// in the last one (`isExecuted` says which).
    #[method(name = "getComputeReceipt")]
    async fn get_compute_receipt(&self, id: ReceiptId) -> Result<ReceiptBundle, RpcError>;

    /// What an object is, with a path that L1 can check. Without a block: of the last executed state.
    #[method(name = "getStateProof")]
    async fn get_state_proof(&self, id: ObjectId, block: Option<BlockId>) -> Result<StateProof, RpcError>;

    /// What `Bridge.claim` takes for the withdrawal that a transaction made.
    #[method(name = "getWithdrawalProof")]
    async fn get_withdrawal_proof(&self, transaction: B256) -> Result<WithdrawalProof, RpcError>;

    /// A batch by number; `null` if there is none.
    #[method(name = "getBatch")]
    async fn get_batch(&self, number: U64) -> Result<Option<wire::Batch>, RpcError>;

    /// The batch of a block; `null` if the block is in none yet.
    #[method(name = "getBatchOfBlock")]
    async fn get_batch_of_block(&self, block: BlockId) -> Result<Option<wire::Batch>, RpcError>;

    /// The last batch; `null` before the first.
    #[method(name = "getLastBatch")]
    async fn get_last_batch(&self) -> Result<Option<wire::Batch>, RpcError>;

    /// The committee as this node last saw it.
    #[method(name = "committeeStatus")]
    fn committee_status(&self) -> Result<CommitteeStatus, RpcError>;

    /// The prover network as this node last saw it.
    #[method(name = "proverStatus")]
    fn prover_status(&self) -> Result<ProverStatus, RpcError>;
}

pub(crate) struct Joule<N>(pub(crate) Arc<Context<N>>);

impl<N: Node> Joule<N> {
    /// The object under a key, made into what is wanted; the key's kind says which it is.
    async fn object<T: Send + 'static>(
        &self,
        key: Key,
        block: Option<BlockId>,
        take: impl FnOnce(&Object) -> Option<T> + Send + 'static,
    ) -> Result<Option<T>, RpcError> {
        let answer = self.0.read(move |view| {
            let number = lookup::require(view, block)?;
            Ok(lookup::state_at(view, number)?.get(&key)?.as_ref().and_then(take))
        });
        answer.await
    }

    async fn list<T: Send + 'static>(
        &self,
        kind: Kind,
        listing: Option<Listing>,
        take: impl Fn(&Object) -> Option<T> + Send + 'static,
    ) -> Result<Page<T>, RpcError> {
        let listing = listing.unwrap_or_default();
        if listing.limit.is_some_and(|limit| limit > PAGE_MAX) {
            let got = listing.limit.unwrap_or(0).into();
            let advice = "; ask page by page";
            return Err(RpcError::LimitExceeded { what: "objects in one page", got, limit: PAGE_MAX.into(), advice });
        }
        self.0.read(move |view| list(view, kind, &listing, take)).await
    }
}

#[async_trait]
impl<N: Node> JouleServer for Joule<N> {
    fn genesis(&self) -> Result<Genesis, RpcError> {
        Ok(Genesis::new(self.0.node().genesis(), self.0.node().l1_contracts()))
    }

    async fn get_chain(&self, block: Option<BlockId>) -> Result<wire::Chain, RpcError> {
        let chain = self.object(Key::CHAIN, block, |object| match object {
            Object::Chain(chain) => Some(chain.into()),
            _ => None,
        });
        chain.await?.ok_or_else(|| RpcError::Internal("the state has no chain object".into()))
    }

    async fn get_job(
        &self,
        client: Address,
        nonce: U64,
        block: Option<BlockId>,
    ) -> Result<Option<wire::Job>, RpcError> {
        self.object(Key::job(&protocol_address(client), nonce.to()), block, job).await
    }

    async fn get_device(&self, device: Address, block: Option<BlockId>) -> Result<Option<wire::Device>, RpcError> {
        self.object(Key::device(&protocol_address(device)), block, self::device).await
    }

    async fn get_channel(
        &self,
        client: Address,
        nonce: U64,
        block: Option<BlockId>,
    ) -> Result<Option<wire::Channel>, RpcError> {
        self.object(Key::channel(&protocol_address(client), nonce.to()), block, channel).await
    }

    async fn list_jobs(&self, listing: Option<Listing>) -> Result<Page<wire::Job>, RpcError> {
        let status = listing.and_then(|listing| listing.status);
        self.list(Kind::Job, listing, move |object| job(object).filter(|job| status.is_none_or(|s| s == job.status)))
            .await
    }

    async fn list_devices(&self, listing: Option<Listing>) -> Result<Page<wire::Device>, RpcError> {
        self.list(Kind::Device, listing, device).await
    }

    async fn list_channels(&self, listing: Option<Listing>) -> Result<Page<wire::Channel>, RpcError> {
        self.list(Kind::Channel, listing, channel).await
    }

    async fn get_compute_receipt(&self, id: ReceiptId) -> Result<ReceiptBundle, RpcError> {
        let chain_id = self.0.node().genesis().chain_id;
        self.0.read(move |view| compute_receipt(view, chain_id, id)).await
    }

    async fn get_state_proof(&self, id: ObjectId, block: Option<BlockId>) -> Result<StateProof, RpcError> {
        let answer = self.0.read(move |view| {
            let number = match block {
                Some(_) => lookup::require(view, block)?,
                None => lookup::executed_block(view)?,
            };
            state_proof(view, number, &id.key())
        });
        answer.await
    }

    async fn get_withdrawal_proof(&self, transaction: B256) -> Result<WithdrawalProof, RpcError> {
        self.0.read(move |view| withdrawal_proof(view, transaction)).await
    }

    async fn get_batch(&self, number: U64) -> Result<Option<wire::Batch>, RpcError> {
        self.0.read(move |view| Ok(view.batch(number.to())?.as_ref().map(batch))).await
    }

    async fn get_batch_of_block(&self, block: BlockId) -> Result<Option<wire::Batch>, RpcError> {
        let answer = self.0.read(move |view| {
            let number = lookup::require(view, Some(block))?;
            Ok(view.batch_of_block(number)?.as_ref().map(batch))
        });
        answer.await
    }

    async fn get_last_batch(&self) -> Result<Option<wire::Batch>, RpcError> {
        self.0.read(|view| Ok(view.last_batch()?.as_ref().map(batch))).await
    }

    fn committee_status(&self) -> Result<CommitteeStatus, RpcError> {
        self.0.node().committee_status().ok_or(RpcError::Unavailable("gathers no certificates; ask the sequencer"))
    }

    fn prover_status(&self) -> Result<ProverStatus, RpcError> {
        self.0.node().prover_status().ok_or(RpcError::Unavailable("hands out no proving tasks; ask the sequencer"))
    }
}

fn job(object: &Object) -> Option<wire::Job> {
    match object {
        Object::Job(job) => Some(job.into()),
        _ => None,
    }
}

fn device(object: &Object) -> Option<wire::Device> {
    match object {
        Object::Device(device) => Some(device.into()),
        _ => None,
    }
}

fn channel(object: &Object) -> Option<wire::Channel> {
    match object {
        Object::Channel(channel) => Some(channel.into()),
        _ => None,
    }
}

/// Walks the sorted list of leaves, which holds the objects of a kind next to each other.
fn list<T>(
    view: &View<'_>,
    kind: Kind,
    listing: &Listing,
    take: impl Fn(&Object) -> Option<T>,
) -> Result<Page<T>, RpcError> {
    let key = |address: Address, nonce| match kind {
        Kind::Job => Key::job(&protocol_address(address), nonce),
        Kind::Channel => Key::channel(&protocol_address(address), nonce),
        Kind::Account | Kind::Device | Kind::Chain => Key::device(&protocol_address(address)),
    };
    let first = listing.from.unwrap_or(Cursor { address: listing.client.unwrap_or_default(), nonce: 0 });
    let first = key(first.address, first.nonce);
    let limit = listing.limit.unwrap_or(PAGE_MAX) as usize;
    let tree = view.tree()?;
    let store = tree.store();
    let mut next = match store.leaf(&first)? {
        Some(_) => first,
        None => store.leaf_before(&first)?.map_or(Key::LAST, |(_, leaf)| leaf.next),
    };
    let mut items = Vec::new();
    for scanned in 0.. {
        let is_over = next.kind() != Ok(kind)
            || listing.client.is_some_and(|client| kind != Kind::Device && protocol_address(client) != next.address());
        if is_over {
            return Ok(Page { items, next: None });
        }
        if items.len() == limit || scanned == SCAN_MAX {
            break;
        }
        let broken = || RpcError::Internal(format!("the state tree's list is broken at {next:?}"));
        let leaf = store.leaf(&next)?.ok_or_else(broken)?;
        if let Some(object) = leaf.object.as_ref().and_then(&take) {
            items.push(Listed { address: address_of(next.address()), nonce: next.nonce(), object });
        }
        next = leaf.next;
    }
    Ok(Page { items, next: Some(Cursor { address: address_of(next.address()), nonce: next.nonce() }) })
}

/// Proves an object, or that there is none, in the state after a block.
fn state_proof(view: &View<'_>, number: u64, key: &Key) -> Result<StateProof, RpcError> {
    let proof = lookup::state_at(view, number)?.prove(key)?;
    let missing = || RpcError::Internal(format!("block {number} has no checkpoint"));
    let checkpoint: Checkpoint = view.checkpoint(number)?.ok_or_else(missing)?;
    Ok(StateProof {
        key: B256::new(key.to_bytes()),
        leaf_key: B256::new(proof.key.to_bytes()),
        object: proof.leaf.object.as_ref().map(Into::into),
        opening: Opening {
            position: proof.leaf.position,
            next_key: B256::new(proof.leaf.next.to_bytes()),
            siblings: proof.siblings.iter().map(|sibling| hash_of(sibling.to_hash())).collect(),
        },
        checkpoint: (&checkpoint).into(),
        checkpoint_hash: hash_of(checkpoint.hash::<Native>()),
    })
}

/// The topic of the event with this signature.
fn topic(signature: &str) -> joule_protocol::Hash {
    Native::keccak256(signature.as_bytes())
}

/// The transaction that settled a job, found by its event, searching from the last block down.
fn settlement_of(view: &View<'_>, client: Address, nonce: u64) -> Result<Option<(BlockRecord, usize)>, RpcError> {
    let mut last = view.head().block_number;
    let word = |bytes: &[u8]| {
        let mut word = joule_protocol::Hash::ZERO;
        word.0[32 - bytes.len()..].copy_from_slice(bytes);
        word
    };
    let event = topic("JobSettled(address,uint64,address,bytes32,uint64,uint128,uint128)");
    let topics = [vec![event], vec![word(client.as_slice())], vec![word(&nonce.to_be_bytes())], Vec::new()];
    let addresses = vec![SystemContract::Jobs.address()];
    for _ in 0..SETTLEMENT_SEARCHES_MAX {
        let from_block = last.saturating_sub(LOG_BLOCKS_MAX - 1).max(view.first_block()?);
        if from_block > last {
            return Ok(None);
        }
        let filter = LogFilter { from_block, to_block: last, addresses: addresses.clone(), topics: topics.clone() };
        if let Some(entry) = view.logs(&filter)?.pop() {
            let Some(record) = view.block(entry.block_number)? else { return Ok(None) };
            let position = match entry.source {
                joule_storage::LogSource::Request { index } => index as usize,
                joule_storage::LogSource::Transaction { index, .. } => record.requests.len() + index as usize,
            };
            return Ok(Some((record, position)));
        }
        match from_block.checked_sub(1) {
            Some(before) => last = before,
            None => return Ok(None),
        }
    }
    Err(RpcError::LimitExceeded {
        what: "blocks to search for the settlement",
        got: view.head().block_number,
        limit: SETTLEMENT_SEARCHES_MAX * LOG_BLOCKS_MAX,
        advice: "; name the settling transaction instead of the job",
    })
}

/// Calldata of a transaction or of a forced call.
fn calldata(record: &BlockRecord, position: usize) -> Result<(joule_protocol::Address, Vec<u8>), RpcError> {
    let malformed = |what: String| RpcError::Internal(format!("a block holds what does not decode: {what}"));
    match position.checked_sub(record.requests.len()) {
        None => {
            let request = joule_protocol::PriorityRequest::decode(&record.items.requests[position])
                .map_err(|error| malformed(error.to_string()))?;
            Ok((request.to, request.data))
        }
        Some(index) => {
            let envelope = Envelope::decode(&record.items.transactions[index])
                .map_err(|refusal| malformed(refusal.to_string()))?;
            Ok((envelope.to, envelope.data.to_vec()))
        }
    }
}

fn compute_receipt(view: &View<'_>, chain_id: u64, id: ReceiptId) -> Result<ReceiptBundle, RpcError> {
    let found = match id {
        ReceiptId::Transaction { transaction_hash } => lookup::transaction(view, &transaction_hash)?,
        ReceiptId::Job { client, client_nonce } => settlement_of(view, client, client_nonce)?,
    };
    let not_found = |what: String| RpcError::NotFound { what };
    let (record, position) = found.ok_or_else(|| not_found("a transaction that settled this job".into()))?;
    let (to, data) = calldata(&record, position)?;
    let kind = SystemContract::at(&to).map(|contract| CallKind::of(contract, &data));
    let is_settlement = || not_found("a compute receipt in this transaction (it is no settleJob)".into());
    let Some(CallKind::SettleJob) = kind else { return Err(is_settlement()) };
    let Ok(Call::SettleJob { receipt, signature: Some(signature) }) = Call::decode(CallKind::SettleJob, &data) else {
        return Err(is_settlement());
    };
    let outcome = match position.checked_sub(record.requests.len()) {
        None => &record.requests[position].outcome,
        Some(index) => &record.transactions[index].outcome,
    };
    if !outcome.is_applied() {
        return Err(not_found("a payment for this compute receipt (its transaction was rejected)".into()));
    }
    let executed = lookup::executed_block(view)?;
    let is_executed = record.header.number <= executed;
    let proven = if is_executed { executed } else { view.head().block_number };
    let key = Key::job(&receipt.client, receipt.client_nonce);
    let transaction_hash = crate::views::BlockView::new(&record).hash_at(position).unwrap_or_default();
    Ok(ReceiptBundle {
        chain_id,
        genesis_id: hash_of(view.genesis().id::<Native>()),
        receipt: (&receipt).into(),
        signature: Bytes::copy_from_slice(&signature.to_bytes()),
        transaction_hash,
        block_number: record.header.number,
        job: state_proof(view, proven, &key)?,
        is_executed,
    })
}

/// The index of the withdrawal that a transaction or request of a block made, from its event.
fn withdrawal_index(record: &BlockRecord, position: usize) -> Option<u64> {
    let logs = match position.checked_sub(record.requests.len()) {
        None => &record.requests.get(position)?.logs,
        Some(index) => &record.transactions.get(index)?.logs,
    };
    let event = topic("Withdrawal(uint64,address,address,uint128)");
    let log = logs
        .iter()
        .find(|log| log.address == SystemContract::Bridge.address() && log.topics.first() == Some(&event))?;
    let word = log.topics.get(1)?;
    Some(u64::from_be_bytes(word.0[24..].try_into().ok()?))
}

/// The index of a block's first withdrawal, from its first event of one.
fn first_withdrawal(record: &BlockRecord) -> Option<u64> {
    (0..record.requests.len() + record.transactions.len()).find_map(|position| withdrawal_index(record, position))
}

fn withdrawal_proof(view: &View<'_>, hash: B256) -> Result<WithdrawalProof, RpcError> {
    let not_found = |what: &str| RpcError::NotFound { what: what.into() };
    let (record, position) =
        lookup::transaction(view, &hash)?.ok_or_else(|| not_found("a transaction with this hash in a block"))?;
    let index = withdrawal_index(&record, position).ok_or_else(|| not_found("a withdrawal by this transaction"))?;
    let batch = view
        .batch_of_block(record.header.number)?
        .ok_or_else(|| not_found("the batch of this withdrawal (its block is not in one yet)"))?;
    let mut first = None;
    let mut messages = Vec::new();
    for number in batch.first_block..=batch.last_block {
        let missing = || RpcError::Internal(format!("block {number} of batch {} is missing", batch.number));
        let block = view.block(number)?.ok_or_else(missing)?;
        if first.is_none() {
            first = first_withdrawal(&block);
        }
        messages.extend(block.messages);
    }
    let first = first.ok_or_else(|| RpcError::Internal("a batch with a withdrawal has no event of one".into()))?;
    let leaves = (first..).zip(&messages);
    let leaves: Vec<_> =
        leaves.map(|(index, message)| withdrawal_leaf::<Native>(index, &message.recipient, message.amount)).collect();
    let tree = MessageTree::new::<Native>(leaves);
    let place = index.checked_sub(first).map(|place| place as usize);
    let (message, siblings) = place
        .and_then(|place| Some((messages.get(place)?, tree.path(place)?)))
        .ok_or_else(|| RpcError::Internal(format!("withdrawal {index} is not among its batch's")))?;
    Ok(WithdrawalProof {
        batch_number: batch.number,
        index,
        recipient: address_of(message.recipient),
        amount: message.amount,
        position: index - first,
        siblings: siblings.into_iter().map(hash_of).collect(),
        root: hash_of(tree.root()),
        is_claimable: batch.stage == Stage::Executed,
    })
}

fn batch(record: &BatchRecord) -> wire::Batch {
    wire::Batch {
        number: record.number,
        stage: match record.stage {
            Stage::Sealed => BatchStage::Sealed,
            Stage::Available => BatchStage::Published,
            Stage::Committed => BatchStage::Committed,
            Stage::Proven => BatchStage::Proven,
            Stage::Executed => BatchStage::Executed,
        },
        first_block: record.first_block,
        last_block: record.last_block,
        data_bytes: record.data_bytes,
        parent_checkpoint: hash_of(record.parent.hash::<Native>()),
        checkpoint: (&record.checkpoint).into(),
        checkpoint_hash: hash_of(record.checkpoint.hash::<Native>()),
        l1_transaction: record.l1_transaction.map(hash_of),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_events_searched_for_are_the_kernels() {
        use joule_kernel::Event;
        let zero = joule_protocol::Address::ZERO;
        let settled = Event::JobSettled {
            client: zero,
            client_nonce: 0,
            device: zero,
            receipt_digest: joule_protocol::Hash::ZERO,
            units: 0,
            paid: 0,
            refunded: 0,
        };
        let log = settled.log::<Native>().expect("a settlement has a log");
        assert_eq!(log.topics[0], topic("JobSettled(address,uint64,address,bytes32,uint64,uint128,uint128)"));
        let withdrawal = Event::Withdrawal { index: 0, sender: zero, l1_recipient: zero, amount: 0 };
        let log = withdrawal.log::<Native>().expect("a withdrawal has a log");
        assert_eq!(log.topics[0], topic("Withdrawal(uint64,address,address,uint128)"));
    }
}
