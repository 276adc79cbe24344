//! Finding things in a view of the database.

use alloy::{
    primitives::B256,
    rpc::types::{BlockId, BlockNumberOrTag},
};
use joule_protocol::{Account, Address, Checkpoint, Key, Object};
use joule_state::{Changes, Leaf, StateTree, Store};
use joule_storage::{BlockRecord, HistoricStore, StorageError, View, ViewStore};

use crate::{
    RpcError,
    views::{BlockView, request_index},
    wire::protocol_hash,
};

/// A block of the chain.
pub(crate) enum Found {
    /// Block 0.
    Genesis(Checkpoint),
    /// Any other.
    Block(Box<BlockRecord>),
}

/// The state at the head or after an earlier block.
pub(crate) enum AnyStore<'a> {
    Now(ViewStore<'a>),
    Then(HistoricStore<'a>),
}

impl Store for AnyStore<'_> {
    type Error = StorageError;

    fn leaf(&self, key: &Key) -> Result<Option<Leaf>, StorageError> {
        match self {
            Self::Now(store) => store.leaf(key),
            Self::Then(store) => store.leaf(key),
        }
    }

    fn leaf_before(&self, key: &Key) -> Result<Option<(Key, Leaf)>, StorageError> {
        match self {
            Self::Now(store) => store.leaf_before(key),
            Self::Then(store) => store.leaf_before(key),
        }
    }

    fn node(&self, height: u8, position: u32) -> Result<Option<joule_protocol::Digest>, StorageError> {
        match self {
            Self::Now(store) => store.node(height, position),
            Self::Then(store) => store.node(height, position),
        }
    }

    fn commit(&mut self, _: &Changes) -> Result<(), StorageError> {
        Err(StorageError::StateWithoutBlock)
    }
}

/// The number a tag stands for. `pending` is the last block, because blocks are sealed as soon as there is something to seal; `safe` is committed on L1 and
/// `finalized` is executed there.
pub(crate) fn number_of(view: &View<'_>, tag: BlockNumberOrTag) -> Result<u64, RpcError> {
    let head = view.head().block_number;
    Ok(match tag {
        BlockNumberOrTag::Latest | BlockNumberOrTag::Pending => head,
        BlockNumberOrTag::Earliest => 0,
        BlockNumberOrTag::Safe => view.committed_batch()?.map_or(0, |batch| batch.last_block.min(head)),
        BlockNumberOrTag::Finalized => executed_block(view)?,
        BlockNumberOrTag::Number(number) => number,
    })
}

/// The last block that L1 has executed.
pub(crate) fn executed_block(view: &View<'_>) -> Result<u64, RpcError> {
    Ok(view.executed_batch()?.map_or(0, |batch| batch.last_block.min(view.head().block_number)))
}

/// The number of a block that is there.
pub(crate) fn resolve(view: &View<'_>, id: BlockId) -> Result<Option<u64>, RpcError> {
    let number = match id {
        BlockId::Number(tag) => Some(number_of(view, tag)?),
        BlockId::Hash(hash) => view.block_number(&protocol_hash(hash.block_hash))?,
    };
    Ok(number.filter(|&number| number <= view.head().block_number))
}

/// The number of a block that must be there.
///
/// # Errors
/// `UnknownBlock`.
pub(crate) fn require(view: &View<'_>, id: Option<BlockId>) -> Result<u64, RpcError> {
    let id = id.unwrap_or_default();
    let unknown = || RpcError::UnknownBlock {
        wanted: match id {
            BlockId::Hash(hash) => hash.block_hash.to_string(),
            BlockId::Number(BlockNumberOrTag::Number(number)) => number.to_string(),
            BlockId::Number(tag) => tag.to_string(),
        },
        head: view.head().block_number,
    };
    resolve(view, id)?.ok_or_else(unknown)
}

/// A block by number.
pub(crate) fn block(view: &View<'_>, number: u64) -> Result<Option<Found>, RpcError> {
    if number == 0 {
        return Ok(view.checkpoint(0)?.map(Found::Genesis));
    }
    Ok(view.block(number)?.map(|record| Found::Block(Box::new(record))))
}

/// The state after a block.
pub(crate) fn state_at<'a>(view: &'a View<'a>, number: u64) -> Result<StateTree<AnyStore<'a>>, RpcError> {
    let store = match number == view.head().block_number {
        true => AnyStore::Now(*view.tree()?.store()),
        false => AnyStore::Then(*view.tree_at(number)?.store()),
    };
    Ok(StateTree::open(store)?)
}

/// An account after a block; absent ones are empty.
pub(crate) fn account_at(view: &View<'_>, number: u64, address: &Address) -> Result<Account, RpcError> {
    match state_at(view, number)?.get(&Key::account(address))? {
        Some(Object::Account(account)) => Ok(account),
        _ => Ok(Account::default()),
    }
}

/// The block that consumed priority request `index`, by halving: every block's checkpoint counts the requests up to it.
fn block_of_request(view: &View<'_>, index: u64) -> Result<Option<BlockRecord>, RpcError> {
    if view.head().priority_count <= index {
        return Ok(None);
    }
    let (mut low, mut high) = (view.first_block()?, view.head().block_number);
    while low < high {
        let middle = low + (high - low) / 2;
        match view.checkpoint(middle)? {
            Some(checkpoint) if checkpoint.priority_count <= index => low = middle + 1,
            Some(_) => high = middle,
            None => return Ok(None),
        }
    }
    let record = view.block(low)?;
    // A request of a block that is not kept any more leads to the first block that is.
    Ok(record.filter(|record| BlockView::new(record).first_request() <= index))
}

/// A transaction or request in a block, by hash, with its place.
pub(crate) fn transaction(view: &View<'_>, hash: &B256) -> Result<Option<(BlockRecord, usize)>, RpcError> {
    if let Some(index) = request_index(hash) {
        let Some(record) = block_of_request(view, index)? else { return Ok(None) };
        let position = index - BlockView::new(&record).first_request();
        return Ok(Some((record, position as usize)));
    }
    let Some(place) = view.transaction_place(&protocol_hash(*hash))? else { return Ok(None) };
    let Some(record) = view.block(place.block_number)? else { return Ok(None) };
    let position = BlockView::new(&record).position_of_transaction(place.index);
    Ok(Some((record, position)))
}
