//! A worker's bond, against a client and a maker of batches who work together: they keep the worker's signed claim, and date a block back to use it.

use joule_kernel::{Abort, Outcome};
use joule_protocol::{
    Address, Amount, Call, Device, DeviceConsent, Hash, Key as StateKey, Object, PriorityKind, PriorityRequest,
    Rejection,
};
use joule_workload::{Chain, ExecutedBlock, GENESIS_SECONDS, Population, sign_call};

const FUNDS: Amount = 1 << 80;
const STAKE: Amount = 1_000;
const BOND: Amount = 400;
const DEADLINE: u64 = GENESIS_SECONDS + 1_000;

const CLIENT: usize = 0;
const WORKER: usize = 1;
const OTHER: usize = 2;

/// A chain with an open job and a device, whose blocks are dated as the test says, and that has stood still since the job was posted.
struct World {
    chain: Chain,
    people: Population,
    nonces: [u64; 3],
}

impl World {
    fn new() -> Self {
        let mut chain = Chain::new(Chain::test_genesis());
        let people = Population::new(5, &chain.genesis, 3, 1);
        let deposits: Vec<_> = people.wallets.iter().map(|key| Chain::deposit(&key.address, FUNDS)).collect();
        chain.block(GENESIS_SECONDS, 0, &deposits, &[]).expect("deposits are applied");
        let mut world = Self { chain, people, nonces: [0; 3] };
        let (device, owner) = (world.people.devices[0].clone(), world.address(WORKER));
        let consent = world.people.sign_consent(&device, &DeviceConsent { device: device.address, owner });
        let registration =
            Call::RegisterDevice { device: device.address, payout: owner, class: 1, consent: Some(consent) };
        let job = Call::PostJob {
            model: Hash([1; 32]),
            input_hash: Hash([2; 32]),
            unit_price: 1,
            unit_limit: 100,
            deadline: DEADLINE,
            minimum_tier: 0,
            device: Address::ZERO,
            bond: BOND,
        };
        let setup = [world.signed(WORKER, STAKE, &registration), world.signed(CLIENT, 100, &job)];
        let block = world.block(GENESIS_SECONDS + 10, &[], &setup);
        assert!(block.transactions.iter().all(|done| done.outcome == Outcome::Applied));
        world
    }

    fn address(&self, wallet: usize) -> Address {
        self.people.wallets[wallet].address
    }

    fn device(&self) -> Device {
        match self.chain.execution.tree().get(&StateKey::device(&self.people.devices[0].address)) {
            Ok(Some(Object::Device(device))) => device,
            other => panic!("no device: {other:?}"),
        }
    }

    /// A transaction with the wallet's next nonce.
    fn signed(&mut self, wallet: usize, value: Amount, call: &Call) -> Vec<u8> {
        let nonce = self.nonces[wallet];
        self.nonces[wallet] += 1;
        let key = &self.people.wallets[wallet];
        sign_call(self.people.chain_id, key, nonce, 100, &Address::ZERO, value, Some(call))
    }

    /// The worker's claim, as it gave it to the operator.
    fn claim(&mut self) -> Vec<u8> {
        let call =
            Call::ClaimJob { client: self.address(CLIENT), client_nonce: 0, device: self.people.devices[0].address };
        self.signed(WORKER, 0, &call)
    }

    /// The worker's release, queued on L1 at this time.
    fn forced_release(&self, time: u64) -> Vec<u8> {
        let (to, data) = Call::ReleaseJob { client: self.address(CLIENT), client_nonce: 0 }.encode();
        let kind = PriorityKind::ForcedCall as u8;
        PriorityRequest { kind, sender: self.address(WORKER), to, amount: 0, timestamp: time, data }.encode()
    }

    fn expiry(&mut self) -> Vec<u8> {
        let call = Call::ExpireJob { client: self.address(CLIENT), client_nonce: 0 };
        self.signed(OTHER, 0, &call)
    }

    fn block(&mut self, time: u64, requests: &[Vec<u8>], transactions: &[Vec<u8>]) -> ExecutedBlock {
        let block = self.chain.block(time, 1, requests, transactions).expect("the block is sealed");
        assert!(block.refused.is_empty(), "{:?}", block.refused);
        block
    }

    /// After deadline and grace.
    fn expired(&self) -> u64 {
        DEADLINE + self.chain.genesis.grace_seconds + 1
    }
}

/// What the worker is up against: one batch ends a claim that was in no block while it could be worked on.
#[test]
fn a_claim_that_was_kept_costs_a_worker_that_does_nothing_its_bond() {
    let mut world = World::new();
    let (claim, expiry) = (world.claim(), world.expiry());
    let now = world.expired();
    assert_eq!(world.block(DEADLINE - 1, &[], &[claim]).transactions[0].outcome, Outcome::Applied);
    assert_eq!(world.block(now, &[], &[expiry]).transactions[0].outcome, Outcome::Applied);
    assert_eq!((world.device().stake, world.device().bonded), (STAKE - BOND, 0));
}

/// What it does about it: once the deadline has passed and its claim is in no block, it releases the job through L1. No block that holds the request is dated before it, so a claim comes before it
/// and is released, or behind it and is too late; and no block after grace is executed before the request is.
#[test]
fn a_release_through_l1_saves_the_bond_wherever_the_claim_was_put() {
    for queued in [DEADLINE, DEADLINE + 3_600] {
        // The claim before the request.
        let mut world = World::new();
        let (claim, release, expiry) = (world.claim(), world.forced_release(queued), world.expiry());
        let now = world.expired();
        assert_eq!(world.block(DEADLINE - 1, &[], &[claim]).transactions[0].outcome, Outcome::Applied);
        assert_eq!(world.device().bonded, BOND);
        let block = world.block(now, &[release], &[expiry]);
        assert_eq!(block.requests[0], Outcome::Applied);
        assert_eq!(block.transactions[0].outcome, Outcome::Applied, "the client has its escrow back");
        assert_eq!((world.device().stake, world.device().bonded), (STAKE, 0), "and nothing of the worker's");

        // Behind it, in the same block or in a later one.
        for is_later in [false, true] {
            let mut world = World::new();
            let (claim, release) = (world.claim(), world.forced_release(queued));
            // A request that is rejected takes no nonce: the claim is still good, but for its time.
            let (with_it, after_it) = if is_later { (vec![], vec![claim]) } else { (vec![claim], vec![]) };
            let block = world.block(queued, &[release], &with_it);
            assert!(matches!(block.requests[0], Outcome::Rejected(Rejection::JobNotClaimed { .. })));
            let last = if is_later { world.block(queued, &[], &after_it) } else { block };
            let late = Rejection::DeadlinePassed { deadline: DEADLINE, now: queued };
            assert_eq!(last.transactions[0].outcome, Outcome::Rejected(late));
            assert_eq!((world.device().stake, world.device().bonded), (STAKE, 0));
        }
    }
}

/// A block that holds the request is not dated before it.
#[test]
fn the_release_cannot_be_dated_back() {
    let mut world = World::new();
    let (claim, release) = (world.claim(), world.forced_release(DEADLINE));
    let (got, earliest) = (DEADLINE - 1, DEADLINE);
    let aborted = world.chain.block(got, 1, &[release], &[claim]).err();
    assert_eq!(aborted, Some(Abort::TimeRunsBackwards { got, earliest }));
}
