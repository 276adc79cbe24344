//! Poseidon2 in the circuit: sponge, compression, Merkle paths and the transcript.

use p3_challenger::CanObserve as _;
use p3_goldilocks::default_goldilocks_poseidon2_12;
use plonky2::field::types::Field as _;
use plonky2::iop::target::{BoolTarget, Target};
use plonky2::plonk::circuit_builder::CircuitBuilder;

use crate::cubic::CubicTarget;
use crate::field::{Challenger, D, DIGEST, F, RATE, Val, WIDTH, to_plonky2};
use crate::gates::{CanonicalBits, CustomGate, Poseidon2Permutation};

/// A digest in the circuit.
pub type DigestTarget = [Target; DIGEST];

/// Bits of a field element.
const ELEMENT_BITS: usize = 64;

/// Poseidon2 as operations of a circuit builder.
pub trait Poseidon2Builder {
    /// The permutation, after exchanging the first two digests of the state if `swap`.
    fn poseidon2(&mut self, state: [Target; WIDTH], swap: Option<BoolTarget>) -> [Target; WIDTH];
    /// Plonky3's padding-free overwriting sponge. Only for inputs whose length is fixed by the circuit.
    fn poseidon2_hash(&mut self, input: &[Target]) -> DigestTarget;
    /// Plonky3's compression of two digests, exchanged first if `swap`.
    fn poseidon2_compress(&mut self, left: DigestTarget, right: DigestTarget, swap: Option<BoolTarget>)
    -> DigestTarget;
    /// Checks that rows lie in a Merkle tree of mixed heights; see [`MerkleOpening`].
    fn verify_opening(&mut self, opening: &MerkleOpening<'_>);
    /// The 64 bits of the canonical representative, lowest first.
    fn canonical_bits(&mut self, value: Target) -> Vec<BoolTarget>;
}

/// The opening of all matrices of a commitment at one index.
pub struct MerkleOpening<'a> {
    /// Binary logarithm of the height and row of each matrix, in the order of the commitment.
    pub rows: Vec<(usize, &'a [Target])>,
    /// Bits of the index into the tallest matrix, lowest first.
    pub index: &'a [BoolTarget],
    /// Siblings from the leaves up.
    pub siblings: &'a [DigestTarget],
    /// The committed layer.
    pub cap: &'a [DigestTarget],
    /// Position of the path's end in the cap: the value of the index's highest bits.
    pub cap_position: Target,
}

impl Poseidon2Builder for CircuitBuilder<F, D> {
    fn poseidon2(&mut self, state: [Target; WIDTH], swap: Option<BoolTarget>) -> [Target; WIDTH] {
        let row = self.add_gate(CustomGate(Poseidon2Permutation), Vec::new());
        let swap = swap.unwrap_or_else(|| self._false());
        self.connect(swap.target, Target::wire(row, Poseidon2Permutation::swap()));
        for (i, element) in state.into_iter().enumerate() {
            self.connect(element, Target::wire(row, Poseidon2Permutation::input(i)));
        }
        core::array::from_fn(|i| Target::wire(row, Poseidon2Permutation::output(i)))
    }

    fn poseidon2_hash(&mut self, input: &[Target]) -> DigestTarget {
        let mut state = [self.zero(); WIDTH];
        for chunk in input.chunks(RATE) {
            // A short last chunk leaves the rest of the rate as the permutation before left it.
            state[..chunk.len()].copy_from_slice(chunk);
            state = self.poseidon2(state, None);
        }
        core::array::from_fn(|i| state[i])
    }

    fn poseidon2_compress(
        &mut self,
        left: DigestTarget,
        right: DigestTarget,
        swap: Option<BoolTarget>,
    ) -> DigestTarget {
        let mut state = [self.zero(); WIDTH];
        state[..DIGEST].copy_from_slice(&left);
        state[DIGEST..2 * DIGEST].copy_from_slice(&right);
        let state = self.poseidon2(state, swap);
        core::array::from_fn(|i| state[i])
    }

    fn verify_opening(&mut self, opening: &MerkleOpening<'_>) {
        let rows_at = |log_height: usize| -> Vec<Target> {
            opening.rows.iter().filter(|(h, _)| *h == log_height).flat_map(|(_, row)| row.iter().copied()).collect()
        };
        let mut log_height = opening.index.len();
        let mut digest = self.poseidon2_hash(&rows_at(log_height));
        for (sibling, &bit) in opening.siblings.iter().zip(opening.index) {
            digest = self.poseidon2_compress(digest, *sibling, Some(bit));
            log_height -= 1;
            // A matrix joins the tree at the layer that has as many nodes as it has rows.
            let injected = rows_at(log_height);
            if !injected.is_empty() {
                let injected = self.poseidon2_hash(&injected);
                digest = self.poseidon2_compress(digest, injected, None);
            }
        }
        for (limb, &element) in digest.iter().enumerate() {
            let column: Vec<Target> = opening.cap.iter().map(|digest| digest[limb]).collect();
            let committed = match column.as_slice() {
                [root] => *root,
                _ => self.random_access(opening.cap_position, column),
            };
            self.connect(element, committed);
        }
    }

