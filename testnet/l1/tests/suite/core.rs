//! The core's own API: determinism, and what holds under any order of operations.

use crate::support::{START_S, address, sign};
use alloy::{
    consensus::{TxEip1559, TxEip2930, TxEip7702},
    eips::{BlockId, eip7702::Authorization},
    primitives::{Address, TxKind, U256},
    rpc::types::{FilterChanges, TransactionRequest},
    signers::SignerSync,
};
use joule_testnet_l1::{
    Chain, ChainConfig, ChainError, ChainLimits, FilterKind, Mining, Orphans, SubmitError, TransactionError,
};
use proptest::prelude::*;

fn manual() -> ChainConfig {
    ChainConfig { mining: Mining::Manual, ..ChainConfig::development() }
}

fn transfer(nonce: u64, to: usize, wei: u64, tip: u128) -> TxEip1559 {
    TxEip1559 {
        chain_id: 31_337,
        nonce,
        gas_limit: 21_000,
        max_fee_per_gas: 100_000_000_000,
        max_priority_fee_per_gas: tip,
        to: TxKind::Call(address(to)),
        value: U256::from(wei),
        ..TxEip1559::default()
    }
}

fn balance(chain: &Chain, address: Address) -> U256 {
    chain.balance(address, BlockId::latest(), START_S).expect("the latest block is known")
}

#[derive(Debug, Clone)]
enum Operation {
    Submit { from: usize, to: usize, skip: u64, wei: u64, tip: u128 },
    Mine,
    Reorg { depth: u64, returned: bool },
    Snapshot,
    Revert { id: u64 },
    Pass { seconds: u64 },
    IncreaseTime { seconds: u64 },
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => (0_usize..3, 0_usize..3, 0_u64..2, 0_u64..1000, 0_u128..5_000_000_000)
            .prop_map(|(from, to, skip, wei, tip)| Operation::Submit { from, to, skip, wei, tip }),
        3 => Just(Operation::Mine),
        1 => (0_u64..5, any::<bool>()).prop_map(|(depth, returned)| Operation::Reorg { depth, returned }),
        1 => Just(Operation::Snapshot),
        1 => (1_u64..4).prop_map(|id| Operation::Revert { id }),
        1 => (0_u64..50).prop_map(|seconds| Operation::Pass { seconds }),
        1 => (0_u64..50).prop_map(|seconds| Operation::IncreaseTime { seconds }),
    ]
}

/// Runs the operations; whatever is refused is part of the run.
fn run(operations: &[Operation]) -> Chain {
    let mut now_s = START_S;
    let mut chain = Chain::new(manual(), now_s).expect("a chain");
    for operation in operations {
        match *operation {
            Operation::Submit { from, to, skip, wei, tip } => {
                let nonce = chain.nonce(address(from), BlockId::pending(), now_s).expect("a nonce") + skip;
                // A gap, a replacement or a full pool: each may be refused, and then nothing has changed.
                let _ = chain.submit(&sign(from, transfer(nonce, to, wei, tip)), now_s);
            }
            Operation::Mine => drop(chain.mine(now_s).expect("mining does not fail")),
            Operation::Reorg { depth, returned } => {
                let orphans = if returned { Orphans::Return } else { Orphans::Drop };
                let height = chain.latest().number();
                match chain.reorg(depth, orphans) {
                    Ok(removed) => assert_eq!(removed.len() as u64, depth),
                    Err(error) => assert_eq!(error, ChainError::ReorgTooDeep { depth_max: height, got: depth }),
                }
            }
            Operation::Snapshot => drop(chain.snapshot()),
            Operation::Revert { id } => drop(chain.revert(id, now_s)),
            Operation::Pass { seconds } => now_s += seconds,
            Operation::IncreaseTime { seconds } => drop(chain.increase_time(seconds, now_s).expect("no overflow")),
        }
    }
    chain
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_history_is_consistent_and_repeatable(operations in prop::collection::vec(operation(), 1..40)) {
        let chain = run(&operations);

        // Linked, dated and indexed.
        let mut burned = U256::ZERO;
        let mut parent = None;
        for number in 0..=chain.latest().number() {
            let block = chain.block(BlockId::number(number)).expect("no gaps");
            prop_assert_eq!(block.number(), number);
            prop_assert_eq!(block.header().hash_slow(), block.hash());
            prop_assert_eq!(chain.block(block.hash().into()).map(|found| found.number()), Some(number));
            if let Some((hash, timestamp_s)) = parent {
                prop_assert_eq!(block.header().parent_hash, hash);
                prop_assert!(block.timestamp_s() > timestamp_s);
            }
            for (index, included) in block.included().iter().enumerate() {
                let (found, at) = chain.position(included.transaction.hash()).expect("indexed");
                prop_assert_eq!((found.hash(), at), (block.hash(), index));
                burned += U256::from(included.gas_used) * U256::from(block.header().base_fee_per_gas.expect("a fee"));
            }
            parent = Some((block.hash(), block.timestamp_s()));
        }

        // All the money is there, but for what EIP-1559 burned on the canonical chain.
        let held = (0..10).map(|index| balance(&chain, address(index))).sum::<U256>() + balance(&chain, Address::ZERO);
        let minted = manual().accounts.iter().map(|account| account.balance).sum::<U256>();
        prop_assert_eq!(held + burned, minted);

        // The same calls make the same chain.
        prop_assert_eq!(run(&operations).latest().hash(), chain.latest().hash());
    }
}

