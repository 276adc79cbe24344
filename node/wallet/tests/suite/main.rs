//! The command, against a node and an L1 with the real contracts.

mod network;
#[path = "../../../rpc/tests/suite/support.rs"]
#[allow(dead_code, reason = "the server's tests use the rest of it")]
mod support;

use alloy::primitives::U256;
use joule_rpc::wire::{ComputeReceipt, address_of};
use joule_wallet::WalletError;
use serde_json::{Value, json};

use crate::network::Network;

fn wei(value: &Value) -> u128 {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("not an amount: {value}"))
}

#[tokio::test]
async fn money_goes_in_around_and_out() {
    let network = Network::start().await;
    let (alice, bob) = (network.person(6), network.person(7));
    let sent = network.joule(&alice, &["deposit", "2"]).await;
    assert_eq!(sent["requestIndex"], json!(0));
    network.follow_l1().await;
    assert_eq!(network.joule(&alice, &["balance"]).await["balance"], json!("2"));

    let transferred = network.joule(&alice, &["transfer", &bob.address.to_string(), "0.5"]).await;
    let fee = wei(&transferred["feeWei"]);
    assert!(fee > 0);
    let balance = network.joule(&alice, &["balance"]).await;
    assert_eq!(wei(&balance["balanceWei"]), 1_500_000_000_000_000_000 - fee);

    let withdrawn =
        network.joule(&bob, &["withdraw", "0.25", "--to", "0x00000000000000000000000000000000000000cc"]).await;
    let transaction = withdrawn["transactionHash"].as_str().expect("a hash").to_owned();
    match network.try_joule(&bob, &["claim", &transaction]).await {
        Err(WalletError::Refused(reason)) => assert!(reason.contains("not in one yet"), "{reason}"),
        other => panic!("claimed too early: {other:?}"),
    }
    network.settle().await;
    let claimed = network.joule(&bob, &["claim", &transaction]).await;
    assert_eq!(wei(&claimed["amountWei"]), 250_000_000_000_000_000);
    let paid = network.l1_balance("0x00000000000000000000000000000000000000cc").await;
    assert_eq!(paid, U256::from(250_000_000_000_000_000_u128));
    // L1 says no the second time, and why.
    match network.try_joule(&bob, &["claim", &transaction]).await {
        Err(WalletError::Contract(_)) => {}
        other => panic!("claimed twice: {other:?}"),
    }
    let batch = network.joule(&bob, &["batch"]).await;
    assert_eq!(batch["stage"], json!("executed"));
}

#[tokio::test]
async fn a_job_is_posted_claimed_settled_and_its_receipt_verified() {
    let network = Network::start().await;
    let (client, worker, device) = (network.person(6), network.person(7), network.person(8));
    for person in [&client, &worker] {
        network.joule(person, &["deposit", "1"]).await;
    }
    network.follow_l1().await;
    let device_key = device.key_file();
    network.joule(&worker, &["device", "register", "--device-key", &device_key, "--stake", "0.1"]).await;
    let device_address = device.address.to_string();
    let shown = network.joule(&worker, &["device", "show", &device_address]).await;
    assert_eq!(shown["status"], json!("active"));

    let (model, input) = (format!("0x{:064x}", 1), format!("0x{:064x}", 2));
    let post = ["job", "post", "--model", &model, "--input-hash", &input, "--unit-price", "1000wei"];
    let limits = ["--unit-limit", "50", "--deadline-in", "3600", "--bond", "10wei"];
    let posted = network.joule(&client, &[&post[..], &limits[..]].concat()).await;
    assert_eq!(wei(&posted["escrowWei"]), 50_000);
    let nonce = posted["nonce"].to_string();
    let client_address = client.address.to_string();
    let open = network.joule(&client, &["job", "open"]).await;
    assert_eq!(open["items"].as_array().expect("jobs").len(), 1);
    network.joule(&worker, &["job", "claim", &client_address, &nonce, "--device", &device_address]).await;

    let now = network.next_timestamp();
    let receipt = ComputeReceipt {
        client: client.address,
        client_nonce: nonce.parse().expect("a nonce"),
        device: device.address,
        model: model.parse().expect("a hash"),
        runtime: Default::default(),
        input_hash: input.parse().expect("a hash"),
        output_hash: Default::default(),
        units: 42,
        unit_price: 1_000,
        started_at: now - 1,
        finished_at: now,
        tier: 0,
        evidence: Default::default(),
    };
    let unsigned = network.file("receipt.json", &json!(receipt));
    match network.try_joule(&worker, &["job", "sign", &unsigned]).await {
        Err(WalletError::WrongSigner { expected, .. }) => assert_eq!(expected, device.address),
        other => panic!("another key signed: {other:?}"),
    }
    let signed = network.joule(&device, &["job", "sign", &unsigned]).await;
    let signed = network.file("signed.json", &signed);
    let settled = network.joule(&worker, &["job", "settle", &signed]).await;
    // Settled twice, it is refused before anybody pays.
    match network.try_joule(&worker, &["job", "settle", &signed]).await {
        Err(WalletError::Refused(reason)) => assert!(reason.contains("the job is not claimed"), "{reason}"),
        other => panic!("settled twice: {other:?}"),
    }
    let job = network.joule(&client, &["job", "show", &client_address, &nonce]).await;
    assert_eq!((&job["status"], &job["receiptDigest"]), (&json!("settled"), &settled["receiptDigest"]));

    network.settle().await;
    let bundle = network.joule(&client, &["receipt", "show", &client_address, &nonce]).await;
    let bundle = network.file("bundle.json", &bundle);
    let verified = network.joule(&client, &["receipt", "verify", &bundle]).await;
    assert_eq!((wei(&verified["paidWei"]), &verified["remainsToCheck"]), (42_000, &json!("nothing")));
    let checkpoint = verified["checkpointHash"].as_str().expect("a hash");
    let offline = network.offline(&["receipt", "verify", &bundle, "--checkpoint", checkpoint]).await;
    assert_eq!(offline.expect("nobody needs to be asked")["paidWei"], json!("42000"));
    let other = format!("0x{:064x}", 1);
    let refused = network.offline(&["receipt", "verify", &bundle, "--checkpoint", &other]).await;
    assert!(matches!(refused, Err(WalletError::Proof(_))));
}

