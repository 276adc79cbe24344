//! The program of the curve table: what each row of a call is for.
//!
//! It is preprocessed: a prover chooses no step of it. All calls run all of it; where there is no R, or Q is infinity, the steps
//! that make no sense are switched off.

use p3_field::PrimeCharacteristicRing;
use p3_matrix::dense::RowMajorMatrix;

use super::columns::ProgramColumns;
use crate::{Felt, check::Trace};

/// The values of a call. Every value but [`Name::Unused`] is defined in one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Name {
    /// Nobody uses it: rows may define it as they like.
    Unused,
    /// 1.
    One,
    /// 0.
    Zero,
    /// 7.
    Seven,
    /// n − 1.
    OrderLessOne,
    /// (n − 1) / 2.
    HalfOrder,
    /// p − 1.
    PrimeLessOne,
    /// 1 if there is a point R, else p − 1.
    Sign,
    /// The message hash.
    Hash,
    /// r.
    R,
    /// s.
    S,
    /// u = −z/r modulo n.
    U,
    /// v = s/r modulo n.
    V,
    /// r² modulo p.
    Square,
    /// r³ + 7 modulo p.
    Cubic,
    /// sign · (r³ + 7) modulo p.
    Radicand,
    /// A root of the radicand: R.y, if there is a point R.
    Root,
    /// Q.x, or 0.
    KeyX,
    /// Q.y, or 0.
    KeyY,
    /// What a step adds for no bit. The following are in the order of bit_u + 2 · bit_v, x then y.
    NothingX,
    /// y of it.
    NothingY,
    /// For a bit of u.
    GeneratorX,
    /// y of it.
    GeneratorY,
    /// For a bit of v.
    PointX,
    /// y of it.
    PointY,
    /// For both.
    BothX,
    /// y of it.
    BothY,
}

/// How many names there are.
pub const NAMES: usize = Name::BothY as usize + 1;

/// What a row of constants defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Constant {
    /// The point added for no bit, by choice of the starting point.
    Nothing,
    /// The point added for a bit of u, by choice of the starting point.
    Generator,
    /// 1 and 0.
    Units,
    /// 7 and n − 1.
    SevenAndOrder,
    /// (n − 1) / 2 and p − 1.
    HalfAndPrime,
    /// The sign, and a root that is free here.
    SignAndRoot,
}

/// Where a run of steps starts, by choice of the starting point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Origin {
    /// S.
    Start,
    /// S + G/2.
    StartWithGenerator,
    /// −offset/2 · S.
    Correction,
}

/// The modulus of a relation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Modulo {
    /// p.
    Prime,
    /// n.
    Order,
    /// The relation holds as it stands.
    Nothing,
}

/// A row of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row {
    /// Takes the call, writes the status, checks the parity of the root.
    Head,
    /// Defines constants.
    Constants(Constant, Name, Name),
    /// Two words of a value in memory; `part` counts from the least significant, and part 0 defines (input) or uses (output) the value.
    Memory {
        /// The value.
        value: Name,
        /// Is it written?
        is_output: bool,
        /// The byte offset of the value's first word.
        offset: u32,
        /// Which two words of it.
        part: u32,
    },
    /// Two words of a scalar.
    Scalar {
        /// U or V.
        value: Name,
        /// Which two words of it.
        part: u32,
    },
    /// a · b + c = d modulo something. `Unused` in the place of c: whatever fits.
    Relation {
        /// The factors.
        factors: [Name; 2],
        /// c.
        summand: Name,
        /// d.
        result: Name,
        /// Does the row define d, rather than use it?
        defines: bool,
        /// The modulus.
        modulo: Modulo,
    },
    /// Has the point that the next step adds.
    Load,
    /// First half of a step, from an origin or from where the last one ended.
    Step(Option<Origin>),
    /// Second half of a step. Has its sum, which it defines under two names, and the point that the next step adds.
    Sum {
        /// The names of the sum's coordinates; `Unused` for steps inside the ladder.
        sum: [Name; 2],
        /// What the next step adds.
        next: Next,
    },
}

/// Which point the next step adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// R.
    Point,
    /// The one selected by this bit of u and v.
    Selected(u8),
    /// This sum itself.
    Sum,
    /// There is none.
    Nothing,
}

/// Byte offset of parity and status.
const STATUS_OFFSET: u32 = 96;

