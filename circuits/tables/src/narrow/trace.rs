//! Filling the table of narrow loads and stores.

use p3_field::PrimeCharacteristicRing;

use super::columns::NarrowColumns;
use crate::{
    Felt,
    check::Trace,
    operations::{Operation, Question},
    trace::{Rows, TraceError},
};

/// One row per question.
///
/// # Errors
///
/// [`TraceError::TooManyRows`], if there are more questions than rows.
pub fn fill(questions: &[Question], height: usize) -> Result<Trace, TraceError> {
    // Padding states that storing 0 into 0 leaves 0, to nobody.
    let padding = row(&Question { operation: Operation::StoreHalf, offset: 0, left: 0, right: 0 }, 0);
    let mut rows = Rows::<{ NarrowColumns::WIDTH }>::new("narrow", questions.len(), height)?;
    rows.extend(questions, |question, cells| row(question, 1).write(cells));
    Ok(rows.pad(|cells| padding.write(cells)))
}

/// The row that states the answer to a question.
#[must_use]
pub fn row(question: &Question, multiplicity: u32) -> NarrowColumns<Felt> {
    let Question { operation, offset, left, right } = *question;
    let (is_high_half, is_high_byte) = (offset >= 2, offset % 2 == 1);
    let (low, high) = (left & 0xffff, left >> 16);
    let (half, other_half) = if is_high_half { (high, low) } else { (low, high) };
    let (low_byte, high_byte) = (half & 255, half >> 8);
    let byte = if is_high_byte { high_byte } else { low_byte };
    let is_byte = matches!(operation, Operation::LoadByte | Operation::LoadByteUnsigned | Operation::StoreByte);
    let sign = if is_byte { byte >> 7 } else { half >> 15 };
    let right_bytes = [right & 255, right >> 8 & 255];
    let is = |other| Felt::from_bool(operation == other);
    NarrowColumns {
        is_load_byte: is(Operation::LoadByte),
        is_load_byte_unsigned: is(Operation::LoadByteUnsigned),
        is_load_half: is(Operation::LoadHalf),
        is_load_half_unsigned: is(Operation::LoadHalfUnsigned),
        is_store_byte: is(Operation::StoreByte),
        is_high_half: Felt::from_bool(is_high_half),
        is_high_byte: Felt::from_bool(is_high_byte),
        low_byte: Felt::from_u32(low_byte),
        high_byte: Felt::from_u32(high_byte),
        bytes_and: Felt::from_u32(low_byte & high_byte),
        other_half: Felt::from_u32(other_half),
        byte: Felt::from_u32(byte),
        sign: Felt::from_u32(sign),
        right_bytes: right_bytes.map(Felt::from_u32),
        right_and: Felt::from_u32(right_bytes[0] & right_bytes[1]),
        right: Felt::from_u32(right),
        place: Felt::from_u32(1 << (8 * offset)),
        result: Felt::from_u32(question.answer()),
        multiplicity: Felt::from_u32(multiplicity),
    }
}
