//! Who works on what, whose result counts, and who is owed how much: `(state, event) -> actions`.
//!
//! * A task is given to one prover at a time, the earliest deadline first, to whoever waits with the fewest leases. One that falls silent loses the task to the
//!   next, and may still be the first to deliver: results count in the order in which they were verified, whoever's lease has lapsed.
//! * Nobody's word keeps a task from others: a lease has a greatest length, and a task that is late is given a second time, to a prover with accepted results. So
//!   strangers, whose identities are free, who take tasks and deliver nothing can make a task late, and cannot make it later than its deadline and one lease of
//!   a prover that has delivered before.
//! * Nothing is believed: a result counts once it is verified, and a wrong one costs its prover its standing and nobody else anything.
//! * Each task is paid once, to the prover whose result was accepted, by one transfer that is signed and written down before it is sent.
//!
//! The state is a function of the events alone: no clock, no randomness, no I/O. An event that is refused changes nothing, and is not written down.

use std::collections::{BTreeMap, BTreeSet};

use joule_protocol::{Address, Amount};
use thiserror::Error;

use crate::{
    event::{Action, Alarm, Entry, Event},
    ledger::Ledger,
    standing::Standing,
    task::{ArtefactId, Capabilities, Lease, LeaseId, ProverId, Task, TaskId, TaskKind},
};

mod rules;
mod snapshot;
mod status;

pub use rules::Rules;
pub use status::{QUEUES_MAX, Queue, Status, TaskCounts};

/// Why an event is not taken. The state is as it was.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// No such task.
    #[error("there is no task {0:?}: it was withdrawn, or done and paid")]
    UnknownTask(TaskId),
    /// No such prover.
    #[error("prover {0:?} has not joined")]
    UnknownProver(ProverId),
    /// No such lease.
    #[error("there is no lease {0:?}: its task is done or withdrawn, or it ended")]
    UnknownLease(LeaseId),
    /// Too many tasks.
    #[error("{limit} tasks are open, and no more are taken")]
    TooManyTasks {
        /// The limit.
        limit: usize,
    },
    /// Too much accepted work that nobody paid for or collected.
    #[error("{limit} accepted tasks are unpaid or uncollected, and no more are given out until some are paid")]
    TooMuchUnpaid {
        /// The limit.
        limit: usize,
    },
    /// Too many provers.
    #[error("{limit} provers are known and at work, and no more are taken")]
    TooManyProvers {
        /// The limit.
        limit: usize,
    },
    /// The prover has as many leases as it may.
    #[error("the prover holds {held} leases, and may hold {limit}")]
    TooManyLeases {
        /// Leases it holds.
        held: usize,
        /// Leases it may hold.
        limit: usize,
    },
    /// The prover's standing is too low.
    #[error("the prover is suspended until {until_ms}: its standing is {score}, and {needed} is needed")]
    Suspended {
        /// Until when, in Unix milliseconds.
        until_ms: u64,
        /// Its score.
        score: i32,
        /// The score it is held to.
        needed: i32,
    },
    /// The lease is not at the point where this can happen.
    #[error("the lease is {state}, and {event} belongs to another point of its life")]
    OutOfOrder {
        /// Where the lease is.
        state: &'static str,
        /// What was tried.
        event: &'static str,
    },
    /// Another result of this lease is being verified.
    #[error("result {pending:?} of this lease is being verified")]
    ResultPending {
        /// The result.
        pending: ArtefactId,
    },
    /// No such payout, or not in the state for this.
    #[error("payout {0} is not waiting for this")]
    PayoutOutOfOrder(u64),
    /// A payout was signed before, with another nonce: both could be paid.
    #[error("payout {payout} was signed with nonce {expected}; a transaction with nonce {got} would pay it twice")]
    PayoutNonce {
        /// The payout.
        payout: u64,
        /// The nonce it was signed with.
        expected: u64,
        /// The other nonce.
        got: u64,
    },
    /// Time went backwards.
    #[error("the event is of {got}, and one of {latest} was taken before it")]
    TimeRunsBackwards {
        /// Of the event.
        got: u64,
        /// Of the latest.
        latest: u64,
    },
}

