//! The tables: what is proven about a run of the machine.
//!
//! Each table is an AIR over Goldilocks in a folder of its own, with its columns, constraints, trace and the argument why the constraints
//! hold what the table claims. Tables speak to each other over the buses of [`buses`]. [`check`] evaluates them on plain traces;
//! the tests forge traces and want each forgery caught.

pub mod builder;
pub mod buses;
pub mod check;
mod columns;
#[cfg(test)]
mod forge;
pub mod poseidon2;
pub mod transfer;

/// The field that traces are over: p = 2^64 − 2^32 + 1. A 32-bit word is one element, and the product of two words is below p.
pub type Felt = p3_goldilocks::Goldilocks;
