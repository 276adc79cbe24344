//! `joule-prover join`, `status` and `doctor`: a machine as one of a network's provers.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{bail, ensure};
use clap::ValueEnum;
use joule_protocol::Address;
use joule_prover_network::{
    Ability, Activity, Capabilities, Identity, Multiaddr, StandingReport, Stop, TaskKind, WorkOptions, standing,
    time_of, work_watched,
};
use joule_prover_scaler::report;
use serde_json::json;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

use crate::{
    calibrate::{Calibration, ShapeChoice, measure},
    machine::{Memory, cores, disk_free_mebibytes},
    options::{CoordinatorOption, FolderOption, NetworkOption, ProofsOption},
    settlement::hex,
    verify::print,
    worker::{IDLE_DEFAULT_SECONDS, child},
};

/// Failures in a row after which a prover claims no more.
const FAILURES_MAX: u32 = 3;

/// A kind of task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum KindChoice {
    /// Runs of the kernel.
    Segment,
    /// Two proofs to one.
    Merge,
    /// The last proof of a batch, for L1.
    Wrap,
}

impl KindChoice {
    pub(crate) const fn kind(self) -> TaskKind {
        match self {
            Self::Segment => TaskKind::Segment,
            Self::Merge => TaskKind::Merge,
            Self::Wrap => TaskKind::Wrap,
        }
    }
}

/// Whom to join and with what.
#[derive(clap::Args)]
#[command(
    after_help = "The first SIGTERM (or Ctrl-C) claims nothing more and finishes what is being proven; the second gives the lease back at once.
A prover without tasks holds no circuits: they are in a process of their own, which ends when there is nothing to do.

Examples:
  joule-prover join --coordinator /dns4/provers.example/tcp/9100/p2p/12D3KooW… --payout 0x…
  joule-prover join --coordinator /ip4/127.0.0.1/tcp/9100/p2p/12D3KooW… --payout 0x… --shapes small --memory 8000"
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    network: NetworkOption,
    #[command(flatten)]
    folder: FolderOption,
    /// Memory for proving, mebibytes [default: what is free].
    #[arg(long, value_name = "MIB")]
    memory: Option<u64>,
    /// Threads to prove on [default: one for each processor].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1_024))]
    threads: Option<u16>,
    /// Seconds that the proving process waits for its next task before it gives its memory back.
    #[arg(long, default_value_t = IDLE_DEFAULT_SECONDS, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    idle: u64,
    /// Do not measure what was not measured before: declare cautious times.
    #[arg(long)]
    no_calibration: bool,
    /// Leave in good order after so many seconds without a task: for jobs that a cluster starts with demand.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    leave_when_idle: Option<u64>,
    /// Where measurements are [default: the folder]: what `serve` shares among its workers.
    #[arg(long, value_name = "FOLDER", hide = true)]
    calibration: Option<PathBuf>,
    /// Say on standard output what it is at, and leave when standard input ends: what `serve` starts.
    #[arg(long, hide = true)]
    supervised: bool,
    #[command(flatten)]
    proofs: ProofsOption,
}

/// An address in hexadecimal.
pub(crate) fn address(text: &str) -> Result<Address, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    // A sign is no digit, whatever the standard library's parser takes it for.
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let bytes: Option<Vec<u8>> = (0..digits.len().div_ceil(2))
        .map(|at| digits.get(2 * at..2 * at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()))
        .collect();
    let bytes: [u8; 20] = bytes
        .filter(|_| is_plain)
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| format!("{text} is no address: 0x and forty hexadecimal digits are"))?;
    let address = Address(bytes);
    if address.is_zero() { Err("nobody can spend what is paid to the zero address".to_owned()) } else { Ok(address) }
}

/// What the largest task of a kind takes, mebibytes, with the circuits. Measured in `fast`; `calibrate` prints it for this machine.
pub(crate) const fn memory_of(kind: TaskKind, shape: ShapeChoice) -> u64 {
    match (kind, shape) {
        (TaskKind::Segment, ShapeChoice::Large) => 10_500,
        (TaskKind::Segment, ShapeChoice::Medium) => 8_000,
        (TaskKind::Segment, ShapeChoice::Small) => 4_500,
        (TaskKind::Merge, _) => 3_000,
        (TaskKind::Wrap, _) => 4_500,
    }
}

