//! What the operator runs beside the sequencer, so that what was sealed becomes final on L1.
//!
//! * [`CommitteePublisher`] offers a batch to the committee's members and brings their certificate.
//! * [`segments_of`] makes a batch ready to prove: its blocks executed again with hints, cut into segments that fit a shape. [`LocalProofs`] proves them in this process, and
//!   keeps each step's result, so that a node that was killed goes on where it was; [`NetworkProofs`] has it proved by whoever joins its coordinator.
//! * [`Payouts`] pays provers on L2 what the coordinator's ledger owes them, in batches that others open.
//! * [`Operations`] drives [`joule_settlement`] with both, from the node's database, until it is told to stop.
//!
//! Nothing here is trusted. A wrong hint has no proof, a wrong proof or certificate is refused by L1, and whatever is lost here is found again in the
//! database and on L1.

mod artefacts;
mod committee;
mod local;
mod operations;
pub mod payout;
mod provers;
mod segments;

pub use committee::{CommitteePublisher, Keysets};
pub use local::LocalProofs;
pub use operations::{Operations, OperationsError, OperationsSetup};
pub use payout::{Payouts, PayoutsError, PayoutsSetup, Submit};
pub use provers::{NetworkProofs, NetworkProofsConfig, NetworkProofsError, RunningCoordinator};
pub use segments::{SegmentsError, segments_of};
