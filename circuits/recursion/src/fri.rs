//! The opening argument in the circuit: claims are batched into one codeword per height, and FRI tests the codewords.

use std::collections::BTreeMap;

use plonky2::field::types::Field as _;
use plonky2::iop::target::{BoolTarget, Target};
use plonky2::plonk::circuit_builder::CircuitBuilder;

use crate::cubic::{CubicBuilder, CubicTarget};
use crate::field::{CUBIC, D, F, coset_shift, to_plonky2, two_adic_generator};
use crate::gates::{CustomGate, FriFold};
use crate::hashing::{DigestTarget, MerkleOpening, Poseidon2Builder};
use crate::proof::{BatchOpening, Query, RoundOpening, TableProof};
use crate::shape::Shape;
use crate::verifier::ChallengeTargets;

/// Powers of a challenge, made as they are asked for.
struct Powers {
    base: CubicTarget,
    known: BTreeMap<usize, CubicTarget>,
}

impl Powers {
    fn new(builder: &mut CircuitBuilder<F, D>, base: CubicTarget) -> Self {
        let one = builder.one();
        Self { base, known: BTreeMap::from([(0, builder.cubic_from_base(one)), (1, base)]) }
    }

    fn get(&mut self, builder: &mut CircuitBuilder<F, D>, exponent: usize) -> CubicTarget {
        if let Some(&power) = self.known.get(&exponent) {
            return power;
        }
        let power = if exponent.is_power_of_two() {
            let half = self.get(builder, exponent / 2);
            builder.cubic_mul(half, half)
        } else {
            // Exponents come in ladders, so the part without the lowest set bit is often known.
            let lowest = exponent & exponent.wrapping_neg();
            let rest = self.get(builder, exponent - lowest);
            let lowest = self.get(builder, lowest);
            builder.cubic_mul(rest, lowest)
        };
        debug_assert_ne!(power, self.base);
        self.known.insert(exponent, power);
        power
    }
}

/// Consecutive matrices of one height whose rows are reduced in one sum.
struct Run {
    /// The matrices, as batch and position.
    matrices: Vec<(usize, usize)>,
    /// For each point the run is opened at, the power of the batching challenge its first column has there.
    weights: Vec<CubicTarget>,
}

/// The claims about matrices of one height.
struct HeightClaims {
    runs: Vec<Run>,
    /// For each point, the point and the batched claimed value.
    points: Vec<(CubicTarget, CubicTarget)>,
}

/// The claims of a proof.
pub(crate) struct Claims {
    by_height: BTreeMap<usize, HeightClaims>,
    /// For each round of arity `2^a`, `β^(2^a)`: the weight with which a codeword joins after it.
    joining_weights: Vec<CubicTarget>,
}

