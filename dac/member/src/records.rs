//! What probing found of each member, in a file, so that a watcher that starts anew still knows who has been failing and for how long.
//!
//! The file is written whole, beside the old one, and takes its place when it is on the disk: after a crash there is the old one or the new one. One watcher at a time
//! holds it.

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use alloy_primitives::Address;
use joule_committee_client::{Record, Scope};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Members in a file: the largest keysets of both schemes, thirty times over, because who has left may still have promised something.
pub const RECORDS_MAX: usize = 4_096;
/// Bytes of a file. A record takes some 220 bytes.
const FILE_BYTES_MAX: u64 = 2 << 20;
/// The form of the file.
const VERSION: u32 = 1;

/// Why records are not read or kept. The disk is to blame, or whoever named the file.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RecordsError {
    /// The disk.
    #[error("{}: {error}", .path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Two watchers would overwrite each other's records.
    #[error("{} is held by another watcher; give each a file of its own", .path.display())]
    Held {
        /// The file.
        path: PathBuf,
    },
    /// Not what this software writes.
    #[error("{} is not a file of records: {reason}. Restore it, or remove it to begin anew", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Records of other members.
    #[error(
        "{} is of rollup {found} on L1 {found_on}, and not of {} on {}", .path.display(), .expected.rollup, .expected.l1_chain_id
    )]
    OtherNetwork {
        /// The file.
        path: PathBuf,
        /// The rollup in the file.
        found: Address,
        /// The L1 in the file.
        found_on: u64,
        /// What is watched.
        expected: Scope,
    },
    /// More members than a committee and those before it have.
    #[error("{got} members have records, and at most {most} are kept")]
    TooMany {
        /// How many there are.
        got: usize,
        /// How many are kept.
        most: usize,
    },
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Contents {
    version: u32,
    l1_chain_id: u64,
    rollup: Address,
    records: BTreeMap<Address, Record>,
}

/// A file that this process alone writes, until it is dropped.
#[derive(Debug)]
pub struct RecordFile {
    path: PathBuf,
    scope: Scope,
    /// The system lets go of the lock with the process, however that ends.
    _lock: File,
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    path.with_file_name(name)
}

