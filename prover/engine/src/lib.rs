//! How a batch gets proved, on one machine.
//!
//! ```text
//! segment 0: run → table proof → segment proof → lift ─┐
//! segment 1: run → table proof → segment proof → lift ─┴ merge ─┐
//! segment 2: run → table proof → segment proof → lift ─ merge ──┴ merge → shrink → wrap
//! ```
//!
//! [`Cutter`] cuts a batch's blocks into the segments. [`Engine`] holds the circuits of a program and proves one step at a time; [`Engine::prove_batch`] walks the tree of steps for a batch and keeps every
//! result in an [`ArtefactStore`], so that a killed run goes on where it was. Machines that share a batch exchange [`Task`]s: a [`Prover`] does
//! them, a [`Verifier`] accepts their results without a circuit of its own. Nothing here is trusted: every step's proof is verified by
//! the next, a kept artefact is verified before it is used, and the wrap checks itself under its own key.

mod artefact;
mod batch;
mod cut;
mod engine;
mod keys;
mod lazy;
mod memory;
mod progress;
mod segment;
mod task;
mod verifier;
mod wire;

pub use artefact::{ArtefactError, ArtefactStore};
pub use batch::{BatchProof, Step, batch_context};
pub use cut::{Block, CutError, Cutter, Segment, cost_cells};
pub use engine::{CircuitGates, Engine, EngineError, SegmentInput, TableArtefact, description};
pub use joule_recursion::profile::Profile;
pub use keys::{CacheFolder, CacheFolderError};
pub use memory::{keep_memory, restart_keeping_memory};
pub use progress::{Logged, Progress, Silent};
pub use task::{Prover, Task, TaskError, TaskKind, Verifier};
pub use verifier::{CircuitVerifier, VERIFIER_BYTES_MAX};
pub use wire::{
    BATCH_BYTES_MAX, CircuitsDigest, RESULT_BYTES_MAX, ResultHeader, SEGMENT_INPUT_BYTES_MAX, SEGMENTS_MAX, WireError,
    decode_batch, decode_input, encode_batch, encode_input,
};
