//! The types of `joule_`, as JSON: field names as in the Solidity interfaces, integers of 64 and 128 bits as `0x` quantities and smaller ones as numbers,
//! hashes and addresses as `0x` bytes.

use alloy::primitives::{Address, B256, Bytes};
use joule_protocol as protocol;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// JSON that has the right shape and no meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WireError {
    /// A hash that must be a digest and is none.
    #[error("{field}: {source}")]
    Digest {
        /// The field.
        field: &'static str,
        /// Which word.
        source: protocol::NonCanonical,
    },
    /// An amount of 2^120 or more.
    #[error("{field} is {got}, which is not below 2^120")]
    Amount {
        /// The field.
        field: &'static str,
        /// The amount.
        got: u128,
    },
    /// A list of another length than the tree's depth.
    #[error("the path has {got} siblings, the state tree has {expected} levels")]
    PathLength {
        /// Siblings.
        got: usize,
        /// Levels.
        expected: usize,
    },
    /// A part larger than its whole.
    #[error("{field} is {part}, more than {whole}")]
    PartExceedsWhole {
        /// The part.
        field: &'static str,
        /// Its amount.
        part: u128,
        /// The whole's amount.
        whole: u128,
    },
    /// 65 bytes that are no signature in range.
    #[error("the signature must be r, s and v of 27 or 28, with s in the lower half")]
    Signature,
}

fn amount(field: &'static str, got: u128) -> Result<u128, WireError> {
    if got < protocol::limits::AMOUNT_MAX { Ok(got) } else { Err(WireError::Amount { field, got }) }
}

fn digest(field: &'static str, hash: B256) -> Result<protocol::Digest, WireError> {
    protocol::Digest::from_hash(protocol::Hash(hash.0)).map_err(|source| WireError::Digest { field, source })
}

/// An address of this project as alloy has it.
pub fn address_of(address: protocol::Address) -> Address {
    Address::new(address.0)
}

/// A hash of this project as alloy has it.
pub fn hash_of(hash: protocol::Hash) -> B256 {
    B256::new(hash.0)
}

/// An address of alloy as this project has it.
pub fn protocol_address(address: Address) -> protocol::Address {
    protocol::Address(address.into_array())
}

/// A hash of alloy as this project has it.
pub fn protocol_hash(hash: B256) -> protocol::Hash {
    protocol::Hash(hash.0)
}

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

/// An object with the name it has, in listings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed<T> {
    /// Device, or client of a job or channel.
    pub address: Address,
    /// The client's nonce, of jobs and channels.
    #[serde(with = "alloy::serde::quantity")]
    pub nonce: u64,
    /// The object.
    pub object: T,
}

/// One page of a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Page<T> {
    /// What was found, by address and nonce.
    pub items: Vec<Listed<T>>,
    /// Where the next page starts; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<Cursor>,
}

/// Where a listing goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cursor {
    /// First address.
    pub address: Address,
    /// First nonce of that address.
    #[serde(default, with = "alloy::serde::quantity")]
    pub nonce: u64,
}

/// What to list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Listing {
    /// Jobs or channels of this client alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<Address>,
    /// Jobs with this status alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<JobStatus>,
    /// Where to start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Cursor>,
    /// Most objects to return.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// A point of the chain's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Checkpoint {
    /// Version of the rules that led here.
    pub protocol_version: u32,
    /// Root of the state tree.
    pub state_root: B256,
    /// Number of the last block.
    #[serde(with = "alloy::serde::quantity")]
    pub block_number: u64,
    /// Its hash.
    pub block_hash: B256,
    /// Its time, unix seconds.
    #[serde(with = "alloy::serde::quantity")]
    pub timestamp: u64,
    /// Priority requests consumed.
    #[serde(with = "alloy::serde::quantity")]
    pub priority_count: u64,
    /// Accumulator over them.
    pub priority_acc: B256,
    /// Accumulator over withdrawals.
    pub message_acc: B256,
    /// Accumulator over batch data.
    pub data_acc: B256,
}

