//! One segment of sample payments, ready for the machine.

use std::time::Instant;

use anyhow::{Context, anyhow, ensure};
use joule_kernel::{BlockInput, SegmentWitness};
use joule_machine::{Outcome, Witness, kernel_image};
use joule_protocol::{Checkpoint, Digest, Native};
use joule_prover_engine::{Block, Cutter};
use joule_state::{BlockItems, MemoryStore, StateTree, witness_block, witness_segment};
use joule_tables::shape::Shape;
use joule_workload::{Chain, Extreme, GENESIS_SECONDS, Payments, Population, payments};

/// Wei for a unit of gas.
pub(crate) const BASE_FEE: u64 = 100;

/// Payments by seeded wallets, executed natively, with what the machine needs to execute them again.
pub(crate) struct Sample {
    chain_id: u64,
    from: Checkpoint,
    to: Checkpoint,
    /// What each payment is, in order.
    pub(crate) kinds: Vec<&'static str>,
    /// Blocks they are in.
    pub(crate) blocks: usize,
    /// Private input and advice.
    pub(crate) witness: Witness,
    /// What executing them natively with hints took.
    pub(crate) native_seconds: f64,
}

/// Blocks of sample payments on a chain of their own.
struct Blocks {
    chain_id: u64,
    from: Checkpoint,
    tree: StateTree<MemoryStore>,
    kinds: Vec<&'static str>,
    blocks: Vec<BlockItems>,
}

impl Blocks {
    /// Makes `count` payments by `wallets` wallets in blocks of at most `block`, and executes them.
    fn new(count: u32, block: u32, wallets: u32, seed: u64) -> anyhow::Result<Self> {
        let mut chain = Chain::new(Chain::test_genesis());
        let population = Population::new(seed, &chain.genesis, wallets.into(), wallets.div_ceil(4).into());
        let now = GENESIS_SECONDS + 60;
        let Payments { deposits, setup, payments } = payments(&population, now, BASE_FEE.into(), count as usize);
        for requests in deposits.chunks(64) {
            chain.block(now, BASE_FEE, requests, &[]).context("a block of deposits")?;
        }
        for transactions in setup.chunks(32) {
            let block = chain.block(now, BASE_FEE, &[], transactions).context("a block of registrations")?;
            ensure!(block.refused.is_empty(), "a registration was refused: {:?}", block.refused[0]);
        }
        let (from, tree) = (*chain.execution.checkpoint(), chain.execution.tree().clone());
        let mut blocks = Vec::new();
        let mut waiting = payments.as_slice();
        while !waiting.is_empty() {
            let offered = &waiting[..waiting.len().min(block as usize)];
            let transactions: Vec<_> = offered.iter().map(|(_, bytes)| bytes.clone()).collect();
            let block = chain.block(now, BASE_FEE, &[], &transactions).context("a block of payments")?;
            // What found no room is at the end, and goes into the next block.
            let taken = block.items.transactions.len();
            ensure!(taken > 0 && block.items.transactions == transactions[..taken], "a payment was refused");
            waiting = &waiting[taken..];
            blocks.push(block.items);
        }
        let kinds = payments.iter().map(|(kind, _)| *kind).collect();
        Ok(Self { chain_id: chain.genesis.chain_id, from, tree, kinds, blocks })
    }
}

/// Hints as the machine takes them.
pub(crate) fn machine_witness(witness: SegmentWitness) -> Witness {
    let siblings = witness.siblings.iter().map(|path| path.map(Digest::elements)).collect();
    Witness { input: witness.input, siblings }
}

impl Sample {
    /// Payments in one segment.
    pub(crate) fn new(count: u32, block: u32, wallets: u32, seed: u64) -> anyhow::Result<Self> {
        let Blocks { chain_id, from, mut tree, kinds, blocks } = Blocks::new(count, block, wallets, seed)?;
        let start = Instant::now();
        let (witness, to) = witness_segment(&mut tree, chain_id, &from, &blocks).context("witnessing the segment")?;
        let native_seconds = start.elapsed().as_secs_f64();
        let witness = machine_witness(witness);
        Ok(Self { chain_id, from, to, kinds, blocks: blocks.len(), witness, native_seconds })
    }

