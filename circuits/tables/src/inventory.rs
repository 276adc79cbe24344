//! What the tables consist of, counted from their constraints: widths, degrees, messages. The book's chapter is printed from here.

use std::{collections::BTreeMap, fmt::Write};

use p3_air::{BaseAir, symbolic::AirLayout};
use p3_batch_stark::symbolic::get_log_num_quotient_chunks_for_domain;
use p3_field::{PrimeCharacteristicRing, coset::TwoAdicMultiplicativeCoset};
use p3_lookup::{InteractionSymbolicBuilder, LogUpGadget, Lookups};
use p3_symmetric::MerkleCap;

use crate::{
    Felt,
    buses::{self, Kind},
    check::Inventory as Names,
    config::{Challenge, DIGEST},
    shape::Shape,
    table::{JouleAir, Named, TableName},
    verify::VerifyingKey,
};

/// Base-field columns of one extension-field column.
const EXTENSION: usize = 3;

/// What one table consists of, in a shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableInventory {
    /// The table.
    pub table: TableName,
    /// The logarithm of its height.
    pub height_bits: usize,
    /// Main columns.
    pub main: usize,
    /// Preprocessed columns.
    pub preprocessed: usize,
    /// Auxiliary columns of the buses, in base-field columns.
    pub auxiliary: usize,
    /// Columns of the quotient, in base-field columns.
    pub quotient: usize,
    /// How often the columns are opened: main, preprocessed and auxiliary ones at one or two points, the quotient's at one.
    pub openings: usize,
    /// Constraints of the table itself, over the base field.
    pub constraints: usize,
    /// Constraints of its buses, over the extension.
    pub bus_constraints: usize,
    /// The largest degree of any of them.
    pub degree: usize,
    /// Messages per row, by bus.
    pub messages: BTreeMap<&'static str, usize>,
    /// The widest message.
    pub message_width: usize,
    /// The codes of its constraints.
    pub codes: Vec<String>,
}

impl TableInventory {
    /// Cells that a prover commits to: main, auxiliary and quotient.
    #[must_use]
    pub const fn cells(&self) -> usize {
        (self.main + self.auxiliary + self.quotient) << self.height_bits
    }

    /// Messages of all rows.
    #[must_use]
    pub fn messages_total(&self) -> usize {
        self.messages.values().sum::<usize>() << self.height_bits
    }
}

/// Takes the inventory of all tables in a shape.
#[must_use]
pub fn inventory(shape: Shape) -> Vec<TableInventory> {
    let tables = shape.tables_without_image();
    // The layout of the buses does not depend on what is committed to.
    let common = VerifyingKey::new(shape, MerkleCap::new(vec![[Felt::ZERO; DIGEST]])).common_data(&tables);
    tables.iter().zip(&common.lookups).map(|(table, lookups)| of_table(shape, table, lookups)).collect()
}

fn of_table(shape: Shape, table: &JouleAir, lookups: &Lookups<Felt>) -> TableInventory {
    let name = table.name();
    let names = Names::of(&Named(table));
    let height_bits = shape.height_bits(name);
    let layout = AirLayout::from_air(table);
    let builder = InteractionSymbolicBuilder::<Felt, Challenge>::from_air(table, layout);
    let base = builder.base_constraints();
    let gadget = LogUpGadget::new();
    let bus_degree =
        lookups.iter().map(|lookup| gadget.constraint_degree_with_transition(lookup, 0)).max().unwrap_or(0);
    let base_degree = base.iter().map(|constraint| constraint.degree_multiple()).max().unwrap_or(0);
    let domain = TwoAdicMultiplicativeCoset::new(Felt::ONE, height_bits).expect("heights are far below 2^32");
    let chunks_bits =
        get_log_num_quotient_chunks_for_domain::<_, Challenge, _, _>(table, layout, domain, lookups, 0, &gadget);
    let (main, preprocessed) = (table.width(), table.preprocessed_width());
    let auxiliary = if lookups.is_empty() { 0 } else { EXTENSION * (lookups.len() + 1) };
    let quotient = EXTENSION << chunks_bits;
    let points = |next: Vec<usize>| if next.is_empty() { 1 } else { 2 };
    TableInventory {
        table: name,
        height_bits,
        main,
        preprocessed,
        auxiliary,
        quotient,
        openings: main * points(table.main_next_row_columns())
            + preprocessed * points(table.preprocessed_next_row_columns())
            + auxiliary * 2
            + quotient,
        constraints: base.len(),
        // One per auxiliary column, and the accumulator's three.
        bus_constraints: if lookups.is_empty() { 0 } else { lookups.len() + 3 },
        degree: base_degree.max(bus_degree),
        message_width: lookups.iter().flat_map(|lookup| &lookup.elements).map(Vec::len).max().unwrap_or(0),
        codes: names.codes().into_iter().map(str::to_owned).collect(),
        messages: names.buses,
    }
}

