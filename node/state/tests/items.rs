//! The items of a block: their encoding, and that executing them again gives the same block.

use joule_kernel::Abort;
use joule_protocol::{
    Refusal,
    limits::{BLOCK_PRIORITY_MAX, TRANSACTION_BYTES_MAX},
};
use joule_state::{BlockItems, wire::WireError};
use joule_workload::{Chain, Chaos, GENESIS_SECONDS, Item, Population};
use proptest::prelude::*;

fn items() -> impl Strategy<Value = BlockItems> {
    let list = |entries, bytes| prop::collection::vec(prop::collection::vec(any::<u8>(), 0..bytes), 0..entries);
    (any::<u64>(), any::<u64>(), list(4, 80), list(6, 200)).prop_map(|(timestamp, base_fee, requests, transactions)| {
        BlockItems { timestamp, base_fee, requests, transactions }
    })
}

proptest! {
    #[test]
    fn items_have_one_encoding(items in items(), cut in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), flip in 1u8..) {
        let bytes = items.encode();
        prop_assert!(bytes.len() <= BlockItems::BYTES_MAX);
        prop_assert_eq!(BlockItems::decode(&bytes), Ok(items.clone()));
        prop_assert!(BlockItems::decode(&bytes[..cut.index(bytes.len())]).is_err());
        prop_assert_eq!(BlockItems::decode(&[&bytes[..], &[0]].concat()), Err(WireError::Trailing { got: 1 }));
        let mut changed = bytes.clone();
        changed[at.index(bytes.len())] ^= flip;
        if let Ok(other) = BlockItems::decode(&changed) {
            prop_assert_eq!(other.encode(), changed);
        }
    }

    #[test]
    fn random_bytes_are_no_items(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(BlockItems::decode(&bytes).is_err());
        let long = [b"JI01".as_slice(), &bytes].concat();
        if let Ok(items) = BlockItems::decode(&long) {
            prop_assert_eq!(items.encode(), long);
        }
    }

    #[test]
    fn a_replayed_block_is_the_block(seed in any::<u64>()) {
        let mut chain = Chain::new(Chain::test_genesis());
        let mut chaos = Chaos::new(seed, Population::new(seed, &chain.genesis, 5, 3), GENESIS_SECONDS + 10);
        let (mut requests, mut transactions) = (Vec::new(), Vec::new());
        for wallet in 0..5 {
            let Item::Request(bytes) = chaos.deposit(wallet, 1 << 80) else { unreachable!() };
            requests.push(bytes);
        }
        for _ in 0..30 {
            match chaos.next_item(true) {
                Item::Request(bytes) => requests.push(bytes),
                Item::Transaction { bytes, .. } => transactions.push(bytes),
            }
        }
        requests.truncate(20);
        let before = chain.execution.clone();
        let block = chain.block(chaos.now, 100, &requests, &transactions).expect("streams never abort");
        let replayed = before.replay(&BlockItems::decode(&block.items.encode()).expect("its encoding")).expect("a good block");
        prop_assert_eq!(replayed.sealed.block.checkpoint, block.sealed.block.checkpoint);
        prop_assert_eq!(replayed.sealed.block.chunk.bytes(), block.sealed.block.chunk.bytes());
        prop_assert_eq!(&replayed.items, &block.items);
        let outcomes: Vec<_> = replayed.requests.iter().map(|done| done.outcome).collect();
        prop_assert_eq!(outcomes, block.requests);
        prop_assert_eq!(replayed.transactions.len(), block.transactions.len());
        for (done, expected) in replayed.transactions.iter().zip(&block.transactions) {
            prop_assert_eq!((done.outcome, done.sender, done.gas), (expected.outcome, expected.transaction.sender, expected.gas));
            prop_assert_eq!(done.fee, u128::from(done.gas) * 100);
        }
        let events: Vec<_> = replayed.requests.iter().flat_map(|done| &done.events)
            .chain(replayed.transactions.iter().flat_map(|done| &done.events)).copied().collect();
        let expected: Vec<_> = block.events.into_iter().filter(|event| *event != joule_kernel::Event::Transfer).collect();
        prop_assert_eq!(events, expected);
    }
}

#[test]
fn items_over_the_limits_are_refused() {
    let long = BlockItems { transactions: vec![vec![0; TRANSACTION_BYTES_MAX + 1]], ..BlockItems::default() };
    assert!(matches!(BlockItems::decode(&long.encode()), Err(WireError::TooLong { field: "transactions", .. })));
    let many = BlockItems { requests: vec![Vec::new(); BLOCK_PRIORITY_MAX + 1], ..BlockItems::default() };
    assert!(matches!(BlockItems::decode(&many.encode()), Err(WireError::TooLong { field: "requests", .. })));
    // A length that promises what is not there allocates nothing.
    let mut bytes = BlockItems::default().encode();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&100u32.to_be_bytes());
    assert!(matches!(BlockItems::decode(&bytes), Err(WireError::Truncated { .. })));
}

#[test]
fn a_block_with_a_transaction_that_must_be_refused_has_no_proof() {
    let chain = Chain::new(Chain::test_genesis());
    let items = BlockItems {
        timestamp: GENESIS_SECONDS,
        base_fee: 1,
        requests: vec![Chain::deposit(&joule_protocol::Address([1; 20]), 5)],
        transactions: vec![vec![0xc0]],
    };
    let refused = chain.execution.replay(&items).map(|_| ());
    assert!(matches!(refused, Err(Abort::Refused(Refusal::MalformedEnvelope { .. }))), "{refused:?}");
    let late = BlockItems { transactions: Vec::new(), timestamp: GENESIS_SECONDS - 1, ..items };
    assert!(matches!(chain.execution.replay(&late).map(|_| ()), Err(Abort::TimeRunsBackwards { .. })));
}
