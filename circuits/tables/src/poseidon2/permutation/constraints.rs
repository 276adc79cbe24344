//! What a row of the permutation table must satisfy.

use p3_air::{Air, BaseAir, WindowAccess};
use p3_field::PrimeCharacteristicRing;
use p3_goldilocks::{
    GOLDILOCKS_POSEIDON2_RC_8_EXTERNAL_FINAL, GOLDILOCKS_POSEIDON2_RC_8_EXTERNAL_INITIAL,
    GOLDILOCKS_POSEIDON2_RC_8_INTERNAL, GenericPoseidon2LinearLayersGoldilocks as Linear,
};
use p3_poseidon2::GenericPoseidon2LinearLayers;

use super::columns::{FULL_ROUNDS, PermutationColumns, STATE};
use crate::{Felt, builder::TableBuilder, buses::PERMUTATION};

/// The permutation table.
#[derive(Clone, Copy, Debug, Default)]
pub struct Permutation;

impl BaseAir<Felt> for Permutation {
    fn width(&self) -> usize {
        PermutationColumns::<()>::WIDTH
    }

    fn main_next_row_columns(&self) -> Vec<usize> {
        Vec::new()
    }
}

impl<AB: TableBuilder> Air<AB> for Permutation {
    fn eval(&self, builder: &mut AB) {
        let main = builder.main();
        let row = PermutationColumns::read(main.current_slice());

        let mut state: [AB::Expr; STATE] = row.input.map(Into::into);
        Linear::external_linear_layer(&mut state);
        full_rounds(
            builder,
            &mut state,
            &GOLDILOCKS_POSEIDON2_RC_8_EXTERNAL_INITIAL,
            &row.first_cubes,
            &row.first_states,
            ["P1 cubes of the first full rounds", "P2 states of the first full rounds"],
        );
        for (round, constant) in GOLDILOCKS_POSEIDON2_RC_8_INTERNAL.into_iter().enumerate() {
            let (cube, output) = (row.partial_cubes[round], row.partial_outputs[round]);
            let seventh = sbox(builder, state[0].clone() + constant, cube, "P3 cubes of the partial rounds");
            builder.assert_zero_named(seventh - output, "P4 outputs of the partial rounds");
            state[0] = output.into();
            <Linear as GenericPoseidon2LinearLayers<STATE>>::internal_linear_layer(&mut state);
        }
        full_rounds(
            builder,
            &mut state,
            &GOLDILOCKS_POSEIDON2_RC_8_EXTERNAL_FINAL,
            &row.last_cubes,
            &row.last_states,
            ["P5 cubes of the last full rounds", "P6 states of the last full rounds"],
        );

        for (half, multiplicity) in row.lookups.into_iter().enumerate() {
            let output = state[4 * half..4 * (half + 1)].iter().cloned();
            let message = row.input.map(Into::into).into_iter().chain([AB::Expr::from_usize(half)]).chain(output);
            PERMUTATION.provide(builder, message, multiplicity);
        }
    }
}

/// Constrains a run of full rounds and leaves the last committed state, of degree one, in `state`.
#[inline(never)]
fn full_rounds<AB: TableBuilder>(
    builder: &mut AB,
    state: &mut [AB::Expr; STATE],
    constants: &[[Felt; STATE]; FULL_ROUNDS],
    cubes: &[AB::Var],
    states: &[AB::Var],
    names: [&'static str; 2],
) {
    for (round, constants) in constants.iter().enumerate() {
        for (index, element) in state.iter_mut().enumerate() {
            *element = sbox(builder, element.clone() + constants[index], cubes[round * STATE + index], names[0]);
        }
        Linear::external_linear_layer(state);
        for (index, element) in state.iter_mut().enumerate() {
            let committed = states[round * STATE + index];
            builder.assert_zero_named(element.clone() - committed, names[1]);
            *element = committed.into();
        }
    }
}

/// x^7 as (x^3)^2 · x with x^3 committed: both steps are of degree three.
fn sbox<AB: TableBuilder>(builder: &mut AB, x: AB::Expr, cube: AB::Var, name: &'static str) -> AB::Expr {
    builder.assert_zero_named(x.cube() - cube, name);
    let cube: AB::Expr = cube.into();
    cube.square() * x
}
