//! The outbox and the operator.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use alloy::{
    consensus::{SignableTransaction, TxEip1559, TxEnvelope},
    eips::eip2718::Encodable2718,
    network::TxSignerSync,
    primitives::{Bytes, TxKind},
    providers::Provider,
    signers::local::PrivateKeySigner,
    sol_types::SolCall,
};
use joule_contracts::Rollup;
use joule_l1::{Entry, FeePolicy, Gas, Operator, OperatorAlarm, OutboxPolicy, OutboxStore, SendError};
use joule_testnet_l1::{DEVELOPMENT_ACCOUNTS, Orphans};
use thiserror::Error;

use super::support::{OPERATOR, World, address, wallet};

const CONFIRMATIONS: u64 = 3;

#[derive(Debug, Error)]
#[error("the disk is full")]
struct DiskFull;

/// Bytes, as a disk keeps them.
#[derive(Clone, Default)]
struct Disk {
    entries: Arc<Mutex<BTreeMap<u64, Vec<u8>>>>,
    is_full: Arc<Mutex<bool>>,
}

impl Disk {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Vec<u8>>> {
        self.entries.lock().expect("not poisoned")
    }
}

impl OutboxStore for Disk {
    type Error = DiskFull;

    fn entries(&self) -> Result<Vec<Entry>, DiskFull> {
        Ok(self.lock().values().map(|bytes| Entry::decode(bytes).expect("an entry")).collect())
    }

    fn put(&self, entry: &Entry) -> Result<(), DiskFull> {
        if *self.is_full.lock().expect("not poisoned") {
            return Err(DiskFull);
        }
        self.lock().insert(entry.nonce, entry.encode());
        Ok(())
    }

    fn remove(&self, nonce: u64) -> Result<(), DiskFull> {
        self.lock().remove(&nonce);
        Ok(())
    }
}

async fn open(world: &World, disk: &Disk) -> Operator<Disk> {
    let policy = OutboxPolicy { raise_after_blocks: 4, resend_after_blocks: 2, pending_max: 4 };
    let (client, fees) = (world.client.clone(), FeePolicy::default());
    Operator::open(client, wallet(OPERATOR), disk.clone(), fees, policy, CONFIRMATIONS).await.expect("opens")
}

/// Something the sequencer may do whenever it likes, and whose effect can be counted: raising the revert count.
fn bump() -> Bytes {
    Rollup::revertBatchesCall { keep: 0 }.abi_encode().into()
}

async fn send(world: &World, operator: &mut Operator<Disk>, tag: u8) -> u64 {
    operator.send(vec![tag], world.addresses.rollup, bump(), Gas::Limit(200_000)).await.expect("written down")
}

async fn count(world: &World) -> u64 {
    let head = world.client.head().await.expect("a head");
    world.client.state(head).await.expect("a state").revert_count
}

async fn observe(world: &World, operator: &mut Operator<Disk>) -> joule_l1::Report {
    let head = world.client.head().await.expect("a head");
    operator.observe(&head).await.expect("observes")
}

/// The pool forgets everything of the operator's.
fn lose(world: &World, disk: &Disk) {
    for entry in disk.entries().expect("entries") {
        let hash = entry.last().hash;
        world.l1.chain().write(|chain, _| chain.drop_transaction(hash)).expect("not poisoned");
    }
}

/// A transfer by the operator's key that the outbox knows nothing of.
async fn foreign(world: &World, nonce: u64) {
    let mut transaction = TxEip1559 {
        chain_id: 31_337,
        nonce,
        gas_limit: 21_000,
        max_fee_per_gas: 100_000_000_000,
        max_priority_fee_per_gas: 1_000_000_000,
        to: TxKind::Call(address(5)),
        ..TxEip1559::default()
    };
    let key = PrivateKeySigner::from_bytes(&DEVELOPMENT_ACCOUNTS[OPERATOR].1).expect("a key");
    let signature = key.sign_transaction_sync(&mut transaction).expect("signs");
    let raw = TxEnvelope::from(transaction.into_signed(signature)).encoded_2718();
    drop(world.client.provider().send_raw_transaction(&raw).await.expect("sent"));
}

