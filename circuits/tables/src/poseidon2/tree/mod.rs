#![doc = include_str!("README.md")]

pub mod columns;
mod constraints;
#[cfg(test)]
pub(crate) mod tests;
pub mod trace;

pub use constraints::Tree;
