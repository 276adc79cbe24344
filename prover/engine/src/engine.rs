//! The circuits of one program, and the steps they make.

use std::{collections::BTreeMap, path::PathBuf};

use joule_machine::{Image, Limits, Outcome, Witness, record};
use joule_protocol::{Digest, PublicValues};
use joule_recursion::{
    aggregate::{AggregateError, Aggregation, Child, ChildKind},
    bn254::Bn254PoseidonConfig,
    cache::CacheError,
    circuit::{Circuit, Inner, Proof, ProveError},
    field::{D, F},
    fingerprint::Fingerprint,
    native::{WitnessError, extract},
    parameters::StarkParameters,
    profile::Profile,
    report::gate_rows,
    security::{Security, plonky2_layer_best},
    segment::SegmentError,
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
    table::{JouleAir, TableName},
    trace::TraceError,
    verify::{VerifyError, VerifyingKey as VerifyingKeyOfTables},
};
use joule_wrap::{VerifyingKey, WrapCircuit, WrapError, WrapKeys, WrapProof};
use p3_symmetric::MerkleCap;
use plonky2::plonk::config::GenericConfig;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::{
    ArtefactError, CacheFolder, CacheFolderError, CircuitVerifier, CircuitsDigest, Logged, Progress, Prover, Step,
    Task, TaskError, TaskKind, WireError, decode_input, lazy::Lazy, segment::LazySegment, verifier::VerifiedChild,
    wire::encode_wrap,
};

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
    Circuits(#[from] CacheError),
    #[error(transparent)]
    Cache(#[from] CacheFolderError),
    #[error(transparent)]
    Wire(#[from] WireError),
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
    /// The files of the cache belong to different circuits: proofs would be of no use to anybody.
    #[error("the kept circuit {name} is not the one that its key is of: remove {name}-* from {}, and run `joule-prover setup`", cache.display())]
    OtherKey {
        /// The circuit.
        name: String,
        /// Where it is kept.
        cache: PathBuf,
    },
    /// No keys to wrap with.
    #[error("there are no keys for wrap circuit {circuit}: `joule-prover setup` makes them, once per version")]
    NoKeys {
        /// Digest of the wrap circuit.
        circuit: String,
    },
    /// Our own result does not verify.
    #[error("the {kind} task's own result is refused: {source}")]
    OwnResult {
        /// The task.
        kind: TaskKind,
        /// Why.
        source: WireError,
    },
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

/// What a circuit consists of.
#[derive(Clone, Debug)]
pub struct CircuitGates {
    /// The circuit's name.
    pub name: String,
    /// Binary logarithm of its rows.
    pub rows_bits: usize,
    /// Rows of each kind of gate, by the gate's name.
    pub gates: BTreeMap<String, usize>,
}

impl CircuitGates {
    fn of<C: GenericConfig<D, F = F>>(name: String, circuit: &Circuit<C>) -> Self {
        Self { name, rows_bits: circuit.degree_bits(), gates: gate_rows(&circuit.data) }
    }
}

/// A shape with all that proving in it takes.
struct ShapeProver {
    setup: Setup,
    segment: LazySegment,
}

/// The provers of one program in one profile.
pub struct Engine {
    profile: Profile,
    image: Image,
    program: Program,
    recursive_program: joule_recursion::program::Program,
    shapes: Vec<ShapeProver>,
    aggregation: Aggregation,
    verifier: CircuitVerifier,
    cache: CacheFolder,
    /// What only wrapping needs is read or built when it is first asked for.
    shrink: Lazy<Shrink<Bn254PoseidonConfig>>,
    wrap_circuit: Lazy<WrapCircuit>,
    wrap_keys: Lazy<WrapKeys>,
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
    /// Builds the circuits for `image` in `shapes`, or takes them from `cache`: those of segments when they are first needed, if they are kept there, and those above the last
    /// merge when a batch is first wrapped.
    ///
    /// # Errors
    /// [`EngineError`], if the image does not fit or a circuit cannot be built.
    pub fn new(
        image: &Image,
        shapes: &[Shape],
        profile: Profile,
        cache: &CacheFolder,
        progress: &impl Progress,
    ) -> Result<Self, EngineError> {
        let setups = shapes.iter().map(|&shape| Setup::new(shape, image)).collect::<Result<Vec<_>, _>>()?;
        let program = Program::new(setups.iter().map(Setup::verifying_key).collect());
        let caps = program.keys().iter().map(|key| key.cap().roots().to_vec()).collect();
        let recursive_program = joule_recursion::program::Program::new(caps);
        let count = setups.len();
        let mut provers = Vec::with_capacity(count);
        for (index, setup) in setups.into_iter().enumerate() {
            let proof_shape = describe(profile, setup.shape(), setup.tables(), &setup.verifying_key())?;
            let segment = LazySegment::new(profile, proof_shape, index, count, cache, progress)?;
            provers.push(ShapeProver { setup, segment });
        }
        let keys: Vec<_> = provers.iter().map(|prover| prover.segment.key().clone()).collect();
        let fingerprint = Fingerprint::aggregation(profile, &keys);
        let aggregation = progress.during(&Step::Circuit { name: "aggregation".to_owned() }, || {
            cache.circuit(
                "aggregation",
                fingerprint,
                |bytes| Aggregation::from_bytes(fingerprint, bytes),
                || Ok::<_, EngineError>(Aggregation::build(profile, &keys)?),
                |aggregation| aggregation.to_bytes(fingerprint),
            )
        })?;
        let verifier = CircuitVerifier::new(profile, program.hash(), &aggregation, None);
        Ok(Self {
            profile,
            image: image.clone(),
            program,
            recursive_program,
            shapes: provers,
            aggregation,
            verifier,
            cache: cache.clone(),
            shrink: Lazy::new(),
            wrap_circuit: Lazy::new(),
            wrap_keys: Lazy::new(),
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

    /// The digest of lifts and merge.
    #[must_use]
    pub const fn circuits(&self) -> CircuitsDigest {
        self.verifier.circuits()
    }

    /// What verifies this engine's results; with the key of wraps once [`Engine::wrap_keys`] has been called.
    #[must_use]
    pub fn verifier(&self) -> CircuitVerifier {
        match self.wrap_keys.get() {
            Some(keys) => self.verifier.clone().with_wrap_key(keys.verifying_key()),
            None => self.verifier.clone(),
        }
    }

    /// Name of each circuit and the binary logarithm of its rows.
    ///
    /// # Errors
    /// If the last circuits cannot be built.
    pub fn circuit_sizes(&self) -> Result<Vec<(String, usize)>, EngineError> {
        let segments = self
            .shapes
            .iter()
            .map(|shape| (format!("segment {}", shape.setup.shape()), shape.segment.key().common.degree_bits()));
        let last = self.last_circuits()?;
        let rest = [
            ("merge".to_owned(), self.aggregation.merge.degree_bits()),
            ("shrink".to_owned(), last.shrink.degree_bits()),
            ("last".to_owned(), last.last.degree_bits()),
        ];
        Ok(segments.chain(rest).collect())
    }

    /// What each circuit consists of.
    ///
    /// # Errors
    /// If the last circuits cannot be built.
    pub fn circuit_gates(&self) -> Result<Vec<CircuitGates>, EngineError> {
        let mut circuits = Vec::new();
        for shape in &self.shapes {
            let segment = shape.segment.circuit(&Logged)?;
            circuits.push(CircuitGates::of(format!("segment {}", shape.setup.shape()), &segment.circuit));
        }
        for (lift, shape) in self.aggregation.lifts.iter().zip(&self.shapes) {
            circuits.push(CircuitGates::of(format!("lift {}", shape.setup.shape()), lift));
        }
        circuits.push(CircuitGates::of("merge".to_owned(), &self.aggregation.merge));
        let Shrink { shrink, last } = self.last_circuits()?;
        circuits.push(CircuitGates::of("shrink".to_owned(), shrink));
        circuits.push(CircuitGates::of("last".to_owned(), last));
        Ok(circuits)
    }

    /// The provable bits of each plonky2 layer, computed from the circuits as built.
    ///
    /// # Errors
    /// If the last circuits cannot be built.
    pub fn security(&self) -> Result<Vec<(String, Security)>, EngineError> {
        let segments = self
            .shapes
            .iter()
            .map(|shape| (format!("segment {}", shape.setup.shape()), plonky2_layer_best(&shape.segment.key().common)));
        let last = self.last_circuits()?;
        let rest = [
            ("lift and merge".to_owned(), plonky2_layer_best(&self.aggregation.merge.data.common)),
            ("shrink".to_owned(), plonky2_layer_best(&last.shrink.data.common)),
            ("last".to_owned(), plonky2_layer_best(&last.last.data.common)),
        ];
        Ok(segments.chain(rest).collect())
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

    fn position(&self, shape: Shape) -> Result<usize, VerifyError> {
        self.shapes.iter().position(|prover| prover.setup.shape() == shape).ok_or(VerifyError::Shape { shape })
    }

    /// Has the segment circuit of a shape at hand. Without it the first segment in the shape reads it, or builds it if it is not kept or is damaged; this is for
    /// whoever wants it sooner, or wants to know what it takes.
    ///
    /// # Errors
    /// If there is no such shape, or its circuit can be neither read nor built.
    pub fn load_segment(&self, shape: Shape, progress: &impl Progress) -> Result<(), EngineError> {
        self.shapes[self.position(shape)?].segment.circuit(progress).map(|_| ())
    }

    /// Verifies a table proof in a plonky2 circuit.
    ///
    /// # Errors
    /// If the table proof does not verify.
    pub fn prove_segment(&self, tables: &TableArtefact) -> Result<(usize, Proof<Inner>), EngineError> {
        let index = self.position(tables.proof.shape)?;
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
            extract(shape.segment.shape(), shape.setup.tables(), &common, &tables.proof.batch, &public_values)?;
        let circuit = shape.segment.circuit(&Logged)?;
        Ok((index, circuit.prove(&restored, &self.recursive_program)?))
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
        Ok(self.last_circuits()?.prove(merge)?)
    }

    /// What a lifted or merged proof says.
    ///
    /// # Errors
    /// If its public inputs are no statement.
    pub fn statement_of(child: &Child) -> Result<PublicValues, EngineError> {
        Ok(from_elements(&child.proof.public_inputs[..PublicValues::ELEMENTS])?)
    }

    /// A child as the result of its task.
    #[must_use]
    pub fn encode_child(&self, child: &Child) -> Vec<u8> {
        let proof = child.proof.to_bytes();
        match child.kind {
            ChildKind::Merge => self.verifier.header(TaskKind::Merge).encode(&proof),
            ChildKind::Segment(shape) => {
                let payload = [&(shape as u32).to_be_bytes()[..], &proof].concat();
                self.verifier.header(TaskKind::Segment).encode(&payload)
            }
        }
    }

    /// Reads the result of a segment or merge task and verifies it.
    ///
    /// # Errors
    /// If the bytes are none, or the proof does not verify.
    pub fn decode_child(&self, bytes: &[u8]) -> Result<Child, EngineError> {
        let VerifiedChild { kind, proof, .. } = self.verifier.node(bytes)?;
        Ok(Child { kind, proof })
    }

    /// Reads a last proof and verifies it.
    ///
    /// # Errors
    /// If the bytes are none, or the proof does not verify.
    pub fn decode_last(&self, bytes: &[u8]) -> Result<Proof<Bn254PoseidonConfig>, EngineError> {
        let refused = |reason: String| EngineError::Refused { layer: "last", reason };
        let last = &self.last_circuits()?.last;
        let read = Proof::<Bn254PoseidonConfig>::from_bytes(bytes.to_vec(), &last.data.common);
        let proof = read.map_err(|error| refused(format!("{error:#}")))?;
        last.verify(proof.clone()).map_err(|error| refused(format!("{error:#}")))?;
        Ok(proof)
    }

    /// The circuits above the last merge; built on first use, which takes half a minute unless they are kept.
    ///
    /// # Errors
    /// If they cannot be kept.
    pub fn last_circuits(&self) -> Result<&Shrink<Bn254PoseidonConfig>, EngineError> {
        self.shrink.get_or_make(|| {
            let merge = self.aggregation.merge.key();
            let fingerprint = Fingerprint::shrink(self.profile, &merge, OUTER);
            self.cache.circuit(
                "shrink",
                fingerprint,
                |bytes| Shrink::from_bytes(fingerprint, bytes),
                || Ok(Shrink::build(self.profile, &merge)),
                |shrink| shrink.to_bytes(fingerprint),
            )
        })
    }

    /// A wrap as the result of its task.
    #[must_use]
    pub fn encode_wrap(&self, proof: &WrapProof, statement: &PublicValues) -> Vec<u8> {
        self.verifier.header(TaskKind::Wrap).encode(&encode_wrap(proof, statement))
    }

    /// The wrap's constraint system.
    ///
    /// # Errors
    /// If the last circuit holds a gate that the wrap does not know.
    pub fn wrap_circuit(&self) -> Result<&WrapCircuit, EngineError> {
        let last = &self.last_circuits()?.last;
        self.wrap_circuit.get_or_make(|| {
            let key = last.key();
            Ok(WrapCircuit::new(key.common, key.verifier)?)
        })
    }

    /// The wrap's keys, read on first use.
    ///
    /// # Errors
    /// [`EngineError::NoKeys`] if there are none: making them takes minutes and is a step of its own, [`Engine::set_up_wrap`].
    pub fn wrap_keys(&self) -> Result<&WrapKeys, EngineError> {
        let circuit = self.wrap_circuit()?;
        self.wrap_keys.get_or_make(|| {
            self.cache.load_keys(circuit)?.ok_or_else(|| EngineError::NoKeys { circuit: circuit.digest_hex() })
        })
    }

    /// The wrap's keys: read, or made from the public seed for development and kept. Making them takes minutes.
    ///
    /// # Errors
    /// If they cannot be made or kept.
    pub fn set_up_wrap(&self, progress: &impl Progress) -> Result<&WrapKeys, EngineError> {
        progress.during(&Step::Circuit { name: "shrink".to_owned() }, || self.last_circuits().map(|_| ()))?;
        match self.wrap_keys() {
            Err(EngineError::NoKeys { .. }) => {}
            result => return result,
        }
        let circuit = self.wrap_circuit()?;
        let keys = progress.during(&Step::Keys { constraints: circuit.report().constraints }, || {
            WrapKeys::generate_for_development(circuit)
        })?;
        self.cache.save_keys(circuit, &keys)?;
        self.wrap_keys.get_or_make(|| Ok(keys))
    }

    /// The key that verifies wraps.
    ///
    /// # Errors
    /// As [`Engine::wrap_keys`].
    pub fn wrap_verifying_key(&self) -> Result<VerifyingKey, EngineError> {
        Ok(self.wrap_keys()?.verifying_key())
    }

    /// Wraps the last proof for L1.
    ///
    /// # Errors
    /// If the proof does not verify, or there are no keys.
    pub fn wrap(&self, last: &Proof<Bn254PoseidonConfig>) -> Result<(WrapProof, PublicValues), EngineError> {
        let circuit = self.wrap_circuit()?;
        Ok(self.wrap_keys()?.prove(circuit, last)?)
    }

    fn prove_task(&self, task: Task<'_>) -> Result<Vec<u8>, TaskError> {
        let kind = task.kind();
        let input = |source: EngineError| TaskError::Input { kind, source: Box::new(source) };
        let machine = |source: EngineError| TaskError::Machine { kind, source: Box::new(source) };
        match task {
            Task::Segment { input: bytes } => {
                let segment = decode_input(bytes).map_err(|error| input(error.into()))?;
                // A run is a function of its input: one that aborts or fits no shape does so everywhere.
                let (tables, _) = self.prove_tables(&segment).map_err(|error| match error {
                    EngineError::Run(_) | EngineError::NoStatement { .. } | EngineError::TooLarge(_) => input(error),
                    error => machine(error),
                })?;
                let (shape, proof) = self.prove_segment(&tables).map_err(machine)?;
                Ok(self.encode_child(&self.lift(shape, &proof).map_err(machine)?))
            }
            Task::Merge { left, right } => {
                let left = self.verifier.node(left).map_err(|error| input(error.into()))?;
                let right =
                    right.map(|right| self.verifier.node(right)).transpose().map_err(|error| input(error.into()))?;
                if let Some(right) = &right
                    && (left.statement.to != right.statement.from
                        || left.statement.chain_id != right.statement.chain_id)
                {
                    return Err(input(EngineError::NotNeighbours { position: 1 }));
                }
                let child = |verified: VerifiedChild| Child { kind: verified.kind, proof: verified.proof };
                let merged = self.merge(&child(left), right.map(child).as_ref()).map_err(machine)?;
                Ok(self.encode_child(&merged))
            }
            Task::Wrap { merged } => {
                let merged = self.verifier.merge(merged).map_err(|error| input(error.into()))?;
                // Before minutes of work are spent.
                self.wrap_keys().map_err(machine)?;
                let child = Child { kind: merged.kind, proof: merged.proof };
                let last = self.shrink(&child).map_err(machine)?;
                let (proof, statement) = self.wrap(&last).map_err(machine)?;
                Ok(self.encode_wrap(&proof, &statement))
            }
        }
    }
}

impl Prover for Engine {
    fn profile(&self) -> Profile {
        self.profile
    }

    fn circuits(&self) -> CircuitsDigest {
        Self::circuits(self)
    }

    /// Does a task and verifies the result as its taker will: a machine that miscalculates learns it here, and not by its reputation.
    fn prove(&self, task: Task<'_>) -> Result<Vec<u8>, TaskError> {
        let kind = task.kind();
        let result = self.prove_task(task)?;
        let verified = crate::Verifier::verify(&self.verifier(), kind, &result);
        verified
            .map_err(|source| TaskError::Machine { kind, source: Box::new(EngineError::OwnResult { kind, source }) })?;
        Ok(result)
    }
}

/// What the proof chain of a profile over these shapes is made from, as 32 bytes: the generated Solidity verifier carries it, so that a test knows a
/// stale one without building a circuit. It holds for every program, because program and image are no part of any circuit.
///
/// # Errors
/// If a shape has no circuit.
pub fn description(profile: Profile, shapes: &[Shape]) -> Result<[u8; 32], EngineError> {
    let mut segments = Vec::with_capacity(shapes.len());
    for (index, &shape) in shapes.iter().enumerate() {
        let proof_shape = describe_any(profile, shape)?;
        segments.push(Fingerprint::segment(profile, &proof_shape, index, shapes.len()));
    }
    let chain = Fingerprint::chain(profile, &segments, OUTER);
    let mut hasher = Sha256::new();
    hasher.update(chain.0);
    hasher.update(joule_wrap::VERSION.to_be_bytes());
    Ok(hasher.finalize().into())
}

/// The configuration of the last layer, in fingerprints.
const OUTER: &str = "poseidon over bn254";

/// The parameters that tables are proved with, as the circuit that verifies them takes them. There is one copy of the numbers, and it is
/// `joule_tables`'; the grinding bits of which it knows nothing are those of Plonky3 where none is asked for.
const fn parameters(profile: Profile) -> StarkParameters {
    let tables = table_profile(profile).parameters();
    StarkParameters {
        log_blowup: tables.log_blowup,
        queries: tables.queries,
        log_final_polynomial_length: tables.log_final_polynomial_length,
        log_arity_max: tables.log_arity_max,
        cap_height: tables.cap_height,
        lookup_grinding_bits: 0,
        out_of_domain_grinding_bits: 0,
        batch_grinding_bits: 0,
        commit_grinding_bits: 0,
        query_grinding_bits: tables.query_grinding_bits,
    }
}

/// The shape of table proofs, as the segment circuit takes it.
fn describe(
    profile: Profile,
    shape: Shape,
    tables: &[JouleAir],
    key: &VerifyingKeyOfTables,
) -> Result<ProofShape, EngineError> {
    let heights: Vec<usize> = TableName::ALL.iter().map(|&table| shape.height_bits(table)).collect();
    let common = key.common_data(tables);
    Ok(ProofShape::new(shape.as_str(), parameters(profile), tables, &heights, &common)?)
}

/// The same without a program: no image and any commitment, neither of which is in the description.
pub(crate) fn describe_any(profile: Profile, shape: Shape) -> Result<ProofShape, EngineError> {
    let cap = MerkleCap::new(vec![Default::default(); 1 << parameters(profile).cap_height]);
    describe(profile, shape, &shape.tables_without_image(), &VerifyingKeyOfTables::new(shape, cap))
}

/// An element of a statement, which is canonical, as the tables' field has it.
fn felt(element: u64) -> joule_tables::Felt {
    joule_tables::Felt::new(element)
}
