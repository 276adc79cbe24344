//! Each way to be rejected and to be refused, met on purpose, with the values it names; and the effects of what is applied.

use std::collections::BTreeSet;

use joule_kernel::{Abort, NotExecuted, Outcome};
use joule_protocol::{
    Account, Address, Amount, Call, CallKind, ChannelClose, ComputeReceipt, DeviceConsent, Hash, Job, Key as StateKey,
    Native, Object, PriorityRequest, Refusal, Rejection, Signature, Unsigned, Voucher, encode_eip1559, encode_legacy,
    gas_of, limits::JOB_DEADLINE_SECONDS_MAX,
};
use joule_state::Execution;
use joule_workload::{Chain, GENESIS_SECONDS, Key, Population, sign_call};

const FUNDS: Amount = 1 << 80;
const BASE_FEE: u64 = 7;
const HOUR: u64 = 3_600;

/// A chain with three funded wallets, one of them without money, and two device keys; each step is a block of its own.
struct World {
    chain: Chain,
    people: Population,
    nonces: [u64; 4],
    now: u64,
}

/// The wallets by what they do here. `POOR` has nothing.
const CLIENT: usize = 0;
const WORKER: usize = 1;
const OTHER: usize = 2;
const POOR: usize = 3;

impl World {
    fn new() -> Self {
        let mut chain = Chain::new(Chain::test_genesis());
        let people = Population::new(1, &chain.genesis, 4, 2);
        let deposits: Vec<_> = people.wallets[..3].iter().map(|key| Chain::deposit(&key.address, FUNDS)).collect();
        chain.block(GENESIS_SECONDS, 0, &deposits, &[]).expect("deposits are applied");
        Self { chain, people, nonces: [0; 4], now: GENESIS_SECONDS + 100 }
    }

    fn address(&self, wallet: usize) -> Address {
        self.people.wallets[wallet].address
    }

    fn device(&self) -> Address {
        self.people.devices[0].address
    }

    fn balance(&self, address: &Address) -> Amount {
        self.account(address).balance
    }

    fn account(&self, address: &Address) -> Account {
        match self.chain.execution.tree().get(&StateKey::account(address)) {
            Ok(Some(Object::Account(account))) => account,
            _ => Account::default(),
        }
    }

    fn job(&self, nonce: u64) -> Job {
        match self.chain.execution.tree().get(&StateKey::job(&self.address(CLIENT), nonce)) {
            Ok(Some(Object::Job(job))) => job,
            other => panic!("no job: {other:?}"),
        }
    }

    /// Sends a call in a block of its own.
    fn send(&mut self, wallet: usize, value: Amount, call: Call) -> Outcome {
        self.try_send(wallet, value, call).expect("the transaction is taken")
    }

    fn try_send(&mut self, wallet: usize, value: Amount, call: Call) -> Result<Outcome, Refusal> {
        let key = &self.people.wallets[wallet];
        let bytes = sign_call(self.people.chain_id, key, self.nonces[wallet], 100, &Address::ZERO, value, Some(&call));
        self.submit(wallet, bytes)
    }

    /// Puts bytes in a block of their own; another wallet's transfer keeps the block from being empty if they are refused.
    fn submit(&mut self, wallet: usize, bytes: Vec<u8>) -> Result<Outcome, Refusal> {
        let filler = Chain::deposit(&Address([0xdd; 20]), 1);
        let block = self.chain.block(self.now, BASE_FEE, &[filler], &[bytes]).expect("the block is sealed");
        match block.refused.first() {
            Some((_, NotExecuted::Refused(refusal))) => Err(*refusal),
            Some((_, error)) => panic!("unexpected: {error}"),
            None => {
                self.nonces[wallet] += 1;
                Ok(block.transactions[0].outcome)
            }
        }
    }

    fn force(&mut self, request: &PriorityRequest) -> Outcome {
        let bytes = request.encode();
        let block = self.chain.block(self.now, BASE_FEE, &[bytes], &[]).expect("requests never abort");
        block.requests[0]
    }

    fn forced_call(&self, wallet: usize, to: Address, amount: Amount, data: Vec<u8>) -> PriorityRequest {
        PriorityRequest { kind: 3, sender: self.address(wallet), to, amount, timestamp: self.now, data }
    }

    fn register(&mut self, stake: Amount) -> Outcome {
        let call = self.registration(self.device(), self.address(WORKER));
        self.send(WORKER, stake, call)
    }

    fn registration(&self, device: Address, payout: Address) -> Call {
        let consent = DeviceConsent { device, owner: self.address(WORKER) };
        let consent = Some(self.people.sign_consent(&self.people.devices[0], &consent));
        Call::RegisterDevice { device, payout, class: 1, consent }
    }

