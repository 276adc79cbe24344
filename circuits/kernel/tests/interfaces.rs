//! The Solidity interfaces in `contracts/src/l2`, read by another implementation of ABI and EIP-712, and the kernel agree on every selector, topic, layout
//! and digest.

#![allow(clippy::too_many_arguments, reason = "alloy makes a function of an event's parameters")]

use std::collections::BTreeSet;

use alloy::{
    primitives::{self, B256, Bytes},
    sol_types::{Eip712Domain, SolCall, SolError, SolEvent, SolInterface, SolStruct},
};
use joule_kernel::{Event, Log};
use joule_protocol::{
    Address, Call, CallKind, ChannelClose, ComputeReceipt, DeviceConsent, Domain, Hash, Hashing, Native, Rejection,
    Signature, SystemContract, Voucher, type_hash,
};
use proptest::prelude::*;

alloy::sol!("../../contracts/src/l2/IJobs.sol");
alloy::sol!("../../contracts/src/l2/IDevices.sol");
alloy::sol!("../../contracts/src/l2/IChannels.sol");
alloy::sol!("../../contracts/src/l2/IBridge.sol");
alloy::sol!("../../contracts/src/l2/IRejections.sol");

/// The sources, for what the macro does not keep.
const SOURCES: [(SystemContract, &str, &str); 4] = [
    (SystemContract::Jobs, "IJobs", include_str!("../../../contracts/src/l2/IJobs.sol")),
    (SystemContract::Devices, "IDevices", include_str!("../../../contracts/src/l2/IDevices.sol")),
    (SystemContract::Channels, "IChannels", include_str!("../../../contracts/src/l2/IChannels.sol")),
    (SystemContract::Bridge, "IBridge", include_str!("../../../contracts/src/l2/IBridge.sol")),
];

fn address_of(interface: &str) -> Address {
    let (contract, ..) = SOURCES.into_iter().find(|(_, name, _)| *name == interface).expect("an interface");
    contract.address()
}

/// Random values from a seed that proptest chooses (SplitMix64), the edges of each type more often than chance has them.
struct Source(u64);

impl Source {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        match self.next() % 8 {
            0 => [0; N],
            1 => [0xff; N],
            _ => core::array::from_fn(|_| self.next() as u8),
        }
    }
}

/// A value that can be drawn and that has a Solidity twin.
trait Mirrored {
    type Twin;
    fn draw(source: &mut Source) -> Self;
    fn twin(&self) -> Self::Twin;
}

macro_rules! mirrored_integers {
    ($($integer:ty),*) => {$(
        impl Mirrored for $integer {
            type Twin = Self;
            fn draw(source: &mut Source) -> Self {
                Self::from_be_bytes(source.bytes())
            }
            fn twin(&self) -> Self {
                *self
            }
        }
    )*};
}
mirrored_integers!(u8, u32, u64, u128);

impl Mirrored for Address {
    type Twin = primitives::Address;
    fn draw(source: &mut Source) -> Self {
        Self(source.bytes())
    }
    fn twin(&self) -> Self::Twin {
        self.0.into()
    }
}

impl Mirrored for Hash {
    type Twin = B256;
    fn draw(source: &mut Source) -> Self {
        Self(source.bytes())
    }
    fn twin(&self) -> Self::Twin {
        self.0.into()
    }
}

impl Mirrored for Option<Signature> {
    type Twin = Bytes;
    fn draw(source: &mut Source) -> Self {
        Signature::new(Hash::draw(source), Hash::draw(source), source.next() % 2 == 1)
    }
    fn twin(&self) -> Self::Twin {
        self.map_or([0; 65], |signature| signature.to_bytes()).into()
    }
}

