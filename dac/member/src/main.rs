//! The command line of `joule-dac`.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use alloy_primitives::{Address, hex};
use anyhow::{Context as _, Result, bail};
use clap::{Args, Parser, Subcommand};
use joule_committee::{BlsSecretKey, CommitteeContext};
use joule_committee_client::{Committee, Endpoint, Scope};
use joule_dac::{
    api, bench,
    config::{Config, KeysConfig, L1Config, LimitsConfig, NetworkConfig, P2pConfig},
    http,
    join::{self, KeysHistory},
    keys::{self, MemberKeys},
    l1::{L1Source as _, Watcher},
    member::Member,
    p2p, peers,
    records::RecordFile,
    sync,
    watch::{Watch as Watching, WatchConfig, WatchReport},
};
use joule_l1::L1Client;
use joule_protocol::{Genesis, Native};
use joule_state::{MemoryStore, StateTree};
use joule_storage::Database;
use libp2p::Multiaddr;
use rand::{SeedableRng as _, rngs::StdRng};
use tokio::{net::TcpListener, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;
use zeroize::Zeroizing;

/// A member of Joule's data availability committee: checks, stores, signs and serves batch data.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Examples:
  joule-dac init --network network.toml --account 0x…   keys, configuration, and the chain's state
  joule-dac run                                         check, store, sign and serve
  joule-dac status                                      where this member and its peers stand
  joule-dac watch --network network.toml                asks random members for random chunks of what they promised
  joule-dac bench --json                                payments per second on this machine"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes keys and a configuration, and brings the disk to the chain's last executed state.
    Init(Init),
    /// Runs the member.
    Run(Run),
    /// Asks this member and its peers where they stand.
    Status(Status),
    /// Probes the members from outside: needs no key and no disk.
    Watch(Watch),
    /// Measures how fast this machine verifies, keeps and signs.
    Bench(Bench),
}

#[derive(Debug, Args)]
struct ConfigPath {
    /// The configuration file.
    #[arg(long, env = "JOULE_DAC_CONFIG", default_value = "joule-dac.toml")]
    config: PathBuf,
}

#[derive(Debug, Args)]
struct Init {
    #[command(flatten)]
    path: ConfigPath,
    /// The network's file, with [l1], [genesis] and [[peers]]; not needed where the configuration exists.
    #[arg(long)]
    network: Option<PathBuf>,
    /// The L1 account that registers the keys.
    #[arg(long)]
    account: Option<Address>,
    /// Where to keep everything.
    #[arg(long, default_value = "joule-dac")]
    data: PathBuf,
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:7060")]
    listen: SocketAddr,
    /// Where to listen on libp2p.
    #[arg(long, default_value = "/ip4/127.0.0.1/tcp/7061", value_name = "MULTIADDR")]
    p2p: Multiaddr,
    /// Declares that keys which were there before have never signed for this rollup. Without it, a member with a new disk and old keys signs no batch
    /// that it could have signed before.
    #[arg(long)]
    keys_unused: bool,
}

#[derive(Debug, Args)]
struct Run {
    #[command(flatten)]
    path: ConfigPath,
    /// Where to listen, before the file's `listen`.
    #[arg(long, env = "JOULE_DAC_LISTEN")]
    listen: Option<SocketAddr>,
    /// L1's JSON-RPC, before the file's `l1.url`.
    #[arg(long, env = "JOULE_DAC_L1_URL")]
    l1_url: Option<String>,
}

#[derive(Debug, Args)]
struct Status {
    #[command(flatten)]
    path: ConfigPath,
    /// For machines.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Watch {
    /// The network's file, with [l1], [genesis] and [[peers]].
    #[arg(long)]
    network: PathBuf,
    /// Seconds between two probes.
    #[arg(long, default_value_t = 60)]
    every_s: u64,
    /// Where to serve /metrics and /healthz, which says 503 while fewer members serve than have to sign.
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// File that keeps each member's record over restarts, made if it is not there. Without it records are in memory alone.
    #[arg(long, value_name = "FILE")]
    records: Option<PathBuf>,
    /// Probe so many times at once, report, and end: with status 1 if a member does not serve what it promised.
    #[arg(long, value_name = "COUNT")]
    probes: Option<u32>,
    /// Report for machines.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Bench {
    /// Payments to verify.
    #[arg(long, default_value_t = 20_000)]
    payments: usize,
    /// Full blocks in a batch.
    #[arg(long, default_value_t = 16)]
    batch_blocks: usize,
    /// Folder for the database; a temporary one otherwise. The disk below it is what is measured.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// For machines.
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match Cli::parse().command {
        Command::Init(arguments) => init(arguments).await,
        Command::Run(arguments) => run(arguments).await,
        Command::Status(arguments) => status(arguments).await,
        Command::Watch(arguments) => watch(arguments).await,
        Command::Bench(arguments) => bench(&arguments),
    }
}

