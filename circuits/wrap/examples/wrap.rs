//! Wraps a real recursion: a plonky2 proof of a proof of a proof, the last under BN254 hashing, then Groth16.
//!
//! ```text
//! cargo run -p joule-wrap --example wrap -- --constraints-only --json
//! cargo run -p joule-wrap --example wrap -- --json
//! ```

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;
use joule_recursion::bn254::Bn254PoseidonConfig;
use joule_wrap::{WrapCircuit, WrapKeys, default_cache_folder, solidity_verifier, verify};
use plonky2::field::goldilocks_field::GoldilocksField;
use plonky2::field::types::Field;
use plonky2::fri::reduction_strategies::FriReductionStrategy;
use plonky2::iop::witness::{PartialWitness, WitnessWrite};
use plonky2::plonk::circuit_builder::CircuitBuilder;
use plonky2::plonk::circuit_data::{CircuitConfig, CircuitData};
use plonky2::plonk::config::{AlgebraicHasher, GenericConfig, PoseidonGoldilocksConfig};
use plonky2::plonk::proof::ProofWithPublicInputs;

type F = GoldilocksField;

/// Reports constraints, times and memory of the wrap.
#[derive(Parser)]
struct Arguments {
    /// Rate of the wrapped layer: 2^-bits.
    #[arg(long, default_value_t = 5)]
    rate_bits: usize,
    /// Queries of the wrapped layer.
    #[arg(long, default_value_t = 17)]
    queries: usize,
    /// Challenges of every layer.
    #[arg(long, default_value_t = 3)]
    challenges: usize,
    /// Cap height of the wrapped layer.
    #[arg(long, default_value_t = 4)]
    cap_height: usize,
    /// Queries of the layer that the wrapped one verifies (rate 2^-4).
    #[arg(long, default_value_t = 21)]
    inner_queries: usize,
    /// Grinding bits of every layer.
    #[arg(long, default_value_t = 16)]
    grinding_bits: u32,
    /// Build the circuits and count, without any proof.
    #[arg(long)]
    constraints_only: bool,
    /// Check the constraints on a real proof instead of making a key and a wrap proof.
    #[arg(long)]
    satisfy_only: bool,
    /// Where keys are cached; the user's cache folder by default.
    #[arg(long)]
    key_folder: Option<PathBuf>,
    /// Writes the Solidity verifier here.
    #[arg(long)]
    solidity: Option<PathBuf>,
    /// One JSON object instead of lines.
    #[arg(long)]
    json: bool,
}

fn config(rate_bits: usize, queries: usize, cap_height: usize, arguments: &Arguments) -> CircuitConfig {
    let mut config = CircuitConfig::standard_recursion_config();
    config.security_bits = 1;
    config.num_challenges = arguments.challenges;
    config.fri_config.rate_bits = rate_bits;
    config.fri_config.num_query_rounds = queries;
    config.fri_config.cap_height = cap_height;
    config.fri_config.proof_of_work_bits = arguments.grinding_bits;
    config.fri_config.reduction_strategy = FriReductionStrategy::ConstantArityBits(4, 5);
    config
}

