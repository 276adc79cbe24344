//! One block: requests, then transactions, then a new root.

use alloc::vec::Vec;
use core::{cell::Cell, marker::PhantomData};

use joule_protocol::{
    Amount, BlockHeader, CallKind, Chain, Checkpoint, ChunkTransaction, ChunkWriter, Domain, Envelope, FinishedChunk,
    GAS_TABLE_VERSION, Hash, Key, Message, Object, Rejection, Signature, SystemContract, gas_of,
    limits::{
        AMOUNT_MAX, BLOCK_BYTES_MAX, BLOCK_GAS_MAX, BLOCK_PRIORITY_MAX, BLOCK_SIGNATURES_MAX, BLOCK_TRANSACTIONS_MAX,
        LEAVES_MAX,
    },
    signatures_of, withdrawal_leaf,
};

use crate::{Abort, Crypto, Event, NotExecuted, Openings, Sink, Slot, openings::credit, plan::Plan};

/// What an action sees of the block it is in.
#[derive(Debug)]
pub struct Environment {
    /// The chain id that signatures must name.
    pub chain_id: u64,
    /// The block's time, unix seconds.
    pub timestamp: u64,
    /// Price per unit of gas.
    pub base_fee: u64,
    /// The chain object as of the block's start.
    pub chain: Chain,
    domains: [Cell<Option<Domain>>; 3],
}

impl Environment {
    fn domain<C: Crypto>(&self, contract: SystemContract) -> Domain {
        let cell = &self.domains[contract as usize];
        cell.get().unwrap_or_else(|| {
            let domain = Domain::new::<C>(self.chain_id, contract, &self.chain.genesis_id);
            cell.set(Some(domain));
            domain
        })
    }

    pub(crate) fn jobs_domain<C: Crypto>(&self) -> Domain {
        self.domain::<C>(SystemContract::Jobs)
    }

    pub(crate) fn devices_domain<C: Crypto>(&self) -> Domain {
        self.domain::<C>(SystemContract::Devices)
    }

    pub(crate) fn channels_domain<C: Crypto>(&self) -> Domain {
        self.domain::<C>(SystemContract::Channels)
    }
}

/// What came of a transaction or request that is in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did what it says.
    Applied,
    /// It did nothing, for this reason.
    Rejected(Rejection),
}

impl Outcome {
    /// As the batch data carries it: 0, or the rejection's code.
    pub fn code(&self) -> u32 {
        match self {
            Self::Applied => 0,
            Self::Rejected(rejection) => rejection.code(),
        }
    }
}

/// An executed transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Executed {
    /// What the batch data says of it.
    pub transaction: ChunkTransaction,
    /// What came of it.
    pub outcome: Outcome,
    /// Gas it paid for.
    pub gas: u64,
}

/// A finished block.
#[derive(Debug)]
pub struct SealedBlock {
    /// Its header.
    pub header: BlockHeader,
    /// Where the chain is after it.
    pub checkpoint: Checkpoint,
    /// Its batch data.
    pub chunk: FinishedChunk,
    /// Withdrawals it makes, in order of their indices.
    pub messages: Vec<Message>,
}

/// Executes one block on `state`. The order is fixed: all requests, then all transactions, then [`BlockExecutor::seal`].
#[derive(Debug)]
pub struct BlockExecutor<'a, O, C> {
    pub(crate) state: &'a mut O,
    pub(crate) environment: Environment,
    parent: Checkpoint,
    chain_slot: Slot,
    chunk: ChunkWriter,
    outcomes: Vec<u32>,
    messages: Vec<Message>,
    request_count: usize,
    transaction_count: usize,
    /// Bytes of requests and transactions so far.
    bytes: usize,
    /// Signatures that count for them.
    signatures: usize,
    gas: u64,
    fees: Amount,
    deposited: Amount,
    priority: joule_protocol::Accumulator,
    crypto: PhantomData<C>,
}

