//! Transactions that wait for a block.
//!
//! Of one sender they go by nonce, between senders by arrival. What has been admitted has been acknowledged, so nothing is thrown out to make room: a full pool refuses.
//! Waiting costs a sender what the transaction would cost, because all that it has in the pool must be affordable together.

use std::collections::{BTreeMap, HashMap};

use joule_protocol::{Account, Address, Amount, Fault, Hash, Refusal};
use thiserror::Error;

use crate::CheckedTransaction;

/// Bounds of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolLimits {
    /// Transactions in all.
    pub transactions_max: usize,
    /// Transactions of one sender; also how far a nonce may be ahead of the account.
    pub per_sender_max: usize,
    /// Transactions that cannot be executed yet because an earlier nonce is missing. They could wait for ever, so they get a part of the room only.
    pub gapped_max: usize,
    /// How much more a replacement must pay, in percent.
    pub replacement_percent: u32,
    /// How long a transaction that its sender can no longer afford is kept, in milliseconds.
    pub parked_ms_max: u64,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self {
            transactions_max: 20_000,
            per_sender_max: 256,
            gapped_max: 4_000,
            replacement_percent: 10,
            parked_ms_max: 600_000,
        }
    }
}

/// Why the pool does not take a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PoolRefusal {
    /// The kernel would not, now.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It is waiting already.
    #[error("the transaction is already known")]
    Known {
        /// Its hash.
        hash: Hash,
    },
    /// Another transaction with its nonce waits, and it does not pay enough more.
    #[error(
        "replacement underpriced: nonce {nonce} is taken by a transaction with maxFeePerGas {have}, a replacement needs {need}, this has {got}"
    )]
    ReplacementUnderpriced {
        /// The nonce.
        nonce: u64,
        /// What the waiting transaction pays at most.
        have: u128,
        /// What a replacement must.
        need: u128,
        /// What this one does.
        got: u128,
    },
    /// Too many of one sender.
    #[error("{sender} has {limit} transactions waiting, which is the limit")]
    SenderFull {
        /// Who.
        sender: Address,
        /// The limit.
        limit: usize,
    },
    /// Too many in all.
    #[error("the mempool is full ({limit} transactions); try again")]
    PoolFull {
        /// The limit.
        limit: usize,
    },
    /// Too many that wait for an earlier nonce.
    #[error(
        "nonce {got} leaves a gap: the next is {expected}, and the mempool holds its limit of {limit} such transactions"
    )]
    GapsFull {
        /// The transaction's nonce.
        got: u64,
        /// The next nonce without a gap.
        expected: u64,
        /// The limit.
        limit: usize,
    },
}

impl PoolRefusal {
    /// Who has to act.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Refused(refusal) => refusal.fault(),
            Self::Known { .. } | Self::ReplacementUnderpriced { .. } | Self::SenderFull { .. } => Fault::Sender,
            Self::PoolFull { .. } | Self::GapsFull { .. } => Fault::Nobody,
        }
    }
}

/// A transaction that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// The order in which it came; later ones are greater.
    pub arrival: u64,
    /// Transactions that left the pool for it and are to be removed from the mempool log: the one it replaces, and those whose nonce has been used.
    pub removed: Vec<Hash>,
}

/// Why a transaction left the pool without being in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// The transaction.
    pub hash: Hash,
    /// What the kernel said of it last.
    pub refusal: Refusal,
}

#[derive(Clone, Debug)]
struct Waiting {
    transaction: CheckedTransaction,
    arrival: u64,
}

#[derive(Clone, Debug, Default)]
struct Sender {
    /// The account's nonce, as far as the pool knows.
    next: u64,
    waiting: BTreeMap<u64, Waiting>,
    /// Arrival under which the sender is in the ready list.
    ready: Option<u64>,
    /// Since when, in milliseconds, its next transaction has been unaffordable, and what the kernel said.
    parked: Option<(u64, Refusal)>,
}

impl Sender {
    /// Transactions that follow each other without a gap from the account's nonce on.
    fn run(&self) -> impl Iterator<Item = &Waiting> {
        (self.next..).map_while(|nonce| self.waiting.get(&nonce))
    }

