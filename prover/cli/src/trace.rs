//! What payments cost the machine.

use std::{collections::BTreeMap, fmt::Write as _, time::Instant};

use anyhow::{Context, ensure};
use joule_machine::{Cost, Limits, Outcome, Profile, Witness, kernel_image, profile_calls, run as run_image};
use joule_protocol::{Checkpoint, Digest, Native};
use joule_state::witness_segment;
use joule_workload::{Chain, GENESIS_SECONDS, Payments, Population, payments};
use serde::Serialize;

const BASE_FEE: u64 = 100;
/// The routine of the image that is one transaction.
const TRANSACTION_ROUTINE: &str = "joule_kernel::transaction::execute";

/// Costs of sample payments on the machine.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  joule-prover trace --payments 800
  joule-prover trace --payments 64 --block 8 --json")]
pub(crate) struct Arguments {
    /// How many payments: of eight, three are transfers, two redeem a voucher, and one each posts, claims and settles a job.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    payments: u32,
    /// Payments in a block, at most (the gas limit may allow fewer).
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=512))]
    block: u32,
    /// Wallets that make them.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(2..=1_000))]
    wallets: u32,
    /// The seed of keys.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What one segment cost.
#[derive(Serialize)]
struct Report {
    payments: u32,
    kinds: BTreeMap<&'static str, Kind>,
    blocks: usize,
    input_words: usize,
    cycles: u32,
    cycles_per_payment: f64,
    memory_pages: u32,
    native_seconds: f64,
    machine_seconds: f64,
    profile: Profile,
}

/// What the payments of one kind cost, from their bytes to their effect in the block. Opening and writing objects is shared by
/// the payments of a block, and is not in here.
#[derive(Default, Serialize)]
struct Kind {
    payments: u32,
    cost: Cost,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let report = measure(arguments)?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", table(&report)?);
    }
    Ok(())
}

fn table(report: &Report) -> anyhow::Result<String> {
    let mut out = String::new();
    writeln!(out, "{}", report.profile)?;
    writeln!(
        out,
        "{:>12} {:>12} {:>8} {:>8} {:>6}  payments of a kind, each",
        "payments", "cycles", "keccak", "hash", "sig"
    )?;
    for (name, Kind { payments, cost }) in &report.kinds {
        let each = |count: u64| count as f64 / f64::from(*payments);
        writeln!(
            out,
            "{payments:>12} {:>12.0} {:>8.1} {:>8.1} {:>6.1}  {name}",
            each(cost.cycles),
            each(cost.precompiles.keccak_f),
            each(cost.precompiles.poseidon2_hash),
            each(cost.precompiles.ecrecover),
        )?;
    }
    let Cost { cycles, precompiles } = report.profile.total;
    let per_payment = |count: u64| count as f64 / f64::from(report.payments);
    writeln!(out, "\n{} payments in {} blocks, {} words of input", report.payments, report.blocks, report.input_words)?;
    writeln!(
        out,
        "per payment: {:.0} cycles, {:.2} keccak_f, {:.2} poseidon2_hash ({:.1} permutations), {:.2} tree_update, {:.2} ecrecover",
        per_payment(cycles),
        per_payment(precompiles.keccak_f),
        per_payment(precompiles.poseidon2_hash),
        per_payment(precompiles.poseidon2_permutations),
        per_payment(precompiles.tree_update),
        per_payment(precompiles.ecrecover),
    )?;
    writeln!(
        out,
        "natively {:.3} s with hints, on the machine {:.3} s ({:.0} M cycles/s)",
        report.native_seconds,
        report.machine_seconds,
        f64::from(report.cycles) / report.machine_seconds / 1e6
    )?;
    Ok(out)
}

fn measure(arguments: &Arguments) -> anyhow::Result<Report> {
    let mut chain = Chain::new(Chain::test_genesis());
    let devices = arguments.wallets.div_ceil(4);
    let population = Population::new(arguments.seed, &chain.genesis, arguments.wallets.into(), devices.into());
    let now = GENESIS_SECONDS + 60;
    let Payments { deposits, setup, payments } =
        payments(&population, now, BASE_FEE.into(), arguments.payments as usize);
    for requests in deposits.chunks(64) {
        chain.block(now, BASE_FEE, requests, &[]).context("a block of deposits")?;
    }
    for transactions in setup.chunks(64) {
        let block = chain.block(now, BASE_FEE, &[], transactions).context("a block of registrations")?;
        ensure!(block.refused.is_empty(), "a registration was refused: {:?}", block.refused[0]);
    }

    let from = *chain.execution.checkpoint();
    let mut tree = chain.execution.tree().clone();
    let mut blocks = Vec::new();
    let mut waiting = payments.as_slice();
    while !waiting.is_empty() {
        let offered = &waiting[..waiting.len().min(arguments.block as usize)];
        let transactions: Vec<_> = offered.iter().map(|(_, bytes)| bytes.clone()).collect();
        let block = chain.block(now, BASE_FEE, &[], &transactions).context("a block of payments")?;
        // What found no room is at the end, and goes into the next block.
        let taken = block.items.transactions.len();
        ensure!(taken > 0 && block.items.transactions == transactions[..taken], "a payment was refused");
        waiting = &waiting[taken..];
        blocks.push(block.items);
    }

    let start = Instant::now();
    let chain_id = chain.genesis.chain_id;
    let (witness, to) = witness_segment(&mut tree, chain_id, &from, &blocks).context("witnessing the segment")?;
    let native_seconds = start.elapsed().as_secs_f64();
    let siblings = witness.siblings.iter().map(|path| path.map(Digest::elements)).collect();
    let witness = Witness { input: witness.input, siblings };

    let (image, limits) = (kernel_image(), Limits::default());
    let start = Instant::now();
    let outcome = run_image(image, &witness, limits).context("running the image")?;
    let machine_seconds = start.elapsed().as_secs_f64();
    check(&outcome, chain_id, &from, &to)?;
    let (_, profile, calls) =
        profile_calls(image, &witness, limits, TRANSACTION_ROUTINE).context("profiling the image")?;
    ensure!(calls.len() == payments.len(), "the image has no routine {TRANSACTION_ROUTINE} to measure");

    let mut kinds: BTreeMap<&'static str, Kind> = BTreeMap::new();
    for ((kind, _), cost) in payments.iter().zip(&calls) {
        let entry = kinds.entry(kind).or_default();
        entry.payments += 1;
        entry.cost += *cost;
    }
    Ok(Report {
        payments: arguments.payments,
        kinds,
        blocks: blocks.len(),
        input_words: witness.input.len(),
        cycles: outcome.cycles,
        cycles_per_payment: f64::from(outcome.cycles) / f64::from(arguments.payments),
        memory_pages: outcome.pages,
        native_seconds,
        machine_seconds,
        profile,
    })
}

/// The image must say what the native kernel says.
fn check(outcome: &Outcome, chain_id: u64, from: &Checkpoint, to: &Checkpoint) -> anyhow::Result<()> {
    let mut expected = vec![chain_id as u32, (chain_id >> 32) as u32];
    expected.extend(from.hash::<Native>().to_words());
    expected.extend(to.hash::<Native>().to_words());
    ensure!(outcome.exit_code == 0, "the image halts with {}", outcome.exit_code);
    let committed = outcome.committed.context("the image commits nothing")?;
    ensure!(committed[..] == expected, "image and native kernel disagree: {committed:x?}, not {expected:x?}");
    Ok(())
}
