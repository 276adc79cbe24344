//! `eth_call` of code: Multicall3 and other read-only helpers, constructors that return something, code that the caller brings, run by revm on the state after a block.
//!
//! L2 has no contracts but its own, and a transaction can call nothing else; what runs here runs in views only and leaves nothing behind. The rules are Ethereum's
//! (Osaka), with three differences: nobody pays for gas, system contracts are answered by the node ([`system`]), and accounts have no storage but what the caller
//! brings.

use alloy::{
    primitives::{Address, B256, Bytes, TxKind, U256},
    sol_types::{Panic, Revert, SolError},
};
use revm::{
    Context,
    context::{
        BlockEnv, CfgEnv, ContextSetters, ContextTr, Evm, JournalTr, TxEnv,
        result::{EVMError, ExecutionResult, HaltReason, InvalidTransaction},
    },
    handler::{EthFrame, EvmTr, FrameResult, Handler, instructions::EthInstructions},
    inspector::InspectorHandler,
    interpreter::{InitialAndFloorGas, interpreter::EthInterpreter},
    primitives::hardfork::SpecId,
};

use crate::{Limits, RpcError};

mod database;
mod limits;
mod overrides;
mod system;
#[cfg(test)]
mod tests;

pub(crate) use database::{ChainState, MULTICALL3, Snapshot, account, code_at};
pub(crate) use overrides::{DryAccount, Overrides};
pub(crate) use system::{Answer, answer, is_view};

use database::ViewDatabase;
use limits::{Deadline, Stopped, Watch};
use system::Precompiles;

/// The rules: those of the L1 that Solidity compilers make code for.
const RULES: SpecId = SpecId::OSAKA;

/// Characters of a revert's own sentence that are repeated in the error's. All of it is in the data.
const REASON_CHARACTERS_MAX: usize = 1_024;

/// What revm works on.
pub(crate) type ViewContext<'a> = Context<BlockEnv, TxEnv, CfgEnv, ViewDatabase<'a>>;

type ViewEvm<'a> = Evm<
    ViewContext<'a>,
    Watch,
    EthInstructions<EthInterpreter, ViewContext<'a>>,
    Precompiles,
    EthFrame<EthInterpreter>,
>;

/// A call that nobody has signed, for revm.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) from: Address,
    /// `None` for a constructor.
    pub(crate) to: Option<Address>,
    pub(crate) value: U256,
    pub(crate) data: Bytes,
    /// As the caller names it; never more than [`Limits::view_gas_max`].
    pub(crate) gas: Option<u64>,
    /// What GASPRICE says.
    pub(crate) gas_price: u128,
}

/// The block that a view runs in: the one whose state it sees.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ViewBlock {
    pub(crate) chain_id: u64,
    pub(crate) number: u64,
    /// Unix seconds.
    pub(crate) timestamp: u64,
    pub(crate) base_fee: u64,
    pub(crate) fee_recipient: Address,
    pub(crate) gas_limit: u64,
}

/// Ethereum's order of steps without those that take money: nobody pays for a view.
struct ViewHandler<'a>(core::marker::PhantomData<&'a ()>);

impl<'a> Handler for ViewHandler<'a> {
    type Evm = ViewEvm<'a>;
    type Error = EVMError<Stopped>;
    type HaltReason = HaltReason;

    fn validate_env(&self, _: &mut Self::Evm) -> Result<(), Self::Error> {
        // Prices, nonces and block limits are those of transactions.
        Ok(())
    }

    fn validate_against_state_and_deduct_caller(
        &self,
        evm: &mut Self::Evm,
        _: &mut InitialAndFloorGas,
    ) -> Result<(), Self::Error> {
        let caller = evm.ctx().tx.caller;
        evm.ctx().journal_mut().load_account_with_code(caller)?;
        Ok(())
    }

    fn reimburse_caller(&self, _: &mut Self::Evm, _: &mut FrameResult) -> Result<(), Self::Error> {
        Ok(())
    }

    fn reward_beneficiary(&self, _: &mut Self::Evm, _: &mut FrameResult) -> Result<(), Self::Error> {
        Ok(())
    }
}

impl InspectorHandler for ViewHandler<'_> {
    type IT = EthInterpreter;
}

