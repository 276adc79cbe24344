//! Snapshots restore the state they were taken of, and nothing else.

use joule_protocol::{Hash, Native};
use joule_storage::{Database, StorageError};
use joule_workload::Chain;

use crate::support::Twin;

/// A snapshot of block 4 of 6, and the twin.
fn taken() -> (tempfile::TempDir, Twin, Vec<u8>, Hash) {
    let folder = tempfile::tempdir().unwrap();
    let mut twin = Twin::new(Database::open(folder.path(), &Chain::test_genesis()).unwrap(), 11);
    (0..6).for_each(|_| drop(twin.block(12)));
    let mut bytes = Vec::new();
    twin.database.view().unwrap().snapshot(4, &mut bytes).unwrap();
    let expected = twin.past[4].1.hash::<Native>();
    (folder, twin, bytes, expected)
}

fn restore(bytes: &[u8], expected: &Hash) -> (tempfile::TempDir, Result<Database, StorageError>) {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::restore(folder.path(), &Chain::test_genesis(), expected, &mut &*bytes);
    (folder, database)
}

#[test]
fn a_restored_database_goes_on_like_the_first() {
    let (_folder, mut twin, bytes, expected) = taken();
    let first = twin.database.clone();
    let blocks: Vec<_> = (5..=6).map(|number| first.view().unwrap().block(number).unwrap().unwrap()).collect();
    let (folder, restored) = restore(&bytes, &expected);
    let restored = restored.unwrap();
    assert_eq!(restored.view().unwrap().head(), &twin.past[4].1);
    assert_eq!(restored.view().unwrap().first_block().unwrap(), 5);
    for block in blocks {
        let executed = restored.execution().unwrap().replay(&block.items).unwrap();
        assert_eq!(executed.sealed.block.checkpoint, block.checkpoint);
        restored.commit_block(&block, &executed.sealed.changes).unwrap();
    }
    drop(restored);
    twin.database = Database::open(folder.path(), &Chain::test_genesis()).unwrap();
    twin.check();
    twin.block(9);
    twin.revert_to(4);
    twin.check();
    let refused = twin.database.revert_to(3, false);
    assert!(matches!(refused, Err(StorageError::OutsideWindow { asked: 3, floor: 4, head: 4 })));
}

#[test]
fn a_damaged_snapshot_is_refused() {
    let (_folder, _twin, bytes, expected) = taken();
    // Every region: head, first leaf, and a spread of others.
    let spread = (0..bytes.len()).step_by(bytes.len() / 40);
    for at in (0..4).chain([5, 40, 335]).chain(spread).chain([bytes.len() - 1]) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        let (folder, result) = restore(&damaged, &expected);
        assert!(result.is_err(), "byte {at} of {}", bytes.len());
        drop(result);
        if at > 340 {
            let unfinished = Database::open(folder.path(), &Chain::test_genesis());
            assert!(matches!(unfinished, Err(StorageError::RestoreUnfinished { .. })));
        }
    }
    for length in [0, 3, 100, 331, 332, bytes.len() / 2, bytes.len() - 1] {
        assert!(restore(&bytes[..length], &expected).1.is_err(), "cut at {length}");
    }
    let longer = [bytes.clone(), vec![0]].concat();
    assert!(matches!(restore(&longer, &expected).1, Err(StorageError::BadSnapshot { .. })));
    let other = Hash([1; 32]);
    assert!(matches!(restore(&bytes, &other).1, Err(StorageError::OtherCheckpoint { .. })));
    assert!(restore(&bytes, &expected).1.is_ok());
}

#[test]
fn a_folder_in_use_is_not_restored_into() {
    let (folder, twin, bytes, expected) = taken();
    drop(twin);
    let result = Database::restore(folder.path(), &Chain::test_genesis(), &expected, &mut &*bytes);
    assert!(matches!(result, Err(StorageError::NotEmpty { .. })));
}
