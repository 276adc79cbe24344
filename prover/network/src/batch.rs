//! A batch proved by the provers of a coordinator: segments are published at once, each merge when its two children are there, the wrap at the end.
//!
//! What was offered and what was accepted is kept in the batch's [`ArtefactStore`], under the names that [`Engine::prove_batch`](joule_prover_engine::Engine::prove_batch)
//! uses: a batch that was begun here can be finished on one machine, and the other way round. After a crash nothing that was accepted is proven again: what the store has
//! is taken from there, and what was accepted meanwhile is in the coordinator's log, which answers a task that is published again with its result.

use std::{
    collections::HashMap,
    fmt, fs,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{FutureExt as _, future::BoxFuture, future::try_join_all};
use joule_machine::{Abort, Image, Limits, Outcome, record};
use joule_protocol::{Amount, Digest, Hash, PublicValues};
use joule_prover_engine::{
    ArtefactError, ArtefactStore, BatchProof, CircuitVerifier, SegmentInput, Verifier, WireError, encode_input,
};
use joule_tables::{rows::RowCounts, shape::Shape, table::TableName};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use crate::{
    coordinator::Refused,
    handle::{CoordinatorHandle, Notice, ServeError},
    store::{ArtefactFolder, StoreError},
    task::{ArtefactId, CircuitsId, Task, TaskId, TaskKind},
    wire::Wire as _,
};

/// What the tasks of a batch are worth, and by when they should be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// When the batch should be proven, in Unix milliseconds. It must follow from the batch and not from the clock, so that it is the same after a restart.
    pub deadline_ms: u64,
    /// What each kind of task pays, in the base token's smallest unit.
    pub prices: Prices,
}

/// What each kind of task pays, in the base token's smallest unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prices {
    /// A segment in the smallest shape; each shape above it pays twice as much as the one below.
    pub segment: Amount,
    /// A merge.
    pub merge: Amount,
    /// A wrap.
    pub wrap: Amount,
}

impl Prices {
    fn of(&self, kind: TaskKind, shape: u8) -> Amount {
        match kind {
            TaskKind::Segment => self.segment << shape.min(8),
            TaskKind::Merge => self.merge,
            TaskKind::Wrap => self.wrap,
        }
    }
}

/// A segment as it is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedSegment {
    /// Its input, encoded.
    pub input: Vec<u8>,
    /// The place of its shape among the program's shapes.
    pub shape: u8,
    /// What its proof will say.
    pub statement: PublicValues,
}

/// Why a segment cannot be published. A batch that was cut by [`joule_prover_engine::Cutter`] meets none of these.
#[derive(Debug, Error)]
pub enum PlanError {
    /// The program cannot be run on it.
    #[error("running segment {position}: {source}")]
    Run {
        /// Its place.
        position: usize,
        /// Why.
        source: Abort,
    },
    /// The program makes no statement about it.
    #[error("segment {position} has no proof: the program ends with exit code {exit_code}")]
    NoStatement {
        /// Its place.
        position: usize,
        /// Exit code.
        exit_code: u32,
    },
    /// It is too large.
    #[error("segment {position} fits no shape: cut the batch into smaller ones")]
    TooLarge {
        /// Its place.
        position: usize,
    },
}

/// Runs each segment of a batch once, and says what is to be published.
///
/// # Errors
/// [`PlanError`].
pub fn plan(
    image: &Image,
    program: Digest,
    shapes: &[Shape],
    inputs: &[SegmentInput],
) -> Result<Vec<PlannedSegment>, PlanError> {
    let planned = inputs.iter().enumerate().map(|(position, input)| {
        let (outcome, records) =
            record(image, input, Limits::default()).map_err(|source| PlanError::Run { position, source })?;
        let Outcome { exit_code: 0, committed: Some(words), .. } = outcome else {
            return Err(PlanError::NoStatement { position, exit_code: outcome.exit_code });
        };
        let rows = RowCounts::of(image, &records);
        let fits = |shape: &Shape| TableName::ALL.iter().all(|&table| rows.of_table(table) <= shape.height(table));
        let shape = shapes.iter().position(fits).ok_or(PlanError::TooLarge { position })?;
        let hash = |from: usize| Hash::from_words(words[from..from + 8].try_into().expect("eight words"));
        let chain_id = u64::from(words[1]) << 32 | u64::from(words[0]);
        let statement = PublicValues { program, chain_id, from: hash(2), to: hash(10) };
        Ok(PlannedSegment { input: encode_input(input), shape: shape as u8, statement })
    });
    planned.collect()
}

