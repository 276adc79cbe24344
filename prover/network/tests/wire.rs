//! Encodings: what is written reads back, and nothing else is taken.

use joule_protocol::{Address, Digest, Hash, PublicValues};
use joule_prover_network::{
    Ability, ArtefactId, Capabilities, CircuitsId, Entry, Event, Lease, LeaseId, ProverId, Queue, Signed, Task, TaskId,
    TaskKind,
    message::{Answer, Question, REASON_BYTES_MAX, StandingReport},
    task::ARTEFACT_BYTES_MAX,
    wire::{Wire, WireError},
};
use proptest::{collection::vec, prelude::*};

fn task(inputs: usize) -> Task {
    Task {
        kind: if inputs == 2 { TaskKind::Merge } else { TaskKind::Wrap },
        shape: 1,
        statement: PublicValues { program: Digest::EMPTY, chain_id: 9, from: Hash([1; 32]), to: Hash([2; 32]) },
        circuits: CircuitsId([4; 32]),
        inputs: vec![ArtefactId([5; 32]); inputs],
        input_bytes: vec![77; inputs],
        deadline_ms: 1_000,
        price: 55,
    }
}

fn capabilities() -> Capabilities {
    let work = vec![Ability { kind: TaskKind::Segment, shape: 1, milliseconds: 30_000 }; 3];
    Capabilities { payout: Address([1; 20]), circuits: CircuitsId([4; 32]), work, memory_mebibytes: 4_096, parallel: 2 }
}

fn lease() -> Lease {
    Lease {
        task: task(1).id(),
        prover: ProverId([6; 32]),
        payout: Address([1; 20]),
        price: 55,
        granted_ms: 1,
        deadline_ms: 2,
        heartbeat_ms: 3,
        serial: 4,
    }
}

fn signed() -> Signed {
    Signed { key: vec![1; 36], signature: vec![2; 64] }
}

fn questions() -> Vec<Question> {
    let (lease, artefact) = (LeaseId([7; 32]), ArtefactId([8; 32]));
    vec![
        Question::Join(capabilities()),
        Question::Ask,
        Question::Sign(lease, signed()),
        Question::Beat(lease),
        Question::Return(lease),
        Question::Fail(lease, true),
        Question::Fetch(artefact, 5),
        Question::Offset(lease, artefact, 6),
        Question::Chunk(lease, artefact, 9, 3, vec![1, 2, 3]),
        Question::Deliver(lease, artefact),
        Question::Standing,
        Question::Demand,
        Question::Time,
    ]
}

fn answers() -> Vec<Answer> {
    vec![
        Answer::Done,
        Answer::Offer(Box::new((lease(), signed(), task(2)))),
        Answer::Wait(5),
        Answer::Stop,
        Answer::Chunk(vec![1, 2]),
        Answer::Offset(7),
        Answer::Standing(StandingReport {
            score: -3,
            needed: 20,
            suspended_until_ms: 8,
            accepted: 1,
            missed: 2,
            failed: 3,
            refused: 4,
            leases: 1,
            payout: Address([1; 20]),
            owed: 9,
        }),
        Answer::No("for a reason".to_owned()),
        Answer::Demand(vec![Queue { kind: TaskKind::Segment, shape: 1, queued: 2, open: 3 }; 2]),
        Answer::Time(10),
    ]
}

fn entries() -> Vec<Entry> {
    let (task_id, lease, prover) = (TaskId([1; 32]), LeaseId([2; 32]), ProverId([3; 32]));
    let result = ArtefactId([4; 32]);
    [
        Event::Started,
        Event::Published(task(1)),
        Event::Withdrawn(task_id),
        Event::Collected(task_id),
        Event::Joined(prover, capabilities()),
        Event::Asked(prover),
        Event::Left(prover),
        Event::Signed(lease),
        Event::Beaten(lease),
        Event::Returned(lease),
        Event::Failed(lease, false),
        Event::Delivered(lease, result),
        Event::Judged(lease, result, true),
        Event::Ticked,
        Event::PayoutsOpened,
        Event::PayoutSigned(1, 2, vec![3; 110]),
        Event::PayoutIncluded(1),
        Event::Mislaid(lease, result),
    ]
    .into_iter()
    .map(|event| Entry { now_ms: 5, event })
    .collect()
}

