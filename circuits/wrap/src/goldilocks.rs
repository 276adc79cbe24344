//! Arithmetic modulo p = 2⁶⁴ − 2³² + 1, emulated lazily: sums and products stay integers until one reduction.
//!
//! **Claim.** Every function's result is congruent modulo p to what its name says of its arguments.
//!
//! **A reduction** of x in [−below, above] shifts x by K·p ≥ below to y in [0, Y], and proves y = q·p + ρ with
//! 0 ≤ ρ < 2⁶⁴ and 0 ≤ q < 2ⁿ, n being the bits of ⌊Y/p⌋, by decomposing ρ and q into bits. The equation holds in BN254's
//! scalar field; it holds over the integers because both sides are below the modulus r: Y < r and (2ⁿ − 1)·p + 2⁶⁴ − 1 < r,
//! both asserted. ρ is *a* 64-bit representative: ρ + p is accepted too where it fits, which is harmless in arithmetic;
//! where bits are consumed, [`canonical_low_bits`] and its kin say which representative.
//!
//! **Cost.** A reduction of an `n`-bit integer costs about `n` constraints, so the whole art is to reduce late and seldom:
//! a product of three residues, or of two and a wide sum, is reduced once.

use ark_bn254::Fr;
use ark_ff::{BigInt, Field as _, PrimeField};
use num_bigint::BigUint;
use plonky2::field::extension::FieldExtension;
use plonky2::field::extension::quadratic::QuadraticExtension;
use plonky2::field::goldilocks_field::GoldilocksField;
use plonky2::field::types::{Field64, PrimeField64};

use crate::circuit::{Circuit, Integer, Linear, Synthesis, field_element, from_bits};

/// Goldilocks.
pub(crate) type F = GoldilocksField;
/// Its quadratic extension, X² = 7.
pub(crate) type FE = QuadraticExtension<F>;

/// The modulus p.
pub(crate) const P: u64 = F::ORDER;
/// X² in the extension.
const W: u64 = 7;
/// Products are kept within this many bits, so that 2⁷ of them can be summed below the modulus (253.6 bits).
const PRODUCT_BITS_MAX: u64 = 246;

/// Quotient and remainder of a 256-bit integer by p.
fn divide_by_p(integer: BigInt<4>) -> (BigInt<4>, u64) {
    let mut limbs = integer.0;
    let mut remainder = 0u128;
    for limb in limbs.iter_mut().rev() {
        let dividend = remainder << 64 | u128::from(*limb);
        *limb = (dividend / u128::from(P)) as u64;
        remainder = dividend % u128::from(P);
    }
    (BigInt(limbs), remainder as u64)
}

/// A witness proven to lie in [0, 2⁶⁴).
pub(crate) fn residue_witness(circuit: &mut Circuit, value: u64) -> Synthesis<Integer> {
    let linear = circuit.witness(Fr::from(value))?;
    circuit.decompose(&linear, 64)?;
    Ok(below_power(linear, 64))
}

/// An integer below 2^bits, which the caller has proven.
pub(crate) fn below_power(linear: Linear, bits: u32) -> Integer {
    Integer::with_bounds(linear, BigUint::ZERO, (BigUint::from(1u8) << bits) - 1u8)
}

/// `x + K·p ≥ 0`, with its upper bound.
fn shifted_to_positive(x: &Integer) -> (Linear, BigUint) {
    let shift = x.below().div_ceil_by_p() * P;
    let upper = x.above() + &shift;
    let linear = x.linear().add_constant(field_element(&shift));
    (linear, upper)
}

trait DivCeil {
    fn div_ceil_by_p(&self) -> BigUint;
}

impl DivCeil for BigUint {
    fn div_ceil_by_p(&self) -> BigUint {
        (self + (P - 1)) / P
    }
}

