//! Running an image: plainly, with records, or with a profile.

use serde::Serialize;

use crate::{
    abort::Abort,
    image::Image,
    interpreter::Interpreter,
    layout::{COMMIT_WORDS, CYCLES_MAX, TREE_DEPTH},
    memory::PAGE_BYTES,
    observe::{Nobody, Observer},
    profile::{Cost, Profile, Profiler},
    records::{DigestElements, Records},
};

/// What the prover gives to a run. None of it is trusted: the program checks all that it uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Witness {
    /// The private input, as words from [`crate::layout::INPUT_START`] on.
    pub input: Vec<u32>,
    /// For each `tree_update`, in order: the siblings from the leaf upwards.
    pub siblings: Vec<[DigestElements; TREE_DEPTH]>,
}

/// What a run may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most cycles. Values above [`CYCLES_MAX`] mean that.
    pub cycles: u32,
    /// The most pages of memory, of [`PAGE_BYTES`] each.
    pub pages: u32,
}

impl Default for Limits {
    /// All cycles that the clock can count, and 1 GiB of memory: everything that there is.
    fn default() -> Self {
        Self { cycles: CYCLES_MAX, pages: (1 << 30) / PAGE_BYTES }
    }
}

/// How often a run called the precompiles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PrecompileCounts {
    /// Calls of `keccak_f`.
    pub keccak_f: u64,
    /// Calls of `poseidon2_hash`.
    pub poseidon2_hash: u64,
    /// Permutations made by those calls.
    pub poseidon2_permutations: u64,
    /// Calls of `tree_update`. Each is 64 compressions.
    pub tree_update: u64,
    /// Calls of `ecrecover`.
    pub ecrecover: u64,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The code given to `halt`. Anything but 0 has no proof.
    pub exit_code: u32,
    /// The words given to `commit`, if the run made one.
    pub committed: Option<[u32; COMMIT_WORDS]>,
    /// How many instructions it took.
    pub cycles: u32,
    /// How many pages of memory it touched.
    pub pages: u32,
    /// Which precompiles it called.
    pub precompiles: PrecompileCounts,
}

/// Runs an image.
///
/// # Errors
///
/// [`Abort`], if it traps, if the witness does not fit, or if it exceeds a limit.
pub fn run(image: &Image, witness: &Witness, limits: Limits) -> Result<Outcome, Abort> {
    start::<_, false>(image, witness, limits, Nobody).map(|(outcome, _)| outcome)
}

/// Runs an image and records all that the tables need: 64 bytes a cycle, and more for precompiles.
///
/// # Errors
///
/// As [`run`].
pub fn record(image: &Image, witness: &Witness, limits: Limits) -> Result<(Outcome, Records), Abort> {
    let (outcome, interpreter) = start::<_, true>(image, witness, limits, Records::default())?;
    let (memory, registers) = interpreter.touched();
    let records = Records { memory, registers, exit_code: outcome.exit_code, ..interpreter.observer };
    Ok((outcome, records))
}

/// Runs an image and says which of its routines the cycles and precompile calls went to.
///
/// # Errors
///
/// As [`run`].
pub fn profile(image: &Image, witness: &Witness, limits: Limits) -> Result<(Outcome, Profile), Abort> {
    let (outcome, interpreter) = start::<_, false>(image, witness, limits, Profiler::new(image, None))?;
    let (profile, _) = interpreter.observer.finish(&outcome);
    Ok((outcome, profile))
}

/// As [`profile`], with the inclusive cost of every call of the routine that has the readable name `routine`, in the order in which
/// they returned. There are none if the image has no such routine.
///
/// # Errors
///
/// As [`run`].
pub fn profile_calls(
    image: &Image,
    witness: &Witness,
    limits: Limits,
    routine: &str,
) -> Result<(Outcome, Profile, Vec<Cost>), Abort> {
    let (outcome, interpreter) = start::<_, false>(image, witness, limits, Profiler::new(image, Some(routine)))?;
    let (profile, calls) = interpreter.observer.finish(&outcome);
    Ok((outcome, profile, calls))
}

fn start<'a, O: Observer, const RECORDS: bool>(
    image: &'a Image,
    witness: &'a Witness,
    limits: Limits,
    observer: O,
) -> Result<(Outcome, Interpreter<'a, O, RECORDS>), Abort> {
    let mut interpreter = Interpreter::<O, RECORDS>::new(image, witness, limits, observer)?;
    let exit_code = interpreter.run()?;
    let outcome = Outcome {
        exit_code,
        committed: interpreter.committed,
        cycles: interpreter.cycles(),
        pages: interpreter.pages(),
        precompiles: interpreter.counts,
    };
    Ok((outcome, interpreter))
}