/// Why a batch is not proven.
#[derive(Debug, Error)]
pub enum BatchError {
    /// A batch of nothing.
    #[error("a batch has at least one segment")]
    NoSegments,
    /// Segments in the wrong order, or of different chains.
    #[error("segment {position} does not start where the one before it ends")]
    NotNeighbours {
        /// The later of the two.
        position: usize,
    },
    /// Wraps could not be verified.
    #[error("the verifier has no key of wraps: `joule-prover setup` makes one")]
    NoWrapKey,
    /// A result that the coordinator accepted, and this does not.
    #[error("the result of {step} is not what was accepted: {reason}")]
    OtherResult {
        /// The step.
        step: String,
        /// Why.
        reason: String,
    },
    /// The coordinator.
    #[error(transparent)]
    Coordinator(#[from] ServeError),
    /// Its artefacts.
    #[error(transparent)]
    Artefacts(#[from] StoreError),
    /// What is kept of the batch.
    #[error(transparent)]
    Kept(#[from] ArtefactError),
    /// A thread of ours.
    #[error("reading or writing an artefact: {0}")]
    Thread(#[from] tokio::task::JoinError),
}

type Waiting = Arc<Mutex<HashMap<TaskId, Vec<oneshot::Sender<ArtefactId>>>>>;

/// Proves batches with a coordinator's provers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct NetworkProver {
    exchange: Exchange,
    verifier: Arc<CircuitVerifier>,
}

/// A coordinator, and what is waited for from it.
#[derive(Clone)]
struct Exchange {
    coordinator: CoordinatorHandle,
    circuits: CircuitsId,
    verifier: Arc<dyn Verifier>,
    waiting: Waiting,
}

impl fmt::Debug for Exchange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Exchange").field("coordinator", &self.coordinator).finish_non_exhaustive()
    }
}

impl NetworkProver {
    /// Proves with this coordinator, whose results are taken from `notices`. What they say about payouts is left to [`CoordinatorHandle::payouts`], which says the same.
    ///
    /// # Errors
    /// [`BatchError::NoWrapKey`].
    pub fn new(
        coordinator: CoordinatorHandle,
        verifier: CircuitVerifier,
        notices: mpsc::Receiver<Notice>,
    ) -> Result<Self, BatchError> {
        if verifier.wrap_key().is_none() {
            return Err(BatchError::NoWrapKey);
        }
        let verifier = Arc::new(verifier);
        let exchange = Exchange::new(coordinator, verifier.circuits().into(), verifier.clone(), notices);
        Ok(Self { exchange, verifier })
    }

    /// The coordinator.
    #[must_use]
    pub const fn coordinator(&self) -> &CoordinatorHandle {
        &self.exchange.coordinator
    }

    /// What verifies.
    #[must_use]
    pub fn verifier(&self) -> &CircuitVerifier {
        &self.verifier
    }

    /// Has a batch proved up to the wrap. Ends when the proof is there; dropped, it leaves its tasks to be done, for whoever asks for the batch again.
    ///
    /// # Errors
    /// [`BatchError`].
    pub async fn prove_batch(
        &self,
        segments: Vec<PlannedSegment>,
        store: &ArtefactStore,
        terms: &Terms,
    ) -> Result<BatchProof, BatchError> {
        let bytes = self.exchange.wrap_of(segments, store, terms).await?;
        let refused = |error: WireError| BatchError::OtherResult { step: "wrap".to_owned(), reason: error.to_string() };
        self.verifier.wrap(&bytes).map_err(refused)
    }

