//! The indexed Merkle tree: a sorted linked list of keys whose leaves hang in a binary tree of depth 32.
//!
//! A block's writes are applied at once, level by level, so that the hashing of a level fills the processor's vectors.

use std::sync::OnceLock;

use joule_protocol::{
    Digest, Genesis, GenesisError, Key, Native, Object, Tag, compress, compress_many, hash_words_many, leaf_digest,
    limits::{LEAVES_MAX, TREE_DEPTH},
};
use thiserror::Error;

use crate::{Leaf, Store};

/// What goes wrong with a tree.
#[derive(Debug, Error)]
pub enum TreeError<E: std::error::Error + 'static> {
    /// The store failed.
    #[error("the state store failed: {0}")]
    Store(#[source] E),
    /// No leaf precedes a key: the store holds no tree.
    #[error("the store holds no state tree; start from genesis or a snapshot")]
    NoTree,
    /// A genesis that no chain can start from.
    #[error("the genesis configuration: {0}")]
    Genesis(#[from] GenesisError),
    /// 2^32 leaves.
    #[error("the tree is full")]
    Full,
    /// Writes out of order.
    #[error("writes are not by strictly rising key at {key:?}")]
    WritesOutOfOrder {
        /// The offending key.
        key: Key,
    },
}

/// What a block changes in a store.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Leaves with their new values.
    pub leaves: Vec<(Key, Leaf)>,
    /// Nodes by (height, position).
    pub nodes: Vec<((u8, u32), Digest)>,
    /// The new root.
    pub root: Digest,
    /// The new number of leaves.
    pub leaf_count: u64,
}

/// What a proof is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbsenceOrLeaf {
    /// The key's own leaf.
    Leaf,
    /// The leaf before: its next key is greater than the key, so nothing lives there.
    Absence,
}

/// A Merkle path of a leaf, which proves an object or the absence of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Whether the leaf is the key's own or its predecessor's.
    pub kind: AbsenceOrLeaf,
    /// Key of the leaf.
    pub key: Key,
    /// The leaf.
    pub leaf: Leaf,
    /// Siblings from the bottom.
    pub siblings: [Digest; TREE_DEPTH],
}

impl Proof {
    /// Checks that the proof shows what `wanted` holds under `root`: `Ok(None)` for nothing.
    pub fn verify(&self, root: Digest, wanted: &Key) -> Option<Option<Object>> {
        let is_about_it = match self.kind {
            AbsenceOrLeaf::Leaf => self.key == *wanted,
            AbsenceOrLeaf::Absence => self.key < *wanted && *wanted < self.leaf.next,
        };
        let digest = digest_of(&self.key, &self.leaf);
        let reached = self.siblings.iter().enumerate().fold(digest, |node, (height, &sibling)| {
            if self.leaf.position >> height & 1 == 0 { compress(node, sibling) } else { compress(sibling, node) }
        });
        (is_about_it && reached == root).then_some(match self.kind {
            AbsenceOrLeaf::Leaf => self.leaf.object,
            AbsenceOrLeaf::Absence => None,
        })
    }
}

/// Digest of a leaf as it stands.
pub(crate) fn digest_of(key: &Key, leaf: &Leaf) -> Digest {
    let value = leaf.object.as_ref().map_or(Digest::EMPTY, Object::digest::<Native>);
    leaf_digest::<Native>(key, &leaf.next, value)
}

/// The root of an empty subtree of each height.
pub(crate) fn empty_nodes() -> &'static [Digest; TREE_DEPTH + 1] {
    static EMPTY: OnceLock<[Digest; TREE_DEPTH + 1]> = OnceLock::new();
    EMPTY.get_or_init(|| {
        let mut nodes = [Digest::EMPTY; TREE_DEPTH + 1];
        for height in 0..TREE_DEPTH {
            nodes[height + 1] = compress(nodes[height], nodes[height]);
        }
        nodes
    })
}

/// The state of a chain at one block.
#[derive(Clone, Debug)]
pub struct StateTree<S> {
    store: S,
    root: Digest,
    leaf_count: u64,
}

