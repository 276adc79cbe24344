//! From Plonky3's proof to the circuit's witness.
//!
//! Plonky3's proof shares Merkle nodes between queries and leaves out of every folded row the value the verifier can
//! compute. The circuit wants whole paths and whole rows, so the proof is verified natively once, keeping what the
//! verifier sees on the way. A proof that does not verify natively is refused here with Plonky3's reason; the circuit
//! does not rely on that.

use core::marker::PhantomData;

use p3_air::Air;
use p3_batch_stark::folder::VerifierConstraintFolderWithLookups;
use p3_batch_stark::verifier::commitments_with_opening_points;
use p3_batch_stark::{BatchProof, BatchShape, BatchVerifierTranscript, CommonData, StarkGenericConfig, verify_batch};
use p3_commit::CommitmentWithOpeningPoints;
use p3_field::coset::TwoAdicMultiplicativeCoset;
use p3_fri::verifier::{fold_query, open_inputs};
use p3_fri::{
    FriShape, PcsShape, PcsVerifierTranscript, TwoAdicFriFolding, TwoAdicFriFoldingForMmcs, VerifierTranscript,
};
use p3_lookup::{InteractionSymbolicBuilder, LogUpGadget};
use p3_matrix::Dimensions;
use p3_symmetric::MerkleCap;

use crate::field::{CUBIC, Challenge, ChallengeMmcs, Challenger, DIGEST, TableConfig, Val, ValMmcs, limbs};
use crate::proof::{BatchOpening, Grinding, Query, RoundOpening, TableProof};
use crate::shape::Shape;
use crate::verifier::Challenges;

type Cap = MerkleCap<Val, [Val; DIGEST]>;
type Claim = CommitmentWithOpeningPoints<Challenge, Cap, TwoAdicMultiplicativeCoset<Val>>;

/// Challenges natively; an index is a number.
pub type ChallengeValues = Challenges<Challenge, usize>;

/// Why a proof cannot become a witness.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WitnessError {
    /// Plonky3's verifier refuses the proof.
    #[error("the table proof does not verify: {0}")]
    Invalid(String),
    /// The proof is about tables of other heights.
    #[error("the proof is about heights {got:?}, the shape about {expected:?}")]
    Heights {
        /// Binary logarithms of the heights of the shape.
        expected: Vec<usize>,
        /// Those of the proof.
        got: Vec<usize>,
    },
    /// The proof has another number of elements than the shape.
    #[error("the proof has {got} elements, the shape {expected}")]
    Size {
        /// Elements of a proof of the shape.
        expected: usize,
        /// Elements of this proof.
        got: usize,
    },
}

fn invalid(error: impl core::fmt::Debug) -> WitnessError {
    WitnessError::Invalid(format!("{error:?}"))
}

/// Verifies a proof natively and restores what the circuit needs.
///
/// # Errors
/// If Plonky3 refuses the proof or it does not have the shape.
pub fn extract<A>(
    shape: &Shape,
    airs: &[A],
    common: &CommonData<TableConfig>,
    proof: &BatchProof<TableConfig>,
    public_values: &[Vec<Val>],
) -> Result<(TableProof<Val>, ChallengeValues), WitnessError>
where
    A: Air<InteractionSymbolicBuilder<Val, Challenge>>
        + for<'a> Air<VerifierConstraintFolderWithLookups<'a, TableConfig>>,
{
    let config = shape.parameters.config();
    let expected: Vec<usize> = shape.tables.iter().map(|table| table.log_height).collect();
    if proof.degree_bits != expected {
        return Err(WitnessError::Heights { expected, got: proof.degree_bits.clone() });
    }
    verify_batch(&config, airs, proof, public_values, common).map_err(invalid)?;

    let (mut challenges, claims, mut challenger) =
        batch_challenges(shape, &config, airs, common, proof, public_values)?;
    opening_challenges(shape, proof, &claims, &mut challenger, &mut challenges)?;
    let queries = restore_queries(shape, proof, &claims, &challenges)?;

    let parameters = &shape.parameters;
    let opening = &proof.opening_proof;
    let witness = |bits: usize, witness: Val| (bits > 0).then_some(witness);
    let caps = |cap: &Cap| cap.roots().to_vec();
    let cap_of = |cap: &Option<Cap>| cap.as_ref().map(caps).unwrap_or_default();
    let restored = TableProof {
        public_values: public_values.to_vec(),
        preprocessed_cap: common.preprocessed.as_ref().map(|global| caps(&global.commitment)).unwrap_or_default(),
        main_cap: caps(&proof.commitments.main),
        permutation_cap: cap_of(&proof.commitments.permutation),
        quotient_cap: caps(&proof.commitments.quotient_chunks),
        terminals: proof.lookup_terminals.iter().flatten().map(|terminal| limbs(terminal.0)).collect(),
        openings: claims
            .iter()
            .map(|claim| {
                claim
                    .matrices
                    .iter()
                    .map(|matrix| {
                        matrix
                            .points
                            .iter()
                            .map(|point| point.values.iter().map(|&value| limbs(value)).collect())
                            .collect()
                    })
                    .collect()
            })
            .collect(),
        grinding: Grinding {
            lookup: proof.lookup_pow_witness.filter(|_| shape.has_lookups() && parameters.lookup_grinding_bits > 0),
            out_of_domain: witness(parameters.out_of_domain_grinding_bits, proof.ood_pow_witness),
            batch: witness(parameters.batch_grinding_bits, opening.batch_pow_witness),
            commit: if parameters.commit_grinding_bits > 0 { opening.commit_pow_witnesses.clone() } else { Vec::new() },
            query: witness(parameters.query_grinding_bits, opening.query_pow_witness),
        },
        round_caps: opening.commit_phase_commits.iter().map(caps).collect(),
        final_polynomial: opening.final_poly.iter().map(|&coefficient| limbs(coefficient)).collect(),
        queries,
    };

    let mut expected = 0;
    TableProof::build(shape, |_| expected += 1);
    let got = restored.elements().len();
    if got == expected { Ok((restored, challenges)) } else { Err(WitnessError::Size { expected, got }) }
}

