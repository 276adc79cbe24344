//! The values of an inner proof, and the shape they must have.
//!
//! Synthesis never sees plonky2's proof type: it sees [`ProofValues`], whose lengths are those of the circuit by construction.
//! For a key, the values are blank, so a key cannot depend on a proof.

use ark_bn254::Fr;
use ark_ff::Zero;
use joule_recursion::bn254::{Bn254Digest, Bn254Poseidon, Bn254PoseidonConfig};
use plonky2::field::types::{Field, PrimeField64};
use plonky2::hash::merkle_proofs::MerkleProof;
use plonky2::hash::merkle_tree::MerkleCap;
use plonky2::plonk::proof::ProofWithPublicInputs;

use crate::error::WrapError;
use crate::goldilocks::{F, FE};
use crate::inner::InnerCircuit;

/// A plonky2 proof under the BN254 configuration.
pub type InnerProof = ProofWithPublicInputs<F, Bn254PoseidonConfig, 2>;

#[derive(Clone)]
pub(crate) struct OpenedTree {
    pub(crate) leaf: Vec<u64>,
    pub(crate) siblings: Vec<Fr>,
}

#[derive(Clone)]
pub(crate) struct QueryValues {
    pub(crate) initial: Vec<OpenedTree>,
    /// Per folding step: the coset's evaluations, coordinates in sequence, and their path.
    pub(crate) steps: Vec<OpenedTree>,
}

/// Everything that a proof consists of, in plonky2's order of openings.
#[derive(Clone)]
pub(crate) struct ProofValues {
    pub(crate) public_inputs: Vec<u64>,
    pub(crate) wires_cap: Vec<Fr>,
    pub(crate) products_cap: Vec<Fr>,
    pub(crate) quotients_cap: Vec<Fr>,
    pub(crate) constants: Vec<FE>,
    pub(crate) sigmas: Vec<FE>,
    pub(crate) wires: Vec<FE>,
    pub(crate) zs: Vec<FE>,
    pub(crate) zs_next: Vec<FE>,
    pub(crate) partial_products: Vec<FE>,
    pub(crate) quotients: Vec<FE>,
    pub(crate) fold_caps: Vec<Vec<Fr>>,
    pub(crate) queries: Vec<QueryValues>,
    pub(crate) final_polynomial: Vec<FE>,
    pub(crate) grinding_witness: u64,
}

impl ProofValues {
    /// All zeros, in the circuit's shape.
    pub(crate) fn blank(circuit: &InnerCircuit) -> Self {
        let common = &circuit.common;
        let config = &common.config;
        let parameters = &common.fri_params;
        let cap = vec![Fr::zero(); 1 << parameters.config.cap_height];
        let elements = |count: usize| vec![FE::ZERO; count];
        let tree = |leaf: usize, leaf_bits: usize| OpenedTree {
            leaf: vec![0; leaf],
            siblings: vec![Fr::zero(); leaf_bits - parameters.config.cap_height],
        };
        let lde_bits = parameters.lde_bits();
        let mut bits_left = lde_bits;
        let steps = parameters.reduction_arity_bits.iter().map(|arity_bits| {
            bits_left -= arity_bits;
            tree(2 << arity_bits, bits_left)
        });
        let query = QueryValues {
            initial: circuit.oracle_widths().into_iter().map(|width| tree(width, lde_bits)).collect(),
            steps: steps.collect(),
        };
        Self {
            public_inputs: vec![0; common.num_public_inputs],
            wires_cap: cap.clone(),
            products_cap: cap.clone(),
            quotients_cap: cap.clone(),
            constants: elements(common.num_constants),
            sigmas: elements(config.num_routed_wires),
            wires: elements(config.num_wires),
            zs: elements(config.num_challenges),
            zs_next: elements(config.num_challenges),
            partial_products: elements(config.num_challenges * common.num_partial_products),
            quotients: elements(config.num_challenges * common.quotient_degree_factor),
            fold_caps: vec![cap; parameters.reduction_arity_bits.len()],
            queries: vec![query; parameters.config.num_query_rounds],
            final_polynomial: elements(parameters.final_poly_len()),
            grinding_witness: 0,
        }
    }

