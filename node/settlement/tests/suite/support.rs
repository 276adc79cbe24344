//! A chain with a disk, a committee of five, provers, and an L1 whose blocks and clock are the test's.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use alloy::{
    contract::{CallBuilder, CallDecoder},
    primitives::{Address, B256, Bytes, U256},
    providers::{DynProvider, Provider},
};
use joule_committee::{
    Certificate, CertificateStatement, EcdsaSecretKey, Keyset, Member, Proposal, Scheme, SecretKey, Share, SigningLog,
    VerifiedCertificate,
};
use joule_contracts::{Addresses, Bridge, CommitteeSetup, Deployment, Rollup, deploy, proof_bytes};
use joule_l1::{FeePolicy, History, L1Client, L1Event, Operator, OutboxPolicy, RollupState};
use joule_protocol::{Call, Checkpoint, Digest, Hash, Native, PublicValues};
use joule_settlement::{
    Driver, DriverConfig, Handle, NotCertified, NotProven, Notice, Offer, Policy, ProofRequest, ProofSource, Publisher,
    SettlementStore,
};
use joule_state::{BlockItems, Execution};
use joule_storage::{BatchRecord, BlockRecord, Database, Stage, StateStore};
use joule_testnet_l1::{Mining, Orphans};
use joule_testnet_support::{PROGRAM, START_S, TestL1, address, signer, test_deployment};
use joule_workload::{Chain, Population, sign_call};
use tokio::sync::mpsc::Receiver;

pub(crate) const CONFIRMATIONS: u64 = 3;
const REMAINING_MIN_S: u64 = 7_200;
const WALLETS: u64 = 8;
/// What each wallet deposits, in wei.
const DEPOSIT: u128 = 1 << 66;

/// The committee: five real members that sign once for each slot, and the publisher that asks them.
pub(crate) struct Committee {
    keys: Vec<EcdsaSecretKey>,
    keyset: Keyset,
    logs: Mutex<Vec<SigningLog>>,
    expiries: Mutex<BTreeMap<(u64, u64), u64>>,
    rollup: Address,
    clock_s: Arc<AtomicU64>,
    pub(crate) is_up: AtomicBool,
    pub(crate) lifetime_s: AtomicU64,
    pub(crate) asked: AtomicU64,
}

impl Publisher for Committee {
    async fn publish(&self, offer: Offer) -> Result<VerifiedCertificate, NotCertified> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if !self.is_up.load(Ordering::SeqCst) {
            return Err(NotCertified::Failed { reason: "two of five answer".into() });
        }
        let batch = &offer.batch;
        let chosen = self.clock_s.load(Ordering::SeqCst) + self.lifetime_s.load(Ordering::SeqCst);
        let mut expiries = self.expiries.lock().expect("not poisoned");
        let statement = CertificateStatement {
            l1_chain_id: 31_337,
            rollup: self.rollup,
            batch_number: batch.number,
            parent_checkpoint: B256::new(batch.parent.hash::<Native>().0),
            checkpoint: B256::new(batch.checkpoint.hash::<Native>().0),
            revert_count: offer.revert_count,
            data_bytes: batch.data_bytes,
            expiry: *expiries.entry((batch.number, offer.revert_count)).or_insert(chosen),
            keyset_hash: self.keyset.hash(),
        };
        let mut shares = Vec::new();
        for (log, member) in self.logs.lock().expect("not poisoned").iter_mut().zip(self.keyset.members()).take(4) {
            let permit = match log.propose(&statement) {
                Ok(Proposal::New(entry)) => log.record(entry).expect("recorded"),
                Ok(Proposal::Promised(permit)) => permit,
                Err(error) => return Err(NotCertified::Failed { reason: error.to_string() }),
            };
            let key = self.keys.iter().find(|key| key.address() == member.signer).expect("a member's");
            let share = Share::sign(&permit, member.account, &SecretKey::Ecdsa(key.clone())).expect("signs");
            shares.push(share.verify(&self.keyset).expect("verifies"));
        }
        let certificate = Certificate::aggregate(&self.keyset, &statement, &shares).expect("aggregates");
        Ok(certificate.verify(self.keyset.hash(), 0).expect("verifies"))
    }

    async fn is_healthy(&self) -> bool {
        self.is_up.load(Ordering::SeqCst)
    }
}

/// What the test verifier takes for proofs.
#[derive(Default)]
pub(crate) struct Provers {
    pub(crate) is_up: AtomicBool,
    pub(crate) is_lying: AtomicBool,
    /// Whether they work without end.
    pub(crate) is_stuck: AtomicBool,
    pub(crate) asked: AtomicU64,
    /// Those that whoever asked waits for.
    pub(crate) waited_for: AtomicU64,
}

