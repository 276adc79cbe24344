//! One consistent look at everything.

use joule_protocol::{Checkpoint, Genesis, Hash, Native};
use joule_state::{StateTree, wire::Reader};
use rocksdb::{DB, ReadOptions, SnapshotWithThreadMode};

use crate::{
    BatchRecord, BlockRecord, Bloom, HistoricStore, JournalEdit, JournalRecord, L1Cursor, PoolRecord, Space, Stage,
    StorageError, TransactionPlace, TransactionRecord, ViewStore,
    database::Inner,
    journal::journal_key,
    layout::{Column, decode_u64, meta},
    store::Reads,
};

/// A snapshot of the database: every answer is of the same moment. It costs little to make and keeps old data from being compacted away while it lives, so
/// make one for a question and drop it.
pub struct View<'a> {
    pub(crate) inner: &'a Inner,
    pub(crate) snapshot: SnapshotWithThreadMode<'a, DB>,
    head: Checkpoint,
    floor: Checkpoint,
}

impl std::fmt::Debug for View<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("View").field("head", &self.head).finish_non_exhaustive()
    }
}

/// Reads a checkpoint that every database has.
pub(crate) fn checkpoint(reads: &impl Reads, key: &'static [u8]) -> Result<Checkpoint, StorageError> {
    let bytes = reads.get(Column::Meta, key)?.ok_or(StorageError::Missing { what: "checkpoint", number: 0 })?;
    let mut reader = Reader::new(&bytes);
    let checkpoint = reader.checkpoint("checkpoint").map_err(StorageError::malformed("checkpoint"))?;
    reader.end().map_err(StorageError::malformed("checkpoint"))?;
    Ok(checkpoint)
}

/// Reads a number of [`Column::Meta`].
pub(crate) fn number(reads: &impl Reads, key: &[u8]) -> Result<Option<u64>, StorageError> {
    let bytes = reads.get(Column::Meta, key)?;
    bytes.map(|bytes| decode_u64(&bytes).map_err(StorageError::malformed("number"))).transpose()
}

/// Reads a block's record.
pub(crate) fn block(reads: &impl Reads, number: u64) -> Result<Option<BlockRecord>, StorageError> {
    let bytes = reads.get(Column::Blocks, &number.to_be_bytes())?;
    bytes.map(|bytes| BlockRecord::decode(&bytes).map_err(StorageError::malformed("block"))).transpose()
}

/// Reads a batch's record.
pub(crate) fn batch(reads: &impl Reads, number: u64) -> Result<Option<BatchRecord>, StorageError> {
    let bytes = reads.get(Column::Batches, &number.to_be_bytes())?;
    bytes.map(|bytes| BatchRecord::decode(&bytes).map_err(StorageError::malformed("batch"))).transpose()
}

/// The last key of a column that is a number.
pub(crate) fn last_number(reads: &impl Reads, column: Column) -> Result<Option<u64>, StorageError> {
    let mut iterator = reads.iterator(column, ReadOptions::default());
    iterator.seek_to_last();
    let last = iterator.key().map(|key| decode_u64(key).map_err(StorageError::malformed("key"))).transpose()?;
    iterator.status()?;
    Ok(last)
}

impl<'a> View<'a> {
    pub(crate) fn new(inner: &'a Inner) -> Result<Self, StorageError> {
        let snapshot = inner.rocks.snapshot();
        // The head is read through the snapshot, so it needs a view that has none yet.
        let placeholder = inner.genesis_checkpoint;
        let mut view = Self { inner, snapshot, head: placeholder, floor: placeholder };
        view.head = checkpoint(&view, meta::HEAD)?;
        view.floor = checkpoint(&view, meta::FLOOR)?;
        Ok(view)
    }

    /// The chain's configuration.
    pub fn genesis(&self) -> &Genesis {
        &self.inner.genesis
    }

    /// Where the chain stands: the checkpoint after the last block, or genesis.
    pub fn head(&self) -> &Checkpoint {
        &self.head
    }

    /// The first checkpoint whose state can be had; everything after it can be undone.
    pub fn floor(&self) -> &Checkpoint {
        &self.floor
    }

    /// Number of the first block whose record is kept; later than the head if none is.
    pub fn first_block(&self) -> Result<u64, StorageError> {
        Ok(number(self, meta::FIRST_BLOCK)?.unwrap_or(1))
    }

    /// A block. Block 0, the genesis, has no record.
    pub fn block(&self, number: u64) -> Result<Option<BlockRecord>, StorageError> {
        block(self, number)
    }

    /// The number of the block with this hash; 0 for the genesis id.
    pub fn block_number(&self, hash: &Hash) -> Result<Option<u64>, StorageError> {
        if *hash == self.inner.genesis_checkpoint.block_hash {
            return Ok(Some(0));
        }
        let bytes = self.get(Column::BlockNumbers, &hash.0)?;
        bytes.map(|bytes| decode_u64(&bytes).map_err(StorageError::malformed("block number"))).transpose()
    }

