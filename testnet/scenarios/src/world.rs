//! The network of a scenario: L1 with the contracts, the recorders, the committee, and where the sequencer lives.

use std::{
    net::{SocketAddr, TcpListener as Port},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use alloy::{
    contract::{CallBuilder, CallDecoder},
    network::EthereumWallet,
    primitives::{Address, B256, Bytes, U256},
    providers::{DynProvider, Provider, ProviderBuilder},
    signers::local::PrivateKeySigner,
};
use anyhow::{Context as _, bail, ensure};
use joule_committee::EcdsaSecretKey;
use joule_committee_client::{Committee, Endpoint};
use joule_contracts::{
    Addresses, Bridge, CommitteeSetup, Deployment, Escape, GovernanceSetup, Groth16Verifier, Rollup, VerifierSetup,
    deploy,
};
use joule_dac::{
    api,
    config::{L1Config, NetworkConfig, PeerConfig},
    http::{self, HttpLimits},
    keys::MemberKeys,
    l1::Watcher,
    member::Member,
    rules::Promises,
    sync::{self, SyncConfig},
};
use joule_l1::{History, L1Client};
use joule_protocol::{
    Address as L2Address, Amount, Checkpoint, Digest, Genesis, Hash, Hashing as _, Native, PriorityKind,
};
use joule_state::{MemoryStore, StateTree};
use joule_storage::Database;
use joule_testnet_l1::{ChainConfig, DEVELOPMENT_ACCOUNTS, GenesisAccount, L1, Mining, Orphans, ServerConfig};
use joule_workload::Population;
use rand::{SeedableRng as _, rngs::StdRng};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    Client, Plan, ProofPlan, Settings,
    record::{Line, Shares},
    sequencer::Sequencer,
};

/// Members of the committee, and how many of them are assumed honest: three must sign.
pub(crate) const MEMBERS: usize = 5;
pub(crate) const HONEST: u32 = 3;
/// The version byte that the router knows the verifier by.
pub(crate) const VERIFIER_VERSION: u8 = 1;

// Hours pass on L1 when a scenario says so; nothing here is near the minutes that it takes otherwise.
pub(crate) const QUEUE_EXPIRY_S: u64 = 4 * 3_600;
const EXIT_WINDOW_S: u64 = 3_600;
const LATE_AFTER_S: u64 = 2 * 3_600;
const PROOF_DEADLINE_S: u64 = 2 * 3_600;
pub(crate) const UPGRADE_DELAY_S: u64 = QUEUE_EXPIRY_S + EXIT_WINDOW_S;
pub(crate) const CERTIFICATE_LIFETIME_S: u64 = 4 * UPGRADE_DELAY_S;
pub(crate) const CERTIFICATE_MARGIN_S: u64 = 600;

const L2_CHAIN_ID: u64 = 7_707;
/// Who deploys, who deposits.
pub(crate) const DEPLOYER: Address = DEVELOPMENT_ACCOUNTS[0].0;
pub(crate) const USER: Address = DEVELOPMENT_ACCOUNTS[1].0;

/// A secret that a label and a seed name. For networks that hold nothing of value.
fn derived(label: &str, seed: u64, index: u64) -> B256 {
    let mut bytes = b"joule scenarios ".to_vec();
    bytes.extend_from_slice(label.as_bytes());
    bytes.extend_from_slice(&seed.to_be_bytes());
    bytes.extend_from_slice(&index.to_be_bytes());
    B256::new(Native::keccak256(&bytes).0)
}

pub(crate) fn sequencer_key(seed: u64) -> anyhow::Result<PrivateKeySigner> {
    Ok(PrivateKeySigner::from_bytes(&derived("sequencer", seed, 0))?)
}

/// A member's place: its key, port and disk, and what runs there.
struct Seat {
    key: EcdsaSecretKey,
    address: SocketAddr,
    path: PathBuf,
    running: Option<Running>,
}

struct Running {
    member: Arc<Member>,
    stop: CancellationToken,
    syncing: JoinHandle<()>,
    serving: JoinHandle<std::io::Result<()>>,
}

/// The network of a scenario.
pub(crate) struct World {
    pub(crate) rng: StdRng,
    pub(crate) l1: L1,
    /// Sends in the name of the development accounts.
    pub(crate) provider: DynProvider,
    pub(crate) addresses: Addresses,
    pub(crate) genesis: Genesis,
    pub(crate) line: Line,
    pub(crate) shares: Shares,
    pub(crate) population: Population,
    seats: Vec<Seat>,
    plan: Plan,
    sequencer: (PathBuf, Vec<String>),
    folder: TempDir,
}

