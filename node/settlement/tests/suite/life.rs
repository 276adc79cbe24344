//! A batch's life, with and without the committee.

use std::sync::atomic::Ordering;

use alloy::{
    primitives::{Address, B256, U256},
    providers::Provider,
};
use joule_contracts::Bridge;
use joule_l1::{AvailableAt, History};
use joule_protocol::{Chunk, MessageTree, Native, withdrawal_leaf};
use joule_settlement::{Alarm, Mode, Notice};
use joule_state::{MemoryStore, StateTree, apply_chunk};
use joule_storage::Stage;
use joule_workload::Chain;

use super::support::{Running, World};

fn alarms(seen: &[Notice]) -> Vec<Alarm> {
    let alarm = |notice: &Notice| match notice {
        Notice::Alarm(alarm) => Some(*alarm),
        Notice::Operator(_) | Notice::Stage { .. } => None,
    };
    seen.iter().filter_map(alarm).collect()
}

fn stages(seen: &[Notice], of: u64) -> Vec<Stage> {
    let stage = |notice: &Notice| match notice {
        Notice::Stage { number, stage } if *number == of => Some(*stage),
        _ => None,
    };
    seen.iter().filter_map(stage).collect()
}

#[tokio::test]
async fn deposits_come_in_and_withdrawals_go_out() {
    let mut world = World::start().await;
    world.deposit().await;
    let requests = world.requests().await;
    assert_eq!(requests.len(), 8);
    world.block(requests, Vec::new());
    let withdrawals: Vec<_> = (0..3).map(|wallet| world.withdrawal(wallet, 0x40 + wallet as u8, 500)).collect();
    world.block(Vec::new(), withdrawals);
    // Proofs come late, so that every step is a transaction of its own.
    world.provers.is_up.store(false, Ordering::SeqCst);
    let number = world.seal();
    let mut running = world.drive().await;
    running.until(&world, |rollup| rollup.committed == 1).await;
    running.turn().await;
    assert_eq!(world.stage(1), Stage::Committed);
    world.provers.is_up.store(true, Ordering::SeqCst);
    running.until_executed(&world, number).await;

    let seen = stages(&running.seen, 1);
    assert_eq!(seen, [Stage::Available, Stage::Committed, Stage::Proven, Stage::Executed]);
    assert_eq!(alarms(&running.seen), []);
    let rollup = world.rollup().await;
    assert_eq!((rollup.requests, rollup.executed_requests), (8, 8), "the requests are popped");
    world.check_history().await;

    let leaves = (0..3).map(|i| withdrawal_leaf::<Native>(i, &joule_protocol::Address([0x40 + i as u8; 20]), 500));
    let tree = MessageTree::new::<Native>(leaves.collect());
    for i in 0..3_u8 {
        let to = joule_protocol::Address([0x40 + i; 20]);
        let path = tree.path(i.into()).expect("a leaf").iter().map(|hash| B256::new(hash.0)).collect();
        let bridge = Bridge::new(world.addresses.bridge, world.user());
        world.send_user(bridge.claim(1, Bridge::Withdrawal::new(i.into(), to, 500), U256::from(i), path)).await;
        world.mine();
        let balance = world.user().get_balance(Address::new(to.0)).await.expect("a balance");
        assert_eq!(balance, U256::from(500));
    }
}

#[tokio::test]
async fn what_is_proven_already_is_settled_at_once() {
    let mut world = World::start().await;
    world.policy.settle_at_once_wait_s = 600;
    world.deposit().await;
    let requests = world.requests().await;
    world.block(requests, Vec::new());
    world.seal();
    let mut running = world.drive().await;
    running.until(&world, |rollup| rollup.executed == 1).await;
    let rollup = world.rollup().await;
    assert_eq!((rollup.committed, rollup.proven, rollup.executed), (1, 1, 1));
    let next = world.next_batch();
    running.handle.sealed(next).await.expect("taken");
    running.until_executed(&world, next).await;
    world.check_history().await;
    let history = history(&world).await;
    // One transaction each: commit and execution are in the same block.
    assert!(history.batches().iter().all(|batch| batch.available_at == AvailableAt::Committee { scheme: 1 }));
}

#[tokio::test]
async fn it_runs_as_a_task_until_it_is_stopped() {
    let mut world = World::start().await;
    world.deposit().await;
    world.mine_at_once();
    let requests = world.requests().await;
    world.block(requests, Vec::new());
    world.seal();
    let Running { driver, handle, mut notices, .. } = world.drive_with(0).await;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let task = tokio::spawn(driver.run(async move { drop(stopped.await) }));
    let number = world.next_batch();
    handle.sealed(number).await.expect("taken");
    let executed = Notice::Stage { number, stage: Stage::Executed };
    while notices.recv().await.expect("it runs") != executed {}
    stop.send(()).expect("it runs");
    task.await.expect("ends").expect("without an error");
    assert!(handle.sealed(number + 1).await.is_err(), "nobody is there");
    world.check_history().await;
}

async fn history(world: &World) -> History {
    let head = world.client.head().await.expect("a head");
    let first = world.database.view().expect("a view").batch(1).expect("reads").expect("a batch");
    History::read(&world.client, first.parent, head).await.expect("a history")
}

