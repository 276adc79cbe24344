//! The disk, and every write to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use joule_protocol::{Checkpoint, Digest, Genesis, Hash, Key, Native};
use joule_state::{Changes, Execution, Leaf, StateTree, Store};
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, Options, WriteBatch,
    WriteOptions,
};

use crate::{
    BatchRecord, BlockRecord, Bloom, JournalEdit, L1Cursor, PoolRecord, Space, Stage, StateStore, StorageError,
    TransactionPlace, View,
    journal::journal_key,
    layout::{Column, NODE_KEY_BYTES, SCHEMA, Touched, encode_leaf, history_key, meta, node_key},
    store::Reads,
    view,
};

/// Memory for blocks of records read.
const CACHE_BYTES: usize = 256 << 20;
/// Memory for records not yet in files, per column family.
const WRITE_BUFFER_BYTES: usize = 32 << 20;
/// Blocks whose records one atomic write drops.
const PRUNE_STEP: u64 = 256;
/// Undo records that one atomic write drops: some milliseconds' worth, because nobody writes a block meanwhile.
pub const UNDO_STEP_RECORDS: usize = 16_384;

/// A node's disk. Cheap to clone; the clones are the same disk.
#[derive(Clone, Debug)]
pub struct Database {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) rocks: DB,
    pub(crate) genesis: Genesis,
    pub(crate) genesis_checkpoint: Checkpoint,
    path: PathBuf,
    /// Held by whoever reads and then writes: blocks, batches, and L1's cursor depend on what was there.
    writer: Mutex<()>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Inner").field("path", &self.path).finish_non_exhaustive()
    }
}

/// What a revert took off the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reverted {
    /// The head now.
    pub head: Checkpoint,
    /// Transactions of the undone blocks, in their order; in the mempool log again if that was asked for.
    pub transactions: Vec<PoolRecord>,
}

/// What one step dropped of undo data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UndoPruned {
    /// The earliest block whose state can still be had.
    pub floor: u64,
    /// Blocks whose undo data went.
    pub blocks: u64,
    /// Records that went.
    pub records: usize,
    /// Whether nothing is left to drop up to where it was asked for.
    pub is_done: bool,
}

/// Collects what the genesis tree consists of.
#[derive(Default)]
struct GenesisChanges(Changes);

impl Store for GenesisChanges {
    type Error = std::convert::Infallible;

    fn leaf(&self, _: &Key) -> Result<Option<Leaf>, Self::Error> {
        Ok(None)
    }

    fn leaf_before(&self, _: &Key) -> Result<Option<(Key, Leaf)>, Self::Error> {
        Ok(None)
    }

    fn node(&self, _: u8, _: u32) -> Result<Option<Digest>, Self::Error> {
        Ok(None)
    }

    fn commit(&mut self, changes: &Changes) -> Result<(), Self::Error> {
        self.0 = changes.clone();
        Ok(())
    }
}

/// The leaves and nodes of a chain's first state.
fn genesis_changes(genesis: &Genesis) -> Result<Changes, StorageError> {
    match StateTree::genesis(GenesisChanges::default(), genesis) {
        Ok(tree) => Ok(tree.store().0.clone()),
        Err(error) => Err(StorageError::Tree { reason: error.to_string() }),
    }
}

impl Inner {
    pub(crate) fn column(&self, column: Column) -> &ColumnFamily {
        self.rocks.cf_handle(column.name()).expect("all column families are opened with the database")
    }

    /// Writes a batch and returns when it is on the disk.
    pub(crate) fn write(&self, batch: WriteBatch) -> Result<(), StorageError> {
        let mut durable = WriteOptions::default();
        durable.set_sync(true);
        Ok(self.rocks.write_opt(batch, &durable)?)
    }

    /// Every write is atomic, so a thread that panicked while it held the lock has left nothing half done.
    fn lock(&self) -> MutexGuard<'_, ()> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn put_state(&self, batch: &mut WriteBatch, leaves: &[(Key, Leaf)], nodes: &[((u8, u32), Digest)]) {
        for (key, leaf) in leaves {
            batch.put_cf(self.column(Column::Leaves), key.to_bytes(), encode_leaf(leaf));
        }
        for &((height, position), digest) in nodes {
            batch.put_cf(self.column(Column::Nodes), node_key(height, position), digest.to_hash().0);
        }
    }
}

