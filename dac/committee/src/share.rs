//! One member's signature under one statement.

use alloy_primitives::{Address, B256};
use ark_bn254::{G1Affine, G2Affine};
use ark_ec::AffineRepr;
use thiserror::Error;

use crate::{
    bls::{BlsSecretKey, hash_certificate},
    bn254::{G1, HashToCurveError, pairing_is_one},
    ecdsa::{CompactSignature, EcdsaSecretKey},
    keyset::{Keyset, Scheme},
    signing_log::Permit,
    statement::{CertificateStatement, Slot, Subject},
    wire::{Reader, WireError},
};

const VERSION: u8 = 1;

/// A member's key of either scheme.
#[derive(Clone, Debug)]
pub enum SecretKey {
    /// For ECDSA keysets.
    Ecdsa(EcdsaSecretKey),
    /// For BLS keysets.
    Bls(BlsSecretKey),
}

/// Why a key made no signature. Neither happens for digests that anybody can find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SignError {
    /// No ECDSA signature that EIP-2098 can carry.
    #[error("no signature of {digest} exists")]
    NoSignature {
        /// The digest.
        digest: B256,
    },
    /// No point for the digest.
    #[error(transparent)]
    HashToCurve(#[from] HashToCurveError),
}

/// A signature of either scheme, unchecked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShareSignature {
    /// ECDSA over the digest.
    Ecdsa(CompactSignature),
    /// BLS: the digest's point times the key.
    Bls(G1),
}

/// What a member sends: the whole statement, so that a share is evidence by itself, its name, and its signature. Nothing of it is
/// believed before [`Share::verify`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// What is signed.
    pub statement: CertificateStatement,
    /// The member's L1 account.
    pub account: Address,
    /// Its signature over the statement's digest.
    pub signature: ShareSignature,
}

/// Who is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nobody: it happens among honest parties.
    Nobody,
    /// Whoever delivered the bytes; the member named in them may have nothing to do with it.
    Sender,
    /// The member, provably.
    Member(Address),
    /// This side.
    Us,
}

/// Two statements of one member about one slot, both signed: proof that it broke its rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Equivocation {
    /// One share.
    pub first: Share,
    /// The other.
    pub second: Share,
}

impl Equivocation {
    /// Checks the proof against the keyset that both shares name.
    ///
    /// # Errors
    /// A share that does not verify, or two that do not contradict each other.
    pub fn verify(&self, keyset: &Keyset) -> Result<(), ShareError> {
        let (first, second) = (self.first.verify(keyset)?, self.second.verify(keyset)?);
        let (a, b) = (&first.share.statement, &second.share.statement);
        let contradict = a.slot() == b.slot() && a.subject() != b.subject();
        if contradict && first.position == second.position {
            return Ok(());
        }
        Err(ShareError::NoContradiction { first: a.digest(), second: b.digest() })
    }
}

/// Why a share does not count.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ShareError {
    /// Nobody of the keyset.
    #[error("{account} is no member of the keyset")]
    UnknownMember {
        /// The name given.
        account: Address,
    },
    /// A signature of the other scheme.
    #[error("the keyset signs by {expected:?}, the share by {got:?}")]
    WrongScheme {
        /// The keyset's.
        expected: Scheme,
        /// The share's.
        got: Scheme,
    },
    /// Made out to another keyset.
    #[error("the share is for keyset {got} instead of {expected}")]
    WrongKeyset {
        /// The keyset at hand.
        expected: B256,
        /// The share's.
        got: B256,
    },
    /// Not the member's signature.
    #[error("the share named {account} does not carry its signature of {digest}")]
    Forged {
        /// The name given.
        account: Address,
        /// What it would sign.
        digest: B256,
    },
    /// The member's share has been counted.
    #[error("the share of {account} has been counted")]
    Duplicate {
        /// The member.
        account: Address,
    },
    /// About another batch, or another attempt at it.
    #[error("the share is about {got:?} instead of {expected:?}")]
    WrongSlot {
        /// What is being gathered.
        expected: Box<Slot>,
        /// The share's.
        got: Box<Slot>,
    },
    /// The member signed something else for the slot. Either it was asked something else, or it lies: this share alone does not tell.
    #[error("{account} signed {got:?} where {expected:?} is being gathered")]
    SignedOther {
        /// The member.
        account: Address,
        /// What is being gathered.
        expected: Subject,
        /// What it signed.
        got: Subject,
    },
    /// The member signed two things of one slot.
    #[error("{} signed both {:?} and {:?}", .0.first.account, .0.first.statement.subject(), .0.second.statement.subject())]
    Equivocation(Box<Equivocation>),
    /// Two shares that agree, or speak of different slots, offered as proof of equivocation.
    #[error("statements {first} and {second} are not one member's contradiction about one slot")]
    NoContradiction {
        /// The first statement's digest.
        first: B256,
        /// The second's.
        second: B256,
    },
    /// The gathering is over without a quorum.
    #[error("the gathering is over")]
    Closed,
    /// No point for the digest.
    #[error(transparent)]
    HashToCurve(#[from] HashToCurveError),
}

