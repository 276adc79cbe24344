//! Objects of the state tree, and their names.

use alloy::primitives::{Address, B256};
use joule_protocol as protocol;
use serde::{Deserialize, Serialize};

use super::{WireError, address_of, amount, hash_of, protocol_address, protocol_hash};

/// A kind of object with an owner, as requests name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ObjectKind {
    /// A wallet.
    Account,
    /// A worker's key.
    Device,
    /// A job.
    Job,
    /// A channel.
    Channel,
    /// The chain's own object.
    Chain,
}

/// Names an object of the state tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ObjectId {
    /// What kind of object.
    pub kind: ObjectKind,
    /// Account, device or client; left out for the chain.
    #[serde(default)]
    pub address: Address,
    /// The client's nonce, of jobs and channels.
    #[serde(default, with = "alloy::serde::quantity")]
    pub nonce: u64,
}

impl ObjectId {
    /// The key in the state tree.
    pub fn key(&self) -> protocol::Key {
        let address = protocol_address(self.address);
        match self.kind {
            ObjectKind::Account => protocol::Key::account(&address),
            ObjectKind::Device => protocol::Key::device(&address),
            ObjectKind::Job => protocol::Key::job(&address, self.nonce),
            ObjectKind::Channel => protocol::Key::channel(&address, self.nonce),
            ObjectKind::Chain => protocol::Key::CHAIN,
        }
    }
}

/// Where a device is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DeviceStatus {
    /// Takes jobs.
    Active,
    /// Takes no new jobs.
    Retired,
}

/// Where a job is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum JobStatus {
    /// Posted, not claimed.
    Open,
    /// A device works on it.
    Claimed,
    /// Paid by a compute receipt.
    Settled,
    /// Taken back by the client.
    Cancelled,
    /// Nobody delivered in time.
    Expired,
}

/// Where a channel is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ChannelStatus {
    /// Vouchers redeem.
    Open,
    /// The client asked to close.
    Closing,
    /// The rest went back.
    Closed,
}

/// Maps each variant of one enum to the variant of the same name of the other, both ways.
macro_rules! same_variants {
    ($name:ident { $($variant:ident),* }) => {
        impl From<protocol::$name> for $name {
            fn from(status: protocol::$name) -> Self {
                match status { $( protocol::$name::$variant => Self::$variant, )* }
            }
        }
        impl From<$name> for protocol::$name {
            fn from(status: $name) -> Self {
                match status { $( $name::$variant => Self::$variant, )* }
            }
        }
    };
}
same_variants!(DeviceStatus { Active, Retired });
same_variants!(JobStatus { Open, Claimed, Settled, Cancelled, Expired });
same_variants!(ChannelStatus { Open, Closing, Closed });

/// A wallet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Account {
    /// Transactions executed so far.
    #[serde(with = "alloy::serde::quantity")]
    pub nonce: u64,
    /// Spendable base token.
    #[serde(with = "alloy::serde::quantity")]
    pub balance: u128,
}

/// A worker's registered signing key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Device {
    /// Who registered it.
    pub owner: Address,
    /// Who is paid.
    pub payout: Address,
    /// Base token at stake, bonds included.
    #[serde(with = "alloy::serde::quantity")]
    pub stake: u128,
    /// The part that open claims lock.
    #[serde(with = "alloy::serde::quantity")]
    pub bonded: u128,
    /// Hardware class as declared.
    pub class: u32,
    /// Highest attestation tier shown.
    pub tier: u8,
    /// When its evidence expires, unix seconds.
    #[serde(with = "alloy::serde::quantity")]
    pub tier_expiry: u64,
    /// Units paid for so far.
    #[serde(with = "alloy::serde::quantity")]
    pub units_served: u128,
    /// Active or retired.
    pub status: DeviceStatus,
}

