//! The committed image is the kernel: it does on the machine what the kernel does natively, to the last bit of the checkpoint.
//!
//! A checkpoint's hash covers state root, block hash, priority requests, withdrawals and batch data, so equal public values are equal everything.

mod common;

use std::{fs, path::Path};

use common::check_records;
use joule_kernel::{SegmentOutput, SegmentWitness, SiblingPaths, run_segment};
use joule_machine::{KERNEL_ELF, Limits, Witness, kernel_image, record, run};
use joule_protocol::{Digest, Native, limits::BLOCK_PRIORITY_MAX};
use joule_state::{BlockItems, witness_segment};
use joule_workload::{Chain, Chaos, GENESIS_SECONDS, Item, Population, payments};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;
use sha2::{Digest as _, Sha256};

const LIMITS: Limits = Limits { cycles: 1 << 26, pages: 4096 };
const BASE_FEE: u64 = 100;

fn machine_witness(segment: &SegmentWitness) -> Witness {
    let siblings = segment.siblings.iter().map(|path| path.map(Digest::elements)).collect();
    Witness { input: segment.input.clone(), siblings }
}

fn natively(segment: &SegmentWitness) -> Option<SegmentOutput> {
    run_segment::<Native>(&segment.input, &mut SiblingPaths(segment.siblings.iter())).ok()
}

/// What the image commits; nothing if it ends in any other way than `halt(0)`.
fn on_the_machine(segment: &SegmentWitness) -> Option<[u32; 18]> {
    let outcome = run(kernel_image(), &machine_witness(segment), LIMITS).ok()?;
    outcome.committed.filter(|_| outcome.exit_code == 0)
}

fn committed(output: &SegmentOutput) -> [u32; 18] {
    let mut words = vec![output.chain_id as u32, (output.chain_id >> 32) as u32];
    words.extend(output.from.to_words().into_iter().chain(output.to.to_words()));
    words.try_into().unwrap()
}

/// Executes blocks of a random stream, and makes them segments of `blocks` blocks each.
fn chaos_segments(seed: u64, segments: usize, blocks: usize, items: usize) -> Vec<SegmentWitness> {
    let mut chain = Chain::new(Chain::test_genesis());
    let population = Population::new(seed, &chain.genesis, 6, 8);
    let mut chaos = Chaos::new(seed, population, GENESIS_SECONDS + 10);
    (0..segments)
        .map(|segment| {
            let (from, mut tree) = (*chain.execution.checkpoint(), chain.execution.tree().clone());
            let blocks: Vec<BlockItems> =
                (0..blocks).map(|block| chaos_block(&mut chain, &mut chaos, segment + block == 0, items)).collect();
            let (witness, to) = witness_segment(&mut tree, chain.genesis.chain_id, &from, &blocks).unwrap();
            assert_eq!(to, *chain.execution.checkpoint());
            witness
        })
        .collect()
}

fn chaos_block(chain: &mut Chain, chaos: &mut Chaos, is_first: bool, items: usize) -> BlockItems {
    chaos.advance();
    let (mut requests, mut transactions) = (Vec::new(), Vec::new());
    let mut offer = |item| match item {
        Item::Request(bytes) => requests.push(bytes),
        Item::Transaction { bytes, .. } => transactions.push(bytes),
    };
    if is_first {
        (0..chaos.population.wallets.len()).for_each(|wallet| offer(chaos.deposit(wallet, 1 << 90)));
    }
    (0..items).for_each(|index| offer(chaos.next_item(index < 8)));
    requests.truncate(BLOCK_PRIORITY_MAX);
    let block = chain.block(chaos.now, BASE_FEE, &requests, &transactions).unwrap();
    for wallet in 0..chaos.population.wallets.len() {
        let key = joule_protocol::Key::account(&chaos.population.wallets[wallet].address);
        if let Some(joule_protocol::Object::Account(account)) = chain.execution.tree().get(&key).unwrap() {
            chaos.set_nonce(wallet, account.nonce);
        }
    }
    block.items
}

#[test]
fn random_streams_end_in_the_same_checkpoint() {
    for seed in 0..6 {
        for segment in chaos_segments(seed, 2, 6, 20) {
            let native = natively(&segment).expect("what was executed can be proven");
            assert_eq!(on_the_machine(&segment), Some(committed(&native)), "seed {seed}");
        }
    }
}

