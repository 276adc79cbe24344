//! The whole state at an executed checkpoint, in a file: what pruned data is traded for, and what a new member starts from.

use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use alloy_primitives::B256;
use joule_committee::{Reader, WireError};
use joule_committee_client::{
    Committee, Endpoint, Question, RequestError,
    route::{SNAPSHOT_HEAD_BYTES, SNAPSHOT_PAGE_BYTES_MAX},
};
use joule_protocol::{Checkpoint, Native};
use joule_storage::{Database, StorageError};
use thiserror::Error;

use crate::{
    journal::{self, JournalError},
    worker::{self, WorkError},
};

/// Bytes of one page.
const PAGE_BYTES: u64 = SNAPSHOT_PAGE_BYTES_MAX as u64;
/// The longest snapshot fetched: 2^32 leaves would be a terabyte, which nobody fetches over this interface.
const SNAPSHOT_BYTES_MAX: u64 = 256 << 30;

/// Why there is no snapshot.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The disk.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The batches on disk.
    #[error(transparent)]
    Work(Box<WorkError>),
    /// The file.
    #[error("the snapshot {path}: {error}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The peer did not serve it.
    #[error("the peer does not serve a snapshot: {0}")]
    Request(#[from] RequestError),
    /// The peer's answer is none.
    #[error("the peer's page is none: {0}")]
    Page(#[from] WireError),
    /// A snapshot of a state that L1 has not executed.
    #[error("the snapshot is of checkpoint {checkpoint}, which L1 has not executed")]
    NotExecuted {
        /// Its checkpoint.
        checkpoint: B256,
    },
    /// Bytes that encode no checkpoint where the snapshot's is.
    #[error("the snapshot names no checkpoint")]
    NoCheckpoint,
    /// The peer's pages do not fit together.
    #[error("the peer's page at byte {from} has {got} bytes and belongs to a snapshot of {total}")]
    BrokenPages {
        /// First byte of the page.
        from: u64,
        /// Bytes it has.
        got: u64,
        /// Bytes of the snapshot.
        total: u64,
    },
}

impl From<WorkError> for SnapshotError {
    fn from(error: WorkError) -> Self {
        Self::Work(Box::new(error))
    }
}

fn io_at(path: &Path) -> impl Fn(io::Error) -> SnapshotError {
    let path = path.to_owned();
    move |error| SnapshotError::Io { path: path.clone(), error }
}

/// Where a member's snapshots are: beside its database.
pub fn folder(database: &Database) -> PathBuf {
    database.path().with_file_name("snapshots")
}

fn file(folder: &Path, block: u64) -> PathBuf {
    folder.join(format!("{block}.snapshot"))
}

/// Writes the state at the last executed checkpoint, restores it beside to see that it has the checkpoint's root, and makes it the snapshot that is served and
/// that pruning leans on. Returns its block; `None` if nothing was executed since the last one.
///
/// # Errors
/// The disk, or a snapshot that does not restore: then nothing is pruned.
pub fn write(database: &Database) -> Result<Option<u64>, SnapshotError> {
    let folder = folder(database);
    let (block, expected, before) = {
        let view = database.view()?;
        let (_, checkpoint) = worker::executed(&view)?;
        let before = journal::snapshot_block(&view)?;
        if checkpoint.block_number <= before {
            return Ok(None);
        }
        fs::create_dir_all(&folder).map_err(io_at(&folder))?;
        let path = file(&folder, checkpoint.block_number);
        let mut out = BufWriter::new(File::create(&path).map_err(io_at(&path))?);
        view.snapshot(checkpoint.block_number, &mut out)?;
        let out = out.into_inner().map_err(|error| io_at(&path)(error.into_error()))?;
        out.sync_all().map_err(io_at(&path))?;
        (checkpoint.block_number, checkpoint.hash::<Native>(), before)
    };
    let path = file(&folder, block);
    let trial = folder.join("trial");
    if trial.exists() {
        fs::remove_dir_all(&trial).map_err(io_at(&trial))?;
    }
    let mut input = BufReader::new(File::open(&path).map_err(io_at(&path))?);
    drop(Database::restore(&trial, database.genesis(), &expected, &mut input)?);
    fs::remove_dir_all(&trial).map_err(io_at(&trial))?;
    // The file's name must be as durable as its bytes before anything leans on it.
    File::open(&folder).and_then(|folder| folder.sync_all()).map_err(io_at(&folder))?;
    journal::keep_snapshot_block(database, block)?;
    if before != 0 {
        let old = file(&folder, before);
        match fs::remove_file(&old) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io_at(&old)(error)),
        }
    }
    Ok(Some(block))
}

/// A page: the snapshot's block, its length, and bytes from `from` on.
///
/// # Errors
/// The file.
pub fn read_page(folder: &Path, block: u64, from: u64) -> io::Result<Vec<u8>> {
    let mut input = File::open(file(folder, block))?;
    let total = input.metadata()?.len();
    let length = total.saturating_sub(from).min(PAGE_BYTES);
    let mut page = Vec::with_capacity(SNAPSHOT_HEAD_BYTES + length as usize);
    page.extend_from_slice(&block.to_be_bytes());
    page.extend_from_slice(&total.to_be_bytes());
    input.seek(SeekFrom::Start(from.min(total)))?;
    input.take(length).read_to_end(&mut page)?;
    Ok(page)
}

/// Fetches a peer's snapshot into `path`. Nothing of it is believed: it is restored against a checkpoint that L1 executed.
///
/// # Errors
/// The peer, or the disk.
pub async fn fetch(committee: &Committee, peer: &Endpoint, path: &Path, limit: Duration) -> Result<(), SnapshotError> {
    let mut out = BufWriter::new(File::create(path).map_err(io_at(path))?);
    let (mut from, mut block) = (0, None);
    loop {
        let page = committee.ask(peer, Question::Snapshot { from, block }, limit).await?;
        let mut reader = Reader::new(&page);
        let (got_block, total) = (reader.u64()?, reader.u64()?);
        let bytes = reader.bytes(reader.left())?;
        let got = bytes.len() as u64;
        let is_whole = got == PAGE_BYTES || from + got == total;
        if got == 0
            || !is_whole
            || from + got > total
            || total > SNAPSHOT_BYTES_MAX
            || *block.get_or_insert(got_block) != got_block
        {
            return Err(SnapshotError::BrokenPages { from, got, total });
        }
        out.write_all(bytes).map_err(io_at(path))?;
        from += got;
        if from == total {
            return out.flush().map_err(io_at(path));
        }
    }
}

/// Opens a snapshot's file.
///
/// # Errors
/// The file.
pub fn open(path: &Path) -> Result<File, SnapshotError> {
    File::open(path).map_err(io_at(path))
}

/// The checkpoint that a snapshot claims to be of.
///
/// # Errors
/// The file, or bytes that are no snapshot's.
pub fn checkpoint_of(path: &Path) -> Result<Checkpoint, SnapshotError> {
    // Behind the format and the genesis id; the restore checks both.
    let mut head = [0; 4 + 32 + Checkpoint::BYTES];
    open(path)?.read_exact(&mut head).map_err(io_at(path))?;
    let mut reader = Reader::new(&head);
    reader.bytes(4 + 32)?;
    match Checkpoint::decode(&reader.array()?) {
        Some(Ok(checkpoint)) => Ok(checkpoint),
        Some(Err(_)) | None => Err(SnapshotError::NoCheckpoint),
    }
}