    /// Gives up a batch whose artefacts are in `folder`: what it still wants is not wanted any more, and what was accepted for it is paid all the same.
    ///
    /// # Errors
    /// [`BatchError`].
    pub async fn give_up(&self, folder: &Path) -> Result<(), BatchError> {
        self.exchange.give_up(folder).await
    }
}

impl Exchange {
    fn new(
        coordinator: CoordinatorHandle,
        circuits: CircuitsId,
        verifier: Arc<dyn Verifier>,
        notices: mpsc::Receiver<Notice>,
    ) -> Self {
        let waiting = Waiting::default();
        tokio::spawn(hand_out(notices, waiting.clone()));
        Self { coordinator, circuits, verifier, waiting }
    }

    /// The result of a batch's wrap.
    async fn wrap_of(
        &self,
        segments: Vec<PlannedSegment>,
        store: &ArtefactStore,
        terms: &Terms,
    ) -> Result<Vec<u8>, BatchError> {
        let (first, last) = match segments.as_slice() {
            [] => return Err(BatchError::NoSegments),
            [first, .., last] | [first @ last] => (first.statement, last.statement),
        };
        for (position, pair) in segments.windows(2).enumerate() {
            let (before, after) = (pair[0].statement, pair[1].statement);
            if before.to != after.from || before.chain_id != after.chain_id {
                return Err(BatchError::NotNeighbours { position: position + 1 });
            }
        }
        let statement = PublicValues { to: last.to, ..first };
        // Nodes of each level, from the segments up. The wrap takes a merge and nothing else, so a single segment is merged too.
        let mut widths = vec![segments.len()];
        while widths.len() == 1 || widths[widths.len() - 1] > 1 {
            widths.push(widths[widths.len() - 1].div_ceil(2));
        }
        let batch = Batch { exchange: self, segments, widths, store, terms };
        let wrap = Work { step: "wrap".to_owned(), kind: TaskKind::Wrap, shape: 0, statement };
        match batch.kept(&wrap)? {
            Some(kept) => {
                batch.collect(kept.made_by).await?;
                Ok(kept.bytes)
            }
            None => {
                let merged = batch.node(batch.widths.len() - 1, 0).await?;
                let done = batch.done(wrap, vec![merged]).await?;
                batch.collect(Some(done.task)).await?;
                Ok(done.bytes)
            }
        }
    }