macro_rules! mirrored_structs {
    ($( $interface:ident $name:ident { $( $field:ident: $twin:ident ),* } )*) => {$(
        impl Mirrored for $name {
            type Twin = $interface::$name;
            fn draw(source: &mut Source) -> Self {
                Self { $( $field: Mirrored::draw(source) ),* }
            }
            fn twin(&self) -> Self::Twin {
                $interface::$name { $( $twin: self.$field.twin() ),* }
            }
        }
    )*};
}
mirrored_structs! {
    IJobs ComputeReceipt {
        client: client, client_nonce: clientNonce, device: device, model: model, runtime: runtime, input_hash: inputHash,
        output_hash: outputHash, units: units, unit_price: unitPrice, started_at: startedAt, finished_at: finishedAt, tier: tier,
        evidence: evidence
    }
    IDevices DeviceConsent { device: device, owner: owner }
    IChannels Voucher { client: client, client_nonce: clientNonce, payee: payee, cumulative: cumulative }
    IChannels ChannelClose { client: client, client_nonce: clientNonce, payee: payee, paid: paid, deadline: deadline }
}

/// For an enum whose variants are declared in Solidity: one of each variant with random values, and what the other implementation encodes for a value. The match
/// has no catch-all, so a new variant does not compile until it is here.
macro_rules! mirrored_variants {
    ($all:ident, $expected:ident, $type:ident -> $encoded:ty, $encode:path $(, undeclared $undeclared:ident)?; $( $interface:ident $name:ident $solidity:ident { $( $field:ident: $twin:ident ),* } )*) => {
        fn $all(source: &mut Source) -> Vec<$type> {
            vec![$( $type::$name { $( $field: Mirrored::draw(source) ),* } ),*]
        }

        fn $expected(value: &$type) -> Option<(&'static str, $encoded)> {
            Some(match value {
                $( $type::$name { $( $field ),* } => {
                    let twin = $interface::$solidity { $( $twin: $field.twin() ),* };
                    (stringify!($interface), $encode(&twin))
                } )*
                $( $type::$undeclared => return None, )?
            })
        }
    };
}

fn encode_call(call: &impl SolCall) -> Vec<u8> {
    call.abi_encode()
}

fn encode_error(error: &impl SolError) -> Vec<u8> {
    error.abi_encode()
}

fn encode_event(event: &impl SolEvent) -> (Vec<Hash>, Vec<u8>) {
    let log = event.encode_log_data();
    (log.topics().iter().map(|topic| Hash(topic.0)).collect(), log.data.to_vec())
}

mirrored_variants! {
    all_calls, expected_call, Call -> Vec<u8>, encode_call;
    IJobs PostJob postJobCall {
        model: model, input_hash: inputHash, unit_price: unitPrice, unit_limit: unitLimit, deadline: deadline, minimum_tier: minimumTier,
        device: device, bond: bond
    }
    IJobs ClaimJob claimJobCall { client: client, client_nonce: clientNonce, device: device }
    IJobs ReleaseJob releaseJobCall { client: client, client_nonce: clientNonce }
    IJobs SettleJob settleJobCall { receipt: receipt, signature: signature }
    IJobs CancelJob cancelJobCall { client_nonce: clientNonce }
    IJobs ExpireJob expireJobCall { client: client, client_nonce: clientNonce }
    IDevices RegisterDevice registerDeviceCall { device: device, payout: payout, class: class, consent: consent }
    IDevices AddStake addStakeCall { device: device }
    IDevices RetireDevice retireDeviceCall { device: device }
    IDevices WithdrawStake withdrawStakeCall { device: device }
    IChannels OpenChannel openChannelCall { payee: payee }
    IChannels TopUpChannel topUpChannelCall { client_nonce: clientNonce }
    IChannels RedeemVoucher redeemVoucherCall { voucher: voucher, signature: signature }
    IChannels CloseChannel closeChannelCall { client_nonce: clientNonce }
    IChannels CloseChannelTogether closeChannelTogetherCall {
        client_nonce: clientNonce, deadline: deadline, payee_signature: payeeSignature
    }
    IChannels FinaliseChannel finaliseChannelCall { client: client, client_nonce: clientNonce }
    IBridge Withdraw withdrawCall { l1_recipient: l1Recipient, amount: amount }
}

