//! Paying provers what the coordinator's ledger owes them, on L2, each task once.
//!
//! The fee recipient's key pays. What is owed is the ledger's business, what is in blocks the chain's; [`Payer`] compares the two and says what to do next, so nothing has to be
//! remembered here, and a process that is killed at any step goes on by looking again:
//!
//! 1. Somebody else's transaction has opened a batch: the ledger plans a payout for everybody who is owed, all their tasks together.
//! 2. Each planned payout is signed, and the ledger writes the signature down.
//! 3. What is written down is sent. From here on it is always the same bytes, so that whatever is sent twice is in a block once.
//! 4. Once L1 has executed the batch with it, it is paid, and the ledger forgets it. Earlier it could still be undone, by a reorganisation of L1 that takes a batch back; then it is sent
//!    again, unchanged.
//!
//! Payouts never wake an idle chain: they are planned, signed and sent only while a batch is open that somebody else's transaction or request opened. A batch may be closed between the
//! look and the sending; the sequencer therefore holds the fee recipient's transactions until the next batch is open, too.
//!
//! A payout is never replaced. Its fee bound is the highest base fee that the genesis allows, so it is never too low, and the fee itself goes back to the account that paid it.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    future::Future,
    mem::{Discriminant, discriminant},
    time::Duration,
};

use alloy::{
    consensus::{SignableTransaction as _, TxEip1559},
    eips::eip2718::Encodable2718 as _,
    network::TxSignerSync as _,
    primitives::{Address as EthereumAddress, TxKind, U256},
    signers::local::PrivateKeySigner,
};
use joule_protocol::{
    Account, Address, Amount, CallKind, Hash, Hashing as _, Key, Native, Object, SystemContract, gas_of,
};
use joule_prover_network::{CoordinatorHandle, Payout, ServeError, event::PayoutId};
use joule_storage::{Database, StorageError, View};
use thiserror::Error;
use tokio::{
    sync::broadcast::{self, error::RecvError},
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

/// How often chain and ledger are compared while something is owed, besides whenever a block comes.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Times that it is looked again at once, because what was done shows something more to do: planned, then signed, then sent.
const ROUNDS_MAX: usize = 4;

/// Where a signed payout is on the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In no block.
    Nowhere,
    /// In a block that may still be undone.
    InBlock,
    /// In a block that L1 has executed; the flag says whether it did what it says.
    Final(bool),
}

/// A payout that the ledger has not closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owing {
    /// Its number.
    pub id: PayoutId,
    /// Whom it pays.
    pub to: Address,
    /// How much.
    pub amount: Amount,
    /// Once it is signed: nonce, transaction, and where that is.
    pub signed: Option<(u64, Vec<u8>, Place)>,
}

/// Chain and ledger at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// The paying account's nonce at the head.
    pub nonce: u64,
    /// Its balance at the head.
    pub balance: Amount,
    /// The open batch's first block, if somebody else's transaction or request is in it.
    pub open_batch: Option<u64>,
    /// Open payouts, in the order of their numbers.
    pub payouts: Vec<Owing>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Have the ledger plan payouts.
    Plan,
    /// Sign a transfer with this nonce, and have the ledger write it down. Do not send it yet.
    Sign {
        /// The payout.
        payout: PayoutId,
        /// The nonce.
        nonce: u64,
        /// Whom it pays.
        to: Address,
        /// How much.
        amount: Amount,
    },
    /// Send these bytes, which the ledger has.
    Send {
        /// The payout.
        payout: PayoutId,
        /// The transaction.
        transaction: Vec<u8>,
    },
    /// It is paid for good: tell the ledger.
    Paid(PayoutId),
    /// A person should look. Said once.
    Alarm(PayoutId, Trouble),
}

/// Why a payout cannot go on by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Trouble {
    /// A system contract takes no transfers.
    #[error("{to} is a system contract and cannot be paid; the prover has to join with an address of its own")]
    Payee {
        /// The address.
        to: Address,
    },
    /// Too little money. It is tried again in each batch.
    #[error("it takes {need} with its fee, and {have} are not spoken for: send more to the fee recipient on L2")]
    Unfunded {
        /// What is needed.
        need: Amount,
        /// What there is.
        have: Amount,
    },
    /// The key was used for something else.
    #[error(
        "its nonce {nonce} is used, and not by it (the account is at {account}): the fee recipient's key was used elsewhere. Find out whether the prover was paid before paying it by hand"
    )]
    NonceUsed {
        /// Of the payout.
        nonce: u64,
        /// The account's.
        account: u64,
    },
    /// Nonces are missing before it.
    #[error(
        "it has nonce {nonce}, and nonce {missing} is nobody's: the ledger is older than the payout, or not this chain's. Use the missing nonce for a transfer to yourself"
    )]
    NonceGap {
        /// Of the payout.
        nonce: u64,
        /// The first one that is missing.
        missing: u64,
    },
    /// The kernel rejected the transfer, for good.
    #[error("it is in an executed block and was rejected; pay it by hand")]
    Rejected,
}

