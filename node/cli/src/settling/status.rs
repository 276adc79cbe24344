//! What settling shows of itself: to JSON-RPC, to `/healthz` and `/readyz`, and in metrics.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use alloy::primitives::{Address, Bytes};
use joule_committee::{Keyset, Scheme, Signatures, VerifiedCertificate};
use joule_committee_client::{Observer, Report};
use joule_prover_network::{Status, TaskCounts};
use joule_rpc::wire::{CommitteeMember, CommitteeStatus, DataMode, ProverStatus};
use joule_settlement::{Mode, NotCertified, NotProven, Notice, Offer, ProofRequest, ProofSource, Publisher, Standing};
use tokio::sync::watch;

/// A member as it was last seen.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    is_healthy: bool,
    last_signed_batch: Option<u64>,
}

/// What is counted of proving.
#[derive(Debug, Default)]
pub(crate) struct ProofCounts {
    under_way: AtomicU32,
    /// 0 before the first.
    last: AtomicU64,
}

/// What settling shows of itself. Shared by the parts that see something and those that tell of it.
#[derive(Debug)]
pub struct SettlingStatus {
    /// As L1 had it in force when it was asked last.
    keyset: Mutex<Arc<Keyset>>,
    members: Mutex<HashMap<Address, Seen>>,
    proofs: ProofCounts,
    /// What a coordinator of provers counts; `None` where this process proves.
    network: Mutex<Option<Status>>,
    standing: OnceLock<watch::Receiver<Standing>>,
    alarm: Mutex<Option<String>>,
    ended: OnceLock<String>,
}

impl SettlingStatus {
    pub(crate) fn new(keyset: Keyset) -> Self {
        Self {
            keyset: Mutex::new(Arc::new(keyset)),
            members: Mutex::default(),
            proofs: ProofCounts::default(),
            network: Mutex::default(),
            standing: OnceLock::new(),
            alarm: Mutex::default(),
            ended: OnceLock::new(),
        }
    }

    pub(crate) fn keyset(&self) -> Arc<Keyset> {
        lock(&self.keyset).clone()
    }

    /// L1 has another keyset in force. Members that are not in it are forgotten.
    pub(crate) fn seats(&self, keyset: Keyset) {
        lock(&self.members).retain(|account, _| keyset.position(*account).is_some());
        *lock(&self.keyset) = Arc::new(keyset);
    }

    pub(crate) fn follows(&self, standing: watch::Receiver<Standing>) {
        // Set once, by whoever started settling.
        let _ = self.standing.set(standing);
    }

    pub(crate) fn took(&self, notice: &Notice) {
        match notice {
            Notice::Alarm(alarm) => *lock(&self.alarm) = Some(format!("{alarm:?}")),
            Notice::Operator(alarm) => *lock(&self.alarm) = Some(format!("{alarm:?}")),
            Notice::Stage { .. } => {}
        }
    }

    pub(crate) fn provers_are(&self, counts: Status) {
        *lock(&self.network) = Some(counts);
    }

    pub(crate) fn ended(&self, reason: String) {
        let _ = self.ended.set(reason);
    }

    /// Why settling has ended, if it has.
    pub fn failure(&self) -> Option<&str> {
        self.ended.get().map(String::as_str)
    }

    /// Where settlement stands; `None` before it has started.
    pub fn standing(&self) -> Option<Standing> {
        self.standing.get().map(|standing| *standing.borrow())
    }

    /// One line for people.
    pub fn line(&self) -> String {
        if let Some(reason) = self.failure() {
            return format!("settlement has ended: {reason}");
        }
        let Some(Standing { mode, sealed, committed, proven, executed, looked_at_s }) = self.standing() else {
            return "settlement starts".to_owned();
        };
        let l1 = match looked_at_s {
            Some(_) => format!("L1 has committed {committed}, proven {proven}, executed {executed}"),
            None => "L1 has not answered yet".to_owned(),
        };
        let data = if mode == Mode::Committee { "the committee" } else { "L1" };
        let alarm = lock(&self.alarm).as_ref().map(|alarm| format!("; last alarm: {alarm}")).unwrap_or_default();
        format!("settlement: {sealed} batches sealed, {l1}; data goes to {data}{alarm}")
    }

    /// The committee, for JSON-RPC.
    pub fn committee(&self) -> CommitteeStatus {
        let (keyset, seen) = (self.keyset(), lock(&self.members));
        let mode = match self.standing().map(|standing| standing.mode) {
            Some(Mode::L1Data { .. }) => DataMode::OnL1,
            Some(Mode::Committee) | None => DataMode::Certified,
        };
        let members = keyset.members().iter().map(|member| {
            let Seen { is_healthy, last_signed_batch } = seen.get(&member.account).copied().unwrap_or_default();
            let key = match (keyset.scheme(), member.bls) {
                (Scheme::Bls, Some(key)) => {
                    Bytes::from([key.g1().x.to_be_bytes::<32>(), key.g1().y.to_be_bytes()].concat())
                }
                _ => Bytes::copy_from_slice(member.signer.as_slice()),
            };
            CommitteeMember { key, is_healthy, last_signed_batch }
        });
        CommitteeStatus { keyset_hash: keyset.hash(), quorum: keyset.quorum(), mode, members: members.collect() }
    }

