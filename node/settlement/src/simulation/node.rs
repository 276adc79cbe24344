//! A node with a disk, and what is checked of everything it does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use alloy::primitives::{Address, B256, Bytes, keccak256};
use joule_l1::{AccountView, Attempt, Entry, Fees, Outbox, OutboxAction, OutboxPolicy};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::{
    chance,
    l1::{Content, L1, OPERATOR, REMAINING_MIN_S, Transaction},
};
use crate::{
    Action, Alarm, CertificateHead, Event, InFlight, Mode, Policy, Purpose, Recovered, Sealed, Settlement, View,
};

const LIFETIME_S: u64 = 4_000;
const HEALTHY_FOR_S: u64 = 240;

/// Members that sign one statement for each slot.
pub(super) struct Committee {
    pub(super) is_up: bool,
    /// What was signed for (number, revert count, parent): checkpoint and expiry.
    log: BTreeMap<(u64, u64, B256), (B256, u64)>,
}

impl Committee {
    pub(super) fn new() -> Self {
        Self { is_up: true, log: BTreeMap::new() }
    }

    /// As publisher and members together: the expiry is chosen once, and another checkpoint is refused. Otherwise, whether the
    /// committee failed.
    fn sign(&mut self, sealed: &Sealed, revert_count: u64, now_s: u64, keyset: B256) -> Result<CertificateHead, bool> {
        if !self.is_up {
            return Err(true);
        }
        let slot = (sealed.number, revert_count, sealed.parent);
        let &mut (checkpoint, expiry) = self.log.entry(slot).or_insert((sealed.checkpoint, now_s + LIFETIME_S));
        if checkpoint != sealed.checkpoint {
            return Err(true);
        }
        let least = now_s + REMAINING_MIN_S + policy().certificate_margin_s;
        if expiry < least { Err(false) } else { Ok(CertificateHead { revert_count, expiry, keyset }) }
    }
}

/// What survives a crash.
#[derive(Clone, Debug)]
struct Disk {
    entries: BTreeMap<u64, Entry>,
    sealed: BTreeMap<u64, Sealed>,
    certificates: BTreeMap<u64, CertificateHead>,
    proofs: BTreeSet<u64>,
    sent_under: BTreeMap<u64, u64>,
    mode: Mode,
}

impl Disk {
    fn empty() -> Self {
        Self {
            entries: BTreeMap::new(),
            sealed: BTreeMap::new(),
            certificates: BTreeMap::new(),
            proofs: BTreeSet::new(),
            sent_under: BTreeMap::new(),
            mode: Mode::Committee,
        }
    }
}

pub(super) struct Node {
    core: Settlement,
    outbox: Outbox,
    disk: Disk,
    /// Answers that come later: when, and what.
    answers: VecDeque<(u64, Event)>,
    pub(super) proof_delay_s: u64,
    sealed_ever: u64,
    /// Rebuilds from L1 alone, after which batches that L1 never saw are sealed anew.
    rebuilds: u64,
    /// What was sent for (rebuilds, number, revert count).
    sent: BTreeMap<(u64, u64, u64), B256>,
    lost_for: u32,
    healthy_from_s: Option<u64>,
    /// L1's time, revert count and keyset, as the core was last shown them.
    shown: (u64, u64, B256),
    /// What has happened in this run.
    pub(super) seen: BTreeSet<&'static str>,
}

fn policy() -> Policy {
    Policy {
        certificate_margin_s: 120,
        healthy_for_s: HEALTHY_FOR_S,
        retry_s: 12,
        retry_max_s: 600,
        batches_max: 1_000,
        proof_late_s: 600,
        ..Policy::default()
    }
}

impl Node {
    pub(super) fn new(l1: &L1) -> Self {
        let disk = Disk::empty();
        let core = recover(&disk, l1);
        Self {
            core,
            outbox: Outbox::new(OutboxPolicy::default(), []),
            disk,
            answers: VecDeque::new(),
            proof_delay_s: 12,
            sealed_ever: 0,
            rebuilds: 0,
            sent: BTreeMap::new(),
            lost_for: 0,
            healthy_from_s: None,
            shown: (0, 0, B256::ZERO),
            seen: BTreeSet::new(),
        }
    }

