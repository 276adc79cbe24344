//! The methods that steer a test chain, under the names that anvil gave them.

use super::{
    error::RpcError,
    eth::{json, write},
    params::Params,
};
use crate::{
    chain::{Chain, Orphans},
    config::Mining,
    error::ChainError,
    server::SharedChain,
    transaction::SignedTransaction,
};
use alloy::primitives::{Bytes, U64, U256};
use serde::Deserialize;
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc};

/// Carries the method out; `None` if it is not one of these.
pub(super) fn dispatch(chain: &SharedChain, method: &str, params: &Params) -> Option<Result<Value, RpcError>> {
    Some(match method {
        "evm_mine" => evm_mine(chain, params),
        "anvil_mine" | "hardhat_mine" => anvil_mine(chain, params),
        "evm_increaseTime" | "anvil_increaseTime" => increase_time(chain, params),
        "evm_setNextBlockTimestamp" | "anvil_setNextBlockTimestamp" => {
            number(params).and_then(|timestamp_s| write(chain, |chain, _| Ok(chain.set_next_timestamp(timestamp_s)?)))
        }
        "evm_snapshot" | "anvil_snapshot" => write(chain, |chain, _| Ok(U64::from(chain.snapshot()))),
        "evm_revert" | "anvil_revert" => {
            number(params).and_then(|id| write(chain, |chain, now_s| Ok(chain.revert(id, now_s))))
        }
        "evm_setAutomine" | "anvil_setAutomine" => params.required(0).and_then(|automatic: bool| {
            let mining = if automatic { Mining::Automatic } else { Mining::Manual };
            write(chain, |chain, _| Ok(chain.set_mining(mining)?))
        }),
        "anvil_getAutomine" | "hardhat_getAutomine" => {
            chain.read(|chain, _| chain.mining() == Mining::Automatic).map(Value::from).map_err(Into::into)
        }
        "evm_setIntervalMining" | "anvil_setIntervalMining" => number(params).and_then(|seconds| {
            let mining = if seconds == 0 { Mining::Manual } else { Mining::Interval { seconds } };
            write(chain, |chain, _| Ok(chain.set_mining(mining)?))
        }),
        "anvil_setBalance" | "hardhat_setBalance" => set_balance(chain, params),
        "anvil_setNextBlockBaseFeePerGas" | "hardhat_setNextBlockBaseFeePerGas" => {
            number(params).and_then(|base_fee| {
                write(chain, |chain, _| {
                    chain.set_next_base_fee(base_fee);
                    Ok(())
                })
            })
        }
        "anvil_dropTransaction" | "hardhat_dropTransaction" => params
            .required(0)
            .and_then(|hash| write(chain, |chain, _| Ok(chain.drop_transaction(hash).then_some(hash)))),
        "anvil_rollback" => params
            .number(0)
            .and_then(|depth| write(chain, |chain, _| Ok(chain.reorg(depth.unwrap_or(1), Orphans::Drop).map(drop)?))),
        "anvil_reorg" => reorg(chain, params),
        _ => return None,
    })
}

fn number(params: &Params) -> Result<u64, RpcError> {
    params.number(0)?.ok_or_else(|| RpcError::invalid_params("missing value for required argument 0"))
}

/// `evm_mine`: one block, or as many as asked, the first at the timestamp given. Answers `"0x0"` as ganache did.
fn evm_mine(chain: &SharedChain, params: &Params) -> Result<Value, RpcError> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Options {
        Object { timestamp: Option<U256>, blocks: Option<U256> },
        Timestamp(U256),
    }
    let (timestamp, blocks) = match params.optional(0)? {
        None => (None, None),
        Some(Options::Object { timestamp, blocks }) => (timestamp, blocks),
        Some(Options::Timestamp(timestamp)) => (Some(timestamp), None),
    };
    let timestamp = timestamp.map(word).transpose()?;
    let blocks = blocks.map(word).transpose()?.unwrap_or(1);
    write(chain, |chain, now_s| {
        check_blocks(chain, blocks)?;
        if let Some(timestamp_s) = timestamp {
            chain.set_next_timestamp(timestamp_s)?;
        }
        for _ in 0..blocks {
            chain.mine(now_s)?;
        }
        Ok("0x0")
    })
}

