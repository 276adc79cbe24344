//! Withdrawals, as L1 pays them out.

use alloc::vec::Vec;

use crate::{Address, Amount, Hash, Hashing};

/// The leaf of one withdrawal.
pub fn withdrawal_leaf<H: Hashing>(index: u64, recipient: &Address, amount: Amount) -> Hash {
    let mut bytes = [0; 60];
    bytes[..16].copy_from_slice(b"Joule withdrawal");
    bytes[16..24].copy_from_slice(&index.to_be_bytes());
    bytes[24..44].copy_from_slice(&recipient.0);
    bytes[44..].copy_from_slice(&amount.to_be_bytes());
    H::keccak256(&bytes)
}

/// The Merkle tree over one batch's withdrawal leaves, against which `Bridge` pays.
#[derive(Clone, Debug)]
pub struct MessageTree {
    levels: Vec<Vec<Hash>>,
}

impl MessageTree {
    /// Builds the tree. No leaves give the zero root, against which nothing can be claimed.
    pub fn new<H: Hashing>(leaves: Vec<Hash>) -> Self {
        let mut levels = alloc::vec![leaves];
        while let Some(below) = levels.last().filter(|level| level.len() > 1) {
            let above =
                below.chunks(2).map(|pair| Self::node::<H>(&pair[0], pair.get(1).unwrap_or(&Hash::ZERO))).collect();
            levels.push(above);
        }
        Self { levels }
    }

    fn node<H: Hashing>(left: &Hash, right: &Hash) -> Hash {
        let mut bytes = [0; 65];
        bytes[0] = 1;
        bytes[1..33].copy_from_slice(&left.0);
        bytes[33..].copy_from_slice(&right.0);
        H::keccak256(&bytes)
    }

    /// The root.
    pub fn root(&self) -> Hash {
        self.levels.last().and_then(|level| level.first()).copied().unwrap_or_default()
    }

    /// Siblings of leaf `position`, from the bottom; `None` if there is no such leaf.
    pub fn path(&self, position: usize) -> Option<Vec<Hash>> {
        self.levels[0].get(position)?;
        let inner = &self.levels[..self.levels.len() - 1];
        Some(
            inner
                .iter()
                .enumerate()
                .map(|(height, level)| level.get(position >> height ^ 1).copied().unwrap_or_default())
                .collect(),
        )
    }

    /// Whether `leaf` is at `position` of a tree of `leaf_count` leaves under `root`.
    pub fn verify<H: Hashing>(root: &Hash, leaf: Hash, position: usize, leaf_count: usize, path: &[Hash]) -> bool {
        let width = leaf_count.checked_next_power_of_two();
        let height = width.map(|width| width.trailing_zeros() as usize);
        if position >= leaf_count || height != Some(path.len()) {
            return false;
        }
        let reached = path.iter().enumerate().fold(leaf, |node, (height, sibling)| match position >> height & 1 {
            0 => Self::node::<H>(&node, sibling),
            _ => Self::node::<H>(sibling, &node),
        });
        reached == *root
    }
}
