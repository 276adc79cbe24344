//! How many workers of which kind: `(state, event) -> orders`, without clock, process or network.
//!
//! * A worker is started for every task that nobody works on, less the workers that are free or on their way, within the bounds of number, memory and cores.
//! * A worker without a lease is stopped when nothing has been there for it to do for a while, or at once when its room is needed for another kind. One with a lease is
//!   never stopped for want of demand, so scaling loses no work.
//! * Workers that die on their way, or that get no work although there is some, hold up the next start of their kind: twice as long each time, until one of them finishes a task.

use std::collections::BTreeMap;

use joule_prover_network::TaskKind;
use thiserror::Error;

/// Kinds of tasks, and so of workers.
const KINDS: usize = TaskKind::ALL.len();

/// Tasks finish batches in this order of urgency: what is nearest to L1 first.
const URGENCY: [TaskKind; KINDS] = [TaskKind::Wrap, TaskKind::Merge, TaskKind::Segment];

/// Doublings of a pause after which it grows no more by itself; its own limit is reached long before.
const DOUBLINGS_MAX: u32 = 16;

/// A worker's place: a small number that is free again when its process has ended.
pub type Slot = u16;

/// What one worker of a kind takes of the machine while it proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// The kind.
    pub kind: TaskKind,
    /// Memory at its peak.
    pub memory_mebibytes: u32,
    /// Cores that it keeps busy.
    pub cores: u16,
}

/// The machine's part in proving, and the manners of scaling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Workers at once.
    pub workers_max: u16,
    /// Memory of all together.
    pub memory_mebibytes: u32,
    /// Cores of all together.
    pub cores: u16,
    /// What is done here, and what one worker takes. Kinds that are not named are left to other machines.
    pub shares: Vec<Share>,
    /// How long a worker may be without anything to do.
    pub idle_ms: u64,
    /// How long a worker is left in peace before its room is taken for another kind.
    pub settle_ms: u64,
    /// How long a start may take until the worker waits for tasks.
    pub start_ms: u64,
    /// How long a worker without a lease may take to end once it is told to.
    pub end_ms: u64,
    /// How long workers may take to finish their leases when everything is stopped.
    pub shutdown_ms: u64,
    /// The pause after a worker that died, doubled with each further one…
    pub backoff_first_ms: u64,
    /// … up to this.
    pub backoff_last_ms: u64,
    /// How long numbers about demand are believed. Older ones start nothing.
    pub demand_valid_ms: u64,
}

impl Limits {
    /// With the bounds given, and manners that fit tasks of half a minute to a few minutes.
    #[must_use]
    pub const fn new(workers_max: u16, memory_mebibytes: u32, cores: u16, shares: Vec<Share>) -> Self {
        Self {
            workers_max,
            memory_mebibytes,
            cores,
            shares,
            idle_ms: 60_000,
            settle_ms: 2_000,
            start_ms: 120_000,
            end_ms: 30_000,
            shutdown_ms: 600_000,
            backoff_first_ms: 1_000,
            backoff_last_ms: 300_000,
            demand_valid_ms: 30_000,
        }
    }

    fn share(&self, kind: TaskKind) -> Option<Share> {
        self.shares.iter().find(|share| share.kind == kind).copied()
    }
}

/// Limits under which nothing could ever run.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LimitsError {
    /// Nothing to do.
    #[error("no kind of task is named: there would never be a worker")]
    NoKinds,
    /// One kind named twice.
    #[error("{kind} tasks are named twice")]
    Twice {
        /// The kind.
        kind: TaskKind,
    },
    /// No workers.
    #[error("at most 0 workers: allow one at least")]
    NoWorkers,
    /// A worker that does not fit.
    #[error(
        "one {kind} worker takes {memory_mebibytes} MiB and {cores} cores, and all together may have {memory_limit} MiB and {cores_limit} cores: raise the limits or leave {kind} tasks to other machines"
    )]
    TooLarge {
        /// The kind.
        kind: TaskKind,
        /// Memory that one takes.
        memory_mebibytes: u32,
        /// Cores that one takes.
        cores: u16,
        /// Memory of all.
        memory_limit: u32,
        /// Cores of all.
        cores_limit: u16,
    },
}

