//! Listings, page by page.

use alloy::primitives::Address;
use serde::{Deserialize, Serialize};

use super::JobStatus;

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
