//! The scenarios as a program, which is also the sequencer that they start. `joule-testnet scenario` is the same, for people.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use joule_scenarios::{Scenario, Settings};
use tracing_subscriber::EnvFilter;

#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a scenario.
    Run {
        /// Which.
        scenario: Scenario,
        /// What everything is drawn from.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Becomes the sequencer of a plan.
    Sequence {
        /// The plan's file.
        plan: PathBuf,
    },
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match cli.command {
        Command::Run { scenario, seed } => {
            let program = std::env::current_exe().context("this program")?;
            let settings =
                Settings { sequencer: (program, vec!["sequence".to_owned()]), say: |line| eprintln!("{line}") };
            let report = runtime.block_on(joule_scenarios::run(scenario, seed, &settings))?;
            println!("{}", serde_json::to_string_pretty(&report)?);
            Ok(())
        }
        Command::Sequence { plan } => runtime.block_on(joule_scenarios::sequence(&plan)),
    }
}
