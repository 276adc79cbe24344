//! Protocol types to and from what the contracts take.

use alloy::primitives::{Address, B256, Bytes};
use joule_protocol as protocol;
use thiserror::Error;

use crate::{Bridge, Escape, Rollup};

/// A state root from L1 that is no digest. The contracts refuse such a root, so only something that is not Joule's rollup has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the state root {root} has a word that is not below the Goldilocks prime")]
pub struct WrongDigest {
    /// The root.
    pub root: B256,
}

fn hash(hash: protocol::Hash) -> B256 {
    B256::new(hash.0)
}

fn address(address: protocol::Address) -> Address {
    Address::new(address.0)
}

/// The same struct is one Rust type for each contract whose ABI names it.
macro_rules! checkpoints {
    ($($contract:ident),*) => {$(
        impl From<&protocol::Checkpoint> for $contract::Checkpoint {
            fn from(checkpoint: &protocol::Checkpoint) -> Self {
                Self {
                    protocolVersion: checkpoint.protocol_version,
                    stateRoot: hash(checkpoint.state_root.to_hash()),
                    blockNumber: checkpoint.block_number,
                    blockHash: hash(checkpoint.block_hash),
                    timestamp: checkpoint.timestamp,
                    priorityCount: checkpoint.priority_count,
                    priorityAcc: hash(checkpoint.priority_acc.0),
                    messageAcc: hash(checkpoint.message_acc.0),
                    dataAcc: hash(checkpoint.data_acc.0),
                }
            }
        }

        impl TryFrom<&$contract::Checkpoint> for protocol::Checkpoint {
            type Error = WrongDigest;

            fn try_from(checkpoint: &$contract::Checkpoint) -> Result<Self, WrongDigest> {
                let state_root = protocol::Digest::from_hash(protocol::Hash(checkpoint.stateRoot.0))
                    .map_err(|_| WrongDigest { root: checkpoint.stateRoot })?;
                Ok(Self {
                    protocol_version: checkpoint.protocolVersion,
                    state_root,
                    block_number: checkpoint.blockNumber,
                    block_hash: protocol::Hash(checkpoint.blockHash.0),
                    timestamp: checkpoint.timestamp,
                    priority_count: checkpoint.priorityCount,
                    priority_acc: protocol::Accumulator(protocol::Hash(checkpoint.priorityAcc.0)),
                    message_acc: protocol::Accumulator(protocol::Hash(checkpoint.messageAcc.0)),
                    data_acc: protocol::Accumulator(protocol::Hash(checkpoint.dataAcc.0)),
                })
            }
        }
    )*};
}

macro_rules! requests {
    ($($contract:ident),*) => {$(
        impl From<&protocol::PriorityRequest> for $contract::PriorityRequest {
            fn from(request: &protocol::PriorityRequest) -> Self {
                Self {
                    kind: request.kind,
                    sender: address(request.sender),
                    to: address(request.to),
                    amount: request.amount,
                    timestamp: request.timestamp,
                    data: Bytes::copy_from_slice(&request.data),
                }
            }
        }

        impl From<&$contract::PriorityRequest> for protocol::PriorityRequest {
            fn from(request: &$contract::PriorityRequest) -> Self {
                Self {
                    kind: request.kind,
                    sender: protocol::Address(request.sender.into_array()),
                    to: protocol::Address(request.to.into_array()),
                    amount: request.amount,
                    timestamp: request.timestamp,
                    data: request.data.to_vec(),
                }
            }
        }
    )*};
}

macro_rules! withdrawals {
    ($($contract:ident),*) => {$(
        impl $contract::Withdrawal {
            /// Withdrawal number `index` of `amount` to `recipient`.
            pub fn new(index: u64, recipient: protocol::Address, amount: protocol::Amount) -> Self {
                Self { index, recipient: address(recipient), amount }
            }
        }
    )*};
}

macro_rules! objects {
    ($($contract:ident),*) => {$(
        impl From<&protocol::Account> for $contract::Account {
            fn from(account: &protocol::Account) -> Self {
                Self { nonce: account.nonce, balance: account.balance }
            }
        }

        impl From<&protocol::Device> for $contract::Device {
            fn from(device: &protocol::Device) -> Self {
                Self {
                    owner: address(device.owner),
                    payout: address(device.payout),
                    stake: device.stake,
                    bonded: device.bonded,
                    class: device.class,
                    tier: device.tier,
                    tierExpiry: device.tier_expiry,
                    unitsServed: device.units_served,
                    status: device.status as u32,
                }
            }
        }

        impl From<&protocol::Job> for $contract::Job {
            fn from(job: &protocol::Job) -> Self {
                Self {
                    status: job.status as u32,
                    minimumTier: job.minimum_tier,
                    isDeviceNamed: job.is_device_named,
                    device: address(job.device),
                    model: hash(job.model),
                    inputHash: hash(job.input_hash),
                    unitPrice: job.unit_price,
                    unitLimit: job.unit_limit,
                    escrow: job.escrow,
                    bond: job.bond,
                    deadline: job.deadline,
                    receiptDigest: hash(job.receipt_digest),
                    unitsPaid: job.units_paid,
                }
            }
        }

        impl From<&protocol::Channel> for $contract::Channel {
            fn from(channel: &protocol::Channel) -> Self {
                Self {
                    payee: address(channel.payee),
                    deposit: channel.deposit,
                    paid: channel.paid,
                    closingTime: channel.closing_time,
                    status: channel.status as u32,
                }
            }
        }

        impl From<&protocol::ComputeReceipt> for $contract::ComputeReceipt {
            fn from(receipt: &protocol::ComputeReceipt) -> Self {
                Self {
                    client: address(receipt.client),
                    clientNonce: receipt.client_nonce,
                    device: address(receipt.device),
                    model: hash(receipt.model),
                    runtime: hash(receipt.runtime),
                    inputHash: hash(receipt.input_hash),
                    outputHash: hash(receipt.output_hash),
                    units: receipt.units,
                    unitPrice: receipt.unit_price,
                    startedAt: receipt.started_at,
                    finishedAt: receipt.finished_at,
                    tier: receipt.tier,
                    evidence: hash(receipt.evidence),
                }
            }
        }

        impl From<&protocol::Voucher> for $contract::Voucher {
            fn from(voucher: &protocol::Voucher) -> Self {
                Self {
                    client: address(voucher.client),
                    clientNonce: voucher.client_nonce,
                    payee: address(voucher.payee),
                    cumulative: voucher.cumulative,
                }
            }
        }

        impl $contract::Opening {
            /// The leaf at `position`, followed in the sorted list by `next`, with its siblings from the bottom up to a node L1 knows.
            pub fn new(position: u32, next: &protocol::Key, siblings: impl IntoIterator<Item = protocol::Digest>) -> Self {
                Self {
                    position,
                    nextKey: B256::new(next.to_bytes()),
                    siblings: siblings.into_iter().map(|digest| hash(digest.to_hash())).collect(),
                }
            }
        }
    )*};
}

checkpoints!(Rollup, Escape);
requests!(Rollup, Escape);
withdrawals!(Rollup, Bridge);
objects!(Escape);

#[cfg(feature = "testing")]
mod probe {
    use super::*;
    use crate::Probe;
    checkpoints!(Probe);
    requests!(Probe);
    withdrawals!(Probe);
    objects!(Probe);
}