/// Where a lease is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Waiting for the prover's signature.
    Offered,
    /// The task is this prover's alone.
    Live,
    /// The task is free for others; a result still counts if it is the first.
    Lapsed,
}

impl Phase {
    const fn name(self) -> &'static str {
        match self {
            Self::Offered => "offered",
            Self::Live => "live",
            Self::Lapsed => "lapsed",
        }
    }
}

#[derive(Clone, Debug)]
struct LeaseState {
    lease: Lease,
    phase: Phase,
    beaten_ms: u64,
    /// The result that is being verified.
    pending: Option<ArtefactId>,
}

#[derive(Clone, Debug)]
struct TaskState {
    task: Task,
    leases: Vec<LeaseId>,
    /// Who failed it, and when.
    failed: BTreeMap<ProverId, u64>,
    blamed: BTreeSet<ProverId>,
    is_late: bool,
}

/// Whom a task may be given to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Openness {
    /// Whoever can do it: nobody is at it.
    Everybody,
    /// A prover with accepted results: it is late, and only strangers are at it.
    WithRecord,
    /// It is being worked on.
    Nobody,
}

#[derive(Clone, Debug)]
struct ProverState {
    capabilities: Capabilities,
    standing: Standing,
    /// Since when it waits for a task.
    asked_ms: Option<u64>,
    seen_ms: u64,
}

/// The coordinator's state.
#[derive(Clone, Debug)]
pub struct Coordinator {
    rules: Rules,
    tasks: BTreeMap<TaskId, TaskState>,
    /// Open tasks by deadline.
    queue: BTreeSet<(u64, TaskId)>,
    leases: BTreeMap<LeaseId, LeaseState>,
    provers: BTreeMap<ProverId, ProverState>,
    ledger: Ledger,
    /// Results accepted and refused since the beginning, by kind.
    accepted: [u64; TaskKind::ALL.len()],
    refused: [u64; TaskKind::ALL.len()],
    serial: u64,
    latest_ms: u64,
}

impl Coordinator {
    /// A coordinator that has seen nothing.
    #[must_use]
    pub const fn new(rules: Rules) -> Self {
        Self {
            rules,
            tasks: BTreeMap::new(),
            queue: BTreeSet::new(),
            leases: BTreeMap::new(),
            provers: BTreeMap::new(),
            ledger: Ledger::new(),
            accepted: [0; TaskKind::ALL.len()],
            refused: [0; TaskKind::ALL.len()],
            serial: 0,
            latest_ms: 0,
        }
    }

    /// What was accepted, what is owed, what was paid.
    #[must_use]
    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Tasks that are neither done nor withdrawn.
    #[must_use]
    pub fn open_tasks(&self) -> usize {
        self.tasks.len()
    }

    /// Tasks that are neither done nor withdrawn, by name.
    pub fn tasks(&self) -> impl Iterator<Item = (TaskId, &Task)> {
        self.tasks.iter().map(|(id, state)| (*id, &state.task))
    }

    /// An open task.
    #[must_use]
    pub fn task(&self, id: &TaskId) -> Option<&Task> {
        self.tasks.get(id).map(|state| &state.task)
    }

    /// The rules that hold.
    #[must_use]
    pub const fn rules(&self) -> &Rules {
        &self.rules
    }

