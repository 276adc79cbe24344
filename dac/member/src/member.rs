//! A running member: the worker behind a lock, the latest view of L1, and what the outside may ask.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use alloy_primitives::{Address, B256};
use joule_committee::{CompactSignature, IdentityClaim, Share};
use joule_committee_client::{MemberStatus, Refusal, RefusalCode, SignedOffer, UploadPass, checkpoint_hash};
use joule_storage::{Database, View};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, watch},
    task::JoinError,
};

use crate::{
    journal,
    keys::MemberKeys,
    l1::L1View,
    metrics::Metrics,
    rules::{AcceptedOffer, OfferRefused, Promises},
    uploads::{Upload, UploadLimits, Uploads},
    worker::{self, WorkError, Worker},
};

/// Offers that may wait for the worker.
const OFFERS_MAX: usize = 4;
/// Reads that may be under way. Each holds up to a batch's data.
const READS_MAX: usize = 16;
/// KiB of answers that may be on their way out, over both networks: some batches of the longest, and many of the usual.
const SENDING_KIB_MAX: u32 = 128 << 10;

/// A member, shared by its tasks.
pub struct Member {
    worker: Mutex<Worker>,
    database: Database,
    keys: MemberKeys,
    l1_chain_id: u64,
    rollup: Address,
    promises: Promises,
    l1: watch::Sender<Option<Arc<L1View>>>,
    uploads: Uploads,
    offers: Semaphore,
    reads: Semaphore,
    sending: Arc<Semaphore>,
    /// Rung when an offer came that this member is too far behind for, or L1 moved.
    behind: Notify,
    /// The highest batch number that an accepted offer had while this member was behind.
    wanted: AtomicU64,
    metrics: Metrics,
}

/// An offer, by one view of L1.
#[derive(Debug)]
enum Judged {
    /// It may be signed.
    ToSign(AcceptedOffer),
    /// It must be held, and not signed.
    ToHold { held: AcceptedOffer, refused: OfferRefused },
}

impl Judged {
    fn offer(&self) -> &SignedOffer {
        match self {
            Self::ToSign(offer) | Self::ToHold { held: offer, .. } => offer.signed(),
        }
    }

    fn into_offer(self) -> SignedOffer {
        match self {
            Self::ToSign(offer) | Self::ToHold { held: offer, .. } => offer.into_signed(),
        }
    }
}

fn busy(what: &str) -> Refusal {
    Refusal {
        code: RefusalCode::Busy,
        message: format!("{what} are as many as this member takes at once; ask again shortly"),
    }
}

fn l1_unread() -> Refusal {
    Refusal { code: RefusalCode::Syncing, message: "L1 has not been read yet".to_owned() }
}

pub(crate) fn internal(error: &dyn std::fmt::Display) -> Refusal {
    Refusal { code: RefusalCode::Internal, message: error.to_string() }
}

impl Member {
    /// Takes up a disk. The member signs nothing before it has seen L1.
    ///
    /// # Errors
    /// A disk or promises that cannot be trusted.
    pub fn open(
        database: Database,
        keys: MemberKeys,
        l1_chain_id: u64,
        rollup: Address,
        promises: Promises,
    ) -> Result<Arc<Self>, WorkError> {
        let worker = Worker::open(database.clone(), keys.clone(), l1_chain_id, rollup)?;
        let metrics = Metrics::default();
        metrics.held.set(worker.last_number()? as i64);
        Ok(Arc::new(Self {
            worker: Mutex::new(worker),
            database,
            keys,
            l1_chain_id,
            rollup,
            promises,
            l1: watch::Sender::new(None),
            uploads: Uploads::new(UploadLimits::default()),
            offers: Semaphore::new(OFFERS_MAX),
            reads: Semaphore::new(READS_MAX),
            sending: Arc::new(Semaphore::new(SENDING_KIB_MAX as usize)),
            behind: Notify::new(),
            wanted: AtomicU64::new(0),
            metrics,
        }))
    }

    /// Every write of the worker is atomic, and what it keeps in memory follows the writes: a panic leaves it usable.
    fn worker(&self) -> MutexGuard<'_, Worker> {
        self.worker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// L1 as last seen.
    pub fn l1(&self) -> Option<Arc<L1View>> {
        self.l1.borrow().clone()
    }

    /// Tells when L1 has been seen anew.
    pub fn watch_l1(&self) -> watch::Receiver<Option<Arc<L1View>>> {
        self.l1.subscribe()
    }

