//! Views against a chain of a few objects.

use std::{cell::Cell, collections::BTreeMap};

use alloy::{
    primitives::{Address, B256, Bytes, U256, address, keccak256},
    rpc::types::{
        BlockOverrides,
        state::{AccountOverride, StateOverride},
    },
    sol_types::{Revert, SolCall, SolError, SolValue},
};
use joule_protocol::{
    Account, CallKind, Chain, Channel, ChannelStatus, Device, DeviceStatus, Hash, Job, JobStatus, Key, Native, Object,
    SystemContract,
};
use proptest::prelude::*;

use super::{
    database::Multicall3,
    system::{IChainViews, IChannelViews, IDeviceViews, IJobViews},
    *,
};
use crate::wire::{address_of, protocol_address};

const CODE: Address = address!("0x00000000000000000000000000000000000c0de0");
const RICH: Address = address!("0x1111111111111111111111111111111111111111");
const JOBS: Address = address!("0x0000000000000000000000000000000000008001");
const DEVICES: Address = address!("0x0000000000000000000000000000000000008002");
const CHANNELS: Address = address!("0x0000000000000000000000000000000000008003");
const BRIDGE: Address = address!("0x0000000000000000000000000000000000008004");

const HEAD: u64 = 300;

const BLOCK: ViewBlock = ViewBlock {
    chain_id: 4_242,
    number: HEAD,
    timestamp: 1_700_000_000,
    base_fee: 7,
    fee_recipient: address!("0x00000000000000000000000000000000000000fe"),
    gas_limit: 60_000_000,
};

/// A state of a few objects, and what was read of it.
#[derive(Default)]
struct Few {
    objects: BTreeMap<Key, Object>,
    block_hashes_read: Cell<usize>,
}

impl ChainState for Few {
    fn object(&self, key: &Key) -> Result<Option<Object>, RpcError> {
        Ok(self.objects.get(key).copied())
    }

    fn block_hash(&self, number: u64) -> Result<Option<B256>, RpcError> {
        self.block_hashes_read.set(self.block_hashes_read.get() + 1);
        Ok((number <= HEAD).then(|| hash_of_block(number)))
    }
}

fn hash_of_block(number: u64) -> B256 {
    keccak256(number.to_be_bytes())
}

fn chain() -> Few {
    let rich = protocol_address(RICH);
    let account = Account { nonce: 5, balance: 1_000 };
    let job = Job {
        status: JobStatus::Claimed,
        minimum_tier: 1,
        is_device_named: true,
        device: rich,
        model: Hash([1; 32]),
        input_hash: Hash([2; 32]),
        unit_price: 3,
        unit_limit: 4,
        escrow: 12,
        bond: 5,
        deadline: 6,
        receipt_digest: Hash([7; 32]),
        units_paid: 8,
    };
    let device = Device {
        owner: rich,
        payout: rich,
        stake: 9,
        bonded: 5,
        class: 2,
        tier: 1,
        tier_expiry: 10,
        units_served: 11,
        status: DeviceStatus::Active,
    };
    let channel = Channel { payee: rich, deposit: 20, paid: 6, closing_time: 0, status: ChannelStatus::Open };
    let numbers = Chain {
        genesis_id: Hash([9; 32]),
        fee_recipient: rich,
        base_fee_max: 100,
        gas_table_version: 1,
        leaf_count: 6,
        withdrawal_count: 0,
        deposited: 2_000,
        withdrawn: 0,
        grace_seconds: 30,
        channel_close_seconds: 40,
    };
    let objects = [
        (Key::account(&rich), Object::Account(account)),
        (Key::job(&rich, 1), Object::Job(job)),
        (Key::device(&rich), Object::Device(device)),
        (Key::channel(&rich, 2), Object::Channel(channel)),
        (Key::CHAIN, Object::Chain(numbers)),
    ];
    Few { objects: objects.into_iter().collect(), ..Few::default() }
}

fn message(to: Option<Address>, data: impl Into<Bytes>) -> Message {
    Message { from: RICH, to, value: U256::ZERO, data: data.into(), gas: None, gas_price: 0 }
}

