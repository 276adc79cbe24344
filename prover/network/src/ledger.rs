//! What provers are owed, and how it is paid once.
//!
//! A payout goes through three states, each written down before the next: planned (its tasks are in no other payout), signed (its transaction exists, with a nonce that only it has)
//! and included. Before it is signed nothing can be paid; afterwards it is always the same transaction that is sent, or one with the same nonce, and a nonce is
//! good once.

use std::collections::{BTreeMap, BTreeSet};

use joule_protocol::{Address, Amount};

use crate::{
    coordinator::Refused,
    event::{Action, PayoutId, TRANSACTION_BYTES_MAX},
    task::{ArtefactId, TaskId},
    wire::{Reader, Wire, WireError, put_bytes, put_list},
};

/// Tasks that one payout covers at most, so that a payout is one bounded record.
const TASKS_MAX: usize = 1_024;

/// A payout that is in no block yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payout {
    /// Whom it pays.
    pub to: Address,
    /// How much.
    pub amount: Amount,
    /// For what.
    pub tasks: Vec<TaskId>,
    /// The nonce and the transaction, once it is signed.
    pub signed: Option<(u64, Vec<u8>)>,
}

#[derive(Clone, Copy, Debug)]
struct Accepted {
    result: ArtefactId,
    is_paid: bool,
    /// Whoever published the task has the result.
    is_collected: bool,
}

/// Accepted work.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Accepted and in no payout yet, by payee.
    owed: BTreeMap<Address, Vec<(TaskId, Amount)>>,
    /// Accepted, and not yet both paid and collected.
    accepted: BTreeMap<TaskId, Accepted>,
    payouts: BTreeMap<PayoutId, Payout>,
    next: PayoutId,
    earned_total: Amount,
    paid_total: Amount,
}

impl Ledger {
    pub(crate) const fn new() -> Self {
        Self {
            owed: BTreeMap::new(),
            accepted: BTreeMap::new(),
            payouts: BTreeMap::new(),
            next: 0,
            earned_total: 0,
            paid_total: 0,
        }
    }

    /// The result that was accepted for a task, as long as it is not both paid and collected.
    #[must_use]
    pub fn accepted(&self, task: &TaskId) -> Option<ArtefactId> {
        self.accepted.get(task).map(|accepted| accepted.result)
    }

    /// Price of everything ever accepted.
    #[must_use]
    pub const fn earned_total(&self) -> Amount {
        self.earned_total
    }

    /// Amount of all payouts that are in blocks.
    #[must_use]
    pub const fn paid_total(&self) -> Amount {
        self.paid_total
    }

    /// What an address is owed: accepted, and in no block yet.
    #[must_use]
    pub fn owed(&self, payee: &Address) -> Amount {
        let waiting: Amount = self.owed.get(payee).into_iter().flatten().map(|(_, price)| price).sum();
        let underway: Amount =
            self.payouts.values().filter(|payout| payout.to == *payee).map(|payout| payout.amount).sum();
        waiting + underway
    }

    /// Everything owed to anybody.
    #[must_use]
    pub const fn owed_total(&self) -> Amount {
        self.earned_total - self.paid_total
    }

    /// Payouts that are planned or signed and in no block yet, in the order in which they were planned.
    pub fn payouts(&self) -> impl Iterator<Item = (PayoutId, &Payout)> {
        self.payouts.iter().map(|(id, payout)| (*id, payout))
    }

    /// What is accepted and in no payout yet, by payee.
    pub fn unplanned(&self) -> impl Iterator<Item = (Address, Amount)> {
        self.owed.iter().map(|(payee, tasks)| (*payee, tasks.iter().map(|(_, price)| price).sum()))
    }

    /// Results that their publisher has not collected.
    pub(crate) fn uncollected(&self) -> impl Iterator<Item = ArtefactId> {
        self.accepted.values().filter(|accepted| !accepted.is_collected).map(|accepted| accepted.result)
    }

    /// Tasks that are remembered, because they are not both paid and collected.
    pub(crate) fn remembered(&self) -> usize {
        self.accepted.len()
    }

    pub(crate) fn accept(&mut self, task: TaskId, result: ArtefactId, payee: Address, price: Amount) {
        self.accepted.insert(task, Accepted { result, is_paid: price == 0, is_collected: false });
        if price > 0 {
            self.owed.entry(payee).or_default().push((task, price));
            self.earned_total += price;
        }
    }

    /// Whoever published the task has its result, durably.
    pub(crate) fn collect(&mut self, task: TaskId) -> Result<(), Refused> {
        let accepted = self.accepted.get_mut(&task).ok_or(Refused::UnknownTask(task))?;
        accepted.is_collected = true;
        if accepted.is_paid {
            self.accepted.remove(&task);
        }
        Ok(())
    }

    /// Plans payouts to those who are owed enough and have none under way, most owed first.
    pub(crate) fn plan(&mut self, minimum: Amount, limit: usize, actions: &mut Vec<Action>) {
        let busy: BTreeSet<Address> = self.payouts.values().map(|payout| payout.to).collect();
        let mut due: Vec<(Amount, Address)> = self
            .owed
            .iter()
            .filter(|(payee, _)| !busy.contains(payee))
            .map(|(payee, tasks)| (tasks.iter().take(TASKS_MAX).map(|(_, price)| price).sum(), *payee))
            .filter(|(amount, _)| *amount >= minimum.max(1))
            .collect();
        due.sort_by(|left, right| right.cmp(left));
        for (amount, to) in due.into_iter().take(limit) {
            let Some(mut waiting) = self.owed.remove(&to) else { continue };
            let rest = waiting.split_off(waiting.len().min(TASKS_MAX));
            if !rest.is_empty() {
                self.owed.insert(to, rest);
            }
            let tasks = waiting.into_iter().map(|(task, _)| task).collect();
            let id = self.next;
            self.next += 1;
            self.payouts.insert(id, Payout { to, amount, tasks, signed: None });
            actions.push(Action::SignPayout(id, to, amount));
        }
    }

