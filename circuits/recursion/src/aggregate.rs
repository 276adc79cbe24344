//! Lifting segments to one common layout, and merging neighbours.
//!
//! A merge verifies two children. A child is a lifted segment of one of the shapes, whose keys are constants of the
//! merge, or another merge, whose key the merge cannot contain because the key is made from the circuit. So the key of
//! the merge is a witness; its hash is a public input, the same in both children, and the shrink circuit compares the
//! last one with the hash of the real key. By induction from the top every merge below was verified with the real key.
//!
//! plonky2 can choose between keys inside a circuit but not between layouts: all lifts and the merge must have the same
//! gates, degree and FRI parameters. The layout is the fixed point of "the layout of a merge of children with this
//! layout", found by iteration.

use plonky2::field::types::Field as _;
use plonky2::gates::gate::GateRef;
use plonky2::gates::noop::NoopGate;
use plonky2::hash::hash_types::{HashOutTarget, MerkleCapTarget};
use plonky2::hash::poseidon::PoseidonHash;
use plonky2::iop::target::{BoolTarget, Target};
use plonky2::plonk::circuit_builder::CircuitBuilder;
use plonky2::plonk::circuit_data::{CircuitConfig, CommonCircuitData, VerifierCircuitTarget, VerifierOnlyCircuitData};
use plonky2::plonk::config::Hasher;

use crate::cache::{self, CacheError};
use crate::circuit::{Circuit, Inner, Key, Proof, ProveError, proof_elements, proof_targets};
use crate::field::{D, DIGEST, F};
use crate::fingerprint::Fingerprint;
use crate::profile::{Layer, Profile};
use crate::statement::StatementTarget;
use joule_protocol::PublicValues;

/// Public inputs of a lifted segment or merge: the statement and the hash of the merge's key.
pub const PUBLIC_INPUTS: usize = PublicValues::ELEMENTS + DIGEST;

/// Rounds after which the search for the common layout gives up.
const LAYOUT_ROUNDS_MAX: usize = 8;

/// Why the aggregation circuits cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AggregateError {
    /// There is nothing to aggregate.
    #[error("aggregation needs at least one shape")]
    NoShapes,
    /// The search for the common layout did not end.
    #[error("no common layout after {LAYOUT_ROUNDS_MAX} rounds")]
    NoCommonLayout,
    /// A circuit came out with another layout than the common one.
    #[error(
        "the {circuit} circuit has 2^{got} rows and {got_gates} gates, the common layout 2^{expected} and {expected_gates}"
    )]
    Layout {
        /// Which circuit.
        circuit: &'static str,
        /// Binary logarithm of the common number of rows.
        expected: usize,
        /// Binary logarithm of this circuit's.
        got: usize,
        /// Gates of the common layout.
        expected_gates: usize,
        /// Gates of this circuit.
        got_gates: usize,
    },
}

/// What a merge's child is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildKind {
    /// A lifted segment of the shape with this position.
    Segment(usize),
    /// A merge.
    Merge,
}

/// A child with what it is.
#[derive(Clone, Debug)]
pub struct Child {
    /// What it is.
    pub kind: ChildKind,
    /// Its proof.
    pub proof: Proof<Inner>,
}

/// The circuits between the segments and the shrink.
#[derive(Debug)]
pub struct Aggregation {
    /// The lift of each shape; inputs are the segment's proof and the hash of the merge's key.
    pub lifts: Vec<Circuit<Inner>>,
    /// The merge; inputs are the merge's key, both children with their kinds, and whether there is a right child.
    pub merge: Circuit<Inner>,
}

/// Gates and degree that every circuit of the common layout must have.
struct Layout {
    gates: Vec<GateRef<F, D>>,
    degree_bits: usize,
}

impl Layout {
    fn add(&mut self, common: &CommonCircuitData<F, D>) {
        for gate in &common.gates {
            if !self.gates.contains(gate) {
                self.gates.push(gate.clone());
            }
        }
        self.degree_bits = self.degree_bits.max(common.degree_bits());
    }

    /// Brings a circuit to this layout.
    fn apply(&self, builder: &mut CircuitBuilder<F, D>) {
        for gate in &self.gates {
            builder.add_gate_to_gate_set(gate.clone());
        }
        // plonky2 fills up to the next power of two.
        while builder.num_gates() <= 1 << (self.degree_bits - 1) {
            builder.add_gate(NoopGate, Vec::new());
        }
    }
}

