//! The constraint system that verifies one inner proof.

use std::collections::BTreeMap;

use ark_bn254::Fr;
use ark_relations::gr1cs::{
    ConstraintSynthesizer, ConstraintSystem, ConstraintSystemRef, SynthesisError, SynthesisMode,
};
use joule_protocol::PublicValues;
use joule_recursion::bn254::{Bn254Poseidon, Bn254PoseidonConfig};
use plonky2::field::types::PrimeField64;
use plonky2::iop::challenger::Challenger;
use plonky2::plonk::circuit_data::{CommonCircuitData, VerifierCircuitData, VerifierOnlyCircuitData};

use crate::circuit::{Circuit, Integer, Linear, Synthesis};
use crate::error::WrapError;
use crate::fri::{FriContext, FriInput};
use crate::gates::poseidon::hash_no_pad;
use crate::goldilocks::{Ext, F, FE, canonical_low_bits, enforce_leading_zeros, residue_witness};
use crate::hash::Transcript;
use crate::inner::InnerCircuit;
use crate::plonk::{Openings, PlonkChallenges, enforce_vanishing};
use crate::statement::{StatementWitness, public_values};
use crate::values::{InnerProof, ProofValues};

/// A wrap: the inner circuit whose proofs it verifies, and the digest of the constraints that do.
#[derive(Clone, Debug)]
pub struct WrapCircuit {
    inner: InnerCircuit,
    digest: [u8; 32],
    report: ConstraintReport,
}

/// Constraints of a wrap, by part.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ConstraintReport {
    /// All constraints.
    pub constraints: usize,
    /// Witness variables.
    pub variables: usize,
    /// Constraints by part of the verifier.
    pub parts: BTreeMap<&'static str, usize>,
}

impl WrapCircuit {
    /// The wrap of a plonky2 circuit. Refuses gates and features that it does not implement.
    ///
    /// Builds the constraints once, without a proof: to count them, and to take the digest that keys are known by. A digest
    /// of the constraints themselves, and not of what they are made from, so that no key outlives a change of this crate.
    pub fn new(
        common: CommonCircuitData<F, 2>,
        verifier: VerifierOnlyCircuitData<Bn254PoseidonConfig, 2>,
    ) -> Result<Self, WrapError> {
        let inner = InnerCircuit::new(common, verifier)?;
        let system = values_only();
        let mut circuit = Circuit::new(system.clone()).with_digest();
        Assignment { inner: &inner, values: ProofValues::blank(&inner) }.verify(&mut circuit)?;
        let parts = circuit.counts().clone();
        let variables = system.num_witness_variables();
        let report = ConstraintReport { constraints: parts.values().sum(), variables, parts };
        let digest = circuit.digest().ok_or(SynthesisError::MissingCS)?;
        Ok(Self { inner, digest, report })
    }

    /// SHA-256 over the constraints.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// [`Self::digest`] in hexadecimal, as key files carry it.
    pub fn digest_hex(&self) -> String {
        self.digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[cfg(test)]
    pub(crate) fn common(&self) -> &CommonCircuitData<F, 2> {
        &self.inner.common
    }

    #[cfg(test)]
    pub(crate) fn verifier(&self) -> &VerifierOnlyCircuitData<Bn254PoseidonConfig, 2> {
        &self.inner.verifier
    }

    /// Constraints by part.
    pub fn report(&self) -> &ConstraintReport {
        &self.report
    }

    /// Checks a proof with plonky2's own verifier and its public inputs against their ranges; returns what it states.
    pub fn check(&self, proof: &InnerProof) -> Result<PublicValues, WrapError> {
        let statement = public_values(&proof.public_inputs)?;
        let data =
            VerifierCircuitData { verifier_only: self.inner.verifier.clone(), common: self.inner.common.clone() };
        data.verify(proof.clone()).map_err(|reason| WrapError::InnerProof { reason: format!("{reason:#}") })?;
        Ok(statement)
    }

    /// A synthesiser for a key: the same constraints, no proof.
    pub fn blank(&self) -> Assignment<'_> {
        Assignment { inner: &self.inner, values: ProofValues::blank(&self.inner) }
    }

