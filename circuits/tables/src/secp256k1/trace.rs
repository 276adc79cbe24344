//! Filling the curve table.

use joule_machine::{Records, records::RecoverEvent};
use p3_field::{Field, PrimeCharacteristicRing};
use p3_matrix::dense::RowMajorMatrix;
use p3_maybe_rayon::prelude::*;

use super::{
    arithmetic::{LIMBS, ORDER, PRIME, Point, U256, square_root},
    columns::CurveColumns,
    constants::{HALF_ORDER, STARTS, Start},
    program::{Constant, Modulo, NAMES, Name, Next, Origin, Row, program},
};
use crate::{Felt, check::Trace, trace::TraceError};

/// Why a call cannot be filled in. The interpreter makes no such call; a prover who was handed one learns what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CurveError {
    /// r is 0 or not below n, s is 0 or above n/2, or the parity is no bit: such a call has no proof.
    #[error("the ecrecover at clock {clock} is out of range: r = {r:x?}, s = {s:x?}, parity = {parity}")]
    OutOfRange {
        /// The clock of the call.
        clock: u32,
        /// r.
        r: U256,
        /// s.
        s: U256,
        /// The parity.
        parity: u32,
    },
    /// The sum runs into an exceptional addition from every starting point. Nobody knows how to make such a signature.
    #[error("the ecrecover at clock {clock} meets an exceptional addition from each of its starting points")]
    Exceptional {
        /// The clock of the call.
        clock: u32,
    },
    /// The record's outputs are not what its inputs give.
    #[error("the ecrecover at clock {clock} left {got:x?} in memory, and not {expected:x?}")]
    WrongOutput {
        /// The clock of the call.
        clock: u32,
        /// Status, x, y.
        expected: (u32, U256, U256),
        /// What is in the record.
        got: (u32, U256, U256),
    },
}

/// How many rows a run needs.
#[must_use]
pub fn rows(records: &Records) -> usize {
    program().len() * records.recoveries.len()
}

/// The trace of the calls, padded to `height` rows.
///
/// # Errors
/// [`TraceError::TooManyRows`], or [`TraceError::Curve`] for a call that has no proof.
pub fn trace(recoveries: &[RecoverEvent], height: usize) -> Result<Trace, TraceError> {
    let program = program();
    let blocks = height / program.len();
    if recoveries.len() > blocks {
        return Err(TraceError::TooManyRows { table: "curve", rows: recoveries.len() * program.len(), height });
    }
    let calls: Vec<_> = recoveries.par_iter().map(|event| call(event, &program)).collect::<Result<_, _>>()?;
    let mut rows: Vec<_> = calls.into_iter().flatten().collect();
    rows.reserve(height - rows.len());
    // Blocks without a call, then rows without a program, which go on with what their block says.
    while rows.len() < blocks * program.len() {
        rows.extend(program.iter().map(|row| idle(*row)));
    }
    if let Some(&last) = rows.last() {
        let rest = CurveColumns {
            is_real: last.is_real,
            clock: last.clock,
            address: last.address,
            parity: last.parity,
            is_liftable: last.is_liftable,
            is_finite: last.is_finite,
            choice: last.choice,
            ..zero()
        };
        rows.resize(height, rest);
    } else {
        rows.resize(height, zero());
    }

    let prime = field_value(PRIME.value.limbs().map(|limb| Felt::from_u16(limb)));
    for index in 0..height {
        let before = rows[(index + height - 1) % height].a;
        let row = &mut rows[index];
        let difference = field_value(core::array::from_fn(|k| before[k] - row.a[k]));
        row.distance = difference * (difference.square() - prime.square());
        if row.is_on == Felt::ONE {
            row.distance_inverse = row.distance.try_inverse().expect("the starting point was chosen for this");
        }
    }
    let width = CurveColumns::<()>::WIDTH;
    let mut values = Felt::zero_vec(width * height);
    for (slice, row) in values.chunks_exact_mut(width).zip(rows) {
        row.write(slice);
    }
    Ok(RowMajorMatrix::new(values, width))
}

