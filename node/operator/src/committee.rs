//! The committee, as settlement asks it.

use std::{sync::Arc, time::Duration};

use alloy::{
    primitives::B256,
    signers::{SignerSync, local::PrivateKeySigner},
};
use joule_committee::{CompactSignature, Keyset, Slot, VerifiedCertificate};
use joule_committee_client::{
    Committee, Endpoint, Expiries, ExpiryPolicy, GatherTiming, L1Now, Observer, OfferSigner, Publication, Publisher,
    SealedBatch, Unpublished,
};
use joule_l1::L1Client;
use joule_settlement::{NotCertified, Offer};
use joule_storage::{BatchRecord, Database, JournalEdit, Space};
use tokio::task::JoinSet;

/// How long a member has to say where it stands.
const STATUS_LIMIT: Duration = Duration::from_secs(5);

/// How long a member has to execute a batch that is handed over.
const HAND_LIMIT: Duration = Duration::from_secs(20);
/// Batches handed to one member at a time. A member that lacks more has been away for long, and gets them from its peers.
const HANDED_MAX: u64 = 16;

/// What an error is carried as, between the parts.
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Says who signs. Governance may seat others at any time, and L1 takes no certificate of those before from then on.
pub trait Keysets: Send + Sync + 'static {
    /// The keyset that L1 has in force now.
    ///
    /// # Errors
    /// It cannot be known, or its members cannot be asked.
    fn in_force(&self) -> impl Future<Output = Result<Keyset, Cause>> + Send;
}

/// A keyset that nobody replaces: that of a network which this process has made for itself.
impl Keysets for Keyset {
    async fn in_force(&self) -> Result<Keyset, Cause> {
        Ok(self.clone())
    }
}

/// Gets certificates for batches of a database.
pub struct CommitteePublisher<K> {
    database: Database,
    l1: L1Client,
    committee: Arc<Committee>,
    keysets: K,
    publisher: Publisher,
}

impl<K> std::fmt::Debug for CommitteePublisher<K> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("CommitteePublisher").field("committee", &self.committee).finish_non_exhaustive()
    }
}

impl<K: Keysets> CommitteePublisher<K> {
    /// Asks `committee`, of which those sign that `keysets` names, in the name of the sequencer's `key`.
    #[allow(clippy::too_many_arguments, reason = "each is one thing that the operator configures")]
    pub fn new(
        database: Database,
        l1: L1Client,
        committee: Arc<Committee>,
        keysets: K,
        key: PrivateKeySigner,
        policy: ExpiryPolicy,
        timing: GatherTiming,
        observer: Arc<dyn Observer>,
    ) -> Self {
        let expiries = Arc::new(KeptExpiries(database.clone()));
        let publisher =
            Publisher::new(committee.clone(), policy, timing, Arc::new(SequencerKey(key)), expiries, observer);
        Self { database, l1, committee, keysets, publisher }
    }

    async fn certify(&self, offer: Offer) -> Result<Publication, Cause> {
        let (now, sealed) = self.sealed(offer.batch, offer.revert_count).await?;
        let keyset = self.keysets.in_force().await?;
        Ok(self.publisher.publish(&keyset, now, sealed).await?)
    }

    /// A batch with its blocks, and L1 as it is now.
    async fn sealed(&self, batch: BatchRecord, revert_count: u64) -> Result<(L1Now, SealedBatch), Cause> {
        let database = self.database.clone();
        let blocks = tokio::task::spawn_blocking(move || -> Result<Vec<Vec<u8>>, Cause> {
            let view = database.view()?;
            (batch.first_block..=batch.last_block)
                .map(|number| {
                    let block = view.block(number)?;
                    let block = block.ok_or_else(|| format!("block {number} is not in the database"))?;
                    Ok(block.items.encode())
                })
                .collect()
        })
        .await??;
        let head = self.l1.head().await?;
        let now = L1Now {
            chain_id: self.l1.constants().l1_chain_id,
            rollup: self.l1.contracts().rollup,
            time_s: head.timestamp_s,
            remaining_min_s: self.l1.constants().certificate_remaining_min_s,
        };
        let sealed = SealedBatch {
            number: batch.number,
            revert_count,
            parent: batch.parent,
            checkpoint: batch.checkpoint,
            data_bytes: batch.data_bytes,
            blocks,
        };
        Ok((now, sealed))
    }