/// What a task is said to take if it was not measured, milliseconds: several times what two cores need.
const fn cautious_milliseconds(kind: TaskKind, shape: u8) -> u32 {
    match (kind, shape) {
        (TaskKind::Segment, 0) => 120_000,
        (TaskKind::Segment, 1) => 250_000,
        (TaskKind::Segment, _) => 400_000,
        (TaskKind::Merge, _) => 30_000,
        (TaskKind::Wrap, _) => 180_000,
    }
}

/// Which tasks fit the memory and were asked for.
pub(crate) fn fitting(
    memory_mebibytes: u64,
    shapes: &[ShapeChoice],
    kinds: &[TaskKind],
) -> Vec<(TaskKind, ShapeChoice)> {
    let all = ShapeChoice::ALL.into_iter().map(|shape| (TaskKind::Segment, shape));
    let all = all.chain([(TaskKind::Merge, ShapeChoice::Small), (TaskKind::Wrap, ShapeChoice::Small)]);
    let is_wanted = |(kind, shape): &(TaskKind, ShapeChoice)| {
        (kinds.is_empty() || kinds.contains(kind))
            && (*kind != TaskKind::Segment || shapes.is_empty() || shapes.contains(shape))
    };
    all.filter(is_wanted).filter(|(kind, shape)| memory_of(*kind, *shape) <= memory_mebibytes).collect()
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let folder = arguments.folder.make()?;
    let identity = Identity::of_file(&folder.join("prover.key"))?;
    let verifier = arguments.proofs.load()?;
    let memory = arguments.memory.unwrap_or_else(|| Memory::of_this_machine().available_mebibytes);
    let kinds = arguments.network.kinds();
    let fits = fitting(memory, &arguments.network.shapes, &kinds);
    ensure!(
        !fits.is_empty(),
        "no task that was asked for fits {memory} MiB: a merge takes {} MiB, a small segment {}, a wrap {}, a medium segment {}, a large one {}. \
         Free some memory, say --memory if more is free, or ask for less with --shapes and --kinds",
        memory_of(TaskKind::Merge, ShapeChoice::Small),
        memory_of(TaskKind::Segment, ShapeChoice::Small),
        memory_of(TaskKind::Wrap, ShapeChoice::Small),
        memory_of(TaskKind::Segment, ShapeChoice::Medium),
        memory_of(TaskKind::Segment, ShapeChoice::Large)
    );
    let measured = arguments.calibration.as_ref().unwrap_or(&folder);
    let known = Calibration::load(measured, arguments.proofs.profile(), &verifier);
    let has_all = |known: &Calibration| {
        fits.iter().all(|(kind, shape)| {
            let shape = if *kind == TaskKind::Segment { shape.number() } else { 0 };
            known.milliseconds(*kind, shape).is_some()
        })
    };
    let calibration = match known {
        Some(known) if has_all(&known) || arguments.no_calibration => Some(known),
        None if arguments.no_calibration => None,
        _ => {
            let kinds: Vec<TaskKind> = fits.iter().map(|(kind, _)| *kind).collect();
            let shapes: Vec<ShapeChoice> =
                fits.iter().filter(|(kind, _)| *kind == TaskKind::Segment).map(|(_, shape)| *shape).collect();
            // What is measured is verified, and a proof of another version's program would not be what is wanted.
            let verifier = arguments.proofs.load_for_this_version()?;
            Some(measure(measured, &verifier, arguments.proofs.profile(), arguments.proofs.cache(), &shapes, &kinds)?)
        }
    };
    let abilities = fits.iter().map(|(kind, shape)| {
        let shape = if *kind == TaskKind::Segment { shape.number() } else { 0 };
        let measured = calibration.as_ref().and_then(|known| known.milliseconds(*kind, shape));
        Ability { kind: *kind, shape, milliseconds: measured.unwrap_or_else(|| cautious_milliseconds(*kind, shape)) }
    });
    let circuits = verifier.circuits().into();
    let capabilities = Capabilities {
        payout: arguments.network.payout,
        circuits,
        work: abilities.collect(),
        memory_mebibytes: u32::try_from(memory).unwrap_or(u32::MAX),
        parallel: 1,
    };
    let threads = arguments.threads.map(usize::from);
    let labour = child(arguments.proofs.profile(), arguments.proofs.cache(), threads, circuits, arguments.idle)?;
    tracing::info!(prover = %identity.id(), cores = cores(), memory, work = ?capabilities.work, "joining");
    let options = WorkOptions {
        identity,
        coordinator: arguments.network.at.coordinator.clone(),
        capabilities,
        folder,
        failures_max: FAILURES_MAX,
    };
    let (stop, stopped) = watch::channel(Stop::Not);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let summary = runtime.block_on(async {
        let (terminated, interrupted) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let (activity, looks) = watch::channel(Activity::default());
        if let Some(seconds) = arguments.leave_when_idle {
            tokio::spawn(leave_when_idle(looks.clone(), Duration::from_secs(seconds), stop.clone()));
        }
        if arguments.supervised {
            tokio::spawn(leave_when_alone(looks, stop.clone()));
        }
        tokio::spawn(obey(terminated, interrupted, stop));
        work_watched(options, Arc::new(labour), stopped, activity).await.map_err(anyhow::Error::from)
    })?;
    tracing::info!(?summary, "left in good order");
    Ok(())
}

