//! What the chain refuses, and with which words.
//!
//! Clients (ethers, viem, alloy users) recognise most of these by their text, so the texts begin as geth's do.

use alloy::primitives::{Address, B256, Bytes, U256};
use revm::context::result::{HaltReason, InvalidTransaction};

/// Why a transaction was not accepted. The sender is to blame for all of them, except a full pool.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionError {
    /// The bytes are not a signed transaction envelope (EIP-2718).
    #[error("failed to decode transaction: {reason}")]
    Undecodable {
        /// What the decoder met.
        reason: String,
    },
    /// Larger than the network relays.
    #[error("oversized data: transaction size {bytes}, limit {bytes_max}")]
    Oversized {
        /// Size of the encoded transaction.
        bytes: usize,
        /// The largest size accepted.
        bytes_max: usize,
    },
    /// A transaction type this chain does not carry (blob transactions).
    #[error("transaction type not supported: {transaction_type}")]
    UnsupportedType {
        /// The EIP-2718 type byte.
        transaction_type: u8,
    },
    /// No signer can be recovered, or the signature is malleable (EIP-2).
    #[error("invalid sender: {reason}")]
    InvalidSignature {
        /// What the recovery met.
        reason: String,
    },
    /// A legacy transaction without EIP-155 replay protection.
    #[error("only replay-protected (EIP-155) transactions allowed over RPC")]
    Unprotected,
    /// Signed for another chain.
    #[error("invalid chain id for signer: have {got} want {expected}")]
    WrongChainId {
        /// This chain's id.
        expected: u64,
        /// The transaction's chain id.
        got: u64,
    },
    /// The same transaction is in the pool, or in a block.
    #[error("already known")]
    AlreadyKnown,
    /// Replaces a pooled transaction without paying enough more.
    #[error("replacement transaction underpriced: fee cap {fee_cap}, tip {tip}, needed {fee_cap_min} and {tip_min}")]
    ReplacementUnderpriced {
        /// The newcomer's fee cap, in wei per gas.
        fee_cap: u128,
        /// The newcomer's tip, in wei per gas.
        tip: u128,
        /// The smallest fee cap that replaces.
        fee_cap_min: u128,
        /// The smallest tip that replaces.
        tip_min: u128,
    },
    /// The account has used this nonce.
    #[error("nonce too low: next nonce {expected}, tx nonce {got}")]
    NonceTooLow {
        /// The account's next nonce.
        expected: u64,
        /// The transaction's nonce.
        got: u64,
    },
    /// The account's next nonce is smaller: for a pooled transaction that is no error, for a mined one it is.
    #[error("nonce too high: next nonce {expected}, tx nonce {got}")]
    NonceTooHigh {
        /// The account's next nonce.
        expected: u64,
        /// The transaction's nonce.
        got: u64,
    },
    /// EIP-2681.
    #[error("nonce has max value")]
    NonceMax,
    /// The sender cannot pay gas at the full fee, plus the value.
    #[error("insufficient funds for gas * price + value: balance {balance}, tx cost {cost}, overshot {}", cost.saturating_sub(*balance))]
    InsufficientFunds {
        /// The sender's balance, in wei.
        balance: U256,
        /// What the transaction may cost, in wei.
        cost: U256,
    },
    /// Gas times price does not fit 256 bits.
    #[error("gas * price + value overflows 256 bits")]
    CostOverflow,
    /// More gas than a block holds.
    #[error("exceeds block gas limit: gas {gas}, limit {gas_max}")]
    GasAboveBlock {
        /// The transaction's gas limit.
        gas: u64,
        /// The block's gas limit.
        gas_max: u64,
    },
    /// More gas than one transaction may ask for (EIP-7825).
    #[error("transaction gas limit too high (cap: {gas_max}, tx: {gas})")]
    GasAboveCap {
        /// The transaction's gas limit.
        gas: u64,
        /// The cap.
        gas_max: u64,
    },
    /// Less gas than the transaction costs before its first instruction.
    #[error("intrinsic gas too low: gas {gas}, minimum needed {gas_min}")]
    IntrinsicGas {
        /// The transaction's gas limit.
        gas: u64,
        /// The least that is needed.
        gas_min: u64,
    },
    /// Less gas than the calldata floor price (EIP-7623).
    #[error("insufficient gas for floor data gas cost: gas {gas}, minimum needed {gas_min}")]
    FloorGas {
        /// The transaction's gas limit.
        gas: u64,
        /// The least that is needed.
        gas_min: u64,
    },
    /// EIP-1559.
    #[error(
        "max priority fee per gas higher than max fee per gas: maxPriorityFeePerGas: {tip}, maxFeePerGas: {fee_cap}"
    )]
    TipAboveFeeCap {
        /// The tip, in wei per gas.
        tip: u128,
        /// The fee cap, in wei per gas.
        fee_cap: u128,
    },
    /// The fee cap is below the block's base fee. A pooled transaction waits for a cheaper block instead.
    #[error("max fee per gas less than block base fee: maxFeePerGas: {fee_cap}, baseFee: {base_fee}")]
    FeeCapBelowBaseFee {
        /// The fee cap, in wei per gas.
        fee_cap: u128,
        /// The block's base fee, in wei per gas.
        base_fee: u64,
    },
    /// EIP-3860.
    #[error("max initcode size exceeded: code size {bytes}, limit {bytes_max}")]
    InitCodeTooLarge {
        /// The init code's size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// EIP-3607.
    #[error("sender not an eoa: address {sender}")]
    SenderIsContract {
        /// The sender.
        sender: Address,
    },
    /// The pool holds as much as it may.
    #[error("txpool is full")]
    PoolFull,
    /// The pool holds as many transactions of this sender as it may.
    #[error("account limit exceeded: {transactions_max} pooled transactions of {sender}")]
    SenderLimit {
        /// The sender.
        sender: Address,
        /// The limit.
        transactions_max: usize,
    },
    /// Any other rule of the EVM's own validation.
    #[error("invalid transaction: {reason}")]
    Invalid {
        /// The rule.
        reason: String,
    },
}

