//! Deployment, and a payment's way in and out through the Rust types alone.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use alloy::{
    primitives::{Address, B256, U256},
    providers::{DynProvider, Provider},
    signers::SignerSync,
};
use joule_contracts::{
    Addresses, Availability, Bridge, DataCommittee, DeployError, Deployment, Escape, FixedTimelock, Probe, Rollup,
    VerifierRouter, deploy, ecdsa_keyset_hash, proof_bytes,
};
use joule_protocol as protocol;
use joule_protocol::{
    Account, Accumulator, Checkpoint, Digest, Hash, MessageTree, Native, PublicValues, withdrawal_leaf,
};

use super::support::{PROGRAM, START_S, Tree, World, committee, deployment, genesis, genesis_checkpoint, next_key};

struct Network {
    world: World,
    addresses: Addresses,
    rollup: Rollup::RollupInstance<DynProvider>,
    bridge: Bridge::BridgeInstance<DynProvider>,
    probe: Probe::ProbeInstance<DynProvider>,
}

impl Network {
    async fn start() -> Self {
        Self::on(World::start(31_337).await).await
    }

    async fn on(world: World) -> Self {
        let addresses = deploy(&world.provider, world.deployer, &deployment(&world)).await.expect("deploys");
        let rollup = Rollup::new(addresses.rollup, world.provider.clone());
        let bridge = Bridge::new(addresses.bridge, world.provider.clone());
        let probe = world.probe().await;
        Self { world, addresses, rollup, bridge, probe }
    }

    async fn deposit(&self, to: protocol::Address, amount: u128) {
        let fee = self.rollup.requestFee(1).call().await.expect("a fee");
        let call = self.bridge.deposit(Address::new(to.0), amount).value(U256::from(amount) + fee);
        assert!(call.send().await.expect("sends").get_receipt().await.expect("mined").status());
    }

    /// Settles a batch that consumes all requests, with a certificate of four of the five members.
    async fn settle(
        &self,
        parent: &Checkpoint,
        state_root: Digest,
        withdrawals: &[(u64, protocol::Address, u128)],
    ) -> Checkpoint {
        let mut next = *parent;
        let count = self.rollup.priorityCount().call().await.expect("a count");
        next.state_root = state_root;
        next.block_number += 1;
        next.timestamp = START_S;
        next.priority_count = count;
        next.priority_acc = Accumulator(Hash(self.rollup.accAt(count).call().await.expect("an accumulator").0));
        for (index, to, amount) in withdrawals {
            next.message_acc.absorb::<Native>(&withdrawal_leaf::<Native>(*index, to, *amount).0);
        }
        next.data_acc.absorb::<Native>(b"one block");
        let (from, to) = (parent.hash::<Native>(), next.hash::<Native>());
        let batch = Rollup::Batch {
            number: self.rollup.executedCount().call().await.expect("a count") + 1,
            parentCheckpoint: B256::new(from.0),
            checkpoint: (&next).into(),
            dataBytes: 9,
        };
        let expiry = START_S + 100_000;
        let keyset: Vec<_> = committee().iter().map(alloy::signers::local::PrivateKeySigner::address).collect();
        let statement = Probe::DataStatement {
            number: batch.number,
            parentCheckpoint: batch.parentCheckpoint,
            checkpoint: B256::new(to.0),
            revertCount: self.rollup.revertCount().call().await.expect("a count"),
            dataBytes: 9,
        };
        let digest = self
            .probe
            .certificateDigest(statement, self.addresses.rollup, expiry, ecdsa_keyset_hash(4, &keyset))
            .call()
            .await
            .expect("a digest");
        let signatures = committee()[1..]
            .iter()
            .map(|key| {
                let signature = key.sign_hash_sync(&digest).expect("signs");
                let parity = U256::from(u8::from(signature.v())) << 255;
                (B256::from(signature.r()), B256::from(signature.s() | parity))
            })
            .collect();
        let availability = Availability::Ecdsa { expiry, quorum: 4, keyset, signatures };
        let program = Digest::from_hash(Hash(PROGRAM.0)).expect("canonical");
        let values = PublicValues { program, chain_id: genesis().chain_id, from, to };
        let mut points = [U256::ZERO; 8];
        points[0] = U256::from_be_bytes(values.public_input().0);
        let list =
            withdrawals.iter().map(|(index, to, amount)| Rollup::Withdrawal::new(*index, *to, *amount)).collect();
        let call = self.rollup.settleBatch(batch, availability.encode(), proof_bytes(1, &points), list);
        let receipt = call.send().await.expect("sends").get_receipt().await.expect("mined");
        assert!(receipt.status());
        assert_eq!(self.rollup.executedCheckpoint().call().await.expect("a hash"), B256::new(to.0));
        next
    }
}