mirrored_variants! {
    all_events, expected_event, Event -> (Vec<Hash>, Vec<u8>), encode_event, undeclared Transfer;
    IJobs JobPosted JobPosted {
        client: client, client_nonce: clientNonce, device: device, model: model, input_hash: inputHash, unit_price: unitPrice,
        unit_limit: unitLimit, deadline: deadline, minimum_tier: minimumTier, bond: bond
    }
    IJobs JobClaimed JobClaimed { client: client, client_nonce: clientNonce, device: device }
    IJobs JobReleased JobReleased { client: client, client_nonce: clientNonce, device: device }
    IJobs JobSettled JobSettled {
        client: client, client_nonce: clientNonce, device: device, receipt_digest: receiptDigest, units: units, paid: paid,
        refunded: refunded
    }
    IJobs JobCancelled JobCancelled { client: client, client_nonce: clientNonce, refunded: refunded }
    IJobs JobExpired JobExpired {
        client: client, client_nonce: clientNonce, device: device, refunded: refunded, bond_paid: bondPaid
    }
    IDevices DeviceRegistered DeviceRegistered { device: device, owner: owner, payout: payout, class: class, stake: stake }
    IDevices StakeAdded StakeAdded { device: device, amount: amount, stake: stake }
    IDevices DeviceRetired DeviceRetired { device: device }
    IDevices StakeWithdrawn StakeWithdrawn { device: device, owner: owner, amount: amount }
    IChannels ChannelOpened ChannelOpened { client: client, client_nonce: clientNonce, payee: payee, deposit: deposit }
    IChannels ChannelToppedUp ChannelToppedUp { client: client, client_nonce: clientNonce, amount: amount, deposit: deposit }
    IChannels VoucherRedeemed VoucherRedeemed {
        client: client, client_nonce: clientNonce, payee: payee, amount: amount, cumulative: cumulative
    }
    IChannels ChannelClosing ChannelClosing { client: client, client_nonce: clientNonce, closing_time: closingTime }
    IChannels ChannelClosed ChannelClosed { client: client, client_nonce: clientNonce, refunded: refunded }
    IBridge Deposit Deposit { to: to, amount: amount }
    IBridge Withdrawal Withdrawal { index: index, sender: sender, l1_recipient: l1Recipient, amount: amount }
}

