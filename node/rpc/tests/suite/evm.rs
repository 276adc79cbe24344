//! `eth_call` of code: what clients send for Multicall3, constructors and overrides, and what it may take.

use alloy::{
    primitives::{Address as EvmAddress, B256, Bytes, U256},
    sol_types::{Revert, SolCall, SolError, SolValue},
};
use joule_protocol::{Address, Call, Hash, Native, Rejection};
use joule_rpc::{Limits, Node, code};
use serde_json::{Value, json};

use crate::support::{BASE_FEE, ONE, Scene, hex, number, start, start_with};

alloy::sol!("../../contracts/src/l2/IViews.sol");
alloy::sol!(Multicall3, "../../contracts/artefacts/Multicall3.json");

const MULTICALL3: &str = "0xcA11bde05977b3631167028862bE2a173976CA11";
const CODE: &str = "0x00000000000000000000000000000000000c0de0";

fn bytes(value: &Value) -> Bytes {
    value.as_str().expect("bytes").parse().expect("hexadecimal")
}

/// Asks Multicall3 and decodes what it says.
async fn multicall<C: SolCall>(scene: &Scene, call: &C, block: &str) -> C::Return {
    let answer = scene.result("eth_call", json!([{ "to": MULTICALL3, "data": hex(&call.abi_encode()) }, block])).await;
    C::abi_decode_returns(&bytes(&answer)).expect("what the interface says")
}

/// `aggregate3` with one call that may fail.
fn one(target: Address, data: Vec<u8>) -> Multicall3::aggregate3Call {
    let target = EvmAddress::from(target.0);
    Multicall3::aggregate3Call { calls: vec![Multicall3::Call3 { target, allowFailure: true, callData: data.into() }] }
}

#[tokio::test]
async fn a_channel_is_seen_directly_and_through_multicall() {
    let scene = start().await;
    let (client, payee) = (scene.people.wallets[0].address, Address([0x66; 20]));
    let receipt = scene.send(&scene.call(0, 7, &Call::OpenChannel { payee })).await;
    assert_eq!(scene.result("eth_getTransactionReceipt", json!([receipt])).await["status"], json!("0x1"));

    let channels = Call::OpenChannel { payee }.encode().0;
    let view = IChannelViews::getChannelCall { client: client.0.into(), clientNonce: 0 }.abi_encode();
    let asked = json!({ "to": hex(&channels.0), "data": hex(&view) });
    let direct = bytes(&scene.result("eth_call", json!([asked])).await);
    let channel = IChannelViews::Channel::abi_decode(&direct).expect("a channel");
    assert_eq!((channel.payee, channel.deposit), (EvmAddress::from(payee.0), 7));
    let result = &multicall(&scene, &one(channels, view.clone()), "latest").await[0];
    assert_eq!((result.success, &result.returnData), (true, &direct));

    // Before it was opened there was none, either way.
    let rejection = Rejection::ChannelNotFound { client, nonce: 0 };
    let answer = scene.ask("eth_call", json!([asked, "0x3"])).await;
    assert_eq!(answer["error"]["code"], json!(code::REVERTED));
    assert_eq!(answer["error"]["data"], json!(hex(&rejection.revert_data::<Native>())));
    let result = &multicall(&scene, &one(channels, view.clone()), "0x3").await[0];
    assert_eq!((result.success, result.returnData.to_vec()), (false, rejection.revert_data::<Native>()));

    // The kernel has no views: a transaction would be rejected, and a view takes no value.
    let answer = scene.ask("eth_estimateGas", json!([asked])).await;
    let unknown = Rejection::UnknownSelector { selector: u32::from_be_bytes(IChannelViews::getChannelCall::SELECTOR) };
    assert_eq!(answer["error"]["data"], json!(hex(&unknown.revert_data::<Native>())));
    let paid = json!({ "from": hex(&client.0), "to": hex(&channels.0), "data": hex(&view), "value": "0x1" });
    let answer = scene.ask("eth_call", json!([paid])).await;
    let wrong = Rejection::WrongValue { expected: 0, got: 1 };
    assert_eq!(answer["error"]["data"], json!(hex(&wrong.revert_data::<Native>())));
}