fn with_code(code: impl Into<Bytes>) -> StateOverride {
    [(CODE, AccountOverride::default().with_code(code))].into_iter().collect()
}

fn state(overrides: StateOverride) -> Overrides {
    Overrides::new(Some(overrides), None).expect("sensible overrides")
}

/// Runs code with calldata.
fn execute(code: impl Into<Bytes>, data: impl Into<Bytes>, limits: &Limits) -> Result<Bytes, RpcError> {
    run(&chain(), &BLOCK, &state(with_code(code)), message(Some(CODE), data), limits)
}

fn halted(result: Result<Bytes, RpcError>) -> String {
    match result {
        Err(RpcError::Halted(sentence)) => sentence,
        other => panic!("not halted: {other:?}"),
    }
}

fn limited(result: Result<Bytes, RpcError>) -> &'static str {
    match result {
        Err(RpcError::LimitExceeded { what, .. }) => what,
        other => panic!("no limit was exceeded: {other:?}"),
    }
}

fn reverted(result: Result<Bytes, RpcError>) -> Bytes {
    match result {
        Err(RpcError::Reverted { data, .. }) => data,
        other => panic!("not reverted: {other:?}"),
    }
}

/// Code that takes an address of 32 bytes and calldata, calls the one with the other by `instructions`, and ends as the call does.
fn forwarder(instructions: &str) -> Vec<u8> {
    let head = "6020360380602060003760006000826000";
    let call = alloy::hex::decode(format!("{head}{instructions}")).expect("hexadecimal");
    let tail = "3d600060003e3d600082";
    let tail = alloy::hex::decode(tail).expect("hexadecimal");
    let target = (call.len() + tail.len() + 4) as u8;
    // PUSH1 target JUMPI REVERT JUMPDEST RETURN
    [call, tail, vec![0x60, target, 0x57, 0xfd, 0x5b, 0xf3]].concat()
}

const BY_STATICCALL: &str = "6000355afa";
const BY_CALL: &str = "60006000355af1";
const BY_DELEGATECALL: &str = "6000355af4";

fn forwarded(target: Address, data: &[u8]) -> Vec<u8> {
    [target.into_word().as_slice(), data].concat()
}

fn multicall<C: SolCall>(call: &C, overrides: &Overrides) -> C::Return {
    let asked = message(Some(MULTICALL3), call.abi_encode());
    let output = run(&chain(), &BLOCK, overrides, asked, &Limits::default()).expect("a getter");
    C::abi_decode_returns(&output).expect("what the interface says")
}

#[test]
fn a_multicall_asks_system_contracts_and_says_what_failed() {
    let call = |target, data: Vec<u8>| Multicall3::Call3 { target, allowFailure: true, callData: data.into() };
    let missing = IJobViews::getJobCall { client: RICH, clientNonce: 99 }.abi_encode();
    let asked = Multicall3::aggregate3Call {
        calls: vec![
            call(JOBS, IJobViews::getJobCall { client: RICH, clientNonce: 1 }.abi_encode()),
            call(DEVICES, IDeviceViews::getDeviceCall { device: RICH }.abi_encode()),
            call(CHANNELS, IChannelViews::getChannelCall { client: RICH, clientNonce: 2 }.abi_encode()),
            call(BRIDGE, IChainViews::getChainCall {}.abi_encode()),
            call(JOBS, missing.clone()),
            call(MULTICALL3, Multicall3::getEthBalanceCall { addr: RICH }.abi_encode()),
        ],
    };
    let results = multicall(&asked, &Overrides::default());
    let successes: Vec<bool> = results.iter().map(|result| result.success).collect();
    assert_eq!(successes, [true, true, true, true, false, true]);
    assert_eq!(IJobViews::Job::abi_decode(&results[0].returnData).expect("a job").escrow, 12);
    assert_eq!(IDeviceViews::Device::abi_decode(&results[1].returnData).expect("a device").unitsServed, 11);
    assert_eq!(IChannelViews::Channel::abi_decode(&results[2].returnData).expect("a channel").deposit, 20);
    assert_eq!(IChainViews::Chain::abi_decode(&results[3].returnData).expect("numbers").leafCount, 6);
    let expected = joule_protocol::Rejection::JobNotFound { client: protocol_address(RICH), nonce: 99 };
    assert_eq!(results[4].returnData, expected.revert_data::<Native>());
    assert_eq!(U256::abi_decode(&results[5].returnData).expect("a number"), U256::from(1_000));

    let all_or_none =
        Multicall3::aggregateCall { calls: vec![Multicall3::Call { target: JOBS, callData: missing.into() }] };
    let asked = message(Some(MULTICALL3), all_or_none.abi_encode());
    let data = reverted(run(&chain(), &BLOCK, &Overrides::default(), asked, &Limits::default()));
    let failed = Multicall3::Multicall3_CallFailed::abi_decode(&data).expect("the contract's error");
    assert_eq!((failed.index, failed.returnData.to_vec()), (U256::ZERO, expected.revert_data::<Native>()));
}

