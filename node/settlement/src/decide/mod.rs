//! What to do next: `(state, event) -> actions`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use joule_storage::Stage;

use crate::{Policy, Purpose};

mod types;

#[cfg(test)]
mod tests;

pub use types::{Action, Alarm, Cause, CertificateHead, DropRefused, Event, InFlight, Mode, Recovered, Sealed, View};

/// Batches that L1 lets wait between commit and execution.
const PENDING_BATCHES_MAX: u64 = 256;

#[derive(Clone, Debug)]
struct Batch {
    sealed: Sealed,
    certificate: Option<CertificateHead>,
    /// Its data goes to L1.
    by_l1: bool,
    /// L1 has refused it in one transaction.
    is_settled_in_steps: bool,
    has_proof: bool,
    sent_under: Option<u64>,
    /// As it is recorded; `None` where the record says what L1 had before this process began, and may have no more.
    stage: Option<Stage>,
}

#[derive(Clone, Copy, Debug)]
struct Wait {
    until_s: u64,
    failures: u32,
}

/// The state of settling.
#[derive(Clone, Debug)]
pub struct Settlement {
    policy: Policy,
    now_s: u64,
    mode: Mode,
    healthy_since_s: Option<u64>,
    batches: BTreeMap<u64, Batch>,
    /// Batches up to here are final and gone from `batches`.
    executed: u64,
    view: Option<Arc<View>>,
    /// Sent since the view was taken.
    sent: BTreeSet<Purpose>,
    cancelled: BTreeSet<u64>,
    gathering: Option<(u64, u64)>,
    proving: BTreeSet<u64>,
    waits: BTreeMap<(u8, u64), Wait>,
    revert_to: Option<u64>,
    raised: BTreeSet<Alarm>,
}

/// Things that are tried again later.
mod wait {
    pub(super) const SEND: u8 = 0;
    pub(super) const PROOF: u8 = 1;
}

impl Settlement {
    /// Takes up what was recovered.
    pub fn new(policy: Policy, recovered: Recovered) -> Self {
        let batches = recovered.batches.into_iter().map(|(sealed, certificate, has_proof, sent_under)| {
            let (by_l1, is_settled_in_steps, stage) = (false, false, None);
            (sealed.number, Batch { sealed, certificate, by_l1, is_settled_in_steps, has_proof, sent_under, stage })
        });
        Self {
            policy,
            now_s: 0,
            mode: recovered.mode,
            healthy_since_s: None,
            batches: batches.collect(),
            executed: recovered.executed,
            view: None,
            sent: BTreeSet::new(),
            cancelled: BTreeSet::new(),
            gathering: None,
            proving: BTreeSet::new(),
            waits: BTreeMap::new(),
            revert_to: None,
            raised: BTreeSet::new(),
        }
    }

    /// Where data goes.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The last batch that was sealed.
    pub fn last(&self) -> u64 {
        self.batches.last_key_value().map_or(self.executed, |(&number, _)| number)
    }

    /// Whether everything sealed is executed for good.
    pub fn drained(&self) -> bool {
        self.batches.is_empty()
    }

    /// Whether another sealed batch is taken.
    pub fn has_room(&self) -> bool {
        self.batches.len() < self.policy.batches_max
    }

    /// Whether another batch of that number is here.
    pub fn has_another(&self, sealed: &Sealed) -> bool {
        let known = self.batches.get(&sealed.number).map(|known| (known.sealed.parent, known.sealed.checkpoint));
        known.is_some_and(|known| known != (sealed.parent, sealed.checkpoint))
    }

    /// Whether a batch's data goes to L1, so that a view must count its posted parts.
    pub fn is_posted_on_l1(&self, number: u64) -> bool {
        self.batches.get(&number).is_some_and(|batch| batch.by_l1)
    }

