//! The coordinator on the network: the core, its log, its artefacts, and the connections of provers.
//!
//! One task owns everything, so that events have an order. Each event goes through the core, then to the log, then into actions; verification alone runs
//! elsewhere, because it takes the processor for a while.

use std::{
    collections::{HashMap, VecDeque},
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures::StreamExt as _;
use joule_protocol::{Address, Amount};
use libp2p::{
    Multiaddr, PeerId, Swarm,
    request_response::{self, ResponseChannel},
    swarm::SwarmEvent,
};
use thiserror::Error;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::Instant,
};

use crate::{
    coordinator::{Coordinator, Refused, Rules},
    event::{Action, Alarm, Entry, Event, PayoutId},
    keys::{self, Identity},
    log::{EventLog, LogError},
    message::{Answer, Question},
    standing::Standing,
    store::{ArtefactFolder, StoreError},
    task::{ArtefactId, LeaseId, ProverId, Task, TaskId},
    transport::{Behaviour, prover_of, swarm},
};

/// How long a question for work waits for some before it is answered with "wait".
const POLL: Duration = Duration::from_secs(20);
/// What a prover is told to wait then: its next question follows at once, for it has waited already.
const WAIT_MS: u32 = 100;
/// How often time is looked at.
const TICK: Duration = Duration::from_secs(1);
/// Bytes of a result: ten times the largest proof.
const RESULT_BYTES_MAX: u64 = 8 << 20;
/// Commands that wait for the coordinator.
const COMMANDS_MAX: usize = 256;
/// Results that are verified at once: verification is short, and provers wait for it.
const VERDICTS_MAX: usize = 4;

/// Tells true results from others. The engine's verifier is one.
pub trait Judge: Send + Sync + 'static {
    /// Whether `result` proves the task's statement.
    ///
    /// # Errors
    /// Why not, in words for the prover.
    fn judge(&self, task: &Task, result: &[u8]) -> Result<(), String>;
}

/// What the coordinator's owner has to know or do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The task's result is in the folder. Take it over, then say [`CoordinatorHandle::collected`].
    Done(TaskId, ArtefactId),
    /// Sign a plain transfer and say [`CoordinatorHandle::payout_signed`]. Do not send it yet.
    SignPayout(PayoutId, Address, Amount),
    /// Send this transaction, again if need be, and say [`CoordinatorHandle::payout_included`] when it is in a block.
    SendPayout(PayoutId, Vec<u8>),
    /// Somebody should look at this task.
    Alarm(TaskId, Alarm),
}

/// Why a coordinator cannot run, or cannot do what it was told.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The log does not fit the core.
    #[error("event {position} of the log is refused: {refused}. The log is of another version, or of other rules")]
    Replay {
        /// Its place.
        position: usize,
        /// Why.
        refused: Refused,
    },
    /// The artefacts.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The network.
    #[error("the network: {0}")]
    Network(String),
    /// The core refuses it.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The coordinator has ended.
    #[error("the coordinator has ended")]
    Ended,
}

/// What a coordinator needs.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Its keys.
    pub identity: Identity,
    /// Where it listens.
    pub listen: Vec<Multiaddr>,
    /// Where log and artefacts are.
    pub folder: PathBuf,
    /// The rules.
    pub rules: Rules,
}

enum Command {
    Event(Box<Event>, oneshot::Sender<Result<(), Refused>>),
    Status(oneshot::Sender<Status>),
    Stop,
}

/// How things stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Tasks that are not done.
    pub open_tasks: usize,
    /// Of each kind, those that nobody works on: segments, merges, wraps.
    pub waiting_tasks: [usize; 3],
    /// Everything owed.
    pub owed: Amount,
    /// Everything paid.
    pub paid: Amount,
}

/// Speaks to a running coordinator.
#[derive(Clone, Debug)]
pub struct CoordinatorHandle {
    commands: mpsc::Sender<Command>,
    artefacts: ArtefactFolder,
    addresses: Vec<Multiaddr>,
}

