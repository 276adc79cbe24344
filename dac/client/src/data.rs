//! A batch's data as members serve it, and one chunk of it as they show it to whoever probes them.

use alloy_primitives::B256;
use joule_committee::{Reader, WireError};
use joule_protocol::{Accumulator, Checkpoint, Chunk, ChunkError, Hash, Native};
use thiserror::Error;

use crate::offer::{BATCH_BLOCKS_MAX, OfferError, checkpoint_hash, read_checkpoint, read_list};

const VERSION: u8 = 1;

/// Most bytes of a batch's data over all chunks, with the lengths between them. Twice the longest offer: a block's data may be longer than
/// its transactions where each writes a job of 232 bytes.
pub const DATA_BYTES_MAX: usize = 32 << 20;

/// Why data is not the batch's. Whoever served it is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DataError {
    /// Not the encoding.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// 288 bytes that encode no checkpoint.
    #[error("the {which} checkpoint's bytes are the encoding of none")]
    NoCheckpoint {
        /// The parent or the new one.
        which: &'static str,
    },
    /// More bytes than a batch may have.
    #[error("{got} bytes of data, where {most} are possible")]
    TooLong {
        /// The most bytes.
        most: usize,
        /// The bytes there are.
        got: usize,
    },
    /// Checkpoints of another batch.
    #[error("the {which} checkpoint is {got} instead of {expected}")]
    WrongCheckpoint {
        /// The parent or the new one.
        which: &'static str,
        /// Asked for.
        expected: B256,
        /// Answered.
        got: B256,
    },
    /// A chunk too few or too many.
    #[error("{got} chunks for {expected} blocks")]
    WrongChunkCount {
        /// Blocks between the checkpoints.
        expected: u64,
        /// Chunks.
        got: usize,
    },
    /// Chunks that do not hash to the checkpoint.
    #[error("the chunks lead to the data accumulator {got}, the checkpoint has {expected}")]
    WrongHash {
        /// The checkpoint's accumulator.
        expected: B256,
        /// The one reached.
        got: B256,
    },
    /// A chunk that is none.
    #[error("the chunk is no batch data: {0}")]
    Chunk(#[from] ChunkError),
    /// Another block's chunk.
    #[error("the chunk is block {got}'s; block {expected}'s was asked for")]
    WrongBlock {
        /// Asked for.
        expected: u64,
        /// Answered.
        got: u64,
    },
}

impl From<OfferError> for DataError {
    fn from(error: OfferError) -> Self {
        match error {
            OfferError::Wire(error) => Self::Wire(error),
            OfferError::NoCheckpoint { which } => Self::NoCheckpoint { which },
            OfferError::TooLong { most, got } => Self::TooLong { most, got },
            OfferError::WrongCheckpoint { which, expected, got } => Self::WrongCheckpoint { which, expected, got },
            OfferError::WrongBlockCount { from, to, got } => {
                Self::WrongChunkCount { expected: to.saturating_sub(from), got }
            }
        }
    }
}

/// A batch's chunks, which hash from one checkpoint's data accumulator to the other's.
///
/// There is no way to make one whose chunks do not: it is the data of *some* batch. [`BatchData::is_of`] says of which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchData {
    parent: Checkpoint,
    checkpoint: Checkpoint,
    chunks: Vec<Vec<u8>>,
}

impl BatchData {
    /// Checks the chunks against the checkpoints.
    ///
    /// # Errors
    /// Chunks too few, too many, too long, or others.
    pub fn new(parent: Checkpoint, checkpoint: Checkpoint, chunks: Vec<Vec<u8>>) -> Result<Self, DataError> {
        let expected = checkpoint.block_number.saturating_sub(parent.block_number);
        if expected == 0 || chunks.len() as u64 != expected || chunks.len() > BATCH_BLOCKS_MAX {
            return Err(DataError::WrongChunkCount { expected, got: chunks.len() });
        }
        let data = Self { parent, checkpoint, chunks };
        let got = data.encoded_bytes();
        if got > DATA_BYTES_MAX {
            return Err(DataError::TooLong { most: DATA_BYTES_MAX, got });
        }
        require_reached(absorb(parent.data_acc, &data.chunks), &checkpoint)?;
        Ok(data)
    }

    /// Where the batch starts.
    pub fn parent(&self) -> &Checkpoint {
        &self.parent
    }

    /// Where it leads.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// One chunk for each block.
    pub fn chunks(&self) -> &[Vec<u8>] {
        &self.chunks
    }

