//! Filling the curve table.

use joule_machine::{Records, records::RecoverEvent};
use p3_field::{Field, PrimeCharacteristicRing};
use p3_matrix::dense::RowMajorMatrix;
use p3_maybe_rayon::prelude::*;

use super::{
    arithmetic::{LIMBS, ORDER, PRIME, Point, U256, square_root},
    columns::CurveColumns,
    constants::{HALF_ORDER, STARTS, Start},
    program::{Modulo, NAMES, Name, Next, Origin, Row, program},
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
        expected: Box<(u32, U256, U256)>,
        /// What is in the record.
        got: Box<(u32, U256, U256)>,
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
///
/// [`TraceError::TooManyRows`], or [`TraceError::Curve`] for a call that has no proof.
pub fn trace(recoveries: &[RecoverEvent], height: usize) -> Result<Trace, TraceError> {
    let program = program();
    if recoveries.len() > height / program.len() {
        return Err(TraceError::TooManyRows { table: "curve", rows: recoveries.len() * program.len(), height });
    }
    let calls: Vec<_> = recoveries
        .par_iter()
        .map(|event| Claim::of(event).map(|claim| claim.rows(event, &program)))
        .collect::<Result<_, CurveError>>()?;
    Ok(finish(calls.into_iter().flatten().collect(), &program, height))
}

/// Pads the rows of calls, and fills in what depends on the row before.
pub(crate) fn finish(mut rows: Vec<CurveColumns<Felt>>, program: &[Row], height: usize) -> Trace {
    // Blocks without a call, then rows without a program, which go on with what their block says.
    while rows.len() + program.len() <= height {
        rows.extend(program.iter().map(|row| idle(*row)));
    }
    let last = rows.last().copied().unwrap_or_else(zero);
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

    let before: Vec<_> = (0..height).map(|index| rows[(index + height - 1) % height].a).collect();
    let width = CurveColumns::<()>::WIDTH;
    let mut values = Felt::zero_vec(width * height);
    for ((cells, mut row), before) in values.chunks_exact_mut(width).zip(rows).zip(before) {
        row.distance = distance(before, row.a);
        if row.is_on == Felt::ONE {
            row.distance_inverse = row.distance.try_inverse().unwrap_or(Felt::ZERO);
        }
        row.write(cells);
    }
    RowMajorMatrix::new(values, width)
}

/// D · (D − p) · (D + p) for the difference D of two integers, in the field.
fn distance(left: [Felt; LIMBS], right: [Felt; LIMBS]) -> Felt {
    let difference = field_value(core::array::from_fn(|k| left[k] - right[k]));
    difference * (difference.square() - field_value(limbs(PRIME.value)).square())
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
pub(crate) struct Step {
    /// T.
    pub(crate) added: Point,
    /// A.
    pub(crate) doubled: Point,
    /// λ₁ and λ₂.
    pub(crate) slopes: [U256; 2],
    /// x of A + T.
    pub(crate) middle: U256,
    /// 2A + T.
    pub(crate) sum: Point,
}

impl Step {
    /// 2A + T; `None` where the addition is exceptional.
    pub(crate) fn new(doubled: Point, added: Point) -> Option<Self> {
        if distance(limbs(added.x), limbs(doubled.x)) == Felt::ZERO {
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
#[derive(Clone, Debug)]
pub(crate) struct Ladder {
    /// 2S + R and 2S + G + R, the ladder, and the correction if Q is finite.
    pub(crate) steps: Vec<Step>,
    /// Q.
    pub(crate) key: Option<Point>,
}

impl Ladder {
    /// `None` where some addition is exceptional.
    pub(crate) fn new(start: &Start, point: Point, u: U256, v: U256) -> Option<Self> {
        let with_point = Step::new(start.start, point)?;
        let with_both = Step::new(start.start_with_generator, point)?;
        Self::with_table(start, [with_point, with_both], u, v)
    }

    /// The same, given the steps that lead to what is added for a bit of v.
    pub(crate) fn with_table(start: &Start, [with_point, with_both]: [Step; 2], u: U256, v: U256) -> Option<Self> {
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

/// What the prover of a call says: everything that the constraints then check.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    /// The values, by name.
    pub(crate) values: [U256; NAMES],
    /// The parity.
    pub(crate) parity: u32,
    /// Is there a point R?
    pub(crate) is_liftable: bool,
    /// Which starting point.
    pub(crate) choice: usize,
    /// The steps.
    pub(crate) ladder: Ladder,
}

impl Claim {
    /// The truth about a call.
    pub(crate) fn of(event: &RecoverEvent) -> Result<Self, CurveError> {
        let clock = event.clock;
        let integer = |from: usize| U256::from_words(&core::array::from_fn(|i| event.words[from + i].after));
        let (r, s, parity) = (integer(8), integer(16), event.words[24].after);
        if r == U256::ZERO || r >= ORDER.value || s == U256::ZERO || s > HALF_ORDER || parity > 1 {
            return Err(CurveError::OutOfRange { clock, r, s, parity });
        }
        let claim = Self::about(integer(0), r, s, parity).ok_or(CurveError::Exceptional { clock })?;
        let of_key = |name: Name| claim.values[name as usize];
        let expected = (u32::from(claim.ladder.key.is_some()), of_key(Name::KeyX), of_key(Name::KeyY));
        let got = (event.words[25].after, integer(26), integer(34));
        if expected == got {
            Ok(claim)
        } else {
            Err(CurveError::WrongOutput { clock, expected: Box::new(expected), got: Box::new(got) })
        }
    }

    /// The truth about a hash, an r and an s that are not 0, and a parity. `None` where every starting point leads to an exceptional addition.
    pub(crate) fn about(hash: U256, r: U256, s: U256, parity: u32) -> Option<Self> {
        let inverse = ORDER.inverse(ORDER.reduce(r))?;
        let u = ORDER.mul(ORDER.neg(ORDER.reduce(hash)), inverse);
        let v = ORDER.mul(s, inverse);
        let square = PRIME.mul(r, r);
        let cubic = PRIME.add(PRIME.mul(square, r), U256::from_u64(7));
        let point = Point::lift(r, parity == 1);
        let sign = if point.is_some() { U256::ONE } else { PRIME.neg(U256::ONE) };
        let radicand = PRIME.mul(sign, cubic);
        // −1 is no square modulo p, so exactly one of r³ + 7 and its negation is one: neither is 0, for no point of the curve has y = 0.
        let root = match point {
            Some(point) => point.y,
            None => {
                square_root(radicand).map(|root| if root.bit(0) == (parity == 1) { root } else { PRIME.neg(root) })?
            }
        };
        let (choice, ladder) = match point {
            Some(point) => STARTS
                .iter()
                .enumerate()
                .find_map(|(index, start)| Ladder::new(start, point, u, v).map(|ladder| (index, ladder)))?,
            None => (0, Ladder { steps: Vec::new(), key: None }),
        };
        let mut claim = Self { values: [U256::ZERO; NAMES], parity, is_liftable: point.is_some(), choice, ladder };
        for (name, value) in [
            (Name::One, U256::ONE),
            (Name::Seven, U256::from_u64(7)),
            (Name::OrderLessOne, ORDER.neg(U256::ONE)),
            (Name::HalfOrder, HALF_ORDER),
            (Name::PrimeLessOne, PRIME.neg(U256::ONE)),
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
        ] {
            claim.values[name as usize] = value;
        }
        claim.name_points();
        Some(claim)
    }

    /// Gives the points of the ladder their names.
    pub(crate) fn name_points(&mut self) {
        let start = &STARTS[self.choice];
        let sum = |index: usize| self.ladder.steps.get(index).map(|step| step.sum);
        let points = [
            ([Name::KeyX, Name::KeyY], self.ladder.key),
            ([Name::NothingX, Name::NothingY], Some(start.nothing)),
            ([Name::GeneratorX, Name::GeneratorY], Some(start.generator)),
            ([Name::PointX, Name::PointY], sum(0)),
            ([Name::BothX, Name::BothY], sum(1)),
        ];
        for ([x, y], point) in points {
            self.values[x as usize] = point.map_or(U256::ZERO, |point| point.x);
            self.values[y as usize] = point.map_or(U256::ZERO, |point| point.y);
        }
    }

    /// The rows of the call. They hold wherever the claim is true.
    pub(crate) fn rows(&self, event: &RecoverEvent, program: &[Row]) -> Vec<CurveColumns<Felt>> {
        let common = CurveColumns {
            is_real: Felt::ONE,
            clock: Felt::from_u32(event.clock),
            address: Felt::from_u32(event.address),
            parity: Felt::from_u32(self.parity),
            is_liftable: Felt::from_bool(self.is_liftable),
            is_finite: Felt::from_bool(self.ladder.key.is_some()),
            choice: core::array::from_fn(|index| Felt::from_bool(index == self.choice)),
            ..zero()
        };
        let scalars = [Name::U, Name::V].map(|name| self.values[name as usize]);
        let filler = Filler { event, values: self.values, scalars, start: &STARTS[self.choice], common };
        filler.rows(program, &self.ladder)
    }
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
                Row::Constants(_, first, second) => {
                    CurveColumns { c: limbs(self.value(first)), d: limbs(self.value(second)), ..self.common }
                }
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
                    self.relation(factors, summand, result, modulo)
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
            let before = rows.len().checked_sub(1).and_then(|index| program.get(index));
            if let (Row::Step(_), Some(last), Some(&before)) = (row, rows.last(), before) {
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
            let count =
                |name: Name| if name == Name::Unused { Felt::ZERO } else { -Felt::from_u32(uses[name as usize]) };
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

    fn relation(&self, factors: [Name; 2], summand: Name, result: Name, modulo: Modulo) -> CurveColumns<Felt> {
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
            carry = sum >> 32;
            if digit + 1 < LIMBS {
                [columns.carry_low[digit], columns.carry_high[digit]] = carry_limbs(carry);
            }
        }
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

/// (left · right + summand − result) / modulus, which is exact and below 2^256 where the relation holds.
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
    quotient
}

/// A carry in [−2^31, 2^31) as two limbs.
fn carry_limbs(carry: i128) -> [Felt; 2] {
    let shifted = carry + (1 << 31);
    // Within bounds wherever the relation holds.
    [Felt::from_u16(shifted as u16), Felt::from_u16((shifted >> 16) as u16)]
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
    let (carries, _) = run(multiple);
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
