//! A network in this process: an L1 with the contracts, a committee that really runs, a sequencer that settles, and full nodes.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use alloy::{
    network::{EthereumWallet, TransactionBuilder},
    primitives::{Address, B256, Bytes, U256},
    providers::{DynProvider, Provider, ProviderBuilder},
    rpc::types::TransactionRequest,
    signers::local::PrivateKeySigner,
    sol_types::SolCall as _,
};
use joule_committee::{BlsSecretKey, CommitteeContext, EcdsaSecretKey, G1, Keyset, Scheme};
use joule_committee_client::{Committee, Endpoint, GatherTiming};
use joule_contracts::{
    Addresses, Bridge, CommitteeSetup, DataCommittee, Deployment, GovernanceSetup, Rollup, TestVerifier,
    TimelockController, VerifierSetup, deploy, proof_bytes,
};
use joule_dac::{
    api,
    keys::MemberKeys,
    member::Member,
    rules::Promises,
    sync::{self, SyncConfig},
};
use joule_follow::{genesis_checkpoint, l1::Watcher};
use joule_l1::{FollowConfig, L1Client};
use joule_node::{
    BlockKey, FullPlan, FullSetup, L1Setup, PeerPlan, ProofPlan, ProofProfile, RunningFullNode, RunningNode,
    SettlementPlan, Settling, Setup, Start, begin, bench,
};
use joule_p2p::{Keypair, Multiaddr};
use joule_protocol::{Checkpoint, Digest, Genesis, Hash, Native, PublicValues};
use joule_rpc::{Limits, Node};
use joule_sequencer::{BatchLimits, SequencerConfig};
use joule_settlement::{NotProven, Policy, ProofRequest, ProofSource};
use joule_storage::Database;
use joule_testnet_l1::{ChainConfig, DEVELOPMENT_ACCOUNTS, L1, ServerConfig};
use joule_workload::{Key, sign_call};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::support::key;

const PROGRAM: B256 = B256::with_last_byte(9);
const MEMBERS: u8 = 3;
/// Of three members two must sign.
const HONEST: u32 = 2;
/// Wallets with money on L2.
pub(crate) const WALLETS: u64 = 4;
const LIFETIME_S: u64 = 100_000;
/// For answers that come, on a machine as busy as it may be: what does not come at all is refused at once here.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
/// For the block of a transaction that was gossiped.
pub(crate) const GOSSIP_WAIT: Duration = Duration::from_secs(120);
/// After which a wait that has no end is given up, with what is known.
const GIVE_UP: Duration = Duration::from_secs(300);

fn secret(what: &str, index: u8) -> B256 {
    let mut bytes = what.as_bytes().to_vec();
    bytes.push(index);
    alloy::primitives::keccak256(bytes)
}

fn bls_key(index: u8) -> BlsSecretKey {
    BlsSecretKey::from_bytes(&[index + 1; 32]).expect("a key")
}

/// Takes whatever leads from a batch's parent to its checkpoint for proven, as the test verifier does.
pub(crate) struct TestProofs {
    chain_id: u64,
    is_up: Arc<AtomicBool>,
}

impl TestProofs {
    pub(crate) fn new(world: &World) -> Self {
        Self { chain_id: world.genesis.chain_id, is_up: world.proofs_are_up.clone() }
    }
}

impl ProofSource for TestProofs {
    async fn prove(&self, request: ProofRequest) -> Result<Bytes, NotProven> {
        if !self.is_up.load(Ordering::SeqCst) {
            return Err(NotProven { reason: "there is no prover at the moment".to_owned() });
        }
        let values = PublicValues {
            program: Digest::from_hash(Hash(PROGRAM.0)).expect("canonical"),
            chain_id: self.chain_id,
            from: request.batch.parent.hash::<Native>(),
            to: request.batch.checkpoint.hash::<Native>(),
        };
        let mut points = [U256::ZERO; 8];
        points[0] = U256::from_be_bytes(values.public_input().0);
        Ok(proof_bytes(1, &points))
    }
}

struct RunningMember {
    stop: CancellationToken,
    tasks: [JoinHandle<()>; 2],
}

