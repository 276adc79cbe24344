//! Ethereum's bloom filter over a block's logs.

use joule_kernel::Log;
use joule_protocol::{Hashing, Native};

/// 2,048 bits, three of which each address and topic sets: M3:2048 of the Yellow Paper.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Bloom(pub [u8; 256]);

impl Default for Bloom {
    fn default() -> Self {
        Self([0; 256])
    }
}

impl std::fmt::Debug for Bloom {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Bloom({} bits)", self.0.iter().map(|byte| byte.count_ones()).sum::<u32>())
    }
}

impl Bloom {
    /// The filter of these logs.
    pub fn of<'a>(logs: impl IntoIterator<Item = &'a Log>) -> Self {
        let mut bloom = Self::default();
        for log in logs {
            bloom.insert(&log.address.0);
            log.topics.iter().for_each(|topic| bloom.insert(&topic.0));
        }
        bloom
    }

    /// Adds an address or topic.
    pub fn insert(&mut self, item: &[u8]) {
        for (byte, mask) in bits(item) {
            self.0[byte] |= mask;
        }
    }

    /// Whether an address or topic may be in it; if not, it is not.
    pub fn may_contain(&self, item: &[u8]) -> bool {
        bits(item).into_iter().all(|(byte, mask)| self.0[byte] & mask != 0)
    }
}

fn bits(item: &[u8]) -> [(usize, u8); 3] {
    let hash = Native::keccak256(item).0;
    [0, 2, 4].map(|at| {
        let bit = usize::from(u16::from_be_bytes([hash[at], hash[at + 1]]) & 0x7ff);
        (255 - bit / 8, 1 << (bit % 8))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_where_ethereum_has_them() {
        // keccak-256 of twenty zero bytes begins 5380c7b7ae81a58eb98d9c78de4a1fd7fd9535fc953ed2be602daaa41767312a.
        let mut bloom = Bloom::default();
        bloom.insert(&[0; 20]);
        for bit in [0x5380 & 0x7ff, 0xc7b7 & 0x7ff, 0xae81 & 0x7ff] {
            assert_ne!(bloom.0[255 - bit / 8] & 1 << (bit % 8), 0);
        }
        assert_eq!(bloom.0.iter().map(|byte| byte.count_ones()).sum::<u32>(), 3);
        assert!(bloom.may_contain(&[0; 20]) && !bloom.may_contain(&[1; 20]));
    }
}
