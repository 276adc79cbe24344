//! The coordinator under faults: lost messages, silence, wrong proofs, and crashes at any instant. A safety phase with faults, then a liveness phase without.

use std::collections::{BTreeMap, BTreeSet};

use joule_protocol::{Address, Amount, Digest, Hash, PublicValues};
use joule_prover_network::{
    Ability, Action, ArtefactId, Capabilities, CircuitsId, Coordinator, Entry, Event, Lease, LeaseId, ProverId,
    Refused, Rules, Task, TaskId, TaskKind, wire::Wire as _,
};
use proptest::prelude::*;

const CIRCUITS: CircuitsId = CircuitsId([7; 32]);

fn rules() -> Rules {
    Rules { leases_of_task_max: 3, provers_max: 16, tasks_max: 64, payouts_max: 2, ..Rules::default() }
}

fn task(index: u64) -> Task {
    let kind = TaskKind::ALL[index as usize % 3];
    Task {
        kind,
        shape: if kind == TaskKind::Segment { (index % 2) as u8 } else { 0 },
        statement: PublicValues {
            program: Digest::EMPTY,
            chain_id: 7,
            from: Hash([index as u8; 32]),
            to: Hash([index as u8 + 1; 32]),
        },
        circuits: CIRCUITS,
        inputs: vec![ArtefactId([index as u8; 32]); 1 + usize::from(kind == TaskKind::Merge)],
        input_bytes: vec![100; 1 + usize::from(kind == TaskKind::Merge)],
        deadline_ms: 60_000 * (1 + index * 7 % 5),
        price: 1_000 + Amount::from(index),
    }
}

fn prover(index: u8) -> (ProverId, Capabilities) {
    let work = TaskKind::ALL
        .into_iter()
        // The last prover does segments only; the others do all.
        .filter(|kind| index != 3 || *kind == TaskKind::Segment)
        .map(|kind| Ability { kind, shape: if index == 0 { 0 } else { 1 }, milliseconds: 20_000 })
        .collect();
    // Two provers of one owner are paid together.
    let payout = Address([1 + index / 2; 20]);
    (ProverId([index; 32]), Capabilities { payout, circuits: CIRCUITS, work, memory_mebibytes: 8_192, parallel: 2 })
}

/// The good result of a task, and the wrong ones.
fn result(task: TaskId, is_good: bool, salt: u8) -> ArtefactId {
    ArtefactId::of(&[&task.0[..], &[is_good.into(), salt]].concat())
}

/// Everything around the core, with what it may forget in a crash and what it may not.
struct World {
    core: Coordinator,
    now_ms: u64,
    /// Entries on the disk, and how many of them are there for certain.
    log: Vec<Entry>,
    synced: usize,
    /// What the core asked for and nobody has done yet. Forgotten in a crash.
    todo: Vec<Action>,
    /// Leases that provers hold. They survive the coordinator's crash.
    held: BTreeMap<LeaseId, (Lease, Task)>,
    /// Results that were accepted, as their publisher got them.
    collected: BTreeMap<TaskId, ArtefactId>,
    published: BTreeSet<TaskId>,
    /// Payments on L2 by nonce: a nonce is good once.
    chain: BTreeMap<u64, (Address, Amount)>,
    next_nonce: u64,
}

impl World {
    fn new() -> Self {
        Self {
            core: Coordinator::new(rules()),
            now_ms: 1_000,
            log: Vec::new(),
            synced: 0,
            todo: Vec::new(),
            held: BTreeMap::new(),
            collected: BTreeMap::new(),
            published: BTreeSet::new(),
            chain: BTreeMap::new(),
            next_nonce: 0,
        }
    }

    fn event(&mut self, event: Event) -> Result<(), Refused> {
        let entry = Entry { now_ms: self.now_ms, event };
        assert_eq!(Entry::decode(&entry.encode()).as_ref(), Ok(&entry));
        let before = format!("{:?}", self.core);
        match self.core.apply(&entry) {
            Ok(actions) => {
                let must_last = entry.event.must_last();
                self.log.push(entry);
                if must_last {
                    self.synced = self.log.len();
                }
                self.todo.extend(actions);
                Ok(())
            }
            Err(refused) => {
                assert_eq!(format!("{:?}", self.core), before, "what is refused changes nothing");
                Err(refused)
            }
        }
    }

