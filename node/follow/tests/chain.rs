//! A follower that is shown what a sequencer signs, true and false.

use std::sync::Arc;

use alloy_primitives::{Address, B256};
use joule_committee_client::checkpoint_hash;
use joule_follow::{Applied, BlockRefused, Chain, ChainError, Change, Halt, Hold, Need, SignedBlock, l1::L1View};
use joule_kernel::{address_of, sign};
use joule_l1::{AvailableAt, BatchOnL1, StageOnL1};
use joule_protocol::{Checkpoint, Hash, Native};
use joule_state::BlockItems;
use joule_storage::{BlockRecord, Database, L1Cursor, Stage, block_signing_hash};
use joule_workload::{Chain as Genesis, GENESIS_SECONDS, Population, payments};
use proptest::prelude::*;
use secp256k1::{PublicKey, SecretKey};
use tempfile::TempDir;

const SEQUENCER: [u8; 32] = [5; 32];

fn address(secret: [u8; 32]) -> joule_protocol::Address {
    let key = SecretKey::from_secret_bytes(secret).expect("a key");
    let public = PublicKey::from_secret_key(&key).serialize_uncompressed();
    address_of::<Native>(public[1..].try_into().expect("64 bytes"))
}

fn signed(record: &BlockRecord, secret: [u8; 32]) -> SignedBlock {
    let key = SecretKey::from_secret_bytes(secret).expect("a key");
    let digest = block_signing_hash(&record.header.hash::<Native>(), &record.items.encode());
    let mut record = record.clone();
    record.signature = Some(sign(&digest, &key).to_bytes());
    SignedBlock::of(&record).expect("signed")
}

/// A sequencer's disk with blocks on it, the first of deposits.
struct World {
    database: Database,
    requests: Vec<Vec<u8>>,
    _folder: TempDir,
}

fn database() -> (Database, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    (Database::open(folder.path().join("database"), &Genesis::test_genesis()).expect("opens"), folder)
}

fn sequenced() -> World {
    let (database, folder) = database();
    let population = Population::new(3, &Genesis::test_genesis(), 4, 1);
    let now = GENESIS_SECONDS + 60;
    let stream = payments(&population, now, 100, 24);
    let requests = stream.deposits;
    let transactions: Vec<_> =
        stream.setup.into_iter().chain(stream.payments.into_iter().map(|(_, bytes)| bytes)).collect();
    let mut execution = database.execution().expect("an execution");
    let first = BlockItems { timestamp: now, base_fee: 100, requests: requests.clone(), transactions: Vec::new() };
    let rest = transactions.chunks(6).map(|transactions| BlockItems {
        timestamp: now,
        base_fee: 100,
        requests: Vec::new(),
        transactions: transactions.to_vec(),
    });
    for items in std::iter::once(first).chain(rest) {
        let executed = execution.replay(&items).expect("a block");
        database.commit_block(&BlockRecord::new(&executed, None), &executed.sealed.changes).expect("a commit");
        execution.follow(&executed.sealed);
    }
    World { database, requests, _folder: folder }
}

impl World {
    fn record(&self, number: u64) -> BlockRecord {
        self.database.view().expect("a view").block(number).expect("reads").expect("there")
    }

    fn block(&self, number: u64) -> SignedBlock {
        signed(&self.record(number), SEQUENCER)
    }

    fn checkpoint(&self, number: u64) -> Checkpoint {
        self.database.view().expect("a view").checkpoint(number).expect("reads").expect("there")
    }

    fn follower(&self) -> (Chain, TempDir) {
        let (database, folder) = database();
        database.follow_l1(&L1Cursor { number: 1, hash: Hash([1; 32]) }, 0, &self.requests).expect("writes");
        (Chain::open(database).expect("opens"), folder)
    }

    /// L1 with batches that end at these blocks.
    fn l1(&self, ends: &[u64], stage: StageOnL1) -> L1View {
        let mut parent = self.checkpoint(0);
        let batches = ends.iter().zip(1..).map(|(&end, number)| {
            let checkpoint = self.checkpoint(end);
            let batch = BatchOnL1 {
                number,
                parent: checkpoint_hash(&parent),
                checkpoint,
                revert_count: 0,
                data_bytes: 1,
                available_at: AvailableAt::L1,
                stage,
                block_number: 1,
                transaction: B256::ZERO,
            };
            parent = checkpoint;
            batch
        });
        view_of(batches.collect())
    }
}

