//! Filling the quotient table.

use p3_field::PrimeCharacteristicRing;

use super::columns::QuotientColumns;
use crate::{
    Felt,
    check::Trace,
    operations::{Operation, Question},
    trace::{Rows, TraceError, low_limb},
};

/// One row per question.
///
/// # Errors
///
/// [`TraceError::TooManyRows`], if there are more questions than rows.
pub fn fill(questions: &[Question], height: usize) -> Result<Trace, TraceError> {
    // Padding states that 0 modulo 0 is 0, to nobody.
    let padding = row(&Question { operation: Operation::RemainderUnsigned, offset: 0, left: 0, right: 0 }, 0);
    let mut rows = Rows::<{ QuotientColumns::WIDTH }>::new("quotient", questions.len(), height)?;
    rows.extend(questions, |question, cells| row(question, 1).write(cells));
    Ok(rows.pad(|cells| padding.write(cells)))
}

/// The row that states the answer to a question.
#[must_use]
pub fn row(question: &Question, multiplicity: u32) -> QuotientColumns<Felt> {
    let Question { operation, left, right, .. } = *question;
    let is_signed = matches!(operation, Operation::Divide | Operation::Remainder);
    let is_quotient = matches!(operation, Operation::Divide | Operation::DivideUnsigned);
    let (left_negative, right_negative) = (is_signed && left >> 31 == 1, is_signed && right >> 31 == 1);
    let size = |operand: u32, negative: bool| if negative { operand.wrapping_neg() } else { operand };
    let (left_size, right_size) = (size(left, left_negative), size(right, right_negative));
    let (quotient, remainder) = match left_size.checked_div(right_size) {
        Some(quotient) => (quotient, left_size % right_size),
        None => (u32::MAX, left_size),
    };
    let is_by_zero = right == 0;
    let slack = if is_by_zero { 0 } else { right_size - remainder - 1 };
    let signs_differ = left_negative != right_negative;
    let part = if is_quotient { quotient } else { remainder };
    let negates = match operation {
        Operation::Divide => signs_differ && !is_by_zero,
        Operation::Remainder => left_negative,
        _ => false,
    };
    let result = question.answer();
    let is = |other| Felt::from_bool(operation == other);
    QuotientColumns {
        is_divide: is(Operation::Divide),
        is_divide_unsigned: is(Operation::DivideUnsigned),
        is_remainder: is(Operation::Remainder),
        left: Felt::from_u32(left),
        left_low: low_limb(left),
        left_sign: Felt::from_u32(left >> 31),
        left_negative: Felt::from_bool(left_negative),
        left_size: Felt::from_u32(left_size),
        right: Felt::from_u32(right),
        right_low: low_limb(right),
        right_sign: Felt::from_u32(right >> 31),
        right_negative: Felt::from_bool(right_negative),
        right_size: Felt::from_u32(right_size),
        is_by_zero: Felt::from_bool(is_by_zero),
        quotient: Felt::from_u32(quotient),
        quotient_low: low_limb(quotient),
        remainder: Felt::from_u32(remainder),
        remainder_low: low_limb(remainder),
        slack: Felt::from_u32(slack),
        slack_low: low_limb(slack),
        signs_differ: Felt::from_bool(signs_differ),
        part: Felt::from_u32(part),
        negates: Felt::from_bool(negates),
        borrow: Felt::from_bool(negates && part != 0),
        result: Felt::from_u32(result),
        result_low: low_limb(result),
        multiplicity: Felt::from_u32(multiplicity),
    }
}
