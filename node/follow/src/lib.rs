//! Following the chain without trusting whoever serves it.
//!
//! * [`l1`] is L1 as it stands: the view that members of the committee and full nodes decide by, and the watcher that makes it.
//! * [`execute()`] takes an offer's blocks: every one is executed and kept, and they must lead where the offer says.
//! * [`SignedBlock`] is a block as the sequencer gossips it. [`Chain`] is a follower's disk: it executes such blocks and compares what they lead to with what
//!   was signed, keeps batches in step with L1, and halts rather than follow a wrong root.
//! * [`rebuild()`] and [`from_data`] make the state after the last executed batch from data alone.
//!
//! Whoever executes here trusts L1's contracts and its own kernel, and nobody else.

pub mod l1;

mod chain;
mod execute;
mod rebuild;
mod signed;

pub use chain::{Applied, Chain, ChainError, Change, Halt, Hold, Need, TakeError};
pub use execute::{ExecuteError, execute};
pub use rebuild::{RebuildError, beside, chunks_of, executed_batches, from_data, genesis_checkpoint, rebuild};
pub use signed::{BlockRefused, SignedBlock};