    /// The values of a proof, if each part has the circuit's length.
    pub(crate) fn from_proof(circuit: &InnerCircuit, proof: &InnerProof) -> Result<Self, WrapError> {
        let mut values = Self::blank(circuit);
        let inner = &proof.proof;
        fill_elements("public inputs", &mut values.public_inputs, &proof.public_inputs)?;
        fill_cap("wires cap", &mut values.wires_cap, &inner.wires_cap)?;
        fill_cap("products cap", &mut values.products_cap, &inner.plonk_zs_partial_products_cap)?;
        fill_cap("quotients cap", &mut values.quotients_cap, &inner.quotient_polys_cap)?;
        let openings = &inner.openings;
        fill("opened constants", &mut values.constants, &openings.constants, |value| *value)?;
        fill("opened sigmas", &mut values.sigmas, &openings.plonk_sigmas, |value| *value)?;
        fill("opened wires", &mut values.wires, &openings.wires, |value| *value)?;
        fill("opened zs", &mut values.zs, &openings.plonk_zs, |value| *value)?;
        fill("opened next zs", &mut values.zs_next, &openings.plonk_zs_next, |value| *value)?;
        fill("opened products", &mut values.partial_products, &openings.partial_products, |value| *value)?;
        fill("opened quotients", &mut values.quotients, &openings.quotient_polys, |value| *value)?;
        expect_length("opened lookups", 0, openings.lookup_zs.len() + openings.lookup_zs_next.len())?;

        let opening = &inner.opening_proof;
        expect_length("folding caps", values.fold_caps.len(), opening.commit_phase_merkle_caps.len())?;
        for (cap, got) in values.fold_caps.iter_mut().zip(&opening.commit_phase_merkle_caps) {
            fill_cap("folding cap", cap, got)?;
        }
        fill("final polynomial", &mut values.final_polynomial, &opening.final_poly.coeffs, |value| *value)?;
        values.grinding_witness = opening.pow_witness.to_canonical_u64();
        expect_length("queries", values.queries.len(), opening.query_round_proofs.len())?;
        for (query, got) in values.queries.iter_mut().zip(&opening.query_round_proofs) {
            let trees = &got.initial_trees_proof.evals_proofs;
            expect_length("initial trees", query.initial.len(), trees.len())?;
            for (tree, (leaf, path)) in query.initial.iter_mut().zip(trees) {
                fill_elements("initial leaf", &mut tree.leaf, leaf)?;
                fill_path(&mut tree.siblings, path)?;
            }
            expect_length("folding steps", query.steps.len(), got.steps.len())?;
            for (tree, step) in query.steps.iter_mut().zip(&got.steps) {
                let leaf: Vec<F> = step.evals.iter().flat_map(coordinates).collect();
                fill_elements("folded coset", &mut tree.leaf, &leaf)?;
                fill_path(&mut tree.siblings, &step.merkle_proof)?;
            }
        }
        Ok(values)
    }
}

fn coordinates(value: &FE) -> [F; 2] {
    use plonky2::field::extension::FieldExtension;
    value.to_basefield_array()
}

fn expect_length(field: &'static str, expected: usize, got: usize) -> Result<(), WrapError> {
    if expected == got { Ok(()) } else { Err(WrapError::ProofShape { field, expected, got }) }
}

fn fill<From, Into>(
    field: &'static str,
    target: &mut [Into],
    source: &[From],
    convert: impl Fn(&From) -> Into,
) -> Result<(), WrapError> {
    expect_length(field, target.len(), source.len())?;
    target.iter_mut().zip(source).for_each(|(target, source)| *target = convert(source));
    Ok(())
}

fn fill_elements(field: &'static str, target: &mut [u64], source: &[F]) -> Result<(), WrapError> {
    fill(field, target, source, PrimeField64::to_canonical_u64)
}

fn fill_cap(field: &'static str, target: &mut [Fr], source: &MerkleCap<F, Bn254Poseidon>) -> Result<(), WrapError> {
    fill(field, target, &source.0, |digest: &Bn254Digest| digest.0)
}

fn fill_path(target: &mut [Fr], source: &MerkleProof<F, Bn254Poseidon>) -> Result<(), WrapError> {
    fill("Merkle path", target, &source.siblings, |digest: &Bn254Digest| digest.0)
}