    fn order(&self) -> Call {
        Call::PostJob {
            model: Hash([1; 32]),
            input_hash: Hash([2; 32]),
            unit_price: 10,
            unit_limit: 100,
            deadline: self.now + HOUR,
            minimum_tier: 0,
            device: Address::ZERO,
            bond: 50,
        }
    }

    /// Posts a job of 100 units at 10 with a bond of 50 and returns its nonce.
    fn post(&mut self) -> u64 {
        let nonce = self.nonces[CLIENT];
        let order = self.order();
        assert_eq!(self.send(CLIENT, 1_000, order), Outcome::Applied);
        nonce
    }

    fn claim(&mut self, nonce: u64) -> Outcome {
        let call = Call::ClaimJob { client: self.address(CLIENT), client_nonce: nonce, device: self.device() };
        self.send(WORKER, 0, call)
    }

    /// A registered device that has claimed a job; the job's nonce.
    fn claimed(&mut self) -> u64 {
        assert_eq!(self.register(500), Outcome::Applied);
        let nonce = self.post();
        assert_eq!(self.claim(nonce), Outcome::Applied);
        nonce
    }

    fn receipt(&self, nonce: u64) -> ComputeReceipt {
        ComputeReceipt {
            client: self.address(CLIENT),
            client_nonce: nonce,
            device: self.device(),
            model: Hash([1; 32]),
            runtime: Hash([5; 32]),
            input_hash: Hash([2; 32]),
            output_hash: Hash([6; 32]),
            units: 60,
            unit_price: 10,
            started_at: self.now - 20,
            finished_at: self.now - 10,
            tier: 0,
            evidence: Hash::ZERO,
        }
    }

    fn settlement(&self, receipt: ComputeReceipt) -> Call {
        let signature = Some(self.people.sign_receipt(&self.people.devices[0], &receipt));
        Call::SettleJob { receipt, signature }
    }

    /// Settles with a receipt that `change` has changed, properly signed.
    fn settle_changed(&mut self, change: impl FnOnce(&mut ComputeReceipt)) -> Outcome {
        let nonce = self.claimed();
        let mut receipt = self.receipt(nonce);
        change(&mut receipt);
        let call = self.settlement(receipt);
        self.send(WORKER, 0, call)
    }

    /// Opens a channel of 100 to the worker and returns its nonce.
    fn open(&mut self) -> u64 {
        let nonce = self.nonces[CLIENT];
        let payee = self.address(WORKER);
        assert_eq!(self.send(CLIENT, 100, Call::OpenChannel { payee }), Outcome::Applied);
        nonce
    }

    /// Closes the client's channel by a forced call, which takes the client's nonce if it is applied.
    fn close(&mut self, nonce: u64) -> Outcome {
        let (to, data) = Call::CloseChannel { client_nonce: nonce }.encode();
        let outcome = self.force(&self.forced_call(CLIENT, to, 0, data));
        self.nonces[CLIENT] += u64::from(outcome == Outcome::Applied);
        outcome
    }

    /// The worker's consent to end a channel that has paid nothing, good until `deadline`.
    fn close_together(&self, nonce: u64, deadline: u64) -> Call {
        let (client, payee) = (self.address(CLIENT), self.address(WORKER));
        let close = ChannelClose { client, client_nonce: nonce, payee, paid: 0, deadline };
        let payee_signature = Some(self.people.sign_close(&self.people.wallets[WORKER], &close));
        Call::CloseChannelTogether { client_nonce: nonce, deadline, payee_signature }
    }

    fn voucher(&self, nonce: u64, cumulative: Amount) -> Voucher {
        Voucher { client: self.address(CLIENT), client_nonce: nonce, payee: self.address(WORKER), cumulative }
    }

    fn redeem(&mut self, voucher: Voucher, signer: usize) -> Outcome {
        let signature = Some(self.people.sign_voucher(&self.people.wallets[signer], &voucher));
        self.send(WORKER, 0, Call::RedeemVoucher { voucher, signature })
    }

    /// Puts an object into the state behind the kernel's back, for states that this kernel cannot reach yet.
    fn plant(&mut self, key: StateKey, object: Object) {
        let mut tree = self.chain.execution.tree().clone();
        let changes = tree.plan(&[(key, object)]).expect("memory does not fail");
        tree.commit(&changes).expect("memory does not fail");
        let mut checkpoint = *self.chain.execution.checkpoint();
        checkpoint.state_root = tree.root();
        self.chain.execution = Execution::new(self.chain.execution.chain_id, tree, checkpoint);
    }
}

