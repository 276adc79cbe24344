//! Everything a chain may be asked, right and wrong, at random.

use joule_protocol::{
    Address, Amount, Call, ChannelClose, ComputeReceipt, DeviceConsent, Hash, PriorityKind, PriorityRequest, Signature,
    Voucher,
};
use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha12Rng;

use crate::{Key, Population, sign_call};

/// Something to put in a block.
#[derive(Clone, Debug)]
pub enum Item {
    /// A priority request.
    Request(Vec<u8>),
    /// A transaction of a wallet.
    Transaction {
        /// The wallet.
        wallet: usize,
        /// Its bytes.
        bytes: Vec<u8>,
    },
}

#[derive(Clone, Copy)]
struct JobReference {
    client: usize,
    nonce: u64,
    unit_price: Amount,
    unit_limit: u64,
    deadline: u64,
    device: usize,
}

#[derive(Clone, Copy)]
struct ChannelReference {
    client: usize,
    nonce: u64,
    payee: usize,
    paid: Amount,
    deposit: Amount,
}

/// A random stream. It tracks nonces and what it has asked for, not what came of it, so that a good part of what it asks is rejected.
pub struct Chaos {
    /// Who signs.
    pub population: Population,
    /// Time of the next block, unix seconds.
    pub now: u64,
    /// What transactions offer per unit of gas.
    pub fee_max: u128,
    rng: ChaCha12Rng,
    nonces: Vec<u64>,
    jobs: Vec<JobReference>,
    channels: Vec<ChannelReference>,
}

impl Chaos {
    /// A stream over `population`, starting at time `now`.
    pub fn new(seed: u64, population: Population, now: u64) -> Self {
        let nonces = vec![0; population.wallets.len()];
        let rng = ChaCha12Rng::seed_from_u64(seed);
        Self { population, now, fee_max: 1_000, rng, nonces, jobs: Vec::new(), channels: Vec::new() }
    }

    /// Lets time pass: mostly seconds, sometimes days.
    pub fn advance(&mut self) {
        self.now += if self.rng.random_ratio(1, 12) {
            self.rng.random_range(0..9 * 24 * 3_600)
        } else {
            self.rng.random_range(0..30)
        };
    }

    /// Tells the stream that a wallet's transaction was not taken, or that a forced call took a nonce: the account is at `nonce`.
    pub fn set_nonce(&mut self, wallet: usize, nonce: u64) {
        self.nonces[wallet] = nonce;
    }

    fn wallet(&mut self) -> usize {
        self.rng.random_range(0..self.nonces.len())
    }

    /// True once in `of` times: time to get something wrong.
    fn slip(&mut self, of: u32) -> bool {
        self.rng.random_ratio(1, of)
    }

    fn address(&self, wallet: usize) -> Address {
        self.population.wallets[wallet].address
    }

    fn amount(&mut self) -> Amount {
        match self.rng.random_range(0..12) {
            0 => 0,
            1 if self.rng.random_ratio(1, 8) => (1 << 120) - 1,
            1 | 2 => Amount::from(self.rng.random::<u64>()),
            _ => self.rng.random_range(1..1_000_000),
        }
    }

    /// A deposit that funds `wallet`.
    pub fn deposit(&mut self, wallet: usize, amount: Amount) -> Item {
        let to = self.address(wallet);
        let kind = PriorityKind::Deposit as u8;
        Item::Request(PriorityRequest { kind, sender: to, to, amount, timestamp: self.now, data: Vec::new() }.encode())
    }

    /// The next item. Requests come only if `requests` allows them.
    pub fn next_item(&mut self, requests: bool) -> Item {
        if requests && self.slip(3) { self.request() } else { self.transaction() }
    }

    fn request(&mut self) -> Item {
        let sender = self.wallet();
        let (from, timestamp) = (self.address(sender), self.now);
        let request = match self.rng.random_range(0..8) {
            0..=2 => {
                let wallet = self.wallet();
                let amount = self.rng.random_range(1..1_u128 << 70);
                return self.deposit(wallet, amount);
            }
            3 => PriorityRequest { kind: 2, sender: from, to: from, amount: self.amount(), timestamp, data: vec![] },
            4 => {
                // Bytes that no wallet would send.
                let (kind, length) = (self.rng.random(), self.rng.random_range(0..200));
                let data = (0..length).map(|_| self.rng.random()).collect();
                let to = Address::from_low_u16(self.rng.random_range(0x7fff..0x8006));
                PriorityRequest { kind, sender: from, to, amount: self.amount(), timestamp, data }
            }
            5 => {
                // Nobody else can, and nothing but a request does.
                let (_, channel) = self.channel();
                self.nonces[channel.client] += 1;
                let (to, data) = Call::CloseChannel { client_nonce: channel.nonce }.encode();
                PriorityRequest { kind: 3, sender: self.address(channel.client), to, amount: 0, timestamp, data }
            }
            _ => {
                let (value, call) = self.call(sender);
                // If it is applied it takes a nonce; what the stream tracks is put right after the block.
                self.nonces[sender] += 1;
                let (mut to, mut data) = call.encode();
                if self.slip(20) {
                    to = from;
                }
                if self.slip(10) {
                    data.truncate(self.rng.random_range(0..data.len()));
                }
                PriorityRequest { kind: 3, sender: from, to, amount: value, timestamp, data }
            }
        };
        Item::Request(request.encode())
    }

