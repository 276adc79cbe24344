//! Which blocks are settled together.

use joule_protocol::limits::BATCH_WITHDRAWALS_MAX;

/// When a batch is closed. The first bound that is reached closes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Gas: proportional to what proving costs.
    pub gas_max: u64,
    /// Bytes of batch data: what the fallback to L1 can carry in the transactions it may use.
    pub data_bytes_max: u64,
    /// Blocks.
    pub blocks_max: u64,
    /// Age of the first block, in milliseconds: how long a payment may wait for settlement.
    pub age_ms_max: u64,
}

/// What a block adds to its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockSize {
    /// The block.
    pub number: u64,
    /// Its gas.
    pub gas: u64,
    /// Bytes of its batch data.
    pub data_bytes: u64,
    /// Withdrawals it makes. A batch with more than [`BATCH_WITHDRAWALS_MAX`] could not be executed on L1.
    pub withdrawals: u64,
}

/// Blocks that make a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedBatch {
    /// The first.
    pub first_block: u64,
    /// The last.
    pub last_block: u64,
    /// Bytes of their batch data.
    pub data_bytes: u64,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    blocks: SealedBatch,
    gas: u64,
    withdrawals: u64,
    since_ms: u64,
}

/// The batch that is being filled.
#[derive(Clone, Debug)]
pub struct Batcher {
    limits: BatchLimits,
    open: Option<Open>,
}

impl Batcher {
    /// With nothing in it.
    pub fn new(limits: BatchLimits) -> Self {
        Self { limits, open: None }
    }

    /// Adds a block at `now_ms`. Returns the batch that this closes: the blocks before, if this one does not fit beside them, or all with this one, if a bound is
    /// reached. One block can close two.
    pub fn block(&mut self, block: &BlockSize, now_ms: u64) -> Vec<SealedBatch> {
        let mut sealed = Vec::new();
        let fits = self.open.is_none_or(|open| {
            open.gas + block.gas <= self.limits.gas_max
                && open.blocks.data_bytes + block.data_bytes <= self.limits.data_bytes_max
                && open.withdrawals + block.withdrawals <= BATCH_WITHDRAWALS_MAX as u64
        });
        if !fits {
            sealed.extend(self.seal());
        }
        let number = block.number;
        let open = self.open.get_or_insert(Open {
            blocks: SealedBatch { first_block: number, last_block: number, data_bytes: 0 },
            gas: 0,
            withdrawals: 0,
            since_ms: now_ms,
        });
        open.blocks.last_block = number;
        open.blocks.data_bytes += block.data_bytes;
        open.gas += block.gas;
        open.withdrawals += block.withdrawals;
        let is_full = open.gas >= self.limits.gas_max
            || open.blocks.data_bytes >= self.limits.data_bytes_max
            || open.blocks.last_block - open.blocks.first_block + 1 >= self.limits.blocks_max;
        if is_full {
            sealed.extend(self.seal());
        }
        sealed
    }

    /// Closes the batch if it is old enough.
    pub fn time(&mut self, now_ms: u64) -> Option<SealedBatch> {
        if self.due_ms().is_some_and(|due| due <= now_ms) { self.seal() } else { None }
    }

    /// When the open batch is to be closed for its age.
    pub fn due_ms(&self) -> Option<u64> {
        self.open.map(|open| open.since_ms.saturating_add(self.limits.age_ms_max))
    }

    /// Closes the batch as it is.
    pub fn seal(&mut self) -> Option<SealedBatch> {
        self.open.take().map(|open| open.blocks)
    }

    /// Number of blocks in the open batch.
    pub fn open_blocks(&self) -> u64 {
        self.open.map_or(0, |open| open.blocks.last_block - open.blocks.first_block + 1)
    }
}
