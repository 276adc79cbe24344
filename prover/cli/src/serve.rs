//! `joule-prover serve --autoscale`: provers on this machine when there is something to prove, and none otherwise.

use std::{path::Path, time::Duration};

use anyhow::{Context, ensure};
use joule_prover_network::{Client, Identity, TaskKind};
use joule_prover_scaler::{Limits, Running, Share, Summary, supervise, watch_demand};
use serde_json::json;
use tokio::{
    process::Command,
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tokio_util::sync::CancellationToken;

use crate::{
    join::{fitting, memory_of},
    machine::{Memory, cores},
    options::{FolderOption, NetworkOption, ProofsOption},
    settlement::hex,
};

/// Whom to serve, and with how much.
#[derive(clap::Args)]
#[command(
    after_help = "Each worker is a `joule-prover join` for one kind of tasks, with a key of its own below the folder. Measure the machine once with `joule-prover calibrate`: workers of a
machine that is not measured declare cautious times. On SIGTERM or Ctrl-C workers finish what they prove.

Example:
  joule-prover serve --autoscale --coordinator /dns4/provers.example/tcp/9100/p2p/12D3KooW… --payout 0x… --workers-max 2"
)]
pub(crate) struct Arguments {
    /// Start workers with demand, and end them without.
    #[arg(long, required = true)]
    autoscale: bool,
    #[command(flatten)]
    network: NetworkOption,
    /// Workers at once.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1_024))]
    workers_max: u16,
    /// Memory of all workers together, mebibytes [default: what is free].
    #[arg(long, value_name = "MIB")]
    memory: Option<u32>,
    /// Cores of all workers together [default: all].
    #[arg(long)]
    cores: Option<u16>,
    /// Threads of one worker [default: the cores, shared by as many workers as there may be].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1_024))]
    threads: Option<u16>,
    /// Seconds without a task after which a worker is ended.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    idle: u64,
    /// Seconds between questions to the coordinator.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    poll: u64,
    /// Seconds that workers may take to finish when this is stopped; then they are killed, and their tasks are others'.
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    shutdown: u64,
    #[command(flatten)]
    folder: FolderOption,
    #[command(flatten)]
    proofs: ProofsOption,
    /// Print a line of JSON whenever workers come or go.
    #[arg(long)]
    json: bool,
}