/// Batches the claimed values.
///
/// Each height has its own ladder of powers of `α`: matrices in order, points within a matrix, columns within a point.
/// A matrix opened at two points appears twice in the ladder, so its row is reduced once and weighted twice.
pub(crate) fn reduce_claims(
    builder: &mut CircuitBuilder<F, D>,
    shape: &Shape,
    openings: &[Vec<Vec<Vec<[Target; CUBIC]>>>],
    challenges: &ChallengeTargets,
) -> Claims {
    let zero = builder.zero();
    let nothing = CubicTarget([zero; CUBIC]);
    let mut powers = Powers::new(builder, challenges.batch);
    let mut heights: Vec<usize> = shape.batches.iter().flatten().map(|matrix| matrix.log_height).collect();
    heights.sort_unstable();
    heights.dedup();

    let by_height = heights
        .into_iter()
        .map(|log_height| {
            let mut ladder_length = 0;
            let mut runs: Vec<Run> = Vec::new();
            // Whether the last run may take another matrix: both are opened at one point only.
            let mut may_extend = false;
            for (batch, matrices) in shape.batches.iter().enumerate() {
                for (position, matrix) in matrices.iter().enumerate() {
                    if matrix.log_height != log_height {
                        continue;
                    }
                    match runs.last_mut() {
                        Some(run) if may_extend && matrix.points == 1 => run.matrices.push((batch, position)),
                        _ => {
                            let weights = (0..matrix.points)
                                .map(|point| powers.get(builder, ladder_length + point * matrix.width))
                                .collect();
                            runs.push(Run { matrices: vec![(batch, position)], weights });
                        }
                    }
                    may_extend = matrix.points == 1;
                    ladder_length += matrix.points * matrix.width;
                }
            }
            let log_rows = log_height - shape.parameters.log_blowup;
            let next = builder.cubic_scale_constant(challenges.zeta, two_adic_generator(log_rows));
            let points_count = runs.iter().map(|run| run.weights.len()).max().unwrap_or(0);
            let points = [challenges.zeta, next]
                .into_iter()
                .enumerate()
                .take(points_count)
                .map(|(index, point)| {
                    let claimed = runs.iter().filter(|run| index < run.weights.len()).fold(nothing, |sum, run| {
                        let values: Vec<CubicTarget> = run
                            .matrices
                            .iter()
                            .flat_map(|&(batch, position)| &openings[batch][position][index])
                            .map(|value| CubicTarget(*value))
                            .collect();
                        let reduced = builder.cubic_reduce(&values, challenges.batch);
                        builder.cubic_mul_add(reduced, run.weights[index], sum)
                    });
                    (point, claimed)
                })
                .collect();
            (log_height, HeightClaims { runs, points })
        })
        .collect();
    let joining_weights = challenges
        .folding
        .iter()
        .zip(&shape.schedule)
        .map(|(&beta, &log_arity)| builder.cubic_power_of_two(beta, log_arity))
        .collect();
    Claims { by_height, joining_weights }
}

/// The value of the batched codeword of one height at the point `x` of a query.
fn batched_value(
    builder: &mut CircuitBuilder<F, D>,
    claims: &HeightClaims,
    query: &Query<Target>,
    challenges: &ChallengeTargets,
    x: Target,
) -> CubicTarget {
    let zero = builder.zero();
    let nothing = CubicTarget([zero; CUBIC]);
    let mut opened = vec![nothing; claims.points.len()];
    for run in &claims.runs {
        let row: Vec<Target> = run
            .matrices
            .iter()
            .flat_map(|&(batch, position)| query.batches[batch].rows[position].iter().copied())
            .collect();
        let reduced = builder.cubic_reduce_base(&row, challenges.batch);
        for (sum, &weight) in opened.iter_mut().zip(&run.weights) {
            *sum = builder.cubic_mul_add(reduced, weight, *sum);
        }
    }
    // Σ (claimed − opened) / (z − x). The denominators are not zero: z lies outside the base field, x inside.
    let quotients: Vec<CubicTarget> = claims
        .points
        .iter()
        .zip(opened)
        .map(|(&(point, claimed), opened)| {
            let distance = builder.cubic_sub_base(point, x);
            builder.cubic_difference_quotient(claimed, opened, distance)
        })
        .collect();
    quotients.into_iter().reduce(|x, y| builder.cubic_add(x, y)).unwrap_or(nothing)
}

