//! The network's parts, started in order.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use alloy::{
    network::{EthereumWallet, TransactionBuilder},
    primitives::{Address, B256, Bytes, U256},
    providers::{DynProvider, Provider, ProviderBuilder},
    rpc::types::TransactionRequest,
    signers::local::PrivateKeySigner,
};
use anyhow::{Context, ensure};
use joule_committee::{EcdsaSecretKey, Keyset, Member as Seat, Scheme};
use joule_committee_client::{Committee, Endpoint, ExpiryPolicy, GatherTiming, Observer, Report};
use joule_contracts::{
    Addresses, CommitteeSetup, Deployment, GovernanceSetup, Groth16Verifier, Rollup, VerifierSetup, deploy,
};
use joule_dac::{
    api,
    keys::MemberKeys,
    l1::Watcher,
    member::Member,
    rules::Promises,
    sync::{self, SyncConfig},
};
use joule_l1::{FeePolicy, FollowConfig, L1Client, OutboxPolicy};
use joule_node::{BlockKey, L1Setup, RunningNode, Setup};
use joule_operator::{
    CommitteePublisher, NetworkProofs, NetworkProofsConfig, Operations, OperationsSetup, Payouts, PayoutsSetup,
    RunningCoordinator,
};
use joule_protocol::{Digest, Genesis, Hash, Hashing, Native};
use joule_prover_engine::CircuitVerifier;
use joule_prover_network::{Admission, Prices, Rules};
use joule_rpc::{Limits, Node as _, wire::L1Contracts};
use joule_sequencer::{BatchLimits, PoolLimits, SequencerConfig};
use joule_settlement::{DriverConfig, Policy};
use joule_state::{MemoryStore, StateTree};
use joule_storage::Database;
use joule_tables::shape::Shape;
use joule_testnet_l1::{ChainConfig, DEVELOPMENT_ACCOUNTS, L1, Mining, ServerConfig};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// Members of the committee, and how many of them are assumed honest: three must sign.
const MEMBERS: usize = 5;
const HONEST: u32 = 3;
/// The version byte that the router knows the verifier by.
const VERIFIER_VERSION: u8 = 1;

// Delays of a network that lives for an hour. Proving a batch on two cores takes minutes, so nothing below is near that.
const QUEUE_EXPIRY_S: u64 = 4 * 3_600;
const EXIT_WINDOW_S: u64 = 3_600;
const LATE_AFTER_S: u64 = 2 * 3_600;
const PROOF_DEADLINE_S: u64 = 2 * 3_600;
const UPGRADE_DELAY_S: u64 = QUEUE_EXPIRY_S + EXIT_WINDOW_S;
const CERTIFICATE_LIFETIME_S: u64 = 4 * UPGRADE_DELAY_S;
const CERTIFICATE_MARGIN_S: u64 = 600;

/// Where the L1 is.
#[derive(Debug)]
pub(crate) struct Ledger {
    // Dropping it stops it.
    _embedded: Option<L1>,
    pub(crate) url: String,
    pub(crate) chain_id: u64,
    /// Sends in the name of the development accounts and of the sequencer.
    pub(crate) provider: DynProvider,
    sequencer: PrivateKeySigner,
    /// Takes the fees of L2, and pays provers there.
    fee_recipient: PrivateKeySigner,
}

/// Who deploys the contracts and pays for everything on L1.
pub(crate) const DEPLOYER: Address = DEVELOPMENT_ACCOUNTS[0].0;

