//! A quorum's signatures as one thing that L1 checks.

use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::SolValue;
use ark_bn254::{G1Projective, G2Projective};
use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::Zero;
use thiserror::Error;

use crate::{
    bls::hash_certificate,
    bn254::{G1, G2, HashToCurveError, PointError, is_signed},
    ecdsa::{CompactSignature, SignatureError},
    keyset::{Keyset, MEMBERS_MAX, Scheme, bls_keyset_hash, ecdsa_keyset_hash},
    share::{ShareSignature, VerifiedShare},
    statement::CertificateStatement,
    wire::{Reader, WireError},
};

mod abi {
    #![allow(missing_docs, unreachable_pub, clippy::all, reason = "private mirrors of the contract's structs")]
    alloy_sol_types::sol! {
        struct CompactSignature { bytes32 r; bytes32 vs; }
        struct EcdsaCertificate { uint64 expiry; uint32 quorum; address[] keyset; CompactSignature[] signatures; }
        struct G1 { uint256 x; uint256 y; }
        struct G2 { uint256 xImaginary; uint256 xReal; uint256 yImaginary; uint256 yReal; }
        struct BlsCertificate { uint64 expiry; uint32 quorum; G1[] keyset; uint256 bitmap; G1 signature; G2 aggregateKey; }
    }
}

const VERSION: u8 = 1;

/// Longest certificate in calldata: scheme byte, the struct's offset, and the larger of ECDSA (4 head words, two lengths, three words a
/// member) and BLS (10 head words, one length, two words a member) with [`MEMBERS_MAX`] members.
pub const CALLDATA_BYTES_MAX: usize = 1 + 32 * (1 + 4 + 2 + 3 * MEMBERS_MAX);

/// The signatures of a certificate, unchecked, with the keyset that they claim: L1 knows keysets by their hash alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signatures {
    /// One signature per signer.
    Ecdsa {
        /// All signers of the keyset, strictly increasing.
        keyset: Vec<Address>,
        /// The signatures, by strictly increasing signer.
        signatures: Vec<CompactSignature>,
    },
    /// One signature of all signers together.
    Bls {
        /// All keys of the keyset in G1, in its order.
        keyset: Vec<G1>,
        /// Bit i says that key i signed.
        bitmap: U256,
        /// The sum of the signatures.
        signature: G1,
        /// The sum of the signers' keys in G2.
        aggregate_key: G2,
    },
}

/// A statement with a quorum's signatures, unchecked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// What is signed.
    pub statement: CertificateStatement,
    /// Signatures that the keyset asks for. Part of the keyset's hash, so that nobody can claim a lower one.
    pub quorum: u32,
    /// Who signed.
    pub signatures: Signatures,
}

/// A certificate that [`Certificate::verify`] has passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedCertificate(Certificate);

impl VerifiedCertificate {
    /// The certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.0
    }

    /// Gives the certificate away.
    pub fn into_inner(self) -> Certificate {
        self.0
    }
}

