//! The demo's provers: processes of this program that join the coordinator over libp2p.
//!
//! A prover is two processes. One talks to the coordinator and holds next to nothing; the other has the circuits and proves, is started for the first task and ended when none
//! comes for a while. Both end with the demo, however that ends, because their standard input does.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, ensure};
use joule_machine::kernel_image;
use joule_operator::NetworkProofs;
use joule_protocol::Address;
use joule_prover_engine::{CacheFolder, CircuitVerifier, Engine, Logged, VERIFIER_BYTES_MAX, keep_memory};
use joule_prover_network::{
    Ability, Capabilities, ChildLabour, EngineLabour, Happening, Identity, Multiaddr, Stop, TaskKind, What,
    WorkOptions, answer_parent, work,
};
use joule_tables::shape::Shape;
use serde::Serialize;
use tokio::sync::{broadcast::error::RecvError, watch};

use crate::{client::Client, demo::ProfileChoice, report::Reporter};

/// How long a proving process waits for its next task.
const IDLE: Duration = Duration::from_secs(60);
/// Failures in a row after which a prover claims no more.
const FAILURES_MAX: u32 = 3;
/// What a prover says a task takes it, milliseconds: generous for two cores that several provers share. Whoever joins a real network calibrates (`joule-prover join`).
const ABILITIES: [Ability; 5] = [
    Ability { kind: TaskKind::Segment, shape: 0, milliseconds: 120_000 },
    Ability { kind: TaskKind::Segment, shape: 1, milliseconds: 250_000 },
    Ability { kind: TaskKind::Segment, shape: 2, milliseconds: 400_000 },
    Ability { kind: TaskKind::Merge, shape: 0, milliseconds: 30_000 },
    Ability { kind: TaskKind::Wrap, shape: 0, milliseconds: 180_000 },
];
/// Memory for a segment of each shape and whatever else, mebibytes.
const SMALL_MEBIBYTES: u32 = 5_000;
const LARGE_MEBIBYTES: u32 = 11_000;

/// A prover of the demo.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The coordinator, with its peer id.
    #[arg(long, value_name = "MULTIADDR")]
    coordinator: Multiaddr,
    /// Where its key and inputs are.
    #[arg(long, value_name = "FOLDER")]
    folder: PathBuf,
    /// Who is paid on L2.
    #[arg(long, value_name = "ADDRESS")]
    payout: alloy::primitives::Address,
    /// What verifies proofs, which names the circuits.
    #[arg(long, value_name = "FILE")]
    verifier: PathBuf,
    /// Which proofs.
    #[arg(long, value_enum)]
    profile: ProfileChoice,
    /// Take segments of the larger shapes, too.
    #[arg(long)]
    large: bool,
}

/// The process that proves for a prover.
#[derive(Debug, clap::Args)]
pub(crate) struct WorkerArguments {
    /// Which proofs.
    #[arg(long, value_enum)]
    profile: ProfileChoice,
}

/// Works until standard input ends.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { coordinator, folder, payout, verifier, profile, large } = arguments;
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let circuits = read_verifier(&verifier)?.circuits().into();
    let own = std::env::current_exe().context("finding this program")?;
    let command = move || {
        let mut command = Command::new(&own);
        keep_memory(&mut command);
        command.args(["worker", "--profile", profile.name()]);
        command
    };
    let capabilities = Capabilities {
        payout: Address(payout.into_array()),
        circuits,
        work: ABILITIES.into_iter().filter(|ability| large || ability.shape == 0).collect(),
        memory_mebibytes: if large { LARGE_MEBIBYTES } else { SMALL_MEBIBYTES },
        parallel: 1,
    };
    let identity = Identity::of_file(&folder.join("prover.key"))?;
    let options = WorkOptions { identity, coordinator, capabilities, folder, failures_max: FAILURES_MAX };
    let (stop, stopped) = watch::channel(Stop::Not);
    // A thread, because standard input cannot be waited for otherwise without keeping the runtime from ending.
    std::thread::spawn(move || {
        let _: io::Result<u64> = io::copy(&mut io::stdin().lock().take(u64::MAX), &mut io::sink());
        let _: Result<(), _> = stop.send(Stop::Leave);
    });
    work(options, Arc::new(ChildLabour::new(command, circuits, IDLE)), stopped).await?;
    Ok(())
}

/// Proves what comes over standard input.
pub(crate) fn worker(arguments: &WorkerArguments) -> anyhow::Result<()> {
    let cache = CacheFolder::default_for_user()?;
    let engine = Engine::new(kernel_image(), &Shape::ALL, arguments.profile.profile(), &cache, &Logged)?;
    let circuits = engine.circuits().into();
    Ok(answer_parent(circuits, &EngineLabour(engine))?)
}

fn read_verifier(path: &Path) -> anyhow::Result<CircuitVerifier> {
    let length = fs::metadata(path).with_context(|| path.display().to_string())?.len();
    ensure!(length <= VERIFIER_BYTES_MAX as u64, "{} is no verifier: it has {length} bytes", path.display());
    CircuitVerifier::from_bytes(&fs::read(path)?).with_context(|| path.display().to_string())
}

/// A prover's process. Dropping it ends it.
#[derive(Debug)]
struct ProverProcess {
    child: Child,
    payout: Address,
}

impl Drop for ProverProcess {
    fn drop(&mut self) {
        // It gives its lease back and ends when its input does.
        drop(self.child.stdin.take());
        let _: io::Result<std::process::ExitStatus> = self.child.wait();
    }
}

