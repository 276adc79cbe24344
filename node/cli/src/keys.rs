//! The keys a node signs with. They come from files, never from arguments or the environment, which other processes can read.

use std::{
    fs,
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use joule_kernel::{address_of, sign};
use joule_protocol::{Address, Hash, Native};
use joule_storage::block_signing_hash;
use secp256k1::{PublicKey, SecretKey};
use thiserror::Error;

/// What is wrong with a key's file.
#[derive(Debug, Error)]
pub enum KeyFileError {
    /// It cannot be read or written.
    #[error("the key file {path} cannot be used: {error}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// Others can read it.
    #[error("the key file {path} can be read by others (mode {mode:o}); run: chmod 600 {path}")]
    Open {
        /// Where.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It holds no key.
    #[error("the key file {path} must hold one secret key of 64 hexadecimal digits")]
    Malformed {
        /// Where.
        path: PathBuf,
    },
}

/// Reads 32 secret bytes, written as 64 hexadecimal digits, from a file that nobody else can read.
pub(crate) fn read_secret(path: &Path) -> Result<[u8; 32], KeyFileError> {
    let failed = |error| KeyFileError::Io { path: path.to_owned(), error };
    let mode = fs::metadata(path).map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Open { path: path.to_owned(), mode });
    }
    let text = fs::read_to_string(path).map_err(failed)?;
    let text = text.trim();
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let mut bytes = [0; 32];
    hex::decode_to_slice(digits, &mut bytes).map_err(|_| KeyFileError::Malformed { path: path.to_owned() })?;
    Ok(bytes)
}

/// Writes 32 secret bytes into a new file that only its owner can read.
pub(crate) fn write_secret(path: &Path, secret: &[u8; 32]) -> Result<(), KeyFileError> {
    let failed = |error| KeyFileError::Io { path: path.to_owned(), error };
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    writeln!(file, "0x{}", hex::encode(secret)).map_err(failed)?;
    file.sync_all().map_err(failed)
}

/// The key that signs blocks.
#[derive(Clone)]
pub struct BlockKey {
    secret: SecretKey,
    address: Address,
}

impl std::fmt::Debug for BlockKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "BlockKey({})", self.address)
    }
}

impl BlockKey {
    /// Reads a key from its file.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub fn read(path: &Path) -> Result<Self, KeyFileError> {
        Self::from_secret(read_secret(path)?).ok_or_else(|| KeyFileError::Malformed { path: path.to_owned() })
    }

    /// A key from its 32 bytes; `None` if they are no key.
    pub fn from_secret(bytes: [u8; 32]) -> Option<Self> {
        let secret = SecretKey::from_secret_bytes(bytes).ok()?;
        let public = PublicKey::from_secret_key(&secret).serialize_uncompressed();
        let address = address_of::<Native>(public[1..].try_into().ok()?);
        Some(Self { secret, address })
    }

    /// Writes a key into a new file that only its owner can read.
    ///
    /// # Errors
    /// [`KeyFileError`], a file that exists among it: a key is never overwritten.
    pub fn write(&self, path: &Path) -> Result<(), KeyFileError> {
        write_secret(path, &self.secret.to_secret_bytes())
    }

    /// The key's address, which L1 knows the sequencer by.
    pub fn address(&self) -> Address {
        self.address
    }

    /// Signs a block, made of these encoded items: r ‖ s ‖ v.
    pub fn sign_block(&self, block_hash: &Hash, items: &[u8]) -> [u8; 65] {
        sign(&block_signing_hash(block_hash, items), &self.secret).to_bytes()
    }

    /// The key's bytes, for those who sign other things with it.
    pub(crate) fn secret_bytes(&self) -> [u8; 32] {
        self.secret.to_secret_bytes()
    }
}

#[cfg(test)]
mod tests {
    use joule_kernel::recover_address;
    use joule_protocol::Signature;

    use super::*;

    #[test]
    fn keys_come_back_from_their_files_and_from_no_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sequencer.key");
        let key = BlockKey::from_secret([5; 32]).unwrap();
        key.write(&path).unwrap();
        assert!(matches!(key.write(&path), Err(KeyFileError::Io { .. })), "a key is never overwritten");
        assert_eq!(BlockKey::read(&path).unwrap().address(), key.address());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(BlockKey::read(&path), Err(KeyFileError::Open { mode: 0o640, .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        for text in ["", "0x", "zz", &"00".repeat(32), &"11".repeat(31), &"11".repeat(33)] {
            fs::write(&path, text).unwrap();
            assert!(matches!(BlockKey::read(&path), Err(KeyFileError::Malformed { .. })), "{text}");
        }
    }

    #[test]
    fn a_block_is_signed_by_the_keys_address() {
        let key = BlockKey::from_secret([5; 32]).unwrap();
        let hash = Hash([3; 32]);
        let signature = Signature::from_bytes(&key.sign_block(&hash, b"items")).unwrap();
        assert_eq!(recover_address::<Native>(&block_signing_hash(&hash, b"items"), &signature), Some(key.address()));
        assert_ne!(recover_address::<Native>(&block_signing_hash(&hash, b"other"), &signature), Some(key.address()));
    }
}
