//! Circuits that verify proofs.
pub mod cubic;
pub mod field;
pub mod gates;
