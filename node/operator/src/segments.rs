//! A batch's segments, with the hints that the image needs.

use joule_kernel::{Abort, BlockInput};
use joule_machine::kernel_image;
use joule_prover_engine::{Block, CutError, Cutter, Segment};
use joule_state::{Overlay, StateTree, TreeError, witness_block};
use joule_storage::{BatchRecord, Database, StorageError};
use joule_tables::shape::Shape;
use thiserror::Error;

/// Why a batch cannot be made ready to prove.
#[derive(Debug, Error)]
pub enum SegmentsError {
    /// The disk.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The state before the batch.
    #[error("the state before block {block}: {source}")]
    State {
        /// The batch's first block.
        block: u64,
        /// Why.
        source: TreeError<StorageError>,
    },
    /// A block of the batch was pruned, or never was.
    #[error("block {block} of batch {batch} is not in the database")]
    NoBlock {
        /// The batch.
        batch: u64,
        /// The block.
        block: u64,
    },
    /// The kernel that executed the block will not do it again: state on disk is not what it was.
    #[error("block {block} of batch {batch} has no proof: {abort}")]
    Aborted {
        /// The batch.
        batch: u64,
        /// The block.
        block: u64,
        /// Why.
        abort: Abort,
    },
    /// Executed again, the block leads somewhere else.
    #[error("block {block} of batch {batch} leads to another checkpoint than the one recorded")]
    Diverged {
        /// The batch.
        batch: u64,
        /// The block.
        block: u64,
    },
    /// The blocks cannot be cut.
    #[error("batch {batch}: {source}")]
    Cut {
        /// The batch.
        batch: u64,
        /// Why.
        source: CutError,
    },
}

/// Reads a batch and cuts it into segments for `shapes`.
///
/// The state before the batch must be within the database's undo window, which reaches back to the last executed checkpoint: a batch that is not executed is.
/// Takes time and memory in proportion to the batch, and blocks: seconds for thousands of transactions.
///
/// # Errors
/// [`SegmentsError`]. All but the disk's say that this database is damaged, or the batch none of its own.
pub fn segments_of(database: &Database, batch: &BatchRecord, shapes: &[Shape]) -> Result<Vec<Segment>, SegmentsError> {
    let number = batch.number;
    let view = database.view()?;
    let before = view.tree_at(batch.parent.block_number)?;
    let failed = |source| SegmentsError::State { block: batch.first_block, source };
    let mut tree = StateTree::open(Overlay::new(*before.store())).map_err(failed)?;
    let chain_id = view.genesis().chain_id;

    let mut checkpoint = batch.parent;
    let mut blocks = Vec::new();
    for block in batch.first_block..=batch.last_block {
        let record = view.block(block)?.ok_or(SegmentsError::NoBlock { batch: number, block })?;
        let (witness, siblings, sealed, changes) = witness_block(&tree, chain_id, &checkpoint, &record.items)
            .map_err(|abort| SegmentsError::Aborted { batch: number, block, abort })?;
        if sealed.checkpoint != record.checkpoint {
            return Err(SegmentsError::Diverged { batch: number, block });
        }
        tree.commit(&changes).map_err(failed)?;
        blocks.push((checkpoint, record.items, witness, siblings));
        checkpoint = sealed.checkpoint;
    }
    if checkpoint != batch.checkpoint {
        return Err(SegmentsError::Diverged { batch: number, block: batch.last_block });
    }
    let blocks: Vec<Block<'_>> = blocks
        .iter()
        .map(|(from, items, witness, siblings)| Block {
            from,
            input: BlockInput {
                timestamp: items.timestamp,
                base_fee: items.base_fee,
                requests: &items.requests,
                transactions: &items.transactions,
                witness,
            },
            siblings,
        })
        .collect();
    Cutter::new(kernel_image(), shapes)
        .cut(chain_id, &blocks, &checkpoint)
        .map_err(|source| SegmentsError::Cut { batch: number, source })
}

#[cfg(test)]
mod tests {
    use joule_protocol::Native;
    use joule_storage::{BlockRecord, Stage};
    use joule_workload::{Chain, GENESIS_SECONDS, Population, payments};

    use super::*;

    #[test]
    fn a_batch_from_disk_is_cut_into_segments_that_lead_from_end_to_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let genesis = Chain::test_genesis();
        let database = Database::open(folder.path(), &genesis).expect("a database");
        let population = Population::new(3, &genesis, 4, 1);
        let now = GENESIS_SECONDS + 60;
        let stream = payments(&population, now, 100, 24);
        let mut execution = database.execution().expect("an execution");
        let parent = *execution.checkpoint();
        let transactions: Vec<_> =
            stream.setup.into_iter().chain(stream.payments.into_iter().map(|(_, bytes)| bytes)).collect();
        for (requests, transactions) in std::iter::once((&stream.deposits[..], &[][..]))
            .chain(transactions.chunks(6).map(|transactions| (&[][..], transactions)))
        {
            let items = joule_state::BlockItems {
                timestamp: now,
                base_fee: 100,
                requests: requests.to_vec(),
                transactions: transactions.to_vec(),
            };
            let executed = execution.replay(&items).expect("a block");
            database.commit_block(&BlockRecord::new(&executed, None), &executed.sealed.changes).expect("a commit");
            execution.follow(&executed.sealed);
        }
        let checkpoint = *execution.checkpoint();
        let record = BatchRecord {
            number: 1,
            revert_count: 0,
            parent,
            checkpoint,
            first_block: 1,
            last_block: checkpoint.block_number,
            data_bytes: 1,
            certificate_expiry: None,
            stage: Stage::Sealed,
            l1_transaction: None,
        };
        let segments = segments_of(&database, &record, &[Shape::Small]).expect("segments");
        assert!(segments.len() > 1, "28 transactions do not fit one small segment");
        let ends = |segment: &Segment| {
            let outcome = joule_machine::run(kernel_image(), &segment.input, joule_machine::Limits::default());
            let words = outcome.expect("a run").committed.expect("a statement");
            (words[2..10].to_vec(), words[10..].to_vec())
        };
        let mut hash = parent.hash::<Native>().to_words().to_vec();
        for segment in &segments {
            let (from, to) = ends(segment);
            assert_eq!(from, hash);
            hash = to;
        }
        assert_eq!(hash, checkpoint.hash::<Native>().to_words());

        let wrong = BatchRecord { checkpoint: parent, ..record };
        assert!(matches!(segments_of(&database, &wrong, &[Shape::Small]), Err(SegmentsError::Diverged { .. })));
        let beyond = BatchRecord { last_block: checkpoint.block_number + 1, ..record };
        assert!(matches!(segments_of(&database, &beyond, &[Shape::Small]), Err(SegmentsError::NoBlock { .. })));
    }
}
