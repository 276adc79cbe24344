//! The committee's keyset, as L1 has it in force.

use alloy::primitives::B256;
use joule_committee::{Keyset, KeysetError, Member, Scheme};
use joule_contracts::DataCommittee;
use joule_l1::{L1Client, L1Error};
use thiserror::Error;

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
    /// The members found are no keyset.
    #[error(transparent)]
    NoKeyset(#[from] KeysetError),
    /// The members found are not those in force: the keyset changed while it was read, or the L1 node contradicts itself.
    #[error("the members on L1 form keyset {got}, {expected} is in force")]
    Other {
        /// In force.
        expected: B256,
        /// Found.
        got: B256,
    },
}

/// Reads the ECDSA keyset in force: who is seated and with which keys, checked against the hash in force, which binds all keys and the quorum.
///
/// # Errors
/// [`KeysetOnL1Error`].
pub(crate) async fn read(client: &L1Client) -> Result<Keyset, KeysetOnL1Error> {
    let committee = DataCommittee::new(client.contracts().committee, client.provider());
    let state = client.state(client.head().await?).await?;
    let expected = state.ecdsa_keyset.ok_or(KeysetOnL1Error::NotEcdsa)?;
    let quorum = committee.keysets(expected).call().await.map_err(L1Error::from)?.quorum;
    let seated = committee.seated(Scheme::Ecdsa as u8).call().await.map_err(L1Error::from)?;
    let mut members = Vec::with_capacity(seated.len());
    for account in seated {
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
