//! The database against the same chain in memory, killed, undone and snapshotted.

#[path = "suite/support.rs"]
mod support;

#[path = "suite/crash.rs"]
mod crash;
#[path = "suite/snapshot.rs"]
mod snapshot;
#[path = "suite/twin.rs"]
mod twin;
