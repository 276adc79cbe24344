//! The objects the state tree holds, each with exactly one encoding.
//!
//! An object is a list of 32-bit words, every integer most significant word first. Those words are what is hashed; written
//! big-endian they are the bytes in the batch data. Decoding refuses what no kernel writes (an unknown status, a
//! flag that is neither 0 nor 1, an amount ≥ 2^120), so one state has one encoding.

use thiserror::Error;

use crate::{
    Address, Amount, Digest, Hash, Hashing, Key, Kind, Tag, Truncated, limits::AMOUNT_MAX, reader::WordReader,
};

/// Bytes or words that are no object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ObjectError {
    /// No object has this kind.
    #[error("{got} is no kind of object; kinds are 1 (account) to 5 (chain)")]
    UnknownKind {
        /// The number found.
        got: u32,
    },
    /// A status, flag or tier outside its range.
    #[error("field `{field}` cannot be {got}")]
    OutOfRange {
        /// The field.
        field: &'static str,
        /// The number found.
        got: u32,
    },
    /// An amount that no kernel stores.
    #[error("field `{field}` is {got}, which is not below 2^120")]
    AmountTooLarge {
        /// The field.
        field: &'static str,
        /// The amount found.
        got: Amount,
    },
    /// A part of an amount that is larger than the amount.
    #[error("field `{field}` is {part}, more than the {whole} it is a part of")]
    PartExceedsWhole {
        /// The field.
        field: &'static str,
        /// The part.
        part: Amount,
        /// The whole.
        whole: Amount,
    },
    /// Fewer words than the kind has.
    #[error(transparent)]
    Truncated(#[from] Truncated),
    /// More words than the kind has.
    #[error("{got} words follow the end of the object")]
    Trailing {
        /// Words left over.
        got: usize,
    },
}

/// An object's words, without an allocation: the machine pays for each byte it moves.
struct Words<const N: usize> {
    words: [u32; N],
    length: usize,
}

impl<const N: usize> Words<N> {
    const fn new() -> Self {
        Self { words: [0; N], length: 0 }
    }

    fn u32(&mut self, value: u32) -> &mut Self {
        self.words[self.length] = value;
        self.length += 1;
        self
    }

    fn u64(&mut self, value: u64) -> &mut Self {
        self.u32((value >> 32) as u32).u32(value as u32)
    }

    fn u128(&mut self, value: u128) -> &mut Self {
        self.u64((value >> 64) as u64).u64(value as u64)
    }

    fn all<const COUNT: usize>(&mut self, words: [u32; COUNT]) -> &mut Self {
        self.words[self.length..self.length + COUNT].copy_from_slice(&words);
        self.length += COUNT;
        self
    }

    fn address(&mut self, address: &Address) -> &mut Self {
        self.all(address.integer_words())
    }

    fn hash(&mut self, hash: &Hash) -> &mut Self {
        self.all(hash.integer_words())
    }

    fn finish(&self) -> &[u32] {
        debug_assert_eq!(self.length, N, "an object fills its words");
        &self.words
    }
}

fn amount(reader: &mut WordReader<'_>, field: &'static str) -> Result<Amount, ObjectError> {
    match reader.u128()? {
        got if got >= AMOUNT_MAX => Err(ObjectError::AmountTooLarge { field, got }),
        value => Ok(value),
    }
}

fn byte(reader: &mut WordReader<'_>, field: &'static str) -> Result<u8, ObjectError> {
    let got = reader.u32()?;
    u8::try_from(got).map_err(|_| ObjectError::OutOfRange { field, got })
}

fn flag(reader: &mut WordReader<'_>, field: &'static str) -> Result<bool, ObjectError> {
    match reader.u32()? {
        0 => Ok(false),
        1 => Ok(true),
        got => Err(ObjectError::OutOfRange { field, got }),
    }
}

/// A wallet: 6 words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Transactions executed so far, forced calls included.
    pub nonce: u64,
    /// Spendable base token.
    pub balance: Amount,
}

/// Where a device is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum DeviceStatus {
    /// Takes jobs.
    Active = 1,
    /// Takes no new jobs; its stake leaves when nothing is bonded. Final.
    Retired = 2,
}

/// A worker's registered signing key: 27 words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// Who registered it and gets its stake back.
    pub owner: Address,
    /// Who is paid for its receipts.
    pub payout: Address,
    /// Base token at stake, bonds included.
    pub stake: Amount,
    /// The part of the stake that open claims lock.
    pub bonded: Amount,
    /// Hardware class as the owner declares it; informs clients and binds nothing.
    pub class: u32,
    /// Highest attestation tier that evidence has shown; never set by the owner.
    pub tier: u8,
    /// When that evidence expires, unix seconds; 0 for tier 0.
    pub tier_expiry: u64,
    /// Units paid for so far, over all jobs.
    pub units_served: u128,
    /// Active or retired.
    pub status: DeviceStatus,
}

