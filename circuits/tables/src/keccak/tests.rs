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
    program::{CONSTANT_BITS, ROTATIONS, ROWS, round_constants},
    trace::{Round, behind_chi, trace},
};
use crate::{
    Felt,
    check::{Collect, Instance, Trace},
    forge::{By, Entangled, Honest, catches_but, edits, forgery},
    poseidon2::tree::tests::messages,
};

const HEIGHT: usize = 64;
/// Of the honest state.
const SEED: u64 = 7;

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

edits!(KeccakColumns);

/// Forty-eight rows with a call and sixteen behind it.
fn honest() -> Honest<Keccak> {
    Honest::new(Keccak { height: HEIGHT }, trace(&[event(4_000, lanes(SEED))], HEIGHT).expect("fits"))
}

/// Goes on from a round as an honest prover would, but with a changed state in front of it, or with a round that is not what it should be.
fn resume(from: usize, change: impl Fn(&mut [u64; LANES]), cheat: impl Fn(&mut Round)) -> impl Fn(&mut Trace) {
    move |t| {
        let mut state = lanes(SEED);
        for (index, constant) in round_constants().into_iter().enumerate() {
            if index == from {
                change(&mut state);
            }
            let mut round = Round::of(state);
            if index == from {
                cheat(&mut round);
            }
            if index >= from {
                let rows = 2 * index * t.width..(2 * index + 2) * t.width;
                let common = KeccakColumns::read(&t.values[rows.clone()]);
                round.write(&common, &mut t.values[rows]);
            }
            state = round.end(constant);
        }
        behind_chi(&mut t.values);
    }
}

/// Leaves the honest round alone.
fn fairly(_: &mut Round) {}

/// Leaves the honest state alone.
fn same(_: &mut [u64; LANES]) {}

/// θ flips bit z of column x, wrongly.
fn flip_column(round: &mut Round, x: usize, z: usize) {
    (0..SIDE).for_each(|y| round.theta[x + SIDE * y] ^= 1 << z);
    round.theta_parity[x] ^= 1 << z;
}

/// Two cells of a lane of A′ in the last round that are no bits, and leave its word and the parities of their columns what they were; then what
/// follows from them.
fn bits_that_are_none(t: &mut Trace) {
    let numbers = KeccakColumns::numbers();
    let start = (ROWS - 2) * t.width;
    let row = KeccakColumns::read(&t.values[start..start + t.width]);
    let (one, four) = (Felt::ONE, Felt::from_u8(4));
    // How far the sum of a column is above its parity.
    let above = |x: usize, z: usize| {
        (0..SIDE).map(|y| row.theta[(x + SIDE * y) * HALF + z]).sum::<Felt>() - row.theta_parity[x * HALF + z]
    };
    // What adding one to a bit of A′ adds to that of A.
    let sign = |x: usize, z: usize| {
        if row.parity[x * HALF + z] == row.theta_parity[x * HALF + z] { one } else { -one }
    };
    let legal = [Felt::ZERO, Felt::TWO, four];
    let places = (0..LANES).flat_map(|lane| (0..HALF - 1).map(move |z| (lane, z)));
    let (lane, z, step) = places
        .map(|(lane, z)| (lane, z, -Felt::TWO * sign(lane % SIDE, z) * sign(lane % SIDE, z + 1)))
        .find(|&(lane, z, step)| {
            above(lane % SIDE, z) == Felt::ZERO && legal.contains(&(above(lane % SIDE, z + 1) + step))
        })
        .expect("one of so many places will do");
    t.values[start + numbers.theta[lane * HALF + z]] += four;
    t.values[start + numbers.theta[lane * HALF + z + 1]] += step;
    for row in [ROWS - 2, ROWS - 1] {
        behind_chi_in_the_field(t, row);
    }
}

/// What χ makes of a row and the one before, by the polynomials that stand for it.
fn behind_chi_in_the_field(t: &mut Trace, row: usize) {
    let at = |row: usize| KeccakColumns::read(&t.values[row * t.width..(row + 1) * t.width]).theta;
    let theta = [at(row - 1), at(row)];
    let moved = |x: usize, y: usize, z: usize| {
        let lane = (x + 3 * y) % SIDE + SIDE * x;
        let from = (z + 64 - ROTATIONS[lane] as usize) % 64;
        theta[from / HALF][lane * HALF + from % HALF]
    };
    let bit = |lane: usize, z: usize| {
        let (x, y) = (lane % SIDE, lane / SIDE);
        let flip = (Felt::ONE - moved((x + 1) % SIDE, y, z)) * moved((x + 2) % SIDE, y, z);
        moved(x, y, z) + flip * (Felt::ONE - moved(x, y, z).double())
    };
    let word =
        |lane: usize, half: usize| (0..HALF).rev().fold(Felt::ZERO, |sum, z| sum.double() + bit(lane, half * HALF + z));
    let after = core::array::from_fn(|index| word(index % LANES, index / LANES));
    let flipped = CONSTANT_BITS.map(|z| bit(0, z));
    edit(t, row, |row| (row.after, row.flipped) = (after, flipped));
}