    /// The process dies; some of what was not synced is lost with everything that was to be done.
    fn crash(&mut self, lost: usize) {
        self.log.truncate(self.synced.max(self.log.len().saturating_sub(lost)));
        self.synced = self.log.len();
        self.todo.clear();
        let mut core = Coordinator::new(rules());
        for entry in &self.log {
            core.apply(entry).expect("what was taken once is taken again");
        }
        // The log may have been written anew at any moment: a state that was written down and read is the same state.
        let bytes = core.encode();
        self.core = Coordinator::decode(&bytes).expect("what was written down");
        assert_eq!(format!("{:?}", self.core), format!("{core:?}"));
        assert_eq!(self.core.encode(), bytes);
        self.event(Event::Started).unwrap();
        for index in 0..4 {
            let (id, capabilities) = prover(index);
            self.event(Event::Joined(id, capabilities)).unwrap();
        }
        // The publisher's memory is its own: it asks for what it still wants.
        for index in 0..12 {
            let task = task(index);
            if self.published.contains(&task.id()) && !self.collected.contains_key(&task.id()) {
                self.event(Event::Published(task)).unwrap();
            }
        }
    }

    /// Does one of the things that are to be done; `lose` drops messages to provers, which nobody guarantees.
    fn act(&mut self, choice: usize, lose: bool) {
        if self.todo.is_empty() {
            return;
        }
        match self.todo.remove(choice % self.todo.len()) {
            Action::Offer(lease, task) => {
                let capabilities = prover(lease.prover.0[0]).1;
                assert!(capabilities.milliseconds_for(&task).is_some(), "nobody is offered what it cannot do");
                assert_eq!(lease.price, task.price);
                if !lose {
                    let id = lease.id();
                    if self.event(Event::Signed(id)).is_ok() {
                        self.held.insert(id, (*lease, *task));
                    }
                }
            }
            Action::Stop(_, lease) => {
                if !lose {
                    self.held.remove(&lease);
                }
            }
            Action::Verify(lease, task, got) => {
                let is_good = (0..4).any(|salt| got == result(task.id(), true, salt));
                let _: Result<(), Refused> = self.event(Event::Judged(lease, got, is_good));
            }
            Action::Done(task, got) => {
                assert!((0..4).any(|salt| got == result(task, true, salt)), "only good results are accepted");
                let before = self.collected.insert(task, got);
                assert!(before.is_none_or(|before| before == got), "a task has one result");
                // Collected again after a crash is known already.
                let _: Result<(), Refused> = self.event(Event::Collected(task));
            }
            Action::SignPayout(payout, to, amount) => {
                let nonce = self.next_nonce;
                self.next_nonce += 1;
                let transaction = [&to.0[..], &amount.to_be_bytes(), &nonce.to_be_bytes()].concat();
                if self.event(Event::PayoutSigned(payout, nonce, transaction)).is_err() {
                    self.next_nonce -= 1;
                }
            }
            Action::SendPayout(payout, transaction) => {
                let to = Address(transaction[..20].try_into().unwrap());
                let amount = Amount::from_be_bytes(transaction[20..36].try_into().unwrap());
                let nonce = u64::from_be_bytes(transaction[36..].try_into().unwrap());
                assert_eq!(*self.chain.entry(nonce).or_insert((to, amount)), (to, amount));
                if !lose {
                    let _: Result<(), Refused> = self.event(Event::PayoutIncluded(payout));
                } else {
                    self.todo.push(Action::SendPayout(payout, transaction));
                }
            }
            Action::Lapsed(..) | Action::Alarm(..) => {}
        }
    }

