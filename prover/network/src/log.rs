//! The events on the disk: an append-only file of records, each with its length and a digest.
//!
//! ```text
//! "JouleLog" · format u32 ‖ per record: length u32 · SHA-256 of (position u64 ‖ bytes), first 8 bytes · bytes
//! ```
//! A crash can leave the end of the file half-written. What is behind the last whole record was never acted upon, so it is cut off; damage in front of a whole record is
//! no crash, and refused.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::{
    event::Entry,
    wire::{Wire, WireError},
};

const MAGIC: &[u8; 12] = b"JouleLog\0\0\0\x01";
const RECORD_HEAD_BYTES: usize = 12;
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

/// The open log, positioned at its end.
#[derive(Debug)]
pub struct EventLog {
    path: PathBuf,
    file: File,
    length: u64,
}

impl EventLog {
    /// Opens the log at `path`, made if it is missing, and returns what is in it.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn open(path: &Path) -> Result<(Self, Vec<Entry>), LogError> {
        let access = |source| LogError::Access { path: path.to_owned(), source };
        let mut file =
            OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path).map_err(access)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(access)?;
        if bytes.len() < MAGIC.len() && MAGIC.starts_with(&bytes) {
            file.set_len(0).map_err(access)?;
            file.seek(SeekFrom::Start(0)).map_err(access)?;
            file.write_all(MAGIC).map_err(access)?;
            file.sync_all().map_err(access)?;
            return Ok((Self { path: path.to_owned(), file, length: MAGIC.len() as u64 }, Vec::new()));
        }
        let records = bytes.strip_prefix(MAGIC).ok_or_else(|| LogError::NotALog { path: path.to_owned() })?;
        let (entries, whole) = read_records(records).map_err(|(at, reason)| LogError::Damaged {
            path: path.to_owned(),
            at: at + MAGIC.len() as u64,
            reason,
        })?;
        let length = MAGIC.len() as u64 + whole;
        if length < bytes.len() as u64 {
            tracing::warn!(bytes = bytes.len() as u64 - length, "the end of the log was half-written and is cut off");
            file.set_len(length).map_err(access)?;
            file.sync_all().map_err(access)?;
        }
        file.seek(SeekFrom::Start(length)).map_err(access)?;
        Ok((Self { path: path.to_owned(), file, length }, entries))
    }

    /// Appends an entry, and waits until it is on the disk if its event must last.
    ///
    /// # Errors
    /// [`LogError::Access`]; then nothing may be done about the event, and the process should end: what is on the disk is the truth.
    pub fn append(&mut self, entry: &Entry) -> Result<(), LogError> {
        let record = record(self.length - MAGIC.len() as u64, &entry.encode());
        let must_last = entry.event.must_last();
        let mut write = || {
            self.file.write_all(&record)?;
            if must_last { self.file.sync_data() } else { Ok(()) }
        };
        write().map_err(|source| LogError::Access { path: self.path.clone(), source })?;
        self.length += record.len() as u64;
        Ok(())
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

    fn write(path: &Path, entries: &[Entry]) {
        let (mut log, _) = EventLog::open(path).unwrap();
        entries.iter().for_each(|entry| log.append(entry).unwrap());
    }

    #[test]
    fn what_was_appended_comes_back_and_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        let all = entries(9);
        write(&path, &all[..4]);
        write(&path, &all[4..]);
        assert_eq!(EventLog::open(&path).unwrap().1, all);
    }

    /// A file cut anywhere gives the records in front of the cut, and takes new ones.
    #[test]
    fn a_torn_end_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        let all = entries(3);
        write(&path, &all);
        let whole = std::fs::read(&path).unwrap();
        let record = (whole.len() - MAGIC.len()) / 3;
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let kept = length.saturating_sub(MAGIC.len()) / record;
            let (mut log, found) = EventLog::open(&path).unwrap();
            assert_eq!(found, all[..kept], "cut to {length} bytes");
            log.append(&all[2]).unwrap();
            drop(log);
            assert_eq!(EventLog::open(&path).unwrap().1.len(), kept + 1);
        }
    }

    #[test]
    fn damage_in_the_middle_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        write(&path, &entries(3));
        let whole = std::fs::read(&path).unwrap();
        let record = (whole.len() - MAGIC.len()) / 3;
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            std::fs::write(&path, &damaged).unwrap();
            let opened = EventLog::open(&path);
            if at < MAGIC.len() {
                assert!(matches!(opened, Err(LogError::NotALog { .. })));
            } else if at < MAGIC.len() + 2 * record {
                assert!(matches!(opened, Err(LogError::Damaged { .. })), "byte {at}");
            } else {
                // The last record: damage cannot be told from a torn end, and what it says was perhaps never acted upon.
                assert_eq!(opened.unwrap().1.len(), 2);
            }
        }
    }
}
