//! How a batch's data is shown to be available, and proofs, as the bytes that `Rollup` takes.

use alloy::{
    primitives::{Address, B256, Bytes, U256, keccak256},
    sol_types::SolValue,
};
use joule_protocol::Checkpoint;

use crate::Rollup;

mod abi {
    #![allow(missing_docs, unreachable_pub, clippy::all, reason = "private mirrors of the committee's structs")]
    alloy::sol! {
        struct CompactSignature { bytes32 r; bytes32 vs; }
        struct EcdsaCertificate { uint64 expiry; uint32 quorum; address[] keyset; CompactSignature[] signatures; }
        struct G1 { uint256 x; uint256 y; }
        struct G2 { uint256 xImaginary; uint256 xReal; uint256 yImaginary; uint256 yReal; }
        struct BlsCertificate { uint64 expiry; uint32 quorum; G1[] keyset; uint256 bitmap; G1 signature; G2 aggregateKey; }
    }
}

/// A BLS signature over BN254 that several keys made together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlsAggregate {
    /// Bit i says that key i of the keyset signed.
    pub bitmap: U256,
    /// The sum of the signatures in G1: x, y.
    pub signature: [U256; 2],
    /// The sum of the signers' keys in G2: x imaginary, x real, y imaginary, y real.
    pub aggregate_key: [U256; 4],
}

/// Why L1 should believe that a batch's data is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Availability {
    /// The data was posted on L1, from the parent checkpoint's accumulator to the batch's.
    OnL1 {
        /// The checkpoint that the batch starts from.
        parent: Checkpoint,
    },
    /// A committee certificate of ECDSA signatures.
    Ecdsa {
        /// Until when the data is held, unix seconds.
        expiry: u64,
        /// Signatures the keyset asks for.
        quorum: u32,
        /// All signers of the keyset, strictly increasing.
        keyset: Vec<Address>,
        /// The signatures (EIP-2098: r, and s with the parity of R.y in its top bit), by strictly increasing signer.
        signatures: Vec<(B256, B256)>,
    },
    /// A committee certificate of BLS signatures over BN254.
    Bls {
        /// Until when the data is held, unix seconds.
        expiry: u64,
        /// Signatures the keyset asks for.
        quorum: u32,
        /// All keys of the keyset in G1, in its order: x, y.
        keyset: Vec<[U256; 2]>,
        /// Who signed, and what.
        aggregate: BlsAggregate,
    },
}

impl Availability {
    /// The bytes: scheme, then the ABI encoding of what the scheme needs.
    pub fn encode(&self) -> Bytes {
        let point = |[x, y]: [U256; 2]| abi::G1 { x, y };
        let (scheme, body) = match self {
            Self::OnL1 { parent } => (0, Rollup::Checkpoint::from(parent).abi_encode()),
            Self::Ecdsa { expiry, quorum, keyset, signatures } => (
                1,
                abi::EcdsaCertificate {
                    expiry: *expiry,
                    quorum: *quorum,
                    keyset: keyset.clone(),
                    signatures: signatures.iter().map(|&(r, vs)| abi::CompactSignature { r, vs }).collect(),
                }
                .abi_encode(),
            ),
            Self::Bls { expiry, quorum, keyset, aggregate } => (
                2,
                abi::BlsCertificate {
                    expiry: *expiry,
                    quorum: *quorum,
                    keyset: keyset.iter().copied().map(point).collect(),
                    bitmap: aggregate.bitmap,
                    signature: point(aggregate.signature),
                    aggregateKey: abi::G2 {
                        xImaginary: aggregate.aggregate_key[0],
                        xReal: aggregate.aggregate_key[1],
                        yImaginary: aggregate.aggregate_key[2],
                        yReal: aggregate.aggregate_key[3],
                    },
                }
                .abi_encode(),
            ),
        };
        let mut bytes = Vec::with_capacity(1 + body.len());
        bytes.push(scheme);
        bytes.extend_from_slice(&body);
        bytes.into()
    }
}

/// The hash under which the committee contract knows an ECDSA keyset, and which certificates sign.
pub fn ecdsa_keyset_hash(quorum: u32, keyset: &[Address]) -> B256 {
    keccak256((keccak256("Joule ECDSA keyset v1"), quorum, keyset.to_vec()).abi_encode_params())
}

/// The hash under which the committee contract knows a BLS keyset (keys in G1: x, y), and which certificates sign.
pub fn bls_keyset_hash(quorum: u32, keyset: &[[U256; 2]]) -> B256 {
    let keyset: Vec<_> = keyset.iter().map(|&[x, y]| abi::G1 { x, y }).collect();
    keccak256((keccak256("Joule BLS keyset v1"), quorum, keyset).abi_encode_params())
}

/// Bytes of a proof with its version.
pub const PROOF_BYTES: usize = 1 + 8 * 32;

/// A Groth16 proof as `Rollup` takes it: the verifier's version, then A, B and C as the EIP-197 precompile takes them.
pub fn proof_bytes(version: u8, points: &[U256; 8]) -> Bytes {
    let mut bytes = Vec::with_capacity(PROOF_BYTES);
    bytes.push(version);
    for point in points {
        bytes.extend_from_slice(&point.to_be_bytes::<32>());
    }
    bytes.into()
}
