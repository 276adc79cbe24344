//! Poseidon over Goldilocks: the gate, its matrix gate, and the permutation that hashes public inputs.
//!
//! Between S-boxes everything is linear with *constants*, so a state is kept as a linear form over reduced values with its
//! coefficients multiplied out modulo p: however many rounds a value has passed through, it stays a sum of some thirty products
//! of 64 by 64 bits and is never reduced on the way.

use plonky2::field::types::{Field, PrimeField64};
use plonky2::hash::poseidon::{
    ALL_ROUND_CONSTANTS, HALF_N_FULL_ROUNDS, N_PARTIAL_ROUNDS, Poseidon, SPONGE_RATE, SPONGE_WIDTH,
};

use crate::circuit::{Circuit, Integer, Synthesis};
use crate::gates::{Part, Row};
use crate::goldilocks::{Algebra, Ext, F, reduce};

/// What an S-box acts on: opened extension elements in the gate, base-field elements in the hash of public inputs.
pub(crate) trait Lane: Clone {
    /// Whether a full round's results may stay unreduced until the next full round's inputs are reduced: 192 bits and eight
    /// for the matrix fit. Not in the gate, where a constraint is multiplied by a power of α before anything is reduced.
    const REDUCES_LATE: bool;

    fn constant(value: F) -> Self;
    fn weighted_sum<'a>(parts: impl IntoIterator<Item = (u64, &'a Self)>) -> Self
    where
        Self: 'a;
    fn multiply(&self, circuit: &mut Circuit, other: &Self) -> Synthesis<Self>;
    fn reduce(&self, circuit: &mut Circuit) -> Synthesis<Self>;
}

impl Lane for Ext {
    const REDUCES_LATE: bool = false;

    fn constant(value: F) -> Self {
        Ext::from_base(Integer::constant(value.to_canonical_u64()))
    }

    fn weighted_sum<'a>(parts: impl IntoIterator<Item = (u64, &'a Self)>) -> Self {
        Ext::sum(parts)
    }

    fn multiply(&self, circuit: &mut Circuit, other: &Self) -> Synthesis<Self> {
        Ext::multiply(self, circuit, other)
    }

    fn reduce(&self, circuit: &mut Circuit) -> Synthesis<Self> {
        Ext::reduce(self, circuit)
    }
}

impl Lane for Integer {
    const REDUCES_LATE: bool = true;

    fn constant(value: F) -> Self {
        Integer::constant(value.to_canonical_u64())
    }

    fn weighted_sum<'a>(parts: impl IntoIterator<Item = (u64, &'a Self)>) -> Self {
        Integer::sum(parts)
    }

    fn multiply(&self, circuit: &mut Circuit, other: &Self) -> Synthesis<Self> {
        circuit.multiply_integers(self, other)
    }

    fn reduce(&self, circuit: &mut Circuit) -> Synthesis<Self> {
        reduce(circuit, self)
    }
}

/// x⁷ of a reduced x, unreduced: x³ and x⁷ = x³·x³·x are products of three 64-bit numbers each.
fn seventh_power<L: Lane>(circuit: &mut Circuit, x: &L) -> Synthesis<L> {
    let cube = x.multiply(circuit, x)?.multiply(circuit, x)?.reduce(circuit)?;
    cube.multiply(circuit, &cube)?.multiply(circuit, x)
}

/// Linear forms over a growing list of values, reduced but between two full rounds.
struct State<L> {
    basis: Vec<L>,
    /// Per lane: a coefficient for each basis value, and a constant.
    lanes: Vec<(Vec<F>, F)>,
}

impl<L: Lane> State<L> {
    fn new(values: Vec<L>) -> Self {
        assert_eq!(values.len(), SPONGE_WIDTH);
        let lanes = (0..SPONGE_WIDTH)
            .map(|lane| ((0..SPONGE_WIDTH).map(|index| F::from_bool(index == lane)).collect(), F::ZERO))
            .collect();
        Self { basis: values, lanes }
    }

    /// The lane's value, unreduced.
    fn value(&self, lane: usize) -> L {
        let (coefficients, constant) = &self.lanes[lane];
        let one = L::constant(F::ONE);
        let parts = coefficients.iter().zip(&self.basis).map(|(factor, value)| (factor.to_canonical_u64(), value));
        L::weighted_sum(parts.chain([(constant.to_canonical_u64(), &one)]).filter(|(factor, _)| *factor != 0))
    }

