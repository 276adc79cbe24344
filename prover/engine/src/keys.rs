//! Where built circuits and proving keys are kept: a folder outside of the checkout, by digest.
//!
//! Everything in it can be made again, and nothing in it is trusted with soundness: a proof made with a false circuit or key does not verify
//! under the true one. Whoever can write the folder can waste the owner's time.

use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use joule_recursion::{
    cache::{CacheError, decode_key, encode_key},
    circuit::{Inner, Key},
    fingerprint::Fingerprint,
};
use joule_wrap::{WrapCircuit, WrapError, WrapKeys};
use thiserror::Error;

/// Of files of circuits' keys. The wrap's file ends in `key` and holds what proves, too.
const KEY_EXTENSION: &str = "verifier";

/// Why a key or a circuit could not be kept or used.
#[derive(Debug, Error)]
pub enum CacheFolderError {
    /// No place for it.
    #[error("there is no cache folder: set XDG_CACHE_HOME or HOME to an absolute path, or pass --cache")]
    NoFolder,
    /// The disk.
    #[error("{}: {source}", path.display())]
    Access {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A key file that is damaged or not for this circuit.
    #[error("{}: {source}; remove it, and run `joule-prover setup`", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: WrapError,
    },
    /// A circuit that cannot be encoded: a bug of ours.
    #[error("keeping a circuit: {0}")]
    Circuit(#[from] CacheError),
}

/// A folder of circuits and keys.
#[derive(Clone, Debug)]
pub struct CacheFolder {
    path: PathBuf,
}

impl CacheFolder {
    /// This folder, which is made when something is kept in it.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// `$XDG_CACHE_HOME/joule`, or `~/.cache/joule`.
    ///
    /// # Errors
    /// [`CacheFolderError::NoFolder`].
    pub fn default_for_user() -> Result<Self, CacheFolderError> {
        let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        absolute("XDG_CACHE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
            .map(|folder| Self { path: folder.join("joule") })
            .ok_or(CacheFolderError::NoFolder)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file of a wrap's keys.
    #[must_use]
    pub fn key_path(&self, wrap: &WrapCircuit) -> PathBuf {
        self.path.join(format!("wrap-{}.key", wrap.digest_hex()))
    }

    /// The keys of a wrap, `None` if they are not there.
    ///
    /// # Errors
    /// If the file cannot be read, is damaged, or is for another circuit.
    pub fn load_keys(&self, wrap: &WrapCircuit) -> Result<Option<WrapKeys>, CacheFolderError> {
        let path = self.key_path(wrap);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(CacheFolderError::Access { path, source }),
        };
        let read = WrapKeys::read(BufReader::with_capacity(1 << 20, file));
        let checked = read.and_then(|keys| keys.header.expect_circuit(wrap).map(|()| keys));
        checked.map(Some).map_err(|source| CacheFolderError::Key { path, source })
    }

    /// Keeps the keys of a wrap, whole or not at all.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn save_keys(&self, wrap: &WrapCircuit, keys: &WrapKeys) -> Result<(), CacheFolderError> {
        let path = self.key_path(wrap);
        let access = |source| CacheFolderError::Access { path: path.clone(), source };
        fs::create_dir_all(&self.path).map_err(access)?;
        let partial = path.with_extension(format!("{}.partial", std::process::id()));
        let file = File::create(&partial).map_err(access)?;
        let mut writer = BufWriter::with_capacity(1 << 20, file);
        keys.write(&mut writer).map_err(|source| CacheFolderError::Key { path: path.clone(), source })?;
        writer.flush().map_err(access)?;
        fs::rename(&partial, &path).map_err(access)
    }

    /// Takes a circuit from the folder, or builds and keeps it. A folder that cannot be read or written costs time and nothing else.
    pub(crate) fn circuit<T, E: From<CacheFolderError>>(
        &self,
        name: &str,
        fingerprint: Fingerprint,
        decode: impl FnOnce(&[u8]) -> Result<T, CacheError>,
        build: impl FnOnce() -> Result<T, E>,
        encode: impl FnOnce(&T) -> Result<Vec<u8>, CacheError>,
    ) -> Result<T, E> {
        let path = self.circuit_path(name, fingerprint);
        if let Some(circuit) = fs::read(&path).ok().and_then(|bytes| decode(&bytes).ok()) {
            return Ok(circuit);
        }
        let circuit = build()?;
        let bytes = encode(&circuit).map_err(CacheFolderError::from)?;
        // Without it the circuit is built again.
        let _: io::Result<()> = self.write(&path, &bytes);
        Ok(circuit)
    }

    /// The key of a circuit that is kept, so that the circuit itself, which takes thousands of times as long to read, can wait until it is wanted. Nothing if either is missing.
    pub(crate) fn circuit_key(&self, name: &str, fingerprint: Fingerprint) -> Option<Key<Inner>> {
        let circuit = self.circuit_path(name, fingerprint);
        let bytes = fs::read(circuit.with_extension(KEY_EXTENSION)).ok().filter(|_| circuit.is_file())?;
        decode_key(fingerprint, &bytes).ok()
    }

    /// Keeps a circuit's key beside it. A folder that cannot be written costs time and nothing else.
    ///
    /// # Errors
    /// If the key cannot be encoded.
    pub(crate) fn keep_circuit_key(
        &self,
        name: &str,
        fingerprint: Fingerprint,
        key: &Key<Inner>,
    ) -> Result<(), CacheFolderError> {
        let path = self.circuit_path(name, fingerprint).with_extension(KEY_EXTENSION);
        let bytes = encode_key(fingerprint, key)?;
        // Without it the circuit is read at the start.
        let _: io::Result<()> = self.write(&path, &bytes);
        Ok(())
    }

    fn circuit_path(&self, name: &str, fingerprint: Fingerprint) -> PathBuf {
        let hex: String = fingerprint.0[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        self.path.join(format!("{name}-{hex}.circuit"))
    }

    /// Whole or not at all.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let partial = path.with_extension(format!("{}.partial", std::process::id()));
        fs::create_dir_all(&self.path)?;
        fs::write(&partial, bytes)?;
        fs::rename(&partial, path)
    }
}
