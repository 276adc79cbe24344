//! Payouts with a real ledger over libp2p and a real database: earned by a prover, paid in a batch that somebody else opened, closed when L1 has executed it, also if the
//! payer is killed on the way.

use std::{
    path::Path,
    sync::{Arc, Mutex, atomic::AtomicBool},
    time::Duration,
};

use alloy::{primitives::B256, signers::local::PrivateKeySigner};
use joule_operator::{Payouts, PayoutsError, PayoutsSetup, Submit};
use joule_protocol::{Account, Address, Digest, Genesis, Hash, Key as StateKey, Object, PublicValues};
use joule_prover_network::{
    Ability, Admission, Capabilities, CircuitsId, CoordinatorHandle, Identity, Judge, Labour, LabourError, NotAccepted,
    Notice, Rules, ServeOptions, Stop, Task, TaskKind, WorkOptions, serve, work,
};
use joule_state::{BlockItems, Execution};
use joule_storage::{BatchRecord, BlockRecord, Database, Stage, StateStore};
use joule_workload::{Chain, GENESIS_SECONDS, Key, sign_call};
use tokio::{
    sync::{broadcast, mpsc, watch},
    time::timeout,
};

const PATIENCE: Duration = Duration::from_secs(60);
const PRICE: u128 = 1_000_000;
const PAYEE: Address = Address([0xaa; 20]);

fn payer() -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::repeat_byte(7)).unwrap()
}

fn genesis() -> Genesis {
    Genesis { fee_recipient: Address(payer().address().into_array()), ..Chain::test_genesis() }
}

/// A chain that builds a block when it is told to.
struct Node {
    database: Database,
    execution: Mutex<Execution<StateStore>>,
    blocks: broadcast::Sender<()>,
}

impl Node {
    fn open(folder: &Path) -> Self {
        let database = Database::open(folder, &genesis()).unwrap();
        let execution = Mutex::new(database.execution().unwrap());
        Self { database, execution, blocks: broadcast::Sender::new(64) }
    }

    fn block(&self, requests: Vec<Vec<u8>>, transactions: Vec<Vec<u8>>) {
        let mut execution = self.execution.lock().unwrap();
        let items = BlockItems { timestamp: GENESIS_SECONDS + 60, base_fee: 100, requests, transactions };
        let executed = execution.replay(&items).expect("a block");
        self.database.commit_block(&BlockRecord::new(&executed, None), &executed.sealed.changes).expect("a commit");
        execution.follow(&executed.sealed);
        drop(execution);
        self.moved();
    }

    /// The chain, or L1, has moved.
    fn moved(&self) {
        let _ = self.blocks.send(());
    }

    /// Closes the open batch and executes it on L1.
    fn settle(&self) {
        let view = self.database.view().unwrap();
        let last = view.last_batch().unwrap();
        let (number, parent) = last.map_or((1, *view.floor()), |last| (last.number + 1, last.checkpoint));
        let checkpoint = *view.head();
        let record = BatchRecord {
            number,
            revert_count: 0,
            parent,
            checkpoint,
            first_block: parent.block_number + 1,
            last_block: checkpoint.block_number,
            data_bytes: 1,
            certificate_expiry: None,
            stage: Stage::Executed,
            l1_transaction: None,
        };
        drop(view);
        self.database.put_batch(&record).unwrap();
        self.moved();
    }

    fn balance(&self, address: &Address) -> u128 {
        let view = self.database.view().unwrap();
        match view.tree().unwrap().get(&StateKey::account(address)).unwrap() {
            Some(Object::Account(Account { balance, .. })) => balance,
            _ => 0,
        }
    }
}

/// What was handed in, for the test to put into blocks.
#[derive(Clone)]
struct Mempool(mpsc::UnboundedSender<Vec<u8>>);

impl Submit for Mempool {
    async fn submit(&self, transaction: Vec<u8>) -> Result<(), String> {
        self.0.send(transaction).map_err(|error| error.to_string())
    }
}

struct Toy;

impl Judge for Toy {
    fn judge(&self, _: &Task, result: &[u8]) -> Result<(), NotAccepted> {
        if result == b"proof" { Ok(()) } else { Err(NotAccepted::Wrong("no".to_owned())) }
    }
}

impl Labour for Toy {
    fn prove(&self, _: &Task, _: &[Vec<u8>], _: &AtomicBool) -> Result<Vec<u8>, LabourError> {
        Ok(b"proof".to_vec())
    }
}

fn identity() -> Identity {
    Identity::new(libp2p::identity::Keypair::generate_ed25519())
}

