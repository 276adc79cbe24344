//! Joule's contracts on L1, as a node or a committee member sees them.
//!
//! * [`L1Client`] reads: one consistent [`RollupState`] at one block, events, posted data.
//! * [`Follower`] delivers events in order, each once, at a depth that the caller trusts, and says which of them a reorg took back.
//! * [`Outbox`] is the pure core of sending: every transaction is written down with its nonce before it is sent, is sent again until a
//!   block that no reorg will take away has it, and pays more when it waits too long. [`Operator`] is its edge to the network.
//! * [`posting`] cuts batch data into transactions that L1 takes, and reads such transactions.
//! * [`History`] reads L1 alone and finds every batch, request and byte of posted data: what an empty disk starts from.
//!
//! L1 is trusted to be what its consensus says. The one node that is asked is trusted with nothing that the contracts would not accept:
//! it can withhold and delay, and what it says of batches is checked again by whoever executes them.

mod client;
mod entry;
mod error;
mod event;
mod fees;
mod follow;
mod history;
mod operator;
mod outbox;
pub mod posting;
mod state;

pub use client::{BlockRef, Constants, Contracts, L1Client};
pub use entry::{Attempt, Entry, EntryError, TAG_BYTES_MAX};
pub use error::{Fault, L1Error, Refusal};
pub use event::{Committed, L1Event, Located};
pub use fees::{FeePolicy, Fees};
pub use follow::{FollowConfig, Followed, Follower, Window};
pub use history::{AvailableAt, BatchOnL1, History, HistoryError, ShownAvailability, StageOnL1};
pub use operator::{Gas, Operator, OperatorAlarm, OutboxStore, Pending, Report, SendError};
pub use outbox::{AccountView, Outbox, OutboxAction, OutboxPolicy};
pub use state::{PendingBatch, RollupState};
