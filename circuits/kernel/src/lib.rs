//! The kernel: the whole state transition of Joule.
//!
//! Everything a chain may do is in this crate, as plain `no_std` Rust without I/O, clock or randomness. The node and the committee run it
//! natively, the prover runs its RV32IM image on the machine, and a test holds the two equal on random streams.
//!
//! Read it from [`BlockExecutor`]: a block begins at a [`Checkpoint`](joule_protocol::Checkpoint), takes priority requests and then transactions, and
//! ends with a new root, a new checkpoint and its batch data. What a call does is a *plan* (`plan.rs`) that is made by reading alone and then
//! applied: an action that fails has changed nothing.
//!
//! Three ways to fail are kept apart: a [`Refusal`](joule_protocol::Refusal) keeps a transaction out of blocks, a
//! [`Rejection`](joule_protocol::Rejection) is a provable outcome, an [`Abort`] has no proof.
#![no_std]

extern crate alloc;

mod abort;
mod bridge;
mod channels;
mod crypto;
mod devices;
mod events;
mod executor;
mod jobs;
#[cfg(feature = "native")]
mod native;
mod openings;
mod plan;
mod priority;
mod segment;
mod transaction;
mod witness;

pub use abort::{Abort, NotExecuted};
pub use crypto::{Crypto, TreeUpdates, address_of, recover_address};
pub use events::{Event, Log, Sink};
pub use executor::{BlockExecutor, Environment, Executed, Outcome, SealedBlock};
#[cfg(feature = "native")]
pub use native::{SiblingPaths, sign};
pub use openings::{Closed, Openings, Slot};
pub use segment::{BlockInput, SegmentOutput, run_segment, write_input};
pub use witness::{BlockWitness, LeafWitness, SegmentWitness, WitnessedState};
