//! Who serves what it promised: random members are asked for random chunks, and what they do is remembered.
//!
//! A certificate says that members hold a batch's data. Whether they do shows when somebody asks, and it should not be the day on which everybody leaves. [`Probes`]
//! draws the questions and keeps the record, without clock or network; [`Committee::probe`] asks one.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256};
use joule_protocol::Checkpoint;
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::{committee::Committee, fetch::MemberFailure, offer::checkpoint_hash};

/// Probes in a row without the chunk after which a member counts as not serving. One may be lost to a restart; three are a habit.
pub const MISSED_MAX: u32 = 3;

/// A batch whose data members have promised to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromisedBatch {
    /// Its number.
    pub number: u64,
    /// Where it starts.
    pub parent: Checkpoint,
    /// Where it leads.
    pub checkpoint: Checkpoint,
    /// Until when, unix seconds.
    pub until_s: u64,
    /// Who promised: the accounts of the members that signed.
    pub members: Vec<Address>,
}

/// One question: a member, one of its batches, one of the batch's chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe<'a> {
    /// Who is asked.
    pub member: Address,
    /// About which batch.
    pub batch: &'a PromisedBatch,
    /// For which of its chunks.
    pub chunk: u32,
}

/// What came of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probed {
    /// The chunk, which hashes to the checkpoint.
    Shown,
    /// Nothing: not reached, too slow, or a refusal. May pass.
    Missed(String),
    /// An answer that is not the chunk. An honest member with a whole disk never gives one.
    Wrong(String),
}

impl From<Result<(), MemberFailure>> for Probed {
    fn from(result: Result<(), MemberFailure>) -> Self {
        match result {
            Ok(()) => Self::Shown,
            Err(failure) if failure.is_wrong => Self::Wrong(failure.reason),
            Err(failure) => Self::Missed(failure.reason),
        }
    }
}

/// A member's record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Record {
    /// Probes answered with the chunk.
    pub shown: u64,
    /// Probes not answered.
    pub missed: u64,
    /// Probes answered with something else.
    pub wrong: u64,
    /// Missed or wrong since the last that was shown.
    pub failed_in_a_row: u32,
    /// When it last showed a chunk, unix seconds.
    pub last_shown_s: Option<u64>,
    /// Whether it counts as serving.
    pub is_failing: bool,
}

/// What whoever watches must hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeAlarm {
    /// A member does not serve what it promised.
    Failing {
        /// The member.
        account: Address,
        /// Its last failure.
        reason: String,
    },
    /// It serves again.
    Recovered {
        /// The member.
        account: Address,
    },
    /// Fewer members serve than had to sign: the data is at the mercy of few.
    TooFew {
        /// Members that serve.
        serving: usize,
        /// How many had to sign.
        quorum: u32,
    },
}

/// The records of all members of a committee.
#[derive(Clone, Debug)]
pub struct Probes {
    quorum: u32,
    records: BTreeMap<Address, Record>,
}

impl Probes {
    /// Nobody has been asked yet, and everybody has the benefit of the doubt.
    pub fn new(quorum: u32) -> Self {
        Self { quorum, records: BTreeMap::new() }
    }

    /// What was known of members before, as [`Probes::records`] had it. Whoever is not among the members that [`Probes::seat`] takes up next is forgotten there.
    pub fn with_records(quorum: u32, records: BTreeMap<Address, Record>) -> Self {
        Self { quorum, records }
    }

    /// Takes up the members of the keyset in force. Who has left it may still have promised data, and stays as long as there are batches for it.
    pub fn seat(&mut self, quorum: u32, members: impl IntoIterator<Item = Address>, batches: &[PromisedBatch]) {
        self.quorum = quorum;
        let mut records: BTreeMap<_, _> = members.into_iter().map(|account| (account, Record::default())).collect();
        records.extend(batches.iter().flat_map(|batch| &batch.members).map(|account| (*account, Record::default())));
        for (account, record) in &mut records {
            if let Some(known) = self.records.get(account) {
                *record = *known;
            }
        }
        self.records = records;
    }

