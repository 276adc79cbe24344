//! A node of one process: every transaction is a block at once, unless it is told to hold them.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use joule_kernel::{Abort, NotExecuted};
use joule_protocol::{Address, Amount, Call, Envelope, Genesis, Hash, Hashing, Native};
use joule_rpc::{
    Limits, Node, NodeEvent, Server, SubmitError, serve,
    wire::{CommitteeStatus, L1Contracts, ProverStatus, SyncStatus},
};
use joule_state::Execution;
use joule_storage::{BatchRecord, BlockRecord, Database, Stage, StateStore};
use joule_workload::{Chain, Key, Population, sign_call};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::broadcast;

pub(crate) const BASE_FEE: u64 = 1_000_000_000;
pub(crate) const ONE: Amount = 1_000_000_000_000_000_000;

/// A transaction that waits: its hash, sender, nonce and bytes.
type Pooled = (Hash, Address, u64, Vec<u8>);

pub(crate) struct TestNode {
    database: Database,
    genesis: Genesis,
    execution: Mutex<Execution<StateStore>>,
    time: AtomicU64,
    holds: AtomicBool,
    pool: Mutex<Vec<Pooled>>,
    events: broadcast::Sender<NodeEvent>,
    contracts: OnceLock<L1Contracts>,
    _folder: TempDir,
}

/// What stops a block of the test node.
enum Stop {
    Refused(joule_protocol::Refusal),
    Aborted(Abort),
}

impl From<Abort> for Stop {
    fn from(abort: Abort) -> Self {
        Self::Aborted(abort)
    }
}

impl From<NotExecuted> for Stop {
    fn from(error: NotExecuted) -> Self {
        match error {
            NotExecuted::Refused(refusal) => Self::Refused(refusal),
            NotExecuted::BlockFull => Self::Aborted(Abort::BlockOverfull),
            NotExecuted::Aborted(abort) => Self::Aborted(abort),
        }
    }
}

impl TestNode {
    pub(crate) fn new() -> Arc<Self> {
        Self::of(Genesis { base_fee_max: 100 * BASE_FEE, ..Chain::test_genesis() })
    }

    pub(crate) fn of(genesis: Genesis) -> Arc<Self> {
        let folder = TempDir::new().expect("a folder");
        let database = Database::open(folder.path().join("database"), &genesis).expect("a new database");
        let execution = Mutex::new(database.execution().expect("the genesis state"));
        Arc::new(Self {
            database,
            genesis,
            execution,
            time: AtomicU64::new(genesis.timestamp + 1),
            holds: AtomicBool::new(false),
            pool: Mutex::new(Vec::new()),
            contracts: OnceLock::new(),
            events: broadcast::channel(1_024).0,
            _folder: folder,
        })
    }

    /// Makes a block now.
    fn block(&self, requests: &[Vec<u8>], transactions: &[Vec<u8>]) -> Result<(), Stop> {
        let mut execution = self.execution.lock().expect("no test panics with it");
        let time = self.time.fetch_add(1, Ordering::Relaxed);
        let executed = execution.build::<Stop>(time, BASE_FEE, |block| {
            for request in requests {
                block.request(request)?;
            }
            for transaction in transactions {
                block.transaction(transaction)?;
            }
            Ok(())
        })?;
        let record = BlockRecord::new(&executed, None);
        self.database.commit_block(&record, &executed.sealed.changes).expect("the next block");
        execution.follow(&executed.sealed);
        // Nobody listening is no error.
        let _ = self.events.send(NodeEvent::Block { number: record.number() });
        Ok(())
    }

    pub(crate) fn deposit(&self, to: &Address, amount: Amount) {
        self.consume(&[Chain::deposit(to, amount)]);
    }

    /// Makes a block of priority requests.
    pub(crate) fn consume(&self, requests: &[Vec<u8>]) {
        if self.block(requests, &[]).is_err() {
            panic!("what L1 admits has an outcome");
        }
    }

    /// Says where the contracts are, once.
    pub(crate) fn settle_with(&self, contracts: L1Contracts) {
        self.contracts.set(contracts).expect("the first time");
    }

