//! A table proof as one list of field elements, natively and in the circuit.

use crate::field::{CUBIC, DIGEST};
use crate::shape::Shape;

/// What an element of a proof is; names the field in errors and in the tests that forge each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
    /// A public value of a table.
    PublicValue,
    /// The commitment to the preprocessed traces.
    PreprocessedCap,
    /// The commitment to the main traces.
    MainCap,
    /// The commitment to the auxiliary traces.
    PermutationCap,
    /// The commitment to the quotients.
    QuotientCap,
    /// The sum a table contributes to all buses.
    Terminal,
    /// A claimed value at the out-of-domain point or the point of the next row, by batch.
    Opening(usize),
    /// A grinding witness: lookup, out-of-domain, batch, commit or query.
    Grinding(&'static str),
    /// The commitment to a folded codeword.
    RoundCap,
    /// A coefficient of the final polynomial.
    FinalPolynomial,
    /// An opened row of a committed matrix, by batch.
    Row(usize),
    /// A Merkle sibling of an opened row, by batch.
    RowSibling(usize),
    /// An opened row of a folded codeword.
    RoundRow,
    /// A Merkle sibling of an opened row of a folded codeword.
    RoundSibling,
}

/// A digest.
pub type Digest<T> = [T; DIGEST];
/// A cubic-extension element.
pub type Cubic<T> = [T; CUBIC];

/// A table proof with Merkle paths restored for each query. `T` is a field element or a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableProof<T> {
    /// Public values by table.
    pub public_values: Vec<Vec<T>>,
    /// Cap of the preprocessed traces; empty without.
    pub preprocessed_cap: Vec<Digest<T>>,
    /// Cap of the main traces.
    pub main_cap: Vec<Digest<T>>,
    /// Cap of the auxiliary traces; empty without.
    pub permutation_cap: Vec<Digest<T>>,
    /// Cap of the quotients.
    pub quotient_cap: Vec<Digest<T>>,
    /// Terminal sums of the tables that have lookups.
    pub terminals: Vec<Cubic<T>>,
    /// Claimed values by batch, matrix, point and column.
    pub openings: Vec<Vec<Vec<Vec<Cubic<T>>>>>,
    /// Grinding witnesses, for the sites where bits are asked for.
    pub grinding: Grinding<T>,
    /// Caps of the folded codewords.
    pub round_caps: Vec<Vec<Digest<T>>>,
    /// The final polynomial, constant first.
    pub final_polynomial: Vec<Cubic<T>>,
    /// The queries.
    pub queries: Vec<Query<T>>,
}

/// Grinding witnesses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grinding<T> {
    /// Before the lookup challenges.
    pub lookup: Option<T>,
    /// Before the out-of-domain point.
    pub out_of_domain: Option<T>,
    /// Before the batching challenge.
    pub batch: Option<T>,
    /// Before each folding challenge; empty if no bits are asked for.
    pub commit: Vec<T>,
    /// Before the query indices.
    pub query: Option<T>,
}

/// The openings of one query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query<T> {
    /// By batch: the rows of its matrices.
    pub batches: Vec<BatchOpening<T>>,
    /// By round: the row of the folded codeword.
    pub rounds: Vec<RoundOpening<T>>,
}

/// The rows of all matrices of a commitment at one index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchOpening<T> {
    /// A row per matrix.
    pub rows: Vec<Vec<T>>,
    /// Merkle siblings from the leaves up.
    pub siblings: Vec<Digest<T>>,
}

/// A row of a folded codeword.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoundOpening<T> {
    /// The row, with the value that the query brings along.
    pub row: Vec<Cubic<T>>,
    /// Merkle siblings from the leaves up.
    pub siblings: Vec<Digest<T>>,
}

