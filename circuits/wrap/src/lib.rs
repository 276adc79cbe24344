//! The wrap: a Groth16 proof on BN254 that a plonky2 proof verifies.
#![doc = include_str!("../README.md")]

mod circuit;
mod error;
mod fri;
mod gates;
mod goldilocks;
mod hash;
mod inner;
mod plonk;
mod sha256;
mod statement;
mod values;
mod wrap;

pub use error::WrapError;
pub use statement::{PUBLIC_INPUTS, Statement};
pub use values::InnerProof;
pub use wrap::{Assignment, ConstraintReport, WrapCircuit};
