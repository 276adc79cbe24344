//! What a full node shows of itself.

use joule_state::BlockItems;
use joule_storage::{BlockRecord, L1Cursor};
use joule_workload::{Chain as Workload, GENESIS_SECONDS};
use tempfile::TempDir;

use super::*;
use crate::BlockKey;

fn database(requests: &[Vec<u8>]) -> (Database, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let database = Database::open(folder.path(), &Workload::test_genesis()).expect("opens");
    database.follow_l1(&L1Cursor { number: 1, hash: Hash([1; 32]) }, 0, requests).expect("writes");
    (database, folder)
}

#[test]
fn what_was_signed_on_requests_that_l1_took_back_is_not_waited_for() {
    let requests = vec![Workload::deposit(&Address([3; 20]), 9)];
    let (sequencer, _folder) = database(&requests);
    let items =
        BlockItems { timestamp: GENESIS_SECONDS, base_fee: 1, requests: requests.clone(), transactions: Vec::new() };
    let executed = sequencer.execution().expect("a state").replay(&items).expect("a block");
    let key = BlockKey::from_secret([5; 32]).expect("a key");
    let signature = key.sign_block(&executed.sealed.block.checkpoint.block_hash, &items.encode());
    let block = joule_follow::SignedBlock::of(&BlockRecord::new(&executed, Some(signature))).expect("signed");

    let (disk, _folder) = database(&requests);
    let chain = Chain::open(disk).expect("opens");
    let followed = Followed::new(chain, broadcast::Sender::new(4), Metrics::default());
    followed.with_here(|chain| chain.apply(&block)).expect("taken");
    // The sequencer is further, and then L1 takes back what it had built on.
    followed.is_signed(7);
    assert_eq!(followed.highest(), 7);
    followed.requests_changed(0).expect("undone");
    assert_eq!((followed.with_here(|chain| chain.head()), followed.highest()), (0, 0));
    // Also where this node had not come so far that anything is undone.
    followed.is_signed(7);
    followed.requests_changed(0).expect("nothing is undone");
    assert_eq!(followed.highest(), 0, "an idle chain has no other block to tell that this one never comes");
    followed.is_signed(1);
    assert_eq!(followed.highest(), 1);
}
