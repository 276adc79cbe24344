//! The part of RLP that a signed transaction needs, strict: one value has one encoding.

use crate::Hash;

/// What is wrong with the bytes. All of it is [`Refusal::MalformedEnvelope`](crate::Refusal::MalformedEnvelope) to a sender; the text says which.
pub(crate) type Error = &'static str;

/// Splits the payload of the list that `bytes` is, exactly.
pub(crate) fn whole_list(bytes: &[u8]) -> Result<&[u8], Error> {
    let (payload, rest) = header(bytes, 0xc0)?;
    if rest.is_empty() { Ok(payload) } else { Err("bytes follow the transaction") }
}

/// Splits one string off the front.
pub(crate) fn string<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], Error> {
    let &first = input.first().ok_or("the transaction has too few fields")?;
    let (value, rest) = if first < 0x80 {
        input.split_at(1)
    } else if first < 0xc0 {
        header(input, 0x80)?
    } else {
        return Err("a field is a list where a string belongs");
    };
    if first >= 0x80 && value.len() == 1 && value[0] < 0x80 {
        return Err("a single byte is encoded in two");
    }
    *input = rest;
    Ok(value)
}

/// Splits one list off the front and returns its payload.
pub(crate) fn list<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], Error> {
    let (payload, rest) = header(input, 0xc0)?;
    *input = rest;
    Ok(payload)
}

/// Payload and rest of an item whose short header starts at `base` (0x80 string, 0xc0 list).
fn header(input: &[u8], base: u8) -> Result<(&[u8], &[u8]), Error> {
    let (&first, rest) = input.split_first().ok_or("the transaction ends early")?;
    let kind = first.checked_sub(base).filter(|&kind| kind < 0x40).ok_or("a field has the wrong kind")?;
    let (length, rest) = if kind <= 55 {
        (usize::from(kind), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(kind - 55)).ok_or("a length ends early")?;
        // A transaction has at most 1,536 bytes: a length of more than two digits is already too long.
        if digits.len() > 2 || digits[0] == 0 {
            return Err("a length is too long or starts with zero");
        }
        let length = digits.iter().fold(0, |length, &digit| length << 8 | usize::from(digit));
        if length <= 55 {
            return Err("a short length is encoded long");
        }
        (length, rest)
    };
    rest.split_at_checked(length).ok_or("a field ends early")
}

/// Splits the digits of one integer off the front; at most `limit` bytes, no leading zero.
pub(crate) fn digits<'a>(input: &mut &'a [u8], limit: usize) -> Result<&'a [u8], Error> {
    let digits = string(input)?;
    if digits.first() == Some(&0) {
        return Err("a number starts with a zero byte");
    }
    if digits.len() > limit {
        return Err("a number is too large");
    }
    Ok(digits)
}

pub(crate) fn u64(input: &mut &[u8]) -> Result<u64, Error> {
    Ok(small(digits(input, 8)?))
}

pub(crate) fn u128(input: &mut &[u8]) -> Result<u128, Error> {
    Ok(number(digits(input, 16)?))
}

/// An integer of at most eight digits, digit by digit: most are a few.
fn small(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |value, &digit| value << 8 | u64::from(digit))
}

/// An integer of at most sixteen digits.
pub(crate) fn number(digits: &[u8]) -> u128 {
    // In halves: a shift of 128 bits is a dozen instructions, and few numbers need any.
    let (high, low) = digits.split_at(digits.len().saturating_sub(8));
    u128::from(small(high)) << 64 | u128::from(small(low))
}

/// An integer of at most thirty-two digits.
pub(crate) fn word(digits: &[u8]) -> Hash {
    let mut value = Hash::ZERO;
    value.0[32 - digits.len()..].copy_from_slice(digits);
    value
}

pub(crate) fn u256(input: &mut &[u8]) -> Result<Hash, Error> {
    digits(input, 32).map(word)
}

/// The header of a list of `length` bytes: the header's bytes and how many of them there are.
pub(crate) fn list_header(length: usize) -> ([u8; 3], usize) {
    match length {
        0..=55 => ([0xc0 + length as u8, 0, 0], 1),
        56..=0xff => ([0xf8, length as u8, 0], 2),
        _ => {
            assert!(length <= 0xffff, "a transaction is far below 64 KiB");
            ([0xf9, (length >> 8) as u8, length as u8], 3)
        }
    }
}
