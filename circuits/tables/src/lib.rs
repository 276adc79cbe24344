//! The tables: what is proven about a run of the machine.
//!
//! Each table is an AIR over Goldilocks in a folder of its own, with its columns, constraints, trace and the argument why the constraints
//! hold what the table claims. Tables speak to each other over the buses of [`buses`]. [`check`] evaluates them on plain traces;
//! the tests forge traces and want each forgery caught.

pub mod bitwise;
pub mod builder;
pub mod buses;
pub mod bytes;
pub mod check;
mod columns;
pub mod config;
pub mod cpu;
#[cfg(test)]
mod forge;
pub mod image;
pub mod inventory;
pub mod keccak;
pub mod memory;
pub mod narrow;
pub mod opening;
pub mod operations;
pub mod output;
pub mod poseidon2;
pub mod product;
pub mod program;
pub mod proof;
pub mod prove;
pub mod quotient;
pub mod rows;
pub mod secp256k1;
pub mod security;
pub mod shape;
pub mod table;
#[cfg(test)]
mod tests;
pub mod trace;
pub mod transfer;
pub mod verify;
#[cfg(test)]
mod verify_tests;
pub mod witness;

/// The field that traces are over: p = 2^64 − 2^32 + 1. A 32-bit word is one element, and the product of two words is below p.
pub type Felt = p3_goldilocks::Goldilocks;
