//! History that a disk began without: executed again from genesis beside it, and put in front.
//!
//! A node that began with a state (a snapshot, or one rebuilt from data) has no blocks before it. They come from the committee's members or from peers into a second database, in which every block is executed from
//! genesis on as by a node that began there. When it reaches the first block that is kept here, its blocks are moved, the latest first, each with the hash that the block behind it names; then the second
//! database goes. Killed meanwhile, it goes on where it was.

use std::{path::PathBuf, sync::Arc, time::Duration};

use joule_follow::{Chain, Need, l1::L1View};
use joule_storage::{BlockRecord, Database, StorageError};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

use super::{
    Followed,
    source::{MissingError, Source},
};
use crate::Metrics;

/// Between two attempts to get what nobody served.
const PAUSE: Duration = Duration::from_secs(30);
/// Blocks moved in one write.
const STEP: u64 = 64;

fn folder(database: &Database) -> PathBuf {
    database.path().with_extension("history")
}

/// Fetches history, if any is missing, until it is there or `stop`.
pub(crate) async fn run(
    database: Database,
    source: Source,
    mut l1: watch::Receiver<Option<Arc<L1View>>>,
    stop: CancellationToken,
) {
    match first_block(&database) {
        Ok(first) if first > 1 => tracing::info!(before = first, "history is missing and is fetched"),
        Ok(_) => return,
        Err(error) => return tracing::error!(%error, "history cannot be fetched"),
    }
    loop {
        let current = tokio::select! {
            changed = l1.wait_for(Option::is_some) => match changed {
                Ok(view) => view.clone(),
                Err(_) => return,
            },
            () = stop.cancelled() => return,
        };
        let Some(view) = current else { return };
        let fetched = tokio::select! {
            fetched = fetch(&database, &source, &view) => fetched,
            () = stop.cancelled() => return,
        };
        match fetched {
            Ok(()) => return tracing::info!("history is complete"),
            Err(error) => tracing::warn!(%error, "history is still missing"),
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = stop.cancelled() => return,
        }
    }
}

fn first_block(database: &Database) -> Result<u64, StorageError> {
    database.view()?.first_block()
}

async fn fetch(database: &Database, source: &Source, l1: &Arc<L1View>) -> Result<(), MissingError> {
    let path = folder(database);
    let opened = tokio::task::spawn_blocking({
        let database = database.clone();
        move || Chain::open(beside(&database, path)?)
    });
    let scratch = match opened.await {
        Ok(chain) => chain.map_err(joule_follow::ChainError::from)?,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    };
    let scratch = Followed::new(scratch, broadcast::Sender::new(1), Metrics::default());
    let wanted = first_block(database).map_err(joule_follow::ChainError::from)?;
    loop {
        let view = l1.clone();
        let (need, head) = scratch
            .with(move |chain| {
                Ok::<_, joule_follow::ChainError>((chain.follow(&view, view.committed())?, chain.head()))
            })
            .await?;
        if head + 1 >= wanted {
            break;
        }
        match need {
            Need::Nothing => return Err(MissingError::NotRead),
            Need::Blocks { number } => source.blocks(&scratch, l1, number).await?,
            Need::Contradiction { number } => source.compare(&scratch, l1, number).await?,
        }
    }
    let moved = scratch.with({
        let database = database.clone();
        move |chain| move_blocks(chain.database(), &database)
    });
    let moved = moved.await;
    moved.map_err(joule_follow::ChainError::from)?;
    drop(scratch);
    // Left behind it takes room and does no harm.
    if let Err(error) = std::fs::remove_dir_all(folder(database)) {
        tracing::warn!(%error, "the second database could not be removed");
    }
    Ok(())
}

/// The second database, with the requests that the first one knows.
fn beside(database: &Database, path: PathBuf) -> Result<Database, StorageError> {
    let scratch = Database::open(path, database.genesis())?;
    let view = database.view()?;
    let (known, have) = (view.requests_count()?, scratch.view()?.requests_count()?);
    if let Some(cursor) = view.l1_cursor()?.filter(|_| known > have) {
        scratch.follow_l1(&cursor, have, &view.requests(have, (known - have) as usize)?)?;
    }
    Ok(scratch)
}

fn move_blocks(scratch: &Database, database: &Database) -> Result<(), StorageError> {
    loop {
        let first = first_block(database)?;
        if first <= 1 {
            break;
        }
        let view = scratch.view()?;
        let blocks = (first.saturating_sub(STEP).max(1)..first)
            .rev()
            .map(|number| view.block(number)?.ok_or(StorageError::Missing { what: "block", number }))
            .collect::<Result<Vec<BlockRecord>, _>>()?;
        database.put_earlier_blocks(&blocks)?;
    }
    let view = scratch.view()?;
    let mut number = 1;
    while let Some(batch) = view.batch(number)? {
        // From the first that is known on, the node's own records go on.
        if database.view()?.batch(number)?.is_some() {
            break;
        }
        database.put_batch(&batch)?;
        number += 1;
    }
    Ok(())
}
