//! Batches of the kernel cut into segments that fit.

use joule_kernel::{BlockInput, BlockWitness};
use joule_machine::{Limits, kernel_image, record, run};
use joule_protocol::{Checkpoint, Digest, Native, limits::TREE_DEPTH};
use joule_prover_engine::{Block, CutError, Cutter, Segment, cost_cells};
use joule_state::{BlockItems, MemoryStore, StateTree, witness_block};
use joule_tables::{rows::RowCounts, shape::Shape, table::TableName};
use joule_workload::{Chain, Chaos, Extreme, GENESIS_SECONDS, Item, Population, payments};

const BASE_FEE: u64 = 100;

/// Blocks with their hints, and the checkpoints between them.
struct Stream {
    chain_id: u64,
    items: Vec<BlockItems>,
    witnesses: Vec<(BlockWitness, Vec<[Digest; TREE_DEPTH]>)>,
    checkpoints: Vec<Checkpoint>,
}

impl Stream {
    /// Hints for blocks that `chain` has executed since `tree` and `from`.
    fn new(chain: &Chain, mut tree: StateTree<MemoryStore>, from: Checkpoint, items: Vec<BlockItems>) -> Self {
        let chain_id = chain.genesis.chain_id;
        let (mut witnesses, mut checkpoints) = (Vec::new(), vec![from]);
        for block in &items {
            let parent = checkpoints[checkpoints.len() - 1];
            let (witness, siblings, sealed, changes) = witness_block(&tree, chain_id, &parent, block).unwrap();
            tree.commit(&changes).unwrap();
            witnesses.push((witness, siblings));
            checkpoints.push(sealed.checkpoint);
        }
        assert_eq!(checkpoints.last(), Some(chain.execution.checkpoint()));
        Self { chain_id, items, witnesses, checkpoints }
    }

    /// Random blocks of `items` items each.
    fn chaos(seed: u64, blocks: usize, items: usize) -> Self {
        let mut chain = Chain::new(Chain::test_genesis());
        let population = Population::new(seed, &chain.genesis, 6, 8);
        let mut chaos = Chaos::new(seed, population, GENESIS_SECONDS + 10);
        let (from, tree) = (*chain.execution.checkpoint(), chain.execution.tree().clone());
        let mut taken = Vec::new();
        for block in 0..blocks {
            chaos.advance();
            let (mut requests, mut transactions) = (Vec::new(), Vec::new());
            let mut offer = |item| match item {
                Item::Request(bytes) => requests.push(bytes),
                Item::Transaction { bytes, .. } => transactions.push(bytes),
            };
            if block == 0 {
                (0..chaos.population.wallets.len()).for_each(|wallet| offer(chaos.deposit(wallet, 1 << 90)));
            }
            (0..items).for_each(|index| offer(chaos.next_item(index < 4)));
            taken.push(chain.block(chaos.now, BASE_FEE, &requests, &transactions).unwrap().items);
            for wallet in 0..chaos.population.wallets.len() {
                let key = joule_protocol::Key::account(&chaos.population.wallets[wallet].address);
                if let Some(joule_protocol::Object::Account(account)) = chain.execution.tree().get(&key).unwrap() {
                    chaos.set_nonce(wallet, account.nonce);
                }
            }
        }
        Self::new(&chain, tree, from, taken)
    }

    /// Payments in blocks of `block`.
    fn payments(count: usize, block: usize) -> Self {
        let mut chain = Chain::new(Chain::test_genesis());
        let population = Population::new(5, &chain.genesis, 16, 4);
        let now = GENESIS_SECONDS + 60;
        let stream = payments(&population, now, BASE_FEE.into(), count);
        chain.block(now, BASE_FEE, &stream.deposits, &[]).unwrap();
        chain.block(now, BASE_FEE, &[], &stream.setup).unwrap();
        let (from, tree) = (*chain.execution.checkpoint(), chain.execution.tree().clone());
        let offered: Vec<Vec<u8>> = stream.payments.into_iter().map(|(_, bytes)| bytes).collect();
        let taken = offered.chunks(block).map(|offered| chain.block(now, BASE_FEE, &[], offered).unwrap().items);
        let taken = taken.collect();
        Self::new(&chain, tree, from, taken)
    }

