//! Circuits that verify proofs.
pub mod constraints;
pub mod cubic;
pub mod field;
mod fri;
pub mod gates;
pub mod hashing;
pub mod native;
pub mod parameters;
pub mod proof;
pub mod shape;
pub mod verifier;

#[cfg(test)]
mod satisfaction;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod verifier_tests;