    /// The next question, drawn evenly: first a member that has promised anything, so that one who signs seldom is asked as often, then one of its batches, then a
    /// chunk. `None` if nothing is promised any more.
    pub fn draw<'a>(&self, rng: &mut impl Rng, batches: &'a [PromisedBatch], now_s: u64) -> Option<Probe<'a>> {
        let chunks = |batch: &PromisedBatch| {
            u32::try_from(batch.checkpoint.block_number.saturating_sub(batch.parent.block_number)).unwrap_or(u32::MAX)
        };
        let open: Vec<_> = batches.iter().filter(|batch| batch.until_s > now_s && chunks(batch) > 0).collect();
        let promised =
            |account: &Address| open.iter().copied().filter(|batch| batch.members.contains(account)).collect();
        let mut members: Vec<(Address, Vec<&PromisedBatch>)> =
            self.records.keys().map(|account| (*account, promised(account))).collect();
        members.retain(|(_, batches)| !batches.is_empty());
        if members.is_empty() {
            return None;
        }
        let (member, batches) = &members[rng.random_range(0..members.len())];
        let batch = batches[rng.random_range(0..batches.len())];
        Some(Probe { member: *member, batch, chunk: rng.random_range(0..chunks(batch)) })
    }

    /// Notes what came of a probe, and says what is new in it. A wrong answer counts at once: it does not pass by itself.
    pub fn note(&mut self, account: Address, probed: &Probed, now_s: u64) -> Vec<ProbeAlarm> {
        let record = self.records.entry(account).or_default();
        let was_failing = record.is_failing;
        let mut alarms = Vec::new();
        match probed {
            Probed::Shown => {
                record.shown = record.shown.saturating_add(1);
                record.last_shown_s = Some(now_s);
                record.failed_in_a_row = 0;
                record.is_failing = false;
                if was_failing {
                    alarms.push(ProbeAlarm::Recovered { account });
                }
                return alarms;
            }
            Probed::Missed(_) => record.missed = record.missed.saturating_add(1),
            Probed::Wrong(_) => record.wrong = record.wrong.saturating_add(1),
        }
        record.failed_in_a_row = record.failed_in_a_row.saturating_add(1);
        record.is_failing |= matches!(probed, Probed::Wrong(_)) || record.failed_in_a_row >= MISSED_MAX;
        if record.is_failing && !was_failing {
            if let Probed::Missed(reason) | Probed::Wrong(reason) = probed {
                alarms.push(ProbeAlarm::Failing { account, reason: reason.clone() });
            }
            let serving = self.serving();
            if serving < self.quorum as usize {
                alarms.push(ProbeAlarm::TooFew { serving, quorum: self.quorum });
            }
        }
        alarms
    }

    /// Members that do not count as failing.
    pub fn serving(&self) -> usize {
        self.records.values().filter(|record| !record.is_failing).count()
    }

    /// Whether fewer serve than had to sign.
    pub fn is_alarming(&self) -> bool {
        !self.records.is_empty() && self.serving() < self.quorum as usize
    }

    /// How many had to sign.
    pub fn quorum(&self) -> u32 {
        self.quorum
    }

    /// All records, by account.
    pub fn records(&self) -> &BTreeMap<Address, Record> {
        &self.records
    }
}

impl Committee {
    /// Asks what was drawn. A member without an address has missed.
    pub async fn ask_probe(&self, probe: Probe<'_>, limit: std::time::Duration) -> Probed {
        let Some(member) = self.members().iter().find(|member| member.account == probe.member) else {
            return Probed::Missed("no address of it is known".to_owned());
        };
        let PromisedBatch { parent, checkpoint, .. } = probe.batch;
        self.probe(member, parent, checkpoint, probe.chunk, limit).await.map(drop).into()
    }
}

