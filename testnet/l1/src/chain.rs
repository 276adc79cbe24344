//! The chain: blocks, pool, clock, and everything that changes them.
//!
//! Synchronous and deterministic: the time is an argument, nothing is random, and the same calls give the same
//! chain. Reading is in [`query`](crate::query), simulating in [`simulate`](crate::simulate).

use crate::{
    block::Block,
    clock::ChainClock,
    config::{ChainConfig, Mining},
    error::{ChainError, TransactionError},
    evm::{AccountChange, Changes},
    filters::{ChainEvent, Filters},
    pool::Pool,
    produce::Contents,
    state::{State, Version},
    transaction::SignedTransaction,
};
use alloy::primitives::{Address, B256, KECCAK256_EMPTY, U256};
use revm::bytecode::Bytecode;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// What becomes of the transactions in blocks that a reorg takes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Orphans {
    /// Back to the pool, from where the next block may take them.
    Return,
    /// Gone, as if never sent.
    Drop,
}

/// A point to which `evm_revert` returns.
#[derive(Debug)]
struct Snapshot {
    height: usize,
    version: Version,
    pool: Pool,
}

/// An Ethereum chain in memory.
#[derive(Debug)]
pub struct Chain {
    pub(crate) config: ChainConfig,
    pub(crate) state: State,
    /// The canonical chain, by number.
    pub(crate) blocks: Vec<Arc<Block>>,
    /// The version of the state after each block. It moves with [`Chain::set_balance`], which the header's root
    /// then does not know of.
    pub(crate) versions: Vec<Version>,
    pub(crate) numbers: HashMap<B256, u64>,
    /// Block number and index of each transaction on the canonical chain.
    pub(crate) positions: HashMap<B256, (u64, usize)>,
    pub(crate) pool: Pool,
    pub(crate) clock: ChainClock,
    /// How often blocks have been taken away. It enters the header's randomness, so that a block made again after a
    /// reorg differs even if nothing else does.
    pub(crate) forks: u64,
    pub(crate) base_fee_promised: Option<u64>,
    pub(crate) filters: Filters,
    snapshots: BTreeMap<u64, Snapshot>,
    snapshots_made: u64,
}

impl Chain {
    /// Makes the genesis block. `now_s` is the time of the outside world, in seconds.
    ///
    /// # Errors
    /// A configuration that contradicts itself.
    pub fn new(config: ChainConfig, now_s: u64) -> Result<Self, ChainError> {
        config.check()?;
        let mut changes = Changes::default();
        for account in &config.accounts {
            let code = Bytecode::new_raw_checked(account.code.clone())
                .map_err(|_| ChainError::Configuration("an account's code is not valid bytecode"))?;
            let code_hash = if account.code.is_empty() { KECCAK256_EMPTY } else { code.hash_slow() };
            // A contract's first nonce is 1 (EIP-161), so that it is not empty and can create.
            let nonce = u64::from(!account.code.is_empty());
            changes.code.insert(code_hash, code);
            changes
                .accounts
                .insert(account.address, Some(AccountChange { nonce, balance: account.balance, code_hash }));
        }
        let mut state = State::new();
        let version = state.apply(changes);
        let timestamp_s = config.genesis_timestamp_s.unwrap_or(now_s);
        let mut header = crate::produce::header_template(&config);
        header.timestamp = timestamp_s;
        header.base_fee_per_gas = Some(config.base_fee_initial);
        header.state_root = state.root();
        let genesis = Arc::new(crate::produce::seal(header, Vec::new()));
        Ok(Self {
            clock: ChainClock::starting(now_s, timestamp_s),
            filters: Filters::new(&config.limits),
            config,
            state,
            versions: vec![version],
            numbers: HashMap::from([(genesis.hash(), 0)]),
            blocks: vec![genesis],
            positions: HashMap::new(),
            pool: Pool::default(),
            forks: 0,
            base_fee_promised: None,
            snapshots: BTreeMap::new(),
            snapshots_made: 0,
        })
    }

    /// Takes a signed transaction into the pool, and into a block at once if mining is automatic and it can run.
    ///
    /// # Errors
    /// Why the transaction is refused; it has then left no trace.
    pub fn submit(&mut self, bytes: &[u8], now_s: u64) -> Result<B256, SubmitError> {
        let transaction = SignedTransaction::decode(bytes, self.config.limits.transaction_bytes_max)?;
        let hash = transaction.hash();
        self.admit(Arc::new(transaction))?;
        self.filters.record(ChainEvent::Submitted(hash));
        if self.config.mining == Mining::Automatic && self.has_ready() {
            self.mine(now_s)?;
        }
        Ok(hash)
    }

