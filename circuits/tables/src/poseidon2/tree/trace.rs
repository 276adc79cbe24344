//! Filling the tree table.

use joule_machine::{
    Records,
    layout::TREE_DEPTH,
    poseidon2::compress,
    records::{DigestElements, TreeEvent},
};
use p3_field::PrimeCharacteristicRing;
use p3_matrix::dense::RowMajorMatrix;

use super::columns::TreeColumns;
use crate::{Felt, check::Trace, poseidon2::permutation::trace::leaf, trace::TraceError};

/// Rows of one update.
pub const ROWS: usize = 4 + TREE_DEPTH + 4;

/// How many rows a run needs.
#[must_use]
pub fn rows(records: &Records) -> usize {
    ROWS * records.tree_updates.len()
}

/// The trace of the updates, padded to `height` rows of zeros.
///
/// # Errors
///
/// [`TraceError::TooManyRows`].
pub fn trace(updates: &[TreeEvent], height: usize) -> Result<Trace, TraceError> {
    let rows = updates.len() * ROWS;
    if rows > height {
        return Err(TraceError::TooManyRows { table: "tree", rows, height });
    }
    let width = TreeColumns::<()>::WIDTH;
    let mut values = Felt::zero_vec(width * height);
    for (row, columns) in values.chunks_exact_mut(width).zip(updates.iter().flat_map(update)) {
        columns.write(row);
    }
    Ok(RowMajorMatrix::new(values, width))
}

fn update(event: &TreeEvent) -> Vec<TreeColumns<Felt>> {
    let zero = TreeColumns::read(&[Felt::ZERO; TreeColumns::<()>::WIDTH]);
    let common = TreeColumns { clock: Felt::from_u32(event.clock), address: Felt::from_u32(event.address), ..zero };
    let position = event.words[24].after;
    let felts = |digest: DigestElements| digest.map(Felt::from_u64);
    let leaves = [leaf(event, 0), leaf(event, 8)];
    let mut rows = Vec::with_capacity(ROWS);
    for index in 0..4 {
        let word = |word: usize| Felt::from_u32(event.words[word].after);
        // The elements so far, the latest last.
        let so_far = |digest: DigestElements| {
            core::array::from_fn(|place| {
                (place + index).checked_sub(4).map_or(Felt::ZERO, |of| Felt::from_u64(digest[of]))
            })
        };
        let (old, new) = (2 * index, 8 + 2 * index);
        rows.push(TreeColumns {
            is_load: Felt::ONE,
            is_end: Felt::from_bool(index == 3),
            index: Felt::from_usize(index),
            position: if index == 3 { Felt::from_u32(position) } else { Felt::ZERO },
            old: so_far(leaves[0]),
            new: so_far(leaves[1]),
            words: [word(old), word(old + 1), word(new), word(new + 1)],
            ..common
        });
    }
    let mut paths = leaves;
    for level in 0..TREE_DEPTH {
        let sibling = event.siblings[level];
        let is_right = position >> level & 1 == 1;
        rows.push(TreeColumns {
            is_level: Felt::ONE,
            is_end: Felt::from_bool(level + 1 == TREE_DEPTH),
            index: Felt::from_usize(level),
            position: Felt::from_u32(position >> level),
            is_right: Felt::from_bool(is_right),
            old: felts(paths[0]),
            new: felts(paths[1]),
            sibling: felts(sibling),
            ..common
        });
        paths = paths.map(|node| if is_right { compress(&sibling, &node) } else { compress(&node, &sibling) });
    }
    for index in 0..4 {
        let [low, high] = [event.words[16 + 2 * index], event.words[17 + 2 * index]];
        let left = |digest: DigestElements| {
            core::array::from_fn(|place| {
                digest.get(index + place).map_or(Felt::ZERO, |&element| Felt::from_u64(element))
            })
        };
        rows.push(TreeColumns {
            is_store: Felt::ONE,
            is_end: Felt::from_bool(index == 3),
            index: Felt::from_usize(index),
            old: left(paths[0]),
            new: left(paths[1]),
            words: [low.before, high.before, low.after, high.after].map(Felt::from_u32),
            ..common
        });
    }
    rows
}