    fn check(&self) {
        for index in 0..4 {
            assert!(self.core.leases_of(&prover(index).0) <= 2, "nobody hoards");
        }
        let paid: Amount = self.chain.values().map(|(_, amount)| amount).sum();
        assert!(paid <= self.core.ledger().earned_total(), "nobody is paid for what was not accepted");
        assert!(self.core.ledger().paid_total() <= paid);
        let (ledger, mut in_payouts) = (self.core.ledger(), BTreeSet::new());
        for (_, payout) in ledger.payouts() {
            assert!(payout.tasks.iter().all(|task| in_payouts.insert(*task)), "a task is in one payout");
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Publish(u64),
    Ask(u8),
    Leave(u8),
    Beat(usize),
    Deliver(usize, bool, u8),
    Return(usize),
    Fail(usize, bool),
    Wait(u64),
    Act(usize, bool),
    OpenPayouts,
    Crash(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..12_u64).prop_map(Step::Publish),
        6 => (0..4_u8).prop_map(Step::Ask),
        1 => (0..4_u8).prop_map(Step::Leave),
        4 => any::<usize>().prop_map(Step::Beat),
        5 => (any::<usize>(), prop::bool::weighted(0.8), 0..4_u8).prop_map(|(a, b, c)| Step::Deliver(a, b, c)),
        1 => any::<usize>().prop_map(Step::Return),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(a, b)| Step::Fail(a, b)),
        4 => (0..40_000_u64).prop_map(Step::Wait),
        12 => (any::<usize>(), prop::bool::weighted(0.2)).prop_map(|(a, b)| Step::Act(a, b)),
        2 => Just(Step::OpenPayouts),
        1 => (0..6_usize).prop_map(Step::Crash),
    ]
}

impl World {
    fn held(&self, choice: usize) -> Option<LeaseId> {
        let count = self.held.len();
        (count > 0).then(|| *self.held.keys().nth(choice % count).expect("in range"))
    }

    fn step(&mut self, step: &Step) {
        // A refusal is an answer like another; what matters is what holds afterwards.
        let _: Result<(), Refused> = match *step {
            Step::Publish(index) => {
                let task = task(index);
                // Work that was collected is not asked for again.
                if self.collected.contains_key(&task.id()) {
                    return;
                }
                self.published.insert(task.id());
                self.event(Event::Published(task))
            }
            Step::Ask(index) => self.event(Event::Asked(prover(index).0)),
            Step::Leave(index) => self.event(Event::Left(prover(index).0)),
            Step::Beat(choice) => match self.held(choice) {
                Some(lease) => self.event(Event::Beaten(lease)),
                None => Ok(()),
            },
            Step::Deliver(choice, is_good, salt) => match self.held(choice) {
                Some(lease) => {
                    let task = self.held[&lease].0.task;
                    self.event(Event::Delivered(lease, result(task, is_good, salt)))
                }
                None => Ok(()),
            },
            Step::Return(choice) => match self.held(choice) {
                Some(lease) => self.event(Event::Returned(lease)),
                None => Ok(()),
            },
            Step::Fail(choice, blames) => match self.held(choice) {
                Some(lease) => self.event(Event::Failed(lease, blames)),
                None => Ok(()),
            },
            Step::Wait(milliseconds) => {
                self.now_ms += milliseconds;
                self.event(Event::Ticked)
            }
            Step::Act(choice, lose) => {
                self.act(choice, lose);
                Ok(())
            }
            Step::OpenPayouts => self.event(Event::PayoutsOpened),
            Step::Crash(lost) => {
                self.crash(lost);
                Ok(())
            }
        };
        self.check();
    }