    fn admit(&mut self, transaction: Arc<SignedTransaction>) -> Result<(), TransactionError> {
        if self.positions.contains_key(&transaction.hash()) {
            return Err(TransactionError::AlreadyKnown);
        }
        transaction.check(&self.config)?;
        let sender = transaction.sender();
        let account = self.state.account(sender, self.state.version()).unwrap_or_default();
        // EIP-3607 speaks of contracts; an account that delegates by EIP-7702 may still send.
        let code = self.state.code(account.code_hash);
        if code.is_some_and(|code| !code.is_empty() && !code.is_eip7702()) {
            return Err(TransactionError::SenderIsContract { sender });
        }
        if transaction.nonce() < account.nonce {
            return Err(TransactionError::NonceTooLow { expected: account.nonce, got: transaction.nonce() });
        }
        let cost = transaction.cost_max()?;
        if cost > account.balance {
            return Err(TransactionError::InsufficientFunds { balance: account.balance, cost });
        }
        self.pool.insert(transaction, &self.config.limits)
    }

    fn has_ready(&self) -> bool {
        self.ready(self.next_base_fee()).pop().is_some()
    }

    /// Makes a block from the pool, empty if nothing can run.
    ///
    /// # Errors
    /// Only a broken invariant.
    pub fn mine(&mut self, now_s: u64) -> Result<Arc<Block>, ChainError> {
        let draft = self.draft(now_s, Contents::Pool)?;
        for (hash, reason) in &draft.refused {
            tracing::debug!(%hash, %reason, "dropped from the pool");
            self.pool.remove(*hash);
        }
        Ok(self.append(draft, now_s))
    }

    /// Makes a block of exactly these transactions, in this order.
    ///
    /// # Errors
    /// One of them is not valid where it stands; no block is made then.
    pub fn mine_exactly(
        &mut self,
        transactions: Vec<Arc<SignedTransaction>>,
        now_s: u64,
    ) -> Result<Arc<Block>, ChainError> {
        let draft = self.draft(now_s, Contents::Exactly(transactions))?;
        if let Some((hash, reason)) = draft.refused.first() {
            return Err(ChainError::ReplacementBlock { hash: *hash, reason: reason.to_string() });
        }
        Ok(self.append(draft, now_s))
    }

    fn append(&mut self, draft: crate::produce::Draft, now_s: u64) -> Arc<Block> {
        let version = self.state.apply(draft.changes);
        let mut header = draft.header;
        header.state_root = self.state.root();
        self.clock.block_made(now_s, header.timestamp);
        self.base_fee_promised = None;
        let block = Arc::new(crate::produce::seal(header, draft.included));

        self.numbers.insert(block.hash(), block.number());
        for (index, included) in block.included.iter().enumerate() {
            self.positions.insert(included.transaction.hash(), (block.number(), index));
        }
        self.blocks.push(block.clone());
        self.versions.push(version);
        // An EIP-7702 authorization raises the nonce of accounts that sent nothing, so every pooled sender is asked.
        let senders: Vec<_> = self.pool.senders().collect();
        for sender in senders {
            self.pool.advance(sender, self.next_nonce(sender));
        }
        self.filters.record(ChainEvent::Added(block.clone()));
        tracing::debug!(number = block.number(), transactions = block.included.len(), "block made");
        block
    }

    pub(crate) fn next_nonce(&self, address: Address) -> u64 {
        self.state.account(address, self.state.version()).map_or(0, |account| account.nonce)
    }

    /// Takes the latest `depth` blocks away, newest first, and returns them in that order.
    ///
    /// # Errors
    /// A depth that reaches genesis or exceeds the configured limit.
    pub fn reorg(&mut self, depth: u64, orphans: Orphans) -> Result<Vec<Arc<Block>>, ChainError> {
        let depth_max = self.config.limits.reorg_depth_max.min(self.latest().number());
        if depth > depth_max {
            return Err(ChainError::ReorgTooDeep { depth_max, got: depth });
        }
        let kept = self.blocks.len() - usize::try_from(depth).unwrap_or(usize::MAX).min(self.blocks.len() - 1);
        let removed = self.cut(kept, self.versions[kept - 1]);
        if orphans == Orphans::Return {
            // Oldest first, so that a sender's nonces arrive in order.
            for included in removed.iter().rev().flat_map(|block| &block.included) {
                if let Err(reason) = self.admit(included.transaction.clone()) {
                    tracing::debug!(hash = %included.transaction.hash(), %reason, "not returned to the pool");
                }
            }
        }
        Ok(removed)
    }