    fn add_constant(&mut self, lane: usize, constant: u64) {
        self.lanes[lane].1 += F::from_canonical_u64(constant);
    }

    /// Replaces every lane.
    fn replace_all(&mut self, values: Vec<L>) {
        *self = Self::new(values);
    }

    /// Replaces one lane by a fresh reduced value.
    fn replace(&mut self, lane: usize, value: L) {
        let index = self.basis.len();
        self.basis.push(value);
        for (coefficients, _) in &mut self.lanes {
            coefficients.resize(index + 1, F::ZERO);
        }
        let mut coefficients = vec![F::ZERO; index + 1];
        coefficients[index] = F::ONE;
        self.lanes[lane] = (coefficients, F::ZERO);
    }

    /// Lane `i` becomes `Σ row(i)[j]·lane j`.
    fn apply(&mut self, entry: impl Fn(usize, usize) -> F) {
        let length = self.basis.len();
        self.lanes = (0..SPONGE_WIDTH)
            .map(|row| {
                let mut coefficients = vec![F::ZERO; length];
                let mut constant = F::ZERO;
                for (column, (from, from_constant)) in self.lanes.iter().enumerate() {
                    let factor = entry(row, column);
                    if factor.is_zero() {
                        continue;
                    }
                    coefficients.iter_mut().zip(from).for_each(|(sum, part)| *sum += factor * *part);
                    constant += factor * *from_constant;
                }
                (coefficients, constant)
            })
            .collect();
    }

    fn add_round_constants(&mut self, round: usize) {
        for lane in 0..SPONGE_WIDTH {
            self.add_constant(lane, ALL_ROUND_CONSTANTS[SPONGE_WIDTH * round + lane]);
        }
    }
}

/// Row `r` of the matrix is the circulant's shifted by `r`, plus the diagonal.
fn matrix_entry(row: usize, column: usize) -> u64 {
    let circulant = F::MDS_MATRIX_CIRC[(column + SPONGE_WIDTH - row) % SPONGE_WIDTH];
    circulant + if row == column { F::MDS_MATRIX_DIAG[row] } else { 0 }
}

/// Full rounds `rounds`, whose S-box inputs go through `pin`.
fn full_round<L: Lane>(
    circuit: &mut Circuit,
    state: &mut State<L>,
    round: usize,
    pin: &mut impl FnMut(&mut Circuit, L) -> Synthesis<L>,
) -> Synthesis<()> {
    state.add_round_constants(round);
    let raised = (0..SPONGE_WIDTH)
        .map(|lane| {
            let input = state.value(lane);
            // The very first inputs are sums of a few residues: narrow enough as they are.
            let input = if round == 0 { input } else { pin(circuit, input)? };
            let raised = seventh_power(circuit, &input)?;
            // What the partial rounds combine has to be narrow: their coefficients are not.
            if L::REDUCES_LATE && round + 1 != HALF_N_FULL_ROUNDS { Ok(raised) } else { raised.reduce(circuit) }
        })
        .collect::<Synthesis<Vec<_>>>()?;
    state.replace_all(raised);
    state.apply(|row, column| F::from_canonical_u64(matrix_entry(row, column)));
    Ok(())
}

/// The permutation. `pin` is handed the input of every S-box but the first layer's and returns what the S-box acts on: the
/// gate compares it with a wire and goes on with the wire, the hash reduces it.
fn permute<L: Lane>(
    circuit: &mut Circuit,
    inputs: Vec<L>,
    mut pin: impl FnMut(&mut Circuit, L) -> Synthesis<L>,
) -> Synthesis<State<L>> {
    let mut state = State::new(inputs);
    for round in 0..HALF_N_FULL_ROUNDS {
        full_round(circuit, &mut state, round, &mut pin)?;
    }
    for lane in 0..SPONGE_WIDTH {
        state.add_constant(lane, F::FAST_PARTIAL_FIRST_ROUND_CONSTANT[lane]);
    }
    state.apply(|row, column| match (row, column) {
        (0, 0) => F::ONE,
        (0, _) | (_, 0) => F::ZERO,
        _ => F::from_canonical_u64(F::FAST_PARTIAL_ROUND_INITIAL_MATRIX[column - 1][row - 1]),
    });
    for round in 0..N_PARTIAL_ROUNDS {
        let input = state.value(0);
        let input = pin(circuit, input)?;
        let raised = seventh_power(circuit, &input)?.reduce(circuit)?;
        state.replace(0, raised);
        if round + 1 < N_PARTIAL_ROUNDS {
            state.add_constant(0, F::FAST_PARTIAL_ROUND_CONSTANTS[round]);
        }
        state.apply(|row, column| match (row, column) {
            (0, 0) => F::from_canonical_u64(matrix_entry(0, 0)),
            (0, _) => F::from_canonical_u64(F::FAST_PARTIAL_ROUND_W_HATS[round][column - 1]),
            (_, 0) => F::from_canonical_u64(F::FAST_PARTIAL_ROUND_VS[round][row - 1]),
            _ => F::from_bool(row == column),
        });
    }
    let second_half = HALF_N_FULL_ROUNDS + N_PARTIAL_ROUNDS;
    for round in second_half..second_half + HALF_N_FULL_ROUNDS {
        full_round(circuit, &mut state, round, &mut pin)?;
    }
    Ok(state)
}

