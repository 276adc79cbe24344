//! One row is one permutation.

use p3_goldilocks::{GOLDILOCKS_POSEIDON2_HALF_FULL_ROUNDS, GOLDILOCKS_POSEIDON2_PARTIAL_ROUNDS_8};

use crate::columns::columns;

/// Elements of the state.
pub const STATE: usize = 8;
/// Full rounds before, and after, the partial ones.
pub const FULL_ROUNDS: usize = GOLDILOCKS_POSEIDON2_HALF_FULL_ROUNDS;
/// Partial rounds.
pub const PARTIAL_ROUNDS: usize = GOLDILOCKS_POSEIDON2_PARTIAL_ROUNDS_8;

columns! {
    /// A row of the permutation table.
    pub struct PermutationColumns {
        /// How often each half of the output is looked up.
        lookups: [2],
        /// The state before.
        input: [STATE],
        /// The cubes of what enters the S-boxes of the first full rounds, round by round.
        first_cubes: [FULL_ROUNDS * STATE],
        /// The state behind each of the first full rounds.
        first_states: [FULL_ROUNDS * STATE],
        /// The cube of what enters the one S-box of each partial round.
        partial_cubes: [PARTIAL_ROUNDS],
        /// What leaves the one S-box of each partial round.
        partial_outputs: [PARTIAL_ROUNDS],
        /// The cubes of what enters the S-boxes of the last full rounds.
        last_cubes: [FULL_ROUNDS * STATE],
        /// The state behind each of the last full rounds; the final one is the output.
        last_states: [FULL_ROUNDS * STATE],
    }
}