/// Anvil as a child process, ended with the test.
struct Anvil {
    process: Child,
    url: String,
}

impl Anvil {
    fn start(binary: &str) -> Self {
        let mut process = Command::new(binary)
            .args(["--port", "0", "--hardfork", "osaka", "--timestamp", &START_S.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .expect("anvil starts");
        let output = BufReader::new(process.stdout.take().expect("piped"));
        let listens = |line: String| line.strip_prefix("Listening on ").map(str::to_owned);
        let address = output.lines().map_while(Result::ok).find_map(listens).expect("anvil says where it listens");
        Self { process, url: format!("http://{address}") }
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone afterwards.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn contracts_find_each_other() {
    let network = Network::start().await;
    let at = network.addresses;
    let provider = &network.world.provider;
    assert_eq!(network.rollup.bridge().call().await.expect("reads"), at.bridge);
    assert_eq!(network.rollup.committee().call().await.expect("reads"), at.committee);
    assert_eq!(network.rollup.router().call().await.expect("reads"), at.router);
    assert_eq!(network.bridge.rollup().call().await.expect("reads"), at.rollup);
    assert_eq!(network.bridge.escape().call().await.expect("reads"), at.escape);
    let escape = Escape::new(at.escape, provider);
    assert_eq!(escape.bridge().call().await.expect("reads"), at.bridge);
    let router = VerifierRouter::new(at.router, provider);
    assert_eq!(router.verifiers(1).call().await.expect("reads").verifier, at.verifier);
    let keyset: Vec<_> = committee().iter().map(alloy::signers::local::PrivateKeySigner::address).collect();
    let current = DataCommittee::new(at.committee, provider).currentKeyset(1).call().await.expect("reads");
    assert_eq!(current, ecdsa_keyset_hash(4, &keyset));
    let genesis = genesis_checkpoint().hash::<Native>();
    assert_eq!(network.rollup.executedCheckpoint().call().await.expect("reads"), B256::new(genesis.0));
}

#[tokio::test]
async fn a_development_key_is_refused_off_local_chains() {
    let world = World::start(11_155_111).await;
    let config = deployment(&world);
    let refused = deploy(&world.provider, world.deployer, &config).await;
    assert!(matches!(refused, Err(DeployError::DevelopmentKey { chain_id: 11_155_111 })), "{refused:?}");
    // And by the contract, whoever deploys it.
    let timelock =
        joule_contracts::TimelockController::deploy(&world.provider, U256::ZERO, vec![], vec![], Address::ZERO)
            .await
            .expect("deploys");
    let verifier = joule_contracts::TestVerifier::deploy(&world.provider).await.expect("deploys");
    let refused = VerifierRouter::deploy(&world.provider, *timelock.address(), 0, 1, *verifier.address()).await;
    assert!(refused.is_err());
}

#[tokio::test]
async fn hasty_timelocks_short_certificates_and_short_delays_are_refused() {
    let world = World::start(31_337).await;
    let mut config = deployment(&world);
    config.governance.delay_s = 7_199;
    let refused = deploy(&world.provider, world.deployer, &config).await;
    assert!(matches!(refused, Err(DeployError::DelayTooShort { min_s: 7_200, got_s: 7_199 })), "{refused:?}");
    let mut config = deployment(&world);
    config.committee.remaining_min_s = 7_199;
    let refused = deploy(&world.provider, world.deployer, &config).await;
    assert!(matches!(refused, Err(DeployError::CertificateTooShort { min_s: 7_200, got_s: 7_199 })), "{refused:?}");
    let mut config = deployment(&world);
    config.committee.stake_lock_s = 7_199;
    let refused = deploy(&world.provider, world.deployer, &config).await;
    assert!(matches!(refused, Err(DeployError::StakeLockTooShort { min_s: 7_200, got_s: 7_199 })), "{refused:?}");
    for (grace_s, channel_close_s, expected) in [(4_260, 4_261, "grace"), (4_261, 4_260, "channel close")] {
        let config = Deployment { grace_s, channel_close_s, ..deployment(&world) };
        let refused = deploy(&world.provider, world.deployer, &config).await;
        assert!(
            matches!(refused, Err(DeployError::ForcedTooLate { delay, forced_s: 4_260, got_s: 4_260 }) if delay == expected),
            "{refused:?}"
        );
    }
    assert_eq!(world.provider.get_transaction_count(world.deployer).await.expect("a nonce"), 0, "nothing was sent");
}

#[tokio::test]
async fn nobody_changes_the_delay_of_a_deployed_timelock() {
    let network = Network::start().await;
    let timelock = FixedTimelock::new(network.addresses.governance, network.world.provider.clone());
    // Not even the timelock itself, as whom an executed proposal calls.
    let called = timelock.updateDelay(U256::ZERO).from(network.addresses.governance).call().await;
    let refused = called.map(drop).expect_err("the delay is fixed");
    let refused = refused.as_decoded_error::<FixedTimelock::FixedTimelock_DelayIsFixed>();
    assert_eq!(refused.map(|error| error.delay), Some(U256::from(7_200)));
}

#[tokio::test]
async fn money_goes_in_and_comes_out() {
    in_and_out(Network::start().await).await;
}

/// The same on anvil, by its URL alone.
///
/// `ANVIL=… cargo test -p joule-contracts -- --nocapture anvil`
#[tokio::test]
async fn money_goes_in_and_comes_out_on_anvil() {
    let Ok(binary) = std::env::var("ANVIL") else {
        println!("SKIPPED: set ANVIL to anvil's binary (npm package @foundry-rs/anvil) to deploy there");
        return;
    };
    let anvil = Anvil::start(&binary);
    in_and_out(Network::on(World::at(&anvil.url)).await).await;
    println!("deployed on anvil, deposited, settled and claimed");
}

async fn in_and_out(network: Network) {
    let recipients: Vec<_> = (1..4).map(|i| protocol::Address([i; 20])).collect();
    network.deposit(protocol::Address([0xaa; 20]), 1_000).await;
    let withdrawals: Vec<_> = recipients.iter().enumerate().map(|(i, to)| (i as u64, *to, 100)).collect();
    let root = genesis_checkpoint().state_root;
    network.settle(&genesis_checkpoint(), root, &withdrawals).await;

    let leaves = withdrawals.iter().map(|(index, to, amount)| withdrawal_leaf::<Native>(*index, to, *amount)).collect();
    let tree = MessageTree::new::<Native>(leaves);
    for (position, (index, to, amount)) in withdrawals.iter().enumerate() {
        let path = tree.path(position).expect("a leaf").into_iter().map(|hash| B256::new(hash.0)).collect();
        let claim = network.bridge.claim(1, Bridge::Withdrawal::new(*index, *to, *amount), U256::from(position), path);
        assert!(claim.send().await.expect("sends").get_receipt().await.expect("mined").status());
        let balance = network.world.provider.get_balance(Address::new(to.0)).await.expect("a balance");
        assert_eq!(balance, U256::from(100));
    }
    assert_eq!(network.bridge.locked().call().await.expect("reads"), U256::from(700));
}

#[tokio::test]
async fn everyone_leaves_a_frozen_chain() {
    let network = Network::start().await;
    let accounts: Vec<_> = (1..6)
        .map(|i| (protocol::Address([i; 20]), Account { nonce: i.into(), balance: u128::from(i) * 1_000 }))
        .collect();
    network.deposit(protocol::Address([0xaa; 20]), 15_000).await;
    let tree = Tree::with_accounts(&accounts);
    let executed = network.settle(&genesis_checkpoint(), tree.root(), &[]).await;

    network.deposit(protocol::Address([0xbb; 20]), 7).await;
    network.world.wait(3_700);
    let freeze = network.rollup.freeze().send().await.expect("sends").get_receipt().await.expect("mined");
    assert!(freeze.status());

    let escape = Escape::new(network.addresses.escape, network.world.provider.clone());
    let opened = escape.openEscape((&executed).into()).send().await.expect("sends").get_receipt().await.expect("mined");
    assert!(opened.status());
    for (i, (address, account)) in accounts.iter().enumerate() {
        let opening = Escape::Opening::new(i as u32 + 2, &next_key(&accounts, i), tree.siblings(i + 2));
        let call = escape.escapeAccount(Address::new(address.0), account.into(), opening);
        assert!(call.send().await.expect("sends").get_receipt().await.expect("mined").status());
        let balance = network.world.provider.get_balance(Address::new(address.0)).await.expect("a balance");
        assert_eq!(balance, U256::from(account.balance));
    }
    let queued = network.rollup.RequestQueued_filter().from_block(0).query().await.expect("logs");
    let (waiting, _) = queued.last().expect("the deposit that waits");
    let waiting = protocol::PriorityRequest::from(&waiting.request);
    let refund =
        escape.refundDeposit(1, (&waiting).into()).send().await.expect("sends").get_receipt().await.expect("mined");
    assert!(refund.status());
    assert_eq!(network.bridge.locked().call().await.expect("reads"), U256::ZERO);
}