#[tokio::test]
async fn multicall_is_there_for_views_and_nothing_else() {
    let scene = start().await;
    let code = scene.result("eth_getCode", json!([MULTICALL3, "latest"])).await;
    assert_eq!(bytes(&code), Multicall3::DEPLOYED_BYTECODE);
    assert_eq!(scene.result("eth_getCode", json!([hex(&Address::from_low_u16(0x8001).0)])).await, json!("0xfe"));
    assert_eq!(scene.result("eth_getCode", json!([CODE])).await, json!("0x"));

    let call = json!({ "to": MULTICALL3, "data": hex(&Multicall3::getBlockNumberCall {}.abi_encode()) });
    let (code, message) = scene.error("eth_estimateGas", json!([call])).await;
    assert_eq!(code, i64::from(code::TRANSACTION_REJECTED));
    assert!(message.contains("is no system contract"), "{message}");
}

#[tokio::test]
async fn code_sees_the_block_it_is_asked_at() {
    let scene = start().await;
    let block = scene.result("eth_getBlockByNumber", json!(["0x2", false])).await;
    assert_eq!(multicall(&scene, &Multicall3::getBlockNumberCall {}, "0x2").await, U256::from(2));
    let time = multicall(&scene, &Multicall3::getCurrentBlockTimestampCall {}, "0x2").await;
    assert_eq!(time, U256::from(number(&block["timestamp"])));
    assert_eq!(multicall(&scene, &Multicall3::getBasefeeCall {}, "0x2").await, U256::from(BASE_FEE));
    let chain_id = multicall(&scene, &Multicall3::getChainIdCall {}, "latest").await;
    assert_eq!(chain_id, U256::from(scene.people.chain_id));
    let parent = multicall(&scene, &Multicall3::getLastBlockHashCall {}, "0x2").await;
    assert_eq!(json!(parent), block["parentHash"]);
    let coinbase = multicall(&scene, &Multicall3::getCurrentBlockCoinbaseCall {}, "0x0").await;
    assert_eq!(json!(coinbase), block["miner"]);
    let addr = EvmAddress::from(scene.people.wallets[2].address.0);
    for (at, balance) in [("0x2", 0), ("latest", 1_000 * ONE)] {
        let seen = multicall(&scene, &Multicall3::getEthBalanceCall { addr }, at).await;
        assert_eq!(seen, U256::from(balance));
    }
    let unknown = json!([{ "to": MULTICALL3, "data": "0x" }, "0x99"]);
    assert_eq!(scene.error("eth_call", unknown).await.0, i64::from(code::NOT_FOUND));
}

#[tokio::test]
async fn constructors_and_overridden_accounts_run() {
    let scene = start().await;
    // Returns 42.
    let answer = "0x602a5f5260205ff3";
    let forty_two = json!(B256::from(U256::from(42)));
    assert_eq!(scene.result("eth_call", json!([{ "data": answer }])).await, forty_two);
    let overrides = json!({ CODE: { "code": answer } });
    assert_eq!(scene.result("eth_call", json!([{ "to": CODE }, "latest", overrides])).await, forty_two);
    // Returns its slot 0, and the timestamp.
    let overrides = json!({ CODE: { "code": "0x5f545f524260205260405ff3", "stateDiff": { B256::ZERO.to_string(): B256::repeat_byte(7) } } });
    let time = json!({ "time": "0x5" });
    let answer = bytes(&scene.result("eth_call", json!([{ "to": CODE }, "latest", overrides, time])).await);
    let seen = <(B256, U256)>::abi_decode_params(&answer).expect("two words");
    assert_eq!(seen, (B256::repeat_byte(7), U256::from(5)));
    // A revert with words, and ends without.
    let reverts = hex(&[&alloy::hex!("600b380380600b5f395ffd")[..], &Revert::from("no").abi_encode()].concat());
    let answer = scene.ask("eth_call", json!([{ "data": reverts }])).await;
    assert_eq!(answer["error"]["message"], json!("execution reverted: no"));
    assert_eq!(answer["error"]["code"], json!(code::REVERTED));
    let (code, message) = scene.error("eth_call", json!([{ "data": "0xfe" }])).await;
    assert_eq!((code, message.as_str()), (i64::from(code::EXECUTION), "invalid opcode: INVALID"));
    let (code, message) = scene.error("eth_call", json!([{ "data": "0x5b5f56", "gas": "0xfffffff" }])).await;
    assert_eq!((code, message.as_str()), (i64::from(code::EXECUTION), "out of gas: the view was given 30000000"));
    let poor = json!([{ "data": "0x00", "value": "0x1", "from": CODE }]);
    assert!(scene.error("eth_call", poor).await.1.starts_with("insufficient funds"));
}

