//! When to build a block, what goes into it, and when to close a batch: state and event in, actions out.
//!
//! The core holds no state of the chain and executes nothing. Whoever runs it tells it what happened and when, does what the actions say, and reports back; the same
//! events give the same actions.

use joule_protocol::{
    Account, Address, Hash, Refusal,
    limits::{BLOCK_GAS_MAX, BLOCK_PRIORITY_MAX, BLOCK_TRANSACTIONS_MAX},
};

use crate::{
    Admitted, BatchLimits, Batcher, BlockSize, CheckedTransaction, Dropped, Pool, PoolLimits, PoolRefusal, SealedBatch,
};

/// What an operator chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequencerConfig {
    /// Price per unit of gas; at most the genesis' cap.
    pub base_fee: u64,
    /// Shortest time between two blocks, in milliseconds. A transaction that finds the chain quiet for that long gets a block at once.
    pub block_interval_ms: u64,
    /// Bounds of the mempool.
    pub pool: PoolLimits,
    /// Bounds of a batch.
    pub batch: BatchLimits,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Build a block now, with this many priority requests first: fill it from [`Sequencer::next`], report each transaction with [`Sequencer::executed`] or
    /// [`Sequencer::refused`], and the end with [`Sequencer::block_sealed`] or [`Sequencer::block_empty`].
    BuildBlock {
        /// Requests to consume.
        requests: usize,
    },
    /// Record a batch of these blocks and hand it to settlement.
    SealBatch(SealedBatch),
}

/// The core.
#[derive(Clone, Debug)]
pub struct Sequencer {
    config: SequencerConfig,
    pool: Pool,
    batcher: Batcher,
    /// Requests that L1 has made for good and no block has consumed.
    requests: u64,
    last_block_ms: Option<u64>,
    is_draining: bool,
    passenger: Option<Address>,
}

impl Sequencer {
    /// A core with an empty pool. Feed it the mempool log, the blocks that are in no batch, and the requests that wait.
    pub fn new(config: SequencerConfig) -> Self {
        Self {
            config,
            pool: Pool::new(config.pool),
            batcher: Batcher::new(config.batch),
            requests: 0,
            last_block_ms: None,
            is_draining: false,
            passenger: None,
        }
    }

    /// From now on this sender's transactions ride in batches that others open, and open none: paying provers does not wake an idle chain.
    #[must_use]
    pub fn with_passenger(mut self, passenger: Address) -> Self {
        self.passenger = Some(passenger);
        self
    }

    /// What the operator chose.
    pub fn config(&self) -> &SequencerConfig {
        &self.config
    }

    /// The mempool.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Requests that wait for a block.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// Takes a transaction, given its sender's account as of the head. It may be acknowledged when the mempool log holds it.
    ///
    /// # Errors
    /// [`PoolRefusal`], with nothing changed.
    pub fn submit(&mut self, transaction: CheckedTransaction, account: &Account) -> Result<Admitted, PoolRefusal> {
        self.pool.insert(transaction, account, self.config.base_fee)
    }

    /// Takes back a transaction that the mempool log has.
    ///
    /// # Errors
    /// As [`Pool::restore`], with nothing changed.
    pub fn restore(&mut self, transaction: CheckedTransaction, account: &Account) -> Result<Admitted, PoolRefusal> {
        self.pool.restore(transaction, account)
    }

    /// The mempool log has `arrival`: what comes from now on is later.
    pub fn arrived(&mut self, arrival: u64) {
        self.pool.arrived(arrival);
    }

    /// How many requests wait, counted from the head: L1 has made more, or a reorganisation took some back.
    pub fn requests_waiting(&mut self, requests: u64) {
        self.requests = requests;
    }

    /// From now on build blocks while something waits, without regard to the interval, and close the open batch: the operator is stopping.
    pub fn drain(&mut self) {
        self.is_draining = true;
    }

    /// When [`Sequencer::time`] has something to do next; `None` on an idle chain, which needs no timer.
    pub fn wake_at_ms(&self, now_ms: u64) -> Option<u64> {
        let block = self.has_work().then(|| self.block_due_ms(now_ms));
        let last_batch = (self.is_draining && self.batcher.open_blocks() > 0).then_some(now_ms);
        [block, last_batch, self.batcher.due_ms(), self.pool.next_expiry_ms()].into_iter().flatten().min()
    }

    fn has_work(&self) -> bool {
        let is_ready = match &self.passenger {
            Some(passenger) if self.batcher.open_blocks() == 0 => self.pool.has_ready_besides(passenger),
            _ => self.pool.has_ready(),
        };
        self.requests > 0 || is_ready
    }

    /// Blocks close when something waits and the interval has passed; when there is enough for a full one, at once.
    fn block_due_ms(&self, now_ms: u64) -> u64 {
        let fills_a_block = self.pool.executable() >= BLOCK_TRANSACTIONS_MAX
            || self.pool.executable_gas() >= BLOCK_GAS_MAX
            || self.requests >= BLOCK_PRIORITY_MAX as u64;
        match self.last_block_ms {
            Some(last) if !fills_a_block && !self.is_draining => last.saturating_add(self.config.block_interval_ms),
            _ => now_ms,
        }
    }

    /// What is due at `now_ms`.
    pub fn time(&mut self, now_ms: u64) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.has_work() && self.block_due_ms(now_ms) <= now_ms {
            let requests = self.requests.min(BLOCK_PRIORITY_MAX as u64) as usize;
            actions.push(Action::BuildBlock { requests });
        } else if self.is_draining {
            actions.extend(self.batcher.seal().map(Action::SealBatch));
        }
        actions.extend(self.batcher.time(now_ms).map(Action::SealBatch));
        actions
    }

    /// Transactions that have waited too long for their sender to afford them; to be removed from the mempool log.
    pub fn expire(&mut self, now_ms: u64) -> Vec<Dropped> {
        self.pool.expire(now_ms)
    }

    /// The transaction to try next.
    pub fn next(&self) -> Option<&CheckedTransaction> {
        self.pool.next()
    }

    /// It is in the block.
    pub fn executed(&mut self) {
        self.pool.executed();
    }

    /// The kernel refused it. What is returned is to be removed from the mempool log.
    pub fn refused(&mut self, refusal: Refusal, now_ms: u64) -> Option<Dropped> {
        self.pool.refused(refusal, now_ms)
    }

    /// A block is durable. `touched` are the accounts it changed, with their nonces: what was parked for want of money may go on. Returns actions, and
    /// transactions whose nonce something else has used, which are to be removed from the mempool log.
    pub fn block_sealed(
        &mut self,
        block: &BlockSize,
        requests: usize,
        touched: impl IntoIterator<Item = (Address, u64)>,
        now_ms: u64,
    ) -> (Vec<Action>, Vec<Hash>) {
        self.last_block_ms = Some(now_ms);
        self.requests = self.requests.saturating_sub(requests as u64);
        let used =
            touched.into_iter().flat_map(|(address, nonce)| self.pool.account_changed(&address, nonce)).collect();
        (self.batcher.block(block, now_ms).into_iter().map(Action::SealBatch).collect(), used)
    }

    /// Nothing that waited could go into a block.
    pub fn block_empty(&mut self, now_ms: u64) {
        self.last_block_ms = Some(now_ms);
    }
}
