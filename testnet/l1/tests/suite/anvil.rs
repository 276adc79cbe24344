//! The same questions to anvil and to this L1. Runs when `ANVIL` names anvil's binary.
//!
//! `ANVIL=… cargo test -p joule-testnet-l1 -- --nocapture anvil`

use crate::support::{Probe, START_S, address, probe_deployment, respond, sign, start};
use alloy::{
    consensus::TxEip1559,
    primitives::{Address, Bytes, TxKind, U256},
    sol_types::SolCall,
};
use joule_testnet_l1::ChainConfig;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

/// Where the two differ, and why that is right or does not matter. An entry that no longer differs fails the test.
const KNOWN_DIFFERENCES: &[(&str, &str)] = &[
    ("eth_gasPrice", "anvil's first block keeps the base fee of genesis, against EIP-1559"),
    ("receipt keys", "anvil adds blobGasPrice and blockTimestamp to every receipt; geth does not"),
    ("gas cap", "anvil takes transactions above EIP-7825's cap"),
    ("gas cap, words", "likewise"),
    ("intrinsic gas", "anvil's code is -32000 for this rejection alone; clients go by the words"),
    ("halt: call", "anvil calls a halt of the EVM an internal error (-32603), geth does not (-32000)"),
    ("halt: estimate", "likewise"),
    ("burn: estimate", "anvil's code is -32003, geth's -32000"),
    (
        "empty pairing: estimate",
        "anvil takes a precompile for an ordinary account and answers 21000, which runs out of gas",
    ),
    ("pooled transaction", "its gasPrice: anvil guesses what it will pay, geth shows the fee cap"),
    ("underpriced", "anvil replaces for one wei more, Ethereum's network asks for a tenth"),
    ("underpriced, words", "likewise"),
];

/// Anvil as a child process, killed at the end.
struct Anvil {
    process: Child,
    url: String,
}

impl Anvil {
    fn start(binary: &str) -> Self {
        let mut process = Command::new(binary)
            .args(["--port", "0", "--hardfork", "osaka", "--gas-limit", "60000000"])
            .args(["--timestamp", &START_S.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .expect("anvil starts");
        let output = process.stdout.take().expect("piped");
        let address = BufReader::new(output)
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("Listening on ").map(str::to_owned))
            .expect("anvil says where it listens");
        Self { process, url: format!("http://{address}") }
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone afterwards.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn anvil_answers_alike() {
    let Ok(binary) = std::env::var("ANVIL") else {
        println!("SKIPPED: set ANVIL to anvil's binary to compare with it");
        return;
    };
    let anvil = Anvil::start(&binary);
    let (l1, _) = start(ChainConfig::development()).await;
    let (theirs, ours) = (observe(&anvil.url).await, observe(&l1.url()).await);
    assert_eq!(theirs.keys().collect::<Vec<_>>(), ours.keys().collect::<Vec<_>>());

    let mut unexpected = Vec::new();
    for (label, their) in &theirs {
        let our = &ours[label];
        let known = KNOWN_DIFFERENCES.iter().find(|(known, _)| known == label);
        match known {
            None if their != our => unexpected.push(format!("{label}\n  anvil: {their}\n  ours:  {our}")),
            Some((_, reason)) if their == our => unexpected.push(format!("{label}: no longer differs ({reason})")),
            _ => {}
        }
    }
    println!("{} answers compared with anvil, {} known differences", theirs.len(), KNOWN_DIFFERENCES.len());
    assert!(unexpected.is_empty(), "{}", unexpected.join("\n"));
}

/// Keys of an object, sorted, to compare shapes.
fn keys(value: &Value) -> Value {
    let mut keys: Vec<_> = value.as_object().map(|object| object.keys().cloned().collect()).unwrap_or_default();
    keys.sort();
    json!(keys)
}

/// Without what legitimately depends on the whole chain's past: hashes of blocks, and times.
fn comparable(mut value: Value) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(object) => {
                for key in ["blockHash", "blockTimestamp", "hash", "parentHash", "timestamp", "mixHash", "stateRoot"] {
                    if let Some(field) = object.get_mut(key).filter(|field| !field.is_null()) {
                        *field = json!("…");
                    }
                }
                // anvil leaves the empty withdrawals out of a block's size, and geth these two out of a receipt.
                object.remove("size");
                object.remove("blobGasPrice");
                if object.contains_key("cumulativeGasUsed") {
                    object.remove("blockTimestamp");
                }
                object.values_mut().for_each(strip);
            }
            Value::Array(values) => values.iter_mut().for_each(strip),
            _ => {}
        }
    }
    strip(&mut value);
    value
}

