use p3_field::PrimeCharacteristicRing;
use p3_goldilocks::default_goldilocks_poseidon2_8;
use p3_symmetric::Permutation as _;
use proptest::prelude::*;

use super::{
    Permutation,
    columns::{FULL_ROUNDS, PARTIAL_ROUNDS, PermutationColumns, STATE},
    trace::{Cell, Use, fill, trace},
};
use crate::{
    Felt,
    check::Trace,
    forge::{By, Forgery, Free, Honest, catches, every_cell_counts, forgery},
};

fn honest() -> Honest<Permutation> {
    let input = core::array::from_fn(|i| -Felt::from_usize(3 * i + 1));
    Honest::new(Permutation, trace(&[Use { input, lookups: [1, 2] }], 2).expect("fits"))
}

/// Adds one to a cell of row 0 and computes the rest of the row from it: only the constraint on that cell is broken.
fn goes_on_from(cell: Cell) -> impl Fn(&mut Trace) {
    move |trace| {
        let width = trace.width;
        let row = &mut trace.values[..width];
        let columns = PermutationColumns::read(row);
        let item = Use { input: columns.input, lookups: [1, 2] };
        fill(&item, |at, value| if at == cell { value + Felt::ONE } else { value }).write(row);
    }
}

#[test]
fn forgeries_are_caught() {
    let cheats = |cell, by| forgery("goes on from a wrong cell", goes_on_from(cell), By::Constraint(by));
    let mut forgeries: Vec<Forgery> = Vec::new();
    for round in 0..2 * FULL_ROUNDS {
        let [cube, state] = if round < FULL_ROUNDS { ["P1", "P2"] } else { ["P5", "P6"] };
        for index in 0..STATE {
            forgeries.push(cheats(Cell::FullCube(round, index), cube));
            forgeries.push(cheats(Cell::FullState(round, index), state));
        }
    }
    for round in 0..PARTIAL_ROUNDS {
        forgeries.push(cheats(Cell::PartialCube(round), "P3"));
        forgeries.push(cheats(Cell::PartialOutput(round), "P4"));
    }
    catches(&honest(), forgeries);
}

#[test]
fn every_cell_is_bound() {
    // The multiplicities are on the bus: the harness sees their change.
    every_cell_counts(&honest(), &PermutationColumns::<()>::names(), &[] as &[Free]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// What a row ends with is the permutation that everybody else computes, packed implementation and all.
    #[test]
    fn a_row_is_the_permutation(input in prop::array::uniform8(any::<u64>())) {
        let input = input.map(Felt::from_u64);
        let columns = fill(&Use { input, lookups: [0; 2] }, |_, value| value);
        let expected = default_goldilocks_poseidon2_8().permute(input);
        prop_assert_eq!(&columns.last_states[(FULL_ROUNDS - 1) * STATE..], &expected[..]);
    }
}
