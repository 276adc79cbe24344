//! ECDSA over secp256k1, signatures in the compact form of EIP-2098.

use std::fmt;

use alloy_primitives::{Address, B256, U256, keccak256, uint};
use k256::ecdsa::{RecoveryId, Signature, SigningKey, VerifyingKey};
use thiserror::Error;

use crate::{
    bls::KeyError,
    statement::{CommitteeContext, hash_words, word},
    wire::{Reader, WireError},
};

/// An ECDSA signature as EIP-2098 has it: r, and s with the parity of R.y in its top bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CompactSignature {
    /// r, the x coordinate of R.
    pub r: B256,
    /// s, and in its top bit whether R.y is odd.
    pub vs: B256,
}

/// Why a signature is none. The contract refuses the same ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// s above half the order: each signature would have a twin.
    #[error("s is {s}, above half of the curve's order")]
    HighS {
        /// s.
        s: B256,
    },
    /// r or s out of range, or r no point's x coordinate.
    #[error("no key has signed this")]
    Unrecoverable,
}

const PARITY: U256 = uint!(0x8000000000000000000000000000000000000000000000000000000000000000_U256);
/// Half the order of secp256k1, rounded down.
const HALF_ORDER: U256 = uint!(0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0_U256);

impl CompactSignature {
    /// The address whose key signed `digest`; some address for almost every signature, so that the caller compares.
    ///
    /// # Errors
    /// The signature is no key's.
    pub fn recover(&self, digest: B256) -> Result<Address, SignatureError> {
        let vs = U256::from_be_bytes(self.vs.0);
        let s = vs & !PARITY;
        if s > HALF_ORDER {
            return Err(SignatureError::HighS { s: B256::from(s) });
        }
        let signature =
            Signature::from_scalars(self.r.0, s.to_be_bytes::<32>()).map_err(|_| SignatureError::Unrecoverable)?;
        let recovery = RecoveryId::new(vs & PARITY != U256::ZERO, false);
        let key = VerifyingKey::recover_from_prehash(digest.as_slice(), &signature, recovery)
            .map_err(|_| SignatureError::Unrecoverable)?;
        Ok(address(&key))
    }

    /// Appends r and vs.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.r.as_slice());
        out.extend_from_slice(self.vs.as_slice());
    }

    /// The inverse of [`CompactSignature::write`].
    ///
    /// # Errors
    /// The bytes end too early.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self { r: reader.b256()?, vs: reader.b256()? })
    }
}

fn address(key: &VerifyingKey) -> Address {
    // An uncompressed SEC1 point: 0x04 ‖ x ‖ y.
    let point = key.to_encoded_point(false);
    Address::from_slice(&keccak256(&point.as_bytes()[1..])[12..])
}

/// A member's ECDSA key. Never printed; erased when dropped.
#[derive(Clone)]
pub struct EcdsaSecretKey(SigningKey);

impl EcdsaSecretKey {
    /// The key of a big-endian scalar.
    ///
    /// # Errors
    /// The scalar is zero, or not below the curve's order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        SigningKey::from_bytes(bytes.into()).map(Self).map_err(|_| KeyError::OutOfRange)
    }

    /// The key's Ethereum address, by which ECDSA keysets name it.
    pub fn address(&self) -> Address {
        address(self.0.verifying_key())
    }

    /// What [`CommitteeContext`]'s contract asks of whoever registers this key for the account `account`: r ‖ s ‖ v.
    pub fn prove_possession(&self, context: &CommitteeContext, account: Address) -> Result<[u8; 65], crate::SignError> {
        let digest = hash_words([
            keccak256("Joule ECDSA possession v1"),
            word(context.l1_chain_id),
            context.committee.into_word(),
            account.into_word(),
        ]);
        let (signature, recovery) = self.sign_recoverable(digest)?;
        let mut bytes = [0; 65];
        bytes[..64].copy_from_slice(&signature.to_bytes());
        bytes[64] = 27 + u8::from(recovery.is_y_odd());
        Ok(bytes)
    }

    /// The nonce follows from key and digest (RFC 6979): the same digest gives the same signature.
    pub(crate) fn sign(&self, digest: B256) -> Result<CompactSignature, crate::SignError> {
        let (signature, recovery) = self.sign_recoverable(digest)?;
        let (r, s) = signature.split_bytes();
        let parity = if recovery.is_y_odd() { PARITY } else { U256::ZERO };
        let vs = U256::from_be_bytes::<32>(s.into()) | parity;
        Ok(CompactSignature { r: B256::new(r.into()), vs: B256::from(vs) })
    }

    fn sign_recoverable(&self, digest: B256) -> Result<(Signature, RecoveryId), crate::SignError> {
        // r beyond the order needs a point that nobody knows; EIP-2098 could not carry it.
        match self.0.sign_prehash_recoverable(digest.as_slice()) {
            Ok((signature, recovery)) if !recovery.is_x_reduced() => Ok((signature, recovery)),
            _ => Err(crate::SignError::NoSignature { digest }),
        }
    }
}

impl fmt::Debug for EcdsaSecretKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "EcdsaSecretKey(of {})", self.address())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::address;
    use proptest::prelude::*;

    const ORDER: U256 = uint!(0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141_U256);

    #[test]
    fn a_known_key_has_its_known_address() {
        // Scalar 1: the generator's address.
        let mut one = [0; 32];
        one[31] = 1;
        let key = EcdsaSecretKey::from_bytes(&one).expect("a key");
        assert_eq!(key.address(), address!("7e5f4552091a69125d5dfcb7b8c2659029395bdf"));
    }

    #[test]
    fn keys_out_of_range_are_refused_and_never_printed() {
        assert!(EcdsaSecretKey::from_bytes(&[0; 32]).is_err());
        assert!(EcdsaSecretKey::from_bytes(&ORDER.to_be_bytes()).is_err());
        let secret = [0xab; 32];
        let printed = format!("{:?}", EcdsaSecretKey::from_bytes(&secret).expect("a key"));
        assert!(!printed.contains("abab") && !printed.contains("171"), "{printed}");
    }

    #[test]
    fn half_order_is_half_the_order() {
        assert_eq!(HALF_ORDER, ORDER >> 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn signatures_recover_and_have_no_twin(secret in 1u64.., digest: [u8; 32]) {
            let digest = B256::new(digest);
            let key = EcdsaSecretKey::from_bytes(&B256::from(U256::from(secret)).0).expect("a key");
            let signature = key.sign(digest).expect("signs");
            prop_assert_eq!(signature, key.sign(digest).expect("signs"));
            prop_assert_eq!(signature.recover(digest), Ok(key.address()));
            // The twin, s → n − s under the other parity, would recover the same address; but nearly every such s has its top
            // bit set, where the parity is, and the others are refused as high.
            let vs = U256::from_be_bytes(signature.vs.0);
            let s = ORDER - (vs & !PARITY);
            let twin = CompactSignature { vs: B256::from(s | (!vs & PARITY)), ..signature };
            prop_assert_ne!(twin.recover(digest), Ok(key.address()));
        }

        #[test]
        fn random_signatures_never_panic(r: [u8; 32], vs: [u8; 32], digest: [u8; 32]) {
            let _ = CompactSignature { r: r.into(), vs: vs.into() }.recover(digest.into());
        }
    }
}
