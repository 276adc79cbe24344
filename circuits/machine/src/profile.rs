//! Which routines the cycles go to.
//!
//! A routine is what a symbol of the image names. *Exclusive* counts what happened at its own instructions; *inclusive* adds what its
//! callees did, and counts a recursive routine once. Calls are recognised by the links they leave (`jal`/`jalr` with `rd = ra`), returns
//! by the jump to that link, and a jump into another routine without a link is a tail call.

use core::fmt;

use serde::Serialize;

use crate::{
    image::{Image, readable},
    instruction::{Instruction, Op},
    observe::{Event, Observer},
    poseidon2,
    run::{Outcome, PrecompileCounts},
};

/// A deeper stack than this is not followed: what is above counts for the frame at the limit.
const FRAMES_MAX: usize = 4096;
const RETURN_ADDRESS_REGISTERS: [u8; 2] = [1, 5];

/// What something cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// Instructions executed.
    pub cycles: u64,
    /// Precompiles called.
    #[serde(flatten)]
    pub precompiles: PrecompileCounts,
}

impl Cost {
    fn since(self, earlier: Self) -> Self {
        let (now, then) = (self.precompiles, earlier.precompiles);
        Self {
            cycles: self.cycles - earlier.cycles,
            precompiles: PrecompileCounts {
                keccak_f: now.keccak_f - then.keccak_f,
                poseidon2_hash: now.poseidon2_hash - then.poseidon2_hash,
                poseidon2_permutations: now.poseidon2_permutations - then.poseidon2_permutations,
                tree_update: now.tree_update - then.tree_update,
                ecrecover: now.ecrecover - then.ecrecover,
            },
        }
    }
}

impl core::ops::AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        self.cycles += other.cycles;
        let (sum, more) = (&mut self.precompiles, other.precompiles);
        sum.keccak_f += more.keccak_f;
        sum.poseidon2_hash += more.poseidon2_hash;
        sum.poseidon2_permutations += more.poseidon2_permutations;
        sum.tree_update += more.tree_update;
        sum.ecrecover += more.ecrecover;
    }
}

/// What one routine cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Routine {
    /// Its name, as its author wrote it.
    pub name: String,
    /// How often it was entered.
    pub calls: u64,
    /// The cost of its own instructions.
    pub exclusive: Cost,
    /// That, and the cost of what it called.
    pub inclusive: Cost,
}

/// What a run cost, by routine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Profile {
    /// The whole run.
    pub total: Cost,
    /// Every routine that was entered, the largest exclusive cost first.
    pub routines: Vec<Routine>,
    /// How often each operation was executed, the most frequent first.
    pub operations: Vec<(String, u64)>,
}

impl fmt::Display for Profile {
    /// A table of the routines with at least a thousandth of the cycles.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "{:>12} {:>6} {:>12} {:>8} {:>8} {:>8} {:>6} {:>6}  routine",
            "exclusive", "%", "inclusive", "calls", "keccak", "hash", "tree", "sig"
        )?;
        let total = self.total.cycles.max(1);
        for routine in self.routines.iter().filter(|routine| routine.exclusive.cycles * 1000 >= total) {
            let share = 100.0 * routine.exclusive.cycles as f64 / total as f64;
            let precompiles = &routine.exclusive.precompiles;
            writeln!(
                formatter,
                "{:>12} {share:>6.1} {:>12} {:>8} {:>8} {:>8} {:>6} {:>6}  {}",
                routine.exclusive.cycles,
                routine.inclusive.cycles,
                routine.calls,
                precompiles.keccak_f,
                precompiles.poseidon2_hash,
                precompiles.tree_update,
                precompiles.ecrecover,
                routine.name,
            )?;
        }
        let precompiles = &self.total.precompiles;
        writeln!(
            formatter,
            "{:>12} {:>6.1} {:>12} {:>8} {:>8} {:>8} {:>6} {:>6}  total",
            self.total.cycles,
            100.0,
            self.total.cycles,
            "",
            precompiles.keccak_f,
            precompiles.poseidon2_hash,
            precompiles.tree_update,
            precompiles.ecrecover,
        )
    }
}

struct Frame {
    routine: usize,
    return_address: u32,
    is_tail: bool,
    /// The total when it was entered.
    entered: Cost,
}

#[derive(Clone, Default)]
struct Tally {
    calls: u64,
    exclusive: Cost,
    inclusive: Cost,
    /// Frames of this routine on the stack.
    active: u32,
}

/// Follows a run.
pub(crate) struct Profiler<'a> {
    image: &'a Image,
    /// The routine of each instruction. Index 0 is what no symbol names.
    routines: Vec<u32>,
    tallies: Vec<Tally>,
    operations: Vec<u64>,
    stack: Vec<Frame>,
    total: Cost,
    /// The cost of the current instruction's precompile.
    pending: PrecompileCounts,
    /// The routine whose calls are kept one by one, and their inclusive costs.
    watched: Option<usize>,
    watched_calls: Vec<Cost>,
}

