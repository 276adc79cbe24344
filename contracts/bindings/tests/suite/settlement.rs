//! Settling with the real verifier: a batch of real payments that `joule-prover` proved, with deposits that L1 queued and a withdrawal that L1 pays.
//!
//! The fixture is one proof with what goes with it. `contracts/regenerate` makes it anew together with the verifier; nothing here knows the
//! kernel's image, so an image that changes leaves the old proof a true one.

use std::{fs, path::Path};

use alloy::{
    primitives::{Address, B256, Bytes, U256},
    providers::{DynProvider, Provider},
};
use joule_committee::{
    Certificate, CertificateStatement, EcdsaSecretKey, Keyset, Member, Proposal, Scheme, SecretKey, Share, SigningLog,
};
use joule_contracts::{
    Bridge, CommitteeSetup, DataCommittee, Groth16Verifier, Rollup, VerifierRouter, VerifierSetup, deploy, proof_bytes,
};
use joule_protocol as protocol;
use joule_protocol::{Checkpoint, Digest, Hash, MessageTree, Native, PublicValues, withdrawal_leaf};
use joule_testnet_l1::DEVELOPMENT_ACCOUNTS;
use serde_json::Value;

use super::support::{World, deployment};

const L1_CHAIN_ID: u64 = 31_337;
/// Where the L1's clock starts: before the fixture's first deposit.
const START_S: u64 = 1_750_000_000;
/// The order of BN254's scalar field, and of its base field.
const SCALAR_ORDER: &str = "21888242871839275222246405745257275088548364400416034343698204186575808495617";
const BASE_ORDER: &str = "21888242871839275222246405745257275088696311157297823662689037894645226208583";

struct Deposit {
    sender: Address,
    to: Address,
    amount: u128,
    timestamp: u64,
}

struct Withdrawal {
    index: u64,
    recipient: protocol::Address,
    amount: u128,
}

/// A proven batch.
struct Batch {
    chain_id: u64,
    genesis_id: B256,
    parent: Checkpoint,
    checkpoint: Checkpoint,
    data_bytes: u64,
    deposits: Vec<Deposit>,
    withdrawals: Vec<Withdrawal>,
    statement: PublicValues,
    public_input: U256,
    proof: [U256; 8],
    wrap_circuit: B256,
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(text(value).trim_start_matches("0x")).expect("hexadecimal")
}

fn fixed<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value).try_into().expect("the length")
}

fn checkpoint(value: &Value) -> Checkpoint {
    Checkpoint::decode(&fixed(value)).expect("numbers are padded with zeros").expect("the root is canonical")
}

fn number<T: std::str::FromStr>(value: &Value) -> T {
    value.to_string().trim_matches('"').parse().unwrap_or_else(|_| panic!("{value} is a number"))
}

fn batch() -> Batch {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/batch.json");
    let file: Value = serde_json::from_str(&fs::read_to_string(path).expect("the fixture")).expect("JSON");
    let settlement = &file["settlement"];
    let list = |name: &str| settlement[name].as_array().expect("a list").clone();
    let chain_id = number(&settlement["chain_id"]);
    Batch {
        chain_id,
        genesis_id: B256::new(fixed(&settlement["genesis_id"])),
        parent: checkpoint(&settlement["parent"]),
        checkpoint: checkpoint(&settlement["checkpoint"]),
        data_bytes: number(&settlement["data_bytes"]),
        deposits: list("deposits")
            .iter()
            .map(|deposit| Deposit {
                sender: Address::new(fixed(&deposit["sender"])),
                to: Address::new(fixed(&deposit["to"])),
                amount: number(&deposit["amount"]),
                timestamp: number(&deposit["timestamp"]),
            })
            .collect(),
        withdrawals: list("withdrawals")
            .iter()
            .map(|withdrawal| Withdrawal {
                index: number(&withdrawal["index"]),
                recipient: protocol::Address(fixed(&withdrawal["recipient"])),
                amount: number(&withdrawal["amount"]),
            })
            .collect(),
        statement: PublicValues {
            program: Digest::from_hash(Hash(fixed(&file["program"]))).expect("canonical"),
            chain_id,
            from: Hash(fixed(&file["from"])),
            to: Hash(fixed(&file["to"])),
        },
        public_input: U256::from_be_bytes(fixed::<32>(&file["public_input"])),
        proof: std::array::from_fn(|word| U256::from_be_bytes(fixed::<32>(&file["proof"][word]))),
        wrap_circuit: B256::new(fixed(&file["wrap_circuit"])),
    }
}

