//! What proving costs on this machine.

use std::time::Instant;

use anyhow::{Context, ensure};
use clap::ValueEnum;
use joule_machine::{Limits, kernel_image, record};
use joule_prover_engine::{ArtefactStore, CacheFolder, Engine, Progress, Silent, Step};
use joule_tables::{config, inventory::inventory, program::Program, prove::Setup, rows::RowCounts, shape::Shape};
use serde::Serialize;

use crate::sample::Sample;

/// How much soundness is paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Profile {
    /// For development: fewer queries than any proof of soundness asks for.
    Fast,
    /// At least 100 provable bits in the tables.
    Proven,
}

impl Profile {
    pub(crate) const fn tables(self) -> config::Profile {
        match self {
            Self::Fast => config::Profile::Fast,
            Self::Proven => config::Profile::Proven,
        }
    }

    pub(crate) const fn recursion(self) -> joule_recursion::profile::Profile {
        match self {
            Self::Fast => joule_recursion::profile::Profile::Fast,
            Self::Proven => joule_recursion::profile::Profile::Proven,
        }
    }
}

/// What to measure.
#[derive(clap::Subcommand)]
pub(crate) enum Bench {
    /// Run one segment of sample payments and prove and verify its tables.
    Tables(Arguments),
    /// The same, then the segment circuit and the lift to the common layout.
    Segment(Arguments),
    /// A batch of several segments through merges and shrink.
    Batch(Arguments),
}

/// Sample payments and how to prove them.
#[derive(clap::Args)]
#[command(after_help = "Example:
  joule-prover bench tables --payments 64 --json")]
pub(crate) struct Arguments {
    /// How many payments: of eight, three are transfers, two redeem a voucher, and one each posts, claims and settles a job.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    payments: u32,
    /// Payments in a segment (batch only).
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=512))]
    segment: u32,
    /// Wallets that make them.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(2..=1_000))]
    wallets: u32,
    /// The seed of keys.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How much soundness is paid for.
    #[arg(long, value_enum, default_value_t = Profile::Fast)]
    profile: Profile,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct TableReport {
    table: String,
    rows: usize,
    rows_used: usize,
    columns: usize,
    cells: usize,
}

#[derive(Serialize)]
struct TablesReport {
    payments: u32,
    profile: Profile,
    shape: String,
    cycles: u32,
    cycles_per_payment: f64,
    tables: Vec<TableReport>,
    cells: usize,
    cells_per_cycle: f64,
    setup_seconds: f64,
    record_seconds: f64,
    fill_seconds: f64,
    prove_seconds: f64,
    prove_processor_seconds: f64,
    verify_seconds: f64,
    cells_per_second: f64,
    cells_per_processor_second: f64,
    proof_bytes: usize,
    memory_peak_mebibytes: u64,
}

pub(crate) fn run(bench: &Bench) -> anyhow::Result<()> {
    match bench {
        Bench::Tables(arguments) => print(&tables(arguments)?, arguments.json),
        Bench::Segment(arguments) => print(&segment(arguments)?, arguments.json),
        Bench::Batch(arguments) => print(&batch(arguments)?, arguments.json),
    }
}

fn print(report: &impl Serialize, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(report)?);
        return Ok(());
    }
    let value = serde_json::to_value(report)?;
    for (name, value) in value.as_object().context("a report has fields")? {
        match value.as_array() {
            Some(rows) => rows.iter().for_each(|row| println!("  {row}")),
            None => println!("{name:>24}  {value}"),
        }
    }
    Ok(())
}

/// The most memory this process has held; 0 where the system does not say.
fn memory_peak_mebibytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix("kB")).and_then(|kib| kib.trim().parse::<u64>().ok()).unwrap_or(0)
        / 1024
}

/// What this process has had of all processors, in seconds: user and system time. Other processes change it less than the time on the wall. 0
/// where the system does not say.
fn processor_seconds() -> f64 {
    // Linux counts in hundredths for everybody who reads this file, whatever its own tick is. The name in parentheses may hold anything.
    const TICKS_PER_SECOND: f64 = 100.0;
    let status = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = status.rsplit(')').next().unwrap_or_default().split_ascii_whitespace();
    // Fields 14 and 15 of the file; the first behind the name is the third.
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    ticks as f64 / TICKS_PER_SECOND
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let value = work();
    (value, start.elapsed().as_secs_f64())
}

