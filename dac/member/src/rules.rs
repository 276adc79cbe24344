//! The rules by which a member takes a batch, without disk, clock or network.
//!
//! An offer passes through three types: [`SignedOffer`] (it decodes), [`AcceptedOffer`] (L1 has no objection and the right party sent it), and what the
//! worker makes of it by executing it. Only the last is signed.

use alloy_primitives::{Address, B256};
use joule_committee::{CertificateStatement, Proposal, SignatureError, SigningLog};
use joule_committee_client::{DATA_BYTES_MAX, Refusal, RefusalCode, SignedOffer, checkpoint_hash};
use joule_storage::BatchRecord;
use thiserror::Error;

use crate::l1::L1View;

/// Batches that may wait between commit and execution; the contract has the same number.
const PENDING_BATCHES_MAX: u64 = 256;

/// What this member is willing to promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promises {
    /// The furthest expiry it signs, seconds from now: its disk must last that long.
    pub expiry_ahead_max_s: u64,
}

/// Why an offer is not taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OfferRefused {
    /// For another rollup or another L1.
    #[error("the offer is for rollup {got} on L1 {got_chain}; this member serves {expected} on {expected_chain}")]
    OtherRollup {
        /// This member's rollup.
        expected: Address,
        /// Its L1.
        expected_chain: u64,
        /// The offer's.
        got: Address,
        /// The offer's.
        got_chain: u64,
    },
    /// For a keyset that is not in force, or whose scheme this member has no key for.
    #[error("keyset {got} is not in force, or this member has no key of its scheme")]
    OtherKeyset {
        /// The offer's.
        got: B256,
    },
    /// The chain has ended.
    #[error("L1 has frozen the chain: no batch can follow")]
    Frozen,
    /// Made out for another count of drops.
    #[error("L1 counts {expected} drops of batches, the offer {got}")]
    OtherRevertCount {
        /// L1's, as far as this member has followed it.
        expected: u64,
        /// The offer's.
        got: u64,
    },
    /// A batch that L1 has executed, or that is too far ahead.
    #[error("batch {got} cannot be committed now: L1 has executed {executed} and lets {PENDING_BATCHES_MAX} wait")]
    OutOfRange {
        /// Executed.
        executed: u64,
        /// The offer's.
        got: u64,
    },
    /// L1 has another batch of that number.
    #[error("L1 has committed batch {number} with checkpoint {expected}, the offer leads to {got}")]
    OtherCommitted {
        /// The batch.
        number: u64,
        /// L1's.
        expected: B256,
        /// The offer's.
        got: B256,
    },
    /// Rules that are not in force.
    #[error("new batches have protocol version {expected}, the offer has {got}")]
    OtherVersion {
        /// L1's.
        expected: u32,
        /// The offer's.
        got: u32,
    },
    /// A time that L1 will not take.
    #[error("the batch's time is {got}, L1 takes at most {most}")]
    FromTheFuture {
        /// The latest time.
        most: u64,
        /// The offer's.
        got: u64,
    },
    /// An expiry that L1 does not take, or that this member does not promise.
    #[error(
        "the expiry {got} is not between {least}, from which on L1 takes it, and {most}, up to which this member promises data"
    )]
    BadExpiry {
        /// The least.
        least: u64,
        /// The most.
        most: u64,
        /// The offer's.
        got: u64,
    },
    /// More data than members keep of a batch.
    #[error("{got} bytes of data, where {most} are possible")]
    TooMuchData {
        /// The most bytes.
        most: usize,
        /// The offer's.
        got: u64,
    },
    /// Requests that are not L1's.
    #[error("the accumulator over {count} requests is {}, the offer has {got}", .expected.map_or("not known here yet".to_owned(), |acc| acc.to_string()))]
    WrongRequests {
        /// Requests consumed.
        count: u64,
        /// L1's, if this member has seen so many confirmed.
        expected: Option<B256>,
        /// The offer's.
        got: B256,
    },
    /// Not signed.
    #[error("the offer carries nobody's signature: {0}")]
    NotSigned(#[from] SignatureError),
    /// Signed by somebody else, while the operator is on time.
    #[error("the offer is signed by {got}; the sequencer is {expected} and not late")]
    NotSequencer {
        /// L1's.
        expected: Address,
        /// The signer.
        got: Address,
    },
    /// The batch before it is not here yet.
    #[error("this member holds batch {last} and is looking for the ones up to {got}")]
    Behind {
        /// The last batch held.
        last: u64,
        /// The offer's.
        got: u64,
    },
    /// It starts from a checkpoint that is not the one before it here.
    #[error("batch {number} starts from {got}; batch {} here leads to {expected}", .number - 1)]
    OtherParent {
        /// The offer's number.
        number: u64,
        /// Of the batch before, here.
        expected: B256,
        /// The offer's.
        got: B256,
    },
    /// This member has promised to hold another batch in this place.
    #[error(
        "batch {number} was promised with checkpoint {promised}; it can be replaced once L1 has counted another drop"
    )]
    Promised {
        /// The batch promised.
        number: u64,
        /// Its checkpoint.
        promised: B256,
    },
}