impl CoordinatorHandle {
    /// Where provers reach it, each with its peer id.
    #[must_use]
    pub fn addresses(&self) -> &[Multiaddr] {
        &self.addresses
    }

    /// Inputs to be put there before their task is published, and results.
    #[must_use]
    pub const fn artefacts(&self) -> &ArtefactFolder {
        &self.artefacts
    }

    async fn event(&self, event: Event) -> Result<(), ServeError> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(Command::Event(Box::new(event), answer)).await.map_err(|_| ServeError::Ended)?;
        Ok(answered.await.map_err(|_| ServeError::Ended)??)
    }

    /// Wants a task done. Its inputs are in [`Self::artefacts`]. Publishing it again asks for its result again, if that is there.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn publish(&self, task: Task) -> Result<(), ServeError> {
        for (input, bytes) in task.inputs.iter().zip(&task.input_bytes) {
            if self.artefacts.length(input) != Some(*bytes) {
                return Err(StoreError::Missing(*input).into());
            }
        }
        self.event(Event::Published(task)).await
    }

    /// Does not want a task any more.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn withdraw(&self, task: TaskId) -> Result<(), ServeError> {
        self.event(Event::Withdrawn(task)).await
    }

    /// Has a task's result, durably.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn collected(&self, task: TaskId) -> Result<(), ServeError> {
        self.event(Event::Collected(task)).await
    }

    /// A transaction of somebody else has opened an L2 batch, so payouts may ride in it.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn open_payouts(&self) -> Result<(), ServeError> {
        self.event(Event::PayoutsOpened).await
    }

    /// A payout's transaction is signed; it is written down, and then [`Notice::SendPayout`] asks to send it.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn payout_signed(&self, payout: PayoutId, nonce: u64, transaction: Vec<u8>) -> Result<(), ServeError> {
        self.event(Event::PayoutSigned(payout, nonce, transaction)).await
    }

    /// A payout's transaction is in a block.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn payout_included(&self, payout: PayoutId) -> Result<(), ServeError> {
        self.event(Event::PayoutIncluded(payout)).await
    }

    /// How things stand.
    ///
    /// # Errors
    /// [`ServeError::Ended`].
    pub async fn status(&self) -> Result<Status, ServeError> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(Command::Status(answer)).await.map_err(|_| ServeError::Ended)?;
        answered.await.map_err(|_| ServeError::Ended)
    }

    /// Ends it. Nothing is lost: it goes on from its log.
    pub async fn stop(&self) {
        let _: Result<(), _> = self.commands.send(Command::Stop).await;
    }
}

/// Starts a coordinator. `notices` takes what its owner has to do; the returned task ends when it is stopped or its disk fails.
///
/// # Errors
/// [`ServeError`].
pub async fn serve(
    options: ServeOptions,
    judge: Arc<dyn Judge>,
    notices: mpsc::Sender<Notice>,
) -> Result<(CoordinatorHandle, JoinHandle<Result<(), ServeError>>), ServeError> {
    let artefacts = ArtefactFolder::open(&options.folder.join("artefacts"))?;
    let (log, entries) = EventLog::open(&options.folder.join("events"))?;
    let mut core = Coordinator::new(options.rules);
    for (position, entry) in entries.iter().enumerate() {
        // What was to be done then has been done, or is asked for again by the start below.
        core.apply(entry).map_err(|refused| ServeError::Replay { position, refused })?;
    }
    let latest_ms = entries.last().map_or(0, |entry| entry.now_ms);
    let mut swarm = swarm(&options.identity).map_err(ServeError::Network)?;
    for address in &options.listen {
        swarm.listen_on(address.clone()).map_err(|error| ServeError::Network(error.to_string()))?;
    }
    let mut addresses = Vec::new();
    while addresses.len() < options.listen.len() {
        match swarm.select_next_some().await {
            SwarmEvent::NewListenAddr { address, .. } => {
                let peer = *swarm.local_peer_id();
                addresses.push(address.with_p2p(peer).unwrap_or_else(|address| address));
            }
            SwarmEvent::ListenerClosed { reason: Err(error), .. } => {
                return Err(ServeError::Network(error.to_string()));
            }
            _ => {}
        }
    }
    let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
    let (verdicts, judged) = mpsc::channel(VERDICTS_MAX);
    let handle = CoordinatorHandle { commands, artefacts: artefacts.clone(), addresses };
    let mut server = Server {
        identity: options.identity,
        core,
        log,
        artefacts,
        swarm,
        judge,
        latest_ms,
        asking: HashMap::new(),
        notices: VecDeque::new(),
        incoming: HashMap::new(),
        to_judge: VecDeque::new(),
        judging: 0,
        verdicts,
    };
    let running = tokio::spawn(async move { server.run(inbox, judged, notices).await });
    Ok((handle, running))
}