/// Compares ledger and chain. What it remembers saves repetition and nothing else: a new one does the same.
#[derive(Clone, Debug)]
pub struct Payer {
    /// What a transfer's fee can be at most.
    fee_max: Amount,
    /// The open batch for which payouts were planned.
    planned: Option<u64>,
    /// The open batch in which each payout was sent last.
    sent: BTreeMap<PayoutId, u64>,
    /// What was said of which payout, whatever the numbers were.
    said: HashSet<(PayoutId, Discriminant<Trouble>)>,
}

impl Payer {
    /// A payer whose transfers cost at most this.
    #[must_use]
    pub fn new(fee_max: Amount) -> Self {
        Self { fee_max, planned: None, sent: BTreeMap::new(), said: HashSet::new() }
    }

    /// What is to be done now, in this order.
    pub fn steps(&mut self, look: &Look) -> Vec<Step> {
        let open: BTreeSet<PayoutId> = look.payouts.iter().map(|payout| payout.id).collect();
        self.sent.retain(|payout, _| open.contains(payout));
        self.said.retain(|(payout, _)| open.contains(payout));
        let mut steps = Vec::new();
        self.follow_signed(look, &mut steps);
        let Some(batch) = look.open_batch else { return steps };
        if self.planned != Some(batch) {
            self.planned = Some(batch);
            steps.push(Step::Plan);
        }
        self.sign(look, &mut steps);
        steps
    }

    fn alarm(&mut self, payout: PayoutId, trouble: Trouble, steps: &mut Vec<Step>) {
        if self.said.insert((payout, discriminant(&trouble))) {
            steps.push(Step::Alarm(payout, trouble));
        }
    }

    fn follow_signed(&mut self, look: &Look, steps: &mut Vec<Step>) {
        let mut signed: Vec<(u64, PayoutId, &[u8], Place)> = look
            .payouts
            .iter()
            .filter_map(|payout| {
                payout.signed.as_ref().map(|(nonce, bytes, place)| (*nonce, payout.id, bytes.as_slice(), *place))
            })
            .collect();
        signed.sort_unstable_by_key(|(nonce, id, ..)| (*nonce, *id));
        // Transactions of an account are executed without gaps.
        let mut next = look.nonce;
        for (nonce, payout, transaction, place) in signed {
            match place {
                Place::Final(true) => steps.push(Step::Paid(payout)),
                Place::Final(false) => self.alarm(payout, Trouble::Rejected, steps),
                Place::InBlock => {}
                Place::Nowhere if nonce < look.nonce => {
                    self.alarm(payout, Trouble::NonceUsed { nonce, account: look.nonce }, steps);
                }
                Place::Nowhere if nonce > next => {
                    self.alarm(payout, Trouble::NonceGap { nonce, missing: next }, steps);
                }
                Place::Nowhere => {
                    next = nonce + 1;
                    // Once in each batch: it waits in the mempool, whose log survives restarts, unless it was dropped from there.
                    if let Some(batch) = look.open_batch
                        && self.sent.insert(payout, batch) != Some(batch)
                    {
                        steps.push(Step::Send { payout, transaction: transaction.to_vec() });
                    }
                }
            }
        }
    }

    fn sign(&mut self, look: &Look, steps: &mut Vec<Step>) {
        let signed = look.payouts.iter().filter_map(|payout| Some((payout, payout.signed.as_ref()?)));
        let mut nonce = look.nonce;
        let mut free = look.balance;
        for (payout, (used, _, place)) in signed {
            nonce = nonce.max(used.saturating_add(1));
            if *place == Place::Nowhere {
                free = free.saturating_sub(payout.amount + self.fee_max);
            }
        }
        for payout in look.payouts.iter().filter(|payout| payout.signed.is_none()) {
            let need = payout.amount + self.fee_max;
            if SystemContract::at(&payout.to).is_some() {
                self.alarm(payout.id, Trouble::Payee { to: payout.to }, steps);
            } else if need > free {
                // A smaller one may fit.
                self.alarm(payout.id, Trouble::Unfunded { need, have: free }, steps);
            } else {
                free -= need;
                steps.push(Step::Sign { payout: payout.id, nonce, to: payout.to, amount: payout.amount });
                nonce += 1;
            }
        }
    }
}

