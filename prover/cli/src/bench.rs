//! What proving costs on this machine.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use joule_machine::{Limits, kernel_image, record};
use joule_prover_engine::{ArtefactStore, CircuitGates, Engine, Silent};
use joule_tables::{inventory::inventory, program::Program, prove::Setup, rows::RowCounts, shape::Shape};
use joule_wrap::{ConstraintReport, WrapKeys, verify};
use serde::Serialize;

use crate::{
    bench_network,
    options::{CacheOption, Profile},
    progress::{Reporter, StepReport},
    sample::Sample,
    usage::{Seconds, memory_peak_mebibytes, timed},
};

/// What to measure.
#[derive(clap::Subcommand)]
pub(crate) enum Bench {
    /// Run one segment of sample payments and prove and verify its tables.
    Tables(TablesArguments),
    /// The same, then the segment circuit and the lift to the common layout.
    Segment(Arguments),
    /// A batch of several segments through merges and shrink.
    Batch(Arguments),
    /// Rows of every circuit, by kind of gate; builds the circuits and proves nothing.
    Circuits(Arguments),
    /// The wrap of a batch's last proof: constraints, setup, proving, verifying.
    Wrap(WrapArguments),
    /// A batch by one prover and by two, as processes over libp2p.
    Network(bench_network::Arguments),
}

/// Sample payments and how to prove them.
#[derive(clap::Args)]
#[command(after_help = "Example:
  joule-prover bench tables --payments 64 --json")]
