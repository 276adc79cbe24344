//! The autoscaler with real processes: asks the coordinator what there is to do, starts workers and ends them.
//!
//! It holds no circuit and proves nothing. Without tasks it is one connection and a question every few seconds.

use std::{
    io,
    process::Stdio,
    time::{Duration, Instant},
};

use joule_prover_network::{Client, Queue, TaskKind, WorkError};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    process::{Child, ChildStdout, Command},
    sync::{mpsc, watch},
    task::JoinSet,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use crate::{
    report::{LINE_BYTES_MAX, Report},
    scale::{Autoscaler, Event, Limits, LimitsError, Order, Slot},
};

/// What workers say, and that they ended, until it is taken note of.
const NEWS_MAX: usize = 256;
/// The longest sleep, whatever is due: a bound on how wrong a calculation of what is due can be.
const SLEEP_MAX: Duration = Duration::from_secs(60);
/// Between questions to a coordinator that does not answer, at most.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Tasks of each kind that nobody works on, in the order of [`TaskKind::ALL`].
pub type Demand = [u32; TaskKind::ALL.len()];

/// What a supervisor did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Workers started.
    pub started: u64,
    /// Workers that ended otherwise than in order.
    pub failed: u64,
    /// Leases that they reported.
    pub leases: u64,
    /// The most workers at once.
    pub workers_peak: usize,
}

/// How things stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Running {
    /// Processes that have not ended.
    pub processes: usize,
    /// Of these, those with a lease.
    pub leased: usize,
    /// Processes that were started so far.
    pub started: u64,
}

/// How many tasks wait that workers with these shapes could do: of segments those up to the largest shape.
#[must_use]
pub fn demand_of(queues: &[Queue], shape_max: u8) -> Demand {
    let mut demand = Demand::default();
    for queue in queues.iter().filter(|queue| queue.kind != TaskKind::Segment || queue.shape <= shape_max) {
        let count = &mut demand[queue.kind as usize];
        *count = count.saturating_add(queue.queued);
    }
    demand
}

