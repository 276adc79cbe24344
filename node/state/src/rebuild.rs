//! State from batch data alone.

use joule_protocol::{Accumulator, Checkpoint, Chunk, ChunkError, Hash, Key, Native, Object, withdrawal_leaf};
use thiserror::Error;

use crate::{StateTree, Store, TreeError};

/// Why batch data does not continue a state.
#[derive(Debug, Error)]
pub enum RebuildError<E: std::error::Error + 'static> {
    /// The bytes are no batch data.
    #[error(transparent)]
    Malformed(#[from] ChunkError),
    /// A block other than the next.
    #[error("the data is for block {got}; the state is waiting for block {expected}")]
    WrongBlock {
        /// Block in the data.
        got: u64,
        /// Next block.
        expected: u64,
    },
    /// The writes do not lead to the root that the data names.
    #[error("block {number}'s writes lead to the root {got}, its data names {expected}")]
    WrongRoot {
        /// The block.
        number: u64,
        /// Root reached.
        got: joule_protocol::Digest,
        /// Root named.
        expected: joule_protocol::Digest,
    },
    /// The chain object that every block writes is missing.
    #[error("block {number}'s data does not write the chain object")]
    NoChainObject {
        /// The block.
        number: u64,
    },
    /// The tree failed.
    #[error(transparent)]
    Tree(#[from] TreeError<E>),
}

/// Applies one block's batch data to the state at `checkpoint`, and returns the checkpoint after it.
///
/// Nothing is committed unless the writes lead to the root that the data names. What binds the data to the chain is the returned
/// checkpoint's `data_acc` and hash: compare them with what L1 executed. Requests are known to L1 alone, so `priority_acc` is what the caller
/// passes as the accumulator after the block's requests.
pub fn apply_chunk<S: Store>(
    tree: &mut StateTree<S>,
    checkpoint: &Checkpoint,
    bytes: &[u8],
    priority_acc: Accumulator,
) -> Result<Checkpoint, RebuildError<S::Error>> {
    let chunk = Chunk::decode::<Native>(bytes)?;
    let expected = checkpoint.block_number + 1;
    if chunk.number != expected {
        return Err(RebuildError::WrongBlock { got: chunk.number, expected });
    }
    let writes: Vec<(Key, Object)> = chunk.writes.iter().map(|write| (write.key, write.object)).collect();
    let Some(Object::Chain(chain)) = writes.last().map(|(_, object)| object).copied() else {
        return Err(RebuildError::NoChainObject { number: chunk.number });
    };
    let changes = tree.plan(&writes)?;
    if changes.root != chunk.state_root {
        return Err(RebuildError::WrongRoot { number: chunk.number, got: changes.root, expected: chunk.state_root });
    }
    tree.commit(&changes)?;

    let header = chunk.header(checkpoint.block_hash);
    let mut next = Checkpoint {
        state_root: changes.root,
        block_number: chunk.number,
        block_hash: header.hash::<Native>(),
        timestamp: chunk.timestamp,
        priority_count: checkpoint.priority_count + chunk.request_outcomes.len() as u64,
        priority_acc,
        ..*checkpoint
    };
    let first_index = chain.withdrawal_count.saturating_sub(chunk.messages.len() as u64);
    for (index, message) in (first_index..).zip(&chunk.messages) {
        let Hash(leaf) = withdrawal_leaf::<Native>(index, &message.recipient, message.amount);
        next.message_acc.absorb::<Native>(&leaf);
    }
    next.data_acc.absorb::<Native>(bytes);
    Ok(next)
}
