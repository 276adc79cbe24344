//! What carries from one piece of execution to the next.

use crate::{Digest, Hash, Hashing, NonCanonical};

/// A rolling keccak accumulator: `acc' = keccak256(acc ‖ item)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accumulator(pub Hash);

impl Accumulator {
    /// Takes one more item in. `buffer` begins with 32 bytes of room for the accumulator, so that a long item is not copied.
    pub fn absorb_in_place<H: Hashing>(&mut self, buffer: &mut [u8]) {
        buffer[..32].copy_from_slice(&self.0.0);
        self.0 = H::keccak256(buffer);
    }

    /// Takes one more item in.
    pub fn absorb<H: Hashing>(&mut self, item: &[u8]) {
        let mut buffer = alloc::vec::Vec::with_capacity(32 + item.len());
        buffer.extend_from_slice(&[0; 32]);
        buffer.extend_from_slice(item);
        self.absorb_in_place::<H>(&mut buffer);
    }
}

/// A point of the chain's history. Proofs lead from one to another; L1 stores the hash of the last executed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Version of the rules that led here.
    pub protocol_version: u32,
    /// Root of the state tree.
    pub state_root: Digest,
    /// Number of the last block.
    pub block_number: u64,
    /// Hash of the last block.
    pub block_hash: Hash,
    /// Time of the last block, unix seconds.
    pub timestamp: u64,
    /// Priority requests consumed.
    pub priority_count: u64,
    /// Accumulator over them.
    pub priority_acc: Accumulator,
    /// Accumulator over withdrawals.
    pub message_acc: Accumulator,
    /// Accumulator over batch data.
    pub data_acc: Accumulator,
}

impl Checkpoint {
    /// Bytes of the encoding: nine 32-byte words, as Solidity's `abi.encode` of the struct.
    pub const BYTES: usize = 9 * 32;

    /// The encoding.
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let mut put =
            |word: usize, value: &[u8]| bytes[32 * (word + 1) - value.len()..32 * (word + 1)].copy_from_slice(value);
        put(0, &self.protocol_version.to_be_bytes());
        put(1, &self.state_root.to_hash().0);
        put(2, &self.block_number.to_be_bytes());
        put(3, &self.block_hash.0);
        put(4, &self.timestamp.to_be_bytes());
        put(5, &self.priority_count.to_be_bytes());
        put(6, &self.priority_acc.0.0);
        put(7, &self.message_acc.0.0);
        put(8, &self.data_acc.0.0);
        bytes
    }

    /// The inverse of [`Checkpoint::encode`]; `None` if a number's padding is not zero.
    pub fn decode(bytes: &[u8; Self::BYTES]) -> Option<Result<Self, NonCanonical>> {
        let word = |i: usize| Hash(bytes[32 * i..32 * (i + 1)].try_into().expect("a word is 32 bytes"));
        let number = |i: usize| {
            let word = word(i).0;
            word[..24]
                .iter()
                .all(|&byte| byte == 0)
                .then(|| u64::from_be_bytes(word[24..].try_into().expect("eight bytes")))
        };
        let protocol_version = u32::try_from(number(0)?).ok()?;
        let (block_number, timestamp, priority_count) = (number(2)?, number(4)?, number(5)?);
        Some(Digest::from_hash(word(1)).map(|state_root| Self {
            protocol_version,
            state_root,
            block_number,
            block_hash: word(3),
            timestamp,
            priority_count,
            priority_acc: Accumulator(word(6)),
            message_acc: Accumulator(word(7)),
            data_acc: Accumulator(word(8)),
        }))
    }

    /// keccak-256 of the encoding: what L1 stores and proofs expose.
    pub fn hash<H: Hashing>(&self) -> Hash {
        H::keccak256(&self.encode())
    }
}
