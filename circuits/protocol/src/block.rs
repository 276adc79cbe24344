//! Blocks and the batch data that describes them.

use alloc::vec::Vec;

use thiserror::Error;

use crate::{
    Accumulator, Address, Amount, Digest, Hash, Hashing, Key, Kind, NonCanonical, Object, ObjectError, Rejection,
    Truncated, UnknownRejection,
    limits::{BLOCK_OBJECTS_MAX, BLOCK_PRIORITY_MAX, BLOCK_TRANSACTIONS_MAX, BLOCK_WITHDRAWALS_MAX, CHUNK_BYTES_MAX},
    reader::ByteReader,
};

/// What a block's hash commits to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    /// Hash of the block before; the genesis id for block 1.
    pub parent: Hash,
    /// Number, from 1.
    pub number: u64,
    /// Unix seconds; never decreases.
    pub timestamp: u64,
    /// Price per unit of gas.
    pub base_fee: u64,
    /// keccak-256 over the transactions section of the block's batch data.
    pub transactions_root: Hash,
    /// keccak-256 over its outcomes section.
    pub receipts_root: Hash,
    /// Root of the state tree after the block.
    pub state_root: Digest,
}

impl BlockHeader {
    /// keccak-256 of the fixed-width encoding.
    pub fn hash<H: Hashing>(&self) -> Hash {
        let mut bytes = [0; 168];
        bytes[..16].copy_from_slice(b"Joule block 0001");
        bytes[16..48].copy_from_slice(&self.parent.0);
        bytes[48..56].copy_from_slice(&self.number.to_be_bytes());
        bytes[56..64].copy_from_slice(&self.timestamp.to_be_bytes());
        bytes[64..72].copy_from_slice(&self.base_fee.to_be_bytes());
        bytes[72..104].copy_from_slice(&self.transactions_root.0);
        bytes[104..136].copy_from_slice(&self.receipts_root.0);
        bytes[136..].copy_from_slice(&self.state_root.to_hash().0);
        H::keccak256(&bytes)
    }
}

/// A withdrawal as the batch data carries it; its index follows from the chain object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who is paid on L1.
    pub recipient: Address,
    /// How much.
    pub amount: Amount,
}

/// A transaction as the batch data carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkTransaction {
    /// What the sender signed.
    pub signing_hash: Hash,
    /// Who signed.
    pub sender: Address,
}

/// The final value of an object that a block changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkWrite {
    /// Where.
    pub key: Key,
    /// What.
    pub object: Object,
}

/// One block's batch data, decoded.
///
/// ```text
/// tag "J001" · number u64 · timestamp u64 · base fee u64 · requests u32 · transactions u32 · messages u32 · writes u32     44 bytes
/// transactions   signing hash (32) · sender (20)                                   hashed alone: transactions root
/// outcomes       u32 each, requests first: 0 or a rejection's code                 hashed alone: receipts root
/// messages       recipient (20) · amount u128
/// writes         kind u32 · address (20) · nonce u64 (jobs and channels only) · the object's words, by strictly rising key
/// state root     32
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Block number.
    pub number: u64,
    /// Block time, unix seconds.
    pub timestamp: u64,
    /// Price per unit of gas.
    pub base_fee: u64,
    /// Outcomes of the priority requests consumed.
    pub request_outcomes: Vec<u32>,
    /// The transactions with their outcomes.
    pub transactions: Vec<(ChunkTransaction, u32)>,
    /// Withdrawals made.
    pub messages: Vec<Message>,
    /// Objects changed, by rising key, with their final values.
    pub writes: Vec<ChunkWrite>,
    /// Root after the block.
    pub state_root: Digest,
    /// keccak-256 of the transactions section.
    pub transactions_root: Hash,
    /// keccak-256 of the outcomes section.
    pub receipts_root: Hash,
}

