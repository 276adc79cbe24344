//! The chain's history from L1 alone.
//!
//! What a node with an empty disk, or one that trusts nobody, starts from: every batch with its two checkpoints and its stage, every
//! request, and the data of the batches whose data is on L1. Data of certified batches is fetched from the committee and checked against the
//! checkpoints found here; certificates are read here too, so that it can be seen who signed.

use alloy::{
    primitives::{B256, Bytes},
    providers::Provider,
    rpc::types::Filter,
    sol_types::{SolCall, SolEvent},
};
use joule_contracts::Rollup;
use joule_protocol::{Accumulator, Checkpoint, Hash, Native, PriorityRequest};
use thiserror::Error;

use crate::{
    BlockRef, Committed, L1Client, L1Error, L1Event, Located,
    posting::{Post, PostingError},
};

/// Blocks in one query for logs.
const RANGE_BLOCKS: u64 = 1_000;

/// How far a batch has come on L1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StageOnL1 {
    /// Named, with its data available.
    Committed,
    /// Shown to follow from its parent.
    Proven,
    /// Final.
    Executed,
}

/// Where a batch's data can be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AvailableAt {
    /// On L1.
    L1,
    /// With the committee.
    Committee {
        /// 1 for ECDSA, 2 for BLS.
        scheme: u8,
    },
}

/// What the transaction of a commit shows of where the data is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShownAvailability {
    /// The scheme byte and the certificate, or what stands for data on L1.
    Shown(Bytes),
    /// Nothing: it called another contract, which called the rollup. Somebody who settles for a late operator may do so.
    Inside,
    /// It called the rollup and did not commit this batch, which no contract makes so: the node that was asked is wrong.
    OtherCall,
    /// The node that was asked has no such transaction, though it has its event.
    NoTransaction,
}

/// A batch as L1 knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchOnL1 {
    /// Its number.
    pub number: u64,
    /// Hash of the checkpoint it starts from.
    pub parent: B256,
    /// The checkpoint it leads to.
    pub checkpoint: Checkpoint,
    /// Times that committed batches had been dropped when it was committed.
    pub revert_count: u64,
    /// Length of its data, bytes.
    pub data_bytes: u64,
    /// Where its data is.
    pub available_at: AvailableAt,
    /// How far it has come.
    pub stage: StageOnL1,
    /// Block of its commit.
    pub block_number: u64,
    /// Transaction of its commit.
    pub transaction: B256,
}

/// Events or data that do not fit together. The contracts never make such, so the node that was asked is wrong, or a reorg came between.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// L1 could not be asked.
    #[error(transparent)]
    L1(#[from] L1Error),
    /// Requests out of order or not accumulating.
    #[error("request {got} does not continue the {expected} before it")]
    BrokenQueue {
        /// Requests so far.
        expected: u64,
        /// The one that came.
        got: u64,
    },
    /// A batch event out of order.
    #[error("L1 {what} batch {got} where batch {expected} is next")]
    BrokenOrder {
        /// Which event.
        what: &'static str,
        /// The next one.
        expected: u64,
        /// The one that came.
        got: u64,
    },
    /// A checkpoint that does not hash to the hash beside it, or does not follow.
    #[error("the checkpoint of batch {number} is {got}, {expected} was expected")]
    WrongCheckpoint {
        /// The batch.
        number: u64,
        /// The hash expected.
        expected: B256,
        /// The hash found.
        got: B256,
    },
    /// The posts found do not lead to the batch's accumulator.
    #[error("posts on L1 lead from {start} to no {end}, which batch {number} names")]
    DataMissing {
        /// The batch.
        number: u64,
        /// Accumulator at its beginning.
        start: B256,
        /// Accumulator at its end.
        end: B256,
    },
    /// Posted bytes that are no chunks.
    #[error(transparent)]
    Posting(#[from] PostingError),
    /// The block up to which the history goes is no longer on the chain.
    #[error("L1 reorganised while its history was read")]
    Reorganised,
    /// No batch of that number waits or was executed.
    #[error("L1 knows no batch {number}")]
    NoSuchBatch {
        /// The number.
        number: u64,
    },
}

/// Everything about the chain that L1 knows, up to a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    genesis: Checkpoint,
    batches: Vec<BatchOnL1>,
    requests: Vec<PriorityRequest>,
    acc: Accumulator,
    revert_count: u64,
    frozen: bool,
    /// The block up to which it goes.
    reached: Option<BlockRef>,
}

