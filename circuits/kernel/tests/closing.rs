//! A channel ends without its payee only after a delay that nobody can hide: against a client and a maker of batches who work together.

use joule_kernel::{Abort, Event, Outcome};
use joule_protocol::{
    Address, Amount, Call, Channel, ChannelClose, ChannelStatus, Key as StateKey, Object, PriorityKind,
    PriorityRequest, Rejection, Voucher, gas_of,
};
use joule_workload::{Chain, ExecutedBlock, GENESIS_SECONDS, Population, sign_call};
use proptest::prelude::*;

const FUNDS: Amount = 1 << 80;
const DEPOSIT: Amount = 100;
const BASE_FEE: u64 = 7;
const DAY: u64 = 24 * 3_600;
/// The delay of the test network.
const DELAY: u64 = 8 * DAY;

/// The wallets by what they do here.
const CLIENT: usize = 0;
const PAYEE: usize = 1;
const OTHER: usize = 2;

/// A chain whose blocks are dated as the test says, which is the maker of batches here.
struct World {
    chain: Chain,
    people: Population,
    nonces: [u64; 3],
}

impl World {
    fn new() -> Self {
        let mut chain = Chain::new(Chain::test_genesis());
        assert_eq!(chain.genesis.channel_close_seconds, DELAY);
        let people = Population::new(5, &chain.genesis, 3, 0);
        let deposits: Vec<_> = people.wallets.iter().map(|key| Chain::deposit(&key.address, FUNDS)).collect();
        chain.block(GENESIS_SECONDS, 0, &deposits, &[]).expect("deposits are applied");
        Self { chain, people, nonces: [0; 3] }
    }

    /// With a channel to the payee, opened in a block of this time; and its nonce.
    fn with_channel(time: u64) -> (Self, u64) {
        let mut world = Self::new();
        let nonce = world.open(time);
        (world, nonce)
    }

    fn open(&mut self, time: u64) -> u64 {
        let nonce = self.nonces[CLIENT];
        let call = Call::OpenChannel { payee: self.address(PAYEE) };
        let opening = self.signed(CLIENT, DEPOSIT, &call);
        assert_eq!(self.block(time, &[], &[opening]).transactions[0].outcome, Outcome::Applied);
        nonce
    }

    fn address(&self, wallet: usize) -> Address {
        self.people.wallets[wallet].address
    }

    fn balance(&self, wallet: usize) -> Amount {
        match self.chain.execution.tree().get(&StateKey::account(&self.address(wallet))) {
            Ok(Some(Object::Account(account))) => account.balance,
            other => panic!("no account: {other:?}"),
        }
    }

    fn channel(&self, nonce: u64) -> Channel {
        match self.chain.execution.tree().get(&StateKey::channel(&self.address(CLIENT), nonce)) {
            Ok(Some(Object::Channel(channel))) => channel,
            other => panic!("no channel: {other:?}"),
        }
    }

    /// A transaction with the wallet's next nonce.
    fn signed(&mut self, wallet: usize, value: Amount, call: &Call) -> Vec<u8> {
        let nonce = self.nonces[wallet];
        self.nonces[wallet] += 1;
        let key = &self.people.wallets[wallet];
        sign_call(self.people.chain_id, key, nonce, 100, &Address::ZERO, value, Some(call))
    }

    /// A forced call that L1 queued at `time`.
    fn forced(&self, wallet: usize, time: u64, call: &Call) -> Vec<u8> {
        let (to, data) = call.encode();
        let kind = PriorityKind::ForcedCall as u8;
        PriorityRequest { kind, sender: self.address(wallet), to, amount: 0, timestamp: time, data }.encode()
    }

    fn try_block(&mut self, time: u64, requests: &[Vec<u8>], transactions: &[Vec<u8>]) -> Result<ExecutedBlock, Abort> {
        let block = self.chain.block(time, BASE_FEE, requests, transactions)?;
        assert!(block.refused.is_empty(), "{:?}", block.refused);
        Ok(block)
    }

    fn block(&mut self, time: u64, requests: &[Vec<u8>], transactions: &[Vec<u8>]) -> ExecutedBlock {
        self.try_block(time, requests, transactions).expect("the block is sealed")
    }

    /// Consumes the client's close, queued on L1 at `queued`, in a block of `time`.
    fn close(&mut self, nonce: u64, queued: u64, time: u64) -> Outcome {
        let request = self.forced(CLIENT, queued, &Call::CloseChannel { client_nonce: nonce });
        let outcome = self.block(time, &[request], &[]).requests[0];
        self.nonces[CLIENT] += u64::from(outcome == Outcome::Applied);
        outcome
    }

    /// What becomes of a signed finalisation, by somebody who is neither client nor payee, in a block of its own.
    fn finalise(&mut self, nonce: u64, time: u64) -> Outcome {
        let finalisation = self.finalisation(nonce);
        self.block(time, &[], &[finalisation]).transactions[0].outcome
    }

