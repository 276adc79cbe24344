//! Bare JSON-RPC: shapes, errors, limits, and what is malformed.

use crate::support::{
    Probe, address, deploy_probe, error, post, probe_deployment, provider, respond, result, sign, start_default,
};
use alloy::{
    consensus::{TxEip1559, TxEip4844, TxLegacy},
    primitives::{Bytes, TxKind, U256, hex},
    sol_types::{SolCall, SolError},
};
use joule_testnet_l1::{ChainConfig, Mining};
use serde_json::{Value, json};

#[tokio::test]
async fn revert_data_travels_with_code_3() {
    let (l1, _) = start_default().await;
    let url = l1.url();
    let probe = deploy_probe(&provider(&url, 0), 1).await;
    let call = |input: Vec<u8>| json!([{"to": probe.address(), "data": Bytes::from(input)}, "latest"]);
    for method in ["eth_call", "eth_estimateGas"] {
        let response = respond(&url, method, call(Probe::refuseCall { actual: U256::from(9) }.abi_encode())).await;
        let data = Probe::Refused { expected: U256::from(7), actual: U256::from(9) }.abi_encode();
        let expected = json!({"code": 3, "message": "execution reverted", "data": hex::encode_prefixed(data)});
        assert_eq!(response["error"], expected);
        let response = respond(&url, method, call(Probe::refuseWithReasonCall {}.abi_encode())).await;
        assert_eq!(response["error"]["message"], "execution reverted: not today");
        assert!(response["error"]["data"].as_str().is_some_and(|data| data.starts_with("0x08c379a0")));
        let response = respond(&url, method, call(Probe::refuseSilentlyCall {}.abi_encode())).await;
        assert_eq!(response["error"], json!({"code": 3, "message": "execution reverted", "data": "0x"}));
    }
    let response = respond(&url, "eth_call", call(Probe::haltCall {}.abi_encode())).await;
    assert_eq!(response["error"]["code"], -32_000);
    assert!(response["error"].get("data").is_none());
}