#[tokio::test]
async fn without_a_quorum_data_goes_to_l1_and_returns_by_rule() {
    let mut world = World::start().await;
    world.deposit().await;
    let requests = world.requests().await;
    world.block(requests, Vec::new());
    // More than one transaction carries.
    let mut bytes = 0;
    while bytes < 140_000 {
        let transactions = world.transfers(100);
        world.block(Vec::new(), transactions);
        let view = world.database.view().expect("a view");
        bytes += view.block(view.head().block_number).expect("reads").expect("a block").chunk.len();
    }
    world.seal();
    world.committee.is_up.store(false, Ordering::SeqCst);
    let mut running = world.drive().await;
    running.until_executed(&world, 1).await;
    assert_eq!(alarms(&running.seen), [Alarm::FellBack { number: 1 }]);
    assert!(matches!(running.driver.core().mode(), Mode::L1Data { .. }));
    let found = history(&world).await;
    assert_eq!(found.batches()[0].available_at, AvailableAt::L1);
    let view = world.database.view().expect("a view");
    let batch = view.batch(1).expect("reads").expect("a batch");
    let ours: Vec<_> = (batch.first_block..=batch.last_block)
        .map(|number| view.block(number).expect("reads").expect("a block").chunk)
        .collect();
    drop(view);
    let theirs = found.posted_chunks(&world.client, 1).await.expect("chunks");
    assert_eq!(theirs.iter().map(|chunk| chunk.to_vec()).collect::<Vec<_>>(), ours, "all data is on L1");

    rebuild_from_l1(&world, &found).await;

    // Sticky: the committee is well again, but not for long enough, and a restart changes nothing.
    world.committee.is_up.store(true, Ordering::SeqCst);
    let asked = world.committee.asked.load(Ordering::SeqCst);
    let next = world.next_batch();
    drop(running);
    let mut running = world.drive().await;
    running.until(&world, |rollup| rollup.committed == next).await;
    assert_eq!(world.committee.asked.load(Ordering::SeqCst), asked, "nobody asked");
    assert_eq!(history(&world).await.batches()[1].available_at, AvailableAt::L1);

    // Well for long enough.
    for _ in 0..20 {
        world.mine();
        running.turn().await;
    }
    assert_eq!(running.driver.core().mode(), Mode::Committee);
    let next = world.next_batch();
    running.handle.sealed(next).await.expect("taken");
    running.until_executed(&world, next).await;
    assert_eq!(history(&world).await.batches()[2].available_at, AvailableAt::Committee { scheme: 1 });
    world.check_history().await;
}

/// A full node with an empty disk: state from L1 alone.
async fn rebuild_from_l1(world: &World, history: &History) {
    let genesis = Chain::test_genesis();
    let mut tree = StateTree::genesis(MemoryStore::default(), &genesis).expect("a tree");
    let mut checkpoint = *history.parent_of(1).expect("genesis");
    for batch in history.batches() {
        let requests = history.requests_of(batch.number).expect("consistent");
        let mut requests = requests.iter();
        for chunk in history.posted_chunks(&world.client, batch.number).await.expect("chunks") {
            let consumed = Chunk::decode::<Native>(&chunk).expect("a chunk").request_outcomes.len();
            let mut acc = checkpoint.priority_acc;
            requests.by_ref().take(consumed).for_each(|request| acc.absorb::<Native>(&request.encode()));
            checkpoint = apply_chunk(&mut tree, &checkpoint, &chunk, acc).expect("follows");
        }
        assert_eq!(checkpoint, batch.checkpoint, "what L1 executed");
    }
    assert_eq!(tree.root(), world.database.view().expect("a view").head().state_root);
}

#[tokio::test]
async fn a_certificate_too_old_to_be_used_is_not() {
    let mut world = World::start().await;
    world.deposit().await;
    let requests = world.requests().await;
    world.block(requests, Vec::new());
    world.seal();
    world.committee.lifetime_s.store(7_200 + 700, Ordering::SeqCst);
    let mut running = world.drive().await;
    // Gathered, and then nothing is heard of L1 for a while.
    running.turn().await;
    running.turn().await;
    assert_eq!(world.stage(1), Stage::Available);
    world.wait(400);
    world.mine();
    drop(running);
    for entry in world.database.view().expect("a view").journal_scan(joule_storage::Space::Outbox, &[]).expect("reads")
    {
        let hash = joule_l1::Entry::decode(&entry.1).expect("an entry").last().hash;
        world.l1.chain().write(|chain, _| chain.drop_transaction(hash)).expect("not poisoned");
    }
    let mut running = world.drive().await;
    running.until_executed(&world, 1).await;
    world.check_history().await;
}

#[tokio::test]
async fn what_was_asked_for_ends_with_the_driver() {
    let mut world = World::start().await;
    world.deposit().await;
    let requests = world.requests().await;
    world.block(requests, Vec::new());
    world.provers.is_stuck.store(true, Ordering::SeqCst);
    let number = world.seal();
    let mut running = world.drive().await;
    running.until(&world, |rollup| rollup.committed == number).await;
    assert_eq!(world.provers.waited_for.load(Ordering::SeqCst), 1);
    drop(running);
    while world.provers.waited_for.load(Ordering::SeqCst) > 0 {
        tokio::task::yield_now().await;
    }
    // The next driver asks again, and goes on from there.
    world.provers.is_stuck.store(false, Ordering::SeqCst);
    world.drive().await.until_executed(&world, number).await;
}
