//! Members over libp2p: what HTTP serves, to the same bounds, by whoever has shown that it is the member.

use joule_committee_client::{
    Committee, MemberPeer, MemberProtocol, Network, PeerAnswer, PeerQuestion, Question, RefusalCode, RequestError,
    Scope, checkpoint_hash,
};
use joule_dac::{
    join::{self, KeysHistory, Origin},
    keys::MemberKeys,
    p2p, sync,
};
use joule_transport::{Codec, Message, Protocol, swarm};
use libp2p::{
    Multiaddr, PeerId, Swarm,
    futures::StreamExt as _,
    identity::Keypair,
    request_response::{self, ProtocolSupport},
    swarm::SwarmEvent,
};

use super::support::{LIMIT, RunningMember, World, member_key, start_all};

fn scope(world: &World) -> Scope {
    Scope { l1_chain_id: world.genesis.l1_chain_id, rollup: world.addresses.rollup }
}

async fn on_libp2p(member: &RunningMember) -> MemberPeer {
    let listen: Multiaddr = "/ip4/127.0.0.1/tcp/0".parse().expect("an address");
    let keys = Keypair::generate_ed25519();
    let serving = p2p::serve(&keys, &[listen], member.member.clone(), member.stop_token()).expect("serves");
    let mut listening = serving.listening;
    let address = listening.wait_for(|addresses| !addresses.is_empty()).await.expect("listens")[0].clone();
    let account = member.seat.endpoint.account;
    MemberPeer { account, signer: member_key(member.seat.index).address(), address }
}