/// What the machine gives, and the largest shape that it does.
fn limits(arguments: &Arguments) -> anyhow::Result<(Limits, u8, u16)> {
    let free = || u32::try_from(Memory::of_this_machine().available_mebibytes).unwrap_or(u32::MAX);
    let memory = arguments.memory.unwrap_or_else(free);
    let cores = arguments.cores.unwrap_or_else(|| u16::try_from(cores()).unwrap_or(u16::MAX)).max(1);
    let threads = arguments.threads.unwrap_or_else(|| (cores / arguments.workers_max).max(1));
    let kinds = arguments.network.kinds();
    let fits = fitting(memory.into(), &arguments.network.shapes, &kinds);
    ensure!(
        !fits.is_empty(),
        "no task that was asked for fits {memory} MiB: raise --memory, or ask for less with --shapes and --kinds; `joule-prover doctor` says what fits"
    );
    let mut shares: Vec<Share> = Vec::new();
    for (kind, shape) in &fits {
        let memory_mebibytes = u32::try_from(memory_of(*kind, *shape)).unwrap_or(u32::MAX);
        match shares.iter_mut().find(|share| share.kind == *kind) {
            Some(share) => share.memory_mebibytes = share.memory_mebibytes.max(memory_mebibytes),
            None => shares.push(Share { kind: *kind, memory_mebibytes, cores: threads }),
        }
    }
    let segments = fits.iter().filter(|(kind, _)| *kind == TaskKind::Segment);
    let shape_max = segments.map(|(_, shape)| shape.number()).max().unwrap_or_default();
    let limits = Limits {
        idle_ms: 1_000 * arguments.idle,
        shutdown_ms: 1_000 * arguments.shutdown,
        // Old after a few questions without an answer.
        demand_valid_ms: 6_000 * arguments.poll,
        ..Limits::new(arguments.workers_max, memory, cores, shares)
    };
    Ok((limits, shape_max, threads))
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    ensure!(
        arguments.autoscale,
        "say --autoscale: workers that run whether there is work or not are `joule-prover join`"
    );
    let folder = arguments.folder.make()?;
    let identity = Identity::of_file(&folder.join("supervisor.key"))?;
    let (limits, shape_max, threads) = limits(arguments)?;
    // Found missing now, and not by each worker. It is not read here, because this process holds nothing that it does not need.
    let verifier = arguments.proofs.verifier_path()?;
    ensure!(
        verifier.is_file(),
        "{} is missing: `{}` makes circuits, keys and this file",
        verifier.display(),
        arguments.proofs.setup()
    );
    let own = std::env::current_exe().context("finding this program")?;
    let cache = arguments.proofs.cache().folder()?;
    let (coordinator, payout) = (arguments.network.at.coordinator.to_string(), hex(&arguments.network.payout.0));
    let shapes: Vec<&str> = arguments.network.shapes.iter().map(|shape| shape.name()).collect();
    let command = |slot: u16, kind: TaskKind| {
        let mut command = Command::new(&own);
        command.args(["join", "--supervised", "--no-calibration", "--coordinator", &coordinator, "--payout", &payout]);
        command.args([
            "--profile",
            arguments.proofs.profile().name(),
            "--kinds",
            kind.as_str(),
            "--threads",
            &threads.to_string(),
        ]);
        if kind == TaskKind::Segment && !shapes.is_empty() {
            command.args(["--shapes", &shapes.join(",")]);
        }
        let memory = limits.shares.iter().find(|share| share.kind == kind).map_or(0, |share| share.memory_mebibytes);
        command.args(["--memory", &memory.to_string(), "--idle", &arguments.idle.to_string()]);
        command.arg("--cache").arg(cache.path());
        command.arg("--verifier").arg(&verifier);
        command.arg("--calibration").arg(&folder).arg("--folder").arg(worker_folder(&folder, slot));
        command
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let summary = runtime.block_on(async {
        let client = Client::new(&identity, &arguments.network.at.coordinator)?;
        let (mut terminated, mut interrupted) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let stop = CancellationToken::new();
        let stopping = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminated.recv() => {}
                _ = interrupted.recv() => {}
            }
            tracing::info!("stopping: workers finish what they prove");
            stopping.cancel();
        });
        let (demand, learned) = watch::channel(None);
        let poll = Duration::from_secs(arguments.poll);
        tokio::spawn(watch_demand(client, shape_max, poll, demand, stop.clone()));
        let (running, looks) = watch::channel(Running::default());
        tokio::spawn(tell(looks, arguments.json));
        tracing::info!(
            workers_max = limits.workers_max,
            memory = limits.memory_mebibytes,
            cores = limits.cores,
            "waiting for tasks"
        );
        anyhow::Ok(supervise(limits.clone(), command, learned, running, stop).await?)
    })?;
    let Summary { started, failed, leases, workers_peak } = summary;
    if arguments.json {
        println!("{}", json!({ "started": started, "failed": failed, "leases": leases, "workers_peak": workers_peak }));
    } else {
        println!("{leases} leases by {started} workers, at most {workers_peak} at once; {failed} failed");
    }
    Ok(())
}

/// Each place has a key of its own, which the next worker in it takes over with its standing.
fn worker_folder(folder: &Path, slot: u16) -> std::path::PathBuf {
    folder.join(format!("worker-{slot}"))
}

async fn tell(mut looks: watch::Receiver<Running>, json: bool) {
    while looks.changed().await.is_ok() {
        let Running { processes, leased, started } = *looks.borrow_and_update();
        match json {
            true => println!("{}", json!({ "workers": processes, "leased": leased, "started": started })),
            false => tracing::info!(workers = processes, leased, started, "scaled"),
        }
    }
}