impl OfferRefused {
    /// As it travels.
    pub fn code(&self) -> RefusalCode {
        match self {
            Self::OtherRollup { .. } | Self::OtherKeyset { .. } => RefusalCode::WrongNetwork,
            Self::Frozen
            | Self::OtherRevertCount { .. }
            | Self::OutOfRange { .. }
            | Self::OtherCommitted { .. }
            | Self::OtherVersion { .. }
            | Self::FromTheFuture { .. }
            | Self::OtherParent { .. } => RefusalCode::NotNext,
            Self::BadExpiry { .. } => RefusalCode::BadExpiry,
            Self::TooMuchData { .. } => RefusalCode::Malformed,
            Self::WrongRequests { .. } => RefusalCode::WrongRequests,
            Self::NotSigned(_) | Self::NotSequencer { .. } => RefusalCode::NotSequencer,
            Self::Behind { .. } => RefusalCode::Syncing,
            Self::Promised { .. } => RefusalCode::Conflict,
        }
    }
}

impl From<OfferRefused> for Refusal {
    fn from(refused: OfferRefused) -> Self {
        Self { code: refused.code(), message: refused.to_string() }
    }
}

/// An offer that may be executed: the sequencer sent it, or the operator is late, or L1 has committed the very batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedOffer(SignedOffer);

impl AcceptedOffer {
    /// The offer.
    pub fn signed(&self) -> &SignedOffer {
        &self.0
    }

    /// The offer, to be judged anew.
    pub fn into_signed(self) -> SignedOffer {
        self.0
    }

    /// An offer that asks for a signature.
    ///
    /// # Errors
    /// L1 would not take the batch, or the wrong party sent it.
    pub fn to_sign(offer: SignedOffer, l1: &L1View, promises: Promises) -> Result<Self, OfferRefused> {
        let statement = offer.offer().statement();
        let in_force = [l1.ecdsa_keyset, l1.bls_keyset];
        if !in_force.contains(&Some(statement.keyset_hash)) {
            return Err(OfferRefused::OtherKeyset { got: statement.keyset_hash });
        }
        let least = l1.time_s.saturating_add(l1.remaining_min_s);
        let most = l1.time_s.saturating_add(promises.expiry_ahead_max_s);
        if !(least..=most).contains(&statement.expiry) {
            return Err(OfferRefused::BadExpiry { least, most, got: statement.expiry });
        }
        Self::to_hold(offer, l1)
    }

    /// An offer from a peer, of a batch that the sequencer has sealed and L1 has not committed: to be held, not signed.
    ///
    /// # Errors
    /// As [`AcceptedOffer::to_sign`]. What its statement promises concerns the peer.
    pub fn to_hold(offer: SignedOffer, l1: &L1View) -> Result<Self, OfferRefused> {
        let (statement, checkpoint) = (offer.offer().statement(), offer.offer().checkpoint());
        same_rollup(statement, l1)?;
        if l1.is_frozen {
            return Err(OfferRefused::Frozen);
        }
        if statement.revert_count != l1.revert_count {
            return Err(OfferRefused::OtherRevertCount { expected: l1.revert_count, got: statement.revert_count });
        }
        let (got, executed) = (statement.batch_number, l1.executed());
        if got <= executed || got - executed > PENDING_BATCHES_MAX {
            return Err(OfferRefused::OutOfRange { executed, got });
        }
        same_as_committed(statement, l1)?;
        if checkpoint.protocol_version != l1.protocol_version {
            let (expected, got) = (l1.protocol_version, checkpoint.protocol_version);
            return Err(OfferRefused::OtherVersion { expected, got });
        }
        let most = l1.time_s.saturating_add(l1.timestamp_skew_s);
        if checkpoint.timestamp > most {
            return Err(OfferRefused::FromTheFuture { most, got: checkpoint.timestamp });
        }
        if statement.data_bytes > DATA_BYTES_MAX as u64 {
            return Err(OfferRefused::TooMuchData { most: DATA_BYTES_MAX, got: statement.data_bytes });
        }
        // One comparison for all of the batch's requests: the kernel absorbs each request's bytes into this accumulator, so executing to this
        // checkpoint with any other request, or another order, would be a collision of keccak-256.
        let (count, got) = (checkpoint.priority_count, B256::new(checkpoint.priority_acc.0.0));
        let expected = usize::try_from(count).ok().and_then(|count| l1.request_accs.get(count)).copied();
        if expected != Some(got) {
            return Err(OfferRefused::WrongRequests { count, expected, got });
        }
        // While the operator is late its signature is not asked for: L1 takes a batch from anyone then.
        if !l1.is_late {
            let got = offer.signer()?;
            if got != l1.sequencer {
                return Err(OfferRefused::NotSequencer { expected: l1.sequencer, got });
            }
        }
        Ok(Self(offer))
    }

