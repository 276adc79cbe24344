//! The pass with which an offer's bytes are sent.
//!
//! An offer has up to 16 MiB, and its own signature is inside of them: a member that read them to see whose they are would give its room to whoever asks for it. So
//! the sender shows who it is before the bytes, with a signature over this member, over a nonce of the member's that is good for one offer, and over the hash of the
//! bytes that follow. Offers and their signatures are public as soon as one member serves the batch; a pass is worth nothing at another member, or a second time, or
//! in front of other bytes.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, U256, hex, keccak256};
use joule_committee::{CompactSignature, Reader, SignatureError, WireError};
use thiserror::Error;

use crate::{
    offer::SignedOffer,
    publish::{Cause, OfferSigner},
};

const VERSION: u8 = 1;

/// What a pass says: whoever signs this is about to send the bytes with this hash to the member `account`, which has drawn the nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadClaim {
    /// Chain id of the L1 that the rollup is on.
    pub l1_chain_id: u64,
    /// The rollup.
    pub rollup: Address,
    /// The member's L1 account.
    pub account: Address,
    /// What the member drew.
    pub nonce: B256,
    /// keccak256 of the offer's encoding.
    pub body: B256,
}

impl UploadClaim {
    /// What is signed. No offer and no statement about a batch has this digest: its first word is another.
    pub fn digest(&self) -> B256 {
        let words = [
            keccak256("Joule offer upload v1"),
            B256::from(U256::from(self.l1_chain_id)),
            self.rollup.into_word(),
            self.account.into_word(),
            self.nonce,
            self.body,
        ];
        keccak256(words.map(|word| word.0).as_flattened())
    }
}

/// Why a header is no pass. Whoever sent it is to blame.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UploadPassError {
    /// Another length than that of a pass.
    #[error("{got} characters, where a pass has {expected}")]
    WrongLength {
        /// Of a pass.
        expected: usize,
        /// The header's.
        got: usize,
    },
    /// Not hexadecimal.
    #[error("not hexadecimal: {0}")]
    Hex(#[from] hex::FromHexError),
    /// Not the encoding.
    #[error(transparent)]
    Wire(#[from] WireError),
}

/// A signed [`UploadClaim`], of which both sides know the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadPass {
    /// The member's nonce.
    pub nonce: B256,
    /// keccak256 of the offer's encoding.
    pub body: B256,
    /// Over [`UploadClaim::digest`].
    pub signature: CompactSignature,
}

impl UploadPass {
    /// Bytes of the encoding.
    pub const BYTES: usize = 1 + 32 + 32 + 64;

    /// Who signed it, for the member `account` of this rollup.
    ///
    /// # Errors
    /// Nobody did.
    pub fn signer(&self, l1_chain_id: u64, rollup: Address, account: Address) -> Result<Address, SignatureError> {
        let Self { nonce, body, signature } = *self;
        signature.recover(UploadClaim { l1_chain_id, rollup, account, nonce, body }.digest())
    }

    /// As the header's value: version ‖ nonce ‖ hash of the body ‖ signature (r ‖ vs), in hexadecimal without a prefix.
    pub fn to_header(&self) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(self.nonce.as_slice());
        bytes.extend_from_slice(self.body.as_slice());
        self.signature.write(&mut bytes);
        hex::encode(bytes)
    }

    /// The inverse of [`UploadPass::to_header`].
    ///
    /// # Errors
    /// Text that is no pass.
    pub fn from_header(text: &[u8]) -> Result<Self, UploadPassError> {
        let mut bytes = [0; Self::BYTES];
        if text.len() != 2 * Self::BYTES {
            return Err(UploadPassError::WrongLength { expected: 2 * Self::BYTES, got: text.len() });
        }
        hex::decode_to_slice(text, &mut bytes)?;
        let mut reader = Reader::new(&bytes);
        reader.version(VERSION)?;
        let (nonce, body) = (reader.b256()?, reader.b256()?);
        let signature = CompactSignature::read(&mut reader)?;
        reader.end()?;
        Ok(Self { nonce, body, signature })
    }
}

