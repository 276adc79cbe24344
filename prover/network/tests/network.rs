//! Coordinator and provers over real connections: chunks, heartbeats, wrong proofs, and a coordinator that is stopped and started again.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use joule_protocol::{Address, Digest, Hash, PublicValues};
use joule_prover_network::{
    Ability, Admission, ArtefactFolder, ArtefactId, Capabilities, CircuitsId, Client, CoordinatorHandle, Identity,
    Judge, Labour, LabourError, NotAccepted, Notice, Rules, ServeError, ServeOptions, Stop, Task, TaskId, TaskKind,
    What, WorkError, WorkOptions, WorkSummary, serve, standing, time_of, work,
};
use libp2p::Multiaddr;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};

const CIRCUITS: CircuitsId = CircuitsId([3; 32]);
const PATIENCE: Duration = Duration::from_secs(40);

fn proof_of(task: &Task, inputs: &[Vec<u8>]) -> Vec<u8> {
    let mut proof = task.statement.from.0.to_vec();
    proof.extend(task.statement.to.0);
    proof.extend(inputs.iter().flat_map(|input| ArtefactId::of(input).0));
    // Longer than a chunk, so that it takes several.
    proof.resize(1_500_000, 7);
    proof
}

struct Toy {
    artefacts: ArtefactFolder,
}

impl Judge for Toy {
    fn judge(&self, task: &Task, result: &[u8]) -> Result<(), NotAccepted> {
        let inputs: Vec<Vec<u8>> = task.inputs.iter().map(|input| self.artefacts.get(input).unwrap()).collect();
        assert_ne!(result, b"PANIC", "a verifier that stumbles");
        match result == proof_of(task, &inputs) {
            true => Ok(()),
            false => Err(NotAccepted::Wrong("that is another proof".to_owned())),
        }
    }
}

struct Honest;

impl Labour for Honest {
    fn prove(&self, task: &Task, inputs: &[Vec<u8>], _: &AtomicBool) -> Result<Vec<u8>, LabourError> {
        Ok(proof_of(task, inputs))
    }
}

struct Liar(AtomicUsize);

impl Labour for Liar {
    fn prove(&self, _: &Task, _: &[Vec<u8>], _: &AtomicBool) -> Result<Vec<u8>, LabourError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(b"trust me".to_vec())
    }
}

struct Broken;

impl Labour for Broken {
    fn prove(&self, _: &Task, _: &[Vec<u8>], _: &AtomicBool) -> Result<Vec<u8>, LabourError> {
        Err(LabourError::Machine("no memory".to_owned()))
    }
}

type Running = JoinHandle<Result<(), ServeError>>;

async fn coordinator(
    folder: &Path,
    identity: &Identity,
    listen: Multiaddr,
) -> (CoordinatorHandle, Running, mpsc::Receiver<Notice>) {
    coordinator_of(folder, identity, listen, Admission::Everybody).await
}

async fn coordinator_of(
    folder: &Path,
    identity: &Identity,
    listen: Multiaddr,
    admission: Admission,
) -> (CoordinatorHandle, Running, mpsc::Receiver<Notice>) {
    let artefacts = ArtefactFolder::open(&folder.join("artefacts")).unwrap();
    let options = ServeOptions {
        identity: identity.clone(),
        listen: vec![listen],
        folder: folder.to_owned(),
        rules: Rules { retry_ms: 1, ..Rules::default() },
        admission,
    };
    let (notices, received) = mpsc::channel(4);
    let (handle, running) = serve(options, Arc::new(Toy { artefacts }), notices).await.unwrap();
    (handle, running, received)
}

fn new_identity() -> Identity {
    Identity::generate()
}

fn capabilities(payout: u8) -> Capabilities {
    let work = TaskKind::ALL.into_iter().map(|kind| Ability { kind, shape: 1, milliseconds: 20_000 }).collect();
    Capabilities { payout: Address([payout; 20]), circuits: CIRCUITS, work, memory_mebibytes: 1_024, parallel: 1 }
}

struct Prover {
    stop: watch::Sender<Stop>,
    running: JoinHandle<Result<WorkSummary, WorkError>>,
    _folder: tempfile::TempDir,
}

fn prover(coordinator: &Multiaddr, payout: u8, labour: Arc<dyn Labour>) -> Prover {
    prover_of(coordinator, payout, labour, new_identity())
}

