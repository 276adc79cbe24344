//! What one chain is configured with, and its limits.

use crate::error::ChainError;
use alloy::primitives::{Address, B256, Bytes, U256, address, b256, bytes};

/// When blocks are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mining {
    /// A block for every transaction that can run, at once.
    Automatic,
    /// A block every so many seconds, with or without transactions. The core has no clock: the server keeps the beat.
    Interval {
        /// Seconds between blocks; at least 1.
        seconds: u64,
    },
    /// Blocks on request only.
    Manual,
}

/// One account of the genesis block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenesisAccount {
    /// Its address.
    pub address: Address,
    /// Its balance, in wei.
    pub balance: U256,
    /// Its code; empty for an ordinary account.
    pub code: Bytes,
}

/// Everything a [`Chain`](crate::Chain) is made from. The same configuration, calls and times make the same chain.
#[derive(Debug, Clone)]
pub struct ChainConfig {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// The genesis block's timestamp, in seconds; the time given to [`Chain::new`](crate::Chain::new) if absent.
    pub genesis_timestamp_s: Option<u64>,
    /// Accounts of the genesis block.
    pub accounts: Vec<GenesisAccount>,
    /// When blocks are made.
    pub mining: Mining,
    /// The constant gas limit of every block.
    pub block_gas_max: u64,
    /// The genesis block's base fee, in wei per gas.
    pub base_fee_initial: u64,
    /// The tip that the chain suggests, in wei per gas.
    pub suggested_tip: u128,
    /// Who is paid the tips.
    pub coinbase: Address,
    /// `safe` is so many blocks behind `latest`.
    pub safe_depth: u64,
    /// `finalized` is so many blocks behind `latest`.
    pub finalized_depth: u64,
    /// What is bounded.
    pub limits: ChainLimits,
}

/// Bounds on what a chain keeps and does for strangers. Blocks and their states are kept forever: a chain grows.
#[derive(Debug, Clone)]
pub struct ChainLimits {
    /// Transactions in the pool.
    pub pool_transactions_max: usize,
    /// Bytes of encoded transactions in the pool.
    pub pool_bytes_max: usize,
    /// Pooled transactions of one sender.
    pub pool_sender_transactions_max: usize,
    /// Bytes of one encoded transaction: what Ethereum's network relays.
    pub transaction_bytes_max: usize,
    /// Depth of a reorg.
    pub reorg_depth_max: u64,
    /// Blocks that one request may mine.
    pub mine_blocks_max: u64,
    /// Snapshots kept; the oldest makes room.
    pub snapshots_max: usize,
    /// Filters kept; the one polled longest ago makes room.
    pub filters_max: usize,
    /// Chain events kept for filters; a filter further behind is gone.
    pub filter_events_max: usize,
    /// Blocks in one log query.
    pub log_blocks_max: u64,
    /// Logs in one answer.
    pub logs_max: usize,
    /// Blocks in one fee history.
    pub fee_history_blocks_max: u64,
}

impl Default for ChainLimits {
    fn default() -> Self {
        Self {
            pool_transactions_max: 4096,
            pool_bytes_max: 64 << 20,
            pool_sender_transactions_max: 256,
            transaction_bytes_max: 128 << 10,
            reorg_depth_max: 256,
            mine_blocks_max: 10_000,
            snapshots_max: 64,
            filters_max: 1024,
            filter_events_max: 16_384,
            log_blocks_max: 10_000,
            logs_max: 10_000,
            fee_history_blocks_max: 1024,
        }
    }
}

