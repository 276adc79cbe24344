//! A shape: everything about a table proof that is fixed when the circuit is built.
//!
//! The circuit that verifies a table proof has no branches, so the set of tables, their heights, the FRI parameters and
//! the constraints are constants of the circuit. [`Shape::new`] takes them from the AIR types themselves, with
//! Plonky3's own symbolic builder and lookup layout: the circuit evaluates the expressions Plonky3's verifier would.

use std::collections::HashMap;

use p3_air::Air;
use p3_air::symbolic::{AirLayout, SymbolicExpression, SymbolicExpressionExt};
use p3_batch_stark::symbolic::get_log_num_quotient_chunks_for_domain;
use p3_batch_stark::{BatchShape, CommonData};
use p3_challenger::CanObserve;
use p3_challenger::fs::{DomainSeparator, FieldUnit};
use p3_field::coset::TwoAdicMultiplicativeCoset;
use p3_field::{PrimeCharacteristicRing as _, TwoAdicField as _};
use p3_fri::{FriShape, PcsShape, fold_schedule};
use p3_lookup::{
    InteractionSymbolicBuilder, Kind, LogUpGadget, Lookup, LookupProtocol as _, check_multiplicity_height_bound,
};

use crate::field::{CUBIC, Challenge, TableConfig, Val};
use crate::gates::LOG_ARITY_MAX;
use crate::parameters::StarkParameters;

/// Why a set of tables is not a shape this circuit can verify.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// The lists of AIRs, heights and lookups have different lengths.
    #[error("{airs} tables, {heights} heights and {lookups} lists of lookups")]
    TableCount {
        /// Number of AIRs.
        airs: usize,
        /// Number of heights.
        heights: usize,
        /// Number of lookup lists.
        lookups: usize,
    },
    /// There is no table.
    #[error("a shape needs at least one table")]
    Empty,
    /// A table is not taller than the final polynomial, so FRI would have nothing to fold.
    #[error("table {table} has 2^{log_height} rows, the final polynomial needs more than 2^{log_final}")]
    TooShort {
        /// Position of the table.
        table: usize,
        /// Binary logarithm of its height.
        log_height: usize,
        /// Binary logarithm of the length of the final polynomial.
        log_final: usize,
    },
    /// A table's committed domain has no root of unity, or its index has more bits than are worth their name.
    #[error("table {table}: 2^{log_size} points exceed the field's two-adic subgroup")]
    TooTall {
        /// Position of the table.
        table: usize,
        /// Binary logarithm of the size of the committed domain.
        log_size: usize,
    },
    /// A Merkle cap would be taller than the smallest matrix, which would then not be authenticated.
    #[error("cap height {cap_height} exceeds the smallest committed matrix, 2^{log_size}")]
    CapTooTall {
        /// Height of the caps.
        cap_height: usize,
        /// Binary logarithm of the smallest committed domain.
        log_size: usize,
    },
    /// A parameter is out of the range this circuit supports.
    #[error("{name} is {got}, expected {expected}")]
    Parameter {
        /// The parameter.
        name: &'static str,
        /// What is supported.
        expected: &'static str,
        /// What was asked for.
        got: usize,
    },
    /// A table binds public values by position, which Plonky3's batch verifier does not support.
    #[error("table {table} has boundary public values; bind them with constraints")]
    BoundaryPublicValues {
        /// Position of the table.
        table: usize,
    },
    /// Preprocessed data describe another set of tables.
    #[error("table {table}: the preprocessed commitment is for 2^{committed} rows, the table has 2^{log_height}")]
    Preprocessed {
        /// Position of the table.
        table: usize,
        /// Binary logarithm of the height committed to.
        committed: usize,
        /// Binary logarithm of the table's height.
        log_height: usize,
    },
    /// The periods of periodic columns do not divide the height.
    #[error("table {table}: a periodic column of {period} values in a table of 2^{log_height} rows")]
    Periodic {
        /// Position of the table.
        table: usize,
        /// Length of the column.
        period: usize,
        /// Binary logarithm of the table's height.
        log_height: usize,
    },
    /// Messages of one bus have different lengths, so a shorter one could pass for a longer one.
    #[error("table {table}: a message of {got} elements on a bus of {expected}")]
    MessageWidth {
        /// Position of the table.
        table: usize,
        /// Elements of the bus's other messages.
        expected: usize,
        /// Elements of this message.
        got: usize,
    },
    /// The lookup multiplicities could wrap around the field.
    #[error("lookup multiplicities may reach the characteristic: {0}")]
    Multiplicities(String),
}

