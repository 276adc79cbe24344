//! What a member has signed, so that it never says two different things of one slot.
//!
//! A signature goes three steps: [`SigningLog::propose`] looks whether the statement may be signed, the caller makes the new [`Entry`]
//! durable, and [`SigningLog::record`] gives the [`Permit`] without which no key signs. A member that dies in between has promised
//! something it never said, which harms nobody; the other order could make it say two things.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, keccak256};
use thiserror::Error;

use crate::{
    statement::{CertificateStatement, Subject},
    wire::{Reader, WireError},
};

/// Most entries of a log. L1 lets 256 batches wait for execution; entries of executed batches are dropped by
/// [`SigningLog::forget_below`], so only repeated drops of committed batches can bring a member near this.
pub const ENTRIES_MAX: usize = 65_536;

const VERSION: u8 = 1;
const LOG_TAG: &str = "Joule signing log v1";

/// Why a member does not sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SigningRefused {
    /// Another rollup, or a rollup on another L1.
    #[error(
        "asked to sign for rollup {rollup} on L1 chain {l1_chain_id}; this log is for {log_rollup} on {log_l1_chain_id}"
    )]
    OtherRollup {
        /// The statement's rollup.
        rollup: Address,
        /// The statement's L1.
        l1_chain_id: u64,
        /// The log's rollup.
        log_rollup: Address,
        /// The log's L1.
        log_l1_chain_id: u64,
    },
    /// Something else has been signed for the slot: whoever asks wants two truths.
    #[error("batch {batch_number} was signed as {signed:?} and cannot be signed as {asked:?}")]
    Conflict {
        /// The batch.
        batch_number: u64,
        /// What the log has.
        signed: Subject,
        /// What was asked.
        asked: Subject,
    },
    /// The batch's entries have been dropped, so nobody can say any more what was signed.
    #[error("batch {batch_number} is before {floor}, from which on the log knows what was signed")]
    BelowFloor {
        /// The batch.
        batch_number: u64,
        /// The first batch that may still be signed.
        floor: u64,
    },
    /// No room. Executed batches are to be forgotten first.
    #[error("the log holds {entries_max} entries and no more")]
    Full {
        /// The most entries.
        entries_max: usize,
    },
}

/// Leave to sign one statement.
#[derive(Debug, PartialEq, Eq)]
pub struct Permit {
    statement: CertificateStatement,
}

impl Permit {
    /// What may be signed.
    pub fn statement(&self) -> &CertificateStatement {
        &self.statement
    }
}

/// What the log says about a statement.
#[derive(Debug, PartialEq, Eq)]
pub enum Proposal {
    /// It has been promised already; signing again gives the same bytes.
    Promised(Permit),
    /// It may be promised: make the entry durable, then [`SigningLog::record`] it.
    New(Entry),
}

/// A promise to be made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    statement: CertificateStatement,
}

impl Entry {
    /// What is promised.
    pub fn statement(&self) -> &CertificateStatement {
        &self.statement
    }

    /// One row of a store that keeps the log entry by entry.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        self.statement.write(&mut bytes);
        let checksum = checksum(&bytes);
        bytes.extend_from_slice(checksum.as_slice());
        bytes
    }

    /// The inverse of [`Entry::encode`]; [`SigningLog::record`] then replays it.
    ///
    /// # Errors
    /// Anything but the bytes of one entry.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        reader.version(VERSION)?;
        let statement = CertificateStatement::read(&mut reader)?;
        read_checksum(reader, bytes)?;
        Ok(Self { statement })
    }
}

/// A flipped bit on a disk must not make a member forget what it signed.
fn checksum(bytes: &[u8]) -> B256 {
    keccak256([LOG_TAG.as_bytes(), bytes].concat())
}

fn read_checksum(mut reader: Reader<'_>, bytes: &[u8]) -> Result<(), WireError> {
    let got = reader.b256()?;
    reader.end()?;
    let expected = checksum(&bytes[..bytes.len() - 32]);
    if got == expected { Ok(()) } else { Err(WireError::WrongChecksum { expected, got }) }
}

/// Batch number, revert count, parent checkpoint: the slot within one rollup.
type Place = (u64, u64, B256);

/// What one member has promised for one rollup, under all of its keys.
///
/// The rule: of one (number, parent, revert count) a member says one checkpoint, one length and one expiry. Statements that differ in
/// nothing but the keyset say the same thing to two keysets (a member seated under both schemes, or a keyset that governance replaced
/// while a batch was being signed), so the log lets both through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningLog {
    l1_chain_id: u64,
    rollup: Address,
    floor: u64,
    entries: BTreeMap<Place, Subject>,
}

impl SigningLog {
    /// An empty log.
    pub fn new(l1_chain_id: u64, rollup: Address) -> Self {
        Self { l1_chain_id, rollup, floor: 0, entries: BTreeMap::new() }
    }