impl TransactionError {
    /// Puts revm's judgement into geth's words, with the transaction's own numbers.
    pub(crate) fn from_revm(invalid: InvalidTransaction, about: &About) -> Self {
        match invalid {
            InvalidTransaction::PriorityFeeGreaterThanMaxFee => {
                Self::TipAboveFeeCap { tip: about.tip, fee_cap: about.fee_cap }
            }
            InvalidTransaction::GasPriceLessThanBasefee => {
                Self::FeeCapBelowBaseFee { fee_cap: about.fee_cap, base_fee: about.base_fee }
            }
            InvalidTransaction::CallerGasLimitMoreThanBlock => {
                Self::GasAboveBlock { gas: about.gas, gas_max: about.block_gas_max }
            }
            InvalidTransaction::CallGasCostMoreThanGasLimit { initial_gas, gas_limit } => {
                Self::IntrinsicGas { gas: gas_limit, gas_min: initial_gas }
            }
            InvalidTransaction::GasFloorMoreThanGasLimit { gas_floor, gas_limit } => {
                Self::FloorGas { gas: gas_limit, gas_min: gas_floor }
            }
            InvalidTransaction::RejectCallerWithCode => Self::SenderIsContract { sender: about.sender },
            InvalidTransaction::LackOfFundForMaxFee { fee, balance } => {
                Self::InsufficientFunds { balance: *balance, cost: *fee }
            }
            InvalidTransaction::OverflowPaymentInTransaction => Self::CostOverflow,
            InvalidTransaction::NonceOverflowInTransaction => Self::NonceMax,
            InvalidTransaction::NonceTooHigh { tx, state } => Self::NonceTooHigh { expected: state, got: tx },
            InvalidTransaction::NonceTooLow { tx, state } => Self::NonceTooLow { expected: state, got: tx },
            InvalidTransaction::CreateInitCodeSizeLimit => Self::InitCodeTooLarge {
                bytes: about.input_bytes,
                bytes_max: revm::primitives::eip3860::MAX_INITCODE_SIZE,
            },
            InvalidTransaction::TxGasLimitGreaterThanCap { gas_limit, cap } => {
                Self::GasAboveCap { gas: gas_limit, gas_max: cap }
            }
            other => Self::Invalid { reason: other.to_string() },
        }
    }
}

