//! The Ethereum transactions that wallets sign: EIP-1559 (type 2) and legacy with EIP-155 replay protection.

use alloc::vec::Vec;

use crate::{
    Address, Hash, Hashing, Refusal,
    limits::{AMOUNT_MAX, TRANSACTION_BYTES_MAX},
    rlp,
};

/// Half the order of secp256k1, n/2 rounded down: EIP-2's bound on s, without which every signature has a twin.
const HALF_ORDER: [u8; 32] = [
    0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x5d, 0x57, 0x6e,
    0x73, 0x57, 0xa4, 0x50, 0x1d, 0xdf, 0xe9, 0x2f, 0x46, 0x68, 0x1b, 0x20, 0xa0,
];

/// The order of secp256k1, n.
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0xba, 0xae, 0xdc,
    0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41,
];

/// A secp256k1 signature whose ranges have been checked: 1 ≤ r < n, 1 ≤ s ≤ n/2, parity 0 or 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    r: Hash,
    s: Hash,
    is_odd: bool,
}

impl Signature {
    /// Checks the ranges; `None` if r or s is out of them.
    pub fn new(r: Hash, s: Hash, is_odd: bool) -> Option<Self> {
        let in_range = r != Hash::ZERO && r.0 < ORDER && s != Hash::ZERO && s.0 <= HALF_ORDER;
        in_range.then_some(Self { r, s, is_odd })
    }

    /// Reads r ‖ s ‖ v with v 27 or 28, as `eth_signTypedData` returns it.
    pub fn from_bytes(bytes: &[u8; 65]) -> Option<Self> {
        let is_odd = match bytes[64] {
            27 => false,
            28 => true,
            _ => return None,
        };
        let word = |from: usize| Hash(bytes[from..from + 32].try_into().expect("32 bytes"));
        Self::new(word(0), word(32), is_odd)
    }

    /// The inverse of [`Signature::from_bytes`].
    pub fn to_bytes(&self) -> [u8; 65] {
        let mut bytes = [0; 65];
        bytes[..32].copy_from_slice(&self.r.0);
        bytes[32..64].copy_from_slice(&self.s.0);
        bytes[64] = 27 + u8::from(self.is_odd);
        bytes
    }

    /// The x coordinate of the nonce point, big-endian.
    pub fn r(&self) -> &Hash {
        &self.r
    }

    /// The proof scalar, big-endian.
    pub fn s(&self) -> &Hash {
        &self.s
    }

