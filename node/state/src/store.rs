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

/// A store whose commits stay in memory, above one that they never reach: what a prover walks a batch on, from a state that is long past.
#[derive(Clone, Debug)]
pub struct Overlay<S> {
    below: S,
    above: MemoryStore,
}

impl<S> Overlay<S> {
    /// Nothing above `below` yet.
    pub fn new(below: S) -> Self {
        Self { below, above: MemoryStore::default() }
    }
}

impl<S: Store> Store for Overlay<S> {
    type Error = S::Error;

    fn leaf(&self, key: &Key) -> Result<Option<Leaf>, S::Error> {
        match self.above.leaves.get(key) {
            Some(leaf) => Ok(Some(*leaf)),
            None => self.below.leaf(key),
        }
    }

    fn leaf_before(&self, key: &Key) -> Result<Option<(Key, Leaf)>, S::Error> {
        let above = self.above.leaves.range(..*key).next_back().map(|(key, leaf)| (*key, *leaf));
        let below = self.below.leaf_before(key)?;
        // The greater key is nearer; where both have it, what is above has been committed later.
        Ok(match (above, below) {
            (Some(above), Some(below)) => Some(if below.0 > above.0 { below } else { above }),
            (above, below) => above.or(below),
        })
    }

    fn node(&self, height: u8, position: u32) -> Result<Option<Digest>, S::Error> {
        match self.above.nodes.get(&(height, position)) {
            Some(node) => Ok(Some(*node)),
            None => self.below.node(height, position),
        }
    }

    fn commit(&mut self, changes: &Changes) -> Result<(), S::Error> {
        self.above.leaves.extend(changes.leaves.iter().copied());
        self.above.nodes.extend(changes.nodes.iter().copied());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use joule_protocol::{Account, Address, Genesis, Hash, Object};
    use proptest::{collection::btree_map, prelude::*};

    use super::*;
    use crate::StateTree;

    fn genesis() -> Genesis {
        Genesis {
            chain_id: 7_707,
            l1_chain_id: 31_337,
            base_token: Address::ZERO,
            fee_recipient: Address([0xfe; 20]),
            base_fee_max: 1_000,
            grace_seconds: 8 * 24 * 3_600,
            channel_close_seconds: 8 * 24 * 3_600,
            timestamp: 1_750_000_000,
            salt: Hash([7; 32]),
        }
    }

    proptest! {
        /// Through an overlay a tree reads and grows as it would in place, and what is below keeps its root.
        #[test]
        fn an_overlay_is_the_tree_that_was_written(blocks in prop::collection::vec(btree_map(any::<u8>(), any::<u64>(), 1..6), 1..6)) {
            let mut in_place = StateTree::genesis(MemoryStore::default(), &genesis()).expect("a tree in memory");
            let root = in_place.root();
            let mut above = StateTree::open(Overlay::new(in_place.store().clone())).expect("a tree");
            for block in &blocks {
                let writes: Vec<(Key, Object)> = block
                    .iter()
                    .map(|(byte, balance)| {
                        let account = Account { balance: u128::from(*balance), ..Account::default() };
                        (Key::account(&Address([*byte; 20])), Object::Account(account))
                    })
                    .collect();
                let planned = above.plan(&writes).expect("writes by rising key");
                above.commit(&planned).expect("memory");
                let planned = in_place.plan(&writes).expect("writes by rising key");
                in_place.commit(&planned).expect("memory");
            }
            prop_assert_eq!(above.root(), in_place.root());
            let below = StateTree::open(above.store().below.clone()).expect("a tree");
            prop_assert_eq!(below.root(), root);
        }
    }
}
