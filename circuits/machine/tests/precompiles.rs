//! Environment calls: their results, their records, and what they refuse.

mod common;

use common::{call, check_records, load_immediate, program, store};
use joule_machine::{
    Image, Limits, Op, Outcome, Reason, Records, Witness,
    layout::{
        CALL_COMMIT, CALL_ECRECOVER, CALL_HALT, CALL_KECCAK_F, CALL_POSEIDON2_HASH, CALL_TREE_UPDATE, HEAP_END,
        HEAP_START, INPUT_START,
    },
    poseidon2, record, run,
};
use joule_protocol::{Digest, Hashing, Native, Tag, compress};
use proptest::prelude::*;

const LIMITS: Limits = Limits { cycles: 1 << 16, pages: 64 };

/// Calls one precompile with its words in the private input; they are found again in the records.
fn calls(number: u32, arguments: &[u32], witness: &Witness) -> (Outcome, Records) {
    let image = program(&call(number, arguments));
    let (outcome, records) = record(&image, witness, LIMITS).unwrap();
    assert_eq!(run(&image, witness, LIMITS).unwrap(), outcome);
    check_records(&image, witness, &records);
    (outcome, records)
}

fn refuses(image: &Image, witness: &Witness) -> Reason {
    let abort = run(image, witness, LIMITS).unwrap_err();
    assert_eq!(record(image, witness, LIMITS).unwrap_err(), abort);
    abort.reason
}

fn refuses_call(number: u32, arguments: &[u32], input: Vec<u32>) -> Reason {
    refuses(&program(&call(number, arguments)), &input_only(input))
}

fn input_only(input: Vec<u32>) -> Witness {
    Witness { input, siblings: Vec::new() }
}

/// The word that a run left at an address.
fn left_at(records: &Records, address: u32) -> u32 {
    records.memory.iter().find(|word| word.address == address).unwrap().final_value
}

fn left_range<const N: usize>(records: &Records, address: u32) -> [u32; N] {
    core::array::from_fn(|i| left_at(records, address + 4 * i as u32))
}

#[test]
fn halt_gives_its_code_and_commits_nothing() {
    let image = Image::from_instructions(&call(CALL_HALT, &[7])).unwrap();
    let outcome = run(&image, &Witness::default(), LIMITS).unwrap();
    assert_eq!((outcome.exit_code, outcome.committed, outcome.cycles), (7, None, 5));
}

#[test]
fn commit_makes_public_values_once() {
    let words: Vec<u32> = (1..=18).collect();
    let (outcome, records) = calls(CALL_COMMIT, &[INPUT_START], &input_only(words.clone()));
    assert_eq!(outcome.committed.unwrap().to_vec(), words);
    assert_eq!(records.commit.unwrap().words.map(|access| access.after).to_vec(), words);

    let twice = [call(CALL_COMMIT, &[INPUT_START]), call(CALL_COMMIT, &[INPUT_START])].concat();
    assert_eq!(refuses(&program(&twice), &Witness::default()), Reason::CommittedTwice);
    let reason = refuses_call(CALL_COMMIT, &[INPUT_START], vec![0, 1 << 21]);
    assert_eq!(reason, Reason::ChainIdTooLarge { chain_id: 1 << 53 });
}

#[test]
fn keccak_f_of_zeros_is_the_published_state() {
    let (outcome, records) = calls(CALL_KECCAK_F, &[HEAP_START], &Witness::default());
    assert_eq!(outcome.precompiles.keccak_f, 1);
    // The first lanes of the first known answer of the Keccak team's KeccakF-1600-IntermediateValues.
    let lanes = [0xf125_8f79_40e1_dde7_u64, 0x84d5_ccf9_33c0_478a, 0xd598_261e_a65a_a9ee, 0xbd15_4730_6f80_494d];
    for (lane, index) in lanes.into_iter().zip((0..).step_by(8)) {
        assert_eq!(left_at(&records, HEAP_START + index), lane as u32);
        assert_eq!(left_at(&records, HEAP_START + index + 4), (lane >> 32) as u32);
    }
}

