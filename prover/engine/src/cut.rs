//! Cutting a batch into segments.
//!
//! A segment is a run of whole blocks that one table proof covers, so its rows must fit a shape, whose cells are proven however full they are. Each block is run alone once and
//! its rows counted. Each shape is then filled: blocks are taken greedily while the sum of their rows fits; a sum overstates a segment, since each lone run starts the
//! program and ends it, so where the sum no longer fits the segment itself is run, and what that shows to be left is filled up. Of the shapes so filled that one is taken
//! which makes the batch cheapest, and what comes out has been run as it is: the rows are those that its proof will have.
//!
//! Full blocks of mixed payments fill the medium shape at the fewest cells a payment. The large one is for a block that fits no other, for a rest that just fits it, and for
//! blocks of so few payments that the cpu is all that fills up.
//!
//! The chain's limits are such that a block alone always fits (`joule_protocol::limits`); if one does not, the error names the table.

use std::ops::Range;

use joule_kernel::{BlockInput, write_input};
use joule_machine::{Abort, Image, Limits, Outcome, record};
use joule_protocol::{Checkpoint, Digest, Native, limits::SEGMENT_BLOCKS_MAX, limits::TREE_DEPTH};
use joule_tables::{
    inventory::{TableInventory, inventory},
    rows::RowCounts,
    shape::Shape,
    table::TableName,
};
use thiserror::Error;

use crate::SegmentInput;

/// One block of a batch, with all that running it takes.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    /// Where the chain is before it.
    pub from: &'a Checkpoint,
    /// What it executes, and the hints.
    pub input: BlockInput<'a>,
    /// For every tree update, in order, the siblings from the bottom.
    pub siblings: &'a [[Digest; TREE_DEPTH]],
}

/// One segment of a batch.
#[derive(Clone, Debug)]
pub struct Segment {
    /// The blocks it covers, by their positions in the batch.
    pub blocks: Range<usize>,
    /// The smallest shape that it fits.
    pub shape: Shape,
    /// The rows that its run takes.
    pub rows: RowCounts,
    /// How many instructions it runs.
    pub cycles: u32,
    /// What proves it.
    pub input: SegmentInput,
}

/// Why a batch cannot be cut. Blocks that the kernel executed natively, with the hints that go with them, meet none of these.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CutError {
    /// A block that no shape holds: nobody can prove it. The protocol's limits are chosen so that there is none.
    #[error("block {position} of the batch fits no shape: table {table} needs {rows} rows, the largest has {height}")]
    BlockTooLarge {
        /// The block.
        position: usize,
        /// The first table that is too low.
        table: &'static str,
        /// The rows that the block needs.
        rows: usize,
        /// The rows that the largest shape has.
        height: usize,
    },
    /// The program cannot be run on a block.
    #[error("running blocks {} to {} of the batch: {abort}", .blocks.start, .blocks.end - 1)]
    Run {
        /// The blocks.
        blocks: Range<usize>,
        /// Why.
        abort: Box<Abort>,
    },
    /// The program refuses a block: the hints are not its own, or the sequencer has a bug.
    #[error("blocks {} to {} of the batch have no proof: the program ends with exit code {exit_code}", .blocks.start, .blocks.end - 1)]
    NotProvable {
        /// The blocks.
        blocks: Range<usize>,
        /// Exit code.
        exit_code: u32,
    },
    /// A run that does not lead to where the next block starts.
    #[error("blocks {} to {} of the batch do not lead from checkpoint to checkpoint", .blocks.start, .blocks.end - 1)]
    NotConnected {
        /// The blocks.
        blocks: Range<usize>,
    },
    /// A batch of nothing.
    #[error("a batch has at least one block")]
    NoBlocks,
    /// No shapes to fit.
    #[error("there is no shape to cut for")]
    NoShapes,
}

/// Rows of several runs put together: never fewer than one run of everything takes.
#[derive(Clone, Copy)]
struct RowSum([usize; TableName::ALL.len()]);

impl RowSum {
    fn of(rows: &RowCounts) -> Self {
        Self(TableName::ALL.iter().map(|&table| rows.of_table(table)).collect::<Vec<_>>().try_into().expect("one each"))
    }

