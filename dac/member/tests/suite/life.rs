//! A batch's way: offered, certified, committed, proven, executed, served.

use std::sync::Arc;

use alloy::primitives::{Address, B256, hex};
use joule_committee_client::{Publication, Question, Report, checkpoint_hash};
use joule_dac::{answers::StateProof, sync};
use joule_protocol::{Checkpoint, Digest, Key};
use joule_state::AbsenceOrLeaf;

use super::support::{LIMIT, Reports, TIMING, World, committee_of, start_all};

#[tokio::test(flavor = "multi_thread")]
async fn certificates_of_members_settle_on_l1_and_their_state_is_what_l1_executed() {
    let mut world = World::start().await;
    world.fund(40).await;
    let members = start_all(&world).await;
    let committee = committee_of(&members);
    let reports = Arc::new(Reports::default());
    let publisher = world.publisher(committee.clone(), reports.clone(), TIMING);

    let batch = world.seal(30).await;
    let published = publisher.publish(&world.keyset, world.now().await, batch.clone()).await.expect("asks");
    let Publication::Certified(certificate) = published else { panic!("{published:?}") };
    // Asking again, as after a restart, asks for the same statement and so gets the same promise.
    world.wait(60).await;
    let again = publisher.publish(&world.keyset, world.now().await, batch.clone()).await.expect("asks");
    let Publication::Certified(again) = again else { panic!("{again:?}") };
    assert_eq!(again.certificate().statement, certificate.certificate().statement);

    // The next batch is certified before the first is committed.
    let second = world.seal(20).await;
    let published = publisher.publish(&world.keyset, world.now().await, second.clone()).await.expect("asks");
    let Publication::Certified(second_certificate) = published else { panic!("{published:?}") };
    world.commit(&batch, certificate.certificate().to_calldata()).await;
    world.commit(&second, second_certificate.certificate().to_calldata()).await;
    world.execute(&batch).await;
    for member in &members {
        member.sees(|l1| l1.executed() == 1 && l1.committed() == 2).await;
        member.holds(2, 1).await;
    }

    // Data by the checkpoint's hash, whole and chunk by chunk.
    let (parent, checkpoint) = (checkpoint_hash(&batch.parent), checkpoint_hash(&batch.checkpoint));
    let data = committee.data(parent, checkpoint, LIMIT).await.expect("data");
    assert_eq!(data.data_bytes(), batch.data_bytes);
    for member in committee.members() {
        for (index, chunk) in data.chunks().iter().enumerate() {
            let probed = committee.probe(member, &batch.parent, &batch.checkpoint, index as u32, LIMIT).await;
            let proof = probed.expect("shown");
            assert_eq!(proof.verify(&batch.parent, &batch.checkpoint, index), Ok(&chunk[..]));
        }
        let behind = data.chunks().len() as u32;
        assert!(committee.probe(member, &batch.parent, &batch.checkpoint, behind, LIMIT).await.is_err());
    }

    // The state that L1 executed, although the members hold a later one: leaves and paths that lead to its root.
    let chain = B256::new(Key::CHAIN.to_bytes());
    let nobody = Question::Account(Address::repeat_byte(0x77));
    for member in committee.members() {
        for (question, is_present) in [(Question::State(chain), true), (nobody, false)] {
            let bytes = committee.ask(member, question, LIMIT).await.expect("served");
            let shown: StateProof = serde_json::from_slice(&bytes).expect("a proof");
            assert_eq!((shown.batch_number, shown.checkpoint_hash), (1, checkpoint));
            assert_eq!(shown.is_present, is_present);
            let encoded = hex::decode(&shown.checkpoint).expect("hex");
            let encoded = encoded.try_into().expect("288 bytes");
            assert_eq!(Checkpoint::decode(&encoded), Some(Ok(batch.checkpoint)));
            assert_eq!(root_of(&shown), batch.checkpoint.state_root);
        }
    }
    // All members signed, the ones that were not needed as well.
    reports.wait_for(1, |report| matches!(report, Report::Counted { count: 5, .. })).await;
    assert!(!reports.any(|report| matches!(report, Report::Alarm { .. } | Report::FellBack(_))));

    // A snapshot stands in for data that nobody is promised any more; until then nothing is dropped.
    let member = &members[0].member;
    assert!(sync::snapshot_and_prune(member, 0).await.expect("writes").is_some());
    assert_eq!(member.status().await.expect("a status").oldest_batch, 1);
    world.execute(&second).await;
    world.wait(40_000).await;
    members[0].sees(|l1| l1.executed() == 2 && l1.time_s > 1_800_040_000).await;
    sync::snapshot_and_prune(member, 0).await.expect("prunes");
    assert_eq!(member.status().await.expect("a status").oldest_batch, 2);
    for member in members {
        member.stop().await;
    }
}

/// What L1's `Escape` computes from a path.
fn root_of(shown: &StateProof) -> Digest {
    let key = |word: B256| Key::from_bytes(word.0);
    let object = hex::decode(&shown.object).expect("hex");
    let words: Vec<u32> =
        object.chunks(4).map(|word| u32::from_be_bytes(word.try_into().expect("whole words"))).collect();
    let object = (!words.is_empty()).then(|| {
        let kind = key(shown.leaf_key).kind().expect("a kind");
        joule_protocol::Object::from_words(kind, &words).expect("an object")
    });
    let leaf = joule_state::Leaf { position: shown.position, next: key(shown.next_key), object };
    let siblings: Vec<_> = shown
        .siblings
        .iter()
        .map(|sibling| Digest::from_hash(joule_protocol::Hash(sibling.0)).expect("canonical"))
        .collect();
    let kind = if shown.is_present { AbsenceOrLeaf::Leaf } else { AbsenceOrLeaf::Absence };
    let siblings = siblings.try_into().expect("32 siblings");
    let proof = joule_state::Proof { kind, key: key(shown.leaf_key), leaf, siblings };
    let encoded = hex::decode(&shown.checkpoint).expect("hex").try_into().expect("288 bytes");
    let root = Checkpoint::decode(&encoded).expect("a checkpoint").expect("canonical").state_root;
    assert!(proof.verify(root, &key(shown.key)).is_some(), "the path leads to the root");
    root
}
