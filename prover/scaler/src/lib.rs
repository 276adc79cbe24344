//! From no prover to many and back.

pub mod keda;
pub mod operations;

mod metrics;
mod scale;

pub use metrics::Metrics;
pub use scale::{Autoscaler, Event, Limits, LimitsError, Order, Share, Slot, Workers};