fn zero() -> CurveColumns<Felt> {
    CurveColumns::read(&[Felt::ZERO; CurveColumns::<()>::WIDTH])
}

/// A row of a block without a call: carries are zero, which is 2^31 as they are written.
fn idle(row: Row) -> CurveColumns<Felt> {
    let mut columns = zero();
    if matches!(row, Row::Relation { .. }) {
        columns.carry_high = [Felt::from_u32(1 << 15); 16];
    }
    columns
}

/// Limbs as one field element: Σ limb_k · 2^(16k).
fn field_value(limbs: [Felt; LIMBS]) -> Felt {
    limbs.iter().rev().fold(Felt::ZERO, |sum, &limb| sum * Felt::from_u32(1 << 16) + limb)
}

fn limbs(value: U256) -> [Felt; LIMBS] {
    value.limbs().map(Felt::from_u16)
}

/// A step's values.
#[derive(Clone, Copy, Debug)]
struct Step {
    added: Point,
    doubled: Point,
    slopes: [U256; 2],
    middle: U256,
    sum: Point,
}

impl Step {
    /// 2A + T; `None` where the addition is exceptional.
    fn new(doubled: Point, added: Point) -> Option<Self> {
        let distance: [Felt; LIMBS] = {
            let (added, doubled) = (limbs(added.x), limbs(doubled.x));
            core::array::from_fn(|k| added[k] - doubled[k])
        };
        let distance = field_value(distance);
        let prime = field_value(limbs(PRIME.value));
        if distance * (distance.square() - prime.square()) == Felt::ZERO {
            return None;
        }
        let first = PRIME.mul(PRIME.sub(added.y, doubled.y), PRIME.inverse(PRIME.sub(added.x, doubled.x))?);
        let middle = PRIME.sub(PRIME.sub(PRIME.mul(first, first), doubled.x), added.x);
        let quotient = PRIME.mul(PRIME.add(doubled.y, doubled.y), PRIME.inverse(PRIME.sub(middle, doubled.x))?);
        let second = PRIME.neg(PRIME.add(first, quotient));
        let x = PRIME.sub(PRIME.sub(PRIME.mul(second, second), doubled.x), middle);
        let y = PRIME.sub(PRIME.mul(second, PRIME.sub(doubled.x, x)), doubled.y);
        Some(Self { added, doubled, slopes: [first, second], middle, sum: Point { x, y } })
    }
}

/// The steps of a call from one starting point.
struct Ladder {
    /// R-dependent points, the ladder, and the correction if Q is finite.
    steps: Vec<Step>,
    key: Option<Point>,
}

impl Ladder {
    /// `None` where some addition is exceptional.
    fn new(start: &Start, point: Point, u: U256, v: U256) -> Option<Self> {
        let with_point = Step::new(start.start, point)?;
        let with_both = Step::new(start.start_with_generator, point)?;
        let mut steps = vec![with_point, with_both];
        let mut sum = start.start;
        for bit in (0..256).rev() {
            let added = match (u.bit(bit), v.bit(bit)) {
                (false, false) => start.nothing,
                (true, false) => start.generator,
                (false, true) => with_point.sum,
                (true, true) => with_both.sum,
            };
            let step = Step::new(sum, added)?;
            sum = step.sum;
            steps.push(step);
        }
        if sum == start.infinity {
            return Some(Self { steps, key: None });
        }
        let step = Step::new(start.correction, sum)?;
        steps.push(step);
        Some(Self { steps, key: Some(step.sum) })
    }
}

