use std::collections::BTreeMap;

use joule_protocol::{Digest, PublicValues};
use joule_prover_network::{
    Ability, Action, ArtefactId, Capabilities, CircuitsId, Coordinator, Entry, Event, LeaseId, ProverId, Rules, Task,
    TaskKind, wire::Wire as _,
};
use proptest::prelude::*;

use super::*;

const FEE: Amount = 50;
const PAYEES: u8 = 3;

/// What a transfer of these tests is, before it is signed.
fn encoded(nonce: u64, to: &Address, amount: Amount) -> Vec<u8> {
    [&nonce.to_be_bytes()[..], &to.0, &amount.to_be_bytes()].concat()
}

fn decoded(transaction: &[u8]) -> (u64, Address, Amount) {
    let (nonce, rest) = transaction.split_at(8);
    let (to, amount) = rest.split_at(20);
    let nonce = u64::from_be_bytes(nonce.try_into().expect("8 bytes"));
    let amount = Amount::from_be_bytes(amount.try_into().expect("16 bytes"));
    (nonce, Address(to.try_into().expect("20 bytes")), amount)
}

fn payee(index: u8) -> Address {
    Address([index + 1; 20])
}

/// One block of the chain.
#[derive(Clone, Debug)]
struct Block {
    payouts: Vec<Vec<u8>>,
    has_others: bool,
}

/// The paying account's chain: blocks, batches, a mempool that may forget, and L1 that may take unexecuted batches back.
#[derive(Clone, Debug, Default)]
struct Chain {
    blocks: Vec<Block>,
    /// Blocks in sealed batches, and in executed ones.
    sealed: usize,
    executed: usize,
    pool: Vec<Vec<u8>>,
    funds: Amount,
}

impl Chain {
    fn paid(&self, blocks: &[Block]) -> Vec<(u64, Address, Amount)> {
        blocks.iter().flat_map(|block| &block.payouts).map(|bytes| decoded(bytes)).collect()
    }

    fn nonce(&self) -> u64 {
        self.paid(&self.blocks).len() as u64
    }

    fn balance(&self) -> Amount {
        self.funds - self.paid(&self.blocks).iter().map(|(_, _, amount)| amount + FEE).sum::<Amount>()
    }

    fn open_batch(&self) -> Option<u64> {
        self.blocks[self.sealed..].iter().any(|block| block.has_others).then_some(self.sealed as u64 + 1)
    }

    /// A block of somebody else's transaction, or one of payouts alone, which the sequencer builds only in an open batch.
    fn block(&mut self, has_others: bool) {
        if !has_others && self.open_batch().is_none() {
            return;
        }
        let mut payouts = Vec::new();
        let mut nonce = self.nonce();
        let mut balance = self.balance();
        while let Some(place) = self.pool.iter().position(|bytes| {
            let (of, _, amount) = decoded(bytes);
            of == nonce && amount + FEE <= balance
        }) {
            let bytes = self.pool.remove(place);
            balance -= decoded(&bytes).2 + FEE;
            payouts.push(bytes);
            nonce += 1;
        }
        self.pool.retain(|bytes| decoded(bytes).0 >= nonce);
        if has_others || !payouts.is_empty() {
            self.blocks.push(Block { payouts, has_others });
        }
    }

    fn place(&self, bytes: &[u8]) -> Place {
        let position = self.blocks.iter().position(|block| block.payouts.iter().any(|other| other == bytes));
        match position {
            None => Place::Nowhere,
            Some(place) if place < self.executed => Place::Final(true),
            Some(_) => Place::InBlock,
        }
    }
}

struct World {
    core: Coordinator,
    log: Vec<Entry>,
    chain: Chain,
    payer: Payer,
    tasks: u8,
    /// Everything that was ever sent, by nonce.
    sent: BTreeMap<u64, Vec<u8>>,
    earned: BTreeMap<Address, Amount>,
    alarms: Vec<Trouble>,
}

impl World {
    fn new(funds: Amount) -> Self {
        let mut world = Self {
            core: Coordinator::new(Rules::default()),
            log: Vec::new(),
            chain: Chain { funds, ..Chain::default() },
            payer: Payer::new(FEE),
            tasks: 0,
            sent: BTreeMap::new(),
            earned: BTreeMap::new(),
            alarms: Vec::new(),
        };
        world.event(Event::Started);
        world
    }

