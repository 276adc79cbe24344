//! An L1 with the contracts, a sequencer that seals batches in memory, and members that really run.

use std::{
    collections::{HashMap, VecDeque},
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use alloy::{
    network::EthereumWallet,
    primitives::{Address, B256, Bytes, U256, keccak256},
    providers::{DynProvider, Provider},
    signers::local::PrivateKeySigner,
};
use joule_committee::{CompactSignature, EcdsaSecretKey, Keyset, Scheme, Slot};
use joule_committee_client::{
    Committee, Endpoint, Expiries, ExpiryPolicy, GatherTiming, L1Now, Observer, OfferSigner, Publication, Publisher,
    Report, SealedBatch, checkpoint_hash,
};
use joule_contracts::{Addresses, Availability, Bridge, CommitteeSetup, Deployment, Rollup, deploy, proof_bytes};
use joule_dac::{
    api,
    bench::BatchMaker,
    keys::MemberKeys,
    l1::{L1Source as _, L1View, Watcher},
    member::Member,
    rules::Promises,
    sync::{self, SyncConfig},
};
use joule_l1::{History, L1Client};
use joule_protocol::{Digest, Genesis, Hash, Native, PublicValues};
use joule_storage::Database;
use joule_testnet_l1::{ChainConfig, GenesisAccount};
use joule_testnet_support::{PROGRAM, START_S, TestL1, address, provider, signer, test_deployment};
use joule_workload::{Chain, Population, payments};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::Notify, task::JoinHandle};
use tokio_util::sync::CancellationToken;

const SEQUENCER_SEED: u64 = 7;
const LIFETIME_S: u64 = 30_000;
pub(crate) const MEMBERS: usize = 5;
/// Of five members three are needed: two may fail.
const HONEST: u32 = 3;
pub(crate) const PROMISES: Promises = Promises { expiry_ahead_max_s: 100_000 };
/// For answers that come, on a machine as busy as it may be: who has none here refuses at once.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

pub(crate) const SYNC: SyncConfig =
    SyncConfig { poll: Duration::from_millis(150), peer_limit: LIMIT, snapshot_every: Duration::ZERO, retention_s: 0 };

/// Patient enough for a busy machine; what fails for good fails at once anyway.
pub(crate) const TIMING: GatherTiming = GatherTiming {
    deadline: Duration::from_secs(240),
    attempt: LIMIT,
    pause: Duration::from_millis(30),
    attempts: u32::MAX,
    linger: Duration::ZERO,
};

fn sequencer_key() -> PrivateKeySigner {
    let mut preimage = b"sequencer".to_vec();
    preimage.extend_from_slice(&SEQUENCER_SEED.to_be_bytes());
    preimage.extend_from_slice(&0_u64.to_be_bytes());
    PrivateKeySigner::from_bytes(&keccak256(preimage)).expect("a key")
}

pub(crate) fn member_key(index: usize) -> EcdsaSecretKey {
    EcdsaSecretKey::from_bytes(&keccak256(format!("member {index}")).0).expect("a key")
}

/// The L1 and the sequencer.
pub(crate) struct World {
    l1: TestL1,
    pub(crate) url: String,
    pub(crate) provider: DynProvider,
    pub(crate) addresses: Addresses,
    pub(crate) rollup: Rollup::RollupInstance<DynProvider>,
    pub(crate) genesis: Genesis,
    pub(crate) keyset: Keyset,
    pub(crate) maker: BatchMaker,
    /// Transactions that wait for a batch.
    pub(crate) transactions: VecDeque<Vec<u8>>,
    requests_taken: usize,
}

impl World {
    /// With a committee of five, of which three must sign.
    pub(crate) async fn start() -> Self {
        Self::of(MEMBERS, HONEST).await
    }

