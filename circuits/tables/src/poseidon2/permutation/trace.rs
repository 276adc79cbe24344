//! Filling the permutation table.

use std::iter;

use joule_machine::{
    Records,
    layout::TREE_DEPTH,
    poseidon2::{compress, from_words},
    records::{DigestElements, HashEvent, TreeEvent},
};
use p3_field::PrimeCharacteristicRing;
use p3_goldilocks::{
    GOLDILOCKS_POSEIDON2_RC_8_EXTERNAL_FINAL, GOLDILOCKS_POSEIDON2_RC_8_EXTERNAL_INITIAL,
    GOLDILOCKS_POSEIDON2_RC_8_INTERNAL, GenericPoseidon2LinearLayersGoldilocks as Linear,
    default_goldilocks_poseidon2_8,
};
use p3_matrix::dense::RowMajorMatrix;
use p3_poseidon2::GenericPoseidon2LinearLayers;
use p3_symmetric::Permutation;

use super::columns::{FULL_ROUNDS, PARTIAL_ROUNDS, PermutationColumns, STATE};
use crate::{Felt, check::Trace, trace::TraceError};

/// A permutation and how often each half of its output is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// The state before.
    pub input: [Felt; STATE],
    /// Lookups of the first and of the second half of the state behind.
    pub lookups: [u32; 2],
}

/// Every permutation that the precompiles of a run look up, in the order of its rows.
#[must_use]
pub fn uses(records: &Records) -> Vec<Use> {
    let hashes = records.hashes.iter().flat_map(sponge_uses);
    hashes.chain(records.tree_updates.iter().flat_map(tree_uses)).collect()
}

/// The permutations of one hash: the capacity of all but the last is looked up, and the rate of the last.
fn sponge_uses(event: &HashEvent) -> Vec<Use> {
    let permutation = default_goldilocks_poseidon2_8();
    let blocks = joule_machine::poseidon2::permutations(event.input.len());
    let mut state = [Felt::ZERO; STATE];
    state[4] = Felt::from_u32(event.tag);
    state[5] = Felt::from_usize(event.input.len());
    (0..blocks)
        .map(|block| {
            for (slot, index) in state[..4].iter_mut().zip(4 * block..) {
                *slot = event.input.get(index).map_or(Felt::ZERO, |access| Felt::from_u32(access.after));
            }
            let is_last = block + 1 == blocks;
            let row = Use { input: state, lookups: [u32::from(is_last), u32::from(!is_last)] };
            permutation.permute_mut(&mut state);
            row
        })
        .collect()
}

/// The compressions of one update: those of the old path and of the new path, level by level.
fn tree_uses(event: &TreeEvent) -> Vec<Use> {
    let position = event.words[24].after;
    let mut paths = [leaf(event, 0), leaf(event, 8)];
    (0..TREE_DEPTH)
        .flat_map(|level| {
            let sibling = event.siblings[level];
            paths
                .each_mut()
                .map(|node| {
                    let [left, right] = if position >> level & 1 == 1 { [sibling, *node] } else { [*node, sibling] };
                    *node = compress(&left, &right);
                    let input = array(left.into_iter().chain(right).map(Felt::from_u64));
                    Use { input, lookups: [1, 0] }
                })
                .into_iter()
        })
        .collect()
}

/// The digest whose eight words start at word `from` of an update, as it was found.
pub(crate) fn leaf(event: &TreeEvent, from: usize) -> DigestElements {
    from_words(&array(event.words[from..from + 8].iter().map(|access| access.before)))
}

fn array<T, const N: usize>(items: impl IntoIterator<Item = T>) -> [T; N] {
    let mut items = items.into_iter();
    core::array::from_fn(|_| items.next().expect("as many items as the array has places"))
}

/// How many rows a run needs.
#[must_use]
pub fn rows(records: &Records) -> usize {
    let sponge = records.hashes.iter().map(|event| joule_machine::poseidon2::permutations(event.input.len()));
    sponge.sum::<usize>() + 2 * TREE_DEPTH * records.tree_updates.len()
}

