//! Filling the transfer table.

use joule_machine::{
    Records,
    layout::{SLOT_PRECOMPILE, SLOT_PRECOMPILE_OUTPUT},
    records::Access,
};
use p3_field::{Field, PrimeCharacteristicRing};
use p3_matrix::dense::RowMajorMatrix;

use super::columns::TransferColumns;
use crate::{Felt, check::Trace, trace::TraceError};

/// Up to two accesses of a precompile, at neighbouring words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// When.
    pub timestamp: u32,
    /// The access of the first word.
    pub first: Access,
    /// The access of the second word, at the address behind the first.
    pub second: Option<Access>,
    /// Do the words left have to be those of a canonical field element?
    pub is_canonical: bool,
}

/// Every pair of words that the precompiles of a run move.
pub fn pairs(records: &Records) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for event in &records.keccaks {
        push(&mut pairs, event.clock + SLOT_PRECOMPILE, &event.state[..], false);
    }
    for event in &records.hashes {
        push(&mut pairs, event.clock + SLOT_PRECOMPILE, &event.input, false);
        push(&mut pairs, event.clock + SLOT_PRECOMPILE_OUTPUT, &event.output, true);
    }
    for event in &records.tree_updates {
        let (leaves, rest) = event.words.split_at(16);
        let (root, position) = rest.split_at(8);
        push(&mut pairs, event.clock + SLOT_PRECOMPILE, leaves, false);
        push(&mut pairs, event.clock + SLOT_PRECOMPILE, root, true);
        push(&mut pairs, event.clock + SLOT_PRECOMPILE, position, false);
    }
    for event in &records.recoveries {
        push(&mut pairs, event.clock + SLOT_PRECOMPILE, &event.words[..], false);
    }
    pairs
}

fn push(pairs: &mut Vec<Pair>, timestamp: u32, accesses: &[Access], is_canonical: bool) {
    pairs.extend(accesses.chunks(2).map(|chunk| Pair {
        timestamp,
        first: chunk[0],
        second: chunk.get(1).copied(),
        is_canonical,
    }));
}

/// How many rows a run needs.
#[must_use]
pub fn rows(records: &Records) -> usize {
    let hashes: usize = records.hashes.iter().map(|event| event.input.len().div_ceil(2) + 4).sum();
    25 * records.keccaks.len() + hashes + 13 * records.tree_updates.len() + 21 * records.recoveries.len()
}

/// The trace of the pairs, padded to `height` rows that move nothing.
///
/// # Errors
///
/// [`TraceError::TooManyRows`].
pub fn trace(pairs: &[Pair], height: usize) -> Result<Trace, TraceError> {
    if pairs.len() > height {
        return Err(TraceError::TooManyRows { table: "transfer", rows: pairs.len(), height });
    }
    let width = TransferColumns::<()>::WIDTH;
    let mut values = Felt::zero_vec(width * height);
    for (row, pair) in values.chunks_exact_mut(width).zip(pairs) {
        columns(pair).write(row);
    }
    Ok(RowMajorMatrix::new(values, width))
}

fn columns(pair: &Pair) -> TransferColumns<Felt> {
    let accesses = [pair.first, pair.second.unwrap_or(Access::NONE)];
    let of = |value: fn(&Access) -> u32| accesses.map(|access| Felt::from_u32(value(&access)));
    let headroom = Felt::from_u32(u32::MAX - accesses[1].after);
    let gap = |access: &Access| pair.timestamp - access.previous_timestamp - 1;
    TransferColumns {
        is_real: Felt::ONE,
        has_second: Felt::from_bool(pair.second.is_some()),
        is_canonical: Felt::from_bool(pair.is_canonical),
        timestamp: Felt::from_u32(pair.timestamp),
        address: Felt::from_u32(pair.first.address),
        old: of(|access| access.before),
        new: of(|access| access.after),
        new_low: of(|access| access.after & 0xffff),
        previous_timestamp: of(|access| access.previous_timestamp),
        gap_low: if pair.second.is_some() {
            [gap(&accesses[0]), gap(&accesses[1])].map(|gap| Felt::from_u32(gap & 0xffff))
        } else {
            [Felt::from_u32(gap(&accesses[0]) & 0xffff), Felt::ZERO]
        },
        headroom_inverse: if pair.is_canonical { headroom.try_inverse().unwrap_or(Felt::ZERO) } else { Felt::ZERO },
    }
}
