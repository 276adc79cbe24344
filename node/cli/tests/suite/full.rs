//! Full nodes that start late, from a snapshot, from data, and without a sequencer.

use std::fs;

use joule_node::{
    FullPlan, Start,
    snapshot::{self, SnapshotError},
};
use joule_rpc::Node;
use joule_storage::{Database, Stage};

use crate::world::{GOSSIP_WAIT, LIMIT, World, acknowledged, reaches};

#[tokio::test(flavor = "multi_thread")]
async fn full_nodes_reach_the_same_state_however_they_begin() {
    let mut world = World::start().await;
    let sequencer = world.sequencer().await;
    sequencer.funded().await;
    sequencer.pay(&mut world).await;
    sequencer.executed(1).await;
    sequencer.pay(&mut world).await;
    let last = sequencer.executed(2).await;
    let committee = sequencer.node.node().committee_status().expect("settles");
    assert!(committee.members.iter().filter(|member| member.last_signed_batch.is_some()).count() >= 2);
    assert_eq!(sequencer.node.node().prover_status().expect("settles").last_proven_batch, Some(last));

    // Late, from peers: blocks carry the sequencer's signature, and batches L1's stages.
    let late = world.full_from_peers("late", &sequencer.addresses()).await;
    reaches(&late, &sequencer.head()).await;
    let mut l1 = late.node().l1();
    let at_first = late.node().database().view().expect("a view").block(1).expect("reads").expect("kept");
    assert!(at_first.signature.is_some());
    loop {
        let executed = late.node().database().view().expect("a view").executed_batch().expect("reads");
        if executed.is_some_and(|batch| batch.number == last) {
            break;
        }
        l1.changed().await.expect("L1 is followed");
    }

    // A transaction that is sent to it is acknowledged when the sequencer's block with it is here; by JSON-RPC, when the sequencer says so.
    let hash = acknowledged(&late, world.transfer(0)).await;
    let place = late.node().database().view().expect("a view").transaction_place(&hash).expect("reads");
    assert!(place.is_some(), "the acknowledgement is a block");
    let url = format!("http://{}", sequencer.node.rpc());
    let other = world.full("other", Start::Blocks, late.listening(), Some(url)).await;
    let hash = other.node().submit(world.transfer(1)).await.expect("acknowledged");
    let is_there = |database: &Database| {
        let view = database.view().expect("a view");
        view.transaction_place(&hash).expect("reads").is_some()
            || view.pool_all().expect("reads").iter().any(|record| record.hash == hash)
    };
    assert!(is_there(&sequencer.database), "acknowledged is durable");
    let refused = other.node().submit(vec![1, 2, 3]).await;
    assert!(refused.is_err());
    // The second follows the first, which passes on what it accepts.
    sequencer.pay(&mut world).await;
    reaches(&other, &sequencer.head()).await;
    reaches(&late, &sequencer.head()).await;

    // From a snapshot of the executed state; history comes after.
    let last = sequencer.executed(last + 1).await;
    let batch = sequencer.database.view().expect("a view").batch(last).expect("reads").expect("there");
    assert_eq!(batch.stage, Stage::Executed);
    let file = world.folder.path().join("state.snapshot");
    let written = snapshot::export(&sequencer.database, &file).expect("exports");
    assert_eq!((written.batch_number, written.block_number), (last, batch.last_block));
    assert!(snapshot::export(&sequencer.database, &file).is_err(), "nothing is overwritten");
    // One of a state that L1 has not executed is refused before anything of it is believed, and one whose leaves are changed by its root.
    let bytes = fs::read(&file).expect("reads");
    for (name, at) in [("other", 4 + 32 + 3 * 32), ("damaged", bytes.len() - 1)] {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        let path = world.folder.path().join(format!("{name}.snapshot"));
        fs::write(&path, bytes).expect("writes");
        let refused =
            snapshot::restore(&world.folder.path().join(name), &world.genesis, &world.l1().await, &path).await;
        let error = refused.expect_err("refused");
        assert_eq!(matches!(error, SnapshotError::NotExecuted { .. }), name == "other", "{error}");
    }
    let path = world.folder.path().join("restored");
    let restored = snapshot::restore(&path, &world.genesis, &world.l1().await, &file).await.expect("restores");
    assert_eq!(restored, written);
    let restored = Database::open(&path, &world.genesis).expect("opens");
    let plan = FullPlan {
        members: world.members.clone(),
        serve_limit: LIMIT,
        sequencer_rpc: None,
        start: Start::Blocks,
        gossip_wait: GOSSIP_WAIT,
    };
    let restored = world.full_on(restored, plan, world.l1().await, &sequencer.addresses()).await;
    sequencer.pay(&mut world).await;
    reaches(&restored, &sequencer.head()).await;
    let mut l1 = restored.node().l1();
    while restored.node().database().view().expect("a view").first_block().expect("reads") > 1 {
        l1.changed().await.expect("L1 is followed");
    }
    let ours = sequencer.database.view().expect("a view").block(2).expect("reads").expect("kept");
    let theirs = restored.node().database().view().expect("a view").block(2).expect("reads").expect("kept");
    assert_eq!((ours.hash(), ours.transactions, ours.items), (theirs.hash(), theirs.transactions, theirs.items));

    // With an empty disk, and nobody but L1 and the committee.
    sequencer.executed(last + 1).await;
    let end = sequencer.head();
    for node in [late, other, restored] {
        node.stop().await.expect("stops");
    }
    sequencer.stop().await;
    let blocks = world.full("blocks", Start::Blocks, &[], None).await;
    reaches(&blocks, &end).await;
    assert_eq!(blocks.node().peer_count(), 0);
    let data = world.full("data", Start::Data, &[], None).await;
    reaches(&data, &end).await;
    let first = blocks.node().database().view().expect("a view").block(1).expect("reads").expect("kept");
    assert_eq!(first.hash(), at_first.hash());
    let nobody = blocks.node().submit(world.transfer(2)).await;
    assert!(nobody.is_err(), "nobody has acknowledged it");
    for node in [blocks, data] {
        assert_eq!(node.node().halted(), None);
        node.stop().await.expect("stops");
    }
    world.stop().await;
}