/// The first signal drains, the second leaves.
async fn obey(mut terminated: Signal, mut interrupted: Signal, stop: watch::Sender<Stop>) {
    for order in [Stop::Drain, Stop::Leave] {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
        match order {
            Stop::Drain => {
                tracing::info!("claiming nothing more; what is being proven is finished. Again to give it back")
            }
            _ => tracing::info!("giving the lease back"),
        }
        let _: Result<(), _> = stop.send(order);
    }
    // Whoever works looks at what was said last for as long as somebody could say more.
    stop.closed().await;
}

/// What was said last is not taken back.
fn drain(stop: &watch::Sender<Stop>) {
    stop.send_if_modified(|now| {
        let is_news = *now == Stop::Not;
        if is_news {
            *now = Stop::Drain;
        }
        is_news
    });
}

/// Drains once there was nothing to do for so long.
async fn leave_when_idle(mut looks: watch::Receiver<Activity>, idle: Duration, stop: watch::Sender<Stop>) {
    loop {
        let is_leased = looks.borrow_and_update().is_leased;
        let changed = looks.changed();
        let is_over = if is_leased {
            changed.await.is_err()
        } else {
            !matches!(tokio::time::timeout(idle, changed).await, Ok(Ok(())))
        };
        if is_over {
            tracing::info!("nothing to do: leaving");
            return drain(&stop);
        }
    }
}

/// Reports to the supervisor, and drains when it is gone.
async fn leave_when_alone(looks: watch::Receiver<Activity>, stop: watch::Sender<Stop>) {
    tokio::select! {
        () = report::left_alone() => {}
        Err(error) = report::report(looks) => tracing::info!(%error, "nobody reads reports"),
    }
    drain(&stop);
}

/// Which prover's standing, with whom.
#[derive(clap::Args)]
#[command(after_help = "Example:
  joule-prover status --coordinator /ip4/127.0.0.1/tcp/9100/p2p/12D3KooW… --json")]
