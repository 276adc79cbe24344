//! An L1 with the contracts, a node that follows it when told, and people with key files.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

use alloy::{
    primitives::{Address, B256, U256},
    providers::{DynProvider, Provider},
    signers::{SignerSync, local::PrivateKeySigner},
};
use clap::Parser;
use joule_contracts::{Addresses, Availability, Deployment, Probe, Rollup, deploy, ecdsa_keyset_hash, proof_bytes};
use joule_protocol::{Digest, Genesis, Hash, Native, PriorityRequest, PublicValues};
use joule_rpc::{Limits, Node, Server, serve, wire::L1Contracts};
use joule_storage::{BatchRecord, Stage};
use joule_testnet_support::{PROGRAM, TestL1, address, committee, signer, test_deployment};
use joule_wallet::{Arguments, WalletError, run};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{BASE_FEE, TestNode};

pub(crate) struct Person {
    pub(crate) address: Address,
    file: PathBuf,
}

impl Person {
    pub(crate) fn key_file(&self) -> String {
        self.file.display().to_string()
    }
}

pub(crate) struct Network {
    l1: TestL1,
    provider: DynProvider,
    addresses: Addresses,
    probe: Probe::ProbeInstance<DynProvider>,
    node: Arc<TestNode>,
    server: Server,
    folder: TempDir,
}

fn keyset() -> Vec<Address> {
    committee().iter().map(PrivateKeySigner::address).collect()
}

impl Network {
    pub(crate) async fn start() -> Self {
        // Near this machine's clock, from which the command counts deadlines.
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_secs();
        // L1 is a little behind, because each of its blocks moves its time on, and a request's time must not be after its L2 block's.
        let l1 = TestL1::start(now - 120).await;
        let provider = l1.provider(0);

        let genesis = Genesis {
            base_fee_max: 100 * BASE_FEE,
            timestamp: now,
            l1_chain_id: provider.get_chain_id().await.expect("a chain id"),
            ..joule_workload::Chain::test_genesis()
        };
        let node = TestNode::of(genesis);
        let checkpoint = *node.database().view().expect("a view").head();
        let deployer = address(0);
        let base = test_deployment(&genesis, checkpoint, deployer, deployer, keyset());
        let delays = Rollup::Delays { timestampSkew: 600, ..base.delays };
        let addresses = deploy(&provider, deployer, &Deployment { delays, ..base }).await.expect("deploys");
        node.settle_with(L1Contracts {
            rollup: addresses.rollup,
            bridge: addresses.bridge,
            escape: addresses.escape,
            committee: addresses.committee,
        });
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let server = serve(node.clone(), address, Limits::default()).await.expect("a free port");
        let probe = Probe::deploy(provider.clone()).await.expect("the probe deploys");
        let folder = TempDir::new().expect("a folder");
        Self { l1, provider, addresses, probe, node, server, folder }
    }

    fn rollup(&self) -> Rollup::RollupInstance<DynProvider> {
        Rollup::new(self.addresses.rollup, self.provider.clone())
    }

    /// One of L1's development accounts, with its key in a file.
    pub(crate) fn person(&self, index: usize) -> Person {
        use std::os::unix::fs::PermissionsExt;
        let signer = signer(index);
        let file = self.folder.path().join(format!("key-{index}"));
        fs::write(&file, alloy::hex::encode_prefixed(signer.to_bytes())).expect("our own folder");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("our own file");
        Person { address: signer.address(), file }
    }

