//! Ethereum's methods, one by one.

use joule_protocol::{Address, Call, CallKind, Hashing, Native, Refusal, Rejection, gas_of};
use joule_rpc::{Limits, code};
use joule_storage::Stage;
use joule_workload::sign_call;
use serde_json::{Value, json};

use crate::support::{BASE_FEE, ONE, hex, number, start, start_with};

#[tokio::test]
async fn names_and_numbers() {
    let scene = start().await;
    assert_eq!(number(&scene.result("eth_chainId", json!([])).await), scene.people.chain_id.into());
    assert_eq!(scene.result("net_version", json!([])).await, json!(scene.people.chain_id.to_string()));
    assert_eq!(scene.result("eth_blockNumber", json!([])).await, json!("0x3"));
    assert_eq!(scene.result("eth_syncing", json!([])).await, json!(false));
    assert_eq!(scene.result("eth_accounts", json!([])).await, json!([]));
    assert_eq!(scene.result("web3_clientVersion", json!([])).await, json!("joule-test/0"));
    assert_eq!(scene.result("web3_sha3", json!(["0x68656c6c6f"])).await, json!(hex(&Native::keccak256(b"hello").0)));
    assert_eq!(number(&scene.result("eth_gasPrice", json!([])).await), BASE_FEE.into());
    assert_eq!(number(&scene.result("eth_maxPriorityFeePerGas", json!([])).await), 0);
    assert_eq!(scene.result("net_listening", json!([])).await, json!(true));
    let (code, _) = scene.error("eth_mining", json!([])).await;
    assert_eq!(code, -32601);
}

#[tokio::test]
async fn a_transfer_from_pool_to_receipt() {
    let scene = start().await;
    let (from, to) = (scene.people.wallets[0].address, Address([0x77; 20]));
    scene.node.hold();
    let bytes = scene.transfer(0, &to, ONE);
    let hash = scene.send(&bytes).await;
    assert_eq!(hash, hex(&Native::keccak256(&bytes).0));

    let pending = scene.result("eth_getTransactionByHash", json!([hash])).await;
    assert_eq!((&pending["blockHash"], &pending["from"]), (&Value::Null, &json!(hex(&from.0))));
    assert_eq!(scene.result("eth_getTransactionReceipt", json!([hash])).await, Value::Null);
    let count = |tag: &str| scene.result("eth_getTransactionCount", json!([hex(&from.0), tag]));
    assert_eq!((count("pending").await, count("latest").await), (json!("0x1"), json!("0x0")));

    scene.node.release();
    let receipt = scene.result("eth_getTransactionReceipt", json!([hash])).await;
    assert_eq!(receipt["status"], json!("0x1"));
    assert_eq!(number(&receipt["gasUsed"]), 21_000);
    assert_eq!(number(&receipt["effectiveGasPrice"]), BASE_FEE.into());
    assert_eq!(receipt["logs"], json!([]));
    assert_eq!(receipt["contractAddress"], Value::Null);
    let transaction = scene.result("eth_getTransactionByHash", json!([hash])).await;
    assert_eq!(transaction["type"], json!("0x2"));
    assert_eq!(transaction["blockHash"], receipt["blockHash"]);
    assert_eq!(count("latest").await, json!("0x1"));
    let raw = scene.result("eth_getRawTransactionByHash", json!([hash])).await;
    assert_eq!(raw, json!(hex(&bytes)));
    let balance = scene.result("eth_getBalance", json!([hex(&to.0), "latest"])).await;
    assert_eq!(number(&balance), ONE);
    // The state of a block before is still there.
    let before = scene.result("eth_getBalance", json!([hex(&to.0), "0x3"])).await;
    assert_eq!(number(&before), 0);

    let block = scene.result("eth_getBlockByNumber", json!([receipt["blockNumber"], true])).await;
    assert_eq!(block["hash"], receipt["blockHash"]);
    assert_eq!(block["transactions"][0], transaction);
    assert_eq!(number(&block["gasUsed"]), 21_000);
    let parent = scene.result("eth_getBlockByHash", json!([block["parentHash"], false])).await;
    assert_eq!(number(&parent["number"]) + 1, number(&block["number"]));
    let by_index = scene.result("eth_getTransactionByBlockHashAndIndex", json!([block["hash"], "0x0"])).await;
    assert_eq!(by_index, transaction);
    let none = scene.result("eth_getTransactionByBlockNumberAndIndex", json!(["latest", "0x1"])).await;
    assert_eq!(none, Value::Null);
    let receipts = scene.result("eth_getBlockReceipts", json!(["latest"])).await;
    assert_eq!(receipts, json!([receipt]));
}