pub(crate) struct Arguments {
    /// How many payments: of eight, three are transfers, two redeem a voucher, and one each posts, claims and settles a job.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    payments: u32,
    /// Payments in a block, at most (batch and wrap only); a segment takes as many blocks as it holds.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=512))]
    block: u32,
    /// Wallets that make them.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(2..=1_000))]
    wallets: u32,
    /// The seed of keys.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How much soundness is paid for.
    #[arg(long, value_enum, default_value_t = Profile::Fast)]
    profile: Profile,
    #[command(flatten)]
    cache: CacheOption,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Tables to prove.
#[derive(clap::Args)]
#[command(after_help = "Example:
  joule-prover bench tables --payments 64 --runs 3 --json")]
pub(crate) struct TablesArguments {
    #[command(flatten)]
    sample: Arguments,
    /// Prove the same segment so often in this process. The first proof is cold: the system gives out the memory it takes. The others are what a
    /// prover's next segments are like.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,
}

/// What to wrap.
#[derive(clap::Args)]
#[command(after_help = "Example:
  joule-prover bench wrap --json")]
pub(crate) struct WrapArguments {
    #[command(flatten)]
    sample: Arguments,
    /// Make the keys anew even if they are kept, to measure it.
    #[arg(long)]
    setup: bool,
    /// Count constraints and nothing else: needs no proof and no keys.
    #[arg(long)]
    constraints_only: bool,
}

#[derive(Serialize)]
struct TableReport {
    table: String,
    rows: usize,
    rows_used: usize,
    columns: usize,
    cells: usize,
}

/// One proof of the segment.
#[derive(Clone, Copy, Serialize)]
struct RunReport {
    fill: Seconds,
    prove: Seconds,
    verify: Seconds,
    cells_per_second: f64,
    cells_per_processor_second: f64,
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
    setup: Seconds,
    record: Seconds,
    /// Of the first run, which is cold, and alone unless more are asked for.
    #[serde(flatten)]
    first: RunReport,
    /// All of them, the first one too.
    runs: Vec<RunReport>,
    proof_bytes: usize,
    memory_peak_mebibytes: u64,
}

pub(crate) fn run(bench: &Bench) -> anyhow::Result<()> {
    match bench {
        Bench::Tables(arguments) => print(&tables(arguments)?, arguments.sample.json),
        Bench::Segment(arguments) => print(&segment(arguments)?, arguments.json),
        Bench::Batch(arguments) => print(&batch(arguments)?, arguments.json),
        Bench::Circuits(arguments) => print(&circuits(arguments)?, arguments.json),
        Bench::Wrap(arguments) => print(&wrap(arguments)?, arguments.sample.json),
        Bench::Network(arguments) => bench_network::run(arguments),
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

fn tables(TablesArguments { sample: arguments, runs }: &TablesArguments) -> anyhow::Result<TablesReport> {
    let sample = Sample::new(arguments.payments, arguments.payments.min(128), arguments.wallets, arguments.seed)?;
    let image = kernel_image();
    let (run, record_seconds) = timed(|| record(image, &sample.witness, Limits::default()));
    let (outcome, records) = run.context("running the image")?;
    sample.check(&outcome)?;
    let rows = RowCounts::of(image, &records);
    let shape = Shape::for_rows(&rows).context("the payments fit no shape: ask for fewer")?;
    let (setup, setup_seconds) = timed(|| Setup::new(shape, image));
    let setup = setup.context("setting the image up")?;
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
    let profile = arguments.profile.tables();
    let mut proof_bytes = 0;
    let runs = (0..*runs).map(|_| {
        let (witness, fill) = timed(|| setup.witness(&records));
        let witness = witness.context("filling the tables")?;
        let (proof, prove) = timed(|| setup.prove_witness(profile, &witness));
        let proof = proof.context("proving the tables")?;
        proof_bytes = proof.encode().len();
        let (verdict, verify) = timed(|| setup.verifying_key().verify(profile, &witness.public_values, &proof));
        verdict.context("verifying the tables")?;
        let (cells_per_second, cells_per_processor_second) = (cells as f64 / prove.wall, cells as f64 / prove.cpu);
        Ok(RunReport { fill, prove, verify, cells_per_second, cells_per_processor_second })
    });
    let runs = runs.collect::<anyhow::Result<Vec<_>>>()?;
    Ok(TablesReport {
        payments: arguments.payments,
        profile: arguments.profile,
        shape: shape.to_string(),
        cycles: outcome.cycles,
        cycles_per_payment: f64::from(outcome.cycles) / f64::from(arguments.payments),
        tables,
        cells,
        cells_per_cycle: cells as f64 / f64::from(outcome.cycles),
        setup: setup_seconds,
        record: record_seconds,
        first: *runs.first().context("there is a run")?,
        runs,
        proof_bytes,
        memory_peak_mebibytes: memory_peak_mebibytes(),
    })
}

#[derive(Serialize)]
struct SegmentReport {
    payments: u32,
    profile: Profile,
    program: String,
    circuits: Vec<(String, usize)>,
    building: Seconds,
    /// Reading the segment circuit of the shape, which a process does once for each shape that it meets.
    loading: Seconds,
    tables: Seconds,
    segment: Seconds,
    lift: Seconds,
    memory_peak_mebibytes: u64,
}

fn engine(arguments: &Arguments) -> anyhow::Result<(Engine, Seconds)> {
    let cache = arguments.cache.folder()?;
    let (engine, seconds) =
        timed(|| Engine::new(kernel_image(), &Shape::ALL, arguments.profile.recursion(), &cache, &Silent));
    Ok((engine.context("building the circuits")?, seconds))
}

fn segment(arguments: &Arguments) -> anyhow::Result<SegmentReport> {
    let sample = Sample::new(arguments.payments, arguments.payments.min(128), arguments.wallets, arguments.seed)?;
    let (engine, building) = engine(arguments)?;
    let (tables, tables_seconds) = timed(|| engine.prove_tables(&sample.witness));
    let (tables, outcome) = tables.context("proving the tables")?;
    sample.check(&outcome)?;
    let (loaded, loading) = timed(|| engine.load_segment(tables.proof.shape, &Silent));
    loaded.context("reading the segment circuit")?;
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
        building,
        loading,
        tables: tables_seconds,
        segment: segment_seconds,
        lift: lift_seconds,
        memory_peak_mebibytes: memory_peak_mebibytes(),
    })
}

#[derive(Serialize)]
struct BatchReport {
    payments: u32,
    profile: Profile,
    segments: usize,
    circuits: Vec<(String, usize)>,
    building: Seconds,
    steps: Vec<StepReport>,
    merge_tree: Seconds,
    shrink: Seconds,
    last_proof_bytes: usize,
    memory_peak_mebibytes: u64,
}

/// A folder of the system's temporary one, gone when it is dropped.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("joule-bench-{}", std::process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It may not be there yet, and what stays behind is for the system to remove.
        let _: Result<(), std::io::Error> = std::fs::remove_dir_all(&self.0);
    }
}