    /// Seals a batch on top of the last one.
    pub(super) fn seal(&mut self, random: &mut ChaCha8Rng, l1: &mut L1) {
        let (number, parent) = match self.disk.sealed.last_key_value() {
            Some((number, last)) => (number + 1, last.checkpoint),
            None => (1, B256::ZERO),
        };
        self.sealed_ever += 1;
        let salt: u64 = random.random();
        let checkpoint = keccak256([number, self.sealed_ever, salt].map(u64::to_be_bytes).concat());
        let parts = random.random_range(1..5);
        l1.contents.insert(checkpoint, Content { parent, parts });
        let sealed = Sealed {
            number,
            parent,
            checkpoint,
            protocol_version: 1,
            priority_count: 0,
            parts,
            sealed_at_s: l1.now_s(),
        };
        // On the disk before settlement hears of it.
        self.disk.sealed.insert(number, sealed);
        self.answers.push_back((0, Event::Sealed(sealed)));
    }

    /// Starts again from the disk.
    pub(super) fn restart(&mut self, l1: &L1) {
        self.core = recover(&self.disk, l1);
        self.outbox = Outbox::new(OutboxPolicy::default(), self.disk.entries.values().cloned());
        self.answers.clear();
        self.healthy_from_s = None;
    }

    /// Starts again from L1 alone: batches that L1 has are the chain's, all others are lost and sealed anew later.
    pub(super) fn rebuild(&mut self, l1: &mut L1) {
        self.rebuilds += 1;
        self.lost_for = 0;
        self.disk = Disk::empty();
        let mut parent = B256::ZERO;
        for (number, checkpoint) in (1..).zip(l1.checkpoints()) {
            let Content { parts, .. } = l1.contents[&checkpoint];
            let sealed = Sealed {
                number,
                parent,
                checkpoint,
                protocol_version: 1,
                priority_count: 0,
                parts,
                sealed_at_s: l1.now_s(),
            };
            self.disk.sealed.insert(number, sealed);
            parent = checkpoint;
        }
        self.restart(l1);
    }

    /// Whether L1 has had batches for a while that are not this node's, so that it must rebuild.
    pub(super) fn is_lost(&mut self, l1: &L1) -> bool {
        let ours = |number: u64| self.disk.sealed.get(&number).map(|sealed| sealed.checkpoint);
        let is_foreign = (1..).zip(l1.checkpoints()).any(|(number, theirs)| ours(number) != Some(theirs));
        self.lost_for = if is_foreign { self.lost_for + 1 } else { 0 };
        self.lost_for > 20
    }

    /// Whether everything sealed is executed for good, and nothing is under way.
    pub(super) fn is_done(&self) -> bool {
        let last = self.core.last();
        self.outbox.entries().count() == 0 && self.core.drained() && last >= self.disk.sealed.len() as u64
    }

    pub(super) fn describe(&self, l1: &L1) -> String {
        format!("core {:#?}\nrollup {:#?}\noutbox {:?}", self.core, l1.rollup(), self.outbox)
    }

    /// One look at L1, as the driver does it. With `dies` it may stop after any write to the disk.
    pub(super) fn turn(&mut self, random: &mut ChaCha8Rng, l1: &mut L1, committee: &mut Committee, dies: bool) {
        if self.act(random, l1, committee, dies).is_none() {
            self.restart(l1);
        }
    }