impl RecordFile {
    /// Takes the file, and reads what is in it. One that is not there yet has no records.
    ///
    /// # Errors
    /// [`RecordsError`]: records that cannot be read are not overwritten.
    pub fn open(path: &Path, scope: Scope) -> Result<(Self, BTreeMap<Address, Record>), RecordsError> {
        // Not the file itself, which another one takes the place of.
        let lock_path = beside(path, ".lock");
        let failed = |error| RecordsError::Io { path: lock_path.clone(), error };
        let lock = File::options().create(true).append(true).open(&lock_path).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(RecordsError::Held { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let records = read(path, scope)?;
        Ok((Self { path: path.to_owned(), scope, _lock: lock }, records))
    }

    /// Puts the records on the disk, in the place of those before.
    ///
    /// # Errors
    /// The disk, or too many members: then those before are still there.
    pub fn write(&self, records: &BTreeMap<Address, Record>) -> Result<(), RecordsError> {
        if records.len() > RECORDS_MAX {
            return Err(RecordsError::TooMany { got: records.len(), most: RECORDS_MAX });
        }
        let Scope { l1_chain_id, rollup } = self.scope;
        let contents = Contents { version: VERSION, l1_chain_id, rollup, records: records.clone() };
        let partial = beside(&self.path, ".partial");
        let write = || {
            let mut file = File::create(&partial)?;
            file.write_all(&serde_json::to_vec(&contents)?)?;
            file.sync_all()?;
            fs::rename(&partial, &self.path)?;
            // The name must be as durable as the bytes.
            let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
        };
        write().map_err(|error| RecordsError::Io { path: self.path.clone(), error })
    }
}

fn read(path: &Path, scope: Scope) -> Result<BTreeMap<Address, Record>, RecordsError> {
    let failed = |error| RecordsError::Io { path: path.to_owned(), error };
    let damaged = |reason: String| RecordsError::Damaged { path: path.to_owned(), reason };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(damaged(format!("it is longer than {FILE_BYTES_MAX} bytes")));
    }
    let contents: Contents = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    if contents.version != VERSION {
        return Err(damaged(format!("its version is {}, and this software reads {VERSION}", contents.version)));
    }
    if contents.records.len() > RECORDS_MAX {
        return Err(damaged(format!("it has {} records, more than {RECORDS_MAX}", contents.records.len())));
    }
    if (contents.l1_chain_id, contents.rollup) != (scope.l1_chain_id, scope.rollup) {
        let (found, found_on) = (contents.rollup, contents.l1_chain_id);
        return Err(RecordsError::OtherNetwork { path: path.to_owned(), found, found_on, expected: scope });
    }
    Ok(contents.records)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SCOPE: Scope = Scope { l1_chain_id: 31_337, rollup: Address::repeat_byte(7) };

    fn records(count: usize) -> BTreeMap<Address, Record> {
        let record = |index: usize| Record {
            shown: u64::MAX,
            missed: u64::MAX - index as u64,
            wrong: u64::MAX,
            failed_in_a_row: u32::MAX,
            last_shown_s: Some(u64::MAX),
            is_failing: index.is_multiple_of(2),
        };
        (0..count).map(|index| (Address::left_padding_from(&(index as u64).to_be_bytes()), record(index))).collect()
    }

    #[test]
    fn what_is_written_reads_back_and_replaces_what_was_before() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("records.json");
        let (file, found) = RecordFile::open(&path, SCOPE).expect("a new file");
        assert_eq!(found, BTreeMap::new());
        for count in [RECORDS_MAX, 0, 3] {
            file.write(&records(count)).expect("writes");
            assert!(fs::metadata(&path).expect("is there").len() <= FILE_BYTES_MAX);
            assert_eq!(read(&path, SCOPE).expect("reads"), records(count));
        }
        let refused = file.write(&records(RECORDS_MAX + 1));
        assert!(matches!(refused, Err(RecordsError::TooMany { got, .. }) if got == RECORDS_MAX + 1), "{refused:?}");
        // A crash left half of the next one beside it.
        fs::write(beside(&path, ".partial"), b"{\"version\":1,").expect("writes");
        drop(file);
        let (file, found) = RecordFile::open(&path, SCOPE).expect("opens");
        assert_eq!(found, records(3));
        file.write(&records(4)).expect("writes over the half");
        assert_eq!(read(&path, SCOPE).expect("reads"), records(4));
    }

    #[test]
    fn one_watcher_has_a_file_and_only_of_its_network() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("records.json");
        let (file, _) = RecordFile::open(&path, SCOPE).expect("a new file");
        file.write(&records(2)).expect("writes");
        let second = RecordFile::open(&path, SCOPE);
        assert!(matches!(second, Err(RecordsError::Held { .. })), "{second:?}");
        drop(file);
        let other = Scope { l1_chain_id: 1, ..SCOPE };
        let refused = RecordFile::open(&path, other);
        assert!(matches!(refused, Err(RecordsError::OtherNetwork { found_on: 31_337, .. })), "{refused:?}");
        assert_eq!(RecordFile::open(&path, SCOPE).expect("is free again").1, records(2));
    }

    #[test]
    fn what_is_no_file_of_records_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("records.json");
        let (file, _) = RecordFile::open(&path, SCOPE).expect("a new file");
        file.write(&records(2)).expect("writes");
        drop(file);
        let good = fs::read(&path).expect("reads");
        let mut wrong: Vec<Vec<u8>> = (0..good.len()).map(|length| good[..length].to_vec()).collect();
        wrong.push([&good[..], b"x"].concat());
        wrong.push(String::from_utf8_lossy(&good).replace("\"version\":1", "\"version\":2").into_bytes());
        wrong.push(String::from_utf8_lossy(&good).replace("missed", "mist").into_bytes());
        wrong.push(vec![b' '; FILE_BYTES_MAX as usize + 1]);
        for bytes in wrong {
            fs::write(&path, &bytes).expect("writes");
            assert!(matches!(RecordFile::open(&path, SCOPE), Err(RecordsError::Damaged { .. })));
            assert_eq!(fs::read(&path).expect("reads"), bytes);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("records.json");
            fs::write(&path, bytes).expect("writes");
            let _ = RecordFile::open(&path, SCOPE);
        }
    }
}