/// Replays the batch protocol up to the out-of-domain point.
fn batch_challenges<A>(
    shape: &Shape,
    config: &TableConfig,
    airs: &[A],
    common: &CommonData<TableConfig>,
    proof: &BatchProof<TableConfig>,
    public_values: &[Vec<Val>],
) -> Result<(ChallengeValues, Vec<Claim>, Challenger), WitnessError>
where
    A: Air<InteractionSymbolicBuilder<Val, Challenge>>,
{
    let batch_shape = BatchShape {
        trace_widths: shape.tables.iter().map(|table| table.width).collect(),
        public_value_counts: shape.tables.iter().map(|table| table.public_values).collect(),
        preprocessed_widths: shape.tables.iter().map(|table| table.preprocessed_width).collect(),
        has_preprocessed_commitment: common.preprocessed.is_some(),
        num_lookup_instances: shape.tables.iter().filter(|table| !table.buses.is_empty()).count(),
        lookup_pow_bits: shape.parameters.lookup_grinding_bits,
        has_randomization_commitment: false,
        ood_pow_bits: shape.parameters.out_of_domain_grinding_bits,
    };
    let mut challenger = config.initialise_challenger();
    let mut transcript = BatchVerifierTranscript::<Challenger, Val, Challenge, Cap>::new(&mut challenger, batch_shape);
    transcript.instance_bindings(&proof.degree_bits);
    transcript.main_phase(proof.commitments.main.clone(), public_values);
    transcript.preprocessed_phase(common.preprocessed.as_ref().map(|global| global.commitment.clone()));
    let lookup_challenges =
        transcript.lookup_phase(&common.lookups, &LogUpGadget::new(), proof.lookup_pow_witness).map_err(invalid)?;
    let terminals: Vec<Challenge> = proof.lookup_terminals.iter().flatten().map(|terminal| terminal.0).collect();
    let constraint = transcript.permutation_phase(proof.commitments.permutation.clone(), &terminals);
    transcript.quotient_phase(proof.commitments.quotient_chunks.clone(), None);
    let zeta = transcript.ood_phase(proof.ood_pow_witness).map_err(invalid)?;
    let advanced = transcript.delegate(|challenger| challenger.clone());
    transcript.finish();

    // The first lookup of the first table with lookups uses bus 0, whose prefix is α + β^width.
    let first =
        lookup_challenges.iter().flatten().copied().next().zip(lookup_challenges.iter().flatten().copied().nth(1));
    let (lookup_alpha, lookup_beta) = match first {
        Some((prefix, beta)) => {
            let gamma = p3_field::PrimeCharacteristicRing::exp_u64(&beta, shape.message_width_max as u64);
            (Some(prefix - gamma), Some(beta))
        }
        None => (None, None),
    };

    let widths: Vec<usize> = shape.tables.iter().map(|table| table.preprocessed_width).collect();
    let chunks: Vec<usize> = shape.tables.iter().map(|table| table.log_quotient_chunks).collect();
    let (claims, _, _) = commitments_with_opening_points::<TableConfig, A>(
        config,
        airs,
        zeta,
        &proof.commitments,
        &proof.opened_values,
        common,
        &proof.degree_bits,
        &widths,
        &chunks,
    )
    .map_err(invalid)?;
    let challenges = Challenges {
        lookup_alpha,
        lookup_beta,
        constraint,
        zeta,
        batch: Challenge::default(),
        folding: Vec::new(),
        indices: Vec::new(),
    };
    Ok((challenges, claims, advanced))
}

