//! A coordinator and provers as processes: one prover is killed in the middle of a task, one returns wrong proofs, one takes leases and sleeps, and the coordinator itself is
//! killed in the middle and started again. The batch completes, no accepted work is lost or done twice, each accepted task is paid once, and offenders are not.
//!
//! This file is its own program, without the usual harness: the test starts it again with a role in the environment, and nothing but that role runs. Proofs are digests here, so that faults can be had in seconds;
//! `joule-prover bench network` runs the same with real ones.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, OpenOptions},
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use joule_protocol::{Address, Digest, Hash, PublicValues};
use joule_prover_network::{
    Ability, Admission, ArtefactFolder, ArtefactId, Capabilities, ChildLabour, CircuitsId, CoordinatorHandle, Identity,
    Judge, Labour, LabourError, Multiaddr, NotAccepted, Notice, Rules, ServeOptions, Stop, Task, TaskId, TaskKind,
    WorkOptions, answer_parent, serve, work,
};
use tokio::sync::{mpsc, watch};

const ROLE: &str = "JOULE_TEST_ROLE";
const FOLDER: &str = "JOULE_TEST_FOLDER";
const COORDINATOR: &str = "JOULE_TEST_COORDINATOR";
const LISTEN: &str = "JOULE_TEST_LISTEN";

const CIRCUITS: CircuitsId = CircuitsId([3; 32]);
const SEGMENTS: u8 = 6;
const PRICE: u128 = 100;
/// Six segments, three merges, two above, one above, and the wrap.
const TASKS: usize = 6 + 3 + 2 + 1 + 1;
const PATIENCE: Duration = Duration::from_secs(60);

/// The payout address of a prover by what it does.
const HONEST: u8 = 1;
const CHILDREN: u8 = 2;
const KILLED: u8 = 3;
const LIAR: u8 = 4;
const SLEEPER: u8 = 5;

/// The proof of a task: what it says, and what it was made from.
fn proof_of(task: &Task, inputs: &[Vec<u8>]) -> Vec<u8> {
    let mut proof = [&task.statement.from.0[..], &task.statement.to.0, &[task.kind as u8]].concat();
    proof.extend(inputs.iter().flat_map(|input| ArtefactId::of(input).0));
    proof.resize(300_000, 7);
    proof
}

struct Notary(ArtefactFolder);

impl Judge for Notary {
    fn judge(&self, task: &Task, result: &[u8]) -> Result<(), NotAccepted> {
        let unable = |error: joule_prover_network::StoreError| NotAccepted::Unable(error.to_string());
        let inputs = task.inputs.iter().map(|input| self.0.get(input).map_err(unable));
        let inputs: Vec<Vec<u8>> = inputs.collect::<Result<_, _>>()?;
        match result == proof_of(task, &inputs) {
            true => Ok(()),
            false => Err(NotAccepted::Wrong("another proof".to_owned())),
        }
    }
}

/// Tells the test that a task has begun, and then does with it what the role does.
struct Role {
    name: &'static str,
    folder: PathBuf,
}

impl Labour for Role {
    fn prove(&self, task: &Task, inputs: &[Vec<u8>], is_over: &AtomicBool) -> Result<Vec<u8>, LabourError> {
        note(&self.folder.join("begun"), &format!("{} {}", self.name, task.id()));
        match self.name {
            "liar" => Ok(proof_of(task, &[vec![0]])),
            // Whoever is killed is killed here; whoever sleeps, sleeps here until its lease is over.
            "killed" | "sleeper" => {
                while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(LabourError::Stopped)
            }
            _ => {
                // Long enough that others get a task, too.
                std::thread::sleep(Duration::from_millis(30));
                Ok(proof_of(task, inputs))
            }
        }
    }
}

fn note(path: &Path, line: &str) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(format!("{line}\n").as_bytes()).unwrap();
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// Says something to the test.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}

fn folder() -> PathBuf {
    std::env::var_os(FOLDER).expect("a folder").into()
}

fn capabilities(payout: u8) -> Capabilities {
    let work = TaskKind::ALL.into_iter().map(|kind| Ability { kind, shape: 0, milliseconds: 1_000 }).collect();
    Capabilities { payout: Address([payout; 20]), circuits: CIRCUITS, work, memory_mebibytes: 1, parallel: 1 }
}

fn main() {
    match std::env::var(ROLE) {
        Ok(role) => play(&role),
        // What lists tests wants no test run.
        Err(_) if std::env::args().any(|argument| argument == "--list") => {}
        Err(_) => {
            a_batch_is_proven_and_paid_once_whatever_processes_die_lie_or_sleep();
            println!("test a_batch_is_proven_and_paid_once_whatever_processes_die_lie_or_sleep ... ok");
        }
    }
}

