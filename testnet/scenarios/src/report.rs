//! What came of a scenario.

use std::time::Instant;

use serde::Serialize;

use crate::{Scenario, checks::Checked};

/// A step that is done.
#[derive(Clone, Debug, Serialize)]
pub struct StepReport {
    /// What was done, or waited for.
    pub step: String,
    /// How long it took.
    pub seconds: f64,
}

/// A scenario that held.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Which.
    pub scenario: Scenario,
    /// Its seed.
    pub seed: u64,
    /// How long all of it took.
    pub seconds: f64,
    /// Step by step.
    pub steps: Vec<StepReport>,
    /// What was checked at the end.
    pub checked: Checked,
}

/// Keeps the time of steps.
#[derive(Debug)]
pub(crate) struct Steps {
    say: fn(&str),
    done: Vec<StepReport>,
    last: Instant,
}

impl Steps {
    pub(crate) fn new(say: fn(&str)) -> Self {
        Self { say, done: Vec::new(), last: Instant::now() }
    }

    /// What was done since the last step.
    pub(crate) fn done_with(&mut self, step: impl Into<String>) {
        let (step, seconds) = (step.into(), self.last.elapsed().as_secs_f64());
        self.last = Instant::now();
        (self.say)(&format!("{seconds:>7.1} s  {step}"));
        self.done.push(StepReport { step, seconds });
    }

    pub(crate) fn done(self) -> Vec<StepReport> {
        self.done
    }
}
