//! What a view may take, and who watches it.
//!
//! Gas bounds what code does: about 30 million instructions, 4 MiB of memory in one frame, 11,500 accounts read. It does not bound what that costs a node on a bad
//! day, nor all frames' memory together (many small ones cost less than a large one), so time and memory are watched as well.

use std::time::{Duration, Instant};

use revm::{
    Inspector,
    context::ContextTr,
    context_interface::context::ContextError,
    database_interface::DBErrorMarker,
    interpreter::{Interpreter, interpreter::EthInterpreter, interpreter_types::MemoryTr},
};
use thiserror::Error;

use super::ViewContext;
use crate::{Limits, RpcError};

/// Instructions between two looks at the clock. Without precompiles and reads, which look for themselves, they take some microseconds; copying 4 MiB each, some
/// milliseconds.
const STEPS_BETWEEN_LOOKS: u32 = 64;

/// Why a view was stopped before its code ended.
#[derive(Debug, Error)]
pub(crate) enum Stopped {
    /// It took too long.
    #[error("the view takes longer than {limit_ms} ms")]
    Time {
        /// What it may take.
        limit_ms: u64,
    },
    /// It holds too much memory.
    #[error("the view takes {got} bytes of memory, more than {limit}")]
    Memory {
        /// What it takes.
        got: usize,
        /// What it may take.
        limit: usize,
    },
    /// The node could not read what it asked for.
    #[error("{0}")]
    Read(#[from] RpcError),
}

impl DBErrorMarker for Stopped {}

impl From<Stopped> for RpcError {
    fn from(stopped: Stopped) -> Self {
        let advice = "; ask for less at a time";
        match stopped {
            Stopped::Time { limit_ms } => {
                Self::LimitExceeded { what: "milliseconds of a view", got: limit_ms + 1, limit: limit_ms, advice }
            }
            Stopped::Memory { got, limit } => {
                Self::LimitExceeded { what: "bytes of memory of a view", got: got as u64, limit: limit as u64, advice }
            }
            Stopped::Read(error) => error,
        }
    }
}

/// The end of a view's time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    at: Instant,
    limit_ms: u64,
}

impl Deadline {
    pub(crate) fn after_ms(limit_ms: u64) -> Self {
        Self { at: Instant::now() + Duration::from_millis(limit_ms), limit_ms }
    }

    /// # Errors
    /// `Time` if it is over.
    pub(crate) fn check(&self) -> Result<(), Stopped> {
        if Instant::now() < self.at { Ok(()) } else { Err(Stopped::Time { limit_ms: self.limit_ms }) }
    }
}

/// Looks at the clock and the memory while code runs.
#[derive(Debug)]
pub(crate) struct Watch {
    deadline: Deadline,
    memory_bytes_max: usize,
    steps: u32,
}

impl Watch {
    pub(crate) fn new(deadline: Deadline, limits: &Limits) -> Self {
        Self { deadline, memory_bytes_max: limits.view_memory_bytes_max, steps: 0 }
    }

    fn look(&mut self, memory_bytes: usize) -> Result<(), Stopped> {
        if memory_bytes > self.memory_bytes_max {
            return Err(Stopped::Memory { got: memory_bytes, limit: self.memory_bytes_max });
        }
        self.steps = self.steps.wrapping_add(1);
        if self.steps.is_multiple_of(STEPS_BETWEEN_LOOKS) { self.deadline.check() } else { Ok(()) }
    }
}

impl Inspector<ViewContext<'_>> for Watch {
    fn step(&mut self, interpreter: &mut Interpreter<EthInterpreter>, context: &mut ViewContext<'_>) {
        // All frames share one buffer, in which this frame's part begins at its offset.
        let memory_bytes = interpreter.memory.local_memory_offset() + interpreter.memory.size();
        if let Err(stopped) = self.look(memory_bytes) {
            // A fatal halt ends every frame, not only this one.
            *context.error() = Err(ContextError::Db(stopped));
            interpreter.halt_fatal();
        }
    }
}
