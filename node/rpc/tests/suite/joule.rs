//! `joule_`: objects, listings, bundles, proofs.

use joule_protocol::{
    Address, Call, ComputeReceipt, DeviceConsent, Hash, Hashing, Key, MessageTree, Native, Object, withdrawal_leaf,
};
use joule_rpc::{
    bundle::{BundleError, verify_bundle, verify_state_proof},
    code,
    wire::{L1Contracts, ReceiptBundle, StateProof, WithdrawalProof, protocol_hash},
};
use joule_storage::Stage;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::support::{ONE, Scene, hex, number, start};

fn read<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("the type the server wrote")
}

/// Registers a device of wallet 1, posts a job by wallet 0, claims and settles it. Returns the job's nonce and the settlement's hash.
async fn settle_a_job(scene: &Scene) -> (u64, String) {
    let (client, owner, device) = (&scene.people.wallets[0], &scene.people.wallets[1], &scene.people.devices[1]);
    let consent = DeviceConsent { device: device.address, owner: owner.address };
    let register = Call::RegisterDevice {
        device: device.address,
        payout: owner.address,
        class: 3,
        consent: Some(scene.people.sign_consent(device, &consent)),
    };
    scene.send(&scene.call(1, ONE, &register)).await;
    let head = scene.result("eth_getBlockByNumber", json!(["latest", false])).await;
    let now = u64::try_from(number(&head["timestamp"])).expect("seconds");
    let from = hex(&client.address.0);
    let nonce = number(&scene.result("eth_getTransactionCount", json!([from, "latest"])).await);
    let client_nonce = u64::try_from(nonce).expect("a nonce");
    let (model, input_hash) = (Hash([1; 32]), Hash([2; 32]));
    let post = Call::PostJob {
        model,
        input_hash,
        unit_price: 1_000,
        unit_limit: 50,
        deadline: now + 3_600,
        minimum_tier: 0,
        device: Address::ZERO,
        bond: 10,
    };
    scene.send(&scene.call(0, 50_000, &post)).await;
    let claim = Call::ClaimJob { client: client.address, client_nonce, device: device.address };
    scene.send(&scene.call(1, 0, &claim)).await;
    let receipt = ComputeReceipt {
        client: client.address,
        client_nonce,
        device: device.address,
        model,
        runtime: Hash([3; 32]),
        input_hash,
        output_hash: Hash([4; 32]),
        units: 42,
        unit_price: 1_000,
        started_at: now,
        finished_at: now + 1,
        tier: 0,
        evidence: Hash::ZERO,
    };
    let settle = Call::SettleJob { receipt, signature: Some(scene.people.sign_receipt(device, &receipt)) };
    let hash = scene.send(&scene.call(1, 0, &settle)).await;
    let receipt = scene.result("eth_getTransactionReceipt", json!([hash])).await;
    assert_eq!(receipt["status"], json!("0x1"), "{receipt}");
    (client_nonce, hash)
}

#[tokio::test]
async fn a_bundle_verifies_and_every_change_of_it_does_not() {
    let scene = start().await;
    let (client_nonce, hash) = settle_a_job(&scene).await;
    let client = hex(&scene.people.wallets[0].address.0);
    let by_job = json!([{ "client": client, "clientNonce": format!("{client_nonce:#x}") }]);
    let answer = scene.result("joule_getComputeReceipt", by_job.clone()).await;
    assert_eq!(answer["isExecuted"], json!(false));
    let bundle: ReceiptBundle = read(answer);
    assert_eq!(verify_bundle(&bundle, None).expect("a good bundle").paid, 42_000);

    let batch = scene.node.settle(Stage::Executed);
    scene.send(&scene.transfer(2, &Address([8; 20]), 1)).await;
    let answer = scene.result("joule_getComputeReceipt", json!([{ "transactionHash": hash }])).await;
    assert_eq!(answer["isExecuted"], json!(true));
    let bundle: ReceiptBundle = read(answer.clone());
    let executed = alloy::primitives::B256::new(batch.checkpoint.hash::<Native>().0);
    let verified = verify_bundle(&bundle, Some(executed)).expect("a bundle under the executed checkpoint");
    assert_eq!((verified.paid, verified.checkpoint_hash), (42_000, executed));
    assert!(matches!(
        verify_bundle(&bundle, Some(alloy::primitives::B256::ZERO)),
        Err(BundleError::NotTheExpectedCheckpoint { .. })
    ));

    let mut checked = 0;
    let mut paths = Vec::new();
    leaves(&answer, String::new(), &mut paths);
    for path in paths {
        if path == "/transactionHash" || path == "/blockNumber" || path == "/isExecuted" {
            continue; // where to look it up: says nothing and binds nothing
        }
        let mut forged = answer.clone();
        let leaf = forged.pointer_mut(&path).expect("a leaf of the answer");
        *leaf = other(leaf);
        let Ok(forged) = serde_json::from_value::<ReceiptBundle>(forged) else { continue };
        assert!(verify_bundle(&forged, Some(executed)).is_err(), "{path} binds nothing");
        checked += 1;
    }
    assert!(checked > 60, "only {checked} changes were tried");
}

