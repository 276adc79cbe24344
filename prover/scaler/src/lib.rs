//! From no prover to many and back: whoever has hardware gives it when there is work, and pays nothing when there is none.
//!
//! * [`Autoscaler`] is the core: demand and workers in, orders out, no clock and no processes. [`supervise`] gives it real workers (`joule-prover serve --autoscale`), and
//!   [`watch_demand`] asks the coordinator what there is to do.
//! * [`keda`] answers KEDA for clusters, whose elasticity is Kubernetes' and not ours.
//! * [`Metrics`] and [`operations`] say how a coordinator stands.
//!
//! Nothing here is trusted with money or proofs. The worst that a wrong number does is to start a worker too many, or one too late.

pub mod keda;
pub mod operations;
pub mod report;

mod metrics;
mod scale;
mod supervisor;

pub use metrics::Metrics;
pub use scale::{Autoscaler, Event, Limits, LimitsError, Order, Share, Slot, Workers};
pub use supervisor::{Demand, Running, Summary, demand_of, supervise, watch_demand};