    /// Whether a statement may be signed, and what must be durable first. Changes nothing.
    ///
    /// # Errors
    /// The statement contradicts what was signed, or the log cannot tell.
    pub fn propose(&self, statement: &CertificateStatement) -> Result<Proposal, SigningRefused> {
        let CertificateStatement { rollup, l1_chain_id, batch_number, .. } = *statement;
        if rollup != self.rollup || l1_chain_id != self.l1_chain_id {
            let (log_rollup, log_l1_chain_id) = (self.rollup, self.l1_chain_id);
            return Err(SigningRefused::OtherRollup { rollup, l1_chain_id, log_rollup, log_l1_chain_id });
        }
        if batch_number < self.floor {
            return Err(SigningRefused::BelowFloor { batch_number, floor: self.floor });
        }
        let asked = statement.subject();
        match self.entries.get(&place(statement)) {
            Some(signed) if *signed == asked => Ok(Proposal::Promised(Permit { statement: *statement })),
            Some(signed) => Err(SigningRefused::Conflict { batch_number, signed: *signed, asked }),
            None if self.entries.len() >= ENTRIES_MAX => Err(SigningRefused::Full { entries_max: ENTRIES_MAX }),
            None => Ok(Proposal::New(Entry { statement: *statement })),
        }
    }

    /// Takes an entry that is durable by now, or one read back from disk. Two proposals may have been under way at once: the
    /// second to arrive is judged by what the first left.
    ///
    /// # Errors
    /// As [`SigningLog::propose`].
    pub fn record(&mut self, entry: Entry) -> Result<Permit, SigningRefused> {
        match self.propose(&entry.statement)? {
            Proposal::Promised(permit) => Ok(permit),
            Proposal::New(entry) => {
                self.entries.insert(place(&entry.statement), entry.statement.subject());
                Ok(Permit { statement: entry.statement })
            }
        }
    }

    /// Drops the entries of batches before `batch_number`, which L1 has executed, and signs none of those batches any more. The
    /// floor never falls.
    pub fn forget_below(&mut self, batch_number: u64) {
        self.floor = self.floor.max(batch_number);
        self.entries = self.entries.split_off(&(self.floor, 0, B256::ZERO));
    }

    /// Until when the data of a batch that leads to `checkpoint` is promised, unix seconds: the furthest expiry signed, under whatever count of drops.
    pub fn promised_until(&self, batch_number: u64, checkpoint: B256) -> Option<u64> {
        let of_batch = self.entries.range((batch_number, 0, B256::ZERO)..);
        let of_batch = of_batch.take_while(|((number, ..), _)| *number == batch_number);
        of_batch.filter(|(_, subject)| subject.checkpoint == checkpoint).map(|(_, subject)| subject.expiry).max()
    }

    /// The first batch that may still be signed.
    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// Promises held.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing has been promised since the floor.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The whole log, with a checksum.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.l1_chain_id.to_be_bytes());
        bytes.extend_from_slice(self.rollup.as_slice());
        bytes.extend_from_slice(&self.floor.to_be_bytes());
        bytes.extend_from_slice(&(self.entries.len() as u32).to_be_bytes());
        for ((batch_number, revert_count, parent), subject) in &self.entries {
            bytes.extend_from_slice(&batch_number.to_be_bytes());
            bytes.extend_from_slice(&revert_count.to_be_bytes());
            bytes.extend_from_slice(parent.as_slice());
            bytes.extend_from_slice(subject.checkpoint.as_slice());
            bytes.extend_from_slice(&subject.data_bytes.to_be_bytes());
            bytes.extend_from_slice(&subject.expiry.to_be_bytes());
        }
        let checksum = checksum(&bytes);
        bytes.extend_from_slice(checksum.as_slice());
        bytes
    }

    /// The inverse of [`SigningLog::encode`].
    ///
    /// # Errors
    /// Anything but the one encoding of a log: a member whose log is damaged must not sign until it knows what it has signed.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        reader.version(VERSION)?;
        let (l1_chain_id, rollup, floor) = (reader.u64()?, reader.address()?, reader.u64()?);
        let count = reader.u32()? as usize;
        if count > ENTRIES_MAX {
            return Err(WireError::CountOutOfRange { what: "entries", least: 0, most: ENTRIES_MAX, got: count });
        }
        let mut entries = BTreeMap::new();
        for index in 0..count {
            let place: Place = (reader.u64()?, reader.u64()?, reader.b256()?);
            let subject = Subject { checkpoint: reader.b256()?, data_bytes: reader.u64()?, expiry: reader.u64()? };
            let comes_after = entries.last_key_value().is_none_or(|(last, _)| place > *last);
            if !comes_after || place.0 < floor {
                return Err(WireError::OutOfOrder { index });
            }
            entries.insert(place, subject);
        }
        read_checksum(reader, bytes)?;
        Ok(Self { l1_chain_id, rollup, floor, entries })
    }
}