/// `anvil_mine(blocks, interval)`: blocks so many seconds apart.
fn anvil_mine(chain: &SharedChain, params: &Params) -> Result<Value, RpcError> {
    let blocks = params.number(0)?.unwrap_or(1);
    let interval_s = params.number(1)?;
    write(chain, |chain, now_s| {
        check_blocks(chain, blocks)?;
        for index in 0..blocks {
            if let Some(interval_s) = interval_s.filter(|_| index > 0) {
                let latest = chain.latest().timestamp_s();
                let next = latest.checked_add(interval_s);
                chain.set_next_timestamp(next.ok_or(ChainError::TimestampOverflow { now: latest, by: interval_s })?)?;
            }
            chain.mine(now_s)?;
        }
        Ok(())
    })
}

fn check_blocks(chain: &Chain, got: u64) -> Result<(), ChainError> {
    let most = chain.config().limits.mine_blocks_max;
    if got > most {
        return Err(ChainError::TooMany { what: "number of blocks", most, got });
    }
    Ok(())
}

fn word(number: U256) -> Result<u64, RpcError> {
    u64::try_from(number).map_err(|_| RpcError::invalid_params("invalid argument 0: more than 64 bits"))
}

fn increase_time(chain: &SharedChain, params: &Params) -> Result<Value, RpcError> {
    let by_s = number(params)?;
    let offset_s = chain.write(|chain, now_s| chain.increase_time(by_s, now_s))??;
    // anvil answers the whole offset; one that points backwards, after a timestamp was set in the past, shows as 0.
    json(u64::try_from(offset_s).unwrap_or(0))
}

fn set_balance(chain: &SharedChain, params: &Params) -> Result<Value, RpcError> {
    let address = params.required(0)?;
    let balance: U256 = params.required(1)?;
    write(chain, |chain, _| {
        chain.set_balance(address, balance);
        Ok(())
    })
}

/// A raw transaction and the index, among the replacement blocks, of the one that carries it.
type Replacement = (Bytes, u64);

/// `anvil_reorg(depth, [[raw transaction, block index], …])`: the latest `depth` blocks make room for as many new
/// ones, empty but for the transactions given. Transactions of the old blocks are gone.
fn reorg(chain: &SharedChain, params: &Params) -> Result<Value, RpcError> {
    #[derive(Deserialize)]
    struct Options {
        depth: U256,
        #[serde(default)]
        tx_block_pairs: Vec<Replacement>,
    }
    let options: Options = match params.raw(0) {
        Some(Value::Object(_)) => params.required(0)?,
        _ => Options { depth: params.required(0)?, tx_block_pairs: params.optional(1)?.unwrap_or_default() },
    };
    let depth = word(options.depth)?;
    write(chain, |chain, now_s| {
        let bytes_max = chain.config().limits.transaction_bytes_max;
        let mut contents: BTreeMap<u64, Vec<Arc<SignedTransaction>>> = BTreeMap::new();
        for (bytes, index) in options.tx_block_pairs {
            if index >= depth {
                return Err(RpcError::invalid_params(format!("block index {index} is not below the depth {depth}")));
            }
            let transaction = SignedTransaction::decode(&bytes, bytes_max)?;
            transaction.check(chain.config())?;
            contents.entry(index).or_default().push(Arc::new(transaction));
        }
        chain.reorg(depth, Orphans::Drop)?;
        for index in 0..depth {
            chain.mine_exactly(contents.remove(&index).unwrap_or_default(), now_s)?;
        }
        Ok(())
    })
}
