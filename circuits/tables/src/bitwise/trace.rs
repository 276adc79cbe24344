//! Filling the bitwise table.

use p3_field::PrimeCharacteristicRing;

use super::columns::BitwiseColumns;
use crate::{
    Felt,
    operations::{Operation, Question},
    trace::{Rows, TraceError, bytes},
};

/// One row per question.
///
/// # Errors
///
/// [`TraceError::TooManyRows`], if there are more questions than rows.
pub fn fill(questions: &[Question], height: usize) -> Result<crate::check::Trace, TraceError> {
    // Padding states that 0 and 0 is 0, to nobody.
    let padding = row(&Question { operation: Operation::And, offset: 0, left: 0, right: 0 }, 0);
    let mut rows = Rows::<{ BitwiseColumns::WIDTH }>::new("bitwise", questions.len(), height)?;
    rows.extend(questions, |question, cells| row(question, 1).write(cells));
    Ok(rows.pad(|cells| padding.write(cells)))
}

/// The row that states the answer to a question.
#[must_use]
pub fn row(question: &Question, multiplicity: u32) -> BitwiseColumns<Felt> {
    let [left, right, and] = [question.left, question.right, question.left & question.right].map(bytes);
    BitwiseColumns {
        is_or: Felt::from_bool(question.operation == Operation::Or),
        is_xor: Felt::from_bool(question.operation == Operation::Xor),
        left,
        right,
        and,
        multiplicity: Felt::from_u32(multiplicity),
    }
}
