//! When blocks and batches close.

use joule_protocol::{Account, Address, limits::BLOCK_TRANSACTIONS_MAX};
use joule_sequencer::{
    Action, BatchLimits, Batcher, BlockSize, CheckedTransaction, PoolLimits, SealedBatch, Sequencer, SequencerConfig,
};
use joule_workload::{Key, sign_call};
use proptest::prelude::*;

const CHAIN_ID: u64 = 7_707;

fn batch_limits() -> BatchLimits {
    BatchLimits { gas_max: 1_000, data_bytes_max: 5_000, blocks_max: 6, age_ms_max: 60_000 }
}

fn core() -> Sequencer {
    Sequencer::new(SequencerConfig {
        base_fee: 1,
        block_interval_ms: 100,
        pool: PoolLimits::default(),
        batch: batch_limits(),
    })
}

fn submit(core: &mut Sequencer, sender: u64, nonce: u64) {
    let key = Key::derive("wallet", 1, sender);
    let bytes = sign_call(CHAIN_ID, &key, nonce, 10, &Address([9; 20]), 1, None);
    let transaction = CheckedTransaction::check(&bytes, CHAIN_ID).expect("good");
    core.submit(transaction, &Account { nonce: 0, balance: 1 << 100 }).expect("taken");
}

/// Builds the block an action asks for, with everything that waits.
fn build(core: &mut Sequencer, number: u64, now_ms: u64) -> Vec<Action> {
    let Some(Action::BuildBlock { requests }) = core.time(now_ms).first().copied() else { panic!("a block is due") };
    while core.next().is_some() {
        core.executed();
    }
    core.block_sealed(&BlockSize { number, gas: 10, data_bytes: 100, withdrawals: 0 }, requests, [], now_ms).0
}

#[test]
fn an_idle_chain_has_nothing_to_do() {
    let mut core = core();
    assert_eq!(core.wake_at_ms(0), None);
    assert_eq!(core.time(1 << 40), []);
}

#[test]
fn the_first_transaction_gets_a_block_at_once_and_the_next_waits_for_the_interval() {
    let mut core = core();
    submit(&mut core, 0, 0);
    assert_eq!(core.wake_at_ms(5), Some(5));
    build(&mut core, 1, 5);
    submit(&mut core, 0, 0);
    assert_eq!(core.wake_at_ms(20), Some(105));
    assert_eq!(core.time(104), []);
    assert_eq!(core.time(105), [Action::BuildBlock { requests: 0 }]);
    core.block_empty(105);
}

#[test]
fn a_full_block_and_a_draining_node_do_not_wait() {
    let mut core = core();
    submit(&mut core, 0, 0);
    build(&mut core, 1, 0);
    (1..BLOCK_TRANSACTIONS_MAX as u64).for_each(|count| submit(&mut core, 1, count - 1));
    assert_eq!(core.time(1), []);
    submit(&mut core, 2, 0);
    assert_eq!(core.time(1), [Action::BuildBlock { requests: 0 }]);
    build(&mut core, 2, 1);
    core.requests_waiting(1);
    assert_eq!(core.time(2), []);
    core.drain();
    build(&mut core, 3, 2);
    let batch = SealedBatch { first_block: 1, last_block: 3, data_bytes: 300 };
    assert_eq!(core.wake_at_ms(2), Some(2), "the batch is closed without waiting for its age");
    assert_eq!(core.time(2), [Action::SealBatch(batch)]);
    assert_eq!((core.wake_at_ms(3), core.time(3)), (None, vec![]));
}

#[test]
fn requests_come_first_and_are_counted_down() {
    let mut core = core();
    core.requests_waiting(70);
    assert_eq!(core.time(0), [Action::BuildBlock { requests: 64 }]);
    core.block_sealed(&BlockSize { number: 1, gas: 10, data_bytes: 100, withdrawals: 0 }, 64, [], 0);
    assert_eq!(core.requests(), 6);
    assert_eq!(core.time(99), []);
    assert_eq!(core.time(100), [Action::BuildBlock { requests: 6 }]);
}

