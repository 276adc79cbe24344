//! `joule-prover verify` and `joule-prover inspect`: what a file says, and whether it is true.

use std::{
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use joule_machine::kernel_image;
use joule_prover_engine::{CircuitVerifier, RESULT_BYTES_MAX, ResultHeader, Verifier as _, decode_batch};
use joule_tables::{program::Program, shape::Shape};
use joule_wrap::{KeyHeader, KeyOrigin};
use serde_json::{Value, json};

use crate::{
    options::{CacheOption, Profile},
    settlement::hex,
};

/// What to verify.
#[derive(clap::Args)]
#[command(after_help = "Example:
  joule-prover verify /tmp/batch/wrap.result")]
pub(crate) struct VerifyArguments {
    /// The result of a segment, merge or wrap task.
    file: PathBuf,
    /// What to verify with [default: what `joule-prover setup` left for the result's profile].
    #[arg(long, value_name = "FILE")]
    verifier: Option<PathBuf>,
    /// The program it must be about, in hexadecimal [default: that of the committed image, recomputed].
    #[arg(long, value_name = "P")]
    program: Option<String>,
    #[command(flatten)]
    cache: CacheOption,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn verify(arguments: &VerifyArguments) -> anyhow::Result<()> {
    let bytes = read(&arguments.file, RESULT_BYTES_MAX)?;
    let (header, _) = ResultHeader::decode(&bytes).with_context(|| arguments.file.display().to_string())?;
    let profile = Profile::ALL.into_iter().find(|profile| profile.recursion() == header.profile);
    let profile = profile.context("a profile of this version")?;
    let path = match &arguments.verifier {
        Some(path) => path.clone(),
        None => arguments.cache.verifier_path(profile)?,
    };
    let verifier = read(&path, joule_prover_engine::VERIFIER_BYTES_MAX)
        .with_context(|| format!("no verifier of {}: `joule-prover setup` makes one", profile.name()))?;
    let verifier = CircuitVerifier::from_bytes(&verifier)
        .with_context(|| format!("{}: remove it, and run `joule-prover setup`", path.display()))?;
    // The verifier's program is the word of whoever made the file; this one is not.
    let program = match &arguments.program {
        Some(program) => program.clone(),
        None => Program::of_image(kernel_image(), &Shape::ALL).context("setting the image up")?.hash().to_string(),
    };
    let plain = |text: &str| text.trim_start_matches("0x").to_ascii_lowercase();
    let known = verifier.program().to_string();
    ensure!(
        plain(&known) == plain(&program),
        "{} is for program {known}, not {program}: run `joule-prover setup` after the image has changed",
        path.display()
    );
    let statement = verifier.verify(header.kind, &bytes).with_context(|| arguments.file.display().to_string())?;
    let value = json!({
        "verified": true,
        "task": header.kind.as_str(),
        "profile": profile.name(),
        "program": statement.program.to_string(),
        "chain_id": statement.chain_id,
        "from": hex(&statement.from.0),
        "to": hex(&statement.to.0),
        "public_input": hex(&statement.public_input().0),
        "is_development_key": verifier.wrap_key().map(|key| key.header.is_development()),
    });
    print(&value, arguments.json)
}

/// What to look at.
#[derive(clap::Args)]
pub(crate) struct InspectArguments {
    /// A key, a verifier, a result, a batch, a kept result or a circuit.
    file: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Says what a file claims to be. Nothing is verified.
pub(crate) fn inspect(arguments: &InspectArguments) -> anyhow::Result<()> {
    print(&describe(&arguments.file)?, arguments.json)
}

fn describe(path: &Path) -> anyhow::Result<Value> {
    let named = || path.display().to_string();
    let mut file = File::open(path).with_context(named)?;
    let length = file.metadata().with_context(named)?.len();
    let mut magic = Vec::new();
    file.by_ref().take(8).read_to_end(&mut magic).with_context(named)?;
    let whole = |limit: usize| read(path, limit);
    let value = match magic.as_slice() {
        b"JOULEKEY" | b"JOULEVKY" => {
            let header = KeyHeader::peek(magic.chain(file)).with_context(named)?;
            let origin = match &header.origin {
                KeyOrigin::Development { label } => json!({ "kind": "development, INSECURE", "label": label }),
                KeyOrigin::Ceremony { powers_of_tau, contributions } => json!({
                    "kind": "claims a ceremony, which this version cannot check",
                    "powers_of_tau": powers_of_tau,
                    "contributions": contributions.iter().map(|each| each.contributor.clone()).collect::<Vec<_>>(),
                }),
            };
            json!({ "what": "wrap key", "bytes": length, "circuit": header.circuit, "origin": origin })
        }
        b"JouleVer" => {
            let verifier =
                CircuitVerifier::from_bytes(&whole(joule_prover_engine::VERIFIER_BYTES_MAX)?).with_context(named)?;
            json!({
                "what": "verifier",
                "bytes": length,
                "profile": verifier.profile().name(),
                "program": verifier.program().to_string(),
                "circuits": verifier.circuits().to_string(),
                "wrap_circuit": verifier.wrap_key().map(|key| key.header.circuit.clone()),
            })
        }
        b"JouleArt" => {
            let bytes = whole(RESULT_BYTES_MAX)?;
            let (header, payload) = ResultHeader::decode(&bytes).with_context(named)?;
            json!({
                "what": format!("result of a {} task", header.kind),
                "bytes": length,
                "profile": header.profile.name(),
                "circuits": header.circuits.to_string(),
                "payload_bytes": payload.len(),
            })
        }
        b"JouleKep" => {
            let (name, context) = joule_prover_engine::ArtefactStore::peek(&whole(64 << 20)?)
                .with_context(|| format!("{} is damaged; remove it and run again", named()))?;
            json!({ "what": "kept result of a step", "bytes": length, "step": name, "context": hex(&context) })
        }
        b"JouleBat" => {
            let segments = decode_batch(&whole(joule_prover_engine::BATCH_BYTES_MAX)?).with_context(named)?;
            let each = segments
                .iter()
                .map(|segment| json!({ "input_words": segment.input.len(), "tree_updates": segment.siblings.len() }));
            json!({ "what": "batch", "bytes": length, "segments": each.collect::<Vec<_>>() })
        }
        b"JOULECIR" => json!({ "what": "built circuit", "bytes": length }),
        _ => bail!("{} is no file of joule-prover: it starts with {magic:02x?}", named()),
    };
    Ok(value)
}

fn read(path: &Path, limit: usize) -> anyhow::Result<Vec<u8>> {
    let length = fs::metadata(path).with_context(|| path.display().to_string())?.len();
    ensure!(length <= limit as u64, "{} has {length} bytes, and at most {limit} are read", path.display());
    fs::read(path).with_context(|| path.display().to_string())
}

/// Prints a report's fields, one to a line or as JSON.
pub(crate) fn print(value: &Value, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(value)?);
        return Ok(());
    }
    for (name, value) in value.as_object().context("a report has fields")? {
        match value {
            Value::String(text) => println!("{name:>20}  {text}"),
            value => println!("{name:>20}  {value}"),
        }
    }
    Ok(())
}