    fn with(mut self, rows: &RowCounts) -> Self {
        for (sum, (table, rows)) in self.0.iter_mut().zip(rows.iter()) {
            *sum = match table {
                // The same in every run of the program.
                TableName::Image | TableName::Bytes | TableName::Output => rows.max(*sum),
                _ => *sum + rows,
            };
        }
        self
    }

    fn fits(&self, shape: Shape) -> bool {
        TableName::ALL.iter().zip(self.0).all(|(&table, rows)| rows <= shape.height(table))
    }
}

/// What running some blocks showed.
struct Measured {
    rows: RowCounts,
    cycles: u32,
    input: SegmentInput,
}

/// What every segment costs beside its cells, in cells of the same processor time: its circuit, the lift and half a merge take some 18 s of a core, in which tables of
/// 40 million cells are proven. In `proven` it is thrice that, so there fewer and larger segments would be slightly better.
const SEGMENT_CELLS: u64 = 40_000_000;

/// What a segment in a shape costs, in cells: those of its tables, and as many as its circuits take the time of.
#[must_use]
pub fn cost_cells(shape: Shape) -> u64 {
    SEGMENT_CELLS + inventory(shape).iter().map(TableInventory::cells).sum::<usize>() as u64
}

/// A shape filled with the blocks from some position on.
struct Filled {
    end: usize,
    shape: Shape,
    cost: u64,
    /// Rows of the cpu that the blocks take one by one: how much of the batch is done with it.
    work: u64,
    measured: Measured,
}

impl Filled {
    /// What a batch costs at least that goes on with this one, when what is left costs as much a row as `cheapest` does, and no less than a segment does.
    fn with_rest(&self, rest: u64, cheapest: &Self, cost_min: u64) -> u64 {
        let rest = rest.saturating_sub(self.work);
        if rest == 0 {
            return self.cost;
        }
        let evenly = u128::from(rest) * u128::from(cheapest.cost) / u128::from(cheapest.work.max(1));
        self.cost.saturating_add(u64::try_from(evenly).unwrap_or(u64::MAX).max(cost_min))
    }
}

/// Cuts batches of one program for a set of shapes.
#[derive(Clone, Copy, Debug)]
pub struct Cutter<'a> {
    image: &'a Image,
    shapes: &'a [Shape],
}

impl<'a> Cutter<'a> {
    /// A cutter for a program and the shapes that it is proven in, in order of size.
    #[must_use]
    pub const fn new(image: &'a Image, shapes: &'a [Shape]) -> Self {
        Self { image, shapes }
    }

    /// Cuts the blocks of a batch that leads to `to` into segments that together cost as little as it finds, each within the largest shape.
    ///
    /// Runs each block alone once and each segment once or a few times for every shape: seconds where proving takes minutes.
    ///
    /// # Errors
    /// [`CutError`].
    pub fn cut(&self, chain_id: u64, blocks: &[Block<'_>], to: &Checkpoint) -> Result<Vec<Segment>, CutError> {
        let largest = *self.shapes.last().ok_or(CutError::NoShapes)?;
        if blocks.is_empty() {
            return Err(CutError::NoBlocks);
        }
        let batch = Batch { image: self.image, chain_id, blocks, to };
        let alone = (0..blocks.len()).map(|position| batch.block(position, largest));
        let alone = alone.collect::<Result<Vec<_>, _>>()?;
        let costs: Vec<(Shape, u64)> = self.shapes.iter().map(|&shape| (shape, cost_cells(shape))).collect();
        let mut segments = Vec::new();
        let mut start = 0;
        while start < blocks.len() {
            let Filled { end, shape, measured, .. } = batch.cheapest(start, &alone, &costs)?;
            let Measured { rows, cycles, input } = measured;
            segments.push(Segment { blocks: start..end, shape, rows, cycles, input });
            start = end;
        }
        Ok(segments)
    }
}

struct Batch<'a> {
    image: &'a Image,
    chain_id: u64,
    blocks: &'a [Block<'a>],
    to: &'a Checkpoint,
}

