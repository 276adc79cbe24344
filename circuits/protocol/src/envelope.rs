//! The Ethereum transactions that wallets sign: EIP-1559 (type 2) and legacy with EIP-155 replay protection.

use alloc::{borrow::Cow, vec::Vec};

use crate::{
    Address, Hash, Hashing, Refusal,
    limits::{AMOUNT_MAX, TRANSACTION_BYTES_MAX},
    rlp,
};

/// A 256-bit integer as the machine takes it: eight words, least significant first.
type Integer = [u32; 8];

/// Half the order of secp256k1, n/2 rounded down: EIP-2's bound on s, without which every signature has a twin.
const HALF_ORDER: Integer =
    [0x681b_20a0, 0xdfe9_2f46, 0x57a4_501d, 0x5d57_6e73, 0xffff_ffff, 0xffff_ffff, 0xffff_ffff, 0x7fff_ffff];

/// The order of secp256k1, n.
const ORDER: Integer =
    [0xd036_4141, 0xbfd2_5e8c, 0xaf48_a03b, 0xbaae_dce6, 0xffff_fffe, 0xffff_ffff, 0xffff_ffff, 0xffff_ffff];

/// Reads a big-endian integer.
#[inline]
fn integer(bytes: &[u8; 32]) -> Integer {
    core::array::from_fn(|i| {
        let at = 28 - 4 * i;
        u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
    })
}

/// The inverse of [`integer`].
fn big_endian(words: &Integer) -> Hash {
    let mut hash = Hash::ZERO;
    for (bytes, word) in hash.0.chunks_exact_mut(4).zip(words.iter().rev()) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    hash
}

/// A secp256k1 signature whose ranges have been checked: 1 ≤ r < n, 1 ≤ s ≤ n/2, parity 0 or 1.
///
/// Held in words, because the machine's precompile takes words: what comes as bytes is turned once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    r: Integer,
    s: Integer,
    is_odd: bool,
}

impl Signature {
    /// Checks the ranges; `None` if r or s is out of them.
    pub fn new(r: Hash, s: Hash, is_odd: bool) -> Option<Self> {
        Self::from_words(integer(&r.0), integer(&s.0), is_odd)
    }

    /// As [`Signature::new`], of r and s as words, least significant first.
    #[inline]
    pub fn from_words(r: [u32; 8], s: [u32; 8], is_odd: bool) -> Option<Self> {
        let is_zero = |words: &Integer| words.iter().all(|&word| word == 0);
        let compare = |left: &Integer, right: &Integer| left.iter().rev().cmp(right.iter().rev());
        let in_range = !is_zero(&r) && compare(&r, &ORDER).is_lt() && !is_zero(&s) && compare(&s, &HALF_ORDER).is_le();
        in_range.then_some(Self { r, s, is_odd })
    }

    /// Reads r ‖ s ‖ v with v 27 or 28, as `eth_signTypedData` returns it.
    pub fn from_bytes(bytes: &[u8; 65]) -> Option<Self> {
        let is_odd = match bytes[64] {
            27 => false,
            28 => true,
            _ => return None,
        };
        let word = |from: usize| integer(bytes[from..from + 32].try_into().expect("32 bytes"));
        Self::from_words(word(0), word(32), is_odd)
    }

    /// The inverse of [`Signature::from_bytes`].
    pub fn to_bytes(&self) -> [u8; 65] {
        let mut bytes = [0; 65];
        bytes[..32].copy_from_slice(&self.r().0);
        bytes[32..64].copy_from_slice(&self.s().0);
        bytes[64] = 27 + u8::from(self.is_odd);
        bytes
    }

    /// The x coordinate of the nonce point, big-endian.
    pub fn r(&self) -> Hash {
        big_endian(&self.r)
    }

    /// The proof scalar, big-endian.
    pub fn s(&self) -> Hash {
        big_endian(&self.s)
    }

    /// r and s as words, least significant first.
    pub const fn words(&self) -> [&[u32; 8]; 2] {
        [&self.r, &self.s]
    }

    /// Whether the nonce point's y is odd.
    pub const fn is_odd(&self) -> bool {
        self.is_odd
    }
}

/// Which envelope a transaction came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionType {
    /// Before EIP-2718, with EIP-155.
    Legacy,
    /// EIP-1559.
    Eip1559,
}