fn assert_no_wrap(upper: &BigUint, quotient_bits: u64) {
    let modulus: BigUint = Fr::MODULUS.into();
    assert!(upper < &modulus, "a value of {} bits could wrap", upper.bits());
    let largest = ((BigUint::from(1u8) << quotient_bits) - 1u8) * P + u64::MAX;
    assert!(largest < modulus, "a quotient of {quotient_bits} bits could wrap");
}

/// A representative below 2⁶⁴.
pub(crate) fn reduce(circuit: &mut Circuit, x: &Integer) -> Synthesis<Integer> {
    if x.below().bits() == 0 && x.above().bits() <= 64 {
        return Ok(x.clone());
    }
    let (y, upper) = shifted_to_positive(x);
    let (quotient, remainder) = divide_by_p(y.value().into_bigint());
    if y.as_constant().is_some() {
        return Ok(Integer::constant(remainder));
    }
    let quotient_bits = (&upper / P).bits();
    assert_no_wrap(&upper, quotient_bits);
    let residue = residue_witness(circuit, remainder)?;
    let inverse = Fr::from(P).inverse().expect("p is not zero in the scalar field");
    let quotient_linear = y.sub(residue.linear()).scale(inverse);
    debug_assert_eq!(quotient_linear.value().into_bigint(), quotient, "an exact division");
    circuit.decompose(&quotient_linear, quotient_bits as usize)?;
    Ok(residue)
}

/// Enforces `x ≡ 0 (mod p)`: the quotient alone is decomposed.
pub(crate) fn enforce_zero(circuit: &mut Circuit, x: &Integer) -> Synthesis<()> {
    let (y, upper) = shifted_to_positive(x);
    let quotient_bits = (&upper / P).bits();
    assert_no_wrap(&upper, quotient_bits);
    let inverse = Fr::from(P).inverse().expect("p is not zero in the scalar field");
    circuit.decompose(&y.scale(inverse), quotient_bits as usize)?;
    Ok(())
}

/// One exactly if the 64-bit number is at least p, that is if its high half is all ones and its low half is not zero.
fn is_at_least_p(circuit: &mut Circuit, low: &Linear, high: &Linear) -> Synthesis<Linear> {
    let high_is_ones = circuit.is_zero(&high.add_constant(-Fr::from(u32::MAX)))?;
    let low_is_zero = circuit.is_zero(low)?;
    circuit.multiply(&high_is_ones, &low_is_zero.not())
}

/// Proves that a number given by its 64 bits is below p.
pub(crate) fn enforce_canonical(circuit: &mut Circuit, bits: &[Linear]) -> Synthesis<()> {
    let (low, high) = bits.split_at(32);
    let high_is_ones = circuit.is_zero(&from_bits(high).add_constant(-Fr::from(u32::MAX)))?;
    circuit.enforce(&high_is_ones, &from_bits(low), &Linear::default())
}

/// The lowest `count` ≤ 32 bits of the canonical representative of a number given by its 64 bits.
///
/// If the number v is at least p then v − p = low − 1 (its high half is all ones), else v's low half is already right: so
/// the low half of the representative is `low − [v ≥ p]`, which is never negative.
pub(crate) fn canonical_low_bits(circuit: &mut Circuit, bits: &[Linear], count: usize) -> Synthesis<Vec<Linear>> {
    assert!(count <= 32 && bits.len() == 64);
    let (low, high) = (from_bits(&bits[..32]), from_bits(&bits[32..]));
    let wraps = is_at_least_p(circuit, &low, &high)?;
    let mut result = circuit.decompose_to_variables(&low.sub(&wraps), 32)?;
    result.truncate(count);
    Ok(result)
}

