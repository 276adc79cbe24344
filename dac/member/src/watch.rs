//! Watching the committee: for the operator, or for anyone who leans on it.
//!
//! L1 says which batches are certified, by whom, and until when; random members are asked for random chunks of them, and what they do is counted. A
//! watcher needs no leave of anybody and trusts its L1 node alone. Given a [file](RecordFile) it keeps each member's record over its restarts; what L1 promises it reads
//! anew.

use std::{
    collections::{BTreeMap, HashMap},
    ops::RangeInclusive,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use alloy_primitives::{Address, B256, keccak256};
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use futures::future::join_all;
use joule_committee::{Certificate, CertificateStatement, Scheme, Signatures};
use joule_committee_client::{Committee, ProbeAlarm, Probed, Probes, PromisedBatch, Record, checkpoint_hash};
use joule_contracts::DataCommittee;
use joule_l1::{AvailableAt, BatchOnL1, History, HistoryError, L1Client, L1Error};
use joule_protocol::Checkpoint;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use rand::{SeedableRng as _, rngs::StdRng};
use serde::Serialize;
use thiserror::Error;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{
    l1::{L1Source as _, WatchError, Watcher},
    records::RecordFile,
};

/// Batches that are remembered as promised. The oldest go first: they are the nearest to their expiry.
const PROMISED_MAX: usize = 65_536;

/// Why nothing could be watched. L1 is to blame; members are never: what they do is counted.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProbingError {
    /// L1 could not be followed.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// L1 could not be asked.
    #[error(transparent)]
    L1(#[from] L1Error),
    /// A batch's commit could not be read.
    #[error(transparent)]
    History(#[from] HistoryError),
}

/// How to watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchConfig {
    /// Between two probes.
    pub every: Duration,
    /// For one answer.
    pub limit: Duration,
}

impl Default for WatchConfig {
    fn default() -> Self {
        // 64 members are asked once an hour each, for half a batch each time.
        Self { every: Duration::from_secs(60), limit: Duration::from_secs(30) }
    }
}

/// Labels of a probe.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProbeLabels {
    member: String,
    outcome: &'static str,
}

/// Label of a member.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MemberLabel {
    member: String,
}

/// What is counted, under the prefix `joule_dac_watch_`.
#[derive(Debug)]
struct Metrics {
    registry: Registry,
    probes: Family<ProbeLabels, Counter>,
    failing: Family<MemberLabel, Gauge>,
    serving: Gauge,
    quorum: Gauge,
    promised: Gauge,
    l1_failures: Counter<u64, AtomicU64>,
    record_failures: Counter<u64, AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("joule_dac_watch");
        let (probes, failing) = (Family::default(), Family::default());
        let (serving, quorum, promised) = (Gauge::default(), Gauge::default(), Gauge::default());
        let (l1_failures, record_failures) = (Counter::default(), Counter::default());
        registry.register("probes", "Probes, by member and by what came of them", Family::clone(&probes));
        registry.register("failing", "Whether a member does not serve what it promised", Family::clone(&failing));
        registry.register("members_serving", "Members that do not count as failing", serving.clone());
        registry.register("quorum", "Members that must sign", quorum.clone());
        registry.register("batches_promised", "Batches that members have promised to serve", promised.clone());
        registry.register("l1_failures", "Failed attempts to read L1", l1_failures.clone());
        let help = "Failed attempts to put the members' records on disk";
        registry.register("record_failures", help, record_failures.clone());
        Self { registry, probes, failing, serving, quorum, promised, l1_failures, record_failures }
    }
}

/// Where the committee stands, for machines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WatchReport {
    /// Batches promised now.
    pub batches: usize,
    /// Members that serve.
    pub serving: usize,
    /// Members that must sign.
    pub quorum: u32,
    /// Whether fewer serve than must sign.
    pub is_alarming: bool,
    /// Every member's record.
    pub members: BTreeMap<Address, Record>,
}