    async fn give_up(&self, folder: &Path) -> Result<(), BatchError> {
        for task in offered(folder)? {
            match self.coordinator.withdraw(task).await {
                Ok(()) | Err(ServeError::Refused(Refused::UnknownTask(_))) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// Results to whoever waits for them. A result that nobody waits for stays in the coordinator until somebody publishes its task again.
async fn hand_out(mut notices: mpsc::Receiver<Notice>, waiting: Waiting) {
    while let Some(notice) = notices.recv().await {
        match notice {
            Notice::Done(task, result) => {
                let waiters = waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&task);
                for waiter in waiters.into_iter().flatten() {
                    // It may have stopped waiting.
                    let _: Result<(), ArtefactId> = waiter.send(result);
                }
            }
            Notice::Alarm(task, alarm) => tracing::warn!(?task, ?alarm, "a task of a batch"),
            Notice::SignPayout(..) | Notice::SendPayout(..) => {}
        }
    }
    // The coordinator has ended, and whoever waits must hear of it.
    waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

/// The tasks that were offered for the batch whose artefacts are in `folder`.
fn offered(folder: &Path) -> Result<Vec<TaskId>, BatchError> {
    let access = |source| ArtefactError::Access { path: folder.display().to_string(), source };
    let mut tasks = Vec::new();
    for entry in fs::read_dir(folder).map_err(access)? {
        let path = entry.map_err(access)?.path();
        let is_offer = path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.ends_with(OFFER_FILE));
        if !is_offer || fs::metadata(&path).map_err(access)?.len() > OFFER_BYTES_MAX {
            continue;
        }
        let Some((step, context)) = ArtefactStore::peek(&fs::read(&path).map_err(access)?) else { continue };
        let bytes = ArtefactStore::open(folder, context)?.load(&step)?;
        tasks.extend(bytes.and_then(|bytes| Task::decode(&bytes).ok()).map(|task| task.id()));
    }
    Ok(tasks)
}

/// Times that a task is offered whose results get lost.
const OFFERS_MAX: u32 = 3;
/// How the artefact that holds a step's task is called, behind the step.
const OFFER: &str = "-task";
const OFFER_FILE: &str = "-task.artefact";
const OFFER_BYTES_MAX: u64 = 4_096;

/// A step of a batch that is to be done.
struct Work {
    step: String,
    kind: TaskKind,
    shape: u8,
    statement: PublicValues,
}

/// A step that is done.
struct Done {
    task: TaskId,
    bytes: Vec<u8>,
}

/// A result that was there, and the task that was offered for it.
struct Kept {
    bytes: Vec<u8>,
    made_by: Option<TaskId>,
}

/// What a step takes: an artefact, and the task that made it, if one did.
struct Input {
    id: ArtefactId,
    length: u64,
    made_by: Option<TaskId>,
}

struct Batch<'a> {
    exchange: &'a Exchange,
    segments: Vec<PlannedSegment>,
    /// Nodes of each level.
    widths: Vec<usize>,
    store: &'a ArtefactStore,
    terms: &'a Terms,
}

impl Batch<'_> {
    /// The result of a node of the tree, which is done by somebody unless it is there.
    fn node(&self, level: usize, position: usize) -> BoxFuture<'_, Result<Input, BatchError>> {
        async move {
            let work = self.work(level, position);
            if let Some(kept) = self.kept(&work)? {
                return self.input(kept.bytes, kept.made_by).await;
            }
            let inputs = if level == 0 {
                vec![self.input(self.segments[position].input.clone(), None).await?]
            } else {
                let last = self.widths[level - 1] - 1;
                let children = [2 * position, 2 * position + 1].into_iter().filter(|child| *child <= last);
                try_join_all(children.map(|child| self.node(level - 1, child))).await?
            };
            let done = self.done(work, inputs).await?;
            self.input(done.bytes, Some(done.task)).await
        }
        .boxed()
    }

    fn work(&self, level: usize, position: usize) -> Work {
        // The segments below: 2^level of them, but for the end.
        let (from, to) = (position << level, (((position + 1) << level) - 1).min(self.segments.len() - 1));
        let statement = PublicValues { to: self.segments[to].statement.to, ..self.segments[from].statement };
        match level {
            0 => Work {
                step: format!("segment-{position}"),
                kind: TaskKind::Segment,
                shape: self.segments[position].shape,
                statement,
            },
            _ => Work { step: format!("merge-{level}-{position}"), kind: TaskKind::Merge, shape: 0, statement },
        }
    }

    /// The result of a step that was done before, with the task that was offered for it.
    fn kept(&self, work: &Work) -> Result<Option<Kept>, BatchError> {
        let Some(bytes) = self.store.load(&work.step)? else { return Ok(None) };
        if let Err(error) = self.check(work, &bytes) {
            tracing::warn!(%error, "a kept result is done again");
            return Ok(None);
        }
        let offer = self.store.load(&format!("{}{OFFER}", work.step))?;
        let made_by = offer.and_then(|offer| Task::decode(&offer).ok()).map(|task| task.id());
        Ok(Some(Kept { bytes, made_by }))
    }

    fn check(&self, work: &Work, bytes: &[u8]) -> Result<(), BatchError> {
        let refused = |reason: String| BatchError::OtherResult { step: work.step.clone(), reason };
        let said =
            self.exchange.verifier.verify(work.kind.into(), bytes).map_err(|error| refused(error.to_string()))?;
        if said == work.statement { Ok(()) } else { Err(refused(format!("it proves {said:?}"))) }
    }

