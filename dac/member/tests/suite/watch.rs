//! Probes of members that serve, and of members that do not.

use std::{sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::State, http::Uri, response::Response};
use joule_committee_client::{Committee, Probed, Scope};
use joule_dac::{
    records::RecordFile,
    watch::{Watch, WatchConfig},
};
use rand::{SeedableRng as _, rngs::StdRng};
use tokio::net::TcpListener;

use super::support::{LIMIT, MEMBERS, World, start_all};

const CONFIG: WatchConfig = WatchConfig { every: Duration::from_millis(1), limit: LIMIT };

/// Passes everything on to a member, and answers for chunks what it likes.
async fn between(member: String, chunk: Option<&'static [u8]>) -> String {
    async fn pass((member, chunk): (String, Option<&'static [u8]>), uri: Uri) -> Response {
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        if let (true, Some(chunk)) = (path.contains("/chunks/"), chunk) {
            return Response::new(Body::from(chunk));
        }
        let bytes = alloy::transports::http::reqwest::get(format!("{member}{path}")).await.expect("asks");
        Response::new(Body::from(bytes.bytes().await.expect("an answer")))
    }
    let handler = |State(state), uri| async move { pass(state, uri).await };
    let router = Router::new().fallback(handler).with_state((member, chunk));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_lie_or_have_lost_their_disk_are_found_by_probing() {
    let mut world = World::start().await;
    world.fund(30).await;
    let members = start_all(&world).await;
    for count in [15, 10] {
        let batch = world.seal(count).await;
        world.publish(&members, &batch).await;
        world.execute(&batch).await;
    }
    for member in &members {
        // All of them hold both, whether their signatures were needed or not; and from then on the data of the first is theirs to drop.
        member.holds(2, 2).await;
    }
    let mut endpoints: Vec<_> = members.iter().map(|member| member.seat.endpoint.clone()).collect();

    // All serve.
    let watch = Watch::new(Committee::new(endpoints.clone()).expect("a client"), CONFIG);
    let mut l1 = world.watcher().await;
    watch.look(&mut l1).await.expect("L1");
    let mut rng = StdRng::seed_from_u64(7);
    for _ in 0..40 {
        assert_eq!(watch.probe(&mut rng).await.expect("promised").1, Probed::Shown);
    }
    let report = watch.report();
    assert_eq!((report.batches, report.serving, report.quorum, report.is_alarming), (2, MEMBERS, 3, false));
    assert!(report.members.values().all(|record| record.shown > 0), "{report:?}");
    assert!(members.iter().any(|member| member.member.metrics().text().contains("joule_dac_probes_total")));

    // One serves nonsense in the place of chunks, one is not there, and one has lost its first batch.
    endpoints[0].url = between(endpoints[0].url.to_string().trim_end_matches('/').to_owned(), Some(b"nonsense"))
        .await
        .parse()
        .expect("a URL");
    endpoints[1].url = "http://127.0.0.1:1".parse().expect("a URL");
    let first_block_left = {
        let view = members[2].member.database().view().expect("a view");
        view.batch(1).expect("reads").expect("a batch").last_block + 1
    };
    members[2].member.database().prune_blocks(first_block_left).expect("prunes");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("records.json");
    let scope = Scope { l1_chain_id: world.genesis.l1_chain_id, rollup: world.addresses.rollup };
    let keeping = || {
        let (file, known) = RecordFile::open(&path, scope).expect("the records");
        Watch::new(Committee::new(endpoints.clone()).expect("a client"), CONFIG).keeping(file, known)
    };
    let watch = Arc::new(keeping());
    let mut l1 = world.watcher().await;
    watch.look(&mut l1).await.expect("L1");
    let account = |index: usize| members[index].seat.endpoint.account;
    let mut rounds = 0;
    loop {
        watch.probe(&mut rng).await.expect("promised");
        let records = watch.report().members;
        if records[&account(0)].wrong > 0 && records[&account(1)].is_failing {
            break;
        }
        rounds += 1;
        assert!(rounds < 2_000, "{records:?}");
    }
    let report = watch.report();
    assert!(report.members[&account(0)].is_failing && report.members[&account(0)].shown == 0);
    assert!(!report.members[&account(3)].is_failing && !report.members[&account(4)].is_failing);
    assert_eq!(report.is_alarming, report.serving < 3);
    let metrics = watch.metrics();
    assert!(metrics.contains(&format!("joule_dac_watch_failing{{member=\"{}\"}} 1", account(0))), "{metrics}");
    assert!(metrics.contains("outcome=\"wrong\""), "{metrics}");

    // Started again, the watcher knows all of it before it asks anybody.
    drop(watch);
    let watch = keeping();
    assert_eq!(watch.report().members, report.members);
    watch.look(&mut world.watcher().await).await.expect("L1");
    assert_eq!(watch.report(), report);
    for member in members {
        member.stop().await;
    }
}
