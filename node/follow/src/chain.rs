//! A follower's disk: blocks that the sequencer signed, executed and compared; batches in step with L1.

use std::sync::Arc;

use alloy_primitives::B256;
use joule_committee_client::{SignedOffer, checkpoint_hash};
use joule_kernel::Abort;
use joule_l1::{BatchOnL1, StageOnL1};
use joule_protocol::{Checkpoint, Chunk, ChunkError, Digest, Hash, Native};
use joule_state::Execution;
use joule_storage::{BatchRecord, BlockRecord, Database, Stage, StateStore, StorageError, UNDO_STEP_RECORDS, View};
use thiserror::Error;

use crate::{ExecuteError, SignedBlock, execute, l1::L1View};

/// Steps of pruning in one look at L1; what is left goes at the next ones, so that a long history does not hold up what is new.
const PRUNE_STEPS_MAX: usize = 16;

/// Why a follower goes no further. Each is evidence that something it has to rely on is broken; what it holds stays as it was, and is served.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Halt {
    /// The sequencer signed a block together with a header that its items do not lead to.
    #[error("the sequencer signed block {number} as {signed}; its items execute to {got}")]
    WrongBlock {
        /// The block.
        number: u64,
        /// The hash signed.
        signed: Hash,
        /// The hash reached.
        got: Hash,
    },
    /// The sequencer signed a block that cannot be proven.
    #[error("the sequencer signed block {number} as {signed}; it has no proof: {abort}")]
    Unprovable {
        /// The block.
        number: u64,
        /// The hash signed.
        signed: Hash,
        /// Why.
        abort: Abort,
    },
    /// L1 has a batch with the inputs that this node executed, and another result.
    #[error(
        "block {block} of batch {batch} leads to the root {expected} here; on L1 it leads to {got} from the same inputs"
    )]
    WrongRoot {
        /// The batch.
        batch: u64,
        /// The block.
        block: u64,
        /// Reached here.
        expected: Digest,
        /// L1's.
        got: Digest,
    },
    /// L1 has another batch where this node has dropped what it would take to go back.
    #[error("L1 has batch {batch} with checkpoint {got}; here it led to {expected}, and what came before is pruned")]
    Pruned {
        /// The batch.
        batch: u64,
        /// Here.
        expected: B256,
        /// L1's.
        got: B256,
    },
    /// L1 took back requests that blocks consumed which can no longer be undone.
    #[error("L1 no longer has request {index}, which a block before {floor} consumed; that block cannot be undone")]
    RequestsGone {
        /// The request.
        index: u64,
        /// The first block that can be undone to.
        floor: u64,
    },
}

/// Why a follower goes no further for now. L1's contract takes no batch without a certificate, so whoever answers for L1 here does not show what the contract saw, or the contract is not what it
/// seems. It may come right, when the L1 node is mended or L1 drops the batch, and is looked at again with every look at L1.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Hold {
    /// A batch whose data is said to be with the committee, without the certificate that says so.
    #[error("the certificate of batch {batch} is missing: {reason}")]
    NoCertificate {
        /// The batch.
        batch: u64,
        /// What is there instead.
        reason: String,
    },
    /// A certificate that is none.
    #[error("the certificate of batch {batch} does not verify: {reason}")]
    BadCertificate {
        /// The batch.
        batch: u64,
        /// What is wrong.
        reason: String,
    },
}