impl ShareError {
    /// Who is to blame.
    pub fn fault(&self) -> Fault {
        match self {
            Self::UnknownMember { .. }
            | Self::WrongScheme { .. }
            | Self::WrongKeyset { .. }
            | Self::Forged { .. }
            | Self::WrongSlot { .. }
            | Self::NoContradiction { .. } => Fault::Sender,
            // Retries and slow members bring both.
            Self::Duplicate { .. } | Self::Closed | Self::HashToCurve(_) => Fault::Nobody,
            // One honest sequencer asks for one statement per slot: as long as there is no second share, the asking is suspect.
            Self::SignedOther { .. } => Fault::Us,
            Self::Equivocation(proof) => Fault::Member(proof.first.account),
        }
    }
}

/// A share whose signature is its member's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifiedShare {
    share: Share,
    position: usize,
}

impl VerifiedShare {
    /// The share.
    pub fn share(&self) -> &Share {
        &self.share
    }

    /// The member's place in its keyset, from 0.
    pub fn position(&self) -> usize {
        self.position
    }
}

impl Share {
    const BYTES: usize = 2 + CertificateStatement::BYTES + 20 + 64;

    /// Signs what the log permits.
    ///
    /// # Errors
    /// The digest has no signature, which nobody will meet.
    pub fn sign(permit: &Permit, account: Address, key: &SecretKey) -> Result<Self, SignError> {
        let statement = *permit.statement();
        let digest = statement.digest();
        let signature = match key {
            SecretKey::Ecdsa(key) => ShareSignature::Ecdsa(key.sign(digest)?),
            SecretKey::Bls(key) => ShareSignature::Bls(key.sign(digest)?),
        };
        Ok(Self { statement, account, signature })
    }

    /// How the share is signed.
    pub fn scheme(&self) -> Scheme {
        match self.signature {
            ShareSignature::Ecdsa(_) => Scheme::Ecdsa,
            ShareSignature::Bls(_) => Scheme::Bls,
        }
    }

    /// Checks that a member of the keyset signed this for this keyset.
    ///
    /// # Errors
    /// It did not, with who is to blame in [`ShareError::fault`].
    pub fn verify(self, keyset: &Keyset) -> Result<VerifiedShare, ShareError> {
        let account = self.account;
        let position = keyset.position(account).ok_or(ShareError::UnknownMember { account })?;
        if self.scheme() != keyset.scheme() {
            return Err(ShareError::WrongScheme { expected: keyset.scheme(), got: self.scheme() });
        }
        if self.statement.keyset_hash != keyset.hash() {
            return Err(ShareError::WrongKeyset { expected: keyset.hash(), got: self.statement.keyset_hash });
        }
        let member = &keyset.members()[position];
        let digest = self.statement.digest();
        let is_signed = match (&self.signature, &member.bls) {
            (ShareSignature::Ecdsa(signature), _) => signature.recover(digest) == Ok(member.signer),
            (ShareSignature::Bls(signature), Some(key)) => match signature.point() {
                Ok(point) => is_bls_signature(digest, point, key.g2)?,
                Err(_) => false,
            },
            (ShareSignature::Bls(_), None) => false,
        };
        if is_signed {
            Ok(VerifiedShare { share: self, position })
        } else {
            Err(ShareError::Forged { account, digest })
        }
    }

    /// Version ‖ scheme ‖ statement ‖ account ‖ signature, 242 bytes for either scheme.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::BYTES);
        bytes.extend([VERSION, self.scheme() as u8]);
        self.statement.write(&mut bytes);
        bytes.extend_from_slice(self.account.as_slice());
        match &self.signature {
            ShareSignature::Ecdsa(signature) => signature.write(&mut bytes),
            ShareSignature::Bls(point) => bytes.extend(point.words().iter().flat_map(|word| word.0)),
        }
        bytes
    }

    /// The inverse of [`Share::encode`]; the signature stays unchecked.
    ///
    /// # Errors
    /// Anything but the bytes of one share.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        reader.version(VERSION)?;
        let scheme = Scheme::read(&mut reader)?;
        let statement = CertificateStatement::read(&mut reader)?;
        let account = reader.address()?;
        let signature = match scheme {
            Scheme::Ecdsa => ShareSignature::Ecdsa(CompactSignature::read(&mut reader)?),
            Scheme::Bls => ShareSignature::Bls(G1 { x: reader.u256()?, y: reader.u256()? }),
        };
        reader.end()?;
        Ok(Self { statement, account, signature })
    }
}

