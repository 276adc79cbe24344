//! A prover on the network: connects, says what it can do, and takes one lease after the other.
//!
//! It beats while it works, fetches inputs and sends results chunk by chunk, and goes on where it stopped when the connection breaks. After failures in a row it claims no more,
//! so that a broken machine does not eat the network's tasks. Told to stop, it finishes what it has begun to prove and gives back what it has not.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::StreamExt as _;
use joule_protocol::Amount;
use libp2p::{
    Multiaddr, PeerId, Swarm,
    multiaddr::Protocol,
    request_response::{self, OutboundRequestId},
    swarm::SwarmEvent,
};
use thiserror::Error;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::sleep,
};

use crate::{
    keys::{self, Identity, KeyError},
    message::{Answer, Question},
    store::{ArtefactFolder, CHUNK_BYTES_MAX, StoreError},
    task::{ArtefactId, Capabilities, Lease, LeaseId, ProverId, Signed, Task},
    transport::{Behaviour, BehaviourEvent, prover_of, swarm},
};

/// Between attempts to reach the coordinator, doubled up to the next.
const RETRY_FIRST: Duration = Duration::from_millis(250);
const RETRY_LAST: Duration = Duration::from_secs(30);
/// Attempts to send a result before it is given up: half an hour of a coordinator that is away.
const DELIVER_ATTEMPTS_MAX: u32 = 64;
/// Questions that wait for the connection.
const QUESTIONS_MAX: usize = 32;
/// The longest that a coordinator may make a prover wait for its next question.
const WAIT_MS_MAX: u32 = 60_000;

/// Does tasks. The engine is one.
pub trait Labour: Send + Sync + 'static {
    /// Proves the task from its inputs, which takes seconds to minutes.
    ///
    /// # Errors
    /// [`LabourError`].
    fn prove(&self, task: &Task, inputs: &[Vec<u8>]) -> Result<Vec<u8>, LabourError>;
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
    /// Where inputs and results are.
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

/// Works until `stop` turns true.
///
/// # Errors
/// [`WorkError`].
pub async fn work(
    options: WorkOptions,
    labour: Arc<dyn Labour>,
    stop: watch::Receiver<bool>,
) -> Result<WorkSummary, WorkError> {
    let peer = options.coordinator.iter().find_map(|part| match part {
        Protocol::P2p(peer) => Some(peer),
        _ => None,
    });
    let peer = peer.ok_or_else(|| WorkError::NoPeer(options.coordinator.clone()))?;
    let coordinator = prover_of(&peer).ok_or_else(|| WorkError::NoPeer(options.coordinator.clone()))?;
    let swarm = swarm(&options.identity).map_err(WorkError::Network)?;
    let (questions, inbox) = mpsc::channel(QUESTIONS_MAX);
    let connection = tokio::spawn(connect(swarm, peer, options.coordinator.clone(), inbox));
    let worker = Worker {
        folder: ArtefactFolder::open(&options.folder)?,
        options,
        coordinator,
        labour,
        questions,
        stop,
        summary: WorkSummary::default(),
        failures: 0,
    };
    let done = worker.run().await;
    connection.abort();
    done
}

type Reply = oneshot::Sender<Result<Answer, String>>;

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
    stop: watch::Receiver<bool>,
    summary: WorkSummary,
    failures: u32,
}

async fn ask(questions: &mpsc::Sender<(Question, Reply)>, question: Question) -> Result<Answer, String> {
    let (reply, answer) = oneshot::channel();
    questions.send((question, reply)).await.map_err(|_| "the connection has ended".to_owned())?;
    answer.await.map_err(|_| "the connection has ended".to_owned())?
}

