//! An L1 with the contracts on it, and a small state tree.

use alloy::{
    primitives::{Address, B256},
    providers::DynProvider,
    signers::local::PrivateKeySigner,
};
use joule_contracts::{Deployment, Probe};
use joule_protocol as protocol;
use joule_protocol::{Checkpoint, Digest, Hash, Key, Native, compress, genesis_objects, leaf_digest};
use joule_testnet_l1::ChainConfig;
use joule_testnet_support::{TestL1, address, provider, test_deployment};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub(crate) use joule_testnet_support::{PROGRAM, START_S, committee, signer, test_genesis as genesis};

/// An L1 whose clock moves when told, or anvil, which keeps its own time.
pub(crate) struct World {
    l1: Option<TestL1>,
    pub(crate) provider: DynProvider,
    pub(crate) deployer: Address,
}

impl World {
    pub(crate) async fn start(chain_id: u64) -> Self {
        Self::start_at(chain_id, START_S).await
    }

    pub(crate) async fn start_at(chain_id: u64, start_s: u64) -> Self {
        let l1 = TestL1::of(ChainConfig { chain_id, ..ChainConfig::development() }, start_s).await;
        let provider = l1.provider(0);
        Self { l1: Some(l1), provider, deployer: address(0) }
    }

    /// An L1 that is there already, with the development accounts and a clock that began at [`START_S`].
    pub(crate) fn at(url: &str) -> Self {
        Self { l1: None, provider: provider(url, signer(0)), deployer: address(0) }
    }

    /// Time passes where it is this test's to pass.
    pub(crate) fn wait(&self, by_s: u64) {
        if let Some(l1) = &self.l1 {
            l1.wait(by_s);
        }
    }

    pub(crate) async fn probe(&self) -> Probe::ProbeInstance<DynProvider> {
        Probe::deploy(self.provider.clone()).await.expect("the probe deploys")
    }
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
    let signers = committee().iter().map(PrivateKeySigner::address).collect();
    test_deployment(&genesis(), genesis_checkpoint(), world.deployer, world.deployer, signers)
}
