//! Bytes and JSON that nobody should send, and the limits.

use joule_rpc::{
    Limits,
    wire::{Listing, ObjectId, ReceiptBundle, ReceiptId, StateProof},
};
use proptest::{prelude::*, strategy::ValueTree};
use serde_json::{Value, json};

use crate::support::{Scene, start, start_with};

const METHODS: &[&str] = &[
    "eth_getBalance",
    "eth_getTransactionCount",
    "eth_getBlockByNumber",
    "eth_getBlockByHash",
    "eth_getBlockReceipts",
    "eth_getTransactionByHash",
    "eth_getTransactionByBlockNumberAndIndex",
    "eth_getTransactionReceipt",
    "eth_getLogs",
    "eth_newFilter",
    "eth_getFilterChanges",
    "eth_uninstallFilter",
    "eth_call",
    "eth_estimateGas",
    "eth_feeHistory",
    "eth_sendRawTransaction",
    "eth_sendRawTransactionSync",
    "joule_getJob",
    "joule_getDevice",
    "joule_listJobs",
    "joule_getComputeReceipt",
    "joule_getStateProof",
    "joule_getWithdrawalProof",
    "joule_getBatch",
];

/// JSON as a hostile client may nest it, with the strings that parameters are made of.
fn json_value() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        Just(json!("0x0")),
        Just(json!("latest")),
        Just(json!("0x")),
        Just(json!(format!("0x{:040x}", 0x8001))),
        Just(json!(format!("0x{:064x}", 7))),
        Just(json!("0xffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff")),
        any::<u64>().prop_map(|number| json!(format!("{number:#x}"))),
        any::<i64>().prop_map(|number| json!(number)),
        any::<bool>().prop_map(|flag| json!(flag)),
        Just(Value::Null),
        "[ -~]{0,12}".prop_map(|text| json!(text)),
    ];
    word.prop_recursive(3, 16, 4, |inner| {
        let field = prop::sample::select(vec![
            "from",
            "to",
            "data",
            "input",
            "value",
            "gas",
            "fromBlock",
            "toBlock",
            "address",
            "topics",
            "blockHash",
            "kind",
            "client",
            "clientNonce",
            "transactionHash",
            "limit",
            "nonce",
            "chainId",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec((field, inner), 0..4)
                .prop_map(|fields| fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
        ]
    })
}

/// An answer is a result or an error that says whose fault it is, and never that it is ours.
fn check(method: &str, answer: &Value) {
    let code = answer["error"]["code"].as_i64();
    assert!(answer.get("result").is_some() || code.is_some(), "{method}: {answer}");
    assert_ne!(code, Some(-32603), "{method}: {answer}");
}

#[tokio::test]
async fn any_parameters_get_an_answer() {
    let scene = start().await;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let params = prop::collection::vec(json_value(), 0..4);
    for round in 0..600 {
        let mut params = params.new_tree(&mut runner).expect("a strategy without filters").current();
        let method = METHODS[round % METHODS.len()];
        if method == "eth_sendRawTransactionSync" && params.len() > 1 {
            params[1] = json!(1); // a wait of the full limit would only be slow
        }
        check(method, &scene.ask(method, json!(params)).await);
    }
}

async fn refused(scene: &Scene, body: &str, codes: &[i64]) {
    let (status, answer) = scene.post(body.to_owned()).await;
    let code = answer["error"]["code"].as_i64();
    assert!(code.is_some_and(|code| codes.contains(&code)) || status == 413, "{status} {answer} for {body:.80}");
}

#[tokio::test]
async fn bodies_that_are_no_requests_are_refused() {
    let scene = start_with(Limits { request_bytes_max: 4_096, batch_max: 3, ..Limits::default() }).await;
    for body in ["", "{", "nonsense", "[", "\"\"", "{\"jsonrpc\":\"2.0\"}", "{\"id\":1}", "[]", "\u{0}"] {
        refused(&scene, body, &[-32700, -32600]).await;
    }
    let one = json!({ "jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": [] }).to_string();
    refused(&scene, &format!("[{}]", [one.as_str(); 4].join(",")), &[-32010, -32005]).await;
    refused(&scene, &format!("[{}]", "[".repeat(1_000)), &[-32700, -32600]).await;
    refused(&scene, &" ".repeat(5_000), &[-32007, -32700]).await;
    let (_, answer) = scene.post(format!("[{one},{one}]")).await;
    assert_eq!(answer.as_array().expect("a batch").len(), 2);
}

proptest! {
    #[test]
    fn wire_types_take_no_nonsense(value in json_value()) {
        // Whatever is read is written the same, and nothing panics.
        if let Ok(read) = serde_json::from_value::<Listing>(value.clone()) {
            prop_assert_eq!(serde_json::from_value::<Listing>(json!(read)).expect("its own JSON"), read);
        }
        if let Ok(read) = serde_json::from_value::<ObjectId>(value.clone()) {
            prop_assert_eq!(serde_json::from_value::<ObjectId>(json!(read)).expect("its own JSON"), read);
        }
        if let Ok(read) = serde_json::from_value::<ReceiptId>(value.clone()) {
            prop_assert_eq!(serde_json::from_value::<ReceiptId>(json!(read)).expect("its own JSON"), read);
        }
        prop_assert!(serde_json::from_value::<ReceiptBundle>(value.clone()).is_err());
        prop_assert!(serde_json::from_value::<StateProof>(value).is_err());
    }
}
