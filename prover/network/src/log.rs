//! The events on the disk: a snapshot of the state, and behind it what happened since, record by record.
//!
//! ```text
//! "JouleLog" · format u32 · snapshot length u64 · SHA-256 of the snapshot · snapshot ‖ per record: length u32 · SHA-256 of (position u64 ‖ bytes), first 8 bytes · bytes
//! ```
//! A crash can leave the end of the file half-written. What is behind the last whole record was never acted upon, so it is cut off; damage in front of a whole record is
//! no crash, and refused. When the records outgrow the snapshot the whole file is written anew, beside the old one, and takes its name once it is on the disk:
//! a crash leaves the one or the other, and both say the same. So the file is bounded by what the state holds, however long the coordinator runs.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::{
    event::Entry,
    wire::{Wire, WireError},
};

const MAGIC: &[u8; 12] = b"JouleLog\0\0\0\x03";
/// Magic, the snapshot's length and its digest.
const HEAD_BYTES: usize = MAGIC.len() + 8 + 32;
const RECORD_HEAD_BYTES: usize = 12;
/// Bytes of records from which on the file may be written anew; it is then, once they outweigh the snapshot. Some ten thousand events, which replay in
/// milliseconds.
const RECORDS_BYTES: u64 = 2 << 20;
/// Bytes of one record: the largest event is a task or a set of capabilities, a few hundred bytes.
const RECORD_BYTES_MAX: usize = 4_096;

/// Why the log cannot be used.
#[derive(Debug, Error)]
pub enum LogError {
    /// The disk.
    #[error("{}: {source}", .path.display())]
    Access {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another file.
    #[error("{} is no log of a prover network's coordinator; name another file", .path.display())]
    NotALog {
        /// The file.
        path: PathBuf,
    },
    /// Another process has it.
    #[error("{} is in use by another coordinator: stop that one, or name another folder", .path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// Damage in front of whole records.
    #[error("{} is damaged at byte {at}: {reason}. Restore it from a copy: events after it were acted upon", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        at: u64,
        /// What is wrong.
        reason: String,
    },
}

/// The open log, positioned at its end. Nobody else can open it meanwhile.
#[derive(Debug)]
pub struct EventLog {
    path: PathBuf,
    file: File,
    /// Bytes of the snapshot.
    snapshot: u64,
    /// Bytes of the records behind it.
    records: u64,
    _lock: Lock,
}

/// Held for as long as the log is open. A file of its own, because the log's is replaced.
#[derive(Debug)]
struct Lock(File);

impl Lock {
    fn of(path: &Path) -> Result<Self, LogError> {
        let access = |source| LogError::Access { path: path.to_owned(), source };
        let file = File::create(path.with_extension("lock")).map_err(access)?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => LogError::InUse { path: path.to_owned() },
            TryLockError::Error(source) => access(source),
        })?;
        Ok(Self(file))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing would do, but for a child that is being started just now and holds the same file until it is another program.
        let _: io::Result<()> = self.0.unlock();
    }
}

/// What a log holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The state at the beginning of the records.
    pub snapshot: Vec<u8>,
    /// What happened since.
    pub entries: Vec<Entry>,
}

