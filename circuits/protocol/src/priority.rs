//! Requests that L1 puts into L2: nobody can keep them out.

use alloc::vec::Vec;

use thiserror::Error;

use crate::{Address, Amount, limits::PRIORITY_DATA_BYTES_MAX, reader::ByteReader};

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PriorityKind {
    /// Credit an account with what was deposited on L1. Cannot fail.
    Deposit = 1,
    /// Withdraw from the L1 caller's account.
    ForcedWithdrawal = 2,
    /// Call a system contract as the L1 caller.
    ForcedCall = 3,
}

/// A request as L1 stores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriorityRequest {
    /// What is asked. Kept as L1's byte, because the kernel must have an outcome for each byte L1 could ever admit.
    pub kind: u8,
    /// The L1 caller.
    pub sender: Address,
    /// Credited account, L1 recipient or system contract.
    pub to: Address,
    /// Deposited, withdrawn or sent with the call.
    pub amount: Amount,
    /// Time of the L1 block, unix seconds.
    pub timestamp: u64,
    /// Calldata of a forced call.
    pub data: Vec<u8>,
}

/// Bytes that are no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PriorityError {
    /// Shorter than the fixed part.
    #[error(transparent)]
    Truncated(#[from] crate::Truncated),
    /// Longer than L1 admits.
    #[error("calldata of {got} bytes exceeds the {PRIORITY_DATA_BYTES_MAX} that L1 admits")]
    DataTooLong {
        /// Bytes of calldata.
        got: usize,
    },
}

impl PriorityRequest {
    /// Bytes before the calldata.
    pub const HEAD_BYTES: usize = 65;

    /// The bytes the accumulator takes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::HEAD_BYTES + self.data.len());
        bytes.push(self.kind);
        bytes.extend_from_slice(&self.sender.0);
        bytes.extend_from_slice(&self.to.0);
        bytes.extend_from_slice(&self.amount.to_be_bytes());
        bytes.extend_from_slice(&self.timestamp.to_be_bytes());
        bytes.extend_from_slice(&self.data);
        bytes
    }

    /// The inverse of [`PriorityRequest::encode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, PriorityError> {
        let (request, data) = Self::decode_head(bytes)?;
        Ok(Self { data: data.to_vec(), ..request })
    }

    /// As [`PriorityRequest::decode`], with the calldata left where it lies: the request that is returned has none.
    pub fn decode_head(bytes: &[u8]) -> Result<(Self, &[u8]), PriorityError> {
        let mut reader = ByteReader(bytes);
        let [kind] = reader.array()?;
        let request = Self {
            kind,
            sender: Address(reader.array()?),
            to: Address(reader.array()?),
            amount: reader.u128()?,
            timestamp: reader.u64()?,
            data: Vec::new(),
        };
        match reader.0.len() {
            got if got > PRIORITY_DATA_BYTES_MAX => Err(PriorityError::DataTooLong { got }),
            _ => Ok((request, reader.0)),
        }
    }
}