/// Has a prover do a task, for which it is owed the price.
async fn earn(handle: &CoordinatorHandle, notices: &mut mpsc::Receiver<Notice>, number: u8) {
    let circuits = CircuitsId([3; 32]);
    let input = handle.artefacts().put(&[number; 10]).unwrap();
    let task = Task {
        kind: TaskKind::Wrap,
        shape: 0,
        statement: PublicValues { program: Digest::EMPTY, chain_id: 7, from: Hash([number; 32]), to: Hash::ZERO },
        circuits,
        inputs: vec![input],
        input_bytes: vec![10],
        deadline_ms: 1,
        price: PRICE,
    };
    handle.publish(task.clone()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let work_of = vec![Ability { kind: TaskKind::Wrap, shape: 0, milliseconds: 1_000 }];
    let options = WorkOptions {
        identity: identity(),
        coordinator: handle.addresses()[0].clone(),
        capabilities: Capabilities { payout: PAYEE, circuits, work: work_of, memory_mebibytes: 1, parallel: 1 },
        folder: folder.path().to_owned(),
        failures_max: 1,
    };
    let (stop, stopped) = watch::channel(Stop::Not);
    let working = tokio::spawn(work(options, Arc::new(Toy), stopped));
    loop {
        match timeout(PATIENCE, notices.recv()).await.unwrap().unwrap() {
            Notice::Done(done, _) if done == task.id() => break,
            _ => {}
        }
    }
    handle.collected(task.id()).await.unwrap();
    stop.send(Stop::Drain).unwrap();
    timeout(PATIENCE, working).await.unwrap().unwrap().unwrap();
}

async fn until_paid(node: &Node, handle: &CoordinatorHandle, paid: u128) {
    let mut blocks = node.blocks.subscribe();
    let all = async {
        while handle.status().await.unwrap().paid != paid {
            // The payer looks when something comes; so does this.
            node.moved();
            let _ = blocks.recv().await;
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, all).await.expect("paid");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prover_is_paid_when_others_use_the_chain() {
    let (folder, ledger) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let node = Node::open(folder.path());
    let options = ServeOptions {
        identity: identity(),
        listen: vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()],
        folder: ledger.path().to_owned(),
        rules: Rules::default(),
        admission: Admission::Everybody,
    };
    let (sender, mut notices) = mpsc::channel(64);
    let (handle, running) = serve(options, Arc::new(Toy), sender).await.unwrap();
    let (pool, mut handed_in) = mpsc::unbounded_channel();
    let setup = |key| PayoutsSetup {
        database: node.database.clone(),
        coordinator: handle.clone(),
        key,
        node: Mempool(pool.clone()),
    };
    let other = PrivateKeySigner::from_bytes(&B256::repeat_byte(8)).unwrap();
    let refused = Payouts::start(setup(other), node.blocks.subscribe());
    assert!(matches!(refused, Err(PayoutsError::OtherKey { .. })));

    // Money for the payer and for somebody else, in a batch that is executed.
    let (user, fees) = (Key::derive("user", 1, 1), genesis().fee_recipient);
    node.block(vec![Chain::deposit(&user.address, 1 << 80), Chain::deposit(&fees, 1 << 80)], vec![]);
    node.settle();
    earn(&handle, &mut notices, 1).await;
    let payouts = Payouts::start(setup(payer()), node.blocks.subscribe()).unwrap();

    let others = |nonce| sign_call(genesis().chain_id, &user, nonce, 200, &Address([5; 20]), 1, None);
    node.block(vec![], vec![others(0)]);
    let first = timeout(PATIENCE, handed_in.recv()).await.unwrap().unwrap();
    // Killed before a block has it. Another payer sends the same bytes, and no others.
    drop(payouts);
    let payouts = Payouts::start(setup(payer()), node.blocks.subscribe()).unwrap();
    node.moved();
    assert_eq!(timeout(PATIENCE, handed_in.recv()).await.unwrap().unwrap(), first);
    node.block(vec![], vec![first]);
    assert_eq!(node.balance(&PAYEE), PRICE);
    assert_eq!(handle.status().await.unwrap().paid, 0, "a block can be undone");
    node.settle();
    until_paid(&node, &handle, PRICE).await;
    assert!(handle.payouts().await.unwrap().is_empty());

    // An idle chain: what is earned now waits for somebody.
    earn(&handle, &mut notices, 2).await;
    earn(&handle, &mut notices, 3).await;
    node.moved();
    node.block(vec![], vec![others(1)]);
    let both = timeout(PATIENCE, handed_in.recv()).await.unwrap().unwrap();
    node.block(vec![], vec![both]);
    node.settle();
    until_paid(&node, &handle, 3 * PRICE).await;
    assert_eq!(node.balance(&PAYEE), 3 * PRICE, "two tasks in one transfer");
    assert!(handed_in.try_recv().is_err(), "nothing else was sent");
    assert_eq!(handle.status().await.unwrap().owed, 0);
    payouts.stop().await.unwrap();
    handle.stop().await;
    running.await.unwrap().unwrap();
}