    /// Forgets batches from a number on, which the node wants to seal anew: only if no two batches of one number can come of it.
    ///
    /// # Errors
    /// L1 has one of them, or was sent one that could still be committed.
    pub fn drop_from(&mut self, from: u64) -> Result<(), DropRefused> {
        let view = self.view.as_ref().ok_or(DropRefused::Unknown)?;
        if view.rollup.committed >= from {
            return Err(DropRefused::Committed { number: from });
        }
        let purposes = view.in_flight.iter().map(|in_flight| in_flight.purpose).chain(self.sent.iter().copied());
        let under_way: BTreeSet<u64> = purposes.filter_map(|purpose| purpose.names()).map(|names| names.0).collect();
        let could_come = |batch: &Batch| {
            batch.sent_under == Some(view.rollup.revert_count) || under_way.contains(&batch.sealed.number)
        };
        if let Some((&number, _)) = self.batches.range(from..).find(|(_, batch)| could_come(batch)) {
            return Err(DropRefused::Sent { number });
        }
        self.batches.split_off(&from);
        self.proving.split_off(&from);
        self.gathering = self.gathering.filter(|&(number, _)| number < from);
        self.waits.retain(|&(_, number), _| number < from);
        Ok(())
    }

    /// Takes one event and says what to do.
    pub fn step(&mut self, now_s: u64, event: Event) -> Vec<Action> {
        self.now_s = self.now_s.max(now_s);
        let mut actions = Vec::new();
        match event {
            Event::Sealed(sealed) => self.seal(sealed, &mut actions),
            Event::L1(view) => {
                self.sent.clear();
                self.cancelled.clear();
                let count = self.view.as_ref().map(|view| view.rollup.revert_count);
                // Under another count members may sign what was too old to be signed again.
                if self.mode == Mode::Committee && count.is_some_and(|count| count != view.rollup.revert_count) {
                    self.batches.values_mut().for_each(|batch| batch.by_l1 = false);
                }
                self.view = Some(Arc::from(view));
            }
            Event::Certified { number, certificate } => {
                self.gathering = self.gathering.filter(|&(asked, _)| asked != number);
                if let Some(batch) = self.batches.get_mut(&number) {
                    batch.certificate = Some(certificate);
                }
            }
            Event::NotCertified { number, revert_count, has_failed } => {
                self.not_certified(number, revert_count, has_failed, &mut actions);
            }
            Event::Health { is_healthy } => {
                self.healthy_since_s = is_healthy.then(|| self.healthy_since_s.unwrap_or(self.now_s));
            }
            Event::Proof { number, checkpoint } => {
                self.proving.remove(&number);
                if let Some(batch) = self.batches.get_mut(&number).filter(|at| at.sealed.checkpoint == checkpoint) {
                    batch.has_proof = true;
                    self.waits.remove(&(wait::PROOF, number));
                }
            }
            Event::NotProven { number } => {
                self.proving.remove(&number);
                self.delay((wait::PROOF, number));
            }
            Event::Refused { purpose, cause } => self.refused(purpose, cause, &mut actions),
            Event::Revert { keep } => self.revert_to = Some(keep),
            Event::Tick => {}
        }
        if let Some(view) = self.view.clone() {
            self.decide(&view, &mut actions);
        }
        actions
    }

    fn seal(&mut self, sealed: Sealed, actions: &mut Vec<Action>) {
        let number = sealed.number;
        if number <= self.executed {
            return;
        }
        let before = number.checked_sub(1).and_then(|before| self.batches.get(&before));
        let follows = match self.batches.get(&number) {
            Some(known) => {
                if (known.sealed.parent, known.sealed.checkpoint) == (sealed.parent, sealed.checkpoint) {
                    return;
                }
                false
            }
            None => number == self.last() + 1 && before.is_none_or(|before| before.sealed.checkpoint == sealed.parent),
        };
        if !follows || !self.has_room() {
            actions.push(Action::Alarm(Alarm::Contradiction { number }));
            return;
        }
        let batch = Batch {
            sealed,
            certificate: None,
            by_l1: false,
            is_settled_in_steps: false,
            has_proof: false,
            sent_under: None,
            stage: Some(Stage::Sealed),
        };
        self.batches.insert(number, batch);
    }