/// Pointers to everything in a JSON value that is no list or object.
fn leaves(value: &Value, path: String, out: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, field)| leaves(field, format!("{path}/{name}"), out));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| leaves(item, format!("{path}/{index}"), out));
        }
        _ => out.push(path),
    }
}

/// A value of the same form that is another one.
fn other(value: &Value) -> Value {
    match value {
        Value::Bool(flag) => json!(!flag),
        Value::Number(number) => json!(number.as_u64().unwrap_or(0) ^ 1),
        Value::String(text) => match text.strip_prefix("0x").and_then(|digits| digits.chars().last()) {
            Some(last) => {
                let digit = last.to_digit(16).expect("hexadecimal") ^ 1;
                json!(format!("{}{digit:x}", &text[..text.len() - 1]))
            }
            None => json!("claimed"),
        },
        other => other.clone(),
    }
}

#[tokio::test]
async fn objects_and_listings() {
    let scene = start().await;
    let (client_nonce, _) = settle_a_job(&scene).await;
    let client = hex(&scene.people.wallets[0].address.0);
    let device = hex(&scene.people.devices[1].address.0);
    let job = scene.result("joule_getJob", json!([client, format!("{client_nonce:#x}")])).await;
    assert_eq!((&job["status"], number(&job["unitsPaid"])), (&json!("settled"), 42));
    assert_eq!(scene.result("joule_getJob", json!([client, "0x99"])).await, Value::Null);
    let shown = scene.result("joule_getDevice", json!([device])).await;
    assert_eq!((number(&shown["unitsServed"]), number(&shown["stake"])), (42, ONE));
    for _ in 0..3 {
        scene.send(&scene.call(2, 5, &Call::OpenChannel { payee: Address([9; 20]) })).await;
    }
    let jobs = scene.result("joule_listJobs", json!([{ "status": "settled" }])).await;
    assert_eq!(jobs["items"][0]["object"], job);
    assert_eq!(scene.result("joule_listJobs", json!([{ "status": "open" }])).await["items"], json!([]));
    let devices = scene.result("joule_listDevices", json!([])).await;
    assert_eq!(devices["items"][0]["address"], json!(device));
    let mut found = Vec::new();
    let mut listing = json!({ "limit": 2, "client": hex(&scene.people.wallets[2].address.0) });
    loop {
        let page = scene.result("joule_listChannels", json!([listing])).await;
        found.extend(page["items"].as_array().expect("items").clone());
        match page.get("next") {
            Some(next) => listing["from"] = next.clone(),
            None => break,
        }
    }
    assert_eq!(found.len(), 3);
    assert!(found.iter().all(|item| item["object"]["status"] == json!("open")));
    let (code, _) = scene.error("joule_listJobs", json!([{ "limit": 100_000 }])).await;
    assert_eq!(code, i64::from(code::LIMIT_EXCEEDED));
    let chain = scene.result("joule_getChain", json!([])).await;
    assert_eq!(number(&chain["deposited"]), 3_000 * ONE);
    let genesis = scene.result("joule_genesis", json!([])).await;
    assert_eq!((&genesis["id"], genesis.get("contracts")), (&chain["genesisId"], None));
    let [rollup, bridge, escape, committee] = [1, 2, 3, 4].map(alloy::primitives::Address::repeat_byte);
    scene.node.settle_with(L1Contracts { rollup, bridge, escape, committee });
    let genesis = scene.result("joule_genesis", json!([])).await;
    assert_eq!(genesis["contracts"]["bridge"], json!(bridge));
}

