//! The rollup's rules on a chain of blocks, as far as settlement meets them.

use std::collections::BTreeMap;

use alloy::primitives::{Address, B256, keccak256};
use joule_l1::{BlockRef, PendingBatch, RollupState};
use rand_chacha::ChaCha8Rng;

use super::chance;
use crate::{Cause, Purpose};

pub(super) const OPERATOR: Address = Address::repeat_byte(0x0e);
/// Reorgs are no deeper than this.
pub(super) const CONFIRMATIONS: u64 = 6;
pub(super) const REMAINING_MIN_S: u64 = 2_000;
const PROOF_DEADLINE_S: u64 = 1_500;
const BLOCK_S: u64 = 12;

/// A transaction as L1 sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transaction {
    pub(super) nonce: u64,
    pub(super) purpose: Purpose,
    /// The batch content that a post carries, by its checkpoint.
    pub(super) content: B256,
    pub(super) keyset: B256,
}

#[derive(Clone, Debug, Default)]
struct State {
    batches: Vec<PendingBatch>,
    proven: u64,
    executed: u64,
    revert_count: u64,
    nonce: u64,
    posted: BTreeMap<B256, u32>,
    late_revert_at_s: u64,
}

#[derive(Clone, Debug)]
struct Block {
    head: BlockRef,
    transactions: Vec<Transaction>,
    state: State,
}

/// What a checkpoint hash stands for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Content {
    pub(super) parent: B256,
    pub(super) parts: u32,
}

pub(super) struct L1 {
    blocks: Vec<Block>,
    pool: BTreeMap<u64, Transaction>,
    /// Everything ever sealed, by checkpoint.
    pub(super) contents: BTreeMap<B256, Content>,
    pub(super) loss_percent: u32,
    pub(super) stranger_reverts: bool,
    now_s: u64,
    keyset: u64,
    forks: u64,
    /// Height that was once so deep that no reorg goes below it.
    floor: usize,
}

impl L1 {
    pub(super) fn new() -> Self {
        let now_s = 1_000_000;
        let head = BlockRef { number: 0, hash: keccak256("genesis"), timestamp_s: now_s };
        let blocks = vec![Block { head, transactions: Vec::new(), state: State::default() }];
        let (pool, contents) = (BTreeMap::new(), BTreeMap::new());
        Self { blocks, pool, contents, loss_percent: 0, stranger_reverts: false, now_s, keyset: 0, forks: 0, floor: 0 }
    }

    pub(super) fn now_s(&self) -> u64 {
        self.now_s
    }

    pub(super) fn head(&self) -> BlockRef {
        self.blocks[self.blocks.len() - 1].head
    }

    fn state(&self) -> &State {
        &self.blocks[self.blocks.len() - 1].state
    }

    fn settled(&self) -> &State {
        &self.blocks[self.blocks.len().saturating_sub(1 + CONFIRMATIONS as usize)].state
    }

    pub(super) fn nonces(&self) -> (u64, u64) {
        (self.state().nonce, self.settled().nonce)
    }

    pub(super) fn settled_executed(&self) -> u64 {
        self.settled().executed
    }

    pub(super) fn keyset(&self) -> B256 {
        keccak256(self.keyset.to_be_bytes())
    }

    pub(super) fn posted(&self, content: &B256) -> u32 {
        self.state().posted.get(content).copied().unwrap_or(0)
    }

    /// Checkpoints of all batches that L1 has, from number 1.
    pub(super) fn checkpoints(&self) -> Vec<B256> {
        self.state().batches.iter().map(|batch| batch.checkpoint).collect()
    }

    pub(super) fn rollup(&self) -> RollupState {
        let (head, state) = (self.head(), self.state());
        let executed_checkpoint =
            (state.executed as usize).checked_sub(1).map_or(B256::ZERO, |at| state.batches[at].checkpoint);
        RollupState {
            at: head,
            committed: state.batches.len() as u64,
            proven: state.proven,
            executed: state.executed,
            revert_count: state.revert_count,
            executed_checkpoint,
            pending: state.batches[state.executed as usize..].to_vec(),
            frozen_at_s: None,
            is_late: state.is_late(head.timestamp_s),
            protocol_version: 1,
            sequencer: OPERATOR,
            requests: 0,
            executed_requests: 0,
            ecdsa_keyset: Some(self.keyset()),
            bls_keyset: None,
        }
    }

    /// What an estimate says: whether the call would succeed on the latest state.
    pub(super) fn estimate(&self, transaction: &Transaction) -> Result<(), Cause> {
        let mut state = self.state().clone();
        state.run(transaction, self.head().timestamp_s, &self.contents, self.keyset())
    }

    pub(super) fn submit(&mut self, random: &mut ChaCha8Rng, transaction: Transaction) {
        if !chance(random, self.loss_percent) && transaction.nonce >= self.state().nonce {
            self.pool.insert(transaction.nonce, transaction);
        }
    }

