//! Constraints and buses evaluated on plain traces, without a proof.
//!
//! The prover runs this over a whole witness when asked to ([`check`]), the tests run it over thousands of forged ones. It evaluates the same
//! `Air` as the proof does, so it can be no more lenient, except that it sees a bus as the multiset it stands for.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use p3_air::{Air, AirBuilder, BaseAir, Name, NamedAirBuilder, RowWindow};
use p3_field::{PrimeCharacteristicRing, PrimeField64};
use p3_lookup::{Count, InteractionBuilder};
use p3_matrix::{Matrix, dense::RowMajorMatrix};

use crate::{
    Felt,
    buses::{self, Bus},
};

/// A main or preprocessed trace.
pub type Trace = RowMajorMatrix<Felt>;

/// The widest message of any bus.
pub const MESSAGE_WIDTH_MAX: usize = 32;

/// What becomes of the constraints and messages of a row.
pub trait Sink {
    /// A constraint was evaluated; `value` should be zero.
    fn constraint(&mut self, value: Felt, name: impl Name);
    /// A message is on a bus `count` times; negative where the row receives or provides.
    fn message(&mut self, bus: &'static Bus, fields: &[Felt], count: Felt);
}

/// Evaluates one row of a table on field elements.
pub struct Checker<'a, S> {
    main: RowWindow<'a, Felt>,
    preprocessed: RowWindow<'a, Felt>,
    public_values: &'a [Felt],
    is_first_row: bool,
    is_last_row: bool,
    sink: &'a mut S,
}

impl<'a, S: Sink> AirBuilder for Checker<'a, S> {
    type F = Felt;
    type Expr = Felt;
    type Var = Felt;
    type PreprocessedWindow = RowWindow<'a, Felt>;
    type MainWindow = RowWindow<'a, Felt>;
    type PublicVar = Felt;
    type PeriodicVar = Felt;

    fn main(&self) -> Self::MainWindow {
        self.main
    }

    fn preprocessed(&self) -> &Self::PreprocessedWindow {
        &self.preprocessed
    }

    fn is_first_row(&self) -> Felt {
        Felt::from_bool(self.is_first_row)
    }

    fn is_last_row(&self) -> Felt {
        Felt::from_bool(self.is_last_row)
    }

    fn is_transition(&self) -> Felt {
        Felt::from_bool(!self.is_last_row)
    }

    fn assert_zero<I: Into<Felt>>(&mut self, x: I) {
        self.assert_zero_named(x, "unnamed");
    }

    fn public_values(&self) -> &[Felt] {
        self.public_values
    }
}

impl<S: Sink> NamedAirBuilder for Checker<'_, S> {
    fn assert_zero_named<I, N>(&mut self, x: I, name: N)
    where
        I: Into<Felt>,
        N: Name,
    {
        self.sink.constraint(x.into(), name);
    }
}

impl<S: Sink> InteractionBuilder for Checker<'_, S> {
    fn push_interaction<E: Into<Felt>>(
        &mut self,
        bus_name: &str,
        fields: impl IntoIterator<Item = E>,
        count: impl Into<Count<Felt>>,
    ) {
        let bus = buses::by_name(bus_name).expect("every bus is declared in `buses`");
        let mut message = [Felt::ZERO; MESSAGE_WIDTH_MAX];
        let mut width = 0;
        for field in fields {
            message[width] = field.into();
            width += 1;
        }
        assert_eq!(width, bus.message.len(), "a message on {bus_name} has the wrong width");
        self.sink.message(bus, &message[..width], count.into().into_parts().0);
    }

    fn push_local_interaction(&mut self, _: impl IntoIterator<Item = (Vec<Felt>, Count<Felt>)>) {
        unreachable!("no table uses local lookups: all buses are in `buses`");
    }
}

/// One table of a witness.
#[derive(Debug)]
pub struct Instance<'a, T> {
    /// The table.
    pub table: &'a T,
    /// Its preprocessed trace, if it has one.
    pub preprocessed: Option<&'a Trace>,
    /// Its main trace.
    pub main: &'a Trace,
    /// Its public values.
    pub public_values: &'a [Felt],
}

impl<'a, T> Instance<'a, T> {
    /// Evaluates one row into a sink.
    pub fn evaluate<S: Sink>(&self, row: usize, sink: &mut S)
    where
        T: for<'c> Air<Checker<'c, S>>,
    {
        let height = self.main.height();
        let next = (row + 1) % height;
        let empty: &[Felt] = &[];
        let preprocessed = self.preprocessed.map_or((empty, empty), |trace| (slice(trace, row), slice(trace, next)));
        let mut checker = Checker {
            main: RowWindow::from_two_rows(slice(self.main, row), slice(self.main, next)),
            preprocessed: RowWindow::from_two_rows(preprocessed.0, preprocessed.1),
            public_values: self.public_values,
            is_first_row: row == 0,
            is_last_row: row + 1 == height,
            sink,
        };
        self.table.eval(&mut checker);
    }
}

fn slice(trace: &Trace, row: usize) -> &[Felt] {
    &trace.values[row * trace.width..(row + 1) * trace.width]
}

/// A constraint's code: the first word of its name, which is what tests and the book refer to it by.
#[must_use]
pub fn code(name: &str) -> &str {
    name.split([' ', ':']).next().unwrap_or(name)
}

