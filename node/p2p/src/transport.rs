//! What a node says and how much of it at a time; `joule-transport` carries it.

use std::{collections::HashSet, time::Duration};

use joule_protocol::{Hash, Hashing as _, Native};
use joule_transport::{Codec, Message, Protocol, TransportError, limits};
use libp2p::{
    Swarm, allow_block_list, connection_limits,
    gossipsub::{self, IdentTopic, MessageAuthenticity, MessageId, ValidationMode, WhitelistSubscriptionFilter},
    identify,
    identity::Keypair,
    ping,
    request_response::{self, ProtocolSupport},
    swarm::NetworkBehaviour,
};

use crate::message::{ANSWER_BYTES_MAX, Answer, BLOCK_BYTES_MAX, MessageError, QUESTION_BYTES_MAX, Question};

/// What identify says.
const AGENT: &str = "/joule/1";
/// Questions that one connection may have open at once.
const STREAMS_MAX: usize = 8;
/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// How long a connection may be silent.
const IDLE: Duration = Duration::from_secs(120);
/// What gossipsub puts around a message.
const ENVELOPE_BYTES: usize = 1_024;

/// The two things that are gossiped, on topics that name the chain: nodes of two chains have nothing to say to each other.
#[derive(Clone, Debug)]
pub(crate) struct Topics {
    pub(crate) transactions: IdentTopic,
    pub(crate) blocks: IdentTopic,
}

impl Topics {
    pub(crate) fn new(genesis: &Hash) -> Self {
        let topic = |what: &str| IdentTopic::new(format!("/joule/{genesis}/{what}/1"));
        Self { transactions: topic("transactions"), blocks: topic("blocks") }
    }
}

pub(crate) type Gossipsub = gossipsub::Behaviour<gossipsub::IdentityTransform, WhitelistSubscriptionFilter>;

#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    pub(crate) limits: connection_limits::Behaviour,
    pub(crate) blocked: allow_block_list::Behaviour<allow_block_list::BlockedPeers>,
    pub(crate) gossip: Gossipsub,
    pub(crate) sync: request_response::Behaviour<Codec<BlockSync>>,
    pub(crate) identify: identify::Behaviour,
    pub(crate) ping: ping::Behaviour,
}

/// What peers ask and answer.
pub(crate) struct BlockSync;

impl Protocol for BlockSync {
    type Question = Question;
    type Answer = Answer;
    const NAME: &'static str = "/joule/sync/1";
    const QUESTION_BYTES_MAX: usize = QUESTION_BYTES_MAX;
    const ANSWER_BYTES_MAX: usize = ANSWER_BYTES_MAX;
}

impl Message for Question {
    type Error = MessageError;

    fn encode(&self) -> Vec<u8> {
        self.encode()
    }

    fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        Self::decode(bytes)
    }
}

impl Message for Answer {
    type Error = MessageError;

    fn encode(&self) -> Vec<u8> {
        self.encode()
    }

    fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        Self::decode(bytes)
    }
}

/// A message is its content: the same transaction from two sides is one, and nobody's name is on it.
fn gossip(topics: &Topics) -> Result<Gossipsub, String> {
    let config = gossipsub::ConfigBuilder::default()
        .max_transmit_size(BLOCK_BYTES_MAX + ENVELOPE_BYTES)
        .validation_mode(ValidationMode::Anonymous)
        .validate_messages()
        .message_id_fn(|message| MessageId::from(Native::keccak256(&message.data).0.to_vec()))
        .build()
        .map_err(|error| error.to_string())?;
    let ours: HashSet<_> = [topics.transactions.hash(), topics.blocks.hash()].into();
    let filter = WhitelistSubscriptionFilter(ours);
    let mut gossip = Gossipsub::new_with_subscription_filter(MessageAuthenticity::Anonymous, config, filter)?;
    for topic in [&topics.transactions, &topics.blocks] {
        gossip.subscribe(topic).map_err(|error| error.to_string())?;
    }
    Ok(gossip)
}

/// A node with this identity.
///
/// # Errors
/// What the transports or gossipsub say.
pub(crate) fn swarm(keys: &Keypair, topics: &Topics, peers_max: u32) -> Result<Swarm<Behaviour>, TransportError> {
    let gossip = gossip(topics).map_err(|reason| TransportError { what: "gossip", reason })?;
    let sync = request_response::Config::default()
        .with_request_timeout(ANSWER_WITHIN)
        .with_max_concurrent_streams(STREAMS_MAX);
    let protocols = [(Codec::<BlockSync>::protocol(), ProtocolSupport::Full)];
    let behaviour = Behaviour {
        limits: limits(peers_max),
        blocked: allow_block_list::Behaviour::default(),
        gossip,
        sync: request_response::Behaviour::with_codec(Codec::default(), protocols, sync),
        identify: identify::Behaviour::new(identify::Config::new(AGENT.to_owned(), keys.public())),
        ping: ping::Behaviour::default(),
    };
    joule_transport::swarm(keys, behaviour, IDLE)
}
