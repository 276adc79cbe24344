//! What the database holds is what a chain in memory holds, through undoing, pruning and reopening.

use joule_protocol::{Hash, Hashing, Native};
use joule_storage::{Database, JournalEdit, L1Cursor, LogFilter, PoolRecord, Space, Stage, StorageError};
use joule_workload::Chain;
use proptest::prelude::*;

use crate::support::{Twin, batch};

#[derive(Clone, Copy, Debug)]
enum Step {
    Block(usize),
    Revert(u64),
    Reopen,
    Prune(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (1usize..24).prop_map(Step::Block),
        2 => (0u64..4).prop_map(Step::Revert),
        1 => Just(Step::Reopen),
        1 => (0u64..3).prop_map(Step::Prune),
    ];
    prop::collection::vec(step, 1..14)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn the_database_is_its_twin(seed in any::<u64>(), steps in steps()) {
        let folder = tempfile::tempdir().unwrap();
        let mut twin = Twin::new(Database::open(folder.path(), &Chain::test_genesis()).unwrap(), seed);
        let mut batches = 0;
        for step in steps {
            match step {
                Step::Block(items) => drop(twin.block(items)),
                Step::Revert(back) => {
                    let floor = twin.database.view().unwrap().floor().block_number;
                    let target = twin.head().saturating_sub(back).max(floor);
                    twin.revert_to(target);
                }
                Step::Reopen => {
                    let Twin { database, chain, .. } = &twin;
                    let (path, genesis) = (database.path().to_owned(), chain.genesis);
                    // The lock is on the disk: the old handle must be gone before a new one comes.
                    let other = tempfile::tempdir().unwrap();
                    twin.database = Database::open(other.path(), &genesis).unwrap();
                    twin.database = Database::open(path, &genesis).unwrap();
                }
                Step::Prune(back) => {
                    let floor = twin.database.view().unwrap().floor().block_number;
                    let target = twin.head().saturating_sub(back);
                    if target > floor {
                        let (parent, checkpoint) = (twin.past[floor as usize].1, twin.past[target as usize].1);
                        twin.database.put_batch(&batch(batches + 1, parent, checkpoint, Stage::Executed)).unwrap();
                        batches += 1;
                        let records_max = [1, 50, 100_000][target as usize % 3];
                        while !twin.database.prune_undo_step(target, records_max).unwrap().is_done {}
                        twin.database.prune_blocks(target).unwrap();
                    }
                }
            }
            twin.check();
        }
    }
}

fn twin() -> (tempfile::TempDir, Twin) {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path(), &Chain::test_genesis()).unwrap();
    (folder, Twin::new(database, 5))
}

#[test]
fn blocks_transactions_and_logs_are_found() {
    let (_folder, mut twin) = twin();
    let blocks: Vec<_> = (0..6).map(|_| twin.block(30)).collect();
    let view = twin.database.view().unwrap();
    for block in &blocks {
        assert_eq!(view.block(block.number()).unwrap().as_ref(), Some(block));
        assert_eq!(view.block_number(&block.hash()).unwrap(), Some(block.number()));
        for (index, transaction) in block.transactions.iter().enumerate() {
            let (place, found, of) = view.transaction(&transaction.hash).unwrap().unwrap();
            assert_eq!((place.block_number, place.index as usize), (block.number(), index));
            assert_eq!((&found, of.number()), (transaction, block.number()));
        }
    }
    let all: Vec<_> = blocks.iter().flat_map(|block| block.logs().map(|(_, log)| log.clone())).collect();
    assert!(all.len() > 20, "the stream has events");
    let ask = |filter: &LogFilter| view.logs(filter).unwrap().into_iter().map(|entry| entry.log).collect::<Vec<_>>();
    let every = LogFilter { from_block: 0, to_block: u64::MAX, ..LogFilter::default() };
    assert_eq!(ask(&every), all);
    for log in &all {
        let filter = LogFilter {
            addresses: vec![log.address],
            topics: [vec![log.topics[0]], log.topics.get(1).copied().into_iter().collect(), vec![], vec![]],
            ..every.clone()
        };
        let wanted: Vec<_> = all
            .iter()
            .filter(|other| {
                other.address == log.address
                    && other.topics[..2.min(other.topics.len())] == log.topics[..2.min(log.topics.len())]
            })
            .cloned()
            .collect();
        assert_eq!(ask(&filter), wanted);
    }
    let nobody = LogFilter { topics: [vec![Hash([1; 32])], vec![], vec![], vec![]], ..every.clone() };
    assert_eq!(ask(&nobody), []);
    assert!(view.block_number(&Hash([9; 32])).unwrap().is_none());
    assert_eq!(view.block_number(&Chain::test_genesis().id::<Native>()).unwrap(), Some(0));
}