/// What is known of the committee.
#[derive(Debug)]
struct Known {
    probes: Probes,
    /// What L1 says of each batch, by number: its commit, and what that promises. A batch that L1 dropped is not here any more.
    on_l1: BTreeMap<u64, (Commit, Option<PromisedBatch>)>,
    /// The same with the members that claim to hold a batch beside those that signed it: a certificate carries as many signatures as it needs and no more.
    promised: Arc<Vec<PromisedBatch>>,
    now_s: u64,
}

/// What tells one commit of a batch from another. A batch that was dropped and committed again leads to the same checkpoint under another certificate, or with its data on L1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Commit {
    checkpoint: B256,
    revert_count: u64,
    transaction: B256,
}

impl From<&BatchOnL1> for Commit {
    fn from(batch: &BatchOnL1) -> Self {
        let BatchOnL1 { checkpoint, revert_count, transaction, .. } = batch;
        Self { checkpoint: checkpoint_hash(checkpoint), revert_count: *revert_count, transaction: *transaction }
    }
}

impl Known {
    /// Forgets promises that are over or that L1 dropped, and says whose commits are to be read: a commit never changes, so what is known is not asked for again.
    fn learn(&mut self, batches: &[BatchOnL1], now_s: u64) -> Vec<BatchOnL1> {
        self.now_s = now_s;
        self.on_l1.retain(|number, (commit, promise)| {
            let on_l1 = number.checked_sub(1).and_then(|index| batches.get(usize::try_from(index).ok()?));
            let is_there = on_l1.is_some_and(|batch| Commit::from(batch) == *commit);
            is_there && promise.as_ref().is_none_or(|promise| promise.until_s > now_s)
        });
        let latest = batches.iter().rev().take(PROMISED_MAX);
        latest.filter(|batch| !self.on_l1.contains_key(&batch.number)).cloned().collect()
    }
}

/// A watcher of one committee.
#[derive(Debug)]
pub struct Watch {
    committee: Committee,
    config: WatchConfig,
    known: Mutex<Known>,
    owners: tokio::sync::Mutex<Owners>,
    metrics: Metrics,
    /// Behind a lock that is held from the look at the records to their being on disk, so that an older look never overwrites a newer one.
    file: Option<Arc<tokio::sync::Mutex<RecordFile>>>,
}

impl Watch {
    /// Watches the members that `committee` lists.
    pub fn new(committee: Committee, config: WatchConfig) -> Self {
        let (on_l1, promised) = Default::default();
        let known = Known { probes: Probes::new(0), on_l1, promised, now_s: 0 };
        let (owners, metrics, file) = Default::default();
        Self { committee, config, known: Mutex::new(known), owners, metrics, file }
    }