    pub(crate) fn sign(
        &mut self,
        id: PayoutId,
        nonce: u64,
        transaction: &[u8],
        actions: &mut Vec<Action>,
    ) -> Result<(), Refused> {
        let taken = self
            .payouts
            .iter()
            .any(|(other, payout)| *other != id && payout.signed.as_ref().is_some_and(|(signed, _)| *signed == nonce));
        let payout = self.payouts.get_mut(&id).filter(|_| !taken).ok_or(Refused::PayoutOutOfOrder(id))?;
        if let Some((expected, _)) = payout.signed
            && expected != nonce
        {
            return Err(Refused::PayoutNonce { payout: id, expected, got: nonce });
        }
        payout.signed = Some((nonce, transaction.to_vec()));
        actions.push(Action::SendPayout(id, transaction.to_vec()));
        Ok(())
    }

    pub(crate) fn include(&mut self, id: PayoutId) -> Result<(), Refused> {
        let is_signed = self.payouts.get(&id).is_some_and(|payout| payout.signed.is_some());
        let payout = if is_signed { self.payouts.remove(&id) } else { None };
        let payout = payout.ok_or(Refused::PayoutOutOfOrder(id))?;
        for task in payout.tasks {
            let Some(accepted) = self.accepted.get_mut(&task) else { continue };
            accepted.is_paid = true;
            if accepted.is_collected {
                self.accepted.remove(&task);
            }
        }
        self.paid_total += payout.amount;
        Ok(())
    }

    /// Asks again for what was under way.
    pub(crate) fn resume(&self, actions: &mut Vec<Action>) {
        let uncollected = self.accepted.iter().filter(|(_, accepted)| !accepted.is_collected);
        actions.extend(uncollected.map(|(task, accepted)| Action::Done(*task, accepted.result)));
        for (id, payout) in &self.payouts {
            actions.push(match &payout.signed {
                None => Action::SignPayout(*id, payout.to, payout.amount),
                Some((_, transaction)) => Action::SendPayout(*id, transaction.clone()),
            });
        }
    }
}

/// More of anything than a ledger holds.
const COUNT_MAX: usize = 1 << 22;

impl Wire for Payout {
    const WHAT: &'static str = "payout";

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to.0);
        out.extend_from_slice(&self.amount.to_be_bytes());
        put_list(out, &self.tasks);
        out.push(self.signed.is_some().into());
        if let Some((nonce, transaction)) = &self.signed {
            out.extend_from_slice(&nonce.to_be_bytes());
            put_bytes(out, transaction);
        }
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            to: input.address()?,
            amount: input.u128()?,
            tasks: input.list("tasks of a payout", TASKS_MAX)?,
            signed: if input.flag()? {
                let nonce = input.u64()?;
                Some((nonce, input.bytes("bytes of a payout's transaction", TRANSACTION_BYTES_MAX)?.to_vec()))
            } else {
                None
            },
        })
    }
}

impl Wire for Ledger {
    const WHAT: &'static str = "ledger";

    fn write(&self, out: &mut Vec<u8>) {
        let count = |out: &mut Vec<u8>, count: usize| out.extend_from_slice(&(count as u32).to_be_bytes());
        count(out, self.owed.len());
        for (payee, tasks) in &self.owed {
            out.extend_from_slice(&payee.0);
            count(out, tasks.len());
            for (task, price) in tasks {
                task.write(out);
                out.extend_from_slice(&price.to_be_bytes());
            }
        }
        count(out, self.accepted.len());
        for (task, accepted) in &self.accepted {
            task.write(out);
            accepted.result.write(out);
            out.extend_from_slice(&[accepted.is_paid.into(), accepted.is_collected.into()]);
        }
        count(out, self.payouts.len());
        for (id, payout) in &self.payouts {
            out.extend_from_slice(&id.to_be_bytes());
            payout.write(out);
        }
        out.extend_from_slice(&self.next.to_be_bytes());
        out.extend_from_slice(&self.earned_total.to_be_bytes());
        out.extend_from_slice(&self.paid_total.to_be_bytes());
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, WireError> {
        let mut ledger = Self::new();
        for _ in 0..input.count("payees", COUNT_MAX)? {
            let payee = input.address()?;
            let count = input.count("tasks of a payee", COUNT_MAX)?;
            let tasks = (0..count).map(|_| Ok((TaskId::read(input)?, input.u128()?)));
            let tasks = tasks.collect::<Result<_, WireError>>()?;
            ledger.owed.insert(payee, tasks);
        }
        for _ in 0..input.count("accepted tasks", COUNT_MAX)? {
            let (task, result) = (TaskId::read(input)?, ArtefactId::read(input)?);
            ledger.accepted.insert(task, Accepted { result, is_paid: input.flag()?, is_collected: input.flag()? });
        }
        for _ in 0..input.count("payouts", COUNT_MAX)? {
            ledger.payouts.insert(input.u64()?, Payout::read(input)?);
        }
        (ledger.next, ledger.earned_total, ledger.paid_total) = (input.u64()?, input.u128()?, input.u128()?);
        // Money is neither made nor lost by writing it down.
        let waiting = ledger.owed.values().flatten().map(|(_, price)| *price);
        let due = waiting.chain(ledger.payouts.values().map(|payout| payout.amount));
        let due = due.fold(0_u128, u128::saturating_add);
        if ledger.paid_total.checked_add(due) != Some(ledger.earned_total) {
            return Err(WireError::Inconsistent { what: "amounts of a ledger" });
        }
        Ok(ledger)
    }
}
