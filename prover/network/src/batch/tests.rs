//! Batches through a real coordinator and real connections, with proofs that are what they say: the tree, what is kept, and what is asked for again.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use joule_protocol::Address;
use tokio::{sync::watch, task::JoinHandle};

use super::*;
use crate::{
    admission::Admission,
    coordinator::Rules,
    keys::Identity,
    serve::{Judge, NotAccepted, ServeOptions, serve},
    task::{Ability, Capabilities},
    work::{Labour, LabourError, Stop, WorkOptions, work},
};

const CIRCUITS: CircuitsId = CircuitsId([9; 32]);

fn statement(from: u8, to: u8) -> PublicValues {
    PublicValues { program: Digest::EMPTY, chain_id: 7, from: Hash([from; 32]), to: Hash([to; 32]) }
}

/// A result says its kind and its statement's ends.
struct Plain;

impl Plain {
    fn read(kind: u8, result: &[u8]) -> Result<PublicValues, WireError> {
        match result {
            [got, from, to] if *got == kind => Ok(statement(*from, *to)),
            _ => Err(WireError::NotCanonical),
        }
    }
}

impl Verifier for Plain {
    fn verify_segment(&self, result: &[u8]) -> Result<PublicValues, WireError> {
        Self::read(0, result)
    }

    fn verify_merge(&self, result: &[u8]) -> Result<PublicValues, WireError> {
        Self::read(1, result)
    }

    fn verify_wrap(&self, result: &[u8]) -> Result<PublicValues, WireError> {
        Self::read(2, result)
    }
}

impl Judge for Plain {
    fn judge(&self, task: &Task, result: &[u8]) -> Result<(), NotAccepted> {
        let wrong = |error: WireError| NotAccepted::Wrong(error.to_string());
        let said = self.verify(task.kind.into(), result).map_err(wrong)?;
        if said == task.statement { Ok(()) } else { Err(NotAccepted::Wrong("another statement".to_owned())) }
    }
}

/// Counts what it does, and does no more than it may.
struct Counting {
    done: Arc<AtomicUsize>,
    most: usize,
}

impl Labour for Counting {
    fn prove(&self, task: &Task, inputs: &[Vec<u8>], is_over: &AtomicBool) -> Result<Vec<u8>, LabourError> {
        // A merge's children are neighbours, and lead from its one end to its other.
        if task.kind == TaskKind::Merge {
            assert_eq!((inputs[0][1], inputs[inputs.len() - 1][2]), (task.statement.from.0[0], task.statement.to.0[0]));
            assert!(inputs.windows(2).all(|pair| pair[0][2] == pair[1][1]));
        }
        while self.done.load(Ordering::Relaxed) >= self.most {
            if is_over.load(Ordering::Relaxed) {
                return Err(LabourError::Stopped);
            }
            std::thread::yield_now();
        }
        self.done.fetch_add(1, Ordering::Relaxed);
        Ok(vec![task.kind as u8, task.statement.from.0[0], task.statement.to.0[0]])
    }
}

/// A coordinator and one prover, over the same folder again and again.
struct World {
    exchange: Exchange,
    running: JoinHandle<Result<(), ServeError>>,
    stop: watch::Sender<Stop>,
    working: JoinHandle<()>,
    done: Arc<AtomicUsize>,
}

async fn start(base: &Path, most: usize) -> World {
    let listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    let options = ServeOptions {
        identity: Identity::generate(),
        listen,
        folder: base.join("coordinator"),
        rules: Rules { retry_ms: 1, ..Rules::default() },
        admission: Admission::Everybody,
    };
    let (notices, received) = mpsc::channel(4);
    let (handle, running) = serve(options, Arc::new(Plain), notices).await.unwrap();
    let work_of = |kind| Ability { kind, shape: 1, milliseconds: 60_000 };
    let options = WorkOptions {
        identity: Identity::generate(),
        coordinator: handle.addresses()[0].clone(),
        capabilities: Capabilities {
            payout: Address([1; 20]),
            circuits: CIRCUITS,
            work: TaskKind::ALL.map(work_of).to_vec(),
            memory_mebibytes: 1,
            parallel: 1,
        },
        folder: base.join("prover"),
        failures_max: 1,
    };
    let (stop, stopped) = watch::channel(Stop::Not);
    let done = Arc::<AtomicUsize>::default();
    let labour = Arc::new(Counting { done: done.clone(), most });
    let working = tokio::spawn(async move {
        work(options, labour, stopped).await.unwrap();
    });
    World { exchange: Exchange::new(handle, CIRCUITS, Arc::new(Plain), received), running, stop, working, done }
}