impl<S: Store> StateTree<S> {
    /// Builds the first tree of a chain in an empty store, if a chain can start from `genesis`.
    pub fn genesis(mut store: S, genesis: &Genesis) -> Result<Self, TreeError<S::Error>> {
        genesis.check()?;
        let sentinel = Leaf { position: 0, next: Key::CHAIN, object: None };
        let chain = Leaf { position: 1, next: Key::LAST, object: Some(Object::Chain(genesis.chain::<Native>())) };
        let mut changes = Changes { leaves: vec![(Key::FIRST, sentinel), (Key::CHAIN, chain)], ..Changes::default() };
        let digests = changes.leaves.iter().map(|(key, leaf)| (leaf.position, digest_of(key, leaf))).collect();
        climb(&store, digests, &mut changes)?;
        changes.leaf_count = 2;
        store.commit(&changes).map_err(TreeError::Store)?;
        Ok(Self { store, root: changes.root, leaf_count: 2 })
    }

    /// Takes up a tree that a store already holds.
    pub fn open(store: S) -> Result<Self, TreeError<S::Error>> {
        let root = store.node(TREE_DEPTH as u8, 0).map_err(TreeError::Store)?.ok_or(TreeError::NoTree)?;
        let chain = store.leaf(&Key::CHAIN).map_err(TreeError::Store)?;
        let Some(Leaf { object: Some(Object::Chain(chain)), .. }) = chain else {
            return Err(TreeError::NoTree);
        };
        Ok(Self { store, root, leaf_count: chain.leaf_count })
    }

    /// The root.
    pub fn root(&self) -> Digest {
        self.root
    }

    /// Leaves, sentinel included.
    pub fn leaf_count(&self) -> u64 {
        self.leaf_count
    }

    /// The store below.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// The object under `key`.
    pub fn get(&self, key: &Key) -> Result<Option<Object>, TreeError<S::Error>> {
        Ok(self.store.leaf(key).map_err(TreeError::Store)?.and_then(|leaf| leaf.object))
    }

    /// The leaf under `key`, or else the one before.
    pub(crate) fn leaf_or_predecessor(&self, key: &Key) -> Result<(Key, Leaf), TreeError<S::Error>> {
        if let Some(leaf) = self.store.leaf(key).map_err(TreeError::Store)? {
            return Ok((*key, leaf));
        }
        self.store.leaf_before(key).map_err(TreeError::Store)?.ok_or(TreeError::NoTree)
    }

    pub(crate) fn node(&self, height: u8, position: u32) -> Result<Digest, TreeError<S::Error>> {
        node(&self.store, height, position)
    }

    /// Proves what `key` holds, or that it holds nothing.
    pub fn prove(&self, key: &Key) -> Result<Proof, TreeError<S::Error>> {
        let (leaf_key, leaf) = self.leaf_or_predecessor(key)?;
        let mut siblings = [Digest::EMPTY; TREE_DEPTH];
        for (height, sibling) in siblings.iter_mut().enumerate() {
            *sibling = self.node(height as u8, leaf.position >> height ^ 1)?;
        }
        let kind = if leaf_key == *key { AbsenceOrLeaf::Leaf } else { AbsenceOrLeaf::Absence };
        Ok(Proof { kind, key: leaf_key, leaf, siblings })
    }

    /// What writing `writes`, by strictly rising key, changes. New keys take the positions from the leaf count on in the order of the keys.
    pub fn plan(&self, writes: &[(Key, Object)]) -> Result<Changes, TreeError<S::Error>> {
        let mut changes = Changes { leaf_count: self.leaf_count, ..Changes::default() };
        for (key, object) in writes {
            if changes.leaves.last().is_some_and(|(last, _)| last >= key) {
                return Err(TreeError::WritesOutOfOrder { key: *key });
            }
            self.plan_write(key, object, &mut changes)?;
        }
        let digests = leaf_digests(&changes.leaves);
        climb(&self.store, digests, &mut changes)?;
        Ok(changes)
    }