impl From<&protocol::Checkpoint> for Checkpoint {
    fn from(checkpoint: &protocol::Checkpoint) -> Self {
        Self {
            protocol_version: checkpoint.protocol_version,
            state_root: hash_of(checkpoint.state_root.to_hash()),
            block_number: checkpoint.block_number,
            block_hash: hash_of(checkpoint.block_hash),
            timestamp: checkpoint.timestamp,
            priority_count: checkpoint.priority_count,
            priority_acc: hash_of(checkpoint.priority_acc.0),
            message_acc: hash_of(checkpoint.message_acc.0),
            data_acc: hash_of(checkpoint.data_acc.0),
        }
    }
}

impl TryFrom<&Checkpoint> for protocol::Checkpoint {
    type Error = WireError;

    fn try_from(checkpoint: &Checkpoint) -> Result<Self, WireError> {
        Ok(Self {
            protocol_version: checkpoint.protocol_version,
            state_root: digest("stateRoot", checkpoint.state_root)?,
            block_number: checkpoint.block_number,
            block_hash: protocol_hash(checkpoint.block_hash),
            timestamp: checkpoint.timestamp,
            priority_count: checkpoint.priority_count,
            priority_acc: protocol::Accumulator(protocol_hash(checkpoint.priority_acc)),
            message_acc: protocol::Accumulator(protocol_hash(checkpoint.message_acc)),
            data_acc: protocol::Accumulator(protocol_hash(checkpoint.data_acc)),
        })
    }
}

/// A leaf's place in the tree, as the escape contract takes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Opening {
    /// Position of the leaf.
    pub position: u32,
    /// Its next key in the sorted list.
    pub next_key: B256,
    /// Siblings from the bottom to the root.
    pub siblings: Vec<B256>,
}

impl Opening {
    /// The siblings as digests.
    ///
    /// # Errors
    /// `PathLength`, and `Digest` for a sibling that is none.
    pub fn digests(&self) -> Result<[protocol::Digest; protocol::limits::TREE_DEPTH], WireError> {
        let digests = self.siblings.iter().map(|&sibling| digest("sibling", sibling)).collect::<Result<Vec<_>, _>>()?;
        digests
            .try_into()
            .map_err(|list: Vec<_>| WireError::PathLength { got: list.len(), expected: protocol::limits::TREE_DEPTH })
    }
}

/// What an object is, or that there is none, with the path that shows it. Of an object that exists, `object` and `opening` are what the escape
/// contract takes once L1 has frozen at `checkpoint`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StateProof {
    /// The key asked for.
    pub key: B256,
    /// The key of the proven leaf: the same, or of an absent object the greatest below it.
    pub leaf_key: B256,
    /// What the leaf holds; `null` for the sentinel.
    pub object: Option<Object>,
    /// Where it is.
    pub opening: Opening,
    /// The checkpoint whose state root the path ends in.
    pub checkpoint: Checkpoint,
    /// Its hash, as L1 stores it.
    pub checkpoint_hash: B256,
}

/// A worker's signed statement of what it ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ComputeReceipt {
    /// Who posted the job.
    pub client: Address,
    /// The nonce of the posting transaction.
    #[serde(with = "alloy::serde::quantity")]
    pub client_nonce: u64,
    /// The key that signs.
    pub device: Address,
    /// Commitment to weights and architecture.
    pub model: B256,
    /// Container or kernel build that ran it.
    pub runtime: B256,
    /// Hash of the input.
    pub input_hash: B256,
    /// Hash of the output.
    pub output_hash: B256,
    /// What is metered.
    #[serde(with = "alloy::serde::quantity")]
    pub units: u64,
    /// Price of one unit.
    #[serde(with = "alloy::serde::quantity")]
    pub unit_price: u128,
    /// Unix seconds.
    #[serde(with = "alloy::serde::quantity")]
    pub started_at: u64,
    /// Unix seconds.
    #[serde(with = "alloy::serde::quantity")]
    pub finished_at: u64,
    /// How the work is attested.
    pub tier: u8,
    /// Commitment to the evidence.
    pub evidence: B256,
}

