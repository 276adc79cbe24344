//! The numbers and points that the constraints know.
//!
//! The points come from their definitions, at first use: there is no table of numbers to trust.

use std::sync::LazyLock;

use super::arithmetic::{GENERATOR, ORDER, PRIME, Point, U256, add, multiply};

/// How many starting points there are to choose from.
pub const CHOICES: usize = 4;

/// What a choice of starting point S means. The ladder starts with S, adds 2S + t in each step (t being 0, G, R or G + R), and so ends with
/// offset · S + u·G + v·R, where offset = 3 · 2^256 − 2.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// S, where the ladder starts.
    pub start: Point,
    /// S + G/2: twice this and R is what the ladder adds for both scalars' bits.
    pub start_with_generator: Point,
    /// −offset/2 · S: twice this and the ladder's end is u·G + v·R.
    pub correction: Point,
    /// 2S: what the ladder adds for no bit.
    pub nothing: Point,
    /// 2S + G: what the ladder adds for a bit of u alone.
    pub generator: Point,
    /// offset · S: the ladder's end if u·G + v·R is infinity.
    pub infinity: Point,
}

/// The choices. The points S are nothing up anybody's sleeve: x is the first on the curve from a line of text on, y is even.
pub static STARTS: LazyLock<[Start; CHOICES]> = LazyLock::new(|| core::array::from_fn(|index| start(index as u8)));

/// (n − 1) / 2, the largest s.
pub const HALF_ORDER: U256 = U256([0xdfe9_2f46_681b_20a0, 0x5d57_6e73_57a4_501d, u64::MAX, 0x7fff_ffff_ffff_ffff]);

fn start(index: u8) -> Start {
    let mut text = *b"Joule secp256k1 start point 1\0\0\0";
    text[28] += index;
    let digit = |i: usize| u64::from_be_bytes(core::array::from_fn(|byte| text[8 * i + byte]));
    let mut x = U256([digit(3), digit(2), digit(1), digit(0)]);
    let start = loop {
        match Point::lift(x, false) {
            Some(point) => break point,
            None => x = PRIME.add(x, U256::ONE),
        }
    };
    let half = ORDER.inverse(U256::from_u64(2)).expect("n is odd");
    // 3 · 2^256 − 2 modulo n, where 2^256 ≡ 2^256 − n.
    let power = U256::ZERO.overflowing_sub(ORDER.value).0;
    let offset = ORDER.sub(ORDER.add(ORDER.add(power, power), power), U256::from_u64(2));
    let finite = |point: Option<Point>| {
        point.expect("S and G are unrelated, as far as anybody knows, so no such sum is infinity")
    };
    let times = |scalar: U256| finite(multiply(scalar, Some(start)));
    let with_generator = |point: Point, scalar: U256| finite(add(Some(point), multiply(scalar, Some(GENERATOR))));
    let nothing = times(U256::from_u64(2));
    Start {
        start,
        start_with_generator: with_generator(start, half),
        correction: times(ORDER.neg(ORDER.mul(offset, half))),
        nothing,
        generator: with_generator(nothing, U256::ONE),
        infinity: times(offset),
    }
}