impl Worker {
    /// Told to, or nobody is left who could tell.
    fn must_stop(&self) -> bool {
        *self.stop.borrow() || self.stop.has_changed().is_err()
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
                Ok(Answer::Done) => has_joined = true,
                Ok(Answer::Wait(milliseconds)) => {
                    self.pause(Duration::from_millis(milliseconds.min(WAIT_MS_MAX).into())).await;
                }
                Ok(Answer::Offer(offer)) => {
                    let (lease, signed, task) = *offer;
                    self.take(&lease, &signed, task).await?;
                }
                other => {
                    tracing::info!(answer = ?other, "no work: asking again later");
                    has_joined = false;
                    self.pause(retry).await;
                    retry = (2 * retry).min(RETRY_LAST);
                    continue;
                }
            }
            retry = RETRY_FIRST;
        }
        Ok(self.summary)
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
        match ask(&self.questions, Question::Sign(id, mine)).await {
            Ok(Answer::Done) => {}
            other => {
                tracing::info!(?id, answer = ?other, "the lease did not come about");
                return Ok(());
            }
        }
        tracing::info!(?id, kind = %task.kind, price = %task.price, "a lease");
        let is_over = Arc::new(AtomicBool::new(false));
        let beats = tokio::spawn(beat(self.questions.clone(), id, lease.heartbeat_ms, is_over.clone()));
        let end = self.labour(id, &task, &is_over).await;
        beats.abort();
        match end? {
            End::Delivered => {
                self.summary.delivered += 1;
                self.summary.price += task.price;
                self.failures = 0;
            }
            End::Stopped => self.summary.stopped += 1,
            End::Returned => {}
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

    async fn labour(&mut self, lease: LeaseId, task: &Task, is_over: &AtomicBool) -> Result<End, WorkError> {
        let mut inputs = Vec::with_capacity(task.inputs.len());
        for (input, length) in task.inputs.iter().zip(&task.input_bytes) {
            match self.fetch(input, *length, is_over).await? {
                Some(bytes) => inputs.push(bytes),
                None if self.must_stop() => {
                    let _: Result<Answer, String> = ask(&self.questions, Question::Return(lease)).await;
                    return Ok(End::Returned);
                }
                None => return Ok(End::Stopped),
            }
        }
        let (labour, owned) = (self.labour.clone(), task.clone());
        let proved = tokio::task::spawn_blocking(move || labour.prove(&owned, &inputs)).await;
        let failed = match proved {
            Ok(Ok(result)) => return self.deliver(lease, &result, is_over).await,
            Ok(Err(error)) => error,
            Err(panic) => LabourError::Machine(panic.to_string()),
        };
        let blames_input = matches!(failed, LabourError::Input(_));
        let _: Result<Answer, String> = ask(&self.questions, Question::Fail(lease, blames_input)).await;
        Ok(End::Failed(failed.to_string()))
    }

    /// An input, fetched from where an earlier attempt stopped; `None` if the lease is over or the prover stops before it is here.
    async fn fetch(
        &mut self,
        input: &ArtefactId,
        length: u64,
        is_over: &AtomicBool,
    ) -> Result<Option<Vec<u8>>, WorkError> {
        let mut retry = RETRY_FIRST;
        while !self.folder.has(input) {
            if is_over.load(Ordering::Relaxed) || self.must_stop() {
                return Ok(None);
            }
            let offset = self.folder.received(input);
            let answer = ask(&self.questions, Question::Fetch(*input, offset)).await;
            let taken = match answer {
                Ok(Answer::Chunk(chunk)) => self.folder.take_chunk(input, length, offset, &chunk).map_err(Some),
                _ => Err(None),
            };
            match taken {
                Ok(_) => retry = RETRY_FIRST,
                Err(Some(error @ StoreError::Access { .. })) => return Err(error.into()),
                Err(error) => {
                    tracing::debug!(?input, ?error, "a part of an input did not come: asking again");
                    self.pause(retry).await;
                    retry = (2 * retry).min(RETRY_LAST);
                }
            }
        }
        Ok(Some(self.folder.get(input)?))
    }

    /// Sends a result, from where an earlier attempt stopped, and says that it is there.
    async fn deliver(&mut self, lease: LeaseId, result: &[u8], is_over: &AtomicBool) -> Result<End, WorkError> {
        let (id, length) = (ArtefactId::of(result), result.len() as u64);
        let mut retry = RETRY_FIRST;
        for _ in 0..DELIVER_ATTEMPTS_MAX {
            if is_over.load(Ordering::Relaxed) {
                return Ok(End::Stopped);
            }
            match self.send(lease, id, length, result).await {
                Ok(Answer::Done) => return Ok(End::Delivered),
                Ok(Answer::Stop) => return Ok(End::Stopped),
                other => tracing::debug!(?lease, answer = ?other, "a result did not arrive: trying again"),
            }
            sleep(retry).await;
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
