//! What a caller wants to be otherwise: `eth_call`'s third and fourth parameter, as geth has them.

use std::collections::{BTreeMap, HashMap};

use alloy::{
    primitives::{Address, B256, U256},
    rpc::types::{
        BlockOverrides,
        state::{AccountOverride, StateOverride},
    },
};
use joule_protocol::{Amount, SystemContract, limits::AMOUNT_MAX};
use revm::{bytecode::Bytecode, context::BlockEnv};

use crate::{RpcError, wire::protocol_address};

/// Accounts in one request. Uniswap's and ENS's helpers change one or two, simulators of airdrops some dozens.
const ACCOUNTS_MAX: usize = 256;

/// Storage slots in one request, of all accounts together.
const SLOTS_MAX: usize = 4_096;

/// Bytes of one account's code: five times what a contract on Ethereum may have (EIP-170).
const CODE_BYTES_MAX: usize = 5 * 24_576;

/// Block hashes in one request: what BLOCKHASH can see.
const BLOCK_HASHES_MAX: usize = 256;

/// What is otherwise about an account.
#[derive(Clone, Debug, Default)]
pub(crate) struct Change {
    pub(crate) balance: Option<U256>,
    pub(crate) nonce: Option<u64>,
    pub(crate) code: Option<Bytecode>,
    pub(crate) slots: HashMap<U256, U256>,
}

/// Everything that is otherwise.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overrides {
    accounts: BTreeMap<Address, Change>,
    number: Option<U256>,
    pub(crate) time: Option<u64>,
    gas_limit: Option<u64>,
    coinbase: Option<Address>,
    random: Option<B256>,
    difficulty: Option<U256>,
    pub(crate) base_fee: Option<u64>,
    block_hashes: BTreeMap<u64, B256>,
}

/// The balance and nonce of an account in a dry run of the kernel.
pub(crate) struct DryAccount {
    pub(crate) address: joule_protocol::Address,
    pub(crate) balance: Option<Amount>,
    pub(crate) nonce: Option<u64>,
}

fn too_many(what: &'static str, got: usize, limit: usize) -> Result<(), RpcError> {
    if got <= limit {
        return Ok(());
    }
    Err(RpcError::LimitExceeded { what, got: got as u64, limit: limit as u64, advice: "" })
}

fn invalid(sentence: String) -> RpcError {
    RpcError::InvalidParams(sentence)
}

fn change(address: &Address, wanted: AccountOverride) -> Result<Change, RpcError> {
    if wanted.move_precompile_to.is_some() {
        return Err(invalid(format!("movePrecompileToAddress of {address}: precompiles stay where they are")));
    }
    let has_storage = wanted.state.is_some() || wanted.state_diff.is_some();
    if SystemContract::at(&protocol_address(*address)).is_some() && (wanted.code.is_some() || has_storage) {
        return Err(invalid(format!("{address} is a system contract: it has no code and no storage to override")));
    }
    // The storage of every account is empty, so replacing it and adding to it are the same; both at once contradict each other.
    let slots = match (wanted.state, wanted.state_diff) {
        (Some(_), Some(_)) => return Err(invalid(format!("account {address} has both state and stateDiff"))),
        (state, difference) => state.or(difference).unwrap_or_default(),
    };
    let code = wanted.code.map(|code| {
        too_many("bytes of overridden code", code.len(), CODE_BYTES_MAX)?;
        Bytecode::new_raw_checked(code).map_err(|error| invalid(format!("code of {address}: {error}")))
    });
    Ok(Change {
        balance: wanted.balance,
        nonce: wanted.nonce,
        code: code.transpose()?,
        slots: slots.into_iter().map(|(slot, value)| (slot.into(), value.into())).collect(),
    })
}

impl Overrides {
    /// Checks what a caller wants.
    ///
    /// # Errors
    /// `InvalidParams` for what contradicts itself or is not offered, `LimitExceeded` for too much.
    pub(crate) fn new(state: Option<StateOverride>, block: Option<BlockOverrides>) -> Result<Self, RpcError> {
        let state = state.unwrap_or_default();
        too_many("overridden accounts", state.len(), ACCOUNTS_MAX)?;
        let slots = |wanted: &AccountOverride| {
            wanted.state.as_ref().map_or(0, |slots| slots.len())
                + wanted.state_diff.as_ref().map_or(0, |slots| slots.len())
        };
        too_many("overridden slots", state.values().map(slots).sum(), SLOTS_MAX)?;
        let accounts = state.into_iter().map(|(address, wanted)| Ok((address, change(&address, wanted)?)));
        let accounts = accounts.collect::<Result<_, RpcError>>()?;

        let block = block.unwrap_or_default();
        if block.beacon_root.is_some() || block.blob_base_fee.is_some() {
            return Err(invalid("blocks here have no beacon root and no blobs to override".into()));
        }
        let base_fee = block
            .base_fee
            .map(|fee| u64::try_from(fee).map_err(|_| invalid(format!("a base fee of {fee} does not fit 64 bits"))));
        let block_hashes = block.block_hash.unwrap_or_default();
        too_many("overridden block hashes", block_hashes.len(), BLOCK_HASHES_MAX)?;
        Ok(Self {
            accounts,
            number: block.number,
            time: block.time,
            gas_limit: block.gas_limit,
            coinbase: block.coinbase,
            random: block.random,
            difficulty: block.difficulty,
            base_fee: base_fee.transpose()?,
            block_hashes,
        })
    }

    /// What is otherwise about an account.
    pub(crate) fn account(&self, address: &Address) -> Option<&Change> {
        self.accounts.get(address)
    }

    /// Whether an account has code that is not its own.
    pub(crate) fn has_code(&self, address: &Address) -> bool {
        self.account(address).is_some_and(|change| change.code.is_some())
    }

    /// What BLOCKHASH is to say of a block.
    pub(crate) fn block_hash(&self, number: u64) -> Option<B256> {
        self.block_hashes.get(&number).copied()
    }

    /// Changes the block that a view runs in.
    pub(crate) fn apply_to(&self, block: &mut BlockEnv) {
        block.number = self.number.unwrap_or(block.number);
        block.timestamp = self.time.map_or(block.timestamp, U256::from);
        block.gas_limit = self.gas_limit.unwrap_or(block.gas_limit);
        block.beneficiary = self.coinbase.unwrap_or(block.beneficiary);
        block.basefee = self.base_fee.unwrap_or(block.basefee);
        // The opcode that read one reads the other since the merge, so `random`, the younger name, goes first.
        block.prevrandao = self.random.or(self.difficulty.map(B256::from)).or(block.prevrandao);
    }

    /// The accounts for a dry run of the kernel, which knows neither code nor storage.
    ///
    /// # Errors
    /// `InvalidParams` for a balance that the kernel cannot hold.
    pub(crate) fn dry_accounts(&self) -> Result<Vec<DryAccount>, RpcError> {
        let dry = |(address, change): (&Address, &Change)| {
            let balance = change.balance.map(|balance| {
                u128::try_from(balance).ok().filter(|&balance| balance < AMOUNT_MAX).ok_or_else(|| {
                    invalid(format!(
                        "a balance of {balance} for {address} is not below 2^120, which the kernel stays below"
                    ))
                })
            });
            if change.nonce == Some(u64::MAX) {
                return Err(invalid(format!("a nonce of {} for {address} has no next one", u64::MAX)));
            }
            Ok(DryAccount { address: protocol_address(*address), balance: balance.transpose()?, nonce: change.nonce })
        };
        self.accounts.iter().map(dry).collect()
    }
}
