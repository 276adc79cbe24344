//! What a wallet signed.

use joule_protocol::{
    Account, Address, Amount, Call, CallKind, ChunkTransaction, Envelope, Key, Object, Refusal, Rejection,
    SystemContract,
};

use crate::{
    BlockExecutor, Crypto, Environment, Event, Executed, NotExecuted, Openings, Outcome, Sink, Slot,
    abort::Stop,
    bridge, channels, devices,
    jobs::{self, Order},
    openings::account,
    plan::Plan,
    recover_address,
};

/// Who calls, with what.
pub(crate) struct Caller<'a> {
    pub(crate) address: &'a Address,
    /// The number of the transaction, which names what it creates.
    pub(crate) nonce: u64,
    /// Base token sent along; the caller has it.
    pub(crate) value: Amount,
    /// Whether the call came through L1's queue, where everybody saw it before a block could hold it.
    pub(crate) is_forced: bool,
}

/// Executes the signed transaction that `envelope` decodes, and tells `done` of it; see [`BlockExecutor::transaction`].
///
/// It tells, and does not return it, because nobody in the image listens: an outcome that is returned is copied.
// Never inlined, so that a profile of the image has it as a routine and can tell one transaction's cost from another's.
#[inline(never)]
pub(crate) fn execute<'e, C: Crypto>(
    block: &mut BlockExecutor<'_, impl Openings, C>,
    envelope: impl FnOnce() -> Result<Envelope<'e>, NotExecuted>,
    sink: &mut impl Sink,
    done: impl FnOnce(Executed),
) -> Result<(), NotExecuted> {
    let envelope = envelope()?;
    let environment = &block.environment;
    if envelope.chain_id != environment.chain_id {
        return Err(Refusal::WrongChain { got: envelope.chain_id, expected: environment.chain_id }.into());
    }
    let kind = match SystemContract::at(&envelope.to) {
        Some(contract) => CallKind::of(contract, envelope.data),
        None if envelope.data.is_empty() => CallKind::Transfer,
        None => return Err(Refusal::UnknownContract { to: envelope.to }.into()),
    };
    let gas = joule_protocol::gas_of(kind);
    if envelope.gas_limit < gas {
        return Err(Refusal::GasLimitTooLow { got: envelope.gas_limit, need: gas }.into());
    }
    if envelope.fee_max < environment.base_fee.into() {
        return Err(Refusal::FeeBelowBase { got: envelope.fee_max, base_fee: environment.base_fee }.into());
    }
    let signing_hash = envelope.signing_hash::<C>();
    let Some(sender) = recover_address::<C>(&signing_hash, &envelope.signature) else {
        return Err(Refusal::SignerNotRecovered.into());
    };
    let gas = block.room_for(kind)?;

    let slot = block.state.open(&Key::account(&sender))?;
    let before = account(block.state, slot);
    check_nonce(envelope.nonce, before.nonce)?;
    // Gas is below 2^16 and the base fee below 2^64.
    let fee = Amount::from(gas) * Amount::from(block.environment.base_fee);
    let afford = |have: Amount, need: Amount| match have >= need {
        true => Ok(()),
        false => Err(Refusal::InsufficientFunds { have, need }),
    };
    if !kind.pays_from_credit() {
        afford(before.balance, envelope.value + fee)?;
    }

    let caller = Caller { address: &sender, nonce: envelope.nonce, value: envelope.value, is_forced: false };
    let index = block.message_index();
    let planned = plan::<C>(block.state, &block.environment, &caller, &envelope.to, kind, envelope.data, index);
    let transaction = ChunkTransaction { signing_hash, sender };
    // Called where the outcome is made: one that is carried to the end is copied on the way.
    let conclude = |block: &mut BlockExecutor<'_, _, C>, outcome: Outcome| {
        block.charge(kind, gas, fee);
        block.take_in(&transaction, &outcome, envelope.bytes_length());
        done(Executed { transaction, outcome, gas });
    };
    match planned {
        Ok(plan) => {
            // For calls that pay from credit the value is zero (they are not payable), so this is exact.
            if kind.pays_from_credit() {
                afford(before.balance + plan.credited_to(&sender), fee)?;
            }
            let debited = Account { nonce: before.nonce + 1, balance: before.balance - envelope.value };
            block.state.replace(slot, Object::Account(debited));
            block.apply(&plan, sink)?;
            charge_fee(block, slot, fee);
            conclude(block, Outcome::Applied);
        }
        Err(Stop::Reject(rejection)) => {
            afford(before.balance, fee)?;
            block.state.replace(slot, Object::Account(Account { nonce: before.nonce + 1, balance: before.balance }));
            charge_fee(block, slot, fee);
            conclude(block, Outcome::Rejected(rejection));
        }
        Err(Stop::Abort(abort)) => return Err(abort.into()),
    }
    Ok(())
}

