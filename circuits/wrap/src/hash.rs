//! Poseidon over the BN254 scalar field inside the circuit: leaves, nodes, caps and the transcript.
//!
//! **Claim.** Each function computes what its namesake in `joule_recursion::bn254` computes. The S-box is three
//! constraints; all linear layers are free. Values here are field elements of BN254, without bounds.

use ark_bn254::Fr;
use ark_ff::{BigInteger, Field, One, PrimeField};
use joule_recursion::bn254::{
    Bn254Digest, DOMAIN_LEAF, DOMAIN_TRANSCRIPT, ELEMENTS_PER_LANE, NODE_PARAMETERS, Parameters, SPONGE_PARAMETERS,
    SPONGE_RATE, SPONGE_WIDTH,
};

use crate::circuit::{Circuit, Integer, Linear, Synthesis, from_bits, powers_of_two};
use crate::goldilocks::{Ext, P, below_power, residue_witness};

fn fifth_power(circuit: &mut Circuit, x: &Linear) -> Synthesis<Linear> {
    let square = circuit.multiply(x, x)?;
    let fourth = circuit.multiply(&square, &square)?;
    circuit.multiply(&fourth, x)
}

fn apply<const WIDTH: usize>(matrix: &[[Fr; WIDTH]; WIDTH], state: &[Linear; WIDTH]) -> [Linear; WIDTH] {
    std::array::from_fn(|row| Linear::sum(matrix[row].iter().copied().zip(state)))
}

fn full_round<const WIDTH: usize>(
    circuit: &mut Circuit,
    parameters: &Parameters<WIDTH>,
    round: usize,
    state: &mut [Linear; WIDTH],
) -> Synthesis<()> {
    for (lane, constant) in state.iter_mut().zip(&parameters.round_constants[round]) {
        *lane = fifth_power(circuit, &lane.add_constant(*constant))?;
    }
    *state = apply(&parameters.matrix, state);
    Ok(())
}

/// The permutation, in the same sparse form as outside the circuit.
pub(crate) fn permute<const WIDTH: usize>(
    circuit: &mut Circuit,
    parameters: &Parameters<WIDTH>,
    state: &mut [Linear; WIDTH],
) -> Synthesis<()> {
    let half = parameters.full_rounds_half;
    for round in 0..half {
        full_round(circuit, parameters, round, state)?;
    }
    let sparse = &parameters.sparse;
    *state = apply(&sparse.entry_matrix, state);
    for round in 0..parameters.partial_rounds {
        let raised = fifth_power(circuit, &state[0].add_constant(sparse.constants[round]))?;
        state[0] = raised.clone();
        let first = Linear::sum(sparse.rows[round].iter().copied().zip(state.iter()));
        for (lane, factor) in state.iter_mut().zip(&sparse.columns[round]).skip(1) {
            *lane = Linear::sum([(Fr::one(), &*lane), (*factor, &raised)]);
        }
        state[0] = first;
    }
    for (lane, constant) in state.iter_mut().zip(&sparse.exit_constants) {
        *lane = lane.add_constant(*constant);
    }
    for round in half + parameters.partial_rounds..2 * half + parameters.partial_rounds {
        full_round(circuit, parameters, round, state)?;
    }
    Ok(())
}

/// Two nodes to one: `P(l, r)₀ + l`.
pub(crate) fn two_to_one(circuit: &mut Circuit, left: &Linear, right: &Linear) -> Synthesis<Linear> {
    let mut state = [left.clone(), right.clone()];
    permute(circuit, &NODE_PARAMETERS, &mut state)?;
    Ok(state[0].add(left))
}

fn starting_state(capacity: u128) -> [Linear; SPONGE_WIDTH] {
    let mut state: [Linear; SPONGE_WIDTH] = std::array::from_fn(|_| Linear::default());
    state[0] = Linear::constant(Fr::from(capacity));
    state
}

