use p3_field::{Field, PrimeCharacteristicRing};

use super::{Product, columns::ProductColumns, trace::fill};
use crate::{
    Felt,
    buses::inverse_of_power_of_two,
    forge::{
        By, Free, Honest, answering, answers_are_true, catches, edits, every_cell_counts, forgery, question, unasked,
    },
    operations::Operation,
    trace::{limbs, low_limb},
};

const MUL: usize = 0;
const MULH: usize = 1;
const MULHSU: usize = 2;
const MULHU: usize = 3;
const SLL: usize = 4;
const SRL: usize = 5;
const SRA: usize = 6;
const SLT_LESS: usize = 7;
const SLT_GREATER: usize = 8;
const MULHU_ZERO: usize = 9;
const MULH_ZERO: usize = 10;

fn honest() -> Honest<Product> {
    let questions = [
        question(Operation::Multiply, 0xdead_beef, 0x1234_5678),
        question(Operation::MultiplyHigh, 0xffff_fffb, 7),
        question(Operation::MultiplyHighSignedUnsigned, 0x8000_0001, 0xf000_0000),
        question(Operation::MultiplyHighUnsigned, 0xffff_ffff, 0xffff_ffff),
        question(Operation::ShiftLeft, 0x8000_0001, 33),
        question(Operation::ShiftRight, 0x8000_0001, 4),
        question(Operation::ShiftRightArithmetic, 0x8000_0001, 4),
        question(Operation::LessSigned, 0xffff_fff0, 3),
        question(Operation::LessSigned, 3, 0xffff_fff0),
        question(Operation::MultiplyHighUnsigned, 0, 0),
        question(Operation::MultiplyHigh, 0, 0),
        // The one product whose high word is 2^32 − 1.
        question(Operation::ShiftRight, 0xffff_ffff, 0),
        question(Operation::MultiplyHigh, 0x8000_0000, 0x8000_0000),
    ];
    answering(Product, fill, &questions)
}

/// Multiplies the left operand with another factor, and keeps all limbs in step.
fn multiply(row: &mut ProductColumns<Felt>, left: u32, factor: u64) -> (u32, u32) {
    let product = u64::from(left) * factor;
    let (low, high) = (product as u32, (product >> 32) as u32);
    row.factor = Felt::from_u64(factor);
    (row.low, row.high) = (limbs(low), limbs(high));
    row.alias_inverse = Felt::from_u32(u32::MAX - high).try_inverse().unwrap_or(Felt::ZERO);
    (low, high)
}

fn set_result(row: &mut ProductColumns<Felt>, result: u32) {
    (row.result, row.result_low) = (Felt::from_u32(result), low_limb(result));
}

edits!(ProductColumns);