    /// Bytes over all chunks, as a certificate and a commit name them.
    pub fn data_bytes(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.len() as u64).sum()
    }

    /// Checks that this is the data of the batch that leads from `parent` to `checkpoint`, by their hashes as L1 has them.
    ///
    /// # Errors
    /// It is another batch's.
    pub fn is_of(&self, parent: B256, checkpoint: B256) -> Result<(), DataError> {
        let ends = [("parent", parent, &self.parent), ("new", checkpoint, &self.checkpoint)];
        for (which, expected, found) in ends {
            let got = checkpoint_hash(found);
            if got != expected {
                return Err(DataError::WrongCheckpoint { which, expected, got });
            }
        }
        Ok(())
    }

    /// Shows chunk `index` to whoever probes; `None` if there is none.
    pub fn prove_chunk(&self, index: usize) -> Option<ChunkProof> {
        let (before, from) = self.chunks.split_at_checked(index)?;
        let (chunk, after) = from.split_first()?;
        let before = absorb(self.parent.data_acc, before);
        Some(ChunkProof { before, chunk: chunk.clone(), after: after.to_vec() })
    }

    fn encoded_bytes(&self) -> usize {
        1 + 2 * Checkpoint::BYTES + 4 + self.chunks.iter().map(|chunk| 4 + chunk.len()).sum::<usize>()
    }

    /// Version ‖ parent checkpoint ‖ checkpoint ‖ chunk count (4) ‖ each chunk's length (4) and bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.encoded_bytes());
        out.push(VERSION);
        out.extend_from_slice(&self.parent.encode());
        out.extend_from_slice(&self.checkpoint.encode());
        write_list(&self.chunks, &mut out);
        out
    }

    /// The inverse of [`BatchData::encode`], with all of [`BatchData::new`]'s checks.
    ///
    /// # Errors
    /// Bytes that are no batch's data.
    pub fn decode(bytes: &[u8]) -> Result<Self, DataError> {
        require_length(bytes)?;
        let mut reader = Reader::new(bytes);
        reader.version(VERSION)?;
        let parent = read_checkpoint(&mut reader, "parent")?;
        let checkpoint = read_checkpoint(&mut reader, "new")?;
        let chunks = read_list(&mut reader, "chunks")?;
        reader.end()?;
        Self::new(parent, checkpoint, chunks)
    }
}

/// One chunk with its hash chain: the accumulator before it, and the chunks after it, which lead to the checkpoint's accumulator.
///
/// A rolling hash has no shorter path than the rest of the batch. That costs half a batch per probe on average, and L1 pays nothing for
/// a tree that only probes would use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkProof {
    before: Accumulator,
    chunk: Vec<u8>,
    after: Vec<Vec<u8>>,
}

impl ChunkProof {
    /// The chunk of block `parent.block_number + 1 + index` in the batch that leads from `parent` to `checkpoint`.
    ///
    /// # Errors
    /// The proof shows something else.
    pub fn verify(&self, parent: &Checkpoint, checkpoint: &Checkpoint, index: usize) -> Result<&[u8], DataError> {
        let mut reached = self.before;
        reached.absorb::<Native>(&self.chunk);
        require_reached(absorb(reached, &self.after), checkpoint)?;
        // The chain says that the chunk is in the data. Which one it is, it says itself: blocks are numbered.
        let expected = parent.block_number.saturating_add(1).saturating_add(index as u64);
        let got = Chunk::decode::<Native>(&self.chunk)?.number;
        if got != expected {
            return Err(DataError::WrongBlock { expected, got });
        }
        Ok(&self.chunk)
    }

    /// Version ‖ accumulator before (32) ‖ count of chunks (4) ‖ the chunk and those after it, each after its length (4).
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.before.0.0);
        let count = 1 + self.after.len() as u32;
        out.extend_from_slice(&count.to_be_bytes());
        for chunk in std::iter::once(&self.chunk).chain(&self.after) {
            write_item(chunk, &mut out);
        }
        out
    }

    /// The inverse of [`ChunkProof::encode`].
    ///
    /// # Errors
    /// Not the encoding of a proof.
    pub fn decode(bytes: &[u8]) -> Result<Self, DataError> {
        require_length(bytes)?;
        let mut reader = Reader::new(bytes);
        reader.version(VERSION)?;
        let before = Accumulator(Hash(reader.array()?));
        let mut chunks = read_list(&mut reader, "chunks")?;
        reader.end()?;
        let after = chunks.split_off(1);
        let chunk = chunks.remove(0);
        Ok(Self { before, chunk, after })
    }
}

fn absorb(mut accumulator: Accumulator, chunks: &[Vec<u8>]) -> Accumulator {
    chunks.iter().for_each(|chunk| accumulator.absorb::<Native>(chunk));
    accumulator
}