/// Why a certificate is none. Whoever made it is to blame. The contract gives the same verdicts, with the same values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// Made by other keys, or claiming another quorum, than the keyset in force.
    #[error("the certificate's keyset {got} is not {expected}")]
    UnknownKeyset {
        /// The keyset in force.
        expected: B256,
        /// The certificate's, from its keys and quorum.
        got: B256,
    },
    /// The keyset signed is another than the one brought.
    #[error("the statement names keyset {stated}, the certificate brings {brought}")]
    KeysetNotStated {
        /// As signed.
        stated: B256,
        /// As brought.
        brought: B256,
    },
    /// The data would be gone too soon.
    #[error("the data is held until {got}, and must be until {expiry_min}")]
    ExpiresTooSoon {
        /// Least expiry, unix seconds.
        expiry_min: u64,
        /// The certificate's.
        got: u64,
    },
    /// Too few signed.
    #[error("{got} signed, and {quorum} must")]
    QuorumMissed {
        /// How many must.
        quorum: u32,
        /// How many did.
        got: usize,
    },
    /// Signers not strictly increasing; one of them may have been counted twice.
    #[error("signer {signer} does not come after {previous}")]
    OutOfOrder {
        /// The one before.
        previous: Address,
        /// The one out of order.
        signer: Address,
    },
    /// A signer outside the keyset. A signature under another statement recovers to one, too.
    #[error("signer {signer} is no member")]
    NotAMember {
        /// The signer.
        signer: Address,
    },
    /// A signature that is no key's.
    #[error("signature {index}: {source}")]
    BadSignature {
        /// Its index.
        index: usize,
        /// Why.
        source: SignatureError,
    },
    /// Signer bits beyond the keyset.
    #[error("the bitmap {bitmap:#x} has bits beyond its {members} members")]
    UnknownBits {
        /// Members in the keyset.
        members: usize,
        /// The bitmap.
        bitmap: U256,
    },
    /// The signers' keys add up to infinity, under which anybody can sign.
    #[error("the signers' keys add up to infinity")]
    KeyAtInfinity,
    /// Words that are no point of G1.
    #[error("{what} is no point of G1: {source}")]
    NoPointG1 {
        /// Which words.
        what: &'static str,
        /// Why.
        source: PointError,
    },
    /// Words that are no point of G2.
    #[error("the aggregate key is no point of G2: {source}")]
    NoPointG2 {
        /// Why.
        source: PointError,
    },
    /// Not the signers' signature, or not their keys' sum in G2.
    #[error("the signature is not the signers' under {digest}")]
    SignatureRefused {
        /// The statement's digest.
        digest: B256,
    },
    /// No point for the digest.
    #[error(transparent)]
    HashToCurve(#[from] HashToCurveError),
}

/// Why shares make no certificate. Whoever put them together is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AggregateError {
    /// A share under another statement, or made for another keyset.
    #[error("a share signs {got} instead of {expected}")]
    MixedStatements {
        /// The statement's digest.
        expected: B256,
        /// The share's.
        got: B256,
    },
    /// The statement is made out to another keyset.
    #[error("the statement names keyset {got} instead of {expected}")]
    WrongKeyset {
        /// The keyset given.
        expected: B256,
        /// The statement's.
        got: B256,
    },
    /// One member's share twice.
    #[error("member {position} comes twice")]
    Twice {
        /// Its place in the keyset.
        position: usize,
    },
    /// Too few.
    #[error("{got} shares, and {quorum} are needed")]
    QuorumMissed {
        /// How many are needed.
        quorum: u32,
        /// How many were given.
        got: usize,
    },
    /// A verified share whose words are no point: this crate is broken.
    #[error("a verified share is no point: {0}")]
    NoPoint(PointError),
}

/// Why calldata holds no certificate.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CalldataError {
    /// Longer than any certificate.
    #[error("{got} bytes, where a certificate has {most} at most")]
    TooLong {
        /// The most bytes.
        most: usize,
        /// Bytes given.
        got: usize,
    },
    /// No such scheme (empty calldata counts as scheme 0, as for the contract).
    #[error("no signature scheme has number {got}")]
    UnknownScheme {
        /// The number found.
        got: u8,
    },
    /// Not the ABI encoding of a certificate.
    #[error("not the ABI encoding of a certificate: {0}")]
    Abi(String),
    /// An ABI encoding, but not the one that Solidity's encoder makes.
    #[error("not the canonical ABI encoding of a certificate")]
    NotCanonical,
}

impl Certificate {
    /// Puts shares together: any quorum of any members, in any order.
    ///
    /// # Errors
    /// Too few shares, one twice, or of different statements.
    pub fn aggregate(
        keyset: &Keyset,
        statement: &CertificateStatement,
        shares: &[VerifiedShare],
    ) -> Result<Self, AggregateError> {
        if statement.keyset_hash != keyset.hash() {
            return Err(AggregateError::WrongKeyset { expected: keyset.hash(), got: statement.keyset_hash });
        }
        let mut shares = shares.to_vec();
        shares.sort_by_key(VerifiedShare::position);
        for (i, share) in shares.iter().enumerate() {
            // The same keyset hash stands in both, so a position means the same member in all of them.
            if share.share().statement != *statement {
                let (expected, got) = (statement.digest(), share.share().statement.digest());
                return Err(AggregateError::MixedStatements { expected, got });
            }
            if i != 0 && shares[i - 1].position() == share.position() {
                return Err(AggregateError::Twice { position: share.position() });
            }
        }
        if shares.len() < keyset.quorum() as usize {
            return Err(AggregateError::QuorumMissed { quorum: keyset.quorum(), got: shares.len() });
        }
        let signatures = match keyset.scheme() {
            Scheme::Ecdsa => Signatures::Ecdsa {
                keyset: keyset.members().iter().map(|member| member.signer).collect(),
                signatures: shares
                    .iter()
                    .filter_map(|share| match share.share().signature {
                        ShareSignature::Ecdsa(signature) => Some(signature),
                        ShareSignature::Bls(_) => None,
                    })
                    .collect(),
            },
            Scheme::Bls => aggregate_bls(keyset, &shares)?,
        };
        Ok(Self { statement: *statement, quorum: keyset.quorum(), signatures })
    }

