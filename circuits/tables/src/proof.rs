//! Proofs as bytes.

use p3_batch_stark::BatchProof;
use thiserror::Error;

use crate::{
    config::{Config, Profile},
    shape::Shape,
};

/// The first bytes of every table proof.
const MAGIC: [u8; 8] = *b"JOULETP1";
/// The length of the header: magic, shape, profile.
const HEADER_BYTES: usize = MAGIC.len() + 2;

/// The most bytes a proof may have: about twice what the largest shape needs with the most queries. A larger one is refused unread.
pub const PROOF_BYTES_MAX: usize = 8 << 20;

/// A proof that some run of a program made some public values.
pub struct Proof {
    /// The shape it was made in.
    pub shape: Shape,
    /// The profile it was made with.
    pub profile: Profile,
    /// The batch proof.
    pub batch: BatchProof<Config>,
}

impl core::fmt::Debug for Proof {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter
            .debug_struct("Proof")
            .field("shape", &self.shape)
            .field("profile", &self.profile)
            .finish_non_exhaustive()
    }
}

/// Why bytes are no proof.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// Too many bytes.
    #[error("a proof of {got} bytes, limit {limit}")]
    TooLong {
        /// Their number.
        got: usize,
        /// The limit.
        limit: usize,
    },
    /// The header is cut off, or not that of a table proof.
    #[error("this is no table proof")]
    NoProof,
    /// The header names a shape or a profile that there is not.
    #[error("no {what} has number {got}")]
    Unknown {
        /// Shape or profile.
        what: &'static str,
        /// Its number.
        got: u8,
    },
    /// The body is malformed.
    #[error("malformed proof: {0}")]
    Malformed(String),
    /// The body is well-formed, but there are bytes after it or it is not the one encoding of its content.
    #[error("the proof is not encoded canonically")]
    NotCanonical,
}

impl Proof {
    /// The proof as bytes.
    ///
    /// # Panics
    ///
    /// Never: every value that a proof holds has an encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.push(self.shape as u8);
        bytes.push(self.profile as u8);
        postcard::to_extend(&self.batch, bytes).expect("a proof has an encoding")
    }

    /// Reads a proof. Every element of every list takes at least one byte, and no element takes more than 64 bytes of memory, so memory
    /// is bounded by the bytes read.
    ///
    /// # Errors
    ///
    /// [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > PROOF_BYTES_MAX {
            return Err(DecodeError::TooLong { got: bytes.len(), limit: PROOF_BYTES_MAX });
        }
        let Some((header, body)) = bytes.split_at_checked(HEADER_BYTES) else { return Err(DecodeError::NoProof) };
        let (magic, numbers) = header.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(DecodeError::NoProof);
        }
        let shape = Shape::KNOWN
            .into_iter()
            .find(|&shape| shape as u8 == numbers[0])
            .ok_or(DecodeError::Unknown { what: "shape", got: numbers[0] })?;
        let profile = Profile::ALL
            .into_iter()
            .find(|&profile| profile as u8 == numbers[1])
            .ok_or(DecodeError::Unknown { what: "profile", got: numbers[1] })?;
        let batch = postcard::from_bytes(body).map_err(|error| DecodeError::Malformed(error.to_string()))?;
        let proof = Self { shape, profile, batch };
        // Some numbers have several encodings; a proof must have one only, or its hash would not name it.
        if proof.encode() != bytes {
            return Err(DecodeError::NotCanonical);
        }
        Ok(proof)
    }
}
