//! An Ethereum L1 inside this process.
//!
//! [`Chain`] is the core: accounts, pool, blocks, reorgs and calls on revm, under Ethereum mainnet's current rules.
//! It is synchronous and deterministic; time is an argument. [`L1`] serves a chain over JSON-RPC as geth and anvil
//! do, so that the code which talks to it can talk to them by another URL.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use joule_testnet_l1::{ChainConfig, L1, ServerConfig};
//!
//! let l1 = L1::start(ChainConfig::development(), ServerConfig::default()).await?;
//! println!("listening on {}", l1.url());
//! l1.chain().write(|chain, now_s| chain.mine(now_s))??;
//! # Ok(()) }
//! ```
//!
//! What differs from Ethereum is listed in the folder's `README.md`.

mod block;
mod chain;
mod clock;
mod config;
mod error;
mod evm;
mod filters;
mod pool;
mod produce;
mod query;
mod rpc;
mod server;
mod simulate;
mod state;
mod transaction;

pub use block::{Block, Included};
pub use chain::{Chain, Orphans, SubmitError};
pub use config::{ChainConfig, ChainLimits, DEPLOYMENT_PROXY, DEVELOPMENT_ACCOUNTS, GenesisAccount, Mining};
pub use error::{CallError, ChainError, TransactionError};
pub use filters::FilterKind;
pub use server::{Clock, L1, Poisoned, ServerConfig, ServerError, ServerLimits, SharedChain};
pub use transaction::SignedTransaction;