#[tokio::test]
async fn legacy_transactions_are_shown_as_such() {
    let scene = start().await;
    let to = Address([0x77; 20]);
    for _ in 0..2 {
        scene.send(&scene.transfer(0, &to, 1)).await;
    }
    let block = scene.result("eth_getBlockByNumber", json!(["latest", true])).await;
    let transaction = &block["transactions"][0];
    assert_eq!(transaction["type"], json!("0x0"));
    let v = 35 + 2 * u128::from(scene.people.chain_id);
    assert!([v, v + 1].contains(&number(&transaction["v"])), "{transaction}");
    let receipt = scene.result("eth_getTransactionReceipt", json!([transaction["hash"]])).await;
    assert_eq!(receipt["type"], json!("0x0"));
}

#[tokio::test]
async fn requests_are_shown_as_transactions() {
    let scene = start().await;
    let to = scene.people.wallets[1].address;
    let block = scene.result("eth_getBlockByNumber", json!(["0x2", true])).await;
    let request = &block["transactions"][0];
    assert_eq!((&request["from"], &request["to"]), (&json!(hex(&to.0)), &json!(hex(&to.0))));
    assert_eq!(number(&request["value"]), 1_000 * ONE);
    assert_eq!(number(&request["gasPrice"]), 0);
    let again = scene.result("eth_getTransactionByHash", json!([request["hash"]])).await;
    assert_eq!(again, *request);
    let receipt = scene.result("eth_getTransactionReceipt", json!([request["hash"]])).await;
    assert_eq!(receipt["status"], json!("0x1"));
    let log = &receipt["logs"][0];
    assert_eq!(log["topics"][0], json!(hex(&Native::keccak256(b"Deposit(address,uint128)").0)));
    assert_eq!(log["transactionHash"], request["hash"]);
    // A request that no block has consumed.
    let unknown = request["hash"].as_str().expect("a hash").to_owned();
    let unknown = format!("{}ff", &unknown[..unknown.len() - 2]);
    assert_eq!(scene.result("eth_getTransactionReceipt", json!([unknown])).await, Value::Null);
}

#[tokio::test]
async fn the_genesis_is_a_block() {
    let scene = start().await;
    let block = scene.result("eth_getBlockByNumber", json!(["earliest", true])).await;
    assert_eq!((&block["number"], &block["transactions"]), (&json!("0x0"), &json!([])));
    let first = scene.result("eth_getBlockByNumber", json!(["0x1", false])).await;
    assert_eq!(first["parentHash"], block["hash"]);
    assert_eq!(scene.result("eth_getBlockReceipts", json!([block["hash"]])).await, json!([]));
    assert_eq!(scene.result("eth_getBlockByNumber", json!(["0x1000", true])).await, Value::Null);
    assert_eq!(scene.result("eth_getUncleCountByBlockNumber", json!(["0x0"])).await, json!("0x0"));
}

