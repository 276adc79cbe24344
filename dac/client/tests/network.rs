//! Members over libp2p as their askers see them: honest ones, impostors, and peers that send nonsense.

use std::{sync::Arc, time::Duration};

use alloy_primitives::{Address, B256};
use futures::StreamExt as _;
use joule_committee::{EcdsaSecretKey, IdentityClaim};
use joule_committee_client::{
    Committee, Endpoint, MemberPeer, MemberProtocol, Network, PeerAnswer, PeerQuestion, Question, Refusal, RefusalCode,
    RequestError, Scope, route::JSON_BYTES_MAX,
};
use joule_transport::{Codec, Message, Protocol, swarm};
use libp2p::{
    Multiaddr, PeerId,
    identity::Keypair,
    multiaddr::Protocol as Part,
    request_response::{self, ProtocolSupport},
    swarm::SwarmEvent,
};
use tokio::{net::TcpListener, sync::oneshot};

const SCOPE: Scope = Scope { l1_chain_id: 31_337, rollup: Address::repeat_byte(0x11) };
const ACCOUNT: Address = Address::repeat_byte(0xaa);
const LIMIT: Duration = Duration::from_secs(60);

fn key(index: u8) -> EcdsaSecretKey {
    EcdsaSecretKey::from_bytes(&[index + 1; 32]).expect("a key")
}

/// Bytes as they are, under the members' protocol name.
#[derive(Debug)]
struct Raw;

#[derive(Debug)]
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
    const QUESTION_BYTES_MAX: usize = 1 << 20;
    const ANSWER_BYTES_MAX: usize = 64 << 20;
}

/// Something in a member's place that answers every question as `answer` says; `None` is silence.
async fn standing_in(answer: impl Fn(PeerId, PeerQuestion) -> Option<Vec<u8>> + Send + 'static) -> Multiaddr {
    let config = request_response::Config::default();
    let protocols = [(Codec::<Raw>::protocol(), ProtocolSupport::Inbound)];
    let behaviour = request_response::Behaviour::with_codec(Codec::<Raw>::default(), protocols, config);
    let mut swarm = swarm(&Keypair::generate_ed25519(), behaviour, LIMIT).expect("a swarm");
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().expect("an address")).expect("listens");
    let (sender, address) = oneshot::channel();
    let mut sender = Some(sender);
    tokio::spawn(async move {
        let mut unanswered = Vec::new();
        loop {
            match swarm.select_next_some().await {
                SwarmEvent::NewListenAddr { address, .. } => {
                    if let Some(sender) = sender.take() {
                        drop(sender.send(address.with(Part::P2p(*swarm.local_peer_id()))));
                    }
                }
                SwarmEvent::Behaviour(request_response::Event::Message {
                    message: request_response::Message::Request { request, channel, .. },
                    ..
                }) => {
                    let question = PeerQuestion::decode(&request.0).expect("this side asks properly");
                    match answer(*swarm.local_peer_id(), question) {
                        Some(bytes) => drop(swarm.behaviour_mut().send_response(channel, Bytes(bytes))),
                        None => unanswered.push(channel),
                    }
                }
                _ => {}
            }
        }
    });
    address.await.expect("it listens")
}

fn identity(peer: PeerId, account: Address, key: &EcdsaSecretKey, nonce: B256) -> Vec<u8> {
    let Scope { l1_chain_id, rollup } = SCOPE;
    let claim = IdentityClaim { l1_chain_id, rollup, account, peer: &peer.to_bytes(), nonce };
    PeerAnswer::Identity(account, claim.sign(key).expect("signs")).encode()
}

/// Shows who it is, and answers the rest with `rest`.
async fn member(rest: impl Fn(Question) -> Option<Vec<u8>> + Send + 'static) -> Multiaddr {
    standing_in(move |own, question| match question {
        PeerQuestion::Identify(nonce) => Some(identity(own, ACCOUNT, &key(0), nonce)),
        PeerQuestion::Ask(question) => rest(question),
    })
    .await
}

fn at(address: Multiaddr) -> MemberPeer {
    MemberPeer { account: ACCOUNT, signer: key(0).address(), address }
}

async fn asked(address: Multiaddr, limit: Duration) -> Result<Vec<u8>, RequestError> {
    Network::start(SCOPE).expect("a network").ask(&at(address), Question::Status, limit).await
}

#[tokio::test]
async fn a_member_shows_who_it_is_once_and_answers() {
    let found = |_| Some(PeerAnswer::Found(b"well".to_vec()).encode());
    let address = member(found).await;
    let network = Network::start(SCOPE).expect("a network");
    for _ in 0..3 {
        assert_eq!(network.ask(&at(address.clone()), Question::Status, LIMIT).await.expect("an answer"), b"well");
    }
    let refusal = Refusal { code: RefusalCode::NotFound, message: "no".to_owned() };
    let told = refusal.clone();
    let address = member(move |_| Some(PeerAnswer::Refused(told.clone()).encode())).await;
    let refused = network.ask(&at(address), Question::Batch(7), LIMIT).await;
    assert!(matches!(&refused, Err(RequestError::Refused(got)) if *got == refusal), "{refused:?}");
}