impl World {
    async fn end(self) -> usize {
        self.stop.send(Stop::Leave).unwrap();
        self.working.await.unwrap();
        self.exchange.coordinator.stop().await;
        self.running.await.unwrap().unwrap();
        self.done.load(Ordering::Relaxed)
    }
}

fn segments(count: u8) -> Vec<PlannedSegment> {
    (0..count)
        .map(|at| PlannedSegment { input: vec![at; 40], shape: at % 2, statement: statement(at, at + 1) })
        .collect()
}

fn terms(price: Amount) -> Terms {
    Terms { deadline_ms: 1, prices: Prices { segment: price, merge: price, wrap: price } }
}

fn store(base: &Path) -> (PathBuf, ArtefactStore) {
    let folder = base.join("batch");
    (folder.clone(), ArtefactStore::open(&folder, [4; 32]).unwrap())
}

/// Waits until so many results are accepted.
async fn accepted(exchange: &Exchange, count: u64) {
    let mut happenings = exchange.coordinator.watch();
    loop {
        let status = exchange.coordinator.status().await.unwrap();
        if TaskKind::ALL.into_iter().map(|kind| status.of(kind).accepted).sum::<u64>() >= count {
            return;
        }
        let _ = happenings.recv().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_of_every_size_become_one_proof() {
    for (count, tasks) in [(1, 1 + 1 + 1), (2, 2 + 1 + 1), (3, 3 + 2 + 1 + 1), (6, 6 + 3 + 2 + 1 + 1)] {
        let folder = tempfile::tempdir().unwrap();
        let world = start(folder.path(), usize::MAX).await;
        let (batch, store) = store(folder.path());
        let result = world.exchange.wrap_of(segments(count), &store, &terms(10)).await.unwrap();
        assert_eq!(result, [2, 0, count]);
        let handle = &world.exchange.coordinator;
        let status = handle.status().await.unwrap();
        // Segments of the larger shape pay twice as much.
        let price = 10 * (tasks as u128 + u128::from(count / 2));
        assert_eq!((status.open_tasks(), status.owed), (0, price));
        assert_eq!(offered(&batch).unwrap().len(), tasks);
        // Everything was collected: paid, it is forgotten.
        handle.open_payouts().await.unwrap();
        for (id, _) in handle.payouts().await.unwrap() {
            handle.payout_signed(id, 0, vec![1]).await.unwrap();
            handle.payout_included(id).await.unwrap();
        }
        for task in offered(&batch).unwrap() {
            assert!(matches!(handle.collected(task).await, Err(ServeError::Refused(Refused::UnknownTask(_)))));
        }
        assert_eq!(world.end().await, tasks);
    }
}

/// Killed after any number of accepted results, the batch goes on: nothing is done twice, and what was offered keeps its price.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_accepted_is_done_again() {
    for before in [1, 2, 4, 6] {
        let folder = tempfile::tempdir().unwrap();
        let (_, store) = store(folder.path());
        let world = start(folder.path(), before).await;
        let exchange = world.exchange.clone();
        let begun = {
            let (exchange, store) = (exchange.clone(), store.clone());
            tokio::spawn(async move { exchange.wrap_of(segments(3), &store, &terms(10)).await })
        };
        accepted(&exchange, before as u64).await;
        begun.abort();
        let _ = begun.await;
        assert_eq!(world.end().await, before);

        let world = start(folder.path(), usize::MAX).await;
        let result = world.exchange.wrap_of(segments(3), &store, &terms(1_000)).await.unwrap();
        assert_eq!(result, [2, 0, 3]);
        let status = world.exchange.coordinator.status().await.unwrap();
        let accepted: u64 = TaskKind::ALL.into_iter().map(|kind| status.of(kind).accepted).sum();
        assert_eq!(accepted, 7, "each of seven tasks was accepted once");
        assert_eq!(status.open_tasks(), 0);
        // Once more: everything is there.
        world.exchange.wrap_of(segments(3), &store, &terms(1_000)).await.unwrap();
        assert_eq!(world.end().await, 7 - before);
    }
}

/// A kept result that is damaged in what it says is done again, and a batch that is given up wants nothing more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_is_verified_and_what_is_given_up_is_withdrawn() {
    let folder = tempfile::tempdir().unwrap();
    let (batch, store) = store(folder.path());
    let world = start(folder.path(), usize::MAX).await;
    world.exchange.wrap_of(segments(2), &store, &terms(0)).await.unwrap();
    store.save("wrap", &[2, 0, 9]).unwrap();
    assert_eq!(world.exchange.wrap_of(segments(2), &store, &terms(0)).await.unwrap(), [2, 0, 2]);
    assert_eq!(world.end().await, 4 + 1);

    let world = start(folder.path(), 0).await;
    store.save("segment-0", &[0, 7, 7]).unwrap();
    for step in ["merge-1-0", "wrap"] {
        store.save(step, &[9]).unwrap();
    }
    let exchange = world.exchange.clone();
    let begun = {
        let store = store.clone();
        tokio::spawn(async move { exchange.wrap_of(segments(2), &store, &terms(0)).await })
    };
    let mut happenings = world.exchange.coordinator.watch();
    while world.exchange.coordinator.status().await.unwrap().leases_live == 0 {
        let _ = happenings.recv().await;
    }
    begun.abort();
    let _ = begun.await;
    world.exchange.give_up(&batch).await.unwrap();
    assert_eq!(world.exchange.coordinator.status().await.unwrap().open_tasks(), 0);
    assert_eq!(world.end().await, 0);
}

