//! Statements signed outside of transactions: compute receipts, vouchers, consents (EIP-712).

use crate::{Address, Amount, Hash, Hashing, SystemContract};

/// keccak-256 of `EIP712Domain(string name,string version,uint256 chainId,address verifyingContract,bytes32 salt)`.
const DOMAIN_TYPE_HASH: Hash = hash("d87cd6ef79d4e2b95e15ce8abf732db51ec771f1ca2edccf22a46c729ac56472");
/// keccak-256 of `Joule`.
const NAME_HASH: Hash = hash("2c4e248768786f602b32a7f3f8cc597fd4dd920eb1c0a493088bd4a5fb21fb05");
/// keccak-256 of `1`.
const VERSION_HASH: Hash = hash("c89efdaa54c0f20c7adf612882df0950f5a951637e0307cdcb4c672f298b8bc6");

/// Reads a hash at compile time; a wrong digit stops the build.
const fn hash(hex: &str) -> Hash {
    const fn digit(character: u8) -> u8 {
        match character {
            b'0'..=b'9' => character - b'0',
            b'a'..=b'f' => character - b'a' + 10,
            _ => panic!("not a lower-case hexadecimal digit"),
        }
    }
    let hex = hex.as_bytes();
    assert!(hex.len() == 64, "a hash has 64 hexadecimal digits");
    let mut bytes = [0; 32];
    let mut i = 0;
    while i < 32 {
        bytes[i] = digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]);
        i += 1;
    }
    Hash(bytes)
}

/// Type strings of the messages, for wallets and tests.
pub mod type_hash {
    use super::{Hash, hash};

    /// The EIP-712 type of [`ComputeReceipt`](crate::ComputeReceipt).
    pub const COMPUTE_RECEIPT_TYPE: &str = "ComputeReceipt(address client,uint64 clientNonce,address device,bytes32 model,bytes32 runtime,bytes32 inputHash,bytes32 outputHash,uint64 units,uint128 unitPrice,uint64 startedAt,uint64 finishedAt,uint8 tier,bytes32 evidence)";
    /// Its keccak-256.
    pub const COMPUTE_RECEIPT: Hash = hash("fb64eaba19f4719f406e3b7764a6ed58d598e2f07b12b9bd01030b87ef461b37");
    /// The EIP-712 type of [`DeviceConsent`](crate::DeviceConsent).
    pub const DEVICE_CONSENT_TYPE: &str = "DeviceConsent(address device,address owner)";
    /// Its keccak-256.
    pub const DEVICE_CONSENT: Hash = hash("8db9484855401640f34d39d0cfc28480290390cb591aa1811b28712a09cc4586");
    /// The EIP-712 type of [`Voucher`](crate::Voucher).
    pub const VOUCHER_TYPE: &str = "Voucher(address client,uint64 clientNonce,address payee,uint128 cumulative)";
    /// Its keccak-256.
    pub const VOUCHER: Hash = hash("54af9b59af4ee029d0157d886790984ca05ac4a8f638ad9d3257910c32be8750");
    /// The EIP-712 type of [`ChannelClose`](crate::ChannelClose).
    pub const CHANNEL_CLOSE_TYPE: &str =
        "ChannelClose(address client,uint64 clientNonce,address payee,uint128 paid,uint64 deadline)";
    /// Its keccak-256.
    pub const CHANNEL_CLOSE: Hash = hash("3ab3f5cad5f912e7ff2b0fb5d07255d25aaa33d1a3c467594a078610ecf4b8b6");
}

/// An EIP-712 domain of this chain; its separator is computed once and used for every message to the same contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Domain(Hash);

/// 32-byte words in a row, as both ABI and EIP-712 lay static values out.
struct WordWriter<const BYTES: usize> {
    bytes: [u8; BYTES],
    at: usize,
}

impl<const BYTES: usize> WordWriter<BYTES> {
    const fn new() -> Self {
        Self { bytes: [0; BYTES], at: 0 }
    }

    /// Writes `value` right-aligned into the next word.
    ///
    /// By reference: a writer is up to 448 bytes, and in the image each move of it would be a hundred cycles.
    fn put(&mut self, value: &[u8]) -> &mut Self {
        self.bytes[self.at + 32 - value.len()..self.at + 32].copy_from_slice(value);
        self.at += 32;
        self
    }

    fn hash<H: Hashing>(&self) -> Hash {
        H::keccak256(&self.bytes)
    }
}

impl Domain {
    /// The domain of messages to `contract`.
    pub fn new<H: Hashing>(chain_id: u64, contract: SystemContract, genesis_id: &Hash) -> Self {
        let separator = WordWriter::<{ 6 * 32 }>::new()
            .put(&DOMAIN_TYPE_HASH.0)
            .put(&NAME_HASH.0)
            .put(&VERSION_HASH.0)
            .put(&chain_id.to_be_bytes())
            .put(&contract.address().0)
            .put(&genesis_id.0)
            .hash::<H>();
        Self(separator)
    }

    /// The domain separator.
    pub fn separator(&self) -> &Hash {
        &self.0
    }

