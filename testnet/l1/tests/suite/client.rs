//! What the node's L1 client will do, through alloy's provider.

use crate::support::{Probe, START_S, address, deploy_probe, provider, result, start, start_default};
use alloy::{
    consensus::{Transaction as _, proofs},
    eips::{BlockId, BlockNumberOrTag},
    network::TransactionBuilder,
    primitives::{Bytes, U256, bytes},
    providers::Provider,
    rpc::types::{Filter, TransactionRequest},
    sol_types::{SolCall, SolEvent},
};
use joule_testnet_l1::{ChainConfig, Mining, Orphans};
use serde_json::json;

#[tokio::test]
async fn a_contract_is_deployed_called_and_heard() {
    let (l1, _) = start_default().await;
    let provider = provider(&l1.url(), 0);
    assert_eq!(provider.get_chain_id().await.expect("an id"), 31_337);

    let probe = deploy_probe(&provider, 5).await;
    assert_eq!(probe.stored().call().await.expect("a value"), U256::from(5));
    assert!(!provider.get_code_at(*probe.address()).await.expect("code").is_empty());

    let receipt = probe.store(U256::from(42)).send().await.expect("sent").get_receipt().await.expect("mined");
    assert!(receipt.status());
    assert_eq!(receipt.block_number, Some(2));
    assert_eq!(receipt.from, address(0));
    assert_eq!(receipt.to, Some(*probe.address()));
    let event = receipt.decoded_log::<Probe::Stored>().expect("the event");
    assert_eq!(event.data, Probe::Stored { sender: address(0), key: U256::from(2), value: U256::from(42) });

    assert_eq!(probe.stored().call().await.expect("a value"), U256::from(42));
    let before = probe.stored().block(BlockId::number(1)).call().await.expect("a value");
    assert_eq!(before, U256::from(5), "state of old blocks can be read");
    let word = provider.get_storage_at(*probe.address(), U256::ZERO).await.expect("a word");
    assert_eq!(word, U256::from(42));

    let transaction = provider.get_transaction_by_hash(receipt.transaction_hash).await.expect("found").expect("some");
    assert_eq!(transaction.block_number, Some(2));
    assert_eq!(transaction.inner.signer(), address(0));
    assert_eq!(provider.get_transaction_count(address(0)).await.expect("a nonce"), 2);
    let receipts = provider.get_block_receipts(BlockId::number(2)).await.expect("found").expect("some");
    assert_eq!(receipts, vec![receipt]);
    l1.stop().await.expect("stops");
}

#[tokio::test]
async fn header_roots_are_real() {
    let (l1, _) = start_default().await;
    let provider = provider(&l1.url(), 0);
    let probe = deploy_probe(&provider, 5).await;
    probe.store(U256::from(1)).send().await.expect("sent").get_receipt().await.expect("mined");
    let mut parent = None;
    for number in 0..=2 {
        let block = provider.get_block_by_number(number.into()).full().await.expect("found").expect("some");
        assert_eq!(block.header.inner.hash_slow(), block.header.hash, "the hash is that of the header");
        let envelopes: Vec<_> = block.transactions.txns().map(|transaction| transaction.inner.inner()).collect();
        assert_eq!(block.header.transactions_root, proofs::calculate_transaction_root(&envelopes));
        let receipts = provider.get_block_receipts(BlockId::number(number)).await.expect("found").expect("some");
        let receipts: Vec<_> = receipts.into_iter().map(|receipt| receipt.inner.map_logs(|log| log.inner)).collect();
        assert_eq!(block.header.receipts_root, proofs::calculate_receipt_root(&receipts));
        if let Some(parent) = parent {
            assert_eq!(block.header.parent_hash, parent);
        }
        parent = Some(block.header.hash);
    }
}

