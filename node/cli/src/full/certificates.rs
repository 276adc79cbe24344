//! Certificates of committed batches, checked once more.

use joule_committee::{Certificate, CertificateStatement};
use joule_committee_client::checkpoint_hash;
use joule_follow::{ChainError, Halt, l1::L1View};
use joule_l1::{AvailableAt, BatchOnL1, History, HistoryError, L1Client};
use joule_storage::StorageError;

use super::Followed;

/// Certificates read in one look at L1; the others have their turn in the next.
const STEP: usize = 32;

/// Checks and keeps the certificates of batches that are noted here and have none yet. L1's contract has checked each; a certificate that does not verify here says that the contract or the L1 node is
/// not what it seems, and the node halts.
///
/// Data on L1 needs no certificate. One that came through another contract, or in another encoding than this project's, cannot be read back, and is left to L1.
pub(crate) async fn check(
    followed: &Followed,
    client: &L1Client,
    l1: &L1View,
    checked: &mut u64,
) -> Result<(), HistoryError> {
    for _ in 0..STEP {
        let number = *checked + 1;
        let Some(batch) = l1.batch(number).cloned() else { return Ok(()) };
        let AvailableAt::Committee { .. } = batch.available_at else {
            *checked = number;
            continue;
        };
        let state = followed.with(move |chain| {
            let view = chain.database().view()?;
            let is_here = view.last_batch()?.is_some_and(|last| last.number >= number);
            Ok::<_, StorageError>((is_here, view.certificate(number)?.is_some()))
        });
        match state.await {
            Ok((true, false)) => {}
            Ok((true, true)) => {
                *checked = number;
                continue;
            }
            // Its blocks come first.
            Ok((false, _)) => return Ok(()),
            Err(error) => {
                tracing::error!(%error, "certificates cannot be kept");
                return Ok(());
            }
        }
        if let Some(availability) = History::availability_of(client, &batch).await? {
            let result = followed.with({
                let (statement, availability) = (statement_of(&batch, l1), availability.to_vec());
                move |chain| match Certificate::from_calldata(&statement, &availability) {
                    Ok(certificate) => {
                        let keyset = certificate.statement.keyset_hash;
                        match certificate.verify(keyset, 0) {
                            Ok(verified) => {
                                Ok(chain.database().put_certificate(number, &verified.certificate().encode())?)
                            }
                            Err(error) => {
                                Err(chain.halt(Halt::BadCertificate { batch: number, reason: error.to_string() }))
                            }
                        }
                    }
                    Err(error) => {
                        tracing::warn!(number, %error, "a certificate on L1 cannot be read back");
                        Ok(())
                    }
                }
            });
            if let Err(error) = result.await {
                super::note(&error);
                if matches!(error, ChainError::Halted(_)) {
                    return Ok(());
                }
            }
        }
        *checked = number;
    }
    Ok(())
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