fn rejected(outcome: Outcome) -> Rejection {
    match outcome {
        Outcome::Rejected(rejection) => rejection,
        Outcome::Applied => panic!("the action was applied"),
    }
}

type Case = (Rejection, fn(&mut World) -> Outcome);

/// One case or more for each rejection. The numbers in the expectation are those of [`World`]'s fixed people and times.
fn cases(world: &World) -> Vec<Case> {
    let (client, worker, other, device) =
        (world.address(CLIENT), world.address(WORKER), world.address(OTHER), world.device());
    let now = world.now;
    vec![
        (Rejection::UnknownSelector { selector: 0xdead_beef }, |world| {
            let to = joule_protocol::SystemContract::Jobs.address();
            world.force(&world.forced_call(CLIENT, to, 0, vec![0xde, 0xad, 0xbe, 0xef, 1]))
        }),
        (Rejection::UnknownSelector { selector: 0 }, |world| {
            let to = joule_protocol::SystemContract::Bridge.address();
            world.force(&world.forced_call(CLIENT, to, 0, vec![1, 2]))
        }),
        (Rejection::MalformedCall { selector: 0xbe96_1d88 }, |world| {
            let (to, mut data) = Call::CancelJob { client_nonce: 1 }.encode();
            data.push(0);
            world.force(&world.forced_call(CLIENT, to, 0, data))
        }),
        (Rejection::UnknownContract { to: client }, |world| {
            world.force(&world.forced_call(CLIENT, world.address(CLIENT), 0, vec![]))
        }),
        (Rejection::UnknownRequest { kind: 9 }, |world| {
            let mut request = world.forced_call(CLIENT, Address::ZERO, 0, vec![]);
            request.kind = 9;
            world.force(&request)
        }),
        (Rejection::InsufficientBalance { have: FUNDS, need: FUNDS + 1 }, |world| {
            let mut request = world.forced_call(CLIENT, world.address(CLIENT), FUNDS + 1, vec![]);
            request.kind = 2;
            world.force(&request)
        }),
        (Rejection::WrongValue { expected: 1_000, got: 999 }, |world| world.send(CLIENT, 999, world.order())),
        (Rejection::WrongValue { expected: 0, got: 5 }, |world| {
            world.send(CLIENT, 5, Call::CancelJob { client_nonce: 0 })
        }),
        (Rejection::WrongValue { expected: 4, got: 5 }, |world| {
            world.send(CLIENT, 5, Call::Withdraw { l1_recipient: world.address(CLIENT), amount: 4 })
        }),
        (Rejection::ZeroAmount {}, |world| {
            world.send(CLIENT, 0, Call::Withdraw { l1_recipient: world.address(CLIENT), amount: 0 })
        }),
        (Rejection::ZeroAmount {}, |world| world.send(CLIENT, 0, Call::OpenChannel { payee: world.address(WORKER) })),
        (Rejection::ZeroAddress {}, |world| {
            world.send(CLIENT, 4, Call::Withdraw { l1_recipient: Address::ZERO, amount: 4 })
        }),
        (Rejection::ZeroAddress {}, |world| {
            let call = world.registration(world.device(), Address::ZERO);
            world.send(WORKER, 0, call)
        }),
        (Rejection::AmountTooLarge {}, |world| {
            let mut order = world.order();
            let Call::PostJob { unit_price, .. } = &mut order else { unreachable!() };
            *unit_price = u128::MAX / 2;
            world.send(CLIENT, 0, order)
        }),
        (Rejection::BadSignature {}, |world| {
            let nonce = world.claimed();
            let receipt = world.receipt(nonce);
            world.send(WORKER, 0, Call::SettleJob { receipt, signature: None })
        }),
        (Rejection::WrongSigner { expected: client, got: other }, |world| {
            let nonce = world.open();
            world.redeem(world.voucher(nonce, 10), OTHER)
        }),
        (Rejection::JobNotFound { client, nonce: 77 }, |world| {
            world.send(CLIENT, 0, Call::CancelJob { client_nonce: 77 })
        }),
        (Rejection::JobNotOpen { status: 2 }, |world| {
            let nonce = world.claimed();
            world.claim(nonce)
        }),
        (Rejection::JobNotClaimed { status: 1 }, |world| {
            world.register(500);
            let nonce = world.post();
            let call = world.settlement(world.receipt(nonce));
            world.send(WORKER, 0, call)
        }),
        (Rejection::JobNotClaimed { status: 3 }, |world| {
            // A receipt is paid once, whoever sends it again.
            let nonce = world.claimed();
            let call = world.settlement(world.receipt(nonce));
            assert_eq!(world.send(WORKER, 0, call), Outcome::Applied);
            world.send(OTHER, 0, call)
        }),
        (Rejection::JobFinished { status: 4 }, |world| {
            let nonce = world.post();
            assert_eq!(world.send(CLIENT, 0, Call::CancelJob { client_nonce: nonce }), Outcome::Applied);
            world.send(OTHER, 0, Call::ExpireJob { client: world.address(CLIENT), client_nonce: nonce })
        }),
        (Rejection::DeadlinePassed { deadline: now, now }, |world| {
            let mut order = world.order();
            let Call::PostJob { deadline, .. } = &mut order else { unreachable!() };
            *deadline = world.now;
            world.send(CLIENT, 1_000, order)
        }),
        (Rejection::DeadlinePassed { deadline: now + HOUR, now: now + HOUR }, |world| {
            world.register(500);
            let nonce = world.post();
            world.now += HOUR;
            world.claim(nonce)
        }),
        (Rejection::DeadlineTooFar { deadline: now + JOB_DEADLINE_SECONDS_MAX + 1, now }, |world| {
            let mut order = world.order();
            let Call::PostJob { deadline, .. } = &mut order else { unreachable!() };
            *deadline = world.now + JOB_DEADLINE_SECONDS_MAX + 1;
            world.send(CLIENT, 1_000, order)
        }),
        (Rejection::TierUnsupported { tier: 1 }, |world| {
            let mut order = world.order();
            let Call::PostJob { minimum_tier, .. } = &mut order else { unreachable!() };
            *minimum_tier = 1;
            world.send(CLIENT, 1_000, order)
        }),
        (Rejection::TierUnsupported { tier: 3 }, |world| world.settle_changed(|receipt| receipt.tier = 3)),
        (Rejection::TierTooLow { need: 1, have: 0 }, |world| {
            world.register(500);
            let nonce = world.post();
            let job = Job { minimum_tier: 1, ..world.job(nonce) };
            world.plant(StateKey::job(&world.address(CLIENT), nonce), Object::Job(job));
            world.claim(nonce)
        }),
        (Rejection::TierTooLow { need: 2, have: 0 }, |world| {
            let nonce = world.claimed();
            let job = Job { minimum_tier: 2, ..world.job(nonce) };
            world.plant(StateKey::job(&world.address(CLIENT), nonce), Object::Job(job));
            let call = world.settlement(world.receipt(nonce));
            world.send(WORKER, 0, call)
        }),
        (Rejection::WrongDevice { expected: device, got: worker }, |world| {
            world.settle_changed(|receipt| {
                receipt.device = Population::new(1, &Chain::test_genesis(), 4, 2).wallets[WORKER].address
            })
        }),
        (Rejection::WrongDevice { expected: other, got: device }, |world| {
            world.register(500);
            let nonce = world.nonces[CLIENT];
            let named = world.address(OTHER);
            let mut order = world.order();
            let Call::PostJob { device, .. } = &mut order else { unreachable!() };
            *device = named;
            assert_eq!(world.send(CLIENT, 1_000, order), Outcome::Applied);
            world.claim(nonce)
        }),
        (Rejection::StakeTooLow { need: 50, have: 49 }, |world| {
            world.register(49);
            let nonce = world.post();
            world.claim(nonce)
        }),
        (Rejection::WrongModel {}, |world| world.settle_changed(|receipt| receipt.model.0[0] ^= 1)),
        (Rejection::WrongInput {}, |world| world.settle_changed(|receipt| receipt.input_hash.0[31] ^= 1)),
        (Rejection::WrongUnitPrice { expected: 10, got: 11 }, |world| {
            world.settle_changed(|receipt| receipt.unit_price = 11)
        }),
        (Rejection::UnitsOverLimit { units: 101, limit: 100 }, |world| {
            world.settle_changed(|receipt| receipt.units = 101)
        }),
        (Rejection::StartedAfterFinished { started: now, finished: now - 10 }, |world| {
            world.settle_changed(|receipt| receipt.started_at += 20)
        }),
        (Rejection::FinishedInFuture { finished: now + 1, now }, |world| {
            world.settle_changed(|receipt| receipt.finished_at += 11)
        }),
        (Rejection::FinishedAfterDeadline { finished: now + HOUR + 1, deadline: now + HOUR }, |world| {
            let nonce = world.claimed();
            world.now += 2 * HOUR;
            let mut receipt = world.receipt(nonce);
            receipt.finished_at = world.job(nonce).deadline + 1;
            receipt.started_at = receipt.finished_at;
            let call = world.settlement(receipt);
            world.send(WORKER, 0, call)
        }),
        (
            Rejection::SettlementTooLate { until: now + HOUR + 8 * 24 * HOUR, now: now + HOUR + 8 * 24 * HOUR + 1 },
            |world| {
                let nonce = world.claimed();
                let receipt = world.receipt(nonce);
                world.now = world.job(nonce).deadline + world.chain.genesis.grace_seconds + 1;
                let call = world.settlement(receipt);
                world.send(WORKER, 0, call)
            },
        ),
        (Rejection::EvidenceNotEmpty {}, |world| world.settle_changed(|receipt| receipt.evidence.0[5] = 1)),
        (Rejection::ExpiryTooEarly { from: now + HOUR + 8 * 24 * HOUR, now: now + HOUR + 8 * 24 * HOUR }, |world| {
            let nonce = world.claimed();
            world.now = world.job(nonce).deadline + world.chain.genesis.grace_seconds;
            world.send(OTHER, 0, Call::ExpireJob { client: world.address(CLIENT), client_nonce: nonce })
        }),
        (Rejection::DeviceNotFound { device }, |world| {
            let nonce = world.post();
            world.claim(nonce)
        }),
        (Rejection::DeviceExists { device }, |world| {
            world.register(500);
            world.register(500)
        }),
        (Rejection::WrongSigner { expected: other, got: Address([0; 20]) }, |world| {
            // Somebody else's key: the signature is by the device, the device named is another.
            let named = world.address(OTHER);
            let call = world.registration(named, world.address(WORKER));
            match world.send(WORKER, 0, call) {
                Outcome::Rejected(Rejection::WrongSigner { expected, .. }) => {
                    Outcome::Rejected(Rejection::WrongSigner { expected, got: Address([0; 20]) })
                }
                outcome => outcome,
            }
        }),
        (Rejection::NotDeviceOwner { caller: other }, |world| {
            world.register(500);
            world.send(OTHER, 0, Call::RetireDevice { device: world.device() })
        }),
        (Rejection::NotDeviceOperator { caller: other }, |world| {
            world.register(500);
            let nonce = world.post();
            let call = Call::ClaimJob { client: world.address(CLIENT), client_nonce: nonce, device: world.device() };
            world.send(OTHER, 0, call)
        }),
        (Rejection::NotDeviceOperator { caller: client }, |world| {
            let nonce = world.claimed();
            world.send(CLIENT, 0, Call::ReleaseJob { client: world.address(CLIENT), client_nonce: nonce })
        }),
        (Rejection::DeviceRetired {}, |world| {
            world.register(500);
            let nonce = world.post();
            assert_eq!(world.send(WORKER, 0, Call::RetireDevice { device: world.device() }), Outcome::Applied);
            world.claim(nonce)
        }),
        (Rejection::DeviceRetired {}, |world| {
            world.register(500);
            assert_eq!(world.send(WORKER, 0, Call::RetireDevice { device: world.device() }), Outcome::Applied);
            world.send(WORKER, 10, Call::AddStake { device: world.device() })
        }),
        (Rejection::DeviceNotRetired {}, |world| {
            world.register(500);
            world.send(WORKER, 0, Call::WithdrawStake { device: world.device() })
        }),
        (Rejection::StakeBonded { bonded: 50 }, |world| {
            world.claimed();
            assert_eq!(world.send(WORKER, 0, Call::RetireDevice { device: world.device() }), Outcome::Applied);
            world.send(WORKER, 0, Call::WithdrawStake { device: world.device() })
        }),
        (Rejection::ChannelNotFound { client, nonce: 9 }, |world| world.close(9)),
        (Rejection::ChannelNotFound { client, nonce: 9 }, |world| {
            world.send(CLIENT, 5, Call::TopUpChannel { client_nonce: 9 })
        }),
        (Rejection::ChannelNotOpen { status: 2 }, |world| {
            let nonce = world.open();
            assert_eq!(world.close(nonce), Outcome::Applied);
            world.send(CLIENT, 5, Call::TopUpChannel { client_nonce: nonce })
        }),
        (Rejection::ChannelNotOpen { status: 2 }, |world| {
            // A second close does not move the closing time.
            let nonce = world.open();
            assert_eq!(world.close(nonce), Outcome::Applied);
            world.close(nonce)
        }),
        (Rejection::ChannelClosed {}, |world| {
            let nonce = world.open();
            // Good in the block of its deadline still.
            let call = world.close_together(nonce, world.now);
            assert_eq!(world.send(CLIENT, 0, call), Outcome::Applied);
            world.redeem(world.voucher(nonce, 10), CLIENT)
        }),
        (Rejection::CloseNotForced {}, |world| {
            let nonce = world.open();
            world.send(CLIENT, 0, Call::CloseChannel { client_nonce: nonce })
        }),
        (Rejection::ConsentExpired { deadline: now, now: now + 1 }, |world| {
            let nonce = world.open();
            let call = world.close_together(nonce, world.now);
            world.now += 1;
            world.send(CLIENT, 0, call)
        }),
        (Rejection::ConsentExpired { deadline: now, now: now + 1 }, |world| {
            // L1 does not make consent last longer.
            let nonce = world.open();
            let (to, data) = world.close_together(nonce, world.now).encode();
            world.now += 1;
            world.force(&world.forced_call(CLIENT, to, 0, data))
        }),
        (Rejection::WrongPayee { expected: worker, got: other }, |world| {
            let nonce = world.open();
            let voucher = Voucher { payee: world.address(OTHER), ..world.voucher(nonce, 10) };
            world.redeem(voucher, CLIENT)
        }),
        (Rejection::VoucherNotIncreasing { cumulative: 10, paid: 10 }, |world| {
            let nonce = world.open();
            let voucher = world.voucher(nonce, 10);
            assert_eq!(world.redeem(voucher, CLIENT), Outcome::Applied);
            world.redeem(voucher, CLIENT)
        }),
        (Rejection::VoucherOverDeposit { cumulative: 101, deposit: 100 }, |world| {
            let nonce = world.open();
            world.redeem(world.voucher(nonce, 101), CLIENT)
        }),
        (Rejection::ChannelNotClosing { status: 1 }, |world| {
            let nonce = world.open();
            world.send(OTHER, 0, Call::FinaliseChannel { client: world.address(CLIENT), client_nonce: nonce })
        }),
        (Rejection::FinaliseTooEarly { from: now + 8 * 24 * HOUR, now: now + 8 * 24 * HOUR - 1 }, |world| {
            let nonce = world.open();
            assert_eq!(world.close(nonce), Outcome::Applied);
            world.now += world.chain.genesis.channel_close_seconds - 1;
            world.send(OTHER, 0, Call::FinaliseChannel { client: world.address(CLIENT), client_nonce: nonce })
        }),
    ]
}

