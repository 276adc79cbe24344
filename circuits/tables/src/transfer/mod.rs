#![doc = include_str!("README.md")]

pub mod columns;
mod constraints;
#[cfg(test)]
mod runs;
#[cfg(test)]
mod tests;
pub mod trace;

pub use constraints::Transfer;