/// Reads back; no prefix and no extension is taken.
fn holds<T: Wire + PartialEq + core::fmt::Debug>(values: &[T]) {
    for value in values {
        let bytes = value.encode();
        assert_eq!(T::decode(&bytes).as_ref(), Ok(value));
        for length in 0..bytes.len() {
            assert!(T::decode(&bytes[..length]).is_err(), "{value:?} cut to {length} bytes");
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert!(matches!(T::decode(&longer), Err(WireError::Trailing { got: 1, .. })));
    }
}

#[test]
fn every_message_reads_back_and_no_part_of_one_does() {
    holds(&questions());
    holds(&answers());
    holds(&entries());
    holds(&[task(1), task(2)]);
    holds(&[capabilities()]);
    holds(&[lease()]);
}

#[test]
fn numbers_that_name_nothing_are_refused() {
    assert!(matches!(Question::decode(&[13]), Err(WireError::Unknown { got: 13, .. })));
    assert!(matches!(Answer::decode(&[10]), Err(WireError::Unknown { got: 10, .. })));
    let mut entry = entries()[0].encode();
    entry[8] = 18;
    assert!(matches!(Entry::decode(&entry), Err(WireError::Unknown { got: 18, .. })));
    let mut bytes = task(1).encode();
    bytes[0] = 3;
    assert!(matches!(Task::decode(&bytes), Err(WireError::Unknown { got: 3, .. })));
}

#[test]
fn values_out_of_range_are_refused() {
    let refused = |task: Task| assert!(matches!(Task::decode(&task.encode()), Err(WireError::OutOfRange { .. })));
    refused(Task { inputs: Vec::new(), input_bytes: Vec::new(), ..task(1) });
    refused(Task { kind: TaskKind::Segment, ..task(2) });
    refused(Task { input_bytes: vec![0], ..task(1) });
    refused(Task { input_bytes: vec![ARTEFACT_BYTES_MAX + 1], ..task(1) });
    refused(Task { price: 1 << 120, ..task(1) });
    let three = Task { inputs: vec![ArtefactId([5; 32]); 3], input_bytes: vec![77; 3], ..task(2) };
    assert!(matches!(Task::decode(&three.encode()), Err(WireError::TooMany { got: 3, .. })));
    // A program hash that is no digest.
    let mut bytes = task(1).encode();
    bytes[2..10].copy_from_slice(&[0xff; 8]);
    assert!(matches!(Task::decode(&bytes), Err(WireError::OutOfRange { what: "program hash", .. })));

    let refused = |capabilities: Capabilities| {
        assert!(Capabilities::decode(&capabilities.encode()).is_err(), "{capabilities:?}");
    };
    refused(Capabilities { parallel: 0, ..capabilities() });
    refused(Capabilities { parallel: 17, ..capabilities() });
    refused(Capabilities { payout: Address::ZERO, ..capabilities() });
    refused(Capabilities { work: vec![capabilities().work[0]; 17], ..capabilities() });
}

#[test]
fn lengths_are_bounded_before_anything_is_read() {
    let mut bytes = Answer::Chunk(vec![1]).encode();
    bytes[1..5].copy_from_slice(&u32::MAX.to_be_bytes());
    assert!(matches!(Answer::decode(&bytes), Err(WireError::TooMany { .. })));
    let long = "é".repeat(REASON_BYTES_MAX);
    match Answer::decode(&Answer::No(long.clone()).encode()) {
        // Cut where a character ends.
        Ok(Answer::No(reason)) => assert!(reason.len() <= REASON_BYTES_MAX && long.starts_with(&reason)),
        other => panic!("{other:?}"),
    }
    let not_text = [vec![7, 0, 0, 0, 2], vec![0xff, 0xff]].concat();
    assert!(matches!(Answer::decode(&not_text), Err(WireError::NotText { .. })));
}

/// What two sides sign differs wherever leases differ.
#[test]
fn a_lease_signs_every_field() {
    let leases = [
        lease(),
        Lease { task: task(2).id(), ..lease() },
        Lease { prover: ProverId([9; 32]), ..lease() },
        Lease { payout: Address([9; 20]), ..lease() },
        Lease { price: 9, ..lease() },
        Lease { granted_ms: 9, ..lease() },
        Lease { deadline_ms: 9, ..lease() },
        Lease { heartbeat_ms: 9, ..lease() },
        Lease { serial: 9, ..lease() },
    ];
    let ids: std::collections::BTreeSet<LeaseId> = leases.iter().map(Lease::id).collect();
    assert_eq!(ids.len(), leases.len());
}

proptest! {
    /// Whatever decodes encodes to the same bytes; nothing panics.
    #[test]
    fn bytes_have_one_meaning(bytes in vec(any::<u8>(), 0..200), kind in 0..18_u8) {
        for bytes in [bytes.clone(), [&[kind], bytes.as_slice()].concat()] {
            if let Ok(question) = Question::decode(&bytes) {
                prop_assert_eq!(question.encode(), bytes.clone());
            }
            if let Ok(answer) = Answer::decode(&bytes) {
                prop_assert_eq!(answer.encode(), bytes.clone());
            }
            if let Ok(entry) = Entry::decode(&bytes) {
                prop_assert_eq!(entry.encode(), bytes.clone());
            }
        }
    }
}
