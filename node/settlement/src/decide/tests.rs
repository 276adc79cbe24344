//! Single decisions. What holds over whole histories is in the simulation.

use alloy::primitives::{Address, B256};
use joule_l1::{BlockRef, PendingBatch, RollupState};

use super::*;

const OPERATOR: Address = Address::repeat_byte(1);
const NOW_S: u64 = 10_000;

fn checkpoint(number: u64) -> B256 {
    B256::with_last_byte(number as u8)
}

fn sealed(number: u64) -> Sealed {
    Sealed {
        number,
        parent: checkpoint(number - 1),
        checkpoint: checkpoint(number),
        protocol_version: 1,
        priority_count: 0,
        parts: 1,
        sealed_at_s: 0,
    }
}

fn certificate() -> CertificateHead {
    CertificateHead { revert_count: 0, expiry: NOW_S + 100_000, keyset: B256::repeat_byte(7) }
}

/// L1 with so many batches committed and executed.
fn view(committed: u64, executed: u64) -> View {
    let pending = |number| PendingBatch {
        number,
        checkpoint: checkpoint(number),
        protocol_version: 1,
        committed_at_s: NOW_S,
        proven_at_s: None,
    };
    View {
        rollup: RollupState {
            at: BlockRef { number: 9, hash: B256::ZERO, timestamp_s: NOW_S },
            committed,
            proven: executed,
            executed,
            revert_count: 0,
            executed_checkpoint: checkpoint(executed),
            pending: (executed + 1..=committed).map(pending).collect(),
            frozen_at_s: None,
            is_late: false,
            protocol_version: 1,
            sequencer: OPERATOR,
            requests: 0,
            executed_requests: 0,
            ecdsa_keyset: Some(B256::repeat_byte(7)),
            bls_keyset: None,
        },
        settled_executed: 0,
        certificate_remaining_min_s: 1_000,
        operator: OPERATOR,
        in_flight: Vec::new(),
        posted: None,
    }
}

/// Settlement with two batches, both certified and proven.
fn ready() -> Settlement {
    let batches = [1, 2].map(|number| (sealed(number), Some(certificate()), true, None)).to_vec();
    Settlement::new(Policy::default(), Recovered { mode: Mode::Committee, executed: 0, batches })
}

fn look(settlement: &mut Settlement, view: View) -> Vec<Action> {
    settlement.step(NOW_S, Event::L1(Box::new(view)))
}

fn sends(actions: &[Action]) -> Vec<Purpose> {
    let purpose = |action: &Action| match action {
        Action::Send(purpose) => Some(*purpose),
        _ => None,
    };
    actions.iter().filter_map(purpose).collect()
}

fn settle() -> Purpose {
    Purpose::Settle { number: 1, revert_count: 0, checkpoint: checkpoint(1), expiry: Some(certificate().expiry) }
}

#[test]
fn one_transaction_where_one_will_do_and_three_where_it_is_refused() {
    let mut settlement = ready();
    let actions = look(&mut settlement, view(0, 0));
    assert_eq!(sends(&actions), [settle()]);
    let marked = actions.iter().position(|action| *action == Action::MarkSent { number: 1, revert_count: 0 });
    assert!(marked < actions.iter().position(|action| *action == Action::Send(settle())), "remembered first");
    assert_eq!(sends(&settlement.step(NOW_S, Event::Tick)), [], "it is under way");
    settlement.step(NOW_S, Event::Refused { purpose: settle(), cause: Cause::Other });
    assert_eq!(sends(&look(&mut settlement, view(0, 0))), [], "not at once");
    let actions = settlement.step(NOW_S + 60, Event::Tick);
    assert!(matches!(sends(&actions)[..], [Purpose::Commit { number: 1, .. }]), "{actions:?}");
    assert!(matches!(
        sends(&look(&mut settlement, view(1, 0)))[..],
        [Purpose::Prove { number: 1, .. }, Purpose::Commit { number: 2, .. }]
    ));
}

#[test]
fn a_proof_that_l1_refuses_is_thrown_away() {
    let mut settlement = ready();
    look(&mut settlement, view(0, 0));
    let actions = settlement.step(NOW_S, Event::Refused { purpose: settle(), cause: Cause::Proof });
    assert!(actions.contains(&Action::DropProof { number: 1 }) && actions.contains(&Action::AskProof { number: 1 }));
    let wrong = Event::Proof { number: 1, checkpoint: checkpoint(9) };
    settlement.step(NOW_S, wrong);
    assert!(sends(&settlement.step(NOW_S + 60, Event::Tick)).iter().all(|purpose| *purpose != settle()));
}

#[test]
fn refused_again_and_again_a_person_is_told() {
    let mut settlement = ready();
    let mut told = 0;
    let mut now_s = NOW_S;
    for _ in 0..6 {
        now_s += 1_000;
        let actions = settlement.step(now_s, Event::L1(Box::new(view(0, 0))));
        for purpose in sends(&actions) {
            let actions = settlement.step(now_s, Event::Refused { purpose, cause: Cause::Other });
            told += actions.iter().filter(|action| matches!(action, Action::Alarm(Alarm::Refused { .. }))).count();
        }
    }
    assert_eq!(told, 2, "at the third and the sixth");
}