    /// From now on these rules hold. Leases that were given keep their terms.
    pub const fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
    }

    /// When the latest event was taken, in Unix milliseconds.
    #[must_use]
    pub const fn latest_ms(&self) -> u64 {
        self.latest_ms
    }

    /// Every artefact that somebody may still ask for: inputs of open tasks, results that are being verified or that their publisher has not collected.
    /// Whatever else is stored may go.
    #[must_use]
    pub fn needed_artefacts(&self) -> BTreeSet<ArtefactId> {
        let inputs = self.tasks.values().flat_map(|state| state.task.inputs.iter().copied());
        let pending = self.leases.values().filter_map(|state| state.pending);
        inputs.chain(pending).chain(self.ledger.uncollected()).collect()
    }

    /// A prover's standing, if it is known.
    #[must_use]
    pub fn standing(&self, prover: &ProverId) -> Option<&Standing> {
        self.provers.get(prover).map(|state| &state.standing)
    }

    /// Where a prover is paid, if it is known.
    #[must_use]
    pub fn payout_of(&self, prover: &ProverId) -> Option<Address> {
        self.provers.get(prover).map(|state| state.capabilities.payout)
    }

    /// Whose lease it is.
    #[must_use]
    pub fn holder(&self, lease: &LeaseId) -> Option<ProverId> {
        self.leases.get(lease).map(|state| state.lease.prover)
    }

    /// The lease, if it has not ended.
    #[must_use]
    pub fn lease(&self, lease: &LeaseId) -> Option<&Lease> {
        self.leases.get(lease).map(|state| &state.lease)
    }

    /// Leases that a prover holds: offered to it or live.
    #[must_use]
    pub fn leases_of(&self, prover: &ProverId) -> usize {
        self.leases.values().filter(|state| state.lease.prover == *prover && state.phase != Phase::Lapsed).count()
    }

    /// Takes an event, and says what is to be done. Write the event down before doing it if it [must last](Event::must_last).
    ///
    /// # Errors
    /// [`Refused`]: nothing has changed, and nothing is to be written down.
    pub fn apply(&mut self, entry: &Entry) -> Result<Vec<Action>, Refused> {
        let now = entry.now_ms;
        if now < self.latest_ms {
            return Err(Refused::TimeRunsBackwards { got: now, latest: self.latest_ms });
        }
        let mut actions = Vec::new();
        match &entry.event {
            Event::Started => self.start(now, &mut actions),
            Event::Published(task) => self.publish(task, &mut actions)?,
            Event::Withdrawn(task) => self.withdraw(*task, &mut actions)?,
            Event::Collected(task) => self.ledger.collect(*task)?,
            Event::Joined(prover, capabilities) => self.join(now, *prover, capabilities)?,
            Event::Asked(prover) => self.ask(now, *prover)?,
            Event::Left(prover) => self.prover(prover)?.asked_ms = None,
            Event::Signed(lease) => self.sign(now, *lease)?,
            Event::Beaten(lease) => self.beat(now, *lease)?,
            Event::Returned(lease) => self.give_back(*lease)?,
            Event::Failed(lease, blames_input) => self.fail(now, *lease, *blames_input, &mut actions)?,
            Event::Delivered(lease, result) => self.deliver(now, *lease, *result, &mut actions)?,
            Event::Judged(lease, result, is_good) => self.judge(now, *lease, *result, *is_good, &mut actions)?,
            Event::Mislaid(lease, result) => self.mislay(now, *lease, *result, &mut actions)?,
            Event::Ticked => {}
            Event::PayoutsOpened => {
                self.ledger.plan(self.rules.payout_min, self.rules.payouts_max, &mut actions);
            }
            Event::PayoutSigned(payout, nonce, transaction) => {
                self.ledger.sign(*payout, *nonce, transaction, &mut actions)?;
            }
            Event::PayoutIncluded(payout) => self.ledger.include(*payout)?,
        }
        self.latest_ms = now;
        self.lapse(now, &mut actions);
        self.assign(now, &mut actions);
        Ok(actions)
    }

    /// Leases that wait for their prover's signature.
    fn offers(&self) -> impl Iterator<Item = (&LeaseId, &LeaseState)> {
        self.leases.iter().filter(|(_, state)| state.phase == Phase::Offered)
    }

    fn prover(&mut self, prover: &ProverId) -> Result<&mut ProverState, Refused> {
        self.provers.get_mut(prover).ok_or(Refused::UnknownProver(*prover))
    }

    fn lease_mut(&mut self, lease: LeaseId) -> Result<&mut LeaseState, Refused> {
        self.leases.get_mut(&lease).ok_or(Refused::UnknownLease(lease))
    }

    /// Who has a task now.
    fn holders<'a>(&'a self, state: &'a TaskState) -> impl Iterator<Item = &'a ProverId> {
        let leases = state.leases.iter().map(|id| &self.leases[id]);
        leases.filter(|lease| lease.phase != Phase::Lapsed).map(|lease| &lease.lease.prover)
    }

    fn is_worked_on(&self, state: &TaskState) -> bool {
        self.holders(state).next().is_some()
    }

    /// Whether a prover delivered before. One that has been forgotten since counts as a stranger.
    fn has_record(&self, prover: &ProverId) -> bool {
        self.provers.get(prover).is_some_and(|known| known.standing.has_record())
    }

    /// Whom a task may be given to now.
    fn openness(&self, state: &TaskState) -> Openness {
        if !self.is_worked_on(state) {
            Openness::Everybody
        } else if state.is_late && !self.holders(state).any(|prover| self.has_record(prover)) {
            Openness::WithRecord
        } else {
            Openness::Nobody
        }
    }

    /// Connections are gone and with them whoever waited; what was being verified, signed or sent is so again. Leases go on from now.
    fn start(&mut self, now: u64, actions: &mut Vec<Action>) {
        self.provers.values_mut().for_each(|state| state.asked_ms = None);
        let offers: Vec<_> = self.offers().map(|(id, _)| *id).collect();
        for offer in offers {
            let _: Result<LeaseState, Refused> = self.end(offer);
        }
        for (id, state) in &mut self.leases {
            state.beaten_ms = now;
            if let Some(result) = state.pending {
                actions.push(Action::Verify(*id, Box::new(self.tasks[&state.lease.task].task.clone()), result));
            }
        }
        self.ledger.resume(actions);
    }

    fn publish(&mut self, task: &Task, actions: &mut Vec<Action>) -> Result<(), Refused> {
        let id = task.id();
        // The same work asked for twice is done once.
        if let Some(result) = self.ledger.accepted(&id) {
            actions.push(Action::Done(id, result));
            return Ok(());
        }
        if self.tasks.contains_key(&id) {
            return Ok(());
        }
        if self.tasks.len() >= self.rules.tasks_max {
            return Err(Refused::TooManyTasks { limit: self.rules.tasks_max });
        }
        // Who does not pay gets no more proofs; it also bounds what has to be remembered.
        if self.ledger.remembered() >= self.rules.unpaid_max {
            return Err(Refused::TooMuchUnpaid { limit: self.rules.unpaid_max });
        }
        self.queue.insert((task.deadline_ms, id));
        let state = TaskState {
            task: task.clone(),
            leases: Vec::new(),
            failed: BTreeMap::new(),
            blamed: BTreeSet::new(),
            is_late: false,
        };
        self.tasks.insert(id, state);
        Ok(())
    }

    /// Takes a task off the books, and tells everybody who is at it.
    fn close(&mut self, task: TaskId, except: Option<LeaseId>, actions: &mut Vec<Action>) -> Option<Task> {
        let state = self.tasks.remove(&task)?;
        self.queue.remove(&(state.task.deadline_ms, task));
        for id in state.leases {
            let Some(lease) = self.leases.remove(&id) else { continue };
            if Some(id) != except {
                actions.push(Action::Stop(lease.lease.prover, id));
            }
        }
        Some(state.task)
    }

    fn withdraw(&mut self, task: TaskId, actions: &mut Vec<Action>) -> Result<(), Refused> {
        match self.close(task, None, actions) {
            Some(_) => Ok(()),
            // Done already: it is paid all the same, and nobody waits for the result.
            None => self.ledger.collect(task),
        }
    }

    fn join(&mut self, now: u64, prover: ProverId, capabilities: &Capabilities) -> Result<(), Refused> {
        if let Some(known) = self.provers.get_mut(&prover) {
            known.capabilities = capabilities.clone();
            known.seen_ms = now;
            return Ok(());
        }
        if self.provers.len() >= self.rules.provers_max {
            // Standing that is worse than a newcomer's is worth remembering longest: forgetting it would wash it off.
            let idle = self.provers.iter().filter(|(id, state)| {
                state.asked_ms.is_none() && !state.standing.is_suspended(now) && self.leases_of(id) == 0
            });
            let forgotten = idle.min_by_key(|(id, state)| (!state.standing.is_clean(), state.seen_ms, **id));
            let forgotten = *forgotten.ok_or(Refused::TooManyProvers { limit: self.rules.provers_max })?.0;
            self.provers.remove(&forgotten);
        }
        let state = ProverState {
            capabilities: capabilities.clone(),
            standing: Standing::default(),
            asked_ms: None,
            seen_ms: now,
        };
        self.provers.insert(prover, state);
        Ok(())
    }

    fn ask(&mut self, now: u64, prover: ProverId) -> Result<(), Refused> {
        let held = self.leases_of(&prover);
        let limit = self.rules.leases_of_prover_max;
        let state = self.prover(&prover)?;
        if state.standing.is_suspended(now) {
            return Err(state.standing.refusal());
        }
        let limit = limit.min(state.capabilities.parallel.into());
        if held >= limit {
            return Err(Refused::TooManyLeases { held, limit });
        }
        state.seen_ms = now;
        state.asked_ms.get_or_insert(now);
        Ok(())
    }

    fn sign(&mut self, now: u64, id: LeaseId) -> Result<(), Refused> {
        let state = self.lease_mut(id)?;
        match state.phase {
            Phase::Offered => state.phase = Phase::Live,
            // Signed twice, because the first answer was lost.
            Phase::Live => {}
            Phase::Lapsed => return Err(Refused::OutOfOrder { state: state.phase.name(), event: "a signature" }),
        }
        state.beaten_ms = now;
        Ok(())
    }

    /// Notes that a prover did not do a task, so that another is asked first for a while. Notes that have no effect any more are dropped.
    fn note_failure(&mut self, now: u64, task: TaskId, prover: ProverId) {
        let retry_ms = u64::from(self.rules.retry_ms);
        if let Some(task) = self.tasks.get_mut(&task) {
            task.failed.retain(|_, failed| now < *failed + retry_ms);
            task.failed.insert(prover, now);
        }
    }

    fn beat(&mut self, now: u64, id: LeaseId) -> Result<(), Refused> {
        let state = self.lease_mut(id)?;
        if state.phase == Phase::Offered {
            return Err(Refused::OutOfOrder { state: state.phase.name(), event: "a heartbeat" });
        }
        // A lapsed lease does not come back to life by a beat, since the task may be somebody else's by now; its result still counts.
        state.beaten_ms = now;
        let prover = state.lease.prover;
        if let Some(state) = self.provers.get_mut(&prover) {
            state.seen_ms = now;
        }
        Ok(())
    }

    /// Ends a lease.
    fn end(&mut self, id: LeaseId) -> Result<LeaseState, Refused> {
        let state = self.leases.remove(&id).ok_or(Refused::UnknownLease(id))?;
        if let Some(task) = self.tasks.get_mut(&state.lease.task) {
            task.leases.retain(|lease| *lease != id);
        }
        Ok(state)
    }

    fn give_back(&mut self, id: LeaseId) -> Result<(), Refused> {
        if let Some(pending) = self.lease_mut(id)?.pending {
            return Err(Refused::ResultPending { pending });
        }
        self.end(id).map(drop)
    }

    fn fail(&mut self, now: u64, id: LeaseId, blames_input: bool, actions: &mut Vec<Action>) -> Result<(), Refused> {
        if let Some(pending) = self.lease_mut(id)?.pending {
            return Err(Refused::ResultPending { pending });
        }
        let lease = self.end(id)?.lease;
        if let Some(state) = self.provers.get_mut(&lease.prover) {
            state.standing.failed(now);
        }
        self.note_failure(now, lease.task, lease.prover);
        let Some(task) = self.tasks.get_mut(&lease.task) else { return Ok(()) };
        let is_told = task.blamed.len() >= self.rules.blames_max;
        if blames_input && !is_told && task.blamed.insert(lease.prover) && task.blamed.len() == self.rules.blames_max {
            actions.push(Action::Alarm(lease.task, Alarm::InputBlamed));
        }
        Ok(())
    }

    fn deliver(&mut self, now: u64, id: LeaseId, result: ArtefactId, actions: &mut Vec<Action>) -> Result<(), Refused> {
        let state = self.lease_mut(id)?;
        match (state.phase, state.pending) {
            (Phase::Offered, _) => {
                return Err(Refused::OutOfOrder { state: state.phase.name(), event: "a result" });
            }
            // Delivered twice, because the first answer was lost.
            (_, Some(pending)) if pending == result => return Ok(()),
            (_, Some(pending)) => return Err(Refused::ResultPending { pending }),
            (Phase::Live | Phase::Lapsed, None) => {}
        }
        state.pending = Some(result);
        state.beaten_ms = now;
        let task = state.lease.task;
        actions.push(Action::Verify(id, Box::new(self.tasks[&task].task.clone()), result));
        Ok(())
    }

    fn judge(
        &mut self,
        now: u64,
        id: LeaseId,
        result: ArtefactId,
        is_good: bool,
        actions: &mut Vec<Action>,
    ) -> Result<(), Refused> {
        let state = self.lease_mut(id)?;
        if state.pending != Some(result) {
            return Err(Refused::OutOfOrder { state: state.phase.name(), event: "a verdict" });
        }
        let lease = state.lease;
        let kind = self.tasks[&lease.task].task.kind as usize;
        let prover = self.provers.get_mut(&lease.prover);
        if is_good {
            self.accepted[kind] += 1;
            prover.into_iter().for_each(|state| state.standing.accepted());
            self.close(lease.task, Some(id), actions);
            self.ledger.accept(lease.task, result, lease.payout, lease.price);
            actions.push(Action::Done(lease.task, result));
        } else {
            self.refused[kind] += 1;
            prover.into_iter().for_each(|state| state.standing.refused(now));
            self.end(id)?;
            self.note_failure(now, lease.task, lease.prover);
        }
        Ok(())
    }

    /// A result that this side lost or cannot verify. The task is free again, nothing is held against the prover, and somebody is called: whoever is asked next would
    /// work for nothing, too.
    fn mislay(&mut self, now: u64, id: LeaseId, result: ArtefactId, actions: &mut Vec<Action>) -> Result<(), Refused> {
        let state = self.lease_mut(id)?;
        if state.pending != Some(result) {
            return Err(Refused::OutOfOrder { state: state.phase.name(), event: "the loss of a result" });
        }
        let lease = self.end(id)?.lease;
        // For as long as after a failure, so that a coordinator that cannot verify does not ask for the same proof in a loop.
        self.note_failure(now, lease.task, lease.prover);
        actions.push(Action::Alarm(lease.task, Alarm::Unverifiable));
        Ok(())
    }

    /// Leases that were not signed, kept alive or finished in time lapse, and deadlines that pass are noticed.
    fn lapse(&mut self, now: u64, actions: &mut Vec<Action>) {
        let offer_ms = u64::from(self.rules.offer_ms);
        let unsigned = self.offers().filter(|(_, state)| now >= state.lease.granted_ms + offer_ms);
        let unsigned: Vec<_> = unsigned.map(|(id, state)| (*id, state.lease)).collect();
        for (id, lease) in unsigned {
            // Nothing was agreed, so nothing is held against anybody; but somebody else is asked next.
            let _: Result<LeaseState, Refused> = self.end(id);
            self.note_failure(now, lease.task, lease.prover);
        }
        let silence = u64::from(self.rules.heartbeat_ms) * u64::from(self.rules.missed_max);
        let mut lapsed = Vec::new();
        for (id, state) in &mut self.leases {
            // A result that is being verified is not the prover's to hurry.
            let is_at_work = state.phase == Phase::Live && state.pending.is_none();
            if !is_at_work || (now < state.beaten_ms + silence && now < state.lease.deadline_ms) {
                continue;
            }
            state.phase = Phase::Lapsed;
            lapsed.push((state.lease.task, state.lease.prover));
            actions.push(Action::Lapsed(*id));
        }
        for (task, prover) in lapsed {
            self.note_failure(now, task, prover);
            if let Some(prover) = self.provers.get_mut(&prover) {
                prover.standing.missed(now);
            }
        }
        let late = self.queue.range(..(now, TaskId([0; 32])));
        for (_, id) in late {
            let state = self.tasks.get_mut(id).expect("the queue names open tasks");
            if !state.is_late {
                state.is_late = true;
                actions.push(Action::Alarm(*id, Alarm::Late));
            }
        }
    }

    /// Gives waiting provers what they can do, the earliest deadline first.
    fn assign(&mut self, now: u64, actions: &mut Vec<Action>) {
        let mut waiting: BTreeMap<ProverId, usize> = BTreeMap::new();
        for (id, state) in &self.provers {
            if state.asked_ms.is_some() && !state.standing.is_suspended(now) {
                waiting.insert(*id, self.leases_of(id));
            }
        }
        let queue: Vec<TaskId> = if waiting.is_empty() {
            return;
        } else {
            self.queue.iter().map(|(_, id)| *id).collect()
        };
        for id in queue {
            if waiting.is_empty() {
                return;
            }
            let state = &self.tasks[&id];
            let openness = self.openness(state);
            if openness == Openness::Nobody {
                continue;
            }
            let may_retry = |prover: &ProverId| {
                state.failed.get(prover).is_none_or(|failed| now >= failed + u64::from(self.rules.retry_ms))
            };
            let may =
                |prover: &ProverId| may_retry(prover) && (openness == Openness::Everybody || self.has_record(prover));
            let able = waiting.iter().filter(|(prover, _)| may(prover)).filter_map(|(prover, held)| {
                let known = &self.provers[prover];
                let milliseconds = known.capabilities.milliseconds_for(&state.task)?;
                let order = (*held, core::cmp::Reverse(known.standing.score()), known.asked_ms, *prover);
                Some((order, milliseconds))
            });
            let Some(((.., prover), milliseconds)) = able.min() else { continue };
            waiting.remove(&prover);
            self.grant(now, id, prover, milliseconds, actions);
        }
    }

    fn grant(&mut self, now: u64, task: TaskId, prover: ProverId, milliseconds: u32, actions: &mut Vec<Action>) {
        self.make_room(task);
        let known = self.provers.get_mut(&prover).expect("it waits, so it is known");
        known.asked_ms = None;
        let state = self.tasks.get_mut(&task).expect("it is open");
        // Never shorter than what silence alone would take to notice.
        let length = (u64::from(milliseconds) * u64::from(self.rules.lease_percent) / 100)
            .min(u64::from(self.rules.lease_max_ms))
            .max(u64::from(self.rules.heartbeat_ms) * u64::from(self.rules.missed_max));
        self.serial += 1;
        let lease = Lease {
            task,
            prover,
            payout: known.capabilities.payout,
            price: state.task.price,
            granted_ms: now,
            deadline_ms: now + length,
            heartbeat_ms: self.rules.heartbeat_ms,
            serial: self.serial,
        };
        let id = lease.id();
        state.leases.push(id);
        self.leases.insert(id, LeaseState { lease, phase: Phase::Offered, beaten_ms: now, pending: None });
        actions.push(Action::Offer(Box::new(lease), Box::new(state.task.clone())));
    }

    /// Forgets the oldest lapsed lease of a task that has too many. One whose result is being verified stays.
    fn make_room(&mut self, task: TaskId) {
        let state = &self.tasks[&task];
        if state.leases.len() < self.rules.leases_of_task_max {
            return;
        }
        let is_idle = |lease: &&LeaseId| {
            let lease = &self.leases[*lease];
            lease.phase == Phase::Lapsed && lease.pending.is_none()
        };
        if let Some(oldest) = state.leases.iter().find(is_idle).copied() {
            let _: Result<LeaseState, Refused> = self.end(oldest);
        }
    }

    /// What is owed to an address: accepted and not yet in a block.
    #[must_use]
    pub fn owed(&self, payee: &Address) -> Amount {
        self.ledger.owed(payee)
    }
}
