//! Settling what this node seals: certificates from the committee, proofs from provers, transactions to L1.

mod keyset;
mod status;

use std::{path::Path, sync::Arc};

use alloy::{
    primitives::{Address, B256},
    signers::local::PrivateKeySigner,
};
use joule_committee_client::{Committee, ConnectError, ExpiryPolicy, ExpiryPolicyError};
use joule_l1::{FeePolicy, L1Client, L1Error, OutboxPolicy};
use joule_machine::kernel_image;
use joule_operator::{CommitteePublisher, LocalProofs, Operations, OperationsError, OperationsSetup};
use joule_prover_engine::{CacheFolder, CacheFolderError, Engine, EngineError, Profile, Silent};
use joule_settlement::{DriverConfig, Mode, ProofSource};
use joule_storage::Database;
use joule_tables::shape::Shape;
use thiserror::Error;
use tokio::{sync::broadcast, task::JoinHandle};
use tokio_util::sync::CancellationToken;

pub use keyset::KeysetOnL1Error;
pub use status::SettlingStatus;

use crate::{BlockKey, KeyFileError, Metrics, ProofPlan, SettlementPlan, config::ProofProfile};

/// Between questions to a committee that has failed.
const HEALTH_EVERY: std::time::Duration = std::time::Duration::from_secs(30);

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
    /// Settling itself.
    #[error(transparent)]
    Operations(Box<OperationsError>),
    /// A task of ours panicked.
    #[error("a part of settling ended: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl From<OperationsError> for SettlingError {
    fn from(error: OperationsError) -> Self {
        Self::Operations(Box::new(error))
    }
}

/// Settlement that runs beside a sequencer. [`Settling::stop`] ends it in order; what is under way then is found again at the next start.
#[derive(Debug)]
pub struct Settling {
    status: Arc<SettlingStatus>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), OperationsError>>,
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
        let ProofPlan::Local { folder, cache, profile } = plan.proofs.clone();
        let key = signer(&plan.key_file)?;
        let state = l1.state(l1.head().await?).await?;
        if key.address() != state.sequencer {
            return Err(SettlingError::NotTheSequencer { expected: state.sequencer, got: key.address() });
        }
        let cache = match cache {
            Some(path) => CacheFolder::new(&path),
            None => CacheFolder::default_for_user()?,
        };
        let engine = Arc::new(tokio::task::spawn_blocking(move || prepare(&cache, profile)).await??);
        let program = B256::new(engine.program_hash().to_hash().0);
        let expected = l1.rollup().programs(state.protocol_version).call().await.map_err(L1Error::from)?;
        if program != expected {
            return Err(SettlingError::OtherProgram { expected, got: program, version: state.protocol_version });
        }
        let proofs = LocalProofs::new(database.clone(), engine, plan.verifier_version, &folder, Silent);
        Self::start_with(plan, database, l1, key, proofs, sealed, metrics).await
    }

    /// As [`Settling::start`], with proofs from elsewhere and a key that is at hand.
    ///
    /// # Errors
    /// As [`Settling::start`].
    pub async fn start_with(
        plan: SettlementPlan,
        database: Database,
        l1: L1Client,
        key: PrivateKeySigner,
        proofs: impl ProofSource,
        sealed: broadcast::Receiver<u64>,
        metrics: Metrics,
    ) -> Result<Self, SettlingError> {
        let keyset = keyset::read(&l1).await?;
        if let Some(member) =
            keyset.members().iter().find(|seat| !plan.members.iter().any(|at| at.account == seat.account))
        {
            return Err(SettlingError::NoEndpoint { account: member.account });
        }
        let remaining_min_s = l1.constants().certificate_remaining_min_s;
        let expiry = ExpiryPolicy::new(plan.certificate_lifetime_s, plan.policy.certificate_margin_s, remaining_min_s)?;
        let status = Arc::new(SettlingStatus::new(keyset.clone()));
        let publisher = CommitteePublisher::new(
            database.clone(),
            l1.clone(),
            Arc::new(Committee::new(plan.members)?),
            keyset,
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
        let stop = CancellationToken::new();
        let task = tokio::spawn(watch(operations, status.clone(), metrics, stop.clone()));
        Ok(Self { status, stop, task })
    }

    /// What it shows of itself.
    pub fn status(&self) -> &Arc<SettlingStatus> {
        &self.status
    }

    /// Ends in order.
    ///
    /// # Errors
    /// Why settling had ended before.
    pub async fn stop(self) -> Result<(), SettlingError> {
        self.stop.cancel();
        Ok(self.task.await??)
    }
}

/// The key in a file, as L1 transactions and offers are signed with it.
fn signer(path: &Path) -> Result<PrivateKeySigner, SettlingError> {
    Ok(PrivateKeySigner::from_bytes(&B256::new(BlockKey::read(path)?.secret_bytes()))?)
}

fn prepare(cache: &CacheFolder, profile: ProofProfile) -> Result<Engine, Box<EngineError>> {
    let profile = match profile {
        ProofProfile::Fast => Profile::Fast,
        ProofProfile::Proven => Profile::Proven,
    };
    tracing::info!(profile = profile.name(), cache = %cache.path().display(), "circuits and keys; without a cache this takes minutes");
    let engine = Engine::new(kernel_image(), &Shape::ALL, profile, cache, &Silent)?;
    engine.set_up_wrap(&Silent)?;
    Ok(engine)
}

/// Takes what settlement says until it ends or is to stop.
async fn watch(
    mut operations: Operations,
    status: Arc<SettlingStatus>,
    metrics: Metrics,
    stop: CancellationToken,
) -> Result<(), OperationsError> {
    let mut standing = operations.handle().standing();
    loop {
        tokio::select! {
            notice = operations.notice() => match notice {
                Some(notice) => {
                    status.took(&notice);
                    if !matches!(notice, joule_settlement::Notice::Stage { .. }) {
                        metrics.settlement_alarms.inc();
                    }
                }
                None => break,
            },
            changed = standing.changed() => {
                if changed.is_err() {
                    break;
                }
                let now = *standing.borrow_and_update();
                metrics.batches_committed.set(now.committed as i64);
                metrics.batches_proven.set(now.proven as i64);
                metrics.batches_executed.set(now.executed as i64);
                metrics.data_on_l1.set(i64::from(now.mode != Mode::Committee));
            }
            () = stop.cancelled() => return operations.stop().await,
        }
    }
    let result = operations.stop().await;
    let reason = result.as_ref().err().map_or_else(|| "without a reason".to_owned(), ToString::to_string);
    tracing::error!(%reason, "settlement has ended; restart the node when the cause is gone");
    status.ended(reason);
    result
}