/// One constraint, in the order in which Plonky3 folds them.
#[derive(Clone, Debug)]
pub enum Constraint {
    /// Over the base field: what the AIR asserts.
    Base(SymbolicExpression<Val>),
    /// Over the extension: what the lookup argument asserts.
    Extension(SymbolicExpressionExt<Val, Challenge>),
}

/// What is fixed about one table.
#[derive(Clone, Debug)]
pub struct TableShape {
    /// Binary logarithm of the number of rows.
    pub log_height: usize,
    /// Columns of the main trace.
    pub width: usize,
    /// Preprocessed columns; zero without.
    pub preprocessed_width: usize,
    /// Number of public values.
    pub public_values: usize,
    /// Whether the main trace is opened at the next row too.
    pub opens_next: bool,
    /// Whether the preprocessed trace is opened at the next row too.
    pub preprocessed_opens_next: bool,
    /// Binary logarithm of the number of quotient chunks.
    pub log_quotient_chunks: usize,
    /// Index of the bus of each lookup; the table has one auxiliary column more than lookups, or none.
    pub buses: Vec<usize>,
    /// Values of the periodic columns.
    pub periodic: Vec<Vec<Val>>,
    /// The constraints in folding order.
    pub constraints: Vec<Constraint>,
}

impl TableShape {
    /// Auxiliary columns, counted in extension elements.
    #[must_use]
    pub fn auxiliary_width(&self) -> usize {
        if self.buses.is_empty() { 0 } else { self.buses.len() + 1 }
    }

    /// Number of quotient chunks.
    #[must_use]
    pub const fn quotient_chunks(&self) -> usize {
        1 << self.log_quotient_chunks
    }
}

/// Which polynomials a committed matrix holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// The main trace of a table.
    Main,
    /// A chunk of a table's quotient.
    Quotient(usize),
    /// The preprocessed trace of a table.
    Preprocessed,
    /// The auxiliary trace of a table.
    Permutation,
}

/// A committed matrix.
#[derive(Clone, Copy, Debug)]
pub struct MatrixShape {
    /// The table it belongs to.
    pub table: usize,
    /// What it holds.
    pub source: Source,
    /// Binary logarithm of the committed number of rows, blowup included.
    pub log_height: usize,
    /// Base-field columns.
    pub width: usize,
    /// Points it is opened at: the out-of-domain point, and the point of the next row if this is two.
    pub points: usize,
}

/// Everything about a table proof that is fixed when the circuit is built.
#[derive(Clone, Debug)]
pub struct Shape {
    /// What the shape is called in file headers and reports.
    pub name: String,
    /// The parameters of the proof.
    pub parameters: StarkParameters,
    /// The tables in order.
    pub tables: Vec<TableShape>,
    /// The commitments in the order of the opening argument: main, quotient, preprocessed, permutation.
    pub batches: Vec<Vec<MatrixShape>>,
    /// Binary logarithms of the folding arities, round by round.
    pub schedule: Vec<usize>,
    /// Number of buses, local lookups included.
    pub buses: usize,
    /// Largest number of elements of a bus message.
    pub message_width_max: usize,
    /// Field elements with which the three nested protocols begin their transcripts.
    pub seeds: Seeds,
}

/// The constants each protocol absorbs first: its name, its steps and its dimensions, hashed and encoded by Plonky3.
#[derive(Clone, Debug)]
pub struct Seeds {
    /// Of the batch proof.
    pub batch: Vec<Val>,
    /// Of the opening argument.
    pub opening: Vec<Val>,
    /// Of FRI.
    pub fri: Vec<Val>,
}

