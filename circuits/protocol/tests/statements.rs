//! What L1 and proofs read: checkpoints, requests, withdrawals, public values, digests.

mod strategies;

use joule_protocol::{
    Accumulator, Checkpoint, Digest, GOLDILOCKS, Hash, Hashing, MessageTree, Native, NonCanonical, PriorityError,
    PriorityRequest, PublicValues, limits::PRIORITY_DATA_BYTES_MAX, withdrawal_leaf,
};
use proptest::{collection::vec, prelude::*};
use strategies::{address, amount, digest, hash};

fn checkpoint() -> impl Strategy<Value = Checkpoint> {
    (any::<u32>(), digest(), any::<[u64; 3]>(), hash(), any::<[[u8; 32]; 3]>()).prop_map(
        |(protocol_version, state_root, [block_number, timestamp, priority_count], block_hash, accumulators)| {
            let [priority_acc, message_acc, data_acc] = accumulators.map(|bytes| Accumulator(Hash(bytes)));
            Checkpoint {
                protocol_version,
                state_root,
                block_number,
                block_hash,
                timestamp,
                priority_count,
                priority_acc,
                message_acc,
                data_acc,
            }
        },
    )
}

/// First word and bytes of padding of each number in a checkpoint.
const NUMBERS: [(usize, usize); 4] = [(0, 28), (2, 24), (4, 24), (5, 24)];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn checkpoints_round_trip(checkpoint in checkpoint()) {
        let bytes = checkpoint.encode();
        prop_assert_eq!(Checkpoint::decode(&bytes), Some(Ok(checkpoint)));
        prop_assert_eq!(checkpoint.hash::<Native>(), Native::keccak256(&bytes));
        for (word, padding) in NUMBERS {
            for at in 32 * word..32 * word + padding {
                let mut dirty = bytes;
                dirty[at] = 1;
                prop_assert_eq!(Checkpoint::decode(&dirty), None);
            }
        }
        for element in 0..4 {
            let mut wrong = bytes;
            wrong[32 + 8 * element..40 + 8 * element].copy_from_slice(&GOLDILOCKS.to_be_bytes());
            prop_assert_eq!(Checkpoint::decode(&wrong), Some(Err(NonCanonical { position: element, got: GOLDILOCKS })));
        }
    }

    #[test]
    fn changed_checkpoints_decode_to_themselves_or_not_at_all(checkpoint in checkpoint(), at in 0..Checkpoint::BYTES, byte in any::<u8>()) {
        let mut bytes = checkpoint.encode();
        bytes[at] = byte;
        if let Some(Ok(decoded)) = Checkpoint::decode(&bytes) {
            prop_assert_eq!(decoded.encode(), bytes);
        }
    }

    #[test]
    fn requests_round_trip(
        kind in any::<u8>(), sender in address(), to in address(), amount in any::<u128>(), timestamp in any::<u64>(),
        data in vec(any::<u8>(), 0..PRIORITY_DATA_BYTES_MAX + 1),
    ) {
        // Any kind and amount: the kernel has an outcome for whatever L1 could admit.
        let request = PriorityRequest { kind, sender, to, amount, timestamp, data };
        let bytes = request.encode();
        prop_assert_eq!(bytes.len(), PriorityRequest::HEAD_BYTES + request.data.len());
        prop_assert_eq!(PriorityRequest::decode(&bytes), Ok(request));
    }

    #[test]
    fn request_bytes_decode_to_themselves(bytes in vec(any::<u8>(), 0..200)) {
        match PriorityRequest::decode(&bytes) {
            Ok(request) => prop_assert_eq!(request.encode(), bytes),
            Err(error) => {
                let is_short = bytes.len() < PriorityRequest::HEAD_BYTES;
                prop_assert!(is_short && matches!(error, PriorityError::Truncated(_)));
            }
        }
    }

    #[test]
    fn digests_are_canonical_or_refused(digest in digest(), position in 0..4_usize, got in GOLDILOCKS..=u64::MAX) {
        prop_assert_eq!(Digest::from_hash(digest.to_hash()), Ok(digest));
        prop_assert_eq!(Digest::from_words(digest.to_words()), Ok(digest));
        prop_assert_eq!(Digest::new(digest.elements()), Ok(digest));
        let refused = Err(NonCanonical { position, got });
        let mut elements = digest.elements();
        elements[position] = got;
        prop_assert_eq!(Digest::new(elements), refused);
        let mut words = digest.to_words();
        (words[2 * position], words[2 * position + 1]) = (got as u32, (got >> 32) as u32);
        prop_assert_eq!(Digest::from_words(words), refused);
        let mut hash = digest.to_hash();
        hash.0[8 * position..8 * position + 8].copy_from_slice(&got.to_be_bytes());
        prop_assert_eq!(Digest::from_hash(hash), refused);
    }

    #[test]
    fn hashes_as_words(hash in hash()) {
        prop_assert_eq!(Hash::from_words(hash.to_words()), hash);
        prop_assert_eq!(&hash.to_words()[0].to_le_bytes()[..], &hash.0[..4]);
        prop_assert_eq!(&hash.to_words()[7].to_le_bytes()[..], &hash.0[28..]);
    }

    #[test]
    fn public_values_have_two_layouts_of_one_statement(program in digest(), chain_id in 0..1_u64 << 53, from in hash(), to in hash()) {
        let statement = PublicValues { program, chain_id, from, to };
        let elements = statement.elements();
        prop_assert!(elements.iter().all(|&element| element < GOLDILOCKS));
        prop_assert_eq!(&elements[..4], &program.elements());
        prop_assert_eq!(elements[4], chain_id);
        let words = |at: usize| Hash::from_words(core::array::from_fn(|i| u32::try_from(elements[at + i]).unwrap()));
        prop_assert_eq!((words(5), words(13)), (from, to));
        let bytes = [&program.to_hash().0[..], &chain_id.to_be_bytes(), &from.0, &to.0].concat();
        prop_assert_eq!(&statement.encode()[..], &bytes);
        prop_assert!(statement.public_input().0[0] < 0x20);
    }

    #[test]
    fn withdrawals_are_told_apart(index in any::<u64>(), recipient in address(), amount in amount(), other in address()) {
        let leaf = withdrawal_leaf::<Native>(index, &recipient, amount);
        prop_assert_ne!(leaf, withdrawal_leaf::<Native>(index ^ 1, &recipient, amount));
        prop_assert_ne!(leaf, withdrawal_leaf::<Native>(index, &recipient, amount ^ 1));
        if recipient != other {
            prop_assert_ne!(leaf, withdrawal_leaf::<Native>(index, &other, amount));
        }
    }
}

