//! `kill -9` under load, many times over: what was acknowledged is in a block in the end, once.

use std::{
    collections::HashMap,
    env,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use joule_protocol::{Hash, Key as StateKey, Object};
use joule_rpc::Node;
use jsonrpsee::{core::client::ClientT, rpc_params, ws_client::WsClientBuilder};

use crate::support::{WALLETS, hash_of, key, open, start, transfer};

const FOLDER: &str = "JOULE_NODE_KILL_FOLDER";
const ROUNDS: u64 = 12;

/// Not a test by itself: the node that is killed.
#[test]
fn kill_child() {
    let Some(folder) = env::var_os(FOLDER) else { return };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let mut node = start(open(Path::new(&folder))).await;
        println!("\nlistening {}", node.rpc());
        node.failed().await.expect("goes on until it is killed");
    });
}

fn spawn(folder: &Path) -> (Child, String) {
    let mut child = Command::new(env::current_exe().expect("this test's binary"))
        .args(["--exact", "kill::kill_child", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the test's binary starts");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let address = lines.filter_map(|line| line.strip_prefix("listening ").map(str::to_owned)).next();
    (child, address.expect("the node says where it listens"))
}

/// Sends each wallet's transfers in order until the connection is gone, and notes what was acknowledged. Returns each wallet's next nonce: the first that was not.
async fn load(
    address: &str,
    nonces: &mut [u64],
    acknowledged: &mut HashMap<Hash, (u64, u64)>,
    until: usize,
    child: &mut Child,
) {
    let client = WsClientBuilder::default().build(format!("ws://{address}")).await.expect("connects");
    let mut is_killed = false;
    loop {
        // All wallets at once, so that the kill comes while many are under way.
        let batch: Vec<(u64, u64)> = (0..WALLETS).flat_map(|wallet| (0..4).map(move |step| (wallet, step))).collect();
        let requests = batch.iter().map(|&(wallet, step)| {
            let nonce = nonces[wallet as usize] + step;
            let raw = format!("0x{}", hex::encode(transfer(wallet, nonce)));
            let client = &client;
            async move {
                let answer: Result<String, _> = client.request("eth_sendRawTransaction", rpc_params![raw]).await;
                (wallet, nonce, answer)
            }
        });
        let answers = futures::future::join_all(requests);
        // Once enough is acknowledged, the kill races with what is under way.
        if acknowledged.len() >= until && !is_killed {
            child.kill().expect("kills");
            is_killed = true;
        }
        let mut is_gone = false;
        for (wallet, nonce, answer) in answers.await {
            match answer {
                Ok(hash) => {
                    acknowledged.insert(hash_of(&hash), (wallet, nonce));
                    nonces[wallet as usize] = nonces[wallet as usize].max(nonce + 1);
                }
                // After a restart a transfer that was taken, but not acknowledged, is known or in a block; one whose predecessor was lost waits.
                // The first block, which has the deposits, may not be there yet: not taken, and sent again.
                Err(jsonrpsee::core::client::Error::Call(error)) if error.message().contains("insufficient funds") => {}
                Err(jsonrpsee::core::client::Error::Call(error)) => {
                    let is_there = error.message().contains("known") || error.message().contains("nonce too low");
                    assert!(is_there, "wallet {wallet}, nonce {nonce}: {error}");
                    nonces[wallet as usize] = nonces[wallet as usize].max(nonce + 1);
                }
                Err(_) => is_gone = true,
            }
        }
        if is_gone {
            assert!(is_killed, "the node ends only when it is killed");
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_every_kill() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut nonces = vec![0; WALLETS as usize];
    let mut acknowledged = HashMap::new();
    for round in 1..=ROUNDS {
        let (mut child, address) = spawn(folder.path());
        let until = acknowledged.len() + 20 + 37 * round as usize % 150;
        load(&address, &mut nonces, &mut acknowledged, until, &mut child).await;
        child.wait().expect("ends");
        // A nonce that was skipped because a later one of its wallet was acknowledged first is sent again by the next round's load.
        for wallet in 0..WALLETS {
            let first_missing = (0..).find(|nonce| !acknowledged.values().any(|got| *got == (wallet, *nonce)));
            nonces[wallet as usize] = first_missing.unwrap_or(0);
        }
    }
    assert!(acknowledged.len() > 20 * ROUNDS as usize);

    // One last time, in this process and to the end: gaps are filled, and all goes into blocks.
    let node = start(open(folder.path())).await;
    let mut events = node.node().subscribe();
    for wallet in 0..WALLETS {
        let last = acknowledged.values().filter(|(of, _)| *of == wallet).map(|(_, nonce)| *nonce).max().unwrap_or(0);
        for nonce in 0..=last {
            // Known, in a block, or a gap that this fills.
            let _ = node.node().submit(transfer(wallet, nonce)).await;
        }
    }
    let missing = |node: &joule_node::SequencerNode| {
        let view = node.database().view().expect("a view");
        acknowledged.keys().filter(|hash| view.transaction_place(hash).expect("reads").is_none()).count()
    };
    while missing(node.node()) > 0 {
        tokio::time::timeout(std::time::Duration::from_secs(120), events.recv())
            .await
            .expect("an acknowledged transaction is lost")
            .expect("the node runs");
    }
    let view = node.node().database().view().expect("a view");
    for wallet in 0..WALLETS {
        let Some(Object::Account(account)) =
            view.tree().expect("a tree").get(&StateKey::account(&key(wallet).address)).expect("reads")
        else {
            panic!("wallets are funded")
        };
        let of_wallet = acknowledged.values().filter(|(of, _)| *of == wallet).map(|(_, nonce)| nonce + 1).max();
        assert!(account.nonce >= of_wallet.unwrap_or(0), "each nonce once, and none beyond");
    }
    // Transactions in blocks, counted from the blocks, are as many as the nonces say: none is in two.
    let nonces: u64 = (0..WALLETS)
        .map(|wallet| match view.tree().expect("a tree").get(&StateKey::account(&key(wallet).address)) {
            Ok(Some(Object::Account(account))) => account.nonce,
            other => panic!("{other:?}"),
        })
        .sum();
    let in_blocks: usize = (1..=view.head().block_number)
        .map(|number| view.block(number).expect("reads").expect("kept").transactions.len())
        .sum();
    assert_eq!(in_blocks as u64, nonces);
    drop(view);
    node.stop().await.expect("stops");
}
