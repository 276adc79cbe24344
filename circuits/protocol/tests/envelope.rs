//! Signed transactions from anywhere: what is taken has one encoding, what is not has a refusal, and nothing panics.

use std::collections::BTreeSet;

use joule_protocol::{
    Address, Envelope, Fault, Hash, Hashing, Native, Refusal, Signature, TransactionType, Unsigned, encode_eip1559,
    encode_legacy,
    limits::{AMOUNT_MAX, TRANSACTION_BYTES_MAX},
};
use proptest::prelude::*;

/// n, the order of secp256k1, and n/2 rounded down.
const ORDER: &str = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
const HALF_ORDER: &str = "7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0";

/// A second writer of RLP, of encodings that are not canonical too; independent of the one under test.
mod rlp {
    pub(crate) fn header(base: u8, length: usize) -> Vec<u8> {
        if length <= 55 {
            return vec![base + length as u8];
        }
        let digits: Vec<u8> = length.to_be_bytes().into_iter().skip_while(|&digit| digit == 0).collect();
        [vec![base + 55 + digits.len() as u8], digits].concat()
    }

    pub(crate) fn string(bytes: &[u8]) -> Vec<u8> {
        if bytes.len() == 1 && bytes[0] < 0x80 {
            bytes.to_vec()
        } else {
            [header(0x80, bytes.len()), bytes.to_vec()].concat()
        }
    }

    pub(crate) fn integer(big_endian: &[u8]) -> Vec<u8> {
        string(&big_endian.iter().copied().skip_while(|&byte| byte == 0).collect::<Vec<_>>())
    }

    pub(crate) fn list(items: &[Vec<u8>]) -> Vec<u8> {
        let payload = items.concat();
        [header(0xc0, payload.len()), payload].concat()
    }
}

/// A transaction as a list of encoded fields, each of which a test may replace.
#[derive(Clone)]
struct Fields {
    prefix: Vec<u8>,
    items: Vec<Vec<u8>>,
    /// Positions: nonce, highest fee, gas limit, recipient, value, data, v or parity, r, s.
    at: [usize; 9],
}

const NONCE: usize = 0;
const FEE: usize = 1;
const GAS: usize = 2;
const TO: usize = 3;
const VALUE: usize = 4;
const DATA: usize = 5;
const V: usize = 6;
const R: usize = 7;
const S: usize = 8;
/// Positions in type 2 alone.
const CHAIN_ID: usize = 0;
const TIP: usize = 2;
const ACCESS_LIST: usize = 8;

impl Fields {
    fn eip1559() -> Self {
        let items = vec![
            rlp::integer(&[0x1e, 0x1b]),
            rlp::integer(&[5]),
            rlp::integer(&[2]),
            rlp::integer(&[0x3b, 0x9a, 0xca, 0]),
            rlp::integer(&[0x52, 0x08]),
            rlp::string(&[0x77; 20]),
            rlp::integer(&[1, 0, 0]),
            rlp::string(&[]),
            rlp::list(&[]),
            rlp::integer(&[1]),
            rlp::integer(&[0x11; 32]),
            rlp::integer(&[0x22; 32]),
        ];
        Self { prefix: vec![2], items, at: [1, 3, 4, 5, 6, 7, 9, 10, 11] }
    }

    fn legacy() -> Self {
        let items = vec![
            rlp::integer(&[5]),
            rlp::integer(&[0x3b, 0x9a, 0xca, 0]),
            rlp::integer(&[0x52, 0x08]),
            rlp::string(&[0x77; 20]),
            rlp::integer(&[1, 0, 0]),
            rlp::string(&[]),
            // 35 + 2 · 7707 + 1
            rlp::integer(&15_450_u16.to_be_bytes()),
            rlp::integer(&[0x11; 32]),
            rlp::integer(&[0x22; 32]),
        ];
        Self { prefix: vec![], items, at: [0, 1, 2, 3, 4, 5, 6, 7, 8] }
    }

