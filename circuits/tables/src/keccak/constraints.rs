//! What the rows of the keccak table must satisfy.

use joule_machine::layout::{CALL_KECCAK_F, SLOT_PRECOMPILE};
use p3_air::{Air, BaseAir, WindowAccess};
use p3_field::{Dup, PrimeCharacteristicRing};
use p3_matrix::dense::RowMajorMatrix;

use super::{
    columns::{HALF, KeccakColumns, LANES, ProgramColumns, SIDE},
    program::{CONSTANT_BITS, ROTATIONS, ROUNDS, preprocessed, round_constants},
};
use crate::{
    Felt,
    builder::TableBuilder,
    buses::{self, TRANSFER},
};

/// The keccak table, of a fixed height: its rounds are preprocessed.
#[derive(Clone, Copy, Debug)]
pub struct Keccak {
    /// How many rows it has.
    pub height: usize,
}

impl BaseAir<Felt> for Keccak {
    fn width(&self) -> usize {
        KeccakColumns::<()>::WIDTH
    }

    fn preprocessed_width(&self) -> usize {
        ProgramColumns::<()>::WIDTH
    }

    fn preprocessed_trace(&self) -> Option<RowMajorMatrix<Felt>> {
        Some(preprocessed(self.height))
    }
}

type Row<AB> = KeccakColumns<<AB as p3_air::AirBuilder>::Var>;
type Program<AB> = ProgramColumns<<AB as p3_air::AirBuilder>::Var>;

impl<AB: TableBuilder> Air<AB> for Keccak {
    fn eval(&self, builder: &mut AB) {
        let main = builder.main();
        let row = KeccakColumns::read(main.current_slice());
        let next = KeccakColumns::read(main.next_slice());
        let fixed = builder.preprocessed().clone();
        let does = ProgramColumns::read(fixed.current_slice());
        let then = ProgramColumns::read(fixed.next_slice());

        theta(builder, &row);
        chi(builder, &row, &next);
        order(builder, &row, &next, &does, &then);
        messages(builder, &row, &does);
    }
}

/// θ, within the half lanes of one row. Its constraints are of degree three already, so no flag switches them: they hold in every row, those
/// without a permutation included.
#[inline(never)]
fn theta<AB: TableBuilder>(builder: &mut AB, row: &Row<AB>) {
    for bit in row.theta.into_iter().chain(row.parity).chain(row.theta_parity) {
        builder.assert_bool_named(bit, "H1 bits are bits");
    }
    for x in 0..SIDE {
        let (left, right) = ((x + 4) % SIDE, (x + 1) % SIDE);
        for z in 0..HALF {
            let in_front = if z == 0 { row.parity_in_front[right] } else { row.parity[right * HALF + z - 1] };
            let expected = xor3::<AB>(row.parity[x * HALF + z], row.parity[left * HALF + z], in_front);
            let theta_parity = row.theta_parity[x * HALF + z];
            builder
                .assert_zero_named(expected - theta_parity, "H2 θ flips a column's parity by those of its neighbours");
            // A sum of five bits and its parity differ by 0, 2 or 4.
            let sum = (0..SIDE).map(|y| row.theta[(x + SIDE * y) * HALF + z].into()).sum::<AB::Expr>();
            let difference = sum - theta_parity;
            let is_even =
                difference.dup() * (difference.dup() - AB::Expr::from_u8(2)) * (difference - AB::Expr::from_u8(4));
            builder.assert_zero_named(is_even, "H3 the parity is that of the column behind θ");
        }
    }
    for lane in 0..LANES {
        // A = A′ ^ C ^ C′: θ flips a bit by C ^ C′ of its column.
        let word = pack::<AB>(0..HALF, |z| {
            let column = lane % SIDE * HALF + z;
            xor3::<AB>(row.theta[lane * HALF + z], row.parity[column], row.theta_parity[column])
        });
        builder.assert_zero_named(word - row.before[lane], "H4 θ flips the bits of a column alike");
    }
}

/// ρ, π and χ, of the bits of two neighbouring rows. They define `after` in every row, again without a flag; only behind an upper half is it
/// of any use.
#[inline(never)]
fn chi<AB: TableBuilder>(builder: &mut AB, row: &Row<AB>, next: &Row<AB>) {
    // B[y][2x + 3y] = A′[x][y] rotated, so B[x][y] comes from A′[x + 3y][x].
    let moved = |x: usize, y: usize, z: usize| {
        let lane = (x + 3 * y) % SIDE + SIDE * x;
        let from = (z + 64 - ROTATIONS[lane] as usize) % 64;
        if from < HALF { row.theta[lane * HALF + from] } else { next.theta[lane * HALF + from - HALF] }
    };
    let bit = |lane: usize, z: usize| -> AB::Expr {
        let (x, y) = (lane % SIDE, lane / SIDE);
        let flip = (AB::Expr::ONE - moved((x + 1) % SIDE, y, z)) * moved((x + 2) % SIDE, y, z);
        let bit = moved(x, y, z);
        flip.dup() * (AB::Expr::ONE - bit.into().double()) + bit
    };
    for lane in 0..LANES {
        for half in 0..2 {
            let word = pack::<AB>(half * HALF..(half + 1) * HALF, |z| bit(lane, z));
            builder.assert_zero_named(word - next.after[half * LANES + lane], "H5 words behind χ");
        }
    }
    for (flipped, z) in next.flipped.into_iter().zip(CONSTANT_BITS) {
        builder.assert_zero_named(bit(0, z) - flipped, "H6 the bits that ι may flip");
    }
}

