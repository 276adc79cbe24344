//! System contracts for code that runs in a view: the views of `IViews.sol`, answered by the node.
//!
//! To the EVM they are like precompiles. What would change state does not run inside of code: the kernel has no calls between contracts, so no transaction
//! could do it either. As the call itself it is a dry run of the kernel.

use alloy::{
    primitives::Bytes,
    sol_types::{Revert, SolCall, SolError, SolValue},
};
use joule_protocol::{CallKind, Key, Native, Object, Rejection, SystemContract};
use revm::{
    context::{Cfg, ContextTr},
    context_interface::context::ContextError,
    handler::{EthPrecompiles, PrecompileProvider},
    interpreter::{CallInputs, CallScheme, Gas, InstructionResult, InterpreterResult},
    primitives::{AddressSet, hardfork::SpecId},
};

use super::{ViewContext, database::ChainState, limits::Stopped};
use crate::{
    RpcError,
    wire::{address_of, hash_of, protocol_address},
};

mod interface {
    #![allow(missing_docs, reason = "made from the Solidity interface")]
    alloy::sol!("../../contracts/src/l2/IViews.sol");
}

pub(crate) use interface::{IChainViews, IChannelViews, IDeviceViews, IJobViews};

/// Gas of a system contract's answer. A read of the state takes some 10 µs, which is what 10,000 gas of anything else take, so 30 million gas are 3,000 reads.
pub(crate) const ANSWER_GAS: u64 = 10_000;

/// What a call of a system contract comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// A view, and what it returns.
    Returned(Vec<u8>),
    /// A view, or no function at all, and why it reverts.
    Reverted(Rejection),
    /// A function of the kernel.
    Changes(CallKind),
}

/// The four bytes that a call starts with.
fn selector(data: &[u8]) -> Option<[u8; 4]> {
    data.first_chunk().copied()
}

/// Decodes a view's arguments, which must be encoded as a compiler does it, like those of the kernel's functions.
fn arguments<C: SolCall>(data: &[u8]) -> Result<C, Rejection> {
    let malformed = Rejection::MalformedCall { selector: u32::from_be_bytes(C::SELECTOR) };
    let call = C::abi_decode(data).map_err(|_| malformed)?;
    if call.abi_encode() == data { Ok(call) } else { Err(malformed) }
}

/// Looks up what a view is about and encodes it.
fn look_up<C: SolCall, T: SolValue>(
    data: &[u8],
    chain: &dyn ChainState,
    key: impl FnOnce(&C) -> Key,
    take: impl FnOnce(Object) -> Option<T>,
    missing: impl FnOnce(&C) -> Rejection,
) -> Result<Answer, RpcError> {
    let call = match arguments::<C>(data) {
        Ok(call) => call,
        Err(rejection) => return Ok(Answer::Reverted(rejection)),
    };
    Ok(match chain.object(&key(&call))?.and_then(take) {
        Some(found) => Answer::Returned(found.abi_encode()),
        None => Answer::Reverted(missing(&call)),
    })
}

/// Whether calldata names a view of a system contract.
pub(crate) fn is_view(contract: SystemContract, data: &[u8]) -> bool {
    let expected = match contract {
        SystemContract::Jobs => IJobViews::getJobCall::SELECTOR,
        SystemContract::Devices => IDeviceViews::getDeviceCall::SELECTOR,
        SystemContract::Channels => IChannelViews::getChannelCall::SELECTOR,
        SystemContract::Bridge => IChainViews::getChainCall::SELECTOR,
    };
    selector(data) == Some(expected)
}

