//! The state as the proof has it: hinted objects, and a root that every hint is checked against.
//!
//! **Claim.** If [`WitnessedState::close`] returns a root, then every object the block opened had its hinted value (or was absent) under the root the block started
//! from, and the returned root is that tree with exactly the block's writes.
//!
//! **Why.** Hints come in strictly rising key order, so each key has one entry and every [`Openings::open`] of it meets the same one. `close` walks them in that
//! order and updates the root leaf by leaf: a present object's *old* leaf (key, next key, hinted value) must be in the current root, which holds for one
//! value only; an absent object must lie between the key and the next key of the present one before it, and in a sorted
//! linked list that proves absence. Leaves are touched once each, so "in the current root" is "in the root the block started from". New
//! leaves go to slots that must be empty, from the leaf count on.
//!
//! **Leans on** the collision resistance of the two hashes, on the leaf count of the chain object (itself such an opening), and on the tree being a sorted linked
//! list at genesis, which every `close` preserves.

use alloc::vec::Vec;
use core::marker::PhantomData;

use joule_protocol::{ChunkWriter, Digest, Key, Object, Tag, leaf_digest};

use crate::{Abort, Closed, Crypto, Openings, Slot, TreeUpdates, segment::InputReader};

/// A leaf as the hints give it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafWitness {
    /// Key of the object.
    pub key: Key,
    /// Position, next key and value words of the leaf; `None` if there is no object under the key.
    pub leaf: Option<(u32, Key, Vec<u32>)>,
}

/// Everything the image needs to know of the state for one block. None of it is trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockWitness {
    /// Leaves by strictly rising key: every object opened, and before each absent one its predecessor.
    pub leaves: Vec<LeafWitness>,
    /// For every opening, in the order the kernel makes them, the position of its key in `leaves`.
    pub openings: Vec<u32>,
}

/// One segment's private input and advice, as the machine takes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SegmentWitness {
    /// Words of private input.
    pub input: Vec<u32>,
    /// For every tree update, in order, the 32 siblings from the bottom.
    pub siblings: Vec<[Digest; joule_protocol::limits::TREE_DEPTH]>,
}

struct Entry<'a> {
    key: Key,
    before: Option<Leaf<'a>>,
    object: Option<Object>,
    is_changed: bool,
}

struct Leaf<'a> {
    position: u32,
    next: Key,
    words: &'a [u32],
}

/// [`Openings`] over hints.
pub struct WitnessedState<'a, 'u, C, T> {
    root: Digest,
    entries: Vec<Entry<'a>>,
    openings: &'a [u32],
    updates: &'u mut T,
    crypto: PhantomData<C>,
}

impl<'a, 'u, C: Crypto, T: TreeUpdates> WitnessedState<'a, 'u, C, T> {
    /// Reads one block's hints from `input`; the block starts from `root`.
    pub(crate) fn read(root: Digest, input: &mut InputReader<'a>, updates: &'u mut T) -> Result<Self, Abort> {
        let entry_count = input.count("hinted leaves", joule_protocol::limits::BLOCK_OBJECTS_MAX)?;
        let opening_count = input.count("openings", 4 * joule_protocol::limits::BLOCK_OBJECTS_MAX)?;
        let mut entries: Vec<Entry<'a>> = Vec::with_capacity(entry_count);
        for _ in 0..entry_count {
            let entry = Self::read_entry(input)?;
            if entries.last().is_some_and(|last| last.key >= entry.key) {
                return Err(Abort::HintsOutOfOrder { key: entry.key });
            }
            entries.push(entry);
        }
        Ok(Self { root, entries, openings: input.words(opening_count)?, updates, crypto: PhantomData })
    }

