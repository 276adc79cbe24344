//! Accounts and storage, in every version since genesis.
//!
//! Each write carries the version it made. A block remembers its version, so that a historical read is a search in
//! a short list and a reorg is a truncation. Keys are hashed as in Ethereum's state trie, so that the ordered maps
//! here are the leaves of the real trie and roots come from walking them.

use crate::evm::Changes;
use alloy::{
    consensus::{EMPTY_ROOT_HASH, TrieAccount, proofs},
    primitives::{Address, B256, KECCAK256_EMPTY, U256, keccak256},
};
use revm::bytecode::Bytecode;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A point in the state's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(u64);

/// The values one key had, oldest first, each with the version that wrote it.
#[derive(Debug, Clone)]
struct History<T>(Vec<(Version, T)>);

impl<T> Default for History<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> History<T> {
    fn at(&self, version: Version) -> Option<&T> {
        let later = self.0.partition_point(|(written, _)| *written <= version);
        later.checked_sub(1).map(|index| &self.0[index].1)
    }

    fn latest(&self) -> Option<&T> {
        self.0.last().map(|(_, value)| value)
    }

    /// Versions never run backwards: [`State::apply`] makes a new one each time.
    fn write(&mut self, version: Version, value: T) {
        self.0.push((version, value));
    }

    fn truncate(&mut self, version: Version) {
        let kept = self.0.partition_point(|(written, _)| *written <= version);
        self.0.truncate(kept);
    }
}

/// The keys that one version wrote, so that a rollback touches nothing else.
#[derive(Debug)]
struct Written {
    version: Version,
    accounts: Vec<B256>,
    slots: Vec<(B256, B256)>,
}

/// Every account and storage slot, in every version.
#[derive(Debug)]
pub(crate) struct State {
    version: Version,
    /// By hashed address; `None` where the account does not exist.
    accounts: BTreeMap<B256, History<Option<TrieAccount>>>,
    /// By hashed address and hashed slot; zero where the slot is empty.
    slots: HashMap<B256, BTreeMap<B256, History<U256>>>,
    /// By hash; content-addressed, hence never rolled back.
    code: HashMap<B256, Bytecode>,
    written: Vec<Written>,
}

impl State {
    pub(crate) fn new() -> Self {
        Self {
            version: Version(0),
            accounts: BTreeMap::new(),
            slots: HashMap::new(),
            code: HashMap::from([(KECCAK256_EMPTY, Bytecode::new())]),
            written: Vec::new(),
        }
    }

    pub(crate) fn version(&self) -> Version {
        self.version
    }

    pub(crate) fn account(&self, address: Address, version: Version) -> Option<TrieAccount> {
        *self.accounts.get(&keccak256(address))?.at(version)?
    }

    pub(crate) fn slot(&self, address: Address, slot: U256, version: Version) -> U256 {
        self.slots
            .get(&keccak256(address))
            .and_then(|slots| slots.get(&keccak256(slot.to_be_bytes::<32>())))
            .and_then(|history| history.at(version))
            .copied()
            .unwrap_or_default()
    }

    pub(crate) fn code(&self, hash: B256) -> Option<&Bytecode> {
        self.code.get(&hash)
    }

    /// Writes the changes as a new version, which becomes the latest.
    pub(crate) fn apply(&mut self, changes: Changes) -> Version {
        let version = Version(self.version.0 + 1);
        let mut written = Written { version, accounts: Vec::new(), slots: Vec::new() };
        self.code.extend(changes.code);

        let mut storage_changed = BTreeSet::new();
        for ((address, slot), value) in changes.slots {
            let (account_key, slot_key) = (keccak256(address), keccak256(slot.to_be_bytes::<32>()));
            self.slots.entry(account_key).or_default().entry(slot_key).or_default().write(version, value);
            written.slots.push((account_key, slot_key));
            storage_changed.insert(account_key);
        }
        for (address, account) in changes.accounts {
            let key = keccak256(address);
            let history = self.accounts.entry(key).or_default();
            let before = history.latest().copied().flatten();
            let after = account.map(|account| {
                let storage_root = if storage_changed.contains(&key) {
                    self.slots.get(&key).map_or(EMPTY_ROOT_HASH, storage_root)
                } else {
                    before.map_or(EMPTY_ROOT_HASH, |before| before.storage_root)
                };
                TrieAccount::new(account.nonce, account.balance, storage_root, account.code_hash)
            });
            if after != before {
                history.write(version, after);
                written.accounts.push(key);
            }
        }
        self.written.push(written);
        self.version = version;
        version
    }