/// Where a job is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum JobStatus {
    /// Posted, not claimed.
    Open = 1,
    /// A device has claimed it and its bond is locked.
    Claimed = 2,
    /// A compute receipt was paid. Final.
    Settled = 3,
    /// The client took it back before a claim. Final.
    Cancelled = 4,
    /// Nobody delivered in time. Final.
    Expired = 5,
}

/// A job and its escrow: 50 words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// Where it is in its life.
    pub status: JobStatus,
    /// The lowest attestation tier whose receipt may settle it.
    pub minimum_tier: u8,
    /// Whether the client named the device; otherwise `device` is zero while the job is open.
    pub is_device_named: bool,
    /// The named or claiming device.
    pub device: Address,
    /// Commitment to weights and architecture.
    pub model: Hash,
    /// Hash of the input.
    pub input_hash: Hash,
    /// Price of one unit.
    pub unit_price: Amount,
    /// Most units the client pays for.
    pub unit_limit: u64,
    /// What the chain holds for it; zero once it is settled, cancelled or expired.
    pub escrow: Amount,
    /// Stake that a claim locks and that goes to the client if the job expires claimed.
    pub bond: Amount,
    /// The latest `finishedAt` that is paid, unix seconds.
    pub deadline: u64,
    /// EIP-712 digest of the receipt that settled it; zero before.
    pub receipt_digest: Hash,
    /// Units paid; zero before.
    pub units_paid: u64,
}

/// Where a channel is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ChannelStatus {
    /// Vouchers redeem.
    Open = 1,
    /// The client asked to close; vouchers redeem until it is finalised.
    Closing = 2,
    /// The rest went back to the client. Final.
    Closed = 3,
}

/// A payment channel: 16 words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channel {
    /// Who redeems vouchers.
    pub payee: Address,
    /// Base token put in, over the channel's life.
    pub deposit: Amount,
    /// Base token paid out to the payee so far. `deposit − paid` is what the chain holds while it is not closed.
    pub paid: Amount,
    /// From when it may be finalised, unix seconds; 0 while it is open.
    pub closing_time: u64,
    /// Where it is in its life.
    pub status: ChannelStatus,
}

/// The chain's own numbers: 32 words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Hash of the genesis configuration; the salt of every EIP-712 domain.
    pub genesis_id: Hash,
    /// Who gets the fees.
    pub fee_recipient: Address,
    /// Highest base fee a block may name, per unit of gas.
    pub base_fee_max: u64,
    /// Which gas table is in force.
    pub gas_table_version: u32,
    /// Leaves in the tree, sentinel and this one included.
    pub leaf_count: u64,
    /// Withdrawals so far; the next one's index.
    pub withdrawal_count: u64,
    /// Base token ever credited from L1.
    pub deposited: Amount,
    /// Base token ever withdrawn to L1.
    pub withdrawn: Amount,
    /// Seconds after a job's deadline before it may expire.
    pub grace_seconds: u64,
    /// Seconds between `closeChannel` and `finaliseChannel`.
    pub channel_close_seconds: u64,
}

/// Anything the tree holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "objects live on the stack: the proven image pays for an allocation too")]
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

impl Object {
    /// Words of the longest object, a job.
    pub const WORDS_MAX: usize = 50;

