//! How a batch gets proved, on one machine.
//!
//! ```text
//! segment 0: run → table proof → segment proof → lift ─┐
//! segment 1: run → table proof → segment proof → lift ─┴ merge ─┐
//! segment 2: run → table proof → segment proof → lift ─ merge ──┴ merge → shrink → wrap
//! ```
//!
//! [`Engine`] holds the circuits of a program and proves one step at a time; [`Engine::prove_batch`] walks the tree of steps for a batch and keeps every
//! result in an [`ArtefactStore`], so that a killed run goes on where it was. Nothing here is trusted: every step's proof is verified by the next, a kept
//! artefact is verified before it is used, and the wrap checks itself under its own key.

mod artefact;
mod batch;
mod engine;
mod progress;

pub use artefact::{ArtefactError, ArtefactStore};
pub use batch::{BatchProof, Task};
pub use engine::{Engine, EngineError, SegmentInput, TableArtefact};
pub use progress::{Progress, Silent};
