//! A prover on the network: connects, says what it can do, and takes one lease after the other.
//!
//! It beats while it works, fetches inputs and sends results chunk by chunk, and goes on where it stopped when the connection breaks. After failures in a row it claims no more,
//! so that a broken machine does not eat the network's tasks. Told to [drain](Stop::Drain), it finishes what it has begun to prove and gives back what it has not; told to
//! [leave](Stop::Leave), it gives back everything. Inputs are on its disk for as long as its lease lasts, and nothing is afterwards.

use std::{
    collections::{BTreeSet, HashMap},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures::StreamExt as _;
use joule_protocol::Amount;
use libp2p::{
    Multiaddr, PeerId, Swarm,
    request_response::{self, OutboundRequestId},
    swarm::SwarmEvent,
};
use thiserror::Error;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{sleep, timeout},
};

use crate::{
    keys::{self, Identity, KeyError},
    message::{Answer, Question, StandingReport},
    store::{ArtefactFolder, CHUNK_BYTES_MAX, StoreError},
    task::{ArtefactId, Capabilities, Lease, LeaseId, ProverId, Signed, Task},
    transport::{Behaviour, BehaviourEvent, prover_of, swarm},
};

/// Between attempts to reach the coordinator, doubled up to the next.
const RETRY_FIRST: Duration = Duration::from_millis(250);
const RETRY_LAST: Duration = Duration::from_secs(30);
/// Attempts to send a result before it is given up: half an hour of a coordinator that is away.
const DELIVER_ATTEMPTS_MAX: u32 = 64;
/// The same of a prover that was told to drain: one minute.
const DELIVER_ATTEMPTS_DRAINING_MAX: u32 = 8;
/// Attempts in a row to fetch a part of an input: half an hour, too.
const FETCH_ATTEMPTS_MAX: u32 = 64;
/// Attempts to say that a lease is taken, while its offer lasts.
const SIGN_ATTEMPTS_MAX: u32 = 4;
/// How long a single question may take, with finding the coordinator.
pub(crate) const ASK_WITHIN: Duration = Duration::from_secs(20);
/// Questions that wait for the connection.
const QUESTIONS_MAX: usize = 32;
/// The longest that a coordinator may make a prover wait for its next question.
const WAIT_MS_MAX: u32 = 60_000;

/// What a prover is told while it works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stop {
    /// Go on.
    #[default]
    Not,
    /// Claim nothing more; finish what is being proven.
    Drain,
    /// Claim nothing more, and give back what is being proven.
    Leave,
}

/// Does tasks. The engine is one.
pub trait Labour: Send + Sync + 'static {
    /// Proves the task from its inputs, which takes seconds to minutes. Once `is_over` turns true nobody wants the result, and whoever can stops.
    ///
    /// # Errors
    /// [`LabourError`].
    fn prove(&self, task: &Task, inputs: &[Vec<u8>], is_over: &AtomicBool) -> Result<Vec<u8>, LabourError>;
}

/// Why a task was not done.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LabourError {
    /// No machine could do it.
    #[error("the task's input is refused: {0}")]
    Input(String),
    /// This machine could not.
    #[error("this machine failed: {0}")]
    Machine(String),
    /// It was over before it was done.
    #[error("the task was over before it was done")]
    Stopped,
}

/// What a prover needs.
#[derive(Clone, Debug)]
pub struct WorkOptions {
    /// Its keys.
    pub identity: Identity,
    /// The coordinator, with its peer id.
    pub coordinator: Multiaddr,
    /// What it can do.
    pub capabilities: Capabilities,
    /// Where inputs are while they are worked on, in a folder of their own below.
    pub folder: PathBuf,
    /// Failures in a row after which it claims no more.
    pub failures_max: u32,
}

