//! Gathering a quorum's shares, as a state machine without clock or network.
//!
//! [`Gathering::step`] takes one event and says what to do. Members are asked, timed and given up outside; time enters as
//! [`Event::Failed`] and [`Event::Deadline`].

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256};
use thiserror::Error;

use crate::{
    certificate::{AggregateError, Certificate, CertificateError, VerifiedCertificate},
    keyset::Keyset,
    share::{Equivocation, Share, ShareError, VerifiedShare},
    statement::CertificateStatement,
};

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A share came in, from whomever.
    Share(Box<Share>),
    /// A member refused, did not answer in time, or cannot be reached. It may still send its share.
    Failed {
        /// The member.
        account: Address,
    },
    /// Time is up.
    Deadline,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Note that a member's share counts.
    Counted {
        /// The member.
        account: Address,
        /// Shares that count by now.
        count: usize,
    },
    /// Submit the certificate: exactly a quorum's signatures, since each more costs gas.
    Certified(Box<VerifiedCertificate>),
    /// Tell the operator: one more failure loses the quorum.
    Alarm {
        /// Members that have signed or may yet.
        able: usize,
        /// How many must sign.
        quorum: u32,
    },
    /// Put the data on L1.
    FallBack(FallBack),
    /// Do not count this share; [`ShareError::fault`] says whom to hold it against.
    Refuse(ShareError),
}

/// Why there will be no certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FallBack {
    /// Too many members failed.
    QuorumLost {
        /// Members that have signed or might have.
        able: usize,
        /// How many must sign.
        quorum: u32,
    },
    /// Time was up first.
    DeadlinePassed {
        /// Shares that counted.
        count: usize,
        /// How many must sign.
        quorum: u32,
    },
    /// Verified shares made no certificate: this crate is broken, and the data is safe on L1.
    NoCertificate(Unsound),
}

/// How a certificate of verified shares can be none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsound {
    /// They did not add up.
    Aggregate(AggregateError),
    /// What they added up to did not verify.
    Certificate(CertificateError),
}

/// Where a gathering stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Shares are awaited.
    Open,
    /// The certificate was made. Further shares are still checked and counted, which shows who is well.
    Certified,
    /// The data goes to L1. Further shares are refused.
    FellBack,
}

/// Why a gathering cannot begin. The caller is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GatheringError {
    /// The statement is made out to another keyset.
    #[error("the statement names keyset {got} instead of {expected}")]
    WrongKeyset {
        /// The keyset given.
        expected: B256,
        /// The statement's.
        got: B256,
    },
}

/// One statement's way to a certificate.
///
/// Bounded by the keyset: at most one share and one contradicting share per member is kept.
#[derive(Clone, Debug)]
pub struct Gathering {
    keyset: Keyset,
    statement: CertificateStatement,
    status: Status,
    /// Members whose share counts, by position.
    counted: BTreeMap<usize, VerifiedShare>,
    /// Members that signed something else for the slot; they cannot sign this as well and be honest.
    others: BTreeMap<usize, VerifiedShare>,
    /// Members that were reported failing and have not signed since.
    failed: BTreeSet<usize>,
    is_alarmed: bool,
}

impl Gathering {
    /// Begins. The alarm is raised at once where every member must sign.
    ///
    /// # Errors
    /// A statement for another keyset.
    pub fn start(keyset: Keyset, statement: CertificateStatement) -> Result<(Self, Vec<Action>), GatheringError> {
        if statement.keyset_hash != keyset.hash() {
            return Err(GatheringError::WrongKeyset { expected: keyset.hash(), got: statement.keyset_hash });
        }
        let (counted, others, failed) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        let mut gathering =
            Self { keyset, statement, status: Status::Open, counted, others, failed, is_alarmed: false };
        let actions = gathering.weigh();
        Ok((gathering, actions))
    }

    /// Takes one event.
    pub fn step(&mut self, event: Event) -> Vec<Action> {
        match event {
            Event::Share(share) => match self.take(*share) {
                Ok(mut actions) => {
                    actions.extend(self.weigh());
                    actions
                }
                Err(error) => {
                    let mut actions = vec![Action::Refuse(error)];
                    actions.extend(self.weigh());
                    actions
                }
            },
            Event::Failed { account } => {
                if let Some(position) = self.keyset.position(account).filter(|at| !self.counted.contains_key(at)) {
                    self.failed.insert(position);
                }
                self.weigh()
            }
            Event::Deadline if self.status == Status::Open => {
                let (count, quorum) = (self.counted.len(), self.keyset.quorum());
                self.fall_back(FallBack::DeadlinePassed { count, quorum })
            }
            Event::Deadline => Vec::new(),
        }
    }

    /// Where it stands.
    pub fn status(&self) -> Status {
        self.status
    }