    /// A file with JSON.
    pub(crate) fn file(&self, name: &str, value: &Value) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, value.to_string()).expect("our own folder");
        path.display().to_string()
    }

    pub(crate) async fn try_joule(&self, person: &Person, arguments: &[&str]) -> Result<Value, WalletError> {
        self.try_joule_at(&format!("http://{}", self.server.address()), person, arguments).await
    }

    /// A command that is told of a node at `rpc`.
    pub(crate) async fn try_joule_at(
        &self,
        rpc: &str,
        person: &Person,
        arguments: &[&str],
    ) -> Result<Value, WalletError> {
        let l1_rpc = self.l1.url();
        let key = person.key_file();
        let first = ["joule", "--rpc", rpc, "--l1-rpc", &l1_rpc, "--key", &key];
        run(Arguments::parse_from([&first[..], arguments].concat())).await.map(|report| report.json())
    }

    /// A command that is told of no L1.
    pub(crate) async fn try_joule_without_l1(&self, person: &Person, arguments: &[&str]) -> Result<Value, WalletError> {
        let (rpc, key) = (format!("http://{}", self.server.address()), person.key_file());
        let first = ["joule", "--rpc", &rpc, "--key", &key];
        run(Arguments::parse_from([&first[..], arguments].concat())).await.map(|report| report.json())
    }

    pub(crate) async fn joule(&self, person: &Person, arguments: &[&str]) -> Value {
        self.try_joule(person, arguments).await.unwrap_or_else(|error| panic!("joule {arguments:?}: {error}"))
    }

    /// A command with nobody to ask.
    pub(crate) async fn offline(&self, arguments: &[&str]) -> Result<Value, WalletError> {
        let first = ["joule", "--rpc", "http://127.0.0.1:1"];
        run(Arguments::parse_from([&first[..], arguments].concat())).await.map(|report| report.json())
    }

    pub(crate) fn next_timestamp(&self) -> u64 {
        self.node.next_timestamp()
    }

    pub(crate) fn wait(&self, by_s: u64) {
        self.l1.wait(by_s);
    }

    pub(crate) async fn l1_balance(&self, address: &str) -> U256 {
        self.provider.get_balance(address.parse().expect("an address")).await.expect("a balance")
    }

    /// Consumes what L1 has queued.
    pub(crate) async fn follow_l1(&self) {
        let consumed = self.node.database().view().expect("a view").head().priority_count;
        let queued = self.rollup().RequestQueued_filter().from_block(0).query().await.expect("logs");
        let requests = queued.iter().skip(consumed as usize);
        let requests: Vec<_> = requests.map(|(log, _)| PriorityRequest::from(&log.request).encode()).collect();
        self.node.consume(&requests);
    }

    /// Settles everything since the last batch, with a certificate of four of the five members and a proof that the test's verifier takes.
    pub(crate) async fn settle(&self) {
        let record = self.node.settle(Stage::Sealed);
        let rollup = self.rollup();
        let (from, to) = (record.parent.hash::<Native>(), record.checkpoint.hash::<Native>());
        let batch = Rollup::Batch {
            number: record.number,
            parentCheckpoint: B256::new(from.0),
            checkpoint: (&record.checkpoint).into(),
            dataBytes: record.data_bytes,
        };
        let expiry = self.l1.now_s() + 100_000;
        let statement = Probe::DataStatement {
            number: record.number,
            parentCheckpoint: batch.parentCheckpoint,
            checkpoint: B256::new(to.0),
            revertCount: 0,
            dataBytes: record.data_bytes,
        };
        let keyset_hash = ecdsa_keyset_hash(4, &keyset());
        let digest = self.probe.certificateDigest(statement, self.addresses.rollup, expiry, keyset_hash);
        let digest = digest.call().await.expect("a digest");
        let sign = |key: &PrivateKeySigner| {
            let signature = key.sign_hash_sync(&digest).expect("signs");
            let parity = U256::from(u8::from(signature.v())) << 255;
            (B256::from(signature.r()), B256::from(signature.s() | parity))
        };
        let signatures = committee()[1..].iter().map(sign).collect();
        let availability = Availability::Ecdsa { expiry, quorum: 4, keyset: keyset(), signatures };
        let program = Digest::from_hash(Hash(PROGRAM.0)).expect("canonical");
        let values = PublicValues { program, chain_id: self.node.genesis().chain_id, from, to };
        let mut points = [U256::ZERO; 8];
        points[0] = U256::from_be_bytes(values.public_input().0);
        let withdrawals = self.withdrawals(&record);
        let call = rollup.settleBatch(batch, availability.encode(), proof_bytes(1, &points), withdrawals);
        let receipt = call.send().await.expect("sends").get_receipt().await.expect("mined");
        assert!(receipt.status());
        self.node.put_batch(&BatchRecord { stage: Stage::Executed, ..record });
    }

    /// All withdrawals of the chain so far: a test makes them in one batch.
    fn withdrawals(&self, record: &BatchRecord) -> Vec<Rollup::Withdrawal> {
        let view = self.node.database().view().expect("a view");
        let blocks = (record.first_block..=record.last_block)
            .map(|number| view.block(number).expect("readable").expect("there"));
        let messages = blocks.flat_map(|block| block.messages);
        (0..)
            .zip(messages)
            .map(|(index, message)| Rollup::Withdrawal::new(index, message.recipient, message.amount))
            .collect()
    }
}
