//! The execution thread: the one writer of the chain.
//!
//! It owns the state and the sequencer's core. Everything that changes either comes through one bounded queue, so there is one order of events and no lock around the chain.
//! In each turn it takes what has come, writes all new transactions to the mempool log at once (one fsync for many, the *group commit*), acknowledges them, and then does what
//! the core says: builds a block, which is durable before anybody hears of it, or closes a batch.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use joule_kernel::{Abort, NotExecuted};
use joule_protocol::{Account, Address, Hash, Key, Object, PriorityRequest};
use joule_rpc::{NodeEvent, SubmitError};
use joule_sequencer::{
    Action, Admitted, BlockSize, CheckedTransaction, Dropped, PoolRefusal, SealedBatch, Sequencer, SequencerConfig,
};
use joule_state::{Execution, TreeError};
use joule_storage::{BatchRecord, BlockRecord, Database, PoolRecord, Stage, StateStore, StorageError};
use thiserror::Error;
use tokio::sync::{broadcast, oneshot};

use crate::{keys::BlockKey, metrics::Metrics, pending::Pending};

/// Commands that may wait for the thread. More are refused: a queue that grows without bound only hides that the node is too slow.
const QUEUE_MAX: usize = 8_192;

/// Commands taken in one turn, so that blocks are built on time under any load.
const TURN_MAX: usize = 2_048;

/// Why the thread ended.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The disk. What has been acknowledged is on it; the thread does not go on guessing.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The state, read while a transaction was judged.
    #[error("the state cannot be read: {0}")]
    State(#[from] TreeError<StorageError>),
    /// A block of ours has no proof: a bug or a damaged disk.
    #[error("block {number} aborted and is lost: {abort}")]
    Aborted {
        /// The block.
        number: u64,
        /// What the kernel says.
        abort: Abort,
    },
    /// The clock of this machine is before 1970.
    #[error("this machine's clock is before 1970")]
    Clock,
    /// L1 took back requests that blocks before the undo window have consumed.
    #[error("L1 no longer has request {index}, which block {block} consumed before what can be undone (block {floor})")]
    ReorgTooDeep {
        /// The first request that is gone.
        index: u64,
        /// The block that is to be kept.
        block: u64,
        /// The earliest block that can be kept.
        floor: u64,
    },
}

/// A signed transaction, and who waits for the answer.
#[derive(Debug)]
struct Submission {
    transaction: CheckedTransaction,
    answer: oneshot::Sender<Result<Hash, SubmitError>>,
    came: Instant,
}

#[derive(Debug)]
enum Command {
    Submit(Box<Submission>),
    /// The database holds more requests, and others than before from this index on.
    Requests {
        others_from: Option<u64>,
    },
    /// Take no more transactions, put what waits into blocks, and close the batch.
    Drain,
    Stop,
}

/// The other end of the queue. Cheap to clone.
#[derive(Clone, Debug)]
pub struct EngineHandle {
    commands: SyncSender<Command>,
    chain_id: u64,
}

impl EngineHandle {
    /// Takes a transaction as a wallet sent it: checks what needs no state on the calling thread, the rest on the execution thread, and returns when it is durable.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub async fn submit(&self, bytes: &[u8]) -> Result<Hash, SubmitError> {
        let transaction = CheckedTransaction::check(bytes, self.chain_id)?;
        let (answer, answered) = oneshot::channel();
        self.send(Command::Submit(Box::new(Submission { transaction, answer, came: Instant::now() })))?;
        answered.await.unwrap_or_else(|_| Err(unavailable("it is stopping")))
    }

    fn send(&self, command: Command) -> Result<(), SubmitError> {
        self.commands.try_send(command).map_err(|error| match error {
            TrySendError::Full(_) => unavailable("too many transactions are on their way; try again"),
            TrySendError::Disconnected(_) => unavailable("it is stopping"),
        })
    }

    /// Tells the thread that the database holds more requests, and others than before from `others_from` on. Waits while the queue is full: call it where blocking is allowed.
    pub fn requests_changed(&self, others_from: Option<u64>) {
        // An error says that the thread has ended, and then nothing waits for requests.
        let _ = self.commands.send(Command::Requests { others_from });
    }

    /// Tells the thread to take no more transactions and to put what waits into blocks and a batch.
    pub fn drain(&self) {
        let _ = self.commands.send(Command::Drain);
    }

    /// As [`EngineHandle::stop`], where waiting for room in the queue is not allowed. A full queue is none for long, and the thread ends by itself once nobody holds its other end.
    pub(crate) fn stop_soon(&self) {
        let _ = self.commands.try_send(Command::Stop);
    }

    /// Tells the thread to end after what is in the queue.
    pub fn stop(&self) {
        let _ = self.commands.send(Command::Stop);
    }
}