fn batch(arguments: &Arguments) -> anyhow::Result<BatchReport> {
    let inputs = Sample::segments(arguments.payments, arguments.block, arguments.wallets, arguments.seed)?;
    let (engine, building) = engine(arguments)?;
    engine.last_circuits()?;
    let scratch = Scratch::new();
    let store = ArtefactStore::open(&scratch.0, engine.context(&inputs))?;
    let reporter = Reporter::for_batch(inputs.len());
    let (merged, merge_tree) = timed(|| engine.merge_batch(&inputs, &store, &reporter));
    let merged = merged.context("proving the segments")?;
    let (last, shrink) = timed(|| engine.shrink(&merged));
    let last = last.context("shrinking")?;
    reporter.finish();
    Ok(BatchReport {
        payments: arguments.payments,
        profile: arguments.profile,
        segments: inputs.len(),
        circuits: engine.circuit_sizes()?,
        building,
        steps: reporter.steps(),
        merge_tree,
        shrink,
        last_proof_bytes: last.to_bytes().len(),
        memory_peak_mebibytes: memory_peak_mebibytes(),
    })
}

#[derive(Serialize)]
struct CircuitReport {
    name: String,
    rows_bits: usize,
    rows_used: usize,
    gates: BTreeMap<String, usize>,
}

#[derive(Serialize)]
struct CircuitsReport {
    profile: Profile,
    circuits: Vec<CircuitReport>,
    building: Seconds,
    memory_peak_mebibytes: u64,
}

fn circuits(arguments: &Arguments) -> anyhow::Result<CircuitsReport> {
    let (engine, mut building) = engine(arguments)?;
    let (gates, last) = timed(|| engine.circuit_gates());
    building += last;
    let report = |CircuitGates { name, rows_bits, gates }: CircuitGates| {
        let used = gates.iter().filter(|(gate, _)| !gate.contains("Noop")).map(|(_, rows)| rows).sum();
        CircuitReport { name, rows_bits, rows_used: used, gates }
    };
    let circuits = gates?.into_iter().map(report).collect();
    Ok(CircuitsReport {
        profile: arguments.profile,
        circuits,
        building,
        memory_peak_mebibytes: memory_peak_mebibytes(),
    })
}

#[derive(Serialize)]
struct WrapReport {
    profile: Profile,
    wrap_circuit: String,
    constraints: ConstraintReport,
    synthesis: Seconds,
    /// Nothing if the keys were kept and not asked for anew.
    setup: Option<Seconds>,
    load: Option<Seconds>,
    shrink: Option<Seconds>,
    prove: Option<Seconds>,
    verify: Option<Seconds>,
    memory_peak_mebibytes: u64,
}

fn wrap(arguments: &WrapArguments) -> anyhow::Result<WrapReport> {
    let WrapArguments { sample, setup, constraints_only } = arguments;
    let (engine, _) = engine(sample)?;
    engine.last_circuits()?;
    let (circuit, synthesis) = timed(|| engine.wrap_circuit());
    let circuit = circuit?;
    let mut report = WrapReport {
        profile: sample.profile,
        wrap_circuit: circuit.digest_hex(),
        constraints: circuit.report().clone(),
        synthesis,
        setup: None,
        load: None,
        shrink: None,
        prove: None,
        verify: None,
        memory_peak_mebibytes: 0,
    };
    if !constraints_only {
        let cache = sample.cache.folder()?;
        let kept = if *setup {
            None
        } else {
            let (keys, seconds) = timed(|| cache.load_keys(circuit));
            keys?.map(|keys| (keys, seconds))
        };
        let keys = match kept {
            Some((keys, seconds)) => {
                report.load = Some(seconds);
                keys
            }
            None => {
                let (keys, seconds) = timed(|| WrapKeys::generate_for_development(circuit));
                let keys = keys?;
                cache.save_keys(circuit, &keys)?;
                report.setup = Some(seconds);
                keys
            }
        };
        let inputs = Sample::segments(sample.payments, sample.block, sample.wallets, sample.seed)?;
        let scratch = Scratch::new();
        let store = ArtefactStore::open(&scratch.0, engine.context(&inputs))?;
        let reporter = Reporter::for_batch(inputs.len());
        let merged = engine.merge_batch(&inputs, &store, &reporter)?;
        let (last, shrink) = timed(|| engine.shrink(&merged));
        let last = last?;
        report.shrink = Some(shrink);
        let (proved, prove) = timed(|| keys.prove(circuit, &last));
        let (proof, statement) = proved?;
        report.prove = Some(prove);
        let (verdict, seconds) = timed(|| verify(&keys.verifying_key(), &proof, &statement));
        verdict?;
        report.verify = Some(seconds);
        reporter.finish();
    }
    report.memory_peak_mebibytes = memory_peak_mebibytes();
    Ok(report)
}