impl ChainConfig {
    /// The chain that anvil makes without arguments, as far as clients can tell: chain id 31337, the ten
    /// well-known development accounts with 10,000 ether each, the deterministic deployment proxy.
    #[must_use]
    pub fn development() -> Self {
        let ether = U256::from(10_u64).pow(U256::from(18));
        let mut accounts: Vec<_> = DEVELOPMENT_ACCOUNTS
            .iter()
            .map(|(address, _)| GenesisAccount {
                address: *address,
                balance: U256::from(10_000) * ether,
                code: Bytes::new(),
            })
            .collect();
        accounts.push(GenesisAccount { address: DEPLOYMENT_PROXY, balance: U256::ZERO, code: DEPLOYMENT_PROXY_CODE });
        Self {
            chain_id: 31_337,
            genesis_timestamp_s: None,
            accounts,
            mining: Mining::Automatic,
            block_gas_max: 60_000_000,
            base_fee_initial: 1_000_000_000,
            suggested_tip: 1_000_000_000,
            coinbase: Address::ZERO,
            safe_depth: 32,
            finalized_depth: 64,
            limits: ChainLimits::default(),
        }
    }

    pub(crate) fn check(&self) -> Result<(), ChainError> {
        if self.chain_id == 0 {
            return Err(ChainError::Configuration("chain_id must not be zero"));
        }
        if self.block_gas_max < 21_000 {
            return Err(ChainError::Configuration("block_gas_max is below the cost of any transaction"));
        }
        if self.safe_depth > self.finalized_depth {
            return Err(ChainError::Configuration("finalized_depth is below safe_depth: finalized blocks are safe"));
        }
        if matches!(self.mining, Mining::Interval { seconds: 0 }) {
            return Err(ChainError::Configuration("the mining interval must be at least one second"));
        }
        Ok(())
    }
}

/// Where the deterministic deployment proxy lives on every chain that has it, this one included.
pub const DEPLOYMENT_PROXY: Address = address!("4e59b44847b379578588920ca78fbf26c0b4956c");

/// The proxy's code: `create2(calldata[0..32], calldata[32..])`.
const DEPLOYMENT_PROXY_CODE: Bytes = bytes!(
    "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe03601600081602082378035828234f58015156039578182fd5b8082525050506014600cf3"
);

/// Addresses and private keys that every Ethereum development chain funds (the mnemonic `test … junk`). The keys
/// are public: nothing of value may ever be held by them.
pub const DEVELOPMENT_ACCOUNTS: [(Address, B256); 10] = [
    (
        address!("f39fd6e51aad88f6f4ce6ab8827279cfffb92266"),
        b256!("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"),
    ),
    (
        address!("70997970c51812dc3a010c7d01b50e0d17dc79c8"),
        b256!("59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d"),
    ),
    (
        address!("3c44cdddb6a900fa2b585dd299e03d12fa4293bc"),
        b256!("5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a"),
    ),
    (
        address!("90f79bf6eb2c4f870365e785982e1f101e93b906"),
        b256!("7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6"),
    ),
    (
        address!("15d34aaf54267db7d7c367839aaf71a00a2c6a65"),
        b256!("47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a"),
    ),
    (
        address!("9965507d1a55bcc2695c58ba16fb37d819b0a4dc"),
        b256!("8b3a350cf5c34c9194ca85829a2df0ec3153be0318b5e2d3348e872092edffba"),
    ),
    (
        address!("976ea74026e726554db657fa54763abd0c3a0aa9"),
        b256!("92db14e403b83dfe3df233f83dfa3a0d7096f21ca9b0d6d6b8d88b2b4ec1564e"),
    ),
    (
        address!("14dc79964da2c08b23698b3d3cc7ca32193d9955"),
        b256!("4bbbf85ce3377467afe5d46f804f221813b2bb87f24d81f60f1fcdbf7cbf4356"),
    ),
    (
        address!("23618e81e3f5cdf7f54c3d65f7fbc0abf5b21e8f"),
        b256!("dbda1821b80551c9d65939329250298aa3472ba22feea921c0cf5d620ea67b97"),
    ),
    (
        address!("a0ee7a142d267c1f36714e4a8f75612f20a79720"),
        b256!("2a871d0798f97d79848a013d4936a73bf4cc922c825d33c1cf7073dff6d409c6"),
    ),
];
