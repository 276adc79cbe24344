//! Where a state tree keeps its leaves and nodes.

use std::collections::{BTreeMap, HashMap};

use joule_protocol::{Digest, Key, Object};

use crate::Changes;

/// A leaf of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Its position, from 0.
    pub position: u32,
    /// The next key in the sorted list.
    pub next: Key,
    /// What lives there; `None` for the sentinel alone.
    pub object: Option<Object>,
}

/// Storage of a tree. Reads see everything committed before; a commit is all or nothing.
pub trait Store {
    /// What can go wrong below: a disk, say.
    type Error: std::error::Error + Send + Sync + 'static;

    /// The leaf under `key`.
    fn leaf(&self, key: &Key) -> Result<Option<Leaf>, Self::Error>;

    /// The leaf with the greatest key below `key`.
    fn leaf_before(&self, key: &Key) -> Result<Option<(Key, Leaf)>, Self::Error>;

    /// The node at `height` (0: leaf digests) and `position`; `None` if nothing below it was ever written.
    fn node(&self, height: u8, position: u32) -> Result<Option<Digest>, Self::Error>;

    /// Makes the changes, atomically.
    fn commit(&mut self, changes: &Changes) -> Result<(), Self::Error>;
}

/// A [`Store`] in memory: for tests, for provers, and for a node that can afford to rebuild.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    leaves: BTreeMap<Key, Leaf>,
    nodes: HashMap<(u8, u32), Digest>,
}

impl MemoryStore {
    /// All leaves by rising key.
    pub fn leaves(&self) -> impl Iterator<Item = (&Key, &Leaf)> {
        self.leaves.iter()
    }
}

impl Store for MemoryStore {
    type Error = std::convert::Infallible;

    fn leaf(&self, key: &Key) -> Result<Option<Leaf>, Self::Error> {
        Ok(self.leaves.get(key).copied())
    }

    fn leaf_before(&self, key: &Key) -> Result<Option<(Key, Leaf)>, Self::Error> {
        Ok(self.leaves.range(..*key).next_back().map(|(key, leaf)| (*key, *leaf)))
    }

    fn node(&self, height: u8, position: u32) -> Result<Option<Digest>, Self::Error> {
        Ok(self.nodes.get(&(height, position)).copied())
    }

    fn commit(&mut self, changes: &Changes) -> Result<(), Self::Error> {
        self.leaves.extend(changes.leaves.iter().copied());
        self.nodes.extend(changes.nodes.iter().copied());
        Ok(())
    }
}
