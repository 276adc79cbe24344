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
    // What χ makes of every two neighbouring rows.
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
    Ok(RowMajorMatrix::new(values, width))
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
    let mut rows = cells.chunks_exact_mut(KeccakColumns::<()>::WIDTH);
    for constant in constants {
        let parity: [u64; SIDE] = core::array::from_fn(|x| (0..SIDE).fold(0, |sum, y| sum ^ state[x + SIDE * y]));
        let flip: [u64; SIDE] =
            core::array::from_fn(|x| parity[(x + 4) % SIDE] ^ parity[(x + 1) % SIDE].rotate_left(1));
        let theta: [u64; LANES] = core::array::from_fn(|lane| state[lane] ^ flip[lane % SIDE]);
        let theta_parity: [u64; SIDE] = core::array::from_fn(|x| parity[x] ^ flip[x]);
        for half in 0..2 {
            let shift = HALF * half;
            let bit = |lane: u64, z: usize| Felt::from_u64(lane >> (shift + z) & 1);
            let Some(row) = rows.next() else { return };
            KeccakColumns {
                pending: if half == 0 { state.map(|lane| Felt::from_u64(lane >> HALF)) } else { [Felt::ZERO; LANES] },
                before: state.map(|lane| Felt::from_u32((lane >> shift) as u32)),
                theta: core::array::from_fn(|index| bit(theta[index / HALF], index % HALF)),
                parity: core::array::from_fn(|index| bit(parity[index / HALF], index % HALF)),
                theta_parity: core::array::from_fn(|index| bit(theta_parity[index / HALF], index % HALF)),
                parity_in_front: parity.map(|lane| Felt::from_u64(lane.rotate_right(31 + 32 * (1 - half as u32)) & 1)),
                ..common
            }
            .write(row);
        }
        state = chi(&theta);
        state[0] ^= constant;
    }
    debug_assert_eq!(constants.len(), ROUNDS);
}