#[test]
fn records_of_payments_keep_the_rules_of_the_tables() {
    let mut chain = Chain::new(Chain::test_genesis());
    let population = Population::new(3, &chain.genesis, 8, 2);
    let now = GENESIS_SECONDS + 60;
    let stream = payments(&population, now, BASE_FEE.into(), 32);
    let (from, mut tree) = (*chain.execution.checkpoint(), chain.execution.tree().clone());
    let blocks = [(stream.deposits, Vec::new()), (Vec::new(), stream.setup)]
        .into_iter()
        .chain([(Vec::new(), stream.payments.into_iter().map(|(_, bytes)| bytes).collect())])
        .map(|(requests, transactions)| chain.block(now, BASE_FEE, &requests, &transactions).unwrap().items);
    let blocks: Vec<_> = blocks.collect();
    let (segment, _) = witness_segment(&mut tree, chain.genesis.chain_id, &from, &blocks).unwrap();
    let witness = machine_witness(&segment);
    let (outcome, records) = record(kernel_image(), &witness, LIMITS).unwrap();
    assert_eq!(outcome, run(kernel_image(), &witness, LIMITS).unwrap());
    assert_eq!(outcome.committed, natively(&segment).as_ref().map(committed));
    assert_eq!(records.recoveries.len() as u64, outcome.precompiles.ecrecover);
    check_records(kernel_image(), &witness, &records);
}

/// Whatever a prover changes in input or advice, the image says what the native kernel says: another statement, or nothing.
#[test]
fn changed_hints_are_judged_alike() {
    let mut random = ChaCha12Rng::seed_from_u64(9);
    let segment = chaos_segments(17, 2, 2, 8).pop().unwrap();
    let (mut refused, mut other) = (0, 0);
    for _ in 0..300 {
        let mut changed = segment.clone();
        if random.random_ratio(1, 8) {
            let path = random.random_range(0..changed.siblings.len());
            let level = random.random_range(0..32);
            let mut elements = changed.siblings[path][level].elements();
            elements[random.random_range(0..4)] ^= 1 << random.random_range(0..32);
            // An element that is no longer canonical is refused by the type already.
            let Ok(sibling) = Digest::new(elements) else { continue };
            changed.siblings[path][level] = sibling;
        } else {
            let word = random.random_range(0..changed.input.len());
            changed.input[word] = match random.random_range(0..3) {
                0 => changed.input[word] ^ 1 << random.random_range(0..32),
                1 => random.random_range(0..64),
                _ => random.random(),
            };
        }
        let native = natively(&changed).as_ref().map(committed);
        assert_eq!(on_the_machine(&changed), native);
        match native {
            None => refused += 1,
            Some(_) => other += 1,
        }
    }
    // Nearly every word is bound by a hash or a signature; a block's time and fee are the prover's to choose.
    assert!(refused > 250, "{refused} refused, {other} accepted");
}

/// The image must be what `circuits/kernel/image/build` made of the sources as they are.
#[test]
fn the_image_is_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files: Vec<String> = ["circuits/kernel/src", "circuits/protocol/src", "circuits/kernel/image/src"]
        .into_iter()
        .flat_map(|folder| files_below(&root, folder))
        .collect();
    files.extend(["image.ld", "Cargo.toml", "Cargo.lock"].map(|name| format!("circuits/kernel/image/{name}")));
    files.sort();
    let hash = |bytes: &[u8]| hex::encode(Sha256::digest(bytes));
    let list: String =
        files.iter().map(|file| format!("{}  {file}\n", hash(&fs::read(root.join(file)).unwrap()))).collect();
    let digests = fs::read_to_string(root.join("circuits/kernel/image/kernel.digests")).unwrap();
    let expected = format!("sources {}\nimage {}\n", hash(list.as_bytes()), hash(KERNEL_ELF));
    assert_eq!(
        digests, expected,
        "sources and image disagree: run circuits/kernel/image/build and commit what it makes"
    );
}

fn files_below(root: &Path, folder: &str) -> Vec<String> {
    let mut files = Vec::new();
    for entry in fs::read_dir(root.join(folder)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{folder}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            files.extend(files_below(root, &path));
        } else {
            files.push(path);
        }
    }
    files
}
