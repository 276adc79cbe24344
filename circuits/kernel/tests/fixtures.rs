//! Transactions and EIP-712 messages signed by three other libraries mean here what they mean there.
//!
//! `fixtures/cases.json` says what to sign. ethers (`make.mjs`) and eth-account (`make.py`) have signed it into the files beside it; alloy signs it while the
//! test runs.

use std::collections::BTreeSet;

use alloy::{
    consensus::{SignableTransaction, TxEip1559, TxEnvelope, TxLegacy},
    eips::eip2718::Encodable2718,
    primitives::{B256, TxKind, U256, keccak256},
    signers::{SignerSync, local::PrivateKeySigner},
    sol_types::SolValue,
};
use joule_kernel::{recover_address, sign};
use joule_protocol::{
    Accumulator, Address, Call, CallKind, ChannelClose, Checkpoint, ComputeReceipt, DeviceConsent, Digest, Domain,
    Envelope, Hash, Native, PriorityRequest, Signature, SystemContract, TransactionType, Unsigned, Voucher,
    encode_eip1559, encode_legacy, limits::CHAIN_ID_MAX, withdrawal_leaf,
};
use proptest::prelude::*;
use serde_json::Value;

const CASES: &str = include_str!("fixtures/cases.json");
const ETHERS: &str = include_str!("fixtures/ethers.json");
const ETH_ACCOUNT: &str = include_str!("fixtures/eth_account.json");

fn parse(json: &str) -> Value {
    serde_json::from_str(json).expect("the fixtures are JSON")
}

fn list<'a>(value: &'a Value, name: &str) -> &'a Vec<Value> {
    value[name].as_array().unwrap_or_else(|| panic!("{name} is a list"))
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} is a string"))
}

fn number<T: std::str::FromStr>(value: &Value, name: &str) -> T {
    text(value, name).parse().unwrap_or_else(|_| panic!("{name} is a number"))
}

fn bytes(value: &Value, name: &str) -> Vec<u8> {
    hex::decode(text(value, name).trim_start_matches("0x")).unwrap_or_else(|_| panic!("{name} is hexadecimal"))
}

fn hash(value: &Value, name: &str) -> Hash {
    Hash(bytes(value, name).try_into().expect("32 bytes"))
}

fn address(value: &Value, name: &str) -> Address {
    Address(bytes(value, name).try_into().expect("20 bytes"))
}

/// The secret key of a case.
fn key(cases: &Value, case: &Value) -> B256 {
    let index = case["key"].as_u64().expect("a position");
    list(cases, "keys")[index as usize].as_str().and_then(|key| key.parse().ok()).expect("a key")
}

fn is_legacy(case: &Value) -> bool {
    match text(case, "type") {
        "legacy" => true,
        "eip1559" => false,
        other => panic!("{other} is no type of transaction"),
    }
}

/// What a library made of one transaction.
struct Signed {
    library: String,
    sender: Address,
    calldata: Vec<u8>,
    signing_hash: Hash,
    raw: Vec<u8>,
}

fn signed_by_file(file: &Value, position: usize, name: &str) -> Signed {
    let made = &list(file, "transactions")[position];
    assert_eq!(text(made, "name"), name);
    let raw = bytes(made, "raw");
    assert_eq!(keccak256(&raw).0, hash(made, "hash").0);
    Signed {
        library: text(file, "library").to_owned(),
        sender: address(made, "sender"),
        calldata: bytes(made, "calldata"),
        signing_hash: hash(made, "signingHash"),
        raw,
    }
}

fn signed_by_alloy(cases: &Value, case: &Value, calldata: &[u8]) -> Signed {
    let signer = PrivateKeySigner::from_bytes(&key(cases, case)).expect("a key");
    let (chain_id, nonce, gas_limit) = (number(case, "chainId"), number(case, "nonce"), number(case, "gasLimit"));
    let (fee_max, tip_max) = (number(case, "maxFeePerGas"), number(case, "maxPriorityFeePerGas"));
    let (to, value) = (TxKind::Call(address(case, "to").0.into()), U256::from(number::<u128>(case, "value")));
    let input = calldata.to_vec().into();
    let (signing_hash, envelope) = if is_legacy(case) {
        let transaction = TxLegacy { chain_id: Some(chain_id), nonce, gas_price: fee_max, gas_limit, to, value, input };
        let digest = transaction.signature_hash();
        let signature = signer.sign_hash_sync(&digest).expect("alloy signs");
        (digest, TxEnvelope::from(transaction.into_signed(signature)))
    } else {
        let transaction = TxEip1559 {
            chain_id,
            nonce,
            gas_limit,
            max_fee_per_gas: fee_max,
            max_priority_fee_per_gas: tip_max,
            to,
            value,
            access_list: Default::default(),
            input,
        };
        let digest = transaction.signature_hash();
        let signature = signer.sign_hash_sync(&digest).expect("alloy signs");
        (digest, TxEnvelope::from(transaction.into_signed(signature)))
    };
    Signed {
        library: "alloy".into(),
        sender: Address(signer.address().into_array()),
        calldata: calldata.to_vec(),
        signing_hash: Hash(signing_hash.0),
        raw: envelope.encoded_2718(),
    }
}

