//! Leaving for L1.

use joule_protocol::{Address, Amount, Message, Rejection};

use crate::{Event, abort::Stop, plan::Plan};

/// Sends `amount` to `l1_recipient` on L1.
///
/// Rejects: `WrongValue`, `ZeroAmount`, `ZeroAddress`. Keeps: what leaves the caller is in the message and in the withdrawn total.
pub(crate) fn withdraw(
    caller: &Address,
    value: Amount,
    l1_recipient: &Address,
    amount: Amount,
    index: u64,
) -> Result<Plan, Stop> {
    if value != amount {
        return Err(Rejection::WrongValue { expected: amount, got: value }.into());
    }
    if amount == 0 {
        return Err(Rejection::ZeroAmount {}.into());
    }
    if l1_recipient.is_zero() {
        return Err(Rejection::ZeroAddress {}.into());
    }
    let event = Event::Withdrawal { index, sender: *caller, l1_recipient: *l1_recipient, amount };
    let mut plan = Plan::new(event);
    plan.message = Some(Message { recipient: *l1_recipient, amount });
    Ok(plan)
}
