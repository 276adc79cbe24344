//! Whether an assignment satisfies a circuit, found out without proving.

use plonky2::field::extension::Extendable;
use plonky2::field::types::Field;
use plonky2::hash::hash_types::HashOut;
use plonky2::hash::poseidon::PoseidonHash;
use plonky2::iop::witness::{PartitionWitness, Witness};
use plonky2::plonk::circuit_data::CircuitData;
use plonky2::plonk::config::{Hasher, PoseidonGoldilocksConfig};
use plonky2::plonk::vars::EvaluationVars;

use crate::field::{D, F};
use crate::report::gate_of_rows;

type Extension = <F as Extendable<D>>::Extension;

/// Evaluates every gate of every row. Copies need no check: a partition assigns one value to all copies of a wire.
pub(crate) fn is_satisfied(
    data: &CircuitData<F, PoseidonGoldilocksConfig, D>,
    assignment: PartitionWitness<'_, F>,
) -> bool {
    let common = &data.common;
    let public_inputs: Vec<F> =
        data.prover_only.public_inputs.iter().map(|&target| assignment.get_target(target)).collect();
    let public_inputs_hash = HashOut { elements: PoseidonHash::hash_no_pad(&public_inputs).elements };
    let wires = assignment.full_witness();
    let constants: Vec<_> = (0..common.num_constants)
        .map(|i| {
            // The committed polynomials hold the constants; back to values on the subgroup.
            let coefficients = data.prover_only.constants_sigmas_commitment.polynomials[i].clone();
            coefficients.fft().values
        })
        .collect();
    let fixed = common.selectors_info.num_selectors() + common.num_lookup_selectors;
    gate_of_rows(data).into_iter().enumerate().all(|(row, gate)| {
        let Some(gate) = common.gates.get(gate) else { return false };
        let row_constants: Vec<Extension> = constants[fixed..].iter().map(|column| column[row].into()).collect();
        let row_wires: Vec<Extension> =
            (0..common.config.num_wires).map(|wire| wires.get_wire(row, wire).into()).collect();
        let vars = EvaluationVars {
            local_constants: &row_constants,
            local_wires: &row_wires,
            public_inputs_hash: &public_inputs_hash,
        };
        gate.0.eval_unfiltered(vars).into_iter().all(|value| value == Extension::ZERO)
    })
}