impl World {
    /// Starts everything but the sequencer. `program` is what L1 takes proofs of.
    pub(crate) async fn start(seed: u64, settings: &Settings, program: Option<Digest>) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let sequencer = sequencer_key(seed)?;
        let mut config = ChainConfig { mining: Mining::Interval { seconds: 1 }, ..ChainConfig::development() };
        let balance = U256::from(10).pow(U256::from(21));
        config.accounts.push(GenesisAccount { address: sequencer.address(), balance, code: Bytes::new() });
        let l1 = L1::start(config, ServerConfig::default()).await.context("starting the L1")?;
        let mut wallet = EthereumWallet::from(PrivateKeySigner::from_bytes(&DEVELOPMENT_ACCOUNTS[0].1)?);
        wallet.register_signer(PrivateKeySigner::from_bytes(&DEVELOPMENT_ACCOUNTS[1].1)?);
        let provider = ProviderBuilder::new().wallet(wallet).connect_http(l1.url().parse()?).erased();
        provider.client().set_poll_interval(Duration::from_millis(50));
        let block = provider.get_block(alloy::eips::BlockId::latest()).await?.context("the L1 has no block")?;
        let genesis = Genesis {
            chain_id: L2_CHAIN_ID,
            l1_chain_id: provider.get_chain_id().await?,
            base_token: L2Address::ZERO,
            fee_recipient: L2Address([0xfe; 20]),
            base_fee_max: 1_000_000_000_000,
            grace_seconds: 2 * QUEUE_EXPIRY_S,
            channel_close_seconds: 2 * QUEUE_EXPIRY_S,
            timestamp: block.header.timestamp,
            salt: Hash(derived("salt", seed, 0).0),
        };
        let mut keys = (0..MEMBERS as u64)
            .map(|index| Ok(EcdsaSecretKey::from_bytes(&derived("member", seed, index).0)?))
            .collect::<anyhow::Result<Vec<_>>>()?;
        keys.sort_by_key(EcdsaSecretKey::address);
        let signers = keys.iter().map(EcdsaSecretKey::address).collect();
        let program = program.map_or(B256::with_last_byte(1), |program| B256::new(program.to_hash().0));
        let deployment = deployment(&genesis, sequencer.address(), signers, program)?;
        let addresses = deploy(&provider, DEPLOYER, &deployment).await?;
        let line = Line::to(&l1.url()).await?;