impl<'a, O: Openings, C: Crypto> BlockExecutor<'a, O, C> {
    /// Begins the block after `parent`.
    ///
    /// # Errors
    /// `TimeRunsBackwards`, `BaseFeeOverCap`, `NoChainObject`, and what opening the chain object gives.
    pub fn begin(
        state: &'a mut O,
        chain_id: u64,
        parent: &Checkpoint,
        timestamp: u64,
        base_fee: u64,
        chunk_capacity_bytes: usize,
    ) -> Result<Self, Abort> {
        if timestamp < parent.timestamp {
            return Err(Abort::TimeRunsBackwards { got: timestamp, earliest: parent.timestamp });
        }
        let chain_slot = state.open(&Key::CHAIN)?;
        let chain = match state.object(chain_slot) {
            Some(Object::Chain(chain)) if chain.gas_table_version == GAS_TABLE_VERSION => *chain,
            _ => return Err(Abort::NoChainObject),
        };
        if base_fee > chain.base_fee_max {
            return Err(Abort::BaseFeeOverCap { got: base_fee, maximum: chain.base_fee_max });
        }
        let number = parent.block_number + 1;
        Ok(Self {
            state,
            environment: Environment { chain_id, timestamp, base_fee, chain, domains: Default::default() },
            parent: *parent,
            chain_slot,
            chunk: ChunkWriter::new(number, timestamp, base_fee, chunk_capacity_bytes),
            outcomes: Vec::new(),
            messages: Vec::new(),
            request_count: 0,
            transaction_count: 0,
            bytes: 0,
            signatures: 0,
            gas: 0,
            fees: 0,
            deposited: 0,
            priority: parent.priority_acc,
            crypto: PhantomData,
        })
    }

    /// What actions in this block see.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Gas of everything executed so far.
    pub fn gas(&self) -> u64 {
        self.gas
    }

    /// Whether nothing has been executed yet. Such a block cannot be sealed.
    pub fn is_empty(&self) -> bool {
        self.request_count + self.transaction_count == 0
    }

    /// The state the block executes on.
    pub fn state(&self) -> &O {
        self.state
    }

    /// Executes one signed transaction, as bytes from a wallet.
    ///
    /// # Errors
    /// `Refused` and `BlockFull` leave everything as it was; `Aborted` loses the block.
    pub fn transaction(&mut self, bytes: &[u8], sink: &mut impl Sink) -> Result<Executed, NotExecuted> {
        if bytes.len() > self.room_bytes()? {
            return Err(NotExecuted::BlockFull);
        }
        let mut result = None;
        crate::transaction::execute::<C>(
            self,
            || Ok(Envelope::decode(bytes)?),
            sink,
            |executed| {
                result = Some(executed);
            },
        )?;
        Ok(result.expect("whatever is executed is told"))
    }

    /// Executes one signed transaction that comes as what was signed and the signature: what [`BlockExecutor::transaction`] does with
    /// the bytes that a wallet sends for it.
    pub(crate) fn signed_transaction(
        &mut self,
        preimage: &[u8],
        signature: &Signature,
        sink: &mut impl Sink,
    ) -> Result<(), NotExecuted> {
        let room_bytes = self.room_bytes()?;
        let envelope = || {
            let envelope = Envelope::decode_signed(preimage, signature)?;
            if envelope.bytes_length() > room_bytes { Err(NotExecuted::BlockFull) } else { Ok(envelope) }
        };
        crate::transaction::execute::<C>(self, envelope, sink, |_| ())
    }

    /// Bytes that the next transaction may have.
    fn room_bytes(&self) -> Result<usize, NotExecuted> {
        if self.transaction_count == BLOCK_TRANSACTIONS_MAX {
            return Err(NotExecuted::BlockFull);
        }
        // Never less than nothing: what had no room was not taken in.
        Ok(BLOCK_BYTES_MAX - self.bytes)
    }

    /// Counts and writes an executed transaction of as many bytes.
    #[inline(always)]
    pub(crate) fn take_in(&mut self, transaction: &ChunkTransaction, outcome: &Outcome, bytes: usize) {
        self.transaction_count += 1;
        self.bytes += bytes;
        self.chunk.transaction(transaction);
        self.outcomes.push(outcome.code());
    }

    /// Consumes one priority request, given as the bytes L1 accumulated. It always has an outcome.
    ///
    /// # Errors
    /// `BlockFull`, and `Aborted` for bytes that L1 cannot have admitted.
    pub fn request(&mut self, bytes: &[u8], sink: &mut impl Sink) -> Result<Outcome, NotExecuted> {
        if self.request_count == BLOCK_PRIORITY_MAX || self.bytes + bytes.len() > BLOCK_BYTES_MAX {
            return Err(NotExecuted::BlockFull);
        }
        if self.transaction_count != 0 {
            return Err(Abort::RequestAfterTransaction.into());
        }
        let outcome = crate::priority::execute::<C>(self, bytes, sink)?;
        self.request_count += 1;
        self.bytes += bytes.len();
        self.priority.absorb::<C>(bytes);
        self.outcomes.push(outcome.code());
        Ok(outcome)
    }

