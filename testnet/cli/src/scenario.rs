//! `joule-testnet scenario`: faults on the whole network, and what must hold afterwards.

use std::{fs, path::PathBuf};

use anyhow::{Context, bail};
use clap::ValueEnum as _;
use joule_scenarios::{Report, Scenario, Settings};

/// The hidden command by which this program becomes a scenario's sequencer.
pub(crate) const SEQUENCER: &str = "scenario-sequencer";

/// What to run.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  joule-testnet scenario all                    those that need no proof: about two minutes
  joule-testnet scenario escape --seed 7        a batch is proven first: some minutes, all cores, up to 11 GiB
  joule-testnet scenario restart --json FILE    a report for machines")]
pub(crate) struct Arguments {
    /// Which: fallback, reorg, restart, refund, prover, node, escape, or `all` for those that need no proof.
    #[arg(value_parser = named)]
    scenario: Named,
    /// What wallets, payments, and who fails when are drawn from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// With `all`: also those that need a real proof.
    #[arg(long)]
    proofs: bool,
    /// Write the reports for machines.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// A sequencer's process.
#[derive(Debug, clap::Args)]
pub(crate) struct SequencerArguments {
    plan: PathBuf,
}

#[derive(Clone, Copy, Debug)]
enum Named {
    One(Scenario),
    All,
}

fn named(name: &str) -> Result<Named, String> {
    match name {
        "all" => Ok(Named::All),
        name => Scenario::from_str(name, true).map(Named::One).map_err(|_| {
            let names: Vec<_> = Scenario::value_variants().iter().map(|scenario| scenario.name()).collect();
            format!("choose one of {}, all", names.join(", "))
        }),
    }
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let program = std::env::current_exe().context("this program's file, which becomes the sequencer")?;
    let settings = Settings { sequencer: (program, vec![SEQUENCER.to_owned()]), say: |line| eprintln!("{line}") };
    let chosen: Vec<_> = match arguments.scenario {
        Named::One(scenario) => vec![scenario],
        Named::All => {
            let all = Scenario::value_variants().iter().copied();
            all.filter(|scenario| arguments.proofs || !scenario.needs_proof()).collect()
        }
    };
    let (mut reports, mut failed): (Vec<Report>, Vec<&str>) = (Vec::new(), Vec::new());
    for scenario in chosen {
        eprintln!("scenario {}, seed {}", scenario.name(), arguments.seed);
        match joule_scenarios::run(scenario, arguments.seed, &settings).await {
            Ok(report) => {
                eprintln!("{:>7.1} s  {} HELD", report.seconds, scenario.name());
                reports.push(report);
            }
            Err(error) => {
                eprintln!("           {} FAILED: {error:?}", scenario.name());
                failed.push(scenario.name());
            }
        }
    }
    if let Some(path) = &arguments.json {
        fs::write(path, serde_json::to_string_pretty(&reports)? + "\n").with_context(|| path.display().to_string())?;
    }
    if !failed.is_empty() {
        bail!("did not hold: {}", failed.join(", "));
    }
    Ok(())
}

pub(crate) async fn sequence(arguments: SequencerArguments) -> anyhow::Result<()> {
    joule_scenarios::sequence(&arguments.plan).await
}