#[test]
fn forgeries_are_caught() {
    let word = Felt::from_u64(1 << 32);
    catches(
        &honest(),
        [
            forgery(
                "answers a mul with a high word: two times mulh's code less mulhsu's",
                move |t| {
                    edit(t, MULH, |row| {
                        row.is_multiply_high = Felt::TWO;
                        row.is_multiply_high_signed_unsigned = Felt::NEG_ONE;
                    });
                },
                By::Constraint("P1"),
            ),
            forgery(
                "answers with two operations at once, less a comparison",
                move |t| edit(t, MULH_ZERO, |row| row.is_multiply_high_signed_unsigned = Felt::ONE),
                By::Constraint("P2"),
            ),
            forgery(
                "multiplies with another operand",
                move |t| {
                    edit(t, MUL, |row| {
                        let (low, _) = multiply(row, 0xdead_beef, 1);
                        set_result(row, low);
                    });
                },
                By::Constraint("P3"),
            ),
            forgery(
                "shifts left by two instead of one",
                move |t| {
                    edit(t, SLL, |row| {
                        let (low, _) = multiply(row, 0x8000_0001, 4);
                        set_result(row, low);
                    });
                },
                By::Constraint("P4"),
            ),
            forgery(
                "shifts right by one instead of four",
                move |t| {
                    edit(t, SRL, |row| {
                        let (_, high) = multiply(row, 0x8000_0001, 1 << 31);
                        set_result(row, high);
                    });
                },
                By::Constraint("P5"),
            ),
            forgery(
                "states a product that is off by one",
                move |t| {
                    edit(t, MUL, |row| {
                        row.low[0] += Felt::ONE;
                        row.result += Felt::ONE;
                        row.result_low += Felt::ONE;
                        let low = row.low[0] + row.low[1] * Felt::from_u32(1 << 16);
                        assert_ne!(low, Felt::ZERO);
                    });
                },
                By::Constraint("P6"),
            ),
            forgery(
                "states 0 · 0 = p, whose high word is 2^32 − 1",
                move |t| {
                    edit(t, MULHU_ZERO, |row| {
                        row.low = [Felt::ONE, Felt::ZERO];
                        row.high = limbs(u32::MAX);
                        set_result(row, u32::MAX);
                    });
                },
                By::Constraint("P7"),
            ),
            forgery(
                "gives something else than the low word",
                move |t| edit(t, MUL, |row| set_result(row, 1)),
                By::Constraint("P8"),
            ),
            forgery(
                "gives something else than the high word",
                move |t| edit(t, MULHU, |row| set_result(row, 1)),
                By::Constraint("P9"),
            ),
            forgery(
                "shifts a negative number and leaves its sign behind",
                move |t| edit(t, SRA, |row| set_result(row, 0x0800_0000)),
                By::Constraint("P10"),
            ),
            forgery(
                "multiplies signed numbers as unsigned ones",
                move |t| edit(t, MULH, |row| set_result(row, 6)),
                By::Constraint("P11"),
            ),
            forgery(
                "multiplies a signed number as an unsigned one",
                move |t| edit(t, MULHSU, |row| set_result(row, 0x7800_0000)),
                By::Constraint("P12"),
            ),
            forgery(
                "corrects a signed product by whatever makes it 5",
                move |t| {
                    edit(t, MULH, |row| {
                        let change = Felt::from_u32(5) - row.result;
                        row.correction += change * inverse_of_power_of_two(32);
                        set_result(row, 5);
                    });
                },
                By::Constraint("P13"),
            ),
            forgery(
                "denies that a negative number is less",
                move |t| edit(t, SLT_LESS, |row| set_result(row, 0)),
                By::Constraint("P14"),
            ),
            forgery(
                "compares with result −1, which is 2^32 − 1 times 2^32 modulo p",
                move |t| {
                    edit(t, SLT_GREATER, |row| {
                        // 3 − (−16) − 1
                        row.low = limbs(18);
                        row.alias_inverse = Felt::from_u32(u32::MAX).inverse();
                        row.high = limbs(0);
                        set_result(row, u32::MAX);
                        assert_eq!(row.result * word, Felt::NEG_ONE);
                    });
                },
                By::Constraint("P15"),
            ),
            forgery(
                "carries from one limb into the other",
                move |t| {
                    edit(t, MUL, |row| {
                        row.low[0] += Felt::from_u32(1 << 16);
                        row.low[1] -= Felt::ONE;
                    });
                },
                By::Bus("RANGE"),
            ),
            forgery(
                "multiplies operands above 2^32",
                move |t| {
                    edit(t, MULH_ZERO, |row| {
                        row.left = word;
                        row.left_low = Felt::from_u32(1 << 16);
                        // The high limb is then 2^16 − 1 short of nothing: (2^32 − 2^16) / 2^16.
                        row.left_sign = Felt::ONE;
                        row.correction = Felt::ZERO;
                    });
                },
                By::Bus("RANGE"),
            ),
            forgery(
                "denies that an operand is negative",
                move |t| {
                    edit(t, MULH, |row| {
                        row.left_sign = Felt::ZERO;
                        row.correction = Felt::ZERO;
                        set_result(row, 6);
                    });
                },
                By::Bus("SIGN"),
            ),
            forgery(
                "takes another power for two to the shift",
                move |t| {
                    edit(t, SLL, |row| {
                        row.power = Felt::from_u32(4);
                        let (low, _) = multiply(row, 0x8000_0001, 4);
                        set_result(row, low);
                    });
                },
                By::Bus("POWER"),
            ),
        ],
    );
}

#[test]
fn every_cell_is_bound() {
    const NUMBERS: [usize; 7] = [0, 1, 2, 3, 4, 5, 6];
    let free = [
        unasked("is_multiply", |row| ProductColumns::read(row).multiplicity == Felt::ZERO),
        Free {
            column: "alias_inverse",
            when: |row| {
                let row = ProductColumns::read(row);
                row.low == [Felt::ZERO; 2]
            },
            reason: "a low word of zero needs no inverse: such a product has one form only",
        },
        Free {
            column: "correction",
            when: |row| row[1] == Felt::ZERO && row[2] == Felt::ZERO,
            reason: "nothing but mulh and mulhsu reads it",
        },
        Free {
            column: "factor",
            when: |row| NUMBERS.iter().all(|&flag| row[flag] == Felt::ZERO),
            reason: "a comparison multiplies nothing",
        },
    ];
    every_cell_counts(&honest(), &ProductColumns::names(), &free);
}

#[test]
fn random_answers_are_true() {
    let operations = [
        Operation::Multiply,
        Operation::MultiplyHigh,
        Operation::MultiplyHighSignedUnsigned,
        Operation::MultiplyHighUnsigned,
        Operation::ShiftLeft,
        Operation::ShiftRight,
        Operation::ShiftRightArithmetic,
        Operation::LessSigned,
    ];
    answers_are_true(Product, fill, &operations);
}
