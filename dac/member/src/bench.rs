//! How many payments a second a member verifies, keeps and signs; and the maker of batches that bench and tests offer it.

use std::{collections::VecDeque, path::Path, sync::Arc, time::Instant};

use alloy_primitives::{Address, B256};
use joule_committee::{CertificateStatement, CompactSignature, EcdsaSecretKey, KeyError, ecdsa_keyset_hash};
use joule_committee_client::{Offer, OfferError, SealedBatch, SignedOffer, checkpoint_hash};
use joule_kernel::{Abort, NotExecuted};
use joule_protocol::{Accumulator, Checkpoint, Genesis, Hash, Native};
use joule_state::{Execution, MemoryStore, StateTree};
use joule_storage::{Database, StorageError};
use joule_workload::{Chain, GENESIS_SECONDS, Key, Population, payments};
use serde::Serialize;
use thiserror::Error;

use crate::{
    keys::{KeyFileError, MemberKeys},
    l1::L1View,
    rules::{AcceptedOffer, OfferRefused, Promises},
    worker::{WorkError, Worker},
};

const BASE_FEE: u64 = 100;
const NOW: u64 = GENESIS_SECONDS + 60;
const L1_CHAIN_ID: u64 = 31_337;
const ROLLUP: Address = Address::repeat_byte(0x11);
const YEAR_S: u64 = 366 * 86_400;