    fn act(&mut self, random: &mut ChaCha8Rng, l1: &mut L1, committee: &mut Committee, dies: bool) -> Option<()> {
        let now_s = l1.now_s();
        let mut due = Vec::new();
        self.answers.retain(|(at_s, event)| {
            let is_due = *at_s <= now_s;
            is_due.then(|| due.push(event.clone()));
            !is_due
        });
        for event in due {
            if let Event::Sealed(sealed) = event {
                assert_eq!(sealed.number, self.core.last() + 1, "sealed in order");
            }
            if let Event::Proof { number, checkpoint } = event {
                if self.disk.sealed.get(&number).is_none_or(|sealed| sealed.checkpoint != checkpoint) {
                    continue;
                }
                self.disk.proofs.insert(number);
            }
            self.feed(random, l1, committee, dies, event)?;
        }
        self.observe(random, l1);
        let view = self.view(l1);
        self.shown = (view.rollup.at.timestamp_s, view.rollup.revert_count, l1.keyset());
        self.feed(random, l1, committee, dies, Event::L1(Box::new(view)))?;
        if self.disk.mode != Mode::Committee {
            let is_healthy = committee.is_up;
            self.healthy_from_s = is_healthy.then(|| self.healthy_from_s.unwrap_or(now_s));
            self.feed(random, l1, committee, dies, Event::Health { is_healthy })?;
        }
        Some(())
    }

    fn view(&self, l1: &L1) -> View {
        let rollup = l1.rollup();
        let next = rollup.committed + 1;
        let in_flight = self.outbox.pending(l1.nonces().0).map(|entry| InFlight {
            nonce: entry.nonce,
            purpose: Purpose::decode(&entry.tag).expect("ours"),
            is_cancelled: entry.to == OPERATOR,
        });
        View {
            settled_executed: l1.settled_executed(),
            certificate_remaining_min_s: REMAINING_MIN_S,
            operator: OPERATOR,
            in_flight: in_flight.collect(),
            posted: (self.disk.sealed.get(&next))
                .filter(|_| self.core.is_posted_on_l1(next))
                .map(|sealed| (next, l1.posted(&sealed.checkpoint))),
            rollup,
        }
    }

    fn observe(&mut self, random: &mut ChaCha8Rng, l1: &mut L1) {
        let (used, settled) = l1.nonces();
        let head = l1.head().number;
        for action in self.outbox.observe(&AccountView { head, used, settled }) {
            match action {
                OutboxAction::Send { nonce } => {
                    let entry = self.outbox.entry(nonce).expect("an entry").clone();
                    self.submit(random, l1, &entry);
                }
                OutboxAction::Raise { nonce } => {
                    let mut entry = self.outbox.entry(nonce).expect("an entry").clone();
                    entry.attempts.push(Attempt { block: head, ..entry.last().clone() });
                    self.write_and_submit(random, l1, entry);
                }
                OutboxAction::Forget { nonce } => {
                    self.disk.entries.remove(&nonce);
                    self.outbox.remove(nonce);
                }
                OutboxAction::Fill { nonce } => {
                    self.seen.insert("fill");
                    let entry = entry(nonce, Purpose::Nothing, B256::ZERO, B256::ZERO, head);
                    self.write_and_submit(random, l1, entry);
                }
            }
        }
    }

    fn write_and_submit(&mut self, random: &mut ChaCha8Rng, l1: &mut L1, entry: Entry) {
        self.disk.entries.insert(entry.nonce, entry.clone());
        self.outbox.put(entry.clone());
        self.submit(random, l1, &entry);
    }

    fn submit(&mut self, random: &mut ChaCha8Rng, l1: &mut L1, entry: &Entry) {
        let mut transaction = transaction(entry);
        if entry.to == OPERATOR {
            transaction.purpose = Purpose::Nothing;
        }
        l1.submit(random, transaction);
    }