    /// Takes an event that is on the disk before anything comes of it.
    fn event(&mut self, event: Event) -> Vec<Action> {
        let entry = Entry { now_ms: 1_000 + self.log.len() as u64, event };
        let actions = self.core.apply(&entry).unwrap_or_else(|refused| panic!("{:?}: {refused}", entry.event));
        self.log.push(entry);
        actions
    }

    /// A prover earns: from its question to an accepted result.
    fn earn(&mut self, index: u8, price: Amount) {
        let circuits = CircuitsId([7; 32]);
        let work = vec![Ability { kind: TaskKind::Wrap, shape: 0, milliseconds: 20_000 }];
        let capabilities = Capabilities { payout: payee(index), circuits, work, memory_mebibytes: 8_192, parallel: 1 };
        let number = self.tasks;
        self.tasks += 1;
        let task = Task {
            kind: TaskKind::Wrap,
            shape: 0,
            statement: PublicValues { program: Digest::EMPTY, chain_id: 7, from: Hash([number; 32]), to: Hash::ZERO },
            circuits,
            inputs: vec![ArtefactId([number; 32])],
            input_bytes: vec![100],
            deadline_ms: 1 << 40,
            price,
        };
        let prover = ProverId([index; 32]);
        self.event(Event::Joined(prover, capabilities));
        self.event(Event::Asked(prover));
        let offered = self.event(Event::Published(task.clone())).into_iter().find_map(|action| match action {
            Action::Offer(lease, _) => Some(lease.id()),
            _ => None,
        });
        let lease: LeaseId = offered.expect("it waits");
        self.event(Event::Signed(lease));
        let result = ArtefactId([number; 32]);
        self.event(Event::Delivered(lease, result));
        self.event(Event::Judged(lease, result, true));
        self.event(Event::Collected(task.id()));
        *self.earned.entry(payee(index)).or_default() += price;
    }

    /// The process is killed. The ledger comes back from its log, the payer from nothing.
    fn crash(&mut self) {
        let mut core = Coordinator::new(Rules::default());
        for entry in &self.log {
            core.apply(entry).expect("what was taken once is taken again");
        }
        assert_eq!(core.encode(), self.core.encode());
        self.core = core;
        self.payer = Payer::new(FEE);
        self.event(Event::Started);
    }

    fn look(&self) -> Look {
        let payouts = self.core.ledger().payouts().map(|(id, payout)| Owing {
            id,
            to: payout.to,
            amount: payout.amount,
            signed: payout.signed.clone().map(|(nonce, bytes)| (nonce, bytes.clone(), self.chain.place(&bytes))),
        });
        Look {
            nonce: self.chain.nonce(),
            balance: self.chain.balance(),
            open_batch: self.chain.open_batch(),
            payouts: payouts.collect(),
        }
    }

    /// Looks and does the first `limit` halves of what is to be done; being killed is stopping there. A step of the ledger is one half, and so are signing before it is written
    /// down and sending.
    fn settle(&mut self, mut limit: usize) {
        for _ in 0..ROUNDS_MAX {
            let mut is_changed = false;
            for step in self.payer.steps(&self.look()) {
                if limit == 0 {
                    return;
                }
                limit -= 1;
                match step {
                    Step::Plan => {
                        assert!(self.chain.open_batch().is_some());
                        is_changed = true;
                        self.event(Event::PayoutsOpened);
                    }
                    Step::Sign { payout, nonce, to, amount } => {
                        is_changed = true;
                        let transaction = encoded(nonce, &to, amount);
                        // Killed between signing and writing down: the signature is nowhere.
                        if limit == 0 {
                            return;
                        }
                        limit -= 1;
                        self.event(Event::PayoutSigned(payout, nonce, transaction));
                    }
                    Step::Send { payout, transaction } => {
                        assert!(self.chain.open_batch().is_some(), "nothing is sent to an idle chain");
                        let signed = self.core.ledger().payouts().find(|(id, _)| *id == payout);
                        let written = signed.and_then(|(_, payout)| payout.signed.clone()).expect("written down first");
                        assert_eq!(written.1, transaction);
                        let nonce = decoded(&transaction).0;
                        let before = self.sent.insert(nonce, transaction.clone());
                        assert!(before.is_none_or(|before| before == transaction), "two payouts have nonce {nonce}");
                        if !self.chain.pool.contains(&transaction) {
                            self.chain.pool.push(transaction);
                        }
                    }
                    Step::Paid(payout) => {
                        self.event(Event::PayoutIncluded(payout));
                    }
                    Step::Alarm(_, trouble) => self.alarms.push(trouble),
                }
            }
            if !is_changed {
                return;
            }
        }
    }

