//! The rounds: what is fixed about each row.

use p3_field::PrimeCharacteristicRing;
use p3_matrix::dense::RowMajorMatrix;

use super::columns::ProgramColumns;
use crate::{Felt, check::Trace};

/// Rounds of Keccak-f\[1600\].
pub const ROUNDS: usize = 24;
/// Rows of one permutation.
pub const ROWS: usize = 2 * ROUNDS;

/// The places, in a lane, of the bits that a round constant can have: 2^j − 1 for j from 0 to 6.
pub const CONSTANT_BITS: [usize; 7] = [0, 1, 3, 7, 15, 31, 63];

/// The rotation of lane x + 5y in ρ (FIPS 202, section 3.2.2).
pub const ROTATIONS: [u32; 25] =
    [0, 1, 62, 28, 27, 36, 44, 6, 55, 20, 3, 10, 43, 25, 39, 41, 45, 15, 21, 8, 18, 2, 61, 56, 14];

/// The round constants (FIPS 202, section 3.2.5): the bits of a linear feedback shift register, seven for each round.
#[must_use]
pub const fn round_constants() -> [u64; ROUNDS] {
    let mut constants = [0; ROUNDS];
    let mut register: u8 = 1;
    let mut round = 0;
    while round < ROUNDS {
        let mut j = 0;
        while j < CONSTANT_BITS.len() {
            if register & 1 == 1 {
                constants[round] |= 1 << CONSTANT_BITS[j];
            }
            // x^8 + x^6 + x^5 + x^4 + 1.
            register = (register << 1) ^ ((register >> 7) * 0x71);
            j += 1;
        }
        round += 1;
    }
    constants
}

/// The preprocessed trace: as many permutations as fit whole; rows behind that say nothing.
#[must_use]
pub fn preprocessed(height: usize) -> Trace {
    let width = ProgramColumns::<()>::WIDTH;
    let constants = round_constants();
    let mut values = Felt::zero_vec(width * height);
    for (index, row) in values.chunks_exact_mut(width).take(height / ROWS * ROWS).enumerate() {
        let (round, is_low) = (index % ROWS / 2, index % 2 == 0);
        let constant = if is_low { 0 } else { constants[round] };
        ProgramColumns {
            is_low: Felt::from_bool(is_low),
            is_first: Felt::from_bool(index % ROWS == 0),
            goes_on: Felt::from_bool(!is_low && round + 1 < ROUNDS),
            is_last: Felt::from_bool(index % ROWS == ROWS - 1),
            constant: CONSTANT_BITS.map(|bit| Felt::from_bool(constant >> bit & 1 == 1)),
        }
        .write(row);
    }
    RowMajorMatrix::new(values, width)
}