mirrored_variants! {
    all_rejections, expected_rejection, Rejection -> Vec<u8>, encode_error;
    IRejections UnknownSelector UnknownSelector { selector: selector }
    IRejections MalformedCall MalformedCall { selector: selector }
    IRejections UnknownContract UnknownContract { to: to }
    IRejections UnknownRequest UnknownRequest { kind: kind }
    IRejections InsufficientBalance InsufficientBalance { have: have, need: need }
    IRejections WrongValue WrongValue { expected: expected, got: got }
    IRejections ZeroAmount ZeroAmount {}
    IRejections ZeroAddress ZeroAddress {}
    IRejections AmountTooLarge AmountTooLarge {}
    IRejections BadSignature BadSignature {}
    IRejections WrongSigner WrongSigner { expected: expected, got: got }
    IRejections JobNotFound JobNotFound { client: client, nonce: nonce }
    IRejections JobNotOpen JobNotOpen { status: status }
    IRejections JobNotClaimed JobNotClaimed { status: status }
    IRejections JobFinished JobFinished { status: status }
    IRejections DeadlinePassed DeadlinePassed { deadline: deadline, now: now }
    IRejections DeadlineTooFar DeadlineTooFar { deadline: deadline, now: now }
    IRejections TierUnsupported TierUnsupported { tier: tier }
    IRejections TierTooLow TierTooLow { need: need, have: have }
    IRejections WrongDevice WrongDevice { expected: expected, got: got }
    IRejections StakeTooLow StakeTooLow { need: need, have: have }
    IRejections WrongModel WrongModel {}
    IRejections WrongInput WrongInput {}
    IRejections WrongUnitPrice WrongUnitPrice { expected: expected, got: got }
    IRejections UnitsOverLimit UnitsOverLimit { units: units, limit: limit }
    IRejections StartedAfterFinished StartedAfterFinished { started: started, finished: finished }
    IRejections FinishedInFuture FinishedInFuture { finished: finished, now: now }
    IRejections FinishedAfterDeadline FinishedAfterDeadline { finished: finished, deadline: deadline }
    IRejections SettlementTooLate SettlementTooLate { until: until, now: now }
    IRejections EvidenceNotEmpty EvidenceNotEmpty {}
    IRejections ExpiryTooEarly ExpiryTooEarly { from: from, now: now }
    IRejections DeviceNotFound DeviceNotFound { device: device }
    IRejections DeviceExists DeviceExists { device: device }
    IRejections NotDeviceOwner NotDeviceOwner { caller: caller }
    IRejections NotDeviceOperator NotDeviceOperator { caller: caller }
    IRejections DeviceRetired DeviceRetired {}
    IRejections DeviceNotRetired DeviceNotRetired {}
    IRejections StakeBonded StakeBonded { bonded: bonded }
    IRejections ChannelNotFound ChannelNotFound { client: client, nonce: nonce }
    IRejections ChannelNotOpen ChannelNotOpen { status: status }
    IRejections ChannelClosed ChannelClosed {}
    IRejections WrongPayee WrongPayee { expected: expected, got: got }
    IRejections VoucherNotIncreasing VoucherNotIncreasing { cumulative: cumulative, paid: paid }
    IRejections VoucherOverDeposit VoucherOverDeposit { cumulative: cumulative, deposit: deposit }
    IRejections ChannelNotClosing ChannelNotClosing { status: status }
    IRejections FinaliseTooEarly FinaliseTooEarly { from: from, now: now }
    IRejections CloseNotForced CloseNotForced {}
    IRejections ConsentExpired ConsentExpired { deadline: deadline, now: now }
}

fn selectors<I: SolInterface>() -> BTreeSet<u32> {
    I::selectors().map(u32::from_be_bytes).collect()
}

fn selectors_of(contract: SystemContract) -> BTreeSet<u32> {
    match contract {
        SystemContract::Jobs => selectors::<IJobs::IJobsCalls>(),
        SystemContract::Devices => selectors::<IDevices::IDevicesCalls>(),
        SystemContract::Channels => selectors::<IChannels::IChannelsCalls>(),
        SystemContract::Bridge => selectors::<IBridge::IBridgeCalls>(),
    }
}

/// Whether calldata is the one encoding of its arguments, by the other implementation: it decodes, and encodes to the same bytes.
fn is_canonical(contract: SystemContract, data: &[u8]) -> bool {
    fn check<I: SolInterface>(data: &[u8]) -> bool {
        I::abi_decode_validate(data).is_ok_and(|call| call.abi_encode() == data)
    }
    match contract {
        SystemContract::Jobs => check::<IJobs::IJobsCalls>(data),
        SystemContract::Devices => check::<IDevices::IDevicesCalls>(data),
        SystemContract::Channels => check::<IChannels::IChannelsCalls>(data),
        SystemContract::Bridge => check::<IBridge::IBridgeCalls>(data),
    }
}

fn has_signature(kind: CallKind) -> bool {
    use CallKind::{CloseChannelTogether, RedeemVoucher, RegisterDevice, SettleJob};
    matches!(kind, SettleJob | RegisterDevice | RedeemVoucher | CloseChannelTogether)
}

/// Canonical, and a signature has 65 bytes.
fn is_acceptable(kind: CallKind, contract: SystemContract, data: &[u8]) -> bool {
    // At the end: length, 65 bytes, 31 bytes of padding.
    let length = || data.len().checked_sub(128).map(|at| &data[at..at + 32]);
    let mut sixty_five = [0; 32];
    sixty_five[31] = 65;
    is_canonical(contract, data) && (!has_signature(kind) || length() == Some(&sixty_five[..]))
}

