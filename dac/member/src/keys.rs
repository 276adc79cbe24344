//! The member's keys: from files that nobody else can read, or from keystores, never from the command line.
//!
//! A key's file holds 64 hexadecimal digits, or a keystore as Ethereum's clients write it (Web3 Secret Storage), whose password is in a file of its own. A
//! BLS key fits into a keystore too: every scalar of BN254 is one of secp256k1.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use alloy::signers::local::PrivateKeySigner;
use alloy_primitives::{Address, B256, hex};
use joule_committee::{BlsSecretKey, EcdsaSecretKey, KeyError, SecretKey};
use libp2p::identity::Keypair;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::l1::L1View;

/// Longest key file, bytes: a keystore has about 500.
const FILE_BYTES_MAX: u64 = 4_096;

/// Why a key is not used. Whoever runs the member is to blame.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// The file.
    #[error("the key file {path} cannot be used: {error}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Others can read it.
    #[error("the key file {path} can be read by others (mode {mode:o}); run: chmod 600 {path}")]
    Readable {
        /// Where.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Not a key's digits. The message holds nothing of the file.
    #[error("the key file {path} holds neither 64 hexadecimal digits nor a keystore")]
    NotHex {
        /// Where.
        path: PathBuf,
    },
    /// A keystore without a password.
    #[error("the key file {path} is a keystore; name the file with its password in keys.password")]
    NoPassword {
        /// Where.
        path: PathBuf,
    },
    /// A keystore that does not open.
    #[error("the keystore {path} does not open: {reason}")]
    Keystore {
        /// Where.
        path: PathBuf,
        /// What is wrong; nothing of the key or the password.
        reason: String,
    },
    /// Digits of no key.
    #[error("the key file {path} holds no key: {error}")]
    NoKey {
        /// Where.
        path: PathBuf,
        /// Why.
        error: KeyError,
    },
    /// No key at all.
    #[error("the member has no key; name a file in keys.ecdsa or keys.bls")]
    None,
    /// A file that is there already.
    #[error("the file {path} exists; a key is never written over")]
    Exists {
        /// Where.
        path: PathBuf,
    },
}

/// The keys of one member.
#[derive(Clone, Debug)]
pub struct MemberKeys {
    account: Address,
    ecdsa: Option<SecretKey>,
    bls: Option<SecretKey>,
}

impl MemberKeys {
    /// The member `account` with the keys it registered on L1.
    ///
    /// # Errors
    /// No key.
    pub fn new(
        account: Address,
        ecdsa: Option<EcdsaSecretKey>,
        bls: Option<BlsSecretKey>,
    ) -> Result<Self, KeyFileError> {
        if ecdsa.is_none() && bls.is_none() {
            return Err(KeyFileError::None);
        }
        Ok(Self { account, ecdsa: ecdsa.map(SecretKey::Ecdsa), bls: bls.map(SecretKey::Bls) })
    }

    /// The member's L1 account, by which keysets name it.
    pub fn account(&self) -> Address {
        self.account
    }

    /// The ECDSA key, if there is one.
    pub fn ecdsa(&self) -> Option<&EcdsaSecretKey> {
        match &self.ecdsa {
            Some(SecretKey::Ecdsa(key)) => Some(key),
            Some(SecretKey::Bls(_)) | None => None,
        }
    }

    /// The key that signs for a keyset in force.
    pub fn for_keyset(&self, keyset_hash: B256, l1: &L1View) -> Option<&SecretKey> {
        if l1.ecdsa_keyset == Some(keyset_hash) {
            self.ecdsa.as_ref()
        } else if l1.bls_keyset == Some(keyset_hash) {
            self.bls.as_ref()
        } else {
            None
        }
    }
}

/// A file's text, if its owner alone can read it.
fn read_private(path: &Path) -> Result<Zeroizing<String>, KeyFileError> {
    let io = |error| KeyFileError::Io { path: path.to_owned(), error };
    let metadata = fs::metadata(path).map_err(io)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyFileError::Readable { path: path.to_owned(), mode });
        }
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err(KeyFileError::NotHex { path: path.to_owned() });
    }
    fs::read_to_string(path).map(Zeroizing::new).map_err(io)
}

fn read(path: &Path, password: Option<&Path>) -> Result<Zeroizing<[u8; 32]>, KeyFileError> {
    let text = read_private(path)?;
    if text.trim_start().starts_with('{') {
        let password = password.ok_or_else(|| KeyFileError::NoPassword { path: path.to_owned() })?;
        let password = read_private(password)?;
        let opened = PrivateKeySigner::decrypt_keystore(path, password.trim_end_matches(['\r', '\n']));
        let signer =
            opened.map_err(|error| KeyFileError::Keystore { path: path.to_owned(), reason: error.to_string() })?;
        return Ok(Zeroizing::new(signer.to_bytes().0));
    }
    let mut key = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text.trim(), &mut *key).map_err(|_| KeyFileError::NotHex { path: path.to_owned() })?;
    Ok(key)
}

