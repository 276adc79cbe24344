//! Filling the memory table.

use joule_machine::{
    layout::{HEAP_END, HEAP_START, INPUT_END, INPUT_START, PROGRAM_END},
    records::MemoryWord,
};
use p3_field::PrimeCharacteristicRing;

use super::columns::MemoryColumns;
use crate::{
    Felt,
    check::Trace,
    trace::{Rows, TraceError, low_limb},
};

/// How many rows the touched words of a run need: theirs, one for the first word of each region, one of padding.
#[must_use]
pub fn rows(memory: &[MemoryWord]) -> usize {
    let words = &memory[memory.partition_point(|word| word.address < PROGRAM_END)..];
    let is_untouched = |start: &u32| words.binary_search_by_key(start, |word| word.address).is_err();
    words.len() + REGIONS.iter().filter(|start| is_untouched(start)).count() + 1
}

/// The first words of the two regions.
const REGIONS: [u32; 2] = [HEAP_START, INPUT_START];

/// One row per touched word outside of the image, and one for the first word of each region.
///
/// # Errors
///
/// [`TraceError::TooManyRows`], if there are more words than rows (less the one row of padding that ends the table).
pub fn fill(memory: &[MemoryWord], height: usize) -> Result<Trace, TraceError> {
    let untouched = |address| MemoryWord { address, initial_value: 0, final_value: 0, final_timestamp: 0 };
    let mut words: Vec<MemoryWord> = memory.iter().copied().filter(|word| word.address >= PROGRAM_END).collect();
    for start in REGIONS {
        if let Err(place) = words.binary_search_by_key(&start, |word| word.address) {
            words.insert(place, untouched(start));
        }
    }
    if words.len() >= height {
        return Err(TraceError::TooManyRows { table: "memory", rows: words.len() + 1, height });
    }
    let mut rows = Rows::<{ MemoryColumns::WIDTH }>::new("memory", words.len(), height)?;
    let ends: Vec<(MemoryWord, u32)> = words
        .iter()
        .zip(words.iter().skip(1).map(Some).chain([None]))
        .map(|(word, next)| {
            let end = if word.address < HEAP_END { HEAP_END } else { INPUT_END };
            (*word, next.map_or(end, |next| next.address.min(end)))
        })
        .collect();
    rows.extend(&ends, |(word, end), cells| row(word, *end).write(cells));
    Ok(rows.pad_with_zeros())
}

/// The row of a word, given the address of the next word of its region or the region's end.
fn row(word: &MemoryWord, end: u32) -> MemoryColumns<Felt> {
    let is_heap = word.address < HEAP_END;
    let gap = end / 4 - word.address / 4 - 1;
    MemoryColumns {
        is_heap: Felt::from_bool(is_heap),
        is_input: Felt::from_bool(!is_heap),
        index: Felt::from_u32(word.address / 4),
        gap: Felt::from_u32(gap),
        gap_low: low_limb(gap),
        initial_value: Felt::from_u32(word.initial_value),
        initial_low: low_limb(word.initial_value),
        final_value: Felt::from_u32(word.final_value),
        final_timestamp: Felt::from_u32(word.final_timestamp),
    }
}
