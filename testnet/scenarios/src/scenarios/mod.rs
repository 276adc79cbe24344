//! The scenarios.

mod escape;
mod fallback;
mod node;
mod payments;
mod reorg;
mod restart;

pub(crate) use escape::{escape, prover, refund};
pub(crate) use fallback::fallback;
pub(crate) use node::node;
pub(crate) use reorg::reorg;
pub(crate) use restart::restart;
