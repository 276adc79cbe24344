//! Blocks that cost as much to prove as their limits allow: each is full of one sort of call, by senders of their own, on objects of their own, paying accounts
//! that did not exist. Nothing is shared, so every call brings all its leaves, and every account that is new brings the leaf before it as well.

use joule_protocol::{
    Address, Amount, Call, CallKind, ChannelClose, ComputeReceipt, DeviceConsent, Genesis, Hash, Hashing, Native,
    PriorityKind, PriorityRequest, SystemContract, Unsigned, Voucher, encode_eip1559, gas_of,
    limits::{BLOCK_BYTES_MAX, BLOCK_GAS_MAX, BLOCK_PRIORITY_MAX, PRIORITY_DATA_BYTES_MAX, TRANSACTION_BYTES_MAX},
};

use crate::{Chain, GENESIS_SECONDS, Population, sign_call};

const FUNDS: Amount = 1 << 80;
const UNIT_PRICE: Amount = 1_000;
const UNIT_LIMIT: u64 = 500;
const BOND: Amount = 10_000;
/// From a job's posting to its deadline.
const JOB_SECONDS: u64 = 3_600;

/// What a block is full of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Extreme {
    /// Transfers to new accounts.
    Transfers,
    /// Registrations of devices.
    Registrations,
    /// Jobs posted.
    Posts,
    /// Jobs claimed.
    Claims,
    /// Claimed jobs given back.
    Releases,
    /// Open jobs taken back.
    Cancellations,
    /// Jobs settled by somebody else than the payee, which is a new account.
    Settlements,
    /// Claimed jobs expired by somebody else than the client.
    Expirations,
    /// Stake added to devices.
    Stakes,
    /// Devices retired.
    Retirements,
    /// Stake of retired devices taken back.
    Unstakings,
    /// Channels opened.
    Channels,
    /// Channels topped up.
    TopUps,
    /// Vouchers redeemed by somebody else than the payee, which is a new account.
    Redemptions,
    /// Channels closed by their clients alone: forced from L1, as many as a block takes requests, then signed ones, which are rejected for that.
    Closings,
    /// Channels closed with the payee's consent.
    ClosingsTogether,
    /// Closed channels finalised by somebody else than the client.
    Finalisations,
    /// Withdrawals.
    Withdrawals,
    /// Rejected calls with as much calldata as fits.
    Calldata,
    /// Deposits to new accounts, then transfers.
    Deposits,
    /// Withdrawals forced from L1, then withdrawals.
    ForcedWithdrawals,
    /// Settlements forced from L1.
    ForcedSettlements,
    /// Forced calls of nothing, with as much calldata as L1 admits.
    ForcedCalldata,
}

/// Requests and transactions to offer to one block.
#[derive(Clone, Debug, Default)]
pub struct Offer {
    /// Priority requests; all fit.
    pub requests: Vec<Vec<u8>>,
    /// Transactions; some may find no room.
    pub transactions: Vec<Vec<u8>>,
}

/// A full block, and the blocks that make it possible.
#[derive(Clone, Debug)]
pub struct ExtremeBlocks {
    /// To be executed first, at time `now`.
    pub setup: Vec<Offer>,
    /// The full block.
    pub full: Offer,
    /// Time of the full block: later than `now` where something has to expire first.
    pub full_timestamp: u64,
}

impl Extreme {
    /// All of them.
    pub const ALL: [Self; 23] = [
        Self::Transfers,
        Self::Posts,
        Self::Claims,
        Self::Releases,
        Self::Cancellations,
        Self::Settlements,
        Self::Expirations,
        Self::Registrations,
        Self::Stakes,
        Self::Retirements,
        Self::Unstakings,
        Self::Channels,
        Self::TopUps,
        Self::Redemptions,
        Self::Closings,
        Self::ClosingsTogether,
        Self::Finalisations,
        Self::Withdrawals,
        Self::Calldata,
        Self::Deposits,
        Self::ForcedWithdrawals,
        Self::ForcedSettlements,
        Self::ForcedCalldata,
    ];

