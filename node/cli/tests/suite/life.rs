//! A node from start to stop.

use joule_kernel::recover_address;
use joule_protocol::{Hash, Native, Signature};
use joule_rpc::{Node, NodeEvent, SubmitError};
use joule_storage::{Stage, block_signing_hash};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{WALLETS, key, open, start, transfer};

async fn funded() -> (tempfile::TempDir, joule_node::RunningNode) {
    let folder = tempfile::tempdir().expect("a folder");
    let node = start(open(folder.path())).await;
    let mut events = node.node().subscribe();
    while node.node().database().view().expect("a view").head().priority_count < WALLETS {
        events.recv().await.expect("the node runs");
    }
    (folder, node)
}

/// Waits until a transaction is in a block.
async fn included(node: &joule_node::RunningNode, hash: &Hash) {
    let mut events = node.node().subscribe();
    while node.node().database().view().expect("a view").transaction_place(hash).expect("reads").is_none() {
        events.recv().await.expect("the node runs");
    }
}

async fn http(node: &joule_node::RunningNode, request: &str) -> String {
    let mut stream = TcpStream::connect(node.operations()).await.expect("connects");
    let request = format!("{request} HTTP/1.1\r\nhost: node\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("writes");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("reads");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_is_acknowledged_included_and_signed_for() {
    let (_folder, node) = funded().await;
    let mut events = node.node().subscribe();
    let hash = node.node().submit(transfer(0, 0)).await.expect("taken");
    included(&node, &hash).await;
    let view = node.node().database().view().expect("a view");
    let (_, transaction, block) = view.transaction(&hash).expect("reads").expect("in a block");
    assert_eq!(transaction.sender, key(0).address);
    assert!(transaction.outcome.is_applied());
    let signature = Signature::from_bytes(&block.signature.expect("signed")).expect("in range");
    let signer = recover_address::<Native>(&block_signing_hash(&block.hash(), &block.items.encode()), &signature);
    assert_eq!(signer, joule_node::BlockKey::from_secret([1; 32]).map(|key| key.address()));
    assert!(view.pool_all().expect("reads").is_empty());
    let first = loop {
        match events.recv().await.expect("an event") {
            // Of the deposits: a block is durable before anybody hears of it, so that its event may come after it was seen.
            NodeEvent::Block { number } if number < block.number() => {}
            event => break event,
        }
    };
    assert_eq!(first, NodeEvent::Pending { hash });
    assert_eq!(
        node.node()
            .submit(transfer(0, 0))
            .await
            .map_err(|error| error.to_string())
            .expect_err("used")
            .split(':')
            .next(),
        Some("nonce too low")
    );
    drop(view);
    node.stop().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_node_makes_no_blocks() {
    let (_folder, node) = funded().await;
    let hash = node.node().submit(transfer(0, 0)).await.expect("taken");
    included(&node, &hash).await;
    let head = node.node().database().view().expect("a view").head().block_number;
    // A gap in the nonces is nothing to build a block of.
    node.node().submit(transfer(1, 5)).await.expect("waits");
    assert_eq!(node.node().pending_nonce(&key(1).address), Some(0));
    let database = node.node().database().clone();
    node.stop().await.expect("stops");
    assert_eq!(database.view().expect("a view").head().block_number, head);
    assert_eq!(database.view().expect("a view").pool_all().expect("reads").len(), 1, "it waits through a restart");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_node_takes_nothing_and_leaves_a_closed_batch() {
    let (_folder, node) = funded().await;
    for nonce in 0..30 {
        node.node().submit(transfer(2, nonce)).await.expect("taken");
    }
    assert!(http(&node, "GET /readyz").await.starts_with("HTTP/1.1 200"));
    let mut batches = node.node().subscribe_batches();
    assert!(http(&node, "POST /drain").await.starts_with("HTTP/1.1 202"));
    let number = batches.recv().await.expect("a batch is sealed");
    assert!(http(&node, "GET /readyz").await.starts_with("HTTP/1.1 503"));
    assert!(http(&node, "GET /healthz").await.starts_with("HTTP/1.1 200"));
    let metrics = http(&node, "GET /metrics").await;
    assert!(metrics.contains("joule_batches_total 1"), "{metrics}");
    // What Prometheus reads it as, and how it knows that it has all of it.
    assert!(metrics.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"), "{metrics}");
    assert!(metrics.ends_with("# EOF\n"), "{metrics}");
    let view = node.node().database().view().expect("a view");
    let batch = view.batch(number).expect("reads").expect("there");
    assert_eq!((batch.first_block, batch.last_block), (1, view.head().block_number));
    assert_eq!(batch.stage, Stage::Sealed);
    assert_eq!(batch.parent.block_number, 0);
    assert!(view.pool_all().expect("reads").is_empty());
    drop(view);
    let refused = node.node().submit(transfer(3, 0)).await;
    assert!(matches!(refused, Err(SubmitError::Unavailable { .. })));
    node.stop().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_l1_takes_back_take_their_blocks_with_them() {
    let (_folder, node) = funded().await;
    let hash = node.node().submit(transfer(0, 0)).await.expect("taken");
    included(&node, &hash).await;
    let mut events = node.node().subscribe();
    let database = node.node().database().clone();
    // L1 now has another request in the place of the third, and no more.
    let third = database.view().expect("a view").request(3).expect("reads").expect("there");
    let cursor = joule_storage::L1Cursor { number: 2, hash: Hash([2; 32]) };
    database.follow_l1(&cursor, 2, &[third]).expect("writes");
    node.node().engine().requests_changed(Some(2));
    loop {
        let view = database.view().expect("a view");
        let is_back = view.transaction_place(&hash).expect("reads").is_some();
        if is_back && view.head().priority_count == 3 {
            break;
        }
        drop(view);
        events.recv().await.expect("the node runs");
    }
    assert!(node.node().is_alive());
    node.stop().await.expect("stops");
}
