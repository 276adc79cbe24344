//! Integers of 256 bits, arithmetic modulo p and n, and points of secp256k1 (SEC 2, section 2.4.1) in affine coordinates.
//!
//! Plain and variable in time: everything here is public. It serves the constants of the constraints and fills the trace.

use std::cmp::Ordering;

/// Sixteen-bit limbs of a 256-bit integer.
pub const LIMBS: usize = 16;

/// An integer below 2^256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct U256(pub [u64; 4]);

impl PartialOrd for U256 {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for U256 {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.iter().rev().cmp(other.0.iter().rev())
    }
}

impl U256 {
    /// 0.
    pub const ZERO: Self = Self([0; 4]);
    /// 1.
    pub const ONE: Self = Self([1, 0, 0, 0]);

    /// A small integer.
    #[must_use]
    pub const fn from_u64(value: u64) -> Self {
        Self([value, 0, 0, 0])
    }

    /// From eight words, least significant first.
    #[must_use]
    pub fn from_words(words: &[u32; 8]) -> Self {
        Self(core::array::from_fn(|i| u64::from(words[2 * i]) | u64::from(words[2 * i + 1]) << 32))
    }

    /// As eight words, least significant first.
    #[must_use]
    pub fn to_words(&self) -> [u32; 8] {
        core::array::from_fn(|i| (self.0[i / 2] >> (32 * (i % 2))) as u32)
    }

    /// As sixteen limbs of sixteen bits, least significant first.
    #[must_use]
    pub fn limbs(&self) -> [u16; LIMBS] {
        core::array::from_fn(|i| (self.0[i / 4] >> (16 * (i % 4))) as u16)
    }

    /// Bit `index`, from the least significant.
    #[must_use]
    pub const fn bit(&self, index: usize) -> bool {
        self.0[index / 64] >> (index % 64) & 1 == 1
    }

    /// The sum modulo 2^256, and whether it wrapped around.
    #[must_use]
    pub fn overflowing_add(self, other: Self) -> (Self, bool) {
        let mut carry = false;
        let sum = core::array::from_fn(|i| {
            let (sum, first) = self.0[i].overflowing_add(other.0[i]);
            let (sum, second) = sum.overflowing_add(u64::from(carry));
            carry = first | second;
            sum
        });
        (Self(sum), carry)
    }

    /// The difference modulo 2^256, and whether it wrapped around.
    #[must_use]
    pub fn overflowing_sub(self, other: Self) -> (Self, bool) {
        let mut borrow = false;
        let difference = core::array::from_fn(|i| {
            let (difference, first) = self.0[i].overflowing_sub(other.0[i]);
            let (difference, second) = difference.overflowing_sub(u64::from(borrow));
            borrow = first | second;
            difference
        });
        (Self(difference), borrow)
    }

    /// The product as eight 64-bit digits, least significant first.
    #[must_use]
    pub fn product(self, other: Self) -> [u64; 8] {
        let mut product = [0; 8];
        for (i, &left) in self.0.iter().enumerate() {
            let mut carry = 0;
            for (j, &right) in other.0.iter().enumerate() {
                let sum = u128::from(left) * u128::from(right) + u128::from(product[i + j]) + u128::from(carry);
                product[i + j] = sum as u64;
                carry = (sum >> 64) as u64;
            }
            product[i + 4] = carry;
        }
        product
    }

    /// Half of the integer, with `top` as its highest bit.
    fn half(self, top: bool) -> Self {
        Self(core::array::from_fn(|i| {
            let above = if i == 3 { u64::from(top) } else { self.0[i + 1] & 1 };
            self.0[i] >> 1 | above << 63
        }))
    }

    const fn is_even(&self) -> bool {
        self.0[0] & 1 == 0
    }
}

/// A prime 2^256 − complement with a complement of at most 129 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Modulus {
    /// The prime.
    pub value: U256,
    complement: U256,
}

/// p, over which the curve is: 2^256 − 2^32 − 977.
pub const PRIME: Modulus = Modulus {
    value: U256([0xffff_fffe_ffff_fc2f, u64::MAX, u64::MAX, u64::MAX]),
    complement: U256([0x1_0000_03d1, 0, 0, 0]),
};

/// n, the order of the curve's group.
pub const ORDER: Modulus = Modulus {
    value: U256([0xbfd2_5e8c_d036_4141, 0xbaae_dce6_af48_a03b, 0xffff_ffff_ffff_fffe, u64::MAX]),
    complement: U256([0x402d_a173_2fc9_bebf, 0x4551_2319_50b7_5fc4, 1, 0]),
};

impl Modulus {
    /// The representative below the modulus.
    #[must_use]
    pub fn reduce(&self, value: U256) -> U256 {
        // 2^256 is below twice either modulus.
        if value < self.value { value } else { value.overflowing_sub(self.value).0 }
    }

    /// The sum of two reduced integers, reduced.
    #[must_use]
    pub fn add(&self, left: U256, right: U256) -> U256 {
        let (sum, wrapped) = left.overflowing_add(right);
        if wrapped { sum.overflowing_sub(self.value).0 } else { self.reduce(sum) }
    }

    /// The difference of two reduced integers, reduced.
    #[must_use]
    pub fn sub(&self, left: U256, right: U256) -> U256 {
        let (difference, wrapped) = left.overflowing_sub(right);
        if wrapped { difference.overflowing_add(self.value).0 } else { difference }
    }

