//! JSON-RPC for wallets, workers and everybody who checks them: `eth_`, `net_`, `web3_` and `joule_`, over HTTP and WebSocket on one port.
//!
//! * [`Node`] is all that the server needs of a running node; whoever runs one implements it.
//! * [`RpcError`] is every way to fail, with the code and the sentence a client sees.
//! * [`wire`] holds the types of `joule_`, [`bundle`] the offline check of a compute receipt. Both are there without the `server` feature,
//!   for wallets.
//!
//! A handler parses, takes one [`View`](joule_storage::View) of the database, calls a pure function and builds an answer. What Ethereum has and Joule has not
//! is answered as an Ethereum node would: storage is zero, tips are zero, uncles are none.

pub mod bundle;
pub mod wire;

#[cfg(feature = "server")]
mod call;
#[cfg(feature = "server")]
mod error;
#[cfg(feature = "server")]
mod eth;
#[cfg(feature = "server")]
mod evm;
#[cfg(feature = "server")]
mod filters;
#[cfg(feature = "server")]
mod joule;
#[cfg(feature = "server")]
mod lookup;
#[cfg(feature = "server")]
mod node;
#[cfg(feature = "server")]
mod server;
#[cfg(feature = "server")]
mod subscriptions;
#[cfg(feature = "server")]
mod views;

#[cfg(feature = "server")]
pub use error::{RpcError, code};
#[cfg(feature = "server")]
pub use node::{Node, NodeEvent, SubmitError};
#[cfg(feature = "server")]
pub use server::{Limits, ServeError, Server, serve};
