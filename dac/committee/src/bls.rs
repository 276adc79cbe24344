//! BLS signatures over BN254: signatures in G1, keys in both groups, possession proven before a key counts.

use std::fmt;

use alloy_primitives::{Address, B256, keccak256};
use ark_bn254::{Fr, G1Affine, G2Affine};
use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::{BigInt, BigInteger, PrimeField, Zero};
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

use crate::{
    bn254::{
        CERTIFICATE_TAG_BLS, G1, G2, HashToCurveError, POSSESSION_TAG_BLS, PointError, hash_to_point, is_signed,
        pairing_is_one,
    },
    statement::{CommitteeContext, hash_words, word},
};

/// Why bytes are no secret key. The message holds nothing of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Zero, or not below the group's order.
    #[error("the secret scalar is zero or not below the group's order")]
    OutOfRange,
}

/// Why a BLS key is not let in. Whoever registers it is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PossessionError {
    /// Words that are no point.
    #[error("{what} is no point: {source}")]
    NoPoint {
        /// Which of the three.
        what: &'static str,
        /// Why.
        source: PointError,
    },
    /// Infinity, under which anybody can sign.
    #[error("the key is infinity")]
    KeyAtInfinity,
    /// The proof is not this key's for this account at this committee, or the keys in G1 and G2 are not one key.
    #[error("possession of the key is not shown: the proof does not sign {digest}")]
    NotShown {
        /// What it must sign.
        digest: B256,
    },
    /// No point for the digest.
    #[error(transparent)]
    HashToCurve(#[from] HashToCurveError),
}

/// A BLS public key with proof that whoever brings it can sign with it: the arguments of the contract's `registerBlsKey`.
///
/// Without the proof a member could bring the difference of a key of its own and the sum of everybody else's, and then sign for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlsRegistration {
    /// The key in G1.
    pub key: G1,
    /// The same key in G2.
    pub key2: G2,
    /// The key's signature over the possession digest.
    pub possession: G1,
}

impl BlsRegistration {
    /// Checks the registration of `account` at a committee, as the contract does.
    ///
    /// # Errors
    /// Words that are no points, infinity, or a proof that is none.
    pub fn check(&self, context: &CommitteeContext, account: Address) -> Result<BlsPublicKey, PossessionError> {
        let refused = |what| move |source| PossessionError::NoPoint { what, source };
        let g1 = self.key.point().map_err(refused("the key in G1"))?;
        if g1.is_zero() {
            return Err(PossessionError::KeyAtInfinity);
        }
        let possession = self.possession.point().map_err(refused("the proof of possession"))?;
        let g2 = self.key2.point().map_err(refused("the key in G2"))?;
        let digest = possession_digest(context, account, &self.key);
        let hashed = hash_to_point(keccak256(POSSESSION_TAG_BLS), digest)?;
        if !is_signed(digest, hashed, possession, g1, g2) {
            return Err(PossessionError::NotShown { digest });
        }
        Ok(BlsPublicKey { g1, g2 })
    }
}

fn possession_digest(context: &CommitteeContext, account: Address, key: &G1) -> B256 {
    let [x, y] = key.words();
    hash_words([
        keccak256(POSSESSION_TAG_BLS),
        word(context.l1_chain_id),
        context.committee.into_word(),
        account.into_word(),
        x,
        y,
    ])
}

pub(crate) fn hash_certificate(digest: B256) -> Result<G1Affine, HashToCurveError> {
    hash_to_point(keccak256(CERTIFICATE_TAG_BLS), digest)
}

/// Why a key that L1 has on record is not taken. Whoever answers for L1 is to blame: the contract registers no such key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RecordedKeyError {
    /// Words that are no point.
    #[error("{what} is no point: {source}")]
    NoPoint {
        /// Which of the two.
        what: &'static str,
        /// Why.
        source: PointError,
    },
    /// Infinity, under which anybody can sign.
    #[error("the key is infinity")]
    KeyAtInfinity,
    /// The keys in G1 and G2 have different secrets.
    #[error("the keys in G1 and G2 are not one key")]
    TwoKeys,
}

