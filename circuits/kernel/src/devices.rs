//! Devices: the keys that sign compute receipts, and their stakes.

use joule_protocol::{Address, Amount, Device, DeviceConsent, DeviceStatus, Key, Object, Rejection, Signature};

use crate::{
    Crypto, Environment, Event, Openings, Slot,
    abort::Stop,
    openings,
    plan::{Plan, signed_by},
};

/// Registers a device key to the caller; the value becomes its stake.
///
/// Rejects: `ZeroAddress`, `DeviceExists`, `BadSignature`, `WrongSigner`. A new device has tier 0: tiers are set by evidence, never by an owner.
#[allow(clippy::too_many_arguments, reason = "the call's arguments and its caller")]
pub(crate) fn register<C: Crypto>(
    state: &mut impl Openings,
    environment: &Environment,
    caller: &Address,
    value: Amount,
    device: &Address,
    payout: &Address,
    class: u32,
    consent: Option<&Signature>,
) -> Result<Plan, Stop> {
    if device.is_zero() || payout.is_zero() {
        return Err(Rejection::ZeroAddress {}.into());
    }
    let (slot, existing) = openings::device(state, &Key::device(device))?;
    if existing.is_some() {
        return Err(Rejection::DeviceExists { device: *device }.into());
    }
    let statement = DeviceConsent { device: *device, owner: *caller };
    signed_by::<C>(&environment.devices_domain::<C>(), &statement.struct_hash::<C>(), consent, device)?;
    let registered = Device {
        owner: *caller,
        payout: *payout,
        stake: value,
        bonded: 0,
        class,
        tier: 0,
        tier_expiry: 0,
        units_served: 0,
        status: DeviceStatus::Active,
    };
    let event = Event::DeviceRegistered { device: *device, owner: *caller, payout: *payout, class, stake: value };
    Ok(Plan::new(event).write(slot, Object::Device(registered)))
}

/// A registered device of the caller.
fn owned(state: &mut impl Openings, caller: &Address, device: &Address) -> Result<(Slot, Device), Stop> {
    let (slot, found) = openings::device(state, &Key::device(device))?;
    let found = found.ok_or(Rejection::DeviceNotFound { device: *device })?;
    if found.owner != *caller {
        return Err(Rejection::NotDeviceOwner { caller: *caller }.into());
    }
    Ok((slot, found))
}

/// Adds the value to a device's stake.
///
/// Rejects: `ZeroAmount`, `DeviceNotFound`, `NotDeviceOwner`, `DeviceRetired`, `AmountTooLarge`.
pub(crate) fn add_stake(
    state: &mut impl Openings,
    caller: &Address,
    value: Amount,
    device: &Address,
) -> Result<Plan, Stop> {
    if value == 0 {
        return Err(Rejection::ZeroAmount {}.into());
    }
    let (slot, mut found) = owned(state, caller, device)?;
    if found.status == DeviceStatus::Retired {
        return Err(Rejection::DeviceRetired {}.into());
    }
    found.stake = checked_total(found.stake, value)?;
    let event = Event::StakeAdded { device: *device, amount: value, stake: found.stake };
    Ok(Plan::new(event).write(slot, Object::Device(found)))
}

/// A sum that must itself be an amount.
pub(crate) fn checked_total(left: Amount, right: Amount) -> Result<Amount, Rejection> {
    left.checked_add(right).filter(|&sum| sum < joule_protocol::limits::AMOUNT_MAX).ok_or(Rejection::AmountTooLarge {})
}

/// Stops a device from taking jobs; jobs it has claimed can still be settled.
///
/// Rejects: `DeviceNotFound`, `NotDeviceOwner`, `DeviceRetired`.
pub(crate) fn retire(state: &mut impl Openings, caller: &Address, device: &Address) -> Result<Plan, Stop> {
    let (slot, mut found) = owned(state, caller, device)?;
    if found.status == DeviceStatus::Retired {
        return Err(Rejection::DeviceRetired {}.into());
    }
    found.status = DeviceStatus::Retired;
    Ok(Plan::new(Event::DeviceRetired { device: *device }).write(slot, Object::Device(found)))
}

/// Pays a retired device's stake to its owner.
///
/// Rejects: `DeviceNotFound`, `NotDeviceOwner`, `DeviceNotRetired`, `StakeBonded`, `ZeroAmount`.
pub(crate) fn withdraw_stake(state: &mut impl Openings, caller: &Address, device: &Address) -> Result<Plan, Stop> {
    let (slot, mut found) = owned(state, caller, device)?;
    if found.status != DeviceStatus::Retired {
        return Err(Rejection::DeviceNotRetired {}.into());
    }
    if found.bonded != 0 {
        return Err(Rejection::StakeBonded { bonded: found.bonded }.into());
    }
    if found.stake == 0 {
        return Err(Rejection::ZeroAmount {}.into());
    }
    let amount = core::mem::take(&mut found.stake);
    let event = Event::StakeWithdrawn { device: *device, owner: found.owner, amount };
    Ok(Plan::new(event).write(slot, Object::Device(found)).credit(*caller, amount))
}