fn unavailable(reason: &str) -> SubmitError {
    SubmitError::Unavailable { reason: reason.to_owned() }
}

/// What the thread shares with the rest of the node.
#[derive(Clone, Debug)]
pub struct Shared {
    /// What waits, for those who ask.
    pub pending: Arc<Pending>,
    /// Blocks and pool events.
    pub events: broadcast::Sender<NodeEvent>,
    /// Numbers of batches that have been sealed.
    pub batches: broadcast::Sender<u64>,
    /// Numbers for operators.
    pub metrics: Metrics,
}

/// A running thread.
#[derive(Debug)]
pub struct Engine {
    handle: EngineHandle,
    thread: JoinHandle<Result<(), EngineError>>,
}

impl Engine {
    /// Takes the chain up where the disk has it: the mempool log goes back into the pool, blocks without a batch into the open batch.
    ///
    /// # Errors
    /// The disk.
    pub fn start(
        database: Database,
        config: SequencerConfig,
        key: BlockKey,
        shared: Shared,
    ) -> Result<Self, EngineError> {
        let (commands, queue) = sync_channel(QUEUE_MAX);
        let handle = EngineHandle { commands, chain_id: database.genesis().chain_id };
        let mut worker = Worker {
            execution: database.execution()?,
            // Payouts come from the fee recipient.
            sequencer: Sequencer::new(config).with_passenger(database.genesis().fee_recipient),
            database,
            key,
            shared,
            is_draining: false,
        };
        worker.recover()?;
        let thread = std::thread::Builder::new()
            .name("execution".to_owned())
            .spawn(move || {
                let result = worker.run(&queue);
                if let Err(error) = &result {
                    tracing::error!(%error, "the execution thread has ended");
                }
                result
            })
            .map_err(StorageError::from)?;
        Ok(Self { handle, thread })
    }

    /// The queue's other end.
    pub fn handle(&self) -> &EngineHandle {
        &self.handle
    }

    /// Whether the thread has ended.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the thread to end. Blocks.
    ///
    /// # Errors
    /// Why it ended, unless it was told to.
    ///
    /// # Panics
    /// If the thread did.
    pub fn join(self) -> Result<(), EngineError> {
        match self.thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

struct Worker {
    database: Database,
    execution: Execution<StateStore>,
    sequencer: Sequencer,
    key: BlockKey,
    shared: Shared,
    is_draining: bool,
}

/// What ended the filling of a block.
enum Filled {
    Abort(Abort),
    /// Nothing could be executed.
    Nothing,
}

impl From<Abort> for Filled {
    fn from(abort: Abort) -> Self {
        Self::Abort(abort)
    }
}

/// What a block adds to its batch. Requests are counted as transfers, which most are; the bound is the operator's, not the protocol's.
fn size_of(block: &BlockRecord) -> BlockSize {
    let transactions = block.transactions.iter().map(|done| done.gas).sum::<u64>();
    BlockSize {
        number: block.number(),
        gas: transactions + block.requests.len() as u64 * joule_protocol::gas_of(joule_protocol::CallKind::Transfer),
        data_bytes: block.chunk.len() as u64,
        withdrawals: block.messages.len() as u64,
    }
}

fn now_ms() -> Result<u64, EngineError> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| EngineError::Clock)?;
    Ok(since.as_millis() as u64)
}

