//! `joule-prover bench network`: one batch by one prover, then by two, as processes over libp2p.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use joule_prover_engine::{CircuitVerifier, SegmentInput};
use joule_prover_network::{Admission, Prices};
use serde::Serialize;

use crate::{
    coordinator::{Coordinator, TaskReport},
    machine::cores,
    options::{Profile, ProofsOption},
    settlement::batch,
};

/// How long provers may take to join.
const JOINED_WITHIN: Duration = Duration::from_secs(60);
/// How long a batch should take at most; it is not ended then.
const WITHIN: Duration = Duration::from_secs(3_600);

/// What to measure.
#[derive(clap::Args)]
#[command(
    after_help = "Each prover keeps all cores of its machine busy. On one machine two of them share what there is, so this shows what the network costs; what two
machines gain is in the tasks that ran at the same time.

Example:
  joule-prover bench network --payments 24 --segment 10 --json"
)]
pub(crate) struct Arguments {
    /// Sample payments.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    payments: u32,
    /// Transactions to a segment.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=20))]
    segment: u32,
    /// How many provers, run by run.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2], value_parser = clap::value_parser!(u8).range(1..=16))]
    provers: Vec<u8>,
    /// Threads of each prover [default: one for each processor]. With half of the processors to each, two provers stand for two machines of half the size.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1_024))]
    threads: Option<u16>,
    #[command(flatten)]
    proofs: ProofsOption,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Run {
    provers: u8,
    /// From the first task to the verified wrap, with starting the processes that prove and reading their circuits.
    seconds: f64,
    accepted: BTreeMap<String, usize>,
    tasks: Vec<TaskReport>,
}

#[derive(Serialize)]
struct Report {
    segments: usize,
    profile: Profile,
    cores: usize,
    threads_of_each: usize,
    runs: Vec<Run>,
    /// Time of the first run over time of the last.
    speed_up: f64,
}

/// A prover's process, which ends when its standard input does: with this one, however that ends. Dropping it ends it at once.
struct Prover(Child);

impl Drop for Prover {
    fn drop(&mut self) {
        let _: std::io::Result<()> = self.0.kill();
        let _: std::io::Result<std::process::ExitStatus> = self.0.wait();
    }
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let verifier = arguments.proofs.load_for_this_version()?;
    let (inputs, _) = batch(arguments.payments, Some(arguments.segment), 4, 1)?;
    let folder = std::env::temp_dir().join(format!("joule-bench-{}", std::process::id()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut runs = Vec::new();
    for (position, provers) in arguments.provers.iter().enumerate() {
        let base = folder.join(position.to_string());
        fs::create_dir_all(&base).with_context(|| base.display().to_string())?;
        runs.push(runtime.block_on(measure(arguments, *provers, &inputs, &verifier, &base))?);
    }
    fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let (first, last) = (runs.first().context("a run")?.seconds, runs.last().context("a run")?.seconds);
    let report = Report {
        segments: inputs.len(),
        profile: arguments.proofs.profile(),
        cores: cores(),
        threads_of_each: arguments.threads.map_or_else(cores, usize::from),
        runs,
        speed_up: first / last,
    };
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
        return Ok(());
    }
    for Run { provers, seconds, accepted, .. } in &report.runs {
        println!("{provers} provers     {seconds:.1} s, tasks {:?}", accepted.values().collect::<Vec<_>>());
    }
    println!("speed-up      {:.2} on {} cores", report.speed_up, report.cores);
    Ok(())
}

async fn measure(
    arguments: &Arguments,
    provers: u8,
    inputs: &[SegmentInput],
    verifier: &CircuitVerifier,
    base: &Path,
) -> anyhow::Result<Run> {
    let coordinator =
        Coordinator::start(base, &["/ip4/127.0.0.1/tcp/0".parse()?], Admission::Everybody, verifier.clone()).await?;
    let address = coordinator.handle().addresses().first().context("an address")?.to_string();
    let mut processes = Vec::new();
    for index in 0..provers {
        processes.push(Prover(command(arguments, index, &address, base)?.spawn().context("starting a prover")?));
    }
    let start = Instant::now();
    while coordinator.handle().status().await?.provers_known < usize::from(provers) {
        ensure!(start.elapsed() < JOINED_WITHIN, "{provers} provers did not join in {} s", JOINED_WITHIN.as_secs());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (_, seconds) = coordinator.prove(inputs, base, Prices::default(), WITHIN).await?;
    let tasks = coordinator.tasks();
    drop(processes);
    coordinator.stop().await?;
    let mut accepted = BTreeMap::new();
    for task in tasks.iter().filter(|task| task.outcome == "accepted") {
        *accepted.entry(task.prover.clone()).or_default() += 1;
    }
    Ok(Run { provers, seconds, accepted, tasks })
}

fn command(arguments: &Arguments, index: u8, address: &str, base: &Path) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("finding this program")?);
    command
        .args([
            "join",
            "--supervised",
            "--no-calibration",
            "--shapes",
            "small",
            "--profile",
            arguments.proofs.profile().name(),
        ])
        .args(["--coordinator", address, "--payout", &format!("0x{:040x}", u16::from(index) + 1)])
        .arg("--folder")
        .arg(base.join(format!("prover-{index}")))
        .arg("--cache")
        .arg(arguments.proofs.cache().folder()?.path());
    if let Some(threads) = arguments.threads {
        command.args(["--threads", &threads.to_string()]);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    Ok(command)
}