/// Why a prover does not work, or works no more.
#[derive(Debug, Error)]
pub enum WorkError {
    /// The address names nobody.
    #[error("{0} names no peer: it must end in /p2p/ and the coordinator's peer id")]
    NoPeer(Multiaddr),
    /// The network.
    #[error("the network: {0}")]
    Network(String),
    /// The disk.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A single question had no answer.
    #[error("{coordinator} does not answer: {reason}. Is the address right, and the coordinator running?")]
    NoAnswer {
        /// The coordinator.
        coordinator: Multiaddr,
        /// Why.
        reason: String,
    },
    /// The coordinator says no.
    #[error("the coordinator says no: {0}")]
    Refused(String),
    /// Too many failures.
    #[error("{count} tasks failed in a row, the last because {last}. Mend it and join again")]
    Failing {
        /// How many.
        count: u32,
        /// Why the last one failed.
        last: String,
    },
}

/// What a prover has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkSummary {
    /// Results delivered.
    pub delivered: u64,
    /// What they earn if each is the first good one.
    pub price: Amount,
    /// Tasks that somebody else finished first, or that were withdrawn.
    pub stopped: u64,
    /// Tasks given up.
    pub failed: u64,
}

/// What a prover is at, for whoever watches it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// The coordinator knows it.
    pub has_joined: bool,
    /// It holds a lease.
    pub is_leased: bool,
    /// Leases that it took since it began: two looks that find the same number have missed none between them.
    pub leases: u64,
}

/// Works until it is told to stop.
///
/// # Errors
/// [`WorkError`].
pub async fn work(
    options: WorkOptions,
    labour: Arc<dyn Labour>,
    stop: watch::Receiver<Stop>,
) -> Result<WorkSummary, WorkError> {
    work_watched(options, labour, stop, watch::Sender::default()).await
}

/// Works until it is told to stop, and says what it is at in `activity`.
///
/// # Errors
/// [`WorkError`].
pub async fn work_watched(
    options: WorkOptions,
    labour: Arc<dyn Labour>,
    stop: watch::Receiver<Stop>,
    activity: watch::Sender<Activity>,
) -> Result<WorkSummary, WorkError> {
    let (_, coordinator) = coordinator_of(&options.coordinator)?;
    let folder = ArtefactFolder::open(&options.folder.join("inputs"))?;
    // Of leases that another process held.
    folder.sweep(&BTreeSet::new(), Duration::ZERO)?;
    let connection = Connection::open(&options.identity, &options.coordinator)?;
    let questions = connection.questions.clone();
    let summary = WorkSummary::default();
    Worker { options, coordinator, labour, folder, questions, stop, activity, summary, failures: 0 }.run().await
}

/// How the prover with this identity stands, as its coordinator says.
///
/// # Errors
/// [`WorkError`].
pub async fn standing(identity: &Identity, coordinator: &Multiaddr) -> Result<StandingReport, WorkError> {
    match ask_once(identity, coordinator, Question::Standing).await? {
        Answer::Standing(report) => Ok(report),
        Answer::No(reason) => Err(WorkError::Refused(reason)),
        other => Err(WorkError::Refused(format!("{other:?}"))),
    }
}

/// What time a coordinator has, in Unix milliseconds: whether it can be reached, and whether the clocks agree.
///
/// # Errors
/// [`WorkError`].
pub async fn time_of(identity: &Identity, coordinator: &Multiaddr) -> Result<u64, WorkError> {
    match ask_once(identity, coordinator, Question::Time).await? {
        Answer::Time(now_ms) => Ok(now_ms),
        Answer::No(reason) => Err(WorkError::Refused(reason)),
        other => Err(WorkError::Refused(format!("{other:?}"))),
    }
}

async fn ask_once(identity: &Identity, coordinator: &Multiaddr, question: Question) -> Result<Answer, WorkError> {
    let connection = Connection::open(identity, coordinator)?;
    let failed = |reason: String| WorkError::NoAnswer { coordinator: coordinator.clone(), reason };
    match timeout(ASK_WITHIN, ask(&connection.questions, question)).await {
        Ok(answer) => answer.map_err(failed),
        Err(_) => Err(failed(format!("nothing was heard in {} s", ASK_WITHIN.as_secs()))),
    }
}