#[test]
fn a_view_does_not_move() {
    let (_folder, mut twin) = twin();
    twin.block(10);
    let database = twin.database.clone();
    let view = database.view().unwrap();
    let root = view.tree().unwrap().root();
    twin.block(10);
    twin.revert_to(0);
    assert_eq!(view.head().block_number, 1);
    assert_eq!(view.tree().unwrap().root(), root);
    assert_eq!(view.head().state_root, root);
    assert!(view.block(1).unwrap().is_some());
}

#[test]
fn blocks_that_do_not_follow_are_refused() {
    let (_folder, mut twin) = twin();
    let (first, changes) = twin.next(5);
    twin.database.commit_block(&first, &changes).unwrap();
    assert!(matches!(twin.database.commit_block(&first, &changes), Err(StorageError::NotNext { got: 1, head: 1, .. })));
    let (mut second, changes) = twin.next(5);
    let parent = second.header.parent;
    second.header.parent = Hash([1; 32]);
    assert!(matches!(twin.database.commit_block(&second, &changes), Err(StorageError::NotNext { .. })));
    second.header.parent = parent;
    let mut wrong = changes.clone();
    wrong.root = joule_protocol::Digest::EMPTY;
    assert!(matches!(twin.database.commit_block(&second, &wrong), Err(StorageError::WrongRoot { .. })));
    twin.database.commit_block(&second, &changes).unwrap();
    twin.check();
}

#[test]
fn the_mempool_log_loses_what_is_in_a_block_and_gets_it_back() {
    let (_folder, mut twin) = twin();
    let (block, changes) = twin.next(20);
    let pooled: Vec<PoolRecord> = (1u64 << 32..)
        .zip(&block.items.transactions)
        .map(|(arrival, bytes)| PoolRecord { hash: Native::keccak256(bytes), arrival, bytes: bytes.clone() })
        .collect();
    let other = PoolRecord { hash: Hash([3; 32]), arrival: 1 << 40, bytes: vec![1, 2, 3] };
    twin.database.pool_add(&pooled).unwrap();
    twin.database.pool_add(std::slice::from_ref(&other)).unwrap();
    let all = |twin: &Twin| twin.database.view().unwrap().pool_all().unwrap();
    assert_eq!(all(&twin), [pooled.clone(), vec![other.clone()]].concat());
    twin.database.commit_block(&block, &changes).unwrap();
    assert_eq!(all(&twin), vec![other.clone()]);

    let reverted = twin.database.revert_to(0, true).unwrap();
    let order = |records: &[PoolRecord]| records.iter().map(|record| record.hash).collect::<Vec<_>>();
    assert_eq!(order(&reverted.transactions), order(&pooled));
    assert_eq!(order(&all(&twin)), [order(&pooled), vec![other.hash]].concat());
    twin.database.pool_remove(&[other.hash, Hash([4; 32])]).unwrap();
    assert_eq!(order(&all(&twin)), order(&pooled));
}

