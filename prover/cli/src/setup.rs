//! `joule-prover setup`: circuits, keys, and what follows from them, in one command.

use std::{fs, path::PathBuf};

use anyhow::{Context, ensure};
use joule_machine::kernel_image;
use joule_prover_engine::{Engine, description};
use joule_tables::shape::Shape;
use joule_wrap::solidity_verifier;
use serde::Serialize;

use crate::{
    options::{CircuitsOption, Profile},
    progress::{Reporter, StepReport},
    settlement::hex,
    usage::memory_peak_mebibytes,
};

/// What to make.
#[derive(clap::Args)]
#[command(
    after_help = "The keys come from a public seed: anybody can forge proofs under them. Contracts refuse them off local chains.

Examples:
  joule-prover setup
  joule-prover setup --solidity contracts/src/generated/Groth16Verifier.sol    # then contracts/build
  joule-prover setup --check contracts/src/generated/Groth16Verifier.sol"
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    circuits: CircuitsOption,
    /// Write the Solidity verifier of the key here.
    #[arg(long, value_name = "FILE")]
    solidity: Option<PathBuf>,
    /// Only say whether this Solidity verifier is for the circuits of this version: builds the circuits, but no keys.
    #[arg(long, value_name = "FILE", conflicts_with = "solidity")]
    check: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    profile: Profile,
    program: String,
    circuits: String,
    description: String,
    wrap_circuit: String,
    constraints: usize,
    /// Nothing if no key was asked for.
    key: Option<String>,
    key_file: Option<PathBuf>,
    verifier_file: Option<PathBuf>,
    is_development_key: bool,
    steps: Vec<StepReport>,
    memory_peak_mebibytes: u64,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let cache = arguments.circuits.cache.folder()?;
    let profile = arguments.circuits.profile.recursion();
    let description = description(profile, &Shape::ALL)?;
    let reporter = Reporter::new(6);
    let engine =
        Engine::new(kernel_image(), &Shape::ALL, profile, &cache, &reporter).context("building the circuits")?;
    // Whatever is kept is read, so that a damaged file is found now and made again, and not by a prover with a task.
    for shape in Shape::ALL {
        engine.load_segment(shape, &reporter)?;
    }
    let circuit = engine.wrap_circuit()?;
    let mut report = Report {
        profile: arguments.circuits.profile,
        program: engine.program_hash().to_string(),
        circuits: engine.circuits().to_string(),
        description: hex(&description),
        wrap_circuit: circuit.digest_hex(),
        constraints: circuit.report().constraints,
        key: None,
        key_file: None,
        verifier_file: None,
        is_development_key: true,
        steps: Vec::new(),
        memory_peak_mebibytes: 0,
    };
    if let Some(path) = &arguments.check {
        let source = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        for (name, expected) in [("circuit", circuit.digest_hex()), ("description", hex(&description)[2..].to_owned())]
        {
            ensure!(
                source.contains(&expected),
                "{} is for other circuits (its {name} is not {expected}): run `joule-prover setup --solidity {}`, then contracts/build",
                path.display(),
                path.display()
            );
        }
    } else {
        let keys = engine.set_up_wrap(&reporter)?;
        let key = keys.verifying_key();
        report.is_development_key = key.header.is_development();
        report.key = Some(hex(&key.digest()?));
        report.key_file = Some(cache.key_path(circuit));
        let path = arguments.circuits.cache.verifier_path(arguments.circuits.profile)?;
        fs::write(&path, engine.verifier().to_bytes()?).with_context(|| path.display().to_string())?;
        report.verifier_file = Some(path);
        if let Some(path) = &arguments.solidity {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
            }
            fs::write(path, solidity_verifier(&key, profile, &description)?)
                .with_context(|| path.display().to_string())?;
        }
    }
    report.steps = reporter.steps();
    report.memory_peak_mebibytes = memory_peak_mebibytes();
    reporter.finish();
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
        return Ok(());
    }
    println!("program       {}", report.program);
    println!("circuits      {}", report.circuits);
    println!("wrap circuit  {} ({} constraints)", report.wrap_circuit, report.constraints);
    if let (Some(key), Some(file), Some(verifier)) = (&report.key, &report.key_file, &report.verifier_file) {
        println!("key           {key}{}", if report.is_development_key { "  INSECURE, for development" } else { "" });
        println!("proving key   {}", file.display());
        println!("verifier      {}", verifier.display());
    }
    if let Some(path) = &arguments.check {
        println!("{} is of this version", path.display());
    }
    Ok(())
}
