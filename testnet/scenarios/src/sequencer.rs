//! The sequencer with its settlement, in a process of its own.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use alloy::{
    primitives::{Address, Bytes},
    signers::local::PrivateKeySigner,
};
use anyhow::{Context as _, bail, ensure};
use joule_committee::{Keyset, Member, Scheme};
use joule_committee_client::{ExpiryPolicy, GatherTiming};
use joule_dac::config::NetworkConfig;
use joule_l1::{FeePolicy, FollowConfig, L1Client, OutboxPolicy};
use joule_machine::kernel_image;
use joule_node::{BlockKey, L1Setup, RunningNode, Setup};
use joule_operator::{CommitteePublisher, LocalProofs, Operations, OperationsSetup};
use joule_prover_engine::{CacheFolder, Engine, Profile, Progress, Silent, Step};
use joule_rpc::{Limits, wire::L1Contracts};
use joule_sequencer::{BatchLimits, PoolLimits, SequencerConfig};
use joule_settlement::{DriverConfig, Mode, NotProven, Notice, Policy, ProofRequest, ProofSource};
use joule_storage::Database;
use joule_tables::shape::Shape;
use serde::{Deserialize, Serialize};
use tokio::sync::{oneshot, watch};

use crate::world::{
    CERTIFICATE_LIFETIME_S, CERTIFICATE_MARGIN_S, HONEST, UPGRADE_DELAY_S, VERIFIER_VERSION, sequencer_key,
};

/// Blocks on top of a block of L1 before settlement leans on it.
pub(crate) const CONFIRMATIONS: u64 = 4;
/// Seconds that the committee must be well before data returns to it.
const HEALTHY_FOR_S: u64 = 3;

/// Where proofs come from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ProofPlan {
    /// From nowhere: batches are committed, and never proven.
    None,
    /// From an engine in the sequencer's process, whose results are kept in this folder.
    Local(PathBuf),
}

/// What a sequencer's process is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// What its key is made from.
    pub seed: u64,
    /// L1 through the recorder, genesis, and the members.
    pub network: NetworkConfig,
    /// The bridge, the escape, and the committee's contract, for clients.
    pub contracts: [Address; 3],
    /// Its disk.
    pub database: PathBuf,
    /// Where JSON-RPC listens.
    pub rpc: SocketAddr,
    /// How long batches collect transactions, milliseconds.
    pub batch_age_ms: u64,
    /// Where proofs come from.
    pub proofs: ProofPlan,
}

/// What a sequencer's process says, a line of JSON each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Said {
    /// JSON-RPC is served.
    Ready,
    /// A batch has come so far.
    Stage { number: u64, stage: String },
    /// A person should know.
    Alarm(String),
    /// Where data goes.
    DataToL1(bool),
    /// A step of proving has begun.
    Proving(String),
    /// A step of proving is done; `false` if its result was there.
    Proved(String, bool),
}