    /// How many these are, and their gas.
    fn run_size(&self) -> (usize, u64) {
        self.run().fold((0, 0), |(count, gas), waiting| (count + 1, gas + waiting.transaction.gas()))
    }

    /// Takes the account's nonce over and returns the transactions whose nonce is used.
    fn catch_up(&mut self, nonce: u64) -> Vec<Hash> {
        self.next = nonce;
        self.parked = None;
        let kept = self.waiting.split_off(&nonce);
        let used = std::mem::replace(&mut self.waiting, kept);
        used.into_values().map(|waiting| waiting.transaction.hash()).collect()
    }
}

fn forget(places: &mut HashMap<Hash, (Address, u64)>, hashes: &[Hash]) {
    for hash in hashes {
        places.remove(hash);
    }
}

/// The pool.
#[derive(Clone, Debug)]
pub struct Pool {
    limits: PoolLimits,
    senders: HashMap<Address, Sender>,
    /// Where each transaction is.
    places: HashMap<Hash, (Address, u64)>,
    /// By arrival, the senders whose next transaction can be executed.
    ready: BTreeMap<u64, Address>,
    gapped: usize,
    executable_gas: u64,
    next_arrival: u64,
}

impl Pool {
    /// An empty pool.
    pub fn new(limits: PoolLimits) -> Self {
        Self {
            limits,
            senders: HashMap::new(),
            places: HashMap::new(),
            ready: BTreeMap::new(),
            gapped: 0,
            executable_gas: 0,
            next_arrival: 1 << 32, // below it, arrivals of transactions that an undone block gave back
        }
    }

    /// Transactions in the pool.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Transactions that wait for an earlier nonce.
    pub fn gapped(&self) -> usize {
        self.gapped
    }

    /// Whether a block could be filled with something.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The same, without what `sender` sent.
    pub fn has_ready_besides(&self, sender: &Address) -> bool {
        let of_sender = self.senders.get(sender).is_some_and(|sender| sender.ready.is_some());
        self.ready.len() > usize::from(of_sender)
    }

    /// Transactions that can go into a block now or after each other.
    pub fn executable(&self) -> usize {
        self.len() - self.gapped
    }

    /// Gas of those.
    pub fn executable_gas(&self) -> u64 {
        self.executable_gas
    }

    /// Arrivals from now on are later than `arrival`: the mempool log has it.
    pub fn arrived(&mut self, arrival: u64) {
        self.next_arrival = self.next_arrival.max(arrival.saturating_add(1));
    }

    /// A waiting transaction.
    pub fn get(&self, hash: &Hash) -> Option<&CheckedTransaction> {
        let (sender, nonce) = self.places.get(hash)?;
        Some(&self.senders.get(sender)?.waiting.get(nonce)?.transaction)
    }

    /// The nonce that a sender's next transaction should have, counting those that wait without a gap.
    pub fn next_nonce(&self, sender: &Address) -> Option<u64> {
        let sender = self.senders.get(sender)?;
        Some(sender.next + sender.run().count() as u64)
    }