/// Holds what the kernel reads in the bytes against what the library was asked to sign.
fn check_transaction(case: &Value, signed: &Signed) {
    let what = format!("{} by {}", text(case, "name"), signed.library);
    let envelope = Envelope::decode(&signed.raw).unwrap_or_else(|refusal| panic!("{what}: {refusal}"));
    let expected = if is_legacy(case) { TransactionType::Legacy } else { TransactionType::Eip1559 };
    assert_eq!(envelope.transaction_type, expected, "{what}");
    assert_eq!(envelope.chain_id, number::<u64>(case, "chainId"), "{what}");
    assert_eq!(envelope.nonce, number::<u64>(case, "nonce"), "{what}");
    assert_eq!(envelope.gas_limit, number::<u64>(case, "gasLimit"), "{what}");
    assert_eq!(envelope.fee_max, number::<u128>(case, "maxFeePerGas"), "{what}");
    assert_eq!(envelope.tip_max, number::<u128>(case, "maxPriorityFeePerGas"), "{what}");
    assert_eq!(envelope.value, number::<u128>(case, "value"), "{what}");
    assert_eq!(envelope.to, address(case, "to"), "{what}");
    assert_eq!(envelope.data, signed.calldata, "{what}");
    let digest = envelope.signing_hash::<Native>();
    assert_eq!(digest, signed.signing_hash, "{what}");
    assert_eq!(recover_address::<Native>(&digest, &envelope.signature), Some(signed.sender), "{what}");
}

/// Our own encoding of a case, which knows no tip, is the libraries'.
fn check_own_encoding(cases: &Value, case: &Value, signed: &Signed) {
    let envelope = Envelope::decode(&signed.raw).expect("checked before");
    if !is_legacy(case) && envelope.tip_max != 0 {
        return;
    }
    let secret = secp256k1::SecretKey::from_secret_bytes(key(cases, case).0).expect("a key");
    let fields = Unsigned {
        chain_id: envelope.chain_id,
        nonce: envelope.nonce,
        fee_max: envelope.fee_max,
        gas_limit: envelope.gas_limit,
        to: envelope.to,
        value: envelope.value,
        data: envelope.data,
    };
    let sign = |digest| sign(&digest, &secret);
    let own =
        if is_legacy(case) { encode_legacy::<Native>(&fields, sign) } else { encode_eip1559::<Native>(&fields, sign) };
    assert_eq!(own, signed.raw, "{}", text(case, "name"));
}

#[test]
fn transactions_of_three_libraries_are_read_alike() {
    let (cases, ethers, eth_account) = (parse(CASES), parse(ETHERS), parse(ETH_ACCOUNT));
    let transactions = list(&cases, "transactions");
    assert_eq!(list(&ethers, "transactions").len(), transactions.len());
    assert_eq!(list(&eth_account, "transactions").len(), transactions.len());
    let mut kinds = BTreeSet::new();
    for (position, case) in transactions.iter().enumerate() {
        let name = text(case, "name");
        let first = signed_by_file(&ethers, position, name);
        let second = signed_by_file(&eth_account, position, name);
        let third = signed_by_alloy(&cases, case, &first.calldata);
        for signed in [&first, &second, &third] {
            check_transaction(case, signed);
            // Signatures after RFC 6979 are a function of key and digest, so the bytes are equal too.
            assert_eq!(hex::encode(&signed.raw), hex::encode(&third.raw), "{name}");
        }
        check_own_encoding(&cases, case, &third);

        let to = address(case, "to");
        let kind = SystemContract::at(&to).map_or(CallKind::Transfer, |to| CallKind::of(to, &first.calldata));
        if case["call"].is_null() {
            assert_eq!((kind, first.calldata.len()), (CallKind::Transfer, 0), "{name}");
        } else {
            let call = Call::decode(kind, &first.calldata).unwrap_or_else(|rejection| panic!("{name}: {rejection}"));
            assert_eq!(call.encode(), (to, first.calldata.clone()), "{name}");
        }
        kinds.insert((kind, is_legacy(case)));
    }
    assert_eq!(kinds.len(), 2 * (CallKind::FUNCTIONS.len() + 1), "every kind of call, in both envelopes");
}