#[test]
fn code_sees_the_block() {
    let none = Overrides::default();
    assert_eq!(multicall(&Multicall3::getBlockNumberCall {}, &none), U256::from(HEAD));
    assert_eq!(multicall(&Multicall3::getCurrentBlockTimestampCall {}, &none), U256::from(BLOCK.timestamp));
    assert_eq!(multicall(&Multicall3::getBasefeeCall {}, &none), U256::from(7));
    assert_eq!(multicall(&Multicall3::getChainIdCall {}, &none), U256::from(4_242));
    assert_eq!(multicall(&Multicall3::getCurrentBlockCoinbaseCall {}, &none), BLOCK.fee_recipient);
    assert_eq!(multicall(&Multicall3::getCurrentBlockGasLimitCall {}, &none), U256::from(BLOCK.gas_limit));
    assert_eq!(multicall(&Multicall3::getCurrentBlockDifficultyCall {}, &none), U256::ZERO);
    assert_eq!(multicall(&Multicall3::getLastBlockHashCall {}, &none), hash_of_block(HEAD - 1));
    let hash = |number| multicall(&Multicall3::getBlockHashCall { blockNumber: U256::from(number) }, &none);
    assert_eq!(hash(HEAD - 256), hash_of_block(HEAD - 256));
    assert_eq!((hash(HEAD - 257), hash(HEAD)), (B256::ZERO, B256::ZERO));
}

#[test]
fn a_hash_is_read_once_however_often_code_asks() {
    // JUMPDEST, BLOCKHASH(NUMBER - 1), POP, and again.
    let code = alloy::hex!("5b6001430340505f56");
    let few = chain();
    let result = run(&few, &BLOCK, &state(with_code(code)), message(Some(CODE), []), &Limits::default());
    assert!(halted(result).starts_with("out of gas"));
    assert_eq!(few.block_hashes_read.get(), 1);
}

#[test]
fn the_block_can_be_otherwise() {
    let block = BlockOverrides {
        number: Some(U256::from(9_000)),
        time: Some(1),
        base_fee: Some(U256::from(8)),
        coinbase: Some(CODE),
        random: Some(B256::repeat_byte(3)),
        gas_limit: Some(5),
        block_hash: Some([(8_999, B256::repeat_byte(4))].into_iter().collect()),
        ..BlockOverrides::default()
    };
    let overrides = Overrides::new(None, Some(block)).expect("sensible overrides");
    assert_eq!(multicall(&Multicall3::getBlockNumberCall {}, &overrides), U256::from(9_000));
    assert_eq!(multicall(&Multicall3::getCurrentBlockTimestampCall {}, &overrides), U256::ONE);
    assert_eq!(multicall(&Multicall3::getBasefeeCall {}, &overrides), U256::from(8));
    assert_eq!(multicall(&Multicall3::getCurrentBlockCoinbaseCall {}, &overrides), CODE);
    assert_eq!(multicall(&Multicall3::getCurrentBlockGasLimitCall {}, &overrides), U256::from(5));
    assert_eq!(multicall(&Multicall3::getCurrentBlockDifficultyCall {}, &overrides), U256::from_be_bytes([3; 32]));
    assert_eq!(multicall(&Multicall3::getLastBlockHashCall {}, &overrides), B256::repeat_byte(4));
}

