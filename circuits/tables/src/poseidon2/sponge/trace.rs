//! Filling the sponge table.

use joule_machine::{
    Records,
    layout::{HASH_WORDS_MAX, SLOT_PRECOMPILE},
    poseidon2::permutations,
    records::{Access, HashEvent},
};
use p3_field::PrimeCharacteristicRing;
use p3_goldilocks::default_goldilocks_poseidon2_8;
use p3_matrix::dense::RowMajorMatrix;
use p3_symmetric::Permutation;

use super::columns::SpongeColumns;
use crate::{Felt, check::Trace, trace::TraceError};

/// How many rows a run needs.
#[must_use]
pub fn rows(records: &Records) -> usize {
    records.hashes.iter().map(|event| permutations(event.input.len()) + 4).sum()
}

/// The trace of the hashes, padded to `height` rows of zeros.
///
/// # Errors
///
/// [`TraceError::TooManyRows`].
pub fn trace(hashes: &[HashEvent], height: usize) -> Result<Trace, TraceError> {
    let rows = hashes.iter().map(|event| permutations(event.input.len()) + 4).sum();
    if rows > height {
        return Err(TraceError::TooManyRows { table: "sponge", rows, height });
    }
    let width = SpongeColumns::<()>::WIDTH;
    let mut values = Felt::zero_vec(width * height);
    for (row, columns) in values.chunks_exact_mut(width).zip(hashes.iter().flat_map(hash)) {
        columns.write(row);
    }
    Ok(RowMajorMatrix::new(values, width))
}

/// The rows of one hash.
fn hash(event: &HashEvent) -> Vec<SpongeColumns<Felt>> {
    let length = event.input.len();
    let blocks = permutations(length);
    let common = SpongeColumns {
        is_absorb: Felt::ZERO,
        is_first: Felt::ZERO,
        is_last: Felt::ZERO,
        is_store: [Felt::ZERO; 4],
        clock: Felt::from_u32(event.clock),
        input_address: Felt::from_u32(event.input_address),
        output_address: Felt::from_u32(event.output_address),
        length: Felt::from_usize(length),
        tag: Felt::from_u32(event.tag),
        done: Felt::ZERO,
        has: [Felt::ZERO; 4],
        words: [Felt::ZERO; 4],
        capacity: [Felt::ZERO; 4],
        output: [Felt::ZERO; 4],
        argument: Felt::ZERO,
        previous_timestamp: Felt::ZERO,
        gap_low: Felt::ZERO,
    };
    let permutation = default_goldilocks_poseidon2_8();
    let mut capacity = [common.tag, common.length, Felt::ZERO, Felt::ZERO];
    let mut rows = Vec::with_capacity(blocks + 4);
    let mut digest = [Felt::ZERO; 4];
    for block in 0..blocks {
        let word = |index: usize| event.input.get(4 * block + index);
        let words = core::array::from_fn(|index| word(index).map_or(Felt::ZERO, |access| Felt::from_u32(access.after)));
        let mut state = core::array::from_fn(|index| if index < 4 { words[index] } else { capacity[index - 4] });
        permutation.permute_mut(&mut state);
        let is_last = block + 1 == blocks;
        let output = core::array::from_fn(|index| state[if is_last { index } else { index + 4 }]);
        rows.push(SpongeColumns {
            is_absorb: Felt::ONE,
            is_first: Felt::from_bool(block == 0),
            is_last: Felt::from_bool(is_last),
            done: Felt::from_usize(4 * block),
            has: core::array::from_fn(|index| Felt::from_bool(word(index).is_some())),
            words,
            capacity,
            output,
            ..common
        });
        capacity = output;
        digest = output;
    }
    let timestamp = event.clock + SLOT_PRECOMPILE;
    for index in 0..4 {
        let [low, high]: [Access; 2] = [event.output[2 * index], event.output[2 * index + 1]];
        let argument = event.arguments.get(index);
        let limit = Felt::from_u32(HASH_WORDS_MAX) - common.length;
        rows.push(SpongeColumns {
            is_store: core::array::from_fn(|store| Felt::from_bool(store == index)),
            words: [low.before, high.before, low.after, high.after].map(Felt::from_u32),
            output: core::array::from_fn(|left| digest.get(index + left).copied().unwrap_or(Felt::ZERO)),
            argument: argument.map_or(limit, |access| Felt::from_u32(access.after)),
            previous_timestamp: argument.map_or(Felt::ZERO, |access| Felt::from_u32(access.previous_timestamp)),
            gap_low: argument
                .map_or(Felt::ZERO, |access| Felt::from_u32((timestamp - access.previous_timestamp - 1) & 0xffff)),
            ..common
        });
    }
    rows
}
