//! The security budget of a table proof: provable bits, term by term.
//!
//! Everything is in the unique-decoding regime, which leans on no conjecture and on no recent theorem (Ben-Sasson, Carmon, Ishai, Kopparty, Saraf:
//! *Proximity gaps for Reed–Solomon codes*, 2020/654; Block, Garreta, Katz, Thaler, Tiwari, Zając: *Fiat–Shamir security of FRI*, 2023/1071, for
//! round-by-round soundness). With F the cubic extension, n the largest committed domain, k = n/4 the tallest table:
//!
//! | term | error |
//! |---|---|
//! | lookups | N (W + 2) / F for N messages of width at most W (Haböck, 2022/1530; a denominator that vanishes included) |
//! | composition | C / F for C constraints |
//! | out of domain | d k / F for each table of degree d, plus what its quotient's chunks add |
//! | batching | (m − 1) n / F for m opened polynomials and points |
//! | folding | (a − 1) (n + 1) / F for each fold of arity a |
//! | queries | ((1 + ρ⁺) / 2)^q / 2^g for q queries and g bits of grinding |
//! | hash | collisions of a 256-bit digest |
//!
//! Zero knowledge is not claimed.

use p3_air::BaseAir;
use p3_batch_stark::security::num_batched_openings;
use p3_field::PrimeField64;
use p3_security::{
    GrindingSites, SecurityReport,
    fri::FriRegime,
    logup::{LogUpAir, security_term},
    shape::{InstanceShape, StarkAirParams},
    stark::proven_security_report,
};
use serde::Serialize;

use crate::{
    Felt,
    config::{DIGEST, Parameters, Profile},
    inventory::{TableInventory, inventory},
    shape::Shape,
};

/// One way to break a proof.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Term {
    /// Which.
    pub name: &'static str,
    /// −log2 of the probability with which it succeeds, per attempt (a hash evaluation, or a ground one).
    pub bits: f64,
}

/// The terms of a table proof.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Budget {
    /// All terms.
    pub terms: Vec<Term>,
}

impl Budget {
    /// The weakest term.
    ///
    /// # Panics
    ///
    /// Never: there are terms.
    #[must_use]
    pub fn bits(&self) -> f64 {
        self.terms.iter().map(|term| term.bits).min_by(f64::total_cmp).expect("there are terms")
    }

    /// All terms together: −log2 of the sum of their errors.
    #[must_use]
    pub fn bits_together(&self) -> f64 {
        -self.terms.iter().map(|term| (-term.bits).exp2()).sum::<f64>().log2()
    }
}

/// log2 of the field that challenges are drawn from.
fn challenge_bits() -> f64 {
    3.0 * (Felt::ORDER_U64 as f64).log2()
}

/// Computes the budget of a shape and a profile.
#[must_use]
pub fn budget(shape: Shape, profile: Profile) -> Budget {
    let tables = inventory(shape);
    let Parameters { log_blowup, queries, log_final_polynomial_length, log_arity_max, query_grinding_bits, .. } =
        profile.parameters();
    let field = challenge_bits();
    let of = |errors: f64| field - errors.log2();
    let tallest_bits = tables.iter().map(|table| table.height_bits).max().unwrap_or(0);
    let tallest = (tallest_bits as f64).exp2();
    let domain = tallest * (log_blowup as f64).exp2();

    let messages: f64 = tables.iter().map(|table| table.messages_total() as f64).sum();
    let message_width = tables.iter().map(|table| table.message_width).max().unwrap_or(0) as f64;
    let constraints: f64 = tables.iter().map(|table| (table.constraints + table.bus_constraints) as f64).sum();
    // At the point, constraint = quotient · vanishing polynomial: degree d (k + 1) on the left, and the quotient's chunks, each of degree k, on
    // the right; k − 1 more for the division by the difference to the point.
    let out_of_domain: f64 = tables
        .iter()
        .map(|table| {
            let height = (table.height_bits as f64).exp2();
            let chunks = (table.quotient / 3) as f64;
            f64::max(table.degree as f64 * (height + 1.0) + height - 1.0, (chunks + 1.0) * height + 1.0)
        })
        .sum();
    let openings: f64 = tables.iter().map(|table| table.openings as f64).sum();
    let folds = (tallest_bits + log_blowup).saturating_sub(log_final_polynomial_length).div_ceil(log_arity_max);
    // Domains shrink by the arity, so that all folds together cost less than twice the first; fold by fold, the first is the worst.
    let fold = ((1 << log_arity_max) - 1) as f64 * (domain + 1.0);
    debug_assert!(folds > 0);

    // Two points per column at most: the rate grows by two over the domain.
    let rate = (tallest + 2.0) / domain;
    let query_bits = -((1.0 + rate) / 2.0).log2();
    Budget {
        terms: vec![
            Term { name: "lookups", bits: of(messages * (message_width + 2.0)) },
            Term { name: "composition", bits: of(constraints) },
            Term { name: "out of domain", bits: of(out_of_domain) },
            Term { name: "batching", bits: of((openings - 1.0) * domain) },
            Term { name: "folding", bits: of(fold) },
            Term { name: "queries", bits: queries as f64 * query_bits + query_grinding_bits as f64 },
            Term { name: "hash", bits: (64 * DIGEST) as f64 / 2.0 },
        ],
    }
}

