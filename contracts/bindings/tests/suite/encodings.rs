//! Every encoding that Solidity and Rust share, on random values.

use alloy::primitives::{Address, B256, Bytes, U256};
use joule_contracts::{Probe, bls_keyset_hash, ecdsa_keyset_hash};
use joule_protocol as protocol;
use joule_protocol::{
    Account, Accumulator, Channel, ChannelStatus, Checkpoint, ComputeReceipt, Device, DeviceStatus, Digest, Domain,
    Hashing, Job, JobStatus, Key, MessageTree, Native, Object, PriorityRequest, PublicValues, SystemContract, Tag,
    Voucher, compress, leaf_digest, withdrawal_leaf,
};
use rand::Rng;

use super::support::{Tree, World, b256, next_key, random, random_address, random_digest, random_hash};

const CASES: usize = 24;

#[tokio::test]
async fn poseidon2_is_the_proving_systems() {
    let (world, mut random) = (World::start(31_337).await, random());
    let probe = world.probe().await;
    let last = protocol::GOLDILOCKS - 1;
    let edges = [
        Digest::EMPTY,
        Digest::new([last; 4]).expect("canonical"),
        Digest::new([1, last, 0, last]).expect("canonical"),
    ];
    for case in 0..CASES {
        let (left, right) = match case {
            0..9 => (edges[case / 3], edges[case % 3]),
            _ => (random_digest(&mut random), random_digest(&mut random)),
        };
        let got = probe.compress(b256(left), b256(right)).call().await.expect("compresses");
        assert_eq!(got, b256(compress(left, right)), "{left} {right}");
    }
    for length in 0..30 {
        let words: Vec<u32> = (0..length).map(|_| random.random()).collect();
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        for tag in [Tag::Value, Tag::Leaf] {
            let got = probe.hashWords(U256::from(tag as u32), bytes.clone().into()).call().await.expect("hashes");
            assert_eq!(got, b256(Native::hash_words(tag, &words)), "{length} words");
        }
    }
}

#[tokio::test]
async fn leaves_of_every_kind_agree() {
    let (world, mut random) = (World::start(31_337).await, random());
    let probe = world.probe().await;
    for _ in 0..CASES {
        let next = Key::from_words(random.random());
        let (owner, nonce) = (random_address(&mut random), random.random());
        let l1_owner = Address::new(owner.0);
        let l1_next = B256::new(next.to_bytes());
        let amount = |random: &mut rand_chacha::ChaCha8Rng| random.random::<u128>() >> 8;

        let account = Account { nonce, balance: amount(&mut random) };
        let got = probe.accountLeaf(l1_owner, l1_next, (&account).into()).call().await.expect("a leaf");
        assert_eq!(got, leaf(Key::account(&owner), next, Object::Account(account)));

        let device = Device {
            owner: random_address(&mut random),
            payout: random_address(&mut random),
            stake: amount(&mut random),
            bonded: amount(&mut random),
            class: random.random(),
            tier: random.random(),
            tier_expiry: random.random(),
            units_served: random.random(),
            status: DeviceStatus::Retired,
        };
        let got = probe.deviceLeaf(l1_owner, l1_next, (&device).into()).call().await.expect("a leaf");
        assert_eq!(got, leaf(Key::device(&owner), next, Object::Device(device)));

        let job = Job {
            status: JobStatus::Claimed,
            minimum_tier: random.random(),
            is_device_named: random.random(),
            device: random_address(&mut random),
            model: random_hash(&mut random),
            input_hash: random_hash(&mut random),
            unit_price: amount(&mut random),
            unit_limit: random.random(),
            escrow: amount(&mut random),
            bond: amount(&mut random),
            deadline: random.random(),
            receipt_digest: random_hash(&mut random),
            units_paid: random.random(),
        };
        let got = probe.jobLeaf(l1_owner, nonce, l1_next, (&job).into()).call().await.expect("a leaf");
        assert_eq!(got, leaf(Key::job(&owner, nonce), next, Object::Job(job)));

        let channel = Channel {
            payee: random_address(&mut random),
            deposit: amount(&mut random),
            paid: amount(&mut random),
            closing_time: random.random(),
            status: ChannelStatus::Closing,
        };
        let got = probe.channelLeaf(l1_owner, nonce, l1_next, (&channel).into()).call().await.expect("a leaf");
        assert_eq!(got, leaf(Key::channel(&owner, nonce), next, Object::Channel(channel)));
    }
}

