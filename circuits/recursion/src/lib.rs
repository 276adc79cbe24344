//! Circuits that verify proofs: from the proof about a segment's tables to one small proof about a batch.
//!
//! ```text
//! table proof (Plonky3) -> segment -> lift -> merge, merge, … -> shrink -> last -> (wrap, another crate)
//! ```
//! * [`shape`] fixes what a table proof looks like, taken from the AIR types; [`verifier`] is the circuit that verifies it.
//! * [`native`] makes the circuit's witness from Plonky3's proof.
//! * [`segment`], [`aggregate`] and [`shrink`] are the layers; [`profile`] has their parameters and [`security`] what
//!   they are worth; [`cache`] keeps built circuits.
//! * [`gates`] are the custom gates, [`cubic`] and [`hashing`] what circuits do with them.
//!
//! The soundness argument is in the crate's README, which the book includes.

pub mod aggregate;
pub mod bn254;
pub mod cache;
pub mod circuit;
pub mod constraints;
pub mod cubic;
pub mod field;
pub mod fingerprint;
mod fri;
pub mod gates;
pub mod hashing;
pub mod native;
pub mod parameters;
pub mod profile;
pub mod program;
pub mod proof;
pub mod report;
pub mod security;
pub mod segment;
pub mod shape;
pub mod shrink;
pub mod statement;
pub mod verifier;

#[cfg(test)]
mod chain_tests;
#[cfg(test)]
mod satisfaction;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod verifier_tests;
