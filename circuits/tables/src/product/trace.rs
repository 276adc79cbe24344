//! Filling the product table.

use p3_field::{Field, PrimeCharacteristicRing};

use super::columns::ProductColumns;
use crate::{
    Felt,
    check::Trace,
    operations::{Operation, Question},
    trace::{Rows, TraceError, limbs, low_limb},
};

/// One row per question.
///
/// # Errors
///
/// [`TraceError::TooManyRows`], if there are more questions than rows.
pub fn fill(questions: &[Question], height: usize) -> Result<Trace, TraceError> {
    // Padding states that 0 · 0 = 0, to nobody.
    let padding = row(&Question { operation: Operation::Multiply, offset: 0, left: 0, right: 0 }, 0);
    let mut rows = Rows::<{ ProductColumns::WIDTH }>::new("product", questions.len(), height)?;
    rows.extend(questions, |question, cells| row(question, 1).write(cells));
    Ok(rows.pad(|cells| padding.write(cells)))
}

/// The row that states the answer to a question.
#[must_use]
pub fn row(question: &Question, multiplicity: u32) -> ProductColumns<Felt> {
    let Question { operation, left, right, .. } = *question;
    let (left_sign, right_sign) = (left >> 31, right >> 31);
    let power = 1_u32 << (right % 32);
    let result = question.answer();
    let (factor, product) = match operation {
        // The comparison keeps the difference where a product keeps its low word.
        Operation::LessSigned => (0, u64::from(left.wrapping_sub(right))),
        Operation::ShiftLeft => (u64::from(power), u64::from(left) * u64::from(power)),
        Operation::ShiftRight | Operation::ShiftRightArithmetic => {
            let factor = 1_u64 << (32 - right % 32);
            (factor, u64::from(left) * factor)
        }
        _ => (u64::from(right), u64::from(left) * u64::from(right)),
    };
    let (low, high) = (product as u32, (product >> 32) as u32);
    // result = high − (signed parts) + 2^32 · correction.
    let correction = {
        let both = operation == Operation::MultiplyHigh;
        let is_signed = both || operation == Operation::MultiplyHighSignedUnsigned;
        let taken = if is_signed { u64::from(left_sign) * u64::from(right) } else { 0 }
            + if both { u64::from(right_sign) * u64::from(left) } else { 0 };
        if is_signed { (u64::from(result) + taken - u64::from(high)) >> 32 } else { 0 }
    };
    let is = |other| Felt::from_bool(operation == other);
    ProductColumns {
        is_multiply: is(Operation::Multiply),
        is_multiply_high: is(Operation::MultiplyHigh),
        is_multiply_high_signed_unsigned: is(Operation::MultiplyHighSignedUnsigned),
        is_multiply_high_unsigned: is(Operation::MultiplyHighUnsigned),
        is_shift_left: is(Operation::ShiftLeft),
        is_shift_right: is(Operation::ShiftRight),
        is_shift_right_arithmetic: is(Operation::ShiftRightArithmetic),
        left: Felt::from_u32(left),
        left_low: low_limb(left),
        left_sign: Felt::from_u32(left_sign),
        right: Felt::from_u32(right),
        right_low: low_limb(right),
        right_sign: Felt::from_u32(right_sign),
        power: Felt::from_u32(power),
        factor: Felt::from_u64(factor),
        low: limbs(low),
        high: limbs(high),
        // A low word other than zero leaves the high word below 2^32 − 1, so there is an inverse.
        alias_inverse: if low == 0 { Felt::ZERO } else { Felt::from_u32(u32::MAX - high).inverse() },
        correction: Felt::from_u64(correction),
        result: Felt::from_u32(result),
        result_low: low_limb(result),
        multiplicity: Felt::from_u32(multiplicity),
    }
}
