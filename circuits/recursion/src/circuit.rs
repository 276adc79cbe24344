//! A built circuit with the targets its witness goes to.

use plonky2::iop::target::Target;
use plonky2::iop::witness::{PartialWitness, WitnessWrite};
use plonky2::plonk::circuit_data::{CircuitData, CommonCircuitData, VerifierOnlyCircuitData};
use plonky2::plonk::config::{AlgebraicHasher, GenericConfig, PoseidonGoldilocksConfig};
use plonky2::plonk::proof::ProofWithPublicInputs;

use crate::field::{D, F};

/// The configuration of every layer that another plonky2 circuit verifies.
pub type Inner = PoseidonGoldilocksConfig;

/// A proof of a layer.
pub type Proof<C> = ProofWithPublicInputs<F, C, D>;

/// Why a proof was not made.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// An input has another size than the circuit's.
    #[error("{name}: expected {expected} elements, got {got}")]
    Size {
        /// The input.
        name: &'static str,
        /// Elements the circuit has targets for.
        expected: usize,
        /// Elements given.
        got: usize,
    },
    /// An input names something the circuit does not have.
    #[error("{name} {got} does not exist, there are {count}")]
    Index {
        /// What is named.
        name: &'static str,
        /// How many there are.
        count: usize,
        /// What was asked for.
        got: usize,
    },
    /// The inputs do not satisfy the circuit, or plonky2 failed.
    #[error("the circuit refuses the witness: {0:#}")]
    Refused(anyhow::Error),
}

/// A circuit with the targets its witness goes to.
#[derive(Debug)]
pub struct Circuit<C: GenericConfig<D, F = F>> {
    /// What plonky2 needs to prove and verify.
    pub data: CircuitData<F, C, D>,
    /// The targets to be set, in the order in which the layer's prover sets them.
    pub inputs: Vec<Target>,
}

impl<C: GenericConfig<D, F = F>> Circuit<C> {
    /// Proves with these values for the inputs.
    ///
    /// # Errors
    /// If the number of values is wrong or they do not satisfy the circuit.
    pub(crate) fn prove(&self, values: &[F]) -> Result<Proof<C>, ProveError> {
        if values.len() != self.inputs.len() {
            return Err(ProveError::Size { name: "witness", expected: self.inputs.len(), got: values.len() });
        }
        let mut witness = PartialWitness::new();
        for (&target, &value) in self.inputs.iter().zip(values) {
            witness.set_target(target, value).map_err(ProveError::Refused)?;
        }
        self.data.prove(witness).map_err(ProveError::Refused)
    }

    /// Verifies a proof of this circuit.
    ///
    /// # Errors
    /// If plonky2 refuses it.
    pub fn verify(&self, proof: Proof<C>) -> anyhow::Result<()> {
        self.data.verify(proof)
    }

    /// Binary logarithm of the number of rows.
    #[must_use]
    pub fn degree_bits(&self) -> usize {
        self.data.common.degree_bits()
    }

    /// The key that names this circuit to a circuit that verifies it.
    #[must_use]
    pub fn key(&self) -> Key<C> {
        Key { common: self.data.common.clone(), verifier: self.data.verifier_only.clone() }
    }
}

/// What a circuit must know about a circuit whose proofs it verifies.
#[derive(Clone, Debug)]
pub struct Key<C: GenericConfig<D, F = F>> {
    /// Layout: gates, degree, FRI parameters.
    pub common: CommonCircuitData<F, D>,
    /// Commitment to the fixed columns.
    pub verifier: VerifierOnlyCircuitData<C, D>,
}

/// Every element of a proof, in the order of [`proof_targets`].
pub(crate) fn proof_elements<C: GenericConfig<D, F = F>>(proof: &Proof<C>) -> Vec<F>
where
    C::Hasher: AlgebraicHasher<F>,
{
    use plonky2::field::extension::FieldExtension;
    let mut elements = proof.public_inputs.clone();
    let inner = &proof.proof;
    for cap in [&inner.wires_cap, &inner.plonk_zs_partial_products_cap, &inner.quotient_polys_cap] {
        elements.extend(cap.0.iter().flat_map(|hash| hash.elements));
    }
    let extension = |value: &<F as plonky2::field::extension::Extendable<D>>::Extension| {
        FieldExtension::<D>::to_basefield_array(value)
    };
    let openings = &inner.openings;
    for values in [
        &openings.constants,
        &openings.plonk_sigmas,
        &openings.wires,
        &openings.plonk_zs,
        &openings.plonk_zs_next,
        &openings.partial_products,
        &openings.quotient_polys,
    ] {
        elements.extend(values.iter().flat_map(extension));
    }
    let fri = &inner.opening_proof;
    for cap in &fri.commit_phase_merkle_caps {
        elements.extend(cap.0.iter().flat_map(|hash| hash.elements));
    }
    for query in &fri.query_round_proofs {
        for (leaf, path) in &query.initial_trees_proof.evals_proofs {
            elements.extend(leaf);
            elements.extend(path.siblings.iter().flat_map(|hash| hash.elements));
        }
        for step in &query.steps {
            elements.extend(step.evals.iter().flat_map(extension));
            elements.extend(step.merkle_proof.siblings.iter().flat_map(|hash| hash.elements));
        }
    }
    elements.extend(fri.final_poly.coeffs.iter().flat_map(extension));
    elements.push(fri.pow_witness);
    elements
}

/// Every target of a proof, in the order of [`proof_elements`].
pub(crate) fn proof_targets(proof: &plonky2::plonk::proof::ProofWithPublicInputsTarget<D>) -> Vec<Target> {
    let mut targets = proof.public_inputs.clone();
    let inner = &proof.proof;
    for cap in [&inner.wires_cap, &inner.plonk_zs_partial_products_cap, &inner.quotient_polys_cap] {
        targets.extend(cap.0.iter().flat_map(|hash| hash.elements));
    }
    let openings = &inner.openings;
    for values in [
        &openings.constants,
        &openings.plonk_sigmas,
        &openings.wires,
        &openings.plonk_zs,
        &openings.plonk_zs_next,
        &openings.partial_products,
        &openings.quotient_polys,
    ] {
        targets.extend(values.iter().flat_map(|value| value.0));
    }
    let fri = &inner.opening_proof;
    for cap in &fri.commit_phase_merkle_caps {
        targets.extend(cap.0.iter().flat_map(|hash| hash.elements));
    }
    for query in &fri.query_round_proofs {
        for (leaf, path) in &query.initial_trees_proof.evals_proofs {
            targets.extend(leaf);
            targets.extend(path.siblings.iter().flat_map(|hash| hash.elements));
        }
        for step in &query.steps {
            targets.extend(step.evals.iter().flat_map(|value| value.0));
            targets.extend(step.merkle_proof.siblings.iter().flat_map(|hash| hash.elements));
        }
    }
    targets.extend(fri.final_poly.0.iter().flat_map(|value| value.0));
    targets.push(fri.pow_witness);
    targets
}