/// How rows, rounds and calls follow each other.
#[inline(never)]
fn order<AB: TableBuilder>(builder: &mut AB, row: &Row<AB>, next: &Row<AB>, does: &Program<AB>, then: &Program<AB>) {
    builder.assert_bool_named(row.is_real, "H7 is_real is a bit");
    // The first row of the trace is a first row as well, so this needs no transition selector.
    let within = AB::Expr::ONE - then.is_first;
    let held = [(row.is_real, next.is_real), (row.clock, next.clock), (row.address, next.address)];
    for (this, that) in held.into_iter().chain(row.initial.into_iter().zip(next.initial)) {
        builder.assert_zero_named(within.clone() * (that - this), "H8 a permutation is about one call");
    }
    let constant = does.constant.map(Into::into);
    let words = iota::<AB>(row, &constant);
    for lane in 0..LANES {
        let (low, high) = (row.initial[lane], row.initial[LANES + lane]);
        builder.assert_zero_named(
            does.is_first * (row.before[lane] - low),
            "H9 the first round takes the initial low words",
        );
        builder.assert_zero_named(
            does.is_first * (row.pending[lane] - high),
            "H10 the first round takes the initial high words",
        );
        builder.assert_zero_named(
            does.is_low * (next.before[lane] - row.pending[lane]),
            "H11 the upper half takes the high words",
        );
        builder.assert_zero_named(
            does.goes_on * (words[lane].dup() - next.before[lane]),
            "H12 a round takes the low words of the one before",
        );
        builder.assert_zero_named(
            does.goes_on * (words[LANES + lane].dup() - next.pending[lane]),
            "H13 a round takes the high words of the one before",
        );
    }
    for x in 0..SIDE {
        let last = x * HALF + HALF - 1;
        builder.assert_zero_named(
            does.is_low * (row.parity_in_front[x] - next.parity[last]),
            "H14 in front of bit 0 is bit 63",
        );
        builder.assert_zero_named(
            does.is_low * (next.parity_in_front[x] - row.parity[last]),
            "H15 in front of bit 32 is bit 31",
        );
    }
}

/// What the table says on the buses.
#[inline(never)]
fn messages<AB: TableBuilder>(builder: &mut AB, row: &Row<AB>, does: &Program<AB>) {
    let is_call = does.is_last * row.is_real;
    // The last round's constant is known, which keeps the message linear.
    let last = round_constants()[ROUNDS - 1];
    let words = iota::<AB>(row, &CONSTANT_BITS.map(|bit| AB::Expr::from_bool(last >> bit & 1 == 1)));
    for lane in 0..LANES {
        TRANSFER.send(
            builder,
            [
                row.clock + AB::Expr::from_u32(SLOT_PRECOMPILE),
                row.address + AB::Expr::from_usize(8 * lane),
                AB::Expr::ONE,
                AB::Expr::ZERO,
                row.initial[lane].into(),
                row.initial[LANES + lane].into(),
                words[lane].dup(),
                words[LANES + lane].dup(),
            ],
            is_call.clone(),
        );
    }
    buses::take_call(builder, CALL_KECCAK_F, row.address, row.clock, is_call);
}

/// ι: the words behind a round, low words, then high words.
#[inline(never)]
fn iota<AB: TableBuilder>(row: &Row<AB>, constant: &[AB::Expr; 7]) -> [AB::Expr; 2 * LANES] {
    let mut words = row.after.map(Into::<AB::Expr>::into);
    for ((bit, &flipped), constant) in CONSTANT_BITS.into_iter().zip(&row.flipped).zip(constant) {
        // Flipping a bit b adds 1 − 2b.
        let flip = constant.dup() * (AB::Expr::ONE - flipped.into().double());
        words[bit / HALF * LANES] += flip * Felt::from_u64(1 << (bit % HALF));
    }
    words
}

/// The exclusive or of three bits.
fn xor3<AB: TableBuilder>(a: AB::Var, b: AB::Var, c: AB::Var) -> AB::Expr {
    let ab = a + b - (a * b).double();
    ab.dup() * (AB::Expr::ONE - c.into().double()) + c
}

/// Bits as an integer, the first the least significant.
fn pack<AB: TableBuilder>(bits: core::ops::Range<usize>, bit: impl Fn(usize) -> AB::Expr) -> AB::Expr {
    bits.rev().fold(AB::Expr::ZERO, |sum, z| sum.double() + bit(z))
}