    /// With a committee of so many, of which so many are assumed honest.
    pub(crate) async fn of(count: usize, honest: u32) -> Self {
        // RUST_LOG shows what members say; another test may have set it up.
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        drop(tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init());
        let genesis = Chain::test_genesis();
        let maker = BatchMaker::new(genesis, SEQUENCER_SEED);
        let mut config = ChainConfig { chain_id: genesis.l1_chain_id, ..ChainConfig::development() };
        let sequencer = sequencer_key();
        assert_eq!(sequencer.address(), maker.sequencer());
        config.accounts.push(GenesisAccount {
            address: sequencer.address(),
            balance: U256::from(10).pow(U256::from(21)),
            code: Bytes::new(),
        });
        let l1 = TestL1::of(config, START_S).await;
        let deployer = address(0);
        let mut wallet = EthereumWallet::from(signer(0));
        wallet.register_signer(sequencer.clone());
        let url = l1.url();
        let provider = provider(&url, wallet);

        let mut members: Vec<_> = (0..count)
            .map(|index| {
                let account = member_key(index).address();
                joule_committee::Member { account, signer: account, bls: None }
            })
            .collect();
        members.sort_by_key(|member| member.signer);
        let signers = members.iter().map(|member| member.signer).collect();
        let keyset = Keyset::new(Scheme::Ecdsa, members, honest).expect("a keyset");
        let base = test_deployment(&genesis, *maker.checkpoint(), deployer, sequencer.address(), signers);
        let deployment = Deployment {
            committee: CommitteeSetup { honest, ..base.committee },
            fees: Rollup::Fees { doubling: 1_000, perBlockMax: 64, ..base.fees },
            ..base
        };
        let addresses = deploy(&provider, deployer, &deployment).await.expect("deploys");
        let rollup = Rollup::new(addresses.rollup, provider.clone());
        Self {
            l1,
            url,
            provider,
            addresses,
            rollup,
            genesis,
            keyset,
            maker,
            transactions: VecDeque::new(),
            requests_taken: 0,
        }
    }

    /// Makes L1's time pass.
    pub(crate) async fn wait(&self, by_s: u64) {
        self.l1.wait(by_s);
        // A block that has the time: any transaction makes one.
        let nothing = alloy::rpc::types::TransactionRequest::default().from(address(0)).to(address(1));
        let receipt = self.provider.send_transaction(nothing).await.expect("sends").get_receipt().await.expect("mined");
        assert!(receipt.status());
    }

    pub(crate) async fn client(&self) -> L1Client {
        let at = self.addresses;
        L1Client::connect(&self.url, self.genesis.l1_chain_id, at.rollup, at.block_number).await.expect("connects")
    }

    pub(crate) fn genesis_checkpoint(&self) -> joule_protocol::Checkpoint {
        *BatchMaker::new(self.genesis, SEQUENCER_SEED).checkpoint()
    }

    pub(crate) async fn watcher(&self) -> Watcher {
        Watcher::new(self.client().await, self.genesis_checkpoint(), 0)
    }

    pub(crate) async fn view(&self) -> L1View {
        self.watcher().await.look().await.expect("reads").expect("blocks")
    }

    pub(crate) async fn history(&self) -> History {
        let client = self.client().await;
        let head = client.head().await.expect("a head");
        History::read(&client, self.genesis_checkpoint(), head).await.expect("a history")
    }

    /// Deposits for a small population, and its payments in the queue.
    pub(crate) async fn fund(&mut self, count: usize) {
        let population = Population::new(3, &self.genesis, 4, 2);
        let bridge = Bridge::new(self.addresses.bridge, self.provider.clone());
        for wallet in &population.wallets {
            let fee = self.rollup.requestFee(1).call().await.expect("a fee");
            let amount = 1_u128 << 64;
            let call = bridge.deposit(Address::new(wallet.address.0), amount).value(U256::from(amount) + fee);
            assert!(call.send().await.expect("sends").get_receipt().await.expect("mined").status());
        }
        let stream = payments(&population, START_S, 1_000_000, count);
        self.transactions.extend(stream.setup);
        self.transactions.extend(stream.payments.into_iter().map(|(_, bytes)| bytes));
    }

    /// Seals the next batch, with every request that L1 has, and `count` transactions.
    pub(crate) async fn seal(&mut self, count: usize) -> SealedBatch {
        let history = self.history().await;
        let new = history.requests()[self.requests_taken..].iter();
        let mut requests: VecDeque<_> = new.map(joule_protocol::PriorityRequest::encode).collect();
        self.requests_taken = history.requests().len();
        let rest = self.transactions.split_off(count.min(self.transactions.len()));
        let mut taken = std::mem::replace(&mut self.transactions, rest);
        let time = self.client().await.head().await.expect("a head").timestamp_s;
        let mut batch = self.maker.seal(&mut requests, &mut taken, 8, time).expect("seals");
        assert!(taken.is_empty() && requests.is_empty(), "the batch has room");
        batch.revert_count = self.rollup.revertCount().call().await.expect("a count");
        batch
    }

    pub(crate) async fn now(&self) -> L1Now {
        L1Now {
            chain_id: self.genesis.l1_chain_id,
            rollup: self.addresses.rollup,
            time_s: self.client().await.head().await.expect("a head").timestamp_s,
            remaining_min_s: 7_200,
        }
    }

    /// The sequencer's key.
    pub(crate) fn offer_signer(&self) -> Arc<dyn OfferSigner> {
        Arc::new(SequencerKey(self.maker.clone()))
    }

