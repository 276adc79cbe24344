//! `joule-prover calibrate`: how long a task of each kind takes this machine, measured by doing one.
//!
//! Every measured task is a real one: a sample segment is proven, merged and wrapped by the process that would do it for the network, and each result is verified.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
    time::Instant,
};

use anyhow::{Context, bail, ensure};
use clap::ValueEnum;
use joule_machine::kernel_image;
use joule_protocol::Digest;
use joule_prover_engine::{CircuitVerifier, SegmentInput, Verifier as _};
use joule_prover_network::{ArtefactId, ChildLabour, Labour as _, PlannedSegment, Task, TaskKind, plan};
use joule_tables::shape::Shape;
use joule_workload::Extreme;
use serde::{Deserialize, Serialize};

use crate::{
    machine::{cores, memory_peak_of},
    options::{CacheOption, FolderOption, Profile, ProofsOption},
    sample::FullBlock,
    settlement::batch,
    worker::{IDLE_DEFAULT_SECONDS, child},
};

/// A shape of segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ShapeChoice {
    /// Some 16 payments.
    Small,
    /// Some 64 payments.
    Medium,
    /// Any block.
    Large,
}

impl ShapeChoice {
    pub(crate) const ALL: [Self; 3] = [Self::Small, Self::Medium, Self::Large];

    /// What it is called on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Medium => "medium",
            Self::Large => "large",
        }
    }

    /// Its place among the program's shapes, which is how tasks name it.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Small => 0,
            Self::Medium => 1,
            Self::Large => 2,
        }
    }

    /// Segments of which one needs this shape.
    fn sample(self) -> anyhow::Result<Vec<SegmentInput>> {
        let payments = |count| Ok(batch(count, None, 4, 1)?.0);
        match self {
            Self::Small => payments(2),
            Self::Medium => payments(40),
            // Payments are cut for less; a full block is what it is there for.
            Self::Large => Ok(vec![FullBlock::new(Extreme::Settlements)?.witness]),
        }
    }
}

/// How long one task takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) kind: String,
    pub(crate) shape: u8,
    pub(crate) milliseconds: u32,
}

/// What was measured, and on what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Calibration {
    pub(crate) profile: String,
    /// The circuits it was measured with.
    pub(crate) circuits: String,
    pub(crate) cores: usize,
    /// Reading the circuits that every task needs, which a process does once. A shape's segment circuit and the keys of wraps are read by the first task that needs them, and counted with it.
    pub(crate) load_milliseconds: u64,
    pub(crate) work: Vec<Measured>,
    /// The most memory that the proving process held.
    pub(crate) memory_peak_mebibytes: u64,
}

impl Calibration {
    fn path(folder: &Path, profile: Profile) -> PathBuf {
        folder.join(format!("calibration-{}.json", profile.name()))
    }

    /// What was measured before with these circuits on as many processors.
    pub(crate) fn load(folder: &Path, profile: Profile, verifier: &CircuitVerifier) -> Option<Self> {
        let bytes = fs::read(Self::path(folder, profile)).ok().filter(|bytes| bytes.len() < 1 << 16)?;
        let known: Self = serde_json::from_slice(&bytes).ok()?;
        (known.circuits == verifier.circuits().to_string() && known.cores == cores()).then_some(known)
    }

    fn save(&self, folder: &Path, profile: Profile) -> anyhow::Result<()> {
        let path = Self::path(folder, profile);
        let partial = path.with_extension("partial");
        let bytes = serde_json::to_vec_pretty(self)?;
        fs::write(&partial, bytes)
            .and_then(|()| fs::rename(&partial, &path))
            .with_context(|| path.display().to_string())
    }

    /// How long a task takes, if that was measured.
    pub(crate) fn milliseconds(&self, kind: TaskKind, shape: u8) -> Option<u32> {
        let fits = |measured: &&Measured| measured.kind == kind.as_str() && measured.shape == shape;
        self.work.iter().find(fits).map(|measured| measured.milliseconds)
    }
}

/// What to measure.
#[derive(clap::Args)]
#[command(after_help = "What is measured is kept in the folder, and `joule-prover join` goes by it.

Examples:
  joule-prover calibrate
  joule-prover calibrate --shapes small,medium --json")]
pub(crate) struct Arguments {
    #[command(flatten)]
    folder: FolderOption,
    /// Segments of which shapes.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [ShapeChoice::Small])]
    shapes: Vec<ShapeChoice>,
    #[command(flatten)]
    proofs: ProofsOption,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let folder = arguments.folder.make()?;
    let verifier = arguments.proofs.load_for_this_version()?;
    let kinds = TaskKind::ALL;
    let calibration =
        measure(&folder, &verifier, arguments.proofs.profile(), arguments.proofs.cache(), &arguments.shapes, &kinds)?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&calibration)?);
        return Ok(());
    }
    println!("circuits      read in {:.1} s", calibration.load_milliseconds as f64 / 1e3);
    for Measured { kind, shape, milliseconds } in &calibration.work {
        let name = if kind == "segment" { format!("{kind}, shape {shape}") } else { kind.clone() };
        println!("{name:<18} {:>6.1} s", f64::from(*milliseconds) / 1e3);
    }
    println!("memory        {} MiB at most", calibration.memory_peak_mebibytes);
    Ok(())
}