async fn connect(l1: &L1Config) -> Result<L1Client> {
    let client = L1Client::connect(&l1.url, l1.chain_id, l1.rollup, l1.deployed_at).await;
    client.with_context(|| format!("L1 at {} cannot be used; check [l1] in the configuration", l1.url))
}

fn genesis_checkpoint(genesis: Genesis) -> Result<joule_protocol::Checkpoint> {
    let tree = StateTree::genesis(MemoryStore::default(), &genesis)?;
    Ok(genesis.checkpoint::<Native>(tree.root()))
}

fn read_keys(config: &KeysConfig) -> Result<MemberKeys> {
    let password = config.password.as_deref();
    let ecdsa = config.ecdsa.as_deref().map(|path| keys::read_ecdsa(path, password)).transpose()?;
    let bls = config.bls.as_deref().map(|path| keys::read_bls(path, password)).transpose()?;
    Ok(MemberKeys::new(config.account, ecdsa, bls)?)
}

async fn init(arguments: Init) -> Result<()> {
    let Init { path: ConfigPath { config: path }, network, account, data, listen, p2p, keys_unused } = arguments;
    if !path.exists() {
        let network = network.context("there is no configuration yet; give --network with the network's file")?;
        let account =
            account.context("there is no configuration yet; give --account, which registers the keys on L1")?;
        let NetworkConfig { l1, genesis, peers } = NetworkConfig::read(&network)?;
        let (ecdsa, bls) = (data.join("ecdsa.key"), data.join("bls.key"));
        let keys = KeysConfig { account, ecdsa: Some(ecdsa), bls: Some(bls), password: None };
        let p2p = Some(P2pConfig { listen: vec![p2p], key: data.join("p2p.key") });
        Config { listen, data, keys, p2p, limits: LimitsConfig::default(), l1, genesis, peers }.write_new(&path)?;
        println!("wrote {}", path.display());
    }
    let config = Config::read(&path)?;
    let are_new = make_keys(&config)?;
    if let Some(p2p) = &config.p2p {
        let peer = keys::read_identity(&p2p.key)?.public().to_peer_id();
        println!("on libp2p the member is reached at its address with /p2p/{peer} behind it");
    }
    let client = connect(&config.l1).await?;
    show_registration(&config, &client)?;

    let database = config.database();
    if database.exists() {
        println!("{} exists: the member keeps its state and its promises", database.display());
        return Ok(());
    }
    let mut watcher = Watcher::new(client.clone(), genesis_checkpoint(config.genesis()?)?, config.l1.confirmations);
    watcher.look().await?;
    let history = if are_new || keys_unused { KeysHistory::Unused } else { KeysHistory::MayHaveSigned };
    let limit = config.sync().peer_limit;
    let peers = peers::over_libp2p(config.committee()?, &client, config.network().on_libp2p()).await?;
    let (_, origin) =
        join::join(&database, &config.genesis()?, &client, watcher.history(), &peers, history, limit).await?;
    println!("the state is on disk: {origin:?}");
    if history == KeysHistory::MayHaveSigned {
        println!("the keys may have signed before: batches that they could have signed are not signed again");
    }
    println!("next: joule-dac run --config {}", path.display());
    Ok(())
}