/// Bytes that are no block's batch data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ChunkError {
    /// Over the limit.
    #[error("the chunk has {got} bytes; the limit is {CHUNK_BYTES_MAX}")]
    TooLong {
        /// Bytes received.
        got: usize,
    },
    /// The first four bytes are not this format's.
    #[error("the chunk starts with {got:02x?}, not with \"J001\"")]
    UnknownFormat {
        /// The bytes.
        got: [u8; 4],
    },
    /// A section has more entries than a block may.
    #[error("the chunk names {got} {section}; the limit is {limit}")]
    TooMany {
        /// Which section.
        section: &'static str,
        /// Entries named.
        got: u32,
        /// Entries allowed.
        limit: usize,
    },
    /// Ends early.
    #[error(transparent)]
    Truncated(#[from] Truncated),
    /// An outcome that no kernel writes.
    #[error(transparent)]
    Outcome(#[from] UnknownRejection),
    /// A write is no object.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// The state root is not canonical.
    #[error(transparent)]
    Root(#[from] NonCanonical),
    /// Writes out of order or twice.
    #[error("the write to {key:?} does not come after the one before it")]
    WritesOutOfOrder {
        /// The offending key.
        key: Key,
    },
    /// Bytes after the end.
    #[error("{got} bytes follow the chunk")]
    Trailing {
        /// Bytes left over.
        got: usize,
    },
}

const FORMAT: [u8; 4] = *b"J001";
const HEAD_BYTES: usize = 44;

/// Builds a chunk section by section, with room for the accumulator in front, so that no byte is moved twice.
///
/// Every entry is whole words, so it is built in words: each holds four bytes in the order of memory.
#[derive(Debug)]
pub struct ChunkWriter {
    words: Vec<u32>,
    section: usize,
}

const WORD_BYTES: usize = 4;

impl ChunkWriter {
    /// Bytes of room for the accumulator in front of the chunk.
    const ROOM: usize = 32;

    /// Starts a chunk for a block with these header fields. `capacity_bytes` saves the growing.
    pub fn new(number: u64, timestamp: u64, base_fee: u64, capacity_bytes: usize) -> Self {
        let mut words = Vec::with_capacity((Self::ROOM + HEAD_BYTES + capacity_bytes).div_ceil(WORD_BYTES));
        words.extend_from_slice(&[0; Self::ROOM / WORD_BYTES]);
        words.push(u32::from_ne_bytes(FORMAT));
        for field in [number, timestamp, base_fee] {
            words.extend_from_slice(&bytemuck::cast::<_, [u32; 2]>(field.to_be()));
        }
        words.extend_from_slice(&[0; 16 / WORD_BYTES]);
        Self { section: words.len(), words }
    }

    /// Adds a transaction.
    pub fn transaction(&mut self, transaction: &ChunkTransaction) {
        self.words.extend_from_slice(&transaction.signing_hash.memory_words());
        self.words.extend_from_slice(&transaction.sender.memory_words());
    }

    /// Adds an outcome.
    pub fn outcome(&mut self, outcome: u32) {
        self.words.push(outcome.to_be());
    }

    /// Ends the transactions or the outcomes and returns the section's hash.
    pub fn end_section<H: Hashing>(&mut self) -> Hash {
        let hash = H::keccak256(bytemuck::cast_slice(&self.words[self.section..]));
        self.section = self.words.len();
        hash
    }

    /// Adds a withdrawal.
    pub fn message(&mut self, message: &Message) {
        self.words.extend_from_slice(&message.recipient.memory_words());
        self.words.extend_from_slice(&bytemuck::cast::<_, [u32; 4]>(message.amount.to_be()));
    }

    /// Adds a write. Keys must rise strictly over the chunk.
    pub fn write(&mut self, key: &Key, object: &Object) {
        object.with_words(|words| self.write_words(key, object.kind(), words));
    }

    /// As [`ChunkWriter::write`], of an object of `kind` whose words are at hand.
    pub fn write_words(&mut self, key: &Key, kind: Kind, words: &[u32]) {
        let key_words = match kind {
            Kind::Job | Kind::Channel => &key.words()[..],
            Kind::Account | Kind::Device | Kind::Chain => &key.words()[..6],
        };
        self.words.extend(key_words.iter().map(|word| word.to_be()));
        self.words.extend(words.iter().map(|word| word.to_be()));
    }

    /// Ends the chunk, given the number of entries of each section.
    pub fn finish(
        mut self,
        requests: u32,
        transactions: u32,
        messages: u32,
        writes: u32,
        state_root: &Digest,
    ) -> FinishedChunk {
        self.words.extend_from_slice(&state_root.to_hash().memory_words());
        let counts = (Self::ROOM + HEAD_BYTES) / WORD_BYTES - 4;
        let entries = [requests, transactions, messages, writes];
        self.words[counts..counts + 4].copy_from_slice(&entries.map(u32::to_be));
        FinishedChunk(self.words)
    }
}

/// A complete chunk, still with the room in front.
#[derive(Debug)]
pub struct FinishedChunk(Vec<u32>);

impl FinishedChunk {
    /// Absorbs the chunk into `accumulator` and returns its bytes if they are wanted.
    pub fn absorb_into<H: Hashing>(mut self, accumulator: &mut Accumulator) -> Self {
        accumulator.absorb_in_place::<H>(bytemuck::cast_slice_mut(&mut self.0));
        self
    }

    /// The chunk's bytes.
    pub fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.0)[ChunkWriter::ROOM..]
    }
}