/// A BLS public key whose possession has been shown, or that is one's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlsPublicKey {
    pub(crate) g1: G1Affine,
    pub(crate) g2: G2Affine,
}

impl BlsPublicKey {
    /// A key that the committee's contract has on record, which it takes with a proof of possession alone. The contract keeps the key in G1, which keysets are hashes of, and logs the one in G2: whoever
    /// shows another one is noticed here, by e(K₁, g₂) = e(g₁, K₂).
    ///
    /// Only for keys of which the contract's own state has the G1 part; everything else needs [`BlsRegistration::check`].
    ///
    /// # Errors
    /// Words that are no points, infinity, or two keys.
    pub fn on_record(key: &G1, key2: &G2) -> Result<Self, RecordedKeyError> {
        let refused = |what| move |source| RecordedKeyError::NoPoint { what, source };
        let g1 = key.point().map_err(refused("the key in G1"))?;
        let g2 = key2.point().map_err(refused("the key in G2"))?;
        if g1.is_zero() {
            return Err(RecordedKeyError::KeyAtInfinity);
        }
        match pairing_is_one(g1, G2Affine::generator(), -G1Affine::generator(), g2) {
            true => Ok(Self { g1, g2 }),
            false => Err(RecordedKeyError::TwoKeys),
        }
    }

    /// The key in G1.
    pub fn g1(&self) -> G1 {
        G1::new(&self.g1)
    }

    /// The key in G2.
    pub fn g2(&self) -> G2 {
        G2::new(&self.g2)
    }
}

/// A member's BLS key. Never printed; erased when dropped.
///
/// Its arithmetic is not of constant time: somebody who times the signing on the member's own machine may learn of it.
#[derive(Clone)]
pub struct BlsSecretKey(Fr);

impl BlsSecretKey {
    /// The key of a big-endian scalar.
    ///
    /// # Errors
    /// The scalar is zero, or not below the group's order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        let mut limbs = alloy_primitives::U256::from_be_bytes(*bytes).into_limbs();
        let scalar = Fr::from_bigint(BigInt(limbs)).filter(|scalar| !scalar.is_zero());
        limbs.zeroize();
        scalar.map(Self).ok_or(KeyError::OutOfRange)
    }

    /// A key from 48 random bytes: enough that the remainder modulo the order is uniform but for 2^-128.
    ///
    /// # Errors
    /// The remainder is zero, which random bytes are not.
    pub fn from_entropy(bytes: &[u8; 48]) -> Result<Self, KeyError> {
        let scalar = Fr::from_be_bytes_mod_order(bytes);
        if scalar.is_zero() { Err(KeyError::OutOfRange) } else { Ok(Self(scalar)) }
    }

    /// The big-endian scalar, for a keystore.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        let mut integer = self.0.into_bigint();
        let mut vector = Zeroizing::new(integer.to_bytes_be());
        integer.zeroize();
        let mut bytes = Zeroizing::new([0; 32]);
        bytes.copy_from_slice(&vector);
        vector.zeroize();
        bytes
    }

    /// The public key.
    pub fn public_key(&self) -> BlsPublicKey {
        BlsPublicKey {
            g1: (G1Affine::generator() * self.0).into_affine(),
            g2: (G2Affine::generator() * self.0).into_affine(),
        }
    }

    /// The public key with proof of its possession, for `account` at one committee.
    ///
    /// # Errors
    /// No point for the digest.
    pub fn register(&self, context: &CommitteeContext, account: Address) -> Result<BlsRegistration, HashToCurveError> {
        let public = self.public_key();
        let key = public.g1();
        let digest = possession_digest(context, account, &key);
        let hashed = hash_to_point(keccak256(POSSESSION_TAG_BLS), digest)?;
        let possession = (hashed * self.0).into_affine();
        Ok(BlsRegistration { key, key2: public.g2(), possession: G1::new(&possession) })
    }

    pub(crate) fn sign(&self, digest: B256) -> Result<G1, HashToCurveError> {
        Ok(G1::new(&(hash_certificate(digest)? * self.0).into_affine()))
    }
}