/// Answers a call of a system contract as far as it changes nothing.
///
/// # Errors
/// Those of reading the state.
pub(crate) fn answer(
    contract: SystemContract,
    data: &[u8],
    value: u128,
    chain: &dyn ChainState,
) -> Result<Answer, RpcError> {
    if !is_view(contract, data) {
        return Ok(match CallKind::of(contract, data) {
            CallKind::Unknown => {
                let selector = selector(data).map_or(0, u32::from_be_bytes);
                Answer::Reverted(Rejection::UnknownSelector { selector })
            }
            kind => Answer::Changes(kind),
        });
    }
    if value != 0 {
        return Ok(Answer::Reverted(Rejection::WrongValue { expected: 0, got: value }));
    }
    match contract {
        SystemContract::Jobs => look_up::<IJobViews::getJobCall, _>(
            data,
            chain,
            |call| Key::job(&protocol_address(call.client), call.clientNonce),
            |object| if let Object::Job(job) = object { Some(job_of(&job)) } else { None },
            |call| Rejection::JobNotFound { client: protocol_address(call.client), nonce: call.clientNonce },
        ),
        SystemContract::Devices => look_up::<IDeviceViews::getDeviceCall, _>(
            data,
            chain,
            |call| Key::device(&protocol_address(call.device)),
            |object| if let Object::Device(device) = object { Some(device_of(&device)) } else { None },
            |call| Rejection::DeviceNotFound { device: protocol_address(call.device) },
        ),
        SystemContract::Channels => look_up::<IChannelViews::getChannelCall, _>(
            data,
            chain,
            |call| Key::channel(&protocol_address(call.client), call.clientNonce),
            |object| if let Object::Channel(channel) = object { Some(channel_of(&channel)) } else { None },
            |call| Rejection::ChannelNotFound { client: protocol_address(call.client), nonce: call.clientNonce },
        ),
        SystemContract::Bridge => {
            if let Err(rejection) = arguments::<IChainViews::getChainCall>(data) {
                return Ok(Answer::Reverted(rejection));
            }
            match chain.object(&Key::CHAIN)? {
                Some(Object::Chain(numbers)) => Ok(Answer::Returned(chain_of(&numbers).abi_encode())),
                _ => Err(RpcError::Internal("the state has no chain object".into())),
            }
        }
    }
}

fn job_of(job: &joule_protocol::Job) -> IJobViews::Job {
    IJobViews::Job {
        status: job.status as u8,
        minimumTier: job.minimum_tier,
        isDeviceNamed: job.is_device_named,
        device: address_of(job.device),
        model: hash_of(job.model),
        inputHash: hash_of(job.input_hash),
        unitPrice: job.unit_price,
        unitLimit: job.unit_limit,
        escrow: job.escrow,
        bond: job.bond,
        deadline: job.deadline,
        receiptDigest: hash_of(job.receipt_digest),
        unitsPaid: job.units_paid,
    }
}

fn device_of(device: &joule_protocol::Device) -> IDeviceViews::Device {
    IDeviceViews::Device {
        owner: address_of(device.owner),
        payout: address_of(device.payout),
        stake: device.stake,
        bonded: device.bonded,
        class: device.class,
        tier: device.tier,
        tierExpiry: device.tier_expiry,
        unitsServed: device.units_served,
        status: device.status as u8,
    }
}

fn channel_of(channel: &joule_protocol::Channel) -> IChannelViews::Channel {
    IChannelViews::Channel {
        payee: address_of(channel.payee),
        deposit: channel.deposit,
        paid: channel.paid,
        closingTime: channel.closing_time,
        status: channel.status as u8,
    }
}

fn chain_of(chain: &joule_protocol::Chain) -> IChainViews::Chain {
    IChainViews::Chain {
        genesisId: hash_of(chain.genesis_id),
        feeRecipient: address_of(chain.fee_recipient),
        baseFeeMax: chain.base_fee_max,
        gasTableVersion: chain.gas_table_version,
        leafCount: chain.leaf_count,
        withdrawalCount: chain.withdrawal_count,
        deposited: chain.deposited,
        withdrawn: chain.withdrawn,
        graceSeconds: chain.grace_seconds,
        channelCloseSeconds: chain.channel_close_seconds,
    }
}