    /// The checkpoint after a block, genesis and floor included.
    pub fn checkpoint(&self, number: u64) -> Result<Option<Checkpoint>, StorageError> {
        if number == 0 {
            return Ok(Some(self.inner.genesis_checkpoint));
        }
        if number == self.floor.block_number {
            return Ok(Some(self.floor));
        }
        Ok(self.block(number)?.map(|block| block.checkpoint))
    }

    /// Filter of a block's logs.
    pub fn bloom(&self, number: u64) -> Result<Option<Bloom>, StorageError> {
        let Some(bytes) = self.get(Column::Blooms, &number.to_be_bytes())? else { return Ok(None) };
        let mut reader = Reader::new(&bytes);
        let bloom = reader.array("bloom filter").map_err(StorageError::malformed("bloom filter"))?;
        Ok(Some(Bloom(bloom)))
    }

    /// Where a transaction is.
    pub fn transaction_place(&self, hash: &Hash) -> Result<Option<TransactionPlace>, StorageError> {
        let bytes = self.get(Column::Transactions, &hash.0)?;
        bytes.map(|bytes| TransactionPlace::decode(&bytes).map_err(StorageError::malformed("place"))).transpose()
    }

    /// A transaction, with its block and where it is in it.
    pub fn transaction(
        &self,
        hash: &Hash,
    ) -> Result<Option<(TransactionPlace, TransactionRecord, BlockRecord)>, StorageError> {
        let Some(place) = self.transaction_place(hash)? else { return Ok(None) };
        let missing = StorageError::Missing { what: "block", number: place.block_number };
        let block = self.block(place.block_number)?.ok_or(missing)?;
        match block.transactions.get(place.index as usize).cloned() {
            Some(transaction) => Ok(Some((place, transaction, block))),
            None => Err(StorageError::Missing { what: "transaction of block", number: place.block_number }),
        }
    }

    /// The state at the head.
    pub fn tree(&'a self) -> Result<StateTree<ViewStore<'a>>, StorageError> {
        Ok(StateTree::open(ViewStore { view: self })?)
    }

    /// The state after a block, back to the [floor](View::floor).
    ///
    /// # Errors
    /// `OutsideWindow`.
    pub fn tree_at(&'a self, block_number: u64) -> Result<StateTree<HistoricStore<'a>>, StorageError> {
        let (floor, head) = (self.floor.block_number, self.head.block_number);
        if !(floor..=head).contains(&block_number) {
            return Err(StorageError::OutsideWindow { asked: block_number, floor, head });
        }
        Ok(StateTree::open(HistoricStore { view: self, at: block_number })?)
    }

    /// A batch.
    pub fn batch(&self, number: u64) -> Result<Option<BatchRecord>, StorageError> {
        batch(self, number)
    }

    /// The batch that holds a block, if it has been sealed.
    pub fn batch_of_block(&self, block_number: u64) -> Result<Option<BatchRecord>, StorageError> {
        let mut iterator = self.iterator(Column::BatchEnds, ReadOptions::default());
        iterator.seek(block_number.to_be_bytes());
        let number = match iterator.value() {
            Some(bytes) => decode_u64(bytes).map_err(StorageError::malformed("batch number"))?,
            None => {
                iterator.status()?;
                return Ok(None);
            }
        };
        Ok(self.batch(number)?.filter(|batch| batch.first_block <= block_number))
    }

    /// The last batch that has been sealed.
    pub fn last_batch(&self) -> Result<Option<BatchRecord>, StorageError> {
        last_number(self, Column::Batches)?.map_or(Ok(None), |number| self.batch(number))
    }

    /// The last batch that L1 has committed (`safe`).
    pub fn committed_batch(&self) -> Result<Option<BatchRecord>, StorageError> {
        number(self, meta::COMMITTED)?.map_or(Ok(None), |number| self.batch(number))
    }

    /// The last batch that L1 has executed (`finalized`).
    pub fn executed_batch(&self) -> Result<Option<BatchRecord>, StorageError> {
        number(self, meta::EXECUTED)?.map_or(Ok(None), |number| self.batch(number))
    }

    /// Batches of a stage or earlier ones, by rising number, at most `limit`: what settlement still has to do.
    pub fn batches_up_to(&self, stage: Stage, limit: usize) -> Result<Vec<BatchRecord>, StorageError> {
        let mut batches = Vec::new();
        let executed = number(self, meta::EXECUTED)?.unwrap_or(0);
        let mut next = if stage == Stage::Executed { 1 } else { executed + 1 };
        while batches.len() < limit {
            match self.batch(next)? {
                Some(batch) if batch.stage <= stage => batches.push(batch),
                Some(_) => {}
                None => break,
            }
            next += 1;
        }
        Ok(batches)
    }

    /// Everything in the mempool log, by order of arrival. Bounded by what the mempool admits.
    pub fn pool_all(&self) -> Result<Vec<PoolRecord>, StorageError> {
        let mut records = Vec::new();
        let mut iterator = self.iterator(Column::Pool, ReadOptions::default());
        iterator.seek_to_first();
        while let Some((key, value)) = iterator.item() {
            let malformed = || StorageError::malformed("mempool record");
            let hash = Reader::new(key).hash("transaction hash").map_err(malformed())?;
            records.push(PoolRecord::decode(hash, value).map_err(malformed())?);
            iterator.next();
        }
        iterator.status()?;
        records.sort_by_key(|record| (record.arrival, record.hash));
        Ok(records)
    }

    /// How far L1 has been followed.
    pub fn l1_cursor(&self) -> Result<Option<L1Cursor>, StorageError> {
        let bytes = self.get(Column::Meta, meta::L1_CURSOR)?;
        bytes.map(|bytes| L1Cursor::decode(&bytes).map_err(StorageError::malformed("L1 cursor"))).transpose()
    }

    /// A priority request that L1 has made, by index from 0.
    pub fn request(&self, index: u64) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.get(Column::Requests, &index.to_be_bytes())?.map(|bytes| bytes.to_vec()))
    }