    /// Goes on from the records of a file, and keeps them there after each probe.
    #[must_use]
    pub fn keeping(mut self, file: RecordFile, records: BTreeMap<Address, Record>) -> Self {
        self.known.get_mut().unwrap_or_else(PoisonError::into_inner).probes = Probes::with_records(0, records);
        self.file = Some(Arc::new(tokio::sync::Mutex::new(file)));
        self
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Learns from L1 who has promised what.
    ///
    /// # Errors
    /// L1.
    pub async fn look(&self, l1: &mut Watcher) -> Result<(), ProbingError> {
        let Some(view) = l1.look().await? else { return Ok(()) };
        let client = l1.client().clone();
        let (quorum, accounts) = seated(&client).await?;
        let fresh = self.known().learn(&view.batches, view.time_s);
        let mut owners = self.owners.lock().await;
        for batch in fresh {
            let Some(parent) = l1.history().parent_of(batch.number).copied() else { continue };
            let promise = promise_of(&client, &mut owners, &batch, parent).await?;
            let promise = promise.filter(|promise| promise.until_s > view.time_s);
            self.known().on_l1.insert(batch.number, (Commit::from(&batch), promise));
        }
        let claims = self.claims().await;
        let mut known = self.known();
        while known.on_l1.len() > PROMISED_MAX {
            known.on_l1.pop_first();
        }
        let promised = known.on_l1.values().filter_map(|(_, promise)| promise.clone()).map(|mut batch| {
            let claiming = claims.iter().filter(|(account, held)| {
                accounts.contains(account) && held.contains(&batch.number) && !batch.members.contains(account)
            });
            let claiming: Vec<_> = claiming.map(|(account, _)| *account).collect();
            batch.members.extend(claiming);
            batch
        });
        known.promised = Arc::new(promised.collect());
        let promised = known.promised.clone();
        known.probes.seat(quorum, accounts, &promised);
        self.metrics.promised.set(promised.len() as i64);
        self.count(&known.probes);
        Ok(())
    }

    /// Which batches members hold, by their own word. Whoever does not even say where it stands is asked for all of them: silence must not be a way around
    /// being asked.
    async fn claims(&self) -> Vec<(Address, RangeInclusive<u64>)> {
        let asking = self.committee.members().iter().map(async |member| {
            let held = match self.committee.status(member, self.config.limit).await {
                Ok(status) => status.oldest_batch..=status.batch_number,
                Err(_) => 0..=u64::MAX,
            };
            (member.account, held)
        });
        join_all(asking).await
    }

    /// Asks one random member for one random chunk. `None` if nothing is promised.
    pub async fn probe(&self, rng: &mut StdRng) -> Option<(Address, Probed)> {
        let noted = self.ask_and_note(rng).await?;
        self.keep().await;
        Some(noted)
    }

    /// Puts the records on disk. A disk that fails costs the history, and does not end the watching.
    async fn keep(&self) {
        let Some(file) = &self.file else { return };
        let file = file.clone().lock_owned().await;
        let records = self.known().probes.records().clone();
        let written = tokio::task::spawn_blocking(move || file.write(&records)).await;
        if let Ok(Err(error)) = written {
            self.metrics.record_failures.inc();
            tracing::error!(%error, "records of probes are not kept");
        }
    }

    async fn ask_and_note(&self, rng: &mut StdRng) -> Option<(Address, Probed)> {
        let (probes, promised, now_s) = {
            let known = self.known();
            (known.probes.clone(), known.promised.clone(), known.now_s)
        };
        let probe = probes.draw(rng, &promised, now_s)?;
        let probed = self.committee.ask_probe(probe, self.config.limit).await;
        let mut known = self.known();
        let alarms = known.probes.note(probe.member, &probed, now_s);
        let outcome = match &probed {
            Probed::Shown => "shown",
            Probed::Missed(_) => "missed",
            Probed::Wrong(_) => "wrong",
        };
        let member = probe.member.to_string();
        self.metrics.probes.get_or_create(&ProbeLabels { member, outcome }).inc();
        self.count(&known.probes);
        for alarm in alarms {
            match alarm {
                ProbeAlarm::Failing { account, reason } => {
                    tracing::error!(%account, batch = probe.batch.number, chunk = probe.chunk, %reason,
                        "a member does not serve what it promised");
                }
                ProbeAlarm::Recovered { account } => tracing::info!(%account, "a member serves again"),
                ProbeAlarm::TooFew { serving, quorum } => {
                    tracing::error!(serving, quorum, "fewer members serve than have to sign");
                }
            }
        }
        Some((probe.member, probed))
    }

    fn count(&self, probes: &Probes) {
        self.metrics.serving.set(probes.serving() as i64);
        self.metrics.quorum.set(i64::from(probes.quorum()));
        for (account, record) in probes.records() {
            let failing = self.metrics.failing.get_or_create(&MemberLabel { member: account.to_string() });
            failing.set(i64::from(record.is_failing));
        }
    }

    /// Looks at L1 and probes until `stop`.
    pub async fn run(&self, mut l1: Watcher, stop: CancellationToken) {
        let mut rng = StdRng::from_os_rng();
        loop {
            if let Err(error) = self.look(&mut l1).await {
                self.metrics.l1_failures.inc();
                tracing::warn!(%error, "L1 cannot be read");
            }
            // Not on an error's way: what was promised yesterday is promised today.
            tokio::select! {
                _ = self.probe(&mut rng) => {}
                () = stop.cancelled() => return,
            }
            tokio::select! {
                () = sleep(self.config.every) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Where the committee stands.
    pub fn report(&self) -> WatchReport {
        let known = self.known();
        WatchReport {
            batches: known.promised.len(),
            serving: known.probes.serving(),
            quorum: known.probes.quorum(),
            is_alarming: known.probes.is_alarming(),
            members: known.probes.records().clone(),
        }
    }

    /// Everything counted, in OpenMetrics' text format.
    pub fn metrics(&self) -> String {
        let mut text = String::new();
        // Writing into a string does not fail.
        let _ = encode(&mut text, &self.metrics.registry);
        text
    }
}

/// `/metrics`, and `/healthz`, which says 503 while fewer members serve than have to sign.
pub fn router(watch: Arc<Watch>) -> Router {
    async fn health(State(watch): State<Arc<Watch>>) -> (StatusCode, String) {
        let WatchReport { serving, quorum, is_alarming, .. } = watch.report();
        let status = if is_alarming { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
        (status, format!("{serving} members serve, {quorum} must sign\n"))
    }
    async fn metrics(State(watch): State<Arc<Watch>>) -> impl IntoResponse {
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        ([(header::CONTENT_TYPE, kind)], watch.metrics())
    }
    Router::new().route("/healthz", get(health)).route("/metrics", get(metrics)).with_state(watch)
}

/// Who is seated now, and how many of them must sign.
async fn seated(client: &L1Client) -> Result<(u32, Vec<Address>), L1Error> {
    let committee = DataCommittee::new(client.contracts().committee, client.provider());
    let (mut quorum, mut accounts) = (0, Vec::new());
    for scheme in [Scheme::Ecdsa, Scheme::Bls] {
        let current = committee.currentKeyset(scheme as u8).call().await.map_err(L1Error::from)?;
        if current == B256::ZERO {
            continue;
        }
        quorum = quorum.max(committee.keysets(current).call().await.map_err(L1Error::from)?.quorum);
        accounts.extend(committee.seated(scheme as u8).call().await.map_err(L1Error::from)?);
    }
    accounts.sort_unstable();
    accounts.dedup();
    Ok((quorum, accounts))
}

/// Accounts by their keys. A key belongs to one account for good, so what was asked once need not be asked again.
#[derive(Debug, Default)]
struct Owners(HashMap<B256, Address>);

impl Owners {
    /// The account of a key, named as `DataCommittee` names it: by the hash of its encoding.
    async fn of(&mut self, client: &L1Client, key: &[u8]) -> Result<Option<Address>, L1Error> {
        let hash = keccak256(key);
        if let Some(owner) = self.0.get(&hash) {
            return Ok(Some(*owner));
        }
        let committee = DataCommittee::new(client.contracts().committee, client.provider());
        let owner = committee.keyOwner(hash).call().await.map_err(L1Error::from)?;
        if owner == Address::ZERO {
            return Ok(None);
        }
        self.0.insert(hash, owner);
        Ok(Some(owner))
    }
}

/// What a batch's certificate on L1 promises; `None` if its data is on L1, or if its commit came from a contract's inside and shows no certificate.
async fn promise_of(
    client: &L1Client,
    owners: &mut Owners,
    batch: &BatchOnL1,
    parent: Checkpoint,
) -> Result<Option<PromisedBatch>, ProbingError> {
    if batch.available_at == AvailableAt::L1 {
        return Ok(None);
    }
    let Some(availability) = History::availability_of(client, batch).await? else { return Ok(None) };
    let statement = CertificateStatement {
        l1_chain_id: client.constants().l1_chain_id,
        rollup: client.contracts().rollup,
        batch_number: batch.number,
        parent_checkpoint: batch.parent,
        checkpoint: checkpoint_hash(&batch.checkpoint),
        revert_count: batch.revert_count,
        data_bytes: batch.data_bytes,
        // Both are in the calldata.
        expiry: 0,
        keyset_hash: B256::ZERO,
    };
    let certificate = match Certificate::from_calldata(&statement, &availability) {
        Ok(certificate) => certificate,
        Err(error) => {
            // L1 took it in an encoding that nobody honest makes.
            tracing::warn!(number = batch.number, %error, "a certificate on L1 cannot be read");
            return Ok(None);
        }
    };
    let digest = certificate.statement.digest();
    let keys: Vec<Vec<u8>> = match &certificate.signatures {
        Signatures::Ecdsa { signatures, .. } => {
            let signers = signatures.iter().filter_map(|signature| signature.recover(digest).ok());
            signers.map(|signer| signer.into_word().to_vec()).collect()
        }
        Signatures::Bls { keyset, bitmap, .. } => {
            let signed = keyset.iter().enumerate().filter(|(index, _)| bitmap.bit(*index));
            signed.map(|(_, key)| [key.x.to_be_bytes::<32>(), key.y.to_be_bytes()].concat()).collect()
        }
    };
    let mut members = Vec::new();
    for key in keys {
        members.extend(owners.of(client, &key).await?);
    }
    let (number, checkpoint) = (batch.number, batch.checkpoint);
    Ok(Some(PromisedBatch { number, parent, checkpoint, until_s: certificate.statement.expiry, members }))
}

#[cfg(test)]
mod tests {
    use joule_l1::StageOnL1;

    use super::*;
    use crate::bench::BatchMaker;

    fn on_l1(revert_count: u64, transaction: u8, available_at: AvailableAt) -> BatchOnL1 {
        BatchOnL1 {
            number: 1,
            parent: B256::ZERO,
            checkpoint: *BatchMaker::new(joule_workload::Chain::test_genesis(), 1).checkpoint(),
            revert_count,
            data_bytes: 1,
            available_at,
            stage: StageOnL1::Committed,
            block_number: 1,
            transaction: B256::repeat_byte(transaction),
        }
    }

    #[test]
    fn a_batch_that_was_dropped_and_committed_again_between_two_looks_is_read_again() {
        let (on_l1_before, promised) = Default::default();
        let mut known = Known { probes: Probes::new(0), on_l1: on_l1_before, promised, now_s: 0 };
        let certified = AvailableAt::Committee { scheme: 1 };
        let first = on_l1(0, 1, certified.clone());
        let checkpoint = first.checkpoint;
        let promise =
            PromisedBatch { number: 1, parent: checkpoint, checkpoint, until_s: 100, members: vec![Address::ZERO] };
        assert_eq!(known.learn(std::slice::from_ref(&first), 5), std::slice::from_ref(&first));
        known.on_l1.insert(1, (Commit::from(&first), Some(promise.clone())));
        assert!(known.learn(std::slice::from_ref(&first), 6).is_empty(), "what is known is not asked for");
        // The same batch, which others have signed, with another expiry, or whose data is on L1 now.
        for again in [on_l1(1, 2, certified.clone()), on_l1(1, 3, AvailableAt::L1)] {
            known.on_l1.insert(1, (Commit::from(&first), Some(promise.clone())));
            assert_eq!(known.learn(std::slice::from_ref(&again), 7), std::slice::from_ref(&again));
            assert!(known.on_l1.is_empty(), "the promise of the first commit binds nobody");
        }
        known.on_l1.insert(1, (Commit::from(&first), Some(promise)));
        assert_eq!(known.learn(std::slice::from_ref(&first), 100).len(), 1, "its time is over");
    }
}
