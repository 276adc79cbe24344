//! What every libp2p node of Joule is made of, whatever it says: the transports, and questions and answers that are bounded before they are read.
//!
//! * [`swarm`] puts a behaviour on TCP and QUIC, with Noise, under an identity.
//! * [`Protocol`] names two messages and their longest encodings; [`Codec`] carries them, each alone on its stream behind its length.
//! * [`limits`] bounds connections, and [`peer_of`] reads who an address leads to.
//!
//! Nothing here decides anything. A peer that sends too much or nonsense gets an error of the kind `InvalidData`, which the owner of the swarm sees and acts on.

mod codec;
mod node;

pub use codec::{Codec, Message, Protocol};
pub use node::{TransportError, limits, peer_of, swarm};
