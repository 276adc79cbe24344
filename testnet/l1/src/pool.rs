//! Transactions waiting for a block.

use crate::{config::ChainLimits, error::TransactionError, transaction::SignedTransaction};
use alloy::primitives::{Address, B256};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap},
    sync::Arc,
};

/// A replacement must raise both fees by this much, as geth asks.
const REPLACEMENT_BUMP_PERCENT: u128 = 10;

#[derive(Debug, Clone)]
struct Pooled {
    transaction: Arc<SignedTransaction>,
    /// Breaks ties between equal tips: first come, first served.
    arrival: u64,
}

/// The mempool: by sender, then by nonce. Gaps are allowed; what lies behind one waits.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pool {
    senders: BTreeMap<Address, BTreeMap<u64, Pooled>>,
    by_hash: HashMap<B256, (Address, u64)>,
    bytes: usize,
    arrivals: u64,
}

impl Pool {
    pub(crate) fn len(&self) -> usize {
        self.by_hash.len()
    }

    pub(crate) fn senders(&self) -> impl Iterator<Item = Address> + '_ {
        self.senders.keys().copied()
    }

    pub(crate) fn get(&self, hash: B256) -> Option<&Arc<SignedTransaction>> {
        let (sender, nonce) = self.by_hash.get(&hash)?;
        self.senders.get(sender)?.get(nonce).map(|pooled| &pooled.transaction)
    }

    /// Adds a transaction, in place of the one with the same sender and nonce if it pays enough more.
    pub(crate) fn insert(
        &mut self,
        transaction: Arc<SignedTransaction>,
        limits: &ChainLimits,
    ) -> Result<(), TransactionError> {
        let (hash, sender, nonce) = (transaction.hash(), transaction.sender(), transaction.nonce());
        if self.by_hash.contains_key(&hash) {
            return Err(TransactionError::AlreadyKnown);
        }
        let queue = self.senders.get(&sender);
        let replaced = queue.and_then(|queue| queue.get(&nonce)).map(|pooled| pooled.transaction.clone());
        match &replaced {
            Some(old) => check_replacement(old, &transaction)?,
            None => {
                if self.len() >= limits.pool_transactions_max {
                    return Err(TransactionError::PoolFull);
                }
                let transactions_max = limits.pool_sender_transactions_max;
                if queue.is_some_and(|queue| queue.len() >= transactions_max) {
                    return Err(TransactionError::SenderLimit { sender, transactions_max });
                }
            }
        }
        let freed = replaced.as_ref().map_or(0, |old| old.size_bytes());
        let bytes = self.bytes - freed + transaction.size_bytes();
        if bytes > limits.pool_bytes_max {
            return Err(TransactionError::PoolFull);
        }
        if let Some(old) = replaced {
            self.by_hash.remove(&old.hash());
        }
        self.bytes = bytes;
        self.by_hash.insert(hash, (sender, nonce));
        self.senders.entry(sender).or_default().insert(nonce, Pooled { transaction, arrival: self.arrivals });
        self.arrivals += 1;
        Ok(())
    }

    pub(crate) fn remove(&mut self, hash: B256) -> Option<Arc<SignedTransaction>> {
        let (sender, nonce) = self.by_hash.remove(&hash)?;
        let queue = self.senders.get_mut(&sender)?;
        let pooled = queue.remove(&nonce)?;
        if queue.is_empty() {
            self.senders.remove(&sender);
        }
        self.bytes -= pooled.transaction.size_bytes();
        Some(pooled.transaction)
    }

    /// Drops what `sender` can no longer use: everything below its next nonce.
    pub(crate) fn advance(&mut self, sender: Address, next_nonce: u64) {
        let Some(queue) = self.senders.get_mut(&sender) else { return };
        let kept = queue.split_off(&next_nonce);
        for (_, stale) in std::mem::replace(queue, kept) {
            self.by_hash.remove(&stale.transaction.hash());
            self.bytes -= stale.transaction.size_bytes();
        }
        if queue.is_empty() {
            self.senders.remove(&sender);
        }
    }

    /// The nonce after the gapless run of pooled transactions that starts at `next_nonce`.
    pub(crate) fn nonce_after(&self, sender: Address, next_nonce: u64) -> u64 {
        let queue = self.senders.get(&sender);
        let run = queue.into_iter().flat_map(|queue| queue.range(next_nonce..));
        run.zip(next_nonce..).take_while(|((nonce, _), expected)| **nonce == *expected).count() as u64 + next_nonce
    }

    /// A queue of the transactions that can run at `base_fee`, best tip first, each sender's in nonce order.
    /// `next_nonce` tells where a sender's run begins.
    pub(crate) fn ready(&self, base_fee: u64, next_nonce: impl Fn(Address) -> u64) -> Ready<'_> {
        let mut ready = Ready { pool: self, base_fee, heads: BinaryHeap::new() };
        for sender in self.senders.keys() {
            ready.push(*sender, next_nonce(*sender));
        }
        ready
    }
}

