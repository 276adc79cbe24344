//! What a node makes of an L1 that was reorganised while nobody looked.

use std::sync::Mutex;

use alloy::{
    primitives::{Address, U256},
    providers::{DynProvider, Provider as _},
    signers::local::PrivateKeySigner,
};
use joule_contracts::{Addresses, Rollup, deploy};
use joule_follow::genesis_checkpoint;
use joule_testnet_l1::{Mining, Orphans};
use joule_testnet_support::{START_S, TestL1, address, committee, test_deployment, test_genesis};
use tempfile::TempDir;

use super::*;

const CONFIG: FollowConfig = FollowConfig { confirmations: 0, window_blocks_max: 128, range_blocks_max: 1_000 };

/// What a node was told of: from where on requests are others, if they are.
type Told = Arc<Mutex<Vec<Option<u64>>>>;

struct World {
    l1: TestL1,
    addresses: Addresses,
    client: L1Client,
    user: DynProvider,
    database: Database,
    _folder: TempDir,
}

impl World {
    async fn start() -> Self {
        let (l1, genesis) = (TestL1::start(START_S).await, test_genesis());
        let signers = committee().iter().map(PrivateKeySigner::address).collect();
        let deployment = test_deployment(&genesis, genesis_checkpoint(&genesis), address(0), address(0), signers);
        let addresses = deploy(&l1.provider(0), address(0), &deployment).await.expect("deploys");
        l1.chain().write(|chain, _| chain.set_mining(Mining::Manual)).expect("not poisoned").expect("manual");
        let client = L1Client::connect(&l1.url(), 31_337, addresses.rollup, addresses.block_number).await;
        let folder = tempfile::tempdir().expect("a folder");
        let database = Database::open(folder.path(), &genesis).expect("opens");
        let user = l1.provider(1);
        Self { addresses, client: client.expect("connects"), user, database, l1, _folder: folder }
    }

    fn mine(&self, blocks: u64) {
        for _ in 0..blocks {
            self.l1.wait(12);
            self.l1.chain().write(|chain, now_s| chain.mine(now_s)).expect("not poisoned").expect("a block");
        }
    }

    /// Takes this many blocks back, and what was in them.
    fn take_back(&self, blocks: u64) {
        self.l1.chain().write(|chain, _| chain.reorg(blocks, Orphans::Drop)).expect("not poisoned").expect("a reorg");
    }

    /// A deposit in a block of its own.
    async fn deposit(&self, to: u8) {
        let rollup = Rollup::new(self.addresses.rollup, &self.user);
        let fee = rollup.requestFee(1).call().await.expect("a fee");
        let bridge = Bridge::new(self.addresses.bridge, &self.user);
        let call = bridge.deposit(Address::repeat_byte(to), 7).value(U256::from(7) + fee * U256::from(2));
        let nonce = self.user.get_transaction_count(address(1)).await.expect("a nonce");
        // All that alloy would ask for is given: it caches nonces through reorgs.
        let call = call.nonce(nonce).gas(500_000).max_fee_per_gas(100_000_000_000).max_priority_fee_per_gas(1);
        drop(call.send().await.expect("sends"));
        self.mine(1);
    }

    /// A node that starts, reads L1 to its end, and is killed. What it was told of.
    async fn look(&self) -> Vec<Option<u64>> {
        let told = Told::default();
        let changed = {
            let told = told.clone();
            move |others_from| told.lock().expect("not poisoned").push(others_from)
        };
        let follower = resume(&self.client, CONFIG, &self.database).await.expect("reads");
        let (client, database) = (self.client.clone(), self.database.clone());
        let mut watch = RequestWatch::new(client, follower, database, changed, Metrics::default(), Duration::ZERO);
        while watch.step().await.expect("follows") {}
        let told = told.lock().expect("not poisoned");
        told.clone()
    }

    /// Holds the requests here to L1's own accumulator.
    async fn is_in_step(&self, count: u64) {
        use joule_protocol::{Accumulator, Native};
        let requests = self.database.view().expect("a view").requests(0, 100).expect("reads");
        assert_eq!(requests.len() as u64, count);
        let mut acc = Accumulator::default();
        requests.iter().for_each(|request| acc.absorb::<Native>(request));
        let head = self.client.head().await.expect("a head");
        assert_eq!(self.client.acc_at(count, &head).await.expect("an accumulator").0, acc.0.0);
    }
}

#[tokio::test]
async fn a_request_that_became_another_while_nobody_looked_is_replaced() {
    let world = World::start().await;
    world.deposit(1).await;
    world.deposit(2).await;
    world.mine(1);
    assert_eq!(world.look().await, [None]);
    world.is_in_step(2).await;
    // The same number of blocks, in which the second deposit is another.
    world.take_back(2);
    world.deposit(3).await;
    world.mine(1);
    assert_eq!(world.look().await, [Some(1)]);
    world.is_in_step(2).await;
    assert_eq!(world.look().await, [], "nothing is new");
}

#[tokio::test]
async fn a_request_that_was_taken_back_while_nobody_looked_goes() {
    let world = World::start().await;
    world.deposit(1).await;
    world.deposit(2).await;
    assert_eq!(world.look().await, [None]);
    world.take_back(1);
    world.mine(3);
    assert_eq!(world.look().await, [Some(1)], "the first is what it was");
    world.is_in_step(1).await;
    world.take_back(4);
    world.mine(2);
    assert_eq!(world.look().await, [Some(0)], "L1 is shorter than it was");
    world.is_in_step(0).await;
}