fn view_of(batches: Vec<BatchOnL1>) -> L1View {
    L1View {
        l1_chain_id: 1,
        rollup: Address::ZERO,
        time_s: GENESIS_SECONDS + 1_000,
        timestamp_skew_s: 60,
        remaining_min_s: 60,
        sequencer: Address::new(address(SEQUENCER).0),
        is_late: false,
        is_frozen: false,
        revert_count: 0,
        protocol_version: 1,
        ecdsa_keyset: None,
        bls_keyset: None,
        batches: Arc::new(batches),
        request_accs: Arc::new(Vec::new()),
    }
}

#[test]
fn what_was_signed_and_executes_is_taken_in_order() {
    let world = sequenced();
    let (mut chain, _folder) = world.follower();
    assert_eq!(chain.apply(&world.block(2)).expect("judged"), Applied::Ahead);
    assert_eq!(chain.apply(&world.block(1)).expect("judged"), Applied::Taken);
    assert_eq!(chain.apply(&world.block(1)).expect("judged"), Applied::Known);
    assert_eq!(chain.apply(&world.block(2)).expect("judged"), Applied::Taken);
    assert_eq!(chain.take_changes(), [Change::Block(1), Change::Block(2)]);
    assert_eq!(chain.database().view().expect("a view").head(), &world.checkpoint(2));
    let kept = chain.database().view().expect("a view").block(2).expect("reads").expect("there");
    assert_eq!(SignedBlock::of(&kept), Some(world.block(2)), "it can be served to others");
}

#[test]
fn a_block_waits_for_the_requests_that_l1_has_not_shown_here() {
    let world = sequenced();
    let (empty, _folder) = database();
    let mut chain = Chain::open(empty).expect("opens");
    assert_eq!(chain.apply(&world.block(1)).expect("judged"), Applied::AwaitsRequests);
    let mut others = world.requests.clone();
    others.swap(0, 1);
    let cursor = L1Cursor { number: 1, hash: Hash([1; 32]) };
    chain.database().follow_l1(&cursor, 0, &others).expect("writes");
    assert_eq!(chain.apply(&world.block(1)).expect("judged"), Applied::AwaitsRequests, "L1 has others");
    chain.database().follow_l1(&cursor, 0, &world.requests).expect("writes");
    assert_eq!(chain.apply(&world.block(1)).expect("judged"), Applied::Taken);
}

#[test]
fn while_it_waits_no_block_is_taken_and_nothing_is_forgotten() {
    let world = sequenced();
    let (mut chain, _folder) = world.follower();
    for number in 1..=3 {
        assert_eq!(chain.apply(&world.block(number)).expect("judged"), Applied::Taken);
    }
    let l1 = world.l1(&[1, 2, 4], StageOnL1::Committed);
    let noted =
        |chain: &Chain| chain.database().view().expect("a view").last_batch().expect("reads").map(|last| last.number);
    assert_eq!(chain.follow(&l1, 1).expect("judged"), Need::Nothing, "of what is certified nothing is missing");
    assert_eq!(noted(&chain), Some(1));
    assert_eq!(chain.follow(&l1, 2).expect("judged"), Need::Nothing);
    // Fewer are certified than were before: they are checked again after a start, and L1 has dropped none.
    for certified in [0, 1] {
        assert_eq!(chain.follow(&l1, certified).expect("judged"), Need::Nothing);
        assert_eq!(noted(&chain), Some(2));
    }
    let hold = Hold::NoCertificate { batch: 3, reason: "nobody shows it".to_owned() };
    chain.hold(Some(hold.clone()));
    assert!(matches!(chain.apply(&world.block(4)), Err(ChainError::Held(held)) if *held == hold));
    assert_eq!((chain.head(), chain.held()), (3, Some(&hold)));
    // What L1 drops is dropped meanwhile, too.
    assert_eq!(chain.follow(&world.l1(&[1], StageOnL1::Committed), 1).expect("judged"), Need::Nothing);
    assert_eq!(noted(&chain), Some(1));
    chain.hold(None);
    assert_eq!(chain.apply(&world.block(4)).expect("judged"), Applied::Taken);
    assert_eq!(chain.follow(&l1, 3).expect("judged"), Need::Nothing);
    assert_eq!(noted(&chain), Some(3));
}