#[tokio::test]
async fn custom_errors_and_reasons_reach_the_client() {
    let (l1, _) = start_default().await;
    let provider = provider(&l1.url(), 0);
    let probe = deploy_probe(&provider, 5).await;

    let error = probe.refuse(U256::from(9)).call().await.expect_err("reverts");
    let refused = error.as_decoded_error::<Probe::Refused>().expect("the custom error");
    assert_eq!(refused, Probe::Refused { expected: U256::from(7), actual: U256::from(9) });

    // Sending estimates first, and fails with the same error.
    let error = probe.logAndRevert().send().await.expect_err("reverts");
    assert!(error.as_decoded_error::<Probe::Refused>().is_some(), "{error}");

    let error = probe.refuseWithReason().call().await.expect_err("reverts").to_string();
    assert!(error.contains("execution reverted: not today"), "{error}");
    let error = probe.refuseWithPanic(U256::ZERO).call().await.expect_err("reverts").to_string();
    assert!(error.contains("execution reverted: "), "{error}");
    assert_eq!(probe.refuseWithPanic(U256::from(1)).call().await.expect("fine"), U256::from(1));
    let error = probe.halt().call().await.expect_err("halts").to_string();
    assert!(error.contains("invalid 0xFE opcode"), "{error}");

    // With the gas given, the failing transaction is mined, and its log is not there. Another account sends it,
    // because alloy's nonce cache has counted the transaction that failed to be estimated.
    let probe = Probe::new(*probe.address(), crate::support::provider(&l1.url(), 1));
    let receipt = probe.logAndRevert().gas(100_000).send().await.expect("sent").get_receipt().await.expect("mined");
    assert!(!receipt.status());
    assert_eq!(receipt.logs(), []);
}

#[tokio::test]
async fn a_reorg_takes_receipts_and_logs_away() {
    let (l1, _) = start_default().await;
    let url = l1.url();
    let provider = provider(&url, 0);
    let probe = deploy_probe(&provider, 5).await;
    let watched = Filter::new().address(*probe.address()).event_signature(Probe::Stored::SIGNATURE_HASH);
    let filter = provider.new_filter(&watched).await.expect("a filter");
    let blocks = provider.new_block_filter().await.expect("a filter");

    let receipt = probe.store(U256::from(6)).send().await.expect("sent").get_receipt().await.expect("mined");
    let (hash, old_block) = (receipt.transaction_hash, receipt.block_hash.expect("a block"));
    let logs: Vec<alloy::rpc::types::Log> = provider.get_filter_changes(filter).await.expect("logs");
    assert_eq!(logs.len(), 1);
    assert!(!logs[0].removed);

    l1.chain().write(|chain, _| chain.reorg(1, Orphans::Return).expect("a reorg")).expect("not poisoned");
    assert_eq!(provider.get_transaction_receipt(hash).await.expect("an answer"), None);
    assert_eq!(provider.get_block_by_hash(old_block).await.expect("an answer"), None);
    assert_eq!(provider.get_logs(&watched).await.expect("logs"), vec![]);
    assert_eq!(probe.stored().call().await.expect("a value"), U256::from(5));
    let pending = provider.get_transaction_by_hash(hash).await.expect("an answer").expect("back in the pool");
    assert_eq!(pending.block_hash, None);
    let removed: Vec<alloy::rpc::types::Log> = provider.get_filter_changes(filter).await.expect("logs");
    assert_eq!(removed.len(), 1);
    assert!(removed[0].removed);
    assert_eq!(removed[0].block_hash, Some(old_block));

    l1.chain().write(|chain, now_s| chain.mine(now_s).map(drop)).expect("not poisoned").expect("mined");
    let again = provider.get_transaction_receipt(hash).await.expect("an answer").expect("mined again");
    assert_ne!(again.block_hash, Some(old_block), "a block made again is another block");
    assert_eq!(again.block_number, receipt.block_number);
    let hashes: Vec<alloy::primitives::B256> = provider.get_filter_changes(blocks).await.expect("hashes");
    assert_eq!(hashes, [old_block, again.block_hash.expect("a block")]);

    // anvil's own reorg drops the transactions and fills up with empty blocks.
    let height = provider.get_block_number().await.expect("a height");
    result(&url, "anvil_reorg", json!([1, []])).await;
    assert_eq!(provider.get_block_number().await.expect("a height"), height);
    assert_eq!(provider.get_transaction_by_hash(hash).await.expect("an answer"), None);
    assert_eq!(probe.stored().call().await.expect("a value"), U256::from(5));
}

