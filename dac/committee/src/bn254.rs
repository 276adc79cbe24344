//! BN254 as L1's precompiles see it: points as words, hashing to G1, one pairing check.

use alloy_primitives::{B256, U256, keccak256, uint};
use ark_bn254::{Bn254, Fq, Fq2, Fr, G1Affine, G2Affine};
use ark_ec::{AffineRepr, CurveGroup, pairing::Pairing};
use ark_ff::{BigInt, BigInteger, Field, One, PrimeField};
use thiserror::Error;

/// A point of G1 as words, not yet known to be on the curve; (0, 0) is infinity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct G1 {
    /// x.
    pub x: U256,
    /// y.
    pub y: U256,
}

/// A point of G2 as words, not yet known to be in the group; the imaginary part comes first, as in EIP-197.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct G2 {
    /// Imaginary part of x.
    pub x_imaginary: U256,
    /// Real part of x.
    pub x_real: U256,
    /// Imaginary part of y.
    pub y_imaginary: U256,
    /// Real part of y.
    pub y_real: U256,
}

/// Why words are no point. The precompiles refuse the same ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PointError {
    /// A coordinate that is not below the field's order: taken modulo it, one point would have many encodings.
    #[error("the coordinate {coordinate:#x} is not below the field's order")]
    NotReduced {
        /// The coordinate.
        coordinate: U256,
    },
    /// Not on the curve.
    #[error("the point is not on the curve")]
    NotOnCurve,
    /// On the twist, but outside the subgroup of prime order.
    #[error("the point is not in the subgroup")]
    NotInSubgroup,
}

/// No attempt of [`hash_to_g1`] met the curve: probability below 2^-115 for any digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{digest} does not hash to the curve")]
pub struct HashToCurveError {
    /// The digest.
    pub digest: B256,
}

/// Preimage of the tag under which certificates are hashed to the curve.
pub const CERTIFICATE_TAG_BLS: &str = "Joule BLS certificate v1";
/// Preimage of the tag under which proofs of possession are. Another than the certificates', so that neither passes for the other.
pub const POSSESSION_TAG_BLS: &str = "Joule BLS possession v1";

/// Largest multiple of the field's order below 2^256: hashes above it are passed over, so that x is uniform.
const FIELD_MULTIPLE: U256 = uint!(109441214359196376111232028726286375443481555786489118313445189473226131042915_U256);
const HASH_ATTEMPTS_MAX: u8 = 128;

fn field(coordinate: U256) -> Result<Fq, PointError> {
    Fq::from_bigint(BigInt(coordinate.into_limbs())).ok_or(PointError::NotReduced { coordinate })
}

fn word(element: &Fq) -> U256 {
    U256::from_limbs(element.into_bigint().0)
}

impl G1 {
    /// Infinity.
    pub const INFINITY: Self = Self { x: U256::ZERO, y: U256::ZERO };

    pub(crate) fn new(point: &G1Affine) -> Self {
        point.xy().map_or(Self::INFINITY, |(x, y)| Self { x: word(&x), y: word(&y) })
    }

    /// G1 has cofactor one: a point on the curve is in the group.
    pub(crate) fn point(&self) -> Result<G1Affine, PointError> {
        if *self == Self::INFINITY {
            return Ok(G1Affine::identity());
        }
        let point = G1Affine::new_unchecked(field(self.x)?, field(self.y)?);
        if point.is_on_curve() { Ok(point) } else { Err(PointError::NotOnCurve) }
    }

    pub(crate) fn words(&self) -> [B256; 2] {
        [self.x, self.y].map(B256::from)
    }
}

impl G2 {
    /// Infinity.
    pub const INFINITY: Self =
        Self { x_imaginary: U256::ZERO, x_real: U256::ZERO, y_imaginary: U256::ZERO, y_real: U256::ZERO };

    pub(crate) fn new(point: &G2Affine) -> Self {
        point.xy().map_or(Self::INFINITY, |(x, y)| Self {
            x_imaginary: word(&x.c1),
            x_real: word(&x.c0),
            y_imaginary: word(&y.c1),
            y_real: word(&y.c0),
        })
    }

    pub(crate) fn point(&self) -> Result<G2Affine, PointError> {
        if *self == Self::INFINITY {
            return Ok(G2Affine::identity());
        }
        let x = Fq2::new(field(self.x_real)?, field(self.x_imaginary)?);
        let y = Fq2::new(field(self.y_real)?, field(self.y_imaginary)?);
        let point = G2Affine::new_unchecked(x, y);
        if !point.is_on_curve() {
            return Err(PointError::NotOnCurve);
        }
        if point.is_in_correct_subgroup_assuming_on_curve() { Ok(point) } else { Err(PointError::NotInSubgroup) }
    }

    pub(crate) fn words(&self) -> [B256; 4] {
        [self.x_imaginary, self.x_real, self.y_imaginary, self.y_real].map(B256::from)
    }
}

