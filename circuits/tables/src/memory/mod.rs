#![doc = include_str!("README.md")]

pub mod columns;
pub mod constraints;
#[cfg(test)]
mod tests;
pub mod trace;

pub use constraints::Memory;