#[tokio::test]
async fn refusals_have_a_code_and_numbers() {
    let scene = start().await;
    let key = &scene.people.wallets[0];
    let to = Address([0x77; 20]);
    let sign = |chain_id, nonce, fee, value| hex(&sign_call(chain_id, key, nonce, fee, &to, value, None));
    let chain_id = scene.people.chain_id;
    let fee = u128::from(BASE_FEE);
    for (bytes, phrase) in [
        (sign(chain_id + 1, 0, fee, 1), "invalid chain id for signer: the transaction is signed for chain"),
        (sign(chain_id, 5, fee, 1), "nonce too high: the transaction has 5, the account is at 0"),
        (sign(chain_id, 0, fee - 1, 1), "max fee per gas less than block base fee: fee too low"),
        (sign(chain_id, 0, fee, 10_000 * ONE), "insufficient funds: value and fee come to"),
        ("0x01".into(), "transaction type not supported: transaction type 1"),
        ("0x".into(), "the transaction is malformed: the transaction is empty"),
        (format!("0x02{}", "ff".repeat(2_000)), "oversized data: the transaction has 2001 bytes"),
    ] {
        let (code, message) = scene.error("eth_sendRawTransaction", json!([bytes])).await;
        assert_eq!(code, i64::from(code::TRANSACTION_REJECTED), "{message}");
        assert!(message.starts_with(phrase), "{message}");
    }
    let bytes = sign(chain_id, 0, fee, 1);
    scene.result("eth_sendRawTransaction", json!([bytes])).await;
    let (_, message) = scene.error("eth_sendRawTransaction", json!([bytes])).await;
    assert!(message.starts_with("already known"), "{message}");
    let (_, message) = scene.error("eth_sendRawTransaction", json!([sign(chain_id, 0, fee, 2)])).await;
    assert!(message.starts_with("nonce too low: the transaction has 0, the account is at 1"), "{message}");
    let answer = scene.ask("eth_sendRawTransaction", json!(["0x01"])).await;
    assert_eq!(answer["error"]["data"]["refusalCode"], json!(Refusal::UnsupportedType { got: 1 }.code()));
}

#[tokio::test]
async fn calls_and_estimates_show_the_reason_first() {
    let scene = start().await;
    let from = hex(&scene.people.wallets[0].address.0);
    let client = Address([0x55; 20]);
    let expire = Call::ExpireJob { client, client_nonce: 9 };
    let not_found = Rejection::JobNotFound { client, nonce: 9 };
    // A close without the payee is no transaction at all, and wallets learn it before they pay.
    let close = Call::CloseChannel { client_nonce: 9 };
    for (call, rejection) in [(expire, not_found), (close, Rejection::CloseNotForced {})] {
        let (to, data) = call.encode();
        let call = json!([{ "from": from, "to": hex(&to.0), "data": hex(&data) }, "latest"]);
        for method in ["eth_call", "eth_estimateGas"] {
            let answer = scene.ask(method, call.clone()).await;
            assert_eq!(answer["error"]["code"], json!(code::REVERTED));
            assert_eq!(answer["error"]["message"], json!(format!("execution reverted: {rejection}")));
            assert_eq!(answer["error"]["data"], json!(hex(&rejection.revert_data::<Native>())));
        }
    }
    let (to, data) = Call::OpenChannel { payee: client }.encode();
    let good = json!({ "from": from, "to": hex(&to.0), "input": hex(&data), "value": "0x5" });
    assert_eq!(scene.result("eth_call", json!([good, "latest"])).await, json!("0x"));
    let gas = number(&scene.result("eth_estimateGas", json!([good])).await);
    assert_eq!(gas, gas_of(CallKind::OpenChannel).into());
    // What Ethereum does with a call of an account without code, and what a block here cannot hold.
    let stray = json!({ "from": from, "to": hex(&client.0), "data": "0x12345678" });
    assert_eq!(scene.result("eth_call", json!([stray])).await, json!("0x"));
    let (code, message) = scene.error("eth_estimateGas", json!([stray])).await;
    assert_eq!(code, i64::from(code::TRANSACTION_REJECTED));
    assert!(message.contains("is no system contract"), "{message}");
    let (code, _) = scene.error("eth_call", json!([good, "latest", { "0x00": {} }])).await;
    assert_eq!(code, -32602);
    // On an earlier state the wallet has nothing.
    let (_, message) = scene.error("eth_call", json!([good, "0x0"])).await;
    assert!(message.starts_with("insufficient funds"), "{message}");
}