fn input(values: &PublicValues) -> U256 {
    U256::from_be_bytes(values.public_input().0)
}

/// Five members by rising signer, and their keys.
fn members() -> (Vec<Member>, Vec<EcdsaSecretKey>) {
    let mut keys: Vec<_> =
        DEVELOPMENT_ACCOUNTS[1..6].iter().map(|(_, key)| EcdsaSecretKey::from_bytes(key).expect("a key")).collect();
    keys.sort_by_key(EcdsaSecretKey::address);
    let members = keys.iter().map(|key| Member { account: key.address(), signer: key.address(), bls: None }).collect();
    (members, keys)
}

/// What all five members sign, as their daemons would: each asks its own log.
fn certificate(statement: &CertificateStatement, keyset: &Keyset, keys: Vec<EcdsaSecretKey>) -> Certificate {
    let shares: Vec<_> = keys
        .into_iter()
        .map(|key| {
            let mut log = SigningLog::new(statement.l1_chain_id, statement.rollup);
            let Proposal::New(entry) = log.propose(statement).expect("nothing was signed before") else {
                panic!("nothing was promised before")
            };
            let permit = log.record(entry).expect("there is room");
            let share = Share::sign(&permit, key.address(), &SecretKey::Ecdsa(key)).expect("a signature");
            share.verify(keyset).expect("its own key")
        })
        .collect();
    Certificate::aggregate(keyset, statement, &shares).expect("all signed")
}