#[test]
fn poseidon2_hash_writes_its_digest_even_over_its_input() {
    let input: Vec<u32> = (0..11).map(|word| word * 0x0123_4567).collect();
    for output in [HEAP_START, INPUT_START, INPUT_START + 8] {
        let arguments = [INPUT_START, input.len() as u32, output, 2];
        let (outcome, records) = calls(CALL_POSEIDON2_HASH, &arguments, &input_only(input.clone()));
        assert_eq!(left_range(&records, output), poseidon2::to_words(&poseidon2::hash_words(2, &input)));
        assert_eq!(outcome.precompiles.poseidon2_permutations, 3);
    }
    let (outcome, records) = calls(CALL_POSEIDON2_HASH, &[INPUT_START, 0, HEAP_START, 1], &Witness::default());
    assert_eq!(left_range(&records, HEAP_START), poseidon2::to_words(&poseidon2::hash_words(1, &[])));
    assert_eq!(outcome.precompiles.poseidon2_permutations, 1);
    assert_eq!(
        refuses_call(CALL_POSEIDON2_HASH, &[INPUT_START, 4097, HEAP_START, 1], Vec::new()),
        Reason::HashTooLong { words: 4097, limit: 4096 }
    );
}

/// The words of a `tree_update` and a witness that fits.
fn tree_case(position: u32, seed: u64) -> (Vec<u32>, Witness) {
    let element = |index: u64| (seed | 1).wrapping_mul(index * 2 + 1) >> 1;
    let digest = |index: u64| core::array::from_fn(|i| element(4 * index + i as u64));
    let (old_leaf, new_leaf) = (digest(100), digest(101));
    let siblings: [[u64; 4]; 32] = core::array::from_fn(|level| digest(level as u64));
    let old_root = poseidon2::root(old_leaf, position, &siblings);
    let mut words = [old_leaf, new_leaf, old_root].map(|digest| poseidon2::to_words(&digest)).concat();
    words.extend([position, 0]);
    (words.clone(), Witness { input: words, siblings: vec![siblings] })
}

#[test]
fn tree_update_checks_the_old_leaf_and_writes_the_new_root() {
    for (position, seed) in [(0, 3), (1, 0xdead_beef), (u32::MAX, 0x1234_5678_9abc), (0x8000_0001, 77)] {
        let (words, witness) = tree_case(position, seed);
        let (_, records) = calls(CALL_TREE_UPDATE, &[INPUT_START], &witness);
        let new_leaf = poseidon2::from_words(words[8..16].try_into().unwrap());
        let root = poseidon2::root(new_leaf, position, &witness.siblings[0]);
        assert_eq!(left_range(&records, INPUT_START + 64), poseidon2::to_words(&root));
        assert_eq!(*records.tree_updates[0].siblings, witness.siblings[0]);
        assert_eq!(left_range::<16>(&records, INPUT_START).to_vec(), words[..16]);
    }
}

#[test]
fn tree_update_refuses_what_does_not_fit() {
    let image = program(&call(CALL_TREE_UPDATE, &[INPUT_START]));
    let position = 5;
    let (words, witness) = tree_case(position, 99);
    for changed in [0, 7, 16, 23, 24] {
        let mut witness = witness.clone();
        witness.input[changed] ^= 1;
        let position = if changed == 24 { position ^ 1 } else { position };
        assert_eq!(refuses(&image, &witness), Reason::WrongSiblings { index: 0, position });
    }
    let mut wrong = witness.clone();
    wrong.siblings[0][31][3] ^= 1;
    assert_eq!(refuses(&image, &wrong), Reason::WrongSiblings { index: 0, position });
    wrong.siblings[0][9][0] = 0xffff_ffff_0000_0001;
    assert_eq!(refuses(&image, &wrong), Reason::SiblingNotCanonical { index: 0, level: 9 });
    assert_eq!(refuses(&image, &input_only(words.clone())), Reason::NoSiblings { available: 0 });
    let mut reserved = witness;
    reserved.input[25] = 1;
    assert_eq!(refuses(&image, &reserved), Reason::ReservedWord { got: 1 });
}

#[test]
fn tree_update_reads_digests_modulo_p() {
    // A leaf element below 2^32 − 1 has a second encoding: the same plus p.
    let siblings = [[1; 4]; 32];
    let root = poseidon2::root([5, 0, 0, 0], 3, &siblings);
    let mut words = vec![6, u32::MAX, 0, 0, 0, 0, 0, 0];
    words.extend([0; 8]);
    words.extend(poseidon2::to_words(&root));
    words.extend([3, 0]);
    let witness = Witness { input: words, siblings: vec![siblings] };
    calls(CALL_TREE_UPDATE, &[INPUT_START], &witness);
}