/// Replays the opening argument and FRI.
fn opening_challenges(
    shape: &Shape,
    proof: &BatchProof<TableConfig>,
    claims: &[Claim],
    challenger: &mut Challenger,
    challenges: &mut ChallengeValues,
) -> Result<(), WitnessError> {
    let fri = shape.parameters.fri(());
    let opening = &proof.opening_proof;
    let mut transcript =
        PcsVerifierTranscript::<Challenger, Val, Challenge>::new(challenger, PcsShape::from_claims(&fri, claims));
    transcript.claimed_openings(claims).map_err(invalid)?;
    challenges.batch = transcript.batch_phase(Some(opening.batch_pow_witness)).map_err(invalid)?;
    let fri_shape = FriShape::with_schedule(&fri, shape.schedule.clone(), shape.index_bits());
    let result = transcript.delegate(|challenger| {
        let mut transcript = VerifierTranscript::<Challenger, Val, Challenge>::new(challenger, fri_shape);
        challenges.folding =
            transcript.commit_rounds(&opening.commit_phase_commits, &opening.commit_pow_witnesses).map_err(invalid)?;
        challenges.indices =
            transcript.query_phase(&opening.final_poly, Some(opening.query_pow_witness)).map_err(invalid)?;
        transcript.finish();
        Ok(())
    });
    transcript.finish();
    result
}

/// Restores whole rows and whole Merkle paths of every query.
fn restore_queries(
    shape: &Shape,
    proof: &BatchProof<TableConfig>,
    claims: &[Claim],
    challenges: &ChallengeValues,
) -> Result<Vec<Query<Val>>, WitnessError> {
    let parameters = &shape.parameters;
    let mmcs = parameters.mmcs();
    let fri = parameters.fri(ChallengeMmcs::new(mmcs.clone()));
    let opening = &proof.opening_proof;
    let index_bits = shape.index_bits();
    let indices = &challenges.indices;
    let mut queries: Vec<Query<Val>> =
        indices.iter().map(|_| Query { batches: Vec::new(), rounds: Vec::new() }).collect();

    for (batch, input) in opening.input_openings.iter().enumerate() {
        let dimensions: Vec<Dimensions> = shape.batches[batch]
            .iter()
            .map(|matrix| Dimensions { width: matrix.width, height: 1 << matrix.log_height })
            .collect();
        let reduced: Vec<usize> =
            indices.iter().map(|index| index >> (index_bits - shape.batch_log_height(batch))).collect();
        let paths = mmcs
            .restore_and_recompute_paths(&dimensions, &reduced, &input.opened_values, &input.opening_proof)
            .map_err(invalid)?;
        for ((query, rows), path) in queries.iter_mut().zip(&input.opened_values).zip(paths) {
            query.batches.push(BatchOpening { rows: rows.clone(), siblings: path.siblings });
        }
    }

    let reduced_openings = open_inputs::<Val, Challenge, ValMmcs, ChallengeMmcs>(
        &fri,
        index_bits,
        indices,
        &opening.input_openings,
        challenges.batch,
        &mmcs,
        claims,
    )
    .map_err(invalid)?;
    let folding: TwoAdicFriFoldingForMmcs<Val, ValMmcs> = TwoAdicFriFolding(PhantomData);
    let rounds = shape.schedule.len();
    let mut positions = vec![Vec::new(); rounds];
    let mut rows: Vec<Vec<Vec<Vec<Challenge>>>> = vec![Vec::new(); rounds];
    for (query, (&index, reduced)) in indices.iter().zip(reduced_openings).enumerate() {
        let mut position = index;
        // Only the restored rows are wanted; the folded value itself was checked by the verifier above.
        let _: Challenge = fold_query::<_, Val, Challenge, ChallengeMmcs>(
            &folding,
            query,
            &mut position,
            &challenges.folding,
            &shape.schedule,
            &opening.commit_phase_openings,
            reduced,
            index_bits,
            parameters.log_blowup + parameters.log_final_polynomial_length,
            &mut positions,
            &mut rows,
        )
        .map_err(invalid)?;
    }
    let mut log_height = index_bits;
    for (round, &log_arity) in shape.schedule.iter().enumerate() {
        log_height -= log_arity;
        let dimensions = [Dimensions { width: CUBIC << log_arity, height: 1 << log_height }];
        let flat: Vec<Vec<Vec<Val>>> =
            rows[round].iter().map(|row| vec![row[0].iter().flat_map(|&value| limbs(value)).collect()]).collect();
        let paths = mmcs
            .restore_and_recompute_paths(
                &dimensions,
                &positions[round],
                &flat,
                &opening.commit_phase_openings[round].opening_proof,
            )
            .map_err(invalid)?;
        for ((query, row), path) in queries.iter_mut().zip(&rows[round]).zip(paths) {
            let row = row[0].iter().map(|&value| limbs(value)).collect();
            query.rounds.push(RoundOpening { row, siblings: path.siblings });
        }
    }
    Ok(queries)
}