#[tokio::test]
async fn a_channel_pays_by_voucher_and_closes() {
    let network = Network::start().await;
    let (client, payee) = (network.person(6), network.person(7));
    network.joule(&client, &["deposit", "1"]).await;
    network.follow_l1().await;
    let opened = network.joule(&client, &["channel", "open", &payee.address.to_string(), "0.5"]).await;
    let nonce = opened["nonce"].to_string();
    let client_address = client.address.to_string();
    let voucher = network.joule(&client, &["channel", "voucher", &nonce, "0.2"]).await;
    let voucher = network.file("voucher.json", &voucher);
    // The payee has nothing, and is paid all the same.
    network.joule(&payee, &["channel", "redeem", &voucher]).await;
    let consent = network.joule(&payee, &["channel", "agree", &client_address, &nonce]).await;
    assert_eq!(consent["paid"], json!("0x2c68af0bb140000"));
    let consent = network.file("consent.json", &consent);
    network.joule(&client, &["channel", "close-together", &consent]).await;
    let channel = network.joule(&client, &["channel", "show", &client_address, &nonce]).await;
    assert_eq!(channel["status"], json!("closed"));
}

#[tokio::test]
async fn a_channel_is_closed_without_its_payee_through_l1() {
    let network = Network::start().await;
    let (client, payee) = (network.person(6), network.person(7));
    network.joule(&client, &["deposit", "1"]).await;
    network.follow_l1().await;
    let opened = network.joule(&client, &["channel", "open", &payee.address.to_string(), "0.5"]).await;
    let nonce = opened["nonce"].to_string();
    let client_address = client.address.to_string();
    let close = ["channel", "close", nonce.as_str()];
    // Without L1 it says what it needs; what can be known to come to nothing is not paid for.
    match network.try_joule_without_l1(&client, &close).await {
        Err(WalletError::NoL1) => {}
        other => panic!("closed without L1: {other:?}"),
    }
    match network.try_joule(&client, &["channel", "close", "99"]).await {
        Err(WalletError::NotFound(_)) => {}
        other => panic!("no such channel: {other:?}"),
    }
    assert_eq!(network.joule(&client, &close).await["requestIndex"], json!(1));
    network.follow_l1().await;
    let channel = network.joule(&payee, &["channel", "show", &client_address, &nonce]).await;
    assert_eq!(channel["status"], json!("closing"));
    match network.try_joule(&client, &close).await {
        Err(WalletError::NotOpen { .. }) => {}
        other => panic!("closed twice: {other:?}"),
    }
    // Vouchers redeem, and nobody ends it before its time.
    let voucher = network.joule(&client, &["channel", "voucher", &nonce, "0.2"]).await;
    let voucher = network.file("voucher.json", &voucher);
    network.joule(&payee, &["channel", "redeem", &voucher]).await;
    match network.try_joule(&payee, &["channel", "finalise", &client_address, &nonce]).await {
        Err(WalletError::Refused(reason)) => assert!(reason.contains("may be finalised from"), "{reason}"),
        other => panic!("finalised too early: {other:?}"),
    }
}

