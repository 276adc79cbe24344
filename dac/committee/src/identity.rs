//! A member's word that an identity on a peer-to-peer network is its own.

use alloy_primitives::{Address, B256, keccak256};

use crate::{
    ecdsa::{CompactSignature, EcdsaSecretKey},
    share::SignError,
    statement::{hash_words, word},
};

/// What a member says when it is asked who it is: this connection, on which you asked with this nonce, ends at the member `account` of this rollup.
///
/// The identity is the one that the connection itself has proven. With it in the statement, whoever passes the question on to the true member gets a signature
/// for the true member's identity and not for its own; with the nonce in it, a signature of yesterday is worth nothing, so that a stolen identity is of no use
/// once the member has another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdentityClaim<'a> {
    /// Chain id of the L1 that the rollup is on.
    pub l1_chain_id: u64,
    /// The rollup.
    pub rollup: Address,
    /// The member's L1 account.
    pub account: Address,
    /// The network's name for the identity, as bytes.
    pub peer: &'a [u8],
    /// What the asking side drew.
    pub nonce: B256,
}

impl IdentityClaim<'_> {
    /// What is signed. No statement about a batch has this digest: its first word is another.
    pub fn digest(&self) -> B256 {
        hash_words([
            keccak256("Joule member identity v1"),
            word(self.l1_chain_id),
            self.rollup.into_word(),
            self.account.into_word(),
            keccak256(self.peer),
            self.nonce,
        ])
    }

    /// Signs with the key that L1 has on record as the member's.
    ///
    /// # Errors
    /// The digest has no signature, which nobody will meet.
    pub fn sign(&self, key: &EcdsaSecretKey) -> Result<CompactSignature, SignError> {
        key.sign(self.digest())
    }

    /// Whether the key with the address `signer` has signed this.
    pub fn is_signed_by(&self, signature: &CompactSignature, signer: Address) -> bool {
        signature.recover(self.digest()) == Ok(signer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{account, ecdsa_key};

    #[test]
    fn a_claim_is_for_one_rollup_account_identity_and_nonce() {
        let claim = IdentityClaim {
            l1_chain_id: 31_337,
            rollup: Address::repeat_byte(1),
            account: account(1),
            peer: b"a peer",
            nonce: B256::repeat_byte(7),
        };
        let key = ecdsa_key(1);
        let signature = claim.sign(&key).expect("signs");
        assert!(claim.is_signed_by(&signature, key.address()));
        assert!(!claim.is_signed_by(&signature, ecdsa_key(2).address()));
        let others = [
            IdentityClaim { l1_chain_id: 1, ..claim },
            IdentityClaim { rollup: Address::repeat_byte(2), ..claim },
            IdentityClaim { account: account(2), ..claim },
            IdentityClaim { peer: b"another", ..claim },
            IdentityClaim { nonce: B256::repeat_byte(8), ..claim },
        ];
        for other in others {
            assert!(!other.is_signed_by(&signature, key.address()), "{other:?}");
        }
    }
}
