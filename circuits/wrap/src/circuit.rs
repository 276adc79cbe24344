//! Linear combinations, integers with tracked bounds, and the constraints that everything else is made of.
//!
//! [`Linear`] is a linear combination over BN254's scalar field with its value. [`Integer`] adds what lazy arithmetic
//! lives on: an interval that the value is proven to lie in as an *integer*. Adding and multiplying integers widens the
//! interval, and a constructor panics when an interval could wrap around the field's modulus: widths depend on the
//! circuit alone, never on a witness, so such a panic is a mistake in the circuit that no key is ever made from.

use std::collections::BTreeMap;

use ark_bn254::Fr;
use ark_ff::{AdditiveGroup, BigInteger, Field, One, PrimeField, Zero};
use ark_relations::gr1cs::{ConstraintSystemRef, LinearCombination, SynthesisError, Variable};
use num_bigint::BigUint;
use sha2::{Digest, Sha256};

/// The result of a step of synthesis.
pub(crate) type Synthesis<T> = Result<T, SynthesisError>;

/// A linear combination with its value; terms are sorted by variable and none has coefficient zero.
#[derive(Clone, Debug, Default)]
pub(crate) struct Linear {
    terms: Vec<(Variable, Fr)>,
    value: Fr,
}

impl Linear {
    pub(crate) fn constant(value: Fr) -> Self {
        let terms = if value.is_zero() { Vec::new() } else { vec![(Variable::One, value)] };
        Self { terms, value }
    }

    pub(crate) fn one() -> Self {
        Self::constant(Fr::one())
    }

    pub(crate) fn value(&self) -> Fr {
        self.value
    }

    /// The constant that this is, if no variable occurs in it.
    pub(crate) fn as_constant(&self) -> Option<Fr> {
        self.terms.iter().all(|(variable, _)| *variable == Variable::One).then_some(self.value)
    }

    /// `Σ factor·term`.
    pub(crate) fn sum<'a>(parts: impl IntoIterator<Item = (Fr, &'a Linear)>) -> Self {
        let mut terms = Vec::new();
        let mut value = Fr::zero();
        for (factor, part) in parts {
            value += factor * part.value;
            if factor.is_one() {
                terms.extend_from_slice(&part.terms);
            } else {
                terms.extend(part.terms.iter().map(|(variable, coefficient)| (*variable, factor * coefficient)));
            }
        }
        terms.sort_unstable_by_key(|(variable, _)| *variable);
        let mut merged: Vec<(Variable, Fr)> = Vec::with_capacity(terms.len());
        for (variable, coefficient) in terms {
            match merged.last_mut() {
                Some((last, sum)) if *last == variable => *sum += coefficient,
                _ => merged.push((variable, coefficient)),
            }
        }
        merged.retain(|(_, coefficient)| !coefficient.is_zero());
        Self { terms: merged, value }
    }

    pub(crate) fn add(&self, other: &Self) -> Self {
        Self::sum([(Fr::one(), self), (Fr::one(), other)])
    }

    pub(crate) fn sub(&self, other: &Self) -> Self {
        Self::sum([(Fr::one(), self), (-Fr::one(), other)])
    }

    pub(crate) fn add_constant(&self, constant: Fr) -> Self {
        self.add(&Self::constant(constant))
    }

    pub(crate) fn scale(&self, factor: Fr) -> Self {
        if factor.is_zero() {
            return Self::default();
        }
        Self {
            terms: self.terms.iter().map(|(variable, coefficient)| (*variable, *coefficient * factor)).collect(),
            value: self.value * factor,
        }
    }

    /// `1 − self`, for a boolean.
    pub(crate) fn not(&self) -> Self {
        Self::one().sub(self)
    }

    fn hash_into(&self, hasher: &mut Sha256) {
        let mut bytes = Vec::with_capacity(8 + 40 * self.terms.len());
        bytes.extend_from_slice(&(self.terms.len() as u64).to_le_bytes());
        for (variable, coefficient) in &self.terms {
            // Witnesses are told from the public input and the constant one by an offset that no count reaches.
            let index = variable.get_variable_index(1 << 40).unwrap_or_default() as u64;
            bytes.extend_from_slice(&index.to_le_bytes());
            coefficient.0.0.iter().for_each(|limb| bytes.extend_from_slice(&limb.to_le_bytes()));
        }
        hasher.update(&bytes);
    }

    fn combination(&self) -> LinearCombination<Fr> {
        LinearCombination(self.terms.iter().map(|(variable, coefficient)| (*coefficient, *variable)).collect())
    }
}