/// Something that happened, with the time in milliseconds of any clock that does not run backwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// So many tasks wait, in the order of [`TaskKind::ALL`], that nobody works on and that workers of this machine could do.
    Demand([u32; KINDS]),
    /// The worker waits for tasks, for the first time or after a task that it finished.
    Free(Slot),
    /// The worker has a lease.
    Leased(Slot),
    /// Its process has ended; the flag says whether in order.
    Exited(Slot, bool),
    /// Time passed.
    Ticked,
    /// Stop everything: workers finish what they have.
    Shutdown,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Start a worker for tasks of this kind.
    Start(Slot, TaskKind),
    /// Tell it to end in order: claim nothing more, finish or return its lease.
    Stop(Slot),
    /// End it at once. It was told to stop, and did not.
    Kill(Slot),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Its process runs, and it does not wait for tasks yet.
    Starting,
    Free,
    Leased,
}

#[derive(Clone, Copy, Debug)]
struct Worker {
    kind: TaskKind,
    phase: Phase,
    /// Since when it is in this phase.
    since_ms: u64,
    /// Since when it has been told to stop.
    stopped_ms: Option<u64>,
    /// It has been ended by force, and its end is not seen yet.
    is_killed: bool,
    /// It was stopped because it was no good.
    is_failure: bool,
}

impl Worker {
    /// Whether a task that waits is as good as taken by it.
    fn is_spare(&self) -> bool {
        self.stopped_ms.is_none() && self.phase != Phase::Leased
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Backoff {
    failures: u32,
    until_ms: u64,
}

/// Workers of one kind, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Workers {
    /// On their way.
    pub starting: usize,
    /// Waiting for tasks.
    pub free: usize,
    /// At work.
    pub leased: usize,
    /// Told to stop, and not ended yet.
    pub stopping: usize,
}

/// The autoscaler's state.
#[derive(Clone, Debug)]
pub struct Autoscaler {
    limits: Limits,
    workers: BTreeMap<Slot, Worker>,
    demand: [u32; KINDS],
    /// When the demand was learned.
    demand_ms: Option<u64>,
    backoff: [Backoff; KINDS],
    shutdown_ms: Option<u64>,
}

impl Autoscaler {
    /// With no workers.
    ///
    /// # Errors
    /// [`LimitsError`].
    pub fn new(limits: Limits) -> Result<Self, LimitsError> {
        if limits.workers_max == 0 {
            return Err(LimitsError::NoWorkers);
        }
        if limits.shares.is_empty() {
            return Err(LimitsError::NoKinds);
        }
        for (place, share) in limits.shares.iter().enumerate() {
            if limits.shares[..place].iter().any(|other| other.kind == share.kind) {
                return Err(LimitsError::Twice { kind: share.kind });
            }
            if share.memory_mebibytes > limits.memory_mebibytes || share.cores > limits.cores {
                return Err(LimitsError::TooLarge {
                    kind: share.kind,
                    memory_mebibytes: share.memory_mebibytes,
                    cores: share.cores,
                    memory_limit: limits.memory_mebibytes,
                    cores_limit: limits.cores,
                });
            }
        }
        Ok(Self {
            limits,
            workers: BTreeMap::new(),
            demand: [0; KINDS],
            demand_ms: None,
            backoff: [Backoff::default(); KINDS],
            shutdown_ms: None,
        })
    }

    /// Processes that run.
    #[must_use]
    pub fn running(&self) -> usize {
        self.workers.len()
    }

    /// Workers of a kind.
    #[must_use]
    pub fn workers(&self, kind: TaskKind) -> Workers {
        let mut counts = Workers::default();
        for worker in self.workers.values().filter(|worker| worker.kind == kind) {
            let count = match (worker.stopped_ms, worker.phase) {
                (Some(_), _) => &mut counts.stopping,
                (None, Phase::Starting) => &mut counts.starting,
                (None, Phase::Free) => &mut counts.free,
                (None, Phase::Leased) => &mut counts.leased,
            };
            *count += 1;
        }
        counts
    }

    /// Takes an event and says what is to be done.
    pub fn apply(&mut self, now_ms: u64, event: Event) -> Vec<Order> {
        match event {
            Event::Demand(demand) => {
                self.demand = demand;
                self.demand_ms = Some(now_ms);
            }
            Event::Free(slot) => self.free(now_ms, slot),
            Event::Leased(slot) => self.leased(now_ms, slot),
            Event::Exited(slot, is_orderly) => self.exited(now_ms, slot, is_orderly),
            Event::Ticked => {}
            Event::Shutdown => self.shutdown_ms = self.shutdown_ms.or(Some(now_ms)),
        }
        let mut orders = Vec::new();
        if self.shutdown_ms.is_some() {
            self.stop_all(now_ms, &mut orders);
        } else {
            self.stop_idle(now_ms, &mut orders);
            self.start_wanted(now_ms, &mut orders);
        }
        self.kill_stubborn(now_ms, &mut orders);
        orders
    }