/// A job and its escrow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Job {
    /// Where it is in its life.
    pub status: JobStatus,
    /// The lowest attestation tier that settles it.
    pub minimum_tier: u8,
    /// Whether the client named the device.
    pub is_device_named: bool,
    /// The named or claiming device.
    pub device: Address,
    /// Commitment to weights and architecture.
    pub model: B256,
    /// Hash of the input.
    pub input_hash: B256,
    /// Price of one unit.
    #[serde(with = "alloy::serde::quantity")]
    pub unit_price: u128,
    /// Most units that are paid.
    #[serde(with = "alloy::serde::quantity")]
    pub unit_limit: u64,
    /// What the chain holds for it.
    #[serde(with = "alloy::serde::quantity")]
    pub escrow: u128,
    /// Stake that a claim locks.
    #[serde(with = "alloy::serde::quantity")]
    pub bond: u128,
    /// The latest `finishedAt` that is paid, unix seconds.
    #[serde(with = "alloy::serde::quantity")]
    pub deadline: u64,
    /// EIP-712 digest of the receipt that settled it; zero before.
    pub receipt_digest: B256,
    /// Units paid; zero before.
    #[serde(with = "alloy::serde::quantity")]
    pub units_paid: u64,
}

/// A payment channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Channel {
    /// Who redeems vouchers.
    pub payee: Address,
    /// Base token put in.
    #[serde(with = "alloy::serde::quantity")]
    pub deposit: u128,
    /// Base token paid out to the payee.
    #[serde(with = "alloy::serde::quantity")]
    pub paid: u128,
    /// From when it may be finalised, unix seconds; 0 while it is open.
    #[serde(with = "alloy::serde::quantity")]
    pub closing_time: u64,
    /// Where it is in its life.
    pub status: ChannelStatus,
}

/// The chain's own numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Chain {
    /// Hash of the genesis configuration.
    pub genesis_id: B256,
    /// Who gets the fees.
    pub fee_recipient: Address,
    /// Highest base fee a block may name.
    #[serde(with = "alloy::serde::quantity")]
    pub base_fee_max: u64,
    /// Which gas table is in force.
    pub gas_table_version: u32,
    /// Leaves in the tree.
    #[serde(with = "alloy::serde::quantity")]
    pub leaf_count: u64,
    /// Withdrawals so far.
    #[serde(with = "alloy::serde::quantity")]
    pub withdrawal_count: u64,
    /// Base token ever credited from L1.
    #[serde(with = "alloy::serde::quantity")]
    pub deposited: u128,
    /// Base token ever withdrawn to L1.
    #[serde(with = "alloy::serde::quantity")]
    pub withdrawn: u128,
    /// Seconds after a job's deadline before it may expire.
    #[serde(with = "alloy::serde::quantity")]
    pub grace_seconds: u64,
    /// Seconds between closing and finalising a channel.
    #[serde(with = "alloy::serde::quantity")]
    pub channel_close_seconds: u64,
}

/// Anything the state tree holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Object {
    /// A wallet.
    Account(Account),
    /// A worker's key.
    Device(Device),
    /// A job.
    Job(Job),
    /// A channel.
    Channel(Channel),
    /// The chain.
    Chain(Chain),
}

impl From<&protocol::Account> for Account {
    fn from(account: &protocol::Account) -> Self {
        Self { nonce: account.nonce, balance: account.balance }
    }
}

impl From<&protocol::Device> for Device {
    fn from(device: &protocol::Device) -> Self {
        Self {
            owner: address_of(device.owner),
            payout: address_of(device.payout),
            stake: device.stake,
            bonded: device.bonded,
            class: device.class,
            tier: device.tier,
            tier_expiry: device.tier_expiry,
            units_served: device.units_served,
            status: device.status.into(),
        }
    }
}

impl From<&protocol::Job> for Job {
    fn from(job: &protocol::Job) -> Self {
        Self {
            status: job.status.into(),
            minimum_tier: job.minimum_tier,
            is_device_named: job.is_device_named,
            device: address_of(job.device),
            model: hash_of(job.model),
            input_hash: hash_of(job.input_hash),
            unit_price: job.unit_price,
            unit_limit: job.unit_limit,
            escrow: job.escrow,
            bond: job.bond,
            deadline: job.deadline,
            receipt_digest: hash_of(job.receipt_digest),
            units_paid: job.units_paid,
        }
    }
}

