//! The sequencer's undo data: it goes once nothing can need it any more, a little at a time.
//!
//! A block is undone only if L1 takes back what it was built on. Settlement writes down that a batch is executed when the execution lies `settlement.confirmations` below L1's head, which is
//! as deep as a reorganisation may go before settlement stops and raises an alarm: what leads up to that batch is never undone, and what proves or serves later batches begins behind it.

use std::time::Duration;

use joule_storage::{Database, StorageError, UNDO_STEP_RECORDS};
use tokio_util::sync::CancellationToken;

use crate::Metrics;

/// Between two passes: batches are executed minutes apart.
const EVERY: Duration = Duration::from_secs(5);
/// Steps of one pass. What is left has its turn in the next one.
const STEPS_MAX: usize = 64;
/// Between two steps, so that blocks which wait for the disk get it.
const PAUSE: Duration = Duration::from_millis(20);

/// Prunes until `stop`.
pub(crate) async fn run(database: Database, metrics: Metrics, stop: CancellationToken) {
    loop {
        tokio::select! {
            result = pass(&database, &metrics) => {
                if let Err(error) = result {
                    tracing::warn!(%error, "undo data could not be pruned");
                }
            }
            () = stop.cancelled() => return,
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn pass(database: &Database, metrics: &Metrics) -> Result<(), StorageError> {
    for _ in 0..STEPS_MAX {
        let database = database.clone();
        let step = tokio::task::spawn_blocking(move || {
            let executed = database.view()?.executed_batch()?.map_or(0, |batch| batch.last_block);
            database.prune_undo_step(executed, UNDO_STEP_RECORDS)
        });
        let pruned = match step.await {
            Ok(pruned) => pruned?,
            // The runtime is ending.
            Err(error) if error.is_cancelled() => return Ok(()),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        metrics.undo_floor.set(pruned.floor as i64);
        metrics.undo_pruned_blocks.inc_by(pruned.blocks);
        if pruned.blocks > 0 {
            tracing::debug!(floor = pruned.floor, blocks = pruned.blocks, records = pruned.records, "undo data pruned");
        }
        if pruned.is_done {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}
