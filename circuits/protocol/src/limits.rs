//! Every limit of the protocol, with its arithmetic. The book's table of limits is checked against this file.

use crate::Amount;

/// Amounts are below this: with at most 2^7 of them in any one sum the kernel forms, no sum leaves a `u128`. L1 bounds
/// the sum of all deposits by it, so no balance can reach it either.
pub const AMOUNT_MAX: Amount = 1 << 120;

/// Depth of the state tree: 2^32 objects.
pub const TREE_DEPTH: usize = 32;

/// Leaves the tree holds at most.
pub const LEAVES_MAX: u64 = 1 << TREE_DEPTH;

/// Bytes of a signed transaction. The longest useful one, `settleJob`, has 612 bytes of calldata and about 130 around it.
pub const TRANSACTION_BYTES_MAX: usize = 1_536;

/// Bytes of calldata in a forced call: `settleJob`'s 612, and room for a longer call of a later kernel.
pub const PRIORITY_DATA_BYTES_MAX: usize = 1_024;

/// Transactions in a block.
pub const BLOCK_TRANSACTIONS_MAX: usize = 512;

/// Priority requests in a block.
pub const BLOCK_PRIORITY_MAX: usize = 64;

/// Gas in a block: 256 plain transfers. Gas is proportional to proving cost, so this is what makes the worst
/// mix of a block fit one segment.
pub const BLOCK_GAS_MAX: u64 = 256 * 21_000;

/// Objects a block touches: each request or transaction reaches at most five (sender, device, job or channel, and two
/// accounts that are credited), and the block itself the chain object and the fee recipient; each may bring one predecessor for a
/// proof of absence.
pub const BLOCK_OBJECTS_MAX: usize = 2 * (5 * (BLOCK_TRANSACTIONS_MAX + BLOCK_PRIORITY_MAX) + 2);

/// Bytes of one block's batch data: a header and root of 76, 56 for each transaction, 4 for each request's outcome, 36 for each withdrawal, and for
/// each write at most 4 + 20 + 8 + 200 (a job).
pub const CHUNK_BYTES_MAX: usize = 76
    + 56 * BLOCK_TRANSACTIONS_MAX
    + 4 * BLOCK_PRIORITY_MAX
    + 36 * (BLOCK_TRANSACTIONS_MAX + BLOCK_PRIORITY_MAX)
    + 232 * (5 * (BLOCK_TRANSACTIONS_MAX + BLOCK_PRIORITY_MAX) + 2);

/// Blocks in one segment.
pub const SEGMENT_BLOCKS_MAX: usize = 1_024;

/// Chain ids are below this, the largest that wallets in a browser hold exactly.
pub const CHAIN_ID_MAX: u64 = 1 << 53;

/// A job's deadline lies at most this far ahead of the block that posts it: one year.
pub const JOB_DEADLINE_SECONDS_MAX: u64 = 366 * 24 * 3_600;

/// Shortest and longest grace and channel-close delays a genesis may name.
pub const DELAY_SECONDS_MAX: u64 = 366 * 24 * 3_600;
