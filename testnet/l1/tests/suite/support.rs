//! What the tests share: a server with a clock that stands still, alloy providers, the probe contract.

use alloy::{
    consensus::{SignableTransaction, TxEnvelope, TypedTransaction},
    eips::eip2718::Encodable2718,
    network::{EthereumWallet, TransactionBuilder},
    primitives::{Address, Bytes, U256},
    providers::{DynProvider, Provider, ProviderBuilder},
    rpc::types::TransactionRequest,
    signers::{SignerSync, local::PrivateKeySigner},
    sol,
    sol_types::SolValue,
    transports::http::reqwest,
};
use joule_testnet_l1::{ChainConfig, DEVELOPMENT_ACCOUNTS, L1, ServerConfig};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

sol! {
    /// `contracts/Probe.sol`.
    #[sol(rpc)]
    #[derive(Debug, PartialEq)]
    contract Probe {
        event Stored(address indexed sender, uint256 indexed key, uint256 value);
        error Refused(uint256 expected, uint256 actual);

        function stored() external view returns (uint256);
        function slots(uint256 key) external view returns (uint256);
        function store(uint256 value) external;
        function churn(uint256 count) external;
        function logAndRevert() external;
        function refuse(uint256 actual) external pure;
        function refuseWithReason() external pure;
        function refuseWithPanic(uint256 divisor) external pure returns (uint256);
        function refuseSilently() external pure;
        function halt() external pure;
        function burn() external pure;
        function nested(uint256 depth) external returns (uint256);
        function timestamp() external view returns (uint256);
        function baseFee() external view returns (uint256);
        function ancestor(uint256 number) external view returns (bytes32);
        function create(uint256 initial) external returns (address);
    }
}

pub(crate) type ProbeInstance = Probe::ProbeInstance<DynProvider>;

/// The time at which every test's chain starts, in seconds.
pub(crate) const START_S: u64 = 1_800_000_000;

/// A clock that moves when told.
#[derive(Clone)]
pub(crate) struct TestClock(Arc<AtomicU64>);

impl TestClock {
    pub(crate) fn advance(&self, by_s: u64) {
        self.0.fetch_add(by_s, Ordering::SeqCst);
    }
}

pub(crate) async fn start(config: ChainConfig) -> (L1, TestClock) {
    let clock = TestClock(Arc::new(AtomicU64::new(START_S)));
    let read = clock.clone();
    let server = ServerConfig { clock: Arc::new(move || read.0.load(Ordering::SeqCst)), ..ServerConfig::default() };
    (L1::start(config, server).await.expect("the L1 starts"), clock)
}

pub(crate) async fn start_default() -> (L1, TestClock) {
    start(ChainConfig::development()).await
}

pub(crate) fn signer(index: usize) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&DEVELOPMENT_ACCOUNTS[index].1).expect("a valid key")
}

pub(crate) fn address(index: usize) -> Address {
    DEVELOPMENT_ACCOUNTS[index].0
}

/// A provider that signs with a development account, as any client would set it up.
pub(crate) fn provider(url: &str, index: usize) -> DynProvider {
    let wallet = EthereumWallet::from(signer(index));
    let provider = ProviderBuilder::new().wallet(wallet).connect_http(url.parse().expect("a URL"));
    provider.client().set_poll_interval(Duration::from_millis(20));
    provider.erased()
}

pub(crate) fn probe_deployment(initial: u64) -> Bytes {
    let code = hex::decode(include_str!("contracts/Probe.hex").trim()).expect("hex");
    [code, U256::from(initial).abi_encode()].concat().into()
}

pub(crate) async fn deploy_probe(provider: &DynProvider, initial: u64) -> ProbeInstance {
    let request = TransactionRequest::default().with_deploy_code(probe_deployment(initial));
    let sent = provider.send_transaction(request).await.expect("the deployment is accepted");
    let receipt = sent.get_receipt().await.expect("the deployment is mined");
    assert!(receipt.status());
    Probe::new(receipt.contract_address.expect("a contract"), provider.clone())
}

/// Signs any transaction with a development account and encodes it.
pub(crate) fn sign(index: usize, transaction: impl Into<TypedTransaction>) -> Bytes {
    let transaction = transaction.into();
    let signature = signer(index).sign_hash_sync(&transaction.signature_hash()).expect("signs");
    TxEnvelope::from(transaction.into_signed(signature)).encoded_2718().into()
}

/// Posts a body and returns the status and the body of the answer.
pub(crate) async fn post(url: &str, body: impl Into<String>) -> (u16, String) {
    let response = reqwest::Client::new()
        .post(url)
        .header("content-type", "application/json")
        .body(body.into())
        .send()
        .await
        .expect("an answer");
    (response.status().as_u16(), response.text().await.expect("text"))
}

/// Calls a method and returns the whole response.
pub(crate) async fn respond(url: &str, method: &str, params: Value) -> Value {
    let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let (status, body) = post(url, request.to_string()).await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).expect("JSON")
}

/// Calls a method that must succeed.
pub(crate) async fn result(url: &str, method: &str, params: Value) -> Value {
    let response = respond(url, method, params).await;
    assert!(response.get("error").is_none(), "{method}: {response}");
    response["result"].clone()
}

/// Calls a method that must fail, and returns the code and the message.
pub(crate) async fn error(url: &str, method: &str, params: Value) -> (i64, String) {
    let response = respond(url, method, params).await;
    let error = response.get("error").unwrap_or_else(|| panic!("{method} succeeded: {response}"));
    (error["code"].as_i64().expect("a code"), error["message"].as_str().expect("a message").to_owned())
}
