//! `joule-dac` as people run it: `init`, `run`, `status` and `watch` as processes, killed and started again, with an L1 beside them.

#[path = "suite/support.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the tests in process, which use all of it")]
mod support;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::Arc,
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

use alloy::primitives::{Address, hex};
use joule_committee_client::{
    Committee, Endpoint, Publication, RefusalCode, RequestError, SealedBatch, checkpoint_hash,
};
use joule_dac::config::{L1Config, NetworkConfig, PeerConfig};
use serde_json::Value;
use tokio::sync::oneshot;

use support::{LIMIT, MEMBERS, Reports, TIMING, World, member_key};

/// A port that nobody listens on now, below those that systems give to outgoing connections: between now and the member's taking it, and while the member is dead, nobody gets it by chance.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let (first, count) = (20_000, 12_000);
    // Each process begins somewhere else.
    let begin = (std::process::id() % u32::from(count)) as u16;
    let ports = (0..count).map(|_| first + (begin + NEXT.fetch_add(1, Ordering::Relaxed)) % count);
    let mut free = ports.filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.next().expect("a port")
}

/// One member's folder and addresses.
struct Place {
    index: usize,
    folder: PathBuf,
    port: u16,
    p2p: u16,
}

impl Place {
    fn account(&self) -> Address {
        member_key(self.index).address()
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_joule-dac"));
        command.arg(name).arg("--config").arg(self.folder.join("joule-dac.toml")).env("RUST_LOG", "info");
        command
    }

    /// `joule-dac init`, with the key that L1 has on record.
    fn init(&self, network: &Path) -> Output {
        let data = self.folder.join("data");
        fs::create_dir_all(&data).expect("a folder");
        let key = data.join("ecdsa.key");
        fs::write(&key, hex::encode(alloy::primitives::keccak256(format!("member {}", self.index)))).expect("writes");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("sets");
        let mut command = self.command("init");
        command.arg("--network").arg(network).arg("--data").arg(&data).arg("--keys-unused");
        command.arg("--account").arg(self.account().to_string());
        command.arg("--listen").arg(format!("127.0.0.1:{}", self.port));
        command.arg("--p2p").arg(format!("/ip4/127.0.0.1/tcp/{}", self.p2p));
        command.output().expect("runs")
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint { account: self.account(), url: format!("http://127.0.0.1:{}", self.port).parse().expect("a URL") }
    }

    /// `joule-dac run`, once it says that it runs.
    async fn run(&self) -> Process {
        let mut child = self.command("run").stderr(Stdio::piped()).stdout(Stdio::null()).spawn().expect("runs");
        let log = child.stderr.take().expect("piped");
        let (ready, is_ready) = oneshot::channel();
        let mut ready = Some(ready);
        // Reads to the end, so that the member never waits for its log to be read.
        std::thread::spawn(move || {
            let mut said = Vec::new();
            for line in BufReader::new(log).lines().map_while(Result::ok) {
                if line.contains("the member is running")
                    && let Some(ready) = ready.take()
                {
                    drop(ready.send(Ok(())));
                }
                if ready.is_some() {
                    said.push(line);
                }
            }
            if let Some(ready) = ready.take() {
                drop(ready.send(Err(said.join("\n"))));
            }
        });
        is_ready.await.expect("it says something").unwrap_or_else(|log| panic!("the member ended: {log}"));
        Process(child)
    }
}

/// A member that runs; killed when dropped.
struct Process(Child);

impl Process {
    fn kill(mut self) {
        self.0.kill().expect("SIGKILL");
        self.0.wait().expect("ends");
    }

