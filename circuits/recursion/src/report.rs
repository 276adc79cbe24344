//! What a circuit consists of.

use std::collections::BTreeMap;

use plonky2::field::goldilocks_field::GoldilocksField;
use plonky2::field::types::PrimeField64 as _;
use plonky2::plonk::circuit_data::CircuitData;
use plonky2::plonk::config::GenericConfig;

use crate::field::{D, F};

/// What plonky2 writes into the selector columns of the groups a row's gate is not in.
const UNUSED: F = GoldilocksField(u32::MAX as u64);

/// The index of the gate in each row, read back from the committed selector columns.
pub(crate) fn gate_of_rows<C: GenericConfig<D, F = F>>(data: &CircuitData<F, C, D>) -> Vec<usize> {
    let selectors: Vec<Vec<F>> = data.prover_only.constants_sigmas_commitment.polynomials
        [..data.common.selectors_info.num_selectors()]
        .iter()
        .map(|polynomial| polynomial.clone().fft().values)
        .collect();
    (0..data.common.degree())
        .map(|row| {
            // Each group of gates has a selector column; in every row one of them names the row's gate.
            let named = selectors.iter().map(|column| column[row]).find(|&value| value != UNUSED);
            named.map_or(usize::MAX, |value| value.to_canonical_u64() as usize)
        })
        .collect()
}

/// Rows of each kind of gate, by the gate's name.
#[must_use]
pub fn gate_rows<C: GenericConfig<D, F = F>>(data: &CircuitData<F, C, D>) -> BTreeMap<String, usize> {
    let mut rows = BTreeMap::new();
    for gate in gate_of_rows(data) {
        let name = data.common.gates.get(gate).map_or_else(|| "unknown".to_owned(), |gate| short_name(&gate.0.id()));
        *rows.entry(name).or_insert(0) += 1;
    }
    rows
}

/// A gate's name without type parameters and phantom data.
fn short_name(id: &str) -> String {
    let id = id.split("<WIDTH").next().unwrap_or(id);
    id.replace("PhantomData<plonky2_field::goldilocks_field::GoldilocksField>", "").replace(", _phantom: ", "")
}