fn prover_of(coordinator: &Multiaddr, payout: u8, labour: Arc<dyn Labour>, identity: Identity) -> Prover {
    let folder = tempfile::tempdir().unwrap();
    let options = WorkOptions {
        identity,
        coordinator: coordinator.clone(),
        capabilities: capabilities(payout),
        folder: folder.path().to_owned(),
        failures_max: 1,
    };
    let (stop, stopped) = watch::channel(Stop::Not);
    Prover { stop, running: tokio::spawn(work(options, labour, stopped)), _folder: folder }
}

fn task(handle: &CoordinatorHandle, kind: TaskKind, from: u8, to: u8, inputs: &[Vec<u8>]) -> Task {
    let ids = inputs.iter().map(|input| handle.artefacts().put(input).unwrap()).collect();
    Task {
        kind,
        shape: 0,
        statement: PublicValues { program: Digest::EMPTY, chain_id: 7, from: Hash([from; 32]), to: Hash([to; 32]) },
        circuits: CIRCUITS,
        inputs: ids,
        input_bytes: inputs.iter().map(|input| input.len() as u64).collect(),
        deadline_ms: 1,
        price: 100 + u128::from(from),
    }
}

/// The next result; payouts and alarms are passed over.
async fn next_done(notices: &mut mpsc::Receiver<Notice>) -> (TaskId, ArtefactId) {
    loop {
        match timeout(PATIENCE, notices.recv()).await.expect("something happens").expect("it runs") {
            Notice::Done(task, result) => return (task, result),
            _ => continue,
        }
    }
}