/// A linear combination whose value is proven to lie in `-below..=above` as an integer.
#[derive(Clone, Debug)]
pub(crate) struct Integer {
    linear: Linear,
    below: BigUint,
    above: BigUint,
}

fn modulus() -> BigUint {
    Fr::MODULUS.into()
}

pub(crate) fn field_element(value: &BigUint) -> Fr {
    Fr::from(value.clone())
}

impl Integer {
    /// Pairs a linear combination with bounds that the caller has proven.
    pub(crate) fn with_bounds(linear: Linear, below: BigUint, above: BigUint) -> Self {
        assert!(&below + &above < modulus(), "an interval of {} bits could wrap", (&below + &above).bits());
        Self { linear, below, above }
    }

    pub(crate) fn constant(value: u64) -> Self {
        Self { linear: Linear::constant(Fr::from(value)), below: BigUint::ZERO, above: BigUint::from(value) }
    }

    pub(crate) fn zero() -> Self {
        Self::constant(0)
    }

    pub(crate) fn linear(&self) -> &Linear {
        &self.linear
    }

    pub(crate) fn below(&self) -> &BigUint {
        &self.below
    }

    pub(crate) fn above(&self) -> &BigUint {
        &self.above
    }

    /// Bits of the larger of the two bounds.
    pub(crate) fn width(&self) -> u64 {
        self.below.bits().max(self.above.bits())
    }

    /// `Σ factor·part` with non-negative factors.
    pub(crate) fn sum<'a>(parts: impl IntoIterator<Item = (u64, &'a Integer)>) -> Self {
        let parts: Vec<_> = parts.into_iter().collect();
        let linear = Linear::sum(parts.iter().map(|(factor, part)| (Fr::from(*factor), &part.linear)));
        let mut below = BigUint::ZERO;
        let mut above = BigUint::ZERO;
        for (factor, part) in parts {
            below += &part.below * factor;
            above += &part.above * factor;
        }
        Self::with_bounds(linear, below, above)
    }

    pub(crate) fn add(&self, other: &Self) -> Self {
        Self::sum([(1, self), (1, other)])
    }

    pub(crate) fn sub(&self, other: &Self) -> Self {
        Self::with_bounds(self.linear.sub(&other.linear), &self.below + &other.above, &self.above + &other.below)
    }

    pub(crate) fn scale(&self, factor: u64) -> Self {
        Self::with_bounds(self.linear.scale(Fr::from(factor)), &self.below * factor, &self.above * factor)
    }

    /// The bounds of a product, as (below, above).
    pub(crate) fn product_bounds(&self, other: &Self) -> (BigUint, BigUint) {
        let below = (&self.below * &other.above).max(&self.above * &other.below);
        let above = (&self.above * &other.above).max(&self.below * &other.below);
        (below, above)
    }
}

/// Where constraints go, how many went into which part, and in which parts the values do not satisfy them.
pub(crate) struct Circuit {
    system: ConstraintSystemRef<Fr>,
    part: &'static str,
    counts: BTreeMap<&'static str, usize>,
    violated_parts: Vec<&'static str>,
    hasher: Option<Sha256>,
}