impl History {
    /// The history before anything happened.
    pub fn new(genesis: Checkpoint) -> Self {
        let (batches, requests) = (Vec::new(), Vec::new());
        Self { genesis, batches, requests, acc: Accumulator::default(), revert_count: 0, frozen: false, reached: None }
    }

    /// Reads L1 from the rollup's deployment up to `end`, and checks that all of it fits together.
    ///
    /// # Errors
    /// L1 could not be asked, changed its mind meanwhile, or does not fit together.
    pub async fn read(client: &L1Client, genesis: Checkpoint, end: BlockRef) -> Result<Self, HistoryError> {
        let mut history = Self::new(genesis);
        let mut from = client.contracts().deployed_at;
        while from <= end.number {
            let to = end.number.min(from + RANGE_BLOCKS - 1);
            for event in client.events(from, to).await? {
                history.take(&event)?;
            }
            from = to + 1;
        }
        // The hash of a block fixes its whole past.
        if client.block(end.number).await?.is_none_or(|block| block.hash != end.hash) {
            return Err(HistoryError::Reorganised);
        }
        history.reached = Some(end);
        Ok(history)
    }

    /// Takes the next event.
    ///
    /// # Errors
    /// It does not continue what came before.
    pub fn take(&mut self, located: &Located) -> Result<(), HistoryError> {
        match &located.event {
            L1Event::PriorityRequest { index, acc, request } => {
                let expected = self.requests.len() as u64;
                let mut next = self.acc;
                next.absorb::<Native>(&request.encode());
                if *index != expected || next.0.0 != acc.0 {
                    return Err(HistoryError::BrokenQueue { expected, got: *index });
                }
                self.acc = next;
                self.requests.push(request.clone());
            }
            L1Event::Committed(committed) => self.commit(committed, located)?,
            L1Event::Proven { number, checkpoint_hash, .. } => {
                self.advance(*number, *checkpoint_hash, StageOnL1::Committed, StageOnL1::Proven, "proved")?;
            }
            // Genesis counts as executed when the rollup is made.
            L1Event::Executed { number: 0, checkpoint_hash, .. } => {
                let expected = B256::new(self.genesis.hash::<Native>().0);
                if *checkpoint_hash != expected {
                    return Err(HistoryError::WrongCheckpoint { number: 0, expected, got: *checkpoint_hash });
                }
            }
            L1Event::Executed { number, checkpoint_hash, .. } => {
                self.advance(*number, *checkpoint_hash, StageOnL1::Proven, StageOnL1::Executed, "executed")?;
            }
            L1Event::Reverted { last_kept, revert_count, .. } => {
                let executed = self.batches.iter().filter(|batch| batch.stage == StageOnL1::Executed).count() as u64;
                let committed = self.batches.len() as u64;
                if *last_kept < executed || *last_kept > committed {
                    return Err(HistoryError::BrokenOrder { what: "kept", expected: executed, got: *last_kept });
                }
                self.batches.truncate(*last_kept as usize);
                self.revert_count = *revert_count;
            }
            L1Event::Frozen { .. } => self.frozen = true,
            L1Event::DataPosted { .. }
            | L1Event::SequencerChanged { .. }
            | L1Event::ProgramSet { .. }
            | L1Event::KeysetActivated { .. }
            | L1Event::KeysetRetired { .. } => {}
        }
        Ok(())
    }

