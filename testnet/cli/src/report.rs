//! What a person sees, and what a machine reads afterwards.

use std::{
    io::IsTerminal as _,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use joule_prover_engine::{Progress, Step};
use serde::Serialize;

use crate::prover::TaskReport;

/// A stage of the demo that is done.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct StageReport {
    pub(crate) stage: &'static str,
    pub(crate) seconds: f64,
    pub(crate) outcome: String,
}

/// A step of proving that is done.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct StepReport {
    pub(crate) step: String,
    /// Nothing, if its result was kept from before.
    pub(crate) seconds: Option<f64>,
}

#[derive(Debug, Default)]
struct Done {
    stages: Vec<StageReport>,
    steps: Vec<StepReport>,
    tasks: Vec<TaskReport>,
}

/// Tells of stages and of proving's steps: a spinner on a terminal, lines otherwise. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Reporter {
    bar: Option<ProgressBar>,
    done: Arc<Mutex<Done>>,
}

impl Reporter {
    pub(crate) fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner} [{elapsed_precise}] {wide_msg}");
            let bar = ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Self { bar, done: Arc::default() }
    }

    /// A line that stays.
    pub(crate) fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None => eprintln!("{line}"),
        }
    }

    /// What is being waited for.
    pub(crate) fn now(&self, what: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(what.to_owned());
        }
    }

    /// Runs a stage, which ends with a sentence.
    pub(crate) async fn stage<T>(
        &self,
        stage: &'static str,
        work: impl Future<Output = anyhow::Result<(T, String)>>,
    ) -> anyhow::Result<T> {
        self.now(stage);
        let start = Instant::now();
        let (value, outcome) = work.await.map_err(|error| error.context(format!("stage `{stage}`")))?;
        let seconds = start.elapsed().as_secs_f64();
        self.say(&format!("{seconds:>7.1} s  {stage:<22} {outcome}"));
        self.lock().stages.push(StageReport { stage, seconds, outcome });
        Ok(value)
    }

    pub(crate) fn stages(&self) -> Vec<StageReport> {
        self.lock().stages.clone()
    }

    pub(crate) fn steps(&self) -> Vec<StepReport> {
        self.lock().steps.clone()
    }

    /// What became of a task.
    pub(crate) fn task(&self, task: TaskReport) {
        self.lock().tasks.push(task);
    }

    pub(crate) fn tasks(&self) -> Vec<TaskReport> {
        self.lock().tasks.clone()
    }

    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Done> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress for Reporter {
    fn begin(&self, step: &Step) {
        match step {
            Step::Keys { constraints } => self.say(&format!(
                "           making development keys for {constraints} constraints: some minutes, once, and INSECURE by design"
            )),
            step => self.now(&format!("proving: {step}")),
        }
    }

    fn end(&self, step: &Step, took: Option<Duration>) {
        let seconds = took.map(|took| took.as_secs_f64());
        match seconds {
            Some(seconds) => self.say(&format!("           {step}: {seconds:.1} s")),
            None => self.say(&format!("           {step}: kept from before")),
        }
        self.lock().steps.push(StepReport { step: step.to_string(), seconds });
    }
}