    /// The call that the block is full of.
    pub const fn kind(self) -> CallKind {
        match self {
            Self::Transfers | Self::Deposits | Self::ForcedCalldata => CallKind::Transfer,
            Self::Registrations => CallKind::RegisterDevice,
            Self::Posts => CallKind::PostJob,
            Self::Claims => CallKind::ClaimJob,
            Self::Releases => CallKind::ReleaseJob,
            Self::Cancellations => CallKind::CancelJob,
            Self::Stakes => CallKind::AddStake,
            Self::Retirements => CallKind::RetireDevice,
            Self::Unstakings => CallKind::WithdrawStake,
            Self::Channels => CallKind::OpenChannel,
            Self::TopUps => CallKind::TopUpChannel,
            Self::Closings => CallKind::CloseChannel,
            Self::ClosingsTogether => CallKind::CloseChannelTogether,
            Self::Finalisations => CallKind::FinaliseChannel,
            Self::Settlements | Self::ForcedSettlements => CallKind::SettleJob,
            Self::Expirations => CallKind::ExpireJob,
            Self::Redemptions => CallKind::RedeemVoucher,
            Self::Withdrawals | Self::ForcedWithdrawals => CallKind::Withdraw,
            Self::Calldata => CallKind::Unknown,
        }
    }

    /// The call that the block's transactions are: another one than that of its requests, where it has both.
    pub const fn kind_of_transactions(self) -> CallKind {
        match self {
            Self::ForcedWithdrawals => CallKind::Withdraw,
            _ => self.kind(),
        }
    }

    /// Makes the blocks for a chain of `genesis` that is at its start.
    pub fn blocks(self, seed: u64, genesis: &Genesis, now: u64, base_fee: u64) -> ExtremeBlocks {
        // One more than gas lets through, so that the block is full in the end.
        let calls = (BLOCK_GAS_MAX / gas_of(self.kind())) as usize + 1;
        let mut maker = Maker {
            // Each call has a sender, a client and an owner of its own.
            population: Population::new(seed, genesis, 3 * calls as u64, calls as u64),
            nonces: vec![0; 3 * calls],
            fee_max: base_fee.into(),
            now,
            calls,
        };
        let mut setup = maker.funds();
        for step in self.steps() {
            setup.extend(maker.each(*step));
        }
        let wait = match self {
            Self::Expirations => JOB_SECONDS + genesis.grace_seconds + 1,
            Self::Finalisations => genesis.channel_close_seconds,
            _ => 0,
        };
        let full_timestamp = now + wait;
        ExtremeBlocks { setup, full: maker.full(self), full_timestamp }
    }
}

impl Extreme {
    /// What every call of the full block needs to have happened before, in order.
    const fn steps(self) -> &'static [Step] {
        match self {
            Self::Transfers
            | Self::Registrations
            | Self::Posts
            | Self::Channels
            | Self::Withdrawals
            | Self::Calldata
            | Self::Deposits
            | Self::ForcedWithdrawals
            | Self::ForcedCalldata => &[],
            Self::Cancellations => &[Step::Post],
            Self::Claims => &[Step::Register, Step::Post],
            Self::Releases | Self::Settlements | Self::Expirations | Self::ForcedSettlements => {
                &[Step::Register, Step::Post, Step::Claim]
            }
            Self::Stakes | Self::Retirements => &[Step::Register],
            Self::Unstakings => &[Step::Register, Step::Retire],
            Self::TopUps | Self::Redemptions | Self::Closings | Self::ClosingsTogether => &[Step::Open],
            Self::Finalisations => &[Step::Open, Step::Close],
        }
    }
}

/// A transaction that one call needs, or is.
#[derive(Clone, Copy)]
enum Step {
    Register,
    Retire,
    Post,
    Claim,
    Open,
    Close,
}

struct Maker {
    population: Population,
    nonces: Vec<u64>,
    fee_max: u128,
    now: u64,
    calls: usize,
}

/// Who sends a call, who is the client of its job or channel, and who owns its device.
#[derive(Clone, Copy)]
enum Role {
    Sender,
    Client,
    Owner,
}

impl Maker {
    fn wallet(&self, role: Role, call: usize) -> usize {
        3 * call + role as usize
    }

