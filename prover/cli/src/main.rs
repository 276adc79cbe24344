//! `joule-prover`: what a machine that makes proofs runs.

mod bench;
mod options;
mod progress;
mod prove;
mod sample;
mod settlement;
mod setup;
mod trace;
mod usage;
mod verify;

use clap::{Parser, Subcommand};

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
    match Arguments::parse().command {
        Command::Setup(arguments) => setup::run(&arguments),
        Command::Prove(arguments) => prove::run(&arguments),
        Command::Verify(arguments) => verify::verify(&arguments),
        Command::Inspect(arguments) => verify::inspect(&arguments),
        Command::Trace(arguments) => trace::run(&arguments),
        Command::Bench(bench) => bench::run(&bench),
        Command::ProgramHash => bench::program_hash(),
        Command::Security(arguments) => bench::security(&arguments),
    }
}