/// What became of a task.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TaskReport {
    task: String,
    kind: &'static str,
    prover: String,
    outcome: &'static str,
    /// From the lease to the verdict.
    seconds: f64,
    /// What an accepted result pays, wei.
    price: String,
}

/// What a prover did, and what it has earned on L2.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ProverReport {
    pub(crate) prover: String,
    process: u32,
    pub(crate) payout: alloy::primitives::Address,
    pub(crate) accepted: usize,
    /// The prices of what was accepted, wei. Decimal, like all wei: JSON's numbers are too small.
    #[serde(serialize_with = "decimal")]
    pub(crate) earned: u128,
    /// What it has on L2, wei.
    #[serde(serialize_with = "decimal")]
    pub(crate) paid: u128,
}

fn decimal<S: serde::Serializer>(wei: &u128, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(wei)
}

/// The demo's provers.
#[derive(Debug)]
pub(crate) struct Provers {
    processes: Vec<ProverProcess>,
    coordinator: NetworkProofs,
}

fn name(position: usize) -> String {
    format!("prover {}", position + 1)
}

impl Provers {
    /// Starts `count` provers for a coordinator, and waits until they have joined.
    pub(crate) async fn start(
        coordinator: &NetworkProofs,
        count: u8,
        verifier: &Path,
        profile: ProfileChoice,
        folder: &Path,
        reporter: Reporter,
    ) -> anyhow::Result<Self> {
        let own = std::env::current_exe().context("finding this program")?;
        let handle = coordinator.coordinator();
        let address = handle.addresses().first().context("the coordinator listens nowhere")?;
        let mut processes = Vec::new();
        for position in 0..count {
            let payout = Address([0xa1 + position; 20]);
            let mut command = Command::new(&own);
            command
                .arg("prover")
                .args(["--coordinator", &address.to_string(), "--profile", profile.name()])
                .args(["--payout", &alloy::primitives::Address::new(payout.0).to_string()])
                .arg("--verifier")
                .arg(verifier)
                .arg("--folder")
                .arg(folder.join(format!("prover-{}", position + 1)));
            // Two of these at once would not fit a machine of 16 GiB.
            if position == 0 {
                command.arg("--large");
            }
            let child = command.stdin(Stdio::piped()).spawn().context("starting a prover")?;
            processes.push(ProverProcess { child, payout });
        }
        let mut happenings = handle.watch();
        let payouts: Vec<Address> = processes.iter().map(|process| process.payout).collect();
        tokio::spawn(async move {
            loop {
                match happenings.recv().await {
                    Ok(happening) => tell(&reporter, &payouts, &happening),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                }
            }
        });
        let mut this = Self { processes, coordinator: coordinator.clone() };
        Client::until("the provers have joined", Duration::from_secs(60), async || {
            let known = this.coordinator.coordinator().status().await?.provers_known;
            Ok((known >= usize::from(count)).then_some(()))
        })
        .await?;
        this.check()?;
        Ok(this)
    }

    /// That all of them run.
    fn check(&mut self) -> anyhow::Result<()> {
        for (position, process) in self.processes.iter_mut().enumerate() {
            let ended = process.child.try_wait()?;
            ensure!(ended.is_none(), "{} has ended ({ended:?}); RUST_LOG=info shows why", name(position));
        }
        Ok(())
    }

    pub(crate) fn processes(&self) -> Vec<u32> {
        self.processes.iter().map(|process| process.child.id()).collect()
    }

    /// What each of them did and has earned; what it has on L2 is filled in when it is paid.
    pub(crate) fn report(&self, tasks: &[TaskReport]) -> Vec<ProverReport> {
        let reports = self.processes.iter().enumerate().map(|(position, process)| {
            let prover = name(position);
            let mine = tasks.iter().filter(|task| task.prover == prover && task.outcome == "accepted");
            let (accepted, earned) = mine.fold((0, 0_u128), |(count, sum), task| {
                (count + 1, sum + task.price.parse::<u128>().unwrap_or_default())
            });
            let payout = alloy::primitives::Address::new(process.payout.0);
            ProverReport { prover, process: process.child.id(), payout, accepted, earned, paid: 0 }
        });
        reports.collect()
    }
}

/// One line for each thing that becomes of a task.
fn tell(reporter: &Reporter, payouts: &[Address], happening: &Happening) {
    let position = payouts.iter().position(|payout| *payout == happening.payout);
    let prover = position.map_or_else(|| format!("{:?}", happening.prover), name);
    let seconds = happening.milliseconds as f64 / 1_000.0;
    let (kind, price) = (happening.kind, happening.price);
    let outcome = match happening.what {
        What::Leased => {
            reporter.say(&format!("           {kind}: {prover} has taken it"));
            return;
        }
        What::Returned => "given back",
        What::Failed => "failed",
        What::Lapsed => "lapsed",
        What::Refused => "refused",
        What::Accepted => "accepted",
    };
    let earned = if happening.what == What::Accepted { format!(", and earns {price} wei") } else { String::new() };
    reporter.say(&format!("           {kind}: {prover}, {outcome} after {seconds:.1} s{earned}"));
    reporter.task(TaskReport {
        task: happening.task.to_string(),
        kind: kind.as_str(),
        prover,
        outcome,
        seconds,
        price: price.to_string(),
    });
}
