use p3_field::{Field, PrimeCharacteristicRing};

use super::{
    Quotient,
    columns::QuotientColumns,
    trace::{fill, row as row_of},
};
use crate::{
    Felt,
    buses::inverse_of_power_of_two,
    forge::{By, Honest, answering, answers_are_true, catches, edits, every_cell_counts, forgery, question, unasked},
    operations::Operation,
    trace::low_limb,
};

const DIV: usize = 0;
const DIVU: usize = 1;
const REM: usize = 2;
const DIV_POSITIVE: usize = 4;
const DIV_EQUAL: usize = 5;
const DIVU_ZERO: usize = 6;
const MINUS_SEVEN: u32 = 0xffff_fff9;

fn honest() -> Honest<Quotient> {
    let questions = [
        question(Operation::Divide, MINUS_SEVEN, 2),
        question(Operation::DivideUnsigned, 100, 7),
        question(Operation::Remainder, MINUS_SEVEN, 2),
        question(Operation::RemainderUnsigned, 100, 7),
        question(Operation::Divide, 7, 2),
        question(Operation::Divide, 3, 2),
        question(Operation::DivideUnsigned, 5, 0),
        question(Operation::Remainder, MINUS_SEVEN, 0),
        question(Operation::Divide, MINUS_SEVEN, 0),
        question(Operation::Divide, 0x8000_0000, u32::MAX),
        question(Operation::DivideUnsigned, u32::MAX, 1),
        question(Operation::Divide, 1, 0x8000_0000),
        question(Operation::Divide, 0, MINUS_SEVEN),
    ];
    answering(Quotient, fill, &questions)
}

fn set_result(row: &mut QuotientColumns<Felt>, result: u32) {
    (row.result, row.result_low) = (Felt::from_u32(result), low_limb(result));
}

edits!(QuotientColumns);