impl<'a> Profiler<'a> {
    /// A profiler that keeps the cost of every call of the routine named `watched`, if there is one.
    pub(crate) fn new(image: &'a Image, watched: Option<&str>) -> Self {
        let routine_of = |index: usize| {
            let pc = image.text_start() + 4 * index as u32;
            image.routine_index(pc).map_or(0, |routine| routine as u32 + 1)
        };
        let mut profiler = Self {
            image,
            routines: (0..image.instructions().len()).map(routine_of).collect(),
            tallies: vec![Tally::default(); image.symbols().len() + 1],
            operations: vec![0; Op::ALL.len()],
            stack: Vec::new(),
            total: Cost::default(),
            pending: PrecompileCounts::default(),
            watched: watched.and_then(|name| {
                image.symbols().iter().position(|symbol| readable(&symbol.name) == name).map(|symbol| symbol + 1)
            }),
            watched_calls: Vec::new(),
        };
        profiler.enter(profiler.routine(image.entry()), 0, false);
        profiler
    }

    fn routine(&self, pc: u32) -> usize {
        let index = pc.wrapping_sub(self.image.text_start()) / 4;
        self.routines.get(index as usize).map_or(0, |&routine| routine as usize)
    }

    fn enter(&mut self, routine: usize, return_address: u32, is_tail: bool) {
        self.tallies[routine].calls += 1;
        if self.stack.len() < FRAMES_MAX {
            self.tallies[routine].active += 1;
            self.stack.push(Frame { routine, return_address, is_tail, entered: self.total });
        }
    }

    fn leave(&mut self) -> Option<Frame> {
        let frame = self.stack.pop()?;
        let tally = &mut self.tallies[frame.routine];
        tally.active -= 1;
        if tally.active == 0 {
            let cost = self.total.since(frame.entered);
            tally.inclusive += cost;
            if self.watched == Some(frame.routine) {
                self.watched_calls.push(cost);
            }
        }
        Some(frame)
    }

    /// Leaves all frames above the one that returns to `address`, that one, and those that tail-called it.
    fn return_to(&mut self, address: u32) {
        let Some(index) = self.stack.iter().rposition(|frame| frame.return_address == address) else { return };
        while self.stack.len() > index + 1 {
            self.leave();
        }
        while self.leave().is_some_and(|frame| frame.is_tail) {}
    }

    /// Closes all frames, and names what was counted. Beside it the costs of the watched routine's calls.
    pub(crate) fn finish(mut self, outcome: &Outcome) -> (Profile, Vec<Cost>) {
        while self.leave().is_some() {}
        debug_assert_eq!(self.total.cycles, u64::from(outcome.cycles));
        let name = |index: usize| match index.checked_sub(1) {
            Some(symbol) => readable(&self.image.symbols()[symbol].name),
            None => "(no symbol)".to_owned(),
        };
        let mut routines: Vec<_> = self
            .tallies
            .iter()
            .enumerate()
            .filter(|(_, tally)| tally.exclusive.cycles > 0)
            .map(|(index, tally)| Routine {
                name: name(index),
                calls: tally.calls,
                exclusive: tally.exclusive,
                inclusive: tally.inclusive,
            })
            .collect();
        routines.sort_by(|left, right| {
            right.exclusive.cycles.cmp(&left.exclusive.cycles).then_with(|| left.name.cmp(&right.name))
        });
        let mut operations: Vec<_> = Op::ALL
            .iter()
            .map(|&op| (format!("{op:?}").to_lowercase(), self.operations[op as usize]))
            .filter(|&(_, count)| count > 0)
            .collect();
        operations.sort_by_key(|&(_, count)| core::cmp::Reverse(count));
        (Profile { total: self.total, routines, operations }, self.watched_calls)
    }
}

impl Observer for Profiler<'_> {
    const FOLLOWS: bool = true;

    fn event(&mut self, event: Event) {
        match event {
            Event::Keccak(_) => self.pending.keccak_f += 1,
            Event::Hash(event) => {
                self.pending.poseidon2_hash += 1;
                self.pending.poseidon2_permutations += poseidon2::permutations(event.input.len()) as u64;
            }
            Event::Tree(_) => self.pending.tree_update += 1,
            Event::Recover(_) => self.pending.ecrecover += 1,
            Event::Commit(_) => {}
        }
    }

    fn step(&mut self, pc: u32, instruction: Instruction, next_pc: u32) {
        let cost = Cost { cycles: 1, precompiles: core::mem::take(&mut self.pending) };
        let routine = self.routine(pc);
        self.total += cost;
        self.tallies[routine].exclusive += cost;
        self.operations[instruction.op as usize] += 1;

        if !matches!(instruction.op, Op::Jal | Op::Jalr) && !instruction.op.is_branch() {
            return;
        }
        let is_link = |register: u8| RETURN_ADDRESS_REGISTERS.contains(&register);
        let target = self.routine(next_pc);
        if matches!(instruction.op, Op::Jal | Op::Jalr) && is_link(instruction.rd) {
            self.enter(target, pc.wrapping_add(4), false);
        } else if instruction.op == Op::Jalr && instruction.rd == 0 && is_link(instruction.rs1) {
            self.return_to(next_pc);
        } else if target != routine {
            let return_address = self.stack.last().map_or(0, |frame| frame.return_address);
            self.enter(target, return_address, true);
        }
    }
}
