//! The mix that benches measure: wallet-signed payments of every sort, all of them accepted.

use joule_protocol::{Address, Amount, Call, ComputeReceipt, DeviceConsent, Hash, Voucher};

use crate::{Chain, Population, sign_call};

/// Price of a unit, units of a job, bond of a claim, deposit of a channel, step of a voucher.
const UNIT_PRICE: Amount = 1_000;
const UNIT_LIMIT: u64 = 500;
const BOND: Amount = 10_000;
const VOUCHER_STEP: Amount = 25;

/// What a stream of payments consists of.
#[derive(Debug)]
pub struct Payments {
    /// Deposits that fund every wallet; one or more blocks of requests come first.
    pub deposits: Vec<Vec<u8>>,
    /// Transactions that register the devices and open the channels.
    pub setup: Vec<Vec<u8>>,
    /// The payments, with what each is.
    pub payments: Vec<(&'static str, Vec<u8>)>,
}

/// Makes `count` payments by the wallets of `population`, to be executed in blocks whose time is `now` and whose base fee is at most `fee_max`.
///
/// Of eight payments three are transfers, two redeem a voucher, and one each posts, claims and settles a job.
pub fn payments(population: &Population, now: u64, fee_max: u128, count: usize) -> Payments {
    let wallets = population.wallets.len();
    let mut nonces = vec![0_u64; wallets];
    let mut send = |wallet: usize, to: &Address, value: Amount, call: Option<&Call>| {
        let nonce = nonces[wallet];
        nonces[wallet] += 1;
        (nonce, sign_call(population.chain_id, &population.wallets[wallet], nonce, fee_max, to, value, call))
    };
    let address = |wallet: usize| population.wallets[wallet % wallets].address;

    let deposits = population.wallets.iter().map(|wallet| Chain::deposit(&wallet.address, 1 << 80)).collect();
    let mut setup = Vec::new();
    for (index, device) in population.devices.iter().enumerate() {
        let owner = population.owner_of(index);
        let consent = DeviceConsent { device: device.address, owner: address(owner) };
        let consent = Some(population.sign_consent(device, &consent));
        let call = Call::RegisterDevice { device: device.address, payout: address(owner), class: 1, consent };
        setup.push(send(owner, &Address::ZERO, 1 << 60, Some(&call)).1);
    }
    // Every wallet opens a channel to the next.
    let mut channels = Vec::new();
    for wallet in 0..wallets {
        let (nonce, bytes) =
            send(wallet, &Address::ZERO, 1 << 60, Some(&Call::OpenChannel { payee: address(wallet + 1) }));
        channels.push((nonce, 0));
        setup.push(bytes);
    }

    let mut out = Vec::with_capacity(count);
    let mut job = (0, 0, 0);
    for index in 0..count {
        let (round, wallet) = (index / 8, index % wallets);
        out.push(match index % 8 {
            1 => {
                let call = Call::PostJob {
                    model: Hash([1; 32]),
                    input_hash: Hash([2; 32]),
                    unit_price: UNIT_PRICE,
                    unit_limit: UNIT_LIMIT,
                    deadline: now + 3_600,
                    minimum_tier: 0,
                    device: Address::ZERO,
                    bond: BOND,
                };
                let (nonce, bytes) = send(wallet, &Address::ZERO, UNIT_PRICE * Amount::from(UNIT_LIMIT), Some(&call));
                job = (wallet, nonce, round % population.devices.len());
                ("postJob", bytes)
            }
            3 => {
                let (client, client_nonce, device) = job;
                let call = Call::ClaimJob {
                    client: address(client),
                    client_nonce,
                    device: population.devices[device].address,
                };
                ("claimJob", send(population.owner_of(device), &Address::ZERO, 0, Some(&call)).1)
            }
            5 => {
                let (client, client_nonce, device) = job;
                let key = &population.devices[device];
                let receipt = ComputeReceipt {
                    client: address(client),
                    client_nonce,
                    device: key.address,
                    model: Hash([1; 32]),
                    runtime: Hash([3; 32]),
                    input_hash: Hash([2; 32]),
                    output_hash: Hash([4; 32]),
                    units: 1 + round as u64 % UNIT_LIMIT,
                    unit_price: UNIT_PRICE,
                    started_at: now - 10,
                    finished_at: now - 1,
                    tier: 0,
                    evidence: Hash::ZERO,
                };
                let signature = Some(population.sign_receipt(key, &receipt));
                let call = Call::SettleJob { receipt, signature };
                ("settleJob", send(population.owner_of(device), &Address::ZERO, 0, Some(&call)).1)
            }
            4 | 7 => {
                let (client_nonce, paid) = &mut channels[wallet];
                *paid += VOUCHER_STEP;
                let payee = address(wallet + 1);
                let voucher =
                    Voucher { client: address(wallet), client_nonce: *client_nonce, payee, cumulative: *paid };
                let signature = Some(population.sign_voucher(&population.wallets[wallet], &voucher));
                let call = Call::RedeemVoucher { voucher, signature };
                ("redeemVoucher", send((wallet + 1) % wallets, &Address::ZERO, 0, Some(&call)).1)
            }
            _ => ("transfer", send(wallet, &address(wallet + 3), 1_000 + index as Amount, None).1),
        });
    }
    Payments { deposits, setup, payments: out }
}