#[tokio::test]
async fn a_rejected_transaction_says_why_in_its_receipt() {
    let scene = start().await;
    let bytes = scene.call(0, 0, &Call::CancelJob { client_nonce: 4 });
    let hash = scene.send(&bytes).await;
    let receipt = scene.result("eth_getTransactionReceipt", json!([hash])).await;
    assert_eq!(receipt["status"], json!("0x0"));
    assert!(receipt["revertMessage"].as_str().expect("a sentence").contains("has posted no job with nonce 4"));
    let (to, data) = Call::CancelJob { client_nonce: 4 }.encode();
    let call = json!([{ "from": receipt["from"], "to": hex(&to.0), "data": hex(&data) }]);
    let answer = scene.ask("eth_call", call).await;
    assert_eq!(answer["error"]["data"], receipt["revertReason"]);
}

#[tokio::test]
async fn logs_are_found_by_address_topic_and_range() {
    let scene = start().await;
    let payee = Address([0x66; 20]);
    let mut hashes = Vec::new();
    for amount in 1..=3 {
        hashes.push(scene.send(&scene.call(0, amount, &Call::OpenChannel { payee })).await);
    }
    let channels = hex(&Call::OpenChannel { payee }.encode().0.0);
    let opened = hex(&Native::keccak256(b"ChannelOpened(address,uint64,address,uint128)").0);
    let all = json!([{ "fromBlock": "0x0", "toBlock": "latest", "address": channels }]);
    let logs = scene.result("eth_getLogs", all).await;
    assert_eq!(logs.as_array().expect("logs").len(), 3);
    assert_eq!(logs[1]["transactionHash"], json!(hashes[1]));
    assert_eq!(logs[1]["logIndex"], json!("0x0"));
    assert_eq!(logs[0]["topics"][0], json!(opened));
    let nonce_two = format!("0x{:064x}", 2);
    let one = json!([{ "fromBlock": "earliest", "topics": [[opened], null, [nonce_two]] }]);
    let logs = scene.result("eth_getLogs", one).await;
    assert_eq!(logs.as_array().expect("logs").len(), 1);
    assert_eq!(logs[0]["transactionHash"], json!(hashes[2]));
    let by_hash = scene.result("eth_getLogs", json!([{ "blockHash": logs[0]["blockHash"] }])).await;
    assert_eq!(by_hash, logs);
    let (code, _) = scene.error("eth_getLogs", json!([{ "fromBlock": "0x5", "toBlock": "0x4" }])).await;
    assert_eq!(code, -32602);
    let (code, message) = scene.error("eth_getLogs", json!([{ "blockHash": format!("0x{:064x}", 1) }])).await;
    assert_eq!(code, i64::from(code::NOT_FOUND), "{message}");
}

#[tokio::test]
async fn filters_report_what_is_new() {
    let scene = start_with(Limits { filters_max: 3, ..Limits::default() }).await;
    let logs = scene.result("eth_newFilter", json!([{ "address": format!("0x{:040x}", 0x8003) }])).await;
    let blocks = scene.result("eth_newBlockFilter", json!([])).await;
    let pending = scene.result("eth_newPendingTransactionFilter", json!([])).await;
    let (code, _) = scene.error("eth_newBlockFilter", json!([])).await;
    assert_eq!(code, i64::from(code::LIMIT_EXCEEDED));
    assert_eq!(scene.result("eth_getFilterChanges", json!([blocks])).await, json!([]));

    let hash = scene.send(&scene.call(0, 5, &Call::OpenChannel { payee: Address([9; 20]) })).await;
    scene.send(&scene.transfer(1, &Address([9; 20]), 5)).await;
    let found = scene.result("eth_getFilterChanges", json!([logs])).await;
    assert_eq!(found.as_array().expect("logs").len(), 1);
    assert_eq!(found[0]["transactionHash"], json!(hash));
    assert_eq!(scene.result("eth_getFilterChanges", json!([logs])).await, json!([]));
    let hashes = scene.result("eth_getFilterChanges", json!([blocks])).await;
    assert_eq!(hashes.as_array().expect("hashes").len(), 2);
    let all = scene.result("eth_getFilterLogs", json!([logs])).await;
    assert_eq!(all, json!([]), "without a range a filter is about the last block, which has no log");
    assert_eq!(scene.result("eth_uninstallFilter", json!([logs])).await, json!(true));
    assert_eq!(scene.result("eth_uninstallFilter", json!([logs])).await, json!(false));
    let (code, message) = scene.error("eth_getFilterChanges", json!([logs])).await;
    assert_eq!(code, i64::from(code::NOT_FOUND), "{message}");
    let (code, _) = scene.error("eth_getFilterLogs", json!([pending])).await;
    assert_eq!(code, -32602);
}

