//! What settlement keeps, over [`joule_storage`].

use alloy::primitives::{B256, Bytes};
use joule_committee::{Certificate, VerifiedCertificate, WireError};
use joule_contracts::Rollup;
use joule_l1::{
    Entry, EntryError, OutboxStore,
    posting::{self, PostingError},
};
use joule_protocol::{Checkpoint, Chunk, ChunkError, Native, Object};
use joule_storage::{BatchRecord, BlockRecord, Database, JournalEdit, Space, Stage, StorageError};
use thiserror::Error;

use crate::{
    Purpose, PurposeError,
    decide::{CertificateHead, Mode, Recovered, Sealed},
};

/// Key of the mode in [`Space::Settlement`].
const MODE_KEY: &[u8] = b"mode";
/// Prefix of the revert count under which a batch was last sent.
const SENT_PREFIX: &[u8] = b"sent";
/// Batches that one recovery reads.
const RECOVERED_MAX: u64 = 4_096;

/// Why settlement's records cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SettlementStoreError {
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// An outbox entry is damaged.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// An outbox entry is somebody else's.
    #[error(transparent)]
    Purpose(#[from] PurposeError),
    /// A stored certificate is damaged.
    #[error("the certificate of batch {number} is damaged: {source}")]
    Certificate {
        /// The batch.
        number: u64,
        /// How.
        source: WireError,
    },
    /// A stored record of settlement's own is damaged.
    #[error("the record {what} has {got} bytes that mean nothing")]
    Damaged {
        /// Which.
        what: &'static str,
        /// Its length.
        got: usize,
    },
    /// A batch or block that should be there is not.
    #[error("{what} {number} is not in storage")]
    Missing {
        /// What.
        what: &'static str,
        /// Its number.
        number: u64,
    },
    /// A stored block's data is damaged.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    /// A batch's data cannot be cut into transactions.
    #[error(transparent)]
    Posting(#[from] PostingError),
}

fn hash(checkpoint: &Checkpoint) -> B256 {
    B256::new(checkpoint.hash::<Native>().0)
}

/// Settlement's records in the node's database. Cheap to clone.
#[derive(Clone)]
pub struct SettlementStore {
    database: Database,
}

impl std::fmt::Debug for SettlementStore {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("SettlementStore").field("path", &self.database.path()).finish()
    }
}

impl OutboxStore for SettlementStore {
    type Error = SettlementStoreError;

    fn entries(&self) -> Result<Vec<Entry>, Self::Error> {
        let records = self.database.view()?.journal_scan(Space::Outbox, &[])?;
        let mut entries = Vec::with_capacity(records.len());
        for (_, value) in records {
            let entry = Entry::decode(&value)?;
            Purpose::decode(&entry.tag)?;
            entries.push(entry);
        }
        Ok(entries)
    }

    fn put(&self, entry: &Entry) -> Result<(), Self::Error> {
        let (key, value) = (entry.nonce.to_be_bytes().to_vec(), entry.encode());
        Ok(self.database.journal_write(&[JournalEdit::Put { space: Space::Outbox, key, value }])?)
    }

    fn remove(&self, nonce: u64) -> Result<(), Self::Error> {
        let key = nonce.to_be_bytes().to_vec();
        Ok(self.database.journal_write(&[JournalEdit::Delete { space: Space::Outbox, key }])?)
    }
}

impl SettlementStore {
    /// Settlement's records in this database.
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// What a start, or a reorg deeper than expected, takes up: everything above the batches that L1 has executed for good and that are
    /// recorded so.
    ///
    /// # Errors
    /// The database failed or is damaged.
    pub fn recover(&self, executed: u64) -> Result<Recovered, SettlementStoreError> {
        let view = self.database.view()?;
        let last = view.last_batch()?.map_or(0, |batch| batch.number);
        let executed = executed.min(view.executed_batch()?.map_or(0, |batch| batch.number));
        drop(view);
        let mut batches = Vec::new();
        for number in executed + 1..=last.min(executed + RECOVERED_MAX) {
            let sealed = self.sealed(number, 0)?;
            let certificate = self.certificate(number)?.map(|certificate| head(&certificate));
            let certificate =
                certificate.filter(|(checkpoint, _)| *checkpoint == sealed.checkpoint).map(|found| found.1);
            let view = self.database.view()?;
            batches.push((sealed, certificate, view.proof(number)?.is_some(), self.sent_under(number)?));
        }
        Ok(Recovered { mode: self.mode()?, executed, batches })
    }