#[test]
fn what_l1_would_not_take_is_not_sent_and_said_once() {
    type Change = fn(&mut View);
    let cases: [(Change, Alarm); 5] = [
        (|view| view.rollup.frozen_at_s = Some(1), Alarm::Frozen),
        (
            |view| view.rollup.sequencer = Address::repeat_byte(9),
            Alarm::NotTheSequencer { expected: Address::repeat_byte(9) },
        ),
        (|view| view.rollup.protocol_version = 2, Alarm::WrongVersion { number: 1 }),
        (|view| view.rollup.committed = 7, Alarm::Foreign { number: 1 }),
        (
            |view| {
                (view.rollup.committed, view.rollup.executed, view.rollup.proven) = (5, 5, 5);
            },
            Alarm::Behind { committed: 5 },
        ),
    ];
    for (change, alarm) in cases {
        let mut settlement = ready();
        let mut changed = view(0, 0);
        change(&mut changed);
        let actions = look(&mut settlement, changed.clone());
        assert_eq!(sends(&actions), [], "{alarm:?}");
        assert!(actions.contains(&Action::Alarm(alarm)), "{alarm:?}: {actions:?}");
        assert!(!look(&mut settlement, changed).contains(&Action::Alarm(alarm)), "{alarm:?}: once");
        assert_ne!(sends(&look(&mut settlement, view(0, 0))), [], "{alarm:?}: it goes on when the reason is gone");
    }
}

#[test]
fn requests_that_l1_no_longer_has_hold_their_batch() {
    let mut batches = vec![(sealed(1), Some(certificate()), true, None)];
    batches[0].0.priority_count = 3;
    let mut settlement = Settlement::new(Policy::default(), Recovered { mode: Mode::Committee, executed: 0, batches });
    let actions = look(&mut settlement, view(0, 0));
    assert!(actions.contains(&Action::Alarm(Alarm::RequestsGone { number: 1 })));
    assert_eq!(sends(&actions), []);
}

#[test]
fn a_void_certificate_is_not_sent_and_what_was_sent_is_cancelled() {
    for change in
        [(|view: &mut View| view.rollup.at.timestamp_s += 99_001) as fn(&mut View), |view| view.rollup.revert_count = 1]
    {
        let mut settlement = ready();
        let mut changed = view(0, 0);
        change(&mut changed);
        changed.in_flight = vec![InFlight { nonce: 4, purpose: settle(), is_cancelled: false }];
        let actions = look(&mut settlement, changed.clone());
        assert!(actions.contains(&Action::Cancel { nonce: 4 }), "{actions:?}");
        assert_eq!(sends(&actions), []);
        changed.in_flight.clear();
        assert!(sends(&look(&mut settlement, changed)).iter().all(|purpose| purpose.names().is_none()));
    }
}

#[test]
fn contradictions_are_not_taken() {
    let mut settlement = ready();
    let other = Sealed { checkpoint: checkpoint(99), ..sealed(2) };
    for wrong in [other, sealed(4), Sealed { parent: checkpoint(99), ..sealed(3) }] {
        let number = wrong.number;
        let actions = settlement.step(NOW_S, Event::Sealed(wrong));
        assert_eq!(actions, [Action::Alarm(Alarm::Contradiction { number })]);
    }
    assert_eq!(settlement.step(NOW_S, Event::Sealed(sealed(2))), [], "the same again is nothing new");
    assert_eq!(settlement.step(NOW_S, Event::Sealed(sealed(3))), []);
    assert_eq!(settlement.last(), 3);
}

#[test]
fn batches_that_could_still_be_committed_are_not_dropped() {
    let mut settlement = ready();
    assert_eq!(settlement.drop_from(1), Err(DropRefused::Unknown));
    look(&mut settlement, view(0, 0));
    assert_eq!(settlement.drop_from(1), Err(DropRefused::Sent { number: 1 }));
    assert_eq!(settlement.drop_from(2), Ok(()), "the second was not sent");
    look(&mut settlement, view(1, 0));
    assert_eq!(settlement.drop_from(1), Err(DropRefused::Committed { number: 1 }));
    // Dropped on L1, and nothing under way: what was sent before can no longer be taken.
    let mut reverted = view(0, 0);
    reverted.rollup.revert_count = 1;
    reverted.in_flight = vec![InFlight { nonce: 4, purpose: settle(), is_cancelled: true }];
    look(&mut settlement, reverted.clone());
    assert_eq!(settlement.drop_from(1), Err(DropRefused::Sent { number: 1 }), "cancelled is not gone");
    reverted.in_flight.clear();
    look(&mut settlement, reverted);
    assert_eq!(settlement.drop_from(1), Ok(()));
    assert_eq!(settlement.last(), 0);
}

#[test]
fn a_revert_is_sent_once_and_nothing_is_committed_meanwhile() {
    let mut settlement = ready();
    look(&mut settlement, view(1, 0));
    let actions = settlement.step(NOW_S, Event::Revert { keep: 0 });
    let purpose = Purpose::Revert { keep: 0, revert_count: 0 };
    assert_eq!(sends(&actions), [purpose]);
    let mut changed = view(1, 0);
    changed.in_flight = vec![InFlight { nonce: 1, purpose, is_cancelled: false }];
    assert!(sends(&look(&mut settlement, changed)).iter().all(|purpose| purpose.names().is_none()));
}

#[test]
fn what_l1_dropped_while_nobody_looked_is_recorded() {
    let batches = vec![(sealed(1), None, true, None), (sealed(2), None, true, None)];
    let mut settlement = Settlement::new(Policy::default(), Recovered { mode: Mode::Committee, executed: 0, batches });
    // The disk may have them as committed, and L1 does not have the second any more.
    let actions = look(&mut settlement, view(1, 0));
    assert!(actions.contains(&Action::SetStage { number: 1, stage: Stage::Committed }), "{actions:?}");
    assert!(actions.contains(&Action::SetStage { number: 2, stage: Stage::Sealed }), "{actions:?}");
    let actions = look(&mut settlement, view(1, 0));
    assert!(!actions.iter().any(|action| matches!(action, Action::SetStage { .. })), "once: {actions:?}");
}
