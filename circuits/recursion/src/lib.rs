//! Circuits that verify proofs.
pub mod aggregate;
pub mod bn254;
pub mod circuit;
pub mod constraints;
pub mod cubic;
pub mod field;
mod fri;
pub mod gates;
pub mod hashing;
pub mod native;
pub mod parameters;
pub mod profile;
pub mod program;
pub mod proof;
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
