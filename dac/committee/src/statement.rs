//! What a certificate says, and the digest that is signed.

use alloy_primitives::{Address, B256, U256, keccak256};

use crate::wire::{Reader, WireError};

/// Everything the committee's signatures say about one batch.
///
/// A member's signature under it states: I hold this batch's data and the full state at `checkpoint`, which I derived myself, and serve
/// both until `expiry`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CertificateStatement {
    /// Chain id of the L1 that the rollup is on.
    pub l1_chain_id: u64,
    /// The rollup contract, which presents the certificate.
    pub rollup: Address,
    /// The batch's number, from 1.
    pub batch_number: u64,
    /// Hash of the checkpoint that the batch starts from.
    pub parent_checkpoint: B256,
    /// Hash of the checkpoint it leads to.
    pub checkpoint: B256,
    /// How often L1 had dropped committed batches; a certificate from before such a drop is void.
    pub revert_count: u64,
    /// Length of the batch's data over all chunks, bytes.
    pub data_bytes: u64,
    /// Until when the data is held, unix seconds.
    pub expiry: u64,
    /// The keyset that signs, by its hash, which also fixes the quorum.
    pub keyset_hash: B256,
}

/// A place in the rollup's history that one batch can fill. What tells two slots apart is never decided by the signed batch itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// Chain id of the L1 that the rollup is on.
    pub l1_chain_id: u64,
    /// The rollup contract.
    pub rollup: Address,
    /// The batch's number.
    pub batch_number: u64,
    /// L1's count of drops.
    pub revert_count: u64,
    /// Hash of the checkpoint before.
    pub parent_checkpoint: B256,
}

/// What a statement says of its slot. A member never says two different things of one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    /// Hash of the checkpoint that the batch leads to.
    pub checkpoint: B256,
    /// Length of its data, bytes.
    pub data_bytes: u64,
    /// Until when the data is held, unix seconds.
    pub expiry: u64,
}

/// The committee contract that a proof of possession is made out to: shown to one committee, it is worth nothing at another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CommitteeContext {
    /// Chain id of the L1.
    pub l1_chain_id: u64,
    /// The `DataCommittee` contract.
    pub committee: Address,
}

/// keccak256 of Solidity's `abi.encode` of static words.
pub(crate) fn hash_words<const N: usize>(words: [B256; N]) -> B256 {
    keccak256(words.map(|word| word.0).as_flattened())
}

pub(crate) fn word(value: u64) -> B256 {
    B256::from(U256::from(value))
}

impl CertificateStatement {
    /// Bytes of the encoding that messages and logs carry.
    pub const BYTES: usize = 8 + 20 + 8 + 32 + 32 + 8 + 8 + 8 + 32;

    /// The digest that members sign as it is, without an Ethereum message prefix: its first word is a tag that no transaction and no
    /// EIP-712 message shares. The book's chapter *Encodings* fixes it.
    pub fn digest(&self) -> B256 {
        hash_words([
            keccak256("Joule data certificate v1"),
            word(self.l1_chain_id),
            self.rollup.into_word(),
            word(self.batch_number),
            self.parent_checkpoint,
            self.checkpoint,
            word(self.revert_count),
            word(self.data_bytes),
            word(self.expiry),
            self.keyset_hash,
        ])
    }

    /// The place that the batch fills.
    pub fn slot(&self) -> Slot {
        Slot {
            l1_chain_id: self.l1_chain_id,
            rollup: self.rollup,
            batch_number: self.batch_number,
            revert_count: self.revert_count,
            parent_checkpoint: self.parent_checkpoint,
        }
    }

    /// What is said of that place.
    pub fn subject(&self) -> Subject {
        Subject { checkpoint: self.checkpoint, data_bytes: self.data_bytes, expiry: self.expiry }
    }

    /// Appends the fields in their order, integers big-endian.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.l1_chain_id.to_be_bytes());
        out.extend_from_slice(self.rollup.as_slice());
        out.extend_from_slice(&self.batch_number.to_be_bytes());
        out.extend_from_slice(self.parent_checkpoint.as_slice());
        out.extend_from_slice(self.checkpoint.as_slice());
        out.extend_from_slice(&self.revert_count.to_be_bytes());
        out.extend_from_slice(&self.data_bytes.to_be_bytes());
        out.extend_from_slice(&self.expiry.to_be_bytes());
        out.extend_from_slice(self.keyset_hash.as_slice());
    }

    /// The inverse of [`CertificateStatement::write`].
    ///
    /// # Errors
    /// The bytes end too early; any bytes of the right length are a statement.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            l1_chain_id: reader.u64()?,
            rollup: reader.address()?,
            batch_number: reader.u64()?,
            parent_checkpoint: reader.b256()?,
            checkpoint: reader.b256()?,
            revert_count: reader.u64()?,
            data_bytes: reader.u64()?,
            expiry: reader.u64()?,
            keyset_hash: reader.b256()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::statement;
    use alloy_primitives::hex;

    #[test]
    fn digest_is_pinned() {
        // The contract test holds the digest equal to L1's; this one says that nobody changed both.
        let digest = statement(B256::repeat_byte(9)).digest();
        assert_eq!(hex::encode(digest), "cb576218bb8a9409686e490a572c0f629934b27e8745d4351035a9c79d897eaf");
    }

    #[test]
    fn every_field_is_signed() {
        let base = statement(B256::repeat_byte(9));
        let changes: [fn(&mut CertificateStatement); 9] = [
            |s| s.l1_chain_id ^= 1,
            |s| s.rollup.0[19] ^= 1,
            |s| s.batch_number ^= 1,
            |s| s.parent_checkpoint.0[0] ^= 1,
            |s| s.checkpoint.0[31] ^= 1,
            |s| s.revert_count ^= 1,
            |s| s.data_bytes ^= 1,
            |s| s.expiry ^= 1,
            |s| s.keyset_hash.0[7] ^= 1,
        ];
        for (field, change) in changes.into_iter().enumerate() {
            let mut other = base;
            change(&mut other);
            assert_ne!(other.digest(), base.digest(), "field {field}");
        }
    }
}