/// The peer at the end of a coordinator's address, and the name by which it signs leases.
fn coordinator_of(address: &Multiaddr) -> Result<(PeerId, ProverId), WorkError> {
    let peer = joule_transport::peer_of(address);
    let named = peer.and_then(|peer| Some((peer, prover_of(&peer)?)));
    named.ok_or_else(|| WorkError::NoPeer(address.clone()))
}

/// A connection to a coordinator, made anew when it breaks. Dropping it ends it.
pub(crate) struct Connection {
    pub(crate) questions: mpsc::Sender<(Question, Reply)>,
    running: tokio::task::JoinHandle<()>,
}

impl Connection {
    pub(crate) fn open(identity: &Identity, coordinator: &Multiaddr) -> Result<Self, WorkError> {
        let (peer, _) = coordinator_of(coordinator)?;
        let swarm = swarm(identity).map_err(WorkError::Network)?;
        let (questions, inbox) = mpsc::channel(QUESTIONS_MAX);
        let running = tokio::spawn(connect(swarm, peer, coordinator.clone(), inbox));
        Ok(Self { questions, running })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.running.abort();
    }
}

pub(crate) type Reply = oneshot::Sender<Result<Answer, String>>;

/// Carries questions to the coordinator, dialling it when there is no connection.
async fn connect(
    mut swarm: Swarm<Behaviour>,
    peer: PeerId,
    address: Multiaddr,
    mut inbox: mpsc::Receiver<(Question, Reply)>,
) {
    let mut open: HashMap<OutboundRequestId, Reply> = HashMap::new();
    loop {
        tokio::select! {
            question = inbox.recv() => {
                let Some((question, reply)) = question else { return };
                let messages = &mut swarm.behaviour_mut().messages;
                let id = messages.send_request_with_addresses(&peer, question, vec![address.clone()]);
                open.insert(id, reply);
            }
            event = swarm.select_next_some() => match event {
                SwarmEvent::Behaviour(BehaviourEvent::Messages(request_response::Event::Message {
                    message: request_response::Message::Response { request_id, response },
                    ..
                })) => {
                    if let Some(reply) = open.remove(&request_id) {
                        let _: Result<(), _> = reply.send(Ok(response));
                    }
                }
                SwarmEvent::Behaviour(BehaviourEvent::Messages(request_response::Event::OutboundFailure {
                    request_id,
                    error,
                    ..
                })) => {
                    if let Some(reply) = open.remove(&request_id) {
                        let _: Result<(), _> = reply.send(Err(error.to_string()));
                    }
                }
                _ => {}
            }
        }
    }
}

/// How a lease ended.
enum End {
    Delivered,
    Stopped,
    /// Given back, because the prover stops.
    Returned,
    Failed(String),
}

struct Worker {
    options: WorkOptions,
    coordinator: ProverId,
    labour: Arc<dyn Labour>,
    folder: ArtefactFolder,
    questions: mpsc::Sender<(Question, Reply)>,
    stop: watch::Receiver<Stop>,
    activity: watch::Sender<Activity>,
    summary: WorkSummary,
    failures: u32,
}

pub(crate) async fn ask(questions: &mpsc::Sender<(Question, Reply)>, question: Question) -> Result<Answer, String> {
    let (reply, answer) = oneshot::channel();
    questions.send((question, reply)).await.map_err(|_| "the connection has ended".to_owned())?;
    answer.await.map_err(|_| "the connection has ended".to_owned())?
}

impl Worker {
    /// Told to, or nobody is left who could tell.
    fn must_stop(&self) -> bool {
        *self.stop.borrow() != Stop::Not || self.stop.has_changed().is_err()
    }

    /// Told to give everything back, or nobody is left who could tell.
    fn must_leave(&self) -> bool {
        *self.stop.borrow() == Stop::Leave || self.stop.has_changed().is_err()
    }