/// A decoded transaction; its data still lies in the bytes it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// Legacy or EIP-1559.
    pub transaction_type: TransactionType,
    /// The chain it is signed for.
    pub chain_id: u64,
    /// The sender's transaction number.
    pub nonce: u64,
    /// Highest price per unit of gas the sender pays (legacy: the gas price).
    pub fee_max: u128,
    /// Highest tip (legacy: the gas price); Joule takes none.
    pub tip_max: u128,
    /// Gas the sender allows.
    pub gas_limit: u64,
    /// Recipient or system contract.
    pub to: Address,
    /// Base token sent along, below 2^120.
    pub value: u128,
    /// Calldata.
    pub data: &'a [u8],
    /// The sender's signature, its ranges checked.
    pub signature: Signature,
    /// The list's fields that are signed, as they lie in the bytes.
    fields: &'a [u8],
    /// What is signed, where it lies in one piece.
    preimage: Option<&'a [u8]>,
    bytes_length: usize,
}

const TOO_MANY_FIELDS: rlp::Error = "the transaction has too many fields";

fn malformed(reason: rlp::Error) -> Refusal {
    Refusal::MalformedEnvelope { reason }
}

/// What a transaction does, without its signature.
struct Action<'a> {
    chain_id: u64,
    nonce: u64,
    fee_max: u128,
    tip_max: u128,
    gas_limit: u64,
    to: Address,
    value: u128,
    data: &'a [u8],
}

impl<'a> Action<'a> {
    /// Reads the signed fields of type 2.
    #[inline(always)]
    fn decode_eip1559(input: &mut &'a [u8]) -> Result<Self, Refusal> {
        let chain_id = rlp::u64(input).map_err(malformed)?;
        let nonce = rlp::u64(input).map_err(malformed)?;
        let tip_max = rlp::u128(input).map_err(malformed)?;
        let fee_max = rlp::u128(input).map_err(malformed)?;
        let action = Self::decode(input, chain_id, nonce, tip_max, fee_max)?;
        if !rlp::list(input).map_err(malformed)?.is_empty() {
            return Err(Refusal::AccessListNotEmpty);
        }
        Ok(action)
    }

    /// Reads the signed fields of a legacy transaction in front of its chain id, which is left to the caller.
    #[inline(always)]
    fn decode_legacy(input: &mut &'a [u8]) -> Result<Self, Refusal> {
        let nonce = rlp::u64(input).map_err(malformed)?;
        let fee_max = rlp::u128(input).map_err(malformed)?;
        Self::decode(input, 0, nonce, fee_max, fee_max)
    }

    #[inline(always)]
    fn decode(input: &mut &'a [u8], chain_id: u64, nonce: u64, tip_max: u128, fee_max: u128) -> Result<Self, Refusal> {
        let gas_limit = rlp::u64(input).map_err(malformed)?;
        let to = match rlp::string(input).map_err(malformed)? {
            [] => return Err(Refusal::ContractCreation),
            to if to.len() == 20 => {
                let mut address = Address::ZERO;
                address.0.copy_from_slice(to);
                address
            }
            _ => return Err(malformed("the recipient is not 20 bytes")),
        };
        // More than sixteen digits, the first not zero, are 2^128 at least.
        let value = match rlp::digits(input, 32).map_err(malformed)? {
            digits if digits.len() <= 16 => rlp::number(digits),
            digits => return Err(Refusal::ValueTooLarge { got: rlp::word(digits) }),
        };
        if value >= AMOUNT_MAX {
            return Err(Refusal::ValueTooLarge { got: rlp::word(&value.to_be_bytes()) });
        }
        let data = rlp::string(input).map_err(malformed)?;
        Ok(Self { chain_id, nonce, fee_max, tip_max, gas_limit, to, value, data })
    }

    fn check_tip(&self) -> Result<(), Refusal> {
        match self.tip_max <= self.fee_max {
            true => Ok(()),
            false => Err(Refusal::TipAboveMaximum { tip: self.tip_max, maximum: self.fee_max }),
        }
    }

    #[inline(always)]
    fn with(
        self,
        transaction_type: TransactionType,
        signature: &Signature,
        fields: &'a [u8],
        preimage: Option<&'a [u8]>,
        bytes_length: usize,
    ) -> Envelope<'a> {
        let Self { chain_id, nonce, fee_max, tip_max, gas_limit, to, value, data } = self;
        Envelope {
            transaction_type,
            chain_id,
            nonce,
            fee_max,
            tip_max,
            gas_limit,
            to,
            value,
            data,
            signature: *signature,
            fields,
            preimage,
            bytes_length,
        }
    }
}