#[test]
fn forgeries_are_caught() {
    let one = Felt::ONE;
    let last = ROWS - 1;
    // Rows 4 and 5 are the third round, whose constant has bit 1.
    const ROUND: usize = 2;
    const MEMORY_FOLLOWS: &[&str] = &["TRANSFER"];
    let by = |name| By::Granted(MEMORY_FOLLOWS, name);
    catches_but(
        &honest(),
        [
            forgery("has cells for bits that are none", bits_that_are_none, by("H1")),
            forgery(
                "flips a column that θ does not flip",
                resume(ROUND, same, |round| flip_column(round, 1, 9)),
                by("H2"),
            ),
            forgery(
                "makes a parity up, and flips the neighbours by it",
                resume(ROUND, same, |round| {
                    round.parity[1] ^= 1 << 9;
                    round.theta_parity[1] ^= 1 << 9;
                    flip_column(round, 2, 9);
                    flip_column(round, 0, 10);
                }),
                by("H3"),
            ),
            forgery(
                "flips two bits of a column",
                resume(ROUND, same, |round| (0..2).for_each(|y| round.theta[1 + SIDE * y] ^= 1 << 9)),
                by("H4"),
            ),
            forgery("makes the last words up", move |t| edit(t, last, |row| row.after[3] += one), by("H5")),
            forgery(
                "makes up a bit that ι flips",
                |t| {
                    // ι turns a 0 into a 1 by adding 2; told that it is a 1, it takes 2 away.
                    let honest = KeccakColumns::read(&t.values[(2 * ROUND + 1) * t.width..]).flipped[1];
                    resume(
                        ROUND + 1,
                        |state| {
                            let low = state[0] as u32;
                            let low = if honest == Felt::ZERO { low.checked_sub(4) } else { low.checked_add(4) };
                            state[0] = state[0] >> 32 << 32 | u64::from(low.expect("a word in the middle"));
                        },
                        fairly,
                    )(t);
                    edit(t, 2 * ROUND + 1, |row| row.flipped[1] = Felt::ONE - honest);
                },
                by("H6"),
            ),
            forgery(
                "serves a call twice",
                |t| (0..HEIGHT).for_each(|row| edit(t, row, |row| row.is_real = Felt::TWO)),
                By::These(&["CALL", "H7", "TRANSFER"]),
            ),
            forgery(
                "replaces other words than those it permutes",
                move |t| (2..HEIGHT).for_each(|row| edit(t, row, |row| row.initial[4] += one)),
                by("H8"),
            ),
            forgery(
                "permutes other low words",
                |t| (0..HEIGHT).for_each(|row| edit(t, row, |row| row.initial[4] += Felt::ONE)),
                by("H9"),
            ),
            forgery(
                "permutes other high words",
                |t| (0..HEIGHT).for_each(|row| edit(t, row, |row| row.initial[LANES + 4] += Felt::ONE)),
                by("H10"),
            ),
            forgery(
                "goes on with other high words in the upper half",
                |t| {
                    let honest = KeccakColumns::read(&t.values[2 * ROUND * t.width..]).pending;
                    resume(ROUND, |state| state[3] ^= 1 << 40, fairly)(t);
                    edit(t, 2 * ROUND, |row| row.pending = honest);
                },
                by("H11"),
            ),
            forgery("goes on with other low words", resume(ROUND, |state| state[3] ^= 1 << 5, fairly), by("H12")),
            forgery("goes on with other high words", resume(ROUND, |state| state[3] ^= 1 << 40, fairly), by("H13")),
            forgery(
                "has another bit in front of bit 0",
                resume(ROUND, same, |round| {
                    round.parity_in_front[0][2] ^= true;
                    flip_column(round, 1, 0);
                }),
                by("H14"),
            ),
            forgery(
                "has another bit in front of bit 32",
                resume(ROUND, same, |round| {
                    round.parity_in_front[1][2] ^= true;
                    flip_column(round, 1, HALF);
                }),
                by("H15"),
            ),
            forgery(
                "permutes another state than memory holds",
                |t| *t = trace(&[event(4_000, lanes(SEED + 1))], HEIGHT).expect("fits"),
                By::Bus("TRANSFER"),
            ),
            forgery(
                "serves a call that nobody made",
                |t| *t = trace(&[event(4_004, lanes(SEED))], HEIGHT).expect("fits"),
                by("CALL"),
            ),
        ],
        &[Entangled {
            names: &["H7"],
            reason: "is_real counts the call's tokens: with another value than 0 and 1, CALL and TRANSFER do not balance",
        }],
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
