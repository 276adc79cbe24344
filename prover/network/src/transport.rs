//! Questions and answers as libp2p carries them.

use std::{io, time::Duration};

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p::{
    PeerId, StreamProtocol, Swarm, SwarmBuilder,
    identity::PublicKey,
    noise,
    request_response::{self, ProtocolSupport},
    tcp, yamux,
};

use crate::{
    keys::{Identity, id_of},
    message::{Answer, MESSAGE_BYTES_MAX, Question},
    task::ProverId,
    wire::Wire,
};

/// The protocol's name. Another version of the messages is another name.
const PROTOCOL: StreamProtocol = StreamProtocol::new("/joule/prover/1");

/// Questions that one connection may have open at once.
const STREAMS_MAX: usize = 32;

/// How long an answer may take. A question for work is answered well before, with an offer or with "wait".
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// How long a connection may be silent.
const IDLE: Duration = Duration::from_secs(120);

pub(crate) type Behaviour = request_response::Behaviour<Codec>;

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
        read(io).await
    }

    async fn read_response<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Answer> {
        read(io).await
    }

    async fn write_request<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        question: Question,
    ) -> io::Result<()> {
        write(io, &question).await
    }

    async fn write_response<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        answer: Answer,
    ) -> io::Result<()> {
        write(io, &answer).await
    }
}

async fn read<M: Wire>(io: &mut (impl AsyncRead + Unpin)) -> io::Result<M> {
    let mut length = [0; 4];
    io.read_exact(&mut length).await?;
    let length = u32::from_be_bytes(length) as usize;
    if length > MESSAGE_BYTES_MAX {
        let reason = format!("a message of {length} bytes, and at most {MESSAGE_BYTES_MAX} are taken");
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    let mut bytes = vec![0; length];
    io.read_exact(&mut bytes).await?;
    M::decode(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

async fn write<M: Wire>(io: &mut (impl AsyncWrite + Unpin), message: &M) -> io::Result<()> {
    let bytes = message.encode();
    io.write_all(&(bytes.len() as u32).to_be_bytes()).await?;
    io.write_all(&bytes).await?;
    io.close().await
}

/// A node with this identity, over TCP and QUIC.
///
/// # Errors
/// What the transports say, in words.
pub(crate) fn swarm(identity: &Identity) -> Result<Swarm<Behaviour>, String> {
    let config = request_response::Config::default()
        .with_request_timeout(ANSWER_WITHIN)
        .with_max_concurrent_streams(STREAMS_MAX);
    let swarm = SwarmBuilder::with_existing_identity(identity.keys().clone())
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
        .map_err(|error| error.to_string())?
        .with_quic()
        .with_behaviour(|_| Behaviour::with_codec(Codec, [(PROTOCOL, ProtocolSupport::Full)], config))
        .map_err(|error| error.to_string())?
        .with_swarm_config(|config| config.with_idle_connection_timeout(IDLE))
        .build();
    Ok(swarm)
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
    use futures::io::Cursor;
    use libp2p::identity::Keypair;

    use super::*;

    #[test]
    fn a_peer_is_the_prover_of_its_key() {
        let identity = Identity::new(Keypair::generate_ed25519());
        let peer = identity.keys().public().to_peer_id();
        assert_eq!(prover_of(&peer), Some(identity.id()));
        assert_ne!(prover_of(&PeerId::random()), Some(identity.id()));
    }

    #[tokio::test]
    async fn messages_travel_whole_and_bounded() {
        let mut bytes = Vec::new();
        write(&mut bytes, &Answer::Offset(7)).await.unwrap();
        assert_eq!(read::<Answer>(&mut Cursor::new(bytes.clone())).await.unwrap(), Answer::Offset(7));
        for length in 0..bytes.len() {
            assert!(read::<Answer>(&mut Cursor::new(bytes[..length].to_vec())).await.is_err());
        }
        let long = (MESSAGE_BYTES_MAX as u32 + 1).to_be_bytes().to_vec();
        let error = read::<Answer>(&mut Cursor::new(long)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
