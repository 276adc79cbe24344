//! A whole batch: the tree of steps, resumable at each.

use std::{fmt, time::Instant};

use joule_protocol::{Digest, PublicValues};
use joule_recursion::{aggregate::Child, profile::Profile};
use joule_wrap::WrapProof;
use sha2::{Digest as _, Sha256};

use crate::{ArtefactStore, Engine, EngineError, Progress, SegmentInput, wire::split_statement};

/// One step of the work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Build a circuit, or read a kept one.
    Circuit {
        /// Its name.
        name: String,
    },
    /// Make the wrap's keys.
    Keys {
        /// Constraints of the wrap, which say how long it takes.
        constraints: usize,
    },
    /// Run a segment and prove its tables.
    Tables {
        /// Position of the segment.
        segment: usize,
    },
    /// Verify its table proof in a circuit, and lift it.
    Segment {
        /// Position of the segment.
        segment: usize,
    },
    /// Merge two neighbours, or pass one on.
    Merge {
        /// Height in the tree, from 1.
        level: usize,
        /// Position in its level.
        position: usize,
    },
    /// Make the last merge small.
    Shrink,
    /// Make it one Groth16 proof.
    Wrap,
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Circuit { name } => write!(formatter, "circuit-{name}"),
            Self::Keys { .. } => formatter.write_str("keys"),
            Self::Tables { segment } => write!(formatter, "tables-{segment}"),
            Self::Segment { segment } => write!(formatter, "segment-{segment}"),
            Self::Merge { level, position } => write!(formatter, "merge-{level}-{position}"),
            Self::Shrink => formatter.write_str("shrink"),
            Self::Wrap => formatter.write_str("wrap"),
        }
    }
}

/// What L1 takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchProof {
    /// The proof.
    pub proof: WrapProof,
    /// What it says.
    pub statement: PublicValues,
}

/// What the artefacts of a batch depend on: program, profile and all input. For whoever has a batch proved by others, and no engine.
#[must_use]
pub fn batch_context(program: &Digest, profile: Profile, segments: &[SegmentInput]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(program.to_hash().0);
    hasher.update(profile.name());
    for segment in segments {
        hasher.update((segment.input.len() as u64).to_be_bytes());
        segment.input.iter().for_each(|word| hasher.update(word.to_be_bytes()));
        hasher.update((segment.siblings.len() as u64).to_be_bytes());
        segment.siblings.iter().flatten().flatten().for_each(|element| hasher.update(element.to_be_bytes()));
    }
    hasher.finalize().into()
}

impl Engine {
    /// What the artefacts of a batch depend on: program, profile and all input.
    #[must_use]
    pub fn context(&self, segments: &[SegmentInput]) -> [u8; 32] {
        batch_context(&self.program_hash(), self.profile(), segments)
    }

    /// Proves a batch up to the wrap, keeping every step's result in `store`.
    ///
    /// # Errors
    /// [`EngineError`] of the first step that fails; what was done before it is kept.
    pub fn prove_batch(
        &self,
        segments: &[SegmentInput],
        store: &ArtefactStore,
        progress: &impl Progress,
    ) -> Result<BatchProof, EngineError> {
        // Before minutes of work are spent.
        self.wrap_keys()?;
        let merged = self.merge_batch(segments, store, progress)?;
        let last = step(
            store,
            progress,
            &Step::Shrink,
            |bytes| self.decode_last(bytes),
            || self.shrink(&merged),
            |last| last.to_bytes(),
        )?;
        step(
            store,
            progress,
            &Step::Wrap,
            |bytes| Ok(self.verifier().wrap(bytes)?),
            || {
                let (proof, statement) = self.wrap(&last)?;
                Ok(BatchProof { proof, statement })
            },
            |wrapped| self.encode_wrap(&wrapped.proof, &wrapped.statement),
        )
    }

