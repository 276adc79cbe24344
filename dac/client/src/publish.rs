//! From a sealed batch to a certificate, or to the advice to put the data on L1.

use std::{error::Error, sync::Arc, time::Duration};

use alloy_primitives::{Address, B256};
use joule_committee::{
    CertificateStatement, CompactSignature, FallBack, GatheringError, Keyset, Share, Slot, VerifiedCertificate,
};
use joule_protocol::Checkpoint;
use thiserror::Error;

use crate::{
    committee::{Committee, Endpoint, RequestError},
    gather::{GatherTiming, Observer, Outcome},
    offer::{Offer, OfferError, SignedOffer, checkpoint_hash},
};

/// What a collaborator's failure is carried as.
pub type Cause = Box<dyn Error + Send + Sync>;

/// How long certificates live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpiryPolicy {
    lifetime_s: u64,
    margin_s: u64,
}

/// Numbers that make no policy. The configuration is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "a certificate of {lifetime_s} s cannot leave {margin_s} s for its commit and {remaining_min_s} s that L1 asks for; raise the lifetime"
)]
pub struct ExpiryPolicyError {
    /// The lifetime given.
    pub lifetime_s: u64,
    /// The margin given.
    pub margin_s: u64,
    /// What L1 asks for.
    pub remaining_min_s: u64,
}

impl ExpiryPolicy {
    /// Certificates expire `lifetime_s` after they are asked for. One is used only as long as `margin_s` more than L1's minimum are left, which
    /// is the time that its commit may take to get into a block.
    ///
    /// # Errors
    /// A lifetime below L1's minimum and the margin together: each certificate would be too old at once.
    pub fn new(lifetime_s: u64, margin_s: u64, remaining_min_s: u64) -> Result<Self, ExpiryPolicyError> {
        match margin_s.checked_add(remaining_min_s) {
            Some(least) if lifetime_s > least => Ok(Self { lifetime_s, margin_s }),
            _ => Err(ExpiryPolicyError { lifetime_s, margin_s, remaining_min_s }),
        }
    }

    /// The expiry of a certificate that is asked for now.
    pub fn choose(&self, now: L1Now) -> u64 {
        now.time_s.saturating_add(self.lifetime_s)
    }

    /// The least expiry with which a certificate is still worth a commit.
    pub fn least(&self, now: L1Now) -> u64 {
        now.time_s.saturating_add(now.remaining_min_s).saturating_add(self.margin_s)
    }
}

/// What of L1 a statement takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct L1Now {
    /// L1's chain id.
    pub chain_id: u64,
    /// The rollup.
    pub rollup: Address,
    /// Time of its latest block, unix seconds.
    pub time_s: u64,
    /// Seconds that a certificate must outlive its use by.
    pub remaining_min_s: u64,
}

/// Keeps the expiry chosen for each slot. After a restart the same batch must be offered with the same expiry, or members that signed before
/// refuse.
pub trait Expiries: Send + Sync {
    /// The expiry chosen for the slot and checkpoint, if one was.
    ///
    /// # Errors
    /// The store failed.
    fn chosen(&self, slot: &Slot, checkpoint: B256) -> Result<Option<u64>, Cause>;

    /// Keeps one; durable when it returns.
    ///
    /// # Errors
    /// The store failed.
    fn choose(&self, slot: &Slot, checkpoint: B256, expiry: u64) -> Result<(), Cause>;
}

/// The sequencer's key, wherever it is kept.
pub trait OfferSigner: Send + Sync {
    /// Signs a digest of [`Offer::digest`], or of [`UploadClaim::digest`](crate::UploadClaim::digest), as it is.
    ///
    /// # Errors
    /// The key is out of reach.
    fn sign(&self, digest: B256) -> Result<CompactSignature, Cause>;
}

/// A batch that is to be certified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedBatch {
    /// Its number, from 1.
    pub number: u64,
    /// L1's count of drops.
    pub revert_count: u64,
    /// Where it starts.
    pub parent: Checkpoint,
    /// Where it leads.
    pub checkpoint: Checkpoint,
    /// Bytes of its data over all chunks.
    pub data_bytes: u64,
    /// Its encoded blocks, in order.
    pub blocks: Vec<Vec<u8>>,
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Publication {
    /// Commit it with this certificate, before it is too old.
    Certified(Box<VerifiedCertificate>),
    /// Put its data on L1.
    FallBack(Unpublished),
}

/// Why the committee does not vouch for a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unpublished {
    /// Too few members signed in time.
    Committee(FallBack),
    /// The expiry that was chosen for the batch before is too near now, and the members that signed it sign no other.
    TooOld {
        /// The expiry chosen.
        expiry: u64,
        /// The least that is worth a commit.
        least: u64,
    },
}