/// A client that finds nobody over HTTP.
fn without_http(world: &World, peers: Vec<MemberPeer>) -> Committee {
    let nowhere = |peer: &MemberPeer| joule_committee_client::Endpoint {
        account: peer.account,
        url: "http://127.0.0.1:1".parse().expect("a URL"),
    };
    let committee = Committee::new(peers.iter().map(nowhere).collect()).expect("a client");
    committee.over_libp2p(Network::start(scope(world)).expect("a network"), peers).expect("peers")
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_had_over_libp2p_and_an_empty_disk_joins_by_it_alone() {
    let mut world = World::start().await;
    world.fund(30).await;
    let members = start_all(&world).await;
    let batch = world.seal(20).await;
    world.publish(&members, &batch).await;
    world.execute(&batch).await;
    let mut peers = Vec::new();
    for member in &members {
        member.holds(1, 1).await;
        peers.push(on_libp2p(member).await);
    }
    let committee = without_http(&world, peers.clone());
    let (parent, checkpoint) = (checkpoint_hash(&batch.parent), checkpoint_hash(&batch.checkpoint));
    for member in committee.members() {
        let status = committee.status(member, LIMIT).await.expect("a status");
        assert_eq!((status.account, status.batch_number), (member.account, 1));
        committee.probe(member, &batch.parent, &batch.checkpoint, 0, LIMIT).await.expect("shown");
        // The same bytes as over HTTP.
        let http = Committee::new(vec![
            members
                .iter()
                .find(|running| running.seat.endpoint.account == member.account)
                .expect("a member")
                .seat
                .endpoint
                .clone(),
        ])
        .expect("a client");
        let over_http = &http.members()[0].clone();
        for question in [
            Question::Batch(1),
            Question::BatchData(1),
            Question::Data(checkpoint),
            Question::State(alloy::primitives::B256::ZERO),
            Question::Account(alloy::primitives::Address::repeat_byte(7)),
        ] {
            let one = committee.ask(member, question, LIMIT).await.expect("over libp2p");
            assert_eq!(one, http.ask(over_http, question, LIMIT).await.expect("over HTTP"), "{question}");
        }
        let missing = committee.ask(member, Question::Batch(7), LIMIT).await.expect_err("no such batch");
        let RequestError::Both { libp2p, .. } = missing else { panic!("{missing}") };
        assert!(matches!(*libp2p, RequestError::Refused(refusal) if refusal.code == RefusalCode::NotFound));
    }
    assert_eq!(committee.data(parent, checkpoint, LIMIT).await.expect("data").data_bytes(), batch.data_bytes);

    // From a snapshot, page by page.
    sync::snapshot_and_prune(&members[0].member, u64::MAX).await.expect("writes").expect("a snapshot");
    let fresh = tempfile::tempdir().expect("a folder");
    let (l1, history) = (world.client().await, world.history().await);
    let path = fresh.path().join("database");
    let joined = join::join(&path, &world.genesis, &l1, &history, &committee, KeysHistory::Unused, LIMIT).await;
    assert_eq!(joined.expect("joins").1, Origin::Snapshot { number: 1 });
    for member in members {
        member.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_no_key_or_anothers_rollup_is_nobody() {
    let world = World::start().await;
    let members = start_all(&world).await;
    let peer = on_libp2p(&members[0]).await;
    // The same member for another rollup, another account or another key on record: not it.
    let other_scope = Scope { rollup: alloy::primitives::Address::ZERO, ..scope(&world) };
    let strangers = [
        (other_scope, peer.clone()),
        (scope(&world), MemberPeer { account: members[1].seat.endpoint.account, ..peer.clone() }),
        (scope(&world), MemberPeer { signer: member_key(1).address(), ..peer.clone() }),
    ];
    for (scope, stranger) in strangers {
        let network = Network::start(scope).expect("a network");
        let refused = network.ask(&stranger, Question::Status, LIMIT).await;
        assert!(matches!(refused, Err(RequestError::OtherIdentity { .. })), "{refused:?}");
    }
    let network = Network::start(scope(&world)).expect("a network");
    network.ask(&peer, Question::Status, LIMIT).await.expect("the member itself");

    // A member with a BLS key alone has nothing to show itself with.
    let bls = joule_committee::BlsSecretKey::from_bytes(&[1; 32]).expect("a key");
    let keys = MemberKeys::new(peer.account, None, Some(bls)).expect("keys");
    let folder = tempfile::tempdir().expect("a folder");
    let database = joule_storage::Database::open(folder.path().join("database"), &world.genesis).expect("opens");
    let promises = super::support::PROMISES;
    let member =
        joule_dac::member::Member::open(database, keys, 1, world.addresses.rollup, promises).expect("a member");
    let refused = p2p::serve(&Keypair::generate_ed25519(), &[], member, tokio_util::sync::CancellationToken::new());
    assert!(matches!(refused, Err(p2p::P2pError::NoKey)));
    for member in members {
        member.stop().await;
    }
}

/// Bytes as they are, under the members' protocol name.
#[derive(Debug)]
struct Raw;

#[derive(Clone, Debug)]
struct Bytes(Vec<u8>);

impl Message for Bytes {
    type Error = std::convert::Infallible;

    fn encode(&self) -> Vec<u8> {
        self.0.clone()
    }

    fn decode(bytes: &[u8]) -> Result<Self, Self::Error> {
        Ok(Self(bytes.to_vec()))
    }
}

impl Protocol for Raw {
    type Question = Bytes;
    type Answer = Bytes;
    const NAME: &'static str = MemberProtocol::NAME;
    const QUESTION_BYTES_MAX: usize = 64 << 20;
    const ANSWER_BYTES_MAX: usize = 64 << 20;
}

type Stranger = Swarm<request_response::Behaviour<Codec<Raw>>>;

fn stranger() -> Stranger {
    let protocols = [(Codec::<Raw>::protocol(), ProtocolSupport::Outbound)];
    let config = request_response::Config::default().with_request_timeout(LIMIT);
    let behaviour = request_response::Behaviour::with_codec(Codec::default(), protocols, config);
    swarm(&Keypair::generate_ed25519(), behaviour, LIMIT).expect("a swarm")
}

/// Sends questions at once, and waits until each has an answer or none.
async fn send(
    stranger: &mut Stranger,
    peer: PeerId,
    address: &Multiaddr,
    questions: Vec<Vec<u8>>,
) -> Vec<Option<Vec<u8>>> {
    let mut waiting = std::collections::HashSet::new();
    for question in questions {
        let behaviour = stranger.behaviour_mut();
        waiting.insert(behaviour.send_request_with_addresses(&peer, Bytes(question), vec![address.clone()]));
    }
    let mut answers = Vec::new();
    while !waiting.is_empty() {
        match stranger.select_next_some().await {
            SwarmEvent::Behaviour(request_response::Event::Message {
                message: request_response::Message::Response { request_id, response },
                ..
            }) => {
                waiting.remove(&request_id);
                answers.push(Some(response.0));
            }
            SwarmEvent::Behaviour(request_response::Event::OutboundFailure { request_id, .. }) => {
                waiting.remove(&request_id);
                answers.push(None);
            }
            _ => {}
        }
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_and_floods_leave_a_member_well() {
    let world = World::start().await;
    let members = start_all(&world).await;
    let peer = on_libp2p(&members[0]).await;
    let id = peer.peer().expect("an identity");
    // No question, half of one, one with something behind it, one that is far too long: no answer, and the connection is gone.
    let status = PeerQuestion::Ask(Question::Status).encode();
    for nonsense in [vec![], vec![77], vec![1, 0], [&status[..], &[0]].concat(), vec![0; 8 << 20]] {
        let mut stranger = stranger();
        assert_eq!(send(&mut stranger, id, &peer.address, vec![nonsense]).await, [None]);
    }
    // A thousand questions over one connection: each has an answer, a refusal, or none, and the member goes on.
    let mut flooding = stranger();
    let answers = send(&mut flooding, id, &peer.address, vec![status.clone(); 1_000]).await;
    let answered = answers.iter().flatten().filter_map(|bytes| PeerAnswer::decode(bytes).ok());
    assert!(answered.clone().any(|answer| matches!(answer, PeerAnswer::Found(_))));
    for answer in answered {
        match answer {
            PeerAnswer::Found(_) => {}
            PeerAnswer::Refused(refusal) => assert_eq!(refusal.code, RefusalCode::Busy),
            PeerAnswer::Identity(..) => panic!("nobody asked who it is"),
        }
    }
    let network = Network::start(scope(&world)).expect("a network");
    network.ask(&peer, Question::Status, LIMIT).await.expect("it serves others");
    for member in members {
        member.stop().await;
    }
}