#[test]
fn every_rejection_is_met() {
    let world = World::new();
    let mut met = BTreeSet::new();
    for (expected, case) in cases(&world) {
        let mut world = World::new();
        assert_eq!(rejected(case(&mut world)), expected);
        met.insert(expected.code());
    }
    let missed: Vec<_> = Rejection::ALL.iter().filter(|(code, _)| !met.contains(code)).collect();
    assert!(missed.is_empty(), "no case for {missed:?}");
}

/// A rejected transaction takes nonce and fee and nothing else; its value stays.
#[test]
fn rejection_costs_the_fee_alone() {
    let mut world = World::new();
    let before = world.account(&world.address(CLIENT));
    let call = Call::CancelJob { client_nonce: 3 };
    rejected(world.send(CLIENT, 1_234, call));
    let after = world.account(&world.address(CLIENT));
    let fee = Amount::from(gas_of(CallKind::CancelJob)) * Amount::from(BASE_FEE);
    assert_eq!(after, Account { nonce: before.nonce + 1, balance: before.balance - fee });
    assert_eq!(world.balance(&world.chain.genesis.fee_recipient), fee);
}

/// The price goes to the payout account, the rest back to the client, the bond is free, and the job keeps the receipt's digest.
#[test]
fn settlement_pays_what_the_receipt_proves() {
    let mut world = World::new();
    let nonce = world.claimed();
    let (client, worker) = (world.balance(&world.address(CLIENT)), world.balance(&world.address(WORKER)));
    let call = world.settlement(world.receipt(nonce));
    // Somebody else sends it and pays the fee.
    assert_eq!(world.send(OTHER, 0, call), Outcome::Applied);
    assert_eq!(world.balance(&world.address(WORKER)), worker + 600);
    assert_eq!(world.balance(&world.address(CLIENT)), client + 400);
    let job = world.job(nonce);
    assert_eq!((job.escrow, job.units_paid), (0, 60));
    assert_ne!(job.receipt_digest, Hash::ZERO);
}