impl<T: Copy> TableProof<T> {
    /// A proof of `shape` whose elements come from `next`, in the order of [`TableProof::elements`].
    pub fn build(shape: &Shape, mut next: impl FnMut(Field) -> T) -> Self {
        let next = &mut next;
        let parameters = &shape.parameters;
        let cap_size = 1 << parameters.cap_height;
        let public_values = shape
            .tables
            .iter()
            .map(|table| (0..table.public_values).map(|_| next(Field::PublicValue)).collect())
            .collect();
        let cap = |next: &mut dyn FnMut(Field) -> T, field, present: bool| -> Vec<Digest<T>> {
            (0..if present { cap_size } else { 0 }).map(|_| core::array::from_fn(|_| next(field))).collect()
        };
        let preprocessed_cap = cap(next, Field::PreprocessedCap, shape.has_preprocessed());
        let main_cap = cap(next, Field::MainCap, true);
        let permutation_cap = cap(next, Field::PermutationCap, shape.has_lookups());
        let quotient_cap = cap(next, Field::QuotientCap, true);
        let terminals = shape
            .tables
            .iter()
            .filter(|table| !table.buses.is_empty())
            .map(|_| core::array::from_fn(|_| next(Field::Terminal)))
            .collect();
        let openings = shape
            .batches
            .iter()
            .enumerate()
            .map(|(batch, matrices)| {
                matrices
                    .iter()
                    .map(|matrix| {
                        (0..matrix.points)
                            .map(|_| {
                                (0..matrix.width)
                                    .map(|_| core::array::from_fn(|_| next(Field::Opening(batch))))
                                    .collect()
                            })
                            .collect()
                    })
                    .collect()
            })
            .collect();
        let mut grind = |bits: usize, site| if bits > 0 { Some(next(Field::Grinding(site))) } else { None };
        let lookup_bits = if shape.has_lookups() { parameters.lookup_grinding_bits } else { 0 };
        let grinding = Grinding {
            lookup: grind(lookup_bits, "lookup"),
            out_of_domain: grind(parameters.out_of_domain_grinding_bits, "out of domain"),
            batch: grind(parameters.batch_grinding_bits, "batch"),
            commit: shape.schedule.iter().filter_map(|_| grind(parameters.commit_grinding_bits, "commit")).collect(),
            query: grind(parameters.query_grinding_bits, "query"),
        };
        let round_caps = shape.schedule.iter().map(|_| cap(next, Field::RoundCap, true)).collect();
        let final_polynomial = (0..1 << parameters.log_final_polynomial_length)
            .map(|_| core::array::from_fn(|_| next(Field::FinalPolynomial)))
            .collect();
        let queries = (0..parameters.queries)
            .map(|_| {
                let batches = (0..shape.batches.len())
                    .map(|batch| {
                        let rows = shape.batches[batch]
                            .iter()
                            .map(|matrix| (0..matrix.width).map(|_| next(Field::Row(batch))).collect())
                            .collect();
                        let siblings = (0..shape.siblings(shape.batch_log_height(batch)))
                            .map(|_| core::array::from_fn(|_| next(Field::RowSibling(batch))))
                            .collect();
                        BatchOpening { rows, siblings }
                    })
                    .collect();
                let mut log_height = shape.index_bits();
                let rounds = shape
                    .schedule
                    .iter()
                    .map(|&log_arity| {
                        log_height -= log_arity;
                        let row =
                            (0..1 << log_arity).map(|_| core::array::from_fn(|_| next(Field::RoundRow))).collect();
                        let siblings = (0..shape.siblings(log_height))
                            .map(|_| core::array::from_fn(|_| next(Field::RoundSibling)))
                            .collect();
                        RoundOpening { row, siblings }
                    })
                    .collect();
                Query { batches, rounds }
            })
            .collect();
        Self {
            public_values,
            preprocessed_cap,
            main_cap,
            permutation_cap,
            quotient_cap,
            terminals,
            openings,
            grinding,
            round_caps,
            final_polynomial,
            queries,
        }
    }

    /// Every element in a fixed order, the one in which [`TableProof::build`] asks for them.
    #[must_use]
    pub fn elements(&self) -> Vec<T> {
        let mut elements: Vec<T> = self.public_values.iter().flatten().copied().collect();
        let caps = [&self.preprocessed_cap, &self.main_cap, &self.permutation_cap, &self.quotient_cap];
        elements.extend(caps.into_iter().flatten().flatten());
        elements.extend(self.terminals.iter().flatten());
        elements.extend(self.openings.iter().flatten().flatten().flatten().flatten());
        let grinding = &self.grinding;
        elements.extend([grinding.lookup, grinding.out_of_domain, grinding.batch].into_iter().flatten());
        elements.extend(&grinding.commit);
        elements.extend(grinding.query);
        elements.extend(self.round_caps.iter().flatten().flatten());
        elements.extend(self.final_polynomial.iter().flatten());
        for query in &self.queries {
            for opening in &query.batches {
                elements.extend(opening.rows.iter().flatten());
                elements.extend(opening.siblings.iter().flatten());
            }
            for opening in &query.rounds {
                elements.extend(opening.row.iter().flatten());
                elements.extend(opening.siblings.iter().flatten());
            }
        }
        elements
    }
}
