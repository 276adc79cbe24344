//! Members and sequencers that fail or lie.

use std::{
    collections::VecDeque,
    future::pending,
    sync::{Arc, Weak},
    time::Duration,
};

use alloy::primitives::B256;
use axum::{Router, body::Bytes, extract::State, http::StatusCode, response::IntoResponse, routing::post};
use joule_committee::{FallBack, Proposal, SecretKey, Share, ShareError, SigningLog};
use joule_committee_client::{
    Committee, GatherTiming, Publication, RefusalCode, Report, SealedBatch, SignedOffer, Unpublished, checkpoint_hash,
    route,
};
use joule_dac::{bench::BatchMaker, l1::L1View, member::Member};
use joule_state::BlockItems;
use tokio::{net::TcpListener, sync::watch};

use super::support::{
    LIMIT, MEMBERS, Reports, RunningMember, TIMING, World, committee_of, endpoints, member_key, seats, start_all,
};

/// For gatherings that are meant to fail.
const IMPATIENT: GatherTiming = GatherTiming { deadline: Duration::from_secs(4), attempts: 3, ..TIMING };

/// How a member can be dishonest.
#[derive(Clone, Copy)]
enum Lie {
    /// Takes the offer and never answers.
    Silence,
    /// Signs with a key that is not its own.
    WrongKey(usize),
    /// Signs another checkpoint, with its own key.
    OtherCheckpoint(usize),
}

/// For whoever does not look at passes.
async fn any_nonce() -> Vec<u8> {
    vec![7; 32]
}

/// Something in the place of a member; serves nonsense as data.
async fn liar(lie: Lie) -> String {
    liar_with(lie, Arc::new(b"this is no data".to_vec())).await
}