    /// Nobody has more than it earned, on any fork of the chain.
    fn check(&self) {
        let mut got = BTreeMap::<Address, Amount>::new();
        for (_, to, amount) in self.chain.paid(&self.chain.blocks) {
            *got.entry(to).or_default() += amount;
        }
        for (to, amount) in got {
            assert!(amount <= self.earned[&to], "{to} was paid twice");
        }
    }

    /// Time goes on without faults: others use the chain, L1 executes.
    fn finish(&mut self) {
        for _ in 0..8 {
            self.chain.block(true);
            self.settle(usize::MAX);
            self.chain.block(false);
            self.chain.sealed = self.chain.blocks.len();
            self.chain.executed = self.chain.sealed;
            self.settle(usize::MAX);
            self.check();
        }
    }
}

#[derive(Clone, Debug)]
enum Happens {
    Earn(u8, Amount),
    Others,
    Block,
    Seal,
    Execute,
    /// L1 takes back what is not executed; the transactions go back into the mempool, or not.
    Revert(bool),
    Forget,
    Settle,
    /// Killed after so many halves of steps.
    Killed(usize),
    Fund(Amount),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        4 => (0..PAYEES, 1..1_000_u128).prop_map(|(index, price)| Happens::Earn(index, price)),
        4 => Just(Happens::Others),
        4 => Just(Happens::Block),
        2 => Just(Happens::Seal),
        2 => Just(Happens::Execute),
        1 => any::<bool>().prop_map(Happens::Revert),
        1 => Just(Happens::Forget),
        6 => Just(Happens::Settle),
        6 => (0..12_usize).prop_map(Happens::Killed),
        1 => (0..2_000_u128).prop_map(Happens::Fund),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Killed at any step, with blocks undone and transactions forgotten: nothing is paid twice, and in the end everything is paid.
    #[test]
    fn everything_is_paid_once(happenings in prop::collection::vec(happens(), 1..80)) {
        let mut world = World::new(500);
        for happening in happenings {
            match happening {
                Happens::Earn(index, price) => world.earn(index, price),
                Happens::Others => world.chain.block(true),
                Happens::Block => world.chain.block(false),
                Happens::Seal => world.chain.sealed = world.chain.blocks.len(),
                Happens::Execute => world.chain.executed = world.chain.sealed,
                Happens::Revert(keeps) => {
                    let undone = world.chain.blocks.split_off(world.chain.executed);
                    world.chain.sealed = world.chain.executed;
                    if keeps {
                        world.chain.pool.extend(undone.into_iter().flat_map(|block| block.payouts));
                    }
                }
                Happens::Forget => world.chain.pool.clear(),
                Happens::Settle => world.settle(usize::MAX),
                Happens::Killed(halves) => {
                    world.settle(halves);
                    world.crash();
                }
                Happens::Fund(amount) => world.chain.funds += amount,
            }
            world.check();
        }
        world.chain.funds += 1_000_000;
        world.finish();
        let ledger = world.core.ledger();
        prop_assert_eq!(ledger.owed_total(), 0);
        prop_assert_eq!(ledger.payouts().count(), 0);
        let mut got = BTreeMap::<Address, Amount>::new();
        for (_, to, amount) in world.chain.paid(&world.chain.blocks) {
            *got.entry(to).or_default() += amount;
        }
        prop_assert_eq!(got, world.earned);
        let is_expected = |trouble: &Trouble| matches!(trouble, Trouble::Unfunded { .. });
        prop_assert!(world.alarms.iter().all(is_expected), "{:?}", world.alarms);
    }
}

#[test]
fn an_idle_chain_is_left_alone() {
    let mut world = World::new(1_000_000);
    world.earn(0, 10);
    world.settle(usize::MAX);
    assert_eq!(world.core.ledger().payouts().count(), 0, "not even planned");
    world.chain.block(true);
    world.settle(usize::MAX);
    assert_eq!(world.chain.pool, [encoded(0, &payee(0), 10)], "planned, signed and sent in one go");
    // The batch is closed before a block takes it, and nobody comes: it waits.
    world.chain.sealed = world.chain.blocks.len();
    world.chain.pool.clear();
    world.settle(usize::MAX);
    world.chain.block(false);
    assert!(world.chain.pool.is_empty() && world.chain.blocks.len() == 1);
    // Somebody comes: the same bytes go out again.
    world.chain.block(true);
    world.settle(usize::MAX);
    assert_eq!(world.chain.pool, [encoded(0, &payee(0), 10)]);
    world.finish();
    assert_eq!(world.core.ledger().paid_total(), 10);
}