    fn extreme(extreme: Extreme) -> Self {
        let mut chain = Chain::new(Chain::test_genesis());
        let now = GENESIS_SECONDS + 60;
        let blocks = extreme.blocks(1, &chain.genesis, now, BASE_FEE);
        for offer in &blocks.setup {
            chain.block(now, BASE_FEE, &offer.requests, &offer.transactions).unwrap();
        }
        let (from, tree) = (*chain.execution.checkpoint(), chain.execution.tree().clone());
        let full = &blocks.full;
        let taken = chain.block(blocks.full_timestamp, BASE_FEE, &full.requests, &full.transactions).unwrap().items;
        Self::new(&chain, tree, from, vec![taken])
    }

    fn blocks(&self) -> Vec<Block<'_>> {
        let blocks = self.items.iter().zip(&self.witnesses).zip(&self.checkpoints);
        blocks
            .map(|((items, (witness, siblings)), from)| Block {
                from,
                input: BlockInput {
                    timestamp: items.timestamp,
                    base_fee: items.base_fee,
                    requests: &items.requests,
                    transactions: &items.transactions,
                    witness,
                },
                siblings,
            })
            .collect()
    }

    fn to(&self) -> &Checkpoint {
        &self.checkpoints[self.checkpoints.len() - 1]
    }

    fn cut(&self, shapes: &[Shape]) -> Result<Vec<Segment>, CutError> {
        Cutter::new(kernel_image(), shapes).cut(self.chain_id, &self.blocks(), self.to())
    }
}

/// Segments follow one another without a gap, each runs from checkpoint to checkpoint, and its rows are as counted and fit.
fn check(stream: &Stream, segments: &[Segment]) {
    let mut next = 0;
    for segment in segments {
        assert_eq!(segment.blocks.start, next);
        next = segment.blocks.end;
        let outcome = run(kernel_image(), &segment.input, Limits::default()).unwrap();
        let committed = outcome.committed.unwrap();
        let hash = |block: usize| stream.checkpoints[block].hash::<Native>().to_words();
        assert_eq!(committed[..2], [stream.chain_id as u32, (stream.chain_id >> 32) as u32]);
        assert_eq!(committed[2..10], hash(segment.blocks.start));
        assert_eq!(committed[10..], hash(segment.blocks.end));
        assert_eq!(outcome.cycles, segment.cycles);
        let (_, records) = record(kernel_image(), &segment.input, Limits::default()).unwrap();
        assert_eq!(RowCounts::of(kernel_image(), &records), segment.rows);
        segment.rows.check(segment.shape).unwrap();
    }
    assert_eq!(next, stream.items.len());
}

#[test]
fn random_streams_are_cut_into_segments_that_chain() {
    for seed in 0..3 {
        let stream = Stream::chaos(seed, 12, 12);
        for shapes in [&Shape::ALL[..], &Shape::ALL[..1]] {
            let segments = stream.cut(shapes).unwrap();
            check(&stream, &segments);
            assert!(segments.iter().all(|segment| shapes.contains(&segment.shape)));
        }
        assert!(stream.cut(&Shape::ALL[..1]).unwrap().len() > stream.cut(&Shape::ALL).unwrap().len());
    }
}

/// Greedy filling leaves no room that the next block would have fit.
#[test]
fn segments_are_as_full_as_whole_blocks_allow() {
    let stream = Stream::payments(96, 4);
    let segments = stream.cut(&Shape::ALL[..1]).unwrap();
    check(&stream, &segments);
    for pair in segments.windows(2) {
        // The next block joined on, and run.
        let together = pair[0].blocks.start..pair[0].blocks.end + 1;
        let blocks = &stream.blocks()[together.clone()];
        let inputs: Vec<BlockInput<'_>> = blocks.iter().map(|block| block.input).collect();
        let input = joule_prover_engine::SegmentInput {
            input: joule_kernel::write_input(stream.chain_id, blocks[0].from, &inputs),
            siblings: blocks.iter().flat_map(|block| block.siblings).map(|path| path.map(Digest::elements)).collect(),
        };
        let (_, records) = record(kernel_image(), &input, Limits::default()).unwrap();
        let rows = RowCounts::of(kernel_image(), &records);
        let worst =
            rows.iter().map(|(table, rows)| rows as f64 / Shape::Small.height(table) as f64).fold(0.0, f64::max);
        assert!(worst > 0.97, "one more block would have filled {worst:.3} of the shape");
    }
}