    /// When [`Event::Ticked`] has something to do next if nothing else is heard until then; `None` if nothing will ever be due by itself.
    #[must_use]
    pub fn due_ms(&self) -> Option<u64> {
        let limits = &self.limits;
        let workers = self.workers.values().filter(|worker| !worker.is_killed).filter_map(|worker| {
            let since = worker.since_ms;
            match (worker.stopped_ms, worker.phase) {
                (Some(_), Phase::Leased) => self.shutdown_ms.map(|since| since + limits.shutdown_ms),
                (Some(stopped), _) => Some(stopped.max(since) + limits.end_ms),
                (None, Phase::Starting) => Some(since + limits.start_ms),
                (None, Phase::Free) if self.wanted(worker.kind) => Some(since + self.stuck_ms()),
                (None, Phase::Free) => Some(since + limits.idle_ms),
                (None, Phase::Leased) => None,
            }
        });
        let pauses = TaskKind::ALL
            .into_iter()
            .filter(|kind| self.wanted(*kind) && self.limits.share(*kind).is_some())
            .map(|kind| self.backoff[kind as usize])
            .filter(|backoff| backoff.failures > 0)
            .map(|backoff| backoff.until_ms);
        workers.chain(pauses).min()
    }

    /// How long a worker may wait although there is work for its kind, before it is taken for one that will get none: suspended, or not able after all.
    const fn stuck_ms(&self) -> u64 {
        self.limits.idle_ms.saturating_mul(10)
    }

    fn wanted(&self, kind: TaskKind) -> bool {
        self.demand[kind as usize] > 0
    }

    fn free(&mut self, now_ms: u64, slot: Slot) {
        let Some(worker) = self.workers.get_mut(&slot) else { return };
        if worker.phase == Phase::Leased {
            // It does what it is there for.
            self.backoff[worker.kind as usize] = Backoff::default();
        }
        if worker.phase != Phase::Free {
            worker.phase = Phase::Free;
            worker.since_ms = now_ms;
        }
    }

    fn leased(&mut self, now_ms: u64, slot: Slot) {
        let Some(worker) = self.workers.get_mut(&slot) else { return };
        if worker.phase != Phase::Leased {
            worker.phase = Phase::Leased;
            worker.since_ms = now_ms;
            // The next numbers will not count the task any more; until they come, it must not start a second worker.
            let queued = &mut self.demand[worker.kind as usize];
            *queued = queued.saturating_sub(1);
        }
    }

    fn exited(&mut self, now_ms: u64, slot: Slot, is_orderly: bool) {
        let Some(worker) = self.workers.remove(&slot) else { return };
        let was_asked = worker.stopped_ms.is_some();
        let is_failure = worker.is_failure || (!was_asked && (!is_orderly || worker.phase == Phase::Starting));
        if is_failure {
            let limits = &self.limits;
            let backoff = &mut self.backoff[worker.kind as usize];
            let pause = limits.backoff_first_ms.saturating_mul(1 << backoff.failures.min(DOUBLINGS_MAX));
            backoff.failures = backoff.failures.saturating_add(1);
            backoff.until_ms = now_ms + pause.min(limits.backoff_last_ms);
        }
    }

    fn stop_all(&mut self, now_ms: u64, orders: &mut Vec<Order>) {
        for (slot, worker) in self.workers.iter_mut().filter(|(_, worker)| worker.stopped_ms.is_none()) {
            worker.stopped_ms = Some(now_ms);
            orders.push(Order::Stop(*slot));
        }
    }

    fn stop_idle(&mut self, now_ms: u64, orders: &mut Vec<Order>) {
        let (idle_ms, start_ms, stuck_ms) = (self.limits.idle_ms, self.limits.start_ms, self.stuck_ms());
        let is_known = self.is_demand_known(now_ms);
        let demand = self.demand;
        for (slot, worker) in &mut self.workers {
            if worker.stopped_ms.is_some() {
                continue;
            }
            let age = now_ms.saturating_sub(worker.since_ms);
            let is_wanted = is_known && demand[worker.kind as usize] > 0;
            let (is_over, is_failure) = match worker.phase {
                Phase::Starting => (age >= start_ms, true),
                Phase::Free if is_wanted => (age >= stuck_ms, true),
                Phase::Free => (age >= idle_ms, false),
                Phase::Leased => (false, false),
            };
            if is_over {
                worker.stopped_ms = Some(now_ms);
                worker.is_failure = is_failure;
                orders.push(Order::Stop(*slot));
            }
        }
    }

