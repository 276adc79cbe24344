//! From no worker to several and back to none, with processes of their own over real connections: no task is lost, also if a worker is killed at its work, and what an idle
//! supervisor costs is printed as JSON.
//!
//! This file is its own supervisor and its own worker: it starts itself with another first argument.

use std::{
    collections::BTreeSet,
    env, fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use joule_protocol::{Address, Digest, Hash, PublicValues};
use joule_prover_network::{
    Ability, Admission, Capabilities, CircuitsId, Client, CoordinatorHandle, Identity, Judge, Labour, LabourError,
    Multiaddr, NotAccepted, Notice, Rules, ServeError, ServeOptions, Stop, Task, TaskKind, WorkOptions, serve,
    work_watched,
};
use joule_prover_scaler::{Limits, Running, Share, report, supervise, watch_demand};
use libp2p::identity::Keypair;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

const CIRCUITS: CircuitsId = CircuitsId([3; 32]);
const PATIENCE: Duration = Duration::from_secs(90);
const WORKERS: u16 = 4;
/// How long a task of this test takes.
const TASK: Duration = Duration::from_millis(250);
/// How long the idle supervisor is looked at.
const LOOK: Duration = Duration::from_secs(3);

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["worker", coordinator, slot] => runtime.block_on(worker(coordinator.parse()?, slot.parse()?)),
        ["supervisor", coordinator] => runtime.block_on(supervisor(coordinator.parse()?)),
        // As cargo calls it; a filter that names another test is not for this file.
        [] => runtime.block_on(zero_to_many_to_zero()),
        [filter, ..] if "zero_to_many_to_zero".contains(filter) => runtime.block_on(zero_to_many_to_zero()),
        [option, ..] if option.starts_with('-') && option != "--list" => runtime.block_on(zero_to_many_to_zero()),
        _ => Ok(()),
    }
}

fn proof_of(task: &Task, inputs: &[Vec<u8>]) -> Vec<u8> {
    [&task.statement.from.0[..], &task.statement.to.0, &inputs.concat()].concat()
}

struct Toy;

impl Labour for Toy {
    fn prove(&self, task: &Task, inputs: &[Vec<u8>], _: &AtomicBool) -> std::result::Result<Vec<u8>, LabourError> {
        std::thread::sleep(TASK);
        Ok(proof_of(task, inputs))
    }
}

impl Judge for Toy {
    fn judge(&self, task: &Task, result: &[u8]) -> std::result::Result<(), NotAccepted> {
        match result.starts_with(&proof_of(task, &[])) {
            true => Ok(()),
            false => Err(NotAccepted::Wrong("that is another proof".to_owned())),
        }
    }
}

async fn worker(coordinator: Multiaddr, slot: u8) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let work = TaskKind::ALL.into_iter().map(|kind| Ability { kind, shape: 1, milliseconds: 1_000 }).collect();
    let payout = Address([slot + 1; 20]);
    let options = WorkOptions {
        identity: Identity::new(Keypair::generate_ed25519()),
        coordinator,
        capabilities: Capabilities { payout, circuits: CIRCUITS, work, memory_mebibytes: 100, parallel: 1 },
        folder: folder.path().to_owned(),
        failures_max: 1,
    };
    let (stop, stopped) = watch::channel(Stop::Not);
    let (activity, looks) = watch::channel(Default::default());
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let working = work_watched(options, Arc::new(Toy), stopped, activity);
    let reporting = tokio::spawn(report::report(looks));
    tokio::spawn(async move {
        tokio::select! {
            _ = terminated.recv() => {}
            () = report::left_alone() => {}
            // Nobody reads.
            Ok(Err(_)) = reporting => {}
        }
        stop.send_replace(Stop::Drain);
        // Held, because the end of this sender says that everything is to be given back.
        std::future::pending::<()>().await;
    });
    working.await?;
    Ok(())
}