    /// Undoes the blocks behind `number`.
    pub(crate) fn revert_to(&self, number: u64) {
        let mut execution = self.execution.lock().expect("no test panics with it");
        self.database.revert_to(number, false).expect("within the window");
        *execution = self.database.execution().expect("the state before");
        let _ = self.events.send(NodeEvent::Reverted { to: number });
    }

    /// Lets transactions wait from now on.
    pub(crate) fn hold(&self) {
        self.holds.store(true, Ordering::Relaxed);
    }

    /// Makes one block of everything that waits, and holds no more.
    pub(crate) fn release(&self) {
        self.holds.store(false, Ordering::Relaxed);
        let waiting = std::mem::take(&mut *self.pool.lock().expect("no test panics with it"));
        let transactions: Vec<Vec<u8>> = waiting.into_iter().map(|(_, _, _, bytes)| bytes).collect();
        if self.block(&[], &transactions).is_err() {
            panic!("waiting transactions were checked when they came");
        }
    }

    /// Puts all blocks that are in no batch into the next one, at this stage.
    pub(crate) fn settle(&self, stage: Stage) -> BatchRecord {
        let record = {
            let view = self.database.view().expect("a view");
            let before = view.last_batch().expect("readable");
            let (number, last) = before.map_or((1, 0), |batch| (batch.number + 1, batch.last_block));
            BatchRecord {
                number,
                revert_count: 0,
                parent: view.checkpoint(last).expect("readable").expect("there"),
                checkpoint: *view.head(),
                first_block: last + 1,
                last_block: view.head().block_number,
                data_bytes: 1,
                certificate_expiry: None,
                stage,
                l1_transaction: None,
            }
        };
        self.database.put_batch(&record).expect("the next batch");
        record
    }

    pub(crate) fn put_batch(&self, record: &BatchRecord) {
        self.database.put_batch(record).expect("the batch again");
    }

    pub(crate) fn head(&self) -> u64 {
        self.database.view().expect("a view").head().block_number
    }
}

impl Node for TestNode {
    fn database(&self) -> &Database {
        &self.database
    }

    fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    fn l1_contracts(&self) -> Option<L1Contracts> {
        self.contracts.get().copied()
    }

    fn client_version(&self) -> String {
        "joule-test/0".into()
    }

    fn base_fee(&self) -> u64 {
        BASE_FEE
    }

    fn next_timestamp(&self) -> u64 {
        self.time.load(Ordering::Relaxed)
    }

    async fn submit(&self, bytes: Vec<u8>) -> Result<Hash, SubmitError> {
        let hash = Native::keccak256(&bytes);
        let is_known = self.database.view().expect("a view").transaction_place(&hash).expect("readable").is_some();
        if is_known || self.pending_transaction(&hash).is_some() {
            return Err(SubmitError::AlreadyKnown { hash });
        }
        if self.holds.load(Ordering::Relaxed) {
            let envelope = Envelope::decode(&bytes)?;
            let sender =
                joule_kernel::recover_address::<Native>(&envelope.signing_hash::<Native>(), &envelope.signature)
                    .ok_or(joule_protocol::Refusal::SignerNotRecovered)?;
            let nonce = envelope.nonce;
            self.pool.lock().expect("no test panics with it").push((hash, sender, nonce, bytes));
            let _ = self.events.send(NodeEvent::Pending { hash });
            return Ok(hash);
        }
        let _ = self.events.send(NodeEvent::Pending { hash });
        match self.block(&[], &[bytes]) {
            Ok(()) => Ok(hash),
            Err(Stop::Refused(refusal)) => Err(refusal.into()),
            Err(Stop::Aborted(abort)) => Err(SubmitError::Unavailable { reason: abort.to_string() }),
        }
    }

    fn pending_transaction(&self, hash: &Hash) -> Option<Vec<u8>> {
        let pool = self.pool.lock().expect("no test panics with it");
        pool.iter().find(|waiting| waiting.0 == *hash).map(|waiting| waiting.3.clone())
    }

