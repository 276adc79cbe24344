//! The two ways a transaction fails that are not the chain's fault.
//!
//! *Refused*: the node does not take it, no block holds it, nothing is charged. *Rejected*: the envelope is good and the action is not; the
//! transaction is included, its nonce used, its fee charged, and the proof covers the reason. (*Aborted*, the third, has no proof and lives in the kernel.)

use alloc::{format, string::String, vec::Vec};

use thiserror::Error;

use crate::{
    Address, Amount, Hash, Hashing,
    limits::{JOB_DEADLINE_SECONDS_MAX, TRANSACTION_BYTES_MAX},
};

/// Who has to act on an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nobody: it is a matter of time or of others' transactions; trying again may work.
    Nobody,
    /// Whoever signed and sent it.
    Sender,
    /// The operator or this software.
    Us,
}

/// Why the node will not take a transaction. A block that contains such a transaction has no proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[repr(u16)]
pub enum Refusal {
    /// More bytes than a transaction may have.
    #[error("the transaction has {got} bytes; the limit is {TRANSACTION_BYTES_MAX}")]
    TransactionTooLong {
        /// Bytes received.
        got: usize,
    } = 1,
    /// Bytes that are no strictly encoded transaction.
    #[error("the transaction is malformed: {reason}")]
    MalformedEnvelope {
        /// What is wrong.
        reason: &'static str,
    } = 2,
    /// A transaction type other than legacy and EIP-1559.
    #[error("transaction type {got} is not supported; send type 2 (EIP-1559) or legacy with EIP-155")]
    UnsupportedType {
        /// The EIP-2718 type byte.
        got: u8,
    } = 3,
    /// A legacy signature that is good on every chain.
    #[error("the legacy transaction is not bound to a chain; sign it with EIP-155")]
    MissingReplayProtection = 4,
    /// An access list, which nothing here would use.
    #[error("the access list must be empty: accounts have no storage here")]
    AccessListNotEmpty = 5,
    /// No recipient.
    #[error("contracts cannot be created on this chain; set a recipient")]
    ContractCreation = 6,
    /// A value of 2^120 or more.
    #[error("the value {got} is not below 2^120")]
    ValueTooLarge {
        /// The value, big-endian.
        got: Hash,
    } = 7,
    /// The tip exceeds the most the sender says it pays.
    #[error("maxPriorityFeePerGas {tip} exceeds maxFeePerGas {maximum}")]
    TipAboveMaximum {
        /// maxPriorityFeePerGas.
        tip: u128,
        /// maxFeePerGas.
        maximum: u128,
    } = 8,
    /// r, s or v out of range.
    #[error("the signature is invalid: {reason} (v = {v})")]
    BadSignature {
        /// What is wrong.
        reason: &'static str,
        /// v or the y parity as received.
        v: u64,
    } = 9,
    /// In range, but no key makes it.
    #[error("the signature recovers to no public key")]
    SignerNotRecovered = 10,
    /// Signed for another chain.
    #[error("the transaction is signed for chain {got}; this is chain {expected}")]
    WrongChain {
        /// Chain id in the transaction.
        got: u64,
        /// Chain id here.
        expected: u64,
    } = 11,
    /// Already used.
    #[error("nonce too low: the transaction has {got}, the account is at {expected}")]
    NonceTooLow {
        /// Nonce in the transaction.
        got: u64,
        /// The account's nonce.
        expected: u64,
    } = 12,
    /// Not yet usable.
    #[error("nonce too high: the transaction has {got}, the account is at {expected}")]
    NonceTooHigh {
        /// Nonce in the transaction.
        got: u64,
        /// The account's nonce.
        expected: u64,
    } = 13,
    /// EIP-2681: the account can send nothing more.
    #[error("the account has used all of its nonces")]
    NonceExhausted = 14,
    /// Less gas than the call's fixed price.
    #[error("gas limit too low: this call costs exactly {need} gas, the transaction allows {got}")]
    GasLimitTooLow {
        /// Gas limit in the transaction.
        got: u64,
        /// Gas the call costs.
        need: u64,
    } = 15,
    /// Pays less than the base fee.
    #[error("fee too low: maxFeePerGas is {got}, the base fee is {base_fee}")]
    FeeBelowBase {
        /// maxFeePerGas or gas price.
        got: u128,
        /// The block's base fee.
        base_fee: u64,
    } = 16,
    /// Cannot pay value and fee.
    #[error("insufficient funds: value and fee come to {need}, the account has {have}")]
    InsufficientFunds {
        /// The balance.
        have: Amount,
        /// Value plus fee.
        need: Amount,
    } = 17,
    /// Calldata for an address without code.
    #[error("{to} is no system contract: a transfer to it must have empty data")]
    UnknownContract {
        /// The recipient.
        to: Address,
    } = 18,
}

