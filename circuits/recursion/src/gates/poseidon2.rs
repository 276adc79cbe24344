//! One Poseidon2 permutation of width 12 per row, with an optional swap of the first two digests.
//!
//! The constants and matrices are Plonky3's, read from its crate. A permutation has 118 S-boxes beyond the first
//! linear layer; the first twelve are evaluated from the inputs (degree 7) and the input of every later one lies on a
//! wire, so every constraint has degree at most 7 and the row has exactly the 135 wires of plonky2's standard width.
//!
//! **Claim.** The outputs are the permutation of the inputs, after exchanging inputs 0–3 with 4–7 if `swap` is one.
//! `swap` is boolean. **Why.** S-box inputs are functions of earlier wires; each constraint determines one wire.

use p3_field::PrimeField64 as _;
use p3_goldilocks::{
    GOLDILOCKS_POSEIDON2_RC_12_EXTERNAL_FINAL, GOLDILOCKS_POSEIDON2_RC_12_EXTERNAL_INITIAL,
    GOLDILOCKS_POSEIDON2_RC_12_INTERNAL, MATRIX_DIAG_12_GOLDILOCKS,
};
use plonky2::field::types::Field;

use super::{Arithmetic, Constraints, RowWriter, native};
use crate::field::{DIGEST, F, WIDTH, to_plonky2};

const HALF_FULL_ROUNDS: usize = 4;
const PARTIAL_ROUNDS: usize = 22;

/// S-box inputs with a wire: full rounds 1–3, the partial rounds, full rounds 4–7.
const SBOX_WIRES: usize = (HALF_FULL_ROUNDS - 1) * WIDTH + PARTIAL_ROUNDS + HALF_FULL_ROUNDS * WIDTH;

/// Wire of the swap flag.
const SWAP: usize = 2 * WIDTH;
const DELTA: usize = SWAP + 1;
const SBOX: usize = DELTA + DIGEST;

/// The gate; see the module.
#[derive(Clone, Debug, Default)]
pub struct Poseidon2Permutation;

impl Poseidon2Permutation {
    /// Wire of input `i`.
    #[must_use]
    pub const fn input(i: usize) -> usize {
        i
    }

    /// Wire of output `i`.
    #[must_use]
    pub const fn output(i: usize) -> usize {
        WIDTH + i
    }

    /// Wire of the swap flag.
    #[must_use]
    pub const fn swap() -> usize {
        SWAP
    }
}

/// The round constants and the diagonal of the internal matrix, as plonky2's elements.
struct Parameters {
    initial: [[F; WIDTH]; HALF_FULL_ROUNDS],
    internal: [F; PARTIAL_ROUNDS],
    last: [[F; WIDTH]; HALF_FULL_ROUNDS],
    diagonal: [F; WIDTH],
}

impl Parameters {
    fn new() -> Self {
        Self {
            initial: GOLDILOCKS_POSEIDON2_RC_12_EXTERNAL_INITIAL.map(|row| row.map(to_plonky2)),
            internal: GOLDILOCKS_POSEIDON2_RC_12_INTERNAL.map(to_plonky2),
            last: GOLDILOCKS_POSEIDON2_RC_12_EXTERNAL_FINAL.map(|row| row.map(to_plonky2)),
            diagonal: MATRIX_DIAG_12_GOLDILOCKS.map(|d| F::from_canonical_u64(d.as_canonical_u64())),
        }
    }

    fn get() -> &'static Self {
        static PARAMETERS: std::sync::LazyLock<Parameters> = std::sync::LazyLock::new(Parameters::new);
        &PARAMETERS
    }
}

fn sbox<A: Arithmetic>(a: &mut A, x: A::Value) -> A::Value {
    let x2 = a.mul(x, x);
    let x3 = a.mul(x2, x);
    let x4 = a.mul(x2, x2);
    a.mul(x3, x4)
}

/// The external matrix: `circ(2M, M, M)` with `M = circ(2, 3, 1, 1)`.
fn external<A: Arithmetic>(a: &mut A, state: &mut [A::Value; WIDTH]) {
    let two = F::TWO;
    for block in 0..WIDTH / 4 {
        let x: [_; 4] = core::array::from_fn(|i| state[4 * block + i]);
        let x01 = a.add(x[0], x[1]);
        let x23 = a.add(x[2], x[3]);
        let all = a.add(x01, x23);
        let all_1 = a.add(all, x[1]);
        let all_3 = a.add(all, x[3]);
        state[4 * block] = a.add(all_1, x01);
        state[4 * block + 1] = a.scale_add(two, x[2], all_1);
        state[4 * block + 2] = a.add(all_3, x23);
        state[4 * block + 3] = a.scale_add(two, x[0], all_3);
    }
    let sums: [_; 4] = core::array::from_fn(|i| {
        let sum = a.add(state[i], state[4 + i]);
        a.add(sum, state[8 + i])
    });
    for (i, value) in state.iter_mut().enumerate() {
        *value = a.add(*value, sums[i % 4]);
    }
}

/// The internal matrix: all ones plus a diagonal.
fn internal<A: Arithmetic>(a: &mut A, diagonal: &[F; WIDTH], state: &mut [A::Value; WIDTH]) {
    let mut sum = state[0];
    for value in &state[1..] {
        sum = a.add(sum, *value);
    }
    for (value, &d) in state.iter_mut().zip(diagonal) {
        *value = a.scale_add(d, *value, sum);
    }
}

