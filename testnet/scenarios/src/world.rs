//! The network of a scenario: L1 with the contracts, the recorders, the committee, and where the sequencer lives.

use std::{
    fs,
    net::{SocketAddr, TcpListener as Port},
    path::PathBuf,
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
use joule_contracts::{Addresses, Bridge, Escape, Rollup, deploy};
use joule_dac::{
    config::{Config as DacConfig, KeysConfig, L1Config, LimitsConfig, NetworkConfig, PeerConfig},
    http::{self, HttpLimits},
    keys,
};
use joule_l1::{History, L1Client};
use joule_protocol::{Address as L2Address, Amount, Checkpoint, Digest, Genesis, Hash, Native, PriorityKind};
use joule_state::{MemoryStore, StateTree};
use joule_storage::Database;
use joule_testnet_l1::{ChainConfig, DEVELOPMENT_ACCOUNTS, GenesisAccount, L1, Mining, Orphans, ServerConfig};
use joule_testnet_support::{derived, network_deployment};
use joule_workload::Population;
use rand::{SeedableRng as _, rngs::StdRng};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    Client, Plan, ProofPlan, Settings,
    members::{MemberSetup, RunningMember},
    process::{Process, Programs},
    record::{Line, Shares, passing_on_to},
    sequencer::Sequencer,
};

pub(crate) use joule_testnet_support::{
    CERTIFICATE_LIFETIME_S, CERTIFICATE_MARGIN_S, QUEUE_EXPIRY_S, UPGRADE_DELAY_S, VERIFIER_VERSION,
};

/// Members of the committee, and how many of them are assumed honest: three must sign.
pub(crate) const MEMBERS: usize = 5;
pub(crate) const HONEST: u32 = 3;

const L2_CHAIN_ID: u64 = 7_707;
/// Who deploys, who deposits.
pub(crate) const DEPLOYER: Address = DEVELOPMENT_ACCOUNTS[0].0;
pub(crate) const USER: Address = DEVELOPMENT_ACCOUNTS[1].0;

pub(crate) fn sequencer_key(seed: u64) -> anyhow::Result<PrivateKeySigner> {
    Ok(PrivateKeySigner::from_bytes(&derived("sequencer", seed, 0))?)
}

/// A member's place: its key, port and disk, and what runs there.
struct Seat {
    key: EcdsaSecretKey,
    /// What its key is made from, beside the seed.
    secret: u64,
    /// Where it is reached: the recorder, where the member is a process of its own.
    address: SocketAddr,
    path: PathBuf,
    running: Option<Running>,
}

enum Running {
    /// In this process.
    Here(RunningMember),
    /// As `joule-dac`, behind a recorder.
    Process { process: Process, stop: CancellationToken, recorder: JoinHandle<std::io::Result<()>> },
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
    /// What members run as processes of their own with, where they do.
    programs: Option<Programs>,
    folder: TempDir,
}

impl World {
    /// Starts everything but the sequencer, with members in this process. `program` is what L1 takes proofs of.
    pub(crate) async fn start(seed: u64, settings: &Settings, program: Option<Digest>) -> anyhow::Result<Self> {
        Self::start_with(seed, settings, program, None).await
    }

