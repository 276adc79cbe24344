use joule_machine::{
    Records,
    layout::{HASH_WORDS_MAX, SLOT_PRECOMPILE, SLOT_PRECOMPILE_OUTPUT},
    poseidon2::{hash_words, to_words},
    records::{Access, HashEvent},
};
use p3_field::{PrimeCharacteristicRing, PrimeField64};
use p3_matrix::Matrix;
use proptest::prelude::*;

use super::{Sponge, columns::SpongeColumns, trace::trace};
use crate::{
    Felt,
    check::Trace,
    forge::{By, Entangled, Free, Honest, catches_but, edits, every_cell_counts, forgery},
    poseidon2::{
        permutation::{self, Permutation},
        tree::tests::{is_permutation, messages},
    },
};

/// A hash of `words`; the digest goes where `output_address` says.
fn event(clock: u32, tag: u32, words: &[u32], output_address: u32) -> HashEvent {
    let input_address = 0x40_0000;
    let access = |address, before, after, timestamp: u32| Access {
        address,
        before,
        after,
        previous_timestamp: timestamp - 1 - address % 97,
    };
    let timestamp = clock + SLOT_PRECOMPILE;
    let digest = to_words(&hash_words(tag, words));
    let at = |index: usize| 4 * index as u32;
    HashEvent {
        clock,
        input_address,
        output_address,
        tag,
        arguments: [(11, words.len() as u32), (12, output_address), (13, tag)]
            .map(|(register, value)| access(register, value, value, timestamp)),
        input: words
            .iter()
            .enumerate()
            .map(|(index, &word)| access(input_address + at(index), word, word, timestamp))
            .collect(),
        output: core::array::from_fn(|index| {
            access(output_address + at(index), 77, digest[index], clock + SLOT_PRECOMPILE_OUTPUT)
        }),
    }
}

/// Rows 0 to 5: six words. Rows 6 to 10: none. Rows 11 to 16: eight words. Then padding.
fn honest() -> Honest<Sponge> {
    let hashes = [
        event(1_000, 1, &[1, 2, 3, 4, 5, 6], 0x50_0000),
        event(2_000, 2, &[], 0x50_0000),
        event(3_000, 7, &[9; 8], 0x60_0000),
    ];
    Honest::new(Sponge, trace(&hashes, 32).expect("fits")).with_facts(is_permutation)
}

edits!(SpongeColumns);

fn permuted(row: &SpongeColumns<Felt>) -> [Felt; 8] {
    use p3_symmetric::Permutation as _;
    let mut state = core::array::from_fn(|i| if i < 4 { row.words[i] } else { row.capacity[i - 4] });
    p3_goldilocks::default_goldilocks_poseidon2_8().permute_mut(&mut state);
    state
}

/// Makes the digest stored in the four rows from `row` on `digest`.
fn store(trace: &mut Trace, row: usize, digest: [Felt; 4]) {
    for index in 0..4 {
        edit(trace, row + index, |columns| {
            columns.output[..4 - index].copy_from_slice(&digest[index..]);
            let element = digest[index].as_canonical_u64();
            columns.words[2] = Felt::from_u32(element as u32);
            columns.words[3] = Felt::from_u32((element >> 32) as u32);
        });
    }
}

/// Absorbs the last block of row `row` again after a change, and stores what comes out.
fn absorb_last(trace: &mut Trace, row: usize, change: impl FnOnce(&mut SpongeColumns<Felt>)) {
    let mut digest = [Felt::ZERO; 4];
    edit(trace, row, |columns| {
        change(columns);
        columns.output = core::array::from_fn(|index| permuted(columns)[index]);
        digest = columns.output;
    });
    store(trace, row + 1, digest);
}