fn check_replacement(old: &SignedTransaction, new: &SignedTransaction) -> Result<(), TransactionError> {
    let bumped = |fee: u128| fee.saturating_add((fee / 100).saturating_mul(REPLACEMENT_BUMP_PERCENT).max(1));
    let (fee_cap_min, tip_min) = (bumped(old.fee_cap()), bumped(old.tip_max()));
    let (fee_cap, tip) = (new.fee_cap(), new.tip_max());
    if fee_cap < fee_cap_min || tip < tip_min {
        return Err(TransactionError::ReplacementUnderpriced { fee_cap, tip, fee_cap_min, tip_min });
    }
    Ok(())
}

/// See [`Pool::ready`]. A sender's next transaction comes up only after [`Ready::accept`] of the one before.
#[derive(Debug)]
pub(crate) struct Ready<'a> {
    pool: &'a Pool,
    base_fee: u64,
    heads: BinaryHeap<(u128, Reverse<u64>, Address, u64)>,
}

impl<'a> Ready<'a> {
    /// Takes the best head. Its sender's later transactions stay out until it is accepted.
    pub(crate) fn pop(&mut self) -> Option<Arc<SignedTransaction>> {
        let (_, _, sender, nonce) = self.heads.pop()?;
        self.pool.senders.get(&sender)?.get(&nonce).map(|pooled| pooled.transaction.clone())
    }

    /// Says that the transaction is in the block, so that its sender's next may follow.
    pub(crate) fn accept(&mut self, transaction: &SignedTransaction) {
        self.push(transaction.sender(), transaction.nonce() + 1);
    }

