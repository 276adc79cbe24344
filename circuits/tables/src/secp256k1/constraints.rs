//! What the rows of the curve table must satisfy.

use joule_machine::layout::{CALL_ECRECOVER, SLOT_PRECOMPILE};
use p3_air::{Air, BaseAir, WindowAccess};
use p3_field::{Dup, PrimeCharacteristicRing};
use p3_lookup::Count;
use p3_matrix::dense::RowMajorMatrix;

use super::{
    arithmetic::{LIMBS, ORDER, PRIME, Point, U256},
    columns::{CurveColumns, ProgramColumns},
    constants::{HALF_ORDER, STARTS, Start},
    program::{Constant, Origin, preprocessed},
};
use crate::{
    Felt,
    builder::TableBuilder,
    buses::{self, CURVE_VALUE, CURVE_WORD, TRANSFER},
};

/// The curve table, of a fixed height: its program is preprocessed.
#[derive(Clone, Copy, Debug)]
pub struct Curve {
    /// How many rows it has.
    pub height: usize,
}

impl BaseAir<Felt> for Curve {
    fn width(&self) -> usize {
        CurveColumns::<()>::WIDTH
    }

    fn preprocessed_width(&self) -> usize {
        ProgramColumns::<()>::WIDTH
    }

    fn preprocessed_trace(&self) -> Option<RowMajorMatrix<Felt>> {
        Some(preprocessed(self.height))
    }
}

impl<AB: TableBuilder> Air<AB> for Curve {
    fn eval(&self, builder: &mut AB) {
        let main = builder.main();
        let row = CurveColumns::read(main.current_slice());
        let next = CurveColumns::read(main.next_slice());
        let fixed = builder.preprocessed().clone();
        let does = ProgramColumns::read(fixed.current_slice());
        let then = ProgramColumns::read(fixed.next_slice());

        call(builder, &row, &next, &does, &then);
        values(builder, &row, &next, &does);
        relation(builder, &row, &does);
        ladder(builder, &row, &next, &does, &then);
        steps(builder, &row, &next);
        messages(builder, &row, &does);
    }
}

type Row<AB> = CurveColumns<<AB as p3_air::AirBuilder>::Var>;
type Program<AB> = ProgramColumns<<AB as p3_air::AirBuilder>::Var>;

/// What a block of rows says about its call.
#[inline(never)]
fn call<AB: TableBuilder>(builder: &mut AB, row: &Row<AB>, next: &Row<AB>, does: &Program<AB>, then: &Program<AB>) {
    let flags = [row.is_real, row.parity, row.is_liftable, row.is_finite, row.bit_u, row.bit_v];
    for flag in flags.into_iter().chain(row.choice) {
        builder.assert_bool_named(flag, "K1 flags are bits");
    }
    let chosen = row.choice.iter().map(|&choice| choice.into()).sum::<AB::Expr>();
    builder.assert_zero_named(chosen - row.is_real, "K2 a call has one starting point");
    builder.assert_zero_named(row.is_finite * (AB::Expr::ONE - row.is_liftable), "K3 no key without a point R");
    // A head is the first row of the trace as well, so this needs no transition selector.
    let within = AB::Expr::ONE - then.is_head;
    let held = [
        (row.is_real, next.is_real),
        (row.clock, next.clock),
        (row.address, next.address),
        (row.parity, next.parity),
        (row.is_liftable, next.is_liftable),
        (row.is_finite, next.is_finite),
    ];
    for (this, that) in held.into_iter().chain(row.choice.into_iter().zip(next.choice)) {
        builder.assert_zero_named(within.clone() * (that - this), "K4 a block is about one call");
    }
    builder.assert_zero_named(does.is_head * (row.c[0] - row.parity), "K5 the parity is the word in memory");
    builder.assert_zero_named(does.is_head * (row.old[0] - row.parity), "K5 the parity stays what it was");
    builder.assert_zero_named(does.is_head * row.c[1], "K5 the parity has no high limb");
    builder.assert_zero_named(does.is_head * (row.c[2] - row.is_finite), "K6 the status is whether Q is finite");
    builder.assert_zero_named(does.is_head * row.c[3], "K6 the status has no high limb");
    // b is the root of the radicand here, in limbs below 2^16, and the half is one too: 2 · half + parity does not wrap.
    builder.assert_zero_named(
        does.is_head * (row.b[0] - row.carry_low[15].into().double() - row.parity),
        "K7 R.y is of the parity asked for",
    );
}

