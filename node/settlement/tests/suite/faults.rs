//! Reorgs, restarts, strangers, refusals.

use std::sync::atomic::Ordering;

use alloy::providers::Provider;
use joule_contracts::Rollup;
use joule_l1::{Entry, OperatorAlarm, RollupState};
use joule_settlement::{Alarm, DriverError, Notice};
use joule_storage::{Space, Stage};

use super::support::{CONFIRMATIONS, World};

/// A chain with one batch sealed.
async fn world_with_a_batch() -> World {
    let mut world = World::start().await;
    world.deposit().await;
    let requests = world.requests().await;
    // Deposits are older than any reorg of these tests.
    for _ in 0..CONFIRMATIONS {
        world.mine();
    }
    world.block(requests, Vec::new());
    world.seal();
    world
}

/// Everything that the operator has in L1's pool is lost.
fn lose(world: &World) {
    let entries = world.database.view().expect("a view").journal_scan(Space::Outbox, &[]).expect("reads");
    for (_, bytes) in entries {
        let hash = Entry::decode(&bytes).expect("an entry").last().hash;
        world.l1.chain().write(|chain, _| chain.drop_transaction(hash)).expect("not poisoned");
    }
}

async fn a_reorg_below(reached: impl Fn(&RollupState) -> bool, committee_is_up: bool, depth: u64) {
    let world = world_with_a_batch().await;
    world.committee.is_up.store(committee_is_up, Ordering::SeqCst);
    let mut running = world.drive().await;
    running.until(&world, reached).await;
    running.turn().await;
    world.reorganise(depth);
    lose(&world);
    world.mine();
    running.until_executed(&world, 1).await;
    assert_eq!(world.rollup().await.revert_count, 0);
    world.check_history().await;
}

#[tokio::test]
async fn a_reorg_below_the_commit() {
    a_reorg_below(|rollup| rollup.committed == 1, true, 1).await;
}

#[tokio::test]
async fn a_reorg_below_posted_data() {
    a_reorg_below(|rollup| rollup.committed == 1, false, 2).await;
}

#[tokio::test]
async fn a_reorg_below_the_proof() {
    a_reorg_below(|rollup| rollup.proven == 1, true, 1).await;
}

#[tokio::test]
async fn a_reorg_below_the_execution() {
    a_reorg_below(|rollup| rollup.executed == 1, true, CONFIRMATIONS).await;
}

#[tokio::test]
async fn a_restart_at_every_turn() {
    let mut world = world_with_a_batch().await;
    for _ in 0..3 {
        world.next_batch();
    }
    // Each process looks at L1 twice, and dies with whatever it had in mind; half of them before L1 has heard of what they wrote down.
    for process in 0..120 {
        let mut running = world.drive().await;
        running.turn().await;
        running.turn().await;
        drop(running);
        if process % 2 == 0 {
            lose(&world);
        }
        world.mine();
        if world.stage(4) == Stage::Executed {
            break;
        }
    }
    assert_eq!(world.stage(4), Stage::Executed);
    world.check_history().await;
}

#[tokio::test]
async fn somebody_with_the_operators_key_does_not_stop_it() {
    let world = world_with_a_batch().await;
    let mut running = world.drive().await;
    running.turn().await;
    running.turn().await;
    // The commit is under way; its nonce is taken by something else, sent from the same key.
    lose(&world);
    let entries = world.database.view().expect("a view").journal_scan(Space::Outbox, &[]).expect("reads");
    let nonce = Entry::decode(&entries[0].1).expect("an entry").nonce;
    let thief = world.l1.provider(0);
    let request = alloy::rpc::types::TransactionRequest {
        to: Some(joule_testnet_support::address(9).into()),
        nonce: Some(nonce),
        gas: Some(21_000),
        max_fee_per_gas: Some(100_000_000_000),
        max_priority_fee_per_gas: Some(1_000_000_000),
        ..Default::default()
    };
    drop(thief.send_transaction(request).await.expect("sends"));
    world.mine();
    running.until_executed(&world, 1).await;
    for _ in 0..=CONFIRMATIONS {
        world.mine();
        running.turn().await;
    }
    let displaced = Notice::Operator(OperatorAlarm::Displaced { nonce });
    assert!(running.seen.contains(&displaced), "{:?}", running.seen);
    world.check_history().await;
}