    fn pending_nonce(&self, sender: &Address) -> Option<u64> {
        let pool = self.pool.lock().expect("no test panics with it");
        pool.iter().filter(|waiting| waiting.1 == *sender).map(|waiting| waiting.2 + 1).max()
    }

    fn subscribe(&self) -> broadcast::Receiver<NodeEvent> {
        self.events.subscribe()
    }

    fn sync_status(&self) -> Option<SyncStatus> {
        None
    }

    fn peer_count(&self) -> u32 {
        0
    }

    fn committee_status(&self) -> Option<CommitteeStatus> {
        None
    }

    fn prover_status(&self) -> Option<ProverStatus> {
        None
    }
}

/// A server with a node behind it and people who have money.
pub(crate) struct Scene {
    pub(crate) node: Arc<TestNode>,
    pub(crate) people: Population,
    pub(crate) server: Server,
    nonces: Mutex<HashMap<Address, u64>>,
}

pub(crate) async fn start() -> Scene {
    start_with(Limits::default()).await
}

pub(crate) async fn start_with(limits: Limits) -> Scene {
    let node = TestNode::new();
    let people = Population::new(7, node.genesis(), 3, 2);
    for wallet in &people.wallets {
        node.deposit(&wallet.address, 1_000 * ONE);
    }
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let server = serve(node.clone(), address, limits).await.expect("a free port");
    Scene { node, people, server, nonces: Mutex::new(HashMap::new()) }
}

impl Scene {
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    pub(crate) fn websocket_url(&self) -> String {
        format!("ws://{}", self.server.address())
    }

    fn next_nonce(&self, key: &Key) -> u64 {
        let mut nonces = self.nonces.lock().expect("no test panics with it");
        let nonce = nonces.entry(key.address).or_insert(0);
        *nonce += 1;
        *nonce - 1
    }

    /// A signed transfer with the wallet's next nonce.
    pub(crate) fn transfer(&self, wallet: usize, to: &Address, value: Amount) -> Vec<u8> {
        let key = &self.people.wallets[wallet];
        sign_call(self.people.chain_id, key, self.next_nonce(key), 2 * u128::from(BASE_FEE), to, value, None)
    }

    /// A signed call with the wallet's next nonce.
    pub(crate) fn call(&self, wallet: usize, value: Amount, call: &Call) -> Vec<u8> {
        let key = &self.people.wallets[wallet];
        let fee = 2 * u128::from(BASE_FEE);
        sign_call(self.people.chain_id, key, self.next_nonce(key), fee, &Address::ZERO, value, Some(call))
    }

    /// Sends bytes and returns the hash.
    pub(crate) async fn send(&self, bytes: &[u8]) -> String {
        let hash = self.result("eth_sendRawTransaction", json!([hex(bytes)])).await;
        hash.as_str().expect("a hash").to_owned()
    }

    /// The whole answer to a request.
    pub(crate) async fn ask(&self, method: &str, params: Value) -> Value {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        self.post(body.to_string()).await.1
    }

    /// The status and answer to a body.
    pub(crate) async fn post(&self, body: String) -> (u16, Value) {
        let client = alloy::transports::http::reqwest::Client::new();
        let request = client.post(self.url()).header("content-type", "application/json").body(body);
        let response = request.send().await.expect("the server answers");
        let status = response.status().as_u16();
        let text = response.text().await.expect("a body");
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    pub(crate) async fn result(&self, method: &str, params: Value) -> Value {
        let answer = self.ask(method, params).await;
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }

    /// The error's code and message.
    pub(crate) async fn error(&self, method: &str, params: Value) -> (i64, String) {
        let answer = self.ask(method, params).await;
        let error = &answer["error"];
        let code = error["code"].as_i64().unwrap_or_else(|| panic!("{method} did not fail: {answer}"));
        (code, error["message"].as_str().expect("a message").to_owned())
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    alloy::hex::encode_prefixed(bytes)
}

pub(crate) fn number(value: &Value) -> u128 {
    let text = value.as_str().unwrap_or_else(|| panic!("not a quantity: {value}"));
    u128::from_str_radix(text.strip_prefix("0x").expect("a quantity"), 16).expect("hexadecimal")
}
