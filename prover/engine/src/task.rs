//! Tasks: the pieces of a batch that machines prove for one another, with bytes in and bytes out.
//!
//! | task | takes | gives |
//! |---|---|---|
//! | segment | a segment's input ([`crate::encode_input`]) | a lifted proof of the segment |
//! | merge | the results of two neighbours, each a segment or a merge, or of one that has none | a proof of both |
//! | wrap | the result of the last merge | the Groth16 proof that L1 takes |
//!
//! Whoever gives a task out keeps no circuit and no proving key: a [`Verifier`] is enough to accept or refuse every result before it
//! is paid for. Results are self-contained; none is trusted because of who made it.

use core::fmt;

use joule_protocol::PublicValues;
use joule_recursion::profile::Profile;
use thiserror::Error;

use crate::{CircuitsDigest, EngineError, WireError};

/// What kind of work a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TaskKind {
    /// Run a segment, prove its tables, verify them in a circuit, and lift that proof to the common layout.
    Segment,
    /// Merge two neighbours, or pass a single one on.
    Merge,
    /// Make the last merge small, and wrap it for L1. Needs the proving key.
    Wrap,
}

impl TaskKind {
    /// All kinds, in the order in which a batch meets them.
    pub const ALL: [Self; 3] = [Self::Segment, Self::Merge, Self::Wrap];

    /// The name in logs and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Segment => "segment",
            Self::Merge => "merge",
            Self::Wrap => "wrap",
        }
    }

    /// The byte that names it in encodings.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Segment => 0,
            Self::Merge => 1,
            Self::Wrap => 2,
        }
    }
}

impl fmt::Display for TaskKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A task with its inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task<'a> {
    /// Prove a segment.
    Segment {
        /// Private input and advice, as [`crate::encode_input`] writes them.
        input: &'a [u8],
    },
    /// Merge neighbours.
    Merge {
        /// The result of a segment or merge task.
        left: &'a [u8],
        /// The result that starts where the left one ends; none at the odd end of a level.
        right: Option<&'a [u8]>,
    },
    /// Wrap a batch.
    Wrap {
        /// The result of the batch's last merge.
        merged: &'a [u8],
    },
}

impl Task<'_> {
    /// What kind of work it is.
    #[must_use]
    pub const fn kind(&self) -> TaskKind {
        match self {
            Self::Segment { .. } => TaskKind::Segment,
            Self::Merge { .. } => TaskKind::Merge,
            Self::Wrap { .. } => TaskKind::Wrap,
        }
    }
}

/// Why a task was not done. There is then no result; nothing false can come of it.
#[derive(Debug, Error)]
pub enum TaskError {
    /// What the task came with is malformed, does not verify, or cannot be proven: no machine can do this task.
    #[error("the {kind} task's input is refused: {source}")]
    Input {
        /// The task.
        kind: TaskKind,
        /// Why.
        source: Box<EngineError>,
    },
    /// This machine failed; another may succeed.
    #[error("the {kind} task failed on this machine: {source}")]
    Machine {
        /// The task.
        kind: TaskKind,
        /// Why.
        source: Box<EngineError>,
    },
}

impl TaskError {
    /// Whether every machine would fail alike.
    #[must_use]
    pub const fn is_input(&self) -> bool {
        matches!(self, Self::Input { .. })
    }
}

/// Something that does tasks. It may fail, and it may not lie: whoever takes a result verifies it.
pub trait Prover: Send + Sync {
    /// The profile it proves with.
    fn profile(&self) -> Profile;

    /// The circuits it proves with: equal to the verifier's, or every result will be refused.
    fn circuits(&self) -> CircuitsDigest;

    /// Does a task, which takes seconds to minutes of all cores.
    ///
    /// # Errors
    /// [`TaskError`] says whether the task or the machine is to blame.
    fn prove(&self, task: Task<'_>) -> Result<Vec<u8>, TaskError>;
}

/// Something that tells true results from others, in milliseconds.
pub trait Verifier: Send + Sync {
    /// Verifies the result of a segment task.
    ///
    /// # Errors
    /// [`WireError`], of which the sender is guilty.
    fn verify_segment(&self, result: &[u8]) -> Result<PublicValues, WireError>;

    /// Verifies the result of a merge task.
    ///
    /// # Errors
    /// [`WireError`], of which the sender is guilty.
    fn verify_merge(&self, result: &[u8]) -> Result<PublicValues, WireError>;

    /// Verifies the result of a wrap task.
    ///
    /// # Errors
    /// [`WireError`], of which the sender is guilty; but for [`WireError::NoWrapKey`], which is for this side to mend.
    fn verify_wrap(&self, result: &[u8]) -> Result<PublicValues, WireError>;

    /// Verifies the result of a task of this kind and returns its statement. That the statement is the one asked for is for the caller to
    /// compare: a true proof of something else is no result of the task.
    ///
    /// # Errors
    /// As the three above.
    fn verify(&self, kind: TaskKind, result: &[u8]) -> Result<PublicValues, WireError> {
        match kind {
            TaskKind::Segment => self.verify_segment(result),
            TaskKind::Merge => self.verify_merge(result),
            TaskKind::Wrap => self.verify_wrap(result),
        }
    }
}
