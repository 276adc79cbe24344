//! Questions and answers as libp2p carries them.

use std::time::Duration;

use joule_transport::{Codec, Message, Protocol, limits};
use libp2p::{
    PeerId, Swarm, connection_limits,
    identity::PublicKey,
    request_response::{self, ProtocolSupport},
    swarm::NetworkBehaviour,
};

use crate::{
    keys::{Identity, id_of},
    message::{Answer, MESSAGE_BYTES_MAX, Question},
    task::ProverId,
    wire::{Wire, WireError},
};

/// Questions that one connection may have open at once.
const STREAMS_MAX: usize = 32;

/// How long an answer may take. A question for work is answered well before, with an offer or with "wait".
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// How long a connection may be silent.
const IDLE: Duration = Duration::from_secs(120);

/// Connections that a coordinator holds: as many as the provers that it remembers.
const CONNECTIONS_MAX: u32 = 4_096;

/// What provers ask and coordinators answer.
pub(crate) struct Exchange;

impl Protocol for Exchange {
    type Question = Question;
    type Answer = Answer;
    const NAME: &'static str = "/joule/prover/1";
    const QUESTION_BYTES_MAX: usize = MESSAGE_BYTES_MAX;
    const ANSWER_BYTES_MAX: usize = MESSAGE_BYTES_MAX;
}

impl Message for Question {
    type Error = WireError;

    fn encode(&self) -> Vec<u8> {
        Wire::encode(self)
    }

    fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        Wire::decode(bytes)
    }
}

impl Message for Answer {
    type Error = WireError;

    fn encode(&self) -> Vec<u8> {
        Wire::encode(self)
    }

    fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        Wire::decode(bytes)
    }
}

/// Questions and answers, over a bounded number of connections.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    limits: connection_limits::Behaviour,
    pub(crate) messages: request_response::Behaviour<Codec<Exchange>>,
}

/// A node with this identity.
///
/// # Errors
/// What the transports say, in words.
pub(crate) fn swarm(identity: &Identity) -> Result<Swarm<Behaviour>, String> {
    let config = request_response::Config::default()
        .with_request_timeout(ANSWER_WITHIN)
        .with_max_concurrent_streams(STREAMS_MAX);
    let protocols = [(Codec::<Exchange>::protocol(), ProtocolSupport::Full)];
    let behaviour = Behaviour {
        limits: limits(CONNECTIONS_MAX),
        messages: request_response::Behaviour::with_codec(Codec::default(), protocols, config),
    };
    joule_transport::swarm(identity.keys(), behaviour, IDLE).map_err(|error| error.to_string())
}

/// The prover behind a connection. Its key is in its peer id, as with every key of this size, so the connection itself proves who it is.
pub(crate) fn prover_of(peer: &PeerId) -> Option<ProverId> {
    let multihash = libp2p::multihash::Multihash::<64>::from_bytes(&peer.to_bytes()).ok()?;
    let key = PublicKey::try_decode_protobuf(multihash.digest()).ok()?;
    // Code 0 is the identity: the digest is the key itself.
    (multihash.code() == 0).then(|| id_of(&key))
}

#[cfg(test)]
mod tests {
    use libp2p::identity::Keypair;

    use super::*;

    #[test]
    fn a_peer_is_the_prover_of_its_key() {
        let identity = Identity::new(Keypair::generate_ed25519());
        let peer = identity.keys().public().to_peer_id();
        assert_eq!(prover_of(&peer), Some(identity.id()));
        assert_ne!(prover_of(&PeerId::random()), Some(identity.id()));
    }
}