    fn push(&mut self, sender: Address, nonce: u64) {
        let Some(pooled) = self.pool.senders.get(&sender).and_then(|queue| queue.get(&nonce)) else { return };
        let over = pooled.transaction.fee_cap().checked_sub(u128::from(self.base_fee));
        if let Some(over) = over {
            let tip = over.min(pooled.transaction.tip_max());
            self.heads.push((tip, Reverse(pooled.arrival), sender, nonce));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::{
        consensus::{SignableTransaction, TxEip1559, TxEnvelope},
        eips::eip2718::Encodable2718,
        primitives::TxKind,
        signers::{SignerSync, local::PrivateKeySigner},
    };

    fn signer(index: usize) -> PrivateKeySigner {
        PrivateKeySigner::from_bytes(&crate::config::DEVELOPMENT_ACCOUNTS[index].1).expect("a valid key")
    }

    fn transaction(index: usize, nonce: u64, fee_cap: u128, tip: u128) -> Arc<SignedTransaction> {
        let unsigned = TxEip1559 {
            chain_id: 31_337,
            nonce,
            gas_limit: 21_000,
            max_fee_per_gas: fee_cap,
            max_priority_fee_per_gas: tip,
            to: TxKind::Call(Address::ZERO),
            ..TxEip1559::default()
        };
        let signature = signer(index).sign_hash_sync(&unsigned.signature_hash()).expect("signs");
        let bytes = TxEnvelope::from(unsigned.into_signed(signature)).encoded_2718();
        Arc::new(SignedTransaction::decode(&bytes, 1 << 17).expect("decodes"))
    }

    fn order(pool: &Pool, base_fee: u64) -> Vec<B256> {
        let mut ready = pool.ready(base_fee, |_| 0);
        std::iter::from_fn(|| {
            let next = ready.pop()?;
            ready.accept(&next);
            Some(next.hash())
        })
        .collect()
    }

    #[test]
    fn best_tip_first_and_nonces_in_order() {
        let limits = ChainLimits::default();
        let mut pool = Pool::default();
        let (a0, a1) = (transaction(0, 0, 100, 1), transaction(0, 1, 100, 50));
        let (b0, gap) = (transaction(1, 0, 100, 10), transaction(1, 2, 100, 99));
        for transaction in [&a1, &gap, &a0, &b0] {
            pool.insert(transaction.clone(), &limits).expect("fits");
        }
        assert_eq!(order(&pool, 0), [b0.hash(), a0.hash(), a1.hash()], "the one behind a gap waits");
        assert!(order(&pool, 101).is_empty(), "nobody pays this base fee");
        assert_eq!(pool.nonce_after(signer(0).address(), 0), 2);
        assert_eq!(pool.nonce_after(signer(1).address(), 0), 1);
    }

    #[test]
    fn a_replacement_must_raise_both_fees_by_a_tenth() {
        let limits = ChainLimits::default();
        let mut pool = Pool::default();
        pool.insert(transaction(0, 0, 1000, 100), &limits).expect("fits");
        for (fee_cap, tip) in [(1099, 110), (1100, 109), (1000, 1000)] {
            let refused = pool.insert(transaction(0, 0, fee_cap, tip), &limits);
            assert!(matches!(refused, Err(TransactionError::ReplacementUnderpriced { .. })), "{refused:?}");
        }
        let better = transaction(0, 0, 1100, 110);
        pool.insert(better.clone(), &limits).expect("replaces");
        assert_eq!(pool.len(), 1);
        assert_eq!(pool.insert(better, &limits), Err(TransactionError::AlreadyKnown));
    }

    #[test]
    fn every_bound_holds() {
        let mut pool = Pool::default();
        let one = transaction(0, 0, 100, 1);
        let limits = ChainLimits { pool_sender_transactions_max: 1, ..ChainLimits::default() };
        pool.insert(one.clone(), &limits).expect("fits");
        let second = pool.insert(transaction(0, 1, 100, 1), &limits);
        assert!(matches!(second, Err(TransactionError::SenderLimit { .. })));
        let limits = ChainLimits { pool_transactions_max: 1, ..ChainLimits::default() };
        assert_eq!(pool.insert(transaction(1, 0, 100, 1), &limits), Err(TransactionError::PoolFull));
        let limits = ChainLimits { pool_bytes_max: one.size_bytes() + 10, ..ChainLimits::default() };
        assert_eq!(pool.insert(transaction(1, 0, 100, 1), &limits), Err(TransactionError::PoolFull));
        assert_eq!(pool.remove(one.hash()).map(|removed| removed.hash()), Some(one.hash()));
        assert_eq!((pool.len(), pool.bytes, pool.senders.len()), (0, 0, 0));
    }

    #[test]
    fn advancing_drops_used_nonces_only() {
        let limits = ChainLimits::default();
        let mut pool = Pool::default();
        for nonce in 0..4 {
            pool.insert(transaction(0, nonce, 100, 1), &limits).expect("fits");
        }
        pool.advance(signer(0).address(), 3);
        assert_eq!(pool.len(), 1);
        pool.advance(signer(0).address(), 4);
        assert_eq!((pool.len(), pool.bytes, pool.senders.len()), (0, 0, 0));
    }
}