/// The program hash of the committed image, recomputed.
pub(crate) fn program_hash() -> anyhow::Result<()> {
    println!("{}", Program::of_image(kernel_image(), &Shape::ALL).context("setting the image up")?.hash());
    Ok(())
}

#[derive(Serialize)]
struct SecurityReport {
    profile: Profile,
    layer: String,
    regime: String,
    weakest_bits: f64,
    terms: Vec<(String, f64)>,
}

/// Prints the provable bits of every layer, computed: of table proofs from their parameters, of plonky2's layers from the circuits as built.
pub(crate) fn security(arguments: &SecurityArguments) -> anyhow::Result<()> {
    let mut reports = Vec::new();
    let profiles = arguments.profile.map_or_else(|| Profile::ALL.to_vec(), |profile| vec![profile]);
    for profile in profiles {
        for shape in Shape::ALL {
            let budget = joule_tables::security::budget(shape, profile.tables());
            reports.push(SecurityReport {
                profile,
                layer: format!("tables {shape}"),
                regime: "see the terms".to_owned(),
                weakest_bits: budget.bits(),
                terms: budget.terms.iter().map(|term| (term.name.to_string(), term.bits)).collect(),
            });
        }
        if arguments.tables_only {
            continue;
        }
        let cache = arguments.cache.folder()?;
        let reporter = Reporter::new(5);
        let engine = Engine::new(kernel_image(), &Shape::ALL, profile.recursion(), &cache, &reporter)?;
        for (layer, security) in engine.security()? {
            reports.push(SecurityReport {
                profile,
                layer,
                regime: security.regime.to_string(),
                weakest_bits: security.bits(),
                terms: security
                    .terms
                    .iter()
                    .map(|term| (format!("{} ({})", term.name, term.source), term.bits))
                    .collect(),
            });
        }
        reporter.finish();
        reports.push(SecurityReport {
            profile,
            layer: "wrap".to_owned(),
            regime: "knowledge soundness of Groth16 in the generic group model".to_owned(),
            weakest_bits: GROTH16_BITS,
            terms: vec![(
                "discrete logarithms of BN254 (Kim, Barbulescu 2016, and later estimates)".to_owned(),
                GROTH16_BITS,
            )],
        });
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&reports)?);
        return Ok(());
    }
    for report in &reports {
        println!("{:?} {}: {:.1} bits ({})", report.profile, report.layer, report.weakest_bits, report.regime);
        report.terms.iter().for_each(|(name, bits)| println!("    {bits:7.1}  {name}"));
    }
    for profile in Profile::ALL {
        let of = reports.iter().filter(|report| report.profile == profile);
        if let Some(weakest) = of.min_by(|x, y| x.weakest_bits.total_cmp(&y.weakest_bits)) {
            println!("{profile:?}, weakest: {:.1} bits, {}", weakest.weakest_bits, weakest.layer);
        }
    }
    Ok(())
}

/// What BN254 is held to be worth; not computed here.
const GROTH16_BITS: f64 = 100.0;

/// Which layers to compute.
#[derive(clap::Args)]
pub(crate) struct SecurityArguments {
    /// One profile alone.
    #[arg(long, value_enum)]
    profile: Option<Profile>,
    /// Only table proofs, which takes no time; the other layers are computed from built circuits.
    #[arg(long)]
    tables_only: bool,
    #[command(flatten)]
    cache: CacheOption,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}