    fn not_certified(&mut self, number: u64, revert_count: u64, has_failed: bool, actions: &mut Vec<Action>) {
        if self.gathering == Some((number, revert_count)) {
            self.gathering = None;
        }
        // An answer to a question that a revert has overtaken says nothing of the committee.
        let is_current = self.view.as_ref().is_some_and(|view| view.rollup.revert_count == revert_count);
        let Some(batch) = self.batches.get_mut(&number).filter(|_| is_current) else { return };
        batch.by_l1 = true;
        if !has_failed {
            return;
        }
        self.healthy_since_s = None;
        if self.mode == Mode::Committee {
            self.mode = Mode::L1Data { since_s: self.now_s };
            actions.push(Action::SetMode(self.mode));
            actions.push(Action::Alarm(Alarm::FellBack { number }));
        }
    }

    fn refused(&mut self, purpose: Purpose, cause: Cause, actions: &mut Vec<Action>) {
        self.sent.remove(&purpose);
        let Some(number) = purpose.number() else {
            self.revert_to = None;
            return;
        };
        if cause == Cause::Unreachable {
            let until_s = self.now_s.saturating_add(self.policy.retry_s);
            self.waits.entry((wait::SEND, number)).or_insert(Wait { until_s, failures: 0 }).until_s = until_s;
            return;
        }
        let failures = self.delay((wait::SEND, number));
        // What is too much for one transaction may still be done in three.
        if let (Purpose::Settle { .. }, Some(batch)) = (&purpose, self.batches.get_mut(&number)) {
            batch.is_settled_in_steps = true;
        }
        match cause {
            Cause::Proof => {
                if let Some(batch) = self.batches.get_mut(&number).filter(|batch| batch.has_proof) {
                    batch.has_proof = false;
                    actions.push(Action::DropProof { number });
                }
            }
            Cause::Certificate => {
                // Whatever is wrong with it, the data itself needs no certificate.
                if let Some(batch) = self.batches.get_mut(&number) {
                    batch.certificate = None;
                    batch.by_l1 = true;
                }
            }
            Cause::Other | Cause::Unreachable => {}
        }
        if failures.is_multiple_of(self.policy.refusals_before_alarm.max(1)) {
            actions.push(Action::Alarm(Alarm::Refused { purpose, times: failures }));
        }
    }

    /// Puts something off, and returns how often it was.
    fn delay(&mut self, what: (u8, u64)) -> u32 {
        let wait = self.waits.entry(what).or_insert(Wait { until_s: 0, failures: 0 });
        let doublings = wait.failures.min(16);
        wait.failures = wait.failures.saturating_add(1);
        let delay_s = self.policy.retry_s.saturating_mul(1 << doublings).min(self.policy.retry_max_s);
        wait.until_s = self.now_s.saturating_add(delay_s);
        wait.failures
    }

    fn may(&self, what: u8, number: u64) -> bool {
        self.waits.get(&(what, number)).is_none_or(|wait| wait.until_s <= self.now_s)
    }

    fn is_under_way(&self, view: &View, is_it: impl Fn(&Purpose) -> bool) -> bool {
        view.in_flight.iter().any(|in_flight| is_it(&in_flight.purpose)) || self.sent.iter().any(is_it)
    }

    fn send(&mut self, purpose: Purpose, actions: &mut Vec<Action>) {
        self.sent.insert(purpose);
        actions.push(Action::Send(purpose));
    }