#[tokio::test]
async fn a_dry_run_of_the_kernel_takes_overrides_too() {
    let scene = start().await;
    let poor = Address([0x44; 20]);
    let (channels, data) = Call::OpenChannel { payee: Address([0x66; 20]) }.encode();
    let open = json!({ "from": hex(&poor.0), "to": hex(&channels.0), "data": hex(&data), "value": "0x5" });
    assert!(scene.error("eth_call", json!([open])).await.1.starts_with("insufficient funds"));
    let balance = |balance: &str| json!([open, "latest", { hex(&poor.0): { "balance": balance } }]);
    assert_eq!(scene.result("eth_call", balance("0x5")).await, json!("0x"));
    assert!(scene.error("eth_call", balance("0x4")).await.1.starts_with("insufficient funds"));
    let (code, message) = scene.error("eth_call", balance(&format!("{:#x}", U256::MAX))).await;
    assert_eq!(code, i64::from(code::INVALID_PARAMS));
    assert!(message.contains("2^120"), "{message}");
    // Money that comes back to an account that is said to have all there can be.
    let post = Call::PostJob {
        model: Hash([1; 32]),
        input_hash: Hash([2; 32]),
        unit_price: 3,
        unit_limit: 4,
        deadline: scene.node.genesis().timestamp + 3_600,
        minimum_tier: 0,
        device: Address::ZERO,
        bond: 0,
    };
    scene.send(&scene.call(0, 12, &post)).await;
    let client = hex(&scene.people.wallets[0].address.0);
    let (jobs, cancel) = Call::CancelJob { client_nonce: 0 }.encode();
    let asked = json!({ "from": client, "to": hex(&jobs.0), "data": hex(&cancel) });
    assert_eq!(scene.result("eth_call", json!([asked])).await, json!("0x"));
    let most = json!({ client: { "balance": format!("{:#x}", (1_u128 << 120) - 1) } });
    let (code, message) = scene.error("eth_call", json!([asked, "latest", most])).await;
    assert_eq!(code, i64::from(code::INVALID_PARAMS), "{message}");
    // A nonce that has no next one is none that a transaction could use up.
    let last = json!([open, "latest", { hex(&poor.0): { "nonce": "0xffffffffffffffff" } }]);
    assert_eq!(scene.error("eth_call", last).await.0, i64::from(code::INVALID_PARAMS));
    // A time before the block's is no time for the next one.
    let early = json!([open, "latest", { hex(&poor.0): { "balance": "0x5" } }, { "time": "0x1" }]);
    assert_eq!(scene.error("eth_call", early).await.0, i64::from(code::INVALID_PARAMS));
    // A plain transfer as well.
    let transfer = json!({ "from": hex(&poor.0), "to": CODE, "value": "0x5" });
    let asked = json!([transfer, "latest", { hex(&poor.0): { "balance": "0x5", "nonce": "0x9" } }]);
    assert_eq!(scene.result("eth_call", asked).await, json!("0x"));
}

#[tokio::test]
async fn views_have_limits() {
    let limits = Limits { view_gas_max: 100_000, views_max: 1, view_output_bytes_max: 64, ..Limits::default() };
    let scene = start_with(limits).await;
    let (_, message) = scene.error("eth_call", json!([{ "data": "0x5b5f56" }])).await;
    assert_eq!(message, "out of gas: the view was given 100000");
    let (code, _) = scene.error("eth_call", json!([{ "data": "0x60605ffd" }])).await;
    assert_eq!(code, i64::from(code::LIMIT_EXCEEDED));
    // One place is enough for one after the other, also where they fail.
    for _ in 0..3 {
        assert_eq!(scene.result("eth_call", json!([{ "data": "0x00" }])).await, json!("0x"));
    }
    let scene = start_with(Limits { view_ms_max: 0, ..Limits::default() }).await;
    let (code, message) = scene.error("eth_call", json!([{ "data": "0x5b5f56" }])).await;
    assert_eq!(code, i64::from(code::LIMIT_EXCEEDED));
    assert!(message.starts_with("milliseconds of a view"), "{message}");
}
