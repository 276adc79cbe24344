//! The methods of every Ethereum node: `eth_`, `net_` and `web3_`.

use super::{error::RpcError, params::Params};
use crate::{chain::Chain, error::ChainError, filters::FilterKind, server::SharedChain};
use alloy::{
    eips::{BlockId, BlockNumberOrTag},
    primitives::{Address, B256, Bytes, U64, U256, keccak256},
    rpc::types as rpc,
};
use serde::Serialize;
use serde_json::Value;

/// Carries the method out; `None` if it is not one of these.
pub(super) fn dispatch(chain: &SharedChain, method: &str, params: &Params) -> Option<Result<Value, RpcError>> {
    Some(match method {
        "web3_clientVersion" => Ok(concat!("joule-testnet-l1/v", env!("CARGO_PKG_VERSION")).into()),
        "web3_sha3" => sha3(params),
        "net_version" => read(chain, |chain, _| Ok(chain.config().chain_id.to_string())),
        "net_listening" => Ok(true.into()),
        "net_peerCount" => json(U64::ZERO),
        "eth_chainId" => read(chain, |chain, _| Ok(U64::from(chain.config().chain_id))),
        "eth_blockNumber" => read(chain, |chain, _| Ok(U64::from(chain.latest().number()))),
        // A node that is up to date says so with `false`; it has no keys, hence no accounts.
        "eth_syncing" => Ok(false.into()),
        "eth_accounts" => Ok(Value::Array(Vec::new())),
        "eth_gasPrice" => {
            read(chain, |chain, _| Ok(U256::from(u128::from(chain.next_base_fee()) + chain.config().suggested_tip)))
        }
        "eth_maxPriorityFeePerGas" => read(chain, |chain, _| Ok(U256::from(chain.config().suggested_tip))),
        // No blobs are carried: their base fee stays at its floor of one wei.
        "eth_blobBaseFee" => json(U64::from(1)),
        "eth_feeHistory" => fee_history(chain, params),
        "eth_getBlockByNumber" => block_by_number(chain, params),
        "eth_getBlockByHash" => block_by_hash(chain, params),
        "eth_getBlockTransactionCountByNumber" => {
            at(params, 0).and_then(|id| read(chain, |chain, _| Ok(transaction_count(chain, id))))
        }
        "eth_getBlockTransactionCountByHash" => params
            .required::<B256>(0)
            .and_then(|hash| read(chain, |chain, _| Ok(transaction_count(chain, hash.into())))),
        "eth_getBlockReceipts" => block_receipts(chain, params),
        "eth_getTransactionByHash" => {
            params.required(0).and_then(|hash| read(chain, |chain, _| Ok(chain.transaction_view(hash))))
        }
        "eth_getTransactionByBlockNumberAndIndex" => {
            at(params, 0).and_then(|id| transaction_in_block(chain, params, id))
        }
        "eth_getTransactionByBlockHashAndIndex" => {
            params.required::<B256>(0).and_then(|hash| transaction_in_block(chain, params, hash.into()))
        }
        "eth_getTransactionReceipt" => {
            params.required(0).and_then(|hash| read(chain, |chain, _| Ok(chain.receipt(hash))))
        }
        "eth_getTransactionCount" => {
            account(chain, params, |chain, address, at, now_s| Ok(U64::from(chain.nonce(address, at, now_s)?)))
        }
        "eth_getBalance" => account(chain, params, Chain::balance),
        "eth_getCode" => account(chain, params, Chain::code),
        "eth_getStorageAt" => storage_at(chain, params),
        "eth_call" => call(chain, params),
        "eth_estimateGas" => estimate_gas(chain, params),
        "eth_sendRawTransaction" => send_raw_transaction(chain, params),
        "eth_getLogs" => params.required(0).and_then(|filter| read(chain, |chain, _| Ok(chain.logs(&filter)?))),
        "eth_newFilter" => params.required(0).and_then(|filter| install(chain, FilterKind::Logs(Box::new(filter)))),
        "eth_newBlockFilter" => install(chain, FilterKind::Blocks),
        "eth_newPendingTransactionFilter" => install(chain, FilterKind::PendingTransactions),
        "eth_uninstallFilter" => {
            filter_id(params).and_then(|id| write(chain, |chain, _| Ok(chain.uninstall_filter(id))))
        }
        "eth_getFilterChanges" => filter_id(params).and_then(|id| write(chain, |chain, _| Ok(chain.poll_filter(id)?))),
        "eth_getFilterLogs" => filter_id(params).and_then(|id| read(chain, |chain, _| Ok(chain.filter_logs(id)?))),
        _ => return None,
    })
}

pub(super) fn json<T: Serialize>(value: T) -> Result<Value, RpcError> {
    serde_json::to_value(value).map_err(|error| ChainError::Internal(error.to_string()).into())
}

/// Takes one snapshot of the chain and views what is read from it.
fn read<T: Serialize>(
    chain: &SharedChain,
    read: impl FnOnce(&Chain, u64) -> Result<T, RpcError>,
) -> Result<Value, RpcError> {
    json(chain.read(read)??)
}

