//! The core at work: looks at L1, keeps records, sends transactions, asks for certificates and proofs.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use alloy::{
    eips::BlockId,
    primitives::{B256, Bytes},
    sol_types::SolCall,
};
use joule_committee::VerifiedCertificate;
use joule_contracts::{Availability, DataCommittee, Rollup, VerifierRouter};
use joule_l1::{Gas, L1Error, Operator, OperatorAlarm, Refusal, SendError, posting};
use joule_protocol::Native;
use joule_storage::BatchRecord;
use thiserror::Error;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
};

use crate::{
    Mode, NotCertified, Offer, Policy, ProofRequest, ProofSource, Publisher, Purpose, PurposeError, SettlementStore,
    SettlementStoreError,
    decide::{Action, Alarm, Cause, DropRefused, Event, InFlight, Settlement, View},
};

/// Answers of publisher and proof source that may wait to be taken.
const ANSWERS_MAX: usize = 64;
/// Notices that may wait to be taken; more are dropped, and are in the log.
const NOTICES_MAX: usize = 1_024;
/// Requests of the node that may wait.
const REQUESTS_MAX: usize = 64;

/// How settlement is driven.
#[derive(Clone, Copy, Debug)]
pub struct DriverConfig {
    /// The operator's choices.
    pub policy: Policy,
    /// Between looks at L1.
    pub poll: Duration,
    /// Blocks below L1's head at which what it says counts as final.
    pub confirmations: u64,
    /// Between questions to a committee that has failed.
    pub health_every: Duration,
}

impl Default for DriverConfig {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            poll: Duration::from_secs(4),
            confirmations: 64,
            health_every: Duration::from_secs(30),
        }
    }
}

/// Why settling cannot go on. L1 being unreachable is no reason.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DriverError {
    /// Records cannot be read or written.
    #[error(transparent)]
    Store(#[from] SettlementStoreError),
    /// The outbox holds what is not settlement's.
    #[error(transparent)]
    Purpose(#[from] PurposeError),
    /// The outbox failed.
    #[error(transparent)]
    Outbox(#[from] SendError),
    /// L1 could not be asked at the start.
    #[error(transparent)]
    L1(#[from] L1Error),
    /// Settlement has ended.
    #[error("settlement has ended")]
    Ended,
    /// The batches cannot be dropped.
    #[error(transparent)]
    Drop(#[from] DropRefused),
}

/// What settlement tells the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Something a person should know.
    Alarm(Alarm),
    /// Something a person should know of the sending account.
    Operator(OperatorAlarm),
    /// A batch's stage changed; its record is written.
    Stage {
        /// The batch.
        number: u64,
        /// How far it has come.
        stage: joule_storage::Stage,
    },
}

/// Where settlement stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Where data goes.
    pub mode: Mode,
    /// The last batch that was sealed.
    pub sealed: u64,
    /// Batches that L1 had committed when it was last looked at.
    pub committed: u64,
    /// Batches that it had proven.
    pub proven: u64,
    /// Batches that it had executed.
    pub executed: u64,
    /// When L1 last answered, unix seconds; `None` before it did.
    pub looked_at_s: Option<u64>,
}

enum Request {
    Sealed { number: u64 },
    DropFrom { from: u64, reply: oneshot::Sender<Result<(), DropRefused>> },
    Revert { keep: u64 },
}

/// The node's side of a running driver. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    requests: mpsc::Sender<Request>,
    standing: watch::Receiver<Standing>,
}

impl Handle {
    /// Where settlement stands, and a way to wait for changes.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// Says that a batch was sealed; its record and blocks are in storage. Waits while settlement has no room.
    ///
    /// # Errors
    /// Settlement has ended.
    pub async fn sealed(&self, number: u64) -> Result<(), DriverError> {
        self.requests.send(Request::Sealed { number }).await.map_err(|_| DriverError::Ended)
    }

    /// Asks to forget batches from a number on, before the node undoes their blocks and seals others.
    ///
    /// # Errors
    /// They are on L1, or could still get there.
    pub async fn drop_from(&self, from: u64) -> Result<(), DriverError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request::DropFrom { from, reply }).await.map_err(|_| DriverError::Ended)?;
        Ok(answer.await.map_err(|_| DriverError::Ended)??)
    }

    /// Has committed batches above `keep` dropped on L1.
    ///
    /// # Errors
    /// Settlement has ended.
    pub async fn revert(&self, keep: u64) -> Result<(), DriverError> {
        self.requests.send(Request::Revert { keep }).await.map_err(|_| DriverError::Ended)
    }
}

