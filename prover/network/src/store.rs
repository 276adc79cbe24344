//! Inputs and results by digest, each a file; what is still coming in lies beside them and goes on where it stopped.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use thiserror::Error;

use crate::task::{ARTEFACT_BYTES_MAX, ArtefactId};

/// Bytes of a chunk: small enough to be answered while something else waits, large enough that a segment's input takes tens of questions and not thousands.
pub const CHUNK_BYTES_MAX: usize = 1 << 20;

/// Why an artefact cannot be kept or read.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The disk.
    #[error("{}: {source}", .path.display())]
    Access {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Nothing has this digest here.
    #[error("there is no artefact {0}")]
    Missing(ArtefactId),
    /// Longer than an artefact may be, or empty.
    #[error("an artefact has 1 to {ARTEFACT_BYTES_MAX} bytes, not {got}")]
    Length {
        /// Bytes announced.
        got: u64,
    },
    /// A chunk that does not continue what is here.
    #[error("the chunk starts at byte {got}, and {expected} are here")]
    Gap {
        /// Where it would have to start.
        expected: u64,
        /// Where it starts.
        got: u64,
    },
    /// A chunk that goes beyond the artefact's end, or is too long for one.
    #[error("a chunk of {got} bytes is too long")]
    ChunkTooLong {
        /// Its bytes.
        got: usize,
    },
    /// The bytes are complete and have another digest: the transfer starts over.
    #[error("the bytes sent as artefact {expected} have the digest {got}")]
    WrongDigest {
        /// The digest announced.
        expected: ArtefactId,
        /// The digest they have.
        got: ArtefactId,
    },
}

/// A folder of artefacts.
#[derive(Clone, Debug)]
pub struct ArtefactFolder {
    folder: PathBuf,
}