async fn supervisor(coordinator: Multiaddr) -> Result<()> {
    let share = |kind| Share { kind, memory_mebibytes: 100, cores: 1 };
    let limits = Limits { idle_ms: 1_500, ..Limits::new(WORKERS, 1_000, 16, TaskKind::ALL.map(share).to_vec()) };
    let client = Client::new(&Identity::new(Keypair::generate_ed25519()), &coordinator)?;
    let stop = CancellationToken::new();
    let (demand, learned) = watch::channel(None);
    let asking = tokio::spawn(watch_demand(client, 1, Duration::from_millis(500), demand, stop.clone()));
    let (running, mut workers) = watch::channel(Running::default());
    tokio::spawn(async move {
        while workers.changed().await.is_ok() {
            println!("{}", workers.borrow_and_update().processes);
        }
    });
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let stopping = stop.clone();
    tokio::spawn(async move {
        terminated.recv().await;
        stopping.cancel();
    });
    let program = env::current_exe()?;
    let command = move |slot: u16, _: TaskKind| {
        let mut command = tokio::process::Command::new(&program);
        command.arg("worker").arg(coordinator.to_string()).arg(slot.to_string());
        command
    };
    let summary = supervise(limits, command, learned, running, stop).await?;
    asking.await?;
    println!("{{\"started\":{},\"leases\":{},\"peak\":{}}}", summary.started, summary.leases, summary.workers_peak);
    Ok(())
}

struct Coordinating {
    handle: CoordinatorHandle,
    running: JoinHandle<std::result::Result<(), ServeError>>,
    notices: mpsc::Receiver<Notice>,
    _folder: tempfile::TempDir,
}

async fn coordinating() -> Result<Coordinating> {
    let folder = tempfile::tempdir()?;
    let options = ServeOptions {
        identity: Identity::new(Keypair::generate_ed25519()),
        listen: vec!["/ip4/127.0.0.1/tcp/0".parse()?],
        folder: folder.path().to_owned(),
        rules: Rules { heartbeat_ms: 200, retry_ms: 1, ..Rules::default() },
        admission: Admission::Everybody,
    };
    let (sender, notices) = mpsc::channel(64);
    let (handle, running) = serve(options, Arc::new(Toy), sender).await?;
    Ok(Coordinating { handle, running, notices, _folder: folder })
}

fn task(handle: &CoordinatorHandle, kind: TaskKind, number: u8) -> Result<Task> {
    let input = vec![number; 10_000];
    Ok(Task {
        kind,
        shape: 0,
        statement: PublicValues {
            program: Digest::EMPTY,
            chain_id: 7,
            from: Hash([number; 32]),
            to: Hash([number + 1; 32]),
        },
        circuits: CIRCUITS,
        inputs: vec![handle.artefacts().put(&input)?],
        input_bytes: vec![input.len() as u64],
        deadline_ms: number.into(),
        price: 10,
    })
}

/// A process that is ended with whoever holds it.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Memory in KiB, and processor time in clock ticks (hundredths of a second).
fn cost_of(process: u32) -> Result<(u64, u64)> {
    let folder = PathBuf::from(format!("/proc/{process}"));
    let status = fs::read_to_string(folder.join("status"))?;
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no memory")?;
    let stat = fs::read_to_string(folder.join("stat"))?;
    // Behind the name, which may hold anything: state is field 3, user and system time are 14 and 15.
    let fields: Vec<&str> = stat.rsplit_once(')').ok_or("no name")?.1.split_whitespace().collect();
    let ticks = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok((memory.trim().trim_end_matches(" kB").parse()?, ticks))
}

fn children_of(process: u32) -> Result<Vec<i32>> {
    let mut children = Vec::new();
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let list = fs::read_to_string(thread?.path().join("children"))?;
        children.extend(list.split_whitespace().filter_map(|id| id.parse::<i32>().ok()));
    }
    Ok(children)
}

/// What it costs while nothing happens.
async fn idle_cost(process: u32) -> Result<(u64, f64)> {
    let (_, before) = cost_of(process)?;
    let begun = Instant::now();
    tokio::time::sleep(LOOK).await;
    let (memory, after) = cost_of(process)?;
    Ok((memory, (after - before) as f64 / begun.elapsed().as_secs_f64()))
}