fn leaf(key: Key, next: Key, object: Object) -> B256 {
    b256(leaf_digest::<Native>(&key, &next, object.digest::<Native>()))
}

#[tokio::test]
async fn paths_of_a_whole_tree_are_accepted_and_others_refused() {
    let (world, mut random) = (World::start(31_337).await, random());
    let probe = world.probe().await;
    let mut accounts: Vec<_> = (0..11)
        .map(|_| {
            (random_address(&mut random), Account { nonce: random.random(), balance: random.random::<u128>() >> 8 })
        })
        .collect();
    accounts.sort_by_key(|(address, _)| *address);
    let tree = Tree::with_accounts(&accounts);
    probe.setRoot(b256(tree.root())).send().await.expect("sends").get_receipt().await.expect("mined");
    for (i, (address, account)) in accounts.iter().enumerate() {
        let opening = Probe::Opening::new(i as u32 + 2, &next_key(&accounts, i), tree.siblings(i + 2));
        let owner = Address::new(address.0);
        probe.requireAccount(owner, account.into(), opening.clone()).call().await.expect("the leaf is there");
        let richer = Account { balance: account.balance ^ 1, ..*account };
        let refused = probe.requireAccount(owner, (&richer).into(), opening).call().await;
        assert!(refused.is_err(), "this leaf is not there");
    }
}

#[tokio::test]
async fn checkpoints_requests_and_public_inputs_agree() {
    let (world, mut random) = (World::start(31_337).await, random());
    let probe = world.probe().await;
    for case in 0..CASES {
        let checkpoint = Checkpoint {
            protocol_version: random.random(),
            state_root: random_digest(&mut random),
            block_number: random.random(),
            block_hash: random_hash(&mut random),
            timestamp: random.random(),
            priority_count: random.random(),
            priority_acc: Accumulator(random_hash(&mut random)),
            message_acc: Accumulator(random_hash(&mut random)),
            data_acc: Accumulator(random_hash(&mut random)),
        };
        let l1_checkpoint = Probe::Checkpoint::from(&checkpoint);
        assert_eq!(Checkpoint::try_from(&l1_checkpoint), Ok(checkpoint));
        let hash = checkpoint.hash::<Native>();
        assert_eq!(probe.checkpointHash(l1_checkpoint).call().await.expect("hashes"), B256::new(hash.0));

        let data = (0..random.random_range(0..=1_024)).map(|_| random.random()).collect();
        let request = PriorityRequest {
            kind: random.random_range(1..=3),
            sender: random_address(&mut random),
            to: random_address(&mut random),
            amount: random.random::<u128>() >> 8,
            timestamp: random.random(),
            data: if case == 0 { Vec::new() } else { data },
        };
        let got = probe.requestEncoding((&request).into()).call().await.expect("encodes");
        assert_eq!(got, Bytes::from(request.encode()));

        let values = PublicValues {
            program: random_digest(&mut random),
            chain_id: random.random_range(0..1 << 53),
            from: random_hash(&mut random),
            to: hash,
        };
        let got = probe
            .publicInput(b256(values.program), values.chain_id, B256::new(values.from.0), B256::new(values.to.0))
            .call()
            .await
            .expect("hashes");
        assert_eq!(got, U256::from_be_bytes(values.public_input().0));
    }
}

