//! Secrets of networks that hold nothing of value.

use alloy::primitives::{B256, keccak256};

/// A secret that a label, a seed and a number name: whoever knows these three knows it.
pub fn derived(label: &str, seed: u64, index: u64) -> B256 {
    let mut bytes = b"joule testnet ".to_vec();
    bytes.extend_from_slice(label.as_bytes());
    bytes.extend_from_slice(&seed.to_be_bytes());
    bytes.extend_from_slice(&index.to_be_bytes());
    keccak256(bytes)
}