    /// Waits, or less if the prover is told to stop.
    async fn pause(&mut self, length: Duration) {
        if !self.must_stop() {
            tokio::select! {
                () = sleep(length) => {}
                _ = self.stop.changed() => {}
            }
        }
    }

    async fn run(mut self) -> Result<WorkSummary, WorkError> {
        let mut retry = RETRY_FIRST;
        let mut has_joined = false;
        while !self.must_stop() {
            let question = if has_joined { Question::Ask } else { Question::Join(self.options.capabilities.clone()) };
            let questions = self.questions.clone();
            let answer = tokio::select! {
                answer = ask(&questions, question) => answer,
                _ = self.stop.changed() => continue,
            };
            match answer {
                Ok(Answer::Done) => {
                    has_joined = true;
                    self.activity.send_if_modified(|activity| !std::mem::replace(&mut activity.has_joined, true));
                }
                Ok(Answer::Wait(milliseconds)) => {
                    self.pause(Duration::from_millis(milliseconds.min(WAIT_MS_MAX).into())).await;
                }
                Ok(Answer::Offer(offer)) => {
                    let (lease, signed, task) = *offer;
                    self.take(&lease, &signed, task).await?;
                }
                other => {
                    match other {
                        Ok(Answer::No(reason)) => tracing::warn!(reason, "the coordinator gives no work"),
                        other => tracing::info!(answer = ?other, "no work: asking again later"),
                    }
                    has_joined = false;
                    self.pause(retry.max(self.suspension().await)).await;
                    retry = (2 * retry).min(RETRY_LAST);
                    continue;
                }
            }
            retry = RETRY_FIRST;
        }
        Ok(self.summary)
    }

    /// How long this prover is offered nothing, as far as the coordinator says.
    async fn suspension(&self) -> Duration {
        let Ok(Answer::Standing(report)) = ask(&self.questions, Question::Standing).await else {
            return Duration::ZERO;
        };
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        let StandingReport { score, needed, suspended_until_ms, .. } = report;
        if suspended_until_ms > now_ms {
            tracing::warn!(score, needed, suspended_until_ms, "suspended; `joule-prover status` says what for");
        }
        Duration::from_millis(suspended_until_ms.saturating_sub(now_ms).min(WAIT_MS_MAX.into()))
    }

    /// Whether an offer is one of the coordinator to this prover, as it should be.
    fn check(&self, lease: &Lease, signed: &Signed, task: &Task) -> Result<(), KeyError> {
        let (me, payout) = (self.options.identity.id(), self.options.capabilities.payout);
        let fits = lease.prover == me
            && lease.payout == payout
            && lease.task == task.id()
            && lease.price == task.price
            && self.options.capabilities.milliseconds_for(task).is_some();
        if !fits {
            return Err(KeyError::WrongSignature);
        }
        keys::check(lease, signed, &self.coordinator)
    }

    async fn take(&mut self, lease: &Lease, signed: &Signed, task: Task) -> Result<(), WorkError> {
        let id = lease.id();
        if let Err(error) = self.check(lease, signed, &task) {
            tracing::warn!(?id, %error, "an offer is not what it should be, and is left to lapse");
            self.pause(RETRY_LAST).await;
            return Ok(());
        }
        let mine = match self.options.identity.sign(lease) {
            Ok(mine) => mine,
            Err(error) => return Err(WorkError::Network(error.to_string())),
        };
        if !self.sign(id, &mine).await {
            return Ok(());
        }
        tracing::info!(?id, kind = %task.kind, shape = task.shape, price = %task.price, "a lease");
        let is_over = Arc::new(AtomicBool::new(false));
        let beats = tokio::spawn(beat(self.questions.clone(), id, lease.heartbeat_ms, is_over.clone()));
        let leaving = tokio::spawn(leave(self.stop.clone(), is_over.clone()));
        self.activity.send_modify(|activity| {
            activity.is_leased = true;
            activity.leases += 1;
        });
        let end = self.labour(id, &task, &is_over).await;
        self.activity.send_modify(|activity| activity.is_leased = false);
        beats.abort();
        leaving.abort();
        for input in &task.inputs {
            self.folder.remove(input)?;
        }
        match end? {
            End::Delivered => {
                tracing::info!(?id, kind = %task.kind, "a result is delivered");
                self.summary.delivered += 1;
                self.summary.price += task.price;
                self.failures = 0;
            }
            End::Stopped => self.summary.stopped += 1,
            End::Returned => tracing::info!(?id, "a lease is given back"),
            End::Failed(reason) => {
                self.summary.failed += 1;
                self.failures += 1;
                tracing::error!(?id, reason, "a task failed");
                if self.failures >= self.options.failures_max {
                    return Err(WorkError::Failing { count: self.failures, last: reason });
                }
            }
        }
        Ok(())
    }