/// Bytes that a wallet sends for a transaction with as many bytes of signed fields.
fn bytes_length(transaction_type: TransactionType, chain_id: u64, fields: usize, signature: &Signature) -> usize {
    let (kind, v) = match transaction_type {
        TransactionType::Eip1559 => (1, 1),
        TransactionType::Legacy => {
            let v = 35 + 2 * u128::from(chain_id) + u128::from(signature.is_odd);
            (0, encode_integer(&v.to_be_bytes()).1)
        }
    };
    let payload = fields + v + integer_length(&signature.r) + integer_length(&signature.s);
    kind + rlp::list_header(payload).1 + payload
}

impl<'a> Envelope<'a> {
    /// Decodes a signed transaction from the bytes a wallet sends.
    ///
    /// # Errors
    /// [`Refusal`], and of its variants those that need only the bytes: `TransactionTooLong`, `MalformedEnvelope`, `UnsupportedType`,
    /// `MissingReplayProtection`, `AccessListNotEmpty`, `ContractCreation`, `ValueTooLarge`, `TipAboveMaximum`, `BadSignature`.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Refusal> {
        if bytes.len() > TRANSACTION_BYTES_MAX {
            return Err(Refusal::TransactionTooLong { got: bytes.len() });
        }
        match bytes.first() {
            None => Err(malformed("the transaction is empty")),
            Some(2) => Self::decode_eip1559(rlp::whole_list(&bytes[1..]).map_err(malformed)?, bytes.len()),
            Some(&first) if first >= 0xc0 => {
                Self::decode_legacy(rlp::whole_list(bytes).map_err(malformed)?, bytes.len())
            }
            Some(&got) if got < 0x80 => Err(Refusal::UnsupportedType { got }),
            Some(_) => Err(malformed("the transaction is neither typed nor a list")),
        }
    }

    /// Decodes a transaction that comes as what its sender signed (EIP-1559: type, then a list; legacy: a list that ends with chain id, 0, 0) and the signature. The proven image
    /// gets it so: what it hashes lies in one piece, and nobody turns r and s from bytes into words.
    ///
    /// Each transaction has one such form, and [`Envelope::bytes_length`] is the length of the bytes that a wallet sends for it.
    ///
    /// # Errors
    /// As [`Envelope::decode`], for the same transactions.
    #[inline(always)]
    pub fn decode_signed(preimage: &'a [u8], signature: &Signature) -> Result<Self, Refusal> {
        if preimage.len() > TRANSACTION_BYTES_MAX {
            return Err(Refusal::TransactionTooLong { got: preimage.len() });
        }
        let (transaction_type, action, fields) = match preimage.first() {
            None => return Err(malformed("the transaction is empty")),
            Some(2) => {
                let payload = rlp::whole_list(&preimage[1..]).map_err(malformed)?;
                let mut rest = payload;
                let action = Action::decode_eip1559(&mut rest)?;
                if !rest.is_empty() {
                    return Err(malformed(TOO_MANY_FIELDS));
                }
                action.check_tip()?;
                (TransactionType::Eip1559, action, payload)
            }
            Some(&first) if first >= 0xc0 => {
                let payload = rlp::whole_list(preimage).map_err(malformed)?;
                let mut rest = payload;
                let action = Action::decode_legacy(&mut rest)?;
                let fields = &payload[..payload.len() - rest.len()];
                let chain_id = rlp::u64(&mut rest).map_err(malformed)?;
                if rest != [0x80, 0x80] {
                    return Err(malformed("what is signed does not end with the chain id and two zeros"));
                }
                // No wallet's bytes could hold it: their v is 35 + 2·chain id + parity, and a u64.
                let parity = u64::from(signature.is_odd);
                if chain_id.checked_mul(2).and_then(|twice| twice.checked_add(35 + parity)).is_none() {
                    return Err(malformed("the chain id is too large"));
                }
                (TransactionType::Legacy, Action { chain_id, ..action }, fields)
            }
            Some(&got) if got < 0x80 => return Err(Refusal::UnsupportedType { got }),
            Some(_) => return Err(malformed("the transaction is neither typed nor a list")),
        };
        let bytes_length = bytes_length(transaction_type, action.chain_id, fields.len(), signature);
        if bytes_length > TRANSACTION_BYTES_MAX {
            return Err(Refusal::TransactionTooLong { got: bytes_length });
        }
        Ok(action.with(transaction_type, signature, fields, Some(preimage), bytes_length))
    }

    fn decode_eip1559(payload: &'a [u8], bytes_length: usize) -> Result<Self, Refusal> {
        let mut rest = payload;
        let input = &mut rest;
        let action = Action::decode_eip1559(input)?;
        let fields = &payload[..payload.len() - input.len()];
        let is_odd = match rlp::u64(input).map_err(malformed)? {
            0 => false,
            1 => true,
            got => return Err(Refusal::BadSignature { reason: "y parity is neither 0 nor 1", v: got }),
        };
        let signature = Self::decode_signature(input, is_odd, u64::from(is_odd))?;
        action.check_tip()?;
        Ok(action.with(TransactionType::Eip1559, &signature, fields, None, bytes_length))
    }

    fn decode_legacy(payload: &'a [u8], bytes_length: usize) -> Result<Self, Refusal> {
        let mut rest = payload;
        let input = &mut rest;
        let action = Action::decode_legacy(input)?;
        let fields = &payload[..payload.len() - input.len()];
        let v = rlp::u64(input).map_err(malformed)?;
        let chain_and_parity = match v {
            27 | 28 => return Err(Refusal::MissingReplayProtection),
            35.. => v - 35,
            got => return Err(Refusal::BadSignature { reason: "v is not 35 + 2·chain id + parity", v: got }),
        };
        let signature = Self::decode_signature(input, chain_and_parity & 1 == 1, v)?;
        let action = Action { chain_id: chain_and_parity / 2, ..action };
        Ok(action.with(TransactionType::Legacy, &signature, fields, None, bytes_length))
    }

    fn decode_signature(input: &mut &'a [u8], is_odd: bool, v: u64) -> Result<Signature, Refusal> {
        let r = rlp::u256(input).map_err(malformed)?;
        let s = rlp::u256(input).map_err(malformed)?;
        if !input.is_empty() {
            return Err(malformed(TOO_MANY_FIELDS));
        }
        Signature::new(r, s, is_odd)
            .ok_or(Refusal::BadSignature { reason: "r or s is zero or too large (s must be at most n/2)", v })
    }

    /// Bytes that a wallet sends for the transaction.
    pub const fn bytes_length(&self) -> usize {
        self.bytes_length
    }

    /// What the sender signed.
    pub fn preimage(&self) -> Cow<'a, [u8]> {
        if let Some(preimage) = self.preimage {
            return Cow::Borrowed(preimage);
        }
        let mut bytes = Vec::with_capacity(16 + self.fields.len());
        match self.transaction_type {
            TransactionType::Eip1559 => {
                bytes.push(2);
                let (header, length) = rlp::list_header(self.fields.len());
                bytes.extend_from_slice(&header[..length]);
                bytes.extend_from_slice(self.fields);
            }
            TransactionType::Legacy => {
                // EIP-155 signs (fields, chain id, 0, 0).
                let (digits, digits_length) = encode_integer(&self.chain_id.to_be_bytes());
                let (header, length) = rlp::list_header(self.fields.len() + digits_length + 2);
                bytes.extend_from_slice(&header[..length]);
                bytes.extend_from_slice(self.fields);
                bytes.extend_from_slice(&digits[..digits_length]);
                bytes.extend_from_slice(&[0x80, 0x80]);
            }
        }
        Cow::Owned(bytes)
    }

    /// The hash the sender signed.
    pub fn signing_hash<H: Hashing>(&self) -> Hash {
        H::keccak256(&self.preimage())
    }
}

