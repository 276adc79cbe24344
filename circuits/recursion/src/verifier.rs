//! The circuit that verifies a table proof: Plonky3's batch verifier, step by step.

use p3_field::{BasedVectorSpace as _, Field as _, PrimeCharacteristicRing as _};
use plonky2::iop::target::{BoolTarget, Target};
use plonky2::plonk::circuit_builder::CircuitBuilder;

use crate::constraints::{Evaluator, Variables};
use crate::cubic::{CubicBuilder, CubicTarget};
use crate::field::{CUBIC, Challenge, D, F, Val, coset_shift, to_plonky2, two_adic_generator};
use crate::fri;
use crate::hashing::{DigestTarget, TranscriptTarget};
use crate::proof::TableProof;
use crate::shape::{Shape, Source, TableShape};

/// The challenges of a proof, natively or in the circuit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenges<E, I> {
    /// Separates the buses of the lookup argument.
    pub lookup_alpha: Option<E>,
    /// Compresses bus messages.
    pub lookup_beta: Option<E>,
    /// Folds the constraints.
    pub constraint: E,
    /// The out-of-domain point.
    pub zeta: E,
    /// Batches the openings.
    pub batch: E,
    /// Folds the codewords, round by round.
    pub folding: Vec<E>,
    /// The query indices.
    pub indices: Vec<I>,
}

/// Challenges in the circuit; an index is its bits, lowest first.
pub type ChallengeTargets = Challenges<CubicTarget, Vec<BoolTarget>>;

/// Adds the verification of a proof of `shape` and returns its targets. Every target of the proof is free witness data;
/// the public values and the preprocessed cap mean something only once the caller constrains them.
pub fn verify(builder: &mut CircuitBuilder<F, D>, shape: &Shape) -> (TableProof<Target>, ChallengeTargets) {
    let proof = TableProof::build(shape, |_| builder.add_virtual_target());
    let challenges = replay_transcript(builder, shape, &proof);
    verify_openings(builder, shape, &proof, &challenges);
    verify_tables(builder, shape, &proof, &challenges);
    verify_terminals(builder, &proof);
    (proof, challenges)
}

fn observe_cap(builder: &mut CircuitBuilder<F, D>, transcript: &mut TranscriptTarget, cap: &[DigestTarget]) {
    transcript.observe_all(builder, cap.iter().flatten().copied());
}

/// Derives every challenge from what was committed to before it.
fn replay_transcript(
    builder: &mut CircuitBuilder<F, D>,
    shape: &Shape,
    proof: &TableProof<Target>,
) -> ChallengeTargets {
    let parameters = &shape.parameters;
    let heights = shape.tables.iter().flat_map(|table| [Val::from_usize(table.log_height), Val::ZERO, Val::ZERO]);
    let constants: Vec<Val> = shape.seeds.batch.iter().copied().chain(heights).collect();
    let transcript = &mut TranscriptTarget::seeded(builder, &constants);
    observe_cap(builder, transcript, &proof.main_cap);
    transcript.observe_all(builder, proof.public_values.iter().flatten().copied());
    observe_cap(builder, transcript, &proof.preprocessed_cap);

    let (mut lookup_alpha, mut lookup_beta) = (None, None);
    if shape.has_lookups() {
        transcript.check_grinding(builder, parameters.lookup_grinding_bits, proof.grinding.lookup);
        lookup_alpha = Some(transcript.sample_cubic(builder));
        lookup_beta = Some(transcript.sample_cubic(builder));
        observe_cap(builder, transcript, &proof.permutation_cap);
        transcript.observe_all(builder, proof.terminals.iter().flatten().copied());
    }
    let constraint = transcript.sample_cubic(builder);

    observe_cap(builder, transcript, &proof.quotient_cap);
    transcript.check_grinding(builder, parameters.out_of_domain_grinding_bits, proof.grinding.out_of_domain);
    let zeta = transcript.sample_cubic(builder);

    transcript.observe_constants(builder, &shape.seeds.opening);
    transcript.observe_all(builder, proof.openings.iter().flatten().flatten().flatten().flatten().copied());
    transcript.check_grinding(builder, parameters.batch_grinding_bits, proof.grinding.batch);
    let batch = transcript.sample_cubic(builder);

    transcript.observe_constants(builder, &shape.seeds.fri);
    let folding = proof
        .round_caps
        .iter()
        .enumerate()
        .map(|(round, cap)| {
            observe_cap(builder, transcript, cap);
            let witness = proof.grinding.commit.get(round).copied();
            transcript.check_grinding(builder, parameters.commit_grinding_bits, witness);
            transcript.sample_cubic(builder)
        })
        .collect();
    transcript.observe_all(builder, proof.final_polynomial.iter().flatten().copied());
    transcript.check_grinding(builder, parameters.query_grinding_bits, proof.grinding.query);
    let indices = (0..parameters.queries).map(|_| transcript.sample_bits(builder, shape.index_bits())).collect();

    Challenges { lookup_alpha, lookup_beta, constraint, zeta, batch, folding, indices }
}