/// Small and large digits of signatures: an integer in RLP has no leading zeros, so a signature's r and s are sometimes shorter.
#[test]
fn short_signature_scalars_are_read() {
    let cases = parse(CASES);
    let mut case = list(&cases, "transactions")[0].clone();
    let mut short = BTreeSet::new();
    for nonce in 0_u64.. {
        case["nonce"] = nonce.to_string().into();
        let signed = signed_by_alloy(&cases, &case, &[]);
        let envelope = Envelope::decode(&signed.raw).expect("alloy's transactions decode");
        let (r, s) = (envelope.signature.r().0[0], envelope.signature.s().0[0]);
        if r != 0 && s != 0 {
            continue;
        }
        check_transaction(&case, &signed);
        short.extend((r == 0).then_some("r"));
        short.extend((s == 0).then_some("s"));
        if short.len() == 2 {
            return;
        }
    }
}

/// A message's digest as this crate computes it from a case.
fn digest_of(case: &Value) -> (Domain, Hash, Hash) {
    let (domain, message) = (&case["domain"], &case["message"]);
    let contract = SystemContract::at(&address(domain, "verifyingContract")).expect("a system contract");
    assert_eq!((text(domain, "name"), text(domain, "version")), ("Joule", "1"));
    let domain = Domain::new::<Native>(number(domain, "chainId"), contract, &hash(domain, "salt"));
    let client_nonce = || number(message, "clientNonce");
    let struct_hash = match text(case, "primaryType") {
        "ComputeReceipt" => ComputeReceipt {
            client: address(message, "client"),
            client_nonce: client_nonce(),
            device: address(message, "device"),
            model: hash(message, "model"),
            runtime: hash(message, "runtime"),
            input_hash: hash(message, "inputHash"),
            output_hash: hash(message, "outputHash"),
            units: number(message, "units"),
            unit_price: number(message, "unitPrice"),
            started_at: number(message, "startedAt"),
            finished_at: number(message, "finishedAt"),
            tier: number(message, "tier"),
            evidence: hash(message, "evidence"),
        }
        .struct_hash::<Native>(),
        "Voucher" => Voucher {
            client: address(message, "client"),
            client_nonce: client_nonce(),
            payee: address(message, "payee"),
            cumulative: number(message, "cumulative"),
        }
        .struct_hash::<Native>(),
        "ChannelClose" => ChannelClose {
            client: address(message, "client"),
            client_nonce: client_nonce(),
            payee: address(message, "payee"),
            paid: number(message, "paid"),
            deadline: number(message, "deadline"),
        }
        .struct_hash::<Native>(),
        "DeviceConsent" => DeviceConsent { device: address(message, "device"), owner: address(message, "owner") }
            .struct_hash::<Native>(),
        other => panic!("{other} is no message"),
    };
    (domain, struct_hash, domain.digest::<Native>(&struct_hash))
}

#[test]
fn messages_of_three_libraries_are_read_alike() {
    let (cases, ethers, eth_account) = (parse(CASES), parse(ETHERS), parse(ETH_ACCOUNT));
    let mut met = BTreeSet::new();
    for (position, case) in list(&cases, "messages").iter().enumerate() {
        let name = text(case, "name");
        let (domain, struct_hash, digest) = digest_of(case);
        let signer = PrivateKeySigner::from_bytes(&key(&cases, case)).expect("a key");
        let third = signer.sign_hash_sync(&B256::from(digest.0)).expect("alloy signs").as_bytes();
        let type_string = match text(case, "primaryType") {
            "ComputeReceipt" => joule_protocol::type_hash::COMPUTE_RECEIPT_TYPE,
            "Voucher" => joule_protocol::type_hash::VOUCHER_TYPE,
            "ChannelClose" => joule_protocol::type_hash::CHANNEL_CLOSE_TYPE,
            _ => joule_protocol::type_hash::DEVICE_CONSENT_TYPE,
        };
        for file in [&ethers, &eth_account] {
            let made = &list(file, "messages")[position];
            let what = format!("{name} by {}", text(file, "library"));
            assert_eq!(text(made, "name"), name);
            assert_eq!(text(made, "type"), type_string, "{what}");
            assert_eq!(hash(made, "domainSeparator"), *domain.separator(), "{what}");
            assert_eq!(hash(made, "structHash"), struct_hash, "{what}");
            assert_eq!(hash(made, "digest"), digest, "{what}");
            let signature: [u8; 65] = bytes(made, "signature").try_into().expect("65 bytes");
            assert_eq!(signature, third, "{what}");
            let signature = Signature::from_bytes(&signature).expect("libraries sign with low s and v 27 or 28");
            let signer = recover_address::<Native>(&digest, &signature);
            assert_eq!(signer, Some(address(made, "signer")), "{what}");
        }
        met.insert(text(case, "primaryType").to_owned());
        met.insert(digest.to_string());
    }
    // Four types, and no two messages share a digest: not on another chain, genesis, contract or type.
    assert_eq!(met.len(), 4 + list(&cases, "messages").len());
}

