//! The chain's state as code sees it.

use std::collections::{BTreeMap, HashMap};

use alloy::primitives::{Address, B256, Bytes, U256, address};
use joule_protocol::{Account, Key, Object, SystemContract};
use joule_storage::View;
use revm::{Database, bytecode::Bytecode, primitives::KECCAK_EMPTY, state::AccountInfo};

use super::{
    limits::{Deadline, Stopped},
    overrides::Overrides,
};
use crate::{
    RpcError,
    lookup::{self, AnyStore},
    wire::{hash_of, protocol_address},
};

/// What `eth_getCode` shows of a system contract: one INVALID, so that clients see a contract and nobody mistakes it for the code that runs.
const SYSTEM_CONTRACT_CODE: &[u8] = &[0xfe];

/// Where clients look for Multicall3 on every chain.
pub(crate) const MULTICALL3: Address = address!("0xcA11bde05977b3631167028862bE2a173976CA11");

mod contract {
    #![allow(missing_docs, reason = "made from the artefact")]
    alloy::sol!(Multicall3, "../../contracts/artefacts/Multicall3.json");
}

pub(crate) use contract::Multicall3;

/// The code at an address; empty for all but system contracts and what exists in views only.
pub(crate) fn code_at(address: &Address) -> Bytes {
    if *address == MULTICALL3 {
        return Multicall3::DEPLOYED_BYTECODE.clone();
    }
    match SystemContract::at(&protocol_address(*address)) {
        Some(_) => Bytes::from_static(SYSTEM_CONTRACT_CODE),
        None => Bytes::new(),
    }
}

/// What a view reads of the chain. The node's is a [`Snapshot`].
pub(crate) trait ChainState {
    /// The object under a key.
    fn object(&self, key: &Key) -> Result<Option<Object>, RpcError>;

    /// The hash of a block; `None` if there is no such block.
    fn block_hash(&self, number: u64) -> Result<Option<B256>, RpcError>;
}

/// The state after a block, in a view of the database.
pub(crate) struct Snapshot<'a> {
    pub(crate) view: &'a View<'a>,
    pub(crate) tree: joule_state::StateTree<AnyStore<'a>>,
}

impl<'a> Snapshot<'a> {
    pub(crate) fn at(view: &'a View<'a>, number: u64) -> Result<Self, RpcError> {
        Ok(Self { view, tree: lookup::state_at(view, number)? })
    }
}

impl ChainState for Snapshot<'_> {
    fn object(&self, key: &Key) -> Result<Option<Object>, RpcError> {
        Ok(self.tree.get(key)?)
    }

    fn block_hash(&self, number: u64) -> Result<Option<B256>, RpcError> {
        let head = self.view.head();
        if number >= head.block_number {
            return Ok((number == head.block_number).then(|| hash_of(head.block_hash)));
        }
        match self.view.checkpoint(number)? {
            Some(checkpoint) => Ok(Some(hash_of(checkpoint.block_hash))),
            None => {
                Err(RpcError::StatePruned { wanted: number, first: self.view.first_block()?, head: head.block_number })
            }
        }
    }
}

/// [`ChainState`] with overrides, for revm.
pub(crate) struct ViewDatabase<'a> {
    pub(crate) chain: &'a dyn ChainState,
    overrides: &'a Overrides,
    deadline: Deadline,
    /// Hashes that were read: reading one takes a whole block record, and code pays 20 gas for it.
    block_hashes: BTreeMap<u64, B256>,
    /// Code by hash, of the accounts that were read.
    codes: HashMap<B256, Bytecode>,
}

impl<'a> ViewDatabase<'a> {
    pub(crate) fn new(chain: &'a dyn ChainState, overrides: &'a Overrides, deadline: Deadline) -> Self {
        Self { chain, overrides, deadline, block_hashes: BTreeMap::new(), codes: HashMap::new() }
    }

    /// An object, if there is time left.
    pub(crate) fn timed<T>(&self, read: impl FnOnce(&dyn ChainState) -> Result<T, RpcError>) -> Result<T, Stopped> {
        self.deadline.check()?;
        Ok(read(self.chain)?)
    }
}

/// An account; one that is absent is empty.
pub(crate) fn account(chain: &dyn ChainState, address: &Address) -> Result<Account, RpcError> {
    Ok(match chain.object(&Key::account(&protocol_address(*address)))? {
        Some(Object::Account(account)) => account,
        _ => Account::default(),
    })
}

impl Database for ViewDatabase<'_> {
    type Error = Stopped;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, Stopped> {
        let account = self.timed(|chain| account(chain, &address))?;
        let change = self.overrides.account(&address);
        let balance = change.and_then(|change| change.balance).unwrap_or(U256::from(account.balance));
        let nonce = change.and_then(|change| change.nonce).unwrap_or(account.nonce);
        let code = match change.and_then(|change| change.code.clone()) {
            Some(code) => code,
            // The artefact's code and that of system contracts are legacy code, which every byte string is.
            None => Bytecode::new_legacy(code_at(&address)),
        };
        let hash = if code.is_empty() { KECCAK_EMPTY } else { code.hash_slow() };
        if !code.is_empty() {
            self.codes.insert(hash, code.clone());
        }
        Ok(Some(AccountInfo::new(balance, nonce, hash, code)))
    }

    fn code_by_hash(&mut self, hash: B256) -> Result<Bytecode, Stopped> {
        Ok(self.codes.get(&hash).cloned().unwrap_or_default())
    }

    fn storage(&mut self, address: Address, slot: U256) -> Result<U256, Stopped> {
        // No account of this chain has storage of its own.
        let change = self.overrides.account(&address);
        Ok(change.and_then(|change| change.slots.get(&slot).copied()).unwrap_or_default())
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, Stopped> {
        if let Some(hash) = self.overrides.block_hash(number).or_else(|| self.block_hashes.get(&number).copied()) {
            return Ok(hash);
        }
        let hash = self.timed(|chain| chain.block_hash(number))?.unwrap_or_default();
        self.block_hashes.insert(number, hash);
        Ok(hash)
    }
}