#[test]
fn a_deep_reorg_restores_every_balance() {
    let mut chain = Chain::new(ChainConfig::development(), START_S).expect("a chain");
    let mut balances = vec![balance(&chain, address(1))];
    for nonce in 0..20 {
        chain.submit(&sign(0, transfer(nonce, 1, 1 << nonce, 1)), START_S).expect("accepted");
        balances.push(balance(&chain, address(1)));
    }
    assert_eq!(chain.latest().number(), 20);
    for (number, expected) in balances.iter().enumerate() {
        let at = BlockId::number(number as u64);
        assert_eq!(chain.balance(address(1), at, START_S), Ok(*expected));
    }
    let removed = chain.reorg(15, Orphans::Return).expect("a reorg");
    assert_eq!(removed.iter().map(|block| block.number()).collect::<Vec<_>>(), (6..=20).rev().collect::<Vec<_>>());
    assert_eq!(balance(&chain, address(1)), balances[5]);
    assert_eq!(chain.pool_len(), 15);
    chain.mine(START_S).expect("mined");
    assert_eq!(balance(&chain, address(1)), balances[20], "the returned transactions all run in one block");
    assert_eq!(chain.pool_len(), 0);
}

#[test]
fn reorgs_stop_before_genesis_and_at_the_limit() {
    let limits = ChainLimits { reorg_depth_max: 3, ..ChainLimits::default() };
    let mut chain = Chain::new(ChainConfig { limits, ..manual() }, START_S).expect("a chain");
    chain.mine(START_S).expect("mined");
    let too_deep = chain.reorg(2, Orphans::Drop).expect_err("genesis stays");
    assert_eq!(too_deep, ChainError::ReorgTooDeep { depth_max: 1, got: 2 });
    for _ in 0..9 {
        chain.mine(START_S).expect("mined");
    }
    let too_deep = chain.reorg(u64::MAX, Orphans::Drop).expect_err("the limit holds");
    assert_eq!(too_deep, ChainError::ReorgTooDeep { depth_max: 3, got: u64::MAX });
    assert_eq!(chain.reorg(0, Orphans::Drop).expect("nothing to do").len(), 0);
}

#[test]
fn a_filter_that_lags_too_far_is_gone_and_idle_filters_make_room() {
    let limits = ChainLimits { filter_events_max: 4, filters_max: 2, ..ChainLimits::default() };
    let mut chain = Chain::new(ChainConfig { limits, ..manual() }, START_S).expect("a chain");
    let lagging = chain.install_filter(FilterKind::Blocks).expect("installed");
    for _ in 0..5 {
        chain.mine(START_S).expect("mined");
    }
    assert_eq!(chain.poll_filter(lagging), Err(ChainError::UnknownFilter));

    let idle = chain.install_filter(FilterKind::Blocks).expect("installed");
    let active = chain.install_filter(FilterKind::Blocks).expect("installed");
    chain.mine(START_S).expect("mined");
    assert!(matches!(chain.poll_filter(active), Ok(FilterChanges::Hashes(hashes)) if hashes.len() == 1));
    chain.install_filter(FilterKind::Blocks).expect("installed");
    assert_eq!(chain.poll_filter(idle), Err(ChainError::UnknownFilter));
    assert!(chain.poll_filter(active).is_ok());
}

#[test]
fn snapshots_are_bounded_and_die_with_their_block() {
    let limits = ChainLimits { snapshots_max: 2, ..ChainLimits::default() };
    let mut chain = Chain::new(ChainConfig { limits, ..manual() }, START_S).expect("a chain");
    let ids = [chain.snapshot(), chain.snapshot(), chain.snapshot()];
    assert!(!chain.revert(ids[0], START_S), "the oldest made room");
    assert!(chain.revert(ids[1], START_S));
    assert!(!chain.revert(ids[2], START_S), "later ones are forgotten");
    chain.mine(START_S).expect("mined");
    let on_block = chain.snapshot();
    chain.reorg(1, Orphans::Drop).expect("a reorg");
    chain.mine(START_S).expect("mined");
    assert!(!chain.revert(on_block, START_S));
    // A balance set by decree is undone as well, though no block knows of it.
    let before = balance(&chain, address(3));
    let id = chain.snapshot();
    chain.set_balance(address(3), U256::from(1));
    assert_eq!(balance(&chain, address(3)), U256::from(1));
    assert!(chain.revert(id, START_S));
    assert_eq!(balance(&chain, address(3)), before);
}

