//! Provable security of the plonky2 layers, in bits, computed from the circuits.
//!
//! Every formula is a bound on the probability that a false statement survives one step of the protocol, and names its
//! source. Nothing here is conjectural. Sources:
//!
//! * **BCIKS20**: Ben-Sasson, Carmon, Ishai, Kopparty, Saraf, *Proximity Gaps for Reed–Solomon Codes*, ePrint 2020/654.
//! * **SZ**: the Schwartz–Zippel lemma.
//! * **BSCS16**: Ben-Sasson, Chiesa, Spooner, *Interactive Oracle Proofs*, ePrint 2016/116, for the non-interactive form;
//!   the bits of a round are the work of finding one bad challenge of it, and grinding adds to the round it precedes.

use core::fmt;

use plonky2::field::types::Field64;
use plonky2::plonk::circuit_data::CommonCircuitData;

use crate::field::{D, F};

/// How far from the code a word may be for the proof to speak of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Regime {
    /// Up to `(1 − ρ)/2`: at most one codeword is near.
    UniqueDecoding,
    /// Up to `1 − √ρ (1 + 1/2m)` for the best `m`: a short list of codewords is near.
    Johnson,
}

impl fmt::Display for Regime {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::UniqueDecoding => "unique decoding",
            Self::Johnson => "Johnson",
        })
    }
}

/// One step of the protocol and what it is worth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Term {
    /// The step.
    pub name: &'static str,
    /// `−log₂` of the probability that a false statement survives it.
    pub bits: f64,
    /// Where the bound comes from.
    pub source: &'static str,
}

/// The security of one layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Security {
    /// The regime of the terms.
    pub regime: Regime,
    /// The terms.
    pub terms: Vec<Term>,
}

impl Security {
    /// The weakest term.
    #[must_use]
    pub fn bits(&self) -> f64 {
        self.terms.iter().map(|term| term.bits).fold(f64::INFINITY, f64::min)
    }
}

impl fmt::Display for Security {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{:.1} bits ({})", self.bits(), self.regime)?;
        for term in &self.terms {
            writeln!(formatter, "    {:6.1}  {} [{}]", term.bits, term.name, term.source)?;
        }
        Ok(())
    }
}

/// Largest multiplicity the search for the best Johnson bound looks at.
const MULTIPLICITY_MAX: u32 = 256;

/// The security of a layer in a regime.
#[must_use]
pub fn plonky2_layer(common: &CommonCircuitData<F, D>, regime: Regime) -> Security {
    match regime {
        Regime::UniqueDecoding => terms(common, None),
        Regime::Johnson => (3..=MULTIPLICITY_MAX)
            .map(|multiplicity| terms(common, Some(f64::from(multiplicity))))
            .max_by(|x, y| x.bits().total_cmp(&y.bits()))
            .unwrap_or(Security { regime, terms: Vec::new() }),
    }
}

/// The security of a layer in the regime that is better for it.
#[must_use]
pub fn plonky2_layer_best(common: &CommonCircuitData<F, D>) -> Security {
    let unique = plonky2_layer(common, Regime::UniqueDecoding);
    let johnson = plonky2_layer(common, Regime::Johnson);
    if unique.bits() >= johnson.bits() { unique } else { johnson }
}