#[test]
fn accounts_can_be_otherwise() {
    let mut wanted: StateOverride = with_code(alloy::hex!("5f545f5260205ff3"));
    let slot = |value: u8| [(B256::ZERO, B256::with_last_byte(value))];
    wanted.entry(CODE).or_default().set_state_diff(slot(42));
    wanted.entry(RICH).or_default().set_balance(U256::MAX);
    let overrides = state(wanted.clone());
    let output = run(&chain(), &BLOCK, &overrides, message(Some(CODE), []), &Limits::default()).expect("a slot");
    assert_eq!(U256::from_be_slice(&output), U256::from(42));
    assert_eq!(multicall(&Multicall3::getEthBalanceCall { addr: RICH }, &overrides), U256::MAX);

    wanted.entry(CODE).or_default().set_state(slot(1));
    assert!(matches!(Overrides::new(Some(wanted), None), Err(RpcError::InvalidParams(_))));
}

#[test]
fn overrides_that_cannot_be_meant_are_refused() {
    let of = |address, wanted| Overrides::new(Some([(address, wanted)].into_iter().collect()), None);
    let code = AccountOverride::default().with_code(vec![0]);
    assert!(matches!(of(JOBS, code.clone()), Err(RpcError::InvalidParams(_))));
    let storage = AccountOverride::default().with_state_diff([(B256::ZERO, B256::ZERO)]);
    assert!(matches!(of(JOBS, storage), Err(RpcError::InvalidParams(_))));
    let moved = AccountOverride { move_precompile_to: Some(CODE), ..AccountOverride::default() };
    assert!(matches!(of(RICH, moved), Err(RpcError::InvalidParams(_))));
    let half_a_delegation = AccountOverride::default().with_code(alloy::hex!("ef0100ff"));
    assert!(matches!(of(RICH, half_a_delegation), Err(RpcError::InvalidParams(_))));
    let long = AccountOverride::default().with_code(vec![0; 200_000]);
    assert!(matches!(of(RICH, long), Err(RpcError::LimitExceeded { .. })));
    let slots = (0..5_000_u64).map(|slot| (B256::from(U256::from(slot)), B256::ZERO));
    assert!(matches!(of(RICH, AccountOverride::default().with_state(slots)), Err(RpcError::LimitExceeded { .. })));
    let many = (0..300_u64).map(|number| (Address::from_word(U256::from(number).into()), AccountOverride::default()));
    assert!(matches!(Overrides::new(Some(many.collect()), None), Err(RpcError::LimitExceeded { .. })));
    let fee = BlockOverrides { base_fee: Some(U256::MAX), ..BlockOverrides::default() };
    assert!(matches!(Overrides::new(None, Some(fee)), Err(RpcError::InvalidParams(_))));
    let beacon = BlockOverrides { beacon_root: Some(B256::ZERO), ..BlockOverrides::default() };
    assert!(matches!(Overrides::new(None, Some(beacon)), Err(RpcError::InvalidParams(_))));
    assert!(of(MULTICALL3, code).is_ok(), "it is code like any other");
}

#[test]
fn a_constructor_returns_what_it_returns() {
    // PUSH1 42 PUSH0 MSTORE PUSH1 32 PUSH0 RETURN
    let answer = alloy::hex!("602a5f5260205ff3");
    let output = run(&chain(), &BLOCK, &Overrides::default(), message(None, answer), &Limits::default());
    assert_eq!(U256::from_be_slice(&output.expect("an answer")), U256::from(42));
    // More than a contract may have, and not more than a view may return: 30,000 bytes.
    let long = alloy::hex!("6175305ff3");
    let output = run(&chain(), &BLOCK, &Overrides::default(), message(None, long), &Limits::default());
    assert_eq!(output.expect("an answer").len(), 30_000);
}