    /// The sequencer's offer of a batch that L1 has committed: to be held, whether it can be signed or not. `None` for anything else; a stranger's word is not enough to
    /// make a member execute what is sent to it.
    pub fn committed_by_sequencer(offer: &SignedOffer, l1: &L1View) -> Option<Self> {
        l1.batch(offer.offer().statement().batch_number)?;
        let is_theirs = offer.signer() == Ok(l1.sequencer);
        Self::committed(offer.clone(), l1).ok().filter(|_| is_theirs)
    }

    /// An offer from a peer, of a batch that L1 has committed. Who signed it does not matter: it must execute to L1's checkpoint.
    ///
    /// # Errors
    /// L1 knows no such batch, or another.
    pub fn committed(offer: SignedOffer, l1: &L1View) -> Result<Self, OfferRefused> {
        let statement = offer.offer().statement();
        same_rollup(statement, l1)?;
        if l1.batch(statement.batch_number).is_none() {
            return Err(OfferRefused::OutOfRange { executed: l1.executed(), got: statement.batch_number });
        }
        same_as_committed(statement, l1)?;
        Ok(Self(offer))
    }
}

fn same_rollup(statement: &CertificateStatement, l1: &L1View) -> Result<(), OfferRefused> {
    let (expected, expected_chain) = (l1.rollup, l1.l1_chain_id);
    let (got, got_chain) = (statement.rollup, statement.l1_chain_id);
    if (got, got_chain) == (expected, expected_chain) {
        return Ok(());
    }
    Err(OfferRefused::OtherRollup { expected, expected_chain, got, got_chain })
}

fn same_as_committed(statement: &CertificateStatement, l1: &L1View) -> Result<(), OfferRefused> {
    let Some(batch) = l1.batch(statement.batch_number) else { return Ok(()) };
    let (number, expected, got) = (batch.number, checkpoint_hash(&batch.checkpoint), statement.checkpoint);
    if expected == got { Ok(()) } else { Err(OfferRefused::OtherCommitted { number, expected, got }) }
}

/// A batch that a member holds and L1 has not executed, or the last one that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its number; 0 for genesis.
    pub number: u64,
    /// The count of drops it was held under.
    pub revert_count: u64,
    /// Hash of the checkpoint it starts from; zero for genesis.
    pub parent: B256,
    /// Hash of the checkpoint it leads to.
    pub checkpoint: B256,
    /// Its last block.
    pub last_block: u64,
}

impl From<&BatchRecord> for Held {
    fn from(record: &BatchRecord) -> Self {
        Self {
            number: record.number,
            revert_count: record.revert_count,
            parent: checkpoint_hash(&record.parent),
            checkpoint: checkpoint_hash(&record.checkpoint),
            last_block: record.last_block,
        }
    }
}

/// What taking an offer means for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The batch is here already.
    Here,
    /// It follows the last one, after everything behind block `undo_to` has been undone.
    Next {
        /// The block to go back to; the head's if nothing is to be undone.
        undo_to: u64,
    },
}

