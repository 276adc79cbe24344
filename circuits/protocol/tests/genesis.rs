//! What a chain can start from.

use joule_protocol::{
    Address, Genesis, GenesisError, Hash,
    limits::{CHAIN_ID_MAX, DELAY_SECONDS_MAX},
};

const GOOD: Genesis = Genesis {
    chain_id: 7_707,
    l1_chain_id: 1,
    base_token: Address::ZERO,
    fee_recipient: Address([1; 20]),
    base_fee_max: 0,
    grace_seconds: 1,
    channel_close_seconds: DELAY_SECONDS_MAX,
    timestamp: 0,
    salt: Hash::ZERO,
};

#[test]
fn bounds_are_inclusive_where_they_say_so() {
    assert_eq!(GOOD.check(), Ok(()));
    let largest = Genesis { chain_id: CHAIN_ID_MAX - 1, l1_chain_id: CHAIN_ID_MAX - 2, ..GOOD };
    assert_eq!(largest.check(), Ok(()));
    let delays = Genesis { grace_seconds: DELAY_SECONDS_MAX, channel_close_seconds: 1, ..GOOD };
    assert_eq!(delays.check(), Ok(()));
}

#[test]
fn each_field_out_of_bounds_is_named_with_its_value() {
    for got in [0, CHAIN_ID_MAX, u64::MAX] {
        let field = "chain_id";
        assert_eq!(Genesis { chain_id: got, ..GOOD }.check(), Err(GenesisError::ChainId { field, got }));
        let field = "l1_chain_id";
        assert_eq!(Genesis { l1_chain_id: got, ..GOOD }.check(), Err(GenesisError::ChainId { field, got }));
    }
    assert_eq!(Genesis { l1_chain_id: 7_707, ..GOOD }.check(), Err(GenesisError::SameChainId { got: 7_707 }));
    assert_eq!(Genesis { fee_recipient: Address::ZERO, ..GOOD }.check(), Err(GenesisError::NoFeeRecipient));
    for got in [0, DELAY_SECONDS_MAX + 1, u64::MAX] {
        let field = "grace_seconds";
        assert_eq!(Genesis { grace_seconds: got, ..GOOD }.check(), Err(GenesisError::Delay { field, got }));
        let field = "channel_close_seconds";
        assert_eq!(Genesis { channel_close_seconds: got, ..GOOD }.check(), Err(GenesisError::Delay { field, got }));
    }
    let error = Genesis { chain_id: CHAIN_ID_MAX, ..GOOD }.check().unwrap_err().to_string();
    assert_eq!(error, "`chain_id` is 9007199254740992; a chain id is at least 1 and below 9007199254740992");
}
