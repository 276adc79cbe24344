//! Who signs, and how many must.

use alloy_primitives::{Address, B256, U256, keccak256};
use thiserror::Error;

use crate::{
    bls::BlsPublicKey,
    bn254::G1,
    statement::word,
    wire::{Reader, WireError},
};

/// Most members of a keyset; the contract has the same bound.
pub const MEMBERS_MAX: usize = 64;

/// How members sign. The number is the first byte of a certificate on L1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Scheme {
    /// One ECDSA signature per signer; cheapest on L1 for small committees.
    Ecdsa = 1,
    /// One aggregated BLS signature over BN254.
    Bls = 2,
}

impl Scheme {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        match reader.u8()? {
            1 => Ok(Self::Ecdsa),
            2 => Ok(Self::Bls),
            got => Err(WireError::UnknownScheme { got }),
        }
    }
}

/// A member as registered on L1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The L1 account that registered, by which this crate names the member.
    pub account: Address,
    /// The address of its ECDSA key.
    pub signer: Address,
    /// Its BLS key, if it has one; only keys whose possession was shown get here.
    pub bls: Option<BlsPublicKey>,
}

/// Why members form no keyset. Whoever put them together is to blame; L1 lets no such keyset come into force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeysetError {
    /// More than [`MEMBERS_MAX`], or none.
    #[error("{got} members, where 1 to {most} are possible")]
    MembersOutOfRange {
        /// The most members.
        most: usize,
        /// Members given.
        got: usize,
    },
    /// More honest members assumed than there are, or none.
    #[error("{honest} of {members} members assumed honest; at least one and at most all can be")]
    HonestOutOfRange {
        /// Members.
        members: usize,
        /// Assumed honest.
        honest: u32,
    },
    /// Not strictly increasing: by signer for ECDSA, by account for BLS.
    #[error("{next} does not come after {previous}")]
    OutOfOrder {
        /// The one before.
        previous: Address,
        /// The one out of order.
        next: Address,
    },
    /// One account twice, under two keys: its one refusal would cost two signatures.
    #[error("the account {account} is in the keyset twice")]
    AccountTwice {
        /// The account.
        account: Address,
    },
    /// One BLS key for two members.
    #[error("the member {account} has another member's BLS key")]
    KeyTwice {
        /// The second of them.
        account: Address,
    },
    /// No ECDSA key.
    #[error("the member {account} has no ECDSA key")]
    SignerIsZero {
        /// The member.
        account: Address,
    },
    /// No BLS key.
    #[error("the member {account} has no BLS key")]
    NoBlsKey {
        /// The member.
        account: Address,
    },
}

/// How many of `members` must sign so that one of any `honest` is among them: N + 1 − H.
///
/// # Errors
/// No members or more than [`MEMBERS_MAX`]; none assumed honest or more than there are.
pub fn quorum(members: usize, honest: u32) -> Result<u32, KeysetError> {
    let size = u32::try_from(members).ok().filter(|_| (1..=MEMBERS_MAX).contains(&members));
    let size = size.ok_or(KeysetError::MembersOutOfRange { most: MEMBERS_MAX, got: members })?;
    if honest == 0 || honest > size {
        return Err(KeysetError::HonestOutOfRange { members, honest });
    }
    Ok(size + 1 - honest)
}

/// The hash under which the contract knows an ECDSA keyset.
pub fn ecdsa_keyset_hash(quorum: u32, keyset: &[Address]) -> B256 {
    keyset_hash("Joule ECDSA keyset v1", quorum, keyset.len(), keyset.iter().map(Address::into_word))
}

/// The hash under which the contract knows a BLS keyset.
pub fn bls_keyset_hash(quorum: u32, keyset: &[G1]) -> B256 {
    keyset_hash("Joule BLS keyset v1", quorum, keyset.len(), keyset.iter().flat_map(G1::words))
}

/// `keccak256(abi.encode(tag, quorum, keys))`: the array's offset, then its length and items.
fn keyset_hash(tag: &str, quorum: u32, length: usize, words: impl Iterator<Item = B256>) -> B256 {
    let head = [keccak256(tag), word(quorum.into()), word(3 * 32), B256::from(U256::from(length))];
    let bytes: Vec<u8> = head.into_iter().chain(words).flat_map(|word| word.0).collect();
    keccak256(bytes)
}

/// The members that may sign under one scheme, in the contract's order, and how many must.
///
/// L1 asks for five members at least wherever money is; this type does not, because it does not know where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyset {
    scheme: Scheme,
    members: Vec<Member>,
    honest: u32,
    quorum: u32,
    hash: B256,
}

