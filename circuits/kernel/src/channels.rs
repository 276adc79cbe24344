//! Channels: pay per call with signed vouchers.

use joule_protocol::{
    Address, Amount, Channel, ChannelClose, ChannelStatus, Key, Object, Rejection, Signature, Voucher,
};

use crate::{
    Abort, Crypto, Environment, Event, Openings, Slot,
    abort::Stop,
    devices::checked_total,
    openings,
    plan::{Plan, signed_by},
    transaction::Caller,
};

/// Opens a channel; the value is its deposit.
///
/// Rejects: `ZeroAddress`, `ZeroAmount`.
pub(crate) fn open(
    state: &mut impl Openings,
    client: &Address,
    client_nonce: u64,
    deposit: Amount,
    payee: &Address,
) -> Result<Plan, Stop> {
    if payee.is_zero() {
        return Err(Rejection::ZeroAddress {}.into());
    }
    if deposit == 0 {
        return Err(Rejection::ZeroAmount {}.into());
    }
    let key = Key::channel(client, client_nonce);
    let (slot, existing) = openings::channel(state, &key)?;
    if existing.is_some() {
        return Err(Abort::IdTaken { key }.into());
    }
    let channel = Channel { payee: *payee, deposit, paid: 0, closing_time: 0, status: ChannelStatus::Open };
    let event = Event::ChannelOpened { client: *client, client_nonce, payee: *payee, deposit };
    Ok(Plan::new(event).write(slot, Object::Channel(channel)))
}

fn find(state: &mut impl Openings, client: &Address, client_nonce: u64) -> Result<(Slot, Channel), Stop> {
    let (slot, found) = openings::channel(state, &Key::channel(client, client_nonce))?;
    Ok((slot, found.ok_or(Rejection::ChannelNotFound { client: *client, nonce: client_nonce })?))
}

fn find_open(state: &mut impl Openings, client: &Address, client_nonce: u64) -> Result<(Slot, Channel), Stop> {
    let (slot, found) = find(state, client, client_nonce)?;
    match found.status {
        ChannelStatus::Open => Ok((slot, found)),
        status => Err(Rejection::ChannelNotOpen { status: status as u8 }.into()),
    }
}

/// Adds the value to the deposit of the caller's channel.
///
/// Rejects: `ZeroAmount`, `ChannelNotFound`, `ChannelNotOpen`, `AmountTooLarge`.
pub(crate) fn top_up(
    state: &mut impl Openings,
    client: &Address,
    client_nonce: u64,
    amount: Amount,
) -> Result<Plan, Stop> {
    if amount == 0 {
        return Err(Rejection::ZeroAmount {}.into());
    }
    let (slot, mut channel) = find_open(state, client, client_nonce)?;
    channel.deposit = checked_total(channel.deposit, amount)?;
    let event = Event::ChannelToppedUp { client: *client, client_nonce, amount, deposit: channel.deposit };
    Ok(Plan::new(event).write(slot, Object::Channel(channel)))
}

/// Pays the payee what the voucher adds to what was paid before, all or nothing. Also while the channel is closing.
///
/// Rejects: `ChannelNotFound`, `ChannelClosed`, `WrongPayee`, `VoucherNotIncreasing` (a replay too), `VoucherOverDeposit`, `BadSignature`, `WrongSigner`.
pub(crate) fn redeem<C: Crypto>(
    state: &mut impl Openings,
    environment: &Environment,
    voucher: &Voucher,
    signature: Option<&Signature>,
) -> Result<Plan, Stop> {
    let (slot, mut channel) = find(state, &voucher.client, voucher.client_nonce)?;
    if channel.status == ChannelStatus::Closed {
        return Err(Rejection::ChannelClosed {}.into());
    }
    if voucher.payee != channel.payee {
        return Err(Rejection::WrongPayee { expected: channel.payee, got: voucher.payee }.into());
    }
    let cumulative = voucher.cumulative;
    if cumulative <= channel.paid {
        return Err(Rejection::VoucherNotIncreasing { cumulative, paid: channel.paid }.into());
    }
    if cumulative > channel.deposit {
        return Err(Rejection::VoucherOverDeposit { cumulative, deposit: channel.deposit }.into());
    }
    signed_by::<C>(&environment.channels_domain::<C>(), &voucher.struct_hash::<C>(), signature, &voucher.client)?;
    let amount = cumulative - channel.paid;
    channel.paid = cumulative;
    let event = Event::VoucherRedeemed {
        client: voucher.client,
        client_nonce: voucher.client_nonce,
        payee: channel.payee,
        amount,
        cumulative,
    };
    Ok(Plan::new(event).write(slot, Object::Channel(channel)).credit(channel.payee, amount))
}