    fn decide(&mut self, view: &View, actions: &mut Vec<Action>) {
        let mut level = BTreeSet::new();
        if view.rollup.frozen_at_s.is_some() {
            level.insert(Alarm::Frozen);
            self.raise(level, actions);
            return;
        }
        if view.rollup.executed < self.executed {
            level.insert(Alarm::ReorgTooDeep { executed: view.rollup.executed });
            self.raise(level, actions);
            return;
        }
        let end = self.first_foreign(view, &mut level);
        self.note_stages(view, end, actions);
        self.return_to_committee(actions);
        self.ask_for_proofs(view, end, actions);
        self.publish(view, end, actions);
        self.cancel_void(view, actions);
        if view.rollup.is_late {
            level.insert(Alarm::OperatorLate);
        }
        self.execute(view, end, actions);
        self.prove(view, end, &mut level, actions);
        self.name(view, end, &mut level, actions);
        self.raise(level, actions);
    }

    /// Emits the alarms that were not there before.
    fn raise(&mut self, level: BTreeSet<Alarm>, actions: &mut Vec<Action>) {
        actions.extend(level.difference(&self.raised).map(|&alarm| Action::Alarm(alarm)));
        self.raised = level;
    }

    /// The first number under which L1 has a batch that is not ours. Nothing is done from there on: what follows a batch that is not ours
    /// is void.
    fn first_foreign(&self, view: &View, level: &mut BTreeSet<Alarm>) -> u64 {
        let rollup = &view.rollup;
        for number in rollup.executed.max(self.executed + 1)..=rollup.committed {
            match (self.batches.get(&number), rollup.checkpoint_of(number)) {
                (Some(ours), Some(theirs)) if ours.sealed.checkpoint == theirs => {}
                (None, _) if number > self.last() => {
                    level.insert(Alarm::Behind { committed: rollup.committed });
                    return if number == rollup.executed { 0 } else { number };
                }
                (None, _) => {}
                (Some(_), _) => {
                    level.insert(Alarm::Foreign { number });
                    return if number == rollup.executed { 0 } else { number };
                }
            }
        }
        u64::MAX
    }

    fn note_stages(&mut self, view: &View, end: u64, actions: &mut Vec<Action>) {
        let rollup = &view.rollup;
        let posted_of = view.posted;
        for (&number, batch) in self.batches.range_mut(..end) {
            let stage = if number <= view.settled_executed.min(rollup.executed) {
                Stage::Executed
            } else if number <= rollup.proven {
                Stage::Proven
            } else if number <= rollup.committed {
                Stage::Committed
            } else if is_usable(batch.certificate.as_ref(), view, 0) || posted_of == Some((number, batch.sealed.parts))
            {
                Stage::Available
            } else {
                Stage::Sealed
            };
            if batch.stage != Some(stage) {
                if batch.stage < Some(stage) {
                    self.waits.remove(&(wait::SEND, number));
                }
                batch.stage = Some(stage);
                actions.push(Action::SetStage { number, stage });
            }
        }
        while let Some(first) = self.batches.first_entry().filter(|first| first.get().stage == Some(Stage::Executed)) {
            let number = *first.key();
            first.remove();
            self.executed = number;
            self.proving.remove(&number);
            self.waits.retain(|&(_, of), _| of != number);
        }
    }

    fn return_to_committee(&mut self, actions: &mut Vec<Action>) {
        let Mode::L1Data { .. } = self.mode else { return };
        let healthy_for_s = self.healthy_since_s.map(|since_s| self.now_s.saturating_sub(since_s));
        if healthy_for_s.is_some_and(|healthy_for_s| healthy_for_s >= self.policy.healthy_for_s) {
            self.mode = Mode::Committee;
            self.healthy_since_s = None;
            actions.push(Action::SetMode(self.mode));
            // The first may be half posted; the others need not follow it there.
            let next = self.view.as_ref().map_or(0, |view| view.rollup.committed) + 2;
            self.batches.range_mut(next..).for_each(|(_, batch)| batch.by_l1 = false);
        }
    }