impl Drop for BlsSecretKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for BlsSecretKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("BlsSecretKey(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{account, bls_key, context};

    #[test]
    fn keys_round_trip_and_are_never_printed() {
        let key = bls_key(3);
        let bytes = key.to_bytes();
        let again = BlsSecretKey::from_bytes(&bytes).expect("a key");
        assert_eq!(again.public_key(), key.public_key());
        assert_eq!(format!("{key:?}"), "BlsSecretKey(redacted)");
        assert_eq!(BlsSecretKey::from_bytes(&[0; 32]).unwrap_err(), KeyError::OutOfRange);
        assert_eq!(BlsSecretKey::from_bytes(&[0xff; 32]).unwrap_err(), KeyError::OutOfRange);
        let order: [u8; 32] = Fr::MODULUS.to_bytes_be().try_into().expect("32 bytes");
        assert_eq!(BlsSecretKey::from_bytes(&order).unwrap_err(), KeyError::OutOfRange);
    }

    #[test]
    fn possession_is_for_one_key_account_and_committee() {
        let (key, context) = (bls_key(1), context());
        let registration = key.register(&context, account(1)).expect("a proof");
        assert_eq!(registration.check(&context, account(1)), Ok(key.public_key()));
        let elsewhere = [
            (context, account(2)),
            (CommitteeContext { l1_chain_id: 1, ..context }, account(1)),
            (CommitteeContext { committee: account(9), ..context }, account(1)),
        ];
        for (context, account) in elsewhere {
            assert!(matches!(registration.check(&context, account), Err(PossessionError::NotShown { .. })));
        }
        let other = bls_key(2).register(&context, account(1)).expect("a proof");
        let mixed = [
            BlsRegistration { key2: other.key2, ..registration },
            BlsRegistration { key: other.key, ..registration },
            BlsRegistration { possession: other.possession, ..registration },
            BlsRegistration { possession: G1::INFINITY, ..registration },
            BlsRegistration { key2: G2::INFINITY, ..registration },
            BlsRegistration { key2: G2::INFINITY, possession: G1::INFINITY, ..registration },
        ];
        for registration in mixed {
            assert!(matches!(registration.check(&context, account(1)), Err(PossessionError::NotShown { .. })));
        }
        let infinity = BlsRegistration { key: G1::INFINITY, key2: G2::INFINITY, possession: G1::INFINITY };
        assert_eq!(infinity.check(&context, account(1)), Err(PossessionError::KeyAtInfinity));
    }

    #[test]
    fn a_key_on_record_is_one_key_in_both_groups() {
        let (key, other) = (bls_key(1).public_key(), bls_key(2).public_key());
        assert_eq!(BlsPublicKey::on_record(&key.g1(), &key.g2()), Ok(key));
        assert_eq!(BlsPublicKey::on_record(&key.g1(), &other.g2()), Err(RecordedKeyError::TwoKeys));
        assert_eq!(BlsPublicKey::on_record(&other.g1(), &key.g2()), Err(RecordedKeyError::TwoKeys));
        assert_eq!(BlsPublicKey::on_record(&key.g1(), &G2::INFINITY), Err(RecordedKeyError::TwoKeys));
        assert_eq!(BlsPublicKey::on_record(&G1::INFINITY, &G2::INFINITY), Err(RecordedKeyError::KeyAtInfinity));
        assert_eq!(BlsPublicKey::on_record(&G1::INFINITY, &key.g2()), Err(RecordedKeyError::KeyAtInfinity));
        let off = G1 { x: key.g1().y, y: key.g1().x };
        assert!(matches!(BlsPublicKey::on_record(&off, &key.g2()), Err(RecordedKeyError::NoPoint { .. })));
    }

    #[test]
    fn a_certificate_signature_is_no_proof_of_possession() {
        let (key, context) = (bls_key(1), context());
        let mut registration = key.register(&context, account(1)).expect("a proof");
        let digest = possession_digest(&context, account(1), &registration.key);
        registration.possession = key.sign(digest).expect("signs");
        assert!(registration.check(&context, account(1)).is_err());
    }
}