    /// Says that the lease is taken: again, if the answer is lost, because a lease that the coordinator holds for signed and nobody works on costs standing.
    async fn sign(&self, lease: LeaseId, signed: &Signed) -> bool {
        for _ in 0..SIGN_ATTEMPTS_MAX {
            match ask(&self.questions, Question::Sign(lease, signed.clone())).await {
                Ok(Answer::Done) => return true,
                Err(error) => tracing::debug!(?lease, error, "signing a lease again"),
                Ok(other) => {
                    tracing::info!(?lease, answer = ?other, "the lease did not come about");
                    return false;
                }
            }
            sleep(RETRY_FIRST).await;
        }
        false
    }

    async fn labour(&mut self, lease: LeaseId, task: &Task, is_over: &Arc<AtomicBool>) -> Result<End, WorkError> {
        let mut inputs = Vec::with_capacity(task.inputs.len());
        for (input, length) in task.inputs.iter().zip(&task.input_bytes) {
            match self.fetch(input, *length, is_over).await? {
                Fetched::All(bytes) => inputs.push(bytes),
                Fetched::Over => return Ok(self.end_early(lease).await),
                Fetched::Nothing => {
                    let _: Result<Answer, String> = ask(&self.questions, Question::Fail(lease, false)).await;
                    return Ok(End::Failed(format!("input {input} cannot be fetched")));
                }
            }
        }
        let (labour, owned, flag) = (self.labour.clone(), task.clone(), is_over.clone());
        let proved = tokio::task::spawn_blocking(move || labour.prove(&owned, &inputs, &flag)).await;
        let failed = match proved {
            Ok(Ok(_)) if self.must_leave() => return Ok(self.end_early(lease).await),
            Ok(Ok(result)) => return self.deliver(lease, &result, is_over).await,
            Ok(Err(LabourError::Stopped)) => return Ok(self.end_early(lease).await),
            Ok(Err(error)) => error,
            Err(panic) => LabourError::Machine(panic.to_string()),
        };
        let blames_input = matches!(failed, LabourError::Input(_));
        let _: Result<Answer, String> = ask(&self.questions, Question::Fail(lease, blames_input)).await;
        Ok(End::Failed(failed.to_string()))
    }

    /// Before the work is done: because the prover stops, or because nobody wants it any more.
    async fn end_early(&self, lease: LeaseId) -> End {
        if !self.must_stop() {
            return End::Stopped;
        }
        let _: Result<Answer, String> = ask(&self.questions, Question::Return(lease)).await;
        End::Returned
    }