/// Where signed transactions are sent: the node of this process.
pub trait Submit: Send + Sync + 'static {
    /// Hands a transaction in. One that waits already is no error.
    ///
    /// # Errors
    /// Why it is not taken, in words.
    fn submit(&self, transaction: Vec<u8>) -> impl Future<Output = Result<(), String>> + Send;
}

/// What paying takes.
#[derive(Debug)]
pub struct PayoutsSetup<S> {
    /// The node's disk.
    pub database: Database,
    /// The ledger's owner.
    pub coordinator: CoordinatorHandle,
    /// The genesis' fee recipient. Nobody else sends with it.
    pub key: PrivateKeySigner,
    /// Where transactions go.
    pub node: S,
}

/// Why provers cannot be paid.
#[derive(Debug, Error)]
pub enum PayoutsError {
    /// Another key.
    #[error(
        "the key is of {got}, and the genesis names {expected} as the fee recipient, whom alone the sequencer lets ride along"
    )]
    OtherKey {
        /// The fee recipient.
        expected: Address,
        /// The key's address.
        got: Address,
    },
    /// The disk.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The state.
    #[error("the paying account cannot be read: {0}")]
    State(String),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] ServeError),
    /// The key.
    #[error("a payout cannot be signed: {0}")]
    Signature(#[from] alloy::signers::Error),
    /// A task of ours panicked.
    #[error("paying ended: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// Payouts that run. Dropping it ends them as a kill would; nothing is lost by that.
#[derive(Debug)]
pub struct Payouts {
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Payouts {
    /// Starts to pay. Whatever comes over `blocks` says that the chain has moved.
    ///
    /// # Errors
    /// [`PayoutsError::OtherKey`].
    pub fn start<S: Submit, T: Clone + Send + 'static>(
        setup: PayoutsSetup<S>,
        blocks: broadcast::Receiver<T>,
    ) -> Result<Self, PayoutsError> {
        let (expected, got) = (setup.database.genesis().fee_recipient, Address(setup.key.address().into_array()));
        if expected != got {
            return Err(PayoutsError::OtherKey { expected, got });
        }
        let stop = CancellationToken::new();
        let fee_max = Amount::from(gas_of(CallKind::Transfer)) * Amount::from(setup.database.genesis().base_fee_max);
        let desk = Desk { setup, payer: Payer::new(fee_max), open: OpenBatch::default() };
        let running = tokio::spawn(desk.run(blocks, stop.clone()));
        Ok(Self { stop, running })
    }

    /// Ends in order.
    ///
    /// # Errors
    /// [`PayoutsError::Task`].
    pub async fn stop(mut self) -> Result<(), PayoutsError> {
        self.stop.cancel();
        Ok((&mut self.running).await?)
    }
}

impl Drop for Payouts {
    fn drop(&mut self) {
        self.running.abort();
    }
}

struct Desk<S> {
    setup: PayoutsSetup<S>,
    payer: Payer,
    open: OpenBatch,
}

impl<S: Submit> Desk<S> {
    async fn run<T: Clone + Send + 'static>(mut self, mut blocks: broadcast::Receiver<T>, stop: CancellationToken) {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_owing = true;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = looks.tick(), if is_owing => {}
                block = blocks.recv() => match block {
                    // Several blocks are one look.
                    Ok(_) | Err(RecvError::Lagged(_)) => while blocks.try_recv().is_ok() {},
                    Err(RecvError::Closed) => return,
                },
            }
            match self.settle().await {
                Ok(owing) => is_owing = owing,
                Err(PayoutsError::Ledger(ServeError::Ended)) => return,
                // Nothing was lost: the next look sees what was done and what was not.
                Err(error) => tracing::error!(%error, "provers are not paid for now"),
            }
        }
    }

    /// Does what is to be done, and says whether anything is owed.
    async fn settle(&mut self) -> Result<bool, PayoutsError> {
        for _ in 0..ROUNDS_MAX {
            let payouts = self.setup.coordinator.payouts().await?;
            let status = self.setup.coordinator.status().await?;
            if payouts.is_empty() && status.owed == 0 {
                return Ok(false);
            }
            let (database, mut open) = (self.setup.database.clone(), self.open);
            let looked = tokio::task::spawn_blocking(move || {
                let look = look(&database.view()?, payouts, &mut open)?;
                Ok::<_, PayoutsError>((look, open))
            });
            let look;
            (look, self.open) = looked.await??;
            let mut is_changed = false;
            for step in self.payer.steps(&look) {
                is_changed |= matches!(step, Step::Plan | Step::Sign { .. });
                self.do_step(step).await?;
            }
            if !is_changed {
                break;
            }
        }
        Ok(true)
    }

    async fn do_step(&mut self, step: Step) -> Result<(), PayoutsError> {
        let PayoutsSetup { database, coordinator, key, node } = &self.setup;
        match step {
            Step::Plan => coordinator.open_payouts().await?,
            Step::Sign { payout, nonce, to, amount } => {
                let transaction = transfer(key, database.genesis(), nonce, &to, amount)?;
                coordinator.payout_signed(payout, nonce, transaction).await?;
            }
            Step::Send { payout, transaction } => match node.submit(transaction).await {
                Ok(()) => tracing::info!(payout, "a payout is on its way"),
                Err(reason) => {
                    tracing::warn!(payout, reason, "a payout is not taken; it is sent again with the next batch")
                }
            },
            Step::Paid(payout) => {
                coordinator.payout_included(payout).await?;
                tracing::info!(payout, "a payout is executed on L1");
            }
            Step::Alarm(payout, trouble) => tracing::error!(payout, %trouble, "a payout needs a person"),
        }
        Ok(())
    }
}

