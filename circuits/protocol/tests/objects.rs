//! Objects and keys: each has one encoding, and what no kernel writes does not decode.

mod strategies;

use joule_protocol::{Address, Key, Kind, Native, Object, ObjectError, Truncated, leaf_digest, limits::AMOUNT_MAX};
use proptest::{collection::vec, prelude::*};
use strategies::{KINDS, address, digest, entry};

fn words(object: &Object) -> Vec<u32> {
    object.with_words(<[u32]>::to_vec)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn objects_round_trip((key, object) in entry()) {
        let words = words(&object);
        prop_assert_eq!(key.kind(), Ok(object.kind()));
        prop_assert_eq!(words.len(), Object::words_of(object.kind()));
        prop_assert!(words.len() <= Object::WORDS_MAX);
        prop_assert_eq!(Object::from_words(object.kind(), &words), Ok(object));
        prop_assert_eq!(Key::from_bytes(key.to_bytes()), key);
        prop_assert_eq!(Key::from_words(*key.words()), key);
    }

    #[test]
    fn shorter_and_longer_words_are_none((_, object) in entry()) {
        let words = words(&object);
        for length in 0..words.len() {
            let error = Object::from_words(object.kind(), &words[..length]);
            let is_truncated = matches!(error, Err(ObjectError::Truncated(Truncated { need, have })) if have < need);
            prop_assert!(is_truncated);
        }
        let longer = [&words[..], &[0, 0]].concat();
        prop_assert_eq!(Object::from_words(object.kind(), &longer), Err(ObjectError::Trailing { got: 2 }));
    }

    /// Whatever decodes is the only way to write what it decodes to.
    #[test]
    fn changed_words_decode_to_themselves_or_not_at_all(
        (_, object) in entry(), at in any::<prop::sample::Index>(), word in any::<u32>(), kind in prop::sample::select(KINDS.to_vec()),
    ) {
        let mut words = words(&object);
        let at = at.index(words.len());
        for change in [word, words[at] ^ (1 << (word % 32)), words[at].wrapping_add(1)] {
            words[at] = change;
            for kind in [object.kind(), kind] {
                if let Ok(decoded) = Object::from_words(kind, &words) {
                    prop_assert_eq!(decoded.with_words(<[u32]>::to_vec), words.clone());
                }
            }
        }
    }

    #[test]
    fn random_words_never_panic(words in vec(prop_oneof![any::<u32>(), 0..6_u32], 0..60)) {
        for kind in KINDS {
            let words = &words[..words.len().min(Object::words_of(kind))];
            if let Ok(decoded) = Object::from_words(kind, words) {
                prop_assert_eq!(decoded.with_words(<[u32]>::to_vec), words);
            }
        }
    }

    /// Different objects have different digests, and a leaf's digest speaks of key, next key and value.
    #[test]
    fn digests_tell_objects_apart((key, left) in entry(), (next, right) in entry(), value in digest()) {
        if left != right {
            prop_assert_ne!(left.digest::<Native>(), right.digest::<Native>());
        }
        let leaf = leaf_digest::<Native>(&key, &next, value);
        prop_assert_ne!(leaf, leaf_digest::<Native>(&key, &Key::LAST, value));
        prop_assert_ne!(leaf, leaf_digest::<Native>(&Key::FIRST, &next, value));
        prop_assert_ne!(leaf, leaf_digest::<Native>(&key, &next, left.digest::<Native>()));
        if key != next {
            prop_assert_ne!(leaf, leaf_digest::<Native>(&next, &key, value));
        }
    }

    #[test]
    fn keys_say_what_they_name_and_compare_as_integers(left in address(), right in address(), nonce in any::<u64>(), other in any::<u64>()) {
        let keys = |at: &Address, nonce| [Key::account(at), Key::device(at), Key::job(at, nonce), Key::channel(at, nonce)];
        for (key, kind) in keys(&left, nonce).into_iter().zip(KINDS) {
            prop_assert_eq!((key.kind(), key.address()), (Ok(kind), left));
            prop_assert_eq!(key.nonce(), if matches!(kind, Kind::Job | Kind::Channel) { nonce } else { 0 });
            prop_assert!(Key::FIRST < key && key < Key::CHAIN && Key::CHAIN < Key::LAST);
            for second in keys(&right, other) {
                prop_assert_eq!(key.cmp(&second), key.to_bytes().cmp(&second.to_bytes()));
            }
        }
    }
}

/// Every field with a range refuses what is outside of it, by name.
#[test]
fn fields_out_of_range_are_named() {
    use Kind::{Account, Channel, Device, Job};
    // Words of an object that decodes: all zeros, and a status.
    let base = |kind: Kind| {
        let mut words = vec![0_u32; Object::words_of(kind)];
        match kind {
            Device => words[26] = 1,
            Job => words[0] = 1,
            Channel => words[15] = 1,
            Account | Kind::Chain => {}
        }
        words
    };
    for kind in KINDS {
        assert!(Object::from_words(kind, &base(kind)).is_ok());
    }
    let numbers: [(Kind, usize, &str, &[u32]); 6] = [
        (Device, 26, "device status", &[0, 3, u32::MAX]),
        (Device, 19, "tier", &[256, u32::MAX]),
        (Job, 0, "job status", &[0, 6, 0x0100_0001]),
        (Job, 1, "minimum tier", &[256]),
        (Job, 2, "is device named", &[2, 0x0100_0000]),
        (Channel, 15, "channel status", &[0, 4]),
    ];
    for (kind, at, field, wrong) in numbers {
        for &got in wrong {
            let mut words = base(kind);
            words[at] = got;
            assert_eq!(Object::from_words(kind, &words), Err(ObjectError::OutOfRange { field, got }));
        }
    }
    let amounts: [(Kind, usize, &str); 10] = [
        (Account, 2, "balance"),
        (Device, 10, "stake"),
        (Device, 14, "bonded"),
        (Job, 24, "unit price"),
        (Job, 30, "escrow"),
        (Job, 34, "bond"),
        (Channel, 5, "deposit"),
        (Channel, 9, "paid"),
        (Kind::Chain, 20, "deposited"),
        (Kind::Chain, 24, "withdrawn"),
    ];
    for (kind, at, field) in amounts {
        for got in [AMOUNT_MAX, u128::MAX] {
            let mut words = base(kind);
            for (word, chunk) in words[at..at + 4].iter_mut().zip(got.to_be_bytes().chunks(4)) {
                *word = u32::from_be_bytes(chunk.try_into().unwrap());
            }
            assert_eq!(Object::from_words(kind, &words), Err(ObjectError::AmountTooLarge { field, got }));
        }
    }
    for (kind, part, field) in [(Device, 17, "bonded"), (Channel, 12, "paid")] {
        let mut words = base(kind);
        words[part] = 1;
        let error = ObjectError::PartExceedsWhole { field, part: 1, whole: 0 };
        assert_eq!(Object::from_words(kind, &words), Err(error));
    }
}

#[test]
fn kinds_are_one_to_five() {
    for (number, kind) in (1..).zip(KINDS) {
        assert_eq!((Kind::from_u32(number), kind as u32), (Ok(kind), number));
    }
    for got in [0, 6, u32::MAX] {
        assert_eq!(Kind::from_u32(got), Err(ObjectError::UnknownKind { got }));
    }
    assert_eq!(Key::FIRST.kind(), Err(ObjectError::UnknownKind { got: 0 }));
    assert_eq!(Key::LAST.kind(), Err(ObjectError::UnknownKind { got: u32::MAX }));
}