/// Why nothing could be asked. This side is to blame; nothing was sent.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The batch is none.
    #[error(transparent)]
    Offer(#[from] OfferError),
    /// The keyset is not the statement's.
    #[error(transparent)]
    Gathering(#[from] GatheringError),
    /// The expiry could not be read or kept.
    #[error("the certificate's expiry cannot be kept: {0}")]
    Expiries(#[source] Cause),
    /// The sequencer's key did not sign.
    #[error("the sequencer's key does not sign: {0}")]
    Signer(#[source] Cause),
}

/// Gets batches certified.
pub struct Publisher {
    committee: Arc<Committee>,
    policy: ExpiryPolicy,
    timing: GatherTiming,
    signer: Arc<dyn OfferSigner>,
    expiries: Arc<dyn Expiries>,
    observer: Arc<dyn Observer>,
}

impl Publisher {
    /// A publisher that asks `committee`.
    pub fn new(
        committee: Arc<Committee>,
        policy: ExpiryPolicy,
        timing: GatherTiming,
        signer: Arc<dyn OfferSigner>,
        expiries: Arc<dyn Expiries>,
        observer: Arc<dyn Observer>,
    ) -> Self {
        Self { committee, policy, timing, signer, expiries, observer }
    }

    /// The statement asked for a batch, with the expiry that was chosen for it before, or one chosen now.
    fn statement(
        &self,
        keyset: &Keyset,
        now: L1Now,
        batch: &SealedBatch,
    ) -> Result<CertificateStatement, PublishError> {
        let mut statement = CertificateStatement {
            l1_chain_id: now.chain_id,
            rollup: now.rollup,
            batch_number: batch.number,
            parent_checkpoint: checkpoint_hash(&batch.parent),
            checkpoint: checkpoint_hash(&batch.checkpoint),
            revert_count: batch.revert_count,
            data_bytes: batch.data_bytes,
            expiry: 0,
            keyset_hash: keyset.hash(),
        };
        let (slot, checkpoint) = (statement.slot(), statement.checkpoint);
        statement.expiry = match self.expiries.chosen(&slot, checkpoint).map_err(PublishError::Expiries)? {
            Some(expiry) => expiry,
            None => {
                let expiry = self.policy.choose(now);
                self.expiries.choose(&slot, checkpoint, expiry).map_err(PublishError::Expiries)?;
                expiry
            }
        };
        Ok(statement)
    }

    fn offer(&self, statement: CertificateStatement, batch: SealedBatch) -> Result<SignedOffer, PublishError> {
        let offer = Offer::new(statement, batch.parent, batch.checkpoint, batch.blocks)?;
        let signature = self.signer.sign(offer.digest()).map_err(PublishError::Signer)?;
        Ok(offer.signed(signature))
    }

    /// Offers a batch to all members of the keyset. Asking again for the same batch asks for the same statement.
    ///
    /// # Errors
    /// Nothing could be asked.
    pub async fn publish(&self, keyset: &Keyset, now: L1Now, batch: SealedBatch) -> Result<Publication, PublishError> {
        let statement = self.statement(keyset, now, &batch)?;
        let (expiry, least) = (statement.expiry, self.policy.least(now));
        if expiry < least {
            return Ok(Publication::FallBack(Unpublished::TooOld { expiry, least }));
        }
        let offer = self.offer(statement, batch)?;
        match self.committee.gather(keyset, &offer, self.signer.clone(), self.timing, self.observer.clone()).await? {
            Outcome::Certified(certificate) => Ok(Publication::Certified(certificate)),
            Outcome::FellBack(reason) => Ok(Publication::FallBack(Unpublished::Committee(reason))),
        }
    }

    /// The offer of a batch that L1 has with its data, for members that were not asked to sign it: without its blocks they could not go on. It names the same
    /// statement that [`Publisher::publish`] would ask for, so that whoever signs it has said nothing else.
    ///
    /// # Errors
    /// The batch is none, or the key or the kept expiries fail.
    pub fn offer_to_hold(&self, keyset: &Keyset, now: L1Now, batch: SealedBatch) -> Result<SignedOffer, PublishError> {
        let statement = self.statement(keyset, now, &batch)?;
        self.offer(statement, batch)
    }

    /// Gives one member such an offer, in the sequencer's name: [`Committee::hand`].
    ///
    /// # Errors
    /// It did not sign, or did not answer.
    pub async fn hand(&self, member: &Endpoint, offer: &SignedOffer, limit: Duration) -> Result<Share, RequestError> {
        self.committee.hand(member, offer, self.signer.clone(), limit).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: L1Now =
        L1Now { chain_id: 31_337, rollup: Address::ZERO, time_s: 1_000_000, remaining_min_s: 14 * 86_400 };

    #[test]
    fn a_certificate_outlives_its_commit() {
        let policy = ExpiryPolicy::new(16 * 86_400, 86_400, NOW.remaining_min_s).expect("a policy");
        let expiry = policy.choose(NOW);
        assert!(expiry >= policy.least(NOW));
        // A day later it is on the edge, and a second after that it is not used any more although L1 would still take it.
        let later = |s| L1Now { time_s: NOW.time_s + s, ..NOW };
        assert!(expiry >= policy.least(later(86_400)));
        assert!(expiry < policy.least(later(86_401)));
        assert!(expiry >= later(86_401).time_s + NOW.remaining_min_s);
    }

    #[test]
    fn lifetimes_without_room_are_refused() {
        for (lifetime_s, margin_s) in [(0, 0), (14 * 86_400, 0), (15 * 86_400, 86_400), (u64::MAX, u64::MAX)] {
            let refused = ExpiryPolicy::new(lifetime_s, margin_s, NOW.remaining_min_s);
            let error = ExpiryPolicyError { lifetime_s, margin_s, remaining_min_s: NOW.remaining_min_s };
            assert_eq!(refused, Err(error));
        }
    }
}
