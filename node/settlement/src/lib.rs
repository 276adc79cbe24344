//! What L1 must see of the chain.
//!
//! A sealed batch's data is certified by the committee, or posted on L1 where no quorum can be had; its header is committed, its proof shown,
//! and it is executed. [`Settlement`] is the pure core that decides: events in, actions out, no clock, no network, no disk.
//! [`Driver`] is its edge.
//!
//! The core is driven by levels, not by edges: at each turn it is shown L1's whole state at one block ([`View`]) together with the transactions
//! that are still under way, compares it with the batches that are sealed, and asks for whatever is missing. So a reorg is no special case; it is
//! a state that shows less. So a restart needs only what was sealed, certified and proven, and the outbox; and even without those L1 says
//! where to go on.
//!
//! What it keeps, whatever happens:
//!
//! * For one number and one revert count it never sends two different batches.
//! * A certificate is never sent that L1 would find expired, or made out for another revert count or keyset.
//! * Once the committee has failed, data goes to L1 until the committee has been well for a set time, over restarts.
//! * Nothing is sent while the same is still under way.

mod decide;
mod driver;
mod policy;
mod purpose;
mod sources;
mod store;

#[cfg(test)]
mod simulation;

pub use decide::{
    Action, Alarm, Cause, CertificateHead, DropRefused, Event, InFlight, Mode, Recovered, Sealed, Settlement, View,
};
pub use driver::{Driver, DriverConfig, DriverError, Handle, Notice, Standing};
pub use policy::Policy;
pub use purpose::{Purpose, PurposeError};
pub use sources::{NotCertified, NotProven, Offer, ProofRequest, ProofSource, Publisher};
pub use store::{SettlementStore, SettlementStoreError};
