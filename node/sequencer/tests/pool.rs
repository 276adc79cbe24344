//! The mempool's rules, under random streams and one by one.

use std::collections::{BTreeMap, HashSet};

use joule_protocol::{Account, Address, Amount, Refusal};
use joule_sequencer::{CheckedTransaction, Pool, PoolLimits, PoolRefusal};
use joule_workload::{Key, sign_call};
use proptest::prelude::*;

const CHAIN_ID: u64 = 7_707;
const BASE_FEE: u64 = 100;
const FEE: Amount = 21_000 * BASE_FEE as Amount;

fn limits() -> PoolLimits {
    PoolLimits { transactions_max: 40, per_sender_max: 8, gapped_max: 6, replacement_percent: 10, parked_ms_max: 1_000 }
}

fn key(sender: u64) -> Key {
    Key::derive("wallet", 1, sender)
}

fn transfer(sender: u64, nonce: u64, fee_max: u128, value: Amount) -> CheckedTransaction {
    let bytes = sign_call(CHAIN_ID, &key(sender), nonce, fee_max, &Address([9; 20]), value, None);
    CheckedTransaction::check(&bytes, CHAIN_ID).expect("a good envelope")
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Submit { sender: u64, ahead: u64, fee: u128, value: Amount },
    Execute(usize),
    Refuse,
    ForcedCall { sender: u64 },
    Pay { sender: u64 },
    Expire,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0u64..5, 0u64..9, 90u128..140, 0u128..3_000_000)
            .prop_map(|(sender, ahead, fee, value)| Step::Submit { sender, ahead, fee, value }),
        3 => (1usize..6).prop_map(Step::Execute),
        1 => Just(Step::Refuse),
        1 => (0u64..5).prop_map(|sender| Step::ForcedCall { sender }),
        1 => (0u64..5).prop_map(|sender| Step::Pay { sender }),
        1 => Just(Step::Expire),
    ];
    prop::collection::vec(step, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn order_bounds_and_affordability_hold(steps in steps()) {
        let mut pool = Pool::new(limits());
        let mut accounts: Vec<Account> = (0..5).map(|_| Account { nonce: 0, balance: 20 * FEE }).collect();
        let senders: BTreeMap<Address, usize> = (0..5).map(|sender| (key(sender).address, sender as usize)).collect();
        let mut inside: HashSet<joule_protocol::Hash> = HashSet::new();
        let mut now_ms = 0;
        for step in steps {
            now_ms += 300;
            match step {
                Step::Submit { sender, ahead, fee, value } => {
                    let account = accounts[sender as usize];
                    let transaction = transfer(sender, (account.nonce + ahead).saturating_sub(1), fee, value);
                    let hash = transaction.hash();
                    match pool.insert(transaction, &account, BASE_FEE) {
                        Ok(admitted) => {
                            prop_assert!(inside.insert(hash));
                            admitted.removed.iter().for_each(|hash| assert!(inside.remove(hash)));
                        }
                        Err(refusal) => prop_assert_eq!(
                            matches!(refusal, PoolRefusal::Known { .. }), inside.contains(&hash), "{}", refusal
                        ),
                    }
                }
                Step::Execute(count) => for _ in 0..count {
                    let Some(next) = pool.next().cloned() else { break };
                    let sender = senders[&next.sender()];
                    prop_assert_eq!(next.nonce(), accounts[sender].nonce, "of one sender by nonce");
                    let is_head = |other: &&CheckedTransaction| other.nonce() == accounts[senders[&other.sender()]].nonce;
                    let head = pool.iter().find(is_head).map(CheckedTransaction::hash);
                    prop_assert_eq!(head, Some(next.hash()), "between senders by arrival");
                    accounts[sender].nonce += 1;
                    accounts[sender].balance -= next.cost(BASE_FEE).min(accounts[sender].balance);
                    pool.executed();
                    prop_assert!(inside.remove(&next.hash()));
                },
                Step::Refuse => if let Some(next) = pool.next().cloned() {
                    let refusal = Refusal::InsufficientFunds { have: 0, need: 1 };
                    prop_assert_eq!(pool.refused(refusal, now_ms), None, "time can make it good");
                    prop_assert!(pool.next().is_none_or(|other| other.sender() != next.sender()), "it is parked");
                    prop_assert!(pool.get(&next.hash()).is_some(), "and kept");
                    accounts[senders[&next.sender()]].balance += 1;
                    pool.account_changed(&next.sender(), next.nonce());
                },
                Step::ForcedCall { sender } => {
                    accounts[sender as usize].nonce += 1;
                    let used = pool.account_changed(&key(sender).address, accounts[sender as usize].nonce);
                    used.iter().for_each(|hash| assert!(inside.remove(hash)));
                }
                Step::Pay { sender } => accounts[sender as usize].balance += FEE,
                Step::Expire => pool.expire(now_ms).iter().for_each(|gone| assert!(inside.remove(&gone.hash))),
            }
            let waiting: Vec<_> = pool.iter().cloned().collect();
            prop_assert_eq!(waiting.iter().map(CheckedTransaction::hash).collect::<HashSet<_>>(), inside.clone());
            prop_assert_eq!(pool.len(), inside.len());
            prop_assert!(pool.len() <= limits().transactions_max);
            let mut gapped = 0;
            for (address, &sender) in &senders {
                let nonces: Vec<u64> =
                    waiting.iter().filter(|other| other.sender() == *address).map(CheckedTransaction::nonce).collect();
                prop_assert!(nonces.len() <= limits().per_sender_max);
                let mut sorted = nonces.clone();
                sorted.sort_unstable();
                sorted.dedup();
                prop_assert_eq!(sorted.len(), nonces.len(), "one transaction for a nonce");
                let run = (accounts[sender].nonce..).take_while(|nonce| sorted.contains(nonce)).count();
                gapped += sorted.len() - run;
            }
            prop_assert_eq!(pool.gapped(), gapped);
            prop_assert_eq!(pool.executable(), pool.len() - gapped);
            prop_assert_eq!(pool.executable_gas(), pool.executable() as u64 * waiting.first().map_or(0, CheckedTransaction::gas));
        }
    }
}