/// Runs a call and gives back what it returns.
///
/// # Errors
/// `Reverted` and `Halted` as the code ends; `LimitExceeded` when it takes too much; those of reading the state.
pub(crate) fn run(
    chain: &dyn ChainState,
    block: &ViewBlock,
    overrides: &Overrides,
    message: Message,
    limits: &Limits,
) -> Result<Bytes, RpcError> {
    let deadline = Deadline::after_ms(limits.view_ms_max);
    let database = ViewDatabase::new(chain, overrides, deadline);
    let mut environment = BlockEnv {
        number: U256::from(block.number),
        beneficiary: block.fee_recipient,
        timestamp: U256::from(block.timestamp),
        gas_limit: block.gas_limit,
        basefee: block.base_fee,
        difficulty: U256::ZERO,
        prevrandao: Some(B256::ZERO),
        ..BlockEnv::default()
    };
    overrides.apply_to(&mut environment);

    let mut rules = CfgEnv::new_with_spec(RULES).with_chain_id(block.chain_id);
    rules.tx_gas_limit_cap = Some(u64::MAX);
    // What a constructor returns is an answer here and not a contract, so its size is bounded as answers are.
    rules.limit_contract_code_size = Some(limits.view_output_bytes_max);
    let gas_limit = message.gas.unwrap_or(u64::MAX).min(limits.view_gas_max);
    let transaction = TxEnv {
        caller: message.from,
        gas_limit,
        gas_price: message.gas_price,
        kind: message.to.map_or(TxKind::Create, TxKind::Call),
        value: message.value,
        data: message.data,
        chain_id: Some(block.chain_id),
        ..TxEnv::default()
    };
    let mut context: ViewContext<'_> =
        Context::<BlockEnv, TxEnv, CfgEnv, _>::new(database, RULES).with_cfg(rules).with_block(environment);
    context.set_tx(transaction);
    let mut evm = Evm::new_with_inspector(
        context,
        Watch::new(deadline, limits),
        EthInstructions::new_mainnet_with_spec(RULES),
        Precompiles::new(RULES),
    );
    let result = ViewHandler(core::marker::PhantomData).inspect_run(&mut evm).map_err(failure)?;
    let output = match result {
        ExecutionResult::Success { output, .. } => output.into_data(),
        ExecutionResult::Revert { output, .. } => {
            bounded(&output, limits)?;
            return Err(RpcError::Reverted { reason: reason(&output), data: output });
        }
        ExecutionResult::Halt { reason, .. } => return Err(RpcError::Halted(sentence(&reason, gas_limit))),
    };
    bounded(&output, limits)?;
    Ok(output)
}

fn bounded(output: &Bytes, limits: &Limits) -> Result<(), RpcError> {
    let (got, limit) = (output.len(), limits.view_output_bytes_max);
    if got <= limit {
        return Ok(());
    }
    let advice = "; ask for less at a time";
    Err(RpcError::LimitExceeded { what: "bytes that a view returns", got: got as u64, limit: limit as u64, advice })
}

/// The sentence in Solidity's two errors of its own.
fn reason(data: &[u8]) -> Option<String> {
    let sentence = match Revert::abi_decode(data) {
        Ok(revert) => revert.reason,
        Err(_) => Panic::abi_decode(data).ok()?.to_string(),
    };
    Some(sentence.chars().take(REASON_CHARACTERS_MAX).collect())
}

/// Why revm ran nothing, or not to the end.
fn failure(error: EVMError<Stopped>) -> RpcError {
    match error {
        EVMError::Database(stopped) => stopped.into(),
        EVMError::Transaction(
            invalid @ (InvalidTransaction::CallGasCostMoreThanGasLimit { .. }
            | InvalidTransaction::GasFloorMoreThanGasLimit { .. }),
        ) => RpcError::Halted(format!("intrinsic gas too low: {invalid}")),
        EVMError::Transaction(invalid) => RpcError::Halted(invalid.to_string()),
        EVMError::Header(header) => RpcError::Internal(header.to_string()),
        EVMError::Custom(reason) => RpcError::Internal(reason),
        EVMError::CustomAny(reason) => RpcError::Internal(reason.to_string()),
    }
}

/// How code came to an end without a revert, in the words that Ethereum's nodes have made usual.
fn sentence(reason: &HaltReason, gas_limit: u64) -> String {
    match reason {
        HaltReason::OutOfGas(_) => format!("out of gas: the view was given {gas_limit}"),
        HaltReason::OpcodeNotFound | HaltReason::NotActivated => "invalid opcode: there is no such instruction".into(),
        HaltReason::InvalidFEOpcode => "invalid opcode: INVALID".into(),
        HaltReason::InvalidJump => "invalid jump destination".into(),
        HaltReason::StackUnderflow => "stack underflow".into(),
        HaltReason::StackOverflow => "stack limit reached 1024".into(),
        HaltReason::OutOfOffset => "return data out of bounds".into(),
        HaltReason::CreateCollision => "contract address collision".into(),
        HaltReason::CreateContractSizeLimit => "max code size exceeded".into(),
        HaltReason::CreateContractStartingWithEF => "invalid code: must not begin with 0xef".into(),
        HaltReason::CreateInitCodeSizeLimit => "max initcode size exceeded".into(),
        HaltReason::StateChangeDuringStaticCall | HaltReason::CallNotAllowedInsideStatic => "write protection".into(),
        HaltReason::OutOfFunds | HaltReason::OverflowPayment => "insufficient balance for transfer".into(),
        HaltReason::CallTooDeep => "max call depth exceeded".into(),
        HaltReason::NonceOverflow => "nonce has max value".into(),
        HaltReason::PrecompileError | HaltReason::PrecompileErrorWithContext(_) => reason.to_string(),
    }
}
