//! Keys: making them, and the file that they travel in.
//!
//! A key file is `"JOULEKEY"`, the header's length (32 bits, big-endian), the header (JSON), the proving key (arkworks'
//! uncompressed encoding, the verifying key first), and SHA-256 of all that. The header says which circuit the key is for and
//! where it comes from, so that no key is mistaken for another and a development key says of itself that it is one. Where files lie is
//! for the caller: this crate reads and writes streams.

use std::io::{Read, Write};

use ark_bn254::{Bn254, Fr};
use ark_groth16::Groth16;
use ark_relations::gr1cs::ConstraintSynthesizer;
use ark_serialize::{CanonicalDeserialize, CanonicalSerialize};
use ark_std::rand::{SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::WrapError;
use crate::wrap::WrapCircuit;

const MAGIC: &[u8; 8] = b"JOULEKEY";
const VERIFYING_MAGIC: &[u8; 8] = b"JOULEVKY";
const FORMAT: u32 = 1;
/// A header is a few hundred bytes, and about that much more per contribution.
const HEADER_BYTES_MAX: u32 = 1 << 20;
/// What the development seed is derived from, beside the circuit.
const DEVELOPMENT_LABEL: &str = "joule-wrap development setup: INSECURE, whoever reads this can forge proofs";

/// Where a key's secrets came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum KeyOrigin {
    /// From a public seed: anybody can forge proofs. For local chains.
    Development {
        /// The text that the seed is the hash of, together with the circuit's digest.
        label: String,
    },
    /// From a ceremony: nobody can forge as long as one contributor forgot their secret.
    Ceremony {
        /// SHA-256 of the powers of tau that phase 2 started from.
        powers_of_tau: String,
        /// Phase 2, in order.
        contributions: Vec<Contribution>,
    },
}

/// One contribution to phase 2: enough to check that it was built on the one before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contribution {
    /// Whom the contributor says they are.
    pub contributor: String,
    /// SHA-256 of the file contributed to.
    pub previous: String,
    /// δ in G1 after the contribution, compressed, in hexadecimal.
    pub delta: String,
    /// Proof of knowledge of the factor that δ was multiplied by, in hexadecimal.
    pub proof_of_knowledge: String,
}

/// What a key file says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyHeader {
    /// Version of the file's layout.
    pub format: u32,
    /// Digest of the wrap circuit, in hexadecimal.
    pub circuit: String,
    /// Where the secrets came from.
    pub origin: KeyOrigin,
}

impl KeyHeader {
    /// Whether anybody can forge proofs under this key.
    pub fn is_development(&self) -> bool {
        matches!(self.origin, KeyOrigin::Development { .. })
    }

    /// Refuses a key of another circuit.
    ///
    /// # Errors
    /// [`WrapError::KeyOfAnotherCircuit`].
    pub fn expect_circuit(&self, wrap: &WrapCircuit) -> Result<(), WrapError> {
        let expected = wrap.digest_hex();
        if self.circuit == expected {
            Ok(())
        } else {
            Err(WrapError::KeyOfAnotherCircuit { expected, got: self.circuit.clone() })
        }
    }

    fn write(&self, mut writer: impl Write, magic: &[u8; 8]) -> Result<(), WrapError> {
        let header = serde_json::to_vec(self).map_err(malformed)?;
        writer.write_all(magic).map_err(malformed)?;
        writer.write_all(&(header.len() as u32).to_be_bytes()).map_err(malformed)?;
        writer.write_all(&header).map_err(malformed)
    }

    /// Keys from a ceremony are refused: this version has no check of contributions, and a key whose origin is not checked must not
    /// pass for one.
    fn read(mut reader: impl Read, expected: &[u8; 8]) -> Result<Self, WrapError> {
        let mut magic = [0; 8];
        reader.read_exact(&mut magic).map_err(malformed)?;
        if &magic != expected {
            return Err(malformed("it does not start with the magic word"));
        }
        let header = Self::parse(reader)?;
        match &header.origin {
            KeyOrigin::Development { .. } => Ok(header),
            KeyOrigin::Ceremony { contributions, .. } => {
                Err(WrapError::UncheckedCeremony { contributions: contributions.len() })
            }
        }
    }

    /// What a key file or a verifying key says of itself, for showing: nothing of it is checked, and a ceremony may be claimed.
    ///
    /// # Errors
    /// If it is neither, or of another format.
    pub fn peek(mut reader: impl Read) -> Result<Self, WrapError> {
        let mut magic = [0; 8];
        reader.read_exact(&mut magic).map_err(malformed)?;
        if &magic != MAGIC && &magic != VERIFYING_MAGIC {
            return Err(malformed("it does not start with the magic word"));
        }
        Self::parse(reader)
    }

    fn parse(mut reader: impl Read) -> Result<Self, WrapError> {
        let mut length = [0; 4];
        reader.read_exact(&mut length).map_err(malformed)?;
        let length = u32::from_be_bytes(length);
        if length > HEADER_BYTES_MAX {
            return Err(malformed(format!("its header is said to have {length} bytes")));
        }
        let mut header = vec![0; length as usize];
        reader.read_exact(&mut header).map_err(malformed)?;
        let header: Self = serde_json::from_slice(&header).map_err(malformed)?;
        if header.format != FORMAT {
            return Err(malformed(format!("its format is {}, expected {FORMAT}", header.format)));
        }
        Ok(header)
    }
}

