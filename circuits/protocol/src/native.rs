//! Hashing on this machine.

use alloc::vec::Vec;

use p3_field::{Field, PackedValue, PrimeCharacteristicRing, PrimeField64};
use p3_goldilocks::{Goldilocks, Poseidon2Goldilocks, default_goldilocks_poseidon2_8};
use p3_symmetric::Permutation;
use std::sync::OnceLock;
use tiny_keccak::{Hasher, Keccak};

use crate::{Digest, Hash, Hashing, Tag};

extern crate std;

/// [`Hashing`] by libraries, for the node, the committee and the interpreter.
#[derive(Clone, Copy, Debug, Default)]
pub struct Native;

type Packed = <Goldilocks as Field>::Packing;

fn permutation() -> &'static Poseidon2Goldilocks<8> {
    static PERMUTATION: OnceLock<Poseidon2Goldilocks<8>> = OnceLock::new();
    PERMUTATION.get_or_init(default_goldilocks_poseidon2_8)
}

/// A digest from the first four elements of a state; canonical because the field's own conversion is.
fn squeeze(state: &[Goldilocks]) -> Digest {
    let words = core::array::from_fn(|i| state[i].as_canonical_u64());
    Digest::new(words).expect("a field element's canonical integer is below p")
}

fn initial_state(tag: Tag, length: usize) -> [Goldilocks; 8] {
    let mut state = [Goldilocks::ZERO; 8];
    state[4] = Goldilocks::from_u32(tag as u32);
    state[5] = Goldilocks::from_usize(length);
    state
}

impl Hashing for Native {
    fn keccak256(bytes: &[u8]) -> Hash {
        let mut keccak = Keccak::v256();
        keccak.update(bytes);
        let mut hash = Hash::ZERO;
        keccak.finalize(&mut hash.0);
        hash
    }

    fn hash_words(tag: Tag, words: &[u32]) -> Digest {
        let mut state = initial_state(tag, words.len());
        for block in 0..words.len().div_ceil(4).max(1) {
            for (i, slot) in state[..4].iter_mut().enumerate() {
                *slot = Goldilocks::from_u32(words.get(4 * block + i).copied().unwrap_or(0));
            }
            permutation().permute_mut(&mut state);
        }
        squeeze(&state)
    }
}

/// A node of the state tree from its children.
pub fn compress(left: Digest, right: Digest) -> Digest {
    let mut state: [Goldilocks; 8] = core::array::from_fn(|i| {
        Goldilocks::from_u64(if i < 4 { left.elements()[i] } else { right.elements()[i - 4] })
    });
    let feed_forward = state;
    permutation().permute_mut(&mut state);
    for (element, input) in state.iter_mut().zip(feed_forward).take(4) {
        *element += input;
    }
    squeeze(&state)
}

/// Many nodes at once, as many in parallel as the processor's vectors hold. `out[i] = compress(pairs[i])`.
pub fn compress_many(pairs: &[(Digest, Digest)]) -> Vec<Digest> {
    let mut out = Vec::with_capacity(pairs.len());
    let chunks = pairs.chunks_exact(Packed::WIDTH);
    let rest = chunks.remainder();
    for chunk in chunks {
        let input: [Packed; 8] = core::array::from_fn(|i| {
            Packed::from_fn(|lane| {
                let (left, right) = chunk[lane];
                Goldilocks::from_u64(if i < 4 { left.elements()[i] } else { right.elements()[i - 4] })
            })
        });
        let mut state = input;
        permutation().permute_mut(&mut state);
        for (element, input) in state.iter_mut().zip(input).take(4) {
            *element += input;
        }
        out.extend((0..Packed::WIDTH).map(|lane| squeeze(&state.map(|element| element.as_slice()[lane])[..4])));
    }
    out.extend(rest.iter().map(|&(left, right)| compress(left, right)));
    out
}

/// Many sponges over lists of one length at once: `out[i] = hash_words(tag, lists[i])`.
///
pub fn hash_words_many<const N: usize>(tag: Tag, lists: &[[u32; N]]) -> Vec<Digest> {
    let mut out = Vec::with_capacity(lists.len());
    let chunks = lists.chunks_exact(Packed::WIDTH);
    let rest = chunks.remainder();
    for chunk in chunks {
        let mut state: [Packed; 8] = initial_state(tag, N).map(Packed::from);
        for block in 0..N.div_ceil(4).max(1) {
            for (i, slot) in state[..4].iter_mut().enumerate() {
                *slot =
                    Packed::from_fn(|lane| Goldilocks::from_u32(chunk[lane].get(4 * block + i).copied().unwrap_or(0)));
            }
            permutation().permute_mut(&mut state);
        }
        out.extend((0..Packed::WIDTH).map(|lane| squeeze(&state.map(|element| element.as_slice()[lane])[..4])));
    }
    out.extend(rest.iter().map(|words| Native::hash_words(tag, words)));
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::GOLDILOCKS;

    fn digest() -> impl Strategy<Value = Digest> {
        prop::array::uniform4(0..GOLDILOCKS).prop_map(|words| Digest::new(words).unwrap())
    }

    proptest! {
        #[test]
        fn packed_hashing_equals_scalar(pairs in prop::collection::vec((digest(), digest()), 0..40),
                                        lists in prop::collection::vec(prop::array::uniform24(any::<u32>()), 0..20)) {
            let nodes: Vec<_> = pairs.iter().map(|&(left, right)| compress(left, right)).collect();
            prop_assert_eq!(compress_many(&pairs), nodes);
            let leaves: Vec<_> = lists.iter().map(|words| Native::hash_words(Tag::Leaf, words)).collect();
            prop_assert_eq!(hash_words_many(Tag::Leaf, &lists), leaves);
        }

        #[test]
        fn length_and_tag_separate(words in prop::collection::vec(any::<u32>(), 0..12)) {
            let mut longer = words.clone();
            longer.push(0);
            prop_assert_ne!(Native::hash_words(Tag::Value, &words), Native::hash_words(Tag::Value, &longer));
            prop_assert_ne!(Native::hash_words(Tag::Value, &words), Native::hash_words(Tag::Leaf, &words));
        }
    }

    #[test]
    fn pinned_hashes() {
        // What Solidity and the circuits are compared with; a change here is a change of the protocol.
        assert_eq!(
            std::format!("{}", compress(Digest::EMPTY, Digest::EMPTY)),
            "0x4411ec57c44145f55ff55b96baa2f47bdee0e2ae35662802023c96b32c07981d"
        );
        assert_eq!(
            std::format!("{}", Native::hash_words(Tag::Value, &[])),
            "0x217b7fbf5cb9be7a6c6b0c69bc738e2f1958eeeb240b8bb2f7447abf948e29aa"
        );
    }
}