    fn address(&self, role: Role, call: usize) -> Address {
        self.population.wallets[self.wallet(role, call)].address
    }

    /// An address that no account has.
    fn fresh(call: usize) -> Address {
        let hash = Native::keccak256(format!("nobody {call}").as_bytes());
        Address(hash.0[..20].try_into().expect("a hash has more than twenty bytes"))
    }

    fn send(&mut self, role: Role, call: usize, to: &Address, value: Amount, action: Option<&Call>) -> Vec<u8> {
        let wallet = self.wallet(role, call);
        let nonce = self.nonces[wallet];
        self.nonces[wallet] += 1;
        let key = &self.population.wallets[wallet];
        sign_call(self.population.chain_id, key, nonce, self.fee_max, to, value, action)
    }

    /// One transaction for each call, or one request to close, in blocks that hold them.
    fn each(&mut self, step: Step) -> Vec<Offer> {
        let made: Vec<_> = (0..self.calls).map(|call| self.step(step, call)).collect();
        let block = |made: &[Vec<u8>]| match step {
            Step::Close => Offer { requests: made.to_vec(), transactions: Vec::new() },
            _ => Offer { requests: Vec::new(), transactions: made.to_vec() },
        };
        made.chunks(32).map(block).collect()
    }

    fn step(&mut self, step: Step, call: usize) -> Vec<u8> {
        let device = self.population.devices[call].address;
        let (role, value, action) = match step {
            Step::Register => {
                let (owner, key) = (self.address(Role::Owner, call), &self.population.devices[call]);
                let consent = Some(self.population.sign_consent(key, &DeviceConsent { device, owner }));
                (Role::Owner, 1 << 60, Call::RegisterDevice { device, payout: Self::fresh(call), class: 1, consent })
            }
            Step::Retire => (Role::Owner, 0, Call::RetireDevice { device }),
            Step::Post => {
                let action = Call::PostJob {
                    model: Hash([1; 32]),
                    input_hash: Hash([2; 32]),
                    unit_price: UNIT_PRICE,
                    unit_limit: UNIT_LIMIT,
                    deadline: self.now + JOB_SECONDS,
                    minimum_tier: 0,
                    device: Address::ZERO,
                    bond: BOND,
                };
                (Role::Client, UNIT_PRICE * Amount::from(UNIT_LIMIT), action)
            }
            Step::Claim => {
                let client = self.address(Role::Client, call);
                (Role::Owner, 0, Call::ClaimJob { client, client_nonce: 0, device })
            }
            Step::Open => (Role::Client, 1 << 60, Call::OpenChannel { payee: self.population.devices[call].address }),
            Step::Close => return self.close(call),
        };
        self.send(role, call, &Address::ZERO, value, Some(&action))
    }

    /// The client's forced call that closes its channel.
    fn close(&self, call: usize) -> Vec<u8> {
        let (to, data) = Call::CloseChannel { client_nonce: 0 }.encode();
        self.request(PriorityKind::ForcedCall, Role::Client, call, to, 0, data)
    }

    fn funds(&self) -> Vec<Offer> {
        let deposits: Vec<_> =
            self.population.wallets.iter().map(|wallet| Chain::deposit(&wallet.address, FUNDS)).collect();
        let block = |requests: &[Vec<u8>]| Offer { requests: requests.to_vec(), transactions: Vec::new() };
        deposits.chunks(BLOCK_PRIORITY_MAX).map(block).collect()
    }

    fn settlement(&self, call: usize) -> Call {
        let device = &self.population.devices[call];
        let receipt = ComputeReceipt {
            client: self.address(Role::Client, call),
            client_nonce: 0,
            device: device.address,
            model: Hash([1; 32]),
            runtime: Hash([3; 32]),
            input_hash: Hash([2; 32]),
            output_hash: Hash([4; 32]),
            units: UNIT_LIMIT - 1,
            unit_price: UNIT_PRICE,
            started_at: self.now - 10,
            finished_at: self.now - 1,
            tier: 0,
            evidence: Hash::ZERO,
        };
        let signature = Some(self.population.sign_receipt(device, &receipt));
        Call::SettleJob { receipt, signature }
    }