fn localhost() -> Multiaddr {
    "/ip4/127.0.0.1/tcp/0".parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn segments_and_their_merge_are_proven_and_paid() {
    let (folder, identity) = (tempfile::tempdir().unwrap(), new_identity());
    let (handle, running, mut notices) = coordinator(folder.path(), &identity, localhost()).await;
    let address = handle.addresses()[0].clone();
    let liar = Arc::new(Liar(AtomicUsize::new(0)));
    let provers = [
        prover(&address, 1, Arc::new(Honest)),
        prover(&address, 2, Arc::new(Honest)),
        prover(&address, 3, liar.clone()),
    ];
    // Inputs of several chunks.
    let inputs: Vec<Vec<u8>> = (0..4_u8).map(|segment| vec![segment; 2_500_000]).collect();
    let mut wanted = Vec::new();
    for (from, input) in (0..).zip(&inputs) {
        let task = task(&handle, TaskKind::Segment, from, from + 1, std::slice::from_ref(input));
        wanted.push(task.id());
        handle.publish(task).await.unwrap();
    }
    let mut results = std::collections::HashMap::new();
    while results.len() < 4 {
        let (task, result) = next_done(&mut notices).await;
        assert!(wanted.contains(&task));
        results.insert(task, result);
        handle.collected(task).await.unwrap();
    }
    let pair = [0, 1].map(|segment| handle.artefacts().get(&results[&wanted[segment]]).unwrap());
    let merge = task(&handle, TaskKind::Merge, 0, 2, &pair);
    handle.publish(merge.clone()).await.unwrap();
    let (done, result) = next_done(&mut notices).await;
    assert_eq!(done, merge.id());
    assert_eq!(handle.artefacts().get(&result).unwrap(), proof_of(&merge, &pair));
    handle.collected(done).await.unwrap();

    // Paid once: signed, sent, included.
    handle.open_payouts().await.unwrap();
    let (mut nonce, mut paid) = (0, 0);
    while paid < 100 * 5 + (1 + 2 + 3) {
        match timeout(PATIENCE, notices.recv()).await.unwrap().unwrap() {
            Notice::SignPayout(payout, to, amount) => {
                assert_ne!(to, Address([3; 20]), "a liar earns nothing");
                paid += amount;
                handle.payout_signed(payout, nonce, vec![1, 2, 3]).await.unwrap();
                nonce += 1;
            }
            Notice::SendPayout(payout, _) => handle.payout_included(payout).await.unwrap(),
            _ => {}
        }
    }
    while handle.status().await.unwrap().owed > 0 {
        if let Notice::SendPayout(payout, _) = timeout(PATIENCE, notices.recv()).await.unwrap().unwrap() {
            handle.payout_included(payout).await.unwrap();
        }
    }
    assert_eq!(handle.status().await.unwrap().paid, paid);

    let mut delivered = 0;
    for prover in provers {
        prover.stop.send(Stop::Drain).unwrap();
        delivered += timeout(PATIENCE, prover.running).await.unwrap().unwrap().unwrap().delivered;
    }
    // What the liar delivered was refused afterwards.
    assert_eq!(delivered, 5 + liar.0.load(Ordering::Relaxed) as u64);
    handle.stop().await;
    running.await.unwrap().unwrap();
}

/// Stopped between publishing and proving, and started again: the tasks are still there, and so are the provers, who find it by themselves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_that_starts_again_goes_on() {
    let (folder, identity) = (tempfile::tempdir().unwrap(), new_identity());
    let (handle, running, _notices) = coordinator(folder.path(), &identity, localhost()).await;
    let address = handle.addresses()[0].clone();
    let (first, second) = (vec![1; 10], vec![2; 10]);
    let task_one = task(&handle, TaskKind::Segment, 0, 1, std::slice::from_ref(&first));
    handle.publish(task_one.clone()).await.unwrap();
    handle.stop().await;
    running.await.unwrap().unwrap();

    let worker = prover(&address, 1, Arc::new(Honest));
    let listen: Multiaddr = address.iter().take(2).collect();
    let (handle, running, mut notices) = coordinator(folder.path(), &identity, listen.clone()).await;
    assert_eq!(next_done(&mut notices).await.0, task_one.id());
    // Not collected: after another start it is said again.
    handle.stop().await;
    running.await.unwrap().unwrap();
    drop(notices);
    let (handle, running, mut notices) = coordinator(folder.path(), &identity, listen).await;
    assert_eq!(next_done(&mut notices).await.0, task_one.id());
    handle.collected(task_one.id()).await.unwrap();
    let task_two = task(&handle, TaskKind::Segment, 1, 2, std::slice::from_ref(&second));
    handle.publish(task_two.clone()).await.unwrap();
    assert_eq!(next_done(&mut notices).await.0, task_two.id());
    assert_eq!(handle.status().await.unwrap().owed, task_one.price + task_two.price);
    worker.stop.send(Stop::Drain).unwrap();
    let summary = timeout(PATIENCE, worker.running).await.unwrap().unwrap().unwrap();
    // The coordinator may have stopped before it said that it has the first result; asked again, it says that the lease is over.
    assert_eq!((summary.delivered + summary.stopped, summary.failed), (2, 0));
    handle.stop().await;
    running.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_machine_stops_claiming() {
    let (folder, identity) = (tempfile::tempdir().unwrap(), new_identity());
    let (handle, running, mut notices) = coordinator(folder.path(), &identity, localhost()).await;
    let address = handle.addresses()[0].clone();
    let input = vec![9; 10];
    let task = task(&handle, TaskKind::Segment, 0, 1, std::slice::from_ref(&input));
    handle.publish(task.clone()).await.unwrap();
    let broken = prover(&address, 1, Arc::new(Broken));
    let ended = timeout(PATIENCE, broken.running).await.unwrap().unwrap();
    assert!(matches!(ended, Err(WorkError::Failing { count: 1, .. })), "{ended:?}");
    // Somebody else does it.
    let honest = prover(&address, 2, Arc::new(Honest));
    assert_eq!(next_done(&mut notices).await.0, task.id());
    honest.stop.send(Stop::Drain).unwrap();
    assert_eq!(timeout(PATIENCE, honest.running).await.unwrap().unwrap().unwrap().delivered, 1);
    handle.stop().await;
    running.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_is_not_published() {
    let (folder, identity) = (tempfile::tempdir().unwrap(), new_identity());
    let (handle, running, _notices) = coordinator(folder.path(), &identity, localhost()).await;
    let mut task = task(&handle, TaskKind::Segment, 0, 1, &[vec![1; 10]]);
    task.inputs = vec![ArtefactId([5; 32])];
    assert!(matches!(handle.publish(task).await, Err(ServeError::Store(_))));
    handle.stop().await;
    running.await.unwrap().unwrap();
    assert!(matches!(handle.status().await, Err(ServeError::Ended)));
}

/// Says that the input is the proof: what it delivers is something that others need.
struct Echo;

impl Labour for Echo {
    fn prove(&self, _: &Task, inputs: &[Vec<u8>], _: &AtomicBool) -> Result<Vec<u8>, LabourError> {
        Ok(inputs[0].clone())
    }
}

/// Sends what the verifier stumbles over.
struct Poison;

impl Labour for Poison {
    fn prove(&self, _: &Task, _: &[Vec<u8>], _: &AtomicBool) -> Result<Vec<u8>, LabourError> {
        Ok(b"PANIC".to_vec())
    }
}

/// The first wrong result's bytes are an input of the batch, and the second's make the verifier panic. Neither takes anything from the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_result_takes_nothing_away() {
    let (folder, identity) = (tempfile::tempdir().unwrap(), new_identity());
    let (handle, running, mut notices) = coordinator(folder.path(), &identity, localhost()).await;
    let address = handle.addresses()[0].clone();
    let input = vec![5; 2_500_000];
    let task = task(&handle, TaskKind::Segment, 0, 1, std::slice::from_ref(&input));
    handle.publish(task.clone()).await.unwrap();
    let mut happenings = handle.watch();
    let mut offenders = Vec::new();
    for (payout, labour) in [(1, Arc::new(Echo) as Arc<dyn Labour>), (2, Arc::new(Poison))] {
        offenders.push(prover(&address, payout, labour));
        loop {
            let happening = timeout(PATIENCE, happenings.recv()).await.unwrap().unwrap();
            if happening.what == What::Refused {
                assert_eq!((happening.task, happening.payout), (task.id(), Address([payout; 20])));
                break;
            }
        }
    }
    assert!(handle.artefacts().has(&task.inputs[0]), "the input is still there");
    let honest = prover(&address, 3, Arc::new(Honest));
    let (done, result) = next_done(&mut notices).await;
    assert_eq!((done, handle.artefacts().get(&result).unwrap()), (task.id(), proof_of(&task, &[input])));
    assert_eq!(handle.owed().await.unwrap(), [(Address([3; 20]), task.price)]);
    for prover in offenders.into_iter().chain([honest]) {
        prover.stop.send(Stop::Leave).unwrap();
        timeout(PATIENCE, prover.running).await.unwrap().unwrap().unwrap();
    }
    handle.stop().await;
    running.await.unwrap().unwrap();
}

/// Works until it is over.
struct Endless(watch::Sender<bool>);

impl Labour for Endless {
    fn prove(&self, _: &Task, _: &[Vec<u8>], is_over: &AtomicBool) -> Result<Vec<u8>, LabourError> {
        self.0.send_replace(true);
        while !is_over.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        Err(LabourError::Stopped)
    }
}

/// Told to leave, a prover gives back what it has begun: nothing is held against it, and the next one has the task at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prover_that_leaves_gives_its_lease_back() {
    let (folder, identity) = (tempfile::tempdir().unwrap(), new_identity());
    let (handle, running, mut notices) = coordinator(folder.path(), &identity, localhost()).await;
    let address = handle.addresses()[0].clone();
    let task = task(&handle, TaskKind::Segment, 0, 1, &[vec![9; 10]]);
    handle.publish(task.clone()).await.unwrap();
    let mut happenings = handle.watch();
    let (begun, mut has_begun) = watch::channel(false);
    let leaver = prover(&address, 1, Arc::new(Endless(begun)));
    timeout(PATIENCE, has_begun.wait_for(|begun| *begun)).await.unwrap().unwrap();
    assert_eq!(handle.status().await.unwrap().of(TaskKind::Segment).leased, 1);
    leaver.stop.send(Stop::Leave).unwrap();
    let summary = timeout(PATIENCE, leaver.running).await.unwrap().unwrap().unwrap();
    assert_eq!(summary, WorkSummary::default());
    let whats = [happenings.recv().await.unwrap().what, happenings.recv().await.unwrap().what];
    assert_eq!(whats, [What::Leased, What::Returned]);
    let honest = prover(&address, 2, Arc::new(Honest));
    assert_eq!(next_done(&mut notices).await.0, task.id());
    honest.stop.send(Stop::Drain).unwrap();
    timeout(PATIENCE, honest.running).await.unwrap().unwrap().unwrap();
    handle.stop().await;
    running.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prover_can_ask_how_it_stands() {
    let (folder, identity) = (tempfile::tempdir().unwrap(), new_identity());
    let (handle, running, mut notices) = coordinator(folder.path(), &identity, localhost()).await;
    let address = handle.addresses()[0].clone();
    let me = new_identity();
    assert!(time_of(&me, &address).await.unwrap() > 1_600_000_000_000);
    assert!(matches!(standing(&me, &address).await, Err(WorkError::Refused(_))), "a stranger has none");
    let task = task(&handle, TaskKind::Segment, 0, 1, &[vec![9; 10]]);
    handle.publish(task.clone()).await.unwrap();
    let worker = prover_of(&address, 7, Arc::new(Honest), me.clone());
    assert_eq!(next_done(&mut notices).await.0, task.id());
    let report = standing(&me, &address).await.unwrap();
    assert_eq!((report.accepted, report.refused, report.owed), (1, 0, task.price));
    assert_eq!((report.payout, report.suspended_until_ms), (Address([7; 20]), 0));
    assert!(report.score > report.needed);
    worker.stop.send(Stop::Drain).unwrap();
    timeout(PATIENCE, worker.running).await.unwrap().unwrap().unwrap();
    handle.stop().await;
    running.await.unwrap().unwrap();
    let nobody: Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
    assert!(matches!(time_of(&me, &nobody).await, Err(WorkError::NoPeer(_))));
    assert!(matches!(time_of(&me, &address).await, Err(WorkError::NoAnswer { .. })));
}

/// A stranger hears why it gets nothing, whatever it asks, and what is done is done by whoever is listed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_keeps_strangers_out() {
    let (folder, identity) = (tempfile::tempdir().unwrap(), new_identity());
    let (listed, stranger) = (new_identity(), new_identity());
    let admission = Admission::Listed([listed.id()].into());
    let (handle, running, mut notices) = coordinator_of(folder.path(), &identity, localhost(), admission).await;
    let address = handle.addresses()[0].clone();
    let name = stranger.keys().public().to_peer_id().to_string();
    let client = Client::new(&stranger, &address).unwrap();
    let refusals = [
        time_of(&stranger, &address).await.map(drop),
        standing(&stranger, &address).await.map(drop),
        client.demand().await.map(drop),
    ];
    for refused in refusals {
        let Err(WorkError::Refused(reason)) = refused else { panic!("{refused:?}") };
        assert!(reason.contains("list") && reason.contains(&name), "{reason}");
    }
    let task = task(&handle, TaskKind::Segment, 0, 1, &[vec![9; 10]]);
    handle.publish(task.clone()).await.unwrap();
    // It asks before anybody else is there, and the task waits all the same.
    let idle = prover_of(&address, 1, Arc::new(Honest), stranger);
    assert!(time_of(&listed, &address).await.is_ok());
    let worker = prover_of(&address, 2, Arc::new(Honest), listed);
    assert_eq!(next_done(&mut notices).await.0, task.id());
    assert_eq!(handle.owed().await.unwrap(), [(Address([2; 20]), task.price)]);
    assert_eq!(handle.status().await.unwrap().provers_known, 1);
    for (prover, delivered) in [(idle, 0), (worker, 1)] {
        prover.stop.send(Stop::Drain).unwrap();
        assert_eq!(timeout(PATIENCE, prover.running).await.unwrap().unwrap().unwrap().delivered, delivered);
    }
    handle.stop().await;
    running.await.unwrap().unwrap();
}