impl From<&protocol::Channel> for Channel {
    fn from(channel: &protocol::Channel) -> Self {
        Self {
            payee: address_of(channel.payee),
            deposit: channel.deposit,
            paid: channel.paid,
            closing_time: channel.closing_time,
            status: channel.status.into(),
        }
    }
}

impl From<&protocol::Chain> for Chain {
    fn from(chain: &protocol::Chain) -> Self {
        Self {
            genesis_id: hash_of(chain.genesis_id),
            fee_recipient: address_of(chain.fee_recipient),
            base_fee_max: chain.base_fee_max,
            gas_table_version: chain.gas_table_version,
            leaf_count: chain.leaf_count,
            withdrawal_count: chain.withdrawal_count,
            deposited: chain.deposited,
            withdrawn: chain.withdrawn,
            grace_seconds: chain.grace_seconds,
            channel_close_seconds: chain.channel_close_seconds,
        }
    }
}

impl From<&protocol::Object> for Object {
    fn from(object: &protocol::Object) -> Self {
        match object {
            protocol::Object::Account(account) => Self::Account(account.into()),
            protocol::Object::Device(device) => Self::Device(device.into()),
            protocol::Object::Job(job) => Self::Job(job.into()),
            protocol::Object::Channel(channel) => Self::Channel(channel.into()),
            protocol::Object::Chain(chain) => Self::Chain(chain.into()),
        }
    }
}

impl TryFrom<&Object> for protocol::Object {
    type Error = WireError;

    fn try_from(object: &Object) -> Result<Self, WireError> {
        let part = |field, part, whole| match part <= whole {
            true => Ok(part),
            false => Err(WireError::PartExceedsWhole { field, part, whole }),
        };
        Ok(match object {
            Object::Account(account) => {
                Self::Account(protocol::Account { nonce: account.nonce, balance: amount("balance", account.balance)? })
            }
            Object::Device(device) => {
                let stake = amount("stake", device.stake)?;
                Self::Device(protocol::Device {
                    owner: protocol_address(device.owner),
                    payout: protocol_address(device.payout),
                    stake,
                    bonded: part("bonded", device.bonded, stake)?,
                    class: device.class,
                    tier: device.tier,
                    tier_expiry: device.tier_expiry,
                    units_served: device.units_served,
                    status: device.status.into(),
                })
            }
            Object::Job(job) => Self::Job(job.try_into()?),
            Object::Channel(channel) => {
                let deposit = amount("deposit", channel.deposit)?;
                Self::Channel(protocol::Channel {
                    payee: protocol_address(channel.payee),
                    deposit,
                    paid: part("paid", channel.paid, deposit)?,
                    closing_time: channel.closing_time,
                    status: channel.status.into(),
                })
            }
            Object::Chain(chain) => Self::Chain(protocol::Chain {
                genesis_id: protocol_hash(chain.genesis_id),
                fee_recipient: protocol_address(chain.fee_recipient),
                base_fee_max: chain.base_fee_max,
                gas_table_version: chain.gas_table_version,
                leaf_count: chain.leaf_count,
                withdrawal_count: chain.withdrawal_count,
                deposited: amount("deposited", chain.deposited)?,
                withdrawn: amount("withdrawn", chain.withdrawn)?,
                grace_seconds: chain.grace_seconds,
                channel_close_seconds: chain.channel_close_seconds,
            }),
        })
    }
}

impl TryFrom<&Job> for protocol::Job {
    type Error = WireError;

    fn try_from(job: &Job) -> Result<Self, WireError> {
        Ok(Self {
            status: job.status.into(),
            minimum_tier: job.minimum_tier,
            is_device_named: job.is_device_named,
            device: protocol_address(job.device),
            model: protocol_hash(job.model),
            input_hash: protocol_hash(job.input_hash),
            unit_price: amount("unitPrice", job.unit_price)?,
            unit_limit: job.unit_limit,
            escrow: amount("escrow", job.escrow)?,
            bond: amount("bond", job.bond)?,
            deadline: job.deadline,
            receipt_digest: protocol_hash(job.receipt_digest),
            units_paid: job.units_paid,
        })
    }
}