    fn both() -> [Self; 2] {
        [Self::eip1559(), Self::legacy()]
    }

    fn with(&self, field: usize, item: Vec<u8>) -> Self {
        self.with_item(self.at[field], item)
    }

    fn with_item(&self, at: usize, item: Vec<u8>) -> Self {
        let mut changed = self.clone();
        changed.items[at] = item;
        changed
    }

    fn bytes(&self) -> Vec<u8> {
        [self.prefix.clone(), rlp::list(&self.items)].concat()
    }
}

#[track_caller]
fn refused(bytes: &[u8]) -> Refusal {
    let refusal = Envelope::decode(bytes).expect_err("these bytes are no transaction");
    assert!(!refusal.to_string().is_empty());
    refusal
}

#[track_caller]
fn malformed(bytes: &[u8]) -> &'static str {
    match refused(bytes) {
        Refusal::MalformedEnvelope { reason } => reason,
        other => panic!("refused for another reason: {other}"),
    }
}

#[track_caller]
fn bad_signature(fields: &Fields) {
    assert!(matches!(refused(&fields.bytes()), Refusal::BadSignature { .. }));
}

fn hexadecimal(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

/// A big-endian integer one above or below another.
fn step(mut number: Vec<u8>, up: bool) -> Vec<u8> {
    for byte in number.iter_mut().rev() {
        *byte = if up { byte.wrapping_add(1) } else { byte.wrapping_sub(1) };
        if *byte != if up { 0 } else { 0xff } {
            break;
        }
    }
    number
}

/// The bytes of a decoded transaction, from its fields alone.
fn encode_again(envelope: &Envelope<'_>) -> Vec<u8> {
    let number = |number: u128| rlp::integer(&number.to_be_bytes());
    let action = [
        number(envelope.gas_limit.into()),
        rlp::string(&envelope.to.0),
        number(envelope.value),
        rlp::string(envelope.data),
    ];
    let is_odd = u128::from(envelope.signature.is_odd());
    let (nonce, chain_id) = (number(envelope.nonce.into()), u128::from(envelope.chain_id));
    let (r, s) = (rlp::integer(&envelope.signature.r().0), rlp::integer(&envelope.signature.s().0));
    match envelope.transaction_type {
        TransactionType::Eip1559 => {
            let head = [number(chain_id), nonce, number(envelope.tip_max), number(envelope.fee_max)];
            let tail = [rlp::list(&[]), number(is_odd), r, s];
            [vec![2], rlp::list(&[&head[..], &action, &tail].concat())].concat()
        }
        TransactionType::Legacy => {
            assert_eq!(envelope.tip_max, envelope.fee_max);
            let tail = [number(35 + 2 * chain_id + is_odd), r, s];
            rlp::list(&[&[nonce, number(envelope.fee_max)][..], &action, &tail].concat())
        }
    }
}

#[test]
fn honest_transactions_decode() {
    for fields in Fields::both() {
        let bytes = fields.bytes();
        let envelope = Envelope::decode(&bytes).unwrap();
        assert_eq!((envelope.chain_id, envelope.nonce, envelope.gas_limit), (7_707, 5, 21_000));
        assert_eq!((envelope.fee_max, envelope.value), (1_000_000_000, 0x1_0000));
        assert_eq!((envelope.to, envelope.data), (Address([0x77; 20]), &[][..]));
        assert_eq!((envelope.signature.r(), envelope.signature.s()), (Hash([0x11; 32]), Hash([0x22; 32])));
        assert!(envelope.signature.is_odd());
        assert_eq!(encode_again(&envelope), bytes);
    }
}

/// What is refused of a transaction's bytes is refused of what was signed.
#[test]
fn what_was_signed_is_held_to_the_same_rules() {
    for fields in Fields::both() {
        let bytes = fields.with(DATA, rlp::string(&[0xab; 300])).bytes();
        let sent = Envelope::decode(&bytes).unwrap();
        let (preimage, signature) = (sent.preimage(), sent.signature);
        for length in 0..preimage.len() {
            assert!(Envelope::decode_signed(&preimage[..length], &signature).is_err());
        }
        let longer = [&preimage[..], &[0]].concat();
        assert!(matches!(Envelope::decode_signed(&longer, &signature), Err(Refusal::MalformedEnvelope { .. })));
        let huge = vec![0xf8; 1_537];
        assert_eq!(Envelope::decode_signed(&huge, &signature), Err(Refusal::TransactionTooLong { got: 1_537 }));
    }
    let signature = Envelope::decode(&Fields::legacy().bytes()).unwrap().signature;
    let legacy = |tail: &[Vec<u8>]| {
        let head = &Fields::legacy().items[..6];
        rlp::list(&[head, tail].concat())
    };
    let number = |number: u64| rlp::integer(&number.to_be_bytes());
    let chain_ids = |chain_id: u64| {
        Envelope::decode_signed(&legacy(&[number(chain_id), number(0), number(0)]), &signature)
            .map(|signed| signed.chain_id)
    };
    // 35 + 2·chain id + parity must be a u64, as it is in the bytes of a wallet; the parity is 1 here.
    assert_eq!(chain_ids((u64::MAX - 36) / 2), Ok((u64::MAX - 36) / 2));
    assert!(chain_ids((u64::MAX - 36) / 2 + 1).is_err());
    for tail in [&[number(7)][..], &[number(7), number(0)], &[number(7), number(0), number(1)], &[]] {
        assert!(Envelope::decode_signed(&legacy(tail), &signature).is_err());
    }
    let too_long = Fields::legacy().with(DATA, rlp::string(&[0xab; 1_450]));
    let (preimage, got) = (legacy_preimage(&too_long), too_long.bytes().len());
    assert!(preimage.len() <= 1_536 && got > 1_536);
    assert_eq!(Envelope::decode_signed(&preimage, &signature), Err(Refusal::TransactionTooLong { got }));
}

/// What the sender of a legacy transaction on chain 7,707 signs.
fn legacy_preimage(fields: &Fields) -> Vec<u8> {
    let tail = [rlp::integer(&7_707_u64.to_be_bytes()), rlp::integer(&[]), rlp::integer(&[])];
    rlp::list(&[&fields.items[..6], &tail].concat())
}

#[test]
fn every_truncation_is_malformed() {
    for fields in Fields::both() {
        let bytes = fields.with(DATA, rlp::string(&[0xab; 300])).bytes();
        assert!(Envelope::decode(&bytes).is_ok());
        for length in 0..bytes.len() {
            malformed(&bytes[..length]);
        }
    }
}

#[test]
fn too_few_fields_and_too_many_are_malformed() {
    for fields in Fields::both() {
        for count in 0..fields.items.len() {
            let mut fewer = fields.clone();
            fewer.items.truncate(count);
            malformed(&fewer.bytes());
        }
        for extra in [rlp::integer(&[]), rlp::list(&[]), rlp::string(&[1; 60])] {
            let mut more = fields.clone();
            more.items.push(extra.clone());
            assert_eq!(malformed(&more.bytes()), "the transaction has too many fields");
            assert_eq!(malformed(&[fields.bytes(), extra].concat()), "bytes follow the transaction");
        }
    }
}

/// Every other way to write the same string or number.
#[test]
fn encodings_that_are_not_canonical_are_malformed() {
    for fields in Fields::both() {
        for (at, item) in fields.items.iter().enumerate() {
            let is_list = item[0] >= 0xc0;
            let payload = match item[0] {
                0..0x80 => &item[..],
                _ => &item[1..],
            };
            let base = if is_list { 0xc0 } else { 0x80 };
            let length = payload.len() as u8;
            let mut others = vec![
                [vec![base + 56, length], payload.to_vec()].concat(),
                [vec![base + 57, 0, length], payload.to_vec()].concat(),
                [vec![base + 63, 0, 0, 0, 0, 0, 0, 0, length], payload.to_vec()].concat(),
                [vec![0x80 + (0xc0 - base) + length], payload.to_vec()].concat(),
            ];
            let is_number = !is_list && at != fields.at[TO] && at != fields.at[DATA];
            if is_number {
                others.push(rlp::string(&[&[0], payload].concat()));
                others.push(vec![0]);
                others.push(rlp::string(&[0; 32]));
            }
            if let [digit @ 0..0x80] = item[..] {
                others.push(vec![0x81, digit]);
            }
            for other in others {
                // A value whose first half is zeros is a number with a leading zero, whatever else it may be.
                malformed(&fields.with_item(at, other.clone()).bytes());
            }
        }
        // The list itself.
        let payload = fields.items.concat();
        assert!((56..256).contains(&payload.len()));
        let length = payload.len() as u8;
        for header in [vec![0xf9, 0, length], vec![0xfa, 0, 0, length], vec![0x80 + 56, length]] {
            malformed(&[fields.prefix.clone(), header, payload.clone()].concat());
        }
    }
}

#[test]
fn numbers_that_do_not_fit_are_malformed() {
    for fields in Fields::both() {
        for (field, bytes) in [(NONCE, 8), (FEE, 16), (GAS, 8), (VALUE, 32), (V, 8), (R, 32), (S, 32)] {
            let too_large = rlp::integer(&[&[1][..], &vec![0; bytes]].concat());
            assert_eq!(malformed(&fields.with(field, too_large).bytes()), "a number is too large");
        }
        for length in [1, 19, 21, 32] {
            let to = rlp::string(&vec![0x77; length]);
            assert_eq!(malformed(&fields.with(TO, to).bytes()), "the recipient is not 20 bytes");
        }
    }
    let fields = Fields::eip1559();
    for (at, bytes) in [(CHAIN_ID, 8), (TIP, 16)] {
        let too_large = rlp::integer(&[&[1][..], &vec![0; bytes]].concat());
        assert_eq!(malformed(&fields.with_item(at, too_large).bytes()), "a number is too large");
    }
}

#[test]
fn largest_values_decode() {
    for fields in Fields::both() {
        let fields = fields
            .with(NONCE, rlp::integer(&[0xff; 8]))
            .with(FEE, rlp::integer(&[0xff; 16]))
            .with(GAS, rlp::integer(&[0xff; 8]))
            .with(VALUE, rlp::integer(&(AMOUNT_MAX - 1).to_be_bytes()))
            .with(R, rlp::integer(&step(hexadecimal(ORDER), false)))
            .with(S, rlp::integer(&hexadecimal(HALF_ORDER)));
        let bytes = fields.bytes();
        let envelope = Envelope::decode(&bytes).unwrap();
        assert_eq!((envelope.nonce, envelope.fee_max, envelope.gas_limit), (u64::MAX, u128::MAX, u64::MAX));
        assert_eq!(envelope.value, AMOUNT_MAX - 1);
        assert_eq!(encode_again(&envelope), bytes);
    }
    let v = Fields::legacy().with(V, rlp::integer(&[0xff; 8])).bytes();
    assert_eq!(Envelope::decode(&v).unwrap().chain_id, (u64::MAX - 35) / 2);
}

#[test]
fn a_transaction_may_have_1536_bytes_and_not_one_more() {
    for fields in Fields::both() {
        let around = fields.with(DATA, rlp::string(&[1; 1_000])).bytes().len() - 1_000;
        let data = vec![1; TRANSACTION_BYTES_MAX - around];
        let longest = fields.with(DATA, rlp::string(&data)).bytes();
        assert_eq!(longest.len(), TRANSACTION_BYTES_MAX);
        assert_eq!(Envelope::decode(&longest).unwrap().data, data);
        let longer = fields.with(DATA, rlp::string(&[&data[..], &[1]].concat())).bytes();
        assert_eq!(refused(&longer), Refusal::TransactionTooLong { got: TRANSACTION_BYTES_MAX + 1 });
    }
    assert_eq!(refused(&[2; 1 << 20]), Refusal::TransactionTooLong { got: 1 << 20 });
}

#[test]
fn other_types_are_named() {
    let payload = Fields::eip1559().bytes()[1..].to_vec();
    for got in (0..0x80).filter(|&byte| byte != 2) {
        assert_eq!(refused(&[&[got], &payload[..]].concat()), Refusal::UnsupportedType { got });
        assert_eq!(refused(&[got]), Refusal::UnsupportedType { got });
    }
    for first in 0x80..0xc0 {
        malformed(&[&[first], &payload[..]].concat());
    }
}

#[test]
fn signatures_out_of_range_are_refused() {
    let (order, half) = (hexadecimal(ORDER), hexadecimal(HALF_ORDER));
    for fields in Fields::both() {
        for r in [vec![], order.clone(), step(order.clone(), true), vec![0xff; 32]] {
            bad_signature(&fields.with(R, rlp::integer(&r)));
        }
        // Between n/2 and n lies the twin of every signature.
        for s in [vec![], step(half.clone(), true), step(order.clone(), false), order.clone(), vec![0xff; 32]] {
            bad_signature(&fields.with(S, rlp::integer(&s)));
        }
        for (field, good) in [(R, vec![1]), (S, vec![1]), (R, step(order.clone(), false)), (S, half.clone())] {
            assert!(Envelope::decode(&fields.with(field, rlp::integer(&good)).bytes()).is_ok());
        }
    }
    for parity in [2, 27, 28, 35] {
        bad_signature(&Fields::eip1559().with(V, rlp::integer(&[parity])));
    }
    for v in (0..35).filter(|v| ![27, 28].contains(v)) {
        bad_signature(&Fields::legacy().with(V, rlp::integer(&[v])));
    }
    for v in [27, 28] {
        assert_eq!(refused(&Fields::legacy().with(V, rlp::integer(&[v])).bytes()), Refusal::MissingReplayProtection);
    }
    let smallest = Fields::legacy().with(V, rlp::integer(&[35])).bytes();
    assert_eq!(Envelope::decode(&smallest).unwrap().chain_id, 0);
}

#[test]
fn signature_bytes_have_one_reading() {
    let mut bytes = [1; 65];
    for v in 0..=255 {
        bytes[64] = v;
        let read = Signature::from_bytes(&bytes);
        assert_eq!(read.map(|signature| signature.to_bytes()), [27, 28].contains(&v).then_some(bytes));
    }
    bytes[64] = 27;
    for (from, word) in [(0, "00".repeat(32)), (0, ORDER.into()), (32, "00".repeat(32)), (32, ORDER.into())] {
        let mut bytes = bytes;
        bytes[from..from + 32].copy_from_slice(&hexadecimal(&word));
        assert_eq!(Signature::from_bytes(&bytes), None);
    }
    bytes[32..64].copy_from_slice(&step(hexadecimal(HALF_ORDER), true));
    assert_eq!(Signature::from_bytes(&bytes), None, "a high s");
}

/// Each refusal that needs the bytes alone, from the smallest bytes that meet it.
#[test]
fn every_refusal_of_the_decoder_is_met() {
    let item = |item: &[u8]| rlp::list(&[rlp::string(&[0x77; 20]), rlp::list(&[rlp::string(item)])]);
    let both = |field: usize, item: Vec<u8>| Fields::both().map(|fields| fields.with(field, item.clone()).bytes());
    let value = |bytes: &[u8]| both(VALUE, rlp::integer(bytes)).to_vec();
    let two_pow_120 = AMOUNT_MAX.to_be_bytes();
    let cases: Vec<(u16, Vec<Vec<u8>>)> = vec![
        (1, vec![vec![2; TRANSACTION_BYTES_MAX + 1]]),
        (2, vec![vec![], vec![2], vec![0xc0], vec![0x80]]),
        (3, vec![vec![0], vec![1], vec![3], vec![4]]),
        (4, [27, 28].map(|v| Fields::legacy().with(V, rlp::integer(&[v])).bytes()).to_vec()),
        (5, [&[][..], &[1], &[0; 32]].map(|key| Fields::eip1559().with_item(ACCESS_LIST, item(key)).bytes()).to_vec()),
        (6, both(TO, rlp::string(&[])).to_vec()),
        (
            7,
            [value(&two_pow_120), value(&[0xff; 16]), value(&[&[1][..], &[0; 16]].concat()), value(&[0xff; 32])]
                .concat(),
        ),
        (8, vec![Fields::eip1559().with_item(TIP, rlp::integer(&[0x3b, 0x9a, 0xca, 1])).bytes()]),
        (9, both(S, rlp::integer(&[])).to_vec()),
    ];
    let mut met = BTreeSet::new();
    for (code, inputs) in cases {
        for input in inputs {
            let refusal = refused(&input);
            assert_eq!(refusal.code(), code, "{refusal}");
            assert_eq!(refusal.fault(), Fault::Sender);
            met.insert(code);
        }
    }
    // The others speak of the signer, the chain and the state: the kernel's tests meet them.
    assert_eq!(met, (1..=9).collect());
}

#[test]
fn a_refused_value_is_shown_whole() {
    let got = Hash([0xff; 32]);
    let refusal = refused(&Fields::legacy().with(VALUE, rlp::integer(&got.0)).bytes());
    assert_eq!(refusal, Refusal::ValueTooLarge { got });
    assert_eq!(refusal.to_string(), format!("the value 0x{} is not below 2^120", "ff".repeat(32)));
}

/// An integer of up to 32 bytes; most are as long as they can be.
fn integer() -> impl Strategy<Value = Hash> {
    (any::<[u8; 32]>(), prop_oneof![Just(0), 0..32_usize]).prop_map(|(mut bytes, zeros)| {
        bytes[..zeros].fill(0);
        Hash(bytes)
    })
}

fn signature() -> impl Strategy<Value = Signature> {
    (integer(), integer(), any::<bool>()).prop_filter_map("in range", |(r, s, is_odd)| Signature::new(r, s, is_odd))
}

/// Numbers of every length.
fn number(bits: u32) -> impl Strategy<Value = u128> {
    (0..=bits, any::<u128>()).prop_map(|(keep, number)| if keep == 0 { 0 } else { number >> (128 - keep) })
}

#[derive(Debug, Clone)]
struct Random {
    chain_id: u64,
    nonce: u64,
    fee_max: u128,
    gas_limit: u64,
    to: [u8; 20],
    value: u128,
    data: Vec<u8>,
    signature: Signature,
}

fn random() -> impl Strategy<Value = Random> {
    let data = prop_oneof![
        Just(vec![]),
        prop::collection::vec(any::<u8>(), 0..3),
        prop::collection::vec(any::<u8>(), 50..60),
        prop::collection::vec(any::<u8>(), 250..260),
        prop::collection::vec(any::<u8>(), 0..1_300),
    ];
    let numbers = (number(62), number(64), number(128), number(64), number(120));
    (numbers, any::<[u8; 20]>(), data, signature()).prop_map(|(numbers, to, data, signature)| {
        let (chain_id, nonce, fee_max, gas_limit, value) = numbers;
        let (chain_id, nonce, gas_limit) = (chain_id as u64, nonce as u64, gas_limit as u64);
        Random { chain_id, nonce, fee_max, gas_limit, to, value, data, signature }
    })
}

impl Random {
    /// Both encodings, and the hashes that were to be signed.
    fn encode(&self) -> [(TransactionType, Vec<u8>, Hash); 2] {
        let Self { chain_id, nonce, fee_max, gas_limit, to, value, .. } = *self;
        let fields = Unsigned { chain_id, nonce, fee_max, gas_limit, to: Address(to), value, data: &self.data };
        let (mut dynamic, mut legacy) = (Hash::ZERO, Hash::ZERO);
        let sign = |hash: &mut Hash, digest| {
            *hash = digest;
            self.signature
        };
        let first = encode_eip1559::<Native>(&fields, |digest| sign(&mut dynamic, digest));
        let second = encode_legacy::<Native>(&fields, |digest| sign(&mut legacy, digest));
        [(TransactionType::Eip1559, first, dynamic), (TransactionType::Legacy, second, legacy)]
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_is_encoded_decodes(random in random()) {
        for (transaction_type, bytes, signing_hash) in random.encode() {
            let envelope = Envelope::decode(&bytes).expect("our own encoding");
            prop_assert_eq!(envelope.transaction_type, transaction_type);
            prop_assert_eq!((envelope.chain_id, envelope.nonce), (random.chain_id, random.nonce));
            prop_assert_eq!((envelope.fee_max, envelope.gas_limit), (random.fee_max, random.gas_limit));
            prop_assert_eq!((envelope.to, envelope.value), (Address(random.to), random.value));
            prop_assert_eq!((envelope.data, envelope.signature), (&random.data[..], random.signature));
            prop_assert_eq!(envelope.signing_hash::<Native>(), signing_hash);
            prop_assert_eq!(encode_again(&envelope), bytes);
        }
    }

    /// Whatever decodes is the only way to write what it decodes to.
    #[test]
    fn changed_bytes_decode_to_themselves_or_not_at_all(
        random in random(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in 0..3_usize, insert in any::<bool>(),
    ) {
        for (_, mut bytes, _) in random.encode() {
            let at = at.index(bytes.len());
            match cut {
                0 => bytes[at] = byte,
                1 if insert => bytes.insert(at, byte),
                1 => drop(bytes.remove(at)),
                _ => bytes[at] ^= 1 << (byte % 8),
            }
            match Envelope::decode(&bytes) {
                Ok(envelope) => prop_assert_eq!(encode_again(&envelope), bytes),
                Err(refusal) => prop_assert!(refusal.code() <= 9),
            }
        }
    }

    /// A transaction as what was signed and a signature is the transaction that a wallet sends, length included.
    #[test]
    fn what_was_signed_decodes_to_the_same(random in random()) {
        for (_, bytes, signing_hash) in random.encode() {
            let sent = Envelope::decode(&bytes).expect("our own encoding");
            let preimage = sent.preimage();
            prop_assert_eq!(Native::keccak256(&preimage), signing_hash);
            let signed = Envelope::decode_signed(&preimage, &sent.signature).expect("the same transaction");
            prop_assert_eq!(signed.bytes_length(), bytes.len());
            prop_assert_eq!(sent.bytes_length(), bytes.len());
            prop_assert_eq!(signed.preimage(), preimage.clone());
            prop_assert_eq!(signed.signing_hash::<Native>(), signing_hash);
            prop_assert_eq!(encode_again(&signed), bytes);
        }
    }

    /// Whatever decodes from what was signed is a transaction that a wallet can send, and signs the same bytes.
    #[test]
    fn changed_preimages_are_transactions_or_nothing(
        random in random(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in 0..3_usize, insert in any::<bool>(),
    ) {
        for (_, bytes, _) in random.encode() {
            let sent = Envelope::decode(&bytes).expect("our own encoding");
            let mut preimage = sent.preimage().into_owned();
            let at = at.index(preimage.len());
            match cut {
                0 => preimage[at] = byte,
                1 if insert => preimage.insert(at, byte),
                1 => drop(preimage.remove(at)),
                _ => preimage[at] ^= 1 << (byte % 8),
            }
            match Envelope::decode_signed(&preimage, &sent.signature) {
                Ok(signed) => {
                    let bytes = encode_again(&signed);
                    prop_assert_eq!(signed.bytes_length(), bytes.len());
                    let sent = Envelope::decode(&bytes).expect("a transaction");
                    prop_assert_eq!(&sent.preimage()[..], &preimage[..]);
                    prop_assert_eq!(sent.signature, signed.signature);
                }
                Err(refusal) => prop_assert!(refusal.code() <= 9),
            }
        }
    }

    #[test]
    fn signatures_in_words_are_signatures_in_bytes(r in integer(), s in integer(), is_odd in any::<bool>()) {
        let words = |hash: Hash| {
            let mut words = hash.integer_words();
            words.reverse();
            words
        };
        let signature = Signature::new(r, s, is_odd);
        prop_assert_eq!(Signature::from_words(words(r), words(s), is_odd), signature);
        if let Some(signature) = signature {
            prop_assert_eq!((signature.r(), signature.s(), signature.is_odd()), (r, s, is_odd));
            prop_assert_eq!(signature.words(), [&words(r), &words(s)]);
            prop_assert_eq!(Signature::from_bytes(&signature.to_bytes()), Some(signature));
        }
    }

    #[test]
    fn random_preimages_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200), first in prop::sample::select(vec![2_u8, 0xf8, 0xf9, 0xc5]),
        signature in signature(),
    ) {
        let preimage = [&[first], &bytes[..]].concat();
        if let Ok(envelope) = Envelope::decode_signed(&preimage, &signature) {
            prop_assert!(Envelope::decode(&encode_again(&envelope)).is_ok());
        }
    }

    #[test]
    fn random_bytes_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200), first in prop::sample::select(vec![2_u8, 0xf8, 0xf9, 0xc5]),
    ) {
        let bytes = [&[first], &bytes[..]].concat();
        if let Ok(envelope) = Envelope::decode(&bytes) {
            prop_assert_eq!(encode_again(&envelope), bytes);
        }
    }

    /// The signing hash commits to everything but the signature.
    #[test]
    fn signing_hashes_differ(random in random(), field in 0..7_usize) {
        let mut other = random.clone();
        match field {
            0 => other.chain_id ^= 1,
            1 => other.nonce ^= 1,
            2 => other.fee_max ^= 1,
            3 => other.gas_limit ^= 1,
            4 => other.to[19] ^= 1,
            5 => other.value ^= 1,
            _ => other.data.push(0),
        }
        let hash = |random: &Random| random.encode().map(|(_, _, hash)| hash);
        let (left, right) = (hash(&random), hash(&other));
        prop_assert!(left[0] != right[0] && left[1] != right[1] && left[0] != left[1]);
    }
}