struct Observer<'a> {
    url: &'a str,
    seen: BTreeMap<String, Value>,
}

impl Observer<'_> {
    /// Asks, notes the answer (result, or code and data of the error), and returns the response.
    async fn ask(&mut self, label: &str, method: &str, params: Value) -> Value {
        let response = respond(self.url, method, params).await;
        let noted = match response.get("error") {
            Some(error) => json!({"code": error["code"], "data": error.get("data")}),
            None => comparable(response["result"].clone()),
        };
        assert!(self.seen.insert(label.to_owned(), noted).is_none(), "{label} is used twice");
        response
    }

    /// Sends, and waits for the receipt: anvil mines a moment after it has answered.
    async fn send(&mut self, label: &str, bytes: Bytes) -> Value {
        let response = self.ask(label, "eth_sendRawTransaction", json!([bytes])).await;
        let hash = response["result"].clone();
        for _ in 0..500 {
            let receipt = respond(self.url, "eth_getTransactionReceipt", json!([hash])).await;
            if !receipt["result"].is_null() {
                return hash;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{label} is not mined: {} answered {response}", self.url);
    }

    fn note(&mut self, label: &str, value: Value) {
        assert!(self.seen.insert(label.to_owned(), value).is_none(), "{label} is used twice");
    }

    /// Whether an error's message has the words that clients look for.
    async fn ask_words(&mut self, label: &str, method: &str, params: Value, words: &str) {
        let response = self.ask(label, method, params).await;
        let message = response["error"]["message"].as_str().unwrap_or_default().to_lowercase();
        self.note(&format!("{label}, words"), json!(message.contains(words)));
    }
}

/// Everything that is compared, in one pass over a fresh chain.
async fn observe(url: &str) -> BTreeMap<String, Value> {
    let mut see = Observer { url, seen: BTreeMap::new() };
    for method in
        ["eth_chainId", "net_version", "eth_blockNumber", "eth_gasPrice", "eth_maxPriorityFeePerGas", "eth_syncing"]
    {
        see.ask(method, method, json!([])).await;
    }
    let genesis = see.ask("genesis", "eth_getBlockByNumber", json!(["0x0", false])).await;
    see.note("block keys", keys(&genesis["result"]));
    see.ask("unknown block", "eth_getBlockByNumber", json!(["0x99", false])).await;
    see.ask("proxy", "eth_getCode", json!(["0x4e59b44847b379578588920ca78fbf26c0b4956c", "latest"])).await;

    // anvil gives its first block the base fee of genesis; EIP-1559 gives it less, as this L1 does.
    see.ask("set base fee", "anvil_setNextBlockBaseFeePerGas", json!(["0x3b9aca00"])).await;

    // A contract, by transactions that are the same bytes on both sides.
    let base = TxEip1559 {
        chain_id: 31_337,
        gas_limit: 2_000_000,
        max_fee_per_gas: 20_000_000_000,
        max_priority_fee_per_gas: 1_000_000_000,
        ..TxEip1559::default()
    };
    let deployment = TxEip1559 { to: TxKind::Create, input: probe_deployment(5), ..base.clone() };
    let hash = see.send("deploy", sign(0, deployment)).await;
    let receipt = see.ask("deployment receipt", "eth_getTransactionReceipt", json!([hash])).await["result"].clone();
    see.note("receipt keys", keys(&receipt));
    let probe: Address = receipt["contractAddress"].as_str().and_then(|text| text.parse().ok()).expect("a contract");
    see.ask("code", "eth_getCode", json!([probe, "latest"])).await;

    let filter = see.ask("new filter", "eth_newFilter", json!([{"address": probe}])).await["result"].clone();
    see.seen.remove("new filter");
    let transactions: [(&str, Vec<u8>); 6] = [
        ("store", Probe::storeCall { value: U256::from(42) }.abi_encode()),
        ("churn", Probe::churnCall { count: U256::from(4) }.abi_encode()),
        ("nested", Probe::nestedCall { depth: U256::from(10) }.abi_encode()),
        ("create", Probe::createCall { initial: U256::from(9) }.abi_encode()),
        ("logAndRevert", Probe::logAndRevertCall {}.abi_encode()),
        ("halt", Probe::haltCall {}.abi_encode()),
    ];
    for (nonce, (name, input)) in (1..).zip(transactions) {
        let call = json!([{"from": address(0), "to": probe, "data": Bytes::from(input.clone())}]);
        see.ask(&format!("{name}: call"), "eth_call", call.clone()).await;
        see.ask(&format!("{name}: estimate"), "eth_estimateGas", call).await;
        let transaction = TxEip1559 { nonce, to: TxKind::Call(probe), input: input.into(), ..base.clone() };
        let hash = see.send(&format!("{name}: hash"), sign(0, transaction)).await;
        see.ask(&format!("{name}: receipt"), "eth_getTransactionReceipt", json!([hash])).await;
        see.ask(&format!("{name}: transaction"), "eth_getTransactionByHash", json!([hash])).await;
        see.ask(&format!("{name}: block"), "eth_getBlockByNumber", json!(["latest", true])).await;
    }
    let logs = see.ask("filter changes", "eth_getFilterChanges", json!([filter])).await;
    see.note("log keys", keys(&logs["result"][0]));
    see.ask("filter changes again", "eth_getFilterChanges", json!([filter])).await;
    see.ask("logs", "eth_getLogs", json!([{"fromBlock": "0x0", "address": probe}])).await;
    see.ask("unknown filter", "eth_getFilterChanges", json!(["0x7777"])).await;
    see.ask("block receipts", "eth_getBlockReceipts", json!(["0x2"])).await;
    see.ask("fee history", "eth_feeHistory", json!(["0x4", "latest", [10, 50, 90]])).await;
    see.ask("storage", "eth_getStorageAt", json!([probe, "0x0", "latest"])).await;
    see.ask("old storage", "eth_getStorageAt", json!([probe, "0x0", "0x1"])).await;
    see.ask("nonce", "eth_getTransactionCount", json!([address(0), "latest"])).await;
    see.ask("balance", "eth_getBalance", json!([address(0), "latest"])).await;
    see.ask("coinbase", "eth_getBalance", json!([Address::ZERO, "latest"])).await;

    // Failures as contracts and clients see them.
    let calls: [(&str, Vec<u8>); 4] = [
        ("custom error", Probe::refuseCall { actual: U256::from(1) }.abi_encode()),
        ("reason", Probe::refuseWithReasonCall {}.abi_encode()),
        ("panic", Probe::refuseWithPanicCall { divisor: U256::ZERO }.abi_encode()),
        ("silent", Probe::refuseSilentlyCall {}.abi_encode()),
    ];
    for (name, input) in calls {
        let call = json!([{"to": probe, "data": Bytes::from(input)}]);
        see.ask_words(&format!("{name}: call"), "eth_call", call.clone(), "execution reverted").await;
        see.ask_words(&format!("{name}: estimate"), "eth_estimateGas", call, "execution reverted").await;
    }
    let burn = json!([{"to": probe, "data": Bytes::from(Probe::burnCall {}.abi_encode())}]);
    see.ask_words("burn: estimate", "eth_estimateGas", burn, "gas").await;
    let pairing = json!([{"to": Address::with_last_byte(8), "data": "0x"}]);
    see.ask("empty pairing", "eth_call", pairing.clone()).await;
    see.ask("empty pairing: estimate", "eth_estimateGas", pairing).await;
    let data = json!([{"from": address(0), "to": address(1), "data": Bytes::from(vec![1; 1000])}]);
    see.ask("calldata floor: estimate", "eth_estimateGas", data).await;

    // Refused transactions.
    // Each from an account of its own, and undone, so that one side's leniency does not disturb what follows.
    let transfer = TxEip1559 { gas_limit: 21_000, to: TxKind::Call(address(1)), ..base.clone() };
    let refused = [
        ("no funds", TxEip1559 { value: U256::from(10).pow(U256::from(23)), ..transfer.clone() }, "insufficient funds"),
        ("gas cap", TxEip1559 { gas_limit: (1 << 24) + 1, ..transfer.clone() }, "gas limit"),
        ("intrinsic gas", TxEip1559 { gas_limit: 20_999, ..transfer.clone() }, "intrinsic gas too low"),
        ("chain id", TxEip1559 { chain_id: 1, ..transfer.clone() }, "chain id"),
        (
            "tip above cap",
            TxEip1559 { max_priority_fee_per_gas: 30_000_000_000, ..transfer.clone() },
            "max priority fee per gas higher than max fee per gas",
        ),
    ];
    for (account, (label, transaction, words)) in (2..).zip(refused) {
        let snapshot = respond(url, "evm_snapshot", json!([])).await["result"].clone();
        see.ask_words(label, "eth_sendRawTransaction", json!([sign(account, transaction)]), words).await;
        tokio::time::sleep(Duration::from_millis(200)).await; // anvil mines what it took a moment later
        respond(url, "evm_revert", json!([snapshot])).await;
    }
    see.ask_words("nonce too low", "eth_sendRawTransaction", json!([sign(0, transfer.clone())]), "nonce too low").await;
    let transfer = TxEip1559 { nonce: 7, ..transfer };
    see.ask("undecodable", "eth_sendRawTransaction", json!(["0x01"])).await;
    see.ask("unknown method", "eth_nothing", json!([])).await;
    see.ask("bad params", "eth_getBalance", json!(["0x12"])).await;

    // Steering.
    let snapshot = see.ask("snapshot", "evm_snapshot", json!([])).await["result"].clone();
    see.seen.remove("snapshot");
    see.ask("set balance", "anvil_setBalance", json!([address(5), "0x7"])).await;
    see.ask("balance set", "eth_getBalance", json!([address(5), "latest"])).await;
    see.ask("mine", "evm_mine", json!([])).await;
    see.ask("mine many", "anvil_mine", json!(["0x3"])).await;
    see.ask("increase time", "evm_increaseTime", json!([100])).await;
    see.seen.remove("increase time");
    see.ask("set timestamp", "evm_setNextBlockTimestamp", json!([START_S + 1_000_000])).await;
    see.ask("timestamp in the past", "evm_setNextBlockTimestamp", json!([1])).await;
    see.ask("mine at a time", "evm_mine", json!([])).await;
    let latest = respond(url, "eth_getBlockByNumber", json!(["latest", false])).await;
    see.note("timestamp", latest["result"]["timestamp"].clone());
    see.ask("height", "eth_blockNumber", json!([])).await;
    let hash = see.send("to be reorged", sign(0, transfer)).await;
    see.ask("reorg", "anvil_reorg", json!([2, []])).await;
    see.ask("height after the reorg", "eth_blockNumber", json!([])).await;
    see.ask("receipt after the reorg", "eth_getTransactionReceipt", json!([hash])).await;
    see.ask("transaction after the reorg", "eth_getTransactionByHash", json!([hash])).await;
    see.ask("rollback", "anvil_rollback", json!([1])).await;
    see.ask("height after the rollback", "eth_blockNumber", json!([])).await;
    see.ask("revert", "evm_revert", json!([snapshot])).await;
    see.ask("revert again", "evm_revert", json!([snapshot])).await;
    see.ask("height after the revert", "eth_blockNumber", json!([])).await;
    see.ask("balance after the revert", "eth_getBalance", json!([address(5), "latest"])).await;

    // The pool, with mining off.
    see.ask("automine off", "evm_setAutomine", json!([false])).await;
    let pooled = TxEip1559 { nonce: 7, gas_limit: 21_000, to: TxKind::Call(address(1)), ..base };
    let hash = see.ask("pooled", "eth_sendRawTransaction", json!([sign(0, pooled.clone())])).await["result"].clone();
    see.ask("pooled again", "eth_sendRawTransaction", json!([sign(0, pooled.clone())])).await;
    see.ask("pooled transaction", "eth_getTransactionByHash", json!([hash])).await;
    see.ask("pending nonce", "eth_getTransactionCount", json!([address(0), "pending"])).await;
    see.ask("drop", "anvil_dropTransaction", json!([hash])).await;
    see.ask("dropped", "eth_getTransactionByHash", json!([hash])).await;
    see.ask("pooled once more", "eth_sendRawTransaction", json!([sign(0, pooled.clone())])).await;
    let replacement = TxEip1559 { max_fee_per_gas: 20_000_000_001, ..pooled };
    see.ask_words(
        "underpriced",
        "eth_sendRawTransaction",
        json!([sign(0, replacement)]),
        "replacement transaction underpriced",
    )
    .await;
    see.seen
}
