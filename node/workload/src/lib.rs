//! Seeded streams of signed transactions and priority requests, for tests, traces and benches.
//!
//! A [`Population`] holds keys: wallets, and devices that wallets own. [`payments`] makes the mix that benches measure, all of
//! it accepted; [`Chaos`] makes everything, right and wrong, at random. The same seed gives the same bytes.

mod chain;
mod chaos;
mod payments;
mod population;

pub use chain::{Chain, ExecutedBlock, GENESIS_SECONDS};
pub use chaos::{Chaos, Item};
pub use payments::{Payments, payments};
pub use population::{Key, Population, sign_call};