    /// The gas of a call of `kind`, if the block has room for it.
    pub(crate) fn room_for(&self, kind: CallKind) -> Result<u64, NotExecuted> {
        let gas = gas_of(kind);
        let is_full = self.gas + gas > BLOCK_GAS_MAX || self.signatures + signatures_of(kind) > BLOCK_SIGNATURES_MAX;
        if is_full { Err(NotExecuted::BlockFull) } else { Ok(gas) }
    }

    /// Takes the room of a call of `kind`.
    pub(crate) fn charge(&mut self, kind: CallKind, gas: u64, fee: Amount) {
        self.gas += gas;
        self.signatures += signatures_of(kind);
        self.fees += fee;
    }

    pub(crate) fn deposit(&mut self, amount: Amount) -> Result<(), Abort> {
        self.deposited = self
            .deposited
            .checked_add(amount)
            .filter(|&sum| sum < AMOUNT_MAX)
            .ok_or(Abort::MoneyOverflow { what: "deposits of a block" })?;
        Ok(())
    }

    /// The index that the next withdrawal gets.
    pub(crate) fn message_index(&self) -> u64 {
        self.environment.chain.withdrawal_count + self.messages.len() as u64
    }

    /// Carries a plan out.
    pub(crate) fn apply(&mut self, plan: &Plan, sink: &mut impl Sink) -> Result<(), Abort> {
        plan.apply(self.state)?;
        self.messages.extend(plan.message);
        sink.event(&plan.event);
        Ok(())
    }

    pub(crate) fn emit(&self, event: &Event, sink: &mut impl Sink) {
        sink.event(event);
    }

    /// Ends the block: pays the fees, writes the objects, and leads to the new checkpoint.
    ///
    /// # Errors
    /// `EmptyBlock`, `MoneyOverflow`, `TreeFull`, and what closing the state gives.
    pub fn seal(mut self) -> Result<SealedBlock, Abort> {
        if self.is_empty() {
            return Err(Abort::EmptyBlock);
        }
        credit(self.state, &self.environment.chain.fee_recipient, self.fees)?;
        let leaf_count = self.environment.chain.leaf_count;
        self.state.replace(self.chain_slot, Object::Chain(self.final_chain()?));

        let transactions_root = self.chunk.end_section::<C>();
        for &outcome in &self.outcomes {
            self.chunk.outcome(outcome);
        }
        let receipts_root = self.chunk.end_section::<C>();
        let mut message_acc = self.parent.message_acc;
        for (index, message) in (self.environment.chain.withdrawal_count..).zip(&self.messages) {
            self.chunk.message(message);
            message_acc.absorb::<C>(&withdrawal_leaf::<C>(index, &message.recipient, message.amount).0);
        }
        let closed = self.state.close(leaf_count, &mut self.chunk)?;
        let mut data_acc = self.parent.data_acc;
        let chunk = self
            .chunk
            .finish(
                self.request_count as u32,
                self.transaction_count as u32,
                self.messages.len() as u32,
                closed.writes,
                &closed.state_root,
            )
            .absorb_into::<C>(&mut data_acc);
        let header = BlockHeader {
            parent: self.parent.block_hash,
            number: self.parent.block_number + 1,
            timestamp: self.environment.timestamp,
            base_fee: self.environment.base_fee,
            transactions_root,
            receipts_root,
            state_root: closed.state_root,
        };
        let checkpoint = Checkpoint {
            protocol_version: self.parent.protocol_version,
            state_root: closed.state_root,
            block_number: header.number,
            block_hash: header.hash::<C>(),
            timestamp: header.timestamp,
            priority_count: self.parent.priority_count + self.request_count as u64,
            priority_acc: self.priority,
            message_acc,
            data_acc,
        };
        Ok(SealedBlock { header, checkpoint, chunk, messages: self.messages })
    }

    /// The chain object after the block.
    fn final_chain(&self) -> Result<Chain, Abort> {
        let mut chain = self.environment.chain;
        let withdrawn: Amount = self.messages.iter().map(|message| message.amount).sum();
        let total = |sum: Amount, what| if sum < AMOUNT_MAX { Ok(sum) } else { Err(Abort::MoneyOverflow { what }) };
        chain.deposited = total(chain.deposited + self.deposited, "all deposits")?;
        chain.withdrawn = total(chain.withdrawn + withdrawn, "all withdrawals")?;
        chain.withdrawal_count += self.messages.len() as u64;
        chain.leaf_count += self.state.inserted();
        if chain.leaf_count > LEAVES_MAX { Err(Abort::TreeFull) } else { Ok(chain) }
    }

    /// The hash of the block before.
    pub fn parent_hash(&self) -> &Hash {
        &self.parent.block_hash
    }
}