/// Enforces that the canonical representative of a number given by its 64 bits has `count` ≤ 32 leading zeros.
///
/// A wrapping number is below 2³² after reduction and passes; any other must have its top bits zero, which holds exactly if
/// their sum is.
pub(crate) fn enforce_leading_zeros(circuit: &mut Circuit, bits: &[Linear], count: usize) -> Synthesis<()> {
    assert!(count <= 32 && bits.len() == 64);
    let (low, high) = (from_bits(&bits[..32]), from_bits(&bits[32..]));
    let wraps = is_at_least_p(circuit, &low, &high)?;
    let top = Linear::sum(bits[64 - count..].iter().map(|bit| (Fr::from(1u8), bit)));
    circuit.enforce(&wraps.not(), &top, &Linear::default())
}

/// An element of the quadratic extension; coordinates are unreduced integers.
#[derive(Clone, Debug)]
pub(crate) struct Ext(pub(crate) [Integer; 2]);

type Bounds = [(BigUint, BigUint); 2];

impl Ext {
    pub(crate) fn zero() -> Self {
        Self([Integer::zero(), Integer::zero()])
    }

    pub(crate) fn one() -> Self {
        Self([Integer::constant(1), Integer::zero()])
    }

    pub(crate) fn from_base(base: Integer) -> Self {
        Self([base, Integer::zero()])
    }

    pub(crate) fn witness(circuit: &mut Circuit, value: FE) -> Synthesis<Self> {
        let [low, high] = value.to_basefield_array();
        Ok(Self([
            residue_witness(circuit, low.to_canonical_u64())?,
            residue_witness(circuit, high.to_canonical_u64())?,
        ]))
    }

    /// The value, canonical.
    pub(crate) fn value(&self) -> FE {
        FE::from_basefield_array(self.0.clone().map(|coordinate| {
            let (y, _) = shifted_to_positive(&coordinate);
            GoldilocksField(divide_by_p(y.value().into_bigint()).1)
        }))
    }

    pub(crate) fn add(&self, other: &Self) -> Self {
        Self([self.0[0].add(&other.0[0]), self.0[1].add(&other.0[1])])
    }

    pub(crate) fn sub(&self, other: &Self) -> Self {
        Self([self.0[0].sub(&other.0[0]), self.0[1].sub(&other.0[1])])
    }

    /// Times a constant of the base field.
    pub(crate) fn scale(&self, factor: u64) -> Self {
        Self([self.0[0].scale(factor), self.0[1].scale(factor)])
    }

