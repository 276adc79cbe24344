//! The operations that the cpu asks other tables for, and what they mean.
//!
//! The codes are part of the program hash (the image table holds them) and of the constraints; the meaning here fills traces and is what
//! the tests hold the tables to.

use joule_machine::{
    Op, Records,
    records::{Access, Cycle},
};

/// An operation of the ARITHMETIC bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "their meaning is `apply`")]
pub enum Operation {
    And = 1,
    Or = 2,
    Xor = 3,
    LoadByte = 4,
    LoadByteUnsigned = 5,
    LoadHalf = 6,
    LoadHalfUnsigned = 7,
    StoreByte = 8,
    StoreHalf = 9,
    Multiply = 10,
    MultiplyHigh = 11,
    MultiplyHighSignedUnsigned = 12,
    MultiplyHighUnsigned = 13,
    ShiftLeft = 14,
    ShiftRight = 15,
    ShiftRightArithmetic = 16,
    LessSigned = 17,
    Divide = 18,
    DivideUnsigned = 19,
    Remainder = 20,
    RemainderUnsigned = 21,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 21] = [
        Self::And,
        Self::Or,
        Self::Xor,
        Self::LoadByte,
        Self::LoadByteUnsigned,
        Self::LoadHalf,
        Self::LoadHalfUnsigned,
        Self::StoreByte,
        Self::StoreHalf,
        Self::Multiply,
        Self::MultiplyHigh,
        Self::MultiplyHighSignedUnsigned,
        Self::MultiplyHighUnsigned,
        Self::ShiftLeft,
        Self::ShiftRight,
        Self::ShiftRightArithmetic,
        Self::LessSigned,
        Self::Divide,
        Self::DivideUnsigned,
        Self::Remainder,
        Self::RemainderUnsigned,
    ];

    /// Its code on the bus.
    #[must_use]
    pub const fn code(self) -> u32 {
        self as u32
    }

    /// What an instruction asks for; `None` where the cpu does it alone.
    #[must_use]
    pub const fn of(op: Op) -> Option<Self> {
        Some(match op.register_form() {
            Op::And => Self::And,
            Op::Or => Self::Or,
            Op::Xor => Self::Xor,
            Op::Lb => Self::LoadByte,
            Op::Lbu => Self::LoadByteUnsigned,
            Op::Lh => Self::LoadHalf,
            Op::Lhu => Self::LoadHalfUnsigned,
            Op::Sb => Self::StoreByte,
            Op::Sh => Self::StoreHalf,
            Op::Mul => Self::Multiply,
            Op::Mulh => Self::MultiplyHigh,
            Op::Mulhsu => Self::MultiplyHighSignedUnsigned,
            Op::Mulhu => Self::MultiplyHighUnsigned,
            Op::Sll => Self::ShiftLeft,
            Op::Srl => Self::ShiftRight,
            Op::Sra => Self::ShiftRightArithmetic,
            Op::Slt | Op::Blt | Op::Bge => Self::LessSigned,
            Op::Div => Self::Divide,
            Op::Divu => Self::DivideUnsigned,
            Op::Rem => Self::Remainder,
            Op::Remu => Self::RemainderUnsigned,
            _ => return None,
        })
    }

    /// The result. Loads take the memory word as `left` and ignore `right`; stores take the word before as `left`, the register as `right`
    /// and give the word after. `offset` is the place of the bytes in the word, and matters to loads and stores only.
    #[must_use]
    pub const fn apply(self, offset: u32, left: u32, right: u32) -> u32 {
        let (left_signed, right_signed) = (left as i32, right as i32);
        let place = 8 * (offset % 4);
        match self {
            Self::And => left & right,
            Self::Or => left | right,
            Self::Xor => left ^ right,
            Self::LoadByte => (left >> place) as u8 as i8 as u32,
            Self::LoadByteUnsigned => (left >> place) as u8 as u32,
            Self::LoadHalf => (left >> place) as u16 as i16 as u32,
            Self::LoadHalfUnsigned => (left >> place) as u16 as u32,
            Self::StoreByte => left & !(0xff << place) | (right & 0xff) << place,
            Self::StoreHalf => left & !(0xffff << place) | (right & 0xffff) << place,
            Self::Multiply => left.wrapping_mul(right),
            Self::MultiplyHigh => ((left_signed as i64 * right_signed as i64) >> 32) as u32,
            Self::MultiplyHighSignedUnsigned => ((left_signed as i64 * right as i64) >> 32) as u32,
            Self::MultiplyHighUnsigned => ((left as u64 * right as u64) >> 32) as u32,
            Self::ShiftLeft => left << (right % 32),
            Self::ShiftRight => left >> (right % 32),
            Self::ShiftRightArithmetic => (left_signed >> (right % 32)) as u32,
            Self::LessSigned => (left_signed < right_signed) as u32,
            Self::Divide if right == 0 => u32::MAX,
            Self::Divide => left_signed.wrapping_div(right_signed) as u32,
            Self::DivideUnsigned if right == 0 => u32::MAX,
            Self::DivideUnsigned => left / right,
            Self::Remainder if right == 0 => left,
            Self::Remainder => left_signed.wrapping_rem(right_signed) as u32,
            Self::RemainderUnsigned if right == 0 => left,
            Self::RemainderUnsigned => left % right,
        }
    }

    /// The table that states its facts.
    #[must_use]
    pub const fn table(self) -> ArithmeticTable {
        match self {
            Self::And | Self::Or | Self::Xor => ArithmeticTable::Bitwise,
            Self::LoadByte
            | Self::LoadByteUnsigned
            | Self::LoadHalf
            | Self::LoadHalfUnsigned
            | Self::StoreByte
            | Self::StoreHalf => ArithmeticTable::Narrow,
            Self::Multiply
            | Self::MultiplyHigh
            | Self::MultiplyHighSignedUnsigned
            | Self::MultiplyHighUnsigned
            | Self::ShiftLeft
            | Self::ShiftRight
            | Self::ShiftRightArithmetic
            | Self::LessSigned => ArithmeticTable::Product,
            Self::Divide | Self::DivideUnsigned | Self::Remainder | Self::RemainderUnsigned => {
                ArithmeticTable::Quotient
            }
        }
    }
}