impl Shape {
    /// The shape of proofs about `airs` with `2^log_heights` rows.
    ///
    /// `common` is what Plonky3's `ProverData` made for the same tables; it fixes how lookups are packed into columns.
    ///
    /// # Errors
    /// If the tables, heights or parameters are outside what the circuit supports; see [`ShapeError`].
    pub fn new<A>(
        name: impl Into<String>,
        parameters: StarkParameters,
        airs: &[A],
        log_heights: &[usize],
        common: &CommonData<TableConfig>,
    ) -> Result<Self, ShapeError>
    where
        A: Air<InteractionSymbolicBuilder<Val, Challenge>>,
    {
        check_parameters(&parameters)?;
        if airs.len() != log_heights.len() || airs.len() != common.lookups.len() {
            return Err(ShapeError::TableCount {
                airs: airs.len(),
                heights: log_heights.len(),
                lookups: common.lookups.len(),
            });
        }
        if airs.is_empty() {
            return Err(ShapeError::Empty);
        }
        check_heights(&parameters, log_heights)?;

        let heights: Vec<usize> = log_heights.iter().map(|&log_height| 1 << log_height).collect();
        check_multiplicity_height_bound(&common.lookups, &heights)
            .map_err(|error| ShapeError::Multiplicities(error.to_string()))?;

        let mut buses = Buses::default();
        let tables = airs
            .iter()
            .zip(log_heights)
            .enumerate()
            .map(|(table, (air, &log_height))| table_shape(table, air, log_height, common, &mut buses))
            .collect::<Result<Vec<_>, _>>()?;

        let has_preprocessed = common.preprocessed.is_some();
        let batches = batches(&parameters, &tables);
        let mut input_heights: Vec<usize> = batches.iter().flatten().map(|matrix| matrix.log_height).collect();
        input_heights.sort_unstable_by(|a, b| b.cmp(a));
        input_heights.dedup();
        let log_final_height = parameters.log_blowup + parameters.log_final_polynomial_length;
        let schedule = fold_schedule(&input_heights, log_final_height, parameters.log_arity_max);

        let seeds = seeds(&parameters, &tables, has_preprocessed, &batches, &schedule, input_heights[0]);
        Ok(Self {
            name: name.into(),
            parameters,
            tables,
            batches,
            schedule,
            buses: buses.count,
            message_width_max: buses.message_width_max.max(1),
            seeds,
        })
    }

    /// Whether the proof has a preprocessed commitment.
    #[must_use]
    pub fn has_preprocessed(&self) -> bool {
        self.tables.iter().any(|table| table.preprocessed_width > 0)
    }

    /// Whether the proof has an auxiliary commitment.
    #[must_use]
    pub fn has_lookups(&self) -> bool {
        self.tables.iter().any(|table| !table.buses.is_empty())
    }

    /// Bits of a query index.
    #[must_use]
    pub fn index_bits(&self) -> usize {
        self.batches.iter().flatten().map(|matrix| matrix.log_height).max().unwrap_or(0)
    }

    /// Position of a matrix among the commitments.
    #[must_use]
    pub fn position(&self, table: usize, source: Source) -> Option<(usize, usize)> {
        self.batches.iter().enumerate().find_map(|(batch, matrices)| {
            let matrix = matrices.iter().position(|matrix| matrix.table == table && matrix.source == source)?;
            Some((batch, matrix))
        })
    }

    /// Merkle siblings of an opening in a tree over `2^log_height` leaves.
    #[must_use]
    pub const fn siblings(&self, log_height: usize) -> usize {
        log_height.saturating_sub(self.parameters.cap_height)
    }

    /// Binary logarithm of the number of leaves of a batch.
    #[must_use]
    pub fn batch_log_height(&self, batch: usize) -> usize {
        self.batches[batch].iter().map(|matrix| matrix.log_height).max().unwrap_or(0)
    }

    /// Base-field columns committed to, over all tables and commitments.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.batches.iter().flatten().map(|matrix| matrix.width).sum()
    }
}

fn check_parameters(parameters: &StarkParameters) -> Result<(), ShapeError> {
    /// A grinding challenge looks at fewer bits than the lower half of an element.
    const GRINDING_BITS_MAX: usize = 32;
    let range = |name, got: usize, low: usize, high: usize, expected| {
        if (low..=high).contains(&got) { Ok(()) } else { Err(ShapeError::Parameter { name, expected, got }) }
    };
    range("log_arity_max", parameters.log_arity_max, 1, LOG_ARITY_MAX, "1 to 3")?;
    range("log_blowup", parameters.log_blowup, 1, 8, "1 to 8")?;
    range("queries", parameters.queries, 1, 1 << 10, "1 to 1024")?;
    range("log_final_polynomial_length", parameters.log_final_polynomial_length, 0, 8, "0 to 8")?;
    range("cap_height", parameters.cap_height, 0, 6, "0 to 6")?;
    for (name, bits) in [
        ("lookup_grinding_bits", parameters.lookup_grinding_bits),
        ("out_of_domain_grinding_bits", parameters.out_of_domain_grinding_bits),
        ("batch_grinding_bits", parameters.batch_grinding_bits),
        ("commit_grinding_bits", parameters.commit_grinding_bits),
        ("query_grinding_bits", parameters.query_grinding_bits),
    ] {
        range(name, bits, 0, GRINDING_BITS_MAX, "0 to 32")?;
    }
    Ok(())
}