/// The rows of a call.
fn call(event: &RecoverEvent, program: &[Row]) -> Result<Vec<CurveColumns<Felt>>, CurveError> {
    let clock = event.clock;
    let integer = |from: usize| U256::from_words(&core::array::from_fn(|i| event.words[from + i].after));
    let (hash, r, s) = (integer(0), integer(8), integer(16));
    let parity = event.words[24].after;
    if r == U256::ZERO || r >= ORDER.value || s == U256::ZERO || s > HALF_ORDER || parity > 1 {
        return Err(CurveError::OutOfRange { clock, r, s, parity });
    }

    let inverse = ORDER.inverse(r).unwrap_or(U256::ZERO);
    let u = ORDER.mul(ORDER.neg(ORDER.reduce(hash)), inverse);
    let v = ORDER.mul(s, inverse);
    let square = PRIME.mul(r, r);
    let cubic = PRIME.add(PRIME.mul(square, r), U256::from_u64(7));
    let point = Point::lift(r, parity == 1);
    let minus_one = PRIME.neg(U256::ONE);
    let sign = if point.is_some() { U256::ONE } else { minus_one };
    let radicand = PRIME.mul(sign, cubic);
    // −1 is no square, so exactly one of ±(r³ + 7) is: it is not zero, for no point of the curve has y = 0.
    let root = match point {
        Some(point) => point.y,
        None => square_root(radicand)
            .map(|root| if (root.0[0] & 1) as u32 == parity { root } else { PRIME.neg(root) })
            .ok_or(CurveError::OutOfRange { clock, r, s, parity })?,
    };
    let (choice, ladder) = match point {
        Some(point) => STARTS
            .iter()
            .enumerate()
            .find_map(|(index, start)| Ladder::new(start, point, u, v).map(|ladder| (index, ladder)))
            .ok_or(CurveError::Exceptional { clock })?,
        None => (0, Ladder { steps: Vec::new(), key: None }),
    };
    let key = ladder.key;
    let expected = (u32::from(key.is_some()), key.map_or(U256::ZERO, |key| key.x), key.map_or(U256::ZERO, |key| key.y));
    let got = (event.words[25].after, integer(26), integer(34));
    if expected != got {
        return Err(CurveError::WrongOutput { clock, expected, got });
    }

    let start = &STARTS[choice];
    let mut values = [U256::ZERO; NAMES];
    let points = |index: usize| ladder.steps.get(index).map_or((U256::ZERO, U256::ZERO), |step| (step.sum.x, step.sum.y));
    for (name, value) in [
        (Name::One, U256::ONE),
        (Name::Seven, U256::from_u64(7)),
        (Name::OrderLessOne, ORDER.value.overflowing_sub(U256::ONE).0),
        (Name::HalfOrder, HALF_ORDER),
        (Name::PrimeLessOne, minus_one),
        (Name::Sign, sign),
        (Name::Hash, hash),
        (Name::R, r),
        (Name::S, s),
        (Name::U, u),
        (Name::V, v),
        (Name::Square, square),
        (Name::Cubic, cubic),
        (Name::Radicand, radicand),
        (Name::Root, root),
        (Name::KeyX, expected.1),
        (Name::KeyY, expected.2),
        (Name::NothingX, start.nothing.x),
        (Name::NothingY, start.nothing.y),
        (Name::GeneratorX, start.generator.x),
        (Name::GeneratorY, start.generator.y),
        (Name::PointX, points(0).0),
        (Name::PointY, points(0).1),
        (Name::BothX, points(1).0),
        (Name::BothY, points(1).1),
    ] {
        values[name as usize] = value;
    }

    let common = CurveColumns {
        is_real: Felt::ONE,
        clock: Felt::from_u32(clock),
        address: Felt::from_u32(event.address),
        parity: Felt::from_u32(parity),
        is_liftable: Felt::from_bool(point.is_some()),
        is_finite: Felt::from_bool(key.is_some()),
        choice: core::array::from_fn(|index| Felt::from_bool(index == choice)),
        ..zero()
    };
    let filler = Filler { event, values, scalars: [u, v], start, common };
    Ok(filler.rows(program, &ladder))
}

