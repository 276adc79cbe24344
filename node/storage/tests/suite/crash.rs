//! A process that is killed at any moment leaves the last block it acknowledged, or one more, and nothing in between.

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use joule_protocol::{Hash, Native};
use joule_storage::{Database, PoolRecord, Stage};
use joule_workload::Chain;

use crate::support::{Twin, batch};

const FOLDER: &str = "JOULE_STORAGE_CRASH_FOLDER";

/// Not a test by itself: what the child process runs. It writes a line after each write that is durable.
#[test]
fn crash_child() {
    let Some(folder) = env::var_os(FOLDER) else { return };
    let database = Database::open(folder, &Chain::test_genesis()).expect("opens after a kill");
    let head = database.view().expect("a view").head().block_number;
    let mut twin = Twin::new(database, 21);
    // The stream is a function of its seed, so the twin can be brought to where the disk is.
    let database = twin.database.clone();
    let elsewhere = tempfile::tempdir().expect("a folder");
    twin.database = Database::open(elsewhere.path(), &Chain::test_genesis()).expect("opens");
    (0..head).for_each(|_| drop(twin.block(10)));
    twin.database = database;
    loop {
        let (block, changes) = twin.next(10);
        let number = block.number();
        let record = PoolRecord { hash: Hash([number as u8; 32]), arrival: number, bytes: vec![number as u8] };
        twin.database.pool_add(&[record]).expect("writes");
        println!("\npooled {number}");
        twin.database.commit_block(&block, &changes).expect("writes");
        println!("\ncommitted {number}");
        prune(&twin, number);
    }
}

/// Batches of two blocks, executed one block late, whose undo data goes block by block.
fn prune(twin: &Twin, head: u64) {
    let last = twin.database.view().expect("a view").last_batch().expect("reads").map_or(0, |batch| batch.number);
    for number in last + 1..=head.saturating_sub(1) / 2 {
        let at = |block: u64| twin.past[block as usize].1;
        let executed = batch(number, at(2 * number - 2), at(2 * number), Stage::Executed);
        twin.database.put_batch(&executed).expect("writes");
    }
    let executed = twin.database.view().expect("a view").executed_batch().expect("reads");
    let end = executed.map_or(0, |batch| batch.last_block);
    loop {
        let pruned = twin.database.prune_undo_step(end, 1).expect("writes");
        assert!(pruned.blocks <= 1, "no more than was asked for: {pruned:?}");
        println!("\npruned {}", pruned.floor);
        if pruned.is_done {
            return;
        }
    }
}

#[test]
fn a_killed_process_loses_nothing_it_acknowledged() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut committed, mut pooled, mut pruned) = (0, 0, 0);
    for round in 0..6 {
        let mut child = Command::new(env::current_exe().expect("this test's binary"))
            .args(["--exact", "crash::crash_child", "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the test's binary starts");
        // Kill it right after a line that differs from round to round, while it goes on writing.
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
        let mut wanted = 1 + 2 * round % 5;
        while wanted > 0 {
            let line = lines.next().expect("the child goes on until it is killed");
            let number = |prefix: &str| line.strip_prefix(prefix).and_then(|number| number.parse::<u64>().ok());
            if let Some(number) = number("committed ") {
                committed = number;
                wanted -= 1;
            }
            pooled = number("pooled ").unwrap_or(pooled);
            pruned = number("pruned ").unwrap_or(pruned);
        }
        child.kill().expect("kills");
        for line in lines {
            committed = line.strip_prefix("committed ").and_then(|number| number.parse().ok()).unwrap_or(committed);
            pooled = line.strip_prefix("pooled ").and_then(|number| number.parse().ok()).unwrap_or(pooled);
        }
        child.wait().expect("ends");

        let database = Database::open(folder.path(), &Chain::test_genesis()).expect("opens after a kill");
        let view = database.view().expect("a view");
        let head = *view.head();
        assert!(head.block_number == committed || head.block_number == committed + 1, "{head:?} after {committed}");
        let log = view.pool_all().expect("reads");
        assert!(log.iter().any(|record| record.arrival == pooled), "the mempool log has lost {pooled}");
        let floor = view.floor().block_number;
        assert!(floor >= pruned && floor <= head.block_number, "the floor is {floor}, after {pruned} was reported");
        // The whole state hashes to the head's root, and all of it can be undone down to the floor, however far pruning had come.
        let mut bytes = Vec::new();
        view.snapshot(head.block_number, &mut bytes).expect("a snapshot");
        let elsewhere = tempfile::tempdir().expect("a folder");
        Database::restore(elsewhere.path(), &Chain::test_genesis(), &head.hash::<Native>(), &mut &*bytes)
            .expect("the state is the head's");
        for number in floor..=head.block_number {
            let checkpoint = view.checkpoint(number).expect("reads").expect("kept");
            assert_eq!(view.tree_at(number).expect("undo data").root(), checkpoint.state_root);
        }
        assert!(floor == 0 || view.tree_at(floor - 1).is_err(), "what is pruned is refused, not made up");
    }
}
