//! The kernel, run natively.

use std::collections::HashMap;

use joule_kernel::{Abort, BlockExecutor, Closed, Openings, SealedBlock, Slot};
use joule_protocol::{Checkpoint, ChunkWriter, Key, Native, Object};

use crate::{Changes, StateTree, Store, TreeError};

struct Entry {
    key: Key,
    existed: bool,
    object: Option<Object>,
    is_changed: bool,
}

/// [`Openings`] over a tree: objects are read when they are opened and written when the block closes.
pub struct TreeOpenings<'a, S> {
    tree: &'a StateTree<S>,
    entries: Vec<Entry>,
    slots: HashMap<Key, Slot>,
    /// The key of every opening, in order; what a prover's hints are made from.
    opened: Option<Vec<Key>>,
    changes: Option<Changes>,
    failure: Option<String>,
}

impl<'a, S: Store> TreeOpenings<'a, S> {
    /// Begins a block on `tree`, which it only reads.
    pub fn new(tree: &'a StateTree<S>) -> Self {
        Self { tree, entries: Vec::new(), slots: HashMap::new(), opened: None, changes: None, failure: None }
    }

    /// As [`TreeOpenings::new`], and remembers the order of openings.
    pub fn recording(tree: &'a StateTree<S>) -> Self {
        Self { opened: Some(Vec::new()), ..Self::new(tree) }
    }

    /// The keys opened, in order, if it was recording.
    pub fn opened(&self) -> Option<&[Key]> {
        self.opened.as_deref()
    }

    /// What the closed block changes.
    pub fn into_changes(self) -> Option<Changes> {
        self.changes
    }

    /// What the store said when an opening or the closing aborted with [`Abort::Store`].
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    fn failed(&mut self, error: &TreeError<S::Error>) -> Abort {
        self.failure = Some(error.to_string());
        Abort::Store
    }
}

impl<S: Store> Openings for TreeOpenings<'_, S> {
    fn open(&mut self, key: &Key) -> Result<Slot, Abort> {
        if let Some(opened) = &mut self.opened {
            opened.push(*key);
        }
        if let Some(&slot) = self.slots.get(key) {
            return Ok(slot);
        }
        let object = self.tree.get(key).map_err(|error| self.failed(&error))?;
        let slot = Slot(self.entries.len() as u32);
        self.entries.push(Entry { key: *key, existed: object.is_some(), object, is_changed: false });
        self.slots.insert(*key, slot);
        Ok(slot)
    }

    fn object(&self, slot: Slot) -> Option<&Object> {
        self.entries[slot.0 as usize].object.as_ref()
    }

    fn replace(&mut self, slot: Slot, object: Object) {
        let entry = &mut self.entries[slot.0 as usize];
        entry.object = Some(object);
        entry.is_changed = true;
    }

    fn inserted(&self) -> u64 {
        self.entries.iter().filter(|entry| !entry.existed && entry.object.is_some()).count() as u64
    }

    fn close(&mut self, leaf_count: u64, chunk: &mut ChunkWriter) -> Result<Closed, Abort> {
        debug_assert_eq!(leaf_count, self.tree.leaf_count(), "the chain object counts the tree's leaves");
        let mut writes: Vec<(Key, Object)> = self
            .entries
            .iter()
            .filter(|entry| entry.is_changed)
            .filter_map(|entry| entry.object.map(|object| (entry.key, object)))
            .collect();
        writes.sort_unstable_by_key(|(key, _)| *key);
        for (key, object) in &writes {
            chunk.write(key, object);
        }
        let changes = self.tree.plan(&writes).map_err(|error| self.failed(&error))?;
        let closed = Closed { state_root: changes.root, writes: writes.len() as u32 };
        self.changes = Some(changes);
        Ok(closed)
    }
}

/// A sealed block and what it changes.
#[derive(Debug)]
pub struct Sealed {
    /// The block.
    pub block: SealedBlock,
    /// What it changes in the tree.
    pub changes: Changes,
}

/// A chain being executed: a tree and the checkpoint it stands at.
#[derive(Clone, Debug)]
pub struct Execution<S> {
    /// The chain id.
    pub chain_id: u64,
    tree: StateTree<S>,
    checkpoint: Checkpoint,
}

impl<S: Store> Execution<S> {
    /// Takes up a tree at the checkpoint that names its root.
    ///
    /// # Panics
    /// If the tree's root is not the checkpoint's.
    pub fn new(chain_id: u64, tree: StateTree<S>, checkpoint: Checkpoint) -> Self {
        assert_eq!(tree.root(), checkpoint.state_root, "the tree is not at the checkpoint");
        Self { chain_id, tree, checkpoint }
    }

    /// The state.
    pub fn tree(&self) -> &StateTree<S> {
        &self.tree
    }

    /// Where the chain stands.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Executes one block: `fill` gives it its requests and transactions. Nothing changes until the block is [taken](Execution::take).
    ///
    /// # Errors
    /// What `fill` returns, and whatever aborts the block.
    pub fn block<E: From<Abort>>(
        &self,
        timestamp: u64,
        base_fee: u64,
        fill: impl FnOnce(&mut BlockExecutor<'_, TreeOpenings<'_, S>, Native>) -> Result<(), E>,
    ) -> Result<Sealed, E> {
        let mut state = TreeOpenings::new(&self.tree);
        let mut block = BlockExecutor::begin(&mut state, self.chain_id, &self.checkpoint, timestamp, base_fee, 0)?;
        fill(&mut block)?;
        let block = block.seal()?;
        let changes = state.into_changes().expect("a sealed block has closed its state");
        Ok(Sealed { block, changes })
    }

    /// Makes a sealed block the chain's last.
    ///
    /// # Panics
    /// If the block was not executed on this state.
    pub fn take(&mut self, sealed: &Sealed) -> Result<(), TreeError<S::Error>> {
        assert_eq!(sealed.block.header.parent, self.checkpoint.block_hash, "the block follows another one");
        self.tree.commit(&sealed.changes)?;
        self.checkpoint = sealed.block.checkpoint;
        Ok(())
    }

    /// As [`Execution::take`], where whoever owns the store has already written the block's changes, together with the block.
    ///
    /// # Panics
    /// If the block was not executed on this state.
    pub fn follow(&mut self, sealed: &Sealed) {
        assert_eq!(sealed.block.header.parent, self.checkpoint.block_hash, "the block follows another one");
        self.tree.follow(&sealed.changes);
        self.checkpoint = sealed.block.checkpoint;
    }
}
