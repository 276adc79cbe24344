//! What is kept, and how it is encoded.
//!
//! Every record has exactly one encoding, begins with a byte for its version, and is decoded strictly: a disk is outside, too.

use joule_kernel::{Event, Log, Outcome};
use joule_protocol::{
    Address, Amount, BlockHeader, Checkpoint, Hash, Hashing, Message, Native,
    limits::{BLOCK_PRIORITY_MAX, BLOCK_TRANSACTIONS_MAX, CHUNK_BYTES_MAX, TRANSACTION_BYTES_MAX},
};
use joule_state::{
    BlockItems, ExecutedBlock,
    wire::{Reader, WireError, Writer},
};

/// The first byte of every record of this version.
const VERSION: u8 = 1;

/// Logs of one transaction or request: an action emits one event, and one of its fees none. Room for a later kernel.
const LOGS_MAX: usize = 8;
/// Topics of a log, as Ethereum bounds them.
const TOPICS_MAX: usize = 4;
/// Bytes of a log's data: the longest event has seven words.
const LOG_DATA_BYTES_MAX: usize = 1_024;
/// Bytes of a rejection's revert data: a selector and at most two words today.
const REVERT_DATA_BYTES_MAX: usize = 256;
/// Bytes of a rejection's sentence.
const SENTENCE_BYTES_MAX: usize = 512;

/// What came of a transaction or request, as a node shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutcomeRecord {
    /// It did what it says.
    Applied,
    /// It did nothing.
    Rejected {
        /// The code that the batch data carries.
        code: u32,
        /// The ABI-encoded custom error: what a wallet is shown.
        revert_data: Vec<u8>,
        /// The reason in a sentence, with its numbers.
        sentence: String,
    },
}

impl OutcomeRecord {
    /// Whether it did what it says.
    pub fn is_applied(&self) -> bool {
        *self == Self::Applied
    }
}

impl From<&Outcome> for OutcomeRecord {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Applied => Self::Applied,
            Outcome::Rejected(rejection) => Self::Rejected {
                code: rejection.code(),
                revert_data: rejection.revert_data::<Native>(),
                sentence: rejection.to_string(),
            },
        }
    }
}

/// A transaction in a block. Its signed bytes are in the block's [`BlockItems`], at the same place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionRecord {
    /// keccak-256 of the signed bytes.
    pub hash: Hash,
    /// What the sender signed.
    pub signing_hash: Hash,
    /// Who signed.
    pub sender: Address,
    /// What came of it.
    pub outcome: OutcomeRecord,
    /// Gas it paid for.
    pub gas: u64,
    /// What it paid.
    pub fee: Amount,
    /// Its logs.
    pub logs: Vec<Log>,
}

/// A priority request in a block. Its bytes are in the block's [`BlockItems`], at the same place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRecord {
    /// What came of it.
    pub outcome: OutcomeRecord,
    /// Its logs.
    pub logs: Vec<Log>,
}

/// A block with everything a node shows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockRecord {
    /// The header.
    pub header: BlockHeader,
    /// Where the chain is after it. Its `block_hash` is the header's hash.
    pub checkpoint: Checkpoint,
    /// What it is made of.
    pub items: BlockItems,
    /// What came of the requests.
    pub requests: Vec<RequestRecord>,
    /// What came of the transactions.
    pub transactions: Vec<TransactionRecord>,
    /// Withdrawals it makes, in order of their indices.
    pub messages: Vec<Message>,
    /// Its batch data: the bytes that `data_acc` takes.
    pub chunk: Vec<u8>,
    /// The sequencer's signature over [`block_signing_hash`], r ‖ s ‖ v; `None` where a block was re-executed from what L1 executed.
    pub signature: Option<[u8; 65]>,
}

/// What the sequencer signs for a block: nothing else that its key signs begins like this.
///
/// The encoded items are bound beside the hash, which does not tell how many requests a block took: with them, items that do not execute to the hash are the
/// sequencer's lie and never that of whoever passed them on.
pub fn block_signing_hash(block_hash: &Hash, items: &[u8]) -> Hash {
    let mut bytes = [0; 96];
    bytes[..24].copy_from_slice(b"Joule block signature v1");
    bytes[32..64].copy_from_slice(&block_hash.0);
    bytes[64..].copy_from_slice(&Native::keccak256(items).0);
    Native::keccak256(&bytes)
}

