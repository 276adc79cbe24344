//! Peers that lie.

use joule_follow::SignedBlock;
use joule_node::{BlockKey, Start};
use joule_p2p::{Answer, Event, Keypair, Kind, Network, NetworkConfig, Question};
use joule_protocol::{Hash, Native};
use joule_rpc::Node;
use joule_storage::BlockRecord;

use crate::world::{World, reaches};

/// A block as somebody else than the sequencer would sign it.
fn forged(record: &BlockRecord) -> Vec<u8> {
    let thief = BlockKey::from_secret([9; 32]).expect("a key");
    let mut record = record.clone();
    record.signature = Some(thief.sign_block(&record.hash(), &record.items.encode()));
    SignedBlock::of(&record).expect("signed").encode()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_peer_is_shut_out_and_changes_nothing() {
    let mut world = World::start().await;
    let sequencer = world.sequencer().await;
    sequencer.funded().await;
    sequencer.pay(&mut world).await;
    let node = world.full("node", Start::Blocks, &sequencer.addresses(), None).await;
    reaches(&node, &sequencer.head()).await;

    let record = sequencer.database.view().expect("a view").block(1).expect("reads").expect("kept");
    let (network, mut events, _task) = Network::start(NetworkConfig {
        keys: Keypair::generate_ed25519(),
        genesis: world.genesis.id::<Native>(),
        listen: vec!["/ip4/127.0.0.1/tcp/0".parse().expect("an address")],
        bootnodes: node.listening().to_vec(),
        peers_max: 8,
        events_max: 64,
    })
    .expect("starts");
    // Claims a chain without end, and serves what somebody else signed.
    let lies = forged(&record);
    let answering = tokio::spawn({
        let lies = lies.clone();
        async move {
            while let Some(event) = events.recv().await {
                if let Event::Asked(asked) = event {
                    let answer = match asked.question {
                        Question::Head => Answer::Head { number: u64::MAX, hash: Hash([7; 32]) },
                        Question::Blocks { .. } => Answer::blocks([lies.clone()]),
                    };
                    asked.answer(answer);
                }
            }
        }
    });
    let victim = name_of(&node);
    network.peers().wait_for(|peers| peers.contains(&victim)).await.expect("connects");
    network.audience().wait_for(|peers| peers.contains(&victim)).await.expect("listens");
    // A signed block played back costs nothing and goes nowhere; garbage, forgeries and floods cost the peer its place.
    let old = SignedBlock::of(&record).expect("signed").encode();
    network.publish(Kind::Block, old).await;
    for number in 0..600_u32 {
        let garbage = [b"garbage".as_slice(), &number.to_be_bytes()].concat();
        network.publish(if number % 2 == 0 { Kind::Block } else { Kind::Transaction }, garbage).await;
        if number == 3 {
            network.publish(Kind::Block, lies.clone()).await;
        }
        if !network.peers().borrow().contains(&victim) {
            break;
        }
    }
    network.peers().wait_for(|peers| !peers.contains(&victim)).await.expect("shut out");
    answering.abort();

    // The node follows as if nothing had been.
    assert_eq!(node.node().halted(), None);
    sequencer.pay(&mut world).await;
    reaches(&node, &sequencer.head()).await;
    assert!(node.node().peer_count() >= 1, "the honest peer stays");
    node.stop().await.expect("stops");
    sequencer.stop().await;
    world.stop().await;
}

/// A full node's name among peers, from its address.
fn name_of(node: &joule_node::RunningFullNode) -> joule_p2p::PeerId {
    let address = node.listening()[0].to_string();
    address.rsplit('/').next().and_then(|name| name.parse().ok()).expect("addresses name the peer")
}