    /// How it is signed.
    pub fn scheme(&self) -> Scheme {
        match self.signatures {
            Signatures::Ecdsa { .. } => Scheme::Ecdsa,
            Signatures::Bls { .. } => Scheme::Bls,
        }
    }

    /// Checks the certificate as the contract does: `keyset_hash` is the keyset in force, `expiry_min` the time of use plus the time
    /// that the contract asks for on top.
    ///
    /// # Errors
    /// Whatever the contract refuses, with its values.
    pub fn verify(self, keyset_hash: B256, expiry_min: u64) -> Result<VerifiedCertificate, CertificateError> {
        let brought = match &self.signatures {
            Signatures::Ecdsa { keyset, .. } => ecdsa_keyset_hash(self.quorum, keyset),
            Signatures::Bls { keyset, .. } => bls_keyset_hash(self.quorum, keyset),
        };
        if brought != keyset_hash {
            return Err(CertificateError::UnknownKeyset { expected: keyset_hash, got: brought });
        }
        // The contract has no such case: it takes the keyset's hash from the certificate.
        if self.statement.keyset_hash != brought {
            return Err(CertificateError::KeysetNotStated { stated: self.statement.keyset_hash, brought });
        }
        if self.statement.expiry < expiry_min {
            return Err(CertificateError::ExpiresTooSoon { expiry_min, got: self.statement.expiry });
        }
        let digest = self.statement.digest();
        match &self.signatures {
            Signatures::Ecdsa { keyset, signatures } => verify_ecdsa(digest, self.quorum, keyset, signatures)?,
            Signatures::Bls { keyset, bitmap, signature, aggregate_key } => {
                verify_bls(digest, self.quorum, keyset, *bitmap, signature, aggregate_key)?;
            }
        }
        Ok(VerifiedCertificate(self))
    }

    /// What the contract takes: scheme, then the ABI encoding of the scheme's struct.
    pub fn to_calldata(&self) -> Bytes {
        let (expiry, quorum) = (self.statement.expiry, self.quorum);
        let point = |point: &G1| abi::G1 { x: point.x, y: point.y };
        let body = match &self.signatures {
            Signatures::Ecdsa { keyset, signatures } => abi::EcdsaCertificate {
                expiry,
                quorum,
                keyset: keyset.clone(),
                signatures: signatures
                    .iter()
                    .map(|&CompactSignature { r, vs }| abi::CompactSignature { r, vs })
                    .collect(),
            }
            .abi_encode(),
            Signatures::Bls { keyset, bitmap, signature, aggregate_key } => abi::BlsCertificate {
                expiry,
                quorum,
                keyset: keyset.iter().map(point).collect(),
                bitmap: *bitmap,
                signature: point(signature),
                aggregateKey: abi::G2 {
                    xImaginary: aggregate_key.x_imaginary,
                    xReal: aggregate_key.x_real,
                    yImaginary: aggregate_key.y_imaginary,
                    yReal: aggregate_key.y_real,
                },
            }
            .abi_encode(),
        };
        [vec![self.scheme() as u8], body].concat().into()
    }

