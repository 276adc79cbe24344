//! The task that owns the swarm, and its handle.

use std::{
    collections::{BTreeSet, HashMap},
    io,
    sync::Arc,
    time::Instant,
};

use futures::StreamExt as _;
use joule_protocol::Hash;
use joule_transport::{TransportError, peer_of};
use libp2p::{
    Multiaddr, PeerId, Swarm,
    gossipsub::{self, MessageAcceptance, MessageId, PublishError, TopicHash},
    identity::Keypair,
    multiaddr::Protocol,
    request_response::{self, InboundFailure, OutboundFailure, OutboundRequestId, ResponseChannel},
    swarm::SwarmEvent,
};
use thiserror::Error;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::{Duration, MissedTickBehavior, interval},
};

use crate::{
    message::{Answer, BLOCK_BYTES_MAX, Question, TRANSACTION_BYTES_MAX},
    standing::{Offence, Standings},
    transport::{self, Behaviour, BehaviourEvent, Topics},
};

/// Orders that may wait for the task.
const COMMANDS_MAX: usize = 256;
/// Verdicts that may wait for it: as many as there are messages out for judgement.
const VERDICTS_MAX: usize = 1_024;
/// Between two attempts at bootnodes that are not connected.
const REDIAL: Duration = Duration::from_secs(5);
/// Peers whose offences are remembered, for each that may be connected.
const REMEMBERED: usize = 16;

/// How a node takes part.
#[derive(Clone, Debug)]
pub struct NetworkConfig {
    /// Who it is.
    pub keys: Keypair,
    /// The chain's genesis id: nodes of other chains share no topic with it.
    pub genesis: Hash,
    /// Where to listen, TCP or QUIC.
    pub listen: Vec<Multiaddr>,
    /// Whom to connect to, each with its peer id at the end (`…/p2p/12D3…`).
    pub bootnodes: Vec<Multiaddr>,
    /// Most connections.
    pub peers_max: u32,
    /// Most events that wait for the receiver. When it is full, gossip is dropped and questions go unanswered.
    pub events_max: usize,
}

/// Why a network cannot be started. The configuration is to blame, or the machine.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// The transports.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// An address that cannot be listened on.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// The address.
        address: Multiaddr,
        /// What the transport says.
        reason: String,
    },
    /// A bootnode whose identity is not known: whoever answers there would be believed to be it.
    #[error("the bootnode {address} names no peer id; end it with /p2p/<peer id>")]
    Nameless {
        /// The address.
        address: Multiaddr,
    },
}

/// Why a question has no answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AskError {
    /// The peer did not answer, or cannot be reached.
    #[error("the peer did not answer: {0}")]
    NoAnswer(String),
    /// It answered something else.
    #[error("the peer answered something that was not asked")]
    WrongAnswer,
    /// This node's network has ended.
    #[error("the network has ended")]
    Ended,
}

/// What is gossiped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A signed transaction.
    Transaction,
    /// A block with the sequencer's signature.
    Block,
}

/// What a receiver makes of a gossiped message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Good: it goes on to others.
    Accept,
    /// Not worth passing on, and nobody's fault: known, or too late.
    Ignore,
    /// Nobody honest passes this on.
    Reject,
}

/// A gossiped message, to be judged. Dropped without a verdict it is ignored.
#[derive(Debug)]
pub struct Gossip {
    /// What it says it is.
    pub kind: Kind,
    /// Its bytes, within the bound of its kind.
    pub bytes: Vec<u8>,
    /// The peer that passed it on.
    pub from: PeerId,
    id: MessageId,
    verdicts: mpsc::Sender<Judged>,
    is_judged: bool,
}

#[derive(Debug)]
struct Judged {
    id: MessageId,
    from: PeerId,
    verdict: Verdict,
}

impl Gossip {
    /// Judges the message.
    pub fn judge(mut self, verdict: Verdict) {
        self.send(verdict);
    }

    fn send(&mut self, verdict: Verdict) {
        self.is_judged = true;
        // Where so many verdicts wait, or the network has ended, gossipsub forgets the message by itself.
        let _ = self.verdicts.try_send(Judged { id: self.id.clone(), from: self.from, verdict });
    }
}

impl Drop for Gossip {
    fn drop(&mut self) {
        if !self.is_judged {
            self.send(Verdict::Ignore);
        }
    }
}

