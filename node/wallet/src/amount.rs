//! Amounts as people write them.

use std::{fmt, str::FromStr};

use alloy::primitives::utils::format_ether;
use joule_protocol::limits::AMOUNT_MAX;

use crate::WalletError;

/// An amount of the base token: `1.5` tokens of 18 decimals, `20gwei` or `100wei`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amount(pub u128);

impl FromStr for Amount {
    type Err = WalletError;

    fn from_str(text: &str) -> Result<Self, WalletError> {
        let malformed = || WalletError::MalformedAmount { text: text.to_owned() };
        // "gwei" ends in "wei" too, so it is looked for first.
        let (number, decimals) = match (text.strip_suffix("gwei"), text.strip_suffix("wei")) {
            (Some(number), _) => (number, 9),
            (None, Some(number)) => (number, 0),
            (None, None) => (text, 18),
        };
        parse_decimal(number, decimals).filter(|&value| value < AMOUNT_MAX).map(Self).ok_or_else(malformed)
    }
}

/// Reads digits with at most `decimals` behind a point. Strict, where libraries drop what is too fine: nobody means a part of a wei.
fn parse_decimal(text: &str, decimals: usize) -> Option<u128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(fraction) || fraction.len() > decimals {
        return None;
    }
    let digits = whole.bytes().chain(fraction.bytes()).map(|digit| u128::from(digit - b'0'));
    let zeros = std::iter::repeat_n(0, decimals - fraction.len());
    digits.chain(zeros).try_fold(0_u128, |value, digit| value.checked_mul(10)?.checked_add(digit))
}

impl fmt::Display for Amount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Trailing zeros say nothing.
        let text = format_ether(self.0);
        formatter.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn amounts_as_people_write_them() {
        let parse = |text: &str| text.parse::<Amount>().ok().map(|amount| amount.0);
        assert_eq!(parse("1.5"), Some(1_500_000_000_000_000_000));
        assert_eq!(parse("20gwei"), Some(20_000_000_000));
        assert_eq!(parse("100wei"), Some(100));
        assert_eq!(parse("0"), Some(0));
        for wrong in
            ["", "-1", "1e18", "1.5wei", "0x10", "wei", "1 wei", "1.0000000000000000001", "9999999999999999999999"]
        {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_again(wei in 0..AMOUNT_MAX) {
            prop_assert_eq!(Amount(wei).to_string().parse::<Amount>().expect("its own text").0, wei);
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}") {
            let _ = text.parse::<Amount>();
        }
    }
}