pub(crate) struct StatusArguments {
    #[command(flatten)]
    at: CoordinatorOption,
    #[command(flatten)]
    folder: FolderOption,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// Why a prover is offered work or not, in words.
fn why(report: &StandingReport, now_ms: u64) -> String {
    let StandingReport { score, needed, suspended_until_ms, missed, failed, refused, .. } = *report;
    let past = format!(
        "{refused} wrong proofs (40 points each), {missed} leases left to lapse (6), {failed} tasks given up (4)"
    );
    if suspended_until_ms > now_ms {
        let minutes = (suspended_until_ms - now_ms).div_ceil(60_000);
        format!(
            "suspended for {minutes} minutes more, because its score fell below {needed}: {past}. Each suspension in a row is twice as long as the one before; an accepted result ends the row"
        )
    } else {
        format!("offered work: its score is {score}, and {needed} is needed. Held against it: {past}")
    }
}

pub(crate) fn status(arguments: &StatusArguments) -> anyhow::Result<()> {
    let identity = arguments.folder.identity()?;
    let report = block_on(standing(&identity, &arguments.at.coordinator))??;
    let now_ms = now_ms();
    let value = json!({
        "prover": identity.id().to_string(),
        "coordinator": arguments.at.coordinator.to_string(),
        "score": report.score,
        "needed": report.needed,
        "is_suspended": report.suspended_until_ms > now_ms,
        "suspended_until_ms": report.suspended_until_ms,
        "why": why(&report, now_ms),
        "accepted": report.accepted,
        "missed": report.missed,
        "failed": report.failed,
        "refused": report.refused,
        "leases": report.leases,
        "payout": hex(&report.payout.0),
        // Decimal, because JSON's numbers are too small.
        "owed": report.owed.to_string(),
    });
    print(&value, arguments.json)
}

fn block_on<T>(future: impl Future<Output = T>) -> anyhow::Result<T> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future))
}

/// What to look at.
#[derive(clap::Args)]
#[command(after_help = "Ends with status 1 if something would keep this machine from proving.

Example:
  joule-prover doctor --coordinator /ip4/127.0.0.1/tcp/9100/p2p/12D3KooW… --json")]
pub(crate) struct DoctorArguments {
    /// A coordinator to reach, with its peer id.
    #[arg(long, value_name = "MULTIADDR", env = "JOULE_COORDINATOR")]
    coordinator: Option<Multiaddr>,
    #[command(flatten)]
    folder: FolderOption,
    #[command(flatten)]
    proofs: ProofsOption,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Free disk that a prover needs: inputs of two leases, and circuits and keys that may be made anew.
const DISK_MEBIBYTES: u64 = 4_096;
/// How far clocks may be apart: half of what a short lease lasts would be lost.
const CLOCK_MILLISECONDS: u64 = 15_000;

pub(crate) fn doctor(arguments: &DoctorArguments) -> anyhow::Result<()> {
    let mut checks = Vec::new();
    let mut check = |name: &str, found: Result<String, (String, String)>| {
        let (is_good, detail, fix) = match found {
            Ok(detail) => (true, detail, None),
            Err((detail, fix)) => (false, detail, Some(fix)),
        };
        checks.push(json!({ "check": name, "good": is_good, "detail": detail, "fix": fix }));
        is_good
    };
    let mut is_well = check("memory", memory());
    let folder = arguments.folder.make()?;
    is_well &= check("disk", disk(&folder));
    is_well &= check("circuits", circuits(arguments));
    if let Some(coordinator) = &arguments.coordinator {
        let identity = arguments.folder.identity()?;
        let asked = now_ms();
        match block_on(time_of(&identity, coordinator))? {
            Ok(theirs) => {
                is_well &= check("connection", Ok(format!("answered in {} ms", now_ms() - asked)));
                is_well &= check("clock", clock(now_ms().abs_diff(theirs)));
            }
            Err(error) => {
                let fix = "check the address, the coordinator, and firewalls between".to_owned();
                is_well &= check("connection", Err((error.to_string(), fix)));
            }
        }
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&json!({ "good": is_well, "cores": cores(), "checks": checks }))?);
    } else {
        for check in &checks {
            let mark = if check["good"] == json!(true) { "good" } else { "BAD " };
            println!(
                "{mark}  {:<12} {}",
                check["check"].as_str().unwrap_or_default(),
                check["detail"].as_str().unwrap_or_default()
            );
            if let Some(fix) = check["fix"].as_str() {
                println!("      to mend it   {fix}");
            }
        }
    }
    if is_well { Ok(()) } else { bail!("something would keep this machine from proving") }
}

