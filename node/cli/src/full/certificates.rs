//! Certificates of committed batches, checked once more, before anything of a batch counts here. L1 has checked them: this finds an L1 node that is broken or
//! behind, and not one that lies, which could as well say that the data is on L1.

use std::collections::HashMap;

use alloy::primitives::B256;
use joule_committee::{CalldataError, Certificate, CertificateStatement};
use joule_committee_client::checkpoint_hash;
use joule_contracts::DataCommittee;
use joule_follow::{Hold, l1::L1View};
use joule_l1::{AvailableAt, BatchOnL1, History, HistoryError, L1Client, L1Error, ShownAvailability, StageOnL1};
use joule_storage::StorageError;
use thiserror::Error;

use super::Followed;

/// Certificates read from L1 in one look; the others have their turn in the next, which follows at once.
const STEP: usize = 64;

/// Seconds for which an L1 node is sure to find a transaction by its hash. Nodes forget where old ones are (geth after a year unless it is told otherwise), and a batch that was executed as
/// long ago is proven, for good, and needs no word of the committee any more: a node that starts from an empty disk must get past it.
const INDEXED_S: u64 = 30 * 24 * 60 * 60;

/// Why certificates cannot be checked now. Nothing is wrong with them.
#[derive(Debug, Error)]
pub(crate) enum CheckError {
    /// L1 could not be asked.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The disk.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<L1Error> for CheckError {
    fn from(error: L1Error) -> Self {
        Self::History(error.into())
    }
}

/// How far batches are certified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Certified {
    /// The last batch before which, itself included, nothing is wrong.
    pub(crate) up_to: u64,
    /// What is wrong with the next one, if something is.
    pub(crate) hold: Option<Hold>,
    /// Whether there are more to check at once.
    pub(crate) has_more: bool,
}

/// A keyset as the committee's contract has it on record.
#[derive(Clone, Copy, Debug)]
struct OnRecord {
    from_s: u64,
    /// 0 while it is in force.
    until_s: u64,
}

/// What came of looking at one batch.
enum Verdict {
    /// Its certificate, which was not on the disk.
    Verified(Vec<u8>),
    /// It needs none, or its certificate is on the disk, or only L1 has seen it.
    Passed,
    /// It is none.
    Wrong(Hold),
}

/// The certificates of L1's batches, in their order.
///
/// L1's contract has checked each before it took the batch, so nothing here makes a batch true. It is checked again because whoever answers for L1 is one node, and because a certificate is what
/// a person shows who says that the committee had the data.
#[derive(Debug, Default)]
pub(crate) struct Certificates {
    /// The commit of each batch that was checked, from number 1: its transaction and its checkpoint. A batch that is dropped and committed again is another one.
    checked: Vec<(B256, B256)>,
}

impl Certificates {
    /// Checks those that were not. Goes on behind the last one that was, and stops at the first that is wrong.
    pub(crate) async fn check(
        &mut self,
        followed: &Followed,
        client: &L1Client,
        l1: &L1View,
    ) -> Result<Certified, CheckError> {
        let same = self.checked.iter().zip(l1.batches.iter()).take_while(|(known, batch)| **known == commit_of(batch));
        let same = same.count();
        self.checked.truncate(same);
        let mut keysets = HashMap::new();
        for batch in l1.batches.iter().skip(same).take(STEP) {
            match judge(followed, client, l1, batch, &mut keysets).await? {
                Verdict::Wrong(hold) => {
                    return Ok(Certified { up_to: self.up_to(), hold: Some(hold), has_more: false });
                }
                Verdict::Verified(bytes) => {
                    let number = batch.number;
                    followed.with(move |chain| chain.database().put_certificate(number, &bytes)).await?;
                }
                Verdict::Passed => {}
            }
            self.checked.push(commit_of(batch));
        }
        let has_more = self.checked.len() < l1.batches.len();
        Ok(Certified { up_to: self.up_to(), hold: None, has_more })
    }

    /// The last batch that was checked.
    pub(crate) fn up_to(&self) -> u64 {
        self.checked.len() as u64
    }
}

/// Whether an L1 node may have forgotten the commit of a batch, and nobody needs it any more.
fn may_be_forgotten(stage: StageOnL1, committed_s: u64, now_s: u64) -> bool {
    stage == StageOnL1::Executed && now_s.saturating_sub(committed_s) >= INDEXED_S
}

fn commit_of(batch: &BatchOnL1) -> (B256, B256) {
    (batch.transaction, checkpoint_hash(&batch.checkpoint))
}

