//! Random values of the protocol's types.
#![allow(dead_code, reason = "each test file uses a part")]

use joule_protocol::{
    Account, Address, Amount, Chain, Channel, ChannelStatus, Device, DeviceStatus, Digest, GOLDILOCKS, Hash, Job,
    JobStatus, Key, Kind, Object, limits::AMOUNT_MAX,
};
use proptest::{prelude::*, sample::select};

pub(crate) fn address() -> impl Strategy<Value = Address> {
    any::<[u8; 20]>().prop_map(Address)
}

pub(crate) fn hash() -> impl Strategy<Value = Hash> {
    any::<[u8; 32]>().prop_map(Hash)
}

pub(crate) fn digest() -> impl Strategy<Value = Digest> {
    let word = prop_oneof![8 => 0..GOLDILOCKS, 1 => Just(0), 1 => Just(GOLDILOCKS - 1)];
    prop::array::uniform4(word).prop_map(|words| Digest::new(words).expect("below p"))
}

pub(crate) fn amount() -> impl Strategy<Value = Amount> {
    prop_oneof![8 => 0..AMOUNT_MAX, 1 => Just(0), 1 => Just(AMOUNT_MAX - 1)]
}

fn part_and_whole() -> impl Strategy<Value = (Amount, Amount)> {
    (amount(), amount()).prop_map(|(a, b)| (a.min(b), a.max(b)))
}

fn device() -> impl Strategy<Value = Device> {
    let status = select(vec![DeviceStatus::Active, DeviceStatus::Retired]);
    let numbers = (any::<u32>(), any::<u8>(), any::<u64>(), any::<u128>());
    (address(), address(), part_and_whole(), numbers, status).prop_map(
        |(owner, payout, (bonded, stake), (class, tier, tier_expiry, units_served), status)| Device {
            owner,
            payout,
            stake,
            bonded,
            class,
            tier,
            tier_expiry,
            units_served,
            status,
        },
    )
}

fn job() -> impl Strategy<Value = Job> {
    let statuses =
        vec![JobStatus::Open, JobStatus::Claimed, JobStatus::Settled, JobStatus::Cancelled, JobStatus::Expired];
    let head = (select(statuses), any::<u8>(), any::<bool>(), address());
    let amounts = (amount(), amount(), amount());
    (head, hash(), hash(), hash(), amounts, any::<[u64; 3]>()).prop_map(
        |(head, model, input_hash, receipt_digest, (unit_price, escrow, bond), numbers)| {
            let (status, minimum_tier, is_device_named, device) = head;
            let [unit_limit, deadline, units_paid] = numbers;
            Job {
                status,
                minimum_tier,
                is_device_named,
                device,
                model,
                input_hash,
                unit_price,
                unit_limit,
                escrow,
                bond,
                deadline,
                receipt_digest,
                units_paid,
            }
        },
    )
}

fn channel() -> impl Strategy<Value = Channel> {
    let status = select(vec![ChannelStatus::Open, ChannelStatus::Closing, ChannelStatus::Closed]);
    (address(), part_and_whole(), any::<u64>(), status).prop_map(|(payee, (paid, deposit), closing_time, status)| {
        Channel { payee, deposit, paid, closing_time, status }
    })
}

fn chain() -> impl Strategy<Value = Chain> {
    (hash(), address(), any::<[u64; 5]>(), any::<u32>(), amount(), amount()).prop_map(
        |(genesis_id, fee_recipient, numbers, gas_table_version, deposited, withdrawn)| {
            let [base_fee_max, leaf_count, withdrawal_count, grace_seconds, channel_close_seconds] = numbers;
            Chain {
                genesis_id,
                fee_recipient,
                base_fee_max,
                gas_table_version,
                leaf_count,
                withdrawal_count,
                deposited,
                withdrawn,
                grace_seconds,
                channel_close_seconds,
            }
        },
    )
}

/// An object and a key it can live under.
pub(crate) fn entry() -> impl Strategy<Value = (Key, Object)> {
    prop_oneof![
        (address(), any::<u64>(), amount())
            .prop_map(|(at, nonce, balance)| (Key::account(&at), Object::Account(Account { nonce, balance }))),
        (address(), device()).prop_map(|(at, device)| (Key::device(&at), Object::Device(device))),
        (address(), any::<u64>(), job()).prop_map(|(at, nonce, job)| (Key::job(&at, nonce), Object::Job(job))),
        (address(), any::<u64>(), channel())
            .prop_map(|(at, nonce, channel)| (Key::channel(&at, nonce), Object::Channel(channel))),
        chain().prop_map(|chain| (Key::CHAIN, Object::Chain(chain))),
    ]
}

pub(crate) const KINDS: [Kind; 5] = [Kind::Account, Kind::Device, Kind::Job, Kind::Channel, Kind::Chain];