    /// What is being signed.
    pub fn statement(&self) -> &CertificateStatement {
        &self.statement
    }

    /// Members whose share has not come, whom to ask or to doubt.
    pub fn missing(&self) -> impl Iterator<Item = Address> + '_ {
        let members = self.keyset.members().iter().enumerate();
        members.filter(|(position, _)| !self.counted.contains_key(position)).map(|(_, member)| member.account)
    }

    fn take(&mut self, share: Share) -> Result<Vec<Action>, ShareError> {
        let account = share.account;
        let position = self.keyset.position(account).ok_or(ShareError::UnknownMember { account })?;
        if self.status == Status::FellBack {
            return Err(ShareError::Closed);
        }
        let (expected, got) = (self.statement.slot(), share.statement.slot());
        if expected != got {
            return Err(ShareError::WrongSlot { expected: Box::new(expected), got: Box::new(got) });
        }
        let is_ours = share.statement == self.statement;
        // Before the signature is checked: a copy of what counts already is worth no pairing.
        if is_ours && self.counted.contains_key(&position) {
            return Err(ShareError::Duplicate { account });
        }
        let verified = share.verify(&self.keyset)?;
        // Both signed by the member from here on, and for this keyset. Another statement differs in what it says of the slot.
        let contradicted = if is_ours { self.others.get(&position) } else { self.counted.get(&position) };
        if let Some(first) = contradicted {
            let proof = Equivocation { first: *first.share(), second: share };
            return Err(ShareError::Equivocation(Box::new(proof)));
        }
        if is_ours {
            self.failed.remove(&position);
            self.counted.insert(position, verified);
            return Ok(vec![Action::Counted { account, count: self.counted.len() }]);
        }
        let before = *self.others.entry(position).or_insert(verified).share();
        if before.statement != share.statement {
            let proof = Equivocation { first: before, second: share };
            return Err(ShareError::Equivocation(Box::new(proof)));
        }
        let (expected, got) = (self.statement.subject(), share.statement.subject());
        Err(ShareError::SignedOther { account, expected, got })
    }

    /// Members that have signed or may yet.
    fn able(&self) -> usize {
        let lost = |position: &usize| self.failed.contains(position) || self.others.contains_key(position);
        (0..self.keyset.members().len())
            .filter(|position| self.counted.contains_key(position) || !lost(position))
            .count()
    }

    /// What follows from the shares and failures so far.
    fn weigh(&mut self) -> Vec<Action> {
        let (able, quorum) = (self.able(), self.keyset.quorum());
        let needed = quorum as usize;
        if self.status != Status::Open {
            return Vec::new();
        }
        if self.counted.len() >= needed {
            return self.certify(needed);
        }
        if able < needed {
            return self.fall_back(FallBack::QuorumLost { able, quorum });
        }
        // Once each time the margin is used up, not once per event.
        let was_alarmed = std::mem::replace(&mut self.is_alarmed, able == needed);
        if self.is_alarmed && !was_alarmed { vec![Action::Alarm { able, quorum }] } else { Vec::new() }
    }

    fn certify(&mut self, needed: usize) -> Vec<Action> {
        let shares: Vec<_> = self.counted.values().take(needed).copied().collect();
        let made = Certificate::aggregate(&self.keyset, &self.statement, &shares).map_err(Unsound::Aggregate);
        // The keyset and the shares are verified, so this holds; it costs two pairings to be sure before gas is spent.
        let verified = made.and_then(|certificate| {
            certificate.verify(self.keyset.hash(), self.statement.expiry).map_err(Unsound::Certificate)
        });
        match verified {
            Ok(certificate) => {
                self.status = Status::Certified;
                vec![Action::Certified(Box::new(certificate))]
            }
            Err(unsound) => self.fall_back(FallBack::NoCertificate(unsound)),
        }
    }

    fn fall_back(&mut self, reason: FallBack) -> Vec<Action> {
        self.status = Status::FellBack;
        vec![Action::FallBack(reason)]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        fixtures::{self, account, keyset, other_subject, share},
        keyset::Scheme,
        share::Fault,
    };

    fn start(scheme: Scheme, count: u64, honest: u32) -> Gathering {
        let keyset = keyset(scheme, count, honest);
        let statement = fixtures::statement(keyset.hash());
        Gathering::start(keyset, statement).expect("starts").0
    }

    fn sends(gathering: &mut Gathering, position: usize) -> Vec<Action> {
        let share = share(&gathering.keyset, position, &gathering.statement);
        gathering.step(Event::Share(Box::new(share)))
    }

    fn fails(gathering: &mut Gathering, position: usize) -> Vec<Action> {
        let account = gathering.keyset.members()[position].account;
        gathering.step(Event::Failed { account })
    }

    fn refusal(actions: Vec<Action>) -> ShareError {
        match actions.into_iter().next() {
            Some(Action::Refuse(error)) => error,
            other => panic!("{other:?} is no refusal"),
        }
    }

    #[test]
    fn the_quorum_s_last_share_makes_the_certificate() {
        for scheme in [Scheme::Ecdsa, Scheme::Bls] {
            let mut gathering = start(scheme, 5, 2);
            for (count, position) in [(1, 4), (2, 0), (3, 2)] {
                let account = gathering.keyset.members()[position].account;
                assert_eq!(sends(&mut gathering, position), [Action::Counted { account, count }]);
            }
            let actions = sends(&mut gathering, 1);
            assert!(matches!(&actions[..], [Action::Counted { count: 4, .. }, Action::Certified(_)]), "{actions:?}");
            assert_eq!(gathering.status(), Status::Certified);
            // A late share counts and nothing else happens; nor does the deadline undo anything.
            assert!(matches!(&sends(&mut gathering, 3)[..], [Action::Counted { count: 5, .. }]));
            assert_eq!(gathering.step(Event::Deadline), []);
            assert_eq!(gathering.missing().count(), 0);
        }
    }

    #[test]
    fn failures_alarm_first_and_fall_back_then() {
        let mut gathering = start(Scheme::Ecdsa, 5, 3);
        assert_eq!(fails(&mut gathering, 0), []);
        assert_eq!(fails(&mut gathering, 0), [], "the same member again");
        assert_eq!(fails(&mut gathering, 1), [Action::Alarm { able: 3, quorum: 3 }]);
        assert_eq!(fails(&mut gathering, 1), [], "no second alarm for the same state");
        // One of them comes back, so that there is room again, and is used up again.
        assert!(matches!(&sends(&mut gathering, 0)[..], [Action::Counted { count: 1, .. }]));
        assert_eq!(fails(&mut gathering, 0), [], "its share counts, whatever became of it since");
        assert_eq!(fails(&mut gathering, 2), [Action::Alarm { able: 3, quorum: 3 }]);
        let reason = FallBack::QuorumLost { able: 2, quorum: 3 };
        assert_eq!(fails(&mut gathering, 3), [Action::FallBack(reason)]);
        assert_eq!(refusal(sends(&mut gathering, 4)), ShareError::Closed);
        assert_eq!(gathering.status(), Status::FellBack);
        assert_eq!(gathering.step(Event::Failed { account: account(99) }), [], "strangers cannot fail");
    }

    #[test]
    fn a_committee_without_margin_is_alarming_from_the_start() {
        let keyset = keyset(Scheme::Ecdsa, 3, 1);
        let statement = fixtures::statement(keyset.hash());
        let (mut gathering, actions) = Gathering::start(keyset, statement).expect("starts");
        assert_eq!(actions, [Action::Alarm { able: 3, quorum: 3 }]);
        assert_eq!(fails(&mut gathering, 2), [Action::FallBack(FallBack::QuorumLost { able: 2, quorum: 3 })]);
    }

    #[test]
    fn the_deadline_falls_back() {
        let mut gathering = start(Scheme::Ecdsa, 4, 2);
        sends(&mut gathering, 0);
        let reason = FallBack::DeadlinePassed { count: 1, quorum: 3 };
        assert_eq!(gathering.step(Event::Deadline), [Action::FallBack(reason)]);
        assert_eq!(gathering.step(Event::Deadline), []);
    }

    #[test]
    fn what_does_not_count_is_refused_with_its_reason() {
        for scheme in [Scheme::Ecdsa, Scheme::Bls] {
            let mut gathering = start(scheme, 5, 2);
            let statement = gathering.statement;
            let honest = share(&gathering.keyset, 0, &statement);
            let mut refused = |share: Share, fault: Fault| {
                let error = refusal(gathering.step(Event::Share(Box::new(share))));
                assert_eq!(error.fault(), fault, "{error}");
                error
            };
            let stranger = Share { account: account(99), ..honest };
            assert!(matches!(refused(stranger, Fault::Sender), ShareError::UnknownMember { .. }));
            let victim = keyset(scheme, 5, 2).members()[1].account;
            let forged = Share { account: victim, ..honest };
            assert!(matches!(refused(forged, Fault::Sender), ShareError::Forged { .. }));
            let next = CertificateStatement { batch_number: statement.batch_number + 1, ..statement };
            let wrong = Share { statement: next, ..honest };
            assert!(matches!(refused(wrong, Fault::Sender), ShareError::WrongSlot { .. }));
            let elsewhere = CertificateStatement { keyset_hash: B256::ZERO, ..statement };
            let wrong = Share { statement: elsewhere, ..honest };
            assert!(matches!(refused(wrong, Fault::Sender), ShareError::WrongKeyset { .. }));
            // None of that was held against the member: it still counts, once.
            assert!(matches!(&gathering.step(Event::Share(Box::new(honest)))[..], [Action::Counted { count: 1, .. }]));
            let error = refusal(gathering.step(Event::Share(Box::new(honest))));
            assert_eq!((error.fault(), error), (Fault::Nobody, ShareError::Duplicate { account: honest.account }));
        }
    }

    #[test]
    fn equivocation_is_proven_whichever_share_comes_first() {
        for scheme in [Scheme::Ecdsa, Scheme::Bls] {
            for ours_first in [true, false] {
                let mut gathering = start(scheme, 5, 2);
                let ours = share(&gathering.keyset, 0, &gathering.statement);
                let other = share(&gathering.keyset, 0, &other_subject(&gathering.statement));
                let (first, second) = if ours_first { (ours, other) } else { (other, ours) };
                let actions = gathering.step(Event::Share(Box::new(first)));
                if ours_first {
                    assert!(matches!(&actions[..], [Action::Counted { .. }]));
                } else {
                    // Signing something else is a failure to sign this, and with K = 4 of 5 the margin is gone.
                    let [Action::Refuse(error), Action::Alarm { able: 4, quorum: 4 }] = &actions[..] else {
                        panic!("{actions:?}")
                    };
                    assert!(matches!(error, ShareError::SignedOther { .. }));
                    assert_eq!(error.fault(), Fault::Us);
                }
                let error = refusal(gathering.step(Event::Share(Box::new(second))));
                assert_eq!(error.fault(), Fault::Member(ours.account));
                let ShareError::Equivocation(proof) = error else { panic!("{error}") };
                assert_eq!(proof.verify(&gathering.keyset), Ok(()));
                assert_eq!(gathering.counted.len(), usize::from(ours_first));
            }
        }
    }

    #[test]
    fn two_other_statements_are_equivocation_too() {
        let mut gathering = start(Scheme::Ecdsa, 5, 2);
        let one = other_subject(&gathering.statement);
        let two = CertificateStatement { expiry: one.expiry + 1, ..one };
        for (statement, fault) in [(one, Fault::Us), (one, Fault::Us)] {
            let share = share(&gathering.keyset, 0, &statement);
            assert_eq!(refusal(gathering.step(Event::Share(Box::new(share)))).fault(), fault);
        }
        let share = share(&gathering.keyset, 0, &two);
        assert_eq!(refusal(gathering.step(Event::Share(Box::new(share)))).fault(), Fault::Member(share.account));
    }

    #[test]
    fn a_statement_for_another_keyset_does_not_start() {
        let keyset = keyset(Scheme::Ecdsa, 3, 2);
        let statement = fixtures::statement(B256::ZERO);
        let expected = GatheringError::WrongKeyset { expected: keyset.hash(), got: B256::ZERO };
        assert_eq!(Gathering::start(keyset, statement).expect_err("refused"), expected);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        /// Whatever comes in whatever order, the outcome is what a count says it must be.
        #[test]
        fn outcomes_follow_from_counting(honest in 1u32..=5, events in prop::collection::vec((0usize..5, 0u8..4), 0..25)) {
            let keyset = keyset(Scheme::Ecdsa, 5, honest);
            let statement = fixtures::statement(keyset.hash());
            let quorum = keyset.quorum() as usize;
            let (mut gathering, mut actions) = Gathering::start(keyset.clone(), statement).expect("starts");
            let (mut signed, mut down) = (BTreeSet::new(), BTreeSet::new());
            let mut expected = Status::Open;
            for (position, kind) in events {
                actions.extend(match kind {
                    0 | 1 => sends(&mut gathering, position),
                    2 => fails(&mut gathering, position),
                    _ => {
                        // A forgery changes nothing at all.
                        let mut forged = share(&keyset, (position + 1) % 5, &statement);
                        forged.account = keyset.members()[position].account;
                        gathering.step(Event::Share(Box::new(forged)))
                    }
                });
                if expected == Status::Open {
                    match kind {
                        0 | 1 => {
                            signed.insert(position);
                            down.remove(&position);
                        }
                        2 if !signed.contains(&position) => {
                            down.insert(position);
                        }
                        _ => {}
                    }
                    if signed.len() >= quorum {
                        expected = Status::Certified;
                    } else if 5 - down.len() < quorum {
                        expected = Status::FellBack;
                    }
                }
                prop_assert_eq!(gathering.status(), expected);
            }
            let certified = actions.iter().filter(|action| matches!(action, Action::Certified(_))).count();
            let fell_back = actions.iter().filter(|action| matches!(action, Action::FallBack(_))).count();
            prop_assert_eq!(certified, usize::from(expected == Status::Certified));
            prop_assert_eq!(fell_back, usize::from(expected == Status::FellBack));
        }
    }
}