impl Refusal {
    /// How many refusals there are; codes are 1 ..= this.
    pub const COUNT: u16 = 18;

    /// The stable number of the refusal.
    pub fn code(&self) -> u16 {
        match self {
            Self::TransactionTooLong { .. } => 1,
            Self::MalformedEnvelope { .. } => 2,
            Self::UnsupportedType { .. } => 3,
            Self::MissingReplayProtection => 4,
            Self::AccessListNotEmpty => 5,
            Self::ContractCreation => 6,
            Self::ValueTooLarge { .. } => 7,
            Self::TipAboveMaximum { .. } => 8,
            Self::BadSignature { .. } => 9,
            Self::SignerNotRecovered => 10,
            Self::WrongChain { .. } => 11,
            Self::NonceTooLow { .. } => 12,
            Self::NonceTooHigh { .. } => 13,
            Self::NonceExhausted => 14,
            Self::GasLimitTooLow { .. } => 15,
            Self::FeeBelowBase { .. } => 16,
            Self::InsufficientFunds { .. } => 17,
            Self::UnknownContract { .. } => 18,
        }
    }

    /// Who has to act.
    pub fn fault(&self) -> Fault {
        match self {
            Self::NonceTooHigh { .. } | Self::FeeBelowBase { .. } | Self::InsufficientFunds { .. } => Fault::Nobody,
            Self::TransactionTooLong { .. }
            | Self::MalformedEnvelope { .. }
            | Self::UnsupportedType { .. }
            | Self::MissingReplayProtection
            | Self::AccessListNotEmpty
            | Self::ContractCreation
            | Self::ValueTooLarge { .. }
            | Self::TipAboveMaximum { .. }
            | Self::BadSignature { .. }
            | Self::SignerNotRecovered
            | Self::WrongChain { .. }
            | Self::NonceTooLow { .. }
            | Self::NonceExhausted
            | Self::GasLimitTooLow { .. }
            | Self::UnknownContract { .. } => Fault::Sender,
        }
    }
}

/// A field of a rejection as a Solidity custom error carries it.
trait AbiField {
    const TYPE: &'static str;
    fn word(&self) -> [u8; 32];
}

macro_rules! integer_fields {
    ($($rust:ty => $solidity:literal),*) => {$(
        impl AbiField for $rust {
            const TYPE: &'static str = $solidity;
            fn word(&self) -> [u8; 32] {
                let mut word = [0; 32];
                word[16..].copy_from_slice(&u128::from(*self).to_be_bytes());
                word
            }
        }
    )*};
}
integer_fields!(u8 => "uint8", u32 => "uint32", u64 => "uint64", u128 => "uint128");

impl AbiField for Address {
    const TYPE: &'static str = "address";
    fn word(&self) -> [u8; 32] {
        let mut word = [0; 32];
        word[12..].copy_from_slice(&self.0);
        word
    }
}

/// A number that is no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{got} is no outcome: 0 is applied, rejections have the codes of the book's chapter on outcomes")]
pub struct UnknownRejection {
    /// The number.
    pub got: u32,
}

