//! Every limit of the protocol, with its arithmetic. The book's table of limits is checked against this file.

use crate::{
    Amount, CallKind,
    gas::{CHUNK_FIXED_BYTES, calls_bytes_max, gas_of},
};

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

/// Gas in a block: 120 plain transfers. Gas is proportional to proving cost, so this is what makes the worst mix of a block fit one segment: at 0.27 cycles for a unit of
/// gas, 680,000 of the largest shape's 2^20 cycles.
pub const BLOCK_GAS_MAX: u64 = 120 * gas_of(CallKind::Transfer);

/// Bytes of the transactions and priority requests of a block. Gas does not count bytes, and a rejected call may be all calldata, so this bounds what the kernel copies
/// and hashes for it. A block full of useful calls has fewer: of `postJob`, which has the most for its gas, 76 with 380 bytes each, 29,000.
pub const BLOCK_BYTES_MAX: usize = 32 << 10;

/// Signatures recovered in a block, by `signatures_of` its calls. The largest shape's curve table has room for 115, of 566 rows each in 2^16; transfers, of which gas lets 120
/// through, are the only calls that reach it.
pub const BLOCK_SIGNATURES_MAX: usize = 115;

/// Transactions and priority requests in a block: each counts for a signature at least, so there are never more.
pub const BLOCK_TRANSACTIONS_MAX: usize = BLOCK_SIGNATURES_MAX;

/// Priority requests in a block.
pub const BLOCK_PRIORITY_MAX: usize = 64;

/// Withdrawals in a block. Gas lets no more through: forced ones take a transfer's gas and are priority requests, the others take a withdrawal's.
pub const BLOCK_WITHDRAWALS_MAX: usize = BLOCK_PRIORITY_MAX
    + ((BLOCK_GAS_MAX - BLOCK_PRIORITY_MAX as u64 * gas_of(CallKind::Transfer)) / gas_of(CallKind::Withdraw)) as usize;

/// Objects a block touches: each request or transaction reaches at most five (sender, device, job or channel, and two
/// accounts that are credited), and the block itself the chain object and the fee recipient; each may bring one predecessor for a
/// proof of absence.
pub const BLOCK_OBJECTS_MAX: usize = 2 * (5 * BLOCK_TRANSACTIONS_MAX + 2);

/// Bytes of one block's batch data: what every chunk has (`CHUNK_FIXED_BYTES`), and as much as gas lets calls add. A call's share is
/// `chunk_bytes_of` its kind; the one with the most bytes for its gas, `releaseJob`, alone fills a block's data. So a block that is within its gas is within this,
/// and nothing has to count bytes while a block is built.
pub const CHUNK_BYTES_MAX: usize = CHUNK_FIXED_BYTES + calls_bytes_max() as usize;

/// Bytes of an L1 transaction that Ethereum's nodes still pass on: 128 KiB. It binds before gas does: at EIP-7623's floor of 40 for a
/// byte that is not zero, EIP-7825's 16,777,216 gas carry 418,905 bytes.
pub const L1_TRANSACTION_BYTES_MAX: usize = 128 << 10;

/// Gas of an L1 transaction (EIP-7825).
pub const L1_TRANSACTION_GAS_MAX: u64 = 1 << 24;

/// Bytes of chunks, their four-byte lengths included, in one `postData` transaction: 1,072 less than the transaction may have, for the envelope (below
/// 300), selector and four words of arguments (132), and the last word's padding. Every chunk fits one such transaction.
pub const POST_DATA_BYTES_MAX: usize = L1_TRANSACTION_BYTES_MAX - 1_072;

/// Withdrawals in a batch. The L1 transaction that executes a batch lists them all, three words each, and has 4,096 bytes for everything else of a
/// one-transaction settlement (envelope, header, certificate, proof): (131,072 − 4,096) / 96 = 1,322, less a margin. Their gas is far from the cap: 1,280 · 40 · 96 by EIP-7623 even
/// if no byte were zero. Who seals a batch closes it before it holds more, and the committee signs no batch that does; a batch that has more all the same can be proven and
/// not executed, and L1 lets anyone revert it.
pub const BATCH_WITHDRAWALS_MAX: usize = 1_280;

const _: () = {
    assert!(CHUNK_BYTES_MAX + 4 <= POST_DATA_BYTES_MAX, "a chunk fits one L1 transaction");
    assert!(21_000 + 40 * L1_TRANSACTION_BYTES_MAX as u64 <= L1_TRANSACTION_GAS_MAX, "bytes bind before gas does");
    assert!(
        96 * BATCH_WITHDRAWALS_MAX + 4_096 <= L1_TRANSACTION_BYTES_MAX,
        "a batch's withdrawals fit one L1 transaction"
    );
    assert!(BLOCK_WITHDRAWALS_MAX <= BATCH_WITHDRAWALS_MAX, "a block's withdrawals fit a batch");
    assert!(BLOCK_PRIORITY_MAX <= BLOCK_TRANSACTIONS_MAX, "a block has room for its requests");
};

/// Blocks in one segment.
pub const SEGMENT_BLOCKS_MAX: usize = 1_024;

/// Chain ids are below this: wallets in a browser hold integers up to it exactly.
pub const CHAIN_ID_MAX: u64 = 1 << 53;

/// A job's deadline lies at most this far ahead of the block that posts it: one year.
pub const JOB_DEADLINE_SECONDS_MAX: u64 = 366 * 24 * 3_600;

/// The longest grace and channel-close delays a genesis may name: one year.
pub const DELAY_SECONDS_MAX: u64 = 366 * 24 * 3_600;