/// The network without full nodes.
pub(crate) struct World {
    // Dropping it stops the server.
    l1: L1,
    pub(crate) url: String,
    provider: DynProvider,
    pub(crate) addresses: Addresses,
    pub(crate) genesis: Genesis,
    pub(crate) members: Vec<Endpoint>,
    running: Vec<RunningMember>,
    sequencer: PrivateKeySigner,
    nonces: Vec<u64>,
    /// What distinguishes transfers of one nonce: how often wallets have begun anew.
    chains: u128,
    /// Whether proofs can be had.
    pub(crate) proofs_are_up: Arc<AtomicBool>,
    pub(crate) folder: TempDir,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with_committee(Scheme::Ecdsa).await
    }

    /// A network whose committee signs in this way, and in no other.
    pub(crate) async fn with_committee(scheme: Scheme) -> Self {
        // What the nodes say, where somebody wants to see it: RUST_LOG=info.
        let _ = tracing_subscriber::fmt().with_env_filter(EnvFilter::from_default_env()).with_test_writer().try_init();
        let folder = tempfile::tempdir().expect("a folder");
        let genesis = bench::genesis();
        let l1 = L1::start(ChainConfig::development(), ServerConfig::default()).await.expect("the L1 starts");
        let url = l1.url();
        let deployer = DEVELOPMENT_ACCOUNTS[0].0;
        let wallet = PrivateKeySigner::from_bytes(&DEVELOPMENT_ACCOUNTS[0].1).expect("a key");
        let provider = ProviderBuilder::new()
            .wallet(EthereumWallet::from(wallet))
            .connect_http(url.parse().expect("a URL"))
            .erased();
        provider.client().set_poll_interval(Duration::from_millis(5));
        let sequencer = PrivateKeySigner::from_bytes(&secret("sequencer", 0)).expect("a key");
        let fund = TransactionRequest::default()
            .with_from(deployer)
            .with_to(sequencer.address())
            .with_value(U256::from(10).pow(U256::from(20)));
        assert!(provider.send_transaction(fund).await.expect("sends").get_receipt().await.expect("mined").status());

        let keys: Vec<_> =
            (0..MEMBERS).map(|index| EcdsaSecretKey::from_bytes(&secret("member", index).0).expect("a key")).collect();
        let mut seats: Vec<_> = keys
            .iter()
            .map(|key| joule_committee::Member { account: key.address(), signer: key.address(), bls: None })
            .collect();
        seats.sort_by_key(|seat| seat.signer);
        let signers = match scheme {
            Scheme::Ecdsa => seats.iter().map(|seat| seat.signer).collect(),
            // They register, and governance seats them.
            Scheme::Bls => Vec::new(),
        };
        Keyset::new(Scheme::Ecdsa, seats, HONEST).expect("a keyset");
        let deployment = Deployment {
            l2_chain_id: genesis.chain_id,
            genesis: genesis_checkpoint(&genesis),
            genesis_id: B256::new(genesis.id::<Native>().0),
            program: PROGRAM,
            base_token: Address::ZERO,
            operator: deployer,
            sequencer: sequencer.address(),
            governance: GovernanceSetup { delay_s: 7_200, proposers: vec![deployer], executors: vec![Address::ZERO] },
            committee: CommitteeSetup {
                signers,
                honest: HONEST,
                remaining_min_s: 7_200,
                stake_lock_s: 2 * LIFETIME_S,
                stake_min: U256::ZERO,
            },
            verifier: VerifierSetup { version: 1, bytecode: Bytes::from_static(&TestVerifier::BYTECODE) },
            delays: Rollup::Delays {
                queueExpiry: 3_600,
                exitWindow: 3_000,
                lateAfter: 3_000,
                proofDeadline: 3_000,
                executionWindow: 600,
                timestampSkew: 60,
            },
            fees: Rollup::Fees { request: 1_000, forcedCall: 3_000, doubling: 1_000, perBlockMax: 64 },
            presentation_window_s: 3_600,
            grace_s: genesis.grace_seconds,
            channel_close_s: genesis.channel_close_seconds,
        };
        let addresses = deploy(&provider, deployer, &deployment).await.expect("deploys");
        let mut world = Self {
            l1,
            url,
            provider,
            addresses,
            genesis,
            members: Vec::new(),
            running: Vec::new(),
            sequencer,
            nonces: vec![0; WALLETS as usize],
            chains: 0,
            proofs_are_up: Arc::new(AtomicBool::new(true)),
            folder,
        };
        if scheme == Scheme::Bls {
            world.register_for_bls().await;
            world.seats(&world.accounts(), HONEST).await;
        }
        world.start_members(keys).await;
        world.deposit().await;
        world
    }

    /// Accounts of all members.
    pub(crate) fn accounts(&self) -> Vec<Address> {
        let account = |index| PrivateKeySigner::from_bytes(&secret("member", index)).expect("a key").address();
        (0..MEMBERS).map(account).collect()
    }

    /// Members register their keys with proofs of possession.
    async fn register_for_bls(&self) {
        let at = self.addresses.committee;
        let context = CommitteeContext { l1_chain_id: self.genesis.l1_chain_id, committee: at };
        for index in 0..MEMBERS {
            let secret = secret("member", index);
            let wallet = PrivateKeySigner::from_bytes(&secret).expect("a key");
            let account = wallet.address();
            let fund = TransactionRequest::default().with_from(DEVELOPMENT_ACCOUNTS[0].0).with_to(account);
            let fund = fund.with_value(U256::from(10).pow(U256::from(18)));
            let funded = self.provider.send_transaction(fund).await.expect("sends");
            assert!(funded.get_receipt().await.expect("mined").status());
            let provider = ProviderBuilder::new()
                .wallet(EthereumWallet::from(wallet))
                .connect_http(self.url.parse().expect("a URL"))
                .erased();
            provider.client().set_poll_interval(Duration::from_millis(5));
            let committee = DataCommittee::new(at, provider);
            let ecdsa = EcdsaSecretKey::from_bytes(&secret.0).expect("a key");
            let possession = ecdsa.prove_possession(&context, account).expect("a proof").to_vec();
            let register = committee.register(ecdsa.address(), possession.into());
            assert!(register.send().await.expect("sends").get_receipt().await.expect("mined").status());
            let shown = bls_key(index).register(&context, account).expect("a proof");
            let point = |point: G1| DataCommittee::G1 { x: point.x, y: point.y };
            let key2 = DataCommittee::G2 {
                xImaginary: shown.key2.x_imaginary,
                xReal: shown.key2.x_real,
                yImaginary: shown.key2.y_imaginary,
                yReal: shown.key2.y_real,
            };
            let register = committee.registerBlsKey(point(shown.key), key2, point(shown.possession));
            assert!(register.send().await.expect("sends").get_receipt().await.expect("mined").status());
        }
    }

    /// Governance seats members by their BLS keys, once its delay is over.
    pub(crate) async fn seats(&self, members: &[Address], honest: u32) {
        let mut members = members.to_vec();
        members.sort_unstable();
        let at = self.addresses.committee;
        let call = DataCommittee::setKeysetCall { scheme: Scheme::Bls as u8, members, honest };
        let (data, salt, nothing) = (Bytes::from(call.abi_encode()), B256::ZERO, B256::ZERO);
        let timelock = TimelockController::new(self.addresses.governance, self.provider.clone());
        let schedule = timelock.schedule(at, U256::ZERO, data.clone(), nothing, salt, U256::from(7_200));
        assert!(schedule.send().await.expect("sends").get_receipt().await.expect("mined").status());
        let passed = self.l1.chain().write(|chain, now_s| {
            // Its blocks are a second apart at least, so that many at once have brought its clock ahead of this machine's.
            chain.increase_time(8_000, now_s)?;
            chain.mine(now_s).map(drop)
        });
        passed.expect("not poisoned").expect("time passes");
        let execute = timelock.execute(at, U256::ZERO, data, nothing, salt);
        assert!(execute.send().await.expect("sends").get_receipt().await.expect("mined").status());
    }

    async fn start_members(&mut self, keys: Vec<EcdsaSecretKey>) {
        let mut listeners = Vec::new();
        for key in &keys {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let url = format!("http://{}", listener.local_addr().expect("an address")).parse().expect("a URL");
            self.members.push(Endpoint { account: key.address(), url });
            listeners.push(listener);
        }
        for (index, (listener, key)) in (0..).zip(listeners.into_iter().zip(keys)) {
            let account = key.address();
            let path = self.folder.path().join(account.to_string());
            let database = Database::open(path, &self.genesis).expect("opens");
            let keys = MemberKeys::new(account, Some(key), Some(bls_key(index))).expect("keys");
            let promises = Promises { expiry_ahead_max_s: 2 * LIFETIME_S };
            let (l1, rollup) = (self.genesis.l1_chain_id, self.addresses.rollup);
            let member = Member::open(database, keys, l1, rollup, promises).expect("a member");
            let watcher = Watcher::new(self.client().await, genesis_checkpoint(&self.genesis), 0);
            let others = self.members.iter().filter(|other| other.account != account).cloned().collect();
            let config = SyncConfig {
                poll: Duration::from_millis(200),
                peer_limit: LIMIT,
                snapshot_every: Duration::ZERO,
                retention_s: LIFETIME_S,
            };
            let stop = CancellationToken::new();
            let peers = Arc::new(Committee::new(others).expect("peers"));
            let syncing = tokio::spawn(sync::run(member.clone(), watcher, peers, config, stop.clone()));
            let stopped = stop.clone();
            let serving = tokio::spawn(async move {
                api::serve(listener, member, stopped.cancelled_owned()).await.expect("serves");
            });
            self.running.push(RunningMember { stop, tasks: [syncing, serving] });
        }
    }

    async fn deposit(&self) {
        let bridge = Bridge::new(self.addresses.bridge, self.provider.clone());
        let rollup = Rollup::new(self.addresses.rollup, self.provider.clone());
        for wallet in 0..WALLETS {
            let fee = rollup.requestFee(1).call().await.expect("a fee");
            let amount = 1_u128 << 64;
            let to = Address::new(key(wallet).address.0);
            let call = bridge.deposit(to, amount).value(U256::from(amount) + fee);
            assert!(call.send().await.expect("sends").get_receipt().await.expect("mined").status());
        }
    }

    pub(crate) async fn client(&self) -> L1Client {
        self.client_of(&self.url).await
    }

    async fn client_of(&self, url: &str) -> L1Client {
        let at = self.addresses;
        L1Client::connect(url, self.genesis.l1_chain_id, at.rollup, at.block_number).await.expect("connects")
    }

    /// L1 with the sequencer's key.
    pub(crate) fn as_sequencer(&self) -> DynProvider {
        let wallet = EthereumWallet::from(self.sequencer.clone());
        let provider = ProviderBuilder::new().wallet(wallet).connect_http(self.url.parse().expect("a URL")).erased();
        provider.client().set_poll_interval(Duration::from_millis(5));
        provider
    }

    /// Sends a transaction with the sequencer's key, which must succeed.
    pub(crate) async fn send_as_sequencer(&self, transaction: TransactionRequest) {
        let sent = self.as_sequencer().send_transaction(transaction.with_from(self.sequencer.address())).await;
        assert!(sent.expect("sends").get_receipt().await.expect("mined").status());
    }

    pub(crate) async fn l1(&self) -> L1Setup {
        self.l1_of(&self.url).await
    }

    async fn l1_of(&self, url: &str) -> L1Setup {
        L1Setup {
            client: self.client_of(url).await,
            follow: FollowConfig { confirmations: 0, ..FollowConfig::default() },
            poll: Duration::from_millis(100),
            contracts: None,
        }
    }

    /// The key that signs blocks.
    pub(crate) fn block_key(&self) -> BlockKey {
        BlockKey::from_secret(self.sequencer.credential().to_bytes().into()).expect("a key")
    }

    /// A transfer of the wallet's next nonce.
    pub(crate) fn transfer(&mut self, wallet: u64) -> Vec<u8> {
        let nonce = self.nonces[wallet as usize];
        self.nonces[wallet as usize] += 1;
        let to = joule_protocol::Address([0xaa; 20]);
        let key: Key = key(wallet);
        sign_call(self.genesis.chain_id, &key, nonce, 1_000_000, &to, 1 + u128::from(nonce) + 1_000 * self.chains, None)
    }

    /// Wallets begin anew, with other transfers: on another chain of the same genesis.
    pub(crate) fn begin_anew(&mut self) {
        self.nonces.fill(0);
        self.chains += 1;
    }

    /// Starts a sequencer, on the disk in this folder, that settles nothing.
    pub(crate) async fn sequences_only(&self, folder: &str) -> Sequencer {
        let database = Database::open(self.folder.path().join(folder), &self.genesis).expect("opens");
        let setup = Setup {
            database: database.clone(),
            sequencer: SequencerConfig {
                batch: BatchLimits { age_ms_max: 1_000, ..bench::sequencer_config().batch },
                block_interval_ms: 20,
                ..bench::sequencer_config()
            },
            key: self.block_key(),
            rpc: any(),
            limits: Limits::default(),
            operations: any(),
            l1: Some(self.l1().await),
            peers: Some((peer_plan(Vec::new()), Keypair::generate_ed25519())),
        };
        let node = RunningNode::start(setup).await.expect("starts");
        Sequencer { node, settling: None, database }
    }

    /// Starts the sequencer, on the disk that it left, and settling beside it.
    pub(crate) async fn sequencer(&self) -> Sequencer {
        let Sequencer { node, database, .. } = self.sequences_only("sequencer").await;
        let plan = SettlementPlan {
            key_file: "unused".into(),
            members: self.members.clone(),
            policy: Policy { certificate_margin_s: 600, retry_s: 1, ..Policy::default() },
            confirmations: 0,
            poll: Duration::from_millis(100),
            fee_cap_max: 500_000_000_000,
            certificate_lifetime_s: LIFETIME_S,
            // Patient enough for a busy machine: what fails for good fails at once anyway.
            timing: GatherTiming {
                deadline: Duration::from_secs(240),
                attempt: LIMIT,
                pause: Duration::from_millis(30),
                attempts: u32::MAX,
                linger: Duration::from_millis(200),
            },
            verifier_version: 1,
            proofs: ProofPlan::Local { folder: "unused".into(), cache: None, profile: ProofProfile::Fast },
        };
        let (l1, key, proofs) = (self.client().await, self.sequencer.clone(), TestProofs::new(self));
        let (sealed, metrics) = (node.node().subscribe_batches(), node.metrics().clone());
        let settling = Settling::start_with(plan, database.clone(), l1, key, proofs, None, sealed, metrics)
            .await
            .expect("settles");
        node.node().settles(settling.status().clone());
        Sequencer { node, settling: Some(settling), database }
    }

    /// Starts a full node in a folder of this world.
    pub(crate) async fn full(
        &self,
        folder: &str,
        start: Start,
        bootnodes: &[Multiaddr],
        rpc: Option<String>,
    ) -> RunningFullNode {
        self.full_as(folder, self.plan(start, rpc), self.l1().await, bootnodes).await
    }

    /// As [`World::full`], with blocks from nobody but peers.
    pub(crate) async fn full_from_peers(&self, folder: &str, bootnodes: &[Multiaddr]) -> RunningFullNode {
        let plan = FullPlan { members: Vec::new(), ..self.plan(Start::Blocks, None) };
        self.full_as(folder, plan, self.l1().await, bootnodes).await
    }

    /// As [`World::full`], behind another L1 node.
    pub(crate) async fn full_before(&self, folder: &str, l1: &str, bootnodes: &[Multiaddr]) -> RunningFullNode {
        self.full_as(folder, self.plan(Start::Blocks, None), self.l1_of(l1).await, bootnodes).await
    }

    fn plan(&self, start: Start, rpc: Option<String>) -> FullPlan {
        FullPlan {
            members: self.members.clone(),
            serve_limit: LIMIT,
            sequencer_rpc: rpc,
            start,
            gossip_wait: GOSSIP_WAIT,
        }
    }

    async fn full_as(&self, folder: &str, plan: FullPlan, l1: L1Setup, bootnodes: &[Multiaddr]) -> RunningFullNode {
        let path = self.folder.path().join(folder);
        let database = begin(&path, &self.genesis, &plan, &l1).await.expect("a disk");
        self.full_on(database, plan, l1, bootnodes).await
    }

    pub(crate) async fn full_on(
        &self,
        database: Database,
        plan: FullPlan,
        l1: L1Setup,
        bootnodes: &[Multiaddr],
    ) -> RunningFullNode {
        let setup = FullSetup {
            database,
            plan,
            rpc: any(),
            limits: Limits::default(),
            operations: any(),
            l1,
            peers: Some((peer_plan(bootnodes.to_vec()), Keypair::generate_ed25519())),
            base_fee: 1_000,
        };
        RunningFullNode::start(setup).await.expect("starts")
    }

    pub(crate) async fn stop(self) {
        for member in self.running {
            member.stop.cancel();
            for task in member.tasks {
                task.await.expect("ends");
            }
        }
    }
}