/// Collects the broken constraints and the messages of rows.
#[derive(Clone, Debug, Default)]
pub struct Collect {
    /// The names of the constraints that do not hold.
    pub broken: Vec<String>,
    /// The messages, each with its bus and its count (never zero).
    pub messages: Vec<(&'static str, Vec<Felt>, Felt)>,
}

impl Sink for Collect {
    fn constraint(&mut self, value: Felt, name: impl Name) {
        if value != Felt::ZERO {
            self.broken.push(name.evaluate().to_string());
        }
    }

    fn message(&mut self, bus: &'static Bus, fields: &[Felt], count: Felt) {
        if count != Felt::ZERO {
            self.messages.push((bus.name, fields.to_vec(), count));
        }
    }
}

/// Collects what a table says about itself: the names of its constraints and its buses, with how many messages a row has on each.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// Every constraint's name, in order.
    pub constraints: Vec<String>,
    /// Messages per row of every bus.
    pub buses: BTreeMap<&'static str, usize>,
}

impl Sink for Inventory {
    fn constraint(&mut self, _: Felt, name: impl Name) {
        self.constraints.push(name.evaluate().to_string());
    }

    fn message(&mut self, bus: &'static Bus, _: &[Felt], _: Felt) {
        *self.buses.entry(bus.name).or_default() += 1;
    }
}

impl Inventory {
    /// Takes the inventory of a table.
    pub fn of<T>(table: &T) -> Self
    where
        T: BaseAir<Felt> + for<'c> Air<Checker<'c, Self>>,
    {
        let mut inventory = Self::default();
        // Names and buses do not depend on values: any row will do.
        let zeros = |width: usize| RowMajorMatrix::new(vec![Felt::ZERO; 2 * width], width.max(1));
        let (main, preprocessed) = (zeros(table.width()), zeros(table.preprocessed_width()));
        let public_values = vec![Felt::ZERO; table.num_public_values()];
        let preprocessed = (table.preprocessed_width() > 0).then_some(&preprocessed);
        Instance { table, preprocessed, main: &main, public_values: &public_values }.evaluate(0, &mut inventory);
        inventory
    }

    /// The codes of the constraints, each once.
    #[must_use]
    pub fn codes(&self) -> BTreeSet<&str> {
        self.constraints.iter().map(|name| code(name)).collect()
    }
}

/// Something wrong with a witness.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A constraint does not hold.
    #[error("table {table}, row {row}: {constraint} does not hold")]
    Constraint {
        /// The table.
        table: String,
        /// The row.
        row: usize,
        /// The constraint's name.
        constraint: String,
    },
    /// A message on a bus has no counterpart.
    #[error("bus {bus}: {fields:?} is left over {count} times; last spoken by table {table}, row {row}")]
    Unbalanced {
        /// The bus.
        bus: &'static str,
        /// The message.
        fields: Vec<u64>,
        /// How often: positive if it was sent too often, negative if received too often.
        count: i64,
        /// A table that speaks it.
        table: String,
        /// A row of that table that speaks it.
        row: usize,
    },
}

/// Checks whole traces: every constraint on every row, and every bus. Returns at most `faults_max` faults.
///
/// The multiset of all messages is kept in memory, so this is for tests and for finding a prover's mistakes, not for large witnesses.
pub fn check<T>(instances: &[(&str, Instance<'_, T>)], faults_max: usize) -> Vec<Fault>
where
    T: BaseAir<Felt> + for<'c> Air<Checker<'c, Collect>>,
{
    let mut faults = Vec::new();
    let mut sums: HashMap<(&'static str, Vec<Felt>), (Felt, usize, usize)> = HashMap::new();
    let mut collect = Collect::default();
    for (number, (name, instance)) in instances.iter().enumerate() {
        for row in 0..instance.main.height() {
            instance.evaluate(row, &mut collect);
            faults.extend(collect.broken.drain(..).map(|constraint| Fault::Constraint {
                table: (*name).to_owned(),
                row,
                constraint,
            }));
            if faults.len() >= faults_max {
                faults.truncate(faults_max);
                return faults;
            }
            for (bus, fields, count) in collect.messages.drain(..) {
                let sum = sums.entry((bus, fields)).or_insert((Felt::ZERO, number, row));
                *sum = (sum.0 + count, number, row);
            }
        }
    }
    let mut unbalanced: Vec<_> = sums.into_iter().filter(|(_, (sum, ..))| *sum != Felt::ZERO).collect();
    unbalanced.sort_by_key(|((bus, _), (_, table, row))| (*bus, *table, *row));
    faults.extend(unbalanced.into_iter().map(|((bus, fields), (sum, table, row))| Fault::Unbalanced {
        bus,
        fields: fields.iter().map(Felt::as_canonical_u64).collect(),
        count: signed(sum),
        table: instances[table].0.to_owned(),
        row,
    }));
    faults.truncate(faults_max);
    faults
}

/// A field element as the integer of least magnitude that it stands for.
fn signed(value: Felt) -> i64 {
    let value = value.as_canonical_u64();
    if value > Felt::ORDER_U64 / 2 { -((Felt::ORDER_U64 - value) as i64) } else { value as i64 }
}
