//! Jobs: work posted with its price in escrow, paid by a compute receipt.

use joule_protocol::{
    Address, Amount, ComputeReceipt, Device, DeviceStatus, Hash, Job, JobStatus, Key, Object, Rejection, Signature,
    limits::{AMOUNT_MAX, JOB_DEADLINE_SECONDS_MAX},
};

use crate::{
    Abort, Crypto, Environment, Event, Openings, Slot,
    abort::Stop,
    openings,
    plan::{Plan, signed_by},
};

/// The highest attestation tier this kernel can check. Tiers above have a format and no rule yet, so nothing may ask for or claim them.
const TIER_MAX: u8 = 0;

/// What a client asks for.
pub(crate) struct Order {
    pub(crate) model: Hash,
    pub(crate) input_hash: Hash,
    pub(crate) unit_price: Amount,
    pub(crate) unit_limit: u64,
    pub(crate) deadline: u64,
    pub(crate) minimum_tier: u8,
    pub(crate) device: Address,
    pub(crate) bond: Amount,
}

/// Posts a job and escrows its whole possible price.
///
/// Rejects: `ZeroAmount` (no units or no price), `AmountTooLarge`, `WrongValue`, `DeadlinePassed`, `DeadlineTooFar`, `TierUnsupported`.
pub(crate) fn post(
    state: &mut impl Openings,
    environment: &Environment,
    client: &Address,
    client_nonce: u64,
    value: Amount,
    order: &Order,
) -> Result<Plan, Stop> {
    if order.unit_limit == 0 || order.unit_price == 0 {
        return Err(Rejection::ZeroAmount {}.into());
    }
    let escrow = order
        .unit_price
        .checked_mul(order.unit_limit.into())
        .filter(|&escrow| escrow < AMOUNT_MAX && order.bond < AMOUNT_MAX)
        .ok_or(Rejection::AmountTooLarge {})?;
    if value != escrow {
        return Err(Rejection::WrongValue { expected: escrow, got: value }.into());
    }
    let (deadline, now) = (order.deadline, environment.timestamp);
    if deadline <= now {
        return Err(Rejection::DeadlinePassed { deadline, now }.into());
    }
    if deadline - now > JOB_DEADLINE_SECONDS_MAX {
        return Err(Rejection::DeadlineTooFar { deadline, now }.into());
    }
    if order.minimum_tier > TIER_MAX {
        return Err(Rejection::TierUnsupported { tier: order.minimum_tier }.into());
    }
    let key = Key::job(client, client_nonce);
    let (slot, existing) = openings::job(state, &key)?;
    if existing.is_some() {
        return Err(Abort::IdTaken { key }.into());
    }
    let job = Job {
        status: JobStatus::Open,
        minimum_tier: order.minimum_tier,
        is_device_named: !order.device.is_zero(),
        device: order.device,
        model: order.model,
        input_hash: order.input_hash,
        unit_price: order.unit_price,
        unit_limit: order.unit_limit,
        escrow,
        bond: order.bond,
        deadline,
        receipt_digest: Hash::ZERO,
        units_paid: 0,
    };
    let event = Event::JobPosted {
        client: *client,
        client_nonce,
        device: order.device,
        model: order.model,
        input_hash: order.input_hash,
        unit_price: order.unit_price,
        unit_limit: order.unit_limit,
        deadline,
        minimum_tier: order.minimum_tier,
        bond: order.bond,
    };
    Ok(Plan::new(event).write(slot, Object::Job(job)))
}

fn find(state: &mut impl Openings, client: &Address, client_nonce: u64) -> Result<(Slot, Job), Stop> {
    let (slot, found) = openings::job(state, &Key::job(client, client_nonce))?;
    Ok((slot, found.ok_or(Rejection::JobNotFound { client: *client, nonce: client_nonce })?))
}

fn find_claimed(state: &mut impl Openings, client: &Address, client_nonce: u64) -> Result<(Slot, Job), Stop> {
    let (slot, job) = find(state, client, client_nonce)?;
    match job.status {
        JobStatus::Claimed => Ok((slot, job)),
        status => Err(Rejection::JobNotClaimed { status: status as u8 }.into()),
    }
}

/// The device that claimed a job. It exists: claims are made by registered devices and devices are never removed.
fn claimant(state: &mut impl Openings, job: &Job) -> Result<(Slot, Device), Stop> {
    let (slot, found) = openings::device(state, &Key::device(&job.device))?;
    Ok((slot, found.ok_or(Rejection::DeviceNotFound { device: job.device })?))
}

fn check_operator(device: &Device, caller: &Address) -> Result<(), Rejection> {
    if device.owner == *caller || device.payout == *caller {
        Ok(())
    } else {
        Err(Rejection::NotDeviceOperator { caller: *caller })
    }
}