#[test]
fn batches_follow_each_other_and_their_stages() {
    let (_folder, mut twin) = twin();
    (0..6).for_each(|_| drop(twin.block(3)));
    let at = |block: usize| twin.past[block].1;
    let database = &twin.database;
    database.put_batch(&batch(1, at(0), at(2), Stage::Sealed)).unwrap();
    database.put_batch(&batch(2, at(2), at(3), Stage::Sealed)).unwrap();
    let refused = |record| matches!(database.put_batch(&record), Err(StorageError::BatchOutOfPlace { .. }));
    assert!(refused(batch(4, at(3), at(4), Stage::Sealed)), "a gap in the numbers");
    assert!(refused(batch(3, at(4), at(5), Stage::Sealed)), "a gap in the blocks");
    assert!(refused(batch(1, at(0), at(1), Stage::Sealed)), "another end below the next batch");
    assert!(refused(batch(0, at(3), at(4), Stage::Sealed)), "batches count from 1");
    let mut crooked = batch(3, at(3), at(4), Stage::Sealed);
    crooked.last_block = 5;
    assert!(refused(crooked), "checkpoints of other blocks");

    let of = |block| database.view().unwrap().batch_of_block(block).unwrap().map(|batch| batch.number);
    assert_eq!((1..=6).map(of).collect::<Vec<_>>(), [Some(1), Some(1), Some(2), None, None, None]);
    let heads = || {
        let view = database.view().unwrap();
        let number = |batch: Option<joule_storage::BatchRecord>| batch.map(|batch| batch.number);
        (number(view.committed_batch().unwrap()), number(view.executed_batch().unwrap()))
    };
    assert_eq!(heads(), (None, None));
    database.put_batch(&batch(1, at(0), at(2), Stage::Committed)).unwrap();
    assert_eq!(heads(), (Some(1), None));
    database.put_batch(&batch(1, at(0), at(2), Stage::Executed)).unwrap();
    database.put_batch(&batch(2, at(2), at(3), Stage::Proven)).unwrap();
    assert_eq!(heads(), (Some(2), Some(1)));
    let waiting = database.view().unwrap().batches_up_to(Stage::Proven, 10).unwrap();
    assert_eq!(waiting.iter().map(|batch| batch.number).collect::<Vec<_>>(), [2]);
    // L1 was reorganised: the commit is gone.
    database.put_batch(&batch(2, at(2), at(3), Stage::Available)).unwrap();
    assert_eq!(heads(), (Some(1), Some(1)));

    assert!(matches!(database.prune_undo(3), Err(StorageError::NotExecuted { asked: 3, executed: 2 })));
    // A step has one block at least, however little it may take, and no more than it may take otherwise.
    assert!(matches!(database.prune_undo_step(3, 1), Err(StorageError::NotExecuted { asked: 3, executed: 2 })));
    let step = database.prune_undo_step(2, 1).unwrap();
    assert_eq!((step.floor, step.blocks, step.is_done), (1, 1, false));
    let step = database.prune_undo_step(2, usize::MAX).unwrap();
    assert_eq!((step.floor, step.blocks, step.is_done), (2, 1, true));
    let step = database.prune_undo_step(2, 1).unwrap();
    assert_eq!((step.floor, step.blocks, step.records, step.is_done), (2, 0, 0, true));
    assert!(matches!(database.prune_blocks(3), Err(StorageError::OutsideWindow { .. })));
    database.revert_to(2, false).unwrap();
    assert_eq!((of(2), of(3)), (Some(1), None));
    assert!(matches!(database.revert_to(1, false), Err(StorageError::OutsideWindow { .. })));
    assert_eq!(database.view().unwrap().last_batch().unwrap().unwrap().number, 1);
}

#[test]
fn l1_is_followed_and_rewound() {
    let (_folder, twin) = twin();
    let database = &twin.database;
    let cursor = |number| L1Cursor { number, hash: Hash([number as u8; 32]) };
    let request = |byte: u8| vec![byte; 65];
    let all = || database.view().unwrap().requests(0, 100).unwrap();
    database.follow_l1(&cursor(1), 0, &[request(1), request(2)]).unwrap();
    database.follow_l1(&cursor(2), 2, &[request(3)]).unwrap();
    assert_eq!(all(), [request(1), request(2), request(3)]);
    assert!(matches!(
        database.follow_l1(&cursor(3), 4, &[request(5)]),
        Err(StorageError::RequestOutOfPlace { got: 4, expected: 3 })
    ));
    database.follow_l1(&cursor(1), 1, &[request(9)]).unwrap();
    assert_eq!(all(), [request(1), request(9)]);
    assert_eq!(database.view().unwrap().l1_cursor().unwrap(), Some(cursor(1)));
    assert_eq!(database.view().unwrap().requests(1, 1).unwrap(), [request(9)]);
}

