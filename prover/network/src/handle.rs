//! What a coordinator's owner says to it while it runs, and what it says back.

use joule_protocol::{Address, Amount};
use libp2p::Multiaddr;
use thiserror::Error;
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::{
    coordinator::{Refused, Status},
    event::{Alarm, Event, PayoutId},
    ledger::Payout,
    log::LogError,
    store::{ArtefactFolder, StoreError},
    task::{ArtefactId, LeaseId, ProverId, Task, TaskId, TaskKind},
    wire::WireError,
};

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

/// What became of a task, for whoever watches. Nothing depends on it: a slow watcher misses some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Happening {
    /// The task.
    pub task: TaskId,
    /// Its kind.
    pub kind: TaskKind,
    /// The lease.
    pub lease: LeaseId,
    /// Who holds it.
    pub prover: ProverId,
    /// Who is paid for it.
    pub payout: Address,
    /// What for.
    pub price: Amount,
    /// How long ago the lease was given, milliseconds.
    pub milliseconds: u64,
    /// What became of it.
    pub what: What,
}

/// What became of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A prover has taken it.
    Leased,
    /// Its prover gave it back.
    Returned,
    /// Its prover could not do it.
    Failed,
    /// Its prover fell silent or took too long.
    Lapsed,
    /// A result was verified, and counts.
    Accepted,
    /// A result was wrong.
    Refused,
}

/// Why a coordinator cannot run, or cannot do what it was told.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The state at the log's beginning.
    #[error("the state in the log cannot be read: {0}. The log is of another version")]
    Snapshot(WireError),
    /// The log does not fit the core.
    #[error("event {position} of the log is refused: {refused}. The log is of another version")]
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

/// What is asked of a running coordinator.
pub(crate) enum Command {
    Event(Box<Event>, oneshot::Sender<Result<(), Refused>>),
    Status(oneshot::Sender<Status>),
    Tasks(oneshot::Sender<Vec<(TaskId, Task)>>),
    Owed(oneshot::Sender<Vec<(Address, Amount)>>),
    Payouts(oneshot::Sender<Vec<(PayoutId, Payout)>>),
    Stop,
}

/// Speaks to a running coordinator.
#[derive(Clone, Debug)]
pub struct CoordinatorHandle {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) artefacts: ArtefactFolder,
    pub(crate) addresses: Vec<Multiaddr>,
    pub(crate) happenings: broadcast::Sender<Happening>,
}

impl CoordinatorHandle {
    /// Where provers reach it, each with its peer id.
    #[must_use]
    pub fn addresses(&self) -> &[Multiaddr] {
        &self.addresses
    }

    /// Inputs to be put there before their task is published, and results. What no task names and nobody collects is removed after some minutes.
    #[must_use]
    pub const fn artefacts(&self) -> &ArtefactFolder {
        &self.artefacts
    }

    /// What becomes of tasks from now on.
    #[must_use]
    pub fn watch(&self) -> broadcast::Receiver<Happening> {
        self.happenings.subscribe()
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, ServeError> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(command(answer)).await.map_err(|_| ServeError::Ended)?;
        answered.await.map_err(|_| ServeError::Ended)
    }

    async fn event(&self, event: Event) -> Result<(), ServeError> {
        Ok(self.ask(|answer| Command::Event(Box::new(event), answer)).await??)
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

    /// How things stand: tasks by kind, provers, and the sums that are owed and paid.
    ///
    /// # Errors
    /// [`ServeError::Ended`].
    pub async fn status(&self) -> Result<Status, ServeError> {
        self.ask(Command::Status).await
    }

    /// Tasks that are neither done nor withdrawn.
    ///
    /// # Errors
    /// [`ServeError::Ended`].
    pub async fn tasks(&self) -> Result<Vec<(TaskId, Task)>, ServeError> {
        self.ask(Command::Tasks).await
    }

    /// What is accepted and in no payout yet, by payee.
    ///
    /// # Errors
    /// [`ServeError::Ended`].
    pub async fn owed(&self) -> Result<Vec<(Address, Amount)>, ServeError> {
        self.ask(Command::Owed).await
    }

    /// Payouts that are planned or signed and in no block yet: what is left to do about paying, whatever notices were missed.
    ///
    /// # Errors
    /// [`ServeError::Ended`].
    pub async fn payouts(&self) -> Result<Vec<(PayoutId, Payout)>, ServeError> {
        self.ask(Command::Payouts).await
    }

    /// A transaction of somebody else has opened an L2 batch, so payouts may ride in it: everybody who is owed enough and has no payout under way gets one.
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

    /// A payout's transaction is in a block: its tasks are paid.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn payout_included(&self, payout: PayoutId) -> Result<(), ServeError> {
        self.event(Event::PayoutIncluded(payout)).await
    }

    /// Ends it. Nothing is lost: it goes on from its log.
    pub async fn stop(&self) {
        let _: Result<(), _> = self.commands.send(Command::Stop).await;
    }
}