fn options_of(column: Column, cache: &Cache) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_bloom_filter(10.0, false);
    table.set_cache_index_and_filter_blocks(true);
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.set_write_buffer_size(WRITE_BUFFER_BYTES);
    // Digests and hashes do not compress; blocks, with their repeated fields, do.
    options.set_compression_type(match column {
        Column::Blocks | Column::Journal | Column::Requests => DBCompressionType::Lz4,
        _ => DBCompressionType::None,
    });
    options
}

pub(crate) fn open_rocks(path: &Path) -> Result<DB, StorageError> {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_max_background_jobs(2);
    options.set_keep_log_file_num(4);
    options.set_max_total_wal_size(512 << 20);
    let cache = Cache::new_lru_cache(CACHE_BYTES);
    let columns =
        Column::ALL.iter().map(|&column| ColumnFamilyDescriptor::new(column.name(), options_of(column, &cache)));
    Ok(DB::open_cf_descriptors(&options, path, columns)?)
}

impl Database {
    /// Opens the database at `path`, or makes it with the genesis state.
    ///
    /// # Errors
    /// `UnknownSchema`, `OtherGenesis`, `RestoreUnfinished`, and whatever the disk says, another process holding the database among it.
    pub fn open(path: impl AsRef<Path>, genesis: &Genesis) -> Result<Self, StorageError> {
        let path = path.as_ref();
        let inner = Self::attach(path, genesis)?;
        let Some(schema) = inner.get(Column::Meta, meta::SCHEMA)?.map(|bytes| bytes.to_vec()) else {
            inner.begin()?;
            return Ok(Self { inner: Arc::new(inner) });
        };
        let got = schema.try_into().map_or(0, u32::from_be_bytes);
        if got != SCHEMA {
            return Err(StorageError::UnknownSchema { path: path.to_owned(), got, expected: SCHEMA });
        }
        let got = inner.get(Column::Meta, meta::GENESIS)?.map(|bytes| bytes.to_vec()).unwrap_or_default();
        let expected = inner.genesis_checkpoint.block_hash;
        if got != expected.0 {
            let got = Hash(got.try_into().unwrap_or_default());
            return Err(StorageError::OtherGenesis { path: path.to_owned(), got, expected });
        }
        if inner.get(Column::Meta, meta::RESTORING)?.is_some() {
            return Err(StorageError::RestoreUnfinished { path: path.to_owned() });
        }
        Ok(Self { inner: Arc::new(inner) })
    }

    pub(crate) fn attach(path: &Path, genesis: &Genesis) -> Result<Inner, StorageError> {
        let root = genesis_changes(genesis)?.root;
        Ok(Inner {
            rocks: open_rocks(path)?,
            genesis: *genesis,
            genesis_checkpoint: genesis.checkpoint::<Native>(root),
            path: path.to_owned(),
            writer: Mutex::new(()),
        })
    }

    /// The chain's configuration.
    pub fn genesis(&self) -> &Genesis {
        &self.inner.genesis
    }