#[test]
fn blocks_that_consumed_requests_which_l1_took_back_are_found() {
    let (_folder, mut twin) = twin();
    let (first, second) = (twin.block(4), twin.block(4));
    let requests: Vec<_> = [&first, &second].iter().flat_map(|block| block.items.requests.clone()).collect();
    let cursor = |number| L1Cursor { number, hash: Hash([number as u8; 32]) };
    let database = twin.database.clone();
    let missing = || database.view().unwrap().requests_missing().unwrap();
    assert_eq!(missing(), Some(0), "none was read");
    database.follow_l1(&cursor(1), 0, &requests).unwrap();
    assert_eq!(missing(), None);
    database.follow_l1(&cursor(2), requests.len() as u64, &[vec![1; 65]]).unwrap();
    assert_eq!(missing(), None, "one that waits is nobody's yet");
    let last = requests.len() as u64 - 1;
    database.follow_l1(&cursor(2), last, &[]).unwrap();
    assert_eq!(missing(), Some(last), "it was taken back");
    // As many as before, and one of them another: killed at this moment, nobody is told.
    let in_second = first.items.requests.len() as u64;
    let others: Vec<_> = requests[in_second as usize..].iter().rev().cloned().chain([vec![1; 65]]).collect();
    assert_ne!(others[0], requests[in_second as usize]);
    database.follow_l1(&cursor(3), in_second, &others).unwrap();
    assert_eq!(missing(), Some(in_second));
    assert_eq!(database.view().unwrap().last_block_before_request(in_second).unwrap(), Some(1));
    twin.revert_to(1);
    assert_eq!(missing(), None);
}

#[test]
fn the_journal_keeps_its_spaces_apart() {
    let (_folder, twin) = twin();
    let database = &twin.database;
    let put = |space, key: &[u8], value: &[u8]| JournalEdit::Put { space, key: key.to_vec(), value: value.to_vec() };
    database
        .journal_write(&[put(Space::Outbox, &[1], b"a"), put(Space::Outbox, &[2], b"b"), put(Space::Node, &[1], b"c")])
        .unwrap();
    let delete = JournalEdit::Delete { space: Space::Outbox, key: vec![1] };
    let too_long = put(Space::Outbox, &[0; JournalEdit::KEY_BYTES_MAX + 1], b"");
    assert!(matches!(database.journal_write(&[delete.clone(), too_long]), Err(StorageError::TooMuch { .. })));
    let scan = |space, from: &[u8]| database.view().unwrap().journal_scan(space, from).unwrap();
    assert_eq!(scan(Space::Outbox, &[]).len(), 2, "all edits or none");
    database.journal_write(&[delete]).unwrap();
    assert_eq!(scan(Space::Outbox, &[]), [(vec![2], b"b".to_vec())]);
    assert_eq!(scan(Space::Outbox, &[3]), []);
    assert_eq!(scan(Space::Settlement, &[]), []);
    database.put_certificate(7, b"certificate").unwrap();
    database.put_proof(7, b"proof").unwrap();
    let view = database.view().unwrap();
    assert_eq!(view.certificate(7).unwrap().as_deref(), Some(b"certificate".as_slice()));
    assert_eq!(view.proof(7).unwrap().as_deref(), Some(b"proof".as_slice()));
    assert_eq!(view.proof(8).unwrap(), None);
    assert_eq!(view.journal(Space::Node, &[1]).unwrap().as_deref(), Some(b"c".as_slice()));
}

#[test]
fn another_chain_and_another_schema_are_refused() {
    let (folder, twin) = twin();
    let genesis = twin.chain.genesis;
    assert!(Database::open(folder.path(), &genesis).is_err(), "the database is in use");
    drop(twin);
    let other = joule_protocol::Genesis { salt: Hash([8; 32]), ..genesis };
    assert!(matches!(Database::open(folder.path(), &other), Err(StorageError::OtherGenesis { .. })));
    drop(Database::open(folder.path(), &genesis).unwrap());
    let columns = rocksdb::DB::list_cf(&rocksdb::Options::default(), folder.path()).unwrap();
    let raw = rocksdb::DB::open_cf(&rocksdb::Options::default(), folder.path(), &columns).unwrap();
    raw.put_cf(raw.cf_handle("meta").unwrap(), b"schema", 99u32.to_be_bytes()).unwrap();
    drop(raw);
    assert!(matches!(
        Database::open(folder.path(), &genesis),
        Err(StorageError::UnknownSchema { got: 99, expected: 1, .. })
    ));
}
