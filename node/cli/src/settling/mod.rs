//! Settling what this node seals: certificates from the committee, proofs from provers, transactions to L1.

mod keyset;
mod payouts;
mod provers;
mod status;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use alloy::{
    primitives::{Address, B256},
    signers::local::PrivateKeySigner,
};
use joule_committee_client::{Committee, ConnectError, ExpiryPolicy, ExpiryPolicyError};
use joule_contracts::{Groth16Verifier, VerifierRouter};
use joule_l1::{FeePolicy, L1Client, L1Error, OutboxPolicy};
use joule_machine::kernel_image;
use joule_operator::{
    CommitteePublisher, LocalProofs, NetworkProofs, NetworkProofsConfig, NetworkProofsError, Operations,
    OperationsError, OperationsSetup, PayoutsError, RunningCoordinator,
};
use joule_protocol::Digest;
use joule_prover_engine::{CacheFolder, CacheFolderError, CircuitVerifier, Engine, EngineError, Profile, Silent};
use joule_prover_network::{Admission, AdmissionError, CoordinatorHandle, Rules};
use joule_settlement::{DriverConfig, Handle, Mode, Notice, ProofSource};
use joule_storage::Database;
use joule_tables::shape::Shape;
use thiserror::Error;
use tokio::{sync::broadcast, task::JoinSet, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

pub use keyset::KeysetOnL1Error;
pub use provers::ProverServices;
pub use status::SettlingStatus;

use crate::{BlockKey, KeyFileError, Metrics, ProofPlan, ProofProfile, ProofShape, SettlementPlan};

/// Between questions to a committee that has failed.
const HEALTH_EVERY: Duration = Duration::from_secs(30);
/// Between looks at a coordinator of provers.
const PROVERS_EVERY: Duration = Duration::from_secs(2);

/// Why settling did not start, or ended.
#[derive(Debug, Error)]
pub enum SettlingError {
    /// The key that sends.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// A key that cannot send.
    #[error("`settlement.key_file` holds no key that signs L1 transactions: {0}")]
    Signer(#[from] alloy::signers::k256::ecdsa::Error),
    /// L1 would refuse every commit.
    #[error("`settlement.key_file` holds the key of {got}, L1 takes batches from {expected} alone")]
    NotTheSequencer {
        /// L1's.
        expected: Address,
        /// The key's.
        got: Address,
    },
    /// L1.
    #[error(transparent)]
    L1(#[from] L1Error),
    /// The committee on L1.
    #[error(transparent)]
    Keyset(#[from] KeysetOnL1Error),
    /// A seated member whose address is not known: its signature would never come.
    #[error("L1 seats member {account}, and `committee.members` does not say where it listens")]
    NoEndpoint {
        /// The member.
        account: Address,
    },
    /// The members' addresses.
    #[error(transparent)]
    Committee(#[from] ConnectError),
    /// Certificates that would be too old at once.
    #[error("`committee.certificate_lifetime_s`: {0}")]
    Expiry(#[from] ExpiryPolicyError),
    /// Certificates that L1 would not take.
    #[error(
        "`committee.certificate_lifetime_s`: L1 takes no certificate that outlives its use by more than {max_s} s, for which its signers' stake is locked, and {got_s} s is longer"
    )]
    OutlivesStake {
        /// For how long stake is locked.
        max_s: u64,
        /// The lifetime.
        got_s: u64,
    },
    /// Nowhere to keep circuits.
    #[error(transparent)]
    Cache(#[from] CacheFolderError),
    /// Circuits or keys.
    #[error(transparent)]
    Engine(#[from] Box<EngineError>),
    /// Proofs that L1 would refuse.
    #[error("this version proves program {got}, L1 asks for {expected} (protocol version {version})")]
    OtherProgram {
        /// L1's.
        expected: B256,
        /// Ours.
        got: B256,
        /// The protocol version.
        version: u32,
    },
    /// Proofs that L1's verifier would refuse.
    #[error(
        "this version's proofs are of wrap circuit {got}, L1's verifier (version byte {version_byte}) is for {expected}"
    )]
    OtherCircuit {
        /// L1's.
        expected: String,
        /// Ours.
        got: String,
        /// What the router knows the verifier by.
        version_byte: u8,
    },
    /// L1's router has no verifier under the configured byte, or takes no more proofs for it.
    #[error("L1's router has no verifier in use under version byte {version_byte}; see `proofs.verifier_version`")]
    NoVerifier {
        /// The byte.
        version_byte: u8,
    },
    /// A verifier that cannot be made out, because it was left without the key of wraps.
    #[error("{}: it has no key of wraps; run: joule-prover setup", .path.display())]
    NoWrapKey {
        /// Its folder.
        path: PathBuf,
    },
    /// What results of provers are verified with.
    #[error("{}: {reason}; run: joule-prover setup --profile {profile}", .path.display())]
    Verifier {
        /// Its file.
        path: PathBuf,
        /// The profile.
        profile: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The coordinator of provers.
    #[error(transparent)]
    Provers(#[from] Box<NetworkProofsError>),
    /// Who may prove.
    #[error("`proofs.allow_file`: {0}")]
    Admission(#[from] AdmissionError),
    /// Where KEDA would ask.
    #[error("KEDA cannot be answered on {address}: {error}; choose another `proofs.keda`")]
    Keda {
        /// Where.
        address: std::net::SocketAddr,
        /// What the system says.
        error: std::io::Error,
    },
    /// Paying provers.
    #[error("`proofs.payout_key_file`: {0}")]
    Payouts(#[from] PayoutsError),
    /// Settling itself.
    #[error(transparent)]
    Operations(Box<OperationsError>),
    /// A task of ours panicked.
    #[error("a part of settling ended: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl From<NetworkProofsError> for SettlingError {
    fn from(error: NetworkProofsError) -> Self {
        Self::Provers(Box::new(error))
    }
}

impl From<OperationsError> for SettlingError {
    fn from(error: OperationsError) -> Self {
        Self::Operations(Box::new(error))
    }
}

/// Settlement that runs beside a sequencer. [`Settling::stop`] ends it in order, dropping it as a kill would; what is under way then is found again at the next start.
#[derive(Debug)]
pub struct Settling {
    status: Arc<SettlingStatus>,
    handle: Handle,
    provers: Option<CoordinatorHandle>,
    stop: CancellationToken,
    /// One task, which ends when this is dropped.
    task: JoinSet<Result<(), SettlingError>>,
}

impl Settling {
    /// Starts to settle what `database` holds and every batch whose number comes over `sealed`: reads keyset and program from L1, builds the circuits or takes them from the cache (minutes,
    /// once per version), and takes settlement up where storage and L1 have it.
    ///
    /// # Errors
    /// [`SettlingError`]: whatever would make L1 refuse, found before anything is sent.
    pub async fn start(
        plan: SettlementPlan,
        database: Database,
        l1: L1Client,
        sealed: broadcast::Receiver<u64>,
        metrics: Metrics,
    ) -> Result<Self, SettlingError> {
        let key = signer(&plan.key_file)?;
        let state = l1.state(l1.head().await?).await?;
        if key.address() != state.sequencer {
            return Err(SettlingError::NotTheSequencer { expected: state.sequencer, got: key.address() });
        }
        let (version, version_byte) = (state.protocol_version, plan.verifier_version);
        let expected = l1.rollup().programs(version).call().await.map_err(L1Error::from)?;
        let is_theirs = |program: Digest| match B256::new(program.to_hash().0) {
            got if got == expected => Ok(()),
            got => Err(SettlingError::OtherProgram { expected, got, version }),
        };
        match plan.proofs.clone() {
            ProofPlan::Local { folder, cache, profile } => {
                let cache = cache_folder(cache)?;
                let engine = Arc::new(tokio::task::spawn_blocking(move || prepare(&cache, profile)).await??);
                is_theirs(engine.program_hash())?;
                let keys = engine.wrap_keys().map_err(Box::new)?;
                check_verifier(&l1, version_byte, &keys.header.circuit).await?;
                let proofs = LocalProofs::new(database.clone(), engine, version_byte, &folder, Silent);
                Self::start_with(plan, database, l1, key, proofs, None, sealed, metrics).await
            }
            ProofPlan::Network { folder, cache, profile, listen, allow, shape, within, prices } => {
                // A list that cannot be read must not let everybody in.
                let admission = allow.as_deref().map(Admission::of_file).transpose()?.unwrap_or_default();
                let cache = cache_folder(cache)?;
                let verifier = verifier(&cache, profile)?;
                is_theirs(verifier.program())?;
                let path = cache.path().to_owned();
                let wrap_key = verifier.wrap_key().ok_or(SettlingError::NoWrapKey { path })?;
                check_verifier(&l1, version_byte, &wrap_key.header.circuit).await?;
                let shape = match shape {
                    ProofShape::Small => Shape::Small,
                    ProofShape::Medium => Shape::Medium,
                    ProofShape::Large => Shape::Large,
                };
                let rules = Rules::default();
                let config = NetworkProofsConfig {
                    listen,
                    folder,
                    version: version_byte,
                    prices,
                    within,
                    shape,
                    rules,
                    admission,
                };
                let (proofs, coordinator) = NetworkProofs::start(database.clone(), verifier, config).await?;
                for address in proofs.coordinator().addresses() {
                    tracing::info!(%address, "provers join here");
                }
                let coordinator = Some((proofs.coordinator().clone(), coordinator));
                Self::start_with(plan, database, l1, key, proofs, coordinator, sealed, metrics).await
            }
        }
    }

    /// As [`Settling::start`], with proofs from elsewhere and a key that is at hand. A coordinator that the proofs come from is ended with the rest.
    ///
    /// # Errors
    /// As [`Settling::start`].
    #[allow(clippy::too_many_arguments, reason = "each is one thing that whoever assembles a node has at hand")]
    pub async fn start_with(
        plan: SettlementPlan,
        database: Database,
        l1: L1Client,
        key: PrivateKeySigner,
        proofs: impl ProofSource,
        coordinator: Option<(CoordinatorHandle, RunningCoordinator)>,
        sealed: broadcast::Receiver<u64>,
        metrics: Metrics,
    ) -> Result<Self, SettlingError> {
        let keyset = keyset::read(&l1).await?;
        let known: Vec<Address> = plan.members.iter().map(|at| at.account).collect();
        keyset::check_endpoints(&keyset, &known)?;
        // The expiry is counted from a block of L1 no later than that of the commit, so that this is all there is to check.
        let (got_s, max_s) = (plan.certificate_lifetime_s, l1.constants().certificate_remaining_max_s);
        if got_s > max_s {
            return Err(SettlingError::OutlivesStake { max_s, got_s });
        }
        let remaining_min_s = l1.constants().certificate_remaining_min_s;
        let expiry = ExpiryPolicy::new(plan.certificate_lifetime_s, plan.policy.certificate_margin_s, remaining_min_s)?;
        let status = Arc::new(SettlingStatus::new(keyset));
        let publisher = CommitteePublisher::new(
            database.clone(),
            l1.clone(),
            Arc::new(Committee::new(plan.members)?),
            keyset::InForce { l1: l1.clone(), known, status: status.clone() },
            key.clone(),
            expiry,
            plan.timing,
            Arc::new(status::MembersSeen(status.clone())),
        );
        let setup = OperationsSetup {
            database,
            l1,
            key,
            fees: FeePolicy { cap_max: plan.fee_cap_max, ..FeePolicy::default() },
            outbox: OutboxPolicy::default(),
            driver: DriverConfig {
                policy: plan.policy,
                poll: plan.poll,
                confirmations: plan.confirmations,
                health_every: HEALTH_EVERY,
            },
            publisher: status::Published { inner: publisher, status: status.clone() },
            proofs: status::Proved { inner: proofs, status: status.clone() },
        };
        let operations = Operations::start(setup, sealed).await?;
        status.follows(operations.handle().standing());
        let handle = operations.handle().clone();
        let stop = CancellationToken::new();
        let provers = coordinator.as_ref().map(|(handle, _)| handle.clone());
        let mut task = JoinSet::new();
        task.spawn(watch(operations, coordinator, status.clone(), metrics, stop.clone()));
        Ok(Self { status, handle, provers, stop, task })
    }

    /// The coordinator of provers, if proofs come from one.
    pub fn provers(&self) -> Option<&CoordinatorHandle> {
        self.provers.as_ref()
    }

    /// For requests to settlement.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// What it shows of itself.
    pub fn status(&self) -> &Arc<SettlingStatus> {
        &self.status
    }

    /// Ends in order.
    ///
    /// # Errors
    /// Why settling had ended before.
    pub async fn stop(mut self) -> Result<(), SettlingError> {
        self.stop.cancel();
        match self.task.join_next().await {
            Some(ended) => ended?,
            None => Ok(()),
        }
    }
}

/// The key in a file, as L1 transactions and offers are signed with it.
fn signer(path: &Path) -> Result<PrivateKeySigner, SettlingError> {
    Ok(PrivateKeySigner::from_bytes(&B256::new(BlockKey::read(path)?.secret_bytes()))?)
}

fn cache_folder(configured: Option<PathBuf>) -> Result<CacheFolder, CacheFolderError> {
    configured.map_or_else(CacheFolder::default_for_user, |path| Ok(CacheFolder::new(&path)))
}

fn profile_of(profile: ProofProfile) -> Profile {
    match profile {
        ProofProfile::Fast => Profile::Fast,
        ProofProfile::Proven => Profile::Proven,
    }
}

fn prepare(cache: &CacheFolder, profile: ProofProfile) -> Result<Engine, Box<EngineError>> {
    let profile = profile_of(profile);
    tracing::info!(profile = profile.name(), cache = %cache.path().display(), "circuits and keys; without a cache this takes minutes");
    let engine = Engine::new(kernel_image(), &Shape::ALL, profile, cache, &Silent)?;
    engine.set_up_wrap(&Silent)?;
    Ok(engine)
}

/// Refuses proofs of other circuits than L1's verifier is for, before minutes are spent on one.
async fn check_verifier(l1: &L1Client, version_byte: u8, ours: &str) -> Result<(), SettlingError> {
    let router = VerifierRouter::new(l1.contracts().router, l1.provider());
    let known = router.verifiers(version_byte).call().await.map_err(L1Error::from)?;
    if known.verifier == Address::ZERO || known.isRetired {
        return Err(SettlingError::NoVerifier { version_byte });
    }
    let circuit = Groth16Verifier::new(known.verifier, l1.provider()).CIRCUIT().call().await.map_err(L1Error::from)?;
    match alloy::hex::encode(circuit) {
        expected if expected == ours => Ok(()),
        expected => Err(SettlingError::OtherCircuit { expected, got: ours.to_owned(), version_byte }),
    }
}

/// What results of provers are verified with, as `joule-prover setup` left it.
fn verifier(cache: &CacheFolder, profile: ProofProfile) -> Result<CircuitVerifier, SettlingError> {
    let profile = profile_of(profile);
    let path = cache.path().join(format!("verifier-{}.joule", profile.name()));
    let unusable = |reason: String| SettlingError::Verifier { path: path.clone(), profile: profile.name(), reason };
    let bytes = fs::read(&path).map_err(|error| unusable(error.to_string()))?;
    CircuitVerifier::from_bytes(&bytes).map_err(|error| unusable(error.to_string()))
}

/// Takes what settlement says until it ends or is to stop.
async fn watch(
    mut operations: Operations,
    coordinator: Option<(CoordinatorHandle, RunningCoordinator)>,
    status: Arc<SettlingStatus>,
    metrics: Metrics,
    stop: CancellationToken,
) -> Result<(), SettlingError> {
    let mut standing = operations.handle().standing();
    let mut beat = tokio::time::interval(PROVERS_EVERY);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let is_told = loop {
        tokio::select! {
            notice = operations.notice() => match notice {
                Some(notice) => {
                    status.took(&notice);
                    if !matches!(notice, Notice::Stage { .. }) {
                        metrics.settlement_alarms.inc();
                    }
                }
                None => break false,
            },
            changed = standing.changed() => {
                if changed.is_err() {
                    break false;
                }
                let now = *standing.borrow_and_update();
                metrics.batches_committed.set(now.committed as i64);
                metrics.batches_proven.set(now.proven as i64);
                metrics.batches_executed.set(now.executed as i64);
                metrics.data_on_l1.set(i64::from(now.mode != Mode::Committee));
            }
            _ = beat.tick(), if coordinator.is_some() => {
                if let Some((handle, _)) = &coordinator
                    && let Ok(counts) = handle.status().await
                {
                    status.provers_are(counts);
                }
            }
            () = stop.cancelled() => break true,
        }
    };
    let mut result = operations.stop().await.map_err(SettlingError::from);
    if let Some((_, coordinator)) = coordinator {
        let ended = coordinator.stop().await;
        result = result.and(ended.map_err(SettlingError::from));
    }
    if !is_told {
        let reason = result.as_ref().err().map_or_else(|| "without a reason".to_owned(), ToString::to_string);
        tracing::error!(%reason, "settlement has ended; restart the node when the cause is gone");
        status.ended(reason);
    }
    result
}