mod signatures {
    use secp256k1::{Message, PublicKey, Scalar, SecretKey, ecdsa::RecoverableSignature};

    use super::*;

    fn words(bytes: &[u8]) -> Vec<u32> {
        bytes.rchunks(4).map(|chunk| u32::from_be_bytes(chunk.try_into().unwrap())).collect()
    }

    fn case(hash: [u8; 32], compact: &[u8], parity: u32) -> Vec<u32> {
        let mut input = [words(&hash), words(&compact[..32]), words(&compact[32..])].concat();
        input.push(parity);
        input
    }

    fn recovers(input: Vec<u32>) -> [u32; 17] {
        let (_, records) = calls(CALL_ECRECOVER, &[INPUT_START], &input_only(input));
        left_range(&records, INPUT_START + 100)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn the_signer_is_recovered(secret in prop::array::uniform32(1_u8..=254), hash: [u8; 32]) {
            let secret = SecretKey::from_secret_bytes(secret).unwrap();
            let signature = RecoverableSignature::sign_ecdsa_recoverable(Message::from_digest(hash), &secret);
            let (identifier, compact) = signature.serialize_compact();
            let point = PublicKey::from_secret_key(&secret).serialize_uncompressed();
            let output = recovers(case(hash, &compact, identifier.to_u8().into()));
            prop_assert_eq!(output[0], 1);
            prop_assert_eq!(output[1..9].to_vec(), words(&point[1..33]));
            prop_assert_eq!(output[9..].to_vec(), words(&point[33..]));
            // The other point with this r gives another key, and is no failure.
            let other = recovers(case(hash, &compact, 1 - u32::from(identifier.to_u8())));
            prop_assert_eq!(other[0], 1);
            prop_assert_ne!(other[1..9].to_vec(), output[1..9].to_vec());
        }
    }

    #[test]
    fn an_r_without_a_point_has_status_zero() {
        // 5³ + 7 is not a square modulo the field's prime.
        let mut compact = [0; 64];
        compact[31] = 5;
        compact[63] = 1;
        assert_eq!(recovers(case([9; 32], &compact, 0)), [0; 17]);
    }

    #[test]
    fn the_point_at_infinity_has_status_zero() {
        // R = k·G and z = s·k make s·R − z·G vanish. With k = 1, z = s.
        let mut one = [0; 32];
        one[31] = 1;
        let generator = PublicKey::from_secret_key(&SecretKey::from_secret_bytes(one).unwrap());
        let generator = generator.serialize_uncompressed();
        let mut compact = [0; 64];
        compact[..32].copy_from_slice(&generator[1..33]);
        compact[32..].copy_from_slice(&[0x11; 32]);
        let parity = u32::from(generator[64] & 1);
        assert_eq!(recovers(case([0x11; 32], &compact, parity)), [0; 17]);
        assert_eq!(recovers(case([0x11; 32], &compact, 1 - parity))[0], 1);
    }

    #[test]
    fn the_hash_counts_modulo_the_order() {
        let order = Scalar::MAX.to_be_bytes();
        let mut hash = order;
        hash[31] += 3; // MAX is n − 1, so this is n + 2.
        let mut reduced = [0; 32];
        reduced[31] = 2;
        let secret = SecretKey::from_secret_bytes([7; 32]).unwrap();
        let signature = RecoverableSignature::sign_ecdsa_recoverable(Message::from_digest(reduced), &secret);
        let (identifier, compact) = signature.serialize_compact();
        let parity = identifier.to_u8().into();
        assert_eq!(recovers(case(hash, &compact, parity)), recovers(case(reduced, &compact, parity)));
    }

    #[test]
    fn values_out_of_range_abort() {
        let order = words(&Scalar::MAX.to_be_bytes()); // n − 1
        let refuses = |r: &[u32], s: &[u32], parity| {
            let mut input = [&[1; 8], r, s].concat();
            input.push(parity);
            match refuses_call(CALL_ECRECOVER, &[INPUT_START], input) {
                Reason::SignatureOutOfRange { what } => what,
                other => panic!("{other}"),
            }
        };
        let one = [1, 0, 0, 0, 0, 0, 0, 0];
        let mut n = order.clone();
        n[0] += 1;
        // (n + 1) / 2 is the smallest s that is too large.
        let mut half: Vec<u32> = (0..8).map(|i| n[i] >> 1 | n.get(i + 1).map_or(0, |next| next << 31)).collect();
        half[0] += 1;
        assert_eq!(refuses(&[0; 8], &one, 0), "r");
        assert_eq!(refuses(&n, &one, 0), "r");
        assert_eq!(refuses(&[u32::MAX; 8], &one, 0), "r");
        assert_eq!(refuses(&one, &[0; 8], 0), "s");
        assert_eq!(refuses(&one, &half, 0), "s");
        assert_eq!(refuses(&one, &order, 0), "s");
        assert_eq!(refuses(&one, &one, 2), "parity");
        half[0] -= 1;
        let mut input = [[1; 8].to_vec(), one.to_vec(), half].concat();
        input.push(1);
        recovers(input);
    }
}