impl Keyset {
    /// Members in the contract's order: strictly increasing by signer for ECDSA, by account for BLS.
    ///
    /// # Errors
    /// Whatever the contract refuses, and one account or BLS key under two names.
    pub fn new(scheme: Scheme, members: Vec<Member>, honest: u32) -> Result<Self, KeysetError> {
        let quorum = quorum(members.len(), honest)?;
        for (i, member) in members.iter().enumerate() {
            let account = member.account;
            let before = &members[..i];
            if before.iter().any(|other| other.account == account) {
                return Err(KeysetError::AccountTwice { account });
            }
            let place = |member: &Member| match scheme {
                Scheme::Ecdsa => member.signer,
                Scheme::Bls => member.account,
            };
            if let Some(previous) = before.last().map(place).filter(|previous| *previous >= place(member)) {
                return Err(KeysetError::OutOfOrder { previous, next: place(member) });
            }
            match scheme {
                Scheme::Ecdsa if member.signer == Address::ZERO => return Err(KeysetError::SignerIsZero { account }),
                Scheme::Bls if member.bls.is_none() => return Err(KeysetError::NoBlsKey { account }),
                Scheme::Bls if before.iter().any(|other| other.bls == member.bls) => {
                    return Err(KeysetError::KeyTwice { account });
                }
                Scheme::Ecdsa | Scheme::Bls => {}
            }
        }
        let hash = match scheme {
            Scheme::Ecdsa => {
                let signers: Vec<_> = members.iter().map(|member| member.signer).collect();
                ecdsa_keyset_hash(quorum, &signers)
            }
            Scheme::Bls => {
                let keys: Vec<_> = members.iter().filter_map(|member| member.bls).map(|key| key.g1()).collect();
                bls_keyset_hash(quorum, &keys)
            }
        };
        Ok(Self { scheme, members, honest, quorum, hash })
    }

    /// How the members sign.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// All members, in the contract's order.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// How many are assumed honest, H.
    pub fn honest(&self) -> u32 {
        self.honest
    }

    /// How many must sign, K = N + 1 − H.
    pub fn quorum(&self) -> u32 {
        self.quorum
    }

    /// The hash under which the contract knows the keyset, and which its certificates sign.
    pub fn hash(&self) -> B256 {
        self.hash
    }

    /// The place of `account` among the members, from 0.
    pub fn position(&self, account: Address) -> Option<usize> {
        self.members.iter().position(|member| member.account == account)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{account, keyset, members};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_quorum_meets_any_honest_set(members in 0usize..=70, honest in 0u32..=70) {
            match quorum(members, honest) {
                Ok(quorum) => {
                    // Too few are left outside a quorum to hold all honest members; one signer fewer, and they fit.
                    prop_assert!(members as u32 - quorum < honest);
                    prop_assert_eq!(members as u32 - (quorum - 1), honest);
                    prop_assert!((1..=members as u32).contains(&quorum));
                }
                Err(KeysetError::MembersOutOfRange { .. }) => prop_assert!(members == 0 || members > MEMBERS_MAX),
                Err(_) => prop_assert!(honest == 0 || honest as usize > members),
            }
        }
    }

    #[test]
    fn a_committee_of_one_works() {
        assert_eq!(keyset(Scheme::Ecdsa, 1, 1).quorum(), 1);
        assert_eq!(keyset(Scheme::Bls, 1, 1).quorum(), 1);
    }

    #[test]
    fn keysets_that_the_contract_refuses_are_refused() {
        for scheme in [Scheme::Ecdsa, Scheme::Bls] {
            let sorted = members(scheme, 3);
            let mut swapped = sorted.clone();
            swapped.swap(0, 1);
            assert!(matches!(Keyset::new(scheme, swapped, 1), Err(KeysetError::OutOfOrder { .. })));
            let twice = vec![sorted[0], sorted[0]];
            assert_eq!(Keyset::new(scheme, twice, 1), Err(KeysetError::AccountTwice { account: sorted[0].account }));
            assert_eq!(Keyset::new(scheme, sorted, 4), Err(KeysetError::HonestOutOfRange { members: 3, honest: 4 }));
            assert_eq!(
                Keyset::new(scheme, Vec::new(), 1),
                Err(KeysetError::MembersOutOfRange { most: MEMBERS_MAX, got: 0 })
            );
        }
        let [first, second, _] = members(Scheme::Bls, 3)[..] else { unreachable!("three members") };
        let copied = vec![first, Member { bls: first.bls, ..second }];
        assert_eq!(Keyset::new(Scheme::Bls, copied, 1), Err(KeysetError::KeyTwice { account: second.account }));
        let bare = Member { bls: None, ..first };
        assert_eq!(Keyset::new(Scheme::Bls, vec![bare], 1), Err(KeysetError::NoBlsKey { account: first.account }));
        let nobody = Member { account: account(1), signer: Address::ZERO, bls: None };
        assert_eq!(Keyset::new(Scheme::Ecdsa, vec![nobody], 1), Err(KeysetError::SignerIsZero { account: account(1) }));
    }

    #[test]
    fn the_hash_says_who_and_how_many() {
        let hashes = [
            keyset(Scheme::Ecdsa, 5, 2).hash(),
            keyset(Scheme::Ecdsa, 5, 1).hash(),
            keyset(Scheme::Ecdsa, 4, 1).hash(),
            keyset(Scheme::Bls, 5, 2).hash(),
            keyset(Scheme::Bls, 5, 1).hash(),
        ];
        for (i, hash) in hashes.iter().enumerate() {
            assert!(!hashes[..i].contains(hash));
        }
    }
}