impl Aggregation {
    /// Builds the circuits for segments with these keys.
    ///
    /// # Errors
    /// If there are no segments or no common layout is found.
    pub fn build(profile: Profile, segments: &[Key<Inner>]) -> Result<Self, AggregateError> {
        let config = profile.plonky2(Layer::Merge);
        let Some(first) = segments.first() else { return Err(AggregateError::NoShapes) };
        let (layout, common) = common_layout(&config, segments, &first.verifier)?;

        let lifts = segments
            .iter()
            .map(|segment| {
                let (mut builder, inputs) = describe_lift(&config, segment);
                layout.apply(&mut builder);
                finish("lift", builder, inputs, &common)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let keys: Vec<_> = lifts.iter().map(|lift| lift.data.verifier_only.clone()).collect();
        let (mut builder, inputs) = describe_merge(&config, &common, &keys);
        layout.apply(&mut builder);
        let merge = finish("merge", builder, inputs, &common)?;
        Ok(Self { lifts, merge })
    }

    /// The circuits as bytes to keep; see [`cache`].
    ///
    /// # Errors
    /// If a circuit cannot be encoded.
    pub fn to_bytes(&self, fingerprint: Fingerprint) -> Result<Vec<u8>, CacheError> {
        let circuits: Vec<_> = self.lifts.iter().chain([&self.merge]).collect();
        cache::encode(fingerprint, &circuits)
    }

    /// Kept circuits.
    ///
    /// # Errors
    /// If the bytes are not the circuits with this fingerprint.
    pub fn from_bytes(fingerprint: Fingerprint, bytes: &[u8]) -> Result<Self, CacheError> {
        let mut lifts = cache::decode(fingerprint, bytes)?;
        let merge = lifts.pop().ok_or(CacheError::Payload)?;
        Ok(Self { lifts, merge })
    }

    /// The hash of the merge's key, a public input of every lifted segment and merge.
    #[must_use]
    pub fn merge_key_hash(&self) -> [F; DIGEST] {
        key_hash(&self.merge.data.verifier_only)
    }

    /// Lifts a segment's proof.
    ///
    /// # Errors
    /// If there is no such shape or the proof does not verify.
    pub fn lift(&self, shape: usize, segment: &Proof<Inner>) -> Result<Child, ProveError> {
        let lift =
            self.lifts.get(shape).ok_or(ProveError::Index { name: "shape", count: self.lifts.len(), got: shape })?;
        let mut values = proof_elements(segment);
        values.extend(self.merge_key_hash());
        Ok(Child { kind: ChildKind::Segment(shape), proof: lift.prove(&values)? })
    }

    /// Merges neighbours; without a right one, the result says what the left one says.
    ///
    /// # Errors
    /// If a child does not verify, the children are not neighbours, or their program or chain differ.
    pub fn merge(&self, left: &Child, right: Option<&Child>) -> Result<Child, ProveError> {
        let mut values = key_elements(&self.merge.data.verifier_only);
        for child in [left, right.unwrap_or(left)] {
            values.extend(self.kind_flags(child.kind)?);
            values.extend(proof_elements(&child.proof));
        }
        values.push(F::from_bool(right.is_some()));
        Ok(Child { kind: ChildKind::Merge, proof: self.merge.prove(&values)? })
    }

    fn kind_flags(&self, kind: ChildKind) -> Result<Vec<F>, ProveError> {
        let count = self.lifts.len();
        let position = match kind {
            ChildKind::Segment(shape) if shape < count => shape,
            ChildKind::Segment(shape) => return Err(ProveError::Index { name: "shape", count, got: shape }),
            ChildKind::Merge => count,
        };
        Ok((0..=count).map(|i| F::from_bool(i == position)).collect())
    }
}

/// Builds a circuit and checks that it has the common layout.
fn finish(
    circuit: &'static str,
    builder: CircuitBuilder<F, D>,
    inputs: Vec<Target>,
    common: &CommonCircuitData<F, D>,
) -> Result<Circuit<Inner>, AggregateError> {
    let data = builder.build::<Inner>();
    if data.common == *common {
        Ok(Circuit { data, inputs })
    } else {
        Err(AggregateError::Layout {
            circuit,
            expected: common.degree_bits(),
            got: data.common.degree_bits(),
            expected_gates: common.gates.len(),
            got_gates: data.common.gates.len(),
        })
    }
}

/// Finds the layout that lifts and merges share.
fn common_layout(
    config: &CircuitConfig,
    segments: &[Key<Inner>],
    placeholder: &VerifierOnlyCircuitData<Inner, D>,
) -> Result<(Layout, CommonCircuitData<F, D>), AggregateError> {
    let mut layout = Layout { gates: Vec::new(), degree_bits: 1 };
    let mut common = None;
    for segment in segments {
        let (builder, _) = describe_lift(config, segment);
        layout.add(&builder.mock_build::<Inner>().common);
    }
    // The lifts' keys are constants of the merge and do not exist yet; any keys give the same layout.
    let keys = vec![placeholder.clone(); segments.len()];
    for _ in 0..LAYOUT_ROUNDS_MAX {
        let mut builder = match &common {
            Some(common) => describe_merge(config, common, &keys).0,
            None => describe_lift(config, &segments[0]).0,
        };
        layout.apply(&mut builder);
        let next = builder.mock_build::<Inner>().common;
        if common.as_ref() == Some(&next) {
            return Ok((layout, next));
        }
        layout.add(&next);
        common = Some(next);
    }
    Err(AggregateError::NoCommonLayout)
}

/// A lift: verifies a segment and passes its statement on.
fn describe_lift(config: &CircuitConfig, segment: &Key<Inner>) -> (CircuitBuilder<F, D>, Vec<Target>) {
    let mut builder = CircuitBuilder::<F, D>::new(config.clone());
    let proof = builder.add_virtual_proof_with_pis(&segment.common);
    let key = builder.constant_verifier_data(&segment.verifier);
    builder.verify_proof::<Inner>(&proof, &key, &segment.common);
    // Any value may stand here: a lift has no merge below it.
    let merge_key_hash: [Target; DIGEST] = builder.add_virtual_target_arr();
    builder.register_public_inputs(&proof.public_inputs);
    builder.register_public_inputs(&merge_key_hash);
    let mut inputs = proof_targets(&proof);
    inputs.extend(merge_key_hash);
    (builder, inputs)
}

/// The merge of children with layout `common`, where the keys of the lifts are `lifts`.
fn describe_merge(
    config: &CircuitConfig,
    common: &CommonCircuitData<F, D>,
    lifts: &[VerifierOnlyCircuitData<Inner, D>],
) -> (CircuitBuilder<F, D>, Vec<Target>) {
    let mut builder = CircuitBuilder::<F, D>::new(config.clone());
    let own = builder.add_virtual_verifier_data(config.fri_config.cap_height);
    let own_elements = key_targets(&own);
    let own_hash = builder.hash_n_to_hash_no_pad::<PoseidonHash>(own_elements.clone());
    let lifts: Vec<_> = lifts.iter().map(|key| builder.constant_verifier_data(key)).collect();

    let mut inputs = own_elements;
    let [left, right] = core::array::from_fn(|_| {
        let flags: Vec<BoolTarget> = (0..=lifts.len()).map(|_| builder.add_virtual_bool_target_safe()).collect();
        let proof = builder.add_virtual_proof_with_pis(common);
        let key = choose_key(&mut builder, &flags, &lifts, &own);
        builder.verify_proof::<Inner>(&proof, &key, common);
        inputs.extend(flags.iter().map(|flag| flag.target));
        inputs.extend(proof_targets(&proof));

        // Both children, and whatever is below them, name the same merge.
        let named = HashOutTarget::from_vec(proof.public_inputs[PublicValues::ELEMENTS..].to_vec());
        builder.connect_hashes(named, own_hash);
        StatementTarget::read(&proof.public_inputs)
    });
    let has_right = builder.add_virtual_bool_target_safe();
    inputs.push(has_right.target);

    // An absent right child repeats the left one, so these hold either way.
    builder.connect_array(left.program, right.program);
    builder.connect(left.chain_id, right.chain_id);
    for (&to, &from) in left.to.iter().zip(&right.from) {
        builder.conditional_assert_eq(has_right.target, to, from);
    }
    let to = core::array::from_fn(|i| builder.select(has_right, right.to[i], left.to[i]));
    let statement = StatementTarget { to, ..left };
    builder.register_public_inputs(&statement.elements());
    builder.register_public_inputs(&own_hash.elements);
    (builder, inputs)
}

/// The key of a child: exactly one flag is set, and names it.
fn choose_key(
    builder: &mut CircuitBuilder<F, D>,
    flags: &[BoolTarget],
    lifts: &[VerifierCircuitTarget],
    own: &VerifierCircuitTarget,
) -> VerifierCircuitTarget {
    let count = builder.add_many(flags.iter().map(|flag| flag.target));
    builder.assert_one(count);
    let options: Vec<Vec<Target>> = lifts.iter().chain([own]).map(key_targets).collect();
    let chosen: Vec<Target> = (0..options[0].len())
        .map(|i| {
            let zero = builder.zero();
            flags.iter().zip(&options).fold(zero, |sum, (flag, option)| builder.mul_add(flag.target, option[i], sum))
        })
        .collect();
    let hash = |elements: &[Target]| HashOutTarget::from_vec(elements.to_vec());
    VerifierCircuitTarget {
        circuit_digest: hash(&chosen[..DIGEST]),
        constants_sigmas_cap: MerkleCapTarget(chosen[DIGEST..].chunks_exact(DIGEST).map(hash).collect()),
    }
}

/// A key as elements: the circuit's digest, then its cap.
fn key_targets(key: &VerifierCircuitTarget) -> Vec<Target> {
    let cap = key.constants_sigmas_cap.0.iter().flat_map(|hash| hash.elements);
    key.circuit_digest.elements.into_iter().chain(cap).collect()
}

/// A key as elements, in the order of [`key_targets`].
pub(crate) fn key_elements(key: &VerifierOnlyCircuitData<Inner, D>) -> Vec<F> {
    let cap = key.constants_sigmas_cap.0.iter().flat_map(|hash| hash.elements);
    key.circuit_digest.elements.into_iter().chain(cap).collect()
}

/// The hash that stands for a key in public inputs. The number of elements is fixed, so no padding is needed.
#[must_use]
pub fn key_hash(key: &VerifierOnlyCircuitData<Inner, D>) -> [F; DIGEST] {
    PoseidonHash::hash_no_pad(&key_elements(key)).elements
}