/// Binds an open job to a device and locks the job's bond from the device's stake.
///
/// Rejects: `JobNotFound`, `JobNotOpen`, `DeadlinePassed`, `WrongDevice`, `DeviceNotFound`, `NotDeviceOperator`, `DeviceRetired`, `TierTooLow`,
/// `StakeTooLow`.
pub(crate) fn claim(
    state: &mut impl Openings,
    environment: &Environment,
    caller: &Address,
    client: &Address,
    client_nonce: u64,
    device: &Address,
) -> Result<Plan, Stop> {
    let (job_slot, mut job) = find(state, client, client_nonce)?;
    if job.status != JobStatus::Open {
        return Err(Rejection::JobNotOpen { status: job.status as u8 }.into());
    }
    if job.deadline <= environment.timestamp {
        return Err(Rejection::DeadlinePassed { deadline: job.deadline, now: environment.timestamp }.into());
    }
    if job.is_device_named && job.device != *device {
        return Err(Rejection::WrongDevice { expected: job.device, got: *device }.into());
    }
    let (device_slot, found) = openings::device(state, &Key::device(device))?;
    let mut found = found.ok_or(Rejection::DeviceNotFound { device: *device })?;
    check_operator(&found, caller)?;
    if found.status == DeviceStatus::Retired {
        return Err(Rejection::DeviceRetired {}.into());
    }
    let tier = if found.tier_expiry > environment.timestamp { found.tier } else { 0 };
    if tier < job.minimum_tier {
        return Err(Rejection::TierTooLow { need: job.minimum_tier, have: tier }.into());
    }
    let free = found.stake - found.bonded;
    if free < job.bond {
        return Err(Rejection::StakeTooLow { need: job.bond, have: free }.into());
    }
    found.bonded += job.bond;
    job.status = JobStatus::Claimed;
    job.device = *device;
    let event = Event::JobClaimed { client: *client, client_nonce, device: *device };
    Ok(Plan::new(event).write(job_slot, Object::Job(job)).write(device_slot, Object::Device(found)))
}

/// Gives a claimed job back, at once, and frees the bond.
///
/// Rejects: `JobNotFound`, `JobNotClaimed`, `NotDeviceOperator`.
pub(crate) fn release(
    state: &mut impl Openings,
    caller: &Address,
    client: &Address,
    client_nonce: u64,
) -> Result<Plan, Stop> {
    let (job_slot, mut job) = find_claimed(state, client, client_nonce)?;
    let (device_slot, mut device) = claimant(state, &job)?;
    check_operator(&device, caller)?;
    let event = Event::JobReleased { client: *client, client_nonce, device: job.device };
    device.bonded -= job.bond;
    job.status = JobStatus::Open;
    if !job.is_device_named {
        job.device = Address::ZERO;
    }
    Ok(Plan::new(event).write(job_slot, Object::Job(job)).write(device_slot, Object::Device(device)))
}

/// Pays the device's payout account for a compute receipt and returns the rest of the escrow to the client.
///
/// The receipt must be signed by the device that claimed the job and agree with the job in everything the client fixed. The signature is checked last: it costs
/// most.
///
/// Rejects: `JobNotFound`, `JobNotClaimed`, `WrongDevice`, `WrongModel`, `WrongInput`, `WrongUnitPrice`, `UnitsOverLimit`, `TierUnsupported`, `TierTooLow`,
/// `EvidenceNotEmpty`, `StartedAfterFinished`, `FinishedInFuture`, `FinishedAfterDeadline`, `SettlementTooLate`, `BadSignature`, `WrongSigner`.
pub(crate) fn settle<C: Crypto>(
    state: &mut impl Openings,
    environment: &Environment,
    receipt: &ComputeReceipt,
    signature: Option<&Signature>,
) -> Result<Plan, Stop> {
    let (client, client_nonce, now) = (receipt.client, receipt.client_nonce, environment.timestamp);
    let (job_slot, mut job) = find_claimed(state, &client, client_nonce)?;
    check_receipt(receipt, &job)?;
    if receipt.finished_at > now {
        return Err(Rejection::FinishedInFuture { finished: receipt.finished_at, now }.into());
    }
    let until = job.deadline.saturating_add(environment.chain.grace_seconds);
    if now > until {
        return Err(Rejection::SettlementTooLate { until, now }.into());
    }
    let domain = environment.jobs_domain::<C>();
    let digest = signed_by::<C>(&domain, &receipt.struct_hash::<C>(), signature, &job.device)?;

    let (device_slot, mut device) = claimant(state, &job)?;
    // units ≤ unit limit, so the product is at most the escrow, which is below 2^120.
    let paid = job.unit_price * Amount::from(receipt.units);
    let refunded = job.escrow - paid;
    device.bonded -= job.bond;
    // 2^64 units a job and fewer than 2^64 jobs: a u128 holds them all.
    device.units_served += u128::from(receipt.units);
    job.status = JobStatus::Settled;
    job.escrow = 0;
    job.receipt_digest = digest;
    job.units_paid = receipt.units;
    let event = Event::JobSettled {
        client,
        client_nonce,
        device: job.device,
        receipt_digest: digest,
        units: receipt.units,
        paid,
        refunded,
    };
    // In one piece: the image copies a plan that is added to.
    Ok(Plan {
        credits: [Some((device.payout, paid)), Some((client, refunded))],
        writes: [Some((job_slot, Object::Job(job))), Some((device_slot, Object::Device(device)))],
        message: None,
        event,
    })
}

