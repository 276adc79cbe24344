//! Batch data on L1: cut into transactions that the network relays, and read back.
//!
//! L1 takes a transaction of at most 128 KiB and 2^24 gas (EIP-7825), and charges calldata at least 40 gas for a byte that is not zero
//! (EIP-7623): a full part costs at most 5.3 million gas, so its size is what binds. The limits are the protocol's, under which every block's
//! chunk fits one transaction.

use std::ops::Range;

use alloy::{
    primitives::{B256, Bytes, keccak256},
    sol_types::SolCall,
};
use joule_contracts::Rollup;
use joule_protocol::limits::POST_DATA_BYTES_MAX;
use thiserror::Error;

/// Bytes of the length before each chunk.
const LENGTH_BYTES: usize = 4;

/// Why chunks cannot be posted, or posted bytes are no chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PostingError {
    /// A chunk that no transaction carries.
    #[error("chunk {index} has {got} bytes; a transaction carries {most}")]
    ChunkTooLong {
        /// Its index.
        index: usize,
        /// What a transaction carries.
        most: usize,
        /// Its length.
        got: usize,
    },
    /// A chunk without bytes, which the contract refuses.
    #[error("chunk {index} is empty")]
    EmptyChunk {
        /// Its index.
        index: usize,
    },
    /// Input that is no call of `postData`.
    #[error("the transaction's input is no call of postData")]
    NotAPost,
    /// Chunks that end early.
    #[error("posted data ends early: {needed} bytes needed and {left} left")]
    Truncated {
        /// Bytes named.
        needed: usize,
        /// Bytes there are.
        left: usize,
    },
}

/// Cuts chunks into parts, each the chunks of one transaction. No chunks give no parts.
///
/// # Errors
/// A chunk that fits no transaction, or an empty one.
pub fn parts(lengths: impl IntoIterator<Item = usize>) -> Result<Vec<Range<usize>>, PostingError> {
    let mut parts: Vec<Range<usize>> = Vec::new();
    let mut bytes = 0;
    for (index, got) in lengths.into_iter().enumerate() {
        let most = POST_DATA_BYTES_MAX - LENGTH_BYTES;
        if got == 0 {
            return Err(PostingError::EmptyChunk { index });
        }
        if got > most {
            return Err(PostingError::ChunkTooLong { index, most, got });
        }
        let framed = LENGTH_BYTES + got;
        match parts.last_mut().filter(|_| bytes + framed <= POST_DATA_BYTES_MAX) {
            Some(part) => {
                part.end = index + 1;
                bytes += framed;
            }
            None => {
                parts.push(index..index + 1);
                bytes = framed;
            }
        }
    }
    Ok(parts)
}

/// The accumulator after more chunks.
pub fn accumulate<'a>(acc: B256, chunks: impl IntoIterator<Item = &'a [u8]>) -> B256 {
    chunks.into_iter().fold(acc, |acc, chunk| keccak256([acc.as_slice(), chunk].concat()))
}

/// The input of a transaction that posts chunks, after `from`, of the batch that begins at `start`.
pub fn input<'a>(start: B256, from: B256, chunks: impl IntoIterator<Item = &'a [u8]>) -> Bytes {
    let mut framed = Vec::new();
    for chunk in chunks {
        framed.extend_from_slice(&(chunk.len() as u32).to_be_bytes());
        framed.extend_from_slice(chunk);
    }
    Rollup::postDataCall { start, from, chunks: framed.into() }.abi_encode().into()
}

/// Gas that is enough to post `input`: the floor price of its calldata, which is above what the contract's work costs for blocks of real
/// size, and a margin. It can be known without asking a node, so parts need not wait for each other.
pub fn gas(input: &[u8]) -> u64 {
    let tokens: u64 = input.iter().map(|&byte| if byte == 0 { 1 } else { 4 }).sum();
    // Intrinsic gas, ten a token (EIP-7623); the contract's two storage accesses; a few hundred for each chunk, at most one per 80 bytes.
    21_000 + 10 * tokens + 100_000 + 10 * input.len() as u64
}