    fn read_entry(input: &mut InputReader<'a>) -> Result<Entry<'a>, Abort> {
        let is_present = input.count("presence flag", 1)? == 1;
        let key = input.key()?;
        if !is_present {
            return Ok(Entry { key, before: None, object: None, is_changed: false });
        }
        let position = input.word()?;
        let next = input.key()?;
        // The sentinel is in the list and holds nothing.
        let (words, object) = if key == Key::FIRST {
            (&[][..], None)
        } else {
            let kind = key.kind()?;
            let words = input.words(Object::words_of(kind))?;
            (words, Some(Object::from_words(kind, words)?))
        };
        Ok(Entry { key, before: Some(Leaf { position, next, words }), object, is_changed: false })
    }

    /// Replaces one leaf under the root.
    fn update(&mut self, key: &Key, position: u32, old: Digest, new: Digest) -> Result<(), Abort> {
        self.root = self.updates.update(self.root, position, old, new).ok_or(Abort::NotInTree { key: *key })?;
        Ok(())
    }

    /// Writes a changed object to the chunk and returns its digest: both are made of its words.
    fn write(key: &Key, object: &Object, chunk: &mut ChunkWriter, writes: &mut u32) -> Digest {
        *writes += 1;
        object.with_words(|words| {
            chunk.write_words(key, object.kind(), words);
            C::hash_words(Tag::Value, words)
        })
    }

    /// Updates the present leaf at `first` and inserts the new ones among the absent keys `first + 1 .. end` behind it, and writes what changed to `chunk`.
    /// Runs come by rising keys and so do the keys of a run, so what is written does.
    fn close_run(
        &mut self,
        first: usize,
        end: usize,
        next_position: &mut u64,
        chunk: &mut ChunkWriter,
        writes: &mut u32,
    ) -> Result<(), Abort> {
        let entry = &self.entries[first];
        let Some(leaf) = &entry.before else {
            return Err(Abort::AbsenceUnproven { key: entry.key });
        };
        let (key, position, next) = (entry.key, leaf.position, leaf.next);
        let last = &self.entries[end - 1];
        if last.key >= next {
            return Err(Abort::AbsenceUnproven { key: last.key });
        }
        // Of the run's keys, the next one after `from` that exists now.
        let next_inserted = |entries: &[Entry<'a>], from: usize| {
            let inserted = entries[from + 1..end].iter().position(|entry| entry.object.is_some());
            inserted.map(|offset| from + 1 + offset)
        };
        let mut inserted = next_inserted(&self.entries, first);
        let key_at = |entries: &[Entry<'a>], index: Option<usize>| index.map_or(next, |index| entries[index].key);

        let old_value = if key == Key::FIRST { Digest::EMPTY } else { C::hash_words(Tag::Value, leaf.words) };
        let new_value = match &entry.object {
            Some(object) if entry.is_changed => Self::write(&key, object, chunk, writes),
            _ => old_value,
        };
        let new_next = key_at(&self.entries, inserted);
        let old = leaf_digest::<C>(&key, &next, old_value);
        let new =
            if new_next == next && !entry.is_changed { old } else { leaf_digest::<C>(&key, &new_next, new_value) };
        self.update(&key, position, old, new)?;

        while let Some(index) = inserted {
            inserted = next_inserted(&self.entries, index);
            let entry = &self.entries[index];
            let value =
                entry.object.as_ref().map_or(Digest::EMPTY, |object| Self::write(&entry.key, object, chunk, writes));
            let new = leaf_digest::<C>(&entry.key, &key_at(&self.entries, inserted), value);
            let key = entry.key;
            let position = u32::try_from(*next_position).map_err(|_| Abort::TreeFull)?;
            self.update(&key, position, Digest::EMPTY, new)?;
            *next_position += 1;
        }
        Ok(())
    }
}

impl<C: Crypto, T: TreeUpdates> Openings for WitnessedState<'_, '_, C, T> {
    fn open(&mut self, key: &Key) -> Result<Slot, Abort> {
        let missing = Abort::HintMissing { wanted: *key };
        let (&slot, rest) = self.openings.split_first().ok_or(missing)?;
        self.openings = rest;
        match self.entries.get(slot as usize) {
            Some(entry) if entry.key == *key => Ok(Slot(slot)),
            _ => Err(missing),
        }
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
        self.entries.iter().filter(|entry| entry.before.is_none() && entry.object.is_some()).count() as u64
    }

    fn close(&mut self, leaf_count: u64, chunk: &mut ChunkWriter) -> Result<Closed, Abort> {
        let mut writes = 0;
        let mut next_position = leaf_count;
        let mut first = 0;
        while first < self.entries.len() {
            let absent = self.entries[first + 1..].iter().take_while(|entry| entry.before.is_none()).count();
            let end = first + 1 + absent;
            self.close_run(first, end, &mut next_position, chunk, &mut writes)?;
            first = end;
        }
        Ok(Closed { state_root: self.root, writes })
    }
}

impl BlockWitness {
    /// Appends the block's hints to a segment's input.
    pub(crate) fn write(&self, input: &mut Vec<u32>) {
        input.push(self.leaves.len() as u32);
        input.push(self.openings.len() as u32);
        for LeafWitness { key, leaf } in &self.leaves {
            input.push(leaf.is_some().into());
            input.extend_from_slice(key.words());
            if let Some((position, next, words)) = leaf {
                input.push(*position);
                input.extend_from_slice(next.words());
                input.extend_from_slice(words);
            }
        }
        input.extend_from_slice(&self.openings);
    }
}
