//! What a member keeps beside blocks and batches: its promises, the statements and signatures of offers, and where its batches begin.

use alloy_primitives::B256;
use joule_committee::{CertificateStatement, CompactSignature, Entry, Reader, SigningLog, SigningRefused, WireError};
use joule_storage::{Database, JournalEdit, Space, StorageError, View};
use thiserror::Error;

const FLOOR: &[u8] = b"signing floor";
const BASE: &[u8] = b"base batch";
const SNAPSHOT: &[u8] = b"snapshot block";
const OFFER: &[u8] = b"offer ";
const BY_CHECKPOINT: &[u8] = b"checkpoint ";

/// Promises deleted in one write when a batch is executed.
const FORGET_STEP: usize = 1_024;

/// Why the journal cannot be used. A member that meets it does not sign.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The disk.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A record that this software did not write.
    #[error(
        "the record of {what} is damaged: {error}. Without it this member cannot know what it has signed; restore the disk, or register new keys"
    )]
    Damaged {
        /// Which record.
        what: &'static str,
        /// What is wrong.
        error: WireError,
    },
    /// Promises that contradict each other.
    #[error("the promises on disk contradict each other: {0}")]
    Contradiction(#[from] SigningRefused),
    /// More promises than a log has room for.
    #[error("the disk holds {got} promises, more than {most}")]
    TooMany {
        /// Room.
        most: usize,
        /// Records.
        got: usize,
    },
}

/// What of an offer the blocks do not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfferHead {
    /// The statement it asked for.
    pub statement: CertificateStatement,
    /// Its signature.
    pub signature: CompactSignature,
}

fn damaged(what: &'static str) -> impl FnOnce(WireError) -> JournalError {
    move |error| JournalError::Damaged { what, error }
}

fn put(space: Space, key: Vec<u8>, value: Vec<u8>) -> JournalEdit {
    JournalEdit::Put { space, key, value }
}

fn keyed(prefix: &[u8], rest: &[u8]) -> Vec<u8> {
    [prefix, rest].concat()
}

fn number(view: &View<'_>, key: &[u8], what: &'static str) -> Result<Option<u64>, JournalError> {
    let Some(bytes) = view.journal(Space::Member, key)? else { return Ok(None) };
    let mut reader = Reader::new(&bytes);
    let number = reader.u64().map_err(damaged(what))?;
    reader.end().map_err(damaged(what))?;
    Ok(Some(number))
}

fn put_number(database: &Database, key: &[u8], number: u64) -> Result<(), JournalError> {
    let value = number.to_be_bytes().to_vec();
    Ok(database.journal_write(&[put(Space::Member, key.to_vec(), value)])?)
}

/// A promise's key: batch number first, so that the promises of executed batches are in front.
fn promise_key(statement: &CertificateStatement) -> Vec<u8> {
    let slot = (statement.batch_number.to_be_bytes(), statement.revert_count.to_be_bytes());
    [&slot.0[..], &slot.1, statement.parent_checkpoint.as_slice()].concat()
}

/// Reads back what was promised.
pub fn signing_log(
    view: &View<'_>,
    l1_chain_id: u64,
    rollup: alloy_primitives::Address,
) -> Result<SigningLog, JournalError> {
    let mut log = SigningLog::new(l1_chain_id, rollup);
    let floor = number(view, FLOOR, "the signing floor")?.unwrap_or(0);
    let records = view.journal_scan(Space::SigningLog, &[])?;
    if records.len() > joule_committee::ENTRIES_MAX {
        return Err(JournalError::TooMany { most: joule_committee::ENTRIES_MAX, got: records.len() });
    }
    for (_, bytes) in records {
        let entry = Entry::decode(&bytes).map_err(damaged("a promise"))?;
        // What the floor covers is refused whatever was promised there.
        if entry.statement().batch_number >= floor {
            log.record(entry)?;
        }
    }
    log.forget_below(floor);
    Ok(log)
}

/// Makes a promise durable.
pub fn keep_promise(database: &Database, entry: &Entry) -> Result<(), JournalError> {
    Ok(database.journal_write(&[put(Space::SigningLog, promise_key(entry.statement()), entry.encode())])?)
}