impl ArtefactFolder {
    /// Opens a folder, made if it is missing.
    ///
    /// # Errors
    /// [`StoreError::Access`].
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(folder).map_err(|source| access(folder, source))?;
        Ok(Self { folder: folder.to_owned() })
    }

    fn path(&self, id: &ArtefactId) -> PathBuf {
        self.folder.join(id.to_string())
    }

    fn partial(&self, id: &ArtefactId) -> PathBuf {
        self.folder.join(format!("{id}.partial"))
    }

    /// Whether the artefact is here, whole.
    #[must_use]
    pub fn has(&self, id: &ArtefactId) -> bool {
        self.path(id).is_file()
    }

    /// Bytes of the artefact; `None` if it is not here.
    #[must_use]
    pub fn length(&self, id: &ArtefactId) -> Option<u64> {
        fs::metadata(self.path(id)).ok().map(|metadata| metadata.len())
    }

    /// Bytes of the artefact that are here, whole or not: where a transfer goes on.
    #[must_use]
    pub fn received(&self, id: &ArtefactId) -> u64 {
        let partial = || fs::metadata(self.partial(id)).map_or(0, |metadata| metadata.len());
        self.length(id).unwrap_or_else(partial)
    }

    /// Keeps bytes, whole or not at all, and names them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn put(&self, bytes: &[u8]) -> Result<ArtefactId, StoreError> {
        check_length(bytes.len() as u64)?;
        let id = ArtefactId::of(bytes);
        // Touched, so that what is put here again is as young as what is new.
        let touch = || File::open(self.path(&id))?.set_modified(SystemTime::now());
        if touch().is_err() {
            let partial = self.folder.join(format!("{id}.put"));
            let write = || {
                let mut file = File::create(&partial)?;
                file.write_all(bytes)?;
                file.sync_all()?;
                fs::rename(&partial, self.path(&id))
            };
            write().map_err(|source| access(&partial, source))?;
        }
        Ok(id)
    }

    /// The artefact's bytes, checked against its name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn get(&self, id: &ArtefactId) -> Result<Vec<u8>, StoreError> {
        let path = self.path(id);
        check_length(self.length(id).ok_or(StoreError::Missing(*id))?)?;
        let bytes = fs::read(&path).map_err(|source| access(&path, source))?;
        let got = ArtefactId::of(&bytes);
        if got != *id {
            // A damaged file is none; it will be sent or made again.
            fs::remove_file(&path).map_err(|source| access(&path, source))?;
            return Err(StoreError::WrongDigest { expected: *id, got });
        }
        Ok(bytes)
    }

    /// A chunk of an artefact, shorter at the end and empty behind it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn chunk(&self, id: &ArtefactId, offset: u64) -> Result<Vec<u8>, StoreError> {
        let path = self.path(id);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(StoreError::Missing(*id)),
            Err(source) => return Err(access(&path, source)),
        };
        let mut chunk = Vec::new();
        let mut read = || {
            file.seek(SeekFrom::Start(offset))?;
            (&file).take(CHUNK_BYTES_MAX as u64).read_to_end(&mut chunk)
        };
        read().map_err(|source| access(&path, source))?;
        Ok(chunk)
    }

    /// Takes a chunk of an artefact of `length` bytes and returns how many are here now. When the last one is here the whole is checked against its name.
    ///
    /// # Errors
    /// [`StoreError`]; after [`StoreError::WrongDigest`] the transfer starts over.
    pub fn take_chunk(&self, id: &ArtefactId, length: u64, offset: u64, chunk: &[u8]) -> Result<u64, StoreError> {
        check_length(length)?;
        let received = self.received(id);
        if self.has(id) {
            return Ok(received);
        }
        if offset != received {
            return Err(StoreError::Gap { expected: received, got: offset });
        }
        let end = received + chunk.len() as u64;
        if chunk.is_empty() || chunk.len() > CHUNK_BYTES_MAX || end > length {
            return Err(StoreError::ChunkTooLong { got: chunk.len() });
        }
        let partial = self.partial(id);
        let append = || {
            let mut file = OpenOptions::new().create(true).append(true).open(&partial)?;
            file.write_all(chunk)?;
            if end == length { file.sync_all() } else { Ok(()) }
        };
        append().map_err(|source| access(&partial, source))?;
        if end == length {
            let bytes = fs::read(&partial).map_err(|source| access(&partial, source))?;
            let got = ArtefactId::of(&bytes);
            if got != *id {
                fs::remove_file(&partial).map_err(|source| access(&partial, source))?;
                return Err(StoreError::WrongDigest { expected: *id, got });
            }
            fs::rename(&partial, self.path(id)).map_err(|source| access(&partial, source))?;
        }
        Ok(end)
    }

    /// Forgets everything that is not `needed`, and was not touched for `age`.
    ///
    /// # Errors
    /// [`StoreError::Access`].
    pub fn sweep(&self, needed: &BTreeSet<ArtefactId>, age: Duration) -> Result<(), StoreError> {
        let needed: BTreeSet<String> = needed.iter().map(ArtefactId::to_string).collect();
        let now = SystemTime::now();
        for entry in fs::read_dir(&self.folder).map_err(|source| access(&self.folder, source))? {
            let entry = entry.map_err(|source| access(&self.folder, source))?;
            if entry.file_name().to_str().is_some_and(|name| needed.contains(name)) {
                continue;
            }
            let touched = entry.metadata().and_then(|metadata| metadata.modified());
            // A file of the future is as good as a new one, and one that has gone meanwhile is gone.
            let is_old = touched.is_ok_and(|touched| now.duration_since(touched).is_ok_and(|since| since >= age));
            if is_old || age.is_zero() {
                match fs::remove_file(entry.path()) {
                    Err(source) if source.kind() != io::ErrorKind::NotFound => {
                        return Err(access(&entry.path(), source));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Forgets an artefact, and what came in of it.
    ///
    /// # Errors
    /// [`StoreError::Access`].
    pub fn remove(&self, id: &ArtefactId) -> Result<(), StoreError> {
        for path in [self.path(id), self.partial(id)] {
            match fs::remove_file(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(access(&path, source)),
                _ => {}
            }
        }
        Ok(())
    }
}

fn check_length(got: u64) -> Result<(), StoreError> {
    if (1..=ARTEFACT_BYTES_MAX).contains(&got) { Ok(()) } else { Err(StoreError::Length { got }) }
}

fn access(path: &Path, source: io::Error) -> StoreError {
    StoreError::Access { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, ArtefactFolder) {
        let folder = tempfile::tempdir().unwrap();
        let artefacts = ArtefactFolder::open(folder.path()).unwrap();
        (folder, artefacts)
    }

    #[test]
    fn transfers_resume_after_any_chunk() {
        let (_source_folder, source) = folder();
        let (folder, target) = folder();
        let bytes: Vec<u8> = (0..3 * CHUNK_BYTES_MAX + 17).map(|index| ((index * 7) >> 3) as u8).collect();
        let (id, length) = (source.put(&bytes).unwrap(), bytes.len() as u64);
        loop {
            // The receiver starts anew every time: all it knows is on its disk.
            let target = ArtefactFolder::open(folder.path()).unwrap();
            let offset = target.received(&id);
            let chunk = source.chunk(&id, offset).unwrap();
            if target.take_chunk(&id, length, offset, &chunk).unwrap() == length {
                break;
            }
            assert!(!target.has(&id));
        }
        assert_eq!(target.get(&id).unwrap(), bytes);
        // Once it is here, a chunk more changes nothing.
        assert_eq!(target.take_chunk(&id, length, 0, &bytes[..5]).unwrap(), length);
        assert!(source.chunk(&id, length).unwrap().is_empty());
    }

    #[test]
    fn chunks_that_do_not_fit_are_refused() {
        let (_folder, target) = folder();
        let id = ArtefactId::of(b"hello world");
        assert!(matches!(target.take_chunk(&id, 0, 0, b"h"), Err(StoreError::Length { got: 0 })));
        let long = ARTEFACT_BYTES_MAX + 1;
        assert!(matches!(target.take_chunk(&id, long, 0, b"h"), Err(StoreError::Length { .. })));
        assert!(matches!(target.take_chunk(&id, 11, 3, b"lo"), Err(StoreError::Gap { expected: 0, got: 3 })));
        assert!(matches!(target.take_chunk(&id, 11, 0, b""), Err(StoreError::ChunkTooLong { got: 0 })));
        assert!(matches!(target.take_chunk(&id, 11, 0, b"hello world!"), Err(StoreError::ChunkTooLong { got: 12 })));
        assert_eq!(target.take_chunk(&id, 11, 0, b"hello ").unwrap(), 6);
        assert!(matches!(target.take_chunk(&id, 11, 0, b"hello "), Err(StoreError::Gap { expected: 6, got: 0 })));
        // The wrong rest: everything is dropped, and the transfer starts over.
        assert!(matches!(target.take_chunk(&id, 11, 6, b"there"), Err(StoreError::WrongDigest { .. })));
        assert_eq!(target.received(&id), 0);
        assert_eq!(target.take_chunk(&id, 11, 0, b"hello world").unwrap(), 11);
    }

    #[test]
    fn a_damaged_file_is_not_the_artefact() {
        let (folder, target) = folder();
        let id = target.put(b"some proof").unwrap();
        let _ = target.put(b"some proof").unwrap();
        fs::write(folder.path().join(id.to_string()), b"some prooF").unwrap();
        assert!(matches!(target.get(&id), Err(StoreError::WrongDigest { .. })));
        assert!(matches!(target.get(&id), Err(StoreError::Missing(_))));
        target.put(b"some proof").unwrap();
        target.remove(&id).unwrap();
        target.remove(&id).unwrap();
        assert!(!target.has(&id));
    }

    #[test]
    fn what_nobody_needs_is_swept_once_it_is_old() {
        let (_folder, target) = folder();
        let [needed, other] = [b"needed", b"others"].map(|bytes| target.put(bytes).unwrap());
        let half = ArtefactId::of(b"hello world");
        target.take_chunk(&half, 11, 0, b"hello ").unwrap();
        let keep = BTreeSet::from([needed]);
        target.sweep(&keep, Duration::from_secs(3_600)).unwrap();
        assert!(target.has(&needed) && target.has(&other) && target.received(&half) == 6);
        target.sweep(&keep, Duration::ZERO).unwrap();
        assert!(target.has(&needed) && !target.has(&other) && target.received(&half) == 0);
    }
}