    fn feed(
        &mut self,
        random: &mut ChaCha8Rng,
        l1: &mut L1,
        committee: &mut Committee,
        dies: bool,
        event: Event,
    ) -> Option<()> {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for action in self.core.step(l1.now_s(), event) {
                events.extend(self.carry_out(random, l1, committee, action));
                if dies && chance(random, 20) {
                    return None;
                }
            }
        }
        Some(())
    }

    fn carry_out(
        &mut self,
        random: &mut ChaCha8Rng,
        l1: &mut L1,
        committee: &mut Committee,
        action: Action,
    ) -> Option<Event> {
        let now_s = l1.now_s();
        self.seen.insert(name(&action));
        match action {
            Action::Gather { number, revert_count } => {
                let sealed = self.disk.sealed[&number];
                assert_eq!(
                    self.disk.mode,
                    Mode::Committee,
                    "batch {number} was offered to a committee that has failed"
                );
                let answer = match committee.sign(&sealed, revert_count, now_s, l1.keyset()) {
                    Ok(certificate) => {
                        self.disk.certificates.insert(number, certificate);
                        Event::Certified { number, certificate }
                    }
                    Err(has_failed) => Event::NotCertified { number, revert_count, has_failed },
                };
                self.answers.push_back((now_s + random.random_range(0..30), answer));
            }
            Action::AskProof { number } => {
                let checkpoint = self.disk.sealed[&number].checkpoint;
                let answer = match chance(random, 90) {
                    true => Event::Proof { number, checkpoint },
                    false => Event::NotProven { number },
                };
                self.answers.push_back((now_s + self.proof_delay_s, answer));
            }
            Action::DropProof { number } => drop(self.disk.proofs.remove(&number)),
            Action::MarkSent { number, revert_count } => drop(self.disk.sent_under.insert(number, revert_count)),
            Action::SetMode(mode) => {
                if mode == Mode::Committee {
                    let healthy_for_s = now_s - self.healthy_from_s.expect("was found healthy");
                    assert!(healthy_for_s >= HEALTHY_FOR_S, "back to the committee after {healthy_for_s} s");
                }
                self.disk.mode = mode;
            }
            Action::Send(purpose) => return self.send(random, l1, purpose),
            Action::Cancel { nonce } => {
                if let Some(mut entry) = self.outbox.entry(nonce).cloned() {
                    entry.to = OPERATOR;
                    entry.attempts.push(Attempt { block: l1.head().number, ..entry.last().clone() });
                    self.write_and_submit(random, l1, entry);
                }
            }
            Action::Alarm(Alarm::ReorgTooDeep { .. }) => panic!("no reorg was deeper than the confirmations"),
            Action::Alarm(_) | Action::SetStage { .. } => {}
        }
        None
    }

    fn send(&mut self, random: &mut ChaCha8Rng, l1: &mut L1, purpose: Purpose) -> Option<Event> {
        let used = l1.nonces().0;
        if !self.outbox.has_room(used) {
            return Some(Event::Refused { purpose, cause: crate::Cause::Unreachable });
        }
        // Before L1 is asked: it is not L1 that keeps these promises.
        self.check(&purpose, used);
        let number = purpose.number();
        let sealed = number.and_then(|number| self.disk.sealed.get(&number)).copied();
        let certificate = number.and_then(|number| self.disk.certificates.get(&number)).copied();
        let (content, keyset) = (
            sealed.map_or(B256::ZERO, |sealed| sealed.checkpoint),
            certificate.map_or(B256::ZERO, |certificate| certificate.keyset),
        );
        let nonce = self.outbox.next_nonce(used);
        let entry = entry(nonce, purpose, content, keyset, l1.head().number);
        let is_estimated = !matches!(purpose, Purpose::Post { .. });
        if let Some(Err(cause)) = is_estimated.then(|| l1.estimate(&transaction(&entry))) {
            return Some(Event::Refused { purpose, cause });
        }
        self.write_and_submit(random, l1, entry);
        None
    }

    /// What must hold of everything that is sent.
    fn check(&mut self, purpose: &Purpose, used: u64) {
        let pending: Vec<Purpose> =
            self.outbox.pending(used).map(|entry| Purpose::decode(&entry.tag).expect("ours")).collect();
        assert!(!pending.contains(purpose), "{purpose:?} is under way already");
        let Some((number, revert_count, checkpoint, expiry)) = purpose.names() else { return };
        assert!(
            !pending.iter().any(|other| other.names().is_some_and(|names| names.0 == number)),
            "two commits of batch {number} under way"
        );
        let first = *self.sent.entry((self.rebuilds, number, revert_count)).or_insert(checkpoint);
        assert_eq!(first, checkpoint, "two different batches {number} sent under revert count {revert_count}");
        assert_eq!(self.disk.sent_under.get(&number), Some(&revert_count), "marked before it is sent");
        let (timestamp_s, shown_count, keyset) = self.shown;
        assert_eq!(revert_count, shown_count, "batch {number}: made out for another revert count");
        let Some(expiry) = expiry else { return };
        assert!(expiry >= timestamp_s + REMAINING_MIN_S, "batch {number}: certificate used past its time");
        let certificate = self.disk.certificates[&number];
        assert_eq!(certificate, CertificateHead { revert_count, expiry, keyset }, "batch {number}");
    }
}

