//! The command line of `joule-node`.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand};
use joule_l1::{FollowConfig, L1Client};
use joule_node::{
    BlockKey, Config, FullSetup, L1Setup, PeerPlan, ProverServices, Resolved, Role, RunningFullNode, RunningNode,
    Settling, Setup, begin, bench, contracts_of, identity, snapshot,
};
use joule_p2p::Keypair;
use joule_protocol::Genesis;
use joule_storage::Database;
use tracing_subscriber::EnvFilter;

/// Joule's node: sequencer or full node.
#[derive(Debug, Parser)]
#[command(
    name = "joule-node",
    version,
    after_help = "\
Examples:
  joule-node config show                       every setting, its value, and where it came from
  joule-node --set rpc.address=0.0.0.0:8545 run
  joule-node --set role=full --set p2p.bootnodes=/ip4/192.0.2.1/tcp/7070/p2p/12D3... run
  joule-node snapshot export state.snapshot    the state after the last executed batch
  joule-node bench --seconds 30 --json         payments per second through RPC on this machine"
)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Common {
    /// Configuration file; written with the defaults if it is not there.
    #[arg(long, global = true, default_value = "joule-node.toml", env = "JOULE_NODE", value_name = "FILE")]
    config: PathBuf,
    /// Sets one value over the file and the environment.
    #[arg(long = "set", global = true, value_name = "KEY=VALUE", value_parser = key_and_value)]
    settings: Vec<(String, String)>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the node in its role until it is told to stop (SIGINT or SIGTERM).
    Run,
    /// The configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// The state at an executed checkpoint, in a file.
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
    /// Measures signed payments through RPC on this machine, generator included.
    Bench(bench::Options),
}

#[derive(Debug, Subcommand)]
enum SnapshotCommand {
    /// Writes the state after the last batch that L1 has executed, as far as this node knows. The node must not be running.
    Export {
        /// The file; it must not be there yet.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// For machines.
        #[arg(long)]
        json: bool,
    },
    /// Makes this node's database from a snapshot, if L1 has executed its checkpoint. History before it is fetched once the full node runs.
    Restore {
        /// The file.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// For machines.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Prints every setting with its value and where it came from.
    Show {
        /// For machines.
        #[arg(long)]
        json: bool,
    },
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as key=value, for example rpc.address=127.0.0.1:8545")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the runtime")?;
    match cli.command {
        Command::Run => {
            let resolved = Resolved::load(cli.common.config, true, &cli.common.settings)?;
            start_logging(&resolved.config.log)?;
            runtime.block_on(run(&resolved))
        }
        Command::Config(ConfigCommand::Show { json }) => {
            show(&Resolved::load(cli.common.config, false, &cli.common.settings)?, json)
        }
        Command::Snapshot(command) => {
            let resolved = Resolved::load(cli.common.config, false, &cli.common.settings)?;
            start_logging(&resolved.config.log)?;
            runtime.block_on(snapshot_command(&resolved.config, command))
        }
        Command::Bench(options) => {
            start_logging("warn")?;
            runtime.block_on(bench::run(&options))
        }
    }
}

fn start_logging(filter: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter).with_context(|| format!("`log` is {filter:?}, which is no filter"))?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    Ok(())
}

fn show(resolved: &Resolved, json: bool) -> anyhow::Result<()> {
    if json {
        let values: serde_json::Map<_, _> = resolved
            .values()
            .map(|(key, value, source)| {
                (key.to_owned(), serde_json::json!({ "value": value, "source": source.to_string() }))
            })
            .collect();
        println!("{}", serde_json::to_string_pretty(&values)?);
        return Ok(());
    }
    for (key, value, source) in resolved.values() {
        println!("{:<40}  # {source}", format!("{key} = {value}"));
    }
    Ok(())
}

async fn run(resolved: &Resolved) -> anyhow::Result<()> {
    let config = &resolved.config;
    if config.l1.url.is_empty() {
        bail!(
            "`l1.url` is not set: without an L1 no money comes in and nothing is settled. Set it, `l1.rollup` and `l1.deployed_at`"
        );
    }
    match config.role {
        Role::Sequencer => run_sequencer(config).await,
        Role::Full => run_full(config).await,
    }
}

/// Connects to L1, and sees that it has this chain.
async fn connect(config: &Config, genesis: &Genesis) -> anyhow::Result<L1Setup> {
    let rollup = config.rollup()?;
    let client = L1Client::connect(&config.l1.url, genesis.l1_chain_id, rollup.0.into(), config.l1.deployed_at)
        .await
        .context("connecting to L1")?;
    if client.constants().l2_chain_id != genesis.chain_id {
        bail!(
            "the rollup on L1 is for chain {}, `genesis.chain_id` is {}",
            client.constants().l2_chain_id,
            genesis.chain_id
        );
    }
    let contracts = contracts_of(&client).await.context("reading the contracts' addresses")?;
    let follow = FollowConfig { confirmations: config.l1.confirmations, ..FollowConfig::default() };
    let poll = Duration::from_millis(config.l1.poll_ms.max(1));
    Ok(L1Setup { client, follow, poll, contracts: Some(contracts) })
}