/// Reads an ECDSA key, with the password of a keystore in its own file.
///
/// # Errors
/// A file that is missing, open to others, or no key.
pub fn read_ecdsa(path: &Path, password: Option<&Path>) -> Result<EcdsaSecretKey, KeyFileError> {
    let key = EcdsaSecretKey::from_bytes(&*read(path, password)?);
    key.map_err(|error| KeyFileError::NoKey { path: path.to_owned(), error })
}

/// Reads a BLS key, as [`read_ecdsa`].
///
/// # Errors
/// As [`read_ecdsa`].
pub fn read_bls(path: &Path, password: Option<&Path>) -> Result<BlsSecretKey, KeyFileError> {
    let key = BlsSecretKey::from_bytes(&*read(path, password)?);
    key.map_err(|error| KeyFileError::NoKey { path: path.to_owned(), error })
}

/// Reads the key of an identity on libp2p (Ed25519).
///
/// # Errors
/// As [`read_ecdsa`].
pub fn read_identity(path: &Path) -> Result<Keypair, KeyFileError> {
    let mut secret = read(path, None)?;
    // Every 32 bytes are a key.
    Keypair::ed25519_from_bytes(&mut *secret).map_err(|_| KeyFileError::NotHex { path: path.to_owned() })
}

/// Writes a new key where no file is, readable by its owner alone.
///
/// # Errors
/// A file that is there, or the disk.
pub fn write_new(path: &Path, key: &[u8; 32]) -> Result<(), KeyFileError> {
    use std::io::Write as _;
    let io = |error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => KeyFileError::Exists { path: path.to_owned() },
        _ => KeyFileError::Io { path: path.to_owned(), error },
    };
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    let mut file = options.open(path).map_err(io)?;
    let text = Zeroizing::new(hex::encode(key));
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(io)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test vector of the Web3 Secret Storage definition (PBKDF2).
    const KEYSTORE: &str = r#"{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"6087dab2f9fdbbfaddc31a909735c1e6"},"ciphertext":"5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46","kdf":"pbkdf2","kdfparams":{"c":262144,"dklen":32,"prf":"hmac-sha256","salt":"ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd"},"mac":"517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2"},"id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}"#;
    const SECRET: [u8; 32] = alloy_primitives::hex!("7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d");

    #[cfg(unix)]
    fn put(path: &Path, text: &str, mode: u32) {
        use std::os::unix::fs::PermissionsExt as _;
        fs::write(path, text).expect("writes");
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("sets");
    }

    #[cfg(unix)]
    #[test]
    fn keys_come_from_private_files_and_keystores() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let expected = EcdsaSecretKey::from_bytes(&SECRET).expect("a key").address();

        write_new(&at("plain"), &SECRET).expect("writes");
        assert_eq!(read_ecdsa(&at("plain"), None).expect("reads").address(), expected);
        assert!(matches!(write_new(&at("plain"), &SECRET), Err(KeyFileError::Exists { .. })));

        let identity = read_identity(&at("plain")).expect("reads").public();
        assert_eq!(identity, read_identity(&at("plain")).expect("reads").public(), "the same file, the same identity");

        put(&at("keystore"), KEYSTORE, 0o600);
        put(&at("password"), "testpassword\n", 0o600);
        put(&at("wrong"), "testpassphrase", 0o600);
        let read = |password: &str| read_ecdsa(&at("keystore"), Some(&at(password)));
        assert_eq!(read("password").expect("opens").address(), expected);
        assert!(matches!(read("wrong"), Err(KeyFileError::Keystore { .. })));
        assert!(matches!(read_ecdsa(&at("keystore"), None), Err(KeyFileError::NoPassword { .. })));

        put(&at("open"), "7a", 0o644);
        assert!(matches!(read_ecdsa(&at("open"), None), Err(KeyFileError::Readable { mode: 0o644, .. })));
        put(&at("short"), "7a28", 0o600);
        assert!(matches!(read_ecdsa(&at("short"), None), Err(KeyFileError::NotHex { .. })));
        put(&at("zero"), &"00".repeat(32), 0o600);
        assert!(matches!(read_ecdsa(&at("zero"), None), Err(KeyFileError::NoKey { .. })));
        assert!(matches!(read_bls(&at("zero"), None), Err(KeyFileError::NoKey { .. })));
        assert!(matches!(read_ecdsa(&at("nowhere"), None), Err(KeyFileError::Io { .. })));
    }
}