    /// Whether the nonce point's y is odd.
    pub fn is_odd(&self) -> bool {
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
    /// What the signature signs, before hashing: type byte, then list fields.
    unsigned: &'a [u8],
}

fn malformed(reason: rlp::Error) -> Refusal {
    Refusal::MalformedEnvelope { reason }
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
            Some(2) => Self::decode_eip1559(rlp::whole_list(&bytes[1..]).map_err(malformed)?),
            Some(&first) if first >= 0xc0 => Self::decode_legacy(rlp::whole_list(bytes).map_err(malformed)?),
            Some(&got) if got < 0x80 => Err(Refusal::UnsupportedType { got }),
            Some(_) => Err(malformed("the transaction is neither typed nor a list")),
        }
    }

    fn decode_eip1559(payload: &'a [u8]) -> Result<Self, Refusal> {
        let mut rest = payload;
        let input = &mut rest;
        let chain_id = rlp::u64(input).map_err(malformed)?;
        let nonce = rlp::u64(input).map_err(malformed)?;
        let tip_max = rlp::u128(input).map_err(malformed)?;
        let fee_max = rlp::u128(input).map_err(malformed)?;
        let (gas_limit, to, value, data) = Self::decode_action(input)?;
        if !rlp::list(input).map_err(malformed)?.is_empty() {
            return Err(Refusal::AccessListNotEmpty);
        }
        let unsigned = &payload[..payload.len() - input.len()];
        let is_odd = match rlp::u64(input).map_err(malformed)? {
            0 => false,
            1 => true,
            got => return Err(Refusal::BadSignature { reason: "y parity is neither 0 nor 1", v: got }),
        };
        let signature = Self::decode_signature(input, is_odd, u64::from(is_odd))?;
        if tip_max > fee_max {
            return Err(Refusal::TipAboveMaximum { tip: tip_max, maximum: fee_max });
        }
        let transaction_type = TransactionType::Eip1559;
        Ok(Self {
            transaction_type,
            chain_id,
            nonce,
            fee_max,
            tip_max,
            gas_limit,
            to,
            value,
            data,
            signature,
            unsigned,
        })
    }

    fn decode_legacy(payload: &'a [u8]) -> Result<Self, Refusal> {
        let mut rest = payload;
        let input = &mut rest;
        let nonce = rlp::u64(input).map_err(malformed)?;
        let fee_max = rlp::u128(input).map_err(malformed)?;
        let (gas_limit, to, value, data) = Self::decode_action(input)?;
        let unsigned = &payload[..payload.len() - input.len()];
        let v = rlp::u64(input).map_err(malformed)?;
        let chain_and_parity = match v {
            27 | 28 => return Err(Refusal::MissingReplayProtection),
            35.. => v - 35,
            got => return Err(Refusal::BadSignature { reason: "v is not 35 + 2·chain id + parity", v: got }),
        };
        let signature = Self::decode_signature(input, chain_and_parity & 1 == 1, v)?;
        Ok(Self {
            transaction_type: TransactionType::Legacy,
            chain_id: chain_and_parity / 2,
            nonce,
            fee_max,
            tip_max: fee_max,
            gas_limit,
            to,
            value,
            data,
            signature,
            unsigned,
        })
    }

    fn decode_action(input: &mut &'a [u8]) -> Result<(u64, Address, u128, &'a [u8]), Refusal> {
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
        let value = rlp::u256(input).map_err(malformed)?;
        let (high, low) = value.0.split_at(16);
        let low = u128::from_be_bytes(low.try_into().expect("sixteen bytes"));
        if high.iter().any(|&byte| byte != 0) || low >= AMOUNT_MAX {
            return Err(Refusal::ValueTooLarge { got: value });
        }
        let data = rlp::string(input).map_err(malformed)?;
        Ok((gas_limit, to, low, data))
    }

    fn decode_signature(input: &mut &'a [u8], is_odd: bool, v: u64) -> Result<Signature, Refusal> {
        let r = rlp::u256(input).map_err(malformed)?;
        let s = rlp::u256(input).map_err(malformed)?;
        if !input.is_empty() {
            return Err(malformed("the transaction has too many fields"));
        }
        Signature::new(r, s, is_odd)
            .ok_or(Refusal::BadSignature { reason: "r or s is zero or too large (s must be at most n/2)", v })
    }

    /// The hash the sender signed.
    pub fn signing_hash<H: Hashing>(&self) -> Hash {
        let mut bytes = Vec::with_capacity(16 + self.unsigned.len());
        match self.transaction_type {
            TransactionType::Eip1559 => {
                bytes.push(2);
                let (header, length) = rlp::list_header(self.unsigned.len());
                bytes.extend_from_slice(&header[..length]);
                bytes.extend_from_slice(self.unsigned);
            }
            TransactionType::Legacy => {
                // EIP-155 signs (fields, chain id, 0, 0).
                let (digits, digits_length) = encode_integer(&self.chain_id.to_be_bytes());
                let (header, length) = rlp::list_header(self.unsigned.len() + digits_length + 2);
                bytes.extend_from_slice(&header[..length]);
                bytes.extend_from_slice(self.unsigned);
                bytes.extend_from_slice(&digits[..digits_length]);
                bytes.extend_from_slice(&[0x80, 0x80]);
            }
        }
        H::keccak256(&bytes)
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
    push_integer(&mut payload, &signature.r.0);
    push_integer(&mut payload, &signature.s.0);
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
    push_integer(&mut payload, &signature.r.0);
    push_integer(&mut payload, &signature.s.0);
    as_list(&payload, &[])
}
