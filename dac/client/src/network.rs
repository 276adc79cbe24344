//! Members over libp2p, as whoever asks them sees them.
//!
//! A connection proves the peer's identity, and the member proves that the identity is its own: it signs a nonce with the key that L1 has on record for its
//! account. Until it has, it is asked nothing else. The task that owns the swarm only dials; nobody can connect to it.

use std::{
    collections::{HashMap, HashSet},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use alloy_primitives::{Address, B256};
use futures::StreamExt as _;
use joule_committee::IdentityClaim;
use joule_transport::{Codec, TransportError, limits, peer_of, swarm};
use libp2p::{
    Multiaddr, PeerId, Swarm,
    identity::Keypair,
    ping,
    request_response::{self, OutboundFailure, OutboundRequestId, ProtocolSupport},
    swarm::{NetworkBehaviour, SwarmEvent},
};
use thiserror::Error;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::{
    committee::RequestError,
    question::{MemberProtocol, PeerAnswer, PeerQuestion, Question},
};

/// Questions that wait for the task, and questions that are under way. Whoever asks more waits, or is told so.
const COMMANDS_MAX: usize = 32;
const UNDER_WAY_MAX: usize = 256;
/// Connections to members, of which a keyset has 64 at most.
const CONNECTIONS_MAX: u32 = 128;
/// The longest wait for one answer, whatever its asker's limit is.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);
/// How long a connection is kept without a question.
const IDLE: Duration = Duration::from_secs(60);

/// Where a member is reached over libp2p, and how it shows that it is the member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberPeer {
    /// The member's L1 account.
    pub account: Address,
    /// The address of its ECDSA key, as `DataCommittee` has it on record.
    pub signer: Address,
    /// Where, with the peer id at the end (`…/p2p/12D3…`).
    pub address: Multiaddr,
}

/// Why a member has no place on this network. The configuration is to blame.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MemberPeerError {
    /// An address without an identity.
    #[error("{address} names no peer id; end it with /p2p/<peer id>")]
    Nameless {
        /// The address.
        address: Multiaddr,
    },
}

impl MemberPeer {
    /// The identity in the address.
    ///
    /// # Errors
    /// There is none.
    pub fn peer(&self) -> Result<PeerId, MemberPeerError> {
        peer_of(&self.address).ok_or_else(|| MemberPeerError::Nameless { address: self.address.clone() })
    }
}

/// The rollup whose members are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Chain id of the L1 that the rollup is on.
    pub l1_chain_id: u64,
    /// The rollup.
    pub rollup: Address,
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    limits: libp2p::connection_limits::Behaviour,
    ask: request_response::Behaviour<Codec<MemberProtocol>>,
    ping: ping::Behaviour,
}

type Reply = oneshot::Sender<Result<PeerAnswer, RequestError>>;

struct Command {
    peer: PeerId,
    address: Multiaddr,
    question: PeerQuestion,
    reply: Reply,
}

/// Who has shown which member it is, on a connection that is still there.
type Identified = Arc<Mutex<HashSet<(PeerId, Address)>>>;

fn lock(identified: &Identified) -> MutexGuard<'_, HashSet<(PeerId, Address)>> {
    identified.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A node that asks members. Cheap to clone; its task ends with the last clone.
#[derive(Clone, Debug)]
pub struct Network {
    commands: mpsc::Sender<Command>,
    scope: Scope,
    identified: Identified,
}

impl Network {
    /// Starts a node under a fresh identity: members serve everybody, so who asks is nobody's business.
    ///
    /// # Errors
    /// The transports.
    pub fn start(scope: Scope) -> Result<Self, TransportError> {
        let config = request_response::Config::default().with_request_timeout(ANSWER_WITHIN);
        let protocols = [(Codec::<MemberProtocol>::protocol(), ProtocolSupport::Outbound)];
        let behaviour = Behaviour {
            limits: limits(CONNECTIONS_MAX),
            ask: request_response::Behaviour::with_codec(Codec::default(), protocols, config),
            ping: ping::Behaviour::default(),
        };
        let swarm = swarm(&Keypair::generate_ed25519(), behaviour, IDLE)?;
        let (commands, receiver) = mpsc::channel(COMMANDS_MAX);
        let identified = Identified::default();
        tokio::spawn(Task { swarm, asked: HashMap::new(), identified: identified.clone() }.run(receiver));
        Ok(Self { commands, scope, identified })
    }