/// Why the chain cannot be followed now.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ChainError {
    /// For good.
    #[error(transparent)]
    Halted(#[from] Box<Halt>),
    /// Until what it waits for has come right.
    #[error(transparent)]
    Held(#[from] Box<Hold>),
    /// The disk.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The state could not be read or written while a block was executed.
    #[error("the state failed while block {number} was executed")]
    State {
        /// The block.
        number: u64,
    },
    /// Chunks that are none, though they hash to what L1 names: whoever committed the batch lost its data.
    #[error("the data of block {number} on L1 is no batch data: {error}")]
    NoData {
        /// The block.
        number: u64,
        /// What is wrong.
        error: ChunkError,
    },
}

/// Why an offer was not taken. Whoever served it is to blame, unless it is the disk.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TakeError {
    /// Not the batch that L1 has.
    #[error("the offer leads to {got}, L1's batch {number} to {expected}")]
    OtherBatch {
        /// The batch.
        number: u64,
        /// L1's.
        expected: B256,
        /// The offer's.
        got: B256,
    },
    /// It does not start where the batch before ends here.
    #[error("batch {number} starts at block {block}, which is another one here, or not here")]
    OtherParent {
        /// The batch.
        number: u64,
        /// Its parent's last block.
        block: u64,
    },
    /// Its blocks.
    #[error(transparent)]
    Blocks(#[from] ExecuteError),
    /// This node has halted, or its disk failed.
    #[error(transparent)]
    Chain(#[from] ChainError),
}

impl From<StorageError> for TakeError {
    fn from(error: StorageError) -> Self {
        Self::Chain(error.into())
    }
}

/// What became of a signed block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It is the head.
    Taken,
    /// A block of that number is here.
    Known,
    /// Blocks before it are missing.
    Ahead,
    /// It follows another block than the one that is here.
    OtherParent,
    /// L1, as far as it has been followed here, has not made all of its requests, or others.
    AwaitsRequests,
}

/// What L1 has that is not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing.
    Nothing,
    /// The blocks of this batch.
    Blocks {
        /// The batch.
        number: u64,
    },
    /// L1 has other blocks in this batch than are here: its data must show which.
    Contradiction {
        /// The batch.
        number: u64,
    },
}

/// What happened to the chain, for those who tell others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A block is the head.
    Block(u64),
    /// Blocks behind this one were undone.
    Reverted(u64),
}

/// A follower's disk. Blocks its thread; one owner at a time.
#[derive(Debug)]
pub struct Chain {
    database: Database,
    execution: Execution<StateStore>,
    halted: Option<Box<Halt>>,
    held: Option<Box<Hold>>,
    changes: Vec<Change>,
    /// L1's batches when the disk was brought in step with them last; nothing before the first time.
    followed: Arc<Vec<BatchOnL1>>,
}

impl Chain {
    /// Takes up a disk at its head, or before the first block whose requests are not there: they were taken back and the node was killed, or the block came before them and comes again.
    ///
    /// # Errors
    /// The disk.
    pub fn open(database: Database) -> Result<Self, StorageError> {
        let keep = {
            let view = database.view()?;
            view.requests_missing()?.map_or(Ok(None), |index| view.last_block_before_request(index))?
        };
        if let Some(keep) = keep {
            database.revert_to(keep, false)?;
        }
        let execution = database.execution()?;
        Ok(Self { database, execution, halted: None, held: None, changes: Vec::new(), followed: Arc::default() })
    }

    /// The disk.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Number of the last block.
    pub fn head(&self) -> u64 {
        self.execution.checkpoint().block_number
    }

    /// Why it goes no further, if it does not.
    pub fn halted(&self) -> Option<&Halt> {
        self.halted.as_deref()
    }

    /// What happened since this was asked last, in order.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// Goes no further, for a reason that was seen elsewhere.
    pub fn halt(&mut self, halt: Halt) -> ChainError {
        tracing::error!(%halt, "ALARM: this node has halted");
        let halt = self.halted.get_or_insert(Box::new(halt)).clone();
        ChainError::Halted(halt)
    }

    /// What it waits for, if it does.
    pub fn held(&self) -> Option<&Hold> {
        self.held.as_deref()
    }

    /// Takes no more of the sequencer's blocks for this reason, or takes them again. What L1 says of batches before the reason is followed meanwhile, and what L1 takes back is undone.
    pub fn hold(&mut self, hold: Option<Hold>) {
        match &hold {
            Some(hold) if self.held.as_deref() != Some(hold) => {
                tracing::error!(%hold, "ALARM: this node goes no further until this has come right");
            }
            None if self.held.is_some() => tracing::info!("what this node waited for has come right: it goes on"),
            _ => {}
        }
        self.held = hold.map(Box::new);
    }