#[test]
fn requests_are_bounded() {
    let longest = vec![0; PriorityRequest::HEAD_BYTES + PRIORITY_DATA_BYTES_MAX];
    assert!(PriorityRequest::decode(&longest).is_ok());
    let got = PRIORITY_DATA_BYTES_MAX + 1;
    assert_eq!(PriorityRequest::decode(&[&longest[..], &[0]].concat()), Err(PriorityError::DataTooLong { got }));
    for length in 0..PriorityRequest::HEAD_BYTES {
        assert!(matches!(PriorityRequest::decode(&longest[..length]), Err(PriorityError::Truncated(_))));
    }
}

/// SHA-256 of 104 zero bytes with its top bits cleared: what the wrap's circuit and the contract are compared with.
#[test]
fn a_pinned_public_input() {
    let zero = PublicValues { program: Digest::EMPTY, chain_id: 0, from: Hash::ZERO, to: Hash::ZERO };
    assert_eq!(zero.public_input().to_string(), "0x19f37f8d1931b3bdf767e7510dd69509fbf23af1f7654933d0a4d291cbdd4418");
}

fn leaves(count: usize) -> Vec<Hash> {
    (0..count).map(|index| Native::keccak256(&index.to_be_bytes())).collect()
}

#[test]
fn every_position_of_a_message_tree_proves_itself_and_nothing_else() {
    for count in 1..=33 {
        let leaves = leaves(count);
        let tree = MessageTree::new::<Native>(leaves.clone());
        let root = tree.root();
        let proves = |leaf: Hash, position: usize, count: usize, path: &[Hash]| {
            MessageTree::verify::<Native>(&root, leaf, position, count, path)
        };
        for (position, &leaf) in leaves.iter().enumerate() {
            let path = tree.path(position).unwrap();
            assert!(proves(leaf, position, count, &path));
            assert!(!MessageTree::verify::<Native>(&Hash::ZERO, leaf, position, count, &path), "another root");
            assert!(!proves(Hash::ZERO, position, count, &path), "another leaf");
            for other in (0..count + 2).filter(|&other| other != position) {
                assert!(!proves(leaf, other, count, &path), "another position");
            }
            for height in 0..path.len() {
                let mut wrong = path.clone();
                wrong[height].0[31] ^= 1;
                assert!(!proves(leaf, position, count, &wrong), "another path");
                assert!(!proves(leaf, position, count, &path[..height]), "a shorter path");
            }
            assert!(!proves(leaf, position, count, &[&path[..], &[Hash::ZERO]].concat()), "a longer path");
            for absurd in [0, usize::MAX / 2 + 2, usize::MAX] {
                assert!(!proves(leaf, position, absurd, &path), "{absurd} leaves");
            }
        }
        assert_eq!(tree.path(count), None);
        // What pads an odd level is no leaf.
        if count % 2 == 1 && count > 1 {
            let mut path = tree.path(count - 1).unwrap();
            path[0] = leaves[count - 1];
            assert!(!proves(Hash::ZERO, count, count, &path));
        }
    }
}

#[test]
fn small_message_trees() {
    let node = |left: &Hash, right: &Hash| Native::keccak256(&[&[1][..], &left.0, &right.0].concat());
    let [a, b, c] = leaves(3).try_into().unwrap();
    assert_eq!(MessageTree::new::<Native>(vec![]).root(), Hash::ZERO);
    assert_eq!(MessageTree::new::<Native>(vec![]).path(0), None);
    assert!(!MessageTree::verify::<Native>(&Hash::ZERO, Hash::ZERO, 0, 0, &[]), "an empty tree holds nothing");
    assert_eq!(MessageTree::new::<Native>(vec![a]).root(), a);
    assert_eq!(MessageTree::new::<Native>(vec![a, b]).root(), node(&a, &b));
    assert_eq!(MessageTree::new::<Native>(vec![a, b, c]).root(), node(&node(&a, &b), &node(&c, &Hash::ZERO)));
}