fn name(action: &Action) -> &'static str {
    match action {
        Action::Gather { .. } => "gather",
        Action::AskProof { .. } => "ask for a proof",
        Action::DropProof { .. } => "drop a proof",
        Action::MarkSent { .. } => "mark",
        Action::Send(purpose) => match purpose {
            Purpose::Post { .. } => "post",
            Purpose::Commit { expiry: Some(_), .. } => "commit with a certificate",
            Purpose::Commit { expiry: None, .. } => "commit with data on L1",
            Purpose::Prove { .. } => "prove",
            Purpose::Execute { .. } => "execute",
            Purpose::Settle { expiry: Some(_), .. } => "settle with a certificate",
            Purpose::Settle { expiry: None, .. } => "settle with data on L1",
            Purpose::Revert { .. } => "revert",
            Purpose::Nothing => "nothing",
        },
        Action::Cancel { .. } => "cancel",
        Action::SetMode(Mode::Committee) => "return to the committee",
        Action::SetMode(Mode::L1Data { .. }) => "fall back",
        Action::SetStage { .. } => "stage",
        Action::Alarm(Alarm::OperatorLate) => "operator late",
        Action::Alarm(Alarm::ProofLate { .. }) => "proof late",
        Action::Alarm(Alarm::CertificateExpired { .. }) => "certificate expired",
        Action::Alarm(Alarm::Foreign { .. }) => "foreign batch",
        Action::Alarm(Alarm::Behind { .. }) => "behind",
        Action::Alarm(_) => "alarm",
    }
}

fn recover(disk: &Disk, l1: &L1) -> Settlement {
    let executed = l1.settled_executed().min(disk.sealed.len() as u64);
    let batches = disk.sealed.range(executed + 1..).map(|(number, sealed)| {
        let certificate = disk.certificates.get(number).copied();
        (*sealed, certificate, disk.proofs.contains(number), disk.sent_under.get(number).copied())
    });
    Settlement::new(policy(), Recovered { mode: disk.mode, executed, batches: batches.collect() })
}

/// Content and keyset travel in the input.
fn entry(nonce: u64, purpose: Purpose, content: B256, keyset: B256, block: u64) -> Entry {
    let raw = Bytes::from(nonce.to_be_bytes().to_vec());
    Entry {
        nonce,
        tag: purpose.encode(),
        to: if purpose == Purpose::Nothing { OPERATOR } else { Address::ZERO },
        input: [content, keyset].concat().into(),
        gas: 0,
        attempts: vec![Attempt { fees: Fees { cap: 1, tip: 1 }, hash: keccak256(&raw), block }],
        raw,
    }
}

fn transaction(entry: &Entry) -> Transaction {
    Transaction {
        nonce: entry.nonce,
        purpose: Purpose::decode(&entry.tag).expect("ours"),
        content: B256::from_slice(&entry.input[..32]),
        keyset: B256::from_slice(&entry.input[32..64]),
    }
}