    /// Asks a member, once it has shown who it is. All of it within `limit`.
    ///
    /// # Errors
    /// No answer, a refusal, or somebody else.
    pub async fn ask(&self, member: &MemberPeer, question: Question, limit: Duration) -> Result<Vec<u8>, RequestError> {
        let asking = async {
            let peer = member.peer().map_err(|error| RequestError::Peer(error.to_string()))?;
            self.identify(peer, member).await?;
            match self.send(peer, member, PeerQuestion::Ask(question)).await? {
                PeerAnswer::Found(bytes) if bytes.len() > question.answer_bytes_max() => {
                    Err(RequestError::TooLong { most: question.answer_bytes_max() })
                }
                PeerAnswer::Found(bytes) => Ok(bytes),
                PeerAnswer::Refused(refusal) => Err(RequestError::Refused(refusal)),
                PeerAnswer::Identity(..) => {
                    Err(RequestError::Unreadable("an identity that was not asked for".to_owned()))
                }
            }
        };
        match timeout(limit, asking).await {
            Ok(result) => result,
            Err(_) => Err(RequestError::Peer(format!("no answer within {} ms", limit.as_millis()))),
        }
    }

    async fn identify(&self, peer: PeerId, member: &MemberPeer) -> Result<(), RequestError> {
        if lock(&self.identified).contains(&(peer, member.account)) {
            return Ok(());
        }
        let nonce = B256::new(rand::random());
        let claim = IdentityClaim {
            l1_chain_id: self.scope.l1_chain_id,
            rollup: self.scope.rollup,
            account: member.account,
            peer: &peer.to_bytes(),
            nonce,
        };
        match self.send(peer, member, PeerQuestion::Identify(nonce)).await? {
            PeerAnswer::Identity(account, signature)
                if account == member.account && claim.is_signed_by(&signature, member.signer) =>
            {
                lock(&self.identified).insert((peer, member.account));
                Ok(())
            }
            PeerAnswer::Refused(refusal) => Err(RequestError::Refused(refusal)),
            PeerAnswer::Identity(..) | PeerAnswer::Found(_) => {
                Err(RequestError::OtherIdentity { expected: member.account, peer: peer.to_string() })
            }
        }
    }

    async fn send(
        &self,
        peer: PeerId,
        member: &MemberPeer,
        question: PeerQuestion,
    ) -> Result<PeerAnswer, RequestError> {
        let ended = || RequestError::Peer("this node's network has ended".to_owned());
        let (reply, answer) = oneshot::channel();
        let command = Command { peer, address: member.address.clone(), question, reply };
        self.commands.send(command).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }
}

struct Task {
    swarm: Swarm<Behaviour>,
    asked: HashMap<OutboundRequestId, Reply>,
    identified: Identified,
}

impl Task {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.send(command),
                    None => return,
                },
                event = self.swarm.select_next_some() => self.take(event),
            }
        }
    }

    fn send(&mut self, Command { peer, address, question, reply }: Command) {
        // Whoever asked may have lost patience before its turn came.
        if reply.is_closed() {
            return;
        }
        if self.asked.len() >= UNDER_WAY_MAX {
            let busy = format!("{UNDER_WAY_MAX} questions are under way");
            let _ = reply.send(Err(RequestError::Peer(busy)));
            return;
        }
        let id = self.swarm.behaviour_mut().ask.send_request_with_addresses(&peer, question, vec![address]);
        self.asked.insert(id, reply);
    }

    fn take(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Ask(request_response::Event::Message {
                message: request_response::Message::Response { request_id, response },
                ..
            })) => self.reply(request_id, Ok(response)),
            SwarmEvent::Behaviour(BehaviourEvent::Ask(request_response::Event::OutboundFailure {
                request_id,
                error,
                ..
            })) => {
                let error = match error {
                    OutboundFailure::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
                        RequestError::Unreadable(error.to_string())
                    }
                    error => RequestError::Peer(error.to_string()),
                };
                self.reply(request_id, Err(error));
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, .. } => {
                lock(&self.identified).retain(|(peer, _)| *peer != peer_id);
            }
            _ => {}
        }
    }

    fn reply(&mut self, id: OutboundRequestId, result: Result<PeerAnswer, RequestError>) {
        if let Some(reply) = self.asked.remove(&id) {
            // Whoever asked may have lost patience.
            let _ = reply.send(result);
        }
    }
}