/// The values in c and d: defined once, used as they were defined.
#[inline(never)]
fn values<AB: TableBuilder>(builder: &mut AB, row: &Row<AB>, next: &Row<AB>, does: &Program<AB>) {
    for (uses, count) in [(does.uses_c, row.count_c), (does.uses_d, row.count_d)] {
        builder.assert_zero_named(uses * (count - row.is_real), "K8 a row that uses a value does not define it");
        // Or a block without a call could define the values of another's.
        builder.assert_zero_named(count * (AB::Expr::ONE - row.is_real), "K9 only a call defines values");
    }

    let fixed = |value: U256| value.limbs().map(|limb| row.is_real * Felt::from_u16(limb));
    let less_one = |value: U256| value.overflowing_sub(U256::ONE).0;
    // 1 where there is a point R, p − 1 where not.
    let minus_one = less_one(PRIME.value).limbs();
    let sign = core::array::from_fn::<AB::Expr, LIMBS, _>(|k| {
        let plus = row.is_liftable * Felt::from_bool(k == 0);
        plus + (row.is_real - row.is_liftable) * Felt::from_u16(minus_one[k])
    });
    let [nothing_x, nothing_y] = chosen::<AB>(row, |start| start.nothing);
    let [generator_x, generator_y] = chosen::<AB>(row, |start| start.generator);
    let constants = [
        (Constant::Nothing, nothing_x, Some(nothing_y)),
        (Constant::Generator, generator_x, Some(generator_y)),
        (Constant::Units, fixed(U256::ONE), Some(fixed(U256::ZERO))),
        (Constant::SevenAndOrder, fixed(U256::from_u64(7)), Some(fixed(less_one(ORDER.value)))),
        (Constant::HalfAndPrime, fixed(HALF_ORDER), Some(fixed(less_one(PRIME.value)))),
        (Constant::SignAndRoot, sign, None),
    ];
    for (constant, first, second) in constants {
        let is_here = does.constants[constant as usize];
        for (limb, expected) in row.c.into_iter().zip(first) {
            builder.assert_zero_named(is_here * (expected - limb), "K10 constants are what they are");
        }
        for (limb, expected) in row.d.into_iter().zip(second.into_iter().flatten()) {
            builder.assert_zero_named(is_here * (expected - limb), "K10 constants are what they are");
        }
    }

    for k in 0..LIMBS - 4 {
        builder.assert_zero_named(does.shifts * (next.c[k] - row.c[k + 4]), "K11 the next two words move down");
    }
    for (half, old) in row.old.into_iter().enumerate() {
        builder.assert_zero_named(does.is_input * (word::<AB>(row, half) - old), "K12 inputs stay as they are");
    }
}

/// a · b + c = d + q · modulus, as integers.
#[inline(never)]
fn relation<AB: TableBuilder>(builder: &mut AB, row: &Row<AB>, does: &Program<AB>) {
    let product = convolve(&row.a.map(Into::into), &row.b.map(Into::into));
    let (prime, order) = (PRIME.value.limbs(), ORDER.value.limbs());
    let modulus = core::array::from_fn::<AB::Expr, LIMBS, _>(|k| {
        does.modulo_prime * Felt::from_u16(prime[k]) + does.modulo_order * Felt::from_u16(order[k])
    });
    let multiple = convolve(&row.q.map(Into::into), &modulus);
    let coefficient = |k: usize| {
        let mut coefficient = AB::Expr::ZERO;
        if let (Some(product), Some(multiple)) = (product.get(k), multiple.get(k)) {
            coefficient += product.clone() - multiple.clone();
        }
        if k < LIMBS {
            coefficient += row.c[k] - row.d[k];
        }
        coefficient
    };
    // Digits of 32 bits. Both products have at most 16 terms below 2^32 at a place, so two places make less than 2^53 in magnitude; a carry
    // is in [−2^31, 2^31). With 2^32 times a carry all of it stays below 2^63 + 2^54 < p in magnitude: no equation wraps.
    for digit in 0..LIMBS {
        let mut sum = coefficient(2 * digit) + coefficient(2 * digit + 1) * Felt::from_u32(1 << 16);
        if digit > 0 {
            sum += carry::<AB>(row.carry_low[digit - 1], row.carry_high[digit - 1]);
        }
        if digit + 1 < LIMBS {
            sum -= carry::<AB>(row.carry_low[digit], row.carry_high[digit]) * Felt::from_u64(1 << 32);
        }
        builder.assert_zero_named(does.relates * sum, "K13 a · b + c = d + q · modulus");
    }
}

