//! Who signs leases: the keys by which libp2p knows its peers.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use libp2p::identity::{Keypair, PublicKey};
use thiserror::Error;

use crate::task::{KEY_BYTES_MAX, Lease, ProverId, SIGNATURE_BYTES_MAX, Signed};

/// Why a signature is not taken.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The disk.
    #[error("{}: {source}", .path.display())]
    Access {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file that is no key.
    #[error("{} holds no key: restore it, or remove it to become somebody new, whose standing and earnings start over", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// Bytes that are no public key.
    #[error("the bytes are no public key")]
    NoKey,
    /// The key is not the one that was expected.
    #[error("the lease is signed by {got:?}, and not by {expected:?}")]
    OtherKey {
        /// Whose signature it should be.
        expected: ProverId,
        /// Whose it is.
        got: ProverId,
    },
    /// The signature is not one of the lease.
    #[error("the signature does not fit the lease")]
    WrongSignature,
    /// This machine's key cannot sign.
    #[error("this machine's key cannot sign: {0}")]
    CannotSign(String),
}

/// A key pair, and the name that follows from it.
#[derive(Clone)]
pub struct Identity {
    keys: Keypair,
}

impl core::fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.debug_tuple("Identity").field(&self.id()).finish()
    }
}

impl Identity {
    /// The identity of these keys.
    #[must_use]
    pub const fn new(keys: Keypair) -> Self {
        Self { keys }
    }

    /// A new identity.
    #[must_use]
    pub fn generate() -> Self {
        Self::new(Keypair::generate_ed25519())
    }

    /// The identity in a file, which is made, readable by its owner alone, if it is missing.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn of_file(path: &Path) -> Result<Self, KeyError> {
        let access = |source| KeyError::Access { path: path.to_owned(), source };
        match fs::read(path) {
            Ok(bytes) => Keypair::from_protobuf_encoding(&bytes)
                .map(Self::new)
                .map_err(|_| KeyError::Damaged { path: path.to_owned() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let identity = Self::generate();
                let bytes =
                    identity.keys.to_protobuf_encoding().map_err(|error| KeyError::CannotSign(error.to_string()))?;
                let partial = path.with_extension("partial");
                let write = || {
                    let mut file =
                        OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&partial)?;
                    file.write_all(&bytes)?;
                    file.sync_all()?;
                    fs::rename(&partial, path)
                };
                write().map_err(access)?;
                Ok(identity)
            }
            Err(source) => Err(access(source)),
        }
    }

    /// The keys, for the connection.
    #[must_use]
    pub const fn keys(&self) -> &Keypair {
        &self.keys
    }

    /// The name by which leases call it.
    #[must_use]
    pub fn id(&self) -> ProverId {
        id_of(&self.keys.public())
    }

    /// Signs a lease.
    ///
    /// # Errors
    /// [`KeyError::CannotSign`].
    pub fn sign(&self, lease: &Lease) -> Result<Signed, KeyError> {
        let signature =
            self.keys.sign(&lease.signed_bytes()).map_err(|error| KeyError::CannotSign(error.to_string()))?;
        Ok(Signed { key: self.keys.public().encode_protobuf(), signature })
    }
}

/// The name of a public key.
pub(crate) fn id_of(key: &PublicKey) -> ProverId {
    ProverId::of(&key.encode_protobuf())
}

/// Checks that `signer` signed the lease.
///
/// # Errors
/// [`KeyError`].
pub(crate) fn check(lease: &Lease, signed: &Signed, signer: &ProverId) -> Result<(), KeyError> {
    if signed.key.len() > KEY_BYTES_MAX || signed.signature.len() > SIGNATURE_BYTES_MAX {
        return Err(KeyError::NoKey);
    }
    let key = PublicKey::try_decode_protobuf(&signed.key).map_err(|_| KeyError::NoKey)?;
    let got = id_of(&key);
    if got != *signer {
        return Err(KeyError::OtherKey { expected: *signer, got });
    }
    if key.verify(&lease.signed_bytes(), &signed.signature) { Ok(()) } else { Err(KeyError::WrongSignature) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::TaskId;

    #[test]
    fn a_signature_binds_signer_and_lease() {
        let (one, other) = (Identity::generate(), Identity::generate());
        let lease = Lease {
            task: TaskId([1; 32]),
            prover: one.id(),
            payout: joule_protocol::Address([2; 20]),
            price: 3,
            granted_ms: 4,
            deadline_ms: 5,
            heartbeat_ms: 6,
            serial: 7,
        };
        let signed = one.sign(&lease).unwrap();
        check(&lease, &signed, &one.id()).unwrap();
        assert!(matches!(check(&lease, &signed, &other.id()), Err(KeyError::OtherKey { .. })));
        let dearer = Lease { price: 4, ..lease };
        assert!(matches!(check(&dearer, &signed, &one.id()), Err(KeyError::WrongSignature)));
        let mut changed = signed.clone();
        changed.signature[0] ^= 1;
        assert!(matches!(check(&lease, &changed, &one.id()), Err(KeyError::WrongSignature)));
        changed.key.truncate(5);
        assert!(matches!(check(&lease, &changed, &one.id()), Err(KeyError::NoKey)));
    }
    #[test]
    fn a_file_holds_one_identity() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let made = Identity::of_file(&path).unwrap();
        assert_eq!(Identity::of_file(&path).unwrap().id(), made.id());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, b"no key").unwrap();
        assert!(matches!(Identity::of_file(&path), Err(KeyError::Damaged { .. })));
    }
}
