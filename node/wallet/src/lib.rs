//! The wallet: what the `joule` command does, as a library.
//!
//! Keys come from a file or a keystore, never from the command line. L2 is asked over plain JSON-RPC, L1 through alloy. Everything a node says that money depends on
//! is checked here, or refused: proofs by recomputing them, contract addresses against a network file if one is given.

mod amount;
mod arguments;
mod commands;
mod error;
mod keys;
mod l1;
mod l2;
mod report;
mod statements;

pub use amount::Amount;
pub use arguments::{Arguments, Command};
pub use commands::run;
pub use error::WalletError;
pub use report::Report;
pub use statements::{SignedClose, SignedReceipt, SignedVoucher};