/// Which point is doubled and which is added, from the origin to the key.
#[inline(never)]
fn ladder<AB: TableBuilder>(builder: &mut AB, row: &Row<AB>, next: &Row<AB>, does: &Program<AB>, then: &Program<AB>) {
    let correction = Origin::Correction as usize;
    // All steps need a point R; the last one, which undoes the starting point, needs Q to be finite.
    let is_on = does.is_step * (does.origins[correction] * (row.is_finite - row.is_liftable) + row.is_liftable);
    builder.assert_zero_named(is_on - row.is_on, "K14 steps are made where they make sense");

    let origins = [
        (Origin::Start, chosen::<AB>(row, |start| start.start)),
        (Origin::StartWithGenerator, chosen::<AB>(row, |start| start.start_with_generator)),
        (Origin::Correction, chosen::<AB>(row, |start| start.correction)),
    ];
    for (origin, point) in origins {
        for (cell, expected) in row.a.into_iter().chain(row.b).zip(point.into_iter().flatten()) {
            builder.assert_zero_named(
                does.origins[origin as usize] * (expected - cell),
                "K15 a run of steps starts from its origin",
            );
        }
    }
    // A row that selects is followed by the step that adds what is selected. Only the ladder's first step starts afresh.
    let goes_on = does.selects * (AB::Expr::ONE - then.origins[Origin::Start as usize]);
    // The row between the ladder and the correction.
    let is_end = then.origins[correction];
    let sums = row.c.into_iter().chain(row.d);
    let points = row.a.into_iter().chain(row.b).zip(next.a.into_iter().chain(next.b));
    let infinity = chosen::<AB>(row, |start| start.infinity).into_iter().flatten();
    for ((sum, (this, that)), expected) in sums.zip(points).zip(infinity) {
        builder.assert_zero_named(goes_on.clone() * (that - sum), "K16 the next step doubles this sum");
        builder.assert_zero_named(is_end * (this - sum), "K17 the correction adds the ladder's end");
        builder.assert_zero_named(
            is_end * (row.is_liftable - row.is_finite) * (expected - sum),
            "K18 Q is infinity only if the ladder ends with a multiple of its start",
        );
    }
    for coordinate in next.c.into_iter().chain(next.d) {
        builder.assert_zero_named(
            does.origins[correction] * (AB::Expr::ONE - row.is_finite) * coordinate,
            "K19 without a key its coordinates are zero",
        );
    }

    for (bit, next_bit, word, next_word) in
        [(row.bit_u, next.bit_u, row.word_u, next.word_u), (row.bit_v, next.bit_v, row.word_v, next.word_v)]
    {
        builder.assert_zero_named((AB::Expr::ONE - does.selects) * bit, "K20 bits are where points are selected");
        builder.assert_zero_named(
            then.selects * (word.into().double() + next_bit - next_word),
            "K21 a bit is appended to the word",
        );
        builder.assert_zero_named(
            then.is_step * ((does.selects - does.ends_word) * word - next_word),
            "K22 a complete word makes room",
        );
    }
}

