//! Executing the blocks of an offer, by whoever serves it.

use alloy_primitives::B256;
use joule_committee_client::{Offer, checkpoint_hash};
use joule_kernel::Abort;
use joule_state::{BlockItems, wire};
use joule_storage::{BlockRecord, Database, StorageError};
use thiserror::Error;

/// Why an offer's blocks were not taken.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ExecuteError {
    /// A block that is none.
    #[error("block {number} is no block: {error}")]
    BadBlock {
        /// The block.
        number: u64,
        /// What is wrong.
        error: wire::WireError,
    },
    /// A block that cannot be.
    #[error("block {number} has no proof: {abort}")]
    Aborts {
        /// The block.
        number: u64,
        /// Why.
        abort: Abort,
    },
    /// The blocks lead elsewhere.
    #[error("the blocks lead to checkpoint {got}, the offer says {expected}")]
    OtherCheckpoint {
        /// The offer's.
        expected: B256,
        /// Reached.
        got: B256,
    },
    /// The data is longer or shorter than the statement says.
    #[error("the blocks have {got} bytes of data, the offer says {expected}")]
    OtherLength {
        /// The offer's.
        expected: u64,
        /// Made.
        got: u64,
    },
    /// Another block of that number is here already.
    #[error("block {number} is here, and another one is offered in its place")]
    Conflicts {
        /// The block.
        number: u64,
    },
    /// The disk.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Executes and keeps an offer's blocks behind the head of `database`; those up to the head must be the ones that are there. Each is one durable write; the batch's record, which makes them a
/// batch, is the caller's to write after. After an error the blocks executed so far are there: the caller undoes them.
///
/// # Errors
/// Blocks that do not execute or lead elsewhere, and the disk.
pub fn execute(database: &Database, offer: &Offer) -> Result<(), ExecuteError> {
    let mut execution = database.execution()?;
    let mut data_bytes = 0;
    let head = execution.checkpoint().block_number;
    for (number, bytes) in (offer.parent().block_number + 1..).zip(offer.blocks()) {
        if number <= head {
            let here = database.view()?.block(number)?.ok_or(StorageError::Missing { what: "block", number })?;
            if here.items.encode() != *bytes {
                return Err(ExecuteError::Conflicts { number });
            }
            data_bytes += here.chunk.len() as u64;
            continue;
        }
        let items = BlockItems::decode(bytes).map_err(|error| ExecuteError::BadBlock { number, error })?;
        let executed = execution.replay(&items).map_err(|abort| ExecuteError::Aborts { number, abort })?;
        let record = BlockRecord::new(&executed, None);
        data_bytes += record.chunk.len() as u64;
        database.commit_block(&record, &executed.sealed.changes)?;
        execution.follow(&executed.sealed);
    }
    let statement = offer.statement();
    if execution.checkpoint() != offer.checkpoint() {
        let (expected, got) = (statement.checkpoint, checkpoint_hash(execution.checkpoint()));
        return Err(ExecuteError::OtherCheckpoint { expected, got });
    }
    if data_bytes != statement.data_bytes {
        return Err(ExecuteError::OtherLength { expected: statement.data_bytes, got: data_bytes });
    }
    Ok(())
}