/// A peer's question, to be answered. Dropped, it goes unanswered.
#[derive(Debug)]
pub struct Asked {
    /// Who asks.
    pub from: PeerId,
    /// What.
    pub question: Question,
    reply: oneshot::Sender<Answer>,
}

impl Asked {
    /// Answers. The peer may have gone meanwhile.
    pub fn answer(self, answer: Answer) {
        let _ = self.reply.send(answer);
    }
}

/// What comes from peers.
#[derive(Debug)]
pub enum Event {
    /// Something was gossiped.
    Gossip(Gossip),
    /// Something was asked.
    Asked(Asked),
}

#[derive(Debug)]
enum Command {
    Publish { kind: Kind, bytes: Vec<u8>, done: oneshot::Sender<bool> },
    Ask { peer: PeerId, question: Question, reply: oneshot::Sender<Result<Answer, AskError>> },
    Blame { peer: PeerId, offence: Offence },
}

/// A handle of a running network. Cheap to clone; when the last one is dropped the network ends.
#[derive(Clone, Debug)]
pub struct Network {
    id: PeerId,
    commands: mpsc::Sender<Command>,
    peers: watch::Receiver<BTreeSet<PeerId>>,
    audience: watch::Receiver<BTreeSet<PeerId>>,
    listening: watch::Receiver<Vec<Multiaddr>>,
}

impl Network {
    /// Starts the task that owns the swarm. Returns its handle, what comes from peers, and the task itself.
    ///
    /// # Errors
    /// Addresses that cannot be listened on, bootnodes without a name.
    pub fn start(config: NetworkConfig) -> Result<(Self, mpsc::Receiver<Event>, JoinHandle<()>), NetworkError> {
        let topics = Topics::new(&config.genesis);
        let mut swarm = transport::swarm(&config.keys, &topics, config.peers_max)?;
        for address in &config.listen {
            let listening = swarm.listen_on(address.clone());
            listening.map_err(|error| NetworkError::Listen { address: address.clone(), reason: error.to_string() })?;
        }
        let mut bootnodes = Vec::new();
        for address in config.bootnodes {
            match peer_of(&address) {
                Some(peer) => bootnodes.push((peer, address)),
                None => return Err(NetworkError::Nameless { address }),
            }
        }
        let id = *swarm.local_peer_id();
        let (commands, orders) = mpsc::channel(COMMANDS_MAX);
        let (verdicts, judged) = mpsc::channel(VERDICTS_MAX);
        let (events, receiver) = mpsc::channel(config.events_max.max(1));
        let (peers, connected) = watch::channel(BTreeSet::new());
        let (listeners, audience) = watch::channel(BTreeSet::new());
        let (addresses, listening) = watch::channel(Vec::new());
        let task = Task {
            swarm,
            topics,
            bootnodes,
            events,
            verdicts,
            peers,
            listeners,
            addresses,
            asked: HashMap::new(),
            standings: Standings::new(REMEMBERED * config.peers_max as usize + 1),
            began: Instant::now(),
        };
        let task = tokio::spawn(task.run(orders, judged));
        Ok((Self { id, commands, peers: connected, audience, listening }, receiver, task))
    }

    /// Who this node is.
    pub fn id(&self) -> PeerId {
        self.id
    }

    /// Peers that are connected, and a way to wait for others.
    pub fn peers(&self) -> watch::Receiver<BTreeSet<PeerId>> {
        self.peers.clone()
    }

    /// Peers that take gossip of both kinds, and a way to wait for them.
    pub fn audience(&self) -> watch::Receiver<BTreeSet<PeerId>> {
        self.audience.clone()
    }

    /// Addresses that are listened on, with this node's name at the end, and a way to wait for them.
    pub fn listening(&self) -> watch::Receiver<Vec<Multiaddr>> {
        self.listening.clone()
    }

    /// Gossips a transaction or a block. Returns whether it went to anybody: alone in the network, or with what was said before, it goes to nobody.
    pub async fn publish(&self, kind: Kind, bytes: Vec<u8>) -> bool {
        let (done, result) = oneshot::channel();
        let sent = self.commands.send(Command::Publish { kind, bytes, done }).await;
        sent.is_ok() && result.await.unwrap_or(false)
    }

