//! Gates that multiply, add, hold constants, or fold a list by powers.

use crate::circuit::{Circuit, Synthesis};
use crate::gates::{Part, Row};
use crate::goldilocks::{Algebra, Ext};

/// `output − c₀·x·y − c₁·addend`, as three parts with factors 1, −c₀, −c₁.
pub(super) fn arithmetic(circuit: &mut Circuit, operations: usize, row: &Row<'_>) -> Synthesis<Vec<Part>> {
    let (mut outputs, mut products, mut addends) = (Vec::new(), Vec::new(), Vec::new());
    for wires in row.wires.chunks(4).take(operations) {
        products.push(wires[0].multiply(circuit, &wires[1])?);
        addends.push(wires[2].clone());
        outputs.push(wires[3].clone());
    }
    Ok(with_constants(row, outputs, products, addends))
}

fn with_constants(row: &Row<'_>, outputs: Vec<Ext>, products: Vec<Ext>, addends: Vec<Ext>) -> Vec<Part> {
    let negated = |constant: &Ext| Some(Ext::zero().sub(constant));
    vec![
        Part { factor: None, values: outputs },
        Part { factor: negated(&row.constants[0]), values: products },
        Part { factor: negated(&row.constants[1]), values: addends },
    ]
}

/// The same over the extension: wires come in pairs.
pub(super) fn arithmetic_extension(circuit: &mut Circuit, operations: usize, row: &Row<'_>) -> Synthesis<Vec<Part>> {
    let (mut outputs, mut products, mut addends) = (Vec::new(), Vec::new(), Vec::new());
    for operation in 0..operations {
        let first = 8 * operation;
        products.extend(row.algebra(first).multiply(circuit, &row.algebra(first + 2))?.0);
        addends.extend(row.algebra(first + 4).0);
        outputs.extend(row.algebra(first + 6).0);
    }
    Ok(with_constants(row, outputs, products, addends))
}

/// `output − c₀·x·y` over the extension.
pub(super) fn multiplication_extension(
    circuit: &mut Circuit,
    operations: usize,
    row: &Row<'_>,
) -> Synthesis<Vec<Part>> {
    let (mut outputs, mut products) = (Vec::new(), Vec::new());
    for operation in 0..operations {
        let first = 6 * operation;
        products.extend(row.algebra(first).multiply(circuit, &row.algebra(first + 2))?.0);
        outputs.extend(row.algebra(first + 4).0);
    }
    let factor = Some(Ext::zero().sub(&row.constants[0]));
    Ok(vec![Part { factor: None, values: outputs }, Part { factor, values: products }])
}

/// `constant − wire`.
pub(super) fn constant(count: usize, row: &Row<'_>) -> Vec<Part> {
    Part::plain((0..count).map(|index| row.constants[index].sub(&row.wires[index])).collect())
}

/// `wire − hash element`.
pub(super) fn public_input(row: &Row<'_>) -> Vec<Part> {
    let hash = row.public_inputs_hash.iter().cloned().map(Ext::from_base);
    Part::plain(row.wires.iter().zip(hash).map(|(wire, element)| wire.sub(&element)).collect())
}

/// `acc·α + coefficient − next acc` along a list; the last accumulator is the output.
fn fold(
    circuit: &mut Circuit,
    row: &Row<'_>,
    coefficients: Vec<Algebra>,
    first_accumulator: usize,
) -> Synthesis<Vec<Part>> {
    let alpha = row.algebra(2);
    let mut accumulator = row.algebra(4);
    let mut values = Vec::new();
    let last = coefficients.len() - 1;
    for (index, coefficient) in coefficients.iter().enumerate() {
        let next = if index == last { row.algebra(0) } else { row.algebra(first_accumulator + 2 * index) };
        let computed = accumulator.multiply(circuit, &alpha)?.add(coefficient);
        values.extend(computed.sub(&next).0);
        accumulator = next;
    }
    Ok(Part::plain(values))
}

/// Folds elements of the base field.
pub(super) fn reducing(circuit: &mut Circuit, coefficients: usize, row: &Row<'_>) -> Synthesis<Vec<Part>> {
    let list = (0..coefficients).map(|index| Algebra([row.wires[6 + index].clone(), Ext::zero()])).collect();
    fold(circuit, row, list, 6 + coefficients)
}

/// Folds elements of the extension.
pub(super) fn reducing_extension(circuit: &mut Circuit, coefficients: usize, row: &Row<'_>) -> Synthesis<Vec<Part>> {
    let list = (0..coefficients).map(|index| row.algebra(6 + 2 * index)).collect();
    fold(circuit, row, list, 6 + 2 * coefficients)
}
