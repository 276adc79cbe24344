//! The gate that evaluates the interpolant of values on a coset.

use plonky2::field::types::{Field, PrimeField64};

use crate::circuit::{Circuit, Synthesis};
use crate::gates::{Part, Row};
use crate::goldilocks::{Algebra, Ext, F};

/// The barycentric sum in steps of `degree − 1` points, with the sums and products in between on wires.
pub(super) fn coset_interpolation(
    circuit: &mut Circuit,
    subgroup_bits: usize,
    degree: usize,
    weights: &[F],
    row: &Row<'_>,
) -> Synthesis<Vec<Part>> {
    let points = 1 << subgroup_bits;
    let intermediates = (points - 2) / (degree - 1);
    let start_point = 1 + 2 * points;
    let start_value = start_point + 2;
    let start_intermediates = start_value + 2;
    let intermediate_sum = |index: usize| row.algebra(start_intermediates + 2 * index);
    let intermediate_product = |index: usize| row.algebra(start_intermediates + 2 * (intermediates + index));
    let shifted_point = row.algebra(start_intermediates + 4 * intermediates);

    let mut values: Vec<Ext> = Vec::new();
    let unshifted = shifted_point.multiply_ext(circuit, &row.wires[0])?;
    values.extend(row.algebra(start_point).sub(&unshifted).0);

    let domain = F::two_adic_subgroup(subgroup_bits);
    let step = |circuit: &mut Circuit, range: std::ops::Range<usize>, sum: Algebra, product: Algebra| {
        let (mut sum, mut product) = (sum, product);
        for point in range {
            let term = shifted_point.sub_base_constant(domain[point]);
            let value = row.algebra(1 + 2 * point);
            let weighted = value.multiply(circuit, &product)?.scale(weights[point].to_canonical_u64());
            // The sum stays unreduced until the next product needs it narrow.
            sum = sum.multiply(circuit, &term)?.add(&weighted);
            product = product.multiply(circuit, &term)?;
            if product.width() > 66 {
                product = product.reduce(circuit)?;
            }
        }
        Synthesis::Ok((sum, product))
    };

    let (mut sum, mut product) = step(circuit, 0..degree, Algebra::zero(), Algebra::one())?;
    for index in 0..intermediates {
        let (known_sum, known_product) = (intermediate_sum(index), intermediate_product(index));
        values.extend(known_sum.sub(&sum).0);
        values.extend(known_product.sub(&product).0);
        let start = 1 + (degree - 1) * (index + 1);
        let end = (start + degree - 1).min(points);
        (sum, product) = step(circuit, start..end, known_sum, known_product)?;
    }
    values.extend(row.algebra(start_value).sub(&sum).0);
    Ok(Part::plain(values))
}