fn owing(id: PayoutId, nonce: Option<u64>, place: Place) -> Owing {
    let (to, amount) = (payee(0), 10);
    Owing { id, to, amount, signed: nonce.map(|nonce| (nonce, encoded(nonce, &to, amount), place)) }
}

fn look(nonce: u64, payouts: Vec<Owing>) -> Look {
    Look { nonce, balance: 1_000, open_batch: Some(5), payouts }
}

fn alarms(look: &Look) -> Vec<(PayoutId, Trouble)> {
    let mut payer = Payer::new(FEE);
    let alarms = payer.steps(look).into_iter().filter_map(|step| match step {
        Step::Alarm(payout, trouble) => Some((payout, trouble)),
        _ => None,
    });
    let alarms = alarms.collect();
    assert!(!payer.steps(look).iter().any(|step| matches!(step, Step::Alarm(..))), "said once");
    alarms
}

#[test]
fn what_cannot_go_on_is_for_a_person() {
    let used = look(3, vec![owing(1, Some(2), Place::Nowhere)]);
    assert_eq!(alarms(&used), [(1, Trouble::NonceUsed { nonce: 2, account: 3 })]);
    let gap = look(3, vec![owing(1, Some(3), Place::Nowhere), owing(2, Some(5), Place::Nowhere)]);
    assert_eq!(alarms(&gap), [(2, Trouble::NonceGap { nonce: 5, missing: 4 })]);
    let rejected = look(3, vec![owing(1, Some(2), Place::Final(false))]);
    assert_eq!(alarms(&rejected), [(1, Trouble::Rejected)]);
    let contract = Owing { to: SystemContract::Jobs.address(), ..owing(1, None, Place::Nowhere) };
    assert_eq!(alarms(&look(3, vec![contract.clone()])), [(1, Trouble::Payee { to: contract.to })]);
    let poor = Look { balance: 59, ..look(3, vec![owing(1, None, Place::Nowhere)]) };
    assert_eq!(alarms(&poor), [(1, Trouble::Unfunded { need: 60, have: 59 })]);
}

/// None of these holds up the others.
#[test]
fn others_are_paid_meanwhile() {
    let contract = Owing { to: SystemContract::Bridge.address(), ..owing(1, None, Place::Nowhere) };
    let large = Owing { amount: 5_000, ..owing(2, None, Place::Nowhere) };
    let steps = Payer::new(FEE).steps(&look(3, vec![contract, large, owing(3, None, Place::Nowhere)]));
    let signed: Vec<_> = steps.iter().filter(|step| matches!(step, Step::Sign { .. })).collect();
    assert_eq!(signed, [&Step::Sign { payout: 3, nonce: 3, to: payee(0), amount: 10 }]);
    // Nonces go on behind what is signed, wherever that is.
    let steps = Payer::new(FEE).steps(&look(
        4,
        vec![owing(1, Some(3), Place::InBlock), owing(2, Some(4), Place::Nowhere), owing(3, None, Place::Nowhere)],
    ));
    assert!(steps.contains(&Step::Sign { payout: 3, nonce: 5, to: payee(0), amount: 10 }), "{steps:?}");
}

/// The transaction is one that the kernel takes, by the fee recipient, and always the same.
#[test]
fn a_payout_is_a_transfer_that_the_sequencer_takes() {
    use joule_protocol::Envelope;
    let key = PrivateKeySigner::from_bytes(&alloy::primitives::B256::repeat_byte(7)).unwrap();
    let genesis = joule_workload::Chain::test_genesis();
    let bytes = transfer(&key, &genesis, 3, &payee(1), 1_234).unwrap();
    assert_eq!(bytes, transfer(&key, &genesis, 3, &payee(1), 1_234).unwrap());
    assert!(bytes.len() <= joule_prover_network::event::TRANSACTION_BYTES_MAX);
    let envelope = Envelope::decode(&bytes).unwrap();
    assert_eq!(envelope.chain_id, genesis.chain_id);
    assert_eq!((envelope.nonce, envelope.to, envelope.value), (3, payee(1), 1_234));
    assert_eq!(envelope.gas_limit, gas_of(CallKind::Transfer));
    assert_eq!(envelope.fee_max, genesis.base_fee_max.into());
    let sender = joule_kernel::recover_address::<Native>(&envelope.signing_hash::<Native>(), &envelope.signature);
    assert_eq!(sender, Some(Address(key.address().into_array())));
}