/// Counts a question for as long as somebody waits for its answer.
struct WaitedFor<'a>(&'a AtomicU64);

impl Drop for WaitedFor<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl ProofSource for Provers {
    async fn prove(&self, request: ProofRequest) -> Result<Bytes, NotProven> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.waited_for.fetch_add(1, Ordering::SeqCst);
        let _waited_for = WaitedFor(&self.waited_for);
        if self.is_stuck.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if !self.is_up.load(Ordering::SeqCst) {
            return Err(NotProven { reason: "no prover is there".into() });
        }
        let batch = &request.batch;
        let values = PublicValues {
            program: Digest::from_hash(Hash(PROGRAM.0)).expect("canonical"),
            chain_id: Chain::test_genesis().chain_id,
            from: batch.parent.hash::<Native>(),
            to: batch.checkpoint.hash::<Native>(),
        };
        let mut points = [U256::ZERO; 8];
        points[0] = U256::from_be_bytes(values.public_input().0);
        if self.is_lying.load(Ordering::SeqCst) {
            points[0] += U256::from(1);
        }
        Ok(proof_bytes(1, &points))
    }
}

pub(crate) struct World {
    pub(crate) l1: TestL1,
    pub(crate) addresses: Addresses,
    pub(crate) client: L1Client,
    user: DynProvider,
    pub(crate) committee: Arc<Committee>,
    pub(crate) provers: Arc<Provers>,
    pub(crate) database: Database,
    execution: Execution<StateStore>,
    genesis: Checkpoint,
    population: Population,
    nonces: Vec<u64>,
    batches: u64,
    pub(crate) policy: Policy,
    _folder: tempfile::TempDir,
}

fn deployment(genesis: Checkpoint, signers: Vec<Address>) -> Deployment {
    let deployer = address(0);
    let base = test_deployment(&Chain::test_genesis(), genesis, deployer, deployer, signers);
    Deployment {
        committee: CommitteeSetup { remaining_min_s: REMAINING_MIN_S, ..base.committee },
        // Longer than what these tests wait for proofs and certificates.
        delays: Rollup::Delays { lateAfter: 3_000, proofDeadline: 3_000, ..base.delays },
        fees: Rollup::Fees { perBlockMax: 64, ..base.fees },
        ..base
    }
}

impl World {
    pub(crate) async fn start() -> Self {
        let l1 = TestL1::start(START_S).await;
        let folder = tempfile::tempdir().expect("a folder");
        let genesis = Chain::test_genesis();
        let database = Database::open(folder.path(), &genesis).expect("opens");
        let execution = database.execution().expect("at genesis");

        let keys: Vec<_> =
            (2..7).map(|i| EcdsaSecretKey::from_bytes(&signer(i).to_bytes().0).expect("a key")).collect();
        let mut signers: Vec<_> = keys.iter().map(EcdsaSecretKey::address).collect();
        signers.sort();
        let members = signers.iter().map(|&signer| Member { account: signer, signer, bls: None }).collect();
        let keyset = Keyset::new(Scheme::Ecdsa, members, 2).expect("a keyset");
        let config = deployment(*execution.checkpoint(), signers);
        let addresses = deploy(&l1.provider(0), address(0), &config).await.expect("deploys");
        l1.chain().write(|chain, _| chain.set_mining(Mining::Manual)).expect("not poisoned").expect("manual");
        let client = L1Client::connect(&l1.url(), 31_337, addresses.rollup, addresses.block_number).await;

        let committee = Committee {
            logs: Mutex::new(signers_logs(addresses.rollup)),
            keys,
            keyset,
            expiries: Mutex::default(),
            rollup: addresses.rollup,
            clock_s: l1.clock_s(),
            is_up: AtomicBool::new(true),
            lifetime_s: AtomicU64::new(30_000),
            asked: AtomicU64::new(0),
        };
        let provers = Provers { is_up: AtomicBool::new(true), ..Provers::default() };
        Self {
            client: client.expect("connects"),
            user: l1.provider(1),
            committee: Arc::new(committee),
            provers: Arc::new(provers),
            population: Population::new(1, &genesis, WALLETS, 0),
            nonces: vec![0; WALLETS as usize],
            batches: 0,
            policy: Policy { healthy_for_s: 120, certificate_margin_s: 600, ..Policy::default() },
            _folder: folder,
            l1,
            addresses,
            database,
            genesis: *execution.checkpoint(),
            execution,
        }
    }