struct Filler<'a> {
    event: &'a RecoverEvent,
    values: [U256; NAMES],
    scalars: [U256; 2],
    start: &'a Start,
    common: CurveColumns<Felt>,
}

impl Filler<'_> {
    fn value(&self, name: Name) -> U256 {
        self.values[name as usize]
    }

    fn rows(&self, program: &[Row], ladder: &Ladder) -> Vec<CurveColumns<Felt>> {
        let mut uses = [0_u32; NAMES];
        let mut rows: Vec<CurveColumns<Felt>> = Vec::with_capacity(program.len());
        let mut steps = ladder.steps.iter();
        let mut step: Option<&Step> = None;
        for &row in program {
            let columns = match row {
                Row::Head => self.head(&mut uses),
                Row::Constants(constant, first, second) => self.constants(constant, first, second),
                Row::Memory { value, is_output, part, .. } => {
                    if is_output && part == 0 {
                        uses[value as usize] += 1;
                    }
                    self.memory(value, is_output, part)
                }
                Row::Scalar { value, part } => CurveColumns { c: shifted(self.value(value), part), ..self.common },
                Row::Relation { factors, summand, result, defines, modulo } => {
                    for name in factors.into_iter().chain([summand]).chain((!defines).then_some(result)) {
                        uses[name as usize] += 1;
                    }
                    self.relation(factors, summand, result, defines, modulo)
                }
                Row::Load => self.adding(self.point(&mut uses)),
                Row::Step(origin) => {
                    step = steps.next();
                    let doubled = match (origin, step) {
                        (Some(origin), _) => self.origin(origin),
                        (None, Some(step)) => step.doubled,
                        (None, None) => Point { x: U256::ZERO, y: U256::ZERO },
                    };
                    let mut columns = self.adding(doubled);
                    if let Some(step) = step {
                        fill_step(&mut columns, step);
                    }
                    columns
                }
                Row::Sum { next, .. } => {
                    let sum = step.map_or(Point { x: U256::ZERO, y: U256::ZERO }, |step| step.sum);
                    let mut columns = match next {
                        Next::Point => self.adding(self.point(&mut uses)),
                        Next::Selected(bit) => self.selected(bit, &mut uses, rows.last()),
                        Next::Sum => self.adding(sum),
                        Next::Nothing => self.common,
                    };
                    (columns.c, columns.d) = (limbs(sum.x), limbs(sum.y));
                    if let Some(step) = step {
                        fill_sum(&mut columns, step);
                    }
                    columns
                }
            };
            let mut columns = columns;
            if let (Row::Step(_), Some(last), Some(&before)) = (row, rows.last(), program.get(rows.len().wrapping_sub(1))) {
                // The word that is being collected passes by.
                let goes_on = matches!(before, Row::Sum { next: Next::Selected(bit), .. } if bit % 32 != 0);
                if goes_on {
                    (columns.word_u, columns.word_v) = (last.word_u, last.word_v);
                }
            }
            rows.push(columns);
        }
        // Definitions: minus the number of uses.
        for (columns, row) in rows.iter_mut().zip(program) {
            let count = |name: Name| if name == Name::Unused { Felt::ZERO } else { -Felt::from_u32(uses[name as usize]) };
            match *row {
                Row::Constants(_, first, second) | Row::Sum { sum: [first, second], .. } => {
                    (columns.count_c, columns.count_d) = (count(first), count(second));
                }
                Row::Memory { value, is_output, part: 0, .. } => {
                    columns.count_c = if is_output { Felt::ONE } else { count(value) };
                }
                Row::Scalar { value, part: 0 } => columns.count_c = count(value),
                Row::Relation { summand, result, defines, .. } => {
                    columns.count_c = Felt::from_bool(summand != Name::Unused);
                    columns.count_d = if defines { count(result) } else { Felt::ONE };
                }
                _ => {}
            }
        }
        rows
    }

    fn head(&self, uses: &mut [u32; NAMES]) -> CurveColumns<Felt> {
        uses[Name::One as usize] += 1;
        uses[Name::Root as usize] += 1;
        let root = self.value(Name::Root);
        let mut columns = CurveColumns { a: limbs(U256::ONE), b: limbs(root), ..self.common };
        columns.c[0] = self.common.parity;
        columns.c[2] = self.common.is_finite;
        columns.carry_low[15] = Felt::from_u16(root.limbs()[0] >> 1);
        columns.old = [24, 25].map(|word| Felt::from_u32(self.event.words[word].before));
        columns
    }

    fn constants(&self, _: Constant, first: Name, second: Name) -> CurveColumns<Felt> {
        CurveColumns { c: limbs(self.value(first)), d: limbs(self.value(second)), ..self.common }
    }

    fn memory(&self, value: Name, is_output: bool, part: u32) -> CurveColumns<Felt> {
        let first_word = match (value, is_output) {
            (Name::R, _) => 8,
            (Name::S, _) => 16,
            (Name::KeyX, _) => 26,
            (Name::KeyY, _) => 34,
            _ => 0,
        } + 2 * part as usize;
        let old = [first_word, first_word + 1].map(|word| Felt::from_u32(self.event.words[word].before));
        CurveColumns { c: shifted(self.value(value), part), old, ..self.common }
    }

    fn relation(
        &self,
        factors: [Name; 2],
        summand: Name,
        result: Name,
        _defines: bool,
        modulo: Modulo,
    ) -> CurveColumns<Felt> {
        let [left, right] = factors.map(|name| self.value(name));
        let result = self.value(result);
        let (modulus, summand) = match modulo {
            // Room up to the limit: c = d − a · b, where a is 1.
            Modulo::Nothing => (None, result.overflowing_sub(right).0),
            Modulo::Prime => (Some(PRIME.value), self.value(summand)),
            Modulo::Order => (Some(ORDER.value), self.value(summand)),
        };
        let quotient = modulus.map_or(U256::ZERO, |modulus| quotient(left, right, summand, result, modulus));
        let mut columns = CurveColumns {
            a: limbs(left),
            b: limbs(right),
            q: limbs(quotient),
            c: limbs(summand),
            d: limbs(result),
            ..self.common
        };
        let signed = |value: U256| value.limbs().map(i128::from);
        let product = convolve(signed(left), signed(right));
        let multiple = convolve(signed(quotient), signed(modulus.unwrap_or(U256::ZERO)));
        let (summand, result) = (signed(summand), signed(result));
        let mut carry = 0;
        for digit in 0..LIMBS {
            let coefficient = |k: usize| {
                let products = product.get(k).zip(multiple.get(k)).map_or(0, |(product, multiple)| product - multiple);
                products + summand.get(k).zip(result.get(k)).map_or(0, |(summand, result)| summand - result)
            };
            let sum = coefficient(2 * digit) + (coefficient(2 * digit + 1) << 16) + carry;
            debug_assert_eq!(sum & 0xffff_ffff, 0, "the relation holds");
            carry = sum >> 32;
            if digit + 1 < LIMBS {
                [columns.carry_low[digit], columns.carry_high[digit]] = carry_limbs(carry);
            }
        }
        debug_assert_eq!(carry, 0, "the relation holds");
        // The last pair is no carry of a relation; any limbs will do.
        columns
    }

    fn origin(&self, origin: Origin) -> Point {
        match origin {
            Origin::Start => self.start.start,
            Origin::StartWithGenerator => self.start.start_with_generator,
            Origin::Correction => self.start.correction,
        }
    }

    fn adding(&self, point: Point) -> CurveColumns<Felt> {
        CurveColumns { a: limbs(point.x), b: limbs(point.y), ..self.common }
    }

    fn point(&self, uses: &mut [u32; NAMES]) -> Point {
        uses[Name::R as usize] += 1;
        uses[Name::Root as usize] += 1;
        Point { x: self.value(Name::R), y: self.value(Name::Root) }
    }

    fn selected(&self, bit: u8, uses: &mut [u32; NAMES], last: Option<&CurveColumns<Felt>>) -> CurveColumns<Felt> {
        let [bit_u, bit_v] = self.scalars.map(|scalar| scalar.bit(usize::from(bit)));
        let name = Name::NothingX as usize + 2 * usize::from(bit_u) + 4 * usize::from(bit_v);
        uses[name] += 1;
        uses[name + 1] += 1;
        let mut columns = self.adding(Point { x: self.values[name], y: self.values[name + 1] });
        (columns.bit_u, columns.bit_v) = (Felt::from_bool(bit_u), Felt::from_bool(bit_v));
        let (word_u, word_v) = last.map_or((Felt::ZERO, Felt::ZERO), |last| (last.word_u, last.word_v));
        (columns.word_u, columns.word_v) = (word_u.double() + columns.bit_u, word_v.double() + columns.bit_v);
        columns
    }
}

