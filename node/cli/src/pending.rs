//! What waits in the pool, for readers.
//!
//! The pool itself belongs to the execution thread. This is its shadow for questions from outside, behind a lock that is only ever held for a look-up.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use joule_protocol::{Address, Hash};
use joule_sequencer::{CheckedTransaction, Pool};

#[derive(Debug, Default)]
struct Index {
    transactions: HashMap<Hash, (Address, Arc<[u8]>)>,
    nonces: HashMap<Address, u64>,
}

impl Index {
    fn set_nonce(&mut self, sender: &Address, pool: &Pool) {
        match pool.next_nonce(sender) {
            Some(nonce) => self.nonces.insert(*sender, nonce),
            None => self.nonces.remove(sender),
        };
    }
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
        self.index().transactions.get(hash).map(|(_, bytes)| bytes.clone())
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

    /// A transaction waits in the pool.
    pub(crate) fn insert(&self, transaction: &CheckedTransaction, pool: &Pool) {
        let (hash, sender) = (transaction.hash(), transaction.sender());
        let mut index = self.index();
        index.transactions.insert(hash, (sender, transaction.bytes().clone()));
        index.set_nonce(&sender, pool);
    }

    /// Transactions have left the pool, into a block or not. What their senders send next then has another nonce.
    pub(crate) fn remove(&self, hashes: &[Hash], pool: &Pool) {
        let mut index = self.index();
        for hash in hashes {
            if let Some((sender, _)) = index.transactions.remove(hash) {
                index.set_nonce(&sender, pool);
            }
        }
    }

    /// A sender's account has changed.
    pub(crate) fn account_changed(&self, sender: &Address, pool: &Pool) {
        self.index().set_nonce(sender, pool);
    }

    pub(crate) fn clear(&self) {
        *self.index() = Index::default();
    }
}