pub(crate) fn any() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

pub(crate) fn peer_plan(bootnodes: Vec<Multiaddr>) -> PeerPlan {
    PeerPlan {
        listen: vec!["/ip4/127.0.0.1/tcp/0".parse().expect("an address")],
        bootnodes,
        key_file: "unused".into(),
        peers_max: 16,
    }
}

/// A sequencer that settles.
pub(crate) struct Sequencer {
    pub(crate) node: RunningNode,
    settling: Option<Settling>,
    pub(crate) database: Database,
}

impl Sequencer {
    pub(crate) fn settling(&self) -> &Settling {
        self.settling.as_ref().expect("settles")
    }

    pub(crate) fn addresses(&self) -> Vec<Multiaddr> {
        self.node.listening().to_vec()
    }

    pub(crate) fn head(&self) -> Checkpoint {
        *self.database.view().expect("a view").head()
    }

    /// Sends a transfer of every wallet and waits until all are in blocks.
    pub(crate) async fn pay(&self, world: &mut World) {
        let mut events = self.node.node().subscribe();
        let mut hashes = Vec::new();
        for wallet in 0..WALLETS {
            hashes.push(self.node.node().submit(world.transfer(wallet)).await.expect("taken"));
        }
        let is_in =
            |hash: &Hash| self.database.view().expect("a view").transaction_place(hash).expect("reads").is_some();
        while !hashes.iter().all(is_in) {
            events.recv().await.expect("the node runs");
        }
    }