/// Bytes of the RLP of a positive integer.
#[inline]
fn integer_length(words: &Integer) -> usize {
    // Nearly all are as long as they can be.
    if words[7] >= 1 << 24 {
        return 33;
    }
    match words.iter().rposition(|&word| word != 0) {
        None => 1,
        Some(0) if words[0] < 0x80 => 1,
        Some(top) => 1 + 4 * (top + 1) - words[top].leading_zeros() as usize / 8,
    }
}

/// RLP of an integer given big-endian, at most 32 bytes: the bytes and how many of them count.
fn encode_integer(big_endian: &[u8]) -> ([u8; 33], usize) {
    let digits = &big_endian[big_endian.iter().take_while(|&&byte| byte == 0).count()..];
    let mut bytes = [0; 33];
    if let [digit @ 0..0x80] = digits
        && *digit != 0
    {
        bytes[0] = *digit;
        return (bytes, 1);
    }
    bytes[0] = 0x80 + digits.len() as u8;
    bytes[1..=digits.len()].copy_from_slice(digits);
    (bytes, 1 + digits.len())
}

fn push_integer(out: &mut Vec<u8>, big_endian: &[u8]) {
    let (bytes, length) = encode_integer(big_endian);
    out.extend_from_slice(&bytes[..length]);
}

