//! Small tables that use everything a table may use, and proofs about them.

use std::borrow::Cow;

use p3_air::{Air, AirBuilder, BaseAir, WindowAccess};
use p3_batch_stark::{CommonData, ProverData, StarkInstance, prove_batch};
use p3_field::PrimeCharacteristicRing;
use p3_lookup::{Count, InteractionBuilder, LookupBus};
use p3_matrix::dense::RowMajorMatrix;

use crate::field::{TableConfig, Val};
use crate::native::{ChallengeValues, extract};
use crate::parameters::StarkParameters;
use crate::proof::TableProof;
use crate::shape::Shape;

/// Words of a state, as in a checkpoint digest.
const WORDS: usize = 8;
/// Public values of [`TestTable::Steps`]: chain, first state, last state.
pub(crate) const STATEMENT: usize = 1 + 2 * WORDS;
const STEPS_WIDTH: usize = WORDS + 4;
const LOG_BYTES: usize = 8;
/// Repeated columns of [`TestTable::Wide`], to make it wide.
const CUBES: usize = 40;
/// Its other columns.
const WIDE_HEAD: usize = 6;
const PERIOD: [u64; 4] = [3, 1, 4, 1];

const BYTES: LookupBus<'static> = LookupBus::new("BYTES");
const CUBE: LookupBus<'static> = LookupBus::new("CUBE");

/// The tables.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TestTable {
    /// A state that moves by a fixed step per row; sends bytes and cubes.
    Steps,
    /// The bytes, preprocessed; receives.
    Bytes,
    /// Cubes of many columns; receives some; has a preprocessed, a periodic and two permuted columns.
    Wide {
        /// Rows of the preprocessed column.
        log_height: usize,
        /// Columns that hold the cube of the one before.
        cubes: usize,
    },
}

fn step(word: usize) -> Val {
    Val::from_usize(word + 1)
}

impl BaseAir<Val> for TestTable {
    fn width(&self) -> usize {
        match self {
            Self::Steps => STEPS_WIDTH,
            Self::Bytes => 1,
            Self::Wide { cubes, .. } => WIDE_HEAD + cubes,
        }
    }

    fn num_public_values(&self) -> usize {
        if matches!(self, Self::Steps) { STATEMENT } else { 0 }
    }

    fn preprocessed_trace(&self) -> Option<RowMajorMatrix<Val>> {
        match self {
            Self::Steps => None,
            Self::Bytes => Some(RowMajorMatrix::new_col((0..1 << LOG_BYTES).map(Val::from_usize).collect())),
            Self::Wide { log_height, .. } => {
                Some(RowMajorMatrix::new_col((0..1 << log_height).map(|i| Val::from_usize(i * i + 5)).collect()))
            }
        }
    }

    fn preprocessed_width(&self) -> usize {
        usize::from(!matches!(self, Self::Steps))
    }

    fn main_next_row_columns(&self) -> Vec<usize> {
        match self {
            Self::Bytes => Vec::new(),
            other => (0..other.width()).collect(),
        }
    }

    fn preprocessed_next_row_columns(&self) -> Vec<usize> {
        if matches!(self, Self::Wide { .. }) { vec![0] } else { Vec::new() }
    }

    fn num_periodic_columns(&self) -> usize {
        usize::from(matches!(self, Self::Wide { .. }))
    }

    fn periodic_columns(&self) -> Cow<'_, [Vec<Val>]> {
        match self {
            Self::Wide { .. } => Cow::Owned(vec![PERIOD.map(Val::from_u64).to_vec()]),
            _ => Cow::Borrowed(&[]),
        }
    }
}

impl<AB: InteractionBuilder<F = Val>> Air<AB> for TestTable {
    fn eval(&self, builder: &mut AB) {
        match self {
            Self::Steps => eval_steps(builder),
            Self::Bytes => {
                let count = builder.main().current(0).unwrap();
                let byte = builder.preprocessed().current(0).unwrap();
                BYTES.table_entry(builder, [byte.into()], count);
            }
            Self::Wide { cubes, .. } => eval_wide(builder, *cubes),
        }
    }
}

fn eval_steps<AB: InteractionBuilder<F = Val>>(builder: &mut AB) {
    let main = builder.main();
    let public: Vec<AB::Expr> = builder.public_values().iter().map(|&value| value.into()).collect();
    let at = |i: usize| -> AB::Expr { main.current(i).unwrap().into() };
    let next = |i: usize| -> AB::Expr { main.next(i).unwrap().into() };
    for word in 0..WORDS {
        builder.when_first_row().assert_eq(at(word), public[1 + word].clone());
        builder.when_last_row().assert_eq(at(word), public[1 + WORDS + word].clone());
        builder.when_transition().assert_eq(next(word), at(word) + step(word));
    }
    // The chain enters through a constraint of degree three that mixes several words.
    let [product, low, high, is_low] = [WORDS, WORDS + 1, WORDS + 2, WORDS + 3].map(at);
    builder.assert_eq(product, at(0) * at(1) * at(2) + public[0].clone());
    builder.assert_bool(is_low.clone());
    BYTES.lookup_key(builder, [low.clone()], 1);
    BYTES.lookup_key(builder, [high.clone()], 1);
    // One of two bytes, by a flag.
    let is_high = AB::Expr::ONE - is_low.clone();
    BYTES.lookup_key_exclusive(builder, [(is_low, vec![low.clone()]), (is_high, vec![high])]);
    CUBE.lookup_key(builder, [low.clone(), low.clone() * low.clone() * low], 1);
}