    /// Where the database is.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// A snapshot to read from.
    pub fn view(&self) -> Result<View<'_>, StorageError> {
        View::new(&self.inner)
    }

    /// The state at the head, to execute the next block on. Take its blocks with [`Execution::follow`] after
    /// [`Database::commit_block`], which writes their changes.
    pub fn execution(&self) -> Result<Execution<StateStore>, StorageError> {
        let _guard = self.inner.lock();
        let head = view::checkpoint(&*self.inner, meta::HEAD)?;
        let tree = StateTree::open(StateStore { inner: self.inner.clone() })?;
        if tree.root() != head.state_root {
            return Err(StorageError::WrongRoot { got: tree.root(), expected: head.state_root });
        }
        Ok(Execution::new(self.inner.genesis.chain_id, tree, head))
    }

    /// Makes a block the head: its record, the state it leads to, what undoes it, the indices, and the removal of its transactions from the mempool log, in one
    /// atomic write that is on the disk when this returns.
    ///
    /// # Errors
    /// `NotNext` and `WrongRoot`, with nothing written.
    pub fn commit_block(&self, block: &BlockRecord, changes: &Changes) -> Result<(), StorageError> {
        let inner = &*self.inner;
        let _guard = inner.lock();
        let head = view::checkpoint(inner, meta::HEAD)?;
        let number = block.header.number;
        if number != head.block_number + 1 || block.header.parent != head.block_hash {
            let (got, parent) = (number, block.header.parent);
            return Err(StorageError::NotNext { got, parent, head: head.block_number, head_hash: head.block_hash });
        }
        if changes.root != block.checkpoint.state_root {
            return Err(StorageError::WrongRoot { got: changes.root, expected: block.checkpoint.state_root });
        }
        let mut batch = WriteBatch::default();
        self.put_undo(&mut batch, number, changes)?;
        inner.put_state(&mut batch, &changes.leaves, &changes.nodes);
        put_block(inner, &mut batch, block);
        for transaction in &block.transactions {
            batch.delete_cf(inner.column(Column::Pool), transaction.hash.0);
        }
        batch.put_cf(inner.column(Column::Meta), meta::HEAD, block.checkpoint.encode());
        inner.write(batch)
    }

    /// Notes what the changed leaves and nodes were before `block`.
    fn put_undo(&self, batch: &mut WriteBatch, block: u64, changes: &Changes) -> Result<(), StorageError> {
        let inner = &*self.inner;
        let leaves: Vec<[u8; 32]> = changes.leaves.iter().map(|(key, _)| key.to_bytes()).collect();
        let nodes: Vec<[u8; NODE_KEY_BYTES]> =
            changes.nodes.iter().map(|&((height, position), _)| node_key(height, position)).collect();
        let mut keep = |from: Column, to: Column, keys: &mut dyn Iterator<Item = &[u8]>| -> Result<(), StorageError> {
            let keys: Vec<&[u8]> = keys.collect();
            let before = inner.rocks.batched_multi_get_cf(inner.column(from), keys.iter().copied(), false);
            for (key, value) in keys.into_iter().zip(before) {
                let value = value?;
                batch.put_cf(inner.column(to), history_key(key, block), value.as_deref().unwrap_or_default());
            }
            Ok(())
        };
        keep(Column::Leaves, Column::LeafHistory, &mut leaves.iter().map(<[u8; 32]>::as_slice))?;
        keep(Column::Nodes, Column::NodeHistory, &mut nodes.iter().map(<[u8; NODE_KEY_BYTES]>::as_slice))?;
        let touched = Touched {
            leaves: changes.leaves.iter().map(|(key, _)| *key).collect(),
            nodes: changes.nodes.iter().map(|(place, _)| *place).collect(),
        };
        batch.put_cf(inner.column(Column::Undo), block.to_be_bytes(), touched.encode());
        Ok(())
    }

    fn touched(&self, block: u64) -> Result<Touched, StorageError> {
        let bytes = self.inner.get(Column::Undo, &block.to_be_bytes())?;
        let bytes = bytes.ok_or(StorageError::Missing { what: "undo data of block", number: block })?;
        Touched::decode(&bytes).map_err(StorageError::malformed("undo data"))
    }

    /// Undoes every block after `block_number`, and forgets batches that hold one of them, in one atomic write. With `keep_transactions` the undone blocks' transactions go
    /// back into the mempool log, before what is in it: they have been acknowledged.
    ///
    /// An [`Execution`] over this database is then at a state that is gone: make a new one.
    ///
    /// # Errors
    /// `OutsideWindow` for a block before the floor or after the head.
    pub fn revert_to(&self, block_number: u64, keep_transactions: bool) -> Result<Reverted, StorageError> {
        let inner = &*self.inner;
        let _guard = inner.lock();
        let head = view::checkpoint(inner, meta::HEAD)?.block_number;
        let floor = view::checkpoint(inner, meta::FLOOR)?;
        if !(floor.block_number..=head).contains(&block_number) {
            return Err(StorageError::OutsideWindow { asked: block_number, floor: floor.block_number, head });
        }
        let mut batch = WriteBatch::default();
        let (mut leaves, mut nodes) = (BTreeMap::new(), BTreeMap::new());
        let mut undone = Vec::new();
        // Downwards, so that what remains in the maps is what was there before the first undone block.
        for number in (block_number + 1..=head).rev() {
            let number_bytes = number.to_be_bytes();
            let touched = self.touched(number)?;
            for key in &touched.leaves {
                self.take_history(&mut batch, Column::LeafHistory, &key.to_bytes(), number, &mut leaves)?;
            }
            for &(height, position) in &touched.nodes {
                self.take_history(&mut batch, Column::NodeHistory, &node_key(height, position), number, &mut nodes)?;
            }
            let block = view::block(inner, number)?.ok_or(StorageError::Missing { what: "block", number })?;
            for column in [Column::Undo, Column::Blocks, Column::Blooms] {
                batch.delete_cf(inner.column(column), number_bytes);
            }
            batch.delete_cf(inner.column(Column::BlockNumbers), block.hash().0);
            for transaction in &block.transactions {
                batch.delete_cf(inner.column(Column::Transactions), transaction.hash.0);
            }
            undone.push(block);
        }
        for (column, before) in [(Column::Leaves, leaves), (Column::Nodes, nodes)] {
            for (key, value) in before {
                match value.is_empty() {
                    true => batch.delete_cf(inner.column(column), key),
                    false => batch.put_cf(inner.column(column), key, value),
                }
            }
        }
        let hashes_and_bytes = undone.into_iter().rev().flat_map(|block| {
            let hashes: Vec<Hash> = block.transactions.iter().map(|transaction| transaction.hash).collect();
            hashes.into_iter().zip(block.items.transactions)
        });
        let transactions: Vec<PoolRecord> =
            (0..).zip(hashes_and_bytes).map(|(arrival, (hash, bytes))| PoolRecord { hash, arrival, bytes }).collect();
        if keep_transactions {
            for record in &transactions {
                batch.put_cf(inner.column(Column::Pool), record.hash.0, record.encode());
            }
        }
        self.forget_batches_after(&mut batch, block_number)?;
        let checkpoint = self.checkpoint_at(block_number, &floor)?;
        batch.put_cf(inner.column(Column::Meta), meta::HEAD, checkpoint.encode());
        inner.write(batch)?;
        Ok(Reverted { head: checkpoint, transactions })
    }

    /// Takes what `key` was before `block` out of its history and into `before`.
    fn take_history(
        &self,
        batch: &mut WriteBatch,
        column: Column,
        key: &[u8],
        block: u64,
        before: &mut BTreeMap<Vec<u8>, Vec<u8>>,
    ) -> Result<(), StorageError> {
        let place = history_key(key, block);
        let value = self.inner.get(column, &place)?.map(|bytes| bytes.to_vec());
        let value = value.ok_or(StorageError::Missing { what: "undo data of block", number: block })?;
        before.insert(key.to_vec(), value);
        batch.delete_cf(self.inner.column(column), place);
        Ok(())
    }

    fn checkpoint_at(&self, number: u64, floor: &Checkpoint) -> Result<Checkpoint, StorageError> {
        if number == floor.block_number {
            return Ok(*floor);
        }
        let block = view::block(&*self.inner, number)?;
        Ok(block.ok_or(StorageError::Missing { what: "block", number })?.checkpoint)
    }

    fn forget_batches_after(&self, batch: &mut WriteBatch, block_number: u64) -> Result<(), StorageError> {
        let inner = &*self.inner;
        let mut number = view::last_number(inner, Column::Batches)?.unwrap_or(0);
        while let Some(record) = view::batch(inner, number)?.filter(|record| record.last_block > block_number) {
            batch.delete_cf(inner.column(Column::Batches), number.to_be_bytes());
            batch.delete_cf(inner.column(Column::BatchEnds), record.last_block.to_be_bytes());
            number -= 1;
        }
        for key in [meta::COMMITTED, meta::EXECUTED] {
            if view::number(inner, key)?.is_some_and(|last| last > number) {
                batch.put_cf(inner.column(Column::Meta), key, number.to_be_bytes());
            }
        }
        Ok(())
    }

    /// Puts records of blocks in front of the first one that is kept, the latest first: history that a restored state came without. Each must have the hash that the block behind it names as its
    /// parent, so that nothing but the chain's own blocks gets there; what a record says beside its header is the caller's to have executed.
    ///
    /// # Errors
    /// `NotNext` for another block, with nothing written.
    pub fn put_earlier_blocks(&self, blocks: &[BlockRecord]) -> Result<(), StorageError> {
        let inner = &*self.inner;
        let _guard = inner.lock();
        let mut first = view::number(inner, meta::FIRST_BLOCK)?.unwrap_or(1);
        let mut wanted = match view::block(inner, first)? {
            Some(block) => block.header.parent,
            None => view::checkpoint(inner, meta::HEAD)?.block_hash,
        };
        let mut batch = WriteBatch::default();
        for block in blocks {
            let (got, hash) = (block.header.number, block.header.hash::<Native>());
            if got == 0 || got + 1 != first || hash != wanted || block.hash() != hash {
                return Err(StorageError::NotNext { got, parent: hash, head: first, head_hash: wanted });
            }
            put_block(inner, &mut batch, block);
            (first, wanted) = (got, block.header.parent);
        }
        batch.put_cf(inner.column(Column::Meta), meta::FIRST_BLOCK, first.to_be_bytes());
        inner.write(batch)
    }

    /// Adds transactions to the mempool log. They are on the disk when this returns, and only then may be acknowledged; one call for many
    /// transactions costs one fsync.
    pub fn pool_add(&self, records: &[PoolRecord]) -> Result<(), StorageError> {
        self.pool_update(records, &[])
    }

    /// Removes transactions from the mempool log: those that were dropped. A block removes its own.
    pub fn pool_remove(&self, hashes: &[Hash]) -> Result<(), StorageError> {
        self.pool_update(&[], hashes)
    }

    /// Removes and adds transactions in one write: a replacement takes the place of another.
    pub fn pool_update(&self, added: &[PoolRecord], removed: &[Hash]) -> Result<(), StorageError> {
        let mut batch = WriteBatch::default();
        for hash in removed {
            batch.delete_cf(self.inner.column(Column::Pool), hash.0);
        }
        for record in added {
            batch.put_cf(self.inner.column(Column::Pool), record.hash.0, record.encode());
        }
        self.inner.write(batch)
    }

    /// Writes a batch's record, over the one of its number if there is one, and keeps `committed` and `executed` in step with its stage: a batch that falls
    /// back to an earlier stage takes the later ones with it.
    ///
    /// # Errors
    /// `BatchOutOfPlace` unless it begins where the batch before it ends (the first after the restored state excepted), with nothing written.
    pub fn put_batch(&self, record: &BatchRecord) -> Result<(), StorageError> {
        let inner = &*self.inner;
        let _guard = inner.lock();
        let number = record.number;
        let out_of_place = |reason| Err(StorageError::BatchOutOfPlace { number, reason });
        if number == 0 || record.first_block > record.last_block {
            return out_of_place("batches and their blocks count from 1");
        }
        if record.parent.block_number + 1 != record.first_block || record.checkpoint.block_number != record.last_block {
            return out_of_place("its checkpoints are not those of its blocks");
        }
        let last = view::last_number(inner, Column::Batches)?;
        match view::batch(inner, number - 1)? {
            Some(before) if before.last_block + 1 != record.first_block => {
                return out_of_place("it does not begin where the batch before it ends");
            }
            None if last.is_some_and(|last| last < number) => return out_of_place("the batch before it is not known"),
            _ => {}
        }
        let mut batch = WriteBatch::default();
        if let Some(old) = view::batch(inner, number)? {
            if old.last_block != record.last_block && last != Some(number) {
                return out_of_place("a later batch begins where the stored one ends");
            }
            batch.delete_cf(inner.column(Column::BatchEnds), old.last_block.to_be_bytes());
        }
        batch.put_cf(inner.column(Column::Batches), number.to_be_bytes(), record.encode());
        batch.put_cf(inner.column(Column::BatchEnds), record.last_block.to_be_bytes(), number.to_be_bytes());
        for (key, stage) in [(meta::COMMITTED, Stage::Committed), (meta::EXECUTED, Stage::Executed)] {
            let current = view::number(inner, key)?;
            let now = match record.stage >= stage {
                true => number.max(current.unwrap_or(0)),
                false => (number - 1).min(current.unwrap_or(0)),
            };
            if current.unwrap_or(0) != now {
                batch.put_cf(inner.column(Column::Meta), key, now.to_be_bytes());
            }
        }
        inner.write(batch)
    }

    /// Forgets the records of batches from a number on, and leaves their blocks: L1 has dropped them.
    pub fn forget_batches(&self, from: u64) -> Result<(), StorageError> {
        let inner = &*self.inner;
        let _guard = inner.lock();
        let Some(first) = view::batch(inner, from)? else { return Ok(()) };
        let mut batch = WriteBatch::default();
        self.forget_batches_after(&mut batch, first.last_block - 1)?;
        inner.write(batch)
    }

    /// Records how far L1 has been followed and the priority requests found on the way: (index, bytes), without a gap. Requests from the first index on
    /// are replaced, because a reorganised L1 may have others there.
    ///
    /// # Errors
    /// `RequestOutOfPlace`, with nothing written.
    pub fn follow_l1(&self, cursor: &L1Cursor, first: u64, requests: &[Vec<u8>]) -> Result<(), StorageError> {
        let inner = &*self.inner;
        let _guard = inner.lock();
        let next = view::last_number(inner, Column::Requests)?.map_or(0, |last| last + 1);
        if first > next && !(next == 0 && requests.is_empty()) {
            return Err(StorageError::RequestOutOfPlace { got: first, expected: next });
        }
        let mut batch = WriteBatch::default();
        for index in first..next {
            batch.delete_cf(inner.column(Column::Requests), index.to_be_bytes());
        }
        for (index, request) in (first..).zip(requests) {
            batch.put_cf(inner.column(Column::Requests), index.to_be_bytes(), request);
        }
        batch.put_cf(inner.column(Column::Meta), meta::L1_CURSOR, cursor.encode());
        inner.write(batch)
    }

    /// Changes the journal, all edits or none; on the disk when this returns.
    ///
    /// # Errors
    /// `TooMuch` for a key or value over its limit.
    pub fn journal_write(&self, edits: &[JournalEdit]) -> Result<(), StorageError> {
        let journal = self.inner.column(Column::Journal);
        let mut batch = WriteBatch::default();
        for edit in edits {
            edit.check()?;
            match edit {
                JournalEdit::Put { space, key, value } => batch.put_cf(journal, journal_key(*space, key), value),
                JournalEdit::Delete { space, key } => batch.delete_cf(journal, journal_key(*space, key)),
            }
        }
        self.inner.write(batch)
    }

    /// Keeps a batch's certificate.
    pub fn put_certificate(&self, batch_number: u64, certificate: &[u8]) -> Result<(), StorageError> {
        let (key, value) = (batch_number.to_be_bytes().to_vec(), certificate.to_vec());
        self.journal_write(&[JournalEdit::Put { space: Space::Certificates, key, value }])
    }

    /// Keeps a batch's proof.
    pub fn put_proof(&self, batch_number: u64, proof: &[u8]) -> Result<(), StorageError> {
        let (key, value) = (batch_number.to_be_bytes().to_vec(), proof.to_vec());
        self.journal_write(&[JournalEdit::Put { space: Space::Proofs, key, value }])
    }

    /// Drops undo data up to `block_number`: the floor moves there, and no earlier state can be had any more. In steps, so that blocks are written in between.
    ///
    /// # Errors
    /// `NotExecuted` for a block that L1 has not executed: it may still have to be undone.
    pub fn prune_undo(&self, block_number: u64) -> Result<(), StorageError> {
        while !self.prune_undo_step(block_number, UNDO_STEP_RECORDS)?.is_done {}
        Ok(())
    }

    /// One step of dropping undo data up to `block_number`: the oldest blocks' in one atomic write, as many as have `records_max` records together, and at least one. Whoever writes blocks waits
    /// no longer than this takes.
    ///
    /// The write is not forced to the disk: a crash that loses it leaves the floor where it was and all undo data above it, and the next step drops the same again.
    ///
    /// # Errors
    /// `NotExecuted` for a block that L1 has not executed: it may still have to be undone.
    pub fn prune_undo_step(&self, block_number: u64, records_max: usize) -> Result<UndoPruned, StorageError> {
        let inner = &*self.inner;
        let _guard = inner.lock();
        let executed = self.view()?.executed_batch()?.map_or(0, |batch| batch.last_block);
        if block_number > executed {
            return Err(StorageError::NotExecuted { asked: block_number, executed });
        }
        let floor = view::checkpoint(inner, meta::FLOOR)?;
        let head = view::checkpoint(inner, meta::HEAD)?.block_number;
        let end = block_number.min(head);
        let mut pruned = UndoPruned { floor: floor.block_number, blocks: 0, records: 0, is_done: true };
        let mut batch = WriteBatch::default();
        while pruned.floor < end {
            let number = pruned.floor + 1;
            let touched = self.touched(number)?;
            let records = touched.leaves.len() + touched.nodes.len() + 1;
            if pruned.blocks > 0 && pruned.records + records > records_max {
                pruned.is_done = false;
                break;
            }
            for key in &touched.leaves {
                batch.delete_cf(inner.column(Column::LeafHistory), history_key(&key.to_bytes(), number));
            }
            for &(height, position) in &touched.nodes {
                let key = node_key(height, position);
                batch.delete_cf(inner.column(Column::NodeHistory), history_key(&key, number));
            }
            batch.delete_cf(inner.column(Column::Undo), number.to_be_bytes());
            pruned = UndoPruned {
                floor: number,
                blocks: pruned.blocks + 1,
                records: pruned.records + records,
                is_done: true,
            };
        }
        if pruned.blocks > 0 {
            let checkpoint = self.checkpoint_at(pruned.floor, &floor)?;
            batch.put_cf(inner.column(Column::Meta), meta::FLOOR, checkpoint.encode());
            inner.rocks.write(batch)?;
        }
        Ok(pruned)
    }

    /// Drops the records of blocks before `block_number`, their batch data included. The state does not need them; whoever syncs from here does.
    ///
    /// # Errors
    /// `OutsideWindow` for blocks after the floor, which could not be undone without their records.
    pub fn prune_blocks(&self, block_number: u64) -> Result<(), StorageError> {
        let inner = &*self.inner;
        loop {
            let _guard = inner.lock();
            let floor = view::checkpoint(inner, meta::FLOOR)?.block_number;
            if block_number > floor {
                let head = view::checkpoint(inner, meta::HEAD)?.block_number;
                return Err(StorageError::OutsideWindow { asked: block_number, floor, head });
            }
            let first = view::number(inner, meta::FIRST_BLOCK)?.unwrap_or(1);
            let end = block_number.min(first + PRUNE_STEP);
            if end <= first {
                return Ok(());
            }
            let mut batch = WriteBatch::default();
            for number in first..end {
                let block = view::block(inner, number)?.ok_or(StorageError::Missing { what: "block", number })?;
                batch.delete_cf(inner.column(Column::Blocks), number.to_be_bytes());
                batch.delete_cf(inner.column(Column::Blooms), number.to_be_bytes());
                batch.delete_cf(inner.column(Column::BlockNumbers), block.hash().0);
                let hashes: BTreeSet<Hash> = block.transactions.iter().map(|transaction| transaction.hash).collect();
                for hash in hashes {
                    batch.delete_cf(inner.column(Column::Transactions), hash.0);
                }
            }
            batch.put_cf(inner.column(Column::Meta), meta::FIRST_BLOCK, end.to_be_bytes());
            inner.write(batch)?;
        }
    }
}

