//! From no prover to many and back.

pub mod keda;
mod scale;

pub use scale::{Autoscaler, Event, Limits, LimitsError, Order, Share, Slot, Workers};