impl From<&protocol::ComputeReceipt> for ComputeReceipt {
    fn from(receipt: &protocol::ComputeReceipt) -> Self {
        Self {
            client: address_of(receipt.client),
            client_nonce: receipt.client_nonce,
            device: address_of(receipt.device),
            model: hash_of(receipt.model),
            runtime: hash_of(receipt.runtime),
            input_hash: hash_of(receipt.input_hash),
            output_hash: hash_of(receipt.output_hash),
            units: receipt.units,
            unit_price: receipt.unit_price,
            started_at: receipt.started_at,
            finished_at: receipt.finished_at,
            tier: receipt.tier,
            evidence: hash_of(receipt.evidence),
        }
    }
}

impl From<&ComputeReceipt> for protocol::ComputeReceipt {
    fn from(receipt: &ComputeReceipt) -> Self {
        Self {
            client: protocol_address(receipt.client),
            client_nonce: receipt.client_nonce,
            device: protocol_address(receipt.device),
            model: protocol_hash(receipt.model),
            runtime: protocol_hash(receipt.runtime),
            input_hash: protocol_hash(receipt.input_hash),
            output_hash: protocol_hash(receipt.output_hash),
            units: receipt.units,
            unit_price: receipt.unit_price,
            started_at: receipt.started_at,
            finished_at: receipt.finished_at,
            tier: receipt.tier,
            evidence: protocol_hash(receipt.evidence),
        }
    }
}

/// Names the compute receipt that is asked for: by its job, or by the transaction that settled it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum ReceiptId {
    /// The settling transaction.
    Transaction {
        /// Its hash.
        #[serde(rename = "transactionHash")]
        transaction_hash: B256,
    },
    /// The job.
    Job {
        /// Who posted it.
        client: Address,
        /// With which nonce.
        #[serde(rename = "clientNonce", with = "alloy::serde::quantity")]
        client_nonce: u64,
    },
}

/// A compute receipt with everything that shows that it was paid: signature, job leaf, path, checkpoint. It verifies with nothing else but the
/// checkpoint hash that L1 stores.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReceiptBundle {
    /// The L2 chain id.
    #[serde(with = "alloy::serde::quantity")]
    pub chain_id: u64,
    /// Hash of the genesis configuration, the salt of the signature's domain.
    pub genesis_id: B256,
    /// The receipt.
    pub receipt: ComputeReceipt,
    /// The device's signature, r ‖ s ‖ v.
    pub signature: Bytes,
    /// The transaction that settled it.
    pub transaction_hash: B256,
    /// The block it is in.
    #[serde(with = "alloy::serde::quantity")]
    pub block_number: u64,
    /// Proof of the job, which stores the receipt's digest.
    pub job: StateProof,
    /// Whether `job.checkpoint` is executed on L1, as this node sees it.
    pub is_executed: bool,
}

/// A withdrawal with what `Bridge.claim` takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WithdrawalProof {
    /// The batch whose withdrawals it is among.
    #[serde(with = "alloy::serde::quantity")]
    pub batch_number: u64,
    /// Counts withdrawals from 0.
    #[serde(with = "alloy::serde::quantity")]
    pub index: u64,
    /// Who is paid on L1.
    pub recipient: Address,
    /// How much.
    #[serde(with = "alloy::serde::quantity")]
    pub amount: u128,
    /// Where it is among the batch's withdrawals.
    #[serde(with = "alloy::serde::quantity")]
    pub position: u64,
    /// Siblings from the bottom.
    pub siblings: Vec<B256>,
    /// Root that L1 stores when the batch is executed.
    pub root: B256,
    /// Whether it can be claimed: the batch is executed.
    pub is_claimable: bool,
}

/// How far a batch has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BatchStage {
    /// Closed here, not on L1.
    Sealed,
    /// Its data is certified or on L1, its commit is not.
    Published,
    /// Committed on L1.
    Committed,
    /// Proven on L1.
    Proven,
    /// Executed on L1: final.
    Executed,
}

/// A batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Batch {
    /// From 1.
    #[serde(with = "alloy::serde::quantity")]
    pub number: u64,
    /// How far it has come.
    pub stage: BatchStage,
    /// First block.
    #[serde(with = "alloy::serde::quantity")]
    pub first_block: u64,
    /// Last block.
    #[serde(with = "alloy::serde::quantity")]
    pub last_block: u64,
    /// Bytes of its data over all blocks.
    #[serde(with = "alloy::serde::quantity")]
    pub data_bytes: u64,
    /// Hash of the checkpoint it starts from.
    pub parent_checkpoint: B256,
    /// Where it leads.
    pub checkpoint: Checkpoint,
    /// Hash of that.
    pub checkpoint_hash: B256,
    /// The L1 transaction that brought it to its stage; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub l1_transaction: Option<B256>,
}

