//! An L1 with the contracts on it, and a small state tree.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use alloy::{
    network::EthereumWallet,
    primitives::{Address, B256, Bytes, U256},
    providers::{DynProvider, Provider, ProviderBuilder},
    signers::local::PrivateKeySigner,
};
use joule_contracts::{CommitteeSetup, Deployment, GovernanceSetup, Probe, Rollup, TestVerifier, VerifierSetup};
use joule_protocol as protocol;
use joule_protocol::{Checkpoint, Digest, Genesis, Hash, Key, Native, compress, genesis_objects, leaf_digest};
use joule_testnet_l1::{ChainConfig, DEVELOPMENT_ACCOUNTS, L1, ServerConfig};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub(crate) const START_S: u64 = 1_800_000_000;
pub(crate) const PROGRAM: B256 = B256::with_last_byte(9);

/// An L1 whose clock moves when told, or anvil, which keeps its own time.
pub(crate) struct World {
    // Dropping it stops the server.
    _l1: Option<L1>,
    clock_s: Arc<AtomicU64>,
    pub(crate) provider: DynProvider,
    pub(crate) deployer: Address,
}

impl World {
    pub(crate) async fn start(chain_id: u64) -> Self {
        Self::start_at(chain_id, START_S).await
    }

    pub(crate) async fn start_at(chain_id: u64, start_s: u64) -> Self {
        let clock_s = Arc::new(AtomicU64::new(start_s));
        let read = clock_s.clone();
        let config = ChainConfig { chain_id, ..ChainConfig::development() };
        let server = ServerConfig { clock: Arc::new(move || read.load(Ordering::SeqCst)), ..ServerConfig::default() };
        let l1 = L1::start(config, server).await.expect("the L1 starts");
        let url = l1.url();
        Self::connect(Some(l1), clock_s, &url)
    }

    /// An L1 that is there already, with the development accounts and a clock that began at [`START_S`].
    pub(crate) fn at(url: &str) -> Self {
        Self::connect(None, Arc::new(AtomicU64::new(START_S)), url)
    }

    fn connect(l1: Option<L1>, clock_s: Arc<AtomicU64>, url: &str) -> Self {
        let wallet = EthereumWallet::from(signer(0));
        let provider = ProviderBuilder::new().wallet(wallet).connect_http(url.parse().expect("a URL"));
        provider.client().set_poll_interval(Duration::from_millis(10));
        Self { _l1: l1, clock_s, provider: provider.erased(), deployer: DEVELOPMENT_ACCOUNTS[0].0 }
    }

    pub(crate) fn wait(&self, by_s: u64) {
        self.clock_s.fetch_add(by_s, Ordering::SeqCst);
    }

    pub(crate) async fn probe(&self) -> Probe::ProbeInstance<DynProvider> {
        Probe::deploy(self.provider.clone()).await.expect("the probe deploys")
    }
}

pub(crate) fn signer(index: usize) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&DEVELOPMENT_ACCOUNTS[index].1).expect("a valid key")
}

/// Five committee keys by rising address.
pub(crate) fn committee() -> Vec<PrivateKeySigner> {
    let mut keys: Vec<_> = (1..6).map(signer).collect();
    keys.sort_by_key(PrivateKeySigner::address);
    keys
}

pub(crate) fn random() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(0x6a6f756c65)
}

pub(crate) fn random_digest(random: &mut impl Rng) -> Digest {
    Digest::new(std::array::from_fn(|_| random.random_range(0..protocol::GOLDILOCKS))).expect("canonical")
}

pub(crate) fn random_hash(random: &mut impl Rng) -> Hash {
    Hash(random.random())
}

pub(crate) fn random_address(random: &mut impl Rng) -> protocol::Address {
    protocol::Address(random.random())
}

pub(crate) fn b256(digest: Digest) -> B256 {
    B256::new(digest.to_hash().0)
}

