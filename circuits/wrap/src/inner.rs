//! The inner circuit: what of it is constant in the wrap, and the checks that the wrap's arithmetic relies on.

use std::ops::Range;

use joule_protocol::PublicValues;
use joule_recursion::bn254::Bn254PoseidonConfig;
use plonky2::plonk::circuit_data::{CommonCircuitData, VerifierOnlyCircuitData};

use crate::error::WrapError;
use crate::gates::KnownGate;
use crate::goldilocks::F;

/// The plonky2 circuit whose proofs a wrap verifies. Everything here is a constant of the wrap's constraint system.
#[derive(Clone, Debug)]
pub(crate) struct InnerCircuit {
    pub(crate) common: CommonCircuitData<F, 2>,
    pub(crate) verifier: VerifierOnlyCircuitData<Bn254PoseidonConfig, 2>,
    pub(crate) gates: Vec<SelectedGate>,
    pub(crate) groups: Vec<Range<usize>>,
}

/// A gate and the selector polynomial that it shares with its group.
#[derive(Clone, Debug)]
pub(crate) struct SelectedGate {
    pub(crate) gate: KnownGate,
    pub(crate) group: usize,
}

impl InnerCircuit {
    pub(crate) fn new(
        common: CommonCircuitData<F, 2>,
        verifier: VerifierOnlyCircuitData<Bn254PoseidonConfig, 2>,
    ) -> Result<Self, WrapError> {
        if common.num_lookup_polys != 0 || common.num_lookup_selectors != 0 || !common.luts.is_empty() {
            return Err(WrapError::Unsupported { feature: "lookup tables" });
        }
        if common.fri_params.hiding || common.config.zero_knowledge {
            return Err(WrapError::Unsupported { feature: "salted Merkle trees" });
        }
        let parameters = &common.fri_params;
        let elements = PublicValues::ELEMENTS;
        in_range("number of public inputs", elements..=elements, common.num_public_inputs)?;
        // Query indices are taken from 32 canonical bits, and p − 1 has 32 factors of two.
        in_range("low-degree extension, in bits,", 1..=32, parameters.lde_bits())?;
        in_range("grinding, in bits,", 0..=32, parameters.config.proof_of_work_bits as usize)?;
        in_range("number of challenges", 1..=4, common.config.num_challenges)?;
        in_range("quotient degree factor", 2..=16, common.quotient_degree_factor)?;
        for arity_bits in &parameters.reduction_arity_bits {
            in_range("folding arity, in bits,", 1..=4, *arity_bits)?;
        }
        let last_tree_bits = parameters.lde_bits() - parameters.total_arities();
        in_range("cap height", 0..=last_tree_bits.min(8), parameters.config.cap_height)?;
        in_range("number of opened constants", common.selectors_info.num_selectors()..=64, common.num_constants)?;

        let (groups, selectors) = selectors(&common)?;
        let gates = common
            .gates
            .iter()
            .zip(selectors)
            .map(|(gate, group)| Ok(SelectedGate { gate: KnownGate::recognise(gate)?, group }))
            .collect::<Result<_, WrapError>>()?;
        let caps = verifier.constants_sigmas_cap.0.len();
        in_range(
            "constants cap's length",
            1 << parameters.config.cap_height..=1 << parameters.config.cap_height,
            caps,
        )?;
        Ok(Self { common, verifier, gates, groups })
    }

    /// Polynomials in each of the four committed oracles: constants and sigmas, wires, products, quotients.
    pub(crate) fn oracle_widths(&self) -> [usize; 4] {
        let common = &self.common;
        let challenges = common.config.num_challenges;
        [
            common.num_constants + common.config.num_routed_wires,
            common.config.num_wires,
            challenges * (1 + common.num_partial_products),
            challenges * common.quotient_degree_factor,
        ]
    }
}

fn in_range(parameter: &'static str, expected: std::ops::RangeInclusive<usize>, got: usize) -> Result<(), WrapError> {
    if expected.contains(&got) {
        return Ok(());
    }
    let expected = if expected.start() == expected.end() {
        expected.start().to_string()
    } else {
        format!("{} to {}", expected.start(), expected.end())
    };
    Err(WrapError::Parameter { parameter, expected, got })
}

/// The groups of gates and each gate's group. plonky2 keeps these fields to itself but serialises them.
fn selectors(common: &CommonCircuitData<F, 2>) -> Result<(Vec<Range<usize>>, Vec<usize>), WrapError> {
    #[derive(serde::Deserialize)]
    struct Selectors {
        selector_indices: Vec<usize>,
        groups: Vec<Range<usize>>,
    }
    let malformed = || WrapError::Unsupported { feature: "selectors in a form other than that of plonky2 1.1.0" };
    let value = serde_json::to_value(&common.selectors_info).map_err(|_| malformed())?;
    let selectors: Selectors = serde_json::from_value(value).map_err(|_| malformed())?;
    let consistent = selectors.selector_indices.len() == common.gates.len()
        && selectors
            .selector_indices
            .iter()
            .enumerate()
            .all(|(gate, group)| selectors.groups.get(*group).is_some_and(|range| range.contains(&gate)));
    if consistent { Ok((selectors.groups, selectors.selector_indices)) } else { Err(malformed()) }
}
