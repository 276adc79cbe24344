//! A node without L1, and clients of it.

use std::{net::SocketAddr, path::Path};

use joule_node::{BlockKey, RunningNode, Setup, bench};
use joule_protocol::{Address, Genesis, Hash};
use joule_rpc::Limits;
use joule_storage::Database;
use joule_workload::{Key, sign_call};

/// Wallets with money.
pub(crate) const WALLETS: u64 = 8;

/// A genesis that is the same in every process.
pub(crate) fn genesis() -> Genesis {
    Genesis { timestamp: 1_750_000_000, ..bench::genesis() }
}

pub(crate) fn key(wallet: u64) -> Key {
    Key::derive("bench", 1, wallet)
}

/// A transfer of `1 + nonce` to nobody in particular.
pub(crate) fn transfer(wallet: u64, nonce: u64) -> Vec<u8> {
    let to = Address([0xaa; 20]);
    sign_call(genesis().chain_id, &key(wallet), nonce, 1_000_000, &to, 1 + u128::from(nonce), None)
}

/// Opens the database in `folder`, with deposits for all wallets if it is new.
pub(crate) fn open(folder: &Path) -> Database {
    let database = Database::open(folder, &genesis()).expect("opens");
    if database.view().expect("a view").requests_count().expect("reads") == 0 {
        let addresses: Vec<Address> = (0..WALLETS).map(|wallet| key(wallet).address).collect();
        bench::deposit(&database, &addresses).expect("writes");
    }
    database
}

pub(crate) async fn start(database: Database) -> RunningNode {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    RunningNode::start(Setup {
        database,
        sequencer: bench::sequencer_config(),
        key: BlockKey::from_secret([1; 32]).expect("a key"),
        rpc: any,
        limits: Limits::default(),
        operations: any,
        l1: None,
        peers: None,
    })
    .await
    .expect("starts")
}

pub(crate) fn hash_of(answer: &str) -> Hash {
    let mut bytes = [0; 32];
    hex::decode_to_slice(answer.trim_start_matches("0x"), &mut bytes).expect("a hash");
    Hash(bytes)
}
