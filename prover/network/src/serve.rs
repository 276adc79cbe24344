//! The coordinator on the network: the core, its log, its artefacts, and the connections of provers.
//!
//! One task owns everything, so that events have an order. Each event goes through the core, then to the log, then into actions; verification alone runs
//! elsewhere, because it takes the processor for a while.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures::StreamExt as _;
use libp2p::{
    Multiaddr, PeerId, Swarm,
    request_response::{self, ResponseChannel},
    swarm::SwarmEvent,
};
use thiserror::Error;
use tokio::{
    sync::{broadcast, mpsc},
    task::JoinHandle,
    time::Instant,
};

use crate::{
    admission::Admission,
    coordinator::{Coordinator, Queue, Refused, Rules},
    event::{Action, Entry, Event},
    handle::{Command, CoordinatorHandle, Happening, Notice, ServeError, What},
    keys::{self, Identity},
    log::EventLog,
    message::{Answer, Question, StandingReport},
    standing::Standing,
    store::{ArtefactFolder, StoreError},
    task::{ArtefactId, Lease, LeaseId, ProverId, Task},
    transport::{Behaviour, BehaviourEvent, prover_of, swarm},
    wire::Wire as _,
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
/// Happenings that a watcher may be behind.
const HAPPENINGS_MAX: usize = 1_024;
/// What a prover that holds as many leases as it may is told to wait.
const BUSY_MS: u32 = 500;
/// How long a peer that is refused keeps its connection, so that the reason reaches it; then its place is somebody else's.
const REFUSED_FOR: Duration = Duration::from_secs(5);
/// How often artefacts that nobody needs are looked for, and how old they are before they go: an input is put there a moment before its task is published.
const SWEEP: Duration = Duration::from_secs(300);
const SWEEP_AFTER: Duration = Duration::from_secs(600);

/// Tells true results from others. The engine's verifier is one.
pub trait Judge: Send + Sync + 'static {
    /// Whether `result` proves the task's statement.
    ///
    /// # Errors
    /// [`NotAccepted`], which says whose fault it is.
    fn judge(&self, task: &Task, result: &[u8]) -> Result<(), NotAccepted>;
}