/// Changes the chain and views the outcome.
pub(super) fn write<T: Serialize>(
    chain: &SharedChain,
    write: impl FnOnce(&mut Chain, u64) -> Result<T, RpcError>,
) -> Result<Value, RpcError> {
    json(chain.write(write)??)
}

/// The block parameter at `index`: a tag, a number, a hash or an object of EIP-1898; the latest block if absent.
fn at(params: &Params, index: usize) -> Result<BlockId, RpcError> {
    Ok(params.optional(index)?.unwrap_or_default())
}

fn filter_id(params: &Params) -> Result<u64, RpcError> {
    params.number(0)?.ok_or_else(|| RpcError::invalid_params("missing value for required argument 0"))
}

fn sha3(params: &Params) -> Result<Value, RpcError> {
    let bytes: Bytes = params.required(0)?;
    json(keccak256(bytes))
}

fn fee_history(chain: &SharedChain, params: &Params) -> Result<Value, RpcError> {
    let count = params.number(0)?.ok_or_else(|| RpcError::invalid_params("missing value for required argument 0"))?;
    let newest: BlockNumberOrTag = params.required(1)?;
    let percentiles: Vec<f64> = params.optional(2)?.unwrap_or_default();
    read(chain, |chain, _| Ok(chain.fee_history(count, newest, &percentiles)?))
}

fn block_by_number(chain: &SharedChain, params: &Params) -> Result<Value, RpcError> {
    let number: BlockNumberOrTag = params.required(0)?;
    let full: bool = params.optional(1)?.unwrap_or_default();
    read(chain, |chain, now_s| Ok(chain.block_view(number.into(), full, now_s)?))
}

fn block_by_hash(chain: &SharedChain, params: &Params) -> Result<Value, RpcError> {
    let hash: B256 = params.required(0)?;
    let full: bool = params.optional(1)?.unwrap_or_default();
    read(chain, |chain, now_s| Ok(chain.block_view(hash.into(), full, now_s)?))
}

fn transaction_count(chain: &Chain, at: BlockId) -> Option<U64> {
    chain.block(at).map(|block| U64::from(block.included().len()))
}

fn block_receipts(chain: &SharedChain, params: &Params) -> Result<Value, RpcError> {
    let id: BlockId = params.required(0)?;
    read(chain, |chain, _| Ok(chain.block(id).map(|block| block.receipt_views())))
}

fn transaction_in_block(chain: &SharedChain, params: &Params, id: BlockId) -> Result<Value, RpcError> {
    let index = params.number(1)?.ok_or_else(|| RpcError::invalid_params("missing value for required argument 1"))?;
    read(chain, |chain, _| {
        let block = chain.block(id);
        Ok(block.and_then(|block| block.transaction_view(usize::try_from(index).ok()?)))
    })
}

fn account<T: Serialize>(
    chain: &SharedChain,
    params: &Params,
    get: impl FnOnce(&Chain, Address, BlockId, u64) -> Result<T, ChainError>,
) -> Result<Value, RpcError> {
    let address = params.required(0)?;
    let at = at(params, 1)?;
    read(chain, |chain, now_s| Ok(get(chain, address, at, now_s)?))
}

fn storage_at(chain: &SharedChain, params: &Params) -> Result<Value, RpcError> {
    let address = params.required(0)?;
    let slot: U256 = params.required(1)?;
    let at = at(params, 2)?;
    read(chain, |chain, now_s| Ok(chain.storage(address, slot, at, now_s)?))
}

/// State and block overrides are refused rather than ignored: the answer would be to another question.
fn refuse_overrides(params: &Params) -> Result<(), RpcError> {
    let overridden = [2, 3]
        .iter()
        .any(|index| params.raw(*index).is_some_and(|value| value.as_object().is_none_or(|object| !object.is_empty())));
    if overridden {
        return Err(RpcError::invalid_params("state and block overrides are not supported"));
    }
    Ok(())
}

fn call(chain: &SharedChain, params: &Params) -> Result<Value, RpcError> {
    let request: rpc::TransactionRequest = params.required(0)?;
    let at = at(params, 1)?;
    refuse_overrides(params)?;
    read(chain, |chain, now_s| Ok(chain.call(&request, at, now_s)?))
}

fn estimate_gas(chain: &SharedChain, params: &Params) -> Result<Value, RpcError> {
    let request: rpc::TransactionRequest = params.required(0)?;
    let at = at(params, 1)?;
    refuse_overrides(params)?;
    read(chain, |chain, now_s| Ok(U64::from(chain.estimate_gas(&request, at, now_s)?)))
}

fn send_raw_transaction(chain: &SharedChain, params: &Params) -> Result<Value, RpcError> {
    let bytes: Bytes = params.required(0)?;
    write(chain, |chain, now_s| Ok(chain.submit(&bytes, now_s)?))
}

fn install(chain: &SharedChain, kind: FilterKind) -> Result<Value, RpcError> {
    write(chain, |chain, _| Ok(U64::from(chain.install_filter(kind)?)))
}