async fn liar_with(lie: Lie, data: Arc<Vec<u8>>) -> String {
    async fn sign(State(lie): State<Lie>, body: Bytes) -> impl IntoResponse {
        let mut statement = *SignedOffer::decode(&body).expect("an offer").offer().statement();
        let (account, key) = match lie {
            Lie::Silence => return pending().await,
            Lie::WrongKey(index) => (member_key(index).address(), member_key(99)),
            Lie::OtherCheckpoint(index) => {
                statement.checkpoint = B256::repeat_byte(0xbd);
                (member_key(index).address(), member_key(index))
            }
        };
        let mut log = SigningLog::new(statement.l1_chain_id, statement.rollup);
        let Ok(Proposal::New(entry)) = log.propose(&statement) else { panic!("a fresh log") };
        let permit = log.record(entry).expect("recorded");
        Share::sign(&permit, account, &SecretKey::Ecdsa(key)).expect("signs").encode()
    }
    let router = Router::new()
        .route(route::OFFERS, post(sign).get(any_nonce))
        .fallback(move || async move { data.to_vec() })
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(lie);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

/// The honest members, and others in the places of the last ones.
async fn with_liars(members: &[RunningMember], lies: &[(usize, Lie)]) -> Arc<Committee> {
    let mut endpoints: Vec<_> = members.iter().map(|member| member.seat.endpoint.clone()).collect();
    for (index, lie) in lies {
        endpoints[*index].url = liar(*lie).await.parse().expect("a URL");
    }
    Arc::new(Committee::new(endpoints).expect("a client"))
}

#[tokio::test(flavor = "multi_thread")]
async fn two_of_five_may_fail_in_any_way_and_a_third_is_reported_as_the_fallback() {
    let mut world = World::start().await;
    world.fund(10).await;
    let members = start_all(&world).await;

    // One silent, one forging: the certificate is there as soon as three have signed, with an alarm on the way.
    let batch = world.seal(8).await;
    let committee = with_liars(&members, &[(3, Lie::Silence), (4, Lie::WrongKey(4))]).await;
    let reports = Arc::new(Reports::default());
    let publisher = world.publisher(committee.clone(), reports.clone(), TIMING);
    let published = publisher.publish(&world.keyset, world.now().await, batch.clone()).await.expect("asks");
    assert!(matches!(published, Publication::Certified(_)), "{published:?}");
    let forged = |report: &Report| matches!(report, Report::BadShare { error: ShareError::Forged { .. }, .. });
    reports.wait_for(1, forged).await;
    // Data is had from the honest ones, whoever is asked first.
    let (parent, checkpoint) = (checkpoint_hash(&batch.parent), checkpoint_hash(&batch.checkpoint));
    for _ in 0..MEMBERS {
        if let Ok(data) = committee.data(parent, checkpoint, LIMIT).await {
            assert_eq!(data.data_bytes(), batch.data_bytes);
        } else {
            panic!("three members have the data");
        }
    }

    // Three dishonest ones: no certificate, and the caller is told so.
    let lies = [(2, Lie::OtherCheckpoint(2)), (3, Lie::WrongKey(3)), (4, Lie::WrongKey(4))];
    let committee = with_liars(&members, &lies).await;
    let reports = Arc::new(Reports::default());
    let publisher = world.publisher(committee, reports.clone(), TIMING);
    let next = world.seal(5).await;
    let published = publisher.publish(&world.keyset, world.now().await, next).await.expect("asks");
    let lost = Publication::FallBack(Unpublished::Committee(FallBack::QuorumLost { able: 2, quorum: 3 }));
    assert_eq!(published, lost);
    assert!(reports.any(|report| matches!(report, Report::Alarm { able: 3, quorum: 3 })));
    assert!(reports.any(|report| matches!(report, Report::BadShare { error: ShareError::SignedOther { .. }, .. })));

    // Whoever is well has the batch all the same: the two honest members answered, in time or after it.
    let answered = |report: &Report| matches!(report, Report::Counted { .. } | Report::Late { .. });
    reports.wait_for(2, answered).await;

    // Three that do not answer: the deadline speaks.
    let lies = [(2, Lie::Silence), (3, Lie::Silence), (4, Lie::Silence)];
    let committee = with_liars(&members, &lies).await;
    let publisher = world.publisher(committee, Arc::new(Reports::default()), IMPATIENT);
    let last = world.seal(3).await;
    let published = publisher.publish(&world.keyset, world.now().await, last).await.expect("asks");
    let late = |reason: &Publication| {
        matches!(reason, Publication::FallBack(Unpublished::Committee(FallBack::DeadlinePassed { quorum: 3, .. })))
    };
    assert!(late(&published), "{published:?}");
    for member in members {
        member.stop().await;
    }
}

/// Changes one thing of a batch that leads somewhere.
fn with_blocks(batch: &SealedBatch, change: impl Fn(&mut BlockItems)) -> SealedBatch {
    let blocks = batch.blocks.iter().map(|bytes| {
        let mut items = BlockItems::decode(bytes).expect("items");
        change(&mut items);
        items.encode()
    });
    SealedBatch { blocks: blocks.collect(), ..batch.clone() }
}

async fn refused(member: &RunningMember, offer: &SignedOffer) -> RefusalCode {
    match member.member.offer(offer.encode()).await {
        Ok(share) => panic!("signed {:?}", share.statement),
        Err(refusal) => refusal.code,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lying_sequencer_gets_no_signature_and_an_honest_one_does_afterwards() {
    let mut world = World::start().await;
    world.fund(10).await;
    let members = start_all(&world).await;
    let member = &members[0];
    member.sees(|l1| l1.request_accs.len() == 5).await;
    let (fork, l1) = (world.maker.clone(), world.view().await);
    let (keyset, expiry) = (world.keyset.hash(), l1.time_s + 20_000);
    let batch = world.seal(12).await;
    let offer = |maker: &BatchMaker, batch: &SealedBatch, l1: &L1View, expiry| {
        maker.offer(batch.clone(), l1, keyset, expiry).expect("an offer")
    };
    let good = offer(&world.maker, &batch, &l1, expiry);

    // Somebody else's signature, and nobody's.
    let other = BatchMaker::new(world.genesis, 99);
    assert_eq!(refused(member, &offer(&other, &batch, &l1, expiry)).await, RefusalCode::NotSequencer);
    let mut unsigned = good.encode();
    let last = unsigned.len() - 1;
    unsigned[last] ^= 1;
    let refusal = member.member.offer(unsigned).await.expect_err("refused");
    assert_eq!(refusal.code, RefusalCode::NotSequencer);
    assert_eq!(member.member.offer(vec![1, 2, 3]).await.expect_err("refused").code, RefusalCode::Malformed);

    // Blocks that do not lead where the offer says: without a transaction, at another time, and of another length.
    for change in [
        (|items: &mut BlockItems| drop(items.transactions.pop())) as fn(&mut BlockItems),
        |items| items.timestamp += 1,
        |items| items.requests.clear(),
        |items| items.transactions.push(vec![0; 40]),
    ] {
        let lie = offer(&world.maker, &with_blocks(&batch, change), &l1, expiry);
        assert_eq!(refused(member, &lie).await, RefusalCode::DoesNotFollow);
        assert_eq!(member.member.last_number().expect("reads"), 0, "nothing of it stays");
    }
    let longer = SealedBatch { data_bytes: batch.data_bytes + 1, ..batch.clone() };
    assert_eq!(refused(member, &offer(&world.maker, &longer, &l1, expiry)).await, RefusalCode::DoesNotFollow);

    // Requests that are not L1's, a drop that was not, expiries that L1 or the member does not take, another rollup.
    let (mut forged, mut checkpoint) = (batch.clone(), batch.checkpoint);
    checkpoint.priority_acc.0.0[0] ^= 1;
    forged.checkpoint = checkpoint;
    assert_eq!(refused(member, &offer(&world.maker, &forged, &l1, expiry)).await, RefusalCode::WrongRequests);
    let dropped = L1View { revert_count: 1, ..l1.clone() };
    assert_eq!(refused(member, &offer(&world.maker, &batch, &dropped, expiry)).await, RefusalCode::NotNext);
    for expiry in [l1.time_s + 7_000, l1.time_s + 200_000] {
        assert_eq!(refused(member, &offer(&world.maker, &batch, &l1, expiry)).await, RefusalCode::BadExpiry);
    }
    let elsewhere = L1View { rollup: alloy::primitives::Address::ZERO, ..l1.clone() };
    assert_eq!(refused(member, &offer(&world.maker, &batch, &elsewhere, expiry)).await, RefusalCode::WrongNetwork);

    // The truth is signed, and again, and then nothing else for this place: no other batch, no other expiry.
    let share = member.member.offer(good.encode()).await.expect("signs");
    assert_eq!(share.verify(&world.keyset).expect("verifies").share().statement, *good.offer().statement());
    assert_eq!(member.member.offer(good.encode()).await.expect("signs again"), share);
    let mut forked = fork;
    let first_request = world.history().await.requests()[0].encode();
    let (mut requests, mut none) = (VecDeque::from([first_request]), VecDeque::new());
    let second_truth = forked.seal(&mut requests, &mut none, 1, l1.time_s).expect("seals");
    assert_eq!(refused(member, &offer(&forked, &second_truth, &l1, expiry)).await, RefusalCode::Conflict);
    assert_eq!(refused(member, &offer(&world.maker, &batch, &l1, expiry + 1)).await, RefusalCode::Conflict);

    // Without the batch before it, a batch waits; an offer is no excuse to forget what was promised.
    let skipped = SealedBatch { number: 3, ..batch.clone() };
    assert_eq!(refused(member, &offer(&world.maker, &skipped, &l1, expiry)).await, RefusalCode::Syncing);
    for member in members {
        member.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_dies_anywhere_keeps_its_promises_and_finishes_its_batch() {
    let mut world = World::start().await;
    world.fund(20).await;
    let mut all = seats().await;
    let peers = endpoints(&all);
    let seat = all.remove(0);
    let batch = world.seal(24).await;
    assert!(!batch.blocks.is_empty());
    let l1 = world.view().await;
    let (keyset, expiry) = (world.keyset.hash(), l1.time_s + 20_000);
    let fork = world.maker.clone();
    let offer = fork.offer(batch.clone(), &l1, keyset, expiry).expect("an offer");

    // Dead after a block and before the batch: the block is undone at the start, and the batch taken from its beginning.
    {
        let database = joule_storage::Database::open(seat.path(), &world.genesis).expect("opens");
        let execution = database.execution().expect("a state");
        let items = BlockItems::decode(&batch.blocks[0]).expect("items");
        let executed = execution.replay(&items).expect("executes");
        let record = joule_storage::BlockRecord::new(&executed, None);
        database.commit_block(&record, &executed.sealed.changes).expect("commits");
    }
    let member = seat.start(&world, peers.clone()).await;
    assert_eq!(member.member.database().view().expect("a view").head().block_number, 0);
    member.sees(|view| view.request_accs.len() == l1.request_accs.len()).await;
    let share = member.member.offer(offer.encode()).await.expect("signs");

    // Dead after the promise: the same share again, and nothing else.
    let member = member.stop().await.start(&world, peers).await;
    assert_eq!(member.member.last_number().expect("reads"), 1);
    member.sees(|view| view.request_accs.len() == l1.request_accs.len()).await;
    assert_eq!(member.member.offer(offer.encode()).await.expect("signs again"), share);
    let other = fork.offer(batch, &l1, keyset, expiry + 5).expect("an offer");
    assert_eq!(refused(&member, &other).await, RefusalCode::Conflict);
    // What it holds is what it was offered, to the bit.
    let client = committee_of(std::slice::from_ref(&member));
    let served = client.offer(1, offer.offer().statement().checkpoint, LIMIT).await.expect("served");
    assert_eq!(served, offer);
    member.stop().await;
}

/// A member behind a line so slow that everybody else has signed long before: nothing passes until `open` says so.
async fn slowed(member: &RunningMember, open: watch::Receiver<bool>) -> String {
    type Slow = (Weak<Member>, watch::Receiver<bool>);
    async fn pass(State((member, mut open)): State<Slow>, body: Bytes) -> impl IntoResponse {
        open.wait_for(|is_open| *is_open).await.expect("the test goes on");
        let member = member.upgrade().expect("the member runs");
        match member.offer(body.to_vec()).await {
            Ok(share) => share.encode().into_response(),
            Err(refusal) => {
                let status = StatusCode::from_u16(refusal.code.http_status()).expect("a status");
                (status, axum::Json(refusal)).into_response()
            }
        }
    }
    let router = Router::new()
        .route(route::OFFERS, post(pass).get(any_nonce))
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state((Arc::downgrade(&member.member), open));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn three_of_nine_may_be_down_slow_or_wrong_and_the_others_certify_and_serve() {
    // Four are assumed honest, so six must sign.
    let mut world = World::of(9, 4).await;
    world.fund(20).await;
    let mut members = start_all(&world).await;
    let first = world.seal(6).await;
    world.publish(&members, &first).await;
    let (first_parent, first_checkpoint) = (checkpoint_hash(&first.parent), checkpoint_hash(&first.checkpoint));
    let old_data = committee_of(&members).data(first_parent, first_checkpoint, LIMIT).await.expect("data").encode();

    // One is down, one serves the data of another batch and signs with another key, one is slow.
    let batch = world.seal(8).await;
    let mut endpoints: Vec<_> = members.iter().map(|member| member.seat.endpoint.clone()).collect();
    let (go_on, open) = watch::channel(false);
    endpoints[0].url = slowed(&members[0], open).await.parse().expect("a URL");
    endpoints[1].url = liar_with(Lie::WrongKey(1), Arc::new(old_data)).await.parse().expect("a URL");
    let down = members.pop().expect("nine").stop().await;
    let committee = Arc::new(Committee::new(endpoints).expect("a client"));
    let reports = Arc::new(Reports::default());
    let timing = GatherTiming { linger: Duration::from_secs(20), ..TIMING };
    let publisher = world.publisher(committee.clone(), reports.clone(), timing);
    let published = publisher.publish(&world.keyset, world.now().await, batch.clone()).await.expect("asks");
    let Publication::Certified(certificate) = published else { panic!("{published:?}") };
    assert_eq!(reports.count(|report| matches!(report, Report::Counted { .. })), 6, "the slow one is not waited for");
    // In its time: the six may have been faster.
    reports.wait_for(1, |report| matches!(report, Report::BadShare { error: ShareError::Forged { .. }, .. })).await;
    go_on.send_replace(true);
    reports.wait_for(7, |report| matches!(report, Report::Counted { .. })).await;
    world.commit(&batch, certificate.certificate().to_calldata()).await;
    world.execute(&first).await;
    world.execute(&batch).await;

    // Whoever is asked first: the data is had, and what is had is the batch's.
    let (parent, checkpoint) = (checkpoint_hash(&batch.parent), checkpoint_hash(&batch.checkpoint));
    for _ in 0..9 {
        let data = committee.data(parent, checkpoint, LIMIT).await.expect("six members have it");
        assert_eq!(data.data_bytes(), batch.data_bytes);
    }
    // The one that was down catches up by itself.
    let back = down.start(&world, members.iter().map(|member| member.seat.endpoint.clone()).collect()).await;
    back.sees(|l1| l1.executed() == 2).await;
    while back.member.last_number().expect("reads") < 2 {
        tokio::task::yield_now().await;
    }
    members.push(back);
    for member in members {
        member.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_batches_for_one_place_get_one_certificate_at_most() {
    let mut world = World::start().await;
    world.fund(20).await;
    let members = start_all(&world).await;
    for member in &members {
        member.sees(|l1| l1.request_accs.len() == 5).await;
    }
    // The sequencer seals two, and offers both at once to everybody.
    let (mut fork, l1) = (world.maker.clone(), world.view().await);
    let one = world.seal(12).await;
    let mut requests = world.history().await.requests().iter().map(joule_protocol::PriorityRequest::encode).collect();
    let other = fork.seal(&mut requests, &mut VecDeque::new(), 1, l1.time_s).expect("seals");
    assert_eq!((one.number, one.parent), (other.number, other.parent));
    assert_ne!(one.checkpoint, other.checkpoint);
    let committee = committee_of(&members);
    let (reports, others) = (Arc::new(Reports::default()), Arc::new(Reports::default()));
    let publishers = [
        world.publisher(committee.clone(), reports.clone(), IMPATIENT),
        world.publisher(committee.clone(), others.clone(), IMPATIENT),
    ];
    let now = world.now().await;
    let (first, second) = tokio::join!(
        publishers[0].publish(&world.keyset, now, one.clone()),
        publishers[1].publish(&world.keyset, now, other.clone()),
    );
    let certified = |published: &Publication| matches!(published, Publication::Certified(_));
    let certificates = [first.expect("asks"), second.expect("asks")].iter().filter(|it| certified(it)).count();
    assert!(certificates <= 1, "two certificates for one place");

    // Every member signed one of them and will not sign the other.
    let (keyset, expiry) = (world.keyset.hash(), l1.time_s + 25_000);
    for member in &members {
        let mut signed = 0;
        for (maker, batch) in [(&world.maker, &one), (&fork, &other)] {
            // With the expiry that the publisher chose, as a restart would offer it again.
            for expiry in [now.time_s + 30_000, expiry] {
                let offer = maker.offer(batch.clone(), &l1, keyset, expiry).expect("an offer");
                match member.member.offer(offer.encode()).await {
                    Ok(_) => signed += 1,
                    Err(refusal) => assert_eq!(refusal.code, RefusalCode::Conflict, "{refusal}"),
                }
            }
        }
        assert_eq!(signed, 1, "one statement for one place");
    }
    for member in members {
        member.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_l1_has_is_held_even_if_it_cannot_be_signed_any_more() {
    let mut world = World::start().await;
    world.fund(20).await;
    let mut all = seats().await;
    // Two members that know nobody: what they get, they get from the sequencer.
    let (alone, other) = (all.remove(0).start(&world, Vec::new()).await, all.remove(0).start(&world, Vec::new()).await);
    for member in [&alone, &other] {
        member.sees(|l1| l1.request_accs.len() == 5).await;
    }
    let batch = world.seal(8).await;
    let (l1, keyset) = (world.view().await, world.keyset.hash());
    let good = world.maker.offer(batch.clone(), &l1, keyset, l1.time_s + 20_000).expect("an offer");
    other.member.offer(good.encode()).await.expect("signs");
    let client = committee_of(std::slice::from_ref(&other));
    let (parent, checkpoint) = (checkpoint_hash(&batch.parent), checkpoint_hash(&batch.checkpoint));
    let chunks = client.data(parent, checkpoint, LIMIT).await.expect("data").chunks().to_vec();
    // Before L1 has it, an offer that cannot be signed is not taken at all.
    let old = world.maker.offer(batch.clone(), &l1, keyset, l1.time_s + 1).expect("an offer");
    assert_eq!(refused(&alone, &old).await, RefusalCode::BadExpiry);
    assert_eq!(alone.member.last_number().expect("reads"), 0);
    world.commit_on_l1(&batch, &chunks).await;
    alone.sees(|l1| l1.committed() == 1).await;
    assert!(alone.member.status().await.expect("a status").not_ready.is_some());
    // A stranger's offer is not executed for that; the sequencer's is, and is still not signed.
    let stranger = BatchMaker::new(world.genesis, 99).offer(batch, &l1, keyset, l1.time_s + 1).expect("an offer");
    refused(&alone, &stranger).await;
    assert_eq!(alone.member.last_number().expect("reads"), 0);
    assert_eq!(refused(&alone, &old).await, RefusalCode::BadExpiry);
    assert_eq!(alone.member.last_number().expect("reads"), 1);
    assert!(alone.member.status().await.expect("a status").not_ready.is_none(), "it can sign the next");
    let own = committee_of(std::slice::from_ref(&alone));
    assert_eq!(own.data(parent, checkpoint, LIMIT).await.expect("served").chunks(), chunks);
    for member in [alone, other] {
        member.stop().await;
    }
}