    /// `Σ factor·part`.
    pub(crate) fn sum<'a>(parts: impl IntoIterator<Item = (u64, &'a Ext)>) -> Self {
        let parts: Vec<_> = parts.into_iter().collect();
        Self([0, 1].map(|k| Integer::sum(parts.iter().map(|(factor, part)| (*factor, &part.0[k])))))
    }

    pub(crate) fn width(&self) -> u64 {
        self.0[0].width().max(self.0[1].width())
    }

    pub(crate) fn reduce(&self, circuit: &mut Circuit) -> Synthesis<Self> {
        Ok(Self([reduce(circuit, &self.0[0])?, reduce(circuit, &self.0[1])?]))
    }

    pub(crate) fn enforce_zero(&self, circuit: &mut Circuit) -> Synthesis<()> {
        enforce_zero(circuit, &self.0[0])?;
        enforce_zero(circuit, &self.0[1])
    }

    /// Bounds of `(a₀b₀ + 7a₁b₁, a₀b₁ + a₁b₀)`.
    fn product_bounds(&self, other: &Self) -> Bounds {
        let ([a0, a1], [b0, b1]) = (&self.0, &other.0);
        let pair = |left: (BigUint, BigUint), factor: u64, right: (BigUint, BigUint)| {
            (left.0 + right.0 * factor, left.1 + right.1 * factor)
        };
        [pair(a0.product_bounds(b0), W, a1.product_bounds(b1)), pair(a0.product_bounds(b1), 1, a1.product_bounds(b0))]
    }

    fn with_bounds([low, high]: [Linear; 2], [low_bounds, high_bounds]: Bounds) -> Self {
        Self([
            Integer::with_bounds(low, low_bounds.0, low_bounds.1),
            Integer::with_bounds(high, high_bounds.0, high_bounds.1),
        ])
    }

    /// Three products instead of four: the middle one is `(a₀ + a₁)(b₀ + b₁) − a₀b₀ − a₁b₁`, whose *value* is
    /// `a₀b₁ + a₁b₀`, so the bounds are those of the latter.
    fn product_linears(&self, circuit: &mut Circuit, other: &Self) -> Synthesis<[Linear; 2]> {
        let ([a0, a1], [b0, b1]) = (&self.0, &other.0);
        let low = circuit.multiply(a0.linear(), b0.linear())?;
        let high = circuit.multiply(a1.linear(), b1.linear())?;
        let mixed = circuit.multiply(&a0.linear().add(a1.linear()), &b0.linear().add(b1.linear()))?;
        let one = Fr::from(1u8);
        Ok([
            Linear::sum([(one, &low), (Fr::from(W), &high)]),
            Linear::sum([(one, &mixed), (-one, &low), (-one, &high)]),
        ])
    }

    /// The product, unreduced. If it would be too wide for [`PRODUCT_BITS_MAX`], wider factors are reduced first.
    pub(crate) fn multiply(&self, circuit: &mut Circuit, other: &Self) -> Synthesis<Self> {
        let (left, right) = fit(circuit, self.clone(), other.clone(), 4)?;
        let bounds = left.product_bounds(&right);
        let linears = left.product_linears(circuit, &right)?;
        Ok(Self::with_bounds(linears, bounds))
    }

    /// Times an element of the base field: two products.
    pub(crate) fn multiply_base(&self, circuit: &mut Circuit, base: &Integer) -> Synthesis<Self> {
        let mut left = self.clone();
        if left.width() + base.width() > PRODUCT_BITS_MAX {
            left = left.reduce(circuit)?;
        }
        Ok(Self([circuit.multiply_integers(&left.0[0], base)?, circuit.multiply_integers(&left.0[1], base)?]))
    }

    pub(crate) fn square(&self, circuit: &mut Circuit) -> Synthesis<Self> {
        self.multiply(circuit, self)
    }

    /// Enforces that this, given reduced, does not lie in the base field: its second coordinate has an inverse modulo p.
    pub(crate) fn enforce_outside_base(&self, circuit: &mut Circuit) -> Synthesis<()> {
        use plonky2::field::types::Field;
        let [_, second]: [F; 2] = self.value().to_basefield_array();
        let inverse = second.try_inverse().unwrap_or(F::ZERO);
        let inverse = residue_witness(circuit, inverse.to_canonical_u64())?;
        let product = circuit.multiply_integers(&self.0[1], &inverse)?;
        enforce_zero(circuit, &product.sub(&Integer::constant(1)))
    }
}

/// Reduces the wider factor, then the other, until a product with `slack` more bits fits.
fn fit(circuit: &mut Circuit, mut left: Ext, mut right: Ext, slack: u64) -> Synthesis<(Ext, Ext)> {
    while left.width() + right.width() + slack > PRODUCT_BITS_MAX {
        if left.width() >= right.width() {
            left = left.reduce(circuit)?;
        } else {
            right = right.reduce(circuit)?;
        }
    }
    Ok((left, right))
}

/// `extension[X]/(X² − 7)` over the *opened* extension: what a gate that computes in the extension looks like when its wires
/// are opened at a point of the extension.
#[derive(Clone, Debug)]
pub(crate) struct Algebra(pub(crate) [Ext; 2]);

impl Algebra {
    pub(crate) fn zero() -> Self {
        Self([Ext::zero(), Ext::zero()])
    }

    pub(crate) fn one() -> Self {
        Self([Ext::one(), Ext::zero()])
    }

    pub(crate) fn add(&self, other: &Self) -> Self {
        Self([self.0[0].add(&other.0[0]), self.0[1].add(&other.0[1])])
    }