    /// Forgets everything after `version`, which becomes the latest.
    pub(crate) fn rollback(&mut self, version: Version) {
        while let Some(last) = self.written.pop_if(|written| written.version > version) {
            for key in last.accounts {
                if let Some(history) = self.accounts.get_mut(&key) {
                    history.truncate(version);
                    if history.0.is_empty() {
                        self.accounts.remove(&key);
                    }
                }
            }
            for (account, slot) in last.slots {
                let Some(slots) = self.slots.get_mut(&account) else { continue };
                if let Some(history) = slots.get_mut(&slot) {
                    history.truncate(version);
                    if history.0.is_empty() {
                        slots.remove(&slot);
                    }
                }
                if slots.is_empty() {
                    self.slots.remove(&account);
                }
            }
        }
        self.version = self.version.min(version);
    }

    /// The root of Ethereum's state trie over the latest version.
    pub(crate) fn root(&self) -> B256 {
        proofs::state_root(
            self.accounts.iter().filter_map(|(key, history)| Some((*key, history.latest().copied().flatten()?))),
        )
    }
}

fn storage_root(slots: &BTreeMap<B256, History<U256>>) -> B256 {
    proofs::storage_root(
        slots
            .iter()
            .map(|(key, history)| (*key, history.latest().copied().unwrap_or_default()))
            .filter(|(_, value)| !value.is_zero()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evm::AccountChange;
    use alloy::primitives::address;
    use proptest::prelude::*;

    const ALICE: Address = address!("00000000000000000000000000000000000a11ce");

    fn balance(address: Address, wei: u64) -> Changes {
        let account = AccountChange { nonce: 0, balance: U256::from(wei), code_hash: KECCAK256_EMPTY };
        Changes { accounts: BTreeMap::from([(address, Some(account))]), ..Changes::default() }
    }

    #[test]
    fn the_empty_state_has_the_empty_root() {
        assert_eq!(State::new().root(), EMPTY_ROOT_HASH);
    }

    /// Written out by hand: a trie of one leaf hashes to the hash of the leaf's RLP.
    #[test]
    fn a_single_account_has_the_root_of_a_single_leaf() {
        let mut state = State::new();
        state.apply(balance(ALICE, 1));
        let mut leaf_value = Vec::new();
        leaf_value.extend([0xf8, 0x44, 0x80, 0x01, 0xa0]);
        leaf_value.extend(EMPTY_ROOT_HASH);
        leaf_value.push(0xa0);
        leaf_value.extend(KECCAK256_EMPTY);
        let mut leaf = vec![0xf8, 0x6a, 0xa1, 0x20];
        leaf.extend(keccak256(ALICE));
        leaf.extend([0xb8, 0x46]);
        leaf.extend(leaf_value);
        assert_eq!(state.root(), keccak256(leaf));
    }

    #[test]
    fn a_storage_root_ignores_zeroed_slots() {
        let mut state = State::new();
        let mut changes = balance(ALICE, 1);
        changes.slots.insert((ALICE, U256::from(1)), U256::from(7));
        state.apply(changes.clone());
        let with_one = state.root();
        changes.slots.insert((ALICE, U256::from(2)), U256::from(8));
        state.apply(changes.clone());
        assert_ne!(state.root(), with_one);
        changes.slots.insert((ALICE, U256::from(2)), U256::ZERO);
        state.apply(changes);
        assert_eq!(state.root(), with_one);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Rolling back to any version gives that version's root and values, as if the rest had never been.
        #[test]
        fn rollback_restores_every_version(
            writes in prop::collection::vec((0_u8..4, 0_u64..4, 0_u8..4, 0_u64..3), 1..24),
            back_to in any::<prop::sample::Index>(),
        ) {
            let mut state = State::new();
            let mut seen = vec![(state.version(), state.root())];
            for (account, wei, slot, value) in writes {
                let address = Address::with_last_byte(account);
                let mut changes = balance(address, wei);
                if wei == 0 {
                    changes.accounts.insert(address, None);
                } else {
                    changes.slots.insert((address, U256::from(slot)), U256::from(value));
                }
                let version = state.apply(changes);
                seen.push((version, state.root()));
            }
            let (version, root) = seen[back_to.index(seen.len())];
            let expected: Vec<_> = (0..4).map(|a| state.account(Address::with_last_byte(a), version)).collect();
            state.rollback(version);
            prop_assert_eq!(state.version(), version);
            prop_assert_eq!(state.root(), root);
            let got: Vec<_> = (0..4).map(|a| state.account(Address::with_last_byte(a), version)).collect();
            prop_assert_eq!(got, expected);
            prop_assert!(state.written.iter().all(|written| written.version <= version));
        }
    }
}