    fn redemption(&self, call: usize) -> Call {
        let client = Role::Client;
        let voucher = Voucher {
            client: self.address(client, call),
            client_nonce: 0,
            payee: self.population.devices[call].address,
            cumulative: 1 << 59,
        };
        let key = &self.population.wallets[self.wallet(client, call)];
        Call::RedeemVoucher { voucher, signature: Some(self.population.sign_voucher(key, &voucher)) }
    }

    /// A call of no function, with `length` bytes of calldata.
    fn junk(&self, call: usize, length: usize) -> Vec<u8> {
        let data = vec![0xa5; length];
        let fields = Unsigned {
            chain_id: self.population.chain_id,
            nonce: 0,
            fee_max: self.fee_max,
            gas_limit: gas_of(CallKind::Unknown),
            to: SystemContract::Jobs.address(),
            value: 0,
            data: &data,
        };
        let key = &self.population.wallets[self.wallet(Role::Sender, call)];
        encode_eip1559::<Native>(&fields, |digest| key.sign(&digest))
    }

    fn request(
        &self,
        kind: PriorityKind,
        role: Role,
        call: usize,
        to: Address,
        amount: Amount,
        data: Vec<u8>,
    ) -> Vec<u8> {
        let sender = self.address(role, call);
        PriorityRequest { kind: kind as u8, sender, to, amount, timestamp: GENESIS_SECONDS, data }.encode()
    }