    /// Asks a peer.
    ///
    /// # Errors
    /// No answer, or one to another question.
    pub async fn ask(&self, peer: PeerId, question: Question) -> Result<Answer, AskError> {
        let (reply, result) = oneshot::channel();
        self.commands.send(Command::Ask { peer, question, reply }).await.map_err(|_| AskError::Ended)?;
        result.await.map_err(|_| AskError::Ended)?
    }

    /// Holds something against a peer that only the user of this crate can see: blocks that do not execute, say.
    pub async fn blame(&self, peer: PeerId, offence: Offence) {
        // Where the network has ended nobody is left to shut out.
        let _ = self.commands.send(Command::Blame { peer, offence }).await;
    }
}

struct Task {
    swarm: Swarm<Behaviour>,
    topics: Topics,
    bootnodes: Vec<(PeerId, Multiaddr)>,
    events: mpsc::Sender<Event>,
    verdicts: mpsc::Sender<Judged>,
    peers: watch::Sender<BTreeSet<PeerId>>,
    listeners: watch::Sender<BTreeSet<PeerId>>,
    addresses: watch::Sender<Vec<Multiaddr>>,
    /// Questions under way; bounded by the orders that were given and their time limit.
    asked: HashMap<OutboundRequestId, (Question, oneshot::Sender<Result<Answer, AskError>>)>,
    standings: Standings<PeerId>,
    began: Instant,
}

/// An answer that its user made, on its way back.
type Answered = (ResponseChannel<Answer>, Answer);

