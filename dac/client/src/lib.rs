//! The data availability committee, seen by whoever needs it: the sequencer that wants a certificate, and anyone who wants data.
//!
//! * [`SignedOffer`] is what a member is asked to sign, with the blocks from which it derives the batch itself; an [`UploadPass`] goes before its bytes.
//! * [`Committee`] talks to the members over HTTP, and for what anyone may ask over libp2p as well ([`Network`]): [`Committee::gather`] drives a [`joule_committee::Gathering`] in parallel under a deadline,
//!   [`Committee::data`] fetches a batch's data from whoever has it and believes nothing that does not hash to the checkpoint.
//! * [`Probes`] asks random members for random chunks of what they have promised, and keeps the record.
//! * [`Publisher`] turns a sealed batch into a certificate or into the advice to put its data on L1, and keeps the expiry it chose: another expiry
//!   would be another statement, which members that signed the first refuse.
//! * [`Question`], [`route`] and [`Refusal`] are the interface, shared with the member.
//!
//! Members are not believed: a share is verified before it counts, data before it is returned. Nor is the network: every answer is read
//! up to a bound, every request has a time limit.

mod committee;
mod data;
mod fetch;
mod gather;
mod network;
mod offer;
mod probe;
mod publish;
mod question;
pub mod route;
mod upload;

pub use committee::{Committee, ConnectError, Endpoint, RequestError};
pub use data::{BatchData, ChunkProof, DATA_BYTES_MAX, DataError};
pub use fetch::{FetchError, MemberFailure};
pub use gather::{GatherTiming, Observer, Outcome, Report};
pub use network::{MemberPeer, MemberPeerError, Network, Scope};
pub use offer::{BATCH_BLOCKS_MAX, OFFER_BYTES_MAX, Offer, OfferError, SignedOffer, checkpoint_hash};
pub use probe::{MISSED_MAX, Probe, ProbeAlarm, Probed, Probes, PromisedBatch, Record};
pub use publish::{
    Cause, Expiries, ExpiryPolicy, ExpiryPolicyError, L1Now, OfferSigner, Publication, PublishError, Publisher,
    SealedBatch, Unpublished,
};
pub use question::{MemberProtocol, PeerAnswer, PeerMessageError, PeerQuestion, Question};
pub use route::{MemberStatus, Refusal, RefusalCode};
pub use upload::{UploadClaim, UploadPass, UploadPassError};