#[test]
fn a_small_batch_takes_the_small_shape() {
    let stream = Stream::payments(8, 8);
    let segments = stream.cut(&Shape::ALL).unwrap();
    assert_eq!(segments.len(), 1);
    assert_eq!(segments[0].shape, Shape::Small);
}

/// No shape alone would be cheaper, whatever the blocks are like; and nothing stands in a larger shape than it needs.
#[test]
fn batches_are_cut_for_what_costs_least() {
    let cost = |segments: &[Segment]| segments.iter().map(|segment| cost_cells(segment.shape)).sum::<u64>();
    for block in [4, 16] {
        let stream = Stream::payments(112, block);
        let segments = stream.cut(&Shape::ALL).unwrap();
        check(&stream, &segments);
        for shape in Shape::ALL {
            let alone = stream.cut(&[shape]).unwrap();
            assert!(cost(&segments) <= cost(&alone), "{shape} alone costs less, in blocks of {block}");
        }
        for segment in &segments {
            let mut smaller = Shape::ALL.into_iter().take_while(|shape| *shape != segment.shape);
            assert!(smaller.all(|shape| segment.rows.check(shape).is_err()));
        }
    }
}

/// The protocol's limits keep every block provable: full blocks of each sort of call fit the largest shape.
#[test]
fn the_fullest_blocks_fit_the_largest_shape() {
    let mut fullest = [(0.0, Extreme::Transfers); TableName::ALL.len()];
    for extreme in Extreme::ALL {
        let stream = Stream::extreme(extreme);
        let segments = stream.cut(&Shape::ALL).unwrap_or_else(|error| panic!("{extreme:?}: {error}"));
        assert_eq!(segments.len(), 1);
        for (most, (table, rows)) in fullest.iter_mut().zip(segments[0].rows.iter()) {
            let share = rows as f64 / Shape::Large.height(table) as f64;
            if share > most.0 {
                *most = (share, extreme);
            }
        }
    }
    for (table, (share, extreme)) in TableName::ALL.iter().zip(fullest) {
        println!("{table}: {:.0} % by {extreme:?}", 100.0 * share);
    }
}

#[test]
fn what_cannot_be_cut_is_named() {
    let stream = Stream::payments(16, 8);
    let (blocks, to) = (stream.blocks(), stream.to());
    let cutter = Cutter::new(kernel_image(), &Shape::ALL);
    assert!(matches!(cutter.cut(stream.chain_id, &[], to), Err(CutError::NoBlocks)));
    let none = Cutter::new(kernel_image(), &[]).cut(stream.chain_id, &blocks, to);
    assert!(matches!(none, Err(CutError::NoShapes)));
    // Too low a shape: the table is named.
    match Cutter::new(kernel_image(), &[Shape::Tiny]).cut(stream.chain_id, &blocks, to) {
        Err(CutError::BlockTooLarge { position: 0, rows, height, .. }) => assert!(rows > height),
        other => panic!("{other:?}"),
    }
    // Another chain's id, another end, blocks in another order, hints of another block.
    let foreign = cutter.cut(stream.chain_id + 1, &blocks, to);
    assert!(matches!(foreign, Err(CutError::NotProvable { .. })), "{foreign:?}");
    let elsewhere = cutter.cut(stream.chain_id, &blocks, blocks[1].from);
    assert!(matches!(elsewhere, Err(CutError::NotConnected { .. })), "{elsewhere:?}");
    let swapped = cutter.cut(stream.chain_id, &[blocks[1], blocks[0]], to);
    assert!(swapped.is_err());
    let mut mixed = blocks.clone();
    mixed[0].siblings = blocks[1].siblings;
    assert!(cutter.cut(stream.chain_id, &mixed, to).is_err());
}