    /// Gives a member batches that L1 has and the member does not: while data goes to L1 nobody is asked to sign, and a member that never gets the blocks could never sign again.
    async fn bring_up(&self, keyset: &Keyset, member: &Endpoint, from: u64, to: u64) -> Result<(), Cause> {
        let revert_count = self.l1.state(self.l1.head().await?).await?.revert_count;
        for number in from..=to.min(from + HANDED_MAX - 1) {
            let database = self.database.clone();
            let batch = tokio::task::spawn_blocking(move || database.view()?.batch(number)).await??;
            let batch = batch.ok_or_else(|| format!("batch {number} is not in the database"))?;
            let (now, sealed) = self.sealed(batch, revert_count).await?;
            let offer = self.publisher.offer_to_hold(keyset, now, sealed)?;
            // What it makes of it shows in its status.
            if let Err(error) = self.publisher.hand(member, &offer, HAND_LIMIT).await {
                tracing::debug!(member = %member.account, number, %error, "a batch was handed over and not signed");
            }
        }
        Ok(())
    }

    /// The last batch that L1 has committed, as far as the database knows.
    async fn committed(&self) -> u64 {
        let database = self.database.clone();
        let read = move || database.view().and_then(|view| view.committed_batch());
        let batch = tokio::task::spawn_blocking(read).await;
        batch.ok().and_then(Result::ok).flatten().map_or(0, |batch| batch.number)
    }
}

impl<K: Keysets> joule_settlement::Publisher for CommitteePublisher<K> {
    async fn publish(&self, offer: Offer) -> Result<VerifiedCertificate, NotCertified> {
        match self.certify(offer).await {
            Ok(Publication::Certified(certificate)) => Ok(*certificate),
            Ok(Publication::FallBack(Unpublished::TooOld { expiry, least })) => {
                Err(NotCertified::TooOld { expiry, least })
            }
            Ok(Publication::FallBack(Unpublished::Committee(reason))) => {
                Err(NotCertified::Failed { reason: format!("{reason:?}") })
            }
            Err(error) => Err(NotCertified::Failed { reason: error.to_string() }),
        }
    }

    /// Whether as many members of the keyset as must sign say that they do. Those that lack batches of L1 are given some, and asked again next time.
    async fn is_healthy(&self) -> bool {
        let keyset = match self.keysets.in_force().await {
            Ok(keyset) => keyset,
            Err(error) => {
                tracing::warn!(%error, "who signs for the committee is not known");
                return false;
            }
        };
        let committed = self.committed().await;
        let mut answers = JoinSet::new();
        for member in self.committee.members() {
            if keyset.position(member.account).is_some() {
                let (committee, member) = (self.committee.clone(), member.clone());
                answers.spawn(async move { (committee.status(&member, STATUS_LIMIT).await, member) });
            }
        }
        let (mut signing, mut behind) = (0, Vec::new());
        while let Some(answer) = answers.join_next().await {
            let Ok((Ok(status), member)) = answer else { continue };
            signing += u32::from(status.not_ready.is_none());
            if status.batch_number < committed {
                behind.push((member, status.batch_number + 1));
            }
        }
        for (member, from) in behind {
            if let Err(error) = self.bring_up(&keyset, &member, from, committed).await {
                tracing::warn!(member = %member.account, %error, "a member lacks batches, and they could not be handed over");
            }
        }
        signing >= keyset.quorum()
    }
}

struct SequencerKey(PrivateKeySigner);

