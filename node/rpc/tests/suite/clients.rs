//! alloy as a client, and subscriptions over WebSocket.

use alloy::{
    consensus::{SignableTransaction, TxEip1559, TxEnvelope},
    eips::{BlockNumberOrTag, eip2718::Encodable2718},
    network::TxSignerSync,
    primitives::{Bytes, TxKind, U256},
    providers::{Provider, ProviderBuilder},
    rpc::types::{Filter, TransactionRequest},
    signers::local::PrivateKeySigner,
};
use joule_protocol::{Address, Call};
use joule_rpc::code;
use jsonrpsee::{
    core::{
        ClientError,
        client::{Subscription, SubscriptionClientT},
    },
    rpc_params,
    ws_client::{WsClient, WsClientBuilder},
};
use serde_json::{Value, json};

use crate::support::{BASE_FEE, ONE, Scene, hex, start};

#[tokio::test]
async fn alloy_reads_every_shape() {
    let scene = start().await;
    let provider =
        ProviderBuilder::new().disable_recommended_fillers().connect_http(scene.url().parse().expect("a URL"));
    let signer = PrivateKeySigner::random();
    let address = Address(signer.address().into_array());
    scene.send(&scene.transfer(0, &address, ONE)).await;
    assert_eq!(provider.get_balance(signer.address()).await.expect("a balance"), U256::from(ONE));
    let fees = provider.estimate_eip1559_fees().await.expect("fees");
    assert!(fees.max_fee_per_gas >= BASE_FEE.into());

    let (to, data) = Call::OpenChannel { payee: Address([3; 20]) }.encode();
    let request = TransactionRequest {
        from: Some(signer.address()),
        to: Some(TxKind::Call(to.0.into())),
        value: Some(U256::from(7)),
        input: Bytes::from(data.clone()).into(),
        ..TransactionRequest::default()
    };
    let gas_limit = provider.estimate_gas(request.clone()).await.expect("an estimate");
    assert_eq!(provider.call(request).await.expect("a result"), Bytes::new());
    let mut transaction = TxEip1559 {
        chain_id: provider.get_chain_id().await.expect("a chain id"),
        nonce: provider.get_transaction_count(signer.address()).pending().await.expect("a nonce"),
        gas_limit,
        max_fee_per_gas: fees.max_fee_per_gas,
        max_priority_fee_per_gas: fees.max_priority_fee_per_gas,
        to: TxKind::Call(to.0.into()),
        value: U256::from(7),
        input: data.into(),
        ..TxEip1559::default()
    };
    let signature = signer.sign_transaction_sync(&mut transaction).expect("a signature");
    let envelope = TxEnvelope::from(transaction.into_signed(signature));
    let sent = provider.send_raw_transaction(&envelope.encoded_2718()).await.expect("it is taken");
    let receipt = sent.get_receipt().await.expect("a receipt");
    assert!(receipt.status());
    assert_eq!(receipt.logs().len(), 1);

    let found = provider.get_transaction_by_hash(receipt.transaction_hash).await.expect("an answer").expect("there");
    assert_eq!(found.inner.inner(), &envelope);
    let filter = Filter::new().from_block(0).address(alloy::primitives::Address::from(to.0));
    assert_eq!(provider.get_logs(&filter).await.expect("logs"), receipt.logs());
    for number in 0..=scene.node.head() {
        let tag = BlockNumberOrTag::Number(number);
        let block = provider.get_block_by_number(tag).full().await.expect("an answer").expect("a block");
        assert_eq!(block.header.number, number);
        let receipts = provider.get_block_receipts(tag.into()).await.expect("an answer").expect("receipts");
        assert_eq!(receipts.len(), block.transactions.len());
    }
    let history = provider.get_fee_history(2, BlockNumberOrTag::Latest, &[50.0]).await.expect("a history");
    assert_eq!(history.next_block_base_fee(), Some(BASE_FEE.into()));
    let filter = provider.new_block_filter().await.expect("a filter");
    scene.send(&scene.transfer(0, &address, 1)).await;
    let hashes: Vec<alloy::primitives::B256> = provider.get_filter_changes(filter).await.expect("changes");
    assert_eq!(hashes.len(), 1);
}

async fn connect(scene: &Scene) -> WsClient {
    WsClientBuilder::default().build(scene.websocket_url()).await.expect("a connection")
}

async fn next(subscription: &mut Subscription<Value>) -> Value {
    subscription.next().await.expect("the subscription goes on").expect("JSON")
}

#[tokio::test]
async fn subscriptions_hear_of_blocks_logs_and_pending_transactions() {
    let scene = start().await;
    let client = connect(&scene).await;
    let subscribe = async |params| {
        let subscription = client.subscribe::<Value, _>("eth_subscribe", params, "eth_unsubscribe").await;
        subscription.expect("a subscription")
    };
    let mut heads = subscribe(rpc_params!["newHeads"]).await;
    let channels = json!({ "address": format!("0x{:040x}", 0x8003) });
    let mut logs = subscribe(rpc_params!["logs", channels]).await;
    let mut pending = subscribe(rpc_params!["newPendingTransactions"]).await;
    let mut whole = subscribe(rpc_params!["newPendingTransactions", true]).await;

    scene.node.hold();
    let bytes = scene.call(0, 5, &Call::OpenChannel { payee: Address([9; 20]) });
    let hash = scene.send(&bytes).await;
    assert_eq!(next(&mut pending).await, json!(hash));
    assert_eq!(next(&mut whole).await["hash"], json!(hash));
    scene.node.release();
    let head = next(&mut heads).await;
    assert_eq!(head["number"], json!("0x4"));
    let log = next(&mut logs).await;
    assert_eq!((&log["transactionHash"], &log["removed"]), (&json!(hash), &json!(false)));
    assert_eq!(log["blockHash"], head["hash"]);

    // Undone blocks take their logs back.
    scene.node.revert_to(3);
    let removed = next(&mut logs).await;
    assert_eq!((&removed["transactionHash"], &removed["removed"]), (&json!(hash), &json!(true)));
    scene.node.deposit(&Address([4; 20]), 1);
    assert_eq!(next(&mut heads).await["number"], json!("0x4"));
}

#[tokio::test]
async fn subscriptions_that_do_not_exist_are_refused() {
    let scene = start().await;
    let client = connect(&scene).await;
    for params in [rpc_params!["syncing"], rpc_params!["newHeads", true], rpc_params!["everything"]] {
        let refused = client.subscribe::<Value, _>("eth_subscribe", params, "eth_unsubscribe").await;
        match refused.expect_err("refused") {
            ClientError::Call(error) => assert_eq!(error.code(), code::INVALID_PARAMS),
            other => panic!("not an answer of the server: {other}"),
        }
    }
}

#[tokio::test]
async fn a_stopped_server_answers_nobody() {
    let scene = start().await;
    let url = scene.url();
    scene.server.stop().await;
    let request = alloy::transports::http::reqwest::Client::new().post(url).body(hex(b"")).send();
    assert!(request.await.is_err());
}