    fn ask_for_proofs(&mut self, view: &View, end: u64, actions: &mut Vec<Action>) {
        let first = view.rollup.proven.max(self.executed) + 1;
        let wanted: Vec<u64> = (self.batches.range(first..end.max(first)))
            .filter(|(_, batch)| !batch.has_proof)
            .map(|(&number, _)| number)
            .take(self.policy.proofs_ahead)
            .filter(|number| !self.proving.contains(number) && self.may(wait::PROOF, *number))
            .collect();
        for number in wanted.into_iter().take(self.policy.proofs_ahead.saturating_sub(self.proving.len())) {
            self.proving.insert(number);
            actions.push(Action::AskProof { number });
        }
    }

    /// Gets certificates for the batches that come next, or decides that their data goes to L1.
    fn publish(&mut self, view: &View, end: u64, actions: &mut Vec<Action>) {
        let revert_count = view.rollup.revert_count;
        let first = view.rollup.committed + 1;
        let last = first.saturating_add(self.policy.certificates_ahead).min(end.max(first));
        let margin_s = self.policy.certificate_margin_s;
        let mut next = None;
        for (&number, batch) in self.batches.range_mut(first..last) {
            if is_usable(batch.certificate.as_ref(), view, margin_s) || batch.by_l1 {
                continue;
            }
            let has_expired = batch.certificate.is_some_and(|certificate| {
                certificate.revert_count == revert_count && view.rollup.is_keyset_in_force(certificate.keyset)
            });
            // Another expiry is another statement, and members sign one for each slot: no second certificate can be had.
            if has_expired || self.mode != Mode::Committee {
                batch.by_l1 = true;
                if has_expired {
                    actions.push(Action::Alarm(Alarm::CertificateExpired { number }));
                }
                continue;
            }
            next = next.or(Some(number));
        }
        if self.gathering.is_some_and(|(_, count)| count != revert_count) {
            self.gathering = None;
        }
        if let Some(number) = next.filter(|_| self.gathering.is_none()) {
            self.gathering = Some((number, revert_count));
            actions.push(Action::Gather { number, revert_count });
        }
    }

    /// Cancels what L1 would refuse by now: it would cost its gas, and hold up what comes after.
    fn cancel_void(&mut self, view: &View, actions: &mut Vec<Action>) {
        for in_flight in view.in_flight.iter().filter(|in_flight| !in_flight.is_cancelled) {
            let Some((_, revert_count, _, Some(expiry))) = in_flight.purpose.names() else { continue };
            let has_expired = expiry < view.rollup.at.timestamp_s.saturating_add(view.certificate_remaining_min_s);
            if (has_expired || revert_count != view.rollup.revert_count) && self.cancelled.insert(in_flight.nonce) {
                actions.push(Action::Cancel { nonce: in_flight.nonce });
            }
        }
    }

    fn execute(&mut self, view: &View, end: u64, actions: &mut Vec<Action>) {
        let number = view.rollup.executed + 1;
        let Some(batch) = self.batches.get(&number).filter(|_| number < end && number <= view.rollup.proven) else {
            return;
        };
        let purpose = Purpose::Execute { number, checkpoint: batch.sealed.checkpoint };
        if self.may(wait::SEND, number) && !self.is_under_way(view, |other| *other == purpose) {
            self.send(purpose, actions);
        }
    }

    fn prove(&mut self, view: &View, end: u64, level: &mut BTreeSet<Alarm>, actions: &mut Vec<Action>) {
        let number = view.rollup.proven + 1;
        let Some(batch) = self.batches.get(&number).filter(|_| number < end && number <= view.rollup.committed) else {
            return;
        };
        if !batch.has_proof {
            let committed_at_s = view.rollup.pending.iter().find(|at| at.number == number).map(|at| at.committed_at_s);
            let waited_s = committed_at_s.map(|at_s| view.rollup.at.timestamp_s.saturating_sub(at_s));
            if waited_s.is_some_and(|waited_s| waited_s >= self.policy.proof_late_s) {
                level.insert(Alarm::ProofLate { number });
            }
            return;
        }
        let purpose = Purpose::Prove { number, checkpoint: batch.sealed.checkpoint };
        if self.may(wait::SEND, number) && !self.is_under_way(view, |other| *other == purpose) {
            self.send(purpose, actions);
        }
    }

