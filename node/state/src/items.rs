//! What goes into a block, and what comes out of executing it.

use joule_kernel::{Abort, BlockExecutor, Event, NotExecuted, Openings, Outcome};
use joule_protocol::{
    Address, Amount, Hash, Hashing, Native, PriorityRequest,
    limits::{BLOCK_PRIORITY_MAX, BLOCK_TRANSACTIONS_MAX, PRIORITY_DATA_BYTES_MAX, TRANSACTION_BYTES_MAX},
};

use crate::{
    Execution, Sealed, Store, TreeOpenings,
    wire::{Reader, WireError, Writer},
};

/// What a block is made of: enough, with the state before it, to execute it again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockItems {
    /// Unix seconds.
    pub timestamp: u64,
    /// Price per unit of gas.
    pub base_fee: u64,
    /// Priority requests, as L1 accumulated them.
    pub requests: Vec<Vec<u8>>,
    /// Signed transactions.
    pub transactions: Vec<Vec<u8>>,
}

/// The first bytes of encoded items.
const FORMAT: [u8; 4] = *b"JI01";

/// Bytes of a request: its fixed part and its calldata.
const REQUEST_BYTES_MAX: usize = PriorityRequest::HEAD_BYTES + PRIORITY_DATA_BYTES_MAX;

impl BlockItems {
    /// Bytes of the longest encoding.
    pub const BYTES_MAX: usize = 4
        + 16
        + 8
        + BLOCK_PRIORITY_MAX * (4 + REQUEST_BYTES_MAX)
        + BLOCK_TRANSACTIONS_MAX * (4 + TRANSACTION_BYTES_MAX);

    /// The encoding: `"JI01" · timestamp u64 · base fee u64 · requests · transactions`, both lists with a 32-bit count and each entry with a
    /// 32-bit length in front.
    pub fn encode(&self) -> Vec<u8> {
        let bytes: usize = self.requests.iter().chain(&self.transactions).map(|item| 4 + item.len()).sum();
        let mut writer = Writer::with_capacity(28 + bytes);
        writer.raw(&FORMAT).u64(self.timestamp).u64(self.base_fee);
        for list in [&self.requests, &self.transactions] {
            writer.length(list.len());
            for item in list {
                writer.bytes(item);
            }
        }
        writer.finish()
    }

    /// The inverse of [`BlockItems::encode`]; refuses what no block can hold. Whether the items execute is for the kernel to say.
    ///
    /// # Errors
    /// [`WireError`] for anything but one encoding within the protocol's limits.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        reader.format(FORMAT)?;
        let (timestamp, base_fee) = (reader.u64("timestamp")?, reader.u64("base fee")?);
        let requests = list(&mut reader, "requests", BLOCK_PRIORITY_MAX, REQUEST_BYTES_MAX)?;
        let transactions = list(&mut reader, "transactions", BLOCK_TRANSACTIONS_MAX, TRANSACTION_BYTES_MAX)?;
        reader.end()?;
        Ok(Self { timestamp, base_fee, requests, transactions })
    }
}

fn list(
    reader: &mut Reader<'_>,
    field: &'static str,
    entries_max: usize,
    bytes_max: usize,
) -> Result<Vec<Vec<u8>>, WireError> {
    let count = reader.length(field, entries_max)?;
    (0..count).map(|_| reader.bytes(field, bytes_max).map(<[u8]>::to_vec)).collect()
}

/// A transaction in a block, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutedTransaction {
    /// keccak-256 of the signed bytes: the hash wallets know it by.
    pub hash: Hash,
    /// What the sender signed.
    pub signing_hash: Hash,
    /// Who signed.
    pub sender: Address,
    /// What came of it.
    pub outcome: Outcome,
    /// Gas it paid for.
    pub gas: u64,
    /// What it paid: gas times the block's base fee.
    pub fee: Amount,
    /// What it tells the world; nothing if it was rejected.
    pub events: Vec<Event>,
}

/// A priority request in a block, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutedRequest {
    /// What came of it.
    pub outcome: Outcome,
    /// What it tells the world; nothing if it was rejected.
    pub events: Vec<Event>,
}