/// e(σ, −g₂) · e(H, K) = 1, for a key known to be one key in both groups.
fn is_bls_signature(digest: B256, signature: G1Affine, key: G2Affine) -> Result<bool, HashToCurveError> {
    Ok(pairing_is_one(signature, -G2Affine::generator(), hash_certificate(digest)?, key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fixtures::{account, keyset, other_subject, share, statement},
        wire::testing::is_strict,
    };
    use alloy_primitives::U256;
    use proptest::prelude::*;

    const SCHEMES: [Scheme; 2] = [Scheme::Ecdsa, Scheme::Bls];

    #[test]
    fn shares_verify_and_forged_ones_do_not() {
        for scheme in SCHEMES {
            let keyset = keyset(scheme, 4, 2);
            let statement = statement(keyset.hash());
            for position in 0..4 {
                assert_eq!(
                    share(&keyset, position, &statement).verify(&keyset).expect("verifies").position(),
                    position
                );
            }
            let honest = share(&keyset, 0, &statement);
            let forged = |share: Share| {
                let error = share.verify(&keyset).expect_err("forged");
                assert!(matches!(error, ShareError::Forged { .. }), "{error}");
                assert_eq!(error.fault(), Fault::Sender);
            };
            // In another's name; under another statement; with its signature changed.
            forged(Share { account: keyset.members()[1].account, ..honest });
            forged(Share { statement: other_subject(&statement), ..honest });
            forged(Share { statement: CertificateStatement { revert_count: 9, ..statement }, ..honest });
            match honest.signature {
                ShareSignature::Ecdsa(signature) => {
                    let mut high = signature;
                    high.vs.0[0] ^= 0x80;
                    forged(Share { signature: ShareSignature::Ecdsa(high), ..honest });
                    let zero = CompactSignature { r: B256::ZERO, vs: B256::ZERO };
                    forged(Share { signature: ShareSignature::Ecdsa(zero), ..honest });
                }
                ShareSignature::Bls(signature) => {
                    forged(Share { signature: ShareSignature::Bls(G1::INFINITY), ..honest });
                    let off = G1 { y: signature.y ^ U256::from(1), ..signature };
                    forged(Share { signature: ShareSignature::Bls(off), ..honest });
                    forged(Share {
                        signature: ShareSignature::Bls(G1 { x: U256::from(1), y: U256::from(2) }),
                        ..honest
                    });
                }
            }
        }
    }

    #[test]
    fn strangers_schemes_and_keysets_are_told_apart() {
        let (ecdsa, bls) = (keyset(Scheme::Ecdsa, 3, 1), keyset(Scheme::Bls, 3, 1));
        let honest = share(&ecdsa, 0, &statement(ecdsa.hash()));
        let stranger = Share { account: account(99), ..honest };
        assert_eq!(stranger.verify(&ecdsa), Err(ShareError::UnknownMember { account: account(99) }));
        let expected = ShareError::WrongScheme { expected: Scheme::Bls, got: Scheme::Ecdsa };
        assert_eq!(honest.verify(&bls), Err(expected));
        let later = keyset(Scheme::Ecdsa, 3, 2);
        let expected = ShareError::WrongKeyset { expected: later.hash(), got: ecdsa.hash() };
        assert_eq!(honest.verify(&later), Err(expected));
    }

    #[test]
    fn equivocation_needs_a_contradiction() {
        for scheme in SCHEMES {
            let keyset = keyset(scheme, 3, 1);
            let statement = statement(keyset.hash());
            let first = share(&keyset, 0, &statement);
            let second = share(&keyset, 0, &other_subject(&statement));
            assert_eq!(Equivocation { first, second }.verify(&keyset), Ok(()));
            assert!(Equivocation { first, second: first }.verify(&keyset).is_err());
            let anothers = share(&keyset, 1, &other_subject(&statement));
            assert!(Equivocation { first, second: anothers }.verify(&keyset).is_err());
            let next = CertificateStatement { batch_number: 99, ..other_subject(&statement) };
            assert!(Equivocation { first, second: share(&keyset, 0, &next) }.verify(&keyset).is_err());
            let forged = Share { signature: first.signature, ..second };
            assert!(matches!(Equivocation { first, second: forged }.verify(&keyset), Err(ShareError::Forged { .. })));
        }
    }

    #[test]
    fn encoding_is_strict() {
        for scheme in SCHEMES {
            let keyset = keyset(scheme, 2, 1);
            let bytes = share(&keyset, 1, &statement(keyset.hash())).encode();
            assert_eq!(bytes.len(), Share::BYTES);
            is_strict(&bytes, Share::decode, Share::encode);
            let mut other = bytes.clone();
            other[0] = 2;
            assert_eq!(Share::decode(&other), Err(WireError::UnknownVersion { expected: 1, got: 2 }));
            other[..2].copy_from_slice(&[1, 3]);
            assert_eq!(Share::decode(&other), Err(WireError::UnknownScheme { got: 3 }));
        }
    }

    proptest! {
        #[test]
        fn what_decodes_is_the_only_encoding(mut bytes in prop::collection::vec(any::<u8>(), 0..=Share::BYTES + 1), head: bool) {
            if let (true, Some(head)) = (head, bytes.first_chunk_mut::<2>()) {
                *head = [1, 1 + (head[1] & 1)];
            }
            if let Ok(share) = Share::decode(&bytes) {
                prop_assert_eq!(share.encode(), bytes);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn any_changed_bit_is_noticed(scheme in prop::sample::select(&SCHEMES), bit in 0..Share::BYTES * 8) {
            let keyset = keyset(scheme, 2, 1);
            let mut bytes = share(&keyset, 0, &statement(keyset.hash())).encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Share::decode(&bytes).map_or(true, |share| share.verify(&keyset).is_err()));
        }
    }
}
