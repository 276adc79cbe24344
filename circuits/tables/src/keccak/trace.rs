//! Filling the keccak table.

use joule_machine::{Records, records::KeccakEvent};
use p3_field::PrimeCharacteristicRing;
use p3_matrix::dense::RowMajorMatrix;
use p3_maybe_rayon::prelude::*;

use super::{
    columns::{HALF, KeccakColumns, LANES, SIDE},
    program::{CONSTANT_BITS, ROTATIONS, ROUNDS, ROWS, round_constants},
};
use crate::{Felt, check::Trace, trace::TraceError};

/// How many rows a run needs.
#[must_use]
pub fn rows(records: &Records) -> usize {
    ROWS * records.keccaks.len()
}

/// The trace of the permutations, padded to `height` rows: with permutations of zeros for nobody, then with rows of zeros.
///
/// # Errors
///
/// [`TraceError::TooManyRows`].
pub fn trace(keccaks: &[KeccakEvent], height: usize) -> Result<Trace, TraceError> {
    let blocks = height / ROWS;
    if keccaks.len() > blocks {
        return Err(TraceError::TooManyRows { table: "keccak", rows: ROWS * keccaks.len(), height });
    }
    let width = KeccakColumns::<()>::WIDTH;
    let mut values = Felt::zero_vec(width * height);
    values.par_chunks_exact_mut(width * ROWS).enumerate().for_each(|(block, cells)| {
        permutation(keccaks.get(block), cells);
    });
    // Behind the last whole permutation, its call is still what the rows say.
    let columns = KeccakColumns::numbers();
    if blocks > 0 {
        let (done, rest) = values.split_at_mut(blocks * ROWS * width);
        let last = &done[done.len() - width..];
        for row in rest.chunks_exact_mut(width) {
            for column in [columns.is_real, columns.clock, columns.address].into_iter().chain(columns.initial) {
                row[column] = last[column];
            }
        }
    }
    behind_chi(&mut values);
    Ok(RowMajorMatrix::new(values, width))
}

/// Fills in what χ makes of every two neighbouring rows.
pub(crate) fn behind_chi(values: &mut [Felt]) {
    let (width, columns) = (KeccakColumns::<()>::WIDTH, KeccakColumns::numbers());
    let height = values.len() / width;
    let theta: Vec<[u32; LANES]> =
        values.par_chunks_exact(width).map(|row| bits_to_words(row, columns.theta)).collect();
    values.par_chunks_exact_mut(width).enumerate().for_each(|(index, row)| {
        let (low, high) = (&theta[(index + height - 1) % height], &theta[index]);
        let lanes = core::array::from_fn(|lane| u64::from(low[lane]) | u64::from(high[lane]) << 32);
        let after = chi(&lanes);
        for lane in 0..LANES {
            row[columns.after[lane]] = Felt::from_u32(after[lane] as u32);
            row[columns.after[LANES + lane]] = Felt::from_u32((after[lane] >> 32) as u32);
        }
        for (column, bit) in columns.flipped.into_iter().zip(CONSTANT_BITS) {
            row[column] = Felt::from_u64(after[0] >> bit & 1);
        }
    });
}

fn bits_to_words(row: &[Felt], columns: [usize; LANES * HALF]) -> [u32; LANES] {
    core::array::from_fn(|lane| {
        (0..HALF).fold(0, |word, z| word | u32::from(row[columns[lane * HALF + z]] == Felt::ONE) << z)
    })
}

/// ρ, π and χ.
pub(crate) fn chi(theta: &[u64; LANES]) -> [u64; LANES] {
    let moved = |x: usize, y: usize| {
        let lane = (x + 3 * y) % SIDE + SIDE * x;
        theta[lane].rotate_left(ROTATIONS[lane])
    };
    core::array::from_fn(|lane| {
        let (x, y) = (lane % SIDE, lane / SIDE);
        moved(x, y) ^ (!moved((x + 1) % SIDE, y) & moved((x + 2) % SIDE, y))
    })
}