/// Adds a block, three 64-bit elements to a lane and the block's length above them, and permutes.
///
/// Every element has been proven to be below 2⁶⁴, so a lane's elements are determined by the lane.
fn absorb(circuit: &mut Circuit, state: &mut [Linear; SPONGE_WIDTH], block: &[Integer]) -> Synthesis<()> {
    assert!(block.len() <= SPONGE_RATE);
    let shifts = [0, 64, 128].map(|shift| Fr::from(2u8).pow([shift]));
    for (lane, elements) in state[1..].iter_mut().zip(block.chunks(ELEMENTS_PER_LANE)) {
        assert!(elements.iter().all(|element| element.below().bits() == 0 && element.above().bits() <= 64));
        let packed = Linear::sum(shifts.into_iter().zip(elements.iter().map(Integer::linear)));
        *lane = lane.add(&packed);
    }
    let length = Fr::from(block.len() as u64) * Fr::from(2u8).pow([192]);
    state[1] = state[1].add_constant(length);
    permute(circuit, &SPONGE_PARAMETERS, state)
}

/// The digest of a leaf of 64-bit elements.
pub(crate) fn hash_leaf(circuit: &mut Circuit, elements: &[Integer]) -> Synthesis<Linear> {
    let mut state = starting_state(DOMAIN_LEAF + elements.len() as u128);
    for block in elements.chunks(SPONGE_RATE) {
        absorb(circuit, &mut state, block)?;
    }
    Ok(state[1].clone())
}

/// The four digits of a digest, as the transcript absorbs them.
///
/// Proven: each digit is below 2⁶⁴ and `Σ digit·pⁱ` is the digest in the scalar field. The digits of a digest are not unique
/// under this (a digit can be its representative plus p, the sum can exceed the modulus), but a *digest is determined by its
/// digits*, which is all that a transcript needs: what was absorbed fixes what was committed to. Writing one commitment in
/// several ways buys a prover no more than absorbing another commitment would: one fresh challenge per hash it computes.
pub(crate) fn digest_digits(circuit: &mut Circuit, digest: &Linear) -> Synthesis<Vec<Integer>> {
    if let Some(constant) = digest.as_constant() {
        return Ok(Bn254Digest(constant).digits().map(Integer::constant).to_vec());
    }
    let digits = Bn254Digest(digest.value())
        .digits()
        .into_iter()
        .map(|digit| residue_witness(circuit, digit))
        .collect::<Synthesis<Vec<_>>>()?;
    let bases = (0..4).map(|power| Fr::from(P).pow([power]));
    let sum = Linear::sum(bases.zip(digits.iter().map(Integer::linear)));
    circuit.enforce_equal(&sum, digest)?;
    Ok(digits)
}

/// The low 192 bits of the canonical integer of a field element.
///
/// The 254 bits sum to the element in the field; the integer they spell could also be the canonical one plus the modulus r.
/// It is excluded by comparing with r − 1 = H·2¹²⁸ + L in two halves: high ≤ H, and low ≤ L if high = H.
fn canonical_bits(circuit: &mut Circuit, element: &Linear) -> Synthesis<Vec<Linear>> {
    let integer = element.value().into_bigint();
    let bits = (0..254).map(|index| circuit.boolean(integer.get_bit(index))).collect::<Synthesis<Vec<_>>>()?;
    circuit.enforce_equal(&from_bits(&bits), element)?;

    let largest = (-Fr::one()).into_bigint();
    let half = |bits: &[bool]| -> Fr {
        powers_of_two(bits.len()).into_iter().zip(bits).filter(|(_, bit)| **bit).map(|(power, _)| power).sum()
    };
    let largest_bits: Vec<bool> = (0..254).map(|index| largest.get_bit(index)).collect();
    let (largest_low, largest_high) = (half(&largest_bits[..128]), half(&largest_bits[128..]));
    let (low, high) = (from_bits(&bits[..128]), from_bits(&bits[128..]));
    let high_gap = Linear::constant(largest_high).sub(&high);
    circuit.decompose(&high_gap, 126)?;
    let high_is_largest = circuit.is_zero(&high_gap)?;
    let low_gap = circuit.multiply(&high_is_largest, &Linear::constant(largest_low).sub(&low))?;
    circuit.decompose(&low_gap, 128)?;
    Ok(bits)
}

/// One challenge: a 64-bit representative and its bits.
#[derive(Clone, Debug)]
pub(crate) struct Challenge {
    /// The limb, below 2⁶⁴ and not reduced modulo p.
    pub(crate) residue: Integer,
    /// The limb's bits, least significant first.
    pub(crate) bits: Vec<Linear>,
}

/// The Fiat–Shamir transcript: plonky2's challenger over the BN254 sponge.
pub(crate) struct Transcript {
    state: [Linear; SPONGE_WIDTH],
    pending: Vec<Integer>,
    /// Outputs of the last permutation not yet consumed; they are consumed from the end.
    outputs_left: usize,
    /// Decomposed lanes of the last permutation, filled on demand.
    lane_bits: Vec<Option<Vec<Linear>>>,
}

