use std::collections::BTreeMap;

use joule_machine::{
    layout::{ECRECOVER_WORDS, SLOT_PRECOMPILE},
    records::{Access, RecoverEvent},
};
use p3_field::{PrimeCharacteristicRing, PrimeField64};
use proptest::prelude::*;

use super::{
    Curve,
    arithmetic::{GENERATOR, ORDER, PRIME, Point, U256, add, multiply},
    columns::CurveColumns,
    constants::{CHOICES, HALF_ORDER, STARTS},
    program::{Name, program},
    trace::{CurveError, trace},
};
use crate::{Felt, check::Trace, poseidon2::tree::tests::messages, trace::TraceError};

/// One call and some rows behind it.
pub(crate) const HEIGHT: usize = 1024;

/// What a recovery must give, by textbook arithmetic.
fn recovered(hash: U256, r: U256, s: U256, parity: u32) -> Option<Point> {
    let point = Point::lift(r, parity == 1)?;
    let inverse = ORDER.inverse(r)?;
    let u = ORDER.mul(ORDER.neg(ORDER.reduce(hash)), inverse);
    add(multiply(u, Some(GENERATOR)), multiply(ORDER.mul(s, inverse), Some(point)))
}

pub(crate) fn event(hash: U256, r: U256, s: U256, parity: u32) -> RecoverEvent {
    let key = recovered(hash, r, s, parity);
    let (x, y) = key.map_or((U256::ZERO, U256::ZERO), |key| (key.x, key.y));
    let inputs = [hash, r, s].into_iter().flat_map(|value| value.to_words()).chain([parity]);
    let before: Vec<u32> = inputs.clone().chain([9; 17]).collect();
    let outputs =
        [u32::from(key.is_some())].into_iter().chain([x, y].iter().flat_map(U256::to_words).collect::<Vec<_>>());
    let after: Vec<u32> = inputs.chain(outputs).collect();
    let (clock, address) = (400, 0x40_0000);
    let words: [Access; ECRECOVER_WORDS] = core::array::from_fn(|index| Access {
        address: address + 4 * index as u32,
        before: before[index],
        after: after[index],
        previous_timestamp: clock + SLOT_PRECOMPILE - 1 - index as u32,
    });
    RecoverEvent { clock, address, words: Box::new(words) }
}

/// A signature of `hash` by `secret` with nonce `nonce`, with the low s that the kernel lets through.
pub(crate) fn sign(hash: U256, secret: U256, nonce: U256) -> (U256, U256, u32) {
    let point = multiply(nonce, Some(GENERATOR)).expect("0 < nonce < n");
    let r = ORDER.reduce(point.x);
    let sum = ORDER.add(ORDER.reduce(hash), ORDER.mul(r, secret));
    let s = ORDER.mul(ORDER.inverse(nonce).expect("0 < nonce < n"), sum);
    let parity = (point.y.0[0] & 1) as u32;
    if s > HALF_ORDER { (r, ORDER.neg(s), parity ^ 1) } else { (r, s, parity) }
}

pub(crate) fn number(seed: u64) -> U256 {
    let digit =
        |i: u64| (seed.wrapping_add(i)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23).wrapping_mul(seed | 1);
    ORDER.reduce(U256([digit(1), digit(2), digit(3), digit(4)]))
}

pub(crate) fn signed(seed: u64) -> RecoverEvent {
    let (hash, secret, nonce) = (number(seed), number(seed ^ 0xabcd), number(seed ^ 0x1234_5678));
    let (r, s, parity) = sign(hash, secret, nonce);
    let event = event(hash, r, s, parity);
    assert_eq!(recovered(hash, r, s, parity), multiply(secret, Some(GENERATOR)));
    event
}

/// An r that is the x of no point.
fn unliftable(seed: u64) -> U256 {
    let mut r = number(seed);
    while Point::lift(r, false).is_some() {
        r = ORDER.add(r, U256::ONE);
    }
    r
}

