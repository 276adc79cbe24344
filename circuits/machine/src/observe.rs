//! Who looks on while a program runs.

use crate::{
    instruction::Instruction,
    records::{CommitEvent, Cycle, HashEvent, KeccakEvent, Records, RecoverEvent, TreeEvent},
};

/// An event of a precompile, with all its accesses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Keccak(KeccakEvent),
    Hash(HashEvent),
    Tree(TreeEvent),
    Recover(RecoverEvent),
    Commit(CommitEvent),
}

/// What the interpreter tells whom. The constants let the compiler remove what nobody listens to.
pub(crate) trait Observer {
    /// Are accesses stamped and recorded?
    const RECORDS: bool = false;
    /// Is every step followed?
    const FOLLOWS: bool = false;

    /// An instruction was completed. Called when `RECORDS`.
    fn cycle(&mut self, _cycle: Cycle) {}

    /// An instruction was completed. Called when `FOLLOWS`.
    fn step(&mut self, _pc: u32, _instruction: Instruction, _next_pc: u32) {}

    /// A precompile was called. Always called; its accesses have previous timestamps only when `RECORDS`.
    fn event(&mut self, _event: Event) {}
}

/// Nobody looks on.
pub(crate) struct Nobody;

impl Observer for Nobody {}

impl Observer for Records {
    const RECORDS: bool = true;

    #[inline(always)]
    fn cycle(&mut self, cycle: Cycle) {
        self.cycles.push(cycle);
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Keccak(event) => self.keccaks.push(event),
            Event::Hash(event) => self.hashes.push(event),
            Event::Tree(event) => self.tree_updates.push(event),
            Event::Recover(event) => self.recoveries.push(event),
            Event::Commit(event) => self.commit = Some(event),
        }
    }
}