/// Decodes as the kernel does and holds the answer against the other implementation's.
fn check_decoding(contract: SystemContract, kind: CallKind, data: &[u8]) -> Result<(), TestCaseError> {
    let (_, selector) = kind.function().expect("a function");
    prop_assert_eq!(CallKind::of(contract, data), kind);
    let decoded = Call::decode(kind, data);
    prop_assert_eq!(decoded.is_ok(), is_acceptable(kind, contract, data), "{:?} of {:02x?}", kind, data);
    match decoded {
        Err(rejection) => prop_assert_eq!(rejection, Rejection::MalformedCall { selector }),
        Ok(call) => {
            let encoded = call.encode().1;
            // A signature out of range decodes to none, which is written as zeros.
            let compared = if has_signature(kind) { data.len() - 96 } else { data.len() };
            prop_assert_eq!(&encoded[..compared], &data[..compared]);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn calls_are_encoded_alike(seed in any::<u64>()) {
        for call in all_calls(&mut Source(seed)) {
            let (address, data) = call.encode();
            let (interface, expected) = expected_call(&call).expect("calls are declared");
            prop_assert_eq!(&data, &expected);
            prop_assert_eq!(address, address_of(interface));
            let contract = SystemContract::at(&address).expect("a system contract");
            prop_assert_eq!(CallKind::of(contract, &data), call.kind());
            prop_assert_eq!(Call::decode(call.kind(), &data), Ok(call));
        }
    }

    #[test]
    fn events_are_encoded_alike(seed in any::<u64>()) {
        for event in all_events(&mut Source(seed)) {
            let (interface, (topics, data)) = expected_event(&event).expect("declared");
            prop_assert_eq!(event.log::<Native>(), Some(Log { address: address_of(interface), topics, data }));
        }
    }

    #[test]
    fn rejections_are_encoded_alike(seed in any::<u64>()) {
        for rejection in all_rejections(&mut Source(seed)) {
            let (_, expected) = expected_rejection(&rejection).expect("rejections are declared");
            prop_assert_eq!(rejection.revert_data::<Native>(), expected);
            prop_assert_eq!(rejection.custom_error().name, rejection.name());
        }
    }

    #[test]
    fn messages_are_hashed_alike(seed in any::<u64>()) {
        let source = &mut Source(seed);
        let (chain_id, genesis_id) = (u64::draw(source), Hash::draw(source));
        let domains = |contract: SystemContract| {
            let other = alloy::sol_types::eip712_domain! {
                name: "Joule",
                version: "1",
                chain_id: chain_id,
                verifying_contract: contract.address().twin(),
                salt: genesis_id.twin(),
            };
            (Domain::new::<Native>(chain_id, contract, &genesis_id), other)
        };
        fn check<T: SolStruct>(
            (domain, other): (Domain, Eip712Domain), struct_hash: Hash, twin: &T, type_hash: Hash, type_string: &str,
        ) -> Result<(), TestCaseError> {
            prop_assert_eq!(domain.separator().twin(), other.separator());
            prop_assert_eq!(T::eip712_encode_type(), type_string);
            prop_assert_eq!(twin.eip712_type_hash(), type_hash.twin());
            prop_assert_eq!(twin.eip712_hash_struct(), struct_hash.twin());
            prop_assert_eq!(twin.eip712_signing_hash(&other), domain.digest::<Native>(&struct_hash).twin());
            Ok(())
        }
        let receipt = ComputeReceipt::draw(source);
        let (domain, hash) = (domains(SystemContract::Jobs), receipt.struct_hash::<Native>());
        check(domain, hash, &receipt.twin(), type_hash::COMPUTE_RECEIPT, type_hash::COMPUTE_RECEIPT_TYPE)?;
        let consent = DeviceConsent::draw(source);
        let (domain, hash) = (domains(SystemContract::Devices), consent.struct_hash::<Native>());
        check(domain, hash, &consent.twin(), type_hash::DEVICE_CONSENT, type_hash::DEVICE_CONSENT_TYPE)?;
        let voucher = Voucher::draw(source);
        let (domain, hash) = (domains(SystemContract::Channels), voucher.struct_hash::<Native>());
        check(domain, hash, &voucher.twin(), type_hash::VOUCHER, type_hash::VOUCHER_TYPE)?;
        let close = ChannelClose::draw(source);
        let (domain, hash) = (domains(SystemContract::Channels), close.struct_hash::<Native>());
        check(domain, hash, &close.twin(), type_hash::CHANNEL_CLOSE, type_hash::CHANNEL_CLOSE_TYPE)?;
    }

    /// Changed calldata is taken exactly if the other implementation, asked to be strict, takes it.
    #[test]
    fn changed_calldata_is_judged_alike(seed in any::<u64>(), at in any::<prop::sample::Index>(), byte in any::<u8>(), change in 0..4_usize) {
        for call in all_calls(&mut Source(seed)) {
            let (address, mut data) = call.encode();
            let contract = SystemContract::at(&address).expect("a system contract");
            let at = 4 + at.index(data.len() - 4);
            match change {
                0 => data[at] = byte,
                1 => data[at] ^= 1 << (byte % 8),
                2 => data.insert(at, byte),
                _ => drop(data.remove(at)),
            }
            check_decoding(contract, call.kind(), &data)?;
        }
    }
}

#[test]
fn every_declaration_is_known_and_every_known_thing_declared() {
    for contract in SystemContract::ALL {
        let known = CallKind::FUNCTIONS.iter().filter_map(|kind| kind.function());
        let known: BTreeSet<u32> =
            known.filter(|(owner, _)| *owner == contract).map(|(_, selector)| selector).collect();
        assert_eq!(known, selectors_of(contract), "functions of {contract:?}");
    }
    assert_eq!(all_calls(&mut Source(0)).len(), CallKind::FUNCTIONS.len());

    let declared = [
        IJobs::IJobsEvents::SELECTORS,
        IDevices::IDevicesEvents::SELECTORS,
        IChannels::IChannelsEvents::SELECTORS,
        IBridge::IBridgeEvents::SELECTORS,
    ];
    let declared: BTreeSet<Hash> = declared.concat().into_iter().map(Hash).collect();
    let known = all_events(&mut Source(0)).into_iter().filter_map(|event| event.log::<Native>());
    assert_eq!(known.map(|log| log.topics[0]).collect::<BTreeSet<_>>(), declared);
    assert_eq!(Event::Transfer.log::<Native>(), None);

    let known =
        all_rejections(&mut Source(0)).into_iter().map(|rejection| rejection.revert_data::<Native>()[..4].to_vec());
    let declared = IRejections::IRejectionsErrors::SELECTORS.iter().map(|selector| selector.to_vec());
    assert_eq!(known.collect::<BTreeSet<_>>(), declared.collect::<BTreeSet<_>>());
    assert_eq!(IRejections::IRejectionsErrors::SELECTORS.len(), Rejection::ALL.len());
}

/// What the macro does not keep: addresses, and whether a function takes a value.
#[test]
fn sources_say_where_contracts_are_and_what_is_payable() {
    for (contract, name, source) in SOURCES {
        assert!(source.contains(&format!("System contract at {}.", contract.address())), "{name}");
    }
    for call in all_calls(&mut Source(1)) {
        let (address, data) = call.encode();
        let (_, _, source) = SOURCES.into_iter().find(|(contract, ..)| contract.address() == address).unwrap();
        let selector = u32::from_be_bytes(data[..4].try_into().unwrap());
        let declarations = source.split("function ").skip(1).map(|rest| rest.split(';').next().unwrap());
        let declaration = declarations.clone().find(|declaration| selector_of(declaration) == selector).unwrap();
        assert_eq!(declaration.ends_with(" external payable"), call.kind().is_payable(), "{declaration}");
        assert!(declaration.contains(" external"));
    }
}

/// The selector of a declaration such as `topUpChannel(uint64 clientNonce) external payable`; structs are those of the interfaces.
fn selector_of(declaration: &str) -> u32 {
    let (name, rest) = declaration.split_once('(').unwrap();
    let parameters = rest.split_once(')').unwrap().0;
    let types = parameters.split(',').map(|parameter| match parameter.split_whitespace().next().unwrap() {
        "ComputeReceipt" => tuple(type_hash::COMPUTE_RECEIPT_TYPE),
        "Voucher" => tuple(type_hash::VOUCHER_TYPE),
        other => other.to_owned(),
    });
    let signature = format!("{name}({})", types.collect::<Vec<_>>().join(","));
    u32::from_be_bytes(Native::keccak256(signature.as_bytes()).0[..4].try_into().unwrap())
}

/// The tuple of a struct, from its EIP-712 type.
fn tuple(eip712_type: &str) -> String {
    let fields = eip712_type.split_once('(').unwrap().1.trim_end_matches(')');
    let types: Vec<&str> = fields.split(',').map(|field| field.split(' ').next().unwrap()).collect();
    format!("({})", types.join(","))
}

/// Each byte of each call, changed: padding, offsets and lengths among them.
#[test]
fn dirty_padding_offsets_and_lengths_are_malformed() {
    for seed in 0..4 {
        for call in all_calls(&mut Source(seed)) {
            let (address, data) = call.encode();
            let contract = SystemContract::at(&address).unwrap();
            for at in 4..data.len() {
                for change in [1, 0x80, 0xff] {
                    let mut changed = data.clone();
                    changed[at] ^= change;
                    check_decoding(contract, call.kind(), &changed).unwrap();
                }
            }
        }
    }
    // That check leans on the other implementation, so the plainest cases stand here by themselves.
    let malformed = |call: &Call, change: &dyn Fn(&mut Vec<u8>)| {
        let mut data = call.encode().1;
        change(&mut data);
        let (_, selector) = call.kind().function().unwrap();
        assert_eq!(Call::decode(call.kind(), &data), Err(Rejection::MalformedCall { selector }));
    };
    let close = Call::CloseChannelTogether { client_nonce: 1, deadline: 2, payee_signature: None };
    for (position, least, words) in [(4 + 95, 96, [0, 64, 97, 128]), (4 + 127, 65, [0, 64, 66, 96])] {
        assert_eq!(close.encode().1[position], least);
        words.iter().for_each(|&word| malformed(&close, &|data| data[position] = word));
    }
    malformed(&close, &|data| *data.last_mut().unwrap() = 1);
    malformed(&close, &|data| data[4] = 1);
    malformed(&Call::AddStake { device: Address::ZERO }, &|data| data[15] = 1);
}

#[test]
fn shorter_and_longer_calldata_is_malformed() {
    for call in all_calls(&mut Source(3)) {
        let (address, data) = call.encode();
        let contract = SystemContract::at(&address).unwrap();
        let (_, selector) = call.kind().function().unwrap();
        for length in 0..data.len() {
            let kind = CallKind::of(contract, &data[..length]);
            let expected = match length {
                0..4 => Rejection::UnknownSelector { selector: 0 },
                _ => Rejection::MalformedCall { selector },
            };
            assert_eq!(Call::decode(kind, &data[..length]), Err(expected));
        }
        for more in [1, 31, 32, 64] {
            let longer = [&data[..], &vec![0; more]].concat();
            assert_eq!(Call::decode(call.kind(), &longer), Err(Rejection::MalformedCall { selector }));
        }
    }
}

#[test]
fn a_selector_belongs_to_one_contract() {
    for &kind in CallKind::FUNCTIONS {
        let (owner, selector) = kind.function().unwrap();
        for contract in SystemContract::ALL {
            let expected = if contract == owner { kind } else { CallKind::Unknown };
            assert_eq!(CallKind::of(contract, &selector.to_be_bytes()), expected);
        }
    }
    for selector in [0, 1, u32::MAX] {
        let data = u32::to_be_bytes(selector);
        let kind = CallKind::of(SystemContract::Jobs, &data);
        assert_eq!(Call::decode(kind, &data), Err(Rejection::UnknownSelector { selector }));
    }
}
