//! Keys: from a file or a keystore, never from the command line.

use std::{
    fs,
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use alloy::{
    primitives::B256,
    signers::{SignerSync, local::PrivateKeySigner},
};
use joule_protocol::{Hash, Signature};
use zeroize::Zeroizing;

use crate::WalletError;

/// Where a key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeySource {
    /// 32 bytes in hexadecimal.
    File(PathBuf),
    /// A keystore as Ethereum's clients write it, and the file with its password.
    Keystore { path: PathBuf, password: Option<PathBuf> },
}

/// Refuses a file that the group or everybody may read.
fn check_private(path: &Path) -> Result<(), WalletError> {
    let mode = fs::metadata(path).map_err(WalletError::file(path))?.permissions().mode() & 0o777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(WalletError::KeyExposed { path: path.to_owned(), mode }) }
}

fn read_private(path: &Path) -> Result<Zeroizing<String>, WalletError> {
    check_private(path)?;
    Ok(Zeroizing::new(fs::read_to_string(path).map_err(WalletError::file(path))?))
}

fn read_password(path: Option<&Path>) -> Result<Zeroizing<String>, WalletError> {
    let text = read_private(path.ok_or(WalletError::NoPassword)?)?;
    Ok(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}

impl KeySource {
    /// Reads the key.
    ///
    /// # Errors
    /// `KeyExposed`, `MalformedKey`, `Keystore`, `NoPassword`, `File`.
    pub(crate) fn load(&self) -> Result<PrivateKeySigner, WalletError> {
        match self {
            Self::File(path) => {
                let text = read_private(path)?;
                let malformed = |_| WalletError::MalformedKey { path: path.clone() };
                text.trim().parse::<PrivateKeySigner>().map_err(malformed)
            }
            Self::Keystore { path, password } => {
                let password = read_password(password.as_deref())?;
                Ok(PrivateKeySigner::decrypt_keystore(path, password.as_bytes())?)
            }
        }
    }

    /// Makes a new key there.
    ///
    /// # Errors
    /// `FileExists`, and as [`KeySource::load`].
    pub(crate) fn create(&self) -> Result<PrivateKeySigner, WalletError> {
        match self {
            Self::File(path) => {
                let signer = PrivateKeySigner::random();
                let text = Zeroizing::new(alloy::hex::encode_prefixed(signer.to_bytes()));
                write_private(path, text.as_bytes())?;
                Ok(signer)
            }
            Self::Keystore { path, password } => {
                let password = read_password(password.as_deref())?;
                if path.exists() {
                    return Err(WalletError::FileExists { path: path.clone() });
                }
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
                let name = path.file_name().and_then(|name| name.to_str());
                let mut random = rand_keystore::rngs::OsRng;
                let (signer, _) = PrivateKeySigner::new_keystore(folder, &mut random, password.as_bytes(), name)?;
                fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(WalletError::file(path))?;
                Ok(signer)
            }
        }
    }
}

/// Writes a new file that only its owner reads.
fn write_private(path: &Path, bytes: &[u8]) -> Result<(), WalletError> {
    let opened = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = opened.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => WalletError::FileExists { path: path.to_owned() },
        _ => WalletError::File { path: path.to_owned(), error },
    })?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(WalletError::file(path))
}

/// Signs a digest.
///
/// # Panics
/// If the library returns a signature outside the ranges it promises (low s, no overflowing r).
pub(crate) fn sign(signer: &PrivateKeySigner, digest: &Hash) -> Signature {
    let signature = signer.sign_hash_sync(&B256::new(digest.0)).expect("a key in memory signs");
    Signature::from_bytes(&signature.as_bytes()).expect("k256 signs with low s")
}

#[cfg(test)]
mod tests {
    use joule_kernel::recover_address;
    use joule_protocol::Native;
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_new_key_is_read_again_and_not_overwritten() {
        let folder = TempDir::new().expect("a folder");
        let source = KeySource::File(folder.path().join("key"));
        let made = source.create().expect("a new file");
        assert_eq!(source.load().expect("the file").address(), made.address());
        assert!(matches!(source.create(), Err(WalletError::FileExists { .. })));
    }

    #[test]
    fn a_keystore_opens_with_its_password_alone() {
        let folder = TempDir::new().expect("a folder");
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            write_private(&path, text.as_bytes()).expect("a new file");
            path
        };
        let (right, wrong) = (file("right", "correct horse\n"), file("wrong", "battery staple\n"));
        let path = folder.path().join("keystore.json");
        let source = KeySource::Keystore { path: path.clone(), password: Some(right) };
        let made = source.create().expect("a new keystore");
        assert_eq!(source.load().expect("the keystore").address(), made.address());
        let with = |password| KeySource::Keystore { path: path.clone(), password };
        assert!(matches!(with(Some(wrong)).load(), Err(WalletError::Keystore(_))));
        assert!(matches!(with(None).load(), Err(WalletError::NoPassword)));
    }

    #[test]
    fn keys_that_others_can_read_are_refused() {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("key");
        let source = KeySource::File(path.clone());
        source.create().expect("a new file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("our own file");
        assert!(matches!(source.load(), Err(WalletError::KeyExposed { mode: 0o640, .. })));
    }

    #[test]
    fn other_text_is_no_key() {
        let folder = TempDir::new().expect("a folder");
        for (index, text) in ["", "0x12", "not a key", &"00".repeat(32), &"ff".repeat(32)].iter().enumerate() {
            let path = folder.path().join(index.to_string());
            write_private(&path, text.as_bytes()).expect("a new file");
            assert!(matches!(KeySource::File(path).load(), Err(WalletError::MalformedKey { .. })), "{text}");
        }
    }

    #[test]
    fn signatures_are_the_kernels() {
        let signer = PrivateKeySigner::random();
        let digest = Hash([7; 32]);
        let recovered = recover_address::<Native>(&digest, &sign(&signer, &digest)).expect("a signer");
        assert_eq!(recovered.0, signer.address().into_array());
    }
}
