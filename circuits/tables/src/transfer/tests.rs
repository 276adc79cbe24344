use joule_machine::records::Access;
use p3_field::PrimeCharacteristicRing;

use super::{
    Transfer,
    columns::TransferColumns,
    trace::{Pair, trace},
};
use crate::{
    Felt,
    forge::{By, Free, Honest, catches, edits, every_cell_counts, forgery},
};

fn access(address: u32, before: u32, after: u32, previous_timestamp: u32) -> Access {
    Access { address, before, after, previous_timestamp }
}

/// A read, a single read, a canonical write, and canonical writes of p − 1 (high word all ones) and 0; one row of padding or more.
fn honest() -> Honest<Transfer> {
    let pair = |timestamp, first, second, is_canonical| Pair { timestamp, first, second, is_canonical };
    let pairs = [
        pair(70_006, access(0x1_0000, 7, 7, 6), Some(access(0x1_0004, u32::MAX, u32::MAX, 70_005)), false),
        pair(70_006, access(0x1_0008, 9, 9, 0), None, false),
        pair(70_007, access(0x1_0000, 7, 5, 70_006), Some(access(0x1_0004, u32::MAX, 123_456_789, 70_006)), true),
        pair(70_010, access(0x1_0000, 5, 0, 70_007), Some(access(0x1_0004, 123_456_789, u32::MAX, 70_007)), true),
        pair(70_014, access(0x1_0000, 0, 0, 70_010), Some(access(0x1_0004, u32::MAX, 0, 70_010)), true),
    ];
    Honest::new(Transfer, trace(&pairs, 8).expect("fits"))
}

edits!(TransferColumns);

#[test]
fn forgeries_are_caught() {
    catches(
        &honest(),
        [
            forgery(
                "takes a token twice in one row",
                |t| edit(t, 1, |row| row.is_real = Felt::TWO),
                By::Granted(&["TRANSFER", "MEMORY"], "F1"),
            ),
            forgery(
                "moves a second word half a time",
                |t| edit(t, 0, |row| row.has_second = Felt::TWO),
                By::These(&["F1", "F3", "TRANSFER", "MEMORY"]),
            ),
            forgery(
                "touches memory without a token",
                |t| {
                    edit(t, 6, |row| {
                        row.has_second = Felt::ONE;
                        row.address = Felt::from_u32(0x2_0000);
                        row.timestamp = Felt::from_u32(100);
                        row.gap_low[1] = Felt::from_u32(99);
                    });
                },
                By::Granted(&["MEMORY"], "F2"),
            ),
            forgery(
                "gives a missing word a value",
                |t| edit(t, 1, |row| row.new[1] = Felt::ONE),
                By::Granted(&["TRANSFER"], "F3"),
            ),
            forgery(
                // 5 + 2^32 · 123456789 + p does not fit in 64 bits; 0 + p = 1 + 2^32 · (2^32 − 1) does.
                "writes 0 as p",
                |t| {
                    edit(t, 4, |row| {
                        row.new = [Felt::ONE, Felt::from_u32(u32::MAX)];
                        row.new_low = [Felt::ONE, Felt::from_u32(0xffff)];
                        row.headroom_inverse = Felt::ZERO;
                    });
                },
                By::Granted(&["TRANSFER", "MEMORY"], "F4"),
            ),
            forgery(
                "writes what is no word",
                |t| edit(t, 0, |row| row.new[0] += Felt::from_u64(1 << 32)),
                By::Granted(&["TRANSFER", "MEMORY"], "RANGE"),
            ),
            forgery(
                "finds a word that was left later",
                |t| edit(t, 0, |row| row.previous_timestamp[0] = Felt::from_u32(70_007)),
                By::Granted(&["MEMORY"], "RANGE"),
            ),
            forgery(
                "writes a word twice at one time",
                // As two ranges of one call that overlap would.
                |t| edit(t, 0, |row| row.previous_timestamp[0] = row.timestamp),
                By::Granted(&["MEMORY"], "RANGE"),
            ),
            forgery(
                "moves words at an address that is none",
                // Only whole words inside the regions have a token to take.
                |t| edit(t, 0, |row| row.address += Felt::ONE),
                By::Granted(&["TRANSFER"], "MEMORY"),
            ),
            forgery(
                "finds another word than memory has",
                |t| edit(t, 0, |row| row.old[0] += Felt::ONE),
                By::Granted(&["TRANSFER"], "MEMORY"),
            ),
            forgery(
                "finds another word than the token says",
                |t| edit(t, 0, |row| row.old[0] += Felt::ONE),
                By::Granted(&["MEMORY"], "TRANSFER"),
            ),
        ],
    );
}

#[test]
fn every_cell_is_bound() {
    let is_padding = |row: &[Felt]| row[0] == Felt::ZERO;
    let padding = |column| Free { column, when: is_padding, reason: "a row without a token says nothing" };
    every_cell_counts(
        &honest(),
        &TransferColumns::<()>::names(),
        &[
            padding("is_canonical"),
            padding("timestamp"),
            padding("address"),
            padding("old[0]"),
            padding("new[0]"),
            padding("new_low[0]"),
            padding("new_low[1]"),
            padding("previous_timestamp[0]"),
            padding("previous_timestamp[1]"),
            padding("gap_low[0]"),
            padding("gap_low[1]"),
            padding("headroom_inverse"),
            Free {
                column: "new_low[1]",
                when: |row| row[0] == Felt::ONE && row[1] == Felt::ZERO,
                reason: "there is no second word",
            },
            Free {
                column: "previous_timestamp[1]",
                when: |row| row[0] == Felt::ONE && row[1] == Felt::ZERO,
                reason: "there is no second word",
            },
            Free {
                column: "gap_low[1]",
                when: |row| row[0] == Felt::ONE && row[1] == Felt::ZERO,
                reason: "there is no second word",
            },
            Free {
                column: "headroom_inverse",
                when: |row| row[0] == Felt::ONE && (row[7] == Felt::ZERO || row[8] == Felt::from_u32(u32::MAX)),
                reason: "with low word 0 the element is canonical; a high word of all ones has no inverse",
            },
        ],
    );
}