fn tables(arguments: &Arguments) -> anyhow::Result<TablesReport> {
    let sample = Sample::new(arguments.payments, arguments.payments.min(128), arguments.wallets, arguments.seed)?;
    let image = kernel_image();
    let (run, record_seconds) = timed(|| record(image, &sample.witness, Limits::default()));
    let (outcome, records) = run.context("running the image")?;
    sample.check(&outcome)?;
    let rows = RowCounts::of(image, &records);
    let mut refused = None;
    for shape in Shape::ALL {
        let (setup, setup_seconds) = timed(|| Setup::new(shape, image));
        let setup = setup.context("setting the image up")?;
        let (witness, fill_seconds) = timed(|| setup.witness(&records));
        let witness = match witness {
            Ok(witness) => witness,
            Err(error) => {
                refused = Some(error);
                continue;
            }
        };
        let profile = arguments.profile.tables();
        let processor_seconds_before = processor_seconds();
        let (proof, prove_seconds) = timed(|| setup.prove_witness(profile, &witness));
        let prove_processor_seconds = processor_seconds() - processor_seconds_before;
        let proof = proof.context("proving the tables")?;
        let bytes = proof.encode();
        let (verdict, verify_seconds) = timed(|| setup.verifying_key().verify(profile, &witness.public_values, &proof));
        verdict.context("verifying the tables")?;
        let tables: Vec<_> = inventory(shape)
            .iter()
            .map(|table| TableReport {
                table: format!("{:?}", table.table),
                rows: 1 << table.height_bits,
                rows_used: rows.of_table(table.table),
                columns: table.main + table.auxiliary + table.quotient,
                cells: table.cells(),
            })
            .collect();
        let cells: usize = tables.iter().map(|table| table.cells).sum();
        return Ok(TablesReport {
            payments: arguments.payments,
            profile: arguments.profile,
            shape: shape.to_string(),
            cycles: outcome.cycles,
            cycles_per_payment: f64::from(outcome.cycles) / f64::from(arguments.payments),
            tables,
            cells,
            cells_per_cycle: cells as f64 / f64::from(outcome.cycles),
            setup_seconds,
            record_seconds,
            fill_seconds,
            prove_seconds,
            prove_processor_seconds,
            verify_seconds,
            cells_per_second: cells as f64 / prove_seconds,
            cells_per_processor_second: cells as f64 / prove_processor_seconds,
            proof_bytes: bytes.len(),
            memory_peak_mebibytes: memory_peak_mebibytes(),
        });
    }
    Err(refused.map_or_else(|| anyhow::anyhow!("there are no shapes"), Into::into))
}

#[derive(Serialize)]
struct SegmentReport {
    payments: u32,
    profile: Profile,
    program: String,
    circuits: Vec<(String, usize)>,
    circuits_seconds: f64,
    tables_seconds: f64,
    segment_seconds: f64,
    lift_seconds: f64,
    total_seconds: f64,
    memory_peak_mebibytes: u64,
}

fn engine(arguments: &Arguments) -> anyhow::Result<(Engine, f64)> {
    let cache = CacheFolder::default_for_user()?;
    let (engine, seconds) =
        timed(|| Engine::new(kernel_image(), &Shape::ALL, arguments.profile.recursion(), &cache, &Silent));
    Ok((engine.context("building the circuits")?, seconds))
}