/// One permutation, of zeros if there is no call, but for what depends on neighbouring rows.
fn permutation(event: Option<&KeccakEvent>, cells: &mut [Felt]) {
    let word = |index: usize| event.map_or(0, |event| event.state[index].before);
    let initial: [u32; 2 * LANES] = core::array::from_fn(|index| word(2 * (index % LANES) + index / LANES));
    let mut state: [u64; LANES] =
        core::array::from_fn(|lane| u64::from(initial[lane]) | u64::from(initial[LANES + lane]) << 32);
    let constants = round_constants();
    let zero = KeccakColumns::read(&[Felt::ZERO; KeccakColumns::<()>::WIDTH]);
    let common = KeccakColumns {
        is_real: Felt::from_bool(event.is_some()),
        clock: Felt::from_u32(event.map_or(0, |event| event.clock)),
        address: Felt::from_u32(event.map_or(0, |event| event.address)),
        initial: initial.map(Felt::from_u32),
        ..zero
    };
    for (rows, constant) in cells.chunks_exact_mut(2 * KeccakColumns::<()>::WIDTH).zip(constants) {
        let round = Round::of(state);
        round.write(&common, rows);
        state = round.end(constant);
    }
    debug_assert_eq!(constants.len(), ROUNDS);
}

/// What a round computes, in whole lanes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    /// A.
    pub(crate) state: [u64; LANES],
    /// The parities of A's columns.
    pub(crate) parity: [u64; SIDE],
    /// In front of the lower and of the upper half, column by column.
    pub(crate) parity_in_front: [[bool; SIDE]; 2],
    /// A′.
    pub(crate) theta: [u64; LANES],
    /// The parities of the columns of A′.
    pub(crate) theta_parity: [u64; SIDE],
}

impl Round {
    /// The round of a state.
    pub(crate) fn of(state: [u64; LANES]) -> Self {
        let parity: [u64; SIDE] = core::array::from_fn(|x| (0..SIDE).fold(0, |sum, y| sum ^ state[x + SIDE * y]));
        let flip: [u64; SIDE] =
            core::array::from_fn(|x| parity[(x + 4) % SIDE] ^ parity[(x + 1) % SIDE].rotate_left(1));
        Self {
            state,
            parity,
            parity_in_front: [63, 31].map(|bit| parity.map(|lane| lane >> bit & 1 == 1)),
            theta: core::array::from_fn(|lane| state[lane] ^ flip[lane % SIDE]),
            theta_parity: core::array::from_fn(|x| parity[x] ^ flip[x]),
        }
    }

    /// Writes its two rows, but for what depends on neighbouring rows.
    pub(crate) fn write(&self, common: &KeccakColumns<Felt>, rows: &mut [Felt]) {
        for (half, row) in rows.chunks_exact_mut(KeccakColumns::<()>::WIDTH).enumerate() {
            let shift = HALF * half;
            let bit = |lane: u64, z: usize| Felt::from_u64(lane >> (shift + z) & 1);
            KeccakColumns {
                pending: if half == 0 {
                    self.state.map(|lane| Felt::from_u64(lane >> HALF))
                } else {
                    [Felt::ZERO; LANES]
                },
                before: self.state.map(|lane| Felt::from_u32((lane >> shift) as u32)),
                theta: core::array::from_fn(|index| bit(self.theta[index / HALF], index % HALF)),
                parity: core::array::from_fn(|index| bit(self.parity[index / HALF], index % HALF)),
                theta_parity: core::array::from_fn(|index| bit(self.theta_parity[index / HALF], index % HALF)),
                parity_in_front: self.parity_in_front[half].map(Felt::from_bool),
                ..*common
            }
            .write(row);
        }
    }

    /// The state behind the round.
    pub(crate) fn end(&self, constant: u64) -> [u64; LANES] {
        let mut state = chi(&self.theta);
        state[0] ^= constant;
        state
    }
}