/// The tables that provide ARITHMETIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the tables' names")]
pub enum ArithmeticTable {
    Bitwise,
    Narrow,
    Product,
    Quotient,
}

/// One question on the ARITHMETIC bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// What is asked for.
    pub operation: Operation,
    /// The place of a narrow load's or store's bytes in the word, 0 to 3; otherwise 0.
    pub offset: u32,
    /// The left operand.
    pub left: u32,
    /// The right operand.
    pub right: u32,
}

impl Question {
    /// What a cycle asks, if it asks.
    #[must_use]
    pub fn of(cycle: &Cycle) -> Option<Self> {
        let op = cycle.instruction.op;
        let operation = Operation::of(op)?;
        let Access { before, .. } = cycle.third;
        let offset = cycle.byte_address() % 4;
        Some(if op.is_load() {
            Self { operation, offset, left: cycle.second.after, right: 0 }
        } else if op.is_store() {
            Self { operation, offset, left: before, right: cycle.second.after }
        } else {
            Self { operation, offset: 0, left: cycle.first_operand(), right: cycle.second_operand() }
        })
    }

    /// The answer.
    #[must_use]
    pub const fn answer(&self) -> u32 {
        self.operation.apply(self.offset, self.left, self.right)
    }
}

/// How many questions a run has for each table that answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuestionCounts([usize; 4]);

impl QuestionCounts {
    /// Counts the questions of a run.
    #[must_use]
    pub fn count(records: &Records) -> Self {
        let mut counts = Self::default();
        for operation in records.cycles.iter().filter_map(|cycle| Operation::of(cycle.instruction.op)) {
            counts.0[operation.table() as usize] += 1;
        }
        counts
    }

    /// Those for one table.
    #[must_use]
    pub const fn of(&self, table: ArithmeticTable) -> usize {
        self.0[table as usize]
    }
}

/// The questions of a run, by the table that answers.
#[derive(Clone, Debug, Default)]
pub struct Questions {
    /// For the bitwise table.
    pub bitwise: Vec<Question>,
    /// For the table of narrow loads and stores.
    pub narrow: Vec<Question>,
    /// For the table of products, shifts and signed comparisons.
    pub product: Vec<Question>,
    /// For the table of quotients.
    pub quotient: Vec<Question>,
}

impl Questions {
    /// Collects the questions of a run.
    #[must_use]
    pub fn of(records: &Records) -> Self {
        let mut questions = Self::default();
        for question in records.cycles.iter().filter_map(Question::of) {
            match question.operation.table() {
                ArithmeticTable::Bitwise => questions.bitwise.push(question),
                ArithmeticTable::Narrow => questions.narrow.push(question),
                ArithmeticTable::Product => questions.product.push(question),
                ArithmeticTable::Quotient => questions.quotient.push(question),
            }
        }
        questions
    }
}