/// Where an offer goes among the batches held, which are consecutive and begin with the last executed one.
///
/// A batch that was promised at L1's present count of drops stays: the operator may commit it at any time, and the promise is that its data
/// is here. One that was only executed and never signed, as a crash in between leaves it, may be replaced.
///
/// # Errors
/// It follows nothing that is here, or would displace what was promised.
pub fn place(
    statement: &CertificateStatement,
    held: &[Held],
    is_promised: impl Fn(&Held) -> bool,
) -> Result<Place, OfferRefused> {
    let (Some(first), Some(last)) = (held.first(), held.last()) else {
        return Err(OfferRefused::Behind { last: 0, got: statement.batch_number });
    };
    let number = statement.batch_number;
    if number <= first.number {
        return Err(OfferRefused::OutOfRange { executed: first.number, got: number });
    }
    if number > last.number + 1 {
        return Err(OfferRefused::Behind { last: last.number, got: number });
    }
    let at = (number - first.number) as usize;
    let before = &held[at - 1];
    if let Some(same) = held.get(at)
        && (same.parent, same.checkpoint) == (statement.parent_checkpoint, statement.checkpoint)
    {
        return Ok(Place::Here);
    }
    if let Some(promised) = held[at..].iter().find(|batch| is_promised(batch)) {
        return Err(OfferRefused::Promised { number: promised.number, promised: promised.checkpoint });
    }
    if before.checkpoint != statement.parent_checkpoint {
        let (expected, got) = (before.checkpoint, statement.parent_checkpoint);
        return Err(OfferRefused::OtherParent { number, expected, got });
    }
    Ok(Place::Next { undo_to: before.last_block })
}

/// Whether the log holds a promise for a batch at L1's present count of drops.
pub fn is_promised(log: &SigningLog, l1: &L1View, held: &Held) -> bool {
    let asked = CertificateStatement {
        l1_chain_id: l1.l1_chain_id,
        rollup: l1.rollup,
        batch_number: held.number,
        parent_checkpoint: held.parent,
        checkpoint: held.checkpoint,
        revert_count: l1.revert_count,
        data_bytes: 0,
        expiry: 0,
        keyset_hash: B256::ZERO,
    };
    // A log that cannot tell is taken for one that promised.
    !matches!(log.propose(&asked), Ok(Proposal::New(_)))
}

/// The first of the batches held that L1 has contradicted or dropped; it and everything after it is to be undone. Executed batches are final.
pub fn first_undone(held: &[Held], l1: &L1View) -> Option<usize> {
    let executed = l1.executed();
    held.iter().enumerate().skip(1).filter(|(_, batch)| batch.number > executed).find_map(|(at, batch)| {
        let is_gone = match l1.batch(batch.number) {
            Some(on_l1) => checkpoint_hash(&on_l1.checkpoint) != batch.checkpoint,
            None => batch.revert_count < l1.revert_count,
        };
        is_gone.then_some(at)
    })
}

/// A batch whose data is here, with what decides how long it stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its number.
    pub number: u64,
    /// Its last block.
    pub last_block: u64,
    /// The furthest expiry promised, if this member signed it.
    pub promised_until_s: Option<u64>,
    /// Its time, unix seconds.
    pub time_s: u64,
}

