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
    forge::{By, Free, Honest, catches, every_cell_counts, forgery},
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

fn honest() -> Honest<Tree> {
    let updates = [event(4_000, 0x40_0000, 0x8000_0005, 1), event(8_000, 0x41_0000, 0, 2)];
    Honest::new(Tree, trace(&updates, 128).expect("fits")).with_facts(is_permutation)
}

fn edit(trace: &mut Trace, row: usize, change: impl FnOnce(&mut TreeColumns<Felt>)) {
    let width = trace.width;
    let row = &mut trace.values[row * width..(row + 1) * width];
    let mut columns = TreeColumns::read(row);
    change(&mut columns);
    columns.write(row);
}

/// Climbs the new path again from `level`, where its node has become `node`; the root is what comes out.
fn climb(trace: &mut Trace, level: usize, node: DigestElements) {
    let mut node = node;
    for level in level..TREE_DEPTH {
        edit(trace, 4 + level, |row| {
            row.new = node.map(Felt::from_u64);
            let sibling = row.sibling.map(|element| element.as_canonical_u64());
            node = if row.is_right == Felt::ONE { compress(&sibling, &node) } else { compress(&node, &sibling) };
        });
    }
    let words = to_words(&node);
    for index in 0..4 {
        edit(trace, 4 + TREE_DEPTH + index, |row| {
            for place in 0..4 - index {
                row.new[place] = Felt::from_u64(node[index + place]);
            }
            row.words[2] = Felt::from_u32(words[2 * index]);
            row.words[3] = Felt::from_u32(words[2 * index + 1]);
        });
    }
}

#[test]
fn forgeries_are_caught() {
    let level = |level: usize| 4 + level;
    let store = |index: usize| 4 + TREE_DEPTH + index;
    catches(
        &honest(),
        [
            forgery(
                "takes half a side",
                move |t| edit(t, level(0), |row| row.is_right = Felt::TWO),
                By::These(&["R1", "R17", "PERMUTATION"]),
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
                |t| edit(t, PADDING + 1, |row| row.is_end = Felt::ONE),
                By::These(&["R3", "R7"]),
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
                By::These(&["R16", "TRANSFER"]),
            ),
            forgery(
                "starts in the middle",
                move |t| {
                    let width = t.width;
                    t.values.copy_within(level(0) * width.., 0);
                },
                By::These(&["CALL", "R5", "TRANSFER"]),
            ),
            forgery(
                "starts counting at one",
                |t| edit(t, 0, |row| row.index = Felt::ONE),
                By::These(&["R5", "R7", "TRANSFER"]),
            ),
            forgery(
                "leaves the last update open",
                |t| {
                    for row in 126..128 {
                        edit(t, row, |columns| {
                            columns.is_load = Felt::ONE;
                            columns.index = Felt::from_usize(row - 126);
                        });
                    }
                },
                By::These(&["R6", "R11", "TRANSFER"]),
            ),
            forgery("counts from one", |t| edit(t, 2, |row| row.index = Felt::ONE), By::These(&["R7", "TRANSFER"])),
            forgery(
                "skips a level",
                move |t| {
                    edit(t, level(31), |row| {
                        row.is_level = Felt::ZERO;
                        row.is_end = Felt::ZERO;
                    })
                },
                By::These(&["R8", "R9"]),
            ),
            forgery(
                "stores without having climbed",
                |t| edit(t, PADDING + 5, |row| row.is_store = Felt::ONE),
                By::These(&["R7", "R9", "TRANSFER"]),
            ),
            forgery(
                "loads one element only",
                |t| edit(t, PADDING + 5, |row| row.is_load = Felt::ONE),
                By::These(&["R10", "R7", "TRANSFER"]),
            ),
            forgery(
                "reads the leaves of another call",
                |t| (0..2).for_each(|index| edit(t, index, |row| row.address = Felt::from_u32(0x41_0000))),
                By::These(&["R11", "TRANSFER"]),
            ),
            forgery(
                "forgets an element it loaded",
                |t| edit(t, 1, |row| row.old[3] += Felt::ONE),
                By::These(&["R12", "R14"]),
            ),
            forgery(
                "opens another old leaf than the one in memory, and replaces the root all the same",
                move |t| {
                    // The last element loaded, with the path climbed again from there: only the load itself is wrong.
                    let mut node: DigestElements = t_new(t, level(0));
                    node[3] ^= 1;
                    climb(t, 0, node);
                },
                By::These(&["R14", "TRANSFER"]),
            ),
            forgery(
                "stores another root",
                move |t| edit(t, store(0), |row| row.words[2] += Felt::ONE),
                By::These(&["R15", "TRANSFER"]),
            ),
            forgery(
                "stores an element twice",
                move |t| edit(t, store(3), |row| row.new[0] += Felt::ONE),
                By::These(&["R13", "R15"]),
            ),
            forgery(
                "takes another side",
                move |t| edit(t, level(7), |row| row.is_right = Felt::ONE - row.is_right),
                By::These(&["PERMUTATION", "R17"]),
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
                By::These(&["R18", "TRANSFER"]),
            ),
            forgery(
                "uses one sibling for the old path and another for the new",
                move |t| edit(t, level(3), |row| row.sibling[2] += Felt::ONE),
                By::Bus("PERMUTATION"),
            ),
            forgery(
                "serves a call twice",
                |t| edit(t, 3, |row| row.clock += Felt::ONE),
                By::These(&["CALL", "R11", "TRANSFER"]),
            ),
        ],
    );
}

fn t_new(trace: &Trace, row: usize) -> DigestElements {
    let columns = TreeColumns::read(&trace.values[row * trace.width..(row + 1) * trace.width]);
    columns.new.map(|element| element.as_canonical_u64())
}

#[test]
fn every_cell_is_bound() {
    let kind = |row: &[Felt]| row[..3].iter().position(|&flag| flag == Felt::ONE);
    let _ = kind;
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