impl Worker {
    fn run(&mut self, queue: &Receiver<Command>) -> Result<(), EngineError> {
        let mut turn = Vec::new();
        loop {
            let now = now_ms()?;
            let first = match self.sequencer.wake_at_ms(now) {
                Some(wake) => queue.recv_timeout(Duration::from_millis(wake.saturating_sub(now))),
                None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match first {
                Ok(command) => turn.push(command),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            turn.extend(queue.try_iter().take(TURN_MAX - 1));
            let is_stopping = self.take(&mut turn)?;
            let now = now_ms()?;
            for action in self.sequencer.time(now) {
                self.act(action)?;
            }
            let expired = self.sequencer.expire(now);
            self.forget(&expired.iter().map(|dropped| dropped.hash).collect::<Vec<_>>())?;
            if is_stopping {
                return Ok(());
            }
        }
    }

    /// Takes the commands of one turn, and says whether one of them was to stop.
    fn take(&mut self, turn: &mut Vec<Command>) -> Result<bool, EngineError> {
        let mut is_stopping = false;
        let mut admitted: Vec<(Submission, Admitted)> = Vec::new();
        for command in turn.drain(..) {
            match command {
                Command::Submit(submission) if self.is_draining => {
                    let _ = submission.answer.send(Err(unavailable("it is draining before a stop")));
                }
                Command::Submit(submission) => {
                    let account = self.account(&submission.transaction.sender())?;
                    match self.sequencer.submit(submission.transaction.clone(), &account) {
                        Ok(admission) => admitted.push((*submission, admission)),
                        Err(refusal) => {
                            self.shared.metrics.refused.inc();
                            // Whoever asked may have gone away.
                            let _ = submission.answer.send(Err(self.submit_error(refusal, &account)));
                        }
                    }
                }
                Command::Requests { others_from } => {
                    // Undoing blocks begins a new pool from the mempool log: what has been admitted must be there by then.
                    self.acknowledge(std::mem::take(&mut admitted))?;
                    self.requests_changed(others_from)?;
                }
                Command::Drain => {
                    self.is_draining = true;
                    self.sequencer.drain();
                }
                Command::Stop => is_stopping = true,
            }
        }
        self.acknowledge(admitted)?;
        Ok(is_stopping)
    }

    /// Writes new transactions to the mempool log, all at once, and then tells whoever sent them.
    fn acknowledge(&mut self, admitted: Vec<(Submission, Admitted)>) -> Result<(), EngineError> {
        if admitted.is_empty() {
            return Ok(());
        }
        let removed: Vec<Hash> = admitted.iter().flat_map(|(_, admission)| admission.removed.iter().copied()).collect();
        let added: Vec<PoolRecord> = admitted
            .iter()
            .map(|(submission, admission)| PoolRecord {
                hash: submission.transaction.hash(),
                arrival: admission.arrival,
                bytes: submission.transaction.bytes().to_vec(),
            })
            // One of the same turn may have replaced it.
            .filter(|record| self.sequencer.pool().get(&record.hash).is_some())
            .collect();
        self.database.pool_update(&added, &removed)?;
        let pool = self.sequencer.pool();
        self.shared.pending.remove(&removed, pool);
        for (submission, _) in admitted {
            let hash = submission.transaction.hash();
            if pool.get(&hash).is_some() {
                self.shared.pending.insert(&submission.transaction, pool);
            }
            // Nobody may be listening.
            let _ = self.shared.events.send(NodeEvent::Pending { hash });
            self.shared.metrics.submit_seconds.observe(submission.came.elapsed().as_secs_f64());
            self.shared.metrics.submitted.inc();
            let _ = submission.answer.send(Ok(hash));
        }
        self.shared.metrics.pool_transactions.set(pool.len() as i64);
        Ok(())
    }

    fn account(&self, address: &Address) -> Result<Account, EngineError> {
        match self.execution.tree().get(&Key::account(address))? {
            Some(Object::Account(account)) => Ok(account),
            _ => Ok(Account::default()),
        }
    }

    fn submit_error(&self, refusal: PoolRefusal, account: &Account) -> SubmitError {
        use joule_protocol::Refusal;
        match refusal {
            PoolRefusal::Refused(Refusal::NonceTooHigh { got, expected }) => {
                SubmitError::NonceTooFar { got, expected, limit: self.sequencer.config().pool.per_sender_max as u64 }
            }
            PoolRefusal::Refused(Refusal::InsufficientFunds { need, .. })
                if !self.sequencer.pool().is_empty() && need > account.balance =>
            {
                SubmitError::Unaffordable { have: account.balance, need }
            }
            PoolRefusal::Refused(refusal) => SubmitError::Refused(refusal),
            PoolRefusal::Known { hash } => SubmitError::AlreadyKnown { hash },
            PoolRefusal::ReplacementUnderpriced { need, got, .. } => SubmitError::Underpriced { got, need },
            PoolRefusal::SenderFull { limit, .. } => SubmitError::SenderFull { limit },
            PoolRefusal::PoolFull { limit } | PoolRefusal::GapsFull { limit, .. } => SubmitError::PoolFull { limit },
        }
    }

    fn act(&mut self, action: Action) -> Result<(), EngineError> {
        match action {
            Action::BuildBlock { requests } => self.build(requests),
            Action::SealBatch(batch) => self.seal(&batch),
        }
    }

    /// Builds, signs and writes the next block.
    fn build(&mut self, request_count: usize) -> Result<(), EngineError> {
        let began = Instant::now();
        let now = now_ms()?;
        let parent = *self.execution.checkpoint();
        let requests = self.database.view()?.requests(parent.priority_count, request_count)?;
        // L1's clock may be ahead of ours; a block is never earlier than a request in it.
        let dates =
            requests.iter().filter_map(|bytes| PriorityRequest::decode(bytes).ok()).map(|request| request.timestamp);
        let timestamp = dates.max().unwrap_or(0).max(now / 1_000).max(parent.timestamp);
        let base_fee = self.sequencer.config().base_fee;

        let mut dropped: Vec<Dropped> = Vec::new();
        let sequencer = &mut self.sequencer;
        let filled = self.execution.build::<Filled>(timestamp, base_fee, |block| {
            for request in &requests {
                match block.request(request) {
                    Ok(_) => {}
                    Err(NotExecuted::BlockFull) => break,
                    Err(NotExecuted::Aborted(abort)) => return Err(abort.into()),
                    Err(NotExecuted::Refused(refusal)) => return Err(Abort::Refused(refusal).into()),
                }
            }
            while let Some(next) = sequencer.next() {
                match block.transaction(next.bytes()) {
                    Ok(_) => sequencer.executed(),
                    Err(NotExecuted::BlockFull) => break,
                    Err(NotExecuted::Refused(refusal)) => dropped.extend(sequencer.refused(refusal, now)),
                    Err(NotExecuted::Aborted(abort)) => return Err(abort.into()),
                }
            }
            if block.is_empty() { Err(Filled::Nothing) } else { Ok(()) }
        });
        let executed = match filled {
            Ok(executed) => executed,
            Err(Filled::Nothing) => {
                self.sequencer.block_empty(now);
                return self.forget(&dropped.iter().map(|dropped| dropped.hash).collect::<Vec<_>>());
            }
            Err(Filled::Abort(abort)) => {
                return Err(EngineError::Aborted { number: parent.block_number + 1, abort });
            }
        };
        let executed_seconds = began.elapsed().as_secs_f64();
        let signature = self.key.sign_block(&executed.sealed.block.checkpoint.block_hash, &executed.items.encode());
        let record = BlockRecord::new(&executed, Some(signature));
        self.database.commit_block(&record, &executed.sealed.changes)?;
        self.execution.follow(&executed.sealed);

        let touched: Vec<(Address, u64)> = executed
            .sealed
            .changes
            .leaves
            .iter()
            .filter_map(|(key, leaf)| match leaf.object {
                Some(Object::Account(account)) => Some((key.address(), account.nonce)),
                _ => None,
            })
            .collect();
        let size = size_of(&record);
        let end = now_ms()?;
        let (actions, mut gone) =
            self.sequencer.block_sealed(&size, record.requests.len(), touched.iter().copied(), end);
        gone.extend(dropped.iter().map(|dropped| dropped.hash));
        let included: Vec<Hash> = record.transactions.iter().map(|done| done.hash).collect();
        let pool = self.sequencer.pool();
        self.shared.pending.remove(&included, pool);
        for (address, _) in &touched {
            self.shared.pending.account_changed(address, pool);
        }
        let metrics = &self.shared.metrics;
        metrics.blocks.inc();
        metrics.transactions.inc_by(record.transactions.len() as u64);
        metrics.requests.inc_by(record.requests.len() as u64);
        metrics.block_number.set(record.number() as i64);
        metrics.pool_transactions.set(self.sequencer.pool().len() as i64);
        metrics.execute_seconds.observe(executed_seconds);
        metrics.block_seconds.observe(began.elapsed().as_secs_f64());
        tracing::debug!(
            block = record.number(),
            transactions = record.transactions.len(),
            requests = record.requests.len(),
            gas = size.gas,
            "block"
        );
        // Nobody may be listening.
        let _ = self.shared.events.send(NodeEvent::Block { number: record.number() });
        self.forget(&gone)?;
        actions.into_iter().try_for_each(|action| self.act(action))
    }

    /// Removes transactions that will be in no block from the mempool log.
    fn forget(&mut self, hashes: &[Hash]) -> Result<(), EngineError> {
        if hashes.is_empty() {
            return Ok(());
        }
        self.database.pool_remove(hashes)?;
        self.shared.pending.remove(hashes, self.sequencer.pool());
        self.shared.metrics.dropped.inc_by(hashes.len() as u64);
        Ok(())
    }

    /// Records a batch; settlement finds it there.
    fn seal(&mut self, batch: &SealedBatch) -> Result<(), EngineError> {
        let view = self.database.view()?;
        let number = view.last_batch()?.map_or(0, |last| last.number) + 1;
        let at = |block: u64| -> Result<_, EngineError> {
            Ok(view.checkpoint(block)?.ok_or(StorageError::Missing { what: "checkpoint of block", number: block })?)
        };
        let record = BatchRecord {
            number,
            // Settlement writes the count that L1 has when it asks for a certificate.
            revert_count: 0,
            parent: at(batch.first_block - 1)?,
            checkpoint: at(batch.last_block)?,
            first_block: batch.first_block,
            last_block: batch.last_block,
            data_bytes: batch.data_bytes,
            certificate_expiry: None,
            stage: Stage::Sealed,
            l1_transaction: None,
        };
        drop(view);
        self.database.put_batch(&record)?;
        self.shared.metrics.batches.inc();
        tracing::info!(
            batch = number,
            first_block = batch.first_block,
            last_block = batch.last_block,
            data_bytes = batch.data_bytes,
            "batch sealed"
        );
        // Nobody may be listening.
        let _ = self.shared.batches.send(number);
        Ok(())
    }

    /// L1 has more requests, or others. Blocks that have consumed requests which are no longer there are undone, and their transactions wait again.
    fn requests_changed(&mut self, others_from: Option<u64>) -> Result<(), EngineError> {
        let consumed = self.execution.checkpoint().priority_count;
        if let Some(first) = others_from.filter(|&first| first < consumed) {
            self.undo_requests_from(first)?;
        }
        let view = self.database.view()?;
        let waiting = view.requests_count()?.saturating_sub(self.execution.checkpoint().priority_count);
        self.sequencer.requests_waiting(waiting);
        Ok(())
    }

    fn undo_requests_from(&mut self, index: u64) -> Result<(), EngineError> {
        let view = self.database.view()?;
        let floor = view.floor().block_number;
        let keep = view.last_block_before_request(index)?;
        let keep = keep.ok_or(EngineError::ReorgTooDeep { index, block: floor, floor })?;
        drop(view);
        tracing::warn!(
            request = index,
            keep,
            "L1 was reorganised below requests that blocks have consumed: undoing them"
        );
        self.database.revert_to(keep, true)?;
        self.execution = self.database.execution()?;
        self.sequencer = Sequencer::new(*self.sequencer.config()).with_passenger(self.database.genesis().fee_recipient);
        self.shared.pending.clear();
        self.recover()?;
        // Nobody may be listening.
        let _ = self.shared.events.send(NodeEvent::Reverted { to: keep });
        Ok(())
    }

    /// Feeds the core from the disk.
    fn recover(&mut self) -> Result<(), EngineError> {
        let missing = self.database.view()?.requests_missing()?;
        if let Some(index) = missing {
            // Killed after L1's requests were taken back or replaced, and before the blocks that consumed them were undone.
            return self.undo_requests_from(index);
        }
        let now = now_ms()?;
        let (log, waiting, blocks) = {
            let view = self.database.view()?;
            let waiting = view.requests_count()?.saturating_sub(view.head().priority_count);
            let first_open = view.last_batch()?.map_or(view.floor().block_number, |batch| batch.last_block) + 1;
            let mut blocks = Vec::new();
            for number in first_open..=view.head().block_number {
                let block = view.block(number)?.ok_or(StorageError::Missing { what: "block", number })?;
                blocks.push(size_of(&block));
            }
            (view.pool_all()?, waiting, blocks)
        };
        self.sequencer.requests_waiting(waiting);
        let mut gone = Vec::new();
        for record in log {
            self.sequencer.arrived(record.arrival);
            let chain_id = self.execution.chain_id;
            let Ok(transaction) = CheckedTransaction::check(&record.bytes, chain_id) else {
                // Only checked transactions are written, so this is a damaged record; the others are good.
                tracing::error!(transaction = %record.hash, "a record of the mempool log does not decode");
                gone.push(record.hash);
                continue;
            };
            let hash = transaction.hash();
            let account = self.account(&transaction.sender())?;
            match self.sequencer.restore(transaction.clone(), &account) {
                Ok(admitted) => {
                    gone.extend(admitted.removed);
                    self.shared.pending.insert(&transaction, self.sequencer.pool());
                }
                Err(refusal) => {
                    tracing::warn!(transaction = %hash, %refusal, "a transaction of the mempool log is no longer good");
                    gone.push(hash);
                }
            }
        }
        self.forget(&gone)?;
        for block in blocks {
            let (actions, _) = self.sequencer.block_sealed(&block, 0, BTreeSet::new(), now);
            actions.into_iter().try_for_each(|action| self.act(action))?;
        }
        if self.is_draining {
            self.sequencer.drain();
        }
        self.shared.metrics.block_number.set(self.execution.checkpoint().block_number as i64);
        self.shared.metrics.pool_transactions.set(self.sequencer.pool().len() as i64);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
