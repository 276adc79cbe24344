use p3_field::PrimeCharacteristicRing;

use super::{Bitwise, columns::BitwiseColumns, trace::fill};
use crate::{
    Felt,
    forge::{By, Honest, answering, answers_are_true, catches, every_cell_counts, forgery, question, unasked},
    operations::Operation,
};

const AND: usize = 0;
const OR: usize = 1;

fn honest() -> Honest<Bitwise> {
    let questions = [
        question(Operation::And, 0xf0f0_1234, 0x00ff_00ff),
        question(Operation::Or, 0xf0f0_1234, 0x0fff_4321),
        question(Operation::Xor, 0xffff_ffff, 0x8000_0001),
    ];
    answering(Bitwise, fill, &questions)
}

#[test]
fn forgeries_are_caught() {
    catches(
        &honest(),
        [
            forgery(
                "takes an and for twice an or",
                |t| BitwiseColumns::edit(t, AND, |row| row.is_or = Felt::TWO),
                By::Constraint("B1"),
            ),
            forgery(
                "takes an and for twice an xor",
                |t| BitwiseColumns::edit(t, AND, |row| row.is_xor = Felt::TWO),
                By::Constraint("B2"),
            ),
            forgery(
                "makes an or that is an xor too",
                |t| BitwiseColumns::edit(t, OR, |row| row.is_xor = Felt::ONE),
                By::Constraint("B3"),
            ),
            forgery(
                "claims a bit that is not in both",
                |t| BitwiseColumns::edit(t, AND, |row| row.and[2] += Felt::ONE),
                By::Bus("AND"),
            ),
            forgery(
                "writes a word with a digit above 255",
                |t| {
                    BitwiseColumns::edit(t, AND, |row| {
                        row.left[0] += Felt::from_u32(256);
                        row.left[1] -= Felt::ONE;
                    });
                },
                By::Bus("AND"),
            ),
        ],
    );
}

#[test]
fn every_cell_is_bound() {
    const COLUMNS: [&str; 10] =
        ["is_or", "is_xor", "left[0]", "left[1]", "left[2]", "left[3]", "right[0]", "right[1]", "right[2]", "right[3]"];
    let free = COLUMNS.map(|column| unasked(column, |row| BitwiseColumns::read(row).multiplicity == Felt::ZERO));
    every_cell_counts(&honest(), &BitwiseColumns::names(), &free);
}

#[test]
fn random_answers_are_true() {
    answers_are_true(Bitwise, fill, &[Operation::And, Operation::Or, Operation::Xor]);
}