async fn zero_to_many_to_zero() -> Result<()> {
    if !Path::new("/proc/self/stat").exists() {
        eprintln!("SKIPPED: there is no /proc here to measure with");
        return Ok(());
    }
    let mut coordinating = coordinating().await?;
    let address = coordinating.handle.addresses()[0].to_string();
    let mut supervisor = Command::new(env::current_exe()?);
    supervisor.args(["supervisor", &address]).stdout(Stdio::piped());
    let mut supervisor = Process(supervisor.spawn()?);
    let process = supervisor.0.id();
    let out = supervisor.0.stdout.take().ok_or("no output")?;
    let (said, mut says) = mpsc::channel(64);
    std::thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(std::result::Result::ok) {
            let _ = said.blocking_send(line);
        }
    });

    let (memory_before, cpu_before) = idle_cost(process).await?;
    assert_eq!(children_of(process)?, [] as [i32; 0], "nobody runs when there is nothing to do");

    // Two waves, so that it goes up and down twice; in the second a worker is killed while it works.
    let mut peaks = Vec::new();
    for wave in 0..2_u8 {
        let begun = Instant::now();
        let mut open = BTreeSet::new();
        for number in 0..12 {
            let kind = TaskKind::ALL[usize::from(number) % 3];
            let task = task(&coordinating.handle, kind, 100 * wave + number)?;
            open.insert(task.id());
            coordinating.handle.publish(task).await?;
        }
        let mut happenings = coordinating.handle.watch();
        let (mut peak, mut is_killed) = (0, wave == 0);
        while !open.is_empty() {
            let event = async {
                tokio::select! {
                    Some(notice) = coordinating.notices.recv() => Some(notice),
                    Ok(_) = happenings.recv() => None,
                    Some(line) = says.recv() => {
                        peak = peak.max(line.parse::<usize>().unwrap_or_default());
                        None
                    }
                }
            };
            if let Some(Notice::Done(task, _)) = timeout(PATIENCE, event).await? {
                assert!(open.remove(&task), "done once");
                coordinating.handle.collected(task).await?;
            }
            let status = coordinating.handle.status().await?;
            if !is_killed && status.leases_live >= usize::from(WORKERS) {
                is_killed = true;
                kill(Pid::from_raw(children_of(process)?[0]), Signal::SIGKILL)?;
            }
        }
        assert!(is_killed, "in the second wave somebody was killed at work");
        let done_s = begun.elapsed().as_secs_f64();
        while children_of(process)? != [] as [i32; 0] {
            timeout(PATIENCE, says.recv()).await?.ok_or("the supervisor ended")?;
        }
        peaks.push((peak, done_s, begun.elapsed().as_secs_f64()));
    }
    let (memory_after, cpu_after) = idle_cost(process).await?;
    let status = coordinating.handle.status().await?;
    assert_eq!((status.open_tasks(), status.owed), (0, 240), "every task is done and owed once");
    assert!(peaks.iter().all(|(peak, ..)| (2..=usize::from(WORKERS)).contains(peak)), "{peaks:?}");
    // A bound that says "nothing is spinning", on a machine that may be busy with other things.
    assert!(cpu_after < 30.0, "an idle supervisor takes {cpu_after} % of a core");

    kill(Pid::from_raw(process.try_into()?), Signal::SIGTERM)?;
    let summary = timeout(PATIENCE, says.recv()).await?.ok_or("no summary")?;
    assert!(supervisor.0.wait()?.success());
    coordinating.handle.stop().await;
    coordinating.running.await??;

    let waves: Vec<String> = peaks
        .iter()
        .map(|(peak, done, zero)| {
            format!("{{\"workers_peak\":{peak},\"tasks\":12,\"done_s\":{done:.1},\"zero_s\":{zero:.1}}}")
        })
        .collect();
    writeln!(
        std::io::stdout(),
        "{{\"supervisor\":{summary},\"waves\":[{}],\"idle\":{{\"memory_kibibytes\":[{memory_before},{memory_after}],\"cpu_percent\":[{cpu_before:.2},{cpu_after:.2}]}}}}",
        waves.join(",")
    )?;
    println!("test zero_to_many_to_zero ... ok\n\n1 passed, 0 failed");
    Ok(())
}