    fn commit(&mut self, committed: &Committed, located: &Located) -> Result<(), HistoryError> {
        let (expected, got) = (self.batches.len() as u64 + 1, committed.number);
        if got != expected {
            return Err(HistoryError::BrokenOrder { what: "committed", expected, got });
        }
        let parent = B256::new(self.tip().hash::<Native>().0);
        let hash = B256::new(committed.checkpoint.hash::<Native>().0);
        for (expected, got) in [(parent, committed.parent), (committed.checkpoint_hash, hash)] {
            if expected != got {
                return Err(HistoryError::WrongCheckpoint { number: committed.number, expected, got });
            }
        }
        let available_at = match committed.data_scheme {
            0 => AvailableAt::L1,
            scheme => AvailableAt::Committee { scheme },
        };
        self.batches.push(BatchOnL1 {
            number: committed.number,
            parent,
            checkpoint: committed.checkpoint,
            revert_count: committed.revert_count,
            data_bytes: committed.data_bytes,
            available_at,
            stage: StageOnL1::Committed,
            block_number: located.block_number,
            transaction: located.transaction,
        });
        Ok(())
    }

    fn advance(
        &mut self,
        number: u64,
        hash: B256,
        from: StageOnL1,
        to: StageOnL1,
        what: &'static str,
    ) -> Result<(), HistoryError> {
        let next = self.batches.iter_mut().find(|batch| batch.stage <= from);
        let Some(batch) = next.filter(|batch| batch.number == number && batch.stage == from) else {
            let expected = self.batches.iter().filter(|batch| batch.stage >= to).count() as u64 + 1;
            return Err(HistoryError::BrokenOrder { what, expected, got: number });
        };
        let expected = B256::new(batch.checkpoint.hash::<Native>().0);
        if expected != hash {
            return Err(HistoryError::WrongCheckpoint { number, expected, got: hash });
        }
        batch.stage = to;
        Ok(())
    }

    /// The last batch's checkpoint, or genesis'.
    pub fn tip(&self) -> &Checkpoint {
        self.batches.last().map_or(&self.genesis, |batch| &batch.checkpoint)
    }

    /// All batches that were not dropped, from number 1.
    pub fn batches(&self) -> &[BatchOnL1] {
        &self.batches
    }

    /// The checkpoint that batch `number` starts from.
    pub fn parent_of(&self, number: u64) -> Option<&Checkpoint> {
        match number.checked_sub(1)? {
            0 => Some(&self.genesis),
            before => self.batches.get(usize::try_from(before - 1).ok()?).map(|batch| &batch.checkpoint),
        }
    }

    /// The last executed batch.
    pub fn executed(&self) -> Option<&BatchOnL1> {
        self.batches.iter().rev().find(|batch| batch.stage == StageOnL1::Executed)
    }

    /// All requests in order.
    pub fn requests(&self) -> &[PriorityRequest] {
        &self.requests
    }

    /// The accumulator over all requests.
    pub fn requests_acc(&self) -> Accumulator {
        self.acc
    }

    /// Requests that a batch consumed, with their places in the queue; `None` if L1 knows no such batch, or its counts make no sense.
    pub fn requests_of(&self, number: u64) -> Option<&[PriorityRequest]> {
        let from = self.parent_of(number)?.priority_count;
        let to = self.parent_of(number + 1)?.priority_count;
        self.requests.get(usize::try_from(from).ok()?..usize::try_from(to).ok()?)
    }

    /// Times that committed batches were dropped.
    pub fn revert_count(&self) -> u64 {
        self.revert_count
    }

    /// Whether the chain was frozen.
    pub fn is_frozen(&self) -> bool {
        self.frozen
    }

    /// The block up to which it was read.
    pub fn reached(&self) -> Option<&BlockRef> {
        self.reached.as_ref()
    }