fn logs_of(events: &[Event]) -> Vec<Log> {
    events.iter().filter_map(Event::log::<Native>).collect()
}

impl BlockRecord {
    /// The record of a block that has been executed.
    pub fn new(executed: &ExecutedBlock, signature: Option<[u8; 65]>) -> Self {
        let block = &executed.sealed.block;
        let requests = executed.requests.iter();
        let transactions = executed.transactions.iter();
        Self {
            header: block.header,
            checkpoint: block.checkpoint,
            items: executed.items.clone(),
            requests: requests
                .map(|done| RequestRecord { outcome: (&done.outcome).into(), logs: logs_of(&done.events) })
                .collect(),
            transactions: transactions
                .map(|done| TransactionRecord {
                    hash: done.hash,
                    signing_hash: done.signing_hash,
                    sender: done.sender,
                    outcome: (&done.outcome).into(),
                    gas: done.gas,
                    fee: done.fee,
                    logs: logs_of(&done.events),
                })
                .collect(),
            messages: block.messages.clone(),
            chunk: block.chunk.bytes().to_vec(),
            signature,
        }
    }

    /// The block's hash.
    pub fn hash(&self) -> Hash {
        self.checkpoint.block_hash
    }

    /// The block's number.
    pub fn number(&self) -> u64 {
        self.header.number
    }

    /// Index of the first withdrawal this block makes, given the number of all withdrawals after it (the chain object holds it).
    pub fn first_message_index(&self, withdrawal_count_after: u64) -> u64 {
        withdrawal_count_after.saturating_sub(self.messages.len() as u64)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let items = self.items.encode();
        let mut writer = Writer::with_capacity(items.len() + self.chunk.len() + 320 * self.transactions.len() + 1_024);
        writer.u8(VERSION).raw(&self.header.parent.0).checkpoint(&self.checkpoint).bytes(&items).bytes(&self.chunk);
        writer.raw(&self.header.transactions_root.0).raw(&self.header.receipts_root.0);
        writer.length(self.requests.len());
        for request in &self.requests {
            write_outcome(&mut writer, &request.outcome);
            write_logs(&mut writer, &request.logs);
        }
        writer.length(self.transactions.len());
        for transaction in &self.transactions {
            writer.raw(&transaction.hash.0).raw(&transaction.signing_hash.0).raw(&transaction.sender.0);
            write_outcome(&mut writer, &transaction.outcome);
            writer.u64(transaction.gas).u128(transaction.fee);
            write_logs(&mut writer, &transaction.logs);
        }
        writer.length(self.messages.len());
        for message in &self.messages {
            writer.raw(&message.recipient.0).u128(message.amount);
        }
        match &self.signature {
            None => writer.u8(0),
            Some(signature) => writer.u8(1).raw(signature),
        };
        writer.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        let read = &mut reader;
        version(read)?;
        let parent = read.hash("parent")?;
        let checkpoint = read.checkpoint("checkpoint")?;
        let items = BlockItems::decode(read.bytes("items", BlockItems::BYTES_MAX)?)?;
        let chunk = read.bytes("chunk", CHUNK_BYTES_MAX)?.to_vec();
        let header = BlockHeader {
            parent,
            number: checkpoint.block_number,
            timestamp: items.timestamp,
            base_fee: items.base_fee,
            transactions_root: read.hash("transactions root")?,
            receipts_root: read.hash("receipts root")?,
            state_root: checkpoint.state_root,
        };
        let requests = (0..same_length(read, "requests", items.requests.len())?)
            .map(|_| Ok(RequestRecord { outcome: read_outcome(read)?, logs: read_logs(read)? }))
            .collect::<Result<_, WireError>>()?;
        let transactions = (0..same_length(read, "transactions", items.transactions.len())?)
            .map(|_| {
                Ok(TransactionRecord {
                    hash: read.hash("transaction hash")?,
                    signing_hash: read.hash("signing hash")?,
                    sender: read.address("sender")?,
                    outcome: read_outcome(read)?,
                    gas: read.u64("gas")?,
                    fee: read.u128("fee")?,
                    logs: read_logs(read)?,
                })
            })
            .collect::<Result<_, WireError>>()?;
        let messages = (0..read.length("messages", BLOCK_TRANSACTIONS_MAX + BLOCK_PRIORITY_MAX)?)
            .map(|_| Ok(Message { recipient: read.address("recipient")?, amount: read.u128("amount")? }))
            .collect::<Result<_, WireError>>()?;
        let signature = if read.flag("signature")? { Some(read.array("signature")?) } else { None };
        reader.end()?;
        Ok(Self { header, checkpoint, items, requests, transactions, messages, chunk, signature })
    }
}