#[tokio::test]
async fn malformed_requests_get_standard_errors() {
    let (l1, _) = start_default().await;
    let url = l1.url();
    let cases = [
        ("{bad", -32_700),
        ("", -32_700),
        (r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId""#, -32_700),
        ("[]", -32_600),
        ("5", -32_600),
        ("null", -32_600),
        ("\"eth_chainId\"", -32_600),
        (r#"{"id":1,"method":"eth_chainId"}"#, -32_600),
        (r#"{"jsonrpc":"1.0","id":1,"method":"eth_chainId"}"#, -32_600),
        (r#"{"jsonrpc":"2.0","id":1}"#, -32_600),
        (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, -32_600),
        (r#"{"jsonrpc":"2.0","id":[1],"method":"eth_chainId"}"#, -32_600),
        (r#"{"jsonrpc":"2.0","id":1,"method":"eth_nothing"}"#, -32_601),
        (r#"{"jsonrpc":"2.0","id":1,"method":"eth_getBalance"}"#, -32_602),
        (r#"{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":5}"#, -32_602),
        (r#"{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":["0x12"]}"#, -32_602),
        (r#"{"jsonrpc":"2.0","id":1,"method":"eth_call","params":[{"to":"me"}]}"#, -32_602),
        (r#"{"jsonrpc":"2.0","id":1,"method":"eth_sendRawTransaction","params":["0x01"]}"#, -32_602),
        (r#"{"jsonrpc":"2.0","id":1,"method":"eth_sendRawTransaction","params":["0x"]}"#, -32_602),
        (r#"{"jsonrpc":"2.0","id":1,"method":"evm_increaseTime","params":["0x10000000000000000"]}"#, -32_602),
        (r#"{"jsonrpc":"2.0","id":1,"method":"evm_increaseTime","params":["0xffffffffffffffff"]}"#, -32_602),
        (r#"{"jsonrpc":"2.0","id":1,"method":"evm_setNextBlockTimestamp","params":[1]}"#, -32_602),
        (r#"{"jsonrpc":"2.0","id":1,"method":"anvil_reorg","params":[1,[]]}"#, -32_602),
        (r#"{"jsonrpc":"2.0","id":1,"method":"eth_getFilterChanges","params":["0x77"]}"#, -32_000),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"eth_getBalance","params":["0x0000000000000000000000000000000000000000","0x99"]}"#,
            -32_000,
        ),
        (r#"{"jsonrpc":"2.0","id":1,"method":"eth_feeHistory","params":[1,"latest",[50,10]]}"#, -32_602),
        (r#"{"jsonrpc":"2.0","id":1,"method":"eth_getLogs","params":[{"fromBlock":"0x5","toBlock":"0x1"}]}"#, -32_602),
        (r#"{"jsonrpc":"2.0","id":1,"method":"anvil_mine","params":["0xffffff"]}"#, -32_005),
    ];
    for (body, code) in cases {
        let (status, answer) = post(&url, body).await;
        assert_eq!(status, 200, "{body}");
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        assert_eq!(answer["error"]["code"], code, "{body} got {answer}");
        assert_eq!(answer["jsonrpc"], "2.0");
    }
    // Deep nesting must neither overflow a stack nor be mistaken for a request.
    let (_, answer) = post(&url, "[".repeat(100_000)).await;
    assert!(answer.contains("-32700"), "{answer}");
    assert_eq!(result(&url, "eth_blockNumber", json!([])).await, "0x0", "none of it changed the chain");
}

#[tokio::test]
async fn batches_notifications_and_limits() {
    let (l1, _) = start_default().await;
    let url = l1.url();
    let (_, answer) = post(
        &url,
        r#"[{"jsonrpc":"2.0","id":"a","method":"eth_chainId"},1,{"jsonrpc":"2.0","method":"evm_mine"},
            {"jsonrpc":"2.0","id":null,"method":"eth_blockNumber","params":[]}]"#,
    )
    .await;
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    assert_eq!(answer.as_array().map(Vec::len), Some(3), "{answer}");
    assert_eq!(answer[0], json!({"jsonrpc": "2.0", "id": "a", "result": "0x7a69"}));
    assert_eq!(answer[1]["error"]["code"], -32_600);
    assert_eq!(answer[2], json!({"jsonrpc": "2.0", "id": null, "result": "0x1"}), "the notification was carried out");
    assert_eq!(post(&url, r#"{"jsonrpc":"2.0","method":"evm_mine"}"#).await, (204, String::new()));

    let one = r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}"#;
    let (_, answer) = post(&url, format!("[{}]", vec![one; 1001].join(","))).await;
    assert!(answer.contains("batch too large"), "{answer}");
    let (status, _) = post(&url, " ".repeat((5 << 20) + 1)).await;
    assert_eq!(status, 413);
}

#[tokio::test]
async fn transactions_are_refused_in_the_words_clients_know() {
    let (l1, _) = start_default().await;
    let url = l1.url();
    let transfer = TxEip1559 {
        chain_id: 31_337,
        gas_limit: 21_000,
        max_fee_per_gas: 10_000_000_000,
        to: TxKind::Call(address(1)),
        ..TxEip1559::default()
    };
    let legacy =
        TxLegacy { gas_price: 10_000_000_000, gas_limit: 21_000, to: TxKind::Call(address(1)), ..TxLegacy::default() };
    let blob = TxEip4844 {
        chain_id: 31_337,
        gas_limit: 21_000,
        max_fee_per_gas: 10_000_000_000,
        blob_versioned_hashes: vec![Default::default()],
        ..TxEip4844::default()
    };
    let cases: [(&str, Bytes); 12] = [
        (
            "transaction gas limit too high (cap: 16777216, tx: 16777217)",
            sign(0, TxEip1559 { gas_limit: (1 << 24) + 1, ..transfer.clone() }),
        ),
        ("invalid chain id for signer: have 1 want 31337", sign(0, TxEip1559 { chain_id: 1, ..transfer.clone() })),
        ("only replay-protected (EIP-155) transactions allowed over RPC", sign(0, legacy.clone())),
        (
            "intrinsic gas too low: gas 20999, minimum needed 21000",
            sign(0, TxEip1559 { gas_limit: 20_999, ..transfer.clone() }),
        ),
        (
            "insufficient gas for floor data gas cost: gas 40000, minimum needed 61000",
            sign(0, TxEip1559 { gas_limit: 40_000, input: vec![1; 1000].into(), ..transfer.clone() }),
        ),
        (
            "max priority fee per gas higher than max fee per gas",
            sign(0, TxEip1559 { max_priority_fee_per_gas: 10_000_000_001, ..transfer.clone() }),
        ),
        (
            "insufficient funds for gas * price + value: balance 10000000000000000000000, tx cost ",
            sign(0, TxEip1559 { value: U256::from(10).pow(U256::from(22)), ..transfer.clone() }),
        ),
        ("overflows 256 bits", sign(0, TxEip1559 { value: U256::MAX, ..transfer.clone() })),
        ("nonce has max value", sign(0, TxEip1559 { nonce: u64::MAX, ..transfer.clone() })),
        (
            "max initcode size exceeded: code size 49153, limit 49152",
            sign(
                0,
                TxEip1559 {
                    to: TxKind::Create,
                    gas_limit: 16_000_000,
                    input: vec![0; 49_153].into(),
                    ..transfer.clone()
                },
            ),
        ),
        (
            "oversized data: transaction size ",
            sign(0, TxEip1559 { gas_limit: 16_000_000, input: vec![0; 131_072].into(), ..transfer.clone() }),
        ),
        ("transaction type not supported: 3", sign(0, blob)),
    ];
    for (message, bytes) in cases {
        let (code, got) = error(&url, "eth_sendRawTransaction", json!([bytes])).await;
        assert!(got.contains(message), "wanted {message:?}, got {got:?}");
        assert_eq!(code, -32_003, "{got}");
    }
    assert_eq!(result(&url, "eth_blockNumber", json!([])).await, "0x0", "none of it changed the chain");

    // The cap itself is allowed, and so is a legacy transaction that names its chain.
    let fits = sign(0, TxEip1559 { gas_limit: 1 << 24, ..transfer.clone() });
    result(&url, "eth_sendRawTransaction", json!([fits])).await;
    let (_, known) = error(&url, "eth_sendRawTransaction", json!([fits])).await;
    assert_eq!(known, "already known");
    let (_, low) = error(&url, "eth_sendRawTransaction", json!([sign(0, transfer)])).await;
    assert_eq!(low, "nonce too low: next nonce 1, tx nonce 0");
    let protected = TxLegacy { chain_id: Some(31_337), nonce: 1, ..legacy };
    let hash = result(&url, "eth_sendRawTransaction", json!([sign(0, protected)])).await;
    let receipt = result(&url, "eth_getTransactionReceipt", json!([hash])).await;
    assert_eq!((&receipt["type"], &receipt["status"]), (&json!("0x0"), &json!("0x1")));
}

#[tokio::test]
async fn a_malleable_signature_recovers_nobody() {
    use alloy::{
        consensus::{SignableTransaction, TxEnvelope},
        eips::eip2718::Encodable2718,
        primitives::Signature,
        signers::SignerSync,
    };
    let (l1, _) = start_default().await;
    let transfer = TxEip1559 {
        chain_id: 31_337,
        gas_limit: 21_000,
        max_fee_per_gas: 10_000_000_000,
        to: TxKind::Call(address(1)),
        ..TxEip1559::default()
    };
    let signature = crate::support::signer(0).sign_hash_sync(&transfer.signature_hash()).expect("signs");
    let order =
        U256::from_str_radix("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", 16).expect("hex");
    let twin = Signature::new(signature.r(), order - signature.s(), !signature.v());
    let bytes = TxEnvelope::from(transfer.into_signed(twin)).encoded_2718();
    let (_, message) = error(&l1.url(), "eth_sendRawTransaction", json!([Bytes::from(bytes)])).await;
    assert!(message.starts_with("invalid sender"), "{message}");
}

#[tokio::test]
async fn fees_decide_who_waits() {
    let (l1, _) = start_default().await;
    let url = l1.url();
    let transfer = |nonce, max_fee_per_gas, max_priority_fee_per_gas| {
        sign(
            0,
            TxEip1559 {
                chain_id: 31_337,
                nonce,
                gas_limit: 21_000,
                max_fee_per_gas,
                max_priority_fee_per_gas,
                to: TxKind::Call(address(1)),
                ..TxEip1559::default()
            },
        )
    };
    // Below the base fee of one gwei: pooled, not mined, as on mainnet.
    let cheap = result(&url, "eth_sendRawTransaction", json!([transfer(0, 500_000_000, 1)])).await;
    assert_eq!(result(&url, "eth_getTransactionReceipt", json!([cheap])).await, Value::Null);
    assert_eq!(result(&url, "eth_getTransactionByHash", json!([cheap])).await["blockNumber"], Value::Null);
    let (_, message) = error(&url, "eth_sendRawTransaction", json!([transfer(0, 540_000_000, 1)])).await;
    assert!(message.starts_with("replacement transaction underpriced"), "{message}");
    let replacement = result(&url, "eth_sendRawTransaction", json!([transfer(0, 3_000_000_000, 2)])).await;
    assert_eq!(result(&url, "eth_getTransactionByHash", json!([cheap])).await, Value::Null);
    let receipt = result(&url, "eth_getTransactionReceipt", json!([replacement])).await;
    assert_eq!(receipt["effectiveGasPrice"], json!(format!("0x{:x}", 875_000_000 + 2)), "{receipt}");
    // A later nonce waits for the one before it; both are then mined together.
    let second = result(&url, "eth_sendRawTransaction", json!([transfer(2, 3_000_000_000, 2)])).await;
    assert_eq!(result(&url, "eth_getTransactionReceipt", json!([second])).await, Value::Null);
    let first = result(&url, "eth_sendRawTransaction", json!([transfer(1, 3_000_000_000, 2)])).await;
    let first = result(&url, "eth_getTransactionReceipt", json!([first])).await;
    let second = result(&url, "eth_getTransactionReceipt", json!([second])).await;
    assert_eq!(first["blockHash"], second["blockHash"]);
    assert_eq!((&first["transactionIndex"], &second["transactionIndex"]), (&json!("0x0"), &json!("0x1")));
    assert_eq!(second["cumulativeGasUsed"], json!("0xa410"));
}

#[tokio::test]
async fn calls_answer_only_the_question_asked() {
    let (l1, _) = start_default().await;
    let url = l1.url();
    let call = json!({"to": address(1), "data": "0x"});
    let (code, message) =
        error(&url, "eth_call", json!([call, "latest", {address(1).to_string(): {"balance": "0x1"}}])).await;
    assert_eq!((code, message.as_str()), (-32_602, "state and block overrides are not supported"));
    result(&url, "eth_call", json!([call, "latest", {}])).await;
    let (_, message) = error(&url, "eth_call", json!([{"to": address(1), "chainId": "0x1"}])).await;
    assert!(message.contains("invalid chain id"), "{message}");
    let (_, message) = error(&url, "eth_call", json!([{"to": address(1), "data": "0x01", "input": "0x02"}])).await;
    assert!(message.contains("not equal"), "{message}");
    let (_, message) = error(&url, "eth_call", json!([{"from": address(0), "to": address(1), "gas": "0x5208", "maxFeePerGas": "0x1", "maxPriorityFeePerGas": "0x0"}])).await;
    assert!(message.starts_with("max fee per gas less than block base fee"), "{message}");
    let (_, message) = error(&url, "eth_call", json!([{"to": address(1), "gas": "0x5207"}])).await;
    assert_eq!(message, "intrinsic gas too low: gas 20999, minimum needed 21000");
    // A contract may be the sender of a call, and a creation returns the code it would leave.
    let code = result(&url, "eth_call", json!([{"from": address(0), "data": probe_deployment(1)}])).await;
    assert!(code.as_str().is_some_and(|code| code.len() > 1000));
}

#[tokio::test]
async fn log_queries_are_bounded() {
    let (l1, _) = start_default().await;
    let url = l1.url();
    let probe = deploy_probe(&provider(&url, 0), 1).await;
    for value in [3_u64, 14, 23] {
        probe.store(U256::from(value)).send().await.expect("sent").get_receipt().await.expect("mined");
    }
    let topic = |key: u64| U256::from(key).to_be_bytes::<32>();
    let by_key = |key| json!([{"fromBlock": "0x0", "address": probe.address(), "topics": [null, null, hex::encode_prefixed(topic(key))]}]);
    assert_eq!(result(&url, "eth_getLogs", by_key(3)).await.as_array().map(Vec::len), Some(2));
    assert_eq!(result(&url, "eth_getLogs", by_key(4)).await.as_array().map(Vec::len), Some(1));
    let logs = result(&url, "eth_getLogs", by_key(4)).await;
    assert_eq!(logs[0]["logIndex"], "0x0");
    assert_eq!(logs[0]["removed"], false);
    let block = &logs[0]["blockHash"];
    let at_block = result(&url, "eth_getLogs", json!([{"blockHash": block}])).await;
    assert_eq!(at_block, logs);
    let beyond = result(&url, "eth_getLogs", json!([{"fromBlock": "0x100", "toBlock": "0x200"}])).await;
    assert_eq!(beyond, json!([]));
    l1.chain()
        .write(|chain, now_s| {
            for _ in 0..10_001 {
                chain.mine(now_s).expect("mined");
            }
        })
        .expect("not poisoned");
    let (code, message) = error(&url, "eth_getLogs", by_key(3)).await;
    assert_eq!((code, message.as_str()), (-32_005, "block range 10006 exceeds 10000"));
}

#[tokio::test]
async fn filters_of_every_kind() {
    let (l1, _) = start_default().await;
    let url = l1.url();
    let blocks = result(&url, "eth_newBlockFilter", json!([])).await;
    let pending = result(&url, "eth_newPendingTransactionFilter", json!([])).await;
    let logs = result(&url, "eth_newFilter", json!([{}])).await;
    let probe = deploy_probe(&provider(&url, 0), 1).await;
    probe.store(U256::from(3)).send().await.expect("sent").get_receipt().await.expect("mined");
    let lengths = |value: Value| value.as_array().map(Vec::len);
    assert_eq!(lengths(result(&url, "eth_getFilterChanges", json!([blocks])).await), Some(2));
    assert_eq!(lengths(result(&url, "eth_getFilterChanges", json!([pending])).await), Some(2));
    assert_eq!(lengths(result(&url, "eth_getFilterChanges", json!([logs])).await), Some(1));
    assert_eq!(result(&url, "eth_getFilterChanges", json!([logs])).await, json!([]));
    assert_eq!(lengths(result(&url, "eth_getFilterLogs", json!([logs])).await), Some(1));
    assert_eq!(error(&url, "eth_getFilterLogs", json!([blocks])).await.0, -32_000);
    assert_eq!(result(&url, "eth_uninstallFilter", json!([logs])).await, true);
    assert_eq!(result(&url, "eth_uninstallFilter", json!([logs])).await, false);
    assert_eq!(error(&url, "eth_getFilterChanges", json!([logs])).await, (-32_000, "filter not found".to_owned()));
}

#[tokio::test]
async fn anvil_reorg_fills_blocks_with_given_transactions() {
    let config = ChainConfig { mining: Mining::Manual, ..ChainConfig::development() };
    let (l1, _) = crate::support::start(config).await;
    let url = l1.url();
    result(&url, "anvil_mine", json!([3])).await;
    let old = result(&url, "eth_getBlockByNumber", json!(["0x2", false])).await["hash"].clone();
    let transfer = TxEip1559 {
        chain_id: 31_337,
        gas_limit: 21_000,
        max_fee_per_gas: 10_000_000_000,
        to: TxKind::Call(address(1)),
        ..TxEip1559::default()
    };
    let bytes = sign(0, transfer.clone());
    // alloy sends the options as one object.
    result(&url, "anvil_reorg", json!({"depth": 2, "tx_block_pairs": [[bytes, 1]]})).await;
    assert_eq!(result(&url, "eth_blockNumber", json!([])).await, "0x3");
    let second = result(&url, "eth_getBlockByNumber", json!(["0x2", false])).await;
    assert_ne!(second["hash"], old);
    let third = result(&url, "eth_getBlockByNumber", json!(["0x3", false])).await;
    assert_eq!(third["transactions"].as_array().map(Vec::len), Some(1));
    let stale = sign(0, TxEip1559 { nonce: 9, ..transfer });
    let (code, message) = error(&url, "anvil_reorg", json!([1, [[stale, 0]]])).await;
    assert_eq!(code, -32_000, "{message}");
    assert!(message.contains("nonce too high"), "{message}");
    result(&url, "anvil_rollback", json!([1])).await;
    assert_eq!(result(&url, "eth_blockNumber", json!([])).await, "0x1");
}