impl EventLog {
    /// Opens the log at `path`, made with the snapshot `first` if it is missing, and returns what is in it.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn open(path: &Path, first: impl FnOnce() -> Vec<u8>) -> Result<(Self, Found), LogError> {
        let access = |source| LogError::Access { path: path.to_owned(), source };
        let lock = Lock::of(path)?;
        if !fs::exists(path).map_err(access)? {
            let snapshot = first();
            let file = write_anew(path, &snapshot).map_err(access)?;
            let log = Self { path: path.to_owned(), file, snapshot: snapshot.len() as u64, records: 0, _lock: lock };
            return Ok((log, Found { snapshot, entries: Vec::new() }));
        }
        let mut file = OpenOptions::new().read(true).write(true).open(path).map_err(access)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(access)?;
        let damaged = |at: u64, reason: String| LogError::Damaged { path: path.to_owned(), at, reason };
        if !bytes.starts_with(MAGIC) {
            return Err(LogError::NotALog { path: path.to_owned() });
        }
        // The head is never half-written: the file got its name when it was on the disk.
        let (snapshot, records) = split(&bytes).map_err(|reason| damaged(0, reason.to_owned()))?;
        let front = HEAD_BYTES as u64 + snapshot.len() as u64;
        let (entries, whole) = read_records(records).map_err(|(at, reason)| damaged(front + at, reason))?;
        if whole < records.len() as u64 {
            tracing::warn!(bytes = records.len() as u64 - whole, "the end of the log was half-written and is cut off");
            file.set_len(front + whole).map_err(access)?;
            file.sync_all().map_err(access)?;
        }
        file.seek(SeekFrom::Start(front + whole)).map_err(access)?;
        let (length, snapshot) = (snapshot.len() as u64, snapshot.to_vec());
        let log = Self { path: path.to_owned(), file, snapshot: length, records: whole, _lock: lock };
        Ok((log, Found { snapshot, entries }))
    }

    /// Appends an entry, and waits until it is on the disk if its event must last.
    ///
    /// # Errors
    /// [`LogError::Access`]; then nothing may be done about the event, and the process should end: what is on the disk is the truth.
    pub fn append(&mut self, entry: &Entry) -> Result<(), LogError> {
        let record = record(self.records, &entry.encode());
        let must_last = entry.event.must_last();
        let mut write = || {
            self.file.write_all(&record)?;
            if must_last { self.file.sync_data() } else { Ok(()) }
        };
        write().map_err(|source| LogError::Access { path: self.path.clone(), source })?;
        self.records += record.len() as u64;
        Ok(())
    }

    /// Whether the records outweigh the state that they led to.
    #[must_use]
    pub fn is_long(&self) -> bool {
        self.records > RECORDS_BYTES.max(self.snapshot)
    }

    /// Puts a snapshot of the state in the place of everything that led to it.
    ///
    /// # Errors
    /// [`LogError::Access`]; the log is then as it was on the disk, and must not be used any more.
    pub fn replace(&mut self, snapshot: &[u8]) -> Result<(), LogError> {
        self.file =
            write_anew(&self.path, snapshot).map_err(|source| LogError::Access { path: self.path.clone(), source })?;
        (self.snapshot, self.records) = (snapshot.len() as u64, 0);
        Ok(())
    }
}

/// A log of this snapshot alone, under its name once all of it is on the disk.
fn write_anew(path: &Path, snapshot: &[u8]) -> io::Result<File> {
    let partial = path.with_extension("partial");
    let mut file = File::create(&partial)?;
    file.write_all(MAGIC)?;
    file.write_all(&(snapshot.len() as u64).to_be_bytes())?;
    file.write_all(&Sha256::digest(snapshot))?;
    file.write_all(snapshot)?;
    file.sync_all()?;
    fs::rename(&partial, path)?;
    // The name is as durable as the folder that holds it.
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(file)
}

/// Snapshot and records.
fn split(bytes: &[u8]) -> Result<(&[u8], &[u8]), &'static str> {
    let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>().ok_or("it ends in its head")?;
    let (length, digest) = head[MAGIC.len()..].split_at(8);
    let length = u64::from_be_bytes(length.try_into().expect("eight bytes"));
    let length = usize::try_from(length).map_err(|_| "the snapshot is longer than any")?;
    let (snapshot, records) = rest.split_at_checked(length).ok_or("it ends in its snapshot")?;
    if Sha256::digest(snapshot)[..] == *digest {
        Ok((snapshot, records))
    } else {
        Err("the snapshot is not what it was")
    }
}

fn digest(position: u64, bytes: &[u8]) -> [u8; 8] {
    let digest = Sha256::new_with_prefix(position.to_be_bytes()).chain_update(bytes).finalize();
    digest[..8].try_into().expect("a digest has more than eight bytes")
}

fn record(position: u64, bytes: &[u8]) -> Vec<u8> {
    let mut record = (bytes.len() as u32).to_be_bytes().to_vec();
    record.extend_from_slice(&digest(position, bytes));
    record.extend_from_slice(bytes);
    record
}

/// The entries of whole records, and where the last of them ends.
fn read_records(bytes: &[u8]) -> Result<(Vec<Entry>, u64), (u64, String)> {
    let mut entries = Vec::new();
    let mut at = 0;
    while let Some(record) = whole_record(bytes, at) {
        let entry = Entry::decode(record).map_err(|error: WireError| (at as u64, error.to_string()))?;
        entries.push(entry);
        at += RECORD_HEAD_BYTES + record.len();
    }
    // Behind a torn record there is nothing whole: each was written after the one before it.
    let later = (at + 1..bytes.len()).find(|&later| whole_record(bytes, later).is_some());
    match later {
        Some(later) => Err((at as u64, format!("a whole record follows at byte {later}"))),
        None => Ok((entries, at as u64)),
    }
}