#[tokio::test]
async fn a_proof_that_does_not_verify_is_asked_for_again() {
    let world = world_with_a_batch().await;
    world.provers.is_lying.store(true, Ordering::SeqCst);
    let mut running = world.drive().await;
    for _ in 0..12 {
        running.turn().await;
        world.mine();
    }
    assert_eq!(world.rollup().await.executed, 0);
    assert!(world.provers.asked.load(Ordering::SeqCst) > 1);
    world.provers.is_lying.store(false, Ordering::SeqCst);
    running.until_executed(&world, 1).await;
    world.check_history().await;
}

#[tokio::test]
async fn dropped_batches_are_committed_again_under_the_new_count() {
    let mut world = world_with_a_batch().await;
    world.next_batch();
    world.provers.is_up.store(false, Ordering::SeqCst);
    let mut running = world.drive().await;
    running.until(&world, |rollup| rollup.committed == 2).await;
    running.turn().await;
    // What L1 has cannot be sealed anew. (The driver answers while it turns.)
    let handle = running.handle.clone();
    let asked = tokio::spawn(async move { handle.drop_from(2).await });
    tokio::task::yield_now().await;
    running.turn().await;
    let refused = asked.await.expect("answers");
    assert!(matches!(refused, Err(DriverError::Drop(_))), "{refused:?}");
    running.handle.revert(0).await.expect("taken");
    running.until(&world, |rollup| rollup.revert_count == 1).await;
    assert!(world.rollup().await.committed < 2);
    world.provers.is_up.store(true, Ordering::SeqCst);
    running.until_executed(&world, 2).await;
    assert_eq!(world.rollup().await.revert_count, 1);
    world.check_history().await;
}

#[tokio::test]
async fn a_stranger_who_reverts_for_a_late_operator_changes_the_count_alone() {
    let world = world_with_a_batch().await;
    world.provers.is_up.store(false, Ordering::SeqCst);
    let mut running = world.drive().await;
    running.until(&world, |rollup| rollup.committed == 1).await;
    world.wait(3_100);
    world.mine();
    running.turn().await;
    assert!(running.seen.contains(&Notice::Alarm(Alarm::OperatorLate)), "{:?}", running.seen);
    world.send_user(Rollup::new(world.addresses.rollup, world.user()).revertBatches(0)).await;
    world.mine();
    assert_eq!(world.rollup().await.revert_count, 1);
    world.provers.is_up.store(true, Ordering::SeqCst);
    running.until_executed(&world, 1).await;
    world.check_history().await;
}

#[tokio::test]
async fn a_batch_that_is_undone_before_l1_could_have_it_makes_room_for_the_one_sealed_in_its_place() {
    let mut world = world_with_a_batch().await;
    world.provers.is_up.store(false, Ordering::SeqCst);
    // It waits for its proof, with its certificate.
    world.policy.settle_at_once_wait_s = 1 << 40;
    let mut running = world.drive().await;
    for _ in 0..3 {
        running.turn().await;
        world.mine();
    }
    assert_eq!((world.stage(1), world.rollup().await.committed), (Stage::Available, 0));
    world.undo();
    // Whatever is due meanwhile finds no batch, and settling goes on.
    for _ in 0..3 {
        world.wait(world.policy.retry_max_s);
        running.turn().await;
        world.mine();
    }
    let requests = world.requests().await;
    world.block(requests, Vec::new());
    assert_eq!(world.seal(), 1);
    running.handle.sealed(1).await.expect("settles");
    world.provers.is_up.store(true, Ordering::SeqCst);
    running.until_executed(&world, 1).await;
    // Members have signed the first under this count of drops and sign no other: the second's data goes to L1. That is all a person hears of it.
    let alarms: Vec<_> = running.seen.iter().filter(|notice| matches!(notice, Notice::Alarm(_))).collect();
    assert_eq!(alarms, [&Notice::Alarm(Alarm::FellBack { number: 1 })]);
    world.check_history().await;
}