/// What L1 holds, in Solidity's words.
mod solidity {
    alloy::sol! {
        struct Checkpoint {
            uint32 protocolVersion;
            bytes32 stateRoot;
            uint64 blockNumber;
            bytes32 blockHash;
            uint64 timestamp;
            uint64 priorityCount;
            bytes32 priorityAcc;
            bytes32 messageAcc;
            bytes32 dataAcc;
        }

        struct PriorityRequest {
            uint8 kind;
            address sender;
            address to;
            uint128 amount;
            uint64 timestamp;
            bytes data;
        }

        struct Withdrawal {
            bytes16 tag;
            uint64 index;
            address recipient;
            uint128 amount;
        }

        struct Absorbed {
            bytes32 accumulator;
            bytes item;
        }
    }
}

proptest! {
    #[test]
    fn checkpoints_are_abi_encoded(
        protocol_version in any::<u32>(), root in prop::array::uniform4(0..joule_protocol::GOLDILOCKS), numbers in any::<[u64; 3]>(),
        hashes in any::<[[u8; 32]; 4]>(),
    ) {
        let [block_number, timestamp, priority_count] = numbers;
        let state_root = Digest::new(root).expect("below p");
        let checkpoint = Checkpoint {
            protocol_version,
            state_root,
            block_number,
            block_hash: Hash(hashes[0]),
            timestamp,
            priority_count,
            priority_acc: Accumulator(Hash(hashes[1])),
            message_acc: Accumulator(Hash(hashes[2])),
            data_acc: Accumulator(Hash(hashes[3])),
        };
        let twin = solidity::Checkpoint {
            protocolVersion: protocol_version,
            stateRoot: state_root.to_hash().0.into(),
            blockNumber: block_number,
            blockHash: hashes[0].into(),
            timestamp,
            priorityCount: priority_count,
            priorityAcc: hashes[1].into(),
            messageAcc: hashes[2].into(),
            dataAcc: hashes[3].into(),
        };
        prop_assert_eq!(&checkpoint.encode()[..], twin.abi_encode());
        prop_assert_eq!(checkpoint.hash::<Native>().0, keccak256(twin.abi_encode()).0);
    }

    #[test]
    fn accumulators_hash_packed_encodings(
        kind in any::<u8>(), addresses in any::<[[u8; 20]; 2]>(), amount in any::<u128>(), timestamp in any::<u64>(),
        data in prop::collection::vec(any::<u8>(), 0..100), start in any::<[u8; 32]>(), index in any::<u64>(),
    ) {
        let [sender, to] = addresses;
        let request = PriorityRequest { kind, sender: Address(sender), to: Address(to), amount, timestamp, data: data.clone() };
        let twin = solidity::PriorityRequest {
            kind, sender: sender.into(), to: to.into(), amount, timestamp, data: data.into(),
        };
        prop_assert_eq!(request.encode(), twin.abi_encode_packed());
        let mut accumulator = Accumulator(Hash(start));
        accumulator.absorb::<Native>(&request.encode());
        let absorbed = solidity::Absorbed { accumulator: start.into(), item: twin.abi_encode_packed().into() };
        prop_assert_eq!(accumulator.0.0, keccak256(absorbed.abi_encode_packed()).0);

        let leaf = solidity::Withdrawal { tag: (*b"Joule withdrawal").into(), index, recipient: to.into(), amount };
        prop_assert_eq!(withdrawal_leaf::<Native>(index, &Address(to), amount).0, keccak256(leaf.abi_encode_packed()).0);
    }
}

#[test]
fn cases_reach_the_ends_of_their_ranges() {
    let cases = parse(CASES);
    let largest = list(&cases, "transactions").iter().filter(|case| number::<u64>(case, "chainId") == CHAIN_ID_MAX - 1);
    assert_eq!(largest.count(), 2);
}