    /// A synthesiser for a proof, whose shape is checked but not its truth.
    pub fn assignment(&self, proof: &InnerProof) -> Result<Assignment<'_>, WrapError> {
        Ok(Assignment { inner: &self.inner, values: ProofValues::from_proof(&self.inner, proof)? })
    }
}

fn values_only() -> ConstraintSystemRef<Fr> {
    let system = ConstraintSystem::new_ref();
    system.set_mode(SynthesisMode::Prove { construct_matrices: false, generate_lc_assignments: false });
    system
}

/// The wrap's constraints with an assignment of the witness.
#[derive(Clone)]
pub struct Assignment<'a> {
    inner: &'a InnerCircuit,
    pub(crate) values: ProofValues,
}

impl ConstraintSynthesizer<Fr> for Assignment<'_> {
    fn generate_constraints(self, system: ConstraintSystemRef<Fr>) -> Result<(), SynthesisError> {
        self.synthesise(system).map(|_| ())
    }
}

impl Assignment<'_> {
    /// The parts of the verifier with a constraint that the assignment does not satisfy, in the order of their first.
    pub fn violated_parts(&self) -> Result<Vec<&'static str>, WrapError> {
        Ok(self.synthesise(values_only())?.violated_parts().to_vec())
    }

    fn synthesise(&self, system: ConstraintSystemRef<Fr>) -> Synthesis<Circuit> {
        let mut circuit = Circuit::new(system);
        self.verify(&mut circuit)?;
        Ok(circuit)
    }

    fn verify(&self, circuit: &mut Circuit) -> Synthesis<()> {
        let (inner, values) = (self.inner, &self.values);
        circuit.enter("statement");
        let statement = StatementWitness::new(circuit, &values.public_inputs)?;
        let hashed = statement.public_input(circuit)?;
        let public_input = circuit.public_input(hashed.value())?;
        circuit.enforce_equal(&public_input, &hashed)?;
        circuit.enter("public inputs' hash");
        let public_inputs_hash = hash_no_pad(circuit, &statement.elements)?;

        circuit.enter("openings' ranges");
        let openings = openings(circuit, values)?;
        let final_polynomial = extension_witnesses(circuit, &values.final_polynomial)?;
        let grinding_witness = residue_witness(circuit, values.grinding_witness)?;
        let wires_cap = digests(circuit, &values.wires_cap)?;
        let products_cap = digests(circuit, &values.products_cap)?;
        let quotients_cap = digests(circuit, &values.quotients_cap)?;
        let constants_cap =
            inner.verifier.constants_sigmas_cap.0.iter().map(|digest| Linear::constant(digest.0)).collect();
        let fold_caps = values.fold_caps.iter().map(|cap| digests(circuit, cap)).collect::<Synthesis<Vec<_>>>()?;

        // plonky2's order of messages and challenges; a test holds every challenge equal to plonky2's.
        circuit.enter("transcript");
        let config = &inner.common.config;
        let mut transcript = Transcript::new();
        for element in parameter_elements(inner) {
            transcript.observe_constant(circuit, element.to_canonical_u64())?;
        }
        transcript.observe_digest(circuit, &Linear::constant(inner.verifier.circuit_digest.0))?;
        for element in &public_inputs_hash {
            transcript.observe(circuit, element)?;
        }
        observe_cap(circuit, &mut transcript, &wires_cap)?;
        let betas = base_challenges(circuit, &mut transcript, config.num_challenges)?;
        let gammas = base_challenges(circuit, &mut transcript, config.num_challenges)?;
        observe_cap(circuit, &mut transcript, &products_cap)?;
        let alphas = base_challenges(circuit, &mut transcript, config.num_challenges)?;
        observe_cap(circuit, &mut transcript, &quotients_cap)?;
        let zeta = transcript.extension_challenge(circuit)?;
        for opening in openings.at_point().chain(&openings.zs_next) {
            transcript.observe_extension(circuit, opening)?;
        }
        let alpha = transcript.extension_challenge(circuit)?;
        let mut fold_points = Vec::new();
        for cap in &fold_caps {
            observe_cap(circuit, &mut transcript, cap)?;
            fold_points.push(transcript.extension_challenge(circuit)?);
        }
        for coefficient in &final_polynomial {
            transcript.observe_extension(circuit, coefficient)?;
        }
        transcript.observe(circuit, &grinding_witness)?;
        let grinding = transcript.challenge(circuit)?;
        let parameters = &inner.common.fri_params;
        enforce_leading_zeros(circuit, &grinding.bits, parameters.config.proof_of_work_bits as usize)?;
        let mut indices = Vec::new();
        for _ in 0..parameters.config.num_query_rounds {
            let challenge = transcript.challenge(circuit)?;
            indices.push(canonical_low_bits(circuit, &challenge.bits, parameters.lde_bits())?);
        }

        let challenges = PlonkChallenges { betas, gammas, alphas, zeta: zeta.clone() };
        enforce_vanishing(circuit, inner, &openings, &challenges, &public_inputs_hash)?;

        circuit.enter("openings' combination");
        let input = FriInput {
            caps: vec![constants_cap, wires_cap, products_cap, quotients_cap],
            fold_caps,
            fold_points,
            final_polynomial,
            zeta,
            alpha,
        };
        let context = FriContext::new(circuit, inner, &openings, input)?;
        for (index_bits, query) in indices.iter().zip(&values.queries) {
            context.enforce_query(circuit, index_bits, query)?;
        }
        Ok(())
    }
}

