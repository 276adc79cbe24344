#![doc = include_str!("README.md")]

pub mod columns;
pub mod constraints;
pub mod decode;
#[cfg(test)]
mod tests;
pub mod trace;

pub use constraints::{Image, ImageTooLarge};