/// A block's record and what it is found by.
fn put_block(inner: &Inner, batch: &mut WriteBatch, block: &BlockRecord) {
    let block_number = block.header.number;
    let number_bytes = block_number.to_be_bytes();
    batch.put_cf(inner.column(Column::Blocks), number_bytes, block.encode());
    let bloom = Bloom::of(block.logs().map(|(_, log)| log));
    batch.put_cf(inner.column(Column::Blooms), number_bytes, bloom.0);
    batch.put_cf(inner.column(Column::BlockNumbers), block.hash().0, number_bytes);
    for (index, transaction) in (0..).zip(&block.transactions) {
        let place = TransactionPlace { block_number, index };
        batch.put_cf(inner.column(Column::Transactions), transaction.hash.0, place.encode());
    }
}

impl Inner {
    /// Writes the first state of the chain.
    fn begin(&self) -> Result<(), StorageError> {
        let changes = genesis_changes(&self.genesis)?;
        let mut batch = WriteBatch::default();
        self.put_state(&mut batch, &changes.leaves, &changes.nodes);
        self.put_identity(&mut batch);
        self.put_ends(&mut batch, &self.genesis_checkpoint);
        self.write(batch)
    }

    pub(crate) fn put_identity(&self, batch: &mut WriteBatch) {
        batch.put_cf(self.column(Column::Meta), meta::SCHEMA, SCHEMA.to_be_bytes());
        batch.put_cf(self.column(Column::Meta), meta::GENESIS, self.genesis_checkpoint.block_hash.0);
    }

    /// Puts head and floor at one checkpoint, with no record of a block before it.
    pub(crate) fn put_ends(&self, batch: &mut WriteBatch, checkpoint: &Checkpoint) {
        batch.put_cf(self.column(Column::Meta), meta::HEAD, checkpoint.encode());
        batch.put_cf(self.column(Column::Meta), meta::FLOOR, checkpoint.encode());
        batch.put_cf(self.column(Column::Meta), meta::FIRST_BLOCK, (checkpoint.block_number + 1).to_be_bytes());
    }
}