    /// The digest to sign for a message with this struct hash.
    pub fn digest<H: Hashing>(&self, struct_hash: &Hash) -> Hash {
        let mut bytes = [0; 66];
        bytes[..2].copy_from_slice(&[0x19, 0x01]);
        bytes[2..34].copy_from_slice(&self.0.0);
        bytes[34..].copy_from_slice(&struct_hash.0);
        H::keccak256(&bytes)
    }
}

/// A worker's signed statement of what it ran; what it is paid for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ComputeReceipt {
    /// Who posted the job.
    pub client: Address,
    /// The nonce of the posting transaction.
    pub client_nonce: u64,
    /// The key that signs.
    pub device: Address,
    /// Commitment to weights and architecture.
    pub model: Hash,
    /// Container or kernel build that ran it.
    pub runtime: Hash,
    /// Hash of the input.
    pub input_hash: Hash,
    /// Hash of the output.
    pub output_hash: Hash,
    /// What is metered.
    pub units: u64,
    /// Price of one unit, as in the job.
    pub unit_price: Amount,
    /// Unix seconds.
    pub started_at: u64,
    /// Unix seconds.
    pub finished_at: u64,
    /// How the work is attested.
    pub tier: u8,
    /// Commitment to the evidence; zero for tier 0.
    pub evidence: Hash,
}

impl ComputeReceipt {
    /// The EIP-712 struct hash.
    pub fn struct_hash<H: Hashing>(&self) -> Hash {
        WordWriter::<{ 14 * 32 }>::new()
            .put(&type_hash::COMPUTE_RECEIPT.0)
            .put(&self.client.0)
            .put(&self.client_nonce.to_be_bytes())
            .put(&self.device.0)
            .put(&self.model.0)
            .put(&self.runtime.0)
            .put(&self.input_hash.0)
            .put(&self.output_hash.0)
            .put(&self.units.to_be_bytes())
            .put(&self.unit_price.to_be_bytes())
            .put(&self.started_at.to_be_bytes())
            .put(&self.finished_at.to_be_bytes())
            .put(&[self.tier])
            .put(&self.evidence.0)
            .hash::<H>()
    }
}

/// What a device key signs so that nobody registers a key that is not theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceConsent {
    /// The key that signs.
    pub device: Address,
    /// Who may register it.
    pub owner: Address,
}

impl DeviceConsent {
    /// The EIP-712 struct hash.
    pub fn struct_hash<H: Hashing>(&self) -> Hash {
        let mut words = WordWriter::<{ 3 * 32 }>::new();
        words.put(&type_hash::DEVICE_CONSENT.0).put(&self.device.0).put(&self.owner.0).hash::<H>()
    }
}

/// The client's word that the payee may have `cumulative` in total. Not a receipt: it says nothing of work done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Voucher {
    /// Who opened the channel, and signs.
    pub client: Address,
    /// The nonce of the opening transaction.
    pub client_nonce: u64,
    /// Who is paid.
    pub payee: Address,
    /// Total over the channel's life.
    pub cumulative: Amount,
}

impl Voucher {
    /// The EIP-712 struct hash.
    pub fn struct_hash<H: Hashing>(&self) -> Hash {
        WordWriter::<{ 5 * 32 }>::new()
            .put(&type_hash::VOUCHER.0)
            .put(&self.client.0)
            .put(&self.client_nonce.to_be_bytes())
            .put(&self.payee.0)
            .put(&self.cumulative.to_be_bytes())
            .hash::<H>()
    }
}

/// What the payee signs to let the client close at once. It names what was paid, so that it cannot be used before the last voucher is redeemed,
/// and ends, so that it cannot be used long after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelClose {
    /// Who opened the channel.
    pub client: Address,
    /// The nonce of the opening transaction.
    pub client_nonce: u64,
    /// Who signs.
    pub payee: Address,
    /// All that has been redeemed.
    pub paid: Amount,
    /// The latest time of a block that may close the channel, unix seconds.
    pub deadline: u64,
}

impl ChannelClose {
    /// The EIP-712 struct hash.
    pub fn struct_hash<H: Hashing>(&self) -> Hash {
        WordWriter::<{ 6 * 32 }>::new()
            .put(&type_hash::CHANNEL_CLOSE.0)
            .put(&self.client.0)
            .put(&self.client_nonce.to_be_bytes())
            .put(&self.payee.0)
            .put(&self.paid.to_be_bytes())
            .put(&self.deadline.to_be_bytes())
            .hash::<H>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Native;

    #[test]
    fn constants_are_hashes_of_their_types() {
        let keccak = |text: &str| Native::keccak256(text.as_bytes());
        assert_eq!(keccak(type_hash::COMPUTE_RECEIPT_TYPE), type_hash::COMPUTE_RECEIPT);
        assert_eq!(keccak(type_hash::DEVICE_CONSENT_TYPE), type_hash::DEVICE_CONSENT);
        assert_eq!(keccak(type_hash::VOUCHER_TYPE), type_hash::VOUCHER);
        assert_eq!(keccak(type_hash::CHANNEL_CLOSE_TYPE), type_hash::CHANNEL_CLOSE);
        assert_eq!(
            keccak("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract,bytes32 salt)"),
            DOMAIN_TYPE_HASH
        );
        assert_eq!((keccak("Joule"), keccak("1")), (NAME_HASH, VERSION_HASH));
    }
}