/// A step: from A = (a, b) of the step's row and T = (a, b) of the row before it to 2A + T, by way of A + T. See the README for the five
/// relations. All are modulo p; W, the sum of the magnitudes of the products' terms in units of a product of two limbs, is at most 2.
#[inline(never)]
fn steps<AB: TableBuilder>(builder: &mut AB, row: &Row<AB>, next: &Row<AB>) {
    let expressions = |limbs: [AB::Var; LIMBS]| limbs.map(Into::<AB::Expr>::into);
    let difference = |left: [AB::Var; LIMBS], right: [AB::Var; LIMBS]| {
        core::array::from_fn::<AB::Expr, LIMBS, _>(|k| left[k] - right[k])
    };
    let half = |cells: [AB::Var; LIMBS], from: usize| core::array::from_fn::<AB::Var, 8, _>(|k| cells[from + k]);

    // The row before a step, and the step.
    let (slope, is_on) = (expressions(next.q), next.is_on);
    let first = convolve(&slope, &difference(row.a, next.a));
    let first = linear::<AB>(first, |k| next.b[k] - row.b[k]);
    let carries = (half(next.carry_low, 0), half(next.carry_high, 0));
    assert_divisible(builder, is_on, first, carries, "K23 λ₁ · (T.x − A.x) = T.y − A.y");
    let second = linear::<AB>(convolve(&slope, &slope), |k| -(row.a[k] + next.a[k] + next.c[k]));
    let carries = (half(next.carry_low, 8), half(next.carry_high, 8));
    assert_divisible(builder, is_on, second, carries, "K24 λ₁² = T.x + A.x + M.x");

    // As integers, T.x − A.x is in (−2^256, 2^256) and divisible by p only if it is 0, p or −p. Then D is 0, p or −p in the field too, and the
    // distance is 0. An honest prover who meets a distance of 0 chooses another starting point.
    let distance =
        (0..LIMBS).rev().fold(AB::Expr::ZERO, |sum, k| sum * Felt::from_u32(1 << 16) + (row.a[k] - next.a[k]));
    let prime = PRIME
        .value
        .limbs()
        .iter()
        .rev()
        .fold(Felt::ZERO, |sum, &limb| sum * Felt::from_u32(1 << 16) + Felt::from_u16(limb));
    builder.assert_zero_named(
        distance.dup() * (distance.square() - AB::Expr::from(prime.square())) - next.distance,
        "K25 the distance is that of T.x and A.x",
    );
    builder.assert_zero_named(
        row.is_on * (AB::Expr::ONE - row.distance * row.distance_inverse),
        "K26 T.x and A.x differ modulo p",
    );

    // The step, and the row after.
    let is_on = row.is_on;
    let sum_of_slopes: [AB::Expr; LIMBS] = core::array::from_fn(|k| row.q[k] + next.q[k]);
    let third = linear::<AB>(convolve(&sum_of_slopes, &difference(row.c, row.a)), |k| row.b[k].into().double());
    let carries = (half(row.d, 0), half(row.d, 8));
    assert_divisible(builder, is_on, third, carries, "K27 (λ₁ + λ₂) · (M.x − A.x) = −2 · A.y");
    let slope = expressions(next.q);
    let fourth = linear::<AB>(convolve(&slope, &slope), |k| -(row.a[k] + row.c[k] + next.c[k]));
    let carries = (half(next.carry_low, 0), half(next.carry_high, 0));
    assert_divisible(builder, is_on, fourth, carries, "K28 λ₂² = A.x + M.x + x");
    let fifth = linear::<AB>(convolve(&slope, &difference(row.a, next.c)), |k| -(row.b[k] + next.d[k]));
    let carries = (half(next.carry_low, 8), half(next.carry_high, 8));
    assert_divisible(builder, is_on, fifth, carries, "K29 λ₂ · (A.x − x) = A.y + y");
}

/// What the row says on the buses.
#[inline(never)]
fn messages<AB: TableBuilder>(builder: &mut AB, row: &Row<AB>, does: &Program<AB>) {
    let is_real: AB::Expr = row.is_real.into();
    let checked = row.q.into_iter().chain(row.c).chain(row.d).chain(row.carry_low).chain(row.carry_high);
    for cell in checked {
        buses::check_limb(builder, cell, row.is_real);
    }

    // Both scalars' bits choose among the four points that a step may add; their names follow each other.
    let selected = (row.bit_u + row.bit_v.into().double()).double();
    let uses_ab = does.uses_ab * row.is_real;
    let named = [
        (does.name_a + selected.clone(), row.a, uses_ab.clone()),
        (does.name_b + selected, row.b, uses_ab),
        (does.name_c.into(), row.c, row.count_c.into()),
        (does.name_d.into(), row.d, row.count_d.into()),
    ];
    for (name, limbs, count) in named {
        let message = [row.clock.into(), name].into_iter().chain(limbs.map(Into::into));
        // Uses are counted once; a definition is on the provided side.
        builder.push_interaction(CURVE_VALUE.name, message, Count::bounded(count, 1));
    }
    for half in 0..2 {
        let position = does.index + AB::Expr::from_usize(half);
        CURVE_WORD.send(builder, [row.clock.into(), position, word::<AB>(row, half)], does.is_scalar * row.is_real);
    }
    for (scalar, word) in [row.word_u, row.word_v].into_iter().enumerate() {
        let position = does.index + AB::Expr::from_usize(8 * scalar);
        CURVE_WORD.receive(builder, [row.clock.into(), position, word.into()], does.ends_word * row.is_real);
    }

    TRANSFER.send(
        builder,
        [
            row.clock + AB::Expr::from_u32(SLOT_PRECOMPILE),
            row.address + does.index,
            AB::Expr::ONE,
            AB::Expr::ZERO,
            row.old[0].into(),
            row.old[1].into(),
            word::<AB>(row, 0),
            word::<AB>(row, 1),
        ],
        (does.is_input + does.is_output) * is_real.clone(),
    );
    buses::take_call(builder, CALL_ECRECOVER, row.address, row.clock, does.is_head * is_real);
}