    /// What kind of key it lives under.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Account(_) => Kind::Account,
            Self::Device(_) => Kind::Device,
            Self::Job(_) => Kind::Job,
            Self::Channel(_) => Kind::Channel,
            Self::Chain(_) => Kind::Chain,
        }
    }

    /// What of the base token this object holds, for the sum that [`Chain`] accounts for.
    pub fn money(&self) -> Amount {
        match self {
            Self::Account(account) => account.balance,
            Self::Device(device) => device.stake,
            Self::Job(job) => job.escrow,
            Self::Channel(channel) if channel.status == ChannelStatus::Closed => 0,
            Self::Channel(channel) => channel.deposit - channel.paid,
            Self::Chain(_) => 0,
        }
    }

    /// Calls `with` on the object's words.
    pub fn with_words<T>(&self, with: impl FnOnce(&[u32]) -> T) -> T {
        match self {
            Self::Account(account) => with(Words::<6>::new().u64(account.nonce).u128(account.balance).finish()),
            Self::Device(device) => with(
                Words::<27>::new()
                    .address(&device.owner)
                    .address(&device.payout)
                    .u128(device.stake)
                    .u128(device.bonded)
                    .u32(device.class)
                    .u32(device.tier.into())
                    .u64(device.tier_expiry)
                    .u128(device.units_served)
                    .u32(device.status as u32)
                    .finish(),
            ),
            Self::Job(job) => with(
                Words::<50>::new()
                    .u32(job.status as u32)
                    .u32(job.minimum_tier.into())
                    .u32(job.is_device_named.into())
                    .address(&job.device)
                    .hash(&job.model)
                    .hash(&job.input_hash)
                    .u128(job.unit_price)
                    .u64(job.unit_limit)
                    .u128(job.escrow)
                    .u128(job.bond)
                    .u64(job.deadline)
                    .hash(&job.receipt_digest)
                    .u64(job.units_paid)
                    .finish(),
            ),
            Self::Channel(channel) => with(
                Words::<16>::new()
                    .address(&channel.payee)
                    .u128(channel.deposit)
                    .u128(channel.paid)
                    .u64(channel.closing_time)
                    .u32(channel.status as u32)
                    .finish(),
            ),
            Self::Chain(chain) => with(
                Words::<32>::new()
                    .hash(&chain.genesis_id)
                    .address(&chain.fee_recipient)
                    .u64(chain.base_fee_max)
                    .u32(chain.gas_table_version)
                    .u64(chain.leaf_count)
                    .u64(chain.withdrawal_count)
                    .u128(chain.deposited)
                    .u128(chain.withdrawn)
                    .u64(chain.grace_seconds)
                    .u64(chain.channel_close_seconds)
                    .finish(),
            ),
        }
    }

    /// Words an object of `kind` has.
    pub fn words_of(kind: Kind) -> usize {
        match kind {
            Kind::Account => 6,
            Kind::Device => 27,
            Kind::Job => 50,
            Kind::Channel => 16,
            Kind::Chain => 32,
        }
    }

    /// The inverse of [`Object::with_words`].
    pub fn from_words(kind: Kind, words: &[u32]) -> Result<Self, ObjectError> {
        let mut reader = WordReader(words);
        let read = &mut reader;
        let object = match kind {
            Kind::Account => Self::Account(Account { nonce: read.u64()?, balance: amount(read, "balance")? }),
            Kind::Device => Self::Device(Device {
                owner: read.address()?,
                payout: read.address()?,
                stake: amount(read, "stake")?,
                bonded: amount(read, "bonded")?,
                class: read.u32()?,
                tier: byte(read, "tier")?,
                tier_expiry: read.u64()?,
                units_served: read.u128()?,
                status: match read.u32()? {
                    1 => DeviceStatus::Active,
                    2 => DeviceStatus::Retired,
                    got => return Err(ObjectError::OutOfRange { field: "device status", got }),
                },
            }),
            Kind::Job => Self::Job(Job {
                status: match read.u32()? {
                    1 => JobStatus::Open,
                    2 => JobStatus::Claimed,
                    3 => JobStatus::Settled,
                    4 => JobStatus::Cancelled,
                    5 => JobStatus::Expired,
                    got => return Err(ObjectError::OutOfRange { field: "job status", got }),
                },
                minimum_tier: byte(read, "minimum tier")?,
                is_device_named: flag(read, "is device named")?,
                device: read.address()?,
                model: read.hash()?,
                input_hash: read.hash()?,
                unit_price: amount(read, "unit price")?,
                unit_limit: read.u64()?,
                escrow: amount(read, "escrow")?,
                bond: amount(read, "bond")?,
                deadline: read.u64()?,
                receipt_digest: read.hash()?,
                units_paid: read.u64()?,
            }),
            Kind::Channel => Self::Channel(Channel {
                payee: read.address()?,
                deposit: amount(read, "deposit")?,
                paid: amount(read, "paid")?,
                closing_time: read.u64()?,
                status: match read.u32()? {
                    1 => ChannelStatus::Open,
                    2 => ChannelStatus::Closing,
                    3 => ChannelStatus::Closed,
                    got => return Err(ObjectError::OutOfRange { field: "channel status", got }),
                },
            }),
            Kind::Chain => Self::Chain(Chain {
                genesis_id: read.hash()?,
                fee_recipient: read.address()?,
                base_fee_max: read.u64()?,
                gas_table_version: read.u32()?,
                leaf_count: read.u64()?,
                withdrawal_count: read.u64()?,
                deposited: amount(read, "deposited")?,
                withdrawn: amount(read, "withdrawn")?,
                grace_seconds: read.u64()?,
                channel_close_seconds: read.u64()?,
            }),
        };
        match object {
            Object::Device(Device { stake, bonded, .. }) if bonded > stake => {
                return Err(ObjectError::PartExceedsWhole { field: "bonded", part: bonded, whole: stake });
            }
            Object::Channel(Channel { deposit, paid, .. }) if paid > deposit => {
                return Err(ObjectError::PartExceedsWhole { field: "paid", part: paid, whole: deposit });
            }
            _ => {}
        }
        match reader.0.len() {
            0 => Ok(object),
            got => Err(ObjectError::Trailing { got }),
        }
    }

    /// The value digest a leaf commits to.
    pub fn digest<H: Hashing>(&self) -> Digest {
        self.with_words(|words| H::hash_words(Tag::Value, words))
    }
}

/// The digest of a leaf: its key, the next key in the sorted list, and its value's digest.
pub fn leaf_digest<H: Hashing>(key: &Key, next: &Key, value: Digest) -> Digest {
    let mut words = [0; 24];
    words[..8].copy_from_slice(key.words());
    words[8..16].copy_from_slice(next.words());
    words[16..].copy_from_slice(&value.to_words());
    H::hash_words(Tag::Leaf, &words)
}
