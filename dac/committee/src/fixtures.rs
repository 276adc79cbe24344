//! Members, keysets and statements for this crate's tests.

use alloy_primitives::{Address, B256, U256, keccak256};

use crate::{
    bls::BlsSecretKey,
    ecdsa::EcdsaSecretKey,
    keyset::{Keyset, Member, Scheme},
    share::{SecretKey, Share},
    signing_log::{Proposal, SigningLog},
    statement::{CertificateStatement, CommitteeContext},
};

pub(crate) fn account(index: u64) -> Address {
    Address::from_slice(&keccak256(U256::from(index).to_be_bytes::<32>())[..20])
}

pub(crate) fn ecdsa_key(index: u64) -> EcdsaSecretKey {
    EcdsaSecretKey::from_bytes(&B256::from(U256::from(index + 1)).0).expect("a key")
}

pub(crate) fn bls_key(index: u64) -> BlsSecretKey {
    let mut entropy = [0; 48];
    entropy[16..].copy_from_slice(keccak256(index.to_be_bytes()).as_slice());
    BlsSecretKey::from_entropy(&entropy).expect("a key")
}

pub(crate) fn context() -> CommitteeContext {
    CommitteeContext { l1_chain_id: 31_337, committee: Address::repeat_byte(0xdc) }
}

pub(crate) fn member(index: u64) -> Member {
    let bls = Some(bls_key(index).public_key());
    Member { account: account(index), signer: ecdsa_key(index).address(), bls }
}

/// The first `count` members in the scheme's order.
pub(crate) fn members(scheme: Scheme, count: u64) -> Vec<Member> {
    let mut members: Vec<_> = (0..count).map(member).collect();
    members.sort_by_key(|member| match scheme {
        Scheme::Ecdsa => member.signer,
        Scheme::Bls => member.account,
    });
    members
}

pub(crate) fn keyset(scheme: Scheme, count: u64, honest: u32) -> Keyset {
    Keyset::new(scheme, members(scheme, count), honest).expect("a keyset")
}

pub(crate) fn statement(keyset_hash: B256) -> CertificateStatement {
    CertificateStatement {
        l1_chain_id: 31_337,
        rollup: Address::repeat_byte(0x11),
        batch_number: 7,
        parent_checkpoint: B256::repeat_byte(0x22),
        checkpoint: B256::repeat_byte(0x33),
        revert_count: 2,
        data_bytes: 123_456,
        expiry: 1_900_000_000,
        keyset_hash,
    }
}

/// Another claim about the same slot.
pub(crate) fn other_subject(statement: &CertificateStatement) -> CertificateStatement {
    CertificateStatement { checkpoint: B256::repeat_byte(0x44), ..*statement }
}

/// What the member at `position` sends, from a fresh log: a member that forgets, or lies.
pub(crate) fn share(keyset: &Keyset, position: usize, statement: &CertificateStatement) -> Share {
    let account = keyset.members()[position].account;
    let index = (0..64).find(|index| self::account(*index) == account).expect("one of ours");
    let key = match keyset.scheme() {
        Scheme::Ecdsa => SecretKey::Ecdsa(ecdsa_key(index)),
        Scheme::Bls => SecretKey::Bls(bls_key(index)),
    };
    let mut log = SigningLog::new(statement.l1_chain_id, statement.rollup);
    let Ok(Proposal::New(entry)) = log.propose(statement) else { panic!("a fresh log") };
    Share::sign(&log.record(entry).expect("recorded"), account, &key).expect("signs")
}