fn whole_record(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let (head, rest) = bytes.get(at..)?.split_first_chunk::<RECORD_HEAD_BYTES>()?;
    let length = u32::from_be_bytes(head[..4].try_into().expect("four bytes")) as usize;
    let record = rest.get(..length).filter(|_| length > 0 && length <= RECORD_BYTES_MAX)?;
    (digest(at as u64, record) == head[4..]).then_some(record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{event::Event, task::LeaseId};

    fn entries(count: u64) -> Vec<Entry> {
        (0..count).map(|index| Entry { now_ms: index, event: Event::Signed(LeaseId([index as u8; 32])) }).collect()
    }

    const FIRST: &[u8] = b"how it began";

    fn open(path: &Path) -> Result<(EventLog, Found), LogError> {
        EventLog::open(path, || FIRST.to_vec())
    }

    fn write(path: &Path, entries: &[Entry]) {
        let (mut log, _) = open(path).unwrap();
        entries.iter().for_each(|entry| log.append(entry).unwrap());
    }

    #[test]
    fn what_was_appended_comes_back_and_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        let all = entries(9);
        write(&path, &all[..4]);
        write(&path, &all[4..]);
        assert_eq!(open(&path).unwrap().1, Found { snapshot: FIRST.to_vec(), entries: all });
    }

    #[test]
    fn one_coordinator_has_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        let (log, _) = open(&path).unwrap();
        assert!(matches!(open(&path), Err(LogError::InUse { .. })));
        drop(log);
        open(&path).unwrap();
    }

    /// A snapshot takes the place of what is before it; a crash while it is written leaves the log as it was.
    #[test]
    fn a_snapshot_replaces_what_led_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        let all = entries(6);
        write(&path, &all[..4]);
        let before = fs::read(&path).unwrap();
        {
            let (mut log, _) = open(&path).unwrap();
            log.replace(b"later").unwrap();
            let after = fs::read(&path).unwrap();
            // Killed before the new file had its name: whatever there is of it, the old one counts.
            for length in 0..=after.len() {
                drop(log);
                fs::write(&path, &before).unwrap();
                fs::write(path.with_extension("partial"), &after[..length]).unwrap();
                let (again, found) = open(&path).unwrap();
                assert_eq!(found, Found { snapshot: FIRST.to_vec(), entries: all[..4].to_vec() });
                log = again;
            }
            log.replace(b"later").unwrap();
            all[4..].iter().for_each(|entry| log.append(entry).unwrap());
        }
        assert_eq!(open(&path).unwrap().1, Found { snapshot: b"later".to_vec(), entries: all[4..].to_vec() });
    }

    #[test]
    fn a_log_that_is_replaced_when_it_is_long_stays_short() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        let (mut log, _) = open(&path).unwrap();
        let mut longest = 0;
        // Beats are not waited for, so this is quick.
        let entry = Entry { now_ms: 1, event: Event::Beaten(LeaseId([1; 32])) };
        let mut replaced = 0;
        while replaced < 3 {
            log.append(&entry).unwrap();
            if log.is_long() {
                longest = longest.max(fs::metadata(&path).unwrap().len());
                log.replace(b"state").unwrap();
                replaced += 1;
            }
        }
        assert!(longest < RECORDS_BYTES + 4_096);
        assert!(fs::metadata(&path).unwrap().len() < 100);
    }

    /// A file cut anywhere behind its snapshot gives the records in front of the cut, and takes new ones. Cut in front of that it is refused: no crash does it.
    #[test]
    fn a_torn_end_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        let all = entries(3);
        write(&path, &all);
        let whole = fs::read(&path).unwrap();
        let front = HEAD_BYTES + FIRST.len();
        let record = (whole.len() - front) / 3;
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let opened = open(&path);
            if length < MAGIC.len() {
                assert!(matches!(opened, Err(LogError::NotALog { .. })));
                continue;
            } else if length < front {
                assert!(matches!(opened, Err(LogError::Damaged { at: 0, .. })));
                continue;
            }
            let kept = (length - front) / record;
            let (mut log, found) = opened.unwrap();
            assert_eq!(found.entries, all[..kept], "cut to {length} bytes");
            log.append(&all[2]).unwrap();
            drop(log);
            assert_eq!(open(&path).unwrap().1.entries.len(), kept + 1);
        }
    }

    #[test]
    fn damage_in_the_middle_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        write(&path, &entries(3));
        let whole = fs::read(&path).unwrap();
        let record = (whole.len() - HEAD_BYTES - FIRST.len()) / 3;
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            fs::write(&path, &damaged).unwrap();
            let opened = open(&path);
            if at < MAGIC.len() {
                assert!(matches!(opened, Err(LogError::NotALog { .. })));
            } else if at < whole.len() - record {
                assert!(matches!(opened, Err(LogError::Damaged { .. })), "byte {at}");
            } else {
                // The last record: damage cannot be told from a torn end, and what it says was perhaps never acted upon.
                assert_eq!(opened.unwrap().1.entries.len(), 2);
            }
        }
    }
}