    pub(crate) fn now_s(&self) -> u64 {
        self.l1.now_s()
    }

    pub(crate) fn wait(&self, by_s: u64) {
        self.l1.wait(by_s);
    }

    pub(crate) fn mine(&self) {
        self.wait(12);
        self.l1.chain().write(|chain, now_s| chain.mine(now_s)).expect("not poisoned").expect("a block");
    }

    /// From here on L1 makes a block for each transaction.
    pub(crate) fn mine_at_once(&self) {
        self.l1
            .chain()
            .write(|chain, _| chain.set_mining(Mining::Automatic))
            .expect("not poisoned")
            .expect("automatic");
    }

    pub(crate) fn reorganise(&self, depth: u64) {
        self.l1.chain().write(|chain, _| chain.reorg(depth, Orphans::Drop)).expect("not poisoned").expect("a reorg");
    }

    /// Every wallet deposits on L1.
    pub(crate) async fn deposit(&self) {
        for wallet in &self.population.wallets {
            let to = Address::new(wallet.address.0);
            self.send_user(
                Bridge::new(self.addresses.bridge, &self.user)
                    .deposit(to, DEPOSIT)
                    .value(U256::from(DEPOSIT) + U256::from(100_000)),
            )
            .await;
        }
        self.mine();
    }

    pub(crate) async fn send_user<P: Provider, C: CallDecoder>(&self, call: CallBuilder<P, C>) -> B256 {
        let nonce = self.user.get_transaction_count(address(1)).pending().await.expect("a nonce");
        let call = call.nonce(nonce).gas(1_000_000).max_fee_per_gas(100_000_000_000).max_priority_fee_per_gas(1);
        *call.send().await.expect("sends").tx_hash()
    }

    pub(crate) fn user(&self) -> &DynProvider {
        &self.user
    }

    /// Requests that L1 has and the chain has not consumed.
    pub(crate) async fn requests(&self) -> Vec<Vec<u8>> {
        let head = self.client.head().await.expect("a head");
        let events = self.client.events(self.addresses.block_number, head.number).await.expect("events");
        let requests = events.into_iter().filter_map(|located| match located.event {
            L1Event::PriorityRequest { request, .. } => Some(request.encode()),
            _ => None,
        });
        requests.skip(self.execution.checkpoint().priority_count as usize).collect()
    }

    /// A transfer or a call by a wallet.
    pub(crate) fn sign(&mut self, wallet: usize, value: u128, call: Option<&Call>) -> Vec<u8> {
        let nonce = self.nonces[wallet];
        self.nonces[wallet] += 1;
        let to = self.population.wallets[(wallet + 1) % WALLETS as usize].address;
        let chain_id = self.population.chain_id;
        sign_call(chain_id, &self.population.wallets[wallet], nonce, 1_000, &to, value, call)
    }

    pub(crate) fn withdrawal(&mut self, wallet: usize, to: u8, amount: u128) -> Vec<u8> {
        let call = Call::Withdraw { l1_recipient: joule_protocol::Address([to; 20]), amount };
        self.sign(wallet, amount, Some(&call))
    }

    pub(crate) fn transfers(&mut self, count: usize) -> Vec<Vec<u8>> {
        (0..count).map(|index| self.sign(index % WALLETS as usize, 1_000, None)).collect()
    }

    /// Executes a block and writes it down.
    pub(crate) fn block(&mut self, requests: Vec<Vec<u8>>, transactions: Vec<Vec<u8>>) {
        let items = BlockItems { timestamp: self.now_s(), base_fee: 10, requests, transactions };
        let executed = self.execution.replay(&items).expect("executes");
        let record = BlockRecord::new(&executed, None);
        assert!(record.transactions.iter().all(|done| done.outcome.is_applied()), "{:?}", record.transactions);
        self.database.commit_block(&record, &executed.sealed.changes).expect("commits");
        self.execution.follow(&executed.sealed);
    }

    /// Undoes all blocks, as a node does whose first requests L1 took back.
    pub(crate) fn undo(&mut self) {
        self.database.revert_to(0, false).expect("within the window");
        self.execution = self.database.execution().expect("at genesis");
    }