    /// A batch as the core needs it.
    pub(crate) fn sealed(&self, number: u64, sealed_at_s: u64) -> Result<Sealed, SettlementStoreError> {
        let batch = self.batch(number)?;
        let mut lengths = Vec::new();
        for block in batch.first_block..=batch.last_block {
            lengths.push(self.block(block)?.chunk.len());
        }
        Ok(Sealed {
            number,
            parent: hash(&batch.parent),
            checkpoint: hash(&batch.checkpoint),
            protocol_version: batch.checkpoint.protocol_version,
            priority_count: batch.checkpoint.priority_count,
            parts: posting::parts(lengths)?.len() as u32,
            sealed_at_s,
        })
    }

    /// A batch's record.
    pub(crate) fn batch(&self, number: u64) -> Result<BatchRecord, SettlementStoreError> {
        self.database.view()?.batch(number)?.ok_or(SettlementStoreError::Missing { what: "batch", number })
    }

    fn block(&self, number: u64) -> Result<BlockRecord, SettlementStoreError> {
        self.database.view()?.block(number)?.ok_or(SettlementStoreError::Missing { what: "block", number })
    }

    /// A batch's data, a chunk for each block.
    pub(crate) fn chunks(&self, batch: &BatchRecord) -> Result<Vec<Vec<u8>>, SettlementStoreError> {
        (batch.first_block..=batch.last_block).map(|number| Ok(self.block(number)?.chunk)).collect()
    }

    /// A batch's withdrawals with their indices, in order.
    pub(crate) fn withdrawals(&self, batch: &BatchRecord) -> Result<Vec<Rollup::Withdrawal>, SettlementStoreError> {
        let mut withdrawals = Vec::new();
        for number in batch.first_block..=batch.last_block {
            let block = self.block(number)?;
            if block.messages.is_empty() {
                continue;
            }
            // Every block writes the chain object, last of all, and the object counts withdrawals.
            let chunk = Chunk::decode::<Native>(&block.chunk)?;
            let Some(Object::Chain(chain)) = chunk.writes.last().map(|write| write.object) else {
                return Err(SettlementStoreError::Missing { what: "the chain object of block", number });
            };
            let first = block.first_message_index(chain.withdrawal_count);
            let found = (first..).zip(&block.messages);
            withdrawals.extend(found.map(|(index, made)| Rollup::Withdrawal::new(index, made.recipient, made.amount)));
        }
        Ok(withdrawals)
    }

    /// Notes a batch's stage, and says whether it was another.
    pub(crate) fn set_stage(&self, number: u64, stage: Stage) -> Result<bool, SettlementStoreError> {
        let batch = self.batch(number)?;
        let is_another = batch.stage != stage;
        if is_another {
            self.database.put_batch(&BatchRecord { stage, ..batch })?;
        }
        Ok(is_another)
    }

    /// The stored certificate of a batch, unchecked.
    pub(crate) fn certificate(&self, number: u64) -> Result<Option<Certificate>, SettlementStoreError> {
        let Some(bytes) = self.database.view()?.certificate(number)? else { return Ok(None) };
        Certificate::decode(&bytes).map(Some).map_err(|source| SettlementStoreError::Certificate { number, source })
    }