fn version(reader: &mut Reader<'_>) -> Result<(), WireError> {
    match reader.u8("version")? {
        VERSION => Ok(()),
        got => Err(WireError::OutOfRange { field: "version", got: got.into() }),
    }
}

/// A list beside another that has as many entries.
fn same_length(reader: &mut Reader<'_>, field: &'static str, expected: usize) -> Result<usize, WireError> {
    match reader.length(field, expected)? {
        got if got == expected => Ok(got),
        got => Err(WireError::OutOfRange { field, got: got as u64 }),
    }
}

fn write_outcome(writer: &mut Writer, outcome: &OutcomeRecord) {
    match outcome {
        OutcomeRecord::Applied => writer.u32(0),
        OutcomeRecord::Rejected { code, revert_data, sentence } => {
            writer.u32(*code).bytes(revert_data).bytes(sentence.as_bytes())
        }
    };
}

fn read_outcome(reader: &mut Reader<'_>) -> Result<OutcomeRecord, WireError> {
    let code = match reader.u32("outcome")? {
        0 => return Ok(OutcomeRecord::Applied),
        code => code,
    };
    let revert_data = reader.bytes("revert data", REVERT_DATA_BYTES_MAX)?.to_vec();
    let sentence = reader.bytes("sentence", SENTENCE_BYTES_MAX)?;
    let sentence = std::str::from_utf8(sentence)
        .map_err(|error| WireError::OutOfRange { field: "sentence", got: error.valid_up_to() as u64 })?;
    Ok(OutcomeRecord::Rejected { code, revert_data, sentence: sentence.to_owned() })
}

fn write_logs(writer: &mut Writer, logs: &[Log]) {
    writer.length(logs.len());
    for log in logs {
        writer.raw(&log.address.0).length(log.topics.len());
        for topic in &log.topics {
            writer.raw(&topic.0);
        }
        writer.bytes(&log.data);
    }
}

fn read_logs(reader: &mut Reader<'_>) -> Result<Vec<Log>, WireError> {
    (0..reader.length("logs", LOGS_MAX)?)
        .map(|_| {
            let address = reader.address("log address")?;
            let topics = (0..reader.length("topics", TOPICS_MAX)?)
                .map(|_| reader.hash("topic"))
                .collect::<Result<_, WireError>>()?;
            Ok(Log { address, topics, data: reader.bytes("log data", LOG_DATA_BYTES_MAX)?.to_vec() })
        })
        .collect()
}

/// How far settlement has come with a batch. Each stage follows the one before; a reorganised L1 or a reverted batch leads back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Stage {
    /// Its blocks are fixed.
    Sealed = 1,
    /// Its data is available: a certificate is stored, or the data is on L1.
    Available = 2,
    /// L1 has accepted its header.
    Committed = 3,
    /// L1 has accepted its proof.
    Proven = 4,
    /// L1 has made it final.
    Executed = 5,
}

impl Stage {
    /// Reads a stage's number.
    pub fn from_u8(number: u8) -> Option<Self> {
        [Self::Sealed, Self::Available, Self::Committed, Self::Proven, Self::Executed]
            .into_iter()
            .find(|stage| *stage as u8 == number)
    }
}

/// A batch: what is settled on L1 at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchRecord {
    /// Number, from 1.
    pub number: u64,
    /// Reverts that L1 had counted when the batch was sealed; a certificate is good for one count.
    pub revert_count: u64,
    /// Where it starts.
    pub parent: Checkpoint,
    /// Where it leads.
    pub checkpoint: Checkpoint,
    /// Its first block.
    pub first_block: u64,
    /// Its last block.
    pub last_block: u64,
    /// Bytes of its data: the sum of its blocks' chunks.
    pub data_bytes: u64,
    /// Until when its certificate promises the data, unix seconds; chosen once, because another expiry is another statement.
    pub certificate_expiry: Option<u64>,
    /// How far it has come.
    pub stage: Stage,
    /// The L1 transaction that brought it to its stage, once there is one.
    pub l1_transaction: Option<Hash>,
}