/// What a process does that was started with a role.
fn play(role: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match role {
        "coordinator" => runtime.block_on(coordinator()),
        "child" => answer_parent(CIRCUITS, &Role { name: "children", folder: folder() }).unwrap(),
        "honest" => runtime.block_on(prover("honest", HONEST)),
        "children" => runtime.block_on(prover("children", CHILDREN)),
        "killed" => runtime.block_on(prover("killed", KILLED)),
        "liar" => runtime.block_on(prover("liar", LIAR)),
        "sleeper" => runtime.block_on(prover("sleeper", SLEEPER)),
        other => panic!("no role {other}"),
    }
}

async fn prover(name: &'static str, payout: u8) {
    let base = folder();
    let coordinator: Multiaddr = std::env::var(COORDINATOR).unwrap().parse().unwrap();
    let options = WorkOptions {
        identity: Identity::of_file(&base.join(format!("{name}.key"))).unwrap(),
        coordinator,
        capabilities: capabilities(payout),
        folder: base.join(name),
        failures_max: 100,
    };
    let labour: Arc<dyn Labour> = match name {
        // Its proofs are made by a process of its own.
        "children" => Arc::new(ChildLabour::new(|| start("child"), CIRCUITS, PATIENCE)),
        name => Arc::new(Role { name, folder: base }),
    };
    let (stop, stopped) = watch::channel(Stop::Not);
    // Until the test lets go of standard input.
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = stop.send(Stop::Leave);
    });
    let summary = work(options, labour, stopped).await;
    say(&format!("{name} {summary:?}"));
}

/// The batch's owner beside the coordinator: publishes what is missing, pays at the end. Knows nothing but what the coordinator tells it again after a start.
async fn coordinator() {
    let base = folder();
    let artefacts = ArtefactFolder::open(&base.join("coordinator").join("artefacts")).unwrap();
    let options = ServeOptions {
        identity: Identity::of_file(&base.join("coordinator.key")).unwrap(),
        listen: vec![std::env::var(LISTEN).unwrap().parse().unwrap()],
        folder: base.join("coordinator"),
        rules: Rules { heartbeat_ms: 200, missed_max: 3, offer_ms: 2_000, retry_ms: 100, ..Rules::default() },
        admission: Admission::Everybody,
    };
    let (notices, mut received) = mpsc::channel(16);
    let (handle, _running) = serve(options, Arc::new(Notary(artefacts)), notices).await.unwrap();
    let mut happenings = handle.watch();
    let accepted = base.join("accepted");
    tokio::spawn(async move {
        while let Ok(happening) = happenings.recv().await {
            if happening.what == joule_prover_network::What::Accepted {
                note(&accepted, &format!("{} {}", happening.payout.0[0], happening.task));
            }
        }
    });
    say(&format!("listening {}", handle.addresses()[0]));

    let mut level: Vec<(ArtefactId, u8, u8)> = Vec::new();
    for segment in 0..SEGMENTS {
        // Inputs of several chunks.
        level.push((handle.artefacts().put(&vec![segment; 1_500_000]).unwrap(), segment, segment + 1));
    }
    let mut results: BTreeMap<TaskId, ArtefactId> = BTreeMap::new();
    let wanted = level.iter().map(|(input, from, to)| (TaskKind::Segment, vec![*input], *from, *to)).collect();
    let mut level = done(&handle, &mut received, &mut results, wanted).await;
    while level.len() > 1 {
        let wanted = level.chunks(2).map(|pair| {
            let inputs = pair.iter().map(|(input, ..)| *input).collect();
            (TaskKind::Merge, inputs, pair[0].1, pair[pair.len() - 1].2)
        });
        let wanted = wanted.collect();
        level = done(&handle, &mut received, &mut results, wanted).await;
    }
    let (merged, from, to) = level[0];
    done(&handle, &mut received, &mut results, vec![(TaskKind::Wrap, vec![merged], from, to)]).await;
    assert_eq!(results.len(), TASKS);
    pay(&handle, &base).await;
    say("paid");
    std::future::pending::<()>().await;
}

type Wanted = (TaskKind, Vec<ArtefactId>, u8, u8);

async fn done(
    handle: &CoordinatorHandle,
    notices: &mut mpsc::Receiver<Notice>,
    results: &mut BTreeMap<TaskId, ArtefactId>,
    wanted: Vec<Wanted>,
) -> Vec<(ArtefactId, u8, u8)> {
    let mut tasks = Vec::new();
    for (kind, inputs, from, to) in wanted {
        let task = Task {
            kind,
            shape: 0,
            statement: PublicValues { program: Digest::EMPTY, chain_id: 7, from: Hash([from; 32]), to: Hash([to; 32]) },
            circuits: CIRCUITS,
            input_bytes: inputs.iter().map(|input| handle.artefacts().length(input).unwrap()).collect(),
            inputs,
            deadline_ms: 1,
            price: PRICE,
        };
        tasks.push((task.id(), from, to));
        handle.publish(task).await.unwrap();
    }
    while !tasks.iter().all(|(task, ..)| results.contains_key(task)) {
        if let Some(Notice::Done(task, result)) = notices.recv().await {
            results.insert(task, result);
        }
    }
    tasks.into_iter().map(|(task, from, to)| (results[&task], from, to)).collect()
}