fn check_heights(parameters: &StarkParameters, log_heights: &[usize]) -> Result<(), ShapeError> {
    for (table, &log_height) in log_heights.iter().enumerate() {
        if log_height <= parameters.log_final_polynomial_length {
            let log_final = parameters.log_final_polynomial_length;
            return Err(ShapeError::TooShort { table, log_height, log_final });
        }
        let log_size = log_height + parameters.log_blowup;
        if log_size > Val::TWO_ADICITY {
            return Err(ShapeError::TooTall { table, log_size });
        }
        // The last FRI tree has as many leaves as the final polynomial has evaluations.
        let log_smallest = log_size.min(parameters.log_blowup + parameters.log_final_polynomial_length);
        if log_smallest < parameters.cap_height {
            return Err(ShapeError::CapTooTall { cap_height: parameters.cap_height, log_size: log_smallest });
        }
    }
    Ok(())
}

/// Numbers buses as Plonky3's transcript does: global ones by first appearance, each local one for itself.
#[derive(Default)]
struct Buses {
    /// Number and message width of the global buses.
    global: HashMap<String, (usize, usize)>,
    count: usize,
    message_width_max: usize,
}

impl Buses {
    fn number(&mut self, table: usize, lookup: &Lookup<Val>) -> Result<usize, ShapeError> {
        let width = lookup.elements.first().map_or(0, Vec::len);
        let fresh = self.count;
        let (number, expected) = match &lookup.kind {
            Kind::Global(name) => *self.global.entry(name.clone()).or_insert((fresh, width)),
            Kind::Local => (fresh, width),
        };
        if let Some(message) = lookup.elements.iter().find(|message| message.len() != expected) {
            return Err(ShapeError::MessageWidth { table, expected, got: message.len() });
        }
        if number == fresh {
            self.count += 1;
        }
        self.message_width_max = self.message_width_max.max(width);
        Ok(number)
    }
}

fn table_shape<A>(
    table: usize,
    air: &A,
    log_height: usize,
    common: &CommonData<TableConfig>,
    buses: &mut Buses,
) -> Result<TableShape, ShapeError>
where
    A: Air<InteractionSymbolicBuilder<Val, Challenge>>,
{
    if !air.public_boundary_io().is_empty() {
        return Err(ShapeError::BoundaryPublicValues { table });
    }
    let meta = common.preprocessed.as_ref().and_then(|global| global.instances.get(table)?.as_ref());
    if let Some(meta) = meta
        && meta.degree_bits != log_height
    {
        return Err(ShapeError::Preprocessed { table, committed: meta.degree_bits, log_height });
    }
    let preprocessed_width = meta.map_or(0, |meta| meta.width);
    let periodic = air.periodic_columns().into_owned();
    for column in &periodic {
        if !column.len().is_power_of_two() || column.len() > 1 << log_height {
            return Err(ShapeError::Periodic { table, period: column.len(), log_height });
        }
    }

    let lookups = &common.lookups[table];
    let gadget = LogUpGadget::new();
    let layout = AirLayout {
        preprocessed_width,
        main_width: air.width(),
        num_public_values: air.num_public_values(),
        num_periodic_columns: air.num_periodic_columns(),
        ..AirLayout::default()
    };
    let domain = TwoAdicMultiplicativeCoset::new(Val::ONE, log_height)
        .ok_or(ShapeError::TooTall { table, log_size: log_height })?;
    let log_quotient_chunks =
        get_log_num_quotient_chunks_for_domain::<_, Challenge, A, _>(air, layout, domain, lookups, 0, &gadget);

    let lookup_count = lookups.len();
    let mut builder = InteractionSymbolicBuilder::<Val, Challenge>::new(AirLayout {
        permutation_width: if lookup_count == 0 { 0 } else { lookup_count + 1 },
        num_permutation_challenges: gadget.num_challenges() * lookup_count,
        num_permutation_values: usize::from(lookup_count > 0),
        ..layout
    });
    gadget.eval_air_and_lookups(air, &mut builder, lookups);
    let order = builder.constraint_layout();
    let mut constraints: Vec<(usize, Constraint)> = order
        .base_indices
        .into_iter()
        .zip(builder.base_constraints().into_iter().map(Constraint::Base))
        .chain(
            order.ext_indices.into_iter().zip(builder.extension_constraints().into_iter().map(Constraint::Extension)),
        )
        .collect();
    constraints.sort_by_key(|(index, _)| *index);

    Ok(TableShape {
        log_height,
        width: air.width(),
        preprocessed_width,
        public_values: air.num_public_values(),
        opens_next: !air.main_next_row_columns().is_empty(),
        preprocessed_opens_next: preprocessed_width > 0 && !air.preprocessed_next_row_columns().is_empty(),
        log_quotient_chunks,
        buses: lookups.iter().map(|lookup| buses.number(table, lookup)).collect::<Result<_, _>>()?,
        periodic,
        constraints: constraints.into_iter().map(|(_, constraint)| constraint).collect(),
    })
}

