//! The circuits of one program, and the steps they make.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use joule_machine::{Image, Limits, Outcome, Witness, record};
use joule_protocol::{Digest, PublicValues};
use joule_recursion::{
    aggregate::{AggregateError, Aggregation, Child, ChildKind},
    bn254::Bn254PoseidonConfig,
    cache::CacheError,
    circuit::{Inner, Proof, ProveError},
    fingerprint::Fingerprint,
    native::{WitnessError, extract},
    profile::Profile,
    segment::{SegmentCircuit, SegmentError},
    shape::{Shape as ProofShape, ShapeError},
    shrink::Shrink,
    statement::{StatementError, from_elements},
};
use joule_tables::{
    config,
    program::Program,
    proof::{DecodeError, Proof as TableProof},
    prove::{ProveError as TableProveError, Setup, SetupError},
    shape::Shape,
    table::TableName,
    trace::TraceError,
    verify::VerifyError,
};
use joule_wrap::{WrapCircuit, WrapError, WrapKeys, WrapProof};
use thiserror::Error;

use crate::ArtefactError;

/// Why a step failed. None of it makes a false statement: there is then no proof.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "variants name the layer, and hold what the layer says")]
pub enum EngineError {
    #[error("setting the program up: {0}")]
    Setup(#[from] SetupError),
    #[error("shape of the table proofs: {0}")]
    Shape(#[from] ShapeError),
    #[error("segment circuit: {0}")]
    SegmentCircuit(#[from] SegmentError),
    #[error("aggregation circuits: {0}")]
    Aggregation(#[from] AggregateError),
    #[error("kept circuits: {0}")]
    Cache(#[from] CacheError),
    #[error("running the segment: {0}")]
    Run(#[from] joule_machine::Abort),
    /// The program ended the run itself, or made no statement.
    #[error("the run ended with exit code {exit_code} {}", if *.has_committed { "after its statement" } else { "and no statement" })]
    NoStatement {
        /// Exit code; 0 is success.
        exit_code: u32,
        /// Whether it made a statement.
        has_committed: bool,
    },
    /// The run is too large for every shape: cut the batch into smaller segments.
    #[error("the run fits no shape: {0}")]
    TooLarge(TraceError),
    #[error("table proof: {0}")]
    Tables(#[from] TableProveError),
    #[error("table proof: {0}")]
    TableProof(#[from] DecodeError),
    #[error("table proof: {0}")]
    Verify(#[from] VerifyError),
    #[error("witness of the segment circuit: {0}")]
    Witness(#[from] WitnessError),
    #[error("recursive proof: {0}")]
    Prove(#[from] ProveError),
    #[error("statement of a recursive proof: {0}")]
    Statement(#[from] StatementError),
    /// Bytes that are no proof of the layer, or one that does not verify.
    #[error("the {layer} proof is refused: {reason}")]
    Refused {
        /// The layer.
        layer: &'static str,
        /// What the verifier says.
        reason: String,
    },
    #[error("wrap: {0}")]
    Wrap(#[from] WrapError),
    #[error(transparent)]
    Artefact(#[from] ArtefactError),
    /// A batch of nothing.
    #[error("a batch has at least one segment")]
    NoSegments,
    /// Segments in the wrong order, or of different chains.
    #[error("segment {position} does not start where the one before it ends")]
    NotNeighbours {
        /// The later of the two.
        position: usize,
    },
    /// No folder for caches.
    #[error("there is no cache folder: set XDG_CACHE_HOME or HOME to an absolute path")]
    NoCacheFolder,
}

/// One segment to prove: private input and advice for the machine.
pub type SegmentInput = Witness;

/// A table proof with what it says.
#[derive(Debug)]
pub struct TableArtefact {
    /// The proof.
    pub proof: TableProof,
    /// The statement it makes.
    pub statement: PublicValues,
}

/// A shape with all that proving in it takes.
struct ShapeProver {
    setup: Setup,
    proof_shape: ProofShape,
    circuit: SegmentCircuit,
}

/// The provers of one program in one profile.
pub struct Engine {
    profile: Profile,
    image: Image,
    program: Program,
    recursive_program: joule_recursion::program::Program,
    shapes: Vec<ShapeProver>,
    aggregation: Aggregation,
    shrink: Shrink<Bn254PoseidonConfig>,
    cache: PathBuf,
    wrap: OnceLock<(WrapCircuit, WrapKeys)>,
}

impl core::fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter
            .debug_struct("Engine")
            .field("program", &self.program.hash())
            .field("profile", &self.profile)
            .finish_non_exhaustive()
    }
}

/// The tables' name of a profile.
const fn table_profile(profile: Profile) -> config::Profile {
    match profile {
        Profile::Fast => config::Profile::Fast,
        Profile::Proven => config::Profile::Proven,
    }
}

impl Engine {
    /// Builds the circuits for `image` in `shapes`, or takes them from `cache`.
    ///
    /// # Errors
    /// [`EngineError`], if the image does not fit or a circuit cannot be built.
    pub fn new(image: &Image, shapes: &[Shape], profile: Profile, cache: &Path) -> Result<Self, EngineError> {
        let setups = shapes.iter().map(|&shape| Setup::new(shape, image)).collect::<Result<Vec<_>, _>>()?;
        let program = Program::new(setups.iter().map(Setup::verifying_key).collect());
        let caps = program.keys().iter().map(|key| key.cap().roots().to_vec()).collect();
        let recursive_program = joule_recursion::program::Program::new(caps);
        let count = setups.len();
        let mut provers = Vec::with_capacity(count);
        for (index, setup) in setups.into_iter().enumerate() {
            let heights: Vec<usize> = TableName::ALL.iter().map(|&table| setup.shape().height_bits(table)).collect();
            let common = setup.verifying_key().common_data(setup.tables());
            let proof_shape =
                ProofShape::new(setup.shape().as_str(), profile.tables(), setup.tables(), &heights, &common)?;
            let fingerprint = Fingerprint::segment(profile, &proof_shape, index, count);
            let circuit = kept(
                cache,
                &format!("segment-{}", setup.shape()),
                fingerprint,
                |bytes| SegmentCircuit::from_bytes(fingerprint, count, bytes),
                || Ok(SegmentCircuit::build(profile, &proof_shape, index, count)?),
                |circuit| circuit.to_bytes(fingerprint),
            )?;
            provers.push(ShapeProver { setup, proof_shape, circuit });
        }
        let keys: Vec<_> = provers.iter().map(|prover| prover.circuit.circuit.key()).collect();
        let fingerprint = Fingerprint::aggregation(profile, &keys);
        let aggregation = kept(
            cache,
            "aggregation",
            fingerprint,
            |bytes| Aggregation::from_bytes(fingerprint, bytes),
            || Ok(Aggregation::build(profile, &keys)?),
            |aggregation| aggregation.to_bytes(fingerprint),
        )?;
        let shrink = Shrink::build(profile, &aggregation.merge.key());
        Ok(Self {
            profile,
            image: image.clone(),
            program,
            recursive_program,
            shapes: provers,
            aggregation,
            shrink,
            cache: cache.to_owned(),
            wrap: OnceLock::new(),
        })
    }

    /// The program hash P.
    #[must_use]
    pub const fn program_hash(&self) -> Digest {
        self.program.hash()
    }

    /// The profile.
    #[must_use]
    pub const fn profile(&self) -> Profile {
        self.profile
    }

    /// Name of each circuit and the binary logarithm of its rows.
    #[must_use]
    pub fn circuit_sizes(&self) -> Vec<(String, usize)> {
        let segments = self
            .shapes
            .iter()
            .map(|shape| (format!("segment {}", shape.setup.shape()), shape.circuit.circuit.degree_bits()));
        let rest = [
            ("merge".to_owned(), self.aggregation.merge.degree_bits()),
            ("shrink".to_owned(), self.shrink.shrink.degree_bits()),
            ("last".to_owned(), self.shrink.last.degree_bits()),
        ];
        segments.chain(rest).collect()
    }

    /// Runs a segment and proves its tables, in the smallest shape that holds the run.
    ///
    /// # Errors
    /// If the run aborts, makes no statement, or fits no shape.
    pub fn prove_tables(&self, input: &SegmentInput) -> Result<(TableArtefact, Outcome), EngineError> {
        let (outcome, records) = record(&self.image, input, Limits::default())?;
        let (0, Some(words)) = (outcome.exit_code, outcome.committed) else {
            let has_committed = outcome.committed.is_some();
            return Err(EngineError::NoStatement { exit_code: outcome.exit_code, has_committed });
        };
        let mut refused = None;
        for shape in &self.shapes {
            match shape.setup.witness(&records) {
                Ok(witness) => {
                    let proof = shape.setup.prove_witness(table_profile(self.profile), &witness)?;
                    let statement = self.statement(&words);
                    return Ok((TableArtefact { proof, statement }, outcome));
                }
                Err(error) => refused = Some(error),
            }
        }
        Err(refused.map_or(EngineError::NoSegments, EngineError::TooLarge))
    }

    /// The statement of a run of this program that committed `words`.
    fn statement(&self, words: &[u32; joule_machine::layout::COMMIT_WORDS]) -> PublicValues {
        let hash =
            |from: usize| joule_protocol::Hash::from_words(words[from..from + 8].try_into().expect("eight words"));
        PublicValues {
            program: self.program.hash(),
            chain_id: u64::from(words[1]) << 32 | u64::from(words[0]),
            from: hash(2),
            to: hash(10),
        }
    }

    /// Reads and verifies a table proof of `statement`.
    ///
    /// # Errors
    /// If it is none.
    pub fn read_tables(&self, statement: PublicValues, bytes: &[u8]) -> Result<TableArtefact, EngineError> {
        self.program.verify(table_profile(self.profile), &statement, bytes)?;
        Ok(TableArtefact { proof: TableProof::decode(bytes)?, statement })
    }

    /// Verifies a table proof in a plonky2 circuit.
    ///
    /// # Errors
    /// If the table proof does not verify.
    pub fn prove_segment(&self, tables: &TableArtefact) -> Result<(usize, Proof<Inner>), EngineError> {
        let shape_of_proof = tables.proof.shape;
        let position = self.shapes.iter().position(|shape| shape.setup.shape() == shape_of_proof);
        let index = position.ok_or(VerifyError::Shape { shape: shape_of_proof })?;
        let shape = &self.shapes[index];
        let common = shape.setup.verifying_key().common_data(shape.setup.tables());
        let elements = tables.statement.elements();
        let public_values: Vec<Vec<joule_tables::Felt>> = shape
            .setup
            .tables()
            .iter()
            .map(|table| match table.name() {
                TableName::Output => elements[4..].iter().map(|&element| felt(element)).collect(),
                _ => Vec::new(),
            })
            .collect();
        let (restored, _) =
            extract(&shape.proof_shape, shape.setup.tables(), &common, &tables.proof.batch, &public_values)?;
        Ok((index, shape.circuit.prove(&restored, &self.recursive_program)?))
    }

    /// Lifts a segment's proof to the common layout.
    ///
    /// # Errors
    /// If the proof does not verify.
    pub fn lift(&self, shape: usize, segment: &Proof<Inner>) -> Result<Child, EngineError> {
        Ok(self.aggregation.lift(shape, segment)?)
    }

    /// Merges two neighbours, or passes one on.
    ///
    /// # Errors
    /// If a child does not verify or they are no neighbours.
    pub fn merge(&self, left: &Child, right: Option<&Child>) -> Result<Child, EngineError> {
        Ok(self.aggregation.merge(left, right)?)
    }

    /// Shrinks the last merge to the proof that the wrap verifies.
    ///
    /// # Errors
    /// If it is no merge or does not verify.
    pub fn shrink(&self, merge: &Child) -> Result<Proof<Bn254PoseidonConfig>, EngineError> {
        Ok(self.shrink.prove(merge)?)
    }

    /// What a lifted or merged proof says.
    ///
    /// # Errors
    /// If its public inputs are no statement.
    pub fn statement_of(child: &Child) -> Result<PublicValues, EngineError> {
        Ok(from_elements(&child.proof.public_inputs[..PublicValues::ELEMENTS])?)
    }

    /// A child as bytes.
    #[must_use]
    pub fn encode_child(child: &Child) -> Vec<u8> {
        let kind = match child.kind {
            ChildKind::Merge => u32::MAX,
            ChildKind::Segment(shape) => shape as u32,
        };
        let mut bytes = kind.to_be_bytes().to_vec();
        bytes.extend(child.proof.to_bytes());
        bytes
    }

    /// Reads a child and verifies it.
    ///
    /// # Errors
    /// If the bytes are none, or the proof does not verify.
    pub fn decode_child(&self, bytes: &[u8]) -> Result<Child, EngineError> {
        let refused = |reason: String| EngineError::Refused { layer: "merge", reason };
        let (kind, bytes) = bytes.split_first_chunk().ok_or_else(|| refused("it is cut off".to_owned()))?;
        let (kind, circuit) = match u32::from_be_bytes(*kind) {
            u32::MAX => (ChildKind::Merge, &self.aggregation.merge),
            shape => {
                let lift = self.aggregation.lifts.get(shape as usize);
                (ChildKind::Segment(shape as usize), lift.ok_or_else(|| refused(format!("there is no shape {shape}")))?)
            }
        };
        let read = Proof::<Inner>::from_bytes(bytes.to_vec(), &circuit.data.common);
        let proof = read.map_err(|error| refused(format!("{error:#}")))?;
        circuit.verify(proof.clone()).map_err(|error| refused(format!("{error:#}")))?;
        let named = &proof.public_inputs[PublicValues::ELEMENTS..];
        if *named != self.aggregation.merge_key_hash() {
            return Err(refused("it names another merge".to_owned()));
        }
        Ok(Child { kind, proof })
    }

    /// Reads a last proof and verifies it.
    ///
    /// # Errors
    /// If the bytes are none, or the proof does not verify.
    pub fn decode_last(&self, bytes: &[u8]) -> Result<Proof<Bn254PoseidonConfig>, EngineError> {
        let refused = |reason: String| EngineError::Refused { layer: "last", reason };
        let read = Proof::<Bn254PoseidonConfig>::from_bytes(bytes.to_vec(), &self.shrink.last.data.common);
        let proof = read.map_err(|error| refused(format!("{error:#}")))?;
        self.shrink.last.verify(proof.clone()).map_err(|error| refused(format!("{error:#}")))?;
        Ok(proof)
    }

    /// The wrap's circuit and keys; made on first use, which takes minutes unless the keys are in the cache.
    ///
    /// # Errors
    /// If the circuit holds a gate that the wrap does not know, or keys cannot be made or kept.
    pub fn wrap_keys(&self) -> Result<&(WrapCircuit, WrapKeys), EngineError> {
        if let Some(ready) = self.wrap.get() {
            return Ok(ready);
        }
        let last = self.shrink.last.key();
        let circuit = WrapCircuit::new(last.common, last.verifier)?;
        let keys = WrapKeys::load_or_generate(&self.cache, &circuit)?;
        Ok(self.wrap.get_or_init(|| (circuit, keys)))
    }

    /// Wraps the last proof for L1.
    ///
    /// # Errors
    /// If the proof does not verify.
    pub fn wrap(&self, last: &Proof<Bn254PoseidonConfig>) -> Result<(WrapProof, PublicValues), EngineError> {
        let (circuit, keys) = self.wrap_keys()?;
        Ok(keys.prove(circuit, last)?)
    }
}

/// An element of a statement, which is canonical, as the tables' field has it.
fn felt(element: u64) -> joule_tables::Felt {
    joule_tables::Felt::new(element)
}

/// Takes a circuit from the cache, or builds and keeps it. A cache that cannot be read or written costs time and nothing else.
fn kept<T>(
    cache: &Path,
    name: &str,
    fingerprint: Fingerprint,
    decode: impl FnOnce(&[u8]) -> Result<T, CacheError>,
    build: impl FnOnce() -> Result<T, EngineError>,
    encode: impl FnOnce(&T) -> Result<Vec<u8>, CacheError>,
) -> Result<T, EngineError> {
    let hex: String = fingerprint.0[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let path = cache.join(format!("{name}-{hex}.circuit"));
    if let Some(circuit) = fs::read(&path).ok().and_then(|bytes| decode(&bytes).ok()) {
        return Ok(circuit);
    }
    let circuit = build()?;
    let bytes = encode(&circuit)?;
    let partial = path.with_extension(format!("{}.partial", std::process::id()));
    let write = || {
        fs::create_dir_all(cache)?;
        fs::write(&partial, &bytes)?;
        fs::rename(&partial, &path)
    };
    let _: Result<(), std::io::Error> = write();
    Ok(circuit)
}