/// Checks that the claimed values are those of polynomials of low degree behind the commitments.
fn verify_openings(
    builder: &mut CircuitBuilder<F, D>,
    shape: &Shape,
    proof: &TableProof<Target>,
    challenges: &ChallengeTargets,
) {
    assert_outside_base_field(builder, challenges.zeta);
    let caps: Vec<&[DigestTarget]> =
        [&proof.main_cap, &proof.quotient_cap, &proof.preprocessed_cap, &proof.permutation_cap]
            .into_iter()
            .map(Vec::as_slice)
            .filter(|cap| !cap.is_empty())
            .collect();
    let reductions = fri::reduce_claims(builder, shape, &proof.openings, challenges);
    for (query, index) in proof.queries.iter().zip(&challenges.indices) {
        fri::verify_query(builder, shape, proof, &caps, &reductions, challenges, query, index);
    }
}

/// Refuses an out-of-domain point in the base field.
///
/// Every denominator of the verifier (of the selectors, of the quotients of the opening argument) is `ζ`, or `ζ` times
/// a root of unity, minus a base-field element. Outside the base field none of them is zero, so each quotient is
/// determined by its product constraint. Plonky3 refuses the points that make a denominator vanish; this refuses the
/// base field as a whole, which an honest proof meets with probability `2^−128`.
fn assert_outside_base_field(builder: &mut CircuitBuilder<F, D>, zeta: CubicTarget) {
    // (0, ζ₁, ζ₂) has an inverse.
    let zero = builder.zero();
    let one = builder.one();
    let part = CubicTarget([zero, zeta.0[1], zeta.0[2]]);
    let one = builder.cubic_from_base(one);
    // No multiple of zero is one: the product constraint inside fails for a zero denominator.
    builder.cubic_quotient(one, part);
}

/// Checks the constraints of every table at the out-of-domain point.
fn verify_tables(
    builder: &mut CircuitBuilder<F, D>,
    shape: &Shape,
    proof: &TableProof<Target>,
    challenges: &ChallengeTargets,
) {
    let zeta = challenges.zeta;
    let log_height_max = shape.tables.iter().map(|table| table.log_height).max().unwrap_or(0);
    // ζ^(2^k)
    let mut powers = vec![zeta];
    for _ in 0..log_height_max {
        let last = powers[powers.len() - 1];
        powers.push(builder.cubic_mul(last, last));
    }
    let prefixes = bus_prefixes(builder, shape, challenges);
    let mut terminals = proof.terminals.iter();
    for (index, table) in shape.tables.iter().enumerate() {
        let terminal: Vec<_> = if table.buses.is_empty() {
            Vec::new()
        } else {
            terminals.next().map(|t| CubicTarget(*t)).into_iter().collect()
        };
        verify_table(builder, shape, proof, challenges, index, table, &powers, &prefixes, &terminal);
    }
}

/// What separates each bus: `α + (i + 1) · β^width`.
fn bus_prefixes(builder: &mut CircuitBuilder<F, D>, shape: &Shape, challenges: &ChallengeTargets) -> Vec<CubicTarget> {
    let (Some(alpha), Some(beta)) = (challenges.lookup_alpha, challenges.lookup_beta) else { return Vec::new() };
    let gamma = builder.cubic_power(beta, shape.message_width_max as u64);
    let mut prefix = alpha;
    (0..shape.buses)
        .map(|_| {
            prefix = builder.cubic_add(prefix, gamma);
            prefix
        })
        .collect()
}

#[expect(clippy::too_many_arguments, reason = "the parts of one equation")]
fn verify_table(
    builder: &mut CircuitBuilder<F, D>,
    shape: &Shape,
    proof: &TableProof<Target>,
    challenges: &ChallengeTargets,
    index: usize,
    table: &TableShape,
    powers: &[CubicTarget],
    prefixes: &[CubicTarget],
    terminal: &[CubicTarget],
) {
    let zeta = challenges.zeta;
    let zero = builder.zero();
    let one = builder.one();
    let opened = |source, point: usize, width: usize| -> Vec<CubicTarget> {
        let values = shape
            .position(index, source)
            .and_then(|(batch, matrix)| proof.openings[batch][matrix].get(point))
            .map(|values| values.iter().map(|value| CubicTarget(*value)).collect::<Vec<_>>());
        // A row that no constraint reads is not opened; Plonky3 evaluates with zeros in its place.
        values.unwrap_or_else(|| vec![CubicTarget([zero; CUBIC]); width])
    };
    let main = [0, 1].map(|point| opened(Source::Main, point, table.width));
    let preprocessed = [0, 1].map(|point| opened(Source::Preprocessed, point, table.preprocessed_width));
    let permutation =
        [0, 1].map(|point| recompose(builder, &opened(Source::Permutation, point, CUBIC * table.auxiliary_width())));

    // Selectors. The denominators lie outside the base field with ζ, see `assert_outside_base_field`.
    let vanishing = builder.cubic_sub_base(powers[table.log_height], one);
    let last_point = builder.constant(to_plonky2(two_adic_generator(table.log_height).inverse()));
    let from_first = builder.cubic_sub_base(zeta, one);
    let from_last = builder.cubic_sub_base(zeta, last_point);
    let is_first = builder.cubic_quotient(vanishing, from_first);
    let is_last = builder.cubic_quotient(vanishing, from_last);

    let periodic: Vec<_> = table
        .periodic
        .iter()
        .map(|column| {
            let coefficients: Vec<Target> =
                interpolate(column).into_iter().map(|coefficient| builder.constant(to_plonky2(coefficient))).collect();
            let log_repetitions = table.log_height - p3_util::log2_strict_usize(column.len());
            builder.cubic_reduce_base(&coefficients, powers[log_repetitions])
        })
        .collect();
    let lookup_challenges: Vec<_> = match challenges.lookup_beta {
        Some(beta) => table.buses.iter().flat_map(|&bus| [prefixes[bus], beta]).collect(),
        None => Vec::new(),
    };

    let variables = Variables {
        main: [&main[0], &main[1]],
        preprocessed: [&preprocessed[0], &preprocessed[1]],
        permutation: [&permutation[0], &permutation[1]],
        periodic: &periodic,
        public_values: &proof.public_values[index],
        challenges: &lookup_challenges,
        terminals: terminal,
        selectors: [is_first, is_last, from_last],
    };
    let mut values = Evaluator::new(builder, &variables).constraints(&table.constraints);

    // Horner over the constraints in order: the first has the highest power.
    values.reverse();
    let folded = builder.cubic_reduce(&values, challenges.constraint);
    let quotient = recompose_quotient(builder, shape, proof, index, table, powers[table.log_height]);
    let expected = builder.cubic_mul(quotient, vanishing);
    builder.cubic_connect(folded, expected);
}