/// What came of a question about a batch. It names the checkpoint that it was asked with: another batch may have taken the number since.
enum Answer {
    Certified { number: u64, checkpoint: B256, revert_count: u64, certificate: Box<VerifiedCertificate> },
    NotCertified { number: u64, checkpoint: B256, revert_count: u64, has_failed: bool },
    Proven { number: u64, checkpoint: B256, proof: Bytes },
    NotProven { number: u64, checkpoint: B256 },
    Health { is_healthy: bool },
}

impl Answer {
    /// The batch that was asked about.
    fn about(&self) -> Option<(u64, B256)> {
        match *self {
            Self::Certified { number, checkpoint, .. }
            | Self::NotCertified { number, checkpoint, .. }
            | Self::Proven { number, checkpoint, .. }
            | Self::NotProven { number, checkpoint } => Some((number, checkpoint)),
            Self::Health { .. } => None,
        }
    }
}

/// Drives settlement. Its records live in the node's database, whose calls block for moments: give it a thread of a runtime that may.
pub struct Driver<P, Q> {
    config: DriverConfig,
    core: Settlement,
    operator: Operator<SettlementStore>,
    store: SettlementStore,
    publisher: Arc<P>,
    proofs: Arc<Q>,
    requests: mpsc::Receiver<Request>,
    answers: (mpsc::Sender<Answer>, mpsc::Receiver<Answer>),
    notices: mpsc::Sender<Notice>,
    standing: watch::Sender<Standing>,
    clock: Arc<dyn Fn() -> u64 + Send + Sync>,
    asked_health_at_s: Option<u64>,
    /// Tags of transactions that failed, of which the core has not heard: L1 could not be read to the end since.
    failed: Vec<Vec<u8>>,
    /// What publisher and proof source are asked for. Ends with the driver: its answers would reach nobody.
    asked: JoinSet<()>,
}

impl<P, Q> std::fmt::Debug for Driver<P, Q> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Driver").field("config", &self.config).field("core", &self.core).finish_non_exhaustive()
    }
}

