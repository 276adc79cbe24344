//! The node as operators run it: `joule-node run` with real proofs, `joule-dac`, `joule-prover join` and the wallet `joule`, each a process of its own.

use std::{
    collections::BTreeMap,
    fs,
    net::TcpListener as Port,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use alloy::{
    primitives::{Address, U256},
    providers::Provider as _,
};
use anyhow::{Context as _, ensure};
use joule_l1::History;
use joule_node::{
    BatchConfig, BlockKey, CommitteeConfig, Config, GenesisConfig, L1Config, OperationsConfig, ProofKind, ProofShape,
    ProofsConfig, RpcConfig, SettlementConfig,
};
use joule_protocol::{Amount, Digest};
use joule_prover_engine::{CacheFolder, CircuitVerifier, VERIFIER_BYTES_MAX};
use joule_rpc::wire::ProverStatus;
use joule_testnet_l1::DEVELOPMENT_ACCOUNTS;
use rand::Rng as _;
use serde_json::Value;

use crate::{
    Client, Settings,
    checks::{self, Checked},
    process::{Process, Programs},
    report::Steps,
    sequencer::CONFIRMATIONS,
    world::{
        CERTIFICATE_LIFETIME_S, CERTIFICATE_MARGIN_S, MEMBERS, USER, VERIFIER_VERSION, World, sequencer_key, until,
    },
};

const ETHER: Amount = 1_000_000_000_000_000_000;
const LIMIT: Duration = Duration::from_secs(60);
/// Circuits may have to be built, and other machines are slower.
const READY_WITHIN: Duration = Duration::from_secs(900);
/// A proof of a small batch takes two minutes on two cores.
const PROVEN_WITHIN: Duration = Duration::from_secs(1_800);
/// Who is paid on L1 by the withdrawals.
const PAYEE: Address = Address::repeat_byte(0xcc);

/// What `joule-prover setup` leaves: circuits, keys, and what verifies results. Returns the program that they prove.
async fn set_up(programs: &Programs) -> anyhow::Result<Digest> {
    programs.run("joule-prover", &["setup", "--profile", "fast", "--json"]).await?;
    let path = CacheFolder::default_for_user()?.path().join("verifier-fast.joule");
    let length = fs::metadata(&path).with_context(|| path.display().to_string())?.len();
    ensure!(length <= VERIFIER_BYTES_MAX as u64, "{} is no verifier: it has {length} bytes", path.display());
    Ok(CircuitVerifier::from_bytes(&fs::read(path)?)?.program())
}

/// The node's process, its configuration, and where it is kept.
struct Node {
    programs: Programs,
    config: Config,
    file: PathBuf,
    process: Option<Process>,
}

impl Node {
    fn new(world: &World, programs: &Programs, seed: u64) -> anyhow::Result<Self> {
        let folder = world.folder().to_owned();
        let plan = world.network();
        let (genesis, l1) = (&world.genesis, &plan.l1);
        let key_file = folder.join("sequencer.key");
        let secret = sequencer_key(seed)?.credential().to_bytes().into();
        BlockKey::from_secret(secret).context("a key")?.write(&key_file)?;
        let port = || anyhow::Ok(Port::bind("127.0.0.1:0")?.local_addr()?);
        let base = Config::default();
        let config = Config {
            data_folder: world.sequencer_folder().to_owned(),
            log: "info".to_owned(),
            genesis: GenesisConfig {
                chain_id: genesis.chain_id,
                l1_chain_id: genesis.l1_chain_id,
                base_token: genesis.base_token.to_string(),
                fee_recipient: genesis.fee_recipient.to_string(),
                base_fee_max: genesis.base_fee_max,
                grace_seconds: genesis.grace_seconds,
                channel_close_seconds: genesis.channel_close_seconds,
                timestamp: genesis.timestamp,
                salt: genesis.salt.to_string(),
            },
            rpc: RpcConfig { address: port()?, ..base.rpc },
            operations: OperationsConfig { address: port()? },
            sequencer: joule_node::BlocksConfig { key_file: key_file.clone(), ..base.sequencer },
            // Long enough for everything of a round to be in one batch: each costs minutes.
            batch: BatchConfig { age_ms_max: 10_000, ..base.batch },
            l1: L1Config {
                url: l1.url.clone(),
                rollup: l1.rollup.to_string(),
                deployed_at: l1.deployed_at,
                confirmations: CONFIRMATIONS,
                poll_ms: 200,
            },
            settlement: SettlementConfig {
                key_file,
                confirmations: CONFIRMATIONS,
                poll_ms: 200,
                retry_s: 1,
                ..base.settlement
            },
            committee: CommitteeConfig {
                members: plan.peers.iter().map(|peer| format!("{}={}", peer.account, peer.url)).collect(),
                certificate_lifetime_s: CERTIFICATE_LIFETIME_S,
                certificate_margin_s: CERTIFICATE_MARGIN_S,
                deadline_ms: 20_000,
                linger_ms: 2_000,
                ..base.committee
            },
            proofs: ProofsConfig {
                kind: ProofKind::Local,
                folder: folder.join("proofs"),
                verifier_version: VERIFIER_VERSION,
                listen: vec![format!("/ip4/127.0.0.1/tcp/{}", port()?.port())],
                shape: ProofShape::Small,
                ..base.proofs
            },
            ..base
        };
        let file = folder.join("joule-node.toml");
        Ok(Self { programs: programs.clone(), config, file, process: None })
    }

    /// Starts it with the configuration as it is now, and waits until it settles.
    async fn start(&mut self) -> anyhow::Result<()> {
        fs::write(&self.file, toml::to_string(&self.config)?)?;
        let mut command = self.programs.command("joule-node");
        command.arg("--config").arg(&self.file).arg("run");
        let mut process = Process::start("joule-node", command, &self.file.with_extension("log"))?;
        process.prints("settlement                     on", READY_WITHIN).await?;
        self.process = Some(process);
        Ok(())
    }

    fn kill(&mut self) -> anyhow::Result<()> {
        self.process.take().context("the node runs")?.kill()
    }

    async fn stop(&mut self) -> anyhow::Result<()> {
        self.process.take().context("the node runs")?.stop().await
    }

    fn process(&mut self) -> anyhow::Result<&mut Process> {
        self.process.as_mut().context("the node runs")
    }

    fn rpc(&self) -> String {
        format!("http://{}", self.config.rpc.address)
    }
}

/// The wallet `joule`, with the key of the account that has money on L1.
struct Wallet {
    programs: Programs,
    key: String,
    rpc: String,
    l1: String,
}

impl Wallet {
    fn new(world: &World, programs: &Programs, node: &Node) -> anyhow::Result<Self> {
        let path = world.folder().join("wallet.key");
        BlockKey::from_secret(DEVELOPMENT_ACCOUNTS[1].1.0).context("a key")?.write(&path)?;
        let key = path.display().to_string();
        Ok(Self { programs: programs.clone(), key, rpc: node.rpc(), l1: world.l1.url() })
    }

    async fn run(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let connection = ["--json", "--key", &self.key, "--rpc", &self.rpc, "--l1-rpc", &self.l1];
        let said = self.programs.run("joule", &[&connection[..], arguments].concat()).await?;
        serde_json::from_str(&said).with_context(|| format!("`joule` answered {said:?}"))
    }

    async fn withdraw(&self, tokens: &str) -> anyhow::Result<String> {
        let done = self.run(&["withdraw", tokens, "--to", &PAYEE.to_string()]).await?;
        let transaction = done["transactionHash"].as_str().context("a transaction")?;
        Ok(transaction.to_owned())
    }
}

/// Steps of proving that are on the disk, and when each was written.
fn kept(folder: &Path) -> anyhow::Result<BTreeMap<PathBuf, SystemTime>> {
    let mut found = BTreeMap::new();
    let Ok(batches) = fs::read_dir(folder) else { return Ok(found) };
    for batch in batches {
        let Ok(files) = fs::read_dir(batch?.path()) else { continue };
        for file in files {
            let path = file?.path();
            if path.extension().is_some_and(|extension| extension == "artefact") {
                let written = fs::metadata(&path)?.modified()?;
                found.insert(path, written);
            }
        }
    }
    Ok(found)
}

/// A payment each for the wallets of the population, and a withdrawal: what a batch is made of here.
async fn pay(world: &World, wallet: &Wallet, tokens: &str) -> anyhow::Result<String> {
    for payee in world.population.wallets.iter().take(3) {
        wallet.run(&["transfer", &Address::new(payee.address.0).to_string(), "0.25"]).await?;
    }
    wallet.withdraw(tokens).await
}

/// Waits until L1 has executed a batch and the node says so, and claims the withdrawal in it.
async fn claimed(world: &World, node: &mut Node, wallet: &Wallet, number: u64, withdrawal: &str) -> anyhow::Result<()> {
    let executed = |history: &History| history.executed().is_some_and(|batch| batch.number >= number);
    until("the batch is executed", PROVEN_WITHIN, async || {
        node.process()?.check()?;
        Ok(executed(&world.history().await?).then_some(()))
    })
    .await?;
    until("the node says that the batch is executed", LIMIT, async || {
        let batch = wallet.run(&["batch", &number.to_string()]).await?;
        Ok((batch["stage"] == "executed").then_some(()))
    })
    .await?;
    wallet.run(&["claim", withdrawal]).await?;
    ensure!(wallet.run(&["claim", withdrawal]).await.is_err(), "a withdrawal could be claimed twice");
    Ok(())
}

/// The node settles by its own proofs, and then by those of a prover that joins; it is killed in the middle of either.
pub(crate) async fn node(seed: u64, settings: &Settings, steps: &mut Steps) -> anyhow::Result<Checked> {
    let programs = Programs::beside(&settings.sequencer.0)?;
    let program = set_up(&programs).await?;
    steps.done_with("joule-prover setup: circuits and keys");
    let mut world = World::start_with(seed, settings, Some(program), Some(programs.clone())).await?;
    steps.done_with(format!("L1, the contracts, and {MEMBERS} members as joule-dac"));
    let mut node = Node::new(&world, &programs, seed)?;
    node.start().await?;
    let wallet = Wallet::new(&world, &programs, &node)?;
    steps.done_with("joule-node run settles, with proofs of its own");

    wallet.run(&["deposit", "20"]).await?;
    let client = Client::connect(&node.rpc()).await?;
    until("the deposit is on L2", LIMIT, async || {
        let balance = client.provider().get_balance(USER).await?;
        Ok((balance >= U256::from(20 * ETHER)).then_some(()))
    })
    .await?;
    let withdrawal = pay(&world, &wallet, "1.5").await?;
    steps.done_with("deposit, transfers and a withdrawal with joule");

    // Dead in the middle of a step, after the first one was kept.
    let folder = node.config.proofs.folder.clone();
    let done = until("a step of proving", PROVEN_WITHIN, async || {
        node.process()?.check()?;
        let done = kept(&folder)?;
        Ok((!done.is_empty()).then_some(done))
    })
    .await?;
    tokio::time::sleep(Duration::from_millis(world.rng.random_range(500..5_000))).await;
    node.kill()?;
    steps.done_with(format!("killed with {} steps of the proof kept", done.len()));
    node.start().await?;
    steps.done_with("joule-node run, again");
    claimed(&world, &mut node, &wallet, 1, &withdrawal).await?;
    let now = kept(&folder)?;
    for (path, written) in &done {
        ensure!(now.get(path) == Some(written), "{} was made again", path.display());
    }
    steps.done_with("proven from there, executed, and the withdrawal is claimed");

    // The same again, with a prover that joins.
    node.stop().await?;
    node.config.proofs.kind = ProofKind::Network;
    node.config.proofs.folder = world.folder().join("provers");
    node.start().await?;
    let coordinator = node.process()?.prints("provers join", LIMIT).await?;
    let mut command = programs.command("joule-prover");
    command
        .args(["join", "--no-calibration", "--shapes", "small", "--memory", "8000"])
        .args(["--coordinator", &coordinator, "--payout", &Address::repeat_byte(0xa1).to_string()])
        .arg("--folder")
        .arg(world.folder().join("prover"));
    let mut prover = Process::start("joule-prover", command, &world.folder().join("prover.log"))?;
    let status = async || -> anyhow::Result<ProverStatus> {
        Ok(client.provider().raw_request("joule_proverStatus".into(), ()).await?)
    };
    until("the prover has joined", LIMIT, async || Ok((status().await?.provers > 0).then_some(()))).await?;
    steps.done_with("joule-node run stopped and started with proofs of the network; joule-prover joined");
    let withdrawal = pay(&world, &wallet, "2.5").await?;
    until("the prover has a task", PROVEN_WITHIN, async || {
        prover.check()?;
        node.process()?.check()?;
        Ok((status().await?.tasks_leased > 0).then_some(()))
    })
    .await?;
    tokio::time::sleep(Duration::from_millis(world.rng.random_range(500..5_000))).await;
    node.kill()?;
    steps.done_with("killed while the prover proves");
    node.start().await?;
    let again = node.process()?.prints("provers join", LIMIT).await?;
    ensure!(again == coordinator, "the coordinator moved from {coordinator} to {again}");
    claimed(&world, &mut node, &wallet, 2, &withdrawal).await?;
    prover.check()?;
    steps.done_with("started again: the prover's work is taken, the batch executed, and the withdrawal is claimed");

    for index in 0..MEMBERS {
        world.member_holds(index, 2).await?;
    }
    prover.stop().await?;
    node.stop().await?;
    let paid = world.provider.get_balance(PAYEE).await?;
    ensure!(paid == U256::from(4 * ETHER), "{PAYEE} got {paid} wei on L1");
    let sent = world.line.check_once()?;
    steps.done_with(format!("every process ended in order; {sent} transactions to L1, none of them twice"));
    let checked = checks::check(world, 4 * ETHER).await?;
    ensure!(checked.members_in_step == MEMBERS, "{} members are in step", checked.members_in_step);
    steps.done_with("every wei; no two statements; no two batches");
    Ok(checked)
}
