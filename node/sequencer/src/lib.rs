//! The sequencer's core: mempool, ordering, sealing, batches. Pure: state and event in, actions out.
//!
//! * [`CheckedTransaction::check`] is all that can be said of a transaction without the state; any thread may do it.
//! * [`Pool`] holds what waits: by nonce within a sender, by arrival between senders, all of it affordable, nothing ever thrown out for room.
//! * [`Batcher`] closes batches by gas, bytes, blocks and age.
//! * [`Sequencer`] puts them together: whoever runs it tells it the time and what happened, and does what it says.
//!
//! No runtime, clock, randomness or I/O: a test replays it.

mod admission;
mod batches;
mod core;
mod pool;

pub use admission::CheckedTransaction;
pub use batches::{BatchLimits, Batcher, BlockSize, SealedBatch};
pub use core::{Action, Sequencer, SequencerConfig};
pub use pool::{Admitted, Dropped, Pool, PoolLimits, PoolRefusal};