fn rich() -> Account {
    Account { nonce: 0, balance: 1 << 100 }
}

#[test]
fn a_replacement_pays_more_and_keeps_its_place_in_the_senders_order() {
    let mut pool = Pool::new(limits());
    let first = transfer(0, 0, 100, 1);
    pool.insert(first.clone(), &rich(), BASE_FEE).expect("taken");
    pool.insert(transfer(0, 1, 100, 1), &rich(), BASE_FEE).expect("taken");
    let refused = pool.insert(transfer(0, 0, 109, 1), &rich(), BASE_FEE);
    assert_eq!(refused, Err(PoolRefusal::ReplacementUnderpriced { nonce: 0, have: 100, need: 110, got: 109 }));
    let admitted = pool.insert(transfer(0, 0, 110, 2), &rich(), BASE_FEE).expect("pays enough more");
    assert_eq!(admitted.removed, [first.hash()]);
    assert_eq!(pool.next().map(CheckedTransaction::nonce), Some(0));
    assert_eq!(pool.len(), 2);
}

#[test]
fn what_waits_must_be_affordable_together() {
    let mut pool = Pool::new(limits());
    let account = Account { nonce: 3, balance: 2 * FEE + 10 };
    pool.insert(transfer(0, 3, 100, 10), &account, BASE_FEE).expect("affordable");
    let refused = pool.insert(transfer(0, 4, 100, 1), &account, BASE_FEE);
    let need = 2 * FEE + 11;
    assert_eq!(refused, Err(Refusal::InsufficientFunds { have: account.balance, need }.into()));
    pool.insert(transfer(0, 4, 100, 0), &account, BASE_FEE).expect("affordable together");
}

#[test]
fn every_bound_refuses_with_its_numbers() {
    let mut pool = Pool::new(limits());
    let refused = |pool: &mut Pool, transaction, account: &Account| {
        pool.insert(transaction, account, BASE_FEE).expect_err("refused")
    };
    let old = Account { nonce: 5, ..rich() };
    assert_eq!(refused(&mut pool, transfer(0, 4, 100, 1), &old), Refusal::NonceTooLow { got: 4, expected: 5 }.into());
    assert_eq!(
        refused(&mut pool, transfer(0, 13, 100, 1), &old),
        Refusal::NonceTooHigh { got: 13, expected: 5 }.into()
    );
    assert_eq!(
        refused(&mut pool, transfer(0, 5, 99, 1), &old),
        Refusal::FeeBelowBase { got: 99, base_fee: 100 }.into()
    );
    for sender in 0..3 {
        pool.insert(transfer(sender, 1, 100, 1), &rich(), BASE_FEE).expect("room for gaps");
        pool.insert(transfer(sender, 2, 100, 1), &rich(), BASE_FEE).expect("room for gaps");
    }
    assert_eq!(pool.gapped(), 6);
    assert_eq!(
        refused(&mut pool, transfer(3, 1, 100, 1), &rich()),
        PoolRefusal::GapsFull { got: 1, expected: 0, limit: 6 }
    );
    for sender in 3..8 {
        for nonce in 0..8 {
            if pool.len() < 40 {
                pool.insert(transfer(sender, nonce, 100, 1), &rich(), BASE_FEE).expect("room");
            }
        }
    }
    assert_eq!(refused(&mut pool, transfer(9, 0, 100, 1), &rich()), PoolRefusal::PoolFull { limit: 40 });
    let known = transfer(3, 0, 100, 1);
    assert_eq!(refused(&mut pool, known.clone(), &rich()), PoolRefusal::Known { hash: known.hash() });
}

