//! The program hash P, and what a verifier must know of a program.
//!
//! A shape's preprocessed commitment covers the image (instructions, initial memory, entry point) and every other fixed column. P hashes the
//! commitments of all shapes, so that one P stands for a program whatever shape a run is proven in:
//!
//! `P = sponge(TAG, number of shapes, sponge(cap of shape 0), sponge(cap of shape 1), …)`
//!
//! with the padding-free Poseidon2 sponge of width 12. All lengths are fixed or named in the input, so nothing is ambiguous.

use p3_field::{PrimeCharacteristicRing, PrimeField64};
use p3_goldilocks::default_goldilocks_poseidon2_12;
use p3_symmetric::{CryptographicHasher, MerkleCap};

use joule_machine::Image;
use joule_protocol::Digest;

use crate::{
    Felt,
    config::{DIGEST, LeafHash},
    prove::{Setup, SetupError},
    shape::Shape,
    verify::VerifyingKey,
};

/// `"JouleP"` in ASCII, big-endian: no other hash of ours begins with it.
pub const TAG: u64 = 0x4a6f_756c_6550;

/// A preprocessed commitment: the cap of a Merkle tree.
pub type Cap = MerkleCap<Felt, [Felt; DIGEST]>;

/// A program as its verifiers know it: one verifying key per shape, and their hash.
#[derive(Clone, Debug)]
pub struct Program {
    keys: Vec<VerifyingKey>,
    hash: Digest,
}

impl Program {
    /// The program with these keys, one per shape.
    #[must_use]
    pub fn new(keys: Vec<VerifyingKey>) -> Self {
        let sponge = LeafHash::new(default_goldilocks_poseidon2_12());
        let digests = keys.iter().flat_map(|key| sponge.hash_iter(key.cap().roots().iter().flatten().copied()));
        let head = [Felt::from_u64(TAG), Felt::from_usize(keys.len())];
        let hash: [Felt; DIGEST] = sponge.hash_iter(head.into_iter().chain(digests));
        let hash = Digest::new(hash.map(|element| element.as_canonical_u64())).expect("canonical words make a digest");
        Self { keys, hash }
    }

    /// Sets an image up in the given shapes ([`Shape::ALL`], in a deployment). Keeps none of what only a prover needs.
    ///
    /// # Errors
    ///
    /// [`SetupError`], if the image does not fit a shape.
    pub fn of_image(image: &Image, shapes: &[Shape]) -> Result<Self, SetupError> {
        let keys = shapes.iter().map(|&shape| Ok(Setup::new(shape, image)?.verifying_key()));
        Ok(Self::new(keys.collect::<Result<_, SetupError>>()?))
    }

    /// P.
    #[must_use]
    pub const fn hash(&self) -> Digest {
        self.hash
    }

    /// The verifying keys, in the order in which P hashes them.
    #[must_use]
    pub fn keys(&self) -> &[VerifyingKey] {
        &self.keys
    }
}
