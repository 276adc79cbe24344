//! Gates that take numbers apart or choose by bits.

use crate::circuit::{Circuit, Integer, Synthesis};
use crate::gates::{Part, Row};
use crate::goldilocks::{Ext, F};
use plonky2::field::types::{Field, PrimeField64};

fn minus_constant(x: &Ext, constant: u64) -> Ext {
    x.sub(&Ext::from_base(Integer::constant(constant)))
}

/// `Σ limb·baseⁱ − sum`, then `Π (limb − digit)` for each limb.
pub(super) fn base_sum(circuit: &mut Circuit, limbs: usize, base: u64, row: &Row<'_>) -> Synthesis<Vec<Part>> {
    let limbs = &row.wires[1..1 + limbs];
    let base_element = F::from_canonical_u64(base);
    let weights = base_element.powers().map(|weight| weight.to_canonical_u64());
    let mut values = vec![Ext::sum(weights.zip(limbs)).sub(&row.wires[0])];
    for limb in limbs {
        let mut product = limb.clone();
        for digit in 1..base {
            product = product.multiply(circuit, &minus_constant(limb, digit))?;
        }
        values.push(product);
    }
    Ok(Part::plain(values))
}

/// `prev²·(bit·base + 1 − bit) − intermediate`, as `(base − 1)·[prev²·bit] + [prev² − intermediate]`.
pub(super) fn exponentiation(circuit: &mut Circuit, bits: usize, row: &Row<'_>) -> Synthesis<Vec<Part>> {
    let base = &row.wires[0];
    let output = &row.wires[1 + bits];
    let intermediate = |index: usize| &row.wires[2 + bits + index];
    let (mut scaled, mut plain) = (Vec::new(), Vec::new());
    for index in 0..bits {
        // Bits are stored little-endian and consumed from the top.
        let bit = &row.wires[bits - index];
        if index == 0 {
            scaled.push(bit.clone());
            plain.push(Ext::one().sub(intermediate(0)));
        } else {
            let square = intermediate(index - 1).square(circuit)?.reduce(circuit)?;
            scaled.push(square.multiply(circuit, bit)?);
            plain.push(square.sub(intermediate(index)));
        }
    }
    plain.push(output.sub(intermediate(bits - 1)));
    Ok(vec![Part { factor: Some(minus_constant(base, 1)), values: scaled }, Part { factor: None, values: plain }])
}

/// Bits are boolean; they spell the index; folding the list by them gives the claimed element; extra constants sit on wires.
pub(super) fn random_access(
    circuit: &mut Circuit,
    bits: usize,
    copies: usize,
    extra_constants: usize,
    row: &Row<'_>,
) -> Synthesis<Vec<Part>> {
    let size = 1 << bits;
    let routed = (2 + size) * copies + extra_constants;
    let mut values = Vec::new();
    for copy in 0..copies {
        let first = (2 + size) * copy;
        let (index, claimed) = (&row.wires[first], &row.wires[first + 1]);
        let bit_wires = &row.wires[routed + copy * bits..routed + (copy + 1) * bits];
        for bit in bit_wires {
            values.push(bit.multiply(circuit, &minus_constant(bit, 1))?);
        }
        values.push(Ext::sum((0..bits).map(|bit| 1 << bit).zip(bit_wires)).sub(index));

        // Two bits at a time: the four selectors of a pair cost one reduction, where folding by one bit after the other
        // would reduce every entry in between.
        let mut list = row.wires[first + 2..first + 2 + size].to_vec();
        for pair in bit_wires.chunks(2) {
            list = fold_pair(circuit, &list, pair)?;
        }
        values.push(list[0].sub(claimed));
    }
    for index in 0..extra_constants {
        values.push(row.constants[index].sub(&row.wires[(2 + size) * copies + index]));
    }
    Ok(Part::plain(values))
}

fn fold_pair(circuit: &mut Circuit, list: &[Ext], bits: &[Ext]) -> Synthesis<Vec<Ext>> {
    let both = match bits {
        [low, high] => Some(low.multiply(circuit, high)?.reduce(circuit)?),
        _ => None,
    };
    let mut folded = Vec::with_capacity(list.len() >> bits.len());
    for entries in list.chunks(1 << bits.len()) {
        // x₀ + low·(x₁ − x₀) + high·(x₂ − x₀) + both·(x₀ − x₁ − x₂ + x₃)
        let mut sum = entries[0].add(&bits[0].multiply(circuit, &entries[1].sub(&entries[0]))?);
        if let Some(both) = &both {
            sum = sum.add(&bits[1].multiply(circuit, &entries[2].sub(&entries[0]))?);
            let mixed = entries[0].add(&entries[3]).sub(&entries[1]).sub(&entries[2]);
            sum = sum.add(&both.multiply(circuit, &mixed)?);
        }
        folded.push(sum);
    }
    Ok(folded)
}