/// Asks a coordinator what there is to do, every `every`, until nobody listens or `stop`. What it does not answer leaves the last numbers as they are; they lose
/// their worth by age ([`Limits::demand_valid_ms`]).
pub async fn watch_demand(
    client: Client,
    shape_max: u8,
    every: Duration,
    demand: watch::Sender<Option<Demand>>,
    stop: CancellationToken,
) {
    let mut pause = every;
    loop {
        let asked = tokio::select! {
            asked = client.demand() => asked,
            () = stop.cancelled() => return,
        };
        pause = match asked {
            Ok(queues) => {
                // Sent also when it is what it was: it is news that it still is.
                if demand.send(Some(demand_of(&queues, shape_max))).is_err() {
                    return;
                }
                every
            }
            Err(error @ WorkError::NoAnswer { .. }) => {
                tracing::warn!(%error, "the demand is not known; nobody is started meanwhile");
                (2 * pause).min(RETRY_MAX.max(every))
            }
            Err(error) => {
                tracing::error!(%error, "the demand cannot be learned");
                RETRY_MAX.max(every)
            }
        };
        tokio::select! {
            () = sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// News of a worker. One queue for all keeps them in order: nothing is heard of a slot's worker after its end.
enum News {
    Says(Slot, Report),
    Ended(Slot, bool),
}

/// What a worker's process is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Told {
    #[default]
    Nothing,
    ToEnd,
    ToDie,
}

/// Starts and ends workers, which `command` makes for a slot and a kind, as `demand` has it, until `stop`; then ends all of them in order, and returns when the last
/// has ended. `running` says how things stand. A worker reports on its standard output (see [`crate::report`]) and ends in order on `SIGTERM`. Dropping the future kills the workers.
///
/// # Errors
/// [`LimitsError`].
pub async fn supervise(
    limits: Limits,
    command: impl Fn(Slot, TaskKind) -> Command,
    mut demand: watch::Receiver<Option<Demand>>,
    running: watch::Sender<Running>,
    stop: CancellationToken,
) -> Result<Summary, LimitsError> {
    let mut scaler = Autoscaler::new(limits)?;
    let begun = Instant::now();
    let now_ms = move || u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let (news, mut heard) = mpsc::channel(NEWS_MAX);
    let mut processes = Processes { told: Vec::new(), running: JoinSet::new(), news };
    let mut summary = Summary::default();
    let (mut is_stopping, mut is_known) = (false, true);
    loop {
        if is_stopping && scaler.running() == 0 {
            return Ok(summary);
        }
        let due = scaler.due_ms().map_or(SLEEP_MAX, |due| Duration::from_millis(due.saturating_sub(now_ms())));
        let event = tokio::select! {
            Some(news) = heard.recv() => match news {
                News::Says(slot, Report::Free) => Event::Free(slot),
                News::Says(slot, Report::Leased) => {
                    summary.leases += 1;
                    Event::Leased(slot)
                }
                News::Ended(slot, is_orderly) => {
                    summary.failed += u64::from(!is_orderly);
                    Event::Exited(slot, is_orderly)
                }
            },
            changed = demand.changed(), if is_known && !is_stopping => match (changed, *demand.borrow_and_update()) {
                (Ok(()), Some(demand)) => Event::Demand(demand),
                (Ok(()), None) => continue,
                // Nobody learns it any more: the workers that are there finish, and go when they have been idle.
                (Err(_), _) => {
                    is_known = false;
                    continue;
                }
            },
            () = stop.cancelled(), if !is_stopping => {
                is_stopping = true;
                Event::Shutdown
            }
            () = sleep(due.min(SLEEP_MAX)) => Event::Ticked,
            // Their ends are heard of in their place.
            Some(_) = processes.running.join_next() => continue,
        };
        for order in scaler.apply(now_ms(), event) {
            match order {
                Order::Start(slot, kind) => {
                    tracing::info!(slot, %kind, "a worker is started");
                    summary.started += 1;
                    processes.start(slot, command(slot, kind));
                }
                Order::Stop(slot) => {
                    tracing::info!(slot, "a worker is told to end");
                    processes.tell(slot, Told::ToEnd);
                }
                Order::Kill(slot) => {
                    tracing::warn!(slot, "a worker does not end, and is killed");
                    processes.tell(slot, Told::ToDie);
                }
            }
        }
        summary.workers_peak = summary.workers_peak.max(scaler.running());
        let leased = TaskKind::ALL.into_iter().map(|kind| scaler.workers(kind).leased).sum();
        let now = Running { processes: scaler.running(), leased, started: summary.started };
        running.send_if_modified(|running| std::mem::replace(running, now) != now);
    }
}

struct Processes {
    /// By slot.
    told: Vec<watch::Sender<Told>>,
    running: JoinSet<()>,
    news: mpsc::Sender<News>,
}

impl Processes {
    fn start(&mut self, slot: Slot, command: Command) {
        let (told, hears) = watch::channel(Told::Nothing);
        let place = usize::from(slot);
        if place >= self.told.len() {
            self.told.resize_with(place + 1, watch::Sender::default);
        }
        self.told[place] = told;
        self.running.spawn(attend(slot, command, hears, self.news.clone()));
    }

    fn tell(&self, slot: Slot, what: Told) {
        if let Some(told) = self.told.get(usize::from(slot)) {
            told.send_replace(what);
        }
    }
}

/// A worker from its start to its end.
async fn attend(slot: Slot, mut command: Command, told: watch::Receiver<Told>, news: mpsc::Sender<News>) {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        // Ctrl-C at a terminal goes to the supervisor alone, which ends its workers in order.
        .process_group(0);
    let is_orderly = match command.spawn() {
        Ok(child) => follow(slot, child, told, &news).await.unwrap_or_else(|error| {
            tracing::error!(slot, %error, "a worker could not be followed");
            false
        }),
        Err(error) => {
            tracing::error!(slot, %error, "a worker could not be started");
            false
        }
    };
    // The supervisor listens for as long as it has workers.
    let _: Result<(), _> = news.send(News::Ended(slot, is_orderly)).await;
}

async fn follow(
    slot: Slot,
    mut child: Child,
    mut told: watch::Receiver<Told>,
    news: &mpsc::Sender<News>,
) -> io::Result<bool> {
    // Its end is the worker's sign that nobody is there any more, so it is held until the worker has ended.
    let _input = child.stdin.take();
    let mut lines = child.stdout.take().map(Lines::new);
    loop {
        tokio::select! {
            // Orders first, however much it says; and what it said before it ended is heard before its end.
            biased;
            Ok(()) = told.changed() => match *told.borrow_and_update() {
                Told::Nothing => {}
                Told::ToEnd => terminate(&child),
                Told::ToDie => child.start_kill()?,
            },
            line = next(&mut lines) => match line {
                Some(line) => if let Some(report) = Report::read(&line) {
                    let _: Result<(), _> = news.send(News::Says(slot, report)).await;
                },
                None => lines = None,
            },
            ended = child.wait() => {
                let status = ended?;
                tracing::info!(slot, %status, "a worker has ended");
                return Ok(status.success());
            }
        }
    }
}

/// Nothing happens if it has just ended: its number is not another's before it is waited for, which only its own task does.
fn terminate(child: &Child) {
    let Some(process) = child.id().and_then(|id| i32::try_from(id).ok()) else { return };
    if let Err(error) = kill(Pid::from_raw(process), Signal::SIGTERM) {
        tracing::warn!(process, %error, "a worker could not be told to end");
    }
}

/// Lines of bounded length.
struct Lines {
    reader: BufReader<ChildStdout>,
    /// The line so far; kept here so that an interrupted wait loses nothing.
    line: Vec<u8>,
}

impl Lines {
    fn new(out: ChildStdout) -> Self {
        Self { reader: BufReader::with_capacity(1_024, out), line: Vec::new() }
    }
}

/// The next line, or the first bytes of one that is too long; `None` at the end.
async fn next(lines: &mut Option<Lines>) -> Option<Vec<u8>> {
    let Some(Lines { reader, line }) = lines else { return std::future::pending().await };
    let room = (LINE_BYTES_MAX + 2 - line.len()) as u64;
    match (&mut *reader).take(room).read_until(b'\n', line).await {
        Ok(1..) => Some(std::mem::take(line)),
        Ok(0) | Err(_) => None,
    }
}

#[cfg(test)]
mod tests;
