//! Which transactions are under way, and what to do about them: the pure core of sending.
//!
//! A nonce is taken from the account's state on L1 and from what is written down, never from memory, so a process that died between writing
//! and sending finds its transaction and sends it. An entry stays until a block that no reorg is expected to take away has used its nonce.

use std::collections::BTreeMap;

use crate::{Entry, entry::ATTEMPTS_MAX};

/// The account on L1 at one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountView {
    /// The block's number.
    pub head: u64,
    /// The account's next nonce there: nonces below are used.
    pub used: u64,
    /// The account's next nonce some blocks earlier: nonces below stay used.
    pub settled: u64,
}

/// When to act.
#[derive(Clone, Copy, Debug)]
pub struct OutboxPolicy {
    /// Blocks after which a transaction that waits offers more.
    pub raise_after_blocks: u64,
    /// Blocks after which one that waits is sent again: the pool may have lost it.
    pub resend_after_blocks: u64,
    /// Transactions that may wait at once; nodes keep 16 pending ones of an account at least.
    pub pending_max: usize,
}

impl Default for OutboxPolicy {
    fn default() -> Self {
        Self { raise_after_blocks: 4, resend_after_blocks: 2, pending_max: 16 }
    }
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutboxAction {
    /// Send the last version again.
    Send {
        /// Of this nonce.
        nonce: u64,
    },
    /// Sign a version that offers more, write it down and send it.
    Raise {
        /// Of this nonce.
        nonce: u64,
    },
    /// Nobody uses a nonce below one that waits, after a reorg deeper than expected: take it for an empty transaction.
    Fill {
        /// The nonce.
        nonce: u64,
    },
    /// The nonce is used for good: see how it went, then remove the entry.
    Forget {
        /// The nonce.
        nonce: u64,
    },
}

/// Transactions under way, by nonce.
#[derive(Clone, Debug)]
pub struct Outbox {
    policy: OutboxPolicy,
    entries: BTreeMap<u64, Entry>,
    /// Block at which each waiting transaction was last sent by this process.
    sent_at: BTreeMap<u64, u64>,
}

impl Outbox {
    /// Takes up what was written down.
    pub fn new(policy: OutboxPolicy, entries: impl IntoIterator<Item = Entry>) -> Self {
        let entries = entries.into_iter().map(|entry| (entry.nonce, entry)).collect();
        Self { policy, entries, sent_at: BTreeMap::new() }
    }

    /// The lowest nonce that neither L1 nor an entry uses.
    pub fn next_nonce(&self, used: u64) -> u64 {
        let run = self.entries.range(used..).zip(used..).take_while(|((nonce, _), expected)| **nonce == *expected);
        used + run.count() as u64
    }

    /// Whether another transaction may wait.
    pub fn has_room(&self, used: u64) -> bool {
        self.pending(used).count() < self.policy.pending_max
    }

    /// The entry of a nonce.
    pub fn entry(&self, nonce: u64) -> Option<&Entry> {
        self.entries.get(&nonce)
    }

    /// All entries by nonce.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> + '_ {
        self.entries.values()
    }