    /// Takes a transaction, given its sender's account as of the head.
    ///
    /// # Errors
    /// [`PoolRefusal`], with the pool as it was.
    pub fn insert(
        &mut self,
        transaction: CheckedTransaction,
        account: &Account,
        base_fee: u64,
    ) -> Result<Admitted, PoolRefusal> {
        let (hash, nonce, address) = (transaction.hash(), transaction.nonce(), transaction.sender());
        if self.places.contains_key(&hash) {
            return Err(PoolRefusal::Known { hash });
        }
        if nonce < account.nonce {
            return Err(Refusal::NonceTooLow { got: nonce, expected: account.nonce }.into());
        }
        if nonce - account.nonce >= self.limits.per_sender_max as u64 {
            return Err(Refusal::NonceTooHigh { got: nonce, expected: account.nonce }.into());
        }
        if transaction.fee_max() < base_fee.into() {
            return Err(Refusal::FeeBelowBase { got: transaction.fee_max(), base_fee }.into());
        }
        let empty = Sender::default();
        let sender = self.senders.get(&address).unwrap_or(&empty);
        let old = sender.waiting.get(&nonce);
        if let Some(old) = old {
            let have = old.transaction.fee_max();
            let more = have.saturating_mul(self.limits.replacement_percent.into()).div_ceil(100).max(1);
            let (need, got) = (have.saturating_add(more), transaction.fee_max());
            if got < need {
                return Err(PoolRefusal::ReplacementUnderpriced { nonce, have, need, got });
            }
        } else if sender.waiting.len() >= self.limits.per_sender_max {
            return Err(PoolRefusal::SenderFull { sender: address, limit: self.limits.per_sender_max });
        } else if self.len() >= self.limits.transactions_max {
            return Err(PoolRefusal::PoolFull { limit: self.limits.transactions_max });
        }
        let costs = sender.waiting.iter().filter(|&(&other, _)| other != nonce && other >= account.nonce);
        let others: Amount = costs.map(|(_, waiting)| waiting.transaction.cost(base_fee)).sum();
        let need = others + transaction.cost(base_fee);
        if need > account.balance {
            return Err(Refusal::InsufficientFunds { have: account.balance, need }.into());
        }
        let expected = (account.nonce..).find(|next| !sender.waiting.contains_key(next)).unwrap_or(nonce);
        if old.is_none() && nonce > expected && self.gapped >= self.limits.gapped_max {
            return Err(PoolRefusal::GapsFull { got: nonce, expected, limit: self.limits.gapped_max });
        }

        Ok(self.place(transaction, account.nonce))
    }

    /// Takes back a transaction that has been acknowledged before: the mempool log has it. What the pool would refuse today was good then (a deposit
    /// may have been undone, and will come again), so only a used nonce keeps it out.
    ///
    /// # Errors
    /// `Known` and `NonceTooLow`, with the pool as it was.
    pub fn restore(&mut self, transaction: CheckedTransaction, account: &Account) -> Result<Admitted, PoolRefusal> {
        let (hash, nonce) = (transaction.hash(), transaction.nonce());
        if self.places.contains_key(&hash) {
            return Err(PoolRefusal::Known { hash });
        }
        if nonce < account.nonce {
            return Err(Refusal::NonceTooLow { got: nonce, expected: account.nonce }.into());
        }
        Ok(self.place(transaction, account.nonce))
    }

    fn place(&mut self, transaction: CheckedTransaction, account_nonce: u64) -> Admitted {
        let (hash, nonce, address) = (transaction.hash(), transaction.nonce(), transaction.sender());
        let arrival = self.next_arrival;
        self.next_arrival += 1;
        self.edit(&address, |sender, places| {
            let mut removed = sender.catch_up(account_nonce);
            let old = sender.waiting.insert(nonce, Waiting { transaction, arrival });
            removed.extend(old.map(|old| old.transaction.hash()));
            forget(places, &removed);
            places.insert(hash, (address, nonce));
            Admitted { arrival, removed }
        })
        .expect("a sender with a transaction is kept")
    }

    /// Changes a sender and keeps everything that is derived from it in step. `None` if the sender is gone afterwards.
    fn edit<T>(
        &mut self,
        address: &Address,
        change: impl FnOnce(&mut Sender, &mut HashMap<Hash, (Address, u64)>) -> T,
    ) -> Option<T> {
        let sender = self.senders.entry(*address).or_default();
        let (run, gas) = sender.run_size();
        self.gapped -= sender.waiting.len() - run;
        self.executable_gas -= gas;
        let result = change(sender, &mut self.places);
        let (run, gas) = sender.run_size();
        self.gapped += sender.waiting.len() - run;
        self.executable_gas += gas;
        let ready = match sender.parked {
            None => sender.waiting.get(&sender.next).map(|waiting| waiting.arrival),
            Some(_) => None,
        };
        if ready != sender.ready {
            if let Some(arrival) = sender.ready {
                self.ready.remove(&arrival);
            }
            if let Some(arrival) = ready {
                self.ready.insert(arrival, *address);
            }
            sender.ready = ready;
        }
        if sender.waiting.is_empty() {
            self.senders.remove(address);
            return None;
        }
        Some(result)
    }