impl BatchRecord {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(700);
        writer.u8(VERSION).u64(self.number).u64(self.revert_count);
        writer.checkpoint(&self.parent).checkpoint(&self.checkpoint);
        writer.u64(self.first_block).u64(self.last_block).u64(self.data_bytes);
        match self.certificate_expiry {
            None => writer.u8(0),
            Some(expiry) => writer.u8(1).u64(expiry),
        };
        writer.u8(self.stage as u8);
        match &self.l1_transaction {
            None => writer.u8(0),
            Some(hash) => writer.u8(1).raw(&hash.0),
        };
        writer.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        let read = &mut reader;
        version(read)?;
        let record = Self {
            number: read.u64("number")?,
            revert_count: read.u64("revert count")?,
            parent: read.checkpoint("parent")?,
            checkpoint: read.checkpoint("checkpoint")?,
            first_block: read.u64("first block")?,
            last_block: read.u64("last block")?,
            data_bytes: read.u64("data bytes")?,
            certificate_expiry: if read.flag("expiry")? { Some(read.u64("expiry")?) } else { None },
            stage: {
                let got = read.u8("stage")?;
                Stage::from_u8(got).ok_or(WireError::OutOfRange { field: "stage", got: got.into() })?
            },
            l1_transaction: if read.flag("L1 transaction")? { Some(read.hash("L1 transaction")?) } else { None },
        };
        reader.end()?;
        Ok(record)
    }
}

/// A transaction that has been acknowledged and is in no block yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolRecord {
    /// keccak-256 of the signed bytes.
    pub hash: Hash,
    /// The order of arrival; later ones are greater.
    pub arrival: u64,
    /// The signed bytes.
    pub bytes: Vec<u8>,
}

impl PoolRecord {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(13 + self.bytes.len());
        writer.u8(VERSION).u64(self.arrival).bytes(&self.bytes);
        writer.finish()
    }

    pub(crate) fn decode(hash: Hash, bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        version(&mut reader)?;
        let arrival = reader.u64("arrival")?;
        let bytes = reader.bytes("transaction", TRANSACTION_BYTES_MAX)?.to_vec();
        reader.end()?;
        Ok(Self { hash, arrival, bytes })
    }
}

/// How far L1 has been followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct L1Cursor {
    /// Number of the last L1 block whose events have been taken.
    pub number: u64,
    /// Its hash, so that a reorganisation shows.
    pub hash: Hash,
}

impl L1Cursor {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(41);
        writer.u8(VERSION).u64(self.number).raw(&self.hash.0);
        writer.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        version(&mut reader)?;
        let cursor = Self { number: reader.u64("L1 block number")?, hash: reader.hash("L1 block hash")? };
        reader.end()?;
        Ok(cursor)
    }
}

/// Where a transaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionPlace {
    /// The block.
    pub block_number: u64,
    /// The place among the block's transactions, from 0.
    pub index: u32,
}

impl TransactionPlace {
    pub(crate) fn encode(&self) -> [u8; 12] {
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&self.block_number.to_be_bytes());
        bytes[8..].copy_from_slice(&self.index.to_be_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        let place = Self { block_number: reader.u64("block number")?, index: reader.u32("index")? };
        reader.end()?;
        Ok(place)
    }
}

#[cfg(test)]
mod tests {
    use joule_protocol::Digest;
    use joule_state::wire::WireError;
    use joule_workload::{Chain, Chaos, GENESIS_SECONDS, Item, Population};

    use super::*;