    fn finalisation(&mut self, nonce: u64) -> Vec<u8> {
        let call = Call::FinaliseChannel { client: self.address(CLIENT), client_nonce: nonce };
        self.signed(OTHER, 0, &call)
    }

    fn redemption(&self, nonce: u64, cumulative: Amount) -> Call {
        let (client, payee) = (self.address(CLIENT), self.address(PAYEE));
        let voucher = Voucher { client, client_nonce: nonce, payee, cumulative };
        let signature = Some(self.people.sign_voucher(&self.people.wallets[CLIENT], &voucher));
        Call::RedeemVoucher { voucher, signature }
    }
}

fn too_early(from: u64, now: u64) -> Outcome {
    Outcome::Rejected(Rejection::FinaliseTooEarly { from, now })
}

/// A signed close costs its sender the fee and leaves the channel as it was, whoever sends it and whenever.
#[test]
fn a_signed_close_is_rejected() {
    let opened = GENESIS_SECONDS + 10;
    let (mut world, nonce) = World::with_channel(opened);
    let before = world.channel(nonce);
    for (wallet, time) in [(CLIENT, opened), (CLIENT, opened + 20 * DAY), (PAYEE, opened + 20 * DAY)] {
        let call = Call::CloseChannel { client_nonce: nonce };
        let (balance, close) = (world.balance(wallet), world.signed(wallet, 0, &call));
        let block = world.block(time, &[], &[close]);
        assert_eq!(block.transactions[0].outcome, Outcome::Rejected(Rejection::CloseNotForced {}));
        let fee = Amount::from(gas_of(call.kind())) * Amount::from(BASE_FEE);
        assert_eq!(world.balance(wallet), balance - fee);
        assert_eq!(world.channel(nonce), before);
    }
}

/// The chain has stood still for longer than the delay, and whoever makes its next batch is the client's friend.
#[test]
fn no_batch_after_a_standstill_ends_a_channel_that_was_open_before() {
    let last = GENESIS_SECONDS + 10;
    let now = last + 9 * DAY;
    let (mut world, nonce) = World::with_channel(last);
    // A close that is dated back needs no L1, and so is none.
    let dated_back = world.signed(CLIENT, 0, &Call::CloseChannel { client_nonce: nonce });
    let block = world.block(last, &[], &[dated_back]);
    assert_eq!(block.transactions[0].outcome, Outcome::Rejected(Rejection::CloseNotForced {}));
    assert_eq!(
        world.finalise(nonce, now),
        Outcome::Rejected(Rejection::ChannelNotClosing { status: ChannelStatus::Open as u8 })
    );

    // The same with a request, on a chain of its own: no block takes it that is dated before L1 queued it ...
    let (mut world, nonce) = World::with_channel(last);
    let request = world.forced(CLIENT, now, &Call::CloseChannel { client_nonce: nonce });
    for got in [last, now - 1] {
        let aborted = world.try_block(got, std::slice::from_ref(&request), &[]).err();
        assert_eq!(aborted, Some(Abort::TimeRunsBackwards { got, earliest: now }));
    }
    // ... and the delay begins then: not in the same block, not in the next, not a second before it is over.
    let finalisation = world.finalisation(nonce);
    let block = world.block(now, &[request], &[finalisation]);
    world.nonces[CLIENT] += 1;
    assert_eq!(block.requests, [Outcome::Applied]);
    assert_eq!(block.transactions[0].outcome, too_early(now + DELAY, now));
    assert_eq!(world.finalise(nonce, now), too_early(now + DELAY, now));
    assert_eq!(world.finalise(nonce, now + DELAY - 1), too_early(now + DELAY, now + DELAY - 1));

    // The payee's voucher is in time even in the block that finalises: requests come first.
    let redemption = world.forced(PAYEE, now + DELAY, &world.redemption(nonce, 80));
    let finalisation = world.finalisation(nonce);
    let (payee, client) = (world.balance(PAYEE), world.balance(CLIENT));
    let block = world.block(now + DELAY, &[redemption], &[finalisation]);
    assert_eq!((block.requests[0], block.transactions[0].outcome), (Outcome::Applied, Outcome::Applied));
    assert_eq!((world.balance(PAYEE), world.balance(CLIENT)), (payee + 80, client + DEPOSIT - 80));
    assert_eq!(world.channel(nonce).status, ChannelStatus::Closed);
}

/// Redeemed by force in the delay, and again; what is left goes back.
#[test]
fn vouchers_redeem_by_force_until_the_end() {
    let time = GENESIS_SECONDS + 10;
    let (mut world, nonce) = World::with_channel(time);
    assert_eq!(world.close(nonce, time, time), Outcome::Applied);
    let (payee, client) = (world.balance(PAYEE), world.balance(CLIENT));
    for (at, cumulative) in [(time, 30), (time + DELAY - 1, 70)] {
        let redemption = world.forced(PAYEE, at, &world.redemption(nonce, cumulative));
        assert_eq!(world.block(at, &[redemption], &[]).requests, [Outcome::Applied]);
        assert_eq!(world.balance(PAYEE), payee + cumulative);
        assert_eq!(world.channel(nonce).status, ChannelStatus::Closing);
    }
    assert_eq!(world.finalise(nonce, time + DELAY), Outcome::Applied);
    assert_eq!(world.balance(CLIENT), client + 30);
    let late = world.forced(PAYEE, time + DELAY, &world.redemption(nonce, 71));
    let outcomes = world.block(time + DELAY, &[late], &[]).requests;
    assert_eq!(outcomes, [Outcome::Rejected(Rejection::ChannelClosed {})]);
}