impl PromisedBatch {
    /// The hash by which its data is asked for.
    pub fn hash(&self) -> B256 {
        checkpoint_hash(&self.checkpoint)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{SeedableRng as _, rngs::StdRng};

    use super::*;
    use crate::offer::tests::checkpoint;

    fn account(index: u8) -> Address {
        Address::repeat_byte(index + 1)
    }

    fn batch(number: u64, blocks: u64, until_s: u64, members: &[u8]) -> PromisedBatch {
        let members = members.iter().copied().map(account).collect();
        PromisedBatch { number, parent: checkpoint(7), checkpoint: checkpoint(7 + blocks), until_s, members }
    }

    fn probes() -> Probes {
        let mut probes = Probes::new(3);
        probes.seat(3, (0..5).map(account), &[]);
        probes
    }

    #[test]
    fn nobody_is_asked_for_what_it_has_not_promised() {
        let batches = [batch(1, 4, 100, &[0, 1]), batch(2, 7, 200, &[1, 2]), batch(3, 0, 900, &[3])];
        let probes = probes();
        let mut rng = StdRng::seed_from_u64(1);
        let mut asked = std::collections::BTreeSet::new();
        for _ in 0..300 {
            let probe = probes.draw(&mut rng, &batches, 50).expect("promised");
            assert!(probe.batch.members.contains(&probe.member));
            assert!(u64::from(probe.chunk) < probe.batch.checkpoint.block_number - probe.batch.parent.block_number);
            asked.insert((probe.member, probe.batch.number, probe.chunk));
        }
        // Every member, batch and chunk has its turn: 4 of two members, 7 of two.
        assert_eq!(asked.len(), 2 * 4 + 2 * 7);
        // Promises end.
        assert!((0..50).all(|_| probes.draw(&mut rng, &batches, 150).expect("one is left").batch.number == 2));
        assert_eq!(probes.draw(&mut rng, &batches, 200), None);
    }

    #[test]
    fn failing_takes_three_misses_or_one_lie_and_is_forgiven() {
        let mut probes = probes();
        let (missed, wrong) = (Probed::Missed("away".to_owned()), Probed::Wrong("not it".to_owned()));
        assert_eq!(probes.note(account(0), &missed, 1), []);
        assert_eq!(probes.note(account(0), &missed, 2), []);
        let failing = |index, reason: &str| ProbeAlarm::Failing { account: account(index), reason: reason.to_owned() };
        assert_eq!(probes.note(account(0), &missed, 3), [failing(0, "away")]);
        assert_eq!(probes.note(account(0), &missed, 4), [], "said once");
        assert_eq!(probes.note(account(1), &wrong, 5), [failing(1, "not it")]);
        assert!(!probes.is_alarming());
        let too_few = ProbeAlarm::TooFew { serving: 2, quorum: 3 };
        assert_eq!(probes.note(account(2), &wrong, 6), [failing(2, "not it"), too_few]);
        assert!(probes.is_alarming());
        assert_eq!(probes.note(account(2), &Probed::Shown, 7), [ProbeAlarm::Recovered { account: account(2) }]);
        assert!(!probes.is_alarming());
        let record = probes.records()[&account(2)];
        assert_eq!((record.shown, record.wrong, record.last_shown_s), (1, 1, Some(7)));
    }

    #[test]
    fn records_outlive_another_keyset_as_long_as_there_is_a_promise() {
        let mut probes = probes();
        probes.note(account(0), &Probed::Missed(String::new()), 1);
        probes.note(account(1), &Probed::Missed(String::new()), 1);
        probes.seat(2, [account(2), account(7)], &[batch(1, 4, 100, &[0])]);
        let accounts: Vec<_> = probes.records().keys().copied().collect();
        assert_eq!(accounts, [account(0), account(2), account(7)]);
        assert_eq!(probes.records()[&account(0)].missed, 1);
    }

    proptest! {
        #[test]
        fn counts_are_of_what_was_noted(notes in prop::collection::vec((0_u8..5, 0_u8..3), 0..200)) {
            let mut probes = probes();
            let mut expected = [(0, 0, 0); 5];
            for (who, what) in notes {
                let counts = &mut expected[who as usize];
                let probed = match what {
                    0 => { counts.0 += 1; Probed::Shown }
                    1 => { counts.1 += 1; Probed::Missed(String::new()) }
                    _ => { counts.2 += 1; Probed::Wrong(String::new()) }
                };
                probes.note(account(who), &probed, 0);
                let record = probes.records()[&account(who)];
                prop_assert!(what != 0 || !record.is_failing);
                prop_assert!(record.failed_in_a_row < MISSED_MAX || record.is_failing);
            }
            for (who, expected) in expected.into_iter().enumerate() {
                let record = probes.records()[&account(who as u8)];
                prop_assert_eq!((record.shown, record.missed, record.wrong), expected);
            }
        }
    }
}