/// Absorbs the words of the blocks from row `first` to row `last` anew, and stores what comes out.
fn absorb(trace: &mut Trace, first: usize, last: usize) {
    let mut capacity = None;
    for row in first..=last {
        edit(trace, row, |columns| {
            columns.capacity = capacity.unwrap_or([columns.tag, columns.length, Felt::ZERO, Felt::ZERO]);
            let state = permuted(columns);
            columns.output = core::array::from_fn(|index| state[if row == last { index } else { 4 + index }]);
            capacity = Some(columns.output);
        });
    }
    store(trace, last + 1, capacity.expect("a hash has a block"));
}

/// Makes the last hash one of `length` words, as far as its columns say.
fn set_length(trace: &mut Trace, length: u32) {
    for row in LAST_HASH..PADDING {
        edit(trace, row, |row| {
            row.length = Felt::from_u32(length);
            if row.is_store[0] == Felt::ONE {
                row.argument = row.length;
            } else if row.is_store[3] == Felt::ONE {
                row.argument = Felt::from_u32(HASH_WORDS_MAX) - row.length;
            }
        });
    }
}

const LAST_HASH: usize = 11;
const PADDING: usize = 17;

#[test]
fn forgeries_are_caught() {
    let one = Felt::ONE;
    // Whatever else is hashed and stored, memory and registers may hold.
    const MEMORY_FOLLOWS: &[&str] = &["TRANSFER", "MEMORY"];
    let by = |name| By::Granted(MEMORY_FOLLOWS, name);
    let other_words = || event(1_000, 1, &[1, 2, 3, 4, 5, 7], 0x50_0000);
    catches_but(
        &honest(),
        [
            forgery(
                "has a third word twice, and no fourth",
                |t| {
                    edit(t, LAST_HASH + 1, |row| {
                        row.has = [1, 1, 2, 0].map(Felt::from_u32);
                        row.words = [9, 9, 0, 0].map(Felt::from_u32);
                    });
                    absorb(t, LAST_HASH, LAST_HASH + 1);
                },
                by("S1"),
            ),
            forgery(
                "is a block and a part of the digest at once",
                |t| {
                    edit(t, 5, |row| {
                        row.is_absorb = Felt::ONE;
                        row.is_first = Felt::ONE;
                        row.is_last = Felt::ONE;
                    })
                },
                By::These(&["CALL", "PERMUTATION", "S10", "S16", "S17", "S18", "S2", "S7", "S8"]),
            ),
            forgery("touches memory without hashing", |t| edit(t, PADDING + 2, |row| row.has[0] = Felt::ONE), by("S3")),
            forgery(
                "starts in the middle, without a call",
                |t| edit(t, 0, |row| row.is_first = Felt::ZERO),
                By::Granted(&["CALL"], "S4"),
            ),
            forgery(
                "ends in the middle",
                |t| {
                    // The last hash's digest ends with the trace, one row short.
                    let width = t.width;
                    t.values.copy_within(11 * width..16 * width, 27 * width);
                },
                By::These(&["CALL", "MEMORY", "S20", "S5", "S8", "TRANSFER"]),
            ),
            forgery(
                "goes on with a hash that no call began",
                |t| {
                    edit(t, LAST_HASH, |row| {
                        row.is_absorb = Felt::ZERO;
                        row.is_first = Felt::ZERO;
                        row.has = [Felt::ZERO; 4];
                    })
                },
                By::Granted(&["CALL", "TRANSFER"], "S6"),
            ),
            forgery(
                "stores a digest of nothing",
                |t| {
                    edit(t, PADDING + 1, |row| {
                        row.is_store[3] = Felt::ONE;
                        row.argument = Felt::from_u32(HASH_WORDS_MAX);
                    })
                },
                by("S7"),
            ),
            forgery(
                "stores the digest elsewhere",
                |t| {
                    for row in LAST_HASH + 2..PADDING {
                        edit(t, row, |row| {
                            row.output_address += Felt::from_u32(64);
                            row.argument += row.is_store[1] * Felt::from_u32(64);
                        });
                    }
                },
                by("S8"),
            ),
            forgery(
                "skips the first words",
                |t| {
                    set_length(t, 12);
                    (LAST_HASH..LAST_HASH + 2).for_each(|row| edit(t, row, |row| row.done += Felt::from_u32(4)));
                    absorb(t, LAST_HASH, LAST_HASH + 1);
                },
                by("S9"),
            ),
            forgery("hashes under another tag", |t| absorb_last(t, 6, |row| row.capacity[0] += Felt::ONE), by("S10")),
            forgery(
                "skips a word between blocks",
                |t| {
                    edit(t, LAST_HASH + 1, |row| {
                        row.done = Felt::from_u32(5);
                        (row.has[3], row.words[3]) = (Felt::ZERO, Felt::ZERO);
                    });
                    absorb(t, LAST_HASH, LAST_HASH + 1);
                },
                by("S11"),
            ),
            forgery(
                "starts over between blocks",
                |t| absorb_last(t, 1, |row| row.capacity = [1, 6, 0, 0].map(Felt::from_u32)),
                by("S12"),
            ),
            forgery(
                "leaves a hole in a block",
                |t| {
                    absorb_last(t, 1, |row| {
                        row.has = [1, 0, 1, 0].map(Felt::from_u32);
                        row.words = [5, 0, 6, 0].map(Felt::from_u32);
                    })
                },
                by("S13"),
            ),
            forgery(
                "skips the end of a block",
                |t| {
                    edit(t, LAST_HASH, |row| (row.has[3], row.words[3]) = (Felt::ZERO, Felt::ZERO));
                    absorb(t, LAST_HASH, LAST_HASH + 1);
                },
                by("S14"),
            ),
            forgery(
                "appends an empty block",
                |t| {
                    set_length(t, 4);
                    edit(t, LAST_HASH + 1, |row| (row.has, row.words) = ([Felt::ZERO; 4], [Felt::ZERO; 4]));
                    absorb(t, LAST_HASH, LAST_HASH + 1);
                },
                by("S15"),
            ),
            forgery(
                "leaves out the last word",
                |t| {
                    absorb_last(t, 1, |row| {
                        row.has[1] = Felt::ZERO;
                        row.words[1] = Felt::ZERO;
                    })
                },
                by("S16"),
            ),
            forgery("pads with something else", |t| absorb_last(t, 1, |row| row.words[3] = Felt::ONE), by("S17")),
            forgery("stores another digest", |t| store(t, 2, [5; 4].map(Felt::from_u32)), by("S18")),
            forgery("stores another word", |t| edit(t, 2, |row| row.words[2] += Felt::ONE), by("S19")),
            forgery(
                "stores an element that is not the digest's",
                |t| {
                    edit(t, 3, |row| {
                        row.output[0] += Felt::ONE;
                        row.words[2] += Felt::ONE;
                    })
                },
                by("S20"),
            ),
            forgery("reads another length", move |t| edit(t, 2, |row| row.argument -= one), by("S21")),
            forgery(
                "hashes more words than there may be",
                |t| {
                    set_length(t, 4_097);
                    absorb(t, LAST_HASH, LAST_HASH + 1);
                },
                // 4,097 words would have their blocks, and then S16 held.
                By::These(&["RANGE", "S16", "MEMORY", "TRANSFER"]),
            ),
            forgery(
                "reads an argument that was left later",
                |t| edit(t, 2, |row| row.gap_low += Felt::from_u32(1 << 16)),
                By::Bus("RANGE"),
            ),
            forgery(
                "reads an argument that was left at another time",
                move |t| {
                    edit(t, 2, |row| {
                        row.previous_timestamp -= one;
                        row.gap_low += one;
                    })
                },
                By::Bus("MEMORY"),
            ),
            forgery("permutes wrongly", store_output, by("PERMUTATION")),
            forgery(
                "hashes other words than memory holds",
                move |t| {
                    let other = trace(&[other_words()], 32).expect("fits");
                    t.values[..6 * t.width].copy_from_slice(&other.values[..6 * other.width]);
                },
                By::Bus("TRANSFER"),
            ),
            forgery(
                "serves a call that nobody made",
                |t| {
                    for row in 0..6 {
                        edit(t, row, |row| {
                            row.clock += Felt::from_u32(4);
                            row.gap_low += (row.is_store[0] + row.is_store[1] + row.is_store[2]) * Felt::from_u32(4);
                        });
                    }
                },
                by("CALL"),
            ),
        ],
        &[
            Entangled {
                names: &["S2"],
                reason: "both kinds of row say what their neighbours are, and one row has one neighbour on each side",
            },
            Entangled {
                names: &["S5"],
                reason: "what goes on behind the last row goes on in the first, which begins another hash",
            },
        ],
    );
}