/// All constraints hold, the table's own buses balance, and it moves the words of the event.
fn is_satisfied(event: &RecoverEvent) -> Trace {
    let trace = trace(std::slice::from_ref(event), HEIGHT).expect("a call like any other");
    let mut sums = BTreeMap::<(&str, Vec<u64>), Felt>::new();
    for (name, fields, count) in messages(&Curve { height: HEIGHT }, &trace) {
        if name == "RANGE" {
            assert!(fields[0].as_canonical_u64() < 1 << 16);
        } else {
            *sums.entry((name, fields.iter().map(Felt::as_canonical_u64).collect())).or_default() += count;
        }
    }
    sums.retain(|_, sum| *sum != Felt::ZERO);
    let mut expected = BTreeMap::new();
    expected.insert(("CALL", vec![5, event.address.into(), event.clock.into()]), -Felt::ONE);
    for pair in event.words.chunks(2) {
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
    assert_eq!(sums, expected);
    trace
}

#[test]
fn arithmetic_agrees_with_the_library() {
    for seed in 1..20 {
        let scalar = number(seed);
        let mut bytes = [0; 32];
        bytes
            .chunks_exact_mut(8)
            .zip(scalar.0.iter().rev())
            .for_each(|(chunk, digit)| chunk.copy_from_slice(&digit.to_be_bytes()));
        let secret = secp256k1::SecretKey::from_secret_bytes(bytes).expect("below n");
        let key = secp256k1::PublicKey::from_secret_key(&secret).serialize_uncompressed();
        let point = multiply(scalar, Some(GENERATOR)).expect("finite");
        let ours: Vec<u8> = [point.x, point.y]
            .iter()
            .flat_map(|c| c.0.iter().rev().flat_map(|d| d.to_be_bytes()).collect::<Vec<_>>())
            .collect();
        assert_eq!(key[1..], ours[..]);
        for modulus in [PRIME, ORDER] {
            assert_eq!(modulus.mul(scalar, modulus.inverse(scalar).expect("not zero")), U256::ONE);
        }
    }
    assert_eq!(multiply(ORDER.value, Some(GENERATOR)), None);
    assert_eq!(ORDER.mul(ORDER.sub(U256::ZERO, U256::ONE), ORDER.sub(U256::ZERO, U256::ONE)), U256::ONE);
}

#[test]
fn starting_points_are_what_they_say() {
    for start in STARTS.iter() {
        let double = |point| add(Some(point), Some(point));
        assert_eq!(double(start.start), Some(start.nothing));
        assert_eq!(add(Some(start.nothing), Some(GENERATOR)), Some(start.generator));
        assert_eq!(double(start.start_with_generator), Some(start.generator));
        assert_eq!(double(start.correction), Some(start.infinity.negated()));
        // A ladder of no bits.
        let ladder = (0..256).try_fold(start.start, |sum, _| add(double(sum), Some(start.nothing)));
        assert_eq!(ladder, Some(start.infinity));
    }
    let mut xs: Vec<U256> = STARTS.iter().map(|start| start.start.x).collect();
    xs.dedup();
    assert_eq!(xs.len(), CHOICES);
}

#[test]
fn every_name_is_defined_once() {
    let mut definitions = BTreeMap::<u64, usize>::new();
    let mut words = BTreeMap::<u64, i64>::new();
    for row in program() {
        let columns = row.columns();
        for (name, uses) in [(columns.name_c, columns.uses_c), (columns.name_d, columns.uses_d)] {
            if uses == Felt::ZERO {
                *definitions.entry(name.as_canonical_u64()).or_default() += 1;
            }
        }
        let index = columns.index.as_canonical_u64();
        if columns.is_scalar == Felt::ONE {
            *words.entry(index).or_default() += 1;
            *words.entry(index + 1).or_default() += 1;
        }
        if columns.ends_word == Felt::ONE {
            *words.entry(index).or_default() -= 1;
            *words.entry(index + 8).or_default() -= 1;
        }
    }
    definitions.remove(&(Name::Unused as u64));
    assert_eq!(
        definitions.into_iter().collect::<Vec<_>>(),
        (1..=Name::BothY as u64).map(|name| (name, 1)).collect::<Vec<_>>()
    );
    assert!(words.len() == 16 && words.values().all(|&sum| sum == 0), "{words:?}");
}

#[test]
fn edges_have_traces() {
    let hash = number(5);
    let one = U256::ONE;
    // z = 0, so u = 0; z ≥ n, and z = n, which is 0 modulo n.
    for hash in [U256::ZERO, ORDER.value, U256([u64::MAX; 4])] {
        let (r, s, parity) = sign(hash, number(6), number(7));
        is_satisfied(&event(hash, r, s, parity));
    }
    // R is not there, for either parity asked for.
    for parity in 0..2 {
        is_satisfied(&event(hash, unliftable(8), one, parity));
    }
    // Q is infinity: sR = zG.
    let nonce = number(9);
    let point = multiply(nonce, Some(GENERATOR)).expect("finite");
    let (r, parity) = (ORDER.reduce(point.x), (point.y.0[0] & 1) as u32);
    for s in [one, U256::from_u64(12_345), HALF_ORDER] {
        let forged = event(ORDER.mul(s, nonce), r, s, parity);
        assert_eq!(forged.words[25].after, 0);
        is_satisfied(&forged);
    }
    // R = ±G, Q = ±G, and both.
    for (secret, nonce) in
        [(number(10), one), (one, number(11)), (ORDER.neg(one), number(12)), (one, ORDER.neg(one)), (one, one)]
    {
        let (r, s, parity) = sign(hash, secret, nonce);
        is_satisfied(&event(hash, r, s, parity));
    }
    // The extremes of s.
    for s in [one, HALF_ORDER] {
        is_satisfied(&event(hash, r, s, parity));
    }
}

/// The ladder's sum is a · S and what the bits say, for a = 3 · 2^k − 2. An exceptional addition would relate a multiple of S to G and R; were
/// that multiple zero, one R could be exceptional for every starting point.
#[test]
fn exceptional_additions_involve_the_starting_point() {
    let two = U256::from_u64(2);
    let mut multiple = U256::ONE;
    for _ in 0..=256 {
        // T = ±A, and 2A + T.
        for exceptional in
            [ORDER.sub(multiple, two), ORDER.add(multiple, two), ORDER.add(ORDER.add(multiple, multiple), two)]
        {
            assert_ne!(exceptional, U256::ZERO);
        }
        multiple = ORDER.add(ORDER.add(multiple, multiple), two);
    }
}

/// A signature made so that the sum from the first starting point runs into an exceptional addition.
#[test]
fn another_starting_point_helps() {
    let start = &STARTS[0];
    // R = ±S: the very first step is exceptional.
    for point in [start.start, start.start.negated()] {
        let parity = (point.y.0[0] & 1) as u32;
        let event = event(number(3), point.x, U256::from_u64(77), parity);
        let trace = is_satisfied(&event);
        let choice = CurveColumns::numbers().choice;
        assert_eq!(trace.values[choice[0]], Felt::ZERO);
        assert_eq!(trace.values[choice[1]], Felt::ONE);
    }
}

#[test]
fn calls_that_must_not_be_have_no_trace() {
    let good = (number(1), number(2), U256::from_u64(3), 0);
    let refuse = |(hash, r, s, parity): (U256, U256, U256, u32)| {
        let mut event = event(good.0, good.1, good.2, good.3);
        let words = [hash, r, s].iter().flat_map(U256::to_words).chain([parity]).collect::<Vec<_>>();
        for (access, word) in event.words.iter_mut().zip(words) {
            (access.before, access.after) = (word, word);
        }
        assert!(matches!(trace(&[event], HEIGHT), Err(TraceError::Curve(CurveError::OutOfRange { .. }))));
    };
    refuse((good.0, U256::ZERO, good.2, 0));
    refuse((good.0, ORDER.value, good.2, 0));
    refuse((good.0, good.1, U256::ZERO, 0));
    refuse((good.0, good.1, HALF_ORDER.overflowing_add(U256::ONE).0, 0));
    refuse((good.0, good.1, good.2, 2));
    let mut event = event(good.0, good.1, good.2, good.3);
    event.words[30].after ^= 1;
    assert!(matches!(trace(&[event.clone()], HEIGHT), Err(TraceError::Curve(CurveError::WrongOutput { .. }))));
    assert!(matches!(
        trace(&[event.clone(), event], HEIGHT),
        Err(TraceError::TooManyRows { table: "curve", rows: 1132, height: HEIGHT })
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn signatures_have_traces(seed in any::<u64>()) {
        is_satisfied(&signed(seed));
    }

    /// Numbers that nobody signed: half of them have no R.
    #[test]
    fn noise_has_traces(seed in any::<u64>(), parity in 0_u32..2) {
        let s = number(seed ^ 99);
        let s = if s > HALF_ORDER { ORDER.neg(s) } else { s };
        is_satisfied(&event(number(seed), number(seed ^ 98), s, parity));
    }
}
