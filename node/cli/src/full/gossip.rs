//! What peers gossip and ask, at a full node.

use std::sync::Arc;

use joule_follow::Applied;
use joule_p2p::{Event, Gossip, Kind, Verdict};
use joule_protocol::{Key, Object};
use joule_sequencer::CheckedTransaction;
use joule_storage::{Database, StorageError};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::{Followed, Wanted, note, source::Source};
use crate::peers::Answers;

/// Gossiped transactions that are looked at at once; more are not passed on from here.
const CHECKS_MAX: usize = 64;

/// Judges gossip and answers questions until `stop`, or until the network ends.
pub(crate) async fn run(
    database: Database,
    followed: Followed,
    source: Source,
    wanted: Wanted,
    mut events: mpsc::Receiver<Event>,
    stop: CancellationToken,
) {
    let answers = Answers::new(database.clone());
    let checks = Arc::new(Semaphore::new(CHECKS_MAX));
    loop {
        let event = tokio::select! {
            event = events.recv() => event,
            () = stop.cancelled() => return,
        };
        match event {
            Some(Event::Asked(asked)) => answers.answer(asked),
            Some(Event::Gossip(gossip)) => match gossip.kind {
                Kind::Transaction => transaction(&database, gossip, &checks),
                Kind::Block => block(&followed, &source, &wanted, gossip).await,
            },
            None => return,
        }
    }
}

/// A block goes on to others if the sequencer signed it and it is new; executing it is this node's own matter.
async fn block(followed: &Followed, source: &Source, wanted: &Wanted, gossip: Gossip) {
    // Before L1 has said who the sequencer is nothing can be judged.
    let Some(sequencers) = *source.sequencers.borrow() else { return };
    let block = match sequencers.read(&gossip.bytes) {
        Ok(block) => block,
        Err(refused) => {
            tracing::debug!(from = %gossip.from, %refused, "a gossiped block is none");
            return gossip.judge(Verdict::Reject);
        }
    };
    let number = block.number();
    // An old block, played back, says nothing and goes nowhere.
    if followed.with(|chain| chain.head()).await >= number {
        return gossip.judge(Verdict::Ignore);
    }
    followed.is_signed(number);
    gossip.judge(Verdict::Accept);
    match followed.with(move |chain| chain.apply(&block)).await {
        Ok(Applied::Taken | Applied::Known) => {}
        Ok(Applied::Ahead | Applied::OtherParent | Applied::AwaitsRequests) => wanted.notify_one(),
        Err(error) => note(&error),
    }
}

/// A transaction goes on to others if it could be in a block now, as far as this node's state tells.
fn transaction(database: &Database, gossip: Gossip, checks: &Arc<Semaphore>) {
    let Ok(permit) = checks.clone().try_acquire_owned() else { return };
    let database = database.clone();
    tokio::task::spawn_blocking(move || {
        let verdict = match CheckedTransaction::check(&gossip.bytes, database.genesis().chain_id) {
            Err(_) => Verdict::Reject,
            Ok(transaction) => match could_be_next(&database, &transaction) {
                Ok(true) => Verdict::Accept,
                // Its sender may be ahead of this node, or behind.
                Ok(false) => Verdict::Ignore,
                Err(error) => {
                    tracing::error!(%error, "the state cannot be read");
                    Verdict::Ignore
                }
            },
        };
        gossip.judge(verdict);
        drop(permit);
    });
}

fn could_be_next(database: &Database, transaction: &CheckedTransaction) -> Result<bool, StorageError> {
    let view = database.view()?;
    let account = match view.tree()?.get(&Key::account(&transaction.sender())) {
        Ok(Some(Object::Account(account))) => account,
        Ok(_) => Default::default(),
        Err(error) => return Err(StorageError::Tree { reason: error.to_string() }),
    };
    let base_fee = view.block(view.head().block_number)?.map_or(0, |block| block.header.base_fee);
    Ok(transaction.nonce() >= account.nonce && account.balance >= transaction.cost(base_fee))
}
