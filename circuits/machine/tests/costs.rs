//! The estimate of what proving a block takes, held to full blocks of every kind of call.

use joule_machine::{Limits, Witness, kernel_image, run};
use joule_protocol::{BLOCK_COST, CallKind, Digest, ProvingCost, limits::BLOCK_PRIORITY_MAX, proving_cost_of};
use joule_state::{BlockItems, witness_segment};
use joule_workload::{Chain, Extreme, GENESIS_SECONDS, Offer};

const BASE_FEE: u64 = 100;

/// What proving a block full of `extreme` is estimated at, and what the machine does for it. `change` may take something out of it.
fn full_block(extreme: Extreme, change: impl FnOnce(&mut Offer)) -> (BlockItems, ProvingCost, ProvingCost) {
    let mut chain = Chain::new(Chain::test_genesis());
    let now = GENESIS_SECONDS + 60;
    let mut blocks = extreme.blocks(1, &chain.genesis, now, BASE_FEE);
    for offer in &blocks.setup {
        chain.block(now, BASE_FEE, &offer.requests, &offer.transactions).unwrap();
    }
    let (from, mut tree) = (*chain.execution.checkpoint(), chain.execution.tree().clone());
    let full = &mut blocks.full;
    change(full);
    let items = chain.block(blocks.full_timestamp, BASE_FEE, &full.requests, &full.transactions).unwrap().items;
    let (segment, _) = witness_segment(&mut tree, chain.genesis.chain_id, &from, std::slice::from_ref(&items)).unwrap();
    let siblings = segment.siblings.iter().map(|path| path.map(Digest::elements)).collect();
    let outcome = run(kernel_image(), &Witness { input: segment.input, siblings }, Limits::default()).unwrap();
    assert_eq!(outcome.exit_code, 0);

    let request = match extreme {
        Extreme::ForcedSettlements => CallKind::SettleJob,
        Extreme::ForcedCalldata => CallKind::Unknown,
        Extreme::Closings => CallKind::CloseChannel,
        _ => CallKind::Transfer,
    };
    let mut estimate = BLOCK_COST;
    items.requests.iter().for_each(|_| estimate += proving_cost_of(request));
    items.transactions.iter().for_each(|_| estimate += proving_cost_of(extreme.kind_of_transactions()));
    let counts = outcome.precompiles;
    let measured = ProvingCost {
        cycles: outcome.cycles.into(),
        keccaks: counts.keccak_f,
        permutations: counts.poseidon2_permutations,
        tree_updates: counts.tree_update,
        signatures: counts.ecrecover,
    };
    let pairs = [
        (measured.cycles, estimate.cycles),
        (measured.keccaks, estimate.keccaks),
        (measured.permutations, estimate.permutations),
        (measured.tree_updates, estimate.tree_updates),
        (measured.signatures, estimate.signatures),
    ];
    assert!(pairs.iter().all(|(measured, estimate)| measured <= estimate), "{extreme:?}: {measured:?}, {estimate:?}");
    (items, measured, estimate)
}

/// The estimate is not loose either, where the block is full of what it is for.
fn check_slack(extreme: Extreme, measured: &ProvingCost, estimate: &ProvingCost) {
    let slack = estimate.cycles as f64 / measured.cycles as f64;
    assert!(slack < 1.03, "{extreme:?}: {measured:?}, {estimate:?}");
}

#[test]
fn full_blocks_cost_what_is_estimated() {
    for extreme in Extreme::ALL {
        let (items, measured, estimate) = full_block(extreme, |_| {});
        if items.requests.is_empty() && extreme != Extreme::Calldata {
            check_slack(extreme, &measured, &estimate);
        }
    }
}

/// A close is a request; the signed ones that fill its block are rejected and cost less.
#[test]
fn forced_closes_cost_what_is_estimated() {
    let (items, measured, estimate) = full_block(Extreme::Closings, |full| full.transactions.clear());
    assert_eq!(items.requests.len(), BLOCK_PRIORITY_MAX);
    check_slack(Extreme::Closings, &measured, &estimate);
}