/// Where the contracts are on L1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct L1Contracts {
    /// `Rollup`.
    pub rollup: Address,
    /// `Bridge`.
    pub bridge: Address,
    /// `Escape`.
    pub escape: Address,
    /// `DataCommittee`.
    pub committee: Address,
}

/// What is fixed when the chain starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Genesis {
    /// Hash of the configuration, the salt of every EIP-712 domain.
    pub id: B256,
    /// The L2 chain id.
    #[serde(with = "alloy::serde::quantity")]
    pub chain_id: u64,
    /// The L1 that settles it.
    #[serde(with = "alloy::serde::quantity")]
    pub l1_chain_id: u64,
    /// The base token on L1; zero for ETH.
    pub base_token: Address,
    /// Who gets the fees.
    pub fee_recipient: Address,
    /// Highest base fee a block may name.
    #[serde(with = "alloy::serde::quantity")]
    pub base_fee_max: u64,
    /// Seconds after a job's deadline before it may expire.
    #[serde(with = "alloy::serde::quantity")]
    pub grace_seconds: u64,
    /// Seconds between closing and finalising a channel.
    #[serde(with = "alloy::serde::quantity")]
    pub channel_close_seconds: u64,
    /// Unix seconds.
    #[serde(with = "alloy::serde::quantity")]
    pub timestamp: u64,
    /// What makes it differ from another chain with the same numbers.
    pub salt: B256,
    /// Where the contracts are; absent for a chain that is not settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contracts: Option<L1Contracts>,
}

impl Genesis {
    /// From the configuration and where the contracts are.
    pub fn new(genesis: &protocol::Genesis, contracts: Option<L1Contracts>) -> Self {
        Self {
            id: hash_of(genesis.id::<protocol::Native>()),
            chain_id: genesis.chain_id,
            l1_chain_id: genesis.l1_chain_id,
            base_token: address_of(genesis.base_token),
            fee_recipient: address_of(genesis.fee_recipient),
            base_fee_max: genesis.base_fee_max,
            grace_seconds: genesis.grace_seconds,
            channel_close_seconds: genesis.channel_close_seconds,
            timestamp: genesis.timestamp,
            salt: hash_of(genesis.salt),
            contracts,
        }
    }
}

/// Progress of catching up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SyncStatus {
    /// Where this run began.
    #[serde(with = "alloy::serde::quantity")]
    pub starting_block: u64,
    /// Where it is.
    #[serde(with = "alloy::serde::quantity")]
    pub current_block: u64,
    /// Where it goes.
    #[serde(with = "alloy::serde::quantity")]
    pub highest_block: u64,
}

/// How data reaches L1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DataMode {
    /// The committee certifies it.
    Certified,
    /// It goes on L1 itself.
    OnL1,
}

/// A member of the committee as this node last saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommitteeMember {
    /// The key it signs with, as the contract names it.
    pub key: Bytes,
    /// Whether its last answer came in time and verified.
    pub is_healthy: bool,
    /// The last batch it signed; absent if none.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "alloy::serde::quantity::opt")]
    pub last_signed_batch: Option<u64>,
}

/// The committee as this node last saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommitteeStatus {
    /// Hash of the keyset in force.
    pub keyset_hash: B256,
    /// Signatures a certificate needs.
    pub quorum: u32,
    /// How data reaches L1 now.
    pub mode: DataMode,
    /// The members, in the keyset's order.
    pub members: Vec<CommitteeMember>,
}

/// The prover network as this node last saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProverStatus {
    /// Provers connected.
    pub provers: u32,
    /// Tasks that wait for a prover.
    pub tasks_waiting: u32,
    /// Tasks that a prover works on.
    pub tasks_leased: u32,
    /// The last batch with a whole proof; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "alloy::serde::quantity::opt")]
    pub last_proven_batch: Option<u64>,
}