impl OfferSigner for SequencerKey {
    fn sign(&self, digest: B256) -> Result<CompactSignature, Cause> {
        let signature = self.0.sign_hash_sync(&digest)?;
        let mut vs = B256::from(signature.s());
        vs.0[0] |= u8::from(signature.v()) << 7;
        Ok(CompactSignature { r: B256::from(signature.r()), vs })
    }
}

/// Expiries in the node's journal, under number, drops, parent and checkpoint.
struct KeptExpiries(Database);

const EXPIRY_PREFIX: &[u8] = b"expiry";

fn expiry_key(slot: &Slot, checkpoint: B256) -> Vec<u8> {
    let mut key = EXPIRY_PREFIX.to_vec();
    key.extend_from_slice(&slot.batch_number.to_be_bytes());
    key.extend_from_slice(&slot.revert_count.to_be_bytes());
    key.extend_from_slice(slot.parent_checkpoint.as_slice());
    key.extend_from_slice(checkpoint.as_slice());
    key
}

impl Expiries for KeptExpiries {
    fn chosen(&self, slot: &Slot, checkpoint: B256) -> Result<Option<u64>, Cause> {
        let Some(value) = self.0.view()?.journal(Space::Node, &expiry_key(slot, checkpoint))? else { return Ok(None) };
        let value =
            <[u8; 8]>::try_from(value).map_err(|value| format!("an expiry has {} bytes, not 8", value.len()))?;
        Ok(Some(u64::from_be_bytes(value)))
    }

    fn choose(&self, slot: &Slot, checkpoint: B256, expiry: u64) -> Result<(), Cause> {
        let view = self.0.view()?;
        let executed = view.executed_batch()?.map_or(0, |batch| batch.number);
        // What is executed is never offered again.
        let mut edits: Vec<JournalEdit> = view
            .journal_scan(Space::Node, EXPIRY_PREFIX)?
            .into_iter()
            .map(|(key, _)| key)
            .take_while(|key| {
                let number = key.strip_prefix(EXPIRY_PREFIX).and_then(|rest| rest.first_chunk());
                number.is_some_and(|number| u64::from_be_bytes(*number) <= executed)
            })
            .map(|key| JournalEdit::Delete { space: Space::Node, key })
            .collect();
        let (key, value) = (expiry_key(slot, checkpoint), expiry.to_be_bytes().to_vec());
        edits.push(JournalEdit::Put { space: Space::Node, key, value });
        Ok(self.0.journal_write(&edits)?)
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::Address;
    use joule_workload::Chain;

    use super::*;

    #[test]
    fn an_expiry_is_chosen_once_and_kept_over_restarts() {
        let folder = tempfile::tempdir().expect("a folder");
        let slot = |batch_number| Slot {
            l1_chain_id: 31_337,
            rollup: Address::repeat_byte(1),
            batch_number,
            revert_count: 0,
            parent_checkpoint: B256::repeat_byte(2),
        };
        let (one, other) = (B256::repeat_byte(3), B256::repeat_byte(4));
        {
            let kept = KeptExpiries(Database::open(folder.path(), &Chain::test_genesis()).expect("a database"));
            assert_eq!(kept.chosen(&slot(1), one).expect("reads"), None);
            kept.choose(&slot(1), one, 77).expect("writes");
            kept.choose(&slot(2), one, 78).expect("writes");
        }
        let kept = KeptExpiries(Database::open(folder.path(), &Chain::test_genesis()).expect("a database"));
        assert_eq!(kept.chosen(&slot(1), one).expect("reads"), Some(77));
        assert_eq!(kept.chosen(&slot(2), one).expect("reads"), Some(78));
        assert_eq!(kept.chosen(&slot(1), other).expect("reads"), None);
    }

    #[test]
    fn members_read_the_signature_as_the_sequencers() {
        let key = PrivateKeySigner::from_bytes(&B256::repeat_byte(5)).expect("a key");
        for byte in 0..16 {
            let digest = B256::repeat_byte(byte);
            let signature = SequencerKey(key.clone()).sign(digest).expect("signs");
            assert_eq!(signature.recover(digest).expect("a signer"), key.address());
        }
    }
}
