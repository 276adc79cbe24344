//! The public values of a proof, laid out here and nowhere else.

use crate::{Digest, Hash};

/// *Program P on chain C leads from the checkpoint with hash hX to the one with hash hY.*
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicValues {
    /// Program hash P.
    pub program: Digest,
    /// Chain id C, below 2^53.
    pub chain_id: u64,
    /// Hash of the checkpoint it starts from, hX.
    pub from: Hash,
    /// Hash of the checkpoint it reaches, hY.
    pub to: Hash,
}

impl PublicValues {
    /// Field elements of the statement.
    pub const ELEMENTS: usize = 21;

    /// P (4) · C (1) · hX as words (8) · hY as words (8), each below the Goldilocks prime.
    pub fn elements(&self) -> [u64; Self::ELEMENTS] {
        let mut elements = [0; Self::ELEMENTS];
        elements[..4].copy_from_slice(&self.program.elements());
        elements[4] = self.chain_id;
        for (element, word) in elements[5..].iter_mut().zip(self.from.to_words().into_iter().chain(self.to.to_words()))
        {
            *element = word.into();
        }
        elements
    }

    /// P ‖ C ‖ hX ‖ hY, the 104 bytes that the wrap hashes.
    pub fn encode(&self) -> [u8; 104] {
        let mut bytes = [0; 104];
        bytes[..32].copy_from_slice(&self.program.to_hash().0);
        bytes[32..40].copy_from_slice(&self.chain_id.to_be_bytes());
        bytes[40..72].copy_from_slice(&self.from.0);
        bytes[72..].copy_from_slice(&self.to.0);
        bytes
    }

    /// The wrap's one public input: SHA-256 of the encoding with its three most significant bits cleared, big-endian.
    #[cfg(feature = "native")]
    pub fn public_input(&self) -> Hash {
        use sha2::Digest as _;
        let mut bytes: [u8; 32] = sha2::Sha256::digest(self.encode()).into();
        bytes[0] &= 0x1f;
        Hash(bytes)
    }
}