/// A worker with nothing settles: the fee comes out of what it is paid. If it would not cover the fee, the transaction is refused.
#[test]
fn worker_with_nothing_can_settle() {
    for (price, is_enough) in [(1_000_000, true), (10, false)] {
        let mut world = World::new();
        // The poor wallet is the payout account of the worker's device.
        let payout = world.address(POOR);
        let call = world.registration(world.device(), payout);
        assert_eq!(world.send(WORKER, 100, call), Outcome::Applied);
        let nonce = world.nonces[CLIENT];
        let mut order = world.order();
        let Call::PostJob { unit_price, .. } = &mut order else { unreachable!() };
        *unit_price = price;
        assert_eq!(world.send(CLIENT, price * 100, order), Outcome::Applied);
        assert_eq!(world.claim(nonce), Outcome::Applied);
        let receipt = ComputeReceipt { unit_price: price, ..world.receipt(nonce) };
        let call = world.settlement(receipt);
        let fee = Amount::from(gas_of(CallKind::SettleJob)) * Amount::from(BASE_FEE);
        let outcome = world.try_send(POOR, 0, call);
        if is_enough {
            assert_eq!(outcome, Ok(Outcome::Applied));
            assert_eq!(world.balance(&payout), price * 60 - fee);
        } else {
            assert_eq!(outcome, Err(Refusal::InsufficientFunds { have: price * 60, need: fee }));
        }
    }
}