    /// Reads a certificate that was sent to L1. Calldata holds expiry, quorum and keys; the rest of the statement comes from the
    /// batch: `statement`, whose expiry and keyset hash are replaced.
    ///
    /// Only the encoding that [`Certificate::to_calldata`] makes is read, although the contract would read others.
    ///
    /// # Errors
    /// Anything else.
    pub fn from_calldata(statement: &CertificateStatement, calldata: &[u8]) -> Result<Self, CalldataError> {
        if calldata.len() > CALLDATA_BYTES_MAX {
            return Err(CalldataError::TooLong { most: CALLDATA_BYTES_MAX, got: calldata.len() });
        }
        let abi_error = |error: alloy_sol_types::Error| CalldataError::Abi(error.to_string());
        let (scheme, body) = calldata.split_first().unwrap_or((&0, &[]));
        let (expiry, quorum, keyset_hash, signatures) = match scheme {
            1 => {
                let abi = abi::EcdsaCertificate::abi_decode_validate(body).map_err(abi_error)?;
                let signatures =
                    abi.signatures.iter().map(|&abi::CompactSignature { r, vs }| CompactSignature { r, vs }).collect();
                let hash = ecdsa_keyset_hash(abi.quorum, &abi.keyset);
                (abi.expiry, abi.quorum, hash, Signatures::Ecdsa { keyset: abi.keyset, signatures })
            }
            2 => {
                let abi = abi::BlsCertificate::abi_decode_validate(body).map_err(abi_error)?;
                let point = |point: &abi::G1| G1 { x: point.x, y: point.y };
                let key = &abi.aggregateKey;
                let aggregate_key = G2 {
                    x_imaginary: key.xImaginary,
                    x_real: key.xReal,
                    y_imaginary: key.yImaginary,
                    y_real: key.yReal,
                };
                let (keyset, signature) = (abi.keyset.iter().map(point).collect::<Vec<_>>(), point(&abi.signature));
                let hash = bls_keyset_hash(abi.quorum, &keyset);
                (abi.expiry, abi.quorum, hash, Signatures::Bls { keyset, bitmap: abi.bitmap, signature, aggregate_key })
            }
            got => return Err(CalldataError::UnknownScheme { got: *got }),
        };
        let statement = CertificateStatement { expiry, keyset_hash, ..*statement };
        let certificate = Self { statement, quorum, signatures };
        if certificate.to_calldata()[..] == *calldata { Ok(certificate) } else { Err(CalldataError::NotCanonical) }
    }

    /// Version ‖ scheme ‖ statement ‖ quorum ‖ keys and signatures, each list with its length before it.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION, self.scheme() as u8];
        self.statement.write(&mut bytes);
        bytes.extend_from_slice(&self.quorum.to_be_bytes());
        let length = |length: usize| (length as u32).to_be_bytes();
        match &self.signatures {
            Signatures::Ecdsa { keyset, signatures } => {
                bytes.extend(length(keyset.len()));
                keyset.iter().for_each(|signer| bytes.extend_from_slice(signer.as_slice()));
                bytes.extend(length(signatures.len()));
                signatures.iter().for_each(|signature| signature.write(&mut bytes));
            }
            Signatures::Bls { keyset, bitmap, signature, aggregate_key } => {
                bytes.extend(length(keyset.len()));
                bytes.extend(keyset.iter().flat_map(G1::words).flat_map(|word| word.0));
                bytes.extend_from_slice(&bitmap.to_be_bytes::<32>());
                bytes.extend(signature.words().iter().flat_map(|word| word.0));
                bytes.extend(aggregate_key.words().iter().flat_map(|word| word.0));
            }
        }
        bytes
    }

    /// The inverse of [`Certificate::encode`]; the signatures stay unchecked.
    ///
    /// # Errors
    /// Anything but the bytes of one certificate with at most [`MEMBERS_MAX`] keys and no more signers than keys.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        reader.version(VERSION)?;
        let scheme = Scheme::read(&mut reader)?;
        let statement = CertificateStatement::read(&mut reader)?;
        let quorum = reader.u32()?;
        let members = count(&mut reader, "members", MEMBERS_MAX)?;
        let signatures = match scheme {
            Scheme::Ecdsa => {
                let keyset = (0..members).map(|_| reader.address()).collect::<Result<_, _>>()?;
                let signers = count(&mut reader, "signatures", members)?;
                let signatures = (0..signers).map(|_| CompactSignature::read(&mut reader)).collect::<Result<_, _>>()?;
                Signatures::Ecdsa { keyset, signatures }
            }
            Scheme::Bls => {
                let mut point = || Ok(G1 { x: reader.u256()?, y: reader.u256()? });
                let keyset = (0..members).map(|_| point()).collect::<Result<_, _>>()?;
                let bitmap = reader.u256()?;
                if bitmap >> members != U256::ZERO {
                    return Err(WireError::UnknownBits { members, bitmap });
                }
                let signature = G1 { x: reader.u256()?, y: reader.u256()? };
                let aggregate_key = G2 {
                    x_imaginary: reader.u256()?,
                    x_real: reader.u256()?,
                    y_imaginary: reader.u256()?,
                    y_real: reader.u256()?,
                };
                Signatures::Bls { keyset, bitmap, signature, aggregate_key }
            }
        };
        reader.end()?;
        Ok(Self { statement, quorum, signatures })
    }
}