/// An offer on its way to any member, with the key that opens doors to it.
#[derive(Clone)]
pub(crate) struct Upload {
    pub(crate) bytes: Bytes,
    hash: B256,
    l1_chain_id: u64,
    rollup: Address,
    signer: Arc<dyn OfferSigner>,
}

impl Upload {
    pub(crate) fn new(offer: &SignedOffer, signer: Arc<dyn OfferSigner>) -> Self {
        let (statement, bytes) = (offer.offer().statement(), Bytes::from(offer.encode()));
        let (l1_chain_id, rollup) = (statement.l1_chain_id, statement.rollup);
        Self { hash: keccak256(&bytes), bytes, l1_chain_id, rollup, signer }
    }

    pub(crate) fn pass(&self, account: Address, nonce: B256) -> Result<UploadPass, Cause> {
        let Self { l1_chain_id, rollup, hash: body, .. } = *self;
        let signature = self.signer.sign(UploadClaim { l1_chain_id, rollup, account, nonce, body }.digest())?;
        Ok(UploadPass { nonce, body, signature })
    }
}

#[cfg(test)]
mod tests {
    use joule_committee::{EcdsaSecretKey, IdentityClaim};
    use proptest::prelude::*;

    use super::*;

    fn pass() -> UploadPass {
        let signature = CompactSignature { r: B256::repeat_byte(3), vs: B256::repeat_byte(4) };
        UploadPass { nonce: B256::repeat_byte(1), body: B256::repeat_byte(2), signature }
    }

    #[test]
    fn a_pass_reads_back_and_nothing_else_reads() {
        let text = pass().to_header();
        assert_eq!(UploadPass::from_header(text.as_bytes()), Ok(pass()));
        for length in 0..text.len() {
            assert!(UploadPass::from_header(&text.as_bytes()[..length]).is_err(), "cut to {length}");
        }
        for malformed in [format!("{text}0"), format!("0x{text}"), text.replace('1', "g"), text.replacen('1', "2", 1)] {
            assert!(UploadPass::from_header(malformed.as_bytes()).is_err(), "{malformed}");
        }
        // A prefix is not taken for digits that are missing.
        assert!(matches!(
            UploadPass::from_header(format!("0x{}", &text[2..]).as_bytes()),
            Err(UploadPassError::Hex(_) | UploadPassError::Wire(_))
        ));
    }

    proptest! {
        #[test]
        fn random_headers_do_not_panic(text in prop::collection::vec(any::<u8>(), 0..600)) {
            prop_assert!(UploadPass::from_header(&text).is_err());
        }

        #[test]
        fn random_digits_read_back(bytes in prop::collection::vec(any::<u8>(), UploadPass::BYTES - 1)) {
            let text = format!("01{}", hex::encode(bytes));
            prop_assert_eq!(UploadPass::from_header(text.as_bytes()).expect("a pass").to_header(), text);
        }
    }

    #[test]
    fn a_claim_is_for_one_rollup_member_nonce_and_body() {
        let claim = UploadClaim {
            l1_chain_id: 31_337,
            rollup: Address::repeat_byte(1),
            account: Address::repeat_byte(2),
            nonce: B256::repeat_byte(3),
            body: B256::repeat_byte(4),
        };
        let others = [
            UploadClaim { l1_chain_id: 1, ..claim },
            UploadClaim { rollup: Address::repeat_byte(9), ..claim },
            UploadClaim { account: Address::repeat_byte(9), ..claim },
            UploadClaim { nonce: B256::repeat_byte(9), ..claim },
            UploadClaim { body: B256::repeat_byte(9), ..claim },
        ];
        for other in others {
            assert_ne!(other.digest(), claim.digest(), "{other:?}");
        }
        // What the same words mean elsewhere is another digest, and a signature of it nobody's pass.
        let key = EcdsaSecretKey::from_bytes(&[1; 32]).expect("a key");
        let UploadClaim { l1_chain_id, rollup, account, nonce, body } = claim;
        let elsewhere = IdentityClaim { l1_chain_id, rollup, account, peer: body.as_slice(), nonce };
        let pass = UploadPass { nonce, body, signature: elsewhere.sign(&key).expect("signs") };
        assert_ne!(pass.signer(l1_chain_id, rollup, account), Ok(key.address()));
    }
}