/// The terms, within the unique-decoding radius or with the Johnson bound's multiplicity `m`.
fn terms(common: &CommonCircuitData<F, D>, multiplicity: Option<f64>) -> Security {
    let config = &common.config;
    let fri = &common.fri_params;
    let base_bits = (F::ORDER as f64).log2();
    let field_bits = D as f64 * base_bits;
    let rate_bits = fri.config.rate_bits as f64;
    let rows_bits = common.degree_bits() as f64;
    let points_bits = rows_bits + rate_bits;
    let challenges = config.num_challenges as f64;

    // Polynomials batched with powers of one challenge; those of the next row are opened twice.
    let polynomials = (common.num_constants + 2 * config.num_routed_wires + config.num_wires - config.num_routed_wires
        + config.num_challenges * (2 + common.num_partial_products + common.quotient_degree_factor))
        as f64;
    // Σ (arity − 1) over the folds, each on its own, smaller domain: bounded by the first domain times twice the arity.
    let mut folds = 0.0;
    let mut domain_bits = points_bits;
    for &arity_bits in &fri.reduction_arity_bits {
        folds += ((1u64 << arity_bits) as f64 - 1.0) * (domain_bits - points_bits).exp2();
        domain_bits -= arity_bits as f64;
    }

    // Within the unique-decoding radius lines and curves of degree d have error d·N/|F|; within the Johnson bound the
    // error per degree is at most (m + 1/2)^7 / (3 ρ^{3/2}) · N²/|F|, and a list of (m + 1/2)/√ρ codewords is near.
    let (per_degree_bits, list_bits, per_query_bits, source) = match multiplicity {
        None => (field_bits - points_bits, 0.0, 1.0 - (1.0 + (-rate_bits).exp2()).log2(), "BCIKS20, Theorem 6.1"),
        Some(m) => (
            field_bits - (7.0 * (m + 0.5).log2() - 3f64.log2() + 1.5 * rate_bits + 2.0 * points_bits),
            (m + 0.5).log2() + rate_bits / 2.0,
            rate_bits / 2.0 - (1.0 + 0.5 / m).log2(),
            "BCIKS20, Theorem 6.2",
        ),
    };

    // The gates' constraints, and for each challenge the products of the permutation argument.
    let constraints = (common.num_gate_constraints + config.num_challenges * (2 + common.num_partial_products)) as f64;
    let identity_degree_bits = rows_bits + (common.quotient_degree_factor as f64 + 1.0).log2();
    let permutation_bits = base_bits - rows_bits - (config.num_routed_wires as f64).log2();

    let regime = if multiplicity.is_some() { Regime::Johnson } else { Regime::UniqueDecoding };
    Security {
        regime,
        terms: vec![
            Term {
                name: "queries and grinding",
                bits: fri.config.num_query_rounds as f64 * per_query_bits + f64::from(fri.config.proof_of_work_bits),
                source,
            },
            Term { name: "batching", bits: per_degree_bits - (polynomials - 1.0).log2(), source },
            Term { name: "folding", bits: per_degree_bits - folds.log2(), source },
            Term { name: "out-of-domain point", bits: field_bits - identity_degree_bits - list_bits, source: "SZ" },
            Term {
                name: "permutation argument",
                bits: challenges * permutation_bits - list_bits,
                source: "SZ, independent base-field challenges",
            },
            Term {
                name: "combination of constraints",
                bits: challenges * (base_bits - constraints.log2()) - list_bits,
                source: "SZ, independent base-field challenges",
            },
        ],
    }
}

#[cfg(test)]
mod tests {
    use plonky2::gates::noop::NoopGate;
    use plonky2::plonk::circuit_builder::CircuitBuilder;
    use plonky2::plonk::circuit_data::CircuitConfig;

    use super::*;
    use crate::circuit::Inner;
    use crate::profile::{Layer, Profile};

    fn common(config: CircuitConfig, rows_bits: usize) -> CommonCircuitData<F, D> {
        let mut builder = CircuitBuilder::<F, D>::new(config);
        while builder.num_gates() <= 1 << (rows_bits - 1) {
            builder.add_gate(NoopGate, Vec::new());
        }
        builder.mock_build::<Inner>().common
    }

    fn queries(security: &Security) -> f64 {
        security.terms[0].bits
    }

    #[test]
    fn the_standard_configuration_is_worth_what_the_literature_says() {
        // 28 queries at rate 1/8 with 16 bits of grinding: 39 bits within unique decoding, about 57 within Johnson.
        let common = common(CircuitConfig::standard_recursion_config(), 12);
        let unique = plonky2_layer(&common, Regime::UniqueDecoding);
        assert!((queries(&unique) - 39.2).abs() < 0.1, "{unique}");
        let johnson = plonky2_layer(&common, Regime::Johnson);
        assert!((queries(&johnson) - 57.5).abs() < 0.6, "{johnson}");
        assert!(johnson.bits() <= 58.0);
        // Two challenges: about twice 64 − 12 − log₂ 80.
        assert!((unique.terms[4].bits - 91.4).abs() < 0.1, "{unique}");
    }

    #[test]
    fn the_proven_profile_is_worth_100_bits_in_every_layer() {
        for layer in Layer::ALL {
            // The sizes the layers have, see the README; a larger last layer would fall below at its higher rate.
            let rows_bits = if layer == Layer::Last { 14 } else { 15 };
            let common = common(Profile::Proven.plonky2(layer), rows_bits);
            let security = plonky2_layer_best(&common);
            assert!(security.bits() >= 100.0, "{layer:?}: {security}");
            assert_eq!(security.regime, Regime::UniqueDecoding);
        }
    }

    #[test]
    fn the_fast_profile_does_not_pretend() {
        for layer in Layer::ALL {
            let common = common(Profile::Fast.plonky2(layer), 13);
            assert!(plonky2_layer_best(&common).bits() < 60.0);
        }
    }

    #[test]
    fn more_of_anything_that_helps_helps() {
        let config = Profile::Fast.plonky2(Layer::Merge);
        let base = plonky2_layer(&common(config.clone(), 13), Regime::UniqueDecoding);
        let mut more = config.clone();
        more.fri_config.num_query_rounds += 1;
        assert!(queries(&plonky2_layer(&common(more, 13), Regime::UniqueDecoding)) > queries(&base));
        let mut fewer = config;
        fewer.num_challenges = 2;
        let fewer = plonky2_layer(&common(fewer, 13), Regime::UniqueDecoding);
        assert!(fewer.terms[4].bits < base.terms[4].bits);
        assert!(fewer.terms[5].bits < base.terms[5].bits);
    }
}
