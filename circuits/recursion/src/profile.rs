//! The two profiles, in one place.

use plonky2::fri::FriConfig;
use plonky2::fri::reduction_strategies::FriReductionStrategy;
use plonky2::plonk::circuit_data::CircuitConfig;
use serde::{Deserialize, Serialize};

use crate::gates::ROUTED_WIRES;

/// How much soundness is paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// For development: fewer queries than any proof of soundness asks for. Contracts accept it on local chains only.
    Fast,
    /// Enough queries for provable soundness within the unique-decoding radius; see [`crate::security`].
    Proven,
}

/// A plonky2 layer of the proof chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layer {
    /// Verifies a table proof.
    Segment,
    /// Lifted segments and merges, which share one circuit layout.
    Merge,
    /// Makes the last merge small.
    Shrink,
    /// What the wrap verifies.
    Last,
}

impl Layer {
    /// All layers, in the order in which they are proved.
    pub const ALL: [Self; 4] = [Self::Segment, Self::Merge, Self::Shrink, Self::Last];
}

impl Profile {
    /// The name in file headers and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Proven => "proven",
        }
    }

    /// The configuration of a plonky2 layer.
    ///
    /// Three challenges where plonky2 draws from the base field: one costs `n·80 / 2^64`, two would leave 85 bits at
    /// `n = 2^15`. The last layers have a lower rate: the wrap pays per query, and their own prover is small. Halving it
    /// once more would save the wrap a fifth of its queries and double the hashing over BN254, which takes as long as the
    /// wrap already.
    #[must_use]
    pub const fn plonky2(self, layer: Layer) -> CircuitConfig {
        let rate_bits = match layer {
            Layer::Segment | Layer::Merge => 3,
            Layer::Shrink | Layer::Last => 4,
        };
        let queries = match self {
            // As in the tables, 80 bits with the 16 that are ground, by the conjecture refuted in 2025. A merge of two
            // then fits 2^13 rows.
            Self::Fast => 64usize.div_ceil(rate_bits),
            // (1 + ρ)/2 per query within the unique-decoding radius, 84 bits in all.
            Self::Proven => match rate_bits {
                3 => 102,
                _ => 93,
            },
        };
        CircuitConfig {
            num_wires: 135,
            num_routed_wires: ROUTED_WIRES,
            num_constants: 2,
            use_base_arithmetic_gate: true,
            // plonky2 only compares this with its own conjectural formula; the bits that count are computed by
            // `security`.
            security_bits: match self {
                Self::Fast => 80,
                Self::Proven => 100,
            },
            num_challenges: 3,
            zero_knowledge: false,
            max_quotient_degree_factor: 8,
            fri_config: FriConfig {
                rate_bits,
                cap_height: 4,
                proof_of_work_bits: 16,
                reduction_strategy: FriReductionStrategy::ConstantArityBits(4, 5),
                num_query_rounds: queries,
            },
        }
    }
}