/// EIP-155's own example.
#[test]
fn the_example_of_eip_155() {
    let to = Address([0x35; 20]);
    let value = 1_000_000_000_000_000_000;
    let fields = Unsigned { chain_id: 1, nonce: 9, fee_max: 20_000_000_000, gas_limit: 21_000, to, value, data: &[] };
    let word = |text: &str| Hash(hexadecimal(text).try_into().unwrap());
    let r = word("28ef61340bd939bc2195fe537567866003e1a15d3c71ff63e1590620aa636276");
    let s = word("67cbe9d8997f761aecb703304b3800ccf555c9f3dc64214b297fb1966a3b6d83");
    let bytes = encode_legacy::<Native>(&fields, |digest| {
        assert_eq!(digest, word("daf5a779ae972f972197303d7b574746c7ef83eadac0f2791ad23db92e4c8e53"));
        Signature::new(r, s, false).unwrap()
    });
    assert_eq!(
        hex::encode(&bytes),
        "f86c098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a76400008025a028ef61340bd939bc2195fe53\
         7567866003e1a15d3c71ff63e1590620aa636276a067cbe9d8997f761aecb703304b3800ccf555c9f3dc64214b297fb1966a3b6d83"
    );
    assert_eq!(Native::keccak256(&[]), word("c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"));
}