/// Starts the closing delay of the caller's channel, without its payee: by a forced call alone.
///
/// Rejects: `CloseNotForced`, `ChannelNotFound`, `ChannelNotOpen`.
///
/// **Why forced.** The delay is the payee's: in it the last vouchers redeem. L1 bounds a block's time from above alone. Were a signed close enough, then after the
/// chain has stood still for longer than the delay, whoever makes the next batch could date a close at the time of the last block and finalise in a block dated now: the payee
/// would learn of the close from the batch that ends the channel. A request is on L1 for everybody to see before a block can hold it, and no block that holds it is dated before
/// it (`TimeRunsBackwards`). So, however blocks are dated,
///
/// * the closing time is at least the request's L1 time plus the delay, and L1 takes no batch with the finalisation before that, less the skew that it grants block times;
/// * a payee that forces its last voucher through L1 sooner than that by what a forced call may take at most (the queue's expiry, and the time that proven batches delay a freeze)
///   has it redeemed before the finalisation, or the chain can be frozen before it; then the voucher is shown in the escape, which takes it while the channel is closing too.
///   Deployment refuses a delay that is not longer than all three together.
///
/// **Why counted from the block.** Its time is the later of the two. A request waits in the queue, and may name a channel that does not exist yet: counted from the request, a client
/// and an operator who wait together could open the channel when most of the delay is over. Counted from the block, a payee that has seen a block executed on L1 has the
/// whole delay from that block's time, whatever waited in the queue then. A client waits for longer only as long as its request does.
pub(crate) fn close(
    state: &mut impl Openings,
    environment: &Environment,
    caller: &Caller<'_>,
    client_nonce: u64,
) -> Result<Plan, Stop> {
    if !caller.is_forced {
        return Err(Rejection::CloseNotForced {}.into());
    }
    let client = caller.address;
    let (slot, mut channel) = find_open(state, client, client_nonce)?;
    channel.status = ChannelStatus::Closing;
    channel.closing_time = environment.timestamp.saturating_add(environment.chain.channel_close_seconds);
    let event = Event::ChannelClosing { client: *client, client_nonce, closing_time: channel.closing_time };
    Ok(Plan::new(event).write(slot, Object::Channel(channel)))
}

/// Ends a channel and returns what was not paid.
fn end(slot: Slot, mut channel: Channel, client: &Address, client_nonce: u64) -> Plan {
    let refunded = channel.deposit - channel.paid;
    channel.status = ChannelStatus::Closed;
    Plan::new(Event::ChannelClosed { client: *client, client_nonce, refunded })
        .write(slot, Object::Channel(channel))
        .credit(*client, refunded)
}

/// Closes the caller's channel at once with the payee's consent, which names what it has been paid: consent given before a redemption
/// does not close the channel after it, and the other way round. It ends with its deadline, so that a payee that goes on taking vouchers after
/// it has agreed is not held to it for ever. The deadline is in block time: consent is dead for certain when a block dated after it is executed.
///
/// Rejects: `ChannelNotFound`, `ChannelClosed`, `ConsentExpired`, `BadSignature`, `WrongSigner`.
pub(crate) fn close_together<C: Crypto>(
    state: &mut impl Openings,
    environment: &Environment,
    client: &Address,
    client_nonce: u64,
    deadline: u64,
    signature: Option<&Signature>,
) -> Result<Plan, Stop> {
    let (slot, channel) = find(state, client, client_nonce)?;
    if channel.status == ChannelStatus::Closed {
        return Err(Rejection::ChannelClosed {}.into());
    }
    if environment.timestamp > deadline {
        return Err(Rejection::ConsentExpired { deadline, now: environment.timestamp }.into());
    }
    let statement = ChannelClose { client: *client, client_nonce, payee: channel.payee, paid: channel.paid, deadline };
    signed_by::<C>(&environment.channels_domain::<C>(), &statement.struct_hash::<C>(), signature, &channel.payee)?;
    Ok(end(slot, channel, client, client_nonce))
}

/// Ends a channel whose closing time has come. Anybody may.
///
/// Rejects: `ChannelNotFound`, `ChannelNotClosing`, `FinaliseTooEarly`.
pub(crate) fn finalise(
    state: &mut impl Openings,
    environment: &Environment,
    client: &Address,
    client_nonce: u64,
) -> Result<Plan, Stop> {
    let (slot, channel) = find(state, client, client_nonce)?;
    if channel.status != ChannelStatus::Closing {
        return Err(Rejection::ChannelNotClosing { status: channel.status as u8 }.into());
    }
    if environment.timestamp < channel.closing_time {
        return Err(Rejection::FinaliseTooEarly { from: channel.closing_time, now: environment.timestamp }.into());
    }
    Ok(end(slot, channel, client, client_nonce))
}