    pub(crate) fn publisher(
        &self,
        committee: Arc<Committee>,
        observer: Arc<Reports>,
        timing: GatherTiming,
    ) -> Publisher {
        let policy = ExpiryPolicy::new(LIFETIME_S, 600, 7_200).expect("a policy");
        Publisher::new(committee, policy, timing, self.offer_signer(), Arc::new(Remembered::default()), observer)
    }

    /// Commits a batch with what shows that its data is available.
    pub(crate) async fn commit(&self, batch: &SealedBatch, availability: Bytes) {
        let call = self.rollup.commitBatch(on_l1(batch), availability).from(self.maker.sequencer());
        assert!(call.send().await.expect("sends").get_receipt().await.expect("mined").status());
    }

    /// Posts a batch's data on L1, and commits it so.
    pub(crate) async fn commit_on_l1(&self, batch: &SealedBatch, chunks: &[Vec<u8>]) {
        let mut posted = Vec::new();
        for chunk in chunks {
            posted.extend_from_slice(&(chunk.len() as u32).to_be_bytes());
            posted.extend_from_slice(chunk);
        }
        let start = B256::new(batch.parent.data_acc.0.0);
        let call = self.rollup.postData(start, start, posted.into()).from(self.maker.sequencer());
        assert!(call.send().await.expect("sends").get_receipt().await.expect("mined").status());
        self.commit(batch, Availability::OnL1 { parent: batch.parent }.encode()).await;
    }

    /// Proves and executes a batch, by the verifier that tests have.
    pub(crate) async fn execute(&self, batch: &SealedBatch) {
        let program = Digest::from_hash(Hash(PROGRAM.0)).expect("canonical");
        let (from, to) = (batch.parent.hash::<Native>(), batch.checkpoint.hash::<Native>());
        let values = PublicValues { program, chain_id: self.genesis.chain_id, from, to };
        let mut points = [U256::ZERO; 8];
        points[0] = U256::from_be_bytes(values.public_input().0);
        let call = self.rollup.proveBatch(batch.number, proof_bytes(1, &points));
        assert!(call.send().await.expect("sends").get_receipt().await.expect("mined").status());
        let call = self.rollup.executeBatch(batch.number, (&batch.checkpoint).into(), Vec::new());
        assert!(call.send().await.expect("sends").get_receipt().await.expect("mined").status());
    }

    /// Has a batch certified by the members, and commits it.
    pub(crate) async fn publish(&self, members: &[RunningMember], batch: &SealedBatch) {
        let reports = Arc::new(Reports::default());
        let publisher = self.publisher(committee_of(members), reports, TIMING);
        let published = publisher.publish(&self.keyset, self.now().await, batch.clone()).await.expect("asks");
        let Publication::Certified(certificate) = published else { panic!("{published:?}") };
        self.commit(batch, certificate.certificate().to_calldata()).await;
    }
}

fn on_l1(batch: &SealedBatch) -> Rollup::Batch {
    Rollup::Batch {
        number: batch.number,
        parentCheckpoint: checkpoint_hash(&batch.parent),
        checkpoint: (&batch.checkpoint).into(),
        dataBytes: batch.data_bytes,
    }
}

struct SequencerKey(BatchMaker);

impl OfferSigner for SequencerKey {
    fn sign(&self, digest: B256) -> Result<CompactSignature, Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.0.sign(digest))
    }
}

/// Expiries as a node's disk keeps them.
#[derive(Default)]
struct Remembered(Mutex<HashMap<(Slot, B256), u64>>);

impl Expiries for Remembered {
    fn chosen(&self, slot: &Slot, checkpoint: B256) -> Result<Option<u64>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.0.lock().expect("no panic").get(&(*slot, checkpoint)).copied())
    }

    fn choose(
        &self,
        slot: &Slot,
        checkpoint: B256,
        expiry: u64,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        self.0.lock().expect("no panic").insert((*slot, checkpoint), expiry);
        Ok(())
    }
}

/// Everything that was reported.
#[derive(Default)]
pub(crate) struct Reports {
    all: Mutex<Vec<Report>>,
    bell: Notify,
}

impl Observer for Reports {
    fn report(&self, report: Report) {
        self.all.lock().expect("no panic").push(report);
        self.bell.notify_waiters();
    }
}

impl Reports {
    pub(crate) fn count(&self, wanted: impl Fn(&Report) -> bool) -> usize {
        self.all.lock().expect("no panic").iter().filter(|report| wanted(report)).count()
    }

    pub(crate) fn any(&self, wanted: impl Fn(&Report) -> bool) -> bool {
        self.count(wanted) > 0
    }

    /// Waits until `count` such reports have come.
    pub(crate) async fn wait_for(&self, count: usize, wanted: impl Fn(&Report) -> bool) {
        loop {
            let next = self.bell.notified();
            if self.count(&wanted) >= count {
                return;
            }
            next.await;
        }
    }
}