impl Batch<'_> {
    /// The rows of one block alone, which must fit.
    fn block(&self, position: usize, largest: Shape) -> Result<RowCounts, CutError> {
        let rows = self.measure(position..position + 1)?.rows;
        match rows.iter().find(|&(table, rows)| rows > largest.height(table)) {
            Some((table, rows)) => {
                let height = largest.height(table);
                Err(CutError::BlockTooLarge { position, table: table.as_str(), rows, height })
            }
            None => Ok(rows),
        }
    }

    /// The segment from `start` on with which the rest of the batch is cheapest.
    fn cheapest(&self, start: usize, alone: &[RowCounts], costs: &[(Shape, u64)]) -> Result<Filled, CutError> {
        let work = |blocks: &[RowCounts]| blocks.iter().map(|rows| rows.of_table(TableName::Cpu) as u64).sum();
        let mut filled: Vec<Filled> = Vec::with_capacity(costs.len());
        for &(shape, cost) in costs.iter().filter(|(shape, _)| RowSum::of(&alone[start]).fits(*shape)) {
            let (end, measured) = self.fill(start, alone, shape)?;
            filled.push(Filled { end, shape, cost, work: work(&alone[start..end]), measured });
            // A larger shape holds no more than everything.
            if end == self.blocks.len() {
                break;
            }
        }
        let rest: u64 = work(&alone[start..]);
        let cost_min = costs.iter().map(|(_, cost)| *cost).min().unwrap_or(0);
        let per_row = |one: &&Filled, other: &&Filled| {
            (u128::from(one.cost) * u128::from(other.work)).cmp(&(u128::from(other.cost) * u128::from(one.work)))
        };
        let cheapest = filled.iter().min_by(per_row).expect("every block fits the largest shape");
        let totals: Vec<u64> = filled.iter().map(|one| one.with_rest(rest, cheapest, cost_min)).collect();
        let position = (0..totals.len()).min_by_key(|&position| totals[position]).expect("there is one");
        Ok(filled.swap_remove(position))
    }

    /// Takes blocks from `start` on while they fit; returns the end, and what the segment takes.
    fn fill(&self, start: usize, alone: &[RowCounts], shape: Shape) -> Result<(usize, Measured), CutError> {
        let limit = self.blocks.len().min(start + SEGMENT_BLOCKS_MAX);
        let mut end = start + 1;
        let mut sum = RowSum::of(&alone[start]);
        loop {
            while end < limit && sum.with(&alone[end]).fits(shape) {
                sum = sum.with(&alone[end]);
                end += 1;
            }
            // Blocks together may in principle take more than apart (memory that was used is cleared before it is used again), so what was run decides. One block
            // alone has been run, and fits.
            let mut measured = self.measure(start..end)?;
            let mut is_over = false;
            while end > start + 1 && !RowSum::of(&measured.rows).fits(shape) {
                is_over = true;
                end -= 1;
                measured = self.measure(start..end)?;
            }
            sum = RowSum::of(&measured.rows);
            if is_over || end == limit || !sum.with(&alone[end]).fits(shape) {
                return Ok((end, measured));
            }
        }
    }

    /// Runs blocks as one segment, and holds it to the checkpoints at its ends.
    fn measure(&self, blocks: Range<usize>) -> Result<Measured, CutError> {
        let taken = &self.blocks[blocks.clone()];
        let from = taken[0].from;
        let to = self.blocks.get(blocks.end).map_or(self.to, |next| next.from);
        let inputs: Vec<BlockInput<'_>> = taken.iter().map(|block| block.input).collect();
        let siblings = taken.iter().flat_map(|block| block.siblings).map(|path| path.map(Digest::elements)).collect();
        let input = SegmentInput { input: write_input(self.chain_id, from, &inputs), siblings };
        let run = record(self.image, &input, Limits::default());
        let (outcome, records) =
            run.map_err(|abort| CutError::Run { blocks: blocks.clone(), abort: Box::new(abort) })?;
        let Outcome { exit_code: 0, committed: Some(committed), cycles, .. } = outcome else {
            return Err(CutError::NotProvable { blocks, exit_code: outcome.exit_code });
        };
        let ends = [from, to].map(|checkpoint| checkpoint.hash::<Native>().to_words());
        if committed[2..] != *ends.as_flattened() {
            return Err(CutError::NotConnected { blocks });
        }
        Ok(Measured { rows: RowCounts::of(self.image, &records), cycles, input })
    }
}