fn say(said: &Said) {
    let Ok(line) = serde_json::to_string(said) else { return };
    // Without somebody who listens there is nobody to tell; the end of its input tells the process so.
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// No proofs, and it says so. Settlement asks again and again, and commits what it has.
#[derive(Clone, Copy, Debug)]
struct NoProofs;

impl ProofSource for NoProofs {
    async fn prove(&self, _: ProofRequest) -> Result<Bytes, NotProven> {
        Err(NotProven { reason: "this scenario has no prover".to_owned() })
    }
}

#[derive(Clone, Copy, Debug)]
struct Told;

impl Progress for Told {
    fn begin(&self, step: &Step) {
        say(&Said::Proving(step.to_string()));
    }

    fn end(&self, step: &Step, took: Option<Duration>) {
        say(&Said::Proved(step.to_string(), took.is_some()));
    }
}

/// Becomes the sequencer of a plan until its input ends, which is when whoever started it asks it to, or dies.
///
/// # Errors
/// A part that does not start, or does not end in order.
pub async fn sequence(plan: &Path) -> anyhow::Result<()> {
    let plan: Plan = serde_json::from_slice(&fs::read(plan)?).context("the plan")?;
    let database = Database::open(&plan.database, &plan.network.genesis()?)?;
    match plan.proofs.clone() {
        ProofPlan::None => sequence_with(plan, database, NoProofs).await,
        ProofPlan::Local(folder) => {
            let built = tokio::task::spawn_blocking(|| -> anyhow::Result<Engine> {
                let cache = CacheFolder::default_for_user()?;
                let engine = Engine::new(kernel_image(), &Shape::ALL, Profile::Fast, &cache, &Silent)?;
                engine.set_up_wrap(&Silent)?;
                Ok(engine)
            });
            let engine = Arc::new(built.await??);
            let proofs = LocalProofs::new(database.clone(), engine, VERIFIER_VERSION, &folder, Told);
            sequence_with(plan, database, proofs).await
        }
    }
}

async fn sequence_with(plan: Plan, database: Database, proofs: impl ProofSource) -> anyhow::Result<()> {
    let key = sequencer_key(plan.seed)?;
    let at = &plan.network.l1;
    let l1 = L1Client::connect(&at.url, at.chain_id, at.rollup, at.deployed_at).await?;
    let [bridge, escape, committee] = plan.contracts;
    let setup = Setup {
        database: database.clone(),
        sequencer: SequencerConfig {
            base_fee: 1_000_000,
            block_interval_ms: 100,
            pool: PoolLimits::default(),
            batch: BatchLimits {
                gas_max: 64_000_000,
                data_bytes_max: 2_000_000,
                blocks_max: 600,
                age_ms_max: plan.batch_age_ms,
            },
        },
        key: BlockKey::from_secret(key.credential().to_bytes().into()).context("the key is no secret key")?,
        rpc: plan.rpc,
        limits: Limits::default(),
        operations: SocketAddr::from(([127, 0, 0, 1], 0)),
        l1: Some(L1Setup {
            client: l1.clone(),
            follow: FollowConfig { confirmations: CONFIRMATIONS, ..FollowConfig::default() },
            poll: Duration::from_millis(200),
            contracts: Some(L1Contracts { rollup: at.rollup, bridge, escape, committee }),
        }),
        peers: None,
    };
    let node = RunningNode::start(setup).await?;
    let publisher = publisher(&plan, database.clone(), l1.clone(), key.clone())?;
    let driver = DriverConfig {
        policy: Policy {
            certificate_margin_s: CERTIFICATE_MARGIN_S,
            healthy_for_s: HEALTHY_FOR_S,
            retry_s: 1,
            ..Policy::default()
        },
        poll: Duration::from_millis(200),
        confirmations: CONFIRMATIONS,
        health_every: Duration::from_millis(500),
    };
    let (fees, outbox) = (FeePolicy::default(), OutboxPolicy::default());
    let setup = OperationsSetup { database, l1, key, fees, outbox, driver, publisher, proofs };
    let mut operations = Operations::start(setup, node.node().subscribe_batches()).await?;
    let mut standing = operations.handle().standing();
    say(&Said::Ready);
    let (ended, mut is_over) = oneshot::channel();
    std::thread::spawn(move || {
        // Nothing is ever said to it: this returns when the other end is closed.
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        let _ = ended.send(());
    });
    let mut data_to_l1 = None;
    loop {
        let is_l1 = matches!(standing.borrow_and_update().mode, Mode::L1Data { .. });
        if data_to_l1 != Some(is_l1) {
            data_to_l1 = Some(is_l1);
            say(&Said::DataToL1(is_l1));
        }
        tokio::select! {
            notice = operations.notice() => match notice {
                Some(Notice::Stage { number, stage }) => say(&Said::Stage { number, stage: format!("{stage:?}") }),
                Some(Notice::Alarm(alarm)) => say(&Said::Alarm(format!("{alarm:?}"))),
                Some(Notice::Operator(alarm)) => say(&Said::Alarm(format!("{alarm:?}"))),
                None => bail!("settlement has ended by itself"),
            },
            changed = standing.changed() => changed.context("settlement has ended by itself")?,
            _ = &mut is_over => break,
        }
    }
    operations.stop().await?;
    node.stop().await?;
    Ok(())
}

fn publisher(
    plan: &Plan,
    database: Database,
    l1: L1Client,
    key: PrivateKeySigner,
) -> anyhow::Result<CommitteePublisher<Keyset>> {
    // The members' accounts are the addresses of their keys here.
    let seat = |account: Address| Member { account, signer: account, bls: None };
    let mut seats: Vec<_> = plan.network.peers.iter().map(|peer| seat(peer.account)).collect();
    seats.sort_by_key(|seat| seat.signer);
    let keyset = Keyset::new(Scheme::Ecdsa, seats, HONEST)?;
    let policy = ExpiryPolicy::new(CERTIFICATE_LIFETIME_S, CERTIFICATE_MARGIN_S, UPGRADE_DELAY_S)?;
    let timing = GatherTiming {
        deadline: Duration::from_secs(20),
        pause: Duration::from_millis(100),
        linger: Duration::from_secs(2),
        ..GatherTiming::default()
    };
    let committee = Arc::new(plan.network.committee()?);
    Ok(CommitteePublisher::new(database, l1, committee, keyset, key, policy, timing, Arc::new(())))
}

/// A sequencer's process, as whoever started it sees it.
#[derive(Debug)]
pub(crate) struct Sequencer {
    /// There until it is killed or stopped.
    child: Option<Child>,
    said: watch::Receiver<Vec<Said>>,
    pub(crate) rpc: String,
}

impl Sequencer {
    /// Starts one, and waits until it serves.
    pub(crate) async fn start(program: &(PathBuf, Vec<String>), plan: &Plan, file: &Path) -> anyhow::Result<Self> {
        fs::write(file, serde_json::to_vec(plan)?)?;
        let log = fs::OpenOptions::new().create(true).append(true).open(file.with_extension("log"))?;
        let mut child = Command::new(&program.0)
            .args(&program.1)
            .arg(file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .with_context(|| program.0.display().to_string())?;
        let out = child.stdout.take().context("its output")?;
        let (sender, said) = watch::channel(Vec::new());
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if let Ok(line) = serde_json::from_str(&line) {
                    sender.send_modify(|said| said.push(line));
                }
            }
        });
        let mut sequencer = Self { child: Some(child), said, rpc: format!("http://{}", plan.rpc) };
        sequencer
            .until("the sequencer serves", Duration::from_secs(300), |said| *said == Said::Ready)
            .await
            .with_context(|| fs::read_to_string(file.with_extension("log")).unwrap_or_default())?;
        Ok(sequencer)
    }

    /// Waits until it has said something, since it was started.
    pub(crate) async fn until(
        &mut self,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&Said) -> bool,
    ) -> anyhow::Result<()> {
        let heard = self.said.wait_for(|said| said.iter().any(&wanted));
        let heard = tokio::time::timeout(limit, heard).await.map(|heard| heard.map(drop));
        match heard {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => bail!("{what}: the sequencer's process ended before"),
            Err(_) => bail!("{what}: not within {limit:?}; it said {:?}", self.said.borrow()),
        }
    }

    /// Everything it has said.
    pub(crate) fn heard(&self) -> Vec<Said> {
        self.said.borrow().clone()
    }

    /// SIGKILL: it has no say in it.
    pub(crate) fn kill(mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Asks it to end in order.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        drop(child.stdin.take());
        let status = tokio::task::spawn_blocking(move || child.wait()).await??;
        ensure!(status.success(), "the sequencer did not end in order: {status}");
        Ok(())
    }
}

impl Drop for Sequencer {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // A scenario that failed leaves nothing running; the child may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