#[test]
fn nobody_pays_and_nobody_is_checked() {
    // GASPRICE and ORIGIN, from an account that has code and nothing else.
    let code = alloy::hex!("3a5f523260205260405ff3");
    let asked = Message { from: CODE, gas_price: 1 << 100, ..message(Some(CODE), []) };
    let output = run(&chain(), &BLOCK, &state(with_code(code)), asked, &Limits::default()).expect("an answer");
    assert_eq!(<(U256, Address)>::abi_decode_params(&output).expect("two words"), (U256::ONE << 100, CODE));
}

#[test]
fn code_cannot_change_system_contracts() {
    let (jobs, cancel) = joule_protocol::Call::CancelJob { client_nonce: 1 }.encode();
    let asked = forwarded(address_of(jobs), &cancel);
    for (instructions, words) in
        [(BY_CALL, "cannot change"), (BY_STATICCALL, "cannot change"), (BY_DELEGATECALL, "STATICCALL only")]
    {
        let result = execute(forwarder(instructions), asked.clone(), &Limits::default());
        assert!(
            matches!(&result, Err(RpcError::Reverted { reason: Some(reason), .. }) if reason.contains(words)),
            "{result:?}"
        );
        assert!(Revert::abi_decode(&reverted(result)).is_ok());
    }
}

#[test]
fn endless_and_boundless_code_is_stopped() {
    let limits = Limits::default();
    let endless = alloy::hex!("5b5f56");
    assert!(halted(execute(endless, [], &limits)).starts_with("out of gas"));
    assert!(halted(execute(endless, [], &Limits { view_gas_max: 1_000, ..limits })).contains("intrinsic gas"));
    assert_eq!(limited(execute(endless, [], &Limits { view_ms_max: 0, ..limits })), "milliseconds of a view");
    // MSTORE at 2^64: too much for any gas. At 3 MiB: too much for a limit of one.
    assert!(halted(execute(alloy::hex!("5f6801000000000000000052"), [], &limits)).starts_with("out of gas"));
    let three = alloy::hex!("5f623000005260015ff3");
    assert!(execute(three, [], &limits).is_ok());
    assert_eq!(
        limited(execute(three, [], &Limits { view_memory_bytes_max: 1 << 20, ..limits })),
        "bytes of memory of a view"
    );
    // Returns and reverts with 3 MiB.
    assert_eq!(limited(execute(alloy::hex!("623000005ff3"), [], &limits)), "bytes that a view returns");
    assert_eq!(limited(execute(alloy::hex!("623000005ffd"), [], &limits)), "bytes that a view returns");
}

#[test]
fn code_that_calls_itself_ends_with_its_gas() {
    // CALL(GAS, ADDRESS, 0, 0, 0, 0, 0): it fails at the bottom, and each level returns.
    let itself = alloy::hex!("5f5f5f5f5f305af100");
    assert!(execute(itself, [], &Limits::default()).is_ok());
    // The same, each level with 32 KiB of memory that it keeps while it calls.
    let heavy = alloy::hex!("5f618000525f5f5f5f5f305af100");
    assert!(execute(heavy, [], &Limits::default()).is_ok());
    let limits = Limits { view_memory_bytes_max: 4 * 0x8020, ..Limits::default() };
    assert_eq!(limited(execute(heavy, [], &limits)), "bytes of memory of a view");
    // CREATE with its own code, which does the same.
    let creator = alloy::hex!("385f5f39385f5ff05f5260205ff3");
    assert!(execute(creator, [], &Limits::default()).is_ok());
}

