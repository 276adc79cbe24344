//! The data availability committee: what a member signs, when it may, and when enough have.
//!
//! A batch's data is not on L1. Instead N members store it, and K = N + 1 − H of them sign a [`CertificateStatement`]; as long as H of
//! the N are honest, at least one honest member is among any K. This crate has everything of that which is a pure function: the
//! statement and its digest, keysets and quorums, shares and certificates of both schemes (ECDSA, and BLS over BN254), the rules under
//! which a member signs ([`SigningLog`]), the gathering of a quorum as a state machine ([`Gathering`]), and the encodings.
//!
//! Bytes that L1 sees (digest, keyset hash, certificate calldata, hash to the curve) are those of the contract `DataCommittee`; tests run
//! the contract and hold both to the same verdicts. The contract decides: nothing here can make L1 accept what it would refuse.
//!
//! Types record checks. A key in a [`Keyset`] has shown its possession, a [`VerifiedShare`] and a [`VerifiedCertificate`] have been
//! verified, and a [`Permit`], which a member's key asks for before it signs, comes from the log alone.

mod bls;
mod bn254;
mod certificate;
mod ecdsa;
mod gathering;
mod identity;
mod keyset;
mod share;
mod signing_log;
mod statement;
mod wire;

#[cfg(test)]
mod fixtures;

pub use bls::{BlsPublicKey, BlsRegistration, BlsSecretKey, KeyError, PossessionError, RecordedKeyError};
pub use bn254::{CERTIFICATE_TAG_BLS, G1, G2, HashToCurveError, POSSESSION_TAG_BLS, PointError, hash_to_g1};
pub use certificate::{
    AggregateError, CALLDATA_BYTES_MAX, CalldataError, Certificate, CertificateError, Signatures, VerifiedCertificate,
};
pub use ecdsa::{CompactSignature, EcdsaSecretKey, SignatureError};
pub use gathering::{Action, Event, FallBack, Gathering, GatheringError, Status, Unsound};
pub use identity::IdentityClaim;
pub use keyset::{Keyset, KeysetError, MEMBERS_MAX, Member, Scheme, bls_keyset_hash, ecdsa_keyset_hash, quorum};
pub use share::{Equivocation, Fault, SecretKey, Share, ShareError, ShareSignature, SignError, VerifiedShare};
pub use signing_log::{ENTRIES_MAX, Entry, Permit, Proposal, SigningLog, SigningRefused};
pub use statement::{CertificateStatement, CommitteeContext, Slot, Subject};
pub use wire::{Reader, WireError};
