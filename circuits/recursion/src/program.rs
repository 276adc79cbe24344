//! The program hash P.
//!
//! A shape's preprocessed commitment covers the code, its initial data, its entry point and every fixed table. A
//! program is the list of these commitments, one per shape, and P hashes the list. The segment circuit of any shape
//! takes the whole list, opens only its own entry, and exposes P: a proof says which program ran, and a new program
//! changes P but no circuit.
//!
//! `P = sponge(TAG, number of shapes, sponge(cap of shape 0), sponge(cap of shape 1), …)` with Plonky3's padding-free
//! Poseidon2 sponge of width 12. All lengths are fixed by the circuit or named in the input, so the padding-free sponge
//! is not ambiguous here: a cap has a fixed number of entries, and a list of another length has another count in front.

use p3_field::PrimeCharacteristicRing as _;
use p3_goldilocks::default_goldilocks_poseidon2_12;
use p3_symmetric::CryptographicHasher as _;
use plonky2::iop::target::Target;
use plonky2::plonk::circuit_builder::CircuitBuilder;

use crate::field::{D, F, LeafHash, Val, to_plonky2};
use crate::hashing::{DigestTarget, Poseidon2Builder};
use crate::proof::Digest;

/// `"JouleP"` in ASCII, big-endian: no other hash of ours begins with it.
const TAG: u64 = 0x4a6f_756c_6550;

/// The preprocessed commitments of a program, one cap per shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    caps: Vec<Vec<Digest<Val>>>,
}

impl Program {
    /// The program with these caps, in the order of the shapes.
    #[must_use]
    pub const fn new(caps: Vec<Vec<Digest<Val>>>) -> Self {
        Self { caps }
    }

    /// Number of shapes.
    #[must_use]
    pub const fn shapes(&self) -> usize {
        self.caps.len()
    }

    /// The digest of each shape's cap.
    #[must_use]
    pub fn digests(&self) -> Vec<Digest<Val>> {
        let hash = LeafHash::new(default_goldilocks_poseidon2_12());
        self.caps.iter().map(|cap| hash.hash_iter(cap.iter().flatten().copied())).collect()
    }

    /// The program hash P.
    pub fn hash(&self) -> Digest<Val> {
        let head = [Val::from_u64(TAG), Val::from_usize(self.caps.len())];
        let digests = self.digests();
        LeafHash::new(default_goldilocks_poseidon2_12())
            .hash_iter(head.into_iter().chain(digests.into_iter().flatten()))
    }
}

/// P in the circuit of shape `index`, whose proof has the preprocessed cap `cap`; `digests` is the whole list.
pub(crate) fn program_hash(
    builder: &mut CircuitBuilder<F, D>,
    cap: &[DigestTarget],
    digests: &[DigestTarget],
    index: usize,
) -> DigestTarget {
    let own = builder.poseidon2_hash(&cap.concat());
    builder.connect_array(own, digests[index]);
    let mut input: Vec<Target> = vec![
        builder.constant(to_plonky2(Val::from_u64(TAG))),
        builder.constant(to_plonky2(Val::from_usize(digests.len()))),
    ];
    input.extend(digests.iter().flatten());
    builder.poseidon2_hash(&input)
}