#[test]
fn ends_have_the_usual_words() {
    let limits = Limits::default();
    assert_eq!(halted(execute([0xfe], [], &limits)), "invalid opcode: INVALID");
    assert!(halted(execute([0x0c], [], &limits)).starts_with("invalid opcode"));
    assert_eq!(halted(execute([0x01], [], &limits)), "stack underflow");
    assert_eq!(halted(execute([0x5f, 0x56], [], &limits)), "invalid jump destination");
    assert!(reverted(execute([0x5f, 0x5f, 0xfd], [], &limits)).is_empty());
    let sentence = "x".repeat(5_000);
    // A constructor that reverts with what follows it.
    let code = [alloy::hex!("600b380380600b5f395ffd").as_slice(), &Revert::from(sentence).abi_encode()].concat();
    match run(&chain(), &BLOCK, &Overrides::default(), message(None, code), &limits) {
        Err(RpcError::Reverted { reason: Some(reason), data }) => {
            assert!(reason.len() <= REASON_CHARACTERS_MAX && data.len() > 5_000);
        }
        other => panic!("not reverted with a sentence: {other:?}"),
    }
}

#[test]
fn a_read_that_fails_is_ours() {
    struct Broken;
    impl ChainState for Broken {
        fn object(&self, key: &Key) -> Result<Option<Object>, RpcError> {
            match key.kind() {
                Ok(joule_protocol::Kind::Account) => Ok(None),
                _ => Err(RpcError::Internal("the disk is gone".into())),
            }
        }
        fn block_hash(&self, wanted: u64) -> Result<Option<B256>, RpcError> {
            Err(RpcError::StatePruned { wanted, first: 1, head: 2 })
        }
    }
    let overrides = state(with_code(forwarder(BY_STATICCALL)));
    let asked = message(Some(CODE), forwarded(BRIDGE, &IChainViews::getChainCall {}.abi_encode()));
    let result = run(&Broken, &BLOCK, &overrides, asked, &Limits::default());
    assert!(matches!(&result, Err(RpcError::Internal(reason)) if reason.contains("disk")), "{result:?}");
    let asked = message(Some(MULTICALL3), Multicall3::getLastBlockHashCall {}.abi_encode());
    let result = run(&Broken, &BLOCK, &overrides, asked, &Limits::default());
    assert!(matches!(result, Err(RpcError::StatePruned { .. })));
}

#[test]
fn views_and_functions_do_not_share_selectors() {
    let views = [
        IJobViews::getJobCall::SELECTOR,
        IDeviceViews::getDeviceCall::SELECTOR,
        IChannelViews::getChannelCall::SELECTOR,
        IChainViews::getChainCall::SELECTOR,
    ];
    for (view, contract) in views.into_iter().zip(SystemContract::ALL) {
        assert!(is_view(contract, &view));
        assert_eq!(CallKind::of(contract, &view), CallKind::Unknown);
    }
}