/// The transaction that pays: deterministic, so that signing again after a crash gives the same bytes.
fn transfer(
    key: &PrivateKeySigner,
    genesis: &joule_protocol::Genesis,
    nonce: u64,
    to: &Address,
    amount: Amount,
) -> Result<Vec<u8>, PayoutsError> {
    let mut transaction = TxEip1559 {
        chain_id: genesis.chain_id,
        nonce,
        gas_limit: gas_of(CallKind::Transfer),
        max_fee_per_gas: genesis.base_fee_max.into(),
        max_priority_fee_per_gas: 0,
        to: TxKind::Call(EthereumAddress::new(to.0)),
        value: U256::from(amount),
        ..TxEip1559::default()
    };
    let signature = key.sign_transaction_sync(&mut transaction)?;
    Ok(transaction.into_signed(signature).encoded_2718())
}

/// What is known of the blocks that are in no batch.
#[derive(Clone, Copy, Debug, Default)]
struct OpenBatch {
    first: u64,
    /// Blocks up to here have been looked at.
    seen: u64,
    has_others: bool,
}

impl OpenBatch {
    /// Looks at blocks that have come since the last look.
    fn follow(&mut self, view: &View<'_>, payer: &Address) -> Result<Option<u64>, StorageError> {
        let sealed = view.last_batch()?.map_or(view.floor().block_number, |batch| batch.last_block);
        let head = view.head().block_number;
        // Another batch, or blocks that were taken back.
        if self.first != sealed + 1 || self.seen > head {
            *self = Self { first: sealed + 1, seen: sealed, has_others: false };
        }
        while !self.has_others && self.seen < head {
            let number = self.seen + 1;
            let block = view.block(number)?.ok_or(StorageError::Missing { what: "block", number })?;
            self.has_others =
                !block.requests.is_empty() || block.transactions.iter().any(|transaction| transaction.sender != *payer);
            self.seen = number;
        }
        Ok(self.has_others.then_some(self.first))
    }
}

/// Reads chain and ledger.
fn look(view: &View<'_>, payouts: Vec<(PayoutId, Payout)>, open: &mut OpenBatch) -> Result<Look, PayoutsError> {
    let payer = view.genesis().fee_recipient;
    let account = view.tree()?.get(&Key::account(&payer)).map_err(|error| PayoutsError::State(error.to_string()))?;
    let Account { nonce, balance } = match account {
        Some(Object::Account(account)) => account,
        _ => Account::default(),
    };
    let executed = view.executed_batch()?.map_or(0, |batch| batch.last_block);
    let payouts = payouts.into_iter().map(|(id, Payout { to, amount, signed, .. })| {
        let signed = match signed {
            None => None,
            Some((nonce, bytes)) => {
                let place = match view.transaction(&Hash(Native::keccak256(&bytes).0))? {
                    None => Place::Nowhere,
                    Some((place, ..)) if place.block_number > executed => Place::InBlock,
                    Some((_, record, _)) => Place::Final(record.outcome.is_applied()),
                };
                Some((nonce, bytes, place))
            }
        };
        Ok(Owing { id, to, amount, signed })
    });
    let payouts = payouts.collect::<Result<_, StorageError>>()?;
    Ok(Look { nonce, balance, open_batch: open.follow(view, &payer)?, payouts })
}

#[cfg(test)]
mod tests;