/// Everybody who is owed something, once, as whoever holds the fee recipient's key would.
async fn pay(handle: &CoordinatorHandle, base: &Path) {
    handle.open_payouts().await.unwrap();
    for (nonce, (id, payout)) in (0..).zip(handle.payouts().await.unwrap()) {
        handle.payout_signed(id, nonce, vec![1; 100]).await.unwrap();
        note(&base.join("paid"), &format!("{} {} {}", payout.to.0[0], payout.amount, payout.tasks.len()));
        handle.payout_included(id).await.unwrap();
    }
    let status = handle.status().await.unwrap();
    assert_eq!((status.owed, status.paid), (0, PRICE * TASKS as u128));
    note(&base.join("status"), &format!("{:?}", status.tasks.map(|counts| (counts.accepted, counts.refused > 0))));
}

fn start(role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(ROLE, role);
    command
}

struct Process {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Process {
    fn start(role: &str, folder: &Path, set: impl FnOnce(&mut Command)) -> Self {
        let mut command = start(role);
        command.env(FOLDER, folder).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        set(&mut command);
        let mut child = command.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out }
    }

    /// The rest of the next line that begins with this.
    fn hear(&mut self, what: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.out.read_line(&mut line).unwrap() > 0, "the process ended before it said {what}");
            if let Some(rest) = line.trim_end().strip_prefix(what) {
                return rest.trim().to_owned();
            }
        }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Looks until it is so: files that other processes write cannot be awaited otherwise.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "{what}: not after {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn a_batch_is_proven_and_paid_once_whatever_processes_die_lie_or_sleep() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path();
    let (begun, accepted) = (base.join("begun"), base.join("accepted"));
    let listen = |address: &str| {
        let address = address.to_owned();
        move |command: &mut Command| {
            command.env(LISTEN, address);
        }
    };
    let mut coordinator = Process::start("coordinator", base, listen("/ip4/127.0.0.1/tcp/0"));
    let address = coordinator.hear("listening");
    let prover = |role: &str| {
        Process::start(role, base, |command| {
            command.env(COORDINATOR, &address);
        })
    };
    let has_begun = |role: &str| lines(&begun).iter().any(|line| line.starts_with(role));

    // Offenders first, so that each of them has a task: one is killed in the middle of it.
    let killed = prover("killed");
    until("a task is begun", || has_begun("killed"));
    killed.kill();
    let sleeper = prover("sleeper");
    until("a task is slept over", || has_begun("sleeper"));
    let liar = prover("liar");
    until("a wrong proof is made", || has_begun("liar"));
    let honest = [prover("honest"), prover("children")];
    until("some work is accepted", || lines(&accepted).len() >= 3);

    // The coordinator dies, and comes back where its provers look for it.
    coordinator.kill();
    let port = address.split("/p2p/").next().unwrap();
    let mut coordinator = Process::start("coordinator", base, listen(port));
    assert_eq!(coordinator.hear("listening"), address, "the same key at the same place");
    coordinator.hear("paid");

    let accepted: Vec<(u8, String)> = lines(&accepted)
        .iter()
        .map(|line| line.split_once(' ').map(|(payee, task)| (payee.parse().unwrap(), task.to_owned())).unwrap())
        .collect();
    // An acceptance may be in the log and not in the watcher's file, if the kill came between the two; none is there twice.
    let tasks: BTreeSet<&String> = accepted.iter().map(|(_, task)| task).collect();
    assert_eq!(tasks.len(), accepted.len(), "no task is accepted twice: {accepted:?}");
    assert!(tasks.len() >= TASKS - 1 && tasks.len() <= TASKS, "{accepted:?}");
    assert!(accepted.iter().all(|(payee, _)| [HONEST, CHILDREN].contains(payee)), "{accepted:?}");

    // Paid once, and nobody else.
    let mut paid: BTreeMap<u8, u128> = BTreeMap::new();
    for line in lines(&base.join("paid")) {
        let numbers: Vec<u128> = line.split(' ').map(|number| number.parse().unwrap()).collect();
        assert_eq!(numbers[1], PRICE * numbers[2]);
        assert!(paid.insert(numbers[0] as u8, numbers[1]).is_none(), "one payout each");
    }
    assert_eq!(paid.values().sum::<u128>(), PRICE * TASKS as u128);
    assert_eq!(paid.keys().copied().collect::<Vec<_>>(), [HONEST, CHILDREN], "both worked, and nobody else is paid");
    assert_eq!(lines(&base.join("status")).len(), 1);

    drop((sleeper, liar, honest, coordinator));
}