fn count(reader: &mut Reader<'_>, what: &'static str, most: usize) -> Result<usize, WireError> {
    let got = reader.u32()? as usize;
    if (1..=most).contains(&got) { Ok(got) } else { Err(WireError::CountOutOfRange { what, least: 1, most, got }) }
}

fn aggregate_bls(keyset: &Keyset, shares: &[VerifiedShare]) -> Result<Signatures, AggregateError> {
    let mut bitmap = U256::ZERO;
    let (mut signature, mut key) = (G1Projective::zero(), G2Projective::zero());
    for share in shares {
        let member = &keyset.members()[share.position()];
        if let (ShareSignature::Bls(point), Some(public)) = (&share.share().signature, &member.bls) {
            bitmap.set_bit(share.position(), true);
            signature += point.point().map_err(AggregateError::NoPoint)?;
            key += public.g2;
        }
    }
    Ok(Signatures::Bls {
        keyset: keyset.members().iter().filter_map(|member| member.bls).map(|key| key.g1()).collect(),
        bitmap,
        signature: G1::new(&signature.into_affine()),
        aggregate_key: G2::new(&key.into_affine()),
    })
}

/// The keyset is strictly increasing, so one walk along it finds every signer, and a signer cannot come twice.
fn verify_ecdsa(
    digest: B256,
    quorum: u32,
    keyset: &[Address],
    signatures: &[CompactSignature],
) -> Result<(), CertificateError> {
    if signatures.len() < quorum as usize {
        return Err(CertificateError::QuorumMissed { quorum, got: signatures.len() });
    }
    let mut previous = Address::ZERO;
    let mut members = keyset.iter();
    for (index, signature) in signatures.iter().enumerate() {
        let signer = signature.recover(digest).map_err(|source| CertificateError::BadSignature { index, source })?;
        if signer <= previous {
            return Err(CertificateError::OutOfOrder { previous, signer });
        }
        if members.find(|member| **member >= signer) != Some(&signer) {
            return Err(CertificateError::NotAMember { signer });
        }
        previous = signer;
    }
    Ok(())
}

fn verify_bls(
    digest: B256,
    quorum: u32,
    keyset: &[G1],
    bitmap: U256,
    signature: &G1,
    aggregate_key: &G2,
) -> Result<(), CertificateError> {
    let refused = |what| move |source| CertificateError::NoPointG1 { what, source };
    if bitmap >> keyset.len() != U256::ZERO {
        return Err(CertificateError::UnknownBits { members: keyset.len(), bitmap });
    }
    let mut key = G1Projective::zero();
    let signers = keyset.iter().enumerate().filter(|(i, _)| bitmap.bit(*i));
    for (_, member) in signers {
        key += member.point().map_err(refused("a member's key"))?;
    }
    if bitmap.count_ones() < quorum as usize {
        return Err(CertificateError::QuorumMissed { quorum, got: bitmap.count_ones() });
    }
    let key = key.into_affine();
    let hashed = hash_certificate(digest)?;
    if key.is_zero() {
        return Err(CertificateError::KeyAtInfinity);
    }
    let signature = signature.point().map_err(refused("the signature"))?;
    let key2 = aggregate_key.point().map_err(|source| CertificateError::NoPointG2 { source })?;
    if is_signed(digest, hashed, signature, key, key2) {
        Ok(())
    } else {
        Err(CertificateError::SignatureRefused { digest })
    }
}

#[cfg(test)]
mod tests;