    fn check_running(&self) -> Result<(), ChainError> {
        match &self.halted {
            Some(halt) => Err(ChainError::Halted(halt.clone())),
            None => Ok(()),
        }
    }

    /// Executes the next block and makes it the head if it leads where the sequencer signed that it does.
    ///
    /// # Errors
    /// `Halted` if it does not. Never because of whoever passed the block on: the signature covers header and items. `Held` while it waits.
    pub fn apply(&mut self, block: &SignedBlock) -> Result<Applied, ChainError> {
        self.check_running()?;
        if let Some(hold) = &self.held {
            return Err(ChainError::Held(hold.clone()));
        }
        let head = *self.execution.checkpoint();
        let (number, signed) = (block.number(), block.hash());
        if number <= head.block_number {
            return Ok(Applied::Known);
        }
        if number != head.block_number + 1 {
            return Ok(Applied::Ahead);
        }
        if block.header().parent != head.block_hash {
            return Ok(Applied::OtherParent);
        }
        let items = block.items();
        let requests = self.database.view()?.requests(head.priority_count, items.requests.len())?;
        if requests != items.requests {
            return Ok(Applied::AwaitsRequests);
        }
        let executed = match self.execution.replay(items) {
            Ok(executed) => executed,
            Err(Abort::Store) => return Err(ChainError::State { number }),
            Err(abort) => return Err(self.halt(Halt::Unprovable { number, signed, abort })),
        };
        let got = executed.sealed.block.checkpoint.block_hash;
        if got != signed {
            return Err(self.halt(Halt::WrongBlock { number, signed, got }));
        }
        let record = BlockRecord::new(&executed, Some(*block.signature()));
        self.database.commit_block(&record, &executed.sealed.changes)?;
        self.execution.follow(&executed.sealed);
        self.changes.push(Change::Block(number));
        Ok(Applied::Taken)
    }

    fn undo(&mut self, keep: u64) -> Result<(), StorageError> {
        if keep < self.head() {
            self.database.revert_to(keep, false)?;
            self.execution = self.database.execution()?;
            self.changes.push(Change::Reverted(keep));
        }
        Ok(())
    }

    /// L1 has other requests from an index on: blocks that consumed one of them are undone.
    ///
    /// # Errors
    /// `Halted` if they are too old for that.
    pub fn requests_changed(&mut self, first: u64) -> Result<(), ChainError> {
        self.check_running()?;
        if first >= self.execution.checkpoint().priority_count {
            return Ok(());
        }
        let (keep, floor) = {
            let view = self.database.view()?;
            (view.last_block_before_request(first)?, view.floor().block_number)
        };
        let Some(keep) = keep else { return Err(self.halt(Halt::RequestsGone { index: first, floor })) };
        tracing::warn!(
            request = first,
            keep,
            "L1 was reorganised below requests that blocks have consumed: undoing them"
        );
        Ok(self.undo(keep)?)
    }

