//! Single turns of the thread, without the thread.

use joule_protocol::Refusal;
use joule_storage::L1Cursor;
use joule_workload::{Chain, Key as Wallet, sign_call};
use tempfile::TempDir;

use super::*;
use crate::bench::sequencer_config;

const FEE: u128 = 1_000_000;

/// A worker on an empty disk, whose thread is the test's.
fn worker() -> (Worker, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let database = Database::open(folder.path(), &Chain::test_genesis()).expect("opens");
    let shared = Shared {
        pending: Arc::new(Pending::default()),
        events: broadcast::Sender::new(16),
        batches: broadcast::Sender::new(16),
        metrics: Metrics::default(),
    };
    let worker = Worker {
        execution: database.execution().expect("a state"),
        sequencer: Sequencer::new(sequencer_config()),
        database,
        key: BlockKey::from_secret([5; 32]).expect("a key"),
        shared,
        is_draining: false,
    };
    (worker, folder)
}

fn wallet(index: u64) -> Wallet {
    Wallet::derive("wallet", 1, index)
}

fn transfer(worker: &Worker, from: u64, nonce: u64) -> CheckedTransaction {
    let chain_id = worker.database.genesis().chain_id;
    let bytes = sign_call(chain_id, &wallet(from), nonce, FEE, &wallet(9).address, 1, None);
    CheckedTransaction::check(&bytes, chain_id).expect("well made")
}

type Answered = oneshot::Receiver<Result<Hash, SubmitError>>;

fn submission(transaction: CheckedTransaction) -> (Command, Answered) {
    let (answer, answered) = oneshot::channel();
    (Command::Submit(Box::new(Submission { transaction, answer, came: Instant::now() })), answered)
}

impl Worker {
    /// Has L1 make these requests from an index on.
    fn l1_makes(&self, first: u64, requests: &[Vec<u8>]) {
        self.database.follow_l1(&L1Cursor { number: 1, hash: Hash([1; 32]) }, first, requests).expect("writes");
    }

    fn build_next(&mut self) {
        for action in self.sequencer.time(now_ms().expect("a clock")) {
            self.act(action).expect("builds");
        }
    }

    /// A wallet with money, from the first request.
    fn fund(&mut self, wallets: &[u64]) {
        let deposits: Vec<_> = wallets.iter().map(|&index| Chain::deposit(&wallet(index).address, 1 << 80)).collect();
        self.l1_makes(0, &deposits);
        self.requests_changed(None).expect("reads");
        self.build_next();
        assert_eq!(self.execution.checkpoint().priority_count, wallets.len() as u64);
    }

    fn log(&self) -> Vec<Hash> {
        let records = self.database.view().expect("a view").pool_all().expect("reads");
        records.into_iter().map(|record| record.hash).collect()
    }
}

#[test]
fn what_is_admitted_in_the_turn_in_which_blocks_are_undone_is_kept() {
    let (mut worker, _folder) = worker();
    worker.fund(&[1, 2]);
    // The second deposit was taken back, and with it the block that consumed both.
    worker.l1_makes(1, &[]);
    let transaction = transfer(&worker, 1, 0);
    let (command, mut answered) = submission(transaction.clone());
    let is_stopping = worker.take(&mut vec![command, Command::Requests { others_from: Some(1) }]).expect("taken");
    assert!(!is_stopping);
    assert_eq!(worker.execution.checkpoint().block_number, 0, "the block is undone");
    let hash = transaction.hash();
    assert_eq!(answered.try_recv().expect("answered").expect("acknowledged"), hash);
    assert_eq!(worker.log(), [hash], "what is acknowledged is durable");
    assert!(worker.sequencer.pool().get(&hash).is_some(), "and waits for a block");
    assert!(worker.shared.pending.transaction(&hash).is_some());
}

#[test]
fn a_senders_next_nonce_follows_what_is_dropped() {
    let (mut worker, _folder) = worker();
    worker.fund(&[1]);
    let transactions = [transfer(&worker, 1, 0), transfer(&worker, 1, 1)];
    let mut turn: Vec<_> = transactions.iter().map(|transaction| submission(transaction.clone()).0).collect();
    worker.take(&mut turn).expect("taken");
    let sender = wallet(1).address;
    assert_eq!(worker.shared.pending.nonce(&sender), Some(2));
    // Something else has used its money. It is parked, and when its time is over it is dropped with what waits behind it.
    assert_eq!(worker.sequencer.refused(Refusal::InsufficientFunds { have: 0, need: 1 }, 0), None);
    let expired = worker.sequencer.expire(u64::MAX);
    worker.forget(&expired.iter().map(|dropped| dropped.hash).collect::<Vec<_>>()).expect("forgets");
    assert!(worker.shared.pending.is_empty() && worker.log().is_empty());
    assert_eq!(worker.shared.pending.nonce(&sender), None, "a wallet that asks must not leave a gap");
}

#[test]
fn one_that_was_replaced_in_its_own_turn_does_not_wait() {
    let (mut worker, _folder) = worker();
    worker.fund(&[1]);
    let chain_id = worker.database.genesis().chain_id;
    let with_fee = |fee| {
        let bytes = sign_call(chain_id, &wallet(1), 0, fee, &wallet(9).address, 1, None);
        CheckedTransaction::check(&bytes, chain_id).expect("well made")
    };
    let (cheap, dear) = (with_fee(FEE), with_fee(2 * FEE));
    worker.take(&mut vec![submission(cheap.clone()).0, submission(dear.clone()).0]).expect("taken");
    assert_eq!(worker.log(), [dear.hash()]);
    assert_eq!(worker.shared.pending.transaction(&cheap.hash()), None, "it will be in no block");
    assert!(worker.shared.pending.transaction(&dear.hash()).is_some());
}

#[test]
fn blocks_with_requests_that_l1_replaced_are_undone_at_the_start() {
    let (mut worker, folder) = worker();
    worker.fund(&[1, 2]);
    // Written down, and killed before the thread was told. As many as before, so that only their content shows it.
    worker.l1_makes(0, &[Chain::deposit(&wallet(3).address, 7), Chain::deposit(&wallet(2).address, 1 << 80)]);
    worker.execution = worker.database.execution().expect("a state");
    worker.recover().expect("recovers");
    assert_eq!(worker.execution.checkpoint().block_number, 0);
    worker.build_next();
    assert_eq!(worker.account(&wallet(3).address).expect("reads").balance, 7);
    assert_eq!(worker.account(&wallet(1).address).expect("reads").balance, 0);
    drop(folder);
}