    /// The negation of a reduced integer, reduced.
    #[must_use]
    pub fn neg(&self, value: U256) -> U256 {
        self.sub(U256::ZERO, value)
    }

    /// The product, reduced.
    #[must_use]
    pub fn mul(&self, left: U256, right: U256) -> U256 {
        let digits = left.product(right);
        let split = |digits: [u64; 8]| {
            (U256(core::array::from_fn(|i| digits[i])), U256(core::array::from_fn(|i| digits[i + 4])))
        };
        let (mut low, mut high) = split(digits);
        // 2^256 ≡ complement: each turn takes at least 127 bits off the high part, and the last one leaves at most one bit.
        while high != U256::ZERO {
            let (folded, rest) = split(high.product(self.complement));
            let (sum, carry) = low.overflowing_add(folded);
            low = sum;
            high = rest.overflowing_add(U256::from_u64(u64::from(carry))).0;
        }
        self.reduce(low)
    }

    /// A power, reduced.
    #[must_use]
    pub fn pow(&self, base: U256, exponent: U256) -> U256 {
        (0..256).rev().fold(U256::ONE, |power, index| {
            let square = self.mul(power, power);
            if exponent.bit(index) { self.mul(square, base) } else { square }
        })
    }

    /// The inverse of a reduced integer; `None` for 0.
    #[must_use]
    pub fn inverse(&self, value: U256) -> Option<U256> {
        if value == U256::ZERO {
            return None;
        }
        // Invariants: left ≡ value · left_factor, right ≡ value · right_factor, and gcd(left, right) = 1.
        let (mut left, mut left_factor) = (value, U256::ONE);
        let (mut right, mut right_factor) = (self.value, U256::ZERO);
        let halve = |factor: U256| {
            if factor.is_even() {
                factor.half(false)
            } else {
                let (sum, carry) = factor.overflowing_add(self.value);
                sum.half(carry)
            }
        };
        loop {
            while left.is_even() {
                (left, left_factor) = (left.half(false), halve(left_factor));
            }
            if left == U256::ONE {
                return Some(left_factor);
            }
            while right.is_even() {
                (right, right_factor) = (right.half(false), halve(right_factor));
            }
            if right == U256::ONE {
                return Some(right_factor);
            }
            if left >= right {
                (left, left_factor) = (left.overflowing_sub(right).0, self.sub(left_factor, right_factor));
            } else {
                (right, right_factor) = (right.overflowing_sub(left).0, self.sub(right_factor, left_factor));
            }
        }
    }
}

/// A square root modulo p, if there is one.
#[must_use]
pub fn square_root(value: U256) -> Option<U256> {
    // p ≡ 3 modulo 4: the root, if any, is the power (p + 1) / 4.
    let exponent = PRIME.value.half(false).half(false).overflowing_add(U256::ONE).0;
    let root = PRIME.pow(value, exponent);
    (PRIME.mul(root, root) == value).then_some(root)
}

/// A point of the curve other than infinity, with reduced coordinates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// x.
    pub x: U256,
    /// y.
    pub y: U256,
}

/// The generator G.
pub const GENERATOR: Point = Point {
    x: U256([0x59f2_815b_16f8_1798, 0x029b_fcdb_2dce_28d9, 0x55a0_6295_ce87_0b07, 0x79be_667e_f9dc_bbac]),
    y: U256([0x9c47_d08f_fb10_d4b8, 0xfd17_b448_a685_5419, 0x5da4_fbfc_0e11_08a8, 0x483a_da77_26a3_c465]),
};

impl Point {
    /// The point with this x and a y of the given parity, if x is on the curve.
    #[must_use]
    pub fn lift(x: U256, is_odd: bool) -> Option<Self> {
        let radicand = PRIME.add(PRIME.mul(PRIME.mul(x, x), x), U256::from_u64(7));
        // No point has y = 0: the order is odd.
        square_root(radicand).map(|y| Self { x, y: if y.is_even() == is_odd { PRIME.neg(y) } else { y } })
    }

    /// −P.
    #[must_use]
    pub fn negated(self) -> Self {
        Self { y: PRIME.neg(self.y), ..self }
    }
}

/// The sum of two points, where `None` is infinity.
#[must_use]
pub fn add(left: Option<Point>, right: Option<Point>) -> Option<Point> {
    let (Some(left), Some(right)) = (left, right) else { return left.or(right) };
    let (numerator, denominator) = if left.x != right.x {
        (PRIME.sub(right.y, left.y), PRIME.sub(right.x, left.x))
    } else if left.y == right.y {
        let square = PRIME.mul(left.x, left.x);
        (PRIME.add(PRIME.add(square, square), square), PRIME.add(left.y, left.y))
    } else {
        return None;
    };
    let slope = PRIME.mul(numerator, PRIME.inverse(denominator)?);
    let x = PRIME.sub(PRIME.sub(PRIME.mul(slope, slope), left.x), right.x);
    let y = PRIME.sub(PRIME.mul(slope, PRIME.sub(left.x, x)), left.y);
    Some(Point { x, y })
}

/// A multiple of a point.
#[must_use]
pub fn multiply(scalar: U256, point: Option<Point>) -> Option<Point> {
    (0..256).rev().fold(None, |sum, index| {
        let double = add(sum, sum);
        if scalar.bit(index) { add(double, point) } else { double }
    })
}