/// A block as it was executed, with everything a node records of it.
#[derive(Debug)]
pub struct ExecutedBlock {
    /// What went in.
    pub items: BlockItems,
    /// What came of the requests.
    pub requests: Vec<ExecutedRequest>,
    /// What came of the transactions.
    pub transactions: Vec<ExecutedTransaction>,
    /// The block, and what it changes.
    pub sealed: Sealed,
}

/// A block that is being filled: requests first, then transactions.
#[derive(Debug)]
pub struct BlockFiller<'a, 'b, O> {
    executor: &'a mut BlockExecutor<'b, O, Native>,
    items: &'a mut BlockItems,
    requests: &'a mut Vec<ExecutedRequest>,
    transactions: &'a mut Vec<ExecutedTransaction>,
}

impl<O: Openings> BlockFiller<'_, '_, O> {
    /// Whether nothing is in the block yet.
    pub fn is_empty(&self) -> bool {
        self.executor.is_empty()
    }

    /// Gas of everything in the block.
    pub fn gas(&self) -> u64 {
        self.executor.gas()
    }

    /// The transactions in the block so far.
    pub fn transactions(&self) -> &[ExecutedTransaction] {
        self.transactions
    }

    /// Consumes the next priority request.
    ///
    /// # Errors
    /// As [`BlockExecutor::request`]: `BlockFull` leaves everything as it was, `Aborted` loses the block.
    pub fn request(&mut self, bytes: &[u8]) -> Result<&ExecutedRequest, NotExecuted> {
        let mut events = Vec::new();
        let outcome = self.executor.request(bytes, &mut events)?;
        self.items.requests.push(bytes.to_vec());
        self.requests.push(ExecutedRequest { outcome, events });
        Ok(self.requests.last().expect("one was added"))
    }

    /// Executes one signed transaction.
    ///
    /// # Errors
    /// As [`BlockExecutor::transaction`]: `Refused` and `BlockFull` leave everything as it was, `Aborted` loses the block.
    pub fn transaction(&mut self, bytes: &[u8]) -> Result<&ExecutedTransaction, NotExecuted> {
        let mut events = Vec::new();
        let executed = self.executor.transaction(bytes, &mut events)?;
        // A plain transfer has an event without a log; what a node records are logs.
        events.retain(|event| *event != Event::Transfer);
        self.items.transactions.push(bytes.to_vec());
        self.transactions.push(ExecutedTransaction {
            hash: Native::keccak256(bytes),
            signing_hash: executed.transaction.signing_hash,
            sender: executed.transaction.sender,
            outcome: executed.outcome,
            gas: executed.gas,
            fee: Amount::from(executed.gas) * Amount::from(self.items.base_fee),
            events,
        });
        Ok(self.transactions.last().expect("one was added"))
    }
}

impl<S: Store> Execution<S> {
    /// Builds one block: `fill` gives it its requests and transactions, one by one, and sees what comes of each. Nothing changes until the
    /// block is [taken](Execution::take).
    ///
    /// # Errors
    /// What `fill` returns, and whatever aborts the block.
    pub fn build<E: From<Abort>>(
        &self,
        timestamp: u64,
        base_fee: u64,
        fill: impl FnOnce(&mut BlockFiller<'_, '_, TreeOpenings<'_, S>>) -> Result<(), E>,
    ) -> Result<ExecutedBlock, E> {
        let mut items = BlockItems { timestamp, base_fee, ..BlockItems::default() };
        let (mut requests, mut transactions) = (Vec::new(), Vec::new());
        let sealed = self.block(timestamp, base_fee, |executor| {
            fill(&mut BlockFiller {
                executor,
                items: &mut items,
                requests: &mut requests,
                transactions: &mut transactions,
            })
        })?;
        Ok(ExecutedBlock { items, requests, transactions, sealed })
    }

    /// Executes a block that somebody else built. Nothing changes until the block is [taken](Execution::take): compare first what it leads to
    /// with what was promised.
    ///
    /// # Errors
    /// The [`Abort`] for which the block has no proof: a transaction that must be refused, a limit exceeded, time running backwards.
    pub fn replay(&self, items: &BlockItems) -> Result<ExecutedBlock, Abort> {
        self.build(items.timestamp, items.base_fee, |block| {
            for request in &items.requests {
                block.request(request)?;
            }
            for transaction in &items.transactions {
                block.transaction(transaction)?;
            }
            Ok(())
        })
    }
}