    /// No more faults: everything published gets done and paid.
    fn finish(&mut self) {
        self.crash(0);
        for _ in 0..2_000 {
            while !self.todo.is_empty() {
                self.act(0, false);
                self.check();
            }
            let ledger = self.core.ledger();
            if self.core.open_tasks() == 0 && ledger.owed_total() == 0 {
                return;
            }
            for index in 0..4 {
                let _: Result<(), Refused> = self.event(Event::Asked(prover(index).0));
            }
            while !self.todo.is_empty() {
                self.act(0, false);
            }
            let leases: Vec<(LeaseId, TaskId)> = self.held.iter().map(|(id, (lease, _))| (*id, lease.task)).collect();
            for (lease, task) in leases {
                let _: Result<(), Refused> = self.event(Event::Delivered(lease, result(task, true, 0)));
                self.held.remove(&lease);
            }
            while !self.todo.is_empty() {
                self.act(0, false);
            }
            self.event(Event::PayoutsOpened).unwrap();
            self.now_ms += 30_000;
            self.event(Event::Ticked).unwrap();
        }
        panic!("work is left: {} tasks, {:?} owed", self.core.open_tasks(), self.core.ledger().owed_total());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn accepted_work_is_kept_and_paid_once(steps in prop::collection::vec(step(), 1..160)) {
        let mut world = World::new();
        world.crash(0);
        steps.iter().for_each(|step| world.step(step));
        world.finish();
        // Everything that was published was done, and paid to the last unit, once.
        prop_assert_eq!(world.collected.keys().copied().collect::<BTreeSet<_>>(), world.published.clone());
        let due: Amount = (0..12).map(task).filter(|task| world.published.contains(&task.id())).map(|task| task.price).sum();
        let paid: Amount = world.chain.values().map(|(_, amount)| amount).sum();
        prop_assert_eq!(paid, due);
        prop_assert_eq!(world.core.ledger().paid_total(), due);
    }
}

fn ready() -> World {
    let mut world = World::new();
    world.crash(0);
    world
}

fn only_offer(world: &mut World) -> Lease {
    let offers: Vec<Lease> = world
        .todo
        .drain(..)
        .filter_map(|action| match action {
            Action::Offer(lease, _) => Some(*lease),
            _ => None,
        })
        .collect();
    assert_eq!(offers.len(), 1, "one offer");
    offers[0]
}

/// A prover falls silent, a second takes over, and the first delivers after all: the first good result counts, and the second is told to stop.
#[test]
fn a_late_result_counts_if_it_is_the_first() {
    let mut world = ready();
    let task = task(1);
    world.event(Event::Published(task.clone())).unwrap();
    world.event(Event::Asked(prover(1).0)).unwrap();
    let first = only_offer(&mut world);
    world.event(Event::Signed(first.id())).unwrap();
    world.now_ms += 15_000;
    world.event(Event::Asked(prover(2).0)).unwrap();
    let second = only_offer(&mut world);
    assert_eq!((first.prover, second.prover), (prover(1).0, prover(2).0));
    world.event(Event::Signed(second.id())).unwrap();
    let good = result(task.id(), true, 0);
    world.event(Event::Delivered(first.id(), good)).unwrap();
    world.event(Event::Judged(first.id(), good, true)).unwrap();
    assert!(world.todo.contains(&Action::Done(task.id(), good)));
    assert!(world.todo.contains(&Action::Stop(second.prover, second.id())));
    assert_eq!(world.core.owed(&first.payout), task.price);
    assert_eq!(world.event(Event::Delivered(second.id(), good)), Err(Refused::UnknownLease(second.id())));
}

/// Somebody says that the work takes weeks, keeps its lease alive, and never delivers: the task is others' after the longest lease that there is.
#[test]
fn nobodys_word_keeps_a_task_for_ever() {
    let mut world = ready();
    let slow = ProverId([9; 32]);
    let work = TaskKind::ALL.map(|kind| Ability { kind, shape: 1, milliseconds: u32::MAX }).to_vec();
    world.event(Event::Joined(slow, Capabilities { work, ..prover(1).1 })).unwrap();
    world.event(Event::Published(Task { deadline_ms: u64::MAX, ..task(1) })).unwrap();
    world.event(Event::Asked(slow)).unwrap();
    let lease = only_offer(&mut world);
    assert_eq!(lease.deadline_ms, world.now_ms + u64::from(rules().lease_max_ms));
    world.event(Event::Signed(lease.id())).unwrap();
    world.event(Event::Asked(prover(1).0)).unwrap();
    while world.now_ms < lease.deadline_ms {
        assert!(world.todo.is_empty(), "it is being worked on");
        world.now_ms = lease.deadline_ms.min(world.now_ms + 5_000);
        world.event(Event::Beaten(lease.id())).unwrap();
    }
    assert!(world.todo.contains(&Action::Lapsed(lease.id())));
    world.todo.retain(|action| matches!(action, Action::Offer(..)));
    assert_eq!(only_offer(&mut world).prover, prover(1).0);
}

/// Identities are free: a crowd that takes a task one after the other, each for as long as it may, does not keep it past its deadline from a prover that has delivered before.
#[test]
fn a_late_task_is_not_left_to_strangers() {
    let mut world = ready();
    let (veteran, newcomer) = (prover(1).0, prover(2).0);
    // It delivers once.
    world.event(Event::Published(task(1))).unwrap();
    world.event(Event::Asked(veteran)).unwrap();
    let lease = only_offer(&mut world);
    world.event(Event::Signed(lease.id())).unwrap();
    let good = result(lease.task, true, 0);
    world.event(Event::Delivered(lease.id(), good)).unwrap();
    world.event(Event::Judged(lease.id(), good, true)).unwrap();
    world.todo.clear();

    let wanted = Task { deadline_ms: world.now_ms + 30_000, ..task(4) };
    world.event(Event::Asked(newcomer)).unwrap();
    world.event(Event::Published(wanted.clone())).unwrap();
    let strangers = only_offer(&mut world);
    assert_eq!(strangers.prover, newcomer);
    world.event(Event::Signed(strangers.id())).unwrap();
    // Others wait, of whom one has delivered.
    for waiting in [prover(0).0, veteran] {
        world.event(Event::Asked(waiting)).unwrap();
    }
    for _ in 0..3 {
        world.now_ms += 10_000;
        world.event(Event::Beaten(strangers.id())).unwrap();
        assert!(world.todo.is_empty(), "not before its deadline");
    }
    world.now_ms += 1;
    world.event(Event::Beaten(strangers.id())).unwrap();
    world.todo.retain(|action| matches!(action, Action::Offer(..)));
    let second = only_offer(&mut world);
    assert_eq!((second.prover, second.task), (veteran, wanted.id()), "to it and to no second stranger");
    world.event(Event::Signed(second.id())).unwrap();
    world.event(Event::Asked(veteran)).unwrap();
    assert!(world.todo.is_empty(), "and not a third time");
    // Whoever is first is paid, and the other is told.
    let good = result(wanted.id(), true, 0);
    world.event(Event::Delivered(second.id(), good)).unwrap();
    world.event(Event::Judged(second.id(), good, true)).unwrap();
    assert!(world.todo.contains(&Action::Stop(newcomer, strangers.id())));
    assert_eq!(world.event(Event::Delivered(strangers.id(), good)), Err(Refused::UnknownLease(strangers.id())));
    assert_eq!(world.core.ledger().earned_total(), lease.price + wanted.price);
}

/// A wrong proof never stalls the batch: the task is free at once, for somebody else.
#[test]
fn a_wrong_proof_frees_the_task_and_suspends_a_newcomer() {
    let mut world = ready();
    world.event(Event::Published(task(1))).unwrap();
    world.event(Event::Asked(prover(1).0)).unwrap();
    let lease = only_offer(&mut world);
    world.event(Event::Signed(lease.id())).unwrap();
    let wrong = result(lease.task, false, 0);
    world.event(Event::Delivered(lease.id(), wrong)).unwrap();
    world.event(Event::Judged(lease.id(), wrong, false)).unwrap();
    assert!(matches!(world.event(Event::Asked(prover(1).0)), Err(Refused::Suspended { .. })));
    world.todo.clear();
    world.event(Event::Asked(prover(2).0)).unwrap();
    assert_eq!(only_offer(&mut world).task, lease.task);
}

#[test]
fn the_earliest_deadline_goes_to_whoever_has_least() {
    let mut world = ready();
    world.event(Event::Asked(prover(1).0)).unwrap();
    world.event(Event::Asked(prover(2).0)).unwrap();
    let late = Task { deadline_ms: 900_000, ..task(1) };
    world.event(Event::Published(late)).unwrap();
    let first = only_offer(&mut world);
    world.event(Event::Signed(first.id())).unwrap();
    world.event(Event::Asked(first.prover)).unwrap();
    let other = if first.prover == prover(1).0 { prover(2).0 } else { prover(1).0 };
    let soon = Task { deadline_ms: 500_000, ..task(4) };
    world.event(Event::Published(soon.clone())).unwrap();
    let second = only_offer(&mut world);
    assert_eq!(second.prover, other, "who has none comes before who has one");
    // Two tasks and one prover: the earlier deadline first.
    let mut world = ready();
    world.event(Event::Published(Task { deadline_ms: 900_000, ..task(1) })).unwrap();
    world.event(Event::Published(soon.clone())).unwrap();
    world.event(Event::Asked(prover(1).0)).unwrap();
    assert_eq!(only_offer(&mut world).task, soon.id());
}

#[test]
fn nobody_holds_more_than_it_may_or_is_offered_what_it_cannot() {
    let mut world = ready();
    for index in 0..9 {
        world.event(Event::Published(task(index))).unwrap();
    }
    for _ in 0..2 {
        world.event(Event::Asked(prover(1).0)).unwrap();
        let lease = only_offer(&mut world);
        world.event(Event::Signed(lease.id())).unwrap();
    }
    assert_eq!(world.event(Event::Asked(prover(1).0)), Err(Refused::TooManyLeases { held: 2, limit: 2 }));
    // Prover 3 does segments only.
    world.event(Event::Asked(prover(3).0)).unwrap();
    let lease = only_offer(&mut world);
    assert!((0..9).map(task).any(|task| task.id() == lease.task && task.kind == TaskKind::Segment));
    // Other circuits are no use.
    let stranger = ProverId([9; 32]);
    let capabilities = Capabilities { circuits: CircuitsId([8; 32]), ..prover(1).1 };
    world.event(Event::Joined(stranger, capabilities)).unwrap();
    world.event(Event::Asked(stranger)).unwrap();
    assert!(world.todo.is_empty());
}

/// A state that is cut or damaged is refused or is another state, and nothing panics, whatever happens to it then.
#[test]
fn a_damaged_state_is_no_reason_to_panic() {
    let mut world = ready();
    for index in 0..6 {
        world.event(Event::Published(task(index))).unwrap();
    }
    for (index, is_good) in [(1, true), (2, false), (0, true)] {
        world.todo.clear();
        world.event(Event::Asked(prover(index).0)).unwrap();
        let lease = only_offer(&mut world);
        world.event(Event::Signed(lease.id())).unwrap();
        let got = result(lease.task, is_good, 0);
        world.event(Event::Delivered(lease.id(), got)).unwrap();
        if index > 0 {
            world.event(Event::Judged(lease.id(), got, is_good)).unwrap();
        }
    }
    world.event(Event::PayoutsOpened).unwrap();
    world.event(Event::PayoutSigned(0, 1, vec![5; 30])).unwrap();
    let bytes = world.core.encode();
    assert_eq!(format!("{:?}", Coordinator::decode(&bytes).unwrap()), format!("{:?}", world.core));
    for length in 0..bytes.len() {
        assert!(Coordinator::decode(&bytes[..length]).is_err(), "cut to {length} bytes");
    }
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x04;
        let Ok(mut core) = Coordinator::decode(&damaged) else { continue };
        let _ = (core.status(), core.needed_artefacts());
        for event in [Event::Started, Event::Ticked, Event::PayoutsOpened] {
            let _: Result<Vec<Action>, Refused> = core.apply(&Entry { now_ms: core.latest_ms().min(1 << 60), event });
        }
    }
}