fn system_clock_s() -> u64 {
    // A clock before 1970 reads as 1970: deadlines are then L1's alone.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl<P: Publisher, Q: ProofSource> Driver<P, Q> {
    /// Takes up settlement from storage and L1.
    ///
    /// # Errors
    /// Storage is damaged, or L1 cannot be asked.
    pub async fn open(
        config: DriverConfig,
        operator: Operator<SettlementStore>,
        publisher: P,
        proofs: Q,
    ) -> Result<(Self, Handle, mpsc::Receiver<Notice>), DriverError> {
        let store = operator.store().clone();
        let executed = settled_executed(&operator, config.confirmations).await?;
        let core = Settlement::new(config.policy, store.recover(executed)?);
        let (request_sender, requests) = mpsc::channel(REQUESTS_MAX);
        let (notices, notice_receiver) = mpsc::channel(NOTICES_MAX);
        let (mode, sealed) = (core.mode(), core.last());
        let begin = Standing { mode, sealed, committed: 0, proven: 0, executed, looked_at_s: None };
        let (standing, standing_receiver) = watch::channel(begin);
        let driver = Self {
            config,
            core,
            operator,
            store,
            publisher: Arc::new(publisher),
            proofs: Arc::new(proofs),
            requests,
            answers: mpsc::channel(ANSWERS_MAX),
            notices,
            standing,
            clock: Arc::new(system_clock_s),
            asked_health_at_s: None,
            failed: Vec::new(),
            asked: JoinSet::new(),
        };
        Ok((driver, Handle { requests: request_sender, standing: standing_receiver }, notice_receiver))
    }

    /// Takes the time from somewhere else than the system's clock.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// The state of settling.
    pub fn core(&self) -> &Settlement {
        &self.core
    }

    /// Runs until `stop` completes. What is under way then is found again at the next start.
    ///
    /// # Errors
    /// Records can no longer be read or written.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> Result<(), DriverError> {
        tokio::pin!(stop);
        let mut beat = tokio::time::interval(self.config.poll);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let has_room = self.core.has_room();
            tokio::select! {
                () = &mut stop => return Ok(()),
                _ = beat.tick() => self.look().await?,
                Some(answer) = self.answers.1.recv() => {
                    let event = self.take(answer)?;
                    self.feed(event).await?;
                }
                Some(request) = self.requests.recv(), if has_room => self.serve(request).await?,
            }
        }
    }

    /// Takes all requests and answers that wait, then looks at L1 once. For tests, and for nodes that keep the beat themselves.
    ///
    /// # Errors
    /// As [`Driver::run`].
    pub async fn turn(&mut self) -> Result<(), DriverError> {
        while self.core.has_room() {
            let Ok(request) = self.requests.try_recv() else { break };
            self.serve(request).await?;
        }
        while let Ok(answer) = self.answers.1.try_recv() {
            let event = self.take(answer)?;
            self.feed(event).await?;
        }
        self.look().await
    }

    async fn serve(&mut self, request: Request) -> Result<(), DriverError> {
        match request {
            Request::Sealed { number } => {
                let sealed = self.store.sealed(number, (self.clock)());
                // One that was undone since is told again when it is sealed again.
                let Some(sealed) = unless_undone(sealed)? else { return Ok(()) };
                // After its blocks were undone and others built it has its number anew. If L1 could still get the one before, the core says so.
                let last = self.core.last();
                if self.core.has_another(&sealed) && self.core.drop_from(number).is_ok() {
                    tracing::warn!(number, "a batch was sealed anew before L1 could have had it");
                    self.store.forget(number..=last)?;
                }
                self.feed(Event::Sealed(sealed)).await
            }
            Request::Revert { keep } => self.feed(Event::Revert { keep }).await,
            Request::DropFrom { from, reply } => {
                let last = self.core.last();
                let dropped = self.core.drop_from(from);
                if dropped.is_ok() {
                    self.store.forget(from..=last)?;
                }
                // Whoever asked may have gone; the answer then matters to nobody.
                let _ = reply.send(dropped);
                Ok(())
            }
        }
    }

    /// Looks at L1 and acts on it. L1 that cannot be asked is asked again at the next beat.
    async fn look(&mut self) -> Result<(), DriverError> {
        while let Some(ended) = self.asked.try_join_next() {
            if let Err(error) = ended {
                tracing::error!(%error, "a question to the committee or to provers ended without an answer");
            }
        }
        match self.view().await {
            Ok((view, mut events)) => {
                let (committed, proven, executed) = (view.rollup.committed, view.rollup.proven, view.rollup.executed);
                let now_s = (self.clock)();
                self.standing.send_modify(|standing| {
                    *standing = Standing { committed, proven, executed, looked_at_s: Some(now_s), ..*standing };
                });
                events.insert(0, Event::L1(Box::new(view)));
                for event in events {
                    self.feed(event).await?;
                }
            }
            Err(DriverError::L1(error) | DriverError::Outbox(SendError::L1(error))) => {
                tracing::warn!(%error, "L1 could not be looked at");
                self.feed(Event::Tick).await?;
            }
            Err(error) => return Err(error),
        }
        let (mode, sealed) = (self.core.mode(), self.core.last());
        self.standing.send_modify(|standing| *standing = Standing { mode, sealed, ..*standing });
        if mode != Mode::Committee {
            self.ask_health();
        }
        Ok(())
    }

    async fn view(&mut self) -> Result<(View, Vec<Event>), DriverError> {
        let head = self.operator.client().head().await?;
        let report = self.operator.observe(&head).await?;
        // Each is reported once, and what follows may fail.
        self.failed.extend(report.failed);
        for alarm in report.alarms {
            tracing::warn!(?alarm, "the sending account");
            self.notify(Notice::Operator(alarm));
        }
        let client = self.operator.client();
        let rollup = client.state(head).await?;
        let mut in_flight = Vec::with_capacity(report.pending.len());
        for pending in report.pending {
            let purpose = Purpose::decode(&pending.tag)?;
            in_flight.push(InFlight { nonce: pending.nonce, purpose, is_cancelled: pending.is_cancelled });
        }
        // The batch to be posted is the one after those that this very state has committed.
        let next = rollup.committed + 1;
        let posted = match self.core.is_posted_on_l1(next) {
            true => Some((next, self.posted_parts(next, &head).await?)),
            false => None,
        };
        let view = View {
            settled_executed: settled_executed(&self.operator, self.config.confirmations).await?,
            certificate_remaining_min_s: self.operator.client().constants().certificate_remaining_min_s,
            operator: self.operator.address(),
            in_flight,
            posted,
            rollup,
        };
        let mut events = Vec::new();
        for tag in std::mem::take(&mut self.failed) {
            events.push(Event::Refused { purpose: Purpose::decode(&tag)?, cause: Cause::Other });
        }
        Ok((view, events))
    }

    /// How many parts of a batch's data L1 has, from the first on. Asked from the last down: the last one there has all others before it.
    async fn posted_parts(&self, number: u64, at: &joule_l1::BlockRef) -> Result<u32, DriverError> {
        let data = self.store.batch(number).and_then(|batch| Ok((self.store.chunks(&batch)?, batch)));
        let Some((chunks, batch)) = unless_undone(data)? else { return Ok(0) };
        let parts = posting::parts(chunks.iter().map(Vec::len)).map_err(SettlementStoreError::from)?;
        let start = B256::new(batch.parent.data_acc.0.0);
        let mut acc = start;
        let ends: Vec<B256> = (parts.iter())
            .map(|part| {
                acc = posting::accumulate(acc, chunks[part.clone()].iter().map(Vec::as_slice));
                acc
            })
            .collect();
        for (index, end) in ends.iter().enumerate().rev() {
            if self.operator.client().posted_bytes(start, *end, at).await? != 0 {
                return Ok(index as u32 + 1);
            }
        }
        Ok(0)
    }

    fn ask_health(&mut self) {
        let now_s = (self.clock)();
        let every_s = self.config.health_every.as_secs();
        if self.asked_health_at_s.is_some_and(|at_s| now_s < at_s + every_s) {
            return;
        }
        self.asked_health_at_s = Some(now_s);
        let (publisher, answers) = (self.publisher.clone(), self.answers.0.clone());
        self.asked.spawn(async move {
            let is_healthy = publisher.is_healthy().await;
            // The driver may have ended meanwhile.
            let _ = answers.send(Answer::Health { is_healthy }).await;
        });
    }

    /// Stores what came, then says so to the core.
    fn take(&mut self, answer: Answer) -> Result<Event, DriverError> {
        let mut asked = None;
        if let Some((number, checkpoint)) = answer.about() {
            // Of a batch that was dropped or sealed anew meanwhile it says nothing that is wanted; whoever dropped it has forgotten the question too.
            asked = self.known(number)?.filter(|batch| checkpoint_of(batch) == checkpoint);
            if asked.is_none() {
                return Ok(Event::Tick);
            }
        }
        Ok(match answer {
            Answer::Certified { number, revert_count, certificate, .. } => {
                if !asked.is_some_and(|batch| self.is_for(&certificate, &batch, revert_count)) {
                    tracing::error!(number, "the publisher brought a certificate for something else");
                    return Ok(Event::NotCertified { number, revert_count, has_failed: true });
                }
                match unless_undone(self.store.put_certificate(number, &certificate))? {
                    Some(certificate) => Event::Certified { number, certificate },
                    None => Event::Tick,
                }
            }
            Answer::NotCertified { number, revert_count, has_failed, .. } => {
                Event::NotCertified { number, revert_count, has_failed }
            }
            Answer::Proven { number, checkpoint, proof } => {
                self.store.put_proof(number, &proof)?;
                Event::Proof { number, checkpoint }
            }
            Answer::NotProven { number, .. } => Event::NotProven { number },
            Answer::Health { is_healthy } => Event::Health { is_healthy },
        })
    }

    /// The batch, unless it was dropped.
    fn known(&self, number: u64) -> Result<Option<BatchRecord>, DriverError> {
        Ok(unless_undone(self.store.batch(number))?)
    }

    fn is_for(&self, certificate: &VerifiedCertificate, batch: &BatchRecord, revert_count: u64) -> bool {
        let statement = &certificate.certificate().statement;
        let client = self.operator.client();
        statement.l1_chain_id == client.constants().l1_chain_id
            && statement.rollup == client.contracts().rollup
            && statement.batch_number == batch.number
            && statement.parent_checkpoint.0 == batch.parent.hash::<Native>().0
            && statement.checkpoint.0 == batch.checkpoint.hash::<Native>().0
            && statement.revert_count == revert_count
            && statement.data_bytes == batch.data_bytes
    }

    /// Feeds the core, and carries out what it says, and feeds it what comes of that.
    async fn feed(&mut self, event: Event) -> Result<(), DriverError> {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for action in self.core.step((self.clock)(), event) {
                if let Some(event) = self.carry_out(action).await? {
                    events.push_back(event);
                }
            }
        }
        Ok(())
    }

    async fn carry_out(&mut self, action: Action) -> Result<Option<Event>, DriverError> {
        tracing::debug!(?action, "settlement");
        match action {
            Action::Gather { number, revert_count } => self.gather(number, revert_count)?,
            Action::AskProof { number } => self.ask_proof(number)?,
            Action::DropProof { number } => self.store.delete_proof(number)?,
            Action::MarkSent { number, revert_count } => self.store.mark_sent(number, revert_count)?,
            Action::Send(purpose) => return self.send(purpose).await,
            Action::Cancel { nonce } => match self.operator.cancel(nonce).await {
                Ok(()) => {}
                Err(error @ SendError::Store(_)) => return Err(error.into()),
                Err(error) => tracing::warn!(nonce, %error, "a transaction could not be cancelled"),
            },
            Action::SetMode(mode) => self.store.set_mode(mode)?,
            Action::SetStage { number, stage } => {
                if unless_undone(self.store.set_stage(number, stage))? == Some(true) {
                    tracing::info!(number, ?stage, "batch");
                    self.notify(Notice::Stage { number, stage });
                }
            }
            Action::Alarm(alarm) => {
                tracing::warn!(?alarm, "settlement");
                self.notify(Notice::Alarm(alarm));
                if let Alarm::ReorgTooDeep { executed } = alarm {
                    self.core = Settlement::new(self.config.policy, self.store.recover(executed)?);
                }
            }
        }
        Ok(None)
    }

    fn notify(&self, notice: Notice) {
        // A node that does not listen has said that it does not want to know, and settling does not wait for one that is slow.
        let _ = self.notices.try_send(notice);
    }

    fn gather(&mut self, number: u64, revert_count: u64) -> Result<(), DriverError> {
        let Some(batch) = self.known(number)? else { return Ok(()) };
        let checkpoint = checkpoint_of(&batch);
        let offer = Offer { batch, revert_count };
        let (publisher, answers) = (self.publisher.clone(), self.answers.0.clone());
        self.asked.spawn(async move {
            // The driver may have ended when the answer comes; then it is asked for again by the next.
            let answer = match publisher.publish(offer).await {
                Ok(certificate) => {
                    Answer::Certified { number, checkpoint, revert_count, certificate: Box::new(certificate) }
                }
                Err(error) => {
                    tracing::warn!(number, %error, "no certificate");
                    let has_failed = matches!(error, NotCertified::Failed { .. });
                    Answer::NotCertified { number, checkpoint, revert_count, has_failed }
                }
            };
            let _ = answers.send(answer).await;
        });
        Ok(())
    }

    fn ask_proof(&mut self, number: u64) -> Result<(), DriverError> {
        let Some(batch) = self.known(number)? else { return Ok(()) };
        let checkpoint = checkpoint_of(&batch);
        let (proofs, answers) = (self.proofs.clone(), self.answers.0.clone());
        self.asked.spawn(async move {
            let answer = match proofs.prove(ProofRequest { batch }).await {
                Ok(proof) => Answer::Proven { number, checkpoint, proof },
                Err(error) => {
                    tracing::warn!(number, %error, "no proof");
                    Answer::NotProven { number, checkpoint }
                }
            };
            let _ = answers.send(answer).await;
        });
        Ok(())
    }

    async fn send(&mut self, purpose: Purpose) -> Result<Option<Event>, DriverError> {
        let (input, gas) = match self.input(&purpose) {
            Ok(prepared) => prepared,
            Err(error) => {
                tracing::error!(?purpose, %error, "a transaction could not be prepared");
                return Ok(Some(Event::Refused { purpose, cause: Cause::Other }));
            }
        };
        let rollup = self.operator.client().contracts().rollup;
        let cause = match self.operator.send(purpose.encode(), rollup, input, gas).await {
            Ok(nonce) => {
                tracing::info!(?purpose, nonce, "sent to L1");
                return Ok(None);
            }
            Err(error @ SendError::Store(_)) => return Err(error.into()),
            Err(SendError::Refused(refusal)) => {
                tracing::warn!(?purpose, %refusal, "L1 would refuse it");
                cause(&purpose, &refusal)
            }
            Err(error @ (SendError::TooLong { .. } | SendError::TooMuchGas { .. })) => {
                tracing::error!(?purpose, %error, "L1 takes no such transaction");
                Cause::Other
            }
            Err(error) => {
                tracing::warn!(?purpose, %error, "not sent");
                Cause::Unreachable
            }
        };
        Ok(Some(Event::Refused { purpose, cause }))
    }

    fn input(&self, purpose: &Purpose) -> Result<(Bytes, Gas), SettlementStoreError> {
        let missing = |what, number| SettlementStoreError::Missing { what, number };
        let proof = |number| self.store.proof(number)?.ok_or(missing("the proof of batch", number));
        // Another one may have been sealed under its number since the core decided.
        let named = |number, checkpoint: B256| {
            let batch = self.store.batch(number)?;
            if checkpoint_of(&batch) == checkpoint {
                Ok(batch)
            } else {
                Err(missing("as it is to be sent, batch", number))
            }
        };
        let input = match *purpose {
            Purpose::Post { number, part } => {
                let batch = self.store.batch(number)?;
                let chunks = self.store.chunks(&batch)?;
                let parts = posting::parts(chunks.iter().map(Vec::len))?;
                let part = parts.get(part as usize).cloned().ok_or(missing("a part of batch", number))?;
                let start = B256::new(batch.parent.data_acc.0.0);
                let from = posting::accumulate(start, chunks[..part.start].iter().map(Vec::as_slice));
                let input = posting::input(start, from, chunks[part].iter().map(Vec::as_slice));
                let gas = Gas::Limit(posting::gas(&input));
                return Ok((input, gas));
            }
            Purpose::Commit { number, checkpoint, expiry, .. } => {
                let batch = named(number, checkpoint)?;
                let availability = self.availability(&batch, expiry)?;
                Rollup::commitBatchCall { batch: header(&batch), availability }.abi_encode()
            }
            Purpose::Prove { number, .. } => Rollup::proveBatchCall { number, proof: proof(number)? }.abi_encode(),
            Purpose::Execute { number, checkpoint } => {
                let batch = named(number, checkpoint)?;
                let withdrawals = self.store.withdrawals(&batch)?;
                Rollup::executeBatchCall { number, checkpoint: (&batch.checkpoint).into(), withdrawals }.abi_encode()
            }
            Purpose::Settle { number, checkpoint, expiry, .. } => {
                let batch = named(number, checkpoint)?;
                Rollup::settleBatchCall {
                    batch: header(&batch),
                    availability: self.availability(&batch, expiry)?,
                    proof: proof(number)?,
                    withdrawals: self.store.withdrawals(&batch)?,
                }
                .abi_encode()
            }
            Purpose::Revert { keep, .. } => Rollup::revertBatchesCall { keep }.abi_encode(),
            Purpose::Nothing => Vec::new(),
        };
        Ok((input.into(), Gas::Estimate))
    }

    fn availability(&self, batch: &BatchRecord, expiry: Option<u64>) -> Result<Bytes, SettlementStoreError> {
        let Some(expiry) = expiry else { return Ok(Availability::OnL1 { parent: batch.parent }.encode()) };
        let missing = || SettlementStoreError::Missing { what: "the certificate of batch", number: batch.number };
        let certificate = self.store.certificate(batch.number)?.filter(|found| found.statement.expiry == expiry);
        Ok(certificate.ok_or_else(missing)?.to_calldata())
    }
}