    /// Adds one write to the changed leaves, which stay sorted: the predecessor of a new key is either the last changed leaf or comes
    /// after it.
    fn plan_write(&self, key: &Key, object: &Object, changes: &mut Changes) -> Result<(), TreeError<S::Error>> {
        let (found, mut leaf) = self.leaf_or_predecessor(key)?;
        if found == *key {
            leaf.object = Some(*object);
            changes.leaves.push((*key, leaf));
            return Ok(());
        }
        if changes.leaf_count == LEAVES_MAX {
            return Err(TreeError::Full);
        }
        if changes.leaves.last().is_none_or(|(last, _)| *last < found) {
            changes.leaves.push((found, leaf));
        }
        let (_, before) = changes.leaves.last_mut().expect("the predecessor is there");
        let next = std::mem::replace(&mut before.next, *key);
        let position = changes.leaf_count as u32;
        changes.leaves.push((*key, Leaf { position, next, object: Some(*object) }));
        changes.leaf_count += 1;
        Ok(())
    }

    /// Takes up planned changes that whoever owns the store has made already.
    pub(crate) fn follow(&mut self, changes: &Changes) {
        self.root = changes.root;
        self.leaf_count = changes.leaf_count;
    }

    /// Makes planned changes.
    pub fn commit(&mut self, changes: &Changes) -> Result<(), TreeError<S::Error>> {
        self.store.commit(changes).map_err(TreeError::Store)?;
        self.follow(changes);
        Ok(())
    }
}

fn node<S: Store>(store: &S, height: u8, position: u32) -> Result<Digest, TreeError<S::Error>> {
    Ok(store.node(height, position).map_err(TreeError::Store)?.unwrap_or(empty_nodes()[usize::from(height)]))
}

/// The digest of a node at `height` below which nothing was ever written.
///
/// # Panics
/// If `height` is above the root's.
pub fn empty_node(height: u8) -> Digest {
    empty_nodes()[usize::from(height)]
}

/// Positions and digests of many leaves, batched: accounts, which are most of them, and then all leaves.
pub fn leaf_digests(leaves: &[(Key, Leaf)]) -> Vec<(u32, Digest)> {
    let mut values = vec![Digest::EMPTY; leaves.len()];
    let (mut accounts, mut account_indices) = (Vec::new(), Vec::new());
    for (index, (_, leaf)) in leaves.iter().enumerate() {
        match &leaf.object {
            None => {}
            Some(object @ Object::Account(_)) => {
                accounts.push(object.with_words(|words| <[u32; 6]>::try_from(words).expect("an account has 6 words")));
                account_indices.push(index);
            }
            Some(object) => values[index] = object.digest::<Native>(),
        }
    }
    for (index, digest) in account_indices.into_iter().zip(hash_words_many(Tag::Value, &accounts)) {
        values[index] = digest;
    }
    let preimages: Vec<[u32; 24]> = leaves
        .iter()
        .zip(&values)
        .map(|((key, leaf), value)| {
            let mut words = [0; 24];
            words[..8].copy_from_slice(key.words());
            words[8..16].copy_from_slice(leaf.next.words());
            words[16..].copy_from_slice(&value.to_words());
            words
        })
        .collect();
    leaves.iter().map(|(_, leaf)| leaf.position).zip(hash_words_many(Tag::Leaf, &preimages)).collect()
}

/// Computes all nodes above changed leaves, level by level.
fn climb<S: Store>(store: &S, mut level: Vec<(u32, Digest)>, changes: &mut Changes) -> Result<(), TreeError<S::Error>> {
    level.sort_unstable_by_key(|&(position, _)| position);
    for height in 0..TREE_DEPTH as u8 {
        changes.nodes.extend(level.iter().map(|&(position, digest)| ((height, position), digest)));
        let mut pairs = Vec::with_capacity(level.len());
        let mut parents = Vec::with_capacity(level.len());
        let mut nodes = level.iter().copied().peekable();
        while let Some((position, digest)) = nodes.next() {
            let pair = if position & 1 == 1 {
                (node(store, height, position - 1)?, digest)
            } else if let Some((_, right)) = nodes.next_if(|&(next, _)| next == position + 1) {
                (digest, right)
            } else {
                (digest, node(store, height, position + 1)?)
            };
            pairs.push(pair);
            parents.push(position / 2);
        }
        level = parents.into_iter().zip(compress_many(&pairs)).collect();
    }
    changes.root = match level.first() {
        Some(&(_, root)) => root,
        None => node(store, TREE_DEPTH as u8, 0)?,
    };
    changes.nodes.push(((TREE_DEPTH as u8, 0), changes.root));
    Ok(())
}
