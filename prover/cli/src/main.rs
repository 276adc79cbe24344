//! `joule-prover`: what a machine that makes proofs runs.

mod bench;
mod bench_network;
mod calibrate;
mod coordinator;
mod join;
mod machine;
mod options;
mod progress;
mod prove;
mod sample;
mod serve;
mod services;
mod settlement;
mod setup;
mod trace;
mod usage;
mod verify;
mod worker;

use clap::{Parser, Subcommand};
use joule_prover_engine::restart_keeping_memory;
use tracing_subscriber::EnvFilter;

/// Proves batches of a Joule chain.
#[derive(Parser)]
#[command(name = "joule-prover", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
#[command(disable_help_subcommand = true)]
enum Command {
    /// Build the circuits and make the keys, once per version.
    Setup(setup::Arguments),
    /// Prove a batch, from its segments to the proof that L1 takes.
    Prove(prove::Arguments),
    /// Have a batch proved by whoever joins over libp2p.
    Coordinator(coordinator::Arguments),
    /// Prove for a network: measure this machine, take tasks, get paid.
    Join(join::Arguments),
    /// Prove for a network with as many workers as there is work for, and none without.
    Serve(serve::Arguments),
    /// Measure how long a task of each kind takes this machine.
    Calibrate(calibrate::Arguments),
    /// Say how this prover stands with a coordinator, and why.
    Status(join::StatusArguments),
    /// Look for what would keep this machine from proving, and say how to mend it.
    Doctor(join::DoctorArguments),
    /// Prove what comes over standard input: what `join` starts.
    #[command(hide = true)]
    Worker(worker::Arguments),
    /// Verify the result of a task.
    Verify(verify::VerifyArguments),
    /// Say what a file is, without believing it.
    Inspect(verify::InspectArguments),
    /// Run the kernel's image on sample payments and say what they cost in cycles and precompiles.
    Trace(trace::Arguments),
    /// Measure what proving costs on this machine.
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Recompute the program hash P from the committed image.
    ProgramHash,
    /// Print the provable bits of every layer, term by term, computed.
    Security(bench::SecurityArguments),
}

fn main() -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| {
        EnvFilter::new("warn,joule_prover=info,joule_prover_network=info,joule_prover_scaler=info")
    });
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let command = Arguments::parse().command;
    // What proves in this process, and ends with it.
    let proves_here = match &command {
        Command::Prove(_) => true,
        Command::Bench(bench) => !matches!(bench, bench::Bench::Network(_)),
        _ => false,
    };
    if proves_here && let Err(error) = restart_keeping_memory() {
        tracing::warn!(%error, "this process does not keep its memory: proving is slower");
    }
    match command {
        Command::Setup(arguments) => setup::run(&arguments),
        Command::Prove(arguments) => prove::run(&arguments),
        Command::Coordinator(arguments) => coordinator::run(&arguments),
        Command::Join(arguments) => join::run(&arguments),
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Calibrate(arguments) => calibrate::run(&arguments),
        Command::Status(arguments) => join::status(&arguments),
        Command::Doctor(arguments) => join::doctor(&arguments),
        Command::Worker(arguments) => worker::run(&arguments),
        Command::Verify(arguments) => verify::verify(&arguments),
        Command::Inspect(arguments) => verify::inspect(&arguments),
        Command::Trace(arguments) => trace::run(&arguments),
        Command::Bench(bench) => bench::run(&bench),
        Command::ProgramHash => bench::program_hash(),
        Command::Security(arguments) => bench::security(&arguments),
    }
}