fn check_nonce(got: u64, expected: u64) -> Result<(), Refusal> {
    if got < expected {
        return Err(Refusal::NonceTooLow { got, expected });
    }
    if got > expected {
        return Err(Refusal::NonceTooHigh { got, expected });
    }
    if got == u64::MAX {
        return Err(Refusal::NonceExhausted);
    }
    Ok(())
}

/// Takes the fee last, when everything the sender is credited has arrived. The caller has checked that it is there.
fn charge_fee<O: Openings, C: Crypto>(block: &mut BlockExecutor<'_, O, C>, slot: Slot, fee: Amount) {
    let mut sender = account(block.state, slot);
    sender.balance -= fee;
    block.state.replace(slot, Object::Account(sender));
}

/// Plans the action of a call. Reads, and changes nothing.
pub(crate) fn plan<C: Crypto>(
    state: &mut impl Openings,
    environment: &Environment,
    caller: &Caller<'_>,
    to: &Address,
    kind: CallKind,
    data: &[u8],
    message_index: u64,
) -> Result<Plan, Stop> {
    if kind == CallKind::Transfer {
        return Ok(Plan::new(Event::Transfer).credit(*to, caller.value));
    }
    let call = Call::decode(kind, data)?;
    if caller.value != 0 && !kind.is_payable() {
        return Err(Rejection::WrongValue { expected: 0, got: caller.value }.into());
    }
    let address = caller.address;
    match call {
        Call::PostJob { model, input_hash, unit_price, unit_limit, deadline, minimum_tier, device, bond } => {
            let order = Order { model, input_hash, unit_price, unit_limit, deadline, minimum_tier, device, bond };
            jobs::post(state, environment, address, caller.nonce, caller.value, &order)
        }
        Call::ClaimJob { client, client_nonce, device } => {
            jobs::claim(state, environment, address, &client, client_nonce, &device)
        }
        Call::ReleaseJob { client, client_nonce } => jobs::release(state, address, &client, client_nonce),
        Call::SettleJob { receipt, signature } => jobs::settle::<C>(state, environment, &receipt, signature.as_ref()),
        Call::CancelJob { client_nonce } => jobs::cancel(state, address, client_nonce),
        Call::ExpireJob { client, client_nonce } => jobs::expire(state, environment, &client, client_nonce),
        Call::RegisterDevice { device, payout, class, consent } => {
            devices::register::<C>(state, environment, address, caller.value, &device, &payout, class, consent.as_ref())
        }
        Call::AddStake { device } => devices::add_stake(state, address, caller.value, &device),
        Call::RetireDevice { device } => devices::retire(state, address, &device),
        Call::WithdrawStake { device } => devices::withdraw_stake(state, address, &device),
        Call::OpenChannel { payee } => channels::open(state, address, caller.nonce, caller.value, &payee),
        Call::TopUpChannel { client_nonce } => channels::top_up(state, address, client_nonce, caller.value),
        Call::RedeemVoucher { voucher, signature } => {
            channels::redeem::<C>(state, environment, &voucher, signature.as_ref())
        }
        Call::CloseChannel { client_nonce } => channels::close(state, environment, caller, client_nonce),
        Call::CloseChannelTogether { client_nonce, deadline, payee_signature } => {
            channels::close_together::<C>(state, environment, address, client_nonce, deadline, payee_signature.as_ref())
        }
        Call::FinaliseChannel { client, client_nonce } => channels::finalise(state, environment, &client, client_nonce),
        Call::Withdraw { l1_recipient, amount } => {
            bridge::withdraw(address, caller.value, &l1_recipient, amount, message_index)
        }
    }
}