impl Task {
    async fn run(mut self, mut orders: mpsc::Receiver<Command>, mut judged: mpsc::Receiver<Judged>) {
        let mut redial = interval(REDIAL);
        redial.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (answers, mut answered) = mpsc::channel::<Answered>(COMMANDS_MAX);
        let answers = Arc::new(answers);
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => self.obey(order),
                    None => return,
                },
                Some(judged) = judged.recv() => self.judge(judged),
                Some((channel, answer)) = answered.recv() => {
                    // The peer may have gone, which is its loss.
                    let _ = self.swarm.behaviour_mut().sync.send_response(channel, answer);
                }
                _ = redial.tick() => self.dial(),
                event = self.swarm.select_next_some() => self.take(event, &answers),
            }
        }
    }

    fn now_s(&self) -> u64 {
        self.began.elapsed().as_secs()
    }

    fn dial(&mut self) {
        for (peer, address) in &self.bootnodes {
            if !self.swarm.is_connected(peer)
                && let Err(error) = self.swarm.dial(address.clone())
            {
                tracing::debug!(%peer, %error, "a bootnode is not dialled");
            }
        }
    }

    fn obey(&mut self, order: Command) {
        match order {
            Command::Publish { kind, bytes, done } => {
                let topic = match kind {
                    Kind::Transaction => self.topics.transactions.hash(),
                    Kind::Block => self.topics.blocks.hash(),
                };
                let is_sent = bytes.len() <= bytes_max(kind)
                    && match self.swarm.behaviour_mut().gossip.publish(topic, bytes) {
                        Ok(_) => true,
                        Err(PublishError::Duplicate | PublishError::NoPeersSubscribedToTopic) => false,
                        Err(error) => {
                            tracing::warn!(?kind, %error, "not gossiped");
                            false
                        }
                    };
                let _ = done.send(is_sent);
            }
            Command::Ask { peer, question, reply } => {
                let id = self.swarm.behaviour_mut().sync.send_request(&peer, question);
                self.asked.insert(id, (question, reply));
            }
            Command::Blame { peer, offence } => self.blame(peer, offence),
        }
    }

    fn judge(&mut self, Judged { id, from, verdict }: Judged) {
        let acceptance = match verdict {
            Verdict::Accept => MessageAcceptance::Accept,
            Verdict::Ignore => MessageAcceptance::Ignore,
            Verdict::Reject => MessageAcceptance::Reject,
        };
        self.swarm.behaviour_mut().gossip.report_message_validation_result(&id, &from, acceptance);
        if verdict == Verdict::Reject {
            self.blame(from, Offence::Rejected);
        }
    }

    fn blame(&mut self, peer: PeerId, offence: Offence) {
        if self.standings.blame(peer, offence, self.now_s()) {
            tracing::warn!(%peer, ?offence, "a peer is shut out");
            self.swarm.behaviour_mut().blocked.block_peer(peer);
        }
    }

    fn take(&mut self, event: SwarmEvent<BehaviourEvent>, answers: &Arc<mpsc::Sender<Answered>>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(gossipsub::Event::Message {
                propagation_source,
                message_id,
                message,
            })) => self.gossiped(propagation_source, message_id, &message.topic, message.data),
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(
                gossipsub::Event::Subscribed { .. } | gossipsub::Event::Unsubscribed { .. },
            )) => self.count_listeners(),
            SwarmEvent::Behaviour(BehaviourEvent::Sync(event)) => self.synced(event, answers),
            SwarmEvent::ConnectionEstablished { peer_id, .. } => {
                self.peers.send_if_modified(|peers| peers.insert(peer_id));
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, .. } => {
                self.peers.send_if_modified(|peers| peers.remove(&peer_id));
                self.listeners.send_if_modified(|peers| peers.remove(&peer_id));
            }
            SwarmEvent::NewListenAddr { address, .. } => {
                let named = address.with(Protocol::P2p(*self.swarm.local_peer_id()));
                self.addresses.send_modify(|addresses| addresses.push(named));
            }
            _ => {}
        }
    }

    fn count_listeners(&mut self) {
        let topics = [self.topics.transactions.hash(), self.topics.blocks.hash()];
        let peers = self.swarm.behaviour().gossip.all_peers();
        let listening = peers.filter(|(_, theirs)| topics.iter().all(|topic| theirs.contains(&topic)));
        self.listeners.send_replace(listening.map(|(peer, _)| *peer).collect());
    }

    fn gossiped(&mut self, from: PeerId, id: MessageId, topic: &TopicHash, bytes: Vec<u8>) {
        let kind = if *topic == self.topics.transactions.hash() { Kind::Transaction } else { Kind::Block };
        if bytes.is_empty() || bytes.len() > bytes_max(kind) {
            return self.judge(Judged { id, from, verdict: Verdict::Reject });
        }
        let gossip = Gossip { kind, bytes, from, id, verdicts: self.verdicts.clone(), is_judged: false };
        // A message that finds no room is dropped, and with that ignored.
        if self.events.try_send(Event::Gossip(gossip)).is_err() {
            tracing::debug!(%from, ?kind, "a gossiped message found no room");
        }
    }

    fn synced(&mut self, event: request_response::Event<Question, Answer>, answers: &Arc<mpsc::Sender<Answered>>) {
        match event {
            request_response::Event::Message { peer, message, .. } => match message {
                request_response::Message::Request { request, channel, .. } => {
                    let (reply, answer) = oneshot::channel();
                    let asked = Asked { from: peer, question: request, reply };
                    if self.events.try_send(Event::Asked(asked)).is_ok() {
                        let answers = answers.clone();
                        tokio::spawn(async move {
                            if let Ok(answer) = answer.await {
                                // The network ends with this end of the queue.
                                let _ = answers.send((channel, answer)).await;
                            }
                        });
                    }
                }
                request_response::Message::Response { request_id, response } => {
                    let Some((question, reply)) = self.asked.remove(&request_id) else { return };
                    let result = if response.answers(&question) { Ok(response) } else { Err(AskError::WrongAnswer) };
                    if result.is_err() {
                        self.blame(peer, Offence::WrongAnswer);
                    }
                    let _ = reply.send(result);
                }
            },
            request_response::Event::OutboundFailure { peer, request_id, error, .. } => {
                match &error {
                    OutboundFailure::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
                        self.blame(peer, Offence::Malformed);
                    }
                    OutboundFailure::Timeout => self.blame(peer, Offence::Silent),
                    _ => {}
                }
                if let Some((_, reply)) = self.asked.remove(&request_id) {
                    let _ = reply.send(Err(AskError::NoAnswer(error.to_string())));
                }
            }
            request_response::Event::InboundFailure { peer, error: InboundFailure::Io(error), .. }
                if error.kind() == io::ErrorKind::InvalidData =>
            {
                self.blame(peer, Offence::Malformed);
            }
            request_response::Event::InboundFailure { .. } | request_response::Event::ResponseSent { .. } => {}
        }
    }
}

fn bytes_max(kind: Kind) -> usize {
    match kind {
        Kind::Transaction => TRANSACTION_BYTES_MAX,
        Kind::Block => BLOCK_BYTES_MAX,
    }
}
