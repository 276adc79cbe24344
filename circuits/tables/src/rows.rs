//! How many rows a run needs in each table: what decides which shape it fits, and how full the shape is.

use joule_machine::{Image as MachineImage, Records, layout::COMMIT_WORDS};

use crate::{
    bytes::constraints::HEIGHT as BYTES_HEIGHT,
    cpu, image, keccak, memory,
    operations::{ArithmeticTable, QuestionCounts},
    poseidon2::{permutation, sponge, tree},
    secp256k1,
    shape::Shape,
    table::TableName,
    trace::TraceError,
    transfer,
};

/// The rows of one run, table by table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowCounts([usize; TableName::ALL.len()]);

impl RowCounts {
    /// Counts the rows of a run. What a table says when it is filled is the same; here nothing is filled.
    #[must_use]
    pub fn of(image: &MachineImage, records: &Records) -> Self {
        let asked = QuestionCounts::count(records);
        let mut counts = Self::default();
        for &table in TableName::ALL {
            counts.0[table as usize] = match table {
                TableName::Image => image::decode::rows(image),
                TableName::Cpu => cpu::trace::rows(records),
                TableName::Bitwise => asked.of(ArithmeticTable::Bitwise),
                TableName::Narrow => asked.of(ArithmeticTable::Narrow),
                TableName::Product => asked.of(ArithmeticTable::Product),
                TableName::Quotient => asked.of(ArithmeticTable::Quotient),
                TableName::Memory => memory::trace::rows(&records.memory),
                TableName::Bytes => BYTES_HEIGHT,
                TableName::Output => COMMIT_WORDS,
                TableName::Transfer => transfer::trace::rows(records),
                TableName::Permutation => permutation::trace::rows(records),
                TableName::Sponge => sponge::trace::rows(records),
                TableName::Tree => tree::trace::rows(records),
                TableName::Curve => secp256k1::trace::rows(records),
                TableName::Keccak => keccak::trace::rows(records),
            };
        }
        counts
    }

    /// The rows of one table.
    #[must_use]
    pub const fn of_table(&self, table: TableName) -> usize {
        self.0[table as usize]
    }

    /// Every table with its rows, in the order of [`TableName::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (TableName, usize)> {
        TableName::ALL.iter().copied().zip(self.0)
    }

    /// Do all tables of the shape have enough rows?
    ///
    /// # Errors
    ///
    /// [`TraceError::TooManyRows`], for the first table that has not.
    pub fn check(&self, shape: Shape) -> Result<(), TraceError> {
        match self.iter().find(|&(table, rows)| rows > shape.height(table)) {
            Some((table, rows)) => {
                Err(TraceError::TooManyRows { table: table.as_str(), rows, height: shape.height(table) })
            }
            None => Ok(()),
        }
    }
}