    /// Asks it to end, and returns whether it did so in order.
    fn terminate(mut self) -> bool {
        let done = Command::new("kill").arg("-TERM").arg(self.0.id().to_string()).status().expect("kill runs");
        assert!(done.success());
        self.0.wait().expect("ends").success()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Network {
    world: World,
    file: PathBuf,
    places: Vec<Place>,
    folder: tempfile::TempDir,
}

impl Network {
    async fn start() -> Self {
        let world = World::start().await;
        let folder = tempfile::tempdir().expect("a folder");
        let places: Vec<_> = (0..MEMBERS)
            .map(|index| Place {
                index,
                folder: folder.path().join(format!("member-{index}")),
                port: free_port(),
                p2p: free_port(),
            })
            .collect();
        let mut network = Self { world, file: folder.path().join("network.toml"), places, folder };
        network.write(|_| None);
        network
    }

    /// The network's file, as its operator publishes it.
    fn write(&mut self, p2p: impl Fn(&Place) -> Option<String>) {
        let at = self.world.addresses;
        let peers = self.places.iter().map(|place| PeerConfig {
            account: place.account(),
            url: format!("http://127.0.0.1:{}", place.port),
            p2p: p2p(place).map(|address| address.parse().expect("an address")),
        });
        let config = NetworkConfig {
            l1: L1Config {
                url: self.world.url.clone(),
                chain_id: self.world.genesis.l1_chain_id,
                rollup: at.rollup,
                deployed_at: at.block_number,
                confirmations: 0,
            },
            genesis: (&self.world.genesis).into(),
            peers: peers.collect(),
        };
        fs::write(&self.file, toml::to_string(&config).expect("serialises")).expect("writes");
    }

    fn committee(&self) -> Arc<Committee> {
        Arc::new(Committee::new(self.places.iter().map(Place::endpoint).collect()).expect("a client"))
    }

    async fn certify(&self, batch: &SealedBatch) {
        let publisher = self.world.publisher(self.committee(), Arc::new(Reports::default()), TIMING);
        let published = publisher.publish(&self.world.keyset, self.world.now().await, batch.clone()).await;
        let Publication::Certified(certificate) = published.expect("asks") else { panic!("no certificate") };
        self.world.commit(batch, certificate.certificate().to_calldata()).await;
    }

    /// Waits until a member holds a batch and would sign the next.
    async fn holds(&self, place: &Place, number: u64) {
        let (committee, member) = (self.committee(), place.endpoint());
        loop {
            let status = committee.status(&member, LIMIT).await;
            if status.is_ok_and(|status| status.batch_number >= number && status.not_ready.is_none()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn five_processes_certify_are_killed_in_the_middle_and_go_on() {
    let mut network = Network::start().await;
    network.world.fund(600).await;
    let mut peers = Vec::new();
    for place in &network.places {
        fs::create_dir_all(&place.folder).expect("a folder");
        let made = place.init(&network.file);
        assert!(made.status.success(), "{}", text(&made));
        let said = text(&made);
        assert!(said.contains("register(") && said.contains("Genesis"), "{said}");
        let peer = said.split("/p2p/").nth(1).and_then(|rest| rest.split_whitespace().next()).expect("a peer id");
        peers.push(format!("/ip4/127.0.0.1/tcp/{}/p2p/{peer}", place.p2p));
        // Again: nothing is made anew, and no key is written over.
        let again = place.init(&network.file);
        assert!(again.status.success() && text(&again).contains("keeps its state"), "{}", text(&again));
    }
    network.write(|place| Some(peers[place.index].clone()));
    let mut processes = Vec::new();
    for place in &network.places {
        processes.push(place.run().await);
    }

    let first = network.world.seal(20).await;
    network.certify(&first).await;
    network.world.execute(&first).await;
    for place in &network.places {
        network.holds(place, 1).await;
    }

    // Killed at some moment of a batch's way, again and again: before it, in its blocks, before the promise, after the signature. Whatever was signed is signed
    // again, nothing else is, and the batch is there or is taken.
    let second = network.world.seal(400).await;
    let l1 = network.world.view().await;
    let (keyset, expiry) = (network.world.keyset.hash(), l1.time_s + 20_000);
    let offer = network.world.maker.offer(second.clone(), &l1, keyset, expiry).expect("an offer");
    let other = network.world.maker.offer(second.clone(), &l1, keyset, expiry + 1).expect("an offer");
    let mut signed = None;
    for moment in 0..8_u32 {
        let (committee, offer, signer) = (network.committee(), offer.clone(), network.world.offer_signer());
        let sent = tokio::spawn(async move {
            let share = committee.hand(&committee.members()[0], &offer, signer, LIMIT).await.ok()?;
            Some(share.encode())
        });
        tokio::time::sleep(Duration::from_millis(u64::from(moment * moment) * 4)).await;
        processes.remove(0).kill();
        // A signature that got out binds; one that did not may bind.
        if let Some(share) = sent.await.expect("no panic") {
            assert_eq!(*signed.get_or_insert_with(|| share.clone()), share, "the same share, to the bit");
        }
        processes.insert(0, network.places[0].run().await);
    }
    network.holds(&network.places[0], 1).await;
    let (committee, signer) = (network.committee(), network.world.offer_signer());
    let first = &committee.members()[0];
    let share = committee.hand(first, &offer, signer.clone(), LIMIT).await.expect("signs").encode();
    assert_eq!(*signed.get_or_insert_with(|| share.clone()), share);
    let refused = committee.hand(first, &other, signer.clone(), LIMIT).await.expect_err("it has signed another");
    let is_conflict = matches!(&refused, RequestError::Refused(refusal) if refusal.code == RefusalCode::Conflict);
    assert!(is_conflict, "{refused}");

    // Two of five are dead: the others certify, and serve what they have.
    processes.pop().expect("five").kill();
    processes.pop().expect("five").kill();
    let published = {
        // The promise of the first member has this expiry, so that the batch is offered with it.
        let committee = network.committee();
        let outcome =
            committee.gather(&network.world.keyset, &offer, signer, TIMING, Arc::new(Reports::default())).await;
        outcome.expect("asks")
    };
    let joule_committee_client::Outcome::Certified(certificate) = published else { panic!("{published:?}") };
    network.world.commit(&second, certificate.certificate().to_calldata()).await;
    network.world.execute(&second).await;
    let (parent, checkpoint) = (checkpoint_hash(&second.parent), checkpoint_hash(&second.checkpoint));
    let data = network.committee().data(parent, checkpoint, LIMIT).await.expect("three have it");
    assert_eq!(data.data_bytes(), second.data_bytes);

    // `status` says who is there, for people and for machines.
    let status = network.places[0].command("status").arg("--json").output().expect("runs");
    let lines: Vec<Value> =
        String::from_utf8_lossy(&status.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), MEMBERS, "{}", text(&status));
    assert_eq!(lines.iter().filter(|line| line["batchNumber"] == 2).count(), 3, "{lines:?}");
    assert_eq!(lines.iter().filter(|line| line.get("error").is_some()).count(), 2, "{lines:?}");

    // They come back, and catch up from their peers.
    for index in [3, 4] {
        processes.push(network.places[index].run().await);
        network.holds(&network.places[index], 2).await;
    }
    let watch = |network: &Network, probes: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_joule-dac"));
        command.arg("watch").arg("--network").arg(&network.file).args(["--probes", probes, "--json"]);
        command.output().expect("runs")
    };
    let watched = watch(&network, "40");
    assert!(watched.status.success(), "{}", text(&watched));
    let report: Value = serde_json::from_slice(&watched.stdout).expect("JSON");
    assert_eq!((report["batches"].as_u64(), report["serving"].as_u64()), (Some(2), Some(5)), "{report}");

    // A member that has lost its disk, and gets everything back with one command: its keys may have signed, so it does not sign what they could have.
    processes.remove(1).kill();
    let lost = &network.places[1];
    fs::remove_dir_all(lost.folder.join("data/database")).expect("lost");
    let joined = lost.command("init").output().expect("runs");
    assert!(joined.status.success() && text(&joined).contains("Data { number: 2 }"), "{}", text(&joined));
    processes.insert(1, lost.run().await);
    network.holds(lost, 2).await;

    // Three are dead: probing says so, and says it in its exit status.
    for _ in 0..3 {
        processes.remove(0).kill();
    }
    let watched = watch(&network, "200");
    assert_eq!(watched.status.code(), Some(1), "{}", text(&watched));
    let report: Value = serde_json::from_slice(&watched.stdout).expect("JSON");
    assert_eq!(report["isAlarming"], Value::Bool(true), "{report}");

    for process in processes {
        assert!(process.terminate(), "it ends in order");
    }
    drop(network.folder);
}

#[test]
fn a_member_that_cannot_run_says_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = Place { index: 0, folder: folder.path().to_owned(), port: 0, p2p: 0 };
    let run = place.command("run").output().expect("runs");
    assert!(!run.status.success() && text(&run).contains("joule-dac.toml"), "{}", text(&run));
    let init = place.command("init").output().expect("runs");
    assert!(!init.status.success() && text(&init).contains("--network"), "{}", text(&init));
}