/// A call of a system contract: a view with good arguments, cut or lengthened ones, or anything.
fn system_call() -> impl Strategy<Value = (SystemContract, Vec<u8>)> {
    let call = (0..4_usize, prop_oneof![Just(RICH), any::<[u8; 20]>().prop_map(Address::from)], 0..4_u64);
    let view = call.prop_map(|(contract, who, nonce)| {
        let data = match SystemContract::ALL[contract] {
            SystemContract::Jobs => IJobViews::getJobCall { client: who, clientNonce: nonce }.abi_encode(),
            SystemContract::Devices => IDeviceViews::getDeviceCall { device: who }.abi_encode(),
            SystemContract::Channels => IChannelViews::getChannelCall { client: who, clientNonce: nonce }.abi_encode(),
            SystemContract::Bridge => IChainViews::getChainCall {}.abi_encode(),
        };
        (SystemContract::ALL[contract], data)
    });
    let changed = (view.clone(), 0..80_usize, any::<u8>()).prop_map(|((contract, mut data), at, byte)| {
        match at < data.len() {
            true => data[at] = byte,
            false => data.resize(at, byte),
        }
        (contract, data)
    });
    let noise = (0..4_usize, prop::collection::vec(any::<u8>(), 0..100))
        .prop_map(|(contract, data)| (SystemContract::ALL[contract], data));
    prop_oneof![4 => view, 2 => changed, 1 => noise]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn code_gets_the_answer_that_a_direct_call_gets((contract, data) in system_call(), is_static in any::<bool>()) {
        let direct = answer(contract, &data, 0, &chain()).expect("the state is whole");
        let instructions = if is_static { BY_STATICCALL } else { BY_CALL };
        let asked = forwarded(address_of(contract.address()), &data);
        let by_code = execute(forwarder(instructions), asked, &Limits::default());
        match (direct, by_code) {
            (Answer::Returned(expected), Ok(got)) => prop_assert_eq!(expected, got),
            (Answer::Reverted(expected), Err(RpcError::Reverted { data, .. })) => {
                prop_assert_eq!(expected.revert_data::<Native>(), data);
            }
            (Answer::Changes(_), Err(RpcError::Reverted { reason: Some(_), .. })) => {}
            (direct, by_code) => prop_assert!(false, "{direct:?} directly, {by_code:?} by code"),
        }
    }

    #[test]
    fn any_code_and_calldata_come_to_an_end(
        code in prop::collection::vec(any::<u8>(), 0..300),
        data in prop::collection::vec(any::<u8>(), 0..200),
        value in 0..2_000_u64,
        is_constructor in any::<bool>(),
    ) {
        let Ok(overrides) = Overrides::new(Some(with_code(code.clone())), None) else { return Ok(()) };
        let asked = match is_constructor {
            true => message(None, [code, data].concat()),
            false => message(Some(CODE), data),
        };
        let asked = Message { value: U256::from(value), ..asked };
        let limits = Limits { view_gas_max: 1_000_000, ..Limits::default() };
        let result = run(&chain(), &BLOCK, &overrides, asked, &limits);
        prop_assert!(
            matches!(
                result,
                Ok(_) | Err(RpcError::Reverted { .. } | RpcError::Halted(_) | RpcError::LimitExceeded { .. })
            ),
            "{result:?}"
        );
    }

    #[test]
    fn any_input_of_a_precompile_comes_to_an_end(
        number in 0..0x12_u8,
        data in prop::collection::vec(prop_oneof![3 => Just(0_u8), 1 => any::<u8>()], 0..1_500),
    ) {
        // The last one is that of P-256 (EIP-7951), at 0x100.
        let precompile = if number == 0 { Address::from_word(U256::from(0x100).into()) } else { Address::with_last_byte(number) };
        let limits = Limits { view_gas_max: 1_000_000, ..Limits::default() };
        let result = run(&chain(), &BLOCK, &Overrides::default(), message(Some(precompile), data), &limits);
        prop_assert!(matches!(result, Ok(_) | Err(RpcError::Halted(_) | RpcError::LimitExceeded { .. })), "{result:?}");
    }

    /// Random bytes rarely get far. These are instructions with operands that lead somewhere.
    #[test]
    fn any_plausible_code_comes_to_an_end(
        steps in prop::collection::vec((prop::collection::vec(0..0x40_u8, 0..7), any::<u8>(), any::<bool>()), 0..60),
        data in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let addresses = [JOBS, DEVICES, CHANNELS, BRIDGE, CODE, MULTICALL3, Address::with_last_byte(1)];
        let mut code = Vec::new();
        for (operands, opcode, has_address) in steps {
            for operand in operands {
                code.extend([0x60, operand]);
            }
            if has_address {
                code.push(0x73);
                code.extend(addresses[usize::from(opcode) % addresses.len()]);
                // GAS on top, and one of CALL, CALLCODE, DELEGATECALL, STATICCALL, CREATE.
                code.extend([0x5a, [0xf1, 0xf2, 0xf4, 0xfa, 0xf0][usize::from(opcode) % 5]]);
            } else {
                code.push(opcode);
            }
        }
        let limits = Limits { view_gas_max: 1_000_000, ..Limits::default() };
        let result = execute(code, data, &limits);
        prop_assert!(
            matches!(
                result,
                Ok(_)
                    | Err(RpcError::Reverted { .. }
                        | RpcError::Halted(_)
                        | RpcError::LimitExceeded { .. }
                        | RpcError::InvalidParams(_))
            ),
            "{result:?}"
        );
    }
}