async fn judge(
    followed: &Followed,
    client: &L1Client,
    l1: &L1View,
    batch: &BatchOnL1,
    keysets: &mut HashMap<B256, OnRecord>,
) -> Result<Verdict, CheckError> {
    let number = batch.number;
    let AvailableAt::Committee { scheme } = batch.available_at else { return Ok(Verdict::Passed) };
    let statement = statement_of(batch, l1);
    let kept = followed.with(move |chain| chain.database().view()?.certificate(number)).await?;
    if kept.is_some_and(|bytes| is_kept(&bytes, &statement)) {
        return Ok(Verdict::Passed);
    }
    let missing = |reason: &str| Ok(Verdict::Wrong(Hold::NoCertificate { batch: number, reason: reason.to_owned() }));
    let wrong = |reason: String| Ok(Verdict::Wrong(Hold::BadCertificate { batch: number, reason }));
    let bytes = match History::shown_availability_of(client, batch).await? {
        ShownAvailability::Shown(bytes) => bytes,
        ShownAvailability::NoTransaction => {
            let committed = client.block(batch.block_number).await?;
            if !committed.is_some_and(|block| may_be_forgotten(batch.stage, block.timestamp_s, l1.time_s)) {
                return missing("the L1 node does not have the transaction of its commit");
            }
            tracing::warn!(
                number,
                "the L1 node does not know an old commit any more, and only L1 has seen its certificate"
            );
            return Ok(Verdict::Passed);
        }
        ShownAvailability::OtherCall => return missing("the transaction of its commit does something else"),
        ShownAvailability::Inside => {
            tracing::warn!(
                number,
                "a batch was committed through another contract, and only L1 has seen its certificate"
            );
            return Ok(Verdict::Passed);
        }
    };
    if bytes.first() != Some(&scheme) {
        let shown = bytes.first().map_or_else(|| "nothing".to_owned(), |shown| format!("scheme {shown}"));
        return missing(&format!("L1 took one of scheme {scheme}, and the commit shows {shown}"));
    }
    let certificate = match Certificate::from_calldata(&statement, &bytes) {
        Ok(certificate) => certificate,
        Err(error @ CalldataError::UnknownScheme { .. }) => return wrong(error.to_string()),
        // The contract reads more encodings than this project writes, and anyone may settle for a late operator: that must stop nobody here.
        Err(error) => {
            tracing::warn!(number, %error, "a certificate on L1 cannot be read back, and only L1 has seen it");
            return Ok(Verdict::Passed);
        }
    };
    let Some(block) = client.block(batch.block_number).await? else {
        return missing("the L1 node does not have the block of its commit");
    };
    let keyset = certificate.statement.keyset_hash;
    let known = match keysets.get(&keyset) {
        Some(known) => *known,
        None => {
            let committee = DataCommittee::new(client.contracts().committee, client.provider());
            let found = committee.keysets(keyset).call().await.map_err(L1Error::from)?;
            *keysets.entry(keyset).or_insert(OnRecord { from_s: found.activeFrom, until_s: found.activeUntil })
        }
    };
    // A keyset that was retired and came back is on record from its first day: the gap between is L1's to have seen.
    let time_s = block.timestamp_s;
    if known.from_s == 0 || time_s < known.from_s || (known.until_s != 0 && known.until_s < time_s) {
        return wrong(format!("its keyset {keyset} is not that of the committee at that time"));
    }
    let expiry_min = time_s.saturating_add(l1.remaining_min_s);
    match certificate.verify(keyset, expiry_min) {
        Ok(verified) => Ok(Verdict::Verified(verified.certificate().encode())),
        Err(error) => wrong(error.to_string()),
    }
}

/// Whether what is on the disk is the certificate of this very commit. It was checked against the committee when it came there.
fn is_kept(bytes: &[u8], statement: &CertificateStatement) -> bool {
    let Ok(certificate) = Certificate::decode(bytes) else { return false };
    let stated = certificate.statement;
    let is_same =
        CertificateStatement { expiry: stated.expiry, keyset_hash: stated.keyset_hash, ..*statement } == stated;
    is_same && certificate.verify(stated.keyset_hash, 0).is_ok()
}

/// What the committee must have signed, but for what the certificate itself carries.
fn statement_of(batch: &BatchOnL1, l1: &L1View) -> CertificateStatement {
    CertificateStatement {
        l1_chain_id: l1.l1_chain_id,
        rollup: l1.rollup,
        batch_number: batch.number,
        parent_checkpoint: batch.parent,
        checkpoint: checkpoint_hash(&batch.checkpoint),
        revert_count: batch.revert_count,
        data_bytes: batch.data_bytes,
        expiry: 0,
        keyset_hash: Default::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_old_commit_of_an_executed_batch_may_be_missing() {
        assert!(may_be_forgotten(StageOnL1::Executed, 5, 5 + INDEXED_S));
        assert!(!may_be_forgotten(StageOnL1::Executed, 5, 4 + INDEXED_S));
        assert!(!may_be_forgotten(StageOnL1::Executed, 5, 0), "a block from the future is not old");
        for stage in [StageOnL1::Committed, StageOnL1::Proven] {
            assert!(!may_be_forgotten(stage, 5, u64::MAX));
        }
    }
}
