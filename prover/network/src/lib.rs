//! How machines share the proving of a batch.
//!
//! A **coordinator** has tasks (segments, merges, wraps) and no proving hardware; **provers** connect to it over libp2p, say what they can do, and take leases. The core is
//! [`Coordinator`], a state machine over [`Event`]s without clock, randomness or I/O; [`EventLog`] is its memory; [`ArtefactFolder`] holds inputs and results by
//! digest; [`serve()`] and [`work()`] put them on a network.
//!
//! Nobody is trusted. A result counts when it is verified against the statement that its task asks for; a wrong one costs its prover standing. A prover that falls
//! silent loses its task to the next, and its result still counts if it is the first. Accepted work is paid once: see [`ledger::Ledger`].
//!
//! | part | in memory | on the disk | how it recovers |
//! |---|---|---|---|
//! | coordinator | tasks, leases, standings, ledger | the log: a snapshot, and events since | replays the log, then asks again for whatever was under way |
//! | artefacts | nothing | a file each, partial ones beside them | transfers go on where they stopped; what no task needs is swept away |
//! | prover | its leases, a result on its way | inputs | claims anew: what it had leased lapses, and is done by the next |
//! | batch | what it waits for | what was offered for each step, and each accepted result | publishes what is missing; the coordinator answers what it has |

pub mod admission;
pub mod coordinator;
pub mod event;
pub mod ledger;
pub mod log;
pub mod message;
pub mod standing;
pub mod store;
pub mod task;
pub mod wire;

#[cfg(feature = "engine")]
mod batch;
mod client;
#[cfg(feature = "engine")]
mod engine;
mod handle;
mod keys;
mod process;
mod serve;
mod transport;
mod work;

pub use admission::{Admission, AdmissionError};
#[cfg(feature = "engine")]
pub use batch::{BatchError, NetworkProver, PlanError, PlannedSegment, Prices, Terms, plan};
pub use client::Client;
pub use coordinator::{Coordinator, Queue, Refused, Rules, Status, TaskCounts};
#[cfg(feature = "engine")]
pub use engine::{ByEngine, EngineLabour};
pub use event::{Action, Alarm, Entry, Event};
pub use handle::{CoordinatorHandle, Happening, Notice, ServeError, What};
pub use keys::{Identity, KeyError};
pub use ledger::Payout;
pub use libp2p::Multiaddr;
pub use log::{EventLog, Found, LogError};
pub use message::StandingReport;
pub use process::{ChildLabour, answer_parent};
pub use serve::{Judge, NotAccepted, ServeOptions, serve};
pub use standing::Standing;
pub use store::{ArtefactFolder, StoreError};
pub use task::{
    Ability, ArtefactId, Capabilities, CircuitsId, Lease, LeaseId, ProverId, Signed, Task, TaskId, TaskKind,
};
pub use work::{
    Activity, Labour, LabourError, Stop, WorkError, WorkOptions, WorkSummary, standing, time_of, work, work_watched,
};
