//! `joule-dac`: a member of the data availability committee.
//!
//! A member trusts the sequencer with nothing. It takes a batch that the sequencer key in `Rollup` signed (anyone's, once L1 says that the operator is
//! late), executes it natively from its own state, and signs only what it reached and stored itself: once for each (number, parent, count of drops). Its
//! signature states that it holds the batch's data and the full state at the new checkpoint.
//!
//! * [`rules`] are the decisions, without disk, clock or network.
//! * [`worker`] is the disk and the promises: executes, keeps, signs, follows L1, prunes.
//! * [`journal`] is what is kept beside blocks and batches, the promises among it.
//! * [`l1`] is what must be known of L1, and the watcher that finds it out.
//! * [`member`] is a running member, [`answers`] what it answers, [`api`] its HTTP interface (within the bounds of [`http`] and [`uploads`]), [`p2p`] the same over libp2p,
//!   [`sync`] how it keeps up, [`join`] how an empty disk becomes a member's.
//! * [`watch`] probes the members from outside, and [`records`] keeps what it finds.

pub mod answers;
pub mod api;
pub mod bench;
pub mod config;
pub mod http;
pub mod join;
pub mod journal;
pub mod keys;
pub mod member;
pub mod metrics;
pub mod p2p;
pub mod peers;
pub mod records;
pub mod rules;
pub mod snapshot;
pub mod sync;
pub mod uploads;
pub mod watch;
pub mod worker;

pub use joule_follow::l1;