/// Ethereum's precompiles and the system contracts.
#[derive(Debug)]
pub(crate) struct Precompiles {
    ethereum: EthPrecompiles,
    /// All of them; calling one costs no cold read.
    warm: AddressSet,
}

impl Precompiles {
    pub(crate) fn new(spec: SpecId) -> Self {
        let ethereum = EthPrecompiles::new(spec);
        let mut warm = ethereum.warm_addresses().clone();
        warm.extend(SystemContract::ALL.iter().map(|contract| address_of(contract.address())));
        Self { ethereum, warm }
    }
}

/// The end of a call that code made, with the gas it was given less `cost`.
fn ended(inputs: &CallInputs, cost: u64, result: InstructionResult, output: Vec<u8>) -> InterpreterResult {
    let mut gas = Gas::new_with_regular_gas_and_reservoir(inputs.gas_limit, inputs.reservoir);
    if gas.record_regular_cost(cost) {
        return InterpreterResult::new(result, Bytes::from(output), gas);
    }
    gas.spend_all();
    InterpreterResult::new(InstructionResult::PrecompileOOG, Bytes::new(), gas)
}

/// What code is told that calls a system contract in a way that nothing here answers.
fn refused(inputs: &CallInputs, reason: &str) -> InterpreterResult {
    ended(inputs, ANSWER_GAS, InstructionResult::Revert, Revert::from(reason).abi_encode())
}

fn call(
    contract: SystemContract,
    context: &ViewContext<'_>,
    inputs: &CallInputs,
) -> Result<InterpreterResult, Stopped> {
    if inputs.gas_limit < ANSWER_GAS {
        return Ok(ended(inputs, ANSWER_GAS, InstructionResult::Return, Vec::new()));
    }
    if !matches!(inputs.scheme, CallScheme::Call | CallScheme::StaticCall) {
        return Ok(refused(inputs, "Joule: system contracts answer CALL and STATICCALL only"));
    }
    let value = u128::try_from(inputs.call_value()).unwrap_or(u128::MAX);
    let data = inputs.input.as_bytes(context);
    Ok(match context.db().timed(|chain| answer(contract, &data, value, chain))? {
        Answer::Returned(output) => ended(inputs, ANSWER_GAS, InstructionResult::Return, output),
        Answer::Reverted(rejection) => {
            ended(inputs, ANSWER_GAS, InstructionResult::Revert, rejection.revert_data::<Native>())
        }
        Answer::Changes(_) => refused(
            inputs,
            "Joule: code in eth_call can ask system contracts and cannot change them; call the function directly",
        ),
    })
}

impl<'a> PrecompileProvider<ViewContext<'a>> for Precompiles {
    type Output = InterpreterResult;

    fn set_spec(&mut self, _: <<ViewContext<'a> as ContextTr>::Cfg as Cfg>::Spec) -> bool {
        // There is one, and it was given at the start.
        false
    }

    fn run(&mut self, context: &mut ViewContext<'a>, inputs: &CallInputs) -> Result<Option<InterpreterResult>, String> {
        let outcome = match SystemContract::at(&protocol_address(inputs.bytecode_address)) {
            Some(contract) => call(contract, context, inputs).map(Some),
            // One call of a precompile may take a second of its own, so the clock is looked at before each.
            None if self.ethereum.contains(&inputs.bytecode_address) => match context.db().timed(|_| Ok(())) {
                Ok(()) => return self.ethereum.run(context, inputs),
                Err(stopped) => Err(stopped),
            },
            None => Ok(None),
        };
        outcome.or_else(|stopped| {
            *context.error() = Err(ContextError::Db(stopped));
            Ok(Some(ended(inputs, 0, InstructionResult::FatalExternalError, Vec::new())))
        })
    }

    fn warm_addresses(&self) -> &AddressSet {
        &self.warm
    }
}
