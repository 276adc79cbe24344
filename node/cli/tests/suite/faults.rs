//! Full nodes that meet what must not be: two chains under one key, batches that go away, certificates that are none, and a wrong state that L1 has executed.

use std::sync::atomic::Ordering;

use alloy::{
    primitives::{B256, Bytes, U256},
    signers::{SignerSync as _, local::PrivateKeySigner},
};
use joule_committee::{Certificate, CertificateStatement, CompactSignature, Scheme, Signatures, ecdsa_keyset_hash};
use joule_committee_client::checkpoint_hash;
use joule_contracts::{Availability, Rollup};
use joule_follow::genesis_checkpoint;
use joule_l1::posting;
use joule_node::{RunningFullNode, Start};
use joule_protocol::{Accumulator, Checkpoint, Digest, Hash};
use joule_rpc::{Node as _, wire::DataMode};
use joule_settlement::{ProofRequest, ProofSource as _};
use joule_storage::{BatchRecord, Database, Stage};
use jsonrpsee::{core::client::ClientT as _, http_client::HttpClientBuilder, rpc_params};

use crate::{
    liar::Liar,
    world::{Sequencer, TestProofs, World, reaches, until_l1},
};

fn head(database: &Database) -> Checkpoint {
    *database.view().expect("a view").head()
}

fn is_at(database: &Database, wanted: &Checkpoint) -> bool {
    database.view().expect("a view").checkpoint(wanted.block_number).expect("reads").as_ref() == Some(wanted)
}

fn batch(database: &Database, number: u64) -> Option<BatchRecord> {
    database.view().expect("a view").batch(number).expect("reads")
}

/// The certificate that a node has kept.
fn certificate(database: &Database, number: u64) -> Option<Certificate> {
    let bytes = database.view().expect("a view").certificate(number).expect("reads")?;
    Some(Certificate::decode(&bytes).expect("a certificate"))
}

/// That a node answers questions, whatever it has halted for.
async fn serves(node: &RunningFullNode) {
    let client = HttpClientBuilder::default().build(format!("http://{}", node.rpc())).expect("a URL");
    let number: String = client.request("eth_blockNumber", rpc_params![]).await.expect("an answer");
    assert_eq!(number, format!("{:#x}", head(node.node().database()).block_number));
    let holder = format!("0x{}", hex::encode(crate::support::key(0).address.0));
    let _: String = client.request("eth_getBalance", rpc_params![holder, "latest"]).await.expect("an answer");
}

