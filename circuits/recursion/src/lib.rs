//! Circuits that verify proofs.
pub mod bn254;
pub mod cubic;
pub mod field;
pub mod gates;
