//! What every gate must pass.

use plonky2::field::types::{Field, Sample};
use plonky2::gates::gate::Gate;
use plonky2::gates::gate_testing::{test_eval_fns, test_low_degree};
use plonky2::hash::hash_types::HashOut;
use plonky2::plonk::config::PoseidonGoldilocksConfig;
use plonky2::plonk::vars::EvaluationVars;

use super::{Constraints, CustomGate, Extension, RowWriter};
use crate::field::{D, F};

/// A row with random inputs, changed by `change`, and every other wire filled.
pub(crate) fn filled_row<T: Constraints>(gate: &T, constants: &[F], change: impl FnOnce(&mut [F])) -> Vec<F> {
    let mut row = F::rand_vec(gate.wires());
    change(&mut row);
    for operation in 0..gate.operations() {
        let inputs = row.clone();
        let read = |wire: usize| inputs[wire];
        let mut writer = RowWriter { read: &read, written: Vec::new() };
        gate.fill(operation, constants, &mut writer);
        for (wire, value) in writer.written {
            row[wire] = value;
        }
    }
    row
}

/// Whether a row satisfies the gate.
pub(crate) fn check_row<T: Constraints>(gate: &T, constants: &[F], row: &[F]) -> bool {
    let lift = |values: &[F]| values.iter().map(|&value| Extension::from(value)).collect::<Vec<_>>();
    let (constants, row) = (lift(constants), lift(row));
    let values = CustomGate(gate.clone()).eval_unfiltered(EvaluationVars {
        local_constants: &constants,
        local_wires: &row,
        public_inputs_hash: &HashOut::ZERO,
    });
    assert_eq!(values.len(), gate.constraints());
    values.into_iter().all(|value| value == Extension::ZERO)
}

/// The three forms agree, the degree is as declared, an honest row passes, and no single wire of it is free.
pub(crate) fn check_gate<T: Constraints>(gate: &T, make_consistent: impl Fn(&mut [F])) {
    test_low_degree::<F, _, D>(CustomGate(gate.clone()));
    test_eval_fns::<F, PoseidonGoldilocksConfig, _, D>(CustomGate(gate.clone())).unwrap();

    let constants = F::rand_vec(gate.constants());
    let honest = filled_row(gate, &constants, |row| {
        // Flags among the inputs are settled first, and again once the random inputs they depend on are there.
        make_consistent(row);
    });
    let mut honest = honest;
    make_consistent(&mut honest);
    assert!(check_row(gate, &constants, &honest), "an honest row fails");
    for wire in 0..gate.wires() {
        let mut forged = honest.clone();
        forged[wire] += F::rand();
        assert!(!check_row(gate, &constants, &forged), "wire {wire} is free");
    }

    // A gate survives serialisation.
    let again = T::from_parameters(&gate.parameters()).unwrap();
    assert_eq!(format!("{again:?}"), format!("{gate:?}"));
}