    /// Proving, for JSON-RPC: as the coordinator counts it; a process that proves itself counts as one prover.
    pub fn provers(&self) -> ProverStatus {
        let last = self.proofs.last.load(Ordering::Relaxed);
        if let Some(counts) = *lock(&self.network) {
            let count = |of: fn(&TaskCounts) -> usize| counts.tasks.iter().map(of).sum::<usize>() as u32;
            return ProverStatus {
                provers: counts.provers_known as u32,
                tasks_waiting: count(|tasks| tasks.queued),
                tasks_leased: count(|tasks| tasks.leased + tasks.verifying),
                last_proven_batch: (last != 0).then_some(last),
            };
        }
        let under_way = self.proofs.under_way.load(Ordering::Relaxed);
        // One batch is proven at a time; the others wait for their turn.
        let leased = under_way.min(1);
        ProverStatus {
            provers: 1,
            tasks_waiting: under_way - leased,
            tasks_leased: leased,
            last_proven_batch: (last != 0).then_some(last),
        }
    }

    fn signed(&self, number: u64, certificate: &VerifiedCertificate) {
        let (keyset, certificate) = (self.keyset(), certificate.certificate());
        let digest = certificate.statement.digest();
        let signers: Vec<Address> = match &certificate.signatures {
            Signatures::Ecdsa { signatures, .. } => {
                let signers: Vec<_> =
                    signatures.iter().filter_map(|signature| signature.recover(digest).ok()).collect();
                let seats = keyset.members().iter().filter(|member| signers.contains(&member.signer));
                seats.map(|member| member.account).collect()
            }
            Signatures::Bls { bitmap, .. } => {
                let seats = keyset.members().iter().enumerate().filter(|(position, _)| bitmap.bit(*position));
                seats.map(|(_, member)| member.account).collect()
            }
        };
        let mut members = lock(&self.members);
        for account in signers {
            let seen = members.entry(account).or_default();
            seen.last_signed_batch = Some(number.max(seen.last_signed_batch.unwrap_or(0)));
        }
    }
}

/// What is behind the locks is whole after every statement, so a panic elsewhere leaves it usable.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes how members do, and passes everything on to the log.
#[derive(Debug)]
pub(crate) struct MembersSeen(pub(crate) Arc<SettlingStatus>);

impl Observer for MembersSeen {
    fn report(&self, report: Report) {
        let seen = match &report {
            Report::Counted { account, .. } | Report::Late { account } => Some((*account, true)),
            Report::Failed { account, is_retried: false, .. } | Report::BadShare { account, .. } => {
                Some((*account, false))
            }
            _ => None,
        };
        // Only members of the keyset are kept: the list of endpoints may name others.
        if let Some((account, is_healthy)) = seen
            && self.0.keyset().position(account).is_some()
        {
            lock(&self.0.members).entry(account).or_default().is_healthy = is_healthy;
        }
        ().report(report);
    }
}

/// A publisher whose certificates are noted.
#[derive(Debug)]
pub(crate) struct Published<P> {
    pub(crate) inner: P,
    pub(crate) status: Arc<SettlingStatus>,
}

impl<P: Publisher> Publisher for Published<P> {
    async fn publish(&self, offer: Offer) -> Result<VerifiedCertificate, NotCertified> {
        let number = offer.batch.number;
        let certificate = self.inner.publish(offer).await?;
        self.status.signed(number, &certificate);
        Ok(certificate)
    }

    async fn is_healthy(&self) -> bool {
        self.inner.is_healthy().await
    }
}

/// A source of proofs whose work is counted.
#[derive(Debug)]
pub(crate) struct Proved<Q> {
    pub(crate) inner: Q,
    pub(crate) status: Arc<SettlingStatus>,
}

/// Counts a proof as under way for as long as it lives, also where whoever asked goes away.
struct UnderWay<'a>(&'a ProofCounts);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<Q: ProofSource> ProofSource for Proved<Q> {
    async fn prove(&self, request: ProofRequest) -> Result<Bytes, NotProven> {
        let (number, counts) = (request.batch.number, &self.status.proofs);
        counts.under_way.fetch_add(1, Ordering::Relaxed);
        let _under_way = UnderWay(counts);
        let proof = self.inner.prove(request).await?;
        counts.last.fetch_max(number, Ordering::Relaxed);
        Ok(proof)
    }
}