impl Chunk {
    /// Decodes one block's batch data; whatever decodes encodes to the same bytes.
    pub fn decode<H: Hashing>(bytes: &[u8]) -> Result<Self, ChunkError> {
        if bytes.len() > CHUNK_BYTES_MAX {
            return Err(ChunkError::TooLong { got: bytes.len() });
        }
        let mut reader = ByteReader(bytes);
        let read = &mut reader;
        let format = read.array()?;
        if format != FORMAT {
            return Err(ChunkError::UnknownFormat { got: format });
        }
        let (number, timestamp, base_fee) = (read.u64()?, read.u64()?, read.u64()?);
        let mut count = |section, limit| match read.u32()? {
            got if got as usize > limit => Err(ChunkError::TooMany { section, got, limit }),
            got => Ok(got as usize),
        };
        let request_count = count("requests", BLOCK_PRIORITY_MAX)?;
        let transaction_count = count("transactions", BLOCK_TRANSACTIONS_MAX)?;
        let message_count = count("messages", BLOCK_WITHDRAWALS_MAX)?;
        let write_count = count("writes", BLOCK_OBJECTS_MAX)?;

        let transactions = read.bytes(52 * transaction_count)?;
        let outcomes = read.bytes(4 * (request_count + transaction_count))?;
        let (transactions_root, receipts_root) = (H::keccak256(transactions), H::keccak256(outcomes));
        let outcome = |i: usize| u32::from_be_bytes(outcomes[4 * i..4 * i + 4].try_into().expect("four bytes"));
        for i in 0..request_count + transaction_count {
            Rejection::of_outcome(outcome(i))?;
        }
        let transactions = transactions.chunks_exact(52).enumerate().map(|(i, entry)| {
            let (signing_hash, sender) = entry.split_at(32);
            let transaction = ChunkTransaction {
                signing_hash: Hash(signing_hash.try_into().expect("32 bytes")),
                sender: Address(sender.try_into().expect("20 bytes")),
            };
            (transaction, outcome(request_count + i))
        });
        let transactions = transactions.collect();
        let messages = (0..message_count)
            .map(|_| Ok(Message { recipient: Address(read.array()?), amount: read.u128()? }))
            .collect::<Result<_, Truncated>>()?;
        let mut writes: Vec<ChunkWrite> = Vec::new();
        for _ in 0..write_count {
            let write = Self::decode_write(read)?;
            if writes.last().is_some_and(|last| last.key >= write.key) {
                return Err(ChunkError::WritesOutOfOrder { key: write.key });
            }
            writes.push(write);
        }
        let state_root = Digest::from_hash(Hash(read.array()?))?;
        if !reader.0.is_empty() {
            return Err(ChunkError::Trailing { got: reader.0.len() });
        }
        let request_outcomes = (0..request_count).map(outcome).collect();
        Ok(Self {
            number,
            timestamp,
            base_fee,
            request_outcomes,
            transactions,
            messages,
            writes,
            state_root,
            transactions_root,
            receipts_root,
        })
    }

    fn decode_write(read: &mut ByteReader<'_>) -> Result<ChunkWrite, ChunkError> {
        let kind = Kind::from_u32(read.u32()?)?;
        let address = Address(read.array()?);
        let key = match kind {
            Kind::Account => Key::account(&address),
            Kind::Device => Key::device(&address),
            Kind::Job => Key::job(&address, read.u64()?),
            Kind::Channel => Key::channel(&address, read.u64()?),
            Kind::Chain if address.is_zero() => Key::CHAIN,
            Kind::Chain => return Err(ObjectError::OutOfRange { field: "chain address", got: 1 }.into()),
        };
        let mut words = [0; Object::WORDS_MAX];
        let words = &mut words[..Object::words_of(kind)];
        for word in words.iter_mut() {
            *word = read.u32()?;
        }
        Ok(ChunkWrite { key, object: Object::from_words(kind, words)? })
    }

    /// The block's header, given its parent's hash.
    pub fn header(&self, parent: Hash) -> BlockHeader {
        BlockHeader {
            parent,
            number: self.number,
            timestamp: self.timestamp,
            base_fee: self.base_fee,
            transactions_root: self.transactions_root,
            receipts_root: self.receipts_root,
            state_root: self.state_root,
        }
    }
}
