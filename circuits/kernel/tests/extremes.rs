//! Blocks as full as their limits allow: the limits hold, and nothing but them keeps a call out.

use joule_kernel::{NotExecuted, Outcome};
use joule_protocol::{
    CallKind, Envelope, PriorityKind, PriorityRequest, Rejection, SystemContract, chunk_bytes_of, gas_of,
    limits::{
        BLOCK_BYTES_MAX, BLOCK_GAS_MAX, BLOCK_PRIORITY_MAX, BLOCK_SIGNATURES_MAX, BLOCK_TRANSACTIONS_MAX,
        BLOCK_WITHDRAWALS_MAX, CHUNK_BYTES_MAX,
    },
    signatures_of,
};
use joule_workload::{Chain, ExecutedBlock, Extreme, GENESIS_SECONDS};

const BASE_FEE: u64 = 100;

fn full_block(extreme: Extreme) -> ExecutedBlock {
    let mut chain = Chain::new(Chain::test_genesis());
    let now = GENESIS_SECONDS + 60;
    let blocks = extreme.blocks(1, &chain.genesis, now, BASE_FEE);
    for offer in &blocks.setup {
        let block = chain.block(now, BASE_FEE, &offer.requests, &offer.transactions).unwrap();
        assert!(block.refused.is_empty(), "{extreme:?}: {:?}", block.refused);
        let outcomes = block.requests.iter().copied().chain(block.transactions.iter().map(|done| done.outcome));
        assert!(outcomes.into_iter().all(|outcome| outcome == Outcome::Applied), "{extreme:?}");
    }
    chain.block(blocks.full_timestamp, BASE_FEE, &blocks.full.requests, &blocks.full.transactions).unwrap()
}

/// What a request is charged as.
fn kind_of_request(bytes: &[u8]) -> CallKind {
    let request = PriorityRequest::decode(bytes).unwrap();
    match SystemContract::at(&request.to) {
        Some(contract) if request.kind == PriorityKind::ForcedCall as u8 => CallKind::of(contract, &request.data),
        _ => CallKind::Transfer,
    }
}

fn kind_of_transaction(bytes: &[u8]) -> CallKind {
    let envelope = Envelope::decode(bytes).unwrap();
    SystemContract::at(&envelope.to).map_or(CallKind::Transfer, |contract| CallKind::of(contract, envelope.data))
}

#[test]
fn full_blocks_keep_every_limit() {
    for extreme in Extreme::ALL {
        let block = full_block(extreme);
        let (requests, transactions) = (&block.items.requests, &block.items.transactions);
        let kinds: Vec<CallKind> = requests
            .iter()
            .map(|bytes| kind_of_request(bytes))
            .chain(transactions.iter().map(|bytes| kind_of_transaction(bytes)))
            .collect();
        let gas: u64 = kinds.iter().map(|&kind| gas_of(kind)).sum();
        let bytes: usize = requests.iter().chain(transactions).map(Vec::len).sum();
        assert!(gas <= BLOCK_GAS_MAX && bytes <= BLOCK_BYTES_MAX, "{extreme:?}: {gas} gas, {bytes} bytes");
        // What was kept out found no room, and there was none.
        for (position, reason) in &block.refused {
            assert_eq!(*reason, NotExecuted::BlockFull, "{extreme:?}, transaction {position}");
        }
        let signatures: usize = kinds.iter().map(|&kind| signatures_of(kind)).sum();
        assert!(signatures <= BLOCK_SIGNATURES_MAX, "{extreme:?}: {signatures} signatures");
        let room = (BLOCK_GAS_MAX - gas).min((BLOCK_BYTES_MAX - bytes) as u64 * 100);
        let is_full = room < 2 * gas_of(extreme.kind()) || signatures == BLOCK_SIGNATURES_MAX;
        assert!(is_full, "{extreme:?} is not full: {gas} gas, {bytes} bytes, {signatures} signatures");

        let chunk = block.sealed.block.chunk.bytes();
        // Head, chain object, fee recipient and state root, then what each call may add.
        let most = 44 + 152 + 48 + 32 + kinds.iter().map(|&kind| chunk_bytes_of(kind)).sum::<u64>();
        assert!(chunk.len() as u64 <= most, "{extreme:?}: {} bytes of {most}", chunk.len());
        assert!(chunk.len() <= CHUNK_BYTES_MAX);
        assert!(block.sealed.block.messages.len() <= BLOCK_WITHDRAWALS_MAX);
        assert!(kinds.len() <= BLOCK_TRANSACTIONS_MAX);
    }
}

#[test]
fn every_kind_of_call_has_its_block() {
    for kind in CallKind::ALL {
        assert!(Extreme::ALL.iter().any(|extreme| extreme.kind() == *kind), "{kind:?}");
    }
}

/// Forced closes are as many as a block takes requests; the signed ones after them are rejected.
#[test]
fn closings_are_forced() {
    let block = full_block(Extreme::Closings);
    assert_eq!(block.requests, [Outcome::Applied; BLOCK_PRIORITY_MAX]);
    let rejected = Outcome::Rejected(Rejection::CloseNotForced {});
    assert!(!block.transactions.is_empty());
    assert!(block.transactions.iter().all(|done| done.outcome == rejected));
}

/// Forced withdrawals are cheaper than others, and a block is full of both as the limit says.
#[test]
fn the_most_withdrawals_are_the_limit() {
    let block = full_block(Extreme::ForcedWithdrawals);
    assert_eq!(block.sealed.block.messages.len(), BLOCK_WITHDRAWALS_MAX);
}