#[tokio::test]
async fn nobody_passes_for_a_member() {
    // Another key; another account; the identity of somebody else, as whoever passes questions on would have it; and data instead of an identity.
    let impostors: [fn(PeerId, B256) -> Vec<u8>; 4] = [
        |own, nonce| identity(own, ACCOUNT, &key(1), nonce),
        |own, nonce| identity(own, Address::repeat_byte(0xbb), &key(0), nonce),
        |_, nonce| identity(PeerId::random(), ACCOUNT, &key(0), nonce),
        |_, _| PeerAnswer::Found(b"trust me".to_vec()).encode(),
    ];
    for impostor in impostors {
        let address = standing_in(move |own, question| match question {
            PeerQuestion::Identify(nonce) => Some(impostor(own, nonce)),
            PeerQuestion::Ask(_) => panic!("asked before it has shown who it is"),
        })
        .await;
        let refused = asked(address, LIMIT).await.expect_err("an impostor");
        assert!(matches!(refused, RequestError::OtherIdentity { expected: ACCOUNT, .. }), "{refused}");
    }
    // A nonce of before.
    let address = standing_in(|own, question| match question {
        PeerQuestion::Identify(_) => Some(identity(own, ACCOUNT, &key(0), B256::ZERO)),
        PeerQuestion::Ask(_) => panic!("asked before it has shown who it is"),
    })
    .await;
    assert!(matches!(asked(address, LIMIT).await, Err(RequestError::OtherIdentity { .. })));
    // Whoever is at the address under another peer id is not even asked.
    let mut address = member(|_| None).await;
    address.pop();
    let other = address.with(Part::P2p(PeerId::random()));
    assert!(matches!(asked(other, LIMIT).await, Err(RequestError::Peer(_))));
    let nameless = asked("/ip4/127.0.0.1/tcp/9".parse().expect("an address"), LIMIT).await;
    assert!(matches!(nameless, Err(RequestError::Peer(_))), "{nameless:?}");
}

#[tokio::test]
async fn nonsense_silence_and_floods_are_errors_within_bounds() {
    let nonsense = asked(member(|_| Some(vec![9, 9, 9])).await, LIMIT).await.expect_err("nonsense");
    assert!(matches!(nonsense, RequestError::Unreadable(_)) && nonsense.is_wrong(), "{nonsense}");
    let twice = asked(member(|_| Some(identity(PeerId::random(), ACCOUNT, &key(0), B256::ZERO))).await, LIMIT).await;
    assert!(matches!(twice, Err(RequestError::Unreadable(_))), "{twice:?}");
    // Longer than a status; and longer than anything, which is not read at all.
    let long = asked(member(|_| Some(vec![1; JSON_BYTES_MAX + 2])).await, LIMIT).await.expect_err("too long");
    assert!(matches!(long, RequestError::TooLong { most: JSON_BYTES_MAX }), "{long}");
    let flood = asked(member(|_| Some(vec![1; MemberProtocol::ANSWER_BYTES_MAX + 1])).await, LIMIT).await;
    assert!(matches!(flood, Err(RequestError::Unreadable(_))), "{flood:?}");
    let silent = asked(member(|_| None).await, Duration::from_millis(400)).await.expect_err("silence");
    assert!(matches!(silent, RequestError::Peer(_)) && silent.is_retryable() && !silent.is_wrong(), "{silent}");
}

/// An HTTP server that answers everything with `body`.
async fn over_http(body: &'static str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        loop {
            let Ok((mut stream, _)) = listener.accept().await else { return };
            let mut head = [0; 1_024];
            // One read holds the whole of these short requests; whoever hangs up early is none of ours.
            if stream.read(&mut head).await.is_ok() {
                let answer =
                    format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        }
    });
    url
}

const STATUS: &str = r#"{"account":"0xaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","batchNumber":1,"checkpoint":"0x0000000000000000000000000000000000000000000000000000000000000000","blockNumber":3,"executedNumber":0,"oldestBatch":1,"notReady":null,"version":"1"}"#;

fn committee(url: &str, address: Multiaddr) -> (Arc<Committee>, Endpoint) {
    let endpoint = Endpoint { account: ACCOUNT, url: url.parse().expect("a URL") };
    let committee = Committee::new(vec![endpoint.clone()]).expect("a client");
    let network = Network::start(SCOPE).expect("a network");
    (Arc::new(committee.over_libp2p(network, vec![at(address)]).expect("peers")), endpoint)
}

#[tokio::test]
async fn either_network_stands_in_for_the_other() {
    let speaks = || member(|_| Some(PeerAnswer::Found(STATUS.as_bytes().to_vec()).encode()));
    // HTTP is gone, or lies: libp2p has the answer, and is asked first from then on.
    for url in ["http://127.0.0.1:1".to_owned(), over_http("[]").await] {
        let (committee, endpoint) = committee(&url, speaks().await);
        for _ in 0..2 {
            assert_eq!(committee.status(&endpoint, LIMIT).await.expect("over libp2p").batch_number, 1);
        }
    }
    // libp2p is gone, refuses, or is somebody else.
    let nowhere: Multiaddr = format!("/ip4/127.0.0.1/tcp/1/p2p/{}", PeerId::random()).parse().expect("an address");
    let refusing = member(|_| {
        let refusal = Refusal { code: RefusalCode::Busy, message: "no".to_owned() };
        Some(PeerAnswer::Refused(refusal).encode())
    });
    let impostor = standing_in(|own, question| match question {
        PeerQuestion::Identify(nonce) => Some(identity(own, ACCOUNT, &key(3), nonce)),
        PeerQuestion::Ask(_) => None,
    });
    for address in [nowhere.clone(), refusing.await, impostor.await] {
        let (committee, endpoint) = committee(&over_http(STATUS).await, address);
        assert_eq!(committee.status(&endpoint, LIMIT).await.expect("over HTTP").batch_number, 1);
    }
    // Neither: the error says what came of both.
    let (committee, endpoint) = committee("http://127.0.0.1:1", nowhere);
    let error = committee.status(&endpoint, LIMIT).await.expect_err("nothing");
    assert!(matches!(error, RequestError::Both { .. }) && error.is_retryable(), "{error}");
}