#[tokio::test]
async fn time_is_the_tests() {
    let (l1, clock) = start_default().await;
    let url = l1.url();
    let provider = provider(&url, 0);
    let probe = deploy_probe(&provider, 0).await;
    assert_eq!(probe.timestamp().call().await.expect("a time"), U256::from(START_S + 1));
    clock.advance(100);
    result(&url, "evm_mine", json!([])).await;
    assert_eq!(probe.timestamp().call().await.expect("a time"), U256::from(START_S + 100));
    assert_eq!(result(&url, "evm_increaseTime", json!([3600])).await, json!(3600));
    result(&url, "evm_mine", json!([])).await;
    assert_eq!(probe.timestamp().call().await.expect("a time"), U256::from(START_S + 3700));
    result(&url, "evm_setNextBlockTimestamp", json!([START_S + 90_000])).await;
    let pending = probe.timestamp().block(BlockId::pending()).call().await.expect("a time");
    assert_eq!(pending, U256::from(START_S + 90_000));
    result(&url, "evm_mine", json!([])).await;
    clock.advance(10);
    result(&url, "evm_mine", json!([{"blocks": 1}])).await;
    assert_eq!(probe.timestamp().call().await.expect("a time"), U256::from(START_S + 90_010));
    let latest = provider.get_block_number().await.expect("a height");
    let ancestor = probe.ancestor(U256::from(latest - 1)).call().await.expect("a hash");
    let block = provider.get_block_by_number((latest - 1).into()).await.expect("found").expect("some");
    assert_eq!(ancestor, block.header.hash, "BLOCKHASH knows the chain");
}

#[tokio::test]
async fn gas_estimates_are_exact() {
    let (l1, _) = start_default().await;
    let provider = provider(&l1.url(), 0);
    let probe = deploy_probe(&provider, 1).await;
    let to = *probe.address();
    let calls: [(&str, Bytes); 4] = [
        ("store", Probe::storeCall { value: U256::from(77) }.abi_encode().into()),
        ("churn", Probe::churnCall { count: U256::from(5) }.abi_encode().into()),
        ("nested", Probe::nestedCall { depth: U256::from(20) }.abi_encode().into()),
        ("create", Probe::createCall { initial: U256::from(3) }.abi_encode().into()),
    ];
    for (name, input) in calls {
        let request = TransactionRequest::default().with_from(address(0)).with_to(to).with_input(input);
        let estimate = provider.estimate_gas(request.clone()).await.expect("an estimate");
        provider.call(request.clone().with_gas_limit(estimate)).await.unwrap_or_else(|error| {
            panic!("{name}: the estimate {estimate} does not work: {error}");
        });
        let less = provider.call(request.with_gas_limit(estimate - 1)).await;
        assert!(less.is_err(), "{name}: {estimate} is not the least");
    }
    let transfer = TransactionRequest::default().with_from(address(0)).with_to(address(1)).with_value(U256::from(1));
    assert_eq!(provider.estimate_gas(transfer.clone()).await.expect("an estimate"), 21_000);

    // EIP-7623: calldata to an account that does nothing is paid at the floor price.
    let data = transfer.clone().with_input(vec![1_u8; 1000]);
    assert_eq!(provider.estimate_gas(data.clone()).await.expect("an estimate"), 21_000 + 1000 * 40);
    let receipt = provider.send_transaction(data).await.expect("sent").get_receipt().await.expect("mined");
    assert_eq!(receipt.gas_used, 61_000);

    let burn =
        TransactionRequest::default().with_from(address(0)).with_to(to).with_input(Probe::burnCall {}.abi_encode());
    let error = provider.estimate_gas(burn).await.expect_err("no gas suffices").to_string();
    assert!(error.contains("gas required exceeds allowance (16777216)"), "{error}");
    let poor = transfer
        .with_from(alloy::primitives::Address::repeat_byte(0x77))
        .with_max_fee_per_gas(2_000_000_000)
        .with_max_priority_fee_per_gas(1);
    let error = provider.estimate_gas(poor).await.expect_err("no funds").to_string();
    assert!(error.contains("insufficient funds"), "{error}");
}