    /// Names the next batch to L1, with its data: commits or settles it.
    fn name(&mut self, view: &View, end: u64, level: &mut BTreeSet<Alarm>, actions: &mut Vec<Action>) {
        let rollup = &view.rollup;
        let revert_count = rollup.revert_count;
        if let Some(keep) = self.revert_to {
            let purpose = Purpose::Revert { keep, revert_count };
            if rollup.committed <= keep {
                self.revert_to = None;
            } else {
                if !self.is_under_way(view, |other| matches!(other, Purpose::Revert { .. })) {
                    self.send(purpose, actions);
                }
                return;
            }
        }
        let number = rollup.committed + 1;
        let Some(batch) = self.batches.get(&number).filter(|_| number < end).cloned() else { return };
        let sealed = batch.sealed;
        if view.operator != rollup.sequencer {
            level.insert(Alarm::NotTheSequencer { expected: rollup.sequencer });
            return;
        }
        if sealed.protocol_version != rollup.protocol_version {
            level.insert(Alarm::WrongVersion { number });
            return;
        }
        if sealed.priority_count > rollup.requests {
            level.insert(Alarm::RequestsGone { number });
            return;
        }
        if number - rollup.executed > PENDING_BATCHES_MAX || !self.may(wait::SEND, number) {
            return;
        }
        // One that is under way, of whatever content, is waited for: it will be there, fail, or be cancelled.
        let is_named = |other: &Purpose| other.names().is_some_and(|names| names.0 == number);
        if self.is_under_way(view, is_named) || self.is_under_way(view, |other| matches!(other, Purpose::Revert { .. }))
        {
            return;
        }
        let certificate = batch
            .certificate
            .filter(|certificate| is_usable(Some(certificate), view, self.policy.certificate_margin_s));
        if certificate.is_none() && (!batch.by_l1 || !self.is_posted(view, &sealed, actions)) {
            return;
        }
        let expiry = certificate.map(|certificate| certificate.expiry);
        let is_alone = rollup.committed == rollup.executed;
        if is_alone && !batch.has_proof && self.now_s < sealed.sealed_at_s + self.policy.settle_at_once_wait_s {
            return;
        }
        let checkpoint = sealed.checkpoint;
        let purpose = match is_alone && batch.has_proof && !batch.is_settled_in_steps {
            true => Purpose::Settle { number, revert_count, checkpoint, expiry },
            false => Purpose::Commit { number, revert_count, checkpoint, expiry },
        };
        if batch.sent_under != Some(revert_count) {
            if let Some(batch) = self.batches.get_mut(&number) {
                batch.sent_under = Some(revert_count);
            }
            actions.push(Action::MarkSent { number, revert_count });
        }
        self.send(purpose, actions);
    }

    /// Whether all of a batch's data is on L1; sends parts that are missing.
    fn is_posted(&mut self, view: &View, sealed: &Sealed, actions: &mut Vec<Action>) -> bool {
        let (number, parts) = (sealed.number, sealed.parts);
        let Some((_, posted)) = view.posted.filter(|&(of, _)| of == number) else { return false };
        for part in posted..parts.min(posted.saturating_add(self.policy.parts_ahead)) {
            let purpose = Purpose::Post { number, part };
            if !self.is_under_way(view, |other| *other == purpose) {
                self.send(purpose, actions);
            }
        }
        posted >= parts
    }
}

/// Whether L1 would take a certificate, now and `margin_s` later.
fn is_usable(certificate: Option<&CertificateHead>, view: &View, margin_s: u64) -> bool {
    certificate.is_some_and(|certificate| {
        let needed = view.certificate_remaining_min_s.saturating_add(margin_s);
        certificate.revert_count == view.rollup.revert_count
            && view.rollup.is_keyset_in_force(certificate.keyset)
            && certificate.expiry >= view.rollup.at.timestamp_s.saturating_add(needed)
    })
}
