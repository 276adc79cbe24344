//! What waits in the pool, for readers.
//!
//! The pool itself belongs to the execution thread. This is its shadow for questions from outside, behind a lock that is only ever held for a look-up.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use joule_protocol::{Address, Hash};
use joule_sequencer::CheckedTransaction;

#[derive(Debug, Default)]
struct Index {
    transactions: HashMap<Hash, Arc<[u8]>>,
    nonces: HashMap<Address, u64>,
}

/// Waiting transactions by hash, and the next nonce of their senders.
#[derive(Debug, Default)]
pub struct Pending(Mutex<Index>);

impl Pending {
    /// A panic elsewhere leaves at worst an entry too many or too few, which the next block puts right.
    fn index(&self) -> MutexGuard<'_, Index> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bytes of a waiting transaction.
    pub fn transaction(&self, hash: &Hash) -> Option<Arc<[u8]>> {
        self.index().transactions.get(hash).cloned()
    }

    /// The nonce after the sender's last transaction that waits without a gap.
    pub fn nonce(&self, sender: &Address) -> Option<u64> {
        self.index().nonces.get(sender).copied()
    }

    /// Transactions waiting.
    pub fn len(&self) -> usize {
        self.index().transactions.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn insert(&self, transaction: &CheckedTransaction, next_nonce: Option<u64>) {
        let mut index = self.index();
        index.transactions.insert(transaction.hash(), transaction.bytes().clone());
        if let Some(nonce) = next_nonce {
            index.nonces.insert(transaction.sender(), nonce);
        }
    }

    pub(crate) fn remove(&self, hashes: &[Hash]) {
        let mut index = self.index();
        for hash in hashes {
            index.transactions.remove(hash);
        }
    }

    pub(crate) fn set_nonce(&self, sender: &Address, next_nonce: Option<u64>) {
        let mut index = self.index();
        match next_nonce {
            Some(nonce) => index.nonces.insert(*sender, nonce),
            None => index.nonces.remove(sender),
        };
    }

    pub(crate) fn clear(&self) {
        *self.index() = Index::default();
    }
}