/// A claimed job that expires pays its bond to the client out of the device's stake.
#[test]
fn expiry_pays_the_bond() {
    let mut world = World::new();
    let nonce = world.claimed();
    let before = world.balance(&world.address(CLIENT));
    world.now = world.job(nonce).deadline + world.chain.genesis.grace_seconds + 1;
    let call = Call::ExpireJob { client: world.address(CLIENT), client_nonce: nonce };
    assert_eq!(world.send(OTHER, 0, call), Outcome::Applied);
    assert_eq!(world.balance(&world.address(CLIENT)), before + 1_000 + 50);
    let Ok(Some(Object::Device(device))) = world.chain.execution.tree().get(&StateKey::device(&world.device())) else {
        panic!("the device stays")
    };
    assert_eq!((device.stake, device.bonded), (450, 0));
}

/// A transfer to oneself costs the fee; a transfer of nothing to nobody creates nobody.
#[test]
fn self_and_zero_transfers() {
    let mut world = World::new();
    let (client, fee) = (world.address(CLIENT), 21_000 * Amount::from(BASE_FEE));
    let bytes = sign_call(world.people.chain_id, &world.people.wallets[CLIENT], 0, 100, &client, 5_000, None);
    assert_eq!(world.submit(CLIENT, bytes), Ok(Outcome::Applied));
    assert_eq!(world.balance(&client), FUNDS - fee);
    let nobody = Address([0x99; 20]);
    let bytes = sign_call(world.people.chain_id, &world.people.wallets[CLIENT], 1, 100, &nobody, 0, None);
    assert_eq!(world.submit(CLIENT, bytes), Ok(Outcome::Applied));
    assert!(matches!(world.chain.execution.tree().get(&StateKey::account(&nobody)), Ok(None)));
}