#[test]
fn forgeries_are_caught() {
    catches(
        &honest(),
        [
            forgery(
                "answers a comparison with a quotient: two times div's code less divu's",
                move |t| {
                    edit(t, DIV_POSITIVE, |row| {
                        row.is_divide = Felt::TWO;
                        row.is_divide_unsigned = Felt::NEG_ONE;
                    });
                },
                By::Constraint("Q1"),
            ),
            forgery(
                "answers an sra with a quotient: two divisions less a remainder",
                move |t| edit(t, DIV_EQUAL, |row| row.is_divide_unsigned = Felt::ONE),
                By::Constraint("Q2"),
            ),
            forgery(
                "divides a negative number as a large one",
                move |t| {
                    edit(t, DIV, |row| {
                        *row = row_of(&question(Operation::DivideUnsigned, MINUS_SEVEN, 2), 1);
                        (row.is_divide, row.is_divide_unsigned) = (Felt::ONE, Felt::ZERO);
                    });
                },
                By::Constraint("Q3"),
            ),
            forgery(
                "divides −9 instead of −7",
                move |t| {
                    edit(t, DIV, |row| {
                        let (left, left_low) = (row.left, row.left_low);
                        *row = row_of(&question(Operation::Divide, 0xffff_fff7, 2), 1);
                        (row.left, row.left_low) = (left, left_low);
                    });
                },
                By::Constraint("Q4"),
            ),
            forgery(
                "takes a divisor for zero",
                move |t| {
                    edit(t, 10, |row| {
                        (row.is_by_zero, row.slack, row.slack_low) = (Felt::ONE, Felt::ZERO, Felt::ZERO);
                    });
                },
                By::Constraint("Q5"),
            ),
            forgery(
                "takes a divisor for twice zero, which turns the comparison with the remainder around",
                move |t| {
                    edit(t, DIVU_ZERO, |row| {
                        row.is_by_zero = Felt::TWO;
                        (row.slack, row.slack_low) = (Felt::from_u32(6), Felt::from_u32(6));
                    });
                },
                By::Constraint("Q6"),
            ),
            forgery(
                "states a quotient that is one too small",
                move |t| {
                    edit(t, DIVU, |row| {
                        (row.quotient, row.quotient_low, row.part) =
                            (row.quotient - Felt::ONE, row.quotient_low - Felt::ONE, row.part - Felt::ONE);
                        set_result(row, 13);
                    });
                },
                By::Constraint("Q7"),
            ),
            forgery(
                "leaves a remainder above the divisor",
                move |t| {
                    edit(t, DIVU, |row| {
                        let thirteen = Felt::from_u32(13);
                        (row.quotient, row.quotient_low, row.part) = (thirteen, thirteen, thirteen);
                        (row.remainder, row.remainder_low) = (Felt::from_u32(9), Felt::from_u32(9));
                        (row.slack, row.slack_low) = (Felt::ZERO, Felt::ZERO);
                        set_result(row, 13);
                    });
                },
                By::Constraint("Q8"),
            ),
            forgery(
                "divides by zero and gets 7",
                move |t| {
                    edit(t, DIVU_ZERO, |row| {
                        let seven = Felt::from_u32(7);
                        (row.quotient, row.quotient_low, row.part) = (seven, seven, seven);
                        set_result(row, 7);
                    });
                },
                By::Constraint("Q9"),
            ),
            forgery(
                "gives the remainder for the quotient",
                move |t| {
                    edit(t, DIVU, |row| {
                        row.part = row.remainder;
                        set_result(row, 2);
                    });
                },
                By::Constraint("Q10"),
            ),
            forgery(
                "denies that the signs differ",
                move |t| {
                    edit(t, DIV, |row| {
                        (row.signs_differ, row.negates, row.borrow) = (Felt::ZERO, Felt::ZERO, Felt::ZERO);
                        set_result(row, 3);
                    });
                },
                By::Constraint("Q11"),
            ),
            forgery(
                "gives the quotient without its sign",
                move |t| {
                    edit(t, DIV, |row| {
                        (row.negates, row.borrow) = (Felt::ZERO, Felt::ZERO);
                        set_result(row, 3);
                    });
                },
                By::Constraint("Q12"),
            ),
            forgery(
                "gives the remainder without its sign",
                move |t| {
                    edit(t, REM, |row| {
                        (row.negates, row.borrow) = (Felt::ZERO, Felt::ZERO);
                        set_result(row, 1);
                    });
                },
                By::Constraint("Q13"),
            ),
            forgery(
                "gives an unsigned quotient a sign",
                move |t| {
                    edit(t, DIVU, |row| {
                        (row.negates, row.borrow) = (Felt::ONE, Felt::ONE);
                        set_result(row, 14_u32.wrapping_neg());
                    });
                },
                By::Constraint("Q14"),
            ),
            forgery(
                "borrows whatever makes the quotient 5",
                move |t| {
                    edit(t, DIV, |row| {
                        row.borrow = (row.part + Felt::from_u32(5)) * inverse_of_power_of_two(32);
                        set_result(row, 5);
                    });
                },
                By::Constraint("Q15"),
            ),
            forgery(
                "borrows without need",
                move |t| edit(t, DIVU, |row| row.borrow = Felt::ONE),
                By::Constraint("Q16"),
            ),
            forgery(
                "gives something else than quotient or remainder",
                move |t| edit(t, DIVU, |row| set_result(row, 15)),
                By::Constraint("Q17"),
            ),
            forgery(
                "takes the field's 100 / 7 for the quotient, with no remainder",
                move |t| {
                    edit(t, DIVU, |row| {
                        let quotient = Felt::from_u32(100) * Felt::from_u32(7).inverse();
                        (row.quotient, row.part, row.result) = (quotient, quotient, quotient);
                        (row.remainder, row.remainder_low) = (Felt::ZERO, Felt::ZERO);
                        (row.slack, row.slack_low) = (Felt::from_u32(6), Felt::from_u32(6));
                    });
                },
                By::Bus("RANGE"),
            ),
            forgery(
                "denies that the dividend is negative",
                move |t| {
                    edit(t, DIV, |row| {
                        *row = row_of(&question(Operation::DivideUnsigned, MINUS_SEVEN, 2), 1);
                        (row.is_divide, row.is_divide_unsigned) = (Felt::ONE, Felt::ZERO);
                        row.left_sign = Felt::ZERO;
                    });
                },
                By::Bus("SIGN"),
            ),
        ],
    );
}

#[test]
fn every_cell_is_bound() {
    let free = [unasked("is_remainder", |row| QuotientColumns::read(row).multiplicity == Felt::ZERO)];
    every_cell_counts(&honest(), &QuotientColumns::names(), &free);
}

#[test]
fn random_answers_are_true() {
    let operations = [Operation::Divide, Operation::DivideUnsigned, Operation::Remainder, Operation::RemainderUnsigned];
    answers_are_true(Quotient, fill, &operations);
}