fn memory() -> Result<String, (String, String)> {
    let Memory { total_mebibytes, available_mebibytes } = Memory::of_this_machine();
    let fits = fitting(available_mebibytes, &[], &[]);
    let detail = format!("{available_mebibytes} of {total_mebibytes} MiB are free");
    if fits.is_empty() {
        let fix = format!("free {} MiB, which a merge takes", memory_of(TaskKind::Merge, ShapeChoice::Small));
        return Err((detail, fix));
    }
    let names: Vec<String> = fits
        .iter()
        .map(|(kind, shape)| if *kind == TaskKind::Segment { format!("{kind} ({shape:?})") } else { kind.to_string() })
        .collect();
    Ok(format!("{detail}: enough for {}", names.join(", ")))
}

fn disk(folder: &std::path::Path) -> Result<String, (String, String)> {
    match disk_free_mebibytes(folder) {
        Some(free) if free >= DISK_MEBIBYTES => Ok(format!("{free} MiB are free")),
        Some(free) => {
            Err((format!("{free} MiB are free"), format!("free {DISK_MEBIBYTES} MiB, or choose another --folder")))
        }
        None => Err(("`df` does not say what is free".to_owned(), "install coreutils".to_owned())),
    }
}

fn circuits(arguments: &DoctorArguments) -> Result<String, (String, String)> {
    let setup = || arguments.proofs.setup();
    let verifier = arguments.proofs.load_for_this_version().map_err(|error| (format!("{error:#}"), setup()))?;
    let Some(key) = verifier.wrap_key() else { return Err(("there is no key of wraps".to_owned(), setup())) };
    let file = arguments
        .proofs
        .cache()
        .folder()
        .map_err(|error| (error.to_string(), setup()))?
        .path()
        .join(format!("wrap-{}.key", key.header.circuit));
    if !file.is_file() {
        return Err((format!("{} is missing, without which nothing can be wrapped", file.display()), setup()));
    }
    Ok(format!("{} for program {}", verifier.circuits(), verifier.program()))
}

fn clock(apart: u64) -> Result<String, (String, String)> {
    let detail = format!("{apart} ms from the coordinator's");
    if apart <= CLOCK_MILLISECONDS {
        Ok(detail)
    } else {
        Err((detail, "let NTP set the clock (`timedatectl set-ntp true`)".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_strictly() {
        assert_eq!(address("0x00000000000000000000000000000000000000a1").unwrap().0[19], 0xa1);
        for wrong in [
            "",
            "0x",
            "0x12",
            "zz000000000000000000000000000000000000a1",
            "0x00000000000000000000000000000000000000a1a",
            "+0000000000000000000000000000000000000a1",
        ] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
        assert!(address("0x0000000000000000000000000000000000000000").is_err());
    }

    #[test]
    fn a_machine_does_what_fits_it() {
        assert!(fitting(2_000, &[], &[]).is_empty());
        assert_eq!(fitting(3_500, &[], &[]), [(TaskKind::Merge, ShapeChoice::Small)]);
        assert_eq!(fitting(20_000, &[], &[]).len(), 5);
        assert_eq!(fitting(9_000, &[], &[]).len(), 4);
        assert_eq!(
            fitting(20_000, &[ShapeChoice::Small], &[TaskKind::Segment]),
            [(TaskKind::Segment, ShapeChoice::Small)]
        );
        assert!(fitting(5_000, &[ShapeChoice::Large], &[TaskKind::Segment]).is_empty());
    }

    #[test]
    fn a_suspension_is_explained() {
        let report = StandingReport {
            score: 20,
            needed: 20,
            suspended_until_ms: 600_000,
            accepted: 1,
            missed: 2,
            failed: 3,
            refused: 4,
            leases: 0,
            payout: Address([1; 20]),
            owed: 5,
        };
        assert!(why(&report, 0).starts_with("suspended for 10 minutes more"));
        assert!(why(&report, 600_000).starts_with("offered work"));
    }
}