    /// Waits until every deposit is in a block.
    pub(crate) async fn funded(&self) {
        let mut events = self.node.node().subscribe();
        while self.head().priority_count < WALLETS {
            events.recv().await.expect("the node runs");
        }
    }

    /// Waits until everything is in batches, `least` of them at least, that are executed on L1.
    pub(crate) async fn executed(&self, least: u64) -> u64 {
        loop {
            let standing = self.settling().status().standing().expect("settles");
            let (last, head) = {
                let view = self.database.view().expect("a view");
                (view.last_batch().expect("reads"), view.head().block_number)
            };
            if let Some(last) = last
                && last.number >= least
                && last.last_block == head
                && standing.executed == last.number
            {
                return last.number;
            }
            // L1 is looked at from time to time, so there is nothing else to wait for.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) async fn stop(self) {
        self.node.stop().await.expect("stops");
        if let Some(settling) = self.settling {
            settling.stop().await.expect("stops");
        }
    }
}

/// Hands a transaction to a full node that gossips it, as soon as a peer listens, and waits for the acknowledgement.
pub(crate) async fn acknowledged(node: &RunningFullNode, transaction: Vec<u8>) -> Hash {
    loop {
        match node.node().submit(transaction.clone()).await {
            Ok(hash) => return hash,
            // Whom blocks are asked of is connected; that it listens to gossip is said a moment later.
            Err(error) if error.to_string().contains("no peer is connected") => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => panic!("not acknowledged: {error}"),
        }
    }
}

/// Waits, look at L1 by look at L1, until something holds at a full node.
pub(crate) async fn until_l1(node: &RunningFullNode, holds: impl Fn() -> bool) {
    let mut l1 = node.node().l1();
    let wait = async {
        while !holds() {
            l1.changed().await.expect("L1 is followed");
        }
    };
    if tokio::time::timeout(GIVE_UP, wait).await.is_err() {
        let head = node.node().database().view().expect("a view").head().block_number;
        panic!("not at block {head}: halted {:?}, stuck {:?}", node.node().halted(), node.node().stuck());
    }
}

/// Waits until a full node stands at a checkpoint; its state has that root then.
pub(crate) async fn reaches(node: &RunningFullNode, wanted: &Checkpoint) {
    let mut events = node.node().subscribe();
    loop {
        let head = *node.node().database().view().expect("a view").head();
        if head.block_number >= wanted.block_number {
            let there = node.node().database().view().expect("a view").checkpoint(wanted.block_number);
            assert_eq!(there.expect("reads").as_ref(), Some(wanted), "the same block, the same state");
            return;
        }
        assert_eq!(node.node().halted(), None);
        let _ = tokio::time::timeout(GIVE_UP, events.recv()).await.unwrap_or_else(|_| {
            let (halted, stuck) = (node.node().halted(), node.node().stuck());
            panic!("at {} of {}: halted {halted:?}, stuck {stuck:?}", head.block_number, wanted.block_number)
        });
    }
}
