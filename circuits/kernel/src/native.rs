//! Signatures and tree updates on this machine.

use joule_protocol::{Address, Digest, Hash, Native, Signature, compress, limits::TREE_DEPTH};
use secp256k1::{
    Message, SecretKey,
    ecdsa::{RecoverableSignature, RecoveryId},
};

use crate::{Crypto, TreeUpdates, address_of};

impl Crypto for Native {
    fn recover(digest: &Hash, signature: &Signature) -> Option<Address> {
        let compact: [u8; 64] = signature.to_bytes()[..64].try_into().expect("r and s");
        let parity = if signature.is_odd() { RecoveryId::One } else { RecoveryId::Zero };
        let signature = RecoverableSignature::from_compact(&compact, parity).ok()?;
        let key = signature.recover_ecdsa(Message::from_digest(digest.0)).ok()?;
        Some(address_of::<Self>(key.serialize_uncompressed()[1..].try_into().expect("x and y")))
    }
}

/// Signs a digest, for wallets, devices and tests.
///
/// # Panics
/// If the library returns a signature outside the ranges it promises (low s, no overflowing r).
pub fn sign(digest: &Hash, key: &SecretKey) -> Signature {
    let (parity, compact) =
        RecoverableSignature::sign_ecdsa_recoverable(Message::from_digest(digest.0), key).serialize_compact();
    let half = |from: usize| Hash(compact[from..from + 32].try_into().expect("32 bytes"));
    Signature::new(half(0), half(32), parity == RecoveryId::One).expect("libsecp256k1 signs with low s")
}

/// [`TreeUpdates`] from sibling paths in the order of the updates: what the machine's precompile does.
#[derive(Debug)]
pub struct SiblingPaths<'a>(pub core::slice::Iter<'a, [Digest; TREE_DEPTH]>);

impl TreeUpdates for SiblingPaths<'_> {
    fn update(&mut self, root: Digest, position: u32, old: Digest, new: Digest) -> Option<Digest> {
        let siblings = self.0.next()?;
        let climb = |leaf| {
            siblings.iter().enumerate().fold(leaf, |node, (height, &sibling)| match position >> height & 1 {
                0 => compress(node, sibling),
                _ => compress(sibling, node),
            })
        };
        (climb(old) == root).then(|| climb(new))
    }
}
