use joule_machine::{
    layout::{SLOT_PRECOMPILE, TREE_DEPTH, TREE_UPDATE_WORDS},
    poseidon2::{compress, root, to_words},
    records::{Access, DigestElements, TreeEvent},
};
use p3_air::{Air, BaseAir};
use p3_field::{PrimeCharacteristicRing, PrimeField64};
use p3_matrix::Matrix;
use proptest::prelude::*;

use super::{
    Tree,
    columns::TreeColumns,
    trace::{ROWS, trace},
};
use crate::{
    Felt,
    buses::Bus,
    check::{Checker, Collect, Instance, Trace},
    forge::{By, Entangled, Free, Honest, catches_but, edits, every_cell_counts, forgery},
    poseidon2::permutation::{self, Permutation},
};

/// An update of a leaf somewhere, with made-up siblings.
pub(crate) fn event(clock: u32, address: u32, position: u32, seed: u64) -> TreeEvent {
    let digest = |salt: u64| -> DigestElements {
        core::array::from_fn(|i| (seed ^ (salt << 8) ^ i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 1)
    };
    let siblings: [DigestElements; TREE_DEPTH] = core::array::from_fn(|level| digest(level as u64 + 3));
    let (old, new) = (digest(1), digest(2));
    let mut words = [Access::NONE; TREE_UPDATE_WORDS];
    let roots = [root(old, position, &siblings), root(new, position, &siblings)];
    let before: Vec<u32> = [old, new, roots[0]].iter().flat_map(to_words).chain([position, 0]).collect();
    let after: Vec<u32> = [old, new, roots[1]].iter().flat_map(to_words).chain([position, 0]).collect();
    for (index, word) in words.iter_mut().enumerate() {
        *word = Access {
            address: address + 4 * index as u32,
            before: before[index],
            after: after[index],
            previous_timestamp: clock + SLOT_PRECOMPILE - 1 - index as u32,
        };
    }
    TreeEvent { clock, address, words: Box::new(words), siblings: Box::new(siblings) }
}

/// Is the message a fact about the permutation?
pub(crate) fn is_permutation(bus: &Bus, fields: &[Felt]) -> bool {
    use p3_symmetric::Permutation as _;
    assert_eq!(bus.name, "PERMUTATION");
    let mut state: [Felt; 8] = core::array::from_fn(|i| fields[i]);
    p3_goldilocks::default_goldilocks_poseidon2_8().permute_mut(&mut state);
    let half = fields[8].as_canonical_u64() as usize;
    half < 2 && state[4 * half..4 * half + 4] == fields[9..]
}

const PADDING: usize = 2 * ROWS;

fn first_update() -> TreeEvent {
    event(4_000, 0x40_0000, 0x8000_0005, 1)
}

fn honest() -> Honest<Tree> {
    let updates = [first_update(), event(8_000, 0x41_0000, 0, 2)];
    Honest::new(Tree, trace(&updates, 128).expect("fits")).with_facts(is_permutation)
}

edits!(TreeColumns);

/// The nodes of both paths at a level.
fn nodes(trace: &Trace, level: usize) -> [[Felt; 4]; 2] {
    let row = 4 + level;
    let row = TreeColumns::read(&trace.values[row * trace.width..(row + 1) * trace.width]);
    [row.old, row.new]
}

/// Climbs both paths of the first update again from `level`, with these nodes there, on the sides that the rows say, whatever those are; the roots are
/// what comes out.
fn climb(trace: &mut Trace, level: usize, mut nodes: [[Felt; 4]; 2]) {
    use p3_symmetric::Permutation as _;
    let permutation = p3_goldilocks::default_goldilocks_poseidon2_8();
    for level in level..TREE_DEPTH {
        edit(trace, 4 + level, |row| {
            [row.old, row.new] = nodes;
            nodes = nodes.map(|node| {
                let to_right: [Felt; 4] =
                    core::array::from_fn(|index| (row.sibling[index] - node[index]) * row.is_right);
                let mut state = core::array::from_fn(|index| {
                    if index < 4 { node[index] + to_right[index] } else { row.sibling[index - 4] - to_right[index - 4] }
                });
                let left = state;
                permutation.permute_mut(&mut state);
                core::array::from_fn(|index| state[index] + left[index])
            });
        });
    }
    let words = nodes.map(|node| to_words(&node.map(|element| element.as_canonical_u64())).map(Felt::from_u32));
    for index in 0..4 {
        edit(trace, 4 + TREE_DEPTH + index, |row| {
            for place in 0..4 - index {
                (row.old[place], row.new[place]) = (nodes[0][index + place], nodes[1][index + place]);
            }
            row.words = core::array::from_fn(|word| words[word / 2][2 * index + word % 2]);
        });
    }
}

#[test]
fn forgeries_are_caught() {
    let (one, two) = (Felt::ONE, Felt::TWO);
    let level = |level: usize| 4 + level;
    let store = |index: usize| 4 + TREE_DEPTH + index;
    // Whatever else is opened and stored, memory may hold.
    const MEMORY_FOLLOWS: &[&str] = &["TRANSFER"];
    let by = |name| By::Granted(MEMORY_FOLLOWS, name);
    catches_but(
        &honest(),
        [
            forgery(
                "takes the other side twice on one level instead of once on the next",
                move |t| {
                    // The position ends with 101 in binary: 021 is the same number.
                    edit(t, level(1), |row| row.is_right = two);
                    edit(t, level(2), |row| (row.position, row.is_right) = (row.position - one, Felt::ZERO));
                    let nodes = nodes(t, 1);
                    climb(t, 1, nodes);
                },
                by("R1"),
            ),
            forgery(
                "is of two kinds at once",
                |t| {
                    edit(t, PADDING + 5, |row| {
                        row.is_load = Felt::ONE;
                        row.is_store = Felt::ONE;
                    })
                },
                By::These(&["R10", "R2", "R7", "R9", "TRANSFER"]),
            ),
            forgery(
                "lets padding end",
                move |t| {
                    edit(t, PADDING + 1, |row| row.is_end = one);
                    edit(t, PADDING + 2, |row| row.index = -one);
                },
                By::Constraint("R3"),
            ),
            forgery(
                "ends loading a row early",
                |t| {
                    edit(t, 2, |row| {
                        row.is_end = Felt::ONE;
                        row.position = Felt::from_u32(0);
                    })
                },
                By::These(&["CALL", "R16", "R4", "R7", "R8", "TRANSFER"]),
            ),
            forgery(
                "climbs from the position's half",
                move |t| edit(t, 3, |row| row.position = Felt::from_u32(0x4000_0002)),
                by("R16"),
            ),
            forgery(
                "starts in the middle, without a call",
                move |t| {
                    let width = t.width;
                    t.values.copy_within(level(0) * width.., 0);
                },
                By::Granted(&["CALL", "TRANSFER"], "R5"),
            ),
            forgery(
                "leaves the last update open",
                |t| {
                    let first = TreeColumns::read(&t.values[..t.width]);
                    for row in 126..128 {
                        edit(t, row, |columns| {
                            columns.is_load = Felt::ONE;
                            columns.index = Felt::from_usize(row - 126);
                            (columns.clock, columns.address) = (first.clock, first.address);
                        });
                    }
                },
                by("R6"),
            ),
            forgery("counts from one", |t| edit(t, 2, |row| row.index = Felt::ONE), by("R7")),
            forgery(
                "climbs a level of nothing",
                move |t| {
                    let zero = [Felt::ZERO; 4];
                    edit(t, PADDING + 5, |row| row.is_level = one);
                    let empty = compress(&[0; 4], &[0; 4]).map(Felt::from_u64);
                    assert_ne!(empty, zero);
                    edit(t, PADDING + 6, |row| (row.index, row.old, row.new) = (one, empty, empty));
                },
                By::Constraint("R8"),
            ),
            forgery(
                "stores without having climbed",
                move |t| {
                    edit(t, PADDING + 5, |row| row.is_store = one);
                    edit(t, PADDING + 6, |row| row.index = one);
                },
                by("R9"),
            ),
            forgery(
                "loads one element only",
                move |t| {
                    edit(t, PADDING + 5, |row| row.is_load = one);
                    edit(t, PADDING + 6, |row| row.index = one);
                },
                by("R10"),
            ),
            forgery(
                "reads the leaves of another call",
                |t| (0..2).for_each(|index| edit(t, index, |row| row.address = Felt::from_u32(0x41_0000))),
                by("R11"),
            ),
            forgery(
                "takes another element for one it loaded",
                move |t| {
                    edit(t, 3, |row| row.new[1] += one);
                    let mut nodes = nodes(t, 0);
                    nodes[1][0] += one;
                    climb(t, 0, nodes);
                },
                by("R12"),
            ),
            forgery(
                "takes another element of the root for the one it stores",
                move |t| {
                    edit(t, store(2), |row| row.new[1] = one);
                    edit(t, store(3), |row| {
                        row.new[0] = one;
                        [row.words[2], row.words[3]] = [one, Felt::ZERO];
                    });
                },
                by("R13"),
            ),
            forgery(
                "opens another old leaf than the one in memory, and replaces the root all the same",
                move |t| {
                    // The last element loaded, with the path climbed again from there: only the load itself is wrong.
                    let mut nodes = nodes(t, 0);
                    nodes[0][3] += one;
                    climb(t, 0, nodes);
                },
                by("R14"),
            ),
            forgery("stores another root", move |t| edit(t, store(0), |row| row.words[2] += Felt::ONE), by("R15")),
            forgery(
                "takes another side",
                move |t| {
                    edit(t, level(7), |row| row.is_right = one - row.is_right);
                    let nodes = nodes(t, 7);
                    climb(t, 7, nodes);
                },
                by("R17"),
            ),
            forgery(
                "has a bit above the last level",
                move |t| {
                    // 2^32 + position: the same element of memory only if the word were not one.
                    for above in 0..TREE_DEPTH {
                        edit(t, level(above), |row| row.position += Felt::from_u64(1 << (32 - above)));
                    }
                    edit(t, 3, |row| row.position += Felt::from_u64(1 << 32));
                    edit(t, store(0), |row| row.position = Felt::ONE);
                },
                by("R18"),
            ),
            forgery(
                "uses one sibling for the old path and another for the new",
                move |t| edit(t, level(3), |row| row.sibling[2] += Felt::ONE),
                By::Bus("PERMUTATION"),
            ),
            forgery(
                "serves a call that nobody made",
                |t| (0..ROWS).for_each(|row| edit(t, row, |row| row.clock += Felt::from_u32(4))),
                by("CALL"),
            ),
            forgery(
                "opens another leaf than memory holds",
                move |t| {
                    let other = trace(&[event(4_000, 0x40_0000, 0x8000_0005, 3)], 64).expect("fits");
                    t.values[..ROWS * t.width].copy_from_slice(&other.values[..ROWS * t.width]);
                },
                By::Bus("TRANSFER"),
            ),
        ],
        &[
            Entangled {
                names: &["R2"],
                reason: "each kind of row says what the next one is, and there is one next row",
            },
            Entangled {
                names: &["R4"],
                reason: "a part that ends early or late moves the rows of the next, and the position with them",
            },
        ],
    );
}

#[test]
fn every_cell_is_bound() {
    fn is_load(row: &[Felt]) -> bool {
        row[0] == Felt::ONE
    }
    fn is_level(row: &[Felt]) -> bool {
        row[1] == Felt::ONE
    }
    fn is_padding(row: &[Felt]) -> bool {
        row[..3].iter().all(|&flag| flag == Felt::ZERO)
    }
    fn not_level(row: &[Felt]) -> bool {
        !is_level(row)
    }
    let mut free = Vec::new();
    let names = TreeColumns::<()>::names();
    let mut allow = |column: &'static str, when, reason| free.push(Free { column, when, reason });
    allow("clock", is_padding, "padding belongs to no call");
    allow("address", is_padding, "padding belongs to no call");
    allow(
        "position",
        |row| !is_level(row),
        "only climbing has a position; its first row and its end are bound from there",
    );
    allow("is_right", not_level, "only climbing has sides");
    for column in ["sibling[0]", "sibling[1]", "sibling[2]", "sibling[3]"] {
        allow(column, not_level, "only climbing has siblings");
    }
    for column in ["words[0]", "words[1]", "words[2]", "words[3]"] {
        allow(column, |row| is_level(row) || is_padding(row), "climbing touches no memory");
    }
    for column in ["old[0]", "new[0]"] {
        allow(column, |row| is_load(row) || is_padding(row), "an element that is never used, or padding");
    }
    for column in ["old[1]", "old[2]", "old[3]", "new[1]", "new[2]", "new[3]"] {
        allow(column, |row| !is_level(row), "an element that is never used, or padding");
    }
    every_cell_counts(&honest(), &names, &free);
}

fn balance(updates: &[TreeEvent]) {
    let records = joule_machine::Records { tree_updates: updates.to_vec(), ..Default::default() };
    let uses = permutation::trace::uses(&records);
    assert_eq!(uses.len(), permutation::trace::rows(&records));
    let pool = permutation::trace::trace(&uses, uses.len().next_power_of_two()).expect("fits");
    let trace = trace(updates, super::trace::rows(&records).next_power_of_two()).expect("fits");
    let permutations = messages(&Permutation, &pool).into_iter().filter(|(name, ..)| *name == "PERMUTATION");
    let mut sums = std::collections::BTreeMap::<Vec<u64>, Felt>::new();
    for (_, fields, count) in
        permutations.chain(messages(&Tree, &trace).into_iter().filter(|(name, ..)| *name == "PERMUTATION"))
    {
        *sums.entry(fields.iter().map(Felt::as_canonical_u64).collect()).or_default() += count;
    }
    assert!(sums.values().all(|&sum| sum == Felt::ZERO));
}

/// The messages of a trace that must break no constraint.
pub(crate) fn messages<T>(table: &T, main: &Trace) -> Vec<(&'static str, Vec<Felt>, Felt)>
where
    T: BaseAir<Felt> + for<'c> Air<Checker<'c, Collect>>,
{
    let preprocessed = table.preprocessed_trace();
    let instance = Instance { table, preprocessed: preprocessed.as_ref(), main, public_values: &[] };
    let mut collect = Collect::default();
    (0..main.height()).for_each(|row| instance.evaluate(row, &mut collect));
    assert_eq!(collect.broken, Vec::<String>::new());
    collect.messages
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    /// Whatever the position and the digests, an update's rows and the permutations it looks up fit together.
    #[test]
    fn updates_balance(position in any::<u32>(), seed in any::<u64>()) {
        balance(&[event(400, 0x40_0000, position, seed), event(800, 0x40_0000, !position, seed.rotate_left(7))]);
    }
}