/// What an error message about a transaction needs to know of it and of its block.
#[derive(Debug, Clone)]
pub(crate) struct About {
    pub(crate) sender: Address,
    pub(crate) gas: u64,
    pub(crate) fee_cap: u128,
    pub(crate) tip: u128,
    pub(crate) input_bytes: usize,
    pub(crate) base_fee: u64,
    pub(crate) block_gas_max: u64,
}

/// Why a call or an estimate has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The contract reverted; `output` is what it returned, from which a client decodes the custom error.
    #[error("execution reverted{}", revert_reason(output))]
    Reverted {
        /// The returned bytes.
        output: Bytes,
    },
    /// The EVM stopped: out of gas, invalid opcode and the like.
    #[error("{reason}")]
    Halted {
        /// Why.
        reason: HaltReason,
    },
    /// No gas limit that the sender may use makes the transaction succeed.
    #[error("gas required exceeds allowance ({allowance})")]
    GasAllowance {
        /// The largest gas limit tried.
        allowance: u64,
    },
    /// The request is not one that this chain can simulate.
    #[error("{reason}")]
    Unsupported {
        /// Why.
        reason: &'static str,
    },
    /// The simulated transaction is not valid.
    #[error(transparent)]
    Transaction(#[from] TransactionError),
    /// The chain itself failed.
    #[error(transparent)]
    Chain(#[from] ChainError),
}

/// `: reason` for Solidity's `Error(string)` and `Panic(uint256)`, as geth prints them; nothing for custom errors.
fn revert_reason(output: &[u8]) -> String {
    use alloy::sol_types::{Panic, Revert, SolError};
    if let Ok(revert) = Revert::abi_decode(output) {
        return format!(": {}", revert.reason);
    }
    match Panic::abi_decode(output).ok().and_then(|panic| panic.kind()) {
        Some(kind) => format!(": {}", kind.as_str()),
        None => String::new(),
    }
}

/// What else the chain refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// The configuration contradicts itself.
    #[error("configuration: {0}")]
    Configuration(&'static str),
    /// No such block on the canonical chain.
    #[error("header not found")]
    UnknownBlock,
    /// A block cannot be dated at or before its parent.
    #[error("timestamp {got} is not after the latest block's {latest}")]
    TimestampInPast {
        /// The latest block's timestamp, in seconds.
        latest: u64,
        /// The timestamp asked for, in seconds.
        got: u64,
    },
    /// The clock would leave the range of 64-bit seconds.
    #[error("timestamp overflow: {now} seconds plus {by}")]
    TimestampOverflow {
        /// Chain time, in seconds.
        now: u64,
        /// The step asked for, in seconds.
        by: u64,
    },
    /// A reorg cannot reach genesis, nor go deeper than configured.
    #[error("reorg depth {got} exceeds {depth_max}")]
    ReorgTooDeep {
        /// The deepest reorg possible now.
        depth_max: u64,
        /// The depth asked for.
        got: u64,
    },
    /// The transaction that a replacement block must carry is not valid there.
    #[error("transaction {hash} does not fit the replacement block: {reason}")]
    ReplacementBlock {
        /// The transaction.
        hash: B256,
        /// Why.
        reason: String,
    },
    /// A number asked for is larger than one request may cause.
    #[error("{what} {got} exceeds {most}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The limit.
        most: u64,
        /// The number asked for.
        got: u64,
    },
    /// A log query's first block is after its last.
    #[error("invalid block range params")]
    InvalidBlockRange,
    /// Percentiles that do not ascend from 0 to 100, or too many of them.
    #[error("invalid reward percentile: they must ascend within 0 and 100, and be at most 100")]
    InvalidPercentiles,
    /// Logs of the pending block are not served.
    #[error("pending logs are not supported")]
    PendingLogs,
    /// A log query matches more than one answer may hold.
    #[error("query returned more than {most} results")]
    TooManyLogs {
        /// The limit.
        most: usize,
    },
    /// Never installed, removed, evicted, or too far behind.
    #[error("filter not found")]
    UnknownFilter,
    /// The filter exists but does not select logs.
    #[error("filter {id} is not a log filter")]
    NotALogFilter {
        /// The filter.
        id: u64,
    },
    /// A broken invariant of this crate, reported instead of panicking.
    #[error("internal error: {0}")]
    Internal(String),
}
