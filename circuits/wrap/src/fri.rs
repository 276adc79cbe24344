//! The FRI verifier: openings are combined, folded and compared with the final polynomial, at every query.
//!
//! **Claim.** For every query index: the opened leaves lie under their caps at the index; the combination of the initial
//! leaves equals the evaluation that the first folded coset has at the index; each folded coset's interpolant at β equals the
//! evaluation in the next coset; the last equals the final polynomial's value.
//!
//! **Where arithmetic is saved.** Nothing is divided: a quotient that has to equal a known evaluation is cross-multiplied, and
//! the difference is shown to be zero modulo p by one quotient's bits. A coset's interpolant is not summed by barycentric
//! weights, which depend on the query: its coefficients are an inverse transform of the values, linear with constants and so
//! free, and it is evaluated at β divided by the coset's shift.

use ark_bn254::Fr;
use plonky2::field::types::{Field, PrimeField64};

use crate::circuit::{Circuit, Integer, Linear, Synthesis};
use crate::goldilocks::{Ext, F, base_powers, below_power, powers, reduce, residue_witness};
use crate::hash::{enforce_merkle_path, hash_leaf};
use crate::inner::InnerCircuit;
use crate::plonk::Openings;
use crate::values::{OpenedTree, QueryValues};

/// Consecutive powers of α per block: a block's sum over base elements needs no reduction before the block's own power.
const BLOCK: usize = 16;

/// What all queries share.
pub(crate) struct FriContext<'a> {
    inner: &'a InnerCircuit,
    caps: Vec<Vec<Linear>>,
    fold_caps: Vec<Vec<Linear>>,
    fold_points: Vec<Ext>,
    final_polynomial: Vec<Ext>,
    zeta: Ext,
    /// ζ + gζ and gζ², for (x − ζ)(x − gζ).
    zeta_sum: Ext,
    zeta_product: Ext,
    small_powers: Vec<Ext>,
    block_powers: Vec<Ext>,
    /// α to the number of polynomials opened at gζ, and that times gζ.
    shift: Ext,
    shift_zeta_next: Ext,
    /// `Σ αʲ·opening` of either batch.
    combined_at_point: Ext,
    combined_next: Ext,
}

/// What the verifier has before the queries.
pub(crate) struct FriInput {
    /// Constants and sigmas, wires, products, quotients.
    pub(crate) caps: Vec<Vec<Linear>>,
    pub(crate) fold_caps: Vec<Vec<Linear>>,
    pub(crate) fold_points: Vec<Ext>,
    pub(crate) final_polynomial: Vec<Ext>,
    pub(crate) zeta: Ext,
    pub(crate) alpha: Ext,
}

impl<'a> FriContext<'a> {
    pub(crate) fn new(
        circuit: &mut Circuit,
        inner: &'a InnerCircuit,
        openings: &Openings,
        input: FriInput,
    ) -> Synthesis<Self> {
        let count: usize = inner.oracle_widths().iter().sum();
        let next_count = openings.zs_next.len();
        let small_powers = powers(circuit, &input.alpha, BLOCK + 1)?;
        let block_powers = powers(circuit, &small_powers[BLOCK], count.div_ceil(BLOCK))?;

        let generator = F::primitive_root_of_unity(inner.common.degree_bits());
        let zeta_next = input.zeta.scale(generator.to_canonical_u64()).reduce(circuit)?;
        let zeta_sum = input.zeta.add(&zeta_next).reduce(circuit)?;
        let zeta_product = input.zeta.multiply(circuit, &zeta_next)?.reduce(circuit)?;
        // At most four challenges, so the next batch is shorter than a block.
        let shift = small_powers[next_count].clone();
        let shift_zeta_next = shift.multiply(circuit, &zeta_next)?.reduce(circuit)?;

        let mut context = Self {
            inner,
            caps: input.caps,
            fold_caps: input.fold_caps,
            fold_points: input.fold_points,
            final_polynomial: input.final_polynomial,
            zeta: input.zeta,
            zeta_sum,
            zeta_product,
            small_powers,
            block_powers,
            shift,
            shift_zeta_next,
            combined_at_point: Ext::zero(),
            combined_next: Ext::zero(),
        };
        let at_point: Vec<Ext> = openings.at_point().cloned().collect();
        context.combined_at_point = context.combine(circuit, &at_point)?;
        context.combined_next = context.combine(circuit, &openings.zs_next)?;
        Ok(context)
    }