    /// Waits until there is something to catch up with.
    pub async fn is_behind(&self) {
        self.behind.notified().await;
    }

    /// The batch number up to which offers have come that this member could not take yet.
    pub fn wanted(&self) -> u64 {
        self.wanted.load(Ordering::Relaxed)
    }

    /// What a pass to send an offer must be signed over.
    ///
    /// # Errors
    /// The refusal to answer with.
    pub fn upload_nonce(&self) -> Result<B256, Refusal> {
        self.uploads.nonce()
    }

    /// Leave to send an offer; given before its bytes are read, so that strangers can take neither the memory nor the sequencer's turn.
    ///
    /// # Errors
    /// The refusal to answer with.
    pub fn upload(&self, pass: &UploadPass) -> Result<Upload<'_>, Refusal> {
        let l1 = self.l1().ok_or_else(l1_unread);
        let result = l1.and_then(|l1| self.uploads.admit(pass, self.keys.account(), &l1));
        if result.is_err() {
            self.metrics.count_offer(&result);
        }
        result
    }

    /// Takes an offer and signs it.
    ///
    /// # Errors
    /// The refusal to answer with.
    pub async fn offer(self: &Arc<Self>, bytes: Vec<u8>) -> Result<Share, Refusal> {
        let result = match self.offers.try_acquire() {
            Ok(_permit) => {
                let member = self.clone();
                let work = tokio::task::spawn_blocking(move || member.offer_blocking(&bytes));
                work.await.unwrap_or_else(|error| Err(internal(&error)))
            }
            Err(_) => Err(busy("offers")),
        };
        self.metrics.count_offer(&result);
        if let Err(refusal) = &result {
            tracing::info!(code = refusal.code.name(), message = %refusal.message, "an offer was refused");
        }
        result
    }

    fn offer_blocking(&self, bytes: &[u8]) -> Result<Share, Refusal> {
        let began = Instant::now();
        let l1 = self.l1().ok_or_else(l1_unread)?;
        let offer = SignedOffer::decode(bytes);
        let offer = offer.map_err(|error| Refusal { code: RefusalCode::Malformed, message: error.to_string() })?;
        // Before the worker is waited for: strangers must not wait in the place of the sequencer.
        let judged = self.judge(offer, &l1)?;
        let share = self.work(judged, l1)?;
        self.metrics.accept_seconds.observe(began.elapsed().as_secs_f64());
        Ok(share)
    }

    fn judge(&self, offer: SignedOffer, l1: &L1View) -> Result<Judged, OfferRefused> {
        let held = AcceptedOffer::committed_by_sequencer(&offer, l1);
        match (AcceptedOffer::to_sign(offer, l1, self.promises), held) {
            (Ok(accepted), _) => Ok(Judged::ToSign(accepted)),
            // Not to be signed, its expiry being near or its batch executed; but L1 has it, so this member must hold it to go on.
            (Err(refused), Some(held)) => Ok(Judged::ToHold { held, refused }),
            (Err(refused), None) => Err(refused),
        }
    }

    /// Does what was judged by a view of L1.
    fn work(&self, mut judged: Judged, mut l1: Arc<L1View>) -> Result<Share, Refusal> {
        let mut worker = self.worker();
        // L1 is followed under this lock. If it was, meanwhile, the disk is in step with a newer view, and an offer that was good may now take the place of a batch that L1 has committed.
        if let Some(now) = self.l1().filter(|now| !Arc::ptr_eq(now, &l1)) {
            judged = self.judge(judged.into_offer(), &now)?;
            l1 = now;
        }
        let number = judged.offer().offer().statement().batch_number;
        let share = match judged {
            Judged::ToSign(accepted) => {
                let signed = worker.sign(&accepted, &l1).map_err(|error| self.refused(number, error))?;
                self.metrics.blocks.inc_by(signed.blocks as u64);
                let checkpoint = accepted.signed().offer().statement().checkpoint;
                tracing::info!(number, blocks = signed.blocks, %checkpoint, "signed a batch");
                Ok(signed.share)
            }
            Judged::ToHold { held, refused } => {
                let blocks = worker.take(&held, &l1).map_err(|error| self.refused(number, error))?;
                self.metrics.blocks.inc_by(blocks as u64);
                Err(refused.into())
            }
        };
        self.metrics.held.set(worker.last_number().map_err(|error| internal(&error))? as i64);
        share
    }

    /// Notes that an offer came too early, and what to answer.
    fn refused(&self, number: u64, error: WorkError) -> Refusal {
        let refusal = Refusal::from(error);
        if refusal.code == RefusalCode::Syncing {
            self.wanted.fetch_max(number, Ordering::Relaxed);
            self.behind.notify_one();
        }
        refusal
    }

    /// Follows L1: undoes, notes, forgets. Then the rules see the new view.
    ///
    /// # Errors
    /// The disk.
    pub async fn update(self: &Arc<Self>, l1: L1View) -> Result<(), WorkError> {
        let (member, l1) = (self.clone(), Arc::new(l1));
        let work = tokio::task::spawn_blocking(move || {
            let mut worker = member.worker();
            worker.follow(&l1)?;
            member.metrics.held.set(worker.last_number()? as i64);
            member.metrics.executed.set(l1.executed() as i64);
            member.metrics.committed.set(l1.committed() as i64);
            member.metrics.l1_time.set(l1.time_s as i64);
            member.metrics.promises.set(worker.log().len() as i64);
            // Under the worker's lock, so that no offer is judged by a view that the disk is not in step with.
            member.l1.send_replace(Some(l1));
            Ok(())
        });
        finished(work.await)
    }

    /// Takes a batch from a peer without signing it.
    ///
    /// # Errors
    /// The batch is not what it must be, or the disk.
    pub async fn take(self: &Arc<Self>, offer: AcceptedOffer, l1: Arc<L1View>) -> Result<(), WorkError> {
        let member = self.clone();
        let work = tokio::task::spawn_blocking(move || {
            let mut worker = member.worker();
            let blocks = worker.take(&offer, &l1)?;
            member.metrics.blocks.inc_by(blocks as u64);
            member.metrics.synced.inc();
            member.metrics.held.set(worker.last_number()? as i64);
            worker.follow(&l1)?;
            Ok(())
        });
        finished(work.await)
    }

    /// Runs something under the worker's lock, away from the async threads.
    pub(crate) async fn with_worker<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&mut Worker) -> T + Send + 'static,
    ) -> T {
        let member = self.clone();
        let work = tokio::task::spawn_blocking(move || work(&mut member.worker()));
        finished(work.await)
    }

    /// Reads the disk without waiting for the worker.
    ///
    /// # Errors
    /// The refusal to answer with.
    pub async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&View<'_>) -> Result<Option<T>, WorkError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let _permit = self.reads.try_acquire().map_err(|_| busy("reads"))?;
        let database = self.database.clone();
        let work = tokio::task::spawn_blocking(move || read(&database.view()?));
        match work.await {
            Ok(Ok(Some(found))) => Ok(found),
            Ok(Ok(None)) => {
                Err(Refusal { code: RefusalCode::NotFound, message: "this member does not have it".to_owned() })
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "a read failed");
                Err(Refusal::from(error))
            }
            Err(error) => Err(internal(&error)),
        }
    }

    /// Room for an answer of so many bytes, until it has been sent.
    ///
    /// # Errors
    /// The refusal to answer with.
    pub(crate) fn room(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Refusal> {
        let kib = u32::try_from(bytes.div_ceil(1_024)).unwrap_or(u32::MAX);
        self.sending.clone().try_acquire_many_owned(kib).map_err(|_| busy("answers on their way out"))
    }

    /// Whether it has a key to show who it is.
    pub fn is_identifiable(&self) -> bool {
        self.keys.ecdsa().is_some()
    }

    /// Shows that this member is the one behind the identity `peer`.
    ///
    /// # Errors
    /// The refusal to answer with.
    pub fn identify(&self, peer: &[u8], nonce: B256) -> Result<(Address, CompactSignature), Refusal> {
        let account = self.keys.account();
        let claim = IdentityClaim { l1_chain_id: self.l1_chain_id, rollup: self.rollup, account, peer, nonce };
        let key = self.keys.ecdsa().ok_or_else(|| internal(&"this member has no ECDSA key"))?;
        Ok((account, claim.sign(key).map_err(|error| internal(&error))?))
    }

    /// The disk.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// The last batch held.
    ///
    /// # Errors
    /// The disk.
    pub fn last_number(&self) -> Result<u64, WorkError> {
        let view = self.database.view()?;
        Ok(match view.last_batch()? {
            Some(batch) => batch.number,
            None => journal::base(&view)?,
        })
    }

    /// Where the member stands.
    ///
    /// # Errors
    /// The refusal to answer with.
    pub async fn status(self: &Arc<Self>) -> Result<MemberStatus, Refusal> {
        let (account, l1) = (self.keys.account(), self.l1());
        self.read(move |view| {
            let base = journal::base(view)?;
            let last = view.last_batch()?;
            let batch_number = last.as_ref().map_or(base, |batch| batch.number);
            let checkpoint = last.as_ref().map_or_else(|| *view.floor(), |batch| batch.checkpoint);
            let oldest = view.batch_of_block(view.first_block()?)?.map_or(batch_number + 1, |batch| batch.number);
            Ok(Some(MemberStatus {
                account,
                batch_number,
                checkpoint: checkpoint_hash(&checkpoint),
                block_number: checkpoint.block_number,
                executed_number: worker::executed(view)?.0,
                oldest_batch: oldest,
                not_ready: not_ready(l1.as_deref(), batch_number, checkpoint_hash(&checkpoint)),
                version: env!("CARGO_PKG_VERSION").to_owned(),
            }))
        })
        .await
    }
}