/// What this side loses or cannot verify is held against nobody, and done again by somebody else.
#[test]
fn a_result_that_is_mislaid_costs_its_prover_nothing() {
    let mut world = ready();
    world.event(Event::Published(task(1))).unwrap();
    world.event(Event::Asked(prover(1).0)).unwrap();
    let lease = only_offer(&mut world);
    world.event(Event::Signed(lease.id())).unwrap();
    let good = result(lease.task, true, 0);
    world.event(Event::Delivered(lease.id(), good)).unwrap();
    let before = *world.core.standing(&lease.prover).unwrap();
    world.todo.clear();
    world.event(Event::Mislaid(lease.id(), good)).unwrap();
    assert_eq!(world.core.standing(&lease.prover), Some(&before));
    assert!(world.todo.contains(&Action::Alarm(lease.task, joule_prover_network::Alarm::Unverifiable)));
    assert_eq!(world.event(Event::Mislaid(lease.id(), good)), Err(Refused::UnknownLease(lease.id())));
    world.todo.clear();
    world.event(Event::Asked(prover(2).0)).unwrap();
    assert_eq!(only_offer(&mut world).task, lease.task);
}

#[test]
fn work_is_counted_by_kind() {
    let mut world = ready();
    let count = |world: &World| TaskKind::ALL.map(|kind| world.core.status().of(kind));
    for index in 0..3 {
        world.event(Event::Published(task(index))).unwrap();
    }
    assert!(count(&world).iter().all(|counts| (counts.queued, counts.open()) == (1, 1)));
    world.event(Event::Asked(prover(1).0)).unwrap();
    let lease = only_offer(&mut world);
    let kind = (0..3).map(task).find(|task| task.id() == lease.task).unwrap().kind;
    world.event(Event::Signed(lease.id())).unwrap();
    assert_eq!((world.core.status().of(kind).leased, world.core.status().leases_live), (1, 1));
    let good = result(lease.task, true, 0);
    world.event(Event::Delivered(lease.id(), good)).unwrap();
    assert_eq!(world.core.status().of(kind).verifying, 1);
    world.event(Event::Judged(lease.id(), good, true)).unwrap();
    let counts = world.core.status().of(kind);
    assert_eq!((counts.open(), counts.accepted, counts.refused), (0, 1, 0));
    assert_eq!((world.core.status().provers_known, world.core.status().owed), (4, lease.price));
}