/// The book's chapter on widths, degrees and buses.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::from(
        "# Tables and buses, counted\n\nPrinted from the constraints themselves by `joule_tables::inventory::markdown`; a test keeps it fresh.\n\n\
         ## Tables\n\nWidths in base-field columns. *Auxiliary* columns belong to the buses, *openings* count a column once for each point it is opened at.\n\n\
         | table | main | preprocessed | auxiliary | quotient | openings | constraints | degree |\n|---|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    let small = inventory(Shape::Small);
    let mut row = |name: &str, numbers: &[usize]| {
        let numbers: Vec<String> = numbers.iter().map(usize::to_string).collect();
        writeln!(text, "| {name} | {} |", numbers.join(" | ")).expect("a string takes all");
    };
    for table in &small {
        row(
            table.table.as_str(),
            &[
                table.main,
                table.preprocessed,
                table.auxiliary,
                table.quotient,
                table.openings,
                table.constraints,
                table.degree,
            ],
        );
    }
    let total = |of: fn(&TableInventory) -> usize| small.iter().map(of).sum::<usize>();
    row(
        "**all**",
        &[
            total(|table| table.main),
            total(|table| table.preprocessed),
            total(|table| table.auxiliary),
            total(|table| table.quotient),
            total(|table| table.openings),
            total(|table| table.constraints),
            small.iter().map(|table| table.degree).max().unwrap_or(0),
        ],
    );

    text.push_str("\n## Heights\n\nLogarithms to base two, and the cells that a prover commits to.\n\n| table |");
    for shape in Shape::ALL {
        write!(text, " {shape} |").expect("a string takes all");
    }
    text.push_str("\n|---|");
    text.push_str(&"---:|".repeat(Shape::ALL.len()));
    text.push('\n');
    let by_shape: Vec<Vec<TableInventory>> = Shape::ALL.into_iter().map(inventory).collect();
    for (index, table) in small.iter().enumerate() {
        write!(text, "| {} |", table.table).expect("a string takes all");
        for tables in &by_shape {
            write!(text, " {} |", tables[index].height_bits).expect("a string takes all");
        }
        text.push('\n');
    }
    text.push_str("| **cells** |");
    for tables in &by_shape {
        let cells: usize = tables.iter().map(TableInventory::cells).sum();
        write!(text, " {:.1} M |", cells as f64 / 1e6).expect("a string takes all");
    }
    text.push_str("\n| **cells per row of the cpu** |");
    for (tables, shape) in by_shape.iter().zip(Shape::ALL) {
        let cells: usize = tables.iter().map(TableInventory::cells).sum();
        write!(text, " {} |", cells >> shape.height_bits(TableName::Cpu)).expect("a string takes all");
    }
    text.push('\n');

    text.push_str("\n## Buses\n");
    for bus in buses::ALL {
        let kind = match bus.kind {
            Kind::Lookup => "lookup",
            Kind::Exchange => "exchange",
            Kind::Definition => "definition",
        };
        write!(text, "\n### {} ({kind})\n\n`({})`\n\n{}\n\n", bus.name, bus.message.join(", "), bus.argument)
            .expect("a string takes all");
        let speakers: Vec<String> = small
            .iter()
            .filter_map(|table| Some(format!("{} ({})", table.table, table.messages.get(bus.name)?)))
            .collect();
        writeln!(text, "Messages per row: {}.", speakers.join(", ")).expect("a string takes all");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::DEGREE_MAX;

    #[test]
    fn degrees_are_bounded_and_buses_have_two_sides() {
        let tables = inventory(Shape::Tiny);
        for table in &tables {
            assert!(table.degree <= DEGREE_MAX, "{}: degree {}", table.table, table.degree);
            // Four times the height holds no more than four chunks.
            assert!(table.quotient <= 2 * EXTENSION, "{}", table.table);
        }
        for bus in buses::ALL {
            let messages: usize = tables.iter().filter_map(|table| table.messages.get(bus.name)).sum();
            assert!(messages >= 2, "{} has nobody to talk to", bus.name);
        }
        let spoken = tables.iter().flat_map(|table| table.messages.keys());
        assert!(spoken.into_iter().all(|name| buses::by_name(name).is_some()));
    }

    #[test]
    fn the_book_is_fresh() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../book/src/tables-counted.md");
        let printed = markdown();
        if std::env::var_os("JOULE_BOOK").is_some() {
            std::fs::write(path, &printed).unwrap();
        }
        assert!(
            std::fs::read_to_string(path).unwrap_or_default() == printed,
            "the tables have changed: print the chapter again with JOULE_BOOK=1 cargo test -p joule-tables book"
        );
    }
}