    /// Brings batches in step with L1: those that it dropped are forgotten, those up to `certified` whose blocks are here and lead to its checkpoint are noted with their stage. Says what is missing of those.
    ///
    /// # Errors
    /// `Halted` where L1 contradicts what can no longer be undone.
    pub fn follow(&mut self, l1: &L1View, certified: u64) -> Result<Need, ChainError> {
        self.check_running()?;
        // Up to here L1 says what it said before, in every field, and the disk is in step with that.
        let same = self.followed.iter().zip(l1.batches.iter()).take_while(|(before, now)| before == now).count() as u64;
        self.forget_dropped(l1, same)?;
        let (mut number, mut parent) = {
            let view = self.database.view()?;
            match view.last_batch()? {
                Some(last) => (last.number + 1, last.checkpoint),
                None => match base(&view, l1)? {
                    Some((base, checkpoint)) => (base + 1, checkpoint),
                    // The state that this disk began with has not been executed, as far as L1 has been read: nothing can be said yet.
                    None => return Ok(Need::Nothing),
                },
            }
        };
        let mut need = Need::Nothing;
        while let Some(batch) = l1.batch(number).filter(|_| number <= certified) {
            let end = batch.checkpoint.block_number;
            let here = self.database.view()?.checkpoint(end)?;
            match here {
                Some(here) if here == batch.checkpoint => {}
                Some(_) => need = Need::Contradiction { number },
                None => need = Need::Blocks { number },
            }
            if need != Need::Nothing {
                break;
            }
            self.database.put_batch(&BatchRecord {
                number,
                revert_count: batch.revert_count,
                parent,
                checkpoint: batch.checkpoint,
                first_block: parent.block_number + 1,
                last_block: end,
                data_bytes: batch.data_bytes,
                certificate_expiry: None,
                stage: stage_of(batch.stage),
                l1_transaction: Some(Hash(batch.transaction.0)),
            })?;
            (number, parent) = (number + 1, batch.checkpoint);
        }
        self.note_stages(l1, same)?;
        self.followed = l1.batches.clone();
        Ok(need)
    }

    /// Forgets batches behind the first `same` that L1 does not have (any more), and all that come after one. One that was dropped and committed again since L1 was looked at last counts anew too,
    /// under a certificate of its own. All of them are compared: where L1 was reorganised, a batch may be what it was behind one that is not.
    fn forget_dropped(&mut self, l1: &L1View, same: u64) -> Result<(), ChainError> {
        let (mut from, mut halt) = (None, None);
        {
            let view = self.database.view()?;
            let floor = view.floor().block_number;
            let mut next = view.last_batch()?;
            while let Some(record) = next.filter(|record| record.number > same) {
                let on_l1 = l1.batch(record.number);
                if !on_l1.is_some_and(|batch| is_noted(&record, batch)) {
                    from = Some(record.number);
                }
                let is_other = |batch: &&BatchOnL1| batch.checkpoint != record.checkpoint;
                if let Some(other) = on_l1.filter(|batch| is_other(batch) && record.last_block <= floor) {
                    let (expected, got) = (checkpoint_hash(&record.checkpoint), checkpoint_hash(&other.checkpoint));
                    halt = Some(Halt::Pruned { batch: record.number, expected, got });
                }
                next = view.batch(record.number - 1)?;
            }
        }
        if let Some(halt) = halt {
            return Err(self.halt(halt));
        }
        if let Some(from) = from {
            tracing::warn!(from, "L1 has dropped batches");
            self.database.forget_batches(from)?;
        }
        Ok(())
    }