/// What work away from the async threads came to. Its panic is the caller's; it is not cancelled, because nobody drops its handle before it ends.
pub(crate) fn finished<T>(result: Result<T, JoinError>) -> T {
    match result.map_err(JoinError::try_into_panic) {
        Ok(done) => done,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        Err(Err(error)) => panic!("the runtime ended under its own work: {error}"),
    }
}

/// Why a member does not sign, in a sentence.
fn not_ready(l1: Option<&L1View>, batch_number: u64, checkpoint: B256) -> Option<String> {
    let Some(l1) = l1 else { return Some("L1 has not been read yet".to_owned()) };
    if l1.is_frozen {
        return Some("L1 has frozen the chain".to_owned());
    }
    let committed = l1.committed();
    if batch_number < committed {
        return Some(format!("it holds batch {batch_number} and L1 has committed {committed}"));
    }
    match l1.batch(batch_number) {
        Some(batch) if checkpoint_hash(&batch.checkpoint) != checkpoint => {
            Some(format!("L1 has another batch {batch_number}"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use joule_workload::{Chain, GENESIS_SECONDS};

    use super::*;
    use crate::bench::{BatchMaker, quiet_l1};

    #[test]
    fn what_is_signed_is_good_by_the_view_that_the_disk_is_in_step_with() {
        let (folder, genesis) = (tempfile::tempdir().expect("a folder"), Chain::test_genesis());
        let key = joule_committee::EcdsaSecretKey::from_bytes(&[1; 32]).expect("a key");
        let account = key.address();
        let keyset = joule_committee::ecdsa_keyset_hash(1, &[account]);
        let keys = MemberKeys::new(account, Some(key), None).expect("keys");
        let mut maker = BatchMaker::new(genesis, 1);
        let requests = [Chain::deposit(&joule_protocol::Address([3; 20]), 9)];
        let before = quiet_l1(maker.sequencer(), maker.checkpoint().protocol_version, keyset, &requests);
        let batch =
            maker.seal(&mut requests.to_vec().into(), &mut VecDeque::new(), 1, GENESIS_SECONDS + 60).expect("a batch");
        let offer = maker.offer(batch, &before, keyset, before.time_s + before.remaining_min_s).expect("an offer");
        let database = Database::open(folder.path(), &genesis).expect("opens");
        let promises = Promises { expiry_ahead_max_s: u64::MAX / 2 };
        let member = Member::open(database, keys, before.l1_chain_id, before.rollup, promises).expect("opens");
        let (before, after) = (Arc::new(before.clone()), Arc::new(L1View { revert_count: 1, ..before }));

        let judged = |view: &L1View| member.judge(offer.clone(), view);
        let good = judged(&before).expect("good");
        assert_eq!(judged(&after).expect_err("made out for another count").code(), RefusalCode::NotNext);
        // L1 moves after the offer was judged, and before its turn comes.
        member.l1.send_replace(Some(after));
        let refused = member.work(good, before.clone()).expect_err("L1 would not take it");
        assert_eq!(refused.code, RefusalCode::NotNext);
        assert!(member.worker().log().is_empty() && member.last_number().expect("reads") == 0, "nothing came of it");
        member.l1.send_replace(Some(before.clone()));
        let share = member.work(judged(&before).expect("good"), before).expect("signs");
        assert_eq!(share.account, account);
    }
}