#[tokio::test]
async fn everybody_leaves_a_frozen_chain() {
    let network = Network::start().await;
    let alice = network.person(6);
    network.joule(&alice, &["deposit", "1"]).await;
    network.follow_l1().await;
    let opened = network.joule(&alice, &["channel", "open", &network.person(7).address.to_string(), "0.4"]).await;
    network.settle().await;
    // A request that nobody consumes.
    network.joule(&alice, &["deposit", "0.1"]).await;
    match network.try_joule(&alice, &["escape", "freeze"]).await {
        Err(WalletError::Contract(_)) => {}
        other => panic!("frozen too early: {other:?}"),
    }
    network.wait(3_700);
    network.joule(&alice, &["escape", "freeze"]).await;
    network.joule(&alice, &["escape", "open"]).await;
    let left = network.joule(&alice, &["escape", "account"]).await;
    assert!(wei(&left["amountWei"]) > 500_000_000_000_000_000);
    let refunded = network.joule(&alice, &["escape", "refund", "1"]).await;
    assert_eq!(wei(&refunded["amountWei"]), 100_000_000_000_000_000);
    assert!(network.try_joule(&alice, &["escape", "refund", "0"]).await.is_err(), "the first deposit was consumed");
    let own = alice.address.to_string();
    let nonce = opened["nonce"].to_string();
    // Others may show vouchers first.
    assert!(network.try_joule(&alice, &["escape", "channel", &own, &nonce]).await.is_err());
    let voucher = network.joule(&alice, &["channel", "voucher", &nonce, "0.3"]).await;
    let voucher = network.file("voucher.json", &voucher);
    network.joule(&alice, &["escape", "voucher", &voucher]).await;
    network.wait(3_700);
    network.joule(&alice, &["escape", "channel", &own, &nonce]).await;
    network.joule(&alice, &["escape", "collect"]).await;
    network.joule(&alice, &["escape", "collect", &network.person(7).address.to_string()]).await;
}

#[tokio::test]
async fn what_is_forced_goes_through_l1_without_a_node() {
    let network = Network::start().await;
    let (alice, bob) = (network.person(6), network.person(7));
    network.joule(&alice, &["deposit", "1"]).await;
    network.follow_l1().await;
    let genesis = network.joule(&alice, &["genesis"]).await;
    let file = network.file("network.json", &genesis);
    // No node of the chain is there.
    let forced = async |arguments: &[&str]| {
        let first = ["--network", &file, "--forced"];
        network.try_joule_at("http://127.0.0.1:1", &alice, &[&first[..], arguments].concat()).await
    };
    let recipient = "0x00000000000000000000000000000000000000cc";
    let request = forced(&["withdraw", "0.25", "--to", recipient]).await.expect("L1 takes it");
    assert_eq!(request["requestIndex"], json!(1));
    let payee = bob.address.to_string();
    let request = forced(&["channel", "open", &payee, "0.5"]).await.expect("L1 takes it");
    assert_eq!(request["requestIndex"], json!(2));
    match forced(&["transfer", &payee, "0.1"]).await {
        Err(WalletError::NotForcible) => {}
        other => panic!("L1 forwards no transfers: {other:?}"),
    }
    // The chain has to take them, and does what they say.
    network.follow_l1().await;
    let balance = wei(&network.joule(&alice, &["balance"]).await["balanceWei"]);
    assert_eq!(balance, 250_000_000_000_000_000);
}

#[tokio::test]
async fn another_network_is_refused() {
    let network = Network::start().await;
    let alice = network.person(6);
    let mut genesis = network.joule(&alice, &["genesis"]).await;
    let file = network.file("network.json", &genesis);
    network.joule(&alice, &["--network", &file, "balance"]).await;
    genesis["contracts"]["bridge"] = json!(address_of(joule_protocol::Address([0xbb; 20])));
    let file = network.file("forged.json", &genesis);
    match network.try_joule(&alice, &["--network", &file, "deposit", "1"]).await {
        Err(WalletError::OtherNetwork { field: "contracts", .. }) => {}
        other => panic!("money went to a bridge that the node named: {other:?}"),
    }
}

#[test]
fn the_command_fails_with_a_reason_that_machines_read() {
    let run = |arguments: &[&str]| {
        std::process::Command::new(env!("CARGO_BIN_EXE_joule")).args(arguments).output().expect("it runs")
    };
    let output =
        run(&["--json", "--rpc", "http://127.0.0.1:1", "balance", "0x00000000000000000000000000000000000000cc"]);
    assert!(!output.status.success());
    let error: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let message = error["error"]["message"].as_str().expect("a message");
    assert!(message.contains("does the node run?"), "{message}");
    let output = run(&["transfer", "0x00000000000000000000000000000000000000cc", "1"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("--key FILE"));
}