/// A value's limbs without the lowest 4 · `part`.
fn shifted(value: U256, part: u32) -> [Felt; LIMBS] {
    let limbs = limbs(value);
    core::array::from_fn(|k| limbs.get(k + 4 * part as usize).copied().unwrap_or(Felt::ZERO))
}

/// (left · right + summand − result) / modulus, which is exact and below 2^256.
fn quotient(left: U256, right: U256, summand: U256, result: U256, modulus: U256) -> U256 {
    let mut digits = left.product(right);
    let accumulate = |digits: &mut [u64; 8], value: U256, subtract: bool| {
        let mut carry = false;
        for (i, digit) in digits.iter_mut().enumerate() {
            let other = value.0.get(i).copied().unwrap_or(0);
            let step = if subtract { u64::overflowing_sub } else { u64::overflowing_add };
            let (sum, first) = step(*digit, other);
            let (sum, second) = step(sum, u64::from(carry));
            *digit = sum;
            carry = first | second;
        }
    };
    accumulate(&mut digits, summand, false);
    accumulate(&mut digits, result, true);
    // Long division, bit by bit from the top: the remainder stays below the modulus.
    let mut remainder = U256::ZERO;
    let mut quotient = U256::ZERO;
    for index in (0..512).rev() {
        let bit = digits[index / 64] >> (index % 64) & 1;
        let top = remainder.bit(255);
        remainder = remainder.overflowing_add(remainder).0.overflowing_add(U256::from_u64(bit)).0;
        let fits = top || remainder >= modulus;
        if fits {
            remainder = remainder.overflowing_sub(modulus).0;
        }
        quotient = quotient.overflowing_add(quotient).0.overflowing_add(U256::from_u64(u64::from(fits))).0;
    }
    debug_assert_eq!(remainder, U256::ZERO, "the relation holds");
    quotient
}

