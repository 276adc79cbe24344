//! A process that is killed at any moment leaves the last block it acknowledged, or one more, and nothing in between.

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use joule_protocol::{Hash, Native};
use joule_storage::{Database, PoolRecord};
use joule_workload::Chain;

use crate::support::Twin;

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
    }
}

#[test]
fn a_killed_process_loses_nothing_it_acknowledged() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut committed, mut pooled) = (0, 0);
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
        // The whole state hashes to the head's root, and all of it can be undone.
        let mut bytes = Vec::new();
        view.snapshot(head.block_number, &mut bytes).expect("a snapshot");
        let elsewhere = tempfile::tempdir().expect("a folder");
        Database::restore(elsewhere.path(), &Chain::test_genesis(), &head.hash::<Native>(), &mut &*bytes)
            .expect("the state is the head's");
        for number in 0..=head.block_number {
            let checkpoint = view.checkpoint(number).expect("reads").expect("kept");
            assert_eq!(view.tree_at(number).expect("undo data").root(), checkpoint.state_root);
        }
    }
}
