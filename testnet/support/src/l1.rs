//! An L1 with the clock in the test's hands.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use alloy::{
    network::EthereumWallet,
    primitives::Address,
    providers::{DynProvider, Provider, ProviderBuilder},
    signers::local::PrivateKeySigner,
};
use joule_testnet_l1::{ChainConfig, DEVELOPMENT_ACCOUNTS, L1, ServerConfig, SharedChain};

/// Where clocks begin that nobody sets otherwise, unix seconds.
pub const START_S: u64 = 1_800_000_000;

/// Between two looks for a receipt: blocks come at once.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The key of a development account.
///
/// # Panics
/// There is no such account.
pub fn signer(index: usize) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&DEVELOPMENT_ACCOUNTS[index].1).expect("a development account has a key")
}

/// A development account.
///
/// # Panics
/// There is no such account.
pub fn address(index: usize) -> Address {
    DEVELOPMENT_ACCOUNTS[index].0
}

/// The keys of a committee of five, by rising address as L1 wants its signers.
pub fn committee() -> Vec<PrivateKeySigner> {
    let mut keys: Vec<_> = (1..6).map(signer).collect();
    keys.sort_by_key(PrivateKeySigner::address);
    keys
}

/// Sends over `url` in the name of whoever the wallet has keys of.
///
/// # Panics
/// That is no URL.
pub fn provider(url: &str, wallet: impl Into<EthereumWallet>) -> DynProvider {
    let provider = ProviderBuilder::new().wallet(wallet.into()).connect_http(url.parse().expect("a URL"));
    provider.client().set_poll_interval(LOOK_EVERY);
    provider.erased()
}

/// An L1 whose time passes when it is told to. Dropping it ends it.
#[derive(Debug)]
pub struct TestL1 {
    l1: L1,
    clock_s: Arc<AtomicU64>,
}

impl TestL1 {
    /// With development accounts, at this time.
    ///
    /// # Panics
    /// There is no port.
    pub async fn start(start_s: u64) -> Self {
        Self::of(ChainConfig::development(), start_s).await
    }

    /// As configured, at this time.
    ///
    /// # Panics
    /// There is no port.
    pub async fn of(config: ChainConfig, start_s: u64) -> Self {
        let clock_s = Arc::new(AtomicU64::new(start_s));
        let read = clock_s.clone();
        let server = ServerConfig { clock: Arc::new(move || read.load(Ordering::SeqCst)), ..ServerConfig::default() };
        Self { l1: L1::start(config, server).await.expect("the L1 starts"), clock_s }
    }

    /// The chain itself.
    pub fn chain(&self) -> &SharedChain {
        self.l1.chain()
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        self.l1.url()
    }

    /// Sends in the name of a development account.
    pub fn provider(&self, index: usize) -> DynProvider {
        provider(&self.url(), signer(index))
    }

    /// The clock itself, for whoever must read it elsewhere.
    pub fn clock_s(&self) -> Arc<AtomicU64> {
        self.clock_s.clone()
    }

    /// What time it is.
    pub fn now_s(&self) -> u64 {
        self.clock_s.load(Ordering::SeqCst)
    }

    /// Time passes; the next block has it.
    pub fn wait(&self, by_s: u64) {
        self.clock_s.fetch_add(by_s, Ordering::SeqCst);
    }
}