impl Ledger {
    /// Starts an L1 in this process with a block every second, or takes the one at `url`, which must have the accounts that development chains have.
    pub(crate) async fn start(url: Option<&str>, seed: u64) -> anyhow::Result<Self> {
        let embedded = match url {
            Some(_) => None,
            None => {
                let config = ChainConfig { mining: Mining::Interval { seconds: 1 }, ..ChainConfig::development() };
                Some(L1::start(config, ServerConfig::default()).await.context("starting the L1")?)
            }
        };
        let url = match (&embedded, url) {
            (Some(l1), _) => l1.url(),
            (None, url) => url.unwrap_or_default().to_owned(),
        };
        let sequencer = PrivateKeySigner::from_bytes(&derived("sequencer", seed, 0))?;
        let fee_recipient = PrivateKeySigner::from_bytes(&derived("fee recipient", seed, 0))?;
        let mut wallet = EthereumWallet::from(PrivateKeySigner::from_bytes(&DEVELOPMENT_ACCOUNTS[0].1)?);
        for (_, key) in &DEVELOPMENT_ACCOUNTS[1..3] {
            wallet.register_signer(PrivateKeySigner::from_bytes(key)?);
        }
        let provider =
            ProviderBuilder::new().wallet(wallet).connect_http(url.parse().context("the L1's URL")?).erased();
        provider.client().set_poll_interval(Duration::from_millis(200));
        let chain_id = provider.get_chain_id().await.with_context(|| format!("asking the L1 at {url}"))?;
        let balance = provider.get_balance(DEPLOYER).await?;
        ensure!(
            balance > U256::from(10).pow(U256::from(20)),
            "{DEPLOYER} has {balance} wei on chain {chain_id}; the demo needs a development chain like anvil, with its well-known accounts"
        );
        let stake = U256::from(10).pow(U256::from(19));
        let fund = TransactionRequest::default().with_from(DEPLOYER).with_to(sequencer.address()).with_value(stake);
        let receipt = provider.send_transaction(fund).await?.get_receipt().await?;
        ensure!(receipt.status(), "the sequencer's account could not be funded");
        Ok(Self { _embedded: embedded, url, chain_id, provider, sequencer, fee_recipient })
    }

    /// The time of its latest block, unix seconds.
    pub(crate) async fn now_s(&self) -> anyhow::Result<u64> {
        let block = self.provider.get_block(alloy::eips::BlockId::latest()).await?.context("the L1 has no block")?;
        Ok(block.header.timestamp)
    }
}

/// A secret that a label and a seed name. For networks that hold nothing of value.
fn derived(label: &str, seed: u64, index: u64) -> B256 {
    let mut bytes = b"joule testnet ".to_vec();
    bytes.extend_from_slice(label.as_bytes());
    bytes.extend_from_slice(&seed.to_be_bytes());
    bytes.extend_from_slice(&index.to_be_bytes());
    B256::new(Native::keccak256(&bytes).0)
}

/// The chain's genesis.
pub(crate) fn genesis(ledger: &Ledger, chain_id: u64, timestamp: u64, seed: u64) -> Genesis {
    Genesis {
        chain_id,
        l1_chain_id: ledger.chain_id,
        base_token: joule_protocol::Address::ZERO,
        fee_recipient: joule_protocol::Address(ledger.fee_recipient.address().into_array()),
        base_fee_max: 1_000_000_000_000,
        grace_seconds: 2 * QUEUE_EXPIRY_S,
        channel_close_seconds: 2 * QUEUE_EXPIRY_S,
        timestamp,
        salt: Hash(derived("salt", seed, 0).0),
    }
}

/// The contracts on L1.
#[derive(Debug)]
pub(crate) struct Contracts {
    pub(crate) addresses: Addresses,
    pub(crate) genesis: Genesis,
    keyset: Keyset,
    seats: Vec<(Address, EcdsaSecretKey)>,
}