#[tokio::test]
async fn state_proofs_show_presence_and_absence() {
    let scene = start().await;
    let address = scene.people.wallets[0].address;
    let batch = scene.node.settle(Stage::Executed);
    scene.send(&scene.transfer(0, &Address([8; 20]), 1)).await;
    let ask = async |kind: &str, address: Address| {
        let id = json!({ "kind": kind, "address": hex(&address.0) });
        read::<StateProof>(scene.result("joule_getStateProof", json!([id])).await)
    };
    let proof = ask("account", address).await;
    assert_eq!(protocol_hash(proof.checkpoint_hash), batch.checkpoint.hash::<Native>());
    match verify_state_proof(&proof).expect("a good proof") {
        Some(Object::Account(account)) => assert_eq!((account.nonce, account.balance), (0, 1_000 * ONE)),
        other => panic!("not the account: {other:?}"),
    }
    let absent = ask("device", address).await;
    assert_eq!(verify_state_proof(&absent).expect("a good proof"), None);
    assert_eq!(absent.key.0, Key::device(&address).to_bytes());
    let mut forged = absent.clone();
    forged.key = proof.key;
    assert!(matches!(verify_state_proof(&forged), Err(BundleError::NotInState { .. })));
    // The state before the floor is gone only when it is pruned; one that never was is unknown.
    let id = json!({ "kind": "account", "address": hex(&address.0) });
    let (code, _) = scene.error("joule_getStateProof", json!([id, "0x999"])).await;
    assert_eq!(code, i64::from(code::NOT_FOUND));
}

#[tokio::test]
async fn withdrawals_have_paths_once_they_are_in_a_batch() {
    let scene = start().await;
    let mut hashes = Vec::new();
    for amount in 1..=3_u128 {
        let call = Call::Withdraw { l1_recipient: Address([7; 20]), amount };
        hashes.push(scene.send(&scene.call(0, amount, &call)).await);
    }
    let (code, _) = scene.error("joule_getWithdrawalProof", json!([hashes[1]])).await;
    assert_eq!(code, i64::from(code::NOT_FOUND));
    let mut batch = scene.node.settle(Stage::Committed);
    for (index, hash) in hashes.iter().enumerate() {
        let proof: WithdrawalProof = read(scene.result("joule_getWithdrawalProof", json!([hash])).await);
        assert_eq!((proof.index, proof.position, proof.is_claimable), (index as u64, index as u64, false));
        let leaf = withdrawal_leaf::<Native>(proof.index, &Address([7; 20]), proof.amount);
        let path: Vec<Hash> = proof.siblings.iter().map(|&sibling| protocol_hash(sibling)).collect();
        assert!(MessageTree::verify::<Native>(&protocol_hash(proof.root), leaf, index, 3, &path));
    }
    batch.stage = Stage::Executed;
    scene.node.put_batch(&batch);
    let proof = scene.result("joule_getWithdrawalProof", json!([hashes[0]])).await;
    assert_eq!(proof["isClaimable"], json!(true));
    let shown = scene.result("joule_getBatch", json!(["0x1"])).await;
    assert_eq!((&shown["stage"], number(&shown["lastBlock"])), (&json!("executed"), 6));
    assert_eq!(scene.result("joule_getBatchOfBlock", json!(["0x2"])).await, shown);
    assert_eq!(scene.result("joule_getLastBatch", json!([])).await, shown);
    assert_eq!(scene.result("joule_getBatch", json!(["0x2"])).await, Value::Null);
    let transfer = scene.send(&scene.transfer(0, &Address([8; 20]), 1)).await;
    let (code, message) = scene.error("joule_getWithdrawalProof", json!([transfer])).await;
    assert_eq!(code, i64::from(code::NOT_FOUND), "{message}");
}

#[tokio::test]
async fn what_the_node_does_not_run_it_says() {
    let scene = start().await;
    for method in ["joule_committeeStatus", "joule_proverStatus"] {
        let (code, message) = scene.error(method, json!([])).await;
        assert_eq!(code, i64::from(code::UNAVAILABLE));
        assert!(message.contains("ask the sequencer"), "{message}");
    }
    let (code, _) =
        scene.error("joule_getComputeReceipt", json!([{ "transactionHash": hex(&Native::keccak256(b"").0) }])).await;
    assert_eq!(code, i64::from(code::NOT_FOUND));
}