    fn full(&mut self, extreme: Extreme) -> Offer {
        let transactions = |maker: &mut Self, make: &dyn Fn(&mut Self, usize) -> Vec<u8>| {
            let transactions = (0..maker.calls).map(|call| make(maker, call)).collect();
            Offer { requests: Vec::new(), transactions }
        };
        let withdrawal = |maker: &mut Self, call: usize| {
            let action = Call::Withdraw { l1_recipient: Self::fresh(call), amount: 5 };
            maker.send(Role::Sender, call, &Address::ZERO, 5, Some(&action))
        };
        let requests = |maker: &Self, bytes: usize, make: &dyn Fn(&Self, usize) -> Vec<u8>| -> Vec<Vec<u8>> {
            let count = BLOCK_PRIORITY_MAX.min(BLOCK_BYTES_MAX / bytes).min(maker.calls - 1);
            (0..count).map(|call| make(maker, call)).collect()
        };
        match extreme {
            Extreme::Transfers => {
                transactions(self, &|maker, call| maker.send(Role::Sender, call, &Self::fresh(call), 1_000, None))
            }
            Extreme::Registrations => transactions(self, &|maker, call| maker.step(Step::Register, call)),
            Extreme::Posts => transactions(self, &|maker, call| maker.step(Step::Post, call)),
            Extreme::Claims => transactions(self, &|maker, call| maker.step(Step::Claim, call)),
            Extreme::Channels => transactions(self, &|maker, call| maker.step(Step::Open, call)),
            Extreme::Closings => {
                let made = requests(self, 1, &|maker, call| maker.close(call));
                let action = Call::CloseChannel { client_nonce: 0 };
                let signed = (made.len()..self.calls)
                    .map(|call| self.send(Role::Client, call, &Address::ZERO, 0, Some(&action)))
                    .collect();
                Offer { requests: made, transactions: signed }
            }
            Extreme::Retirements => transactions(self, &|maker, call| maker.step(Step::Retire, call)),
            Extreme::Releases => transactions(self, &|maker, call| {
                let action = Call::ReleaseJob { client: maker.address(Role::Client, call), client_nonce: 0 };
                maker.send(Role::Owner, call, &Address::ZERO, 0, Some(&action))
            }),
            Extreme::Cancellations => transactions(self, &|maker, call| {
                maker.send(Role::Client, call, &Address::ZERO, 0, Some(&Call::CancelJob { client_nonce: 0 }))
            }),
            Extreme::Stakes => transactions(self, &|maker, call| {
                let action = Call::AddStake { device: maker.population.devices[call].address };
                maker.send(Role::Owner, call, &Address::ZERO, 9, Some(&action))
            }),
            Extreme::Unstakings => transactions(self, &|maker, call| {
                let action = Call::WithdrawStake { device: maker.population.devices[call].address };
                maker.send(Role::Owner, call, &Address::ZERO, 0, Some(&action))
            }),
            Extreme::TopUps => transactions(self, &|maker, call| {
                maker.send(Role::Client, call, &Address::ZERO, 9, Some(&Call::TopUpChannel { client_nonce: 0 }))
            }),
            Extreme::ClosingsTogether => transactions(self, &|maker, call| {
                let (client, key) = (maker.address(Role::Client, call), &maker.population.devices[call]);
                let deadline = maker.now;
                let close = ChannelClose { client, client_nonce: 0, payee: key.address, paid: 0, deadline };
                let payee_signature = Some(maker.population.sign_close(key, &close));
                let action = Call::CloseChannelTogether { client_nonce: 0, deadline, payee_signature };
                maker.send(Role::Client, call, &Address::ZERO, 0, Some(&action))
            }),
            Extreme::Finalisations => transactions(self, &|maker, call| {
                let action = Call::FinaliseChannel { client: maker.address(Role::Client, call), client_nonce: 0 };
                maker.send(Role::Sender, call, &Address::ZERO, 0, Some(&action))
            }),
            Extreme::Settlements => transactions(self, &|maker, call| {
                let action = maker.settlement(call);
                maker.send(Role::Sender, call, &Address::ZERO, 0, Some(&action))
            }),
            Extreme::Expirations => transactions(self, &|maker, call| {
                let action = Call::ExpireJob { client: maker.address(Role::Client, call), client_nonce: 0 };
                maker.send(Role::Sender, call, &Address::ZERO, 0, Some(&action))
            }),
            Extreme::Redemptions => transactions(self, &|maker, call| {
                let action = maker.redemption(call);
                maker.send(Role::Sender, call, &Address::ZERO, 0, Some(&action))
            }),
            Extreme::Withdrawals => transactions(self, &withdrawal),
            Extreme::Calldata => {
                // Long ones, then short ones for the gas that is left.
                let long = BLOCK_BYTES_MAX / TRANSACTION_BYTES_MAX;
                let rest = (BLOCK_BYTES_MAX - long * (TRANSACTION_BYTES_MAX - 16)) / (self.calls - long);
                transactions(self, &|maker, call| {
                    let length = if call < long / 2 { TRANSACTION_BYTES_MAX - 200 } else { rest.max(144) };
                    maker.junk(call, length)
                })
            }
            Extreme::Deposits => {
                let made = requests(self, 1, &|_, call| Chain::deposit(&Self::fresh(1_000 + call), 1_000));
                let transfers =
                    transactions(self, &|maker, call| maker.send(Role::Sender, call, &Self::fresh(call), 1_000, None));
                Offer { requests: made, ..transfers }
            }
            Extreme::ForcedWithdrawals => {
                let made = requests(self, 1, &|maker, call| {
                    maker.request(PriorityKind::ForcedWithdrawal, Role::Sender, call, Self::fresh(call), 7, Vec::new())
                });
                // The requests' senders have nonce 0 still: a forced withdrawal takes none.
                Offer { requests: made, ..transactions(self, &withdrawal) }
            }
            Extreme::ForcedSettlements => {
                let made = requests(self, 800, &|maker, call| {
                    let data = maker.settlement(call).encode().1;
                    maker.request(PriorityKind::ForcedCall, Role::Sender, call, SystemContract::Jobs.address(), 0, data)
                });
                Offer { requests: made, transactions: Vec::new() }
            }
            Extreme::ForcedCalldata => {
                let bytes = PriorityRequest::HEAD_BYTES + PRIORITY_DATA_BYTES_MAX;
                let made = requests(self, bytes, &|maker, call| {
                    maker.request(
                        PriorityKind::ForcedCall,
                        Role::Sender,
                        call,
                        SystemContract::Jobs.address(),
                        0,
                        vec![0xa5; PRIORITY_DATA_BYTES_MAX],
                    )
                });
                Offer { requests: made, transactions: Vec::new() }
            }
        }
    }
}