    fn transaction(&mut self) -> Item {
        let wallet = self.wallet();
        let right = self.nonces[wallet];
        let nonce = if self.slip(40) { (right + self.rng.random_range(0..3)).saturating_sub(1) } else { right };
        let chain_id = if self.slip(100) { 1 } else { self.population.chain_id };
        let (to, value, call) = if self.slip(4) {
            let (to, value) = (self.wallet(), self.amount());
            let to = if self.slip(10) { Address([self.rng.random(); 20]) } else { self.address(to) };
            (to, value, None)
        } else {
            let (value, call) = self.call(wallet);
            (Address::ZERO, value, Some(call))
        };
        // What will plainly be refused takes no nonce.
        if nonce == right && chain_id == self.population.chain_id && value < 1 << 100 {
            self.nonces[wallet] += 1;
        }
        let key = &self.population.wallets[wallet];
        let bytes = sign_call(chain_id, key, nonce, self.fee_max, &to, value, call.as_ref());
        Item::Transaction { wallet, bytes }
    }

    fn signed(&mut self, right: Signature, digest_of: impl FnOnce(&Key) -> Signature) -> Option<Signature> {
        match self.rng.random_range(0..30) {
            0 => None,
            1 => {
                let wrong = self.wallet();
                Some(digest_of(&self.population.wallets[wrong].clone()))
            }
            _ => Some(right),
        }
    }

    /// A call by `wallet` and the value to send with it.
    fn call(&mut self, wallet: usize) -> (Amount, Call) {
        let (value, call) = match self.rng.random_range(0..20) {
            0..=3 => self.post(wallet),
            4..=6 => self.claim(),
            7..=10 => self.settle(),
            11 => self.job_end(),
            12 | 13 => self.device(wallet),
            14 => self.open(wallet),
            15..=17 => self.redeem(),
            18 => self.channel_end(wallet),
            _ => {
                let amount = self.amount();
                let l1_recipient = if self.slip(12) { Address::ZERO } else { self.address(wallet) };
                (amount, Call::Withdraw { l1_recipient, amount })
            }
        };
        if self.slip(40) { (self.amount(), call) } else { (value, call) }
    }

    fn post(&mut self, wallet: usize) -> (Amount, Call) {
        let unit_price = self.amount().min(1 << 100);
        let unit_limit = if self.slip(60) { 1 << 63 } else { self.rng.random_range(0..50) };
        let deadline = self.now + self.rng.random_range(0..400_000) - 10_000 + if self.slip(60) { 1 << 32 } else { 0 };
        let device = self.rng.random_range(0..self.population.devices.len());
        let is_named = self.slip(3);
        let call = Call::PostJob {
            model: Hash([wallet as u8; 32]),
            input_hash: Hash([unit_limit as u8; 32]),
            unit_price,
            unit_limit,
            deadline,
            minimum_tier: u8::from(self.slip(30)),
            device: if is_named { self.population.devices[device].address } else { Address::ZERO },
            bond: if self.slip(2) { 0 } else { self.amount().min(1 << 100) },
        };
        let nonce = self.nonces[wallet];
        self.jobs.push(JobReference { client: wallet, nonce, unit_price, unit_limit, deadline, device });
        (unit_price.checked_mul(unit_limit.into()).filter(|&value| value < 1 << 100).unwrap_or(0), call)
    }

    /// A job posted lately, mostly.
    fn job(&mut self) -> JobReference {
        let recent = self.jobs.len().saturating_sub(12);
        let range = if self.slip(5) { &self.jobs[..] } else { &self.jobs[recent..] };
        let unknown = JobReference { client: 0, nonce: 1 << 40, unit_price: 1, unit_limit: 1, deadline: 0, device: 0 };
        range.choose(&mut self.rng).copied().unwrap_or(unknown)
    }

    fn claim(&mut self) -> (Amount, Call) {
        let job = self.job();
        let device = if self.slip(8) { self.rng.random_range(0..self.population.devices.len()) } else { job.device };
        let device = self.population.devices[device].address;
        (0, Call::ClaimJob { client: self.address(job.client), client_nonce: job.nonce, device })
    }

