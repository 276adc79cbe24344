use joule_machine::{
    layout::{HEAP_END, HEAP_START, INPUT_END, INPUT_START},
    records::MemoryWord,
};
use p3_field::PrimeCharacteristicRing;

use super::{Memory, columns::MemoryColumns, trace::fill};
use crate::{
    Felt,
    check::Trace,
    forge::{By, Free, Honest, catches, edits, every_cell_counts, forgery},
    trace::low_limb,
};

// The heap's words, and the last of the input's, were never accessed: they send and receive the same token, so a forger may do without
// them, or do them twice, without the other tables noticing.
const HEAP: usize = 0;
const HEAP_LAST: usize = 1;
const INPUT: usize = 2;
const INPUT_TOUCHED: usize = 3;
const INPUT_LAST: usize = 4;
const PADDING: usize = 5;
const LAST: usize = 7;

fn honest() -> Honest<Memory> {
    let word = |address, initial_value, final_value, final_timestamp| MemoryWord {
        address,
        initial_value,
        final_value,
        final_timestamp,
    };
    let words = [
        word(0x20_0000, 1, 2, 3), // The image's: another table has it.
        word(HEAP_START + 0x10, 0, 0, 0),
        word(INPUT_START, 70_000, 5, 400),
        word(INPUT_START + 0x10, 7, 7, 80),
        word(INPUT_START + 0x20, 9, 9, 0),
    ];
    Honest::new(Memory, fill(&words, 8).unwrap())
}

edits!(MemoryColumns);

fn set_gap(row: &mut MemoryColumns<Felt>, gap: u32) {
    (row.gap, row.gap_low) = (Felt::from_u32(gap), low_limb(gap));
}

/// Makes a row padding.
fn clear(trace: &mut Trace, row: usize) {
    edit(trace, row, |row| *row = MemoryColumns::read(&[Felt::ZERO; MemoryColumns::WIDTH]));
}

/// Makes a row an untouched word of the input, with the gap to the region's end.
fn untouched(trace: &mut Trace, row: usize, index: u32) {
    clear(trace, row);
    edit(trace, row, |row| {
        (row.is_input, row.index) = (Felt::ONE, Felt::from_u32(index));
        set_gap(row, INPUT_END / 4 - index - 1);
    });
}

