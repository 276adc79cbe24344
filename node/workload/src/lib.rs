//! Seeded streams of signed transactions and priority requests, for tests, traces and benches.
//!
//! A [`Population`] holds keys: wallets, and devices that wallets own. [`payments`] makes the mix that benches measure, all of
//! it accepted; [`Chaos`] makes everything, right and wrong, at random; [`Extreme`] makes blocks that cost as much to prove as their limits allow. The same seed gives the same bytes.

mod chain;
mod chaos;
mod extremes;
mod payments;
mod population;

pub use chain::{Chain, ExecutedBlock, GENESIS_SECONDS};
pub use chaos::{Chaos, Item};
pub use extremes::{Extreme, ExtremeBlocks, Offer};
pub use payments::{Payments, payments};
pub use population::{Key, Population, sign_call};