#[tokio::test]
async fn the_pairing_precompile_judges_proofs() {
    // The first vector of go-ethereum's test set for the pairing check ("jeff1"): the product is one.
    let holds = bytes!(
        "1c76476f4def4bb94541d57ebba1193381ffa7aa76ada664dd31c16024c43f593034dd2920f673e204fee2811c678745fc819b55d3e9d294e45c9b03a76aef41"
        "209dd15ebff5d46c4bd888e51a93cf99a7329636c63514396b4a452003a35bf704bf11ca01483bfa8b34b43561848d28905960114c8ac04049af4b6315a41678"
        "2bb8324af6cfc93537a2ad1a445cfd0ca2a71acd7ac41fadbf933c2a51be344d120a2a4cf30c1bf9845f20c6fe39e07ea2cce61f0c9bb048165fe5e4de877550"
        "111e129f1cf1097710d41c4ac70fcdfa5ba2023c6ff1cbeac322de49d1b6df7c2032c61a830e3c17286de9462bf242fca2883585b93870a73853face6a6bf411"
        "198e9393920d483a7260bfb731fb5d25f1aa493335a9e71297e485b7aef312c21800deef121f1e76426a00665e5c4479674322d4f75edadd46debd5cd992f6ed"
        "090689d0585ff075ec9e99ad690c3395bc4b313370b38ef355acdadcd122975b12c85ea5db8c6deb4aab71808dcb408fe3d1e7690c43d37b4ce6cc0166fa7daa"
    );
    let (l1, _) = start_default().await;
    let provider = provider(&l1.url(), 0);
    let pairing = |input: Bytes| {
        let to = alloy::primitives::Address::with_last_byte(8);
        provider.call(TransactionRequest::default().with_to(to).with_input(input))
    };
    let one = U256::from(1).to_be_bytes::<32>();
    assert_eq!(pairing(holds.clone()).await.expect("an answer").as_ref(), one);
    // One pair alone is a pairing of points other than zero, which is never one.
    assert_eq!(pairing(holds.slice(..192)).await.expect("an answer").as_ref(), [0; 32]);
    assert_eq!(pairing(Bytes::new()).await.expect("an answer").as_ref(), one, "the empty product is one");
    let mut off_curve = holds.to_vec();
    off_curve[63] ^= 1;
    assert!(pairing(off_curve.into()).await.is_err());

    // The neighbours that a verifier needs: addition and multiplication on the curve agree.
    let generator = [U256::from(1), U256::from(2)].map(|word| word.to_be_bytes::<32>()).concat();
    let sum = provider
        .call(
            TransactionRequest::default()
                .with_to(alloy::primitives::Address::with_last_byte(6))
                .with_input([generator.clone(), generator.clone()].concat()),
        )
        .await
        .expect("a point");
    let double = provider
        .call(
            TransactionRequest::default()
                .with_to(alloy::primitives::Address::with_last_byte(7))
                .with_input([generator, U256::from(2).to_be_bytes::<32>().to_vec()].concat()),
        )
        .await
        .expect("a point");
    assert_eq!(sum, double);
    assert_eq!(sum.len(), 64);
}