impl Circuit {
    pub(crate) fn new(system: ConstraintSystemRef<Fr>) -> Self {
        Self { system, part: "unnamed", counts: BTreeMap::new(), violated_parts: Vec::new(), hasher: None }
    }

    /// Hashes every constraint from here on.
    pub(crate) fn with_digest(mut self) -> Self {
        self.hasher = Some(Sha256::new());
        self
    }

    /// SHA-256 over all constraints: per constraint its three linear combinations, each as its number of terms and then
    /// variables and coefficients (Montgomery form, little-endian limbs).
    pub(crate) fn digest(self) -> Option<[u8; 32]> {
        self.hasher.map(|hasher| hasher.finalize().into())
    }

    /// Names the part that the constraints from here on belong to.
    pub(crate) fn enter(&mut self, part: &'static str) {
        self.part = part;
    }

    /// Constraints by part.
    pub(crate) fn counts(&self) -> &BTreeMap<&'static str, usize> {
        &self.counts
    }

    /// The parts with constraints that the values do not satisfy.
    pub(crate) fn violated_parts(&self) -> &[&'static str] {
        &self.violated_parts
    }

    pub(crate) fn witness(&mut self, value: Fr) -> Synthesis<Linear> {
        let variable = self.system.new_witness_variable(|| Ok(value))?;
        Ok(Linear { terms: vec![(variable, Fr::one())], value })
    }

    pub(crate) fn public_input(&mut self, value: Fr) -> Synthesis<Linear> {
        let variable = self.system.new_input_variable(|| Ok(value))?;
        Ok(Linear { terms: vec![(variable, Fr::one())], value })
    }

    /// Enforces `left·right = product`.
    pub(crate) fn enforce(&mut self, left: &Linear, right: &Linear, product: &Linear) -> Synthesis<()> {
        *self.counts.entry(self.part).or_default() += 1;
        if left.value * right.value != product.value && !self.violated_parts.contains(&self.part) {
            self.violated_parts.push(self.part);
        }
        if let Some(hasher) = &mut self.hasher {
            for linear in [left, right, product] {
                linear.hash_into(hasher);
            }
        }
        self.system.enforce_r1cs_constraint(|| left.combination(), || right.combination(), || product.combination())
    }

    pub(crate) fn enforce_equal(&mut self, left: &Linear, right: &Linear) -> Synthesis<()> {
        self.enforce(&left.sub(right), &Linear::one(), &Linear::default())
    }

    /// The product, as a new variable unless one factor is a constant.
    pub(crate) fn multiply(&mut self, left: &Linear, right: &Linear) -> Synthesis<Linear> {
        match (left.as_constant(), right.as_constant()) {
            (Some(constant), _) => Ok(right.scale(constant)),
            (_, Some(constant)) => Ok(left.scale(constant)),
            (None, None) => {
                let product = self.witness(left.value * right.value)?;
                self.enforce(left, right, &product)?;
                Ok(product)
            }
        }
    }

    /// The product of two integers, unreduced.
    pub(crate) fn multiply_integers(&mut self, left: &Integer, right: &Integer) -> Synthesis<Integer> {
        let (below, above) = left.product_bounds(right);
        let linear = self.multiply(&left.linear, &right.linear)?;
        Ok(Integer::with_bounds(linear, below, above))
    }

    pub(crate) fn boolean(&mut self, value: bool) -> Synthesis<Linear> {
        let bit = self.witness(Fr::from(value))?;
        self.enforce(&bit, &bit, &bit)?;
        Ok(bit)
    }

    /// `bits` booleans, least significant first, whose sum is `number`: this proves `0 ≤ number < 2^bits`.
    ///
    /// The highest bit needs no variable: it is what is left of the number, and being boolean is all it has to prove.
    /// With `bits` ≤ 253 the sum cannot wrap around the modulus, so the bits are unique.
    pub(crate) fn decompose(&mut self, number: &Linear, bits: usize) -> Synthesis<Vec<Linear>> {
        assert!(bits <= 253, "{bits} bits are not unique in this field");
        let Some(highest) = bits.checked_sub(1) else {
            self.enforce_equal(number, &Linear::default())?;
            return Ok(Vec::new());
        };
        let integer = number.value.into_bigint();
        let mut result =
            (0..highest).map(|index| self.boolean(integer.get_bit(index))).collect::<Synthesis<Vec<_>>>()?;
        let powers: Vec<Fr> = powers_of_two(highest);
        let lower = Linear::sum(powers.iter().copied().zip(&result));
        let scale = Fr::from(2u64).pow([highest as u64]).inverse().expect("a power of two is not zero");
        let top = number.sub(&lower).scale(scale);
        self.enforce(&top, &top.add_constant(-Fr::one()), &Linear::default())?;
        result.push(top);
        Ok(result)
    }

    /// Like [`Self::decompose`], with a variable for the highest bit too: one constraint more, and bits that stay short
    /// where each is used many times.
    pub(crate) fn decompose_to_variables(&mut self, number: &Linear, bits: usize) -> Synthesis<Vec<Linear>> {
        assert!(bits <= 253, "{bits} bits are not unique in this field");
        let integer = number.value.into_bigint();
        let result = (0..bits).map(|index| self.boolean(integer.get_bit(index))).collect::<Synthesis<Vec<_>>>()?;
        self.enforce_equal(number, &from_bits(&result))?;
        Ok(result)
    }

    /// A boolean that is one exactly if `number` is zero.
    pub(crate) fn is_zero(&mut self, number: &Linear) -> Synthesis<Linear> {
        // If the number is not zero, the second constraint makes the flag zero; if it is, the first makes it one.
        let inverse = self.witness(number.value.inverse().unwrap_or_default())?;
        let flag = self.witness(Fr::from(number.value.is_zero()))?;
        self.enforce(number, &inverse, &flag.not())?;
        self.enforce(number, &flag, &Linear::default())?;
        Ok(flag)
    }

    /// `bit ? yes : no`.
    pub(crate) fn select(&mut self, bit: &Linear, yes: &Linear, no: &Linear) -> Synthesis<Linear> {
        Ok(no.add(&self.multiply(bit, &yes.sub(no))?))
    }

    /// The `2^bits.len()` products of the bits or their complements: exactly one is one, at the index that the bits spell
    /// (least significant first).
    pub(crate) fn one_hot(&mut self, bits: &[Linear]) -> Synthesis<Vec<Linear>> {
        let mut flags = vec![Linear::one()];
        for bit in bits {
            let mut upper = Vec::with_capacity(flags.len());
            for flag in &flags {
                upper.push(self.multiply(flag, bit)?);
            }
            let lower = flags.iter().zip(&upper).map(|(flag, upper)| flag.sub(upper));
            flags = lower.chain(upper.iter().cloned()).collect();
        }
        Ok(flags)
    }

    /// `Σ flag·entry` of a one-hot vector: the entry at the index.
    pub(crate) fn look_up(&mut self, flags: &[Linear], entries: &[Linear]) -> Synthesis<Linear> {
        assert_eq!(flags.len(), entries.len());
        // The first flag is one minus the others: its product is left out and its entry added instead.
        let mut parts = vec![entries[0].clone()];
        for (flag, entry) in flags.iter().zip(entries).skip(1) {
            parts.push(self.multiply(flag, &entry.sub(&entries[0]))?);
        }
        Ok(Linear::sum(parts.iter().map(|part| (Fr::one(), part))))
    }
}

/// 1, 2, 4, …
pub(crate) fn powers_of_two(count: usize) -> Vec<Fr> {
    std::iter::successors(Some(Fr::one()), |power| Some(power.double())).take(count).collect()
}

/// The number that bits spell, least significant first.
pub(crate) fn from_bits(bits: &[Linear]) -> Linear {
    Linear::sum(powers_of_two(bits.len()).into_iter().zip(bits))
}
