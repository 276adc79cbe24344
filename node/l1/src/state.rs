//! The rollup's state at one L1 block.

use alloy::{
    eips::BlockId,
    primitives::{Address, B256},
};
use futures::{StreamExt, TryStreamExt};
use joule_contracts::{DataCommittee, Rollup};

use crate::{BlockRef, L1Client, L1Error};

/// Batches that may wait between commit and execution, as the contract has it.
pub(crate) const PENDING_BATCHES_MAX: u64 = 256;

/// Batches asked for at once.
const CONCURRENT_READS: usize = 16;

/// A batch between commit and execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingBatch {
    /// Its number.
    pub number: u64,
    /// Hash of the checkpoint it leads to.
    pub checkpoint: B256,
    /// The version whose program must prove it.
    pub protocol_version: u32,
    /// When it was committed, unix seconds.
    pub committed_at_s: u64,
    /// When it was proven, if it is.
    pub proven_at_s: Option<u64>,
}

/// What the rollup says at one block. All of it is read at that block's hash, so it is one state or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RollupState {
    /// The block.
    pub at: BlockRef,
    /// Batches committed.
    pub committed: u64,
    /// Batches proven.
    pub proven: u64,
    /// Batches executed.
    pub executed: u64,
    /// Times that committed batches were dropped.
    pub revert_count: u64,
    /// Hash of the last executed checkpoint.
    pub executed_checkpoint: B256,
    /// Batches between commit and execution, by number.
    pub pending: Vec<PendingBatch>,
    /// When the chain was frozen, if it is.
    pub frozen_at_s: Option<u64>,
    /// Whether anyone may settle in the operator's place.
    pub is_late: bool,
    /// The version that new batches must have.
    pub protocol_version: u32,
    /// Who signs blocks and commits batches.
    pub sequencer: Address,
    /// Requests ever made.
    pub requests: u64,
    /// Requests that executed batches consumed.
    pub executed_requests: u64,
    /// The ECDSA keyset in force.
    pub ecdsa_keyset: Option<B256>,
    /// The BLS keyset in force.
    pub bls_keyset: Option<B256>,
}

impl RollupState {
    /// The checkpoint hash that L1 has for batch `number`: of one that waits, or of the last executed one.
    pub fn checkpoint_of(&self, number: u64) -> Option<B256> {
        if number == self.executed {
            return Some(self.executed_checkpoint);
        }
        let index = number.checked_sub(self.executed + 1)?;
        self.pending.get(usize::try_from(index).ok()?).map(|batch| batch.checkpoint)
    }

    /// Whether certificates of this keyset are taken.
    pub fn is_keyset_in_force(&self, keyset: B256) -> bool {
        self.ecdsa_keyset == Some(keyset) || self.bls_keyset == Some(keyset)
    }
}

fn some(hash: B256) -> Option<B256> {
    (!hash.is_zero()).then_some(hash)
}

impl L1Client {
    /// The rollup's state at a block.
    ///
    /// # Errors
    /// The node could not be asked, has dropped the block, or answers nonsense.
    pub async fn state(&self, at: BlockRef) -> Result<RollupState, L1Error> {
        // Thirteen calls at once make a future of 19 KB, which its callers would carry.
        Box::pin(self.read_state(at)).await
    }

    async fn read_state(&self, at: BlockRef) -> Result<RollupState, L1Error> {
        let block = BlockId::hash(at.hash);
        let rollup = self.rollup();
        let committee = DataCommittee::new(self.contracts().committee, self.provider());
        let (committed, proven, executed, reverts) =
            (rollup.committedCount(), rollup.provenCount(), rollup.executedCount(), rollup.revertCount());
        let (checkpoint, frozen, late) = (rollup.executedCheckpoint(), rollup.frozenAt(), rollup.isLate());
        let (version, sequencer) = (rollup.protocolVersion(), rollup.sequencer());
        let (requests, consumed) = (rollup.priorityCount(), rollup.executedPriorityCount());
        let (ecdsa, bls) = (committee.currentKeyset(1), committee.currentKeyset(2));
        let (committed, proven, executed, revert_count, executed_checkpoint, frozen_at, is_late) = tokio::try_join!(
            async { committed.block(block).call().await },
            async { proven.block(block).call().await },
            async { executed.block(block).call().await },
            async { reverts.block(block).call().await },
            async { checkpoint.block(block).call().await },
            async { frozen.block(block).call().await },
            async { late.block(block).call().await },
        )?;
        let (protocol_version, sequencer, requests, executed_requests, ecdsa, bls) = tokio::try_join!(
            async { version.block(block).call().await },
            async { sequencer.block(block).call().await },
            async { requests.block(block).call().await },
            async { consumed.block(block).call().await },
            async { ecdsa.block(block).call().await },
            async { bls.block(block).call().await },
        )?;
        let waiting = committed.saturating_sub(executed);
        if waiting > PENDING_BATCHES_MAX {
            return Err(L1Error::TooManyPending { most: PENDING_BATCHES_MAX, got: waiting });
        }
        let pending = futures::stream::iter(executed + 1..=committed)
            .map(|number| self.pending(number, block))
            .buffered(CONCURRENT_READS)
            .try_collect()
            .await?;
        Ok(RollupState {
            at,
            committed,
            proven,
            executed,
            revert_count,
            executed_checkpoint,
            pending,
            frozen_at_s: (frozen_at != 0).then_some(frozen_at),
            is_late,
            protocol_version,
            sequencer,
            requests,
            executed_requests,
            ecdsa_keyset: some(ecdsa),
            bls_keyset: some(bls),
        })
    }

    async fn pending(&self, number: u64, block: BlockId) -> Result<PendingBatch, L1Error> {
        let Rollup::batchesReturn { checkpoint, protocolVersion, committedAt, provenAt } =
            self.rollup().batches(number).block(block).call().await?;
        Ok(PendingBatch {
            number,
            checkpoint,
            protocol_version: protocolVersion,
            committed_at_s: committedAt,
            proven_at_s: (provenAt != 0).then_some(provenAt),
        })
    }
}