fn eval_wide<AB: InteractionBuilder<F = Val>>(builder: &mut AB, cubes: usize) {
    let main = builder.main();
    let at = |i: usize| -> AB::Expr { main.current(i).unwrap().into() };
    let periodic: AB::Expr = builder.periodic_values()[0].into();
    let fixed: [AB::Expr; 2] =
        [builder.preprocessed().current(0).unwrap().into(), builder.preprocessed().next(0).unwrap().into()];
    let [base, cube, count, left, right, sum] = core::array::from_fn(at);
    builder.assert_eq(cube.clone(), base.clone() * base.clone() * base.clone());
    CUBE.table_entry(builder, [base.clone(), cube], count);
    // Two columns hold the same values in another order.
    builder.push_local_interaction([(vec![left], Count::from(1)), (vec![right], Count::from(-1))]);
    let [now, then] = fixed;
    builder.when_transition().assert_eq(sum, now + then.double() + periodic);
    let mut power = base;
    for i in 0..cubes {
        let column = at(WIDE_HEAD + i);
        builder.assert_eq(column.clone(), power.clone() * power.clone() * power + Val::from_usize(i));
        power = column;
    }
}

fn cube(x: Val) -> Val {
    x * x * x
}

/// The tables of a test and their heights.
pub(crate) struct TestSystem {
    pub(crate) tables: Vec<TestTable>,
    pub(crate) log_heights: Vec<usize>,
    pub(crate) shape: Shape,
    pub(crate) prover_data: ProverData<TableConfig>,
}

/// A proof with everything made from it.
pub(crate) struct TestProof {
    pub(crate) public_values: Vec<Vec<Val>>,
    pub(crate) restored: TableProof<Val>,
    pub(crate) challenges: ChallengeValues,
}

/// Parameters small enough for tests that build many circuits. Every kind of grinding is present.
pub(crate) const fn small_parameters() -> StarkParameters {
    StarkParameters {
        log_blowup: 2,
        queries: 3,
        log_final_polynomial_length: 4,
        log_arity_max: 3,
        cap_height: 2,
        lookup_grinding_bits: 1,
        out_of_domain_grinding_bits: 2,
        batch_grinding_bits: 1,
        commit_grinding_bits: 1,
        query_grinding_bits: 3,
    }
}

impl TestSystem {
    pub(crate) fn new(parameters: StarkParameters, log_steps: usize, log_wide: usize) -> Self {
        Self::named("test", parameters, log_steps, log_wide)
    }

    pub(crate) fn named(name: &str, parameters: StarkParameters, log_steps: usize, log_wide: usize) -> Self {
        let wide = TestTable::Wide { log_height: log_wide, cubes: CUBES };
        let tables = vec![TestTable::Steps, TestTable::Bytes, wide];
        Self::with_tables(name, parameters, tables, vec![log_steps, LOG_BYTES, log_wide])
    }

    pub(crate) fn with_tables(
        name: &str,
        parameters: StarkParameters,
        tables: Vec<TestTable>,
        log_heights: Vec<usize>,
    ) -> Self {
        let prover_data = ProverData::from_airs_and_degrees(&parameters.config(), &tables, &log_heights).unwrap();
        let shape = Shape::new(name, parameters, &tables, &log_heights, &prover_data.common).unwrap();
        Self { tables, log_heights, shape, prover_data }
    }

    pub(crate) fn common(&self) -> &CommonData<TableConfig> {
        &self.prover_data.common
    }

    /// The state after all steps.
    pub(crate) fn last_state(&self, first: [u32; WORDS]) -> [u32; WORDS] {
        let moves = (1u32 << self.log_heights[0]) - 1;
        core::array::from_fn(|word| first[word] + moves * (word as u32 + 1))
    }

    /// A proof that the state moves on from `first`.
    pub(crate) fn prove(&self, chain: u64, first: [u32; WORDS]) -> TestProof {
        let config = self.shape.parameters.config();
        let (traces, statement) = self.traces(chain, first);
        let instances: Vec<_> = self
            .tables
            .iter()
            .zip(&traces)
            .map(|(air, trace)| StarkInstance {
                air,
                trace,
                public_values: if matches!(air, TestTable::Steps) { statement.clone() } else { Vec::new() },
            })
            .collect();
        let public_values: Vec<_> = instances.iter().map(|instance| instance.public_values.clone()).collect();
        let proof = prove_batch(&config, &instances, &self.prover_data).unwrap();
        let (restored, challenges) = extract(&self.shape, &self.tables, self.common(), &proof, &public_values).unwrap();
        TestProof { public_values, restored, challenges }
    }