/// Hashes to G1 as the contract's `Bn254.hashToG1`: x = keccak256(tag ‖ digest ‖ attempt) mod p for the first attempt in 0..128 that
/// is below 5p and has a point on the curve; of its two the one with even y.
///
/// The time it takes depends on the message alone, which is public.
///
/// # Errors
/// All attempts failed.
pub fn hash_to_g1(tag: B256, digest: B256) -> Result<G1, HashToCurveError> {
    hash_to_point(tag, digest).map(|point| G1::new(&point))
}

pub(crate) fn hash_to_point(tag: B256, digest: B256) -> Result<G1Affine, HashToCurveError> {
    let mut message = [0; 65];
    message[..32].copy_from_slice(tag.as_slice());
    message[32..64].copy_from_slice(digest.as_slice());
    for attempt in 0..HASH_ATTEMPTS_MAX {
        message[64] = attempt;
        let hash = keccak256(message);
        if U256::from_be_bytes(hash.0) >= FIELD_MULTIPLE {
            continue;
        }
        let x = Fq::from_be_bytes_mod_order(hash.as_slice());
        let Some(y) = (x.square() * x + Fq::from(3u8)).sqrt() else { continue };
        let y = if y.into_bigint().is_even() { y } else { -y };
        return Ok(G1Affine::new_unchecked(x, y));
    }
    Err(HashToCurveError { digest })
}

/// Whether `signature` is the key's on the point `hashed`, and whether `key` in G1 and `key2` in G2 are one key.
///
/// One pairing check says both: with γ drawn after all of them, e(σ + γ·K₁, −g₂) · e(H + γ·g₁, K₂) = 1 means s − h·k₂ = γ·(k₂ − k₁) in
/// the exponents, and a random γ satisfies it only if both sides are zero. The contract computes the same γ.
pub(crate) fn is_signed(digest: B256, hashed: G1Affine, signature: G1Affine, key: G1Affine, key2: G2Affine) -> bool {
    let mut transcript = digest.to_vec();
    let words = [G1::new(&signature).words(), G1::new(&key).words()].concat();
    for word in words.into_iter().chain(G2::new(&key2).words()) {
        transcript.extend_from_slice(word.as_slice());
    }
    let gamma = Fr::from_be_bytes_mod_order(keccak256(transcript).as_slice());
    let left = (signature + key * gamma).into_affine();
    let right = (hashed + G1Affine::generator() * gamma).into_affine();
    pairing_is_one(left, -G2Affine::generator(), right, key2)
}

/// Whether e(a₁, a₂) · e(b₁, b₂) = 1.
pub(crate) fn pairing_is_one(a1: G1Affine, a2: G2Affine, b1: G1Affine, b2: G2Affine) -> bool {
    Bn254::multi_pairing([a1, b1], [a2, b2]).0.is_one()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn field_multiple_is_five_times_the_order() {
        let order = U256::from_limbs(Fq::MODULUS.0);
        assert_eq!(FIELD_MULTIPLE, order * U256::from(5));
        assert!(FIELD_MULTIPLE.checked_add(order).is_none());
    }

    #[test]
    fn words_that_are_no_points_are_refused() {
        let generator = G1::new(&G1Affine::generator());
        assert_eq!(generator, G1 { x: U256::from(1), y: U256::from(2) });
        let order = U256::from_limbs(Fq::MODULUS.0);
        assert_eq!(
            G1 { x: order + U256::from(1), ..generator }.point(),
            Err(PointError::NotReduced { coordinate: order + U256::from(1) })
        );
        assert_eq!(G1 { y: U256::from(3), ..generator }.point(), Err(PointError::NotOnCurve));
        assert_eq!(G1 { x: order, y: U256::ZERO }.point(), Err(PointError::NotReduced { coordinate: order }));

        let generator = G2::new(&G2Affine::generator());
        assert_eq!(generator.point(), Ok(G2Affine::generator()));
        assert_eq!(G2 { y_real: order, ..generator }.point(), Err(PointError::NotReduced { coordinate: order }));
        let off = G2 { y_real: generator.y_real ^ U256::from(1), ..generator };
        assert_eq!(off.point(), Err(PointError::NotOnCurve));
    }

    #[test]
    fn points_outside_the_subgroup_are_refused() {
        // A point on the twist from a small x: the cofactor is about 2^254, so a point met by chance is outside.
        let outside = (1u64..).find_map(|x| G2Affine::get_point_from_x_unchecked(Fq2::from(x), true)).expect("some x");
        assert!(outside.is_on_curve());
        assert_eq!(G2::new(&outside).point(), Err(PointError::NotInSubgroup));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn hashes_are_points_with_even_y(tag: [u8; 32], digest: [u8; 32]) {
            let hashed = hash_to_g1(B256::new(tag), B256::new(digest)).expect("hashes");
            prop_assert!(hashed.point().is_ok());
            prop_assert!(!hashed.y.bit(0));
            prop_assert_ne!(hashed, G1::INFINITY);
        }

        #[test]
        fn random_words_are_no_points(x: [u8; 32], y: [u8; 32]) {
            let words = G1 { x: U256::from_be_bytes(x), y: U256::from_be_bytes(y) };
            prop_assert!(words.point().is_err());
        }
    }
}