        let mut seats = Vec::new();
        for (index, key) in keys.into_iter().enumerate() {
            // The port stays the member's own over its restarts.
            let address = Port::bind("127.0.0.1:0")?.local_addr()?;
            let path = folder.path().join(format!("member-{}", index + 1)).join("database");
            seats.push(Seat { key, address, path, running: None });
        }
        let peers = seats.iter().map(|seat| PeerConfig {
            account: seat.key.address(),
            url: format!("http://{}", seat.address),
            p2p: None,
        });
        let network = NetworkConfig {
            l1: L1Config {
                url: line.url.clone(),
                chain_id: genesis.l1_chain_id,
                rollup: addresses.rollup,
                deployed_at: addresses.block_number,
                confirmations: 0,
            },
            genesis: (&genesis).into(),
            peers: peers.collect(),
        };
        let plan = Plan {
            seed,
            network,
            contracts: [addresses.bridge, addresses.escape, addresses.committee],
            database: folder.path().join("sequencer"),
            rpc: Port::bind("127.0.0.1:0")?.local_addr()?,
            batch_age_ms: 1_500,
            proofs: ProofPlan::None,
        };
        let mut world = Self {
            rng: StdRng::seed_from_u64(seed),
            l1,
            provider,
            addresses,
            genesis,
            line,
            shares: Shares::default(),
            population: Population::new(seed, &genesis, 4, 2),
            seats,
            plan,
            sequencer: settings.sequencer.clone(),
            folder,
        };
        for index in 0..MEMBERS {
            world.start_member(index).await?;
        }
        Ok(world)
    }

    /// Where the scenario keeps what it needs; gone with it.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// What the sequencer is told from its next start on.
    pub(crate) fn plan(&mut self) -> &mut Plan {
        &mut self.plan
    }

    pub(crate) async fn start_sequencer(&self) -> anyhow::Result<Sequencer> {
        Sequencer::start(&self.sequencer, &self.plan, &self.folder.path().join("plan.json")).await
    }

    /// The sequencer's database, once its process has ended.
    pub(crate) fn sequencer_database(&self) -> anyhow::Result<Database> {
        Ok(Database::open(&self.plan.database, &self.genesis)?)
    }

    pub(crate) async fn start_member(&mut self, index: usize) -> anyhow::Result<()> {
        let seat = &self.seats[index];
        let account = seat.key.address();
        let database = Database::open(&seat.path, &self.genesis)?;
        let keys = MemberKeys::new(account, Some(seat.key.clone()), None)?;
        let promises = Promises { expiry_ahead_max_s: 2 * CERTIFICATE_LIFETIME_S };
        let member = Member::open(database, keys, self.genesis.l1_chain_id, self.addresses.rollup, promises)?;
        let watcher = Watcher::new(self.client().await?, self.genesis_checkpoint()?, 0);
        let peers = self.committee()?.members().iter().filter(|peer| peer.account != account).cloned().collect();
        let config = SyncConfig {
            poll: Duration::from_millis(200),
            peer_limit: Duration::from_secs(10),
            snapshot_every: Duration::ZERO,
            retention_s: CERTIFICATE_LIFETIME_S,
        };
        let stop = CancellationToken::new();
        let syncing = sync::run(member.clone(), watcher, Arc::new(Committee::new(peers)?), config, stop.clone());
        let listener = TcpListener::bind(seat.address).await.context("a member's port")?;
        let router = self.shares.before(api::router(member.clone()));
        let serving = http::serve(listener, router, HttpLimits::default(), stop.clone().cancelled_owned());
        let running = Running { member, stop, syncing: tokio::spawn(syncing), serving: tokio::spawn(serving) };
        self.seats[index].running = Some(running);
        Ok(())
    }

    /// Ends a member; its disk stays.
    pub(crate) async fn stop_member(&mut self, index: usize) -> anyhow::Result<()> {
        let Some(running) = self.seats[index].running.take() else { return Ok(()) };
        running.stop.cancel();
        running.syncing.await?;
        running.serving.await??;
        // The last task that reads the disk may still be ending, and whoever opens it next needs it closed.
        let mut member = running.member;
        while let Err(shared) = Arc::try_unwrap(member).map(drop) {
            member = shared;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Waits until a member holds a batch and would sign the next one.
    pub(crate) async fn member_holds(&self, index: usize, number: u64) -> anyhow::Result<()> {
        let member = &self.seats[index].running.as_ref().context("the member is down")?.member;
        until("a member catches up", Duration::from_secs(60), async || {
            let status = member.status().await.map_err(|refusal| anyhow::anyhow!("{refusal}"))?;
            Ok((status.batch_number >= number && status.not_ready.is_none()).then_some(()))
        })
        .await
    }

    /// The members' endpoints.
    pub(crate) fn committee(&self) -> anyhow::Result<Committee> {
        Ok(self.plan.network.committee()?)
    }

    pub(crate) fn endpoint(&self, index: usize) -> anyhow::Result<Endpoint> {
        let account = self.seats[index].key.address();
        let committee = self.committee()?;
        committee.members().iter().find(|member| member.account == account).cloned().context("a member of the network")
    }

    /// L1, without the recorder between.
    pub(crate) async fn client(&self) -> anyhow::Result<L1Client> {
        let at = self.addresses;
        Ok(L1Client::connect(&self.l1.url(), self.genesis.l1_chain_id, at.rollup, at.block_number).await?)
    }

    pub(crate) fn genesis_checkpoint(&self) -> anyhow::Result<Checkpoint> {
        let tree = StateTree::genesis(MemoryStore::default(), &self.genesis)?;
        Ok(self.genesis.checkpoint::<Native>(tree.root()))
    }

    pub(crate) async fn history(&self) -> anyhow::Result<History> {
        let client = self.client().await?;
        // L1 may move between the two questions.
        until("L1 stands still for its history", Duration::from_secs(30), async || {
            let head = client.head().await?;
            Ok(History::read(&client, self.genesis_checkpoint()?, head).await.ok())
        })
        .await
    }

    /// Waits until L1's history is as wanted.
    pub(crate) async fn until_l1(
        &self,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&History) -> bool,
    ) -> anyhow::Result<History> {
        until(what, limit, async || {
            let history = self.history().await?;
            Ok(wanted(&history).then_some(history))
        })
        .await
    }

    pub(crate) fn rollup(&self) -> Rollup::RollupInstance<DynProvider> {
        Rollup::new(self.addresses.rollup, self.provider.clone())
    }

    pub(crate) fn escape(&self) -> Escape::EscapeInstance<DynProvider> {
        Escape::new(self.addresses.escape, self.provider.clone())
    }

    /// Deposits for the wallet of this index. Returns the request's place in the queue.
    pub(crate) async fn deposit(&self, wallet: usize, amount: Amount) -> anyhow::Result<u64> {
        let fee = self.rollup().requestFee(PriorityKind::Deposit as u8).call().await?;
        let to = Address::new(self.population.wallets[wallet].address.0);
        let index = self.rollup().priorityCount().call().await?;
        let bridge = Bridge::new(self.addresses.bridge, self.provider.clone());
        send(bridge.deposit(to, amount).from(USER).value(U256::from(amount) + fee)).await?;
        Ok(index)
    }

    /// Time passes on L1.
    pub(crate) fn pass(&self, seconds: u64) -> anyhow::Result<()> {
        self.l1.chain().write(|chain, now_s| chain.increase_time(seconds, now_s))??;
        self.mine()
    }

    /// A block on L1, now.
    pub(crate) fn mine(&self) -> anyhow::Result<()> {
        self.l1.chain().write(|chain, now_s| chain.mine(now_s).map(drop))??;
        Ok(())
    }

    /// L1 takes back its latest blocks, and with them what was in them, and goes on with as many empty ones.
    pub(crate) fn reorganise(&self, depth: u64) -> anyhow::Result<()> {
        self.l1.chain().write(|chain, now_s| -> anyhow::Result<()> {
            chain.reorg(depth, Orphans::Drop)?;
            for _ in 0..depth {
                chain.mine_exactly(Vec::new(), now_s)?;
            }
            Ok(())
        })?
    }

    /// Waits until the deposits of all wallets are on L2.
    pub(crate) async fn funded(&self, client: &Client, amount: Amount) -> anyhow::Result<()> {
        until("the deposits are on L2", Duration::from_secs(60), async || {
            for wallet in &self.population.wallets {
                if client.balance(&wallet.address).await? < U256::from(amount) {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })
        .await
    }

    /// Ends all members, and gives their databases' paths.
    pub(crate) async fn stop_members(&mut self) -> anyhow::Result<Vec<PathBuf>> {
        for index in 0..self.seats.len() {
            self.stop_member(index).await?;
        }
        Ok(self.seats.iter().map(|seat| seat.path.clone()).collect())
    }
}

/// Sends a transaction on L1, which must succeed.
pub(crate) async fn send<P: Provider, D: CallDecoder>(call: CallBuilder<P, D>) -> anyhow::Result<()> {
    let receipt = call.send().await?.get_receipt().await?;
    ensure!(receipt.status(), "{} failed on L1", receipt.transaction_hash);
    Ok(())
}

/// Waits until `look` finds something, at most `limit`.
pub(crate) async fn until<T>(
    what: &str,
    limit: Duration,
    look: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    match Client::until(what, limit, look).await {
        Ok(found) => Ok(found),
        Err(error) => bail!("{error:#}"),
    }
}

fn deployment(
    genesis: &Genesis,
    sequencer: Address,
    signers: Vec<Address>,
    program: B256,
) -> anyhow::Result<Deployment> {
    let tree = StateTree::genesis(MemoryStore::default(), genesis)?;
    Ok(Deployment {
        l2_chain_id: genesis.chain_id,
        genesis: genesis.checkpoint::<Native>(tree.root()),
        genesis_id: B256::new(genesis.id::<Native>().0),
        program,
        base_token: Address::ZERO,
        operator: DEPLOYER,
        sequencer,
        governance: GovernanceSetup {
            delay_s: UPGRADE_DELAY_S,
            proposers: vec![DEPLOYER],
            executors: vec![Address::ZERO],
        },
        committee: CommitteeSetup {
            signers,
            honest: HONEST,
            remaining_min_s: UPGRADE_DELAY_S,
            stake_lock_s: UPGRADE_DELAY_S,
            stake_min: U256::ZERO,
        },
        verifier: VerifierSetup { version: VERIFIER_VERSION, bytecode: Bytes::from_static(&Groth16Verifier::BYTECODE) },
        delays: Rollup::Delays {
            queueExpiry: QUEUE_EXPIRY_S,
            exitWindow: EXIT_WINDOW_S,
            lateAfter: LATE_AFTER_S,
            proofDeadline: PROOF_DEADLINE_S,
            executionWindow: PROOF_DEADLINE_S,
            timestampSkew: 60,
        },
        fees: Rollup::Fees { request: 1_000, forcedCall: 3_000, doubling: 1_000, perBlockMax: 64 },
        presentation_window_s: EXIT_WINDOW_S,
        grace_s: genesis.grace_seconds,
        channel_close_s: genesis.channel_close_seconds,
    })
}
