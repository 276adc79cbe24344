//! What an engine says while it works.

use std::time::Duration;

use crate::Task;

/// Hears of tasks as they begin and end, for bars and logs.
pub trait Progress: Sync {
    /// A task begins.
    fn begin(&self, task: &Task);

    /// A task is done, and what it took; `None` if its result was there already.
    fn end(&self, task: &Task, took: Option<Duration>);
}

/// Hears nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: &Task) {}
    fn end(&self, _: &Task, _: Option<Duration>) {}
}