/// A rejection as Solidity declares it, without the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CustomError {
    /// The number that outcomes carry.
    pub code: u32,
    /// The name.
    pub name: &'static str,
    /// The sentence, with its parameters in braces.
    pub sentence: &'static str,
    /// The parameters.
    pub parameters: &'static [ErrorParameter],
}

/// A parameter of a [`CustomError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorParameter {
    /// The Solidity type.
    pub solidity_type: &'static str,
    /// The name.
    pub name: &'static str,
    /// What it is.
    pub meaning: &'static str,
}

impl CustomError {
    /// What the selector is the hash of, as in `JobNotOpen(uint8)`.
    pub fn signature(&self) -> String {
        let types: Vec<&str> = self.parameters.iter().map(|parameter| parameter.solidity_type).collect();
        format!("{}({})", self.name, types.join(","))
    }
}

/// Declares the rejections once: code, name, sentence, values. Everything else about them follows.
macro_rules! rejections {
    ($( $code:literal $name:ident $sentence:literal { $( $field:ident : $type:ty = $meaning:literal ),* } )*) => {
        /// Why a well-formed transaction or request did nothing. The outcome is part of the proof; wallets see it as
        /// the Solidity custom error of the same name in `IRejections.sol`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
        pub enum Rejection { $(
            #[doc = $sentence]
            #[error($sentence)]
            $name { $( #[doc = $meaning] $field: $type ),* },
        )* }

        impl Rejection {
            /// Code and name of each rejection, by rising code.
            pub const ALL: &[(u32, &str)] = &[$( ($code, stringify!($name)) ),*];

            /// The number that outcomes in the batch data carry. 0 is "applied".
            pub fn code(&self) -> u32 {
                match self { $( Self::$name { .. } => $code, )* }
            }

            /// The custom error of each rejection, by rising code; `contracts/src/l2/IRejections.sol` declares the same.
            pub const CUSTOM_ERRORS: &[CustomError] = &[$( CustomError {
                code: $code,
                name: stringify!($name),
                sentence: $sentence,
                parameters: &[$( ErrorParameter {
                    solidity_type: <$type as AbiField>::TYPE,
                    name: stringify!($field),
                    meaning: $meaning,
                } ),*],
            } ),*];

            /// The name.
            pub fn name(&self) -> &'static str {
                match self { $( Self::$name { .. } => stringify!($name), )* }
            }

            /// ABI-encoded custom error: what `eth_call` returns as revert data.
            pub fn revert_data<H: Hashing>(&self) -> Vec<u8> {
                let mut data = H::keccak256(self.custom_error().signature().as_bytes()).0[..4].to_vec();
                match self { $( Self::$name { $( $field ),* } => { $( data.extend_from_slice(&$field.word()); )* } )* }
                data
            }
        }
    };
}

rejections! {
    1 UnknownSelector "no function of the system contract has the selector {selector:#010x}" { selector: u32 = "First four bytes of the calldata, big-endian; zero if there are fewer." }
    2 MalformedCall "the calldata of {selector:#010x} is not the strict ABI encoding of its arguments" { selector: u32 = "The function's selector." }
    3 UnknownContract "{to} is no system contract" { to: Address = "What a forced call names." }
    4 UnknownRequest "{kind} is no kind of priority request" { kind: u8 = "The kind L1 admitted." }
    5 InsufficientBalance "the caller has {have}, the action takes {need}" { have: u128 = "The balance.", need: u128 = "What the action takes." }
    6 WrongValue "the call must carry a value of {expected}, not {got}" { expected: u128 = "The value the call's arguments ask for.", got: u128 = "The transaction's value." }
    7 ZeroAmount "the amount must not be zero" {}
    8 ZeroAddress "the address must not be zero" {}
    9 AmountTooLarge "the amount is not below 2^120" {}
    10 BadSignature "the signature in the calldata is malformed or recovers to no key" {}
    11 WrongSigner "the signature is by {got}, not by {expected}" { expected: Address = "Who must sign.", got: Address = "Who signed." }
    20 JobNotFound "{client} has posted no job with nonce {nonce}" { client: Address = "The client named.", nonce: u64 = "The nonce named." }
    21 JobNotOpen "the job is not open (status {status})" { status: u8 = "The job's status." }
    22 JobNotClaimed "the job is not claimed (status {status})" { status: u8 = "The job's status." }
    23 JobFinished "the job is already settled, cancelled or expired (status {status})" { status: u8 = "The job's status." }
    24 DeadlinePassed "the deadline {deadline} is not after the block's time {now}" { deadline: u64 = "The job's deadline.", now: u64 = "The block's time." }
    25 DeadlineTooFar "the deadline {deadline} is more than {JOB_DEADLINE_SECONDS_MAX} seconds after the block's time {now}" { deadline: u64 = "The job's deadline.", now: u64 = "The block's time." }
    26 TierUnsupported "attestation tier {tier} is not known to this kernel" { tier: u8 = "The tier named." }
    27 TierTooLow "the job asks for attestation tier {need}, this is tier {have}" { need: u8 = "The job's minimum.", have: u8 = "The device's or receipt's tier." }
    28 WrongDevice "the job is for device {expected}, not {got}" { expected: Address = "The job's device.", got: Address = "The device named." }
    29 StakeTooLow "the job locks a bond of {need}, the device has {have} free" { need: u128 = "The job's bond.", have: u128 = "Stake that is not bonded." }
    30 WrongModel "the receipt is for another model than the job" {}
    31 WrongInput "the receipt is for another input than the job" {}
    32 WrongUnitPrice "the receipt names a unit price of {got}, the job {expected}" { expected: u128 = "The job's price.", got: u128 = "The receipt's price." }
    33 UnitsOverLimit "the receipt claims {units} units, the job allows {limit}" { units: u64 = "Units in the receipt.", limit: u64 = "The job's limit." }
    34 StartedAfterFinished "the receipt starts at {started} and finishes at {finished}" { started: u64 = "startedAt.", finished: u64 = "finishedAt." }
    35 FinishedInFuture "the receipt finishes at {finished}, after the block's time {now}" { finished: u64 = "finishedAt.", now: u64 = "The block's time." }
    36 FinishedAfterDeadline "the receipt finishes at {finished}, after the job's deadline {deadline}" { finished: u64 = "finishedAt.", deadline: u64 = "The job's deadline." }
    37 SettlementTooLate "the job could be settled until {until}; the block's time is {now}" { until: u64 = "Deadline plus grace.", now: u64 = "The block's time." }
    38 EvidenceNotEmpty "a tier 0 receipt carries no evidence: the field must be zero" {}
    39 ExpiryTooEarly "the job expires after {from}; the block's time is {now}" { from: u64 = "Deadline plus grace.", now: u64 = "The block's time." }
    40 DeviceNotFound "no device {device} is registered" { device: Address = "The device named." }
    41 DeviceExists "device {device} is already registered" { device: Address = "The device named." }
    42 NotDeviceOwner "{caller} does not own the device" { caller: Address = "Who called." }
    43 NotDeviceOperator "{caller} is neither owner nor payout account of the device" { caller: Address = "Who called." }
    44 DeviceRetired "the device is retired" {}
    45 DeviceNotRetired "the device must be retired first" {}
    46 StakeBonded "{bonded} of the device's stake is bonded to claimed jobs" { bonded: u128 = "The bonded part." }
    60 ChannelNotFound "{client} has opened no channel with nonce {nonce}" { client: Address = "The client named.", nonce: u64 = "The nonce named." }
    61 ChannelNotOpen "the channel is closing or closed (status {status})" { status: u8 = "The channel's status." }
    62 ChannelClosed "the channel is closed" {}
    63 WrongPayee "the voucher pays {got}, the channel {expected}" { expected: Address = "The channel's payee.", got: Address = "The voucher's payee." }
    64 VoucherNotIncreasing "the voucher's total {cumulative} is not above the {paid} already paid" { cumulative: u128 = "The voucher's total.", paid: u128 = "Paid so far." }
    65 VoucherOverDeposit "the voucher's total {cumulative} exceeds the deposit {deposit}" { cumulative: u128 = "The voucher's total.", deposit: u128 = "The channel's deposit." }
    66 ChannelNotClosing "the channel is not closing (status {status})" { status: u8 = "The channel's status." }
    67 FinaliseTooEarly "the channel may be finalised from {from}; the block's time is {now}" { from: u64 = "Its closing time.", now: u64 = "The block's time." }
    68 CloseNotForced "a channel is closed without its payee's consent only by a forced call through L1" {}
    69 ConsentExpired "the payee's consent was good until {deadline}; the block's time is {now}" { deadline: u64 = "The consent's deadline.", now: u64 = "The block's time." }
}

impl Rejection {
    /// The custom error it is shown as.
    pub fn custom_error(&self) -> &'static CustomError {
        Self::of_code(self.code()).expect("every rejection has its custom error")
    }

    fn of_code(code: u32) -> Option<&'static CustomError> {
        let place = Self::CUSTOM_ERRORS.binary_search_by_key(&code, |error| error.code);
        place.ok().map(|place| &Self::CUSTOM_ERRORS[place])
    }

    /// What an outcome in the batch data says: `None` for "applied", or why not.
    ///
    /// # Errors
    /// [`UnknownRejection`] for a number that no kernel writes.
    pub fn of_outcome(outcome: u32) -> Result<Option<&'static CustomError>, UnknownRejection> {
        match outcome {
            0 => Ok(None),
            got => Self::of_code(got).map(Some).ok_or(UnknownRejection { got }),
        }
    }

    /// Who has to act. A rejection is always somebody's request meeting a state it does not fit, never the operator's doing.
    pub fn fault(&self) -> Fault {
        match self {
            Self::ExpiryTooEarly { .. }
            | Self::FinaliseTooEarly { .. }
            | Self::FinishedInFuture { .. }
            | Self::JobNotOpen { .. }
            | Self::StakeBonded { .. } => Fault::Nobody,
            Self::UnknownSelector { .. }
            | Self::MalformedCall { .. }
            | Self::UnknownContract { .. }
            | Self::UnknownRequest { .. }
            | Self::InsufficientBalance { .. }
            | Self::WrongValue { .. }
            | Self::ZeroAmount {}
            | Self::ZeroAddress {}
            | Self::AmountTooLarge {}
            | Self::BadSignature {}
            | Self::WrongSigner { .. }
            | Self::JobNotFound { .. }
            | Self::JobNotClaimed { .. }
            | Self::JobFinished { .. }
            | Self::DeadlinePassed { .. }
            | Self::DeadlineTooFar { .. }
            | Self::TierUnsupported { .. }
            | Self::TierTooLow { .. }
            | Self::WrongDevice { .. }
            | Self::StakeTooLow { .. }
            | Self::WrongModel {}
            | Self::WrongInput {}
            | Self::WrongUnitPrice { .. }
            | Self::UnitsOverLimit { .. }
            | Self::StartedAfterFinished { .. }
            | Self::FinishedAfterDeadline { .. }
            | Self::SettlementTooLate { .. }
            | Self::EvidenceNotEmpty {}
            | Self::DeviceNotFound { .. }
            | Self::DeviceExists { .. }
            | Self::NotDeviceOwner { .. }
            | Self::NotDeviceOperator { .. }
            | Self::DeviceRetired {}
            | Self::DeviceNotRetired {}
            | Self::ChannelNotFound { .. }
            | Self::ChannelNotOpen { .. }
            | Self::ChannelClosed {}
            | Self::WrongPayee { .. }
            | Self::VoucherNotIncreasing { .. }
            | Self::VoucherOverDeposit { .. }
            | Self::ChannelNotClosing { .. }
            | Self::CloseNotForced {}
            | Self::ConsentExpired { .. } => Fault::Sender,
        }
    }
}
