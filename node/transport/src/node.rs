//! The swarm.

use std::time::Duration;

use libp2p::{
    Multiaddr, PeerId, Swarm, SwarmBuilder,
    connection_limits::{self, ConnectionLimits},
    identity::Keypair,
    multiaddr, noise,
    swarm::NetworkBehaviour,
    tcp, yamux,
};
use thiserror::Error;

/// Why there is no node. The machine is to blame, or its configuration.
#[derive(Debug, Error)]
#[error("the {what} cannot be set up: {reason}")]
pub struct TransportError {
    /// Which part.
    pub what: &'static str,
    /// What it says.
    pub reason: String,
}

fn failed<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> TransportError {
    move |error| TransportError { what, reason: error.to_string() }
}

/// A node with this identity, over TCP and QUIC with Noise and names from DNS. A connection on which nothing is said for `idle` is closed.
///
/// # Errors
/// [`TransportError`].
pub fn swarm<B: NetworkBehaviour>(keys: &Keypair, behaviour: B, idle: Duration) -> Result<Swarm<B>, TransportError> {
    Ok(SwarmBuilder::with_existing_identity(keys.clone())
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
        .map_err(failed("TCP transport"))?
        .with_quic()
        .with_dns()
        .map_err(failed("DNS resolver"))?
        .with_behaviour(|_| behaviour)
        .map_err(failed("behaviour"))?
        .with_swarm_config(|config| config.with_idle_connection_timeout(idle))
        .build())
}

/// At most `connections` in all, as many that are being made, and two to one peer: a second one appears when both sides dial at once.
pub fn limits(connections: u32) -> connection_limits::Behaviour {
    connection_limits::Behaviour::new(
        ConnectionLimits::default()
            .with_max_established(Some(connections))
            .with_max_pending_incoming(Some(connections))
            .with_max_established_per_peer(Some(2)),
    )
}

/// Who an address leads to, if it says so in its last part (`…/p2p/12D3…`).
pub fn peer_of(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last() {
        Some(multiaddr::Protocol::P2p(peer)) => Some(peer),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_whom_it_leads_to() {
        let peer = PeerId::random();
        let bare: Multiaddr = "/ip4/127.0.0.1/tcp/9".parse().expect("an address");
        assert_eq!(peer_of(&bare), None);
        assert_eq!(peer_of(&bare.with(multiaddr::Protocol::P2p(peer))), Some(peer));
        assert_eq!(peer_of(&Multiaddr::empty()), None);
    }
}
