use std::collections::BTreeMap;

use joule_machine::{
    layout::{KECCAK_WORDS, SLOT_PRECOMPILE},
    records::{Access, KeccakEvent},
};
use p3_field::{PrimeCharacteristicRing, PrimeField64};
use proptest::prelude::*;

use super::{
    Keccak,
    columns::{HALF, KeccakColumns, LANES, SIDE},
    program::{CONSTANT_BITS, ROWS, round_constants},
    trace::trace,
};
use crate::{
    Felt,
    check::{Collect, Instance, Trace},
    forge::{By, Honest, catches, forgery},
    poseidon2::tree::tests::messages,
};

const HEIGHT: usize = 64;

fn event(clock: u32, mut lanes: [u64; LANES]) -> KeccakEvent {
    let words =
        |lanes: &[u64; LANES]| lanes.iter().flat_map(|lane| [*lane as u32, (lane >> 32) as u32]).collect::<Vec<_>>();
    let before = words(&lanes);
    tiny_keccak::keccakf(&mut lanes);
    let after = words(&lanes);
    let address = 0x50_0000;
    let state: [Access; KECCAK_WORDS] = core::array::from_fn(|index| Access {
        address: address + 4 * index as u32,
        before: before[index],
        after: after[index],
        previous_timestamp: clock - 1 - index as u32,
    });
    KeccakEvent { clock, address, state: Box::new(state) }
}