/// One of the two low words of c.
fn word<AB: TableBuilder>(row: &Row<AB>, half: usize) -> AB::Expr {
    row.c[2 * half] + row.c[2 * half + 1] * Felt::from_u32(1 << 16)
}

/// The limbs of a point that belongs to the starting point chosen; zeros without a call.
fn chosen<AB: TableBuilder>(row: &Row<AB>, point: impl Fn(&Start) -> Point) -> [[AB::Expr; LIMBS]; 2] {
    let limbs = STARTS.each_ref().map(|start| [point(start).x.limbs(), point(start).y.limbs()]);
    core::array::from_fn(|coordinate| {
        core::array::from_fn(|k| {
            let choices = row.choice.iter().zip(&limbs);
            choices.map(|(&choice, point)| choice * Felt::from_u16(point[coordinate][k])).sum()
        })
    })
}

/// A carry in [−2^31, 2^31), given that its limbs are below 2^16.
fn carry<AB: TableBuilder>(low: AB::Var, high: AB::Var) -> AB::Expr {
    high * Felt::from_u32(1 << 16) + low - AB::Expr::from_u32(1 << 31)
}

/// The coefficients of the product of two polynomials in 2^16.
///
/// Never inlined, and of slices: unrolled into each of its six callers for each kind of builder, it would take the compiler a minute.
#[inline(never)]
fn convolve<E: PrimeCharacteristicRing>(left: &[E], right: &[E]) -> [E; 2 * LIMBS - 1] {
    let mut product = core::array::from_fn(|_| E::ZERO);
    for (i, left) in left.iter().enumerate() {
        for (sum, right) in product[i..].iter_mut().zip(right) {
            *sum += left.dup() * right.dup();
        }
    }
    product
}

/// Adds a linear term to the low coefficients of a product, and folds the high ones: modulo p, 2^256 ≡ 2^32 + 977.
fn linear<AB: TableBuilder>(product: [AB::Expr; 2 * LIMBS - 1], term: impl Fn(usize) -> AB::Expr) -> [AB::Expr; LIMBS] {
    let mut folded: [AB::Expr; LIMBS] = core::array::from_fn(|k| product[k].dup() + term(k));
    for (k, high) in product.into_iter().skip(LIMBS).enumerate() {
        folded[k] += high.dup() * Felt::from_u32(977);
        if k + 2 < LIMBS {
            folded[k + 2] += high;
        } else {
            // The highest coefficient lands on 2^256 once more.
            folded[0] += high.dup() * Felt::from_u32(977);
            folded[2] += high;
        }
    }
    folded
}

/// Asserts that Σ coefficient_k · 2^(16k) is divisible by p, as integers, where `gate` is 1.
///
/// It is divisible if it equals m · p = m · 2^256 − m · (2^32 + 977) for some m. Digits of 32 bits, two coefficients each, with m · 977 added to the
/// first and m to the second, then carry into each other and leave m · 2^256: m is the last carry.
///
/// No digit wraps modulo the field's order. With limbs below L = 2^16, coefficient 0 is at most (1 + 977 · 16) · L² and coefficient 1 at most (2 + 977 ·
/// 14) · L² in units of W; as 2^16 times the second they make less than 13,681 · 2^48 · W < 3.8509 · 10^18 · W, the most of all digits.
/// With W ≤ 2 that is 7.702 · 10^18; a carry times 2^32 is at most 2^63 < 9.224 · 10^18; carry in, 977 · m and the linear terms stay below
/// 2^42. The sum is below 1.693 · 10^19, and p is 1.844 · 10^19. An honest carry is at most the digit over 2^32, below 2^30.75.
#[inline(never)]
fn assert_divisible<AB: TableBuilder>(
    builder: &mut AB,
    gate: AB::Var,
    coefficients: [AB::Expr; LIMBS],
    (low, high): ([AB::Var; 8], [AB::Var; 8]),
    name: &'static str,
) {
    let carries: [AB::Expr; 8] = core::array::from_fn(|digit| carry::<AB>(low[digit], high[digit]));
    for digit in 0..8 {
        let mut sum = coefficients[2 * digit].dup() + coefficients[2 * digit + 1].dup() * Felt::from_u32(1 << 16);
        match digit {
            0 => sum += carries[7].dup() * Felt::from_u32(977),
            1 => sum += carries[7].dup() + carries[0].dup(),
            _ => sum += carries[digit - 1].dup(),
        }
        sum -= carries[digit].dup() * Felt::from_u64(1 << 32);
        builder.assert_zero_named(sum * gate, name);
    }
}