#[tokio::test]
async fn tags_snapshots_and_manual_mining() {
    let config =
        ChainConfig { mining: Mining::Manual, safe_depth: 2, finalized_depth: 4, ..ChainConfig::development() };
    let (l1, _) = start(config).await;
    let url = l1.url();
    let provider = provider(&url, 0);
    result(&url, "anvil_mine", json!(["0xa", "0xc"])).await;
    for (tag, expected) in [
        (BlockNumberOrTag::Earliest, 0),
        (BlockNumberOrTag::Finalized, 6),
        (BlockNumberOrTag::Safe, 8),
        (BlockNumberOrTag::Latest, 10),
        (BlockNumberOrTag::Pending, 11),
    ] {
        let block = provider.get_block_by_number(tag).await.expect("found").expect("some");
        assert_eq!(block.header.number, expected, "{tag}");
    }
    let tenth = provider.get_block_by_number(10.into()).await.expect("found").expect("some");
    assert_eq!(tenth.header.timestamp, START_S + 1 + 9 * 12);

    let snapshot = result(&url, "evm_snapshot", json!([])).await;
    let transfer = TransactionRequest::default().with_to(address(1)).with_value(U256::from(7));
    let sent = provider.send_transaction(transfer).await.expect("sent");
    let before = provider.get_balance(address(1)).await.expect("a balance");
    let pending = provider.get_balance(address(1)).block_id(BlockId::pending()).await.expect("a balance");
    assert_eq!(pending - before, U256::from(7), "the pending state has run the pool");
    assert_eq!(provider.get_transaction_count(address(0)).await.expect("a nonce"), 0);
    let pending = provider.get_transaction_count(address(0)).block_id(BlockId::pending()).await;
    assert_eq!(pending.expect("a nonce"), 1);
    let block = provider.get_block_by_number(BlockNumberOrTag::Pending).full().await.expect("found").expect("some");
    assert_eq!(block.transactions.len(), 1);
    result(&url, "evm_mine", json!([])).await;
    let hash = *sent.tx_hash();
    assert!(provider.get_transaction_receipt(hash).await.expect("an answer").is_some());

    result(&url, "anvil_setBalance", json!([address(2), "0x5"])).await;
    assert_eq!(provider.get_balance(address(2)).await.expect("a balance"), U256::from(5));
    assert_eq!(result(&url, "evm_revert", json!([snapshot])).await, json!(true));
    assert_eq!(provider.get_transaction_receipt(hash).await.expect("an answer"), None);
    assert_eq!(provider.get_block_number().await.expect("a height"), 10);
    assert_ne!(provider.get_balance(address(2)).await.expect("a balance"), U256::from(5));
    assert_eq!(result(&url, "evm_revert", json!([snapshot])).await, json!(false), "a snapshot serves once");
}

#[tokio::test]
async fn blocks_come_on_the_interval() {
    let config = ChainConfig { mining: Mining::Interval { seconds: 1 }, ..ChainConfig::development() };
    let (l1, _) = start(config).await;
    let provider = provider(&l1.url(), 0);
    let transfer = TransactionRequest::default().with_to(address(1)).with_value(U256::from(7));
    let receipt =
        provider.send_transaction(transfer).await.expect("sent").get_receipt().await.expect("mined by the clock");
    assert!(receipt.status());
    result(&l1.url(), "evm_setIntervalMining", json!([0])).await;
    l1.stop().await.expect("stops");
}

#[tokio::test]
async fn fee_history_feeds_alloys_estimator() {
    let (l1, _) = start_default().await;
    let provider = provider(&l1.url(), 0);
    for _ in 0..3 {
        let transfer = TransactionRequest::default()
            .with_to(address(1))
            .with_max_fee_per_gas(10_000_000_000)
            .with_max_priority_fee_per_gas(2_000_000_000);
        provider.send_transaction(transfer).await.expect("sent").get_receipt().await.expect("mined");
    }
    let history = provider.get_fee_history(2, BlockNumberOrTag::Latest, &[0.0, 50.0, 100.0]).await.expect("a history");
    assert_eq!(history.oldest_block, 2);
    assert_eq!(history.base_fee_per_gas.len(), 3);
    assert!(history.base_fee_per_gas.windows(2).all(|pair| pair[1] < pair[0]), "almost empty blocks get cheaper");
    assert_eq!(history.reward, Some(vec![vec![2_000_000_000; 3]; 2]));
    let estimate = provider.estimate_eip1559_fees().await.expect("fees");
    assert_eq!(estimate.max_priority_fee_per_gas, 2_000_000_000);
    let block = provider.get_block_by_number(3.into()).full().await.expect("found").expect("some");
    let transaction = block.transactions.txns().next().expect("one");
    assert_eq!(transaction.max_fee_per_gas(), 10_000_000_000);
    let base_fee = u128::from(block.header.base_fee_per_gas.expect("a base fee"));
    assert_eq!(transaction.effective_gas_price, Some(base_fee + 2_000_000_000));
}
