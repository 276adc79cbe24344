//! The parameters of a table proof.

use p3_commit::ExtensionMmcs;
use p3_dft::Radix2DitParallel;
use p3_fri::{FriParameters, TwoAdicFriPcs};
use p3_goldilocks::default_goldilocks_poseidon2_12;

use crate::field::{Challenger, Compression, LeafHash, TableConfig, ValMmcs};

/// How the tables are committed to and tested for low degree. Prover, native verifier and circuit read this one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StarkParameters {
    /// Binary logarithm of the blowup of FRI.
    pub log_blowup: usize,
    /// Number of FRI queries.
    pub queries: usize,
    /// Binary logarithm of the length of the final polynomial.
    pub log_final_polynomial_length: usize,
    /// Binary logarithm of the largest folding arity; at most three.
    pub log_arity_max: usize,
    /// Height of the Merkle caps.
    pub cap_height: usize,
    /// Bits of grinding before the lookup challenges.
    pub lookup_grinding_bits: usize,
    /// Bits of grinding before the out-of-domain point.
    pub out_of_domain_grinding_bits: usize,
    /// Bits of grinding before the openings are batched.
    pub batch_grinding_bits: usize,
    /// Bits of grinding before each folding challenge.
    pub commit_grinding_bits: usize,
    /// Bits of grinding before the query indices.
    pub query_grinding_bits: usize,
}

impl StarkParameters {
    /// The commitment scheme of base-field matrices.
    #[must_use]
    pub fn mmcs(&self) -> ValMmcs {
        let permutation = default_goldilocks_poseidon2_12();
        ValMmcs::new(LeafHash::new(permutation.clone()), Compression::new(permutation), self.cap_height)
    }

    /// The parameters of FRI with commitments `mmcs`.
    #[must_use]
    pub const fn fri<M>(&self, mmcs: M) -> FriParameters<M> {
        FriParameters {
            log_blowup: self.log_blowup,
            log_final_poly_len: self.log_final_polynomial_length,
            max_log_arity: self.log_arity_max,
            num_queries: self.queries,
            batch_proof_of_work_bits: self.batch_grinding_bits,
            commit_proof_of_work_bits: self.commit_grinding_bits,
            query_proof_of_work_bits: self.query_grinding_bits,
            mmcs,
        }
    }

    /// Plonky3's configuration with these parameters.
    #[must_use]
    pub fn config(&self) -> TableConfig {
        let fri = self.fri(ExtensionMmcs::new(self.mmcs()));
        let pcs = TwoAdicFriPcs::new(Radix2DitParallel::default(), self.mmcs(), fri);
        TableConfig::new(pcs, Challenger::new(default_goldilocks_poseidon2_12()))
            .with_lookup_proof_of_work_bits(self.lookup_grinding_bits)
            .with_ood_proof_of_work_bits(self.out_of_domain_grinding_bits)
    }
}
