//! The edge to revm: a view of one version of the state, the changes made on top of it, and one transaction run.

use crate::{
    block::Block,
    error::ChainError,
    state::{State, Version},
};
use alloy::primitives::{Address, B256, U256};
use revm::{
    Context, Database, DatabaseCommit, ExecuteEvm, MainBuilder, MainContext,
    bytecode::Bytecode,
    context::{
        BlockEnv, CfgEnv, TxEnv,
        result::{EVMError, ExecutionResult, InvalidTransaction},
    },
    database_interface::DBErrorMarker,
    primitives::{AddressMap, KECCAK_EMPTY, hardfork::SpecId},
    state::{Account, AccountInfo},
};
use std::{collections::BTreeMap, sync::Arc};

/// The rules of Ethereum mainnet since Fusaka: EIP-7825's gas cap and EIP-7623's floor price among them.
pub(crate) const FORK: SpecId = SpecId::OSAKA;

/// The most gas one transaction may ask for (EIP-7825).
pub(crate) const TRANSACTION_GAS_MAX: u64 = revm::primitives::eip7825::TX_GAS_LIMIT_CAP;

/// One account after a change. Its storage root follows from the changed slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccountChange {
    pub(crate) nonce: u64,
    pub(crate) balance: U256,
    pub(crate) code_hash: B256,
}

/// What execution changed. Ordered, so that applying it is deterministic.
#[derive(Debug, Clone, Default)]
pub(crate) struct Changes {
    /// `None`: the account ceased to exist (EIP-161, EIP-6780).
    pub(crate) accounts: BTreeMap<Address, Option<AccountChange>>,
    pub(crate) slots: BTreeMap<(Address, U256), U256>,
    pub(crate) code: BTreeMap<B256, Bytecode>,
}

/// A version of the state with changes on top: what revm reads from and commits to.
#[derive(Debug)]
pub(crate) struct Overlay<'a> {
    state: &'a State,
    version: Version,
    /// The canonical blocks, by number, for `BLOCKHASH`.
    blocks: &'a [Arc<Block>],
    pub(crate) changes: Changes,
}

impl<'a> Overlay<'a> {
    pub(crate) fn new(state: &'a State, version: Version, blocks: &'a [Arc<Block>]) -> Self {
        Self { state, version, blocks, changes: Changes::default() }
    }

    /// A copy to try something on.
    pub(crate) fn fork(&self) -> Self {
        Self { changes: self.changes.clone(), ..*self }
    }

    /// The account as it stands, changes included.
    pub(crate) fn account(&self, address: Address) -> Option<AccountChange> {
        match self.changes.accounts.get(&address) {
            Some(changed) => changed.clone(),
            None => self.state.account(address, self.version).map(|account| AccountChange {
                nonce: account.nonce,
                balance: account.balance,
                code_hash: account.code_hash,
            }),
        }
    }
}

/// The state refers to code that it does not hold: a broken invariant of this crate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no code with hash {0}")]
pub(crate) struct MissingCode(B256);

impl DBErrorMarker for MissingCode {}

impl Database for Overlay<'_> {
    type Error = MissingCode;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, MissingCode> {
        let Some(account) = self.account(address) else { return Ok(None) };
        let code = self.code_by_hash(account.code_hash)?;
        Ok(Some(AccountInfo::new(account.balance, account.nonce, account.code_hash, code)))
    }

    fn code_by_hash(&mut self, hash: B256) -> Result<Bytecode, MissingCode> {
        self.changes.code.get(&hash).or_else(|| self.state.code(hash)).cloned().ok_or(MissingCode(hash))
    }

    fn storage(&mut self, address: Address, slot: U256) -> Result<U256, MissingCode> {
        Ok(match self.changes.slots.get(&(address, slot)) {
            Some(value) => *value,
            None => self.state.slot(address, slot, self.version),
        })
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, MissingCode> {
        // The EVM asks only for ancestors within its window of 256 blocks; what does not exist hashes to zero.
        let block = usize::try_from(number).ok().and_then(|number| self.blocks.get(number));
        Ok(block.map_or(B256::ZERO, |block| block.hash()))
    }
}

impl DatabaseCommit for Overlay<'_> {
    fn commit(&mut self, accounts: AddressMap<Account>) {
        for (address, account) in accounts {
            if !account.is_touched() {
                continue;
            }
            // Since EIP-6780 only an account born in the same transaction can vanish, so it leaves no slots behind.
            if account.is_selfdestructed() || account.is_empty() {
                self.changes.accounts.insert(address, None);
                continue;
            }
            for (slot, value) in account.changed_storage_slots() {
                self.changes.slots.insert((address, *slot), value.present_value());
            }
            let AccountInfo { balance, nonce, code_hash, code, .. } = account.info;
            if let Some(code) = code.filter(|_| code_hash != KECCAK_EMPTY) {
                self.changes.code.entry(code_hash).or_insert(code);
            }
            self.changes.accounts.insert(address, Some(AccountChange { nonce, balance, code_hash }));
        }
    }
}

/// Why revm ran nothing.
#[derive(Debug)]
pub(crate) enum ExecutionError {
    /// The transaction is not valid in this block on this state.
    Invalid(InvalidTransaction),
    /// This crate's fault.
    Chain(ChainError),
}

/// The rules a block is executed by.
pub(crate) fn rules(chain_id: u64) -> CfgEnv {
    CfgEnv::new_with_spec(FORK).with_chain_id(chain_id)
}

/// The rules a call is simulated by: any sender, any nonce, any amount of gas up to a block's.
pub(crate) fn simulation_rules(chain_id: u64) -> CfgEnv {
    let mut rules = rules(chain_id);
    rules.disable_nonce_check = true;
    rules.disable_eip3607 = true;
    rules.tx_gas_limit_cap = Some(u64::MAX);
    rules
}

/// Runs one transaction on the overlay and keeps its changes there.
pub(crate) fn execute(
    overlay: &mut Overlay<'_>,
    rules: &CfgEnv,
    block: &BlockEnv,
    transaction: TxEnv,
) -> Result<ExecutionResult, ExecutionError> {
    let mut evm =
        Context::mainnet().with_db(&mut *overlay).with_cfg(rules.clone()).with_block(block.clone()).build_mainnet();
    let outcome = evm.transact(transaction).map_err(|error| match error {
        EVMError::Transaction(invalid) => ExecutionError::Invalid(invalid),
        EVMError::Header(header) => ExecutionError::Chain(ChainError::Internal(header.to_string())),
        EVMError::Database(missing) => ExecutionError::Chain(ChainError::Internal(missing.to_string())),
        EVMError::Custom(reason) => ExecutionError::Chain(ChainError::Internal(reason)),
        EVMError::CustomAny(reason) => ExecutionError::Chain(ChainError::Internal(reason.to_string())),
    })?;
    overlay.commit(outcome.state);
    Ok(outcome.result)
}
