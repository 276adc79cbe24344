//! Several peers on loopback, hostile ones among them.

use joule_p2p::{
    Answer, AskError, Event, Keypair, Kind, Multiaddr, Network, NetworkConfig, NetworkError, Offence, Question,
    TRANSACTION_BYTES_MAX, Verdict,
};
use joule_protocol::Hash;
use tokio::{sync::mpsc, task::JoinHandle};

struct Node {
    network: Network,
    events: mpsc::Receiver<Event>,
    _task: JoinHandle<()>,
    address: Multiaddr,
}

fn config(listen: &str, bootnodes: Vec<Multiaddr>) -> NetworkConfig {
    NetworkConfig {
        keys: Keypair::generate_ed25519(),
        genesis: Hash([7; 32]),
        listen: vec![listen.parse().expect("an address")],
        bootnodes,
        peers_max: 16,
        events_max: 64,
    }
}

const TCP: &str = "/ip4/127.0.0.1/tcp/0";
const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";

async fn start(config: NetworkConfig) -> Node {
    let (network, events, task) = Network::start(config).expect("starts");
    let mut listening = network.listening();
    let address = listening.wait_for(|addresses| !addresses.is_empty()).await.expect("listens")[0].clone();
    Node { network, events, _task: task, address }
}

/// A line of nodes, each connected to the one before it.
async fn line(count: usize, listen: &str) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    for _ in 0..count {
        let before = nodes.last().map(|node| node.address.clone());
        nodes.push(start(config(listen, before.into_iter().collect())).await);
    }
    for (index, node) in nodes.iter().enumerate() {
        let wanted = if index == 0 || index == count - 1 { 1 } else { 2 };
        node.network.audience().wait_for(|peers| peers.len() >= wanted).await.expect("connects");
    }
    nodes
}

async fn publish(node: &Network, kind: Kind, bytes: &[u8]) {
    node.audience().wait_for(|peers| !peers.is_empty()).await.expect("somebody listens");
    assert!(node.publish(kind, bytes.to_vec()).await, "it went to somebody");
}

async fn next_gossip(node: &mut Node) -> joule_p2p::Gossip {
    loop {
        match node.events.recv().await.expect("runs") {
            Event::Gossip(gossip) => return gossip,
            Event::Asked(_) => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_accepted_goes_on_and_what_is_not_does_not() {
    for listen in [TCP, QUIC] {
        let mut nodes = line(3, listen).await;
        publish(&nodes[0].network, Kind::Transaction, b"rejected").await;
        let rejected = next_gossip(&mut nodes[1]).await;
        assert_eq!((rejected.kind, &rejected.bytes[..]), (Kind::Transaction, &b"rejected"[..]));
        rejected.judge(Verdict::Reject);
        publish(&nodes[0].network, Kind::Block, b"dropped").await;
        drop(next_gossip(&mut nodes[1]).await);
        publish(&nodes[0].network, Kind::Block, b"accepted").await;
        let accepted = next_gossip(&mut nodes[1]).await;
        assert_eq!(accepted.from, nodes[0].network.id());
        accepted.judge(Verdict::Accept);
        // Only the last of them reaches the end of the line, and from the middle.
        let arrived = next_gossip(&mut nodes[2]).await;
        assert_eq!((arrived.kind, &arrived.bytes[..]), (Kind::Block, &b"accepted"[..]));
        assert_eq!(arrived.from, nodes[1].network.id());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_are_answered_and_wrong_answers_cost_the_peer_its_place() {
    let mut nodes = line(2, QUIC).await;
    let mut server = nodes.pop().expect("two");
    let client = nodes.pop().expect("one");
    let peer = server.network.id();
    let serving = tokio::spawn(async move {
        while let Some(event) = server.events.recv().await {
            let Event::Asked(asked) = event else { continue };
            let answer = match asked.question {
                Question::Head => Answer::Head { number: 9, hash: Hash([1; 32]) },
                // One block more than was asked for, from block 100 on.
                Question::Blocks { from, count } => {
                    let more = u64::from(from >= 100);
                    Answer::blocks((from..from + u64::from(count) + more).map(|number| number.to_be_bytes().to_vec()))
                }
            };
            asked.answer(answer);
        }
    });
    let network = &client.network;
    let head = network.ask(peer, Question::Head).await.expect("answers");
    assert_eq!(head, Answer::Head { number: 9, hash: Hash([1; 32]) });
    let blocks = network.ask(peer, Question::Blocks { from: 3, count: 2 }).await.expect("answers");
    assert_eq!(blocks, Answer::Blocks(vec![3_u64.to_be_bytes().to_vec(), 4_u64.to_be_bytes().to_vec()]));
    for _ in 0..5 {
        let wrong = network.ask(peer, Question::Blocks { from: 100, count: 2 }).await;
        assert!(matches!(wrong, Err(AskError::WrongAnswer)), "{wrong:?}");
    }
    network.peers().wait_for(|peers| !peers.contains(&peer)).await.expect("shut out");
    assert!(matches!(network.ask(peer, Question::Head).await, Err(AskError::NoAnswer(_))));
    serving.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_passes_on_garbage_is_shut_out_and_the_others_go_on() {
    let mut good = start(config(TCP, Vec::new())).await;
    let honest = start(config(TCP, vec![good.address.clone()])).await;
    let hostile = start(config(TCP, vec![good.address.clone()])).await;
    let hostile_id = hostile.network.id();
    good.network.peers().wait_for(|peers| peers.len() == 2).await.expect("both are there");
    let network = good.network.clone();
    let judging = tokio::spawn(async move {
        let mut taken = Vec::new();
        while let Some(event) = good.events.recv().await {
            let Event::Gossip(gossip) = event else { continue };
            if gossip.bytes.starts_with(b"garbage") {
                gossip.judge(Verdict::Reject);
            } else {
                taken.push(gossip.bytes.clone());
                gossip.judge(Verdict::Accept);
                return taken;
            }
        }
        taken
    });
    assert!(!hostile.network.publish(Kind::Transaction, vec![0; TRANSACTION_BYTES_MAX + 1]).await, "too long to send");
    for number in 0..5_u8 {
        publish(&hostile.network, Kind::Transaction, &[b"garbage", &[number][..]].concat()).await;
    }
    network.peers().wait_for(|peers| !peers.contains(&hostile_id)).await.expect("shut out");
    publish(&honest.network, Kind::Transaction, b"honest").await;
    assert_eq!(judging.await.expect("judges"), vec![b"honest".to_vec()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_that_are_blamed_from_outside_and_bootnodes_without_a_name() {
    let nodes = line(2, TCP).await;
    let peer = nodes[1].network.id();
    for _ in 0..5 {
        nodes[0].network.blame(peer, Offence::Rejected).await;
    }
    nodes[0].network.peers().wait_for(|peers| peers.is_empty()).await.expect("shut out");
    let nameless = Network::start(config(TCP, vec!["/ip4/127.0.0.1/tcp/9".parse().expect("an address")]));
    assert!(matches!(nameless, Err(NetworkError::Nameless { .. })));
}