/// That a node takes nothing more: the sequencer has gone on, and its blocks have been gossiped.
async fn takes_nothing_more(node: &RunningFullNode, sequencer: &Sequencer, world: &mut World) {
    let before = head(node.node().database());
    sequencer.pay(world).await;
    // Two looks at L1, each of which is followed by questions to peers: enough for anything that would come.
    let mut l1 = node.node().l1();
    for _ in 0..2 {
        l1.changed().await.expect("L1 is followed");
    }
    assert_eq!(head(node.node().database()), before);
    let refused = node.node().submit(vec![1]).await.expect_err("refused");
    assert!(refused.to_string().contains("halted"), "{refused}");
    assert_eq!(node.metrics().halted.get(), 1);
    serves(node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_sequencer_signs_one_chain_and_commits_another_l1_wins() {
    let mut world = World::start().await;
    let shown = world.sequences_only("shown").await;
    shown.funded().await;
    shown.pay(&mut world).await;
    let node = world.full("node", Start::Blocks, &shown.addresses(), None).await;
    let before = shown.head();
    reaches(&node, &before).await;
    shown.stop().await;

    // The same key, and other blocks.
    world.begin_anew();
    let committed = world.sequencer().await;
    committed.funded().await;
    committed.pay(&mut world).await;
    let last = committed.executed(1).await;
    let after = committed.head();
    let database = node.node().database().clone();
    until_l1(&node, || {
        is_at(&database, &after) && batch(&database, last).is_some_and(|batch| batch.stage == Stage::Executed)
    })
    .await;
    assert!(!is_at(&database, &before), "what it had followed is undone");
    assert_eq!(node.node().halted(), None, "it goes on where L1 is");
    assert!(node.metrics().equivocations.get() >= 1, "and does not keep it to itself");
    assert!(node.metrics().render().contains("joule_equivocations_total"));
    serves(&node).await;
    // What is undone is no evidence any more, but for the alarm; what L1 has executed is not undone either way, once that is noted.
    until_l1(&node, || database.view().expect("a view").floor().block_number > 0).await;
    node.stop().await.expect("stops");
    committed.stop().await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_l1_takes_back_is_followed_when_it_comes_again() {
    let mut world = World::start().await;
    world.proofs_are_up.store(false, Ordering::SeqCst);
    let sequencer = world.sequencer().await;
    sequencer.funded().await;
    sequencer.pay(&mut world).await;
    let node = world.full("node", Start::Blocks, &sequencer.addresses(), None).await;
    let database = node.node().database().clone();
    until_l1(&node, || batch(&database, 1).is_some_and(|batch| batch.stage == Stage::Committed)).await;
    let first = certificate(&database, 1).expect("checked before the batch counts");
    assert_eq!(first.statement.revert_count, 0);
    let blocks = head(&database);

    sequencer.settling().handle().revert(0).await.expect("settles");
    until_l1(&node, || batch(&database, 1).is_some_and(|batch| batch.revert_count == 1)).await;
    // Committed anew, under a certificate of its own: the old one says nothing of it.
    let second = certificate(&database, 1).expect("checked again");
    assert_eq!(second.statement.revert_count, 1);
    assert_eq!(second.statement.checkpoint, first.statement.checkpoint);
    assert!(is_at(&database, &blocks), "the blocks are the same and stay");
    assert_eq!(node.node().halted(), None);

    world.proofs_are_up.store(true, Ordering::SeqCst);
    sequencer.pay(&mut world).await;
    let last = sequencer.executed(2).await;
    until_l1(&node, || batch(&database, last).is_some_and(|batch| batch.stage == Stage::Executed)).await;
    reaches(&node, &sequencer.head()).await;
    // What is executed for good is not undone any more, once that is noted; here as at the sequencer, which prunes in its own time.
    let executed = batch(&database, last).expect("there").last_block;
    let floor = |database: &Database| database.view().expect("a view").floor().block_number;
    until_l1(&node, || floor(&database) >= executed).await;
    assert_eq!(floor(&database), executed);
    // Counted after it is done.
    while sequencer.node.metrics().undo_pruned_blocks.get() < executed {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(floor(&sequencer.database), executed);
    node.stop().await.expect("stops");
    sequencer.stop().await;
    world.stop().await;
}

/// A certificate of a statement by these keys, as a committee of theirs would make it.
fn signed(statement: &CertificateStatement, keys: &[PrivateKeySigner]) -> Certificate {
    let mut keys = keys.to_vec();
    keys.sort_by_key(PrivateKeySigner::address);
    let keyset: Vec<_> = keys.iter().map(PrivateKeySigner::address).collect();
    let quorum = keys.len() as u32;
    let statement = CertificateStatement { keyset_hash: ecdsa_keyset_hash(quorum, &keyset), ..*statement };
    let sign = |key: &PrivateKeySigner| {
        let signature = key.sign_hash_sync(&statement.digest()).expect("signs");
        let mut vs = B256::from(signature.s());
        vs.0[0] |= u8::from(signature.v()) << 7;
        CompactSignature { r: B256::from(signature.r()), vs }
    };
    let signatures = keys.iter().map(sign).collect();
    Certificate { statement, quorum, signatures: Signatures::Ecdsa { keyset, signatures } }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_certificate_a_node_stays_at_the_last_certified_state() {
    let mut world = World::start().await;
    let sequencer = world.sequencer().await;
    sequencer.funded().await;
    sequencer.pay(&mut world).await;
    sequencer.executed(1).await;
    let liar = Liar::before(&world.url).await;
    let node = world.full_before("node", &liar.url, &sequencer.addresses()).await;
    let database = node.node().database().clone();
    reaches(&node, &sequencer.head()).await;

    let strangers: Vec<_> =
        (1..=3_u8).map(|index| PrivateKeySigner::from_bytes(&B256::with_last_byte(index)).expect("a key")).collect();
    for fault in ["missing", "empty", "wrong committee", "below the threshold", "other data"] {
        let good = sequencer.executed(1).await;
        until_l1(&node, || batch(&database, good).is_some_and(|batch| batch.stage == Stage::Executed)).await;
        let (strangers, earlier) = (strangers.clone(), certificate(&database, good).expect("kept"));
        let sequencers = sequencer.database.clone();
        liar.lies(move |number, shown| {
            if number <= good {
                return Some(Bytes::copy_from_slice(shown));
            }
            let real = certificate(&sequencers, number).expect("settlement keeps it");
            let told = match fault {
                "missing" => return None,
                "empty" => return Some(Bytes::new()),
                "wrong committee" => signed(&real.statement, &strangers),
                "below the threshold" => {
                    let Signatures::Ecdsa { keyset, mut signatures } = real.signatures.clone() else { unreachable!() };
                    signatures.truncate(1);
                    Certificate { signatures: Signatures::Ecdsa { keyset, signatures }, ..real }
                }
                // The committee's own, of a batch before: right keys, right number of them, other data.
                _ => Certificate { quorum: real.quorum, ..earlier.clone() },
            };
            Some(told.to_calldata())
        });
        sequencer.pay(&mut world).await;
        let last = sequencer.executed(good + 1).await;
        until_l1(&node, || node.node().halted().is_some()).await;
        let reason = node.node().halted().expect("held");
        let names = match fault {
            "missing" => "is missing: the L1 node does not have the transaction",
            "empty" => "is missing: L1 took one of scheme 1, and the commit shows nothing",
            "wrong committee" => "is not that of the committee",
            "below the threshold" => "1 signed, and 2 must",
            _ => "does not verify",
        };
        assert!(reason.contains(names) && reason.contains(&format!("batch {}", good + 1)), "{fault}: {reason}");
        let noted = database.view().expect("a view").last_batch().expect("reads").expect("there");
        assert_eq!(noted.number, good, "{fault}: the last certified state");
        takes_nothing_more(&node, &sequencer, &mut world).await;

        liar.is_mended();
        until_l1(&node, || node.node().halted().is_none()).await;
        assert_eq!(node.metrics().halted.get(), 0);
        until_l1(&node, || batch(&database, last).is_some_and(|batch| batch.stage == Stage::Executed)).await;
        reaches(&node, &sequencer.head()).await;
    }
    node.stop().await.expect("stops");
    sequencer.stop().await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_committee_that_signs_with_bls_is_read_from_l1_and_its_certificates_are_checked() {
    let mut world = World::with_committee(Scheme::Bls).await;
    let sequencer = world.sequencer().await;
    sequencer.funded().await;
    sequencer.pay(&mut world).await;
    let last = sequencer.executed(1).await;
    let status = sequencer.node.node().committee_status().expect("settles");
    assert_eq!(status.quorum, 2);
    assert!(status.members.iter().all(|member| member.key.len() == 64), "keys in G1");
    let signed = status.members.iter().filter(|member| member.last_signed_batch == Some(last)).count();
    assert!(signed >= 2, "{status:?}");

    let liar = Liar::before(&world.url).await;
    let node = world.full_before("node", &liar.url, &sequencer.addresses()).await;
    let database = node.node().database().clone();
    until_l1(&node, || batch(&database, last).is_some_and(|batch| batch.stage == Stage::Executed)).await;
    let kept = certificate(&database, last).expect("kept");
    assert!(matches!(kept.signatures, Signatures::Bls { .. }));
    // One bit of who signed.
    let sequencers = sequencer.database.clone();
    liar.lies(move |number, shown| {
        if number <= last {
            return Some(Bytes::copy_from_slice(shown));
        }
        let mut real = certificate(&sequencers, number).expect("settlement keeps it");
        if let Signatures::Bls { bitmap, .. } = &mut real.signatures {
            *bitmap ^= U256::from(7);
        }
        Some(real.to_calldata())
    });
    sequencer.pay(&mut world).await;
    sequencer.executed(last + 1).await;
    until_l1(&node, || node.node().halted().is_some()).await;
    let reason = node.node().halted().expect("held");
    assert!(reason.contains(&format!("the certificate of batch {} does not verify", last + 1)), "{reason}");
    liar.is_mended();
    until_l1(&node, || node.node().halted().is_none()).await;
    reaches(&node, &sequencer.head()).await;
    node.stop().await.expect("stops");
    sequencer.stop().await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keyset_that_governance_seats_is_asked_from_then_on() {
    let mut world = World::with_committee(Scheme::Bls).await;
    let sequencer = world.sequencer().await;
    sequencer.funded().await;
    sequencer.pay(&mut world).await;
    let last = sequencer.executed(1).await;
    let node = world.full("node", Start::Blocks, &sequencer.addresses(), None).await;
    let committee = || sequencer.node.node().committee_status().expect("settles");
    let before = committee();
    assert_eq!(certificate(&sequencer.database, last).expect("kept").statement.keyset_hash, before.keyset_hash);

    // Two of the three stay, and both must sign.
    world.seats(&world.accounts()[1..], 1).await;
    sequencer.pay(&mut world).await;
    let next = sequencer.executed(last + 1).await;
    let now = committee();
    assert_ne!(now.keyset_hash, before.keyset_hash);
    assert_eq!((now.members.len(), now.quorum), (2, 2));
    assert_eq!(now.mode, DataMode::Certified, "no data had to go to L1");
    assert!(now.members.iter().all(|member| member.last_signed_batch == Some(next)), "{now:?}");
    let database = node.node().database().clone();
    until_l1(&node, || batch(&database, next).is_some_and(|batch| batch.stage == Stage::Executed)).await;
    let kept = certificate(&database, next).expect("checked against the committee of its time");
    assert_eq!(kept.statement.keyset_hash, now.keyset_hash);
    assert_eq!(certificate(&database, last).expect("kept").statement.keyset_hash, before.keyset_hash);
    node.stop().await.expect("stops");
    sequencer.stop().await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_state_that_l1_has_executed_halts_a_node_for_good() {
    let mut world = World::start().await;
    let sequencer = world.sequences_only("sequencer").await;
    sequencer.funded().await;
    sequencer.pay(&mut world).await;
    let node = world.full("node", Start::Blocks, &sequencer.addresses(), None).await;
    let honest = sequencer.head();
    reaches(&node, &honest).await;

    // The sequencer's very blocks, with another root at the end. The verifier of this L1 takes everything for proven.
    let genesis = genesis_checkpoint(&world.genesis);
    let view = sequencer.database.view().expect("a view");
    let mut chunks: Vec<Vec<u8>> =
        (1..=honest.block_number).map(|number| view.block(number).expect("reads").expect("there").chunk).collect();
    drop(view);
    let root = genesis.state_root.to_hash();
    let last = chunks.last_mut().expect("blocks");
    let end = last.len() - 32;
    last[end..].copy_from_slice(&root.0);
    let start = B256::new(genesis.data_acc.0.0);
    let acc = posting::accumulate(start, chunks.iter().map(Vec::as_slice));
    let forged = Checkpoint {
        state_root: Digest::from_hash(root).expect("canonical"),
        data_acc: Accumulator(Hash(acc.0)),
        ..honest
    };
    assert_ne!(forged.state_root, honest.state_root);
    let record = BatchRecord {
        number: 1,
        revert_count: 0,
        parent: genesis,
        checkpoint: forged,
        first_block: 1,
        last_block: honest.block_number,
        data_bytes: chunks.iter().map(|chunk| chunk.len() as u64).sum(),
        certificate_expiry: None,
        stage: Stage::Sealed,
        l1_transaction: None,
    };
    let proof = TestProofs::new(&world).prove(ProofRequest { batch: record }).await.expect("a test's proof");
    let rollup = Rollup::new(world.addresses.rollup, world.as_sequencer());
    let posted = alloy::rpc::types::TransactionRequest::default();
    let posted = {
        use alloy::network::TransactionBuilder as _;
        posted.with_to(world.addresses.rollup).with_input(posting::input(
            start,
            start,
            chunks.iter().map(Vec::as_slice),
        ))
    };
    world.send_as_sequencer(posted).await;
    let header = Rollup::Batch {
        number: 1,
        parentCheckpoint: checkpoint_hash(&genesis),
        checkpoint: (&forged).into(),
        dataBytes: record.data_bytes,
    };
    let settled = rollup.settleBatch(header, Availability::OnL1 { parent: genesis }.encode(), proof, Vec::new());
    let receipt = settled.send().await.expect("sends").get_receipt().await.expect("mined");
    assert!(receipt.status(), "L1 takes it");
    assert_eq!(rollup.executedCount().call().await.expect("answers"), 1);

    until_l1(&node, || node.node().halted().is_some()).await;
    let reason = node.node().halted().expect("halted");
    let names = format!("block {} of batch 1 leads to the root {} here", honest.block_number, honest.state_root);
    assert!(reason.contains(&names), "{reason}");
    takes_nothing_more(&node, &sequencer, &mut world).await;
    assert!(is_at(node.node().database(), &honest), "what it has executed itself stays");
    node.stop().await.expect("stops");
    // Starting again helps nothing: L1 is as it was.
    let again = world.full("node", Start::Blocks, &sequencer.addresses(), None).await;
    until_l1(&again, || again.node().halted().is_some()).await;
    again.stop().await.expect("stops");
    sequencer.stop().await;
    world.stop().await;
}
