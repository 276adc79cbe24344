//! The state tree's store over column families: as of now, as of a view, and as of an earlier block.

use std::sync::Arc;

use joule_protocol::{Digest, Key};
use joule_state::{Changes, Leaf, Store};
use rocksdb::{DB, DBPinnableSlice, DBRawIteratorWithThreadMode, ReadOptions};

use crate::{
    StorageError, View,
    database::Inner,
    layout::{Column, decode_digest, decode_leaf, history_key, node_key},
};

/// Where records are read from: the database as it is, or a snapshot of it.
pub(crate) trait Reads {
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<DBPinnableSlice<'_>>, StorageError>;

    fn iterator(&self, column: Column, options: ReadOptions) -> DBRawIteratorWithThreadMode<'_, DB>;

    fn leaf(&self, key: &Key) -> Result<Option<Leaf>, StorageError> {
        let bytes = self.get(Column::Leaves, &key.to_bytes())?;
        bytes.map(|bytes| decode_leaf(&bytes).map_err(StorageError::malformed("leaf"))).transpose()
    }

    fn node(&self, height: u8, position: u32) -> Result<Option<Digest>, StorageError> {
        let bytes = self.get(Column::Nodes, &node_key(height, position))?;
        bytes.map(|bytes| decode_digest(&bytes).map_err(StorageError::malformed("node"))).transpose()
    }

    /// Goes down from the leaf before `key` until `is_there` finds one.
    fn leaf_before<T>(
        &self,
        key: &Key,
        mut is_there: impl FnMut(&Key, Leaf) -> Result<Option<T>, StorageError>,
    ) -> Result<Option<(Key, T)>, StorageError> {
        let wanted = key.to_bytes();
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(wanted.to_vec());
        let mut iterator = self.iterator(Column::Leaves, options);
        iterator.seek_to_last();
        while let Some((found, value)) = iterator.item() {
            let mut reader = joule_state::wire::Reader::new(found);
            let found = reader.key("leaf key").map_err(StorageError::malformed("leaf"))?;
            let leaf = decode_leaf(value).map_err(StorageError::malformed("leaf"))?;
            if let Some(there) = is_there(&found, leaf)? {
                return Ok(Some((found, there)));
            }
            iterator.prev();
        }
        iterator.status()?;
        Ok(None)
    }

    /// What `key` of `column` held after block `at`, if a later block has changed it: `Some(empty)` says that nothing was there.
    fn earlier(&self, column: Column, key: &[u8], at: u64) -> Result<Option<Vec<u8>>, StorageError> {
        let mut options = ReadOptions::default();
        options.set_iterate_lower_bound(history_key(key, at.saturating_add(1)));
        options.set_iterate_upper_bound({
            let mut end = history_key(key, u64::MAX);
            end.push(0);
            end
        });
        let mut iterator = self.iterator(column, options);
        iterator.seek_to_first();
        let found = iterator.value().map(<[u8]>::to_vec);
        iterator.status()?;
        Ok(found)
    }
}

impl Reads for Inner {
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<DBPinnableSlice<'_>>, StorageError> {
        Ok(self.rocks.get_pinned_cf(self.column(column), key)?)
    }

    fn iterator(&self, column: Column, options: ReadOptions) -> DBRawIteratorWithThreadMode<'_, DB> {
        self.rocks.raw_iterator_cf_opt(self.column(column), options)
    }
}

impl Reads for View<'_> {
    fn get(&self, column: Column, key: &[u8]) -> Result<Option<DBPinnableSlice<'_>>, StorageError> {
        Ok(self.snapshot.get_pinned_cf(self.inner.column(column), key)?)
    }

    fn iterator(&self, column: Column, options: ReadOptions) -> DBRawIteratorWithThreadMode<'_, DB> {
        self.snapshot.raw_iterator_cf_opt(self.inner.column(column), options)
    }
}

/// The state at the head, for whoever executes the next block. Only [`Database::commit_block`](crate::Database::commit_block) changes it.
#[derive(Clone, Debug)]
pub struct StateStore {
    pub(crate) inner: Arc<Inner>,
}

impl Store for StateStore {
    type Error = StorageError;

    fn leaf(&self, key: &Key) -> Result<Option<Leaf>, StorageError> {
        Reads::leaf(&*self.inner, key)
    }

    fn leaf_before(&self, key: &Key) -> Result<Option<(Key, Leaf)>, StorageError> {
        Reads::leaf_before(&*self.inner, key, |_, leaf| Ok(Some(leaf)))
    }

    fn node(&self, height: u8, position: u32) -> Result<Option<Digest>, StorageError> {
        Reads::node(&*self.inner, height, position)
    }

    fn commit(&mut self, _: &Changes) -> Result<(), StorageError> {
        Err(StorageError::StateWithoutBlock)
    }
}

/// The state at a view's head; it does not change.
#[derive(Clone, Copy, Debug)]
pub struct ViewStore<'a> {
    pub(crate) view: &'a View<'a>,
}

impl Store for ViewStore<'_> {
    type Error = StorageError;

    fn leaf(&self, key: &Key) -> Result<Option<Leaf>, StorageError> {
        Reads::leaf(self.view, key)
    }

    fn leaf_before(&self, key: &Key) -> Result<Option<(Key, Leaf)>, StorageError> {
        Reads::leaf_before(self.view, key, |_, leaf| Ok(Some(leaf)))
    }

    fn node(&self, height: u8, position: u32) -> Result<Option<Digest>, StorageError> {
        Reads::node(self.view, height, position)
    }

    fn commit(&mut self, _: &Changes) -> Result<(), StorageError> {
        Err(StorageError::StateWithoutBlock)
    }
}

/// The state after an earlier block of a view, from undo data: what a later block changed is as it was before the first block that changed it.
#[derive(Clone, Copy, Debug)]
pub struct HistoricStore<'a> {
    pub(crate) view: &'a View<'a>,
    pub(crate) at: u64,
}

impl HistoricStore<'_> {
    fn leaf_as_of(&self, key: &Key, now: Option<Leaf>) -> Result<Option<Leaf>, StorageError> {
        match self.view.earlier(Column::LeafHistory, &key.to_bytes(), self.at)? {
            None => Ok(now),
            Some(bytes) if bytes.is_empty() => Ok(None),
            Some(bytes) => decode_leaf(&bytes).map(Some).map_err(StorageError::malformed("leaf's undo data")),
        }
    }
}

impl Store for HistoricStore<'_> {
    type Error = StorageError;

    fn leaf(&self, key: &Key) -> Result<Option<Leaf>, StorageError> {
        self.leaf_as_of(key, Reads::leaf(self.view, key)?)
    }

    // Leaves are never removed, so whatever was there before `key` then is there now: it is found by going down past the leaves that came
    // later, of which there are as many as were inserted since.
    fn leaf_before(&self, key: &Key) -> Result<Option<(Key, Leaf)>, StorageError> {
        Reads::leaf_before(self.view, key, |found, leaf| self.leaf_as_of(found, Some(leaf)))
    }

    fn node(&self, height: u8, position: u32) -> Result<Option<Digest>, StorageError> {
        match self.view.earlier(Column::NodeHistory, &node_key(height, position), self.at)? {
            None => Reads::node(self.view, height, position),
            Some(bytes) if bytes.is_empty() => Ok(None),
            Some(bytes) => decode_digest(&bytes).map(Some).map_err(StorageError::malformed("node's undo data")),
        }
    }

    fn commit(&mut self, _: &Changes) -> Result<(), StorageError> {
        Err(StorageError::StateWithoutBlock)
    }
}