/// Who this node is among peers, if it has any.
fn peers(config: &Config) -> anyhow::Result<Option<(PeerPlan, Keypair)>> {
    let Some(plan) = config.peer_plan()? else { return Ok(None) };
    let keys = identity(&plan.key_file).context("`p2p.key_file`")?;
    Ok(Some((plan, keys)))
}

async fn run_sequencer(config: &Config) -> anyhow::Result<()> {
    let genesis = config.genesis()?;
    let sequencer = config.sequencer()?;
    let settlement = config.settlement_plan()?;
    let for_provers = config.provers_plan()?;
    let key = BlockKey::read(&config.sequencer.key_file)?;
    let peers = peers(config)?;
    let l1 = connect(config, &genesis).await?;
    let client = l1.client.clone();
    let state = client.state(client.head().await?).await.context("reading the rollup")?;
    if state.sequencer.0.0 != key.address().0 {
        bail!("`sequencer.key_file` holds the key of {}, L1 knows {} as the sequencer", key.address(), state.sequencer);
    }
    let database = Database::open(&config.data_folder, &genesis)?;
    let setup = Setup {
        database: database.clone(),
        sequencer,
        key,
        rpc: config.rpc.address,
        limits: config.rpc_limits()?,
        operations: config.operations.address,
        l1: Some(l1),
        peers,
    };
    let mut node = RunningNode::start(setup).await?;
    println!("JSON-RPC (HTTP and WebSocket)  http://{}", node.rpc());
    println!("metrics and health             http://{}/metrics", node.operations());
    print_peers(node.listening());
    let (mut settling, mut services) = (None, None);
    match settlement {
        None => println!("settlement                     none: this node only sequences (see `settlement.key_file`)"),
        Some(plan) => {
            // Circuits may take minutes to build; transactions are taken meanwhile, and a signal ends the wait.
            let start = Settling::start(
                plan,
                database.clone(),
                client,
                node.node().subscribe_batches(),
                node.metrics().clone(),
            );
            tokio::select! {
                started = start => {
                    let started = started.context("starting settlement")?;
                    node.node().settles(started.status().clone());
                    println!("settlement                     on");
                    if let Some(provers) = started.provers() {
                        for address in provers.addresses() {
                            println!("provers join                   {address}");
                        }
                        let begun = ProverServices::start(&for_provers, provers, node.node(), database).await;
                        services = Some(begun.context("serving provers")?);
                    }
                    settling = Some(started);
                }
                result = node.failed() => return result.context("the execution thread has ended"),
                result = stop_signal() => {
                    result?;
                    return Ok(node.stop().await?);
                }
            }
        }
    }
    tokio::select! {
        result = node.failed() => return result.context("the execution thread has ended"),
        result = stop_signal() => result?,
    }
    tracing::info!("stopping");
    if let Some(services) = services {
        services.stop().await?;
    }
    // Sequencing first, so that settling hears of the last batch.
    node.stop().await?;
    if let Some(settling) = settling {
        settling.stop().await?;
    }
    Ok(())
}

async fn snapshot_command(config: &Config, command: SnapshotCommand) -> anyhow::Result<()> {
    let genesis = config.genesis()?;
    let (done, json, what) = match command {
        SnapshotCommand::Export { file, json } => {
            let database = Database::open(&config.data_folder, &genesis)?;
            (tokio::task::spawn_blocking(move || snapshot::export(&database, &file)).await??, json, "written")
        }
        SnapshotCommand::Restore { file, json } => {
            let l1 = connect(config, &genesis).await?;
            (snapshot::restore(&config.data_folder, &genesis, &l1, &file).await?, json, "restored")
        }
    };
    match json {
        true => println!("{}", serde_json::to_string_pretty(&done)?),
        false => println!(
            "{what}: batch {}, block {}, {} leaves, checkpoint {}",
            done.batch_number, done.block_number, done.leaves, done.checkpoint
        ),
    }
    Ok(())
}

async fn run_full(config: &Config) -> anyhow::Result<()> {
    let genesis = config.genesis()?;
    let plan = config.full_plan()?;
    let peers = peers(config)?;
    if peers.is_none() && plan.members.is_empty() {
        bail!("a full node needs somebody to get blocks from: set `p2p.bootnodes`, or `committee.members`");
    }
    let l1 = connect(config, &genesis).await?;
    let database = begin(&config.data_folder, &genesis, &plan, &l1).await?;
    let setup = FullSetup {
        database,
        plan,
        rpc: config.rpc.address,
        limits: config.rpc_limits()?,
        operations: config.operations.address,
        l1,
        peers,
        base_fee: config.sequencer.base_fee,
    };
    let node = RunningFullNode::start(setup).await?;
    println!("full node                      follows chain {}", genesis.chain_id);
    println!("JSON-RPC (HTTP and WebSocket)  http://{}", node.rpc());
    println!("metrics and health             http://{}/metrics", node.operations());
    print_peers(node.listening());
    stop_signal().await?;
    tracing::info!("stopping");
    Ok(node.stop().await?)
}

fn print_peers(listening: &[joule_p2p::Multiaddr]) {
    for address in listening {
        println!("peers                          {address}");
    }
}

/// Ends when the process is asked to.
async fn stop_signal() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result.context("listening for SIGINT"),
        _ = terminate.recv() => Ok(()),
    }
}