pub(crate) fn genesis() -> Genesis {
    Genesis {
        chain_id: 77_001,
        l1_chain_id: 31_337,
        base_token: protocol::Address::ZERO,
        fee_recipient: protocol::Address([7; 20]),
        base_fee_max: 1_000_000_000,
        grace_seconds: 8 * 86_400,
        channel_close_seconds: 8 * 86_400,
        timestamp: START_S,
        salt: Hash::ZERO,
    }
}

/// A tree of depth 32 with leaves at its first positions, in the order given.
pub(crate) struct Tree {
    levels: Vec<Vec<Digest>>,
    empty: Vec<Digest>,
}

impl Tree {
    pub(crate) fn new(leaves: Vec<Digest>) -> Self {
        let mut empty = vec![Digest::EMPTY];
        let mut levels = vec![leaves];
        for height in 0..32 {
            let below = &levels[height];
            let above =
                below.chunks(2).map(|pair| compress(pair[0], pair.get(1).copied().unwrap_or(empty[height]))).collect();
            levels.push(above);
            empty.push(compress(empty[height], empty[height]));
        }
        Self { levels, empty }
    }

    /// The tree of genesis and accounts behind it. The accounts' keys rise, as the tree's sorted list has them.
    pub(crate) fn with_accounts(accounts: &[(protocol::Address, protocol::Account)]) -> Self {
        let [sentinel, chain] = genesis_objects::<Native>(&genesis());
        let mut leaves = vec![sentinel, chain];
        for (i, (address, account)) in accounts.iter().enumerate() {
            let value = protocol::Object::Account(*account).digest::<Native>();
            leaves.push(leaf_digest::<Native>(&Key::account(address), &next_key(accounts, i), value));
        }
        Self::new(leaves)
    }

    pub(crate) fn root(&self) -> Digest {
        self.levels[32][0]
    }

    pub(crate) fn siblings(&self, position: usize) -> Vec<Digest> {
        (0..32)
            .map(|height| self.levels[height].get(position >> height ^ 1).copied().unwrap_or(self.empty[height]))
            .collect()
    }
}

pub(crate) fn next_key(accounts: &[(protocol::Address, protocol::Account)], i: usize) -> Key {
    accounts.get(i + 1).map_or(Key::CHAIN, |(address, _)| Key::account(address))
}

pub(crate) fn genesis_checkpoint() -> Checkpoint {
    let [sentinel, chain] = genesis_objects::<Native>(&genesis());
    genesis().checkpoint::<Native>(Tree::new(vec![sentinel, chain]).root())
}

pub(crate) fn deployment(world: &World) -> Deployment {
    let genesis = genesis();
    Deployment {
        l2_chain_id: genesis.chain_id,
        genesis: genesis_checkpoint(),
        genesis_id: B256::new(genesis.id::<Native>().0),
        program: PROGRAM,
        base_token: Address::ZERO,
        operator: world.deployer,
        sequencer: world.deployer,
        governance: GovernanceSetup { delay_s: 7_200, proposers: vec![world.deployer], executors: vec![Address::ZERO] },
        committee: CommitteeSetup {
            signers: committee().iter().map(PrivateKeySigner::address).collect(),
            honest: 2,
            remaining_min_s: 7_200,
            stake_lock_s: 7_200,
            stake_min: U256::ZERO,
        },
        verifier: VerifierSetup { version: 1, bytecode: Bytes::from_static(&TestVerifier::BYTECODE) },
        delays: Rollup::Delays {
            queueExpiry: 3_600,
            exitWindow: 3_600,
            lateAfter: 600,
            proofDeadline: 600,
            executionWindow: 600,
            timestampSkew: 60,
        },
        fees: Rollup::Fees { request: 1_000, forcedCall: 3_000, doubling: 100, perBlockMax: 8 },
        presentation_window_s: 3_600,
        grace_s: genesis.grace_seconds,
        channel_close_s: genesis.channel_close_seconds,
    }
}
