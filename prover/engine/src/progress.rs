//! What an engine says while it works.

use std::time::{Duration, Instant};

use crate::Step;

/// Hears of steps as they begin and end, for bars and logs.
pub trait Progress: Sync {
    /// A step begins.
    fn begin(&self, step: &Step);

    /// A step is done, and what it took; `None` if its result was there already.
    fn end(&self, step: &Step, took: Option<Duration>);

    /// Does a step and tells of it.
    fn during<T>(&self, step: &Step, work: impl FnOnce() -> T) -> T
    where
        Self: Sized,
    {
        self.begin(step);
        let start = Instant::now();
        let value = work();
        self.end(step, Some(start.elapsed()));
        value
    }
}

/// Hears nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: &Step) {}
    fn end(&self, _: &Step, _: Option<Duration>) {}
}

/// Tells the log: of a step's end, and of its beginning for who wants to know everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Logged;

impl Progress for Logged {
    fn begin(&self, step: &Step) {
        tracing::debug!(%step, "begun");
    }

    fn end(&self, step: &Step, took: Option<Duration>) {
        match took {
            Some(took) => tracing::info!(%step, seconds = format_args!("{:.1}", took.as_secs_f64()), "done"),
            None => tracing::info!(%step, "was done before"),
        }
    }
}