/// A question for work that has no answer yet.
struct Asking {
    channel: ResponseChannel<Answer>,
    until: Instant,
}

/// A verdict on a result.
type Verdict = (LeaseId, ArtefactId, Result<(), String>);

struct Server {
    identity: Identity,
    core: Coordinator,
    log: EventLog,
    artefacts: ArtefactFolder,
    swarm: Swarm<Behaviour>,
    judge: Arc<dyn Judge>,
    latest_ms: u64,
    asking: HashMap<ProverId, Asking>,
    notices: VecDeque<Notice>,
    /// The result that each lease is sending: one at a time, so that a lease is worth one result's room on the disk.
    incoming: HashMap<LeaseId, ArtefactId>,
    to_judge: VecDeque<(LeaseId, Task, ArtefactId)>,
    judging: usize,
    verdicts: mpsc::Sender<Verdict>,
}

impl Server {
    async fn run(
        &mut self,
        mut inbox: mpsc::Receiver<Command>,
        mut judged: mpsc::Receiver<Verdict>,
        notices: mpsc::Sender<Notice>,
    ) -> Result<(), ServeError> {
        self.event(Event::Started)??;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = self.swarm.select_next_some() => self.network(event)?,
                command = inbox.recv() => match command {
                    Some(Command::Event(event, answer)) => {
                        let taken = self.event(*event)?;
                        let _: Result<(), _> = answer.send(taken);
                    }
                    Some(Command::Status(answer)) => {
                        let _: Result<(), _> = answer.send(self.status());
                    }
                    Some(Command::Stop) | None => return Ok(()),
                },
                Some((lease, result, verdict)) = judged.recv() => {
                    self.judging -= 1;
                    if let Err(reason) = &verdict {
                        tracing::warn!(?lease, ?result, reason, "a result is refused");
                    }
                    // The lease may have ended meanwhile, because somebody else's result was first.
                    let _: Result<(), Refused> = self.event(Event::Judged(lease, result, verdict.is_ok()))?;
                }
                permit = notices.reserve(), if !self.notices.is_empty() => match permit {
                    Ok(permit) => permit.send(self.notices.pop_front().expect("there is one")),
                    Err(_) => return Ok(()),
                },
                _ = tick.tick() => self.tick()?,
            }
            self.judge_next();
        }
    }

    fn status(&self) -> Status {
        let mut waiting_tasks = [0; 3];
        self.core.waiting_tasks().for_each(|task| waiting_tasks[task.kind as usize] += 1);
        let ledger = self.core.ledger();
        Status {
            open_tasks: self.core.open_tasks(),
            waiting_tasks,
            owed: ledger.owed_total(),
            paid: ledger.paid_total(),
        }
    }

    /// The time, which never goes back, whatever the clock does.
    fn now_ms(&mut self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        self.latest_ms = self.latest_ms.max(now);
        self.latest_ms
    }

    /// An event through core, log and actions. The outer error is the disk's, and ends the coordinator.
    fn event(&mut self, event: Event) -> Result<Result<(), Refused>, ServeError> {
        let entry = Entry { now_ms: self.now_ms(), event };
        let actions = match self.core.apply(&entry) {
            Ok(actions) => actions,
            Err(refused) => return Ok(Err(refused)),
        };
        // A tick that changes nothing is not worth a record.
        if entry.event != Event::Ticked || !actions.is_empty() {
            self.log.append(&entry)?;
        }
        for action in actions {
            self.act(action);
        }
        Ok(Ok(()))
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Offer(lease, task) => {
                let Some(asking) = self.asking.remove(&lease.prover) else { return };
                // An offer that cannot be signed or sent lapses by itself.
                match self.identity.sign(&lease) {
                    Ok(signed) => self.answer(asking.channel, Answer::Offer(Box::new((*lease, signed, *task)))),
                    Err(error) => tracing::error!(%error, "a lease cannot be signed"),
                }
            }
            // The prover hears of it with its next beat.
            Action::Stop(prover, lease) => tracing::debug!(?prover, ?lease, "a lease is over"),
            Action::Verify(lease, task, result) => self.to_judge.push_back((lease, *task, result)),
            Action::Done(task, result) => self.notices.push_back(Notice::Done(task, result)),
            Action::SignPayout(payout, to, amount) => {
                self.notices.push_back(Notice::SignPayout(payout, to, amount));
            }
            Action::SendPayout(payout, transaction) => {
                self.notices.push_back(Notice::SendPayout(payout, transaction));
            }
            Action::Alarm(task, alarm) => {
                tracing::warn!(?task, ?alarm, "somebody should look at a task");
                self.notices.push_back(Notice::Alarm(task, alarm));
            }
        }
    }

    fn answer(&mut self, channel: ResponseChannel<Answer>, answer: Answer) {
        if self.swarm.behaviour_mut().send_response(channel, answer).is_err() {
            tracing::debug!("whoever asked has gone");
        }
    }

    /// Starts verifications, a few at a time.
    fn judge_next(&mut self) {
        while self.judging < VERDICTS_MAX {
            let Some((lease, task, result)) = self.to_judge.pop_front() else { return };
            self.judging += 1;
            let (judge, artefacts, verdicts) = (self.judge.clone(), self.artefacts.clone(), self.verdicts.clone());
            tokio::task::spawn_blocking(move || {
                let bytes = artefacts.get(&result).map_err(|error| error.to_string());
                let verdict = bytes.and_then(|bytes| judge.judge(&task, &bytes));
                if verdict.is_err() {
                    let _: Result<(), StoreError> = artefacts.remove(&result);
                }
                // The coordinator takes verdicts as long as it lives.
                let _: Result<(), _> = verdicts.blocking_send((lease, result, verdict));
            });
        }
    }

    fn tick(&mut self) -> Result<(), ServeError> {
        let now = Instant::now();
        let tired: Vec<ProverId> =
            self.asking.iter().filter(|(_, asking)| now >= asking.until).map(|(prover, _)| *prover).collect();
        for prover in tired {
            let _: Result<(), Refused> = self.event(Event::Left(prover))?;
            if let Some(asking) = self.asking.remove(&prover) {
                self.answer(asking.channel, Answer::Wait(WAIT_MS));
            }
        }
        let _: Result<(), Refused> = self.event(Event::Ticked)?;
        Ok(())
    }

    fn network(&mut self, event: SwarmEvent<request_response::Event<Question, Answer>>) -> Result<(), ServeError> {
        match event {
            SwarmEvent::Behaviour(request_response::Event::Message { peer, message, .. }) => match message {
                request_response::Message::Request { request, channel, .. } => {
                    self.question(&peer, request, channel)?;
                }
                // This side asks nothing.
                request_response::Message::Response { .. } => {}
            },
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, .. } => {
                if let Some(prover) = prover_of(&peer_id) {
                    self.asking.remove(&prover);
                    let _: Result<(), Refused> = self.event(Event::Left(prover))?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn question(
        &mut self,
        peer: &PeerId,
        question: Question,
        channel: ResponseChannel<Answer>,
    ) -> Result<(), ServeError> {
        let Some(prover) = prover_of(peer) else {
            self.answer(channel, Answer::No("only ed25519 identities prove".to_owned()));
            return Ok(());
        };
        if question == Question::Ask {
            // One question for work at a time: the older one is answered first.
            if let Some(older) = self.asking.remove(&prover) {
                self.answer(older.channel, Answer::Wait(WAIT_MS));
            }
            self.asking.insert(prover, Asking { channel, until: Instant::now() + POLL });
            if let Err(refused) = self.event(Event::Asked(prover))?
                && let Some(asking) = self.asking.remove(&prover)
            {
                self.answer(asking.channel, Answer::No(refused.to_string()));
            }
            return Ok(());
        }
        let answer = self.answer_to(prover, question)?;
        self.answer(channel, answer);
        Ok(())
    }

    fn answer_to(&mut self, prover: ProverId, question: Question) -> Result<Answer, ServeError> {
        // Nobody speaks for another's lease. A lease that is not there is over.
        let lease = match &question {
            Question::Sign(lease, _)
            | Question::Beat(lease)
            | Question::Return(lease)
            | Question::Fail(lease, _)
            | Question::Offset(lease, ..)
            | Question::Chunk(lease, ..)
            | Question::Deliver(lease, _) => Some(*lease),
            Question::Join(_) | Question::Ask | Question::Fetch(..) | Question::Standing => None,
        };
        if lease.is_some_and(|lease| self.core.holder(&lease) != Some(prover)) {
            return Ok(Answer::Stop);
        }
        let event = match question {
            Question::Join(capabilities) => Event::Joined(prover, capabilities),
            Question::Sign(lease, signed) => {
                let terms = *self.core.lease(&lease).expect("its holder was found");
                if let Err(error) = keys::check(&terms, &signed, &prover) {
                    return Ok(Answer::No(error.to_string()));
                }
                Event::Signed(lease)
            }
            Question::Beat(lease) => Event::Beaten(lease),
            Question::Return(lease) => Event::Returned(lease),
            Question::Fail(lease, blames_input) => Event::Failed(lease, blames_input),
            Question::Deliver(lease, result) => {
                if !self.artefacts.has(&result) {
                    return Ok(Answer::No(StoreError::Missing(result).to_string()));
                }
                Event::Delivered(lease, result)
            }
            Question::Fetch(artefact, offset) => {
                return Ok(match self.artefacts.chunk(&artefact, offset) {
                    Ok(chunk) => Answer::Chunk(chunk),
                    Err(error) => Answer::No(error.to_string()),
                });
            }
            Question::Offset(_, result, _) => return Ok(Answer::Offset(self.artefacts.received(&result))),
            Question::Chunk(lease, result, length, offset, bytes) => {
                if length > RESULT_BYTES_MAX {
                    return Ok(Answer::No(format!(
                        "a result of {length} bytes, and at most {RESULT_BYTES_MAX} are taken"
                    )));
                }
                self.receive(lease, result)?;
                return Ok(match self.artefacts.take_chunk(&result, length, offset, &bytes) {
                    Ok(received) => Answer::Offset(received),
                    Err(error) => Answer::No(error.to_string()),
                });
            }
            Question::Standing => return Ok(self.standing(&prover)),
            Question::Ask => return Ok(Answer::Wait(WAIT_MS)),
        };
        Ok(match self.event(event)? {
            Ok(()) => Answer::Done,
            Err(Refused::UnknownLease(_)) => Answer::Stop,
            Err(refused) => Answer::No(refused.to_string()),
        })
    }

    /// Notes which result a lease sends. What it sent of another one is dropped.
    fn receive(&mut self, lease: LeaseId, result: ArtefactId) -> Result<(), StoreError> {
        let core = &self.core;
        self.incoming.retain(|lease, _| core.lease(lease).is_some());
        match self.incoming.insert(lease, result) {
            Some(before) if before != result && !self.artefacts.has(&before) => self.artefacts.remove(&before),
            _ => Ok(()),
        }
    }

    fn standing(&self, prover: &ProverId) -> Answer {
        let Some((standing, payout)) = self.core.standing(prover).zip(self.core.payout_of(prover)) else {
            return Answer::No(Refused::UnknownProver(*prover).to_string());
        };
        let owed = self.core.owed(&payout);
        Answer::Standing(standing.score(), Standing::needed(), standing.suspended_until_ms(), owed)
    }
}
