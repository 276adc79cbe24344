use joule_machine::{
    Instruction, Records,
    layout::COMMIT_WORDS,
    records::{Access, CommitEvent, Cycle},
};
use p3_field::PrimeCharacteristicRing;

use super::{
    Output,
    columns::OutputColumns,
    trace::{fill, public_values},
};
use crate::{
    Felt,
    check::Trace,
    forge::{By, Free, Honest, catches, every_cell_counts, forged_statement, forgery},
    trace::TraceError,
};

const HEIGHT: usize = 32;
const CHAIN_HIGH: usize = 1;

fn records() -> Records {
    let nothing = Cycle {
        pc: 0,
        next_pc: 0,
        instruction: Instruction::ILLEGAL,
        first: Access::NONE,
        second: Access::NONE,
        third: Access::NONE,
    };
    let word = |index: usize| Access {
        address: 0x40_0000 + 4 * index as u32,
        before: 0x1f_0000 + index as u32,
        after: 0x1f_0000 + index as u32,
        previous_timestamp: 17 + index as u32,
    };
    let commit = CommitEvent { clock: 400, address: 0x40_0000, words: Box::new(core::array::from_fn(word)) };
    Records { commit: Some(commit), cycles: vec![nothing; 200], ..Records::default() }
}

fn honest() -> Honest<Output> {
    let records = records();
    Honest::new(Output { height: HEIGHT }, fill(&records, HEIGHT).unwrap())
        .with_public_values(public_values(&records).unwrap().to_vec())
}

fn edit(trace: &mut Trace, rows: core::ops::Range<usize>, change: impl Fn(&mut OutputColumns<Felt>)) {
    rows.for_each(|row| OutputColumns::edit(trace, row, &change));
}

#[test]
fn forgeries_are_caught() {
    catches(
        &honest(),
        [
            forgery(
                "moves on to another commit",
                |t| edit(t, COMMIT_WORDS..HEIGHT, |row| row.clock += Felt::ONE),
                By::Constraint("O1"),
            ),
            forgery(
                "moves on to another pointer",
                |t| edit(t, COMMIT_WORDS..HEIGHT, |row| row.pointer += Felt::ONE),
                By::Constraint("O2"),
            ),
            forgery(
                "moves on to another halt",
                |t| edit(t, 1..HEIGHT, |row| row.halt_clock += Felt::ONE),
                By::Constraint("O3"),
            ),
            forged_statement("states another chain id", |_, public| public[0] += Felt::ONE, By::Constraint("O4")),
            forged_statement("states another hX", |_, public| public[1] += Felt::ONE, By::Constraint("O5")),
            forged_statement("states another hY", |_, public| public[16] += Felt::ONE, By::Constraint("O5")),
            forgery(
                "has a chain id of 2^53, with limbs that are none",
                |t| edit(t, CHAIN_HIGH..CHAIN_HIGH + 1, |row| row.chain_low += Felt::from_u32(1 << 16)),
                By::Bus("RANGE"),
            ),
            forged_statement(
                "commits a word that memory does not hold",
                |t, public| {
                    edit(t, 5..6, |row| row.value += Felt::ONE);
                    public[4] += Felt::ONE;
                },
                By::Bus("MEMORY"),
            ),
            forgery(
                "halts at another time",
                |t| edit(t, 0..HEIGHT, |row| row.halt_clock += Felt::ONE),
                By::Bus("CALL"),
            ),
        ],
    );
}

#[test]
fn a_chain_id_of_2_to_the_53_has_no_trace() {
    let mut records = records();
    records.commit.as_mut().unwrap().words[CHAIN_HIGH].after = 1 << 21;
    let trace = fill(&records, HEIGHT).unwrap();
    let public_values = public_values(&records).unwrap().to_vec();
    let honest = Honest::new(Output { height: HEIGHT }, trace).with_public_values(public_values);
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| catches(&honest, []))).is_err());
}

#[test]
fn every_cell_is_bound() {
    const REASON: &str = "behind the last word, nothing is read";
    let is_behind = |row: &[Felt]| OutputColumns::read(row).previous_timestamp == Felt::ZERO;
    let columns = ["value", "previous_timestamp", "gap_low"];
    let mut free: Vec<Free> =
        columns.map(|column| Free { column, when: is_behind, reason: REASON }).into_iter().collect();
    free.push(Free {
        column: "chain_low",
        when: |row| OutputColumns::read(row).value != Felt::from_u32(0x1f_0001),
        reason: "only the high word of the chain id has a bound of its own",
    });
    every_cell_counts(&honest(), &OutputColumns::names(), &free);
}

#[test]
fn runs_that_cannot_be_proven_are_refused() {
    let failed = Records { exit_code: 3, ..records() };
    assert_eq!(fill(&failed, HEIGHT).unwrap_err(), TraceError::ExitCode { exit_code: 3 });
    let silent = Records { commit: None, ..records() };
    assert_eq!(fill(&silent, HEIGHT).unwrap_err(), TraceError::NoCommit);
}
