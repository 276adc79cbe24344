//! Results of steps, as files that another run or another machine can go on from.
//!
//! ```text
//! "JouleKep" · format u32 · name length u32 · name · context (32) · payload length u64 · payload · SHA-256 of all before
//! ```
//! The context digests what the result depends on (program, profile, input), so that a result of something else is never taken for this
//! one. The digest finds damage; truth is checked by verifying the proof inside.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};
use thiserror::Error;

const MAGIC: &[u8; 8] = b"JouleKep";
const FORMAT: u32 = 1;

/// The most bytes of an artefact: table proofs are the largest, and bounded by `joule_tables::proof::PROOF_BYTES_MAX`.
const PAYLOAD_BYTES_MAX: u64 = 64 << 20;

/// Why an artefact cannot be kept or used.
#[derive(Debug, Error)]
pub enum ArtefactError {
    /// The disk.
    #[error("{path}: {source}")]
    Access {
        /// The file.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// A file that is not what its name says. Remove it and run again.
    #[error("{path} is no artefact of this run: {reason}; remove it and run again")]
    Malformed {
        /// The file.
        path: String,
        /// What is wrong.
        reason: &'static str,
    },
}

/// A folder of artefacts.
#[derive(Clone, Debug)]
pub struct ArtefactStore {
    folder: PathBuf,
    context: [u8; 32],
}

impl ArtefactStore {
    /// Opens a folder, made if it is missing, for results that depend on `context`.
    ///
    /// # Errors
    /// [`ArtefactError::Access`].
    pub fn open(folder: &Path, context: [u8; 32]) -> Result<Self, ArtefactError> {
        fs::create_dir_all(folder).map_err(|source| access(folder, source))?;
        Ok(Self { folder: folder.to_owned(), context })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.artefact"))
    }

    /// The artefact of this name, `None` if it is not there or belongs to another context.
    ///
    /// # Errors
    /// If the file cannot be read or is damaged.
    pub fn load(&self, name: &str) -> Result<Option<Vec<u8>>, ArtefactError> {
        let path = self.path(name);
        let bytes = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(access(&path, source)),
            Ok(metadata) if metadata.len() > PAYLOAD_BYTES_MAX + 4_096 => {
                return Err(malformed(&path, "it is too long"));
            }
            Ok(_) => fs::read(&path).map_err(|source| access(&path, source))?,
        };
        let expected = self.header(name);
        let (body, digest) =
            bytes.split_last_chunk::<32>().ok_or_else(|| malformed(&path, "it is shorter than its digest"))?;
        if <[u8; 32]>::from(Sha256::digest(body)) != *digest {
            return Err(malformed(&path, "its digest does not match"));
        }
        let Some(rest) = body.strip_prefix(expected.as_slice()) else { return Ok(None) };
        let (length, payload) = rest.split_first_chunk().ok_or_else(|| malformed(&path, "it ends in its header"))?;
        if u64::from_be_bytes(*length) != payload.len() as u64 {
            return Err(malformed(&path, "its length is not the one it names"));
        }
        Ok(Some(payload.to_vec()))
    }

    /// Keeps an artefact, whole or not at all.
    ///
    /// # Errors
    /// [`ArtefactError::Access`].
    pub fn save(&self, name: &str, payload: &[u8]) -> Result<(), ArtefactError> {
        let path = self.path(name);
        let mut bytes = self.header(name);
        bytes.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        bytes.extend_from_slice(payload);
        let digest = Sha256::digest(&bytes);
        bytes.extend_from_slice(&digest);
        let partial = path.with_extension(format!("{}.partial", std::process::id()));
        let write = || {
            let mut file = fs::File::create(&partial)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&partial, &path)
        };
        write().map_err(|source| access(&path, source))
    }

    /// The name and the context that a kept result claims, for showing; `None` if it is damaged.
    #[must_use]
    pub fn peek(bytes: &[u8]) -> Option<(String, [u8; 32])> {
        let (body, digest) = bytes.split_last_chunk::<32>()?;
        let rest = body.strip_prefix(MAGIC)?.strip_prefix(&FORMAT.to_be_bytes())?;
        let (length, rest) = rest.split_first_chunk()?;
        let (name, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        let context = rest.first_chunk()?;
        let is_whole = <[u8; 32]>::from(Sha256::digest(body)) == *digest;
        is_whole.then(|| Some((String::from_utf8(name.to_vec()).ok()?, *context)))?
    }

    fn header(&self, name: &str) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&FORMAT.to_be_bytes());
        bytes.extend_from_slice(&(name.len() as u32).to_be_bytes());
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(&self.context);
        bytes
    }
}

fn access(path: &Path, source: io::Error) -> ArtefactError {
    ArtefactError::Access { path: path.display().to_string(), source }
}

fn malformed(path: &Path, reason: &'static str) -> ArtefactError {
    ArtefactError::Malformed { path: path.display().to_string(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_artefact_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let store = ArtefactStore::open(folder.path(), [1; 32]).unwrap();
        assert_eq!(store.load("merge-0").unwrap(), None);
        store.save("merge-0", b"payload").unwrap();
        assert_eq!(store.load("merge-0").unwrap().as_deref(), Some(&b"payload"[..]));
        let other = ArtefactStore::open(folder.path(), [2; 32]).unwrap();
        assert_eq!(other.load("merge-0").unwrap(), None, "another context is another artefact");
        let path = store.path("merge-0");
        let whole = fs::read(&path).unwrap();
        assert_eq!(ArtefactStore::peek(&whole), Some(("merge-0".to_owned(), [1; 32])));
        assert_eq!(ArtefactStore::peek(&whole[..whole.len() - 1]), None);
        fs::copy(&path, store.path("merge-1")).unwrap();
        assert_eq!(store.load("merge-1").unwrap(), None, "a renamed artefact is not the one its name says");
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert!(store.load("merge-0").is_err(), "cut to {length} bytes");
        }
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(&path, &damaged).unwrap();
            assert!(store.load("merge-0").is_err(), "byte {at} changed");
        }
    }
}