    /// A block with requests, transactions applied and rejected, logs and withdrawals.
    fn block() -> BlockRecord {
        let chain = Chain::new(Chain::test_genesis());
        let mut chaos = Chaos::new(3, Population::new(3, &chain.genesis, 4, 2), GENESIS_SECONDS + 10);
        let mut items = BlockItems { timestamp: chaos.now, base_fee: 100, ..BlockItems::default() };
        for wallet in 0..4 {
            let Item::Request(bytes) = chaos.deposit(wallet, 1 << 80) else { unreachable!() };
            items.requests.push(bytes);
        }
        while items.transactions.len() < 20 {
            if let Item::Transaction { bytes, .. } = chaos.next_item(false) {
                items.transactions.push(bytes);
                if chain.execution.replay(&items).is_err() {
                    items.transactions.pop();
                }
            }
        }
        let executed = chain.execution.replay(&items).expect("what was refused is left out");
        let mut record = BlockRecord::new(&executed, Some([9; 65]));
        record.messages.push(Message { recipient: Address([1; 20]), amount: 5 });
        record
    }

    /// Holds a decoder to the one encoding of a value: no prefix, nothing after it, and no change of a byte decodes to the same value or panics.
    fn is_strict<T: PartialEq + std::fmt::Debug>(
        value: &T,
        bytes: &[u8],
        decode: impl Fn(&[u8]) -> Result<T, WireError>,
        encode: impl Fn(&T) -> Vec<u8>,
    ) {
        assert_eq!(decode(bytes).as_ref(), Ok(value));
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "cut at {length}");
        }
        assert!(decode(&[bytes, &[0]].concat()).is_err());
        for at in 0..bytes.len() {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 0x81;
            if let Ok(other) = decode(&damaged) {
                assert_eq!(encode(&other), damaged, "byte {at}");
            }
        }
    }

    #[test]
    fn blocks_are_strict() {
        let block = block();
        let kinds = |is_applied: bool| block.transactions.iter().any(|done| done.outcome.is_applied() == is_applied);
        assert!(kinds(true) && kinds(false) && block.logs().count() > 4);
        let encode = BlockRecord::encode;
        assert_eq!(BlockRecord::decode(&block.encode()), Ok(block.clone()));
        let mut small = block;
        small.items.transactions.truncate(3);
        small.transactions.truncate(3);
        small.chunk.truncate(20);
        is_strict(&small, &small.encode(), BlockRecord::decode, encode);
        small.signature = None;
        is_strict(&small, &small.encode(), BlockRecord::decode, encode);
    }

    #[test]
    fn other_records_are_strict() {
        let parent = Chain::new(Chain::test_genesis()).execution.checkpoint().to_owned();
        let checkpoint = Checkpoint { block_number: 9, state_root: Digest::EMPTY, ..parent };
        for (stage, expiry, hash) in [(Stage::Sealed, None, None), (Stage::Executed, Some(7), Some(Hash([4; 32])))] {
            let batch = BatchRecord {
                number: 3,
                revert_count: 1,
                parent,
                checkpoint,
                first_block: 1,
                last_block: 9,
                data_bytes: 12_345,
                certificate_expiry: expiry,
                stage,
                l1_transaction: hash,
            };
            is_strict(&batch, &batch.encode(), BatchRecord::decode, BatchRecord::encode);
        }
        let pooled = PoolRecord { hash: Hash([1; 32]), arrival: 77, bytes: vec![1, 2, 3] };
        is_strict(&pooled, &pooled.encode(), |bytes| PoolRecord::decode(pooled.hash, bytes), PoolRecord::encode);
        let cursor = L1Cursor { number: 5, hash: Hash([2; 32]) };
        is_strict(&cursor, &cursor.encode(), L1Cursor::decode, L1Cursor::encode);
        let place = TransactionPlace { block_number: 6, index: 7 };
        is_strict(&place, &place.encode(), TransactionPlace::decode, |place| place.encode().to_vec());
    }

    #[test]
    fn what_is_signed_for_a_block_is_pinned() {
        let hash = block_signing_hash(&Hash::ZERO, b"items");
        let mut bytes = [0; 96];
        bytes[..24].copy_from_slice(b"Joule block signature v1");
        bytes[64..].copy_from_slice(&Native::keccak256(b"items").0);
        assert_eq!(hash, Native::keccak256(&bytes));
        assert_ne!(hash, block_signing_hash(&Hash([1; 32]), b"items"));
        assert_ne!(hash, block_signing_hash(&Hash::ZERO, b"other items"));
    }
}