    fn settle(&mut self) -> (Amount, Call) {
        let job = self.job();
        let key = self.population.devices[job.device].clone();
        let finished_at =
            if self.slip(15) { self.now + 5 } else { self.now.saturating_sub(self.rng.random_range(0..100)) };
        let mut receipt = ComputeReceipt {
            client: self.address(job.client),
            client_nonce: job.nonce,
            device: key.address,
            model: Hash([job.client as u8; 32]),
            runtime: Hash([9; 32]),
            input_hash: Hash([job.unit_limit as u8; 32]),
            output_hash: Hash([8; 32]),
            units: self.rng.random_range(0..=job.unit_limit),
            unit_price: job.unit_price,
            started_at: finished_at.saturating_sub(20),
            finished_at: if self.slip(4) { finished_at } else { finished_at.min(job.deadline) },
            tier: 0,
            evidence: Hash::ZERO,
        };
        receipt.started_at = receipt.started_at.min(receipt.finished_at);
        match self.rng.random_range(0..60) {
            0 => receipt.device = self.address(0),
            1 => receipt.model = Hash::ZERO,
            2 => receipt.input_hash = Hash::ZERO,
            3 => receipt.unit_price ^= 1,
            4 => receipt.units = job.unit_limit + 1,
            5 => receipt.started_at = receipt.finished_at + 1,
            6 => receipt.tier = 1,
            7 => receipt.evidence = Hash([1; 32]),
            _ => {}
        }
        let right = self.population.sign_receipt(&key, &receipt);
        let population = self.population.clone();
        let signature = self.signed(right, |key| population.sign_receipt(key, &receipt));
        (0, Call::SettleJob { receipt, signature })
    }

    fn job_end(&mut self) -> (Amount, Call) {
        let job = self.job();
        let client = self.address(job.client);
        let call = match self.rng.random_range(0..3) {
            0 => Call::ReleaseJob { client, client_nonce: job.nonce },
            1 => Call::CancelJob { client_nonce: job.nonce },
            _ => Call::ExpireJob { client, client_nonce: job.nonce },
        };
        (0, call)
    }

    fn device(&mut self, wallet: usize) -> (Amount, Call) {
        let index = self.rng.random_range(0..self.population.devices.len());
        let key = self.population.devices[index].clone();
        let device = key.address;
        match self.rng.random_range(0..8) {
            0..=4 => {
                let consent = DeviceConsent { device, owner: self.address(wallet) };
                let right = self.population.sign_consent(&key, &consent);
                let population = self.population.clone();
                let consent = self.signed(right, |key| population.sign_consent(key, &consent));
                let payout = if self.slip(15) { Address::ZERO } else { self.address(wallet) };
                (self.amount().min(1 << 60), Call::RegisterDevice { device, payout, class: 1, consent })
            }
            5 => (self.amount(), Call::AddStake { device }),
            6 => (0, if self.slip(4) { Call::RetireDevice { device } } else { Call::WithdrawStake { device } }),
            _ => (0, Call::WithdrawStake { device }),
        }
    }

    fn open(&mut self, wallet: usize) -> (Amount, Call) {
        let (payee, deposit) = (self.wallet(), self.amount().min(1 << 60));
        let nonce = self.nonces[wallet];
        self.channels.push(ChannelReference { client: wallet, nonce, payee, paid: 0, deposit });
        (deposit, Call::OpenChannel { payee: if self.slip(20) { Address::ZERO } else { self.address(payee) } })
    }

    fn channel(&mut self) -> (usize, ChannelReference) {
        if self.channels.is_empty() {
            return (0, ChannelReference { client: 0, nonce: 1 << 40, payee: 0, paid: 0, deposit: 1 });
        }
        let index = self.rng.random_range(self.channels.len().saturating_sub(8)..self.channels.len());
        (index, self.channels[index])
    }

    fn redeem(&mut self) -> (Amount, Call) {
        let (index, channel) = self.channel();
        let step = self.rng.random_range(0..=channel.deposit / 4 + 1);
        let cumulative = channel.paid.saturating_add(step).min((1 << 120) - 1);
        if let Some(channel) = self.channels.get_mut(index) {
            channel.paid = cumulative;
        }
        let payee = if self.slip(20) { self.address(channel.client) } else { self.address(channel.payee) };
        let voucher = Voucher { client: self.address(channel.client), client_nonce: channel.nonce, payee, cumulative };
        let right = self.population.sign_voucher(&self.population.wallets[channel.client], &voucher);
        let population = self.population.clone();
        let signature = self.signed(right, |key| population.sign_voucher(key, &voucher));
        (0, Call::RedeemVoucher { voucher, signature })
    }

    fn channel_end(&mut self, wallet: usize) -> (Amount, Call) {
        let (_, channel) = self.channel();
        let (client, client_nonce) = (self.address(channel.client), channel.nonce);
        match self.rng.random_range(0..4) {
            0 => (0, Call::CloseChannel { client_nonce }),
            1 => (self.amount().min(1 << 60), Call::TopUpChannel { client_nonce }),
            2 => (0, Call::FinaliseChannel { client, client_nonce }),
            _ => {
                let payee = self.population.wallets[channel.payee].clone();
                let deadline = if self.slip(8) { self.now - 1 } else { self.now + 60 };
                let close = ChannelClose {
                    client: self.address(wallet),
                    client_nonce,
                    payee: payee.address,
                    paid: channel.paid,
                    deadline,
                };
                let right = self.population.sign_close(&payee, &close);
                let population = self.population.clone();
                let payee_signature = self.signed(right, |key| population.sign_close(key, &close));
                (0, Call::CloseChannelTogether { client_nonce, deadline, payee_signature })
            }
        }
    }
}