/// The extension columns behind committed base-field columns: `e₀ + e₁ X + e₂ X²` with cubic `eᵢ`.
fn recompose(builder: &mut CircuitBuilder<F, D>, columns: &[CubicTarget]) -> Vec<CubicTarget> {
    let x = Challenge::from_basis_coefficients_fn(|i| Val::from_bool(i == 1));
    let x = builder.cubic_constant(x);
    columns
        .chunks_exact(CUBIC)
        .map(|limbs| {
            let upper = builder.cubic_mul_add(limbs[2], x, limbs[1]);
            builder.cubic_mul_add(upper, x, limbs[0])
        })
        .collect()
}

/// The quotient at `ζ` from its chunks: chunk `i` is weighted by the polynomial that is one on its coset and zero on
/// the others.
fn recompose_quotient(
    builder: &mut CircuitBuilder<F, D>,
    shape: &Shape,
    proof: &TableProof<Target>,
    index: usize,
    table: &TableShape,
    zeta_power: CubicTarget,
) -> CubicTarget {
    let chunks = table.quotient_chunks();
    let generator = two_adic_generator(table.log_height + table.log_quotient_chunks);
    let shifts: Vec<Val> = (0..chunks).map(|i| coset_shift() * generator.exp_u64(i as u64)).collect();
    // (ζ / shift)^n − 1 and its value on another coset.
    let inverse_power = |shift: Val| shift.inverse().exp_power_of_2(table.log_height);
    let mut total: Option<CubicTarget> = None;
    for chunk in 0..chunks {
        let (batch, matrix) =
            shape.position(index, Source::Quotient(chunk)).expect("every chunk of every table is committed to");
        let values: Vec<_> = proof.openings[batch][matrix][0].iter().map(|value| CubicTarget(*value)).collect();
        let mut value = recompose(builder, &values)[0];
        for other in (0..chunks).filter(|&other| other != chunk) {
            let inverse = inverse_power(shifts[other]);
            let on_chunk = shifts[chunk].exp_power_of_2(table.log_height) * inverse - Val::ONE;
            let scale = on_chunk.inverse();
            let scaled = builder.cubic_scale_constant(zeta_power, inverse * scale);
            let scale = builder.constant(to_plonky2(scale));
            let weight = builder.cubic_sub_base(scaled, scale);
            value = builder.cubic_mul(value, weight);
        }
        total = Some(match total {
            Some(total) => builder.cubic_add(total, value),
            None => value,
        });
    }
    total.expect("a table has at least one chunk")
}

/// Coefficients of the polynomial with these values on the subgroup of their number.
fn interpolate(values: &[Val]) -> Vec<Val> {
    let size = values.len();
    let inverse_root = two_adic_generator(p3_util::log2_strict_usize(size)).inverse();
    let scale = Val::from_usize(size).inverse();
    (0..size)
        .map(|k| {
            let step = inverse_root.exp_u64(k as u64);
            // Horner in ω^(−k)
            values.iter().rev().fold(Val::ZERO, |sum, &value| sum * step + value) * scale
        })
        .collect()
}

/// Checks that what the tables sent over all buses cancels.
fn verify_terminals(builder: &mut CircuitBuilder<F, D>, proof: &TableProof<Target>) {
    if proof.terminals.is_empty() {
        return;
    }
    for limb in 0..CUBIC {
        let sum = builder.add_many(proof.terminals.iter().map(|terminal| terminal[limb]));
        builder.assert_zero(sum);
    }
}