    fn is_demand_known(&self, now_ms: u64) -> bool {
        self.demand_ms.is_some_and(|learned| now_ms.saturating_sub(learned) < self.limits.demand_valid_ms)
    }

    fn start_wanted(&mut self, now_ms: u64, orders: &mut Vec<Order>) {
        if !self.is_demand_known(now_ms) {
            return;
        }
        for kind in URGENCY {
            let Some(share) = self.limits.share(kind) else { continue };
            if now_ms < self.backoff[kind as usize].until_ms {
                continue;
            }
            let spare = self.workers.values().filter(|worker| worker.kind == kind && worker.is_spare()).count();
            let mut missing = (self.demand[kind as usize] as usize).saturating_sub(spare);
            // After failures one is tried, and the others wait until it has finished a task.
            if self.backoff[kind as usize].failures > 0 {
                let tried = self.workers.values().any(|worker| worker.kind == kind && worker.stopped_ms.is_none());
                missing = missing.min(usize::from(!tried));
            }
            for _ in 0..missing {
                if !self.fits(share) {
                    self.make_room(now_ms, share, orders);
                    break;
                }
                let taken = |slot: &Slot| self.workers.contains_key(slot);
                let Some(slot) = (0..self.limits.workers_max).find(|slot| !taken(slot)) else { break };
                let worker = Worker {
                    kind,
                    phase: Phase::Starting,
                    since_ms: now_ms,
                    stopped_ms: None,
                    is_killed: false,
                    is_failure: false,
                };
                self.workers.insert(slot, worker);
                orders.push(Order::Start(slot, kind));
            }
        }
    }

    /// What runs takes until its process has ended, whatever it was told.
    fn taken(&self, is_counted: impl Fn(&Worker) -> bool) -> (usize, u64, u64) {
        let shares = self.workers.values().filter(|worker| is_counted(worker));
        shares.filter_map(|worker| self.limits.share(worker.kind)).fold((0, 0, 0), |(count, memory, cores), share| {
            (count + 1, memory + u64::from(share.memory_mebibytes), cores + u64::from(share.cores))
        })
    }

    fn has_room(&self, (count, memory, cores): (usize, u64, u64), share: Share) -> bool {
        count < usize::from(self.limits.workers_max)
            && memory + u64::from(share.memory_mebibytes) <= self.limits.memory_mebibytes.into()
            && cores + u64::from(share.cores) <= self.limits.cores.into()
    }

    fn fits(&self, share: Share) -> bool {
        self.has_room(self.taken(|_| true), share)
    }

    /// Stops workers that have had nothing to do, the longest first, until one more of `share` would fit beside what is left.
    fn make_room(&mut self, now_ms: u64, share: Share, orders: &mut Vec<Order>) {
        while !self.has_room(self.taken(|worker| worker.stopped_ms.is_none()), share) {
            let useless = self.workers.iter().filter(|(_, worker)| {
                worker.phase == Phase::Free
                    && worker.stopped_ms.is_none()
                    && !self.wanted(worker.kind)
                    && now_ms.saturating_sub(worker.since_ms) >= self.limits.settle_ms
            });
            let Some((slot, _)) = useless.min_by_key(|(slot, worker)| (worker.since_ms, **slot)) else { return };
            let slot = *slot;
            if let Some(worker) = self.workers.get_mut(&slot) {
                worker.stopped_ms = Some(now_ms);
                orders.push(Order::Stop(slot));
            }
        }
    }

    /// A worker that was told to stop and has no lease has no reason to go on. One with a lease is waited for, and has an end only when everything is stopped:
    /// then its lease lapses, and the task is another's.
    fn kill_stubborn(&mut self, now_ms: u64, orders: &mut Vec<Order>) {
        let (end_ms, shutdown_ms) = (self.limits.end_ms, self.limits.shutdown_ms);
        let is_over = self.shutdown_ms.is_some_and(|since| now_ms.saturating_sub(since) >= shutdown_ms);
        for (slot, worker) in &mut self.workers {
            let Some(stopped) = worker.stopped_ms.filter(|_| !worker.is_killed) else { continue };
            let is_late =
                worker.phase != Phase::Leased && now_ms.saturating_sub(stopped.max(worker.since_ms)) >= end_ms;
            if is_late || is_over {
                worker.is_killed = true;
                orders.push(Order::Kill(*slot));
            }
        }
    }
}

#[cfg(test)]
mod tests;