/// Makes the keys whose files are missing. Returns whether all of them are new.
fn make_keys(config: &Config) -> Result<bool> {
    std::fs::create_dir_all(&config.data).with_context(|| format!("{} cannot be made", config.data.display()))?;
    let mut are_new = true;
    for (path, is_bls) in [(&config.keys.ecdsa, false), (&config.keys.bls, true)] {
        let Some(path) = path else { continue };
        if path.exists() {
            are_new = false;
            continue;
        }
        if is_bls {
            let mut entropy = Zeroizing::new([0; 48]);
            rand::fill(&mut *entropy);
            keys::write_new(path, &BlsSecretKey::from_entropy(&entropy)?.to_bytes())?;
        } else {
            let mut entropy = Zeroizing::new([0; 32]);
            rand::fill(&mut *entropy);
            keys::write_new(path, &entropy)?;
        }
        println!("made the key {}", path.display());
    }
    // Who somebody is on libp2p says nothing about what he has signed.
    if let Some(path) = config.p2p.as_ref().map(|p2p| &p2p.key).filter(|path| !path.exists()) {
        let mut entropy = Zeroizing::new([0; 32]);
        rand::fill(&mut *entropy);
        keys::write_new(path, &entropy)?;
        println!("made the key {}", path.display());
    }
    Ok(are_new)
}

/// What the account sends to `DataCommittee`.
fn show_registration(config: &Config, client: &L1Client) -> Result<()> {
    let account = config.keys.account;
    let committee = client.contracts().committee;
    let context = CommitteeContext { l1_chain_id: config.l1.chain_id, committee };
    println!("to become a member, {account} calls DataCommittee at {committee}:");
    if let Some(path) = &config.keys.ecdsa {
        let key = keys::read_ecdsa(path, config.keys.password.as_deref())?;
        let possession = hex::encode_prefixed(key.prove_possession(&context, account)?);
        println!("  register({}, {possession})", key.address());
    }
    if let Some(path) = &config.keys.bls {
        let shown = keys::read_bls(path, config.keys.password.as_deref())?.register(&context, account)?;
        let (key, key2, proof) = (shown.key, shown.key2, shown.possession);
        println!(
            "  registerBlsKey(({}, {}), ({}, {}, {}, {}), ({}, {}))",
            key.x, key.y, key2.x_imaginary, key2.x_real, key2.y_imaginary, key2.y_real, proof.x, proof.y
        );
    }
    Ok(())
}

async fn run(arguments: Run) -> Result<()> {
    let mut config = Config::read(&arguments.path.config)?;
    config.listen = arguments.listen.unwrap_or(config.listen);
    config.l1.url = arguments.l1_url.unwrap_or(config.l1.url);
    let path = config.database();
    if !path.exists() {
        bail!("{} does not exist; run: joule-dac init --config {}", path.display(), arguments.path.config.display());
    }
    let database = Database::open(&path, &config.genesis()?)?;
    let keys = read_keys(&config.keys)?;
    let member = Member::open(database, keys, config.l1.chain_id, config.l1.rollup, config.promises())?;
    let client = connect(&config.l1).await?;
    let peers = Arc::new(peers::over_libp2p(config.committee()?, &client, config.network().on_libp2p()).await?);
    let watcher = Watcher::new(client, genesis_checkpoint(config.genesis()?)?, config.l1.confirmations);
    let listener =
        TcpListener::bind(config.listen).await.with_context(|| format!("cannot listen on {}", config.listen))?;
    tracing::info!(listen = %listener.local_addr()?, account = %config.keys.account, "the member is running");

    let stop = CancellationToken::new();
    let on_libp2p = match &config.p2p {
        Some(P2pConfig { listen, key }) => {
            Some(p2p::serve(&keys::read_identity(key)?, listen, member.clone(), stop.clone())?)
        }
        None => None,
    };
    let syncing = tokio::spawn(sync::run(member.clone(), watcher, peers, config.sync(), stop.clone()));
    let stopped = stop.clone();
    let router = api::router(member);
    let serving = tokio::spawn(http::serve(listener, router, config.http(), async move { stopped.cancelled().await }));
    shutdown().await?;
    tracing::info!("stopping: what is under way is finished");
    stop.cancel();
    syncing.await?;
    serving.await??;
    if let Some(serving) = on_libp2p {
        serving.task.await?;
    }
    Ok(())
}

/// Waits for an interrupt or a request to terminate.
async fn shutdown() -> Result<()> {
    #[cfg(unix)]
    {
        let mut terminate = signal::unix::signal(signal::unix::SignalKind::terminate())?;
        tokio::select! {
            interrupted = signal::ctrl_c() => interrupted?,
            _ = terminate.recv() => {}
        }
    }
    #[cfg(not(unix))]
    signal::ctrl_c().await?;
    Ok(())
}