/// Results that were collected, and then lost with the batch's folder while their provers are not paid yet: they are made again, and paid again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_lost_is_done_again() {
    let folder = tempfile::tempdir().unwrap();
    let (batch, kept) = store(folder.path());
    let world = start(folder.path(), usize::MAX).await;
    world.exchange.wrap_of(segments(2), &kept, &terms(10)).await.unwrap();
    for lost in [batch, folder.path().join("coordinator").join("artefacts")] {
        fs::read_dir(&lost).unwrap().for_each(|file| fs::remove_file(file.unwrap().path()).unwrap());
    }
    assert_eq!(world.exchange.wrap_of(segments(2), &kept, &terms(10)).await.unwrap(), [2, 0, 2]);
    assert_eq!(world.exchange.coordinator.status().await.unwrap().owed, 2 * (10 + 20 + 10 + 10));
    assert_eq!(world.end().await, 2 * 4);
}

/// A coordinator that ends (its disk failed, say) does not leave anybody waiting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_hears_that_the_coordinator_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let (_, store) = store(folder.path());
    let world = start(folder.path(), 0).await;
    let mut happenings = world.exchange.coordinator.watch();
    let exchange = world.exchange.clone();
    let begun = tokio::spawn(async move { exchange.wrap_of(segments(1), &store, &terms(0)).await });
    while world.exchange.coordinator.status().await.unwrap().leases_live == 0 {
        let _ = happenings.recv().await;
    }
    assert_eq!(world.end().await, 0);
    assert!(matches!(begun.await.unwrap(), Err(BatchError::Coordinator(ServeError::Ended))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_of_nothing_or_with_a_gap_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (_, store) = store(folder.path());
    let world = start(folder.path(), usize::MAX).await;
    let terms = terms(0);
    let wrap_of = |segments| world.exchange.wrap_of(segments, &store, &terms);
    assert!(matches!(wrap_of(Vec::new()).await, Err(BatchError::NoSegments)));
    let mut gap = segments(3);
    gap.remove(1);
    assert!(matches!(wrap_of(gap).await, Err(BatchError::NotNeighbours { position: 1 })));
    assert_eq!(world.end().await, 0);
}