/// A carry in [−2^31, 2^31) as two limbs.
fn carry_limbs(carry: i128) -> [Felt; 2] {
    let shifted = carry + (1 << 31);
    debug_assert!((0..1 << 32).contains(&shifted), "a carry of {carry} is out of bounds");
    [Felt::from_u64(shifted as u64 & 0xffff), Felt::from_u64(shifted as u64 >> 16)]
}

fn convolve(left: [i128; LIMBS], right: [i128; LIMBS]) -> [i128; 2 * LIMBS - 1] {
    let mut product = [0; 2 * LIMBS - 1];
    for (i, left) in left.into_iter().enumerate() {
        for (j, right) in right.into_iter().enumerate() {
            product[i + j] += left * right;
        }
    }
    product
}

/// The carries of Σ coefficient_k · 2^(16k) + linear, divisible by p; low limbs, then high limbs. The last carry is the multiple of p.
fn carries(product: [i128; 2 * LIMBS - 1], linear: [i128; LIMBS]) -> ([Felt; 8], [Felt; 8]) {
    let mut folded: [i128; LIMBS] = core::array::from_fn(|k| product[k] + linear[k]);
    for (k, high) in product.into_iter().skip(LIMBS).enumerate() {
        folded[k] += 977 * high;
        folded[(k + 2) % LIMBS] += high;
        if k + 2 >= LIMBS {
            // 2^256 · 2^(16 (k + 2 − 16)): the highest coefficient, folded once more.
            folded[0] += 976 * high;
            folded[2] += high;
        }
    }
    let run = |multiple: i128| {
        let mut carry = 0;
        let mut digits = [0; 8];
        let carries: [i128; 8] = core::array::from_fn(|digit| {
            let extra = [977 * multiple, multiple].get(digit).copied().unwrap_or(0);
            let sum = folded[2 * digit] + (folded[2 * digit + 1] << 16) + carry + extra;
            digits[digit] = sum & 0xffff_ffff;
            carry = sum >> 32;
            carry
        });
        (carries, digits)
    };
    // The sum is m · 2^256 − m · (2^32 + 977): the multiple is the nearest integer to its part above 2^256.
    let (rough, digits) = run(0);
    let multiple = rough[7] + i128::from(digits[7] >= 1 << 31);
    let (carries, digits) = run(multiple);
    debug_assert_eq!((digits, carries[7]), ([0; 8], multiple), "the sum is divisible by p");
    let limbs = carries.map(carry_limbs);
    (limbs.map(|[low, _]| low), limbs.map(|[_, high]| high))
}