/// The trace, padded to `height` rows with permutations of zeros that nobody looks up.
///
/// # Errors
///
/// [`TraceError::TooManyRows`].
pub fn trace(uses: &[Use], height: usize) -> Result<Trace, TraceError> {
    if uses.len() > height {
        return Err(TraceError::TooManyRows { table: "permutation", rows: uses.len(), height });
    }
    let width = PermutationColumns::<()>::WIDTH;
    let mut values = Felt::zero_vec(width * height);
    let padding = iter::repeat(&Use { input: [Felt::ZERO; STATE], lookups: [0; 2] });
    for (row, item) in values.chunks_exact_mut(width).zip(uses.iter().chain(padding)) {
        fill(item, |_, value| value).write(row);
    }
    Ok(RowMajorMatrix::new(values, width))
}

/// A committed cell of a row, in the order of computation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cell {
    /// Full rounds are counted through, first and last; with the element.
    FullCube(usize, usize),
    /// The state behind a full round.
    FullState(usize, usize),
    /// Partial rounds.
    PartialCube(usize),
    /// What leaves a partial round's S-box.
    PartialOutput(usize),
}

/// One row. `commit` sees every cell's value before it is written and used; an honest prover returns it as it is.
pub(crate) fn fill(item: &Use, mut commit: impl FnMut(Cell, Felt) -> Felt) -> PermutationColumns<Felt> {
    let mut columns = PermutationColumns {
        lookups: item.lookups.map(Felt::from_u32),
        input: item.input,
        first_cubes: [Felt::ZERO; FULL_ROUNDS * STATE],
        first_states: [Felt::ZERO; FULL_ROUNDS * STATE],
        partial_cubes: [Felt::ZERO; PARTIAL_ROUNDS],
        partial_outputs: [Felt::ZERO; PARTIAL_ROUNDS],
        last_cubes: [Felt::ZERO; FULL_ROUNDS * STATE],
        last_states: [Felt::ZERO; FULL_ROUNDS * STATE],
    };
    let mut state = item.input;
    Linear::external_linear_layer(&mut state);
    let constants = &GOLDILOCKS_POSEIDON2_RC_8_EXTERNAL_INITIAL;
    full_rounds(&mut state, constants, 0, &mut columns.first_cubes, &mut columns.first_states, &mut commit);
    for (round, constant) in GOLDILOCKS_POSEIDON2_RC_8_INTERNAL.into_iter().enumerate() {
        let x = state[0] + constant;
        let cube = commit(Cell::PartialCube(round), x.cube());
        columns.partial_cubes[round] = cube;
        state[0] = commit(Cell::PartialOutput(round), cube.square() * x);
        columns.partial_outputs[round] = state[0];
        <Linear as GenericPoseidon2LinearLayers<STATE>>::internal_linear_layer(&mut state);
    }
    let constants = &GOLDILOCKS_POSEIDON2_RC_8_EXTERNAL_FINAL;
    full_rounds(&mut state, constants, FULL_ROUNDS, &mut columns.last_cubes, &mut columns.last_states, &mut commit);
    columns
}

fn full_rounds(
    state: &mut [Felt; STATE],
    constants: &[[Felt; STATE]; FULL_ROUNDS],
    first_round: usize,
    cubes: &mut [Felt],
    states: &mut [Felt],
    commit: &mut impl FnMut(Cell, Felt) -> Felt,
) {
    for (round, constants) in constants.iter().enumerate() {
        for (index, element) in state.iter_mut().enumerate() {
            let x = *element + constants[index];
            let cube = commit(Cell::FullCube(first_round + round, index), x.cube());
            cubes[round * STATE + index] = cube;
            *element = cube.square() * x;
        }
        Linear::external_linear_layer(state);
        for (index, element) in state.iter_mut().enumerate() {
            *element = commit(Cell::FullState(first_round + round, index), *element);
            states[round * STATE + index] = *element;
        }
    }
}
