//! The network's parts, started in order.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use alloy::{
    network::{EthereumWallet, TransactionBuilder},
    primitives::{Address, B256, U256},
    providers::{DynProvider, Provider, ProviderBuilder},
    rpc::types::TransactionRequest,
    signers::local::PrivateKeySigner,
};
use anyhow::{Context, ensure};
use joule_committee::{EcdsaSecretKey, Keyset, Member as Seat, Scheme};
use joule_committee_client::{Committee, Endpoint, ExpiryPolicy, GatherTiming, Observer, Report};
use joule_contracts::{Addresses, Groth16Verifier, deploy};
use joule_l1::{FeePolicy, FollowConfig, L1Client, OutboxPolicy};
use joule_node::{BlockKey, L1Setup, RunningNode, Setup};
use joule_operator::{
    CommitteePublisher, NetworkProofs, NetworkProofsConfig, Operations, OperationsSetup, Payouts, PayoutsSetup,
    RunningCoordinator,
};
use joule_protocol::{Digest, Genesis, Hash, Native};
use joule_prover_engine::CircuitVerifier;
use joule_prover_network::{Admission, Prices, Rules};
use joule_rpc::{Limits, Node as _, wire::L1Contracts};
use joule_scenarios::{MemberSetup, RunningMember};
use joule_sequencer::{BatchLimits, PoolLimits, SequencerConfig};
use joule_settlement::{DriverConfig, Policy};
use joule_state::{MemoryStore, StateTree};
use joule_storage::Database;
use joule_tables::shape::Shape;
use joule_testnet_l1::{ChainConfig, DEVELOPMENT_ACCOUNTS, L1, Mining, ServerConfig};
use joule_testnet_support::{
    CERTIFICATE_LIFETIME_S, CERTIFICATE_MARGIN_S, QUEUE_EXPIRY_S, UPGRADE_DELAY_S, VERIFIER_VERSION, derived,
    network_deployment,
};
use tokio::net::TcpListener;

/// Members of the committee, and how many of them are assumed honest: three must sign.
const MEMBERS: usize = 5;
const HONEST: u32 = 3;

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
        let checkpoint = genesis.checkpoint::<Native>(tree.root());
        let (signers, program) = (seats.iter().map(|(account, _)| *account).collect(), B256::new(program.to_hash().0));
        let sequencer = ledger.sequencer.address();
        let deployment = network_deployment(&genesis, checkpoint, DEPLOYER, sequencer, signers, HONEST, program);
        let addresses = deploy(&ledger.provider, DEPLOYER, &deployment).await?;
        Ok(Self { addresses, genesis, keyset, seats })
    }

    /// Refuses proofs of other circuits than the verifier on L1 is for, before minutes are spent on one.
    pub(crate) async fn check_verifier(&self, ledger: &Ledger, proofs: &CircuitVerifier) -> anyhow::Result<()> {
        let key = proofs.wrap_key().context("there is no key of wraps: `joule-prover setup` makes one")?;
        self.check_circuit(ledger, &key.header.circuit).await
    }

    async fn check_circuit(&self, ledger: &Ledger, made: &str) -> anyhow::Result<()> {
        let verifier = Groth16Verifier::new(self.addresses.verifier, &ledger.provider);
        let on_l1 = alloy::hex::encode(verifier.CIRCUIT().call().await?);
        ensure!(
            on_l1 == made,
            "the committed verifier is for wrap circuit {on_l1}, the proofs of this profile are of {made}: choose `--profile fast`, or write a verifier with `joule-prover setup --profile proven --solidity contracts/src/generated/Groth16Verifier.sol` and run contracts/build"
        );
        Ok(())
    }

    pub(crate) async fn client(&self, ledger: &Ledger) -> anyhow::Result<L1Client> {
        let at = self.addresses;
        Ok(L1Client::connect(&ledger.url, ledger.chain_id, at.rollup, at.block_number).await?)
    }
}

/// The committee's members, each with its own disk, port and view of L1.
#[derive(Debug)]
pub(crate) struct Members {
    endpoints: Vec<Endpoint>,
    running: Vec<RunningMember>,
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
        let mut running = Vec::new();
        for (index, (listener, (_, key))) in listeners.into_iter().zip(&contracts.seats).enumerate() {
            let setup = MemberSetup {
                key: key.clone(),
                database: folder.join(format!("member-{}", index + 1)).join("database"),
                genesis: &contracts.genesis,
                l1: contracts.client(ledger).await?,
                committee: &endpoints,
                poll: Duration::from_secs(1),
            };
            running.push(RunningMember::start(setup, listener, |router| router)?);
        }
        Ok(Self { endpoints, running })
    }

    pub(crate) fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        for member in self.running {
            member.stop().await?;
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

#[cfg(test)]
mod tests {
    use joule_testnet_support::{START_S, TestL1};

    use super::*;

    /// The verifier that is really deployed says which circuit it is for; proofs of another are refused with both, before any is made.
    #[tokio::test]
    async fn a_profile_that_the_verifier_on_l1_is_not_for_is_refused() {
        let l1 = TestL1::start(START_S).await;
        let ledger = Ledger::start(Some(&l1.url()), 1).await.expect("a development chain");
        let genesis = genesis(&ledger, 7_707, ledger.now_s().await.expect("a time"), 1);
        let program = Digest::new([1, 2, 3, 4]).expect("canonical");
        let contracts = Contracts::deploy(&ledger, genesis, program, 1).await.expect("deploys");
        let verifier = Groth16Verifier::new(contracts.addresses.verifier, &ledger.provider);
        let committed = alloy::hex::encode(verifier.CIRCUIT().call().await.expect("answers"));
        contracts.check_circuit(&ledger, &committed).await.expect("its own circuit");
        let other = "7".repeat(64);
        let refused = contracts.check_circuit(&ledger, &other).await.expect_err("another circuit").to_string();
        assert!(refused.contains(&committed) && refused.contains(&other), "{refused}");
        assert!(
            refused.contains("--profile fast") && refused.contains("contracts/build"),
            "names the ways out: {refused}"
        );
    }
}