/// Why a result is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotAccepted {
    /// It is no proof of the task's statement: the prover's fault.
    #[error("the result is wrong: {0}")]
    Wrong(String),
    /// It cannot be verified here, or is not here any more: this side's fault.
    #[error("the result cannot be verified: {0}")]
    Unable(String),
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
    /// Who may prove. Whoever is not on a list any more loses its leases as if it had fallen silent, and is still paid for what was accepted.
    pub admission: Admission,
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
    let (mut log, found) = EventLog::open(&options.folder.join("events"), || Coordinator::new(options.rules).encode())?;
    let mut core = Coordinator::decode(&found.snapshot).map_err(ServeError::Snapshot)?;
    for (position, entry) in found.entries.iter().enumerate() {
        // What was to be done then has been done, or is asked for again by the start below.
        core.apply(entry).map_err(|refused| ServeError::Replay { position, refused })?;
    }
    // Events were taken under the rules that held then; these hold from here on.
    core.set_rules(options.rules);
    log.replace(&core.encode())?;
    // Nobody sends anything yet: what is half-sent, or was never delivered, starts over.
    artefacts.sweep(&core.needed_artefacts(), Duration::ZERO)?;
    let latest_ms = core.latest_ms();
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
    let (happenings, _) = broadcast::channel(HAPPENINGS_MAX);
    let handle =
        CoordinatorHandle { commands, artefacts: artefacts.clone(), addresses, happenings: happenings.clone() };
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
        incoming: BTreeMap::new(),
        to_judge: VecDeque::new(),
        judging: 0,
        verdicts,
        happenings,
        swept: Instant::now(),
        demand: None,
        admission: options.admission,
        refused: HashMap::new(),
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
type Verdict = (LeaseId, ArtefactId, Result<(), NotAccepted>);

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
    /// The result that each lease is sending or has sent: one at a time, so that a lease is worth one result's room on the disk.
    incoming: BTreeMap<LeaseId, ArtefactId>,
    to_judge: VecDeque<(LeaseId, Task, ArtefactId)>,
    judging: usize,
    verdicts: mpsc::Sender<Verdict>,
    happenings: broadcast::Sender<Happening>,
    swept: Instant,
    /// What there was to do, and when that was looked up.
    demand: Option<(Instant, Vec<Queue>)>,
    admission: Admission,
    /// Peers that were refused, until when they stay connected. One that goes is forgotten, so there are no more of them than connections.
    refused: HashMap<PeerId, Instant>,
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
                        reply(answer, taken);
                    }
                    Some(Command::Status(answer)) => reply(answer, self.core.status()),
                    Some(Command::Tasks(answer)) => {
                        reply(answer, self.core.tasks().map(|(id, task)| (id, task.clone())).collect());
                    }
                    Some(Command::Owed(answer)) => reply(answer, self.core.ledger().unplanned().collect()),
                    Some(Command::Payouts(answer)) => {
                        let payouts = self.core.ledger().payouts();
                        reply(answer, payouts.map(|(id, payout)| (id, payout.clone())).collect());
                    }
                    Some(Command::Stop) | None => return Ok(()),
                },
                Some((lease, result, verdict)) = judged.recv() => {
                    self.judging -= 1;
                    let event = match &verdict {
                        Ok(()) => Event::Judged(lease, result, true),
                        Err(reason @ NotAccepted::Wrong(_)) => {
                            tracing::warn!(?lease, ?result, %reason, "a result is refused");
                            Event::Judged(lease, result, false)
                        }
                        Err(reason @ NotAccepted::Unable(_)) => {
                            tracing::error!(?lease, ?result, %reason, "the task is done again");
                            Event::Mislaid(lease, result)
                        }
                    };
                    // The lease may have ended meanwhile, because somebody else's result was first.
                    let _: Result<(), Refused> = self.event(event)?;
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

    /// The time, which never goes back, whatever the clock does.
    fn now_ms(&mut self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        self.latest_ms = self.latest_ms.max(now);
        self.latest_ms
    }

    /// An event through core, log and actions. The outer error is the disk's, and ends the coordinator.
    fn event(&mut self, event: Event) -> Result<Result<(), Refused>, ServeError> {
        let entry = Entry { now_ms: self.now_ms(), event };
        let happening = self.happening(&entry);
        let actions = match self.core.apply(&entry) {
            Ok(actions) => actions,
            Err(refused) => return Ok(Err(refused)),
        };
        // A tick that changes nothing is not worth a record.
        if entry.event != Event::Ticked || !actions.is_empty() {
            self.log.append(&entry)?;
        }
        if let Some(happening) = happening {
            // Nobody may be watching.
            let _: Result<usize, _> = self.happenings.send(happening);
        }
        for action in actions {
            self.act(action);
        }
        self.drop_undelivered()?;
        if self.log.is_long() {
            self.log.replace(&self.core.encode())?;
        }
        Ok(Ok(()))
    }

    /// What whoever watches is told of an event, if the core takes it.
    fn happening(&self, entry: &Entry) -> Option<Happening> {
        let (lease, what) = match &entry.event {
            Event::Signed(lease) => (lease, What::Leased),
            Event::Returned(lease) => (lease, What::Returned),
            Event::Failed(lease, _) => (lease, What::Failed),
            Event::Judged(lease, _, true) => (lease, What::Accepted),
            Event::Judged(lease, _, false) => (lease, What::Refused),
            _ => return None,
        };
        self.describe(*lease, what)
    }

    fn describe(&self, lease: LeaseId, what: What) -> Option<Happening> {
        let Lease { task, prover, payout, price, granted_ms, .. } = *self.core.lease(&lease)?;
        let (kind, milliseconds) = (self.core.task(&task)?.kind, self.latest_ms.saturating_sub(granted_ms));
        Some(Happening { task, kind, lease, prover, payout, price, milliseconds, what })
    }

    /// What leases that have ended had sent, and nobody needs.
    fn drop_undelivered(&mut self) -> Result<(), StoreError> {
        let core = &self.core;
        if self.incoming.keys().all(|lease| core.lease(lease).is_some()) {
            return Ok(());
        }
        let needed = core.needed_artefacts();
        let (kept, ended): (BTreeMap<_, _>, _) =
            std::mem::take(&mut self.incoming).into_iter().partition(|(lease, _)| core.lease(lease).is_some());
        self.incoming = kept;
        for result in ended.into_values() {
            if !needed.contains(&result) && !self.incoming.values().any(|other| *other == result) {
                self.artefacts.remove(&result)?;
            }
        }
        Ok(())
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
            Action::Lapsed(lease) => {
                if let Some(happening) = self.describe(lease, What::Lapsed) {
                    tracing::info!(?lease, prover = ?happening.prover, kind = %happening.kind, "a lease has lapsed");
                    let _: Result<usize, _> = self.happenings.send(happening);
                }
            }
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
        if self.swarm.behaviour_mut().messages.send_response(channel, answer).is_err() {
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
                let bytes = artefacts.get(&result).map_err(|error| NotAccepted::Unable(error.to_string()));
                // No bytes may stop the coordinator. What makes a verifier panic is no proof.
                let judged = |bytes: Vec<u8>| catch_unwind(AssertUnwindSafe(|| judge.judge(&task, &bytes)));
                let panicked = |_| Err(NotAccepted::Wrong("the verifier panicked at it".to_owned()));
                let verdict = bytes.and_then(|bytes| judged(bytes).unwrap_or_else(panicked));
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
        let refused = self.refused.extract_if(|_, until| now >= *until);
        for (peer, _) in refused.collect::<Vec<_>>() {
            // It may be gone already.
            let _: Result<(), ()> = self.swarm.disconnect_peer_id(peer);
        }
        let _: Result<(), Refused> = self.event(Event::Ticked)?;
        if now >= self.swept + SWEEP {
            self.swept = now;
            let mut needed = self.core.needed_artefacts();
            needed.extend(self.incoming.values());
            self.artefacts.sweep(&needed, SWEEP_AFTER)?;
        }
        Ok(())
    }

    fn network(&mut self, event: SwarmEvent<BehaviourEvent>) -> Result<(), ServeError> {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Messages(request_response::Event::Message {
                peer, message, ..
            })) => match message {
                request_response::Message::Request { request, channel, .. } => {
                    self.question(&peer, request, channel)?;
                }
                // This side asks nothing.
                request_response::Message::Response { .. } => {}
            },
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, .. } => {
                self.refused.remove(&peer_id);
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
        if !self.admission.admits(&prover) {
            tracing::debug!(%peer, "a prover that is not listed asks");
            self.refused.entry(*peer).or_insert_with(|| Instant::now() + REFUSED_FOR);
            let reason = format!(
                "this coordinator serves the provers on its list alone, and {peer} is not on it: ask its operator to add it"
            );
            self.answer(channel, Answer::No(reason));
            return Ok(());
        }
        if question == Question::Ask {
            // One question for work at a time: the older one is answered first.
            if let Some(older) = self.asking.remove(&prover) {
                self.answer(older.channel, Answer::Wait(WAIT_MS));
            }
            self.asking.insert(prover, Asking { channel, until: Instant::now() + POLL });
            if let Err(refused) = self.event(Event::Asked(prover))?
                && let Some(asking) = self.asking.remove(&prover)
            {
                let answer = match refused {
                    // It has delivered a moment ago, and the verdict is not here yet.
                    Refused::TooManyLeases { .. } => Answer::Wait(BUSY_MS),
                    refused => Answer::No(refused.to_string()),
                };
                self.answer(asking.channel, answer);
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
            Question::Join(_)
            | Question::Ask
            | Question::Fetch(..)
            | Question::Standing
            | Question::Time
            | Question::Demand => None,
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
            Question::Demand => return Ok(Answer::Demand(self.demand())),
            Question::Time => return Ok(Answer::Time(self.now_ms())),
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
        if self.incoming.get(&lease) == Some(&result) || self.artefacts.has(&result) {
            return Ok(());
        }
        let Some(before) = self.incoming.insert(lease, result) else { return Ok(()) };
        let is_needed =
            self.incoming.values().any(|other| *other == before) || self.core.needed_artefacts().contains(&before);
        if is_needed { Ok(()) } else { self.artefacts.remove(&before) }
    }

    /// What there is to do, looked up once a second, however many ask.
    fn demand(&mut self) -> Vec<Queue> {
        let now = Instant::now();
        let (_, queues) = match self.demand.take() {
            Some((looked, queues)) if now < looked + TICK => self.demand.insert((looked, queues)),
            _ => self.demand.insert((now, self.core.queues())),
        };
        queues.clone()
    }

    fn standing(&self, prover: &ProverId) -> Answer {
        let Some((standing, payout)) = self.core.standing(prover).zip(self.core.payout_of(prover)) else {
            return Answer::No(Refused::UnknownProver(*prover).to_string());
        };
        let [accepted, missed, failed, refused] = standing.counts();
        Answer::Standing(StandingReport {
            score: standing.score(),
            needed: Standing::needed(),
            suspended_until_ms: standing.suspended_until_ms(),
            accepted,
            missed,
            failed,
            refused,
            leases: self.core.leases_of(prover) as u64,
            payout,
            owed: self.core.owed(&payout),
        })
    }
}

/// Answers whoever asked, if it is still there.
fn reply<T>(answer: tokio::sync::oneshot::Sender<T>, value: T) {
    let _: Result<(), T> = answer.send(value);
}