    pub(crate) fn sub(&self, other: &Self) -> Self {
        Self([self.0[0].sub(&other.0[0]), self.0[1].sub(&other.0[1])])
    }

    pub(crate) fn sub_base_constant(&self, constant: F) -> Self {
        let constant = Ext::from_base(Integer::constant(constant.to_canonical_u64()));
        Self([self.0[0].sub(&constant), self.0[1].clone()])
    }

    pub(crate) fn scale(&self, factor: u64) -> Self {
        Self([self.0[0].scale(factor), self.0[1].scale(factor)])
    }

    pub(crate) fn width(&self) -> u64 {
        self.0[0].width().max(self.0[1].width())
    }

    pub(crate) fn reduce(&self, circuit: &mut Circuit) -> Synthesis<Self> {
        Ok(Self([self.0[0].reduce(circuit)?, self.0[1].reduce(circuit)?]))
    }

    pub(crate) fn multiply_ext(&self, circuit: &mut Circuit, factor: &Ext) -> Synthesis<Self> {
        Ok(Self([self.0[0].multiply(circuit, factor)?, self.0[1].multiply(circuit, factor)?]))
    }

    /// Karatsuba once more, with the bounds of the schoolbook product.
    pub(crate) fn multiply(&self, circuit: &mut Circuit, other: &Self) -> Synthesis<Self> {
        let (mut left, mut right) = (self.clone(), other.clone());
        // Seven bits: three for 7·(..) on each of two levels, one for sums.
        while left.width() + right.width() + 8 > PRODUCT_BITS_MAX {
            if left.width() >= right.width() {
                left = left.reduce(circuit)?;
            } else {
                right = right.reduce(circuit)?;
            }
        }
        let ([a0, a1], [b0, b1]) = (&left.0, &right.0);
        let add = |x: Bounds, factor: u64, y: Bounds| -> Bounds {
            let [x0, x1] = x;
            let [y0, y1] = y;
            [(x0.0 + y0.0 * factor, x0.1 + y0.1 * factor), (x1.0 + y1.0 * factor, x1.1 + y1.1 * factor)]
        };
        let low_bounds = add(a0.product_bounds(b0), W, a1.product_bounds(b1));
        let high_bounds = add(a0.product_bounds(b1), 1, a1.product_bounds(b0));
        let low = a0.product_linears(circuit, b0)?;
        let high = a1.product_linears(circuit, b1)?;
        let mixed = a0.add(a1).product_linears(circuit, &b0.add(b1))?;
        let one = Fr::from(1u8);
        let low_linears = [0, 1].map(|k| Linear::sum([(one, &low[k]), (Fr::from(W), &high[k])]));
        let high_linears = [0, 1].map(|k| Linear::sum([(one, &mixed[k]), (-one, &low[k]), (-one, &high[k])]));
        Ok(Self([Ext::with_bounds(low_linears, low_bounds), Ext::with_bounds(high_linears, high_bounds)]))
    }
}

/// 1, x, x², … reduced; `count` of them.
pub(crate) fn powers(circuit: &mut Circuit, x: &Ext, count: usize) -> Synthesis<Vec<Ext>> {
    let mut result = vec![Ext::one()];
    while result.len() < count {
        let last = result.last().expect("there is a first power").multiply(circuit, x)?;
        result.push(last.reduce(circuit)?);
    }
    result.truncate(count);
    Ok(result)
}

/// 1, x, x², … in the base field, reduced.
pub(crate) fn base_powers(circuit: &mut Circuit, x: &Integer, count: usize) -> Synthesis<Vec<Integer>> {
    let mut result = vec![Integer::constant(1)];
    while result.len() < count {
        let last = circuit.multiply_integers(result.last().expect("there is a first power"), x)?;
        result.push(reduce(circuit, &last)?);
    }
    result.truncate(count);
    Ok(result)
}