    /// `Σ αʲ·valueⱼ`, reduced.
    fn combine(&self, circuit: &mut Circuit, values: &[Ext]) -> Synthesis<Ext> {
        let mut sum = Ext::zero();
        for (block, power) in values.chunks(BLOCK).zip(&self.block_powers) {
            let mut inner = Ext::zero();
            for (value, power) in block.iter().zip(&self.small_powers) {
                inner = inner.add(&value.multiply(circuit, power)?);
            }
            sum = sum.add(&inner.multiply(circuit, power)?);
        }
        sum.reduce(circuit)
    }

    /// The same for base elements.
    fn combine_base(&self, circuit: &mut Circuit, values: &[Integer]) -> Synthesis<Ext> {
        let mut sum = Ext::zero();
        for (block, power) in values.chunks(BLOCK).zip(&self.block_powers) {
            let mut parts = Vec::with_capacity(BLOCK);
            for (value, power) in block.iter().zip(&self.small_powers) {
                parts.push(power.multiply_base(circuit, value)?);
            }
            let inner = Ext::sum(parts.iter().map(|part| (1, part)));
            sum = sum.add(&inner.multiply(circuit, power)?);
        }
        sum.reduce(circuit)
    }

    /// One query, at the index whose bits are given, least significant first.
    pub(crate) fn enforce_query(
        &self,
        circuit: &mut Circuit,
        index_bits: &[Linear],
        values: &QueryValues,
    ) -> Synthesis<()> {
        let parameters = &self.inner.common.fri_params;
        let lde_bits = parameters.lde_bits();
        assert_eq!(index_bits.len(), lde_bits);
        circuit.enter("query: Merkle paths");
        let cap_flags = circuit.one_hot(&index_bits[lde_bits - parameters.config.cap_height..])?;

        let mut leaves = Vec::new();
        for (tree, cap) in values.initial.iter().zip(&self.caps) {
            leaves.push(open(circuit, tree, index_bits, cap, &cap_flags)?);
        }

        circuit.enter("query: points");
        let point = domain_point(circuit, index_bits, 0, lde_bits, F::MULTIPLICATIVE_GROUP_GENERATOR, false)?;
        let mut shift = F::MULTIPLICATIVE_GROUP_GENERATOR;
        let mut consumed = 0;
        // What the evaluation in the coset at hand has to equal; before the first coset it is a fraction, checked apart.
        let mut folded: Option<Ext> = None;
        for (step, tree) in values.steps.iter().enumerate() {
            let arity_bits = parameters.reduction_arity_bits[step];
            let (within, above) = index_bits[consumed..].split_at(arity_bits);
            circuit.enter("query: Merkle paths");
            let leaf = open(circuit, tree, above, &self.fold_caps[step], &cap_flags)?;
            let coset: Vec<Ext> = leaf.chunks(2).map(|pair| Ext([pair[0].clone(), pair[1].clone()])).collect();

            circuit.enter("query: folding");
            let flags = circuit.one_hot(within)?;
            let evaluation = select(circuit, &flags, &coset)?;
            match &folded {
                None => self.enforce_combination(circuit, &leaves, &point, &evaluation)?,
                Some(folded) => folded.sub(&evaluation).enforce_zero(circuit)?,
            }
            // The coset is {shift · g^i}: the index without its low bits, at the exponents that those bits leave.
            let inverse = domain_point(circuit, above, arity_bits, lde_bits - consumed, shift.inverse(), true)?;
            folded = Some(self.fold(circuit, &coset, arity_bits, step, &inverse)?);
            shift = shift.exp_power_of_2(arity_bits);
            consumed += arity_bits;
        }

        circuit.enter("query: final polynomial");
        let remaining = &index_bits[consumed..];
        let last_point = domain_point(circuit, remaining, 0, lde_bits - consumed, shift, false)?;
        let expected = self.final_value(circuit, &last_point)?;
        match &folded {
            None => {
                let expected = expected.reduce(circuit)?;
                self.enforce_combination(circuit, &leaves, &point, &expected)
            }
            Some(folded) => folded.sub(&expected).enforce_zero(circuit),
        }
    }