/// Struck off the list between two starts, a prover keeps what it earned and gets nothing more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_struck_off_the_list_keeps_what_it_earned() {
    let (folder, identity) = (tempfile::tempdir().unwrap(), new_identity());
    let (first, second) = (new_identity(), new_identity());
    let (handle, running, mut notices) = coordinator(folder.path(), &identity, localhost()).await;
    let address = handle.addresses()[0].clone();
    let task_one = task(&handle, TaskKind::Segment, 0, 1, &[vec![1; 10]]);
    handle.publish(task_one.clone()).await.unwrap();
    let worker = prover_of(&address, 1, Arc::new(Honest), first.clone());
    assert_eq!(next_done(&mut notices).await.0, task_one.id());
    handle.collected(task_one.id()).await.unwrap();
    handle.stop().await;
    running.await.unwrap().unwrap();
    let listen: Multiaddr = address.iter().take(2).collect();
    let admission = Admission::Listed([second.id()].into());
    let (handle, running, mut notices) = coordinator_of(folder.path(), &identity, listen, admission).await;
    let refused = standing(&first, &address).await;
    assert!(matches!(refused, Err(WorkError::Refused(_))), "{refused:?}");
    let task_two = task(&handle, TaskKind::Segment, 1, 2, &[vec![2; 10]]);
    handle.publish(task_two.clone()).await.unwrap();
    let other = prover_of(&address, 2, Arc::new(Honest), second);
    assert_eq!(next_done(&mut notices).await.0, task_two.id());
    let owed = handle.owed().await.unwrap();
    assert_eq!(owed, [(Address([1; 20]), task_one.price), (Address([2; 20]), task_two.price)]);
    for prover in [worker, other] {
        prover.stop.send(Stop::Leave).unwrap();
        timeout(PATIENCE, prover.running).await.unwrap().unwrap().unwrap();
    }
    handle.stop().await;
    running.await.unwrap().unwrap();
}