#[tokio::test]
async fn withdrawals_chain_and_tree_agree() {
    let (world, mut random) = (World::start(31_337).await, random());
    let probe = world.probe().await;
    for count in (0..9).chain([31, 32, 33]) {
        let mut accumulator = Accumulator(random_hash(&mut random));
        let start = B256::new(accumulator.0.0);
        let withdrawals: Vec<_> =
            (0..count).map(|i| (i as u64 + 5, random_address(&mut random), random.random::<u128>() >> 8)).collect();
        let leaves: Vec<_> =
            withdrawals.iter().map(|(index, to, amount)| withdrawal_leaf::<Native>(*index, to, *amount)).collect();
        for leaf in &leaves {
            accumulator.absorb::<Native>(&leaf.0);
        }
        let tree = MessageTree::new::<Native>(leaves);
        let list: Vec<_> =
            withdrawals.iter().map(|(index, to, amount)| Probe::Withdrawal::new(*index, *to, *amount)).collect();
        let got = probe.accumulate(start, list.clone()).call().await.expect("accumulates");
        assert_eq!((got._0, got._1), (B256::new(accumulator.0.0), B256::new(tree.root().0)), "{count} withdrawals");
        for (position, withdrawal) in list.into_iter().enumerate() {
            let path = tree.path(position).expect("a leaf").into_iter().map(|hash| B256::new(hash.0)).collect();
            let root = probe.climb(withdrawal, U256::from(position), path).call().await.expect("climbs");
            assert_eq!(root, B256::new(tree.root().0), "{position} of {count}");
        }
    }
}

#[tokio::test]
async fn receipts_and_vouchers_agree() {
    let (world, mut random) = (World::start(31_337).await, random());
    let probe = world.probe().await;
    for _ in 0..CASES {
        let (chain_id, genesis_id) = (random.random_range(1..1 << 53), random_hash(&mut random));
        let receipt = ComputeReceipt {
            client: random_address(&mut random),
            client_nonce: random.random(),
            device: random_address(&mut random),
            model: random_hash(&mut random),
            runtime: random_hash(&mut random),
            input_hash: random_hash(&mut random),
            output_hash: random_hash(&mut random),
            units: random.random(),
            unit_price: random.random(),
            started_at: random.random(),
            finished_at: random.random(),
            tier: random.random(),
            evidence: random_hash(&mut random),
        };
        let domain = Domain::new::<Native>(chain_id, SystemContract::Jobs, &genesis_id);
        let expected = domain.digest::<Native>(&receipt.struct_hash::<Native>());
        let got =
            probe.receiptDigest(chain_id, B256::new(genesis_id.0), (&receipt).into()).call().await.expect("hashes");
        assert_eq!(got, B256::new(expected.0));

        let voucher = Voucher {
            client: receipt.client,
            client_nonce: receipt.client_nonce,
            payee: receipt.device,
            cumulative: receipt.unit_price,
        };
        let domain = Domain::new::<Native>(chain_id, SystemContract::Channels, &genesis_id);
        let expected = domain.digest::<Native>(&voucher.struct_hash::<Native>());
        let got =
            probe.voucherDigest(chain_id, B256::new(genesis_id.0), (&voucher).into()).call().await.expect("hashes");
        assert_eq!(got, B256::new(expected.0));
    }
}

#[tokio::test]
async fn keyset_hashes_agree() {
    let (world, mut random) = (World::start(31_337).await, random());
    let probe = world.probe().await;
    for size in [0, 1, 5, 64] {
        let quorum = random.random();
        let signers: Vec<_> = (0..size).map(|_| Address::new(random.random())).collect();
        let got = probe.ecdsaKeyset(quorum, signers.clone()).call().await.expect("hashes");
        assert_eq!(got, ecdsa_keyset_hash(quorum, &signers));
        let keys: Vec<[U256; 2]> =
            (0..size).map(|_| std::array::from_fn(|_| U256::from_be_bytes(random.random::<[u8; 32]>()))).collect();
        let points = keys.iter().map(|&[x, y]| Probe::G1 { x, y }).collect();
        let got = probe.blsKeyset(quorum, points).call().await.expect("hashes");
        assert_eq!(got, bls_keyset_hash(quorum, &keys));
    }
}