/// The commitments and their matrices, in the order of the opening argument.
fn batches(parameters: &StarkParameters, tables: &[TableShape]) -> Vec<Vec<MatrixShape>> {
    let matrix = |table: usize, source, width, opens_next| MatrixShape {
        table,
        source,
        log_height: tables[table].log_height + parameters.log_blowup,
        width,
        points: 1 + usize::from(opens_next),
    };
    let main = tables.iter().enumerate().map(|(i, table)| matrix(i, Source::Main, table.width, table.opens_next));
    let quotient = tables.iter().enumerate().flat_map(|(i, table)| {
        (0..table.quotient_chunks()).map(move |chunk| matrix(i, Source::Quotient(chunk), CUBIC, false))
    });
    let preprocessed = tables
        .iter()
        .enumerate()
        .filter(|(_, table)| table.preprocessed_width > 0)
        .map(|(i, table)| matrix(i, Source::Preprocessed, table.preprocessed_width, table.preprocessed_opens_next));
    let permutation = tables
        .iter()
        .enumerate()
        .filter(|(_, table)| table.auxiliary_width() > 0)
        .map(|(i, table)| matrix(i, Source::Permutation, CUBIC * table.auxiliary_width(), true));
    [main.collect::<Vec<_>>(), quotient.collect(), preprocessed.collect(), permutation.collect()]
        .into_iter()
        .filter(|batch| !batch.is_empty())
        .collect()
}

/// Records what a protocol absorbs.
struct Recorder(Vec<Val>);

impl CanObserve<Val> for Recorder {
    fn observe(&mut self, value: Val) {
        self.0.push(value);
    }
}

fn recorded(separator: &DomainSeparator<FieldUnit<Val>>) -> Vec<Val> {
    let mut recorder = Recorder(Vec::new());
    separator.seed(&mut recorder);
    recorder.0
}

fn seeds(
    parameters: &StarkParameters,
    tables: &[TableShape],
    has_preprocessed: bool,
    batches: &[Vec<MatrixShape>],
    schedule: &[usize],
    index_bits: usize,
) -> Seeds {
    let batch = BatchShape {
        trace_widths: tables.iter().map(|table| table.width).collect(),
        public_value_counts: tables.iter().map(|table| table.public_values).collect(),
        preprocessed_widths: tables.iter().map(|table| table.preprocessed_width).collect(),
        has_preprocessed_commitment: has_preprocessed,
        num_lookup_instances: tables.iter().filter(|table| !table.buses.is_empty()).count(),
        lookup_pow_bits: parameters.lookup_grinding_bits,
        has_randomization_commitment: false,
        ood_pow_bits: parameters.out_of_domain_grinding_bits,
    };
    let claimed_evaluation_counts = batches
        .iter()
        .map(|matrices| matrices.iter().map(|matrix| vec![matrix.width; matrix.points]).collect())
        .collect();
    let opening = PcsShape { claimed_evaluation_counts, batch_pow_bits: parameters.batch_grinding_bits };
    let fri = FriShape::with_schedule(&parameters.fri(()), schedule.to_vec(), index_bits);
    Seeds {
        batch: recorded(&batch.domain_separator::<Val, Challenge>()),
        opening: recorded(&opening.domain_separator::<Val, Challenge>()),
        fri: recorded(&fri.domain_separator::<Val, Challenge>()),
    }
}