/// A forced call is the caller's: it takes the caller's nonce when it is applied, pays no fee, and is nothing when rejected.
#[test]
fn forced_call_acts_as_its_sender() {
    let mut world = World::new();
    let (to, data) = world.order().encode();
    let request = world.forced_call(CLIENT, to, 1_000, data);
    assert_eq!(world.force(&request), Outcome::Applied);
    assert_eq!(world.account(&world.address(CLIENT)), Account { nonce: 1, balance: FUNDS - 1_000 });
    assert_eq!(world.job(0).escrow, 1_000);
    let short = PriorityRequest { amount: 999, ..request };
    rejected(world.force(&short));
    assert_eq!(world.account(&world.address(CLIENT)), Account { nonce: 1, balance: FUNDS - 1_000 });
}

/// Crafted signatures that recover to the point at infinity or to nothing reject a forced call; they cannot stop the chain.
#[test]
fn unrecoverable_signature_is_an_outcome() {
    let mut world = World::new();
    let nonce = world.claimed();
    let receipt = world.receipt(nonce);
    // r = 5 is no x coordinate on secp256k1: 5³ + 7 = 132 is not a square.
    let mut r = Hash::ZERO;
    r.0[31] = 5;
    let signature = Signature::new(r, Hash([1; 32]), false);
    assert!(signature.is_some(), "in range, and still no signature");
    let (to, data) = Call::SettleJob { receipt, signature }.encode();
    assert_eq!(rejected(world.force(&world.forced_call(OTHER, to, 0, data))), Rejection::BadSignature {});
}

fn refusal_of(world: &mut World, bytes: Vec<u8>) -> Refusal {
    world.submit(CLIENT, bytes).expect_err("the transaction is refused")
}

