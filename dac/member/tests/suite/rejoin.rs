//! Members that were away, disks that are empty, batches that L1 dropped.

use std::sync::Arc;

use alloy::primitives::B256;
use joule_committee_client::{Committee, RefusalCode, SealedBatch, checkpoint_hash};
use joule_dac::{
    join::{self, KeysHistory, Origin},
    journal, sync,
};

use super::support::{LIMIT, RunningMember, World, committee_of, endpoints, seats, start_all};

fn ends(batch: &SealedBatch) -> (B256, B256) {
    (checkpoint_hash(&batch.parent), checkpoint_hash(&batch.checkpoint))
}

async fn certified(world: &mut World, members: &[RunningMember], count: usize) -> SealedBatch {
    let batch = world.seal(count).await;
    world.publish(members, &batch).await;
    batch
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_was_away_gets_what_it_missed_from_its_peers_and_signs_again() {
    let mut world = World::start().await;
    world.fund(30).await;
    let mut all = seats().await;
    let peers = endpoints(&all);
    let away = all.pop().expect("five");
    let mut members = Vec::new();
    for seat in all {
        members.push(seat.start(&world, peers.clone()).await);
    }
    // Four of five are there: one batch executed, one committed, one certified and not committed.
    let first = certified(&mut world, &members, 20).await;
    world.execute(&first).await;
    let second = certified(&mut world, &members, 10).await;
    let third = world.seal(5).await;
    let l1 = world.view().await;
    let offer = world.maker.offer(third, &l1, world.keyset.hash(), l1.time_s + 20_000).expect("an offer");
    for member in &members {
        member.sees(|l1| l1.committed() == 2).await;
        member.holds(2, 1).await;
        let status = member.member.status().await.expect("a status");
        assert!(status.not_ready.is_none(), "{status:?}");
        member.member.offer(offer.encode()).await.expect("signs");
    }

    // It comes back, catches up with L1 by itself, and with the batch that only its peers know when the next one is offered.
    let back = away.start(&world, peers).await;
    back.sees(|l1| l1.committed() == 2).await;
    let fourth = world.seal(5).await;
    let offer = world.maker.offer(fourth, &l1, world.keyset.hash(), l1.time_s + 20_000).expect("an offer");
    let client = Committee::new(members.iter().map(|member| member.seat.endpoint.clone()).collect()).expect("a client");
    loop {
        match back.member.offer(offer.encode()).await {
            Ok(share) => {
                share.verify(&world.keyset).expect("verifies");
                break;
            }
            Err(refusal) => {
                assert!(refusal.code.is_retryable(), "{refusal}");
                // The member works at it beside; this is the same work, awaited.
                let _ = sync::catch_up(&back.member, &client, LIMIT).await;
            }
        }
    }
    let (parent, checkpoint) = ends(&second);
    let own = Committee::new(vec![back.seat.endpoint.clone()]).expect("a client");
    assert_eq!(own.data(parent, checkpoint, LIMIT).await.expect("served").data_bytes(), second.data_bytes);
    members.push(back);
    for member in members {
        member.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_that_l1_drops_are_undone_and_their_places_can_be_signed_anew() {
    let mut world = World::start().await;
    world.fund(30).await;
    let members = start_all(&world).await;
    let first = certified(&mut world, &members, 20).await;
    world.execute(&first).await;
    let fork = (world.maker.clone(), world.transactions.clone());
    let second = certified(&mut world, &members, 10).await;
    let drop_it = world.rollup.revertBatches(1).from(world.maker.sequencer());
    assert!(drop_it.send().await.expect("sends").get_receipt().await.expect("mined").status());
    for member in &members {
        member.sees(|l1| l1.revert_count == 1 && l1.committed() == 1).await;
        member.holds(1, 1).await;
        assert_eq!(member.member.last_number().expect("reads"), 1, "the dropped batch is undone");
    }
    // Another batch in its place: other transactions, the same number and parent, one drop later.
    (world.maker, world.transactions) = fork;
    let other = certified(&mut world, &members, 3).await;
    assert_eq!(other.number, 2);
    assert_eq!(other.parent, second.parent);
    assert_ne!(other.checkpoint, second.checkpoint);
    world.execute(&other).await;
    for member in &members {
        member.sees(|l1| l1.executed() == 2).await;
    }
    for member in members {
        member.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_survivor_and_l1_are_enough_to_rebuild_the_state_and_to_join() {
    let mut world = World::start().await;
    world.fund(40).await;
    let mut members = start_all(&world).await;
    let first = certified(&mut world, &members, 20).await;
    // The second batch's data goes to L1: members execute it all the same when it is offered.
    let second = world.seal(10).await;
    let l1 = world.view().await;
    let offer = world.maker.offer(second.clone(), &l1, world.keyset.hash(), l1.time_s + 20_000).expect("an offer");
    for member in &members {
        member.sees(|l1| l1.committed() == 1).await;
        member.holds(1, 0).await;
        member.member.offer(offer.encode()).await.expect("signs");
    }
    let (parent, checkpoint) = ends(&second);
    let client = committee_of(&members);
    let chunks = client.data(parent, checkpoint, LIMIT).await.expect("data").chunks().to_vec();
    world.commit_on_l1(&second, &chunks).await;
    let third = certified(&mut world, &members, 10).await;
    for batch in [&first, &second, &third] {
        world.execute(batch).await;
    }
    let root = world.maker.tree().root();
    let fourth = certified(&mut world, &members, 2).await;

    // Four disks are lost, of which the survivor needs nothing any more.
    let survivor = members.remove(0);
    survivor.holds(4, 3).await;
    let mut lost = Vec::new();
    for member in members {
        lost.push(member.stop().await);
    }
    survivor.sees(|l1| l1.executed() == 3 && l1.committed() == 4).await;
    let peers = Arc::new(Committee::new(vec![survivor.seat.endpoint.clone()]).expect("a client"));
    let (l1, history) = (world.client().await, world.history().await);
    let (tree, reached) = joule_follow::rebuild(&world.genesis, &l1, &history, &peers, LIMIT).await.expect("rebuilds");
    assert_eq!((tree.root(), reached), (root, third.checkpoint));

    // A new member from that data alone: the survivor has made no snapshot yet.
    let fresh = tempfile::tempdir().expect("a folder");
    let path = fresh.path().join("database");
    let joined = join::join(&path, &world.genesis, &l1, &history, &peers, KeysHistory::Unused, LIMIT).await;
    let (database, origin) = joined.expect("joins");
    assert_eq!(origin, Origin::Data { number: 3 });
    assert_eq!(database.view().expect("a view").tree().expect("a tree").root(), root);
    drop(database);

    // And from a snapshot, into a seat that has lost its disk: it catches up, and signs nothing that its keys may have signed.
    sync::snapshot_and_prune(&survivor.member, u64::MAX).await.expect("writes").expect("a snapshot");
    let mut seat = lost.remove(0);
    seat.lose_disk();
    let path = seat.path();
    let joined = join::join(&path, &world.genesis, &l1, &history, &peers, KeysHistory::MayHaveSigned, LIMIT).await;
    let (database, origin) = joined.expect("joins");
    assert_eq!(origin, Origin::Snapshot { number: 3 });
    assert_eq!(journal::base(&database.view().expect("a view")).expect("reads"), 3);
    drop(database);
    let back = seat.start(&world, vec![survivor.seat.endpoint.clone()]).await;
    sync::catch_up(&back.member, &peers, LIMIT).await.expect("catches up");
    assert_eq!(back.member.last_number().expect("reads"), 4);
    let (parent, checkpoint) = ends(&fourth);
    let own = Committee::new(vec![back.seat.endpoint.clone()]).expect("a client");
    own.data(parent, checkpoint, LIMIT).await.expect("served");
    let fifth = world.seal(1).await;
    let view = world.view().await;
    let offer = world.maker.offer(fifth, &view, world.keyset.hash(), view.time_s + 20_000).expect("an offer");
    let refusal = back.member.offer(offer.encode()).await.expect_err("refused");
    assert_eq!(refusal.code, RefusalCode::NotNext, "{refusal}");
    survivor.member.offer(offer.encode()).await.expect("whose disk survived signs");
    back.stop().await;
    survivor.stop().await;
}
