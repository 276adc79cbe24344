//! The proof system's types, its parameters and the two profiles.

use p3_challenger::DuplexChallenger;
use p3_commit::ExtensionMmcs;
use p3_dft::Radix2DitParallel;
use p3_field::{Field, extension::CubicTrinomialExtensionField};
use p3_fri::{FriParameters, TwoAdicFriPcs};
use p3_goldilocks::{Poseidon2Goldilocks, default_goldilocks_poseidon2_12};
use p3_merkle_tree::MerkleTreeMmcs;
use p3_symmetric::{PaddingFreeSponge, TruncatedPermutation};
use p3_uni_stark::StarkConfig;
use serde::{Deserialize, Serialize};

use crate::{
    Felt,
    opening::{ProverConfig, ProverPcs},
};

/// Width of the Poseidon2 state.
pub const WIDTH: usize = 12;
/// Elements that a permutation absorbs or gives.
pub const RATE: usize = 8;
/// Elements of a digest: 256 bits, so collisions cost 2^128.
pub const DIGEST: usize = 4;

/// The field that challenges are drawn from: the cubic extension, of 192 bits.
pub type Challenge = CubicTrinomialExtensionField<Felt>;
/// Poseidon2 of width 12 with the published constants.
pub type Permutation = Poseidon2Goldilocks<WIDTH>;
/// The hash of Merkle leaves.
pub type LeafHash = PaddingFreeSponge<Permutation, WIDTH, RATE, DIGEST>;
/// The compression of two digests.
pub type Compression = TruncatedPermutation<Permutation, 2, DIGEST, WIDTH>;
/// Commitments to traces.
pub type FeltMmcs =
    MerkleTreeMmcs<<Felt as Field>::Packing, <Felt as Field>::Packing, LeafHash, Compression, 2, DIGEST>;
/// Commitments to the codewords of FRI.
pub type ChallengeMmcs = ExtensionMmcs<Felt, Challenge, FeltMmcs>;
/// The transcript.
pub type Challenger = DuplexChallenger<Felt, Permutation, WIDTH, RATE>;
/// The polynomial commitment scheme.
pub type TablePcs = TwoAdicFriPcs<Felt, Radix2DitParallel<Felt>, FeltMmcs, ChallengeMmcs>;
/// All of it.
pub type Config = StarkConfig<TablePcs, Challenge, Challenger>;

/// How the tables are committed to and tested for low degree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// Base-two logarithm of the blowup, which is the inverse of the rate.
    pub log_blowup: usize,
    /// Number of queries.
    pub queries: usize,
    /// Base-two logarithm of the length of the final polynomial.
    pub log_final_polynomial_length: usize,
    /// Base-two logarithm of the largest folding arity.
    pub log_arity_max: usize,
    /// Height of the Merkle caps.
    pub cap_height: usize,
    /// Bits of grinding before the query indices are drawn. No other challenge is ground for: the field is large enough.
    pub query_grinding_bits: usize,
}

/// How much soundness is paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// For development. Its queries would give 100 bits under a conjecture that was refuted in 2025; what can be proven is printed
    /// by the security budget. Contracts accept it on local chains only.
    Fast,
    /// At least 100 provable bits in every term, within the unique-decoding radius.
    Proven,
}

impl Profile {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Fast, Self::Proven];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Proven => "proven",
        }
    }

    /// Its parameters. Profiles differ in nothing but the number of queries, so preprocessed commitments and the program hash are
    /// the same in both.
    #[must_use]
    pub const fn parameters(self) -> Parameters {
        Parameters {
            // At two, committing would cost half and `proven` would ask 203 queries: the circuit that verifies them doubles, and a segment costs more in all.
            // At eight, committing doubles and the queries fall by a fifth.
            log_blowup: 2,
            queries: match self {
                Self::Fast => 42,
                // Within the unique-decoding radius a query gives −log2((1 + 1/4) / 2) = 0.678 bits: 124 give 84.08, and 16 are ground.
                Self::Proven => 124,
            },
            log_final_polynomial_length: 4,
            log_arity_max: 3,
            cap_height: 4,
            query_grinding_bits: 16,
        }
    }

    /// The proof system with these parameters.
    #[must_use]
    pub fn config(self) -> Config {
        let (mmcs, fri) = self.commitments();
        Config::new(TwoAdicFriPcs::new(Radix2DitParallel::default(), mmcs, fri), self.challenger())
    }

    /// The same as a prover runs it.
    #[must_use]
    pub fn prover_config(self) -> ProverConfig {
        let (mmcs, fri) = self.commitments();
        ProverConfig::new(ProverPcs::new(Radix2DitParallel::default(), mmcs, fri), self.challenger())
    }

    fn challenger(self) -> Challenger {
        Challenger::new(default_goldilocks_poseidon2_12())
    }

    fn commitments(self) -> (FeltMmcs, FriParameters<ChallengeMmcs>) {
        let parameters = self.parameters();
        let permutation = default_goldilocks_poseidon2_12();
        let mmcs = || {
            let compression = Compression::new(permutation.clone());
            FeltMmcs::new(LeafHash::new(permutation.clone()), compression, parameters.cap_height)
        };
        let fri = FriParameters {
            log_blowup: parameters.log_blowup,
            log_final_poly_len: parameters.log_final_polynomial_length,
            max_log_arity: parameters.log_arity_max,
            num_queries: parameters.queries,
            batch_proof_of_work_bits: 0,
            commit_proof_of_work_bits: 0,
            query_proof_of_work_bits: parameters.query_grinding_bits,
            mmcs: ExtensionMmcs::new(mmcs()),
        };
        (mmcs(), fri)
    }
}

impl core::fmt::Display for Profile {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str(self.as_str())
    }
}