fn place(statement: &CertificateStatement) -> Place {
    (statement.batch_number, statement.revert_count, statement.parent_checkpoint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fixtures::statement, wire::testing::is_strict};
    use proptest::prelude::*;

    fn log() -> SigningLog {
        let statement = statement(B256::ZERO);
        SigningLog::new(statement.l1_chain_id, statement.rollup)
    }

    fn sign(log: &mut SigningLog, statement: &CertificateStatement) -> Result<(), SigningRefused> {
        match log.propose(statement)? {
            Proposal::Promised(_) => Ok(()),
            Proposal::New(entry) => log.record(entry).map(|permit| assert_eq!(permit.statement(), statement)),
        }
    }

    /// A small space, so that random statements meet in their slots.
    fn statements() -> impl Strategy<Value = Vec<CertificateStatement>> {
        let one = (0u64..3, 0u8..2, 0u64..2, 0u8..3, 0u64..2, 0u64..2, 0u8..2).prop_map(
            |(batch_number, parent, revert_count, checkpoint, data_bytes, expiry, keyset)| CertificateStatement {
                batch_number,
                parent_checkpoint: B256::repeat_byte(parent),
                checkpoint: B256::repeat_byte(checkpoint),
                revert_count,
                data_bytes,
                expiry,
                keyset_hash: B256::repeat_byte(keyset),
                ..statement(B256::ZERO)
            },
        );
        prop::collection::vec(one, 0..60)
    }

    proptest! {
        #[test]
        fn no_slot_is_ever_signed_twice(statements in statements(), restart_at in 0usize..60, forget_at in 0usize..60) {
            let mut log = log();
            let mut signed: Vec<CertificateStatement> = Vec::new();
            for (step, statement) in statements.iter().enumerate() {
                if step == restart_at {
                    log = SigningLog::decode(&log.encode()).expect("reads back");
                }
                if step == forget_at {
                    log.forget_below(1);
                }
                let before = log.clone();
                match sign(&mut log, statement) {
                    Ok(()) => {
                        for other in signed.iter().filter(|other| other.slot() == statement.slot()) {
                            prop_assert_eq!(other.subject(), statement.subject());
                        }
                        signed.push(*statement);
                        // The same statement gets the same answer for good.
                        prop_assert!(matches!(log.propose(statement), Ok(Proposal::Promised(_))));
                    }
                    Err(_) => prop_assert_eq!(&log, &before),
                }
            }
            is_strict(&log.encode(), SigningLog::decode, SigningLog::encode);
        }

        #[test]
        fn damaged_logs_are_refused(statements in statements(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let mut log = log();
            for statement in &statements {
                let _ = sign(&mut log, statement);
            }
            let mut bytes = log.encode();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(SigningLog::decode(&bytes).is_err());
        }

        #[test]
        fn random_bytes_are_no_log(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(SigningLog::decode(&bytes).is_err());
            prop_assert!(Entry::decode(&bytes).is_err());
        }
    }

    #[test]
    fn the_second_of_two_proposals_under_way_is_refused() {
        let mut log = log();
        let first = statement(B256::ZERO);
        let second = CertificateStatement { checkpoint: B256::repeat_byte(0xee), ..first };
        let (Ok(Proposal::New(a)), Ok(Proposal::New(b))) = (log.propose(&first), log.propose(&second)) else {
            panic!("both are possible")
        };
        log.record(a).expect("the first is recorded");
        assert!(matches!(log.record(b), Err(SigningRefused::Conflict { .. })));
        log.record(a).expect("the same again");
    }

    #[test]
    fn other_rollups_and_forgotten_batches_are_refused() {
        let mut log = log();
        let ours = statement(B256::ZERO);
        let other = CertificateStatement { l1_chain_id: 1, ..ours };
        assert!(matches!(log.propose(&other), Err(SigningRefused::OtherRollup { .. })));
        sign(&mut log, &ours).expect("signs");
        log.forget_below(ours.batch_number + 1);
        assert!(log.is_empty());
        let refused = SigningRefused::BelowFloor { batch_number: ours.batch_number, floor: ours.batch_number + 1 };
        assert_eq!(log.propose(&ours), Err(refused));
        log.forget_below(0);
        assert_eq!(log.propose(&ours), Err(refused));
    }

    #[test]
    fn a_full_log_refuses_and_keeps_its_answers() {
        let mut log = log();
        let at = |revert_count| CertificateStatement { revert_count, ..statement(B256::ZERO) };
        for i in 0..ENTRIES_MAX as u64 {
            sign(&mut log, &at(i)).expect("room");
        }
        assert_eq!(sign(&mut log, &at(ENTRIES_MAX as u64)), Err(SigningRefused::Full { entries_max: ENTRIES_MAX }));
        sign(&mut log, &at(7)).expect("the same again");
        assert_eq!(SigningLog::decode(&log.encode()), Ok(log));
    }

    #[test]
    fn entries_are_strict() {
        let Ok(Proposal::New(entry)) = log().propose(&statement(B256::ZERO)) else { panic!("new") };
        let bytes = entry.encode();
        is_strict(&bytes, Entry::decode, Entry::encode);
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Entry::decode(&damaged).is_err());
        }
    }
}