/// A close that was queued before its channel existed gives the payee no less.
#[test]
fn a_close_that_waits_in_the_queue_does_not_eat_the_delay() {
    let queued = GENESIS_SECONDS + 10;
    let mut world = World::new();
    let opened = queued + 7 * DAY;
    let nonce = world.open(opened);
    assert_eq!(world.close(nonce, queued, opened), Outcome::Applied);
    assert_eq!(world.channel(nonce).closing_time, opened + DELAY);
    assert_eq!(world.finalise(nonce, queued + DELAY), too_early(opened + DELAY, queued + DELAY));
}

/// Whom a forced close may name: one's own channels. A second one does not move the closing time.
#[test]
fn only_the_client_closes_and_only_once() {
    let time = GENESIS_SECONDS + 10;
    let (mut world, nonce) = World::with_channel(time);
    for wallet in [PAYEE, OTHER] {
        let request = world.forced(wallet, time, &Call::CloseChannel { client_nonce: nonce });
        let not_found = Rejection::ChannelNotFound { client: world.address(wallet), nonce };
        assert_eq!(world.block(time, &[request], &[]).requests, [Outcome::Rejected(not_found)]);
    }
    let request = world.forced(CLIENT, time, &Call::CloseChannel { client_nonce: nonce });
    let block = world.block(time, &[request], &[]);
    let client = world.address(CLIENT);
    assert_eq!(block.events, [Event::ChannelClosing { client, client_nonce: nonce, closing_time: time + DELAY }]);
    let closing = ChannelStatus::Closing as u8;
    let again = world.close(nonce, time + 1, time + DAY);
    assert_eq!(again, Outcome::Rejected(Rejection::ChannelNotOpen { status: closing }));
    assert_eq!(world.channel(nonce).closing_time, time + DELAY);
}

/// Consent names the channel, what it has paid, and its deadline; changed in any of them it is by nobody who may give it. A channel that is closing ends by it too.
#[test]
fn consent_is_to_what_it_says() {
    let time = GENESIS_SECONDS + 10;
    let (mut world, nonce) = World::with_channel(time);
    let (client, payee) = (world.address(CLIENT), world.address(PAYEE));
    let redemption = world.redemption(nonce, 40);
    let redemption = world.signed(PAYEE, 0, &redemption);
    world.block(time, &[], &[redemption]);
    let deadline = time + 600;
    let right = ChannelClose { client, client_nonce: nonce, payee, paid: 40, deadline };
    let together = |world: &mut World, said: ChannelClose, time: u64| {
        let payee_signature = Some(world.people.sign_close(&world.people.wallets[PAYEE], &said));
        let call = Call::CloseChannelTogether { client_nonce: nonce, deadline, payee_signature };
        let closing = world.signed(CLIENT, 0, &call);
        world.block(time, &[], &[closing]).transactions[0].outcome
    };
    for wrong in [
        ChannelClose { deadline: deadline + 1, ..right },
        ChannelClose { deadline: deadline - 1, ..right },
        ChannelClose { paid: 0, ..right },
        ChannelClose { client_nonce: nonce + 1, ..right },
        ChannelClose { client: payee, ..right },
    ] {
        let outcome = together(&mut world, wrong, time);
        let Outcome::Rejected(Rejection::WrongSigner { expected, .. }) = outcome else {
            panic!("{wrong:?}: {outcome:?}")
        };
        assert_eq!(expected, payee);
    }
    assert_eq!(world.close(nonce, time, time), Outcome::Applied);
    assert_eq!(together(&mut world, right, deadline), Outcome::Applied);
    assert_eq!(world.channel(nonce).status, ChannelStatus::Closed);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever the times of request and block: the channel ends no sooner than the delay after both.
    #[test]
    fn the_delay_follows_request_and_block(idle in 0..30 * DAY, waited in 0..30 * DAY, early in 1..=DELAY) {
        let opened = GENESIS_SECONDS + 10;
        let (mut world, nonce) = World::with_channel(opened);
        let time = opened + idle;
        let queued = time.saturating_sub(waited);
        prop_assert_eq!(world.close(nonce, queued, time), Outcome::Applied);
        let from = world.channel(nonce).closing_time;
        prop_assert!(from >= queued + DELAY && from >= time + DELAY);
        prop_assert_eq!(world.finalise(nonce, from - early), too_early(from, from - early));
        prop_assert_eq!(world.finalise(nonce, from), Outcome::Applied);
    }
}