/// What of a receipt can be checked against the job alone.
fn check_receipt(receipt: &ComputeReceipt, job: &Job) -> Result<(), Rejection> {
    if receipt.device != job.device {
        return Err(Rejection::WrongDevice { expected: job.device, got: receipt.device });
    }
    if receipt.model != job.model {
        return Err(Rejection::WrongModel {});
    }
    if receipt.input_hash != job.input_hash {
        return Err(Rejection::WrongInput {});
    }
    if receipt.unit_price != job.unit_price {
        return Err(Rejection::WrongUnitPrice { expected: job.unit_price, got: receipt.unit_price });
    }
    if receipt.units > job.unit_limit {
        return Err(Rejection::UnitsOverLimit { units: receipt.units, limit: job.unit_limit });
    }
    if receipt.tier > TIER_MAX {
        return Err(Rejection::TierUnsupported { tier: receipt.tier });
    }
    if receipt.tier < job.minimum_tier {
        return Err(Rejection::TierTooLow { need: job.minimum_tier, have: receipt.tier });
    }
    if receipt.evidence != Hash::ZERO {
        return Err(Rejection::EvidenceNotEmpty {});
    }
    if receipt.started_at > receipt.finished_at {
        return Err(Rejection::StartedAfterFinished { started: receipt.started_at, finished: receipt.finished_at });
    }
    if receipt.finished_at > job.deadline {
        return Err(Rejection::FinishedAfterDeadline { finished: receipt.finished_at, deadline: job.deadline });
    }
    Ok(())
}

/// Takes an unclaimed job of the caller back, at once.
///
/// Rejects: `JobNotFound`, `JobNotOpen`.
pub(crate) fn cancel(state: &mut impl Openings, client: &Address, client_nonce: u64) -> Result<Plan, Stop> {
    let (slot, mut job) = find(state, client, client_nonce)?;
    if job.status != JobStatus::Open {
        return Err(Rejection::JobNotOpen { status: job.status as u8 }.into());
    }
    let refunded = core::mem::take(&mut job.escrow);
    job.status = JobStatus::Cancelled;
    let event = Event::JobCancelled { client: *client, client_nonce, refunded };
    Ok(Plan::new(event).write(slot, Object::Job(job)).credit(*client, refunded))
}

/// Returns the escrow of a job that nobody delivered, with the claimant's bond if there is one. Anybody may, after deadline and grace: until then
/// a receipt finished in time still settles, so that keeping a receipt out of blocks cannot turn work into a refund.
///
/// Rejects: `JobNotFound`, `JobFinished`, `ExpiryTooEarly`.
pub(crate) fn expire(
    state: &mut impl Openings,
    environment: &Environment,
    client: &Address,
    client_nonce: u64,
) -> Result<Plan, Stop> {
    let (job_slot, mut job) = find(state, client, client_nonce)?;
    let is_claimed = match job.status {
        JobStatus::Open => false,
        JobStatus::Claimed => true,
        status => return Err(Rejection::JobFinished { status: status as u8 }.into()),
    };
    let from = job.deadline.saturating_add(environment.chain.grace_seconds);
    if environment.timestamp <= from {
        return Err(Rejection::ExpiryTooEarly { from, now: environment.timestamp }.into());
    }
    let refunded = core::mem::take(&mut job.escrow);
    let bond_paid = if is_claimed { job.bond } else { 0 };
    job.status = JobStatus::Expired;
    let event = Event::JobExpired { client: *client, client_nonce, device: job.device, refunded, bond_paid };
    let mut plan = Plan::new(event).write(job_slot, Object::Job(job)).credit(*client, refunded + bond_paid);
    if is_claimed {
        let (device_slot, mut device) = claimant(state, &job)?;
        device.bonded -= bond_paid;
        device.stake -= bond_paid;
        plan = plan.write(device_slot, Object::Device(device));
    }
    Ok(plan)
}