/// Why a bench was not finished.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BenchError {
    /// The disk.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The batches made do not execute, which is a bug of the bench.
    #[error("the bench made a block that aborts: {0}")]
    Abort(#[from] Abort),
    /// The member does not take them.
    #[error(transparent)]
    Work(Box<WorkError>),
    /// The rules do not take them.
    #[error(transparent)]
    Refused(#[from] OfferRefused),
    /// The batch is none.
    #[error(transparent)]
    Offer(#[from] OfferError),
    /// The member has no key.
    #[error(transparent)]
    Keys(#[from] KeyFileError),
    /// The member's key is none.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl From<WorkError> for BenchError {
    fn from(error: WorkError) -> Self {
        Self::Work(Box::new(error))
    }
}

/// Executes and seals batches in memory, as a sequencer would, and signs offers of them.
#[derive(Clone, Debug)]
pub struct BatchMaker {
    execution: Execution<MemoryStore>,
    sequencer: Key,
    number: u64,
}

impl BatchMaker {
    /// A chain at its genesis, whose sequencer has a key that `seed` names.
    pub fn new(genesis: Genesis, seed: u64) -> Self {
        Self { execution: Chain::new(genesis).execution, sequencer: Key::derive("sequencer", seed, 0), number: 0 }
    }

    /// The sequencer's address.
    pub fn sequencer(&self) -> Address {
        Address::new(self.sequencer.address.0)
    }

    /// Where the chain stands.
    pub fn checkpoint(&self) -> &Checkpoint {
        self.execution.checkpoint()
    }

    /// The state.
    pub fn tree(&self) -> &StateTree<MemoryStore> {
        self.execution.tree()
    }

    /// The number of the last batch.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Seals a batch of at most `blocks` blocks, each as full as it gets, taking requests and then transactions from the fronts of the queues. A transaction that
    /// is refused is dropped.
    ///
    /// # Errors
    /// A request that makes the block abort, which no request does.
    pub fn seal(
        &mut self,
        requests: &mut VecDeque<Vec<u8>>,
        transactions: &mut VecDeque<Vec<u8>>,
        blocks: usize,
        time: u64,
    ) -> Result<SealedBatch, Abort> {
        let parent = *self.checkpoint();
        let (mut encoded, mut data_bytes) = (Vec::new(), 0);
        while encoded.is_empty() || (encoded.len() < blocks && !(requests.is_empty() && transactions.is_empty())) {
            let block = self.execution.build::<Abort>(time, BASE_FEE, |block| {
                while let Some(request) = requests.front() {
                    match block.request(request) {
                        Ok(_) => drop(requests.pop_front()),
                        Err(NotExecuted::BlockFull) => return Ok(()),
                        Err(NotExecuted::Aborted(abort)) => return Err(abort),
                        Err(NotExecuted::Refused(refusal)) => return Err(Abort::Refused(refusal)),
                    }
                }
                while let Some(transaction) = transactions.front() {
                    match block.transaction(transaction) {
                        Ok(_) | Err(NotExecuted::Refused(_)) => drop(transactions.pop_front()),
                        Err(NotExecuted::BlockFull) => return Ok(()),
                        Err(NotExecuted::Aborted(abort)) => return Err(abort),
                    }
                }
                Ok(())
            })?;
            data_bytes += block.sealed.block.chunk.bytes().len() as u64;
            encoded.push(block.items.encode());
            match self.execution.take(&block.sealed) {
                Ok(()) => {}
                Err(error) => unreachable!("a tree in memory takes a block: {error}"),
            }
        }
        self.number += 1;
        let (number, checkpoint) = (self.number, *self.checkpoint());
        Ok(SealedBatch { number, revert_count: 0, parent, checkpoint, data_bytes, blocks: encoded })
    }

    /// The sequencer's signature over a digest.
    pub fn sign(&self, digest: B256) -> CompactSignature {
        let signature = self.sequencer.sign(&Hash(digest.0));
        let mut vs = B256::new(signature.s().0);
        vs.0[0] |= u8::from(signature.is_odd()) << 7;
        CompactSignature { r: B256::new(signature.r().0), vs }
    }

    /// The batch as the sequencer offers it.
    ///
    /// # Errors
    /// The batch is none.
    pub fn offer(&self, batch: SealedBatch, l1: &L1View, keyset: B256, expiry: u64) -> Result<SignedOffer, OfferError> {
        let statement = CertificateStatement {
            l1_chain_id: l1.l1_chain_id,
            rollup: l1.rollup,
            batch_number: batch.number,
            parent_checkpoint: checkpoint_hash(&batch.parent),
            checkpoint: checkpoint_hash(&batch.checkpoint),
            revert_count: l1.revert_count,
            data_bytes: batch.data_bytes,
            expiry,
            keyset_hash: keyset,
        };
        let offer = Offer::new(statement, batch.parent, batch.checkpoint, batch.blocks)?;
        let signature = self.sign(offer.digest());
        Ok(offer.signed(signature))
    }
}

/// An L1 on which nothing has been committed and these requests have been made.
pub fn quiet_l1(sequencer: Address, protocol_version: u32, keyset: B256, requests: &[Vec<u8>]) -> L1View {
    let mut acc = Accumulator::default();
    let mut accs = vec![B256::ZERO];
    for request in requests {
        acc.absorb::<Native>(request);
        accs.push(B256::new(acc.0.0));
    }
    L1View {
        l1_chain_id: L1_CHAIN_ID,
        rollup: ROLLUP,
        time_s: NOW,
        timestamp_skew_s: 60,
        remaining_min_s: 14 * 86_400,
        sequencer,
        is_late: false,
        is_frozen: false,
        revert_count: 0,
        protocol_version,
        ecdsa_keyset: Some(keyset),
        bls_keyset: None,
        batches: Arc::new(Vec::new()),
        request_accs: Arc::new(accs),
    }
}

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// Payments verified, kept and signed for.
    pub payments: u64,
    /// Blocks they were in.
    pub blocks: u64,
    /// Batches they were in.
    pub batches: u64,
    /// Bytes of batch data.
    pub data_bytes: u64,
    /// From the first offer to the last signature.
    pub seconds: f64,
    /// Payments a second.
    pub payments_per_second: f64,
    /// Of the seconds, those that went into checking and decoding offers.
    pub checking_seconds: f64,
}

/// Offers a member in `folder` batches of at most `batch_blocks` full blocks until it has signed for `count` payments. Making them is not measured; executing them, every fsync, and
/// the signatures are.
///
/// # Errors
/// The disk, or a bug.
pub fn run(folder: &Path, count: usize, batch_blocks: usize) -> Result<Measured, BenchError> {
    let genesis = Chain::test_genesis();
    let population = Population::new(1, &genesis, 64, 16);
    let stream = payments(&population, NOW, BASE_FEE.into(), count);
    let key = EcdsaSecretKey::from_bytes(&[1; 32])?;
    let signer = key.address();
    let keyset = ecdsa_keyset_hash(1, &[signer]);
    let mut maker = BatchMaker::new(genesis, 1);
    let l1 = quiet_l1(maker.sequencer(), maker.checkpoint().protocol_version, keyset, &stream.deposits);
    let keys = MemberKeys::new(signer, Some(key), None)?;
    let mut worker = Worker::open(Database::open(folder, &genesis)?, keys, l1.l1_chain_id, l1.rollup)?;
    let promises = Promises { expiry_ahead_max_s: YEAR_S };
    let expiry = NOW + YEAR_S / 2;

    let mut requests: VecDeque<_> = stream.deposits.into();
    let mut setup: VecDeque<_> = stream.setup.into();
    while !(requests.is_empty() && setup.is_empty()) {
        let batch = maker.seal(&mut requests, &mut setup, batch_blocks, NOW)?;
        let offer = maker.offer(batch, &l1, keyset, expiry)?;
        worker.sign(&AcceptedOffer::to_sign(offer, &l1, promises)?, &l1)?;
    }
    let mut queue: VecDeque<_> = stream.payments.into_iter().map(|(_, bytes)| bytes).collect();
    let mut offers = Vec::new();
    while !queue.is_empty() {
        let batch = maker.seal(&mut requests, &mut queue, batch_blocks, NOW)?;
        offers.push(maker.offer(batch, &l1, keyset, expiry)?.encode());
    }
    let (mut blocks, mut data_bytes, mut checking) = (0, 0, 0.0);
    let began = Instant::now();
    for bytes in &offers {
        let check = Instant::now();
        let offer = AcceptedOffer::to_sign(SignedOffer::decode(bytes)?, &l1, promises)?;
        checking += check.elapsed().as_secs_f64();
        let signed = worker.sign(&offer, &l1)?;
        blocks += signed.blocks as u64;
        data_bytes += signed.share.statement.data_bytes;
    }
    let seconds = began.elapsed().as_secs_f64();
    Ok(Measured {
        payments: count as u64,
        blocks,
        batches: offers.len() as u64,
        data_bytes,
        seconds,
        payments_per_second: count as f64 / seconds,
        checking_seconds: checking,
    })
}