fn segment(arguments: &Arguments) -> anyhow::Result<SegmentReport> {
    let sample = Sample::new(arguments.payments, arguments.payments.min(128), arguments.wallets, arguments.seed)?;
    let (engine, circuits_seconds) = engine(arguments)?;
    let (tables, tables_seconds) = timed(|| engine.prove_tables(&sample.witness));
    let (tables, outcome) = tables.context("proving the tables")?;
    sample.check(&outcome)?;
    let (segment, segment_seconds) = timed(|| engine.prove_segment(&tables));
    let (shape, segment) = segment.context("proving the segment")?;
    let (lifted, lift_seconds) = timed(|| engine.lift(shape, &segment));
    let lifted = lifted.context("lifting")?;
    ensure!(Engine::statement_of(&lifted)? == tables.statement, "the lifted proof says something else");
    Ok(SegmentReport {
        payments: arguments.payments,
        profile: arguments.profile,
        program: engine.program_hash().to_string(),
        circuits: engine.circuit_sizes()?,
        circuits_seconds,
        tables_seconds,
        segment_seconds,
        lift_seconds,
        total_seconds: tables_seconds + segment_seconds + lift_seconds,
        memory_peak_mebibytes: memory_peak_mebibytes(),
    })
}

#[derive(Serialize)]
struct BatchReport {
    payments: u32,
    profile: Profile,
    segments: usize,
    circuits: Vec<(String, usize)>,
    circuits_seconds: f64,
    merge_tree_seconds: f64,
    shrink_seconds: f64,
    last_proof_bytes: usize,
    memory_peak_mebibytes: u64,
}

/// Writes each step to standard error as it ends.
struct Lines;

impl Progress for Lines {
    fn begin(&self, _: &Step) {}

    fn end(&self, task: &Step, took: Option<std::time::Duration>) {
        match took {
            Some(took) => eprintln!("{task}: {:.1} s", took.as_secs_f64()),
            None => eprintln!("{task}: kept"),
        }
    }
}

fn batch(arguments: &Arguments) -> anyhow::Result<BatchReport> {
    let inputs = Sample::segments(arguments.payments, arguments.segment, arguments.wallets, arguments.seed)?;
    let (engine, circuits_seconds) = engine(arguments)?;
    let folder = std::env::temp_dir().join(format!("joule-bench-{}", std::process::id()));
    let store = ArtefactStore::open(&folder, engine.context(&inputs))?;
    let (merged, merge_tree_seconds) = timed(|| engine.merge_batch(&inputs, &store, &Lines));
    let merged = merged.context("proving the segments")?;
    let (last, shrink_seconds) = timed(|| engine.shrink(&merged));
    let last = last.context("shrinking")?;
    std::fs::remove_dir_all(&folder).context("removing the bench's artefacts")?;
    Ok(BatchReport {
        payments: arguments.payments,
        profile: arguments.profile,
        segments: inputs.len(),
        circuits: engine.circuit_sizes()?,
        circuits_seconds,
        merge_tree_seconds,
        shrink_seconds,
        last_proof_bytes: last.to_bytes().len(),
        memory_peak_mebibytes: memory_peak_mebibytes(),
    })
}

/// The program hash of the committed image, recomputed.
pub(crate) fn program_hash() -> anyhow::Result<()> {
    println!("{}", Program::of_image(kernel_image(), &Shape::ALL).context("setting the image up")?.hash());
    Ok(())
}

#[derive(Serialize)]
struct SecurityReport {
    profile: Profile,
    shape: String,
    weakest_bits: f64,
    together_bits: f64,
    terms: Vec<joule_tables::security::Term>,
}

/// Prints the provable bits of table proofs, computed.
pub(crate) fn security(json: bool) -> anyhow::Result<()> {
    let mut reports = Vec::new();
    for profile in [Profile::Fast, Profile::Proven] {
        for shape in Shape::ALL {
            let budget = joule_tables::security::budget(shape, profile.tables());
            let (weakest_bits, together_bits) = (budget.bits(), budget.bits_together());
            reports.push(SecurityReport {
                profile,
                shape: shape.to_string(),
                weakest_bits,
                together_bits,
                terms: budget.terms,
            });
        }
    }
    if json {
        println!("{}", serde_json::to_string_pretty(&reports)?);
        return Ok(());
    }
    for report in &reports {
        println!(
            "{:?} {}: {:.1} bits, {:.1} all terms together",
            report.profile, report.shape, report.weakest_bits, report.together_bits
        );
        report.terms.iter().for_each(|term| println!("    {:7.1}  {}", term.bits, term.name));
    }
    Ok(())
}