    fn canonical_bits(&mut self, value: Target) -> Vec<BoolTarget> {
        let row = self.add_gate(CustomGate(CanonicalBits), Vec::new());
        self.connect(value, Target::wire(row, CanonicalBits::value()));
        (0..ELEMENT_BITS).map(|i| BoolTarget::new_unsafe(Target::wire(row, CanonicalBits::bit(i)))).collect()
    }
}

/// Plonky3's `DuplexChallenger` in the circuit.
///
/// Absorbing overwrites the rate, the number of absorbed elements is added to the first element of the capacity, and
/// samples are taken from the end of the rate. Absorbing anything discards the samples not yet taken.
pub struct TranscriptTarget {
    state: [Target; WIDTH],
    absorbed: Vec<Target>,
    squeezed: Vec<Target>,
}

impl TranscriptTarget {
    /// A transcript that has absorbed constants. Whole blocks of them are absorbed while the circuit is built.
    pub fn seeded(builder: &mut CircuitBuilder<F, D>, values: &[Val]) -> Self {
        let mut native = Challenger::new(default_goldilocks_poseidon2_12());
        native.observe_slice(values);
        let mut constant = |value: Val| builder.constant(to_plonky2(value));
        Self {
            state: native.sponge_state.map(&mut constant),
            absorbed: native.input_buffer.iter().map(|&value| constant(value)).collect(),
            squeezed: Vec::new(),
        }
    }

    fn duplex(&mut self, builder: &mut CircuitBuilder<F, D>) {
        let count = self.absorbed.len();
        if count > 0 {
            let zero = builder.zero();
            self.state[..RATE].fill(zero);
            self.state[..count].copy_from_slice(&self.absorbed);
            self.state[RATE] = builder.add_const(self.state[RATE], F::from_canonical_usize(count));
            self.absorbed.clear();
        }
        self.state = builder.poseidon2(self.state, None);
        self.squeezed = self.state[..RATE].to_vec();
    }

    /// Absorbs one element.
    pub fn observe(&mut self, builder: &mut CircuitBuilder<F, D>, value: Target) {
        self.squeezed.clear();
        self.absorbed.push(value);
        if self.absorbed.len() == RATE {
            self.duplex(builder);
        }
    }

    /// Absorbs elements in order.
    pub fn observe_all(&mut self, builder: &mut CircuitBuilder<F, D>, values: impl IntoIterator<Item = Target>) {
        for value in values {
            self.observe(builder, value);
        }
    }

    /// Absorbs constants.
    pub fn observe_constants(&mut self, builder: &mut CircuitBuilder<F, D>, values: &[Val]) {
        for &value in values {
            let value = builder.constant(to_plonky2(value));
            self.observe(builder, value);
        }
    }

    /// A challenge of the base field.
    pub fn sample(&mut self, builder: &mut CircuitBuilder<F, D>) -> Target {
        if !self.absorbed.is_empty() || self.squeezed.is_empty() {
            self.duplex(builder);
        }
        self.squeezed.pop().expect("the rate was just refilled")
    }

    /// A challenge of the cubic extension.
    pub fn sample_cubic(&mut self, builder: &mut CircuitBuilder<F, D>) -> CubicTarget {
        CubicTarget(core::array::from_fn(|_| self.sample(builder)))
    }

    /// The lowest bits of a challenge.
    pub fn sample_bits(&mut self, builder: &mut CircuitBuilder<F, D>, count: usize) -> Vec<BoolTarget> {
        let value = self.sample(builder);
        let mut bits = builder.canonical_bits(value);
        bits.truncate(count);
        bits
    }

    /// Checks a grinding witness of `bits` bits. With none asked for there is no witness and nothing is absorbed.
    pub fn check_grinding(&mut self, builder: &mut CircuitBuilder<F, D>, bits: usize, witness: Option<Target>) {
        let Some(witness) = witness else { return };
        self.observe(builder, witness);
        for bit in self.sample_bits(builder, bits) {
            builder.assert_zero(bit.target);
        }
    }
}