/// Raises the floor, and then drops the promises below it: a crash in between leaves promises that the floor covers.
pub fn forget_promises(database: &Database, floor: u64) -> Result<(), JournalError> {
    if number(&database.view()?, FLOOR, "the signing floor")?.is_some_and(|now| now >= floor) {
        return Ok(());
    }
    put_number(database, FLOOR, floor)?;
    let mut edits = Vec::new();
    for (key, _) in database.view()?.journal_scan(Space::SigningLog, &[])? {
        let batch_number = Reader::new(&key).u64().map_err(damaged("a promise's key"))?;
        if batch_number >= floor {
            break;
        }
        edits.push(JournalEdit::Delete { space: Space::SigningLog, key });
        if edits.len() == FORGET_STEP {
            database.journal_write(&edits)?;
            edits.clear();
        }
    }
    Ok(database.journal_write(&edits)?)
}

/// Keeps what of an offer the blocks do not hold, and the way to it from its checkpoint.
pub fn keep_offer(database: &Database, head: &OfferHead) -> Result<(), JournalError> {
    let statement = &head.statement;
    let number = statement.batch_number.to_be_bytes();
    let mut value = Vec::with_capacity(CertificateStatement::BYTES + 64);
    statement.write(&mut value);
    head.signature.write(&mut value);
    Ok(database.journal_write(&[
        put(Space::Member, keyed(OFFER, &number), value),
        put(Space::Member, keyed(BY_CHECKPOINT, statement.checkpoint.as_slice()), number.to_vec()),
    ])?)
}

/// What of a batch's offer the blocks do not hold.
pub fn offer_head(view: &View<'_>, batch_number: u64) -> Result<Option<OfferHead>, JournalError> {
    let Some(bytes) = view.journal(Space::Member, &keyed(OFFER, &batch_number.to_be_bytes()))? else {
        return Ok(None);
    };
    let mut reader = Reader::new(&bytes);
    let mut read = || {
        let statement = CertificateStatement::read(&mut reader)?;
        let signature = CompactSignature::read(&mut reader)?;
        reader.clone().end()?;
        Ok(OfferHead { statement, signature })
    };
    read().map(Some).map_err(damaged("an offer"))
}

/// The number of the batch that was held with this checkpoint. The batch of that number may be another by now.
pub fn batch_of_checkpoint(view: &View<'_>, checkpoint: B256) -> Result<Option<u64>, JournalError> {
    number(view, &keyed(BY_CHECKPOINT, checkpoint.as_slice()), "a checkpoint's batch")
}

/// Drops the offers of pruned batches.
pub fn forget_offers(database: &Database, offers: &[(u64, B256)]) -> Result<(), JournalError> {
    let space = Space::Member;
    let edits: Vec<_> = offers
        .iter()
        .flat_map(|(number, checkpoint)| {
            let offer = keyed(OFFER, &number.to_be_bytes());
            let by_checkpoint = keyed(BY_CHECKPOINT, checkpoint.as_slice());
            [JournalEdit::Delete { space, key: offer }, JournalEdit::Delete { space, key: by_checkpoint }]
        })
        .collect();
    Ok(database.journal_write(&edits)?)
}

/// The number of the batch that the state on disk began with: 0 from genesis, or a restored snapshot's.
pub fn base(view: &View<'_>) -> Result<u64, JournalError> {
    Ok(number(view, BASE, "the base batch")?.unwrap_or(0))
}

/// Keeps it.
pub fn keep_base(database: &Database, batch_number: u64) -> Result<(), JournalError> {
    put_number(database, BASE, batch_number)
}

/// The block of the last snapshot that was written and checked.
pub fn snapshot_block(view: &View<'_>) -> Result<u64, JournalError> {
    Ok(number(view, SNAPSHOT, "the snapshot's block")?.unwrap_or(0))
}

/// Keeps it.
pub fn keep_snapshot_block(database: &Database, block: u64) -> Result<(), JournalError> {
    put_number(database, SNAPSHOT, block)
}