/// The last of the batches, which rise from the oldest kept, whose data may go: all up to it are executed, no newer than the snapshot that stands in for
/// them, past every promise, and past the member's own retention.
pub fn prunable(kept: &[Kept], snapshot_block: u64, now_s: u64, retention_s: u64) -> Option<Kept> {
    let may_go = |batch: &&Kept| {
        let until = batch.promised_until_s.unwrap_or(0).max(batch.time_s.saturating_add(retention_s));
        batch.last_block <= snapshot_block && now_s > until
    };
    kept.iter().take_while(may_go).last().copied()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bench::quiet_l1;

    fn hash(byte: u8) -> B256 {
        B256::repeat_byte(byte)
    }

    /// Batches `first..=last`, each leading to the hash of its number.
    fn held(first: u8, last: u8) -> Vec<Held> {
        (first..=last)
            .map(|number| Held {
                number: number.into(),
                revert_count: 0,
                parent: hash(number.wrapping_sub(1)),
                checkpoint: hash(number),
                last_block: 10 * u64::from(number),
            })
            .collect()
    }

    fn statement(batch_number: u64, parent: u8, checkpoint: u8) -> CertificateStatement {
        CertificateStatement {
            l1_chain_id: 31_337,
            rollup: Address::repeat_byte(0x11),
            batch_number,
            parent_checkpoint: hash(parent),
            checkpoint: hash(checkpoint),
            revert_count: 0,
            data_bytes: 1,
            expiry: 2_000_000_000,
            keyset_hash: hash(0xcc),
        }
    }

    #[test]
    fn a_batch_follows_the_last_or_replaces_what_was_not_promised() {
        let held = held(3, 5);
        let none = |_: &Held| false;
        assert_eq!(place(&statement(6, 5, 6), &held, none), Ok(Place::Next { undo_to: 50 }));
        assert_eq!(place(&statement(5, 4, 5), &held, none), Ok(Place::Here));
        assert_eq!(place(&statement(4, 3, 9), &held, none), Ok(Place::Next { undo_to: 30 }));
        let promised = |batch: &Held| batch.number == 5;
        let refused = place(&statement(4, 3, 9), &held, promised);
        assert_eq!(refused, Err(OfferRefused::Promised { number: 5, promised: hash(5) }));
        assert_eq!(
            place(&statement(6, 5, 6), &held, promised),
            Ok(Place::Next { undo_to: 50 }),
            "nothing is displaced"
        );
        assert_eq!(place(&statement(3, 2, 9), &held, none), Err(OfferRefused::OutOfRange { executed: 3, got: 3 }));
        assert_eq!(place(&statement(7, 6, 7), &held, none), Err(OfferRefused::Behind { last: 5, got: 7 }));
        let refused = place(&statement(6, 9, 6), &held, none);
        assert_eq!(refused, Err(OfferRefused::OtherParent { number: 6, expected: hash(5), got: hash(9) }));
        assert_eq!(place(&statement(1, 0, 1), &[], none), Err(OfferRefused::Behind { last: 0, got: 1 }));
    }

    #[test]
    fn a_promise_binds_at_its_count_of_drops_alone() {
        let l1 = quiet_l1(Address::ZERO, 1, hash(0xcc), &[]);
        let mut log = SigningLog::new(l1.l1_chain_id, l1.rollup);
        let batch = held(1, 1)[0];
        assert!(!is_promised(&log, &l1, &batch));
        let Ok(Proposal::New(entry)) = log.propose(&statement(1, 0, 1)) else { panic!("a fresh log") };
        log.record(entry).expect("recorded");
        assert!(is_promised(&log, &l1, &batch));
        let dropped = L1View { revert_count: 1, ..l1.clone() };
        assert!(!is_promised(&log, &dropped, &batch), "its certificate is void");
        log.forget_below(2);
        assert!(is_promised(&log, &l1, &batch), "a log that cannot tell is taken at its worst");
    }

    #[test]
    fn batches_of_an_earlier_count_go_unless_l1_has_them() {
        let held = held(0, 3);
        let l1 = quiet_l1(Address::ZERO, 1, hash(0xcc), &[]);
        assert_eq!(first_undone(&held, &l1), None);
        let dropped = L1View { revert_count: 1, ..l1 };
        assert_eq!(first_undone(&held, &dropped), Some(1));
        let mut renewed = held;
        renewed[1].revert_count = 1;
        assert_eq!(first_undone(&renewed, &dropped), Some(2));
        assert_eq!(first_undone(&renewed[..1], &dropped), None, "what is executed stays");
    }

    proptest! {
        #[test]
        fn nothing_promised_or_newer_than_the_snapshot_is_pruned(
            batches in prop::collection::vec((prop::option::of(0u64..100), 0u64..100), 0..12),
            snapshot in 0u64..140, now in 0u64..150, retention in 0u64..60,
        ) {
            let kept: Vec<_> = (1..)
                .zip(&batches)
                .map(|(number, &(promised_until_s, time_s))| Kept { number, last_block: 10 * number, promised_until_s, time_s })
                .collect();
            let last = prunable(&kept, snapshot, now, retention).map_or(0, |last| last.number);
            for batch in kept.iter().filter(|batch| batch.number <= last) {
                prop_assert!(batch.last_block <= snapshot);
                prop_assert!(batch.promised_until_s.is_none_or(|until| until < now));
                prop_assert!(batch.time_s + retention < now);
            }
            // And it is the longest such run.
            if let Some(next) = kept.get(last as usize) {
                let stays = next.last_block > snapshot
                    || next.promised_until_s.is_some_and(|until| until >= now)
                    || next.time_s + retention >= now;
                prop_assert!(stays);
            }
        }

        #[test]
        fn what_was_promised_is_never_undone_by_an_offer(
            number in 0u64..9, parent in 0u8..9, checkpoint in 0u8..9, promised in 0u64..9,
        ) {
            let held = held(2, 6);
            let placed = place(&statement(number, parent, checkpoint), &held, |batch| batch.number == promised);
            if let Ok(Place::Next { undo_to }) = placed {
                prop_assert!(!held[1..].iter().any(|batch| batch.number == promised && batch.last_block > undo_to));
                prop_assert_eq!(undo_to, 10 * (number - 1));
            }
        }
    }
}
