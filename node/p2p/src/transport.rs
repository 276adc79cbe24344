//! Questions and answers on a stream, and the swarm that carries everything.

use std::{collections::HashSet, io, time::Duration};

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use joule_protocol::{Hash, Hashing as _, Native};
use libp2p::{
    StreamProtocol, Swarm, SwarmBuilder, allow_block_list,
    connection_limits::{self, ConnectionLimits},
    gossipsub::{self, IdentTopic, MessageAuthenticity, MessageId, ValidationMode, WhitelistSubscriptionFilter},
    identify,
    identity::Keypair,
    noise, ping,
    request_response::{self, ProtocolSupport},
    swarm::NetworkBehaviour,
    tcp, yamux,
};

use crate::message::{ANSWER_BYTES_MAX, Answer, BLOCK_BYTES_MAX, MessageError, QUESTION_BYTES_MAX, Question};

/// The sync protocol. Another version of the messages is another name.
const SYNC: StreamProtocol = StreamProtocol::new("/joule/sync/1");
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
    pub(crate) sync: request_response::Behaviour<Codec>,
    pub(crate) identify: identify::Behaviour,
    pub(crate) ping: ping::Behaviour,
}

/// Each message is alone on its stream: its length, four bytes, and its bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Codec;

impl request_response::Codec for Codec {
    type Protocol = StreamProtocol;
    type Request = Question;
    type Response = Answer;

    async fn read_request<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Question> {
        Question::decode(&read(io, QUESTION_BYTES_MAX).await?).map_err(malformed)
    }

    async fn read_response<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Answer> {
        Answer::decode(&read(io, ANSWER_BYTES_MAX).await?).map_err(malformed)
    }

    async fn write_request<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        question: Question,
    ) -> io::Result<()> {
        write(io, &question.encode()).await
    }

    async fn write_response<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        answer: Answer,
    ) -> io::Result<()> {
        write(io, &answer.encode()).await
    }
}

fn malformed(error: MessageError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

async fn read(io: &mut (impl AsyncRead + Unpin), most: usize) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    io.read_exact(&mut length).await?;
    let length = u32::from_be_bytes(length) as usize;
    if length > most {
        let reason = format!("a message of {length} bytes, and at most {most} are taken");
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    let mut bytes = vec![0; length];
    io.read_exact(&mut bytes).await?;
    Ok(bytes)
}

async fn write(io: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    io.write_all(&(bytes.len() as u32).to_be_bytes()).await?;
    io.write_all(bytes).await?;
    io.close().await
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

/// A node with this identity, over TCP and QUIC.
///
/// # Errors
/// What the transports say, in words.
pub(crate) fn swarm(keys: &Keypair, topics: &Topics, peers_max: u32) -> Result<Swarm<Behaviour>, String> {
    let gossip = gossip(topics)?;
    let sync = request_response::Config::default()
        .with_request_timeout(ANSWER_WITHIN)
        .with_max_concurrent_streams(STREAMS_MAX);
    let limits = ConnectionLimits::default()
        .with_max_established(Some(peers_max))
        .with_max_pending_incoming(Some(peers_max))
        .with_max_established_per_peer(Some(2));
    let behaviour = |keys: &Keypair| Behaviour {
        limits: connection_limits::Behaviour::new(limits),
        blocked: allow_block_list::Behaviour::default(),
        gossip,
        sync: request_response::Behaviour::with_codec(Codec, [(SYNC, ProtocolSupport::Full)], sync),
        identify: identify::Behaviour::new(identify::Config::new(AGENT.to_owned(), keys.public())),
        ping: ping::Behaviour::default(),
    };
    Ok(SwarmBuilder::with_existing_identity(keys.clone())
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
        .map_err(|error| error.to_string())?
        .with_quic()
        .with_dns()
        .map_err(|error| error.to_string())?
        .with_behaviour(behaviour)
        .map_err(|error| error.to_string())?
        .with_swarm_config(|config| config.with_idle_connection_timeout(IDLE))
        .build())
}
