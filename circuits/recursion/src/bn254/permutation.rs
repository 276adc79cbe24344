//! The Poseidon permutation outside a circuit, and the two instances in use.

use std::sync::LazyLock;

use ark_bn254::Fr;
use ark_ff::Field;

use super::parameters::{Parameters, multiply_vector};

/// Lanes of the sponge that hashes leaves and runs the transcript: one capacity lane and eleven rate lanes.
pub const SPONGE_WIDTH: usize = 12;
/// Lanes of the compression of two nodes.
pub const NODE_WIDTH: usize = 2;

/// The sponge's instance: width 12, 8 full and 60 partial rounds.
pub static SPONGE_PARAMETERS: LazyLock<Parameters<SPONGE_WIDTH>> = LazyLock::new(|| Parameters::generate(60));
/// The node compression's instance: width 2, 8 full and 56 partial rounds.
pub static NODE_PARAMETERS: LazyLock<Parameters<NODE_WIDTH>> = LazyLock::new(|| Parameters::generate(56));

fn fifth_power(x: Fr) -> Fr {
    x.square().square() * x
}

fn full_round<const WIDTH: usize>(parameters: &Parameters<WIDTH>, round: usize, state: &mut [Fr; WIDTH]) {
    for (lane, constant) in state.iter_mut().zip(&parameters.round_constants[round]) {
        *lane = fifth_power(*lane + constant);
    }
    *state = multiply_vector(&parameters.matrix, state);
}

/// Applies the permutation, with the partial rounds in sparse form.
pub fn permute<const WIDTH: usize>(parameters: &Parameters<WIDTH>, state: &mut [Fr; WIDTH]) {
    let half = parameters.full_rounds_half;
    for round in 0..half {
        full_round(parameters, round, state);
    }
    let sparse = &parameters.sparse;
    *state = multiply_vector(&sparse.entry_matrix, state);
    for round in 0..parameters.partial_rounds {
        let raised = fifth_power(state[0] + sparse.constants[round]);
        state[0] = raised;
        let first = Fr::sum_of_products(&sparse.rows[round], state);
        for (lane, factor) in state.iter_mut().zip(&sparse.columns[round]).skip(1) {
            *lane += raised * factor;
        }
        state[0] = first;
    }
    for (lane, constant) in state.iter_mut().zip(&sparse.exit_constants) {
        *lane += constant;
    }
    for round in half + parameters.partial_rounds..2 * half + parameters.partial_rounds {
        full_round(parameters, round, state);
    }
}

/// The permutation as the paper writes it, for the test that the sparse form is the same map.
#[cfg(test)]
pub(super) fn permute_by_the_paper<const WIDTH: usize>(parameters: &Parameters<WIDTH>, state: &mut [Fr; WIDTH]) {
    let half = parameters.full_rounds_half;
    for round in 0..2 * half + parameters.partial_rounds {
        if round < half || round >= half + parameters.partial_rounds {
            full_round(parameters, round, state);
        } else {
            for (lane, constant) in state.iter_mut().zip(&parameters.round_constants[round]) {
                *lane += constant;
            }
            state[0] = fifth_power(state[0]);
            *state = multiply_vector(&parameters.matrix, state);
        }
    }
}