fn extension_witnesses(circuit: &mut Circuit, values: &[FE]) -> Synthesis<Vec<Ext>> {
    values.iter().map(|value| Ext::witness(circuit, *value)).collect()
}

fn openings(circuit: &mut Circuit, values: &ProofValues) -> Synthesis<Openings> {
    Ok(Openings {
        constants: extension_witnesses(circuit, &values.constants)?,
        sigmas: extension_witnesses(circuit, &values.sigmas)?,
        wires: extension_witnesses(circuit, &values.wires)?,
        zs: extension_witnesses(circuit, &values.zs)?,
        partial_products: extension_witnesses(circuit, &values.partial_products)?,
        quotients: extension_witnesses(circuit, &values.quotients)?,
        zs_next: extension_witnesses(circuit, &values.zs_next)?,
    })
}

fn digests(circuit: &mut Circuit, cap: &[Fr]) -> Synthesis<Vec<Linear>> {
    cap.iter().map(|digest| circuit.witness(*digest)).collect()
}

fn observe_cap(circuit: &mut Circuit, transcript: &mut Transcript, cap: &[Linear]) -> Synthesis<()> {
    cap.iter().try_for_each(|digest| transcript.observe_digest(circuit, digest))
}

fn base_challenges(circuit: &mut Circuit, transcript: &mut Transcript, count: usize) -> Synthesis<Vec<Integer>> {
    (0..count).map(|_| transcript.base_challenge(circuit)).collect()
}

/// What plonky2 observes of the FRI parameters before anything else.
fn parameter_elements(inner: &InnerCircuit) -> Vec<F> {
    use plonky2::field::types::Field;
    let parameters = &inner.common.fri_params;
    let config = &parameters.config;
    let mut elements = vec![
        F::from_canonical_usize(config.rate_bits),
        F::from_canonical_usize(config.cap_height),
        F::from_canonical_u32(config.proof_of_work_bits),
    ];
    elements.extend(config.reduction_strategy.serialize::<F>());
    elements.push(F::from_canonical_usize(config.num_query_rounds));
    elements.push(F::from_bool(parameters.hiding));
    elements.push(F::from_canonical_usize(parameters.degree_bits));
    elements.extend(parameters.reduction_arity_bits.iter().map(|bits| F::from_canonical_usize(*bits)));
    debug_assert_eq!(
        {
            let mut challenger = Challenger::<F, Bn254Poseidon>::new();
            parameters.observe(&mut challenger);
            challenger.get_challenge()
        },
        {
            let mut challenger = Challenger::<F, Bn254Poseidon>::new();
            challenger.observe_elements(&elements);
            challenger.get_challenge()
        }
    );
    elements
}