    fn note_stages(&self, l1: &L1View, same: u64) -> Result<(), StorageError> {
        let last = self.database.view()?.last_batch()?.map_or(0, |batch| batch.number);
        for number in same + 1..=last {
            let record = self.database.view()?.batch(number)?;
            let (Some(mut record), Some(batch)) = (record, l1.batch(number)) else { continue };
            let (stage, transaction) = (stage_of(batch.stage), Some(Hash(batch.transaction.0)));
            if record.stage != stage || record.l1_transaction != transaction {
                (record.stage, record.l1_transaction) = (stage, transaction);
                self.database.put_batch(&record)?;
            }
        }
        // What L1 has executed is not undone, and its state is what escapes need; earlier states are nobody's.
        if let Some(executed) = self.database.view()?.executed_batch()? {
            for _ in 0..PRUNE_STEPS_MAX {
                if self.database.prune_undo_step(executed.last_block, UNDO_STEP_RECORDS)?.is_done {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Takes a batch that L1 has committed from an offer that somebody serves: its blocks are executed, and must lead to L1's checkpoint.
    ///
    /// # Errors
    /// The offer is not that; what was here is as it was.
    pub fn take(&mut self, l1: &L1View, number: u64, offer: &SignedOffer) -> Result<(), TakeError> {
        self.check_running()?;
        let offer = offer.offer();
        let got = checkpoint_hash(offer.checkpoint());
        let expected = l1.batch(number).map(|batch| checkpoint_hash(&batch.checkpoint)).unwrap_or_default();
        if got != expected {
            return Err(TakeError::OtherBatch { number, expected, got });
        }
        let (block, head) = (offer.parent().block_number, self.head());
        if block > head || self.database.view()?.checkpoint(block)?.as_ref() != Some(offer.parent()) {
            return Err(TakeError::OtherParent { number, block });
        }
        let result = execute(&self.database, offer);
        if result.is_err() {
            self.database.revert_to(head, false)?;
        }
        self.execution = self.database.execution()?;
        self.changes.extend((head + 1..=self.head()).map(Change::Block));
        Ok(result?)
    }

    /// Compares a batch's data, as L1 has its hash, with the blocks that are here. Where they differ in what went in, somebody signed or committed two things, and L1 decides: the blocks here are
    /// undone and those of the batch can be taken. Returns the first that was.
    ///
    /// # Errors
    /// `Halted` where the same went in and something else came out.
    pub fn compare(&mut self, l1: &L1View, number: u64, chunks: &[Vec<u8>]) -> Result<Option<u64>, ChainError> {
        self.check_running()?;
        let Some(batch) = l1.batch(number) else { return Ok(None) };
        let first = (batch.checkpoint.block_number + 1).saturating_sub(chunks.len() as u64);
        let mut differs = None;
        for (block, chunk) in (first..).zip(chunks) {
            let Some(here) = self.database.view()?.block(block)? else { break };
            if here.chunk == *chunk {
                continue;
            }
            let theirs = Chunk::decode::<Native>(chunk).map_err(|error| ChainError::NoData { number: block, error })?;
            let is_same_input = theirs.transactions_root == here.header.transactions_root
                && theirs.request_outcomes.len() == here.requests.len()
                && (theirs.timestamp, theirs.base_fee) == (here.items.timestamp, here.items.base_fee);
            if is_same_input {
                let (expected, got) = (here.header.state_root, theirs.state_root);
                return Err(self.halt(Halt::WrongRoot { batch: number, block, expected, got }));
            }
            differs = Some(block);
            break;
        }
        if let Some(block) = differs {
            tracing::error!(
                batch = number,
                block,
                "ALARM: L1 has other blocks than the sequencer had signed: following L1"
            );
            self.undo(block - 1)?;
        }
        Ok(differs)
    }
}

/// Whether a record is of this very commit, whatever has come of it since and whichever transaction it was in.
fn is_noted(record: &BatchRecord, batch: &BatchOnL1) -> bool {
    record.checkpoint == batch.checkpoint
        && checkpoint_hash(&record.parent) == batch.parent
        && record.revert_count == batch.revert_count
        && record.data_bytes == batch.data_bytes
}

fn stage_of(stage: StageOnL1) -> Stage {
    match stage {
        StageOnL1::Committed => Stage::Committed,
        StageOnL1::Proven => Stage::Proven,
        StageOnL1::Executed => Stage::Executed,
    }
}

/// The last executed batch that the disk's first state is behind, and its checkpoint; 0 and genesis's before the first. Pruning goes in steps and may rest inside of a
/// batch: then that batch begins behind the first state, among blocks that are here as long as they are not a snapshot's, which begins with a batch's end and no blocks.
fn base(view: &View<'_>, l1: &L1View) -> Result<Option<(u64, Checkpoint)>, StorageError> {
    let floor = *view.floor();
    if floor.block_number == 0 {
        return Ok(Some((0, floor)));
    }
    if let Some(number) = l1.executed_batch_of(checkpoint_hash(&floor)) {
        return Ok(Some((number, floor)));
    }
    match l1.last_executed_up_to(floor.block_number) {
        Some(batch) => {
            let here = view.checkpoint(batch.checkpoint.block_number)?;
            Ok(here.filter(|here| *here == batch.checkpoint).map(|here| (batch.number, here)))
        }
        None if view.block(1)?.is_some() => Ok(view.checkpoint(0)?.map(|genesis| (0, genesis))),
        None => Ok(None),
    }
}