impl Transcript {
    pub(crate) fn new() -> Self {
        Self {
            state: starting_state(DOMAIN_TRANSCRIPT),
            pending: Vec::new(),
            outputs_left: 0,
            lane_bits: vec![None; SPONGE_WIDTH - 1],
        }
    }

    fn duplex(&mut self, circuit: &mut Circuit) -> Synthesis<()> {
        let pending = std::mem::take(&mut self.pending);
        if pending.is_empty() {
            permute(circuit, &SPONGE_PARAMETERS, &mut self.state)?;
        } else {
            absorb(circuit, &mut self.state, &pending)?;
        }
        self.outputs_left = SPONGE_RATE;
        self.lane_bits.fill(None);
        Ok(())
    }

    /// Absorbs a 64-bit element; outputs not consumed so far are void.
    pub(crate) fn observe(&mut self, circuit: &mut Circuit, element: &Integer) -> Synthesis<()> {
        self.outputs_left = 0;
        self.pending.push(element.clone());
        if self.pending.len() == SPONGE_RATE {
            self.duplex(circuit)?;
        }
        Ok(())
    }

    pub(crate) fn observe_constant(&mut self, circuit: &mut Circuit, value: u64) -> Synthesis<()> {
        self.observe(circuit, &Integer::constant(value))
    }

    pub(crate) fn observe_extension(&mut self, circuit: &mut Circuit, element: &Ext) -> Synthesis<()> {
        self.observe(circuit, &element.0[0])?;
        self.observe(circuit, &element.0[1])
    }

    pub(crate) fn observe_digest(&mut self, circuit: &mut Circuit, digest: &Linear) -> Synthesis<()> {
        for digit in digest_digits(circuit, digest)? {
            self.observe(circuit, &digit)?;
        }
        Ok(())
    }

    pub(crate) fn challenge(&mut self, circuit: &mut Circuit) -> Synthesis<Challenge> {
        if !self.pending.is_empty() || self.outputs_left == 0 {
            self.duplex(circuit)?;
        }
        self.outputs_left -= 1;
        let (lane, limb) = (self.outputs_left / ELEMENTS_PER_LANE, self.outputs_left % ELEMENTS_PER_LANE);
        if self.lane_bits[lane].is_none() {
            self.lane_bits[lane] = Some(canonical_bits(circuit, &self.state[lane + 1])?);
        }
        let lane_bits = self.lane_bits[lane].as_ref().expect("filled above");
        let bits = lane_bits[64 * limb..64 * (limb + 1)].to_vec();
        Ok(Challenge { residue: below_power(from_bits(&bits), 64), bits })
    }

    /// A challenge of the base field, as one short variable.
    pub(crate) fn base_challenge(&mut self, circuit: &mut Circuit) -> Synthesis<Integer> {
        let challenge = self.challenge(circuit)?;
        let short = circuit.witness(challenge.residue.linear().value())?;
        circuit.enforce_equal(&short, challenge.residue.linear())?;
        Ok(below_power(short, 64))
    }

    pub(crate) fn extension_challenge(&mut self, circuit: &mut Circuit) -> Synthesis<Ext> {
        let low = self.base_challenge(circuit)?;
        let high = self.base_challenge(circuit)?;
        Ok(Ext([low, high]))
    }
}

/// Enforces that a leaf lies under a cap at the index whose bits are given, least significant first.
pub(crate) fn enforce_merkle_path(
    circuit: &mut Circuit,
    leaf_digest: Linear,
    index_bits: &[Linear],
    siblings: &[Linear],
    cap: &[Linear],
    cap_flags: &[Linear],
) -> Synthesis<()> {
    assert_eq!(index_bits.len(), siblings.len() + cap.len().ilog2() as usize);
    let mut node = leaf_digest;
    for (bit, sibling) in index_bits.iter().zip(siblings) {
        // With the bit set this node is the right child.
        let left = circuit.select(bit, sibling, &node)?;
        let right = node.add(sibling).sub(&left);
        node = two_to_one(circuit, &left, &right)?;
    }
    let expected = circuit.look_up(cap_flags, cap)?;
    circuit.enforce_equal(&node, &expected)
}