fn push_string(out: &mut Vec<u8>, string: &[u8]) {
    match string {
        [byte @ 0..0x80] => out.push(*byte),
        _ => {
            let (mut header, length) = rlp::list_header(string.len());
            header[0] -= 0x40;
            out.extend_from_slice(&header[..length]);
            out.extend_from_slice(string);
        }
    }
}

fn push_action(out: &mut Vec<u8>, gas_limit: u64, to: &Address, value: u128, data: &[u8]) {
    push_integer(out, &gas_limit.to_be_bytes());
    push_string(out, &to.0);
    push_integer(out, &value.to_be_bytes());
    push_string(out, data);
}

fn as_list(payload: &[u8], prefix: &[u8]) -> Vec<u8> {
    let (header, length) = rlp::list_header(payload.len());
    [prefix, &header[..length], payload].concat()
}

/// The fields of a transaction that is to be signed.
#[derive(Clone, Copy, Debug)]
pub struct Unsigned<'a> {
    /// The chain it is for.
    pub chain_id: u64,
    /// The sender's transaction number.
    pub nonce: u64,
    /// Price per unit of gas (type 2: the most that is paid; no tip).
    pub fee_max: u128,
    /// Gas allowed.
    pub gas_limit: u64,
    /// Recipient or system contract.
    pub to: Address,
    /// Base token sent along.
    pub value: u128,
    /// Calldata.
    pub data: &'a [u8],
}

/// Builds an EIP-1559 transaction; `sign` gets the signing hash.
pub fn encode_eip1559<H: Hashing>(fields: &Unsigned<'_>, sign: impl FnOnce(Hash) -> Signature) -> Vec<u8> {
    let mut payload = Vec::new();
    push_integer(&mut payload, &fields.chain_id.to_be_bytes());
    push_integer(&mut payload, &fields.nonce.to_be_bytes());
    push_integer(&mut payload, &[]);
    push_integer(&mut payload, &fields.fee_max.to_be_bytes());
    push_action(&mut payload, fields.gas_limit, &fields.to, fields.value, fields.data);
    payload.push(0xc0);
    let signature = sign(H::keccak256(&as_list(&payload, &[2])));
    push_integer(&mut payload, &[u8::from(signature.is_odd)]);
    push_integer(&mut payload, &signature.r().0);
    push_integer(&mut payload, &signature.s().0);
    as_list(&payload, &[2])
}

/// Builds a legacy transaction with EIP-155 replay protection; `sign` gets the signing hash.
pub fn encode_legacy<H: Hashing>(fields: &Unsigned<'_>, sign: impl FnOnce(Hash) -> Signature) -> Vec<u8> {
    let mut payload = Vec::new();
    push_integer(&mut payload, &fields.nonce.to_be_bytes());
    push_integer(&mut payload, &fields.fee_max.to_be_bytes());
    push_action(&mut payload, fields.gas_limit, &fields.to, fields.value, fields.data);
    let unsigned_length = payload.len();
    push_integer(&mut payload, &fields.chain_id.to_be_bytes());
    payload.extend_from_slice(&[0x80, 0x80]);
    let signature = sign(H::keccak256(&as_list(&payload, &[])));
    payload.truncate(unsigned_length);
    push_integer(&mut payload, &(35 + 2 * u128::from(fields.chain_id) + u128::from(signature.is_odd)).to_be_bytes());
    push_integer(&mut payload, &signature.r().0);
    push_integer(&mut payload, &signature.s().0);
    as_list(&payload, &[])
}