#[tokio::test]
async fn a_real_batch_is_settled_and_its_withdrawal_claimed() {
    let batch = batch();
    assert_eq!(
        (batch.statement.from, batch.statement.to),
        (batch.parent.hash::<Native>(), batch.checkpoint.hash::<Native>())
    );
    let world = World::start_at(L1_CHAIN_ID, START_S).await;
    let (members, keys) = members();
    let mut config = deployment(&world);
    config.l2_chain_id = batch.chain_id;
    config.genesis = batch.parent;
    config.genesis_id = batch.genesis_id;
    config.program = B256::new(batch.statement.program.to_hash().0);
    config.verifier = VerifierSetup { version: 1, bytecode: Bytes::from_static(&Groth16Verifier::BYTECODE) };
    config.committee =
        CommitteeSetup { signers: members.iter().map(|member| member.signer).collect(), honest: 1, ..config.committee };
    let at = deploy(&world.provider, world.deployer, &config).await.expect("deploys");
    let rollup = Rollup::new(at.rollup, world.provider.clone());
    let bridge = Bridge::new(at.bridge, world.provider.clone());
    let verifier = Groth16Verifier::new(at.verifier, world.provider.clone());
    assert!(verifier.IS_DEVELOPMENT_KEY().call().await.expect("reads"));
    assert_eq!(verifier.CIRCUIT().call().await.expect("reads"), batch.wrap_circuit);

    // The deposits, in blocks of the times that the kernel hashed.
    let mut deposit_gas = 0;
    for deposit in &batch.deposits {
        assert_eq!(deposit.sender, world.deployer);
        let fee = rollup.requestFee(1).call().await.expect("a fee");
        promise_timestamp(&world.provider, deposit.timestamp).await;
        let call = bridge.deposit(deposit.to, deposit.amount).value(U256::from(deposit.amount) + fee);
        let receipt = call.send().await.expect("sends").get_receipt().await.expect("mined");
        assert!(receipt.status());
        deposit_gas = receipt.gas_used;
    }
    let count = rollup.priorityCount().call().await.expect("reads");
    assert_eq!(count, batch.checkpoint.priority_count);
    let queued = rollup.accAt(count).call().await.expect("reads");
    assert_eq!(queued, B256::new(batch.checkpoint.priority_acc.0.0), "L1 queued what the kernel consumed");
    promise_timestamp(&world.provider, batch.checkpoint.timestamp).await;

    let keyset = Keyset::new(Scheme::Ecdsa, members, 1).expect("a keyset");
    let committee = DataCommittee::new(at.committee, world.provider.clone());
    assert_eq!(committee.currentKeyset(1).call().await.expect("reads"), keyset.hash());
    let to = B256::new(batch.statement.to.0);
    let statement = CertificateStatement {
        l1_chain_id: L1_CHAIN_ID,
        rollup: at.rollup,
        batch_number: 1,
        parent_checkpoint: B256::new(batch.statement.from.0),
        checkpoint: to,
        revert_count: 0,
        data_bytes: batch.data_bytes,
        expiry: batch.checkpoint.timestamp + 100_000,
        keyset_hash: keyset.hash(),
    };
    let availability = certificate(&statement, &keyset, keys).to_calldata();
    let proof = proof_bytes(1, &batch.proof);
    let withdrawals: Vec<_> =
        batch.withdrawals.iter().map(|each| Rollup::Withdrawal::new(each.index, each.recipient, each.amount)).collect();
    let call = || {
        let batch = Rollup::Batch {
            number: 1,
            parentCheckpoint: statement.parent_checkpoint,
            checkpoint: (&batch.checkpoint).into(),
            dataBytes: batch.data_bytes,
        };
        rollup.settleBatch(batch, availability.clone(), proof.clone(), withdrawals.clone())
    };
    let receipt = call().send().await.expect("sends").get_receipt().await.expect("mined");
    assert!(receipt.status());
    assert_eq!(rollup.executedCheckpoint().call().await.expect("reads"), to);
    let settle_gas = receipt.gas_used;

    // The withdrawal, by its path in the tree of the batch's messages.
    let leaves = batch
        .withdrawals
        .iter()
        .map(|each| withdrawal_leaf::<Native>(each.index, &each.recipient, each.amount))
        .collect();
    let tree = MessageTree::new::<Native>(leaves);
    let mut claim_gas = 0;
    for (position, each) in batch.withdrawals.iter().enumerate() {
        let path = tree.path(position).expect("a leaf").into_iter().map(|hash| B256::new(hash.0)).collect();
        let withdrawal = Bridge::Withdrawal::new(each.index, each.recipient, each.amount);
        let call = bridge.claim(1, withdrawal, U256::from(position), path);
        let receipt = call.send().await.expect("sends").get_receipt().await.expect("mined");
        assert!(receipt.status());
        claim_gas = receipt.gas_used;
        let paid = world.provider.get_balance(Address::new(each.recipient.0)).await.expect("a balance");
        assert_eq!(paid, U256::from(each.amount));
    }
    let deposited: u128 = batch.deposits.iter().map(|each| each.amount).sum();
    let withdrawn: u128 = batch.withdrawals.iter().map(|each| each.amount).sum();
    assert_eq!(bridge.locked().call().await.expect("reads"), U256::from(deposited - withdrawn));

    let router = VerifierRouter::new(at.router, world.provider.clone());
    let proof_gas = router.requireValid(proof, batch.public_input).estimate_gas().await.expect("verifies");
    println!("| transaction | gas |");
    println!("| deposit | {deposit_gas} |");
    println!("| proof alone, through the router | {proof_gas} |");
    println!("| settle: certificate of five, proof, execution, {} withdrawal | {settle_gas} |", withdrawals.len());
    println!("| claim | {claim_gas} |");
    assert!(settle_gas <= 400_000, "a whole settle costs {settle_gas} gas");
}

async fn promise_timestamp(provider: &DynProvider, timestamp_s: u64) {
    let _: Value =
        provider.raw_request("evm_setNextBlockTimestamp".into(), [timestamp_s]).await.expect("a time to come");
}

/// The verifier alone on an L1.
async fn verifier() -> (World, Groth16Verifier::Groth16VerifierInstance<DynProvider>) {
    let world = World::start_at(L1_CHAIN_ID, START_S).await;
    let verifier = Groth16Verifier::deploy(world.provider.clone()).await.expect("deploys");
    (world, verifier)
}