/// The refusals that depend on the state; those of bytes alone are tested beside the decoder.
#[test]
fn every_refusal_of_the_state_is_met() {
    let mut world = World::new();
    let key: Key = world.people.wallets[CLIENT].clone();
    let (chain_id, to) = (world.people.chain_id, world.address(OTHER));
    let fields = Unsigned { chain_id, nonce: 0, fee_max: 100, gas_limit: 21_000, to, value: 1, data: &[] };
    let signed = |fields: &Unsigned<'_>| encode_eip1559::<Native>(fields, |digest| key.sign(&digest));

    let refusal = refusal_of(&mut world, signed(&Unsigned { chain_id: 5, ..fields }));
    assert_eq!(refusal, Refusal::WrongChain { got: 5, expected: chain_id });
    let refusal = refusal_of(
        &mut world,
        encode_legacy::<Native>(&Unsigned { chain_id: 5, ..fields }, |digest| key.sign(&digest)),
    );
    assert_eq!(refusal, Refusal::WrongChain { got: 5, expected: chain_id });
    let refusal = refusal_of(&mut world, signed(&Unsigned { nonce: 3, ..fields }));
    assert_eq!(refusal, Refusal::NonceTooHigh { got: 3, expected: 0 });
    let refusal = refusal_of(&mut world, signed(&Unsigned { gas_limit: 20_999, ..fields }));
    assert_eq!(refusal, Refusal::GasLimitTooLow { got: 20_999, need: 21_000 });
    let refusal = refusal_of(&mut world, signed(&Unsigned { fee_max: 6, ..fields }));
    assert_eq!(refusal, Refusal::FeeBelowBase { got: 6, base_fee: BASE_FEE });
    let fee = 21_000 * Amount::from(BASE_FEE);
    let refusal = refusal_of(&mut world, signed(&Unsigned { value: FUNDS, ..fields }));
    assert_eq!(refusal, Refusal::InsufficientFunds { have: FUNDS, need: FUNDS + fee });
    let refusal = refusal_of(&mut world, signed(&Unsigned { data: &[1], ..fields }));
    assert_eq!(refusal, Refusal::UnknownContract { to });
    let mut r = Hash::ZERO;
    r.0[31] = 5;
    let unrecoverable = Signature::new(r, Hash([1; 32]), false).expect("in range");
    let refusal = refusal_of(&mut world, encode_eip1559::<Native>(&fields, |_| unrecoverable));
    assert_eq!(refusal, Refusal::SignerNotRecovered);
    assert_eq!(world.submit(CLIENT, signed(&fields)), Ok(Outcome::Applied));
    let refusal = refusal_of(&mut world, signed(&fields));
    assert_eq!(refusal, Refusal::NonceTooLow { got: 0, expected: 1 });
    world.plant(StateKey::account(&key.address), Object::Account(Account { nonce: u64::MAX, balance: FUNDS }));
    let refusal = refusal_of(&mut world, signed(&Unsigned { nonce: u64::MAX, ..fields }));
    assert_eq!(refusal, Refusal::NonceExhausted);
}

/// What a sequencer must not do has no proof.
#[test]
fn blocks_that_abort() {
    let mut world = World::new();
    let deposit = Chain::deposit(&Address([1; 20]), 1);
    let abort = |world: &mut World, now, fee, requests: &[Vec<u8>]| world.chain.block(now, fee, requests, &[]).err();
    let earliest = world.chain.execution.checkpoint().timestamp;
    assert_eq!(abort(&mut world, earliest - 1, 0, &[]), Some(Abort::TimeRunsBackwards { got: earliest - 1, earliest }));
    assert_eq!(abort(&mut world, earliest, 0, &[]), Some(Abort::EmptyBlock));
    let maximum = world.chain.genesis.base_fee_max;
    let over = abort(&mut world, earliest, maximum + 1, std::slice::from_ref(&deposit));
    assert_eq!(over, Some(Abort::BaseFeeOverCap { got: maximum + 1, maximum }));
    let mut late = PriorityRequest::decode(&deposit).expect("a request");
    late.timestamp = earliest + 1;
    let early = abort(&mut world, earliest, 0, &[late.encode()]);
    assert_eq!(early, Some(Abort::TimeRunsBackwards { got: earliest, earliest: earliest + 1 }));
    let many = vec![deposit.clone(); joule_protocol::limits::BLOCK_PRIORITY_MAX + 1];
    assert_eq!(abort(&mut world, earliest, 0, &many), Some(Abort::BlockOverfull));
    late.amount = 1 << 120;
    late.timestamp = earliest;
    assert!(matches!(abort(&mut world, earliest, 0, &[late.encode()]), Some(Abort::MoneyOverflow { .. })));
    assert_eq!(abort(&mut world, earliest, 0, &[deposit]), None, "and the chain goes on");
}