    /// Seals all blocks since the last batch into the next one.
    pub(crate) fn seal(&mut self) -> u64 {
        let view = self.database.view().expect("a view");
        let last = view.last_batch().expect("reads");
        let (number, parent) = match last {
            Some(last) => (last.number + 1, last.checkpoint),
            None => (1, self.genesis),
        };
        let (first_block, last_block) = (parent.block_number + 1, self.execution.checkpoint().block_number);
        let data_bytes = (first_block..=last_block)
            .map(|number| view.block(number).expect("reads").expect("a block").chunk.len() as u64)
            .sum();
        drop(view);
        let record = BatchRecord {
            number,
            revert_count: 0,
            parent,
            checkpoint: *self.execution.checkpoint(),
            first_block,
            last_block,
            data_bytes,
            certificate_expiry: None,
            stage: Stage::Sealed,
            l1_transaction: None,
        };
        self.database.put_batch(&record).expect("in place");
        self.batches = number;
        number
    }

    /// A block of payments, sealed.
    pub(crate) fn next_batch(&mut self) -> u64 {
        let transactions = self.transfers(8);
        self.block(Vec::new(), transactions);
        self.seal()
    }

    /// The driver as a start finds it.
    pub(crate) async fn drive(&self) -> Running {
        self.drive_with(CONFIRMATIONS).await
    }

    pub(crate) async fn drive_with(&self, confirmations: u64) -> Running {
        let policy = OutboxPolicy { raise_after_blocks: 4, resend_after_blocks: 1, pending_max: 16 };
        let store = SettlementStore::new(self.database.clone());
        let client = self.client.clone();
        let operator = Operator::open(client, signer(0).into(), store, FeePolicy::default(), policy, confirmations)
            .await
            .expect("opens");
        let poll = std::time::Duration::from_millis(5);
        let config = DriverConfig { policy: self.policy, confirmations, poll, ..DriverConfig::default() };
        let (driver, handle, notices) =
            Driver::open(config, operator, self.committee.clone(), self.provers.clone()).await.expect("opens");
        let clock_s = self.l1.clock_s();
        let driver = driver.with_clock(move || clock_s.load(Ordering::SeqCst));
        Running { driver, handle, notices, seen: Vec::new() }
    }

    pub(crate) async fn rollup(&self) -> RollupState {
        let head = self.client.head().await.expect("a head");
        self.client.state(head).await.expect("a state")
    }

    pub(crate) fn stage(&self, number: u64) -> Stage {
        self.database.view().expect("a view").batch(number).expect("reads").expect("a batch").stage
    }

    /// What everything comes to: L1's history is the chain's.
    pub(crate) async fn check_history(&self) {
        let head = self.client.head().await.expect("a head");
        let view = self.database.view().expect("a view");
        let first = view.batch(1).expect("reads").expect("a batch");
        let history = History::read(&self.client, first.parent, head).await.expect("a history");
        assert_eq!(history.batches().len() as u64, self.batches);
        for batch in history.batches() {
            let ours = view.batch(batch.number).expect("reads").expect("a batch");
            assert_eq!(batch.checkpoint, ours.checkpoint);
            assert_eq!(batch.stage, joule_l1::StageOnL1::Executed);
        }
    }
}

fn signers_logs(rollup: Address) -> Vec<SigningLog> {
    (0..5).map(|_| SigningLog::new(31_337, rollup)).collect()
}

/// A driver and what it said.
pub(crate) struct Running {
    pub(crate) driver: Driver<Arc<Committee>, Arc<Provers>>,
    pub(crate) handle: Handle,
    pub(crate) notices: Receiver<Notice>,
    pub(crate) seen: Vec<Notice>,
}

impl Running {
    /// One look at L1, and time for what was asked to be answered.
    pub(crate) async fn turn(&mut self) {
        self.driver.turn().await.expect("turns");
        // Publisher and provers of this test never wait, so their tasks end when they are polled.
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
        while let Ok(notice) = self.notices.try_recv() {
            self.seen.push(notice);
        }
    }

    /// Turns and blocks until batch `number` is executed for good.
    pub(crate) async fn until_executed(&mut self, world: &World, number: u64) {
        for _ in 0..150 {
            self.turn().await;
            if world.stage(number) == Stage::Executed {
                return;
            }
            world.mine();
        }
        panic!("batch {number} is {:?}; {:?}; {:?}", world.stage(number), world.rollup().await, self.seen);
    }

    /// Turns and blocks until L1 shows something.
    pub(crate) async fn until(&mut self, world: &World, reached: impl Fn(&RollupState) -> bool) {
        for _ in 0..100 {
            self.turn().await;
            world.mine();
            if reached(&world.rollup().await) {
                return;
            }
        }
        panic!("not reached: {:?}; {:?}", world.rollup().await, self.seen);
    }
}