#[test]
fn unknown_calls_are_refused() {
    for number in [6, 17, u32::MAX] {
        assert_eq!(refuses_call(number, &[], Vec::new()), Reason::UnknownCall { number });
    }
}

#[test]
fn every_range_must_be_aligned_and_in_memory() {
    let cases = [
        (CALL_COMMIT, 18),
        (CALL_KECCAK_F, 50),
        (CALL_TREE_UPDATE, 26),
        (CALL_ECRECOVER, 42),
        (CALL_POSEIDON2_HASH, 5),
    ];
    for (number, words) in cases {
        let refuses = |address: u32| refuses_call(number, &[address, words, HEAP_START, 1], Vec::new());
        for address in [HEAP_START + 1, HEAP_START + 2] {
            assert_eq!(refuses(address), Reason::MisalignedAccess { address, alignment: 4 });
        }
        assert_eq!(refuses(0), Reason::OutsideMemory { address: 0 });
        assert_eq!(refuses(HEAP_END), Reason::OutsideMemory { address: HEAP_END });
        assert_eq!(refuses(HEAP_END - 4 * words + 4), Reason::OutsideMemory { address: HEAP_END });
        assert_eq!(refuses(u32::MAX - 3), Reason::OutsideMemory { address: u32::MAX - 3 });
    }
    let output = |address| refuses_call(CALL_POSEIDON2_HASH, &[HEAP_START, 1, address, 1], Vec::new());
    assert_eq!(output(HEAP_END - 28), Reason::OutsideMemory { address: HEAP_END });
    assert_eq!(output(HEAP_START + 3), Reason::MisalignedAccess { address: HEAP_START + 3, alignment: 4 });
}

#[test]
fn timestamps_are_exhausted_only_behind_the_cycle_limit() {
    use joule_machine::layout::CYCLES_MAX;
    let last = Records::clock(CYCLES_MAX as usize - 1);
    assert!(last.checked_add(3).is_some());
}

#[test]
fn stores_and_calls_see_each_other() {
    // A hash over words that stores have just written, then a load of its digest.
    let mut body = load_immediate(5, HEAP_START).to_vec();
    body.extend(load_immediate(6, 0xabcd));
    body.push(store(Op::Sw, 5, 6, 0));
    body.push(store(Op::Sh, 5, 6, 6));
    body.extend(call(CALL_POSEIDON2_HASH, &[HEAP_START, 2, HEAP_START + 16, 1]));
    body.push(common::immediate(Op::Lw, 28, 5, 16));
    let image = program(&body);
    let (_, records) = record(&image, &Witness::default(), LIMITS).unwrap();
    check_records(&image, &Witness::default(), &records);
    let digest = poseidon2::to_words(&poseidon2::hash_words(1, &[0xabcd, 0xabcd_0000]));
    assert_eq!(records.registers[28].final_value, digest[0]);
}

proptest! {
    #[test]
    fn hashing_is_the_protocols(
        words in prop::collection::vec(any::<u32>(), 0..40),
        nodes in prop::array::uniform2(prop::array::uniform4(0..0xffff_ffff_0000_0001_u64)),
    ) {
        for tag in [Tag::Value, Tag::Leaf] {
            let expected = Native::hash_words(tag, &words).elements();
            prop_assert_eq!(poseidon2::hash_words(tag as u32, &words), expected);
        }
        let [left, right] = nodes;
        let expected = compress(Digest::new(left).unwrap(), Digest::new(right).unwrap()).elements();
        prop_assert_eq!(poseidon2::compress(&left, &right), expected);
        prop_assert_eq!(poseidon2::from_words(&poseidon2::to_words(&left)), left);
    }
}
