//! The member's HTTP interface: paths, bounds, and what a refusal looks like.
//!
//! Bodies are the binary encodings of this crate and of `joule-committee`; statuses, state proofs and refusals are JSON.

use std::fmt;

use alloy_primitives::{Address, B256};
use serde::{Deserialize, Serialize};

/// `POST` a [`SignedOffer`](crate::SignedOffer), with an [`UploadPass`](crate::UploadPass) in the header [`UPLOAD_HEADER`]; the answer is the member's encoded share.
/// `GET` the nonce that the pass must have: 32 bytes, good for one offer.
pub const OFFERS: &str = "/v1/offers";
/// `GET` the offer of a stored batch by its number: what a member executes to follow.
pub const BATCH: &str = "/v1/batches/{number}";
/// `GET` a stored batch's [`BatchData`](crate::BatchData) by its number.
pub const BATCH_DATA: &str = "/v1/batches/{number}/data";
/// `GET` a stored batch's [`BatchData`](crate::BatchData) by the hash of the checkpoint it leads to.
pub const DATA: &str = "/v1/data/{checkpoint}";
/// `GET` one chunk with what shows that it is the batch's: a [`ChunkProof`](crate::ChunkProof).
pub const CHUNK: &str = "/v1/data/{checkpoint}/chunks/{index}";
/// `GET` what a key of the executed state holds, with its path.
pub const STATE: &str = "/v1/state/{key}";
/// `GET` an account of the executed state, with its path.
pub const ACCOUNT: &str = "/v1/accounts/{address}";
/// `GET` the snapshot at the last executed checkpoint, page by page.
pub const SNAPSHOT: &str = "/v1/snapshot";
/// `GET` where the member stands.
pub const STATUS: &str = "/v1/status";

/// The header with the pass to send an offer.
pub const UPLOAD_HEADER: &str = "joule-upload";

/// Longest JSON that a client reads from a member, bytes.
pub const JSON_BYTES_MAX: usize = 64 << 10;

/// Longest page of a snapshot, bytes.
pub const SNAPSHOT_PAGE_BYTES_MAX: usize = 4 << 20;
/// Bytes in front of a page: the snapshot's block and its length.
pub const SNAPSHOT_HEAD_BYTES: usize = 16;

/// Why a member does not do what it was asked. The words on the wire are the variants in snake case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RefusalCode {
    /// The bytes are not what the path takes.
    Malformed,
    /// For another rollup, L1, or keyset than the member's.
    WrongNetwork,
    /// Not signed by the sequencer, who is not late.
    NotSequencer,
    /// The member signed something else for this place, and still may have to answer for it.
    Conflict,
    /// The expiry is not one the member promises: too soon for L1, or too far away.
    BadExpiry,
    /// The blocks do not lead from the parent to the checkpoint.
    DoesNotFollow,
    /// Priority requests that are not L1's.
    WrongRequests,
    /// L1 would not take the batch: another number, version, time, or count of drops.
    NotNext,
    /// The member follows the chain and has not got to the parent yet.
    Syncing,
    /// The member has no room to take it now.
    Busy,
    /// There is no such thing here.
    NotFound,
    /// The member's own fault: its disk, its L1, its code.
    Internal,
}

impl RefusalCode {
    /// Whether asking again a little later can help.
    pub fn is_retryable(self) -> bool {
        match self {
            Self::Syncing | Self::Busy | Self::Internal | Self::NotNext | Self::WrongRequests => true,
            Self::Malformed
            | Self::WrongNetwork
            | Self::NotSequencer
            | Self::Conflict
            | Self::BadExpiry
            | Self::DoesNotFollow
            | Self::NotFound => false,
        }
    }

    /// The HTTP status it travels under.
    pub fn http_status(self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::NotSequencer => 403,
            Self::NotFound => 404,
            Self::Conflict | Self::NotNext => 409,
            Self::WrongNetwork | Self::BadExpiry | Self::DoesNotFollow | Self::WrongRequests => 422,
            Self::Syncing | Self::Busy => 503,
            Self::Internal => 500,
        }
    }

    /// The word for logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::WrongNetwork => "wrong_network",
            Self::NotSequencer => "not_sequencer",
            Self::Conflict => "conflict",
            Self::BadExpiry => "bad_expiry",
            Self::DoesNotFollow => "does_not_follow",
            Self::WrongRequests => "wrong_requests",
            Self::NotNext => "not_next",
            Self::Syncing => "syncing",
            Self::Busy => "busy",
            Self::NotFound => "not_found",
            Self::Internal => "internal",
        }
    }
}

/// A refusal on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Which.
    pub code: RefusalCode,
    /// A sentence with the numbers.
    pub message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.name(), self.message)
    }
}

/// Where a member stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberStatus {
    /// The member's L1 account.
    pub account: Address,
    /// The last batch it holds; 0 for genesis alone.
    pub batch_number: u64,
    /// Hash of the checkpoint after it.
    pub checkpoint: B256,
    /// The last block it holds.
    pub block_number: u64,
    /// The last batch that it knows to be executed on L1.
    pub executed_number: u64,
    /// The first batch whose data it still has.
    pub oldest_batch: u64,
    /// Why it does not sign; absent when it does.
    pub not_ready: Option<String>,
    /// The software's version.
    pub version: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_read_back() {
        let refusal = Refusal { code: RefusalCode::DoesNotFollow, message: "block 7: no".to_owned() };
        let json = serde_json::to_string(&refusal).expect("serialises");
        assert_eq!(json, r#"{"code":"does_not_follow","message":"block 7: no"}"#);
        assert_eq!(serde_json::from_str::<Refusal>(&json).expect("reads"), refusal);
    }
}
