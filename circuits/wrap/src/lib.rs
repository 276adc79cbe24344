//! The wrap: a Groth16 proof on BN254 that a plonky2 proof verifies.
#![doc = include_str!("../README.md")]

mod circuit;
mod error;
mod fri;
#[cfg(test)]
mod gadget_tests;
mod gates;
mod goldilocks;
mod groth16;
mod hash;
mod inner;
mod keys;
mod plonk;
mod sha256;
mod solidity;
mod statement;
#[cfg(test)]
mod tests;
mod values;
mod wrap;

pub use error::WrapError;
pub use groth16::{WrapProof, verify};
pub use keys::{Contribution, KeyHeader, KeyOrigin, VerifyingKey, WrapKeys};
pub use solidity::solidity_verifier;
pub use values::InnerProof;
pub use wrap::{Assignment, ConstraintReport, WrapCircuit};

/// Version of the code that makes constraints. Whoever changes a constraint changes this number; the test `constraints_are_pinned` says
/// when.
pub const VERSION: u32 = 1;
