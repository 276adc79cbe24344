#![doc = include_str!("README.md")]

pub mod columns;
mod constraints;
pub mod program;
#[cfg(test)]
mod tests;
pub mod trace;

pub use constraints::Keccak;