impl VerifyingKey {
    /// The key with its header as bytes: `"JOULEVKY"`, header as in a key file, arkworks' compressed encoding.
    ///
    /// # Errors
    /// If it cannot be encoded.
    pub fn to_bytes(&self) -> Result<Vec<u8>, WrapError> {
        let mut bytes = Vec::new();
        self.header.write(&mut bytes, VERIFYING_MAGIC)?;
        self.key.serialize_compressed(&mut bytes).map_err(malformed)?;
        Ok(bytes)
    }

    /// Reads what [`Self::to_bytes`] wrote. Points are checked: they lie on their curves and in their subgroups.
    ///
    /// # Errors
    /// If the bytes are none, or the key claims a ceremony.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WrapError> {
        if bytes.len() > HEADER_BYTES_MAX as usize {
            return Err(malformed(format!("it has {} bytes", bytes.len())));
        }
        let mut rest = bytes;
        let header = KeyHeader::read(&mut rest, VERIFYING_MAGIC)?;
        let key = ark_groth16::VerifyingKey::deserialize_compressed(&mut rest).map_err(malformed)?;
        if !rest.is_empty() {
            return Err(malformed("something follows the key"));
        }
        // One public input; more would be left unchecked by whoever passes one.
        if key.gamma_abc_g1.len() != 2 {
            return Err(malformed(format!(
                "it takes {} public inputs, not one",
                key.gamma_abc_g1.len().saturating_sub(1)
            )));
        }
        Ok(Self { header, key })
    }

    /// SHA-256 of [`Self::to_bytes`], by which people compare keys.
    ///
    /// # Errors
    /// If it cannot be encoded.
    pub fn digest(&self) -> Result<[u8; 32], WrapError> {
        Ok(Sha256::digest(self.to_bytes()?).into())
    }
}

/// A verifying key and where it comes from.
#[derive(Clone, Debug)]
pub struct VerifyingKey {
    /// What the key is for and where it comes from.
    pub header: KeyHeader,
    pub(crate) key: ark_groth16::VerifyingKey<Bn254>,
}

/// A proving key with its verifying key.
pub struct WrapKeys {
    /// What the key is for and where it comes from.
    pub header: KeyHeader,
    pub(crate) proving: ark_groth16::ProvingKey<Bn254>,
}

impl WrapKeys {
    /// Makes the development keys of a wrap. Takes minutes and gigabytes for a real one.
    pub fn generate_for_development(wrap: &WrapCircuit) -> Result<Self, WrapError> {
        Self::generate(wrap.digest_hex(), wrap.blank())
    }

    pub(crate) fn generate(circuit: String, blank: impl ConstraintSynthesizer<Fr>) -> Result<Self, WrapError> {
        let seed = Sha256::new().chain_update(DEVELOPMENT_LABEL).chain_update(&circuit).finalize();
        let mut generator = StdRng::from_seed(seed.into());
        let proving = Groth16::<Bn254>::generate_random_parameters_with_reduction(blank, &mut generator)?;
        let origin = KeyOrigin::Development { label: DEVELOPMENT_LABEL.to_owned() };
        Ok(Self { header: KeyHeader { format: FORMAT, circuit, origin }, proving })
    }

    /// The part that verifiers need.
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey { header: self.header.clone(), key: self.proving.vk.clone() }
    }

    /// Writes the format described in this module.
    pub fn write(&self, writer: impl Write) -> Result<(), WrapError> {
        let mut hashing = Hashing { inner: writer, hasher: Sha256::new() };
        self.header.write(&mut hashing, MAGIC)?;
        self.proving.serialize_uncompressed(&mut hashing).map_err(malformed)?;
        let digest = hashing.hasher.finalize();
        hashing.inner.write_all(&digest).map_err(malformed)
    }

    /// Reads what [`Self::write`] wrote.
    ///
    /// The digest at the end finds damage, not malice: points are taken without subgroup checks, and whoever can write to the
    /// cache can replace the key. A proof made with a false key does not verify under the true one.
    pub fn read(reader: impl Read) -> Result<Self, WrapError> {
        let mut hashing = Hashing { inner: reader, hasher: Sha256::new() };
        let header = KeyHeader::read(&mut hashing, MAGIC)?;
        let proving = ark_groth16::ProvingKey::deserialize_uncompressed_unchecked(&mut hashing).map_err(malformed)?;
        let computed = hashing.hasher.finalize();
        let mut stored = [0; 32];
        hashing.inner.read_exact(&mut stored).map_err(malformed)?;
        if <[u8; 32]>::from(computed) != stored {
            return Err(malformed("its digest does not match"));
        }
        if hashing.inner.read(&mut [0]).map_err(malformed)? != 0 {
            return Err(malformed("something follows its digest"));
        }
        Ok(Self { header, proving })
    }
}

fn malformed(reason: impl ToString) -> WrapError {
    WrapError::KeyFile { reason: reason.to_string() }
}

/// Hashes what passes through.
struct Hashing<T> {
    inner: T,
    hasher: Sha256,
}

impl<T: Write> Write for Hashing<T> {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.hasher.update(&buffer[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

impl<T: Read> Read for Hashing<T> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}