impl Contracts {
    /// Deploys everything, with the real verifier under its development key.
    pub(crate) async fn deploy(ledger: &Ledger, genesis: Genesis, program: Digest, seed: u64) -> anyhow::Result<Self> {
        let mut seats = (0..MEMBERS as u64)
            .map(|index| {
                let key = EcdsaSecretKey::from_bytes(&derived("member", seed, index).0)?;
                anyhow::Ok((key.address(), key))
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        seats.sort_by_key(|(account, _)| *account);
        let members =
            seats.iter().map(|(account, _)| Seat { account: *account, signer: *account, bls: None }).collect();
        let keyset = Keyset::new(Scheme::Ecdsa, members, HONEST)?;
        let tree = StateTree::genesis(MemoryStore::default(), &genesis)?;
        let deployment = Deployment {
            l2_chain_id: genesis.chain_id,
            genesis: genesis.checkpoint::<Native>(tree.root()),
            genesis_id: B256::new(genesis.id::<Native>().0),
            program: B256::new(program.to_hash().0),
            base_token: Address::ZERO,
            operator: DEPLOYER,
            sequencer: ledger.sequencer.address(),
            governance: GovernanceSetup {
                delay_s: UPGRADE_DELAY_S,
                proposers: vec![DEPLOYER],
                executors: vec![Address::ZERO],
            },
            committee: CommitteeSetup {
                signers: seats.iter().map(|(account, _)| *account).collect(),
                honest: HONEST,
                remaining_min_s: UPGRADE_DELAY_S,
                stake_lock_s: UPGRADE_DELAY_S,
                stake_min: U256::ZERO,
            },
            verifier: VerifierSetup {
                version: VERIFIER_VERSION,
                bytecode: Bytes::from_static(&Groth16Verifier::BYTECODE),
            },
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
        };
        let addresses = deploy(&ledger.provider, DEPLOYER, &deployment).await?;
        Ok(Self { addresses, genesis, keyset, seats })
    }

    /// Refuses proofs of other circuits than the verifier on L1 is for, before minutes are spent on one.
    pub(crate) async fn check_verifier(&self, ledger: &Ledger, proofs: &CircuitVerifier) -> anyhow::Result<()> {
        let verifier = Groth16Verifier::new(self.addresses.verifier, &ledger.provider);
        let on_l1 = alloy::hex::encode(verifier.CIRCUIT().call().await?);
        let made =
            &proofs.wrap_key().context("there is no key of wraps: `joule-prover setup` makes one")?.header.circuit;
        ensure!(
            on_l1 == *made,
            "the committed verifier is for wrap circuit {on_l1}, the proofs of this profile are of {made}: choose `--profile fast`, or write a verifier with `joule-prover setup --profile proven --solidity contracts/src/generated/Groth16Verifier.sol` and run contracts/build"
        );
        Ok(())
    }

    pub(crate) async fn client(&self, ledger: &Ledger) -> anyhow::Result<L1Client> {
        let at = self.addresses;
        Ok(L1Client::connect(&ledger.url, ledger.chain_id, at.rollup, at.block_number).await?)
    }

    fn genesis_checkpoint(&self) -> anyhow::Result<joule_protocol::Checkpoint> {
        let tree = StateTree::genesis(MemoryStore::default(), &self.genesis)?;
        Ok(self.genesis.checkpoint::<Native>(tree.root()))
    }
}

/// The committee's members, each with its own disk, port and view of L1.
#[derive(Debug)]
pub(crate) struct Members {
    endpoints: Vec<Endpoint>,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<anyhow::Result<()>>>,
}

impl Members {
    pub(crate) async fn start(ledger: &Ledger, contracts: &Contracts, folder: &Path) -> anyhow::Result<Self> {
        let mut listeners = Vec::new();
        let mut endpoints = Vec::new();
        for (account, _) in &contracts.seats {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let url = format!("http://{}", listener.local_addr()?).parse()?;
            endpoints.push(Endpoint { account: *account, url });
            listeners.push(listener);
        }
        let stop = CancellationToken::new();
        let mut tasks = Vec::new();
        for (index, (listener, (account, key))) in listeners.into_iter().zip(&contracts.seats).enumerate() {
            let path = folder.join(format!("member-{}", index + 1));
            let database = Database::open(path.join("database"), &contracts.genesis)?;
            let keys = MemberKeys::new(*account, Some(key.clone()), None)?;
            let promises = Promises { expiry_ahead_max_s: 2 * CERTIFICATE_LIFETIME_S };
            let member = Member::open(database, keys, ledger.chain_id, contracts.addresses.rollup, promises)?;
            let watcher = Watcher::new(contracts.client(ledger).await?, contracts.genesis_checkpoint()?, 0);
            let peers = endpoints.iter().filter(|peer| peer.account != *account).cloned().collect();
            let config = SyncConfig {
                poll: Duration::from_secs(1),
                peer_limit: Duration::from_secs(10),
                snapshot_every: Duration::ZERO,
                retention_s: CERTIFICATE_LIFETIME_S,
            };
            let peers = Arc::new(Committee::new(peers)?);
            let syncing = sync::run(member.clone(), watcher, peers, config, stop.clone());
            tasks.push(tokio::spawn(async move {
                syncing.await;
                Ok(())
            }));
            let serving = api::serve(listener, member, stop.clone().cancelled_owned());
            tasks.push(tokio::spawn(async move { Ok(serving.await?) }));
        }
        Ok(Self { endpoints, stop, tasks })
    }

    pub(crate) fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        for task in self.tasks {
            task.await??;
        }
        Ok(())
    }
}

/// Counts who signed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Signatures(Arc<Mutex<Vec<usize>>>);

impl Signatures {
    /// Members that signed, for each gathering so far.
    pub(crate) fn counts(&self) -> Vec<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Observer for Signatures {
    fn report(&self, report: Report) {
        if let Report::Finished { signed, .. } = report {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(signed);
        }
        ().report(report);
    }
}

/// The sequencer, with what the operator runs beside it.
#[derive(Debug)]
pub(crate) struct Sequencer {
    pub(crate) node: RunningNode,
    pub(crate) operations: Operations,
    pub(crate) proofs: NetworkProofs,
    coordinator: RunningCoordinator,
    payouts: Payouts,
    pub(crate) database: Database,
    pub(crate) signatures: Signatures,
}

/// What provers earn, wei, and how soon after its last block a batch should be proven.
const PRICES: Prices = Prices { segment: 2_000_000_000_000, merge: 200_000_000_000, wrap: 2_000_000_000_000 };
const PROVEN_WITHIN: Duration = Duration::from_secs(1_800);

/// How long the demo's batches collect transactions.
const BATCH_AGE_MS: u64 = 20_000;

impl Sequencer {
    pub(crate) async fn start(
        ledger: &Ledger,
        contracts: &Contracts,
        members: &Members,
        verifier: CircuitVerifier,
        rpc: std::net::SocketAddr,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let database = Database::open(folder.join("sequencer"), &contracts.genesis)?;
        let key = ledger.sequencer.credential().to_bytes();
        let l1 = contracts.client(ledger).await?;
        let at = contracts.addresses;
        let setup = Setup {
            database: database.clone(),
            sequencer: SequencerConfig {
                base_fee: 1_000_000,
                block_interval_ms: 100,
                pool: PoolLimits::default(),
                batch: BatchLimits {
                    gas_max: 64_000_000,
                    data_bytes_max: 2_000_000,
                    blocks_max: 600,
                    age_ms_max: BATCH_AGE_MS,
                },
            },
            key: BlockKey::from_secret(key.into()).context("the sequencer's key is no secret key")?,
            rpc,
            limits: Limits::default(),
            operations: std::net::SocketAddr::from(([127, 0, 0, 1], 0)),
            l1: Some(L1Setup {
                client: l1.clone(),
                follow: FollowConfig { confirmations: 0, ..FollowConfig::default() },
                poll: Duration::from_millis(500),
                contracts: Some(L1Contracts {
                    rollup: at.rollup,
                    bridge: at.bridge,
                    escape: at.escape,
                    committee: at.committee,
                }),
            }),
            peers: None,
        };
        let node = RunningNode::start(setup).await?;
        let signatures = Signatures::default();
        let policy = ExpiryPolicy::new(CERTIFICATE_LIFETIME_S, CERTIFICATE_MARGIN_S, UPGRADE_DELAY_S)?;
        let timing = GatherTiming { linger: Duration::from_secs(2), ..GatherTiming::default() };
        let publisher = CommitteePublisher::new(
            database.clone(),
            l1.clone(),
            Arc::new(Committee::new(members.endpoints().to_vec())?),
            contracts.keyset.clone(),
            ledger.sequencer.clone(),
            policy,
            timing,
            Arc::new(signatures.clone()),
        );
        let proving = NetworkProofsConfig {
            listen: vec!["/ip4/127.0.0.1/tcp/0".parse()?],
            folder: folder.join("proofs"),
            version: VERIFIER_VERSION,
            prices: PRICES,
            within: PROVEN_WITHIN,
            shape: Shape::Small,
            rules: Rules::default(),
            admission: Admission::Everybody,
        };
        let (proofs, coordinator) = NetworkProofs::start(database.clone(), verifier, proving).await?;
        let paying = PayoutsSetup {
            database: database.clone(),
            coordinator: proofs.coordinator().clone(),
            key: ledger.fee_recipient.clone(),
            node: node.node().engine().clone(),
        };
        let payouts = Payouts::start(paying, node.node().subscribe())?;
        let driver = DriverConfig {
            policy: Policy { certificate_margin_s: CERTIFICATE_MARGIN_S, retry_s: 2, ..Policy::default() },
            poll: Duration::from_millis(500),
            confirmations: 0,
            health_every: Duration::from_secs(10),
        };
        let setup = OperationsSetup {
            database: database.clone(),
            l1,
            key: ledger.sequencer.clone(),
            fees: FeePolicy::default(),
            outbox: OutboxPolicy::default(),
            driver,
            publisher,
            proofs: proofs.clone(),
        };
        let operations = Operations::start(setup, node.node().subscribe_batches()).await?;
        Ok(Self { node, operations, proofs, coordinator, payouts, database, signatures })
    }

    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.operations.stop().await?;
        self.payouts.stop().await?;
        self.coordinator.stop().await?;
        self.node.stop().await?;
        Ok(())
    }
}
