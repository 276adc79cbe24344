//! What L1 puts into L2.

use joule_protocol::{
    Account, Amount, CallKind, Key, Object, PriorityKind, PriorityRequest, Rejection, SystemContract,
};

use crate::{
    Abort, BlockExecutor, Crypto, Event, NotExecuted, Openings, Outcome, Sink,
    abort::Stop,
    openings::{account, credit},
    transaction::{Caller, plan},
};

/// Consumes a request; see [`BlockExecutor::request`].
///
/// Handling is total: every request L1 admits ends here with an outcome. A rejected request changes nothing at all, and a request pays no fee here, since L1
/// took it.
// Never inlined, as with transactions.
#[inline(never)]
pub(crate) fn execute<C: Crypto>(
    block: &mut BlockExecutor<'_, impl Openings, C>,
    bytes: &[u8],
    sink: &mut impl Sink,
) -> Result<Outcome, NotExecuted> {
    let (request, data) = PriorityRequest::decode_head(bytes).map_err(|_| Abort::MalformedInput {
        at: 0,
        reason: "a priority request is shorter or longer than L1 admits",
    })?;
    if request.timestamp > block.environment.timestamp {
        let (got, earliest) = (block.environment.timestamp, request.timestamp);
        return Err(Abort::TimeRunsBackwards { got, earliest }.into());
    }
    let contract = SystemContract::at(&request.to);
    let kind = match contract {
        Some(contract) if request.kind == PriorityKind::ForcedCall as u8 => CallKind::of(contract, data),
        _ => CallKind::Transfer,
    };
    let gas = block.room_for(kind)?;
    let result = match request.kind {
        kind if kind == PriorityKind::Deposit as u8 => deposit(block, &request, sink),
        kind if kind == PriorityKind::ForcedWithdrawal as u8 => forced_withdrawal(block, &request, sink),
        kind if kind == PriorityKind::ForcedCall as u8 => match contract {
            Some(contract) => forced_call(block, &request, CallKind::of(contract, data), data, sink),
            None => Err(Rejection::UnknownContract { to: request.to }.into()),
        },
        kind => Err(Rejection::UnknownRequest { kind }.into()),
    };
    let outcome = match result {
        Ok(()) => Outcome::Applied,
        Err(Stop::Reject(rejection)) => Outcome::Rejected(rejection),
        Err(Stop::Abort(abort)) => return Err(abort.into()),
    };
    block.charge(kind, gas, 0);
    Ok(outcome)
}

/// Credits what was deposited on L1. Cannot be rejected.
fn deposit<C: Crypto>(
    block: &mut BlockExecutor<'_, impl Openings, C>,
    request: &PriorityRequest,
    sink: &mut impl Sink,
) -> Result<(), Stop> {
    block.deposit(request.amount)?;
    credit(block.state, &request.to, request.amount)?;
    block.emit(&Event::Deposit { to: request.to, amount: request.amount }, sink);
    Ok(())
}

/// Withdraws from the L1 caller's account.
///
/// Rejects: `ZeroAmount`, `ZeroAddress`, `InsufficientBalance`.
fn forced_withdrawal<C: Crypto>(
    block: &mut BlockExecutor<'_, impl Openings, C>,
    request: &PriorityRequest,
    sink: &mut impl Sink,
) -> Result<(), Stop> {
    let index = block.message_index();
    let plan = crate::bridge::withdraw(&request.sender, request.amount, &request.to, request.amount, index)?;
    let slot = block.state.open(&Key::account(&request.sender))?;
    let mut sender = account(block.state, slot);
    sender.balance = afford(sender.balance, request.amount)?;
    block.state.replace(slot, Object::Account(sender));
    Ok(block.apply(&plan, sink)?)
}

/// Calls a system contract as the L1 caller. If it is applied it takes the caller's next nonce, which names what it creates; if
/// it is rejected nothing changes.
///
/// Rejects: `InsufficientBalance`, and whatever the call rejects.
fn forced_call<C: Crypto>(
    block: &mut BlockExecutor<'_, impl Openings, C>,
    request: &PriorityRequest,
    kind: CallKind,
    data: &[u8],
    sink: &mut impl Sink,
) -> Result<(), Stop> {
    let slot = block.state.open(&Key::account(&request.sender))?;
    let before = account(block.state, slot);
    let balance = afford(before.balance, request.amount)?;
    let caller = Caller { address: &request.sender, nonce: before.nonce, value: request.amount, is_forced: true };
    let index = block.message_index();
    let plan = plan::<C>(block.state, &block.environment, &caller, &request.to, kind, data, index)?;
    // A nonce counts what was executed: it cannot reach 2^64.
    let debited = Account { nonce: before.nonce + 1, balance };
    block.state.replace(slot, Object::Account(debited));
    Ok(block.apply(&plan, sink)?)
}

fn afford(have: Amount, need: Amount) -> Result<Amount, Rejection> {
    have.checked_sub(need).ok_or(Rejection::InsufficientBalance { have, need })
}