fn signed(value: U256) -> [i128; LIMBS] {
    value.limbs().map(i128::from)
}

fn combine(left: U256, right: U256, combine: impl Fn(i128, i128) -> i128) -> [i128; LIMBS] {
    let (left, right) = (signed(left), signed(right));
    core::array::from_fn(|k| combine(left[k], right[k]))
}

fn join<const N: usize>(first: [Felt; 8], second: [Felt; 8]) -> [Felt; N] {
    core::array::from_fn(|k| if k < 8 { first[k] } else { second[k - 8] })
}

/// The first half of a step.
fn fill_step(columns: &mut CurveColumns<Felt>, step: &Step) {
    let Step { added, doubled, slopes: [first, second], middle, .. } = *step;
    columns.is_on = Felt::ONE;
    columns.q = limbs(first);
    columns.c = limbs(middle);
    let minus = |left, right| combine(left, right, |left, right| left - right);
    let slope = carries(convolve(signed(first), minus(added.x, doubled.x)), minus(doubled.y, added.y));
    let [a, b, c] = [added.x, doubled.x, middle].map(signed);
    let square = carries(convolve(signed(first), signed(first)), core::array::from_fn(|k| -(a[k] + b[k] + c[k])));
    columns.carry_low = join(slope.0, square.0);
    columns.carry_high = join(slope.1, square.1);
    let slopes = combine(first, second, |left, right| left + right);
    let third = carries(convolve(slopes, minus(middle, doubled.x)), signed(doubled.y).map(|limb| 2 * limb));
    columns.d = join(third.0, third.1);
}

/// The second half of a step.
fn fill_sum(columns: &mut CurveColumns<Felt>, step: &Step) {
    let Step { doubled, slopes: [_, second], middle, sum, .. } = *step;
    columns.q = limbs(second);
    let [a, b, c] = [doubled.x, middle, sum.x].map(signed);
    let square = carries(convolve(signed(second), signed(second)), core::array::from_fn(|k| -(a[k] + b[k] + c[k])));
    let across = combine(doubled.x, sum.x, |left, right| left - right);
    let [a, b] = [doubled.y, sum.y].map(signed);
    let fifth = carries(convolve(signed(second), across), core::array::from_fn(|k| -(a[k] + b[k])));
    columns.carry_low = join(square.0, fifth.0);
    columns.carry_high = join(square.1, fifth.1);
}