/// Does one task of each kind and shape, and keeps what each took.
pub(crate) fn measure(
    folder: &Path,
    verifier: &CircuitVerifier,
    profile: Profile,
    cache: &CacheOption,
    shapes: &[ShapeChoice],
    kinds: &[TaskKind],
) -> anyhow::Result<Calibration> {
    let labour = child(profile, cache, None, verifier.circuits().into(), IDLE_DEFAULT_SECONDS)?;
    let never = AtomicBool::new(false);
    eprintln!("calibrating: one task of each kind is done and verified, which takes a minute or more");
    let start = Instant::now();
    labour.start(&never)?;
    let load_milliseconds = start.elapsed().as_millis() as u64;
    let mut work = BTreeMap::new();
    let mut results = Vec::new();
    // Merges and wraps are of a segment, so the smallest is done in any case.
    let wanted = |shape: ShapeChoice| kinds.contains(&TaskKind::Segment) && shapes.contains(&shape);
    for shape in ShapeChoice::ALL.into_iter().filter(|shape| *shape == ShapeChoice::Small || wanted(*shape)) {
        let segment = sample(verifier, shape)?;
        let task = task(verifier, TaskKind::Segment, shape.number(), &segment, &segment.input);
        let (result, milliseconds) = done(&labour, verifier, &task, segment.input.clone(), &never)?;
        if wanted(shape) {
            work.insert((TaskKind::Segment, shape.number()), milliseconds);
        }
        results.push((segment, result));
    }
    let (segment, mut result) = results.swap_remove(0);
    for kind in [TaskKind::Merge, TaskKind::Wrap] {
        // A wrap needs a merge.
        let is_needed = kinds.contains(&kind) || (kind == TaskKind::Merge && kinds.contains(&TaskKind::Wrap));
        if !is_needed {
            continue;
        }
        let task = task(verifier, kind, 0, &segment, &result);
        let (made, milliseconds) = done(&labour, verifier, &task, result, &never)?;
        work.insert((kind, 0), milliseconds);
        result = made;
    }
    let work = work
        .into_iter()
        .filter(|((kind, _), _)| kinds.contains(kind))
        .map(|((kind, shape), milliseconds)| Measured { kind: kind.as_str().to_owned(), shape, milliseconds });
    let calibration = Calibration {
        profile: profile.name().to_owned(),
        circuits: verifier.circuits().to_string(),
        cores: cores(),
        load_milliseconds,
        work: work.collect(),
        memory_peak_mebibytes: labour.child().map_or(0, memory_peak_of),
    };
    calibration.save(folder, profile)?;
    Ok(calibration)
}

/// A segment of sample payments that needs this shape.
fn sample(verifier: &CircuitVerifier, shape: ShapeChoice) -> anyhow::Result<PlannedSegment> {
    sample_of(verifier.program(), shape)
}

fn sample_of(program: Digest, shape: ShapeChoice) -> anyhow::Result<PlannedSegment> {
    let planned = plan(kernel_image(), program, &Shape::ALL, &shape.sample()?)?;
    let found = planned.into_iter().find(|segment| segment.shape == shape.number());
    found.with_context(|| format!("the sample has no {shape:?} segment"))
}

fn task(verifier: &CircuitVerifier, kind: TaskKind, shape: u8, segment: &PlannedSegment, input: &[u8]) -> Task {
    Task {
        kind,
        shape,
        statement: segment.statement,
        circuits: verifier.circuits().into(),
        inputs: vec![ArtefactId::of(input)],
        input_bytes: vec![input.len() as u64],
        deadline_ms: 0,
        price: 0,
    }
}

fn done(
    labour: &ChildLabour,
    verifier: &CircuitVerifier,
    task: &Task,
    input: Vec<u8>,
    never: &AtomicBool,
) -> anyhow::Result<(Vec<u8>, u32)> {
    let start = Instant::now();
    let result = labour.prove(task, &[input], never)?;
    let milliseconds = u32::try_from(start.elapsed().as_millis()).unwrap_or(u32::MAX);
    match verifier.verify(task.kind.into(), &result) {
        Ok(statement) if statement == task.statement => {}
        Ok(statement) => bail!("the {} proves something else: {statement:?}", task.kind),
        Err(error) => bail!("this machine's own {} does not verify: {error}", task.kind),
    }
    ensure!(milliseconds > 0, "a {} in no time", task.kind);
    eprintln!("{} (shape {}): {:.1} s", task.kind, task.shape, f64::from(milliseconds) / 1e3);
    Ok((result, milliseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_has_a_sample() {
        for (shape, position) in ShapeChoice::ALL.into_iter().zip(0..) {
            let segment = sample_of(Digest::default(), shape).unwrap();
            assert_eq!((segment.shape, shape.number()), (position, position));
            assert_eq!(Shape::ALL[usize::from(position)].as_str(), shape.name());
        }
    }
}