#[test]
fn a_block_holds_no_more_gas_than_its_limit() {
    let mut chain = Chain::new(ChainConfig { block_gas_max: 50_000, ..manual() }, START_S).expect("a chain");
    for nonce in 0..5 {
        chain.submit(&sign(0, transfer(nonce, 1, 1, 1)), START_S).expect("accepted");
    }
    let sizes: Vec<_> = (0..4).map(|_| chain.mine(START_S).expect("mined").included().len()).collect();
    assert_eq!(sizes, [2, 2, 1, 0]);
    let fees: Vec<_> = (0..=4).filter_map(|n| chain.block(BlockId::number(n))?.header().base_fee_per_gas).collect();
    // EIP-1559: 42000 of a target of 25000 raise the fee by 1/8 × 17000/25000 = 8.5 %.
    assert_eq!(fees, [1_000_000_000, 875_000_000, 949_375_000, 1_030_071_875, 1_009_470_438]);
    let (gas, gas_max) = (60_000, 50_000);
    let refused = chain.submit(&sign(0, TxEip1559 { gas_limit: gas, ..transfer(5, 1, 1, 1) }), START_S);
    assert_eq!(refused, Err(SubmitError::Transaction(TransactionError::GasAboveBlock { gas, gas_max })));
}

#[test]
fn a_sender_who_spent_the_money_meanwhile_loses_the_place_in_the_pool() {
    let mut chain = Chain::new(manual(), START_S).expect("a chain");
    chain.submit(&sign(0, transfer(0, 1, 1, 1)), START_S).expect("accepted");
    chain.set_balance(address(0), U256::from(1));
    assert_eq!(chain.mine(START_S).expect("mined").included().len(), 0);
    assert_eq!(chain.pool_len(), 0);
}

#[test]
fn access_lists_and_delegations_are_carried() {
    let mut chain = Chain::new(ChainConfig::development(), START_S).expect("a chain");
    let listed = TxEip2930 {
        chain_id: 31_337,
        gas_price: 10_000_000_000,
        gas_limit: 21_000 + 2_400,
        to: TxKind::Call(address(1)),
        access_list: vec![alloy::eips::eip2930::AccessListItem { address: address(1), storage_keys: vec![] }].into(),
        ..TxEip2930::default()
    };
    chain.submit(&sign(0, listed), START_S).expect("accepted");
    assert_eq!(chain.latest().included()[0].gas_used, 23_400);

    let authorization = Authorization { chain_id: U256::from(31_337), address: address(9), nonce: 0 };
    let signature = crate::support::signer(2).sign_hash_sync(&authorization.signature_hash()).expect("signs");
    let delegation = TxEip7702 {
        chain_id: 31_337,
        nonce: 1,
        gas_limit: 100_000,
        max_fee_per_gas: 10_000_000_000,
        to: address(1),
        authorization_list: vec![authorization.into_signed(signature)],
        ..TxEip7702::default()
    };
    // The delegating account's pooled transaction becomes stale, because the authorization uses its nonce.
    chain.set_mining(Mining::Manual).expect("allowed");
    chain.submit(&sign(2, transfer(0, 1, 1, 0)), START_S).expect("accepted");
    chain.submit(&sign(0, TxEip7702 { max_priority_fee_per_gas: 5, ..delegation }), START_S).expect("accepted");
    chain.mine(START_S).expect("mined");
    assert_eq!(chain.latest().included().len(), 1);
    assert_eq!(chain.pool_len(), 0);
    let code = chain.code(address(2), BlockId::latest(), START_S).expect("code");
    assert_eq!(code.as_ref(), [&[0xef, 0x01, 0x00], address(9).as_slice()].concat());
    // It may still send (EIP-3607 exempts delegations).
    chain.submit(&sign(2, transfer(1, 1, 1, 0)), START_S).expect("accepted");
}

#[test]
fn a_call_cannot_run_longer_than_a_block() {
    let chain = Chain::new(manual(), START_S).expect("a chain");
    // `5b600056`: jump back to the start, for ever.
    let endless = TransactionRequest { input: vec![0x5b, 0x60, 0x00, 0x56].into(), ..TransactionRequest::default() };
    let error = chain.call(&endless, BlockId::latest(), START_S).expect_err("it runs out of gas");
    assert!(error.to_string().starts_with("out of gas"), "{error}");
}

#[test]
fn contradictory_configurations_are_refused() {
    for config in [
        ChainConfig { chain_id: 0, ..manual() },
        ChainConfig { block_gas_max: 20_999, ..manual() },
        ChainConfig { safe_depth: 5, finalized_depth: 4, ..manual() },
        ChainConfig { mining: Mining::Interval { seconds: 0 }, ..manual() },
    ] {
        assert!(matches!(Chain::new(config, START_S), Err(ChainError::Configuration(_))));
    }
}

#[test]
fn the_development_keys_belong_to_their_addresses() {
    for index in 0..10 {
        assert_eq!(crate::support::signer(index).address(), address(index));
    }
}