/// A post as its transaction has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Post {
    /// Accumulator at the beginning of the batch.
    pub start: B256,
    /// Accumulator before this post.
    pub from: B256,
    /// The chunks.
    pub chunks: Vec<Bytes>,
}

impl Post {
    /// Reads a transaction's input.
    ///
    /// # Errors
    /// Anything that the contract would not have taken.
    pub fn decode(input: &[u8]) -> Result<Self, PostingError> {
        let call = Rollup::postDataCall::abi_decode(input).map_err(|_| PostingError::NotAPost)?;
        let (mut chunks, mut left) = (Vec::new(), &call.chunks[..]);
        while !left.is_empty() {
            let Some((head, tail)) = left.split_first_chunk::<LENGTH_BYTES>() else {
                return Err(PostingError::Truncated { needed: LENGTH_BYTES, left: left.len() });
            };
            let needed = u32::from_be_bytes(*head) as usize;
            if needed == 0 {
                return Err(PostingError::EmptyChunk { index: chunks.len() });
            }
            let (chunk, rest) =
                tail.split_at_checked(needed).ok_or(PostingError::Truncated { needed, left: tail.len() })?;
            chunks.push(call.chunks.slice_ref(chunk));
            left = rest;
        }
        Ok(Self { start: call.start, from: call.from, chunks })
    }

    /// The accumulator it reaches.
    pub fn to(&self) -> B256 {
        accumulate(self.from, self.chunks.iter().map(|chunk| &chunk[..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parts_cover_all_chunks_within_bounds(lengths in prop::collection::vec(1_usize..POST_DATA_BYTES_MAX - 3, 0..40)) {
            let parts = parts(lengths.iter().copied()).expect("each fits");
            let mut next = 0;
            for part in &parts {
                prop_assert_eq!(part.start, next);
                next = part.end;
                let bytes: usize = lengths[part.clone()].iter().map(|length| length + 4).sum();
                prop_assert!(!part.is_empty() && bytes <= POST_DATA_BYTES_MAX);
            }
            prop_assert_eq!(next, lengths.len());
            // No two neighbours would have fitted together: fees are not paid twice for nothing.
            for pair in parts.windows(2) {
                let first: usize = lengths[pair[0].clone()].iter().map(|length| length + 4).sum();
                prop_assert!(first + lengths[pair[1].start] + 4 > POST_DATA_BYTES_MAX);
            }
        }

        #[test]
        fn posts_read_back(
            start: [u8; 32], from: [u8; 32],
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 1..20),
        ) {
            let (start, from) = (B256::from(start), B256::from(from));
            let bytes = input(start, from, chunks.iter().map(Vec::as_slice));
            let post = Post::decode(&bytes).expect("decodes");
            prop_assert_eq!((post.start, post.from), (start, from));
            prop_assert_eq!(post.to(), accumulate(from, chunks.iter().map(Vec::as_slice)));
            prop_assert_eq!(post.chunks.iter().map(|chunk| chunk.to_vec()).collect::<Vec<_>>(), chunks);
            prop_assert!(gas(&bytes) < joule_protocol::limits::L1_TRANSACTION_GAS_MAX);
        }

        #[test]
        fn no_input_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Post::decode(&bytes);
            let call = Rollup::postDataCall { start: B256::ZERO, from: B256::ZERO, chunks: bytes.into() };
            let _ = Post::decode(&call.abi_encode());
        }
    }

    #[test]
    fn what_no_transaction_carries_is_refused() {
        let most = POST_DATA_BYTES_MAX - 4;
        assert_eq!(parts([1, most + 1]), Err(PostingError::ChunkTooLong { index: 1, most, got: most + 1 }));
        assert_eq!(parts([0]), Err(PostingError::EmptyChunk { index: 0 }));
        assert_eq!(parts([most, 1]).map(|parts| parts.len()), Ok(2));
        // The largest part of bytes that are not zero stays far below the gas cap.
        let chunk = vec![1; most];
        assert!(gas(&input(B256::ZERO, B256::ZERO, [&chunk[..]])) < 7_000_000);
    }
}