    /// Puts bytes where provers fetch them.
    async fn input(&self, bytes: Vec<u8>, made_by: Option<TaskId>) -> Result<Input, BatchError> {
        let (artefacts, length) = (self.exchange.coordinator.artefacts().clone(), bytes.len() as u64);
        let id = blocking(move || artefacts.put(&bytes)).await??;
        Ok(Input { id, length, made_by })
    }

    /// Has a step done, and keeps its result.
    async fn done(&self, work: Work, inputs: Vec<Input>) -> Result<Done, BatchError> {
        let mut task = self.offer(&work, &inputs)?;
        let mut attempts = 1;
        let bytes = loop {
            match self.result_of(&task, &inputs).await {
                // Accepted and collected, so that the coordinator keeps it no more, and lost here since: whoever did it is paid, and whoever does it again is paid, too.
                Err(BatchError::Artefacts(error @ (StoreError::Missing(_) | StoreError::WrongDigest { .. })))
                    if attempts < OFFERS_MAX =>
                {
                    tracing::warn!(step = work.step, %error, "a result is lost, and its task offered anew");
                    attempts += 1;
                    // Another task by name, and the same work.
                    task.deadline_ms += 1;
                    self.store.save(&format!("{}{OFFER}", work.step), &task.encode())?;
                }
                result => break result?,
            }
        };
        self.check(&work, &bytes)?;
        self.store.save(&work.step, &bytes)?;
        Ok(Done { task: task.id(), bytes })
    }

    /// Publishes a task and waits for its result.
    async fn result_of(&self, task: &Task, inputs: &[Input]) -> Result<Vec<u8>, BatchError> {
        let coordinator = &self.exchange.coordinator;
        let (waiter, result) = oneshot::channel();
        self.waiting().entry(task.id()).or_default().push(waiter);
        coordinator.publish(task.clone()).await?;
        // Only now does nothing else hold on to what the inputs were made by.
        for input in inputs {
            self.collect(input.made_by).await?;
        }
        let result = result.await.map_err(|_| ServeError::Ended)?;
        let artefacts: ArtefactFolder = coordinator.artefacts().clone();
        Ok(blocking(move || artefacts.get(&result)).await??)
    }

    /// The task of a step: the one that was offered before, if it is the same work, so that other prices hold for later batches.
    fn offer(&self, work: &Work, inputs: &[Input]) -> Result<Task, BatchError> {
        let task = Task {
            kind: work.kind,
            shape: work.shape,
            statement: work.statement,
            circuits: self.exchange.circuits,
            inputs: inputs.iter().map(|input| input.id).collect(),
            input_bytes: inputs.iter().map(|input| input.length).collect(),
            deadline_ms: self.terms.deadline_ms,
            price: self.terms.prices.of(work.kind, work.shape),
        };
        let name = format!("{}{OFFER}", work.step);
        if let Some(before) = self.store.load(&name)?.and_then(|bytes| Task::decode(&bytes).ok())
            && before == (Task { deadline_ms: before.deadline_ms, price: before.price, ..task.clone() })
        {
            return Ok(before);
        }
        self.store.save(&name, &task.encode())?;
        Ok(task)
    }

    /// Lets the coordinator forget the result of a task, which is kept here.
    async fn collect(&self, task: Option<TaskId>) -> Result<(), BatchError> {
        let Some(task) = task else { return Ok(()) };
        match self.exchange.coordinator.collected(task).await {
            // Collected before.
            Ok(()) | Err(ServeError::Refused(Refused::UnknownTask(_))) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, HashMap<TaskId, Vec<oneshot::Sender<ArtefactId>>>> {
        let mut waiting = self.exchange.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever stopped waiting is forgotten with the next one that begins.
        waiting.retain(|_, waiters| {
            waiters.retain(|waiter| !waiter.is_closed());
            !waiters.is_empty()
        });
        waiting
    }
}

/// Disks are slow, and other tasks of this process are not to wait for them.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, BatchError> {
    Ok(tokio::task::spawn_blocking(work).await?)
}

#[cfg(test)]
mod tests;