    fn traces(&self, chain: u64, first: [u32; WORDS]) -> (Vec<RowMajorMatrix<Val>>, Vec<Val>) {
        let chain = Val::from_u64(chain);
        let steps = 1usize << self.log_heights[0];
        let wide = self.log_heights.get(2).map_or(64, |log| 1usize << log).min(1 << LOG_BYTES);
        let mut byte_counts = vec![0u64; 1 << LOG_BYTES];
        let mut cube_counts = vec![0u64; wide];
        let mut state = first.map(Val::from_u32);
        let mut rows = Vec::with_capacity(steps * STEPS_WIDTH);
        let first_state = state;
        let mut last_state = state;
        for row in 0..steps {
            let (low, high, is_low) = (row % wide, row % 251, row % 3 == 0);
            rows.extend(state);
            rows.push(state[0] * state[1] * state[2] + chain);
            rows.extend([Val::from_usize(low), Val::from_usize(high), Val::from_bool(is_low)]);
            for byte in [low, high, if is_low { low } else { high }] {
                byte_counts[byte] += 1;
            }
            cube_counts[low] += 1;
            last_state = state;
            for (word, value) in state.iter_mut().enumerate() {
                *value += step(word);
            }
        }
        let statement = [chain].into_iter().chain(first_state).chain(last_state).collect();

        let traces = self
            .tables
            .iter()
            .map(|table| match table {
                TestTable::Steps => RowMajorMatrix::new(rows.clone(), STEPS_WIDTH),
                TestTable::Bytes => RowMajorMatrix::new_col(byte_counts.iter().map(|&c| Val::from_u64(c)).collect()),
                TestTable::Wide { log_height, cubes } => wide_trace(1 << log_height, *cubes, &cube_counts),
            })
            .collect();
        (traces, statement)
    }
}

fn wide_trace(height: usize, cubes: usize, cube_counts: &[u64]) -> RowMajorMatrix<Val> {
    let fixed = |i: usize| Val::from_usize((i % height) * (i % height) + 5);
    let mut values = Vec::with_capacity(height * (WIDE_HEAD + cubes));
    for row in 0..height {
        let base = Val::from_usize(row);
        let count = cube_counts.get(row).copied().unwrap_or(0);
        let left = Val::from_usize(row * 7);
        let right = Val::from_usize((height - 1 - row) * 7);
        let sum = fixed(row) + fixed(row + 1).double() + Val::from_u64(PERIOD[row % PERIOD.len()]);
        values.extend([base, cube(base), Val::from_u64(count), left, right, sum]);
        let mut power = base;
        for i in 0..cubes {
            power = cube(power) + Val::from_usize(i);
            values.push(power);
        }
    }
    RowMajorMatrix::new(values, WIDE_HEAD + cubes)
}

/// A table without anything optional: two columns, a transition, no public values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lonely;

impl BaseAir<Val> for Lonely {
    fn width(&self) -> usize {
        2
    }
}

impl<AB: InteractionBuilder<F = Val>> Air<AB> for Lonely {
    fn eval(&self, builder: &mut AB) {
        let main = builder.main();
        let [a, b]: [AB::Expr; 2] = core::array::from_fn(|i| main.current(i).unwrap().into());
        let [a_next, b_next]: [AB::Expr; 2] = core::array::from_fn(|i| main.next(i).unwrap().into());
        builder.when_first_row().assert_one(a.clone());
        builder.when_transition().assert_eq(a_next, b.clone());
        builder.when_transition().assert_eq(b_next, a + b);
    }
}

/// [`Lonely`] alone.
pub(crate) struct LonelySystem {
    pub(crate) shape: Shape,
    prover_data: ProverData<TableConfig>,
}

pub(crate) fn lonely(parameters: StarkParameters, log_height: usize) -> LonelySystem {
    let prover_data = ProverData::from_airs_and_degrees(&parameters.config(), &[Lonely], &[log_height]).unwrap();
    let shape = Shape::new("lonely", parameters, &[Lonely], &[log_height], &prover_data.common).unwrap();
    LonelySystem { shape, prover_data }
}

pub(crate) fn prove_lonely(system: &LonelySystem) -> (Vec<Val>, ChallengeValues) {
    let height = 1 << system.shape.tables[0].log_height;
    let mut values = Vec::new();
    let (mut a, mut b) = (Val::ONE, Val::ONE);
    for _ in 0..height {
        values.extend([a, b]);
        (a, b) = (b, a + b);
    }
    let trace = RowMajorMatrix::new(values, 2);
    let instances = [StarkInstance { air: &Lonely, trace: &trace, public_values: Vec::new() }];
    let proof = prove_batch(&system.shape.parameters.config(), &instances, &system.prover_data).unwrap();
    let (restored, challenges) =
        extract(&system.shape, &[Lonely], &system.prover_data.common, &proof, &[Vec::new()]).unwrap();
    (restored.elements(), challenges)
}