    /// `evaluation = αᵐ·(Σ αʲeⱼ − o)/(x − ζ) + (Σ αʲe′ⱼ − o′)/(x − gζ)`, multiplied out.
    ///
    /// The denominators are not zero: x is in the base field and ζ, and with it gζ, is not (checked with the vanishing
    /// identity).
    fn enforce_combination(
        &self,
        circuit: &mut Circuit,
        leaves: &[Vec<Integer>],
        point: &Integer,
        evaluation: &Ext,
    ) -> Synthesis<()> {
        circuit.enter("query: combination");
        let at_point: Vec<Integer> = leaves.iter().flatten().cloned().collect();
        let next = &leaves[2][..self.inner.common.config.num_challenges];
        let x = Ext::from_base(point.clone());
        let difference = self.combine_base(circuit, &at_point)?.sub(&self.combined_at_point);
        let shifted = self.shift.multiply_base(circuit, point)?.sub(&self.shift_zeta_next);
        let first = difference.multiply(circuit, &shifted)?;
        let next_difference = self.combine_base(circuit, next)?.sub(&self.combined_next);
        let second = next_difference.multiply(circuit, &x.sub(&self.zeta))?;
        let square = Ext::from_base(circuit.multiply_integers(point, point)?);
        let denominator = square.sub(&self.zeta_sum.multiply_base(circuit, point)?).add(&self.zeta_product);
        let product = denominator.multiply(circuit, evaluation)?;
        product.sub(&first).sub(&second).enforce_zero(circuit)?;
        circuit.enter("query: folding");
        Ok(())
    }

    /// The interpolant of a coset's evaluations, at β. `inverse_shift` is the inverse of the coset's first point.
    fn fold(
        &self,
        circuit: &mut Circuit,
        coset: &[Ext],
        arity_bits: usize,
        step: usize,
        inverse_shift: &Integer,
    ) -> Synthesis<Ext> {
        let arity = 1usize << arity_bits;
        let generator_inverse = F::primitive_root_of_unity(arity_bits).inverse();
        let arity_inverse = F::from_canonical_usize(arity).inverse();
        // Stored at bit-reversed positions: position i holds the value at shift·g^reverse(i).
        let exponent = |position: usize| position.reverse_bits() >> (usize::BITS as usize - arity_bits);
        let coefficients: Vec<Ext> = (0..arity)
            .map(|power| {
                Ext::sum(coset.iter().enumerate().map(|(position, value)| {
                    let weight = generator_inverse.exp_u64((exponent(position) * power) as u64) * arity_inverse;
                    (weight.to_canonical_u64(), value)
                }))
            })
            .collect();
        let argument = self.fold_points[step].multiply_base(circuit, inverse_shift)?.reduce(circuit)?;
        evaluate_polynomial(circuit, &coefficients, &argument)
    }

    /// The final polynomial at a base point.
    fn final_value(&self, circuit: &mut Circuit, point: &Integer) -> Synthesis<Ext> {
        let block = block_size(self.final_polynomial.len());
        let small = base_powers(circuit, point, block + 1)?;
        let blocks = self.final_polynomial.len().div_ceil(block);
        let large = base_powers(circuit, &small[block], blocks)?;
        let mut sum = Ext::zero();
        for (coefficients, power) in self.final_polynomial.chunks(block).zip(&large) {
            let mut inner = Ext::zero();
            for (coefficient, power) in coefficients.iter().zip(&small) {
                inner = inner.add(&coefficient.multiply_base(circuit, power)?);
            }
            sum = sum.add(&inner.multiply_base(circuit, power)?);
        }
        Ok(sum)
    }
}

/// About the square root, so that small and large powers together are few.
fn block_size(length: usize) -> usize {
    1 << length.ilog2().div_ceil(2)
}

