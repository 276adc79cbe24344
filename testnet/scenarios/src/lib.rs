//! Faults on the whole network, as named actions.
//!
//! Every scenario runs the real parts: an L1 in this process with the contracts and the real verifier, five committee members with their own disks, and the sequencer
//! with its settlement in a process of its own, so that killing it is killing it. Between the sequencer and L1, and in front of every member, stands a recorder, which is how
//! it can be said afterwards what was sent and what was signed, and not only what came of it.
//!
//! After each: every wei is where it was or where it was sent ([`checks`]), no member signed two statements for one place, and L1 was sent no two batches of one number. What a
//! scenario draws — wallets, payments, who fails and when — it draws from its seed. Where processes run the same seed makes the same choices; the system's clock and scheduler
//! still have their say in the moments.

pub mod checks;
mod client;
mod members;
mod process;
mod record;
mod report;
mod scenarios;
mod sequencer;
mod world;

use std::{path::PathBuf, time::Instant};

use anyhow::Context as _;
use clap::ValueEnum;
use serde::Serialize;

pub use client::Client;
pub use members::{MemberSetup, RunningMember};
pub use report::{Report, StepReport};
pub use sequencer::{Plan, ProofPlan, sequence};

use report::Steps;

/// The scenarios.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// The committee loses its quorum: data goes to L1, and back to the committee once it has been well for long enough.
    Fallback,
    /// L1 takes back the block with a commit in it.
    Reorg,
    /// The sequencer is killed in the middle of batches, and started again.
    Restart,
    /// The sequencer ignores a forced withdrawal before anything was ever executed: the chain freezes, and deposits are taken back.
    Refund,
    /// The prover dies while it proves, and another goes on. Needs a real proof.
    Prover,
    /// The node, the members, the prover and the wallet as the processes that operators run; the node is killed while batches are proven, by itself and by the prover. Needs real proofs.
    Node,
    /// The sequencer ignores a forced withdrawal: the chain freezes, and an account leaves with data that one member has. Needs a real proof.
    Escape,
}

impl Scenario {
    /// Whether it takes a real proof: minutes of all cores and some gigabytes.
    pub fn needs_proof(self) -> bool {
        match self {
            Self::Fallback | Self::Reorg | Self::Restart | Self::Refund => false,
            Self::Prover | Self::Node | Self::Escape => true,
        }
    }

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fallback => "fallback",
            Self::Reorg => "reorg",
            Self::Restart => "restart",
            Self::Refund => "refund",
            Self::Prover => "prover",
            Self::Node => "node",
            Self::Escape => "escape",
        }
    }
}

/// What scenarios run with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The program that becomes a sequencer when it is given these arguments and then the path of a [`Plan`]: whoever runs scenarios calls [`sequence`] there.
    pub sequencer: (PathBuf, Vec<String>),
    /// Says what is going on.
    pub say: fn(&str),
}

/// Runs one scenario.
///
/// # Errors
/// Something did not happen in time, or did not hold.
pub async fn run(scenario: Scenario, seed: u64, settings: &Settings) -> anyhow::Result<Report> {
    let began = Instant::now();
    let mut steps = Steps::new(settings.say);
    let checked = match scenario {
        Scenario::Fallback => scenarios::fallback(seed, settings, &mut steps).await,
        Scenario::Reorg => scenarios::reorg(seed, settings, &mut steps).await,
        Scenario::Restart => scenarios::restart(seed, settings, &mut steps).await,
        Scenario::Refund => scenarios::refund(seed, settings, &mut steps).await,
        Scenario::Prover => scenarios::prover(seed, settings, &mut steps).await,
        Scenario::Node => scenarios::node(seed, settings, &mut steps).await,
        Scenario::Escape => scenarios::escape(seed, settings, &mut steps).await,
    };
    let checked = checked
        .with_context(|| format!("to see it again: joule-testnet scenario {} --seed {seed}", scenario.name()))?;
    Ok(Report { scenario, seed, seconds: began.elapsed().as_secs_f64(), steps: steps.done(), checked })
}