fn store_output(trace: &mut Trace) {
    let digest = [1, 2, 3, 4].map(Felt::from_u32);
    edit(trace, 1, |row| row.output = digest);
    store(trace, 2, digest);
}

#[test]
fn every_cell_is_bound() {
    fn is_padding(row: &[Felt]) -> bool {
        row[0] == Felt::ZERO && row[3..7].iter().all(|&flag| flag == Felt::ZERO)
    }
    fn is_store(row: &[Felt]) -> bool {
        row[3..7].contains(&Felt::ONE)
    }
    let mut free = Vec::new();
    let mut allow = |column: &'static str, when, reason| free.push(Free { column, when, reason });
    for column in ["clock", "input_address", "output_address", "length", "tag"] {
        allow(column, is_padding as fn(&[Felt]) -> bool, "padding belongs to no call");
    }
    allow("done", |row| is_padding(row) || is_store(row), "only blocks are counted");
    for column in ["words[0]", "words[1]", "words[2]", "words[3]"] {
        allow(column, is_padding, "padding touches nothing");
    }
    for column in ["capacity[0]", "capacity[1]", "capacity[2]", "capacity[3]"] {
        allow(column, |row| is_padding(row) || is_store(row), "only blocks have a capacity");
    }
    for column in ["output[1]", "output[2]", "output[3]"] {
        allow(column, |row| is_padding(row) || row[6] == Felt::ONE, "nothing is left of the digest");
    }
    allow("output[0]", is_padding, "padding has no digest");
    for column in ["previous_timestamp", "gap_low"] {
        allow(column, |row| !row[3..6].contains(&Felt::ONE), "only three rows read an argument");
    }
    every_cell_counts(&honest(), &SpongeColumns::<()>::names(), &free);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is hashed, the rows of the sponge and the permutations it looks up fit together, and what is stored is the hash.
    #[test]
    fn hashes_balance(tag in any::<u32>(), words in prop::collection::vec(any::<u32>(), 0..20)) {
        let hashes = [event(400, tag, &words, 0x50_0000), event(800, 1, &[1; 4], 0x50_0000)];
        let records = Records { hashes: hashes.to_vec(), ..Default::default() };
        let uses = permutation::trace::uses(&records);
        prop_assert_eq!(uses.len(), permutation::trace::rows(&records));
        let pool = permutation::trace::trace(&uses, uses.len().next_power_of_two()).expect("fits");
        let trace = trace(&hashes, super::trace::rows(&records).next_power_of_two()).expect("fits");
        prop_assert!(trace.height() >= 10);
        let mut sums = std::collections::BTreeMap::<Vec<u64>, Felt>::new();
        for (name, fields, count) in messages(&Permutation, &pool).into_iter().chain(messages(&Sponge, &trace)) {
            if name == "PERMUTATION" {
                *sums.entry(fields.iter().map(Felt::as_canonical_u64).collect()).or_default() += count;
            }
        }
        prop_assert!(sums.values().all(|&sum| sum == Felt::ZERO));
    }
}