    pub(super) fn mine(&mut self, random: &mut ChaCha8Rng) {
        self.wait(BLOCK_S);
        let mut state = self.state().clone();
        if self.stranger_reverts {
            state.stranger_reverts(self.now_s);
        }
        let mut transactions = Vec::new();
        while let Some(transaction) = self.pool.remove(&state.nonce) {
            // Some blocks are full.
            if self.loss_percent > 0 && chance(random, 30) {
                self.pool.insert(state.nonce, transaction);
                break;
            }
            state.nonce += 1;
            // A failed one uses its nonce up all the same.
            let _ = state.run(&transaction, self.now_s, &self.contents, self.keyset());
            transactions.push(transaction);
        }
        self.pool.retain(|&nonce, _| nonce >= state.nonce);
        let number = self.blocks.len() as u64;
        let mut preimage = self.head().hash.to_vec();
        preimage.extend_from_slice(&self.forks.to_be_bytes());
        transactions.iter().for_each(|transaction| preimage.extend_from_slice(&transaction.purpose.encode()));
        let head = BlockRef { number, hash: keccak256(preimage), timestamp_s: self.now_s };
        self.blocks.push(Block { head, transactions, state });
        self.floor = self.floor.max(self.blocks.len().saturating_sub(1 + CONFIRMATIONS as usize));
    }

    pub(super) fn wait(&mut self, by_s: u64) {
        self.now_s += by_s;
    }

    /// Takes blocks away; their transactions return to the pool or are gone.
    pub(super) fn reorganise(&mut self, depth: u64, returns: bool) {
        let kept = self.blocks.len().saturating_sub(depth as usize).max(self.floor + 1);
        self.forks += 1;
        for block in self.blocks.split_off(kept) {
            for transaction in block.transactions.into_iter().filter(|_| returns) {
                self.pool.entry(transaction.nonce).or_insert(transaction);
            }
        }
    }

    /// Somebody else uses the operator's next nonce.
    pub(super) fn foreign_transaction(&mut self) {
        let nonce = self.state().nonce;
        let (content, keyset) = (B256::ZERO, B256::ZERO);
        self.pool.insert(nonce, Transaction { nonce, purpose: Purpose::Nothing, content, keyset });
    }

    pub(super) fn change_keyset(&mut self) {
        self.keyset += 1;
    }
}

impl State {
    fn is_late(&self, now_s: u64) -> bool {
        self.batches.get(self.proven as usize).is_some_and(|batch| now_s > batch.committed_at_s + PROOF_DEADLINE_S)
    }

    /// As the contract lets anyone while the operator is late, once per deadline.
    fn stranger_reverts(&mut self, now_s: u64) {
        if self.is_late(now_s) && now_s >= self.late_revert_at_s + PROOF_DEADLINE_S {
            self.late_revert_at_s = now_s;
            self.revert(self.proven);
        }
    }

    fn revert(&mut self, keep: u64) {
        self.batches.truncate(keep as usize);
        self.revert_count += 1;
    }

    fn tip(&self) -> B256 {
        self.batches.last().map_or(B256::ZERO, |batch| batch.checkpoint)
    }

    fn run(
        &mut self,
        transaction: &Transaction,
        now_s: u64,
        contents: &BTreeMap<B256, Content>,
        keyset: B256,
    ) -> Result<(), Cause> {
        let ensure = |holds: bool| if holds { Ok(()) } else { Err(Cause::Other) };
        match transaction.purpose {
            Purpose::Nothing => {}
            Purpose::Post { part, .. } => {
                let posted = self.posted.entry(transaction.content).or_default();
                ensure(part <= *posted)?;
                *posted = (*posted).max(part + 1);
            }
            Purpose::Commit { number, revert_count, checkpoint, expiry } => {
                let named = (number, revert_count, checkpoint, expiry);
                self.commit(named, transaction.keyset, now_s, contents, keyset)?;
            }
            Purpose::Prove { number, checkpoint } => {
                ensure(number == self.proven + 1 && number <= self.batches.len() as u64)?;
                let batch = &mut self.batches[number as usize - 1];
                if batch.checkpoint != checkpoint {
                    return Err(Cause::Proof);
                }
                batch.proven_at_s = Some(now_s);
                self.proven = number;
            }
            Purpose::Execute { number, checkpoint } => {
                ensure(number == self.executed + 1 && number <= self.proven)?;
                ensure(self.batches[number as usize - 1].checkpoint == checkpoint)?;
                self.executed = number;
            }
            Purpose::Settle { number, revert_count, checkpoint, expiry } => {
                ensure(self.proven == self.executed && self.batches.len() as u64 == self.executed)?;
                let named = (number, revert_count, checkpoint, expiry);
                self.commit(named, transaction.keyset, now_s, contents, keyset)?;
                (self.proven, self.executed) = (number, number);
            }
            Purpose::Revert { keep, .. } => {
                ensure(keep >= self.proven && keep <= self.batches.len() as u64)?;
                self.revert(keep);
            }
        }
        Ok(())
    }

    fn commit(
        &mut self,
        (number, revert_count, checkpoint, expiry): (u64, u64, B256, Option<u64>),
        signed_by: B256,
        now_s: u64,
        contents: &BTreeMap<B256, Content>,
        keyset: B256,
    ) -> Result<(), Cause> {
        let content = contents.get(&checkpoint).expect("a batch that was sealed");
        if number != self.batches.len() as u64 + 1 || content.parent != self.tip() {
            return Err(Cause::Other);
        }
        match expiry {
            Some(expiry) => {
                let is_good =
                    revert_count == self.revert_count && signed_by == keyset && expiry >= now_s + REMAINING_MIN_S;
                if !is_good {
                    return Err(Cause::Certificate);
                }
            }
            None => {
                if self.posted.get(&checkpoint) != Some(&content.parts) {
                    return Err(Cause::Other);
                }
            }
        }
        self.batches.push(PendingBatch {
            number,
            checkpoint,
            protocol_version: 1,
            committed_at_s: now_s,
            proven_at_s: None,
        });
        Ok(())
    }
}