/// Wires of the gate: inputs, outputs, the swap flag, four differences, then the inputs of all S-boxes but the first layer's,
/// in the order in which they are computed.
const WIRE_OUTPUTS: usize = SPONGE_WIDTH;
const WIRE_SWAP: usize = 2 * SPONGE_WIDTH;
const WIRE_DELTAS: usize = WIRE_SWAP + 1;
const WIRE_SBOX_INPUTS: usize = WIRE_DELTAS + 4;

/// The Poseidon gate: one permutation with an optional swap of the first two quadruples.
pub(super) fn gate(circuit: &mut Circuit, row: &Row<'_>) -> Synthesis<Vec<Part>> {
    let wires = row.wires;
    let swap = &wires[WIRE_SWAP];
    let deltas = &wires[WIRE_DELTAS..WIRE_DELTAS + 4];
    let mut values = vec![swap.multiply(circuit, &swap.sub(&Ext::one()))?];
    for lane in 0..4 {
        let difference = swap.multiply(circuit, &wires[lane + 4].sub(&wires[lane]))?;
        values.push(difference.sub(&deltas[lane]));
    }
    let inputs = (0..SPONGE_WIDTH)
        .map(|lane| match lane {
            0..4 => wires[lane].add(&deltas[lane]),
            4..8 => wires[lane].sub(&deltas[lane - 4]),
            _ => wires[lane].clone(),
        })
        .collect();
    let mut sbox_inputs = wires[WIRE_SBOX_INPUTS..].iter();
    let state = permute(circuit, inputs, |_, computed| {
        let wire = sbox_inputs.next().expect("the gate has a wire for every S-box but the first layer's");
        values.push(computed.sub(wire));
        Ok(wire.clone())
    })?;
    for lane in 0..SPONGE_WIDTH {
        values.push(state.value(lane).sub(&wires[WIRE_OUTPUTS + lane]));
    }
    Ok(Part::plain(values))
}

/// The matrix alone, over the extension: `output − M·input`.
pub(super) fn mds_gate(row: &Row<'_>) -> Vec<Part> {
    let mut values = Vec::new();
    for lane in 0..SPONGE_WIDTH {
        let inputs: Vec<Algebra> = (0..SPONGE_WIDTH).map(|column| row.algebra(2 * column)).collect();
        let output = row.algebra(2 * (SPONGE_WIDTH + lane));
        for coordinate in [0, 1] {
            let computed = Ext::sum(
                inputs.iter().enumerate().map(|(column, input)| (matrix_entry(lane, column), &input.0[coordinate])),
            );
            values.push(output.0[coordinate].sub(&computed));
        }
    }
    Part::plain(values)
}

/// plonky2's `hash_no_pad` of 64-bit elements: the sponge overwrites its rate, eight elements at a time.
pub(crate) fn hash_no_pad(circuit: &mut Circuit, elements: &[Integer]) -> Synthesis<[Integer; 4]> {
    let mut lanes = vec![Integer::zero(); SPONGE_WIDTH];
    for block in elements.chunks(SPONGE_RATE) {
        lanes[..block.len()].clone_from_slice(block);
        let state = permute(circuit, lanes, |circuit, input| reduce(circuit, &input))?;
        lanes = (0..SPONGE_WIDTH).map(|lane| reduce(circuit, &state.value(lane))).collect::<Synthesis<_>>()?;
    }
    lanes.truncate(4);
    Ok(lanes.try_into().unwrap_or_else(|_| unreachable!("truncated to four")))
}
