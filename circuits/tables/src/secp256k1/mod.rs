#![doc = include_str!("README.md")]

pub mod arithmetic;
pub mod columns;
pub mod constants;
mod constraints;
#[cfg(test)]
mod forgeries;
pub mod program;
#[cfg(test)]
pub(crate) mod tests;
pub mod trace;

pub use constraints::Curve;