/// The rows of one call.
#[must_use]
pub fn program() -> Vec<Row> {
    use Name::{
        BothX, BothY, Cubic, GeneratorX, GeneratorY, HalfOrder, Hash, KeyX, KeyY, NothingX, NothingY, One,
        OrderLessOne, PointX, PointY, PrimeLessOne, R, Radicand, Root, S, Seven, Sign, Square, U, Unused, V, Zero,
    };
    let mut rows = vec![
        Row::Head,
        Row::Constants(Constant::Nothing, NothingX, NothingY),
        Row::Constants(Constant::Generator, GeneratorX, GeneratorY),
        Row::Constants(Constant::Units, One, Zero),
        Row::Constants(Constant::SevenAndOrder, Seven, OrderLessOne),
        Row::Constants(Constant::HalfAndPrime, HalfOrder, PrimeLessOne),
        Row::Constants(Constant::SignAndRoot, Sign, Root),
    ];
    for (value, is_output, offset) in
        [(Hash, false, 0), (R, false, 32), (S, false, 64), (KeyX, true, 104), (KeyY, true, 136)]
    {
        rows.extend((0..4).map(|part| Row::Memory { value, is_output, offset, part }));
    }
    for value in [U, V] {
        rows.extend((0..4).map(|part| Row::Scalar { value, part }));
    }
    let relation =
        |factors, summand, result, defines, modulo| Row::Relation { factors, summand, result, defines, modulo };
    let at_most = |value, limit| relation([One, value], Unused, limit, false, Modulo::Nothing);
    rows.extend([
        at_most(R, OrderLessOne),
        at_most(S, HalfOrder),
        // 1 ≤ s: 1 · 1 + (s − 1) = s.
        relation([One, One], Unused, S, false, Modulo::Nothing),
        // With s ≠ 0 this also says r ≠ 0.
        relation([V, R], Zero, S, false, Modulo::Order),
        relation([U, R], Hash, Zero, false, Modulo::Order),
        relation([R, R], Zero, Square, true, Modulo::Prime),
        relation([Square, R], Seven, Cubic, true, Modulo::Prime),
        relation([Sign, Cubic], Zero, Radicand, true, Modulo::Prime),
        relation([Root, Root], Zero, Radicand, false, Modulo::Prime),
        at_most(Root, PrimeLessOne),
        at_most(KeyX, PrimeLessOne),
        at_most(KeyY, PrimeLessOne),
    ]);
    rows.extend([
        Row::Load,
        Row::Step(Some(Origin::Start)),
        Row::Sum { sum: [PointX, PointY], next: Next::Point },
        Row::Step(Some(Origin::StartWithGenerator)),
        Row::Sum { sum: [BothX, BothY], next: Next::Selected(255) },
        Row::Step(Some(Origin::Start)),
    ]);
    for bit in (0..255).rev() {
        rows.extend([Row::Sum { sum: [Unused; 2], next: Next::Selected(bit) }, Row::Step(None)]);
    }
    rows.extend([
        Row::Sum { sum: [Unused; 2], next: Next::Sum },
        Row::Step(Some(Origin::Correction)),
        Row::Sum { sum: [KeyX, KeyY], next: Next::Nothing },
    ]);
    rows
}

impl Row {
    /// The preprocessed columns.
    #[must_use]
    pub fn columns(&self) -> ProgramColumns<Felt> {
        let name = |name: Name| Felt::from_u8(name as u8);
        let mut columns = ProgramColumns::read(&[Felt::ZERO; ProgramColumns::<()>::WIDTH]);
        let uses = |columns: &mut ProgramColumns<Felt>, names: [Name; 2]| {
            columns.uses_ab = Felt::ONE;
            [columns.name_a, columns.name_b] = names.map(name);
        };
        match *self {
            Self::Head => {
                columns.is_head = Felt::ONE;
                columns.is_output = Felt::ONE;
                columns.index = Felt::from_u32(STATUS_OFFSET);
                uses(&mut columns, [Name::One, Name::Root]);
            }
            Self::Constants(constant, first, second) => {
                columns.constants[constant as usize] = Felt::ONE;
                [columns.name_c, columns.name_d] = [first, second].map(name);
            }
            Self::Memory { value, is_output, offset, part } => {
                columns.is_input = Felt::from_bool(!is_output);
                columns.is_output = Felt::from_bool(is_output);
                columns.index = Felt::from_u32(offset + 8 * part);
                columns.shifts = Felt::from_bool(part < 3);
                if part == 0 {
                    columns.uses_c = Felt::from_bool(is_output);
                    columns.name_c = name(value);
                }
            }
            Self::Scalar { value, part } => {
                columns.is_scalar = Felt::ONE;
                columns.index = Felt::from_u32(2 * part + if value == Name::V { 8 } else { 0 });
                columns.shifts = Felt::from_bool(part < 3);
                if part == 0 {
                    columns.name_c = name(value);
                }
            }
            Self::Relation { factors, summand, result, defines, modulo } => {
                columns.relates = Felt::ONE;
                columns.modulo_prime = Felt::from_bool(modulo == Modulo::Prime);
                columns.modulo_order = Felt::from_bool(modulo == Modulo::Order);
                uses(&mut columns, factors);
                columns.uses_c = Felt::from_bool(summand != Name::Unused);
                columns.name_c = name(summand);
                columns.uses_d = Felt::from_bool(!defines);
                columns.name_d = name(result);
            }
            Self::Load => uses(&mut columns, [Name::R, Name::Root]),
            Self::Step(origin) => {
                columns.is_step = Felt::ONE;
                if let Some(origin) = origin {
                    columns.origins[origin as usize] = Felt::ONE;
                }
            }
            Self::Sum { sum, next } => {
                [columns.name_c, columns.name_d] = sum.map(name);
                match next {
                    Next::Point => uses(&mut columns, [Name::R, Name::Root]),
                    Next::Selected(bit) => {
                        columns.selects = Felt::ONE;
                        uses(&mut columns, [Name::NothingX, Name::NothingY]);
                        if bit % 32 == 0 {
                            columns.ends_word = Felt::ONE;
                            columns.index = Felt::from_u8(bit / 32);
                        }
                    }
                    Next::Sum | Next::Nothing => {}
                }
            }
        }
        columns
    }
}

/// The preprocessed trace: the program over and over, as often as it fits whole; rows behind that do nothing.
#[must_use]
pub fn preprocessed(height: usize) -> Trace {
    let width = ProgramColumns::<()>::WIDTH;
    let program: Vec<_> = program().iter().map(Row::columns).collect();
    let mut values = Felt::zero_vec(width * height);
    let calls = height / program.len();
    for (row, columns) in values.chunks_exact_mut(width).zip(program.iter().cycle().take(calls * program.len())) {
        columns.write(row);
    }
    RowMajorMatrix::new(values, width)
}