#[test]
fn forgeries_are_caught() {
    let two = Felt::TWO;
    catches(
        &honest(),
        [
            forgery(
                "has a word of the heap twice over",
                move |t| {
                    // What follows two words of the heap cannot be input, so it must be the last word of all; and the region's last word, so that
                    // twice its index less the end is above the word before.
                    (INPUT..PADDING).for_each(|row| clear(t, row));
                    edit(t, HEAP_LAST, |row| {
                        (row.is_heap, row.index) = (two, Felt::from_u32(HEAP_END / 4 - 1));
                        set_gap(row, 0);
                    });
                    edit(t, HEAP, |row| set_gap(row, HEAP_END / 4 - 2 - HEAP_START / 4 - 1));
                },
                By::Granted(&["MEMORY"], "M1"),
            ),
            forgery(
                "has a word of the input twice over",
                move |t| {
                    // The region's last word again.
                    let index = INPUT_END / 4 - 1;
                    untouched(t, INPUT_LAST, index);
                    edit(t, INPUT_LAST, |row| row.is_input = two);
                    edit(t, INPUT_TOUCHED, |row| set_gap(row, INPUT_END / 4 - 2 - (INPUT_START / 4 + 4) - 1));
                },
                By::Constraint("M2"),
            ),
            forgery(
                "has a word in both regions",
                |t| {
                    edit(t, HEAP, |row| {
                        row.is_input = Felt::ONE;
                        set_gap(row, HEAP_START / 4 + 4 + INPUT_END / 4 - 2 * (HEAP_START / 4 + 1));
                    });
                },
                By::Constraint("M3"),
            ),
            forgery(
                "takes a word of the heap for private input",
                |t| {
                    edit(t, HEAP, |row| {
                        (row.is_heap, row.is_input) = (Felt::ZERO, Felt::ONE);
                        (row.initial_value, row.initial_low) = (Felt::TWO, Felt::TWO);
                        row.final_value = Felt::TWO;
                        set_gap(row, INPUT_START / 4 - HEAP_START / 4 - 1);
                    });
                    // Without a heap, the input goes on at its first word.
                    let width = t.width;
                    t.values.drain(HEAP_LAST * width..INPUT * width);
                    t.values.extend(vec![Felt::ZERO; width]);
                },
                By::Constraint("M4"),
            ),
            forgery(
                "lets the heap begin within the program",
                |t| {
                    edit(t, HEAP, |row| {
                        row.index -= Felt::ONE;
                        set_gap(row, 4);
                    });
                },
                By::Constraint("M5"),
            ),
            forgery(
                "appends a word of the heap",
                |t| {
                    edit(t, PADDING + 1, |row| {
                        (row.is_heap, row.index) = (Felt::ONE, Felt::from_u32(HEAP_START / 4));
                        set_gap(row, HEAP_END / 4 - HEAP_START / 4 - 1);
                    });
                },
                By::Constraint("M6"),
            ),
            forgery(
                "appends a word of the input",
                |t| untouched(t, PADDING + 1, INPUT_START / 4),
                By::Constraint("M7"),
            ),
            forgery(
                "lets the input begin below its region",
                |t| {
                    untouched(t, HEAP_LAST, HEAP_END / 4 + 5);
                    edit(t, HEAP_LAST, |row| set_gap(row, INPUT_START / 4 - HEAP_END / 4 - 6));
                    edit(t, HEAP, |row| set_gap(row, HEAP_END / 4 - HEAP_START / 4 - 1));
                },
                By::Constraint("M8"),
            ),
            forgery(
                "ends with a word, which no next one bounds",
                |t| {
                    for (index, row) in (INPUT_LAST..=LAST).enumerate() {
                        untouched(t, row, INPUT_START / 4 + 8 + index as u32);
                        edit(t, row, |row| set_gap(row, 0));
                    }
                },
                By::Constraint("M9"),
            ),
            forgery(
                "has an address twice",
                |t| {
                    untouched(t, INPUT_LAST, INPUT_START / 4 + 4);
                    edit(t, INPUT_TOUCHED, |row| set_gap(row, 0));
                },
                By::Constraint("M10"),
            ),
            forgery(
                "has an address twice, with a gap of −1",
                |t| {
                    untouched(t, INPUT_LAST, INPUT_START / 4 + 4);
                    edit(t, INPUT_TOUCHED, |row| row.gap = Felt::NEG_ONE);
                },
                By::Bus("RANGE"),
            ),
            forgery(
                "starts the heap with a value",
                |t| {
                    edit(t, HEAP_LAST, |row| {
                        (row.initial_value, row.initial_low, row.final_value) = (Felt::TWO, Felt::TWO, Felt::TWO);
                    });
                },
                By::Constraint("M11"),
            ),
            forgery(
                "gives a private input above 2^32",
                |t| {
                    edit(t, INPUT_LAST, |row| {
                        row.initial_value = Felt::from_u64(1 << 32);
                        row.final_value = row.initial_value;
                    });
                },
                By::Bus("RANGE"),
            ),
            forgery(
                "ends with another value than the last one written",
                |t| edit(t, INPUT, |row| row.final_value += Felt::ONE),
                By::Bus("MEMORY"),
            ),
        ],
    );
}

#[test]
fn every_cell_is_bound() {
    const REASON: &str = "padding speaks on no bus";
    let is_padding = |row: &[Felt]| row[0] + row[1] == Felt::ZERO;
    let columns = ["index", "gap_low", "initial_value", "initial_low", "final_value", "final_timestamp"];
    let mut free: Vec<Free> =
        columns.map(|column| Free { column, when: is_padding, reason: REASON }).into_iter().collect();
    free.push(Free {
        column: "gap",
        when: is_padding,
        reason: "the last row is padding, and has no next row to be measured to",
    });
    every_cell_counts(&honest(), &MemoryColumns::names(), &free);
}

#[test]
fn too_many_words_are_refused() {
    let words: Vec<_> = (0..6)
        .map(|index| MemoryWord {
            address: HEAP_START + 4 * index,
            initial_value: 0,
            final_value: 0,
            final_timestamp: 1,
        })
        .collect();
    // Six words and the first of the input; the eighth row is padding.
    assert!(fill(&words, 8).is_ok());
    assert!(fill(&words, 4).is_err());
    assert!(fill(&[&words[..], &[MemoryWord { address: INPUT_START + 4, ..words[0] }]].concat(), 8).is_err());
}
