//! The two uses of Poseidon2 (width 8) that the machine has precompiles for.
//!
//! The book's chapter *Encodings* defines both. `joule-protocol` has its own for the native side, typed by the tags it knows;
//! the machine's is total in the tag, and a test holds the two equal.

use std::sync::LazyLock;

use p3_field::{PrimeCharacteristicRing, PrimeField64};
use p3_goldilocks::{Goldilocks, Poseidon2Goldilocks, default_goldilocks_poseidon2_8};
use p3_symmetric::Permutation;

use crate::{layout::DIGEST_WORDS, records::DigestElements};

static PERMUTATION: LazyLock<Poseidon2Goldilocks<8>> = LazyLock::new(default_goldilocks_poseidon2_8);

/// The sponge: tag and length in the capacity, four words a block, each block overwriting the rate.
#[must_use]
pub fn hash_words(tag: u32, words: &[u32]) -> DigestElements {
    let mut state = [Goldilocks::ZERO; 8];
    state[4] = Goldilocks::from_u32(tag);
    state[5] = Goldilocks::from_usize(words.len());
    for block in 0..permutations(words.len()) {
        for (slot, index) in state[..4].iter_mut().zip(4 * block..) {
            *slot = Goldilocks::from_u32(words.get(index).copied().unwrap_or(0));
        }
        PERMUTATION.permute_mut(&mut state);
    }
    squeeze(&state)
}

/// How many permutations [`hash_words`] makes: one for each block of four words, and one for an empty input.
#[must_use]
pub const fn permutations(words: usize) -> usize {
    if words == 0 { 1 } else { words.div_ceil(4) }
}

/// A node from its children.
#[must_use]
pub fn compress(left: &DigestElements, right: &DigestElements) -> DigestElements {
    let input: [Goldilocks; 8] =
        core::array::from_fn(|i| Goldilocks::from_u64(if i < 4 { left[i] } else { right[i - 4] }));
    let mut state = input;
    PERMUTATION.permute_mut(&mut state);
    for (element, feed_forward) in state.iter_mut().zip(input).take(4) {
        *element += feed_forward;
    }
    squeeze(&state)
}

/// The root above a leaf.
#[must_use]
pub fn root(leaf: DigestElements, position: u32, siblings: &[DigestElements]) -> DigestElements {
    siblings.iter().enumerate().fold(leaf, |node, (level, sibling)| {
        let is_right = level < 32 && position >> level & 1 == 1;
        if is_right { compress(sibling, &node) } else { compress(&node, sibling) }
    })
}

/// The elements of a digest in memory, modulo p.
#[must_use]
pub fn from_words(words: &[u32; DIGEST_WORDS]) -> DigestElements {
    core::array::from_fn(|i| {
        Goldilocks::from_u64(u64::from(words[2 * i]) | u64::from(words[2 * i + 1]) << 32).as_canonical_u64()
    })
}

/// A digest as memory holds it: the low word of each element, then its high word.
#[must_use]
pub fn to_words(elements: &DigestElements) -> [u32; DIGEST_WORDS] {
    core::array::from_fn(|i| (elements[i / 2] >> (32 * (i % 2))) as u32)
}

/// Is every element below p?
#[must_use]
pub fn is_canonical(element: u64) -> bool {
    element < Goldilocks::ORDER_U64
}

fn squeeze(state: &[Goldilocks; 8]) -> DigestElements {
    core::array::from_fn(|i| state[i].as_canonical_u64())
}