    /// The transaction that goes into the block next.
    pub fn next(&self) -> Option<&CheckedTransaction> {
        let (_, address) = self.ready.first_key_value()?;
        let sender = self.senders.get(address)?;
        sender.waiting.get(&sender.next).map(|waiting| &waiting.transaction)
    }

    /// The [next](Pool::next) transaction has gone into the block: it leaves the pool.
    pub fn executed(&mut self) {
        let Some(address) = self.ready.first_key_value().map(|(_, address)| *address) else { return };
        self.edit(&address, |sender, places| {
            if let Some(done) = sender.waiting.remove(&sender.next) {
                places.remove(&done.transaction.hash());
            }
            sender.next += 1;
        });
    }

    /// The kernel has refused the [next](Pool::next) transaction. If time or others can make it good it is parked, and its sender with it, until the sender's account changes;
    /// if not, it is dropped.
    pub fn refused(&mut self, refusal: Refusal, now_ms: u64) -> Option<Dropped> {
        let address = *self.ready.first_key_value()?.1;
        if let Refusal::NonceTooHigh { expected, .. } = refusal {
            // The account is behind what the pool thought: undone blocks.
            self.account_changed(&address, expected);
            return None;
        }
        let mut dropped = None;
        self.edit(&address, |sender, places| match refusal.fault() {
            Fault::Nobody => sender.parked = Some((now_ms, refusal)),
            Fault::Sender | Fault::Us => {
                if let Some(gone) = sender.waiting.remove(&sender.next) {
                    let hash = gone.transaction.hash();
                    places.remove(&hash);
                    dropped = Some(Dropped { hash, refusal });
                }
                if let Refusal::NonceTooLow { expected, .. } = refusal {
                    sender.next = expected;
                }
            }
        });
        dropped
    }

    /// A sender's account is another than before: its nonce is `nonce` now, and what it could not afford it may. Returns the hashes of transactions whose nonce
    /// is used.
    pub fn account_changed(&mut self, address: &Address, nonce: u64) -> Vec<Hash> {
        if !self.senders.contains_key(address) {
            return Vec::new();
        }
        let mut used = Vec::new();
        self.edit(address, |sender, places| {
            used = sender.catch_up(nonce);
            forget(places, &used);
        });
        used
    }

    /// Drops what has been parked for too long, with what waits behind it.
    pub fn expire(&mut self, now_ms: u64) -> Vec<Dropped> {
        let limit = self.limits.parked_ms_max;
        let expired: Vec<(Address, Refusal)> = self
            .senders
            .iter()
            .filter_map(|(address, sender)| sender.parked.map(|(since, refusal)| (*address, since, refusal)))
            .filter(|&(_, since, _)| now_ms.saturating_sub(since) >= limit)
            .map(|(address, _, refusal)| (address, refusal))
            .collect();
        let mut dropped = Vec::new();
        for (address, refusal) in expired {
            self.edit(&address, |sender, places| {
                for waiting in std::mem::take(&mut sender.waiting).into_values() {
                    let hash = waiting.transaction.hash();
                    places.remove(&hash);
                    dropped.push(Dropped { hash, refusal });
                }
            });
        }
        dropped.sort_unstable_by_key(|dropped| dropped.hash);
        dropped
    }

    /// When the first parked transaction is to be dropped, in milliseconds.
    pub fn next_expiry_ms(&self) -> Option<u64> {
        let parked = self.senders.values().filter_map(|sender| sender.parked);
        parked.map(|(since, _)| since.saturating_add(self.limits.parked_ms_max)).min()
    }

    /// Everything that waits, by arrival.
    pub fn iter(&self) -> impl Iterator<Item = &CheckedTransaction> {
        let mut all: Vec<&Waiting> = self.senders.values().flat_map(|sender| sender.waiting.values()).collect();
        all.sort_unstable_by_key(|waiting| waiting.arrival);
        all.into_iter().map(|waiting| &waiting.transaction)
    }
}
