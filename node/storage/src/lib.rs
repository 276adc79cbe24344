//! What a node and a committee member keep on disk: RocksDB column families, atomic commits, snapshots.
//!
//! * [`Database`] is the disk. It is cheap to clone, and every write it makes is one atomic batch that is on the disk (fsync) before the call
//!   returns. [`Database::commit_block`] writes a block, the state it leads to, what undoes it, its indices and the removal of its
//!   transactions from the mempool log, all or nothing: after a crash the block is there or it is not.
//! * [`View`] is one consistent snapshot to read from, however many blocks are written meanwhile: the head, blocks, transactions, logs, batches, and the state as
//!   of the head or of any block back to the last executed one.
//! * [`StateStore`] is the state as an [`Execution`](joule_state::Execution) reads it.
//! * The mempool log holds what has been acknowledged and is in no block yet. The journal holds records whose owners give them meaning: a member's promises, L1
//!   transactions under way, certificates, proofs.
//! * [`View::snapshot`] writes the whole state at one block into a stream, [`Database::restore`] rebuilds a database from it and accepts it only if
//!   it hashes to the root of the checkpoint that L1 executed.
//!
//! Nothing here blocks for long, and everything here blocks: call it from a thread that may.

mod bloom;
mod database;
mod error;
mod journal;
mod layout;
mod logs;
mod records;
mod snapshot;
mod store;
mod view;

pub use bloom::Bloom;
pub use database::{Database, Reverted, UNDO_STEP_RECORDS, UndoPruned};
pub use error::StorageError;
pub use journal::{JournalEdit, JournalRecord, Space};
pub use logs::{LOG_BLOCKS_MAX, LOGS_MAX, LogEntry, LogFilter, LogSource};
pub use records::{
    BatchRecord, BlockRecord, L1Cursor, OutcomeRecord, PoolRecord, RequestRecord, Stage, TransactionPlace,
    TransactionRecord, block_signing_hash,
};
pub use snapshot::{snapshot_checkpoint, write_snapshot};
pub use store::{HistoricStore, StateStore, ViewStore};
pub use view::View;