/// The same from Plonky3's own analysis, which knows one table only: it is given the tallest one with the constraints, openings and messages of
/// all.
#[must_use]
pub fn plonky3_report(shape: Shape, profile: Profile) -> SecurityReport {
    let tables = inventory(shape);
    let parameters = profile.parameters();
    let total = |of: fn(&TableInventory) -> usize| tables.iter().map(of).sum::<usize>();
    let log_trace_length = tables.iter().map(|table| table.height_bits).max().unwrap_or(0);
    let openings = shape
        .tables_without_image()
        .iter()
        .zip(&tables)
        .map(|(table, counted)| {
            num_batched_openings(
                counted.main,
                !table.main_next_row_columns().is_empty(),
                counted.preprocessed,
                !table.preprocessed_next_row_columns().is_empty(),
                counted.quotient / 3,
                (counted.auxiliary / 3).saturating_sub(1),
                3,
                p3_uni_stark::OpeningShape::new(),
            )
        })
        .sum();
    let instance = InstanceShape {
        log_trace_length,
        modulus_bits: challenge_bits().floor() as usize,
        collision_resistance: 32 * DIGEST,
        num_batched_functions: openings,
    };
    let air = StarkAirParams {
        num_constraints: total(|table| table.constraints + table.bus_constraints),
        max_constraint_degree: tables.iter().map(|table| table.degree).max().unwrap_or(0),
        num_quotient_chunks: tables.iter().map(|table| table.quotient / 3).max().unwrap_or(0),
        max_combo: 2,
    };
    let fri = FriRegime {
        log_blowup: parameters.log_blowup,
        num_queries: parameters.queries,
        log_final_poly_len: parameters.log_final_polynomial_length,
        max_log_arity: parameters.log_arity_max,
        commit_pow_bits: 0,
        query_pow_bits: parameters.query_grinding_bits,
    };
    let lookups = LogUpAir {
        num_interactions: total(TableInventory::messages_total).div_ceil(1 << log_trace_length),
        max_message_width: tables.iter().map(|table| table.message_width).max().unwrap_or(0),
    };
    let extras: Vec<_> = security_term(&lookups, &instance, &GrindingSites::NONE).into_iter().collect();
    proven_security_report(&fri, &air, &instance, &extras, &GrindingSites::NONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proven_means_a_hundred_bits_in_every_term() {
        for shape in Shape::KNOWN {
            let proven = budget(shape, Profile::Proven);
            assert!(proven.terms.iter().all(|term| term.bits >= 100.0), "{shape}: {:?}", proven.terms);
            // What `fast` gives is said, not hoped for.
            let fast = budget(shape, Profile::Fast);
            assert!((44.0..45.0).contains(&fast.bits()), "{shape}: {:?}", fast.terms);
        }
    }

    #[test]
    fn plonky3_agrees() {
        for shape in Shape::KNOWN {
            for profile in Profile::ALL {
                let own = budget(shape, profile).bits();
                let theirs = plonky3_report(shape, profile).udr.security_bits();
                assert!((own - theirs).abs() < 0.01, "{shape}, {profile}: {own} here, {theirs} there");
            }
        }
    }

    #[test]
    fn plonky3_agrees_term_by_term() {
        let own = budget(Shape::Large, Profile::Proven);
        let report = plonky3_report(Shape::Large, Profile::Proven);
        let mine = |name: &str| own.terms.iter().find(|term| term.name == name).unwrap().bits;
        let theirs = |label: &str| report.udr.terms().iter().find(|term| term.label == label).unwrap().bits.bits();
        let agree = |mine: f64, theirs: f64, slack: f64| {
            assert!((mine - theirs).abs() < slack, "{mine} here, {theirs} there, expected within {slack}");
        };
        agree(mine("lookups"), theirs("logup-fingerprint"), 1.1);
        agree(mine("composition"), theirs("air-composition"), 1.1);
        // They have one table, we add up all.
        agree(mine("out of domain"), theirs("deep-ali"), 4.0);
        agree(mine("batching"), theirs("batch-combination"), 1.1);
        agree(f64::min(mine("folding"), mine("queries")), theirs("low-degree-test"), 0.01);
        agree(mine("hash"), theirs("commitment-collision"), 0.01);
        assert!(own.bits_together() > 99.9 && own.bits_together() < own.bits());
    }
}