/// Where a member will listen, and its disk, whether it runs or not.
pub(crate) struct Seat {
    pub(crate) index: usize,
    pub(crate) endpoint: Endpoint,
    listener: Option<TcpListener>,
    folder: TempDir,
}

/// Places for all members.
pub(crate) async fn seats() -> Vec<Seat> {
    seats_of(MEMBERS).await
}

async fn seats_of(count: usize) -> Vec<Seat> {
    let mut seats = Vec::new();
    for index in 0..count {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address")).parse().expect("a URL");
        let endpoint = Endpoint { account: member_key(index).address(), url };
        let folder = tempfile::tempdir().expect("a folder");
        seats.push(Seat { index, endpoint, listener: Some(listener), folder });
    }
    seats
}

impl Seat {
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("database")
    }

    /// Takes the disk away.
    pub(crate) fn lose_disk(&mut self) {
        self.folder = tempfile::tempdir().expect("a folder");
    }

    /// Starts the member on its disk, with the others as peers.
    pub(crate) async fn start(mut self, world: &World, peers: Vec<Endpoint>) -> RunningMember {
        let listener = match self.listener.take() {
            Some(listener) => listener,
            None => {
                let at = self.endpoint.url.socket_addrs(|| None).expect("an address");
                TcpListener::bind(at[0]).await.expect("the port is free again")
            }
        };
        let key = member_key(self.index);
        let keys = MemberKeys::new(key.address(), Some(key), None).expect("a key");
        let database = Database::open(self.path(), &world.genesis).expect("opens");
        let member = Member::open(database, keys, world.genesis.l1_chain_id, world.addresses.rollup, PROMISES)
            .expect("a member");
        let stop = CancellationToken::new();
        let account = self.endpoint.account;
        let others = peers.into_iter().filter(|peer| peer.account != account).collect();
        let peers = Arc::new(Committee::new(others).expect("peers"));
        let syncing = tokio::spawn(sync::run(member.clone(), world.watcher().await, peers, SYNC, stop.clone()));
        let stopped = stop.clone();
        let serving = tokio::spawn(api::serve(listener, member.clone(), async move { stopped.cancelled().await }));
        let mut seen = member.watch_l1();
        seen.wait_for(Option::is_some).await.expect("L1 is seen");
        RunningMember { seat: self, member, stop, syncing, serving }
    }
}

/// A member that runs.
pub(crate) struct RunningMember {
    pub(crate) seat: Seat,
    pub(crate) member: Arc<Member>,
    stop: CancellationToken,
    syncing: JoinHandle<()>,
    serving: JoinHandle<std::io::Result<()>>,
}

impl RunningMember {
    /// Is cancelled when it stops.
    pub(crate) fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Stops it and leaves its disk.
    pub(crate) async fn stop(self) -> Seat {
        self.stop.cancel();
        self.syncing.await.expect("ends");
        self.serving.await.expect("ends").expect("served");
        // Whoever opens the disk next needs it closed; the last task that reads it may still be ending.
        let mut member = self.member;
        let _worker = loop {
            match Arc::try_unwrap(member) {
                Ok(member) => break member,
                Err(shared) => {
                    member = shared;
                    tokio::task::yield_now().await;
                }
            }
        };
        self.seat
    }

    /// Waits until it holds batches up to a number, and knows them up to another to be executed. A certificate needs no more than a quorum; whoever was not of it has the batch a little later.
    pub(crate) async fn holds(&self, number: u64, executed: u64) {
        loop {
            let status = self.member.status().await.expect("a status");
            if status.batch_number >= number && status.executed_number >= executed {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Waits until L1 as this member sees it is as wanted.
    pub(crate) async fn sees(&self, wanted: impl Fn(&L1View) -> bool) {
        let mut seen = self.member.watch_l1();
        seen.wait_for(|view| view.as_deref().is_some_and(&wanted)).await.expect("L1 is seen");
    }
}

pub(crate) fn endpoints(seats: &[Seat]) -> Vec<Endpoint> {
    seats.iter().map(|seat| seat.endpoint.clone()).collect()
}

/// All members, running from genesis.
pub(crate) async fn start_all(world: &World) -> Vec<RunningMember> {
    let seats = seats_of(world.keyset.members().len()).await;
    let peers = endpoints(&seats);
    let mut members = Vec::new();
    for seat in seats {
        members.push(seat.start(world, peers.clone()).await);
    }
    members
}

pub(crate) fn committee_of(members: &[RunningMember]) -> Arc<Committee> {
    let endpoints = members.iter().map(|member| member.seat.endpoint.clone()).collect();
    Arc::new(Committee::new(endpoints).expect("a client"))
}