fn require_reached(reached: Accumulator, checkpoint: &Checkpoint) -> Result<(), DataError> {
    if reached == checkpoint.data_acc {
        return Ok(());
    }
    Err(DataError::WrongHash { expected: B256::new(checkpoint.data_acc.0.0), got: B256::new(reached.0.0) })
}

fn require_length(bytes: &[u8]) -> Result<(), DataError> {
    match bytes.len() {
        got if got > DATA_BYTES_MAX => Err(DataError::TooLong { most: DATA_BYTES_MAX, got }),
        _ => Ok(()),
    }
}

fn write_list(items: &[Vec<u8>], out: &mut Vec<u8>) {
    out.extend_from_slice(&(items.len() as u32).to_be_bytes());
    items.iter().for_each(|item| write_item(item, out));
}

fn write_item(item: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(item.len() as u32).to_be_bytes());
    out.extend_from_slice(item);
}

#[cfg(test)]
mod tests {
    use joule_protocol::{ChunkWriter, Digest};
    use proptest::prelude::*;

    use super::*;
    use crate::offer::tests::checkpoint;

    fn chunk(number: u64) -> Vec<u8> {
        let mut writer = ChunkWriter::new(number, 1_800_000_000, 1, 256);
        writer.end_section::<Native>();
        writer.end_section::<Native>();
        writer.finish(0, 0, 0, 0, &Digest::EMPTY).absorb_into::<Native>(&mut Accumulator::default()).bytes().to_vec()
    }

    fn data(count: u64) -> BatchData {
        let chunks: Vec<_> = (8..8 + count).map(chunk).collect();
        let parent = checkpoint(7);
        let to = Checkpoint { data_acc: absorb(parent.data_acc, &chunks), ..checkpoint(7 + count) };
        BatchData::new(parent, to, chunks).expect("data")
    }

    #[test]
    fn every_chunk_is_shown_and_no_other_passes_for_it() {
        let data = data(4);
        for index in 0..4 {
            let bytes = data.prove_chunk(index).expect("a chunk").encode();
            let proof = ChunkProof::decode(&bytes).expect("reads");
            assert_eq!(proof.verify(&data.parent, &data.checkpoint, index), Ok(&data.chunks[index][..]));
            for other in (0..4).filter(|other| *other != index) {
                let refused = proof.verify(&data.parent, &data.checkpoint, other);
                assert!(matches!(refused, Err(DataError::WrongBlock { .. })), "{refused:?}");
            }
        }
        assert_eq!(data.prove_chunk(4), None);
    }

    #[test]
    fn data_is_of_one_batch() {
        let data = data(2);
        let (parent, to) = (checkpoint_hash(&data.parent), checkpoint_hash(&data.checkpoint));
        assert_eq!(data.is_of(parent, to), Ok(()));
        assert!(matches!(data.is_of(parent, parent), Err(DataError::WrongCheckpoint { which: "new", .. })));
        assert!(matches!(data.is_of(to, to), Err(DataError::WrongCheckpoint { which: "parent", .. })));
        let mut swapped = data.chunks.clone();
        swapped.swap(0, 1);
        assert!(matches!(BatchData::new(data.parent, data.checkpoint, swapped), Err(DataError::WrongHash { .. })));
        let short = data.chunks[..1].to_vec();
        assert!(matches!(
            BatchData::new(data.parent, data.checkpoint, short),
            Err(DataError::WrongChunkCount { expected: 2, got: 1 })
        ));
    }

    proptest! {
        #[test]
        fn no_changed_bit_decodes(count in 1u64..4, at in any::<prop::sample::Index>(), bit in 0u8..8) {
            let data = data(count);
            let mut bytes = data.encode();
            prop_assert_eq!(BatchData::decode(&bytes), Ok(data.clone()));
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            // The checkpoints' other fields are not bound by the chunks but by the checkpoints' hashes.
            if let Ok(other) = BatchData::decode(&bytes) {
                prop_assert!(other.is_of(checkpoint_hash(data.parent()), checkpoint_hash(data.checkpoint())).is_err());
                prop_assert_eq!(other.chunks(), data.chunks());
            }
            let mut proof = data.prove_chunk(0).expect("a chunk").encode();
            let at = at % proof.len();
            proof[at] ^= 1 << bit;
            let passes = ChunkProof::decode(&proof)
                .is_ok_and(|proof| proof.verify(&data.parent, &data.checkpoint, 0).is_ok());
            prop_assert!(!passes);
        }

        #[test]
        fn random_bytes_are_no_data(bytes in prop::collection::vec(any::<u8>(), 0..900)) {
            prop_assert!(BatchData::decode(&bytes).is_err());
            if let Ok(proof) = ChunkProof::decode(&bytes) {
                prop_assert!(proof.verify(&checkpoint(1), &checkpoint(2), 0).is_err());
            }
        }
    }
}
