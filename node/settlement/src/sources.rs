//! Where certificates and proofs come from.

use std::{future::Future, sync::Arc};

use alloy::primitives::Bytes;
use joule_committee::VerifiedCertificate;
use joule_storage::BatchRecord;
use thiserror::Error;

/// A batch whose data the committee is asked to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The batch.
    pub batch: BatchRecord,
    /// Drops of committed batches that L1 has counted: certificates are made out for one count.
    pub revert_count: u64,
}

/// Why there is no certificate.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotCertified {
    /// Too few members signed in time, or they could not be asked. Data goes to L1 until the committee is well again.
    #[error("the committee gave no certificate: {reason}")]
    Failed {
        /// In words.
        reason: String,
    },
    /// The expiry chosen for this batch before is too near now, and members sign no other. The batch's data goes to L1; the committee is well.
    #[error("the expiry {expiry} that was chosen for the batch is too near; {least} is the least worth a commit")]
    TooOld {
        /// The expiry chosen.
        expiry: u64,
        /// The least that is worth a commit.
        least: u64,
    },
}

/// Gathers certificates.
///
/// A member signs one statement for one (number, parent, revert count) and never another, so the publisher chooses an expiry once, keeps it over
/// restarts, and asks for the same statement again.
pub trait Publisher: Send + Sync + 'static {
    /// Gives the batch's data to the committee and gathers a quorum, or gives up in bounded time.
    fn publish(&self, offer: Offer) -> impl Future<Output = Result<VerifiedCertificate, NotCertified>> + Send;

    /// Whether a quorum answers, as far as can be told without a batch.
    fn is_healthy(&self) -> impl Future<Output = bool> + Send;
}

/// A batch that is to be proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofRequest {
    /// The batch.
    pub batch: BatchRecord,
}

/// Why there is no proof.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("no proof was made: {reason}")]
pub struct NotProven {
    /// In words.
    pub reason: String,
}

/// Proves batches.
pub trait ProofSource: Send + Sync + 'static {
    /// The proof as L1 takes it: version byte, then the points. Comes when it comes; asked again for the same batch after a restart.
    fn prove(&self, request: ProofRequest) -> impl Future<Output = Result<Bytes, NotProven>> + Send;
}

impl<P: Publisher> Publisher for Arc<P> {
    async fn publish(&self, offer: Offer) -> Result<VerifiedCertificate, NotCertified> {
        P::publish(self, offer).await
    }

    async fn is_healthy(&self) -> bool {
        P::is_healthy(self).await
    }
}

impl<P: ProofSource> ProofSource for Arc<P> {
    async fn prove(&self, request: ProofRequest) -> Result<Bytes, NotProven> {
        P::prove(self, request).await
    }
}