    /// Proves a batch up to its last merge.
    ///
    /// # Errors
    /// As [`Engine::prove_batch`].
    pub fn merge_batch(
        &self,
        segments: &[SegmentInput],
        store: &ArtefactStore,
        progress: &impl Progress,
    ) -> Result<Child, EngineError> {
        if segments.is_empty() {
            return Err(EngineError::NoSegments);
        }
        let mut nodes = Vec::with_capacity(segments.len());
        for (position, input) in segments.iter().enumerate() {
            let child = self.prove_one(position, input, store, progress)?;
            if let Some(before) = nodes.last() {
                let (before, after) = (Self::statement_of(before)?, Self::statement_of(&child)?);
                if before.to != after.from || before.chain_id != after.chain_id {
                    return Err(EngineError::NotNeighbours { position });
                }
            }
            nodes.push(child);
        }
        // The shrink takes a merge and nothing else, so a single segment is merged too.
        let mut level = 0;
        while level == 0 || nodes.len() > 1 {
            level += 1;
            let mut above = Vec::with_capacity(nodes.len().div_ceil(2));
            for (position, pair) in nodes.chunks(2).enumerate() {
                above.push(step(
                    store,
                    progress,
                    &Step::Merge { level, position },
                    |bytes| self.decode_child(bytes),
                    || self.merge(&pair[0], pair.get(1)),
                    |child| self.encode_child(child),
                )?);
            }
            nodes = above;
        }
        Ok(nodes.swap_remove(0))
    }

    /// From a segment's input to its lifted proof: two steps, of which the first is not looked at where the second's result is kept.
    fn prove_one(
        &self,
        segment: usize,
        input: &SegmentInput,
        store: &ArtefactStore,
        progress: &impl Progress,
    ) -> Result<Child, EngineError> {
        let lifted = Step::Segment { segment };
        if let Some(kept) = kept(store, progress, &lifted, |bytes| self.decode_child(bytes))? {
            return Ok(kept);
        }
        let tables = step(
            store,
            progress,
            &Step::Tables { segment },
            |bytes| {
                let (statement, proof) = split_statement(bytes)?;
                self.read_tables(statement, proof)
            },
            || Ok(self.prove_tables(input)?.0),
            |tables| [tables.statement.encode().as_slice(), &tables.proof.encode()].concat(),
        )?;
        // A step of its own: it is done once, whatever the number of segments.
        self.load_segment(tables.proof.shape, progress)?;
        let make = || {
            let (shape, proof) = self.prove_segment(&tables)?;
            self.lift(shape, &proof)
        };
        made(store, progress, &lifted, make, |child| self.encode_child(child))
    }
}

/// Does one step, or takes its result from the store if it is there and verifies.
fn step<T>(
    store: &ArtefactStore,
    progress: &impl Progress,
    step: &Step,
    read: impl FnOnce(&[u8]) -> Result<T, EngineError>,
    make: impl FnOnce() -> Result<T, EngineError>,
    encode: impl FnOnce(&T) -> Vec<u8>,
) -> Result<T, EngineError> {
    match kept(store, progress, step, read)? {
        Some(kept) => Ok(kept),
        None => made(store, progress, step, make, encode),
    }
}

/// A step's result, if the store has it.
fn kept<T>(
    store: &ArtefactStore,
    progress: &impl Progress,
    step: &Step,
    read: impl FnOnce(&[u8]) -> Result<T, EngineError>,
) -> Result<Option<T>, EngineError> {
    let Some(bytes) = store.load(&step.to_string())? else { return Ok(None) };
    progress.begin(step);
    let kept = read(&bytes)?;
    progress.end(step, None);
    Ok(Some(kept))
}

/// Does a step and keeps its result.
fn made<T>(
    store: &ArtefactStore,
    progress: &impl Progress,
    step: &Step,
    make: impl FnOnce() -> Result<T, EngineError>,
    encode: impl FnOnce(&T) -> Vec<u8>,
) -> Result<T, EngineError> {
    progress.begin(step);
    let start = Instant::now();
    let made = make()?;
    store.save(&step.to_string(), &encode(&made))?;
    progress.end(step, Some(start.elapsed()));
    Ok(made)
}
