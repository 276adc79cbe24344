//! The traces of all tables for one run.

use joule_machine::{Image as MachineImage, Records};
use p3_air::BaseAir;
use p3_matrix::Matrix;
use p3_maybe_rayon::prelude::*;

use crate::{
    Felt, bitwise,
    bytes::trace::{Lookups, PROVIDED},
    check::{Fault, Instance, Inventory, Trace, check},
    cpu, image, keccak, memory, narrow,
    operations::Questions,
    output::{self, constraints::PUBLIC_VALUES},
    poseidon2::{permutation, sponge, tree},
    product, quotient, secp256k1,
    shape::Shape,
    table::{JouleAir, Named, TableName},
    trace::TraceError,
    transfer,
};

/// The main traces of a run, in the order of [`TableName::ALL`], and its public values.
#[derive(Clone, Debug)]
pub struct Witness {
    /// The traces.
    pub traces: Vec<Trace>,
    /// Chain id, hX, hY.
    pub public_values: [Felt; PUBLIC_VALUES],
}

impl Witness {
    /// Fills the tables of a shape.
    ///
    /// # Errors
    ///
    /// [`TraceError`], if the run does not fit the shape or cannot be proven.
    pub fn new(
        shape: Shape,
        tables: &[JouleAir],
        machine_image: &MachineImage,
        records: &Records,
    ) -> Result<Self, TraceError> {
        let public_values = output::trace::public_values(records)?;
        let questions = Questions::of(records);
        let (cpu_trace, registers) = cpu::trace::fill(machine_image, records, shape.height(TableName::Cpu))?;
        let mut cpu_trace = Some(cpu_trace);
        let mut traces = Vec::with_capacity(TableName::ALL.len());
        for &table in TableName::ALL {
            let height = shape.height(table);
            traces.push(match table {
                TableName::Image => image::trace::fill(machine_image, records, &registers, height)?,
                TableName::Cpu => cpu_trace.take().expect("the cpu table is there once"),
                TableName::Bitwise => bitwise::trace::fill(&questions.bitwise, height)?,
                TableName::Narrow => narrow::trace::fill(&questions.narrow, height)?,
                TableName::Product => product::trace::fill(&questions.product, height)?,
                TableName::Quotient => quotient::trace::fill(&questions.quotient, height)?,
                TableName::Memory => memory::trace::fill(&records.memory, height)?,
                TableName::Output => output::trace::fill(records, height)?,
                TableName::Transfer => transfer::trace::trace(&transfer::trace::pairs(records), height)?,
                TableName::Permutation => permutation::trace::trace(&permutation::trace::uses(records), height)?,
                TableName::Sponge => sponge::trace::trace(&records.hashes, height)?,
                TableName::Tree => tree::trace::trace(&records.tree_updates, height)?,
                TableName::Curve => secp256k1::trace::trace(&records.recoveries, height)?,
                TableName::Keccak => keccak::trace::trace(&records.keccaks, height)?,
                // Counts what the others look up, so it is filled last.
                TableName::Bytes => Lookups::default().trace(),
            });
        }
        let mut witness = Self { traces, public_values };
        let lookups = witness.lookups(tables);
        if let Some((bus, fields)) = lookups.wrong {
            return Err(TraceError::NoFact { bus, fields });
        }
        let bytes = TableName::ALL.iter().position(|&table| table == TableName::Bytes).expect("is a table");
        witness.traces[bytes] = lookups.trace();
        Ok(witness)
    }

    /// Counts the lookups that all tables make in the bytes table, by evaluating them: what a table looks up is said in one place, its
    /// constraints.
    fn lookups(&self, tables: &[JouleAir]) -> Lookups {
        const ROWS_PER_TASK: usize = 1 << 14;
        let mut total = Lookups::default();
        let looks_up = |table: &JouleAir| {
            table.name() != TableName::Bytes
                && Inventory::of(&Named(table)).buses.keys().any(|bus| PROVIDED.contains(bus))
        };
        // Most of a row's cost is in constraints that are evaluated on the way, so tables that look nothing up are left out.
        for (table, main) in tables.iter().zip(&self.traces).filter(|(table, _)| looks_up(table)) {
            let preprocessed = table.preprocessed_trace();
            let instance = Instance {
                table,
                preprocessed: preprocessed.as_ref(),
                main,
                public_values: self.public_values_of(table.name()),
            };
            let tasks: Vec<usize> = (0..main.height()).step_by(ROWS_PER_TASK).collect();
            let counted = tasks
                .par_iter()
                .map(|&start| {
                    let mut lookups = Lookups::default();
                    for row in start..(start + ROWS_PER_TASK).min(main.height()) {
                        instance.evaluate(row, &mut lookups);
                    }
                    lookups
                })
                .reduce(Lookups::default, Lookups::merge);
            total = total.merge(counted);
        }
        total
    }

    /// The public values of a table: only the output table has any.
    pub fn public_values_of(&self, table: TableName) -> &[Felt] {
        if table == TableName::Output { &self.public_values } else { &[] }
    }

    /// Checks every constraint and bus without a proof; for tests and for finding out why a proof is refused.
    #[must_use]
    pub fn check(&self, tables: &[JouleAir], faults_max: usize) -> Vec<Fault> {
        let named: Vec<Named<'_>> = tables.iter().map(Named).collect();
        let preprocessed: Vec<Option<Trace>> = tables.iter().map(BaseAir::preprocessed_trace).collect();
        let instances: Vec<_> = named
            .iter()
            .zip(&self.traces)
            .zip(&preprocessed)
            .map(|((table, main), preprocessed)| {
                let name = table.0.name();
                let public_values = self.public_values_of(name);
                (name.as_str(), Instance { table, preprocessed: preprocessed.as_ref(), main, public_values })
            })
            .collect();
        check(&instances, faults_max)
    }
}