    pub(crate) fn put_certificate(
        &self,
        number: u64,
        certificate: &VerifiedCertificate,
    ) -> Result<CertificateHead, SettlementStoreError> {
        let certificate = certificate.certificate();
        self.database.put_certificate(number, &certificate.encode())?;
        let batch = self.batch(number)?;
        let expiry = Some(certificate.statement.expiry);
        if batch.certificate_expiry != expiry {
            self.database.put_batch(&BatchRecord { certificate_expiry: expiry, ..batch })?;
        }
        Ok(head(certificate).1)
    }

    pub(crate) fn proof(&self, number: u64) -> Result<Option<Bytes>, SettlementStoreError> {
        Ok(self.database.view()?.proof(number)?.map(Bytes::from))
    }

    pub(crate) fn put_proof(&self, number: u64, proof: &Bytes) -> Result<(), SettlementStoreError> {
        Ok(self.database.put_proof(number, proof)?)
    }

    pub(crate) fn delete_proof(&self, number: u64) -> Result<(), SettlementStoreError> {
        let key = number.to_be_bytes().to_vec();
        Ok(self.database.journal_write(&[JournalEdit::Delete { space: Space::Proofs, key }])?)
    }

    /// Forgets what belongs to batches that will be sealed anew.
    pub(crate) fn forget(&self, numbers: impl Iterator<Item = u64>) -> Result<(), SettlementStoreError> {
        let mut edits = Vec::new();
        for number in numbers {
            let key = number.to_be_bytes().to_vec();
            edits.push(JournalEdit::Delete { space: Space::Proofs, key: key.clone() });
            edits.push(JournalEdit::Delete { space: Space::Certificates, key });
            edits.push(JournalEdit::Delete { space: Space::Settlement, key: sent_key(number) });
        }
        Ok(self.database.journal_write(&edits)?)
    }

    fn mode(&self) -> Result<Mode, SettlementStoreError> {
        let Some(bytes) = self.database.view()?.journal(Space::Settlement, MODE_KEY)? else {
            return Ok(Mode::Committee);
        };
        match bytes.split_first() {
            Some((0, [])) => Ok(Mode::Committee),
            Some((1, since)) => since
                .try_into()
                .map(|since| Mode::L1Data { since_s: u64::from_be_bytes(since) })
                .map_err(|_| SettlementStoreError::Damaged { what: "mode", got: bytes.len() }),
            _ => Err(SettlementStoreError::Damaged { what: "mode", got: bytes.len() }),
        }
    }

    pub(crate) fn set_mode(&self, mode: Mode) -> Result<(), SettlementStoreError> {
        let value = match mode {
            Mode::Committee => vec![0],
            Mode::L1Data { since_s } => [&[1][..], &since_s.to_be_bytes()].concat(),
        };
        let edit = JournalEdit::Put { space: Space::Settlement, key: MODE_KEY.to_vec(), value };
        Ok(self.database.journal_write(&[edit])?)
    }

    fn sent_under(&self, number: u64) -> Result<Option<u64>, SettlementStoreError> {
        let Some(bytes) = self.database.view()?.journal(Space::Settlement, &sent_key(number))? else {
            return Ok(None);
        };
        let got = bytes.len();
        let bytes = bytes.try_into().map_err(|_| SettlementStoreError::Damaged { what: "sent", got })?;
        Ok(Some(u64::from_be_bytes(bytes)))
    }

    pub(crate) fn mark_sent(&self, number: u64, revert_count: u64) -> Result<(), SettlementStoreError> {
        let (key, value) = (sent_key(number), revert_count.to_be_bytes().to_vec());
        Ok(self.database.journal_write(&[JournalEdit::Put { space: Space::Settlement, key, value }])?)
    }
}

fn sent_key(number: u64) -> Vec<u8> {
    [SENT_PREFIX, &number.to_be_bytes()].concat()
}

/// The checkpoint a certificate is for, and what it is good for.
fn head(certificate: &Certificate) -> (B256, CertificateHead) {
    let statement = &certificate.statement;
    let head = CertificateHead {
        revert_count: statement.revert_count,
        expiry: statement.expiry,
        keyset: statement.keyset_hash,
    };
    (statement.checkpoint, head)
}
