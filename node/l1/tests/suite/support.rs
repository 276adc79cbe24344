//! An L1 with the contracts on it, whose clock and blocks are the test's.

use alloy::{
    network::EthereumWallet,
    primitives::{Address, B256, Bytes, U256},
    providers::{DynProvider, Provider},
    signers::local::PrivateKeySigner,
};
use joule_contracts::{Addresses, Bridge, Deployment, Rollup, deploy};
use joule_l1::L1Client;
use joule_protocol::{Checkpoint, Digest, Native};
use joule_testnet_l1::{Mining, Orphans};
use joule_testnet_support::{TestL1, committee, signer, test_deployment, test_genesis};

pub(crate) use joule_testnet_support::{PROGRAM, START_S, address};

/// The accounts that deploy and operate, and that use the chain.
pub(crate) const OPERATOR: usize = 0;
pub(crate) const USER: usize = 1;

pub(crate) struct World {
    pub(crate) l1: TestL1,
    pub(crate) addresses: Addresses,
    pub(crate) client: L1Client,
    user: DynProvider,
}

pub(crate) fn wallet(index: usize) -> EthereumWallet {
    signer(index).into()
}

/// The first checkpoint. Nothing on L1 looks into the state root.
pub(crate) fn genesis() -> Checkpoint {
    test_genesis().checkpoint::<Native>(Digest::EMPTY)
}

fn deployment() -> Deployment {
    let signers = committee().iter().map(PrivateKeySigner::address).collect();
    test_deployment(&test_genesis(), genesis(), address(OPERATOR), address(OPERATOR), signers)
}

impl World {
    /// Contracts deployed; from then on blocks are made on request alone.
    pub(crate) async fn start() -> Self {
        let l1 = TestL1::start(START_S).await;
        let addresses = deploy(&l1.provider(OPERATOR), address(OPERATOR), &deployment()).await.expect("deploys");
        l1.chain().write(|chain, _| chain.set_mining(Mining::Manual)).expect("not poisoned").expect("manual");
        let client = L1Client::connect(&l1.url(), 31_337, addresses.rollup, addresses.block_number).await;
        let user = l1.provider(USER);
        Self { addresses, client: client.expect("connects"), user, l1 }
    }

    pub(crate) fn mine(&self, blocks: u64) {
        for _ in 0..blocks {
            self.l1.wait(12);
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
