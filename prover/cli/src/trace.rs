//! What payments cost the machine.

use std::{collections::BTreeMap, fmt::Write as _, time::Instant};

use anyhow::{Context, ensure};
use joule_machine::{Cost, Limits, Profile, Witness, kernel_image, profile_calls, record, run as run_image};
use joule_protocol::gas_of;
use joule_tables::{rows::RowCounts, shape::Shape};
use joule_workload::Extreme;
use serde::Serialize;

use crate::sample::{FullBlock, Sample};

/// The routine of the image that is one transaction.
const TRANSACTION_ROUTINE: &str = "joule_kernel::transaction::execute";

/// Costs of sample payments on the machine.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  joule-prover trace --payments 800
  joule-prover trace --payments 64 --block 8 --json
  joule-prover trace --extremes")]
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
    /// Instead of payments, blocks full of one sort of call each, at their worst: what the gas of a call follows.
    #[arg(long, conflicts_with_all = ["payments", "block", "wallets", "seed"])]
    extremes: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// How full a run makes the smallest shape that holds it.
#[derive(Serialize)]
struct Fit {
    /// None if no shape holds it.
    shape: Option<String>,
    cycles: u32,
    /// The table with the least room left, and how much of the largest shape's it takes.
    fullest: &'static str,
    fullest_percent: f64,
    rows: BTreeMap<&'static str, usize>,
}

impl Fit {
    fn of(witness: &Witness) -> anyhow::Result<Self> {
        let (outcome, records) = record(kernel_image(), witness, Limits::default()).context("running the image")?;
        ensure!(outcome.exit_code == 0, "the image halts with {}", outcome.exit_code);
        let counts = RowCounts::of(kernel_image(), &records);
        let shape = Shape::ALL.into_iter().find(|shape| counts.check(*shape).is_ok());
        let largest = shape.unwrap_or(Shape::ALL[Shape::ALL.len() - 1]);
        let share = |(table, rows)| (100.0 * rows as f64 / largest.height(table) as f64, table);
        // The same in every run: they say nothing of this one.
        let varying = counts.iter().filter(|(table, _)| !matches!(table.as_str(), "image" | "bytes" | "output"));
        let (fullest_percent, fullest) =
            varying.map(share).max_by(|left, right| left.0.total_cmp(&right.0)).context("there are tables")?;
        Ok(Self {
            shape: shape.map(|shape| shape.to_string()),
            cycles: outcome.cycles,
            fullest: fullest.as_str(),
            fullest_percent,
            rows: counts.iter().map(|(table, rows)| (table.as_str(), rows)).collect(),
        })
    }
}

/// A block full of one sort of call.
#[derive(Serialize)]
struct ExtremeReport {
    block: String,
    gas_per_call: u64,
    requests: usize,
    transactions: usize,
    chunk_bytes: usize,
    fit: Fit,
}

fn extremes(json: bool) -> anyhow::Result<()> {
    let mut reports = Vec::new();
    for extreme in Extreme::ALL {
        let FullBlock { witness, requests, transactions, chunk_bytes } = FullBlock::new(extreme)?;
        reports.push(ExtremeReport {
            block: format!("{extreme:?}"),
            gas_per_call: gas_of(extreme.kind()),
            requests,
            transactions,
            chunk_bytes,
            fit: Fit::of(&witness)?,
        });
    }
    if json {
        println!("{}", serde_json::to_string_pretty(&reports)?);
        return Ok(());
    }
    println!(
        "{:<18} {:>8} {:>8} {:>8} {:>10} {:>10} {:>6} {:>6}  fullest table",
        "block full of", "gas each", "requests", "calls", "cycles", "cycles/call", "bytes", "%"
    );
    for report in &reports {
        let (fit, calls) = (&report.fit, report.requests + report.transactions);
        println!(
            "{:<18} {:>8} {:>8} {:>8} {:>10} {:>10} {:>6} {:>6.1}  {} of {}",
            report.block,
            report.gas_per_call,
            report.requests,
            report.transactions,
            fit.cycles,
            fit.cycles / (calls as u32).max(1),
            report.chunk_bytes,
            fit.fullest_percent,
            fit.fullest,
            fit.shape.as_deref().unwrap_or("no shape"),
        );
    }
    Ok(())
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
    /// The segments that these payments are cut into to be proven.
    segments: Vec<Fit>,
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
    if arguments.extremes {
        return extremes(arguments.json);
    }
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
    for (position, fit) in report.segments.iter().enumerate() {
        writeln!(
            out,
            "segment {position}: {} cycles in {}, its fullest table {} to {:.1} %",
            fit.cycles,
            fit.shape.as_deref().unwrap_or("no shape"),
            fit.fullest,
            fit.fullest_percent
        )?;
    }
    Ok(out)
}

fn measure(arguments: &Arguments) -> anyhow::Result<Report> {
    let Arguments { payments, block, wallets, seed, .. } = *arguments;
    let sample = Sample::new(payments, block, wallets, seed)?;
    let (image, limits) = (kernel_image(), Limits::default());
    let start = Instant::now();
    let outcome = run_image(image, &sample.witness, limits).context("running the image")?;
    let machine_seconds = start.elapsed().as_secs_f64();
    sample.check(&outcome)?;
    let (_, profile, calls) =
        profile_calls(image, &sample.witness, limits, TRANSACTION_ROUTINE).context("profiling the image")?;
    ensure!(calls.len() == sample.kinds.len(), "the image has no routine {TRANSACTION_ROUTINE} to measure");

    let mut kinds: BTreeMap<&'static str, Kind> = BTreeMap::new();
    for (kind, cost) in sample.kinds.iter().zip(&calls) {
        let entry = kinds.entry(kind).or_default();
        entry.payments += 1;
        entry.cost += *cost;
    }
    let segments = Sample::segments(payments, block, wallets, seed)?;
    let segments = segments.iter().map(Fit::of).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(Report {
        payments: arguments.payments,
        kinds,
        blocks: sample.blocks,
        input_words: sample.witness.input.len(),
        cycles: outcome.cycles,
        cycles_per_payment: f64::from(outcome.cycles) / f64::from(arguments.payments),
        memory_pages: outcome.pages,
        native_seconds: sample.native_seconds,
        machine_seconds,
        segments,
        profile,
    })
}
