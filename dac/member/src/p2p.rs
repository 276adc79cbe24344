//! The member on libp2p: answers questions, and shows that it is the member it says it is.
//!
//! What is served is what HTTP serves to anyone; offers are not taken here. Connections, streams, the length of a question and the bytes of answers on their way
//! are bounded, an answer that is not taken in time is dropped, and whoever sends nonsense is hung up on.

use std::{collections::HashMap, io, sync::Arc, time::Duration};

use futures::StreamExt as _;
use joule_committee_client::{MemberProtocol, PeerAnswer, PeerQuestion, Refusal, RefusalCode};
use joule_transport::{Codec, TransportError, limits, swarm};
use libp2p::{
    Multiaddr, PeerId, Swarm,
    identity::Keypair,
    multiaddr::Protocol as Part,
    ping,
    request_response::{self, InboundFailure, InboundRequestId, ProtocolSupport, ResponseChannel},
    swarm::{NetworkBehaviour, SwarmEvent},
};
use thiserror::Error;
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::{answers::answer, member::Member};

/// Connections at a time.
const CONNECTIONS_MAX: u32 = 128;
/// Questions that one connection may have open at once.
const STREAMS_MAX: usize = 4;
/// From a question's first byte to its answer's last one. A batch's data at half a MiB a second.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// How long a connection may be silent.
const IDLE: Duration = Duration::from_secs(60);
/// Questions that are being answered; more are refused as "busy".
const ANSWERING_MAX: usize = 32;

/// Why a member is not on libp2p. The configuration is to blame, or the machine.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum P2pError {
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
    /// Nobody could tell that it is the member.
    #[error("a member shows who it is with its ECDSA key, and this one has none; name its file in keys.ecdsa")]
    NoKey,
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    limits: libp2p::connection_limits::Behaviour,
    ask: request_response::Behaviour<Codec<MemberProtocol>>,
    ping: ping::Behaviour,
}

/// A member on libp2p.
#[derive(Debug)]
pub struct Serving {
    /// Addresses listened on, with the identity at the end, and a way to wait for them.
    pub listening: watch::Receiver<Vec<Multiaddr>>,
    /// The identity.
    pub peer: PeerId,
    /// Ends when it is told to stop.
    pub task: JoinHandle<()>,
}

/// Serves on `listen` under the identity of `keys` until `stop`.
///
/// # Errors
/// No address to listen on, or no key to be known by.
pub fn serve(
    keys: &Keypair,
    listen: &[Multiaddr],
    member: Arc<Member>,
    stop: CancellationToken,
) -> Result<Serving, P2pError> {
    if !member.is_identifiable() {
        return Err(P2pError::NoKey);
    }
    let config = request_response::Config::default()
        .with_request_timeout(ANSWER_WITHIN)
        .with_max_concurrent_streams(STREAMS_MAX);
    let protocols = [(Codec::<MemberProtocol>::protocol(), ProtocolSupport::Inbound)];
    let behaviour = Behaviour {
        limits: limits(CONNECTIONS_MAX),
        ask: request_response::Behaviour::with_codec(Codec::default(), protocols, config),
        ping: ping::Behaviour::default(),
    };
    let mut swarm = swarm(keys, behaviour, IDLE)?;
    for address in listen {
        let listening = swarm.listen_on(address.clone());
        listening.map_err(|error| P2pError::Listen { address: address.clone(), reason: error.to_string() })?;
    }
    let (addresses, listening) = watch::channel(Vec::new());
    let (answers, answered) = mpsc::channel(ANSWERING_MAX);
    let peer = *swarm.local_peer_id();
    let task = Task { swarm, member, addresses, answers, answering: 0, sending: HashMap::new() };
    Ok(Serving { listening, peer, task: tokio::spawn(task.run(answered, stop)) })
}

