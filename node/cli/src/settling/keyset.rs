//! The committee's keyset, as L1 has it in force.

use alloy::{
    primitives::{B256, U256},
    providers::Provider,
    rpc::types::Filter,
    sol_types::SolEvent,
};
use joule_committee::{Keyset, KeysetError, Member, Scheme};
use joule_contracts::DataCommittee;
use joule_l1::{L1Client, L1Error};
use thiserror::Error;

/// Blocks in one query for logs.
const RANGE_BLOCKS: u64 = 1_000;

/// Why the keyset in force is not known.
#[derive(Debug, Error)]
pub enum KeysetOnL1Error {
    /// L1 could not be asked.
    #[error(transparent)]
    L1(#[from] L1Error),
    /// No members sign with ECDSA keys.
    #[error(
        "the committee on L1 has no ECDSA keyset in force; this node gathers no certificates of another scheme, whose keys come with proofs that L1 does not repeat"
    )]
    NotEcdsa,
    /// Its event was not found: the L1 node does not serve logs back to the rollup's deployment, or `l1.deployed_at` is too late.
    #[error(
        "L1 has keyset {keyset} in force and no event of it since block {deployed_at}; set `l1.deployed_at` to the rollup's deployment"
    )]
    NoEvent {
        /// The keyset's hash.
        keyset: B256,
        /// Where the search ended.
        deployed_at: u64,
    },
    /// The members found are no keyset.
    #[error(transparent)]
    NoKeyset(#[from] KeysetError),
    /// The members found are not those in force: a member's key or the keyset changed while it was read, or the node contradicts itself.
    #[error("the members on L1 form keyset {got}, {expected} is in force")]
    Other {
        /// In force.
        expected: B256,
        /// Found.
        got: B256,
    },
}

/// Reads the ECDSA keyset in force: its members from the event that seated them, their keys from the contract, and both checked against its hash.
///
/// # Errors
/// [`KeysetOnL1Error`].
pub(crate) async fn read(client: &L1Client) -> Result<Keyset, KeysetOnL1Error> {
    let head = client.head().await?;
    let state = client.state(head).await?;
    let expected = state.ecdsa_keyset.ok_or(KeysetOnL1Error::NotEcdsa)?;
    let (accounts, quorum) = find(client, expected, head.number).await?;
    let committee = DataCommittee::new(client.contracts().committee, client.provider());
    let mut members = Vec::with_capacity(accounts.len());
    for account in accounts {
        let member = committee.memberOf(account).call().await.map_err(L1Error::from)?;
        members.push(Member { account, signer: member.signer, bls: None });
    }
    // K = N + 1 − H, turned around; a quorum that fits no H shows in the hash.
    let honest = (members.len() as u32 + 1).saturating_sub(quorum);
    let keyset = Keyset::new(Scheme::Ecdsa, members, honest)?;
    match keyset.hash() {
        got if got == expected => Ok(keyset),
        got => Err(KeysetOnL1Error::Other { expected, got }),
    }
}

/// The members and the quorum of the last event that put the keyset in force.
async fn find(
    client: &L1Client,
    keyset: B256,
    mut last: u64,
) -> Result<(Vec<alloy::primitives::Address>, u32), KeysetOnL1Error> {
    let deployed_at = client.contracts().deployed_at;
    loop {
        let first = deployed_at.max(last.saturating_sub(RANGE_BLOCKS - 1));
        let filter = Filter::new()
            .address(client.contracts().committee)
            .event_signature(DataCommittee::KeysetActivated::SIGNATURE_HASH)
            .topic1(B256::from(U256::from(Scheme::Ecdsa as u8)))
            .topic2(keyset)
            .from_block(first)
            .to_block(last);
        let logs = client.provider().get_logs(&filter).await.map_err(L1Error::from)?;
        if let Some(log) = logs.last()
            && let Ok(event) = DataCommittee::KeysetActivated::decode_log(&log.inner)
        {
            return Ok((event.data.members, event.data.quorum));
        }
        if first == deployed_at {
            return Err(KeysetOnL1Error::NoEvent { keyset, deployed_at });
        }
        last = first - 1;
    }
}