/// The permutation. `checkpoint` sees the input of every S-box that has a wire and returns the value to go on with:
/// constraining, it compares with the wire and goes on with the wire; filling, it writes the wire.
fn permute<A: Arithmetic>(
    a: &mut A,
    state: &mut [A::Value; WIDTH],
    mut checkpoint: impl FnMut(&mut A, usize, A::Value) -> A::Value,
) {
    let parameters = Parameters::get();
    let mut wire = 0;
    let mut next = |a: &mut A, value| {
        let kept = checkpoint(a, wire, value);
        wire += 1;
        kept
    };

    external(a, state);
    for (round, constants) in parameters.initial.iter().enumerate() {
        for (value, &constant) in state.iter_mut().zip(constants) {
            let mut x = a.shift(*value, constant);
            if round > 0 {
                x = next(a, x);
            }
            *value = sbox(a, x);
        }
        external(a, state);
    }
    for &constant in &parameters.internal {
        let x = a.shift(state[0], constant);
        let x = next(a, x);
        state[0] = sbox(a, x);
        internal(a, &parameters.diagonal, state);
    }
    for constants in &parameters.last {
        for (value, &constant) in state.iter_mut().zip(constants) {
            let x = a.shift(*value, constant);
            let x = next(a, x);
            *value = sbox(a, x);
        }
        external(a, state);
    }
}

impl Constraints for Poseidon2Permutation {
    fn wires(&self) -> usize {
        SBOX + SBOX_WIRES
    }

    fn constants(&self) -> usize {
        0
    }

    fn constraints(&self) -> usize {
        1 + DIGEST + SBOX_WIRES + WIDTH
    }

    fn degree(&self) -> usize {
        7
    }

    fn operations(&self) -> usize {
        1
    }

    fn constrain<A: Arithmetic>(
        &self,
        a: &mut A,
        _constants: &[A::Value],
        wires: &[A::Value],
        emit: &mut impl FnMut(A::Value),
    ) {
        // A swap of 2 would mix the digests linearly instead of ordering them.
        let swap = wires[SWAP];
        let square = a.mul(swap, swap);
        emit(a.sub(square, swap));

        // delta = swap · (right − left) has a wire so that the S-boxes of round 0 see degree 1, not 2.
        let mut state: [_; WIDTH] = core::array::from_fn(|i| wires[i]);
        for i in 0..DIGEST {
            let delta = wires[DELTA + i];
            let difference = a.sub(wires[DIGEST + i], wires[i]);
            let product = a.mul(swap, difference);
            emit(a.sub(product, delta));
            state[i] = a.add(wires[i], delta);
            state[DIGEST + i] = a.sub(wires[DIGEST + i], delta);
        }

        permute(a, &mut state, |a, index, value| {
            emit(a.sub(value, wires[SBOX + index]));
            wires[SBOX + index]
        });
        for (i, &value) in state.iter().enumerate() {
            emit(a.sub(value, wires[WIDTH + i]));
        }
    }

    fn inputs(&self, _operation: usize) -> Vec<usize> {
        (0..WIDTH).chain([SWAP]).collect()
    }

    fn fill(&self, _operation: usize, _constants: &[F], row: &mut RowWriter<'_>) {
        let swap = row.get(SWAP);
        let mut state: [F; WIDTH] = core::array::from_fn(|i| row.get(i));
        for i in 0..DIGEST {
            let delta = swap * (state[DIGEST + i] - state[i]);
            row.set(DELTA + i, delta);
            state[i] += delta;
            state[DIGEST + i] -= delta;
        }
        permute(&mut native(), &mut state, |_, index, value| {
            row.set(SBOX + index, value);
            value
        });
        for (i, value) in state.into_iter().enumerate() {
            row.set(WIDTH + i, value);
        }
    }

    fn parameters(&self) -> Vec<usize> {
        Vec::new()
    }

    fn from_parameters(parameters: &[usize]) -> Option<Self> {
        parameters.is_empty().then_some(Self)
    }
}

#[cfg(test)]
mod tests {
    use p3_goldilocks::default_goldilocks_poseidon2_12;
    use p3_symmetric::Permutation as _;
    use plonky2::field::types::Sample;

    use super::*;
    use crate::field::to_plonky3;
    use crate::gates::testing::{check_gate, filled_row};

    #[test]
    fn is_a_sound_gate() {
        check_gate(&Poseidon2Permutation, |row| row[SWAP] = F::ONE);
        check_gate(&Poseidon2Permutation, |row| row[SWAP] = F::ZERO);
    }

    #[test]
    fn has_the_standard_width() {
        assert_eq!(Poseidon2Permutation.wires(), 135);
    }

    #[test]
    fn agrees_with_plonky3() {
        let native = default_goldilocks_poseidon2_12();
        for swap in [false, true] {
            let input: [F; WIDTH] = core::array::from_fn(|_| F::rand());
            let row = filled_row(&Poseidon2Permutation, &[], |row| {
                row[..WIDTH].copy_from_slice(&input);
                row[SWAP] = F::from_bool(swap);
            });
            let mut state = input.map(to_plonky3);
            if swap {
                let (left, right) = state[..8].split_at_mut(4);
                left.swap_with_slice(right);
            }
            native.permute_mut(&mut state);
            assert_eq!(row[WIDTH..2 * WIDTH], state.map(to_plonky2));
        }
    }
}
