//! A round is two rows: bits 0 to 31 of every lane, then bits 32 to 63. Lane x + 5y is A\[x\]\[y\] of FIPS 202.

use crate::columns::columns;

/// Lanes of the state.
pub const LANES: usize = 25;
/// Columns of the state, and lanes in each.
pub const SIDE: usize = 5;
/// Bits of a lane in one row.
pub const HALF: usize = 32;

columns! {
    /// The preprocessed columns: the rounds of one permutation, over and over.
    pub struct ProgramColumns {
        /// The lower half of a round; the next row is the upper half.
        is_low,
        /// The first row of a permutation.
        is_first,
        /// The upper half of a round that is not the last.
        goes_on,
        /// The last row of a permutation.
        is_last,
        /// Upper half: the bits of the round constant, at [`super::program::CONSTANT_BITS`].
        constant: [7],
    }
}

columns! {
    /// The main columns. A, A′, B and A″ are the states before θ, behind θ, behind ρ and π, and behind χ.
    pub struct KeccakColumns {
        /// Does the permutation serve a call?
        is_real,
        /// The clock of the call.
        clock,
        /// Where the state is.
        address,
        /// The words of the state before the permutation: low words, then high words.
        initial: [2 * LANES],
        /// Lower half: the high words of A, which the next row is about.
        pending: [LANES],
        /// This half of the lanes of A.
        before: [LANES],
        /// The bits of this half of the lanes of A′, lane by lane.
        theta: [LANES * HALF],
        /// The bits of the parities of the columns of A.
        parity: [SIDE * HALF],
        /// The bits of the parities of the columns of A′.
        theta_parity: [SIDE * HALF],
        /// The parities' bits in front of this half: bit 63 for the lower half, bit 31 for the upper.
        parity_in_front: [SIDE],
        /// The words of A″ made of the bits in the row before and in this one: low words, then high words. Without meaning in lower halves.
        after: [2 * LANES],
        /// The bits of lane 0 of A″ that the round constant may flip.
        flipped: [7],
    }
}