/// An answer on its way back, with the room it takes.
struct Answered {
    id: InboundRequestId,
    channel: ResponseChannel<PeerAnswer>,
    answer: PeerAnswer,
    room: Option<OwnedSemaphorePermit>,
}

struct Task {
    swarm: Swarm<Behaviour>,
    member: Arc<Member>,
    addresses: watch::Sender<Vec<Multiaddr>>,
    answers: mpsc::Sender<Answered>,
    /// Questions handed out to be answered.
    answering: usize,
    /// Room of answers that have not left yet. Each ends with an event, at the latest after [`ANSWER_WITHIN`].
    sending: HashMap<InboundRequestId, OwnedSemaphorePermit>,
}

impl Task {
    async fn run(mut self, mut answered: mpsc::Receiver<Answered>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some(answer) = answered.recv() => self.send(answer),
                event = self.swarm.select_next_some() => self.take(event),
            }
        }
    }

    fn send(&mut self, Answered { id, channel, answer, room }: Answered) {
        self.answering -= 1;
        // Whoever asked may have gone; then the room is free at once.
        if self.swarm.behaviour_mut().ask.send_response(channel, answer).is_ok()
            && let Some(room) = room
        {
            self.sending.insert(id, room);
        }
    }

    fn take(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Ask(event)) => self.asked(event),
            SwarmEvent::NewListenAddr { address, .. } => {
                let named = address.with(Part::P2p(*self.swarm.local_peer_id()));
                tracing::info!(address = %named, "serving over libp2p");
                self.addresses.send_modify(|addresses| addresses.push(named));
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "a libp2p listener"),
            _ => {}
        }
    }

    fn asked(&mut self, event: request_response::Event<PeerQuestion, PeerAnswer>) {
        match event {
            request_response::Event::Message {
                peer,
                message: request_response::Message::Request { request_id, request, channel },
                ..
            } => self.answer(peer, request_id, request, channel),
            request_response::Event::ResponseSent { request_id, .. } => drop(self.sending.remove(&request_id)),
            request_response::Event::InboundFailure { peer, request_id, error, .. } => {
                self.sending.remove(&request_id);
                if matches!(&error, InboundFailure::Io(error) if error.kind() == io::ErrorKind::InvalidData) {
                    tracing::debug!(%peer, %error, "a peer sent no question");
                    // It may be gone already.
                    let _ = self.swarm.disconnect_peer_id(peer);
                }
            }
            // This side asks nothing.
            request_response::Event::Message { .. } | request_response::Event::OutboundFailure { .. } => {}
        }
    }

    fn answer(
        &mut self,
        peer: PeerId,
        id: InboundRequestId,
        question: PeerQuestion,
        channel: ResponseChannel<PeerAnswer>,
    ) {
        if self.answering >= ANSWERING_MAX {
            let message = format!("{ANSWERING_MAX} questions are being answered; ask again shortly");
            let refusal = Refusal { code: RefusalCode::Busy, message };
            // As in `send`.
            let _ = self.swarm.behaviour_mut().ask.send_response(channel, PeerAnswer::Refused(refusal));
            return;
        }
        self.answering += 1;
        let (member, answers, own) = (self.member.clone(), self.answers.clone(), *self.swarm.local_peer_id());
        tracing::trace!(%peer, ?question, "asked");
        tokio::spawn(async move {
            let (answer, room) = match question {
                PeerQuestion::Identify(nonce) => match member.identify(&own.to_bytes(), nonce) {
                    Ok((account, signature)) => (PeerAnswer::Identity(account, signature), None),
                    Err(refusal) => (PeerAnswer::Refused(refusal), None),
                },
                PeerQuestion::Ask(question) => match answer(&member, question).await {
                    Ok(found) => (PeerAnswer::Found(found.bytes), Some(found.room)),
                    Err(refusal) => (PeerAnswer::Refused(refusal), None),
                },
            };
            // Without the task there is nobody to answer.
            let _ = answers.send(Answered { id, channel, answer, room }).await;
        });
    }
}
