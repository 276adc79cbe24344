//! Random streams of transactions, executed by the committed image of the kernel: what is honest always has a proof.

use joule_kernel::SegmentWitness;
use joule_machine::{Limits, Records, Witness as MachineWitness, kernel_image, record};
use joule_protocol::{Digest, Key, Object, limits::BLOCK_PRIORITY_MAX};
use joule_state::{BlockItems, witness_segment};
use joule_tables::{
    config::Profile, prove::Setup, rows::RowCounts, shape::Shape, table::TableName, trace::TraceError, witness::Witness,
};
use joule_workload::{Chain, Chaos, GENESIS_SECONDS, Item, Population};

const BASE_FEE: u64 = 100;
const CPU_HEIGHT: usize = Shape::Small.height(TableName::Cpu);

/// Blocks of a random stream of requests and transactions, sensible and senseless ones, as one segment.
fn segment(seed: u64, blocks: usize, items: usize) -> SegmentWitness {
    let mut chain = Chain::new(Chain::test_genesis());
    let population = Population::new(seed, &chain.genesis, 6, 8);
    let mut chaos = Chaos::new(seed, population, GENESIS_SECONDS + 10);
    let (from, mut tree) = (*chain.execution.checkpoint(), chain.execution.tree().clone());
    let blocks: Vec<BlockItems> = (0..blocks).map(|index| block(&mut chain, &mut chaos, index == 0, items)).collect();
    let (witness, to) = witness_segment(&mut tree, chain.genesis.chain_id, &from, &blocks).unwrap();
    assert_eq!(to, *chain.execution.checkpoint());
    witness
}

fn block(chain: &mut Chain, chaos: &mut Chaos, is_first: bool, items: usize) -> BlockItems {
    chaos.advance();
    let (mut requests, mut transactions) = (Vec::new(), Vec::new());
    let mut offer = |item| match item {
        Item::Request(bytes) => requests.push(bytes),
        Item::Transaction { bytes, .. } => transactions.push(bytes),
    };
    if is_first {
        (0..chaos.population.wallets.len()).for_each(|wallet| offer(chaos.deposit(wallet, 1 << 90)));
    }
    (0..items).for_each(|index| offer(chaos.next_item(index < 2)));
    requests.truncate(BLOCK_PRIORITY_MAX);
    let block = chain.block(chaos.now, BASE_FEE, &requests, &transactions).unwrap();
    for wallet in 0..chaos.population.wallets.len() {
        let key = Key::account(&chaos.population.wallets[wallet].address);
        if let Some(Object::Account(account)) = chain.execution.tree().get(&key).unwrap() {
            chaos.set_nonce(wallet, account.nonce);
        }
    }
    block.items
}

/// The records of a segment's run on the machine.
fn records(segment: &SegmentWitness) -> Records {
    let siblings = segment.siblings.iter().map(|path| path.map(Digest::elements)).collect();
    let witness = MachineWitness { input: segment.input.clone(), siblings };
    let (outcome, records) = record(kernel_image(), &witness, Limits::default()).unwrap();
    assert_eq!(outcome.exit_code, 0);
    records
}

#[test]
fn random_streams_satisfy_all_tables() {
    let image = kernel_image();
    let tables = Shape::Small.tables(image).unwrap();
    for seed in 0..3 {
        let records = records(&segment(seed, 2, 6));
        let rows = RowCounts::of(image, &records);
        assert_eq!(Shape::for_rows(&rows), Some(Shape::Small), "seed {seed}: {rows:?}");
        let witness = Witness::new(Shape::Small, &tables, image, &records).unwrap();
        let faults = witness.check(&tables, 5);
        assert!(faults.is_empty(), "seed {seed}, {} cycles: {faults:#?}", records.cycles.len());
    }
}

#[test]
fn a_random_stream_is_proven() {
    let records = records(&segment(100, 2, 8));
    let setup = Setup::new(Shape::Small, kernel_image()).unwrap();
    let witness = setup.witness(&records).unwrap();
    let proof = setup.prove_witness(Profile::Fast, &witness).unwrap();
    setup.verifying_key().verify(Profile::Fast, &witness.public_values, &proof).unwrap();
}

/// The counted rows decide what fits, and filling agrees with them.
#[test]
fn what_does_not_fit_is_refused_with_the_table_that_is_too_low() {
    let image = kernel_image();
    let records = records(&segment(7, 1, 1));
    let mut long = records.clone();
    while long.cycles.len() + 2 <= CPU_HEIGHT {
        long.cycles.extend_from_slice(&records.cycles);
    }
    let expected = TraceError::TooManyRows { table: "cpu", rows: long.cycles.len() + 2, height: CPU_HEIGHT };
    let rows = RowCounts::of(image, &long);
    assert_eq!(rows.check(Shape::Small), Err(expected.clone()));
    assert_eq!(Shape::for_rows(&rows), Some(Shape::Medium));
    let tables = Shape::Small.tables(image).unwrap();
    assert_eq!(Witness::new(Shape::Small, &tables, image, &long).unwrap_err(), expected);
}