#[tokio::test]
async fn nothing_is_sent_that_is_not_written_down() {
    let world = World::start().await;
    let disk = Disk::default();
    let mut operator = open(&world, &disk).await;
    *disk.is_full.lock().expect("not poisoned") = true;
    let failed = operator.send(vec![1], world.addresses.rollup, bump(), Gas::Estimate).await;
    assert!(matches!(failed, Err(SendError::Store(_))), "{failed:?}");
    world.mine(2);
    assert_eq!(count(&world).await, 0);
    *disk.is_full.lock().expect("not poisoned") = false;
    send(&world, &mut operator, 1).await;
    world.mine(1);
    assert_eq!(count(&world).await, 1);
}

#[tokio::test]
async fn a_refusal_costs_no_nonce() {
    let world = World::start().await;
    let disk = Disk::default();
    let mut operator = open(&world, &disk).await;
    let input = Rollup::proveBatchCall { number: 1, proof: Bytes::new() }.abi_encode();
    let refused = operator.send(vec![1], world.addresses.rollup, input.into(), Gas::Estimate).await;
    let Err(SendError::Refused(refusal)) = refused else { panic!("{refused:?}") };
    assert!(refusal.is::<Rollup::Rollup_NothingToProve>(), "{refusal}");
    assert!(refusal.reason.contains("NothingToProve"), "{refusal}");
    assert!(disk.lock().is_empty());
    let too_long = vec![0; 200_000].into();
    let refused = operator.send(vec![1], world.addresses.rollup, too_long, Gas::Limit(1)).await;
    assert!(matches!(refused, Err(SendError::TooLong { what: "input", .. })), "{refused:?}");
    let refused = operator.send(vec![1], world.addresses.rollup, bump(), Gas::Limit(1 << 25)).await;
    assert!(matches!(refused, Err(SendError::TooMuchGas { .. })), "{refused:?}");
    for tag in 0..4 {
        send(&world, &mut operator, tag).await;
    }
    let refused = operator.send(vec![1], world.addresses.rollup, bump(), Gas::Limit(200_000)).await;
    assert!(matches!(refused, Err(SendError::Full { pending: 4 })), "{refused:?}");
    world.mine(1);
    assert_eq!(count(&world).await, 4);
}

#[tokio::test]
async fn a_crash_between_writing_and_sending_loses_and_repeats_nothing() {
    let world = World::start().await;
    let disk = Disk::default();
    let mut operator = open(&world, &disk).await;
    let first = send(&world, &mut operator, 1).await;
    let second = send(&world, &mut operator, 2).await;
    assert_eq!(second, first + 1);
    // As if the process had died before either left it.
    lose(&world, &disk);
    drop(operator);
    world.mine(1);
    assert_eq!(count(&world).await, 0);

    let mut operator = open(&world, &disk).await;
    let report = observe(&world, &mut operator).await;
    assert_eq!(report.pending.iter().map(|pending| pending.tag[0]).collect::<Vec<_>>(), [1, 2]);
    world.mine(1);
    assert_eq!(count(&world).await, 2, "both are there, once");
    world.mine(CONFIRMATIONS);
    let report = observe(&world, &mut operator).await;
    assert_eq!((report.pending.len(), report.alarms.len(), disk.lock().len()), (0, 0, 0), "settled and forgotten");
}

#[tokio::test]
async fn a_reorg_below_is_sent_again_under_the_same_nonce() {
    let world = World::start().await;
    let disk = Disk::default();
    let mut operator = open(&world, &disk).await;
    let nonce = send(&world, &mut operator, 1).await;
    world.mine(2);
    assert!(observe(&world, &mut operator).await.pending.is_empty());
    world.reorganise(2, Orphans::Drop);
    world.mine(1);
    assert_eq!(count(&world).await, 0);
    let report = observe(&world, &mut operator).await;
    assert_eq!(report.pending.len(), 1);
    assert_eq!(report.pending[0].nonce, nonce);
    world.mine(1);
    assert_eq!(count(&world).await, 1);
    world.mine(CONFIRMATIONS);
    observe(&world, &mut operator).await;
    assert!(disk.lock().is_empty());
}