async fn status(arguments: Status) -> Result<()> {
    let config = Config::read(&arguments.path.config)?;
    let own = Endpoint { account: config.keys.account, url: format!("http://{}", config.listen).parse()? };
    let mut members = vec![own];
    members.extend(config.committee()?.members().iter().cloned());
    let committee = Committee::new(members)?;
    let limit = Duration::from_secs(5);
    let mut answers = Vec::new();
    for member in committee.members() {
        answers.push((member.account, committee.status(member, limit).await));
    }
    for (account, answer) in &answers {
        match answer {
            Ok(status) if arguments.json => println!("{}", serde_json::to_string(status)?),
            Ok(status) => println!(
                "{account}  batch {} (executed {}, data from {})  {}",
                status.batch_number,
                status.executed_number,
                status.oldest_batch,
                status.not_ready.as_deref().unwrap_or("signs"),
            ),
            Err(error) if arguments.json => {
                println!("{}", serde_json::json!({ "account": account, "error": error.to_string() }));
            }
            Err(error) => println!("{account}  {error}"),
        }
    }
    Ok(())
}

async fn watch(arguments: Watch) -> Result<()> {
    let network = NetworkConfig::read(&arguments.network)?;
    let client = connect(&network.l1).await?;
    let committee = peers::over_libp2p(network.committee()?, &client, network.on_libp2p()).await?;
    let mut l1 = Watcher::new(client, genesis_checkpoint(network.genesis()?)?, network.l1.confirmations);
    let config = WatchConfig { every: Duration::from_secs(arguments.every_s.max(1)), ..WatchConfig::default() };
    let mut watching = Watching::new(committee, config);
    if let Some(path) = &arguments.records {
        let scope = Scope { l1_chain_id: network.l1.chain_id, rollup: network.l1.rollup };
        let (file, known) = RecordFile::open(path, scope)?;
        watching = watching.keeping(file, known);
    }
    let watching = Arc::new(watching);
    if let Some(count) = arguments.probes {
        watching.look(&mut l1).await?;
        let mut rng = StdRng::from_os_rng();
        for _ in 0..count {
            if watching.probe(&mut rng).await.is_none() {
                break;
            }
        }
        let report = watching.report();
        show_watch(&report, arguments.json)?;
        if report.is_alarming || report.members.values().any(|record| record.is_failing) {
            bail!("members do not serve what they promised");
        }
        return Ok(());
    }
    let stop = CancellationToken::new();
    let serving = match arguments.listen {
        Some(listen) => {
            let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
            tracing::info!(listen = %listener.local_addr()?, "watching the committee");
            let (router, stopped) = (joule_dac::watch::router(watching.clone()), stop.clone());
            let limits = http::HttpLimits::default();
            Some(tokio::spawn(http::serve(listener, router, limits, async move { stopped.cancelled().await })))
        }
        None => None,
    };
    let stopped = stop.clone();
    let watched = watching.clone();
    let probing = tokio::spawn(async move { watched.run(l1, stopped).await });
    shutdown().await?;
    stop.cancel();
    probing.await?;
    if let Some(serving) = serving {
        serving.await??;
    }
    show_watch(&watching.report(), arguments.json)
}

fn show_watch(report: &WatchReport, json: bool) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string(report)?);
        return Ok(());
    }
    println!("{} batches promised; {} members serve, {} must sign", report.batches, report.serving, report.quorum);
    for (account, record) in &report.members {
        let standing = if record.is_failing { "FAILING" } else { "serves" };
        println!("{account}  {standing}  shown {}, missed {}, wrong {}", record.shown, record.missed, record.wrong);
    }
    Ok(())
}

fn bench(arguments: &Bench) -> Result<()> {
    let temporary;
    let folder = match &arguments.folder {
        Some(folder) => folder.clone(),
        None => {
            temporary = tempfile::tempdir()?;
            temporary.path().join("database")
        }
    };
    let measured = bench::run(&folder, arguments.payments, arguments.batch_blocks)?;
    if arguments.json {
        println!("{}", serde_json::to_string(&measured)?);
    } else {
        println!(
            "{} payments in {} blocks and {} batches, {} bytes of data: {:.2} s, {:.0} payments a second",
            measured.payments,
            measured.blocks,
            measured.batches,
            measured.data_bytes,
            measured.seconds,
            measured.payments_per_second,
        );
    }
    Ok(())
}