/// `Σ coefficientₖ·zᵏ` for coefficients of up to 133 bits.
fn evaluate_polynomial(circuit: &mut Circuit, coefficients: &[Ext], z: &Ext) -> Synthesis<Ext> {
    let block = block_size(coefficients.len());
    let blocks = coefficients.len().div_ceil(block);
    let small = powers(circuit, z, if blocks > 1 { block + 1 } else { block })?;
    let large = if blocks > 1 { powers(circuit, &small[block], blocks)? } else { vec![Ext::one()] };
    let mut sum = Ext::zero();
    for (coefficients, power) in coefficients.chunks(block).zip(&large) {
        let mut inner = Ext::zero();
        for (coefficient, power) in coefficients.iter().zip(&small) {
            inner = inner.add(&coefficient.multiply(circuit, power)?);
        }
        sum = sum.add(&inner.multiply(circuit, power)?);
    }
    Ok(sum)
}

/// Witnesses a leaf, proves its elements to be below 2⁶⁴, and its path.
fn open(
    circuit: &mut Circuit,
    tree: &OpenedTree,
    index_bits: &[Linear],
    cap: &[Linear],
    cap_flags: &[Linear],
) -> Synthesis<Vec<Integer>> {
    circuit.enter("query: leaf ranges");
    let leaf = tree.leaf.iter().map(|element| residue_witness(circuit, *element)).collect::<Synthesis<Vec<_>>>()?;
    circuit.enter("query: leaf hashes");
    let digest = hash_leaf(circuit, &leaf)?;
    circuit.enter("query: Merkle paths");
    let siblings = tree.siblings.iter().map(|sibling| circuit.witness(*sibling)).collect::<Synthesis<Vec<_>>>()?;
    enforce_merkle_path(circuit, digest, index_bits, &siblings, cap, cap_flags)?;
    Ok(leaf)
}

/// The entry of a list of residues that a one-hot vector points at: one of them, so within their bounds.
fn select(circuit: &mut Circuit, flags: &[Linear], entries: &[Ext]) -> Synthesis<Ext> {
    let mut coordinates = Vec::with_capacity(2);
    for coordinate in [0, 1] {
        let list: Vec<Linear> = entries.iter().map(|entry| entry.0[coordinate].linear().clone()).collect();
        coordinates.push(below_power(circuit.look_up(flags, &list)?, 64));
    }
    let [low, high] = <[Integer; 2]>::try_from(coordinates).unwrap_or_else(|_| unreachable!("two coordinates"));
    Ok(Ext([low, high]))
}

/// `shift·Π ω^(±2^(domain_bits − 1 − position))` over the set bits, whose positions start at `first_position`.
///
/// That is the point of a coset of the domain of size `2^domain_bits` at a bit-reversed index. Four bits at a time choose
/// from a table of constants; the chosen entry is below 2⁶⁴ because exactly one flag of the four bits is set.
fn domain_point(
    circuit: &mut Circuit,
    bits: &[Linear],
    first_position: usize,
    domain_bits: usize,
    shift: F,
    inverted: bool,
) -> Synthesis<Integer> {
    let root = F::primitive_root_of_unity(domain_bits);
    let root = if inverted { root.inverse() } else { root };
    let mut start = shift;
    let mut factors: Vec<Integer> = Vec::new();
    for (group, bits) in bits.chunks(4).enumerate() {
        let flags = circuit.one_hot(bits)?;
        let entries: Vec<Linear> = (0..flags.len())
            .map(|choice| {
                let exponent: u64 = (0..bits.len())
                    .filter(|bit| choice >> bit & 1 == 1)
                    .map(|bit| 1u64 << (domain_bits - 1 - (first_position + 4 * group + bit)))
                    .sum();
                Linear::constant(Fr::from((start * root.exp_u64(exponent)).to_canonical_u64()))
            })
            .collect();
        start = F::ONE;
        factors.push(below_power(circuit.look_up(&flags, &entries)?, 64));
    }
    let mut product = Integer::constant(start.to_canonical_u64());
    for pair in factors.chunks(2) {
        for factor in pair {
            product = circuit.multiply_integers(&product, factor)?;
        }
        product = reduce(circuit, &product)?;
    }
    Ok(product)
}