    /// Payments in as few segments as hold them, in blocks of at most `block`.
    pub(crate) fn segments(count: u32, block: u32, wallets: u32, seed: u64) -> anyhow::Result<Vec<Witness>> {
        let Blocks { chain_id, from, mut tree, blocks, .. } = Blocks::new(count, block, wallets, seed)?;
        cut(&mut tree, chain_id, &from, &blocks)
    }

    /// The image must say what the native kernel says.
    pub(crate) fn check(&self, outcome: &Outcome) -> anyhow::Result<()> {
        let mut expected = vec![self.chain_id as u32, (self.chain_id >> 32) as u32];
        expected.extend(self.from.hash::<Native>().to_words());
        expected.extend(self.to.hash::<Native>().to_words());
        ensure!(outcome.exit_code == 0, "the image halts with {}", outcome.exit_code);
        let committed = outcome.committed.context("the image commits nothing")?;
        ensure!(committed[..] == expected, "image and native kernel disagree: {committed:x?}, not {expected:x?}");
        Ok(())
    }
}

/// A block as full of one sort of call as its limits allow, at its worst.
pub(crate) struct FullBlock {
    /// What proves it.
    pub(crate) witness: Witness,
    /// Priority requests in it.
    pub(crate) requests: usize,
    /// Transactions in it.
    pub(crate) transactions: usize,
    /// Bytes of its data.
    pub(crate) chunk_bytes: usize,
}

impl FullBlock {
    pub(crate) fn new(extreme: Extreme) -> anyhow::Result<Self> {
        let mut chain = Chain::new(Chain::test_genesis());
        let now = GENESIS_SECONDS + 60;
        let blocks = extreme.blocks(1, &chain.genesis, now, BASE_FEE);
        for offer in &blocks.setup {
            chain.block(now, BASE_FEE, &offer.requests, &offer.transactions).context("a block before the full one")?;
        }
        let (from, mut tree) = (*chain.execution.checkpoint(), chain.execution.tree().clone());
        let full = &blocks.full;
        let block = chain
            .block(blocks.full_timestamp, BASE_FEE, &full.requests, &full.transactions)
            .context("the full block")?;
        let (requests, transactions) = (block.items.requests.len(), block.items.transactions.len());
        let chunk_bytes = block.sealed.block.chunk.bytes().len();
        let (witness, _) = witness_segment(&mut tree, chain.genesis.chain_id, &from, &[block.items])
            .context("witnessing the full block")?;
        Ok(Self { witness: machine_witness(witness), requests, transactions, chunk_bytes })
    }
}

/// Cuts blocks that start at `from` into as few segments as hold them, and commits them to `tree`.
pub(crate) fn cut(
    tree: &mut StateTree<MemoryStore>,
    chain_id: u64,
    from: &Checkpoint,
    items: &[BlockItems],
) -> anyhow::Result<Vec<Witness>> {
    let mut witnesses = Vec::with_capacity(items.len());
    let mut checkpoints = vec![*from];
    for block in items {
        let parent = checkpoints[checkpoints.len() - 1];
        let (witness, siblings, sealed, changes) =
            witness_block(tree, chain_id, &parent, block).context("witnessing a block")?;
        tree.commit(&changes).map_err(|error| anyhow!("committing a block: {error}"))?;
        witnesses.push((witness, siblings));
        checkpoints.push(sealed.checkpoint);
    }
    let blocks: Vec<Block<'_>> = items
        .iter()
        .zip(&witnesses)
        .zip(&checkpoints)
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
        .collect();
    let to = &checkpoints[checkpoints.len() - 1];
    let segments = Cutter::new(kernel_image(), &Shape::ALL).cut(chain_id, &blocks, to).context("cutting the batch")?;
    Ok(segments.into_iter().map(|segment| segment.input).collect())
}