    /// The chunks of a batch whose data is on L1, checked against the accumulators that the batch names.
    ///
    /// # Errors
    /// No such batch, its data is with the committee, or L1 could not be asked or does not fit together.
    pub async fn posted_chunks(&self, client: &L1Client, number: u64) -> Result<Vec<Bytes>, HistoryError> {
        let (Some(parent), Some(batch)) =
            (self.parent_of(number), number.checked_sub(1).and_then(|i| self.batches.get(usize::try_from(i).ok()?)))
        else {
            return Err(HistoryError::NoSuchBatch { number });
        };
        let Hash(start) = parent.data_acc.0;
        let Hash(end) = batch.checkpoint.data_acc.0;
        let (start, end) = (B256::new(start), B256::new(end));
        let missing = || HistoryError::DataMissing { number, start, end };

        // Back from the end: whoever posted a stretch, the contract hashed it itself, so the first one found will do. Each has fewer bytes
        // behind it than the one before, so this ends; and what others post besides is not looked at, however much it is.
        let (mut stretches, mut reached, mut bytes) = (Vec::new(), end, batch.data_bytes + 1);
        while reached != start {
            let post = find_post(client, start, reached, batch.block_number).await?.ok_or_else(missing)?;
            if post.data_bytes >= bytes {
                return Err(missing());
            }
            bytes = post.data_bytes;
            stretches.push((post.from, reached, post.transaction));
            reached = post.from;
        }
        let mut chunks = Vec::new();
        for (from, to, transaction) in stretches.into_iter().rev() {
            let Some(input) = client.input_to_rollup(transaction).await? else { return Err(missing()) };
            let post = Post::decode(&input)?;
            if (post.start, post.from, post.to()) != (start, from, to) {
                return Err(missing());
            }
            chunks.extend(post.chunks);
        }
        Ok(chunks)
    }

    /// The availability bytes (scheme byte, then the certificate) of a batch's commit, if its transaction shows them.
    ///
    /// # Errors
    /// L1 could not be asked.
    pub async fn availability_of(client: &L1Client, batch: &BatchOnL1) -> Result<Option<Bytes>, HistoryError> {
        Ok(match Self::shown_availability_of(client, batch).await? {
            ShownAvailability::Shown(bytes) => Some(bytes),
            ShownAvailability::Inside | ShownAvailability::OtherCall | ShownAvailability::NoTransaction => None,
        })
    }

    /// What a batch's commit says of its data, as far as its transaction shows it.
    ///
    /// # Errors
    /// L1 could not be asked.
    pub async fn shown_availability_of(
        client: &L1Client,
        batch: &BatchOnL1,
    ) -> Result<ShownAvailability, HistoryError> {
        let (to, input) = match client.call_of(batch.transaction).await? {
            None => return Ok(ShownAvailability::NoTransaction),
            Some(call) => call,
        };
        if to != Some(client.contracts().rollup) {
            return Ok(ShownAvailability::Inside);
        }
        let call = Rollup::commitBatchCall::abi_decode(&input).map(|call| (call.batch.number, call.availability));
        let call = call.or_else(|_| {
            Rollup::settleBatchCall::abi_decode(&input).map(|call| (call.batch.number, call.availability))
        });
        Ok(match call {
            Ok((number, availability)) if number == batch.number => ShownAvailability::Shown(availability),
            _ => ShownAvailability::OtherCall,
        })
    }
}

/// A post as its event tells.
struct FoundPost {
    from: B256,
    data_bytes: u64,
    transaction: B256,
}

/// A post, in a block up to `last`, of the batch that begins at `start` which reached `to`.
async fn find_post(client: &L1Client, start: B256, to: B256, mut last: u64) -> Result<Option<FoundPost>, HistoryError> {
    let deployed_at = client.contracts().deployed_at;
    // Backwards: a batch's data is posted shortly before its commit.
    loop {
        let first = deployed_at.max(last.saturating_sub(RANGE_BLOCKS - 1));
        let filter = Filter::new()
            .address(client.contracts().rollup)
            .event_signature(Rollup::DataPosted::SIGNATURE_HASH)
            .topic1(start)
            .topic3(to)
            .from_block(first)
            .to_block(last);
        for log in client.provider().get_logs(&filter).await.map_err(L1Error::from)? {
            let found = L1Event::locate(&log, client.contracts())?;
            if let Some(Located { event: L1Event::DataPosted { from, data_bytes, .. }, transaction, .. }) = found {
                return Ok(Some(FoundPost { from, data_bytes, transaction }));
            }
        }
        if first == deployed_at {
            return Ok(None);
        }
        last = first - 1;
    }
}