    /// Entries whose nonce L1 has not used.
    pub fn pending(&self, used: u64) -> impl Iterator<Item = &Entry> + '_ {
        self.entries.range(used..).map(|(_, entry)| entry)
    }

    /// Adds an entry that has been written down, or replaces it by one with another version. It is about to be sent.
    pub fn put(&mut self, entry: Entry) {
        self.sent_at.insert(entry.nonce, entry.last().block);
        self.entries.insert(entry.nonce, entry);
    }

    /// Removes an entry that has been removed from storage.
    pub fn remove(&mut self, nonce: u64) {
        self.entries.remove(&nonce);
        self.sent_at.remove(&nonce);
    }

    /// What to do, given the account. [`OutboxAction::Send`] counts as done.
    pub fn observe(&mut self, view: &AccountView) -> Vec<OutboxAction> {
        let mut actions = Vec::new();
        let settled = view.settled.min(view.used);
        actions.extend(self.entries.range(..settled).map(|(&nonce, _)| OutboxAction::Forget { nonce }));
        // Used nonces are not sent again; should a reorg free them they count as never sent.
        self.sent_at.retain(|&nonce, _| nonce >= view.used);
        let mut expected = view.used;
        let mut sent = Vec::new();
        for (&nonce, entry) in self.entries.range(view.used..) {
            // Bounded: gaps come from entries forgotten, of which one block holds only so many.
            actions.extend((expected..nonce).take(self.policy.pending_max).map(|nonce| OutboxAction::Fill { nonce }));
            expected = nonce + 1;
            let waited = view.head.saturating_sub(entry.last().block);
            if waited >= self.policy.raise_after_blocks && entry.attempts.len() < ATTEMPTS_MAX {
                actions.push(OutboxAction::Raise { nonce });
                sent.push(nonce);
            } else if self.sent_at.get(&nonce).is_none_or(|&at| at + self.policy.resend_after_blocks <= view.head) {
                actions.push(OutboxAction::Send { nonce });
                sent.push(nonce);
            }
        }
        self.sent_at.extend(sent.into_iter().map(|nonce| (nonce, view.head)));
        actions
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::tests::entry;

    fn view(head: u64, used: u64, settled: u64) -> AccountView {
        AccountView { head, used, settled }
    }

    #[test]
    fn what_was_written_down_is_sent_after_a_crash() {
        let mut outbox = Outbox::new(OutboxPolicy::default(), [entry(4, 10), entry(5, 10)]);
        assert_eq!(outbox.next_nonce(4), 6);
        assert_eq!(
            outbox.observe(&view(10, 4, 4)),
            [OutboxAction::Send { nonce: 4 }, OutboxAction::Send { nonce: 5 }],
            "nobody knows whether they were sent"
        );
        assert_eq!(outbox.observe(&view(11, 4, 4)), [], "sent a block ago");
        assert_eq!(outbox.observe(&view(12, 5, 4)), [OutboxAction::Send { nonce: 5 }]);
    }

    #[test]
    fn an_entry_stays_until_its_nonce_is_used_for_good() {
        let mut outbox = Outbox::new(OutboxPolicy::default(), [entry(4, 10)]);
        assert_eq!(outbox.observe(&view(11, 5, 4)), [], "used, but a reorg may free it");
        assert_eq!(outbox.observe(&view(12, 4, 4)), [OutboxAction::Send { nonce: 4 }], "a reorg freed it");
        assert_eq!(outbox.observe(&view(20, 5, 5)), [OutboxAction::Forget { nonce: 4 }]);
        outbox.remove(4);
        assert_eq!(outbox.next_nonce(5), 5);
    }

    #[test]
    fn one_that_waits_pays_more() {
        let mut outbox = Outbox::new(OutboxPolicy::default(), [entry(4, 10)]);
        assert_eq!(outbox.observe(&view(14, 4, 4)), [OutboxAction::Raise { nonce: 4 }]);
        let mut dear = entry(4, 10);
        dear.attempts = vec![dear.last().clone(); ATTEMPTS_MAX];
        outbox.put(dear);
        assert_eq!(outbox.observe(&view(99, 4, 4)), [OutboxAction::Send { nonce: 4 }], "not more often than bounded");
    }

    #[test]
    fn a_nonce_that_others_took_is_never_ours_again() {
        let outbox = Outbox::new(OutboxPolicy::default(), [entry(4, 10), entry(5, 10)]);
        assert_eq!(outbox.pending(5).map(|entry| entry.nonce).collect::<Vec<_>>(), [5]);
        assert_eq!(outbox.next_nonce(8), 8);
    }

    #[test]
    fn a_gap_below_what_waits_is_filled() {
        let mut outbox = Outbox::new(OutboxPolicy::default(), [entry(7, 10)]);
        let actions = outbox.observe(&view(10, 5, 5));
        assert_eq!(
            actions,
            [OutboxAction::Fill { nonce: 5 }, OutboxAction::Fill { nonce: 6 }, OutboxAction::Send { nonce: 7 }]
        );
        assert_eq!(outbox.next_nonce(5), 5);
    }
}
