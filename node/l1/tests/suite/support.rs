//! An L1 with the contracts on it, whose clock and blocks are the test's.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use alloy::{
    network::EthereumWallet,
    primitives::{Address, B256, Bytes, U256},
    providers::{DynProvider, Provider, ProviderBuilder},
    signers::local::PrivateKeySigner,
};
use joule_contracts::{
    Addresses, Bridge, CommitteeSetup, Deployment, GovernanceSetup, Rollup, TestVerifier, VerifierSetup, deploy,
};
use joule_l1::L1Client;
use joule_protocol::{Checkpoint, Digest, Genesis, Hash, Native};
use joule_testnet_l1::{ChainConfig, DEVELOPMENT_ACCOUNTS, L1, Mining, Orphans, ServerConfig};

pub(crate) const START_S: u64 = 1_800_000_000;
pub(crate) const PROGRAM: B256 = B256::with_last_byte(9);
/// The accounts that deploy and operate, and that use the chain.
pub(crate) const OPERATOR: usize = 0;
pub(crate) const USER: usize = 1;

pub(crate) struct World {
    pub(crate) l1: L1,
    clock_s: Arc<AtomicU64>,
    pub(crate) addresses: Addresses,
    pub(crate) client: L1Client,
    user: DynProvider,
}

fn signer(index: usize) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&DEVELOPMENT_ACCOUNTS[index].1).expect("a key")
}

pub(crate) fn wallet(index: usize) -> EthereumWallet {
    signer(index).into()
}

pub(crate) fn address(index: usize) -> Address {
    DEVELOPMENT_ACCOUNTS[index].0
}

/// The first checkpoint. Nothing on L1 looks into the state root.
pub(crate) fn genesis() -> Checkpoint {
    let genesis = Genesis {
        chain_id: 77_001,
        l1_chain_id: 31_337,
        base_token: joule_protocol::Address::ZERO,
        fee_recipient: joule_protocol::Address([7; 20]),
        base_fee_max: 1_000_000_000,
        grace_seconds: 8 * 86_400,
        channel_close_seconds: 8 * 86_400,
        timestamp: START_S,
        salt: Hash::ZERO,
    };
    genesis.checkpoint::<Native>(Digest::EMPTY)
}

fn deployment() -> Deployment {
    let deployer = address(OPERATOR);
    let mut signers: Vec<_> = (2..7).map(address).collect();
    signers.sort();
    Deployment {
        l2_chain_id: 77_001,
        genesis: genesis(),
        genesis_id: B256::ZERO,
        program: PROGRAM,
        base_token: Address::ZERO,
        operator: deployer,
        sequencer: deployer,
        governance: GovernanceSetup { delay_s: 7_200, proposers: vec![deployer], executors: vec![Address::ZERO] },
        committee: CommitteeSetup {
            signers,
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
        grace_s: 8 * 86_400,
        channel_close_s: 8 * 86_400,
    }
}

impl World {
    /// Contracts deployed; from then on blocks are made on request alone.
    pub(crate) async fn start() -> Self {
        let clock_s = Arc::new(AtomicU64::new(START_S));
        let read = clock_s.clone();
        let server = ServerConfig { clock: Arc::new(move || read.load(Ordering::SeqCst)), ..ServerConfig::default() };
        let l1 = L1::start(ChainConfig::development(), server).await.expect("the L1 starts");
        let provider = |index| {
            let provider = ProviderBuilder::new().wallet(wallet(index)).connect_http(l1.url().parse().expect("a URL"));
            provider.client().set_poll_interval(std::time::Duration::from_millis(5));
            provider.erased()
        };
        let addresses = deploy(&provider(OPERATOR), address(OPERATOR), &deployment()).await.expect("deploys");
        l1.chain().write(|chain, _| chain.set_mining(Mining::Manual)).expect("not poisoned").expect("manual");
        let client = L1Client::connect(&l1.url(), 31_337, addresses.rollup, addresses.block_number).await;
        let user = provider(USER);
        Self { clock_s, addresses, client: client.expect("connects"), user, l1 }
    }

    pub(crate) fn mine(&self, blocks: u64) {
        for _ in 0..blocks {
            self.clock_s.fetch_add(12, Ordering::SeqCst);
            self.l1.chain().write(|chain, now_s| chain.mine(now_s)).expect("not poisoned").expect("a block");
        }
    }

    pub(crate) fn reorganise(&self, depth: u64, orphans: Orphans) {
        self.l1.chain().write(|chain, _| chain.reorg(depth, orphans)).expect("not poisoned").expect("a reorg");
    }

    /// A deposit in the pool; the next block has it.
    pub(crate) async fn deposit(&self, to: u8, amount: u128) {
        let rollup = Rollup::new(self.addresses.rollup, &self.user);
        let fee = rollup.requestFee(1).call().await.expect("a fee");
        let bridge = Bridge::new(self.addresses.bridge, &self.user);
        // The fee rises with what waits in the pool; what is too much comes back.
        let call = bridge.deposit(Address::repeat_byte(to), amount).value(U256::from(amount) + fee * U256::from(2));
        let nonce = self.user.get_transaction_count(address(USER)).pending().await.expect("a nonce");
        // All that alloy would ask for is given: it caches nonces through reorgs.
        let call = call.nonce(nonce).gas(500_000).max_fee_per_gas(100_000_000_000).max_priority_fee_per_gas(1);
        drop(call.send().await.expect("sends"));
    }

    /// A transaction of the user to the rollup, mined at once.
    pub(crate) async fn call_rollup(&self, input: Bytes) -> B256 {
        let nonce = self.user.get_transaction_count(address(USER)).pending().await.expect("a nonce");
        let request = alloy::rpc::types::TransactionRequest {
            to: Some(self.addresses.rollup.into()),
            input: input.into(),
            nonce: Some(nonce),
            gas: Some(5_000_000),
            max_fee_per_gas: Some(100_000_000_000),
            max_priority_fee_per_gas: Some(1),
            ..Default::default()
        };
        let sent = *self.user.send_transaction(request).await.expect("sends").tx_hash();
        self.mine(1);
        let receipt = self.user.get_transaction_receipt(sent).await.expect("an answer").expect("mined");
        assert!(receipt.status(), "the call reverted");
        sent
    }
}