#[test]
fn a_wrong_root_is_never_followed() {
    let world = sequenced();
    // The sequencer signs a header that its items do not lead to.
    let mut lie = world.record(1);
    lie.header.state_root = world.record(2).header.state_root;
    let (mut chain, _folder) = world.follower();
    let halted = chain.apply(&signed(&lie, SEQUENCER));
    assert!(matches!(halted, Err(ChainError::Halted(halt)) if matches!(*halt, Halt::WrongBlock { number: 1, .. })));
    assert_eq!(chain.head(), 0);
    assert!(matches!(chain.apply(&world.block(1)), Err(ChainError::Halted(_))), "it goes no further");

    // It signs a block that has no proof.
    let mut lie = world.record(1);
    lie.items.transactions.push(vec![1, 2, 3]);
    let (mut chain, _folder) = world.follower();
    let halted = chain.apply(&signed(&lie, SEQUENCER));
    assert!(matches!(halted, Err(ChainError::Halted(halt)) if matches!(*halt, Halt::Unprovable { number: 1, .. })));
}

#[test]
fn nobody_else_can_make_it_halt() {
    let world = sequenced();
    let sequencer = address(SEQUENCER);
    let mut lie = world.record(1);
    lie.header.state_root = world.record(2).header.state_root;
    let refused = SignedBlock::read(&signed(&lie, [6; 32]).encode(), &sequencer);
    assert!(matches!(refused, Err(BlockRefused::NotSequencer { number: 1, .. })));
    // A true signature over other items: the signature binds them.
    let mut record = world.record(1);
    record.signature = Some(*world.block(1).signature());
    record.items.requests.pop();
    let refused = SignedBlock::read(&SignedBlock::of(&record).expect("signed").encode(), &sequencer);
    assert!(matches!(refused, Err(BlockRefused::NotSequencer { number: 1, .. })));
    let bytes = world.block(2).encode();
    assert_eq!(SignedBlock::read(&bytes, &sequencer), Ok(world.block(2)));
    for length in 0..bytes.len() {
        assert!(SignedBlock::read(&bytes[..length], &sequencer).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn bytes_that_nobody_signed_are_no_block(bytes in prop::collection::vec(any::<u8>(), 0..400), flip in any::<(prop::sample::Index, u8)>()) {
        let sequencer = address(SEQUENCER);
        prop_assert!(SignedBlock::read(&bytes, &sequencer).is_err());
        let mut block = sequenced_once().clone();
        let at = flip.0.index(block.len());
        block[at] ^= flip.1 | 1;
        prop_assert!(SignedBlock::read(&block, &sequencer).is_err());
    }
}

fn sequenced_once() -> &'static Vec<u8> {
    static BLOCK: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    BLOCK.get_or_init(|| sequenced().block(2).encode())
}

#[test]
fn batches_follow_l1_forwards_and_back() {
    let world = sequenced();
    let (mut chain, _folder) = world.follower();
    for number in 1..=3 {
        chain.apply(&world.block(number)).expect("taken");
    }
    let committed = world.l1(&[2, 4], StageOnL1::Committed);
    assert_eq!(chain.follow(&committed, u64::MAX).expect("follows"), Need::Blocks { number: 2 });
    assert_eq!(chain.database().view().expect("a view").last_batch().expect("reads").expect("noted").number, 1);
    chain.apply(&world.block(4)).expect("taken");
    assert_eq!(chain.follow(&committed, u64::MAX).expect("follows"), Need::Nothing);
    // Dropped: the blocks stay, and are noted again when they are committed again.
    assert_eq!(chain.follow(&world.l1(&[2], StageOnL1::Committed), u64::MAX).expect("follows"), Need::Nothing);
    assert_eq!(chain.database().view().expect("a view").last_batch().expect("reads").expect("noted").number, 1);
    assert_eq!(chain.head(), 4);
    assert_eq!(chain.follow(&world.l1(&[2, 4], StageOnL1::Executed), u64::MAX).expect("follows"), Need::Nothing);
    let view = chain.database().view().expect("a view");
    assert_eq!(view.executed_batch().expect("reads").expect("noted").stage, Stage::Executed);
    assert_eq!(view.floor(), &world.checkpoint(4), "earlier states are dropped");
    drop(view);
    // L1 cannot have another batch in that place.
    let mut other = (*world.l1(&[2, 4], StageOnL1::Executed).batches).clone();
    other[1].checkpoint.timestamp += 1;
    let halted = chain.follow(&view_of(other), u64::MAX);
    assert!(matches!(halted, Err(ChainError::Halted(halt)) if matches!(*halt, Halt::Pruned { batch: 2, .. })));
}

#[test]
fn a_batch_that_was_dropped_and_committed_again_between_two_looks_counts_anew() {
    let world = sequenced();
    let (mut chain, _folder) = world.follower();
    for number in 1..=4 {
        chain.apply(&world.block(number)).expect("taken");
    }
    let batch = |chain: &Chain, number| chain.database().view().expect("a view").batch(number).expect("reads");
    let revert_count = |chain: &Chain, number| batch(chain, number).expect("noted").revert_count;
    assert_eq!(chain.follow(&world.l1(&[1, 2, 4], StageOnL1::Committed), u64::MAX).expect("follows"), Need::Nothing);
    let mut again = (*world.l1(&[1, 2, 4], StageOnL1::Committed).batches).clone();
    for batch in &mut again[1..] {
        batch.revert_count = 1;
    }
    let again = view_of(again);
    // The same blocks under another certificate, and the one of the third is not there yet.
    assert_eq!(chain.follow(&again, 2).expect("follows"), Need::Nothing);
    assert_eq!((revert_count(&chain, 1), revert_count(&chain, 2)), (0, 1));
    assert!(batch(&chain, 3).is_none(), "it is not certified");
    assert_eq!(chain.follow(&again, 3).expect("follows"), Need::Nothing);
    assert_eq!(revert_count(&chain, 3), 1);
    assert_eq!(chain.head(), 4, "the blocks stay");
}

#[test]
fn a_reorganised_l1_is_followed_in_every_field_of_every_batch() {
    let world = sequenced();
    let (mut chain, _folder) = world.follower();
    for number in 1..=4 {
        chain.apply(&world.block(number)).expect("taken");
    }
    let follow = |chain: &mut Chain, l1: &L1View| chain.follow(l1, u64::MAX).expect("follows");
    let notes = |chain: &Chain| {
        let view = chain.database().view().expect("a view");
        let batches = (1..=3).map(|number| view.batch(number).expect("reads").expect("noted"));
        batches
            .map(|batch| (batch.last_block, batch.stage, batch.l1_transaction.expect("known").0[0]))
            .collect::<Vec<_>>()
    };
    assert_eq!(follow(&mut chain, &world.l1(&[1, 3, 4], StageOnL1::Committed)), Need::Nothing);
    assert_eq!(notes(&chain), [1, 3, 4].map(|end| (end, Stage::Committed, 0)));
    // The first batch is another. The second, which ends where it did, starts elsewhere; and the third is what it was.
    assert_eq!(follow(&mut chain, &world.l1(&[2, 3, 4], StageOnL1::Committed)), Need::Nothing);
    assert_eq!(notes(&chain), [2, 3, 4].map(|end| (end, Stage::Committed, 0)));
    assert_eq!(follow(&mut chain, &world.l1(&[2, 3, 4], StageOnL1::Executed)), Need::Nothing);
    assert_eq!(notes(&chain), [2, 3, 4].map(|end| (end, Stage::Executed, 0)));
    // All are executed as before, the first one from another transaction.
    let mut moved = (*world.l1(&[2, 3, 4], StageOnL1::Executed).batches).clone();
    moved[0].transaction = B256::repeat_byte(1);
    assert_eq!(follow(&mut chain, &view_of(moved)), Need::Nothing);
    assert_eq!(notes(&chain), [(2, Stage::Executed, 1), (3, Stage::Executed, 0), (4, Stage::Executed, 0)]);
    // Two executions are gone at once.
    let mut undone = (*world.l1(&[2, 3, 4], StageOnL1::Executed).batches).clone();
    undone[1..].iter_mut().for_each(|batch| batch.stage = StageOnL1::Committed);
    assert_eq!(follow(&mut chain, &view_of(undone)), Need::Nothing);
    assert_eq!(notes(&chain), [(2, Stage::Executed, 0), (3, Stage::Committed, 0), (4, Stage::Committed, 0)]);
    let executed = chain.database().view().expect("a view").executed_batch().expect("reads").expect("one");
    assert_eq!(executed.number, 1);
}

#[test]
fn batches_are_noted_again_from_states_inside_of_them() {
    let world = sequenced();
    for rests_at in 1..=3 {
        let (mut chain, _folder) = world.follower();
        for number in 1..=4 {
            chain.apply(&world.block(number)).expect("taken");
        }
        chain.follow(&world.l1(&[2, 4], StageOnL1::Committed), u64::MAX).expect("follows");
        for number in 1..=2 {
            let mut batch = chain.database().view().expect("a view").batch(number).expect("reads").expect("noted");
            batch.stage = Stage::Executed;
            chain.database().put_batch(&batch).expect("executed");
        }
        for _ in 0..rests_at {
            chain.database().prune_undo_step(4, 1).expect("a block pruned");
        }
        assert_eq!(chain.database().view().expect("a view").floor(), &world.checkpoint(rests_at));
        // An L1 node that shows no batch at all, for a moment.
        assert_eq!(chain.follow(&world.l1(&[], StageOnL1::Committed), u64::MAX).expect("follows"), Need::Nothing);
        assert!(chain.database().view().expect("a view").last_batch().expect("reads").is_none());
        assert_eq!(chain.follow(&world.l1(&[2, 4], StageOnL1::Executed), u64::MAX).expect("follows"), Need::Nothing);
        let view = chain.database().view().expect("a view");
        let noted = view.executed_batch().expect("reads").expect("noted again");
        assert_eq!((noted.number, noted.last_block), (2, 4), "from block {rests_at}");
    }
}

#[test]
fn a_batch_that_contradicts_is_judged_by_its_data() {
    let world = sequenced();
    let (mut chain, _folder) = world.follower();
    for number in 1..=3 {
        chain.apply(&world.block(number)).expect("taken");
    }
    let mut other = (*world.l1(&[3], StageOnL1::Committed).batches).clone();
    other[0].checkpoint.state_root = world.record(1).header.state_root;
    let l1 = view_of(other);
    assert_eq!(chain.follow(&l1, u64::MAX).expect("follows"), Need::Contradiction { number: 1 });
    let chunks: Vec<_> = (1..=3).map(|number| world.record(number).chunk).collect();
    assert_eq!(chain.compare(&l1, 1, &chunks).expect("compared"), None, "the data is what is here");

    // Other inputs: L1 decides, and the blocks here go.
    let mut others = chunks.clone();
    others[1] = [&chunks[2][..4], &2_u64.to_be_bytes(), &chunks[2][12..]].concat();
    assert_eq!(chain.compare(&l1, 1, &others).expect("compared"), Some(2));
    assert_eq!(chain.head(), 1);
    assert_eq!(chain.take_changes().last(), Some(&Change::Reverted(1)));

    // The same inputs and another result: somebody proved or committed what is not so.
    chain.apply(&world.block(2)).expect("taken");
    let mut others = chunks.clone();
    let root = world.record(1).header.state_root.to_hash().0;
    let at = others[1].len() - 32;
    others[1][at..].copy_from_slice(&root);
    let halted = chain.compare(&l1, 1, &others);
    assert!(
        matches!(&halted, Err(ChainError::Halted(halt)) if matches!(**halt, Halt::WrongRoot { block: 2, .. })),
        "{halted:?}"
    );
}

#[test]
fn requests_that_l1_takes_back_take_their_blocks_with_them() {
    let world = sequenced();
    let (mut chain, _folder) = world.follower();
    for number in 1..=2 {
        chain.apply(&world.block(number)).expect("taken");
    }
    chain.requests_changed(world.requests.len() as u64).expect("nothing that was consumed");
    assert_eq!(chain.head(), 2);
    chain.requests_changed(1).expect("undone");
    assert_eq!(chain.head(), 0);
    assert_eq!(chain.database().view().expect("a view").head(), &world.checkpoint(0));

    // Killed between the two, it finds out at the start.
    chain.apply(&world.block(1)).expect("taken");
    let database = chain.database().clone();
    database.follow_l1(&L1Cursor { number: 1, hash: Hash([1; 32]) }, 1, &[]).expect("writes");
    drop(chain);
    assert_eq!(Chain::open(database).expect("opens").head(), 0);
}