    /// How many requests L1 has made, as far as it has been followed.
    pub fn requests_count(&self) -> Result<u64, StorageError> {
        Ok(last_number(self, Column::Requests)?.map_or(0, |last| last + 1))
    }

    /// At most `limit` requests from index `first` on.
    pub fn requests(&self, first: u64, limit: usize) -> Result<Vec<Vec<u8>>, StorageError> {
        let mut requests = Vec::new();
        while requests.len() < limit {
            match self.request(first + requests.len() as u64)? {
                Some(request) => requests.push(request),
                None => break,
            }
        }
        Ok(requests)
    }

    /// The first request that a block which can be undone has consumed and that is not here, or is another one here: L1 took it back. What was consumed before the [floor](View::floor) may be
    /// missing, because a restored state came without.
    pub fn requests_missing(&self) -> Result<Option<u64>, StorageError> {
        let (from, to) = (self.floor.priority_count, self.head.priority_count);
        // The accumulator tells all of them at once; blocks are looked at only where one is another.
        let mut acc = self.floor.priority_acc;
        for index in from..to {
            let Some(request) = self.request(index)? else { break };
            acc.absorb::<Native>(&request);
        }
        if acc == self.head.priority_acc {
            return Ok(None);
        }
        let mut index = from;
        for number in self.floor.block_number + 1..=self.head.block_number {
            let block = self.block(number)?.ok_or(StorageError::Missing { what: "block", number })?;
            for request in &block.items.requests {
                if self.request(index)?.as_ref() != Some(request) {
                    return Ok(Some(index));
                }
                index += 1;
            }
        }
        Ok(None)
    }

    /// The last block that has consumed no request from `index` on: where to go back to when L1 has taken them back. `None` if that is before the
    /// [floor](View::floor).
    pub fn last_block_before_request(&self, index: u64) -> Result<Option<u64>, StorageError> {
        let mut number = self.head.block_number;
        while self.checkpoint(number)?.is_some_and(|checkpoint| checkpoint.priority_count > index) {
            if number == self.floor.block_number {
                return Ok(None);
            }
            number -= 1;
        }
        Ok(Some(number))
    }

    /// A record of the journal.
    pub fn journal(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.get(Column::Journal, &journal_key(space, key))?.map(|bytes| bytes.to_vec()))
    }

    /// Records of a space by rising key, keys and values, from key `from` on, at most [`JournalEdit::SCAN_MAX`].
    pub fn journal_scan(&self, space: Space, from: &[u8]) -> Result<Vec<JournalRecord>, StorageError> {
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(vec![space as u8 + 1]);
        let mut iterator = self.iterator(Column::Journal, options);
        iterator.seek(journal_key(space, from));
        let mut records = Vec::new();
        while let Some((key, value)) = iterator.item() {
            if records.len() == JournalEdit::SCAN_MAX {
                break;
            }
            records.push((key[1..].to_vec(), value.to_vec()));
            iterator.next();
        }
        iterator.status()?;
        Ok(records)
    }

    /// A batch's certificate, as the committee encodes it.
    pub fn certificate(&self, batch_number: u64) -> Result<Option<Vec<u8>>, StorageError> {
        self.journal(Space::Certificates, &batch_number.to_be_bytes())
    }

    /// A batch's proof, as L1 takes it.
    pub fn proof(&self, batch_number: u64) -> Result<Option<Vec<u8>>, StorageError> {
        self.journal(Space::Proofs, &batch_number.to_be_bytes())
    }
}
