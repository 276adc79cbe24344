//! `joule-prover prove`: a batch, from its segments to the proof that L1 takes.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};
use joule_machine::kernel_image;
use joule_prover_engine::{
    ArtefactStore, BATCH_BYTES_MAX, BatchProof, Engine, SegmentInput, decode_batch, encode_batch,
};
use joule_tables::shape::Shape;
use serde::{Deserialize, Serialize};

use crate::{
    options::{CircuitsOption, Profile},
    progress::{Reporter, StepReport},
    settlement::{self, Settlement, hex},
    usage::{Seconds, memory_peak_mebibytes, timed},
};

/// What to prove.
#[derive(clap::Args)]
#[command(after_help = "Every result is kept in the folder, so that a run that was stopped goes on where it was.

Examples:
  joule-prover prove --payments 16 --out /tmp/batch
  joule-prover prove --batch /tmp/batch/batch.input --out /tmp/again --json
  joule-prover verify /tmp/batch/wrap.result")]
pub(crate) struct Arguments {
    #[command(flatten)]
    batch: BatchOption,
    /// Where results go.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    #[command(flatten)]
    circuits: CircuitsOption,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Which batch.
#[derive(clap::Args)]
pub(crate) struct BatchOption {
    /// Prove a batch of this many sample payments, from a genesis with deposits to a withdrawal.
    #[arg(long, required_unless_present = "batch", value_parser = clap::value_parser!(u32).range(1..=20_000))]
    payments: Option<u32>,
    /// Prove the segments in this file.
    #[arg(long, value_name = "FILE", conflicts_with = "payments")]
    batch: Option<PathBuf>,
    /// One segment to so many transactions of a sample, instead of as few segments as hold them.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=512))]
    segment: Option<u32>,
    /// Wallets that make sample payments.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(2..=1_000))]
    wallets: u32,
    /// The seed of sample wallets.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl BatchOption {
    /// The segments, and what L1 needs of sample payments. Samples are written down, so that another machine can prove the same.
    pub(crate) fn inputs(&self, out: &Path) -> anyhow::Result<(Vec<SegmentInput>, Option<Settlement>)> {
        let path = match (&self.batch, self.payments) {
            (Some(path), _) => path,
            (None, payments) => {
                let payments = payments.context("either --payments or --batch")?;
                let (inputs, settlement) = settlement::batch(payments, self.segment, self.wallets, self.seed)?;
                write(&out.join("batch.input"), &encode_batch(&inputs))?;
                return Ok((inputs, Some(settlement)));
            }
        };
        let length = fs::metadata(path).with_context(|| path.display().to_string())?.len();
        ensure!(length <= BATCH_BYTES_MAX as u64, "{} has {length} bytes, more than any batch", path.display());
        let bytes = fs::read(path).with_context(|| path.display().to_string())?;
        Ok((decode_batch(&bytes).with_context(|| path.display().to_string())?, None))
    }
}

/// A batch's proof as L1 takes it, and for sample payments all that goes with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProofFile {
    /// The profile it was made with.
    pub(crate) profile: String,
    /// Digest of the wrap circuit.
    pub(crate) wrap_circuit: String,
    /// The program hash P.
    pub(crate) program: String,
    /// Hash of the checkpoint it starts from.
    pub(crate) from: String,
    /// Hash of the checkpoint it reaches.
    pub(crate) to: String,
    /// The wrap's public input.
    pub(crate) public_input: String,
    /// A, B and C as eight words.
    pub(crate) proof: Vec<String>,
    /// What L1 needs besides; of sample payments only.
    pub(crate) settlement: Option<Settlement>,
}

impl ProofFile {
    pub(crate) fn new(
        profile: Profile,
        wrap_circuit: String,
        proved: &BatchProof,
        settlement: Option<Settlement>,
    ) -> Self {
        let statement = &proved.statement;
        Self {
            profile: profile.name().to_owned(),
            wrap_circuit,
            program: hex(&statement.program.to_hash().0),
            from: hex(&statement.from.0),
            to: hex(&statement.to.0),
            public_input: hex(&statement.public_input().0),
            proof: proved.proof.words.iter().map(|word| hex(word)).collect(),
            settlement,
        }
    }
}

#[derive(Serialize)]
struct Report {
    segments: usize,
    profile: Profile,
    program: String,
    from: String,
    to: String,
    public_input: String,
    proof_file: PathBuf,
    result_file: PathBuf,
    circuits: Vec<(String, usize)>,
    steps: Vec<StepReport>,
    all: Seconds,
    memory_peak_mebibytes: u64,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    fs::create_dir_all(&arguments.out).with_context(|| arguments.out.display().to_string())?;
    let (inputs, settlement) = arguments.batch.inputs(&arguments.out)?;
    let reporter = Reporter::for_batch(inputs.len());
    let (proved, all) = timed(|| prove(arguments, &inputs, &reporter));
    let (engine, proved) = proved?;
    let result_file = arguments.out.join("wrap.result");
    write(&result_file, &engine.encode_wrap(&proved.proof, &proved.statement))?;
    let file = ProofFile::new(arguments.circuits.profile, engine.wrap_circuit()?.digest_hex(), &proved, settlement);
    let proof_file = arguments.out.join("proof.json");
    write(&proof_file, format!("{}\n", serde_json::to_string_pretty(&file)?).as_bytes())?;
    reporter.finish();
    let report = Report {
        segments: inputs.len(),
        profile: arguments.circuits.profile,
        program: file.program,
        from: file.from,
        to: file.to,
        public_input: file.public_input,
        proof_file,
        result_file,
        circuits: engine.circuit_sizes()?,
        steps: reporter.steps(),
        all,
        memory_peak_mebibytes: memory_peak_mebibytes(),
    };
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
        return Ok(());
    }
    println!("{} segments, {:.0} s, {} MiB", report.segments, report.all.wall, report.memory_peak_mebibytes);
    println!("from          {}\nto            {}", report.from, report.to);
    println!("public input  {}", report.public_input);
    println!("proof         {}", report.proof_file.display());
    println!("to verify     joule-prover verify {}", report.result_file.display());
    Ok(())
}

fn prove(arguments: &Arguments, inputs: &[SegmentInput], reporter: &Reporter) -> anyhow::Result<(Engine, BatchProof)> {
    let (cache, profile) = (arguments.circuits.cache.folder()?, arguments.circuits.profile.recursion());
    let engine =
        Engine::new(kernel_image(), &Shape::ALL, profile, &cache, reporter).context("building the circuits")?;
    let store = ArtefactStore::open(&arguments.out, engine.context(inputs))?;
    let proved = engine.prove_batch(inputs, &store, reporter)?;
    Ok((engine, proved))
}

pub(crate) fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let partial = path.with_extension(format!("{}.partial", std::process::id()));
    fs::write(&partial, bytes).and_then(|()| fs::rename(&partial, path)).with_context(|| path.display().to_string())
}
