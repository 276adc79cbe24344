//! What a person sees while the engine works: a bar on a terminal, lines of a log otherwise. Both go to standard error, so that standard output is
//! the result's.

use std::{
    collections::BTreeMap,
    io::IsTerminal as _,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use joule_prover_engine::{Progress, Step};
use serde::Serialize;

use crate::usage::{ProcessorTime, Seconds};

/// What a step took.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct StepReport {
    pub(crate) step: String,
    /// Nothing, if its result was there already.
    pub(crate) seconds: Option<Seconds>,
}

/// Shows steps and remembers what they took.
pub(crate) struct Reporter {
    bar: Option<ProgressBar>,
    begun: Mutex<BTreeMap<String, ProcessorTime>>,
    done: Mutex<Vec<StepReport>>,
}

impl Reporter {
    /// For work of about `steps` steps.
    pub(crate) fn new(steps: usize) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("[{elapsed_precise}] {bar:24} {pos}/{len} {wide_msg}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = ProgressBar::new(steps as u64).with_style(style);
            bar.enable_steady_tick(Duration::from_millis(250));
            bar
        });
        Self { bar, begun: Mutex::default(), done: Mutex::default() }
    }

    /// For a batch of this many segments: circuits, two steps to a segment, the tree of merges, shrink and wrap.
    pub(crate) fn for_batch(segments: usize) -> Self {
        let mut merges = 0;
        let mut level = segments;
        while level > 1 || merges == 0 {
            level = level.div_ceil(2);
            merges += level;
        }
        Self::new(3 + 2 * segments + merges + 2)
    }

    /// Steps in the order in which they ended.
    pub(crate) fn steps(&self) -> Vec<StepReport> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None => eprintln!("{line}"),
        }
    }
}

/// What a step is, in words for who waits for it.
fn words(step: &Step) -> String {
    match step {
        Step::Circuit { name } => format!("circuit {name}: read, or built once and kept"),
        Step::Keys { constraints } => {
            format!("keys for {constraints} constraints: minutes, once; INSECURE, for development")
        }
        Step::Tables { segment } => format!("tables of segment {segment}"),
        Step::Segment { segment } => format!("segment {segment}"),
        Step::Merge { level, position } => format!("merge {position} of level {level}"),
        Step::Shrink => "shrink".to_owned(),
        Step::Wrap => "wrap".to_owned(),
    }
}

impl Progress for Reporter {
    fn begin(&self, step: &Step) {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).insert(step.to_string(), ProcessorTime::now());
        match &self.bar {
            Some(bar) => bar.set_message(words(step)),
            None => eprintln!("{step}: begun ({})", words(step)),
        }
    }

    fn end(&self, step: &Step, took: Option<Duration>) {
        let name = step.to_string();
        let begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
        let seconds = took.map(|took| begun.unwrap_or_default().since(took));
        match seconds {
            Some(Seconds { wall, cpu, .. }) => self.say(&format!("{name}: {wall:.1} s, {cpu:.1} s of processors")),
            None => self.say(&format!("{name}: kept")),
        }
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
        self.done.lock().unwrap_or_else(PoisonError::into_inner).push(StepReport { step: name, seconds });
    }
}