/// Nothing for a batch whose record or blocks are gone. The node undoes blocks, and with them batches, when L1 takes back the requests that they consumed, whatever settlement is doing at that
/// moment; what takes its place is told when it is sealed.
fn unless_undone<T>(result: Result<T, SettlementStoreError>) -> Result<Option<T>, SettlementStoreError> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(SettlementStoreError::Missing { what, number }) => {
            tracing::warn!(what, number, "a batch was undone while it was settled");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn checkpoint_of(batch: &BatchRecord) -> B256 {
    B256::new(batch.checkpoint.hash::<Native>().0)
}

fn header(batch: &BatchRecord) -> Rollup::Batch {
    Rollup::Batch {
        number: batch.number,
        parentCheckpoint: B256::new(batch.parent.hash::<Native>().0),
        checkpoint: (&batch.checkpoint).into(),
        dataBytes: batch.data_bytes,
    }
}

fn cause(purpose: &Purpose, refusal: &Refusal) -> Cause {
    if refusal.is::<VerifierRouter::VerifierRouter_ProofRefused>()
        || refusal.is::<VerifierRouter::VerifierRouter_WrongProofLength>()
        || refusal.is::<VerifierRouter::VerifierRouter_RetiredVersion>()
        || refusal.is::<VerifierRouter::VerifierRouter_UnknownVersion>()
    {
        return Cause::Proof;
    }
    let is_certified = purpose.names().is_some_and(|names| names.3.is_some());
    let is_certificates = DataCommittee::DataCommitteeErrors::SELECTORS.contains(&selector(refusal));
    if is_certified && is_certificates { Cause::Certificate } else { Cause::Other }
}

fn selector(refusal: &Refusal) -> [u8; 4] {
    refusal.data.first_chunk().copied().unwrap_or_default()
}

async fn settled_executed(operator: &Operator<SettlementStore>, confirmations: u64) -> Result<u64, L1Error> {
    let client = operator.client();
    let head = client.head().await?.number;
    let at = head.saturating_sub(confirmations);
    if at < client.contracts().deployed_at {
        return Ok(0);
    }
    Ok(client.rollup().executedCount().block(BlockId::number(at)).call().await?)
}