#[tokio::test]
async fn a_foreign_transaction_raises_an_alarm_and_stops_nothing() {
    let world = World::start().await;
    let disk = Disk::default();
    let mut operator = open(&world, &disk).await;
    let ours = send(&world, &mut operator, 1).await;
    lose(&world, &disk);
    foreign(&world, ours).await;
    foreign(&world, ours + 1).await;
    world.mine(1);
    let report = observe(&world, &mut operator).await;
    assert!(report.pending.is_empty(), "it will not happen any more");
    assert_eq!(report.alarms, [OperatorAlarm::ForeignNonces { first: ours + 1, last: ours + 1 }]);
    let next = send(&world, &mut operator, 2).await;
    assert_eq!(next, ours + 2);
    world.mine(1 + CONFIRMATIONS);
    assert_eq!(count(&world).await, 1);
    let report = observe(&world, &mut operator).await;
    assert_eq!(report.alarms, [OperatorAlarm::Displaced { nonce: ours }]);
    assert!(disk.lock().is_empty());
}

#[tokio::test]
async fn one_that_waits_pays_more_and_one_cancelled_does_nothing() {
    let world = World::start().await;
    let disk = Disk::default();
    let mut operator = open(&world, &disk).await;
    observe(&world, &mut operator).await;
    let dear = |world: &World| {
        world.l1.chain().write(|chain, _| chain.set_next_base_fee(50_000_000_000)).expect("not poisoned");
    };
    let nonce = send(&world, &mut operator, 1).await;
    for _ in 0..4 {
        dear(&world);
        world.mine(1);
    }
    assert_eq!(count(&world).await, 0);
    observe(&world, &mut operator).await;
    let entries = disk.entries().expect("entries");
    assert_eq!((entries[0].nonce, entries[0].attempts.len()), (nonce, 2));
    assert!(entries[0].attempts[1].fees.cap > entries[0].attempts[0].fees.cap);
    dear(&world);
    world.mine(1);
    assert_eq!(count(&world).await, 1, "paid what the market asks");

    let nonce = send(&world, &mut operator, 2).await;
    observe(&world, &mut operator).await;
    operator.cancel(nonce).await.expect("cancels");
    assert!(observe(&world, &mut operator).await.pending[0].is_cancelled);
    world.mine(1);
    assert_eq!(count(&world).await, 1);
    let refused = operator.cancel(nonce + 7).await;
    assert!(matches!(refused, Err(SendError::NotPending { .. })), "{refused:?}");
}

#[tokio::test]
async fn one_that_fails_is_reported_once() {
    let world = World::start().await;
    let disk = Disk::default();
    let mut operator = open(&world, &disk).await;
    let input = Rollup::proveBatchCall { number: 1, proof: Bytes::new() }.abi_encode().into();
    operator.send(vec![9], world.addresses.rollup, input, Gas::Limit(100_000)).await.expect("sent unasked");
    world.mine(1);
    let report = observe(&world, &mut operator).await;
    assert_eq!(report.failed, [vec![9]]);
    assert!(matches!(report.alarms[..], [OperatorAlarm::Failed { .. }]));
    assert!(observe(&world, &mut operator).await.failed.is_empty());
}

#[tokio::test]
async fn what_an_observation_found_before_it_failed_is_reported_by_the_next() {
    let world = World::start().await;
    let disk = Disk::default();
    let mut operator = open(&world, &disk).await;
    let input = Rollup::proveBatchCall { number: 1, proof: Bytes::new() }.abi_encode().into();
    operator.send(vec![9], world.addresses.rollup, input, Gas::Limit(100_000)).await.expect("sent unasked");
    world.mine(1);
    // Another one waits until it has to offer more, which must be written down first.
    send(&world, &mut operator, 1).await;
    for _ in 0..6 {
        world.l1.chain().write(|chain, _| chain.set_next_base_fee(50_000_000_000)).expect("not poisoned");
        world.mine(1);
    }
    *disk.is_full.lock().expect("not poisoned") = true;
    let head = world.client.head().await.expect("a head");
    for _ in 0..2 {
        let failed = operator.observe(&head).await;
        assert!(matches!(failed, Err(SendError::Store(_))), "{failed:?}");
    }
    *disk.is_full.lock().expect("not poisoned") = false;
    let report = observe(&world, &mut operator).await;
    assert_eq!(report.failed, [vec![9]]);
    assert!(matches!(report.alarms[..], [OperatorAlarm::Failed { .. }]), "{:?}", report.alarms);
}