/// A circuit that verifies proofs of another and passes their public inputs on.
fn verifier_of<Inner, Outer>(
    inner: &CircuitData<F, Inner, 2>,
    config: CircuitConfig,
) -> (CircuitData<F, Outer, 2>, plonky2::plonk::proof::ProofWithPublicInputsTarget<2>)
where
    Inner: GenericConfig<2, F = F>,
    Inner::Hasher: AlgebraicHasher<F>,
    Outer: GenericConfig<2, F = F>,
{
    let mut builder = CircuitBuilder::<F, 2>::new(config);
    let proof = builder.add_virtual_proof_with_pis(&inner.common);
    let key = builder.constant_verifier_data(&inner.verifier_only);
    builder.verify_proof::<Inner>(&proof, &key, &inner.common);
    builder.register_public_inputs(&proof.public_inputs);
    (builder.build(), proof)
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut report = serde_json::Map::new();

    let mut builder = CircuitBuilder::<F, 2>::new(config(3, 28, 4, &arguments));
    let inputs = builder.add_virtual_targets(21);
    builder.register_public_inputs(&inputs);
    let first = builder.build::<PoseidonGoldilocksConfig>();
    let (second, second_target) =
        verifier_of::<_, PoseidonGoldilocksConfig>(&first, config(4, arguments.inner_queries, 4, &arguments));
    let start = Instant::now();
    let last_config = config(arguments.rate_bits, arguments.queries, arguments.cap_height, &arguments);
    let (last, last_target) = verifier_of::<_, Bn254PoseidonConfig>(&second, last_config);
    report.insert("last_layer_build_s".into(), start.elapsed().as_secs_f64().into());
    report.insert("last_layer_rows_bits".into(), last.common.degree_bits().into());
    let gates: Vec<_> = last.common.gates.iter().map(|gate| gate.0.id()).collect();
    report.insert("gates".into(), gates.into());

    let start = Instant::now();
    let wrap = WrapCircuit::new(last.common.clone(), last.verifier_only.clone())?;
    report.insert("synthesis_s".into(), start.elapsed().as_secs_f64().into());
    report.insert("circuit".into(), serde_json::to_value(wrap.report())?);

    if !arguments.constraints_only {
        let mut witness = PartialWitness::new();
        for (index, input) in inputs.iter().enumerate() {
            witness.set_target(*input, F::from_canonical_usize(1 + index))?;
        }
        let proof = first.prove(witness)?;
        let proof = lift(&second, &second_target, &proof)?;
        let start = Instant::now();
        let proof = lift(&last, &last_target, &proof)?;
        report.insert("last_layer_prove_s".into(), start.elapsed().as_secs_f64().into());
        if arguments.satisfy_only {
            let violated = wrap.assignment(&proof)?.violated_parts()?;
            report.insert("violated_parts".into(), violated.into());
        } else {
            wrap_and_verify(&arguments, &wrap, &proof, &mut report)?;
        }
    }
    report.insert("peak_memory_mib".into(), peak_memory_mib().into());

    if arguments.json {
        println!("{}", serde_json::Value::Object(report));
    } else {
        for (name, value) in &report {
            println!("{name}: {value:#}");
        }
    }
    Ok(())
}

fn lift<Inner, Outer>(
    circuit: &CircuitData<F, Outer, 2>,
    target: &plonky2::plonk::proof::ProofWithPublicInputsTarget<2>,
    proof: &ProofWithPublicInputs<F, Inner, 2>,
) -> Result<ProofWithPublicInputs<F, Outer, 2>>
where
    Inner: GenericConfig<2, F = F>,
    Inner::Hasher: AlgebraicHasher<F>,
    Outer: GenericConfig<2, F = F>,
{
    let mut witness = PartialWitness::new();
    witness.set_proof_with_pis_target(target, proof)?;
    circuit.prove(witness)
}

fn wrap_and_verify(
    arguments: &Arguments,
    wrap: &WrapCircuit,
    proof: &joule_wrap::InnerProof,
    report: &mut serde_json::Map<String, serde_json::Value>,
) -> Result<()> {
    let folder = arguments
        .key_folder
        .clone()
        .or_else(default_cache_folder)
        .context("no cache folder: set XDG_CACHE_HOME or pass --key-folder")?;
    let start = Instant::now();
    let keys = WrapKeys::load_or_generate(&folder, wrap)?;
    report.insert("setup_or_load_s".into(), start.elapsed().as_secs_f64().into());
    let start = Instant::now();
    let (wrapped, values) = keys.prove(wrap, proof)?;
    report.insert("prove_s".into(), start.elapsed().as_secs_f64().into());
    let start = Instant::now();
    verify(&keys.verifying_key(), &wrapped, &values)?;
    report.insert("verify_s".into(), start.elapsed().as_secs_f64().into());
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    report.insert("proof".into(), wrapped.words.iter().map(|word| hex(word)).collect::<Vec<_>>().into());
    report.insert("public_input".into(), hex(&values.public_input().0).into());
    if let Some(path) = &arguments.solidity {
        std::fs::write(path, solidity_verifier(&keys.verifying_key())?)?;
    }
    Ok(())
}

/// The process's largest resident set, where the system says it.
fn peak_memory_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib / 1024)
}
