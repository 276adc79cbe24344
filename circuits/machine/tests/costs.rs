//! The estimate of what proving a block takes, held to full blocks of every kind of call.

use joule_machine::{Limits, Outcome, Witness, kernel_image, run};
use joule_protocol::{BLOCK_COST, CallKind, Digest, ProvingCost, proving_cost_of};
use joule_state::witness_segment;
use joule_workload::{Chain, Extreme, GENESIS_SECONDS};

const BASE_FEE: u64 = 100;

/// Requests and transactions of the full block, and what the machine does for it.
fn full_block(extreme: Extreme) -> (usize, usize, Outcome) {
    let mut chain = Chain::new(Chain::test_genesis());
    let now = GENESIS_SECONDS + 60;
    let blocks = extreme.blocks(1, &chain.genesis, now, BASE_FEE);
    for offer in &blocks.setup {
        chain.block(now, BASE_FEE, &offer.requests, &offer.transactions).unwrap();
    }
    let (from, mut tree) = (*chain.execution.checkpoint(), chain.execution.tree().clone());
    let full = &blocks.full;
    let items = chain.block(blocks.full_timestamp, BASE_FEE, &full.requests, &full.transactions).unwrap().items;
    let counts = (items.requests.len(), items.transactions.len());
    let (segment, _) = witness_segment(&mut tree, chain.genesis.chain_id, &from, &[items]).unwrap();
    let siblings = segment.siblings.iter().map(|path| path.map(Digest::elements)).collect();
    let outcome = run(kernel_image(), &Witness { input: segment.input, siblings }, Limits::default()).unwrap();
    assert_eq!(outcome.exit_code, 0);
    (counts.0, counts.1, outcome)
}

#[test]
fn full_blocks_cost_what_is_estimated() {
    for extreme in Extreme::ALL {
        let (requests, transactions, outcome) = full_block(extreme);
        let request = match extreme {
            Extreme::ForcedSettlements => CallKind::SettleJob,
            Extreme::Closings => CallKind::CloseChannel,
            Extreme::ForcedCalldata => CallKind::Unknown,
            _ => CallKind::Transfer,
        };
        let mut estimate = BLOCK_COST;
        (0..requests).for_each(|_| estimate += proving_cost_of(request));
        (0..transactions).for_each(|_| estimate += proving_cost_of(extreme.kind_of_transactions()));
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
        assert!(
            pairs.iter().all(|(measured, estimate)| measured <= estimate),
            "{extreme:?}: {measured:?}, {estimate:?}"
        );
        // Not loose either, where the block is full of what the estimate is for.
        if requests == 0 && extreme != Extreme::Calldata {
            let slack = estimate.cycles as f64 / measured.cycles as f64;
            assert!(slack < 1.03, "{extreme:?}: {measured:?}, {estimate:?}");
        }
    }
}
