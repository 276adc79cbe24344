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
    program::{ROWS, round_constants},
    trace::trace,
};
use crate::{
    Felt,
    check::Trace,
    forge::{By, Free, Honest, catches, every_cell_counts, forgery},
    poseidon2::tree::tests::messages,
};

const HEIGHT: usize = 64;

fn event(clock: u32, mut lanes: [u64; LANES]) -> KeccakEvent {
    let words = |lanes: &[u64; LANES]| lanes.iter().flat_map(|lane| [*lane as u32, (lane >> 32) as u32]).collect::<Vec<_>>();
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
            let fields =
                [event.clock + SLOT_PRECOMPILE, pair[0].address, 1, 0, pair[0].before, pair[1].before, pair[0].after, pair[1].after];
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn permutations_have_traces(seed in any::<u64>()) {
        is_satisfied(&[event(400, lanes(seed))], HEIGHT);
        is_satisfied(&[event(400, lanes(!seed)), event(800, lanes(seed ^ 1))], 128);
    }
}