#[test]
fn a_missing_nonce_opens_the_way_for_those_behind_it() {
    let mut pool = Pool::new(limits());
    pool.insert(transfer(0, 1, 100, 1), &rich(), BASE_FEE).expect("taken");
    assert!(pool.next().is_none() && !pool.has_ready());
    assert_eq!(pool.next_nonce(&key(0).address), Some(0));
    pool.insert(transfer(0, 0, 100, 1), &rich(), BASE_FEE).expect("taken");
    assert_eq!(pool.next_nonce(&key(0).address), Some(2));
    let mut nonces = Vec::new();
    while let Some(next) = pool.next().map(CheckedTransaction::nonce) {
        nonces.push(next);
        pool.executed();
    }
    assert_eq!(nonces, [0, 1]);
    assert!(pool.is_empty());
}

#[test]
fn a_parked_sender_waits_for_money_and_then_for_nothing() {
    let mut pool = Pool::new(limits());
    let (poor, other) = (transfer(0, 0, 100, 1), transfer(1, 0, 100, 1));
    pool.insert(poor.clone(), &rich(), BASE_FEE).expect("taken");
    pool.insert(transfer(0, 1, 100, 1), &rich(), BASE_FEE).expect("taken");
    pool.insert(other.clone(), &rich(), BASE_FEE).expect("taken");
    let refusal = Refusal::InsufficientFunds { have: 0, need: 1 };
    assert_eq!(pool.refused(refusal, 10), None);
    assert_eq!(pool.next(), Some(&other), "others go on");
    pool.account_changed(&poor.sender(), 0);
    assert_eq!(pool.next(), Some(&poor), "money has come");
    assert_eq!(pool.refused(refusal, 20), None);
    assert_eq!(pool.next_expiry_ms(), Some(1_020));
    assert_eq!(pool.expire(1_019), []);
    assert_eq!(pool.expire(1_020).len(), 2, "with what waits behind it");
    assert_eq!(pool.len(), 1);
    let gone = pool.refused(Refusal::NonceTooLow { got: 0, expected: 4 }, 30).expect("dropped");
    assert_eq!(gone.hash, other.hash());
    assert!(pool.is_empty());
}

#[test]
fn what_was_acknowledged_comes_back_whatever_the_account_has() {
    let mut pool = Pool::new(limits());
    let poor = Account { nonce: 2, balance: 0 };
    for nonce in 0..20 {
        let result = pool.restore(transfer(0, nonce, 1, 1), &poor);
        assert_eq!(result.is_ok(), nonce >= 2, "{nonce}");
    }
    assert_eq!(pool.executable(), 18);
    let known = transfer(0, 5, 1, 1);
    assert_eq!(pool.restore(known.clone(), &poor), Err(PoolRefusal::Known { hash: known.hash() }));
}

#[test]
fn envelopes_are_checked_before_anything_else() {
    let bytes = sign_call(CHAIN_ID, &key(0), 0, 100, &Address([9; 20]), 1, None);
    let other = CheckedTransaction::check(&bytes, CHAIN_ID + 1);
    assert_eq!(other, Err(Refusal::WrongChain { got: CHAIN_ID, expected: CHAIN_ID + 1 }));
    let good = CheckedTransaction::check(&bytes, CHAIN_ID).expect("good");
    assert_eq!(good.sender(), key(0).address);
    for length in 0..bytes.len() {
        assert!(CheckedTransaction::check(&bytes[..length], CHAIN_ID).is_err());
    }
}
