//! `joule-prover`: what a machine that makes proofs runs.

mod bench;
mod sample;
mod trace;

use clap::{Parser, Subcommand};

/// Proves segments of a Joule chain.
#[derive(Parser)]
#[command(name = "joule-prover", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the kernel's image on sample payments and say what they cost in cycles and precompiles.
    Trace(trace::Arguments),
    /// Measure what proving costs on this machine.
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Recompute the program hash P from the committed image.
    ProgramHash,
    /// Print the provable bits of table proofs, term by term, computed.
    Security {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Trace(arguments) => trace::run(&arguments),
        Command::Bench(bench) => bench::run(&bench),
        Command::ProgramHash => bench::program_hash(),
        Command::Security { json } => bench::security(json),
    }
}
