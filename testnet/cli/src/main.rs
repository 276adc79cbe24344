//! `joule-testnet`: the whole network in one command.

mod client;
mod demo;
mod inference;
mod network;
mod prover;
mod report;
mod scenario;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

/// A Joule network on this machine: an L1 with the contracts, a sequencer, a committee of five, proofs, wallets and a worker.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs everything once, from deposits to a claimed withdrawal, and then keeps serving wallets.
    Demo(demo::Arguments),
    /// Faults on the whole network: runs a scenario and checks what must hold afterwards.
    Scenario(scenario::Arguments),
    /// The sequencer of a scenario, which starts it.
    #[command(hide = true, name = scenario::SEQUENCER)]
    ScenarioSequencer(scenario::SequencerArguments),
    /// A prover of the demo, which starts it.
    #[command(hide = true)]
    Prover(prover::Arguments),
    /// The process that proves for a prover of the demo, which starts it.
    #[command(hide = true)]
    Worker(prover::WorkerArguments),
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("error"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match cli.command {
        Command::Demo(arguments) => runtime()?.block_on(demo::run(arguments)),
        Command::Scenario(arguments) => runtime()?.block_on(scenario::run(arguments)),
        Command::ScenarioSequencer(arguments) => runtime()?.block_on(scenario::sequence(arguments)),
        Command::Prover(arguments) => runtime()?.block_on(prover::run(arguments)),
        Command::Worker(arguments) => prover::worker(&arguments),
    }
}
