//! Gossip of transactions and of blocks that the sequencer signed, and block sync, over libp2p: QUIC and TCP, Noise, gossipsub, request and response.
//!
//! [`Network`] is the handle of a task that owns the swarm. What comes from peers arrives as [`Event`]s on a bounded queue and is worth nothing until the receiver has
//! judged it: a [`Gossip`] message goes on to others only once it was accepted, and whoever passed on what was rejected loses [standing](Standings) until it is
//! shut out. A receiver that is too slow loses messages, never memory.
//!
//! This crate knows bytes, peers and bounds. What a good transaction or block is, and whose signature it carries, is its user's to say.

mod message;
mod network;
mod standing;
mod transport;

pub use libp2p::{Multiaddr, PeerId, identity::Keypair};
pub use message::{
    ANSWER_BLOCKS_MAX, ANSWER_BYTES_MAX, Answer, BLOCK_BYTES_MAX, MessageError, Question, TRANSACTION_BYTES_MAX,
};
pub use network::{AskError, Asked, Event, Gossip, Kind, Network, NetworkConfig, NetworkError, Verdict};
pub use standing::{Offence, Standings};