    /// An input, fetched from where an earlier attempt stopped.
    async fn fetch(&mut self, input: &ArtefactId, length: u64, is_over: &AtomicBool) -> Result<Fetched, WorkError> {
        let (mut retry, mut attempts) = (RETRY_FIRST, 0);
        while !self.folder.has(input) {
            if is_over.load(Ordering::Relaxed) || self.must_stop() {
                return Ok(Fetched::Over);
            }
            let offset = self.folder.received(input);
            let answer = ask(&self.questions, Question::Fetch(*input, offset)).await;
            let taken = match answer {
                Ok(Answer::Chunk(chunk)) => self.folder.take_chunk(input, length, offset, &chunk).map_err(Some),
                _ => Err(None),
            };
            match taken {
                Ok(_) => (retry, attempts) = (RETRY_FIRST, 0),
                Err(Some(error @ StoreError::Access { .. })) => return Err(error.into()),
                Err(error) => {
                    tracing::debug!(?input, ?error, "a part of an input did not come: asking again");
                    attempts += 1;
                    if attempts >= FETCH_ATTEMPTS_MAX {
                        return Ok(Fetched::Nothing);
                    }
                    self.pause(retry).await;
                    retry = (2 * retry).min(RETRY_LAST);
                }
            }
        }
        Ok(Fetched::All(self.folder.get(input)?))
    }

    /// Sends a result, from where an earlier attempt stopped, and says that it is there.
    async fn deliver(&mut self, lease: LeaseId, result: &[u8], is_over: &AtomicBool) -> Result<End, WorkError> {
        let (id, length) = (ArtefactId::of(result), result.len() as u64);
        let mut retry = RETRY_FIRST;
        for attempt in 1..=DELIVER_ATTEMPTS_MAX {
            if is_over.load(Ordering::Relaxed) {
                return Ok(End::Stopped);
            }
            match self.send(lease, id, length, result).await {
                Ok(Answer::Done) => return Ok(End::Delivered),
                Ok(Answer::Stop) => return Ok(End::Stopped),
                other => tracing::debug!(?lease, answer = ?other, "a result did not arrive: trying again"),
            }
            if self.must_leave() || (self.must_stop() && attempt >= DELIVER_ATTEMPTS_DRAINING_MAX) {
                return Ok(self.end_early(lease).await);
            }
            tokio::select! {
                () = sleep(retry) => {}
                _ = self.stop.changed() => {}
            }
            retry = (2 * retry).min(RETRY_LAST);
        }
        Ok(End::Failed("the coordinator does not take the result".to_owned()))
    }

    async fn send(&self, lease: LeaseId, id: ArtefactId, length: u64, result: &[u8]) -> Result<Answer, String> {
        let mut offset = match ask(&self.questions, Question::Offset(lease, id, length)).await? {
            Answer::Offset(offset) => offset,
            other => return Ok(other),
        };
        while offset < length {
            let end = length.min(offset + CHUNK_BYTES_MAX as u64);
            let chunk = result[offset as usize..end as usize].to_vec();
            match ask(&self.questions, Question::Chunk(lease, id, length, offset, chunk)).await? {
                Answer::Offset(next) if next > offset => offset = next,
                other => return Ok(other),
            }
        }
        ask(&self.questions, Question::Deliver(lease, id)).await
    }
}

/// What came of fetching an input.
enum Fetched {
    All(Vec<u8>),
    /// The lease is over, or the prover stops.
    Over,
    /// The coordinator does not give it out.
    Nothing,
}

/// Ends the work when the prover is told to leave.
async fn leave(mut stop: watch::Receiver<Stop>, is_over: Arc<AtomicBool>) {
    // An error is that nobody is left who could tell.
    let _: Result<_, _> = stop.wait_for(|stop| *stop == Stop::Leave).await;
    is_over.store(true, Ordering::Relaxed);
}

/// Says that the prover is at work until somebody says that the lease is over.
async fn beat(questions: mpsc::Sender<(Question, Reply)>, lease: LeaseId, heartbeat_ms: u32, is_over: Arc<AtomicBool>) {
    loop {
        sleep(Duration::from_millis(u64::from(heartbeat_ms).max(100))).await;
        if matches!(ask(&questions, Question::Beat(lease)).await, Ok(Answer::Stop)) {
            is_over.store(true, Ordering::Relaxed);
            return;
        }
    }
}