/// Checks one query: the openings of all commitments, the folds, and the final polynomial.
#[expect(clippy::too_many_arguments, reason = "the parts of one query")]
pub(crate) fn verify_query(
    builder: &mut CircuitBuilder<F, D>,
    shape: &Shape,
    proof: &TableProof<Target>,
    caps: &[&[DigestTarget]],
    claims: &Claims,
    challenges: &ChallengeTargets,
    query: &Query<Target>,
    index: &[BoolTarget],
) {
    let log_height_max = index.len();
    // Every tree is indexed by the high bits of the one index, and the highest of all name the cap's entry.
    let cap_bits = &index[log_height_max - shape.parameters.cap_height..];
    let cap_position =
        cap_bits.iter().rev().fold(builder.zero(), |sum, bit| builder.mul_const_add(F::TWO, sum, bit.target));

    for (batch, matrices) in shape.batches.iter().enumerate() {
        let BatchOpening { rows, siblings } = &query.batches[batch];
        let rows = matrices.iter().zip(rows).map(|(matrix, row)| (matrix.log_height, row.as_slice())).collect();
        let index = &index[log_height_max - shape.batch_log_height(batch)..];
        builder.verify_opening(&MerkleOpening { rows, index, siblings, cap: caps[batch], cap_position });
    }

    // The point at which the query stands: the product of the generator of order 2^(i+1) over the set bits i.
    let mut point = builder.one();
    for (i, bit) in index.iter().enumerate() {
        let generator = to_plonky2(two_adic_generator(i + 1));
        point = builder.arithmetic(generator - F::ONE, F::ONE, point, bit.target, point);
    }
    let shift = to_plonky2(coset_shift());
    let value_at = |builder: &mut CircuitBuilder<F, D>, log_height: usize, point: Target| {
        claims.by_height.get(&log_height).map(|claims| {
            let x = builder.mul_const(shift, point);
            batched_value(builder, claims, query, challenges, x)
        })
    };

    let mut log_height = log_height_max;
    let mut remaining = index;
    let mut joined = 1;
    let mut value = value_at(builder, log_height, point).expect("the tallest matrix gives the index its bits");
    for (round, &log_arity) in shape.schedule.iter().enumerate() {
        let RoundOpening { row, siblings } = &query.rounds[round];
        let (low, high) = remaining.split_at(log_arity);
        let beta = challenges.folding[round];
        (value, point) = fold(builder, log_arity, row, low, value, beta, point);
        remaining = high;
        log_height -= log_arity;

        let flat: Vec<Target> = row.iter().flatten().copied().collect();
        let rows = vec![(log_height, flat.as_slice())];
        let cap = &proof.round_caps[round];
        builder.verify_opening(&MerkleOpening { rows, index: remaining, siblings, cap, cap_position });

        if let Some(joining) = value_at(builder, log_height, point) {
            joined += 1;
            value = builder.cubic_mul_add(claims.joining_weights[round], joining, value);
        }
    }
    // A height the folds stepped over would leave its claims untested.
    assert_eq!(joined, claims.by_height.len(), "the schedule stops at every height");
    let point = builder.cubic_from_base(point);
    let coefficients: Vec<_> = proof.final_polynomial.iter().map(|value| CubicTarget(*value)).collect();
    let expected = builder.cubic_reduce(&coefficients, point);
    builder.cubic_connect(value, expected);
}

/// One fold; see [`FriFold`].
fn fold(
    builder: &mut CircuitBuilder<F, D>,
    log_arity: usize,
    row: &[[Target; CUBIC]],
    bits: &[BoolTarget],
    value: CubicTarget,
    beta: CubicTarget,
    point: Target,
) -> (CubicTarget, Target) {
    let gate = FriFold::new(log_arity).expect("the shape allows only arities the gate has");
    let (gate_row, operation) = builder.find_slot(CustomGate(gate.clone()), &[], &[]);
    let mut connect = |wire: usize, targets: &[Target]| {
        for (offset, &target) in targets.iter().enumerate() {
            builder.connect(target, Target::wire(gate_row, wire + offset));
        }
    };
    for (i, entry) in row.iter().enumerate() {
        connect(gate.entry(operation, i), entry);
    }
    for (i, bit) in bits.iter().enumerate() {
        connect(gate.bit(operation, i), &[bit.target]);
    }
    connect(gate.value(operation), &value.0);
    connect(gate.beta(operation), &beta.0);
    connect(gate.point(operation), &[point]);
    let output = core::array::from_fn(|limb| Target::wire(gate_row, gate.output(operation) + limb));
    (CubicTarget(output), Target::wire(gate_row, gate.next_point(operation)))
}
