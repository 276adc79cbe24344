use p3_field::PrimeCharacteristicRing;

use super::{Narrow, columns::NarrowColumns, trace::fill};
use crate::{
    Felt,
    forge::{By, Honest, answering, answers_are_true, catches, edits, every_cell_counts, forgery, question, unasked},
    operations::{Operation, Question},
};

const LB_NEGATIVE: usize = 0;
const LBU: usize = 1;
const LH: usize = 2;
const LHU: usize = 3;
const SB: usize = 4;
const SH: usize = 5;
const LB_POSITIVE: usize = 6;
const LH_POSITIVE: usize = 7;

fn honest() -> Honest<Narrow> {
    let (left, right) = (0x8182_7384, 0xa1b2_c3d4);
    let at = |operation, offset| Question { operation, offset, left, right };
    let questions = [
        at(Operation::LoadByte, 0),
        at(Operation::LoadByteUnsigned, 3),
        at(Operation::LoadHalf, 2),
        at(Operation::LoadHalfUnsigned, 0),
        at(Operation::StoreByte, 1),
        at(Operation::StoreHalf, 2),
        at(Operation::LoadByte, 1),
        question(Operation::LoadHalf, 0x384, 0x384),
        at(Operation::StoreByte, 3),
    ];
    answering(Narrow, fill, &questions)
}

edits!(NarrowColumns);

#[test]
fn forgeries_are_caught() {
    catches(
        &honest(),
        [
            forgery(
                "answers an xor with a load: two times its code less one time the next",
                move |t| {
                    edit(t, LB_POSITIVE, |row| {
                        row.is_load_byte = Felt::TWO;
                        row.is_load_byte_unsigned = Felt::NEG_ONE;
                    });
                },
                By::Constraint("N1"),
            ),
            forgery(
                "loads a byte that is a half word: two loads and minus one store",
                move |t| edit(t, LH_POSITIVE, |row| row.is_load_half_unsigned = Felt::ONE),
                By::Constraint("N2"),
            ),
            forgery(
                "loads from the third half of a word",
                move |t| {
                    edit(t, LHU, |row| {
                        row.is_high_half = Felt::TWO;
                        row.place = Felt::from_u32(2 * 65535 + 1);
                    });
                },
                By::Constraint("N3"),
            ),
            forgery(
                "loads a mixture of two bytes as the byte at offset 2",
                move |t| {
                    edit(t, LB_NEGATIVE, |row| {
                        // 0x84 + 2 · (0x73 − 0x84)
                        let byte = Felt::from_u32(0x62);
                        (row.is_high_byte, row.place) = (Felt::TWO, Felt::from_u32(511));
                        (row.byte, row.sign, row.result) = (byte, Felt::ZERO, byte);
                    });
                },
                By::Constraint("N4"),
            ),
            forgery(
                "loads a half word from an odd address",
                move |t| {
                    edit(t, LHU, |row| {
                        (row.is_high_byte, row.byte) = (Felt::ONE, row.high_byte);
                        row.place = Felt::from_u32(256);
                    });
                },
                By::Constraint("N5"),
            ),
            forgery(
                "loads another byte",
                move |t| {
                    edit(t, LBU, |row| {
                        row.byte += Felt::ONE;
                        row.result += Felt::ONE;
                    });
                },
                By::Constraint("N6"),
            ),
            forgery(
                "stores a byte at another place",
                move |t| {
                    edit(t, SB, |row| {
                        row.result += (row.right_bytes[0] - row.byte) * (Felt::ONE - row.place);
                        row.place = Felt::ONE;
                    });
                },
                By::Constraint("N7"),
            ),
            forgery(
                "loads a byte without its sign",
                move |t| edit(t, LB_NEGATIVE, |row| row.result = row.byte),
                By::Constraint("N8"),
            ),
            forgery(
                "loads something else than the byte",
                move |t| edit(t, LBU, |row| row.result += Felt::ONE),
                By::Constraint("N9"),
            ),
            forgery(
                "loads a half word without its sign",
                move |t| edit(t, LH, |row| row.result = Felt::from_u32(0x8182)),
                By::Constraint("N10"),
            ),
            forgery(
                "loads something else than the half word",
                move |t| edit(t, LHU, |row| row.result += Felt::ONE),
                By::Constraint("N11"),
            ),
            forgery(
                "stores a byte and changes its neighbour",
                move |t| edit(t, SB, |row| row.result += Felt::ONE),
                By::Constraint("N12"),
            ),
            forgery(
                "stores a half word and changes its neighbour",
                move |t| edit(t, SH, |row| row.result += Felt::ONE),
                By::Constraint("N13"),
            ),
            forgery(
                "splits a half word into a byte above 255 and what is left",
                move |t| {
                    edit(t, LHU, |row| {
                        row.low_byte += Felt::from_u32(256);
                        row.high_byte -= Felt::ONE;
                        row.byte = row.low_byte;
                    });
                },
                By::Bus("AND"),
            ),
            forgery(
                "stores a byte above 255",
                move |t| {
                    edit(t, SH, |row| {
                        row.right_bytes[0] += Felt::from_u32(256);
                        row.right_bytes[1] -= Felt::ONE;
                    });
                },
                By::Bus("AND"),
            ),
            forgery(
                "loads from a word above 2^32",
                move |t| edit(t, LHU, |row| row.other_half += Felt::from_u32(1 << 16)),
                By::Bus("RANGE"),
            ),
            forgery(
                "stores from a word above 2^32",
                move |t| edit(t, SB, |row| row.right += Felt::from_u64(1 << 32)),
                By::Bus("RANGE"),
            ),
            forgery(
                "denies that the byte is negative",
                move |t| edit(t, LB_NEGATIVE, |row| (row.sign, row.result) = (Felt::ZERO, row.byte)),
                By::Bus("SIGN"),
            ),
        ],
    );
}

#[test]
fn every_cell_is_bound() {
    const COLUMNS: [&str; 6] = [
        "is_load_byte",
        "is_load_byte_unsigned",
        "is_load_half",
        "is_load_half_unsigned",
        "is_store_byte",
        "high_byte",
    ];
    let free = COLUMNS.map(|column| unasked(column, |row| NarrowColumns::read(row).multiplicity == Felt::ZERO));
    every_cell_counts(&honest(), &NarrowColumns::names(), &free);
}

#[test]
fn random_answers_are_true() {
    let operations = [
        Operation::LoadByte,
        Operation::LoadByteUnsigned,
        Operation::LoadHalf,
        Operation::LoadHalfUnsigned,
        Operation::StoreByte,
        Operation::StoreHalf,
    ];
    answers_are_true(Narrow, fill, &operations);
}
