#![doc = include_str!("README.md")]

pub mod permutation;
pub mod sponge;
pub mod tree;