#[tokio::test]
async fn the_proof_is_of_one_statement() {
    let (_world, verifier) = verifier().await;
    let batch = batch();
    let values = batch.statement;
    assert_eq!(input(&values), batch.public_input, "the prover and the protocol agree");
    let accepts = async |public_input| verifier.verifyProof(batch.proof, public_input).call().await.expect("answers");
    assert!(accepts(batch.public_input).await, "the real proof");

    // Each element of the statement changed, and the two checkpoints swapped.
    let program = |word: usize| {
        let mut words = values.program.elements();
        words[word] ^= 1;
        PublicValues { program: Digest::new(words).expect("canonical"), ..values }
    };
    let hash = |hash: Hash, byte: usize| Hash(std::array::from_fn(|i| hash.0[i] ^ u8::from(i == byte)));
    let mut others: Vec<_> = (0..4).map(program).collect();
    others.extend([0, 20, 52].map(|bit| PublicValues { chain_id: values.chain_id ^ 1 << bit, ..values }));
    others.extend((0..32).map(|byte| PublicValues { from: hash(values.from, byte), ..values }));
    others.extend((0..32).map(|byte| PublicValues { to: hash(values.to, byte), ..values }));
    others.push(PublicValues { from: values.to, to: values.from, ..values });
    for other in others {
        assert!(!accepts(input(&other)).await, "{other:?}");
    }
    // The same element of the field under other names, and its neighbours.
    let order: U256 = SCALAR_ORDER.parse().expect("a number");
    for multiple in 1..6 {
        if let Some(unreduced) = batch.public_input.checked_add(order * U256::from(multiple)) {
            assert!(!accepts(unreduced).await, "the input plus {multiple} times the order");
        }
    }
    for other in [batch.public_input + U256::ONE, order - batch.public_input, U256::ZERO, order, U256::MAX] {
        assert!(!accepts(other).await, "{other}");
    }
}

#[tokio::test]
async fn a_changed_proof_is_refused_and_a_negated_one_is_not() {
    let (_world, verifier) = verifier().await;
    let batch = batch();
    let order: U256 = BASE_ORDER.parse().expect("a number");
    let accepts = async |proof| verifier.verifyProof(proof, batch.public_input).call().await.expect("answers");
    let with = |word: usize, value: U256| {
        let mut proof = batch.proof;
        proof[word] = value;
        proof
    };
    assert!(accepts(batch.proof).await, "the real proof");
    for word in 0..8 {
        let value = batch.proof[word];
        assert!(!accepts(with(word, value ^ U256::ONE)).await, "word {word} changed");
        assert!(!accepts(with(word, U256::ZERO)).await, "word {word} is zero");
        assert!(!accepts(with(word, U256::MAX)).await, "word {word} is too large");
        assert!(!accepts(with(word, value + order)).await, "word {word} is not reduced");
    }
    // Points of the right kind in the wrong place: A and C swapped, infinity for each point, each point's negative, B's coordinates in the other order.
    let [a_x, a_y, b0, b1, b2, b3, c_x, c_y] = batch.proof;
    let zero = U256::ZERO;
    for (what, proof) in [
        ("A and C swapped", [c_x, c_y, b0, b1, b2, b3, a_x, a_y]),
        ("A at infinity", [zero, zero, b0, b1, b2, b3, c_x, c_y]),
        ("B at infinity", [a_x, a_y, zero, zero, zero, zero, c_x, c_y]),
        ("C at infinity", [a_x, a_y, b0, b1, b2, b3, zero, zero]),
        ("all at infinity", [zero; 8]),
        ("A negated", [a_x, order - a_y, b0, b1, b2, b3, c_x, c_y]),
        ("B negated", [a_x, a_y, b0, b1, order - b2, order - b3, c_x, c_y]),
        ("C negated", [a_x, a_y, b0, b1, b2, b3, c_x, order - c_y]),
        ("B's parts swapped", [a_x, a_y, b1, b0, b3, b2, c_x, c_y]),
    ] {
        assert!(!accepts(proof).await, "{what}");
    }
    // Malleability, on purpose in a test: anybody can make this other proof of the same statement. So bytes of a proof name nothing; the rollup
    // takes each transition once because it checks the parent checkpoint and moves on.
    assert!(accepts([a_x, order - a_y, b0, b1, order - b2, order - b3, c_x, c_y]).await, "(−A, −B, C)");
}
