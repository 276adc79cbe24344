//! The other members, over HTTP and, where L1 knows their keys, over libp2p.

use alloy_primitives::Address;
use joule_committee_client::{Committee, ConnectError, MemberPeer, Network, Scope};
use joule_contracts::DataCommittee;
use joule_l1::{L1Client, L1Error};
use joule_transport::TransportError;
use libp2p::Multiaddr;
use thiserror::Error;

/// Why there are no peers.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PeersError {
    /// L1 could not be asked for their keys.
    #[error(transparent)]
    L1(#[from] L1Error),
    /// The addresses.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// libp2p.
    #[error(transparent)]
    Transport(#[from] TransportError),
}

/// The address of a member's ECDSA key, as `DataCommittee` has it on record; `None` for a stranger.
///
/// # Errors
/// L1 could not be asked.
pub async fn signer_of(client: &L1Client, account: Address) -> Result<Option<Address>, L1Error> {
    let committee = DataCommittee::new(client.contracts().committee, client.provider());
    let member = committee.memberOf(account).call().await.map_err(L1Error::from)?;
    Ok((member.signer != Address::ZERO).then_some(member.signer))
}

/// Has `committee` ask members over libp2p too: those of `addresses` whose keys L1 knows. Keys are read once; a member that registers another is asked over HTTP
/// alone until this side starts anew.
///
/// # Errors
/// L1, or addresses that are none.
pub async fn over_libp2p(
    committee: Committee,
    client: &L1Client,
    addresses: impl IntoIterator<Item = (Address, Multiaddr)>,
) -> Result<Committee, PeersError> {
    let mut peers = Vec::new();
    for (account, address) in addresses {
        match signer_of(client, account).await? {
            Some(signer) => peers.push(MemberPeer { account, signer, address }),
            None => tracing::warn!(%account, "L1 knows no such member; it is asked over HTTP alone"),
        }
    }
    if peers.is_empty() {
        return Ok(committee);
    }
    let scope = Scope { l1_chain_id: client.constants().l1_chain_id, rollup: client.contracts().rollup };
    Ok(committee.over_libp2p(Network::start(scope)?, peers)?)
}
