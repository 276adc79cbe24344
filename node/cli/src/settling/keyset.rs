//! The committee's keyset, as L1 has it in force.

use std::{collections::HashMap, sync::Arc};

use alloy::{
    primitives::{Address, B256},
    providers::Provider as _,
    rpc::types::Filter,
    sol_types::SolEvent as _,
};
use joule_committee::{BlsPublicKey, G1, G2, Keyset, KeysetError, Member, RecordedKeyError, Scheme};
use joule_contracts::DataCommittee;
use joule_l1::{L1Client, L1Error, RollupState};
use joule_operator::Keysets;
use thiserror::Error;

use super::{SettlingError, SettlingStatus};

/// Blocks in one query for logs.
const RANGE_BLOCKS: u64 = 1_000;

/// Why the keyset in force is not known.
#[derive(Debug, Error)]
pub enum KeysetOnL1Error {
    /// L1 could not be asked.
    #[error(transparent)]
    L1(#[from] L1Error),
    /// Nobody is seated.
    #[error("the committee on L1 has no keyset in force; governance seats one with `DataCommittee.setKeyset`")]
    None,
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
    /// A seated member whose registration the L1 node does not show: it has no logs as old, or contradicts itself.
    #[error("L1 seats {account} with a BLS key, and its node shows no registration of it since block {deployed_at}")]
    NotShown {
        /// The member.
        account: Address,
        /// Block of the rollup's deployment.
        deployed_at: u64,
    },
    /// A registration that is none.
    #[error("the BLS key of {account} as the L1 node shows it: {error}")]
    Key {
        /// The member.
        account: Address,
        /// What is wrong.
        error: RecordedKeyError,
    },
    /// A log that does not decode.
    #[error("the L1 node shows a registration that is none: {reason}")]
    Log {
        /// What is wrong.
        reason: String,
    },
}

/// Reads the keyset in force: who is seated and with which keys, checked against the hash in force, which binds all keys and the quorum. Where both schemes have one, that of ECDSA, which is
/// cheaper on L1 for committees of the size that it is for.
///
/// # Errors
/// [`KeysetOnL1Error`].
pub(crate) async fn read(client: &L1Client) -> Result<Keyset, KeysetOnL1Error> {
    let (scheme, expected) = chosen(&client.state(client.head().await?).await?)?;
    read_scheme(client, scheme, expected).await
}

fn chosen(state: &RollupState) -> Result<(Scheme, B256), KeysetOnL1Error> {
    match (state.ecdsa_keyset, state.bls_keyset) {
        (Some(expected), _) => Ok((Scheme::Ecdsa, expected)),
        (None, Some(expected)) => Ok((Scheme::Bls, expected)),
        (None, None) => Err(KeysetOnL1Error::None),
    }
}

/// The keyset in force, read again whenever L1 has another. What was read last is in the status.
pub(crate) struct InForce {
    pub(crate) l1: L1Client,
    /// Members whose addresses are known.
    pub(crate) known: Vec<Address>,
    pub(crate) status: Arc<SettlingStatus>,
}

/// That every seated member can be asked: the signature of one that cannot would never come.
pub(crate) fn check_endpoints(keyset: &Keyset, known: &[Address]) -> Result<(), SettlingError> {
    match keyset.members().iter().find(|seat| !known.contains(&seat.account)) {
        Some(member) => Err(SettlingError::NoEndpoint { account: member.account }),
        None => Ok(()),
    }
}

impl Keysets for InForce {
    async fn in_force(&self) -> Result<Keyset, Box<dyn std::error::Error + Send + Sync>> {
        let before = self.status.keyset();
        let (scheme, expected) = chosen(&self.l1.state(self.l1.head().await?).await?)?;
        if before.hash() == expected {
            return Ok((*before).clone());
        }
        let keyset = read_scheme(&self.l1, scheme, expected).await?;
        check_endpoints(&keyset, &self.known)?;
        tracing::warn!(before = %before.hash(), now = %expected, ?scheme, "L1 has seated another keyset");
        self.status.seats(keyset.clone());
        Ok(keyset)
    }
}

async fn read_scheme(client: &L1Client, scheme: Scheme, expected: B256) -> Result<Keyset, KeysetOnL1Error> {
    let committee = DataCommittee::new(client.contracts().committee, client.provider());
    let quorum = committee.keysets(expected).call().await.map_err(L1Error::from)?.quorum;
    let seated = committee.seated(scheme as u8).call().await.map_err(L1Error::from)?;
    let mut in_g2 = match scheme {
        Scheme::Ecdsa => HashMap::new(),
        Scheme::Bls => keys_in_g2(client, &seated).await?,
    };
    let mut members = Vec::with_capacity(seated.len());
    for account in seated {
        let member = committee.memberOf(account).call().await.map_err(L1Error::from)?;
        let bls = match in_g2.remove(&account) {
            None => None,
            Some(key2) => {
                let key = G1 { x: member.blsKey.x, y: member.blsKey.y };
                let key = BlsPublicKey::on_record(&key, &key2);
                Some(key.map_err(|error| KeysetOnL1Error::Key { account, error })?)
            }
        };
        members.push(Member { account, signer: member.signer, bls });
    }
    // K = N + 1 − H, turned around; a quorum that fits no H shows in the hash.
    let honest = (members.len() as u32 + 1).saturating_sub(quorum);
    let keyset = Keyset::new(scheme, members, honest)?;
    match keyset.hash() {
        got if got == expected => Ok(keyset),
        got => Err(KeysetOnL1Error::Other { expected, got }),
    }
}

/// The members' keys in G2. The contract's state has those in G1, and a log those in both: shares are verified with the second.
///
/// The proofs of possession that came with them are not asked for again. The contract takes a key with its proof alone, once and for good, and the state of that same contract says which keys the
/// keyset in force is made of; a log that shows another key than the one registered is noticed, because both are one key. So a lying log can keep this node from starting and do nothing else.
async fn keys_in_g2(client: &L1Client, seated: &[Address]) -> Result<HashMap<Address, G2>, KeysetOnL1Error> {
    let (deployed_at, committee) = (client.contracts().deployed_at, client.contracts().committee);
    let mut found = HashMap::new();
    let mut last = client.head().await?.number;
    // Backwards, because members register shortly before they are seated. The keyset has 64 members at most, and each registers once.
    loop {
        let missing: Vec<B256> =
            seated.iter().filter(|account| !found.contains_key(*account)).map(|account| account.into_word()).collect();
        if missing.is_empty() {
            return Ok(found);
        }
        let first = deployed_at.max(last.saturating_sub(RANGE_BLOCKS - 1));
        let filter = Filter::new()
            .address(committee)
            .event_signature(DataCommittee::BlsKeyRegistered::SIGNATURE_HASH)
            .topic1(missing)
            .from_block(first)
            .to_block(last);
        for log in client.provider().get_logs(&filter).await.map_err(L1Error::from)? {
            let event = DataCommittee::BlsKeyRegistered::decode_log(&log.inner);
            let event = event.map_err(|error| KeysetOnL1Error::Log { reason: error.to_string() })?;
            let key2 = G2 {
                x_imaginary: event.key2.xImaginary,
                x_real: event.key2.xReal,
                y_imaginary: event.key2.yImaginary,
                y_real: event.key2.yReal,
            };
            found.insert(event.member, key2);
        }
        match first.checked_sub(1).filter(|_| first > deployed_at) {
            Some(before) => last = before,
            None => {
                let missing = seated.iter().find(|account| !found.contains_key(*account));
                return match missing {
                    None => Ok(found),
                    Some(&account) => Err(KeysetOnL1Error::NotShown { account, deployed_at }),
                };
            }
        }
    }
}