    /// As [`World::start`], with members that are processes where there are programs for it.
    pub(crate) async fn start_with(
        seed: u64,
        settings: &Settings,
        program: Option<Digest>,
        programs: Option<Programs>,
    ) -> anyhow::Result<Self> {
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
            .map(|index| Ok((EcdsaSecretKey::from_bytes(&derived("member", seed, index).0)?, index)))
            .collect::<anyhow::Result<Vec<_>>>()?;
        keys.sort_by_key(|(key, _)| key.address());
        let signers = keys.iter().map(|(key, _)| key.address()).collect();
        let program = program.map_or(B256::with_last_byte(1), |program| B256::new(program.to_hash().0));
        let tree = StateTree::genesis(MemoryStore::default(), &genesis)?;
        let checkpoint = genesis.checkpoint::<Native>(tree.root());
        let deployment =
            network_deployment(&genesis, checkpoint, DEPLOYER, sequencer.address(), signers, HONEST, program);
        let addresses = deploy(&provider, DEPLOYER, &deployment).await?;
        let line = Line::to(&l1.url()).await?;

        let mut seats = Vec::new();
        for (index, (key, secret)) in keys.into_iter().enumerate() {
            // The port stays the member's own over its restarts.
            let address = Port::bind("127.0.0.1:0")?.local_addr()?;
            let path = folder.path().join(format!("member-{}", index + 1)).join("database");
            seats.push(Seat { key, secret, address, path, running: None });
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
            programs,
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

    /// What every node of the network is told.
    pub(crate) fn network(&self) -> &NetworkConfig {
        &self.plan.network
    }

    /// The sequencer's disk.
    pub(crate) fn sequencer_folder(&self) -> &std::path::Path {
        &self.plan.database
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
        let running = match self.programs.clone() {
            None => self.member_here(index).await?,
            Some(programs) => self.member_process(index, &programs).await?,
        };
        self.seats[index].running = Some(running);
        Ok(())
    }

    /// Starts `joule-dac` for a member, with a configuration file and a key as an operator has them.
    async fn member_process(&self, index: usize, programs: &Programs) -> anyhow::Result<Running> {
        let seat = &self.seats[index];
        let account = seat.key.address();
        let data = seat.path.parent().context("a member's disk is in its folder")?.to_owned();
        let config = data.join("joule-dac.toml");
        let listen = Port::bind("127.0.0.1:0")?.local_addr()?;
        if !config.exists() {
            fs::create_dir_all(&data)?;
            let key = data.join("ecdsa.key");
            keys::write_new(&key, &derived("member", self.plan.seed, seat.secret).0)?;
            DacConfig {
                listen,
                data,
                keys: KeysConfig { account, ecdsa: Some(key), bls: None, password: None },
                p2p: None,
                limits: LimitsConfig {
                    l1_poll_ms: 200,
                    peer_limit_ms: 10_000,
                    snapshot_every_s: 0,
                    retention_s: CERTIFICATE_LIFETIME_S,
                    expiry_ahead_max_s: 2 * CERTIFICATE_LIFETIME_S,
                    ..LimitsConfig::default()
                },
                l1: L1Config { url: self.l1.url(), ..self.plan.network.l1.clone() },
                genesis: self.plan.network.genesis,
                peers: self.plan.network.peers.clone(),
            }
            .write_new(&config)?;
            let at = config.display().to_string();
            programs.run("joule-dac", &["init", "--keys-unused", "--config", &at]).await?;
        }
        let mut command = programs.command("joule-dac");
        command.arg("run").arg("--config").arg(&config).args(["--listen", &listen.to_string()]);
        let process = Process::start(&format!("member {}", index + 1), command, &config.with_extension("log"))?;
        let stop = CancellationToken::new();
        let listener = TcpListener::bind(seat.address).await.context("a member's port")?;
        let router = self.shares.before(passing_on_to(format!("http://{listen}")));
        let recorder = http::serve(listener, router, HttpLimits::default(), stop.clone().cancelled_owned());
        let recorder = tokio::spawn(recorder);
        let member = self.endpoint(index)?;
        let committee = self.committee()?;
        until("a member's process serves", Duration::from_secs(60), async || {
            Ok(committee.status(&member, Duration::from_secs(5)).await.ok().map(drop))
        })
        .await?;
        Ok(Running::Process { process, stop, recorder })
    }

    async fn member_here(&self, index: usize) -> anyhow::Result<Running> {
        let seat = &self.seats[index];
        let committee = self.committee()?;
        let setup = MemberSetup {
            key: seat.key.clone(),
            database: seat.path.clone(),
            genesis: &self.genesis,
            l1: self.client().await?,
            committee: committee.members(),
            poll: Duration::from_millis(200),
        };
        let listener = TcpListener::bind(seat.address).await.context("a member's port")?;
        Ok(Running::Here(RunningMember::start(setup, listener, |router| self.shares.before(router))?))
    }

    /// Ends a member; its disk stays.
    pub(crate) async fn stop_member(&mut self, index: usize) -> anyhow::Result<()> {
        match self.seats[index].running.take() {
            None => {}
            Some(Running::Here(member)) => member.stop().await?,
            Some(Running::Process { process, stop, recorder }) => {
                process.stop().await?;
                stop.cancel();
                recorder.await??;
            }
        }
        Ok(())
    }

    /// Waits until a member holds a batch and would sign the next one.
    pub(crate) async fn member_holds(&self, index: usize, number: u64) -> anyhow::Result<()> {
        ensure!(self.seats[index].running.is_some(), "the member is down");
        let (committee, member) = (self.committee()?, self.endpoint(index)?);
        until("a member catches up", Duration::from_secs(60), async || {
            let status = committee.status(&member, Duration::from_secs(10)).await?;
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
