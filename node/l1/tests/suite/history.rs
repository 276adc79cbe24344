//! The chain's history from L1 alone.

use alloy::{
    primitives::{B256, U256},
    sol_types::SolCall,
};
use joule_contracts::{Availability, Rollup, proof_bytes};
use joule_l1::{
    AvailableAt, Entry, FeePolicy, Gas, History, HistoryError, Operator, OutboxPolicy, OutboxStore, StageOnL1, posting,
};
use joule_protocol::{Accumulator, Checkpoint, Digest, Hash, Native, PublicValues};
use joule_testnet_l1::Orphans;

use super::support::{OPERATOR, PROGRAM, START_S, World, genesis, wallet};

/// An outbox for a test that does not crash.
struct Forgetful;

impl OutboxStore for Forgetful {
    type Error = std::convert::Infallible;

    fn entries(&self) -> Result<Vec<Entry>, Self::Error> {
        Ok(Vec::new())
    }

    fn put(&self, _: &Entry) -> Result<(), Self::Error> {
        Ok(())
    }

    fn remove(&self, _: u64) -> Result<(), Self::Error> {
        Ok(())
    }
}

struct Batch {
    parent: Checkpoint,
    checkpoint: Checkpoint,
    chunks: Vec<Vec<u8>>,
}

impl Batch {
    /// A batch that consumes requests, with made-up data: L1 hashes it and no more.
    fn next(parent: Checkpoint, requests: u64, acc: B256, chunks: Vec<Vec<u8>>) -> Self {
        let mut checkpoint = parent;
        checkpoint.block_number += chunks.len() as u64;
        checkpoint.timestamp = START_S;
        checkpoint.priority_count = requests;
        checkpoint.priority_acc = Accumulator(Hash(acc.0));
        chunks.iter().for_each(|chunk| checkpoint.data_acc.absorb::<Native>(chunk));
        Self { parent, checkpoint, chunks }
    }

    fn start(&self) -> B256 {
        B256::new(self.parent.data_acc.0.0)
    }

    fn commit(&self, number: u64) -> Vec<u8> {
        let batch = Rollup::Batch {
            number,
            parentCheckpoint: B256::new(self.parent.hash::<Native>().0),
            checkpoint: (&self.checkpoint).into(),
            dataBytes: self.chunks.iter().map(|chunk| chunk.len() as u64).sum(),
        };
        Rollup::commitBatchCall { batch, availability: Availability::OnL1 { parent: self.parent }.encode() }
            .abi_encode()
    }

    fn prove(&self, number: u64) -> Vec<u8> {
        let program = Digest::from_hash(Hash(PROGRAM.0)).expect("canonical");
        let (from, to) = (self.parent.hash::<Native>(), self.checkpoint.hash::<Native>());
        let mut points = [U256::ZERO; 8];
        points[0] = U256::from_be_bytes(PublicValues { program, chain_id: 77_001, from, to }.public_input().0);
        Rollup::proveBatchCall { number, proof: proof_bytes(1, &points) }.abi_encode()
    }
}

#[tokio::test]
async fn everything_is_found_again() {
    let world = World::start().await;
    let policy = OutboxPolicy::default();
    let mut operator =
        Operator::open(world.client.clone(), wallet(OPERATOR), Forgetful, FeePolicy::default(), policy, 3)
            .await
            .expect("opens");
    world.deposit(1, 100).await;
    world.deposit(2, 200).await;
    world.mine(1);
    let head = world.client.head().await.expect("a head");
    let acc = world.client.acc_at(2, &head).await.expect("an accumulator");

    let first = Batch::next(genesis(), 2, acc, (1..6).map(|i| vec![i; 30_000]).collect());
    let second = Batch::next(first.checkpoint, 2, acc, vec![vec![9; 500]]);
    let third = Batch::next(second.checkpoint, 2, acc, vec![vec![7; 400], vec![8; 300]]);
    // The first batch's data by two strangers: one posts the first chunk, then everything; another adds nothing new.
    for (from, to) in [(0, 1), (1, 4), (0, 3), (4, 5)] {
        let chunks = |range: std::ops::Range<usize>| first.chunks[range].iter().map(Vec::as_slice);
        let reached = posting::accumulate(first.start(), chunks(0..from));
        world.call_rollup(posting::input(first.start(), reached, chunks(from..to))).await;
    }
    for batch in [&second, &third] {
        let chunks = batch.chunks.iter().map(Vec::as_slice);
        world.call_rollup(posting::input(batch.start(), batch.start(), chunks)).await;
    }
    let execute = Rollup::executeBatchCall { number: 1, checkpoint: (&first.checkpoint).into(), withdrawals: vec![] };
    let steps = [
        first.commit(1),
        first.prove(1),
        execute.abi_encode(),
        second.commit(2),
        third.commit(3),
        second.prove(2),
        Rollup::revertBatchesCall { keep: 2 }.abi_encode(),
    ];
    for step in steps {
        operator.send(Vec::new(), world.addresses.rollup, step.into(), Gas::Estimate).await.expect("sent");
        world.mine(1);
    }
    world.deposit(3, 300).await;
    world.mine(1);

    let head = world.client.head().await.expect("a head");
    let history = History::read(&world.client, genesis(), head).await.expect("a history");
    let stages: Vec<_> = history.batches().iter().map(|batch| (batch.number, batch.stage)).collect();
    assert_eq!(stages, [(1, StageOnL1::Executed), (2, StageOnL1::Proven)]);
    assert_eq!(history.revert_count(), 1);
    assert_eq!(history.tip(), &second.checkpoint);
    assert_eq!(history.executed().expect("one").checkpoint, first.checkpoint);
    assert_eq!(history.requests().iter().map(|request| request.amount).collect::<Vec<_>>(), [100, 200, 300]);
    assert_eq!(history.requests_of(1).expect("known").len(), 2);
    assert_eq!(history.requests_of(2).expect("known").len(), 0);
    assert_eq!(history.requests_of(3), None);
    assert_eq!(history.requests_acc().0.0, world.client.acc_at(3, &head).await.expect("an accumulator").0);
    assert_eq!(history.batches()[0].available_at, AvailableAt::L1);
    assert!(!history.is_frozen());

    for (number, batch) in [(1, &first), (2, &second)] {
        let chunks = history.posted_chunks(&world.client, number).await.expect("chunks");
        assert_eq!(chunks.iter().map(|chunk| chunk.to_vec()).collect::<Vec<_>>(), batch.chunks);
    }
    let missing = history.posted_chunks(&world.client, 3).await;
    assert!(matches!(missing, Err(HistoryError::NoSuchBatch { number: 3 })), "{missing:?}");
    let availability = History::availability_of(&world.client, &history.batches()[0]).await.expect("an answer");
    assert_eq!(availability, Some(Availability::OnL1 { parent: genesis() }.encode()));

    // A genesis other than the contract's is noticed at once.
    let other = Checkpoint { timestamp: 1, ..genesis() };
    let wrong = History::read(&world.client, other, head).await;
    assert!(matches!(wrong, Err(HistoryError::WrongCheckpoint { number: 0, .. })), "{wrong:?}");
    // So is a block that is no longer there.
    world.reorganise(2, Orphans::Drop);
    world.mine(3);
    let gone = History::read(&world.client, genesis(), head).await;
    assert!(matches!(gone, Err(HistoryError::Reorganised)), "{gone:?}");
}