    /// Keeps the first `kept` blocks and the state up to `version`.
    fn cut(&mut self, kept: usize, version: Version) -> Vec<Arc<Block>> {
        let mut removed = self.blocks.split_off(kept);
        removed.reverse();
        self.versions.truncate(kept);
        if let Some(last) = self.versions.last_mut() {
            *last = version;
        }
        self.state.rollback(version);
        self.snapshots.retain(|_, snapshot| snapshot.version <= version);
        if !removed.is_empty() {
            self.forks += 1;
        }
        for block in &removed {
            self.numbers.remove(&block.hash());
            for included in &block.included {
                self.positions.remove(&included.transaction.hash());
            }
            self.filters.record(ChainEvent::Removed(block.clone()));
        }
        removed
    }

    /// Remembers the present for [`Chain::revert`]. Beyond the configured number the oldest snapshot is forgotten.
    pub fn snapshot(&mut self) -> u64 {
        self.snapshots_made += 1;
        let snapshot = Snapshot { height: self.blocks.len(), version: self.state.version(), pool: self.pool.clone() };
        self.snapshots.insert(self.snapshots_made, snapshot);
        while self.snapshots.len() > self.config.limits.snapshots_max {
            self.snapshots.pop_first();
        }
        self.snapshots_made
    }

    /// Returns to a snapshot, and forgets it and all later ones. `false` if it is unknown, or if a reorg has taken
    /// away the block it stands on.
    pub fn revert(&mut self, id: u64, now_s: u64) -> bool {
        let mut later = self.snapshots.split_off(&id);
        let Some(snapshot) = later.remove(&id) else {
            self.snapshots.append(&mut later);
            return false;
        };
        self.cut(snapshot.height, snapshot.version);
        self.pool = snapshot.pool;
        self.base_fee_promised = None;
        self.clock = ChainClock::starting(now_s, self.latest().timestamp_s());
        true
    }

    /// Sets the next block's timestamp, in seconds; later blocks continue from there.
    ///
    /// # Errors
    /// A timestamp that is not after the latest block's.
    pub fn set_next_timestamp(&mut self, timestamp_s: u64) -> Result<(), ChainError> {
        let parent_s = self.latest().timestamp_s();
        self.clock.promise(timestamp_s, parent_s)
    }

    /// Moves chain time forward. Returns its whole offset from the outside world's, in seconds.
    ///
    /// # Errors
    /// Chain time would overflow.
    pub fn increase_time(&mut self, by_s: u64, now_s: u64) -> Result<i128, ChainError> {
        self.clock.advance(by_s, now_s)
    }

    /// Sets the base fee of the next block alone, in wei per gas; later ones follow EIP-1559 from there.
    pub fn set_next_base_fee(&mut self, base_fee: u64) {
        self.base_fee_promised = Some(base_fee);
    }

    /// Changes an account's balance by decree. The latest block's state root does not know of it; the next one's does.
    pub fn set_balance(&mut self, address: Address, balance: U256) {
        let account = self.state.account(address, self.state.version()).unwrap_or_default();
        let account = AccountChange { nonce: account.nonce, balance, code_hash: account.code_hash };
        let empty = balance.is_zero() && account.nonce == 0 && account.code_hash == KECCAK256_EMPTY;
        let changes =
            Changes { accounts: BTreeMap::from([(address, (!empty).then_some(account))]), ..Changes::default() };
        let version = self.state.apply(changes);
        if let Some(last) = self.versions.last_mut() {
            *last = version;
        }
    }

    /// When blocks are made.
    #[must_use]
    pub fn mining(&self) -> Mining {
        self.config.mining
    }

    /// Changes when blocks are made.
    ///
    /// # Errors
    /// An interval of zero seconds.
    pub fn set_mining(&mut self, mining: Mining) -> Result<(), ChainError> {
        if mining == (Mining::Interval { seconds: 0 }) {
            return Err(ChainError::Configuration("the mining interval must be at least one second"));
        }
        self.config.mining = mining;
        Ok(())
    }

    /// Takes a transaction out of the pool. `false` if it is not there.
    pub fn drop_transaction(&mut self, hash: B256) -> bool {
        self.pool.remove(hash).is_some()
    }

    /// The configuration, with the mining mode as it is now.
    #[must_use]
    pub fn config(&self) -> &ChainConfig {
        &self.config
    }

    /// The latest block.
    #[must_use]
    pub fn latest(&self) -> &Arc<Block> {
        // Genesis is never removed: `reorg` refuses to, and a snapshot holds at least it.
        &self.blocks[self.blocks.len() - 1]
    }
}

/// Why a submission failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The transaction was refused.
    #[error(transparent)]
    Transaction(#[from] TransactionError),
    /// The chain itself failed.
    #[error(transparent)]
    Chain(#[from] ChainError),
}
