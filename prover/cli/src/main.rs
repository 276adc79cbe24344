//! `joule-prover`: what a machine that makes proofs runs.

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
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Trace(arguments) => trace::run(&arguments),
    }
}
