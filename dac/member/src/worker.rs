//! The member's disk and promises: takes one batch at a time, executes it, keeps it, signs.
//!
//! Everything here blocks and happens under one lock. The order of writes is what a crash is survived by:
//!
//! 1. each block, with its state and what undoes it, in one atomic write;
//! 2. the offer's statement and signature;
//! 3. the batch's record: from here on the batch is held. Blocks after the last record are undone at the start;
//! 4. the promise: from here on nothing else is signed for the slot;
//! 5. the signature.

use alloy_primitives::{Address, B256};
use joule_committee::{CertificateStatement, Proposal, Share, SignError, SigningLog, SigningRefused};
use joule_committee_client::{
    BatchData, DataError, Offer, OfferError, Refusal, RefusalCode, SignedOffer, checkpoint_hash,
};
use joule_follow::{ExecuteError, execute};
use joule_protocol::Checkpoint;
use joule_storage::{BatchRecord, Database, Stage, StorageError, View};
use thiserror::Error;

use crate::{
    journal::{self, JournalError, OfferHead},
    keys::MemberKeys,
    l1::L1View,
    rules::{self, AcceptedOffer, Held, Kept, OfferRefused, Place},
};

/// Why a batch was not taken or not signed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WorkError {
    /// The rules say no.
    #[error(transparent)]
    Refused(#[from] OfferRefused),
    /// Its blocks.
    #[error(transparent)]
    Blocks(#[from] ExecuteError),
    /// The promise cannot be made.
    #[error(transparent)]
    Signing(#[from] SigningRefused),
    /// The key made no signature.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The disk.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// What is on the disk does not make an offer or a batch's data any more.
    #[error("batch {number} on disk is damaged: {reason}")]
    Damaged {
        /// The batch.
        number: u64,
        /// What is wrong.
        reason: String,
    },
}

impl From<WorkError> for Refusal {
    fn from(error: WorkError) -> Self {
        let message = error.to_string();
        let code = match error {
            WorkError::Refused(refused) => refused.code(),
            WorkError::Blocks(ExecuteError::Storage(_)) => RefusalCode::Internal,
            WorkError::Blocks(_) => RefusalCode::DoesNotFollow,
            WorkError::Signing(SigningRefused::OtherRollup { .. }) => RefusalCode::WrongNetwork,
            WorkError::Signing(SigningRefused::BelowFloor { .. }) => RefusalCode::NotNext,
            WorkError::Signing(SigningRefused::Full { .. }) => RefusalCode::Busy,
            WorkError::Signing(_) => RefusalCode::Conflict,
            WorkError::Sign(_) | WorkError::Storage(_) | WorkError::Journal(_) | WorkError::Damaged { .. } => {
                RefusalCode::Internal
            }
        };
        Self { code, message }
    }
}

/// What was done with an offer.
#[derive(Clone, Debug)]
pub struct Signed {
    /// The share.
    pub share: Share,
    /// Blocks executed for it; none if the batch was here.
    pub blocks: usize,
}

/// The member's disk and promises.
pub struct Worker {
    database: Database,
    keys: MemberKeys,
    log: SigningLog,
    base: u64,
}

impl Worker {
    /// Takes up a disk: reads back the promises, and undoes blocks of a batch that was not finished.
    ///
    /// # Errors
    /// A disk that cannot be read, or promises on it that cannot be trusted.
    pub fn open(database: Database, keys: MemberKeys, l1_chain_id: u64, rollup: Address) -> Result<Self, WorkError> {
        let (log, base, end) = {
            let view = database.view()?;
            let end = view.last_batch()?.map_or_else(|| view.floor().block_number, |batch| batch.last_block);
            (journal::signing_log(&view, l1_chain_id, rollup)?, journal::base(&view)?, end)
        };
        if database.view()?.head().block_number > end {
            let undone = database.revert_to(end, false)?;
            tracing::warn!(block = undone.head.block_number, "blocks of an unfinished batch were undone");
        }
        Ok(Self { database, keys, log, base })
    }

    /// The disk.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// The promises.
    pub fn log(&self) -> &SigningLog {
        &self.log
    }

    /// The batches held from the last executed one on, or from the state the disk began with.
    pub fn held(&self) -> Result<Vec<Held>, WorkError> {
        held(&self.database.view()?, self.base)
    }

    /// Number of the last batch held.
    pub fn last_number(&self) -> Result<u64, WorkError> {
        Ok(self.database.view()?.last_batch()?.map_or(self.base, |batch| batch.number))
    }

    /// Takes a batch that this member is asked to sign: executes it if it is not here, and signs it.
    ///
    /// # Errors
    /// Whatever speaks against it; then nothing is promised, and what was held is held.
    pub fn sign(&mut self, offer: &AcceptedOffer, l1: &L1View) -> Result<Signed, WorkError> {
        let statement = offer.signed().offer().statement();
        let key = self
            .keys
            .for_keyset(statement.keyset_hash, l1)
            .ok_or(OfferRefused::OtherKeyset { got: statement.keyset_hash })?
            .clone();
        // Before hours of work for somebody who is told no at the end of it.
        self.log.propose(statement)?;
        let blocks = self.take(offer, l1)?;
        self.extend_promise(statement)?;
        let permit = match self.log.propose(statement)? {
            Proposal::Promised(permit) => permit,
            Proposal::New(entry) => {
                journal::keep_promise(&self.database, &entry)?;
                self.log.record(entry)?
            }
        };
        let share = Share::sign(&permit, self.keys.account(), &key)?;
        Ok(Signed { share, blocks })
    }

    /// Takes a batch without signing it: the member follows the chain. Returns the number of blocks executed.
    ///
    /// # Errors
    /// Whatever speaks against it; what was held is held.
    pub fn take(&mut self, offer: &AcceptedOffer, l1: &L1View) -> Result<usize, WorkError> {
        let (signed, offer) = (offer.signed(), offer.signed().offer());
        let statement = offer.statement();
        let held = self.held()?;
        let place = rules::place(statement, &held, |batch| rules::is_promised(&self.log, l1, batch))?;
        let undo_to = match place {
            Place::Here => {
                self.renew(signed)?;
                return Ok(0);
            }
            Place::Next { undo_to } => undo_to,
        };
        let replaced: Vec<_> = held.into_iter().filter(|batch| batch.last_block > undo_to).collect();
        if !replaced.is_empty() {
            tracing::warn!(block = undo_to, batches = replaced.len(), "batches that were not promised are replaced");
            self.undo(undo_to, &replaced)?;
        }
        if let Err(error) = execute(&self.database, offer) {
            self.database.revert_to(undo_to, false)?;
            return Err(error.into());
        }
        journal::keep_offer(&self.database, &head_of(signed))?;
        self.database.put_batch(&BatchRecord {
            number: statement.batch_number,
            revert_count: statement.revert_count,
            parent: *offer.parent(),
            checkpoint: *offer.checkpoint(),
            first_block: offer.parent().block_number + 1,
            last_block: offer.checkpoint().block_number,
            data_bytes: statement.data_bytes,
            // It may have been here before, and signed: what L1 drops it can take back, where it is reorganised.
            certificate_expiry: self.log.promised_until(statement.batch_number, statement.checkpoint),
            stage: Stage::Sealed,
            l1_transaction: None,
        })?;
        Ok(offer.blocks().len())
    }

    /// Goes back to a block, and forgets the offers of the batches after it.
    fn undo(&self, block: u64, batches: &[Held]) -> Result<(), WorkError> {
        self.database.revert_to(block, false)?;
        let offers: Vec<_> = batches.iter().map(|batch| (batch.number, batch.checkpoint)).collect();
        Ok(journal::forget_offers(&self.database, &offers)?)
    }

    /// A batch that is here is offered again, after a drop of batches or for another keyset: the newer statement is the one peers want.
    fn renew(&self, signed: &SignedOffer) -> Result<(), WorkError> {
        let statement = signed.offer().statement();
        let number = statement.batch_number;
        let record = self.database.view()?.batch(number)?;
        let mut record = record.ok_or(StorageError::Missing { what: "batch", number })?;
        if statement.data_bytes != record.data_bytes {
            let (expected, got) = (statement.data_bytes, record.data_bytes);
            return Err(ExecuteError::OtherLength { expected, got }.into());
        }
        if statement.revert_count > record.revert_count {
            journal::keep_offer(&self.database, &head_of(signed))?;
            record.revert_count = statement.revert_count;
            self.database.put_batch(&record)?;
        }
        Ok(())
    }

    /// Notes how long the data is promised, before it is: pruning reads it.
    fn extend_promise(&self, statement: &CertificateStatement) -> Result<(), WorkError> {
        let number = statement.batch_number;
        let record = self.database.view()?.batch(number)?;
        let mut record = record.ok_or(StorageError::Missing { what: "batch", number })?;
        if record.certificate_expiry.is_none_or(|until| until < statement.expiry) {
            record.certificate_expiry = Some(statement.expiry);
            self.database.put_batch(&record)?;
        }
        Ok(())
    }

    /// Brings the disk in step with L1: undoes what was dropped, notes what was committed and executed, forgets what nobody can ask for any
    /// more. Returns how many batches were undone.
    ///
    /// # Errors
    /// The disk.
    pub fn follow(&mut self, l1: &L1View) -> Result<usize, WorkError> {
        let held = self.held()?;
        let mut undone = 0;
        if let Some(at) = rules::first_undone(&held, l1) {
            let (keep, dropped) = (held[at - 1], &held[at..]);
            undone = dropped.len();
            tracing::warn!(batch = keep.number, undone, "L1 dropped batches: going back");
            self.undo(keep.last_block, dropped)?;
        }
        let executed = l1.executed();
        for batch in self.held()?.iter().skip(1) {
            let stage = match l1.batch(batch.number) {
                None => break,
                Some(_) if batch.number <= executed => Stage::Executed,
                Some(_) => Stage::Committed,
            };
            let number = batch.number;
            let record = self.database.view()?.batch(number)?;
            let mut record = record.ok_or(StorageError::Missing { what: "batch", number })?;
            if record.stage != stage {
                record.stage = stage;
                self.database.put_batch(&record)?;
            }
        }
        let last_executed = self.database.view()?.executed_batch()?;
        if let Some(batch) = last_executed {
            // Behind the last executed checkpoint nothing is ever undone, and its state is what escapes need.
            self.database.prune_undo(batch.last_block)?;
        }
        self.log.forget_below(executed + 1);
        journal::forget_promises(&self.database, executed + 1)?;
        Ok(undone)
    }

    /// The batches whose data could go, from the oldest: all before the last executed one, which is where the disk's earliest state stands.
    pub fn kept(&self) -> Result<Vec<Kept>, WorkError> {
        let view = self.database.view()?;
        let floor = view.floor().block_number;
        let mut kept = Vec::new();
        let mut next = view.batch_of_block(view.first_block()?)?;
        while let Some(batch) = next.filter(|batch| batch.stage == Stage::Executed && batch.last_block < floor) {
            kept.push(Kept {
                number: batch.number,
                last_block: batch.last_block,
                promised_until_s: batch.certificate_expiry,
                time_s: batch.checkpoint.timestamp,
            });
            next = view.batch(batch.number + 1)?;
        }
        Ok(kept)
    }

    /// Drops the data of batches up to and with `last`.
    ///
    /// # Errors
    /// The disk; blocks that may still be undone are not dropped.
    pub fn prune(&self, last: &Kept) -> Result<(), WorkError> {
        let offers = {
            let view = self.database.view()?;
            let mut offers = Vec::new();
            let mut next = view.batch_of_block(view.first_block()?)?;
            while let Some(batch) = next.filter(|batch| batch.number <= last.number) {
                offers.push((batch.number, checkpoint_hash(&batch.checkpoint)));
                next = view.batch(batch.number + 1)?;
            }
            offers
        };
        journal::forget_offers(&self.database, &offers)?;
        Ok(self.database.prune_blocks(last.last_block + 1)?)
    }
}

fn head_of(signed: &SignedOffer) -> OfferHead {
    OfferHead { statement: *signed.offer().statement(), signature: *signed.signature() }
}

/// The batches held from the last executed one on, or from the state the disk began with.
pub fn held(view: &View<'_>, base: u64) -> Result<Vec<Held>, WorkError> {
    let first = match view.executed_batch()? {
        Some(executed) => Held::from(&executed),
        None => {
            let floor = view.floor();
            let checkpoint = checkpoint_hash(floor);
            Held { number: base, revert_count: 0, parent: B256::ZERO, checkpoint, last_block: floor.block_number }
        }
    };
    let mut held = vec![first];
    let mut number = first.number + 1;
    while let Some(batch) = view.batch(number)? {
        held.push(Held::from(&batch));
        number += 1;
    }
    Ok(held)
}

/// A stored batch's offer, as it came.
///
/// # Errors
/// The disk, or what is on it.
pub fn stored_offer(view: &View<'_>, number: u64) -> Result<Option<SignedOffer>, WorkError> {
    let (Some(batch), Some(head)) = (view.batch(number)?, journal::offer_head(view, number)?) else {
        return Ok(None);
    };
    let damaged = |reason: String| WorkError::Damaged { number, reason };
    let mut blocks = Vec::new();
    for block in batch.first_block..=batch.last_block {
        match view.block(block)? {
            Some(record) => blocks.push(record.items.encode()),
            // Pruned meanwhile.
            None => return Ok(None),
        }
    }
    let offer = Offer::new(head.statement, batch.parent, batch.checkpoint, blocks);
    let offer = offer.map_err(|error: OfferError| damaged(error.to_string()))?;
    Ok(Some(offer.signed(head.signature)))
}

/// A stored batch's data.
///
/// # Errors
/// The disk, or what is on it.
pub fn stored_data(view: &View<'_>, number: u64) -> Result<Option<BatchData>, WorkError> {
    let Some(batch) = view.batch(number)? else { return Ok(None) };
    let mut chunks = Vec::new();
    for block in batch.first_block..=batch.last_block {
        match view.block(block)? {
            Some(record) => chunks.push(record.chunk),
            None => return Ok(None),
        }
    }
    let data = BatchData::new(batch.parent, batch.checkpoint, chunks);
    data.map(Some).map_err(|error: DataError| WorkError::Damaged { number, reason: error.to_string() })
}

/// The last executed checkpoint whose state is here, with its batch's number.
///
/// # Errors
/// The disk.
pub fn executed(view: &View<'_>) -> Result<(u64, Checkpoint), WorkError> {
    Ok(match view.executed_batch()? {
        Some(batch) => (batch.number, batch.checkpoint),
        None => (journal::base(view)?, *view.floor()),
    })
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, sync::Arc};

    use joule_l1::{AvailableAt, BatchOnL1, StageOnL1};
    use joule_workload::{Chain, GENESIS_SECONDS};

    use super::*;
    use crate::{
        bench::{BatchMaker, quiet_l1},
        rules::Promises,
    };

    const NOW: u64 = GENESIS_SECONDS + 60;

    #[test]
    fn what_was_promised_of_a_batch_is_known_when_l1_takes_it_back_in() {
        let (folder, genesis) = (tempfile::tempdir().expect("a folder"), Chain::test_genesis());
        let key = joule_committee::EcdsaSecretKey::from_bytes(&[1; 32]).expect("a key");
        let account = key.address();
        let keyset = joule_committee::ecdsa_keyset_hash(1, &[account]);
        let keys = MemberKeys::new(account, Some(key), None).expect("keys");
        let mut maker = BatchMaker::new(genesis, 1);
        let requests = [Chain::deposit(&joule_protocol::Address([3; 20]), 9)];
        let l1 = quiet_l1(maker.sequencer(), maker.checkpoint().protocol_version, keyset, &requests);
        let batch = maker.seal(&mut requests.to_vec().into(), &mut VecDeque::new(), 1, NOW).expect("a batch");
        let expiry = l1.time_s + l1.remaining_min_s + 1_000;
        let offer = maker.offer(batch.clone(), &l1, keyset, expiry).expect("an offer");
        let database = Database::open(folder.path(), &genesis).expect("opens");
        let mut worker = Worker::open(database, keys, l1.l1_chain_id, l1.rollup).expect("opens");
        let promises = Promises { expiry_ahead_max_s: u64::MAX / 2 };
        let accepted = AcceptedOffer::to_sign(offer.clone(), &l1, promises).expect("good");
        worker.sign(&accepted, &l1).expect("signs");
        let promised = |worker: &Worker| {
            let record = worker.database().view().expect("a view").batch(1).expect("reads");
            record.map(|record| record.certificate_expiry)
        };
        assert_eq!(promised(&worker), Some(Some(expiry)));

        // L1 drops it, and then is reorganised and has it, with the certificate that this member has signed.
        let dropped = L1View { revert_count: 1, ..l1.clone() };
        assert_eq!(worker.follow(&dropped).expect("follows"), 1);
        assert_eq!(promised(&worker), None);
        let on_l1 = BatchOnL1 {
            number: 1,
            parent: checkpoint_hash(&batch.parent),
            checkpoint: batch.checkpoint,
            revert_count: 0,
            data_bytes: batch.data_bytes,
            available_at: AvailableAt::Committee { scheme: 1 },
            stage: StageOnL1::Committed,
            block_number: 1,
            transaction: B256::ZERO,
        };
        let back = L1View { batches: Arc::new(vec![on_l1]), ..l1 };
        worker.follow(&back).expect("follows");
        let held = AcceptedOffer::committed(offer, &back).expect("L1's");
        assert_eq!(worker.take(&held, &back).expect("takes"), 1);
        assert_eq!(promised(&worker), Some(Some(expiry)), "pruning must know it");
    }
}