fn lanes(seed: u64) -> [u64; LANES] {
    core::array::from_fn(|lane| (seed + lane as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(lane as u32))
}

fn is_satisfied(events: &[KeccakEvent], height: usize) {
    let trace = trace(events, height).expect("fits");
    let mut sums = BTreeMap::<(&str, Vec<u64>), Felt>::new();
    for (name, fields, count) in messages(&Keccak { height }, &trace) {
        *sums.entry((name, fields.iter().map(Felt::as_canonical_u64).collect())).or_default() += count;
    }
    let mut expected = BTreeMap::new();
    for event in events {
        expected.insert(("CALL", vec![2, event.address.into(), event.clock.into()]), -Felt::ONE);
        for pair in event.state.chunks(2) {
            let fields = [
                event.clock + SLOT_PRECOMPILE,
                pair[0].address,
                1,
                0,
                pair[0].before,
                pair[1].before,
                pair[0].after,
                pair[1].after,
            ];
            expected.insert(("TRANSFER", fields.map(u64::from).to_vec()), Felt::ONE);
        }
    }
    assert_eq!(sums, expected);
}

#[test]
fn round_constants_are_the_published_ones() {
    // FIPS 202's first, second and last, from the Keccak team's tables.
    let constants = round_constants();
    assert_eq!([constants[0], constants[1], constants[23]], [1, 0x8082, 0x8000_0000_8000_8008]);
}

#[test]
fn edges_have_traces() {
    is_satisfied(&[], HEIGHT);
    is_satisfied(&[event(400, [0; LANES]), event(404, [u64::MAX; LANES])], 128);
}

fn edit(trace: &mut Trace, row: usize, change: impl FnOnce(&mut KeccakColumns<Felt>)) {
    let width = trace.width;
    let row = &mut trace.values[row * width..(row + 1) * width];
    let mut columns = KeccakColumns::read(row);
    change(&mut columns);
    columns.write(row);
}

/// Forty-eight rows with a call and sixteen behind it.
fn honest() -> Honest<Keccak> {
    Honest::new(Keccak { height: HEIGHT }, trace(&[event(4_000, lanes(7))], HEIGHT).expect("fits"))
}

/// Puts the permutation of other lanes in the place of the honest one from row `from` on, but for what is said about the call.
fn graft(from: usize) -> impl Fn(&mut Trace) {
    move |t| {
        let other = trace(&[event(4_000, lanes(8))], HEIGHT).expect("fits");
        let width = t.width;
        for row in from..HEIGHT {
            let mut columns = KeccakColumns::read(&other.values[row * width..(row + 1) * width]);
            edit(t, row, |row| {
                columns.initial = row.initial;
                *row = columns;
            });
        }
        // What χ makes of the two rows at the seam.
        let theta = |t: &Trace, row: usize| {
            let theta = KeccakColumns::read(&t.values[row * width..(row + 1) * width]).theta;
            core::array::from_fn::<u32, LANES, _>(|lane| {
                (0..HALF).fold(0, |word, z| word | (theta[lane * HALF + z].as_canonical_u64() as u32) << z)
            })
        };
        for row in [from, 0] {
            let (low, high) = (theta(t, (row + HEIGHT - 1) % HEIGHT), theta(t, row));
            let after =
                super::trace::chi(&core::array::from_fn(|lane| u64::from(low[lane]) | u64::from(high[lane]) << 32));
            edit(t, row, |row| {
                for (lane, after) in after.into_iter().enumerate() {
                    row.after[lane] = Felt::from_u32(after as u32);
                    row.after[LANES + lane] = Felt::from_u32((after >> 32) as u32);
                }
                for (flipped, bit) in row.flipped.iter_mut().zip(CONSTANT_BITS) {
                    *flipped = Felt::from_u64(after[0] >> bit & 1);
                }
            });
        }
    }
}

#[test]
fn forgeries_are_caught() {
    let one = Felt::ONE;
    let last = ROWS - 1;
    catches(
        &honest(),
        [
            forgery("has half a bit", |t| edit(t, 4, |row| row.theta[5] += Felt::TWO), By::These(&["H1", "H4", "H5"])),
            forgery(
                "flips a column's parity by those of others",
                move |t| edit(t, 4, |row| row.parity[9] = one - row.parity[9]),
                By::These(&["H2", "H4"]),
            ),
            forgery(
                // With the parity that goes with it, and the bits it flips: only the parity itself is made up.
                "flips a column alone",
                move |t| {
                    edit(t, 4, |row| {
                        row.theta_parity[9] = one - row.theta_parity[9];
                        (0..SIDE).for_each(|y| row.theta[SIDE * y * HALF + 9] = one - row.theta[SIDE * y * HALF + 9]);
                    });
                },
                // Five flipped bits have the flipped parity, so H3 holds.
                By::These(&["H2", "H5"]),
            ),
            forgery(
                "flips one bit of a column",
                move |t| edit(t, 4, |row| row.theta[9] = one - row.theta[9]),
                By::These(&["H3", "H4", "H5"]),
            ),
            forgery(
                "starts from another word",
                move |t| edit(t, 3, |row| row.before[2] += one),
                By::These(&["H11", "H4"]),
            ),
            forgery("makes χ's words up", move |t| edit(t, 5, |row| row.after[40] += one), By::These(&["H13", "H5"])),
            forgery(
                "makes the last words up",
                move |t| edit(t, last, |row| row.after[3] += one),
                By::These(&["H5", "TRANSFER"]),
            ),
            forgery(
                "makes up a bit that ι flips",
                move |t| edit(t, 3, |row| row.flipped[1] = one - row.flipped[1]),
                By::These(&["H12", "H6"]),
            ),
            forgery(
                "serves half a call",
                |t| (0..HEIGHT).for_each(|row| edit(t, row, |row| row.is_real = Felt::TWO)),
                By::These(&["CALL", "H7", "TRANSFER"]),
            ),
            forgery(
                "writes where another call says",
                move |t| (2..HEIGHT).for_each(|row| edit(t, row, |row| row.address += one)),
                By::These(&["CALL", "H8", "TRANSFER"]),
            ),
            forgery(
                "permutes other low words",
                |t| (0..HEIGHT).for_each(|row| edit(t, row, |row| row.initial[4] += Felt::ONE)),
                By::These(&["H9", "TRANSFER"]),
            ),
            forgery(
                "permutes other high words",
                |t| (0..HEIGHT).for_each(|row| edit(t, row, |row| row.initial[LANES + 4] += Felt::ONE)),
                By::These(&["H10", "TRANSFER"]),
            ),
            forgery("permutes another state from the start", graft(0), By::These(&["H10", "H9", "TRANSFER"])),
            forgery("permutes another state from the third round on", graft(4), By::These(&["H12", "H13", "TRANSFER"])),
            forgery(
                "permutes another state in the upper half",
                graft(5),
                By::These(&["H11", "H12", "H13", "H14", "H15", "TRANSFER"]),
            ),
            forgery(
                "keeps other high words for later",
                move |t| edit(t, 4, |row| row.pending[7] += one),
                By::These(&["H11", "H13"]),
            ),
            forgery(
                "has another bit in front of bit 0",
                move |t| edit(t, 4, |row| row.parity_in_front[2] = one - row.parity_in_front[2]),
                By::These(&["H14", "H2"]),
            ),
            forgery(
                "has another bit in front of bit 32",
                move |t| edit(t, 5, |row| row.parity_in_front[2] = one - row.parity_in_front[2]),
                By::These(&["H15", "H2"]),
            ),
        ],
    );
}

#[test]
fn every_cell_is_bound() {
    // One permutation and nothing behind it, seen from rows of every kind.
    let honest = Honest::new(Keccak { height: ROWS }, trace(&[event(4_000, lanes(9))], ROWS).expect("fits"));
    let numbers = KeccakColumns::numbers();
    let table = honest.table;
    let preprocessed = p3_air::BaseAir::preprocessed_trace(&table);
    let mut trace = honest.trace;
    let look = |trace: &Trace, row: usize| {
        let instance = Instance { table: &table, preprocessed: preprocessed.as_ref(), main: trace, public_values: &[] };
        let mut collect = Collect::default();
        instance.evaluate(row, &mut collect);
        instance.evaluate((row + ROWS - 1) % ROWS, &mut collect);
        (collect.broken.is_empty(), collect.messages)
    };
    for row in [0, 1, 2, 3, ROWS - 2, ROWS - 1] {
        let before = look(&trace, row);
        assert!(before.0);
        for column in 0..trace.width {
            // Upper halves pend nothing.
            if row % 2 == 1 && numbers.pending.contains(&column) {
                continue;
            }
            let cell = row * trace.width + column;
            let value = trace.values[cell];
            for change in [value + Felt::ONE, Felt::ONE - value, value + Felt::from_u64(1 << 32)] {
                trace.values[cell] = change;
                assert!(
                    change == value || look(&trace, row) != before,
                    "row {row}: {}",
                    KeccakColumns::<()>::names()[column]
                );
            }
            trace.values[cell] = value;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn permutations_have_traces(seed in any::<u64>()) {
        is_satisfied(&[event(400, lanes(seed))], HEIGHT);
        is_satisfied(&[event(400, lanes(!seed)), event(800, lanes(seed ^ 1))], 128);
    }
}
