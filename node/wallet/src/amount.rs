//! Amounts as people write them.

use std::{fmt, str::FromStr};

use alloy::primitives::utils::{ParseUnits, format_ether, parse_units};
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
        let (number, unit) = match (text.strip_suffix("gwei"), text.strip_suffix("wei")) {
            (Some(number), _) => (number, "gwei"),
            (None, Some(number)) => (number, "wei"),
            (None, None) => (text, "ether"),
        };
        let is_plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') && !number.is_empty();
        match parse_units(number, unit) {
            Ok(ParseUnits::U256(value)) if is_plain => {
                u128::try_from(value).ok().filter(|&value| value < AMOUNT_MAX).map(Self).ok_or_else(malformed)
            }
            _ => Err(malformed()),
        }
    }
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