/// Whoever does not pay gets no more proofs.
#[test]
fn what_is_unpaid_is_bounded() {
    let mut world = ready();
    world.core.set_rules(Rules { unpaid_max: 1, ..rules() });
    world.event(Event::Published(task(1))).unwrap();
    world.event(Event::Asked(prover(1).0)).unwrap();
    let lease = only_offer(&mut world);
    world.event(Event::Signed(lease.id())).unwrap();
    let good = result(lease.task, true, 0);
    world.event(Event::Delivered(lease.id(), good)).unwrap();
    world.event(Event::Judged(lease.id(), good, true)).unwrap();
    world.event(Event::Collected(lease.task)).unwrap();
    assert_eq!(world.event(Event::Published(task(2))), Err(Refused::TooMuchUnpaid { limit: 1 }));
    world.event(Event::PayoutsOpened).unwrap();
    world.event(Event::PayoutSigned(0, 0, vec![1])).unwrap();
    world.event(Event::PayoutIncluded(0)).unwrap();
    world.event(Event::Published(task(2))).unwrap();
}

/// A payout that was signed once is never signed with another nonce.
#[test]
fn a_payout_has_one_nonce() {
    let mut world = ready();
    world.event(Event::Published(task(1))).unwrap();
    world.event(Event::Asked(prover(1).0)).unwrap();
    let lease = only_offer(&mut world);
    world.event(Event::Signed(lease.id())).unwrap();
    let good = result(lease.task, true, 0);
    world.event(Event::Delivered(lease.id(), good)).unwrap();
    world.event(Event::Judged(lease.id(), good, true)).unwrap();
    world.event(Event::PayoutsOpened).unwrap();
    assert_eq!(world.event(Event::PayoutIncluded(0)), Err(Refused::PayoutOutOfOrder(0)), "nothing was signed yet");
    world.event(Event::PayoutSigned(0, 5, vec![1])).unwrap();
    let other = world.event(Event::PayoutSigned(0, 6, vec![2]));
    assert_eq!(other, Err(Refused::PayoutNonce { payout: 0, expected: 5, got: 6 }));
    world.event(Event::PayoutSigned(0, 5, vec![3])).unwrap();
    world.event(Event::PayoutsOpened).unwrap();
    world.event(Event::PayoutIncluded(0)).unwrap();
    assert_eq!(world.core.ledger().paid_total(), task(1).price);
    assert_eq!(world.event(Event::PayoutIncluded(0)), Err(Refused::PayoutOutOfOrder(0)));
}