#[test]
fn a_batch_closes_by_age() {
    let mut core = core();
    submit(&mut core, 0, 0);
    assert_eq!(build(&mut core, 1, 7), []);
    assert_eq!(core.wake_at_ms(8), Some(60_007));
    assert_eq!(core.time(60_006), []);
    let batch = SealedBatch { first_block: 1, last_block: 1, data_bytes: 100 };
    assert_eq!(core.time(60_007), [Action::SealBatch(batch)]);
    assert_eq!(core.wake_at_ms(60_008), None, "idle again");
}

/// The chain is not woken by its own payouts, and a batch that others opened takes them along.
#[test]
fn a_passenger_rides_and_never_drives() {
    let passenger = Key::derive("wallet", 1, 7).address;
    let mut core = core().with_passenger(passenger);
    submit(&mut core, 7, 0);
    assert_eq!(core.wake_at_ms(5), None, "an idle chain stays idle");
    assert_eq!(core.time(1 << 30), []);
    submit(&mut core, 0, 0);
    assert_eq!(core.wake_at_ms(1 << 30), Some(1 << 30));
    assert_eq!(build(&mut core, 1, 1 << 30), []);
    assert!(core.pool().is_empty(), "both are in the block");
    // The batch is open: one that comes later gets a block of its own in it.
    submit(&mut core, 7, 0);
    assert_eq!(build(&mut core, 2, (1 << 30) + 100), []);
    let sealed = core.time((1 << 30) + 60_000);
    assert_eq!(sealed, [Action::SealBatch(SealedBatch { first_block: 1, last_block: 2, data_bytes: 200 })]);
    // It is closed: the next waits for others again, also while the node drains.
    submit(&mut core, 7, 0);
    core.drain();
    assert_eq!(core.wake_at_ms(1 << 31), None);
    core.requests_waiting(1);
    assert_eq!(core.time(1 << 31), [Action::BuildBlock { requests: 1 }]);
}

#[test]
fn a_batch_closes_before_it_holds_more_withdrawals_than_l1_executes() {
    let limits = BatchLimits { blocks_max: u64::MAX, ..batch_limits() };
    let mut batcher = Batcher::new(limits);
    let block = |number, withdrawals| BlockSize { number, gas: 1, data_bytes: 1, withdrawals };
    assert_eq!(batcher.block(&block(1, 1_000), 0), []);
    assert_eq!(batcher.block(&block(2, 280), 0), []);
    let sealed = SealedBatch { first_block: 1, last_block: 2, data_bytes: 2 };
    assert_eq!(batcher.block(&block(3, 1), 0), [sealed]);
    assert_eq!(batcher.open_blocks(), 1);
}

proptest! {
    #[test]
    fn batches_cover_all_blocks_within_their_bounds(blocks in prop::collection::vec((1u64..600, 1u64..3_000, 0u64..30_000, 0u64..100), 1..60)) {
        let limits = batch_limits();
        let mut batcher = Batcher::new(limits);
        let (mut sealed, mut now_ms) = (Vec::new(), 0);
        for (number, &(gas, data_bytes, pause_ms, withdrawals)) in (1..).zip(&blocks) {
            now_ms += pause_ms;
            sealed.extend(batcher.time(now_ms));
            sealed.extend(batcher.block(&BlockSize { number, gas, data_bytes, withdrawals }, now_ms));
            if let Some(due) = batcher.due_ms() {
                prop_assert!(due <= now_ms + limits.age_ms_max && due + limits.age_ms_max > now_ms);
            }
        }
        sealed.extend(batcher.seal());
        let mut next = 1;
        for batch in sealed {
            prop_assert_eq!(batch.first_block, next);
            next = batch.last_block + 1;
            let of = &blocks[batch.first_block as usize - 1..batch.last_block as usize];
            prop_assert!(!of.is_empty() && of.len() as u64 <= limits.blocks_max);
            prop_assert_eq!(of.iter().map(|block| block.1).sum::<u64>(), batch.data_bytes);
            prop_assert!(of.iter().map(|block| block.0).sum::<u64>() <= limits.gas_max);
            prop_assert!(batch.data_bytes <= limits.data_bytes_max);
        }
        prop_assert_eq!(next, blocks.len() as u64 + 1);
    }
}
