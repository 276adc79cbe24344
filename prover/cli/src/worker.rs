//! `joule-prover worker`: the process that proves for `join`, which starts and ends it.

use std::{process::Command, time::Duration};

use anyhow::Context;
use joule_machine::kernel_image;
use joule_prover_engine::{Engine, Logged, keep_memory};
use joule_prover_network::{ChildLabour, CircuitsId, EngineLabour, answer_parent};
use joule_tables::shape::Shape;

use crate::options::{CacheOption, CircuitsOption, Profile};

/// How long a proving process waits for its next task.
pub(crate) const IDLE_DEFAULT_SECONDS: u64 = 60;

/// What to prove with.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    circuits: CircuitsOption,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let cache = arguments.circuits.cache.folder()?;
    let engine = Engine::new(kernel_image(), &Shape::ALL, arguments.circuits.profile.recursion(), &cache, &Logged)
        .context("building the circuits")?;
    let circuits = engine.circuits().into();
    Ok(answer_parent(circuits, &EngineLabour(engine))?)
}

/// Labour in such a process, on `threads` threads if that is said.
pub(crate) fn child(
    profile: Profile,
    cache: &CacheOption,
    threads: Option<usize>,
    circuits: CircuitsId,
    idle_seconds: u64,
) -> anyhow::Result<ChildLabour> {
    let own = std::env::current_exe().context("finding this program")?;
    let cache = cache.folder()?;
    let command = move || {
        let mut command = Command::new(&own);
        keep_memory(&mut command);
        command.args(["worker", "--profile", profile.name(), "--cache"]).arg(cache.path());
        if let Some(threads) = threads {
            command.env("RAYON_NUM_THREADS", threads.to_string());
        }
        command
    };
    Ok(ChildLabour::new(command, circuits, Duration::from_secs(idle_seconds)))
}