#[tokio::test]
async fn safe_is_committed_and_finalized_is_executed() {
    let scene = start().await;
    let tags = ["safe", "finalized"];
    let number_of =
        async |tag: &str| number(&scene.result("eth_getBlockByNumber", json!([tag, false])).await["number"]);
    assert_eq!((number_of(tags[0]).await, number_of(tags[1]).await), (0, 0));
    let mut batch = scene.node.settle(Stage::Committed);
    assert_eq!((number_of(tags[0]).await, number_of(tags[1]).await), (3, 0));
    batch.stage = Stage::Executed;
    scene.node.put_batch(&batch);
    scene.send(&scene.transfer(0, &Address([1; 20]), 1)).await;
    assert_eq!((number_of(tags[0]).await, number_of(tags[1]).await), (3, 3));
    let from = hex(&scene.people.wallets[0].address.0);
    let count = scene.result("eth_getTransactionCount", json!([from, "finalized"])).await;
    assert_eq!(count, json!("0x0"));
}

#[tokio::test]
async fn fee_history_has_one_price_more_than_blocks() {
    let scene = start().await;
    scene.send(&scene.transfer(0, &Address([1; 20]), 1)).await;
    let history = scene.result("eth_feeHistory", json!(["0x2", "latest", [25.0, 75.0]])).await;
    assert_eq!(history["oldestBlock"], json!("0x3"));
    assert_eq!(history["baseFeePerGas"].as_array().expect("prices").len(), 3);
    assert_eq!(history["reward"], json!([["0x0", "0x0"], ["0x0", "0x0"]]));
    assert!(history["gasUsedRatio"][1].as_f64().expect("a ratio") > 0.0);
    let all = scene.result("eth_feeHistory", json!([4_096, "latest"])).await;
    assert_eq!(all["oldestBlock"], json!("0x0"));
    let (code, _) = scene.error("eth_feeHistory", json!(["0x1", "latest", [90.0, 10.0]])).await;
    assert_eq!(code, -32602);
    let (code, _) = scene.error("eth_feeHistory", json!(["0x1", "0xffff"])).await;
    assert_eq!(code, i64::from(code::NOT_FOUND));
}

#[tokio::test]
async fn system_contracts_have_code_and_no_storage() {
    let scene = start().await;
    for contract in 0x8001..=0x8004 {
        let code = scene.result("eth_getCode", json!([format!("0x{contract:040x}"), "latest"])).await;
        assert_eq!(code, json!("0xfe"));
    }
    assert_eq!(scene.result("eth_getCode", json!([format!("0x{:040x}", 0x8005)])).await, json!("0x"));
    let storage = scene.result("eth_getStorageAt", json!([format!("0x{:040x}", 0x8001), "0x0", "latest"])).await;
    assert_eq!(storage, json!(format!("0x{:064x}", 0)));
}

#[tokio::test]
async fn sending_can_wait_for_the_receipt() {
    let scene = start().await;
    let bytes = scene.transfer(0, &Address([1; 20]), 1);
    let receipt = scene.result("eth_sendRawTransactionSync", json!([hex(&bytes)])).await;
    assert_eq!(receipt["status"], json!("0x1"));
    scene.node.hold();
    let bytes = scene.transfer(0, &Address([1; 20]), 1);
    let answer = scene.ask("eth_sendRawTransactionSync", json!([hex(&bytes), 20])).await;
    assert_eq!(answer["error"]["code"], json!(code::SYNC_TIMEOUT));
    assert_eq!(answer["error"]["data"], json!(hex(&Native::keccak256(&bytes).0)));
}
